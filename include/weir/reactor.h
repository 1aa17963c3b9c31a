/* weir/reactor.h: what a reactor of some size needs beside its callbacks: to be called on a shard, to be
 * called earlier than it said, a place of its own per peer, random bytes, series in the metrics.
 *
 * weir's own reactors (weir/request.h, weir/gossip.h) are made of these and of weir/node.h alone. They keep
 * everything they know of a peer on the shard that owns it, reach it from other threads by weir_post(), and so
 * need no lock for it.
 */
#ifndef WEIR_REACTOR_H
#define WEIR_REACTOR_H

#include "weir/node.h"
#include "weir/stats.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_PEER_PLACES_MAX 16u /* places that a node can have per peer */

/* A call that was posted. `is_run` nonzero: on the shard's thread, as a callback of a reactor. 0: the node ended
 * first; the call may free what `ctx` holds, and nothing else. */
typedef void (*weir_post_fn)(void *ctx, uint32_t shard, int is_run);

/* Has `fn` called once on a shard's thread, soon: in the turn that is running, or the next. After a return of 0
 * it is called exactly once, whatever happens; at the latest, with is_run 0, in weir_node_free().
 * Errors: WEIR_E_STATE (not started, or stopped), WEIR_E_FULL (mailbox_bytes_max), WEIR_E_NOMEM,
 * WEIR_E_MISUSE (no such shard). On an error it is not called. */
WEIR_API WEIR_MUST_CHECK int weir_post(weir_node *node, uint32_t shard, weir_post_fn fn, void *ctx);

/* Has on_tick of the reactors whose ctx is `ctx` called at `when`, if it would not be called earlier anyway.
 * Inside of on_tick itself what it returns decides.
 * Errors: WEIR_E_MISUSE (not a shard's thread, or no such reactor).
 * Thread: a shard's, for this shard. */
WEIR_API int weir_tick_set(weir_node *node, const void *ctx, weir_ns when);

/* Reserves a place of one pointer per peer. Before start.
 * Errors: WEIR_E_STATE (after start), WEIR_E_LIMIT (WEIR_PEER_PLACES_MAX). */
WEIR_API WEIR_MUST_CHECK int weir_peer_place(weir_node *node, uint32_t *ret_place);

/* Sets and reads a peer's pointer: NULL from WEIR_PEER_UP on, and to be read until the last on_peer with
 * WEIR_PEER_DOWN has returned. weir never looks at what it points to.
 * Errors: WEIR_E_GONE, WEIR_E_MISUSE (no such place).
 * Thread: the owning shard's; elsewhere set answers WEIR_E_MISUSE and get NULL. */
WEIR_API int weir_peer_set(weir_node *node, weir_peer peer, uint32_t place, void *data);
WEIR_API void *weir_peer_get(weir_node *node, weir_peer peer, uint32_t place);

/* How many shards a node has: 0 .. that - 1 are what weir_post and on_tick speak of.  Thread: any thread. */
WEIR_API uint32_t weir_node_shards(const weir_node *node);

/* Fills `len` bytes at random, fit for secrets; in a simulated world, from its seed.
 * Errors: WEIR_E_SYSTEM. */
WEIR_API WEIR_MUST_CHECK int weir_node_random(weir_node *node, void *ret_bytes, size_t len);

/* ---- series -------------------------------------------------------------------------------- */

#define WEIR_SERIES_MAX 256u /* series that reactors, weir's own included, can add to a node's */

typedef struct weir_counter weir_counter;

/* One value, shown among the node's own wherever those are: over HTTP, by weir_metrics_text, in the stats file.
 * Series of one name are one family: they have the same type, unit, help and label, and differ in its value. */
struct weir_series {
    uint32_t size;
    uint32_t
        type; /* enum weir_stats_type: WEIR_STATS_COUNTER, which only rises, or WEIR_STATS_GAUGE */
    uint32_t unit; /* enum weir_stats_unit */
    uint32_t arg;  /* handed to `read` */
    const char *
        name; /* 3 to 63 of a-z 0-9 _, a letter first, none of weir's ("weir_"); of a counter, and of
                       * nothing else, the end is _total */
    const char *help; /* what it is: 1 to 127 printable bytes of ASCII, no backslash */
    const char *label,
        *value; /* one label at most: its name of up to 31 of a-z 0-9 _, a value of up to 63
                                * bytes that no peer has chosen; NULL: none */
    void *ctx;
    /* The value of now, asked for when somebody looks: on any thread, several at once, until weir_node_free()
     * returns; it must not wait. NULL: what weir_counter_add() counts. */
    uint64_t (*read)(void *ctx, uint32_t arg);
};

/* Adds a series; texts are copied. `ret_counter` may be NULL where there is `read`; it is the node's, and good
 * until that is freed. Before start.
 * Errors: WEIR_E_CONFIG (a field, or another series of this name is different), WEIR_E_DUPLICATE (there is one of
 * this name and label), WEIR_E_LIMIT (WEIR_SERIES_MAX), WEIR_E_STATE, WEIR_E_NOMEM, WEIR_E_VERSION, WEIR_E_MISUSE. */
WEIR_API WEIR_MUST_CHECK int weir_series_add(weir_node *node, const struct weir_series *series,
                                             weir_counter **ret_counter);

/* Counts, without a lock; on a shard's thread in a place of that shard's own, with a load, an add and a store.
 * Only a gauge can be lowered. A NULL counter is fine, so that who can do without needs no test.
 * Thread: any thread. */
WEIR_API void weir_counter_add(weir_counter *counter, uint64_t n);
WEIR_API void weir_counter_sub(weir_counter *counter, uint64_t n);

#ifdef __cplusplus
}
#endif

#endif
