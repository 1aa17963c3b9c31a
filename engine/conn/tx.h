/* engine/conn/tx.h: one send: what was picked, as pieces for the kernel, until it took all of it. */
#ifndef WEIR_ENGINE_CONN_TX_H
#define WEIR_ENGINE_CONN_TX_H

#include <sys/uio.h>

#include "engine/conn/conn.h"

#define WEIR_TX_FRAMES 64u
#define WEIR_TX_CONTROL_BYTES 4096u
#define WEIR_TX_PIECES (2 * WEIR_TX_FRAMES + 2) /* control in front, the goodbye behind */
#define WEIR_TX_RECORDS (WEIR_TX_FRAMES + 4)    /* at worst each frame is a record */
#define WEIR_TX_SEAM (WEIR_SEAL_TAIL + WEIR_SEAL_HEAD)
#define WEIR_TX_LONE \
    1024u /* plain bytes up to which a send that is one record is gathered in one piece */

enum weir_tx_piece_flags {
    WEIR_TX_BEGINS = 1u << 0,   /* a frame, or several whole control frames, begin here */
    WEIR_TX_BORROWED = 1u << 1, /* somebody else reads these bytes too: not to be sealed in place */
};

/* What an encrypted wire makes of a send: records, their heads and tails, copies of what was borrowed. */
struct weir_tx_sealed {
    struct iovec iov[WEIR_TX_PIECES + WEIR_TX_RECORDS + 4];
    uint8_t seams[WEIR_TX_RECORDS + 1][WEIR_TX_SEAM]; /* a record's tail, and the next one's head */
    uint8_t rekey[64];                                /* the frame that announces a new key */
    uint8_t lone[WEIR_SEAL_HEAD + WEIR_TX_LONE + WEIR_SEAL_TAIL];
    struct weir_buf *copies[WEIR_TX_FRAMES];
    uint32_t copy_cnt;
};

/* A frame of the send: what to let go when it was taken. */
struct weir_tx_frame {
    struct weir_buf *buf;       /* one reference, or NULL */
    struct weir_shared *shared; /* one reference, or NULL */
    uint32_t payload;
    uint32_t channel_idx;
    bool is_last; /* of its message; known where `shared` is set */
};

struct weir_tx {
    struct weir_tx *next; /* free list */
    struct weir_tx *next_all;
    uint32_t iov_cnt, iov_first; /* pieces; of them taken in whole */
    uint32_t frame_cnt;
    uint32_t control_len;
    uint64_t bytes_left;
    uint32_t raw_len; /* of control, in front: the handshake's, which are not sealed */
    bool has_goodbye;
    bool is_sealed;
    struct iovec *iov; /* what is sent: gathered, or of sealed */
    struct iovec gathered[WEIR_TX_PIECES];
    uint8_t piece_flags[WEIR_TX_PIECES];
    struct weir_tx_sealed *sealed; /* an encrypted wire's, kept for the next send; NULL so far */
    struct weir_tx_frame frames[WEIR_TX_FRAMES];
    uint8_t heads[WEIR_TX_FRAMES][WEIR_FRAME_HEAD_MAX];
    uint8_t control[WEIR_TX_CONTROL_BYTES]; /* handshake bytes and control frames, sent first */
};

_Static_assert(WEIR_TX_CONTROL_BYTES >= WEIR_HANDSHAKE_OUT_MAX + 80 + WEIR_CONTROL_OUT_MAX,
               "pull, ping, pong and credit or goodbye fit one send");

/* Makes records of what was gathered (seal.c). Returns 0, or the reason to end. */
uint16_t weir_tx_seal(struct weir_conn *conn, struct weir_tx *tx);

/* Lets go of what sealing took. */
void weir_tx_unseal(struct weir_tx *tx);

#endif
