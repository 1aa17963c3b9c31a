/* Who may be connected: limits, scores and bans of a node, behind one mutex that is taken once or twice per
 * connection and never per message. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/base/check.h"
#include "engine/base/probe.h"
#include "engine/node/internal.h"

#define NS_PER_S WEIR_NS_PER_S

static uint64_t wall_s(const weir_node *node)
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
    pthread_cond_init(&guard->cond, NULL);
    struct weir_admit_config admit_cfg = {
        .seed = seeds[0],
        .conn_max = cfg->peers_max * cfg->shard_cnt,
        .inbound_max = cfg->inbound_max,
        .outbound_max = cfg->outbound_max,
        .address_max = cfg->address_max,
        .subnet_max = cfg->subnet_max,
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
    if (!error)
        error = weir_score_create(&guard->score, seeds[1], cfg->score_half_life_ns);
    if (!error)
        error = weir_bans_create(&guard->bans, cfg->bans_max);
    if (!error)
        error = weir_guard_load(node, wall_s(node));
    return error;
}

void weir_guard_fini(weir_node *node)
{
    struct weir_guard *guard = &node->guard;
    weir_guard_end_saver(node);
    weir_admit_free(guard->admit);
    weir_score_free(guard->score);
    weir_bans_free(guard->bans);
    weir_heap_release(guard->welcome);
    pthread_cond_destroy(&guard->cond);
    pthread_mutex_destroy(&guard->mutex);
}

/* ---- connections --------------------------------------------------------------------------- */

/* The mutex is held. */
static bool is_welcome(const struct weir_guard *guard, const struct weir_addr *addr)
{
    struct weir_prefix own;
    if (guard->welcome_cnt == 0 || !weir_addr_prefix(&own, addr, 32, 128))
        return false;
    for (uint32_t i = 0; i < guard->welcome_cnt; i++)
        if (weir_prefix_covers(&guard->welcome[i], &own))
            return true;
    return false;
}

uint16_t weir_guard_accept(weir_node *node, const struct weir_addr *addr, uint64_t now_ns,
                           bool *ret_is_counted)
{
    struct weir_guard *guard = &node->guard;
    pthread_mutex_lock(&guard->mutex);
    uint16_t reason = 0;
    *ret_is_counted = !is_welcome(guard, addr);
    if (weir_bans_cnt(guard->bans) && weir_bans_find(guard->bans, addr, wall_s(node)))
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

static bool is_banned(weir_node *node, const struct weir_addr *addr)
{
    struct weir_guard *guard = &node->guard;
    pthread_mutex_lock(&guard->mutex);
    bool is_found = weir_bans_cnt(guard->bans) && weir_bans_find(guard->bans, addr, wall_s(node));
    pthread_mutex_unlock(&guard->mutex);
    return is_found;
}

/* What an operator asked to be kept dialed is dialed, unless the application's filter says no. */
bool weir_guard_may_dial(void *ctx, const struct weir_addr *addr, uint32_t dial_flags)
{
    weir_node *node = ((struct weir_shard *)ctx)->node;
    return ((dial_flags & WEIR_DIAL_PERSIST) || !is_banned(node, addr)) &&
           weir_filter_connect(ctx, addr, true) == 0;
}

/* ---- scores -------------------------------------------------------------------------------- */

bool weir_guard_is_manual(struct weir_shard *shard, const struct weir_conn *conn)
{
    weir_node *node = shard->node;
    if (weir_dialer_flags(&shard->dialer, conn) & WEIR_DIAL_PERSIST)
        return true;
    struct weir_prefix own, other;
    if (!weir_addr_prefix(&own, &conn->addr, 32, 128))
        return false;
    bool is_found = false;
    pthread_mutex_lock(&node->mutex);
    for (uint32_t i = 0; i < node->dial_cnt && !is_found; i++)
        is_found = (node->dial_flags[i] & WEIR_DIAL_PERSIST) &&
                   weir_addr_prefix(&other, &node->dials[i].addr, 32, 128) &&
                   memcmp(&own, &other, sizeof(own)) == 0;
    pthread_mutex_unlock(&node->mutex);
    return is_found;
}

static void time_text(uint64_t at_s, char ret_text[32])
{
    struct tm tm;
    time_t at = (time_t)at_s;
    if (at_s == WEIR_BAN_FOREVER || !gmtime_r(&at, &tm) ||
        strftime(ret_text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(ret_text, 32, "never");
}

/* The one line about a ban; its form is docs/limits.md's, for programs to read. */
static void log_ban(weir_node *node, const struct weir_ban_entry *entry, uint32_t points)
{
    char prefix[WEIR_PREFIX_TEXT_BYTES], since[32], until[32];
    weir_prefix_format(&entry->prefix, prefix);
    time_text(entry->since_s, since);
    time_text(entry->until_s, until);
    weir_log(node, WEIR_LOG_WARN, "%s weir-ban %s until=%s reason=%s score=%u by=%s", since, prefix,
             until, weir_reason_name(entry->reason), points,
             entry->is_manual ? "operator" : "score");
}

/* Has every shard close whom a ban is about. */
static void sweep_shards(weir_node *node)
{
    pthread_mutex_lock(&node->mutex);
    uint32_t cnt = node->shard_cnt;
    pthread_mutex_unlock(&node->mutex);
    for (uint32_t i = 0; i < cnt; i++) {
        struct weir_note *note = weir_note_create(WEIR_LETTER_BANS, 0);
        if (note)
            (void)weir_shard_post(node->shards[i], note, true);
    }
}

void weir_guard_sweep(struct weir_shard *shard)
{
    struct weir_hub *hub = &shard->hub;
    for (uint32_t i = 0; i < hub->cfg->peers_max; i++) {
        struct weir_conn *conn = &hub->conns[i];
        if (conn->state == WEIR_CONN_FREE || (conn->flags & WEIR_CONN_TOLD) ||
            (weir_dialer_flags(&shard->dialer, conn) & WEIR_DIAL_PERSIST))
            continue;
        if (is_banned(shard->node, &conn->addr))
            weir_conn_close(conn, WEIR_R_BANNED, false);
    }
}

/* Adds a ban, writes it down and says so. */
static int ban(weir_node *node, const struct weir_ban_entry *entry, uint32_t points)
{
    struct weir_guard *guard = &node->guard;
    pthread_mutex_lock(&guard->mutex);
    int error = weir_bans_add(guard->bans, entry, entry->since_s);
    if (!error)
        weir_guard_changed(node);
    guard->bans_made += !error;
    pthread_mutex_unlock(&guard->mutex);
    if (error)
        return error;
    log_ban(node, entry, points);
    WEIR_PROBE3(banned, entry->reason, points, entry->is_manual);
    sweep_shards(node);
    return 0;
}

static uint64_t ban_end(uint64_t now_s, uint64_t duration_ns)
{
    if (duration_ns == WEIR_NS_FOREVER)
        return WEIR_BAN_FOREVER;
    return now_s + (duration_ns + NS_PER_S - 1) / NS_PER_S;
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
    if (is_welcome(guard, &conn->addr)) {
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
    uint64_t now_s = wall_s(node);
    struct weir_ban_entry entry = {
        .since_s = now_s, .until_s = ban_end(now_s, node->cfg.ban_ns), .reason = reason};
    if (!weir_addr_prefix(&entry.prefix, &conn->addr, WEIR_ADDRESS_BITS_IPV4,
                          WEIR_ADDRESS_BITS_IPV6))
        return sum;
    int error = ban(node, &entry, sum);
    if (error)
        weir_log(node, WEIR_LOG_WARN, "the table of bans is full: %s", weir_error_text(error));
    return sum;
}

void weir_guard_ended(struct weir_shard *shard, struct weir_conn *conn, uint16_t reason)
{
    if (conn->flags & WEIR_CONN_ADMITTED) {
        conn->flags &= ~(uint32_t)WEIR_CONN_ADMITTED;
        if (conn->flags & WEIR_CONN_IS_DIALER)
            weir_guard_dial_left(shard);
        else
            weir_guard_left(shard->node, &conn->addr);
    }
    /* The reason in a goodbye is what the peer says of us. */
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

int weir_ban(weir_node *node, const char *prefix, weir_ns duration, int reason)
{
    if (!node || !prefix || reason < 0 || reason >= WEIR_REASON_CNT)
        return WEIR_E_MISUSE;
    struct weir_ban_entry entry = {.is_manual = true};
    int error = weir_prefix_parse(&entry.prefix, prefix);
    if (error)
        return error;
    entry.reason = reason ? (uint16_t)reason : (uint16_t)WEIR_R_BANNED;
    entry.since_s = wall_s(node);
    entry.until_s = ban_end(entry.since_s, duration ? duration : node->cfg.ban_ns);
    return ban(node, &entry, 0);
}

int weir_unban(weir_node *node, const char *prefix)
{
    struct weir_prefix parsed;
    if (!node || !prefix)
        return WEIR_E_MISUSE;
    int error = weir_prefix_parse(&parsed, prefix);
    if (error)
        return error;
    pthread_mutex_lock(&node->guard.mutex);
    bool was_there = weir_bans_remove(node->guard.bans, &parsed);
    if (was_there)
        weir_guard_changed(node);
    pthread_mutex_unlock(&node->guard.mutex);
    return was_there ? 0 : WEIR_E_GONE;
}

int weir_peer_welcome(weir_node *node, const char *prefix, int is_welcome)
{
    struct weir_prefix parsed;
    if (!node || !prefix)
        return WEIR_E_MISUSE;
    int error = weir_prefix_parse(&parsed, prefix);
    if (error)
        return error;
    struct weir_guard *guard = &node->guard;
    pthread_mutex_lock(&guard->mutex);
    uint32_t at = 0;
    while (at < guard->welcome_cnt && memcmp(&guard->welcome[at], &parsed, sizeof(parsed)) != 0)
        at++;
    bool is_there = at < guard->welcome_cnt;
    if (!is_welcome && is_there) {
        guard->welcome[at] = guard->welcome[--guard->welcome_cnt];
    } else if (!is_welcome) {
        error = WEIR_E_GONE;
    } else if (!is_there && guard->welcome_cnt == WEIR_WELCOME_MAX) {
        error = WEIR_E_LIMIT;
    } else if (!is_there) {
        if (!guard->welcome)
            guard->welcome = weir_heap_alloc(NULL, WEIR_WELCOME_MAX * sizeof(parsed));
        if (guard->welcome)
            guard->welcome[guard->welcome_cnt++] = parsed;
        else
            error = WEIR_E_NOMEM;
    }
    pthread_mutex_unlock(&guard->mutex);
    return error;
}

int64_t weir_ban_list(weir_node *node, struct weir_ban_info *ret_bans, size_t ban_max)
{
    if (!node || (!ret_bans && ban_max))
        return WEIR_E_MISUSE;
    struct weir_guard *guard = &node->guard;
    pthread_mutex_lock(&guard->mutex);
    (void)weir_bans_expire(guard->bans, wall_s(node));
    uint32_t cnt = weir_bans_cnt(guard->bans);
    for (uint32_t i = 0; i < cnt && i < ban_max; i++) {
        const struct weir_ban_entry *entry = weir_bans_at(guard->bans, i);
        ret_bans[i] = (struct weir_ban_info){.since_s = entry->since_s,
                                             .until_s = entry->until_s,
                                             .reason = entry->reason,
                                             .is_manual = entry->is_manual};
        weir_prefix_format(&entry->prefix, ret_bans[i].prefix);
    }
    pthread_mutex_unlock(&guard->mutex);
    return cnt;
}
