#include "engine/peers/useful.h"

#include <criterion/criterion.h>

static uint32_t least(const uint64_t *firsts, const uint64_t *sinces, uint32_t cnt)
{
    struct weir_useful_peer peers[16];
    for (uint32_t i = 0; i < cnt; i++)
        peers[i] = (struct weir_useful_peer){firsts[i], sinces[i], i};
    return weir_useful_least(peers, cnt);
}

static const uint64_t ages[8] = {10, 20, 30, 40, 50, 60, 70, 80};

Test(useful, who_brought_less_than_a_quarter_of_the_median_goes)
{
    cr_assert_eq(least((uint64_t[]){100, 90, 80, 24, 100, 95, 0, 110}, ages, 8), 6);
    cr_assert_eq(least((uint64_t[]){100, 90, 80, 22, 100, 95, 85, 110}, ages, 8), 3);
    cr_assert_eq(least((uint64_t[]){100, 100, 100, 25, 100, 100, 100, 100}, ages, 8),
                 WEIR_USEFUL_NOBODY, "a quarter is enough");
    cr_assert_eq(least((uint64_t[]){100, 100, 100, 24, 100, 100, 100, 100}, ages, 8), 3);
}

Test(useful, the_two_that_are_there_longest_stay)
{
    cr_assert_eq(least((uint64_t[]){0, 1, 80, 90, 100, 95, 85, 110}, ages, 8), WEIR_USEFUL_NOBODY);
    cr_assert_eq(least((uint64_t[]){0, 1, 2, 90, 100, 95, 85, 110}, ages, 8), 2,
                 "the third does not");
}

Test(useful, where_little_came_nobody_is_judged)
{
    cr_assert_eq(least((uint64_t[]){3, 3, 3, 0, 3, 3, 3, 3}, ages, 8), WEIR_USEFUL_NOBODY);
    cr_assert_eq(least((uint64_t[]){4, 4, 4, 0, 4, 4, 4, 4}, ages, 8), 3);
    cr_assert_eq(least((uint64_t[]){0, 0, 0, 0, 0, 0, 0, 1000000}, ages, 8), WEIR_USEFUL_NOBODY);
    cr_assert_eq(least((uint64_t[]){1000, 0, 0}, ages, 3), WEIR_USEFUL_NOBODY);
    cr_assert_eq(least((uint64_t[]){1000, 1000, 1000, 0}, ages, 4), 3);
    cr_assert_eq(least(ages, ages, 0), WEIR_USEFUL_NOBODY);
    cr_assert_eq(least((uint64_t[]){UINT64_MAX, UINT64_MAX, UINT64_MAX, 0}, ages, 4), 3);
}

/* An attacker who is first with everything, but has fewer than half of the places, pushes nobody out who brings a
 * quarter of what the median brings. */
Test(useful, fewer_than_half_push_nobody_out)
{
    cr_assert_eq(least((uint64_t[]){1000000, 1000000, 1000000, 12, 10, 9, 11, 10}, ages, 8),
                 WEIR_USEFUL_NOBODY);
}
