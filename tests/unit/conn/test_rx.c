#include "tests/unit/conn/peer.h"

#define CHANNEL 10 /* the first channel's id */

/* A stream with every kind of frame in it, to be cut anywhere. Returns how many messages it has. */
static uint32_t small_stream(struct peer *peer)
{
    peer_run(peer, CHANNEL, 1, 0, 1); /* an empty message */
    peer_run(peer, CHANNEL, 3, 5, 2); /* 2, 3, 4 */
    peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_PING, .value = 77});
    peer_fragment(peer, CHANNEL, 9, 0, 9, 5);  /* whole */
    peer_fragment(peer, CHANNEL, 12, 0, 7, 6); /* in three */
    peer_fragment(peer, CHANNEL, 12, 7, 1, 6);
    peer_run(peer, CHANNEL + 1, 2, 3, 7); /* of another channel, amid it */
    peer_fragment(peer, CHANNEL, 12, 8, 4, 6);
    peer_frame(peer, 0x90, 0x1234, 99, "??", 2); /* of no known kind, optional */
    peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_CREDIT,
                                              .credit_cnt = 1,
                                              .credits = {{CHANNEL, UINT64_C(1) << 40}}});
    peer_fragment(peer, CHANNEL + 1, 1, 0, 1, 9);
    return 9;
}

static void expect_small_stream(const struct box *box)
{
    static const struct {
        uint32_t channel_idx, len;
        uint64_t seed;
    } msgs[] = {{0, 0, 1}, {0, 5, 2}, {0, 5, 3},  {0, 5, 4}, {0, 9, 5},
                {1, 3, 7}, {1, 3, 8}, {0, 12, 6}, {1, 1, 9}};
    cr_assert_eq(box->msg_cnt, 9);
    for (uint32_t i = 0; i < 9; i++)
        box_expect_msg(box, i, msgs[i].channel_idx, msgs[i].len, msgs[i].seed);
}

/* Everything that arrived has its effect and nothing is held any more. */
static void expect_at_rest(struct peer *peer)
{
    expect_small_stream(peer->box);
    cr_assert_eq(peer->conn->state, WEIR_CONN_READY);
    cr_assert_eq(peer->conn->bytes_held, 0);
    cr_assert_eq(peer->conn->channels[0].tx_limit, UINT64_C(1) << 40);
    cr_assert_eq(peer->script->lent_cnt, 0, "receive buffers are back");
    peer_listen(peer);
    cr_assert_not_null(peer_heard(peer, WEIR_CONTROL_PONG, 0));
    cr_assert_eq(peer_heard(peer, WEIR_CONTROL_PONG, 0)->value, 77);
    cr_assert_eq(box_pool_stats(peer->box).used_cnt, 0, "message buffers are back");
}

Test(rx, a_stream_may_be_read_in_chunks_of_any_size)
{
    for (size_t chunk = 1; chunk <= 130; chunk++) {
        struct box *box = solo_new(2);
        solo_open(box);
        struct peer *peer = peer_ready(box);
        small_stream(peer);
        peer_say(peer, chunk);
        expect_at_rest(peer);
        peer_free(peer);
        solo_free(box);
    }
}

Test(rx, a_stream_may_be_cut_at_any_byte)
{
    struct box *box = solo_new(2);
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    small_stream(peer);
    size_t len = peer->out_len;
    uint8_t *bytes = malloc(len);
    memcpy(bytes, peer->outbox, len);
    peer->out_len = 0;
    for (size_t cut = 1; cut < len; cut++) {
        for (int is_one_turn = 0; is_one_turn < 2; is_one_turn++) {
            script_recv(script, peer->sock, bytes, cut);
            if (!is_one_turn)
                box_turn(box);
            script_recv(script, peer->sock, bytes + cut, len - cut);
            box_turn(box);
            expect_small_stream(box);
            cr_assert_eq(peer->conn->state, WEIR_CONN_READY, "cut at %zu", cut);
            cr_assert_eq(peer->conn->bytes_held, 0, "cut at %zu", cut);
            cr_assert_eq(script->lent_cnt, 0);
            peer_listen(peer);
            cr_assert_eq(box_pool_stats(box).used_cnt, 0);
            box_forget_msgs(box);
            /* Not in one second: a hundred pings are a flood. */
            script->now_ns += WEIR_NS_PER_S / 50;
        }
    }
    free(bytes);
    peer_free(peer);
    solo_free(box);
}

Test(rx, a_stream_may_be_cut_at_any_two_bytes)
{
    struct box *box = solo_new(2);
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    peer_fragment(peer, CHANNEL, 5, 0, 3, 1);
    peer_fragment(peer, CHANNEL, 5, 3, 2, 1);
    peer_run(peer, CHANNEL, 2, 2, 2);
    size_t len = peer->out_len;
    uint8_t *bytes = malloc(len);
    memcpy(bytes, peer->outbox, len);
    peer->out_len = 0;
    for (size_t one = 1; one < len; one++) {
        for (size_t two = one + 1; two < len; two++) {
            script_recv(script, peer->sock, bytes, one);
            script_recv(script, peer->sock, bytes + one, two - one);
            if ((one + two) % 2)
                box_turn(box);
            script_recv(script, peer->sock, bytes + two, len - two);
            box_turn(box);
            cr_assert_eq(box->msg_cnt, 3, "cut at %zu and %zu", one, two);
            box_expect_msg(box, 0, 0, 5, 1);
            box_expect_msg(box, 1, 0, 2, 2);
            box_expect_msg(box, 2, 0, 2, 3);
            box_forget_msgs(box);
            script->now_ns += WEIR_NS_PER_MS;
        }
    }
    cr_assert_eq(box_pool_stats(box).used_cnt, 0);
    free(bytes);
    peer_free(peer);
    solo_free(box);
}

/* The first message may be in the same segment as the hello. */
Test(rx, a_handshake_and_what_follows_may_be_cut_at_any_byte)
{
    uint8_t bytes[4096];
    size_t len = 0;
    for (size_t cut = 0; cut == 0 || cut < len; cut++) {
        struct box *box = solo_new(2);
        struct script_io *script = solo_open(box);
        struct peer *peer = peer_new(box, true);
        peer_connect(peer);
        if (cut == 0) { /* what this peer says does not depend on the answer */
            len = weir_codec_native.pull(peer->state, bytes, sizeof(bytes));
            uint8_t answer[] = {0x89, 'W', 'E', 'I', 'R', 0x0D, 0x0A, 0x1A, 0x21};
            struct weir_frame frame;
            struct weir_feed feed;
            weir_codec_native.feed(peer->state, answer, sizeof(answer), &frame, 1, &feed);
            len += weir_codec_native.pull(peer->state, bytes + len, sizeof(bytes) - len);
            peer_fragment(peer, CHANNEL, 300, 0, 300, 1);
            peer_run(peer, CHANNEL, 2, 20, 2);
            memcpy(bytes + len, peer->outbox, peer->out_len);
            len += peer->out_len;
            cut = 1;
        }
        script_recv(script, peer->sock, bytes, cut);
        box_turn(box);
        if (cut < len) {
            script_recv(script, peer->sock, bytes + cut, len - cut);
            box_turn(box);
        }
        cr_assert_eq(box->ready_cnt, 1, "cut at %zu", cut);
        cr_assert_eq(box->msg_cnt, 3, "cut at %zu", cut);
        box_expect_msg(box, 0, 0, 300, 1);
        box_expect_msg(box, 1, 0, 20, 2);
        box_expect_msg(box, 2, 0, 20, 3);
        peer_free(peer);
        solo_free(box);
    }
}

Test(rx, a_receive_that_ends_on_a_good_event_is_armed_again)
{
    struct box *box = solo_new(2);
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    small_stream(peer);
    uint32_t before = script->socks[peer->sock].recv_cnt;
    uint32_t ended_cnt = 0;
    for (size_t at = 0; at < peer->out_len; ended_cnt++) {
        size_t len = peer->out_len - at < 11 ? peer->out_len - at : 11;
        script_recv_flags(script, peer->sock, peer->outbox + at, len, false);
        at += len;
        box_turn(box);
        cr_assert(script->socks[peer->sock].is_receiving);
        cr_assert_eq(peer->conn->flags & WEIR_CONN_STARVED, 0);
    }
    cr_assert_eq(script->socks[peer->sock].recv_cnt, before + ended_cnt);
    expect_at_rest(peer);
    peer_free(peer);
    solo_free(box);
}

Test(rx, a_receive_without_buffers_loses_nothing_and_is_armed_once_they_are_back)
{
    static const int32_t ends[] = {-ENOBUFS, -EAGAIN, -EINTR};
    struct box *box = solo_new(2);
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    small_stream(peer);
    for (size_t at = 0; at < peer->out_len; at++) {
        script_recv(script, peer->sock, peer->outbox + at, 1);
        script_recv_end(script, peer->sock, ends[at % 3]);
        box_turn(box);
        cr_assert(script->socks[peer->sock].is_receiving);
        cr_assert_eq(script->lent_cnt, 0, "buffers came back first");
    }
    expect_at_rest(peer);
    peer_free(peer);
    solo_free(box);
}

/* Arming more than there are buffers for only makes them starve again. */
Test(rx, as_many_are_armed_again_as_there_are_buffers_and_in_their_order)
{
    enum { PEERS = 5 };
    struct box *box = solo_new(2);
    box->cfg.peers_max = PEERS;
    box->cfg.recv_buf_cnt = 2;
    struct script_io *script = solo_open(box);
    struct peer *peers[PEERS];
    for (int i = 0; i < PEERS; i++)
        peers[i] = peer_ready(box);
    for (int i = 0; i < PEERS; i++)
        script_recv_end(script, peers[i]->sock, -ENOBUFS);
    for (int armed = 2; armed < PEERS + 2; armed += 2) {
        box_turn(box);
        for (int i = 0; i < PEERS; i++)
            cr_assert_eq(script->socks[peers[i]->sock].is_receiving, i < armed, "peer %d of %d", i,
                         armed);
    }
    cr_assert_null(box->hub.starved);
    /* Who starves again stands behind those who wait already. */
    for (int i = 0; i < PEERS; i++)
        script_recv_end(script, peers[i]->sock, -ENOBUFS);
    box_turn(box);
    script_recv_end(script, peers[0]->sock, -ENOBUFS);
    box_turn(box);
    cr_assert(!script->socks[peers[0]->sock].is_receiving);
    cr_assert(script->socks[peers[2]->sock].is_receiving);
    /* What is being closed waits for its place in the list and takes nobody's buffer. */
    for (int i = 0; i < PEERS; i++)
        weir_conn_abort(peers[i]->conn, WEIR_R_APPLICATION);
    for (int i = 0; i < 4; i++)
        box_turn(box);
    for (int i = 0; i < PEERS; i++) {
        cr_assert_eq(peers[i]->conn->state, WEIR_CONN_FREE);
        peer_free(peers[i]);
    }
    solo_free(box);
}

Test(rx, a_receive_that_cannot_be_armed_again_ends_the_connection)
{
    struct box *box = solo_new(2);
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    script->fail_recv = 1;
    script_recv_end(script, peer->sock, -ENOBUFS);
    box_turn(box);
    box_turn(box);
    cr_assert_eq(box_last_reason(box), WEIR_R_INTERNAL);
    cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
    peer_free(peer);
    solo_free(box);
}

Test(rx, many_frames_in_one_event_are_all_delivered)
{
    struct box *box = solo_new(1);
    solo_open(box);
    struct peer *peer = peer_ready(box);
    /* More than the hub holds at once, so that it verifies in the middle of a window. */
    const uint32_t cnt = 3 * WEIR_HUB_FRAMES + 1;
    for (uint32_t i = 0; i < cnt; i++)
        peer_run(peer, CHANNEL, 1, 1, i);
    peer_say(peer, 1 << 20);
    cr_assert_eq(box->msg_cnt, cnt);
    for (uint32_t i = 0; i < cnt; i++)
        box_expect_msg(box, i, 0, 1, i);
    peer_free(peer);
    solo_free(box);
}

Test(rx, an_end_in_the_middle_of_anything_leaves_nothing_behind)
{
    struct box *probe = solo_new(2);
    solo_open(probe);
    struct peer *script_peer = peer_ready(probe);
    small_stream(script_peer);
    size_t len = script_peer->out_len;
    uint8_t *bytes = malloc(len);
    memcpy(bytes, script_peer->outbox, len);
    static const int32_t ends[] = {0, -ECONNRESET};
    for (size_t cut = 1; cut <= len; cut++) {
        for (int i = 0; i < 2; i++) {
            struct box *box = solo_new(2);
            struct script_io *script = solo_open(box);
            struct peer *peer = peer_ready(box);
            script_recv(script, peer->sock, bytes, cut);
            script_recv_end(script, peer->sock, ends[i]);
            box_turn(box);
            box_turn(box);
            box_turn(box);
            cr_assert_eq(box->end_cnt, 1);
            cr_assert_eq(box_last_reason(box), i ? WEIR_R_RESET : WEIR_R_EOF);
            cr_assert_eq(peer->conn->state, WEIR_CONN_FREE, "cut at %zu", cut);
            cr_assert_eq(box_pool_stats(box).used_cnt, 0, "cut at %zu", cut);
            cr_assert_eq(script->lent_cnt, 0);
            if (cut == len)
                expect_small_stream(box); /* what came before the end counts */
            peer_free(peer);
            solo_free(box);
        }
    }
    free(bytes);
    peer_free(script_peer);
    solo_free(probe);
}

/* One that talks beside another waits behind what the kernel holds of that: so it is to hold less. */
Test(rx, the_kernel_holds_less_while_several_channels_are_heard_of)
{
    struct box *box = solo_new(2);
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    const uint32_t *step = &script->socks[peer->sock].unread_step;
    for (int i = 0; i < 3; i++) {
        peer_run(peer, CHANNEL, 1, 10, 1);
        peer_say(peer, 4096);
        cr_assert_eq(*step, 0, "there is one channel");
    }
    peer_run(peer, CHANNEL + 1, 1, 10, 2);
    peer_say(peer, 4096);
    /* Not at once: what the peer may have sent by then has its room still. */
    uint64_t heard = peer->conn->wire_rx;
    for (uint32_t before = 0; before < WEIR_IO_UNREAD_STEPS; before = *step) {
        cr_assert_lt(peer->conn->wire_rx - heard, (before + 1) * 72 * 1024);
        peer_run(peer, CHANNEL, 1, 4000, 3);
        peer_say(peer, 8192);
        cr_assert(*step == before || *step == before + 1);
        if (*step != before)
            cr_assert_geq(peer->conn->wire_rx - heard, *step * 64 * 1024);
    }
    /* It stays so for half a second at least, and is over a second later. */
    solo_advance(box, 300 * WEIR_NS_PER_MS);
    peer_run(peer, CHANNEL, 1, 10, 3);
    peer_say(peer, 4096);
    cr_assert_eq(*step, WEIR_IO_UNREAD_STEPS);
    for (int i = 0; i < 3; i++) {
        solo_advance(box, 600 * WEIR_NS_PER_MS);
        peer_run(peer, CHANNEL, 1, 10, 4);
        peer_say(peer, 4096);
    }
    cr_assert_eq(*step, 0);
    peer_free(peer);
    solo_free(box);
}
