/* Compiled with the instruction set's own flags (cmake/flags.cmake); empty without them. XXH_VECTOR
 * is said, not found out, so that -march=native does not make two variants the same. */
#if defined(__AVX512F__)
#define XXH_VECTOR XXH_AVX512
#define WEIR_HASH_OPS weir_hash_ops_avx512
#include "engine/base/hash_impl.h"
#else
typedef int weir_hash_avx512_is_empty; /* a translation unit must declare something */
#endif
