/* tests/fuzz/hello_model.h: the handshake a second time, from docs/wire.md sections 1, 4, 5 and 9: what becomes of
 * a stream that is there as a whole.
 */
#ifndef WEIR_TESTS_FUZZ_HELLO_MODEL_H
#define WEIR_TESTS_FUZZ_HELLO_MODEL_H

#include "proto/codec.h"
#include "tests/fuzz/wire_model.h"

#define MODEL_PREFACE 9u

struct model_shake {
    bool is_ready;
    bool is_stranger; /* the preface is wrong: who does not speak weir is told nothing */
    uint16_t reason;  /* why it failed; neither: more bytes are needed */
    bool is_told;     /* a goodbye with the reason answers it */
    size_t used;      /* bytes of preface and hello, when ready */
    uint32_t channel_cnt;
    struct {
        uint16_t id;
        uint32_t msg_bytes_max, window_bytes;
    } channels[WEIR_CHANNELS_MAX]; /* in common, ascending */
    uint32_t frame_bytes_max;
    uint64_t features;
};

/* Bytes of a hello, read one behind the other; past the end there is nothing. */
struct model_bytes {
    const uint8_t *at, *end;
    bool is_short;
};

static inline uint64_t model_next(struct model_bytes *bytes, uint32_t cnt)
{
    if (bytes->is_short || (size_t)(bytes->end - bytes->at) < cnt) {
        bytes->is_short = true;
        return 0;
    }
    bytes->at += cnt;
    return model_uint(bytes->at - cnt, cnt < 8 ? cnt : 8);
}

static inline const struct weir_channel_desc *model_channel(const struct weir_offer *offer,
                                                            uint16_t id)
{
    for (uint32_t i = 0; i < offer->channel_cnt; i++) {
        if (offer->channels[i].id == id)
            return &offer->channels[i];
    }
    return NULL;
}

/* Section 5: the tables, row by row, then the seven judgements. */
static inline uint16_t model_hello(const uint8_t *payload, uint32_t len,
                                   const struct weir_offer *offer, struct model_shake *shake)
{
    struct model_bytes in = {.at = payload, .end = payload + len};
    uint8_t version_min = (uint8_t)model_next(&in, 1), version_max = (uint8_t)model_next(&in, 1);
    if (in.is_short || version_min == 0 || version_min > version_max)
        return WEIR_R_BAD_HELLO;
    if (version_min > 1)
        return WEIR_R_WRONG_VERSION;

    bool is_bad = false;
    model_next(&in, 2);
    uint32_t frame_bytes_max = (uint32_t)model_next(&in, 4);
    is_bad |= frame_bytes_max < 4096 || frame_bytes_max > 65536;
    uint64_t features = model_next(&in, 8), critical = model_next(&in, 8);
    is_bad |= (critical & ~features) != 0;
    const uint8_t *nonce = in.at;
    model_next(&in, 16);
    model_next(&in, 32);
    uint32_t network_len = (uint32_t)model_next(&in, 1);
    is_bad |= network_len < 1 || network_len > 32;
    const uint8_t *network = in.at;
    model_next(&in, network_len);
    uint32_t agent_len = (uint32_t)model_next(&in, 1);
    is_bad |= agent_len > 64;
    for (uint32_t i = 0; i < agent_len; i++) {
        uint8_t byte = (uint8_t)model_next(&in, 1);
        is_bad |= byte < 0x20 || byte > 0x7E;
    }
    uint32_t channel_cnt = (uint32_t)model_next(&in, 2);
    is_bad |= channel_cnt > 64;
    int32_t last = -1;
    for (uint32_t i = 0; i < channel_cnt && !in.is_short; i++) {
        uint16_t id = (uint16_t)model_next(&in, 2), weight = (uint16_t)model_next(&in, 2);
        uint32_t msg_bytes_max = (uint32_t)model_next(&in, 4);
        uint32_t window_bytes = (uint32_t)model_next(&in, 4);
        model_next(&in, 4);
        is_bad |= id <= last || id > 65534 || weight < 1 || msg_bytes_max < 1 ||
                  msg_bytes_max > 268435456 || window_bytes < msg_bytes_max;
        last = id;
        if (!is_bad && !in.is_short && model_channel(offer, id)) {
            shake->channels[shake->channel_cnt].id = id;
            shake->channels[shake->channel_cnt].msg_bytes_max = msg_bytes_max;
            shake->channels[shake->channel_cnt++].window_bytes = window_bytes;
        }
    }
    bool is_critical = false;
    for (last = -1; in.at != in.end && !in.is_short;) {
        uint16_t type = (uint16_t)model_next(&in, 2);
        model_next(&in, (uint32_t)model_next(&in, 2));
        is_bad |= type <= last;
        last = type;
        is_critical |= (type & 0x8000) != 0;
    }
    if (is_bad || in.is_short)
        return WEIR_R_BAD_HELLO;
    if (network_len != strlen(offer->network_id) ||
        memcmp(network, offer->network_id, network_len) != 0)
        return WEIR_R_WRONG_NETWORK;
    if (memcmp(nonce, offer->nonce, 16) == 0)
        return WEIR_R_SELF;
    if ((critical & ~offer->features) != 0 || is_critical)
        return WEIR_R_CRITICAL_FEATURE;
    if (shake->channel_cnt == 0)
        return WEIR_R_NO_CHANNELS;
    shake->features = features & offer->features;
    shake->frame_bytes_max =
        frame_bytes_max < offer->frame_bytes_max ? frame_bytes_max : offer->frame_bytes_max;
    return 0;
}

/* Section 1: the bytes that are there decide. 0: none of them is wrong. */
static inline uint16_t model_preface(const uint8_t *data, size_t len, bool is_from_dialer)
{
    static const char *const words[] = {"GET ", "POST", "PUT ", "HEAD", "OPTI", "PRI ",
                                        "CONN", "DELE", "PATC", "TRAC", "HTTP"};
    const char *right = is_from_dialer ? "\x89WEIR\r\n\x1a?" : "\x89WEIR\r\n\x1a!";
    if (memcmp(data, right, len < MODEL_PREFACE ? len : MODEL_PREFACE) == 0)
        return 0;
    /* The ninth byte: docs/wire-v2.md has an `S` for encryption, which nobody here has. */
    if (memcmp(data, right, len < 8 ? len : 8) == 0)
        return is_from_dialer && data[8] == 'S' ? WEIR_R_SECURE_REFUSED : WEIR_R_NOT_WEIR;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (memcmp(data, words[i], len < 4 ? len : 4) == 0)
            return WEIR_R_HTTP;
    }
    bool is_tls = (data[0] == 0x15 || data[0] == 0x16) && (len == 1 || data[1] == 0x03);
    return is_tls ? WEIR_R_TLS : WEIR_R_NOT_WEIR;
}

/* Section 9: a goodbye's payload; returns the reason as a receiver understands it, 0 when malformed. */
static inline uint16_t model_goodbye(const uint8_t *payload, uint32_t len)
{
    if (len < 4)
        return 0;
    uint16_t reason = (uint16_t)model_uint(payload, 2);
    uint32_t text_len = (uint32_t)model_uint(payload + 2, 2);
    if (text_len > 120 || text_len != len - 4)
        return 0;
    return reason >= WEIR_REASON_CNT ? WEIR_R_APPLICATION : reason;
}

static inline struct model_shake model_handshake(const uint8_t *data, size_t len,
                                                 const struct weir_offer *offer, bool is_dialer)
{
    struct model_shake shake = {0};
    if (len == 0)
        return shake;
    shake.reason = model_preface(data, len, !is_dialer);
    shake.is_stranger = shake.reason != 0;
    if (shake.reason || len < MODEL_PREFACE)
        return shake;
    struct model_frame frame = model_read(data + MODEL_PREFACE, len - MODEL_PREFACE, 0);
    shake.is_told = true;
    shake.reason = frame.reason;
    if (frame.reason || !frame.is_there)
        return shake;
    if (!frame.is_sum_right) {
        shake.reason = WEIR_R_BAD_CHECKSUM;
    } else if (frame.kind == MODEL_GOODBYE) {
        shake.reason = model_goodbye(frame.payload, frame.len);
        shake.is_told = shake.reason == 0;
        if (shake.reason == 0)
            shake.reason = WEIR_R_BAD_CONTROL;
    } else {
        shake.reason = model_hello(frame.payload, frame.len, offer, &shake);
        shake.is_ready = shake.reason == 0;
        shake.used = MODEL_PREFACE + MODEL_HEAD + frame.len;
    }
    return shake;
}

/* Whether a codec agreed on what the model says. Which version that is, and how long a name may be, is not said here. */
static inline void model_check_agreed(const struct weir_agreed *agreed,
                                      const struct model_shake *model,
                                      const struct weir_offer *offer)
{
    FUZZ_CHECK(agreed->features == model->features);
    FUZZ_CHECK(agreed->frame_bytes_max == model->frame_bytes_max);
    FUZZ_CHECK(agreed->channel_cnt == model->channel_cnt);
    for (uint32_t i = 0; i < agreed->channel_cnt; i++) {
        FUZZ_CHECK(agreed->channels[i].local_idx < offer->channel_cnt);
        FUZZ_CHECK(offer->channels[agreed->channels[i].local_idx].id == model->channels[i].id);
        FUZZ_CHECK(agreed->channels[i].msg_bytes_max == model->channels[i].msg_bytes_max);
        FUZZ_CHECK(agreed->channels[i].window_bytes == model->channels[i].window_bytes);
    }
}

#endif
