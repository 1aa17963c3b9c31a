#include <criterion/criterion.h>

#include "engine/base/copy.h"

#define AREA (16u * 1024u)

static _Alignas(4096) uint8_t from[AREA], to[AREA], expected[AREA];

/* What weir_copy() makes of `to` is what bytes one by one make of it: nothing before, nothing behind. */
static void expect_copied(size_t to_at, size_t from_at, size_t len,
                          void (*copy)(void *, const void *, size_t))
{
    memset(to, 0xEE, sizeof to);
    memset(expected, 0xEE, sizeof expected);
    for (size_t i = 0; i < len; i++)
        expected[to_at + i] = from[from_at + i];
    copy(to + to_at, from + from_at, len);
    cr_assert_arr_eq(to, expected, AREA, "%zu bytes from %zu to %zu", len, from_at, to_at);
}

static void copy_inline(void *out, const void *in, size_t len)
{
    weir_copy(out, in, len);
}

static void fill_from(void)
{
    uint32_t mix = 1;
    for (size_t i = 0; i < sizeof from; i++) {
        mix = mix * 1664525u + 1013904223u;
        from[i] = (uint8_t)(mix >> 24);
    }
}

Test(copy, every_relation_within_a_page)
{
    static const size_t at[] = {0, 1, 20, 63, 64, 4095};
    fill_from();
    for (size_t a = 0; a < sizeof(at) / sizeof(at[0]); a++)
        for (size_t beyond = 0; beyond < WEIR_COPY_PAGE; beyond += beyond < 130 ? 1 : 61)
            expect_copied((at[a] + beyond) % WEIR_COPY_PAGE, at[a], WEIR_COPY_LONG_MIN + 37,
                          copy_inline);
}

Test(copy, every_length_about_the_bounds)
{
    static const size_t lens[] = {0, WEIR_COPY_LONG_MIN - 66, WEIR_COPY_PAGE - 66,
                                  2 * WEIR_COPY_PAGE - 66};
    fill_from();
    for (size_t l = 0; l < sizeof(lens) / sizeof(lens[0]); l++)
        for (size_t len = lens[l]; len < lens[l] + 132; len++)
            for (size_t beyond = 0; beyond <= WEIR_COPY_HOLE + 1; beyond += 13)
                expect_copied(100 + beyond, 100, len, copy_inline);
}

Test(copy, pieces_of_any_length)
{
    fill_from();
    for (size_t len = 0; len < 300; len++)
        expect_copied(3, 5, len, weir_copy_pieces);
}
