#include "engine/base/caps.h"

#include <criterion/criterion.h>
#include <string.h>

#include "weir/error.h"

Test(caps, sets_have_one_form)
{
    static const struct {
        const char *text, *set; /* NULL: not a set */
    } cases[] = {{"", ""},
                 {"relay", "relay"},
                 {"relay,archive", "archive,relay"},
                 {"b,a,b,c,a", "a,b,c"},
                 {"ab,a", "a,ab"},
                 {"a-1,0", "0,a-1"},
                 {"abcdefghijklmno", "abcdefghijklmno"},
                 {"abcdefghijklmnop", NULL}, /* 16 */
                 {"A", NULL},
                 {"a b", NULL},
                 {"a,", NULL},
                 {",a", NULL},
                 {"a,,b", NULL},
                 {"aaaaaaaaaaaaaaa,bbbbbbbbbbbbbbb,ccccccccccccc",
                  "aaaaaaaaaaaaaaa,bbbbbbbbbbbbbbb,ccccccccccccc"}, /* 45 */
                 {"aaaaaaaaaaaaaaa,bbbbbbbbbbbbbbb,cccccccccccccc", NULL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char set[WEIR_CAPS_BYTES] = "untouched";
        int error = weir_caps_parse(set, cases[i].text);
        cr_assert_eq(error, cases[i].set ? 0 : WEIR_E_CONFIG, "%s", cases[i].text);
        cr_assert_str_eq(set, cases[i].set ? cases[i].set : "untouched");
        bool is_canonical = cases[i].set && strcmp(cases[i].text, cases[i].set) == 0;
        cr_assert_eq(weir_caps_is_good(cases[i].text, strlen(cases[i].text)), is_canonical, "%s",
                     cases[i].text);
    }
}

Test(caps, names_are_found_whole)
{
    cr_assert(weir_caps_has("archive,relay", "archive"));
    cr_assert(weir_caps_has("archive,relay", "relay"));
    cr_assert(!weir_caps_has("archive,relay", "rel"));
    cr_assert(!weir_caps_has("archive,relay", "archive,relay"));
    cr_assert(!weir_caps_has("archive,relay", ""));
    cr_assert(!weir_caps_has("", "relay"));
}
