/* engine/base/hash_impl.h: the body of one hash variant, and the one door to xxhash.h.
 *
 * A .c file per instruction set defines WEIR_HASH_OPS (the name of its table) and includes this;
 * the compiler's flags, or XXH_VECTOR defined before, decide the instructions. Everything of
 * XXH_INLINE_ALL is static, so the variants do not meet in the linker.
 */
#ifndef WEIR_ENGINE_BASE_HASH_IMPL_H
#define WEIR_ENGINE_BASE_HASH_IMPL_H

#include "engine/base/hash.h"

/* Without XXH_NO_INLINE_HINTS 0 xxhash.h gives up inlining in an unoptimised build. */
#define XXH_INLINE_ALL
#define XXH_NO_INLINE_HINTS 0
#include <xxhash.h>

#if XXH_VECTOR == XXH_AVX512
#define WEIR_HASH_NAME "avx512"
#elif XXH_VECTOR == XXH_AVX2
#define WEIR_HASH_NAME "avx2"
#elif XXH_VECTOR == XXH_SSE2
#define WEIR_HASH_NAME "sse2"
#elif XXH_VECTOR == XXH_NEON
#define WEIR_HASH_NAME "neon"
#elif XXH_VECTOR == XXH_SCALAR
#define WEIR_HASH_NAME "scalar"
#else
#define WEIR_HASH_NAME "vector"
#endif

#define LINE_BYTES 64
#define PREFETCH_LINES 4u /* from there the processor's own prefetch follows */

static uint64_t xxh3(const void *data, size_t len, uint64_t seed)
{
    /* Seeded long inputs derive a secret first; seed 0 is defined as the default secret. */
    return seed == 0 ? XXH3_64bits(data, len) : XXH3_64bits_withSeed(data, len, seed);
}

static inline void prefetch_head(const struct weir_hash_job *job)
{
    const char *data = job->data;
    for (uint32_t line = 0; line < PREFETCH_LINES && line * LINE_BYTES < job->len; ++line) {
        __builtin_prefetch(data + line * LINE_BYTES, 0, 3);
    }
}

static void xxh3_batch(struct weir_hash_job *jobs, uint32_t job_cnt)
{
    for (uint32_t i = 0; i < job_cnt; ++i) {
        if (i + 1 < job_cnt) {
            prefetch_head(&jobs[i + 1]);
        }
        jobs[i].ret_hash = XXH3_64bits(jobs[i].data, jobs[i].len);
    }
}

static void xxh3_128(const void *data, size_t len, uint8_t ret_hash[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, len));
    for (size_t i = 0; i < 16; ++i) {
        ret_hash[i] = canonical.digest[i];
    }
}

extern const struct weir_hash_ops WEIR_HASH_OPS;
const struct weir_hash_ops WEIR_HASH_OPS = {
    .name = WEIR_HASH_NAME,
    .xxh3 = xxh3,
    .xxh3_batch = xxh3_batch,
    .xxh3_128 = xxh3_128,
};

#endif
