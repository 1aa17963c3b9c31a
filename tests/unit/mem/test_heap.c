#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "engine/mem/heap.h"

static bool is_zero(const uint8_t *block, size_t bytes)
{
    for (size_t i = 0; i < bytes; ++i) {
        if (block[i] != 0) {
            return false;
        }
    }
    return true;
}

static const size_t sizes[] = {0,    1,    63,   64,    65,      192,
                               1000, 1216, 4288, 65728, 1 << 20, (1 << 24) + 192};
#define SIZE_CNT (sizeof(sizes) / sizeof(sizes[0]))

static void check_blocks(struct weir_heap *heap)
{
    uint8_t *blocks[SIZE_CNT];
    for (int round = 0; round < 3; ++round) {
        uint64_t before = weir_heap_alloc_cnt(heap);
        for (size_t i = 0; i < SIZE_CNT; ++i) {
            blocks[i] =
                round == 1 ? weir_heap_alloc_raw(heap, sizes[i]) : weir_heap_alloc(heap, sizes[i]);
            cr_assert_not_null(blocks[i]);
            cr_assert_eq((uintptr_t)blocks[i] % 64, 0, "%zu bytes", sizes[i]);
            cr_assert(round == 1 || is_zero(blocks[i], sizes[i]), "%zu bytes", sizes[i]);
            memset(blocks[i], 0x5A, sizes[i]);
        }
        cr_assert_eq(weir_heap_alloc_cnt(heap), before + SIZE_CNT);
        for (size_t i = 0; i < SIZE_CNT; ++i) {
            for (size_t at = 0; at < sizes[i]; at += 61) {
                cr_assert_eq(blocks[i][at], 0x5A); /* blocks do not overlap */
            }
            weir_heap_release(blocks[i]);
        }
    }
}

Test(heap, blocks_are_aligned_zeroed_and_counted)
{
    struct weir_heap *heap = weir_heap_create();
    cr_assert_not_null(heap);
    cr_assert_eq(weir_heap_alloc_cnt(heap), 0);
    check_blocks(heap);
    check_blocks(NULL);
    cr_assert_eq(weir_heap_alloc_cnt(heap), 3 * SIZE_CNT,
                 "the process's blocks are not the heap's");
    weir_heap_free(heap);
    weir_heap_free(NULL);
    weir_heap_release(NULL);
}

Test(heap, an_impossible_size_is_refused)
{
    struct weir_heap *heap = weir_heap_create();
    cr_assert_null(weir_heap_alloc(heap, SIZE_MAX));
    cr_assert_null(weir_heap_alloc(NULL, SIZE_MAX - 63));
    cr_assert_null(weir_heap_alloc_raw(heap, PTRDIFF_MAX));
    cr_assert_eq(weir_heap_alloc_cnt(heap), 0);
    weir_heap_free(heap);
}

Test(heap, blocks_outlive_their_heap)
{
    struct weir_heap *heap = weir_heap_create();
    uint8_t *blocks[50];
    for (size_t i = 0; i < 50; ++i) {
        blocks[i] = weir_heap_alloc(heap, 100 * i + 1);
        blocks[i][100 * i] = (uint8_t)i;
    }
    weir_heap_free(heap);
    heap = weir_heap_create();
    uint8_t *other = weir_heap_alloc(heap, 5000);
    memset(other, 0xFF, 5000);
    for (size_t i = 0; i < 50; ++i) {
        cr_assert_eq(blocks[i][100 * i], (uint8_t)i);
        weir_heap_release(blocks[i]);
    }
    weir_heap_release(other);
    weir_heap_free(heap);
}

struct handover {
    struct weir_heap *heap;
    uint8_t *block;
};

static void *make_heap_and_end(void *arg)
{
    struct handover *handover = arg;
    handover->heap = weir_heap_create();
    handover->block = weir_heap_alloc(handover->heap, 3000);
    memset(handover->block, 7, 3000);
    return NULL;
}

static void *release_block(void *arg)
{
    weir_heap_release(arg);
    return NULL;
}

Test(heap, any_thread_ends_a_heap_and_frees_its_blocks)
{
    for (int i = 0; i < 20; ++i) {
        struct handover handover;
        pthread_t thread;
        /* Threads that end reuse each other's pthread_t: none may pass for the heap's own. */
        cr_assert_eq(pthread_create(&thread, NULL, make_heap_and_end, &handover), 0);
        pthread_join(thread, NULL);
        cr_assert_eq(handover.block[2999], 7);
        weir_heap_free(handover.heap);
        weir_heap_release(handover.block);
    }
    struct weir_heap *heap = weir_heap_create();
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, release_block, weir_heap_alloc(heap, 100)), 0);
    pthread_join(thread, NULL);
    weir_heap_free(heap);
}

Test(heap, the_nth_allocation_fails_and_only_that)
{
    struct weir_heap *heap = weir_heap_create();
    for (uint64_t n = 1; n <= 5; ++n) {
        weir_heap_fail_nth(n);
        for (uint64_t i = 1; i <= 7; ++i) {
            void *block = weir_heap_alloc(i % 2 == 0 ? heap : NULL, 100);
            cr_assert_eq(block == NULL, i == n, "n %d, i %d", (int)n, (int)i);
            weir_heap_release(block);
        }
    }
    weir_heap_fail_nth(1);
    cr_assert_null(weir_heap_create());
    weir_heap_fail_nth(1);
    weir_heap_fail_nth(0);
    void *block = weir_heap_alloc_raw(heap, 1);
    cr_assert_not_null(block);
    weir_heap_release(block);
    weir_heap_free(heap);
}
