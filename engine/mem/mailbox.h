/* engine/mem/mailbox.h: many threads put, one shard takes: an intrusive queue, bounded in bytes.
 *
 * Order: letters of one thread arrive in the order it put them. The put that finds the mailbox *asleep*
 * (its owner said it is about to wait) is told to wake it, once.
 */
#ifndef WEIR_ENGINE_MEM_MAILBOX_H
#define WEIR_ENGINE_MEM_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct weir_letter {
    struct weir_letter *next;
    uint32_t kind;
    uint32_t bytes; /* what it counts for against the bound */
};

struct weir_mailbox {
    _Alignas(
        64) _Atomic(struct weir_letter *) top; /* newest first; the owner reverses what it takes */
    _Atomic uint64_t bytes;
    uint64_t bytes_max;
    _Alignas(64) _Atomic bool is_asleep;
};

void weir_mailbox_init(struct weir_mailbox *mailbox, uint64_t bytes_max);

/* Puts a letter whose kind and bytes are set; any thread. `*ret_must_wake`: the caller wakes the owner.
 * Errors: WEIR_E_FULL (the bound; the letter stays the caller's). */
int weir_mailbox_put(struct weir_mailbox *mailbox, struct weir_letter *letter, bool *ret_must_wake);

/* The same without the bound, for letters that must arrive (stop, adopt, release). */
void weir_mailbox_put_always(struct weir_mailbox *mailbox, struct weir_letter *letter,
                             bool *ret_must_wake);

/* Takes all letters, oldest first, as a list; NULL when there are none. The owner calls
 * weir_mailbox_credit(bytes) once it has dealt with a letter. Owner's thread. */
struct weir_letter *weir_mailbox_take(struct weir_mailbox *mailbox);
void weir_mailbox_credit(struct weir_mailbox *mailbox, uint32_t bytes);

/* Says that the owner is about to wait; true: it may (nothing is there), false: there is mail, and the
 * mailbox counts as awake. Pairs with the store of `top` in put (both seq_cst: Dekker's pattern). */
bool weir_mailbox_sleep(struct weir_mailbox *mailbox);
void weir_mailbox_awake(struct weir_mailbox *mailbox);

#endif
