/* A dialer that knows the listener's static key: a round trip less; and one that knows a wrong one: XX after all. */
#include "v2_fixture.h"

#define VARIANTS 4u /* cipher, network key */

static struct weir_gate gate;

/* Begins with a dialer that expects the listener's id and takes `key` for its static key; NULL: it knows none. */
static void ik_begin(struct v2_pair *pair, uint8_t variant, const uint8_t *key)
{
    uint8_t seed[WEIR_KEY_BYTES];
    pair_open(pair);
    pair->dialer.secret.cipher = variant & 1;
    if (variant & 2)
        pair->dialer.secret.network_key = pair->listener.secret.network_key = pair->network_key[0];
    pair_begin(pair, pair->listener.identity.proof);
    key_of(11, seed);
    V2->begin(pair->dialer.state, &pair->dialer.offer, true);
    V2->arm(pair->dialer.state, &(struct weir_arm){.seed = seed,
                                                   .peer_id = pair->listener.identity.proof,
                                                   .peer_key = key});
}

static const uint8_t *static_of(struct v2_end *end)
{
    return end->identity.s.public_key;
}

static uint8_t pattern_of(struct v2_end *end)
{
    return state_of(end)->preface[NATIVE_V2_AT_PATTERN];
}

static void expect_agreed(struct v2_pair *pair, const char *what)
{
    cr_assert(pair->dialer.is_ready && pair->listener.is_ready, "%s: %u %u", what,
              pair->dialer.fault, pair->listener.fault);
    cr_assert_arr_eq(V2->session(pair->dialer.state), V2->session(pair->listener.state),
                     WEIR_SESSION_BYTES);
    cr_assert_arr_eq(V2->agreed(pair->dialer.state)->node_id, pair->listener.identity.proof,
                     WEIR_KEY_BYTES);
    cr_assert_arr_eq(V2->agreed(pair->listener.state)->node_id, pair->dialer.identity.proof,
                     WEIR_KEY_BYTES);
    const uint8_t *key = V2->peer_key(pair->dialer.state);
    cr_assert(key && memcmp(key, static_of(&pair->listener), WEIR_KEY_BYTES) == 0);
    cr_assert(V2->peer_key(pair->listener.state) == NULL);
}

static uint32_t said_cnt; /* messages with something in them */

static void count_said(uint32_t turn, uint8_t *bytes, size_t *len)
{
    (void)turn;
    (void)bytes;
    said_cnt += *len != 0;
}

Test(native_v2_ik, both_ends_agree_whatever_pieces_the_bytes_come_in)
{
    static const size_t steps[] = {1, 3, 60, 4000};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        for (uint8_t variant = 0; variant < VARIANTS; variant++) {
            struct v2_pair pair;
            pair_open(&pair); /* only for the key */
            uint8_t key[WEIR_KEY_BYTES];
            memcpy(key, static_of(&pair.listener), sizeof key);
            pair_close(&pair);
            ik_begin(&pair, variant, key);
            said_cnt = 0;
            change = count_said;
            pair_run(&pair, steps[i]);
            change = NULL;
            expect_agreed(&pair, "IK");
            cr_assert_eq(pattern_of(&pair.dialer), variant & 2 ? NATIVE_V2_IKPSK2 : NATIVE_V2_IK);
            cr_assert_eq(said_cnt, 3, "there, back, and the dialer's hello");
            pair_close(&pair);
        }
    }
}

Test(native_v2_ik, the_dialer_is_ready_after_one_round_trip)
{
    for (int knows = 0; knows < 2; knows++) {
        struct v2_pair pair;
        uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
        pair_open(&pair);
        uint8_t key[WEIR_KEY_BYTES];
        memcpy(key, static_of(&pair.listener), sizeof key);
        pair_close(&pair);
        ik_begin(&pair, 0, knows ? key : NULL);
        for (int trip = 1; !pair.dialer.is_ready; trip++) {
            cr_assert_leq(trip, knows ? 1 : 2);
            size_t len = V2->pull(pair.dialer.state, bytes, sizeof bytes);
            v2_take(&pair.listener, bytes, len, 4000);
            len = V2->pull(pair.listener.state, bytes, sizeof bytes);
            v2_take(&pair.dialer, bytes, len, 4000);
        }
        cr_assert_eq(pair.listener.is_ready, !knows,
                     "not before it has heard of the dialer's keys");
        pair_run(&pair, 4000);
        expect_agreed(&pair, "in the end");
        pair_close(&pair);
    }
}

/* What the listener has not said itself it does not take: a recorded first message makes nobody come up. */
Test(native_v2_ik, a_first_message_that_is_sent_again_brings_nobody_up)
{
    struct v2_pair pair;
    uint8_t said[WEIR_HANDSHAKE_OUT_MAX], key[WEIR_KEY_BYTES], seed[WEIR_KEY_BYTES];
    pair_open(&pair);
    memcpy(key, static_of(&pair.listener), sizeof key);
    pair_close(&pair);
    ik_begin(&pair, 0, key);
    size_t len = V2->pull(pair.dialer.state, said, sizeof said);
    V2->end(pair.listener.state);
    for (uint8_t again = 0; again < 2; again++) {
        uint8_t answer[WEIR_HANDSHAKE_OUT_MAX], hello[WEIR_HANDSHAKE_OUT_MAX];
        key_of((uint8_t)(60 + again), seed);
        V2->begin(pair.listener.state, &pair.listener.offer, false);
        V2->arm(pair.listener.state, &(struct weir_arm){.seed = seed});
        pair.listener.in_len = 0;
        v2_take(&pair.listener, said, len, 4000);
        cr_assert(!pair.listener.is_ready && pair.listener.fault == 0);
        size_t answer_len = V2->pull(pair.listener.state, answer, sizeof answer);
        if (again == 0) { /* who wrote it */
            v2_take(&pair.dialer, answer, answer_len, 4000);
            size_t hello_len = V2->pull(pair.dialer.state, hello, sizeof hello);
            v2_take(&pair.listener, hello, hello_len, 4000);
            cr_assert(pair.listener.is_ready);
            pair.listener.is_ready = false;
        } else { /* who heard it */
            memset(hello, 0x5A, 200);
            v2_take(&pair.listener, hello, 200, 4000);
            cr_assert(!pair.listener.is_ready);
        }
        if (again == 0)
            V2->end(pair.listener.state);
    }
    pair_close(&pair);
}

Test(native_v2_ik, a_key_that_is_not_the_listener_s_leads_to_xx)
{
    for (uint8_t variant = 0; variant < VARIANTS; variant++) {
        for (int is_loaded = 0; is_loaded < 2; is_loaded++) {
            struct v2_pair pair;
            uint8_t stale[WEIR_KEY_BYTES];
            pair_open(&pair);
            memcpy(stale, static_of(&pair.dialer), sizeof stale); /* a key, but another one */
            pair_close(&pair);
            ik_begin(&pair, variant, stale);
            gate.admission = is_loaded ? WEIR_GATE_COOKIE : WEIR_GATE_OPEN;
            pair.listener.secret.gate = &gate;
            pair_run(&pair, 4000);
            expect_agreed(&pair, "XX");
            cr_assert_eq(pattern_of(&pair.listener), variant & 2 ? NATIVE_V2_XXPSK3 : NATIVE_V2_XX);
            cr_assert(state_of(&pair.listener)->was_ik && state_of(&pair.dialer)->was_ik);
            cr_assert_eq(state_of(&pair.dialer)->has_cookie, is_loaded);
            pair_close(&pair);
        }
    }
}

Test(native_v2_ik, who_is_not_the_one_that_was_dialed_is_found_out_by_xx)
{
    struct v2_pair pair;
    uint8_t other[WEIR_KEY_BYTES], key[WEIR_KEY_BYTES];
    struct weir_identity stranger;
    pair_open(&pair);
    key_of(50, other);
    cr_assert(weir_identity_init(&stranger, &pair.crypto, other));
    memcpy(key, stranger.s.public_key, sizeof key);
    pair_begin(&pair, NULL);
    key_of(11, other);
    V2->end(pair.dialer.state);
    V2->begin(pair.dialer.state, &pair.dialer.offer, true);
    V2->arm(pair.dialer.state,
            &(struct weir_arm){.seed = other, .peer_id = stranger.proof, .peer_key = key});
    pair_run(&pair, 4000);
    cr_assert_eq(pair.dialer.fault, WEIR_R_WRONG_ID);
    cr_assert_eq(pair.listener.fault, WEIR_R_WRONG_ID);
    weir_identity_fini(&stranger);
    pair_close(&pair);
}

Test(native_v2_ik, under_load_it_needs_a_cookie_too)
{
    for (uint8_t variant = 0; variant < VARIANTS; variant++) {
        struct v2_pair pair;
        uint8_t key[WEIR_KEY_BYTES];
        pair_open(&pair);
        memcpy(key, static_of(&pair.listener), sizeof key);
        pair_close(&pair);
        ik_begin(&pair, variant, key);
        gate.admission = WEIR_GATE_COOKIE;
        pair.listener.secret.gate = &gate;
        pair_run(&pair, 4000);
        expect_agreed(&pair, "with a cookie");
        cr_assert(state_of(&pair.listener)->has_cookie);
        cr_assert(weir_v2_pattern_is_ik(pattern_of(&pair.listener)));
        pair_close(&pair);
    }
}

static uint32_t change_turn;
static size_t change_at;

static void change_bit(uint32_t turn, uint8_t *bytes, size_t *len)
{
    if (turn == change_turn && change_at < *len)
        bytes[change_at] ^= 1;
}

/* Whatever is changed on the way, they do not end up with IK; with XX they may, which nobody can have changed. */
Test(native_v2_ik, no_byte_can_be_changed)
{
    static const size_t lens[] = {NATIVE_V2_PREFACE_BYTES + 2 + NATIVE_V2_MESSAGE1_IK_BYTES,
                                  11 + NATIVE_V2_MESSAGE2_IK_BYTES + 60, 60};
    struct v2_pair pair;
    uint8_t key[WEIR_KEY_BYTES];
    pair_open(&pair);
    memcpy(key, static_of(&pair.listener), sizeof key);
    pair_close(&pair);
    for (change_turn = 0; change_turn < 3; change_turn++) {
        for (change_at = 0; change_at < lens[change_turn]; change_at++) {
            ik_begin(&pair, 0, key);
            change = change_bit;
            pair_run(&pair, 4000);
            change = NULL;
            if (pair.dialer.is_ready && pair.listener.is_ready) {
                cr_assert_eq(pattern_of(&pair.dialer), NATIVE_V2_XX, "turn %u byte %zu",
                             change_turn, change_at);
                expect_agreed(&pair, "XX");
            } else {
                cr_assert(change_turn != 2 || !pair.listener.is_ready);
            }
            pair_close(&pair);
        }
    }
}

static void change_again(uint32_t turn, uint8_t *bytes, size_t *len)
{
    (void)turn;
    if (*len >= NATIVE_V2_ANSWER_BYTES && bytes[NATIVE_V2_AT_MARK] == NATIVE_V2_MARK_ANSWER) {
        bytes[NATIVE_V2_AT_MARK] = NATIVE_V2_MARK_AGAIN;
        *len = NATIVE_V2_ANSWER_BYTES;
    }
}

/* Somebody on the way says "again": to a dialer of XX it means nothing, and a listener of IK hears no preface. */
Test(native_v2_ik, again_cannot_be_made_up)
{
    for (int knows = 0; knows < 2; knows++) {
        struct v2_pair pair;
        uint8_t key[WEIR_KEY_BYTES];
        pair_open(&pair);
        memcpy(key, static_of(&pair.listener), sizeof key);
        pair_close(&pair);
        ik_begin(&pair, 0, knows ? key : NULL);
        change = change_again;
        pair_run(&pair, 4000);
        change = NULL;
        cr_assert(!pair.dialer.is_ready && !pair.listener.is_ready);
        pair_close(&pair);
    }
}
