#include "engine/peers/book.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "weir/error.h"

#define NOW UINT64_C(1763000000)

static struct weir_book *make(uint8_t key, uint32_t new_cnt, uint32_t tried_cnt)
{
    struct weir_book_config cfg = {
        .seed = key, .new_bucket_cnt = new_cnt, .tried_bucket_cnt = tried_cnt};
    memset(cfg.key, key, sizeof(cfg.key));
    struct weir_book *book;
    cr_assert_eq(weir_book_create(&book, &cfg), 0);
    return book;
}

static struct weir_place at(uint32_t ip, uint16_t port)
{
    struct weir_place place = {.family = WEIR_ADDR_IPV4, .port = port};
    for (int i = 0; i < 4; i++)
        place.ip[i] = (uint8_t)(ip >> (24 - 8 * i));
    return place;
}

/* The n-th place of a group: 20.0/16, 20.1/16 and so on. */
static struct weir_place member(uint32_t group, uint32_t n)
{
    return at((20u << 24) + (group << 16) + n, 7000);
}

static bool add(struct weir_book *book, struct weir_place place, struct weir_place source)
{
    return weir_book_add(book, &place, &source, "", NOW - 60, NOW);
}

static struct weir_book_stats stats(const struct weir_book *book)
{
    struct weir_book_stats found;
    weir_book_stats(book, &found);
    return found;
}

static void fail(struct weir_book *book, struct weir_place place, int times, uint64_t now_s)
{
    for (int i = 0; i < times; i++)
        weir_book_attempt(book, &place, true, now_s);
}

Test(book, what_is_told_is_found_and_what_is_no_place_is_not_taken)
{
    struct weir_book *book = make(1, 0, 0);
    struct weir_place source = member(9, 9), place = member(0, 1);
    struct weir_book_entry entry;
    cr_assert(!weir_book_select(book, false, NOW, NULL, NULL, &entry), "an empty book");
    cr_assert_eq(weir_book_sample(book, NOW, NULL, NULL, &entry, 1), 0);
    cr_assert_null(weir_book_find(book, &place));
    cr_assert(weir_book_add(book, &place, &source, "archive", NOW - 60, NOW));
    const struct weir_book_entry *found = weir_book_find(book, &place);
    cr_assert(found && !found->is_tried && found->seen_s == NOW - 60);
    cr_assert_str_eq(found->caps, "archive");
    cr_assert(weir_book_select(book, false, NOW, NULL, NULL, &entry));
    cr_assert(weir_place_is_equal(&entry.place, &place));
    cr_assert(!add(book, at(0, 7000), source) && !add(book, at(0x08080808, 0), source));
    cr_assert(!weir_book_add(book, &source, &source, "NOT A NAME", NOW, NOW));
    /* Others' words about capabilities change nothing; its own do. */
    (void)weir_book_add(book, &place, &source, "relay", NOW, NOW);
    cr_assert_str_eq(weir_book_find(book, &place)->caps, "archive");
    struct weir_place own = place;
    own.port = 50000;
    (void)weir_book_add(book, &place, &own, "relay", NOW, NOW);
    cr_assert_str_eq(weir_book_find(book, &place)->caps, "relay");
    weir_book_verify(book);
    weir_book_remove(book, &place);
    cr_assert_null(weir_book_find(book, &place));
    weir_book_verify(book);
    weir_book_free(book);
    weir_book_free(NULL);
}

Test(book, one_who_tells_lies_reaches_64_buckets_of_new)
{
    struct weir_book *book = make(2, 0, 0);
    struct weir_place liar = member(200, 1);
    for (uint32_t i = 0; i < 60000; i++)
        (void)add(book, member(i % 150, i), liar);
    cr_assert_leq(stats(book).new_cnt, 64 * 64);
    cr_assert_geq(stats(book).new_cnt, 3000, "and they were used: %u", stats(book).new_cnt);
    weir_book_verify(book);
    /* What others tell finds room all the same: 960 buckets are out of reach. */
    uint32_t before = stats(book).new_cnt, taken = 0;
    for (uint32_t i = 0; i < 500; i++)
        taken += add(book, member(i % 100, 60000 + i % 5000), member(201 + i % 50, 1));
    cr_assert_geq(taken, 400, "%u of 500", taken);
    cr_assert_eq(stats(book).new_cnt, before + taken);
    weir_book_verify(book);
    weir_book_free(book);
}

Test(book, one_group_reaches_8_buckets_of_tried)
{
    struct weir_book *book = make(3, 0, 0);
    for (uint32_t i = 0; i < 5000; i++) {
        struct weir_place place = member(7, i);
        (void)add(book, place, member(i % 100 + 10, 1));
        weir_book_good(book, &place, NOW);
    }
    cr_assert_leq(stats(book).tried_cnt, 8 * 64);
    cr_assert_geq(stats(book).tried_cnt, 350);
    weir_book_verify(book);
    weir_book_free(book);
}

Test(book, another_key_has_other_slots)
{
    uint32_t same = 0;
    struct weir_book *books[2] = {make(4, 4, 4), make(5, 4, 4)};
    bool is_in[2][600];
    for (int k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < 600; i++)
            (void)add(books[k], member(i % 20, i), member(99, 1));
        for (uint32_t i = 0; i < 600; i++) {
            struct weir_place place = member(i % 20, i);
            is_in[k][i] = weir_book_find(books[k], &place) != NULL;
        }
        weir_book_verify(books[k]);
    }
    for (uint32_t i = 0; i < 600; i++)
        same += is_in[0][i] == is_in[1][i];
    cr_assert_leq(same, 500, "%u of 600 met the same fate", same);
    weir_book_free(books[0]);
    weir_book_free(books[1]);
}

Test(book, terrible_places_are_not_told_and_give_way)
{
    struct weir_book_entry entry = {.seen_s = NOW - 100};
    cr_assert(!weir_book_is_terrible(&entry, NOW));
    entry.attempt_cnt = 3;
    cr_assert(weir_book_is_terrible(&entry, NOW), "never answered in three attempts");
    entry.attempt_s = NOW - 59;
    cr_assert(!weir_book_is_terrible(&entry, NOW), "the third is on its way");
    entry.attempt_s = NOW - 61;
    entry.good_s = NOW - 6 * 86400;
    entry.attempt_cnt = 10;
    cr_assert(!weir_book_is_terrible(&entry, NOW), "it answered this week");
    entry.good_s = NOW - 8 * 86400;
    cr_assert(weir_book_is_terrible(&entry, NOW));
    entry.attempt_cnt = 9;
    cr_assert(!weir_book_is_terrible(&entry, NOW));
    entry.seen_s = NOW - 31 * 86400;
    cr_assert(weir_book_is_terrible(&entry, NOW), "not seen for a month");
    entry.seen_s = NOW + 601;
    cr_assert(weir_book_is_terrible(&entry, NOW), "from the future");

    struct weir_book *book = make(6, 1, 1); /* 64 slots: full soon */
    for (uint32_t i = 0; i < 600; i++)
        (void)add(book, member(1, i), member(2, 1));
    uint32_t full = stats(book).new_cnt;
    cr_assert(full <= 64 && full > 50);
    uint32_t taken = 0;
    for (uint32_t i = 0; i < 600; i++)
        taken += add(book, member(3, i), member(2, 1));
    cr_assert_leq(taken, 64 - full, "good ones stay");
    for (uint32_t i = 0; i < 600; i++)
        fail(book, member(1, i), 3, NOW - 120);
    struct weir_book_entry all[64];
    uint32_t told = weir_book_sample(book, NOW, NULL, NULL, all, 64);
    cr_assert_eq(told, taken, "%u are told, %u are good", told, taken);
    taken = 0;
    for (uint32_t i = 600; i < 1200; i++)
        taken += add(book, member(3, i), member(2, 1));
    cr_assert_geq(taken, 40);
    weir_book_verify(book);
    weir_book_free(book);
}

Test(book, the_wait_between_attempts_doubles_and_a_success_ends_it)
{
    static const uint64_t most[] = {2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1800, 1800, 1800};
    for (uint32_t n = 0; n < sizeof(most) / sizeof(most[0]); n++) {
        for (uint64_t random = 0; random < 5000; random++) {
            uint64_t wait = weir_book_backoff_s(n, random);
            cr_assert(wait >= most[n] / 2 && wait <= most[n], "n %u: %llu", n,
                      (unsigned long long)wait);
        }
    }
    cr_assert_leq(weir_book_backoff_s(UINT32_MAX, UINT64_MAX), 1800);

    struct weir_book *book = make(7, 0, 0);
    struct weir_place place = member(1, 1);
    struct weir_book_entry entry;
    (void)add(book, place, member(2, 1));
    uint64_t now_s = NOW;
    for (uint32_t n = 0; n < 5; n++) {
        weir_book_attempt(book, &place, true, now_s);
        uint64_t wait = weir_book_find(book, &place)->retry_s - now_s;
        cr_assert(wait >= most[n] / 2 && wait <= most[n]);
        cr_assert(!weir_book_select(book, false, now_s + wait - 1, NULL, NULL, &entry));
        now_s += wait;
        cr_assert(weir_book_select(book, false, now_s, NULL, NULL, &entry));
    }
    weir_book_attempt(book, &place, false, now_s); /* while nothing at all can be reached */
    cr_assert_leq(weir_book_find(book, &place)->retry_s - now_s, 2);
    cr_assert_eq(weir_book_find(book, &place)->attempt_cnt, 5);
    weir_book_good(book, &place, now_s);
    cr_assert_eq(weir_book_find(book, &place)->attempt_cnt, 0);
    cr_assert(weir_book_select(book, false, now_s, NULL, NULL, &entry));
    cr_assert(entry.is_tried);
    weir_book_free(book);
}

/* Two places that want one slot of tried, the first of which is in it. */
static void meet(struct weir_book *book, struct weir_place *ret_old, struct weir_place *ret_young)
{
    *ret_old = member(1, 1);
    (void)add(book, *ret_old, member(2, 1));
    weir_book_good(book, ret_old, NOW);
    for (uint32_t i = 2; stats(book).waiting_cnt == 0; i++) {
        cr_assert_lt(i, 10000);
        *ret_young = member(1, i);
        (void)add(book, *ret_young, member(2, 1));
        if (!weir_book_find(book, ret_young))
            continue;
        weir_book_good(book, ret_young, NOW);
        if (stats(book).waiting_cnt == 0)
            weir_book_remove(book, ret_young);
    }
    cr_assert(!weir_book_find(book, ret_young)->is_tried);
}

Test(book, a_slot_of_tried_is_given_away_only_by_one_who_does_not_answer)
{
    struct weir_book_entry entry;
    struct weir_place old, young;
    for (int answers = 0; answers < 2; answers++) {
        struct weir_book *book = make(8, 4, 1);
        meet(book, &old, &young);
        cr_assert(!weir_book_doubtful(book, NOW + 100, &entry), "it answered a moment ago");
        uint64_t later = NOW + 5 * 3600;
        /* What was settled in between stays; whoever waits goes on waiting. */
        cr_assert(weir_book_doubtful(book, later, &entry));
        cr_assert(weir_place_is_equal(&entry.place, &old));
        weir_book_attempt(book, &old, true, later);
        cr_assert(!weir_book_doubtful(book, later, &entry), "it is being dialed");
        if (answers)
            weir_book_good(book, &old, later + 1);
        weir_book_settle(book, later + 61);
        cr_assert_eq(stats(book).waiting_cnt, 0);
        cr_assert_eq(weir_book_find(book, &old)->is_tried, answers != 0);
        cr_assert_eq(weir_book_find(book, &young)->is_tried, answers == 0);
        weir_book_verify(book);
        weir_book_free(book);
    }
    struct weir_book *book = make(8, 4, 1);
    meet(book, &old, &young);
    weir_book_settle(book, NOW + 3600);
    cr_assert_eq(stats(book).waiting_cnt, 0, "a fresh success is proof enough");
    cr_assert(weir_book_find(book, &old)->is_tried);
    weir_book_free(book);
}

Test(book, chooses_by_chance_and_prefers_who_answered)
{
    struct weir_book *book = make(9, 0, 0);
    uint32_t hits[3] = {0};
    struct weir_place places[3] = {member(1, 1), member(2, 1), member(3, 1)};
    for (int i = 0; i < 3; i++)
        (void)add(book, places[i], member(4, 1));
    fail(book, places[2], 8, NOW - 7200); /* its wait is over; good once, so not terrible */
    for (int i = 0; i < 3000; i++) {
        struct weir_book_entry entry;
        cr_assert(weir_book_select(book, false, NOW, NULL, NULL, &entry));
        for (int k = 0; k < 3; k++)
            hits[k] += weir_place_is_equal(&entry.place, &places[k]);
    }
    cr_assert(hits[0] > 1000 && hits[1] > 1000, "%u %u", hits[0], hits[1]);
    cr_assert(hits[2] > 0 && hits[2] < 500, "%u", hits[2]);
    weir_book_free(book);
}

static bool is_odd(void *ctx, const struct weir_book_entry *entry)
{
    (void)ctx;
    return entry->place.ip[3] & 1;
}

Test(book, samples_are_shuffled_and_filtered)
{
    struct weir_book *book = make(10, 0, 0);
    for (uint32_t i = 0; i < 200; i++)
        (void)add(book, member(i % 100, i), member(100 + i % 50, 1));
    struct weir_book_entry first[50], second[50];
    cr_assert_eq(weir_book_sample(book, NOW, is_odd, NULL, first, 50), 50);
    cr_assert_eq(weir_book_sample(book, NOW, is_odd, NULL, second, 50), 50);
    uint32_t same = 0;
    for (int i = 0; i < 50; i++) {
        cr_assert(first[i].place.ip[3] & 1);
        same += weir_place_is_equal(&first[i].place, &second[i].place);
        for (int k = 0; k < i; k++)
            cr_assert(!weir_place_is_equal(&first[i].place, &first[k].place), "twice");
    }
    cr_assert_lt(same, 10);
    weir_book_verify(book);
    weir_book_free(book);
}

Test(book, anchors_are_the_last_that_were_set)
{
    struct weir_book *book = make(11, 0, 0);
    struct weir_place places[4] = {member(1, 1), member(2, 2), member(3, 3), member(4, 4)}, got[2];
    for (int i = 0; i < 4; i++)
        (void)add(book, places[i], member(5, 1));
    cr_assert_eq(weir_book_anchors(book, got), 0);
    weir_book_set_anchors(book, places, 3);
    cr_assert_eq(weir_book_anchors(book, got), 2);
    weir_book_set_anchors(book, &places[3], 1);
    cr_assert_eq(weir_book_anchors(book, got), 1);
    cr_assert(weir_place_is_equal(&got[0], &places[3]));
    weir_book_free(book);
}

/* A random program against the invariants, in a book so small that everything displaces everything. */
Test(book, invariants_hold_whatever_is_done)
{
    for (uint8_t key = 1; key <= 8; key++) {
        struct weir_book *book = make(key, 3, 2);
        uint64_t now_s = NOW;
        for (int step = 0; step < 4000; step++) {
            struct weir_place place =
                member((uint32_t)weir_book_random(book, 20), (uint32_t)weir_book_random(book, 50));
            struct weir_book_entry entry;
            now_s += weir_book_random(book, 300);
            switch (weir_book_random(book, 9)) {
            case 0:
            case 1:
            case 2:
                (void)weir_book_add(book, &place, &(struct weir_place){.family = 4, .port = 1},
                                    "a,b", now_s - weir_book_random(book, 10000000), now_s);
                break;
            case 3:
                weir_book_good(book, &place, now_s);
                break;
            case 4:
                weir_book_attempt(book, &place, true, now_s);
                break;
            case 5:
                weir_book_remove(book, &place);
                break;
            case 6:
                weir_book_settle(book, now_s);
                break;
            case 7:
                if (weir_book_doubtful(book, now_s, &entry))
                    weir_book_attempt(book, &entry.place, true, now_s);
                break;
            case 8:
                (void)weir_book_sample(book, now_s, NULL, NULL, &entry, 1);
                break;
            }
            if (step % 16 == 0)
                weir_book_verify(book);
        }
        weir_book_verify(book);
        cr_assert(stats(book).new_cnt + stats(book).tried_cnt > 0);
        weir_book_free(book);
    }
}
