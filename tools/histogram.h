/* histogram.h: a log-linear histogram of times, as plain memory.
 *
 * Every power of two is cut into 32 equal steps, so a value read back is at most 3 % too large. A
 * histogram of zeroes is an empty one, and two are merged by adding; it may live in memory that is
 * shared between processes.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS 32u
#define HISTOGRAM_BUCKETS (60u * HISTOGRAM_STEPS)

struct histogram {
    uint64_t cnt;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_bucket(uint64_t value)
{
    if (value < HISTOGRAM_STEPS)
        return (uint32_t)value;
    uint32_t shift = 58u - (uint32_t)__builtin_clzll(value); /* 0 for 32 .. 63 */
    return (shift + 1) * HISTOGRAM_STEPS + (uint32_t)(value >> shift) - HISTOGRAM_STEPS;
}

/* The largest value that falls into a bucket. */
static inline uint64_t histogram_value(uint32_t bucket)
{
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    uint32_t shift = bucket / HISTOGRAM_STEPS - 1;
    uint64_t step = bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS;
    return ((step + 1) << shift) - 1;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->cnt++;
    histogram->buckets[histogram_bucket(value)]++;
    if (value > histogram->max)
        histogram->max = value;
}

static inline void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    histogram->cnt += other->cnt;
    if (other->max > histogram->max)
        histogram->max = other->max;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        histogram->buckets[i] += other->buckets[i];
}

/* The value that `fraction` (0 to 1) of all values do not exceed; 0 of an empty histogram. */
static inline uint64_t histogram_quantile(const struct histogram *histogram, double fraction)
{
    uint64_t rank = (uint64_t)(fraction * (double)histogram->cnt);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > rank || (seen == histogram->cnt && seen > 0)) {
            uint64_t value = histogram_value(i);
            return value < histogram->max ? value : histogram->max;
        }
    }
    return 0;
}

#endif
