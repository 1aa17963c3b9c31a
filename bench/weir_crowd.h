/* bench/weir_crowd.h: a side with many peers: makes the connections, knows them, counts for each.
 *
 * On the sender `conns` is what was sent to each; on the receiver, by the number in the message or by
 * peer, what was received. A connection is one shard's for all its life, so that its entry is too; what
 * all of a shard's have in common is its tally, which the main thread adds up.
 */
#ifndef WEIR_BENCH_WEIR_CROWD_H
#define WEIR_BENCH_WEIR_CROWD_H

#include "bench/peer_map.h"
#include "bench/source.h"
#include "bench/weir_side.h"

#define WEIR_CROWD_SHARDS_MAX 8u
#define WEIR_CROWD_IDLE_NS \
    (100 * WEIR_NS_PER_MS) /* so long after the last came up memory is looked at */

struct weir_crowd_conn {
    weir_peer peer;
    uint64_t seq; /* the next message's number */
};

/* Written by the shard's thread, read by the main thread. */
struct weir_crowd_tally {
    _Alignas(64) _Atomic uint64_t msgs;
    _Atomic uint64_t bytes, refused, seq_errors;
    _Atomic uint32_t is_busy; /* a callback sends */
    uint32_t begun_cnt;       /* connections that were looked at when sending began */
    struct bench_peer_map map;
    struct bench_source source;
};

struct weir_crowd {
    struct weir_side side; /* first: see on_peer */
    struct weir_crowd_conn *conns;
    uint32_t conn_cnt, asked_cnt;
    _Atomic uint32_t up_cnt;
    _Atomic bool has_to_send, is_stopped;
    bool is_noted;
    uint64_t memory_before;
    weir_ns idle_since;
    struct weir_crowd_tally tallies[WEIR_CROWD_SHARDS_MAX];
};

/* Makes tables and node. `role` begins with the crowd. False after bench_fail(). */
bool weir_crowd_open(struct weir_crowd *crowd, struct bench_run *run,
                     const struct weir_reactor *reactor);

/* Between two turns: dials some more, or, when all are up and idle for a while, looks at the memory.
 * False after bench_fail(). */
bool weir_crowd_step(struct weir_crowd *crowd);

/* Are all connections of both sides up and noted? */
static inline bool weir_crowd_is_ready(const struct weir_crowd *crowd)
{
    return crowd->is_noted && bench_is_idle_noted(crowd->side.run);
}

static inline struct weir_crowd_tally *weir_crowd_tally_of(struct weir_crowd *crowd, weir_peer peer)
{
    return &crowd->tallies[weir_peer_shard(peer)];
}

/* Adds to a counter that one thread writes. */
static inline void weir_crowd_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

#endif
