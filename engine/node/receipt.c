#include "engine/node/receipt.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "engine/conn/receipt.h"
#include "engine/node/internal.h"

/* A receipt as its owner sees it: the counts that the shards write, and who waits for them. */
struct waited {
    struct weir_receipt receipt; /* first */
    const weir_node *node;
    _Atomic bool is_used;
    _Atomic uint32_t waiter_cnt;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
};

static struct waited *of(struct weir_receipt *receipt)
{
    return (struct waited *)(void *)receipt;
}

static void changed(struct weir_receipt *receipt)
{
    struct waited *waited = of(receipt);
    /* Pairs with the add in weir_receipt_wait: either the waiter sees the count, or it is seen here. */
    if (atomic_load_explicit(&waited->waiter_cnt, memory_order_seq_cst) == 0)
        return;
    pthread_mutex_lock(&waited->mutex);
    pthread_cond_broadcast(&waited->cond);
    pthread_mutex_unlock(&waited->mutex);
}

static void release(struct weir_receipt *receipt)
{
    struct waited *waited = of(receipt);
    pthread_cond_destroy(&waited->cond);
    pthread_mutex_destroy(&waited->mutex);
    weir_heap_release(waited);
}

int weir_receipt_create(weir_receipt **ret_receipt, weir_node *node)
{
    if (!ret_receipt || !node)
        return WEIR_E_MISUSE;
    struct waited *waited = weir_heap_alloc(NULL, sizeof(*waited));
    if (!waited)
        return WEIR_E_NOMEM;
    pthread_condattr_t attr;
    atomic_init(&waited->receipt.refs, 1);
    waited->receipt.changed = changed;
    waited->receipt.release = release;
    waited->node = node;
    pthread_mutex_init(&waited->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&waited->cond, &attr);
    pthread_condattr_destroy(&attr);
    *ret_receipt = &waited->receipt;
    return 0;
}

void weir_receipt_free(weir_receipt *receipt)
{
    if (receipt)
        weir_receipt_unref(receipt);
}

int weir_receipt_begin(weir_receipt *receipt, const weir_node *node)
{
    struct waited *waited = of(receipt);
    if (waited->node != node || atomic_exchange(&waited->is_used, true))
        return WEIR_E_STATE;
    atomic_fetch_add_explicit(&receipt->refs, 1, memory_order_relaxed);
    weir_receipt_post(receipt);
    return 0;
}

void weir_receipt_post(weir_receipt *receipt)
{
    atomic_fetch_add_explicit(&receipt->posting, 1, memory_order_seq_cst);
}

void weir_receipt_posted(weir_receipt *receipt)
{
    atomic_fetch_sub_explicit(&receipt->posting, 1, memory_order_seq_cst);
    changed(receipt);
}

/* Ends are read before what was queued, and whether all have queued it before both, so that what looks settled
 * is. */
static void read_counts(weir_receipt *receipt, struct weir_receipt_counts *ret)
{
    const struct waited *waited = of(receipt);
    bool is_posted = atomic_load(&waited->is_used) &&
                     atomic_load_explicit(&receipt->posting, memory_order_seq_cst) == 0;
    ret->handed = atomic_load_explicit(&receipt->handed, memory_order_seq_cst);
    ret->lost = atomic_load_explicit(&receipt->lost, memory_order_seq_cst);
    ret->queued = atomic_load_explicit(&receipt->queued, memory_order_seq_cst);
    ret->is_settled = is_posted && ret->handed + ret->lost == ret->queued;
}

int weir_receipt_read(weir_receipt *receipt, struct weir_receipt_counts *ret_counts)
{
    if (!receipt || !ret_counts || ret_counts->size < sizeof(uint32_t))
        return WEIR_E_MISUSE;
    if (ret_counts->size > sizeof(*ret_counts))
        return WEIR_E_VERSION;
    struct weir_receipt_counts counts = {.size = ret_counts->size};
    read_counts(receipt, &counts);
    memcpy(ret_counts, &counts, counts.size);
    return 0;
}

int weir_receipt_wait(weir_receipt *receipt, uint32_t peer_cnt, weir_ns timeout)
{
    if (!receipt)
        return WEIR_E_MISUSE;
    struct waited *waited = of(receipt);
    if (weir_shard_here((weir_node *)(uintptr_t)waited->node))
        return WEIR_E_SHARD_THREAD;
    weir_ns now = weir_now();
    weir_ns until = timeout > UINT64_MAX / 4 ? now + UINT64_MAX / 4 : now + timeout;
    struct timespec deadline = {.tv_sec = (time_t)(until / WEIR_NS_PER_S),
                                .tv_nsec = (long)(until % WEIR_NS_PER_S)};
    struct weir_receipt_counts counts;
    int waited_out = 0;
    atomic_fetch_add_explicit(&waited->waiter_cnt, 1, memory_order_seq_cst);
    pthread_mutex_lock(&waited->mutex);
    for (;;) {
        read_counts(receipt, &counts);
        if (counts.handed >= peer_cnt || counts.is_settled || waited_out)
            break;
        waited_out = pthread_cond_timedwait(&waited->cond, &waited->mutex, &deadline);
    }
    pthread_mutex_unlock(&waited->mutex);
    atomic_fetch_sub_explicit(&waited->waiter_cnt, 1, memory_order_seq_cst);
    if (counts.handed >= peer_cnt)
        return 0;
    return counts.is_settled ? WEIR_E_GONE : WEIR_E_TIMEOUT;
}
