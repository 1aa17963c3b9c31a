/* tests/fuzz/shim: stands in for Criterion, so that the helpers of tests/unit serve the fuzz targets: a
 * claim that does not hold ends the process, and the fuzzer keeps the input. */
#ifndef WEIR_TESTS_FUZZ_SHIM_CRITERION_H
#define WEIR_TESTS_FUZZ_SHIM_CRITERION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline void shim_check(bool is_true, const char *where, const char *what, const char *format,
                              ...)
{
    (void)format;
    if (is_true)
        return;
    dprintf(2, "%s: does not hold: %s\n", where, what);
    abort();
}

#define SHIM_TEXT_(number) #number
#define SHIM_TEXT(number) SHIM_TEXT_(number)
#define SHIM_WHERE __FILE__ ":" SHIM_TEXT(__LINE__)
/* The empty text in front lets a claim come without a message; what is formatted is not printed, but
 * counts as used. */
#define cr_assert(claim, ...) shim_check((claim), SHIM_WHERE, #claim, "" __VA_ARGS__)

#include "tests/claims.h"

#endif
