#include "engine/peers/bans.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/error.h"

#define NOW UINT64_C(1763000000)

static struct weir_bans *make(uint32_t max)
{
    struct weir_bans *bans;
    cr_assert_eq(weir_bans_create(&bans, max), 0);
    return bans;
}

static int add(struct weir_bans *bans, const char *prefix, uint64_t until_s, bool is_manual)
{
    struct weir_ban_entry entry = {.since_s = NOW,
                                   .until_s = until_s,
                                   .reason = is_manual ? WEIR_R_BANNED : WEIR_R_BAD_CHECKSUM,
                                   .is_manual = is_manual};
    cr_assert_eq(weir_prefix_parse(&entry.prefix, prefix), 0, "%s", prefix);
    return weir_bans_add(bans, &entry, NOW);
}

static bool is_banned(const struct weir_bans *bans, const char *text, uint64_t now_s)
{
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, text), 0);
    return weir_bans_find(bans, &addr, now_s) != NULL;
}

Test(bans, addresses_and_subnets_until_their_time)
{
    struct weir_bans *bans = make(10);
    cr_assert(!is_banned(bans, "192.0.2.7:1", NOW));
    cr_assert_eq(add(bans, "192.0.2.7", NOW + 10, true), 0);
    cr_assert_eq(add(bans, "198.51.100.0/24", NOW + 20, true), 0);
    cr_assert_eq(add(bans, "2001:db8::/32", WEIR_BAN_FOREVER, true), 0);
    static const struct {
        const char *addr;
        uint64_t until; /* first second at which it is free; 0: always, UINT64_MAX: never */
    } cases[] = {{"192.0.2.7:9", 10},
                 {"192.0.2.8:9", 0},
                 {"[::ffff:192.0.2.7]:9", 10},
                 {"198.51.100.0:1", 20},
                 {"198.51.100.255:1", 20},
                 {"198.51.101.0:1", 0},
                 {"[2001:db8:ffff::1]:1", UINT64_MAX},
                 {"[2001:db9::1]:1", 0},
                 {"unix:/x", 0}};
    static const uint64_t times[] = {0, 9, 10, 19, 20, 1000000000};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t k = 0; k < 6; k++)
            cr_assert_eq(is_banned(bans, cases[i].addr, NOW + times[k]), times[k] < cases[i].until,
                         "%s at %llu", cases[i].addr, (unsigned long long)times[k]);
    }
    cr_assert_eq(weir_bans_expire(bans, NOW + 10), 1);
    cr_assert_eq(weir_bans_cnt(bans), 2);
    struct weir_ban_entry prefix = {0};
    cr_assert_eq(weir_ban_whom_parse(&prefix, "198.51.100.0/25"), 0);
    cr_assert(!weir_bans_remove(bans, &prefix), "exactly that one");
    cr_assert_eq(weir_ban_whom_parse(&prefix, "198.51.100.0/24"), 0);
    cr_assert(weir_bans_remove(bans, &prefix));
    cr_assert(!is_banned(bans, "198.51.100.1:1", NOW));
    weir_bans_free(bans);
    weir_bans_free(NULL);
}

Test(bans, a_score_does_not_override_an_operator)
{
    struct weir_bans *bans = make(10);
    cr_assert_eq(add(bans, "192.0.2.7", NOW + 100, true), 0);
    cr_assert_eq(add(bans, "192.0.2.7", NOW + 1000, false), 0);
    cr_assert_eq(weir_bans_at(bans, 0)->until_s, NOW + 100);
    cr_assert(weir_bans_at(bans, 0)->is_manual);
    cr_assert_eq(add(bans, "192.0.2.7", NOW + 5, true), 0);
    cr_assert_eq(weir_bans_at(bans, 0)->until_s, NOW + 5, "an operator overrides himself");
    cr_assert_eq(add(bans, "192.0.2.8", NOW + 100, false), 0);
    cr_assert_eq(add(bans, "192.0.2.8", NOW + 50, false), 0);
    cr_assert_eq(weir_bans_at(bans, 1)->until_s, NOW + 100, "nor is a ban made shorter");
    cr_assert_eq(weir_bans_cnt(bans), 2);
    weir_bans_free(bans);
}

Test(bans, the_table_has_its_bound)
{
    struct weir_bans *bans = make(4);
    cr_assert_eq(add(bans, "192.0.2.1", NOW + 10, true), 0);
    cr_assert_eq(add(bans, "192.0.2.2", NOW + 300, false), 0);
    cr_assert_eq(add(bans, "192.0.2.3", NOW + 200, false), 0);
    cr_assert_eq(add(bans, "192.0.2.4", NOW + 400, false), 0);
    cr_assert_eq(add(bans, "192.0.2.5", NOW + 100, false), WEIR_E_LIMIT, "it would end first");
    cr_assert_eq(add(bans, "192.0.2.5", NOW + 500, false), 0, "drives 3 out");
    cr_assert(!is_banned(bans, "192.0.2.3:1", NOW));
    cr_assert(is_banned(bans, "192.0.2.1:1", NOW), "never an operator's");
    for (int i = 10; i < 13; i++) {
        char text[32];
        snprintf(text, sizeof(text), "192.0.2.%d", i);
        cr_assert_eq(add(bans, text, NOW + 1, true), 0);
    }
    cr_assert_eq(add(bans, "192.0.2.99", WEIR_BAN_FOREVER, true), WEIR_E_LIMIT);
    weir_bans_free(bans);
}

Test(bans, a_node_id_is_banned_apart_from_all_addresses)
{
    struct weir_bans *bans = make(10);
    struct weir_id ids[2] = {{{0}}, {{0}}};
    ids[1].bytes[31] = 1;
    char text[WEIR_ID_TEXT_BYTES], damaged[WEIR_ID_TEXT_BYTES];
    struct weir_ban_entry whom = {.since_s = NOW, .until_s = NOW + 10, .is_manual = true};
    cr_assert_eq(weir_ban_whom_parse(&whom, weir_id_text(&ids[1], text)), 0);
    cr_assert_eq(whom.prefix.family, WEIR_ADDR_NONE);
    cr_assert_eq(weir_bans_add(bans, &whom, NOW), 0);
    cr_assert(weir_bans_find_id(bans, ids[1].bytes, NOW + 9) != NULL);
    cr_assert(weir_bans_find_id(bans, ids[1].bytes, NOW + 10) == NULL);
    cr_assert(weir_bans_find_id(bans, ids[0].bytes, NOW) == NULL);
    cr_assert(!is_banned(bans, "0.0.0.0:1", NOW) && !is_banned(bans, "[::]:1", NOW));
    cr_assert_eq(add(bans, "0.0.0.0/0", NOW + 10, true), 0);
    cr_assert(weir_bans_find_id(bans, ids[0].bytes, NOW) == NULL, "no address is an id");
    cr_assert(is_banned(bans, "192.0.2.1:1", NOW));
    /* Kept as text, with the longest times there can be. */
    char file[4 * WEIR_BAN_LINE_BYTES];
    whom.since_s = UINT64_MAX - 1;
    whom.until_s = UINT64_MAX - 1;
    whom.reason = WEIR_R_HANDSHAKE_TIMEOUT;
    cr_assert_eq(weir_bans_add(bans, &whom, NOW), 0);
    size_t len = weir_bans_format(bans, file);
    struct weir_bans *again = make(10);
    struct weir_bans_read got;
    weir_bans_parse(again, file, len, NOW, &got);
    cr_assert(got.ban_cnt == 2 && got.damaged_cnt == 0 && !got.is_cut);
    cr_assert_eq(weir_bans_at(again, 0)->reason, WEIR_R_HANDSHAKE_TIMEOUT);
    cr_assert(weir_bans_find_id(again, ids[1].bytes, NOW + 1000) != NULL);
    cr_assert(weir_bans_remove(again, &whom) && !weir_bans_remove(again, &whom));
    cr_assert(weir_bans_find_id(again, ids[1].bytes, NOW) == NULL && weir_bans_cnt(again) == 1);
    /* What begins like an id is one or nothing. */
    memcpy(damaged, text, sizeof(text));
    damaged[20] = damaged[20] == 'q' ? 'p' : 'q';
    cr_assert_eq(weir_ban_whom_parse(&whom, damaged), WEIR_E_KEY);
    cr_assert_eq(weir_ban_whom_parse(&whom, "weir1"), WEIR_E_KEY);
    weir_bans_free(again);
    weir_bans_free(bans);
}

/* Against a plain list, under a random program. */
Test(bans, lookups_are_those_of_a_plain_list)
{
    enum { MAX = 300 };
    struct weir_bans *bans = make(MAX);
    uint64_t random = 5;
    for (uint32_t step = 0; step < 20000; step++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint32_t word = (uint32_t)(random >> 32);
        struct weir_addr addr = {.family = word & 1 ? WEIR_ADDR_IPV4 : WEIR_ADDR_IPV6};
        addr.ip[0] = (uint8_t)(10 + word % 3);
        addr.ip[1] = (uint8_t)(word >> 8 & 3);
        addr.ip[3] = (uint8_t)(word >> 16 & 7);
        struct weir_ban_entry entry = {
            .since_s = NOW, .until_s = NOW + 1 + (word >> 20) % 50, .is_manual = true};
        if ((word >> 28) % 4 == 0)
            entry.id[word >> 24 & 31] = (uint8_t)(word >> 10 & 3);
        else
            (void)weir_addr_prefix(&entry.prefix, &addr, word >> 5 & 31, word >> 5 & 31);
        if (step % 3 == 0)
            (void)weir_bans_add(bans, &entry, NOW);
        else if (step % 7 == 0)
            (void)weir_bans_remove(bans, &entry);
        struct weir_prefix whole;
        cr_assert(weir_addr_prefix(&whole, &addr, 32, 128));
        bool want = false, want_id = false;
        uint64_t at = NOW + word % 50;
        for (uint32_t i = 0; i < weir_bans_cnt(bans); i++) {
            const struct weir_ban_entry *other = weir_bans_at(bans, i);
            bool is_id = other->prefix.family == WEIR_ADDR_NONE;
            want |= !is_id && weir_prefix_covers(&other->prefix, &whole) && other->until_s > at;
            want_id |= is_id && memcmp(other->id, entry.id, 32) == 0 && other->until_s > at;
        }
        cr_assert_eq(weir_bans_find(bans, &addr, at) != NULL, want, "step %u", step);
        cr_assert_eq(weir_bans_find_id(bans, entry.id, at) != NULL, want_id, "step %u", step);
    }
    weir_bans_free(bans);
}

/* ---- the text ------------------------------------------------------------------------------ */

static size_t example(char text[4096])
{
    struct weir_bans *bans = make(10);
    cr_assert_eq(add(bans, "192.0.2.7", NOW + 10, false), 0);
    cr_assert_eq(add(bans, "198.51.100.0/24", NOW + 20, true), 0);
    cr_assert_eq(add(bans, "2001:db8::/32", WEIR_BAN_FOREVER, true), 0);
    size_t len = weir_bans_format(bans, text);
    cr_assert_leq(len, 5 * WEIR_BAN_LINE_BYTES);
    weir_bans_free(bans);
    return len;
}

Test(bans, what_is_written_is_read)
{
    char text[4096], again[4096];
    size_t len = example(text);
    struct weir_bans *bans = make(10);
    struct weir_bans_read got;
    weir_bans_parse(bans, text, len, NOW, &got);
    cr_assert_eq(got.ban_cnt, 3);
    cr_assert_eq(got.damaged_cnt + got.dropped_cnt + got.expired_cnt + got.is_cut, 0);
    cr_assert_eq(weir_bans_format(bans, again), len);
    cr_assert_eq(memcmp(text, again, len), 0);
    weir_bans_free(bans);
    bans = make(10);
    weir_bans_parse(bans, text, len, NOW + 15,
                    &got); /* absolute times: the machine was off meanwhile */
    cr_assert_eq(got.ban_cnt, 2);
    cr_assert_eq(got.expired_cnt, 1);
    weir_bans_free(bans);
    bans = make(2);
    weir_bans_parse(bans, text, len, NOW, &got);
    cr_assert_eq(got.ban_cnt + got.dropped_cnt, 3);
    weir_bans_free(bans);
}

Test(bans, one_damaged_byte_anywhere_is_noticed_and_costs_one_ban_at_most)
{
    char text[4096];
    size_t len = example(text);
    for (size_t at = 0; at < len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            char copy[4096];
            memcpy(copy, text, len);
            copy[at] = (char)(copy[at] ^ (1 << bit));
            struct weir_bans *bans = make(10);
            struct weir_bans_read got;
            weir_bans_parse(bans, copy, len, NOW, &got);
            cr_assert(got.damaged_cnt || got.is_cut, "byte %zu, bit %d", at, bit);
            /* A newline that is lost takes the line behind it along. */
            cr_assert_geq(got.ban_cnt, text[at] == '\n' ? 1 : 2, "byte %zu, bit %d: %u", at, bit,
                          got.ban_cnt);
            weir_bans_free(bans);
        }
    }
}

Test(bans, a_file_that_is_cut_anywhere_keeps_its_whole_lines)
{
    char text[4096];
    size_t len = example(text);
    for (size_t cut = 0; cut < len; cut++) {
        struct weir_bans *bans = make(10);
        struct weir_bans_read got;
        uint32_t lines = 0;
        for (size_t i = 0; i < cut; i++)
            lines += text[i] == '\n';
        weir_bans_parse(bans, text, cut, NOW, &got);
        cr_assert(got.is_cut, "%zu of %zu", cut, len);
        cr_assert_eq(got.ban_cnt, lines ? lines - 1 : 0);
        weir_bans_free(bans);
    }
}

Test(bans, rubbish_is_no_ban)
{
    static const char *const texts[] = {"",
                                        "\n",
                                        "weir-bans 1\n",
                                        "weir-bans 2\n",
                                        "x\ny\nz",
                                        "weir-bans 1\n192.0.2.7/32 1 never auto shutdown 00\n",
                                        "weir-bans 1\nend 0 0000000000000000\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct weir_bans *bans = make(10);
        struct weir_bans_read got;
        weir_bans_parse(bans, texts[i], strlen(texts[i]), NOW, &got);
        cr_assert_eq(got.ban_cnt, 0);
        cr_assert(got.is_cut);
        weir_bans_free(bans);
    }
    uint64_t random = 1;
    char text[600];
    for (int round = 0; round < 5000; round++) {
        for (size_t i = 0; i < sizeof(text); i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            text[i] = "0123456789abcdef. /\n:nevrmal"[(random >> 40) % 27];
        }
        memcpy(text, "weir-bans 1\n", 12);
        struct weir_bans *bans = make(4);
        struct weir_bans_read got;
        weir_bans_parse(bans, text, sizeof(text), NOW, &got);
        cr_assert_eq(got.ban_cnt, 0);
        weir_bans_free(bans);
    }
}
