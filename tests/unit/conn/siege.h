/* tests/unit/conn/siege.h: one hub that encrypts, and dialers of it that are codecs without a connection, so that each
 * message is sent and heard when the test says. The clock is the test's.
 *
 *   siege_begin();  siege.box->cfg...;  siege_open();
 *   struct stranger *stranger = come();     it is connected
 *   speak(stranger); listen_to(stranger);   what it has to say, what the hub has said
 *   finish(stranger);                       the rest of a handshake that was let in
 *   siege_end();
 */
#ifndef WEIR_TESTS_UNIT_CONN_SIEGE_H
#define WEIR_TESTS_UNIT_CONN_SIEGE_H

#include <stdalign.h>

#include "proto/crypto.h"
#include "proto/identity.h"
#include "tests/unit/conn/peer.h"

#define MS WEIR_NS_PER_MS
#define STRANGERS 24u

struct stranger {
    int sock;
    struct weir_conn *conn;
    size_t heard; /* bytes of the socket's output that it was fed */
    bool is_ready;
    uint16_t fault;
    alignas(max_align_t) uint8_t state[4096];
};

struct siege {
    struct box *box;
    struct script_io *script;
    struct weir_crypto crypto;
    struct weir_identity identities[2]; /* dialers', the node's */
    struct weir_secret secrets[2];
    struct weir_offer offer; /* the dialers' */
    struct weir_channel_desc desc;
    struct stranger strangers[STRANGERS];
    uint32_t stranger_cnt;
};

static struct siege siege;

static inline void siege_begin(void)
{
    uint8_t secret[WEIR_KEY_BYTES];
    memset(&siege, 0, sizeof siege);
    cr_assert(weir_crypto_init(&siege.crypto));
    for (int i = 0; i < 2; i++) {
        memset(secret, 7 + i, sizeof secret);
        cr_assert(weir_identity_init(&siege.identities[i], &siege.crypto, secret));
        siege.secrets[i] =
            (struct weir_secret){.crypto = &siege.crypto, .identity = &siege.identities[i]};
    }
    siege.box = solo_new(1);
    siege.box->cfg.peers_max = STRANGERS;
    siege.box->cfg.handshakes_max = STRANGERS;
    siege.box->cfg.cookie_pending = siege.box->cfg.cookie_rate = UINT32_MAX;
    siege.box->cfg.handshake_rate = UINT32_MAX;
    siege.box->secret = &siege.secrets[1];
    siege.secrets[1].gate = &siege.box->hub.keeper.gate;
    siege.desc = (struct weir_channel_desc){
        .id = 10, .weight = 1, .msg_bytes_max = 4000, .window_bytes = 100000};
    siege.offer = (struct weir_offer){.network_id = "weir",
                                      .user_agent = "",
                                      .channels = &siege.desc,
                                      .channel_cnt = 1,
                                      .frame_bytes_max = 65536,
                                      .nonce = {99},
                                      .secret = &siege.secrets[0]};
}

static inline void siege_open(void)
{
    siege.script = solo_open(siege.box);
    siege.script->random_step = 1;
}

static inline void siege_end(void)
{
    for (uint32_t i = 0; i < siege.stranger_cnt; i++)
        weir_codec_native_v2.end(siege.strangers[i].state);
    solo_free(siege.box);
    for (int i = 0; i < 2; i++)
        weir_identity_fini(&siege.identities[i]);
    weir_crypto_fini(&siege.crypto);
}

/* One connects. Returns NULL when the hub has no place. */
static inline struct stranger *come(void)
{
    cr_assert_lt(siege.stranger_cnt, STRANGERS);
    struct stranger *stranger = &siege.strangers[siege.stranger_cnt];
    uint8_t seed[32];
    memset(seed, (int)siege.stranger_cnt + 1, sizeof seed);
    cr_assert_leq(weir_codec_native_v2.state_bytes, sizeof stranger->state);
    stranger->sock = script_open(siege.script);
    if (weir_conn_accept(&siege.box->hub, stranger->sock, &stranger->conn) != 0)
        return NULL;
    siege.stranger_cnt++;
    weir_codec_native_v2.begin(stranger->state, &siege.offer, true);
    weir_codec_native_v2.arm(stranger->state, &(struct weir_arm){.seed = seed});
    return stranger;
}

/* It says what it has to say, then the hub has a turn. */
static inline void speak(struct stranger *stranger)
{
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t len = weir_codec_native_v2.pull(stranger->state, bytes, sizeof bytes);
    if (len)
        script_recv(siege.script, stranger->sock, bytes, len);
    box_turn(siege.box);
}

/* It hears what the hub has said. Returns how many bytes that was. */
static inline size_t listen_to(struct stranger *stranger)
{
    struct weir_frame frames[4];
    struct weir_feed feed = {0};
    struct script_sock *sock = &siege.script->socks[stranger->sock];
    while (sock->is_open && script_unsent(siege.script, stranger->sock)) {
        script_sent(siege.script, stranger->sock,
                    (int64_t)script_unsent(siege.script, stranger->sock));
        box_turn(siege.box);
    }
    size_t len = sock->out_len - stranger->heard;
    for (size_t at = 0; at < len && !stranger->is_ready && !stranger->fault; at += feed.consumed) {
        weir_codec_native_v2.feed(stranger->state, sock->out + stranger->heard + at, len - at,
                                  frames, 4, &feed);
        stranger->is_ready = feed.is_ready;
        stranger->fault = feed.fault;
        cr_assert(feed.consumed > 0, "whole messages come");
    }
    stranger->heard += len;
    return len;
}

/* One that was asked for a cookie and has brought it. */
static inline struct stranger *come_with_cookie(void)
{
    struct stranger *stranger = come();
    speak(stranger);
    listen_to(stranger);
    speak(stranger);
    return stranger;
}

/* The rest of a handshake that was let in. */
static inline void finish(struct stranger *stranger)
{
    for (int i = 0; i < 4 && !stranger->is_ready && !stranger->fault; i++) {
        listen_to(stranger);
        speak(stranger);
    }
    cr_assert(stranger->is_ready, "%u", stranger->fault);
    cr_assert_eq(stranger->conn->state, WEIR_CONN_READY);
}

#endif
