/* Who is always welcome, by address or by node id, and strangers who may turn out to be.
 *
 * An address is known at once, an id when the handshake has proved it. So where some ids are welcome, a stranger whom a
 * limit would refuse gets a *trial*: a handshake that nothing counts. Then he is welcome, or gone for the reason of that
 * limit. A shard has cfg.trials_max trials at once; one more takes the place of the oldest, once that has had
 * TRIAL_NS, so that strangers who say nothing do not keep the others out. */
#include <string.h>

#include "engine/base/check.h"
#include "engine/node/internal.h"

#define TRIAL_NS (500 * WEIR_NS_PER_MS)

/* ---- the list ------------------------------------------------------------------------------ */

bool weir_welcome_has(const struct weir_guard *guard, const struct weir_addr *addr,
                      const uint8_t *id)
{
    struct weir_prefix own;
    bool has_own = guard->welcome_cnt && weir_addr_prefix(&own, addr, 32, 128);
    for (uint32_t i = 0; i < guard->welcome_cnt; i++) {
        const struct weir_welcome *item = &guard->welcome[i];
        bool is_id = item->prefix.family == WEIR_ADDR_NONE;
        if (is_id ? id && memcmp(item->id, id, sizeof(item->id)) == 0
                  : has_own && weir_prefix_covers(&item->prefix, &own))
            return true;
    }
    return false;
}

static int parse(struct weir_welcome *ret_item, const char *whom)
{
    struct weir_ban_entry entry = {0};
    int error = weir_ban_whom_parse(&entry, whom);
    if (error)
        return error;
    ret_item->prefix = entry.prefix;
    memcpy(ret_item->id, entry.id, sizeof(ret_item->id));
    return 0;
}

static int add(struct weir_guard *guard, const struct weir_welcome *item)
{
    if (guard->welcome_cnt == WEIR_WELCOME_MAX)
        return WEIR_E_LIMIT;
    if (!guard->welcome)
        guard->welcome = weir_heap_alloc(NULL, WEIR_WELCOME_MAX * sizeof(*item));
    if (!guard->welcome)
        return WEIR_E_NOMEM;
    guard->welcome[guard->welcome_cnt++] = *item;
    guard->welcome_id_cnt += item->prefix.family == WEIR_ADDR_NONE;
    return 0;
}

int weir_peer_welcome(weir_node *node, const char *whom, int is_welcome)
{
    struct weir_welcome item = {0};
    if (!node || !whom)
        return WEIR_E_MISUSE;
    int error = parse(&item, whom);
    if (error)
        return error;
    struct weir_guard *guard = &node->guard;
    pthread_mutex_lock(&guard->mutex);
    uint32_t at = 0;
    while (at < guard->welcome_cnt && memcmp(&guard->welcome[at], &item, sizeof(item)) != 0)
        at++;
    bool is_there = at < guard->welcome_cnt;
    if (!is_welcome && is_there) {
        guard->welcome_id_cnt -= item.prefix.family == WEIR_ADDR_NONE;
        guard->welcome[at] = guard->welcome[--guard->welcome_cnt];
    } else if (!is_welcome) {
        error = WEIR_E_GONE;
    } else if (!is_there) {
        error = add(guard, &item);
    }
    pthread_mutex_unlock(&guard->mutex);
    return error;
}

/* ---- trials -------------------------------------------------------------------------------- */

static struct weir_conn *conn_of(struct weir_shard *shard, const struct weir_trial *trial)
{
    struct weir_conn *conn = &shard->hub.conns[trial->slot];
    WEIR_DCHECK(conn->gen == trial->gen && (conn->flags & WEIR_CONN_ON_TRIAL));
    return conn;
}

bool weir_trial_may_begin(struct weir_shard *shard, uint16_t reason)
{
    struct weir_guard *guard = &shard->node->guard;
    if (reason != WEIR_R_LIMIT_INBOUND && reason != WEIR_R_LIMIT_ADDRESS &&
        reason != WEIR_R_LIMIT_SUBNET)
        return false;
    pthread_mutex_lock(&guard->mutex);
    bool has_ids = guard->welcome_id_cnt != 0;
    pthread_mutex_unlock(&guard->mutex);
    return has_ids && (shard->trial_cnt < shard->node->cfg.trials_max ||
                       shard->hub.now_ns - shard->trials[0].since_ns >= TRIAL_NS);
}

void weir_trial_begin(struct weir_shard *shard, struct weir_conn *conn, uint16_t reason)
{
    if (shard->trial_cnt ==
        shard->node->cfg.trials_max) /* the oldest is the first; its end takes it out */
        weir_conn_close(conn_of(shard, &shard->trials[0]), shard->trials[0].reason, false);
    WEIR_CHECK(shard->trial_cnt < shard->node->cfg.trials_max);
    conn->flags |= WEIR_CONN_ON_TRIAL;
    shard->trials[shard->trial_cnt++] = (struct weir_trial){
        .slot = conn->slot, .gen = conn->gen, .reason = reason, .since_ns = shard->hub.now_ns};
}

uint16_t weir_trial_end(struct weir_shard *shard, struct weir_conn *conn)
{
    if (!(conn->flags & WEIR_CONN_ON_TRIAL))
        return 0;
    conn->flags &= ~(uint32_t)WEIR_CONN_ON_TRIAL;
    uint32_t at = 0;
    while (at < shard->trial_cnt && shard->trials[at].slot != conn->slot)
        at++;
    WEIR_CHECK(at < shard->trial_cnt);
    uint16_t reason = shard->trials[at].reason;
    shard->trial_cnt--;
    memmove(&shard->trials[at], &shard->trials[at + 1],
            (shard->trial_cnt - at) * sizeof(shard->trials[0]));
    return reason;
}

uint16_t weir_welcome_ready(struct weir_shard *shard, struct weir_conn *conn)
{
    struct weir_guard *guard = &shard->node->guard;
    const uint8_t *id = weir_conn_id(conn);
    uint16_t reason = weir_trial_end(shard, conn);
    pthread_mutex_lock(&guard->mutex);
    bool is_welcome = id && guard->welcome_id_cnt && weir_welcome_has(guard, &conn->addr, id);
    bool is_counted = (conn->flags & WEIR_CONN_ADMITTED) && !(conn->flags & WEIR_CONN_IS_DIALER);
    if (is_welcome && is_counted) { /* whoever is welcome takes nobody's place */
        weir_admit_left(guard->admit, &conn->addr);
        conn->flags &= ~(uint32_t)WEIR_CONN_ADMITTED;
    }
    pthread_mutex_unlock(&guard->mutex);
    return is_welcome ? 0 : reason;
}
