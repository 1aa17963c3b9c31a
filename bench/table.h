/* bench/table.h: the table's columns. */
#ifndef WEIR_BENCH_TABLE_H
#define WEIR_BENCH_TABLE_H

#include "bench/figures.h"

/* A figure, what it is divided by, how many digits behind the point. */
struct bench_column {
    enum bench_figure figure;
    const char *title; /* NULL: the end */
    double unit;
    int digits;
    bool has_spread;
};

extern const struct bench_column *const bench_columns[BENCH_CASE_CNT];

#endif
