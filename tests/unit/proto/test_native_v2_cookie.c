/* A listener under load: who comes back with its cookie is served, and nobody else makes it do a curve operation. */
#include "v2_fixture.h"

static struct weir_gate gate;

/* Begins with a listener whose gate is `admission`. */
static void gate_begin(struct v2_pair *pair, enum weir_gate_admission admission, uint8_t variant)
{
    pair_open(pair);
    gate.admission = (uint8_t)admission;
    key_of(31, gate.secrets[0]);
    key_of(32, gate.secrets[1]);
    pair->dialer.secret.cipher = variant & 1;
    if (variant & 2)
        pair->dialer.secret.network_key = pair->listener.secret.network_key = pair->network_key[0];
    pair->listener.secret.gate = &gate;
    pair_begin(pair, pair->listener.identity.proof);
}

/* Gives `end` all at once; returns what became of a first message. */
static uint8_t knock_of(struct v2_end *end, uint8_t *bytes, size_t len)
{
    struct weir_frame frames[FRAMES];
    struct weir_feed feed;
    V2->feed(end->state, bytes, len, frames, FRAMES, &feed);
    end->is_ready = feed.is_ready;
    end->fault = feed.fault;
    cr_assert_eq(feed.consumed, feed.knock & WEIR_KNOCK_HELD ? 0 : len);
    return feed.knock;
}

static bool has_no_key(struct v2_end *end)
{
    return state_of(end)->u.handshake.noise.e.pair == NULL;
}

static uint8_t said[WEIR_HANDSHAKE_OUT_MAX]; /* the dialer's */
static size_t said_len;

/* As far as the dialer coming back with the cookie: that is in `said`. */
static void ask(struct v2_pair *pair, uint8_t variant)
{
    uint8_t answer[WEIR_HANDSHAKE_OUT_MAX];
    gate_begin(pair, WEIR_GATE_COOKIE, variant);
    said_len = V2->pull(pair->dialer.state, said, sizeof said);
    cr_assert_eq(knock_of(&pair->listener, said, said_len), WEIR_KNOCK_ASKED);
    cr_assert(has_no_key(&pair->listener));
    size_t len = V2->pull(pair->listener.state, answer, sizeof answer);
    cr_assert_eq(len, NATIVE_V2_ASK_BYTES);
    cr_assert_lt(len, said_len, "a stranger gets less than it gave");
    cr_assert_eq(knock_of(&pair->dialer, answer, len), 0);
    said_len = V2->pull(pair->dialer.state, said, sizeof said);
}

Test(native_v2_cookie, who_comes_back_with_it_is_served)
{
    static const size_t steps[] = {1, 3, 50, 4000};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        for (uint8_t variant = 0; variant < 4; variant++) {
            struct v2_pair pair;
            gate_begin(&pair, WEIR_GATE_COOKIE, variant);
            pair_run(&pair, steps[i]);
            cr_assert(pair.dialer.is_ready && pair.listener.is_ready, "%u %u", pair.dialer.fault,
                      pair.listener.fault);
            cr_assert(state_of(&pair.listener)->has_cookie && state_of(&pair.dialer)->has_cookie);
            cr_assert_arr_eq(V2->session(pair.dialer.state), V2->session(pair.listener.state),
                             WEIR_SESSION_BYTES);
            pair_close(&pair);
        }
    }
}

Test(native_v2_cookie, nobody_is_asked_while_the_gate_is_open)
{
    struct v2_pair pair;
    gate_begin(&pair, WEIR_GATE_OPEN, 0);
    said_len = V2->pull(pair.dialer.state, said, sizeof said);
    cr_assert_eq(knock_of(&pair.listener, said, said_len), WEIR_KNOCK_SERVED);
    cr_assert(!has_no_key(&pair.listener));
    pair_close(&pair);
}

/* Every byte of the cookie, of the preface that it comes back with, and of the key behind it. */
Test(native_v2_cookie, it_is_of_no_use_with_anything_changed)
{
    for (uint8_t variant = 0; variant < 4; variant += 2) {
        struct v2_pair pair;
        ask(&pair, variant);
        size_t all = said_len;
        pair_close(&pair);
        for (size_t at = 0; at < all; at++) {
            ask(&pair, variant);
            cr_assert_eq(said_len, all);
            said[at] ^= 1;
            bool is_bound =
                at >= NATIVE_V2_ANSWER_BYTES && at < NATIVE_V2_ASK_BYTES + NATIVE_V2_PREFACE_BYTES +
                                                         NATIVE_V2_LENGTH_BYTES + WEIR_KEY_BYTES;
            v2_take(&pair.listener, said, said_len, 4000);
            if (is_bound)
                cr_assert(has_no_key(&pair.listener), "byte %zu", at);
            cr_assert(pair.listener.fault || pair.listener.in_len, "byte %zu", at);
            pair_close(&pair);
        }
    }
}

Test(native_v2_cookie, it_is_bound_to_the_address)
{
    struct v2_pair pair;
    ask(&pair, 0);
    state_of(&pair.listener)->u.handshake.from[4] ^= 1;
    cr_assert_eq(knock_of(&pair.listener, said, said_len), WEIR_KNOCK_FORGED);
    cr_assert_eq(pair.listener.fault, WEIR_R_BAD_HELLO);
    cr_assert(has_no_key(&pair.listener));
    pair_close(&pair);
}

Test(native_v2_cookie, it_is_good_for_one_change_of_the_secret)
{
    for (uint8_t change_cnt = 0; change_cnt < 3; change_cnt++) {
        struct v2_pair pair;
        ask(&pair, 0);
        for (uint8_t i = 0; i < change_cnt; i++) {
            memcpy(gate.secrets[1], gate.secrets[0], sizeof gate.secrets[1]);
            key_of((uint8_t)(40 + i), gate.secrets[0]);
        }
        uint8_t knock = knock_of(&pair.listener, said, said_len);
        cr_assert_eq(knock,
                     change_cnt < 2 ? WEIR_KNOCK_COOKIE | WEIR_KNOCK_SERVED : WEIR_KNOCK_FORGED);
        pair_close(&pair);
    }
}

Test(native_v2_cookie, who_was_asked_does_not_get_by_without)
{
    struct v2_pair pair;
    uint8_t again[128];
    gate_begin(&pair, WEIR_GATE_COOKIE, 0);
    said_len = V2->pull(pair.dialer.state, said, sizeof said);
    memcpy(again, said, said_len);
    cr_assert_eq(knock_of(&pair.listener, said, said_len), WEIR_KNOCK_ASKED);
    gate.admission = WEIR_GATE_OPEN; /* not even when the load is over */
    v2_take(&pair.listener, again, said_len, 4000);
    cr_assert_eq(pair.listener.fault, WEIR_R_BAD_HELLO);
    cr_assert(pair.listener.in_len == 0 || has_no_key(&pair.listener));
    pair_close(&pair);
}

/* A dialer from before there were cookies: its preface says so. */
Test(native_v2_cookie, who_knows_no_cookies_is_held_and_served_later)
{
    struct v2_pair pair;
    gate_begin(&pair, WEIR_GATE_COOKIE, 0);
    said_len = V2->pull(pair.dialer.state, said, sizeof said);
    said[NATIVE_V2_AT_KNOWS] &= (uint8_t)~NATIVE_V2_KNOWS_COOKIE;
    cr_assert_eq(knock_of(&pair.listener, said, said_len), WEIR_KNOCK_HELD);
    cr_assert(has_no_key(&pair.listener));
    cr_assert_eq(knock_of(&pair.listener, said, said_len), WEIR_KNOCK_HELD, "as often as it is");
    gate.admission = WEIR_GATE_OPEN;
    cr_assert_eq(knock_of(&pair.listener, said, said_len), WEIR_KNOCK_SERVED);
    pair_close(&pair);
}

Test(native_v2_cookie, above_the_rate_who_brings_one_is_held)
{
    struct v2_pair pair;
    ask(&pair, 0);
    gate.admission = WEIR_GATE_SHUT;
    cr_assert_eq(knock_of(&pair.listener, said, said_len), WEIR_KNOCK_COOKIE | WEIR_KNOCK_HELD);
    cr_assert(has_no_key(&pair.listener));
    gate.admission = WEIR_GATE_OPEN;
    cr_assert_eq(knock_of(&pair.listener, said, said_len), WEIR_KNOCK_COOKIE | WEIR_KNOCK_SERVED);
    pair_run(&pair, 4000); /* the dialer has nothing to say before the listener's turn */
    cr_assert(pair.dialer.is_ready && pair.listener.is_ready);
    pair_close(&pair);
}

Test(native_v2_cookie, a_listener_that_asks_twice_is_none)
{
    struct v2_pair pair;
    uint8_t ask_bytes[NATIVE_V2_ASK_BYTES] = {0};
    ask(&pair, 0);
    weir_v2_mark_write(ask_bytes, NATIVE_V2_MARK_ASK);
    v2_take(&pair.dialer, ask_bytes, sizeof ask_bytes, 4000);
    cr_assert_eq(pair.dialer.fault, WEIR_R_BAD_HELLO);
    static const uint8_t zeros[WEIR_KEY_BYTES];
    cr_assert_arr_eq(state_of(&pair.dialer)->u.handshake.seed, zeros, sizeof zeros, "wiped");
    pair_close(&pair);
}

Test(native_v2_cookie, nobody_answers_what_was_not_sent_yet)
{
    struct v2_pair pair;
    uint8_t bytes[NATIVE_V2_ASK_BYTES + 400] = {0};
    gate_begin(&pair, WEIR_GATE_COOKIE, 0);
    said_len = V2->pull(pair.dialer.state, said, sizeof said);
    weir_v2_mark_write(bytes, NATIVE_V2_MARK_ASK);
    weir_v2_mark_write(bytes + NATIVE_V2_ASK_BYTES, NATIVE_V2_MARK_ANSWER);
    v2_take(&pair.dialer, bytes, sizeof bytes, 4000);
    cr_assert_eq(pair.dialer.fault, WEIR_R_BAD_HELLO);
    cr_assert_eq(V2->pull(pair.dialer.state, said, sizeof said), 0);
    pair_close(&pair);
}
