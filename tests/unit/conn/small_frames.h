/* tests/unit/conn/small_frames.h: a box whose frames are small, so that little fills them. */
#ifndef WEIR_TESTS_UNIT_CONN_SMALL_FRAMES_H
#define WEIR_TESTS_UNIT_CONN_SMALL_FRAMES_H

#include "tests/unit/conn/peer.h"

static inline struct box *small_box(void)
{
    struct box *box = solo_new(2);
    box->cfg.frame_bytes_max = 4096;
    solo_open(box);
    return box;
}

static inline void forget_frames(struct peer *peer)
{
    for (uint32_t i = 0; i < peer->frame_cnt; i++)
        free(peer->frames[i].payload);
    peer->frame_cnt = 0;
}

static inline void expect_idle(struct peer *peer)
{
    cr_assert_eq(peer->conn->bytes_queued, 0);
    cr_assert_null(peer->conn->tx);
    cr_assert_eq(peer->conn->active, 0);
    cr_assert_eq(box_pool_stats(peer->box).used_cnt, 0, "buffers are back");
}

#endif
