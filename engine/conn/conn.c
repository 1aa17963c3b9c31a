#include "engine/conn/conn.h"

#include <string.h>
#include <sys/socket.h>

#include "engine/base/check.h"
#include "engine/base/probe.h"
#include "engine/conn/tx.h"
#include "weir/error.h"

static void enter(struct weir_conn *conn, enum weir_conn_state state)
{
    struct weir_hub *hub = conn->hub;
    WEIR_PROBE4(state, conn->slot, conn->gen, conn->state, state);
    if (conn->state == WEIR_CONN_HANDSHAKE)
        weir_uncount(&hub->metrics.handshake_cnt, 1);
    if (conn->flags & WEIR_CONN_PENDING)
        weir_gate_left(conn, state == WEIR_CONN_READY);
    if (conn->state == WEIR_CONN_READY) {
        weir_burst_end(); /* nothing more is appended */
        atomic_store_explicit(&conn->live_gen, 0, memory_order_release);
        weir_uncount(&hub->metrics.ready_cnt, 1);
    }
    if (state == WEIR_CONN_HANDSHAKE)
        weir_count(&hub->metrics.handshake_cnt, 1);
    if (state == WEIR_CONN_READY) {
        weir_count(&hub->metrics.ready_cnt, 1);
        weir_count(&hub->metrics.handshakes_done, 1);
    } else if (conn->state == WEIR_CONN_HANDSHAKE) {
        weir_count(&hub->metrics.handshakes_failed, 1);
    }
    conn->state = (uint8_t)state;
    conn->state_ns = hub->now_ns;
}

static struct weir_conn *conn_take(struct weir_hub *hub)
{
    struct weir_conn *conn = hub->free_conns;
    if (!conn)
        return NULL;
    hub->free_conns = conn->next_free;
    struct weir_conn_channel *channels = conn->channels;
    /* What comes before `flags` belongs to the slot, and other threads may be reading it. */
    memset(&conn->flags, 0, sizeof(*conn) - offsetof(struct weir_conn, flags));
    conn->sock = -1;
    conn->dial_idx = UINT32_MAX;
    conn->timer.kind = WEIR_TIMER_CONN;
    conn->timer.arg = conn->slot;
    conn->opened_ns = conn->last_rx_ns = conn->last_tx_ns = hub->now_ns;
    conn->busy_since_ns = conn->pings_since_ns = hub->now_ns;
    for (uint32_t i = 0; i < hub->channel_cnt; i++) {
        struct weir_conn_channel *channel = &channels[i];
        /* remote_bytes is the slot's: a letter that is under way gives back what it reserved. */
        WEIR_DCHECK(!channel->head && !channel->partial && !channel->held_head);
        channel->tx_used = channel->tx_limit = 0;
        channel->rx_used = channel->rx_consumed = 0;
        channel->rx_limit = hub->channels[i].recv_bytes_max;
        channel->is_agreed = channel->is_paused = channel->is_stalled = false;
        channel->was_full_run = false;
        atomic_store_explicit(&channel->want_writable, false, memory_order_relaxed);
        atomic_store_explicit(&channel->queued_bytes, 0, memory_order_relaxed);
        atomic_store_explicit(&channel->msg_bytes_max, 0, memory_order_relaxed);
    }
    if (hub->rates)
        weir_rates_begin(conn);
    weir_sched_init(&conn->sched, hub->finish_tags + (size_t)conn->slot * hub->channel_cnt,
                    hub->costs, hub->urgent, hub->channel_cnt);
    if (conn->slot >= atomic_load_explicit(&hub->slots_used, memory_order_relaxed))
        atomic_store_explicit(&hub->slots_used, conn->slot + 1, memory_order_relaxed);
    weir_count(&hub->metrics.conn_cnt, 1);
    return conn;
}

static void conn_put(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    weir_heap_release(conn->text);
    conn->text = NULL;
    enter(conn, WEIR_CONN_FREE);
    conn->gen = conn->gen + 1 ? conn->gen + 1 : 1;
    conn->next_free = hub->free_conns;
    hub->free_conns = conn;
    weir_uncount(&hub->metrics.conn_cnt, 1);
}

/* Shuts the socket, now or, when the kernel has no memory for it, in a later turn. */
static void shut(struct weir_conn *conn, int how)
{
    struct weir_hub *hub = conn->hub;
    int error = hub->io->ops->shutdown(hub->io, conn->sock, how, weir_conn_token(conn));
    if (error == 0) {
        conn->shutdown_cnt++;
        conn->flags &= ~(uint32_t)WEIR_CONN_WANT_SHUTDOWN;
    } else {
        conn->flags |= WEIR_CONN_WANT_SHUTDOWN;
        weir_conn_mark_dirty(conn);
    }
}

void weir_conn_retry(struct weir_conn *conn)
{
    if (conn->flags & WEIR_CONN_WANT_SHUTDOWN)
        shut(conn, conn->state == WEIR_CONN_LINGER ? SHUT_WR : SHUT_RDWR);
}

void weir_conn_begin(struct weir_conn *conn, const struct weir_codec *codec,
                     const struct weir_offer *offer)
{
    struct weir_hub *hub = conn->hub;
    bool is_dialer = (conn->flags & WEIR_CONN_IS_DIALER) != 0;
    conn->codec = codec;
    codec->begin(conn->codec_state, offer, is_dialer);
    if (codec->arm) {
        uint8_t seed[32], peer_key[32], from[WEIR_COOKIE_FROM_MAX];
        bool has_key =
            is_dialer && conn->has_dial_id && hub->ops->known && hub->ops->known(conn, peer_key);
        conn->flags |= has_key ? WEIR_CONN_KNEW_KEY : 0;
        hub->io->ops->random(hub->io, seed, sizeof(seed));
        struct weir_arm arm = {.seed = seed,
                               .peer_id = conn->has_dial_id ? conn->dial_id : NULL,
                               .peer_key = has_key ? peer_key : NULL,
                               .from = from,
                               .from_len = is_dialer ? 0 : weir_gate_from(conn, from)};
        codec->arm(conn->codec_state, &arm);
        explicit_bzero(seed, sizeof(seed));
        conn->key_ns = hub->now_ns;
    }
    if (is_dialer)
        conn->flags |= WEIR_CONN_HAS_PULL;
}

void weir_conn_established(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    bool is_dialer = (conn->flags & WEIR_CONN_IS_DIALER) != 0;
    enter(conn, WEIR_CONN_HANDSHAKE);
    if (hub->secure_codec && !is_dialer)
        weir_gate_came(conn);
    if (!hub->secure_codec || (is_dialer && conn->policy == WEIR_SECURE_PLAIN))
        weir_conn_begin(conn, hub->codec, hub->offer);
    else if (is_dialer)
        weir_conn_begin(conn, hub->secure_codec, hub->offer);
    conn->last_rx_ns = conn->last_tx_ns = hub->now_ns;
    if (conn->addr.family != WEIR_ADDR_UNIX)
        hub->io->ops->tune(hub->io, conn->sock);
    if (!(conn->flags & (WEIR_CONN_OP_RECV | WEIR_CONN_STARVED))) /* else a prelude has armed it */
        weir_conn_arm_recv(conn);
    weir_conn_mark_dirty(conn);
    weir_keepalive_set(conn);
}

int weir_conn_accept(struct weir_hub *hub, int sock, struct weir_conn **ret_conn)
{
    uint64_t pending = atomic_load_explicit(&hub->metrics.handshake_cnt, memory_order_relaxed);
    if (pending >= hub->cfg->handshakes_max && !WEIR_PLANTED(STRANGERS))
        return WEIR_E_LIMIT;
    struct weir_conn *conn = conn_take(hub);
    if (!conn)
        return WEIR_E_LIMIT;
    conn->sock = sock;
    if (!hub->io->ops->peer_addr(hub->io, sock, &conn->addr))
        conn->addr.family = WEIR_ADDR_NONE;
    weir_count(&hub->metrics.accepted, 1);
    WEIR_PROBE3(accepted, conn->slot, conn->gen, sock);
    weir_conn_established(conn);
    *ret_conn = conn;
    return 0;
}

int weir_conn_dial(struct weir_hub *hub, const struct weir_addr *addr, uint32_t dial_idx,
                   struct weir_conn **ret_conn)
{
    struct weir_conn *conn = conn_take(hub);
    if (!conn)
        return WEIR_E_LIMIT;
    conn->flags |= WEIR_CONN_IS_DIALER;
    conn->policy = (uint8_t)hub->cfg->secure;
    conn->addr = *addr;
    conn->dial_idx = dial_idx;
    enter(conn, WEIR_CONN_DIALING);
    weir_count(&hub->metrics.connects, 1);
    WEIR_PROBE2(connecting, conn->slot, conn->gen);
    int error = hub->io->ops->connect(hub->io, addr, weir_conn_token(conn), &conn->sock);
    if (error) {
        conn_put(conn);
        return error;
    }
    conn->flags |= WEIR_CONN_OP_CONNECT;
    weir_keepalive_set(conn);
    *ret_conn = conn;
    return 0;
}

void weir_conn_agreed(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    const struct weir_agreed *agreed = conn->codec->agreed(conn->codec_state);
    conn->frame_bytes_max = agreed->frame_bytes_max;
    for (uint32_t i = 0; i < agreed->channel_cnt; i++) {
        struct weir_conn_channel *channel = &conn->channels[agreed->channels[i].local_idx];
        uint32_t window = agreed->channels[i].window_bytes;
        uint32_t half = window / 2;
        channel->is_agreed = true;
        channel->tx_limit = window;
        /* A frame never needs more than half of the window, so that credit, which comes back in quarters,
         * always suffices for the next one. A window of a few bytes must still let an empty message
         * through, which is a run of two bytes, or at least a byte. */
        if (half < 2)
            half = window < 2 ? window : 2;
        channel->frame_bytes_max = half < agreed->frame_bytes_max ? half : agreed->frame_bytes_max;
        if (WEIR_PLANTED(FRAME))
            channel->frame_bytes_max = hub->cfg->frame_bytes_max;
        atomic_store_explicit(&channel->msg_bytes_max, agreed->channels[i].msg_bytes_max,
                              memory_order_relaxed);
    }
    enter(conn, WEIR_CONN_READY);
    conn->flags |= WEIR_CONN_WAS_READY;
    conn->last_ping_ns = hub->now_ns;
    /* Release: a thread that sees the generation sees the channels as they were agreed. */
    atomic_store_explicit(&conn->live_gen, conn->gen, memory_order_release);
    weir_keepalive_set(conn);
    hub->ops->ready(conn);
}

/* Says once that the connection is over. */
static void tell(struct weir_conn *conn, uint16_t reason)
{
    if (conn->flags & WEIR_CONN_TOLD)
        return;
    conn->flags |= WEIR_CONN_TOLD;
    conn->close_reason = reason;
    WEIR_PROBE4(ended, conn->slot, conn->gen, reason, conn->flags & WEIR_CONN_WAS_READY);
    weir_count(&conn->hub->metrics.closes[reason < WEIR_REASON_CNT ? reason : 0], 1);
    conn->hub->ops->ended(conn, reason, (conn->flags & WEIR_CONN_WAS_READY) != 0);
    if (WEIR_PLANTED(EVENT) && (conn->flags & WEIR_CONN_WAS_READY))
        conn->hub->ops->ended(conn, reason, true);
}

static void drain(struct weir_conn *conn)
{
    enter(conn, WEIR_CONN_DRAIN);
    conn->flags |= WEIR_CONN_RX_DEAD;
    /* What is in flight ends by it; and where bytes wait unread, close() alone would send a reset at once. Otherwise
     * close() does all that a shutdown would, and the flush settles it. */
    if (conn->flags &
        (WEIR_CONN_OP_RECV | WEIR_CONN_OP_SEND | WEIR_CONN_OP_CONNECT | WEIR_CONN_STARVED)) {
        shut(conn, SHUT_RDWR);
    } else {
        conn->flags &= ~(uint32_t)WEIR_CONN_WANT_SHUTDOWN;
        weir_conn_mark_dirty(conn);
    }
    weir_keepalive_set(conn);
}

void weir_conn_abort(struct weir_conn *conn, uint16_t reason)
{
    if (conn->state == WEIR_CONN_FREE || conn->state == WEIR_CONN_DRAIN)
        return;
    drain(conn); /* first: who is told finds it gone, as other threads do */
    tell(conn, reason);
}

void weir_conn_set_text(struct weir_conn *conn, const char *text)
{
    size_t len = strnlen(text, WEIR_GOODBYE_TEXT_MAX);
    char *copy = len ? weir_heap_alloc_raw(NULL, len + 1) : NULL;
    if (copy) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    weir_heap_release(conn->text);
    conn->text = copy;
}

void weir_conn_close(struct weir_conn *conn, uint16_t reason, bool is_graceful)
{
    switch ((enum weir_conn_state)conn->state) {
    case WEIR_CONN_FREE:
    case WEIR_CONN_GOODBYE:
    case WEIR_CONN_LINGER:
    case WEIR_CONN_DRAIN:
        return;
    case WEIR_CONN_DIALING:
        weir_conn_abort(conn, reason);
        return;
    case WEIR_CONN_HANDSHAKE:
        if (!(conn->flags & WEIR_CONN_HAS_PULL)) {
            weir_conn_abort(conn, reason);
            return;
        }
        break;
    case WEIR_CONN_READY:
        break;
    }
    enter(conn, WEIR_CONN_GOODBYE);
    if (is_graceful)
        conn->flags |= WEIR_CONN_DRAIN_FIRST;
    else
        conn->flags |= WEIR_CONN_RX_DEAD;
    tell(conn, reason);
    if (!is_graceful)
        weir_sendq_reset(conn);
    weir_conn_mark_dirty(conn);
    weir_keepalive_set(conn);
}

void weir_conn_hurry(struct weir_conn *conn)
{
    if (conn->state != WEIR_CONN_GOODBYE || !(conn->flags & WEIR_CONN_DRAIN_FIRST)) {
        conn->hub->has_unheard |= conn->hub->drain_until_ns && weir_conn_is_unheard(conn);
        weir_conn_abort(conn, conn->close_reason);
        return;
    }
    enter(conn, WEIR_CONN_GOODBYE); /* from now on, again */
    conn->flags &= ~(uint32_t)WEIR_CONN_DRAIN_FIRST;
    conn->flags |= WEIR_CONN_RX_DEAD;
    weir_sendq_reset(conn);
    weir_conn_mark_dirty(conn);
}

void weir_conn_said_goodbye(struct weir_conn *conn)
{
    if (conn->state != WEIR_CONN_GOODBYE)
        return;
    enter(conn, WEIR_CONN_LINGER);
    conn->flags |= WEIR_CONN_RX_DEAD;
    if (!(conn->flags & (WEIR_CONN_OP_RECV | WEIR_CONN_STARVED))) {
        drain(conn); /* the peer's end was seen already */
        return;
    }
    shut(conn, SHUT_WR);
    weir_keepalive_set(conn);
}

void weir_conn_broken(struct weir_conn *conn)
{
    weir_verify_flush(conn->hub); /* what came before the end counts, a goodbye above all */
    if (conn->state == WEIR_CONN_GOODBYE || conn->state == WEIR_CONN_LINGER)
        drain(conn);
    else
        weir_conn_abort(conn, WEIR_R_RESET);
}

void weir_conn_ended(struct weir_conn *conn)
{
    weir_verify_flush(conn->hub);
    if (conn->state == WEIR_CONN_LINGER)
        drain(conn);
    else if (conn->state == WEIR_CONN_GOODBYE)
        weir_keepalive_set(conn); /* it may have shut its writing side only: the goodbye goes */
    else
        weir_conn_abort(conn, WEIR_R_EOF);
}

void weir_conn_end_codec(struct weir_conn *conn)
{
    if (conn->codec && conn->codec->end)
        conn->codec->end(conn->codec_state);
    conn->codec = NULL;
}

void weir_conn_settle(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    if (WEIR_PLANTED(CLOSE))
        conn->flags &= conn->state == WEIR_CONN_DRAIN ? ~(uint32_t)WEIR_CONN_OP_RECV : UINT32_MAX;
    if (conn->state != WEIR_CONN_DRAIN || conn->shutdown_cnt ||
        (conn->flags &
         (WEIR_CONN_WANT_SHUTDOWN | WEIR_CONN_OP_RECV | WEIR_CONN_OP_SEND | WEIR_CONN_OP_CONNECT)))
        return;
    weir_verify_flush(hub); /* no pending frame may name a slot that is about to be another's */
    weir_wheel_cancel(hub->wheel, &conn->timer);
    weir_rx_reset(conn);
    weir_tx_reset(conn);
    weir_sendq_reset(conn);
    if (conn->flags & (WEIR_CONN_DIRTY | WEIR_CONN_STARVED | WEIR_CONN_RESUMED | WEIR_CONN_ROOMY |
                       WEIR_CONN_QUEUED))
        return; /* a list of the hub holds it until its stage comes round, which settles it */
    weir_prelude_drop(conn);
    if (conn->sock >= 0)
        hub->io->ops->close(hub->io, conn->sock);
    conn->sock = -1;
    weir_conn_end_codec(conn);
    if (hub->rates)
        weir_rates_end(conn);
    conn_put(conn);
}

void weir_conn_verify(const struct weir_conn *conn)
{
    weir_burst_end();
    uint64_t queued = 0;
    for (uint32_t i = 0; i < conn->hub->channel_cnt; i++) {
        const struct weir_conn_channel *channel = &conn->channels[i];
        WEIR_CHECK((channel->head == NULL) == (channel->tail == NULL));
        WEIR_CHECK((channel->head != NULL) == ((conn->active >> i) & 1));
        WEIR_CHECK(channel->tx_used <= channel->tx_limit);
        WEIR_CHECK(channel->rx_used <= channel->rx_limit);
        WEIR_CHECK(channel->partial_len <= channel->partial_total || !channel->partial);
        queued += atomic_load_explicit(&channel->queued_bytes, memory_order_relaxed);
    }
    WEIR_CHECK(queued == conn->bytes_queued);
}
