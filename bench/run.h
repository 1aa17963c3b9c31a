/* bench/run.h: one run: two processes, pinned, watched until both are done. */
#ifndef WEIR_BENCH_RUN_H
#define WEIR_BENCH_RUN_H

#include "bench/bench.h"

/* The processors of the two sides; equal when the process may use only one. */
struct bench_cpus {
    int sender, receiver;
    int cnt;      /* how many the process may use */
    int niceness; /* of both sides */
};

void bench_cpus_choose(struct bench_cpus *ret_cpus);

/* Runs `impl` once and leaves what both sides wrote in *ret_shared, which the caller unmaps with
 * bench_run_free(). On failure `ret_text` says which side failed and why.
 * Returns BENCH_OK, BENCH_E_RUN or BENCH_E_ENVIRONMENT. */
enum bench_status bench_run_once(const struct bench_impl *impl, const struct bench_job *job,
                                 const struct bench_cpus *cpus, struct bench_shared **ret_shared,
                                 char *ret_text, size_t text_len);

void bench_run_free(struct bench_shared *shared);

#endif
