/* chaos_node: a node that checks its own traffic, to be killed, stopped, cut off and lied to.
 *
 *     chaos_node --id N [--listen ADDRESS] [--dial ADDRESS]... [--swarm N] [--rate BYTES] [--shards N]
 *                [--ping-ms N] [--seed N] [--secure]
 *
 * It sends checked streams (stream.h) to every peer that comes up, on four channels, at --rate bytes a
 * second to each, or as fast as they go with --rate 0. It dials each --dial again and again; with
 * --swarm N it keeps N connections to the first of them, each dialed anew at once when it ends. Connections are
 * plain; with --secure they are encrypted, and nothing else is taken.
 *
 * On standard output: "listening at ADDRESS", then a line of JSON four times a second, and a last one
 * ("is_final") after a stop by SIGTERM. A message that is wrong is reported on standard error and ends
 * the process. Exit: 0 stopped and nothing left in use, 1 could not run, 3 a wrong message, 4 something
 * is still in use after the stop.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/chaos/stream.h"
#include "weir/weir.h"

#define DIALS_MAX 16
#define PEERS_MAX 256u
#define NODES_MAX 64u
#define TICK_NS (5 * WEIR_NS_PER_MS)
#define SEEN_MAX 4096u

struct slot { /* of one connection; written by its shard */
    weir_peer peer;
    bool is_up;
    _Atomic int from; /* the node whose messages arrive here, -1: none yet */
    struct stream stream;
    int64_t allowance; /* bytes that may be sent now; below 0 after a large message */
    uint32_t turn;     /* whose turn it is: all messages count alike */
};

static struct {
    const char *listen;
    const char *dials[DIALS_MAX];
    uint32_t dial_cnt;
    uint32_t swarm;
    uint64_t rate;
    uint32_t shards;
    uint32_t ping_ms;
    uint16_t id;
    uint64_t seed;
    bool is_secure;
} options = {.rate = 4 << 20, .shards = 1, .ping_ms = 500};

static weir_node *node;
static uint8_t *table;
static struct slot slots[WEIR_SHARDS_MAX][PEERS_MAX];
static uint8_t *scratch[WEIR_SHARDS_MAX];
static _Atomic uint64_t sent_cnt, sent_bytes, received_cnt, received_bytes;
static _Atomic uint32_t swarm_cnt; /* dialed and not ended */
static _Atomic uint64_t stream_cnt;
static volatile sig_atomic_t is_stopping;

/* ---- checks -------------------------------------------------------------------------------- */

static pthread_mutex_t seen_mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t seen[SEEN_MAX]; /* the latest streams, by number */
static uint32_t seen_cnt;

static void violation(const char *what, const struct stream_head *head, weir_peer peer)
{
    fprintf(
        stderr,
        "VIOLATION at node %u: %s: node %u, channel %u, stream %016llx, number %llu, peer %016llx\n",
        options.id, what, head->node, head->channel, (unsigned long long)head->stream,
        (unsigned long long)head->seq, (unsigned long long)peer.v);
    fflush(NULL);
    _exit(3);
}

/* Whether a stream was heard on an earlier connection. */
static bool is_old_stream(uint64_t stream)
{
    bool is_old = false;
    pthread_mutex_lock(&seen_mutex);
    for (uint32_t i = 0; i < SEEN_MAX && i < seen_cnt && !is_old; i++)
        is_old = seen[i] == stream;
    seen[seen_cnt++ % SEEN_MAX] = stream;
    pthread_mutex_unlock(&seen_mutex);
    return is_old;
}

static struct slot *slot_of(weir_peer peer)
{
    uint32_t slot_idx = (uint32_t)peer.v & 0xFFFFFFu; /* shard | slot | generation, see weir_peer */
    if (slot_idx >= PEERS_MAX)
        abort();
    return &slots[weir_peer_shard(peer)][slot_idx];
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    (void)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        struct slot *slot = slot_of(msgs[i].peer);
        struct stream_head head = {0};
        if (!slot->is_up || slot->peer.v != msgs[i].peer.v)
            violation("a message of a peer that is not up", &head, msgs[i].peer);
        bool is_first = slot->stream.in == 0;
        const char *wrong =
            stream_take(&slot->stream, table, msgs[i].data, msgs[i].len, msgs[i].channel, &head);
        if (!wrong && is_first && is_old_stream(head.stream))
            wrong = "a stream a second time";
        if (wrong)
            violation(wrong, &head, msgs[i].peer);
        if (is_first)
            atomic_store(&slot->from, head.node);
        atomic_fetch_add_explicit(&received_cnt, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&received_bytes, msgs[i].len, memory_order_relaxed);
    }
}

/* ---- sending ------------------------------------------------------------------------------- */

/* Sends the next message of a channel. False: not now. */
static bool send_one(struct slot *slot, uint16_t channel)
{
    uint8_t *data = scratch[weir_peer_shard(slot->peer)];
    uint32_t len = stream_write(data, table, &slot->stream, options.id, channel);
    int error = weir_try_send(node, slot->peer, channel, data, len);
    if (error == WEIR_E_FULL || error == WEIR_E_GONE)
        return false;
    if (error) {
        fprintf(stderr, "VIOLATION at node %u: try_send: %s\n", options.id, weir_error_name(error));
        _exit(3);
    }
    slot->stream.sent[channel - 1]++;
    slot->allowance -= len;
    atomic_fetch_add_explicit(&sent_cnt, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&sent_bytes, len, memory_order_relaxed);
    return true;
}

/* As fast as it goes, one channel. */
static void pump(struct slot *slot, uint16_t channel)
{
    while (slot->is_up && send_one(slot, channel))
        ;
}

/* At the rate that was asked for: many small messages for each large one. */
static void pump_paced(struct slot *slot)
{
    static const uint16_t order[] = {1, 2, 1, 3, 1, 2, 1, 2, 1, 2, 1, 3, 1, 2, 1, 4};
    for (uint32_t refused = 0; slot->is_up && slot->allowance > 0 && refused < STREAM_CHANNELS;)
        refused += !send_one(slot, order[slot->turn++ % (sizeof(order) / sizeof(order[0]))]);
}

static void pump_all(struct slot *slot)
{
    if (options.rate) {
        pump_paced(slot);
        return;
    }
    for (uint16_t channel = 1; channel <= STREAM_CHANNELS; channel++)
        pump(slot, channel);
}

static void on_writable(void *ctx, weir_peer peer, uint16_t channel)
{
    (void)ctx;
    if (options.rate == 0)
        pump(slot_of(peer), channel);
}

static weir_ns on_tick(void *ctx, uint32_t shard, weir_ns now)
{
    (void)ctx;
    for (uint32_t i = 0; i < PEERS_MAX && options.rate; i++) {
        struct slot *slot = &slots[shard][i];
        if (!slot->is_up)
            continue;
        /* What was not used is not saved up. */
        int64_t more = (int64_t)(options.rate * TICK_NS / WEIR_NS_PER_S) + 1;
        slot->allowance = slot->allowance > 0 ? more : slot->allowance + more;
        pump_all(slot);
    }
    return now + TICK_NS;
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)ctx;
    (void)reason;
    if (event != WEIR_PEER_UP)
        atomic_fetch_sub(&swarm_cnt, options.swarm ? 1 : 0);
    if (event == WEIR_PEER_FAILED)
        return;
    struct slot *slot = slot_of(peer);
    atomic_store(&slot->from, -1);
    slot->is_up = event == WEIR_PEER_UP;
    if (!slot->is_up)
        return;
    uint64_t nth = atomic_fetch_add(&stream_cnt, 1);
    slot->peer = peer;
    slot->stream = (struct stream){.out = stream_mix(options.seed + nth) | 1};
    slot->allowance = options.rate / 16 < 65536 ? (int64_t)(options.rate / 16) : 65536;
    pump_all(slot);
}

/* ---- reports ------------------------------------------------------------------------------- */

static long rss_kib(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file) {
        if (fscanf(file, "%ld %ld", &pages, &resident) != 2)
            resident = 0;
        fclose(file);
    }
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static int fd_cnt(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int cnt = 0;
    while (dir && readdir(dir))
        cnt++;
    if (dir)
        closedir(dir);
    return cnt - 3; /* ".", ".." and the folder itself */
}

/* Nodes whose messages arrive now, each counted once. */
static uint32_t heard_cnt(void)
{
    bool is_heard[NODES_MAX] = {false};
    uint32_t cnt = 0;
    for (uint32_t shard = 0; shard < options.shards; shard++) {
        for (uint32_t i = 0; i < PEERS_MAX; i++) {
            int from = atomic_load(&slots[shard][i].from);
            if (from < 0 || from >= (int)NODES_MAX || is_heard[from])
                continue;
            is_heard[from] = true;
            cnt++;
        }
    }
    return cnt;
}

static bool report(bool is_final)
{
    static struct weir_metrics metrics;
    metrics.size = sizeof(metrics);
    if (weir_metrics_read(node, &metrics) != 0)
        return false;
    printf(
        "{\"id\": %u, \"t_ms\": %llu, \"is_final\": %s, \"peers\": %llu, \"heard\": %u, "
        "\"conns\": %llu, \"handshakes\": %llu, \"sent\": %llu, \"sent_bytes\": %llu, "
        "\"received\": %llu, \"received_bytes\": %llu, \"pool_bytes\": %llu, \"pool_bufs\": %llu, "
        "\"mailbox_bytes\": %llu, \"frames_failed\": %llu, \"accepted\": %llu, \"dialed\": %llu, "
        "\"rss_kib\": %ld, \"fds\": %d, \"closes\": {",
        options.id, (unsigned long long)(weir_now() / WEIR_NS_PER_MS), is_final ? "true" : "false",
        (unsigned long long)metrics.peers, heard_cnt(), (unsigned long long)metrics.conns,
        (unsigned long long)metrics.handshakes, (unsigned long long)sent_cnt,
        (unsigned long long)sent_bytes, (unsigned long long)received_cnt,
        (unsigned long long)received_bytes, (unsigned long long)metrics.pool_bytes,
        (unsigned long long)metrics.pool_bufs, (unsigned long long)metrics.mailbox_bytes,
        (unsigned long long)metrics.frames_failed, (unsigned long long)metrics.accepted,
        (unsigned long long)metrics.dialed, rss_kib(), fd_cnt());
    const char *comma = "";
    for (int i = 0; i < WEIR_REASON_CNT; i++) {
        if (!metrics.closes[i])
            continue;
        printf("%s\"%s\": %llu", comma, weir_reason_name(i), (unsigned long long)metrics.closes[i]);
        comma = ", ";
    }
    printf("}}\n");
    fflush(stdout);
    const struct {
        const char *name;
        uint64_t value;
    } in_use[] = {{"connections", metrics.conns},
                  {"handshakes", metrics.handshakes},
                  {"buffers", metrics.pool_bufs},
                  {"bytes of buffers", metrics.pool_bytes},
                  {"bytes of letters", metrics.mailbox_bytes}};
    bool is_empty = true;
    for (size_t i = 0; is_final && i < sizeof(in_use) / sizeof(in_use[0]); i++) {
        if (in_use[i].value == 0)
            continue;
        is_empty = false;
        fprintf(stderr, "VIOLATION at node %u: %llu %s in use after the stop\n", options.id,
                (unsigned long long)in_use[i].value, in_use[i].name);
    }
    return is_empty;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void on_signal(int number)
{
    (void)number;
    is_stopping = 1;
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "chaos_node: %s: %s (%s) %s\n", what, weir_error_text(error),
            weir_error_name(error), weir_error_remedy(error));
    return 1;
}

/* The kernel lets go of a killed process's ring, and of the listener in it, a moment after the process is
 * gone. */
static int listen_patiently(void)
{
    weir_ns until = weir_now() + 5 * WEIR_NS_PER_S;
    int error;
    while ((error = weir_node_listen(node, options.listen)) == WEIR_E_IN_USE && weir_now() < until)
        usleep(5000);
    return error;
}

static int make(void)
{
    static const uint16_t weights[STREAM_CHANNELS] = {1, 4, 2, 1};
    struct weir_config cfg;
    struct weir_channel channels[STREAM_CHANNELS];
    struct weir_reactor reactor = {.size = sizeof(reactor),
                                   .on_batch = on_batch,
                                   .on_peer = on_peer,
                                   .on_writable = on_writable,
                                   .on_tick = on_tick};
    weir_config_init(&cfg);
    cfg.secure = options.is_secure ? WEIR_SECURE_REQUIRE : WEIR_SECURE_PLAIN;
    cfg.flags |= options.is_secure ? WEIR_CONFIG_TWINS : 0; /* a swarm is of one id */
    cfg.shard_cnt = options.shards;
    cfg.peers_max = PEERS_MAX;
    cfg.ping_interval_ns = options.ping_ms * WEIR_NS_PER_MS;
    cfg.ping_timeout_ns = 4 * cfg.ping_interval_ns;
    cfg.idle_timeout_ns = 6 * cfg.ping_interval_ns;
    cfg.stall_timeout_ns = 6 * cfg.ping_interval_ns;
    cfg.handshake_timeout_ns = 2 * WEIR_NS_PER_S;
    cfg.dial_timeout_ns = 2 * WEIR_NS_PER_S;
    cfg.redial_min_ns = 50 * WEIR_NS_PER_MS;
    cfg.redial_max_ns = 500 * WEIR_NS_PER_MS;
    cfg.goodbye_linger_ns = options.swarm ? 50 * WEIR_NS_PER_MS : 500 * WEIR_NS_PER_MS;
    for (uint16_t i = 0; i < STREAM_CHANNELS; i++) {
        weir_channel_init(&channels[i], (uint16_t)(i + 1));
        channels[i].weight = weights[i];
        channels[i].flags = i == 0 ? WEIR_CHANNEL_URGENT : 0;
        channels[i].msg_bytes_max = i == 3 ? STREAM_MSG_MAX : 65536;
    }
    int error = weir_node_create(&node, &cfg);
    if (error)
        return fail("create", error);
    error = weir_node_attach(node, &reactor, channels, STREAM_CHANNELS);
    if (!error && options.listen)
        error = listen_patiently();
    if (error)
        return fail(options.listen ? options.listen : "attach", error);
    if (options.listen) {
        char address[128];
        error = weir_node_address(node, 0, address, sizeof(address));
        printf("listening at %s\n", error ? "?" : address);
        fflush(stdout);
    }
    error = weir_node_start(node);
    for (uint32_t i = 0; i < options.dial_cnt && !options.swarm && !error; i++)
        error = weir_dial(node, options.dials[i], WEIR_DIAL_PERSIST);
    return error ? fail("start", error) : 0;
}

static void top_up_swarm(void)
{
    while (atomic_load(&swarm_cnt) < options.swarm) {
        atomic_fetch_add(&swarm_cnt, 1);
        if (weir_dial(node, options.dials[0], 0) == 0)
            continue;
        atomic_fetch_sub(&swarm_cnt, 1);
        return;
    }
}

static bool parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"id", required_argument, NULL, 'i'},      {"listen", required_argument, NULL, 'l'},
        {"dial", required_argument, NULL, 'd'},    {"swarm", required_argument, NULL, 'w'},
        {"rate", required_argument, NULL, 'r'},    {"shards", required_argument, NULL, 's'},
        {"ping-ms", required_argument, NULL, 'p'}, {"seed", required_argument, NULL, 'e'},
        {"secure", no_argument, NULL, 'c'},        {NULL, 0, NULL, 0}};
    int key;
    while ((key = getopt_long(argc, argv, "", names, NULL)) != -1) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 0) : 0;
        if (key == 'l')
            options.listen = optarg;
        else if (key == 'd' && options.dial_cnt < DIALS_MAX)
            options.dials[options.dial_cnt++] = optarg;
        else if (key == 'i')
            options.id = (uint16_t)number;
        else if (key == 'w')
            options.swarm = (uint32_t)number;
        else if (key == 'r')
            options.rate = number;
        else if (key == 's')
            options.shards = (uint32_t)number;
        else if (key == 'p')
            options.ping_ms = (uint32_t)number;
        else if (key == 'e')
            options.seed = number;
        else if (key == 'c')
            options.is_secure = true;
        else
            return false;
    }
    return optind == argc && options.shards >= 1 && options.shards <= WEIR_SHARDS_MAX &&
           options.ping_ms > 0 && (!options.swarm || options.dial_cnt) &&
           options.swarm <= PEERS_MAX;
}

int main(int argc, char **argv)
{
    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: see the head of tests/chaos/chaos_node.c\n");
        return 1;
    }
    /* Streams differ between processes that were given the same seed. */
    options.seed = stream_mix(options.seed ^ (uint64_t)getpid() << 32 ^ weir_now());
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    table = stream_table();
    for (uint32_t i = 0; i < options.shards; i++) {
        scratch[i] = malloc(STREAM_MSG_MAX);
        for (uint32_t k = 0; k < PEERS_MAX; k++)
            atomic_init(&slots[i][k].from, -1);
        if (!table || !scratch[i])
            return 1;
    }
    if (make() != 0)
        return 1;
    weir_ns next = 0;
    while (!is_stopping) {
        if (options.swarm)
            top_up_swarm();
        if (weir_now() >= next) {
            (void)report(false);
            next = weir_now() + 250 * WEIR_NS_PER_MS;
        }
        usleep(options.swarm ? 500 : 20000);
    }
    int error = weir_node_stop(node, WEIR_NS_PER_S);
    bool is_empty = report(true);
    weir_node_free(node);
    for (uint32_t i = 0; i < options.shards; i++)
        free(scratch[i]);
    free(table);
    if (error && error != WEIR_E_TIMEOUT)
        return fail("stop", error);
    return is_empty ? 0 : 4;
}
