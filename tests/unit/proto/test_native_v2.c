/* Version 2 of the native wire, two ends in memory: the handshake, and what it refuses. */
#include "v2_fixture.h"

/* ---- handshakes ---------------------------------------------------------------------------------- */

Test(native_v2, both_ends_agree_whatever_pieces_the_bytes_come_in)
{
    static const size_t steps[] = {1, 2, 7, 100, 4000};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        for (uint8_t variant = 0; variant < 4; variant++) {
            struct v2_pair pair;
            pair_open(&pair);
            pair.dialer.secret.cipher = variant & 1;
            if (variant & 2)
                pair.dialer.secret.network_key = pair.listener.secret.network_key =
                    pair.network_key[0];
            pair_begin(&pair, pair.listener.identity.proof);
            pair_run(&pair, steps[i]);
            cr_assert(pair.dialer.is_ready && pair.listener.is_ready, "%u %u", pair.dialer.fault,
                      pair.listener.fault);
            const struct weir_agreed *a = V2->agreed(pair.dialer.state);
            const struct weir_agreed *b = V2->agreed(pair.listener.state);
            cr_assert_eq(a->version, 2);
            cr_assert_eq(a->channel_cnt, b->channel_cnt);
            cr_assert_arr_eq(a->node_id, pair.listener.identity.proof, WEIR_KEY_BYTES);
            cr_assert_arr_eq(b->node_id, pair.dialer.identity.proof, WEIR_KEY_BYTES);
            cr_assert_leq(a->frame_bytes_max, NATIVE_V2_FRAME_BYTES_MAX);
            pair_close(&pair);
        }
    }
}

/* Whether a state has these 32 bytes anywhere. */
static bool has_bytes(const struct v2_end *end, const uint8_t *bytes)
{
    for (size_t at = 0; at + WEIR_KEY_BYTES <= sizeof end->state; at++) {
        if (memcmp(end->state + at, bytes, WEIR_KEY_BYTES) == 0)
            return true;
    }
    return false;
}

static void change_message3(uint32_t turn, uint8_t *bytes, size_t *len)
{
    if (turn == 2)
        bytes[*len - 1] ^= 1;
}

Test(native_v2, what_only_a_handshake_needs_is_gone_when_it_is_over)
{
    /* It lies where keys for records are later, and is longer than they are. */
    for (uint8_t variant = 0; variant < 2; variant++) {
        struct v2_pair pair;
        uint8_t seeds[2][WEIR_KEY_BYTES];
        pair_open(&pair);
        pair.dialer.secret.network_key = pair.listener.secret.network_key = pair.network_key[0];
        pair_begin(&pair, NULL);
        for (uint8_t i = 0; i < 2; i++) {
            struct v2_end *end = i ? &pair.listener : &pair.dialer;
            key_of((uint8_t)(i + 11), seeds[i]);
            cr_assert(has_bytes(end, seeds[i]), "it was armed with it");
        }
        if (variant == 1)
            change = change_message3;
        pair_run(&pair, 4000);
        change = NULL;
        cr_assert_eq(pair.listener.is_ready, variant == 0);
        for (uint8_t i = 0; i < 2; i++) {
            const struct v2_end *end = i ? &pair.listener : &pair.dialer;
            cr_assert_not(has_bytes(end, seeds[i]), "the private half of its ephemeral key");
            cr_assert_not(has_bytes(end, pair.network_key[0]), "the network's key");
        }
        pair_close(&pair);
    }
}

static uint16_t faults[2]; /* of the dialer, of the listener */

static void run_and_close(struct v2_pair *pair, const uint8_t *expected)
{
    pair_begin(pair, expected);
    pair_run(pair, 4000);
    faults[0] = pair->dialer.fault;
    faults[1] = pair->listener.fault;
    cr_assert_not(pair->dialer.is_ready && pair->listener.is_ready);
    pair_close(pair);
    change = NULL;
}

Test(native_v2, each_refusal_has_its_reason_on_both_sides)
{
    struct v2_pair pair;
    pair_open(&pair);
    run_and_close(&pair, pair.network_key[0]); /* another id was dialed */
    cr_assert_eq(faults[0], WEIR_R_WRONG_ID);

    pair_open(&pair);
    pair.dialer.offer.network_id = "another";
    run_and_close(&pair, NULL);
    cr_assert_eq(faults[0], WEIR_R_HANDSHAKE_CRYPTO, "the prologue has the network id");

    pair_open(&pair);
    pair.dialer.secret.network_key = pair.network_key[0];
    run_and_close(&pair, NULL);
    cr_assert_eq(faults[0], WEIR_R_NETWORK_KEY);
    cr_assert_eq(faults[1], WEIR_R_NETWORK_KEY);

    pair_open(&pair);
    pair.dialer.secret.network_key = pair.network_key[0];
    pair.listener.secret.network_key = pair.network_key[1];
    run_and_close(&pair, NULL);
    cr_assert_eq(faults[1], WEIR_R_HANDSHAKE_CRYPTO);

    pair_open(&pair);
    pair.listener.offer.channels = &dialer_channels[1]; /* one that the dialer lacks, then */
    pair.listener.offer.channel_cnt = 1;
    pair.dialer.offer.channel_cnt = 1;
    run_and_close(&pair, NULL);
    cr_assert_eq(faults[0], WEIR_R_NO_CHANNELS, "told in a record");
    cr_assert_eq(faults[1], WEIR_R_NO_CHANNELS);

    pair_open(&pair);
    weir_identity_fini(&pair.listener.identity);
    uint8_t secret[WEIR_KEY_BYTES];
    key_of(1, secret);
    cr_assert(weir_identity_init(&pair.listener.identity, &pair.crypto, secret));
    run_and_close(&pair, NULL);
    cr_assert_eq(faults[0], WEIR_R_SELF);

    pair_open(&pair);
    weir_identity_fini(&pair.listener.identity);
    key_of(9, secret);
    cr_assert(weir_identity_init(&pair.listener.identity, &pair.crypto, secret));
    pair.listener.identity.proof[40] ^= 1; /* not its signature */
    run_and_close(&pair, NULL);
    cr_assert_eq(faults[0], WEIR_R_BAD_IDENTITY);

    pair_open(&pair);
    key_of(8, secret);
    struct weir_identity other;
    cr_assert(weir_identity_init(&other, &pair.crypto, secret));
    memcpy(pair.dialer.identity.proof, other.proof, WEIR_PROOF_BYTES); /* somebody else's proof */
    weir_identity_fini(&other);
    run_and_close(&pair, NULL);
    cr_assert_eq(faults[1], WEIR_R_BAD_IDENTITY);
    cr_assert_eq(faults[0], WEIR_R_BAD_IDENTITY, "told in a record");
}

/* What an attacker in the middle changes. */
static uint32_t change_turn;
static size_t change_at;

static void change_bit(uint32_t turn, uint8_t *bytes, size_t *len)
{
    if (turn == change_turn && change_at < *len)
        bytes[change_at] ^= 1;
}

Test(native_v2, no_byte_of_the_handshake_can_be_changed)
{
    static const size_t lens[] = {50, 11 + NATIVE_V2_MESSAGE2_BYTES, 2 + NATIVE_V2_MESSAGE3_MIN,
                                  100};
    for (change_turn = 0; change_turn < 4; change_turn++) {
        for (change_at = 0; change_at < lens[change_turn]; change_at++) {
            struct v2_pair pair;
            pair_open(&pair);
            pair_begin(&pair, NULL);
            change = change_bit;
            pair_run(&pair, 4000);
            change = NULL;
            /* The one that reads it may go wrong at once, or wait for bytes that never come. */
            cr_assert_not(pair.dialer.is_ready && pair.listener.is_ready, "turn %u byte %zu",
                          change_turn, change_at);
            cr_assert(change_turn == 3 || !pair.dialer.is_ready);
            pair_close(&pair);
        }
    }
}

static void change_reflect(uint32_t turn, uint8_t *bytes, size_t *len)
{
    static uint8_t first[WEIR_HANDSHAKE_OUT_MAX];
    static size_t first_len;
    if (turn == 0) {
        memcpy(first, bytes, *len);
        first_len = *len;
    } else if (turn == 1) {
        memcpy(bytes, first, first_len);
        *len = first_len;
    }
}

Test(native_v2, its_own_bytes_sent_back_are_refused)
{
    struct v2_pair pair;
    pair_open(&pair);
    change = change_reflect;
    run_and_close(&pair, NULL);
    cr_assert_eq(faults[0], WEIR_R_BAD_HELLO);
}

#define TURNS 4u

static struct {
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t len;
} heard[TURNS];

static void change_nothing_and_listen(uint32_t turn, uint8_t *bytes, size_t *len)
{
    if (turn < TURNS) {
        memcpy(heard[turn].bytes, bytes, *len);
        heard[turn].len = *len;
    }
}

/* What the one side says is what it said in the handshake before: turns 0 and 2, or 1 and 3. */
static void change_replay(uint32_t turn, uint8_t *bytes, size_t *len)
{
    if (turn < TURNS && turn % 2 == change_turn) {
        memcpy(bytes, heard[turn].bytes, heard[turn].len);
        *len = heard[turn].len;
    }
}

/* Who has heard a whole handshake cannot hold it again with either side: what was said then is for an ephemeral key of
 * the other that is no more. With the same key (which no node has twice) it would be. */
Test(native_v2, what_was_said_in_another_handshake_is_refused)
{
    for (change_turn = 0; change_turn < 2; change_turn++) {
        for (uint8_t is_new = 0; is_new < 2; is_new++) {
            struct v2_pair pair;
            pair_open(&pair);
            pair_begin(&pair, NULL);
            change = change_nothing_and_listen;
            pair_run(&pair, 4000);
            cr_assert(pair.dialer.is_ready && pair.listener.is_ready);
            struct v2_end *deceived = change_turn == 0 ? &pair.listener : &pair.dialer;
            V2->end(pair.dialer.state);
            V2->end(pair.listener.state);
            pair.dialer.is_ready = pair.listener.is_ready = false;
            pair_begin(&pair, NULL);
            if (is_new) {
                uint8_t seed[WEIR_KEY_BYTES];
                key_of(77, seed);
                V2->begin(deceived->state, &deceived->offer, deceived == &pair.dialer);
                struct weir_arm arm = {.seed = seed, .from = (const uint8_t *)"x", .from_len = 1};
                V2->arm(deceived->state, &arm);
            }
            change = change_replay;
            pair_run(&pair, 4000);
            change = NULL;
            cr_assert_eq(deceived->is_ready, !is_new, "turn %u, new key %u", change_turn, is_new);
            cr_assert_eq(deceived->fault, is_new ? WEIR_R_HANDSHAKE_CRYPTO : 0);
            pair_close(&pair);
        }
    }
}

static void change_low_order(uint32_t turn, uint8_t *bytes, size_t *len)
{
    (void)len;
    size_t at = turn == 0 ? NATIVE_V2_PREFACE_BYTES + 2 : NATIVE_V2_ANSWER_BYTES + 2;
    if (turn == change_turn)
        memset(bytes + at, 0, WEIR_KEY_BYTES);
}

Test(native_v2, keys_of_low_order_are_refused_by_either_end)
{
    for (change_turn = 0; change_turn < 2; change_turn++) {
        struct v2_pair pair;
        pair_open(&pair);
        change = change_low_order;
        run_and_close(&pair, NULL);
        cr_assert_eq(faults[1 - change_turn], WEIR_R_BAD_KEY);
    }
}

Test(native_v2, sniff_tells_the_two_wires_and_strangers_apart)
{
    uint8_t bytes[16] = {0x89, 'W', 'E', 'I', 'R', '\r', '\n', 0x1A, 'S', 2, 2, 1, 0, 3};
    uint16_t reason = 0;
    for (size_t len = 0; len < 9; len++) {
        cr_assert_lt(V2->sniff(bytes, len, &reason), 0);
        cr_assert_lt(CODEC->sniff(bytes, len, &reason), 0);
    }
    cr_assert_eq(V2->sniff(bytes, 9, &reason), 1);
    cr_assert_eq(CODEC->sniff(bytes, 9, &reason), 0);
    cr_assert_eq(reason, WEIR_R_SECURE_REFUSED);
    bytes[8] = '?';
    cr_assert_eq(CODEC->sniff(bytes, 9, &reason), 1);
    cr_assert_eq(V2->sniff(bytes, 9, &reason), 0);
    cr_assert_eq(reason, WEIR_R_PLAIN_REFUSED);
    cr_assert_eq(V2->sniff((const uint8_t *)"GET / HTTP/1.1", 14, &reason), 0);
    cr_assert_eq(reason, WEIR_R_HTTP);
    cr_assert_eq(V2->sniff((const uint8_t *)"x", 1, &reason), 0);
    cr_assert_eq(reason, WEIR_R_NOT_WEIR);
}

Test(native_v2, a_plain_node_tells_a_dialer_of_version_2)
{
    struct v2_pair pair;
    struct end plain;
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    struct weir_feed feed;
    pair_open(&pair);
    pair_begin(&pair, NULL);
    size_t len = V2->pull(pair.dialer.state, bytes, sizeof bytes);
    end_begin(&plain, &listener_offer, false);
    CODEC->feed(plain.state, bytes, len, NULL, 0, &feed);
    cr_assert_eq(feed.fault, WEIR_R_SECURE_REFUSED);
    len = CODEC->pull(plain.state, bytes, sizeof bytes);
    cr_assert_eq(len, 11);
    v2_take(&pair.dialer, bytes, len, 1);
    cr_assert_eq(pair.dialer.fault, WEIR_R_SECURE_REFUSED);
    pair_close(&pair);
}

Test(native_v2, a_reason_in_clear_is_believed_only_when_it_is_a_possible_one)
{
    for (uint32_t reason = 0; reason < 300; reason++) {
        struct v2_pair pair;
        uint8_t bytes[11] = {0x89,
                             'W',
                             'E',
                             'I',
                             'R',
                             '\r',
                             '\n',
                             0x1A,
                             'n',
                             (uint8_t)reason,
                             (uint8_t)(reason >> 8)};
        uint8_t out[WEIR_HANDSHAKE_OUT_MAX];
        pair_open(&pair);
        pair_begin(&pair, NULL);
        V2->pull(pair.dialer.state, out, sizeof out);
        v2_take(&pair.dialer, bytes, sizeof bytes, 4);
        bool is_possible = reason == WEIR_R_WRONG_VERSION || reason == WEIR_R_SECURE_REFUSED ||
                           reason == WEIR_R_NETWORK_KEY || reason == WEIR_R_LIMIT_PEERS;
        cr_assert_eq(pair.dialer.fault, is_possible ? reason : WEIR_R_BAD_HELLO);
        cr_assert(pair.dialer.is_fault_theirs, "%u: it is in clear, so nobody's for sure", reason);
        pair_close(&pair);
    }
}

/* ---- the first record ---------------------------------------------------------------------------- */

/* Lets the dialer wait for the listener's hello, and gives it one frame as the first record instead. Returns what the
 * dialer makes of it. */
static uint16_t first_record(uint8_t kind, uint16_t channel, uint32_t aux, uint32_t len,
                             uint32_t more, size_t step)
{
    struct v2_pair pair;
    static uint8_t plain[4000], record[4018], said[WEIR_HANDSHAKE_OUT_MAX];
    pair_open(&pair);
    pair_begin(&pair, NULL);
    for (int i = 0; i < 3; i++) {
        struct v2_end *from = i % 2 ? &pair.listener : &pair.dialer;
        size_t said_len = V2->pull(from->state, said, sizeof said);
        v2_take(i % 2 ? &pair.dialer : &pair.listener, said, said_len, 4000);
    }
    cr_assert(pair.listener.is_ready && !pair.dialer.is_ready);
    memset(plain, 0, sizeof plain);
    V2->frame_head(plain, kind, channel, aux, NULL, len);
    uint32_t all = NATIVE_V2_HEAD + len + more;
    struct weir_seal_piece piece = {plain, record + WEIR_SEAL_HEAD, all};
    cr_assert(
        V2->seal(pair.listener.state, &piece, 1, false, record, record + WEIR_SEAL_HEAD + all));
    v2_take(&pair.dialer, record, all + 18, step);
    uint16_t fault = pair.dialer.fault;
    pair_close(&pair);
    return fault;
}

Test(native_v2, a_first_record_is_judged_the_same_in_any_pieces)
{
    enum { CONTROL = NATIVE_CHANNEL_CONTROL, LONGEST = NATIVE_HELLO_BYTES_MAX };
    static const size_t steps[] = {1, 100, 4000};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        size_t step = steps[i];
        cr_assert_eq(first_record(NATIVE_HELLO, CONTROL, 0, LONGEST, 0, step), WEIR_R_BAD_HELLO,
                     "it is read");
        cr_assert_eq(first_record(NATIVE_HELLO, CONTROL, 0, LONGEST + 1, 0, step),
                     WEIR_R_HANDSHAKE_BYTES, "it is not, in steps of %zu", step);
        cr_assert_eq(first_record(NATIVE_HELLO, CONTROL, 0, 0, 1, step), WEIR_R_BAD_HELLO);
        cr_assert_eq(first_record(NATIVE_HELLO, 7, 0, 0, 0, step), WEIR_R_BAD_HELLO);
        cr_assert_eq(first_record(NATIVE_HELLO, CONTROL, 1, 0, 0, step), WEIR_R_BAD_HELLO);
        cr_assert_eq(first_record(NATIVE_PING, CONTROL, 0, 8, 0, step), WEIR_R_BAD_HELLO);
        cr_assert_eq(first_record(NATIVE_GOODBYE, CONTROL, 0, 3, 0, step), WEIR_R_BAD_CONTROL);
    }
}
