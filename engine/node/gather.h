/* engine/node/gather.h: walks all series of a node, family by family, with their values of now.
 *
 * Read from any thread without stopping a shard: each value is exact at some moment of the walk, not all at the same
 * one. The exposition (expose.c) and the stats file (stats_file.c) are two sinks of the same walk, so that they cannot
 * tell different things.
 */
#ifndef WEIR_ENGINE_NODE_GATHER_H
#define WEIR_ENGINE_NODE_GATHER_H

#include "engine/node/internal.h"

#define WEIR_LABELS_BYTES 160u

struct weir_gather_sink {
    void *ctx;
    /* A family begins: its samples follow. */
    void (*family)(void *ctx, const char *name, enum weir_series_type type, const char *help);
    /* `suffix` is "" or a histogram's; `labels` are escaped and joined, as `shard="0"`, or "". */
    void (*sample)(void *ctx, const char *suffix, const char *labels, uint64_t value,
                   enum weir_series_unit unit);
};

/* From create on, until free. */
void weir_gather(weir_node *node, const struct weir_gather_sink *sink);

/* The first `series_cnt` that reactors have added (series.c). */
void weir_gather_series(weir_node *node, uint32_t series_cnt, const struct weir_gather_sink *sink);

#endif
