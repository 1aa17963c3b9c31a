/* Messages of each size, at every boundary: of small copies, frames, windows, runs. */
#include "tests/unit/conn/small_frames.h"

#define CHANNEL 10 /* the first channel's id */

static void size_one(struct peer *peer, size_t len, uint64_t seed)
{
    struct weir_conn *conn = peer->conn;
    uint32_t frame_max = conn->channels[0].frame_bytes_max;
    for (int way = 0; way < 3; way++) {
        if (way == 2 && len == 0)
            continue; /* an empty broadcast is a copy */
        int error = way == 0   ? box_send(conn, 0, len, seed)
                    : way == 1 ? box_send_buf(conn, 0, len, seed)
                               : box_send_shared(conn, 0, len, seed);
        cr_assert_eq(error, 0, "%zu bytes, way %d: %s", len, way, weir_error_name(error));
        peer_grant(peer, CHANNEL, UINT64_C(1) << 40);
        for (int i = 0; i < 4; i++)
            peer_listen(peer);
        for (uint32_t i = 0; i < peer->frame_cnt; i++)
            cr_assert_leq(peer->frames[i].len, frame_max);
        struct heard heard = heard_begin(peer, CHANNEL);
        heard_expect(&heard, len, seed);
        cr_assert(!heard_next(&heard));
        heard_end(&heard);
        expect_idle(peer);
        forget_frames(peer);
    }
}

Test(tx_sizes, messages_of_every_size_at_a_boundary_arrive)
{
    /* The peer's limits decide: frames of 4,096, 65,536 and, by half a window of 16,384, 8,192. */
    static const struct {
        uint32_t frame_bytes, window;
        uint32_t expect;
    } cases[] = {{4096, 4 << 20, 4096}, {65536, 4 << 20, 65536}, {65536, 16384, 8192}};
    for (int c = 0; c < 3; c++) {
        struct box *box = solo_new(1);
        box->channels[0].msg_bytes_max = 1 << 20;
        solo_open(box);
        struct peer *peer = peer_new(box, true);
        peer->offer.frame_bytes_max = cases[c].frame_bytes;
        peer->descs[0].window_bytes = cases[c].window;
        peer->descs[0].msg_bytes_max = cases[c].window < (1 << 20) ? 16384 : 1 << 20;
        peer_shake(peer);
        uint32_t frame = cases[c].expect;
        cr_assert_eq(peer->conn->channels[0].frame_bytes_max, frame);
        uint32_t msg_max = peer->descs[0].msg_bytes_max;
        for (size_t len = 0; len < 300; len++) /* small ones are copied by moves of each size */
            size_one(peer, len, len);
        for (uint32_t mid = 0; mid <= 3; mid++) {
            static const uint32_t bytes[] = {1024, 4096, 8192, 16384};
            for (int64_t off = -4; off <= 4; off++)
                if (bytes[mid] + off <= msg_max)
                    size_one(peer, (size_t)(bytes[mid] + off), bytes[mid]);
        }
        for (uint32_t times = 1; times <= 5; times++) {
            for (int64_t off = -4; off <= 4; off++)
                if (frame * times + off <= msg_max)
                    size_one(peer, (size_t)(frame * times + off), times);
        }
        size_one(peer, msg_max, 99);
        cr_assert_eq(box_send(peer->conn, 0, msg_max + 1, 1), WEIR_E_TOO_BIG);
        cr_assert_eq(box_send_buf(peer->conn, 0, msg_max + 1, 1), WEIR_E_TOO_BIG);
        cr_assert_eq(box_send_shared(peer->conn, 0, msg_max + 1, 1), WEIR_E_TOO_BIG);
        expect_idle(peer);
        peer_free(peer);
        solo_free(box);
    }
}

Test(tx_sizes, a_run_is_filled_to_the_last_byte_and_not_beyond)
{
    struct box *box = small_box();
    struct peer *peer = peer_ready(box);
    /* 64 times 64 bytes with their prefixes are 4,096: one frame; then one more. */
    for (uint64_t i = 0; i < 65; i++)
        cr_assert_eq(box_send(peer->conn, 0, 62, i), 0);
    peer_listen(peer);
    cr_assert_eq(peer->frame_cnt, 2);
    cr_assert_eq(peer->frames[0].len, 4096);
    cr_assert_eq(peer->frames[0].aux, 64);
    cr_assert_eq(peer->frames[1].len, 64);
    forget_frames(peer);
    for (uint64_t i = 0; i < 200; i++) /* prefix 2, message 3: 4,095 of 4,096 */
        cr_assert_eq(box_send(peer->conn, 0, i == 0 ? 3 : 91, i), 0);
    peer_listen(peer);
    struct heard heard = heard_begin(peer, CHANNEL);
    for (uint64_t i = 0; i < 200; i++)
        heard_expect(&heard, i == 0 ? 3 : 91, i);
    heard_end(&heard);
    expect_idle(peer);
    peer_free(peer);
    solo_free(box);
}

/* Buffers are powers of two, frames need not be. */
Test(tx_sizes, a_run_is_no_longer_than_a_frame_of_any_size)
{
    static const uint32_t frames[] = {4096, 4097, 5000, 8191, 10000, 40000, 65535, 65536};
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        struct box *box = solo_new(1);
        solo_open(box);
        struct peer *peer = peer_new(box, true);
        peer->offer.frame_bytes_max = frames[i];
        peer_shake(peer);
        for (uint64_t m = 0; m < 3000; m++)
            cr_assert_eq(box_send(peer->conn, 0, 50 + m % 7, m), 0);
        for (int n = 0; n < 20; n++)
            peer_listen(peer);
        struct heard heard = heard_begin(peer, CHANNEL);
        for (uint64_t m = 0; m < 3000; m++)
            heard_expect(&heard, 50 + m % 7, m);
        heard_end(&heard);
        uint32_t longest = 0;
        for (uint32_t f = 0; f < peer->frame_cnt; f++)
            longest = peer->frames[f].len > longest ? peer->frames[f].len : longest;
        cr_assert(longest <= frames[i] && longest > frames[i] - 60, "%u of %u", longest, frames[i]);
        peer_free(peer);
        solo_free(box);
    }
}
