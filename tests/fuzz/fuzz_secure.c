/* One message of the encrypted handshake is not what the other side said: 0 preface and message 1, 1 answer and
 * message 2, 2 message 3, 3 the listener's hello. The first and the third are heard as listener, the others as dialer.
 * With a listener under load its cookie, and what comes back with it, are two more between the first and the second.
 *
 * With a dialer that knows the listener's key the first, the second with the listener's hello, and the dialer's hello are
 * all; what is changed then may lead to the handshake without that key, which has to hold as it is.
 *
 * input: message (bits 0, 1 and 6), cipher, network key, changed or replaced, under load, known key (bits 2 to 5, 7);
 * split seed u16; then
 *   changed:  offset u16 and a mask to flip with u8, any number
 *   replaced: the bytes that are heard instead
 *
 * Who hears anything else than what was said never comes to be ready, fed whole or in pieces; and without a change
 * both do. */
#include "tests/fuzz/fuzz.h"

#include "proto/native_v2.h"
#include "tests/unit/proto/native_fixture.h"

#define V2 (&weir_codec_native_v2)
#define MESSAGES 4u
#define LOADED 0x20u
#define KNOWN 0x80u

struct secure_end {
    struct native_v2_state *state;
    struct weir_identity identity;
    struct weir_secret secret;
    struct weir_offer offer;
    bool is_ready;
    uint16_t fault;
};

struct plan {
    uint32_t message;
    uint64_t split;
    bool is_replaced;
    struct fuzz rest;
};

static struct weir_crypto crypto;
static struct weir_gate gate;
static struct secure_end ends[2]; /* dialer, listener; who they are is made once */

static void key_of(uint8_t seed, uint8_t ret_key[WEIR_KEY_BYTES])
{
    for (uint32_t i = 0; i < WEIR_KEY_BYTES; i++)
        ret_key[i] = (uint8_t)(seed * 37u + i * 11u + 1u);
}

static void ends_make(void)
{
    if (crypto.digest_ctx)
        return;
    FUZZ_CHECK(weir_crypto_init(&crypto));
    for (uint8_t i = 0; i < 2; i++) {
        uint8_t key[WEIR_KEY_BYTES];
        key_of((uint8_t)(i + 1), key);
        FUZZ_CHECK(weir_identity_init(&ends[i].identity, &crypto, key));
        ends[i].offer = i ? listener_offer : dialer_offer;
        memcpy(ends[i].offer.node_id, ends[i].identity.proof, sizeof ends[i].offer.node_id);
    }
}

static void ends_begin(uint8_t options)
{
    static uint8_t network_key[WEIR_KEY_BYTES];
    key_of(21, network_key);
    for (uint8_t i = 0; i < 2; i++) {
        struct secure_end *end = &ends[i];
        uint8_t seed[WEIR_KEY_BYTES];
        key_of((uint8_t)(i + 11), seed);
        end->secret = (struct weir_secret){.crypto = &crypto,
                                           .identity = &end->identity,
                                           .cipher = options >> 2 & 1,
                                           .network_key = options & 8 ? network_key : NULL,
                                           .gate = i ? &gate : NULL};
        end->offer.secret = &end->secret;
        end->is_ready = false;
        end->fault = 0;
        end->state = malloc(sizeof *end->state);
        FUZZ_CHECK(end->state != NULL);
        memset(end->state, 0xA5, sizeof *end->state); /* begin() does not count on zeros */
        V2->begin(end->state, &end->offer, i == 0);
        struct weir_arm arm = {.seed = seed, .peer_id = i == 0 ? ends[1].identity.proof : NULL};
        if (options & KNOWN)
            arm.peer_key = ends[1].identity.s.public_key;
        V2->arm(end->state, &arm);
    }
}

/* Feeds all of a message as a connection would; what is left over is never asked for again. */
static void hear(struct secure_end *end, const uint8_t *data, size_t len, uint64_t split)
{
    size_t at = 0;
    for (size_t have = 0; have < len && !end->is_ready && !end->fault;) {
        have += fuzz_chunk(&split, len - have);
        while (at < have && !end->is_ready && !end->fault) {
            struct weir_frame frames[2];
            struct weir_feed feed;
            uint8_t *window = fuzz_copy(data + at, have - at);
            V2->feed(end->state, window, have - at, frames, 2, &feed);
            free(window);
            FUZZ_CHECK(feed.consumed <= have - at);
            FUZZ_CHECK(feed.frame_cnt == 0 && !feed.has_partial);
            FUZZ_CHECK(!feed.is_ready || feed.fault == 0);
            if (gate.admission == WEIR_GATE_COOKIE && (feed.knock & WEIR_KNOCK_SERVED))
                FUZZ_CHECK(feed.knock & WEIR_KNOCK_COOKIE);
            if (feed.knock & WEIR_KNOCK_HELD) { /* it waits, and nothing was made of it */
                FUZZ_CHECK(feed.consumed == 0 && !end->state->u.handshake.noise.e.pair);
                return;
            }
            FUZZ_CHECK(feed.fault < WEIR_REASON_CNT && feed.fault != WEIR_R_INTERNAL);
            at += feed.consumed;
            end->is_ready = feed.is_ready;
            end->fault = feed.fault;
            if (feed.is_ready || feed.fault || feed.consumed)
                continue;
            FUZZ_CHECK(feed.need > have - at); /* or its user would feed for ever */
            FUZZ_CHECK(feed.need <= V2->handshake_bytes_max);
            break;
        }
    }
    FUZZ_CHECK(end->is_ready == (V2->agreed(end->state) != NULL));
    if (end->fault) { /* it stays failed and takes all */
        uint8_t more[1] = {0};
        struct weir_frame frame;
        struct weir_feed feed;
        V2->feed(end->state, more, 1, &frame, 1, &feed);
        FUZZ_CHECK(feed.fault == end->fault && feed.consumed == 1 && !feed.is_ready);
    }
}

/* Makes what is heard of what was said. Returns whether the one begins with the other. */
static bool change(struct fuzz rest, bool is_replaced, const uint8_t *said, size_t said_len,
                   uint8_t **ret_heard, size_t *ret_len)
{
    if (is_replaced) {
        *ret_len = rest.left;
        *ret_heard = fuzz_copy(rest.at, rest.left);
        return rest.left >= said_len && memcmp(rest.at, said, said_len) == 0;
    }
    *ret_len = said_len;
    *ret_heard = fuzz_copy(said, said_len);
    while (said_len != 0 && fuzz_has_more(&rest)) {
        size_t at = fuzz_u16(&rest) % said_len;
        (*ret_heard)[at] ^= fuzz_u8(&rest);
    }
    return memcmp(*ret_heard, said, said_len) == 0;
}

/* One handshake in which one message is changed. */
static void run(uint8_t options, const struct plan *plan)
{
    bool is_same = true;
    uint32_t message_cnt = (options & KNOWN ? MESSAGES - 1 : MESSAGES) + (options & LOADED ? 2 : 0);
    gate.admission = options & LOADED ? WEIR_GATE_COOKIE : WEIR_GATE_OPEN;
    ends_begin(options);
    /* Beyond them only who began with a known key, and does so again without. */
    for (uint32_t message = 0; message < message_cnt + (options & KNOWN ? 6 : 0); message++) {
        struct secure_end *from = &ends[message % 2], *to = &ends[(message + 1) % 2];
        uint8_t said[WEIR_HANDSHAKE_OUT_MAX], *heard = NULL;
        size_t said_len = V2->pull(from->state, said, sizeof said), len = 0;
        FUZZ_CHECK(said_len <= sizeof said);
        if (said_len == 0) /* it has nothing more to say: it failed, or waits */
            break;
        if (message == plan->message)
            is_same = change(plan->rest, plan->is_replaced, said, said_len, &heard, &len);
        else
            (void)change((struct fuzz){0}, false, said, said_len, &heard, &len);
        hear(to, heard, len, plan->split);
        free(heard);
        if (message == plan->message && !is_same)
            FUZZ_CHECK(!to->is_ready);
    }
    bool is_agreed = ends[0].is_ready && ends[1].is_ready;
    if (is_agreed)
        FUZZ_CHECK(memcmp(V2->session(ends[0].state), V2->session(ends[1].state),
                          WEIR_SESSION_BYTES) == 0);
    if ((options & KNOWN) && is_agreed && !is_same)
        FUZZ_CHECK(!weir_v2_pattern_is_ik(ends[0].state->preface[NATIVE_V2_AT_PATTERN]));
    else
        FUZZ_CHECK(is_agreed == is_same);
    /* The listener's hello is its last word: it does not hear what became of it. */
    if (!(options & KNOWN) && plan->message < message_cnt - 1)
        FUZZ_CHECK(ends[1].is_ready == is_same);
    for (int i = 0; i < 2; i++) {
        static const uint8_t zeros[sizeof ends[i].state->u.handshake];
        const struct native_v2_state *state = ends[i].state;
        V2->end(ends[i].state);
        if (state->has_records) {
            FUZZ_CHECK(memcmp(state->u.records.send.cipher.k, zeros, WEIR_KEY_BYTES) == 0);
            FUZZ_CHECK(memcmp(state->u.records.recv.cipher.k, zeros, WEIR_KEY_BYTES) == 0);
        } else {
            FUZZ_CHECK(memcmp(&state->u.handshake, zeros, sizeof zeros) == 0);
        }
        free(ends[i].state);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_begin(data, size);
    uint8_t options = fuzz_u8(&fuzz);
    uint64_t split = 1 + (uint64_t)fuzz_u16(&fuzz);
    ends_make();
    uint32_t message = (options & 3u) | (options >> 4 & 4u);
    struct plan plan = {.message = message, .is_replaced = options >> 4 & 1, .rest = fuzz};
    run(options, &plan);
    uint16_t faults[2] = {ends[0].fault, ends[1].fault};
    plan.split = split;
    run(options, &plan);
    FUZZ_CHECK(!!ends[0].fault == !!faults[0] && !!ends[1].fault == !!faults[1]);
    return 0;
}
