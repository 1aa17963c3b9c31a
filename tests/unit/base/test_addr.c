#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/addr.h"
#include "weir/error.h"

#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

struct good {
    const char *text;
    const char *canonical; /* NULL: the same */
    enum weir_addr_family family;
    uint16_t port;
    uint32_t scope_id;
};

static const struct good goods[] = {
    {"1.2.3.4:80", NULL, WEIR_ADDR_IPV4, 80, 0},
    {"0.0.0.0:0", NULL, WEIR_ADDR_IPV4, 0, 0},
    {"255.255.255.255:65535", NULL, WEIR_ADDR_IPV4, 65535, 0},
    {"[::1]:80", NULL, WEIR_ADDR_IPV6, 80, 0},
    {"[::]:0", NULL, WEIR_ADDR_IPV6, 0, 0},
    {"[2001:DB8:0:0:0:0:0:1]:9", "[2001:db8::1]:9", WEIR_ADDR_IPV6, 9, 0},
    {"[fe80::1%2]:80", NULL, WEIR_ADDR_IPV6, 80, 2},
    {"[fe80::1%4294967295]:1", NULL, WEIR_ADDR_IPV6, 1, UINT32_MAX},
    {"[fe80::1%0]:1", "[fe80::1]:1", WEIR_ADDR_IPV6, 1, 0},
    {"[::ffff:1.2.3.4]:5", NULL, WEIR_ADDR_IPV6, 5, 0},
    {"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%4294967295]:65535",
     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535", WEIR_ADDR_IPV6, 65535,
     UINT32_MAX},
    {"unix:/run/weir.sock", NULL, WEIR_ADDR_UNIX, 0, 0},
    {"unix:x", NULL, WEIR_ADDR_UNIX, 0, 0},
    {"unix: a path:with %signs[1]", NULL, WEIR_ADDR_UNIX, 0, 0},
    {"unix:@name", NULL, WEIR_ADDR_UNIX, 0, 0},
    {"unix:@@", NULL, WEIR_ADDR_UNIX, 0, 0},
    {"unix:" X100 "1234567", NULL, WEIR_ADDR_UNIX, 0, 0},
};

static const char *const bads[] = {
    "",
    " ",
    ":",
    ":80",
    "80",
    "none",
    "localhost:80",
    "1.2.3.4",
    "1.2.3.4:",
    "1.2.3.4: 80",
    " 1.2.3.4:80",
    "1.2.3.4:80 ",
    "1.2.3.4:80\n",
    "1.2.3.4 :80",
    "1.2.3.4:+80",
    "1.2.3.4:-1",
    "1.2.3.4:65536",
    "1.2.3.4:99999",
    "1.2.3.4:4294967376",
    "1.2.3.4:18446744073709551696",
    "1.2.3.4:080",
    "1.2.3.4:00",
    "1.2.3.4:0x50",
    "1.2.3.4:8a",
    "1.2.3.4:80:80",
    "1.2.3.4::80",
    "1.2.3:80",
    "1.2.3.4.5:80",
    "1.2.3.256:80",
    "1.2.3.-4:80",
    "01.2.3.4:80",
    "0x1.2.3.4:80",
    "16909060:80",
    "1.2.3.4%1:80",
    "1..3.4:80",
    "::1:80",
    "::1",
    "[::1]",
    "[::1]:",
    "[::1]80",
    "[::1",
    "::1]:80",
    "[]:80",
    "[1.2.3.4]:80",
    "[:::1]:80",
    "[::1::2]:80",
    "[::g]:80",
    "[::1]:65536",
    "[::1]:+1",
    "[::1]:080",
    "[::1]:80 ",
    "[ ::1]:80",
    "[::1 ]:80",
    "[fe80::1%]:80",
    "[fe80::1%eth0]:80",
    "[fe80::1%+1]:80",
    "[fe80::1%-1]:80",
    "[fe80::1% 1]:80",
    "[fe80::1%1 ]:80",
    "[fe80::1%01]:80",
    "[fe80::1%4294967296]:80",
    "[fe80::1%99999999999]:80",
    "[fe80::1%1%1]:80",
    "[%1]:80",
    "[[::1]]:80",
    "[00000::1]:80",
    "[1:2:3:4:5:6:7:8:9]:80",
    "unix",
    "unix:",
    "unix:@",
    "UNIX:/x",
    " unix:/x",
    "unix:" X100 "12345678",
    "unix:@" X100 "1234567",
    "unix:" X100 X100,
    "[" X100 "]:80",
    X100 ":80",
    "1.2.3.4:" X100,
};

Test(addr, good_texts_are_parsed_and_printed_again)
{
    for (size_t i = 0; i < sizeof(goods) / sizeof(goods[0]); ++i) {
        const struct good *good = &goods[i];
        const char *canonical = good->canonical != NULL ? good->canonical : good->text;
        struct weir_addr addr, again;
        char text[WEIR_ADDR_TEXT_BYTES];
        memset(&addr, 0xEE, sizeof(addr));
        cr_assert_eq(weir_addr_parse(&addr, good->text), 0, "%s", good->text);
        cr_assert_eq(addr.family, (uint8_t)good->family, "%s", good->text);
        cr_assert_eq(addr.port, good->port, "%s", good->text);
        cr_assert_eq(addr.scope_id, good->scope_id, "%s", good->text);
        weir_addr_format(&addr, text);
        cr_assert_str_eq(text, canonical);
        cr_assert_eq(weir_addr_parse(&again, text), 0, "%s", text);
        cr_assert(weir_addr_is_equal(&addr, &again));
        cr_assert_eq(memcmp(&addr, &again, sizeof(addr)), 0, "no byte is left unset: %s", text);
        for (size_t j = 0; j < i; ++j) {
            cr_assert_eq(weir_addr_parse(&again, goods[j].text), 0);
            cr_assert_not(weir_addr_is_equal(&addr, &again), "%s, %s", text, goods[j].text);
        }
    }
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, "1.2.3.4:80"), 0);
    cr_assert_eq(memcmp(addr.ip, "\1\2\3\4", 4), 0);
    cr_assert_eq(weir_addr_parse(&addr, "unix:@name"), 0);
    cr_assert_str_eq(addr.path, "@name");
}

Test(addr, bad_texts_are_refused_and_leave_the_result_alone)
{
    struct weir_addr before, addr;
    memset(&before, 0xEE, sizeof(before));
    for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); ++i) {
        addr = before;
        cr_assert_eq(weir_addr_parse(&addr, bads[i]), WEIR_E_ADDRESS, "\"%s\"", bads[i]);
        cr_assert_eq(memcmp(&addr, &before, sizeof(addr)), 0, "\"%s\"", bads[i]);
    }
    cr_assert_eq(weir_addr_parse(&addr, NULL), WEIR_E_ADDRESS);
}

/* Each good text, with each byte in turn removed, doubled or replaced: either an error, or an
 * address whose own text parses to the same. Nothing may be read or written out of bounds
 * (sanitizers). */
Test(addr, a_damaged_text_is_refused_or_means_exactly_what_it_says)
{
    static const char replacements[] = "0 9:.[]%@-+x\x80";
    uint32_t refused = 0;
    for (size_t i = 0; i < sizeof(goods) / sizeof(goods[0]); ++i) {
        size_t len = strlen(goods[i].text);
        for (size_t at = 0; at < len; ++at) {
            for (size_t how = 0; how < sizeof(replacements) + 1; ++how) {
                char text[160];
                snprintf(text, sizeof(text), "%s", goods[i].text);
                if (how == sizeof(replacements)) {
                    memmove(text + at + 1, text + at, len - at + 1);
                } else if (replacements[how] == '\0') {
                    memmove(text + at, text + at + 1, len - at);
                } else {
                    text[at] = replacements[how];
                }
                struct weir_addr addr, again;
                char printed[WEIR_ADDR_TEXT_BYTES];
                if (weir_addr_parse(&addr, text) != 0) {
                    ++refused;
                    continue;
                }
                weir_addr_format(&addr, printed);
                cr_assert_eq(weir_addr_parse(&again, printed), 0, "%s: %s", text, printed);
                cr_assert(weir_addr_is_equal(&addr, &again), "%s: %s", text, printed);
            }
        }
    }
    cr_assert_gt(refused, 500);
}

Test(addr, addresses_of_no_family_print_and_equal_only_each_other)
{
    struct weir_addr none = {.family = WEIR_ADDR_NONE}, other;
    char text[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(&none, text);
    cr_assert_str_eq(text, "none");
    cr_assert(weir_addr_is_equal(&none, &(struct weir_addr){.family = WEIR_ADDR_NONE}));
    cr_assert_eq(weir_addr_parse(&other, "0.0.0.0:0"), 0);
    cr_assert_not(weir_addr_is_equal(&none, &other));
}
