/* bench/report.h: all that was found, and its two forms. */
#ifndef WEIR_BENCH_REPORT_H
#define WEIR_BENCH_REPORT_H

#include "bench/cases.h"
#include "bench/machine.h"
#include "bench/options.h"
#include "bench/run.h"

/* weir's main figure divided by a rival's, of runs that stood next to each other. */
struct bench_ratio {
    const struct bench_impl *rival;
    double median, least, most;
};

/* One implementation at one point: a size and a count. */
struct bench_result {
    const struct bench_impl *impl;
    uint32_t size, count;
    bool is_skipped;            /* the implementation does not do this size */
    struct bench_figures *runs; /* one for each repeat */
    struct bench_summary summary;
    uint64_t msgs_sent, msgs_received, seq_errors; /* of all repeats, from the first message on */
    struct bench_ratio ratios[BENCH_IMPLS_MAX];    /* weir's result only */
    uint32_t ratio_cnt;
    struct bench_histogram
        *latencies; /* two, of all repeats: latency and latency_call; may be NULL */
};

struct bench_report {
    const struct bench_options *options;
    const struct bench_job *job; /* but for what bench_case_prepare() sets for a point */
    struct bench_machine machine;
    struct bench_cpus cpus;
    struct bench_result *results; /* count by count, size by size, at each point impl by impl */
    uint32_t result_cnt;
};

void bench_table_print(const struct bench_report *report);

/* Returns 0, or -1 when the document could not be written. */
int bench_json_print(const struct bench_report *report);

#endif
