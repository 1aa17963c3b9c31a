#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

Test(heap, tables_are_zeroed_counted_and_refused_as_blocks_are)
{
    static const size_t table_sizes[] = {0, 1, 640, 16383, 16384, 100000, 5 << 20};
    struct weir_heap *heap = weir_heap_create();
    uint64_t own_cnt = 0;
    for (size_t i = 0; i < sizeof(table_sizes) / sizeof(table_sizes[0]); ++i) {
        size_t bytes = table_sizes[i];
        for (int round = 0; round < 3; ++round) {
            struct weir_heap *from = round == 1 ? NULL : heap;
            uint64_t before = weir_heap_alloc_cnt(NULL);
            own_cnt += from != NULL;
            uint8_t *table = weir_heap_alloc_table(from, bytes);
            cr_assert_not_null(table);
            cr_assert_eq((uintptr_t)table % 64, 0, "%zu bytes", bytes);
            cr_assert(is_zero(table, bytes), "%zu bytes", bytes);
            cr_assert_eq(weir_heap_alloc_cnt(heap), own_cnt);
            cr_assert_eq(weir_heap_alloc_cnt(NULL), before + (from == NULL));
            memset(table, 0x5A, bytes);
            weir_heap_release_table(table, bytes);
        }
        for (uint64_t n = 1; n <= 2; ++n) {
            weir_heap_fail_nth(n);
            void *first = weir_heap_alloc_table(heap, bytes);
            void *second = weir_heap_alloc_table(NULL, bytes);
            cr_assert_eq(first == NULL, n == 1, "%zu bytes", bytes);
            cr_assert_eq(second == NULL, n == 2, "%zu bytes", bytes);
            own_cnt += first != NULL;
            weir_heap_release_table(first, bytes);
            weir_heap_release_table(second, bytes);
        }
    }
    cr_assert_null(weir_heap_alloc_table(heap, SIZE_MAX));
    cr_assert_null(weir_heap_alloc_table(NULL, SIZE_MAX - 63));
    cr_assert_eq(weir_heap_alloc_cnt(heap), own_cnt, "what was refused does not count");
    weir_heap_release_table(NULL, 1 << 20);
    weir_heap_free(heap);
}

static void *release_table(void *arg)
{
    weir_heap_release_table(arg, 1 << 20);
    return NULL;
}

Test(heap, a_table_outlives_its_heap_and_any_thread_releases_it)
{
    struct weir_heap *heap = weir_heap_create();
    uint8_t *table = weir_heap_alloc_table(heap, 1 << 20);
    table[12345] = 7;
    weir_heap_free(heap);
    cr_assert_eq(table[12345], 7);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, release_table, table), 0);
    pthread_join(thread, NULL);
}

#if !defined(WEIR_MALLOC_LIBC) || !WEIR_MALLOC_LIBC
static uint32_t resident_cnt(void *table, size_t bytes, size_t page)
{
    static unsigned char pages[4096];
    uint32_t cnt = 0;
    cr_assert(bytes / page <= sizeof(pages));
    cr_assert_eq(mincore(table, bytes, pages), 0);
    for (size_t i = 0; i < bytes / page; ++i)
        cnt += pages[i] & 1;
    return cnt;
}

/* Fails with an allocator's own zeroed blocks where it clears them by writing. */
Test(heap, what_is_not_written_of_a_table_is_not_resident)
{
    const size_t bytes = 8 << 20, page = (size_t)sysconf(_SC_PAGESIZE);
    for (int round = 0; round < 3; ++round) { /* memory that was used before is no exception */
        uint8_t *table = weir_heap_alloc_table(NULL, bytes);
        cr_assert_not_null(table);
        cr_assert_eq(resident_cnt(table, bytes, page), 0);
        table[bytes / 2] = 1; /* one page, or a huge one */
        uint32_t cnt = resident_cnt(table, bytes, page);
        cr_assert(cnt >= 1 && cnt <= bytes / page / 2, "%u", cnt);
        memset(table, 1, bytes);
        weir_heap_release_table(table, bytes);
    }
}
#endif
