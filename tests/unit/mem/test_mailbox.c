#include <criterion/criterion.h>

#include "engine/mem/mailbox.h"
#include "weir/error.h"

static struct weir_mailbox mailbox;

static bool put(struct weir_letter *letter)
{
    bool must_wake = false;
    cr_assert_eq(weir_mailbox_put(&mailbox, letter, &must_wake), 0);
    return must_wake;
}

Test(mailbox, letters_come_out_oldest_first)
{
    struct weir_letter letters[100];
    weir_mailbox_init(&mailbox, UINT64_MAX);
    cr_assert_null(weir_mailbox_take(&mailbox));
    for (uint32_t round = 0; round < 3; ++round) {
        for (uint32_t i = 0; i < 100; ++i) {
            letters[i] = (struct weir_letter){.kind = i, .bytes = UINT32_MAX};
            cr_assert_not(put(&letters[i]), "nobody sleeps");
        }
        struct weir_letter *letter = weir_mailbox_take(&mailbox);
        for (uint32_t i = 0; i < 100; ++i) {
            cr_assert_eq(letter, &letters[i]);
            cr_assert_eq(letter->kind, i);
            letter = letter->next;
            weir_mailbox_credit(&mailbox, UINT32_MAX);
        }
        cr_assert_null(letter);
        cr_assert_null(weir_mailbox_take(&mailbox));
    }
    cr_assert_eq(atomic_load(&mailbox.bytes), 0);
}

Test(mailbox, the_bound_counts_what_is_not_credited_yet)
{
    struct weir_letter a = {.bytes = 60}, b = {.bytes = 40}, c = {.bytes = 1}, none = {.bytes = 0};
    struct weir_letter big = {.bytes = 101}, always = {.bytes = 500};
    bool must_wake = true;
    weir_mailbox_init(&mailbox, 100);
    cr_assert_eq(weir_mailbox_put(&mailbox, &big, &must_wake), WEIR_E_FULL);
    put(&a);
    put(&b);
    cr_assert_eq(weir_mailbox_put(&mailbox, &c, &must_wake), WEIR_E_FULL);
    cr_assert(must_wake, "untouched on failure");
    put(&none); /* exactly at the bound, nothing more fits */
    cr_assert_eq(weir_mailbox_take(&mailbox), &a);
    cr_assert_eq(weir_mailbox_put(&mailbox, &c, &must_wake), WEIR_E_FULL,
                 "taken is not dealt with");
    weir_mailbox_credit(&mailbox, 60);
    put(&c);
    weir_mailbox_put_always(&mailbox, &always, &must_wake); /* far beyond */
    cr_assert_not(must_wake);
    cr_assert_eq(weir_mailbox_put(&mailbox, &a, &must_wake), WEIR_E_FULL);
    struct weir_letter zero = {.bytes = 0};
    cr_assert_eq(weir_mailbox_put(&mailbox, &zero, &must_wake), WEIR_E_FULL, "above the bound");
    cr_assert_eq(weir_mailbox_take(&mailbox), &c);
    cr_assert_eq(c.next, &always);
    cr_assert_null(always.next);
    weir_mailbox_credit(&mailbox, 40 + 1 + 500);
    cr_assert_eq(atomic_load(&mailbox.bytes), 0);
    struct weir_letter full = {.bytes = 100};
    put(&full);
    cr_assert_eq(weir_mailbox_take(&mailbox), &full);

    weir_mailbox_init(&mailbox, 0);
    cr_assert_eq(weir_mailbox_put(&mailbox, &c, &must_wake), WEIR_E_FULL);
    put(&none);
}

Test(mailbox, the_first_put_that_finds_the_owner_asleep_wakes_it_and_no_other)
{
    struct weir_letter a = {0}, b = {0}, c = {0};
    bool must_wake = false;
    weir_mailbox_init(&mailbox, 100);
    cr_assert_not(put(&a));
    cr_assert_not(weir_mailbox_sleep(&mailbox), "there is mail");
    cr_assert_not(put(&b), "awake after the refusal");
    cr_assert_eq(weir_mailbox_take(&mailbox), &a);
    cr_assert(weir_mailbox_sleep(&mailbox));
    cr_assert(put(&a));
    cr_assert_not(put(&b));
    weir_mailbox_put_always(&mailbox, &c, &must_wake);
    cr_assert_not(must_wake);
    weir_mailbox_awake(&mailbox);
    cr_assert_not_null(weir_mailbox_take(&mailbox));

    /* Woken by something else: no wake is owed any more. */
    cr_assert(weir_mailbox_sleep(&mailbox));
    weir_mailbox_awake(&mailbox);
    cr_assert_not(put(&a));
    cr_assert_eq(weir_mailbox_take(&mailbox), &a);

    cr_assert(weir_mailbox_sleep(&mailbox));
    weir_mailbox_put_always(&mailbox, &c, &must_wake);
    cr_assert(must_wake);
}

Test(mailbox, a_refused_put_does_not_wake)
{
    struct weir_letter big = {.bytes = 2}, small = {.bytes = 1};
    bool must_wake = false;
    weir_mailbox_init(&mailbox, 1);
    cr_assert(weir_mailbox_sleep(&mailbox));
    cr_assert_eq(weir_mailbox_put(&mailbox, &big, &must_wake), WEIR_E_FULL);
    cr_assert_not(must_wake);
    cr_assert(put(&small), "and leaves the wake to the next");
}
