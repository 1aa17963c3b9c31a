/* Bans of a running node: made, ended, listed, and carried out on who is connected. Behind the guard's mutex. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/base/check.h"
#include "engine/base/probe.h"
#include "engine/node/internal.h"

bool weir_guard_holds(const weir_node *node, const struct weir_addr *addr, const uint8_t *id)
{
    const struct weir_bans *bans = node->guard.bans;
    if (weir_bans_cnt(bans) == 0)
        return false;
    uint64_t now_s = weir_guard_wall_s(node);
    return (addr && weir_bans_find(bans, addr, now_s)) ||
           (id && weir_bans_find_id(bans, id, now_s));
}

static bool is_banned(weir_node *node, const struct weir_addr *addr, const uint8_t *id)
{
    pthread_mutex_lock(&node->guard.mutex);
    bool is_found = weir_guard_holds(node, addr, id);
    pthread_mutex_unlock(&node->guard.mutex);
    return is_found;
}

/* What an operator asked to be kept dialed no ban ends. */
static bool is_kept_dialed(struct weir_shard *shard, const struct weir_conn *conn)
{
    return (weir_dialer_flags(&shard->dialer, conn) & WEIR_DIAL_PERSIST) != 0;
}

uint16_t weir_guard_ready(struct weir_shard *shard, const struct weir_conn *conn)
{
    const uint8_t *id = weir_conn_id(conn);
    if (!id || is_kept_dialed(shard, conn))
        return 0;
    return is_banned(shard->node, NULL, id) ? WEIR_R_BANNED : 0;
}

/* ---- carried out --------------------------------------------------------------------------- */

void weir_guard_sweep_shards(weir_node *node)
{
    pthread_mutex_lock(&node->mutex);
    uint32_t cnt = node->shard_cnt;
    pthread_mutex_unlock(&node->mutex);
    for (uint32_t i = 0; i < cnt; i++) {
        /* A shard that has ended, or not begun, has nobody to close, and would not read it. */
        if (!atomic_load_explicit(&node->shards[i]->is_owned, memory_order_acquire))
            continue;
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
            is_kept_dialed(shard, conn))
            continue;
        /* Before the handshake is done nobody's id is proved: weir_guard_ready looks then. */
        const uint8_t *id = conn->state == WEIR_CONN_READY ? weir_conn_id(conn) : NULL;
        if (is_banned(shard->node, &conn->addr, id))
            weir_conn_close(conn, WEIR_R_BANNED, false);
    }
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
    char whom[WEIR_BAN_WHOM_BYTES], since[32], until[32];
    weir_ban_whom_format(entry, whom);
    time_text(entry->since_s, since);
    time_text(entry->until_s, until);
    weir_log(node, WEIR_LOG_WARN, "%s weir-ban %s until=%s reason=%s score=%u by=%s", since, whom,
             until, weir_reason_name(entry->reason), points,
             entry->is_manual ? "operator" : "score");
}

static void log_unban(weir_node *node, const struct weir_ban_entry *whom)
{
    char text[WEIR_BAN_WHOM_BYTES], now[32];
    weir_ban_whom_format(whom, text);
    time_text(weir_guard_wall_s(node), now);
    weir_log(node, WEIR_LOG_WARN, "%s weir-unban %s by=operator", now, text);
}

int weir_guard_add_ban(weir_node *node, const struct weir_ban_entry *entry, uint32_t points)
{
    struct weir_guard *guard = &node->guard;
    pthread_mutex_lock(&guard->mutex);
    int error = weir_bans_add(guard->bans, entry, weir_guard_wall_s(node));
    if (!error)
        weir_guard_changed(node);
    guard->bans_made += !error;
    pthread_mutex_unlock(&guard->mutex);
    if (error)
        return error;
    log_ban(node, entry, points);
    WEIR_PROBE3(banned, entry->reason, points, entry->is_manual);
    return 0;
}

uint64_t weir_ban_end_s(uint64_t now_s, uint64_t duration_ns)
{
    if (duration_ns == WEIR_NS_FOREVER)
        return WEIR_BAN_FOREVER;
    return now_s + (duration_ns + WEIR_NS_PER_S - 1) / WEIR_NS_PER_S;
}

int weir_guard_ban(weir_node *node, struct weir_ban_entry *entry, uint64_t duration_ns,
                   uint32_t points)
{
    entry->since_s = weir_guard_wall_s(node);
    entry->until_s = weir_ban_end_s(entry->since_s, duration_ns);
    int error = weir_guard_add_ban(node, entry, points);
    if (!error)
        weir_guard_sweep_shards(node);
    return error;
}

bool weir_guard_end_ban(weir_node *node, const struct weir_ban_entry *whom)
{
    pthread_mutex_lock(&node->guard.mutex);
    bool was_there = weir_bans_remove(node->guard.bans, whom);
    if (was_there)
        weir_guard_changed(node);
    pthread_mutex_unlock(&node->guard.mutex);
    if (was_there)
        log_unban(node, whom);
    return was_there;
}

/* ---- public -------------------------------------------------------------------------------- */

int weir_ban(weir_node *node, const char *whom, weir_ns duration, int reason)
{
    if (!node || !whom || reason < 0 || reason >= WEIR_REASON_CNT)
        return WEIR_E_MISUSE;
    struct weir_ban_entry entry = {.is_manual = true};
    int error = weir_ban_whom_parse(&entry, whom);
    if (error)
        return error;
    entry.reason = reason ? (uint16_t)reason : (uint16_t)WEIR_R_BANNED;
    return weir_guard_ban(node, &entry, duration ? duration : node->cfg.ban_ns, 0);
}

int weir_unban(weir_node *node, const char *whom)
{
    struct weir_ban_entry entry = {0};
    if (!node || !whom)
        return WEIR_E_MISUSE;
    int error = weir_ban_whom_parse(&entry, whom);
    if (error)
        return error;
    return weir_guard_end_ban(node, &entry) ? 0 : WEIR_E_GONE;
}

int64_t weir_bans_tell(struct weir_bans *bans, uint64_t now_s, struct weir_ban_info *ret_bans,
                       size_t ban_max)
{
    (void)weir_bans_expire(bans, now_s);
    uint32_t cnt = weir_bans_cnt(bans);
    for (uint32_t i = 0; i < cnt && i < ban_max; i++) {
        const struct weir_ban_entry *entry = weir_bans_at(bans, i);
        struct weir_ban_info *info = &ret_bans[i];
        *info = (struct weir_ban_info){.since_s = entry->since_s,
                                       .until_s = entry->until_s,
                                       .reason = entry->reason,
                                       .is_manual = entry->is_manual,
                                       .is_id = entry->prefix.family == WEIR_ADDR_NONE};
        if (info->is_id)
            memcpy(info->id.bytes, entry->id, sizeof(info->id.bytes));
        else
            weir_prefix_format(&entry->prefix, info->prefix);
    }
    return cnt;
}

int64_t weir_ban_list(weir_node *node, struct weir_ban_info *ret_bans, size_t ban_max)
{
    if (!node || (!ret_bans && ban_max))
        return WEIR_E_MISUSE;
    struct weir_guard *guard = &node->guard;
    pthread_mutex_lock(&guard->mutex);
    int64_t cnt = weir_bans_tell(guard->bans, weir_guard_wall_s(node), ret_bans, ban_max);
    pthread_mutex_unlock(&guard->mutex);
    return cnt;
}
