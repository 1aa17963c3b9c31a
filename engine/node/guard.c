/* Who may be connected: limits and scores of a node (its bans: ban.c), behind one mutex that is taken once or twice
 * per connection and never per message. */
#include <string.h>
#include <time.h>

#include "engine/base/check.h"
#include "engine/node/internal.h"

#define NS_PER_S WEIR_NS_PER_S

uint64_t weir_guard_wall_s(const weir_node *node)
{
    struct timespec now;
    if (node->host) /* a simulated world has one clock, and its runs follow from their seed */
        return weir_node_now(node) / NS_PER_S + (uint64_t)node->guard.wall_skew_s;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)((int64_t)now.tv_sec + node->guard.wall_skew_s);
}

int weir_guard_init(weir_node *node, const uint64_t seeds[2])
{
    struct weir_guard *guard = &node->guard;
    const struct weir_config *cfg = &node->cfg;
    pthread_mutex_init(&guard->mutex, NULL);
    pthread_mutex_init(&guard->take_mutex, NULL);
    pthread_cond_init(&guard->cond, NULL);
    struct weir_admit_config admit_cfg = {
        .seed = seeds[0],
        .conn_max = cfg->peers_max * cfg->shard_cnt,
        .inbound_max = cfg->inbound_max,
        .outbound_max = cfg->outbound_max,
        .address_max = cfg->address_max,
        .subnet_max = cfg->subnet_max,
        .dial_address_max = cfg->outbound_address_max,
        .dial_subnet_max = cfg->outbound_subnet_max,
        .ipv4_bits = cfg->subnet_bits_ipv4,
        .ipv6_bits = cfg->subnet_bits_ipv6,
        .address_interval_ns = cfg->address_interval_ns,
        .subnet_interval_ns = cfg->subnet_interval_ns,
        .address_burst = cfg->address_burst,
        .subnet_burst = cfg->subnet_burst,
        .has_loopback = (cfg->flags & WEIR_CONFIG_LIMIT_LOOPBACK) != 0,
    };
    int error = weir_admit_create(&guard->admit, &admit_cfg);
    memcpy(guard->evict_key, seeds, sizeof(guard->evict_key));
    guard->known_seed = ~seeds[0];
    if (!error)
        error = weir_score_create(&guard->score, seeds[1], cfg->score_half_life_ns);
    if (!error)
        error = weir_bans_create(&guard->bans, cfg->bans_max);
    if (!error)
        error = weir_guard_load(node, weir_guard_wall_s(node));
    int64_t asked = !error && guard->path[0] ? weir_guard_take_asks(node) : 0;
    if (asked < 0)
        weir_log(node, WEIR_LOG_WARN, "bans: what was asked for in %s.asks is not all done: %s",
                 guard->path, weir_error_text((int)asked));
    return error;
}

void weir_guard_fini(weir_node *node)
{
    struct weir_guard *guard = &node->guard;
    weir_guard_end_saver(node);
    weir_admit_free(guard->admit);
    weir_score_free(guard->score);
    weir_bans_free(guard->bans);
    weir_known_free(guard->known);
    weir_heap_release(guard->welcome);
    pthread_cond_destroy(&guard->cond);
    pthread_mutex_destroy(&guard->take_mutex);
    pthread_mutex_destroy(&guard->mutex);
}

/* ---- connections --------------------------------------------------------------------------- */

uint16_t weir_guard_accept(weir_node *node, const struct weir_addr *addr, uint64_t now_ns,
                           bool *ret_is_counted)
{
    struct weir_guard *guard = &node->guard;
    pthread_mutex_lock(&guard->mutex);
    uint16_t reason = 0;
    *ret_is_counted = !weir_welcome_has(guard, addr, NULL);
    if (weir_guard_holds(node, addr, NULL))
        reason = WEIR_R_BANNED;
    if (!reason && *ret_is_counted)
        reason = weir_admit_inbound(guard->admit, addr, now_ns);
    pthread_mutex_unlock(&guard->mutex);
    return reason;
}

void weir_guard_set_inbound_max(weir_node *node, uint32_t inbound_max)
{
    node->cfg.inbound_max = inbound_max;
    weir_admit_set_inbound_max(node->guard.admit, inbound_max);
}

void weir_guard_left(weir_node *node, const struct weir_addr *addr)
{
    pthread_mutex_lock(&node->guard.mutex);
    weir_admit_left(node->guard.admit, addr);
    pthread_mutex_unlock(&node->guard.mutex);
}

uint16_t weir_guard_dial(void *ctx)
{
    struct weir_guard *guard = &((struct weir_shard *)ctx)->node->guard;
    pthread_mutex_lock(&guard->mutex);
    uint16_t reason = weir_admit_outbound(guard->admit);
    pthread_mutex_unlock(&guard->mutex);
    return reason;
}

void weir_guard_dial_left(void *ctx)
{
    struct weir_guard *guard = &((struct weir_shard *)ctx)->node->guard;
    pthread_mutex_lock(&guard->mutex);
    weir_admit_outbound_left(guard->admit);
    pthread_mutex_unlock(&guard->mutex);
}

/* What an operator asked to be kept dialed no ban stops; limits and the application's filter do. */
uint16_t weir_guard_dial_enter(void *ctx, const struct weir_target *target,
                               const struct weir_addr *addr, uint32_t dial_flags)
{
    struct weir_guard *guard = &((struct weir_shard *)ctx)->node->guard;
    weir_node *node = ((struct weir_shard *)ctx)->node;
    uint16_t reason = weir_filter_connect(ctx, addr, true);
    if (reason)
        return reason;
    pthread_mutex_lock(&guard->mutex);
    if (!(dial_flags & WEIR_DIAL_PERSIST) &&
        weir_guard_holds(node, addr, target->has_id ? target->id : NULL))
        reason = WEIR_R_BANNED;
    if (!reason)
        reason = weir_admit_dial(guard->admit, addr);
    pthread_mutex_unlock(&guard->mutex);
    return reason;
}

void weir_guard_dial_exit(void *ctx, const struct weir_addr *addr)
{
    struct weir_guard *guard = &((struct weir_shard *)ctx)->node->guard;
    pthread_mutex_lock(&guard->mutex);
    weir_admit_dial_left(guard->admit, addr);
    pthread_mutex_unlock(&guard->mutex);
}

/* ---- scores -------------------------------------------------------------------------------- */

bool weir_guard_is_manual(struct weir_shard *shard, const struct weir_conn *conn)
{
    weir_node *node = shard->node;
    if (weir_dialer_flags(&shard->dialer, conn) & WEIR_DIAL_PERSIST)
        return true;
    struct weir_prefix own, other;
    bool has_own = weir_addr_prefix(&own, &conn->addr, 32, 128);
    const uint8_t *id = weir_conn_proved_id(conn);
    bool is_found = false;
    pthread_mutex_lock(&node->mutex);
    for (uint32_t i = 0; i < node->dial_cnt && !is_found; i++) {
        if (!(node->dials[i].flags & WEIR_DIAL_PERSIST))
            continue;
        struct weir_target target;
        weir_target_restore(&target, node->dials[i].target);
        is_found = (has_own && weir_addr_prefix(&other, &target.addr, 32, 128) &&
                    memcmp(&own, &other, sizeof(own)) == 0) ||
                   (id && target.has_id && memcmp(id, target.id, sizeof(target.id)) == 0);
    }
    pthread_mutex_unlock(&node->mutex);
    return is_found;
}

/* Adds points to an address and bans it at the threshold. Returns the points. */
static uint32_t blame(struct weir_shard *shard, const struct weir_conn *conn, uint32_t points,
                      uint16_t reason)
{
    weir_node *node = shard->node;
    struct weir_guard *guard = &node->guard;
    bool is_exempt =
        !(node->cfg.flags & WEIR_CONFIG_LIMIT_LOOPBACK) && weir_addr_is_loopback(&conn->addr);
    if (is_exempt || weir_guard_is_manual(shard, conn))
        return 0;
    pthread_mutex_lock(&guard->mutex);
    if (weir_welcome_has(guard, &conn->addr, weir_conn_proved_id(conn))) {
        pthread_mutex_unlock(&guard->mutex);
        return 0;
    }
    uint32_t sum = weir_score_add(guard->score, &conn->addr, points, shard->hub.now_ns);
    bool is_due = sum >= node->cfg.score_ban;
    if (is_due)
        weir_score_clear(guard->score, &conn->addr);
    guard->points += points;
    pthread_mutex_unlock(&guard->mutex);
    if (!is_due)
        return sum;
    struct weir_ban_entry entry = {.reason = reason};
    if (!weir_addr_prefix(&entry.prefix, &conn->addr, WEIR_ADDRESS_BITS_IPV4,
                          WEIR_ADDRESS_BITS_IPV6))
        return sum;
    int error = weir_guard_ban(node, &entry, node->cfg.ban_ns, sum);
    if (error)
        weir_log(node, WEIR_LOG_WARN, "the table of bans is full: %s", weir_error_text(error));
    return sum;
}

void weir_guard_ended(struct weir_shard *shard, struct weir_conn *conn, uint16_t reason)
{
    (void)weir_trial_end(shard, conn);
    if (conn->flags & WEIR_CONN_DIAL_COUNTED) {
        conn->flags &= ~(uint32_t)WEIR_CONN_DIAL_COUNTED;
        weir_guard_dial_exit(shard, &conn->addr);
    }
    if (conn->flags & WEIR_CONN_ADMITTED) {
        conn->flags &= ~(uint32_t)WEIR_CONN_ADMITTED;
        if (conn->flags & WEIR_CONN_IS_DIALER)
            weir_guard_dial_left(shard);
        else
            weir_guard_left(shard->node, &conn->addr);
    }
    /* The reason in a goodbye, or in what ends a handshake, is what the peer says of us; in clear it may even be
     * another's word. */
    uint32_t points = weir_score_points(reason);
    if (points && !(conn->flags & WEIR_CONN_HEARD_GOODBYE))
        (void)blame(shard, conn, points, reason);
}

void weir_guard_blame(struct weir_shard *shard, weir_peer peer, uint32_t points)
{
    struct weir_conn *conn = weir_conn_of_peer(shard, peer);
    if (!conn)
        return;
    uint32_t sum = blame(shard, conn, points, WEIR_R_MISBEHAVED);
    if (sum >= shard->node->cfg.score_disconnect && sum < shard->node->cfg.score_ban)
        weir_conn_close(conn, WEIR_R_MISBEHAVED, false);
}

/* ---- public -------------------------------------------------------------------------------- */

int weir_blame(weir_node *node, weir_peer peer, uint32_t points)
{
    if (!node || points == 0 || points > WEIR_POINTS_MAX)
        return WEIR_E_MISUSE;
    struct weir_shard *shard = weir_shard_of(node, peer);
    if (!shard)
        return WEIR_E_GONE;
    if (weir_shard_is_here(shard)) {
        if (!weir_conn_of_peer(shard, peer))
            return WEIR_E_GONE;
        weir_guard_blame(shard, peer, points);
        return 0;
    }
    struct weir_note *note = weir_note_create(WEIR_LETTER_BLAME, 0);
    if (!note)
        return WEIR_E_NOMEM;
    note->peer = peer;
    note->flags = points;
    int error = weir_shard_post(shard, note, false);
    if (error)
        weir_note_free(note);
    return error;
}
