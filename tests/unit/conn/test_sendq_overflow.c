/* Queues that are full: the oldest messages go, or the peer does. */
#include "tests/unit/conn/numbered.h"

#define CHANNEL 10 /* the first channel's id */

/* ---- drop the oldest ------------------------------------------------------------------------------ */

Test(sendq_overflow, the_oldest_go_and_the_newest_stay)
{
    struct box *box = box_with(WEIR_OVERFLOW_DROP_OLDEST, 10000);
    struct peer *peer = peer_ready(box);
    for (uint64_t i = 0; i < 50; i++)
        cr_assert_eq(send_numbered(peer->conn, i, 1000, true), 0);
    cr_assert_eq(peer->conn->bytes_queued, 10000);
    cr_assert_eq(box->hub.metrics.channels[0].dropped, 40);
    peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    for (uint64_t i = 40; i < 50; i++) {
        cr_assert(heard_next(&heard));
        cr_assert_eq(heard_number(&heard), i);
    }
    cr_assert(!heard_next(&heard));
    heard_end(&heard);
    cr_assert_eq(box_pool_stats(box).used_cnt, 0);
    peer_free(peer);
    solo_free(box);
}

Test(sendq_overflow, a_message_that_was_begun_is_never_dropped)
{
    struct box *box = box_with(WEIR_OVERFLOW_DROP_OLDEST, 400000);
    struct peer *peer = peer_new(box, true);
    peer->descs[0].window_bytes = 300000; /* so the large one stays half sent */
    peer->descs[0].msg_bytes_max = 300000;
    peer_shake(peer);
    cr_assert_eq(send_numbered(peer->conn, 0, 100000, true), 0);
    cr_assert_eq(send_numbered(peer->conn, 1, 300000, true), 0);
    for (int i = 0; i < 5; i++)
        peer_listen(peer);
    cr_assert_eq(peer->conn->channels[0].head->off, 3 * 65536);
    for (uint64_t i = 2; i < 100; i++)
        cr_assert_eq(send_numbered(peer->conn, i, 50000, i % 2), 0);
    cr_assert_leq(peer->conn->bytes_queued, 400000);
    peer_grant(peer, CHANNEL, 1 << 30);
    for (int i = 0; i < 5; i++)
        peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    static const uint64_t expect[] = {0, 1, 95, 96, 97, 98, 99};
    for (size_t i = 0; i < sizeof(expect) / sizeof(expect[0]); i++) {
        cr_assert(heard_next(&heard), "message %zu", i);
        cr_assert_eq(heard_number(&heard), expect[i]);
    }
    cr_assert(!heard_next(&heard));
    heard_end(&heard);
    peer_free(peer);
    solo_free(box);
}

/* When dropping all that may be dropped would not make room, nothing is dropped for nothing. */
Test(sendq_overflow, nothing_is_dropped_for_a_message_that_is_refused_all_the_same)
{
    struct box *box = box_with(WEIR_OVERFLOW_DROP_OLDEST, 10000);
    struct peer *peer = peer_ready(box);
    cr_assert_eq(send_numbered(peer->conn, 1, 6000, true), 0);
    box_turn(box); /* in flight */
    cr_assert_eq(send_numbered(peer->conn, 2, 2000, true), 0);
    cr_assert_eq(send_numbered(peer->conn, 3, 2000, true), 0);
    cr_assert_eq(send_numbered(peer->conn, 4, 5000, true), WEIR_E_FULL);
    cr_assert_eq(peer->conn->bytes_queued, 10000, "%llu bytes are left",
                 (unsigned long long)peer->conn->bytes_queued);
    cr_assert_eq(box->hub.metrics.channels[0].dropped, 0);
    peer_listen(peer);
    cr_assert_eq(box->writable_cnt[0], 1);
    struct heard heard = heard_begin(peer, CHANNEL);
    for (uint64_t i = 1; i < 4; i++) {
        cr_assert(heard_next(&heard));
        cr_assert_eq(heard_number(&heard), i);
    }
    heard_end(&heard);
    peer_free(peer);
    solo_free(box);
}

Test(sendq_overflow, a_random_program_of_dropping_keeps_order_and_accounts)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t random = seed;
        struct box *box = box_with(WEIR_OVERFLOW_DROP_OLDEST, 100000);
        struct peer *peer = peer_new(box, true);
        peer->offer.frame_bytes_max = 4096;
        peer->descs[0].window_bytes = 120000;
        peer->descs[0].msg_bytes_max = 100000;
        peer_shake(peer);
        uint64_t number = 0, granted = 120000;
        for (uint32_t step = 0; step < 400; step++) {
            size_t len = 8 + box_random(&random) % (box_random(&random) % 8 ? 3000 : 60000);
            int error = send_numbered(peer->conn, number, len, box_random(&random) % 2);
            cr_assert(error == 0 || error == WEIR_E_FULL, "%s", weir_error_name(error));
            number += error == 0;
            box_verify(box);
            if (box_random(&random) % 3 == 0)
                box_turn(box);
            size_t unsent = script_unsent(peer->script, peer->sock);
            if (unsent && box_random(&random) % 3 == 0) {
                script_sent(peer->script, peer->sock, (int64_t)(box_random(&random) % unsent + 1));
                box_turn(box);
            }
            if (box_random(&random) % 16 == 0 && granted < (1u << 30))
                peer_grant(peer, CHANNEL, granted += box_random(&random) % 100000);
        }
        peer_grant(peer, CHANNEL, 1 << 30);
        for (int i = 0; i < 5; i++)
            peer_listen(peer);
        struct heard heard = heard_begin(peer, CHANNEL);
        int64_t last = -1;
        while (heard_next(&heard)) {
            cr_assert_gt((int64_t)heard_number(&heard), last, "seed %llu",
                         (unsigned long long)seed);
            last = (int64_t)heard_number(&heard);
        }
        cr_assert_eq(last, (int64_t)number - 1, "the newest is never dropped: seed %llu",
                     (unsigned long long)seed);
        heard_end(&heard);
        cr_assert_eq(peer->conn->bytes_queued, 0);
        cr_assert_eq(box_pool_stats(box).used_cnt, 0);
        peer_free(peer);
        solo_free(box);
    }
}

/* ---- close ---------------------------------------------------------------------------------------- */

Test(sendq_overflow, an_overflow_may_close)
{
    for (int way = 0; way < 3; way++) {
        struct box *box = box_with(WEIR_OVERFLOW_CLOSE, 10000);
        struct peer *peer = peer_ready(box);
        cr_assert_eq(box_send(peer->conn, 0, 9000, 1), 0);
        int error = way == 0   ? box_send(peer->conn, 0, 2000, 1)
                    : way == 1 ? box_send_buf(peer->conn, 0, 2000, 1)
                               : box_send_shared(peer->conn, 0, 2000, 1);
        cr_assert_eq(error, WEIR_E_GONE);
        cr_assert_eq(box_last_reason(box), WEIR_R_OVERFLOW);
        peer_listen(peer);
        cr_assert_eq(peer_heard(peer, WEIR_CONTROL_GOODBYE, 0)->reason, WEIR_R_OVERFLOW);
        cr_assert_eq(peer_data_bytes(peer, CHANNEL), 0);
        cr_assert_eq(box_pool_stats(box).used_cnt, 0);
        peer_hang_up(peer);
        peer_free(peer);
        solo_free(box);
    }
}
