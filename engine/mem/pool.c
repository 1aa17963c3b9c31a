/* How long a pool lives.
 *
 * A buffer that is *out* (taken, not yet given back) pins its pool. When the last reference is
 * dropped on the owner's thread, the buffer goes to a free list. On any other thread it is pushed
 * to `returned`; from the instant of the push it is the owner's, and pins nothing for the pushing
 * thread any more.
 *
 * weir_pool_free() puts CLOSED in `returned` with one exchange. Each buffer is on one side of it:
 *  - pushed before: it is in the list that the exchange returns, or was reclaimed;
 *  - not pushed before: its last drop, whenever it is, reads CLOSED. It is an *orphan*: the thread
 *    that drops it frees it, and subtracts 1 from `orphans_left` as its last touch of the pool.
 *
 * weir_pool_free() knows how many orphans there are (out minus returned) and adds that to
 * `orphans_left`, which began at 0. Before the addition the sum is 0 or negative and no subtraction
 * leaves 0; the addition and the subtractions together reach 0 exactly once, last of all; whoever
 * reaches it frees the pool. (acq_rel on each: the freeing comes after all others' touches.)
 *
 * The push that finds the stack empty calls wake() *after* the push, when its buffer may be
 * reclaimed and the pool be ended already. Therefore it counts itself in `waker_cnt` before the
 * push, while the buffer still pins the pool; weir_pool_free() waits after the exchange until the
 * count is 0. The push is a release and the exchange an acquire, so the count of each push that
 * came before is seen; a thread that counts itself later meets CLOSED, and its buffer, an orphan
 * then, still pins the pool. After weir_pool_free() no callback runs.
 *
 * Return stack: many push, only the owner takes, and takes all, so there is no ABA: a push whose
 * `next` is outdated fails its compare-exchange unless the same buffer is on top again, and then it
 * is right.
 */
#include "engine/mem/pool.h"

#include <sched.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifndef WITH_ASAN
#define WITH_ASAN 0
#endif
#if WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif

#include "engine/base/check.h"
#include "engine/mem/pool_impl.h"
#include "engine/mem/thread.h"

#define CLASS_BITS_MIN 10u /* 1 KiB */
#define CLASS_CNT 21u      /* to 1 GiB */
#define SCRUB_BYTES_MAX (64u << 10)

static_assert(UINT64_C(1) << (CLASS_BITS_MIN + CLASS_CNT - 1) == WEIR_BUF_BYTES_MAX,
              "the last class is the largest buffer");

struct weir_pool {
    /* The owner's thread only. The counters are 16 bytes apart: side by side, gcc updates two with
     * one vector, whose load then waits for the two stores before it (10 ns for a take and its
     * unref instead of 5). */
    struct weir_buf *cached[CLASS_CNT];
    _Alignas(64) uint64_t used_bytes; /* buffers out and not yet reclaimed, as capacities */
    _Alignas(16) uint64_t cached_bytes;
    _Alignas(16) uint64_t taken_cnt;
    _Alignas(16) uint64_t returned_cnt; /* taken_cnt - returned_cnt are out */

    /* Read by all, written at the beginning and the end only. */
    _Alignas(64) _Atomic uint64_t owner; /* WEIR_THREAD_NOBODY once ended */
    struct weir_heap *heap;
    struct weir_pool_config cfg;

    /* Written by other threads. */
    _Alignas(64) _Atomic(struct weir_buf *) returned; /* newest first, or CLOSED */
    _Atomic uint32_t waker_cnt;
    _Atomic int64_t orphans_left;
};

/* Never dereferenced; no buffer is at this address. */
#define CLOSED ((struct weir_buf *)(uintptr_t)1)

static uint32_t class_of(size_t bytes)
{
    if (bytes <= (size_t)1 << CLASS_BITS_MIN) {
        return 0;
    }
    return 64u - (uint32_t)__builtin_clzll(bytes - 1) - CLASS_BITS_MIN;
}

static size_t class_cap(uint32_t class_idx)
{
    return (size_t)1 << (CLASS_BITS_MIN + class_idx);
}

/* ---- blocks: what ASan and debug builds see of a free one ------------------------------------ */

/* Makes the use of a cached buffer show: as an ASan report, or as 0xA5 bytes. */
static void block_hide(struct weir_buf *buf)
{
#ifndef NDEBUG
    /* Not all of a large one, or debug builds would measure nothing but this. */
    memset((uint8_t *)buf + WEIR_BUF_STRUCT_BYTES, 0xA5,
           WEIR_BUF_HEADROOM + weir_min_u64(buf->cap, SCRUB_BYTES_MAX));
#endif
#if WITH_ASAN
    ASAN_POISON_MEMORY_REGION(buf, WEIR_BUF_DATA_OFFSET + buf->cap);
#else
    (void)buf;
#endif
}

static void block_show(struct weir_buf *buf, uint32_t class_idx)
{
#if WITH_ASAN
    ASAN_UNPOISON_MEMORY_REGION(buf, WEIR_BUF_DATA_OFFSET + class_cap(class_idx));
#else
    (void)buf;
    (void)class_idx;
#endif
}

/* ---- the owner's side ------------------------------------------------------------------------ */

struct weir_pool *weir_pool_create(struct weir_heap *heap, const struct weir_pool_config *cfg)
{
    struct weir_pool *pool = weir_heap_alloc(heap, sizeof(*pool));
    if (pool == NULL) {
        return NULL;
    }
    pool->heap = heap;
    pool->cfg = *cfg;
    atomic_store_explicit(&pool->owner, weir_thread_id(), memory_order_relaxed);
    return pool;
}

void weir_pool_adopt(struct weir_pool *pool)
{
    atomic_store_explicit(&pool->owner, weir_thread_id(), memory_order_relaxed);
}

static bool is_owner(struct weir_pool *pool)
{
    /* Relaxed: a thread finds its own number here only if it wrote it (create, adopt) and has not
     * ended the pool; every other value, however old, is not its own. Of an owner that was one the
     * order that weir_pool_adopt asks for sees to it that the number it finds is not so old. */
    return weir_thread_is(atomic_load_explicit(&pool->owner, memory_order_relaxed));
}

/* Apart from weir_pool_take, so that the fast path saves no registers. */
static __attribute__((noinline)) struct weir_buf *make_buf(struct weir_pool *pool,
                                                           uint32_t class_idx)
{
    size_t cap = class_cap(class_idx);
    struct weir_buf *buf = weir_heap_alloc_raw(pool->heap, WEIR_BUF_DATA_OFFSET + cap);
    if (buf != NULL) {
        *buf = (struct weir_buf){.class_idx = class_idx, .cap = cap, .pool = pool};
    }
    return buf;
}

struct weir_buf *weir_pool_take(struct weir_pool *pool, size_t bytes)
{
    WEIR_DCHECK(is_owner(pool));
    if (WEIR_UNLIKELY(bytes > WEIR_BUF_BYTES_MAX)) {
        return NULL;
    }
    uint32_t class_idx = class_of(bytes);
    size_t cap = class_cap(class_idx);
    /* Not "used + cap > max", which could wrap. */
    if (WEIR_UNLIKELY(cap > pool->cfg.bytes_max || pool->used_bytes > pool->cfg.bytes_max - cap)) {
        return NULL;
    }
    struct weir_buf *buf = pool->cached[class_idx];
    if (WEIR_LIKELY(buf != NULL)) {
        block_show(buf, class_idx);
        WEIR_DCHECK(buf->pool == pool && buf->class_idx == class_idx);
        WEIR_DCHECK(atomic_load_explicit(&buf->refs, memory_order_relaxed) == 0);
        pool->cached[class_idx] = buf->next;
        pool->cached_bytes -= cap;
    } else {
        buf = make_buf(pool, class_idx);
        if (buf == NULL) {
            return NULL;
        }
    }
    atomic_init(&buf->refs, 1);
    buf->data = weir_buf_block_data(buf);
    buf->len = 0;
    buf->next = NULL;
    buf->owner = 0;
    buf->owner_arg = 0;
    buf->owner_charge = 0;
    pool->used_bytes += cap;
    ++pool->taken_cnt;
    return buf;
}

/* Gives a buffer that nobody refers to back to its owner, then caches or frees it. */
static void take_back(struct weir_pool *pool, struct weir_buf *buf)
{
    WEIR_DCHECK(buf->pool == pool && pool->taken_cnt > pool->returned_cnt &&
                pool->used_bytes >= buf->cap);
    if (buf->owner != 0 && pool->cfg.on_release != NULL) {
        pool->cfg.on_release(pool->cfg.ctx, buf->owner, buf->owner_arg, buf->owner_charge);
    }
    pool->used_bytes -= buf->cap;
    ++pool->returned_cnt;
    if (pool->cached_bytes + buf->cap > pool->cfg.cache_bytes_max) {
        weir_heap_release(buf);
        return;
    }
    pool->cached_bytes += buf->cap;
    struct weir_buf **cached = &pool->cached[buf->class_idx];
    atomic_store_explicit(&buf->refs, 0, memory_order_relaxed); /* for the checks */
    buf->next = *cached;
    *cached = buf;
    block_hide(buf);
}

uint32_t weir_pool_reclaim(struct weir_pool *pool)
{
    WEIR_DCHECK(is_owner(pool));
    /* Most turns nothing came back, and a load is cheaper than an exchange. What a push is late for
     * is taken in the next turn: the push has called wake. */
    if (atomic_load_explicit(&pool->returned, memory_order_relaxed) == NULL) {
        return 0;
    }
    /* Acquire pairs with the release of the pushes. */
    struct weir_buf *buf = atomic_exchange_explicit(&pool->returned, NULL, memory_order_acquire);
    uint32_t cnt = 0;
    while (buf != NULL) {
        struct weir_buf *next = buf->next;
        take_back(pool, buf);
        buf = next;
        ++cnt;
    }
    return cnt;
}

void weir_pool_stats(const struct weir_pool *pool, struct weir_pool_stats *ret_stats)
{
    *ret_stats = (struct weir_pool_stats){
        .used_bytes = pool->used_bytes,
        .used_cnt = pool->taken_cnt - pool->returned_cnt,
        .cached_bytes = pool->cached_bytes,
        .taken_cnt = pool->taken_cnt,
    };
}

/* ---- other threads --------------------------------------------------------------------------- */

/* Subtracts or adds orphans; the one who brings the sum to 0 frees the pool. */
static void count_orphans(struct weir_pool *pool, int64_t cnt)
{
    if (atomic_fetch_add_explicit(&pool->orphans_left, cnt, memory_order_acq_rel) + cnt == 0) {
        weir_heap_release(pool);
    }
}

/* Pushes a buffer to the return stack, or frees it when the pool has ended. */
static void send_back(struct weir_pool *pool, struct weir_buf *buf)
{
    bool is_waker = false; /* counted in waker_cnt */
    struct weir_buf *top = atomic_load_explicit(&pool->returned, memory_order_relaxed);
    for (;;) {
        bool has_to_wake = top == NULL && pool->cfg.wake != NULL;
        if (has_to_wake != is_waker) {
            /* Ordered before the push by the push's release. */
            atomic_fetch_add_explicit(&pool->waker_cnt, has_to_wake ? 1u : UINT32_MAX,
                                      memory_order_release);
            is_waker = has_to_wake;
        }
        if (top == CLOSED) {
            weir_heap_release(buf);
            count_orphans(pool, -1);
            return;
        }
        buf->next = top;
        /* Release pairs with the exchanges in weir_pool_reclaim and weir_pool_free. */
        if (atomic_compare_exchange_weak_explicit(&pool->returned, &top, buf, memory_order_release,
                                                  memory_order_relaxed)) {
            break;
        }
    }
    /* `buf` is the owner's now, and `pool` may be touched by a counted waker only. */
    if (is_waker) {
        pool->cfg.wake(pool->cfg.ctx);
        /* Release pairs with the acquire load in weir_pool_free. */
        atomic_fetch_sub_explicit(&pool->waker_cnt, 1, memory_order_release);
    }
}

void weir_pool_give(struct weir_buf *take)
{
    struct weir_pool *pool = take->pool;
    if (WEIR_LIKELY(is_owner(pool))) {
        take_back(pool, take);
    } else {
        send_back(pool, take);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

void weir_pool_free(struct weir_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    atomic_store_explicit(&pool->owner, WEIR_THREAD_NOBODY, memory_order_relaxed);
    struct weir_buf *buf = atomic_exchange_explicit(&pool->returned, CLOSED, memory_order_acq_rel);
    while (atomic_load_explicit(&pool->waker_cnt, memory_order_acquire) != 0) {
        sched_yield(); /* a few instructions and one callback of another thread */
    }
    while (buf != NULL) {
        struct weir_buf *next = buf->next;
        weir_heap_release(buf);
        ++pool->returned_cnt;
        buf = next;
    }
    for (uint32_t class_idx = 0; class_idx < CLASS_CNT; ++class_idx) {
        buf = pool->cached[class_idx];
        while (buf != NULL) {
            block_show(buf, class_idx);
            struct weir_buf *next = buf->next;
            weir_heap_release(buf);
            buf = next;
        }
    }
    count_orphans(pool, (int64_t)(pool->taken_cnt - pool->returned_cnt));
}
