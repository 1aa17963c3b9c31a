/* The side that dialed: message 1, the answer and message 2, message 3. */
#include "proto/native_v2.h"

#include <string.h>

#include "engine/base/check.h"
#include "proto/native_bytes.h"

static void preface_write(const struct native_v2_state *state, uint8_t *ret_bytes)
{
    const struct weir_secret *secret = state->offer->secret;
    memset(ret_bytes, 0, NATIVE_V2_PREFACE_BYTES);
    weir_v2_mark_write(ret_bytes, NATIVE_V2_MARK_DIALER);
    ret_bytes[NATIVE_V2_AT_VERSION_MIN] = NATIVE_V2_VERSION;
    ret_bytes[NATIVE_V2_AT_VERSION_MAX] = NATIVE_V2_VERSION;
    if (state->has_peer_key)
        ret_bytes[NATIVE_V2_AT_PATTERN] = secret->network_key ? NATIVE_V2_IKPSK2 : NATIVE_V2_IK;
    else
        ret_bytes[NATIVE_V2_AT_PATTERN] = secret->network_key ? NATIVE_V2_XXPSK3 : NATIVE_V2_XX;
    ret_bytes[NATIVE_V2_AT_CIPHER] = secret->cipher;
    ret_bytes[NATIVE_V2_AT_KNOWS] = NATIVE_V2_KNOWS_CIPHERS | NATIVE_V2_KNOWS_COOKIE;
}

/* Once more after a cookie: the same bytes, because all that they are made of is the same. So nothing of them has to be
 * kept, and nothing is said twice under one key that is not the same. */
size_t weir_v2_message1_write(struct native_v2_state *state, uint8_t *ret_bytes)
{
    struct weir_noise_handshake *noise = &state->u.handshake.noise;
    uint8_t *message = ret_bytes + NATIVE_V2_PREFACE_BYTES + NATIVE_V2_LENGTH_BYTES;
    size_t payload_len = state->has_peer_key ? WEIR_PROOF_BYTES : 0; /* IK */
    size_t len = 0;
    preface_write(state, state->preface);
    weir_noise_handshake_wipe(noise);
    int error = weir_v2_noise_begin(state);
    if (!error)
        error = weir_noise_write(noise, state->offer->secret->identity->proof, payload_len, message,
                                 NATIVE_V2_MESSAGE1_MAX, &len);
    if (error) {
        weir_v2_fail(state, weir_v2_reason_of(error), false);
        return 0;
    }
    memcpy(ret_bytes, state->preface, NATIVE_V2_PREFACE_BYTES);
    weir_le16_put(ret_bytes + NATIVE_V2_PREFACE_BYTES, (uint16_t)len);
    return NATIVE_V2_PREFACE_BYTES + NATIVE_V2_LENGTH_BYTES + len;
}

size_t weir_v2_message3_write(struct native_v2_state *state, uint8_t *ret_bytes)
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
        error = weir_v2_noise_end(state);
    if (error) {
        weir_v2_fail(state, weir_v2_reason_of(error), false);
        return 0;
    }
    weir_le16_put(ret_bytes, (uint16_t)message_len);
    return NATIVE_V2_LENGTH_BYTES + message_len;
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

/* A listener under load wants message 1 once more, with its cookie. An honest one asks once. */
static void cookie_feed(struct native_v2_state *state, const uint8_t *data, size_t len,
                        struct weir_feed *ret_feed)
{
    if (state->has_cookie) {
        weir_v2_fail(state, WEIR_R_BAD_HELLO, false);
        return;
    }
    if (!weir_v2_is_there(NATIVE_V2_ASK_BYTES, len, ret_feed))
        return;
    ret_feed->consumed = NATIVE_V2_ASK_BYTES;
    state->has_cookie = true;
    memcpy(state->u.handshake.cookie, data + NATIVE_V2_ANSWER_BYTES, NATIVE_V2_COOKIE_BYTES);
    state->out |= NATIVE_V2_OUT_COOKIE | NATIVE_V2_OUT_MESSAGE1;
}

/* The listener cannot open message 1 of IK: the key that we knew is not its own, or somebody on the way has changed
 * something. XX begins anew, with a key e of its own. It proves no less, so whoever made this up has gained nothing but a
 * round trip. */
static void again_feed(struct native_v2_state *state, struct weir_feed *ret_feed)
{
    static const char label[] = "weir-noise-xx-after-ik";
    const struct weir_piece piece = {label, sizeof label - 1};
    uint8_t *seed = state->u.handshake.seed;
    if (!state->has_peer_key) {
        weir_v2_fail(state, WEIR_R_BAD_HELLO, false);
        return;
    }
    if (!weir_hmac(state->offer->secret->crypto, WEIR_DIGEST_SHA256, seed, WEIR_KEY_BYTES, &piece,
                   1, seed)) {
        weir_v2_fail(state, WEIR_R_INTERNAL, false);
        return;
    }
    ret_feed->consumed = NATIVE_V2_ANSWER_BYTES;
    state->has_peer_key = false;
    state->was_ik = true;
    state->has_cookie = false; /* that one was for another message */
    state->out |= NATIVE_V2_OUT_MESSAGE1;
}

/* Message 2 of XX has a proof in front of what the listener offers; that of IK needs none, for the key in it is one that
 * was proved before. */
static uint16_t message2_judge(struct native_v2_state *state, const uint8_t *payload, bool is_ik)
{
    const uint8_t *offer = payload + (is_ik ? 0 : WEIR_PROOF_BYTES);
    uint16_t fault = is_ik ? 0 : weir_v2_proof_judge(state, payload);
    if (fault != 0)
        return fault;
    memcpy(state->peer_key, state->u.handshake.noise.rs, sizeof state->peer_key);
    state->has_peer_key = (offer[3] & NATIVE_V2_OFFERS_IK) != 0;
    return 0;
}

/* The answer and message 2. */
void weir_v2_message2_feed(struct native_v2_state *state, const uint8_t *data, size_t len,
                           struct weir_feed *ret_feed)
{
    uint8_t expected[NATIVE_V2_ANSWER_BYTES];
    uint16_t fault = WEIR_R_NOT_WEIR;
    size_t fixed_len = len < NATIVE_V2_AT_MARK ? len : NATIVE_V2_AT_MARK;
    weir_v2_mark_write(expected, NATIVE_V2_MARK_ANSWER);
    if (memcmp(data, expected, fixed_len) != 0) {
        weir_native_sniff(data, fixed_len, &fault); /* only to name it */
        weir_v2_fail(state, fault, false);
        return;
    }
    if (!weir_v2_is_there(NATIVE_V2_ANSWER_BYTES, len, ret_feed))
        return;
    if (data[NATIVE_V2_AT_MARK] == NATIVE_V2_MARK_AGAIN && !(state->out & NATIVE_V2_OUT_MESSAGE1)) {
        again_feed(state, ret_feed);
        return;
    }
    if (!weir_v2_is_there(NATIVE_V2_ANSWER_BYTES + NATIVE_V2_LENGTH_BYTES, len, ret_feed))
        return;
    if (data[NATIVE_V2_AT_MARK] == NATIVE_V2_MARK_REFUSAL) {
        ret_feed->consumed = NATIVE_V2_ANSWER_BYTES + 2;
        weir_v2_fail(state, refusal_read(data + NATIVE_V2_ANSWER_BYTES), false);
        state->is_fault_theirs = true; /* in clear: it names the end, whoever wrote it */
        return;
    }
    if (state->out &
        NATIVE_V2_OUT_MESSAGE1) { /* it has not been pulled: nobody can have answered */
        weir_v2_fail(state, WEIR_R_BAD_HELLO, false);
        return;
    }
    if (data[NATIVE_V2_AT_MARK] == NATIVE_V2_MARK_ASK) {
        cookie_feed(state, data, len, ret_feed);
        return;
    }
    bool is_ik = weir_v2_pattern_is_ik(state->preface[NATIVE_V2_AT_PATTERN]);
    size_t message_len = is_ik ? NATIVE_V2_MESSAGE2_IK_BYTES : NATIVE_V2_MESSAGE2_BYTES;
    size_t all = NATIVE_V2_ANSWER_BYTES + NATIVE_V2_LENGTH_BYTES + message_len;
    if (data[NATIVE_V2_AT_MARK] != NATIVE_V2_MARK_ANSWER ||
        weir_le16_get(data + NATIVE_V2_ANSWER_BYTES) != message_len) {
        weir_v2_fail(state, WEIR_R_BAD_HELLO, false);
        return;
    }
    if (!weir_v2_is_there(all, len, ret_feed))
        return;
    ret_feed->consumed = all;
    weir_wipe(state->u.handshake.seed, WEIR_KEY_BYTES); /* message 1 is not wanted again */
    uint8_t payload[WEIR_PROOF_BYTES + NATIVE_V2_OFFER_BYTES];
    size_t payload_len = 0;
    int error = weir_noise_read(&state->u.handshake.noise, data + all - message_len, message_len,
                                payload, sizeof payload, &payload_len);
    fault = error ? weir_v2_reason_of(error) : message2_judge(state, payload, is_ik);
    if (fault == 0 && is_ik) {
        error = weir_v2_noise_end(state);
        fault = error ? weir_v2_reason_of(error) : 0;
    }
    if (fault != 0) {
        weir_v2_fail(state, fault, false);
        if (fault != WEIR_R_INTERNAL && !is_ik) /* a listener in IK reads nothing but records now */
            state->out = NATIVE_V2_OUT_GIVE_UP; /* there are no keys for a record yet */
        return;
    }
    state->out |= is_ik ? NATIVE_V2_OUT_HELLO : NATIVE_V2_OUT_MESSAGE3;
    state->phase = NATIVE_V2_WAIT_HELLO;
}
