/* bench/callgrind/codec.c: the cases over the pure wire code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/callgrind/hotpath.h"
#include "proto/codec.h"

#define FRAMES 256u /* in one window */
#define ROUNDS 8u   /* as many again are not counted */
#define SIZE_MAX_BYTES 16384u

struct wire {
    uint32_t size;
    void *states[2]; /* of both sides, past their handshake; the second receives */
    uint8_t *window; /* FRAMES frames, one after the other */
    struct weir_frame frames[FRAMES];
};

static uint8_t *payload_of(const struct wire *wire, uint32_t idx)
{
    const uint32_t head = weir_codec_native.head_bytes;

    return wire->window + (size_t)idx * (head + wire->size) + head;
}

static void encode(void *ctx)
{
    struct wire *wire = ctx;
    const struct weir_codec *codec = &weir_codec_native;

    for (uint32_t i = 0; i < FRAMES; i++) {
        uint8_t *payload = payload_of(wire, i);
        codec->frame_head(payload - codec->head_bytes, WEIR_FRAME_FIRST, 0, wire->size, payload,
                          wire->size);
    }
}

static void decode(void *ctx)
{
    struct wire *wire = ctx;
    struct weir_feed feed = {0};
    const struct weir_codec *codec = &weir_codec_native;
    size_t len = (size_t)FRAMES * (codec->head_bytes + wire->size);

    codec->feed(wire->states[1], wire->window, len, wire->frames, FRAMES, &feed);
    if (feed.consumed != len || feed.frame_cnt != FRAMES)
        abort();
    codec->verify(wire->frames, FRAMES);
    for (uint32_t i = 0; i < FRAMES; i++)
        if (wire->frames[i].fault != 0)
            abort();
}

/* What one side has to say goes to the other. */
static void hand_over(void *from, void *to)
{
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t len = weir_codec_native.pull(from, bytes, sizeof(bytes)), at = 0;

    while (at < len) {
        struct weir_frame frames[4];
        struct weir_feed feed = {0};
        weir_codec_native.feed(to, bytes + at, len - at, frames, 4, &feed);
        if (feed.fault != 0 || feed.consumed == 0)
            abort();
        at += feed.consumed;
    }
}

static void prepare(struct wire *wire, uint32_t size)
{
    static const struct weir_channel_desc channel = {
        .id = 0, .weight = 1, .msg_bytes_max = 1u << 20, .window_bytes = 4u << 20};
    static struct weir_offer offers[2];
    void **states = wire->states;

    for (uint32_t i = 0; i < 2; i++) {
        offers[i] = (struct weir_offer){.network_id = "weir",
                                        .user_agent = "hotpath",
                                        .channels = &channel,
                                        .channel_cnt = 1,
                                        .frame_bytes_max = 65536,
                                        .nonce = {(uint8_t)(1 + i)}};
        states[i] = calloc(1, weir_codec_native.state_bytes);
        if (states[i] == NULL)
            abort();
        weir_codec_native.begin(states[i], &offers[i], i == 0);
    }
    for (int i = 0; i < 4; i++) {
        hand_over(states[0], states[1]);
        hand_over(states[1], states[0]);
    }
    if (weir_codec_native.agreed(states[1])->channel_cnt != 1)
        abort();
    wire->size = size;
    wire->window = aligned_alloc(4096, (size_t)FRAMES * (64 + SIZE_MAX_BYTES));
    if (wire->window == NULL)
        abort();
    for (uint32_t i = 0; i < FRAMES; i++)
        memset(payload_of(wire, i), (int)(i + 1), size);
    encode(wire);
}

static uint64_t repeat(void (*work)(void *ctx), uint32_t size)
{
    static struct wire wire; /* large */

    prepare(&wire, size);
    for (uint32_t i = 0; i < ROUNDS; i++)
        work(&wire);
    for (uint32_t i = 0; i < ROUNDS; i++)
        counted(work, &wire);
    decode(&wire); /* what was encoded is right */
    free(wire.states[0]);
    free(wire.states[1]);
    free(wire.window);
    return ROUNDS * FRAMES;
}

uint64_t hotpath_encode(uint32_t size)
{
    return repeat(encode, size);
}

uint64_t hotpath_decode(uint32_t size)
{
    return repeat(decode, size);
}
