/* The side that was dialed: what it takes, message 1 and its answer, message 3. */
#include "proto/native_v2.h"

#include <string.h>

#include "engine/base/check.h"
#include "proto/native_bytes.h"

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
        (preface[NATIVE_V2_AT_KNOWS] >> cipher & 1) == 0 || preface[14] != 0 || preface[15] != 0 ||
        pattern < NATIVE_V2_XX || pattern > NATIVE_V2_PATTERN_LAST ||
        (state->was_ik && weir_v2_pattern_is_ik(pattern)))
        return WEIR_R_BAD_HELLO;
    if (weir_v2_pattern_has_psk(pattern) != (state->offer->secret->network_key != NULL))
        return WEIR_R_NETWORK_KEY;
    return 0;
}

static size_t message1_bytes(uint8_t pattern)
{
    switch ((enum native_v2_pattern)pattern) { /* GCOVR_EXCL_BR_LINE: others were refused */
    case NATIVE_V2_XX:
        break;
    case NATIVE_V2_XXPSK3:
        return NATIVE_V2_MESSAGE1_BYTES + WEIR_TAG_BYTES;
    case NATIVE_V2_IK:
    case NATIVE_V2_IKPSK2:
        return NATIVE_V2_MESSAGE1_IK_BYTES;
    }
    return NATIVE_V2_MESSAGE1_BYTES;
}

/* Goes on after message 1 of IK, or asks for XX. Who wrote that message may have done so long ago: somebody else can send
 * it again, and gets an answer that it cannot read. So the peer is not up before its first record. */
static void ik_judge(struct native_v2_state *state, int error, const uint8_t *proof)
{
    if (error == WEIR_NOISE_FORGED) { /* it was meant for another key, or was changed */
        weir_noise_handshake_wipe(&state->u.handshake.noise);
        state->was_ik = true;
        state->has_cookie = false;
        state->out |= NATIVE_V2_OUT_AGAIN;
        return;
    }
    weir_wipe(state->u.handshake.seed, sizeof state->u.handshake.seed);
    uint16_t fault = error ? weir_v2_reason_of(error) : weir_v2_proof_judge(state, proof);
    if (fault != 0) {
        weir_v2_fail(state, fault, false);
        return;
    }
    state->out |= NATIVE_V2_OUT_MESSAGE2 | NATIVE_V2_OUT_HELLO;
    state->phase = NATIVE_V2_WAIT_HELLO;
}

size_t weir_v2_message2_write(struct native_v2_state *state, uint8_t *ret_bytes)
{
    uint8_t offer[NATIVE_V2_OFFER_BYTES];
    size_t len = 0;
    weir_v2_offer_write(offer);
    int error =
        weir_noise_write(&state->u.handshake.noise, offer, sizeof offer,
                         ret_bytes + NATIVE_V2_LENGTH_BYTES, NATIVE_V2_MESSAGE2_IK_BYTES, &len);
    if (!error)
        error = weir_v2_noise_end(state);
    if (error) {
        weir_v2_fail(state, weir_v2_reason_of(error), false);
        return 0;
    }
    weir_le16_put(ret_bytes, (uint16_t)len);
    return NATIVE_V2_LENGTH_BYTES + len;
}

/* Whether a stranger's first bytes may be a preface still; if not, the handshake is over. */
static bool is_preface(struct native_v2_state *state, const uint8_t *data, size_t len)
{
    uint16_t fault = 0;
    size_t fixed_len = len < NATIVE_V2_ANSWER_BYTES ? len : NATIVE_V2_ANSWER_BYTES;
    if (weir_codec_native_v2.sniff(data, fixed_len, &fault) != 0)
        return true;
    weir_v2_fail(state, fault, false);
    return false;
}

/* Whether what was asked for is there: a cookie in front of the preface. */
static bool is_back(struct native_v2_state *state, const uint8_t *data, size_t len,
                    struct weir_feed *ret_feed)
{
    uint8_t expected[NATIVE_V2_ANSWER_BYTES];
    weir_v2_mark_write(expected, NATIVE_V2_MARK_BACK);
    if (!weir_v2_is_there(NATIVE_V2_ASK_BYTES, len, ret_feed))
        return false;
    if (memcmp(data, expected, sizeof expected) == 0)
        return true;
    weir_v2_fail(state, WEIR_R_BAD_HELLO, false);
    return false;
}

/* The listener: preface and message 1. All curve operations up to the answer happen here, once. */
void weir_v2_message1_feed(struct native_v2_state *state, const uint8_t *data, size_t len,
                           struct weir_feed *ret_feed)
{
    struct weir_noise_handshake *noise = &state->u.handshake.noise;
    const struct weir_secret *secret = state->offer->secret;
    const uint8_t *cookie = state->has_cookie ? data + NATIVE_V2_ANSWER_BYTES : NULL;
    size_t front = cookie ? NATIVE_V2_ASK_BYTES : 0;
    uint16_t fault = 0;
    bool is_told;
    if (cookie && !is_back(state, data, len, ret_feed))
        return;
    if (!is_preface(state, data + front, len - front))
        return;
    if (!weir_v2_is_there(front + NATIVE_V2_PREFACE_BYTES, len, ret_feed))
        return;
    memcpy(state->preface, data + front, NATIVE_V2_PREFACE_BYTES);
    fault = preface_judge(state, &is_told);
    if (fault != 0) {
        weir_v2_fail(state, fault, is_told);
        return;
    }
    bool is_ik = weir_v2_pattern_is_ik(state->preface[NATIVE_V2_AT_PATTERN]);
    size_t message1_len = message1_bytes(state->preface[NATIVE_V2_AT_PATTERN]);
    size_t head = front + NATIVE_V2_PREFACE_BYTES + NATIVE_V2_LENGTH_BYTES;
    size_t all = head + message1_len;
    if (!weir_v2_is_there(head, len, ret_feed))
        return;
    if (weir_le16_get(data + head - NATIVE_V2_LENGTH_BYTES) != message1_len) {
        weir_v2_fail(state, WEIR_R_HANDSHAKE_BYTES, false);
        return;
    }
    if (!weir_v2_is_there(all, len, ret_feed))
        return;
    ret_feed->consumed = all;
    const struct weir_piece message1 = {data + head, message1_len};
    if (!weir_v2_knock(state, &message1, cookie, ret_feed)) {
        if (ret_feed->knock & WEIR_KNOCK_HELD)
            ret_feed->consumed = 0;
        return;
    }

    uint8_t payload[WEIR_PROOF_BYTES + NATIVE_V2_OFFER_BYTES] = {0};
    size_t payload_len = 0, message_len = 0;
    int error = weir_v2_noise_begin(state);
    if (is_ik) {
        if (!error)
            error = weir_noise_read(noise, data + head, message1_len, payload, sizeof payload,
                                    &payload_len);
        ik_judge(state, error, payload);
        return;
    }
    weir_wipe(state->u.handshake.seed, sizeof state->u.handshake.seed);
    if (!error)
        error = weir_noise_read(noise, data + head, message1_len, payload, sizeof payload,
                                &payload_len);
    memcpy(payload, secret->identity->proof, WEIR_PROOF_BYTES);
    weir_v2_offer_write(payload + WEIR_PROOF_BYTES);
    if (!error)
        error = weir_noise_write(noise, payload, sizeof payload, state->u.handshake.message2,
                                 sizeof state->u.handshake.message2, &message_len);
    if (error) {
        weir_v2_fail(state, weir_v2_reason_of(error), false);
        return;
    }
    WEIR_CHECK(message_len == NATIVE_V2_MESSAGE2_BYTES);
    state->out |= NATIVE_V2_OUT_MESSAGE2;
    state->phase = NATIVE_V2_WAIT_MESSAGE3;
}

/* The listener: the dialer's reason to stop, in clear. Anybody on the way may have written it, as he may cut the
 * connection; it names the end and does nothing else. */
static void give_up_feed(struct native_v2_state *state, const uint8_t *data, size_t len,
                         struct weir_feed *ret_feed)
{
    if (!weir_v2_is_there(NATIVE_V2_GIVE_UP_BYTES, len, ret_feed))
        return;
    uint16_t reason = weir_le16_get(data + NATIVE_V2_LENGTH_BYTES);
    bool is_known = reason == WEIR_R_HANDSHAKE_CRYPTO || reason == WEIR_R_BAD_KEY ||
                    reason == WEIR_R_BAD_IDENTITY || reason == WEIR_R_WRONG_ID ||
                    reason == WEIR_R_SELF;
    ret_feed->consumed = NATIVE_V2_GIVE_UP_BYTES;
    weir_v2_fail(state, is_known ? reason : WEIR_R_BAD_HELLO, false);
    state->is_fault_theirs = true; /* an unknown reason, too, may be anybody's */
}

/* The listener: message 3, which says who the dialer is and what it offers. */
void weir_v2_message3_feed(struct native_v2_state *state, const uint8_t *data, size_t len,
                           struct weir_feed *ret_feed)
{
    uint8_t payload[WEIR_PROOF_BYTES + NATIVE_HELLO_BYTES_MAX];
    size_t payload_len = 0;
    if (!weir_v2_is_there(NATIVE_V2_LENGTH_BYTES, len, ret_feed))
        return;
    size_t message_len = weir_le16_get(data);
    if (message_len == 0) {
        give_up_feed(state, data, len, ret_feed);
        return;
    }
    if (message_len < NATIVE_V2_MESSAGE3_MIN || message_len > NATIVE_V2_MESSAGE3_MAX) {
        weir_v2_fail(state, WEIR_R_HANDSHAKE_BYTES, false);
        return;
    }
    if (!weir_v2_is_there(NATIVE_V2_LENGTH_BYTES + message_len, len, ret_feed))
        return;
    ret_feed->consumed = NATIVE_V2_LENGTH_BYTES + message_len;
    int error = weir_noise_read(&state->u.handshake.noise, data + NATIVE_V2_LENGTH_BYTES,
                                message_len, payload, sizeof payload, &payload_len);
    uint16_t fault = error ? weir_v2_reason_of(error) : weir_v2_proof_judge(state, payload);
    if (error) {
        weir_v2_fail(state, fault, false);
        return;
    }
    error = weir_v2_noise_end(state);
    if (error) {
        weir_v2_fail(state, weir_v2_reason_of(error), false);
        return;
    }
    if (fault == 0)
        fault = weir_v2_hello_judge(state, payload + WEIR_PROOF_BYTES,
                                    (uint32_t)(payload_len - WEIR_PROOF_BYTES));
    if (fault != 0) {
        weir_v2_fail(state, fault, true);
        return;
    }
    state->out |= NATIVE_V2_OUT_HELLO;
    state->phase = NATIVE_V2_READY;
}
