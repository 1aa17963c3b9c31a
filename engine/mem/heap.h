/* engine/mem/heap.h: the one door to the allocator (mimalloc; libc's with WEIR_MALLOC_LIBC).
 *
 * A heap belongs to the thread that makes it: only that thread allocates from it, any thread frees.
 * Every allocation is counted, so that a test can show that the steady state makes none.
 */
#ifndef WEIR_ENGINE_MEM_HEAP_H
#define WEIR_ENGINE_MEM_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct weir_heap;

/* Makes a heap for the calling thread; NULL when memory is short. */
struct weir_heap *weir_heap_create(void);

/* Ends a heap; its blocks stay valid and can still be freed. Any thread; NULL is fine. */
void weir_heap_free(struct weir_heap *heap);

/* Zeroed memory, aligned to 64 bytes; NULL when short. `heap` NULL: the process's, any thread. */
void *weir_heap_alloc(struct weir_heap *heap, size_t bytes);

/* The same, not zeroed. */
void *weir_heap_alloc_raw(struct weir_heap *heap, size_t bytes);

/* The same as weir_heap_alloc for a table that is sized by a limit and may never be full: what is not written
 * takes no memory, only address space, because a large one comes from the kernel as pages that are zero when they
 * are first touched. (An allocator's zeroed block may be written as a whole, and then all of it is resident.)
 * Owns: the caller, until weir_heap_release_table, which wants the same size. */
void *weir_heap_alloc_table(struct weir_heap *heap, size_t bytes);

/* Frees a table; any thread; NULL is fine. */
void weir_heap_release_table(void *table, size_t bytes);

/* Frees a block of any heap; any thread; NULL is fine. */
void weir_heap_release(void *block);

/* Allocations made from this heap so far (atomic, any thread); for NULL: outside of all heaps. */
uint64_t weir_heap_alloc_cnt(const struct weir_heap *heap);

/* Tests only: the n-th allocation from now on (1 is the next), of any heap, fails; 0 turns it off. */
void weir_heap_fail_nth(uint64_t n);

#endif
