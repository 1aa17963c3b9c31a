#include "engine/peers/dial.h"

#include <string.h>

#include "engine/base/check.h"
#include "weir/error.h"
#include "weir/node.h"

#define PLAIN_WORD_NS (10 * WEIR_NS_PER_S)

int weir_dialer_init(struct weir_dialer *dialer, struct weir_hub *hub, uint32_t entry_max)
{
    dialer->hub = hub;
    dialer->entries = weir_heap_alloc_table(hub->heap, entry_max * sizeof(*dialer->entries));
    if (!dialer->entries)
        return WEIR_E_NOMEM;
    dialer->entry_max = entry_max;
    weir_dial_queue_init(&dialer->queue, hub->cfg->dials_active_max);
    return 0;
}

void weir_dialer_fini(struct weir_dialer *dialer)
{
    for (uint32_t i = 0; dialer->entries && i < dialer->entry_max; i++)
        weir_heap_release(dialer->entries[i].addrs);
    weir_heap_release_table(dialer->entries, dialer->entry_max * sizeof(*dialer->entries));
    dialer->entries = NULL;
}

uint64_t weir_dial_backoff(uint64_t min_ns, uint64_t max_ns, uint32_t attempt_cnt, uint64_t random)
{
    uint64_t wait = min_ns < max_ns ? min_ns : max_ns;
    for (uint32_t i = 0; i < attempt_cnt && i < 64 && wait < max_ns; i++)
        wait = wait <= max_ns / 2 ? 2 * wait : max_ns;
    uint64_t half = wait / 2;
    return wait - half + (half ? random % (half + 1) : 0);
}

static struct weir_dial_links links_of(const struct weir_dialer *dialer)
{
    return (struct weir_dial_links){&dialer->entries[0].link, sizeof(dialer->entries[0])};
}

static uint32_t idx_of(const struct weir_dialer *dialer, const struct weir_dial_entry *entry)
{
    return (uint32_t)(entry - dialer->entries);
}

/* Whom the connection is made to: the proxy, or the entry's target itself. */
static const struct weir_target *hop_of(const struct weir_dialer *dialer,
                                        const struct weir_dial_entry *entry,
                                        const struct weir_target *target)
{
    bool is_direct = (entry->flags & WEIR_DIAL_DIRECT) || !weir_proxy_is_for(dialer->proxy, target);
    return is_direct ? target : &dialer->proxy->at;
}

/* ---- rounds -------------------------------------------------------------------------------- */

static bool is_alive(const struct weir_dial_entry *entry, uint32_t at)
{
    const struct weir_conn *conn = entry->conns[at];
    return conn && conn->state != WEIR_CONN_FREE && conn->gen == entry->conn_gens[at] &&
           !(conn->flags & WEIR_CONN_TOLD);
}

static void drop_addrs(struct weir_dial_entry *entry)
{
    weir_heap_release(entry->addrs);
    entry->addrs = NULL;
    entry->addr_cnt = entry->next_addr = 0;
}

static void leave(struct weir_dialer *dialer, struct weir_dial_entry *entry)
{
    if (entry->is_admitted)
        dialer->left(dialer->ctx);
    entry->is_admitted = false;
}

static void forget(struct weir_dialer *dialer, struct weir_dial_entry *entry)
{
    bool is_race = entry->phase == WEIR_DIAL_RACING && entry->addr_cnt > 1;
    weir_wheel_cancel(dialer->hub->wheel, &entry->timer);
    weir_dial_queue_leave(&dialer->queue, links_of(dialer), idx_of(dialer, entry));
    entry->phase = WEIR_DIAL_FREE;
    entry->gen++;
    drop_addrs(entry);
    for (uint32_t i = 0; i < WEIR_RESOLVED_MAX; i++) {
        if (is_alive(entry, i) && is_race)
            weir_conn_abort(entry->conns[i], WEIR_R_RACE);
        else if (is_alive(entry, i)) {
            entry->conns[i]->dial_idx = UINT32_MAX;
            if (entry->is_admitted)
                entry->conns[i]->flags |= WEIR_CONN_ADMITTED; /* counted until its end */
            entry->is_admitted = false;
        }
        entry->conns[i] = NULL;
    }
    leave(dialer, entry);
    struct weir_target_kept *target = entry->target;
    entry->target = NULL;
    dialer->forget(dialer->ctx, target);
}

static void wait_again(struct weir_dialer *dialer, struct weir_dial_entry *entry)
{
    struct weir_hub *hub = dialer->hub;
    uint64_t random = 0;
    hub->io->ops->random(hub->io, &random, sizeof(random));
    uint64_t wait = weir_dial_backoff(hub->cfg->redial_min_ns, hub->cfg->redial_max_ns,
                                      entry->attempt_cnt, random);
    if (entry->attempt_cnt < 63)
        entry->attempt_cnt++;
    if (WEIR_PLANTED(SAME))
        wait += weir_now() % wait;
    weir_dial_queue_leave(&dialer->queue, links_of(dialer), idx_of(dialer, entry));
    entry->phase = WEIR_DIAL_WAITING;
    entry->gen++;
    drop_addrs(entry);
    memset(entry->conns, 0, sizeof(entry->conns));
    leave(dialer, entry);
    if (!WEIR_PLANTED(REDIAL))
        weir_wheel_set(hub->wheel, &entry->timer, hub->now_ns + wait);
}

/* Ourselves will not become somebody else. */
static void end_round(struct weir_dialer *dialer, struct weir_dial_entry *entry, uint16_t reason)
{
    if ((entry->flags & WEIR_DIAL_PERSIST) && reason != WEIR_R_SELF)
        wait_again(dialer, entry);
    else
        forget(dialer, entry);
}

static void fail_round(struct weir_dialer *dialer, struct weir_dial_entry *entry, uint16_t reason)
{
    struct weir_target target;
    weir_target_restore(&target, entry->target);
    end_round(dialer, entry, reason);
    dialer->failed(dialer->ctx, &target, reason);
}

static uint16_t reason_of_error(int error)
{
    return error == WEIR_E_LIMIT   ? WEIR_R_LIMIT_PEERS
           : error == WEIR_E_NOMEM ? WEIR_R_LIMIT_MEMORY
                                   : WEIR_R_UNREACHABLE;
}

/* Tells the connection how it is to be. In time: what it does first comes with a later event. */
static void instruct(const struct weir_dial_entry *entry, struct weir_conn *conn)
{
    if (entry->flags & WEIR_DIAL_PLAIN)
        conn->policy = WEIR_SECURE_PLAIN;
    if (entry->flags & WEIR_DIAL_PREFER)
        conn->policy = WEIR_SECURE_PREFER;
    if ((entry->flags & WEIR_DIAL_REQUIRE) || entry->target->has_id)
        conn->policy = WEIR_SECURE_REQUIRE;
    if (entry->is_fallback)
        conn->policy = WEIR_SECURE_PLAIN;
    conn->has_dial_id = entry->target->has_id && !WEIR_PLANTED(ID);
    if (entry->target->has_id)
        memcpy(conn->dial_id, entry->target->id, sizeof(conn->dial_id));
}

/* Whether a plain attempt may follow one that was refused as encrypted. A failed handshake is no reason:
 * only the word of a plain weir is, and only where the policy says that plain will do. */
static bool may_fall_back(const struct weir_dialer *dialer, const struct weir_dial_entry *entry)
{
    uint32_t forced = WEIR_DIAL_PLAIN | WEIR_DIAL_PREFER | WEIR_DIAL_REQUIRE;
    if (entry->target->has_id || entry->is_fallback)
        return false;
    if (entry->flags & forced)
        return (entry->flags & WEIR_DIAL_PREFER) != 0;
    return dialer->hub->cfg->secure == WEIR_SECURE_PREFER;
}

/* Whether a plain attempt ended without a word of the other side. A limit on new connections does that: who then
 * asked for encryption again would spend what the limit leaves on being refused, each time. */
static bool is_unanswered(uint16_t reason, bool was_ready)
{
    return !was_ready && reason >= WEIR_R_EOF && reason <= WEIR_R_HANDSHAKE_TIMEOUT;
}

static bool has_conn(const struct weir_dial_entry *entry)
{
    for (uint32_t i = 0; i < entry->addr_cnt; i++) {
        if (entry->conns[i])
            return true;
    }
    return false;
}

/* Starts one connect, or says why not. Through a proxy the connection's address is the target's all the same, or none:
 * who is at the other end is what it is for. */
static uint16_t dial_one(struct weir_dialer *dialer, struct weir_dial_entry *entry,
                         const struct weir_target *target, const struct weir_addr *addr,
                         struct weir_conn **ret_conn)
{
    struct weir_hub *hub = dialer->hub;
    bool is_proxied = hop_of(dialer, entry, target) != target;
    struct weir_prelude *prelude = NULL;
    const struct weir_addr *peer = is_proxied ? &target->addr : addr;
    uint16_t reason = dialer->enter ? dialer->enter(dialer->ctx, target, peer, entry->flags) : 0;
    if (reason)
        return reason;
    int error = 0;
    if (is_proxied) {
        prelude = weir_proxy_prelude(dialer->proxy, hub, target);
        error = prelude ? 0 : WEIR_E_NOMEM;
    }
    if (!error)
        error = weir_conn_dial(hub, addr, idx_of(dialer, entry), ret_conn);
    if (error) {
        if (prelude)
            prelude->ops->free(prelude);
        if (dialer->exit)
            dialer->exit(dialer->ctx, peer);
        return reason_of_error(error);
    }
    if (dialer->enter)
        (*ret_conn)->flags |= WEIR_CONN_DIAL_COUNTED;
    if (is_proxied) {
        (*ret_conn)->prelude = prelude;
        (*ret_conn)->addr = target->addr;
    }
    return 0;
}

/* Starts the next connect, and its head start; the round has failed when there is none and none runs. */
static void race_on(struct weir_dialer *dialer, struct weir_dial_entry *entry)
{
    struct weir_hub *hub = dialer->hub;
    struct weir_target target;
    weir_target_restore(&target, entry->target);
    const struct weir_addr *addrs =
        entry->addrs ? entry->addrs : &hop_of(dialer, entry, &target)->addr;
    weir_wheel_cancel(hub->wheel, &entry->timer);
    while (entry->next_addr < entry->addr_cnt) {
        uint32_t at = entry->next_addr++;
        uint16_t reason = dial_one(dialer, entry, &target, &addrs[at], &entry->conns[at]);
        if (reason) {
            entry->conns[at] = NULL;
            /* Another address of this name fills the group: this one has its turn when that one has failed. */
            if ((reason == WEIR_R_LIMIT_ADDRESS || reason == WEIR_R_LIMIT_SUBNET) &&
                has_conn(entry)) {
                entry->next_addr = at;
                return;
            }
            entry->reason = reason;
            continue;
        }
        entry->conn_gens[at] = entry->conns[at]->gen;
        instruct(entry, entry->conns[at]);
        if (entry->next_addr < entry->addr_cnt)
            weir_wheel_set(hub->wheel, &entry->timer, hub->now_ns + hub->cfg->dial_head_start_ns);
        return;
    }
    if (!has_conn(entry))
        fail_round(dialer, entry, entry->reason);
}

static void begin_race(struct weir_dialer *dialer, struct weir_dial_entry *entry, uint32_t addr_cnt)
{
    entry->phase = WEIR_DIAL_RACING;
    entry->reason = WEIR_R_UNREACHABLE;
    entry->addr_cnt = addr_cnt;
    entry->next_addr = 0;
    uint16_t reason = dialer->admit ? dialer->admit(dialer->ctx) : 0;
    if (reason) {
        fail_round(dialer, entry, reason);
        return;
    }
    entry->is_admitted = dialer->admit != NULL;
    race_on(dialer, entry);
}

static void start_round(struct weir_dialer *dialer, struct weir_dial_entry *entry)
{
    struct weir_hub *hub = dialer->hub;
    struct weir_target target;
    weir_target_restore(&target, entry->target);
    const struct weir_target *hop = hop_of(dialer, entry, &target);
    if (hub->now_ns >= entry->plain_until_ns)
        entry->is_fallback = false;
    if (!weir_target_is_name(hop)) {
        begin_race(dialer, entry, 1);
        return;
    }
    entry->phase = WEIR_DIAL_NAMING;
    struct weir_question question = {.shard = hub->shard,
                                     .entry_idx = idx_of(dialer, entry),
                                     .entry_gen = entry->gen,
                                     .deadline_ns = hub->now_ns + hub->cfg->name_timeout_ns};
    uint16_t reason = dialer->ask(dialer->ctx, &question, hop->name, hop->addr.port);
    if (reason)
        fail_round(dialer, entry, reason);
    else if (entry->phase == WEIR_DIAL_NAMING && entry->gen == question.entry_gen)
        weir_wheel_set(hub->wheel, &entry->timer, question.deadline_ns);
}

static void begin_round(struct weir_dialer *dialer, struct weir_dial_entry *entry)
{
    if (weir_dial_queue_enter(&dialer->queue, links_of(dialer), idx_of(dialer, entry)))
        start_round(dialer, entry);
    else
        entry->phase = WEIR_DIAL_QUEUED;
}

/* Starts those whose turn has come. Called last by whatever may have ended a dial, and by nothing that it calls: a round
 * may fail at once, and as many as there are. */
static void start_queued(struct weir_dialer *dialer)
{
    uint32_t idx;
    while ((idx = weir_dial_queue_next(&dialer->queue, links_of(dialer))) != WEIR_DIAL_NOBODY)
        start_round(dialer, &dialer->entries[idx]);
}

/* ---- what the shard says ------------------------------------------------------------------- */

int weir_dialer_add(struct weir_dialer *dialer, struct weir_target_kept *target, uint32_t flags)
{
    for (uint32_t i = 0; i < dialer->entry_max; i++) {
        struct weir_dial_entry *entry = &dialer->entries[i];
        if (entry->phase != WEIR_DIAL_FREE)
            continue;
        *entry = (struct weir_dial_entry){.target = target, .flags = flags, .gen = entry->gen + 1};
        entry->timer.kind = WEIR_TIMER_DIAL;
        entry->timer.arg = i;
        begin_round(dialer, entry);
        start_queued(dialer);
        return 0;
    }
    return WEIR_E_LIMIT;
}

bool weir_dialer_remove(struct weir_dialer *dialer, const struct weir_target *target)
{
    struct weir_dial_entry *found = NULL;
    for (uint32_t i = 0; i < dialer->entry_max; i++) {
        struct weir_dial_entry *entry = &dialer->entries[i];
        if (entry->phase == WEIR_DIAL_FREE || !weir_target_means_kept(target, entry->target))
            continue;
        if (!found || (entry->flags & ~found->flags & WEIR_DIAL_PERSIST))
            found = entry;
    }
    if (!found)
        return false;
    forget(dialer, found);
    start_queued(dialer);
    return true;
}

void weir_dialer_stop(struct weir_dialer *dialer)
{
    for (uint32_t i = 0; i < dialer->entry_max; i++) {
        if (dialer->entries[i].phase != WEIR_DIAL_FREE)
            forget(dialer, &dialer->entries[i]);
    }
}

void weir_dialer_fire(struct weir_dialer *dialer, uint32_t entry_idx)
{
    struct weir_dial_entry *entry = &dialer->entries[entry_idx];
    switch ((enum weir_dial_phase)entry->phase) {
    case WEIR_DIAL_WAITING:
        begin_round(dialer, entry);
        break;
    case WEIR_DIAL_NAMING:
        fail_round(dialer, entry, WEIR_R_NAME_TIMEOUT);
        break;
    case WEIR_DIAL_RACING:
        race_on(dialer, entry);
        break;
    case WEIR_DIAL_QUEUED:
    case WEIR_DIAL_UP:
    case WEIR_DIAL_FREE:
        break;
    }
    start_queued(dialer);
}

void weir_dialer_answer(struct weir_dialer *dialer, uint32_t entry_idx, uint32_t entry_gen,
                        uint16_t reason, const struct weir_addr *addrs, uint32_t addr_cnt)
{
    struct weir_dial_entry *entry = &dialer->entries[entry_idx];
    if (entry_idx >= dialer->entry_max || entry->phase != WEIR_DIAL_NAMING ||
        entry->gen != entry_gen)
        return; /* too late, or cancelled */
    weir_wheel_cancel(dialer->hub->wheel, &entry->timer);
    if (addr_cnt > WEIR_RESOLVED_MAX)
        addr_cnt = WEIR_RESOLVED_MAX;
    if (!reason && addr_cnt == 0)
        reason = WEIR_R_NAME_NO_ADDRESS;
    if (!reason) {
        entry->addrs = weir_heap_alloc(dialer->hub->heap, addr_cnt * sizeof(*addrs));
        if (!entry->addrs)
            reason = WEIR_R_LIMIT_MEMORY;
    }
    if (reason) {
        fail_round(dialer, entry, reason);
    } else {
        for (uint32_t i = 0; i < addr_cnt; i++)
            entry->addrs[i] = addrs[i];
        begin_race(dialer, entry, addr_cnt);
    }
    start_queued(dialer);
}

/* The connection's place in its entry, or WEIR_RESOLVED_MAX. */
static uint32_t place_of(const struct weir_dialer *dialer, const struct weir_dial_entry *entry,
                         uint32_t slot, uint32_t gen)
{
    uint32_t at = 0;
    while (at < WEIR_RESOLVED_MAX &&
           (entry->conns[at] != &dialer->hub->conns[slot] || entry->conn_gens[at] != gen))
        at++;
    return at;
}

void weir_dialer_connected(struct weir_dialer *dialer, struct weir_conn *conn)
{
    if (conn->dial_idx >= dialer->entry_max)
        return;
    struct weir_dial_entry *entry = &dialer->entries[conn->dial_idx];
    uint32_t at = place_of(dialer, entry, conn->slot, conn->gen);
    if (entry->phase != WEIR_DIAL_RACING || at == WEIR_RESOLVED_MAX)
        return;
    entry->phase = WEIR_DIAL_UP;
    entry->winner = at;
    weir_dial_queue_leave(&dialer->queue, links_of(dialer), conn->dial_idx);
    weir_wheel_cancel(dialer->hub->wheel, &entry->timer);
    drop_addrs(entry);
    for (uint32_t i = 0; i < WEIR_RESOLVED_MAX; i++) {
        if (i != at && is_alive(entry, i))
            weir_conn_abort(entry->conns[i], WEIR_R_RACE);
    }
    start_queued(dialer);
}

static bool has_ended(struct weir_dialer *dialer, uint32_t entry_idx, uint32_t slot, uint32_t gen,
                      uint16_t reason, bool was_ready, bool was_useful)
{
    struct weir_dial_entry *entry = &dialer->entries[entry_idx];
    uint32_t at =
        entry_idx < dialer->entry_max ? place_of(dialer, entry, slot, gen) : WEIR_RESOLVED_MAX;
    /* The end may be of a dial that was cancelled since, and the entry another one's by now. */
    if (at == WEIR_RESOLVED_MAX || entry->phase == WEIR_DIAL_FREE)
        return was_ready || reason != WEIR_R_RACE;
    entry->conns[at] = NULL;
    if (entry->phase == WEIR_DIAL_UP && at != entry->winner)
        return false;
    if (entry->phase == WEIR_DIAL_RACING) {
        entry->reason = reason;
        if (entry->next_addr < entry->addr_cnt) { /* at once: its head start is over */
            race_on(dialer, entry);
            return false;
        }
        if (has_conn(entry))
            return false;
    }
    if (was_useful)
        entry->attempt_cnt = 0;
    if (reason ==
        WEIR_R_DUPLICATE_PEER) /* the node is connected, just not by this: there is no hurry */
        entry->attempt_cnt = 63;
    if (reason == WEIR_R_SECURE_REFUSED && may_fall_back(dialer, entry)) {
        entry->is_fallback = true;
        entry->plain_until_ns = dialer->hub->now_ns + PLAIN_WORD_NS;
        entry->gen++;
        drop_addrs(entry);
        memset(entry->conns, 0, sizeof(entry->conns));
        begin_round(dialer, entry);
        return false;
    }
    if (!is_unanswered(reason, was_ready))
        entry->is_fallback = false;
    end_round(dialer, entry, reason);
    return true;
}

bool weir_dialer_ended(struct weir_dialer *dialer, uint32_t entry_idx, uint32_t slot, uint32_t gen,
                       uint16_t reason, bool was_ready, bool was_useful)
{
    bool is_told = has_ended(dialer, entry_idx, slot, gen, reason, was_ready, was_useful);
    start_queued(dialer);
    return is_told;
}

bool weir_dialer_is_of(const struct weir_dialer *dialer, uint32_t entry_idx, uint32_t slot,
                       uint32_t gen)
{
    return entry_idx < dialer->entry_max && dialer->entries[entry_idx].phase != WEIR_DIAL_FREE &&
           place_of(dialer, &dialer->entries[entry_idx], slot, gen) != WEIR_RESOLVED_MAX;
}

bool weir_dialer_target(const struct weir_dialer *dialer, const struct weir_conn *conn,
                        struct weir_target *ret_target)
{
    if (conn->dial_idx >= dialer->entry_max || !dialer->entries[conn->dial_idx].target)
        return false;
    weir_target_restore(ret_target, dialer->entries[conn->dial_idx].target);
    return true;
}

uint32_t weir_dialer_flags(const struct weir_dialer *dialer, const struct weir_conn *conn)
{
    return conn->dial_idx < dialer->entry_max ? dialer->entries[conn->dial_idx].flags : 0;
}
