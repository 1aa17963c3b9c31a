#include "engine/node/gossip_seen.h"

#include <criterion/criterion.h>
#include <string.h>

#include "engine/node/gossip_store.h"

static void make_id(uint8_t ret_id[16], uint64_t number)
{
    memset(ret_id, 0, 16);
    number += 1000; /* not the few that stand for zeros */
    memcpy(ret_id + (number % 3 == 0 ? 8 : 0), &number, sizeof(number));
}

Test(gossip_seen, an_id_is_known_for_as_many_others_as_was_promised)
{
    struct weir_seen *seen;
    uint8_t id[16];
    cr_assert_eq(weir_seen_create(&seen, 100, UINT64_MAX, 7), 0);
    for (uint64_t i = 0; i < 5000; i++) {
        make_id(id, i);
        cr_assert(weir_seen_add(seen, id, 1 + i), "%lu", i);
        cr_assert(!weir_seen_add(seen, id, 1 + i));
        for (uint64_t back = 0; back <= 100 && back <= i; back++) {
            make_id(id, i - back);
            cr_assert(weir_seen_has(seen, id), "%lu after %lu more", i - back, back);
        }
        make_id(id, i + 1);
        cr_assert(!weir_seen_has(seen, id));
        if (i >= 200) { /* and not for ever: memory is bounded */
            make_id(id, i - 200);
            cr_assert(!weir_seen_has(seen, id), "%lu", i);
        }
    }
    uint64_t turns, early;
    weir_seen_turns(seen, &turns, &early);
    cr_assert_eq(turns, 49);
    cr_assert_eq(early, 49);
    weir_seen_free(seen);
}

Test(gossip_seen, an_id_is_known_for_as_long_as_was_promised)
{
    struct weir_seen *seen;
    uint8_t first[16], id[16];
    cr_assert_eq(weir_seen_create(&seen, 1000, 60, 1), 0);
    make_id(first, 1);
    cr_assert(weir_seen_add(seen, first, 1000));
    for (uint64_t at = 1001; at < 1060; at++) {
        make_id(id, at);
        cr_assert(weir_seen_add(seen, id, at));
        cr_assert(weir_seen_has(seen, first));
    }
    make_id(id, 5000);
    cr_assert(weir_seen_add(seen, id, 1060)); /* turns */
    cr_assert(weir_seen_has(seen, first), "it is in the old generation");
    make_id(id, 5001);
    cr_assert(weir_seen_add(seen, id, 1120)); /* turns again */
    cr_assert(!weir_seen_has(seen, first));
    uint64_t turns, early;
    weir_seen_turns(seen, &turns, &early);
    cr_assert_eq(turns, 2);
    cr_assert_eq(early, 0);
    weir_seen_free(seen);
    weir_seen_free(NULL);
}

Test(gossip_seen, the_id_of_zeros_is_one_like_any_other)
{
    struct weir_seen *seen;
    uint8_t zeros[16] = {0}, other[16] = {2};
    cr_assert_eq(weir_seen_create(&seen, 10, 60, 1), 0);
    cr_assert(!weir_seen_has(seen, zeros));
    cr_assert(weir_seen_add(seen, zeros, 1));
    cr_assert(weir_seen_has(seen, zeros));
    cr_assert(!weir_seen_has(seen, other));
    weir_seen_free(seen);
}

/* ---- the store ----------------------------------------------------------------------------- */

static void put(struct weir_store *store, uint64_t number, size_t len, uint64_t now)
{
    uint8_t id[16];
    struct weir_buf *buf;
    make_id(id, number);
    cr_assert_eq(weir_buf_create(&buf, len), 0);
    memset(weir_buf_data(buf), (int)number, len);
    weir_store_put(store, id, buf, (uint8_t)number, number * 10, now);
}

static const struct weir_stored *find(const struct weir_store *store, uint64_t number)
{
    uint8_t id[16];
    make_id(id, number);
    return weir_store_find(store, id);
}

Test(gossip_store, the_youngest_are_kept_within_number_and_bytes)
{
    struct weir_store *store;
    uint64_t cnt, bytes;
    cr_assert_eq(weir_store_create(&store, 10, 1000, 3), 0);
    for (uint64_t i = 0; i < 500; i++) {
        size_t len = i * 37 % 300;
        put(store, i, len, i);
        weir_store_sizes(store, &cnt, &bytes);
        cr_assert_leq(cnt, 10);
        cr_assert_leq(bytes, 1000);
        /* The last cnt of them are there, and no other. */
        uint64_t sum = 0;
        for (uint64_t k = 0; k < 20 && k <= i; k++) {
            const struct weir_stored *stored = find(store, i - k);
            cr_assert_eq(stored != NULL, k < cnt, "%lu, %lu back", i, k);
            cr_assert_eq(weir_store_recent(store, (uint32_t)k), stored);
            if (!stored)
                continue;
            sum += weir_buf_len(stored->buf);
            cr_assert_eq(stored->hops, (uint8_t)(i - k));
            cr_assert_eq(stored->age_us, (i - k) * 10);
        }
        cr_assert_eq(sum, bytes);
    }
    put(store, 1000, 1001, 500); /* larger than all of it: the others stay */
    cr_assert_null(find(store, 1000));
    cr_assert_not_null(find(store, 499));
    put(store, 499, 5, 500); /* there already */
    weir_store_expire(store, 498);
    weir_store_sizes(store, &cnt, &bytes);
    cr_assert_eq(cnt, 2);
    cr_assert_null(find(store, 497));
    weir_store_free(store);
    weir_store_free(NULL);
}
