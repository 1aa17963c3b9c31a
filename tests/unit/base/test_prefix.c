#include <criterion/criterion.h>
#include <string.h>

#include "engine/base/addr.h"
#include "weir/error.h"

static struct weir_addr addr_of(const char *text)
{
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, text), 0, "%s", text);
    return addr;
}

Test(prefix, the_group_of_an_address)
{
    static const struct {
        const char *addr, *prefix;
        uint32_t ipv4_bits, ipv6_bits;
    } cases[] = {
        {"192.0.2.77:1", "192.0.2.77/32", 32, 128},
        {"192.0.2.77:1", "192.0.2.0/24", 24, 56},
        {"192.0.2.77:1", "192.0.2.64/27", 27, 56},
        {"192.0.2.77:1", "128.0.0.0/1", 1, 56},
        {"192.0.2.77:1", "0.0.0.0/0", 0, 0},
        {"[::ffff:192.0.2.77]:1", "192.0.2.0/24", 24, 56},
        {"[64:ff9b::192.0.2.77]:1", "192.0.2.0/24", 24, 56},
        {"[2001:db8:1:2ff::1]:1", "2001:db8:1:200::/56", 24, 56},
        {"[2001:db8:1:2ff::1]:1", "2001:db8:1:2ff::/64", 24, 64},
        {"[2001:db8:1:2ff::1]:1", "2001:db8:1:2ff::1/128", 24, 128},
        {"[fe80::1%7]:1", "fe80::/64", 24, 64},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_addr addr = addr_of(cases[i].addr);
        struct weir_prefix prefix, parsed;
        char text[WEIR_PREFIX_TEXT_BYTES];
        cr_assert(weir_addr_prefix(&prefix, &addr, cases[i].ipv4_bits, cases[i].ipv6_bits));
        weir_prefix_format(&prefix, text);
        cr_assert_str_eq(text, cases[i].prefix);
        cr_assert_eq(weir_prefix_parse(&parsed, text), 0);
        cr_assert_eq(memcmp(&prefix, &parsed, sizeof(prefix)), 0);
    }
    struct weir_prefix prefix;
    struct weir_addr addr = addr_of("unix:/x");
    cr_assert(!weir_addr_prefix(&prefix, &addr, 24, 56));
    addr = (struct weir_addr){.family = WEIR_ADDR_NONE};
    cr_assert(!weir_addr_prefix(&prefix, &addr, 24, 56));
}

Test(prefix, what_is_on_this_machine)
{
    static const struct {
        const char *addr;
        bool is_loopback;
    } cases[] = {{"127.0.0.1:1", true}, {"127.255.0.9:1", true},        {"[::1]:1", true},
                 {"unix:/x", true},     {"[::ffff:127.0.0.1]:1", true}, {"128.0.0.1:1", false},
                 {"[::2]:1", false},    {"10.0.0.1:1", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_addr addr = addr_of(cases[i].addr);
        cr_assert_eq(weir_addr_is_loopback(&addr), cases[i].is_loopback, "%s", cases[i].addr);
    }
    struct weir_addr none = {.family = WEIR_ADDR_NONE};
    cr_assert(!weir_addr_is_loopback(&none));
}

Test(prefix, texts)
{
    static const struct {
        const char *text, *want; /* NULL: refused */
    } cases[] = {
        {"192.0.2.7", "192.0.2.7/32"},
        {"192.0.2.0/24", "192.0.2.0/24"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"2001:DB8::", "2001:db8::/128"},
        {"2001:db8::/32", "2001:db8::/32"},
        {"::/0", "::/0"},
        {"::ffff:192.0.2.7", "192.0.2.7/32"},
        {"192.0.2.7/24", NULL},
        {"192.0.2.0/33", NULL},
        {"2001:db8::1/32", NULL},
        {"2001:db8::/129", NULL},
        {"::ffff:192.0.2.0/120", NULL},
        {"192.0.2.0/", NULL},
        {"192.0.2.0/024", NULL},
        {"192.0.2.0/-1", NULL},
        {"192.0.2.0/24 ", NULL},
        {"192.0.2", NULL},
        {"192.0.2.7:80", NULL},
        {"[::1]", NULL},
        {"fe80::1%2", NULL},
        {"example.org", NULL},
        {"", NULL},
        {"/", NULL},
        {"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/1", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_prefix prefix;
        char text[WEIR_PREFIX_TEXT_BYTES];
        int error = weir_prefix_parse(&prefix, cases[i].text);
        cr_assert_eq(error, cases[i].want ? 0 : WEIR_E_ADDRESS, "%s", cases[i].text);
        if (error)
            continue;
        weir_prefix_format(&prefix, text);
        cr_assert_str_eq(text, cases[i].want);
    }
    struct weir_prefix prefix;
    cr_assert_eq(weir_prefix_parse(&prefix, NULL), WEIR_E_ADDRESS);
}

Test(prefix, covering)
{
    static const struct {
        const char *prefix, *other;
        bool covers;
    } cases[] = {{"192.0.2.0/24", "192.0.2.7", true},       {"192.0.2.0/24", "192.0.3.7", false},
                 {"192.0.2.0/24", "192.0.2.0/24", true},    {"192.0.2.0/24", "192.0.0.0/16", false},
                 {"0.0.0.0/0", "192.0.2.7", true},          {"0.0.0.0/0", "::1", false},
                 {"2001:db8::/32", "2001:db8:9::/48", true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_prefix prefix, other;
        cr_assert_eq(weir_prefix_parse(&prefix, cases[i].prefix), 0);
        cr_assert_eq(weir_prefix_parse(&other, cases[i].other), 0);
        cr_assert_eq(weir_prefix_covers(&prefix, &other), cases[i].covers, "%zu", i);
    }
}
