#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bech32.h"

static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static int symbols_of(const char *text)
{
    uint8_t symbols[WEIR_BECH32_TEXT_MAX];
    size_t prefix_len, cnt;
    return weir_bech32_symbols(text, strlen(text), &prefix_len, symbols, &cnt);
}

Test(bech32, the_texts_of_bip_350_are_judged_as_it_says)
{
    static const char *const valid[] = {
        "A1LQFN3A",
        "a1lqfn3a",
        "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
        "?1v759aa",
        "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    };
    static const struct {
        const char *text;
        int fault;
    } invalid[] = {
        {"\x20"
         "1xj0phk",
         WEIR_BECH32_CHARACTER},
        {"\x7f"
         "1g6xzxy",
         WEIR_BECH32_CHARACTER},
        {"qyrz8wqd2c9m", WEIR_BECH32_LENGTH},
        {"1qyrz8wqd2c9m", WEIR_BECH32_LENGTH},
        {"y1b0jsk6g", WEIR_BECH32_CHARACTER},
        {"lt1igcx5c0", WEIR_BECH32_CHARACTER},
        {"in1muywd", WEIR_BECH32_LENGTH},
        {"mm1crxm3i", WEIR_BECH32_CHARACTER},
        {"M1VUXWEZ", WEIR_BECH32_CHECK},
        {"A1lqfn3a", WEIR_BECH32_CHARACTER},
        {"a12uel5l", WEIR_BECH32_CHECK}, /* valid bech32, which is the older check */
    };
    for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++)
        cr_assert_eq(symbols_of(valid[i]), WEIR_BECH32_OK, "%s", valid[i]);
    for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++)
        cr_assert_eq(symbols_of(invalid[i].text), invalid[i].fault, "%s: %d", invalid[i].text,
                     symbols_of(invalid[i].text));
}

static void fill(uint8_t bytes[WEIR_BECH32_BYTES], unsigned seed)
{
    for (size_t i = 0; i < WEIR_BECH32_BYTES; i++)
        bytes[i] = (uint8_t)rand_r(&seed);
}

Test(bech32, what_is_written_is_read_in_either_case)
{
    for (unsigned seed = 1; seed < 200; seed++) {
        uint8_t bytes[WEIR_BECH32_BYTES], read[WEIR_BECH32_BYTES];
        char text[WEIR_BECH32_TEXT_MAX + 1];
        fill(bytes, seed);
        weir_bech32_write(text, "weir", 1, bytes);
        cr_assert_eq(strlen(text), 4 + WEIR_BECH32_TAIL);
        cr_assert_eq(weir_bech32_read(text, strlen(text), "weir", 1, read), 0);
        cr_assert_arr_eq(read, bytes, sizeof bytes);
        for (char *at = text; *at; at++)
            *at = (char)(*at >= 'a' && *at <= 'z' ? *at - 32 : *at);
        cr_assert_eq(weir_bech32_read(text, strlen(text), "weir", 1, read), 0);
        cr_assert_arr_eq(read, bytes, sizeof bytes);
    }
}

Test(bech32, every_wrong_character_and_every_swap_is_found)
{
    uint8_t bytes[WEIR_BECH32_BYTES], read[WEIR_BECH32_BYTES];
    char text[WEIR_BECH32_TEXT_MAX + 1], wrong[WEIR_BECH32_TEXT_MAX + 1];
    fill(bytes, 7);
    weir_bech32_write(text, "weir", 1, bytes);
    size_t len = strlen(text);
    for (size_t at = 0; at < len; at++) {
        for (const char *c = alphabet; *c; c++) {
            memcpy(wrong, text, len + 1);
            wrong[at] = *c;
            if (text[at] != *c)
                cr_assert_neq(weir_bech32_read(wrong, len, "weir", 1, read), 0, "%s", wrong);
        }
        if (at + 1 < len && text[at] != text[at + 1]) {
            memcpy(wrong, text, len + 1);
            wrong[at] = text[at + 1];
            wrong[at + 1] = text[at];
            cr_assert_neq(weir_bech32_read(wrong, len, "weir", 1, read), 0, "%s", wrong);
        }
        cr_assert_neq(weir_bech32_read(text, at, "weir", 1, read), 0, "cut to %zu", at);
    }
}

Test(bech32, faults_are_told_apart)
{
    uint8_t bytes[WEIR_BECH32_BYTES], read[WEIR_BECH32_BYTES] = {0};
    char text[WEIR_BECH32_TEXT_MAX + 1];
    static const uint8_t untouched[WEIR_BECH32_BYTES];
    fill(bytes, 9);
    weir_bech32_write(text, "weir", 1, bytes);
    cr_assert_eq(weir_bech32_read(text, 64, "other", 1, read), WEIR_BECH32_PREFIX);
    cr_assert_eq(weir_bech32_read(text, 64, "wei", 1, read), WEIR_BECH32_PREFIX);
    cr_assert_eq(weir_bech32_read(text, 64, "weir", 2, read), WEIR_BECH32_VERSION);
    cr_assert_eq(weir_bech32_read(text, 63, "weir", 1, read), WEIR_BECH32_CHECK);
    cr_assert_eq(weir_bech32_read("A1LQFN3A", 8, "a", 1, read), WEIR_BECH32_VERSION, "no symbol");
    cr_assert_arr_eq(read, untouched, sizeof read);
}

Test(bech32, one_value_has_one_text)
{
    /* The four bits behind the last byte must be zero: the same text with one set, its check made right
     * by trying all of the last two symbols that the check's linearity leaves. */
    uint8_t bytes[WEIR_BECH32_BYTES] = {0}, read[WEIR_BECH32_BYTES];
    char text[WEIR_BECH32_TEXT_MAX + 1];
    uint32_t refused = 0;
    weir_bech32_write(text, "weir", 1, bytes);
    size_t last = 4 + 1 + 52; /* of the data */
    for (uint32_t value = 1; value < 16; value++) {
        static const uint32_t generators[5] = {0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD,
                                               0x2A1462B3};
        uint32_t change = value; /* of the check, by the changed symbol and six zeros behind it */
        for (int i = 0; i < 6; i++) {
            uint32_t top = change >> 25;
            change = (change & 0x1FFFFFF) << 5;
            for (uint32_t j = 0; j < 5; j++)
                change ^= (top >> j & 1) ? generators[j] : 0;
        }
        char other[WEIR_BECH32_TEXT_MAX + 1];
        memcpy(other, text, sizeof other);
        other[last] = alphabet[value];
        for (uint32_t i = 0; i < 6; i++) {
            char *at = &other[last + 1 + i];
            uint32_t symbol = (uint32_t)(strchr(alphabet, *at) - alphabet);
            *at = alphabet[symbol ^ (change >> (5 * (5 - i)) & 31)];
        }
        cr_assert_eq(symbols_of(other), WEIR_BECH32_OK, "the check is right: %s", other);
        refused += weir_bech32_read(other, strlen(other), "weir", 1, read) == WEIR_BECH32_LENGTH;
    }
    cr_assert_eq(refused, 15);
}
