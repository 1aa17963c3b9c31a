/* Keys that change by time: each direction by the clock of the side that seals, and no other direction with it. */
#include "tests/unit/conn/sealed.h"

/* The peer seals one frame, and the hub opens it. */
static void peer_says(struct stranger *peer, const uint8_t *frame, uint32_t len,
                      bool is_last_of_key)
{
    uint8_t record[256];
    cr_assert_leq(len + WEIR_SEAL_HEAD + WEIR_SEAL_TAIL, sizeof record);
    memcpy(record + WEIR_SEAL_HEAD, frame, len);
    struct weir_seal_piece piece = {record + WEIR_SEAL_HEAD, record + WEIR_SEAL_HEAD, len};
    cr_assert(weir_codec_native_v2.seal(peer->state, &piece, 1, is_last_of_key, record,
                                        record + WEIR_SEAL_HEAD + len));
    script_recv(siege.script, peer->sock, record, WEIR_SEAL_HEAD + len + WEIR_SEAL_TAIL);
    box_turn(siege.box);
}

static void peer_sends(struct stranger *peer)
{
    uint8_t frame[NATIVE_V2_HEAD + 2] = {0};
    weir_codec_native_v2.frame_head(frame, WEIR_FRAME_RUN, 10, 1, NULL, 2);
    peer_says(peer, frame, sizeof frame, false);
}

Test(rekey, what_we_seal_has_a_new_key_when_the_time_is_over)
{
    for (uint8_t cipher = 0; cipher < WEIR_CIPHER_CNT; cipher++) {
        struct stranger *peer = peer_up(cipher);
        struct native_v2_state *ours = state_of(peer->conn->codec_state);
        struct native_v2_state *theirs = state_of(peer->state);
        (void)opened(peer);
        cr_assert_eq(ours->u.records.send.key_cnt, 1);
        solo_advance(siege.box, 117 * S); /* 119 s after the handshake */
        cr_assert_eq(box_send(peer->conn, 0, 10, 1), 0);
        box_turn(siege.box);
        cr_assert_eq(opened(peer), 1);
        cr_assert_eq(ours->u.records.send.key_cnt, 1, "a second before its time");
        for (uint64_t round = 1; round <= 3; round++) {
            solo_advance(siege.box, round == 1 ? 2 * S : 121 * S);
            cr_assert_eq(ours->u.records.send.key_cnt, round, "nothing was sealed");
            cr_assert_eq(box_send(peer->conn, 0, 10, round), 0);
            box_turn(siege.box);
            cr_assert_eq(opened(peer), 1);
            cr_assert_eq(ours->u.records.send.key_cnt, round + 1);
            cr_assert_eq(theirs->u.records.recv.key_cnt, round + 1, "it follows");
            cr_assert_eq(box_send(peer->conn, 0, 10, round), 0);
            box_turn(siege.box);
            cr_assert_eq(opened(peer), 1);
            cr_assert_eq(ours->u.records.send.key_cnt, round + 1, "once");
        }
        cr_assert_eq(theirs->u.records.send.key_cnt, 1,
                     "the other direction has a clock of its own");
        cr_assert_eq(ours->u.records.recv.key_cnt, 1);
        siege_end();
    }
}

Test(rekey, what_we_open_has_a_new_key_when_the_other_side_says_so)
{
    for (uint8_t cipher = 0; cipher < WEIR_CIPHER_CNT; cipher++) {
        struct stranger *peer = peer_up(cipher);
        struct native_v2_state *ours = state_of(peer->conn->codec_state);
        uint8_t frame[WEIR_CONTROL_OUT_MAX];
        struct weir_control rekey = {.kind = WEIR_CONTROL_REKEY};
        uint32_t len = weir_codec_native_v2.control_write(frame, &rekey);
        for (uint64_t round = 1; round <= 3; round++) {
            solo_advance(siege.box, 1000 * S); /* whatever our own clock says */
            peer_sends(peer);
            cr_assert_eq(ours->u.records.recv.key_cnt, round, "it has not said so");
            peer_says(peer, frame, len, true);
            cr_assert_eq(ours->u.records.recv.key_cnt, round + 1);
            peer_sends(peer);
            cr_assert_eq(siege.box->msg_cnt, 2 * round);
        }
        cr_assert_eq(peer->conn->state, WEIR_CONN_READY);
        cr_assert_eq(state_of(peer->state)->u.records.recv.key_cnt, 1);
        siege_end();
    }
}
