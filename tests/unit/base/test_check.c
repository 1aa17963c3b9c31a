#include <criterion/criterion.h>
#include <signal.h>

#include "engine/base/check.h"

Test(check, a_failed_check_aborts, .signal = SIGABRT)
{
    volatile int two = 2;
    WEIR_CHECK(two == 2);
    WEIR_CHECK(two == 3);
}

Test(check, debug_checks_run_exactly_without_NDEBUG)
{
    int runs = 0;
    WEIR_DCHECK(++runs == 1);
#ifdef NDEBUG
    cr_assert_eq(runs, 0);
#else
    cr_assert_eq(runs, 1);
#endif
    cr_assert_eq(weir_min_u64(1, UINT64_MAX), 1);
    cr_assert_eq(weir_max_u64(1, UINT64_MAX), UINT64_MAX);
}
