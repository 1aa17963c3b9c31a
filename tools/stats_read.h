/* stats_read.h: reads the file of weir/stats.h, which belongs to another process and may be anything.
 *
 * Read, not mapped: a file that is cut short meanwhile is then a short read and not a signal. Nothing is believed before
 * it was checked, and what is printed of it is printable.
 */
#ifndef STATS_READ_H
#define STATS_READ_H

#include <stdbool.h>
#include <stddef.h>

#include <weir/weir.h>

enum stats_state {
    STATS_LIVE,
    STATS_OVER,  /* the node has stopped in an orderly way */
    STATS_GONE,  /* its process is not there any more */
    STATS_STALE, /* its process is there, but has not written for a while */
    STATS_TORN   /* it died, or stands, in the middle of writing: values of two moments */
};

struct stats_view {
    struct weir_stats_head head;
    struct weir_stats_record *records; /* head.record_cnt of them */
    enum stats_state state;
    double age_s; /* since it was written */
};

#define STATS_WHY_BYTES 128u

/* Reads a file; `ret_view` must be zeroed or read before, and keeps its memory.
 * Returns false after saying why in `why`. */
bool stats_read(struct stats_view *ret_view, const char *path, char why[STATS_WHY_BYTES]);

/* The same of an open file, which stays open. */
bool stats_read_fd(struct stats_view *ret_view, int fd, char why[STATS_WHY_BYTES]);
void stats_free(struct stats_view *view);

/* One word for a state. */
const char *stats_state_name(enum stats_state state);

/* Finds a label's value in a record: false when it has none. Escapes are undone. */
bool stats_label(const struct weir_stats_record *record, const char *label, char *ret_value,
                 size_t size);

#endif
