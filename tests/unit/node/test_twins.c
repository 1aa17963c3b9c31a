/* One connection per peer: the table, and that two nodes agree whatever they see first. */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/node/twins.h"

#define PLACES 64u

static const uint8_t key[WEIR_SIPHASH_KEY_BYTES] = {1, 2, 3};

static struct weir_twin_rank rank_of(bool is_by_greater, uint8_t session)
{
    struct weir_twin_rank rank = {.is_by_greater = is_by_greater};
    memset(rank.session, session, sizeof(rank.session));
    return rank;
}

Test(twins, the_smaller_nodes_dial_and_then_the_smaller_session_stay)
{
    struct weir_twins twins;
    const uint8_t id[32] = {7};
    cr_assert_eq(weir_twins_init(&twins, PLACES, key), 0);
    struct weir_twin_rank greater = rank_of(true, 1), late = rank_of(false, 9),
                          early = rank_of(false, 3);
    cr_assert_eq(weir_twins_come(&twins, 0, id, &greater, 100), 0);
    cr_assert_eq(weir_twins_come(&twins, 1, id, &late, 101), 100, "dialed by the smaller one");
    cr_assert_eq(weir_twins_come(&twins, 0, id, &greater, 102), 102);
    cr_assert_eq(weir_twins_come(&twins, 0, id, &early, 103), 101, "the smaller session");
    cr_assert_eq(weir_twins_come(&twins, 2, id, &early, 104), 104, "a tie goes to who is there");
    weir_twins_go(&twins, 1, 101); /* gone already */
    weir_twins_go(&twins, 2, 104);
    weir_twins_go(&twins, 0, 103);
    cr_assert_eq(weir_twins_come(&twins, 5, id, &greater, 105), 0, "nobody is left");
    weir_twins_fini(&twins);
    weir_twins_fini(&twins);
}

Test(twins, both_sides_keep_the_same_whatever_the_order)
{
    struct weir_twin_rank ranks[6];
    const uint8_t id[32] = {1};
    for (uint8_t i = 0; i < 6; i++)
        ranks[i] = rank_of(i % 2, (uint8_t)(11 * i + 3));
    for (uint32_t shuffle = 0; shuffle < 720; shuffle++) {
        struct weir_twins twins;
        uint32_t order[6] = {0, 1, 2, 3, 4, 5}, code = shuffle;
        for (uint32_t i = 6; i > 1; i--) {
            uint32_t at = code % i, last = order[i - 1];
            code /= i;
            order[i - 1] = order[at];
            order[at] = last;
        }
        cr_assert_eq(weir_twins_init(&twins, PLACES, key), 0);
        for (uint32_t i = 0; i < 6; i++)
            (void)weir_twins_come(&twins, order[i], id, &ranks[order[i]], 10 + order[i]);
        for (uint32_t i = 0; i < 6; i++)
            cr_assert_eq(twins.places[i].peer, i == 0 ? 10 : 0, "order %u, place %u", shuffle, i);
        weir_twins_fini(&twins);
    }
}

/* Against a list that is searched from its front. */
Test(twins, many_ids_come_and_go_as_in_a_plain_list)
{
    struct {
        uint64_t peer;
        uint8_t id;
        struct weir_twin_rank rank;
    } model[PLACES] = {0};
    struct weir_twins twins;
    uint64_t seed = 12345, next_peer = 1;
    cr_assert_eq(weir_twins_init(&twins, PLACES, key), 0);
    for (uint32_t step = 0; step < 100000; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t place = (uint32_t)(seed >> 33) % PLACES;
        if (model[place].peer != 0) {
            weir_twins_go(&twins, place, model[place].peer);
            model[place].peer = 0;
            continue;
        }
        uint8_t id[32] = {(uint8_t)(seed >> 40 & 31)};
        struct weir_twin_rank rank = rank_of(seed >> 50 & 1, (uint8_t)(seed >> 51));
        uint64_t peer = next_peer++, expected = 0;
        uint32_t other = 0;
        while (other < PLACES && (model[other].peer == 0 || model[other].id != id[0]))
            other++;
        if (other < PLACES) {
            bool has_won = rank.is_by_greater != model[other].rank.is_by_greater
                               ? !rank.is_by_greater
                               : rank.session[0] < model[other].rank.session[0];
            expected = has_won ? model[other].peer : peer;
            if (has_won)
                model[other].peer = 0;
        }
        cr_assert_eq(weir_twins_come(&twins, place, id, &rank, peer), expected, "step %u", step);
        if (expected == peer)
            continue;
        model[place].peer = peer;
        model[place].id = id[0];
        model[place].rank = rank;
    }
    weir_twins_fini(&twins);
}
