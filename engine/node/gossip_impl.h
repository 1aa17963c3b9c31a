/* engine/node/gossip_impl.h: gossip from the inside.
 *
 *   gossip.c        the reactor: its life, peers, which message is what, counters
 *   gossip_relay.c  a new message on its way: to the application, to some peers, told to others; asked for
 *   gossip_want.c   messages that were told of: who has them, when to ask, whom next
 *   gossip_seen.c   ids of what was seen; gossip_store.c: what can be asked for; gossip_wire.c: bytes
 *
 * A message may come to any shard and goes to peers of all, so what was seen is known to the whole node: one
 * mutex, held for look-ups and never while the application runs or a message is hashed. What is marked (L) is
 * behind it. A peer's own state is its shard's, as far as it is not.
 */
#ifndef WEIR_ENGINE_NODE_GOSSIP_IMPL_H
#define WEIR_ENGINE_NODE_GOSSIP_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "engine/base/wheel.h"
#include "engine/mem/heap.h"
#include "engine/node/gossip_seen.h"
#include "engine/node/gossip_store.h"
#include "engine/node/gossip_wire.h"
#include "weir/gossip.h"
#include "weir/reactor.h"

#define GOSSIP_ANNOUNCERS 8u /* of a message that are remembered */

struct gossip_peer {
    weir_peer peer;
    uint32_t idx;      /* (L) in the list */
    uint32_t want_cnt; /* (L) wants that it was the first to tell of */
    bool is_bad;       /* its shard's: disconnected, nothing is taken from it */
    weir_ns half_rtt, rtt_at;
};

/* A message that peers have and we do not. */
struct gossip_want {
    struct weir_timer timer;   /* `arg` is its shard: whose tick looks at it */
    struct gossip_want *next;  /* of its bucket, or of the free ones */
    struct gossip_peer *first; /* whose want_cnt counts it; NULL: gone */
    weir_peer announcers[GOSSIP_ANNOUNCERS];
    uint32_t announcer_cnt, next_announcer; /* those before were asked */
    weir_peer asked;                        /* {0}: nobody yet */
    uint32_t len;
    uint8_t id[16];
};

struct gossip_wants { /* (L) */
    struct gossip_want *items, *free;
    struct gossip_want **buckets;
    uint32_t bucket_mask, cnt;
};

struct weir_gossip {
    weir_node *node;
    struct weir_gossip_config cfg;
    uint32_t place, shard_cnt;
    pthread_mutex_t mutex;
    uint64_t rng; /* (L) */
    uint64_t secret;
    struct gossip_peer **peers; /* (L) who is up and has the channel, in no order */
    uint32_t peer_cnt, peer_max;
    struct weir_seen *seen;   /* (L) */
    struct weir_store *store; /* (L) */
    struct gossip_wants wants;
    struct weir_wheel *wheels; /* (L) of the wants, by shard */
    struct {
        _Atomic uint64_t published, delivered, rejected, duplicates, duplicate_bytes, too_old,
            hop_limited, pushed, pushed_bytes, told, heard, asked, asked_again, in_vain, served,
            served_bytes, missing, full, faults, lost;
    } stats;
};

static inline void gossip_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- gossip_relay.c ------------------------------------------------------------------------ */

struct gossip_batch { /* new messages of one on_batch, of one shard */
    struct weir_gossip_msg msgs[WEIR_GOSSIP_BATCH_MAX];
    weir_peer known[WEIR_GOSSIP_BATCH_MAX][GOSSIP_ANNOUNCERS + 1]; /* who has it, {0} behind */
    uint32_t cnt;
};

/* A message came: counted, or put into the batch, which may be handed over for it. */
void gossip_pushed(weir_gossip *gossip, struct gossip_peer *peer, struct gossip_batch *batch,
                   const struct weir_gossip_parsed *msg, const struct weir_msg *raw);

/* Hands a batch to the application and on to peers. */
void gossip_batch_end(weir_gossip *gossip, struct gossip_batch *batch);

/* Sends what a peer asks for. */
void gossip_serve(weir_gossip *gossip, struct gossip_peer *peer,
                  const struct weir_gossip_parsed *msg);

/* Tells a peer of the youngest messages that are there. */
void gossip_catch_up(weir_gossip *gossip, weir_peer peer);

/* ---- gossip_want.c: the mutex is held ------------------------------------------------------- */

int gossip_wants_init(weir_gossip *gossip);
void gossip_wants_fini(weir_gossip *gossip);

/* A peer has a message that is not here. Shard thread. */
void gossip_want_add(weir_gossip *gossip, struct gossip_peer *peer, const uint8_t id[16],
                     uint32_t len, weir_ns now);

/* The message came: ends the want and says who has it; returns how many. */
uint32_t gossip_want_end(weir_gossip *gossip, const uint8_t id[16],
                         weir_peer ret_known[GOSSIP_ANNOUNCERS]);

/* A peer that was asked does not have it; asks the next. */
void gossip_want_missing(weir_gossip *gossip, weir_peer peer, const uint8_t id[16], weir_ns now);

/* A peer is gone. */
void gossip_want_gone(weir_gossip *gossip, struct gossip_peer *peer, weir_ns now);

/* Does what is due on a shard; returns when to come again, WEIR_NS_FOREVER for never. */
weir_ns gossip_want_tick(weir_gossip *gossip, uint32_t shard, weir_ns now);

#endif
