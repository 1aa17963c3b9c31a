#include "proto/pex.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct weir_place at4(uint8_t last, uint16_t port)
{
    return (struct weir_place){.family = WEIR_ADDR_IPV4, .port = port, .ip = {20, 1, 2, last}};
}

static struct weir_place at6(uint8_t last, uint16_t port)
{
    return (struct weir_place){.family = WEIR_ADDR_IPV6, .port = port, .ip = {0x2A, [15] = last}};
}

/* The bytes of docs/discovery.md. */
static const uint8_t about_bytes[] = {1,    0, 3, 0, 8, 7,  6, 5, 4, 3,   2,   1,   4,   5,  0x1F,
                                      0x1E, 0, 0, 0, 0, 20, 1, 2, 3, 'r', 'e', 'l', 'a', 'y'};
static const uint8_t nowhere_bytes[] = {1, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0};
static const uint8_t ask_bytes[] = {2,   7,   250, 0,   0x44, 0x33, 0x22, 0x11,
                                    'a', 'r', 'c', 'h', 'i',  'v',  'e'};
static const uint8_t answer_bytes[] = {
    3, 0, 2,    0,    0x44, 0x33, 0x22, 0x11,                                 /* head */
    4, 1, 0x58, 0x1B, 60,   0,    0,    0,    20,   1, 2, 9, 'x',             /* 20.1.2.9:7000, x */
    6, 0, 0x59, 0x1B, 0,    1,    0,    0,    0x2A, 0, 0, 0, 0,   0, 0, 0, 0, /* [2a00::5]:7001 */
    0, 0, 0,    0,    0,    0,    5};

Test(pex, about)
{
    uint8_t bytes[WEIR_PEX_BYTES_MAX];
    struct weir_pex_about about = {.flags = 3,
                                   .nonce = UINT64_C(0x0102030405060708),
                                   .place = at4(3, 7711),
                                   .port = 7711,
                                   .caps = "relay"},
                          got;
    cr_assert_eq(weir_pex_put_about(&about, bytes), sizeof(about_bytes));
    cr_assert_arr_eq(bytes, about_bytes, sizeof(about_bytes));
    cr_assert_eq(weir_pex_kind(bytes, 1), WEIR_PEX_ABOUT);
    cr_assert(weir_pex_get_about(bytes, sizeof(about_bytes), &got));
    cr_assert(got.flags == 3 && got.nonce == about.nonce && got.port == 7711);
    cr_assert(weir_place_is_equal(&got.place, &about.place));
    cr_assert_str_eq(got.caps, "relay");
    struct weir_pex_about nowhere = {.nonce = about.nonce};
    cr_assert_eq(weir_pex_put_about(&nowhere, bytes), sizeof(nowhere_bytes));
    cr_assert_arr_eq(bytes, nowhere_bytes, sizeof(nowhere_bytes));
    cr_assert(weir_pex_get_about(bytes, sizeof(nowhere_bytes), &got));
    cr_assert(got.port == 0 && got.place.family == WEIR_ADDR_NONE && got.caps[0] == '\0');
    nowhere.port = 9; /* a port without an address: where it listens, wherever it is */
    size_t len = weir_pex_put_about(&nowhere, bytes);
    cr_assert(weir_pex_get_about(bytes, len, &got));
    cr_assert(got.port == 9 && got.place.family == WEIR_ADDR_NONE);
}

Test(pex, ask)
{
    uint8_t bytes[WEIR_PEX_BYTES_MAX];
    struct weir_pex_ask ask = {.id = 0x11223344, .place_max = 250, .cap = "archive"}, got;
    cr_assert_eq(weir_pex_put_ask(&ask, bytes), sizeof(ask_bytes));
    cr_assert_arr_eq(bytes, ask_bytes, sizeof(ask_bytes));
    cr_assert(weir_pex_get_ask(bytes, sizeof(ask_bytes), &got));
    cr_assert(got.id == ask.id && got.place_max == 250);
    cr_assert_str_eq(got.cap, "archive");
    bytes[2] = 251;
    cr_assert(!weir_pex_get_ask(bytes, sizeof(ask_bytes), &got), "too many");
    bytes[2] = 0;
    cr_assert(!weir_pex_get_ask(bytes, sizeof(ask_bytes), &got), "none");
    bytes[2] = 1;
    bytes[8] = 'A';
    cr_assert(!weir_pex_get_ask(bytes, sizeof(ask_bytes), &got), "not a name");
}

Test(pex, answer)
{
    uint8_t bytes[WEIR_PEX_BYTES_MAX];
    static struct weir_pex_answer answer, got;
    answer.id = 0x11223344;
    answer.record_cnt = 2;
    answer.records[0] = (struct weir_pex_record){.place = at4(9, 7000), .age_s = 60, .caps = "x"};
    answer.records[1] = (struct weir_pex_record){.place = at6(5, 7001), .age_s = 256};
    cr_assert_eq(weir_pex_put_answer(&answer, bytes), sizeof(answer_bytes));
    cr_assert_arr_eq(bytes, answer_bytes, sizeof(answer_bytes));
    cr_assert(weir_pex_get_answer(bytes, sizeof(answer_bytes), &got));
    cr_assert(got.id == answer.id && got.record_cnt == 2);
    for (int i = 0; i < 2; i++) {
        cr_assert(weir_place_is_equal(&got.records[i].place, &answer.records[i].place));
        cr_assert_eq(got.records[i].age_s, answer.records[i].age_s);
        cr_assert_str_eq(got.records[i].caps, answer.records[i].caps);
    }
    /* A place that is of no use to anybody is left out; the others are taken. */
    bytes[16] = 0;
    cr_assert(weir_pex_get_answer(bytes, sizeof(answer_bytes), &got));
    cr_assert(got.record_cnt == 1 && got.records[0].place.family == WEIR_ADDR_IPV6);
}

Test(pex, the_longest_answer_fits)
{
    static uint8_t bytes[WEIR_PEX_BYTES_MAX];
    static struct weir_pex_answer answer, got;
    answer.record_cnt = WEIR_PEX_PLACES_MAX;
    for (uint32_t i = 0; i < WEIR_PEX_PLACES_MAX; i++)
        answer.records[i] = (struct weir_pex_record){
            .place = at6((uint8_t)i, 1), .caps = "aaaaaaaaaaaaaaa,bbbbbbbbbbbbbbb,ccccccccccccc"};
    cr_assert_eq(weir_pex_put_answer(&answer, bytes), WEIR_PEX_BYTES_MAX);
    cr_assert(weir_pex_get_answer(bytes, WEIR_PEX_BYTES_MAX, &got));
    cr_assert_eq(got.record_cnt, WEIR_PEX_PLACES_MAX);
    bytes[2] = 251;
    cr_assert(!weir_pex_get_answer(bytes, WEIR_PEX_BYTES_MAX, &got));
}

/* Cut or prolonged by any number of bytes, no message passes. */
Test(pex, lengths_have_to_add_up)
{
    static const struct {
        const uint8_t *bytes;
        size_t len;
    } messages[] = {{about_bytes, sizeof(about_bytes)},
                    {nowhere_bytes, sizeof(nowhere_bytes)},
                    {ask_bytes, sizeof(ask_bytes)},
                    {answer_bytes, sizeof(answer_bytes)}};
    static struct weir_pex_answer answer;
    struct weir_pex_about about;
    struct weir_pex_ask ask;
    for (size_t i = 0; i < 4; i++) {
        for (size_t len = 0; len < messages[i].len + 3; len++) {
            uint8_t *piece = calloc(1, len + 1);
            memcpy(piece, messages[i].bytes, len < messages[i].len ? len : messages[i].len);
            bool is_good = i < 2    ? weir_pex_get_about(piece, len, &about)
                           : i == 2 ? weir_pex_get_ask(piece, len, &ask)
                                    : weir_pex_get_answer(piece, len, &answer);
            cr_assert_eq(is_good, len == messages[i].len, "message %zu of %zu bytes", i, len);
            free(piece);
        }
    }
    cr_assert_eq(weir_pex_kind(about_bytes, 0), WEIR_PEX_MALFORMED);
    cr_assert_eq(weir_pex_kind((const uint8_t[]){0}, 1), WEIR_PEX_MALFORMED);
    cr_assert_eq(weir_pex_kind((const uint8_t[]){4}, 1), WEIR_PEX_OTHER);
}
