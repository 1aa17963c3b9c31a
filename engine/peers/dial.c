#include "engine/peers/dial.h"

#include "weir/error.h"
#include "weir/node.h"

int weir_dialer_init(struct weir_dialer *dialer, struct weir_hub *hub, uint32_t entry_max)
{
    dialer->hub = hub;
    dialer->entries = weir_heap_alloc(hub->heap, entry_max * sizeof(*dialer->entries));
    if (!dialer->entries)
        return WEIR_E_NOMEM;
    dialer->entry_max = entry_max;
    return 0;
}

void weir_dialer_fini(struct weir_dialer *dialer)
{
    weir_heap_release(dialer->entries);
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

static void forget(struct weir_dialer *dialer, struct weir_dial_entry *entry)
{
    weir_wheel_cancel(dialer->hub->wheel, &entry->timer);
    entry->is_used = false;
    if (entry->conn)
        entry->conn->dial_idx = UINT32_MAX;
    entry->conn = NULL;
    dialer->forget(dialer->ctx, &entry->addr);
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
    weir_wheel_set(hub->wheel, &entry->timer, hub->now_ns + wait);
}

static uint16_t reason_of_error(int error)
{
    return error == WEIR_E_LIMIT ? WEIR_R_LIMIT_PEERS : WEIR_R_UNREACHABLE;
}

static void attempt(struct weir_dialer *dialer, uint32_t idx)
{
    struct weir_dial_entry *entry = &dialer->entries[idx];
    int error = weir_conn_dial(dialer->hub, &entry->addr, idx, &entry->conn);
    if (error == 0)
        return;
    entry->conn = NULL;
    dialer->failed(dialer->ctx, &entry->addr, reason_of_error(error));
    if (entry->flags & WEIR_DIAL_PERSIST)
        wait_again(dialer, entry);
    else
        forget(dialer, entry);
}

int weir_dialer_add(struct weir_dialer *dialer, const struct weir_addr *addr, uint32_t flags)
{
    for (uint32_t i = 0; i < dialer->entry_max; i++) {
        struct weir_dial_entry *entry = &dialer->entries[i];
        if (entry->is_used)
            continue;
        *entry = (struct weir_dial_entry){.addr = *addr, .flags = flags, .is_used = true};
        entry->timer.kind = WEIR_TIMER_DIAL;
        entry->timer.arg = i;
        attempt(dialer, i);
        return 0;
    }
    return WEIR_E_LIMIT;
}

bool weir_dialer_remove(struct weir_dialer *dialer, const struct weir_addr *addr)
{
    for (uint32_t i = 0; i < dialer->entry_max; i++) {
        struct weir_dial_entry *entry = &dialer->entries[i];
        if (!entry->is_used || !weir_addr_is_equal(&entry->addr, addr))
            continue;
        forget(dialer, entry);
        return true;
    }
    return false;
}

void weir_dialer_stop(struct weir_dialer *dialer)
{
    for (uint32_t i = 0; i < dialer->entry_max; i++) {
        if (dialer->entries[i].is_used)
            forget(dialer, &dialer->entries[i]);
    }
}

void weir_dialer_fire(struct weir_dialer *dialer, uint32_t entry_idx)
{
    if (dialer->entries[entry_idx].is_used && !dialer->entries[entry_idx].conn)
        attempt(dialer, entry_idx);
}

void weir_dialer_ended(struct weir_dialer *dialer, uint32_t entry_idx, uint16_t reason,
                       bool was_ready)
{
    struct weir_dial_entry *entry = &dialer->entries[entry_idx];
    if (entry_idx >= dialer->entry_max || !entry->is_used)
        return;
    /* The end may be of a dial that was cancelled since, and the entry another one's by now: then it has
     * no connection, or one that lives. */
    const struct weir_conn *conn = entry->conn;
    if (!conn || (conn->state != WEIR_CONN_FREE && conn->dial_idx == entry_idx &&
                  !(conn->flags & WEIR_CONN_TOLD)))
        return;
    entry->conn = NULL;
    if (was_ready)
        entry->attempt_cnt = 0;
    /* Ourselves will not become somebody else. */
    if (!(entry->flags & WEIR_DIAL_PERSIST) || reason == WEIR_R_SELF)
        forget(dialer, entry);
    else
        wait_again(dialer, entry);
}
