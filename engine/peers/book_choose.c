#include <string.h>

#include "engine/base/check.h"
#include "engine/base/siphash.h"
#include "engine/peers/book_impl.h"

#define DRAWS_MAX 200u
#define CHANCE_ONE 1000000u
#define DOUBT_S (4 * 3600u) /* a success not older than that is proof */
#define ANSWER_S 60u        /* a dial that has not succeeded by then has failed */
#define WAIT_S (40 * 60u)   /* without a dial of the other for so long, the one that waits wins */

/* ---- choosing ------------------------------------------------------------------------------ */

/* An entry of a bucket that is not empty. */
static uint32_t draw(struct weir_book *book, const struct table *table)
{
    uint32_t bucket = table->busy[weir_book_random(book, table->busy_cnt)];
    uint32_t nth = (uint32_t)weir_book_random(book, table->cnts[bucket]);
    for (uint32_t i = 0; i < WEIR_BOOK_SLOTS; i++) {
        if (table->slots[bucket][i] != NONE && nth-- == 0)
            return table->slots[bucket][i];
    }
    WEIR_CHECK(false); /* a bucket whose count is wrong */
    return NONE;
}

/* 0.66 to the power of the attempts in vain, at most 8 of them, in millionths. */
static uint64_t chance_of(const struct weir_book_entry *entry)
{
    uint64_t chance = CHANCE_ONE;
    for (uint32_t i = 0; i < entry->attempt_cnt && i < 8; i++)
        chance = chance * 66 / 100;
    return chance;
}

bool weir_book_select(struct weir_book *book, bool is_new, uint64_t now_s,
                      weir_book_accept_fn accept, void *ctx, struct weir_book_entry *ret_entry)
{
    const struct table *tables[2] = {&book->new_table, &book->tried_table};
    uint64_t factor = 100;
    for (uint32_t i = 0; i < DRAWS_MAX; i++) {
        uint32_t which = is_new ? 0 : (uint32_t)weir_book_random(book, 2);
        if (tables[which]->slot_cnt == 0)
            which = is_new ? 0 : 1 - which;
        if (tables[which]->slot_cnt == 0)
            return false;
        const struct weir_book_entry *entry = &book->entries[draw(book, tables[which])];
        if (entry->is_connected || entry->retry_s > now_s || (accept && !accept(ctx, entry)))
            continue;
        if (weir_book_random(book, CHANCE_ONE) * 100 >= chance_of(entry) * factor) {
            factor = factor * 12 / 10; /* who is unlikely has his turn when nobody else is there */
            continue;
        }
        *ret_entry = *entry;
        return true;
    }
    return false;
}

uint32_t weir_book_sample(struct weir_book *book, uint64_t now_s, weir_book_accept_fn accept,
                          void *ctx, struct weir_book_entry *ret_entries, uint32_t max)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < book->order_cnt && cnt < max; i++) { /* a shuffle, as far as needed */
        uint32_t at = i + (uint32_t)weir_book_random(book, book->order_cnt - i);
        uint32_t id = book->order[at];
        book->order[at] = book->order[i];
        book->entries[book->order[at]].order_idx = at;
        book->order[i] = id;
        book->entries[id].order_idx = i;
        const struct weir_book_entry *entry = &book->entries[id];
        if (!weir_book_is_terrible(entry, now_s) && (!accept || accept(ctx, entry)))
            ret_entries[cnt++] = *entry;
    }
    return cnt;
}

const struct weir_book_entry *weir_book_find(const struct weir_book *book,
                                             const struct weir_place *place)
{
    uint32_t id = book_find(book, place);
    return id == NONE ? NULL : &book->entries[id];
}

/* ---- slots in tried ------------------------------------------------------------------------ */

/* Who is in the slot that `id` waits for; NONE: nobody any more. */
static uint32_t rival_of(const struct weir_book *book, uint32_t id)
{
    uint32_t bucket;
    return *book_tried_slot(book, &book->entries[id].place, &bucket);
}

bool weir_book_doubtful(struct weir_book *book, uint64_t now_s, struct weir_book_entry *ret_entry)
{
    for (uint32_t i = 0; i < book->waiting_cnt; i++) {
        uint32_t rival = rival_of(book, book->waiting[i]);
        if (rival == NONE || book->entries[rival].good_s + DOUBT_S > now_s ||
            book->entries[rival].attempt_s + ANSWER_S > now_s)
            continue;
        *ret_entry = book->entries[rival];
        return true;
    }
    return false;
}

/* Whether the one that waits gets the slot: 1 yes, -1 never, 0 not known yet. */
static int verdict(const struct weir_book *book, uint32_t at, uint64_t now_s)
{
    uint32_t rival = rival_of(book, book->waiting[at]);
    if (rival == NONE)
        return 1;
    const struct weir_book_entry *old = &book->entries[rival];
    if (old->good_s + DOUBT_S > now_s)
        return -1;
    bool was_dialed = old->attempt_s > book->waiting_since_s[at];
    if (was_dialed && old->attempt_s + ANSWER_S <= now_s)
        return 1; /* and did not answer */
    return book->waiting_since_s[at] + WAIT_S <= now_s ? 1 : 0;
}

void weir_book_settle(struct weir_book *book, uint64_t now_s)
{
    for (uint32_t i = 0; i < book->waiting_cnt;) {
        int answer = verdict(book, i, now_s);
        if (answer == 0) {
            i++;
            continue;
        }
        uint32_t id = book->waiting[i];
        book->waiting_cnt--;
        book->waiting[i] = book->waiting[book->waiting_cnt];
        book->waiting_since_s[i] = book->waiting_since_s[book->waiting_cnt];
        if (answer > 0 && !book->entries[id].is_tried)
            book_make_tried(book, id);
    }
}

/* ---- anchors ------------------------------------------------------------------------------- */

void weir_book_set_anchors(struct weir_book *book, const struct weir_place *places, uint32_t cnt)
{
    for (uint32_t i = 0; i < book->order_cnt; i++) {
        struct weir_book_entry *entry = &book->entries[book->order[i]];
        bool is_anchor = false;
        for (uint32_t k = 0; k < cnt && k < WEIR_BOOK_ANCHORS; k++)
            is_anchor |= weir_place_is_equal(&entry->place, &places[k]);
        book->change_cnt += is_anchor != entry->is_anchor;
        entry->is_anchor = is_anchor;
    }
}

uint32_t weir_book_anchors(const struct weir_book *book, struct weir_place *ret_places)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < book->order_cnt && cnt < WEIR_BOOK_ANCHORS; i++) {
        if (book->entries[book->order[i]].is_anchor)
            ret_places[cnt++] = book->entries[book->order[i]].place;
    }
    return cnt;
}

void weir_book_stats(const struct weir_book *book, struct weir_book_stats *ret_stats)
{
    *ret_stats = (struct weir_book_stats){.new_cnt = book->new_table.entry_cnt,
                                          .tried_cnt = book->tried_table.entry_cnt,
                                          .new_slot_cnt = book->new_table.slot_cnt,
                                          .waiting_cnt = book->waiting_cnt,
                                          .change_cnt = book->change_cnt};
}

/* ---- invariants ---------------------------------------------------------------------------- */

/* Adds up a table: which slots hold whom. */
static void verify_table(const struct weir_book *book, const struct table *table, bool is_tried)
{
    uint32_t slot_cnt = 0, busy_cnt = 0;
    for (uint32_t bucket = 0; bucket < table->bucket_cnt; bucket++) {
        uint32_t cnt = 0, all = NONE;
        for (uint32_t i = 0; i < WEIR_BOOK_SLOTS; i++)
            all &= table->slots[bucket][i];
        for (uint32_t i = 0; i < WEIR_BOOK_SLOTS && all != NONE; i++) { /* most buckets are empty */
            uint32_t id = table->slots[bucket][i];
            if (id == NONE)
                continue;
            cnt++;
            WEIR_CHECK(id < book->entry_cap && book->entries[id].is_used);
            WEIR_CHECK(book->entries[id].is_tried == is_tried);
            uint32_t at = 0;
            if (is_tried)
                WEIR_CHECK(book_tried_slot(book, &book->entries[id].place, &at) ==
                               &table->slots[bucket][i] &&
                           at == bucket);
        }
        WEIR_CHECK(cnt == table->cnts[bucket]);
        slot_cnt += cnt;
        busy_cnt += cnt > 0;
        WEIR_CHECK(cnt == 0 || (table->busy_at[bucket] < table->busy_cnt &&
                                table->busy[table->busy_at[bucket]] == bucket));
    }
    WEIR_CHECK(slot_cnt == table->slot_cnt && busy_cnt == table->busy_cnt);
}

void weir_book_verify(const struct weir_book *book)
{
    verify_table(book, &book->new_table, false);
    verify_table(book, &book->tried_table, true);
    uint32_t new_cnt = 0, tried_cnt = 0, slot_cnt = 0;
    for (uint32_t i = 0; i < book->order_cnt; i++) {
        uint32_t id = book->order[i];
        const struct weir_book_entry *entry = &book->entries[id];
        WEIR_CHECK(entry->is_used && entry->order_idx == i && book_find(book, &entry->place) == id);
        WEIR_CHECK(entry->is_tried ? entry->slot_cnt == 0
                                   : entry->slot_cnt >= 1 && entry->slot_cnt <= NEW_SLOTS_MAX);
        WEIR_CHECK(weir_caps_is_good(entry->caps, strlen(entry->caps)));
        new_cnt += !entry->is_tried;
        tried_cnt += entry->is_tried;
        slot_cnt += entry->slot_cnt;
    }
    WEIR_CHECK(new_cnt == book->new_table.entry_cnt && tried_cnt == book->tried_table.entry_cnt);
    WEIR_CHECK(slot_cnt == book->new_table.slot_cnt && tried_cnt == book->tried_table.slot_cnt);
    for (uint32_t i = 0; i < book->waiting_cnt; i++)
        WEIR_CHECK(book->entries[book->waiting[i]].is_used);
}
