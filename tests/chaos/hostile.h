/* tests/chaos/hostile.h: the victim of `hostile`, and the peers that must not notice: a process each.
 *
 * The victim echoes what comes on channel 1 and pours messages on channel 2 to everybody who is connected,
 * as fast as each one takes them up to a rate. Good peers send 64 bytes on channel 1 at a steady pace and
 * time the echo. Both publish what they see in memory that all processes share.
 */
#ifndef WEIR_TESTS_CHAOS_HOSTILE_H
#define WEIR_TESTS_CHAOS_HOSTILE_H

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weir/weir.h"

#define HOSTILE_GOOD 8u                      /* good peers */
#define HOSTILE_PACE_NS (2 * WEIR_NS_PER_MS) /* each sends one message so often */
#define HOSTILE_POUR_BYTES 16384u            /* one message of channel 2, */
#define HOSTILE_POUR_NS (4 * WEIR_NS_PER_MS) /* to each peer so often */
#define HOSTILE_QUEUE_BYTES (1u << 20)       /* send_bytes_max of channel 2 */
#define HOSTILE_BUCKETS 1280u

struct hostile_shared {
    /* the victim's */
    char address[128];
    _Atomic uint64_t conns, handshakes, handshakes_peak, peers, pool_bytes, pool_peak, rss_kib;
    _Atomic uint64_t accepted, refused, polls, heap_allocs;
    _Atomic uint64_t closes[WEIR_REASON_CNT];
    /* the good peers' */
    _Atomic uint32_t good_up, good_downs;
    _Atomic uint64_t good_sent, good_received, good_poured;
    _Atomic bool is_paused;                    /* send nothing, so that all comes back */
    _Atomic uint64_t buckets[HOSTILE_BUCKETS]; /* round trips; see hostile_bucket */
    _Atomic bool is_ready;
    /* the bare listener's */
    char bare_address[32];
    _Atomic uint64_t bare_accepted;
    _Atomic bool is_bare_ready;
};

static struct hostile_shared *hostile;

/* Logarithmic, 32 steps to a doubling: at most 3 % wide. */
static inline uint32_t hostile_bucket(uint64_t ns)
{
    if (ns < 32)
        return (uint32_t)ns;
    uint32_t log = 63u - (uint32_t)__builtin_clzll(ns);
    uint32_t idx = (log - 4) * 32 + (uint32_t)(ns >> (log - 5) & 31);
    return idx < HOSTILE_BUCKETS ? idx : HOSTILE_BUCKETS - 1;
}

static inline double hostile_bucket_us(uint32_t idx)
{
    if (idx < 32)
        return idx / 1000.0;
    uint32_t log = idx / 32 + 4;
    return (double)((UINT64_C(32) + idx % 32) << (log - 5)) / 1000.0;
}

static inline uint64_t hostile_rss_kib(void)
{
    unsigned long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%lu %lu", &pages, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static inline void hostile_die(const char *what, int error)
{
    fprintf(stderr, "hostile: %s: %s\n", what, error ? weir_error_text(error) : "");
    _exit(1);
}

static inline void hostile_channels(struct weir_channel channels[2])
{
    for (uint16_t i = 0; i < 2; i++)
        weir_channel_init(&channels[i], (uint16_t)(i + 1));
    channels[0].flags = WEIR_CHANNEL_URGENT;
    channels[1].send_bytes_max = HOSTILE_QUEUE_BYTES;
    channels[1].msg_bytes_max = HOSTILE_POUR_BYTES;
}

/* ---- the victim ---------------------------------------------------------------------------- */

static weir_node *hostile_node;

static inline void victim_on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    (void)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++)
        (void)!weir_try_send(hostile_node, msgs[i].peer, msgs[i].channel, msgs[i].data,
                             msgs[i].len);
}

static inline weir_ns victim_on_tick(void *ctx, uint32_t shard, weir_ns now)
{
    static uint8_t bytes[HOSTILE_POUR_BYTES];
    (void)ctx;
    (void)shard;
    (void)weir_broadcast(hostile_node, 2, bytes, sizeof(bytes), NULL);
    return now + HOSTILE_POUR_NS;
}

static inline void victim_publish(void)
{
    static struct weir_metrics metrics;
    metrics.size = sizeof(metrics);
    if (weir_metrics_read(hostile_node, &metrics) != 0)
        return;
    hostile->conns = metrics.conns;
    hostile->handshakes = metrics.handshakes;
    if (metrics.handshakes > hostile->handshakes_peak)
        hostile->handshakes_peak = metrics.handshakes;
    hostile->peers = metrics.peers;
    hostile->pool_bytes = metrics.pool_bytes;
    if (metrics.pool_bytes > hostile->pool_peak)
        hostile->pool_peak = metrics.pool_bytes;
    hostile->rss_kib = hostile_rss_kib();
    hostile->accepted = metrics.accepted;
    hostile->refused = metrics.refused;
    hostile->heap_allocs = metrics.heap_allocs;
    for (int i = 0; i < WEIR_REASON_CNT; i++)
        hostile->closes[i] = metrics.closes[i];
    hostile->polls++;
}

static inline void victim_run(uint32_t handshakes_max, uint32_t peers_max)
{
    struct weir_config cfg;
    struct weir_channel channels[2];
    struct weir_reactor reactor = {
        .size = sizeof(reactor), .on_batch = victim_on_batch, .on_tick = victim_on_tick};
    weir_config_init(&cfg);
    cfg.secure = WEIR_SECURE_PLAIN;
    /* All of them are of this machine, and strangers all the same; a flood is of many addresses. */
    cfg.flags |= WEIR_CONFIG_LIMIT_LOOPBACK;
    cfg.address_max = cfg.subnet_max = cfg.address_burst = cfg.subnet_burst = UINT32_MAX;
    /* What one of them does wrong is not held against the others, who have the same address. */
    cfg.score_disconnect = cfg.score_ban = 1000000;
    hostile_channels(channels);
    if (handshakes_max) { /* they stay until they were counted */
        cfg.handshakes_max = handshakes_max;
        cfg.handshake_timeout_ns = 120 * WEIR_NS_PER_S;
    }
    if (peers_max)
        cfg.peers_max = peers_max;
    int error = weir_node_create(&hostile_node, &cfg);
    if (!error)
        error = weir_node_attach(hostile_node, &reactor, channels, 2);
    if (!error)
        error = weir_node_listen(hostile_node, "127.0.0.1:0");
    if (!error)
        error = weir_node_start(hostile_node);
    if (error)
        hostile_die("victim", error);
    weir_node_address(hostile_node, 0, hostile->address, sizeof(hostile->address));
    hostile->is_ready = true;
    for (;;) {
        victim_publish();
        usleep(2000);
    }
}

/* ---- the good peers ------------------------------------------------------------------------ */

static weir_peer good_peers[HOSTILE_GOOD];

static inline void good_on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)ctx;
    (void)reason;
    if (event != WEIR_PEER_UP) {
        hostile->good_downs++;
        return;
    }
    for (uint32_t i = 0; i < HOSTILE_GOOD; i++) {
        if (good_peers[i].v)
            continue;
        good_peers[i] = peer;
        hostile->good_up++;
        return;
    }
}

static inline void good_on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    (void)ctx;
    uint64_t now = weir_now(), sent_ns;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        if (msgs[i].channel == 2) {
            hostile->good_poured++;
            continue;
        }
        memcpy(&sent_ns, msgs[i].data, 8);
        hostile->buckets[hostile_bucket(now - sent_ns)]++;
        hostile->good_received++;
    }
}

static inline weir_ns good_on_tick(void *ctx, uint32_t shard, weir_ns now)
{
    uint8_t bytes[64] = {0};
    (void)ctx;
    (void)shard;
    for (uint32_t i = 0; i < HOSTILE_GOOD && !hostile->is_paused; i++) {
        uint64_t sent_ns = weir_now();
        memcpy(bytes, &sent_ns, 8);
        if (good_peers[i].v &&
            weir_try_send(hostile_node, good_peers[i], 1, bytes, sizeof(bytes)) == 0)
            hostile->good_sent++;
    }
    return now + HOSTILE_PACE_NS;
}

static inline void good_run(void)
{
    struct weir_config cfg;
    struct weir_channel channels[2];
    struct weir_reactor reactor = {.size = sizeof(reactor),
                                   .on_batch = good_on_batch,
                                   .on_peer = good_on_peer,
                                   .on_tick = good_on_tick};
    weir_config_init(&cfg);
    cfg.secure = WEIR_SECURE_PLAIN;
    hostile_channels(channels);
    int error = weir_node_create(&hostile_node, &cfg);
    if (!error)
        error = weir_node_attach(hostile_node, &reactor, channels, 2);
    if (!error)
        error = weir_node_start(hostile_node);
    for (uint32_t i = 0; i < HOSTILE_GOOD && !error; i++)
        error = weir_dial(hostile_node, hostile->address, 0);
    if (error)
        hostile_die("good peers", error);
    for (;;)
        pause();
}

/* ---- places --------------------------------------------------------------------------------- */

/* The victim has the last processor and everybody else the first, as if each had a machine: otherwise the scheduler
 * puts the good peers behind a busy victim now and then, which no network does. */
static inline void hostile_place(bool is_victims)
{
    cpu_set_t allowed, one;
    size_t place = 0;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) < 2)
        return;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && (place == 0 || is_victims))
            place = cpu + 1;
    }
    CPU_SET(place - 1, &one);
    (void)sched_setaffinity(0, sizeof(one), &one);
}

/* ---- processes ----------------------------------------------------------------------------- */

static inline void hostile_await(_Atomic uint64_t *counter, uint64_t least)
{
    weir_ns until = weir_now() + 60 * WEIR_NS_PER_S;
    while (*counter < least) {
        if (weir_now() > until)
            hostile_die("waited in vain", 0);
        usleep(1000);
    }
}

/* Starts a victim and, when asked, its good peers; zero means the defaults of weir. */
static inline void hostile_start(pid_t ret_children[2], uint32_t handshakes_max, uint32_t peers_max,
                                 bool has_good)
{
    memset(hostile, 0, sizeof(*hostile));
    for (int i = 0; i < 1 + has_good; i++) {
        ret_children[i] = fork();
        if (ret_children[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            hostile_place(i == 0);
            if (i == 0)
                victim_run(handshakes_max, peers_max);
            good_run();
        }
        for (int k = 0; k < 30000 && !hostile->is_ready; k++)
            usleep(1000);
        if (!hostile->is_ready)
            hostile_die("the victim does not start", 0);
    }
    for (int i = 0; i < 30000 && has_good && hostile->good_up < HOSTILE_GOOD; i++)
        usleep(1000);
    if (has_good && hostile->good_up < HOSTILE_GOOD)
        hostile_die("the good peers do not come up", 0);
}

/* Whether both still ran; ends them. */
static inline bool hostile_stop(const pid_t children[2], bool has_good)
{
    bool is_alive = true;
    for (int i = 0; i < 1 + has_good; i++) {
        int status;
        is_alive &= waitpid(children[i], &status, WNOHANG) == 0;
        kill(children[i], SIGKILL);
        waitpid(children[i], &status, 0);
    }
    return is_alive;
}

#endif
