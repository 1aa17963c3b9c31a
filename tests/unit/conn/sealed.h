/* tests/unit/conn/sealed.h: a hub and a peer that encrypt, after the handshake, on a connection that nothing else happens on. */
#ifndef WEIR_TESTS_UNIT_CONN_SEALED_H
#define WEIR_TESTS_UNIT_CONN_SEALED_H

#include "tests/unit/conn/siege.h"

#include "proto/native_v2.h"

#define S WEIR_NS_PER_S

static inline struct native_v2_state *state_of(void *state)
{
    return state;
}

/* A peer whose handshake is done, on a connection that nothing else happens on. */
static inline struct stranger *peer_up(uint8_t cipher)
{
    siege_begin();
    siege.secrets[0].cipher = cipher;
    siege.box->cfg.rekey_interval_ns = 120 * S;
    siege.box->cfg.ping_interval_ns = siege.box->cfg.ping_timeout_ns = 80000 * S;
    siege.box->cfg.idle_timeout_ns = siege.box->cfg.stall_timeout_ns = 80000 * S;
    siege_open();
    struct stranger *peer = come();
    speak(peer);
    finish(peer);
    solo_advance(siege.box, 2 * S); /* a first ping, to know the round-trip time */
    return peer;
}

/* What the hub has sent, as the peer opens it. Returns how many frames of channels were in it. */
static inline uint32_t opened(struct stranger *peer)
{
    struct weir_frame frames[16];
    struct weir_feed feed;
    struct script_sock *sock = &siege.script->socks[peer->sock];
    uint32_t cnt = 0;
    while (script_unsent(siege.script, peer->sock)) {
        script_sent(siege.script, peer->sock, (int64_t)script_unsent(siege.script, peer->sock));
        box_turn(siege.box);
    }
    while (peer->heard < sock->out_len) {
        weir_codec_native_v2.feed(peer->state, sock->out + peer->heard, sock->out_len - peer->heard,
                                  frames, 16, &feed);
        for (uint32_t i = 0; i < feed.frame_cnt; i++) {
            cr_assert_neq(frames[i].kind, WEIR_FRAME_FAULT, "reason %u", frames[i].fault);
            cnt += frames[i].kind == WEIR_FRAME_RUN;
        }
        cr_assert(feed.consumed > 0 || feed.frame_cnt > 0, "whole records come");
        peer->heard += feed.consumed;
    }
    return cnt;
}

#endif
