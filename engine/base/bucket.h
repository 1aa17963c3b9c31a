/* engine/base/bucket.h: a token bucket as one time: the moment until which what was taken is paid for.
 *
 * The "virtual scheduling" form of the generic cell rate algorithm (ITU-T I.371, annex A): taking n tokens moves the
 * moment by n / rate; something may be taken while the moment is at most `burst` ahead of now. So after an idle time
 * burst's worth may go at once, and whoever takes more than is there (a frame is not cut for it) is in debt and waits for
 * as long. No tick refills anything, and an idle bucket costs nothing. The rest of each division is kept: the rate is
 * exact over any long time.
 */
#ifndef WEIR_ENGINE_BASE_BUCKET_H
#define WEIR_ENGINE_BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define WEIR_BUCKET_TAKE_MAX (UINT64_C(1) << 34) /* tokens at once, so that no product wraps */

struct weir_bucket { /* zeroed: full */
    uint64_t paid_ns;
    uint64_t rest; /* of the last division: below the rate */
};

/* When something may be taken: `now_ns` or before means now. */
static inline uint64_t weir_bucket_ready(const struct weir_bucket *bucket, uint64_t burst_ns)
{
    return bucket->paid_ns > burst_ns ? bucket->paid_ns - burst_ns : 0;
}

/* Takes `cnt` tokens (up to WEIR_BUCKET_TAKE_MAX) of `per_s` (not 0) a second. */
static inline void weir_bucket_take(struct weir_bucket *bucket, uint64_t per_s, uint64_t cnt,
                                    uint64_t now_ns)
{
    uint64_t cost = cnt * UINT64_C(1000000000) + bucket->rest;
    if (bucket->paid_ns < now_ns) {
        bucket->paid_ns = now_ns;
        cost -= bucket->rest;
    }
    bucket->paid_ns += cost / per_s;
    bucket->rest = cost % per_s;
}

/* Gives `cnt` tokens back that were taken (up to WEIR_BUCKET_TAKE_MAX). What would be beyond a full bucket is lost. */
static inline void weir_bucket_give(struct weir_bucket *bucket, uint64_t per_s, uint64_t cnt)
{
    uint64_t worth_ns = cnt * UINT64_C(1000000000) / per_s;
    bucket->paid_ns = bucket->paid_ns > worth_ns ? bucket->paid_ns - worth_ns : 0;
}

#endif
