#include "engine/node/sample.h"

/* SplitMix64 (Steele, Lea and Flood, 2014). */
static uint64_t random_below(uint64_t *state, uint64_t bound)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) % bound;
}

void weir_sample_begin(struct weir_sample *ret_sample, weir_node *node, uint32_t cnt)
{
    *ret_sample = (struct weir_sample){.node = node, .left = cnt};
    if (weir_node_random(node, &ret_sample->rng, sizeof(ret_sample->rng)) != 0)
        ret_sample->rng = weir_node_now(node); /* no secret: who is drawn is seen anyway */
}

static uint64_t peers_of(const weir_node *node, uint32_t shard_idx)
{
    return atomic_load_explicit(&node->shards[shard_idx]->hub.metrics.ready_cnt,
                                memory_order_relaxed);
}

uint32_t weir_sample_share(struct weir_sample *sample, uint32_t shard_idx)
{
    const weir_node *node = sample->node;
    uint64_t own = peers_of(node, shard_idx), all = own;
    uint32_t share = 0;
    for (uint32_t i = shard_idx + 1; i < node->shard_cnt; i++)
        all += peers_of(node, i);
    if (shard_idx + 1 == node->shard_cnt)
        return sample->left;
    /* One by one, from an urn of `all` of which `own` are this shard's. */
    for (uint32_t i = 0; i < sample->left && all; i++) {
        bool is_own = random_below(&sample->rng, all--) < own;
        own -= is_own;
        share += is_own;
    }
    sample->left -= share;
    return share;
}

/* Brings `sample` of `cnt` slots, drawn at random, to the front. */
static void draw(weir_node *node, uint32_t *slots, uint32_t cnt, uint32_t sample)
{
    struct weir_sample dice;
    weir_sample_begin(&dice, node, 0);
    for (uint32_t i = 0; i < sample; i++) {
        uint32_t at = i + (uint32_t)random_below(&dice.rng, cnt - i), chosen = slots[at];
        slots[at] = slots[i];
        slots[i] = chosen;
    }
}

int64_t weir_sample_here(struct weir_shard *shard, uint32_t channel_idx, struct weir_shared *shared,
                         const struct weir_fanout *fanout)
{
    struct weir_hub *hub = &shard->hub;
    uint64_t left = atomic_load_explicit(&hub->metrics.ready_cnt, memory_order_relaxed);
    uint32_t *slots = weir_heap_alloc_raw(NULL, (left + 1) * sizeof(*slots)), cnt = 0;
    int64_t taken = 0;
    if (!slots)
        return WEIR_E_NOMEM;
    for (uint32_t i = 0; left && i < hub->cfg->peers_max; i++) {
        const struct weir_conn *conn = &hub->conns[i];
        if (conn->state != WEIR_CONN_READY)
            continue;
        left--;
        if (conn->channels[channel_idx].is_agreed && weir_fanout_wants(fanout, weir_peer_of(conn)))
            slots[cnt++] = i;
    }
    uint32_t sample = fanout->sample < cnt ? fanout->sample : cnt;
    if (sample < cnt)
        draw(shard->node, slots, cnt, sample);
    for (uint32_t i = 0; i < sample; i++) {
        struct weir_conn *conn = &hub->conns[slots[i]];
        if (conn->state == WEIR_CONN_READY) /* accept() may have ended it */
            taken += weir_shared_queue(conn, channel_idx, shared) == 0;
    }
    weir_heap_release(slots);
    return taken;
}
