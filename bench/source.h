/* bench/source.h: where a sender's messages come from: a small array of them, numbered a lap at a
 * time.
 *
 * The number is written well before the message is copied: a store right in front of the wider load
 * of a memcpy would stall it, and the figure would show that stall instead of the implementation.
 */
#ifndef WEIR_BENCH_SOURCE_H
#define WEIR_BENCH_SOURCE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BENCH_SOURCE_CNT_MAX 64u
#define BENCH_SOURCE_BYTES 16384u /* stays in the first-level cache unless one message is larger */

struct bench_source {
    uint8_t *slots;
    uint32_t size, slot_cnt;
    uint32_t slot_idx; /* the next message is here */
    uint64_t seq;      /* its number */
};

static inline void bench_source_number(struct bench_source *source)
{
    for (uint32_t i = 0; source->size >= sizeof(uint64_t) && i < source->slot_cnt; i++) {
        uint64_t seq = source->seq + i;
        memcpy(source->slots + (size_t)i * source->size, &seq, sizeof(seq));
    }
    source->slot_idx = 0;
}

/* Returns 0, or -1 without memory. */
static inline int bench_source_init(struct bench_source *source, uint32_t size)
{
    uint32_t cnt = BENCH_SOURCE_BYTES / size;

    cnt = cnt < 1 ? 1 : cnt > BENCH_SOURCE_CNT_MAX ? BENCH_SOURCE_CNT_MAX : cnt;
    *source = (struct bench_source){.size = size, .slot_cnt = cnt};
    source->slots = aligned_alloc(4096, ((size_t)cnt * size + 4095) & ~(size_t)4095);
    if (source->slots == NULL)
        return -1;
    memset(source->slots, 0x5a, (size_t)cnt * size);
    bench_source_number(source);
    return 0;
}

/* The next message, `size` bytes; the same one until it was taken. */
static inline const uint8_t *bench_source_peek(const struct bench_source *source)
{
    return source->slots + (size_t)source->slot_idx * source->size;
}

static inline void bench_source_take(struct bench_source *source)
{
    source->seq++;
    if (++source->slot_idx == source->slot_cnt)
        bench_source_number(source);
}

#endif
