#include "proto/native_v2.h"

#include <string.h>

#include "engine/base/check.h"
#include "proto/native_bytes.h"

/* ---- beginning and end --------------------------------------------------------------------------- */

static void v2_begin(void *opaque, const struct weir_offer *offer, bool is_dialer)
{
    struct native_v2_state *state = opaque;
    memset(state, 0, NATIVE_V2_STATE_MIN); /* behind may be nothing */
    state->offer = offer;
    state->frame_bytes_max =
        (uint32_t)weir_min_u64(offer->frame_bytes_max, NATIVE_V2_FRAME_BYTES_MAX);
    state->is_dialer = is_dialer;
    state->phase = is_dialer ? NATIVE_V2_WAIT_MESSAGE2 : NATIVE_V2_WAIT_MESSAGE1;
    state->out = is_dialer ? NATIVE_V2_OUT_MESSAGE1 : 0;
}

static void v2_arm(void *opaque, const uint8_t *seed, const uint8_t *peer_id)
{
    struct native_v2_state *state = opaque;
    memcpy(state->seed, seed, sizeof state->seed);
    state->has_expected = peer_id != NULL;
    if (peer_id)
        memcpy(state->peer_id, peer_id, sizeof state->peer_id);
}

/* The handshake's half of the union is in use: until the third message was made or read. */
static bool is_noise(const struct native_v2_state *state)
{
    return !state->has_records && state->phase != NATIVE_V2_FAILED;
}

static void v2_end(void *opaque)
{
    struct native_v2_state *state = opaque;
    if (!state->offer) /* never begun */
        return;
    if (is_noise(state))
        weir_noise_handshake_wipe(&state->u.handshake.noise);
    weir_v2_lane_wipe(&state->send);
    weir_v2_lane_wipe(&state->recv);
    weir_wipe(state->seed, sizeof state->seed);
    state->offer = NULL;
}

/* Ends a handshake. A peer whose records we can write is told why in one; before that a reason in clear
 * is all there is, and it is sent only where it says nothing that a stranger should not know. */
static void handshake_fail(struct native_v2_state *state, uint16_t fault, bool is_told)
{
    uint8_t out = 0;
    if (is_told)
        out = state->has_records ? NATIVE_V2_OUT_GOODBYE : NATIVE_V2_OUT_REFUSAL;
    if (is_noise(state))
        weir_noise_handshake_wipe(&state->u.handshake.noise);
    state->phase = NATIVE_V2_FAILED;
    state->fault = fault;
    state->out = out;
}

static uint16_t reason_of(int noise_error)
{
    switch ((enum weir_noise_error)noise_error) {
    case WEIR_NOISE_BAD_KEY:
        return WEIR_R_BAD_KEY;
    case WEIR_NOISE_NOMEM:
        return WEIR_R_INTERNAL;
    case WEIR_NOISE_OK:
    case WEIR_NOISE_SHORT:
    case WEIR_NOISE_LONG:
    case WEIR_NOISE_FORGED:
    case WEIR_NOISE_TURN:
    case WEIR_NOISE_SPENT:
        break;
    }
    return WEIR_R_HANDSHAKE_CRYPTO;
}

/* ---- the Noise handshake ------------------------------------------------------------------------- */

/* The first 8 bytes that both versions begin with, then our mark. */
static void mark_write(uint8_t *ret_bytes, uint8_t mark)
{
    weir_native_preface_write(ret_bytes, true);
    ret_bytes[NATIVE_V2_AT_MARK] = mark;
}

static void preface_write(const struct native_v2_state *state, uint8_t *ret_bytes)
{
    const struct weir_secret *secret = state->offer->secret;
    memset(ret_bytes, 0, NATIVE_V2_PREFACE_BYTES);
    mark_write(ret_bytes, NATIVE_V2_MARK_DIALER);
    ret_bytes[NATIVE_V2_AT_VERSION_MIN] = NATIVE_V2_VERSION;
    ret_bytes[NATIVE_V2_AT_VERSION_MAX] = NATIVE_V2_VERSION;
    ret_bytes[NATIVE_V2_AT_PATTERN] = secret->network_key ? NATIVE_V2_XXPSK3 : NATIVE_V2_XX;
    ret_bytes[NATIVE_V2_AT_CIPHER] = secret->cipher;
    ret_bytes[NATIVE_V2_AT_CIPHERS] = (1u << WEIR_CIPHER_CNT) - 1;
}

/* Starts Noise with what the dialer's preface says. The prologue is a label, that preface and the network
 * id with its length: with another of them on either side no message opens. */
static int noise_begin(struct native_v2_state *state)
{
    static const char label[] = "weir-noise-v2";
    static const char *const names[2][WEIR_CIPHER_CNT] = {
        {"Noise_XX_25519_ChaChaPoly_SHA256", "Noise_XX_25519_AESGCM_SHA256"},
        {"Noise_XXpsk3_25519_ChaChaPoly_SHA256", "Noise_XXpsk3_25519_AESGCM_SHA256"},
    };
    const struct weir_secret *secret = state->offer->secret;
    uint8_t prologue[sizeof label - 1 + NATIVE_V2_PREFACE_BYTES + 1 + WEIR_NETWORK_ID_BYTES_MAX];
    struct weir_noise_protocol protocol;
    bool is_psk = state->preface[NATIVE_V2_AT_PATTERN] == NATIVE_V2_XXPSK3;
    bool is_known =
        weir_noise_protocol_parse(names[is_psk][state->preface[NATIVE_V2_AT_CIPHER]], &protocol);
    WEIR_CHECK(is_known);
    uint8_t *at = prologue;
    size_t id_len = strnlen(state->offer->network_id, WEIR_NETWORK_ID_BYTES_MAX);
    memcpy(at, label, sizeof label - 1);
    at += sizeof label - 1;
    memcpy(at, state->preface, NATIVE_V2_PREFACE_BYTES);
    at += NATIVE_V2_PREFACE_BYTES;
    *at++ = (uint8_t)id_len;
    memcpy(at, state->offer->network_id, id_len);
    at += id_len;
    struct weir_noise_keys keys = {
        .s = &secret->identity->s, .e_private = state->seed, .psk = secret->network_key};
    int error =
        weir_noise_handshake_init(&state->u.handshake.noise, secret->crypto, &protocol,
                                  state->is_dialer, prologue, (size_t)(at - prologue), &keys);
    weir_wipe(state->seed, sizeof state->seed);
    return error;
}

/* All three messages have passed: keys for records, and nothing else of the handshake stays. */
static int noise_end(struct native_v2_state *state)
{
    const struct weir_crypto *crypto = state->offer->secret->crypto;
    struct weir_noise_cipher send, recv;
    int error = weir_noise_finish(&state->u.handshake.noise, &send, &recv);
    memcpy(state->session, state->u.handshake.noise.symmetric.h, sizeof state->session);
    weir_noise_handshake_wipe(&state->u.handshake.noise);
    memset(&state->u.agreed, 0, offsetof(struct weir_agreed, channels));
    if (error)
        return error;
    state->has_records = true;
    bool is_good = weir_v2_lane_init(crypto, &state->send, &send, true);
    is_good = weir_v2_lane_init(crypto, &state->recv, &recv, false) && is_good;
    return is_good ? WEIR_NOISE_OK : WEIR_NOISE_NOMEM;
}

/* Judges the proof that a message brought. Returns 0 or the reason to end. */
static uint16_t proof_judge(struct native_v2_state *state, const uint8_t *proof)
{
    if (!weir_identity_check(proof, state->u.handshake.noise.rs))
        return WEIR_R_BAD_IDENTITY;
    if (state->has_expected && !weir_is_same(proof, state->peer_id, WEIR_KEY_BYTES))
        return WEIR_R_WRONG_ID;
    if (weir_is_same(proof, state->offer->secret->identity->proof, WEIR_KEY_BYTES))
        return WEIR_R_SELF;
    memcpy(state->peer_id, proof, WEIR_KEY_BYTES);
    return 0;
}

/* Judges a hello against our offer; who sent it is proved already. */
static uint16_t hello_judge(struct native_v2_state *state, const uint8_t *hello, uint32_t len)
{
    static const uint8_t nobody[WEIR_KEY_BYTES];
    struct weir_agreed *agreed = &state->u.agreed;
    uint16_t fault = weir_native_hello_read(hello, len, state->offer, agreed);
    if (fault != 0)
        return fault;
    if (!weir_is_same(agreed->node_id, nobody, sizeof nobody) &&
        !weir_is_same(agreed->node_id, state->peer_id, WEIR_KEY_BYTES))
        return WEIR_R_BAD_IDENTITY;
    memcpy(agreed->node_id, state->peer_id, sizeof agreed->node_id);
    agreed->version = NATIVE_V2_VERSION;
    agreed->frame_bytes_max =
        (uint32_t)weir_min_u64(agreed->frame_bytes_max, NATIVE_V2_FRAME_BYTES_MAX);
    return state->offer->refuse;
}

/* ---- what we send -------------------------------------------------------------------------------- */

/* Writes message 3 and its length. Returns its size, 0 when it failed. */
static size_t message3_write(struct native_v2_state *state, uint8_t *ret_bytes)
{
    const struct weir_secret *secret = state->offer->secret;
    uint8_t payload[WEIR_PROOF_BYTES + NATIVE_HELLO_OUT_MAX];
    size_t message_len = 0;
    memcpy(payload, secret->identity->proof, WEIR_PROOF_BYTES);
    size_t len =
        WEIR_PROOF_BYTES + weir_native_hello_write(payload + WEIR_PROOF_BYTES, state->offer);
    int error =
        weir_noise_write(&state->u.handshake.noise, payload, len,
                         ret_bytes + NATIVE_V2_LENGTH_BYTES, NATIVE_V2_MESSAGE3_MAX, &message_len);
    if (!error)
        error = noise_end(state);
    if (error) {
        handshake_fail(state, reason_of(error), false);
        return 0;
    }
    weir_le16_put(ret_bytes, (uint16_t)message_len);
    return NATIVE_V2_LENGTH_BYTES + message_len;
}

/* Seals a whole frame that lies behind `ret_bytes` + WEIR_SEAL_HEAD, in place. Returns the record's size. */
static size_t record_write(struct native_v2_state *state, uint8_t *ret_bytes, uint32_t frame_len)
{
    uint8_t *plain = ret_bytes + WEIR_SEAL_HEAD;
    struct weir_seal_piece piece = {plain, plain, frame_len};
    if (!weir_v2_seal(state->offer->secret->crypto, &state->send, &piece, 1, false, ret_bytes,
                      plain + frame_len))
        return 0;
    return WEIR_SEAL_HEAD + (size_t)frame_len + WEIR_SEAL_TAIL;
}

static size_t hello_write(struct native_v2_state *state, uint8_t *ret_bytes)
{
    uint8_t *head = ret_bytes + WEIR_SEAL_HEAD;
    uint32_t len = weir_native_hello_write(head + NATIVE_V2_HEAD, state->offer);
    weir_v2_frame_head(head, NATIVE_HELLO, NATIVE_CHANNEL_CONTROL, 0, NULL, len);
    return record_write(state, ret_bytes, NATIVE_V2_HEAD + len);
}

static size_t goodbye_write(struct native_v2_state *state, uint8_t *ret_bytes)
{
    struct weir_control goodbye; /* not zeroed: it is 1.2 KiB and only these are read */
    goodbye.kind = WEIR_CONTROL_GOODBYE;
    goodbye.reason = state->fault;
    goodbye.text[0] = '\0';
    return record_write(state, ret_bytes,
                        weir_v2_control_write(ret_bytes + WEIR_SEAL_HEAD, &goodbye));
}

/* Unlike version 1's, these bytes cannot be made twice: a record has its number. So all goes at once. */
static size_t v2_pull(void *opaque, uint8_t *ret_bytes, size_t cap)
{
    struct native_v2_state *state = opaque;
    uint8_t *at = ret_bytes;
    if (state->out == 0)
        return 0;
    WEIR_CHECK(cap >= WEIR_HANDSHAKE_OUT_MAX);
    if (state->out & NATIVE_V2_OUT_MESSAGE1) {
        size_t len = 0;
        preface_write(state, state->preface);
        int error = noise_begin(state);
        if (!error)
            error = weir_noise_write(&state->u.handshake.noise, NULL, 0,
                                     at + NATIVE_V2_PREFACE_BYTES + NATIVE_V2_LENGTH_BYTES,
                                     NATIVE_V2_MESSAGE1_MAX, &len);
        if (error) {
            handshake_fail(state, reason_of(error), false);
            return 0;
        }
        memcpy(at, state->preface, NATIVE_V2_PREFACE_BYTES);
        weir_le16_put(at + NATIVE_V2_PREFACE_BYTES, (uint16_t)len);
        at += NATIVE_V2_PREFACE_BYTES + NATIVE_V2_LENGTH_BYTES + len;
    }
    if (state->out & NATIVE_V2_OUT_REFUSAL) {
        mark_write(at, NATIVE_V2_MARK_REFUSAL);
        weir_le16_put(at + NATIVE_V2_ANSWER_BYTES, state->fault);
        at += NATIVE_V2_ANSWER_BYTES + sizeof state->fault;
    }
    if (state->out & NATIVE_V2_OUT_MESSAGE2) {
        mark_write(at, NATIVE_V2_MARK_ANSWER);
        weir_le16_put(at + NATIVE_V2_ANSWER_BYTES, NATIVE_V2_MESSAGE2_BYTES);
        at += NATIVE_V2_ANSWER_BYTES + NATIVE_V2_LENGTH_BYTES;
        memcpy(at, state->u.handshake.message2, NATIVE_V2_MESSAGE2_BYTES);
        at += NATIVE_V2_MESSAGE2_BYTES;
    }
    if (state->out & NATIVE_V2_OUT_GIVE_UP) {
        weir_le16_put(at, 0);
        weir_le16_put(at + NATIVE_V2_LENGTH_BYTES, state->fault);
        at += NATIVE_V2_GIVE_UP_BYTES;
    }
    if (state->out & NATIVE_V2_OUT_MESSAGE3)
        at += message3_write(state, at);
    if (state->out & NATIVE_V2_OUT_HELLO)
        at += hello_write(state, at);
    if (state->out & NATIVE_V2_OUT_GOODBYE)
        at += goodbye_write(state, at);
    state->out = 0;
    return (size_t)(at - ret_bytes);
}

/* ---- what we receive ----------------------------------------------------------------------------- */

/* Whether `len` bytes are there; if not, they are what feed waits for. */
static bool is_there(size_t len, size_t have, struct weir_feed *ret_feed)
{
    if (have >= len)
        return true;
    ret_feed->need = len;
    return false;
}

/* Judges the dialer's preface. Returns 0 or why it is refused; `*ret_is_told`: in clear. */
static uint16_t preface_judge(const struct native_v2_state *state, bool *ret_is_told)
{
    const uint8_t *preface = state->preface;
    uint8_t pattern = preface[NATIVE_V2_AT_PATTERN], cipher = preface[NATIVE_V2_AT_CIPHER];
    *ret_is_told = true;
    if (preface[NATIVE_V2_AT_VERSION_MIN] > NATIVE_V2_VERSION ||
        preface[NATIVE_V2_AT_VERSION_MAX] < NATIVE_V2_VERSION)
        return WEIR_R_WRONG_VERSION;
    /* Where nothing encrypted is taken at all, that is the answer, whatever else is wrong. */
    if (state->offer->refuse != 0)
        return state->offer->refuse;
    if (preface[NATIVE_V2_AT_VERSION_MIN] == 0 || cipher >= WEIR_CIPHER_CNT ||
        (preface[NATIVE_V2_AT_CIPHERS] >> cipher & 1) == 0 || preface[14] != 0 ||
        preface[15] != 0 || (pattern != NATIVE_V2_XX && pattern != NATIVE_V2_XXPSK3))
        return WEIR_R_BAD_HELLO;
    if ((pattern == NATIVE_V2_XXPSK3) != (state->offer->secret->network_key != NULL))
        return WEIR_R_NETWORK_KEY;
    return 0;
}

/* The listener: preface and message 1. All curve operations up to the answer happen here, once. */
static void message1_feed(struct native_v2_state *state, const uint8_t *data, size_t len,
                          struct weir_feed *ret_feed)
{
    struct weir_noise_handshake *noise = &state->u.handshake.noise;
    const struct weir_secret *secret = state->offer->secret;
    uint16_t fault = 0;
    bool is_told;
    size_t fixed_len = len < NATIVE_V2_ANSWER_BYTES ? len : NATIVE_V2_ANSWER_BYTES;
    int verdict = weir_codec_native_v2.sniff(data, fixed_len, &fault);
    if (verdict == 0) {
        handshake_fail(state, fault, false);
        return;
    }
    if (!is_there(NATIVE_V2_PREFACE_BYTES, len, ret_feed))
        return;
    memcpy(state->preface, data, NATIVE_V2_PREFACE_BYTES);
    fault = preface_judge(state, &is_told);
    if (fault != 0) {
        handshake_fail(state, fault, is_told);
        return;
    }
    size_t message1_len =
        NATIVE_V2_MESSAGE1_BYTES +
        (state->preface[NATIVE_V2_AT_PATTERN] == NATIVE_V2_XXPSK3 ? WEIR_TAG_BYTES : 0);
    size_t all = NATIVE_V2_PREFACE_BYTES + NATIVE_V2_LENGTH_BYTES + message1_len;
    if (!is_there(NATIVE_V2_PREFACE_BYTES + NATIVE_V2_LENGTH_BYTES, len, ret_feed))
        return;
    if (weir_le16_get(data + NATIVE_V2_PREFACE_BYTES) != message1_len) {
        handshake_fail(state, WEIR_R_HANDSHAKE_BYTES, false);
        return;
    }
    if (!is_there(all, len, ret_feed))
        return;
    ret_feed->consumed = all;

    uint8_t payload[WEIR_PROOF_BYTES + NATIVE_V2_OFFER_BYTES] = {0};
    size_t payload_len = 0, message_len = 0;
    int error = noise_begin(state);
    if (!error)
        error = weir_noise_read(noise, data + all - message1_len, message1_len, payload,
                                sizeof payload, &payload_len);
    memcpy(payload, secret->identity->proof, WEIR_PROOF_BYTES);
    payload[WEIR_PROOF_BYTES] = payload[WEIR_PROOF_BYTES + 1] = NATIVE_V2_VERSION;
    payload[WEIR_PROOF_BYTES + 2] = (1u << WEIR_CIPHER_CNT) - 1;
    if (!error)
        error = weir_noise_write(noise, payload, sizeof payload, state->u.handshake.message2,
                                 sizeof state->u.handshake.message2, &message_len);
    if (error) {
        handshake_fail(state, reason_of(error), false);
        return;
    }
    WEIR_CHECK(message_len == NATIVE_V2_MESSAGE2_BYTES);
    state->out |= NATIVE_V2_OUT_MESSAGE2;
    state->phase = NATIVE_V2_WAIT_MESSAGE3;
}

/* A reason that came in clear: anybody on the way may have written it, so only such are believed as end a
 * connection anyway, and none leads to another try in plain but where the policy says so. */
static uint16_t refusal_read(const uint8_t *data)
{
    uint16_t reason = weir_le16_get(data);
    return reason == WEIR_R_WRONG_VERSION || reason == WEIR_R_SECURE_REFUSED ||
                   reason == WEIR_R_NETWORK_KEY || reason == WEIR_R_LIMIT_PEERS
               ? reason
               : WEIR_R_BAD_HELLO;
}

/* The dialer: the answer and message 2. */
static void message2_feed(struct native_v2_state *state, const uint8_t *data, size_t len,
                          struct weir_feed *ret_feed)
{
    uint8_t expected[NATIVE_V2_ANSWER_BYTES];
    uint16_t fault = WEIR_R_NOT_WEIR;
    size_t fixed_len = len < NATIVE_V2_AT_MARK ? len : NATIVE_V2_AT_MARK;
    mark_write(expected, NATIVE_V2_MARK_ANSWER);
    if (memcmp(data, expected, fixed_len) != 0) {
        weir_native_sniff(data, fixed_len, &fault); /* only to name it */
        handshake_fail(state, fault, false);
        return;
    }
    if (!is_there(NATIVE_V2_ANSWER_BYTES + NATIVE_V2_LENGTH_BYTES, len, ret_feed))
        return;
    if (data[NATIVE_V2_AT_MARK] == NATIVE_V2_MARK_REFUSAL) {
        ret_feed->consumed = NATIVE_V2_ANSWER_BYTES + 2;
        handshake_fail(state, refusal_read(data + NATIVE_V2_ANSWER_BYTES), false);
        return;
    }
    size_t all = NATIVE_V2_ANSWER_BYTES + NATIVE_V2_LENGTH_BYTES + NATIVE_V2_MESSAGE2_BYTES;
    if (data[NATIVE_V2_AT_MARK] != NATIVE_V2_MARK_ANSWER ||
        weir_le16_get(data + NATIVE_V2_ANSWER_BYTES) != NATIVE_V2_MESSAGE2_BYTES) {
        handshake_fail(state, WEIR_R_BAD_HELLO, false);
        return;
    }
    if (!is_there(all, len, ret_feed))
        return;
    ret_feed->consumed = all;
    uint8_t payload[WEIR_PROOF_BYTES + NATIVE_V2_OFFER_BYTES];
    size_t payload_len = 0;
    int error = weir_noise_read(&state->u.handshake.noise, data + all - NATIVE_V2_MESSAGE2_BYTES,
                                NATIVE_V2_MESSAGE2_BYTES, payload, sizeof payload, &payload_len);
    fault = error ? reason_of(error) : proof_judge(state, payload);
    if (fault != 0) {
        handshake_fail(state, fault, false);
        if (fault != WEIR_R_INTERNAL)
            state->out = NATIVE_V2_OUT_GIVE_UP; /* there are no keys for a record yet */
        return;
    }
    state->out |= NATIVE_V2_OUT_MESSAGE3;
    state->phase = NATIVE_V2_WAIT_HELLO;
}

/* The listener: the dialer's reason to stop, in clear. Anybody on the way may have written it, as he may cut the
 * connection; it names the end and does nothing else. */
static void give_up_feed(struct native_v2_state *state, const uint8_t *data, size_t len,
                         struct weir_feed *ret_feed)
{
    if (!is_there(NATIVE_V2_GIVE_UP_BYTES, len, ret_feed))
        return;
    uint16_t reason = weir_le16_get(data + NATIVE_V2_LENGTH_BYTES);
    bool is_known = reason == WEIR_R_HANDSHAKE_CRYPTO || reason == WEIR_R_BAD_KEY ||
                    reason == WEIR_R_BAD_IDENTITY || reason == WEIR_R_WRONG_ID ||
                    reason == WEIR_R_SELF;
    ret_feed->consumed = NATIVE_V2_GIVE_UP_BYTES;
    handshake_fail(state, is_known ? reason : WEIR_R_BAD_HELLO, false);
}

/* The listener: message 3, which says who the dialer is and what it offers. */
static void message3_feed(struct native_v2_state *state, const uint8_t *data, size_t len,
                          struct weir_feed *ret_feed)
{
    uint8_t payload[WEIR_PROOF_BYTES + NATIVE_HELLO_BYTES_MAX];
    size_t payload_len = 0;
    if (!is_there(NATIVE_V2_LENGTH_BYTES, len, ret_feed))
        return;
    size_t message_len = weir_le16_get(data);
    if (message_len == 0) {
        give_up_feed(state, data, len, ret_feed);
        return;
    }
    if (message_len < NATIVE_V2_MESSAGE3_MIN || message_len > NATIVE_V2_MESSAGE3_MAX) {
        handshake_fail(state, WEIR_R_HANDSHAKE_BYTES, false);
        return;
    }
    if (!is_there(NATIVE_V2_LENGTH_BYTES + message_len, len, ret_feed))
        return;
    ret_feed->consumed = NATIVE_V2_LENGTH_BYTES + message_len;
    int error = weir_noise_read(&state->u.handshake.noise, data + NATIVE_V2_LENGTH_BYTES,
                                message_len, payload, sizeof payload, &payload_len);
    uint16_t fault = error ? reason_of(error) : proof_judge(state, payload);
    if (error) {
        handshake_fail(state, fault, false);
        return;
    }
    error = noise_end(state);
    if (error) {
        handshake_fail(state, reason_of(error), false);
        return;
    }
    if (fault == 0)
        fault = hello_judge(state, payload + WEIR_PROOF_BYTES,
                            (uint32_t)(payload_len - WEIR_PROOF_BYTES));
    if (fault != 0) {
        handshake_fail(state, fault, true);
        return;
    }
    state->out |= NATIVE_V2_OUT_HELLO;
    state->phase = NATIVE_V2_READY;
}

/* The dialer: the first record, which is the listener's hello, or a goodbye. */
static void hello_feed(struct native_v2_state *state, uint8_t *data, size_t len,
                       struct weir_feed *ret_feed)
{
    struct weir_frame frame;
    size_t need;
    if (!state
             ->has_records) { /* message 3 has not been pulled: the other side cannot have answered */
        handshake_fail(state, WEIR_R_BAD_HELLO, false);
        return;
    }
    int32_t opened = weir_v2_open(state->offer->secret->crypto, &state->recv, data, len, &need);
    if (opened < 0) {
        handshake_fail(state, (uint16_t)-opened, false);
        return;
    }
    if (opened == 0) {
        if (need >
            NATIVE_V2_LENGTH_BYTES + NATIVE_V2_HEAD + NATIVE_HELLO_BYTES_MAX + WEIR_TAG_BYTES)
            handshake_fail(state, WEIR_R_HANDSHAKE_BYTES, false);
        ret_feed->need = need;
        return;
    }
    ret_feed->consumed = NATIVE_V2_LENGTH_BYTES + (size_t)opened + WEIR_TAG_BYTES;
    uint32_t took = weir_v2_frame_read(data + NATIVE_V2_LENGTH_BYTES, (uint32_t)opened, &frame);
    bool is_hello = frame.wire_kind == NATIVE_HELLO;
    uint16_t fault = took == 0 ? frame.fault : 0;
    if (fault == 0 && (took != (uint32_t)opened || frame.channel != NATIVE_CHANNEL_CONTROL ||
                       frame.aux != 0 || (!is_hello && frame.wire_kind != NATIVE_GOODBYE)))
        fault = WEIR_R_BAD_HELLO;
    if (fault == 0 && !is_hello) {
        struct weir_control goodbye;
        fault = (uint16_t)weir_native_control_read(&frame, &goodbye);
        handshake_fail(state, fault ? fault : goodbye.reason, false);
        return;
    }
    if (fault == 0)
        fault = hello_judge(state, frame.payload, frame.len);
    if (fault != 0) {
        handshake_fail(state, fault, true);
        return;
    }
    state->phase = NATIVE_V2_READY;
}

static void v2_feed(void *opaque, uint8_t *data, size_t len, struct weir_frame *ret_frames,
                    uint32_t frame_max, struct weir_feed *ret_feed)
{
    struct native_v2_state *state = opaque;
    memset(ret_feed, 0, sizeof *ret_feed);
    ret_feed->need = 1;
    switch ((enum native_v2_phase)state->phase) {
    case NATIVE_V2_WAIT_MESSAGE1:
        message1_feed(state, data, len, ret_feed);
        break;
    case NATIVE_V2_WAIT_MESSAGE2:
        message2_feed(state, data, len, ret_feed);
        break;
    case NATIVE_V2_WAIT_MESSAGE3:
        message3_feed(state, data, len, ret_feed);
        break;
    case NATIVE_V2_WAIT_HELLO:
        hello_feed(state, data, len, ret_feed);
        break;
    case NATIVE_V2_READY:
        if (!weir_v2_frames_feed(state, data, len, ret_frames, frame_max, ret_feed))
            state->phase = NATIVE_V2_BROKEN;
        break;
    case NATIVE_V2_BROKEN:
    case NATIVE_V2_FAILED:
        break;
    }
    ret_feed->is_ready = state->phase == NATIVE_V2_READY || state->phase == NATIVE_V2_BROKEN;
    if (state->phase == NATIVE_V2_FAILED) {
        ret_feed->fault = state->fault;
        ret_feed->consumed = len;
        ret_feed->need = 1;
    } else if (state->phase == NATIVE_V2_BROKEN) {
        ret_feed->consumed = len;
    }
}

/* ---- the rest ------------------------------------------------------------------------------------ */

static int v2_sniff(const uint8_t *data, size_t len, uint16_t *ret_reason)
{
    uint8_t expected[NATIVE_V2_ANSWER_BYTES];
    size_t fixed_len = len < NATIVE_V2_ANSWER_BYTES ? len : NATIVE_V2_ANSWER_BYTES;
    mark_write(expected, NATIVE_V2_MARK_DIALER);
    if (memcmp(data, expected, fixed_len) == 0)
        return len < NATIVE_V2_ANSWER_BYTES ? -(int)NATIVE_V2_ANSWER_BYTES : 1;
    *ret_reason = WEIR_R_NOT_WEIR;
    if (weir_native_sniff(data, len, ret_reason) != 0) /* plain weir, or its beginning */
        *ret_reason = WEIR_R_PLAIN_REFUSED;
    return 0;
}

static const struct weir_agreed *v2_agreed(const void *opaque)
{
    const struct native_v2_state *state = opaque;
    return state->phase == NATIVE_V2_READY || state->phase == NATIVE_V2_BROKEN ? &state->u.agreed
                                                                               : NULL;
}

static const uint8_t *v2_session(const void *opaque)
{
    const struct native_v2_state *state = opaque;
    return state->session;
}

static void v2_verify(struct weir_frame *frames, uint32_t frame_cnt)
{
    (void)frames; /* a frame that came out of a record was verified with it */
    (void)frame_cnt;
}

static bool v2_seal(void *opaque, const struct weir_seal_piece *pieces, uint32_t piece_cnt,
                    bool is_last_of_key, uint8_t *ret_head, uint8_t *ret_tail)
{
    struct native_v2_state *state = opaque;
    return weir_v2_seal(state->offer->secret->crypto, &state->send, pieces, piece_cnt,
                        is_last_of_key, ret_head, ret_tail);
}

_Static_assert(NATIVE_V2_PREFACE_BYTES + 2 * NATIVE_V2_LENGTH_BYTES + NATIVE_V2_MESSAGE1_MAX +
                       NATIVE_V2_MESSAGE3_MIN + NATIVE_HELLO_OUT_MAX <=
                   WEIR_HANDSHAKE_OUT_MAX,
               "what pull can have waiting fits");
_Static_assert(WEIR_SEAL_HEAD + NATIVE_V2_HEAD + NATIVE_HELLO_OUT_MAX + WEIR_SEAL_TAIL +
                       NATIVE_V2_ANSWER_BYTES + NATIVE_V2_LENGTH_BYTES + NATIVE_V2_MESSAGE2_BYTES <=
                   WEIR_HANDSHAKE_OUT_MAX,
               "and the listener's");

const struct weir_codec weir_codec_native_v2 = {
    .name = "native-v2",
    .state_bytes = sizeof(struct native_v2_state),
    .channel_bytes = NATIVE_V2_CHANNEL_BYTES,
    .state_bytes_min = NATIVE_V2_STATE_MIN,
    .head_bytes = NATIVE_V2_HEAD,
    .handshake_bytes_max = NATIVE_V2_PREFACE_BYTES + 2 * NATIVE_V2_LENGTH_BYTES +
                           NATIVE_V2_MESSAGE1_MAX + NATIVE_V2_MESSAGE3_MAX,
    .sniff = v2_sniff,
    .begin = v2_begin,
    .arm = v2_arm,
    .end = v2_end,
    .pull = v2_pull,
    .feed = v2_feed,
    .agreed = v2_agreed,
    .session = v2_session,
    .verify = v2_verify,
    .frame_head = weir_v2_frame_head,
    .control_write = weir_v2_control_write,
    .control_read = weir_native_control_read,
    .seal = v2_seal,
    .record_bytes_max = NATIVE_V2_PLAIN_MAX,
};
