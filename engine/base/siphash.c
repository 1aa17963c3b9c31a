#include "engine/base/siphash.h"

/* Little-endian words, whatever the host (§2.1). */
static uint64_t word_at(const uint8_t *at, size_t len)
{
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++)
        word |= (uint64_t)at[i] << 8 * i;
    return word;
}

static inline uint64_t turn_left(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

/* One SipRound (§2.2, figure 2.1). */
static inline void mix(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = turn_left(v[1], 13) ^ v[0];
    v[3] = turn_left(v[3], 16) ^ v[2];
    v[0] = turn_left(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = turn_left(v[1], 17) ^ v[2];
    v[3] = turn_left(v[3], 21) ^ v[0];
    v[2] = turn_left(v[2], 32);
}

static inline void take(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v);
    mix(v);
    v[0] ^= word;
}

uint64_t weir_siphash(const uint8_t key[WEIR_SIPHASH_KEY_BYTES], const void *data, size_t len)
{
    const uint8_t *at = data;
    uint64_t k0 = word_at(key, 8), k1 = word_at(key + 8, 8);
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    size_t whole = len - len % 8;
    for (size_t i = 0; i < whole; i += 8)
        take(v, word_at(at + i, 8));
    take(v, (uint64_t)(len & 0xFF) << 56 | word_at(at + whole, len % 8));
    v[2] ^= 0xFF;
    for (int i = 0; i < 4; i++)
        mix(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
