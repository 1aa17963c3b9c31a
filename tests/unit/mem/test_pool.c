#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "engine/mem/pool.h"
#include "weir/error.h"

static struct weir_heap *heap;

static void make_heap(void)
{
    heap = weir_heap_create();
}

static void free_heap(void)
{
    weir_heap_free(heap);
}

TestSuite(pool, .init = make_heap, .fini = free_heap);

static struct weir_pool_stats stats_of(const struct weir_pool *pool)
{
    struct weir_pool_stats stats;
    weir_pool_stats(pool, &stats);
    return stats;
}

/* ---- plain behaviour ------------------------------------------------------------------------- */

Test(pool, capacities_are_powers_of_two_from_one_KiB)
{
    static const struct {
        size_t bytes, cap;
    } cases[] = {{0, 1024},          {1, 1024},
                 {1023, 1024},       {1024, 1024},
                 {1025, 2048},       {2048, 2048},
                 {2049, 4096},       {65536, 65536},
                 {65537, 131072},    {(1 << 20) - 1, 1 << 20},
                 {1 << 20, 1 << 20}, {(1 << 28) + 1, 1 << 29}};
    struct weir_pool_config cfg = {.bytes_max = UINT64_MAX, .cache_bytes_max = 8 << 20};
    struct weir_pool *pool = weir_pool_create(heap, &cfg);
    for (int round = 0; round < 2; ++round) {
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
            struct weir_buf *buf = weir_pool_take(pool, cases[i].bytes);
            cr_assert_not_null(buf);
            cr_assert_eq(buf->cap, cases[i].cap, "%zu", cases[i].bytes);
            cr_assert_eq(buf->len, 0);
            cr_assert_eq(buf->owner, 0);
            cr_assert_null(buf->next);
            cr_assert_eq((uintptr_t)buf % 64, 0);
            cr_assert_eq((uintptr_t)buf->data % 64, 0);
            cr_assert_geq(buf->data, (uint8_t *)(buf + 1) + WEIR_BUF_HEADROOM);
            memset(buf->data - WEIR_BUF_HEADROOM, 0x11, WEIR_BUF_HEADROOM);
            buf->data[0] = buf->data[buf->cap - 1] = 0x22;
            cr_assert_eq(buf->pool, pool, "the headroom is not the struct");
            cr_assert_eq(weir_buf_data(buf), buf->data);
            buf->data += 100; /* the next one to take it finds it where it belongs */
            buf->len = 5;
            cr_assert_eq(weir_buf_len(buf), 5);
            weir_buf_unref(buf);
        }
    }
    cr_assert_null(weir_pool_take(pool, ((size_t)1 << 30) + 1));
    cr_assert_null(weir_pool_take(pool, SIZE_MAX));
    weir_pool_free(pool);
    weir_pool_free(NULL);
    weir_buf_unref(NULL);
}

Test(pool, the_bound_on_what_is_in_use_is_exact)
{
    struct weir_pool_config cfg = {.bytes_max = 7 * 1024, .cache_bytes_max = 1 << 20};
    struct weir_pool *pool = weir_pool_create(heap, &cfg);
    struct weir_buf *a = weir_pool_take(pool, 4000);
    struct weir_buf *b = weir_pool_take(pool, 2000);
    cr_assert_null(weir_pool_take(pool, 1025));
    struct weir_buf *c = weir_pool_take(pool, 1);
    cr_assert(a != NULL && b != NULL && c != NULL);
    cr_assert_eq(stats_of(pool).used_bytes, 7 * 1024);
    cr_assert_null(weir_pool_take(pool, 1), "full");
    cr_assert_eq(stats_of(pool).taken_cnt, 3, "a refusal changes nothing");
    weir_buf_unref(a);
    cr_assert_null(weir_pool_take(pool, 4097), "free bytes, but not that many");
    a = weir_pool_take(pool, 4096);
    cr_assert_not_null(a);
    weir_buf_unref(a);
    weir_buf_unref(b);
    weir_buf_unref(c);
    weir_pool_free(pool);

    cfg.bytes_max = 1023;
    pool = weir_pool_create(heap, &cfg);
    cr_assert_null(weir_pool_take(pool, 0));
    weir_pool_free(pool);
}

Test(pool, the_steady_state_allocates_nothing)
{
    struct weir_pool_config cfg = {.bytes_max = 1 << 24, .cache_bytes_max = 1 << 24};
    struct weir_pool *pool = weir_pool_create(heap, &cfg);
    uint64_t allocs = 0;
    for (uint32_t round = 0; round < 100; ++round) {
        struct weir_buf *bufs[40];
        for (uint32_t i = 0; i < 40; ++i) {
            bufs[i] = weir_pool_take(pool, (size_t)i * 900);
        }
        for (uint32_t i = 0; i < 40; ++i) {
            weir_buf_unref(bufs[(i * 7 + round) % 40]);
        }
        if (round == 0) {
            allocs = weir_heap_alloc_cnt(heap);
        }
    }
    cr_assert_eq(weir_heap_alloc_cnt(heap), allocs);
    weir_pool_free(pool);
}

Test(pool, what_was_written_stays_and_a_cached_buffer_is_scrubbed_in_debug)
{
    struct weir_pool_config cfg = {.bytes_max = 1 << 20, .cache_bytes_max = 1 << 20};
    struct weir_pool *pool = weir_pool_create(heap, &cfg);
    struct weir_buf *buf = weir_pool_take(pool, 2000);
    memset(buf->data, 0x77, 2000);
    weir_buf_ref(buf);
    weir_buf_unref(buf);
    cr_assert_eq(buf->data[1999], 0x77);
    weir_buf_unref(buf);
    struct weir_buf *again = weir_pool_take(pool, 1025);
    cr_assert_eq(again, buf, "the last one out is the first one in: it is warm");
#ifndef NDEBUG
    cr_assert_eq(again->data[0], 0xA5);
    cr_assert_eq(again->data[2047], 0xA5);
#endif
    weir_buf_unref(again);
    weir_pool_free(pool);
}

Test(pool, a_failing_heap_is_answered_and_changes_nothing)
{
    struct weir_pool_config cfg = {.bytes_max = 1 << 20, .cache_bytes_max = 0};
    weir_heap_fail_nth(1);
    cr_assert_null(weir_pool_create(heap, &cfg));
    struct weir_pool *pool = weir_pool_create(heap, &cfg);
    weir_heap_fail_nth(1);
    cr_assert_null(weir_pool_take(pool, 1));
    cr_assert_eq(stats_of(pool).used_bytes, 0);
    cr_assert_eq(stats_of(pool).taken_cnt, 0);
    struct weir_buf *buf = weir_pool_take(pool, 1);
    cr_assert_not_null(buf);
    weir_buf_unref(buf);
    weir_pool_free(pool);
}

/* ---- against a model, under a random program ------------------------------------------------- */

#define HOLD_CNT 64u

struct model {
    struct weir_pool *pool;
    struct weir_buf *bufs[HOLD_CNT];
    uint32_t refs[HOLD_CNT];
    uint64_t caps[HOLD_CNT];
    uint64_t owners[HOLD_CNT];
    uint32_t cached[32]; /* by class: log2 of the capacity */
    uint64_t used_bytes, used_cnt, cached_bytes, taken_cnt, alloc_cnt;
    uint64_t owner_last, released_owner, released_cnt;
    uint32_t random;
};

static void on_release(void *ctx, uint64_t owner, uint32_t arg, uint32_t charge)
{
    struct model *m = ctx;
    cr_assert_eq(arg, (uint32_t)owner * 3);
    cr_assert_eq(charge, (uint32_t)owner * 5);
    m->released_owner = owner;
    ++m->released_cnt;
}

static uint32_t random_next(uint32_t *state) /* xorshift32 */
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

enum fault { FAULT_NONE, FAULT_EXTRA_REF, FAULT_STRAY_TAKE, FAULT_LOST_OWNER, FAULT_CNT };

#define MODEL_BYTES_MAX (200u << 10)
#define MODEL_CACHE_MAX (90u << 10)

static bool model_take(struct model *m, uint32_t idx)
{
    uint32_t bits = random_next(&m->random) % 17;
    size_t bytes = random_next(&m->random) % (1u << bits);
    uint64_t cap = 1024;
    uint32_t class_idx = 10;
    while (cap < bytes) {
        cap *= 2;
        ++class_idx;
    }
    bool is_refused = m->used_bytes + cap > MODEL_BYTES_MAX;
    struct weir_buf *buf = weir_pool_take(m->pool, bytes);
    if (is_refused || buf == NULL) {
        return is_refused && buf == NULL;
    }
    if (m->cached[class_idx] != 0) {
        --m->cached[class_idx];
        m->cached_bytes -= cap;
    } else {
        ++m->alloc_cnt;
    }
    m->used_bytes += cap;
    ++m->used_cnt;
    ++m->taken_cnt;
    m->bufs[idx] = buf;
    m->refs[idx] = 1;
    m->caps[idx] = cap;
    m->owners[idx] = 0;
    if (random_next(&m->random) % 2 == 0) {
        m->owners[idx] = buf->owner = ++m->owner_last;
        buf->owner_arg = (uint32_t)buf->owner * 3;
        buf->owner_charge = (uint32_t)buf->owner * 5;
    }
    return buf->cap == cap;
}

static bool model_drop(struct model *m, uint32_t idx)
{
    uint64_t released_before = m->released_cnt;
    weir_buf_unref(m->bufs[idx]);
    if (--m->refs[idx] != 0) {
        return m->released_cnt == released_before;
    }
    m->bufs[idx] = NULL;
    m->used_bytes -= m->caps[idx];
    --m->used_cnt;
    if (m->cached_bytes + m->caps[idx] <= MODEL_CACHE_MAX) {
        m->cached_bytes += m->caps[idx];
        ++m->cached[63 - __builtin_clzll(m->caps[idx])];
    }
    if (m->owners[idx] == 0) {
        return m->released_cnt == released_before;
    }
    return m->released_cnt == released_before + 1 && m->released_owner == m->owners[idx];
}

/* Returns the operation after which pool and model differ, or 0. */
static uint32_t run_program(uint32_t seed, uint32_t ops, enum fault fault)
{
    struct model m = {.random = seed};
    struct weir_pool_config cfg = {.bytes_max = MODEL_BYTES_MAX,
                                   .cache_bytes_max = MODEL_CACHE_MAX,
                                   .on_release = on_release,
                                   .ctx = &m};
    m.pool = weir_pool_create(heap, &cfg);
    m.alloc_cnt = weir_heap_alloc_cnt(heap);
    struct weir_buf *stray = NULL;
    uint32_t wrong_at = 0;
    bool is_injected = false;
    for (uint32_t op = 1; op <= ops && wrong_at == 0; ++op) {
        uint32_t idx = random_next(&m.random) % HOLD_CNT;
        bool is_good = true;
        if (op >= ops / 2 && op % 2 == 0 && fault != FAULT_NONE && !is_injected) {
            while (m.bufs[idx] == NULL || m.owners[idx] == 0) {
                idx = (idx + 1) % HOLD_CNT;
            }
            if (fault == FAULT_EXTRA_REF) {
                stray = weir_buf_ref(m.bufs[idx]);
            } else if (fault == FAULT_STRAY_TAKE) {
                stray = weir_pool_take(m.pool, 1);
            } else {
                m.bufs[idx]->owner = 0;
            }
            /* A full pool gives no stray one; then after the next operation. */
            is_injected = fault != FAULT_STRAY_TAKE || stray != NULL;
        } else if (m.bufs[idx] == NULL) {
            is_good = model_take(&m, idx);
        } else if (random_next(&m.random) % 3 == 0) {
            cr_assert_eq(weir_buf_hold(m.bufs[idx]), m.bufs[idx]);
            ++m.refs[idx];
        } else {
            is_good = model_drop(&m, idx);
        }
        struct weir_pool_stats stats = stats_of(m.pool);
        if (!is_good || stats.used_bytes != m.used_bytes || stats.used_cnt != m.used_cnt ||
            stats.cached_bytes != m.cached_bytes || stats.taken_cnt != m.taken_cnt ||
            weir_heap_alloc_cnt(heap) != m.alloc_cnt || weir_pool_reclaim(m.pool) != 0) {
            wrong_at = op;
        }
    }
    /* Half of the buffers outlive the pool. */
    for (uint32_t round = 0; round < 2; ++round) {
        for (uint32_t i = round; i < HOLD_CNT; i += 2) {
            while (m.bufs[i] != NULL && m.refs[i] != 0) {
                weir_buf_unref(m.bufs[i]);
                --m.refs[i];
            }
        }
        if (round == 0) {
            weir_pool_free(m.pool);
            m.released_cnt = 0;
        }
    }
    cr_assert_eq(m.released_cnt, 0, "no callback after the pool's end");
    weir_buf_unref(stray);
    return wrong_at;
}

Test(pool, agrees_with_a_model_under_random_programs)
{
    for (uint32_t seed = 1; seed <= 100; ++seed) {
        uint32_t wrong_at = run_program(seed, 1000, FAULT_NONE);
        cr_assert_eq(wrong_at, 0, "seed %u, operation %u", seed, wrong_at);
    }
}

Test(pool, the_model_notices_a_fault)
{
    for (enum fault fault = FAULT_NONE + 1; fault < FAULT_CNT; ++fault) {
        for (uint32_t seed = 1; seed <= 10; ++seed) {
            cr_assert_geq(run_program(seed, 2000, fault), 1000, "fault %d, seed %u", (int)fault,
                          seed);
        }
    }
}

/* ---- other threads, and the pool's end ------------------------------------------------------- */

struct remote {
    uint32_t wakes, releases;
};

static void count_wake(void *ctx)
{
    ++((struct remote *)ctx)->wakes;
}

static void count_release(void *ctx, uint64_t owner, uint32_t arg, uint32_t charge)
{
    (void)owner, (void)arg, (void)charge;
    ++((struct remote *)ctx)->releases;
}

static void *unref_three(void *arg)
{
    struct weir_buf **bufs = arg;
    for (int i = 0; i < 3; ++i) {
        weir_buf_unref(bufs[i]);
    }
    return NULL;
}

static void unref_three_elsewhere(struct weir_buf **bufs)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, unref_three, bufs), 0);
    pthread_join(thread, NULL);
}

Test(pool, buffers_dropped_on_another_thread_come_back_with_reclaim)
{
    struct remote remote = {0};
    struct weir_pool_config cfg = {.bytes_max = 3 << 10,
                                   .cache_bytes_max = 1 << 20,
                                   .on_release = count_release,
                                   .wake = count_wake,
                                   .ctx = &remote};
    struct weir_pool *pool = weir_pool_create(heap, &cfg);
    struct weir_buf *bufs[3];
    for (uint32_t round = 1; round <= 3; ++round) {
        for (uint32_t i = 0; i < 3; ++i) {
            bufs[i] = weir_pool_take(pool, 1000);
            cr_assert_not_null(bufs[i]);
            bufs[i]->owner = round * 10 + i;
        }
        unref_three_elsewhere(bufs);
        cr_assert_eq(remote.wakes, round, "the first of three wakes");
        cr_assert_eq(remote.releases, 3 * (round - 1), "not on the other thread");
        cr_assert_null(weir_pool_take(pool, 1), "in use until reclaimed");
        cr_assert_eq(weir_pool_reclaim(pool), 3);
        cr_assert_eq(remote.releases, 3 * round);
        cr_assert_eq(weir_pool_reclaim(pool), 0);
        cr_assert_eq(stats_of(pool).used_cnt, 0);
        cr_assert_eq(stats_of(pool).cached_bytes, 3 << 10);
    }
    weir_pool_free(pool);
}

struct handed {
    struct weir_pool *pool;
    struct weir_buf *buf;
    uint32_t reclaimed_cnt;
};

static void *adopt(void *arg)
{
    struct handed *handed = arg;
    weir_pool_adopt(handed->pool);
    handed->reclaimed_cnt = weir_pool_reclaim(handed->pool);
    weir_buf_unref(handed->buf);
    weir_buf_unref(weir_pool_take(handed->pool, 1000));
    return NULL;
}

/* The new owner's buffers come back at once, and what the old one drops from then on comes as from any thread. */
Test(pool, another_thread_adopts_it)
{
    struct remote remote = {0};
    struct weir_pool_config cfg = {.bytes_max = 1 << 20,
                                   .cache_bytes_max = 1 << 20,
                                   .on_release = count_release,
                                   .wake = count_wake,
                                   .ctx = &remote};
    struct weir_pool *pool = weir_pool_create(NULL, &cfg);
    struct weir_buf *bufs[5];
    for (uint32_t i = 0; i < 5; ++i) {
        bufs[i] = weir_pool_take(pool, 1000);
        bufs[i]->owner = 1;
    }
    unref_three_elsewhere(bufs);
    struct handed handed = {.pool = pool, .buf = bufs[3]};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, adopt, &handed), 0);
    pthread_join(thread, NULL);
    cr_assert_eq(handed.reclaimed_cnt, 3);
    cr_assert_eq(remote.releases, 4);
    cr_assert_eq(remote.wakes, 1);
    weir_buf_unref(bufs[4]);
    cr_assert_eq(remote.releases, 4, "on the stack");
    cr_assert_eq(remote.wakes, 2);
    weir_pool_adopt(pool);
    cr_assert_eq(weir_pool_reclaim(pool), 1);
    cr_assert_eq(remote.releases, 5);
    cr_assert_eq(stats_of(pool).used_cnt, 0);
    weir_pool_free(pool);
}

Test(pool, buffers_outlive_the_pool_wherever_they_are)
{
    struct remote remote = {0};
    struct weir_pool_config cfg = {.bytes_max = 1 << 20,
                                   .cache_bytes_max = 1 << 20,
                                   .on_release = count_release,
                                   .wake = count_wake,
                                   .ctx = &remote};
    /* Each combination of: cached, on the return stack, referenced here, referenced elsewhere. */
    for (uint32_t mask = 0; mask < 16; ++mask) {
        struct weir_pool *pool = weir_pool_create(heap, &cfg);
        struct weir_buf *bufs[4][3];
        for (uint32_t kind = 0; kind < 4; ++kind) {
            for (uint32_t i = 0; (mask >> kind & 1) != 0 && i < 3; ++i) {
                bufs[kind][i] = weir_pool_take(pool, 5000);
                bufs[kind][i]->owner = kind >= 1;
                bufs[kind][i]->data[0] = 9;
            }
        }
        if (mask & 1) {
            unref_three(bufs[0]);
        }
        if (mask & 2) {
            unref_three_elsewhere(bufs[1]);
        }
        uint32_t wakes = remote.wakes;
        weir_pool_free(pool);
        if (mask & 4) {
            cr_assert_eq(bufs[2][1]->data[0], 9);
            unref_three(bufs[2]);
        }
        if (mask & 8) {
            weir_buf_ref(bufs[3][0]);
            unref_three_elsewhere(bufs[3]);
            weir_buf_unref(bufs[3][0]);
        }
        cr_assert_eq(remote.wakes, wakes);
        cr_assert_eq(remote.releases, 0);
    }
}

/* ---- buffers without a pool ------------------------------------------------------------------ */

static void note_release(void *ctx, void *data, size_t len)
{
    cr_assert_eq(data, ctx);
    *(size_t *)ctx += len;
}

Test(pool, buffers_can_be_made_without_a_pool)
{
    static const size_t lens[] = {0, 1, 1000, 1 << 20};
    struct weir_buf *buf = NULL;
    for (size_t i = 0; i < 4; ++i) {
        cr_assert_eq(weir_buf_create(&buf, lens[i]), 0);
        cr_assert_eq(weir_buf_len(buf), lens[i]);
        memset(weir_buf_data(buf), 1, lens[i]);
        memset(buf->data - WEIR_BUF_HEADROOM, 1, WEIR_BUF_HEADROOM);
        cr_assert_eq(weir_buf_ref(buf), buf);
        weir_buf_unref(buf);
        weir_buf_unref(buf);
    }
    buf = NULL;
    cr_assert_eq(weir_buf_create(&buf, ((size_t)1 << 30) + 1), WEIR_E_MISUSE);
    cr_assert_eq(weir_buf_create(NULL, 1), WEIR_E_MISUSE);
    weir_heap_fail_nth(1);
    cr_assert_eq(weir_buf_create(&buf, 1), WEIR_E_NOMEM);
    cr_assert_null(buf, "untouched on failure");
}

Test(pool, wrapped_bytes_are_released_once_by_the_last_reference)
{
    struct weir_buf *buf = NULL, *refs[3];
    size_t bytes[4] = {0};
    cr_assert_eq(weir_buf_wrap(&buf, bytes, sizeof(bytes), note_release, bytes), 0);
    cr_assert_eq(weir_buf_data(buf), (uint8_t *)bytes);
    cr_assert_eq(weir_buf_len(buf), sizeof(bytes));
    for (int i = 0; i < 3; ++i) {
        refs[i] = weir_buf_ref(buf);
    }
    weir_buf_unref(buf);
    cr_assert_eq(bytes[0], 0);
    unref_three_elsewhere(refs);
    cr_assert_eq(bytes[0], sizeof(bytes));

    cr_assert_eq(weir_buf_wrap(&buf, (void *)(uintptr_t) "static", 6, NULL, NULL), 0);
    weir_buf_unref(buf);
    cr_assert_eq(weir_buf_wrap(&buf, NULL, 0, NULL, NULL), 0);
    weir_buf_unref(buf);

    bytes[0] = 0;
    cr_assert_eq(weir_buf_wrap(&buf, NULL, 1, note_release, bytes), WEIR_E_MISUSE);
    cr_assert_eq(weir_buf_wrap(&buf, bytes, ((size_t)1 << 30) + 1, note_release, bytes),
                 WEIR_E_MISUSE);
    cr_assert_eq(weir_buf_wrap(NULL, bytes, 1, note_release, bytes), WEIR_E_MISUSE);
    weir_heap_fail_nth(1);
    cr_assert_eq(weir_buf_wrap(&buf, bytes, 8, note_release, bytes), WEIR_E_NOMEM);
    cr_assert_eq(bytes[0], 0, "not released on failure");
}
