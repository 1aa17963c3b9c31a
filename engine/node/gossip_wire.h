/* engine/node/gossip_wire.h: the messages of gossip's channel, to and from bytes (docs/gossip.md). */
#ifndef WEIR_ENGINE_NODE_GOSSIP_WIRE_H
#define WEIR_ENGINE_NODE_GOSSIP_WIRE_H

#include <stdint.h>

enum weir_gossip_kind {
    WEIR_GOSSIP_PUSH = 1, /* a message */
    WEIR_GOSSIP_HAVE = 2, /* ids and lengths of messages that can be asked for */
    WEIR_GOSSIP_WANT = 3, /* ids that are asked for */
    WEIR_GOSSIP_NONE = 4, /* ids that were asked for and are not there */
};

#define WEIR_GOSSIP_OPTIONAL 0x80u /* of a kind: who does not know it skips the message */
#define WEIR_GOSSIP_ID_BYTES 16u
#define WEIR_GOSSIP_LIST_HEAD_BYTES 4u
#define WEIR_GOSSIP_IDS_MAX 256u /* in one message */
#define WEIR_GOSSIP_LIST_BYTES_MAX \
    (WEIR_GOSSIP_LIST_HEAD_BYTES + WEIR_GOSSIP_IDS_MAX * (WEIR_GOSSIP_ID_BYTES + 4))

struct weir_gossip_parsed {
    uint8_t kind;
    uint8_t hops;        /* PUSH */
    uint32_t age_us;     /* PUSH */
    const uint8_t *data; /* PUSH: the message; else the list */
    uint32_t len;        /* PUSH: of the message */
    uint32_t cnt;        /* else: entries of the list */
};

enum weir_gossip_verdict_of_bytes {
    WEIR_GOSSIP_IS_BAD = -1,
    WEIR_GOSSIP_IS_UNKNOWN = 0, /* of an optional kind: skip it */
    WEIR_GOSSIP_IS_KNOWN = 1,
};

/* Takes a message apart; `ret->data` points into `bytes`. Returns enum weir_gossip_verdict_of_bytes. */
int weir_gossip_parse(struct weir_gossip_parsed *ret, const uint8_t *bytes, uint32_t len);

/* Entry `idx` of a list: its id, and of HAVE its length. */
const uint8_t *weir_gossip_entry(const struct weir_gossip_parsed *msg, uint32_t idx,
                                 uint32_t *ret_len);

/* Writes the 8 bytes in front of a message. */
void weir_gossip_push_head(uint8_t ret_head[8], uint8_t hops, uint32_t age_us);

/* Writes the 4 bytes in front of a list. */
void weir_gossip_list_head(uint8_t ret_head[WEIR_GOSSIP_LIST_HEAD_BYTES], uint8_t kind,
                           uint32_t cnt);

/* Writes a list of one id. Returns its length. `len` is for HAVE only. */
uint32_t weir_gossip_list_of_one(uint8_t ret_bytes[WEIR_GOSSIP_LIST_HEAD_BYTES + 20], uint8_t kind,
                                 const uint8_t id[16], uint32_t len);

#endif
