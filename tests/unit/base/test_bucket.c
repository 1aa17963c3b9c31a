#include <criterion/criterion.h>

#include "engine/base/bucket.h"

#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)

/* Takes as often as it may, `cnt` tokens each, for `span_ns`; returns how many were taken. */
static uint64_t take_all(struct weir_bucket *bucket, uint64_t per_s, uint64_t burst_ns,
                         uint64_t cnt, uint64_t from_ns, uint64_t span_ns)
{
    uint64_t sum = 0;
    for (uint64_t now = from_ns; now < from_ns + span_ns;) {
        uint64_t ready = weir_bucket_ready(bucket, burst_ns);
        if (ready > now) {
            now = ready;
            continue;
        }
        weir_bucket_take(bucket, per_s, cnt, now);
        sum += cnt;
    }
    return sum;
}

Test(bucket, what_is_given_back_may_be_taken_again_and_no_more)
{
    struct weir_bucket bucket = {0};
    uint64_t now = 5 * S;
    for (int i = 0; i < 3; i++)
        weir_bucket_take(&bucket, 1000, 1, now);
    cr_assert_eq(weir_bucket_ready(&bucket, 0), now + 3 * MS);
    weir_bucket_give(&bucket, 1000, 2);
    cr_assert_eq(weir_bucket_ready(&bucket, 0), now + MS);
    weir_bucket_give(&bucket, 1000, UINT64_C(1) << 34); /* far more than was taken */
    cr_assert_eq(weir_bucket_ready(&bucket, 0), 0);
    weir_bucket_take(&bucket, 1000, 1, now);
    cr_assert_eq(weir_bucket_ready(&bucket, 0), now + MS, "nothing was saved up");
}

Test(bucket, over_a_long_time_the_rate_is_exact)
{
    static const uint64_t rates[] = {1, 3, 7, 1000, 999983, 12345678, 1000000000, 70000000001};
    static const uint64_t takes[] = {1, 64, 1500, 65536, 1 << 20};
    for (size_t r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
        for (size_t t = 0; t < sizeof(takes) / sizeof(takes[0]); t++) {
            struct weir_bucket bucket = {0};
            /* About a thousand takes. */
            uint64_t span = takes[t] * 1000 * (S / 1000) / rates[r] * 1000 + 1000;
            if (span > 1000 * 86400 * S)
                continue;
            uint64_t sum = take_all(&bucket, rates[r], 10 * MS, takes[t], 5 * S, span);
            double want = (double)rates[r] * (double)span / 1e9;
            double most = want + (double)rates[r] * 0.01 + (double)takes[t] + 1;
            cr_assert((double)sum <= most && (double)sum >= want - (double)takes[t],
                      "%zu of %zu: %llu taken, %g wanted", t, r, (unsigned long long)sum, want);
        }
    }
}

Test(bucket, an_idle_time_earns_a_burst_and_no_more)
{
    struct weir_bucket bucket = {0};
    uint64_t now = 100 * S, cnt = 0;
    /* 1,000 a second, 100 ms: 100 tokens and the one that goes into debt. */
    while (weir_bucket_ready(&bucket, 100 * MS) <= now) {
        weir_bucket_take(&bucket, 1000, 1, now);
        cnt++;
    }
    cr_assert_eq(cnt, 101);
    cr_assert_eq(weir_bucket_ready(&bucket, 100 * MS), now + MS);
    now += 3600 * S;
    for (cnt = 0; weir_bucket_ready(&bucket, 100 * MS) <= now; cnt++)
        weir_bucket_take(&bucket, 1000, 1, now);
    cr_assert_eq(cnt, 101);
}

Test(bucket, a_debt_is_waited_for)
{
    struct weir_bucket bucket = {0};
    weir_bucket_take(&bucket, 1000, 5000, S); /* five seconds' worth at once */
    cr_assert_eq(weir_bucket_ready(&bucket, 100 * MS), S + 4900 * MS);
    weir_bucket_take(&bucket, UINT64_C(1000000000000), WEIR_BUCKET_TAKE_MAX, S);
    cr_assert_gt(weir_bucket_ready(&bucket, 0), S);
}
