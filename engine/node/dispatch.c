#include <string.h>

#include "engine/base/check.h"
#include "engine/base/probe.h"
#include "engine/node/internal.h"
#include "proto/native_run.h"

static struct weir_shard *shard_of(const struct weir_hub *hub)
{
    return hub->user;
}

static void flush(struct weir_hub *hub)
{
    struct weir_shard *shard = shard_of(hub);
    if (!shard->batch_cnt)
        return;
    const struct weir_reactor *reactor = &shard->node->reactors[shard->batch_reactor];
    uint32_t cnt = shard->batch_cnt;
    shard->batch_cnt = 0;
    WEIR_PROBE3(batch_begin, hub->shard, shard->batch_reactor, cnt);
    if (reactor->on_batch)
        reactor->on_batch(reactor->ctx, shard->batch, cnt);
    weir_burst_end();
    WEIR_PROBE2(batch_end, hub->shard, shard->batch_reactor);
}

/* Makes `channel_idx`'s reactor the one that the batch is for. */
static inline void aim(struct weir_shard *shard, uint32_t channel_idx)
{
    uint32_t reactor = shard->node->channel_reactor[channel_idx];
    if (reactor == shard->batch_reactor)
        return;
    flush(&shard->hub);
    shard->batch_reactor = reactor;
}

static void on_run(struct weir_conn *conn, uint32_t channel_idx, const uint8_t *run, uint32_t len,
                   struct weir_buf *buf)
{
    struct weir_hub *hub = conn->hub;
    struct weir_shard *shard = shard_of(hub);
    aim(shard, channel_idx);
    const weir_peer peer = weir_peer_of(conn);
    const uint16_t id = hub->channels[channel_idx].id;
    const uint8_t *end = run + len;
    uint64_t msg_cnt = 0;
    while (run < end) {
        if (shard->batch_cnt == WEIR_BATCH_MSGS)
            flush(hub);
        /* Filled in a tight loop: the array of one batch stays in the L1 cache. */
        struct weir_msg *msg = &shard->batch[shard->batch_cnt];
        uint32_t room = WEIR_BATCH_MSGS - shard->batch_cnt;
        uint32_t cnt = 0;
        for (; run < end && cnt < room; cnt++, msg++) {
            uint32_t msg_len;
            const uint8_t *data = weir_run_next(&run, &msg_len);
            *msg = (struct weir_msg){
                .peer = peer, .data = data, .len = msg_len, .channel = id, .buf = buf};
        }
        shard->batch_cnt += cnt;
        msg_cnt += cnt;
    }
    weir_count(&hub->metrics.channels[channel_idx].msgs_rx, msg_cnt);
    weir_count(&hub->metrics.channels[channel_idx].bytes_rx, len - msg_cnt * WEIR_RUN_PREFIX);
}

static void on_message(struct weir_conn *conn, uint32_t channel_idx, const uint8_t *data,
                       uint32_t len, struct weir_buf *buf)
{
    struct weir_hub *hub = conn->hub;
    struct weir_shard *shard = shard_of(hub);
    aim(shard, channel_idx);
    if (shard->batch_cnt == WEIR_BATCH_MSGS)
        flush(hub);
    shard->batch[shard->batch_cnt++] = (struct weir_msg){.peer = weir_peer_of(conn),
                                                         .data = data,
                                                         .len = len,
                                                         .channel = hub->channels[channel_idx].id,
                                                         .buf = buf};
    weir_count(&hub->metrics.channels[channel_idx].msgs_rx, 1);
    weir_count(&hub->metrics.channels[channel_idx].bytes_rx, len);
}

static void on_writable(struct weir_conn *conn, uint32_t channel_idx)
{
    struct weir_shard *shard = shard_of(conn->hub);
    weir_node *node = shard->node;
    const struct weir_reactor *reactor = &node->reactors[node->channel_reactor[channel_idx]];
    weir_waiters_wake(node);
    if (reactor->on_writable)
        reactor->on_writable(reactor->ctx, weir_peer_of(conn), node->channels[channel_idx].id);
}

static void tell_all(struct weir_shard *shard, weir_peer peer, int event, int reason)
{
    weir_node *node = shard->node;
    for (uint32_t i = 0; i < node->reactor_cnt; i++) {
        if (node->reactors[i].on_peer)
            node->reactors[i].on_peer(node->reactors[i].ctx, peer, event, reason);
    }
}

static void tell_dial(struct weir_shard *shard, const struct weir_target *target, int reason)
{
    weir_node *node = shard->node;
    char text[WEIR_DIALED_BYTES];
    weir_dial_text(target, text);
    for (uint32_t i = 0; i < node->reactor_cnt; i++) {
        if (node->reactors[i].on_dial)
            node->reactors[i].on_dial(node->reactors[i].ctx, text, reason);
    }
}

static void on_connected(struct weir_conn *conn)
{
    weir_dialer_connected(&shard_of(conn->hub)->dialer, conn);
}

#define WHO_BYTES (WEIR_ADDR_TEXT_BYTES + WEIR_TARGET_TEXT_BYTES)

/* Writes the other end's address, with the name that was dialed in front; nothing where no line of that level is wanted:
 * it takes microseconds, twice for each newcomer. */
static void who(const struct weir_conn *conn, int level, char ret_text[WHO_BYTES])
{
    struct weir_target target;
    size_t at = 0;
    ret_text[0] = '\0';
    if (!weir_log_is_wanted(shard_of(conn->hub)->node, level))
        return;
    if (weir_dialer_target(&shard_of(conn->hub)->dialer, conn, &target) &&
        weir_target_is_name(&target)) {
        weir_target_format(&target, ret_text);
        at = strlen(ret_text);
        ret_text[at++] = ' ';
    }
    if (conn->addr.family != WEIR_ADDR_NONE)
        weir_addr_format(&conn->addr, ret_text + at);
    else
        memcpy(ret_text + at, "?", 2);
}

static uint32_t twin_place(const struct weir_conn *conn)
{
    return conn->hub->shard * conn->hub->cfg->peers_max + conn->slot;
}

/* Sees to it that there is one connection with a node. Returns whether it is this one. */
static bool is_kept(struct weir_shard *shard, struct weir_conn *conn)
{
    weir_node *node = shard->node;
    if (!conn->codec->session || (node->cfg.flags & WEIR_CONFIG_TWINS) || WEIR_PLANTED(TWINS))
        return true;
    bool is_dialer = (conn->flags & WEIR_CONN_IS_DIALER) != 0;
    const uint8_t *id = conn->codec->agreed(conn->codec_state)->node_id;
    bool is_peer_greater = memcmp(id, node->id.bytes, sizeof(node->id.bytes)) > 0;
    struct weir_twin_rank rank = {.is_by_greater = is_dialer != is_peer_greater};
    memcpy(rank.session, conn->codec->session(conn->codec_state), sizeof(rank.session));
    weir_peer peer = weir_peer_of(conn);
    weir_peer loser = {weir_twins_come(&node->twins, twin_place(conn), id, &rank, peer.v)};
    if (loser.v == peer.v)
        return false;
    /* Where there is no memory for the letter, the other side closes it, by the same rule. */
    if (loser.v)
        (void)weir_disconnect(node, loser, WEIR_R_DUPLICATE_PEER);
    return true;
}

static void on_ready(struct weir_conn *conn)
{
    struct weir_shard *shard = shard_of(conn->hub);
    char text[WHO_BYTES];
    who(conn, WEIR_LOG_INFO, text);
    weir_secure_met(shard, conn);
    uint16_t reason = weir_welcome_ready(shard, conn);
    if (!reason)
        reason = weir_guard_ready(shard, conn);
    if (!reason)
        reason = weir_filter_ready(conn);
    if (!reason && !is_kept(shard, conn))
        reason = WEIR_R_DUPLICATE_PEER;
    if (reason) {
        conn->flags |= WEIR_CONN_TURNED_AWAY;
        weir_conn_close(conn, reason, false);
        return;
    }
    weir_directory_add(shard, conn);
    weir_log(shard->node, WEIR_LOG_INFO, "peer %016llx up: %s, %s",
             (unsigned long long)weir_peer_of(conn).v, text,
             conn->flags & WEIR_CONN_IS_DIALER ? "dialed" : "accepted");
    weir_places_begin(shard, weir_peer_of(conn));
    tell_all(shard, weir_peer_of(conn), WEIR_PEER_UP, WEIR_R_NONE);
}

/* Whether a connection was worth dialing: a message came and the peer did no wrong, or it stayed for longer
 * than any wait between two dials is. */
static bool is_useful(const struct weir_conn *conn, uint16_t reason)
{
    const struct weir_hub *hub = conn->hub;
    if (hub->now_ns - conn->opened_ns >= hub->cfg->redial_max_ns)
        return true;
    bool has_message = false;
    for (uint32_t i = 0; i < hub->channel_cnt; i++)
        has_message |= conn->channels[i].rx_used != 0;
    return has_message && weir_score_points(reason) == 0;
}

static void on_ended(struct weir_conn *conn, uint16_t reason, bool was_ready)
{
    struct weir_shard *shard = shard_of(conn->hub);
    char text[WHO_BYTES];
    if (conn->codec && conn->codec->session)
        weir_twins_go(&shard->node->twins, twin_place(conn), weir_peer_of(conn).v);
    if (!was_ready && (conn->flags & WEIR_CONN_KNEW_KEY))
        weir_secure_forget(shard, conn);
    was_ready = was_ready && !(conn->flags & WEIR_CONN_TURNED_AWAY);
    int level = was_ready ? WEIR_LOG_INFO : WEIR_LOG_DEBUG;
    who(conn, level, text);
    weir_log(shard->node, level, "peer %016llx %s: %s, %s%s%s",
             (unsigned long long)weir_peer_of(conn).v, was_ready ? "down" : "failed", text,
             weir_reason_name(reason), conn->text ? ": " : "", conn->text ? conn->text : "");
    weir_guard_ended(shard, conn, reason);
    WEIR_CHECK(shard->ended_cnt < shard->ended_max);
    uint32_t at = (shard->ended_head + shard->ended_cnt++) % shard->ended_max;
    char *words = conn->text ? weir_heap_alloc_raw(NULL, strlen(conn->text) + 1) : NULL;
    if (words) /* ours is still to be sent */
        memcpy(words, conn->text, strlen(conn->text) + 1);
    shard->ended[at] =
        (struct weir_ended){.peer = weir_peer_of(conn).v,
                            .dial_idx = conn->dial_idx,
                            .reason = reason,
                            .was_ready = was_ready,
                            .is_theirs = (conn->flags & WEIR_CONN_HEARD_GOODBYE) != 0,
                            .text = words,
                            .was_useful = was_ready && is_useful(conn, reason)};
}

void weir_dispatch_ended(struct weir_shard *shard)
{
    while (shard->ended_cnt) {
        struct weir_ended ended = shard->ended[shard->ended_head];
        shard->ended_head = (shard->ended_head + 1) % shard->ended_max;
        shard->ended_cnt--;
        weir_waiters_wake(shard->node);
        weir_peer peer = {ended.peer};
        struct weir_target target;
        bool is_failed_dial =
            !ended.was_ready && weir_dialer_is_of(&shard->dialer, ended.dial_idx,
                                                  weir_peer_slot(peer), weir_peer_gen(peer));
        if (is_failed_dial) /* the entry may be gone in a moment */
            weir_target_restore(&target, shard->dialer.entries[ended.dial_idx].target);
        if (ended.dial_idx != UINT32_MAX &&
            !weir_dialer_ended(&shard->dialer, ended.dial_idx, weir_peer_slot(peer),
                               weir_peer_gen(peer), ended.reason, ended.was_ready,
                               ended.was_useful)) {
            weir_heap_release(ended.text);
            continue;
        }
        shard->ending = &ended;
        tell_all(shard, (weir_peer){ended.was_ready ? ended.peer : 0},
                 ended.was_ready ? WEIR_PEER_DOWN : WEIR_PEER_FAILED, ended.reason);
        if (is_failed_dial)
            tell_dial(shard, &target, ended.reason);
        shard->ending = NULL;
        weir_heap_release(ended.text);
        weir_places_end(shard, peer);
        if (ended.was_ready)
            weir_directory_remove(shard, peer);
    }
}

void weir_dispatch_failed(struct weir_shard *shard, const struct weir_target *target,
                          uint16_t reason)
{
    weir_count(&shard->hub.metrics.closes[reason], 1);
    tell_all(shard, (weir_peer){0}, WEIR_PEER_FAILED, reason);
    tell_dial(shard, target, reason);
}

void weir_dispatch_tick(struct weir_shard *shard, uint32_t reactor_idx)
{
    const struct weir_reactor *reactor = &shard->node->reactors[reactor_idx];
    if (!reactor->on_tick)
        return;
    weir_ns next = reactor->on_tick(reactor->ctx, shard->hub.shard, shard->hub.now_ns);
    if (next == 0)
        return;
    struct weir_timer *timer = &shard->tick_timers[reactor_idx];
    timer->kind = WEIR_TIMER_TICK;
    timer->arg = reactor_idx;
    weir_wheel_set(&shard->wheel, timer, next);
}

void weir_dispatch_ticks(struct weir_shard *shard)
{
    for (uint32_t i = 0; i < shard->node->reactor_cnt; i++)
        weir_dispatch_tick(shard, i);
}

static void on_log(struct weir_hub *hub, int level, const char *line)
{
    weir_log(shard_of(hub)->node, level, "%s", line);
}

const struct weir_hub_ops weir_dispatch_ops = {
    .connected = on_connected,
    .ready = on_ready,
    .known = weir_secure_known,
    .ended = on_ended,
    .run = on_run,
    .message = on_message,
    .flush = flush,
    .writable = on_writable,
    .log = on_log,
};
