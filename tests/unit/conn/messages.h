/* tests/unit/conn/messages.h: messages that can be told apart, sent in each way there is, and expected. */
#ifndef WEIR_TESTS_UNIT_CONN_MESSAGES_H
#define WEIR_TESTS_UNIT_CONN_MESSAGES_H

#include "tests/unit/conn/box.h"

static inline uint64_t box_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Every byte depends on `seed` and its place. */
static inline void box_fill(uint8_t *ret_bytes, size_t len, uint64_t seed)
{
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) {
        if (i % 8 == 0)
            word = box_random(&seed);
        ret_bytes[i] = (uint8_t)(word >> 8 * (i % 8));
    }
}

static inline bool box_is_filled(const uint8_t *bytes, size_t len, uint64_t seed)
{
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) {
        if (i % 8 == 0)
            word = box_random(&seed);
        if (bytes[i] != (uint8_t)(word >> 8 * (i % 8)))
            return false;
    }
    return true;
}

/* Queues a copy of `len` bytes made from `seed`. */
static inline int box_send(struct weir_conn *conn, uint32_t channel_idx, size_t len, uint64_t seed)
{
    uint8_t *bytes = calloc(1, len + 1);
    box_fill(bytes, len, seed);
    int error = weir_sendq_copy(conn, channel_idx, bytes, len, false);
    free(bytes);
    return error;
}

/* The same as weir_try_send does it: behind the last, where that began a burst. */
static inline int box_send_next(struct weir_conn *conn, uint32_t channel_idx, size_t len,
                                uint64_t seed)
{
    uint8_t *bytes = calloc(1, len + 1);
    uint64_t peer = (uint64_t)conn->gen << 32 | conn->hub->shard << 24 | conn->slot;
    box_fill(bytes, len, seed);
    int error = 0;
    if (!weir_burst_append(peer, conn->hub->cfg, conn->hub->channels[channel_idx].id, bytes, len)) {
        error = weir_sendq_copy(conn, channel_idx, bytes, len, false);
        if (!error)
            weir_burst_follow(conn, channel_idx);
    }
    free(bytes);
    return error;
}

/* Queues the same by reference. */
static inline int box_send_buf(struct weir_conn *conn, uint32_t channel_idx, size_t len,
                               uint64_t seed)
{
    struct weir_buf *buf;
    if (weir_buf_create(&buf, len) != 0)
        return WEIR_E_NOMEM;
    box_fill(weir_buf_data(buf), len, seed);
    return weir_sendq_buf(conn, channel_idx, buf, false);
}

/* Encodes once for many connections, as engine/node/broadcast.c does: the first header lies in the
 * buffer's headroom. One reference, to be given back with weir_shared_unref. */
static inline struct weir_shared *box_encode(struct box *box, uint32_t channel_idx, size_t len,
                                             uint64_t seed)
{
    const struct weir_codec *codec = &weir_codec_native;
    uint32_t frame_bytes = box->cfg.frame_bytes_max;
    uint32_t frame_cnt = (uint32_t)((len + frame_bytes - 1) / frame_bytes);
    struct weir_buf *buf = weir_pool_take(box->pool, len);
    struct weir_shared *shared =
        weir_heap_alloc_raw(box->heap, sizeof(*shared) + (size_t)frame_cnt * codec->head_bytes);
    if (!buf || !shared) {
        weir_buf_unref(buf);
        weir_heap_release(shared);
        return NULL;
    }
    memset(shared, 0xAB, sizeof(*shared) + (size_t)frame_cnt * codec->head_bytes);
    box_fill(buf->data, len, seed);
    buf->len = len;
    atomic_init(&shared->refs, 1);
    shared->frame_bytes = frame_bytes;
    shared->head_bytes = codec->head_bytes;
    shared->frame_cnt = frame_cnt;
    shared->buf = buf;
    shared->receipt = NULL;
    for (uint32_t i = 0; i < frame_cnt; i++) {
        uint32_t off = i * frame_bytes;
        uint32_t left = (uint32_t)len - off;
        uint8_t *head =
            i ? shared->heads + (size_t)i * codec->head_bytes : buf->data - codec->head_bytes;
        codec->frame_head(head, i ? WEIR_FRAME_MORE : WEIR_FRAME_FIRST,
                          box->channels[channel_idx].id, i ? off : (uint32_t)len, buf->data + off,
                          left < frame_bytes ? left : frame_bytes);
    }
    return shared;
}

static inline int box_send_shared(struct weir_conn *conn, uint32_t channel_idx, size_t len,
                                  uint64_t seed)
{
    struct weir_shared *shared = box_encode(box_of(conn->hub), channel_idx, len, seed);
    if (!shared)
        return WEIR_E_NOMEM;
    int error = weir_sendq_shared(conn, channel_idx, shared);
    weir_shared_unref(shared);
    return error;
}

static inline void box_expect_msg(const struct box *box, uint32_t idx, uint32_t channel_idx,
                                  size_t len, uint64_t seed)
{
    cr_assert_lt(idx, box->msg_cnt, "message %u did not arrive", idx);
    const struct box_msg *msg = &box->msgs[idx];
    cr_assert_eq(msg->channel_idx, channel_idx);
    cr_assert_eq(msg->len, len, "message %u: %u bytes, not %zu", idx, msg->len, len);
    cr_assert(box_is_filled(msg->data, len, seed), "message %u of %zu bytes", idx, len);
}

#endif
