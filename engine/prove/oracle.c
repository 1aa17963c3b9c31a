#include "engine/prove/run.h"

#include <string.h>

#include "engine/base/check.h"
#include "engine/conn/tx.h"

/* ---- after every turn ---------------------------------------------------------------------- */

static uint64_t kept_bytes(const struct run_slot *slot, const struct weir_conn *conn)
{
    return slot->kept_peer == weir_peer_of(conn).v ? slot->kept_bytes : 0;
}

/* What is held of received bytes is what is partial, held back and kept, and nothing else. */
static void check_held(struct run_node *node, const struct weir_conn *conn)
{
    uint64_t bytes = 0;
    const struct weir_buf *placing = conn->place.kind ? conn->place.hold : NULL;
    for (uint32_t i = 0; i < conn->hub->channel_cnt; i++) {
        const struct weir_conn_channel *channel = &conn->channels[i];
        if (channel->partial)
            bytes += channel->partial->len;
        if (channel->partial == placing)
            placing = NULL;
        for (const struct weir_buf *buf = channel->held_head; buf; buf = buf->next)
            bytes += buf->len;
    }
    if (placing)
        bytes += placing->len;
    uint64_t kept = kept_bytes(run_slot_of(node, conn), conn);
    /* What other shards' threads gave back is on its way: it is taken off later, never added. */
    if (conn->state == WEIR_CONN_READY && conn->bytes_held < bytes + kept)
        run_fail(node->run, "account", "node %u slot %u: %llu bytes are counted as held, %llu are",
                 node->idx, conn->slot, (unsigned long long)conn->bytes_held,
                 (unsigned long long)(bytes + kept));
}

static void check_channel(struct run_node *node, const struct weir_conn *conn, uint32_t idx)
{
    const struct weir_conn_channel *channel = &conn->channels[idx];
    const struct weir_channel *cfg = &conn->hub->channels[idx];
    uint64_t bytes = 0;
    for (const struct weir_item *item = channel->head; item; item = item->next)
        bytes += item->len - item->off;
    for (uint32_t i = 0; conn->tx && i < conn->tx->frame_cnt; i++)
        if (conn->tx->frames[i].channel_idx == idx)
            bytes += conn->tx->frames[i].payload;
    uint64_t queued = atomic_load(&channel->queued_bytes);
    if (bytes != queued)
        run_fail(node->run, "account",
                 "node %u slot %u channel %u: %llu bytes are counted as queued, %llu are",
                 node->idx, conn->slot, cfg->id, (unsigned long long)queued,
                 (unsigned long long)bytes);
    /* One message may always be queued, however small the bound; what other threads were promised is
     * bounded apart. */
    uint64_t most = weir_max_u64(cfg->send_bytes_max, (uint64_t)cfg->msg_bytes_max + 2);
    most = weir_max_u64(most, (uint64_t)node->run->len_max + 2);
    uint64_t remote = atomic_load(&channel->remote_bytes);
    if (queued > 2 * most || remote > most || (queued > most && !(node->run->classes & PROVE_AWAY)))
        run_fail(node->run, "bound",
                 "node %u slot %u channel %u: %llu bytes queued, %llu promised, of %u", node->idx,
                 conn->slot, cfg->id, (unsigned long long)queued, (unsigned long long)remote,
                 cfg->send_bytes_max);
    if (channel->rx_used > channel->rx_limit || channel->tx_used > channel->tx_limit)
        run_fail(node->run, "bound", "node %u slot %u channel %u: more than the credit", node->idx,
                 conn->slot, cfg->id);
}

/* All that is counted of a connection: what its lists hold, against what it says. */
static void check_accounts(struct run_node *node, struct weir_conn *conn)
{
    const struct weir_config *cfg = conn->hub->cfg;
    weir_conn_verify(conn);
    for (uint32_t i = 0; i < conn->hub->channel_cnt; i++)
        check_channel(node, conn, i);
    check_held(node, conn);
    if (conn->bytes_held > cfg->peer_bytes_max ||
        (conn->bytes_held + conn->bytes_queued > cfg->peer_bytes_max &&
         !(node->run->classes & PROVE_AWAY)))
        run_fail(node->run, "bound", "node %u slot %u: %llu + %llu bytes of %llu", node->idx,
                 conn->slot, (unsigned long long)conn->bytes_held,
                 (unsigned long long)conn->bytes_queued, (unsigned long long)cfg->peer_bytes_max);
    bool is_live = conn->state == WEIR_CONN_READY;
    if (atomic_load(&conn->live_gen) != (is_live ? conn->gen : 0))
        run_fail(node->run, "events", "node %u slot %u: live and not ready, or the reverse",
                 node->idx, conn->slot);
}

/* A turn is about one connection or none, mostly. What is bit for bit as it was when it was found good is good: each
 * byte that is queued, held or sent shows in a number of its connection. What would not, a list that changes while its
 * connection does not, is found by looking at everything now and then. */
#define WHOLE_TURNS 64u

static void check_conn(struct run_node *node, struct weir_conn *conn)
{
    struct run_slot *slot = run_slot_of(node, conn);
    uint64_t kept = kept_bytes(slot, conn);
    size_t channels_bytes = conn->hub->channel_cnt * sizeof(slot->channels[0]);
    bool is_as_seen = slot->is_seen && slot->seen_kept_bytes == kept &&
                      node->run->world->turn_cnt % WHOLE_TURNS != 0 &&
                      memcmp(&slot->conn, conn, sizeof(*conn)) == 0 &&
                      memcmp(slot->channels, conn->channels, channels_bytes) == 0;
    if (!is_as_seen) {
        check_accounts(node, conn);
        slot->is_seen = true;
        slot->seen_kept_bytes = kept;
        memcpy(&slot->conn, conn, sizeof(*conn));
        memcpy(slot->channels, conn->channels, channels_bytes);
    }
    stream_check(node, conn);
}

struct owners {
    struct run_node *node;
    struct weir_shard *shard;
    uint32_t ops_cnt;
};

/* Every operation in the kernel has an owner that knows of it. */
static void visit_op(void *ctx, int sock, uint32_t kind, uint64_t token)
{
    struct owners *owners = ctx;
    struct weir_shard *shard = owners->shard;
    static const uint32_t flags[] = {[WEIR_IO_RECV] = WEIR_CONN_OP_RECV,
                                     [WEIR_IO_SEND] = WEIR_CONN_OP_SEND,
                                     [WEIR_IO_CONNECT] = WEIR_CONN_OP_CONNECT};
    if (kind == WEIR_IO_ACCEPT) {
        uint32_t idx = (uint32_t)token - WEIR_TOKEN_LISTENER;
        if (idx < WEIR_LISTENERS_MAX && shard->is_accepting[idx] &&
            shard->listen_socks[idx] == sock)
            return;
    } else if (kind == WEIR_IO_SHUTDOWN) {
        for (uint32_t i = 0; i < shard->hub.cfg->peers_max; i++)
            if (shard->hub.conns[i].sock == sock && shard->hub.conns[i].shutdown_cnt > 0)
                return;
    } else {
        const struct weir_conn *conn = weir_conn_of_token(&shard->hub, token);
        if (conn && conn->sock == sock && (conn->flags & flags[kind])) {
            owners->ops_cnt++;
            return;
        }
    }
    run_fail(owners->node->run, "owner", "node %u shard %u: operation %u on socket %d has no owner",
             owners->node->idx, shard->hub.shard, kind, sock);
}

static void check_shard(struct run_node *node, struct weir_shard *shard)
{
    struct run *run = node->run;
    struct weir_hub *hub = &shard->hub;
    uint32_t used = 0, handshakes = 0, strangers = 0, ready = 0, ops = 0;
    /* Now and then those behind the last one that is counted are looked at too. */
    uint64_t counted =
        run->world->turn_cnt % WHOLE_TURNS ? atomic_load(&hub->metrics.conn_cnt) : UINT64_MAX;
    for (uint32_t i = 0; i < hub->cfg->peers_max && used < counted; i++) {
        struct weir_conn *conn = &hub->conns[i];
        if (conn->state == WEIR_CONN_FREE)
            continue;
        used++;
        handshakes += conn->state == WEIR_CONN_HANDSHAKE;
        strangers += conn->state == WEIR_CONN_HANDSHAKE && !(conn->flags & WEIR_CONN_IS_DIALER);
        ready += conn->state == WEIR_CONN_READY;
        ops += (conn->flags & WEIR_CONN_OP_RECV) != 0;
        ops += (conn->flags & WEIR_CONN_OP_SEND) != 0;
        ops += (conn->flags & WEIR_CONN_OP_CONNECT) != 0;
        check_conn(node, conn);
    }
    struct owners owners = {.node = node, .shard = shard};
    weir_sim_visit_ops(shard->io, visit_op, &owners);
    if (owners.ops_cnt != ops)
        run_fail(run, "owner", "node %u shard %u waits for %u operations, %u are in flight",
                 node->idx, hub->shard, ops, owners.ops_cnt);
    if (atomic_load(&hub->metrics.conn_cnt) != used ||
        atomic_load(&hub->metrics.handshake_cnt) != handshakes ||
        atomic_load(&hub->metrics.ready_cnt) != ready)
        run_fail(run, "account", "node %u shard %u: connections are counted wrong", node->idx,
                 hub->shard);
    if (strangers > hub->cfg->handshakes_max)
        run_fail(run, "bound", "node %u shard %u: %u strangers, %u may be there", node->idx,
                 hub->shard, strangers, hub->cfg->handshakes_max);
    struct weir_pool_stats pool;
    weir_pool_stats(hub->pool, &pool);
    if (pool.used_bytes > hub->cfg->pool_bytes_max ||
        pool.cached_bytes > hub->cfg->pool_bytes_max / 4)
        run_fail(run, "bound", "node %u shard %u: %llu bytes of the pool are in use", node->idx,
                 hub->shard, (unsigned long long)pool.used_bytes);
    if (hub->frame_cnt || hub->used_buf_cnt || shard->batch_cnt)
        run_fail(run, "account", "node %u shard %u: something was left behind by a turn", node->idx,
                 hub->shard);
    if (weir_sim_lent_cnt(shard->io) != 0)
        run_fail(run, "account", "node %u shard %u keeps %u receive buffers beyond its turn",
                 node->idx, hub->shard, weir_sim_lent_cnt(shard->io));
}

/* Dials of a shard that go on, and of them those for ever by name, which are all cancelled before the end. */
static uint32_t dials_of_shard(const struct weir_shard *shard, uint32_t *ret_named_cnt)
{
    const struct weir_dialer *dialer = &shard->dialer;
    uint32_t cnt = 0;
    for (uint32_t i = 0; dialer->entries && i < dialer->entry_max; i++) {
        const struct weir_dial_entry *entry = &dialer->entries[i];
        cnt += entry->phase != WEIR_DIAL_FREE;
        *ret_named_cnt += entry->phase != WEIR_DIAL_FREE &&
                          entry->target->family == WEIR_ADDR_NONE &&
                          (entry->flags & WEIR_DIAL_PERSIST);
    }
    return cnt;
}

/* Of all shards. */
static uint32_t dials_of(const struct run_node *node, uint32_t *ret_named_cnt)
{
    uint32_t cnt = 0;
    for (uint32_t k = 0; k < node->node->shard_cnt; k++)
        cnt += dials_of_shard(node->node->shards[k], ret_named_cnt);
    return cnt;
}

/* A dial is counted by its node before a shard hears of it and until the shard has let it go; and a shard's dials
 * change in its own turns only. */
static void check_dials(struct run_node *node, uint32_t shard)
{
    uint32_t named_cnt = 0, cnt = 0;
    node->dial_cnts[shard] = dials_of_shard(node->node->shards[shard], &named_cnt);
    for (uint32_t k = 0; k < node->node->shard_cnt; k++)
        cnt += node->dial_cnts[k];
    if (cnt > node->cfg.dials_max || cnt > node->node->dial_cnt)
        run_fail(node->run, "bound", "node %u has %u dials, counts %u, and may have %u", node->idx,
                 cnt, node->node->dial_cnt, node->cfg.dials_max);
}

static void check_awake(struct run_node *node, const struct world_node *own)
{
    struct run *run = node->run;
    for (uint32_t i = 0; own->is_started && i < node->node->shard_cnt; i++) {
        const struct weir_shard *shard = node->node->shards[i];
        if (!own->is_done[i] && atomic_load(&shard->mailbox.top) &&
            weir_sim_io_due(own->ios[i]) > weir_world_now(run->world) &&
            atomic_load(&shard->is_owned))
            run_fail(run, "wake", "node %u shard %u sleeps and has mail", node->idx, i);
    }
}

void oracle_awake(struct run_node *node)
{
    const struct world_node *own = world_node_of(node->run->world, node->node);
    if (own)
        check_awake(node, own);
}

void oracle_turn(void *ctx, struct world_node *node, uint32_t shard)
{
    struct run *run = ctx;
    weir_heap_fail_nth(0);
    struct run_node *own = run_node_of(run, node);
    if (own && !node->is_done[shard] && !run->res->is_failed) {
        check_shard(own, node->node->shards[shard]);
        check_dials(own, shard);
    } else if (own) {
        own->dial_cnts[shard] = 0; /* it has ended */
    }
    if (own && !run->res->is_failed)
        check_awake(own, node);
    if (run->res->is_failed)
        weir_world_halt(run->world);
}

/* ---- healing ------------------------------------------------------------------------------- */

static bool is_linked(const struct run_node *from, const struct run_node *to)
{
    for (uint32_t i = 0; i < from->peer_cnt; i++) {
        const struct run_link *link = from->peers[i].link;
        const struct run_end *other = &link->ends[1 - from->peers[i].end];
        bool is_meant = from->peers[i].end == 0 || policy_is_for_both(link);
        if (is_meant && other->node == to && other->is_up)
            return true;
    }
    return false;
}

bool oracle_is_joined(struct run *run, bool is_said)
{
    for (uint32_t i = 0; i < run->node_cnt * run->node_cnt; i++) {
        struct run_node *from = &run->nodes[i / run->node_cnt],
                        *to = &run->nodes[i % run->node_cnt];
        if (!(from->persist >> to->idx & 1) || !policy_can_join(from, to) || is_linked(from, to))
            continue;
        if (is_said)
            run_fail(run, "converge",
                     "node %u did not come to a connection with node %u, which it dials", from->idx,
                     to->idx);
        return false;
    }
    return true;
}

static const char *unrest_of(struct run_node *node, const struct weir_conn *conn)
{
    if (conn->bytes_queued || conn->tx)
        return "bytes queued";
    if (conn->bytes_held)
        return "bytes held";
    for (uint32_t i = 0; i < conn->hub->channel_cnt; i++) {
        const struct weir_conn_channel *channel = &conn->channels[i];
        if (channel->rx_used != channel->rx_consumed)
            return "credit that was not given back";
        if (atomic_load(&channel->remote_bytes))
            return "bytes promised";
        struct run_peer *peer = model_peer(node, weir_peer_of(conn));
        if (peer && peer->link->flows[peer->end][conn->hub->channels[i].id - 1].is_full)
            return "a sender that was never told it may go on";
    }
    return NULL;
}

/* Whether a node dials, or is dialed, for ever by one that it cannot be connected with: it is refused, and dialed again. */
static bool is_refused_again(const struct run *run, const struct run_node *node)
{
    for (uint32_t i = 0; i < run->node_cnt; i++) {
        const struct run_node *other = &run->nodes[i];
        if (((node->persist >> i & 1) && !policy_can_join(node, other)) ||
            ((other->persist >> node->idx & 1) && !policy_can_join(other, node)))
            return true;
    }
    return false;
}

/* How long a connection may be in a state that leads to another. */
static uint64_t passing_ns(const struct weir_config *cfg)
{
    return weir_max_u64(weir_max_u64(cfg->dial_timeout_ns, cfg->handshake_timeout_ns),
                        cfg->goodbye_linger_ns) +
           WEIR_NS_PER_S;
}

/* What keeps a connection that is not ready from being at rest. Each has to end, but where some are refused and dialed
 * again there may be one at any moment. */
static const char *passing_of(const struct run *run, const struct run_node *node,
                              const struct weir_conn *conn)
{
    uint64_t age_ns = weir_world_now(run->world) - conn->state_ns;
    return is_refused_again(run, node) && age_ns <= passing_ns(&node->cfg) ? NULL : "no end";
}

bool oracle_is_at_rest(struct run *run, bool is_said)
{
    for (uint32_t i = 0; i < run->node_cnt; i++) {
        struct run_node *node = &run->nodes[i];
        for (uint32_t k = 0; node->node && k < node->node->shard_cnt; k++) {
            struct weir_hub *hub = &node->node->shards[k]->hub;
            for (uint32_t c = 0; hub->conns && c < hub->cfg->peers_max; c++) {
                struct weir_conn *conn = &hub->conns[c];
                if (conn->state == WEIR_CONN_FREE)
                    continue;
                const char *unrest = conn->state == WEIR_CONN_READY ? unrest_of(node, conn)
                                                                    : passing_of(run, node, conn);
                if (!unrest)
                    continue;
                if (is_said)
                    run_fail(run, "rest",
                             "node %u shard %u slot %u (state %u) does not come to rest: %s",
                             node->idx, k, c, conn->state, unrest);
                return false;
            }
        }
    }
    for (uint32_t i = 0; i < run->node_cnt; i++) {
        struct run_node *node = &run->nodes[i];
        uint32_t named_cnt = 0, dial_cnt = node->node ? dials_of(node, &named_cnt) : 0;
        bool has_twins = node->node && policy_has_twins(node);
        if (!node->node || (!has_twins && !named_cnt && dial_cnt == node->node->dial_cnt))
            continue;
        if (is_said && has_twins)
            run_fail(run, "twins", "node %u keeps two connections with one other", i);
        else if (is_said)
            run_fail(run, "rest", "node %u has %u dials, counts %u, and %u of them were cancelled",
                     i, dial_cnt, node->node->dial_cnt, named_cnt);
        return false;
    }
    if (run->wraps_out && is_said)
        run_fail(run, "release", "%llu buffers were never released",
                 (unsigned long long)run->wraps_out);
    return run->wraps_out == 0;
}

/* ---- the end ------------------------------------------------------------------------------- */

void oracle_stopped(struct run_node *node)
{
    struct run *run = node->run;
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    if (weir_metrics_read(node->node, &metrics) != 0)
        run_fail(run, "account", "node %u: no metrics", node->idx);
    if (metrics.conns || metrics.handshakes || metrics.peers)
        run_fail(run, "account",
                 "node %u stopped with %llu connections, %llu handshakes, %llu peers", node->idx,
                 (unsigned long long)metrics.conns, (unsigned long long)metrics.handshakes,
                 (unsigned long long)metrics.peers);
    if (node->ups != node->downs || node->peer_cnt != 0 ||
        (node->reactor_cnt > 1 &&
         (node->ups_heard != node->ups || node->downs_heard != node->downs)))
        run_fail(run, "events",
                 "node %u: %llu peers came up, %llu went down; the second reactor heard of "
                 "%llu and %llu",
                 node->idx, (unsigned long long)node->ups, (unsigned long long)node->downs,
                 (unsigned long long)node->ups_heard, (unsigned long long)node->downs_heard);
    uint64_t closes = 0;
    for (uint32_t i = 0; i < WEIR_REASON_CNT; i++)
        closes += metrics.closes[i];
    if (closes < node->ups || metrics.closes[WEIR_R_NONE] || metrics.mailbox_bytes)
        run_fail(run, "account",
                 "node %u: %llu ends are counted, %llu without a reason; %llu bytes of mail",
                 node->idx, (unsigned long long)closes,
                 (unsigned long long)metrics.closes[WEIR_R_NONE],
                 (unsigned long long)metrics.mailbox_bytes);
}
