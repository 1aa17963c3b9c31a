/* engine/mem/pool_impl.h: what pool.c and buf.c share: the layout of a block and the way home. */
#ifndef WEIR_ENGINE_MEM_POOL_IMPL_H
#define WEIR_ENGINE_MEM_POOL_IMPL_H

#include <assert.h>

#include "engine/mem/pool.h"

/* One block: the struct, padded, then the headroom, then the bytes, which so begin on a cache line.
 */
#define WEIR_BUF_STRUCT_BYTES 128u
#define WEIR_BUF_DATA_OFFSET (WEIR_BUF_STRUCT_BYTES + WEIR_BUF_HEADROOM)
#define WEIR_BUF_BYTES_MAX (UINT64_C(1) << 30)

static_assert(sizeof(struct weir_buf) <= WEIR_BUF_STRUCT_BYTES, "the struct fits in front");
static_assert(WEIR_BUF_DATA_OFFSET % 64 == 0, "data begins on a cache line");

static inline uint8_t *weir_buf_block_data(struct weir_buf *buf)
{
    return (uint8_t *)buf + WEIR_BUF_DATA_OFFSET;
}

/* Takes back a buffer of `buf->pool` whose last reference is gone; any thread. */
void weir_pool_give(struct weir_buf *take);

#endif
