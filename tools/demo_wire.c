#include "demo.h"

#include <string.h>

#include "bytes.h"

const struct demo_channel_spec demo_channels[DEMO_CHANNEL_CNT] = {
    {.id = DEMO_VOTES, .weight = 1, .is_urgent = true, .name = "votes"},
    {.id = DEMO_STATE, .weight = 4, .is_urgent = false, .name = "state"},
    {.id = DEMO_BULK, .weight = 1, .is_urgent = false, .name = "bulk"},
};

/* The byte at `idx` of message `seq`: cheap, different in every message, and not periodic in 256. */
static uint8_t pattern_byte(uint32_t seq, uint32_t idx)
{
    return (uint8_t)((seq * 0x9E3779B9u + idx * 0x85EBCA6Bu) >> 16);
}

void demo_stamp(uint8_t *ret, size_t len, uint64_t seq, weir_ns due, weir_ns sent)
{
    memset(ret, 0, DEMO_STAMP_BYTES);
    ret[0] = DEMO_STAMPED;
    put_u64(ret + 8, seq);
    put_u64(ret + 16, due);
    put_u64(ret + 24, sent);
    for (uint32_t i = DEMO_STAMP_BYTES; i < len; i++)
        ret[i] = pattern_byte((uint32_t)seq, i);
}

bool demo_stamp_is_whole(const uint8_t *data, size_t len)
{
    uint32_t seq = (uint32_t)get_u64(data + 8);
    unsigned different = 0;
    for (uint32_t i = DEMO_STAMP_BYTES; i < len; i++)
        different |= (unsigned)(data[i] ^ pattern_byte(seq, i));
    return different == 0;
}
