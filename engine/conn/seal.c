/* Records below frames: what tx.c gathered, sealed by an encrypted wire's codec just before it is sent. */
#include <string.h>

#include "engine/base/check.h"
#include "engine/conn/tx.h"
#include "weir/error.h"

/* A send on its way from gathered pieces to records. */
struct sealing {
    struct weir_conn *conn;
    struct weir_tx *tx;
    struct weir_tx_sealed *out;
    uint32_t record_cnt;
    uint32_t iov_cnt;
    uint64_t bytes;
};

static void out_piece(struct sealing *sealing, void *data, size_t len)
{
    WEIR_CHECK(sealing->iov_cnt < sizeof(sealing->out->iov) / sizeof(sealing->out->iov[0]));
    sealing->out->iov[sealing->iov_cnt++] = (struct iovec){.iov_base = data, .iov_len = len};
    sealing->bytes += len;
}

/* The seam in front of the next record: the tail of the one before, if any, and the head. */
static void out_seam(struct sealing *sealing)
{
    uint8_t *seam = sealing->out->seams[sealing->record_cnt];
    if (sealing->record_cnt == 0)
        out_piece(sealing, seam + WEIR_SEAL_TAIL, WEIR_SEAL_HEAD);
    else
        out_piece(sealing, seam, WEIR_TX_SEAM);
}

static bool record_seal(struct sealing *sealing, const struct weir_seal_piece *pieces,
                        uint32_t piece_cnt, bool is_last_of_key)
{
    const struct weir_codec *codec = sealing->conn->codec;
    WEIR_CHECK(sealing->record_cnt < WEIR_TX_RECORDS);
    uint8_t *head = sealing->out->seams[sealing->record_cnt] + WEIR_SEAL_TAIL;
    uint8_t *tail = sealing->out->seams[sealing->record_cnt + 1];
    if (!codec->seal(sealing->conn->codec_state, pieces, piece_cnt, is_last_of_key, head, tail))
        return false;
    out_seam(sealing);
    for (uint32_t i = 0; i < piece_cnt; i++)
        out_piece(sealing, pieces[i].to, pieces[i].len);
    sealing->record_cnt++;
    return true;
}

/* Where a piece is sealed to: in place, or in a buffer of our own when others read it too. */
static uint8_t *place_of(struct sealing *sealing, uint32_t idx)
{
    struct weir_tx *tx = sealing->tx;
    if (!(tx->piece_flags[idx] & WEIR_TX_BORROWED))
        return tx->gathered[idx].iov_base;
    /* Queues may have used up the pool, and what is in them must be able to go: then the heap has to do, for
     * one send of each connection at most. */
    size_t len = tx->gathered[idx].iov_len;
    struct weir_buf *copy = weir_pool_take(sealing->conn->hub->pool, len);
    if (!copy && weir_buf_create(&copy, len) != 0)
        return NULL;
    sealing->out->copies[sealing->out->copy_cnt++] = copy;
    return copy->data;
}

/* Says that the next record has a new key, when the present one is old. */
static bool rekey_by_time(struct sealing *sealing)
{
    struct weir_conn *conn = sealing->conn;
    const struct weir_hub *hub = conn->hub;
    if (hub->now_ns - conn->key_ns < hub->cfg->rekey_interval_ns)
        return true;
    conn->key_ns = hub->now_ns;
    struct weir_control rekey = {.kind = WEIR_CONTROL_REKEY};
    uint8_t frame[WEIR_CONTROL_OUT_MAX];
    uint32_t len = conn->codec->control_write(frame, &rekey);
    WEIR_CHECK(len <= sizeof(sealing->out->rekey));
    memcpy(sealing->out->rekey, frame, len);
    struct weir_seal_piece piece = {sealing->out->rekey, sealing->out->rekey, len};
    return record_seal(sealing, &piece, 1, true);
}

/* Packs gathered pieces from `idx` on into records of whole frames. */
static uint16_t seal_all(struct sealing *sealing, uint32_t idx)
{
    struct weir_tx *tx = sealing->tx;
    uint32_t bytes_max = sealing->conn->codec->record_bytes_max;
    struct weir_seal_piece pieces[WEIR_TX_PIECES];
    while (idx < tx->iov_cnt) {
        uint32_t piece_cnt = 0;
        uint64_t len = 0;
        while (idx < tx->iov_cnt) {
            uint32_t end = idx;
            uint64_t frame_len = 0;
            do
                frame_len += tx->gathered[end++].iov_len;
            while (end < tx->iov_cnt && !(tx->piece_flags[end] & WEIR_TX_BEGINS));
            WEIR_CHECK(frame_len <= bytes_max);
            if (len + frame_len > bytes_max)
                break;
            for (; idx < end; idx++) {
                uint8_t *to = place_of(sealing, idx);
                if (!to)
                    return WEIR_R_LIMIT_MEMORY;
                pieces[piece_cnt++] = (struct weir_seal_piece){tx->gathered[idx].iov_base, to,
                                                               (uint32_t)tx->gathered[idx].iov_len};
            }
            len += frame_len;
        }
        if (!record_seal(sealing, pieces, piece_cnt, false))
            return WEIR_R_INTERNAL;
    }
    return 0;
}

/* A small send, such as one message alone: one record in one piece. Sealing a frame's head apart from its bytes
 * takes libcrypto a sixth longer than both at once (68 bytes behind 16: 680 and 587 ns), and the kernel has one
 * piece to look at instead of three or four. */
static uint16_t seal_lone(struct sealing *sealing, uint32_t idx)
{
    struct weir_tx *tx = sealing->tx;
    uint8_t *begin = sealing->out->lone + WEIR_SEAL_HEAD;
    uint8_t *end = begin;
    for (; idx < tx->iov_cnt; idx++) {
        memcpy(end, tx->gathered[idx].iov_base, tx->gathered[idx].iov_len);
        end += tx->gathered[idx].iov_len;
    }
    struct weir_seal_piece piece = {begin, begin, (uint32_t)(end - begin)};
    const struct weir_codec *codec = sealing->conn->codec;
    if (!codec->seal(sealing->conn->codec_state, &piece, 1, false, sealing->out->lone, end))
        return WEIR_R_INTERNAL;
    out_piece(sealing, sealing->out->lone, WEIR_SEAL_HEAD + piece.len + WEIR_SEAL_TAIL);
    return 0;
}

uint16_t weir_tx_seal(struct weir_conn *conn, struct weir_tx *tx)
{
    /* What pull gave is on the wire's level already: handshake messages, and records of its own. */
    uint32_t first = 0;
    struct iovec *control = &tx->gathered[0];
    if (tx->bytes_left == tx->raw_len)
        return 0;
    if (!tx->sealed) {
        tx->sealed = weir_heap_alloc_raw(conn->hub->heap, sizeof(*tx->sealed));
        if (!tx->sealed)
            return WEIR_R_LIMIT_MEMORY;
    }
    tx->sealed->copy_cnt = 0;
    tx->is_sealed = true;
    struct sealing sealing = {.conn = conn, .tx = tx, .out = tx->sealed};
    if (tx->raw_len)
        out_piece(&sealing, tx->control, tx->raw_len);
    control->iov_base = tx->control + tx->raw_len;
    control->iov_len -= tx->raw_len;
    if (control->iov_len == 0)
        first = 1;
    if (!rekey_by_time(&sealing))
        return WEIR_R_INTERNAL;
    bool is_lone = sealing.record_cnt == 0 && tx->bytes_left - tx->raw_len <= WEIR_TX_LONE;
    uint16_t reason = is_lone ? seal_lone(&sealing, first) : seal_all(&sealing, first);
    if (reason)
        return reason;
    if (!is_lone)
        out_piece(&sealing, tx->sealed->seams[sealing.record_cnt], WEIR_SEAL_TAIL);
    tx->iov = tx->sealed->iov;
    tx->iov_cnt = sealing.iov_cnt;
    tx->iov_first = 0;
    tx->bytes_left = sealing.bytes;
    return 0;
}

void weir_tx_unseal(struct weir_tx *tx)
{
    for (uint32_t i = 0; i < tx->sealed->copy_cnt; i++)
        weir_buf_unref(tx->sealed->copies[i]);
    tx->sealed->copy_cnt = 0;
    tx->is_sealed = false;
}
