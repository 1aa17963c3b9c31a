#include "engine/peers/known.h"

#include <criterion/criterion.h>
#include <string.h>

static void of(uint32_t n, uint8_t ret_bytes[WEIR_KNOWN_BYTES])
{
    memset(ret_bytes, 0, WEIR_KNOWN_BYTES);
    memcpy(ret_bytes, &n, sizeof n);
}

static bool finds(struct weir_known *known, uint32_t id_of, uint32_t key_of)
{
    uint8_t id[WEIR_KNOWN_BYTES], key[WEIR_KNOWN_BYTES], expected[WEIR_KNOWN_BYTES];
    of(id_of, id);
    of(key_of, expected);
    return weir_known_find(known, id, key) && memcmp(key, expected, sizeof key) == 0;
}

static void put(struct weir_known *known, uint32_t id_of, uint32_t key_of)
{
    uint8_t id[WEIR_KNOWN_BYTES], key[WEIR_KNOWN_BYTES];
    of(id_of, id);
    of(key_of, key);
    weir_known_put(known, id, key);
}

Test(known, a_key_is_found_by_its_id_until_it_is_forgotten)
{
    struct weir_known *known;
    uint8_t id[WEIR_KNOWN_BYTES], key[WEIR_KNOWN_BYTES];
    cr_assert_eq(weir_known_create(&known, 64, 7), 0);
    of(1, id);
    cr_assert(!weir_known_find(known, id, key));
    weir_known_forget(known, id); /* who is not there */
    put(known, 1, 100);
    put(known, 2, 200);
    cr_assert(finds(known, 1, 100) && finds(known, 2, 200));
    put(known, 1, 101); /* it has another one now */
    cr_assert(finds(known, 1, 101));
    weir_known_forget(known, id);
    cr_assert(!weir_known_find(known, id, key));
    cr_assert(finds(known, 2, 200));
    weir_known_free(known);
    weir_known_free(NULL);
}

Test(known, of_more_than_there_is_room_for_those_stay_that_are_used)
{
    struct weir_known *known;
    uint8_t id[WEIR_KNOWN_BYTES], key[WEIR_KNOWN_BYTES];
    uint32_t cnt = 0;
    cr_assert_eq(weir_known_create(&known, 8, 7), 0); /* one set */
    put(known, 0, 1000);
    for (uint32_t i = 1; i < 500; i++) {
        put(known, i, i + 1000);
        cr_assert(finds(known, 0, 1000), "used each time");
        cr_assert(finds(known, i, i + 1000));
    }
    for (uint32_t i = 0; i < 500; i++) {
        of(i, id);
        cnt += weir_known_find(known, id, key);
    }
    cr_assert_eq(cnt, 8);
    weir_known_free(known);
}
