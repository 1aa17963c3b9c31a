/* engine/peers/book_impl.h: the address book from the inside.
 *
 *   book.c         entries, slots, what is learnt
 *   book_choose.c  what is asked: choosing, samples, who waits for a slot in tried
 *   book_file.c    records
 *
 * Invariants (weir_book_verify):
 *   1  an entry in use is in `order` once, and found by its place in `map`
 *   2  it is in tried, in one slot, or in new, in slot_cnt of 1 to 8 slots; each is where the secret says
 *   3  a table's bucket counts are right, and `busy` lists the buckets that are not empty
 */
#ifndef WEIR_ENGINE_PEERS_BOOK_IMPL_H
#define WEIR_ENGINE_PEERS_BOOK_IMPL_H

#include "engine/peers/book.h"

#define NONE UINT32_MAX
#define WAITING_MAX 10u
#define NEW_SLOTS_MAX 8u

struct table {
    uint32_t bucket_cnt;
    uint32_t (*slots)[WEIR_BOOK_SLOTS]; /* entry or NONE */
    uint8_t *cnts;                      /* slots in use, by bucket */
    uint16_t *busy, *busy_at; /* buckets that are not empty; where in `busy` a bucket is */
    uint32_t busy_cnt, slot_cnt, entry_cnt;
};

struct weir_book {
    struct weir_book_config cfg;
    struct weir_book_entry *entries;
    uint32_t entry_cap, free_head; /* free ones are linked by order_idx */
    uint32_t *order, order_cnt;    /* entries in use, in no order that means anything */
    uint32_t *map, map_mask;       /* open addressing: entry or NONE */
    struct table new_table, tried_table;
    uint32_t waiting[WAITING_MAX], waiting_cnt;
    uint64_t waiting_since_s[WAITING_MAX];
    uint64_t random_cnt, change_cnt;
};

/* Where in `map` a place is, or where it would be. */
uint32_t book_map_at(const struct weir_book *book, const struct weir_place *place);
uint32_t book_find(const struct weir_book *book, const struct weir_place *place); /* or NONE */
/* A slot of tried for a place. */
uint32_t *book_tried_slot(const struct weir_book *book, const struct weir_place *place,
                          uint32_t *ret_bucket);
/* Moves an entry to tried; who is in its slot goes back to new. */
void book_make_tried(struct weir_book *book, uint32_t id);
/* As weir_book_add with all of an entry: for files. */
bool book_restore(struct weir_book *book, const struct weir_book_entry *entry, uint64_t now_s);

#endif
