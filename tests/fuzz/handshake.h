/* tests/fuzz/handshake.h: whatever a peer says first, heard as dialer or as listener.
 *
 * input: options (enum model_repair), split seed u16, then the peer's bytes.
 *
 * Fed whole, the codec must end where the model of docs/wire.md ends. Fed in pieces it must end there too (but
 * for the name it gives to a stranger, which may come from the first piece). What it sends meanwhile
 * is fixed by the outcome alone.
 */
#ifndef WEIR_TESTS_FUZZ_HANDSHAKE_H
#define WEIR_TESTS_FUZZ_HANDSHAKE_H

#include "tests/fuzz/hello_model.h"
#include "tests/unit/proto/native_fixture.h"

struct shaken {
    bool is_ready;
    uint16_t fault;
    size_t used; /* consumed until ready */
    uint8_t out[2 * WEIR_HANDSHAKE_OUT_MAX];
    size_t out_len;
    struct weir_agreed agreed;
};

static inline void shake_pull(void *state, uint64_t *split, struct shaken *ret_shaken)
{
    for (;;) {
        size_t room = sizeof ret_shaken->out - ret_shaken->out_len;
        size_t cap = fuzz_chunk(split, room);
        uint8_t *bytes = malloc(cap);
        size_t len = CODEC->pull(state, bytes, cap);
        FUZZ_CHECK(len <= cap);
        memcpy(ret_shaken->out + ret_shaken->out_len, bytes, len);
        free(bytes);
        ret_shaken->out_len += len;
        if (len == 0)
            return;
    }
}

/* One feed of the window [*at, end). Returns false when the handshake is over. */
static inline bool shake_feed(void *state, const uint8_t *data, size_t *at, size_t end,
                              struct shaken *ret_shaken)
{
    size_t len = end - *at;
    uint8_t *window = fuzz_copy(data + *at, len);
    struct weir_frame frames[2];
    struct weir_feed feed;
    CODEC->feed(state, window, len, frames, 2, &feed);
    free(window);
    FUZZ_CHECK(feed.consumed <= len);
    FUZZ_CHECK(feed.frame_cnt == 0 && !feed.has_partial);
    FUZZ_CHECK(!feed.is_ready || feed.fault == 0);
    FUZZ_CHECK(feed.fault < WEIR_REASON_CNT);
    if (!feed.is_ready && !feed.fault) {
        FUZZ_CHECK(feed.need > len - feed.consumed); /* or its user would feed for ever */
        FUZZ_CHECK(feed.consumed + feed.need <= CODEC->handshake_bytes_max);
    }
    *at += feed.consumed;
    ret_shaken->is_ready = feed.is_ready;
    ret_shaken->fault = feed.fault;
    return !feed.is_ready && !feed.fault;
}

/* `split` 0: all at once. */
static inline void shake(const uint8_t *data, size_t len, bool is_dialer, uint64_t split,
                         struct shaken *ret_shaken)
{
    const struct weir_offer *offer = is_dialer ? &dialer_offer : &listener_offer;
    void *state = malloc(CODEC->state_bytes);
    memset(state, 0xA5, CODEC->state_bytes);
    memset(ret_shaken, 0, sizeof *ret_shaken);
    CODEC->begin(state, offer, is_dialer);
    size_t at = 0;
    for (size_t end = 0; end < len;) {
        end += fuzz_chunk(&split, len - end);
        shake_pull(state, &split, ret_shaken);
        if (!shake_feed(state, data, &at, end, ret_shaken))
            break;
    }
    ret_shaken->used = at;
    shake_pull(state, &split, ret_shaken);
    if (ret_shaken->is_ready)
        ret_shaken->agreed = *CODEC->agreed(state);
    if (ret_shaken->fault) { /* it stays failed, takes all and says nothing new */
        uint8_t more[1] = {0x89};
        size_t more_at = 0;
        uint16_t fault = ret_shaken->fault;
        size_t out_len = ret_shaken->out_len;
        FUZZ_CHECK(!shake_feed(state, more, &more_at, 1, ret_shaken));
        FUZZ_CHECK(more_at == 1 && ret_shaken->fault == fault);
        shake_pull(state, &split, ret_shaken);
        FUZZ_CHECK(ret_shaken->out_len == out_len);
    }
    free(state);
}

static inline void shake_check_agreed(const struct shaken *shaken, const struct model_shake *model,
                                      const struct weir_offer *offer)
{
    const struct weir_agreed *agreed = &shaken->agreed;
    FUZZ_CHECK(agreed->version == 1);
    model_check_agreed(agreed, model, offer);
    size_t agent_len = strnlen(agreed->user_agent, sizeof agreed->user_agent);
    FUZZ_CHECK(agent_len <= WEIR_USER_AGENT_BYTES_MAX);
    for (size_t i = 0; i < agent_len; i++)
        FUZZ_CHECK(agreed->user_agent[i] >= 0x20 && agreed->user_agent[i] <= 0x7E);
}

/* A goodbye from the peer takes back what was not yet pulled: then what is due may be missing. */
static inline bool is_refused(const struct model_shake *model)
{
    return model->reason && !model->is_told && !model->is_stranger;
}

/* What was sent: preface, hello and goodbye, each if and only if it is due, and each readable. */
static inline void shake_check_out(const struct shaken *shaken, const struct model_shake *model,
                                   bool is_dialer, size_t heard)
{
    const uint8_t *at = shaken->out;
    size_t left = shaken->out_len;
    if (model->reason == WEIR_R_SECURE_REFUSED && model->is_stranger) { /* docs/wire-v2.md */
        FUZZ_CHECK(left == 11 && memcmp(at, "\x89WEIR\r\n\x1an", 9) == 0);
        FUZZ_CHECK(model_uint(at + 9, 2) == WEIR_R_SECURE_REFUSED);
        return;
    }
    bool is_weir = heard >= MODEL_PREFACE && !model->is_stranger;
    bool has_preface = is_dialer || is_weir;
    bool has_hello = is_dialer ? is_weir : model->is_ready;
    bool has_goodbye = model->reason && model->is_told;
    if (is_refused(model)) {
        has_preface = left != 0;
        has_hello = left > MODEL_PREFACE;
    }
    if (has_preface) {
        FUZZ_CHECK(left >= MODEL_PREFACE && model_preface(at, MODEL_PREFACE, is_dialer) == 0);
        at += MODEL_PREFACE;
        left -= MODEL_PREFACE;
    }
    for (int i = 0; i < has_hello + has_goodbye; i++) {
        struct model_frame frame = model_read(at, left, 0);
        FUZZ_CHECK(frame.is_there && frame.is_sum_right);
        FUZZ_CHECK(frame.kind == (has_hello && i == 0 ? MODEL_HELLO : MODEL_GOODBYE));
        if (frame.kind == MODEL_GOODBYE)
            FUZZ_CHECK(model_goodbye(frame.payload, frame.len) == model->reason);
        struct model_shake seen = {0};
        if (frame.kind == MODEL_HELLO)
            FUZZ_CHECK(model_hello(frame.payload, frame.len,
                                   is_dialer ? &listener_offer : &dialer_offer, &seen) == 0);
        at += MODEL_HEAD + frame.len;
        left -= MODEL_HEAD + frame.len;
    }
    FUZZ_CHECK(left == 0);
}

static inline void handshake_one(const uint8_t *input, size_t size, bool is_dialer)
{
    struct fuzz fuzz = fuzz_begin(input, size);
    uint8_t repair = fuzz_u8(&fuzz);
    uint64_t split = 1 + (uint64_t)fuzz_u16(&fuzz);
    size_t len = fuzz.left;
    uint8_t *data = fuzz_copy(fuzz.at, len);
    if (len > MODEL_PREFACE)
        model_repair(data + MODEL_PREFACE, len - MODEL_PREFACE, repair);

    const struct weir_offer *offer = is_dialer ? &dialer_offer : &listener_offer;
    struct model_shake model = model_handshake(data, len, offer, is_dialer);
    struct shaken whole, pieces;
    shake(data, len, is_dialer, 0, &whole);
    FUZZ_CHECK(whole.is_ready == model.is_ready);
    FUZZ_CHECK(whole.fault == model.reason);
    shake_check_out(&whole, &model, is_dialer, len);
    if (whole.is_ready) {
        FUZZ_CHECK(whole.used == model.used);
        shake_check_agreed(&whole, &model, offer);
    }
    shake(data, len, is_dialer, split, &pieces);
    FUZZ_CHECK(pieces.is_ready == whole.is_ready);
    FUZZ_CHECK(
        pieces.fault == whole.fault ||
        (model.is_stranger && pieces.fault >= WEIR_R_NOT_WEIR && pieces.fault <= WEIR_R_TLS));
    if (is_refused(&model))
        shake_check_out(&pieces, &model, is_dialer, len);
    else
        FUZZ_CHECK(pieces.out_len == whole.out_len &&
                   memcmp(pieces.out, whole.out, whole.out_len) == 0);
    if (whole.is_ready)
        FUZZ_CHECK(pieces.used == whole.used &&
                   memcmp(&pieces.agreed, &whole.agreed, sizeof whole.agreed) == 0);
    free(data);
}

#endif
