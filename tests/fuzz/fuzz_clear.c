/* What of the encrypted handshake stands in clear, in front of any curve operation: prefaces, cookies and lengths as a
 * listener under load hears them, answers, refusals and asks as a dialer does, held against docs/wire-v2.md.
 *
 * input: options: as dialer (bit 0), network key (bit 1), known key (bit 2), the first bytes mended (bit 3), the cookie
 * mended (bit 4); split seed u16; then what the peer says
 *
 * Fed whole and in pieces the codec must end where the model ends. A listener is shut to whom it would serve, and a
 * dialer never hears the last byte of a message 2: what comes then is what `secure` is for. */
#include "tests/fuzz/hello_model.h"

#include "engine/base/check.h"
#include "proto/native_v2.h"
#include "tests/unit/proto/native_fixture.h"

#define V2 (&weir_codec_native_v2)
#define COOKIE 41u /* mark and cookie */

enum option {
    OPTION_DIALER = 1,
    OPTION_NETWORK = 2,
    OPTION_KNOWN = 4,
    OPTION_MENDED = 8,
    OPTION_COOKIE = 16,
};

/* Where it ends, and what is sent by then. */
struct outcome {
    uint16_t fault;
    bool is_told;     /* 6E and the reason */
    bool is_stranger; /* its name may come from the first piece */
    bool is_asked;    /* a cookie was asked for, or (a dialer) came */
    bool is_again;    /* a dialer: it begins once more, with XX */
    bool is_held;
    size_t need, used;
};

static struct weir_crypto crypto;
static struct weir_identity identity; /* nobody's: none of it is used before the curve */
static struct weir_gate gate;
static const uint8_t network_key[WEIR_KEY_BYTES] = {1};
static const uint8_t mark[8] = {0x89, 'W', 'E', 'I', 'R', '\r', '\n', 0x1A};

/* ---- the model ------------------------------------------------------------------------------------ */

static void ends(struct outcome *outcome, uint16_t fault, bool is_told)
{
    outcome->fault = fault;
    outcome->is_told = is_told;
}

/* Whether so many bytes are there. */
static bool is_there(struct outcome *outcome, size_t len, size_t have)
{
    if (have < len)
        outcome->need = len;
    return have >= len;
}

static bool is_mark(const uint8_t *data, size_t len, char last)
{
    return memcmp(data, mark, len < 8 ? len : 8) == 0 && (len < 9 || data[8] == (uint8_t)last);
}

/* "Prefaces": the listener's judgement, in its order. */
static uint16_t model_v2_preface(const uint8_t *preface, bool has_key)
{
    uint8_t pattern = preface[11], cipher = preface[12];
    if (preface[9] > 2 || preface[10] < 2)
        return WEIR_R_WRONG_VERSION;
    if (preface[9] == 0 || pattern < 1 || pattern > 4 || cipher > 1 ||
        !(preface[13] & (cipher ? 2 : 1)) || preface[14] || preface[15])
        return WEIR_R_BAD_HELLO;
    return (pattern % 2 == 0) == has_key ? 0 : WEIR_R_NETWORK_KEY;
}

/* One preface and message 1; `cookie` NULL: none was asked for. Returns whether it is all there and right. */
static bool model_message1(const uint8_t *data, size_t len, uint8_t options, const uint8_t *cookie,
                           struct outcome *outcome)
{
    size_t front = cookie ? COOKIE : 0;
    if (cookie) {
        if (!is_there(outcome, COOKIE, len))
            return false;
        if (!is_mark(data, 9, 'C')) {
            ends(outcome, WEIR_R_BAD_HELLO, false);
            return false;
        }
    }
    const uint8_t *preface = data + front;
    size_t have = len - front;
    if (have && !is_mark(preface, have, 'S')) {
        uint16_t reason = model_preface(preface, have, true);
        outcome->is_stranger = reason != 0;
        ends(outcome, reason ? reason : WEIR_R_PLAIN_REFUSED, false);
        return false;
    }
    if (!is_there(outcome, front + 16, len))
        return false;
    uint16_t reason = model_v2_preface(preface, options & OPTION_NETWORK);
    if (reason) {
        ends(outcome, reason, true);
        return false;
    }
    size_t message_len = preface[11] == 1 ? 32 : preface[11] == 2 ? 48 : 192;
    if (!is_there(outcome, front + 18, len))
        return false;
    if (model_uint(preface + 16, 2) != message_len) {
        ends(outcome, WEIR_R_HANDSHAKE_BYTES, false);
        return false;
    }
    if (!is_there(outcome, front + 18 + message_len, len))
        return false;
    outcome->used = front + 18 + message_len;
    return true;
}

/* "Cookie": a listener under load, that is shut to who brings one. `cookie` is the one that it gave. */
static struct outcome model_listener(const uint8_t *data, size_t len, uint8_t options,
                                     const uint8_t *cookie)
{
    struct outcome outcome = {0};
    if (len == 0)
        return outcome;
    if (!model_message1(data, len, options, NULL, &outcome))
        return outcome;
    if (!(data[13] & 0x80)) { /* it knows no cookies */
        outcome.is_held = true;
        outcome.used = 0;
        return outcome;
    }
    outcome.is_asked = true;
    size_t first = outcome.used;
    const uint8_t *back = data + first;
    if (!cookie || len == first) /* or it was not asked yet */
        return outcome;
    if (!model_message1(back, len - first, options, cookie, &outcome)) {
        outcome.used = first;
        return outcome;
    }
    /* It is good for the bytes that it was given for. */
    bool is_good = outcome.used == COOKIE + first && memcmp(back + COOKIE, data, first) == 0 &&
                   memcmp(back + 9, cookie, 32) == 0;
    outcome.used = first;
    if (is_good)
        outcome.is_held = true;
    else
        ends(&outcome, WEIR_R_BAD_HELLO, false);
    return outcome;
}

/* A dialer that has sent message 1, `is_known` with IK. Its next state is the caller's to feed from `used` on. */
static struct outcome model_dialer(const uint8_t *data, size_t len, uint8_t options, bool is_known,
                                   bool was_asked)
{
    struct outcome outcome = {0};
    (void)options;
    if (len == 0)
        return outcome;
    if (!is_mark(data, len < 8 ? len : 8, 0)) {
        outcome.is_stranger = true;
        ends(&outcome, model_preface(data, len < 8 ? len : 8, true), false);
        return outcome;
    }
    if (!is_there(&outcome, 9, len))
        return outcome;
    if (data[8] == 'x') {
        outcome.is_again = is_known;
        outcome.used = 9;
        if (!is_known)
            ends(&outcome, WEIR_R_BAD_HELLO, false);
        return outcome;
    }
    if (!is_there(&outcome, 11, len))
        return outcome;
    uint16_t number = (uint16_t)model_uint(data + 9, 2);
    if (data[8] == 'n') { /* a reason in clear: few are believed */
        bool is_believed = number == WEIR_R_WRONG_VERSION || number == WEIR_R_LIMIT_PEERS ||
                           number == WEIR_R_SECURE_REFUSED || number == WEIR_R_NETWORK_KEY;
        ends(&outcome, is_believed ? number : WEIR_R_BAD_HELLO, false);
        return outcome;
    }
    if (data[8] == 'c' && !was_asked) {
        if (is_there(&outcome, COOKIE, len)) {
            outcome.is_asked = true;
            outcome.used = COOKIE;
        }
        return outcome;
    }
    size_t message_len = is_known ? 52 : 196;
    if (data[8] != 's' || number != message_len)
        ends(&outcome, WEIR_R_BAD_HELLO, false);
    else
        outcome.need = 11 + message_len;
    return outcome;
}

/* ---- the codec ------------------------------------------------------------------------------------ */

static struct native_v2_state *state_begin(const struct weir_offer *offer, uint8_t options)
{
    static const uint8_t seed[WEIR_KEY_BYTES] = {7}, peer[2][WEIR_KEY_BYTES] = {{8}, {9}};
    struct native_v2_state *state = malloc(sizeof *state);
    bool is_dialer = options & OPTION_DIALER;
    FUZZ_CHECK(state != NULL);
    memset(state, 0xA5, sizeof *state);
    V2->begin(state, offer, is_dialer);
    V2->arm(state, &(struct weir_arm){.seed = seed,
                                      .peer_id = is_dialer ? peer[0] : NULL,
                                      .peer_key = options & OPTION_KNOWN ? peer[1] : NULL,
                                      .from = peer[0],
                                      .from_len = 5});
    return state;
}

/* As if message 1 had been pulled: making it is what costs. */
static void message1_said(struct native_v2_state *state, uint8_t options)
{
    state->out = 0;
    state->preface[NATIVE_V2_AT_PATTERN] =
        (uint8_t)((state->has_peer_key ? 3 : 1) + (options & OPTION_NETWORK ? 1 : 0));
}

/* Feeds data[at, len) in pieces. Returns how it ended; `used` from `at` on. */
static struct outcome feed_all(struct native_v2_state *state, uint8_t *data, size_t len,
                               uint64_t *split)
{
    struct outcome outcome = {0};
    struct weir_feed feed = {0};
    for (size_t have = 0; have < len;) {
        struct weir_frame frame;
        have += fuzz_chunk(split, len - have);
        uint8_t *window = fuzz_window(data, have);
        V2->feed(state, window, have, &frame, 1, &feed);
        fuzz_window_end(window);
        FUZZ_CHECK(feed.consumed <= have && feed.frame_cnt == 0 && !feed.has_partial);
        FUZZ_CHECK(!feed.is_ready && !(feed.knock & WEIR_KNOCK_SERVED));
        outcome.fault = feed.fault;
        outcome.is_held = feed.knock & WEIR_KNOCK_HELD;
        outcome.need = have < len || feed.fault ? 0 : feed.need;
        if (feed.fault || feed.consumed || outcome.is_held) {
            outcome.used = feed.consumed;
            FUZZ_CHECK(!feed.fault || feed.consumed == have);
            return outcome;
        }
        FUZZ_CHECK(feed.need > have);
    }
    return outcome;
}

static void expect_same(const struct outcome *got, const struct outcome *model, bool is_whole)
{
    bool is_name = got->fault >= WEIR_R_NOT_WEIR && got->fault <= WEIR_R_TLS;
    FUZZ_CHECK(got->fault == model->fault || (!is_whole && model->is_stranger && is_name));
    FUZZ_CHECK(got->is_held == model->is_held);
    if (model->need && !model->fault)
        FUZZ_CHECK(got->need == model->need);
}

/* What waits to be sent: a refusal in clear, or nothing. */
static void expect_told(struct native_v2_state *state, const struct outcome *model)
{
    uint8_t out[WEIR_HANDSHAKE_OUT_MAX];
    size_t len = V2->pull(state, out, sizeof out);
    FUZZ_CHECK(len == (model->is_told ? 11 : 0));
    if (len)
        FUZZ_CHECK(is_mark(out, 9, 'n') && model_uint(out + 9, 2) == model->fault);
}

static void listen_one(const struct weir_offer *offer, uint8_t options, const uint8_t *bytes,
                       size_t len, uint64_t split)
{
    struct native_v2_state *state = state_begin(offer, options);
    uint8_t *data = fuzz_copy(bytes, len);
    bool is_whole = split == 0;
    gate.admission = WEIR_GATE_COOKIE;
    struct outcome model = model_listener(data, len, options, NULL);
    /* It is asked as soon as message 1 is there, and says nothing else before it was. */
    size_t first = model.is_asked ? model.used : len;
    struct outcome got = feed_all(state, data, first, &split);
    expect_same(&got, &model, is_whole);
    if (model.is_asked) {
        uint8_t out[WEIR_HANDSHAKE_OUT_MAX], *back = data + first;
        FUZZ_CHECK(got.used == first && V2->pull(state, out, sizeof out) == COOKIE);
        FUZZ_CHECK(is_mark(out, 9, 'c'));
        gate.admission = WEIR_GATE_SHUT;
        if ((options & OPTION_COOKIE) && len - first >= COOKIE) {
            memcpy(back, out, COOKIE);
            back[8] = 'C';
            if (len - first >= COOKIE + first && (options & OPTION_MENDED))
                memcpy(back + COOKIE, data, first);
        }
        model = model_listener(data, len, options, out + 9);
        got = feed_all(state, back, len - first, &split);
        expect_same(&got, &model, is_whole);
    }
    expect_told(state, &model);
    V2->end(state);
    free(data);
    free(state);
}

static void dial_one(const struct weir_offer *offer, uint8_t options, const uint8_t *bytes,
                     size_t len, uint64_t split)
{
    struct native_v2_state *state = state_begin(offer, options);
    bool is_known = options & OPTION_KNOWN, was_asked = false, is_whole = split == 0;
    uint8_t *data = fuzz_copy(bytes, len);
    message1_said(state, options);
    for (size_t at = 0; at < len;) {
        size_t left = len - at;
        struct outcome model = model_dialer(data + at, left, options, is_known, was_asked);
        if (model.need && !model.fault && left >= model.need) { /* all of message 2: not here */
            left = model.need - 1;
        } else if (model.used) {
            left = model.used; /* it answers before more is of use */
        }
        struct outcome got = feed_all(state, data + at, left, &split);
        expect_same(&got, &model, is_whole);
        if (model.fault)
            FUZZ_CHECK(state->out == 0);
        if (model.fault || !model.used)
            break;
        FUZZ_CHECK(got.used == model.used);
        if (model.is_asked)
            FUZZ_CHECK(memcmp(state->u.handshake.cookie, data + at + 9, 32) == 0);
        FUZZ_CHECK(state->out == (model.is_asked ? NATIVE_V2_OUT_COOKIE | NATIVE_V2_OUT_MESSAGE1
                                                 : NATIVE_V2_OUT_MESSAGE1));
        is_known = is_known && !model.is_again;
        was_asked = model.is_asked; /* the cookie of IK is of no use to XX */
        FUZZ_CHECK(state->has_peer_key == is_known);
        message1_said(state, options);
        at += model.used;
    }
    V2->end(state);
    free(data);
    free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct fuzz fuzz = fuzz_begin(input, size);
    uint8_t options = fuzz_u8(&fuzz);
    uint64_t split = 1 + (uint64_t)fuzz_u16(&fuzz);
    bool is_dialer = options & OPTION_DIALER;
    struct weir_offer offer = is_dialer ? dialer_offer : listener_offer;
    struct weir_secret secret = {.crypto = &crypto,
                                 .identity = &identity,
                                 .network_key = options & OPTION_NETWORK ? network_key : NULL,
                                 .gate = is_dialer ? NULL : &gate};
    if (!crypto.digest_ctx)
        FUZZ_CHECK(weir_crypto_init(&crypto));
    offer.secret = &secret;
    uint8_t *data = fuzz_copy(fuzz.at, fuzz.left);
    if ((options & OPTION_MENDED) && fuzz.left >= 8)
        memcpy(data, mark, 8);
    (is_dialer ? dial_one : listen_one)(&offer, options, data, fuzz.left, 0);
    (is_dialer ? dial_one : listen_one)(&offer, options, data, fuzz.left, split);
    free(data);
    return 0;
}
