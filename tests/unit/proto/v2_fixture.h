/* Two ends of version 2 in memory, and what is changed between them. */
#ifndef V2_FIXTURE_H
#define V2_FIXTURE_H

#include "native_fixture.h"
#include "noise_fixture.h"

#include "proto/native_v2.h"

#define V2 (&weir_codec_native_v2)
#define FRAMES 64u
#define WIRE_MAX 400000u

struct v2_end {
    alignas(max_align_t) uint8_t state[sizeof(struct native_v2_state)];
    struct weir_identity identity;
    struct weir_secret secret;
    struct weir_offer offer;
    uint8_t in[4096];
    size_t in_len;
    bool is_ready;
    uint16_t fault;
    bool is_fault_theirs;
};

struct v2_pair {
    struct weir_crypto crypto;
    struct v2_end dialer, listener;
    uint8_t network_key[2][WEIR_KEY_BYTES];
};

static inline struct native_v2_state *state_of(struct v2_end *end)
{
    return (struct native_v2_state *)(void *)end->state;
}

/* Of a state that was ended or has failed: no key, nor what keys are made of, is left. */
static inline void assert_wiped(const struct native_v2_state *state)
{
    static const uint8_t zeros[sizeof state->u.handshake];
    if (state->has_records) {
        cr_assert_arr_eq(state->u.records.send.cipher.k, zeros, WEIR_KEY_BYTES, "wiped");
        cr_assert_arr_eq(state->u.records.recv.cipher.k, zeros, WEIR_KEY_BYTES, "wiped");
    } else {
        cr_assert_arr_eq((const uint8_t *)&state->u.handshake, zeros, sizeof zeros, "wiped");
    }
}

static inline void pair_open(struct v2_pair *pair)
{
    memset(pair, 0, sizeof *pair);
    cr_assert(weir_crypto_init(&pair->crypto));
    for (uint8_t i = 0; i < 2; i++) {
        struct v2_end *end = i ? &pair->listener : &pair->dialer;
        uint8_t secret[WEIR_KEY_BYTES];
        key_of((uint8_t)(i + 1), secret);
        cr_assert(weir_identity_init(&end->identity, &pair->crypto, secret));
        end->secret = (struct weir_secret){.crypto = &pair->crypto, .identity = &end->identity};
        end->offer = i ? listener_offer : dialer_offer;
        end->offer.secret = &end->secret;
        end->offer.frame_bytes_max = 65536;
        memcpy(end->offer.node_id, end->identity.proof, sizeof end->offer.node_id);
        key_of((uint8_t)(i + 21), pair->network_key[i]);
    }
}

static inline void pair_begin(struct v2_pair *pair, const uint8_t *expected)
{
    for (uint8_t i = 0; i < 2; i++) {
        struct v2_end *end = i ? &pair->listener : &pair->dialer;
        uint8_t seed[WEIR_KEY_BYTES];
        key_of((uint8_t)(i + 11), seed);
        memset(end->state, 0xA5, sizeof end->state); /* begin() must not count on zeros */
        V2->begin(end->state, &end->offer, i == 0);
        struct weir_arm arm = {.seed = seed,
                               .peer_id = i == 0 ? expected : NULL,
                               .from = (const uint8_t *)"\x04\xC0\x00\x02\x07",
                               .from_len = 5};
        V2->arm(end->state, &arm);
    }
}

static inline void pair_close(struct v2_pair *pair)
{
    for (int i = 0; i < 2; i++) {
        struct v2_end *end = i ? &pair->listener : &pair->dialer;
        V2->end(end->state);
        V2->end(end->state); /* twice is once */
        assert_wiped(state_of(end));
        weir_identity_fini(&end->identity);
    }
    weir_crypto_fini(&pair->crypto);
}

/* Gives `end` bytes, `step` at a time, as a connection would. */
static inline void v2_take(struct v2_end *end, const uint8_t *bytes, size_t len, size_t step)
{
    struct weir_frame frames[FRAMES];
    struct weir_feed feed;
    for (size_t at = 0; at < len; at += step) {
        size_t take = len - at < step ? len - at : step;
        cr_assert_leq(end->in_len + take, sizeof end->in);
        memcpy(end->in + end->in_len, bytes + at, take);
        end->in_len += take;
        while (end->in_len > 0) {
            V2->feed(end->state, end->in, end->in_len, frames, FRAMES, &feed);
            cr_assert_leq(feed.consumed, end->in_len);
            cr_assert_eq(feed.frame_cnt, 0, "none during the handshake");
            cr_assert(feed.consumed > 0 || feed.need > end->in_len, "or it stands still");
            end->in_len -= feed.consumed;
            memmove(end->in, end->in + feed.consumed, end->in_len);
            end->is_ready = feed.is_ready;
            end->fault = feed.fault;
            end->is_fault_theirs = feed.is_theirs;
            if (feed.consumed == 0 || feed.is_ready || feed.fault)
                break;
        }
        if (end->is_ready || end->fault)
            break;
    }
}

static void (*change)(uint32_t turn, uint8_t *bytes, size_t *len);

/* Exchanges until neither has anything to say. */
static inline void pair_run(struct v2_pair *pair, size_t step)
{
    struct v2_end *from = &pair->dialer, *to = &pair->listener;
    uint32_t silent_cnt = 0;
    for (uint32_t turn = 0; turn < 10 && silent_cnt < 2; turn++) {
        uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
        size_t len = V2->pull(from->state, bytes, sizeof bytes);
        silent_cnt = len ? 0 : silent_cnt + 1;
        if (change)
            change(turn, bytes, &len);
        v2_take(to, bytes, len, step);
        struct v2_end *other = from;
        from = to;
        to = other;
    }
}

/* ---- records ------------------------------------------------------------------------------------- */

static uint8_t wire[WIRE_MAX];
static size_t wire_len;

/* Seals one frame as a record of its own, payload `fill`, onto the wire. */
static inline void record_put(struct v2_end *end, uint8_t kind, uint32_t aux, uint32_t len,
                              uint8_t fill, bool is_last_of_key)
{
    static uint8_t plain[NATIVE_V2_PLAIN_MAX];
    V2->frame_head(plain, kind, kind < NATIVE_HELLO ? 12 : NATIVE_CHANNEL_CONTROL, aux, NULL, len);
    memset(plain + NATIVE_V2_HEAD, fill, len);
    uint32_t all = NATIVE_V2_HEAD + len;
    cr_assert_leq(wire_len + all + 18, WIRE_MAX);
    /* In two pieces, out of place: as a borrowed payload is. */
    struct weir_seal_piece pieces[2] = {
        {plain, wire + wire_len + 2, NATIVE_V2_HEAD},
        {plain + NATIVE_V2_HEAD, wire + wire_len + 2 + NATIVE_V2_HEAD, len}};
    cr_assert(V2->seal(end->state, pieces, 2, is_last_of_key, wire + wire_len,
                       wire + wire_len + 2 + all));
    wire_len += all + 18;
}

/* Feeds the whole wire; returns how many frames came, the last one in `ret_last`. */
static inline uint32_t records_take(struct v2_end *end, uint32_t frame_max,
                                    struct weir_frame *ret_last)
{
    struct weir_frame frames[FRAMES];
    struct weir_feed feed;
    uint32_t cnt = 0;
    for (size_t at = 0; at < wire_len; at += feed.consumed) {
        V2->feed(end->state, wire + at, wire_len - at, frames, frame_max, &feed);
        cr_assert(feed.consumed > 0 || feed.need > wire_len - at);
        if (feed.frame_cnt) {
            cnt += feed.frame_cnt;
            *ret_last = frames[feed.frame_cnt - 1];
        }
        if (feed.consumed == 0)
            break;
    }
    return cnt;
}

static inline void pair_ready(struct v2_pair *pair, uint8_t cipher)
{
    pair_open(pair);
    pair->dialer.secret.cipher = cipher;
    pair_begin(pair, NULL);
    pair_run(pair, 4000);
    cr_assert(pair->dialer.is_ready && pair->listener.is_ready);
    wire_len = 0;
}

#endif
