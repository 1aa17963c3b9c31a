#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/target.h"
#include "weir/error.h"

static char name_of(char *ret_text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ret_text[i] = i % 64 == 63 && i + 1 < len ? '.' : 'a';
    ret_text[len] = '\0';
    return ret_text[0];
}

Test(target, addresses_are_addresses)
{
    static const char *const texts[] = {"1.2.3.4:80", "[::1]:80", "[fe80::1%2]:9", "unix:/x",
                                        "unix:@abstract"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct weir_target target;
        char text[WEIR_TARGET_TEXT_BYTES];
        cr_assert_eq(weir_target_parse(&target, texts[i]), 0, "%s", texts[i]);
        cr_assert(!weir_target_is_name(&target));
        cr_assert_str_eq(target.name, "");
        weir_target_format(&target, text);
        cr_assert_str_eq(text, texts[i]);
    }
}

Test(target, a_place_alone_means_every_id)
{
    struct weir_target place, one, other, elsewhere;
    cr_assert_eq(weir_target_parse(&place, "1.2.3.4:80"), 0);
    cr_assert_eq(weir_target_parse(&elsewhere, "1.2.3.4:81"), 0);
    one = other = place;
    one.has_id = other.has_id = true;
    memset(one.id, 1, sizeof(one.id));
    memset(other.id, 2, sizeof(other.id));
    cr_assert(weir_target_means(&place, &place) && weir_target_means(&one, &one));
    cr_assert(weir_target_means(&place, &one));
    cr_assert(!weir_target_means(&one, &place));
    cr_assert(!weir_target_means(&one, &other));
    cr_assert(!weir_target_means(&place, &elsewhere) && !weir_target_means(&elsewhere, &one));
    cr_assert(weir_target_is_equal(&one, &other));
}

Test(target, names_are_kept_in_lower_case)
{
    static const struct {
        const char *text, *name;
        uint16_t port;
    } cases[] = {
        {"localhost:80", "localhost", 80},
        {"Example.ORG:1", "example.org", 1},
        {"example.org.:65535", "example.org.", 65535},
        {"a:1", "a", 1},
        {"7.a:1", "7.a", 1},
        {"_weir._tcp.example.org:7", "_weir._tcp.example.org", 7},
        {"xn--bcher-kva.example:7", "xn--bcher-kva.example", 7},
        {"1.2.3.4x:80", "1.2.3.4x", 80},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_target target, again;
        char text[WEIR_TARGET_TEXT_BYTES];
        cr_assert_eq(weir_target_parse(&target, cases[i].text), 0, "%s", cases[i].text);
        cr_assert(weir_target_is_name(&target));
        cr_assert_str_eq(target.name, cases[i].name);
        cr_assert_eq(target.addr.port, cases[i].port);
        weir_target_format(&target, text);
        cr_assert_eq(weir_target_parse(&again, text), 0);
        cr_assert(weir_target_is_equal(&target, &again));
    }
}

Test(target, what_is_neither_is_refused_and_leaves_the_result_alone)
{
    static const char *const texts[] = {
        "",          ":80",          "nonsense",      "a:",          "a:0",         "a:080",
        "a:65536",   "a:1x",         "a: 1",          "a:-1",        ".:1",         "..:1",
        "a..b:1",    ".a:1",         "a-:1",          "-a:1",        "a.-b:1",      "a b:1",
        "a/b:1",     "a:b:1",        "1.2.3:80",      "256.1.1.1:1", "1.2.3.4.5:1", "12345:80",
        "0x7f.1:80", "127.0.0.1.:1", "[localhost]:1", "a\n:1",       "b\xc3\xbc:1", "id@host:1",
        "a:1:2",     "::1:80",       "a\\:1",         "*:1",         "a..:1"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct weir_target target, before;
        memset(&target, 0x5A, sizeof(target));
        before = target;
        cr_assert_eq(weir_target_parse(&target, texts[i]), WEIR_E_ADDRESS, "%s", texts[i]);
        cr_assert_eq(memcmp(&target, &before, sizeof(target)), 0);
    }
    struct weir_target target;
    cr_assert_eq(weir_target_parse(&target, NULL), WEIR_E_ADDRESS);
}

Test(target, a_name_has_up_to_253_bytes_and_a_label_63)
{
    for (size_t len = 250; len < 260; len++) {
        struct weir_target target;
        char text[300];
        name_of(text, len);
        size_t name_len = len;
        for (int has_dot = 0; has_dot < 2; has_dot++) {
            if (has_dot)
                text[name_len++] = '.';
            strcpy(text + name_len, ":12345");
            cr_assert_eq(weir_target_parse(&target, text), len <= 253 ? 0 : WEIR_E_ADDRESS,
                         "%zu bytes, dot %d", len, has_dot);
            if (len > 253)
                continue;
            char again[WEIR_TARGET_TEXT_BYTES];
            weir_target_format(&target, again);
            cr_assert_str_eq(again, text);
        }
    }
    for (size_t len = 60; len < 70; len++) {
        struct weir_target target;
        char text[100];
        memset(text, 'b', len);
        strcpy(text + len, ".org:1");
        cr_assert_eq(weir_target_parse(&target, text), len <= 63 ? 0 : WEIR_E_ADDRESS, "%zu", len);
    }
    char *endless = malloc(100001);
    memset(endless, 'a', 100000);
    endless[100000] = '\0';
    struct weir_target target;
    cr_assert_eq(weir_target_parse(&target, endless), WEIR_E_ADDRESS);
    free(endless);
}

Test(target, equality_knows_names_from_addresses)
{
    static const char *const texts[] = {"a:1", "a:2", "b:1", "a.:1", "1.2.3.4:1", "1.2.3.4:2"};
    struct weir_target targets[6];
    for (size_t i = 0; i < 6; i++)
        cr_assert_eq(weir_target_parse(&targets[i], texts[i]), 0);
    for (size_t i = 0; i < 6; i++) {
        for (size_t k = 0; k < 6; k++)
            cr_assert_eq(weir_target_is_equal(&targets[i], &targets[k]), i == k, "%zu %zu", i, k);
    }
}

Test(target, onion_names_are_known)
{
    static const struct {
        const char *text;
        bool is_onion;
    } cases[] = {{"abc.onion:1", true},   {"a.b.ONION:1", true},  {"abc.onion.:1", true},
                 {"onion:1", true},       {"onion.:1", true},     {"xonion:1", false},
                 {"abc.onions:1", false}, {"onion.org:1", false}, {"1.2.3.4:1", false},
                 {"x:1", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_target target;
        cr_assert_eq(weir_target_parse(&target, cases[i].text), 0, "%s", cases[i].text);
        cr_assert_eq(weir_target_is_onion(&target), cases[i].is_onion, "%s", cases[i].text);
    }
}

/* Every form there is, with and without an id, at its longest too: kept, restored, formatted, compared with all. */
Test(target, what_is_kept_comes_back_as_it_was)
{
    static char longest_name[WEIR_TARGET_TEXT_BYTES], longest_path[WEIR_ADDR_TEXT_BYTES];
    memset(longest_name, 'a', WEIR_NAME_LEN_MAX);
    for (size_t i = 50; i < WEIR_NAME_LEN_MAX; i += 50)
        longest_name[i] = '.';
    memcpy(longest_name + WEIR_NAME_LEN_MAX, ".:65535", 8);
    memset(longest_path, 'p', sizeof("unix:") - 1 + WEIR_ADDR_PATH_BYTES - 1);
    memcpy(longest_path, "unix:", 5);
    const char *const texts[] = {"1.2.3.4:1",     "1.2.3.4:2",     "1.2.3.5:1", "[::1]:1",
                                 "[fe80::1%2]:1", "[fe80::1%3]:1", "unix:/a",   "unix:@a",
                                 longest_path,    "a:1",           "a:2",       "a.:1",
                                 "1.2.3.4.a:1",   longest_name};
    enum { CNT = sizeof(texts) / sizeof(texts[0]) };
    struct weir_target targets[CNT];
    struct weir_target_kept *kept[CNT];
    for (size_t i = 0; i < CNT; i++) {
        cr_assert_eq(weir_target_parse(&targets[i], texts[i]), 0, "%s", texts[i]);
        targets[i].has_id = i % 2 != 0;
        memset(targets[i].id, targets[i].has_id ? (int)i : 0, sizeof(targets[i].id));
        size_t bytes = weir_target_kept_bytes(&targets[i]);
        kept[i] = malloc(bytes); /* exactly: a sanitizer sees what goes beyond */
        weir_target_keep(kept[i], &targets[i]);
        cr_assert(bytes <= 64 || strlen(texts[i]) > 10, "%zu bytes for %s", bytes, texts[i]);
    }
    for (size_t i = 0; i < CNT; i++) {
        struct weir_target again;
        char text[WEIR_TARGET_TEXT_BYTES];
        memset(&again, 0xA5, sizeof(again));
        weir_target_restore(&again, kept[i]);
        weir_target_format(&again, text);
        cr_assert_str_eq(text, texts[i]);
        cr_assert_eq(again.has_id, targets[i].has_id);
        cr_assert_eq(memcmp(again.id, targets[i].id, sizeof(again.id)), 0);
        for (size_t k = 0; k < CNT; k++)
            cr_assert_eq(weir_target_means_kept(&targets[k], kept[i]), i == k, "%s %s", texts[i],
                         texts[k]);
    }
    for (size_t i = 0; i < CNT; i++)
        free(kept[i]);
}
