#include "engine/prove/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"

/* A buffer of ours that the engine sends without a copy. */
struct wrap {
    struct run *run;
    uint64_t uid;
    uint32_t len;
    bool is_released;
    uint8_t data[];
};

static void wrap_released(void *ctx, void *data, size_t len)
{
    struct wrap *wrap = ctx;
    struct run *run = wrap->run;
    if (wrap->is_released || data != wrap->data || len != wrap->len ||
        !model_is_filled(wrap->data, wrap->len, wrap->uid))
        run_fail(run, "release", "a buffer of %zu bytes was released twice, or changed", len);
    wrap->is_released = true;
    memset(data, 0xEE, len); /* who reads on sends this, and its receiver knows */
    run->wraps_out--;
    free(wrap);
}

static uint32_t some_len(struct run *run, uint32_t len_max, bool is_marked)
{
    uint64_t kind = run_below(run, 100);
    uint64_t len = kind < 55   ? run_below(run, 200)
                   : kind < 85 ? run_below(run, 4096)
                   : kind < 97 ? run_below(run, 20000)
                               : run_below(run, run->len_max + 1);
    if (len > len_max)
        len = run_chance(run, 10) ? len_max + run_below(run, 2) : run_below(run, len_max + 1);
    if (is_marked && len < RUN_MARK_BYTES)
        len = RUN_MARK_BYTES;
    return (uint32_t)len;
}

/* ---- sending ------------------------------------------------------------------------------- */

/* The shard of ours that the caller is: its number, or RUN_SHARDS_MAX for another thread. */
static uint32_t here_of(const struct run_node *node)
{
    const weir_world *world = node->run->world;
    return world->here && world->here->node == node->node ? world->here_shard : RUN_SHARDS_MAX;
}

static void check_answer(struct run_node *node, const char *what, int64_t answer)
{
    struct run *run = node->run;
    bool is_known = answer >= 0 || answer == WEIR_E_FULL || answer == WEIR_E_GONE ||
                    answer == WEIR_E_NO_CHANNEL || answer == WEIR_E_TOO_BIG ||
                    answer == WEIR_E_NOMEM || answer == WEIR_E_LIMIT || answer == WEIR_E_STATE;
    if (!is_known)
        run_fail(run, "answer", "node %u: %s answered %s", node->idx, what,
                 weir_error_name((int)answer));
    if (answer == WEIR_E_NOMEM && !(run->classes & (PROVE_MEMORY | PROVE_TIGHT)))
        run_fail(run, "answer", "node %u: %s answered WEIR_E_NOMEM, and nothing was short",
                 node->idx, what);
}

static int send_wrapped(struct run_node *node, weir_peer peer, uint16_t channel, uint64_t uid,
                        uint32_t len)
{
    struct run *run = node->run;
    struct wrap *wrap = malloc(sizeof(*wrap) + len);
    WEIR_CHECK(wrap != NULL);
    *wrap = (struct wrap){.run = run, .uid = uid, .len = len};
    model_fill(wrap->data, len, uid);
    struct weir_buf *buf;
    int error = weir_buf_wrap(&buf, wrap->data, len, wrap_released, wrap);
    if (error) { /* it was not taken */
        free(wrap);
        return error;
    }
    run->wraps_out++;
    return weir_send_buf(node->node, peer, channel, buf);
}

static void send_one(struct run_node *node, struct run_peer *peer, uint32_t nth)
{
    struct run *run = node->run;
    const struct weir_channel *channel = &node->channels[nth];
    uint32_t idx = channel->id - 1u;
    uint32_t here = here_of(node), there = weir_peer_shard(peer->peer);
    uint32_t source = here == there            ? RUN_OWN
                      : here == RUN_SHARDS_MAX ? RUN_AWAY
                                               : RUN_SHARD + here;
    if (source != RUN_OWN && !(run->classes & PROVE_AWAY))
        return;
    uint64_t uid = model_uid(run, source);
    bool is_lossy = channel->overflow != WEIR_OVERFLOW_REFUSE;
    uint32_t len = some_len(run, channel->msg_bytes_max, is_lossy || source != RUN_OWN);
    if (run->is_healing) { /* gently: an application that overloads its peers does not come to rest */
        len = RUN_MARK_BYTES + len % 500;
        if (channel->overflow == WEIR_OVERFLOW_CLOSE || len > channel->msg_bytes_max)
            return;
    }
    weir_peer id = peer->peer;
    struct weir_conn *conn = run_conn_of(node, id);
    bool was_idle = source == RUN_OWN && conn && run->is_urgent[idx] &&
                    atomic_load(&conn->channels[nth].queued_bytes) == 0;
    int error;
    if (len >= RUN_MARK_BYTES && run_chance(run, 20)) {
        error = send_wrapped(node, id, channel->id, uid, len);
    } else {
        model_fill(run->scratch, len, uid);
        error = weir_try_send(node->node, id, channel->id, run->scratch, len);
    }
    check_answer(node, "a send", error);
    peer = model_peer(node, id);
    if (!peer) /* it went down meanwhile */
        return;
    if (error == 0) {
        model_sent(node, peer, idx, uid, len, false);
        if (was_idle)
            stream_urgent(node, conn, nth);
    } else if (error == WEIR_E_FULL) {
        peer->link->flows[peer->end][idx].is_full = true;
    } else if (error == WEIR_E_GONE && source == RUN_OWN && conn &&
               conn->state == WEIR_CONN_READY) {
        run_fail(run, "answer", "node %u: a send to a peer that is up answered WEIR_E_GONE",
                 node->idx);
    }
}

/* One message to all: who is asked is sent to, unless its queue is full. */
struct cast {
    struct run_node *node;
    uint32_t life, nth, len;
    uint64_t uid;
    uint32_t asked;
};

static int cast_accept(void *ctx, weir_peer peer)
{
    struct cast *cast = ctx;
    struct run_peer *found = model_peer(cast->node, peer);
    if (!found) {
        run_fail(cast->node->run, "events", "a broadcast asks for peer %llx, which is not up",
                 (unsigned long long)peer.v);
        return 0;
    }
    if (cast->uid % 5 == 0 && peer.v % 3 == 0)
        return 0; /* not to everybody */
    cast->asked++;
    model_sent(cast->node, found, cast->node->channels[cast->nth].id - 1u, cast->uid, cast->len,
               true);
    return 1;
}

static void broadcast(struct run_node *node)
{
    struct run *run = node->run;
    static struct cast casts[4096]; /* letters come later: a place is used again after many */
    static uint32_t next_cast;
    struct cast *cast = &casts[next_cast++ % 4096];
    uint32_t nth = (uint32_t)run_below(run, node->channel_cnt);
    *cast =
        (struct cast){.node = node, .life = node->life, .nth = nth, .uid = model_uid(run, RUN_OWN)};
    cast->len = some_len(run, node->channels[nth].msg_bytes_max, true);
    model_fill(run->scratch, cast->len, cast->uid);
    struct weir_fanout fanout = {.size = sizeof(fanout), .accept = cast_accept, .ctx = cast};
    int64_t taken =
        weir_broadcast(node->node, node->channels[nth].id, run->scratch, cast->len, &fanout);
    check_answer(node, "a broadcast", taken);
    if (taken > (int64_t)cast->asked)
        run_fail(run, "answer", "node %u: a broadcast to %u peers was queued for %lld", node->idx,
                 cast->asked, (long long)taken);
}

/* ---- everything else ----------------------------------------------------------------------- */

static void cancel(struct run_node *node, uint32_t to)
{
    char name[32];
    snprintf(name, sizeof(name), "host%u:7000", to + 1);
    int error = weir_dial_cancel(node->node, name);
    check_answer(node, "a cancel", error);
    if (error != WEIR_E_NOMEM)
        node->named &= ~(1u << to);
}

void actor_cancel(struct run *run)
{
    for (uint32_t i = 0; i < run->node_cnt * (run->node_cnt + 1); i++) {
        struct run_node *node = &run->nodes[i / (run->node_cnt + 1)];
        uint32_t to = i % (run->node_cnt + 1);
        if (node->node && !node->is_stopping && (node->named >> to & 1))
            cancel(node, to);
    }
}

void actor_dial(struct run_node *node)
{
    struct run *run = node->run;
    uint32_t to = (uint32_t)run_below(run, run->node_cnt + 1); /* also itself, and nobody */
    char address[128];
    uint32_t flags = policy_dial(node, to, address);
    bool is_name = strncmp(address, "host", 4) == 0;
    if (is_name && run_chance(run, 50)) {
        if (node->named >> to & 1) {
            cancel(node, to);
            return;
        }
        flags |= WEIR_DIAL_PERSIST;
    }
    int error = weir_dial(node->node, address, flags);
    if (error == 0 && (flags & WEIR_DIAL_PERSIST))
        node->named |= 1u << to;
    bool is_impossible = node->cfg.secure == WEIR_SECURE_PLAIN && (flags & WEIR_DIAL_REQUIRE);
    if (is_impossible != (error == WEIR_E_CONFIG))
        run_fail(run, "answer", "node %u: a dial with flags %x answered %s", node->idx, flags,
                 weir_error_name(error));
    if (!is_impossible)
        check_answer(node, "a dial", error);
}

static struct run_peer *some_peer(struct run_node *node)
{
    return node->peer_cnt ? &node->peers[run_below(node->run, node->peer_cnt)] : NULL;
}

static void act(struct run_node *node)
{
    struct run *run = node->run;
    struct run_peer *peer = some_peer(node);
    uint64_t what = run_below(run, 1000);
    if (what < 2 && run_is_on(run, PROVE_DISCONNECT) && peer) {
        check_answer(node, "a disconnect",
                     weir_disconnect(node->node, peer->peer, (int)run_below(run, 3)));
    } else if (what < 6 && run_is_on(run, PROVE_DIAL)) {
        actor_dial(node);
    } else if (what < 30 && run_is_on(run, PROVE_HOLD) && peer) {
        uint16_t channel = node->channels[run_below(run, node->channel_cnt)].id;
        check_answer(node, "a pause",
                     weir_channel_pause(node->node, peer->peer, channel, (int)run_below(run, 2)));
    } else if (what < 60 && run_is_on(run, PROVE_BROADCAST)) {
        broadcast(node);
    } else if (what < 65) {
        struct weir_metrics metrics = {.size = sizeof(metrics)};
        check_answer(node, "metrics", weir_metrics_read(node->node, &metrics));
    } else if (peer) {
        send_one(node, peer, (uint32_t)run_below(run, node->channel_cnt));
    }
}

void actor_away(struct run *run)
{
    struct run_node *node = &run->nodes[run_below(run, run->node_cnt)];
    if (node->node && !node->is_stopping && !run->is_quiet && (run->classes & PROVE_AWAY))
        for (uint64_t n = 1 + run_below(run, 4); n > 0; n--)
            act(node);
    actor_release(run, false);
}

void actor_release(struct run *run, bool is_all)
{
    uint64_t now_ns = weir_world_now(run->world);
    for (uint32_t i = 0; i < run->kept_cnt;) {
        struct run_kept kept = run->kept[i];
        if (!is_all && now_ns < kept.until_ns) {
            i++;
            continue;
        }
        if (!model_is_filled(weir_buf_data(kept.buf), kept.len, kept.uid))
            run_fail(run, "kept", "node %u: a kept message of %u bytes was changed", kept.node->idx,
                     kept.len);
        if (kept.slot && kept.life == kept.node->life && kept.slot->kept_peer == kept.peer.v)
            kept.slot->kept_bytes -= kept.len;
        run->kept[i] = run->kept[--run->kept_cnt];
        weir_buf_unref(kept.buf);
    }
}

void actor_part(struct run *run)
{
    for (uint32_t i = 0; i < run->node_cnt; i++)
        for (uint32_t k = 0; run->nodes[i].node && k < run->nodes[i].peer_cnt; k++)
            (void)weir_disconnect(run->nodes[i].node, run->nodes[i].peers[k].peer, 0);
}

void actor_calm(struct run *run)
{
    for (uint32_t i = 0; i < run->node_cnt; i++) {
        struct run_node *node = &run->nodes[i];
        if (!node->node || node->is_stopping)
            continue;
        for (uint32_t k = 0; k < node->peer_cnt; k++)
            for (uint32_t c = 0; c < node->channel_cnt; c++)
                (void)weir_channel_pause(node->node, node->peers[k].peer, node->channels[c].id, 0);
    }
}

/* ---- callbacks ----------------------------------------------------------------------------- */

static void keep(struct run_node *node, const struct weir_msg *msg, uint64_t uid)
{
    struct run *run = node->run;
    struct weir_buf *buf;
    if (run->kept_cnt == RUN_KEPT_MAX)
        return;
    int error = weir_msg_keep(node->node, msg, &buf);
    check_answer(node, "a keep", error);
    if (error)
        return;
    const struct weir_conn *conn = run_conn_of(node, msg->peer);
    struct run_slot *slot = conn ? run_slot_of(node, conn) : NULL;
    if (slot && slot->kept_peer != msg->peer.v) {
        slot->kept_peer = msg->peer.v;
        slot->kept_bytes = 0;
    }
    if (slot)
        slot->kept_bytes += msg->len;
    uint64_t for_ns = run_below(run, 1u << run_below(run, 12)) * WEIR_NS_PER_MS;
    run->kept[run->kept_cnt++] = (struct run_kept){.buf = buf,
                                                   .slot = slot,
                                                   .node = node,
                                                   .life = node->life,
                                                   .peer = msg->peer,
                                                   .uid = uid,
                                                   .len = msg->len,
                                                   .until_ns = weir_world_now(run->world) + for_ns};
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct run_reactor *reactor = ctx;
    struct run_node *node = reactor->node;
    struct run *run = node->run;
    for (uint32_t i = 0; i < msg_cnt && !run->res->is_failed; i++) {
        const struct weir_msg *msg = &msgs[i];
        uint32_t nth = 0;
        while (nth < node->channel_cnt && node->channels[nth].id != msg->channel)
            nth++;
        if (weir_peer_shard(msg->peer) != run->world->here_shard || nth == node->channel_cnt ||
            reactor->idx != (nth >= node->channel_split))
            run_fail(run, "events",
                     "node %u: a message on channel %u for the wrong reactor or shard", node->idx,
                     msg->channel);
        uint64_t uid = model_arrived(node, msg);
        if (run_is_on(run, PROVE_KEEP) && run_chance(run, 10))
            keep(node, msg, uid);
        if (!run->is_quiet && run_chance(run, 10)) {
            struct run_peer *peer = model_peer(node, msg->peer);
            if (peer)
                send_one(node, peer, nth);
        }
        if (run_is_on(run, PROVE_DISCONNECT) && run_below(run, 3000) == 0)
            check_answer(node, "a disconnect", weir_disconnect(node->node, msg->peer, 0));
    }
    if (run_is_on(run, PROVE_SLOW) && run_chance(run, 10))
        weir_world_spend(run->world, run_below(run, 1u << run_below(run, 8)) * WEIR_NS_PER_MS);
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct run_reactor *reactor = ctx;
    struct run_node *node = reactor->node;
    struct run *run = node->run;
    if (reactor->idx > 0) { /* hears the same, after the first */
        node->ups_heard += event == WEIR_PEER_UP;
        node->downs_heard += event == WEIR_PEER_DOWN;
        return;
    }
    switch ((enum weir_event)event) {
    case WEIR_PEER_UP:
        model_up(node, peer);
        break;
    case WEIR_PEER_DOWN:
        model_down(node, peer, reason);
        break;
    case WEIR_PEER_FAILED:
        if (peer.v != 0 || reason <= WEIR_R_NONE || reason >= WEIR_REASON_CNT)
            run_fail(run, "events", "node %u: peer %llx failed for reason %d", node->idx,
                     (unsigned long long)peer.v, reason);
        model_blame(node, reason);
        TRACE(run, "node %u: a connection failed: %s", node->idx, weir_reason_name(reason));
        break;
    }
}

static void on_writable(void *ctx, weir_peer peer, uint16_t channel)
{
    struct run_reactor *reactor = ctx;
    struct run_peer *found = model_peer(reactor->node, peer);
    if (!found) {
        run_fail(reactor->node->run, "events", "node %u: peer %llx is writable and not up",
                 reactor->node->idx, (unsigned long long)peer.v);
        return;
    }
    found->link->flows[found->end][channel - 1].is_full = false;
}

static weir_ns on_tick(void *ctx, uint32_t shard, weir_ns now)
{
    struct run_reactor *reactor = ctx;
    struct run_node *node = reactor->node;
    struct run *run = node->run;
    (void)shard;
    if (reactor->idx > 0)
        return 0;
    if (now > weir_world_now(run->world))
        run_fail(run, "events", "node %u: a tick of the future", node->idx);
    if (run_is_on(run, PROVE_MEMORY) && run_chance(run, 20))
        weir_heap_fail_nth(1 + run_below(run, 30));
    if (!run->is_quiet && !node->is_stopping)
        for (uint64_t n = run->is_healing ? 1 : run_below(run, node->ops_max + 1);
             n > 0 && !run->res->is_failed; n--)
            act(node);
    if (run->is_still) /* nor does it look for something to do */
        return now + WEIR_NS_PER_S;
    return now + 1 + run_below(run, 2 * node->tick_ns);
}

const struct weir_reactor actor_reactor = {
    .size = sizeof(actor_reactor),
    .on_batch = on_batch,
    .on_peer = on_peer,
    .on_writable = on_writable,
    .on_tick = on_tick,
};
