/* engine/node/twins.h: one connection per peer.
 *
 * Two nodes can come to have several encrypted connections: both dialed at once, or one has two addresses of the
 * other. One stays, and both sides find out which alone: of two connections the one dialed by the node with the
 * smaller id comes first, and among those of one dialer the one whose handshake has the smaller session id, which
 * both know and neither can choose. So whatever the order in which they come up here and there, the same one is
 * left.
 *
 * A table of the node, by the ids of its peers; a mutex that is taken once when a connection comes up and once
 * when it ends.
 */
#ifndef WEIR_ENGINE_NODE_TWINS_H
#define WEIR_ENGINE_NODE_TWINS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/siphash.h"
#include "proto/codec.h"

struct weir_twin_rank {
    bool is_by_greater; /* dialed by the node with the greater id */
    uint8_t session[WEIR_SESSION_BYTES];
};

struct weir_twin {
    uint8_t id[32];
    struct weir_twin_rank rank;
    uint64_t peer; /* 0: free */
    uint32_t next; /* in its bucket, plus one; 0: none */
};

struct weir_twins {
    pthread_mutex_t mutex;
    uint8_t
        key[WEIR_SIPHASH_KEY_BYTES]; /* ids are made by strangers: nobody shall fill one bucket */
    uint32_t place_cnt, bucket_cnt;
    struct weir_twin *places; /* one for each connection that the node can have */
    uint32_t
        *buckets; /* the first place, plus one; 0: none. So nothing is written before it is used */
};

/* Errors: WEIR_E_NOMEM, with nothing to free. */
int weir_twins_init(struct weir_twins *ret_twins, uint32_t place_cnt,
                    const uint8_t key[WEIR_SIPHASH_KEY_BYTES]);
void weir_twins_fini(struct weir_twins *twins); /* {0} is fine */

/* A connection with a proved id came up at a place that is free. Returns the peer that has to go: `peer` itself,
 * which is then not in the table; the one before it, which no longer is; or 0.  Thread: any thread. */
uint64_t weir_twins_come(struct weir_twins *twins, uint32_t place_idx, const uint8_t id[32],
                         const struct weir_twin_rank *rank, uint64_t peer);

/* It ended. Fine where it is not in the table.  Thread: any thread. */
void weir_twins_go(struct weir_twins *twins, uint32_t place_idx, uint64_t peer);

#endif
