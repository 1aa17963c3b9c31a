/* bench/figures.h: the numbers that one run gives, and their medians and spread over the
 * repeats. */
#ifndef WEIR_BENCH_FIGURES_H
#define WEIR_BENCH_FIGURES_H

#include <math.h>

#include "bench/bench.h"

/* Each is described, with how it is measured, in docs/bench.md under the name given in
 * figures.c. */
enum bench_figure {
    FIG_MSGS_PER_S,
    FIG_BYTES_PER_S,
    FIG_P50_NS,
    FIG_P90_NS,
    FIG_P99_NS,
    FIG_P999_NS,
    FIG_P9999_NS,
    FIG_MIN_NS,
    FIG_MAX_NS,
    FIG_SAMPLES,
    FIG_UNSENT,
    FIG_CALL_P50_NS,
    FIG_CALL_P99_NS,
    FIG_BULK_BYTES_PER_S,
    FIG_BULK_ALONE_BYTES_PER_S,
    FIG_BULK_RATIO,
    FIG_SHARE_ERROR,
    FIG_CPU_S_PER_GB,
    FIG_CPU_S_PER_MMSG,
    FIG_SENDER_CPU,
    FIG_RECEIVER_CPU,
    FIG_PREEMPTED_PER_S,
    FIG_WAITED_MS_PER_S,
    FIG_SENDER_SYSCALLS_PER_MSG,
    FIG_RECEIVER_SYSCALLS_PER_MSG,
    FIG_SENDER_TURNS_PER_MSG,
    FIG_RECEIVER_TURNS_PER_MSG,
    FIG_CREDIT_STALLS_PER_S,
    FIG_SENDER_CQES_PER_MSG,
    FIG_RECEIVER_CQES_PER_MSG,
    FIG_SENDER_SYSCALLS_PER_TURN,
    FIG_RECEIVER_SYSCALLS_PER_TURN,
    FIG_SENDER_CPU_S_PER_MMSG,
    FIG_RECEIVER_CPU_S_PER_MMSG,
    FIG_SILENCE_NS,
    FIG_SILENCE_ALONE_NS,
    FIG_OTHERS_KEPT,
    FIG_ALL_KEPT,
    FIG_CONNS_PER_S,
    FIG_SENDER_IDLE_BYTES,
    FIG_RECEIVER_IDLE_BYTES,
    FIG_SEND_SHARD_NS,
    FIG_SEND_THREAD_NS,
    FIG_SEND_LONE_NS,
    FIG_VERIFY_NS,
    FIG_ENCODE_NS,
    FIG_DECODE_NS,
    FIG_SCHEDULE_NS,
    FIG_MAILBOX_NS,
    FIG_P50_ALONE_NS,
    FIG_P99_ALONE_NS,
    FIG_P99_RATIO,
    FIG_HANDSHAKES_PER_S,
    FIG_HANDSHAKES_PER_CPU_S,
    FIG_HANDSHAKES_ALONE_PER_CPU_S,
    FIG_COOKIES_PER_S,
    FIG_NEWCOMERS_PER_S,
    FIG_SHARE_PERCENT,                                                /* one for each channel */
    FIG_CHANNEL_BYTES_PER_S = FIG_SHARE_PERCENT + BENCH_CHANNELS_MAX, /* one for each channel */
    FIG_CNT = FIG_CHANNEL_BYTES_PER_S + BENCH_CHANNELS_MAX,
};
#define FIG_NAMED_CNT FIG_SHARE_PERCENT

/* The names in the JSON document. */
extern const char *const bench_figure_names[FIG_NAMED_CNT];

/* Is less better? */
bool bench_figure_is_less_better(enum bench_figure figure);

/* NAN: the case does not have this figure. */
struct bench_figures {
    double v[FIG_CNT];
};

struct bench_summary {
    double median[FIG_CNT], least[FIG_CNT], most[FIG_CNT];
};

/* Percent of the bytes that channel `idx` ought to get. */
double bench_share_due(const struct bench_job *job, uint32_t idx);

/* The figures of a run that did not take place. */
void bench_figures_none(struct bench_figures *ret_figures);

/* Works out one run's figures from the marks of its sides. */
void bench_figures_of(const struct bench_job *job, const struct bench_shared *shared,
                      struct bench_figures *ret_figures);

/* The median of `cnt` values, which are put in order. */
double bench_median(double *values, uint32_t cnt);

void bench_summarize(const struct bench_figures *runs, uint32_t run_cnt,
                     struct bench_summary *ret_summary);

#endif
