/* Series of reactors under ThreadSanitizer: shards and threads count while others read the text and a file is written. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/weir.h"

#define THREADS 3u
#define ROUNDS 5000u
#define POSTS 50u

static weir_node *node;
static weir_counter *blocks, *held;
static _Atomic uint32_t posted;
static _Atomic int is_over;

static void fail(const char *what)
{
    fprintf(stderr, "race_series: %s\n", what);
    exit(1);
}

static void must(int error, const char *what)
{
    if (!error)
        return;
    fprintf(stderr, "race_series: %s: %s\n", what, weir_error_text(error));
    exit(1);
}

static void count_here(void *ctx, uint32_t shard, int is_run)
{
    (void)ctx;
    (void)shard;
    for (uint32_t i = 0; is_run && i < ROUNDS / 10; i++) {
        weir_counter_add(blocks, 1);
        weir_counter_add(held, 1);
        weir_counter_sub(held, 1);
    }
    atomic_fetch_add(&posted, 1);
}

static void *count_away(void *arg)
{
    for (uint32_t i = 0; i < ROUNDS; i++)
        weir_counter_add(blocks, 2);
    return arg;
}

static uint64_t value(void)
{
    static const char name[] = "\nmine_total ";
    char *text = malloc(1 << 18);
    if (!text || weir_metrics_text(node, text, 1 << 18) >= 1 << 18)
        fail("no text");
    const char *at = strstr(text, name);
    uint64_t value = at ? strtoull(at + sizeof(name) - 1, NULL, 10) : 0;
    free(text);
    return value;
}

static void *look(void *arg)
{
    uint64_t before = 0;
    while (!atomic_load(&is_over)) {
        uint64_t now = value();
        if (now < before)
            fail("a counter fell");
        before = now;
    }
    return arg;
}

int main(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/dev/shm/race-series-%d", (int)getpid());
    struct weir_config cfg = {.size = sizeof(cfg),
                              .shard_cnt = 2,
                              .secure = WEIR_SECURE_PLAIN,
                              .stats_path = path,
                              .stats_interval_ns = 10 * WEIR_NS_PER_MS};
    struct weir_channel channel = {.size = sizeof(channel), .id = 1};
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    struct weir_series series = {.size = sizeof(series),
                                 .type = WEIR_STATS_COUNTER,
                                 .name = "mine_total",
                                 .help = "Blocks that came"};
    struct weir_series gauge = {.size = sizeof(gauge),
                                .type = WEIR_STATS_GAUGE,
                                .name = "mine_held",
                                .help = "Blocks that are held"};
    must(weir_node_create(&node, &cfg), "create");
    must(weir_node_attach(node, &reactor, &channel, 1), "attach");
    must(weir_series_add(node, &series, &blocks), "a counter");
    must(weir_series_add(node, &gauge, &held), "a gauge");
    must(weir_node_start(node), "start");
    pthread_t threads[THREADS + 2];
    for (uint32_t i = 0; i < THREADS + 2; i++)
        pthread_create(&threads[i], NULL, i < THREADS ? count_away : look, NULL);
    for (uint32_t i = 0; i < POSTS; i++)
        must(weir_post(node, i % 2, count_here, NULL), "post");
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    while (atomic_load(&posted) < POSTS)
        usleep(1000);
    if (value() != THREADS * ROUNDS * 2 + POSTS * (ROUNDS / 10))
        fail("something was not counted");
    atomic_store(&is_over, 1);
    for (uint32_t i = THREADS; i < THREADS + 2; i++)
        pthread_join(threads[i], NULL);
    weir_node_free(node);
    unlink(path);
    return 0;
}
