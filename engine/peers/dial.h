/* engine/peers/dial.h: whom a shard dials, and when again.
 *
 * Backoff: the n-th wait (n from 0) is min(redial_max, redial_min * 2^n), of which the second half is
 * random ("equal jitter"), so that nodes that lost a peer together do not come back together. The count
 * starts again once a connection was ready.
 */
#ifndef WEIR_ENGINE_PEERS_DIAL_H
#define WEIR_ENGINE_PEERS_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/conn/conn.h"

#define WEIR_TIMER_DIAL 2u

struct weir_dial_entry {
    struct weir_addr addr;
    struct weir_timer timer; /* set while it waits for its next attempt */
    uint32_t flags;          /* enum weir_dial_flags */
    uint32_t attempt_cnt;    /* failures in a row */
    struct weir_conn *conn;  /* NULL: none now */
    bool is_used;
};

struct weir_dialer {
    struct weir_hub *hub;
    struct weir_dial_entry *entries;
    uint32_t entry_max;
    /* Told when an entry is gone, so that the node's count is right. */
    void (*forget)(void *ctx, const struct weir_addr *addr);
    /* Told when an attempt did not even start (limits, descriptors). */
    void (*failed)(void *ctx, const struct weir_addr *addr, uint16_t reason);
    void *ctx;
};

/* Takes memory for `entry_max` entries. Errors: WEIR_E_NOMEM. */
int weir_dialer_init(struct weir_dialer *dialer, struct weir_hub *hub, uint32_t entry_max);
void weir_dialer_fini(struct weir_dialer *dialer);

/* Starts dialing an address. Errors: WEIR_E_LIMIT. */
int weir_dialer_add(struct weir_dialer *dialer, const struct weir_addr *addr, uint32_t flags);

/* Forgets an address; its connection stays. False: it is not being dialed. */
bool weir_dialer_remove(struct weir_dialer *dialer, const struct weir_addr *addr);

/* Forgets all. */
void weir_dialer_stop(struct weir_dialer *dialer);

/* An entry's timer came up. */
void weir_dialer_fire(struct weir_dialer *dialer, uint32_t entry_idx);

/* A dialed connection ended. */
void weir_dialer_ended(struct weir_dialer *dialer, uint32_t entry_idx, uint16_t reason,
                       bool was_ready);

/* The wait before attempt `attempt_cnt`; `random` is any 64 bits. */
uint64_t weir_dial_backoff(uint64_t min_ns, uint64_t max_ns, uint32_t attempt_cnt, uint64_t random);

#endif
