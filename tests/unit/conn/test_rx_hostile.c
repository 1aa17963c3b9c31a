#include "tests/unit/conn/peer.h"

#define CHANNEL 10 /* the first channel's id */

struct hostile {
    const char *what;
    void (*say)(struct peer *peer);
    uint16_t reason;
};

static void say_bad_channel(struct peer *peer)
{
    peer_run(peer, 99, 1, 4, 1);
}

static void say_channel_not_agreed(struct peer *peer)
{
    peer_run(peer, CHANNEL + 1, 1, 4, 1); /* the box has it, this peer did not offer it */
}

static void say_fragment_of_bad_channel(struct peer *peer)
{
    peer_fragment(peer, 99, 4000, 0, 10, 1);
}

static void say_credit_overrun(struct peer *peer)
{
    /* The window is 16,384: 16,000 at once are fine, 400 more are not. */
    peer_fragment(peer, CHANNEL, 16001, 0, 15000, 1);
    peer_fragment(peer, CHANNEL, 16001, 15000, 1001, 1);
    for (uint32_t i = 0; i < 20; i++)
        peer_run(peer, CHANNEL, 4, 2000, 1);
}

static void say_credit_overrun_by_one(struct peer *peer)
{
    /* Half a message gives nothing back: 16,383 of the window's 16,384 are used, and two more are not. */
    peer_fragment(peer, CHANNEL, 16384, 0, 16383, 1);
    peer_frame(peer, WEIR_FRAME_MORE, CHANNEL, 16383, "12", 2);
}

static void say_first_too_big(struct peer *peer)
{
    peer_frame(peer, WEIR_FRAME_FIRST, CHANNEL, 16385, "12345", 5);
}

static void say_first_of_4_gib(struct peer *peer)
{
    peer_frame(peer, WEIR_FRAME_FIRST, CHANNEL, UINT32_MAX, "12345", 5);
}

static void say_message_too_big_in_run(struct peer *peer)
{
    peer_run(peer, CHANNEL + 2, 1, 101, 1); /* its maximum is 100 */
}

static void say_more_without_first(struct peer *peer)
{
    peer_frame(peer, WEIR_FRAME_MORE, CHANNEL, 4, "12345", 5);
}

static void say_more_after_the_end(struct peer *peer)
{
    peer_fragment(peer, CHANNEL, 10, 0, 10, 7); /* delivered */
    peer_frame(peer, WEIR_FRAME_MORE, CHANNEL, 10, "1", 1);
}

static void say_more_with_a_gap(struct peer *peer)
{
    peer_fragment(peer, CHANNEL, 10, 0, 3, 1);
    peer_frame(peer, WEIR_FRAME_MORE, CHANNEL, 4, "1", 1);
}

static void say_more_again(struct peer *peer)
{
    peer_fragment(peer, CHANNEL, 10, 0, 3, 1);
    peer_fragment(peer, CHANNEL, 10, 3, 3, 1);
    peer_fragment(peer, CHANNEL, 10, 3, 3, 1);
}

static void say_more_past_the_end(struct peer *peer)
{
    peer_fragment(peer, CHANNEL, 10, 0, 3, 1);
    peer_frame(peer, WEIR_FRAME_MORE, CHANNEL, 3, "12345678", 8);
}

static void say_more_on_another_channel(struct peer *peer)
{
    peer_fragment(peer, CHANNEL, 10, 0, 3, 1);
    peer_frame(peer, WEIR_FRAME_MORE, CHANNEL + 2, 3, "1234567", 7);
}

static void say_first_amid(struct peer *peer)
{
    peer_fragment(peer, CHANNEL, 10, 0, 3, 1);
    peer_fragment(peer, CHANNEL, 10, 0, 3, 1);
}

static void say_run_amid(struct peer *peer)
{
    peer_fragment(peer, CHANNEL, 10, 0, 3, 1);
    peer_run(peer, CHANNEL, 1, 3, 1);
}

static void say_empty_fragments(struct peer *peer)
{
    peer_fragment(peer, CHANNEL, 10, 0, 3, 1);
    peer_frame(peer, WEIR_FRAME_MORE, CHANNEL, 3, "", 0);
}

static void say_first_of_nothing(struct peer *peer)
{
    peer_frame(peer, WEIR_FRAME_FIRST, CHANNEL, 0, "", 0);
}

static void say_first_longer_than_its_message(struct peer *peer)
{
    peer_frame(peer, WEIR_FRAME_FIRST, CHANNEL, 2, "123", 3);
}

static void say_run_that_overruns(struct peer *peer)
{
    peer_frame(peer, WEIR_FRAME_RUN, CHANNEL, 2, "\1\0a\5\0b", 6);
}

static void say_run_with_a_rest(struct peer *peer)
{
    peer_frame(peer, WEIR_FRAME_RUN, CHANNEL, 1, "\1\0a\1\0b", 6);
}

static void say_run_of_too_many(struct peer *peer)
{
    peer_frame(peer, WEIR_FRAME_RUN, CHANNEL, 3, "\1\0a\1\0b", 6);
}

static void say_run_with_half_a_prefix(struct peer *peer)
{
    peer_frame(peer, WEIR_FRAME_RUN, CHANNEL, 2, "\1\0a\1", 4);
}

static void say_empty_run(struct peer *peer)
{
    peer_frame(peer, WEIR_FRAME_RUN, CHANNEL, 0, "", 0);
}

static void say_unknown_critical(struct peer *peer)
{
    peer_frame(peer, 0x42, CHANNEL, 1, "1", 1);
}

static void say_broken_payload(struct peer *peer)
{
    peer_run(peer, CHANNEL, 1, 100, 1);
    peer->outbox[peer->out_len - 1] ^= 1;
}

static void say_broken_fragment(struct peer *peer)
{
    peer_fragment(peer, CHANNEL, 100, 0, 60, 1);
    peer_fragment(peer, CHANNEL, 100, 60, 40, 1);
    peer->outbox[peer->out_len - 60] ^=
        0x80; /* in the first's payload's end or the second's head */
    peer->outbox[peer->out_len - 60] ^= 0x80;
    peer->outbox[WEIR_NATIVE_HEAD + 59] ^= 4;
}

static void say_broken_header(struct peer *peer)
{
    peer_run(peer, CHANNEL, 1, 100, 1);
    peer->outbox[10] ^= 1;
}

static void say_broken_magic(struct peer *peer)
{
    peer_raw(peer, "GET / HTTP/1.1\r\n\r\n", 18);
}

static void say_too_long(struct peer *peer)
{
    static const uint8_t bytes[65537];
    peer_frame(peer, WEIR_FRAME_RUN, CHANNEL, 1, bytes, 65536);
    /* One byte more than a frame may have, with a right header check: made from a right one. */
    peer->out_len = 0;
    uint8_t *head = peer_room(peer, WEIR_NATIVE_HEAD);
    weir_codec_native.frame_head(head, WEIR_FRAME_RUN, CHANNEL, 1, bytes, 60001);
}

static void say_bad_control(struct peer *peer)
{
    peer_frame(peer, 0x11, 0xFFFF, 0, "1234567", 7); /* a ping of 7 bytes */
}

static void say_credit_for_strangers(struct peer *peer)
{
    peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_CREDIT,
                                              .credit_cnt = 2,
                                              .credits = {{CHANNEL, 1 << 20}, {99, 1 << 20}}});
}

static void say_hello_again(struct peer *peer)
{
    peer_frame(peer, 0x10, 0xFFFF, 0, "hello", 5);
}

static const struct hostile hostiles[] = {
    {"bad channel", say_bad_channel, WEIR_R_BAD_CHANNEL},
    {"channel not agreed", say_channel_not_agreed, WEIR_R_BAD_CHANNEL},
    {"fragment of a bad channel", say_fragment_of_bad_channel, WEIR_R_BAD_CHANNEL},
    {"credit overrun", say_credit_overrun, WEIR_R_CREDIT},
    {"credit overrun by one", say_credit_overrun_by_one, WEIR_R_CREDIT},
    {"first too big", say_first_too_big, WEIR_R_MESSAGE_TOO_BIG},
    {"first of 4 GiB", say_first_of_4_gib, WEIR_R_MESSAGE_TOO_BIG},
    {"message too big in a run", say_message_too_big_in_run, WEIR_R_MESSAGE_TOO_BIG},
    {"more without first", say_more_without_first, WEIR_R_BAD_FRAGMENT},
    {"more after the end", say_more_after_the_end, WEIR_R_BAD_FRAGMENT},
    {"more with a gap", say_more_with_a_gap, WEIR_R_BAD_FRAGMENT},
    {"more again", say_more_again, WEIR_R_BAD_FRAGMENT},
    {"more past the end", say_more_past_the_end, WEIR_R_BAD_FRAGMENT},
    {"more on another channel", say_more_on_another_channel, WEIR_R_BAD_FRAGMENT},
    {"first amid", say_first_amid, WEIR_R_BAD_FRAGMENT},
    {"run amid", say_run_amid, WEIR_R_BAD_FRAGMENT},
    {"empty fragments", say_empty_fragments, WEIR_R_BAD_FRAGMENT},
    {"first of nothing", say_first_of_nothing, WEIR_R_BAD_FRAGMENT},
    {"first longer than its message", say_first_longer_than_its_message, WEIR_R_BAD_FRAGMENT},
    {"run that overruns", say_run_that_overruns, WEIR_R_BAD_RUN},
    {"run with a rest", say_run_with_a_rest, WEIR_R_BAD_RUN},
    {"run of too many", say_run_of_too_many, WEIR_R_BAD_RUN},
    {"run with half a prefix", say_run_with_half_a_prefix, WEIR_R_BAD_RUN},
    {"empty run", say_empty_run, WEIR_R_BAD_RUN},
    {"unknown critical kind", say_unknown_critical, WEIR_R_BAD_KIND},
    {"broken payload", say_broken_payload, WEIR_R_BAD_CHECKSUM},
    {"broken fragment", say_broken_fragment, WEIR_R_BAD_CHECKSUM},
    {"broken header", say_broken_header, WEIR_R_BAD_HEADER},
    {"broken magic", say_broken_magic, WEIR_R_BAD_MAGIC},
    {"too long", say_too_long, WEIR_R_BAD_LENGTH},
    {"bad control", say_bad_control, WEIR_R_BAD_CONTROL},
    {"credit for strangers", say_credit_for_strangers, WEIR_R_BAD_CHANNEL},
    {"hello again", say_hello_again, WEIR_R_BAD_CONTROL},
};
#define HOSTILE_CNT (sizeof(hostiles) / sizeof(hostiles[0]))

static struct box *hostile_box(void)
{
    struct box *box = solo_new(3);
    box->cfg.frame_bytes_max = 60000;
    box->channels[0].recv_bytes_max = 16384;
    box->channels[0].msg_bytes_max = 16384;
    box->channels[2].msg_bytes_max = 100;
    solo_open(box);
    return box;
}

/* Channels 10 and 12 are common, 11 is the box's alone; `limits` of the peer are its own. */
static struct peer *hostile_peer(struct box *box)
{
    struct peer *peer = peer_new(box, true);
    peer->descs[1] = peer->descs[2];
    peer->offer.channel_cnt = 2;
    peer_shake(peer);
    return peer;
}

static void expect_thrown_out(struct peer *peer, const struct hostile *hostile, uint32_t msg_cnt)
{
    struct box *box = peer->box;
    cr_assert_eq(box->end_cnt, 1, "%s: %u ends", hostile->what, box->end_cnt);
    cr_assert_eq(box_last_reason(box), hostile->reason, "%s: reason %u", hostile->what,
                 box_last_reason(box));
    cr_assert(box->ends[0].was_ready);
    cr_assert_eq(box->hub.metrics.closes[hostile->reason], 1);
    cr_assert_eq(box->msg_cnt, msg_cnt, "%s: %u messages", hostile->what, box->msg_cnt);
    peer_listen(peer);
    const struct weir_control *bye = peer_heard(peer, WEIR_CONTROL_GOODBYE, 0);
    cr_assert_not_null(bye, "%s: no goodbye", hostile->what);
    cr_assert_eq(bye->reason, hostile->reason);
    cr_assert_eq(peer->frames[peer->frame_cnt - 1].control.kind, WEIR_CONTROL_GOODBYE,
                 "the last word");
    peer_hang_up(peer);
    cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
    cr_assert_eq(box_pool_stats(box).used_cnt, 0, "%s: buffers are left", hostile->what);
    cr_assert_eq(peer->script->lent_cnt, 0);
}

Test(rx_hostile, a_hostile_frame_ends_the_connection_and_nothing_after_it_is_delivered)
{
    static const size_t chunks[] = {0, 1, 7, 33};
    for (size_t c = 0; c < 4; c++) {
        for (size_t i = 0; i < HOSTILE_CNT; i++) {
            struct box *box = hostile_box();
            struct peer *peer = hostile_peer(box);
            peer_run(peer, CHANNEL + 2, 2, 9, 50); /* good, before */
            size_t good = peer->out_len;
            uint8_t before[256];
            memcpy(before, peer->outbox, good);
            peer->out_len = 0; /* what is said may look at its own bytes from the beginning */
            hostiles[i].say(peer);
            size_t bad = peer->out_len;
            peer_raw(peer, before, good);
            memmove(peer->outbox + good, peer->outbox, bad);
            memcpy(peer->outbox, before, good);
            peer_run(peer, CHANNEL + 2, 1, 9, 60); /* good, after */
            peer_fragment(peer, CHANNEL + 2, 20, 0, 20, 61);
            peer_say(peer, chunks[c]);
            uint32_t msg_cnt = 2;
            if (hostiles[i].say == say_more_after_the_end || hostiles[i].say == say_credit_overrun)
                msg_cnt = box->msg_cnt; /* its good part counts, and only that */
            cr_assert_leq(msg_cnt, 16, "%s", hostiles[i].what);
            box_expect_msg(box, 0, 2, 9, 50);
            box_expect_msg(box, 1, 2, 9, 51);
            for (uint32_t m = 2; m < box->msg_cnt; m++)
                cr_assert_eq(box->msgs[m].channel_idx, 0, "%s", hostiles[i].what);
            expect_thrown_out(peer, &hostiles[i], msg_cnt);
            peer_free(peer);
            solo_free(box);
        }
    }
}

Test(rx_hostile, a_hostile_peer_does_not_disturb_another)
{
    for (size_t i = 0; i < HOSTILE_CNT; i++) {
        struct box *box = hostile_box();
        struct script_io *script = script_of(box->io);
        struct peer *bad = hostile_peer(box);
        struct peer *good = hostile_peer(box);
        /* In one turn, so that the frames of both are verified together. */
        peer_fragment(good, CHANNEL, 500, 0, 300, 1);
        script_recv(script, good->sock, good->outbox, good->out_len);
        good->out_len = 0;
        hostiles[i].say(bad);
        script_recv(script, bad->sock, bad->outbox, bad->out_len);
        bad->out_len = 0;
        peer_fragment(good, CHANNEL, 500, 300, 200, 1);
        peer_say(good, 0);
        box_expect_msg(box, box->msg_cnt - 1, 0, 500, 1);
        cr_assert_eq(box->msgs[box->msg_cnt - 1].conn, good->conn);
        cr_assert_eq(good->conn->state, WEIR_CONN_READY);
        cr_assert_eq(box_last_reason(box), hostiles[i].reason, "%s", hostiles[i].what);
        peer_free(bad);
        peer_free(good);
        solo_free(box);
    }
}

Test(rx_hostile, the_pool_s_end_closes_the_one_who_asked_and_no_other)
{
    struct box *box = solo_new(1);
    box->cfg.pool_bytes_max = 1 << 20;
    solo_open(box);
    struct peer *bad = peer_ready(box);
    struct peer *good = peer_ready(box);
    peer_fragment(good, CHANNEL, 100000, 0, 50000, 1);
    peer_say(good, 0);
    peer_fragment(bad, CHANNEL, 1000000, 0, 10, 1);
    peer_say(bad, 0);
    cr_assert_eq(box->end_cnt, 1);
    cr_assert_eq(box_last_reason(box), WEIR_R_LIMIT_MEMORY);
    peer_fragment(good, CHANNEL, 100000, 50000, 50000, 1);
    peer_say(good, 0);
    box_expect_msg(box, 0, 0, 100000, 1);
    cr_assert_eq(good->conn->bytes_held, 0);
    peer_free(bad);
    peer_free(good);
    solo_free(box);
}

Test(rx_hostile, a_peer_s_budget_bounds_what_it_leaves_half_sent)
{
    struct box *box = solo_new(3);
    box->cfg.peer_bytes_max = 1 << 20;
    solo_open(box);
    struct peer *peer = peer_ready(box);
    peer_fragment(peer, CHANNEL, 500000, 0, 10, 1);
    peer_fragment(peer, CHANNEL + 1, 500000, 0, 10, 2);
    peer_say(peer, 0);
    cr_assert_eq(peer->conn->bytes_held, 1000000);
    cr_assert_eq(box->end_cnt, 0);
    peer_fragment(peer, CHANNEL + 2, 48577, 0, 10, 3); /* one too many */
    peer_say(peer, 0);
    cr_assert_eq(box_last_reason(box), WEIR_R_LIMIT_MEMORY);
    peer_free(peer);
    solo_free(box);
}
