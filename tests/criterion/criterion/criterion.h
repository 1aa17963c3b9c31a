/* tests/criterion: Criterion's own header, with asserts that are cheap to compile. Four thousand of them, each of which
 * Criterion makes a block of variables and calls of, were half of the compiler's time; here each is a comparison,
 * and a call that is made where it fails. What they mean and print is the same. */
#ifndef WEIR_TESTS_CRITERION_H
#define WEIR_TESTS_CRITERION_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
#undef cr_assert_not
#undef cr_assert_eq
#undef cr_assert_neq
#undef cr_assert_lt
#undef cr_assert_leq
#undef cr_assert_gt
#undef cr_assert_geq
#undef cr_assert_null
#undef cr_assert_not_null
#undef cr_assert_str_eq
#undef cr_assert_str_neq
#undef cr_assert_str_empty
#undef cr_assert_arr_eq
#undef cr_assert_arr_neq

/* The text in front lets a claim come without a message. */
#define cr_assert(claim, ...) \
    ((claim) ? (void)0 : assert_fail(__FILE__, __LINE__, #claim, ": " __VA_ARGS__))
#define cr_assert_not(a, ...) cr_assert(!(a), __VA_ARGS__)
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...) cr_assert((a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...) cr_assert((a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...) cr_assert((a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...) cr_assert((a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...) cr_assert((a) >= (b), __VA_ARGS__)
#define cr_assert_null(a, ...) cr_assert((a) == NULL, __VA_ARGS__)
#define cr_assert_not_null(a, ...) cr_assert((a) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) cr_assert(strcmp(a, b) == 0, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) cr_assert(strcmp(a, b) != 0, __VA_ARGS__)
#define cr_assert_str_empty(a, ...) cr_assert((a)[0] == '\0', __VA_ARGS__)
#define cr_assert_arr_eq(a, b, bytes, ...) cr_assert(memcmp(a, b, bytes) == 0, __VA_ARGS__)
#define cr_assert_arr_neq(a, b, bytes, ...) cr_assert(memcmp(a, b, bytes) != 0, __VA_ARGS__)

#endif
