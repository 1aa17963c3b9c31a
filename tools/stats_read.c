#include "stats_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TRIES 100
#define TRY_NS 1000000L /* a write takes some microseconds */
#define PART_BYTES_MAX 65536u
#define STALE_INTERVALS 3u
#define STALE_MORE_NS WEIR_NS_PER_S /* a loaded machine is late */

const char *stats_state_name(enum stats_state state)
{
    static const char *const names[] = {"live", "stopped", "gone", "stale", "torn"};
    return names[state];
}

void stats_free(struct stats_view *view)
{
    free(view->records);
    memset(view, 0, sizeof(*view));
}

/* ---- one file ------------------------------------------------------------------------------ */

static bool fail(char why[STATS_WHY_BYTES], const char *text)
{
    snprintf(why, STATS_WHY_BYTES, "%s", text);
    return false;
}

static bool read_at(int fd, void *ret, size_t len, off_t at)
{
    char *bytes = ret;
    while (len > 0) {
        ssize_t got = pread(fd, bytes, len, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        bytes += got;
        at += got;
        len -= (size_t)got;
    }
    return true;
}

static bool check_head(const struct weir_stats_head *head, uint64_t file_bytes,
                       char why[STATS_WHY_BYTES])
{
    if (memcmp(head->magic, WEIR_STATS_MAGIC, sizeof(head->magic)) != 0)
        return fail(why, "it is not a file of weir's statistics");
    if (head->version != WEIR_STATS_VERSION) {
        snprintf(why, STATS_WHY_BYTES, "it has layout %u, and this program reads %u", head->version,
                 WEIR_STATS_VERSION);
        return false;
    }
    if (head->head_bytes < sizeof(*head) || head->head_bytes > PART_BYTES_MAX ||
        head->record_bytes < sizeof(struct weir_stats_record) ||
        head->record_bytes > PART_BYTES_MAX || head->record_cnt > WEIR_STATS_RECORDS_MAX)
        return fail(why, "it is damaged: the sizes in its head cannot be");
    if (file_bytes < head->head_bytes + (uint64_t)head->record_bytes * head->record_cnt)
        return fail(why, "it is cut short");
    return true;
}

/* Makes a text of what may be bytes. */
static void tame(char *text, size_t size)
{
    text[size - 1] = '\0';
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7E)
            *text = '?';
    }
}

static bool read_records(struct stats_view *view, int fd, char why[STATS_WHY_BYTES])
{
    const struct weir_stats_head *head = &view->head;
    size_t bytes = (size_t)head->record_bytes * head->record_cnt;
    char *raw = malloc(bytes + 1);
    struct weir_stats_record *records =
        realloc(view->records, (head->record_cnt + 1) * sizeof(*records));
    if (records != NULL)
        view->records = records;
    bool is_read = raw != NULL && records != NULL;
    if (!is_read)
        fail(why, "out of memory");
    else if (!read_at(fd, raw, bytes, (off_t)head->head_bytes))
        is_read = fail(why, "it is cut short");
    for (uint32_t i = 0; is_read && i < head->record_cnt; i++) {
        struct weir_stats_record *record = &view->records[i];
        memcpy(record, raw + (size_t)i * head->record_bytes, sizeof(*record));
        tame(record->name, sizeof(record->name));
        tame(record->labels, sizeof(record->labels));
    }
    free(raw);
    return is_read;
}

/* One try. `*ret_is_whole`: the node did not write meanwhile. */
static bool read_once(struct stats_view *view, int fd, bool *ret_is_whole,
                      char why[STATS_WHY_BYTES])
{
    struct stat stat;
    uint64_t seq;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode))
        return fail(why, "it is not a file");
    if (!read_at(fd, &view->head, sizeof(view->head), 0)) {
        memset(&view->head, 0, sizeof(view->head)); /* without a head there are no records */
        return fail(why, "it is too short for a file of weir's statistics");
    }
    bool is_good =
        check_head(&view->head, (uint64_t)stat.st_size, why) && read_records(view, fd, why);
    if (!is_good) {
        view->head.record_cnt = 0;
        return false;
    }
    if (!read_at(fd, &seq, sizeof(seq), offsetof(struct weir_stats_head, seq)))
        return fail(why, "it is cut short");
    *ret_is_whole = seq == view->head.seq && seq % 2 == 0;
    tame(view->head.weir_version, sizeof(view->head.weir_version));
    tame(view->head.network_id, sizeof(view->head.network_id));
    return true;
}

/* ---- whose it is --------------------------------------------------------------------------- */

/* Whether the process that wrote it is there: the number alone may be another's by now. */
static bool is_there(const struct weir_stats_head *head)
{
    char path[32], text[512];
    snprintf(path, sizeof(path), "/proc/%u/stat", head->pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return false;
    text[len] = '\0';
    char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at != NULL && strtoull(at, NULL, 10) == head->pid_start;
}

static enum stats_state state_of(struct stats_view *view, bool is_whole)
{
    const struct weir_stats_head *head = &view->head;
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    double wall_s = (double)wall.tv_sec + (double)wall.tv_nsec / 1e9;
    uint64_t now = weir_now();
    bool is_same_boot = head->updated_ns <= now;
    view->age_s = is_same_boot ? (double)(now - head->updated_ns) / 1e9
                               : wall_s - (double)head->updated_wall_ns / 1e9;
    if (head->flags & WEIR_STATS_OVER)
        return STATS_OVER;
    uint64_t patience = head->interval_ns < UINT64_MAX / 16
                            ? STALE_INTERVALS * head->interval_ns + STALE_MORE_NS
                            : UINT64_MAX;
    bool is_writer_there = is_there(head);
    bool is_fresh = is_same_boot && now - head->updated_ns <= patience;
    /* A node in another container writes, and is no process that could be seen from here. */
    if (is_fresh && is_whole && !is_writer_there && view->age_s > 0)
        return view->age_s * 1e9 <= (double)head->interval_ns + 1e8 ? STATS_LIVE : STATS_GONE;
    if (!is_writer_there)
        return is_whole ? STATS_GONE : STATS_TORN;
    if (!is_whole)
        return STATS_TORN;
    return is_fresh ? STATS_LIVE : STATS_STALE;
}

bool stats_read_fd(struct stats_view *ret_view, int fd, char why[STATS_WHY_BYTES])
{
    bool is_whole = false, is_read = true;
    for (int i = 0; i < TRIES && is_read && !is_whole; i++) {
        if (i > 0)
            nanosleep(&(struct timespec){.tv_nsec = TRY_NS}, NULL);
        is_read = read_once(ret_view, fd, &is_whole, why);
    }
    if (is_read)
        ret_view->state = state_of(ret_view, is_whole);
    return is_read;
}

bool stats_read(struct stats_view *ret_view, const char *path, char why[STATS_WHY_BYTES])
{
    /* O_NONBLOCK: a fifo would be waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        snprintf(why, STATS_WHY_BYTES, "%s", strerror(errno));
        return false;
    }
    bool is_read = stats_read_fd(ret_view, fd, why);
    close(fd);
    return is_read;
}

/* ---- labels -------------------------------------------------------------------------------- */

bool stats_label(const struct weir_stats_record *record, const char *label, char *ret_value,
                 size_t size)
{
    size_t len = strlen(label), out = 0;
    const char *at = record->labels;
    while (*at != '\0') {
        const char *name = at;
        while (*at != '\0' && *at != '=')
            at++;
        if (at[0] != '=' || at[1] != '"')
            return false;
        bool is_it = (size_t)(at - name) == len && strncmp(name, label, len) == 0;
        for (at += 2; *at != '\0' && *at != '"'; at++) {
            char byte = *at;
            if (byte == '\\' && at[1] != '\0')
                byte = *++at == 'n' ? '\n' : *at;
            if (is_it && out + 1 < size)
                ret_value[out++] = byte;
        }
        if (is_it) {
            ret_value[out] = '\0';
            return true;
        }
        at += *at == '"';
        at += *at == ',';
    }
    return false;
}
