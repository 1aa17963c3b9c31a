/* Whole nodes under ThreadSanitizer: two shards, senders on foreign threads, broadcasts, buffers kept by the
 * shards and released elsewhere, peers looked at and disconnected, a stop while others still send. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/weir.h"

#define SENDERS 3
#define PEERS_MAX 8
#define KEPT_MAX 256
#define MSGS_EACH 4000

static weir_node *server, *client;
static _Atomic uint64_t peers[PEERS_MAX];
static _Atomic uint32_t peer_cnt;
static _Atomic uint64_t received_cnt, kept_cnt;
static _Atomic(struct weir_buf *) kept[KEPT_MAX];
static _Atomic int is_over;

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    (void)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint64_t n = atomic_fetch_add(&received_cnt, 1);
        struct weir_buf *buf;
        if (n % 16 == 0 && weir_msg_keep(server, &msgs[i], &buf) == 0) {
            atomic_fetch_add(&kept_cnt, 1);
            weir_buf_unref(atomic_exchange(&kept[(n / 16) % KEPT_MAX], buf));
        }
    }
}

static void on_client_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)ctx;
    (void)reason;
    if (event != WEIR_PEER_UP)
        return;
    uint32_t idx = atomic_fetch_add(&peer_cnt, 1);
    if (idx < PEERS_MAX)
        atomic_store(&peers[idx], peer.v);
}

/* Takes what the shards kept and releases it on this thread. */
static void *release_main(void *arg)
{
    (void)arg;
    while (!atomic_load(&is_over)) {
        for (int i = 0; i < KEPT_MAX; i++)
            weir_buf_unref(atomic_exchange(&kept[i], NULL));
        usleep(500);
    }
    return NULL;
}

static void *sender_main(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    uint8_t msg[3000];
    memset(msg, (int)seed, sizeof(msg));
    uint64_t sent = 0;
    for (int i = 0; i < MSGS_EACH && !atomic_load(&is_over); i++) {
        uint32_t cnt = atomic_load(&peer_cnt);
        weir_peer peer = {atomic_load(&peers[(unsigned)rand_r(&seed) % (cnt < 1 ? 1 : cnt)])};
        size_t len = (size_t)rand_r(&seed) % sizeof(msg);
        if (i % 97 == 0) {
            struct weir_peer_info info = {.size = sizeof(info)};
            (void)weir_peer_info(client, peer, &info);
        } else if (i % 31 == 0) {
            (void)weir_broadcast(client, 1, msg, len, NULL);
        } else if (i % 7 == 0) {
            struct weir_buf *buf;
            if (weir_buf_create(&buf, len) == 0)
                sent += weir_send_buf(client, peer, 1, buf) == 0;
        } else {
            sent += weir_send(client, peer, 1, msg, len, 100 * WEIR_NS_PER_MS) == 0;
        }
        if (i % 501 == 0) {
            struct weir_metrics metrics = {.size = sizeof(metrics)};
            (void)weir_metrics_read(client, &metrics);
        }
    }
    return (void *)(uintptr_t)sent;
}

static void fail(const char *what)
{
    fprintf(stderr, "race_node: %s\n", what);
    exit(1);
}

static weir_node *make(struct weir_reactor *reactor)
{
    struct weir_config cfg = {.size = sizeof(cfg), .shard_cnt = 2, .secure = WEIR_SECURE_PLAIN};
    struct weir_channel channel = {.size = sizeof(channel), .id = 1};
    weir_node *node;
    if (weir_node_create(&node, &cfg) || weir_node_attach(node, reactor, &channel, 1))
        fail("a node could not be made");
    return node;
}

int main(void)
{
    struct weir_reactor receiving = {.size = sizeof(receiving), .on_batch = on_batch};
    struct weir_reactor sending = {.size = sizeof(sending), .on_peer = on_client_peer};
    server = make(&receiving);
    client = make(&sending);
    char address[128];
    int error = weir_node_listen(server, "127.0.0.1:0");
    if (error || weir_node_address(server, 0, address, sizeof(address)) ||
        weir_node_start(server) || weir_node_start(client))
        fail(weir_error_name(error));
    for (int i = 0; i < 4; i++) {
        if (weir_dial(client, address, 0))
            fail("dial");
    }
    for (int i = 0; i < 6000 && atomic_load(&peer_cnt) < 4; i++)
        usleep(10000);
    if (atomic_load(&peer_cnt) < 4)
        fail("the peers did not come up");

    pthread_t senders[SENDERS], releaser;
    pthread_create(&releaser, NULL, release_main, NULL);
    for (uintptr_t i = 0; i < SENDERS; i++)
        pthread_create(&senders[i], NULL, sender_main, (void *)(i + 1));
    usleep(300000);
    for (int i = 0; i < 6000 && !(atomic_load(&received_cnt) && atomic_load(&kept_cnt)); i++)
        usleep(10000);
    (void)weir_disconnect(client, (weir_peer){atomic_load(&peers[3])}, 0);
    usleep(300000);
    (void)weir_node_stop(client, 200 * WEIR_NS_PER_MS); /* while the senders go on */
    uint64_t sent = 0;
    for (int i = 0; i < SENDERS; i++) {
        void *cnt;
        pthread_join(senders[i], &cnt);
        sent += (uintptr_t)cnt;
    }
    (void)weir_node_stop(server, 0);
    atomic_store(&is_over, 1);
    pthread_join(releaser, NULL);
    weir_node_free(client);
    weir_node_free(server);
    for (int i = 0; i < KEPT_MAX; i++) /* kept messages outlive their node */
        weir_buf_unref(atomic_exchange(&kept[i], NULL));
    printf("race_node: %llu sent, %llu received, %llu kept\n", (unsigned long long)sent,
           (unsigned long long)atomic_load(&received_cnt),
           (unsigned long long)atomic_load(&kept_cnt));
    if (!atomic_load(&received_cnt) || !atomic_load(&kept_cnt))
        fail("nothing arrived");
    return 0;
}
