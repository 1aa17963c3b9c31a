/* Version 2 of the native wire, two ends in memory: the handshake, what it refuses, records. */
#include "native_fixture.h"
#include "noise_fixture.h"

#include <signal.h>

#include "proto/native_v2.h"

#define V2 (&weir_codec_native_v2)
#define WIRE_MAX 400000u
#define FRAMES 64u

struct v2_end {
    alignas(max_align_t) uint8_t state[sizeof(struct native_v2_state)];
    struct weir_identity identity;
    struct weir_secret secret;
    struct weir_offer offer;
    uint8_t in[4096];
    size_t in_len;
    bool is_ready;
    uint16_t fault;
};

struct v2_pair {
    struct weir_crypto crypto;
    struct v2_end dialer, listener;
    uint8_t network_key[2][WEIR_KEY_BYTES];
};

static struct native_v2_state *state_of(struct v2_end *end)
{
    return (struct native_v2_state *)(void *)end->state;
}

static void pair_open(struct v2_pair *pair)
{
    memset(pair, 0, sizeof *pair);
    cr_assert(weir_crypto_init(&pair->crypto));
    for (uint8_t i = 0; i < 2; i++) {
        struct v2_end *end = i ? &pair->listener : &pair->dialer;
        uint8_t secret[WEIR_KEY_BYTES];
        key_of((uint8_t)(i + 1), secret);
        cr_assert(weir_identity_init(&end->identity, &pair->crypto, secret));
        end->secret = (struct weir_secret){.crypto = &pair->crypto, .identity = &end->identity};
        end->offer = i ? listener_offer : dialer_offer;
        end->offer.secret = &end->secret;
        end->offer.frame_bytes_max = 65536;
        memcpy(end->offer.node_id, end->identity.proof, sizeof end->offer.node_id);
        key_of((uint8_t)(i + 21), pair->network_key[i]);
    }
}

static void pair_begin(struct v2_pair *pair, const uint8_t *expected)
{
    for (uint8_t i = 0; i < 2; i++) {
        struct v2_end *end = i ? &pair->listener : &pair->dialer;
        uint8_t seed[WEIR_KEY_BYTES];
        key_of((uint8_t)(i + 11), seed);
        memset(end->state, 0xA5, sizeof end->state); /* begin() must not count on zeros */
        V2->begin(end->state, &end->offer, i == 0);
        V2->arm(end->state, seed, i == 0 ? expected : NULL);
    }
}

static void pair_close(struct v2_pair *pair)
{
    for (int i = 0; i < 2; i++) {
        struct v2_end *end = i ? &pair->listener : &pair->dialer;
        V2->end(end->state);
        V2->end(end->state); /* twice is once */
        static const uint8_t zeros[WEIR_KEY_BYTES];
        cr_assert_arr_eq(state_of(end)->send.cipher.k, zeros, sizeof zeros, "wiped");
        cr_assert_arr_eq(state_of(end)->recv.cipher.k, zeros, sizeof zeros, "wiped");
        weir_identity_fini(&end->identity);
    }
    weir_crypto_fini(&pair->crypto);
}

/* Gives `end` bytes, `step` at a time, as a connection would. */
static void v2_take(struct v2_end *end, const uint8_t *bytes, size_t len, size_t step)
{
    struct weir_frame frames[FRAMES];
    struct weir_feed feed;
    for (size_t at = 0; at < len; at += step) {
        size_t take = len - at < step ? len - at : step;
        cr_assert_leq(end->in_len + take, sizeof end->in);
        memcpy(end->in + end->in_len, bytes + at, take);
        end->in_len += take;
        while (end->in_len > 0) {
            V2->feed(end->state, end->in, end->in_len, frames, FRAMES, &feed);
            cr_assert_leq(feed.consumed, end->in_len);
            cr_assert_eq(feed.frame_cnt, 0, "none during the handshake");
            cr_assert(feed.consumed > 0 || feed.need > end->in_len, "or it stands still");
            end->in_len -= feed.consumed;
            memmove(end->in, end->in + feed.consumed, end->in_len);
            end->is_ready = feed.is_ready;
            end->fault = feed.fault;
            if (feed.consumed == 0 || feed.is_ready || feed.fault)
                break;
        }
        if (end->is_ready || end->fault)
            break;
    }
}

static void (*change)(uint32_t turn, uint8_t *bytes, size_t *len);

/* Exchanges until neither has anything to say. */
static void pair_run(struct v2_pair *pair, size_t step)
{
    struct v2_end *from = &pair->dialer, *to = &pair->listener;
    uint32_t silent_cnt = 0;
    for (uint32_t turn = 0; turn < 10 && silent_cnt < 2; turn++) {
        uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
        size_t len = V2->pull(from->state, bytes, sizeof bytes);
        silent_cnt = len ? 0 : silent_cnt + 1;
        if (change)
            change(turn, bytes, &len);
        v2_take(to, bytes, len, step);
        struct v2_end *other = from;
        from = to;
        to = other;
    }
}

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
        pair_close(&pair);
    }
}

/* ---- records ------------------------------------------------------------------------------------- */

static uint8_t wire[WIRE_MAX];
static size_t wire_len;

/* Seals one frame as a record of its own, payload `fill`, onto the wire. */
static void record_put(struct v2_end *end, uint8_t kind, uint32_t aux, uint32_t len, uint8_t fill,
                       bool is_last_of_key)
{
    static uint8_t plain[NATIVE_V2_PLAIN_MAX];
    V2->frame_head(plain, kind, kind < NATIVE_HELLO ? 12 : NATIVE_CHANNEL_CONTROL, aux, NULL, len);
    memset(plain + NATIVE_V2_HEAD, fill, len);
    uint32_t all = NATIVE_V2_HEAD + len;
    cr_assert_leq(wire_len + all + 18, WIRE_MAX);
    /* In two pieces, out of place: as a borrowed payload is. */
    struct weir_seal_piece pieces[2] = {
        {plain, wire + wire_len + 2, NATIVE_V2_HEAD},
        {plain + NATIVE_V2_HEAD, wire + wire_len + 2 + NATIVE_V2_HEAD, len}};
    cr_assert(V2->seal(end->state, pieces, 2, is_last_of_key, wire + wire_len,
                       wire + wire_len + 2 + all));
    wire_len += all + 18;
}

/* Feeds the whole wire; returns how many frames came, the last one in `ret_last`. */
static uint32_t records_take(struct v2_end *end, uint32_t frame_max, struct weir_frame *ret_last)
{
    struct weir_frame frames[FRAMES];
    struct weir_feed feed;
    uint32_t cnt = 0;
    for (size_t at = 0; at < wire_len; at += feed.consumed) {
        V2->feed(end->state, wire + at, wire_len - at, frames, frame_max, &feed);
        cr_assert(feed.consumed > 0 || feed.need > wire_len - at);
        if (feed.frame_cnt) {
            cnt += feed.frame_cnt;
            *ret_last = frames[feed.frame_cnt - 1];
        }
        if (feed.consumed == 0)
            break;
    }
    return cnt;
}

static void pair_ready(struct v2_pair *pair, uint8_t cipher)
{
    pair_open(pair);
    pair->dialer.secret.cipher = cipher;
    pair_begin(pair, NULL);
    pair_run(pair, 4000);
    cr_assert(pair->dialer.is_ready && pair->listener.is_ready);
    wire_len = 0;
}

Test(native_v2, frames_come_out_as_they_went_in)
{
    for (uint8_t cipher = 0; cipher < WEIR_CIPHER_CNT; cipher++) {
        struct v2_pair pair;
        struct weir_frame last;
        pair_ready(&pair, cipher);
        for (uint32_t round = 0; round < 40; round++) {
            wire_len = 0;
            record_put(&pair.dialer, NATIVE_RUN, 1, 2 + round, 0, false);
            record_put(&pair.dialer, NATIVE_FIRST, 70000, NATIVE_V2_FRAME_BYTES_MAX, 7, false);
            cr_assert_eq(wire_len, 2 + round + 30 + 65536, "the largest record is 64 KiB");
            cr_assert_eq(records_take(&pair.listener, round % 2 ? 1 : FRAMES, &last), 2);
            cr_assert_eq(last.kind, WEIR_FRAME_FIRST);
            cr_assert_eq(last.aux, 70000);
            cr_assert_eq(last.len, NATIVE_V2_FRAME_BYTES_MAX);
            for (uint32_t i = 0; i < last.len; i++)
                cr_assert_eq(last.payload[i], 7);
        }
        pair_close(&pair);
    }
}

Test(native_v2, several_frames_of_a_record_come_out_one_by_one)
{
    struct v2_pair pair;
    struct weir_frame frames[FRAMES], last;
    struct weir_feed feed;
    uint8_t plain[10 * (NATIVE_V2_HEAD + 2)];
    pair_ready(&pair, 0);
    for (uint32_t i = 0; i < 10; i++) {
        uint8_t *at = plain + i * (NATIVE_V2_HEAD + 2);
        V2->frame_head(at, NATIVE_RUN, 12, 1, NULL, 2);
        at[NATIVE_V2_HEAD] = at[NATIVE_V2_HEAD + 1] = 0;
    }
    struct weir_seal_piece piece = {plain, wire + 2, sizeof plain};
    cr_assert(V2->seal(pair.dialer.state, &piece, 1, false, wire, wire + 2 + sizeof plain));
    wire_len = sizeof plain + 18;
    for (size_t len = 0; len < wire_len; len++) { /* nothing before all of it is there */
        V2->feed(pair.listener.state, wire, len, frames, FRAMES, &feed);
        cr_assert_eq(feed.frame_cnt, 0);
        cr_assert_eq(feed.consumed, 0);
        cr_assert_eq(feed.need, len < 2 ? 2 : wire_len);
    }
    cr_assert_eq(records_take(&pair.listener, 3, &last), 10);
    pair_close(&pair);
}

Test(native_v2, a_changed_reordered_or_replayed_record_breaks_the_stream)
{
    enum { CHANGED, REORDERED, REPLAYED, REFLECTED, CUT, CASES };
    for (int what = 0; what < CASES; what++) {
        for (uint32_t at = 0; at < (what == CHANGED ? 130u : 1u); at++) {
            struct v2_pair pair;
            struct weir_frame last = {0};
            pair_ready(&pair, 0);
            record_put(&pair.dialer, NATIVE_RUN, 1, 100, 0, false);
            size_t one = wire_len;
            record_put(&pair.dialer, NATIVE_RUN, 1, 100, 0, false);
            uint32_t good = what == REPLAYED;
            if (what == CHANGED)
                wire[at] ^= 4;
            else if (what == REORDERED)
                memmove(wire, wire + one, one);
            else if (what == REPLAYED)
                memcpy(wire + one, wire, one);
            else if (what == CUT)
                memmove(wire + one - 10, wire + one, one);
            /* A wrong mask may make a length that is waited for: so here is more. */
            memset(wire + wire_len, 0, 70000);
            wire_len += 70000;
            struct v2_end *reader = what == REFLECTED ? &pair.dialer : &pair.listener;
            uint32_t cnt = records_take(reader, FRAMES, &last);
            cr_assert_eq(cnt, good + 1, "case %d, byte %u: %u frames", what, at, cnt);
            cr_assert_eq(last.kind, WEIR_FRAME_FAULT, "case %d, byte %u", what, at);
            cr_assert_eq(last.fault, WEIR_R_BAD_RECORD);
            /* Nothing comes out any more, not even what is right. */
            cr_assert_eq(records_take(reader, FRAMES, &last), 0);
            pair_close(&pair);
        }
    }
}

Test(native_v2, what_is_malformed_inside_a_record_is_refused)
{
    static const struct {
        uint8_t kind;
        uint32_t aux, len;
        uint16_t fault;
    } cases[] = {
        {NATIVE_HELLO, 0, 0, WEIR_R_BAD_CONTROL},  {NATIVE_RUN, 0, 4, WEIR_R_BAD_RUN},
        {NATIVE_MORE, 0, 4, WEIR_R_BAD_FRAGMENT},  {99, 0, 0, WEIR_R_BAD_KIND},
        {NATIVE_REKEY, 1, 0, WEIR_R_BAD_CONTROL},  {NATIVE_REKEY, 0, 1, WEIR_R_BAD_CONTROL},
        {NATIVE_PING, 0, 2000, WEIR_R_BAD_LENGTH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct v2_pair pair;
        struct weir_frame last;
        pair_ready(&pair, 0);
        record_put(&pair.dialer, cases[i].kind, cases[i].aux, cases[i].len, 0, false);
        cr_assert_eq(records_take(&pair.listener, FRAMES, &last), 1);
        cr_assert_eq(last.kind, WEIR_FRAME_FAULT);
        cr_assert_eq(last.fault, cases[i].fault, "case %zu: %u", i, last.fault);
        pair_close(&pair);
    }
    /* Frames that do not fill their record exactly. */
    for (uint32_t cut = 1; cut < NATIVE_V2_HEAD + 4; cut++) {
        struct v2_pair pair;
        struct weir_frame last;
        uint8_t plain[NATIVE_V2_HEAD + 4] = {0};
        pair_ready(&pair, 0);
        V2->frame_head(plain, NATIVE_RUN, 12, 1, NULL, 4);
        struct weir_seal_piece piece = {plain, wire + 2, cut};
        cr_assert(V2->seal(pair.dialer.state, &piece, 1, false, wire, wire + 2 + cut));
        wire_len = cut + 18;
        cr_assert_eq(records_take(&pair.listener, FRAMES, &last), 1);
        cr_assert_eq(last.fault, cut < NATIVE_V2_HEAD ? WEIR_R_BAD_HEADER : WEIR_R_BAD_LENGTH);
        pair_close(&pair);
    }
}

/* ---- keys ---------------------------------------------------------------------------------------- */

Test(native_v2, a_key_is_changed_when_it_is_asked_for)
{
    struct v2_pair pair;
    struct weir_frame last;
    pair_ready(&pair, 1);
    for (uint32_t round = 1; round < 5; round++) {
        wire_len = 0;
        record_put(&pair.dialer, NATIVE_RUN, 1, 4, 0, false);
        record_put(&pair.dialer, NATIVE_REKEY, 0, 0, 0, true);
        record_put(&pair.dialer, NATIVE_RUN, 1, 4, 0, false);
        cr_assert_eq(records_take(&pair.listener, FRAMES, &last), 2);
        cr_assert_eq(last.kind, WEIR_FRAME_RUN);
        cr_assert_eq(state_of(&pair.dialer)->send.key_cnt, 1 + round);
        cr_assert_eq(state_of(&pair.listener)->recv.key_cnt, 1 + round);
    }
    pair_close(&pair);
}

Test(native_v2, a_key_is_changed_by_count_and_by_bytes_on_both_sides_at_once)
{
    struct v2_pair pair;
    struct weir_frame last;
    pair_ready(&pair, 0);
    for (int what = 0; what < 2; what++) {
        struct native_v2_lane *send = &state_of(&pair.dialer)->send;
        struct native_v2_lane *recv = &state_of(&pair.listener)->recv;
        uint64_t key_cnt = send->key_cnt;
        wire_len = 0;
        if (what == 0) { /* one record before the end of this key's, with the masks of that place */
            cr_assert(weir_v2_rekey(&pair.crypto, send) && weir_v2_rekey(&pair.crypto, recv));
            send->cipher.n = recv->cipher.n = NATIVE_V2_KEY_RECORDS_MAX - 1;
            memset(send->mask, 0, sizeof send->mask);
            memset(recv->mask, 0, sizeof recv->mask);
            key_cnt++;
        } else {
            send->bytes = recv->bytes = NATIVE_V2_KEY_BYTES_MAX - 1;
        }
        record_put(&pair.dialer, NATIVE_RUN, 1, 4, 0, false);
        cr_assert_eq(send->key_cnt, key_cnt + 1);
        cr_assert_eq(send->cipher.n, 0);
        record_put(&pair.dialer, NATIVE_RUN, 1, 4, 0, false);
        cr_assert_eq(records_take(&pair.listener, FRAMES, &last), 2);
        cr_assert_eq(last.kind, WEIR_FRAME_RUN);
        cr_assert_eq(recv->key_cnt, key_cnt + 1);
    }
    pair_close(&pair);
}

Test(native_v2, a_key_that_ends_for_two_reasons_is_changed_once)
{
    struct v2_pair pair;
    struct weir_frame last;
    pair_ready(&pair, 0);
    struct native_v2_lane *send = &state_of(&pair.dialer)->send;
    struct native_v2_lane *recv = &state_of(&pair.listener)->recv;
    uint64_t key_cnt = send->key_cnt;
    wire_len = 0;
    send->bytes = recv->bytes = NATIVE_V2_KEY_BYTES_MAX - 1;
    record_put(&pair.dialer, NATIVE_REKEY, 0, 0, 0, true);
    record_put(&pair.dialer, NATIVE_RUN, 1, 4, 0, false);
    cr_assert_eq(records_take(&pair.listener, FRAMES, &last), 1);
    cr_assert_eq(last.kind, WEIR_FRAME_RUN, "fault %u", last.fault);
    cr_assert_eq(send->key_cnt, key_cnt + 1);
    cr_assert_eq(recv->key_cnt, key_cnt + 1);
    pair_close(&pair);
}

Test(native_v2, a_counter_beyond_its_end_is_never_used, .signal = SIGABRT)
{
    struct v2_pair pair;
    pair_ready(&pair, 0);
    state_of(&pair.dialer)->send.cipher.n = NATIVE_V2_KEY_RECORDS_MAX;
    record_put(&pair.dialer, NATIVE_RUN, 1, 4, 0, false);
}

Test(native_v2, lengths_are_not_in_clear)
{
    struct v2_pair pair;
    uint32_t same_cnt = 0;
    pair_ready(&pair, 0);
    for (uint32_t i = 0; i < 200; i++) {
        wire_len = 0;
        record_put(&pair.dialer, NATIVE_RUN, 1, 4, 0, false);
        same_cnt += wire[0] == NATIVE_V2_HEAD + 4 + WEIR_TAG_BYTES && wire[1] == 0;
    }
    cr_assert_lt(same_cnt, 5);
    pair_close(&pair);
}

/* ---- vectors ------------------------------------------------------------------------------------- */

/* Reads the next line of tests/vectors/wire-v2.txt; returns how many bytes it has. */
static size_t vector_next(FILE *file, const char *who, uint8_t *ret_bytes, size_t cap)
{
    char line[8192], name[32], hex[8192];
    do
        cr_assert(fgets(line, sizeof line, file) != NULL);
    while (line[0] == '#');
    cr_assert_eq(sscanf(line, "%31s %8191s", name, hex), 2);
    cr_assert_str_eq(name, who);
    return hex_read(hex, ret_bytes, cap);
}

static void expect_pull(struct v2_end *from, struct v2_end *to, FILE *file, const char *who)
{
    uint8_t expected[4096], bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t len = vector_next(file, who, expected, sizeof expected);
    cr_assert_eq(V2->pull(from->state, bytes, sizeof bytes), len);
    cr_assert_arr_eq(bytes, expected, len, "what the %s sends", who);
    v2_take(to, bytes, len, 4000);
}

static void expect_record(struct v2_pair *pair, FILE *file, uint8_t *plain, uint32_t len,
                          bool is_last_of_key, uint32_t frame_cnt, struct weir_frame *ret_last)
{
    uint8_t expected[4096];
    size_t expected_len = vector_next(file, "dialer", expected, sizeof expected);
    struct weir_seal_piece piece = {plain, wire + 2, len};
    cr_assert(V2->seal(pair->dialer.state, &piece, 1, is_last_of_key, wire, wire + 2 + len));
    wire_len = len + 18;
    cr_assert_eq(wire_len, expected_len);
    cr_assert_arr_eq(wire, expected, expected_len);
    cr_assert_eq(records_take(&pair->listener, FRAMES, ret_last), frame_cnt);
}

Test(native_v2, the_conversation_of_the_documents)
{
    static const struct weir_channel_desc channel = {
        .id = 7, .weight = 1, .msg_bytes_max = 1000, .window_bytes = 4000};
    const char *root = getenv("WEIR_SRC_DIR"); /* set by ctest; by hand, run from the root */
    char path[4096];
    struct v2_pair pair;
    struct weir_frame last;
    uint8_t plain[64];
    snprintf(path, sizeof path, "%s/tests/vectors/wire-v2.txt", root ? root : ".");
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL, "%s", path);
    pair_open(&pair);
    for (int i = 0; i < 2; i++) {
        struct weir_offer *offer = i ? &pair.listener.offer : &pair.dialer.offer;
        offer->network_id = "weir";
        offer->user_agent = "vectors";
        offer->frame_bytes_max = 16384;
        offer->features = 0;
        offer->channels = &channel;
        offer->channel_cnt = 1;
        memset(offer->nonce, i ? 'L' : 'D', sizeof offer->nonce);
    }
    pair_begin(&pair, pair.listener.identity.proof);
    expect_pull(&pair.dialer, &pair.listener, file, "dialer");
    expect_pull(&pair.listener, &pair.dialer, file, "listener");
    expect_pull(&pair.dialer, &pair.listener, file, "dialer");
    expect_pull(&pair.listener, &pair.dialer, file, "listener");
    cr_assert(pair.dialer.is_ready && pair.listener.is_ready);

    V2->frame_head(plain, NATIVE_RUN, 7, 2, NULL, 10);
    memcpy(plain + NATIVE_V2_HEAD, "\3\0one\3\0two", 10);
    expect_record(&pair, file, plain, NATIVE_V2_HEAD + 10, false, 1, &last);
    cr_assert_arr_eq(last.payload, "\3\0one\3\0two", 10);
    uint32_t len = V2->control_write(plain, &(struct weir_control){.kind = WEIR_CONTROL_REKEY});
    expect_record(&pair, file, plain, len, true, 0, &last);
    V2->frame_head(plain, NATIVE_FIRST, 7, 3, NULL, 3);
    memcpy(plain + NATIVE_V2_HEAD, "six", 3);
    struct weir_control ping = {.kind = WEIR_CONTROL_PING, .value = 77};
    uint8_t frame[WEIR_CONTROL_OUT_MAX];
    len = V2->control_write(frame, &ping);
    memcpy(plain + NATIVE_V2_HEAD + 3, frame, len);
    expect_record(&pair, file, plain, NATIVE_V2_HEAD + 3 + len, false, 2, &last);
    cr_assert_eq(V2->control_read(&last, &ping), 0);
    cr_assert_eq(ping.value, 77);
    fclose(file);
    pair_close(&pair);
}
