#include "tests/unit/conn/numbered.h"

#define CHANNEL 10 /* the first channel's id */

/* ---- refuse --------------------------------------------------------------------------------------- */

Test(sendq, a_queue_takes_its_bound_to_the_byte)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 10000);
    struct peer *peer = peer_ready(box);
    struct weir_conn *conn = peer->conn;
    cr_assert_eq(box_send(conn, 0, 4998, 1), 0); /* 5,000 with its prefix */
    cr_assert_eq(box_send(conn, 0, 4999, 2), WEIR_E_FULL);
    cr_assert_eq(box_send(conn, 0, 4998, 2), 0);
    cr_assert_eq(box_send(conn, 0, 0, 3), WEIR_E_FULL);
    cr_assert_eq(box_send_buf(conn, 0, 1, 3), WEIR_E_FULL);
    cr_assert_eq(box_send_shared(conn, 0, 1, 3), WEIR_E_FULL);
    cr_assert_eq(conn->bytes_queued, 10000);
    cr_assert_eq(box->hub.metrics.channels[0].refused, 4);
    cr_assert_eq(box_send(conn, 1, 1000, 4), 0, "another channel's queue is another one");
    peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    heard_expect(&heard, 4998, 1);
    heard_expect(&heard, 4998, 2);
    cr_assert(!heard_next(&heard));
    heard_end(&heard);
    peer_free(peer);
    solo_free(box);
}

Test(sendq, an_empty_queue_takes_any_message_there_may_be)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 10000);
    struct peer *peer = peer_ready(box);
    cr_assert_eq(box_send(peer->conn, 0, 10000, 1), 0); /* 10,002 in a run */
    peer_listen(peer);
    cr_assert_eq(peer_data_bytes(peer, CHANNEL), 10002);
    peer_free(peer);
    solo_free(box);
}

/* Ten thousand peers with a small queue each must not take a full frame each. */
Test(sendq, a_small_queue_takes_small_buffers)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 16384);
    struct peer *peer = peer_ready(box);
    uint64_t number = 0;
    for (int round = 0; round < 3; round++) {
        while (box_send(peer->conn, 0, 500, number) == 0)
            number++;
        cr_assert_leq(box_pool_stats(box).used_bytes, 4096 + 2 * 16384);
        peer_listen(peer);
    }
    struct heard heard = heard_begin(peer, CHANNEL);
    for (uint64_t i = 0; i < number; i++)
        heard_expect(&heard, 500, i);
    cr_assert(!heard_next(&heard));
    heard_end(&heard);
    peer_free(peer);
    solo_free(box);
}

/* The default bound is twice the largest message, and a large message has no prefix. */
Test(sendq, two_of_the_largest_messages_fit_the_default_bound)
{
    struct box *box = solo_new(1);
    solo_open(box);
    struct peer *peer = peer_ready(box);
    cr_assert_eq(box->channels[0].send_bytes_max, 2 * box->channels[0].msg_bytes_max);
    cr_assert_eq(box_send(peer->conn, 0, 1 << 20, 1), 0);
    cr_assert_eq(box_send(peer->conn, 0, 1 << 20, 2), 0);
    cr_assert_eq(box_send(peer->conn, 0, 0, 3), WEIR_E_FULL);
    peer_free(peer);
    solo_free(box);
}

Test(sendq, what_is_in_flight_counts_until_it_was_taken)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 10000);
    struct peer *peer = peer_ready(box);
    cr_assert_eq(box_send(peer->conn, 0, 9000, 1), 0);
    box_turn(box);
    cr_assert_eq(box_send(peer->conn, 0, 2000, 2), WEIR_E_FULL);
    script_sent(peer->script, peer->sock, 5000); /* of one frame: it is still there */
    box_turn(box);
    cr_assert_eq(box_send(peer->conn, 0, 2000, 2), WEIR_E_FULL);
    peer_listen(peer);
    cr_assert_eq(box_send(peer->conn, 0, 2000, 2), 0);
    peer_free(peer);
    solo_free(box);
}

/* A run that is being sent is never appended to: the scripted io compares the bytes. */
Test(sendq, a_run_in_flight_is_closed)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 100000);
    struct peer *peer = peer_ready(box);
    for (uint64_t i = 0; i < 50; i++) {
        cr_assert_eq(box_send(peer->conn, 0, 10, i), 0);
        box_turn(box);
        if (i % 3 == 2)
            script_sent(peer->script, peer->sock, i % 2 ? 1 : 0);
    }
    peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    for (uint64_t i = 0; i < 50; i++)
        heard_expect(&heard, 10, i);
    heard_end(&heard);
    peer_free(peer);
    solo_free(box);
}

Test(sendq, what_other_threads_reserved_counts)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 10000);
    struct peer *peer = peer_ready(box);
    struct weir_conn_channel *channel = &peer->conn->channels[0];
    atomic_store(&channel->remote_bytes, 6000);
    cr_assert_eq(box_send(peer->conn, 0, 4000, 1), WEIR_E_FULL);
    cr_assert_eq(box_send(peer->conn, 0, 3998, 1), 0);
    /* The reserved ones come: the bound does not apply again. */
    uint8_t bytes[5998] = {0};
    cr_assert_eq(weir_sendq_copy(peer->conn, 0, bytes, sizeof(bytes), true), 0);
    atomic_store(&channel->remote_bytes, 0);
    cr_assert_eq(peer->conn->bytes_queued, 10000);
    peer_free(peer);
    solo_free(box);
}

static void send_on_writable(struct box *box, struct weir_conn *conn, uint32_t channel_idx)
{
    (void)box;
    cr_assert_eq(box_send(conn, channel_idx, 3000, 50), 0, "there is room when it is said");
}

Test(sendq, writable_comes_once_after_full_when_half_is_free)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 10000);
    box->cfg.frame_bytes_max = 4096; /* the queue's frames */
    box->cfg.send_bytes_max = 2048;  /* so that each send is one of them */
    struct peer *peer = peer_new(box, true);
    peer->offer.frame_bytes_max = 4096;
    peer_shake(peer);
    struct weir_conn *conn = peer->conn;
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(box_send(conn, 0, 2998, i), 0);
    cr_assert_eq(box_send(conn, 0, 2998, 9), WEIR_E_FULL);
    cr_assert_eq(box_send(conn, 0, 2998, 9), WEIR_E_FULL, "twice, but one answer");
    box_turn(box);
    script_sent(peer->script, peer->sock, (int64_t)script_unsent(peer->script, peer->sock));
    box_turn(box);
    cr_assert_eq(conn->bytes_queued, 6000);
    cr_assert_eq(box->writable_cnt[0], 0, "6,000 of 10,000 are still there");
    script_sent(peer->script, peer->sock, (int64_t)script_unsent(peer->script, peer->sock));
    box_turn(box);
    cr_assert_eq(box->writable_cnt[0], 1);
    peer_listen(peer);
    for (uint64_t i = 0; i < 20; i++) {
        cr_assert_eq(box_send(conn, 0, 2998, i), 0);
        peer_listen(peer);
    }
    cr_assert_eq(box->writable_cnt[0], 1, "nobody was refused since");
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(box_send(conn, 0, 2998, i), 0);
    cr_assert_eq(box_send(conn, 0, 2998, 9), WEIR_E_FULL);
    box->on_writable = send_on_writable;
    peer_listen(peer);
    cr_assert_eq(box->writable_cnt[0], 2);
    cr_assert_eq(box->writable_cnt[1], 0);
    cr_assert_eq(conn->bytes_queued, 0, "what was sent inside the callback went out as well");
    peer_free(peer);
    solo_free(box);
}

Test(sendq, nobody_is_told_writable_after_the_end)
{
    for (int is_graceful = 0; is_graceful < 2; is_graceful++) {
        struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 10000);
        struct peer *peer = peer_ready(box);
        cr_assert_eq(box_send(peer->conn, 0, 9000, 1), 0);
        cr_assert_eq(box_send(peer->conn, 0, 9000, 1), WEIR_E_FULL);
        box_turn(box);
        weir_conn_close(peer->conn, WEIR_R_APPLICATION, is_graceful);
        peer_listen(peer);
        peer_hang_up(peer);
        cr_assert_eq(box->writable_cnt[0], 0);
        cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
        peer_free(peer);
        solo_free(box);
    }
}

/* ---- limits and errors ---------------------------------------------------------------------------- */

static void count_release(void *ctx, void *data, size_t len)
{
    (void)data;
    (void)len;
    ++*(uint32_t *)ctx;
}

static int send_wrapped(struct weir_conn *conn, uint32_t channel_idx, size_t len,
                        uint32_t *released)
{
    static uint8_t bytes[1 << 20];
    struct weir_buf *buf;
    cr_assert_eq(weir_buf_wrap(&buf, bytes, len, count_release, released), 0);
    return weir_sendq_buf(conn, channel_idx, buf, false);
}

Test(sendq, a_buffer_is_released_once_whatever_becomes_of_it)
{
    struct box *box = solo_new(3);
    box->cfg.peer_bytes_max = 200000;
    box->channels[0].send_bytes_max = 100000;
    box->channels[0].msg_bytes_max = 90000;
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_new(box, true);
    peer->offer.channel_cnt = 2; /* the third is not agreed */
    peer_shake(peer);
    uint32_t released = 0;
    cr_assert_eq(send_wrapped(peer->conn, 2, 10, &released), WEIR_E_NO_CHANNEL);
    cr_assert_eq(released, 1);
    cr_assert_eq(send_wrapped(peer->conn, 0, 90001, &released), WEIR_E_TOO_BIG);
    cr_assert_eq(released, 2);
    cr_assert_eq(send_wrapped(peer->conn, 0, 0, &released), 0);
    cr_assert_eq(released, 3, "an empty one is copied");
    cr_assert_eq(send_wrapped(peer->conn, 0, 90000, &released), 0);
    cr_assert_eq(send_wrapped(peer->conn, 0, 90000, &released), WEIR_E_FULL);
    cr_assert_eq(released, 4);
    cr_assert_eq(send_wrapped(peer->conn, 1, 110001, &released), WEIR_E_NOMEM);
    cr_assert_eq(released, 5);
    cr_assert_eq(send_wrapped(peer->conn, 1, 100000, &released), 0);
    cr_assert_eq(released, 5);
    box_turn(box);
    script_sent(script, peer->sock, 34); /* the empty one */
    box_turn(box);
    script_sent(script, peer->sock, 1000);
    box_turn(box);
    cr_assert_eq(released, 5, "not while it is being sent");
    weir_conn_close(peer->conn, WEIR_R_APPLICATION, false);
    peer_listen(peer);
    peer_hang_up(peer);
    cr_assert_eq(released, 7);
    peer_free(peer);
    solo_free(box);
}

Test(sendq, a_peer_s_budget_bounds_all_its_queues_together)
{
    struct box *box = solo_new(4);
    box->cfg.peer_bytes_max = 1 << 20;
    solo_open(box);
    struct peer *peer = peer_ready(box);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(box_send_buf(peer->conn, i, 262144, i), 0);
    cr_assert_eq(box_send_buf(peer->conn, 0, 1, 1), WEIR_E_NOMEM);
    cr_assert_eq(box_send(peer->conn, 1, 0, 1), WEIR_E_NOMEM);
    cr_assert_eq(box_send_shared(peer->conn, 2, 1, 1), WEIR_E_NOMEM);
    cr_assert_eq(peer->conn->bytes_queued, 1 << 20);
    peer_listen(peer);
    peer_listen(peer);
    cr_assert_eq(peer->conn->bytes_queued, 0);
    /* What it left half sent to us is of the same budget. */
    peer_fragment(peer, CHANNEL, 1 << 20, 0, 10, 1);
    peer_say(peer, 0);
    cr_assert_eq(peer->conn->bytes_held, 1 << 20);
    cr_assert_eq(box_send(peer->conn, 0, 0, 1), WEIR_E_NOMEM);
    peer_free(peer);
    solo_free(box);
}

Test(sendq, without_memory_the_answer_is_nomem_and_nothing_changes)
{
    struct box *box = solo_new(1);
    box->cfg.pool_bytes_max = 1 << 20;
    solo_open(box);
    struct peer *peer = peer_ready(box);
    struct weir_buf *hog = weir_pool_take(box->pool, 1 << 19);
    struct weir_buf *hog2 = weir_pool_take(box->pool, 1 << 18);
    struct weir_buf *hog3 = weir_pool_take(box->pool, 1 << 17);
    struct weir_buf *hog4 = weir_pool_take(box->pool, 1 << 16);
    cr_assert(hog && hog2 && hog3 && hog4);
    cr_assert_eq(box_send(peer->conn, 0, 70000, 1), WEIR_E_NOMEM);
    cr_assert_eq(peer->conn->bytes_queued, 0);
    cr_assert_eq(peer->conn->active, 0);
    box_verify(box);
    cr_assert_eq(box_send(peer->conn, 0, 100, 1), 0);
    weir_buf_unref(hog);
    weir_buf_unref(hog2);
    weir_buf_unref(hog3);
    weir_buf_unref(hog4);
    cr_assert_eq(box_send(peer->conn, 0, 70000, 2), 0);
    peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    heard_expect(&heard, 100, 1);
    heard_expect(&heard, 70000, 2);
    heard_end(&heard);
    peer_free(peer);
    solo_free(box);
}

Test(sendq, thousands_of_small_messages_take_full_frames)
{
    struct box *box = solo_new(1);
    solo_open(box);
    struct peer *peer = peer_ready(box);
    for (uint64_t i = 0; i < 10000; i++)
        cr_assert_eq(box_send(peer->conn, 0, 62, i), 0);
    /* 640,000 bytes: the first in a small buffer, the rest in frames of 65,536. */
    cr_assert_leq(box_pool_stats(box).used_cnt, 12);
    for (int i = 0; i < 5; i++)
        peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    for (uint64_t i = 0; i < 10000; i++)
        heard_expect(&heard, 62, i);
    heard_end(&heard);
    cr_assert_leq(peer->frame_cnt, 12);
    peer_free(peer);
    solo_free(box);
}

/* A run is open until the next message by reference. A full frame for each run took 1,500 times what the queue held. */
Test(sendq, copies_between_references_take_small_buffers)
{
    struct box *box = solo_new(1);
    solo_open(box);
    struct peer *peer = peer_ready(box);
    for (uint64_t i = 0; i < 2000; i += 2)
        cr_assert(send_numbered(peer->conn, i, 20, true) == 0 &&
                  send_numbered(peer->conn, i + 1, 30, false) == 0);
    cr_assert_leq(box_pool_stats(box).used_bytes, 1000 * 1024);
    for (uint64_t i = 2000; i < 12000; i++) /* and what follows one run takes full frames again */
        cr_assert_eq(send_numbered(peer->conn, i, 62, false), 0);
    cr_assert_leq(box_pool_stats(box).used_cnt, 1000 + 13);
    for (int i = 0; i < 20; i++)
        peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    for (uint64_t i = 0; i < 12000; i++) {
        cr_assert(heard_next(&heard));
        cr_assert_eq(heard_number(&heard), i);
    }
    heard_end(&heard);
    peer_free(peer);
    solo_free(box);
}

/* ---- the smallest windows ------------------------------------------------------------------------- */

/* A peer may announce any window from one byte on; credit for the next byte comes when it read the last. */
Test(sendq, messages_get_through_windows_of_a_few_bytes)
{
    for (uint32_t window = 1; window <= 9; window++) {
        struct box *box = solo_new(1);
        solo_open(box);
        struct peer *peer = peer_new(box, true);
        peer->descs[0].msg_bytes_max = peer->descs[0].window_bytes = window;
        peer_shake(peer);
        for (uint32_t len = 0; len <= window; len++) {
            int error = box_send(peer->conn, 0, len, len);
            cr_assert_eq(error, len == 0 && window < 2 ? WEIR_E_TOO_BIG : 0, "window %u, %u bytes",
                         window, len);
            for (uint32_t i = 0; i < 20; i++) {
                peer_listen(peer);
                peer_grant(peer, CHANNEL, peer_data_bytes(peer, CHANNEL) + window);
            }
            cr_assert_eq(peer->conn->bytes_queued, 0, "window %u: %u bytes are stuck", window, len);
        }
        struct heard heard = heard_begin(peer, CHANNEL);
        for (uint32_t len = window < 2 ? 1 : 0; len <= window; len++)
            heard_expect(&heard, len, len);
        cr_assert(!heard_next(&heard));
        heard_end(&heard);
        peer_free(peer);
        solo_free(box);
    }
}
