/* tests/integration/fault_life.h: the whole life of two nodes on one thread, while something fails.
 *
 * A *life* makes a server and a client, connects them, goes through one of the scenarios (fault_scenarios.h, which also
 * has life_run), connects once more to show that what failed was got over, and ends. Whatever fails, these hold:
 *
 *   - each call answers one of its documented errors, and each dial ends in an event;
 *   - messages arrive whole, in order and once; all that was queued arrives unless an end was reported;
 *   - no end has a reason that blames the other side's bytes: a fault never breaks the wire. Only who was refused a
 *     call of libcrypto may think that a message or a record does not open, and say so in its goodbye;
 *   - each peer that came up went down once, and nothing is in use at the end.
 *
 * The caller of life_run() checks descriptors, and what the fault itself should have led to.
 */
#ifndef WEIR_TESTS_INTEGRATION_FAULT_LIFE_H
#define WEIR_TESTS_INTEGRATION_FAULT_LIFE_H

#include <sys/prctl.h>

#include "proto/native_v2.h"
#include "tests/integration/fault_io.h"

#define LIFE_PEERS 8u
#define LIFE_CHANNELS 2u
#define LIFE_MSG_MAX 90000u
#define LIFE_CALL_OF_DEAD (20 * IT_MS)

enum life_scenario {
    LIFE_TRAFFIC = 0, /* every kind of message both ways, over TCP */
    LIFE_UNIX,        /* the same over a unix socket, one side ending in the middle */
    LIFE_BROADCAST,   /* three connections, broadcasts of every size, queues that are full */
    LIFE_HOLD,        /* channels paused, messages kept, then let go */
    LIFE_LETTERS,     /* every call from another thread */
    LIFE_PERSIST,     /* dialed again after each end, cancelled at last */
    LIFE_SHARDS,      /* two shards each: accepted sockets and broadcasts go by letter */
    LIFE_SECURE,      /* the traffic encrypted, over two connections */
    LIFE_KNOWN, /* encrypted, and dialed by id: XX, then IK, then with a wrong key, which falls back */
    LIFE_SCENARIOS
};

static const char *const life_names[LIFE_SCENARIOS] = {
    "traffic", "unix", "broadcast", "hold", "letters", "persist", "shards", "secure", "known"};

struct life_peer {
    weir_peer peer;
    bool is_up;
    uint64_t next_seq[LIFE_CHANNELS]; /* to be received */
};

struct life_node {
    struct life *life;
    weir_node *node;
    char address[256];
    struct life_peer peers[LIFE_PEERS];
    uint8_t pattern; /* with which the last peer came up */
    uint64_t sent, received;
    uint32_t ups, downs, fails;
    uint32_t ended_by[WEIR_REASON_CNT];
    _Atomic bool is_dead; /* turn() answered an error that is not the end */
    bool is_over;
    struct weir_buf *kept[64];
    uint32_t kept_cnt;
};

struct life {
    enum life_scenario scenario;
    struct life_node nodes[2]; /* the server, the client */
    int error;                 /* why it did not begin; 0: it did */
    uint64_t alloc_cnt;
    char met[8]; /* of scenario "known": how each handshake came about, see life_note() */
    _Atomic bool
        has_lost; /* a connection ended with messages under way, or a send was not queued */
    bool keeps, is_idle;
    _Atomic bool is_away_done;
};

#define LIFE_SERVER 0
#define LIFE_CLIENT 1

static weir_ns life_linger_ns = 10 * IT_MS;
static weir_ns life_handshake_ns = 5 * WEIR_NS_PER_S;
/* How long a call of another thread waits; 0: a shard may be dead, and then calls are given up soon. */
static weir_ns life_call_ns = 2 * WEIR_NS_PER_S;
static uint8_t life_scratch[LIFE_MSG_MAX];
static uint64_t life_send_seq[2][LIFE_PEERS][LIFE_CHANNELS];
static struct life_node *life_busy;    /* whose code runs */
static struct life_node *life_refused; /* whom libcrypto has refused a call; NULL: nobody */

static inline struct life_peer *life_find(struct life_node *own, weir_peer peer)
{
    for (uint32_t i = 0; i < LIFE_PEERS; i++) {
        if (own->peers[i].is_up && own->peers[i].peer.v == peer.v)
            return &own->peers[i];
    }
    return NULL;
}

/* ---- callbacks ----------------------------------------------------------------------------- */

static inline void life_on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct life_node *own = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        struct life_peer *peer = life_find(own, msgs[i].peer);
        cr_assert(peer != NULL, "a message of a peer that is not up");
        own->received++;
        if (msgs[i].len < 8)
            continue; /* empty ones have no number */
        uint64_t seq;
        memcpy(&seq, msgs[i].data, 8);
        uint64_t *next = &peer->next_seq[msgs[i].channel - 1];
        cr_assert(seq >= *next, "message %llu again or late", (unsigned long long)seq);
        /* What was not queued for want of memory leaves a gap, and nothing else does. */
        cr_assert(seq == *next || own->life->has_lost, "message %llu after %llu",
                  (unsigned long long)seq, (unsigned long long)*next);
        *next = seq + 1;
        cr_assert(it_is_filled(msgs[i].data + 8, msgs[i].len - 8, seq), "damaged");
        if (own->life->keeps && own->kept_cnt < 64) {
            int error = weir_msg_keep(own->node, &msgs[i], &own->kept[own->kept_cnt]);
            cr_assert(error == 0 || error == WEIR_E_NOMEM, "keep: %s", weir_error_name(error));
            own->kept_cnt += error == 0;
        }
    }
}

static inline const struct weir_conn *life_conn(const struct life_node *own, weir_peer peer)
{
    return &own->node->shards[weir_peer_shard(peer)]->hub.conns[peer.v & 0xFFFFFFu];
}

/* The pattern of the handshake that a peer came up with; 0: it was none of Noise. */
static inline uint8_t life_pattern(struct life_node *own, weir_peer peer)
{
    const struct weir_conn *conn = life_conn(own, peer);
    if (conn->codec != &weir_codec_native_v2)
        return 0;
    const struct native_v2_state *state = conn->codec_state;
    return state->preface[NATIVE_V2_AT_PATTERN];
}

/* Whether an end for this reason says that the other side's bytes are wrong; of them those that a call of libcrypto's can
 * be meant by that says no and not why: a message, a signature or a record is not what it should be. */
static inline bool life_is_blame(int reason)
{
    return (reason >= 32 && reason < 64) ||
           (reason >= WEIR_R_HANDSHAKE_CRYPTO && reason <= WEIR_R_BAD_RECORD);
}

static inline bool life_is_doubt(int reason)
{
    return reason == WEIR_R_HANDSHAKE_CRYPTO || reason == WEIR_R_BAD_IDENTITY ||
           reason == WEIR_R_BAD_RECORD;
}

/* Whether the end is the other side's doing, which says why. */
static inline bool life_is_told(const struct life_node *own, weir_peer peer)
{
    struct weir_farewell farewell = {.size = sizeof(farewell)};
    return weir_peer_farewell(own->node, peer, &farewell) == 0 && farewell.is_theirs;
}

static inline void life_on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct life_node *own = ctx;
    bool may_blame =
        life_refused && life_is_doubt(reason) && (own == life_refused || life_is_told(own, peer));
    cr_assert(!life_is_blame(reason) || may_blame, "%s: the wire is broken: %s",
              life_names[own->life->scenario], weir_reason_name(reason));
    if (event == WEIR_PEER_UP) {
        cr_assert(life_find(own, peer) == NULL, "up twice");
        own->ups++;
        own->pattern = life_pattern(own, peer);
        for (uint32_t i = 0; i < LIFE_PEERS; i++) {
            if (own->peers[i].is_up)
                continue;
            own->peers[i] = (struct life_peer){.peer = peer, .is_up = true};
            memset(life_send_seq[own - own->life->nodes][i], 0, sizeof(life_send_seq[0][0]));
            return;
        }
        cr_assert_fail("too many peers");
    }
    own->ended_by[reason]++;
    if (event == WEIR_PEER_FAILED) {
        own->fails++;
        return;
    }
    struct life_peer *known = life_find(own, peer);
    cr_assert(known != NULL, "down and was not up");
    known->is_up = false;
    own->downs++;
    own->life->has_lost = true;
}

/* ---- turning ------------------------------------------------------------------------------- */

static inline int64_t life_turn_node(struct life_node *own, weir_ns wait)
{
    uint32_t over_cnt = 0;
    int64_t events = 0;
    life_busy = own;
    for (uint32_t i = 0; own->node && !own->is_dead && i < own->node->shard_cnt; i++) {
        int64_t res = weir_node_turn(own->node, i, i ? 0 : wait);
        if (res >= 0) {
            events += res;
            continue;
        }
        if (res == WEIR_E_STATE) {
            own->is_over = ++over_cnt == own->node->shard_cnt;
            continue;
        }
        cr_assert(res == WEIR_E_SYSTEM || res == WEIR_E_NOMEM, "turn: %s",
                  weir_error_name((int)res));
        own->is_dead = true;
    }
    return events;
}

/* One turn of every shard; waits a moment when none had anything to do in the last round. */
static inline void life_turn(struct life *life)
{
    weir_ns wait = life->is_idle ? 100 * WEIR_NS_PER_US : 0;
    int64_t events = life_turn_node(&life->nodes[0], wait);
    life->is_idle = events + life_turn_node(&life->nodes[1], wait) == 0;
}

/* Goes on until a few rounds in a row had nothing to do, which on one machine is when all that was under way has
 * arrived; `turn_max` at most. */
static inline void life_calm(struct life *life, int turn_max)
{
    for (int i = 0, idle = 0; i < turn_max && idle < 4; i++) {
        life_turn(life);
        idle = life->is_idle ? idle + 1 : 0;
    }
}

#define LIFE_UNTIL(life, condition, what)                                                       \
    do {                                                                                        \
        weir_ns life_until = weir_now() + IT_PATIENCE;                                          \
        while (!(condition) && !(life)->nodes[0].is_dead && !(life)->nodes[1].is_dead) {        \
            cr_assert(weir_now() < life_until, "%s: in vain: %s", life_names[(life)->scenario], \
                      what);                                                                    \
            life_turn(life);                                                                    \
        }                                                                                       \
    } while (0)

static inline bool life_is_dead(const struct life *life)
{
    return life->nodes[0].is_dead || life->nodes[1].is_dead;
}

static inline uint32_t life_up_cnt(const struct life_node *own)
{
    return own->ups - own->downs;
}

static inline uint64_t life_conns(struct life_node *own)
{
    static struct weir_metrics metrics;
    metrics.size = sizeof(metrics);
    IT_OK(weir_metrics_read(own->node, &metrics));
    return metrics.conns;
}

/* ---- making -------------------------------------------------------------------------------- */

/* Notes where the node listens; with its id in front where it is dialed by that. */
static inline void life_name(struct life_node *own)
{
    char address[128], text[WEIR_ID_TEXT_BYTES];
    struct weir_id id;
    IT_OK(weir_node_address(own->node, 0, address, sizeof(address)));
    if (own->life->scenario != LIFE_KNOWN) {
        snprintf(own->address, sizeof(own->address), "%s", address);
        return;
    }
    IT_OK(weir_node_id(own->node, &id));
    snprintf(own->address, sizeof(own->address), "%s@%s", weir_id_text(&id, text), address);
}

static inline int life_make(struct life *life, int side, const char *listen)
{
    struct life_node *own = &life->nodes[side];
    struct weir_reactor reactor = {
        .size = sizeof(reactor), .ctx = own, .on_batch = life_on_batch, .on_peer = life_on_peer};
    struct weir_channel channels[LIFE_CHANNELS];
    struct weir_config cfg;
    weir_config_init(&cfg);
    bool is_secure = life->scenario == LIFE_SECURE || life->scenario == LIFE_KNOWN;
    cfg.secure = is_secure ? WEIR_SECURE_REQUIRE : WEIR_SECURE_PLAIN;
    cfg.flags = WEIR_CONFIG_CALLER_TURNS | WEIR_CONFIG_TWINS;
    cfg.peers_max = LIFE_PEERS;
    cfg.dials_max = 8;
    cfg.shard_cnt = life->scenario == LIFE_SHARDS ? 2 : 1;
    cfg.recv_buf_cnt = 4;
    cfg.recv_buf_bytes = 16384;
    cfg.goodbye_linger_ns = life_linger_ns;
    cfg.handshake_timeout_ns = life_handshake_ns;
    cfg.dial_timeout_ns = 5 * WEIR_NS_PER_S;
    cfg.redial_min_ns = IT_MS;
    cfg.redial_max_ns = 20 * IT_MS;
    for (uint16_t i = 0; i < LIFE_CHANNELS; i++) {
        weir_channel_init(&channels[i], (uint16_t)(i + 1));
        channels[i].msg_bytes_max = LIFE_MSG_MAX;
        if (life->scenario == LIFE_BROADCAST)
            channels[i].send_bytes_max = LIFE_MSG_MAX;
    }
    own->life = life;
    life_busy = own;
    int error = weir_node_create(&own->node, &cfg);
    if (!error)
        error = weir_node_attach(own->node, &reactor, channels, LIFE_CHANNELS);
    if (!error)
        error = fault_make(own->node);
    if (!error && listen)
        error = weir_node_listen(own->node, listen);
    if (!error && listen)
        life_name(own);
    if (!error)
        error = weir_node_start(own->node);
    return error;
}

/* Dials until a connection is up at both ends, or until `dial_max` dials have failed. */
static inline bool life_connect(struct life *life, uint32_t dial_max)
{
    struct life_node *server = &life->nodes[LIFE_SERVER], *client = &life->nodes[LIFE_CLIENT];
    for (uint32_t i = 0; i < dial_max && !life_is_dead(life); i++) {
        uint32_t ups = client->ups, fails = client->fails, there = server->ups;
        uint32_t downs = client->downs;
        int error = weir_dial(client->node, server->address, 0);
        cr_assert(error == 0 || error == WEIR_E_NOMEM, "dial: %s", weir_error_name(error));
        if (error)
            continue;
        LIFE_UNTIL(life, client->ups > ups || client->fails > fails, "an event of the dial");
        if (client->ups == ups)
            continue;
        LIFE_UNTIL(life, server->ups > there || client->downs > downs, "the other end is up");
        if (server->ups > there)
            return true;
    }
    return false;
}

/* ---- sending ------------------------------------------------------------------------------- */

static inline void life_sent(struct life_node *own, int error)
{
    cr_assert(error == 0 || error == WEIR_E_NOMEM || error == WEIR_E_GONE || error == WEIR_E_FULL,
              "send: %s", weir_error_name(error));
    if (error == 0)
        own->sent++;
    else
        own->life->has_lost = true;
}

static inline void life_fill(size_t len, uint64_t seq)
{
    memcpy(life_scratch, &seq, 8);
    it_fill(life_scratch + 8, len - 8, seq);
}

/* One message to every peer, by copy or by reference. */
static inline void life_send(struct life *life, int side, uint16_t channel, size_t len)
{
    struct life_node *own = &life->nodes[side];
    for (uint32_t i = 0; i < LIFE_PEERS; i++) {
        if (!own->peers[i].is_up)
            continue;
        uint64_t seq = life_send_seq[side][i][channel - 1];
        if (len >= 8) {
            life_fill(len, seq);
            life_send_seq[side][i][channel - 1]++;
        }
        if (seq % 3 != 2) {
            life_sent(own,
                      weir_try_send(own->node, own->peers[i].peer, channel, life_scratch, len));
            continue;
        }
        struct weir_buf *buf;
        int error = weir_buf_create(&buf, len);
        if (!error && len)
            memcpy(weir_buf_data(buf), life_scratch, len);
        if (!error)
            error = weir_send_buf(own->node, own->peers[i].peer, channel, buf);
        life_sent(own, error);
    }
}

/* All that was queued has arrived, or an end was reported. */
static inline void life_settle(struct life *life)
{
    struct life_node *server = &life->nodes[LIFE_SERVER], *client = &life->nodes[LIFE_CLIENT];
    LIFE_UNTIL(life,
               life->has_lost ||
                   (server->received >= client->sent && client->received >= server->sent),
               "all arrives or something is reported");
    /* After a loss there is no number to wait for: what still lives goes on for a while. */
    if (life->has_lost)
        life_calm(life, 40);
}

/* ---- ending -------------------------------------------------------------------------------- */

static inline void life_check_empty(struct life_node *own)
{
    static struct weir_metrics metrics;
    metrics.size = sizeof(metrics);
    IT_OK(weir_metrics_read(own->node, &metrics));
    IT_EQ(metrics.conns, 0);
    IT_EQ(metrics.peers, 0);
    IT_EQ(metrics.handshakes, 0);
    IT_EQ(metrics.pool_bufs, 0);
    IT_EQ(metrics.pool_bytes, 0);
    IT_EQ(metrics.mailbox_bytes, 0);
    own->life->alloc_cnt += metrics.heap_allocs;
}

static inline void life_end(struct life *life)
{
    for (int side = 1; side >= 0; side--) {
        struct life_node *own = &life->nodes[side];
        if (!own->node)
            continue;
        int error = weir_node_stop(own->node, 50 * IT_MS);
        cr_assert(error == 0 || error == WEIR_E_STATE, "stop: %s", weir_error_name(error));
        if (error == WEIR_E_STATE) /* it never ran */
            continue;
        weir_ns until = weir_now() + IT_PATIENCE;
        while (!own->is_over && !own->is_dead) {
            cr_assert(weir_now() < until, "%s: the node does not stop", life_names[life->scenario]);
            life_turn(life);
        }
        /* A dead shard is one of two; the others have their peers until they are freed. */
        if (!own->is_dead)
            life_calm(life, 20);
        if (own->is_dead)
            continue;
        cr_assert(own->ups == own->downs, "%s: %u up, %u down", life_names[life->scenario],
                  own->ups, own->downs);
        life_check_empty(own);
    }
    weir_node_free(life->nodes[1].node);
    weir_node_free(life->nodes[0].node);
}

#endif
