/* engine/node/accept.c: who comes in at a listener: which shard takes it, what is asked before it has a place. */
#include <errno.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/probe.h"
#include "engine/node/internal.h"

#define LOG_NS (60 * WEIR_NS_PER_S)
#define RETRY_NS (100 * WEIR_NS_PER_MS) /* after EMFILE and the like */

void weir_accept_arm(struct weir_shard *shard, uint32_t idx)
{
    if (shard->listen_socks[idx] < 0 || shard->is_accepting[idx] || shard->is_stopping)
        return;
    struct weir_hub *hub = &shard->hub;
    uint64_t due_ns = weir_gate_accept_ns(hub);
    /* Too many strangers came to nothing: the next ones wait in the kernel's queue. */
    if (due_ns > hub->now_ns) {
        weir_count(&hub->metrics.accept_rests, 1);
        weir_wheel_set(&shard->wheel, &shard->accept_timers[idx], due_ns);
        return;
    }
    int error =
        shard->io->ops->accept(shard->io, shard->listen_socks[idx], WEIR_TOKEN_LISTENER + idx);
    shard->is_accepting[idx] = error == 0;
    if (error) /* the kernel takes no operation now: nothing else would bring us back here */
        weir_wheel_set(&shard->wheel, &shard->accept_timers[idx], hub->now_ns + RETRY_NS);
}

/* The shard with the fewest connections, when it has so many fewer that moving one is worth a letter. */
static struct weir_shard *lighter(struct weir_shard *shard)
{
    weir_node *node = shard->node;
    uint64_t own = atomic_load_explicit(&shard->hub.metrics.conn_cnt, memory_order_relaxed);
    struct weir_shard *best = shard;
    uint64_t least = own;
    for (uint32_t i = 0; i < node->shard_cnt; i++) {
        struct weir_shard *other = node->shards[i];
        uint64_t cnt = atomic_load_explicit(&other->hub.metrics.conn_cnt, memory_order_relaxed);
        if (cnt < least && atomic_load_explicit(&other->is_owned, memory_order_acquire)) {
            least = cnt;
            best = other;
        }
    }
    return own > least + 1 + least / 8 ? best : shard;
}

/* Why there is no place for another stranger; 0: there is one. */
static uint16_t why_full(const struct weir_hub *hub)
{
    uint64_t pending = atomic_load_explicit(&hub->metrics.handshake_cnt, memory_order_relaxed);
    if (pending >= hub->cfg->handshakes_max && !WEIR_PLANTED(STRANGERS))
        return WEIR_R_LIMIT_HANDSHAKES;
    return hub->free_conns ? 0 : WEIR_R_LIMIT_PEERS;
}

/* Makes a connection that the node's limits have counted, or one on trial (`trial`: what else it is refused with).
 * Returns 0, or why there is no room for it. */
static uint16_t adopt_admitted(struct weir_shard *shard, int sock, const struct weir_addr *addr,
                               bool is_counted, uint16_t trial)
{
    struct weir_hub *hub = &shard->hub;
    struct weir_conn *conn;
    if (weir_conn_accept(hub, sock, &conn) != 0)
        return why_full(hub);
    conn->addr = *addr; /* as it was counted */
    if (trial && !(conn->flags & WEIR_CONN_TOLD))
        weir_trial_begin(shard, conn, trial);
    if (!is_counted)
        return 0;
    if (conn->flags & WEIR_CONN_TOLD)
        weir_guard_left(shard->node, addr); /* it has ended already */
    else
        conn->flags |= WEIR_CONN_ADMITTED;
    return 0;
}

void weir_shard_adopt(struct weir_shard *shard, int sock)
{
    struct weir_hub *hub = &shard->hub;
    struct weir_addr addr = {.family = WEIR_ADDR_NONE};
    /* What costs nothing is asked first: in a flood most are refused here, for the price of a close. */
    uint16_t reason = shard->is_stopping ? WEIR_R_SHUTDOWN : why_full(hub), trial = 0;
    bool is_counted = false;
    /* One that has brought no cookie may make room, but only for who is let in by all the rest. */
    bool needs_room = reason == WEIR_R_LIMIT_HANDSHAKES && weir_gate_has_room(hub);
    if (!reason || needs_room) {
        (void)shard->io->ops->peer_addr(shard->io, sock, &addr);
        reason = weir_guard_accept(shard->node, &addr, hub->now_ns, &is_counted);
        if (reason == WEIR_R_LIMIT_INBOUND)
            reason = weir_evict_for(shard, &addr);
        if (reason && weir_trial_may_begin(shard, reason)) {
            trial = reason;
            reason = 0;
            is_counted = false;
        }
    }
    if (!reason) {
        reason = weir_filter_connect(shard, &addr, false);
        if (!reason && needs_room && (trial || !weir_gate_make_room(hub)))
            reason = WEIR_R_LIMIT_HANDSHAKES;
        if (!reason)
            reason = adopt_admitted(shard, sock, &addr, is_counted, trial);
        if (!reason)
            return;
        if (is_counted)
            weir_guard_left(shard->node, &addr);
    }
    shard->io->ops->close(shard->io, sock);
    weir_count(&hub->metrics.refused, 1);
    WEIR_PROBE2(turned_away, hub->shard, reason);
    weir_count(&hub->metrics.closes[reason], 1);
}

void weir_accept_event(struct weir_shard *shard, const struct weir_io_event *event)
{
    uint32_t idx = (uint32_t)event->token - WEIR_TOKEN_LISTENER;
    shard->is_accepting[idx] = false;
    if (event->res >= 0) {
        struct weir_addr addr = {.family = WEIR_ADDR_NONE};
        (void)shard->io->ops->peer_addr(shard->io, event->res, &addr);
        weir_gate_accepted(&shard->hub, &addr);
        struct weir_shard *other = shard->node->shard_cnt > 1 ? lighter(shard) : shard;
        struct weir_note *note = other == shard ? NULL : weir_note_create(WEIR_LETTER_ADOPT, 0);
        if (note) {
            note->flags = (uint32_t)event->res;
            (void)weir_shard_post(other, note, true);
        } else {
            weir_shard_adopt(shard, event->res);
        }
    } else if (event->res != -ECANCELED) {
        /* A shortage lasts: a line for each of ten attempts a second would bury what else is said. */
        if (shard->hub.now_ns >= shard->accept_log_ns) {
            weir_log(shard->node, WEIR_LOG_WARN, "accept: %s; trying again every 100 ms",
                     strerror(-event->res));
            shard->accept_log_ns = shard->hub.now_ns + LOG_NS;
        }
        weir_wheel_set(&shard->wheel, &shard->accept_timers[idx], shard->hub.now_ns + RETRY_NS);
        return;
    }
    weir_accept_arm(shard, idx);
}

bool weir_accept_end(struct weir_shard *shard)
{
    bool is_accepting = false;
    for (uint32_t i = 0; i < WEIR_LISTENERS_MAX; i++) {
        if (shard->is_accepting[i] && !shard->is_cancelled[i])
            shard->is_cancelled[i] =
                shard->io->ops->cancel(shard->io, WEIR_TOKEN_LISTENER + i) == 0;
        is_accepting |= shard->is_accepting[i];
    }
    return !is_accepting;
}
