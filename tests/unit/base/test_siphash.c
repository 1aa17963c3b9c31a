#include "engine/base/siphash.h"

#include <criterion/criterion.h>

/* From libcrypto (openssl mac -macopt size:8 SIPHASH): key 00 01 .. 0f, input 00 01 .. of each length. That of
 * 15 bytes is the paper's example (appendix A). */
static const struct {
    size_t len;
    uint64_t hash;
} vectors[] = {
    {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
    {7, UINT64_C(0xab0200f58b01d137)},  {8, UINT64_C(0x93f5f5799a932462)},
    {15, UINT64_C(0xa129ca6149be45e5)}, {16, UINT64_C(0x3f2acc7f57c29bdb)},
    {63, UINT64_C(0x958a324ceb064572)},
};

Test(siphash, gives_the_values_of_another_implementation)
{
    uint8_t key[16], input[64];
    for (uint8_t i = 0; i < 64; i++) {
        input[i] = i;
        key[i % 16] = (uint8_t)(i % 16);
    }
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        cr_assert_eq(weir_siphash(key, input, vectors[i].len), vectors[i].hash, "of %zu bytes",
                     vectors[i].len);
    key[15] ^= 1;
    cr_assert_neq(weir_siphash(key, input, 15), vectors[4].hash, "the key matters to its last bit");
}
