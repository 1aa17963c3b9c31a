/* tests/unit/proto/native_fixture.h: two ends of a native connection, and the example of docs/wire.md. */
#ifndef WEIR_TESTS_UNIT_PROTO_NATIVE_FIXTURE_H
#define WEIR_TESTS_UNIT_PROTO_NATIVE_FIXTURE_H

#include <criterion/criterion.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/native_run.h"
#include "proto/native_wire.h"
#include "weir/error.h"

#define CODEC (&weir_codec_native)
#define END_IN_MAX 8192u

/* One end: its codec state and the bytes that wait for it. */
struct end {
    alignas(max_align_t) uint8_t state[sizeof(struct native_state)];
    uint8_t in[END_IN_MAX];
    size_t in_len;
    bool is_ready;
    uint16_t fault;
    struct weir_control goodbye; /* one that came after ready: kind is then set */
};

static const struct weir_channel_desc dialer_channels[] = {
    /* not in the order of the wire, on purpose */
    {.id = 12, .weight = 1, .msg_bytes_max = 64, .window_bytes = 64, .flags = 1},
    {.id = 7, .weight = 4, .msg_bytes_max = 1000, .window_bytes = 4000},
    {.id = 9, .weight = 1, .msg_bytes_max = 65536, .window_bytes = 131072},
};

static const struct weir_channel_desc listener_channels[] = {
    {.id = 9, .weight = 1, .msg_bytes_max = 1 << 20, .window_bytes = 1 << 20},
    {.id = 3, .weight = 1, .msg_bytes_max = 100, .window_bytes = 100},
    {.id = 12, .weight = 1, .msg_bytes_max = 8, .window_bytes = 16, .flags = 1},
    {.id = 7, .weight = 2, .msg_bytes_max = 500, .window_bytes = 600},
};

static const struct weir_offer dialer_offer = {
    .network_id = "weir-test",
    .user_agent = "dialer/1",
    .channels = dialer_channels,
    .channel_cnt = 3,
    .frame_bytes_max = 65536,
    .features = 0x5,
    .nonce = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    .node_id = {32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
                48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63},
};

static const struct weir_offer listener_offer = {
    .network_id = "weir-test",
    .user_agent = "listener/1",
    .channels = listener_channels,
    .channel_cnt = 4,
    .frame_bytes_max = 4096,
    .features = 0xC,
    .nonce = {240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254, 255},
};

static inline void end_begin(struct end *end, const struct weir_offer *offer, bool is_dialer)
{
    memset(end, 0, sizeof *end);
    memset(end->state, 0xA5, sizeof end->state); /* begin() must not count on zeros */
    CODEC->begin(end->state, offer, is_dialer);
}

/* Feeds what waits, for as long as that is of use, as a connection does. A goodbye after ready is kept;
 * no other frame is expected. */
static inline void end_feed(struct end *end)
{
    struct weir_feed feed = {0};
    struct weir_frame frames[4];
    while (end->fault == 0) {
        bool was_ready = end->is_ready;
        CODEC->feed(end->state, end->in, end->in_len, frames, 4, &feed);
        cr_assert_leq(feed.consumed, end->in_len);
        cr_assert(!was_ready || feed.is_ready);
        cr_assert(was_ready || feed.frame_cnt == 0, "no frames before or with ready");
        CODEC->verify(frames, feed.frame_cnt);
        for (uint32_t i = 0; i < feed.frame_cnt; i++) {
            cr_assert_eq(frames[i].kind, WEIR_FRAME_CONTROL);
            cr_assert_eq(frames[i].fault, 0);
            cr_assert_eq(CODEC->control_read(&frames[i], &end->goodbye), 0);
        }
        end->is_ready = feed.is_ready;
        end->fault = feed.fault;
        memmove(end->in, end->in + feed.consumed, end->in_len - feed.consumed);
        end->in_len -= feed.consumed;
        if (end->in_len < feed.need)
            break;
    }
}

/* Moves what `from` has to send, `step` bytes at a time, feeding `to` after each. Returns how many bytes. */
static inline size_t end_move(struct end *from, struct end *to, size_t step)
{
    size_t moved = 0;
    for (;;) {
        size_t len = CODEC->pull(from->state, to->in + to->in_len, step);
        cr_assert_leq(len, step);
        to->in_len += len;
        moved += len;
        if (len == 0)
            return moved;
        end_feed(to);
    }
}

/* Runs a handshake until nobody has anything to say. */
static inline void ends_shake(struct end *dialer, struct end *listener, size_t step)
{
    while (end_move(dialer, listener, step) + end_move(listener, dialer, step) != 0) {
    }
}

/* Brings an end to ready, with the example's other end as its peer. */
static inline void end_make_ready(struct end *end, bool is_dialer)
{
    struct end other;
    end_begin(end, is_dialer ? &dialer_offer : &listener_offer, is_dialer);
    end_begin(&other, is_dialer ? &listener_offer : &dialer_offer, !is_dialer);
    ends_shake(is_dialer ? end : &other, is_dialer ? &other : end, SIZE_MAX);
    cr_assert(end->is_ready && other.is_ready);
}

/* Writes a frame; returns its size. */
static inline size_t frame_put(uint8_t *at, uint8_t kind, uint16_t channel, uint32_t aux,
                               const void *payload, uint32_t len)
{
    if (len != 0)
        memmove(at + WEIR_NATIVE_HEAD, payload, len);
    uint32_t head_len = CODEC->frame_head(at, kind, channel, aux, at + WEIR_NATIVE_HEAD, len);
    cr_assert_eq(head_len, WEIR_NATIVE_HEAD);
    return head_len + len;
}

/* Writes a control frame of any payload. */
static inline size_t control_put(uint8_t *at, uint8_t kind, const void *payload, uint32_t len)
{
    return frame_put(at, kind, NATIVE_CHANNEL_CONTROL, 0, payload, len);
}

#endif
