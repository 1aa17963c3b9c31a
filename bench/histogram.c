#include "bench/histogram.h"

#define STEPS BENCH_HISTOGRAM_STEPS
#define STEP_BITS 6u
_Static_assert(STEPS == 1u << STEP_BITS, "as many steps as the bits say");

/* Values below 64 have a cell each. Above, a value with its highest bit at position b goes by that
 * bit and the six bits behind it: octave b - 6, step value >> (b - 6), which is 64 .. 127. */
static uint32_t cell_of(uint64_t value)
{
    if (value < STEPS)
        return (uint32_t)value;
    uint32_t octave = 63u - (uint32_t)__builtin_clzll(value) - STEP_BITS;

    return octave * STEPS + (uint32_t)(value >> octave);
}

uint64_t bench_histogram_value(uint32_t cell)
{
    if (cell < 2 * STEPS)
        return cell;
    uint32_t octave = cell / STEPS - 1;
    uint64_t low = (uint64_t)(cell - octave * STEPS) << octave;

    return low + ((UINT64_C(1) << octave) >> 1);
}

void bench_histogram_add(struct bench_histogram *histogram, uint64_t value)
{
    if (histogram->cnt == 0 || value < histogram->least)
        histogram->least = value;
    if (histogram->cnt == 0 || value > histogram->greatest)
        histogram->greatest = value;
    histogram->cnt++;
    histogram->sum += value;
    histogram->cells[cell_of(value)]++;
}

uint64_t bench_histogram_at(const struct bench_histogram *histogram, double share)
{
    if (histogram->cnt == 0)
        return 0;

    /* The rank is rounded up: of 10 values, p99 is the tenth, not the ninth. */
    double exact = share * (double)histogram->cnt;
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact || rank == 0)
        rank++;
    if (rank >= histogram->cnt)
        return histogram->greatest;

    uint64_t seen = 0;
    for (uint32_t cell = 0; cell < BENCH_HISTOGRAM_CNT; cell++) {
        seen += histogram->cells[cell];
        if (seen < rank)
            continue;
        uint64_t value = bench_histogram_value(cell);
        if (value < histogram->least)
            return histogram->least;
        return value < histogram->greatest ? value : histogram->greatest;
    }
    return histogram->greatest;
}

void bench_histogram_merge(struct bench_histogram *histogram, const struct bench_histogram *other)
{
    if (other->cnt == 0)
        return;
    if (histogram->cnt == 0 || other->least < histogram->least)
        histogram->least = other->least;
    if (histogram->cnt == 0 || other->greatest > histogram->greatest)
        histogram->greatest = other->greatest;
    histogram->cnt += other->cnt;
    histogram->sum += other->sum;
    for (uint32_t cell = 0; cell < BENCH_HISTOGRAM_CNT; cell++)
        histogram->cells[cell] += other->cells[cell];
}
