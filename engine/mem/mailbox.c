/* A letter that is pushed is either taken by an owner that is awake, or its put wakes the owner.
 *
 * put:    A. push the letter to `top`     B. read `is_asleep`
 * sleep:  C. set `is_asleep`              D. read `top`
 * All four are seq_cst, so in their one order either A is before D, and the owner sees the letter
 * and does not wait, or C is before B, and the put sees a sleeper and clears the flag with an
 * exchange, which only one of several puts can win. (With weaker orders a store may pass the load
 * behind it, and both could miss.)
 */
#include "engine/mem/mailbox.h"

#include <stddef.h>

#include "engine/base/check.h"
#include "weir/error.h"

void weir_mailbox_init(struct weir_mailbox *mailbox, uint64_t bytes_max)
{
    atomic_init(&mailbox->top, NULL);
    atomic_init(&mailbox->bytes, 0);
    mailbox->bytes_max = bytes_max;
    atomic_init(&mailbox->is_asleep, false);
}

/* Pushes a letter that is counted already; returns whether the owner must be woken. */
static bool push(struct weir_mailbox *mailbox, struct weir_letter *letter)
{
    struct weir_letter *top = atomic_load_explicit(&mailbox->top, memory_order_relaxed);
    do {
        letter->next = top;
        /* Also the release that pairs with the acquire in weir_mailbox_take. */
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->top, &top, letter,
                                                    memory_order_seq_cst, memory_order_relaxed));
    return atomic_load_explicit(&mailbox->is_asleep, memory_order_seq_cst) &&
           atomic_exchange_explicit(&mailbox->is_asleep, false, memory_order_seq_cst);
}

int weir_mailbox_put(struct weir_mailbox *mailbox, struct weir_letter *letter, bool *ret_must_wake)
{
    /* Reserved with a compare-exchange, not add-then-undo: a letter that is too big must not make
     * others be refused while it is being undone. */
    uint64_t bytes = atomic_load_explicit(&mailbox->bytes, memory_order_relaxed);
    do {
        if (bytes > mailbox->bytes_max || letter->bytes > mailbox->bytes_max - bytes) {
            return WEIR_E_FULL;
        }
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->bytes, &bytes, bytes + letter->bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    *ret_must_wake = push(mailbox, letter);
    return 0;
}

void weir_mailbox_put_always(struct weir_mailbox *mailbox, struct weir_letter *letter,
                             bool *ret_must_wake)
{
    atomic_fetch_add_explicit(&mailbox->bytes, letter->bytes, memory_order_relaxed);
    *ret_must_wake = push(mailbox, letter);
}

struct weir_letter *weir_mailbox_take(struct weir_mailbox *mailbox)
{
    if (atomic_load_explicit(&mailbox->top, memory_order_relaxed) == NULL) {
        return NULL;
    }
    struct weir_letter *letter =
        atomic_exchange_explicit(&mailbox->top, NULL, memory_order_acquire);
    struct weir_letter *oldest = NULL;
    while (letter != NULL) {
        struct weir_letter *older = letter->next;
        letter->next = oldest;
        oldest = letter;
        letter = older;
    }
    return oldest;
}

void weir_mailbox_credit(struct weir_mailbox *mailbox, uint32_t bytes)
{
    uint64_t before = atomic_fetch_sub_explicit(&mailbox->bytes, bytes, memory_order_relaxed);
    WEIR_DCHECK(before >= bytes);
    (void)before;
}

bool weir_mailbox_sleep(struct weir_mailbox *mailbox)
{
    atomic_store_explicit(&mailbox->is_asleep, true, memory_order_seq_cst);
    if (atomic_load_explicit(&mailbox->top, memory_order_seq_cst) == NULL) {
        return true;
    }
    /* A put may have cleared it first, and wakes once too often; that costs one turn. */
    atomic_store_explicit(&mailbox->is_asleep, false, memory_order_relaxed);
    return false;
}

void weir_mailbox_awake(struct weir_mailbox *mailbox)
{
    /* Most often the put that woke the owner has cleared it: do not write the line again. */
    if (atomic_load_explicit(&mailbox->is_asleep, memory_order_relaxed)) {
        atomic_store_explicit(&mailbox->is_asleep, false, memory_order_relaxed);
    }
}
