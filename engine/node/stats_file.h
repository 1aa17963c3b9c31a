/* engine/node/stats_file.h: the file of weir/stats.h: made before start, written by shard 0 on a timer.
 *
 * Written with pwrite and not through a mapping: a file that somebody truncates, or a file system that is full, is then
 * an error code and not a signal. On a file system in memory that is a copy of some 60 KiB.
 */
#ifndef WEIR_ENGINE_NODE_STATS_FILE_H
#define WEIR_ENGINE_NODE_STATS_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/wheel.h"
#include "weir/base.h"
#include "weir/stats.h"

struct weir_node;
struct weir_shard;

struct weir_stats_file {
    char path[1008]; /* "": none */
    uint8_t *image;  /* what is written: `image_bytes` */
    size_t image_bytes;
    int fd; /* valid with `image` */
    uint64_t seq;
    uint64_t log_ns; /* no line about a write that failed before */
    struct weir_timer timer;
};

/* Makes the file, which replaces one of a node that is gone. Nothing to do without a path.
 * Errors: WEIR_E_IN_USE (it is of a node that lives), WEIR_E_ACCESS, WEIR_E_NOMEM, WEIR_E_SYSTEM. */
int weir_stats_file_open(struct weir_node *node);

/* Writes once, and again on the timer. Shard thread. */
void weir_stats_file_fire(struct weir_shard *shard);

/* Writes the last values, once: the node has stopped. */
void weir_stats_file_close(struct weir_node *node);

#endif
