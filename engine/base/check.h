/* engine/base/check.h: assertions, for weir's own errors only.
 *
 * WEIR_CHECK is always on: for what would corrupt memory if it were wrong. WEIR_DCHECK is on unless
 * NDEBUG: for what a test should find. Neither may be reachable by a peer's bytes, an errno or a
 * full resource; those have error codes.
 */
#ifndef WEIR_ENGINE_BASE_CHECK_H
#define WEIR_ENGINE_BASE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_LIKELY(cond) __builtin_expect(!!(cond), 1)
#define WEIR_UNLIKELY(cond) __builtin_expect(!!(cond), 0)

/* Aborts. Prints nothing, as the library never does: the arguments are in the core's frame and in
 * weir_check_last, for a debugger. */
_Noreturn void weir_check_failed(const char *file, int line, const char *expr)
    __attribute__((cold, noinline));

/* What failed, for a handler of SIGABRT; false: nothing did. */
bool weir_check_said(const char **ret_file, int *ret_line, const char **ret_expr);

#define WEIR_CHECK(cond)                                  \
    do {                                                  \
        if (WEIR_UNLIKELY(!(cond))) {                     \
            weir_check_failed(__FILE__, __LINE__, #cond); \
        }                                                 \
    } while (0)

#ifdef NDEBUG
/* Compiled, so that it cannot rot, and never run. */
#define WEIR_DCHECK(cond) \
    do {                  \
        if (0) {          \
            (void)(cond); \
        }                 \
    } while (0)
#else
#define WEIR_DCHECK(cond) WEIR_CHECK(cond)
#endif

static inline uint64_t weir_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t weir_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
