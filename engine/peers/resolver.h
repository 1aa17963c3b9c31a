/* engine/peers/resolver.h: names -> addresses, on a thread of its own, so that no shard waits for the DNS.
 *
 *   shard: weir_resolver_ask --> queue (bounded) --> the thread: lookup() --> done()
 *
 * The thread is made with the first question. It looks one name up at a time, oldest question first; a
 * question whose deadline has passed before its turn came is thrown away, because whoever asked has given up.
 * The asker keeps its own deadline: an answer may come late, or, when memory is short, never.
 *
 * libc cannot be told to end a lookup. So weir_resolver_free() waits for the thread until the deadline of the
 * question that it is busy with; after that it lets the thread go, which ends by itself once the lookup
 * returns, says nothing to anybody, and frees what is left.
 */
#ifndef WEIR_ENGINE_PEERS_RESOLVER_H
#define WEIR_ENGINE_PEERS_RESOLVER_H

#include <stdint.h>

#include "engine/base/target.h"

#define WEIR_RESOLVED_MAX \
    8u /* addresses of a name that are tried; further ones are not looked at */

/* Looks a name up, and may block. Fills up to `addr_max` addresses, with `port`, in the order in which they
 * should be tried. Returns 0, or a WEIR_R_NAME_* reason. */
typedef uint16_t (*weir_lookup_fn)(void *ctx, const char *name, uint16_t port,
                                   struct weir_addr *ret_addrs, uint32_t addr_max,
                                   uint32_t *ret_addr_cnt);

/* The system's: getaddrinfo, so /etc/hosts and the DNS as the machine is set up. */
uint16_t weir_lookup_system(void *ctx, const char *name, uint16_t port, struct weir_addr *ret_addrs,
                            uint32_t addr_max, uint32_t *ret_addr_cnt);

/* The reason for an error of getaddrinfo. */
uint16_t weir_lookup_reason(int gai_error);

/* Orders addresses for trying (RFC 8305, 4): the families take turns, that of the first address first, and
 * each family's own order stays. Addresses that occur twice are dropped; returns how many are left. */
uint32_t weir_addrs_interleave(struct weir_addr *addrs, uint32_t addr_cnt);

/* Who asked, and until when it matters. */
struct weir_question {
    uint32_t shard, entry_idx, entry_gen;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC */
};

struct weir_resolver_config {
    weir_lookup_fn lookup;
    void *lookup_ctx;
    uint32_t queue_max; /* questions that wait */
    /* The answer: a reason, or 0 and interleaved addresses, borrowed. On the resolver's thread, and never
     * again once weir_resolver_free was called. */
    void (*done)(void *ctx, const struct weir_question *question, uint16_t reason,
                 const struct weir_addr *addrs, uint32_t addr_cnt);
    void *ctx;
};

struct weir_resolver;

/* Makes a resolver; no thread yet. Errors: WEIR_E_NOMEM. */
int weir_resolver_create(struct weir_resolver **ret_resolver,
                         const struct weir_resolver_config *cfg);

/* Asks. Any thread; never waits for a lookup.
 * Errors: WEIR_E_FULL (queue_max), WEIR_E_NOMEM (also: no thread can be made). */
int weir_resolver_ask(struct weir_resolver *resolver, const struct weir_question *question,
                      const char *name, uint16_t port);

/* Ends the thread as said above, and frees. NULL is fine. */
void weir_resolver_free(struct weir_resolver *resolver);

#endif
