/* bench/histogram_out.h: a histogram as the percentile table that HdrHistogram's tools print and read. */
#ifndef WEIR_BENCH_HISTOGRAM_OUT_H
#define WEIR_BENCH_HISTOGRAM_OUT_H

#include <stdio.h>

#include "bench/report.h"

/* Writes `histogram` in nanoseconds: lines of value, percentile, count so far and 1 / (1 - percentile),
 * five for each halving of what is left, and three lines of sums that begin with '#'. */
void bench_histogram_print(const struct bench_histogram *histogram, FILE *file);

/* Writes the histograms of every result to DIR/<case>-<size>[-<count>]-<impl>.hgrm and, where there are
 * two, the second to ...-from-call.hgrm (`wake`: ...-alone.hgrm); makes DIR if it is not there. A case that knows nothing of
 * latency writes nothing. Returns 0, or -1 and says on standard error which file could not be written. */
int bench_histograms_write(const struct bench_report *report, const char *dir);

#endif
