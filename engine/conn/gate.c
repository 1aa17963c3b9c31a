#include "engine/conn/gate.h"

#include <string.h>

#include "engine/base/check.h"
#include "engine/base/probe.h"
#include "engine/conn/conn.h"
#include "weir/error.h"

/* A cookie is good for one to two of these. */
#define SECRET_NS (60 * WEIR_NS_PER_S)
/* So many handshakes may be served at once after a pause: what they cost together delays everybody else's messages. */
#define SERVE_BURST_NS (2 * WEIR_NS_PER_MS)
#define UNCOOKIED_BURST_NS WEIR_NS_PER_S
/* The same of strangers that are accepted. A listener that rests does so until as many may come again: to wake for each
 * of them costs more than it does, and one in a turn delays nobody, however many turns follow each other. */
#define ACCEPT_BURST_NS (2 * WEIR_NS_PER_MS)
/* Who has brought a cookie is not sent away for so long; a handshake is a few round trips. */
#define GRACE_NS (2 * WEIR_NS_PER_S)

static bool is_strict_with(const struct weir_hub *hub, const struct weir_addr *addr)
{
    return (hub->cfg->flags & WEIR_CONFIG_LIMIT_LOOPBACK) || !weir_addr_is_loopback(addr);
}

static bool is_strict(const struct weir_conn *conn)
{
    return is_strict_with(conn->hub, &conn->addr);
}

static bool has_token(const struct weir_bucket *bucket, uint32_t per_s, uint64_t burst_ns,
                      uint64_t now_ns)
{
    return per_s == UINT32_MAX || weir_bucket_ready(bucket, burst_ns) <= now_ns;
}

static void token_take(struct weir_bucket *bucket, uint32_t per_s, uint64_t now_ns)
{
    if (per_s != UINT32_MAX)
        weir_bucket_take(bucket, per_s, 1, now_ns);
}

static bool may_serve(const struct weir_hub *hub)
{
    return has_token(&hub->keeper.served, hub->cfg->handshake_rate, SERVE_BURST_NS, hub->now_ns);
}

static bool is_loaded(const struct weir_hub *hub)
{
    return hub->keeper.pending_cnt >= hub->cfg->cookie_pending ||
           !has_token(&hub->keeper.uncookied, hub->cfg->cookie_rate, UNCOOKIED_BURST_NS,
                      hub->now_ns);
}

/* ---- who is let in ------------------------------------------------------------------------- */

void weir_gate_accepted(struct weir_hub *hub, const struct weir_addr *addr)
{
    if (is_strict_with(hub, addr))
        token_take(&hub->keeper.accepted, hub->cfg->accept_rate, hub->now_ns);
}

uint64_t weir_gate_accept_ns(const struct weir_hub *hub)
{
    const struct weir_bucket *bucket = &hub->keeper.accepted;
    if (weir_bucket_ready(bucket, ACCEPT_BURST_NS) <= hub->now_ns)
        return hub->now_ns;
    return weir_bucket_ready(bucket, 0);
}

/* ---- who is in its handshake --------------------------------------------------------------- */

void weir_gate_came(struct weir_conn *conn)
{
    struct weir_gatekeeper *keeper = &conn->hub->keeper;
    conn->older = keeper->youngest;
    conn->younger = NULL;
    if (keeper->youngest)
        keeper->youngest->younger = conn;
    else
        keeper->oldest = conn;
    keeper->youngest = conn;
    keeper->pending_cnt++;
    conn->flags |= WEIR_CONN_PENDING;
}

static void unhold(struct weir_conn *conn)
{
    conn->flags &= ~(uint32_t)WEIR_CONN_HELD;
    conn->hub->keeper.held_cnt--;
}

void weir_gate_left(struct weir_conn *conn, bool is_peer)
{
    struct weir_gatekeeper *keeper = &conn->hub->keeper;
    if (is_peer && is_strict(conn) && conn->hub->cfg->accept_rate != UINT32_MAX)
        weir_bucket_give(&keeper->accepted, conn->hub->cfg->accept_rate, 1);
    if (conn->flags & WEIR_CONN_HELD)
        unhold(conn);
    if (conn->older)
        conn->older->younger = conn->younger;
    else
        keeper->oldest = conn->younger;
    if (conn->younger)
        conn->younger->older = conn->older;
    else
        keeper->youngest = conn->older;
    conn->older = conn->younger = NULL;
    keeper->pending_cnt--;
    conn->flags &= ~(uint32_t)WEIR_CONN_PENDING;
}

uint32_t weir_gate_from(const struct weir_conn *conn, uint8_t ret_from[WEIR_COOKIE_FROM_MAX])
{
    struct weir_prefix prefix;
    if (!weir_addr_prefix(&prefix, &conn->addr, 32, 128)) /* a unix socket */
        return 0;
    ret_from[0] = prefix.family;
    memcpy(ret_from + 1, prefix.ip, sizeof(prefix.ip));
    return 1 + sizeof(prefix.ip);
}

/* ---- messages ------------------------------------------------------------------------------ */

/* Only while somebody may be asked for a cookie: a quiet node draws no random numbers for it. */
static void secrets_rotate(struct weir_hub *hub)
{
    struct weir_gatekeeper *keeper = &hub->keeper;
    struct weir_gate *gate = &keeper->gate;
    uint64_t age_ns = hub->now_ns - keeper->rotated_ns;
    if (keeper->rotated_ns && age_ns < SECRET_NS)
        return;
    memcpy(gate->secrets[1], gate->secrets[0], sizeof(gate->secrets[1]));
    hub->io->ops->random(hub->io, gate->secrets[0], sizeof(gate->secrets[0]));
    if (!keeper->rotated_ns || age_ns >= 2 * SECRET_NS) /* nothing that is so old is good */
        hub->io->ops->random(hub->io, gate->secrets[1], sizeof(gate->secrets[1]));
    keeper->rotated_ns = hub->now_ns;
}

void weir_gate_before(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    struct weir_gate *gate = &hub->keeper.gate;
    gate->admission = WEIR_GATE_OPEN;
    if (!(conn->flags & WEIR_CONN_PENDING) || conn == hub->keeper.next || !is_strict(conn))
        return;
    bool has_place = may_serve(hub) && hub->keeper.held_cnt == 0;
    if (is_loaded(hub))
        gate->admission = has_place ? WEIR_GATE_COOKIE : WEIR_GATE_SHUT;
    else if (!has_place)
        gate->admission = WEIR_GATE_SHUT;
    if (gate->admission != WEIR_GATE_OPEN)
        secrets_rotate(hub);
}

static void timer_set(struct weir_hub *hub)
{
    struct weir_gatekeeper *keeper = &hub->keeper;
    uint64_t due_ns = weir_bucket_ready(&keeper->served, SERVE_BURST_NS);
    keeper->timer.kind = WEIR_TIMER_GATE;
    weir_wheel_set(hub->wheel, &keeper->timer,
                   due_ns > hub->now_ns ? due_ns : hub->now_ns + WEIR_NS_PER_MS);
}

bool weir_gate_after(struct weir_conn *conn, uint8_t knock)
{
    struct weir_hub *hub = conn->hub;
    struct weir_gatekeeper *keeper = &hub->keeper;
    WEIR_PROBE3(knock, conn->slot, conn->gen, knock);
    weir_count(&hub->metrics.cookies_tx, (knock & WEIR_KNOCK_ASKED) != 0);
    weir_count(&hub->metrics.cookies_forged, (knock & WEIR_KNOCK_FORGED) != 0);
    if ((knock & WEIR_KNOCK_COOKIE) && !(conn->flags & WEIR_CONN_COOKIE)) {
        conn->flags |= WEIR_CONN_COOKIE;
        weir_count(&hub->metrics.cookies_rx, 1);
    }
    if (knock & WEIR_KNOCK_SERVED) {
        weir_count(&hub->metrics.handshakes_served, 1);
        if (is_strict(conn))
            token_take(&keeper->served, hub->cfg->handshake_rate, hub->now_ns);
        if (is_strict(conn) && !(knock & WEIR_KNOCK_COOKIE))
            token_take(&keeper->uncookied, hub->cfg->cookie_rate, hub->now_ns);
    }
    if (!(knock & WEIR_KNOCK_HELD))
        return false;
    conn->flags |= WEIR_CONN_HELD;
    weir_count(&hub->metrics.handshakes_held, 1);
    if (keeper->held_cnt++ == 0)
        timer_set(hub);
    return true;
}

/* Whose turn it is: the first that has brought a cookie, else the first. */
static struct weir_conn *held_next(const struct weir_hub *hub)
{
    struct weir_conn *other = NULL;
    for (struct weir_conn *conn = hub->keeper.oldest; conn; conn = conn->younger) {
        if (!(conn->flags & WEIR_CONN_HELD))
            continue;
        if (conn->flags & WEIR_CONN_COOKIE)
            return conn;
        if (!other)
            other = conn;
    }
    return other;
}

void weir_gate_fire(struct weir_hub *hub)
{
    hub->keeper.is_due = hub->keeper.held_cnt != 0;
}

/* ---- steps --------------------------------------------------------------------------------- */

/* What takes no curve operation (a cookie that is asked for, a message that has not all come, who has gone) is dealt with
 * beside a step, so many of them. */
#define CHEAP_MAX 16u

bool weir_gate_may_step(struct weir_conn *conn)
{
    struct weir_gatekeeper *keeper = &conn->hub->keeper;
    if (conn == keeper->stepping || conn == keeper->next)
        return true;
    if (conn->flags & WEIR_CONN_QUEUED)
        return false;
    conn->flags |= WEIR_CONN_QUEUED;
    conn->next_step = NULL;
    if (keeper->first_step)
        keeper->last_step->next_step = conn;
    else
        keeper->first_step = conn;
    keeper->last_step = conn;
    return false;
}

void weir_gate_stepped(struct weir_conn *conn)
{
    conn->hub->keeper.stepping = conn->hub->keeper.next = NULL;
}

static void again(struct weir_conn *conn)
{
    weir_rx_again(conn);
    weir_verify_flush(conn->hub);
    weir_conn_settle(conn);
}

/* Serves one that was held, if it is time. Returns whether it did. */
static bool step_held(struct weir_hub *hub)
{
    struct weir_gatekeeper *keeper = &hub->keeper;
    struct weir_conn *conn = NULL;
    if (keeper->is_due && keeper->held_cnt && may_serve(hub))
        conn = held_next(hub);
    if (conn) {
        unhold(conn);
        keeper->next = conn;
        again(conn);
        keeper->next = NULL;
    }
    keeper->is_due = keeper->held_cnt && may_serve(hub);
    if (keeper->held_cnt && !keeper->is_due)
        timer_set(hub);
    return conn != NULL;
}

bool weir_gate_is_pressed(const struct weir_hub *hub)
{
    if (!weir_gate_has_steps(&hub->keeper))
        return false;
    for (const struct weir_conn *conn = hub->dirty_head; conn; conn = conn->next_dirty)
        if (conn->active)
            return true;
    return false;
}

void weir_gate_step(struct weir_hub *hub, bool is_pressed)
{
    struct weir_gatekeeper *keeper = &hub->keeper;
    if (!weir_gate_has_steps(keeper))
        return;
    if (is_pressed && !keeper->is_deferred) {
        keeper->is_deferred = true;
        return;
    }
    keeper->is_deferred = false;
    if (keeper->is_due && step_held(hub))
        return;
    for (uint32_t i = 0; i < CHEAP_MAX && keeper->first_step;) {
        struct weir_conn *conn = keeper->first_step;
        keeper->first_step = conn->next_step;
        conn->flags &= ~(uint32_t)WEIR_CONN_QUEUED;
        if (conn->state != WEIR_CONN_HANDSHAKE || !conn->carry) {
            weir_conn_settle(conn);
            continue;
        }
        i++;
        keeper->stepping = conn;
        again(conn);
        bool is_made = !keeper->stepping;
        keeper->stepping = NULL;
        if (is_made)
            return;
    }
}

/* ---- room ---------------------------------------------------------------------------------- */

static struct weir_conn *victim_of(const struct weir_hub *hub)
{
    for (struct weir_conn *conn = hub->keeper.oldest; conn; conn = conn->younger) {
        if (!is_strict(conn))
            continue;
        if (!(conn->flags & WEIR_CONN_COOKIE) || hub->now_ns - conn->state_ns >= GRACE_NS)
            return conn;
    }
    return NULL;
}

bool weir_gate_has_room(const struct weir_hub *hub)
{
    return victim_of(hub) != NULL;
}

bool weir_gate_make_room(struct weir_hub *hub)
{
    struct weir_conn *conn = victim_of(hub);
    if (!conn)
        return false;
    weir_count(&hub->metrics.handshakes_evicted, 1);
    weir_conn_abort(conn, WEIR_R_LIMIT_HANDSHAKES);
    return true;
}
