/* A process without descriptors, a shard with two small receive buffers, an allocator that fails at every
 * place it can: errors, closed connections at worst, and nothing left behind. */
#include <fcntl.h>
#include <sys/resource.h>

#include "engine/mem/heap.h"
#include "tests/integration/raw.h"
#include "tests/integration/traffic.h"

IT_SUITE(limits);

static struct it_node a, b;
static struct traffic ta, tb;

/* ---- descriptors --------------------------------------------------------------------------- */

/* Lets the process open `more` descriptors than it has; returns the limit before. */
static struct rlimit leave_fds(int more)
{
    struct rlimit before, now;
    int next = open("/dev/null", O_RDONLY); /* the lowest free number */
    cr_assert(next >= 0 && getrlimit(RLIMIT_NOFILE, &before) == 0);
    close(next);
    now = before;
    now.rlim_cur = (rlim_t)(next + more);
    cr_assert(setrlimit(RLIMIT_NOFILE, &now) == 0);
    return before;
}

IT_TEST(limits, no_descriptors_for_a_node)
{
    int listened = 0, started = 0;
    for (int more = 0; more < 16; more++) {
        it_init(&a, "a");
        it_channel(&a, 1);
        a.cfg.shard_cnt = 2;
        IT_OK(weir_node_create(&a.node, &a.cfg));
        struct weir_reactor reactor = {.size = sizeof(reactor)};
        IT_OK(weir_node_attach(a.node, &reactor, a.channels, 1));
        struct rlimit before = leave_fds(more);
        int listen_error = weir_node_listen(a.node, "127.0.0.1:0");
        int start_error = weir_node_start(a.node);
        setrlimit(RLIMIT_NOFILE, &before);
        cr_assert(listen_error == 0 || listen_error == WEIR_E_DESCRIPTORS, "listen with %d: %s",
                  more, weir_error_name(listen_error));
        cr_assert(start_error == 0 || start_error == WEIR_E_DESCRIPTORS, "start with %d: %s", more,
                  weir_error_name(start_error));
        listened += listen_error == 0;
        started += start_error == 0;
        it_free(&a);
    }
    if (getenv("WEIR_TEST_LOG"))
        fprintf(stderr, "%d %d\n", listened, started);
    cr_assert(listened > 0 && listened < 16 && started > 0 && started < 16);
}

IT_TEST(limits, no_descriptors_for_a_dial)
{
    it_init(&a, "a");
    it_init(&b, "b");
    a.cfg.redial_min_ns = a.cfg.redial_max_ns = 20 * IT_MS;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    struct rlimit before = leave_fds(0);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.fails == 1);
    IT_OK(weir_dial(a.node, b.address, WEIR_DIAL_PERSIST)); /* goes on trying */
    IT_WAIT(a.fails == 3);
    setrlimit(RLIMIT_NOFILE, &before);
    IT_WAIT(a.ups == 1 && b.ups == 1);
    it_stop(&a);
    IT_WAIT(b.downs == 1);
    it_stop(&b);
}

/* Accepting fails for want of descriptors; when there are some again, it goes on. The kernel takes note
 * of the limit when accept is armed, so the limit is there before the node is. */
IT_TEST(limits, no_descriptors_for_accepting)
{
    struct raw raws[6];
    for (int i = 0; i < 6; i++) {
        raw_init(&raws[i], 1, 65536);
        raws[i].sock = socket(AF_INET, SOCK_STREAM, 0);
        raw_tune(raws[i].sock);
    }
    it_init(&b, "b");
    int fds = it_fds();
    it_start(&b, "127.0.0.1:0"); /* to see how many descriptors a node takes */
    int node_fds = it_fds() - fds;
    it_stop(&b);
    struct rlimit before = leave_fds(node_fds + 3); /* what else the process opens may take some */
    it_init(&b, "b");
    it_start(&b, "127.0.0.1:0");
    struct sockaddr_storage any;
    socklen_t len = raw_address(b.address, &any);
    for (int i = 0; i < 6; i++) /* the kernel completes them all, the node can take three */
        cr_assert(connect(raws[i].sock, (struct sockaddr *)&any, len) == 0);
    usleep(300 * 1000); /* three attempts */
    cr_assert(it_metrics(&b)->accepted <= 3, "%llu", (unsigned long long)it_metrics(&b)->accepted);
    setrlimit(RLIMIT_NOFILE, &before);
    for (int i = 0; i < 6; i++)
        cr_assert(raw_handshake(&raws[i], true));
    IT_WAIT(b.ups == 6);
    for (int i = 0; i < 6; i++)
        raw_close(&raws[i]);
    IT_WAIT(b.downs == 6);
    it_stop(&b);
}

/* ---- receive buffers ----------------------------------------------------------------------- */

static uint32_t some_len(uint16_t channel, uint64_t seq)
{
    return (uint32_t)(seq * 1237 % (channel == 1 ? 300 : 90000));
}

IT_TEST(limits, two_receive_buffers_for_forty_peers)
{
    enum { PEERS = 40 };
    it_init(&a, "a");
    it_init(&b, "b");
    for (int i = 0; i < 2; i++) {
        struct it_node *node = i ? &a : &b;
        it_channel(node, 1);
        it_channel(node, 2);
        node->cfg.recv_buf_cnt = 2;
        node->cfg.recv_buf_bytes = 2048;
    }
    traffic_init(&ta, &a, 1, 2, some_len, 90000);
    traffic_init(&tb, &b, 2, 1, some_len, 90000);
    ta.total[0] = tb.total[0] = 300;
    ta.total[1] = tb.total[1] = 20;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    for (int i = 0; i < PEERS; i++)
        IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT((ta.received == PEERS * 320 && tb.received == PEERS * 320) || a.faults || b.faults);
    it_stop(&a);
    IT_WAIT(b.downs == PEERS);
    it_stop(&b);
    traffic_fini(&ta);
    traffic_fini(&tb);
}

/* ---- memory -------------------------------------------------------------------------------- */

/* The life of two nodes with a connection, in which the n-th allocation fails. Returns whether it came
 * that far. Nothing is waited for longer than it can still come. */
static bool live_with_failure(uint64_t nth)
{
    static uint8_t msg[100000];
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    struct weir_channel channel = {.size = sizeof(channel), .id = 1};
    struct weir_config cfg;
    weir_node *nodes[2] = {NULL, NULL};
    char address[128] = "";
    int error = 0;
    weir_config_init(&cfg);
    cfg.peers_max = 8;
    cfg.dials_max = 4;
    cfg.recv_buf_cnt = 2;
    cfg.goodbye_linger_ns = 20 * IT_MS;
    cfg.handshake_timeout_ns = 100 * IT_MS;
    weir_heap_fail_nth(nth);
    for (int i = 0; i < 2 && !error; i++) {
        error = weir_node_create(&nodes[i], &cfg);
        if (!error)
            error = weir_node_attach(nodes[i], &reactor, &channel, 1);
        if (!error && i == 0)
            error = weir_node_listen(nodes[i], "127.0.0.1:0");
        if (!error)
            error = weir_node_start(nodes[i]);
    }
    if (!error)
        error = weir_node_address(nodes[0], 0, address, sizeof(address));
    if (!error)
        error = weir_dial(nodes[1], address, 0);
    for (int i = 0; i < 100 && !error; i++) { /* up, or failed */
        error = weir_metrics_read(nodes[1], &metrics);
        if (metrics.peers == 1 || (i > 10 && metrics.conns == 0))
            break;
        usleep(1000);
    }
    for (int i = 0; i < 10 && !error; i++) {
        int64_t sent = weir_broadcast(nodes[1], 1, msg, i % 2 ? sizeof(msg) : 100, NULL);
        cr_assert(sent == 0 || sent == WEIR_E_NOMEM, "broadcast: %s", weir_error_name((int)sent));
    }
    for (int i = 0; i < 2; i++) {
        if (nodes[i] && i == 1)
            (void)weir_node_stop(nodes[i], 100 * IT_MS);
        weir_node_free(nodes[i]);
    }
    weir_heap_fail_nth(0);
    cr_assert(error == 0 || error == WEIR_E_NOMEM || error == WEIR_E_MEMLOCK, "allocation %llu: %s",
              (unsigned long long)nth, weir_error_name(error));
    return error == 0;
}

IT_TEST(limits, every_allocation_may_fail)
{
    int fds = it_fds();
    uint32_t lived = 0;
    for (uint64_t nth = 1; nth <= 120; nth++) {
        if (getenv("WEIR_TEST_LOG"))
            fprintf(stderr, "allocation %llu\n", (unsigned long long)nth);
        lived += live_with_failure(nth);
        IT_WAIT(it_fds() <= fds);
    }
    cr_assert(lived > 20 && lived < 120, "%u of 120 came to the end", lived);
}
