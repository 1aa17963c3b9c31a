/* engine/node/sample.h: some of a node's peers, drawn at random without replacement. */
#ifndef WEIR_ENGINE_NODE_SAMPLE_H
#define WEIR_ENGINE_NODE_SAMPLE_H

#include "engine/node/internal.h"

struct weir_sample {
    weir_node *node;
    uint64_t rng;
    uint32_t left; /* of the sample, for the shards that have not been asked for */
};

void weir_sample_begin(struct weir_sample *ret_sample, weir_node *node, uint32_t cnt);

/* How many a shard is to draw, as if all were drawn from the peers of all shards at once. Shards are asked for in
 * their order; the last one has what is left. */
uint32_t weir_sample_share(struct weir_sample *sample, uint32_t shard_idx);

/* Sends to fanout->sample of the shard's peers that are wanted. Returns how many took it, or WEIR_E_NOMEM. */
int64_t weir_sample_here(struct weir_shard *shard, uint32_t channel_idx, struct weir_shared *shared,
                         const struct weir_fanout *fanout);

#endif
