#include "engine/conn/tx.h"
#include "tests/unit/conn/small_frames.h"

#define CHANNEL 10 /* the first channel's id */

/* Queues one of everything: 2 runs' worth of copies, a reference, a broadcast, a large one. */
static void queue_small(struct weir_conn *conn)
{
    cr_assert_eq(box_send(conn, 0, 0, 1), 0);
    cr_assert_eq(box_send(conn, 0, 5, 2), 0);
    cr_assert_eq(box_send_buf(conn, 0, 9, 3), 0);
    cr_assert_eq(box_send(conn, 0, 4, 4), 0);
    cr_assert_eq(box_send_shared(conn, 0, 11, 5), 0);
    cr_assert_eq(box_send_shared(conn, 1, 4099, 6), 0); /* in two: a frame holds 4,096 */
    cr_assert_eq(box_send_buf(conn, 1, 1, 7), 0);
}

static void expect_small(struct peer *peer)
{
    struct heard heard = heard_begin(peer, CHANNEL);
    heard_expect(&heard, 0, 1);
    heard_expect(&heard, 5, 2);
    heard_expect(&heard, 9, 3);
    heard_expect(&heard, 4, 4);
    heard_expect(&heard, 11, 5);
    cr_assert(!heard_next(&heard));
    heard_end(&heard);
    heard = heard_begin(peer, CHANNEL + 1);
    heard_expect(&heard, 4099, 6);
    heard_expect(&heard, 1, 7);
    cr_assert(!heard_next(&heard));
    heard_end(&heard);
}

Test(tx, a_send_may_be_taken_in_chunks_of_any_size)
{
    for (size_t chunk = 1; chunk <= 140; chunk++) {
        struct box *box = small_box();
        struct peer *peer = peer_ready(box);
        queue_small(peer->conn);
        peer_listen_chunks(peer, chunk);
        expect_small(peer);
        expect_idle(peer);
        peer_free(peer);
        solo_free(box);
    }
}

Test(tx, a_send_may_be_cut_at_any_byte)
{
    struct box *box = small_box();
    struct peer *peer = peer_ready(box);
    peer_grant(peer, CHANNEL + 1, UINT64_C(1) << 40);
    queue_small(peer->conn);
    box_turn(box);
    size_t len = script_unsent(peer->script, peer->sock);
    cr_assert_gt(len, 4096u);
    peer_listen(peer);
    for (size_t cut = 1; cut<len; cut += cut> 300 && cut < len - 300 ? 7 : 1) {
        forget_frames(peer);
        queue_small(peer->conn);
        box_turn(box);
        cr_assert_eq(script_unsent(peer->script, peer->sock), len);
        script_sent(peer->script, peer->sock, (int64_t)cut);
        box_turn(box);
        cr_assert_eq(script_unsent(peer->script, peer->sock), len - cut, "the rest and no more");
        /* What comes meanwhile waits behind the rest. */
        cr_assert_eq(box_send(peer->conn, 0, 3, 100), 0);
        box_turn(box);
        cr_assert_eq(script_unsent(peer->script, peer->sock), len - cut);
        peer_listen(peer);
        struct heard heard = heard_begin(peer, CHANNEL + 1);
        heard_expect(&heard, 4099, 6);
        heard_expect(&heard, 1, 7);
        heard_end(&heard);
        expect_idle(peer);
    }
    peer_free(peer);
    solo_free(box);
}

Test(tx, a_send_that_took_nothing_is_made_again)
{
    static const int32_t results[] = {-EAGAIN, -EINTR, 0};
    struct box *box = small_box();
    struct peer *peer = peer_ready(box);
    queue_small(peer->conn);
    box_turn(box);
    for (int i = 0; i < 9; i++) {
        size_t before = script_unsent(peer->script, peer->sock);
        script_sent(peer->script, peer->sock, results[i % 3]);
        box_turn(box);
        cr_assert_eq(script_unsent(peer->script, peer->sock), before);
        script_sent(peer->script, peer->sock, 1);
        box_turn(box);
    }
    peer_listen(peer);
    expect_small(peer);
    expect_idle(peer);
    peer_free(peer);
    solo_free(box);
}

Test(tx, a_send_that_fails_ends_the_connection_and_gives_all_back)
{
    static const int32_t results[] = {-EPIPE, -ECONNRESET, -ENOBUFS, -ETIMEDOUT};
    for (int i = 0; i < 4; i++) {
        struct box *box = small_box();
        struct peer *peer = peer_ready(box);
        queue_small(peer->conn);
        box_turn(box);
        script_sent(peer->script, peer->sock, 50);
        box_turn(box);
        cr_assert_eq(box_send(peer->conn, 1, 77, 8), 0);
        script_sent(peer->script, peer->sock, results[i]);
        box_turn(box);
        box_turn(box);
        cr_assert_eq(box->end_cnt, 1);
        cr_assert_eq(box_last_reason(box), WEIR_R_RESET);
        cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
        cr_assert_eq(box_pool_stats(box).used_cnt, 0);
        peer_free(peer);
        solo_free(box);
    }
}

Test(tx, a_send_that_cannot_be_started_ends_the_connection)
{
    struct box *box = small_box();
    struct peer *peer = peer_ready(box);
    queue_small(peer->conn);
    peer->script->fail_send = 1;
    box_turn(box);
    box_turn(box);
    cr_assert_eq(box_last_reason(box), WEIR_R_INTERNAL);
    cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
    cr_assert_eq(box_pool_stats(box).used_cnt, 0);
    peer_free(peer);
    solo_free(box);
}

/* What came before the send's error has arrived, a goodbye above all. */
Test(tx, a_send_error_after_a_goodbye_is_the_goodbye)
{
    struct box *box = small_box();
    struct peer *peer = peer_ready(box);
    queue_small(peer->conn);
    box_turn(box);
    peer_run(peer, CHANNEL, 1, 5, 1);
    peer_control(peer,
                 &(struct weir_control){.kind = WEIR_CONTROL_GOODBYE, .reason = WEIR_R_SHUTDOWN});
    script_recv(peer->script, peer->sock, peer->outbox, peer->out_len);
    script_sent(peer->script, peer->sock, -EPIPE);
    box_turn(box);
    cr_assert_eq(box_last_reason(box), WEIR_R_SHUTDOWN);
    box_expect_msg(box, 0, 0, 5, 1);
    peer_free(peer);
    solo_free(box);
}

/* ---- one send ------------------------------------------------------------------------------------- */

Test(tx, the_most_pieces_a_send_can_have_fit_it)
{
    /* Frames by reference are two pieces each; control bytes go in front, the goodbye behind. */
    for (uint32_t cnt = WEIR_TX_FRAMES - 2; cnt <= WEIR_TX_FRAMES + 2; cnt++) {
        struct box *box = small_box();
        struct peer *peer = peer_ready(box);
        for (uint64_t i = 0; i < cnt; i++)
            cr_assert_eq(box_send_buf(peer->conn, 0, 20, i), 0);
        peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_PING, .value = 5});
        script_recv(peer->script, peer->sock, peer->outbox, peer->out_len);
        peer->out_len = 0;
        weir_conn_close(peer->conn, WEIR_R_APPLICATION, true);
        peer_listen(peer);
        struct heard heard = heard_begin(peer, CHANNEL);
        for (uint64_t i = 0; i < cnt; i++)
            heard_expect(&heard, 20, i);
        heard_end(&heard);
        cr_assert_not_null(peer_heard(peer, WEIR_CONTROL_PONG, 0));
        cr_assert_not_null(peer_heard(peer, WEIR_CONTROL_GOODBYE, 0));
        peer_hang_up(peer);
        cr_assert_eq(box_pool_stats(box).used_cnt, 0);
        peer_free(peer);
        solo_free(box);
    }
}

Test(tx, one_send_is_bounded_and_more_tightly_when_channels_compete)
{
    struct box *box = solo_new(2);
    box->cfg.send_bytes_max = 200000;
    box->cfg.send_bytes_contended = 70000;
    box->channels[0].send_bytes_max = box->channels[1].send_bytes_max = 8 << 20;
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    for (uint64_t i = 0; i < 4; i++)
        cr_assert_eq(box_send(peer->conn, 0, 500000, i), 0);
    box_turn(box);
    cr_assert_leq(script_unsent(script, peer->sock), 200000 + 65536 + 4 * WEIR_NATIVE_HEAD);
    cr_assert_gt(script_unsent(script, peer->sock), 200000 - 1);
    cr_assert_eq(script->socks[peer->sock].unsent_bound, 0);
    cr_assert_eq(box_send(peer->conn, 1, 500000, 9), 0);
    script_sent(script, peer->sock, (int64_t)script_unsent(script, peer->sock));
    box_turn(box);
    cr_assert_leq(script_unsent(script, peer->sock), 70000 + 2 * WEIR_NATIVE_HEAD);
    cr_assert_eq(script->socks[peer->sock].unsent_bound, box->cfg.notsent_lowat_bytes);
    /* Alone again: the bound goes, some half seconds later. */
    peer_listen(peer);
    peer_grant(peer, CHANNEL, 1 << 30);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(box_send(peer->conn, 0, 500000, 1), 0);
        solo_advance(box, 600 * WEIR_NS_PER_MS);
        peer_listen(peer);
    }
    cr_assert_eq(script->socks[peer->sock].unsent_bound, 0);
    peer_free(peer);
    solo_free(box);
}

/* Behind bulk in the same send an urgent message would wait for its hashing and copying; but only now and
 * then, because a send costs more than the wait. */
Test(tx, urgent_frames_have_a_send_of_their_own_now_and_then)
{
    struct box *box = solo_new(2);
    box->channels[0].send_bytes_max = box->channels[0].recv_bytes_max = 64 << 20;
    box->channels[1].flags = WEIR_CHANNEL_URGENT;
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    cr_assert_eq(box_send(peer->conn, 0, 1 << 20, 1), 0);
    cr_assert_eq(box_send(peer->conn, 1, 100, 0), 0);
    box_turn(box); /* nothing is known to compete yet, or it is: the first send may be either */
    uint32_t alone = 0, together = 0;
    for (uint64_t i = 1; i < 20; i++) {
        script_sent(script, peer->sock, (int64_t)script_unsent(script, peer->sock));
        cr_assert_eq(box_send(peer->conn, 1, 100, i), 0);
        if (i % 5 == 0)
            solo_advance(box, 200 * WEIR_NS_PER_US);
        box_turn(box);
        size_t sent = script_unsent(script, peer->sock);
        alone += sent == 2 + 100 + WEIR_NATIVE_HEAD;
        together += sent > 65536;
        if (i % 10 == 0) {
            cr_assert_eq(box_send(peer->conn, 0, 1 << 20, 1), 0);
        }
    }
    cr_assert(alone >= 3 && alone <= 5 && together >= 13, "%u alone, %u together", alone, together);
    peer_free(peer);
    solo_free(box);
}

Test(tx, a_frame_above_the_bound_of_a_send_goes_alone)
{
    struct box *box = solo_new(1);
    box->cfg.send_bytes_max = box->cfg.send_bytes_contended = 4096;
    solo_open(box);
    struct peer *peer = peer_ready(box);
    cr_assert_eq(box_send(peer->conn, 0, 100000, 1), 0);
    box_turn(box);
    cr_assert_eq(script_unsent(peer->script, peer->sock), 65536 + WEIR_NATIVE_HEAD);
    peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    heard_expect(&heard, 100000, 1);
    heard_end(&heard);
    peer_free(peer);
    solo_free(box);
}

Test(tx, frames_are_picked_by_weight_and_urgent_ones_first)
{
    static const uint16_t weights[] = {1, 5, 10, 1};
    struct box *box = solo_new(4);
    box->cfg.send_bytes_contended = 65536; /* one frame */
    for (uint32_t i = 0; i < 4; i++) {
        box->channels[i].weight = weights[i];
        box->channels[i].send_bytes_max = 64 << 20;
        box->channels[i].recv_bytes_max = 64 << 20;
    }
    box->channels[3].flags = WEIR_CHANNEL_URGENT;
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    for (uint32_t i = 0; i < 3; i++) {
        for (int n = 0; n < 20; n++)
            cr_assert_eq(box_send(peer->conn, i, 1 << 20, 1), 0);
    }
    for (int i = 0; i < 256; i++) { /* 64 KiB each */
        if (i == 100)
            cr_assert_eq(box_send(peer->conn, 3, 100, 7), 0);
        box_turn(box);
        script_sent(script, peer->sock, (int64_t)script_unsent(script, peer->sock));
    }
    box_turn(box);
    peer_hear(peer);
    double bytes[3], total = 0;
    for (uint16_t i = 0; i < 3; i++)
        total += bytes[i] = (double)peer_data_bytes(peer, (uint16_t)(CHANNEL + i));
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_float_eq(bytes[i] / total, weights[i] / 16.0, 0.02, "channel %u: %f", i,
                           bytes[i] / total);
    uint32_t urgent_at = 0;
    for (uint32_t i = 0; i < peer->frame_cnt; i++)
        urgent_at = peer->frames[i].channel == CHANNEL + 3 ? i : urgent_at;
    cr_assert(urgent_at >= 95 && urgent_at <= 105, "frame %u is the urgent one", urgent_at);
    peer_free(peer);
    solo_free(box);
}

/* ---- credit --------------------------------------------------------------------------------------- */

Test(tx, a_channel_without_credit_stalls_and_no_other)
{
    struct box *box = solo_new(2);
    solo_open(box);
    struct peer *peer = peer_new(box, true);
    peer->descs[0].window_bytes = peer->descs[1].window_bytes = 1 << 20;
    peer_shake(peer);
    for (uint64_t i = 0; i < 10; i++)
        cr_assert_eq(box_send(peer->conn, 0, 100000, i), 0);
    for (int i = 0; i < 10; i++)
        peer_listen(peer);
    cr_assert_eq(peer->conn->bytes_queued, 0);
    for (uint64_t i = 10; i < 14; i++)
        cr_assert_eq(box_send(peer->conn, 0, 100000, i), 0);
    for (int i = 0; i < 10; i++)
        peer_listen(peer);
    cr_assert_leq(peer_data_bytes(peer, CHANNEL), 1 << 20);
    cr_assert_gt(peer_data_bytes(peer, CHANNEL), (1 << 20) - 4096);
    cr_assert(peer->conn->channels[0].is_stalled);
    uint64_t stalls = box->hub.metrics.channels[0].stalls;
    cr_assert_eq(stalls, 1);
    /* The other one goes on, as if nothing were. */
    for (uint64_t i = 0; i < 9; i++) {
        cr_assert_eq(box_send(peer->conn, 1, 100000, i), 0);
        peer_listen(peer);
    }
    cr_assert_eq(peer_data_bytes(peer, CHANNEL + 1), 900000);
    cr_assert_eq(box->hub.metrics.channels[0].stalls, stalls, "counted once");
    /* One byte less than its next frame needs is not enough, unless it is worth a fragment. */
    uint64_t used = peer_data_bytes(peer, CHANNEL);
    peer_grant(peer, CHANNEL, used + 4095);
    peer_listen(peer);
    cr_assert_eq(peer_data_bytes(peer, CHANNEL), used);
    peer_grant(peer, CHANNEL, used + 4096);
    peer_listen(peer);
    cr_assert_eq(peer_data_bytes(peer, CHANNEL), used + 4096);
    peer_grant(peer, CHANNEL, used); /* less than before: no effect */
    peer_listen(peer);
    peer_grant(peer, CHANNEL, UINT64_MAX);
    peer_listen(peer);
    cr_assert_eq(peer_data_bytes(peer, CHANNEL), 1400000);
    struct heard heard = heard_begin(peer, CHANNEL);
    for (uint64_t i = 0; i < 14; i++)
        heard_expect(&heard, 100000, i);
    heard_end(&heard);
    expect_idle(peer);
    peer_free(peer);
    solo_free(box);
}

Test(tx, a_peer_whose_window_is_too_small_for_anything_harms_only_itself)
{
    for (uint32_t window = 1; window < 16; window++) {
        struct box *box = solo_new(2);
        solo_open(box);
        struct peer *peer = peer_new(box, true);
        peer->descs[0].window_bytes = window;
        peer->descs[0].msg_bytes_max = window;
        peer_shake(peer);
        for (size_t len = 0; len <= window; len++) {
            int error = box_send(peer->conn, 0, len, len);
            /* An empty message takes a frame of two bytes. */
            int want = len == 0 && window == 1 ? WEIR_E_TOO_BIG : 0;
            cr_assert_eq(error, want, "%s", weir_error_name(error));
        }
        peer_listen(peer);
        cr_assert_leq(peer_data_bytes(peer, CHANNEL), window);
        for (uint64_t granted = window; granted < 400; granted++) {
            peer_grant(peer, CHANNEL, granted);
            peer_listen(peer);
            cr_assert_leq(peer_data_bytes(peer, CHANNEL), granted);
        }
        cr_assert_eq(box_send(peer->conn, 1, 1000, 1), 0);
        peer_listen(peer);
        cr_assert_eq(peer_data_bytes(peer, CHANNEL + 1), 1002);
        weir_conn_close(peer->conn, WEIR_R_APPLICATION, false);
        peer_listen(peer);
        peer_hang_up(peer);
        cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
        cr_assert_eq(box_pool_stats(box).used_cnt, 0);
        peer_free(peer);
        solo_free(box);
    }
}

Test(tx, a_broadcast_is_one_buffer_for_all)
{
    struct box *box = small_box();
    struct peer *peers[3];
    for (int i = 0; i < 3; i++)
        peers[i] = peer_ready(box);
    struct weir_shared *shared = box_encode(box, 0, 20000, 1);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(weir_sendq_shared(peers[i]->conn, 0, shared), 0);
    cr_assert_eq(box_pool_stats(box).used_cnt, 1);
    cr_assert_eq(shared->refs, 4);
    weir_shared_unref(shared);
    /* One is cut short in the middle of it. */
    box_turn(box);
    script_sent(peers[1]->script, peers[1]->sock, 9000);
    box_turn(box);
    script_sent(peers[1]->script, peers[1]->sock, -ECONNRESET);
    box_turn(box);
    cr_assert_eq(box_pool_stats(box).used_cnt, 1);
    for (int i = 0; i < 3; i += 2) {
        peer_listen_chunks(peers[i], 1001);
        struct heard heard = heard_begin(peers[i], CHANNEL);
        heard_expect(&heard, 20000, 1);
        heard_end(&heard);
    }
    cr_assert_eq(box_pool_stats(box).used_cnt, 0);
    for (int i = 0; i < 3; i++)
        peer_free(peers[i]);
    solo_free(box);
}
