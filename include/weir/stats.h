/* weir/stats.h: the layout of the file that weir_config.stats_path names: a node's series as of a moment ago.
 *
 * A node writes the whole file every stats_interval_ns; whoever may read it does so without the node's knowledge.
 * It belongs on a file system in memory (/run, /dev/shm). Layout, in the machine's byte order:
 *
 *     struct weir_stats_head     head_bytes of it
 *     struct weir_stats_record   record_cnt of them, record_bytes apart
 *
 * Reading: read all of it, or map it. `seq` is odd while the node writes, and another after each time: read `seq` (even),
 * the records, and `seq` again; if it changed, begin anew. A file whose `seq` stays odd is of a node that died while it
 * wrote. Check magic, version, sizes and the file's length before believing any of it, and that every text ends.
 * Records keep their place and number while the node lives. A later layout with the same version has larger heads and
 * records: the sizes say how far to step, and what lies beyond the known fields is skipped.
 */
#ifndef WEIR_STATS_H
#define WEIR_STATS_H

#include "weir/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_STATS_MAGIC "WEIRSTAT" /* eight bytes, no NUL */
#define WEIR_STATS_VERSION 1u
#define WEIR_STATS_RECORDS_MAX 65536u

enum weir_stats_flags {
    WEIR_STATS_OVER = 1u << 0, /* the node has stopped: these are its last values */
};

struct weir_stats_head {
    char magic[8];
    uint32_t version;
    uint32_t head_bytes, record_bytes, record_cnt;
    uint64_t seq;
    uint64_t made_wall_ns;    /* when the node was made, Unix time */
    uint64_t updated_wall_ns; /* when this was written, Unix time */
    uint64_t updated_ns;      /* and on CLOCK_MONOTONIC */
    uint64_t interval_ns;     /* how often it is written */
    uint32_t pid;             /* of the node's process */
    uint32_t flags;           /* enum weir_stats_flags */
    uint64_t pid_start;       /* field 22 of /proc/PID/stat: another process has another */
    char weir_version[16];
    char network_id[40];
    uint8_t reserved[120];
};

enum weir_stats_type {
    WEIR_STATS_COUNTER = 1,
    WEIR_STATS_GAUGE = 2,
    WEIR_STATS_HISTOGRAM = 3 /* name ends in _bucket (with a label le), _sum or _count */
};

enum weir_stats_unit {
    WEIR_STATS_ONE = 0,
    WEIR_STATS_NS = 1 /* nanoseconds, where the name says seconds */
};

struct weir_stats_record {
    uint64_t value;
    uint8_t type; /* enum weir_stats_type */
    uint8_t unit; /* enum weir_stats_unit */
    uint8_t reserved[6];
    char name[80];    /* as in docs/metrics.md */
    char labels[160]; /* `shard="0"`: as in the exposition */
};

#ifdef __cplusplus
}
#endif

#endif
