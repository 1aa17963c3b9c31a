/* engine/base/hash.h: XXH3-64, inlined once per instruction set and chosen once by cpuid.
 *
 * The shared libxxhash is built for SSE2 and a third as fast (docs/performance.md). The choice is made
 * at the first use of weir_hash_ops() and never changes.
 */
#ifndef WEIR_ENGINE_BASE_HASH_H
#define WEIR_ENGINE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct weir_hash_job {
    const void *data;
    uint64_t len;
    uint64_t ret_hash;
};

struct weir_hash_ops {
    const char *name; /* "avx512", "avx2", "sse2", "neon", "scalar" */
    uint64_t (*xxh3)(const void *data, size_t len, uint64_t seed);
    /* Seed 0 for each of `job_cnt` jobs, prefetching the next while one is hashed. */
    void (*xxh3_batch)(struct weir_hash_job *jobs, uint32_t job_cnt);
    /* XXH3-128, in its canonical form: big-endian, the high half first. */
    void (*xxh3_128)(const void *data, size_t len, uint8_t ret_hash[16]);
};

/* The fastest that this processor runs.  Thread: any. */
const struct weir_hash_ops *weir_hash_ops(void);

/* All that this processor runs, for tests; returns how many, at most `max`. */
uint32_t weir_hash_all(const struct weir_hash_ops **ret_ops, uint32_t max);

#endif
