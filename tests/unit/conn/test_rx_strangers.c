#include "tests/unit/conn/peer.h"

Test(rx_strangers, strangers_are_told_nothing_and_named)
{
    static const struct {
        const char *bytes;
        uint16_t reason;
    } strangers[] = {{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", WEIR_R_HTTP},
                     {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", WEIR_R_TLS},
                     {"SSH-2.0-OpenSSH_9.2p1\r\n", WEIR_R_NOT_WEIR}};
    for (size_t i = 0; i < 3; i++) {
        for (size_t chunk = 0; chunk < 3; chunk++) {
            struct box *box = solo_new(1);
            struct script_io *script = solo_open(box);
            struct peer *peer = peer_new(box, true);
            peer_connect(peer);
            size_t len = i == 1 ? 9 : strlen(strangers[i].bytes);
            peer_raw(peer, strangers[i].bytes, len);
            peer_say(peer, chunk);
            cr_assert_eq(box->end_cnt, 1);
            cr_assert_eq(box_last_reason(box), strangers[i].reason);
            cr_assert(!box->ends[0].was_ready);
            peer_listen(peer);
            cr_assert_eq(script->socks[peer->sock].out_len, 0);
            peer_hang_up(peer);
            cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
            cr_assert_eq(box->ready_cnt, 0);
            peer_free(peer);
            solo_free(box);
        }
    }
}

/* Announces the largest hello there is, which is not right and so must be thrown away when it is there. */
Test(rx_strangers, a_stranger_holds_no_more_memory_than_it_has_sent)
{
    enum { HELLO_KIND = 16, HELLO_BYTES = 2016, CONTROL_CHANNEL = 0xFFFF };
    static uint8_t hello[WEIR_FRAME_HEAD_MAX + HELLO_BYTES];
    uint32_t head_len = weir_codec_native.head_bytes;
    weir_codec_native.frame_head(hello, HELLO_KIND, CONTROL_CHANNEL, 0, hello + head_len,
                                 HELLO_BYTES);
    for (size_t chunk = 1; chunk < 1500; chunk += 1 + chunk / 3) {
        struct box *box = solo_new(1);
        solo_open(box);
        struct peer *peer = peer_new(box, true);
        uint8_t preface[WEIR_HANDSHAKE_OUT_MAX];
        peer_connect(peer);
        peer_raw(peer, preface, weir_codec_native.pull(peer->state, preface, sizeof(preface)));
        peer_say(peer, 0);
        size_t len = head_len + HELLO_BYTES;
        for (size_t at = 0; at < len; at += chunk) {
            peer_raw(peer, hello + at, len - at < chunk ? len - at : chunk);
            peer_say(peer, 0);
            uint64_t sent = at + chunk;
            uint64_t bound = sent <= 1024 ? 1024 : 2 * sent;
            cr_assert_leq(box_pool_stats(box).used_bytes, bound, "%zu bytes at a time, %llu sent",
                          chunk, (unsigned long long)sent);
        }
        cr_assert_eq(box->end_cnt, 1, "%zu bytes at a time", chunk);
        cr_assert_eq(box_last_reason(box), WEIR_R_BAD_HELLO);
        peer_hang_up(peer);
        cr_assert_eq(box_pool_stats(box).used_cnt, 0);
        peer_free(peer);
        solo_free(box);
    }
}

Test(rx_strangers, a_stranger_for_whom_there_is_no_memory_is_let_go)
{
    static uint8_t hello[WEIR_FRAME_HEAD_MAX + 2016];
    weir_codec_native.frame_head(hello, 16, 0xFFFF, 0, hello + weir_codec_native.head_bytes, 2016);
    struct box *box = solo_new(1);
    box->cfg.pool_bytes_max = 1500; /* for the first class alone */
    solo_open(box);
    struct peer *peer = peer_new(box, true);
    uint8_t preface[WEIR_HANDSHAKE_OUT_MAX];
    peer_connect(peer);
    peer_raw(peer, preface, weir_codec_native.pull(peer->state, preface, sizeof(preface)));
    peer_say(peer, 0);
    peer_raw(peer, hello, 1000);
    peer_say(peer, 100);
    cr_assert_eq(box->end_cnt, 0);
    peer_raw(peer, hello + 1000, 100);
    peer_say(peer, 0);
    cr_assert_eq(box->end_cnt, 1);
    cr_assert_eq(box_last_reason(box), WEIR_R_LIMIT_MEMORY, "%u", box_last_reason(box));
    peer_listen(peer);
    peer_hang_up(peer);
    for (int i = 0; i < 3; i++)
        box_turn(box);
    cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
    cr_assert_eq(box_pool_stats(box).used_cnt, 0);
    peer_free(peer);
    solo_free(box);
}

Test(rx_strangers, a_peer_of_another_network_is_told_why)
{
    for (int is_dialer = 0; is_dialer < 2; is_dialer++) {
        struct box *box = solo_new(1);
        solo_open(box);
        struct peer *peer = peer_new(box, is_dialer);
        peer->offer.network_id = "elsewhere";
        peer_connect(peer);
        peer_pump(peer, 5);
        cr_assert_eq(box->end_cnt, 1);
        cr_assert_eq(box_last_reason(box), WEIR_R_WRONG_NETWORK);
        cr_assert_eq(peer->fault, WEIR_R_WRONG_NETWORK, "heard %u", peer->fault);
        peer_hang_up(peer);
        cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
        peer_free(peer);
        solo_free(box);
    }
}

Test(rx_strangers, we_do_not_talk_to_ourselves)
{
    for (int is_dialer = 0; is_dialer < 2; is_dialer++) {
        struct box *box = solo_new(1);
        solo_open(box);
        struct peer *peer = peer_new(box, is_dialer);
        memcpy(peer->offer.nonce, box->offer.nonce, sizeof(peer->offer.nonce));
        peer_connect(peer);
        peer_pump(peer, 0);
        cr_assert_eq(box_last_reason(box), WEIR_R_SELF);
        cr_assert_eq(box->ready_cnt, 0);
        peer_free(peer);
        solo_free(box);
    }
}
