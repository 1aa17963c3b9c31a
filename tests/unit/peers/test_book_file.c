#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/peers/book.h"

#define NOW UINT64_C(1763000000)
#define PLACES 20u

static struct weir_book *make(uint8_t key)
{
    struct weir_book_config cfg = {.seed = key};
    memset(cfg.key, key, sizeof(cfg.key));
    struct weir_book *book;
    cr_assert_eq(weir_book_create(&book, &cfg), 0);
    return book;
}

static struct weir_place member(uint32_t n)
{
    struct weir_place place = {.family = WEIR_ADDR_IPV4, .port = (uint16_t)(7000 + n)};
    memcpy(place.ip, (uint8_t[]){30, (uint8_t)n, 1, 1}, 4);
    return place;
}

/* A book with tried and new places, capabilities, attempts and an anchor. */
static struct weir_book *sample(void)
{
    struct weir_book *book = make(1);
    struct weir_place source = member(200), anchor = member(0);
    for (uint32_t i = 0; i < PLACES; i++) {
        struct weir_place place = member(i);
        cr_assert(weir_book_add(book, &place, &source, i % 2 ? "archive,relay" : "", NOW - i, NOW));
        if (i % 3 == 0)
            weir_book_good(book, &place, NOW - 5);
        if (i % 4 == 0)
            weir_book_attempt(book, &place, true, NOW);
    }
    weir_book_set_anchors(book, &anchor, 1);
    return book;
}

static size_t format(const struct weir_book *book, uint8_t *ret_bytes)
{
    uint32_t cursor = 0, cnt = 0;
    while (weir_book_put_record(book, &cursor, cnt,
                                ret_bytes + WEIR_BOOK_HEADER_BYTES +
                                    (size_t)cnt * WEIR_BOOK_RECORD_BYTES))
        cnt++;
    weir_book_put_header(book, cnt, ret_bytes);
    return WEIR_BOOK_HEADER_BYTES + (size_t)cnt * WEIR_BOOK_RECORD_BYTES;
}

#define BYTES (WEIR_BOOK_HEADER_BYTES + (PLACES + 2) * WEIR_BOOK_RECORD_BYTES)

/* Those of `from` that `to` has, as they were. */
static uint32_t common(const struct weir_book *from, const struct weir_book *to)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < PLACES; i++) {
        struct weir_place place = member(i);
        const struct weir_book_entry *was = weir_book_find(from, &place);
        const struct weir_book_entry *is = weir_book_find(to, &place);
        if (!is)
            continue;
        cnt++;
        cr_assert(was->is_tried == is->is_tried && was->is_anchor == is->is_anchor);
        cr_assert(was->seen_s == is->seen_s && was->attempt_s == is->attempt_s);
        cr_assert(was->good_s == is->good_s && was->retry_s == is->retry_s);
        cr_assert_eq(was->attempt_cnt, is->attempt_cnt);
        cr_assert_str_eq(was->caps, is->caps);
        cr_assert(weir_place_is_equal(&was->source, &is->source));
    }
    return cnt;
}

Test(book_file, comes_back_as_it_was_and_in_the_same_bytes)
{
    uint8_t bytes[BYTES], again[BYTES];
    struct weir_book *book = sample(), *copy = make(2);
    size_t len = format(book, bytes);
    cr_assert_eq(len, WEIR_BOOK_HEADER_BYTES + PLACES * WEIR_BOOK_RECORD_BYTES);
    struct weir_book_read read;
    weir_book_parse(copy, bytes, len, NOW, &read);
    cr_assert(read.taken_cnt == PLACES && read.damaged_cnt == 0 && read.missing_cnt == 0);
    cr_assert(!read.is_header_damaged && !read.is_foreign);
    cr_assert_eq(common(book, copy), PLACES);
    weir_book_verify(copy);
    cr_assert_eq(format(copy, again), len);
    cr_assert_arr_eq(bytes, again, len);
    weir_book_free(book);
    weir_book_free(copy);
}

Test(book_file, every_damaged_byte_costs_one_record_or_the_key)
{
    uint8_t bytes[BYTES];
    struct weir_book *book = sample();
    size_t len = format(book, bytes);
    for (size_t at = 0; at < len; at++) {
        for (int bit = 0; bit < 8; bit += 7) {
            bytes[at] ^= (uint8_t)(1 << bit);
            struct weir_book *copy = make(2);
            struct weir_book_read read;
            weir_book_parse(copy, bytes, len, NOW, &read);
            bool is_header = at < WEIR_BOOK_HEADER_BYTES;
            cr_assert_eq(read.is_header_damaged, is_header, "byte %zu", at);
            cr_assert_eq(read.damaged_cnt, !is_header, "byte %zu", at);
            if (!is_header)
                cr_assert_eq(read.damaged_idx,
                             (at - WEIR_BOOK_HEADER_BYTES) / WEIR_BOOK_RECORD_BYTES);
            cr_assert(!read.is_foreign);
            cr_assert_eq(common(book, copy), PLACES - !is_header, "byte %zu", at);
            weir_book_verify(copy);
            weir_book_free(copy);
            bytes[at] ^= (uint8_t)(1 << bit);
        }
    }
    weir_book_free(book);
}

Test(book_file, every_length_gives_the_records_that_are_whole)
{
    uint8_t bytes[BYTES] = {0};
    struct weir_book *book = sample();
    size_t len = format(book, bytes);
    for (size_t cut = 0; cut <= len; cut++) {
        uint8_t *piece = malloc(cut + 1); /* so that a byte too far is seen */
        memcpy(piece, bytes, cut);
        struct weir_book *copy = make(2);
        struct weir_book_read read;
        weir_book_parse(copy, piece, cut, NOW, &read);
        bool has_header = cut >= WEIR_BOOK_HEADER_BYTES;
        uint32_t whole =
            has_header ? (uint32_t)((cut - WEIR_BOOK_HEADER_BYTES) / WEIR_BOOK_RECORD_BYTES) : 0;
        cr_assert_eq(read.taken_cnt, whole, "%zu", cut);
        cr_assert_eq(read.missing_cnt, has_header ? PLACES - whole : 0, "%zu", cut);
        cr_assert_eq(read.is_foreign, !has_header, "%zu", cut);
        weir_book_free(copy);
        free(piece);
    }
    weir_book_free(book);
}

Test(book_file, records_do_not_pass_for_others_and_what_is_no_book_is_not_one)
{
    uint8_t bytes[BYTES], record[WEIR_BOOK_RECORD_BYTES];
    struct weir_book *book = sample(), *copy = make(2);
    size_t len = format(book, bytes);
    uint8_t *first = bytes + WEIR_BOOK_HEADER_BYTES, *second = first + WEIR_BOOK_RECORD_BYTES;
    memcpy(record, first, sizeof(record));
    memcpy(first, second, sizeof(record));
    memcpy(second, record, sizeof(record));
    struct weir_book_read read;
    weir_book_parse(copy, bytes, len, NOW, &read);
    cr_assert_eq(read.damaged_cnt, 2);
    cr_assert_eq(read.taken_cnt, PLACES - 2);
    weir_book_free(copy);
    copy = make(2);
    memset(bytes, 'x', len);
    weir_book_parse(copy, bytes, len, NOW, &read);
    cr_assert(read.is_foreign && read.taken_cnt == 0);
    weir_book_free(copy);
    weir_book_free(book);
}

Test(book_file, a_clock_that_was_wrong_keeps_nobody_waiting)
{
    uint8_t bytes[BYTES];
    struct weir_book *book = make(3), *copy = make(4);
    struct weir_place place = member(1), source = member(9);
    uint64_t wrong = NOW + 400 * 86400;
    cr_assert(weir_book_add(book, &place, &source, "", wrong, wrong));
    weir_book_good(book, &place, wrong);
    weir_book_attempt(book, &place, true, wrong);
    size_t len = format(book, bytes);
    struct weir_book_read read;
    struct weir_book_entry entry;
    weir_book_parse(copy, bytes, len, NOW, &read);
    cr_assert_eq(read.taken_cnt, 1);
    cr_assert(weir_book_select(copy, false, NOW, NULL, NULL, &entry));
    cr_assert(!weir_book_is_terrible(weir_book_find(copy, &place), NOW));
    weir_book_free(book);
    weir_book_free(copy);
}
