/* How a connection ends when it is asked to: goodbye, linger, drain. */
#include "tests/unit/conn/peer.h"

#define CHANNEL 10 /* the first channel's id */

Test(conn_close, a_close_is_goodbye_linger_drain_free)
{
    for (int is_dialer = 0; is_dialer < 2; is_dialer++) {
        struct box *box = solo_new(1);
        struct script_io *script = solo_open(box);
        struct peer *peer = is_dialer ? peer_dialed(box) : peer_ready(box);
        struct script_sock *sock = &script->socks[peer->sock];
        weir_conn_close(peer->conn, WEIR_R_APPLICATION, false);
        cr_assert_eq(peer->conn->state, WEIR_CONN_GOODBYE);
        cr_assert_eq(box->end_cnt, 1);
        cr_assert(box->ends[0].was_ready);
        weir_conn_close(peer->conn, WEIR_R_SHUTDOWN, false);
        weir_conn_close(peer->conn, WEIR_R_SHUTDOWN, true);
        cr_assert_eq(box->end_cnt, 1, "only the first call counts");
        box_turn(box);
        cr_assert_eq(sock->shut_how, 0);
        script_sent(script, peer->sock, 5);
        box_turn(box);
        cr_assert_eq(peer->conn->state, WEIR_CONN_GOODBYE, "not said yet");
        script_sent(script, peer->sock, (int64_t)script_unsent(script, peer->sock));
        box_turn(box);
        cr_assert_eq(peer->conn->state, WEIR_CONN_LINGER);
        cr_assert_eq(sock->shut_how, 2, "our side only");
        peer_hear(peer);
        cr_assert_eq(peer_heard(peer, WEIR_CONTROL_GOODBYE, 0)->reason, WEIR_R_APPLICATION);
        /* What it still sends is taken and thrown away. */
        peer_run(peer, CHANNEL, 1, 100, 1);
        peer_say(peer, 0);
        cr_assert_eq(box->msg_cnt, 0);
        script_recv_end(script, peer->sock, 0);
        box_turn(box);
        cr_assert_eq(sock->shut_how, 2, "both sides have ended: close() is all that is left");
        cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
        cr_assert(!sock->is_open);
        cr_assert_eq(box->end_cnt, 1);
        peer_free(peer);
        solo_free(box);
    }
}

Test(conn_close, a_goodbye_ends_it_on_the_other_side)
{
    struct box *box = solo_new(1);
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    peer_run(peer, CHANNEL, 1, 10, 1);
    peer_control(peer, &(struct weir_control){
                           .kind = WEIR_CONTROL_GOODBYE, .reason = WEIR_R_SHUTDOWN, .text = "bye"});
    peer_run(peer, CHANNEL, 1, 10, 2);
    script_recv(script, peer->sock, peer->outbox, peer->out_len);
    box_turn(box);
    cr_assert_eq(box->msg_cnt, 1, "what came before it counts, and nothing after");
    box_expect_msg(box, 0, 0, 10, 1);
    cr_assert_eq(box_last_reason(box), WEIR_R_SHUTDOWN);
    cr_assert(peer->conn->flags & WEIR_CONN_HEARD_GOODBYE);
    box_turn(box);
    cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
    cr_assert_eq(script->lent_cnt, 0);
    peer_free(peer);
    solo_free(box);
}

Test(conn_close, two_goodbyes_cross)
{
    for (int is_graceful = 0; is_graceful < 2; is_graceful++) {
        for (int is_in_flight = 0; is_in_flight < 2; is_in_flight++) {
            struct box *box = solo_new(1);
            struct script_io *script = solo_open(box);
            struct peer *peer = peer_ready(box);
            weir_conn_close(peer->conn, WEIR_R_APPLICATION, is_graceful);
            if (is_in_flight)
                box_turn(box);
            peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_GOODBYE,
                                                      .reason = WEIR_R_SHUTDOWN});
            peer_say(peer, 0);
            if (script->socks[peer->sock].is_open && script->socks[peer->sock].is_receiving)
                script_recv_end(script, peer->sock, 0);
            for (int i = 0; i < 4; i++) {
                if (script->socks[peer->sock].is_sending)
                    script_sent(script, peer->sock, -EPIPE);
                box_turn(box);
            }
            cr_assert_eq(box->end_cnt, 1);
            cr_assert_eq(box_last_reason(box), WEIR_R_APPLICATION);
            cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
            peer_free(peer);
            solo_free(box);
        }
    }
}

/* The other side shut its writing half only: what we owe it still goes. */
Test(conn_close, a_graceful_close_sends_the_queue_also_after_the_peer_s_end)
{
    struct box *box = solo_new(1);
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    for (uint64_t i = 0; i < 20; i++)
        cr_assert_eq(box_send(peer->conn, 0, 50000, i), 0);
    weir_conn_close(peer->conn, WEIR_R_APPLICATION, true);
    box_turn(box);
    script_recv_end(script, peer->sock, 0);
    for (int i = 0; i < 20 && script->socks[peer->sock].is_open; i++)
        peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    for (uint64_t i = 0; i < 20; i++)
        heard_expect(&heard, 50000, i);
    heard_end(&heard);
    cr_assert_eq(peer_heard(peer, WEIR_CONTROL_GOODBYE, 0)->reason, WEIR_R_APPLICATION);
    box_turn(box);
    cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
    peer_free(peer);
    solo_free(box);
}

Test(conn_close, a_graceful_close_drains_the_queues_first_and_needs_credit_for_it)
{
    struct box *box = solo_new(2);
    solo_open(box);
    struct peer *peer = peer_new(box, true);
    peer->descs[0].window_bytes = 1 << 20;
    peer_shake(peer);
    for (uint64_t i = 0; i < 15; i++)
        cr_assert_eq(box_send(peer->conn, 0, 100000, i), 0);
    weir_conn_close(peer->conn, WEIR_R_APPLICATION, true);
    cr_assert_eq(box->end_cnt, 1, "told at once");
    for (int i = 0; i < 10; i++)
        peer_listen(peer);
    cr_assert_null(peer_heard(peer, WEIR_CONTROL_GOODBYE, 0), "not while bytes wait");
    /* It is thrown away, but the channel's credit comes back, or the peer would stall. */
    for (uint64_t i = 0; i < 12; i++)
        peer_fragment(peer, CHANNEL + 1, 200000, 0, 60000, i),
            peer_fragment(peer, CHANNEL + 1, 200000, 60000, 60000, i),
            peer_fragment(peer, CHANNEL + 1, 200000, 120000, 60000, i),
            peer_fragment(peer, CHANNEL + 1, 200000, 180000, 20000, i);
    peer_say(peer, 0);
    peer_listen(peer);
    cr_assert_eq(box->msg_cnt, 0);
    cr_assert_not_null(peer_heard(peer, WEIR_CONTROL_CREDIT, 0));
    peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_PING, .value = 3});
    peer_grant(peer, CHANNEL, 1 << 30);
    for (int i = 0; i < 10; i++)
        peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    for (uint64_t i = 0; i < 15; i++)
        heard_expect(&heard, 100000, i);
    heard_end(&heard);
    cr_assert_not_null(peer_heard(peer, WEIR_CONTROL_PONG, 0));
    cr_assert_not_null(peer_heard(peer, WEIR_CONTROL_GOODBYE, 0));
    cr_assert_eq(peer->conn->state, WEIR_CONN_LINGER);
    peer_hang_up(peer);
    cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
    cr_assert_eq(box_pool_stats(box).used_cnt, 0);
    peer_free(peer);
    solo_free(box);
}

/* While it drains, the other side may go on sending far more than its budget: it is thrown away. */
Test(conn_close, what_arrives_during_a_graceful_close_costs_nothing)
{
    struct box *box = solo_new(2);
    box->cfg.peer_bytes_max = 2 << 20;
    solo_open(box);
    struct peer *peer = peer_new(box, true);
    peer->descs[0].window_bytes = 1 << 20;
    peer_shake(peer);
    for (uint64_t i = 0; i < 12; i++)
        cr_assert_eq(box_send(peer->conn, 0, 100000, i), 0);
    peer_listen(peer);
    weir_conn_close(peer->conn, WEIR_R_APPLICATION, true);
    for (uint64_t i = 0; i < 50; i++) { /* 5 MB in messages of two fragments */
        peer_fragment(peer, CHANNEL + 1, 100000, 0, 60000, i);
        peer_fragment(peer, CHANNEL + 1, 100000, 60000, 40000, i);
        peer_say(peer, 0);
        peer_listen(peer);
    }
    cr_assert_leq(box_pool_stats(box).used_bytes, 2 << 20);
    peer_grant(peer, CHANNEL, 1 << 30);
    for (int i = 0; i < 10; i++)
        peer_listen(peer);
    cr_assert_not_null(peer_heard(peer, WEIR_CONTROL_GOODBYE, 0),
                       "its credit was still listened to");
    peer_free(peer);
    solo_free(box);
}

Test(conn_close, an_ungraceful_close_drops_the_queues)
{
    struct box *box = solo_new(1);
    solo_open(box);
    struct peer *peer = peer_ready(box);
    for (uint64_t i = 0; i < 10; i++)
        cr_assert_eq(box_send(peer->conn, 0, 100000, i), 0);
    box_turn(box);
    size_t in_flight = script_unsent(peer->script, peer->sock);
    weir_conn_close(peer->conn, WEIR_R_APPLICATION, false);
    cr_assert_leq(peer->conn->bytes_queued, in_flight);
    peer_listen(peer);
    cr_assert_not_null(peer_heard(peer, WEIR_CONTROL_GOODBYE, 0));
    cr_assert_leq(peer_data_bytes(peer, CHANNEL), in_flight);
    peer_hang_up(peer);
    cr_assert_eq(box_pool_stats(box).used_cnt, 0);
    peer_free(peer);
    solo_free(box);
}
