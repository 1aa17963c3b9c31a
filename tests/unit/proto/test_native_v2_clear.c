/* What of the encrypted handshake stands in clear: prefaces, refusals, reasons to give up, and bytes that come before
 * their time. Anybody on the way may have written any of it. */
#include "v2_fixture.h"

/* ---- the preface ---------------------------------------------------------------------------------- */

struct preface_case {
    uint8_t at, value; /* of a good preface, changed */
    uint16_t reason;
};

/* Feeds a listener a preface. Returns what it makes of it, in `ret_said` what it answers. */
static uint16_t preface_judged(struct v2_pair *pair, const struct preface_case *changes,
                               uint32_t change_cnt, uint8_t ret_said[WEIR_HANDSHAKE_OUT_MAX])
{
    uint8_t preface[WEIR_HANDSHAKE_OUT_MAX];
    pair_begin(pair, NULL);
    pair->listener.fault = 0;
    pair->listener.in_len = 0;
    V2->pull(pair->dialer.state, preface, sizeof preface);
    for (uint32_t i = 0; i < change_cnt; i++)
        preface[changes[i].at] = changes[i].value;
    v2_take(&pair->listener, preface, NATIVE_V2_PREFACE_BYTES, 5);
    size_t len = V2->pull(pair->listener.state, ret_said, WEIR_HANDSHAKE_OUT_MAX);
    cr_assert_eq(len, pair->listener.fault ? 11 : 0);
    return pair->listener.fault;
}

Test(native_v2_clear, each_rule_of_the_preface_has_its_reason)
{
    static const struct preface_case cases[] = {
        {NATIVE_V2_AT_VERSION_MIN, 3, WEIR_R_WRONG_VERSION},
        {NATIVE_V2_AT_VERSION_MAX, 1, WEIR_R_WRONG_VERSION},
        {NATIVE_V2_AT_VERSION_MIN, 0, WEIR_R_BAD_HELLO},
        {NATIVE_V2_AT_PATTERN, 0, WEIR_R_BAD_HELLO},
        {NATIVE_V2_AT_PATTERN, 5, WEIR_R_BAD_HELLO},
        {NATIVE_V2_AT_CIPHER, 2, WEIR_R_BAD_HELLO},
        {NATIVE_V2_AT_KNOWS, 0x82, WEIR_R_BAD_HELLO},
        {14, 1, WEIR_R_BAD_HELLO},
        {15, 1, WEIR_R_BAD_HELLO},
        {NATIVE_V2_AT_PATTERN, NATIVE_V2_XXPSK3, WEIR_R_NETWORK_KEY},
        {NATIVE_V2_AT_PATTERN, NATIVE_V2_IKPSK2, WEIR_R_NETWORK_KEY},
        {NATIVE_V2_AT_PATTERN, NATIVE_V2_IK, 0},
        {NATIVE_V2_AT_VERSION_MIN, 1, 0},
        {NATIVE_V2_AT_VERSION_MAX, 9, 0},
        {NATIVE_V2_AT_KNOWS, 0xFF, 0},
    };
    enum { CNT = sizeof cases / sizeof cases[0] };
    struct v2_pair pair;
    uint8_t said[WEIR_HANDSHAKE_OUT_MAX];
    pair_open(&pair);
    for (uint32_t i = 0; i < CNT; i++) {
        cr_assert_eq(preface_judged(&pair, &cases[i], 1, said), cases[i].reason, "case %u", i);
        V2->end(pair.dialer.state);
        V2->end(pair.listener.state);
        if (cases[i].reason == 0)
            continue;
        cr_assert_eq(said[NATIVE_V2_AT_MARK], NATIVE_V2_MARK_REFUSAL);
        cr_assert_eq(said[9] | said[10] << 8, cases[i].reason);
        /* Of two that are broken the first one in the list of docs/wire-v2.md is the reason. */
        for (uint32_t k = 0; k < i; k++) {
            struct preface_case both[2] = {cases[i], cases[k]};
            if (cases[k].at == cases[i].at)
                continue;
            cr_assert_eq(preface_judged(&pair, both, 2, said), cases[k].reason, "%u and %u", k, i);
            V2->end(pair.dialer.state);
            V2->end(pair.listener.state);
        }
    }
    pair_begin(&pair, NULL);
    pair_close(&pair);
}

Test(native_v2_clear, who_takes_nobody_says_so_whatever_else_is_wrong)
{
    static const struct preface_case newer = {NATIVE_V2_AT_VERSION_MIN, 3, 0};
    static const struct preface_case broken = {14, 1, 0};
    struct v2_pair pair;
    uint8_t said[WEIR_HANDSHAKE_OUT_MAX];
    pair_open(&pair);
    pair.listener.offer.refuse = WEIR_R_LIMIT_PEERS;
    cr_assert_eq(preface_judged(&pair, &broken, 1, said), WEIR_R_LIMIT_PEERS);
    V2->end(pair.dialer.state);
    V2->end(pair.listener.state);
    cr_assert_eq(preface_judged(&pair, &newer, 1, said), WEIR_R_WRONG_VERSION,
                 "it would not understand another answer");
    pair_close(&pair);
}

/* ---- giving up ------------------------------------------------------------------------------------ */

Test(native_v2_clear, a_dialer_gives_up_with_one_of_few_reasons)
{
    for (uint32_t reason = 0; reason < 300; reason++) {
        struct v2_pair pair;
        uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
        uint8_t give_up[NATIVE_V2_GIVE_UP_BYTES] = {0, 0, (uint8_t)reason, (uint8_t)(reason >> 8)};
        bool is_possible = reason == WEIR_R_HANDSHAKE_CRYPTO || reason == WEIR_R_BAD_KEY ||
                           reason == WEIR_R_BAD_IDENTITY || reason == WEIR_R_WRONG_ID ||
                           reason == WEIR_R_SELF;
        if (!is_possible && reason % 16 != 0)
            continue;
        pair_open(&pair);
        pair_begin(&pair, NULL);
        size_t len = V2->pull(pair.dialer.state, bytes, sizeof bytes);
        v2_take(&pair.listener, bytes, len, len);
        cr_assert_gt(V2->pull(pair.listener.state, bytes, sizeof bytes), 0);
        v2_take(&pair.listener, give_up, sizeof give_up, 1);
        cr_assert_eq(pair.listener.fault, is_possible ? reason : WEIR_R_BAD_HELLO, "%u", reason);
        cr_assert(pair.listener.is_fault_theirs, "%u: it is in clear, so nobody's for sure",
                  reason);
        cr_assert_eq(V2->pull(pair.listener.state, bytes, sizeof bytes), 0);
        pair_close(&pair);
    }
}

/* ---- before their time, and once more -------------------------------------------------------------- */

/* A dialer that knows the listener's key, or takes its own for it. */
static void ik_begin(struct v2_pair *pair, bool is_right)
{
    struct native_v2_state *dialer = state_of(&pair->dialer);
    const struct v2_end *known = is_right ? &pair->listener : &pair->dialer;
    pair_open(pair);
    pair_begin(pair, pair->listener.identity.proof);
    dialer->has_peer_key = true;
    memcpy(dialer->peer_key, known->identity.s.public_key, sizeof dialer->peer_key);
}

Test(native_v2_clear, a_word_to_begin_once_more_before_the_beginning_is_made_up)
{
    struct v2_pair pair;
    uint8_t again[NATIVE_V2_ANSWER_BYTES + 2] = {0x89, 'W', 'E', 'I', 'R', '\r', '\n', 0x1A, 'x'};
    ik_begin(&pair, true);
    v2_take(&pair.dialer, again, sizeof again, 1);
    cr_assert_eq(pair.dialer.fault, WEIR_R_BAD_HELLO);
    pair_close(&pair);
}

Test(native_v2_clear, a_record_before_the_answer_is_made_up)
{
    struct v2_pair pair;
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    ik_begin(&pair, true);
    size_t len = V2->pull(pair.dialer.state, bytes, sizeof bytes);
    v2_take(&pair.listener, bytes, len, len);
    cr_assert_eq(pair.listener.fault, 0);
    v2_take(&pair.listener, bytes, 1, 1); /* the answer waits in pull */
    cr_assert_eq(pair.listener.fault, WEIR_R_BAD_HELLO);
    cr_assert_eq(V2->pull(pair.listener.state, bytes, sizeof bytes), 0);
    pair_close(&pair);
}

Test(native_v2_clear, a_known_key_is_tried_once)
{
    struct v2_pair pair;
    uint8_t first[WEIR_HANDSHAKE_OUT_MAX], bytes[WEIR_HANDSHAKE_OUT_MAX];
    ik_begin(&pair, false);
    size_t len = V2->pull(pair.dialer.state, first, sizeof first);
    v2_take(&pair.listener, first, len, len);
    cr_assert_eq(V2->pull(pair.listener.state, bytes, sizeof bytes), NATIVE_V2_ANSWER_BYTES);
    cr_assert_eq(bytes[NATIVE_V2_AT_MARK], NATIVE_V2_MARK_AGAIN);
    v2_take(&pair.listener, first, len, len);
    cr_assert_eq(pair.listener.fault, WEIR_R_BAD_HELLO);
    pair_close(&pair);
}

Test(native_v2_clear, a_known_key_with_a_proof_that_does_not_hold_is_told_nothing)
{
    struct v2_pair pair;
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    ik_begin(&pair, true);
    pair.dialer.identity.proof[40] ^= 1;
    size_t len = V2->pull(pair.dialer.state, bytes, sizeof bytes);
    v2_take(&pair.listener, bytes, len, len);
    cr_assert_eq(pair.listener.fault, WEIR_R_BAD_IDENTITY);
    cr_assert_eq(V2->pull(pair.listener.state, bytes, sizeof bytes), 0);
    pair_close(&pair);
}

/* ---- lengths of records --------------------------------------------------------------------------- */

Test(native_v2_clear, no_length_in_front_of_a_record_goes_beyond_its_bounds)
{
    for (uint32_t len = 0; len < 0x10000; len = len == 20 ? 0xFFF0 : len + 1) {
        struct v2_pair pair;
        struct weir_frame frames[FRAMES];
        struct weir_feed feed;
        pair_ready(&pair, 0);
        record_put(&pair.dialer, NATIVE_RUN, 1, 2, 0, false);
        uint32_t was = NATIVE_V2_HEAD + 2 + WEIR_TAG_BYTES; /* its length, masked */
        wire[0] ^= (uint8_t)(was ^ len);
        wire[1] ^= (uint8_t)((was ^ len) >> 8);
        V2->feed(pair.listener.state, wire, 2, frames, FRAMES, &feed);
        if (len > WEIR_TAG_BYTES && len <= NATIVE_V2_RECORD_MAX) {
            cr_assert_eq(feed.frame_cnt, 0);
            cr_assert_eq(feed.need, 2 + len);
        } else {
            cr_assert_eq(feed.frame_cnt, 1, "%u", len);
            cr_assert_eq(frames[0].fault, WEIR_R_BAD_RECORD);
        }
        pair_close(&pair);
    }
}

/* ---- what the others ask a state ------------------------------------------------------------------- */

Test(native_v2_clear, a_step_is_one_once_its_bytes_tell)
{
    struct v2_pair pair;
    uint8_t first[WEIR_HANDSHAKE_OUT_MAX], second[WEIR_HANDSHAKE_OUT_MAX],
        third[WEIR_HANDSHAKE_OUT_MAX];
    static const uint8_t give_up[NATIVE_V2_GIVE_UP_BYTES] = {0, 0, 115};
    pair_open(&pair);
    pair_begin(&pair, NULL);
    cr_assert(V2->agreed(pair.dialer.state) == NULL);
    cr_assert(V2->peer_key(pair.dialer.state) == NULL, "it knows none yet");
    size_t len = V2->pull(pair.dialer.state, first, sizeof first);
    cr_assert_not(V2->is_step(pair.listener.state, first, NATIVE_V2_PREFACE_BYTES));
    cr_assert(V2->is_step(pair.listener.state, first, len));
    v2_take(&pair.listener, first, len, len);
    len = V2->pull(pair.listener.state, second, sizeof second);
    cr_assert_not(V2->is_step(pair.dialer.state, second, NATIVE_V2_AT_MARK));
    cr_assert(V2->is_step(pair.dialer.state, second, len));
    second[NATIVE_V2_AT_MARK] ^= 1;
    cr_assert_not(V2->is_step(pair.dialer.state, second, len));
    second[NATIVE_V2_AT_MARK] ^= 1;
    v2_take(&pair.dialer, second, len, len);
    len = V2->pull(pair.dialer.state, third, sizeof third);
    cr_assert_not(V2->is_step(pair.dialer.state, third, len), "a record is none");
    cr_assert_not(V2->is_step(pair.listener.state, third, 1));
    cr_assert_not(V2->is_step(pair.listener.state, give_up, sizeof give_up));
    cr_assert(V2->is_step(pair.listener.state, third, len));
    pair_close(&pair);
}

Test(native_v2_clear, what_was_agreed_holds_when_the_stream_breaks)
{
    struct v2_pair pair;
    struct weir_frame last;
    pair_ready(&pair, 0);
    const struct weir_agreed *agreed = V2->agreed(pair.listener.state);
    record_put(&pair.dialer, NATIVE_RUN, 1, 2, 0, false);
    wire[5] ^= 1;
    cr_assert_eq(records_take(&pair.listener, FRAMES, &last), 1);
    cr_assert_eq(last.fault, WEIR_R_BAD_RECORD);
    cr_assert(agreed && V2->agreed(pair.listener.state) == agreed);
    pair_close(&pair);
}
