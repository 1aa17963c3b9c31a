/* bench/histogram.h: a log-linear histogram of nanoseconds: 64 steps in each power of two.
 *
 * A value is off by less than 1/64 of itself (1.6 %), whatever its size; least and greatest are
 * exact. It is plain memory of a fixed size, so it can live in a page that two processes share.
 */
#ifndef WEIR_BENCH_HISTOGRAM_H
#define WEIR_BENCH_HISTOGRAM_H

#include <stdint.h>

#define BENCH_HISTOGRAM_STEPS 64u /* a power of two */
#define BENCH_HISTOGRAM_CNT (BENCH_HISTOGRAM_STEPS * 59u)

struct bench_histogram {
    uint64_t cnt, least, greatest; /* least and greatest: undefined while cnt is 0 */
    uint64_t sum;
    uint64_t cells[BENCH_HISTOGRAM_CNT];
};

void bench_histogram_add(struct bench_histogram *histogram, uint64_t value);

/* Returns the value below or at which `share` (0 .. 1) of all values are; 0 when there are none. */
uint64_t bench_histogram_at(const struct bench_histogram *histogram, double share);

/* Adds all of `other`. */
void bench_histogram_merge(struct bench_histogram *histogram, const struct bench_histogram *other);

/* The middle of a cell. */
uint64_t bench_histogram_value(uint32_t cell);

#endif
