/* Three threads and the pool's owner drop references to the same buffers in every order.
 *
 * Part 1, a long-lived pool: each buffer's owner comes back exactly once, on the shard's thread,
 * its bytes do not change while it is referenced, the accounts are even at the end, and a sleeping
 * shard is woken.
 *
 * Part 2, many short pools: weir_pool_free() races with the last drops elsewhere. No callback runs
 * after it (its context is gone then); the buffers stay readable. Under TSan and ASan also: the
 * pool is freed once, after the last touch.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/mem/pool.h"

#define WORKER_CNT 3u
#define SLOT_CNT 16u
#define OWNERS_MAX 4000000u
#define PART_NS 700000000u

#define REQUIRE(cond, ...)                     \
    do {                                       \
        if (!(cond)) {                         \
            fprintf(stderr, "race_buf: ");     \
            fprintf(stderr, __VA_ARGS__);      \
            fprintf(stderr, " (%s)\n", #cond); \
            exit(1);                           \
        }                                      \
    } while (0)

/* Each worker's inbox: the owner fills empty slots, the worker empties them. */
static _Atomic(struct weir_buf *) inbox[WORKER_CNT][SLOT_CNT];
static _Atomic bool is_over;
static _Atomic uint64_t dropped_cnt;

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void check_bytes(const struct weir_buf *buf)
{
    uint64_t first, last;
    memcpy(&first, buf->data, 8);
    memcpy(&last, buf->data + buf->len - 8, 8);
    REQUIRE(first == last, "a referenced buffer changed");
}

static void *work(void *arg)
{
    uint32_t worker = (uint32_t)(uintptr_t)arg;
    while (!atomic_load_explicit(&is_over, memory_order_acquire)) {
        uint32_t cnt = 0;
        for (uint32_t i = 0; i < SLOT_CNT; ++i) {
            if (atomic_load_explicit(&inbox[worker][i], memory_order_relaxed) == NULL) {
                continue;
            }
            struct weir_buf *buf =
                atomic_exchange_explicit(&inbox[worker][i], NULL, memory_order_acquire);
            check_bytes(buf);
            if ((worker + i) % 3 == 0) { /* references of references */
                weir_buf_ref(buf);
                weir_buf_unref(buf);
            }
            weir_buf_unref(buf);
            ++cnt;
        }
        atomic_fetch_add_explicit(&dropped_cnt, cnt, memory_order_relaxed);
        if (cnt == 0) {
            sched_yield();
        }
    }
    return NULL;
}

static bool is_inbox_empty(void)
{
    for (uint32_t worker = 0; worker < WORKER_CNT; ++worker) {
        for (uint32_t i = 0; i < SLOT_CNT; ++i) {
            if (atomic_load_explicit(&inbox[worker][i], memory_order_relaxed) != NULL) {
                return false;
            }
        }
    }
    return true;
}

/* What a shard is to its pool. It is freed right after the pool is. */
struct shard {
    pthread_t thread;
    sem_t wake;
    _Atomic uint64_t wake_cnt;
    _Atomic bool is_alive;
    uint64_t release_cnt;
    uint8_t *released; /* by owner */
};

static void on_wake(void *ctx)
{
    struct shard *shard = ctx;
    REQUIRE(atomic_load(&shard->is_alive), "wake after the pool's end");
    atomic_fetch_add(&shard->wake_cnt, 1);
    sem_post(&shard->wake);
}

static void on_release(void *ctx, uint64_t owner, uint32_t arg, uint32_t charge)
{
    struct shard *shard = ctx;
    REQUIRE(atomic_load(&shard->is_alive), "release after the pool's end");
    REQUIRE(pthread_equal(shard->thread, pthread_self()), "release on another thread");
    REQUIRE(arg == (uint32_t)owner && charge == 7, "another buffer's owner");
    REQUIRE(shard->released[owner]++ == 0, "owner %llu came back twice", (unsigned long long)owner);
    ++shard->release_cnt;
}

static struct shard *shard_create(uint64_t owners_max)
{
    struct shard *shard = calloc(1, sizeof(*shard));
    REQUIRE(shard != NULL, "no memory");
    shard->thread = pthread_self();
    sem_init(&shard->wake, 0, 0);
    atomic_store(&shard->is_alive, true);
    shard->released = calloc(owners_max, 1);
    REQUIRE(shard->released != NULL, "no memory");
    return shard;
}

static void shard_free(struct shard *shard)
{
    atomic_store(&shard->is_alive, false);
    sem_destroy(&shard->wake);
    free(shard->released);
    free(shard);
}

static struct weir_buf *take(struct weir_pool *pool, uint64_t owner)
{
    struct weir_buf *buf = weir_pool_take(pool, 100 + owner % 4000);
    if (buf != NULL) {
        buf->owner = owner;
        buf->owner_arg = (uint32_t)owner;
        buf->owner_charge = 7;
        buf->len = 100;
        memcpy(buf->data, &owner, 8);
        memcpy(buf->data + 92, &owner, 8);
    }
    return buf;
}

/* Puts a reference into each inbox that has room at `slot`; says how many. */
static uint32_t hand_out(struct weir_buf *buf, uint32_t slot, uint32_t mask)
{
    uint32_t cnt = 0;
    for (uint32_t worker = 0; worker < WORKER_CNT; ++worker) {
        if ((mask >> worker & 1) != 0 &&
            atomic_load_explicit(&inbox[worker][slot], memory_order_relaxed) == NULL) {
            atomic_store_explicit(&inbox[worker][slot], weir_buf_ref(buf), memory_order_release);
            ++cnt;
        }
    }
    return cnt;
}

static void run_long_pool(struct weir_heap *heap)
{
    struct shard *shard = shard_create(OWNERS_MAX);
    struct weir_pool_config cfg = {.bytes_max = 256 << 10,
                                   .cache_bytes_max = 64 << 10,
                                   .on_release = on_release,
                                   .wake = on_wake,
                                   .ctx = shard};
    struct weir_pool *pool = weir_pool_create(heap, &cfg);
    struct weir_pool_stats stats;
    REQUIRE(pool != NULL, "no pool");
    uint64_t end_ns = now_ns() + PART_NS, owner = 0, reclaimed = 0;
    /* Longer on a machine that has done little until then. */
    while ((now_ns() < end_ns || owner <= 1000 || reclaimed <= 100) &&
           owner + SLOT_CNT < OWNERS_MAX) {
        for (uint32_t slot = 0; slot < SLOT_CNT; ++slot) {
            struct weir_buf *buf = take(pool, owner + 1);
            if (buf == NULL) {
                break;
            }
            ++owner;
            hand_out(buf, slot, (uint32_t)owner % 8);
            check_bytes(buf);
            weir_buf_unref(buf);
        }
        reclaimed += weir_pool_reclaim(pool);
    }
    /* As a shard that sleeps until it is woken: all must come back by itself. */
    for (;;) {
        reclaimed += weir_pool_reclaim(pool);
        weir_pool_stats(pool, &stats);
        if (stats.used_cnt == 0) {
            break;
        }
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 10;
        REQUIRE(sem_timedwait(&shard->wake, &until) == 0, "%llu buffers never came back",
                (unsigned long long)stats.used_cnt);
    }
    REQUIRE(stats.used_bytes == 0 && stats.cached_bytes <= cfg.cache_bytes_max, "uneven accounts");
    REQUIRE(stats.taken_cnt == owner && shard->release_cnt == owner, "%llu taken, %llu released",
            (unsigned long long)owner, (unsigned long long)shard->release_cnt);
    printf("race_buf: %llu buffers, %llu reclaimed, %llu wakes\n", (unsigned long long)owner,
           (unsigned long long)reclaimed, (unsigned long long)atomic_load(&shard->wake_cnt));
    REQUIRE(owner > 1000 && reclaimed > 100, "nothing was tested");
    weir_pool_free(pool);
    shard_free(shard);
}

static void run_short_pools(struct weir_heap *heap)
{
    uint64_t end_ns = now_ns() + PART_NS, round = 0, handed = 0;
    for (; now_ns() < end_ns; ++round) {
        struct shard *shard = shard_create(SLOT_CNT + 1);
        struct weir_pool_config cfg = {.bytes_max = 1 << 20,
                                       .cache_bytes_max = 8 << 10,
                                       .on_release = on_release,
                                       .wake = on_wake,
                                       .ctx = shard};
        struct weir_pool *pool = weir_pool_create(heap, &cfg);
        REQUIRE(pool != NULL, "no pool");
        struct weir_buf *kept = NULL;
        uint32_t cnt = 1 + (uint32_t)round % SLOT_CNT;
        for (uint32_t slot = 0; slot < cnt; ++slot) {
            struct weir_buf *buf = take(pool, slot + 1);
            REQUIRE(buf != NULL, "no buffer");
            handed += hand_out(buf, slot, 1u << (round + slot) % 3 | 1u << round % 3);
            if (kept == NULL && round % 4 == 0) {
                kept = buf;
            } else {
                weir_buf_unref(buf);
            }
        }
        for (uint64_t turn = 0; turn < round % 5; ++turn) {
            weir_pool_reclaim(pool);
        }
        weir_pool_free(pool); /* while workers drop */
        shard_free(shard);
        if (kept != NULL) {
            check_bytes(kept);
            weir_buf_unref(kept); /* an orphan, dropped on the former owner's thread */
        }
        while (round % 8 == 0 && !is_inbox_empty()) {
            sched_yield();
        }
    }
    REQUIRE(round > 100 && handed > 500, "nothing was tested");
    printf("race_buf: %llu pools ended, %llu references handed out\n", (unsigned long long)round,
           (unsigned long long)handed);
}

int main(void)
{
    pthread_t threads[WORKER_CNT];
    struct weir_heap *heap = weir_heap_create();
    REQUIRE(heap != NULL, "no heap");
    for (uint32_t i = 0; i < WORKER_CNT; ++i) {
        REQUIRE(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) == 0, "no thread");
    }
    run_long_pool(heap);
    run_short_pools(heap);
    while (!is_inbox_empty()) {
        sched_yield();
    }
    atomic_store_explicit(&is_over, true, memory_order_release);
    for (uint32_t i = 0; i < WORKER_CNT; ++i) {
        pthread_join(threads[i], NULL);
    }
    weir_heap_free(heap);
    return 0;
}
