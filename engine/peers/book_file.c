/* The file's bytes.
 *
 *   header   0  8 "weirbook"        8  4 version 1      12  4 record bytes (128)
 *           16  4 records          20  4 zero           24 32 key           56  8 XXH3-64 of what is before, seed 0
 *   record   0  1 flags (1 tried, 2 anchor)  1  1 family (4, 6)   2  2 port   4 16 address
 *           20  1 the source's family       21  1 zero           22  2 its port  24 16 its address
 *           40  8 seen    48  8 attempt     56  8 good           64  8 retry   72  2 attempts in vain
 *           74 46 capabilities, zeros behind  120  8 XXH3-64 of what is before, seed 1 + the record's number */
#include <string.h>

#include "engine/base/hash.h"
#include "engine/peers/book_impl.h"
#include "proto/native_bytes.h"

#define VERSION 1u
#define FLAG_TRIED 1u
#define FLAG_ANCHOR 2u
#define HEADER_CHECK 56u
#define RECORD_CHECK 120u
#define CAPS_AT 74u
#define CAPS_ROOM (RECORD_CHECK - CAPS_AT)

static const char magic[8] = {'w', 'e', 'i', 'r', 'b', 'o', 'o', 'k'};

static uint64_t check_of(const uint8_t *bytes, size_t len, uint64_t seed)
{
    return weir_hash_ops()->xxh3(bytes, len, seed);
}

/* ---- writing ------------------------------------------------------------------------------- */

void weir_book_put_header(const struct weir_book *book, uint32_t record_cnt,
                          uint8_t ret_bytes[WEIR_BOOK_HEADER_BYTES])
{
    memset(ret_bytes, 0, WEIR_BOOK_HEADER_BYTES);
    memcpy(ret_bytes, magic, sizeof(magic));
    weir_le32_put(ret_bytes + 8, VERSION);
    weir_le32_put(ret_bytes + 12, WEIR_BOOK_RECORD_BYTES);
    weir_le32_put(ret_bytes + 16, record_cnt);
    memcpy(ret_bytes + 24, book->cfg.key, WEIR_BOOK_KEY_BYTES);
    weir_le64_put(ret_bytes + HEADER_CHECK, check_of(ret_bytes, HEADER_CHECK, 0));
}

static void put_place(uint8_t *at, const struct weir_place *place, uint8_t first)
{
    at[0] = first;
    at[1] = place->family;
    weir_le16_put(at + 2, place->port);
    memcpy(at + 4, place->ip, 16);
}

bool weir_book_put_record(const struct weir_book *book, uint32_t *cursor, uint32_t record_idx,
                          uint8_t ret_bytes[WEIR_BOOK_RECORD_BYTES])
{
    while (*cursor < book->entry_cap && !book->entries[*cursor].is_used)
        ++*cursor;
    if (*cursor >= book->entry_cap)
        return false;
    const struct weir_book_entry *entry = &book->entries[(*cursor)++];
    memset(ret_bytes, 0, WEIR_BOOK_RECORD_BYTES);
    uint32_t flags = (entry->is_tried ? FLAG_TRIED : 0) | (entry->is_anchor ? FLAG_ANCHOR : 0);
    put_place(ret_bytes, &entry->place, (uint8_t)flags);
    put_place(ret_bytes + 20, &entry->source, 0);
    weir_le64_put(ret_bytes + 40, entry->seen_s);
    weir_le64_put(ret_bytes + 48, entry->attempt_s);
    weir_le64_put(ret_bytes + 56, entry->good_s);
    weir_le64_put(ret_bytes + 64, entry->retry_s);
    weir_le16_put(ret_bytes + 72, entry->attempt_cnt);
    memcpy(ret_bytes + CAPS_AT, entry->caps, CAPS_ROOM);
    weir_le64_put(ret_bytes + RECORD_CHECK, check_of(ret_bytes, RECORD_CHECK, 1 + record_idx));
    return true;
}

/* ---- reading ------------------------------------------------------------------------------- */

static void get_place(const uint8_t *at, struct weir_place *ret_place)
{
    *ret_place = (struct weir_place){.family = at[1], .port = weir_le16_get(at + 2)};
    memcpy(ret_place->ip, at + 4, 16);
}

/* False: these are not the bytes that were written. */
static bool get_record(const uint8_t *bytes, uint32_t record_idx, struct weir_book_entry *ret_entry)
{
    if (weir_le64_get(bytes + RECORD_CHECK) != check_of(bytes, RECORD_CHECK, 1 + record_idx))
        return false;
    *ret_entry = (struct weir_book_entry){.seen_s = weir_le64_get(bytes + 40),
                                          .attempt_s = weir_le64_get(bytes + 48),
                                          .good_s = weir_le64_get(bytes + 56),
                                          .retry_s = weir_le64_get(bytes + 64),
                                          .attempt_cnt = weir_le16_get(bytes + 72),
                                          .is_tried = (bytes[0] & FLAG_TRIED) != 0,
                                          .is_anchor = (bytes[0] & FLAG_ANCHOR) != 0};
    get_place(bytes, &ret_entry->place);
    get_place(bytes + 20, &ret_entry->source);
    const char *caps = (const char *)bytes + CAPS_AT;
    size_t len = strnlen(caps, CAPS_ROOM);
    memcpy(ret_entry->caps, caps, len);
    return weir_place_kind(&ret_entry->place) != WEIR_PLACE_UNUSABLE &&
           weir_caps_is_good(caps, len);
}

static bool is_header_good(const uint8_t *bytes, size_t len)
{
    return len >= WEIR_BOOK_HEADER_BYTES &&
           weir_le64_get(bytes + HEADER_CHECK) == check_of(bytes, HEADER_CHECK, 0);
}

/* A wall clock that was wrong when the file was written must not keep a place from being dialed. */
static uint64_t no_later(uint64_t at_s, uint64_t now_s)
{
    return at_s > now_s + 3600 ? now_s : at_s;
}

void weir_book_parse(struct weir_book *book, const uint8_t *bytes, size_t len, uint64_t now_s,
                     struct weir_book_read *ret_read)
{
    *ret_read = (struct weir_book_read){.is_header_damaged = !is_header_good(bytes, len)};
    size_t room = len > WEIR_BOOK_HEADER_BYTES ? len - WEIR_BOOK_HEADER_BYTES : 0;
    uint32_t there = (uint32_t)(room / WEIR_BOOK_RECORD_BYTES), cnt = there;
    if (!ret_read->is_header_damaged) {
        bool is_ours = memcmp(bytes, magic, sizeof(magic)) == 0 &&
                       weir_le32_get(bytes + 8) == VERSION &&
                       weir_le32_get(bytes + 12) == WEIR_BOOK_RECORD_BYTES;
        ret_read->is_foreign = !is_ours;
        if (!is_ours)
            return;
        memcpy(book->cfg.key, bytes + 24, WEIR_BOOK_KEY_BYTES);
        uint32_t written = weir_le32_get(bytes + 16);
        ret_read->missing_cnt = written > there ? written - there : 0;
        cnt = written < there ? written : there;
    }
    uint32_t good_cnt = 0;
    for (uint32_t i = 0; i < cnt; i++) {
        struct weir_book_entry entry;
        if (!get_record(bytes + WEIR_BOOK_HEADER_BYTES + (size_t)i * WEIR_BOOK_RECORD_BYTES, i,
                        &entry)) {
            if (ret_read->damaged_cnt++ == 0)
                ret_read->damaged_idx = i;
            continue;
        }
        good_cnt++;
        entry.retry_s = no_later(entry.retry_s, now_s);
        entry.attempt_s = no_later(entry.attempt_s, now_s);
        entry.good_s = no_later(entry.good_s, now_s);
        entry.seen_s = no_later(entry.seen_s, now_s);
        ret_read->taken_cnt += book_restore(book, &entry, now_s);
    }
    ret_read->is_foreign = ret_read->is_header_damaged && good_cnt == 0;
}
