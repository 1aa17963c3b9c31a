/* tests/fuzz/wire_model.h: the native wire a second time, from docs/wire.md alone and written to be read: what
 * a stream means, against which the codec is held. Only the hash is the engine's.
 */
#ifndef WEIR_TESTS_FUZZ_WIRE_MODEL_H
#define WEIR_TESTS_FUZZ_WIRE_MODEL_H

#include "engine/base/hash.h"
#include "tests/fuzz/fuzz.h"
#include "weir/error.h"

#define MODEL_HEAD 32u
#define MODEL_CHECK_SEED UINT64_C(0x3152444852494557)
#define MODEL_CONTROL 65535u
#define MODEL_OPTIONAL 0x80u

enum model_kind {
    MODEL_RUN = 1,
    MODEL_FIRST = 2,
    MODEL_MORE = 3,
    MODEL_HELLO = 16,
    MODEL_PING = 17,
    MODEL_PONG = 18,
    MODEL_CREDIT = 19,
    MODEL_GOODBYE = 20,
};

static inline uint64_t model_uint(const uint8_t *at, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static inline void model_put(uint8_t *at, uint32_t bytes, uint64_t value)
{
    for (uint32_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static inline bool model_is_magic(const uint8_t *at)
{
    return memcmp(at, "WEIR", 4) == 0;
}

/* What stands at the front of a stream of frames. */
struct model_frame {
    bool is_there;      /* else more bytes are needed, or `reason` says what is wrong */
    bool is_head_there; /* its header is there and right */
    uint16_t reason;    /* WEIR_R_*, of checks 1 to 7 */
    bool is_sum_right;  /* check 8; only when it is there */
    uint8_t kind;
    uint16_t channel;
    uint32_t len, aux;
    const uint8_t *payload;
};

/* Checks 3 to 7 after the handshake. */
static inline uint16_t model_shape(const struct model_frame *frame, uint32_t frame_bytes_max)
{
    bool is_data = frame->kind >= MODEL_RUN && frame->kind <= MODEL_MORE;
    bool is_control = frame->kind >= MODEL_PING && frame->kind <= MODEL_GOODBYE;
    if (frame->kind == MODEL_HELLO)
        return WEIR_R_BAD_CONTROL;
    if (!is_data && !is_control && frame->kind < MODEL_OPTIONAL)
        return WEIR_R_BAD_KIND;
    if (frame->len > (is_control ? 1024 : frame_bytes_max))
        return WEIR_R_BAD_LENGTH;
    if (is_control && (frame->channel != MODEL_CONTROL || frame->aux != 0))
        return WEIR_R_BAD_CONTROL;
    if (is_data && frame->channel == MODEL_CONTROL)
        return WEIR_R_BAD_CHANNEL;
    if (frame->kind == MODEL_RUN && (frame->aux < 1 || frame->aux > frame->len / 2))
        return WEIR_R_BAD_RUN;
    if (frame->kind == MODEL_FIRST && (frame->len < 1 || frame->len > frame->aux))
        return WEIR_R_BAD_FRAGMENT;
    if (frame->kind == MODEL_MORE && (frame->len < 1 || frame->aux < 1))
        return WEIR_R_BAD_FRAGMENT;
    return 0;
}

/* Checks 4 to 6 within the handshake. */
static inline uint16_t model_shape_in_handshake(const struct model_frame *frame)
{
    if (frame->kind != MODEL_HELLO && frame->kind != MODEL_GOODBYE)
        return WEIR_R_BAD_HELLO;
    bool is_hello = frame->kind == MODEL_HELLO;
    if (frame->len > (is_hello ? 2016 : 1024))
        return is_hello ? WEIR_R_HANDSHAKE_BYTES : WEIR_R_BAD_LENGTH;
    if (frame->channel != MODEL_CONTROL || frame->aux != 0)
        return is_hello ? WEIR_R_BAD_HELLO : WEIR_R_BAD_CONTROL;
    return 0;
}

/* Reads the frame at the front. `frame_bytes_max` 0: it is the frame of a handshake. */
static inline struct model_frame model_read(const uint8_t *at, size_t len, uint32_t frame_bytes_max)
{
    struct model_frame frame = {0};
    if (len < 4)
        return frame;
    if (!model_is_magic(at)) {
        frame.reason = WEIR_R_BAD_MAGIC;
        return frame;
    }
    if (len < MODEL_HEAD)
        return frame;
    if (weir_hash_ops()->xxh3(at, 24, MODEL_CHECK_SEED) != model_uint(at + 24, 8)) {
        frame.reason = WEIR_R_BAD_HEADER;
        return frame;
    }
    if (at[4] != 1) {
        frame.reason = WEIR_R_WRONG_VERSION;
        return frame;
    }
    frame.kind = at[5];
    frame.channel = (uint16_t)model_uint(at + 6, 2);
    frame.len = (uint32_t)model_uint(at + 8, 4);
    frame.aux = (uint32_t)model_uint(at + 12, 4);
    frame.payload = at + MODEL_HEAD;
    frame.reason =
        frame_bytes_max ? model_shape(&frame, frame_bytes_max) : model_shape_in_handshake(&frame);
    frame.is_head_there = frame.reason == 0;
    frame.is_there = frame.is_head_there && len - MODEL_HEAD >= frame.len;
    if (frame.is_there)
        frame.is_sum_right =
            weir_hash_ops()->xxh3(frame.payload, frame.len, 0) == model_uint(at + 16, 8);
    return frame;
}

enum model_repair {
    MODEL_REPAIR_SUMS = 1u << 0,    /* right sums and checks */
    MODEL_REPAIR_LENGTHS = 1u << 1, /* no length goes past the end */
    MODEL_REPAIR_VERSION = 1u << 2,
};

/* Mends the frames of a stream, so that what a fuzzer changed in them is not all thrown out by a checksum
 * that it cannot guess. */
static inline void model_repair(uint8_t *at, size_t len, uint8_t how)
{
    while (len >= MODEL_HEAD && model_is_magic(at)) {
        size_t rest = len - MODEL_HEAD;
        uint64_t payload_len = model_uint(at + 8, 4);
        if (how & MODEL_REPAIR_VERSION)
            at[4] = 1;
        if ((how & MODEL_REPAIR_LENGTHS) && payload_len > rest) {
            payload_len = rest;
            model_put(at + 8, 4, payload_len);
        }
        if (how & MODEL_REPAIR_SUMS) {
            if (payload_len <= rest)
                model_put(at + 16, 8, weir_hash_ops()->xxh3(at + MODEL_HEAD, payload_len, 0));
            model_put(at + 24, 8, weir_hash_ops()->xxh3(at, 24, MODEL_CHECK_SEED));
        }
        if (payload_len > rest)
            return;
        at += MODEL_HEAD + payload_len;
        len = rest - payload_len;
    }
}

#endif
