/* bench/options.h: the command line. */
#ifndef WEIR_BENCH_OPTIONS_H
#define WEIR_BENCH_OPTIONS_H

#include "bench/bench.h"

#define BENCH_SIZES_MAX 32u
#define BENCH_IMPLS_MAX 16u
#define BENCH_COUNTS_MAX 16u
#define BENCH_REPEAT_MAX 999u

struct bench_options {
    enum bench_case which;
    uint32_t sizes[BENCH_SIZES_MAX];
    uint32_t size_cnt;
    uint32_t counts[BENCH_COUNTS_MAX]; /* on the case's axis; 1 where it has none */
    uint32_t count_cnt;
    double seconds;
    uint32_t repeat;
    const struct bench_impl
        *subject; /* weir, by the transport that was asked for: the others are its rivals */
    const struct bench_impl *impls[BENCH_IMPLS_MAX]; /* in the order in which they run */
    uint32_t impl_cnt;
    struct bench_channel channels[BENCH_CHANNELS_MAX];
    uint32_t channel_cnt;
    const char *congestion; /* "system" for the system's own */
    bool is_congestion_default;
    uint32_t recv_buffer;      /* 0: the system's autotuning */
    uint32_t rate;             /* messages a second, in `rate` */
    const char *histogram_dir; /* NULL: none are written */
    bool is_json, is_busy, is_mixed;
};

/* Sets everything that `options->which` has a default for. */
bool bench_options_default(struct bench_options *options);

/* list_out.c: prints the cases and implementations as one JSON document. Returns 0, or -1. */
int bench_list_print(void);

enum bench_parsed { BENCH_GO, BENCH_STOP_OK, BENCH_STOP_USAGE };

/* Reads the command line. Prints help, a list or what is wrong and then says to stop. */
enum bench_parsed bench_options_parse(struct bench_options *ret_options, int argc, char **argv);

#endif
