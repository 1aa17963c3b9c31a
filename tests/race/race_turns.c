/* Nodes that the caller turns, under ThreadSanitizer: a thread turns both, others send and release what it kept, and
 * when it is over another one frees them, with sends and receives in flight. Then what was kept is released. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/weir.h"

#define ROUNDS 12
#define KEPT_MAX 64

static weir_node *server, *client;
static _Atomic uint64_t peer;
static _Atomic uint32_t received_cnt;
static _Atomic(struct weir_buf *) kept[KEPT_MAX];
static _Atomic int is_over;
static uint64_t all_received, all_kept;

static void fail(const char *what)
{
    fprintf(stderr, "race_turns: %s\n", what);
    exit(1);
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    (void)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint32_t n = atomic_fetch_add(&received_cnt, 1);
        struct weir_buf *buf;
        if (n % 4 == 0 && weir_msg_keep(server, &msgs[i], &buf) == 0)
            weir_buf_unref(atomic_exchange(&kept[n / 4 % KEPT_MAX], buf));
    }
}

static void on_peer(void *ctx, weir_peer who, int event, int reason)
{
    (void)ctx;
    (void)reason;
    if (event == WEIR_PEER_UP)
        atomic_store(&peer, who.v);
}

static weir_node *make(struct weir_reactor *reactor)
{
    struct weir_config cfg = {.size = sizeof(cfg),
                              .shard_cnt = 1,
                              .flags = WEIR_CONFIG_CALLER_TURNS,
                              .secure = WEIR_SECURE_PLAIN};
    struct weir_channel channel = {.size = sizeof(channel), .id = 1};
    weir_node *node;
    if (weir_node_create(&node, &cfg) || weir_node_attach(node, reactor, &channel, 1))
        fail("a node could not be made");
    return node;
}

/* Turns until it is over, sends a little itself, and stops in the middle. */
static void *turn_main(void *arg)
{
    static const uint8_t msg[3000];
    (void)arg;
    while (!atomic_load(&is_over)) {
        if (weir_node_turn(server, 0, 0) < 0 || weir_node_turn(client, 0, 100000) < 0)
            fail("turn");
        weir_peer to = {atomic_load(&peer)};
        for (int i = 0; to.v && i < 3; i++)
            (void)!weir_try_send(client, to, 1, msg, 20);
        if (to.v)
            (void)!weir_try_send(client, to, 1, msg, sizeof(msg));
    }
    return NULL;
}

/* Sends, and releases what the turning thread has kept. */
static void *other_main(void *arg)
{
    static const uint8_t msg[500];
    (void)arg;
    for (unsigned i = 0; !atomic_load(&is_over); i++) {
        weir_peer to = {atomic_load(&peer)};
        if (to.v)
            (void)!weir_try_send(client, to, 1, msg, sizeof(msg));
        weir_buf_unref(atomic_exchange(&kept[i % KEPT_MAX], NULL));
        if (i % 8 == 0)
            usleep(100);
    }
    return NULL;
}

static void *free_main(void *arg)
{
    weir_node_free(arg);
    return NULL;
}

static void play(void)
{
    struct weir_reactor receiving = {.size = sizeof(receiving), .on_batch = on_batch};
    struct weir_reactor sending = {.size = sizeof(sending), .on_peer = on_peer};
    char address[128];
    pthread_t turner, others[2], freer;
    atomic_store(&peer, 0);
    atomic_store(&received_cnt, 0);
    atomic_store(&is_over, 0);
    server = make(&receiving);
    client = make(&sending);
    if (weir_node_listen(server, "127.0.0.1:0") ||
        weir_node_address(server, 0, address, sizeof(address)) || weir_node_start(server) ||
        weir_node_start(client) || weir_dial(client, address, 0))
        fail("a node does not start");
    pthread_create(&turner, NULL, turn_main, NULL);
    for (int i = 0; i < 2; i++)
        pthread_create(&others[i], NULL, other_main, NULL);
    for (int i = 0; i < 60000 && atomic_load(&received_cnt) < 300; i++)
        usleep(1000);
    atomic_store(&is_over, 1);
    pthread_join(turner, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(others[i], NULL);
    for (int i = 0; i < 2; i++) {
        pthread_create(&freer, NULL, free_main, i ? server : client);
        pthread_join(freer, NULL);
    }
    for (int i = 0; i < KEPT_MAX; i++) {
        struct weir_buf *buf = atomic_exchange(&kept[i], NULL);
        all_kept += buf != NULL;
        weir_buf_unref(buf);
    }
    all_received += atomic_load(&received_cnt);
}

int main(void)
{
    for (int i = 0; i < ROUNDS; i++)
        play();
    printf("race_turns: %llu received, %llu kept to the end\n", (unsigned long long)all_received,
           (unsigned long long)all_kept);
    if (all_received < 300 * ROUNDS || !all_kept)
        fail("too little arrived");
    return 0;
}
