/* bench/cases.h: what is known of each case before it runs: its words, its defaults, its figure. */
#ifndef WEIR_BENCH_CASES_H
#define WEIR_BENCH_CASES_H

#include "bench/figures.h"

/* What a case varies besides the size of a message. */
enum bench_axis { BENCH_AXIS_NONE, BENCH_AXIS_CONNECTIONS, BENCH_AXIS_PEERS, BENCH_AXIS_SHARDS };

struct bench_case_facts {
    const char *sizes, *counts, *channels; /* defaults, as the options take them; NULL: none */
    const char *against;
    double seconds;
    enum bench_axis axis;
    uint32_t count_max;
    uint32_t size_min, size_max; /* 0: 1 and BENCH_SIZE_MAX */
    bool is_secure;              /* weir encrypts, unless --transport says otherwise */
    enum bench_figure main;      /* what implementations are compared by */
};

extern const struct bench_case_facts bench_cases[BENCH_CASE_CNT];

/* The option and the JSON field of an axis, and one of its kind: "connections". */
extern const char *const bench_axis_names[4];

/* Fills in what follows from the case, the seconds and the point (`count` on the case's axis). */
void bench_case_prepare(struct bench_job *job, double seconds, uint32_t count);

#endif
