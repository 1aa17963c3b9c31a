#include "engine/base/hash.h"

#include <stdatomic.h>
#include <stdbool.h>

#define VARIANTS_MAX 3u

extern const struct weir_hash_ops weir_hash_ops_base;
#if defined(WEIR_HASH_X86) && WEIR_HASH_X86
extern const struct weir_hash_ops weir_hash_ops_avx2;
extern const struct weir_hash_ops weir_hash_ops_avx512;

/* What the files are compiled for, as cmake/flags.cmake has it. libgcc also asks whether the system
 * saves the wide registers. */
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

/* Fastest first; returns how many. */
static uint32_t list_variants(const struct weir_hash_ops *ret_ops[VARIANTS_MAX])
{
    uint32_t cnt = 0;
#if defined(WEIR_HASH_X86) && WEIR_HASH_X86
    __builtin_cpu_init();
    if (has_avx512()) {
        ret_ops[cnt++] = &weir_hash_ops_avx512;
    }
    if (has_avx2()) {
        ret_ops[cnt++] = &weir_hash_ops_avx2;
    }
#endif
    ret_ops[cnt++] = &weir_hash_ops_base;
    return cnt;
}

const struct weir_hash_ops *weir_hash_ops(void)
{
    /* Every thread that comes first stores the same pointer to a constant: relaxed is enough. */
    static _Atomic(const struct weir_hash_ops *) chosen;
    const struct weir_hash_ops *ops = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (ops == NULL) {
        const struct weir_hash_ops *variants[VARIANTS_MAX];
        (void)list_variants(variants);
        ops = variants[0];
        atomic_store_explicit(&chosen, ops, memory_order_relaxed);
    }
    return ops;
}

uint32_t weir_hash_all(const struct weir_hash_ops **ret_ops, uint32_t max)
{
    const struct weir_hash_ops *variants[VARIANTS_MAX];
    uint32_t cnt = list_variants(variants);
    if (cnt > max) {
        cnt = max;
    }
    for (uint32_t i = 0; i < cnt; ++i) {
        ret_ops[i] = variants[i];
    }
    return cnt;
}
