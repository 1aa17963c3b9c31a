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

static void v2_arm(void *opaque, const struct weir_arm *arm)
{
    struct native_v2_state *state = opaque;
    memcpy(state->u.handshake.seed, arm->seed, sizeof state->u.handshake.seed);
    state->has_expected = arm->peer_id != NULL;
    if (arm->peer_id)
        memcpy(state->peer_id, arm->peer_id, sizeof state->peer_id);
    state->has_peer_key = state->is_dialer && arm->peer_id && arm->peer_key;
    if (state->has_peer_key)
        memcpy(state->peer_key, arm->peer_key, sizeof state->peer_key);
    WEIR_CHECK(arm->from_len <= WEIR_COOKIE_FROM_MAX);
    state->u.handshake.from_len = (uint8_t)arm->from_len;
    if (arm->from_len)
        memcpy(state->u.handshake.from, arm->from, arm->from_len);
}

static void v2_end(void *opaque)
{
    struct native_v2_state *state = opaque;
    if (!state->offer) /* never begun */
        return;
    if (weir_v2_is_noise(state))
        weir_v2_noise_wipe(state);
    if (state->has_records) {
        weir_v2_lane_wipe(&state->u.records.send);
        weir_v2_lane_wipe(&state->u.records.recv);
    }
    state->offer = NULL;
}

/* Unlike version 1's, these bytes cannot be made twice: a record has its number. So all goes at once. */
static size_t v2_pull(void *opaque, uint8_t *ret_bytes, size_t cap)
{
    struct native_v2_state *state = opaque;
    uint8_t *at = ret_bytes;
    if (state->out == 0)
        return 0;
    WEIR_CHECK(cap >= WEIR_HANDSHAKE_OUT_MAX);
    if (state->out & NATIVE_V2_OUT_COOKIE) {
        weir_v2_mark_write(at, state->is_dialer ? NATIVE_V2_MARK_BACK : NATIVE_V2_MARK_ASK);
        memcpy(at + NATIVE_V2_ANSWER_BYTES, state->u.handshake.cookie, NATIVE_V2_COOKIE_BYTES);
        at += NATIVE_V2_ASK_BYTES;
    }
    if (state->out & NATIVE_V2_OUT_MESSAGE1) {
        size_t len = weir_v2_message1_write(state, at);
        if (len == 0)
            return 0;
        at += len;
    }
    if (state->out & NATIVE_V2_OUT_REFUSAL) {
        weir_v2_mark_write(at, NATIVE_V2_MARK_REFUSAL);
        weir_le16_put(at + NATIVE_V2_ANSWER_BYTES, state->fault);
        at += NATIVE_V2_ANSWER_BYTES + sizeof state->fault;
    }
    if (state->out & NATIVE_V2_OUT_AGAIN) {
        weir_v2_mark_write(at, NATIVE_V2_MARK_AGAIN);
        at += NATIVE_V2_ANSWER_BYTES;
    }
    if ((state->out & NATIVE_V2_OUT_MESSAGE2) &&
        weir_v2_pattern_is_ik(state->preface[NATIVE_V2_AT_PATTERN])) {
        weir_v2_mark_write(at, NATIVE_V2_MARK_ANSWER);
        size_t len = weir_v2_message2_write(state, at + NATIVE_V2_ANSWER_BYTES);
        if (len == 0)
            return 0;
        at += NATIVE_V2_ANSWER_BYTES + len;
    } else if (state->out & NATIVE_V2_OUT_MESSAGE2) {
        weir_v2_mark_write(at, NATIVE_V2_MARK_ANSWER);
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
    if (state->out & NATIVE_V2_OUT_MESSAGE3) {
        size_t len = weir_v2_message3_write(state, at);
        if (len == 0)
            return 0;
        at += len;
    }
    if (state->out & NATIVE_V2_OUT_HELLO) {
        size_t len = weir_v2_hello_write(state, at);
        if (len == 0) { /* a record of frames in its place would be a broken wire */
            weir_v2_fail(state, WEIR_R_INTERNAL, false);
            return 0;
        }
        at += len;
    }
    if (state->out & NATIVE_V2_OUT_GOODBYE)
        at += weir_v2_goodbye_write(state, at);
    state->out = 0;
    return (size_t)(at - ret_bytes);
}

static uint16_t v2_fault(const void *opaque)
{
    const struct native_v2_state *state = opaque;
    return state->phase == NATIVE_V2_FAILED ? state->fault : 0;
}

static void v2_feed(void *opaque, uint8_t *data, size_t len, struct weir_frame *ret_frames,
                    uint32_t frame_max, struct weir_feed *ret_feed)
{
    struct native_v2_state *state = opaque;
    memset(ret_feed, 0, sizeof *ret_feed);
    ret_feed->need = 1;
    switch ((enum native_v2_phase)state->phase) { /* GCOVR_EXCL_BR_LINE: there is no other phase */
    case NATIVE_V2_WAIT_MESSAGE1:
        weir_v2_message1_feed(state, data, len, ret_feed);
        break;
    case NATIVE_V2_WAIT_MESSAGE2:
        weir_v2_message2_feed(state, data, len, ret_feed);
        break;
    case NATIVE_V2_WAIT_MESSAGE3:
        weir_v2_message3_feed(state, data, len, ret_feed);
        break;
    case NATIVE_V2_WAIT_HELLO:
        weir_v2_hello_feed(state, data, len, ret_feed);
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
        ret_feed->is_theirs = state->is_fault_theirs;
        ret_feed->consumed = len;
        ret_feed->need = 1;
    } else if (state->phase == NATIVE_V2_BROKEN) {
        ret_feed->consumed = len;
    }
}

/* Refusals, cookies and the word to go on with XX are no steps: who waits for one is answered at once, also where the
 * other side has gone since. */
static bool v2_is_step(const void *opaque, const uint8_t *data, size_t len)
{
    const struct native_v2_state *state = opaque;
    switch ((enum native_v2_phase)state->phase) { /* GCOVR_EXCL_BR_LINE: there is no other phase */
    case NATIVE_V2_WAIT_MESSAGE1:
        return len > NATIVE_V2_PREFACE_BYTES;
    case NATIVE_V2_WAIT_MESSAGE2:
        return len > NATIVE_V2_AT_MARK && data[NATIVE_V2_AT_MARK] == NATIVE_V2_MARK_ANSWER;
    case NATIVE_V2_WAIT_MESSAGE3:
        return len >= NATIVE_V2_LENGTH_BYTES && weir_le16_get(data) != 0;
    case NATIVE_V2_WAIT_HELLO:
    case NATIVE_V2_READY:
    case NATIVE_V2_BROKEN:
    case NATIVE_V2_FAILED:
        break;
    }
    return false;
}

/* ---- the rest ------------------------------------------------------------------------------------ */

static int v2_sniff(const uint8_t *data, size_t len, uint16_t *ret_reason)
{
    uint8_t expected[NATIVE_V2_ANSWER_BYTES];
    size_t fixed_len = len < NATIVE_V2_ANSWER_BYTES ? len : NATIVE_V2_ANSWER_BYTES;
    weir_v2_mark_write(expected, NATIVE_V2_MARK_DIALER);
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
    return state->phase == NATIVE_V2_READY || state->phase == NATIVE_V2_BROKEN
               ? &state->u.records.agreed
               : NULL;
}

static const uint8_t *v2_session(const void *opaque)
{
    const struct native_v2_state *state = opaque;
    return state->u.records.session;
}

static const uint8_t *v2_peer_key(const void *opaque)
{
    const struct native_v2_state *state = opaque;
    return state->is_dialer && state->has_peer_key ? state->peer_key : NULL;
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
    return weir_v2_seal(state->offer->secret->crypto, &state->u.records.send, pieces, piece_cnt,
                        is_last_of_key, ret_head, ret_tail);
}

_Static_assert(NATIVE_V2_ASK_BYTES + NATIVE_V2_PREFACE_BYTES + 2 * NATIVE_V2_LENGTH_BYTES +
                       NATIVE_V2_MESSAGE1_MAX + NATIVE_V2_MESSAGE3_MIN + NATIVE_HELLO_OUT_MAX <=
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
    /* IK, asked for a cookie and once more, then XX likewise. */
    .handshake_bytes_max = 4 * (NATIVE_V2_ASK_BYTES + NATIVE_V2_PREFACE_BYTES +
                                NATIVE_V2_LENGTH_BYTES + NATIVE_V2_MESSAGE1_MAX) +
                           NATIVE_V2_LENGTH_BYTES + NATIVE_V2_MESSAGE3_MAX,
    .sniff = v2_sniff,
    .begin = v2_begin,
    .arm = v2_arm,
    .is_step = v2_is_step,
    .end = v2_end,
    .pull = v2_pull,
    .fault = v2_fault,
    .feed = v2_feed,
    .agreed = v2_agreed,
    .session = v2_session,
    .peer_key = v2_peer_key,
    .verify = v2_verify,
    .frame_head = weir_v2_frame_head,
    .control_write = weir_v2_control_write,
    .control_read = weir_native_control_read,
    .seal = v2_seal,
    .record_bytes_max = NATIVE_V2_PLAIN_MAX,
};
