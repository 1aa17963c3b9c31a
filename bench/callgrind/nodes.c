/* bench/callgrind/nodes.c: the cases over two whole nodes, through the public API. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/callgrind/hotpath.h"
#include "bench/callgrind/pipe_io.h"
#include "engine/node/internal.h"
#include "weir/weir.h"

#define CHANNELS 3u
#define WARM_TURNS 40u
#define COUNTED_TURNS 60u
#define SHARE_TURNS 600u /* a contended send is smaller */
#define PING_TURNS 1000u
#define AWAY_MSGS 500u /* in one go, from the other thread */
#define AWAY_ROUNDS 8u
#define SIZE_MAX_BYTES 16384u

struct end {
    weir_node *node;
    weir_peer peer;
    uint64_t received[CHANNELS];
};

static struct end ends[2]; /* 0 dials and sends, 1 listens and receives */
static uint8_t message[SIZE_MAX_BYTES];
static uint64_t sent[CHANNELS];
static uint32_t size, channel_cnt, shard_cnt = 1;
static bool is_filling; /* the sender sends whenever there is room */
static bool is_echoing; /* both answer each message with one */

static void check(bool is_so, const char *what)
{
    if (is_so)
        return;
    fprintf(stderr, "weir-hotpath: %s\n", what);
    abort();
}

/* The message's number is in it, so that the receiver sees that none is missing. */
static bool send_one(struct end *end, uint32_t channel)
{
    memcpy(message, &sent[channel], sizeof(uint64_t));
    int error = weir_try_send(end->node, end->peer, (uint16_t)channel, message, size);
    if (error == WEIR_E_FULL)
        return false;
    if (error != 0)
        check(false, weir_error_text(error));
    sent[channel]++;
    return true;
}

static void on_writable(void *ctx, weir_peer peer, uint16_t channel)
{
    (void)peer;
    while (is_filling && send_one(ctx, channel))
        ;
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct end *end = ctx;

    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint64_t number;
        memcpy(&number, msgs[i].data, sizeof(number));
        check(msgs[i].len == size, "a message of another size");
        check(is_echoing || number == end->received[msgs[i].channel], "a message is missing");
        end->received[msgs[i].channel]++;
        if (is_echoing)
            check(weir_try_send(end->node, end->peer, 0, msgs[i].data, size) == 0, "no room");
    }
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct end *end = ctx;

    if (event != WEIR_PEER_UP)
        check(false, weir_reason_text(reason));
    end->peer = peer;
}

static void turn(void *ctx)
{
    struct end *end = ctx;

    check(weir_node_turn(end->node, 0, 0) >= 0, "a turn failed");
}

static void make(struct end *end)
{
    static const uint16_t weights[CHANNELS] = {1, 5, 10};
    struct weir_channel channels[CHANNELS];
    struct weir_config cfg;
    struct weir_reactor reactor = {.size = sizeof(reactor),
                                   .ctx = end,
                                   .on_batch = on_batch,
                                   .on_peer = on_peer,
                                   .on_writable = on_writable};

    weir_config_init(&cfg);
    cfg.secure = WEIR_SECURE_PLAIN;
    cfg.flags = WEIR_CONFIG_CALLER_TURNS;
    cfg.peers_max = 8;
    cfg.shard_cnt = shard_cnt;
    for (uint16_t i = 0; i < channel_cnt; i++) {
        weir_channel_init(&channels[i], i);
        channels[i].weight = weights[i];
    }
    check(weir_node_create_on(&end->node, &cfg, &pipe_host) == 0, "weir_node_create_on");
    check(weir_node_attach(end->node, &reactor, channels, channel_cnt) == 0, "weir_node_attach");
    if (end == &ends[1])
        check(weir_node_listen(end->node, "127.0.0.1:7000") == 0, "weir_node_listen");
    check(weir_node_start(end->node) == 0, "weir_node_start");
    for (uint32_t i = 0; i < shard_cnt; i++) /* they are this thread's from here on */
        check(weir_node_turn(end->node, i, 0) >= 0, "a turn failed");
}

static void connect_ends(uint32_t message_size, uint32_t channels)
{
    size = message_size;
    channel_cnt = channels;
    make(&ends[1]);
    make(&ends[0]);
    check(weir_dial(ends[0].node, "127.0.0.1:7000", 0) == 0, "weir_dial");
    for (int i = 0; i < 100 && (ends[0].peer.v == 0 || ends[1].peer.v == 0); i++) {
        turn(&ends[0]);
        turn(&ends[1]);
        pipe_move();
    }
    check(ends[0].peer.v != 0 && ends[1].peer.v != 0, "no handshake");
}

static uint64_t sum(const uint64_t *counts)
{
    return counts[0] + counts[1] + counts[2];
}

/* Rounds of both sides, in which the turns of `who` (2: nobody's) are counted. */
static void go_round(uint32_t rounds, uint32_t who)
{
    for (uint32_t i = 0; i < rounds; i++) {
        for (uint32_t side = 0; side < 2; side++) {
            if (side == who)
                counted(turn, &ends[side]);
            else
                turn(&ends[side]);
        }
        pipe_move();
    }
}

/* Everything in a letter each: the thread's part and the shard's part are both counted. */
static void send_away(void *ctx)
{
    (void)ctx;
    for (uint32_t i = 0; i < AWAY_MSGS; i++)
        check(send_one(&ends[0], 0), "the mailbox is full");
}

static void *run_counted(void *ctx)
{
    counted(send_away, ctx);
    return NULL;
}

static void *run_plain(void *ctx)
{
    send_away(ctx);
    return NULL;
}

static uint64_t stream_away(void)
{
    uint64_t before = 0;

    for (uint32_t i = 0; i < 2 * AWAY_ROUNDS; i++) {
        bool is_warm = i >= AWAY_ROUNDS;
        pthread_t thread;
        if (i == AWAY_ROUNDS)
            before = sum(sent);
        check(pthread_create(&thread, NULL, is_warm ? run_counted : run_plain, NULL) == 0,
              "pthread_create");
        pthread_join(thread, NULL);
        go_round(3, is_warm ? 0 : 2);
    }
    check(sum(ends[1].received) == sum(sent), "not all arrived");
    return sum(sent) - before;
}

uint64_t hotpath_stream_of(uint32_t shards, const char *name, uint32_t message_size)
{
    shard_cnt = shards;
    return hotpath_stream(name, message_size);
}

uint64_t hotpath_stream(const char *name, uint32_t message_size)
{
    bool is_receive = strcmp(name, "receive") == 0;
    const uint64_t *counts = is_receive ? ends[1].received : sent;

    connect_ends(message_size, strcmp(name, "share") == 0 ? CHANNELS : 1);
    if (strcmp(name, "away") == 0)
        return stream_away();
    is_filling = true;
    for (uint32_t i = 0; i < channel_cnt; i++)
        on_writable(&ends[0], ends[0].peer, (uint16_t)i);
    go_round(WARM_TURNS, 2);
    uint64_t before = sum(counts);
    go_round(channel_cnt > 1 ? SHARE_TURNS : COUNTED_TURNS, is_receive ? 1 : 0);
    return sum(counts) - before;
}

uint64_t hotpath_ping(uint32_t message_size)
{
    uint64_t before = 0;

    connect_ends(message_size, 1);
    is_echoing = true;
    check(send_one(&ends[0], 0), "no room");
    for (uint32_t i = 0; i < 2 * PING_TURNS; i++) {
        if (i == PING_TURNS)
            before = sum(ends[0].received);
        if (i < PING_TURNS)
            turn(&ends[0]);
        else
            counted(turn, &ends[0]);
        pipe_move();
        turn(&ends[1]);
        pipe_move();
    }
    return sum(ends[0].received) - before;
}
