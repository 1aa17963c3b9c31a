/* Version 2 of the native wire: records, frames in them, keys that change. */
#include "v2_fixture.h"

#include <signal.h>

Test(native_v2_records, frames_come_out_as_they_went_in)
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

Test(native_v2_records, several_frames_of_a_record_come_out_one_by_one)
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

Test(native_v2_records, a_changed_reordered_or_replayed_record_breaks_the_stream)
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

Test(native_v2_records, what_is_malformed_inside_a_record_is_refused)
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
        struct weir_frame last = {0};
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

Test(native_v2_records, a_key_is_changed_when_it_is_asked_for)
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
        cr_assert_eq(state_of(&pair.dialer)->u.records.send.key_cnt, 1 + round);
        cr_assert_eq(state_of(&pair.listener)->u.records.recv.key_cnt, 1 + round);
    }
    pair_close(&pair);
}

Test(native_v2_records, a_key_is_changed_by_count_and_by_bytes_on_both_sides_at_once)
{
    struct v2_pair pair;
    struct weir_frame last;
    pair_ready(&pair, 0);
    for (int what = 0; what < 2; what++) {
        struct native_v2_lane *send = &state_of(&pair.dialer)->u.records.send;
        struct native_v2_lane *recv = &state_of(&pair.listener)->u.records.recv;
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

Test(native_v2_records, a_key_that_ends_for_two_reasons_is_changed_once)
{
    struct v2_pair pair;
    struct weir_frame last;
    pair_ready(&pair, 0);
    struct native_v2_lane *send = &state_of(&pair.dialer)->u.records.send;
    struct native_v2_lane *recv = &state_of(&pair.listener)->u.records.recv;
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

Test(native_v2_records, a_counter_beyond_its_end_is_never_used, .signal = SIGABRT)
{
    struct v2_pair pair;
    pair_ready(&pair, 0);
    state_of(&pair.dialer)->u.records.send.cipher.n = NATIVE_V2_KEY_RECORDS_MAX;
    record_put(&pair.dialer, NATIVE_RUN, 1, 4, 0, false);
}

Test(native_v2_records, lengths_are_not_in_clear)
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
