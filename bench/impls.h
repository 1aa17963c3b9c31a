/* bench/impls.h: which implementations this build has, and which it could have. */
#ifndef WEIR_BENCH_IMPLS_H
#define WEIR_BENCH_IMPLS_H

#include "bench/bench.h"

/* The rival of that name; NULL: this build has none. */
const struct bench_impl *bench_impl_find(const char *name);

/* The package that a rival needs which this build was made without; NULL: there is no such rival. */
const char *bench_impl_package(const char *name);

/* Whether the program that a rival is can be found; looked for each time. */
bool bench_impl_is_installed(const struct bench_impl *impl);

/* Prints the cases and the implementations, for people; bench_list_print() is for programs. */
void bench_impls_print(void);

#endif
