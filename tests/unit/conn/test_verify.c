#include "tests/unit/conn/peer.h"

#define CHANNEL 10 /* the first channel's id */

/* ---- credit --------------------------------------------------------------------------------------- */

static uint32_t credit_cnt(const struct peer *peer)
{
    uint32_t cnt = 0;
    while (peer_heard(peer, WEIR_CONTROL_CREDIT, cnt))
        cnt++;
    return cnt;
}

/* The limit in the latest credit for a channel, 0: none yet. */
static uint64_t last_limit(const struct peer *peer, uint16_t channel)
{
    uint64_t limit = 0;
    const struct weir_control *control;
    for (uint32_t i = 0; (control = peer_heard(peer, WEIR_CONTROL_CREDIT, i)) != NULL; i++) {
        for (uint32_t k = 0; k < control->credit_cnt; k++)
            if (control->credits[k].channel == channel) {
                cr_assert_gt(control->credits[k].limit, limit, "limits only grow");
                limit = control->credits[k].limit;
            }
    }
    return limit;
}

static struct box *box_with_window(uint32_t window)
{
    struct box *box = solo_new(2);
    for (uint32_t i = 0; i < 2; i++) {
        box->channels[i].recv_bytes_max = window;
        if (box->channels[i].msg_bytes_max > window)
            box->channels[i].msg_bytes_max = window;
    }
    solo_open(box);
    return box;
}

Test(verify, credit_comes_back_in_quarters)
{
    struct box *box = box_with_window(1 << 20);
    struct peer *peer = peer_ready(box);
    uint64_t sent = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        peer_run(peer, CHANNEL, 1, 998, i);
        peer_say(peer, 0);
        peer_listen(peer);
        sent += 1000;
        uint64_t limit = last_limit(peer, CHANNEL) ? last_limit(peer, CHANNEL) : 1 << 20;
        cr_assert_leq(limit, sent + (1 << 20), "never more than the window");
        cr_assert_gt(limit - sent, (1 << 20) - (1 << 18), "never more than a quarter is kept back");
    }
    cr_assert_eq(credit_cnt(peer), 4000000 / 263000, "one frame for each 263 messages: %u",
                 credit_cnt(peer));
    cr_assert_eq(last_limit(peer, CHANNEL + 1), 0);
    peer_free(peer);
    solo_free(box);
}

Test(verify, the_beginning_of_a_message_grants_all_that_its_end_may_need)
{
    /* A message as large as the window, begun when almost a quarter of the window is not granted. */
    struct box *box = box_with_window(100000);
    struct peer *peer = peer_ready(box);
    peer_run(peer, CHANNEL, 1, 24990, 1);
    peer_say(peer, 0);
    peer_listen(peer);
    cr_assert_eq(credit_cnt(peer), 0);
    peer_fragment(peer, CHANNEL, 100000, 0, 60000, 2);
    peer_say(peer, 1000);
    peer_listen(peer);
    cr_assert_eq(last_limit(peer, CHANNEL), 124992);
    peer_fragment(peer, CHANNEL, 100000, 60000, 40000, 2);
    peer_say(peer, 1000);
    box_expect_msg(box, 1, 0, 100000, 2);
    peer_free(peer);
    solo_free(box);
}

/* The one before it is delivered in the same batch, after the long one was begun. */
Test(verify, what_is_consumed_while_a_message_is_half_here_is_granted_at_once)
{
    struct box *box = box_with_window(100000);
    struct peer *peer = peer_ready(box);
    peer_run(peer, CHANNEL, 1, 24990, 1);
    peer_fragment(peer, CHANNEL, 100000, 0, 60000, 2);
    script_recv(peer->script, peer->sock, peer->outbox, peer->out_len);
    peer->out_len = 0;
    peer_listen(peer);
    cr_assert_eq(last_limit(peer, CHANNEL), 124992);
    peer_free(peer);
    solo_free(box);
}

/* ---- pause ---------------------------------------------------------------------------------------- */

static void say_of_all_kinds(struct peer *peer, uint64_t seed)
{
    peer_run(peer, CHANNEL, 3, 20, seed);
    peer_fragment(peer, CHANNEL, 100, 0, 100, seed + 3);
    peer_fragment(peer, CHANNEL, 90000, 0, 50000, seed + 4);
    peer_fragment(peer, CHANNEL, 90000, 50000, 40000, seed + 4);
    peer_run(peer, CHANNEL, 1, 0, seed + 5);
    peer_fragment(peer, CHANNEL, 66000, 0, 64000, seed + 6);
    peer_fragment(peer, CHANNEL, 66000, 64000, 2000, seed + 6);
    peer_fragment(peer, CHANNEL, 65536, 0, 65536, seed + 7);
    peer_say(peer, 0);
}

static void expect_of_all_kinds(const struct box *box, uint32_t from, uint64_t seed)
{
    static const uint32_t lens[] = {20, 20, 20, 100, 90000, 0, 66000, 65536};
    for (uint32_t i = 0; i < 8; i++)
        box_expect_msg(box, from + i, 0, lens[i], seed + i);
}

Test(verify, a_paused_channel_holds_what_arrives_and_delivers_it_in_order)
{
    for (uint32_t rounds = 1; rounds < 4; rounds++) {
        struct box *box = solo_new(2);
        solo_open(box);
        struct peer *peer = peer_ready(box);
        weir_conn_pause(peer->conn, 0, true);
        for (uint32_t i = 0; i < rounds; i++)
            say_of_all_kinds(peer, 10 * i);
        peer_run(peer, CHANNEL + 1, 1, 7, 500);
        peer_say(peer, 0);
        cr_assert_eq(box->msg_cnt, 1, "only the other channel's");
        box_expect_msg(box, 0, 1, 7, 500);
        cr_assert_gt(peer->conn->bytes_held, 200000);
        weir_conn_pause(peer->conn, 0, false);
        cr_assert_eq(box->msg_cnt, 1, "not inside the call");
        say_of_all_kinds(peer, 10 * rounds); /* arrives in the same turn, behind */
        for (uint32_t i = 0; i <= rounds; i++)
            expect_of_all_kinds(box, 1 + 8 * i, 10 * i);
        cr_assert_eq(peer->conn->bytes_held, 0);
        peer_listen(peer);
        cr_assert_eq(box_pool_stats(box).used_cnt, 0);
        peer_free(peer);
        solo_free(box);
    }
}

Test(verify, a_paused_channel_gives_no_credit_and_the_others_do)
{
    struct box *box = box_with_window(100000);
    struct peer *peer = peer_ready(box);
    weir_conn_pause(peer->conn, 0, true);
    for (uint32_t i = 0; i < 10; i++) {
        peer_run(peer, CHANNEL, 1, 9998, i);
        peer_run(peer, CHANNEL + 1, 1, 9998, i);
        peer_say(peer, 0);
        peer_listen(peer);
    }
    cr_assert_eq(last_limit(peer, CHANNEL), 0);
    cr_assert_gt(last_limit(peer, CHANNEL + 1), 100000);
    cr_assert_eq(box->end_cnt, 0);
    /* Resumed, all of it comes back. */
    weir_conn_pause(peer->conn, 0, false);
    peer_listen(peer);
    peer_listen(peer);
    cr_assert_eq(last_limit(peer, CHANNEL), 200000);
    cr_assert_eq(box->msg_cnt, 20);
    /* And again: one byte too many is one too many. */
    weir_conn_pause(peer->conn, 0, true);
    for (uint32_t i = 0; i < 10; i++)
        peer_run(peer, CHANNEL, 1, 9998, i);
    peer_say(peer, 0);
    cr_assert_eq(box->end_cnt, 0);
    peer_run(peer, CHANNEL, 1, 0, 1);
    peer_say(peer, 0);
    cr_assert_eq(box_last_reason(box), WEIR_R_CREDIT);
    peer_free(peer);
    solo_free(box);
}

/* A window of the smallest messages there are, held: not a buffer for each. */
Test(verify, what_is_held_takes_memory_in_proportion_to_its_bytes)
{
    for (int is_fragment = 0; is_fragment < 2; is_fragment++) {
        struct box *box = box_with_window(100000);
        struct peer *peer = peer_ready(box);
        weir_conn_pause(peer->conn, 0, true);
        for (uint32_t i = 0; i < 30000; i++) {
            if (is_fragment)
                peer_fragment(peer, CHANNEL, 1, 0, 1, i);
            else
                peer_run(peer, CHANNEL, 1, 0, i);
        }
        peer_say(peer, 0);
        cr_assert_leq(box_pool_stats(box).used_bytes, 400000, "%llu bytes",
                      (unsigned long long)box_pool_stats(box).used_bytes);
        weir_conn_pause(peer->conn, 0, false);
        box_turn(box);
        cr_assert_eq(box->msg_cnt, 30000);
        for (uint32_t i = 0; is_fragment && i < 30000; i++)
            box_expect_msg(box, i, 0, 1, i);
        peer_listen(peer);
        peer_listen(peer);
        cr_assert_eq(last_limit(peer, CHANNEL), is_fragment ? 130000 : 160000, "%llu",
                     (unsigned long long)last_limit(peer, CHANNEL));
        cr_assert_eq(box_pool_stats(box).used_cnt, 0);
        peer_free(peer);
        solo_free(box);
    }
}

Test(verify, a_peer_s_budget_bounds_what_is_held)
{
    struct box *box = solo_new(2);
    box->cfg.peer_bytes_max = 300000;
    solo_open(box);
    struct peer *peer = peer_ready(box);
    weir_conn_pause(peer->conn, 0, true);
    for (uint32_t i = 0; i < 4; i++)
        peer_run(peer, CHANNEL, 1, 60000, i);
    peer_say(peer, 0);
    cr_assert_eq(box->end_cnt, 0);
    peer_run(peer, CHANNEL, 1, 60000, 1);
    peer_say(peer, 0);
    cr_assert_eq(box_last_reason(box), WEIR_R_LIMIT_MEMORY);
    cr_assert_eq(box->msg_cnt, 0);
    peer_listen(peer);
    peer_hang_up(peer);
    cr_assert_eq(box_pool_stats(box).used_cnt, 0);
    peer_free(peer);
    solo_free(box);
}

static uint32_t seen_cnt;

static void pause_after_two(struct box *box, const struct box_pending *msg)
{
    box_record(box, msg);
    if (++seen_cnt == 2)
        weir_conn_pause(msg->conn, msg->channel_idx, true);
}

Test(verify, a_pause_inside_a_batch_holds_what_comes_after_it)
{
    struct box *box = solo_new(2);
    solo_open(box);
    struct peer *peer = peer_ready(box);
    seen_cnt = 0;
    box->on_msg = pause_after_two;
    for (uint64_t i = 0; i < 4; i++)
        peer_run(peer, CHANNEL, 1, 10, i); /* one batch: handed over before the pause */
    peer_say(peer, 0);
    cr_assert_eq(box->msg_cnt, 4);
    peer_run(peer, CHANNEL, 1, 10, 4);
    peer_say(peer, 0);
    cr_assert_eq(box->msg_cnt, 4);
    weir_conn_pause(peer->conn, 0, false);
    box_turn(box);
    cr_assert_eq(box->msg_cnt, 5);
    box_expect_msg(box, 4, 0, 10, 4);
    peer_free(peer);
    solo_free(box);
}

static void pause_each(struct box *box, const struct box_pending *msg)
{
    box_record(box, msg);
    weir_conn_pause(msg->conn, msg->channel_idx, true);
}

/* A reactor that takes one held buffer at a time. */
Test(verify, a_channel_may_be_paused_again_while_it_is_being_resumed)
{
    struct box *box = solo_new(2);
    solo_open(box);
    struct peer *peer = peer_ready(box);
    weir_conn_pause(peer->conn, 0, true);
    for (uint64_t i = 0; i < 20; i++) {
        peer_fragment(peer, CHANNEL, 70000, 0, 60000, i);
        peer_fragment(peer, CHANNEL, 70000, 60000, 10000, i);
        peer_say(peer, 0);
    }
    box->on_msg = pause_each;
    for (uint32_t i = 0; i < 20; i++) {
        weir_conn_pause(peer->conn, 0, false);
        box_turn(box);
        cr_assert_eq(box->msg_cnt, i + 1);
        box_expect_msg(box, i, 0, 70000, i);
    }
    cr_assert_eq(peer->conn->bytes_held, 0);
    peer_free(peer);
    solo_free(box);
}

static void close_at_once(struct box *box, const struct box_pending *msg)
{
    box_record(box, msg);
    weir_conn_close(msg->conn, WEIR_R_APPLICATION, false);
}

Test(verify, a_close_inside_a_callback_ends_delivery)
{
    for (int is_held = 0; is_held < 2; is_held++) {
        struct box *box = solo_new(2);
        solo_open(box);
        struct peer *peer = peer_ready(box);
        weir_conn_pause(peer->conn, 0, is_held);
        box->on_msg = close_at_once;
        for (uint64_t i = 0; i < 5; i++) {
            peer_fragment(peer, CHANNEL, 70000, 0, 60000, i);
            peer_fragment(peer, CHANNEL, 70000, 60000, 10000, i);
            peer_say(peer, is_held ? 0 : 70064);
        }
        weir_conn_pause(peer->conn, 0, false);
        box_turn(box);
        cr_assert_eq(box->msg_cnt, 1, "%u messages", box->msg_cnt);
        peer_listen(peer);
        peer_hang_up(peer);
        cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
        cr_assert_eq(box_pool_stats(box).used_cnt, 0);
        peer_free(peer);
        solo_free(box);
    }
}

Test(verify, a_paused_channel_resumed_after_the_end_delivers_nothing)
{
    struct box *box = solo_new(1);
    solo_open(box);
    struct peer *peer = peer_ready(box);
    weir_conn_pause(peer->conn, 0, true);
    say_of_all_kinds(peer, 1);
    weir_conn_pause(peer->conn, 0, false);
    weir_conn_close(peer->conn, WEIR_R_APPLICATION, true);
    peer_listen(peer);
    cr_assert_eq(box->msg_cnt, 0);
    peer_hang_up(peer);
    cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
    cr_assert_eq(box_pool_stats(box).used_cnt, 0);
    peer_free(peer);
    solo_free(box);
}

/* ---- kept ----------------------------------------------------------------------------------------- */

static struct weir_buf *kept[64];
static uint32_t kept_cnt;

static void keep_all(struct box *box, const struct box_pending *msg)
{
    box_record(box, msg);
    kept[kept_cnt] = box_keep(box, msg);
    cr_assert_not_null(kept[kept_cnt]);
    kept_cnt++;
}

Test(verify, kept_messages_take_credit_until_they_are_released)
{
    struct box *box = box_with_window(200000);
    struct peer *peer = peer_ready(box);
    kept_cnt = 0;
    box->on_msg = keep_all;
    for (uint32_t i = 0; i < 3; i++)
        peer_fragment(peer, CHANNEL, 60000, 0, 60000, i);
    peer_say(peer, 0);
    peer_listen(peer);
    cr_assert_eq(kept_cnt, 3);
    cr_assert_eq(peer->conn->bytes_held, 180000);
    cr_assert_eq(last_limit(peer, CHANNEL), 0, "all that arrived is kept");
    for (uint32_t i = 0; i < 3; i++)
        cr_assert(box_is_filled(kept[i]->data, 60000, i));
    weir_buf_unref(kept[1]);
    peer_listen(peer);
    cr_assert_eq(last_limit(peer, CHANNEL), 260000);
    cr_assert_eq(peer->conn->bytes_held, 120000);
    weir_buf_unref(kept[0]);
    weir_buf_unref(kept[2]);
    peer_listen(peer);
    peer_listen(peer);
    cr_assert_eq(last_limit(peer, CHANNEL), 380000);
    cr_assert_eq(peer->conn->bytes_held, 0);
    peer_free(peer);
    solo_free(box);
}

/* The sender's next frame may be half a window, and less than a quarter may be due. */
Test(verify, an_application_that_keeps_much_of_a_window_does_not_stall_for_ever)
{
    struct box *box = box_with_window(100000);
    struct peer *peer = peer_ready(box);
    kept_cnt = 0;
    box->on_msg = keep_all;
    peer_fragment(peer, CHANNEL, 45000, 0, 45000, 1);
    peer_say(peer, 0);
    box->on_msg = NULL;
    uint64_t sent = 45000;
    uint64_t random = 1;
    for (uint32_t i = 0; i < 300; i++) {
        uint16_t len = (uint16_t)(i % 3 == 0 ? 49998 : box_random(&random) % 50000);
        peer_listen(peer);
        uint64_t limit = last_limit(peer, CHANNEL) ? last_limit(peer, CHANNEL) : 100000;
        cr_assert_geq(limit - sent, len + 2u, "round %u: %llu left for a frame of %u", i,
                      (unsigned long long)(limit - sent), len + 2u);
        peer_run(peer, CHANNEL, 1, len, i);
        peer_say(peer, 0);
        sent += len + 2u;
    }
    weir_buf_unref(kept[0]);
    cr_assert_eq(box->end_cnt, 0);
    peer_free(peer);
    solo_free(box);
}

Test(verify, an_assembled_message_is_kept_without_a_copy)
{
    for (int is_held = 0; is_held < 2; is_held++) {
        struct box *box = box_with_window(200000);
        struct peer *peer = peer_ready(box);
        kept_cnt = 0;
        box->on_msg = keep_all;
        weir_conn_pause(peer->conn, 0, is_held);
        peer_fragment(peer, CHANNEL, 150000, 0, 60000, 1);
        peer_fragment(peer, CHANNEL, 150000, 60000, 60000, 1);
        peer_fragment(peer, CHANNEL, 150000, 120000, 30000, 1);
        peer_say(peer, 0);
        weir_conn_pause(peer->conn, 0, false);
        peer_listen(peer);
        cr_assert_eq(kept_cnt, 1);
        cr_assert_eq(box_pool_stats(box).used_cnt, 1);
        cr_assert_eq(peer->conn->bytes_held, 150000);
        cr_assert(box_is_filled(kept[0]->data, 150000, 1));
        /* It outlives its connection, and gives nothing to the next one in the slot. */
        weir_conn_close(peer->conn, WEIR_R_APPLICATION, false);
        peer_listen(peer);
        peer_hang_up(peer);
        cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
        peer_free(peer);
        peer = peer_ready(box);
        cr_assert_eq(peer->conn->slot, 0);
        box->kept_bytes = 0;
        weir_buf_unref(kept[0]);
        cr_assert_eq(peer->conn->bytes_held, 0);
        cr_assert_eq(peer->conn->channels[0].rx_consumed, 0);
        peer_free(peer);
        solo_free(box);
    }
}

/* ---- batches -------------------------------------------------------------------------------------- */

Test(verify, a_batch_that_outgrows_the_cache_is_verified_early)
{
    struct box *box = solo_new(1);
    solo_open(box);
    struct peer *peer = peer_ready(box);
    uint32_t before = box->flush_cnt;
    for (uint64_t i = 0; i < 16; i++)
        peer_run(peer, CHANNEL, 1, 60000, i);
    /* All in one turn: 960,000 bytes are some four times what is verified at once. */
    for (size_t at = 0; at < peer->out_len; at += 65536)
        script_recv(peer->script, peer->sock, peer->outbox + at,
                    peer->out_len - at < 65536 ? peer->out_len - at : 65536);
    peer->out_len = 0;
    box_turn(box);
    cr_assert_geq(box->flush_cnt - before, 3);
    cr_assert_leq(box->flush_cnt - before, 5);
    for (uint32_t i = 0; i < 16; i++)
        box_expect_msg(box, i, 0, 60000, i);
    peer_free(peer);
    solo_free(box);
}

Test(verify, optional_frames_are_skipped_but_not_unchecked)
{
    struct box *box = solo_new(1);
    solo_open(box);
    struct peer *peer = peer_ready(box);
    for (uint32_t i = 0; i < 100; i++)
        peer_frame(peer, (uint8_t)(0x80 + i), (uint16_t)i, i, "whatever it is", i % 15);
    peer_run(peer, CHANNEL, 1, 5, 1);
    peer_say(peer, 3);
    box_expect_msg(box, 0, 0, 5, 1);
    peer_frame(peer, 0x90, 0, 0, "whatever it is", 14);
    peer->outbox[peer->out_len - 1] ^= 1;
    peer_say(peer, 3);
    cr_assert_eq(box_last_reason(box), WEIR_R_BAD_CHECKSUM);
    peer_free(peer);
    solo_free(box);
}

Test(verify, frames_are_counted_as_they_are)
{
    struct box *box = solo_new(2);
    solo_open(box);
    struct peer *peer = peer_ready(box);
    peer_run(peer, CHANNEL, 3, 5, 1);
    peer_fragment(peer, CHANNEL, 10, 0, 5, 1);
    peer_fragment(peer, CHANNEL, 10, 5, 5, 1);
    peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_PONG, .value = 1});
    peer_say(peer, 0);
    cr_assert_eq(peer->conn->frames_rx, 4);
    cr_assert_eq(box->hub.metrics.frames_rx, 4);
    cr_assert_eq(box->hub.metrics.frames_failed, 0);
    peer_run(peer, CHANNEL, 3, 5, 1);
    peer->outbox[40] ^= 1;
    peer_say(peer, 0);
    cr_assert_eq(box->hub.metrics.frames_failed, 1);
    cr_assert_eq(box->hub.metrics.frames_rx, 4);
    peer_free(peer);
    solo_free(box);
}
