/* Records of a send: how they are cut, and of how many pieces they are for the kernel. */
#include "tests/unit/conn/sealed.h"

#include "engine/conn/tx.h"

/* Sends what gathers to `plain` bytes in one frame. Returns of how many pieces the send was. */
static uint32_t pieces_of(struct stranger *peer, uint32_t plain, uint64_t seq)
{
    struct script_sock *sock = &siege.script->socks[peer->sock];
    cr_assert_eq(box_send(peer->conn, 0, plain - NATIVE_V2_HEAD - WEIR_RUN_PREFIX, seq), 0,
                 "of %u bytes", plain);
    box_turn(siege.box);
    uint32_t cnt = sock->iov_cnt;
    cr_assert_eq(script_unsent(siege.script, peer->sock), WEIR_SEAL_HEAD + plain + WEIR_SEAL_TAIL);
    cr_assert_eq(opened(peer), 1);
    return cnt;
}

Test(seal, a_small_send_is_one_piece)
{
    for (uint8_t cipher = 0; cipher < WEIR_CIPHER_CNT; cipher++) {
        struct stranger *peer = peer_up(cipher);
        uint64_t seq = 0;
        (void)opened(peer);
        for (uint32_t plain = 40; plain <= WEIR_TX_LONE; plain += 41)
            cr_assert_eq(pieces_of(peer, plain, seq++), 1, "of %u bytes", plain);
        cr_assert_eq(pieces_of(peer, WEIR_TX_LONE, seq++), 1);
        /* Length, frame, tag. */
        cr_assert_eq(pieces_of(peer, WEIR_TX_LONE + 1, seq++), 3);
        cr_assert_eq(pieces_of(peer, 2 * WEIR_TX_LONE, seq++), 3);
        siege_end();
    }
}

/* What others read too, as a broadcast's bytes are, stays as it is. */
Test(seal, a_small_send_leaves_alone_what_is_borrowed)
{
    struct stranger *peer = peer_up(0);
    struct weir_buf *buf;
    (void)opened(peer);
    cr_assert_eq(weir_buf_create(&buf, 200), 0);
    memset(buf->data, 0x5A, 200);
    buf->len = 200;
    weir_buf_ref(buf);
    cr_assert_eq(weir_sendq_buf(peer->conn, 0, buf, false), 0);
    box_turn(siege.box);
    cr_assert_eq(siege.script->socks[peer->sock].iov_cnt, 1);
    (void)opened(peer);
    for (uint32_t i = 0; i < 200; i++)
        cr_assert_eq(buf->data[i], 0x5A, "byte %u was sealed in place", i);
    weir_buf_unref(buf);
    siege_end();
}
