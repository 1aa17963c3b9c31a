#include "engine/base/place.h"

#include <criterion/criterion.h>
#include <string.h>

static bool parse(struct weir_place *ret_place, const char *text)
{
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, text), 0, "%s", text);
    return weir_place_from(ret_place, &addr);
}

static struct weir_place place(const char *text)
{
    struct weir_place found;
    cr_assert(parse(&found, text), "%s", text);
    return found;
}

Test(place, kinds)
{
    static const struct {
        const char *text;
        enum weir_place_kind kind;
    } cases[] = {{"8.8.8.8:1", WEIR_PLACE_GLOBAL},
                 {"[2a00::1]:1", WEIR_PLACE_GLOBAL},
                 {"172.15.0.1:1", WEIR_PLACE_GLOBAL},
                 {"172.16.0.1:1", WEIR_PLACE_PRIVATE},
                 {"172.31.255.255:1", WEIR_PLACE_PRIVATE},
                 {"172.32.0.1:1", WEIR_PLACE_GLOBAL},
                 {"10.1.2.3:1", WEIR_PLACE_PRIVATE},
                 {"192.168.0.9:1", WEIR_PLACE_PRIVATE},
                 {"100.64.0.1:1", WEIR_PLACE_PRIVATE},
                 {"100.128.0.1:1", WEIR_PLACE_GLOBAL},
                 {"169.254.1.1:1", WEIR_PLACE_PRIVATE},
                 {"[fd00::1]:1", WEIR_PLACE_PRIVATE},
                 {"[::ffff:10.0.0.1]:1", WEIR_PLACE_PRIVATE},
                 {"127.0.0.1:1", WEIR_PLACE_LOOPBACK},
                 {"[::1]:1", WEIR_PLACE_LOOPBACK},
                 {"0.0.0.0:1", WEIR_PLACE_UNUSABLE},
                 {"224.0.0.1:1", WEIR_PLACE_UNUSABLE},
                 {"255.255.255.255:1", WEIR_PLACE_UNUSABLE},
                 {"8.8.8.8:0", WEIR_PLACE_UNUSABLE},
                 {"[::]:1", WEIR_PLACE_UNUSABLE},
                 {"[ff02::1]:1", WEIR_PLACE_UNUSABLE},
                 {"[fe80::1]:1", WEIR_PLACE_UNUSABLE},
                 {"[fe80::1%2]:1", WEIR_PLACE_UNUSABLE},
                 {"unix:/x", WEIR_PLACE_UNUSABLE}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_place found;
        bool is_good = parse(&found, cases[i].text);
        cr_assert_eq(is_good ? weir_place_kind(&found) : WEIR_PLACE_UNUSABLE, cases[i].kind, "%s",
                     cases[i].text);
        if (!is_good)
            continue;
        struct weir_addr addr;
        struct weir_place again;
        weir_place_addr(&found, &addr);
        cr_assert(weir_place_from(&again, &addr) && weir_place_is_equal(&found, &again), "%s",
                  cases[i].text);
    }
}

Test(place, groups_are_what_one_can_get_hold_of)
{
    static const struct {
        const char *a, *b;
        bool is_same;
    } cases[] = {
        {"8.8.1.1:1", "8.8.255.2:9", true},           {"8.8.1.1:1", "8.9.1.1:1", false},
        {"[2a00:1:2::1]:1", "[2a00:1:3::1]:1", true}, {"[2a00:1:2::1]:1", "[2a00:2:2::1]:1", false},
        {"[2002:808:808::1]:1", "8.8.1.1:1", true}, /* 6to4 */
        {"[::ffff:8.8.1.1]:1", "8.8.1.1:2", true},    {"10.0.0.1:1", "10.0.0.2:1", false},
        {"10.0.0.1:1", "10.0.0.1:2", true},           {"127.0.0.1:1", "127.0.0.1:2", false},
        {"127.0.0.1:1", "127.0.0.1:1", true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t groups[2][WEIR_GROUP_BYTES];
        struct weir_place a = place(cases[i].a), b = place(cases[i].b);
        weir_place_group(&a, groups[0]);
        weir_place_group(&b, groups[1]);
        cr_assert_eq(memcmp(groups[0], groups[1], WEIR_GROUP_BYTES) == 0, cases[i].is_same,
                     "%s and %s", cases[i].a, cases[i].b);
    }
}

Test(place, who_may_tell_what)
{
    static const struct {
        const char *source, *place;
        bool may;
    } cases[] = {{"8.8.8.8:1", "9.9.9.9:1", true},    {"8.8.8.8:1", "10.0.0.1:1", false},
                 {"8.8.8.8:1", "127.0.0.1:1", false}, {"10.0.0.1:1", "9.9.9.9:1", true},
                 {"10.0.0.1:1", "10.0.0.2:1", true},  {"10.0.0.1:1", "127.0.0.1:1", false},
                 {"127.0.0.1:1", "10.0.0.1:1", true}, {"127.0.0.1:1", "127.0.0.1:2", true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_place source = place(cases[i].source), told = place(cases[i].place);
        cr_assert_eq(weir_place_may_tell(&source, &told), cases[i].may, "%s of %s", cases[i].source,
                     cases[i].place);
    }
    struct weir_place none = {0}, global = place("9.9.9.9:1"), private = place("10.0.0.1:1");
    cr_assert(weir_place_may_tell(&none, &global) && !weir_place_may_tell(&none, &private));
    cr_assert(!weir_place_may_tell(&global, &none));
}
