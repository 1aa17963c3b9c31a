#include "engine/mem/heap.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if !defined(WEIR_MALLOC_LIBC) || !WEIR_MALLOC_LIBC
#include <mimalloc.h>
#define WITH_MIMALLOC 1
#else
#define WITH_MIMALLOC 0
typedef struct mi_heap_none mi_heap_t;
#endif

#include "engine/base/check.h"
#include "engine/mem/thread.h"

#define ALIGNMENT 64u
#define BYTES_MAX ((size_t)PTRDIFF_MAX - ALIGNMENT)

/* A table from here on is mapped by itself; a smaller one would waste the rest of its last page. Where memory is libc's,
 * all are ordinary blocks: a sanitizer watches the ends of those. */
#define MAPPED_BYTES_MIN ((size_t)16 << 10)

struct weir_heap {
    _Atomic uint64_t alloc_cnt; /* written by the heap's thread alone, read by any */
    mi_heap_t *mi;
    uint64_t thread;
};

/* The only state of the process in this library besides the hash variant and the thread numbers:
 * counting outside of heaps, and a test's fault. */
static _Atomic uint64_t process_alloc_cnt;
static _Atomic uint64_t fail_countdown;

/* Whether this allocation is the one that a test wants to fail. */
static bool is_to_fail(void)
{
    uint64_t left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    while (WEIR_UNLIKELY(left != 0)) {
        if (atomic_compare_exchange_weak_explicit(&fail_countdown, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return left == 1;
        }
    }
    return false;
}

static void *allocate(mi_heap_t *mi, size_t bytes, bool is_zeroed)
{
    if (bytes > BYTES_MAX || is_to_fail()) {
        return NULL;
    }
    /* Whole multiples of the alignment: no two blocks share a cache line. */
    bytes = bytes == 0 ? ALIGNMENT : (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
#if WITH_MIMALLOC
    if (mi == NULL) {
        return is_zeroed ? mi_zalloc_aligned(bytes, ALIGNMENT)
                         : mi_malloc_aligned(bytes, ALIGNMENT);
    }
    return is_zeroed ? mi_heap_zalloc_aligned(mi, bytes, ALIGNMENT)
                     : mi_heap_malloc_aligned(mi, bytes, ALIGNMENT);
#else
    (void)mi;
    void *block = aligned_alloc(ALIGNMENT, bytes);
    if (block != NULL && is_zeroed) {
        memset(block, 0, bytes);
    }
    return block;
#endif
}

static bool is_mapped(size_t bytes)
{
    return WITH_MIMALLOC && bytes >= MAPPED_BYTES_MIN;
}

static void *map(size_t bytes)
{
    if (bytes > BYTES_MAX || is_to_fail()) {
        return NULL;
    }
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages != MAP_FAILED ? pages : NULL;
}

static void count_one(struct weir_heap *heap)
{
    if (heap != NULL) {
        /* One writer, so no read-modify-write. */
        uint64_t cnt = atomic_load_explicit(&heap->alloc_cnt, memory_order_relaxed);
        atomic_store_explicit(&heap->alloc_cnt, cnt + 1, memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&process_alloc_cnt, 1, memory_order_relaxed);
    }
}

static void *allocate_counted(struct weir_heap *heap, size_t bytes, bool is_zeroed)
{
    WEIR_DCHECK(heap == NULL || weir_thread_is(heap->thread));
    void *block = allocate(heap != NULL ? heap->mi : NULL, bytes, is_zeroed);
    if (block != NULL) {
        count_one(heap);
    }
    return block;
}

struct weir_heap *weir_heap_create(void)
{
    struct weir_heap *heap = weir_heap_alloc(NULL, sizeof(*heap));
    if (heap == NULL) {
        return NULL;
    }
    heap->thread = weir_thread_id();
#if WITH_MIMALLOC
    heap->mi = mi_heap_new();
    if (heap->mi == NULL) {
        weir_heap_release(heap);
        return NULL;
    }
#endif
    return heap;
}

void weir_heap_free(struct weir_heap *heap)
{
    if (heap == NULL) {
        return;
    }
#if WITH_MIMALLOC
    /* Hands the blocks that live on to the thread's own heap. Only the thread that made it may;
     * when another one ends the heap, mimalloc does the same by itself at the end of the making
     * thread (and has done it already if that has ended, so `mi` may dangle here). */
    if (weir_thread_is(heap->thread)) {
        /* What is empty goes back first: handed over, it would serve nobody but the thread's own heap, and a process
         * that makes nodes one after the other would grow by what each had kept. */
        mi_heap_collect(heap->mi, true);
        mi_heap_delete(heap->mi);
    }
#endif
    weir_heap_release(heap);
}

void *weir_heap_alloc(struct weir_heap *heap, size_t bytes)
{
    return allocate_counted(heap, bytes, true);
}

void *weir_heap_alloc_raw(struct weir_heap *heap, size_t bytes)
{
    return allocate_counted(heap, bytes, false);
}

void *weir_heap_alloc_table(struct weir_heap *heap, size_t bytes)
{
    if (!is_mapped(bytes)) {
        return allocate_counted(heap, bytes, true);
    }
    WEIR_DCHECK(heap == NULL || weir_thread_is(heap->thread));
    void *table = map(bytes);
    if (table != NULL) {
        count_one(heap);
    }
    return table;
}

void weir_heap_release_table(void *table, size_t bytes)
{
    if (table == NULL) {
        return;
    }
    if (!is_mapped(bytes)) {
        weir_heap_release(table);
        return;
    }
    /* Fails where the process has as many mappings as the kernel allows and these pages lie in the middle of one:
     * then at least the memory goes back, and the address space stays taken. */
    if (munmap(table, bytes) != 0) {
        (void)madvise(table, bytes, MADV_DONTNEED);
    }
}

void weir_heap_release(void *block)
{
#if WITH_MIMALLOC
    mi_free(block);
#else
    free(block);
#endif
}

uint64_t weir_heap_alloc_cnt(const struct weir_heap *heap)
{
    return atomic_load_explicit(heap != NULL ? &heap->alloc_cnt : &process_alloc_cnt,
                                memory_order_relaxed);
}

void weir_heap_fail_nth(uint64_t n)
{
    atomic_store_explicit(&fail_countdown, n, memory_order_relaxed);
}
