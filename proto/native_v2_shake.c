/* What both sides of the handshake do: how it ends, Noise itself, proofs and hellos. */
#include "proto/native_v2.h"

#include <string.h>

#include "engine/base/check.h"
#include "proto/native_bytes.h"

bool weir_v2_is_noise(const struct native_v2_state *state)
{
    return !state->has_records && state->phase != NATIVE_V2_FAILED;
}

void weir_v2_noise_wipe(struct native_v2_state *state)
{
    weir_noise_handshake_wipe(&state->u.handshake.noise);
    weir_wipe(&state->u.handshake, sizeof state->u.handshake);
}

void weir_v2_fail(struct native_v2_state *state, uint16_t fault, bool is_told)
{
    uint8_t out = 0;
    if (is_told)
        out = state->has_records ? NATIVE_V2_OUT_GOODBYE : NATIVE_V2_OUT_REFUSAL;
    if (weir_v2_is_noise(state))
        weir_v2_noise_wipe(state);
    state->phase = NATIVE_V2_FAILED;
    state->fault = fault;
    state->out = out;
}

uint16_t weir_v2_reason_of(int noise_error)
{
    switch ((enum weir_noise_error)noise_error) { /* GCOVR_EXCL_BR_LINE: there are no others */
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

void weir_v2_mark_write(uint8_t *ret_bytes, uint8_t mark)
{
    weir_native_preface_write(ret_bytes, true);
    ret_bytes[NATIVE_V2_AT_MARK] = mark;
}

/* ---- Noise --------------------------------------------------------------------------------------- */

/* Starts Noise with what the dialer's preface says. The prologue is a label, that preface and the network
 * id with its length: with another of them on either side no message opens. */
int weir_v2_noise_begin(struct native_v2_state *state)
{
    static const char label[] = "weir-noise-v2";
    static const char *const names[NATIVE_V2_PATTERN_LAST][WEIR_CIPHER_CNT] = {
        {"Noise_XX_25519_ChaChaPoly_SHA256", "Noise_XX_25519_AESGCM_SHA256"},
        {"Noise_XXpsk3_25519_ChaChaPoly_SHA256", "Noise_XXpsk3_25519_AESGCM_SHA256"},
        {"Noise_IK_25519_ChaChaPoly_SHA256", "Noise_IK_25519_AESGCM_SHA256"},
        {"Noise_IKpsk2_25519_ChaChaPoly_SHA256", "Noise_IKpsk2_25519_AESGCM_SHA256"},
    };
    const struct weir_secret *secret = state->offer->secret;
    uint8_t prologue[sizeof label - 1 + NATIVE_V2_PREFACE_BYTES + 1 + WEIR_NETWORK_ID_BYTES_MAX];
    struct weir_noise_protocol protocol;
    bool is_known = weir_noise_protocol_parse(
        names[state->preface[NATIVE_V2_AT_PATTERN] - 1][state->preface[NATIVE_V2_AT_CIPHER]],
        &protocol);
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
    struct weir_noise_keys keys = {.s = &secret->identity->s,
                                   .e_private = state->u.handshake.seed,
                                   .rs = state->has_peer_key ? state->peer_key : NULL,
                                   .psk = secret->network_key};
    return weir_noise_handshake_init(&state->u.handshake.noise, secret->crypto, &protocol,
                                     state->is_dialer, prologue, (size_t)(at - prologue), &keys);
}

int weir_v2_noise_end(struct native_v2_state *state)
{
    const struct weir_crypto *crypto = state->offer->secret->crypto;
    struct weir_noise_cipher send, recv;
    uint8_t session[WEIR_SESSION_BYTES];
    int error = weir_noise_finish(&state->u.handshake.noise, &send, &recv);
    if (error)
        return error;
    memcpy(session, state->u.handshake.noise.symmetric.h, sizeof session);
    weir_v2_noise_wipe(state); /* what takes its place begins as zeros */
    state->has_records = true;
    memcpy(state->u.records.session, session, sizeof session);
    bool is_good = weir_v2_lane_init(crypto, &state->u.records.send, &send, true);
    is_good = weir_v2_lane_init(crypto, &state->u.records.recv, &recv, false) && is_good;
    return is_good ? WEIR_NOISE_OK : WEIR_NOISE_NOMEM;
}

void weir_v2_offer_write(uint8_t ret_offer[NATIVE_V2_OFFER_BYTES])
{
    ret_offer[0] = ret_offer[1] = NATIVE_V2_VERSION;
    ret_offer[2] = NATIVE_V2_KNOWS_CIPHERS;
    ret_offer[3] = NATIVE_V2_OFFERS_IK;
}

uint16_t weir_v2_proof_judge(struct native_v2_state *state, const uint8_t *proof)
{
    struct weir_verdict verdict =
        weir_identity_check(state->offer->secret->crypto, proof, state->u.handshake.noise.rs);
    if (verdict.is != WEIR_IS_SIGNED)
        return verdict.is == WEIR_IS_FORGED ? WEIR_R_BAD_IDENTITY : WEIR_R_INTERNAL;
    if (state->has_expected && !weir_is_same(proof, state->peer_id, WEIR_KEY_BYTES))
        return WEIR_R_WRONG_ID;
    if (weir_is_same(proof, state->offer->secret->identity->proof, WEIR_KEY_BYTES))
        return WEIR_R_SELF;
    memcpy(state->peer_id, proof, WEIR_KEY_BYTES);
    return 0;
}

/* Judges a hello against our offer; who sent it is proved already. */
uint16_t weir_v2_hello_judge(struct native_v2_state *state, const uint8_t *hello, uint32_t len)
{
    static const uint8_t nobody[WEIR_KEY_BYTES];
    struct weir_agreed *agreed = &state->u.records.agreed;
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

/* ---- the first records --------------------------------------------------------------------------- */

/* Seals a whole frame that lies behind `ret_bytes` + WEIR_SEAL_HEAD, in place. Returns the record's size. */
static size_t record_write(struct native_v2_state *state, uint8_t *ret_bytes, uint32_t frame_len)
{
    uint8_t *plain = ret_bytes + WEIR_SEAL_HEAD;
    struct weir_seal_piece piece = {plain, plain, frame_len};
    if (!weir_v2_seal(state->offer->secret->crypto, &state->u.records.send, &piece, 1, false,
                      ret_bytes, plain + frame_len))
        return 0;
    return WEIR_SEAL_HEAD + (size_t)frame_len + WEIR_SEAL_TAIL;
}

size_t weir_v2_hello_write(struct native_v2_state *state, uint8_t *ret_bytes)
{
    uint8_t *head = ret_bytes + WEIR_SEAL_HEAD;
    uint32_t len = weir_native_hello_write(head + NATIVE_V2_HEAD, state->offer);
    weir_v2_frame_head(head, NATIVE_HELLO, NATIVE_CHANNEL_CONTROL, 0, NULL, len);
    return record_write(state, ret_bytes, NATIVE_V2_HEAD + len);
}

size_t weir_v2_goodbye_write(struct native_v2_state *state, uint8_t *ret_bytes)
{
    struct weir_control goodbye; /* not zeroed: it is 1.2 KiB and only these are read */
    goodbye.kind = WEIR_CONTROL_GOODBYE;
    goodbye.reason = state->fault;
    goodbye.text[0] = '\0';
    return record_write(state, ret_bytes,
                        weir_v2_control_write(ret_bytes + WEIR_SEAL_HEAD, &goodbye));
}

void weir_v2_hello_feed(struct native_v2_state *state, uint8_t *data, size_t len,
                        struct weir_feed *ret_feed)
{
    struct weir_frame frame;
    size_t need;
    if (!state->has_records) { /* what it would answer has not been pulled */
        weir_v2_fail(state, WEIR_R_BAD_HELLO, false);
        return;
    }
    /* A longer one is never all there, however much came with it. */
    int32_t opened = weir_v2_open(state->offer->secret->crypto, &state->u.records.recv, data,
                                  weir_min_u64(len, NATIVE_V2_FIRST_MAX), &need);
    if (opened < 0) {
        weir_v2_fail(state, (uint16_t)-opened, false);
        return;
    }
    if (opened == 0) {
        if (need > NATIVE_V2_FIRST_MAX)
            weir_v2_fail(state, WEIR_R_HANDSHAKE_BYTES, false);
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
        weir_v2_fail(state, fault ? fault : goodbye.reason, false);
        state->is_fault_theirs = fault == 0;
        return;
    }
    if (fault == 0)
        fault = weir_v2_hello_judge(state, frame.payload, frame.len);
    if (fault != 0) {
        weir_v2_fail(state, fault, true);
        return;
    }
    state->phase = NATIVE_V2_READY;
}
