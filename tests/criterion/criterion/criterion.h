/* tests/criterion: Criterion's own header, with asserts that are cheap to compile. Four thousand of them, each of which
 * Criterion makes a block of variables and calls of, were half of the compiler's time; here each is a comparison,
 * and a call that is made where it fails. What they mean and print is the same. */
#ifndef WEIR_TESTS_CRITERION_H
#define WEIR_TESTS_CRITERION_H

#include <stdarg.h>
#include <stdio.h>

#include_next <criterion/criterion.h>

/* Ends the test: says where and what, and why, if there is more to say. */
static __attribute__((noreturn, cold, noinline, unused, format(printf, 4, 5))) void assert_fail(
    const char *file, int line, const char *what, const char *format, ...)
{
    char why[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    cr_assert_fail("%s:%d: %s does not hold%s", file, line, what, why[2] ? why : "");
    __builtin_unreachable();
}

#undef cr_assert
/* The text in front lets a claim come without a message. */
#define cr_assert(claim, ...) \
    ((claim) ? (void)0 : assert_fail(__FILE__, __LINE__, #claim, ": " __VA_ARGS__))

#include "tests/claims.h"

#endif
