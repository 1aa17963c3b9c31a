/* Nodes of two shards find each other while their books are saved, other threads look at them, and outbound peers are
 * compared and exchanged; then all end at once, and a second life begins from the books. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/weir.h"

#define NODES 4u
#define LIVES 2
#define PATIENCE (60 * WEIR_NS_PER_S)

static struct {
    weir_node *node;
    weir_discovery *disco;
    char address[128], book[64];
} nodes[NODES];
static atomic_int is_over;

static void fail(const char *what, int error)
{
    fprintf(stderr, "race_discovery: %s: %s\n", what, weir_error_name(error));
    exit(1);
}

static void must(int error, const char *what)
{
    if (error != 0)
        fail(what, error);
}

/* Another thread: looks, finds and adds, all the time. */
static void *look(void *arg)
{
    (void)arg;
    for (unsigned i = 0; !atomic_load(&is_over); i++) {
        weir_discovery *disco = nodes[i % NODES].disco;
        weir_peer peers[16];
        int64_t peer_cnt = weir_peer_list(nodes[i % NODES].node, peers, 16);
        struct weir_discovery_info info = {.size = sizeof(info)};
        struct weir_found found[8];
        char address[64];
        must(weir_discovery_read(disco, &info), "read");
        if (weir_discovery_find(disco, "even", found, 8) < 0)
            fail("find", 0);
        for (int64_t k = 0; k < peer_cnt && k < 16; k++) /* or it has gone meanwhile */
            (void)weir_peer_useful(nodes[i % NODES].node, peers[k], i % 3, 1);
        snprintf(address, sizeof(address), "127.%u.%u.1:9", 1 + i / 250 % 250,
                 i % 250); /* nobody is there */
        int error = weir_discovery_add(disco, address);
        if (error != 0 && error != WEIR_E_LIMIT)
            fail("add", error);
        usleep(500);
    }
    return NULL;
}

static void begin(unsigned idx, int life)
{
    struct weir_config cfg;
    weir_config_init(&cfg);
    cfg.shard_cnt = 2;
    cfg.peers_max = 64;
    cfg.dial_timeout_ns = 200 * WEIR_NS_PER_MS; /* of addresses that `look` made up */
    must(weir_node_create(&nodes[idx].node, &cfg), "create");
    struct weir_discovery_config disco;
    weir_discovery_config_init(&disco);
    disco.outbound_cnt = 2;
    disco.dials_at_once = 16;
    disco.book_path = nodes[idx].book;
    disco.seeds = idx > 0 ? nodes[0].address : NULL;
    disco.capabilities = idx % 2 ? "odd" : "even";
    disco.ask_interval_ns = disco.save_interval_ns = 100 * WEIR_NS_PER_MS;
    disco.replace_interval_ns = disco.quiet_ns = WEIR_NS_PER_S;
    disco.feeler_interval_ns = 200 * WEIR_NS_PER_MS;
    must(weir_discovery_attach(&nodes[idx].disco, nodes[idx].node, &disco), "attach");
    /* Of the loopback network, and this process's alone: in the next life nobody else has the port. */
    uint32_t pid = (uint32_t)getpid();
    char own[32];
    snprintf(own, sizeof(own), "127.%u.%u.%u:0", 64 + (pid >> 16 & 0x3F), pid >> 8 & 0xFF,
             pid & 0xFF);
    must(weir_node_listen(nodes[idx].node, life == 0 ? own : nodes[idx].address), "listen");
    must(weir_node_start(nodes[idx].node), "start");
    must(weir_node_address(nodes[idx].node, 0, nodes[idx].address, sizeof(nodes[idx].address)),
         "address");
}

/* Every node has a peer, and has written its book. */
static int is_mesh(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        struct weir_discovery_info info = {.size = sizeof(info)};
        must(weir_discovery_read(nodes[i].disco, &info), "read");
        if (info.outbound_cnt + info.inbound_cnt < 2 || info.saves == 0)
            return 0;
    }
    return 1;
}

int main(void)
{
    char folder[] = "/tmp/weir-race-XXXXXX";
    struct weir_check checks[64];
    int64_t check_cnt = weir_doctor(checks, 64);
    for (int64_t i = 0; i < check_cnt; i++)
        if (checks[i].status == 2)
            return 77; /* weir cannot run here */
    if (!mkdtemp(folder))
        return 1;
    for (unsigned i = 0; i < NODES; i++)
        snprintf(nodes[i].book, sizeof(nodes[i].book), "%s/book%u", folder, i);
    for (int life = 0; life < LIVES; life++) {
        pthread_t looker;
        for (unsigned i = 0; i < NODES; i++)
            begin(i, life);
        atomic_store(&is_over, 0);
        if (pthread_create(&looker, NULL, look, NULL) != 0)
            return 1;
        weir_ns until = weir_now() + PATIENCE;
        while (!is_mesh()) {
            if (weir_now() > until)
                fail("no mesh in a minute", 0);
            usleep(10000);
        }
        atomic_store(&is_over, 1);
        pthread_join(looker, NULL);
        for (unsigned i = 0; i < NODES; i++) {
            if (i % 2)
                (void)weir_node_stop(nodes[i].node, WEIR_NS_PER_S);
            weir_node_free(nodes[i].node);
            weir_discovery_free(nodes[i].disco);
        }
    }
    for (unsigned i = 0; i < NODES; i++)
        if (unlink(nodes[i].book) != 0)
            fail("a node has no book", 0);
    return rmdir(folder) == 0 ? 0 : 1;
}
