#include "engine/conn/tx.h"
#include "tests/unit/conn/peer.h"

#define CHANNEL 10 /* the first channel's id */

/* ---- opening -------------------------------------------------------------------------------------- */

Test(conn, both_sides_shake_hands_whatever_the_chunks)
{
    for (int is_dialer = 0; is_dialer < 2; is_dialer++) {
        for (size_t chunk = 1; chunk < 200; chunk += chunk < 12 ? 1 : 31) {
            struct box *box = solo_new(2);
            solo_open(box);
            struct peer *peer = peer_new(box, is_dialer);
            peer_connect(peer);
            cr_assert_eq(peer->conn->state, WEIR_CONN_HANDSHAKE);
            cr_assert_eq(box->hub.metrics.handshake_cnt, 1);
            peer_pump(peer, chunk);
            cr_assert(peer->is_ready);
            cr_assert_eq(box->ready_cnt, 1);
            cr_assert_eq(peer->conn->state, WEIR_CONN_READY);
            cr_assert_eq(peer->conn->live_gen, peer->conn->gen);
            cr_assert_eq(box->hub.metrics.handshake_cnt, 0);
            cr_assert_eq(box->hub.metrics.ready_cnt, 1);
            cr_assert_eq(is_dialer ? box->hub.metrics.accepted : box->hub.metrics.dialed, 1);
            peer_free(peer);
            solo_free(box);
        }
    }
}

Test(conn, only_what_both_have_is_agreed)
{
    struct box *box = solo_new(3);
    solo_open(box);
    struct peer *peer = peer_new(box, true);
    peer->descs[0].id = 3; /* theirs alone, and before ours */
    peer->descs[1].id = 11;
    peer->descs[1].msg_bytes_max = 777;
    peer->descs[1].window_bytes = 40001;
    peer->offer.channel_cnt = 2;
    peer->offer.frame_bytes_max = 30000;
    peer_shake(peer);
    struct weir_conn_channel *channels = peer->conn->channels;
    cr_assert(!channels[0].is_agreed && channels[1].is_agreed && !channels[2].is_agreed);
    cr_assert_eq(channels[1].msg_bytes_max, 777);
    cr_assert_eq(channels[1].tx_limit, 40001);
    cr_assert_eq(channels[1].frame_bytes_max, 20000, "half of the window");
    cr_assert_eq(channels[0].msg_bytes_max, 0);
    cr_assert_eq(box_send(peer->conn, 0, 1, 1), WEIR_E_NO_CHANNEL);
    cr_assert_eq(box_send(peer->conn, 1, 778, 1), WEIR_E_TOO_BIG);
    peer_free(peer);
    solo_free(box);
}

Test(conn, there_are_only_so_many_slots_and_handshakes)
{
    struct box *box = solo_new(1);
    box->cfg.peers_max = 3;
    box->cfg.handshakes_max = 2;
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    struct weir_conn *conn;
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, "192.0.2.7:7000"), 0);
    cr_assert_eq(weir_conn_accept(&box->hub, script_open(script), &conn), 0);
    cr_assert_eq(weir_conn_accept(&box->hub, script_open(script), &conn), 0);
    cr_assert_eq(weir_conn_accept(&box->hub, script_open(script), &conn), WEIR_E_LIMIT);
    cr_assert_eq(weir_conn_dial(&box->hub, &addr, 1, &conn), WEIR_E_LIMIT);
    cr_assert_eq(box->hub.metrics.conn_cnt, 3);
    peer_hang_up(peer);
    cr_assert_eq(weir_conn_accept(&box->hub, script_open(script), &conn), WEIR_E_LIMIT,
                 "a slot, but two handshakes are pending");
    cr_assert_eq(weir_conn_dial(&box->hub, &addr, 1, &conn), 0);
    peer_free(peer);
    solo_free(box);
}

Test(conn, a_dial_that_cannot_start_leaves_nothing)
{
    struct box *box = solo_new(1);
    struct script_io *script = solo_open(box);
    struct weir_conn *conn = NULL;
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, "192.0.2.7:7000"), 0);
    for (int i = 0; i < 10; i++) {
        script->fail_connect = 1;
        cr_assert_eq(weir_conn_dial(&box->hub, &addr, 1, &conn), WEIR_E_DESCRIPTORS);
        cr_assert_null(conn);
    }
    cr_assert_eq(box->hub.metrics.conn_cnt, 0);
    cr_assert_eq(box->end_cnt, 0);
    peer_free(peer_dialed(box));
    solo_free(box);
}

Test(conn, a_dial_s_error_is_a_reason)
{
    static const struct {
        int error;
        uint16_t reason;
    } cases[] = {{ECONNREFUSED, WEIR_R_REFUSED},    {ENOENT, WEIR_R_REFUSED},
                 {ENETUNREACH, WEIR_R_UNREACHABLE}, {EHOSTUNREACH, WEIR_R_UNREACHABLE},
                 {ENETDOWN, WEIR_R_UNREACHABLE},    {EADDRNOTAVAIL, WEIR_R_UNREACHABLE},
                 {EACCES, WEIR_R_UNREACHABLE},      {EPERM, WEIR_R_UNREACHABLE},
                 {ETIMEDOUT, WEIR_R_DIAL_TIMEOUT},  {ECONNRESET, WEIR_R_RESET},
                 {ECANCELED, WEIR_R_RESET},         {4095, WEIR_R_RESET}};
    struct box *box = solo_new(1);
    struct script_io *script = solo_open(box);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_conn *conn;
        struct weir_addr addr;
        cr_assert_eq(weir_addr_parse(&addr, "192.0.2.7:7000"), 0);
        cr_assert_eq(weir_conn_dial(&box->hub, &addr, 5, &conn), 0);
        cr_assert_eq(conn->state, WEIR_CONN_DIALING);
        cr_assert_eq(conn->dial_idx, 5);
        script_connected(script, conn->sock, -cases[i].error);
        box_turn(box);
        box_turn(box);
        cr_assert_eq(box->end_cnt, i + 1);
        cr_assert_eq(box_last_reason(box), cases[i].reason, "%s", strerror(cases[i].error));
        cr_assert_eq(conn->state, WEIR_CONN_FREE);
    }
    solo_free(box);
}

Test(conn, a_connection_whose_receive_cannot_be_armed_ends)
{
    for (int can_shut = 0; can_shut < 2; can_shut++) {
        struct box *box = solo_new(1);
        struct script_io *script = solo_open(box);
        struct weir_conn *conn;
        script->fail_recv = 1;
        script->fail_shutdown = can_shut ? 0 : 1;
        cr_assert_eq(weir_conn_accept(&box->hub, script_open(script), &conn), 0);
        cr_assert_eq(box_last_reason(box), WEIR_R_INTERNAL);
        box_turn(box);
        box_turn(box);
        cr_assert_eq(conn->state, WEIR_CONN_FREE);
        cr_assert(!script->socks[1].is_open);
        solo_free(box);
    }
}

/* ---- in flight ------------------------------------------------------------------------------------ */

Test(conn, no_slot_is_used_again_before_the_last_event)
{
    /* A send, a receive and the shutdown itself are in flight; their events come in each order. */
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int o = 0; o < 6; o++) {
        struct box *box = solo_new(1);
        box->cfg.peers_max = 1;
        struct script_io *script = solo_open(box);
        struct peer *peer = peer_ready(box);
        uint32_t gen = peer->conn->gen;
        script->is_manual = true;
        cr_assert_eq(box_send(peer->conn, 0, 100000, 1), 0);
        box_turn(box);
        weir_conn_abort(peer->conn, WEIR_R_INTERNAL);
        cr_assert_eq(peer->conn->state, WEIR_CONN_DRAIN);
        for (int i = 0; i < 3; i++) {
            struct weir_conn *other;
            cr_assert_eq(weir_conn_accept(&box->hub, 31, &other), WEIR_E_LIMIT);
            cr_assert(script->socks[peer->sock].is_open);
            cr_assert_geq(box_pool_stats(box).used_cnt, 1, "the kernel may be reading it");
            if (orders[o][i] == 0)
                script_sent(script, peer->sock, i == 0 ? 7 : -EPIPE);
            else if (orders[o][i] == 1)
                script_recv_end(script, peer->sock, i == 1 ? 0 : -ECONNRESET);
            else
                script_shutdown_done(script, peer->sock);
            if (orders[o][i] == 0) /* its bytes are ours again */
                break;
            box_turn(box);
        }
        while (script->socks[peer->sock].shutdown_cnt)
            script_shutdown_done(script, peer->sock);
        if (script->socks[peer->sock].is_receiving)
            script_recv_end(script, peer->sock, 0);
        box_turn(box);
        box_turn(box);
        cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
        cr_assert_eq(peer->conn->gen, gen + 1);
        cr_assert_eq(box_pool_stats(box).used_cnt, 0);
        peer_free(peer);
        solo_free(box);
    }
}

Test(conn, late_events_of_an_earlier_generation_are_ignored)
{
    struct box *box = solo_new(1);
    box->cfg.peers_max = 1;
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    uint64_t old = weir_conn_token(peer->conn);
    peer_hang_up(peer);
    peer_free(peer);
    peer = peer_ready(box);
    cr_assert_eq(peer->conn->slot, 0);
    cr_assert_neq(weir_conn_token(peer->conn), old);
    /* An event of each kind, a received buffer among them, which must come back. */
    uint32_t idx = 7;
    script->bufs[idx] = malloc(4);
    script->lent_cnt++;
    script_event(script, &(struct weir_io_event){.token = old,
                                                 .res = 4,
                                                 .kind = WEIR_IO_RECV,
                                                 .flags = WEIR_IO_BUF | WEIR_IO_MORE,
                                                 .data = script->bufs[idx],
                                                 .buf_idx = idx});
    script_event(script, &(struct weir_io_event){.token = old, .res = 0, .kind = WEIR_IO_RECV});
    script_event(script, &(struct weir_io_event){.token = old, .res = 9, .kind = WEIR_IO_SEND});
    script_event(script, &(struct weir_io_event){.token = old, .res = -5, .kind = WEIR_IO_CONNECT});
    script_event(script, &(struct weir_io_event){.token = old, .kind = WEIR_IO_SHUTDOWN});
    box_turn(box);
    cr_assert_eq(script->lent_cnt, 0);
    cr_assert_eq(peer->conn->state, WEIR_CONN_READY);
    cr_assert_eq(box->end_cnt, 1);
    /* And of slots that there are not. */
    script_event(script, &(struct weir_io_event){.token = 5, .res = 9, .kind = WEIR_IO_SEND});
    script_event(script, &(struct weir_io_event){.token = UINT32_MAX, .kind = WEIR_IO_SHUTDOWN});
    box_turn(box);
    cr_assert_eq(box_send(peer->conn, 0, 10, 1), 0);
    peer_listen(peer);
    cr_assert_eq(peer_data_bytes(peer, CHANNEL), 12);
    peer_free(peer);
    solo_free(box);
}

Test(conn, generations_go_on_for_ever)
{
    struct box *box = solo_new(1);
    box->cfg.peers_max = 1;
    solo_open(box);
    box->hub.conns[0].gen = UINT32_MAX;
    struct peer *peer = peer_ready(box);
    cr_assert_eq(peer->conn->live_gen, UINT32_MAX);
    peer_hang_up(peer);
    cr_assert_eq(peer->conn->gen, 1, "never 0: that is nobody");
    peer_free(peer);
    box->hub.conns[0].gen = 0x1000000; /* a token has 24 bits of it */
    peer = peer_ready(box);
    peer_run(peer, CHANNEL, 1, 3, 1);
    peer_say(peer, 0);
    box_expect_msg(box, 0, 0, 3, 1);
    peer_free(peer);
    solo_free(box);
}

/* The kernel has no memory for a while: what could not be started is started later. */
Test(conn, a_shutdown_that_cannot_start_is_made_later)
{
    for (int is_linger = 0; is_linger < 2; is_linger++) {
        struct box *box = solo_new(1);
        struct script_io *script = solo_open(box);
        struct peer *peer = peer_ready(box);
        if (is_linger) {
            weir_conn_close(peer->conn, WEIR_R_APPLICATION, false);
            box_turn(box);
            script_sent(script, peer->sock, (int64_t)script_unsent(script, peer->sock));
        }
        script->is_refusing = true;
        if (!is_linger)
            weir_conn_abort(peer->conn, WEIR_R_INTERNAL);
        for (int i = 0; i < 20; i++)
            solo_advance(box, WEIR_NS_PER_MS);
        cr_assert_eq(script->socks[peer->sock].shut_how, 0);
        cr_assert_eq(peer->conn->state, is_linger ? WEIR_CONN_LINGER : WEIR_CONN_DRAIN);
        cr_assert(script->socks[peer->sock].is_open, "not closed before it was shut");
        script->is_refusing = false;
        box_turn(box);
        cr_assert_eq(script->socks[peer->sock].shut_how, is_linger ? 2 : 3);
        peer_hang_up(peer);
        cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
        cr_assert_eq(box->end_cnt, 1);
        peer_free(peer);
        solo_free(box);
    }
}

/* shutdown() ends what is in flight, and says that nothing more is written. Where neither is left to be done, close() is
 * enough; but not where bytes may wait unread, because it would make a reset of the end. */
Test(conn, a_socket_is_shut_no_more_often_than_needed)
{
    enum { DIAL_REFUSED, PEER_ENDED, PEER_RESET, SAID_GOODBYE, HEARD_GOODBYE, STARVED, WAYS };
    static const uint32_t cnts[WAYS] = {0, 0, 0, 1, 1, 1};
    static const int hows[WAYS] = {0, 0, 0, 2, 3, 3};
    for (int way = 0; way < WAYS; way++) {
        struct box *box = solo_new(1);
        struct script_io *script = solo_open(box);
        struct peer *peer = way == DIAL_REFUSED ? peer_new(box, false) : peer_ready(box);
        if (way == DIAL_REFUSED) {
            struct weir_addr addr;
            cr_assert_eq(weir_addr_parse(&addr, "192.0.2.7:7000"), 0);
            cr_assert_eq(weir_conn_dial(&box->hub, &addr, UINT32_MAX, &peer->conn), 0);
            peer->sock = peer->conn->sock;
            script_connected(script, peer->sock, -ECONNREFUSED);
        } else if (way == PEER_ENDED || way == PEER_RESET) {
            script_recv_end(script, peer->sock, way == PEER_ENDED ? 0 : -ECONNRESET);
        } else if (way == SAID_GOODBYE) {
            weir_conn_close(peer->conn, WEIR_R_APPLICATION, false);
            peer_listen(peer);
            cr_assert_eq(peer->conn->state, WEIR_CONN_LINGER);
            script_recv_end(script, peer->sock, 0);
        } else if (way == HEARD_GOODBYE) {
            peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_GOODBYE, .reason = 1});
            peer_say(peer, 0);
        } else {
            script_recv_end(script, peer->sock, -ENOBUFS);
            script->is_refusing = true; /* so that it cannot be armed again */
            box_turn(box);
            cr_assert(peer->conn->flags & WEIR_CONN_STARVED);
            weir_conn_abort(peer->conn, WEIR_R_INTERNAL);
            script->is_refusing = false;
        }
        box_turn(box);
        box_turn(box);
        cr_assert_eq(peer->conn->state, WEIR_CONN_FREE, "way %d", way);
        cr_assert(!script->socks[peer->sock].is_open);
        cr_assert_eq(script->socks[peer->sock].shut_cnt, cnts[way], "way %d: %u", way,
                     script->socks[peer->sock].shut_cnt);
        cr_assert_eq(script->socks[peer->sock].shut_how, hows[way], "way %d", way);
        cr_assert_eq(box->end_cnt, 1);
        peer_free(peer);
        solo_free(box);
    }
}

/* Whatever the connection is doing when it ends, in whichever way, all comes back. */
Test(conn, every_end_in_every_state_gives_everything_back)
{
    enum { DIALING, SHAKING, READY, BUSY, GOODBYE, LINGER, STATES };
    enum { ABORT, CLOSE, GRACE, RESET, END, PEER_BYE, ENDS };
    for (int state = 0; state < STATES; state++) {
        for (int end = 0; end < ENDS; end++) {
            struct box *box = solo_new(2);
            struct script_io *script = solo_open(box);
            struct peer *peer = peer_new(box, false);
            if (state == DIALING) {
                struct weir_addr addr;
                cr_assert_eq(weir_addr_parse(&addr, "192.0.2.7:7000"), 0);
                cr_assert_eq(weir_conn_dial(&box->hub, &addr, UINT32_MAX, &peer->conn), 0);
                peer->sock = peer->conn->sock;
            } else {
                peer_connect(peer);
                if (state > SHAKING)
                    peer_pump(peer, 0);
            }
            if (state >= BUSY) { /* something of everything */
                for (uint64_t i = 0; i < 10; i++) {
                    cr_assert_eq(box_send(peer->conn, 0, 50000, i), 0);
                    cr_assert_eq(box_send_shared(peer->conn, 1, 90000, i), 0);
                }
                peer_fragment(peer, CHANNEL, 100000, 0, 10, 1);
                peer_fragment(peer, CHANNEL + 1, 100000, 0, 10000, 1);
                peer->out_len -= 5000; /* of which half is here */
                peer_say(peer, 0);
                weir_conn_pause(peer->conn, 0, true);
            }
            if (state == GOODBYE || state == LINGER)
                weir_conn_close(peer->conn, WEIR_R_APPLICATION, false);
            if (state == LINGER)
                peer_listen(peer);
            if (end == ABORT)
                weir_conn_abort(peer->conn, WEIR_R_INTERNAL);
            if (end == CLOSE || end == GRACE)
                weir_conn_close(peer->conn, WEIR_R_SHUTDOWN, end == GRACE);
            if (script->socks[peer->sock].is_receiving && (end == RESET || end == END))
                script_recv_end(script, peer->sock, end == RESET ? -ECONNRESET : 0);
            if (end == PEER_BYE && script->socks[peer->sock].is_receiving && state == READY) {
                peer_control(peer,
                             &(struct weir_control){.kind = WEIR_CONTROL_GOODBYE, .reason = 1});
                peer_say(peer, 0);
            }
            box_turn(box);
            if (script->socks[peer->sock].is_sending)
                script_sent(script, peer->sock, 3);
            box_turn(box);
            /* Time ends what nothing else did. */
            for (int i = 0; i < 8; i++)
                solo_advance(box, 20 * WEIR_NS_PER_S);
            cr_assert_eq(box->end_cnt, 1, "state %d, end %d", state, end);
            cr_assert_eq(peer->conn->state, WEIR_CONN_FREE, "state %d, end %d", state, end);
            cr_assert_eq(box_pool_stats(box).used_cnt, 0, "state %d, end %d", state, end);
            cr_assert_eq(box->hub.metrics.conn_cnt, 0);
            cr_assert_eq(box->hub.metrics.handshake_cnt, 0);
            cr_assert_eq(box->hub.metrics.ready_cnt, 0);
            cr_assert_eq(box->wheel.timer_cnt, 0);
            cr_assert_eq(script->lent_cnt, 0);
            cr_assert(!script->socks[peer->sock].is_open);
            peer_free(peer);
            solo_free(box);
        }
    }
}

Test(conn, a_hub_may_end_at_any_moment)
{
    for (int steps = 0; steps < 40; steps++) {
        struct box *box = solo_new(2);
        solo_open(box);
        struct peer *peer = peer_new(box, steps % 2);
        peer_connect(peer);
        uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
        for (int i = 0; i < steps; i++) {
            if (peer->conn->state == WEIR_CONN_READY) {
                cr_assert_eq(box_send(peer->conn, 0, 3000, 1), 0);
                if (steps < 25)
                    cr_assert_eq(box_send_shared(peer->conn, 1, 90000, 1), 0);
                peer_fragment(peer, CHANNEL, 5000, 0, 2500, 1);
                peer_fragment(peer, CHANNEL, 5000, 2500, 2500, 1);
            }
            peer_raw(peer, bytes, weir_codec_native.pull(peer->state, bytes, sizeof(bytes)));
            size_t len = peer->out_len < 777 ? peer->out_len : 777;
            size_t rest = peer->out_len - len;
            peer->out_len = len;
            peer_say(peer, 100);
            if (rest)
                memmove(peer->outbox, peer->outbox + len, rest);
            peer->out_len = rest;
            size_t unsent = script_unsent(peer->script, peer->sock);
            if (unsent)
                script_sent(peer->script, peer->sock, (int64_t)(unsent < 500 ? unsent : 500));
            box_turn(box);
            peer_hear(peer);
        }
        peer_free(peer);
        solo_free(box); /* asserts that nothing is left */
    }
}
