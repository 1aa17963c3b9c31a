/* Buffer pools against an account: capacities, bounds, references, bytes that stay, owners that are told once.
 *
 * input: bounds of the pool, then operations on 16 holders; an operation may be one of another thread's, whose
 * buffers come back through the return stack (a thread of its own drops them, then is joined).
 */
#include <pthread.h>

#include "engine/mem/pool_impl.h"
#include "tests/fuzz/fuzz.h"
#include "weir/error.h"

#define HELD 16u

struct held {
    struct weir_buf *buf; /* NULL: nothing */
    uint32_t refs;
    size_t bytes; /* that are filled, with `fill` */
    uint8_t fill;
    uint64_t owner; /* 0: none */
    uint32_t charge;
    bool is_pooled;
};

struct model {
    struct weir_pool *pool;
    struct weir_pool_config cfg;
    struct held held[HELD];
    uint64_t used_bytes, used_cnt, taken_cnt, cached_max;
    uint64_t away_cnt, away_bytes; /* dropped by another thread, not yet reclaimed */
    uint32_t wake_cnt;
    uint64_t released_owner; /* what the callback was told; 0: nothing */
    uint32_t released_charge, released_cnt;
    uint32_t freed_cnt; /* of wrapped memory */
};

static void on_release(void *ctx, uint64_t owner, uint32_t arg, uint32_t charge)
{
    struct model *model = ctx;
    FUZZ_CHECK(arg == (uint32_t)owner);
    model->released_owner = owner;
    model->released_charge = charge;
    model->released_cnt++;
}

static void on_wake(void *ctx)
{
    struct model *model = ctx;
    model->wake_cnt++;
}

static void on_freed(void *ctx, void *data, size_t len)
{
    struct model *model = ctx;
    model->freed_cnt++;
    memset(data, 0xDD, len);
    free(data);
}

static size_t cap_of(size_t bytes)
{
    size_t cap = 1024;
    while (cap < bytes)
        cap *= 2;
    return cap;
}

static void check(const struct model *model)
{
    struct weir_pool_stats stats;
    weir_pool_stats(model->pool, &stats);
    FUZZ_CHECK(stats.used_bytes == model->used_bytes && stats.used_cnt == model->used_cnt);
    FUZZ_CHECK(stats.taken_cnt == model->taken_cnt);
    FUZZ_CHECK(stats.used_bytes <= model->cfg.bytes_max);
    FUZZ_CHECK(stats.cached_bytes <= model->cfg.cache_bytes_max);
}

static void check_bytes(const struct held *held)
{
    const uint8_t *data = weir_buf_data(held->buf);
    size_t first = held->is_pooled ? WEIR_BUF_HEADROOM : 0;
    for (size_t i = 0; i < held->bytes + first; i++)
        FUZZ_CHECK(*(data - first + i) == held->fill);
}

/* Ends of large buffers only: the bytes between cost time and show nothing more. */
static void fill(struct held *held, uint8_t value)
{
    uint8_t *data = weir_buf_data(held->buf);
    size_t cap = held->buf->cap;
    held->fill = value;
    held->bytes = cap < 4096 ? cap : 4096;
    size_t first = held->is_pooled ? WEIR_BUF_HEADROOM : 0;
    memset(data - first, value, first + held->bytes);
    if (cap)
        data[cap - 1] = value;
}

static void take(struct model *model, struct held *held, size_t bytes, bool is_failing)
{
    struct weir_pool_stats was;
    weir_pool_stats(model->pool, &was);
    weir_heap_fail_nth(is_failing);
    struct weir_buf *buf = weir_pool_take(model->pool, bytes);
    weir_heap_fail_nth(0);
    if (bytes > WEIR_BUF_BYTES_MAX || cap_of(bytes) > model->cfg.bytes_max - model->used_bytes) {
        FUZZ_CHECK(buf == NULL);
        return;
    }
    if (buf == NULL) {
        FUZZ_CHECK(is_failing);
        return;
    }
    FUZZ_CHECK(buf->cap == cap_of(bytes) && buf->len == 0 && buf->owner == 0 && buf->next == NULL);
    FUZZ_CHECK((uintptr_t)buf->data % 64 == 0);
    *held = (struct held){.buf = buf, .refs = 1, .is_pooled = true};
    model->used_bytes += buf->cap;
    model->used_cnt++;
    model->taken_cnt++;
}

static void give(struct model *model, struct held *held)
{
    check_bytes(held);
    size_t cap = held->buf->cap;
    uint32_t released = model->released_cnt, freed = model->freed_cnt;
    weir_buf_unref(held->buf);
    if (--held->refs != 0) {
        FUZZ_CHECK(model->released_cnt == released && model->freed_cnt == freed);
        return;
    }
    if (held->is_pooled) {
        model->used_bytes -= cap;
        model->used_cnt--;
        FUZZ_CHECK(model->released_cnt == released + (held->owner != 0));
        if (held->owner)
            FUZZ_CHECK(model->released_owner == held->owner &&
                       model->released_charge == held->charge);
    } else {
        FUZZ_CHECK(model->freed_cnt == freed + held->owner);
    }
    *held = (struct held){0};
}

static void *drop(void *arg)
{
    weir_buf_unref(arg);
    return NULL;
}

/* Another thread drops the last reference: nothing is back before the pool reclaims. */
static void give_away(struct model *model, struct held *held)
{
    if (!held->is_pooled || held->refs != 1)
        return;
    uint32_t released = model->released_cnt, woken = model->wake_cnt;
    model->away_bytes += held->buf->cap;
    pthread_t thread;
    FUZZ_CHECK(pthread_create(&thread, NULL, drop, held->buf) == 0);
    FUZZ_CHECK(pthread_join(thread, NULL) == 0);
    FUZZ_CHECK(model->released_cnt == released);
    FUZZ_CHECK(model->wake_cnt == woken + (model->away_cnt == 0));
    model->away_cnt++;
    *held = (struct held){0};
}

static void reclaim(struct model *model)
{
    FUZZ_CHECK(weir_pool_reclaim(model->pool) == model->away_cnt);
    model->used_cnt -= model->away_cnt;
    model->used_bytes -= model->away_bytes;
    model->away_cnt = model->away_bytes = 0;
}

static void make(struct model *model, struct held *held, size_t len, bool is_wrapped)
{
    struct weir_buf *buf = NULL;
    len %= 5000;
    if (is_wrapped) {
        void *data = malloc(len + 1);
        FUZZ_CHECK(weir_buf_wrap(&buf, data, len, on_freed, model) == 0);
        FUZZ_CHECK(weir_buf_data(buf) == data);
    } else {
        FUZZ_CHECK(weir_buf_create(&buf, len) == 0);
    }
    FUZZ_CHECK(weir_buf_len(buf) == len);
    *held = (struct held){.buf = buf, .refs = 1, .owner = is_wrapped};
}

static void step(struct model *model, struct fuzz *fuzz)
{
    uint32_t op = fuzz_below(fuzz, 32);
    struct held *held = &model->held[fuzz_below(fuzz, HELD)];
    if (op == 0) {
        reclaim(model);
    } else if (!held->buf) {
        size_t bytes = op & 1 ? fuzz_below(fuzz, 20000) : (size_t)fuzz_number(fuzz);
        if (bytes > (1u << 20) && bytes <= WEIR_BUF_BYTES_MAX)
            bytes &= (1u << 20) - 1; /* a gigabyte at a time costs seconds */
        if (op < 24)
            take(model, held, bytes, op == 23);
        else
            make(model, held, bytes, op & 2);
        if (held->buf)
            fill(held, fuzz_u8(fuzz));
    } else if (op < 12) {
        give(model, held);
    } else if (op < 20) {
        FUZZ_CHECK(weir_buf_ref(held->buf) == held->buf);
        held->refs++;
    } else if (op < 24) {
        if (held->is_pooled) {
            held->owner = held->buf->owner = 1 + fuzz_uint(fuzz, 4);
            held->buf->owner_arg = (uint32_t)held->owner;
            held->charge = held->buf->owner_charge = fuzz_u16(fuzz);
        }
    } else if (op == 24) {
        give_away(model, held);
    } else {
        check_bytes(held);
    }
    check(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct fuzz fuzz = fuzz_begin(data, size);
    memset(&model, 0, sizeof model);
    model.cfg = (struct weir_pool_config){.bytes_max = (uint64_t)fuzz_u16(&fuzz) << 10,
                                          .cache_bytes_max = (uint64_t)fuzz_u8(&fuzz) << 10,
                                          .on_release = on_release,
                                          .wake = on_wake,
                                          .ctx = &model};
    bool is_left = fuzz_flag(&fuzz);
    struct weir_heap *heap = weir_heap_create();
    model.pool = weir_pool_create(heap, &model.cfg);
    FUZZ_CHECK(model.pool != NULL);
    for (uint32_t i = 0; i < 300 && fuzz_has_more(&fuzz); i++)
        step(&model, &fuzz);
    /* Buffers may outlive their pool; then nobody is told any more. */
    if (is_left) {
        weir_pool_free(model.pool);
        model.released_cnt = 0;
    }
    for (uint32_t i = 0; i < HELD; i++) {
        struct held *held = &model.held[i];
        while (held->buf && !is_left)
            give(&model, held);
        for (; held->buf && held->refs; held->refs--) {
            check_bytes(held);
            weir_buf_unref(held->buf);
        }
    }
    if (is_left) {
        FUZZ_CHECK(model.released_cnt == 0);
    } else {
        reclaim(&model);
        check(&model);
        FUZZ_CHECK(model.used_cnt == 0 && model.used_bytes == 0);
        weir_pool_free(model.pool);
    }
    weir_heap_free(heap);
    return 0;
}
