#include "tests/unit/conn/numbered.h"

#define CHANNEL 10 /* the first channel's id */

static bool is_open(void)
{
    return weir_burst.peer != 0;
}

static void expect_all(struct peer *peer, size_t len, uint64_t cnt)
{
    peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    for (uint64_t i = 0; i < cnt; i++)
        heard_expect(&heard, len, i);
    cr_assert(!heard_next(&heard));
    heard_end(&heard);
}

Test(burst, begins_with_the_second_message_and_is_accounted)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 10000);
    struct peer *peer = peer_ready(box);
    struct weir_conn *conn = peer->conn;
    cr_assert_eq(box_send_next(conn, 0, 100, 0), 0);
    cr_assert(!is_open());
    cr_assert_eq(box_send_next(conn, 0, 100, 1), 0);
    cr_assert(is_open());
    cr_assert_eq(box_send_next(conn, 0, 100, 2), 0);
    cr_assert_geq(conn->bytes_queued, 306, "as much as there may be");
    cr_assert_leq(conn->bytes_queued, 10000);
    cr_assert_eq(conn->bytes_queued, conn->channels[0].queued_bytes);
    weir_burst_end();
    cr_assert(!is_open());
    cr_assert_eq(conn->bytes_queued, 306);
    cr_assert_eq(conn->channels[0].queued_bytes, 306);
    cr_assert_eq(box->hub.metrics.channels[0].msgs_tx, 3);
    cr_assert_eq(box->hub.metrics.channels[0].bytes_tx, 300);
    expect_all(peer, 100, 3);
    peer_free(peer);
    solo_free(box);
}

/* One message more or less than without bursts would be a bound that is not the configured one. */
Test(burst, the_bound_is_the_same_to_the_byte)
{
    static const size_t lens[] = {0, 1, 3, 7, 8, 15, 31, 64, 65, 128, 129, 1000};
    for (size_t k = 0; k < sizeof(lens) / sizeof(lens[0]); k++) {
        struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 10000);
        struct peer *peer = peer_ready(box);
        uint64_t cnt = 0;
        while (box_send_next(peer->conn, 0, lens[k], cnt) == 0)
            cnt++;
        cr_assert_eq(cnt, 10000 / (lens[k] + 2), "%zu bytes: %llu", lens[k],
                     (unsigned long long)cnt);
        cr_assert(!is_open());
        cr_assert_eq(peer->conn->bytes_queued, cnt * (lens[k] + 2));
        cr_assert_eq(box->hub.metrics.channels[0].refused, 1);
        expect_all(peer, lens[k], cnt);
        peer_free(peer);
        solo_free(box);
    }
}

Test(burst, what_is_promised_to_other_threads_is_no_room)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 10000);
    struct peer *peer = peer_ready(box);
    peer->conn->channels[0].remote_bytes = 4000;
    uint64_t cnt = 0;
    while (box_send_next(peer->conn, 0, 98, cnt) == 0) {
        cnt++;
        cr_assert_leq(peer->conn->channels[0].queued_bytes, 6000);
    }
    cr_assert_eq(cnt, 60);
    peer->conn->channels[0].remote_bytes = 0;
    peer_free(peer);
    solo_free(box);
}

Test(burst, the_budget_of_the_peer_holds)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 100000);
    box->cfg.peer_bytes_max = 5000;
    struct peer *peer = peer_ready(box);
    peer->conn->bytes_held = 1000;
    uint64_t cnt = 0;
    int error;
    while ((error = box_send_next(peer->conn, 0, 98, cnt)) == 0) {
        cnt++;
        cr_assert_leq(peer->conn->bytes_queued, 4000);
    }
    cr_assert_eq(error, WEIR_E_NOMEM);
    cr_assert_eq(cnt, 40);
    peer->conn->bytes_held = 0;
    peer_free(peer);
    solo_free(box);
}

Test(burst, a_message_too_big_is_refused_within_one)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 20000);
    box->channels[0].msg_bytes_max = 200;
    struct peer *peer = peer_ready(box);
    atomic_store(&peer->conn->channels[0].msg_bytes_max, 200);
    cr_assert_eq(box_send_next(peer->conn, 0, 200, 0), 0);
    cr_assert_eq(box_send_next(peer->conn, 0, 200, 1), 0);
    cr_assert(is_open());
    cr_assert_eq(box_send_next(peer->conn, 0, 201, 2), WEIR_E_TOO_BIG);
    cr_assert_eq(box_send_next(peer->conn, 0, 200, 2), 0);
    expect_all(peer, 200, 3);
    peer_free(peer);
    solo_free(box);
}

Test(burst, takes_only_its_own_messages)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 10000);
    struct peer *peer = peer_ready(box), *other = peer_ready(box);
    const struct weir_config *cfg = box->hub.cfg;
    struct weir_config other_cfg = *cfg;
    cr_assert_eq(box_send_next(peer->conn, 0, 10, 0), 0);
    cr_assert_eq(box_send_next(peer->conn, 0, 10, 1), 0);
    cr_assert(is_open());
    uint64_t id = weir_burst.peer;
    cr_assert(!weir_burst_append(id, &other_cfg, CHANNEL, "x", 1), "another node's peer");
    cr_assert(!weir_burst_append(id + (UINT64_C(1) << 32), cfg, CHANNEL, "x", 1),
              "a later connection in the same place");
    cr_assert(!weir_burst_append(id, cfg, CHANNEL + 1, "x", 1), "another channel");
    cr_assert_eq(box_send_next(other->conn, 0, 20, 0), 0);
    cr_assert(!is_open());
    cr_assert(!weir_burst_append(0, cfg, CHANNEL, "x", 1), "no peer, no burst");
    expect_all(peer, 10, 2);
    expect_all(other, 20, 1);
    peer_free(other);
    peer_free(peer);
    solo_free(box);
}

/* Channels in turns: none begins, which would cost more than it saves. */
Test(burst, does_not_begin_where_channels_take_turns)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 10000);
    struct peer *peer = peer_ready(box);
    for (uint64_t i = 0; i < 20; i++) {
        cr_assert_eq(box_send_next(peer->conn, i & 1, 50, i / 2), 0);
        cr_assert(!is_open());
    }
    expect_all(peer, 50, 10);
    peer_free(peer);
    solo_free(box);
}

Test(burst, order_holds_beside_messages_by_reference)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 100000);
    struct peer *peer = peer_ready(box);
    for (uint64_t i = 0; i < 60; i++) {
        int error = i % 10 == 9   ? box_send_buf(peer->conn, 0, 300, i)
                    : i % 10 == 4 ? box_send_shared(peer->conn, 0, 300, i)
                                  : box_send_next(peer->conn, 0, 300, i);
        cr_assert_eq(error, 0);
    }
    expect_all(peer, 300, 60);
    peer_free(peer);
    solo_free(box);
}

Test(burst, ends_before_its_messages_are_sent)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 100000);
    struct peer *peer = peer_ready(box);
    uint64_t cnt = 0;
    for (int turn = 0; turn < 5; turn++) {
        for (int i = 0; i < 7; i++)
            cr_assert_eq(box_send_next(peer->conn, 0, 33, cnt++), 0);
        cr_assert(is_open());
        box_turn(box);
        cr_assert(!is_open());
    }
    expect_all(peer, 33, cnt);
    cr_assert_eq(peer->conn->bytes_queued, 0);
    peer_free(peer);
    solo_free(box);
}

Test(burst, ends_with_the_connection)
{
    struct box *box = box_with(WEIR_OVERFLOW_REFUSE, 10000);
    struct peer *peer = peer_ready(box);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(box_send_next(peer->conn, 0, 10, i), 0);
    uint64_t id = weir_burst.peer;
    cr_assert(is_open());
    weir_conn_close(peer->conn, WEIR_R_APPLICATION, true);
    cr_assert(!is_open());
    cr_assert(!weir_burst_append(id, box->hub.cfg, CHANNEL, "x", 1));
    expect_all(peer, 10, 3);
    peer_free(peer);
    solo_free(box);
}

/* What may go is what waits whole; the burst's run is such a thing. */
Test(burst, the_policy_drops_what_one_queued)
{
    struct box *box = box_with(WEIR_OVERFLOW_DROP_OLDEST, 10000);
    struct peer *peer = peer_ready(box);
    for (uint64_t i = 0; i < 500; i++) {
        cr_assert_eq(box_send_next(peer->conn, 0, 98, i), 0);
        cr_assert_leq(peer->conn->channels[0].queued_bytes, 10000);
    }
    weir_burst_end();
    cr_assert_gt(box->hub.metrics.channels[0].dropped, 0);
    cr_assert_eq(box->hub.metrics.channels[0].msgs_tx, 500);
    uint64_t left = peer->conn->bytes_queued / 100;
    peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    for (uint64_t i = 500 - left; i < 500; i++)
        heard_expect(&heard, 98, i);
    cr_assert(!heard_next(&heard));
    heard_end(&heard);
    peer_free(peer);
    solo_free(box);
}
