#include "engine/node/gossip_wire.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/node/hex.h"

#define ID "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f"

/* docs/gossip.md, in its order. */
Test(gossip_wire, messages_are_written_and_read_as_the_page_says)
{
    uint8_t want[64], got[64], id[16];
    struct weir_gossip_parsed msg;
    from_hex(id, ID);
    uint32_t len = from_hex(want, "01 02 00 00 10 27 00 00 68 69");
    weir_gossip_push_head(got, 2, 10000);
    cr_assert_arr_eq(got, want, 8);
    cr_assert_eq(weir_gossip_parse(&msg, want, len), WEIR_GOSSIP_IS_KNOWN);
    cr_assert(msg.kind == WEIR_GOSSIP_PUSH && msg.hops == 2 && msg.age_us == 10000 && msg.len == 2);
    cr_assert_eq(msg.data, want + 8);
    static const char *const lists[] = {
        [WEIR_GOSSIP_HAVE] = "02 00 01 00 " ID " 00 00 10 00",
        [WEIR_GOSSIP_WANT] = "03 00 01 00 " ID,
        [WEIR_GOSSIP_NONE] = "04 00 01 00 " ID,
    };
    for (uint8_t kind = WEIR_GOSSIP_HAVE; kind <= WEIR_GOSSIP_NONE; kind++) {
        uint32_t entry_len;
        len = from_hex(want, lists[kind]);
        cr_assert_eq(weir_gossip_list_of_one(got, kind, id, 1 << 20), len);
        cr_assert_arr_eq(got, want, len);
        cr_assert_eq(weir_gossip_parse(&msg, want, len), WEIR_GOSSIP_IS_KNOWN);
        cr_assert(msg.kind == kind && msg.cnt == 1);
        cr_assert_arr_eq(weir_gossip_entry(&msg, 0, &entry_len), id, 16);
        cr_assert_eq(entry_len, kind == WEIR_GOSSIP_HAVE ? 1u << 20 : 0);
        for (uint32_t cut = 0; cut < len; cut++) /* valid becoming invalid */
            cr_assert_eq(weir_gossip_parse(&msg, want, cut), WEIR_GOSSIP_IS_BAD);
        cr_assert_eq(weir_gossip_parse(&msg, want, len + 1), WEIR_GOSSIP_IS_BAD);
    }
}

Test(gossip_wire, what_breaks_the_rules_is_told)
{
    static const char *const bad[] = {
        "",
        "01 00 00",
        "01 00 00 00 00 00 00 00",
        "01 00 01 00 00 00 00 00 61",
        "00 00 01 00",
        "05 00 01 00",
        "03 01 01 00 " ID,
        "03 00 00 00",
        "03 00 02 00 " ID,
    };
    uint8_t bytes[64];
    struct weir_gossip_parsed msg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(weir_gossip_parse(&msg, bytes, from_hex(bytes, bad[i])), WEIR_GOSSIP_IS_BAD,
                     "%s", bad[i]);
    cr_assert_eq(weir_gossip_parse(&msg, bytes, from_hex(bytes, "80 00 00 00")),
                 WEIR_GOSSIP_IS_UNKNOWN);
    static uint8_t many[4 + 257 * 16];
    for (uint32_t cnt = 256; cnt <= 257; cnt++) {
        weir_gossip_list_head(many, WEIR_GOSSIP_WANT, cnt);
        cr_assert_eq(weir_gossip_parse(&msg, many, 4 + cnt * 16),
                     cnt == 256 ? WEIR_GOSSIP_IS_KNOWN : WEIR_GOSSIP_IS_BAD);
    }
}
