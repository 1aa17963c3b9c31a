#include <criterion/criterion.h>
#include <string.h>

#include "engine/mem/heap.h"
#include "engine/node/text.h"

Test(text, grows_up_to_its_bound_and_says_when_that_is_short)
{
    struct weir_text text;
    weir_text_init(&text, 100000);
    for (uint32_t i = 0; i < 20000; i++)
        weir_text_put(&text, "12345");
    cr_assert(!text.is_short);
    cr_assert_eq(text.len, 100000);
    cr_assert_eq(strlen(text.data), 100000);
    weir_text_put(&text, "");
    cr_assert(!text.is_short);
    weir_text_put(&text, "x");
    cr_assert(text.is_short);
    cr_assert_eq(text.len, 100000);
    weir_text_free(&text);
    weir_text_free(&text);
}

Test(text, without_memory_it_is_short_and_keeps_what_it_has)
{
    struct weir_text text;
    weir_text_init(&text, 1 << 20);
    weir_heap_fail_nth(1);
    weir_text_put(&text, "lost");
    weir_heap_fail_nth(0);
    cr_assert(text.is_short && text.len == 0);
    weir_text_put(&text, "not half a text");
    cr_assert_eq(text.len, 0);
    weir_text_free(&text);
}

static const char *number(uint64_t value)
{
    static struct weir_text text;
    weir_text_free(&text);
    weir_text_init(&text, 100);
    weir_text_number(&text, value);
    return text.data;
}

static const char *seconds(uint64_t ns)
{
    static struct weir_text text;
    weir_text_free(&text);
    weir_text_init(&text, 100);
    weir_text_seconds(&text, ns);
    return text.data;
}

Test(text, numbers_and_seconds)
{
    cr_assert_str_eq(number(0), "0");
    cr_assert_str_eq(number(1234567890), "1234567890");
    cr_assert_str_eq(number(UINT64_MAX), "18446744073709551615");
    cr_assert_str_eq(seconds(0), "0");
    cr_assert_str_eq(seconds(1), "0.000000001");
    cr_assert_str_eq(seconds(25000000), "0.025");
    cr_assert_str_eq(seconds(10000000000u), "10");
    cr_assert_str_eq(seconds(UINT64_MAX), "18446744073.709551615");
}

Test(text, a_labels_value_is_escaped_and_cut_whole)
{
    char text[32];
    weir_text_label(text, sizeof(text), "a\"b\\c\nd");
    cr_assert_str_eq(text, "a\\\"b\\\\c\\nd");
    weir_text_label(text, sizeof(text), "t\tab \xC3\xA4 \x7F");
    cr_assert_str_eq(text, "t?ab ?? ?");
    char small[6]; /* no half of an escape */
    weir_text_label(small, sizeof(small), "abc\"\"");
    cr_assert_str_eq(small, "abc\\\"");
    weir_text_label(small, sizeof(small), "abcd\"");
    cr_assert_str_eq(small, "abcd");
    weir_text_label(small, 1, "abc");
    cr_assert_str_eq(small, "");
}
