/* engine/peers/dial.h: whom a shard dials, and when again.
 *
 *            add, timer                answer              a connect ended well
 *   WAITING --[QUEUED]--> NAMING -----------------> RACING --------------------> UP
 *      ^    (an address: straight to RACING)          |                           |
 *      |                     | no answer, none of use | every address failed      | ended
 *      +---------------------+------------------------+---------------------------+
 *   WAITING  `timer` says when it is tried again
 *   QUEUED   cfg->dials_active_max others are NAMING or RACING: it is started when it is its turn
 *   NAMING   the name was asked for; `timer` is the answer's deadline
 *   RACING   connects are in flight, one per address; `timer` starts the next one (RFC 8305, 5: each gets a
 *            head start of cfg->dial_head_start_ns over the next; one that fails gives the rest away)
 *   UP       the first connect that ended well is the one; the others were aborted with WEIR_R_RACE
 * A plain dial is forgotten instead of WAITING.
 *
 * With a proxy, "address" above is the proxy's and the target's name goes to it as it is; the prelude
 * (peers/proxy.h) runs while the entry is UP already, within the dial deadline.
 *
 * An application hears once of a round that failed, with the reason of the address that failed last.
 * A name is looked up anew in each round.
 *
 * Backoff: the n-th wait (n from 0) is min(redial_max, redial_min * 2^n), of which the second half is
 * random ("equal jitter"), so that nodes that lost a peer together do not come back together:
 *
 *     wait(n) = W/2 + random(0 .. W/2),  W = min(redial_max, redial_min * 2^n)
 *
 * n counts rounds that were in vain. It starts again at 0 after a connection that was *useful*: on which a
 * message arrived (and that did not end by a fault of the peer's), or that stayed for redial_max. One that
 * only shook hands and went is in vain: otherwise a peer that accepts and hangs up would be dialed four times
 * a second for ever.
 */
#ifndef WEIR_ENGINE_PEERS_DIAL_H
#define WEIR_ENGINE_PEERS_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/target.h"
#include "engine/conn/conn.h"
#include "engine/peers/dial_queue.h"
#include "engine/peers/proxy.h"
#include "engine/peers/resolver.h"

#define WEIR_TIMER_DIAL 2u

enum weir_dial_phase {
    WEIR_DIAL_FREE = 0,
    WEIR_DIAL_WAITING,
    WEIR_DIAL_QUEUED,
    WEIR_DIAL_NAMING,
    WEIR_DIAL_RACING,
    WEIR_DIAL_UP
};

struct weir_dial_entry {
    struct weir_target_kept *target; /* the caller's, until forget is told; NULL: FREE */
    struct weir_timer timer;
    struct weir_dial_link link;
    uint32_t flags;       /* enum weir_dial_flags */
    uint32_t attempt_cnt; /* failures in a row */
    uint32_t gen;         /* counts rounds: an answer to an earlier one is nobody's */
    uint8_t phase;        /* enum weir_dial_phase */
    bool is_admitted;     /* the node's limit on outbound connections counts it */
    uint16_t reason;      /* RACING: why the latest address failed */
    uint32_t addr_cnt;    /* RACING: how many addresses, and which is next */
    uint32_t next_addr;
    struct weir_addr *addrs;                    /* of a name; NULL: the target's own */
    uint32_t winner;                            /* UP: which of `conns` */
    struct weir_conn *conns[WEIR_RESOLVED_MAX]; /* one per address, until its end was heard */
    uint32_t conn_gens[WEIR_RESOLVED_MAX];
    bool is_fallback;        /* this round is plain: the other side said that it is */
    uint64_t plain_until_ns; /* for so long its word holds, if nobody answers the plain attempt */
};

struct weir_dialer {
    struct weir_hub *hub;
    struct weir_dial_entry *entries;
    uint32_t entry_max;
    struct weir_dial_queue queue;
    const struct weir_proxy *proxy; /* NULL: none */
    /* Told when an entry is gone: it was the last to look at the target. */
    void (*forget)(void *ctx, struct weir_target_kept *target);
    /* Told when a round failed without a connection whose end would say so. */
    void (*failed)(void *ctx, const struct weir_target *target, uint16_t reason);
    /* Asks for a name; weir_dialer_answer follows, perhaps. Returns 0 or a reason. */
    uint16_t (*ask)(void *ctx, const struct weir_question *question, const char *name,
                    uint16_t port);
    /* The node's limits; NULL: none. admit is about a round: it returns 0, and left follows once, or a reason. enter is
     * about each address (family WEIR_ADDR_NONE: a proxy finds it): 0, and it is counted until the connection ends
     * (WEIR_CONN_DIAL_COUNTED), or, where none is made, until exit; or a reason. */
    uint16_t (*admit)(void *ctx);
    void (*left)(void *ctx);
    uint16_t (*enter)(void *ctx, const struct weir_target *target, const struct weir_addr *addr,
                      uint32_t flags);
    void (*exit)(void *ctx, const struct weir_addr *addr);
    void *ctx;
};

/* Takes memory for `entry_max` entries. Errors: WEIR_E_NOMEM. */
int weir_dialer_init(struct weir_dialer *dialer, struct weir_hub *hub, uint32_t entry_max);
void weir_dialer_fini(struct weir_dialer *dialer);

/* Starts dialing. It takes no memory: what was accepted is dialed. Owns: the caller the target, which must stay until
 * forget is told of it. Errors: WEIR_E_LIMIT. */
int weir_dialer_add(struct weir_dialer *dialer, struct weir_target_kept *target, uint32_t flags);

/* Forgets a dial of a target, one for ever if there is one; a connection stays, connects that race each other are
 * aborted. False: it is not being dialed. */
bool weir_dialer_remove(struct weir_dialer *dialer, const struct weir_target *target);

/* Forgets all. */
void weir_dialer_stop(struct weir_dialer *dialer);

/* An entry's timer came up. */
void weir_dialer_fire(struct weir_dialer *dialer, uint32_t entry_idx);

/* A name's answer: a reason, or 0 and addresses. */
void weir_dialer_answer(struct weir_dialer *dialer, uint32_t entry_idx, uint32_t entry_gen,
                        uint16_t reason, const struct weir_addr *addrs, uint32_t addr_cnt);

/* A dialed connection's connect ended well. */
void weir_dialer_connected(struct weir_dialer *dialer, struct weir_conn *conn);

/* A dialed connection, known by slot and generation, ended.
 * Returns whether the application should hear of it: not while other addresses are being tried. */
bool weir_dialer_ended(struct weir_dialer *dialer, uint32_t entry_idx, uint32_t slot, uint32_t gen,
                       uint16_t reason, bool was_ready, bool was_useful);

/* Whether a connection, known by slot and generation, is one of this entry's. */
bool weir_dialer_is_of(const struct weir_dialer *dialer, uint32_t entry_idx, uint32_t slot,
                       uint32_t gen);

/* The target of a dialed connection; false when it is not being dialed any more (or never was). */
bool weir_dialer_target(const struct weir_dialer *dialer, const struct weir_conn *conn,
                        struct weir_target *ret_target);

/* The flags of a dialed connection's dial, 0 as above. */
uint32_t weir_dialer_flags(const struct weir_dialer *dialer, const struct weir_conn *conn);

/* The wait before attempt `attempt_cnt`; `random` is any 64 bits. */
uint64_t weir_dial_backoff(uint64_t min_ns, uint64_t max_ns, uint32_t attempt_cnt, uint64_t random);

#endif
