/* What is inside of the encrypted wire once it is opened: the HELLO of message 3, the first record, and the frames of the
 * records that follow, held against docs/wire-v2.md without a curve operation. `secure` has the handshake itself,
 * `record` what does not open.
 *
 * input: options: what (bits 0 and 1: HELLO, first record, records), cipher (bit 2), as dialer (bit 3), mended headers
 * (bit 4), frames of 4 KiB at most (bit 5); split seed u16; then the HELLO, the first record's plaintext, or
 *   records: length u16, its plaintext; behind the input's end there are zeros
 *
 * Fed whole and in pieces the codec must end where the model ends, with the same frames, and say so to the peer where
 * that is due. */
#include "tests/fuzz/hello_model.h"

#include "engine/base/check.h"
#include "proto/native_v2.h"
#include "tests/unit/proto/native_fixture.h"

#define V2 (&weir_codec_native_v2)
#define HEAD 12u            /* of a frame in a record */
#define FIRST_MAX 2046u     /* of the first record: length, header, HELLO, tag */
#define FRAME_MAX_V2 65506u /* of a frame's payload */
#define REKEY 21u
#define PLAIN_MAX 65518u
#define RECORDS_MAX 4u
#define STREAM_MAX (RECORDS_MAX * (WEIR_SEAL_HEAD + PLAIN_MAX + WEIR_SEAL_TAIL))
#define FRAMES_MAX 16u

enum what { WHAT_HELLO = 0, WHAT_FIRST = 1, WHAT_RECORDS = 2 };
enum option { OPTION_CIPHER = 4, OPTION_DIALER = 8, OPTION_MENDED = 16, OPTION_SMALL = 32 };

struct record {
    size_t at, len; /* on the wire */
    uint8_t *plain;
    uint32_t plain_len;
};

/* Where the model is in what was said. */
struct reader {
    const struct record *records;
    uint32_t record_cnt, record, at; /* `at` in the plaintext of `record` */
    uint32_t frame_bytes_max;
};

static struct weir_crypto crypto;
static struct weir_secret secret = {.crypto = &crypto};
static uint8_t peer_id[WEIR_KEY_BYTES];
static uint8_t plains[RECORDS_MAX][PLAIN_MAX], sealed[STREAM_MAX], heard[STREAM_MAX];
/* [0] and [1]: what the peer seals and we open. [2] and [3]: what we seal and the peer opens. They keep their contexts
 * and get their first key back before each use. */
static struct native_v2_lane lanes[2][4];

static void lane_make(struct native_v2_lane *ret_lane, uint8_t cipher, uint32_t i)
{
    struct weir_noise_cipher noise = {.cipher = cipher};
    uint8_t key[WEIR_KEY_BYTES];
    memset(key, i < 2 ? 0x5C : 0x36, sizeof key);
    FUZZ_CHECK(weir_noise_cipher_key(&noise, key) == WEIR_NOISE_OK);
    FUZZ_CHECK(weir_v2_lane_init(&crypto, ret_lane, &noise, i % 2 == 0));
}

static struct native_v2_lane *lanes_begin(uint8_t options)
{
    static uint8_t masks[2][4][NATIVE_V2_MASK_BYTES];
    uint8_t cipher = options & OPTION_CIPHER ? 1 : 0;
    if (!crypto.digest_ctx) {
        FUZZ_CHECK(weir_crypto_init(&crypto));
        memset(peer_id, 0x77, sizeof peer_id);
        for (uint32_t i = 0; i < 8; i++) {
            lane_make(&lanes[i / 4][i % 4], (uint8_t)(i / 4), i % 4);
            memcpy(masks[i / 4][i % 4], lanes[i / 4][i % 4].mask, NATIVE_V2_MASK_BYTES);
        }
    }
    for (uint32_t i = 0; i < 4; i++) {
        struct native_v2_lane *lane = &lanes[cipher][i];
        if (lane->key_cnt != 1) {
            weir_v2_lane_wipe(lane);
            lane_make(lane, cipher, i);
        }
        lane->cipher.n = lane->bytes = 0;
        memcpy(lane->mask, masks[cipher][i], sizeof lane->mask);
    }
    return lanes[cipher];
}

/* A side whose peer has proved who it is, and that has keys for records. */
static struct native_v2_state *state_begin(const struct weir_offer *offer, uint8_t options,
                                           const struct native_v2_lane *of, uint8_t phase)
{
    struct native_v2_state *state = malloc(sizeof *state);
    FUZZ_CHECK(state != NULL);
    memset(state, 0xA5, sizeof *state);
    V2->begin(state, offer, options & OPTION_DIALER);
    state->out = 0;
    state->phase = phase;
    state->has_records = true;
    memcpy(state->peer_id, peer_id, sizeof state->peer_id);
    state->u.records.recv = of[1];
    state->u.records.send = of[2];
    return state;
}

/* The contexts go back to where they are kept. */
static void state_end(struct native_v2_state *state, struct native_v2_lane *of)
{
    of[1] = state->u.records.recv;
    of[2] = state->u.records.send;
    free(state);
}

static size_t seal(struct native_v2_lane *lane, struct record *record, size_t at, bool is_last)
{
    uint8_t *head = sealed + at, *plain = head + WEIR_SEAL_HEAD;
    struct weir_seal_piece piece = {record->plain, plain, record->plain_len};
    FUZZ_CHECK(weir_v2_seal(&crypto, lane, &piece, 1, is_last, head, plain + record->plain_len));
    record->at = at;
    record->len = WEIR_SEAL_HEAD + record->plain_len + WEIR_SEAL_TAIL;
    return record->len;
}

/* Feeds what is there of `heard` from `at` on. What is opened in place has to be there at the next call. */
static void feed_window(struct native_v2_state *state, size_t at, size_t have,
                        struct weir_frame *ret_frames, uint32_t frame_max, uint8_t **ret_window,
                        struct weir_feed *ret_feed)
{
    *ret_window = fuzz_window(heard + at, have - at);
    V2->feed(state, *ret_window, have - at, ret_frames, frame_max, ret_feed);
    FUZZ_CHECK(ret_feed->consumed <= have - at && ret_feed->frame_cnt <= frame_max);
    FUZZ_CHECK(!ret_feed->has_partial && ret_feed->knock == 0);
    if (*ret_window != heard + at)
        memcpy(heard + at, *ret_window, have - at);
}

/* ---- HELLOs -------------------------------------------------------------------------------------- */

/* A HELLO in version 2: that of version 1, and its node id is zero or the proved one. */
static uint16_t model_hello_v2(const uint8_t *hello, uint32_t len, const struct weir_offer *offer,
                               struct model_shake *ret_shake)
{
    static const uint8_t nobody[WEIR_KEY_BYTES];
    memset(ret_shake, 0, sizeof *ret_shake);
    uint16_t reason = model_hello(hello, len, offer, ret_shake);
    if (reason == 0 && memcmp(hello + 40, nobody, 32) != 0 && memcmp(hello + 40, peer_id, 32) != 0)
        reason = WEIR_R_BAD_IDENTITY;
    if (ret_shake->frame_bytes_max > FRAME_MAX_V2)
        ret_shake->frame_bytes_max = FRAME_MAX_V2;
    return reason;
}

static void check_agreed(const struct weir_agreed *agreed, const struct model_shake *model,
                         const struct weir_offer *offer)
{
    FUZZ_CHECK(agreed->version == 2);
    FUZZ_CHECK(memcmp(agreed->node_id, peer_id, sizeof agreed->node_id) == 0);
    FUZZ_CHECK(memchr(agreed->user_agent, 0, sizeof agreed->user_agent) != NULL);
    model_check_agreed(agreed, model, offer);
}

/* The HELLO behind the proof in message 3. */
static void hello_one(const struct weir_offer *offer, uint8_t options, struct fuzz rest)
{
    struct native_v2_lane *of = lanes_begin(options);
    struct native_v2_state *state = state_begin(offer, options, of, NATIVE_V2_WAIT_HELLO);
    uint32_t len =
        rest.left < NATIVE_HELLO_BYTES_MAX ? (uint32_t)rest.left : NATIVE_HELLO_BYTES_MAX;
    uint8_t *hello = fuzz_copy(rest.at, len);
    struct model_shake model;
    uint16_t reason = model_hello_v2(hello, len, offer, &model);
    FUZZ_CHECK(weir_v2_hello_judge(state, hello, len) == reason);
    if (reason == 0)
        check_agreed(&state->u.records.agreed, &model, offer);
    free(hello);
    state_end(state, of);
}

/* ---- the first record ---------------------------------------------------------------------------- */

/* What becomes of it; `*ret_is_told`: a GOODBYE with the reason answers it. */
static uint16_t model_first(const struct record *record, const struct weir_offer *offer,
                            struct model_shake *ret_shake, bool *ret_is_told)
{
    const uint8_t *plain = record->plain;
    uint32_t len = record->plain_len;
    *ret_is_told = record->len <= FIRST_MAX;
    if (record->len > FIRST_MAX)
        return WEIR_R_HANDSHAKE_BYTES;
    if (len < HEAD || plain[1] != 0)
        return WEIR_R_BAD_HEADER;
    uint64_t frame_len = model_uint(plain + 4, 4);
    if (frame_len > len - HEAD)
        return WEIR_R_BAD_LENGTH;
    bool is_control = model_uint(plain + 2, 2) == MODEL_CONTROL && model_uint(plain + 8, 4) == 0;
    if (frame_len != len - HEAD || !is_control ||
        (plain[0] != MODEL_HELLO && plain[0] != MODEL_GOODBYE))
        return WEIR_R_BAD_HELLO;
    if (plain[0] == MODEL_HELLO)
        return model_hello_v2(plain + HEAD, (uint32_t)frame_len, offer, ret_shake);
    *ret_is_told = false;
    uint16_t reason = model_goodbye(plain + HEAD, (uint32_t)frame_len);
    return reason ? reason : WEIR_R_BAD_CONTROL;
}

/* Opens what a side says at its end. */
static void check_told(struct native_v2_state *state, struct native_v2_lane *lane, uint16_t reason)
{
    uint8_t out[WEIR_HANDSHAKE_OUT_MAX];
    size_t need, len = V2->pull(state, out, sizeof out);
    if (reason == 0) {
        FUZZ_CHECK(len == 0);
        return;
    }
    int32_t opened = weir_v2_open(&crypto, lane, out, len, &need);
    FUZZ_CHECK(opened == (int32_t)HEAD + 4 && need == len);
    const uint8_t *plain = out + WEIR_SEAL_HEAD;
    FUZZ_CHECK(plain[0] == MODEL_GOODBYE && model_uint(plain + 4, 4) == 4);
    FUZZ_CHECK(model_goodbye(plain + HEAD, 4) == reason);
    FUZZ_CHECK(V2->pull(state, out, sizeof out) == 0);
}

static void first_one(const struct weir_offer *offer, uint8_t options, uint64_t split,
                      struct record *record)
{
    struct native_v2_lane *of = lanes_begin(options);
    struct native_v2_state *state = state_begin(offer, options, of, NATIVE_V2_WAIT_HELLO);
    struct model_shake model;
    struct weir_feed feed = {0};
    bool is_told;
    uint16_t reason = model_first(record, offer, &model, &is_told);
    size_t len = seal(&of[0], record, 0, false);
    memcpy(heard, sealed, len);
    for (size_t have = 0; have < len && !feed.is_ready && !feed.fault;) {
        struct weir_frame frame;
        uint8_t *window;
        have += fuzz_chunk(&split, len - have);
        feed_window(state, 0, have, &frame, 1, &window, &feed);
        fuzz_window_end(window);
        FUZZ_CHECK(feed.frame_cnt == 0);
        if (!feed.is_ready && !feed.fault) {
            FUZZ_CHECK(feed.consumed == 0 && have < len);
            FUZZ_CHECK(feed.need == (have < WEIR_SEAL_HEAD ? WEIR_SEAL_HEAD : len));
        } else {
            FUZZ_CHECK(feed.consumed == have && (have == len || len > FIRST_MAX));
        }
    }
    FUZZ_CHECK(feed.fault == reason && feed.is_ready == (reason == 0));
    FUZZ_CHECK(feed.is_ready == (V2->agreed(state) != NULL));
    if (feed.is_ready)
        check_agreed(V2->agreed(state), &model, offer);
    check_told(state, &of[3], is_told ? reason : 0);
    state_end(state, of);
}

/* ---- records ------------------------------------------------------------------------------------- */

/* The next frame that is the application's or the connection's; false when there is none left. REKEY is nobody's
 * business but the record's. */
static bool model_next_frame(struct reader *reader, struct model_frame *ret_frame)
{
    struct model_frame *frame = ret_frame;
    memset(frame, 0, sizeof *frame);
    while (reader->record < reader->record_cnt) {
        const struct record *record = &reader->records[reader->record];
        const uint8_t *at = record->plain + reader->at;
        uint32_t left = record->plain_len - reader->at;
        if (left == 0) {
            reader->record++;
            reader->at = 0;
            continue;
        }
        if (left < HEAD || at[1] != 0) {
            frame->reason = WEIR_R_BAD_HEADER;
            return true;
        }
        frame->kind = at[0];
        frame->channel = (uint16_t)model_uint(at + 2, 2);
        frame->len = (uint32_t)model_uint(at + 4, 4);
        frame->aux = (uint32_t)model_uint(at + 8, 4);
        frame->payload = at + HEAD;
        if (frame->len > left - HEAD) {
            frame->reason = WEIR_R_BAD_LENGTH;
            return true;
        }
        reader->at += HEAD + frame->len;
        if (frame->kind != REKEY) {
            frame->reason = model_shape(frame, reader->frame_bytes_max);
            return true;
        }
        if (frame->len || frame->aux || frame->channel != MODEL_CONTROL ||
            reader->at != record->plain_len) {
            frame->reason = WEIR_R_BAD_CONTROL;
            return true;
        }
    }
    return false;
}

/* Whether the last frame of a record is a REKEY as it must be: its sender has a new key then. */
static bool is_last_of_key(const struct record *record, uint32_t frame_bytes_max)
{
    struct reader reader = {.records = record, .record_cnt = 1, .frame_bytes_max = frame_bytes_max};
    struct model_frame frame;
    while (model_next_frame(&reader, &frame))
        if (frame.reason)
            return false;
    const uint8_t *end = record->plain + record->plain_len;
    return frame.kind == REKEY && frame.payload == end;
}

static void mend(struct record *record)
{
    for (uint32_t at = 0; record->plain_len - at >= HEAD;) {
        uint32_t left = record->plain_len - at - HEAD;
        uint8_t *head = record->plain + at;
        uint64_t len = model_uint(head + 4, 4);
        head[1] = 0;
        if (len > left)
            model_put(head + 4, 4, len = len % (left + 1));
        at += HEAD + (uint32_t)len;
    }
}

/* Checks one frame that the codec gives; returns false at a fault. */
static bool frame_is_right(struct reader *reader, const struct weir_frame *frame)
{
    struct model_frame model;
    FUZZ_CHECK(model_next_frame(reader, &model));
    if (frame->kind == WEIR_FRAME_FAULT) {
        FUZZ_CHECK(model.reason != 0 && frame->fault == model.reason);
        return false;
    }
    FUZZ_CHECK(model.reason == 0 && frame->fault == 0);
    FUZZ_CHECK(frame->wire_kind == model.kind && frame->channel == model.channel);
    FUZZ_CHECK(frame->len == model.len && frame->aux == model.aux);
    FUZZ_CHECK(memcmp(frame->payload, model.payload, model.len) == 0);
    uint8_t kind = model.kind <= MODEL_MORE      ? model.kind
                   : model.kind <= MODEL_GOODBYE ? (uint8_t)WEIR_FRAME_CONTROL
                                                 : (uint8_t)WEIR_FRAME_SKIP;
    FUZZ_CHECK(frame->kind == kind);
    return true;
}

/* All that can be opened was: what is left is the beginning of a record, and that is what it waits for. */
static void rest_is_right(const struct reader *reader, size_t at, size_t have,
                          const struct weir_feed *feed)
{
    for (uint32_t i = 0; i < reader->record_cnt; i++) {
        const struct record *record = &reader->records[i];
        if (record->at == at) {
            FUZZ_CHECK(have - at < record->len);
            FUZZ_CHECK(feed->need == (have - at < WEIR_SEAL_HEAD ? WEIR_SEAL_HEAD : record->len));
            return;
        }
    }
    const struct record *last = &reader->records[reader->record_cnt - 1];
    FUZZ_CHECK(at == have && at == last->at + last->len && feed->need == WEIR_SEAL_HEAD);
}

static void records_feed(struct native_v2_state *state, struct reader reader, size_t len,
                         uint64_t split)
{
    struct weir_frame frames[FRAMES_MAX];
    bool is_broken = false;
    for (size_t at = 0, have = 0; at < len;) {
        uint32_t frame_max = 1 + (uint32_t)(split % FRAMES_MAX);
        struct weir_feed feed;
        uint8_t *window;
        have += have < len ? fuzz_chunk(&split, len - have) : 0;
        feed_window(state, at, have, frames, frame_max, &window, &feed);
        FUZZ_CHECK(feed.is_ready && feed.fault == 0);
        FUZZ_CHECK(!is_broken || (feed.frame_cnt == 0 && feed.consumed == have - at));
        for (uint32_t i = 0; i < feed.frame_cnt; i++) {
            FUZZ_CHECK(!is_broken);
            is_broken = !frame_is_right(&reader, &frames[i]);
        }
        fuzz_window_end(window);
        at += feed.consumed;
        FUZZ_CHECK(!is_broken || at == have);
        if (!is_broken && feed.frame_cnt < frame_max)
            rest_is_right(&reader, at, have, &feed);
        FUZZ_CHECK(feed.consumed || feed.frame_cnt || have < len); /* or it stands still */
    }
    struct model_frame frame;
    FUZZ_CHECK(is_broken || !model_next_frame(&reader, &frame));
}

static void records_one(const struct weir_offer *offer, uint8_t options, uint64_t split,
                        struct record *records, uint32_t cnt)
{
    struct native_v2_lane *of = lanes_begin(options);
    struct native_v2_state *state = state_begin(offer, options, of, NATIVE_V2_READY);
    struct reader reader = {.records = records,
                            .record_cnt = cnt,
                            .frame_bytes_max =
                                (uint32_t)weir_min_u64(offer->frame_bytes_max, FRAME_MAX_V2)};
    size_t len = 0;
    for (uint32_t i = 0; i < cnt; i++)
        len += seal(&of[0], &records[i], len, is_last_of_key(&records[i], reader.frame_bytes_max));
    memcpy(heard, sealed, len);
    records_feed(state, reader, len, split);
    state_end(state, of);
}

/* Takes the records of an input; at least one. */
static uint32_t records_take(struct fuzz *fuzz, struct record *ret_records)
{
    uint32_t cnt = 0;
    do {
        struct record *record = &ret_records[cnt];
        uint32_t value = fuzz_u16(fuzz);
        record->plain = plains[cnt++];
        /* Mostly short. */
        record->plain_len =
            1 + (value < 0xF000 ? value % 512
                                : (uint32_t)weir_min_u64(value % 15 * 4680, PLAIN_MAX - 1));
        size_t had;
        const uint8_t *bytes = fuzz_take(fuzz, record->plain_len, &had);
        memset(record->plain, 0, record->plain_len);
        if (had)
            memcpy(record->plain, bytes, had);
    } while (cnt < RECORDS_MAX && fuzz_has_more(fuzz));
    return cnt;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct fuzz fuzz = fuzz_begin(input, size);
    uint8_t options = fuzz_u8(&fuzz);
    uint64_t split = 1 + (uint64_t)fuzz_u16(&fuzz);
    struct weir_offer offer = options & OPTION_DIALER ? dialer_offer : listener_offer;
    struct record records[RECORDS_MAX];
    offer.secret = &secret;
    offer.frame_bytes_max = options & OPTION_SMALL ? 4096 : 65536;
    if ((options & 3) == WHAT_HELLO) {
        hello_one(&offer, options, fuzz);
        return 0;
    }
    if ((options & 3) == WHAT_FIRST) {
        size_t len;
        const uint8_t *bytes = fuzz_take(&fuzz, 4096, &len);
        records[0] = (struct record){.plain = plains[0], .plain_len = len ? (uint32_t)len : 1};
        plains[0][0] = 0;
        memcpy(plains[0], bytes, len);
        if (options & OPTION_MENDED)
            mend(&records[0]);
        records[0].len = WEIR_SEAL_HEAD + records[0].plain_len + WEIR_SEAL_TAIL;
        first_one(&offer, options, 0, &records[0]);
        first_one(&offer, options, split, &records[0]);
        return 0;
    }
    uint32_t cnt = records_take(&fuzz, records);
    for (uint32_t i = 0; i < cnt && (options & OPTION_MENDED); i++)
        mend(&records[i]);
    records_one(&offer, options, 0, records, cnt);
    records_one(&offer, options, split, records, cnt);
    return 0;
}
