/* engine/node/gossip_store.h: messages that can be asked for: the youngest, in bounded number and bytes. */
#ifndef WEIR_ENGINE_NODE_GOSSIP_STORE_H
#define WEIR_ENGINE_NODE_GOSSIP_STORE_H

#include <stdint.h>

#include "weir/buf.h"

struct weir_store;

struct weir_stored {
    uint8_t id[16];
    struct weir_buf *buf; /* WEIR_GOSSIP_HEAD_BYTES of room, then the message */
    uint64_t since_ns;    /* when it came */
    uint64_t age_us;      /* and how old it was then */
    uint32_t next;        /* of its bucket */
    uint8_t hops;
};

/* Errors: WEIR_E_NOMEM. */
int weir_store_create(struct weir_store **ret_store, uint32_t max, uint64_t bytes_max,
                      uint64_t secret);
void weir_store_free(struct weir_store *store);

/* Keeps a message, letting go of the oldest for it; consumes `take`. One that is larger than the store, or there
 * already, is not kept. */
void weir_store_put(struct weir_store *store, const uint8_t id[16], struct weir_buf *take,
                    uint8_t hops, uint64_t age_us, uint64_t now_ns);

/* NULL: it is not there (any more). */
const struct weir_stored *weir_store_find(const struct weir_store *store, const uint8_t id[16]);

/* The `back`-th youngest, 0 for the youngest; NULL: there are not so many. */
const struct weir_stored *weir_store_recent(const struct weir_store *store, uint32_t back);

/* Lets go of what came before `since_ns`. */
void weir_store_expire(struct weir_store *store, uint64_t since_ns);

void weir_store_sizes(const struct weir_store *store, uint64_t *ret_cnt, uint64_t *ret_bytes);

#endif
