/* engine/peers/book.h: the address book: places where nodes may be, and how it is kept from being filled by one
 * who owns many addresses.
 *
 * Two tables of buckets with 64 slots each. *New* (1,024 buckets) holds what was heard of; *tried* (256) holds what
 * we were connected to. A secret of 256 bits decides where a place may be:
 *
 *   new     one of 64 buckets that follow from the *group of the peer that told it*; which of them, from the
 *           place's group: whoever tells lies from k groups reaches at most 64 k of 1,024 buckets
 *   tried   one of 8 buckets that follow from the place's own group: k groups reach at most 8 k of 256
 *   slot    follows from place and bucket: whom a place displaces cannot be chosen
 *
 * The first half of the secret is for buckets, the second for slots (engine/base/siphash.h).
 *
 *                 add                         good, slot free                        file
 *   (unknown) ----------> NEW, 1 to 8 slots -------------------> TRIED, 1 slot <------------> disk
 *                          ^   |  terrible, displaced              | displaced by one that proved to be better
 *                          |   v                                   |
 *                          | (gone)                                |
 *                          +---------------------------------------+
 *
 * A place displaces another from *new* only when that one is terrible or has more slots. From *tried* it never does
 * so by itself: it waits (at most 10 do) until the one that is there was dialed again (weir_book_doubtful), and
 * takes its place if that did not answer: "test before evict". A place that was told again gets another slot in
 * new with probability 2^-slots. *Terrible* is what was not seen for 30 days, comes from the future, never
 * answered in 3 attempts, or did not in 10 attempts over the last week.
 *
 * A place is not dialed again before retry_s: wait(n) = W/2 + random(0 .. W/2), W = min(30 min, 2 s * 2^n), after
 * n attempts in vain; n is 0 again after the first useful message (weir_book_good).
 *
 * Times are seconds of the wall clock. Nothing here takes a lock, reads a clock or touches a file.
 *
 * Source: the shape is that of Bitcoin Core's address manager; E. Heilman et al., "Eclipse Attacks on Bitcoin's
 * Peer-to-Peer Network" (USENIX Security 2015) is why.
 */
#ifndef WEIR_ENGINE_PEERS_BOOK_H
#define WEIR_ENGINE_PEERS_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/caps.h"
#include "engine/base/place.h"

#define WEIR_BOOK_KEY_BYTES 32u
#define WEIR_BOOK_SLOTS 64u
#define WEIR_BOOK_NEW_BUCKETS 1024u
#define WEIR_BOOK_TRIED_BUCKETS 256u
#define WEIR_BOOK_ANCHORS 2u

struct weir_book_config {
    uint8_t key[WEIR_BOOK_KEY_BYTES];          /* secret; a file that is read brings its own */
    uint64_t seed;                             /* of random choices; secret too */
    uint32_t new_bucket_cnt, tried_bucket_cnt; /* 0: as above; a test has fewer */
};

struct weir_book_entry {
    struct weir_place place, source; /* source: who told it */
    uint64_t seen_s;                 /* somebody was connected to it then, as far as is known */
    uint64_t attempt_s, good_s;      /* last attempt; last success; 0: never */
    uint64_t retry_s;                /* no attempt before */
    uint16_t attempt_cnt;            /* in vain since the last success */
    uint8_t slot_cnt;                /* in new */
    bool is_used, is_tried, is_anchor;
    bool is_connected; /* not to be chosen */
    uint32_t order_idx;
    char caps[WEIR_CAPS_BYTES];
};

struct weir_book;

/* Errors: WEIR_E_NOMEM. */
int weir_book_create(struct weir_book **ret_book, const struct weir_book_config *cfg);
void weir_book_free(struct weir_book *book);

/* ---- what is learnt ------------------------------------------------------------------------ */

/* A place was told by `source`, which saw it at seen_s; `caps` may be "". What a node says of itself (source and place
 * are one host) replaces its capabilities, what others say does not. True: it is new, or in one slot more. When memory is
 * short the place is not taken. */
bool weir_book_add(struct weir_book *book, const struct weir_place *place,
                   const struct weir_place *source, const char *caps, uint64_t seen_s,
                   uint64_t now_s);

/* It is being dialed. Not counted (a success or another peer has to show first that the network is there at
 * all), the wait is the shortest. */
void weir_book_attempt(struct weir_book *book, const struct weir_place *place, bool is_counted,
                       uint64_t now_s);

/* We dialed it, and a useful message came. */
void weir_book_good(struct weir_book *book, const struct weir_place *place, uint64_t now_s);

/* It is connected still. */
void weir_book_seen(struct weir_book *book, const struct weir_place *place, uint64_t now_s);

/* It is (not) connected now, whoever dialed: one that is is not chosen. */
void weir_book_set_connected(struct weir_book *book, const struct weir_place *place,
                             bool is_connected);

/* It is not to be dialed before until_s. */
void weir_book_rest(struct weir_book *book, const struct weir_place *place, uint64_t until_s);

/* It is ourselves, or must not be kept. */
void weir_book_remove(struct weir_book *book, const struct weir_place *place);

/* Who is to be dialed first after a restart: these and no others. */
void weir_book_set_anchors(struct weir_book *book, const struct weir_place *places, uint32_t cnt);

/* ---- what is asked ------------------------------------------------------------------------- */

typedef bool (*weir_book_accept_fn)(void *ctx, const struct weir_book_entry *entry);

/* Chooses one to dial: from tried or new with equal chances (is_new: from new alone), a bucket, a slot; one that failed
 * is less likely, one whose retry_s has not come is not chosen, nor one that `accept` (may be NULL) refuses.
 * False: none was found in a bounded number of draws, which does not mean that there is none. */
bool weir_book_select(struct weir_book *book, bool is_new, uint64_t now_s,
                      weir_book_accept_fn accept, void *ctx, struct weir_book_entry *ret_entry);

/* Up to `max` entries at random, without terrible ones, and only such as `accept` (may be NULL) takes. */
uint32_t weir_book_sample(struct weir_book *book, uint64_t now_s, weir_book_accept_fn accept,
                          void *ctx, struct weir_book_entry *ret_entries, uint32_t max);

/* One whose slot in tried another waits for, and which was not dialed for a minute. */
bool weir_book_doubtful(struct weir_book *book, uint64_t now_s, struct weir_book_entry *ret_entry);

/* Settles who waits for a slot in tried, as far as the answer is known. */
void weir_book_settle(struct weir_book *book, uint64_t now_s);

uint32_t weir_book_anchors(const struct weir_book *book, struct weir_place *ret_places);

const struct weir_book_entry *weir_book_find(const struct weir_book *book,
                                             const struct weir_place *place);
bool weir_book_is_terrible(const struct weir_book_entry *entry, uint64_t now_s);
uint64_t weir_book_backoff_s(uint32_t attempt_cnt, uint64_t random);

struct weir_book_stats {
    uint32_t new_cnt, tried_cnt;        /* places */
    uint32_t new_slot_cnt, waiting_cnt; /* slots in use in new; who waits for a slot in tried */
    uint64_t change_cnt;                /* that a file would differ by */
};
void weir_book_stats(const struct weir_book *book, struct weir_book_stats *ret_stats);

/* Random numbers from the book's seed: nobody outside can predict them. Below `bound`; 0 for 0. */
uint64_t weir_book_random(struct weir_book *book, uint64_t bound);

/* Walks all invariants (WEIR_CHECK): for tests. */
void weir_book_verify(const struct weir_book *book);

/* ---- the file ------------------------------------------------------------------------------
 *
 * A header of 64 bytes and records of 128, integers little-endian; each has an XXH3-64 of its own, whose seed is its
 * number, so that a damaged byte costs one record, or (in the header) the key, after which every place gets new
 * slots. docs/discovery.md has the bytes. */

#define WEIR_BOOK_HEADER_BYTES 64u
#define WEIR_BOOK_RECORD_BYTES 128u
#define WEIR_BOOK_FILE_BYTES_MAX                                                 \
    (WEIR_BOOK_HEADER_BYTES + (size_t)WEIR_BOOK_RECORD_BYTES * WEIR_BOOK_SLOTS * \
                                  (WEIR_BOOK_NEW_BUCKETS + WEIR_BOOK_TRIED_BUCKETS))

/* Writes the header. `record_cnt` are to follow. */
void weir_book_put_header(const struct weir_book *book, uint32_t record_cnt,
                          uint8_t ret_bytes[WEIR_BOOK_HEADER_BYTES]);
/* Writes as record number `record_idx` the next entry from `*cursor` (begins at 0) on; false: that was the last. Entries
 * may come and go between calls, so that nobody needs to hold a lock for all of them. */
bool weir_book_put_record(const struct weir_book *book, uint32_t *cursor, uint32_t record_idx,
                          uint8_t ret_bytes[WEIR_BOOK_RECORD_BYTES]);

struct weir_book_read {
    uint32_t taken_cnt;   /* places that are in the book now */
    uint32_t damaged_cnt; /* records that are not what was written */
    uint32_t damaged_idx; /* the first of them */
    uint32_t missing_cnt; /* that the header says were written, and are not there */
    bool is_header_damaged;
    bool is_foreign; /* not a book, or of another version: nothing is in it for us */
};

/* Takes all good records into an empty book. */
void weir_book_parse(struct weir_book *book, const uint8_t *bytes, size_t len, uint64_t now_s,
                     struct weir_book_read *ret_read);

#endif
