/* engine/conn/item.h: what waits in a channel's send queue. */
#ifndef WEIR_ENGINE_CONN_ITEM_H
#define WEIR_ENGINE_CONN_ITEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/conn/receipt.h"
#include "engine/mem/pool.h"

enum weir_item_kind {
    WEIR_ITEM_RUN = 1,    /* a run of small messages that is filled in place; one frame */
    WEIR_ITEM_WHOLE = 2,  /* one message by reference, cut into fragments as they are picked */
    WEIR_ITEM_SHARED = 3, /* the same, headers made once for many connections */
};

/* A message encoded once: its bytes, and the headers of its fragments of `frame_bytes` each. Shared by
 * connections of several shards; the last user frees it. */
struct weir_shared {
    _Atomic uint32_t refs;
    uint32_t frame_bytes;
    uint32_t head_bytes;
    uint32_t frame_cnt;
    struct weir_buf *buf;
    struct weir_receipt *receipt; /* one reference, or NULL: nobody asks what became of it */
    uint8_t heads[];              /* frame_cnt x head_bytes */
};

struct weir_item {
    struct weir_item *next;
    struct weir_buf *buf;
    struct weir_shared *shared; /* SHARED; WHOLE: cut anew, for a peer that takes shorter frames */
    uint32_t len;               /* payload bytes in all */
    uint32_t off;               /* of them already picked */
    uint32_t msg_cnt;           /* RUN: messages */
    uint8_t kind;
    bool is_own; /* nobody else can see the bytes: they may be changed once they are picked */
};

#endif
