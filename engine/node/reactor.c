#include "weir/reactor.h"

#include <string.h>

#include "engine/node/internal.h"

uint32_t weir_node_shards(const weir_node *node)
{
    return node ? node->cfg.shard_cnt : 0;
}

int weir_post(weir_node *node, uint32_t shard_idx, weir_post_fn fn, void *ctx)
{
    if (!node || !fn || shard_idx >= node->cfg.shard_cnt)
        return WEIR_E_MISUSE;
    int state = atomic_load(&node->state);
    if (state == WEIR_NODE_NEW || state == WEIR_NODE_STOPPED)
        return WEIR_E_STATE;
    struct weir_note *note = weir_note_create(WEIR_LETTER_POST, 0);
    if (!note)
        return WEIR_E_NOMEM;
    note->post = fn;
    note->post_ctx = ctx;
    note->post_shard = shard_idx;
    int error = weir_shard_post(node->shards[shard_idx], note, false);
    if (error) {
        note->post = NULL; /* the caller still has it */
        weir_note_free(note);
    }
    return error;
}

int weir_tick_set(weir_node *node, const void *ctx, weir_ns when)
{
    struct weir_shard *shard = node ? weir_shard_here(node) : NULL;
    if (!shard)
        return WEIR_E_MISUSE;
    int error = WEIR_E_MISUSE;
    for (uint32_t i = 0; i < node->reactor_cnt; i++) {
        if (node->reactors[i].ctx != ctx || !node->reactors[i].on_tick)
            continue;
        struct weir_timer *timer = &shard->tick_timers[i];
        timer->kind = WEIR_TIMER_TICK;
        timer->arg = i;
        if (!weir_timer_is_set(timer) || timer->due_ns > when)
            weir_wheel_set(&shard->wheel, timer, when);
        error = 0;
    }
    return error;
}

int weir_peer_place(weir_node *node, uint32_t *ret_place)
{
    if (!node || !ret_place)
        return WEIR_E_MISUSE;
    if (atomic_load(&node->state) != WEIR_NODE_NEW)
        return WEIR_E_STATE;
    if (node->place_cnt == WEIR_PEER_PLACES_MAX)
        return WEIR_E_LIMIT;
    *ret_place = node->place_cnt++;
    return 0;
}

/* The peer's pointer; NULL when it is neither up nor being reported as down. */
static void **place_of(weir_node *node, weir_peer peer, uint32_t place)
{
    struct weir_shard *shard = node ? weir_shard_of(node, peer) : NULL;
    if (!shard || place >= node->place_cnt || !weir_shard_is_here(shard))
        return NULL;
    uint32_t slot = weir_peer_slot(peer);
    if (shard->place_gens[slot] != weir_peer_gen(peer))
        return NULL;
    return &shard->places[(size_t)slot * node->place_cnt + place];
}

int weir_peer_set(weir_node *node, weir_peer peer, uint32_t place, void *data)
{
    void **at = place_of(node, peer, place);
    if (at) {
        *at = data;
        return 0;
    }
    struct weir_shard *shard = node ? weir_shard_of(node, peer) : NULL;
    if (!node || place >= node->place_cnt || (shard && !weir_shard_is_here(shard)))
        return WEIR_E_MISUSE;
    return WEIR_E_GONE;
}

void *weir_peer_get(weir_node *node, weir_peer peer, uint32_t place)
{
    void **at = place_of(node, peer, place);
    return at ? *at : NULL;
}

/* ---- what the shard does for it ------------------------------------------------------------ */

int weir_places_init(struct weir_shard *shard)
{
    const weir_node *node = shard->node;
    if (node->place_cnt == 0)
        return 0;
    size_t peers = node->cfg.peers_max;
    shard->places =
        weir_heap_alloc_table(shard->hub.heap, peers * node->place_cnt * sizeof(void *));
    shard->place_gens = weir_heap_alloc_table(shard->hub.heap, peers * sizeof(uint32_t));
    return shard->places && shard->place_gens ? 0 : WEIR_E_NOMEM;
}

void weir_places_fini(struct weir_shard *shard)
{
    const weir_node *node = shard->node;
    size_t peers = node->cfg.peers_max;
    weir_heap_release_table(shard->places, peers * node->place_cnt * sizeof(void *));
    weir_heap_release_table(shard->place_gens, peers * sizeof(uint32_t));
    shard->places = NULL;
    shard->place_gens = NULL;
}

void weir_places_begin(struct weir_shard *shard, weir_peer peer)
{
    uint32_t slot = weir_peer_slot(peer), cnt = shard->node->place_cnt;
    if (!shard->places)
        return;
    shard->place_gens[slot] = weir_peer_gen(peer);
    memset(&shard->places[(size_t)slot * cnt], 0, cnt * sizeof(void *));
}

void weir_places_end(struct weir_shard *shard, weir_peer peer)
{
    uint32_t slot = weir_peer_slot(peer);
    if (shard->places && shard->place_gens[slot] == weir_peer_gen(peer))
        shard->place_gens[slot] = 0;
}
