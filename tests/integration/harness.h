/* tests/integration/harness.h: a node under test, what it reported, and how to wait for it.
 *
 * Each test is a process of its own (Criterion forks), so `static struct it_node a` is fresh in each.
 *
 *   it_init, it_channel, set hooks and cfg -> it_start -> it_link / raw peers -> it_stop
 *
 * Callbacks run on shard threads, where an assertion must not fail (Criterion would leave the thread's
 * locks behind): they call it_fault(), and it_stop() fails the test on the main thread. it_stop()
 * also asserts that every counter of things in use is back at zero, and IT_TEST the same of the process's
 * descriptors.
 *
 * Nothing here depends on speed: waits end when their condition holds, and give up after a minute.
 */
#ifndef WEIR_TESTS_INTEGRATION_HARNESS_H
#define WEIR_TESTS_INTEGRATION_HARNESS_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/weir.h"

#define IT_CHANNELS 8u
#define IT_PEERS 1200u
#define IT_PATIENCE (60 * WEIR_NS_PER_S)
#define IT_MS WEIR_NS_PER_MS

#define IT_WAIT(condition)                                                          \
    do {                                                                            \
        weir_ns it_until = weir_now() + IT_PATIENCE;                                \
        while (!(condition)) {                                                      \
            cr_assert(weir_now() < it_until, "waited in vain for: %s", #condition); \
            usleep(300);                                                            \
        }                                                                           \
    } while (0)

#define IT_EQ(got, want)                                                                         \
    do {                                                                                         \
        long long it_got = (long long)(got), it_want = (long long)(want);                        \
        cr_assert(it_got == it_want, "%s is %lld, not %s (%lld)", #got, it_got, #want, it_want); \
    } while (0)

/* For the results of weir's functions: says the code's name. */
#define IT_IS(call, want)                                                                 \
    do {                                                                                  \
        int it_code = (int)(call);                                                        \
        cr_assert(it_code == (want), "%s is %s, not %s", #call, weir_error_name(it_code), \
                  weir_error_name(want));                                                 \
    } while (0)
#define IT_OK(call) IT_IS(call, WEIR_OK)

struct it_node {
    /* before it_start */
    struct weir_config cfg;
    struct weir_channel channels[IT_CHANNELS];
    uint32_t channel_cnt;
    void (*on_msg)(struct it_node *node, const struct weir_msg *msg);
    void (*on_peer)(struct it_node *node, weir_peer peer, int event, int reason);
    void (*on_writable)(struct it_node *node, weir_peer peer, uint16_t channel);
    weir_ns (*on_tick)(struct it_node *node, uint32_t shard, weir_ns now);
    void *user;
    const char *name;
    bool looks_up; /* it dials names */
    /* from it_start on */
    weir_node *node;
    char address[128];
    pthread_mutex_t mutex;
    weir_peer up[IT_PEERS]; /* up now, oldest first */
    uint32_t up_cnt;
    _Atomic uint32_t ups, downs, fails, writables;
    _Atomic uint32_t down_by[WEIR_REASON_CNT], fail_by[WEIR_REASON_CNT];
    _Atomic uint64_t msgs;
    _Atomic uint64_t msgs_of[IT_CHANNELS]; /* by position in `channels` */
    _Atomic uint32_t faults;
    char fault[256];
};

/* ---- faults found on shard threads --------------------------------------------------------- */

static inline __attribute__((format(printf, 2, 3))) void it_fault(struct it_node *node,
                                                                  const char *format, ...)
{
    if (atomic_fetch_add(&node->faults, 1) != 0)
        return; /* the first says most */
    va_list args;
    va_start(args, format);
    vsnprintf(node->fault, sizeof(node->fault), format, args);
    va_end(args);
}

static inline void it_check_faults(struct it_node *node)
{
    cr_assert(atomic_load(&node->faults) == 0, "%s: %s", node->name ? node->name : "node",
              node->fault);
}

/* ---- callbacks ----------------------------------------------------------------------------- */

static inline bool it_is_up(struct it_node *node, weir_peer peer)
{
    bool is_up = false;
    pthread_mutex_lock(&node->mutex);
    for (uint32_t i = 0; i < node->up_cnt && !is_up; i++)
        is_up = node->up[i].v == peer.v;
    pthread_mutex_unlock(&node->mutex);
    return is_up;
}

static inline int it_channel_idx(const struct it_node *node, uint16_t id)
{
    for (uint32_t i = 0; i < node->channel_cnt; i++) {
        if (node->channels[i].id == id)
            return (int)i;
    }
    return -1;
}

static inline void it_on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct it_node *node = ctx;
    weir_peer known = {0};
    for (uint32_t i = 0; i < msg_cnt; i++) {
        if (msgs[i].peer.v != known.v && !it_is_up(node, msgs[i].peer))
            it_fault(node, "a message of a peer that is not up");
        known = msgs[i].peer;
        int idx = it_channel_idx(node, msgs[i].channel);
        if (idx < 0) {
            it_fault(node, "a message on channel %u", msgs[i].channel);
            continue;
        }
        if (node->on_msg)
            node->on_msg(node, &msgs[i]);
        atomic_fetch_add(&node->msgs_of[idx], 1);
        atomic_fetch_add(&node->msgs, 1);
    }
}

static inline void it_peer_up(struct it_node *node, weir_peer peer)
{
    if (it_is_up(node, peer) || peer.v == 0)
        it_fault(node, "peer %llx is up twice", (unsigned long long)peer.v);
    pthread_mutex_lock(&node->mutex);
    if (node->up_cnt < IT_PEERS)
        node->up[node->up_cnt++] = peer;
    pthread_mutex_unlock(&node->mutex);
}

static inline void it_peer_down(struct it_node *node, weir_peer peer)
{
    if (!it_is_up(node, peer))
        it_fault(node, "peer %llx is down and was not up", (unsigned long long)peer.v);
    pthread_mutex_lock(&node->mutex);
    for (uint32_t i = 0; i < node->up_cnt; i++) {
        if (node->up[i].v != peer.v)
            continue;
        memmove(&node->up[i], &node->up[i + 1], (node->up_cnt - i - 1) * sizeof(node->up[0]));
        node->up_cnt--;
        break;
    }
    pthread_mutex_unlock(&node->mutex);
}

static inline void it_on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct it_node *node = ctx;
    if (reason < 0 || reason >= WEIR_REASON_CNT) {
        it_fault(node, "reason %d", reason);
        reason = 0;
    }
    if (event == WEIR_PEER_UP)
        it_peer_up(node, peer);
    else if (event == WEIR_PEER_DOWN)
        it_peer_down(node, peer);
    else if (event != WEIR_PEER_FAILED)
        it_fault(node, "event %d", event);
    if ((event == WEIR_PEER_UP) != (reason == WEIR_R_NONE))
        it_fault(node, "event %d with reason %s", event, weir_reason_name(reason));
    if (node->on_peer)
        node->on_peer(node, peer, event, reason);
    /* Counted last: whoever waits for a count finds the rest done. */
    if (event == WEIR_PEER_DOWN)
        atomic_fetch_add(&node->down_by[reason], 1);
    if (event == WEIR_PEER_FAILED)
        atomic_fetch_add(&node->fail_by[reason], 1);
    atomic_fetch_add(event == WEIR_PEER_UP     ? &node->ups
                     : event == WEIR_PEER_DOWN ? &node->downs
                                               : &node->fails,
                     1);
}

static inline void it_on_writable(void *ctx, weir_peer peer, uint16_t channel)
{
    struct it_node *node = ctx;
    if (!it_is_up(node, peer))
        it_fault(node, "writable for a peer that is not up");
    if (node->on_writable)
        node->on_writable(node, peer, channel);
    atomic_fetch_add(&node->writables, 1);
}

static inline weir_ns it_on_tick(void *ctx, uint32_t shard, weir_ns now)
{
    struct it_node *node = ctx;
    return node->on_tick ? node->on_tick(node, shard, now) : 0;
}

/* WEIR_TEST_LOG=1 in the environment shows what the nodes say. */
static inline void it_log(void *ctx, int level, const char *line)
{
    const struct it_node *node = ctx;
    fprintf(stderr, "[%s %d] %s\n", node->name ? node->name : "node", level, line);
}

/* ---- life ---------------------------------------------------------------------------------- */

static inline void it_init(struct it_node *node, const char *name)
{
    memset(node, 0, sizeof(*node));
    node->name = name;
    pthread_mutex_init(&node->mutex, NULL);
    weir_config_init(&node->cfg);
    node->cfg.secure = WEIR_SECURE_PLAIN; /* test_secure.c says otherwise */
    if (getenv("WEIR_TEST_LOG")) {
        node->cfg.log = it_log;
        node->cfg.log_ctx = node;
        node->cfg.log_level = WEIR_LOG_DEBUG;
    }
}

/* Adds a channel with defaults; what differs is set before it_start. */
static inline struct weir_channel *it_channel(struct it_node *node, uint16_t id)
{
    struct weir_channel *channel = &node->channels[node->channel_cnt++];
    cr_assert(node->channel_cnt <= IT_CHANNELS);
    *channel = (struct weir_channel){.size = sizeof(*channel), .id = id};
    return channel;
}

static inline void it_create(struct it_node *node, const char *listen)
{
    if (node->channel_cnt == 0)
        it_channel(node, 1);
    IT_OK(weir_node_create(&node->node, &node->cfg));
    struct weir_reactor reactor = {.size = sizeof(reactor),
                                   .ctx = node,
                                   .on_batch = it_on_batch,
                                   .on_peer = it_on_peer,
                                   .on_writable = it_on_writable,
                                   .on_tick = node->on_tick ? it_on_tick : NULL};
    IT_OK(weir_node_attach(node->node, &reactor, node->channels, node->channel_cnt));
    if (listen) {
        IT_OK(weir_node_listen(node->node, listen));
        IT_OK(weir_node_address(node->node, 0, node->address, sizeof(node->address)));
    }
}

static inline void it_start(struct it_node *node, const char *listen)
{
    it_create(node, listen);
    IT_OK(weir_node_start(node->node));
}

static inline struct weir_metrics *it_metrics(struct it_node *node)
{
    static struct weir_metrics metrics;
    metrics.size = sizeof(metrics);
    IT_OK(weir_metrics_read(node->node, &metrics));
    return &metrics;
}

/* As weir_peer_info, which gives up after a second: a shard of a busy machine may take longer to answer. */
static inline int it_info(struct it_node *node, weir_peer peer, struct weir_peer_info *ret_info)
{
    weir_ns until = weir_now() + IT_PATIENCE;
    int error;
    do
        error = weir_peer_info(node->node, peer, ret_info);
    while (error == WEIR_E_TIMEOUT && weir_now() < until);
    return error;
}

/* Nothing is in use: no connection, no handshake, no buffer, no letter. */
static inline void it_check_empty(struct it_node *node)
{
    const struct weir_metrics *metrics = it_metrics(node);
    IT_EQ(metrics->conns, 0);
    IT_EQ(metrics->peers, 0);
    IT_EQ(metrics->handshakes, 0);
    IT_EQ(metrics->pool_bufs, 0);
    IT_EQ(metrics->pool_bytes, 0);
    /* The answer to a lookup may come when the shard has ended: it goes with the node. */
    if (!node->looks_up)
        IT_EQ(metrics->mailbox_bytes, 0);
}

static inline void it_free(struct it_node *node)
{
    weir_node_free(node->node);
    node->node = NULL;
    it_check_faults(node);
}

static inline void it_stop(struct it_node *node)
{
    IT_OK(weir_node_stop(node->node, 30 * WEIR_NS_PER_S));
    it_check_faults(node);
    cr_assert(atomic_load(&node->ups) == atomic_load(&node->downs),
              "%s: %u peers came up, %u went down", node->name, node->ups, node->downs);
    it_check_empty(node);
    it_free(node);
}

/* ---- peers --------------------------------------------------------------------------------- */

static inline weir_peer it_peer(struct it_node *node, uint32_t idx)
{
    pthread_mutex_lock(&node->mutex);
    weir_peer peer = {0};
    if (idx < node->up_cnt)
        peer = node->up[idx];
    pthread_mutex_unlock(&node->mutex);
    cr_assert(peer.v != 0, "no peer %u is up", idx);
    return peer;
}

static inline weir_peer it_newest(struct it_node *node)
{
    pthread_mutex_lock(&node->mutex);
    uint32_t cnt = node->up_cnt;
    pthread_mutex_unlock(&node->mutex);
    cr_assert(cnt > 0);
    return it_peer(node, cnt - 1);
}

/* Connects `dialer` to `listener`, waits until both know, and returns the dialer's peer. */
static inline weir_peer it_link(struct it_node *dialer, struct it_node *listener)
{
    uint32_t here = atomic_load(&dialer->ups), there = atomic_load(&listener->ups);
    IT_OK(weir_dial(dialer->node, listener->address, 0));
    IT_WAIT(atomic_load(&dialer->ups) > here && atomic_load(&listener->ups) > there);
    return it_newest(dialer);
}

/* Waits until the node has no connection left (a goodbye may linger), and no buffer. */
static inline void it_wait_empty(struct it_node *node)
{
    IT_WAIT(it_metrics(node)->conns == 0 && it_metrics(node)->pool_bufs == 0);
    IT_WAIT(it_metrics(node)->pool_bytes == 0);
}

/* The sum of a node's `closes`, and one of them. */
static inline uint64_t it_closes(struct it_node *node, int reason)
{
    return it_metrics(node)->closes[reason];
}

/* ---- message bytes ------------------------------------------------------------------------- */

static inline uint64_t it_word(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state ^ *state >> 29;
}

/* Bytes that follow from the seed and the length: equal only to themselves. */
static inline void it_fill(uint8_t *ret_data, size_t len, uint64_t seed)
{
    uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15) + len;
    size_t at = 0;
    for (; at + 8 <= len; at += 8) {
        uint64_t word = it_word(&state);
        memcpy(ret_data + at, &word, 8);
    }
    uint64_t word = it_word(&state);
    memcpy(ret_data + at, &word, len - at);
}

static inline bool it_is_filled(const uint8_t *data, size_t len, uint64_t seed)
{
    uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15) + len;
    uint64_t differs = 0;
    size_t at = 0;
    /* Whole words without a branch: with most tests this is where the bytes go. */
    for (; at + 8 <= len; at += 8) {
        uint64_t got;
        memcpy(&got, data + at, 8);
        differs |= got ^ it_word(&state);
    }
    uint64_t word = it_word(&state);
    return differs == 0 && memcmp(data + at, &word, len - at) == 0;
}

/* ---- descriptors --------------------------------------------------------------------------- */

static inline int it_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    cr_assert(dir != NULL);
    int cnt = 0;
    while (readdir(dir))
        cnt++;
    closedir(dir);
    return cnt;
}

/* A test that leaves as many descriptors as it found. (What fails in a suite's .fini does not count as a
 * failure with Criterion 2.4, so this is not there.) */
#define IT_TEST(suite, name)                                                                   \
    static void it_##suite##_##name(void);                                                     \
    Test(suite, name)                                                                          \
    {                                                                                          \
        int it_fds_before = it_fds();                                                          \
        it_##suite##_##name();                                                                 \
        /* A ring's last reference is dropped by a kernel thread, a moment after its close. */ \
        IT_WAIT(it_fds() <= it_fds_before);                                                    \
        IT_EQ(it_fds(), it_fds_before);                                                        \
    }                                                                                          \
    static void it_##suite##_##name(void)

#define IT_SUITE(suite) TestSuite(suite, .timeout = 240)

#endif
