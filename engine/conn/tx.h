/* engine/conn/tx.h: one send: what was picked, as pieces for the kernel, until it took all of it. */
#ifndef WEIR_ENGINE_CONN_TX_H
#define WEIR_ENGINE_CONN_TX_H

#include <sys/uio.h>

#include "engine/conn/conn.h"

#define WEIR_TX_FRAMES 64u
#define WEIR_TX_CONTROL_BYTES 4096u

/* A frame of the send: what to let go when it was taken. */
struct weir_tx_frame {
    struct weir_buf *buf;       /* one reference, or NULL */
    struct weir_shared *shared; /* one reference, or NULL */
    uint32_t payload;
    uint32_t channel_idx;
};

struct weir_tx {
    struct weir_tx *next; /* free list */
    struct weir_tx *next_all;
    uint32_t iov_cnt, iov_first; /* pieces; of them taken in whole */
    uint32_t frame_cnt;
    uint32_t control_len;
    uint64_t bytes_left;
    bool has_goodbye;
    struct iovec iov[2 * WEIR_TX_FRAMES + 2]; /* control in front, the goodbye behind */
    struct weir_tx_frame frames[WEIR_TX_FRAMES];
    uint8_t heads[WEIR_TX_FRAMES][WEIR_FRAME_HEAD_MAX];
    uint8_t control[WEIR_TX_CONTROL_BYTES]; /* handshake bytes and control frames, sent first */
};

_Static_assert(WEIR_TX_CONTROL_BYTES >= WEIR_HANDSHAKE_OUT_MAX + 80 + WEIR_CONTROL_OUT_MAX,
               "pull, ping, pong and credit or goodbye fit one send");

#endif
