/* engine/mem/pool.h: a shard's message memory: buffers in size classes, with references.
 *
 * A pool belongs to one shard's thread. Only that thread takes buffers; any thread may add and drop
 * references. The last reference dropped on another thread pushes the buffer to the pool's return
 * stack, which the owner empties in weir_pool_reclaim() (once per turn); if the stack was empty the
 * pool's wake callback runs, so that a sleeping shard learns of it.
 *
 * Every buffer has WEIR_BUF_HEADROOM writable bytes in front of `data` for a frame header. Capacities
 * are powers of two from 1 KiB. A buffer of the pool goes back to a free list of its class (up to
 * cache_bytes_max in all lists, beyond it to the heap). `bytes_max` bounds what is in use: taking more
 * answers NULL.
 *
 * A buffer may carry an *owner* (a peer's slot and generation, a channel and a charge): the pool's
 * on_release callback gets it back, on the shard's thread, exactly once, when the buffer is freed. That
 * is how credit and budgets come back.
 *
 * Buffers outlive their pool: after weir_pool_free() the last dropped one frees what is left.
 */
#ifndef WEIR_ENGINE_MEM_POOL_H
#define WEIR_ENGINE_MEM_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/mem/heap.h"
#include "weir/buf.h"

#define WEIR_BUF_HEADROOM 64u

struct weir_pool;

struct weir_buf {
    _Atomic uint32_t refs;
    uint32_t class_idx;
    uint8_t *data;
    size_t cap;               /* bytes that fit at data */
    size_t len;               /* bytes that are there */
    struct weir_pool *pool;   /* NULL: made by weir_buf_create or weir_buf_wrap */
    struct weir_buf *next;    /* free list, return stack, or any one list of the holder */
    weir_buf_release release; /* wrapped ones */
    void *release_ctx;
    uint64_t owner; /* 0: none */
    uint32_t owner_arg;
    uint32_t owner_charge;
};

struct weir_pool_config {
    uint64_t bytes_max;       /* in use at once */
    uint64_t cache_bytes_max; /* kept free for reuse */
    void (*on_release)(void *ctx, uint64_t owner, uint32_t arg, uint32_t charge); /* shard thread */
    void (*wake)(void *ctx);                                                      /* any thread */
    void *ctx;
};

/* Makes the calling thread's pool, allocating from `heap`; NULL when memory is short. */
struct weir_pool *weir_pool_create(struct weir_heap *heap, const struct weir_pool_config *cfg);

/* Makes the calling thread the owner. Who was it makes no call for the pool and drops none of its buffers while this
 * runs, and has an order with the caller (a join, a mutex): a buffer that it drops later comes back as any thread's. */
void weir_pool_adopt(struct weir_pool *pool);

/* Ends a pool: no callback runs any more. Buffers still referenced stay valid. NULL is fine. */
void weir_pool_free(struct weir_pool *pool);

/* Takes a buffer of at least `bytes` with one reference, len 0, no owner; NULL when the bound or the heap
 * says no. Shard thread. */
struct weir_buf *weir_pool_take(struct weir_pool *pool, size_t bytes);

/* Empties the return stack. Shard thread, once per turn. Returns how many came back. */
uint32_t weir_pool_reclaim(struct weir_pool *pool);

struct weir_pool_stats {
    uint64_t used_bytes, used_cnt; /* in use now (capacities) */
    uint64_t cached_bytes;         /* free for reuse */
    uint64_t taken_cnt;            /* taken so far */
};
void weir_pool_stats(const struct weir_pool *pool, struct weir_pool_stats *ret_stats);

/* Whether nobody else can read the bytes of a buffer, or will: they are its own, and this is the only reference. */
bool weir_buf_is_sole(const struct weir_buf *buf);

/* Inline references for the hot path; the same as weir_buf_ref and weir_buf_unref. */
static inline struct weir_buf *weir_buf_hold(struct weir_buf *buf)
{
    atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
    return buf;
}

#endif
