/* What every processor of this architecture runs: SSE2 on x86-64, NEON on 64-bit ARM. */
#define WEIR_HASH_OPS weir_hash_ops_base
#include "engine/base/hash_impl.h"
