#include "engine/base/check.h"
#include "engine/base/probe.h"
#include "engine/conn/conn.h"
#include "weir/error.h"

#define UNHEARD_NS \
    (10 * WEIR_NS_PER_MS)           /* until it is looked at again whether an answer was there */
#define FIRST_PING_NS WEIR_NS_PER_S /* so that a new peer's round-trip time is known soon */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t ping_due(const struct weir_conn *conn)
{
    const struct weir_config *cfg = conn->hub->cfg;
    if (conn->ping_sent_ns)
        return conn->ping_sent_ns + cfg->ping_timeout_ns;
    if (conn->rtt_ns == 0)
        return conn->last_ping_ns + sooner(FIRST_PING_NS, cfg->ping_interval_ns);
    return conn->last_ping_ns + cfg->ping_interval_ns;
}

static bool has_unsent(const struct weir_conn *conn)
{
    return conn->tx != NULL;
}

static uint64_t next_deadline(const struct weir_conn *conn)
{
    const struct weir_config *cfg = conn->hub->cfg;
    uint64_t linger = conn->state_ns + cfg->goodbye_linger_ns;
    switch ((enum weir_conn_state)conn->state) {
    case WEIR_CONN_FREE:
    case WEIR_CONN_DRAIN:
        return UINT64_MAX;
    case WEIR_CONN_DIALING:
        return conn->state_ns + cfg->dial_timeout_ns;
    case WEIR_CONN_HANDSHAKE:
        return conn->state_ns + cfg->handshake_timeout_ns;
    case WEIR_CONN_GOODBYE:
    case WEIR_CONN_LINGER:
        /* A node that stops has promised its messages until then. The kernel has taken them, but what
         * it still holds would go with the reset that answers the peer's next byte. */
        if (conn->hub->drain_until_ns > linger && weir_conn_is_unheard(conn))
            return conn->hub->drain_until_ns;
        return linger;
    case WEIR_CONN_READY:
        break;
    }
    uint64_t due = sooner(ping_due(conn), conn->last_rx_ns + cfg->idle_timeout_ns);
    /* Looked at from time to time even when nothing is unsent now: a send may begin meanwhile. */
    uint64_t stall =
        (has_unsent(conn) ? conn->last_tx_ns : conn->hub->now_ns) + cfg->stall_timeout_ns;
    return sooner(due, stall);
}

void weir_keepalive_set(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    uint64_t due = next_deadline(conn);
    if (due == UINT64_MAX)
        weir_wheel_cancel(hub->wheel, &conn->timer);
    else if (due <= hub->now_ns)
        weir_wheel_set(hub->wheel, &conn->timer,
                       hub->now_ns +
                           (conn->state == WEIR_CONN_READY ? UNHEARD_NS : WEIR_NS_PER_MS));
    else
        weir_wheel_set(hub->wheel, &conn->timer, due);
}

/* Whether what ends a deadline may have come and not been read: a shard that did not run for a while, or has no buffer left,
 * is itself late. One that never catches up judges all the same, in twice the time. */
static bool is_unheard(const struct weir_conn *conn, uint64_t since_ns, uint64_t timeout_ns)
{
    return conn->hub->heard_all_ns < since_ns + timeout_ns &&
           conn->hub->now_ns < since_ns + 2 * timeout_ns;
}

static void fire_ready(struct weir_conn *conn)
{
    const struct weir_config *cfg = conn->hub->cfg;
    uint64_t now = conn->hub->now_ns;
    if (now >= conn->last_rx_ns + cfg->idle_timeout_ns) {
        if (!is_unheard(conn, conn->last_rx_ns, cfg->idle_timeout_ns))
            weir_conn_close(conn, WEIR_R_IDLE, false);
    } else if (has_unsent(conn) && now >= conn->last_tx_ns + cfg->stall_timeout_ns) {
        weir_conn_abort(conn, WEIR_R_STALLED);
    } else if (now >= ping_due(conn)) {
        if (conn->ping_sent_ns) {
            if (!is_unheard(conn, conn->ping_sent_ns, cfg->ping_timeout_ns))
                weir_conn_close(conn, WEIR_R_PING_TIMEOUT, false);
        } else {
            conn->flags |= WEIR_CONN_WANT_PING;
            conn->last_ping_ns = now; /* not again before it was sent */
            weir_conn_mark_dirty(conn);
        }
    }
}

void weir_keepalive_fire(struct weir_conn *conn)
{
    if (conn->hub->now_ns >= next_deadline(conn)) {
        switch ((enum weir_conn_state)conn->state) {
        case WEIR_CONN_FREE:
        case WEIR_CONN_DRAIN:
            break;
        case WEIR_CONN_DIALING:
            weir_conn_abort(conn, WEIR_R_DIAL_TIMEOUT);
            break;
        case WEIR_CONN_HANDSHAKE:
            weir_conn_abort(conn, WEIR_R_HANDSHAKE_TIMEOUT);
            break;
        case WEIR_CONN_GOODBYE:
        case WEIR_CONN_LINGER:
            weir_conn_hurry(conn);
            break;
        case WEIR_CONN_READY:
            fire_ready(conn);
            break;
        }
    }
    if (conn->state != WEIR_CONN_FREE)
        weir_keepalive_set(conn);
}

bool weir_keepalive_is_flood(struct weir_conn *conn)
{
    uint64_t now = conn->hub->now_ns;
    if (now - conn->pings_since_ns >= WEIR_NS_PER_S) {
        conn->pings_since_ns = now;
        conn->pings_seen = 0;
    }
    if (++conn->pings_seen <= WEIR_PINGS_PER_S_MAX)
        return false;
    weir_conn_close(conn, WEIR_R_FLOOD, false);
    return true;
}

void weir_keepalive_ping(struct weir_conn *conn, uint64_t value)
{
    weir_count(&conn->hub->metrics.pings_rx, 1);
    if (weir_keepalive_is_flood(conn))
        return;
    /* Pings that arrive together are answered once, with the latest value. */
    conn->pong_value = value;
    if (!WEIR_PLANTED(PONG))
        conn->flags |= WEIR_CONN_WANT_PONG;
    weir_conn_mark_dirty(conn);
}

const uint64_t weir_rtt_bounds_ns[WEIR_RTT_BUCKETS - 1] = {
    20 * WEIR_NS_PER_US, 50 * WEIR_NS_PER_US,  100 * WEIR_NS_PER_US, 250 * WEIR_NS_PER_US,
    WEIR_NS_PER_MS,      5 * WEIR_NS_PER_MS,   10 * WEIR_NS_PER_MS,  25 * WEIR_NS_PER_MS,
    50 * WEIR_NS_PER_MS, 100 * WEIR_NS_PER_MS, 250 * WEIR_NS_PER_MS, WEIR_NS_PER_S};

static void count_rtt(struct weir_hub *hub, uint64_t rtt)
{
    uint32_t idx = 0;
    while (idx < WEIR_RTT_BUCKETS - 1 && rtt > weir_rtt_bounds_ns[idx])
        idx++;
    weir_count(&hub->metrics.rtt_cnts[idx], 1);
    weir_count(&hub->metrics.rtt_sum_ns, rtt);
}

void weir_keepalive_pong(struct weir_conn *conn, uint64_t value)
{
    if (conn->ping_sent_ns == 0 || value != conn->ping_sent_ns)
        return; /* late, or made up: it proves nothing */
    uint64_t now = conn->hub->now_ns;
    uint64_t rtt = now > value ? now - value : 1;
    count_rtt(conn->hub, rtt);
    WEIR_PROBE3(pong, conn->slot, conn->gen, rtt);
    /* RFC 6298, 2.3: the smoothed round-trip time moves by an eighth of the difference. */
    conn->rtt_ns = conn->rtt_ns ? conn->rtt_ns - conn->rtt_ns / 8 + rtt / 8 : rtt;
    if (conn->rtt_min_ns == 0 || rtt < conn->rtt_min_ns)
        conn->rtt_min_ns = rtt;
    conn->ping_sent_ns = 0;
    conn->heard_ns = value;
    weir_keepalive_set(conn); /* the next ping may be due before this one's timeout was */
}
