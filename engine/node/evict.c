/* Room for one more inbound peer, when there are as many as there may be. */
#include "engine/peers/evict.h"

#include "engine/node/internal.h"

#define EVICT_PAUSE_NS \
    (10 * WEIR_NS_PER_MS) /* to look at all peers is work that strangers ask for */

/* Strangers in their handshake are in it too: a crowd of them takes places, and must not cost one who is there. */
static bool may_go(struct weir_shard *shard, const struct weir_conn *conn)
{
    bool has_no_group = !(shard->node->cfg.flags & WEIR_CONFIG_LIMIT_LOOPBACK) &&
                        weir_addr_is_loopback(&conn->addr);
    bool is_open = conn->state == WEIR_CONN_READY || conn->state == WEIR_CONN_HANDSHAKE;
    return is_open && (conn->flags & WEIR_CONN_ADMITTED) && !(conn->flags & WEIR_CONN_IS_DIALER) &&
           !has_no_group && !weir_guard_is_manual(shard, conn);
}

static uint64_t group_of(const weir_node *node, const struct weir_addr *addr)
{
    return weir_evict_group(node->guard.evict_key, addr, node->cfg.subnet_bits_ipv4,
                            node->cfg.subnet_bits_ipv6);
}

static bool evict(struct weir_shard *shard, const struct weir_addr *newcomer)
{
    struct weir_hub *hub = &shard->hub;
    uint32_t slot_cnt = atomic_load_explicit(&hub->slots_used, memory_order_relaxed), cnt = 0;
    struct weir_evict_peer *peers = weir_heap_alloc_raw(hub->heap, slot_cnt * sizeof(*peers) + 1);
    if (!peers)
        return false;
    for (uint32_t i = 0; i < slot_cnt; i++) {
        const struct weir_conn *conn = &hub->conns[i];
        if (!may_go(shard, conn))
            continue;
        peers[cnt++] = (struct weir_evict_peer){.group = group_of(shard->node, &conn->addr),
                                                .rtt_min_ns = conn->rtt_min_ns,
                                                .useful_ns = conn->useful_ns,
                                                .since_ns = conn->opened_ns,
                                                .id = i};
    }
    uint32_t slot = weir_evict_choose(peers, cnt, group_of(shard->node, newcomer));
    weir_heap_release(peers);
    if (slot == WEIR_EVICT_NOBODY)
        return false;
    weir_conn_close(&hub->conns[slot], WEIR_R_EVICTED, false);
    return true;
}

uint16_t weir_evict_for(struct weir_shard *shard, const struct weir_addr *newcomer)
{
    struct weir_guard *guard = &shard->node->guard;
    if (shard->hub.now_ns < shard->evict_ns)
        return WEIR_R_LIMIT_INBOUND;
    shard->evict_ns = shard->hub.now_ns + EVICT_PAUSE_NS;
    if (!evict(shard, newcomer))
        return WEIR_R_LIMIT_INBOUND;
    pthread_mutex_lock(&guard->mutex);
    uint16_t reason = weir_admit_again(guard->admit, newcomer);
    pthread_mutex_unlock(&guard->mutex);
    return reason;
}
