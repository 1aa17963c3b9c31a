#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"

#define BYTES_MAX ((1u << 20) + 64)

static uint8_t *bytes;

/* The generator of xxHash's own self test, so that its published vectors apply. */
static void make_bytes(void)
{
    bytes = malloc(BYTES_MAX);
    uint64_t generator = 2654435761u;
    for (size_t i = 0; i < BYTES_MAX; ++i) {
        bytes[i] = (uint8_t)(generator >> 56);
        generator *= UINT64_C(11400714785074694797);
    }
}

static void free_bytes(void)
{
    free(bytes);
}

TestSuite(hash, .init = make_bytes, .fini = free_bytes);

struct vector {
    size_t len;
    uint64_t seed;
    uint64_t hash;
};

/* From cli/xsum_sanity_check.c of xxHash 0.8 (XSUM_XXH3_testdata). */
#define PRIME64 UINT64_C(0x9E3779B185EBCA8D)
static const struct vector vectors[] = {
    {0, 0, UINT64_C(0x2D06800538D394C2)},    {0, PRIME64, UINT64_C(0xA8A6B918B2F0364A)},
    {1, 0, UINT64_C(0xC44BDFF4074EECDB)},    {1, PRIME64, UINT64_C(0x032BE332DD766EF8)},
    {6, 0, UINT64_C(0x27B56A84CD2D7325)},    {6, PRIME64, UINT64_C(0x84589C116AB59AB9)},
    {12, 0, UINT64_C(0xA713DAF0DFBB77E7)},   {12, PRIME64, UINT64_C(0xE7303E1B2336DE0E)},
    {24, 0, UINT64_C(0xA3FE70BF9D3510EB)},   {24, PRIME64, UINT64_C(0x850E80FC35BDD690)},
    {48, 0, UINT64_C(0x397DA259ECBA1F11)},   {48, PRIME64, UINT64_C(0xADC2CBAA44ACC616)},
    {80, 0, UINT64_C(0xBCDEFBBB2C47C90A)},   {80, PRIME64, UINT64_C(0xC6DD0CB699532E73)},
    {195, 0, UINT64_C(0xCD94217EE362EC3A)},  {195, PRIME64, UINT64_C(0xBA68003D370CB3D9)},
    {403, 0, UINT64_C(0xCDEB804D65C6DEA4)},  {403, PRIME64, UINT64_C(0x6259F6ECFD6443FD)},
    {512, 0, UINT64_C(0x617E49599013CB6B)},  {512, PRIME64, UINT64_C(0x3CE457DE14C27708)},
    {2048, 0, UINT64_C(0xDD59E2C3A5F038E0)}, {2048, PRIME64, UINT64_C(0x66F81670669ABABC)},
    {2240, 0, UINT64_C(0x6E73A90539CF2948)}, {2240, PRIME64, UINT64_C(0x757BA8487D1B5247)},
    {2367, 0, UINT64_C(0xCB37AEB9E5D361ED)}, {2367, PRIME64, UINT64_C(0xD2DB3415B942B42A)},
};

Test(hash, every_variant_gives_the_published_values)
{
    const struct weir_hash_ops *ops[8];
    uint32_t cnt = weir_hash_all(ops, 8);
    cr_assert_geq(cnt, 1);
    cr_assert_eq(ops[0], weir_hash_ops(), "the first is the chosen one");
    for (uint32_t v = 0; v < cnt; ++v) {
        for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); ++i) {
            uint64_t hash = ops[v]->xxh3(bytes, vectors[i].len, vectors[i].seed);
            cr_assert_eq(hash, vectors[i].hash, "%s, length %zu, seed %#llx: %#llx", ops[v]->name,
                         vectors[i].len, (unsigned long long)vectors[i].seed,
                         (unsigned long long)hash);
        }
        for (uint32_t w = 0; w < v; ++w) {
            cr_assert_str_neq(ops[v]->name, ops[w]->name);
        }
    }
}

Test(hash, all_variants_agree_on_all_lengths_and_alignments)
{
    const struct weir_hash_ops *ops[8];
    uint32_t cnt = weir_hash_all(ops, 8);
    static const size_t large[] = {4095, 4096, 16384, 65535, 65536, 65537, 1000003, 1 << 20};
    for (size_t i = 0; i < 2049 + sizeof(large) / sizeof(large[0]); ++i) {
        size_t len = i <= 2048 ? i : large[i - 2049];
        const uint8_t *data = bytes + i % 64;
        uint64_t zero = ops[0]->xxh3(data, len, 0), seeded = ops[0]->xxh3(data, len, 42);
        cr_assert_neq(zero, seeded);
        for (uint32_t v = 1; v < cnt; ++v) {
            cr_assert_eq(ops[v]->xxh3(data, len, 0), zero, "%s, length %zu", ops[v]->name, len);
            cr_assert_eq(ops[v]->xxh3(data, len, 42), seeded, "%s, length %zu", ops[v]->name, len);
        }
    }
}

/* Each block ends where the allocation ends, so ASan finds a read beyond it. */
Test(hash, a_batch_is_the_hashes_of_its_jobs_and_reads_nothing_else)
{
    const struct weir_hash_ops *ops[8];
    uint32_t cnt = weir_hash_all(ops, 8);
    struct weir_hash_job jobs[300];
    uint8_t *copies[300];
    for (uint32_t i = 0; i < 300; ++i) {
        size_t len = i * i % 2000;
        copies[i] = malloc(len + 1);
        memcpy(copies[i] + 1, bytes, len);
        jobs[i] = (struct weir_hash_job){.data = copies[i] + 1, .len = len};
    }
    jobs[0].data = NULL; /* of length 0 */
    for (uint32_t v = 0; v < cnt; ++v) {
        for (uint32_t job_cnt = 0; job_cnt <= 300; job_cnt += 1 + job_cnt / 2) {
            for (uint32_t i = 0; i < 300; ++i) {
                jobs[i].ret_hash = 1;
            }
            ops[v]->xxh3_batch(jobs, job_cnt);
            for (uint32_t i = 0; i < 300; ++i) {
                uint64_t want = i < job_cnt ? ops[v]->xxh3(jobs[i].data, jobs[i].len, 0) : 1;
                cr_assert_eq(jobs[i].ret_hash, want, "%s, job %u of %u", ops[v]->name, i, job_cnt);
            }
        }
    }
    for (uint32_t i = 0; i < 300; ++i) {
        free(copies[i]);
    }
}

Test(hash, a_changed_bit_changes_the_hash)
{
    uint64_t (*xxh3)(const void *, size_t, uint64_t) = weir_hash_ops()->xxh3;
    static const size_t lens[] = {1, 8, 16, 64, 200, 300, 1500};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); ++i) {
        uint64_t before = xxh3(bytes, lens[i], 0);
        for (size_t bit = 0; bit < lens[i] * 8; ++bit) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            cr_assert_neq(xxh3(bytes, lens[i], 0), before);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        cr_assert_eq(xxh3(bytes, lens[i], 0), before);
    }
}

/* From the same table (XSUM_XXH128_testdata), high half first. */
Test(hash, every_variant_gives_the_published_values_of_128_bits)
{
    static const struct {
        size_t len;
        uint64_t high, low;
    } wide[] = {
        {0, UINT64_C(0x99AA06D3014798D8), UINT64_C(0x6001C324468D497F)},
        {1, UINT64_C(0xA6CD5E9392000F6A), UINT64_C(0xC44BDFF4074EECDB)},
    };
    const struct weir_hash_ops *ops[8];
    uint32_t cnt = weir_hash_all(ops, 8);
    for (uint32_t v = 0; v < cnt; ++v) {
        uint8_t hash[16], first[16];
        for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); ++i) {
            ops[v]->xxh3_128(bytes, wide[i].len, hash);
            for (size_t k = 0; k < 8; ++k) {
                cr_assert_eq(hash[k], (uint8_t)(wide[i].high >> (56 - 8 * k)), "%s", ops[v]->name);
                cr_assert_eq(hash[8 + k], (uint8_t)(wide[i].low >> (56 - 8 * k)), "%s",
                             ops[v]->name);
            }
        }
        for (size_t len = 2; len < 100000; len = len * 3 + 1) {
            ops[0]->xxh3_128(bytes, len, first);
            ops[v]->xxh3_128(bytes, len, hash);
            cr_assert_arr_eq(hash, first, 16, "%s, length %zu", ops[v]->name, len);
        }
    }
}
