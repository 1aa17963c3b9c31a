#include "engine/peers/evict.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX 300u

static uint64_t state = 1;

static uint64_t some(uint64_t bound)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (state >> 33) % bound;
}

/* ---- a model: the same words, looked up each time, and nothing is sorted --------------------- */

static uint64_t rtt_of(const struct weir_evict_peer *peer)
{
    return peer->rtt_min_ns ? peer->rtt_min_ns : UINT64_MAX;
}

enum rule { BY_GROUP, BY_RTT, BY_USE, BY_AGE, RULES };

static bool is_better(enum rule rule, const struct weir_evict_peer *a,
                      const struct weir_evict_peer *b)
{
    uint64_t x[RULES] = {a->group, rtt_of(a), UINT64_MAX - a->useful_ns, a->since_ns};
    uint64_t y[RULES] = {b->group, rtt_of(b), UINT64_MAX - b->useful_ns, b->since_ns};
    return x[rule] != y[rule] ? x[rule] < y[rule] : a->id < b->id;
}

static uint32_t left(const bool *is_kept, uint32_t cnt)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < cnt; i++)
        sum += !is_kept[i];
    return sum;
}

static void keep(enum rule rule, uint32_t keep_cnt, const struct weir_evict_peer *peers,
                 bool *is_kept, uint32_t cnt)
{
    while (keep_cnt-- > 0) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < cnt; i++) {
            bool is_out = is_kept[i] || (rule == BY_USE && peers[i].useful_ns == 0);
            if (!is_out && (best == UINT32_MAX || is_better(rule, &peers[i], &peers[best])))
                best = i;
        }
        if (best == UINT32_MAX)
            return;
        is_kept[best] = true;
    }
}

static uint32_t members(uint64_t group, const struct weir_evict_peer *peers, const bool *is_kept,
                        uint32_t cnt)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < cnt; i++)
        sum += !is_kept[i] && peers[i].group == group;
    return sum;
}

/* `without`: a rule that the model forgets, so that a comparison is known to be able to fail; RULES: none. */
static uint32_t model(const struct weir_evict_peer *peers, uint32_t cnt, uint64_t group,
                      enum rule without)
{
    static const uint32_t keeps[RULES] = {4, 8, 4, 0};
    bool is_kept[MAX] = {false};
    for (int rule = 0; rule < RULES; rule++) {
        uint32_t keep_cnt = rule == BY_AGE ? left(is_kept, cnt) / 2 : keeps[rule];
        if (rule != (int)without)
            keep((enum rule)rule, keep_cnt, peers, is_kept, cnt);
    }
    uint32_t best = UINT32_MAX, best_cnt = 0;
    for (uint32_t i = 0; i < cnt; i++) {
        uint32_t group_cnt = members(peers[i].group, peers, is_kept, cnt);
        if (is_kept[i] || peers[i].group == group || group_cnt < best_cnt)
            continue;
        if (group_cnt > best_cnt || is_better(BY_AGE, &peers[best], &peers[i])) {
            best = i;
            best_cnt = group_cnt;
        }
    }
    bool is_own = members(group, peers, is_kept, cnt) + 1 > best_cnt;
    return best == UINT32_MAX || is_own ? WEIR_EVICT_NOBODY : peers[best].id;
}

static void make(struct weir_evict_peer *peers, uint32_t cnt)
{
    uint64_t groups = 1 + some(40), times = 1 + some(400);
    for (uint32_t i = 0; i < cnt; i++)
        peers[i] = (struct weir_evict_peer){.group = some(groups),
                                            .rtt_min_ns = some(times),
                                            .useful_ns = some(3) ? 0 : 1 + some(times),
                                            .since_ns = some(times),
                                            .id = i};
}

Test(evict, chooses_as_a_plain_model_does)
{
    uint32_t differs_without[RULES] = {0};
    for (int round = 0; round < 4000; round++) {
        struct weir_evict_peer peers[MAX], copy[MAX];
        uint32_t cnt = (uint32_t)some(round % 8 ? 60 : MAX);
        make(peers, cnt);
        uint64_t group = some(45);
        memcpy(copy, peers, sizeof(copy));
        uint32_t got = weir_evict_choose(copy, cnt, group);
        uint32_t want = model(peers, cnt, group, RULES);
        cr_assert_eq(got, want, "round %d: %u of %u, not %u", round, got, cnt, want);
        for (int rule = 0; rule < RULES; rule++)
            differs_without[rule] += model(peers, cnt, group, (enum rule)rule) != got;
    }
    for (int rule = 0; rule < RULES; rule++)
        cr_assert_gt(differs_without[rule], 0, "no round would notice that rule %d is missing",
                     rule);
}

Test(evict, the_order_of_the_candidates_is_of_no_matter)
{
    for (int round = 0; round < 300; round++) {
        struct weir_evict_peer peers[MAX], other[MAX];
        uint32_t cnt = (uint32_t)some(MAX);
        make(peers, cnt);
        memcpy(other, peers, sizeof(other));
        for (uint32_t i = cnt; i > 1; i--) {
            uint32_t at = (uint32_t)some(i);
            struct weir_evict_peer swapped = other[i - 1];
            other[i - 1] = other[at];
            other[at] = swapped;
        }
        cr_assert_eq(weir_evict_choose(peers, cnt, 3), weir_evict_choose(other, cnt, 3));
    }
}

Test(evict, nobody_goes_while_there_are_few)
{
    struct weir_evict_peer peers[MAX];
    for (uint32_t cnt = 0; cnt <= 16; cnt++) {
        make(peers, cnt);
        for (uint32_t i = 0; i < cnt; i++) /* all of them of some use */
            peers[i].useful_ns = 1 + i;
        cr_assert_eq(weir_evict_choose(peers, cnt, 99), WEIR_EVICT_NOBODY);
    }
}

/* 60 honest peers, each a group of its own, and an attacker who owns 8 groups, is the nearest and the most useful for as
 * many connections as he wants, and tries for ever: the places that are left for him are all that he has. */
Test(evict, who_comes_in_crowds_displaces_himself)
{
    static struct weir_evict_peer slots[120];
    for (uint32_t i = 0; i < 120; i++)
        slots[i] = (struct weir_evict_peer){.group = i < 60 ? 1000 + i * 7919u : i % 8 * 100000,
                                            .rtt_min_ns = i < 60 ? 50 + i : 1,
                                            .useful_ns = i < 60 ? 0 : 100,
                                            .since_ns = i,
                                            .id = i};
    uint32_t refused = 0, changed = 0;
    for (uint32_t round = 0; round < 20000; round++) {
        struct weir_evict_peer peers[120];
        memcpy(peers, slots, sizeof(peers));
        uint64_t group = some(8) * 100000;
        uint32_t id = weir_evict_choose(peers, 120, group);
        refused += id == WEIR_EVICT_NOBODY;
        changed += id != WEIR_EVICT_NOBODY;
        cr_assert(id == WEIR_EVICT_NOBODY || id >= 60, "round %u: an honest one had to go", round);
        if (id != WEIR_EVICT_NOBODY)
            slots[id] = (struct weir_evict_peer){.group = group,
                                                 .rtt_min_ns = 1,
                                                 .useful_ns = 200 + round,
                                                 .since_ns = 200 + round,
                                                 .id = id};
    }
    cr_assert(refused > 0 && changed > 0);
}

Test(evict, one_who_is_alone_gets_a_place_from_a_crowd)
{
    struct weir_evict_peer peers[40];
    for (uint32_t i = 0; i < 40; i++)
        peers[i] = (struct weir_evict_peer){
            .group = i < 20 ? 50 + i : 7, .rtt_min_ns = 100 + i, .since_ns = i, .id = i};
    cr_assert_eq(weir_evict_choose(peers, 40, 12345), 39, "the youngest of the largest group");
    cr_assert_eq(weir_evict_choose(peers, 40, 7), WEIR_EVICT_NOBODY, "one more of the crowd");
}

static uint64_t group_of(const char *text, uint8_t first)
{
    uint8_t key[WEIR_SIPHASH_KEY_BYTES] = {first};
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, text), 0);
    return weir_evict_group(key, &addr, 24, 56);
}

Test(evict, a_group_is_what_one_can_get_hold_of_together)
{
    cr_assert_eq(group_of("8.8.1.1:1", 1), group_of("8.8.200.3:9", 1), "/16");
    cr_assert_neq(group_of("8.8.1.1:1", 1), group_of("8.9.1.1:1", 1));
    cr_assert_eq(group_of("[2a00:1::1]:1", 1), group_of("[2a00:1:ffff::2]:1", 1), "/32");
    cr_assert_neq(group_of("[2a00:1::1]:1", 1), group_of("[2a00:2::1]:1", 1));
    cr_assert_eq(group_of("127.1.2.3:1", 1), group_of("127.1.2.4:2", 1), "/24");
    cr_assert_neq(group_of("127.1.2.3:1", 1), group_of("127.1.3.3:1", 1));
    cr_assert_eq(group_of("10.1.2.3:1", 1), group_of("10.1.2.4:2", 1));
    cr_assert_neq(group_of("8.8.1.1:1", 1), group_of("8.8.1.1:1", 2), "it follows from the key");
    cr_assert_eq(group_of("unix:/a", 1), group_of("unix:/b", 1));
}
