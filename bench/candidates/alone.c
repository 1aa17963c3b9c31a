/* bench/candidates/alone.c: what needs no socket: hashing in batches, and what the machine takes away. */
#include "bench/candidates/json_out.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"

/* ---- hashing: one after the other, or a batch that prefetches the next ------------------------ */

#define POOL_BYTES (size_t)(64 * 1024 * KIB)
#define BATCH 64u

/* Nanoseconds a frame, frames taken from `area` bytes in an order that no prefetcher of the processor guesses. */
static double hash_ns(uint8_t *pool, size_t area, uint32_t len, bool is_batch)
{
    const struct weir_hash_ops *ops = weir_hash_ops();
    const size_t place_cnt = area / len;
    struct weir_hash_job jobs[BATCH];
    uint64_t at = 1, sum = 0, cnt = 0;
    double begin = now_s(), end = begin + 0.05, now;

    do {
        for (uint32_t i = 0; i < BATCH; i++) {
            at = at * 6364136223846793005u + 1442695040888963407u;
            jobs[i] =
                (struct weir_hash_job){.data = pool + ((at >> 33) % place_cnt) * len, .len = len};
        }
        if (is_batch)
            ops->xxh3_batch(jobs, BATCH);
        else
            for (uint32_t i = 0; i < BATCH; i++)
                jobs[i].ret_hash = ops->xxh3(jobs[i].data, jobs[i].len, 0);
        for (uint32_t i = 0; i < BATCH; i++)
            sum += jobs[i].ret_hash;
        cnt += BATCH;
    } while ((now = now_s()) < end);
    __asm__ volatile("" : : "r"(sum));
    return (now - begin) * 1e9 / (double)cnt;
}

int hash_compare(int repeat, json_t *results)
{
    static const uint32_t sizes[] = {64, 256, 1024, 4096, 16384, 65536};
    static const size_t areas[] = {256 * KIB, POOL_BYTES};
    uint8_t *pool = aligned_alloc(4096, POOL_BYTES);
    double *each = calloc((size_t)repeat * 2, sizeof(*each)), *batch = each + repeat;

    if (pool == NULL || each == NULL)
        return 1;
    memset(pool, 0x5a, POOL_BYTES);
    printf("XXH3-64 (%s), ns a frame, medians of %d; batches of %u\n", weir_hash_ops()->name,
           repeat, BATCH);
    printf("%10s %10s %12s %12s %8s\n", "frame", "in", "one by one", "batch", "ratio");
    for (size_t area = 0; area < 2; area++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (int j = 0; j < repeat; j++) {
                each[j] = hash_ns(pool, areas[area], sizes[i], false);
                batch[j] = hash_ns(pool, areas[area], sizes[i], true);
            }
            double one_ns = median(each, repeat), batch_ns = median(batch, repeat);
            printf("%10u %6zu KiB %12.1f %12.1f %8.2f\n", sizes[i], areas[area] / KIB, one_ns,
                   batch_ns, one_ns / batch_ns);
            json_t *result = json_pack("{s:I, s:I}", "frame_bytes", (json_int_t)sizes[i],
                                       "area_bytes", (json_int_t)areas[area]);
            json_add(result, "one_ns", each, repeat, 1);
            json_add(result, "batch_ns", batch, repeat, 1);
            json_array_append_new(results, result);
        }
    free(each);
    free(pool);
    return 0;
}

/* ---- gaps: a loop that only looks at the clock --------------------------------------------------- */

static const double gap_limits_us[] = {100, 300, 1000, 2000};
#define LIMIT_CNT (sizeof(gap_limits_us) / sizeof(gap_limits_us[0]))

struct watch {
    int cpu;
    double seconds, longest_us, lost_s;
    uint32_t counts[LIMIT_CNT];
};

static void *watch_clock(void *ctx)
{
    struct watch *watch = ctx;
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET((size_t)watch->cpu, &cpus);
    sched_setaffinity(0, sizeof(cpus), &cpus);
    double begin = now_s(), last = begin;
    while (last - begin < watch->seconds) {
        double now = now_s(), gap_us = (now - last) * 1e6;
        watch->longest_us = gap_us > watch->longest_us ? gap_us : watch->longest_us;
        for (size_t i = 0; i < LIMIT_CNT; i++)
            watch->counts[i] += gap_us > gap_limits_us[i];
        watch->lost_s += gap_us > 10 ? gap_us * 1e-6 : 0;
        last = now;
    }
    watch->seconds = last - begin; /* the last gap may have been a long one */
    return NULL;
}

int gaps_show(double seconds, json_t *results)
{
    struct watch watches[2] = {{0}};
    pthread_t threads[2];
    cpu_set_t cpus;
    int cnt = 0;

    sched_getaffinity(0, sizeof(cpus), &cpus);
    for (int cpu = 0; cpu < CPU_SETSIZE && cnt < 2; cpu++)
        if (CPU_ISSET((size_t)cpu, &cpus))
            watches[cnt++] = (struct watch){.cpu = cpu, .seconds = seconds};
    for (int i = 0; i < cnt; i++)
        if (pthread_create(&threads[i], NULL, watch_clock, &watches[i]) != 0)
            return 1;
    printf("%6s %14s %10s  gaps above:", "CPU", "longest gap", "lost");
    for (size_t i = 0; i < LIMIT_CNT; i++)
        printf(" %4.1f ms", gap_limits_us[i] / 1e3);
    printf("\n");
    for (int i = 0; i < cnt; i++) {
        pthread_join(threads[i], NULL);
        printf("%6d %11.0f us %8.2f %%              ", watches[i].cpu, watches[i].longest_us,
               100 * watches[i].lost_s / watches[i].seconds);
        for (size_t j = 0; j < LIMIT_CNT; j++)
            printf(" %7u", watches[i].counts[j]);
        printf("\n");
        json_t *above = json_array();
        for (size_t j = 0; j < LIMIT_CNT; j++)
            json_array_append_new(above, json_pack("{s:f, s:i}", "above_ns", gap_limits_us[j] * 1e3,
                                                   "gaps", (int)watches[i].counts[j]));
        json_array_append_new(
            results, json_pack("{s:i, s:f, s:f, s:o}", "cpu_idx", watches[i].cpu, "longest_ns",
                               watches[i].longest_us * 1e3, "lost_percent",
                               100 * watches[i].lost_s / watches[i].seconds, "gaps_above", above));
    }
    return 0;
}
