#include "engine/peers/book_impl.h"

#include <string.h>

#include "engine/base/check.h"
#include "engine/base/siphash.h"
#include "engine/mem/heap.h"
#include "weir/error.h"

#define BUCKETS_PER_SOURCE 64u
#define BUCKETS_PER_GROUP 8u
#define ENTRIES_FIRST 64u
#define FUTURE_S 600u           /* clocks differ by less */
#define HORIZON_S (30 * 86400u) /* not seen for so long: terrible */
#define SEEN_GRAIN_S 1200u      /* a later sighting is worth writing down after that */
#define BACKOFF_MIN_S 2u
#define BACKOFF_MAX_S 1800u

/* ---- keyed places -------------------------------------------------------------------------- */

enum purpose {
    FOR_MAP = 1,
    FOR_NEW_GROUP,
    FOR_NEW_BUCKET,
    FOR_NEW_SLOT,
    FOR_TRIED_HOST,
    FOR_TRIED_BUCKET,
    FOR_TRIED_SLOT,
    FOR_RANDOM
};

/* What is hashed: a purpose, so that no two uses share a value, and what it is about. */
struct subject {
    uint8_t bytes[64];
    size_t len;
};

static void put(struct subject *subject, const void *data, size_t len)
{
    WEIR_DCHECK(subject->len + len <= sizeof(subject->bytes));
    memcpy(subject->bytes + subject->len, data, len);
    subject->len += len;
}

static void put_number(struct subject *subject, uint64_t number)
{
    for (int i = 0; i < 8; i++)
        subject->bytes[subject->len++] = (uint8_t)(number >> 8 * i);
}

static void put_group(struct subject *subject, const struct weir_place *place)
{
    uint8_t group[WEIR_GROUP_BYTES];
    weir_place_group(place, group);
    put(subject, group, sizeof(group));
}

static void put_place(struct subject *subject, const struct weir_place *place)
{
    put(subject, place->ip, sizeof(place->ip));
    put(subject, (uint8_t[]){place->family, (uint8_t)place->port, (uint8_t)(place->port >> 8)}, 3);
}

static struct subject subject_of(enum purpose purpose)
{
    return (struct subject){.bytes = {(uint8_t)purpose}, .len = 1};
}

static uint64_t hash_bucket(const struct weir_book *book, const struct subject *subject)
{
    return weir_siphash(book->cfg.key, subject->bytes, subject->len);
}

static uint64_t hash_slot(const struct weir_book *book, const struct subject *subject)
{
    return weir_siphash(book->cfg.key + WEIR_SIPHASH_KEY_BYTES, subject->bytes, subject->len);
}

static uint32_t new_bucket(const struct weir_book *book, const struct weir_place *place,
                           const struct weir_place *source)
{
    struct subject inner = subject_of(FOR_NEW_GROUP);
    put_group(&inner, place);
    put_group(&inner, source);
    struct subject outer = subject_of(FOR_NEW_BUCKET);
    put_group(&outer, source);
    put_number(&outer, hash_bucket(book, &inner) % BUCKETS_PER_SOURCE);
    return (uint32_t)(hash_bucket(book, &outer) % book->new_table.bucket_cnt);
}

static uint32_t tried_bucket(const struct weir_book *book, const struct weir_place *place)
{
    struct subject inner = subject_of(FOR_TRIED_HOST);
    put_place(&inner, place);
    struct subject outer = subject_of(FOR_TRIED_BUCKET);
    put_group(&outer, place);
    put_number(&outer, hash_bucket(book, &inner) % BUCKETS_PER_GROUP);
    return (uint32_t)(hash_bucket(book, &outer) % book->tried_table.bucket_cnt);
}

static uint32_t slot_in(const struct weir_book *book, enum purpose purpose, uint32_t bucket,
                        const struct weir_place *place)
{
    struct subject subject = subject_of(purpose);
    put_number(&subject, bucket);
    put_place(&subject, place);
    return (uint32_t)(hash_slot(book, &subject) % WEIR_BOOK_SLOTS);
}

static uint32_t *new_slot(const struct weir_book *book, uint32_t bucket,
                          const struct weir_place *place)
{
    return &book->new_table.slots[bucket][slot_in(book, FOR_NEW_SLOT, bucket, place)];
}

uint32_t *book_tried_slot(const struct weir_book *book, const struct weir_place *place,
                          uint32_t *ret_bucket)
{
    *ret_bucket = tried_bucket(book, place);
    return &book->tried_table.slots[*ret_bucket][slot_in(book, FOR_TRIED_SLOT, *ret_bucket, place)];
}

uint64_t weir_book_random(struct weir_book *book, uint64_t bound)
{
    struct subject subject = subject_of(FOR_RANDOM);
    put_number(&subject, book->cfg.seed);
    put_number(&subject, book->random_cnt++);
    return bound ? hash_slot(book, &subject) % bound : 0;
}

/* ---- tables -------------------------------------------------------------------------------- */

static int table_init(struct table *table, uint32_t bucket_cnt)
{
    table->bucket_cnt = bucket_cnt;
    table->slots = weir_heap_alloc_raw(NULL, bucket_cnt * sizeof(*table->slots));
    table->cnts = weir_heap_alloc(NULL, bucket_cnt);
    table->busy = weir_heap_alloc(NULL, 2 * bucket_cnt * sizeof(*table->busy));
    if (!table->slots || !table->cnts || !table->busy)
        return WEIR_E_NOMEM;
    table->busy_at = table->busy + bucket_cnt;
    memset(table->slots, 0xFF, bucket_cnt * sizeof(*table->slots));
    return 0;
}

static void table_fini(struct table *table)
{
    weir_heap_release(table->slots);
    weir_heap_release(table->cnts);
    weir_heap_release(table->busy);
}

static void slot_set(struct table *table, uint32_t bucket, uint32_t *slot, uint32_t id)
{
    WEIR_DCHECK(*slot == NONE && id != NONE);
    *slot = id;
    table->slot_cnt++;
    if (table->cnts[bucket]++ == 0) {
        table->busy_at[bucket] = (uint16_t)table->busy_cnt;
        table->busy[table->busy_cnt++] = (uint16_t)bucket;
    }
}

static void slot_clear(struct table *table, uint32_t bucket, uint32_t *slot)
{
    WEIR_DCHECK(*slot != NONE);
    *slot = NONE;
    table->slot_cnt--;
    if (--table->cnts[bucket] == 0) {
        uint16_t last = table->busy[--table->busy_cnt];
        table->busy[table->busy_at[bucket]] = last;
        table->busy_at[last] = table->busy_at[bucket];
    }
}

int weir_book_create(struct weir_book **ret_book, const struct weir_book_config *cfg)
{
    struct weir_book *book = weir_heap_alloc(NULL, sizeof(*book));
    if (!book)
        return WEIR_E_NOMEM;
    book->cfg = *cfg;
    book->free_head = NONE;
    int error = table_init(&book->new_table,
                           cfg->new_bucket_cnt ? cfg->new_bucket_cnt : WEIR_BOOK_NEW_BUCKETS);
    if (!error)
        error = table_init(&book->tried_table,
                           cfg->tried_bucket_cnt ? cfg->tried_bucket_cnt : WEIR_BOOK_TRIED_BUCKETS);
    if (error) {
        weir_book_free(book);
        return error;
    }
    *ret_book = book;
    return 0;
}

void weir_book_free(struct weir_book *book)
{
    if (!book)
        return;
    table_fini(&book->new_table);
    table_fini(&book->tried_table);
    weir_heap_release(book->entries);
    weir_heap_release(book->order);
    weir_heap_release(book->map);
    weir_heap_release(book);
}

/* ---- entries ------------------------------------------------------------------------------- */

uint32_t book_map_at(const struct weir_book *book, const struct weir_place *place)
{
    struct subject subject = subject_of(FOR_MAP);
    put_place(&subject, place);
    uint32_t at = (uint32_t)hash_slot(book, &subject) & book->map_mask;
    while (book->map[at] != NONE &&
           !weir_place_is_equal(&book->entries[book->map[at]].place, place))
        at = (at + 1) & book->map_mask;
    return at;
}

uint32_t book_find(const struct weir_book *book, const struct weir_place *place)
{
    return book->map ? book->map[book_map_at(book, place)] : NONE;
}

/* Twice as many entries. The tables bound how many there can be: each is in a slot. */
static bool grow(struct weir_book *book)
{
    uint32_t was = book->entry_cap, cap = was ? 2 * was : ENTRIES_FIRST;
    struct weir_book_entry *entries = weir_heap_alloc_raw(NULL, cap * sizeof(*entries));
    uint32_t *order = weir_heap_alloc_raw(NULL, cap * sizeof(*order));
    uint32_t *map = weir_heap_alloc_raw(NULL, 2 * cap * sizeof(*map));
    if (!entries || !order || !map) {
        weir_heap_release(entries);
        weir_heap_release(order);
        weir_heap_release(map);
        return false;
    }
    if (was) {
        memcpy(entries, book->entries, was * sizeof(*entries));
        memcpy(order, book->order, was * sizeof(*order));
    }
    memset(entries + was, 0, (cap - was) * sizeof(*entries));
    for (uint32_t id = cap; id-- > was;) {
        entries[id].order_idx = book->free_head;
        book->free_head = id;
    }
    weir_heap_release(book->entries);
    weir_heap_release(book->order);
    weir_heap_release(book->map);
    book->entries = entries;
    book->order = order;
    book->map = map;
    book->entry_cap = cap;
    book->map_mask = 2 * cap - 1;
    memset(map, 0xFF, 2 * cap * sizeof(*map));
    for (uint32_t i = 0; i < book->order_cnt; i++)
        map[book_map_at(book, &entries[order[i]].place)] = order[i];
    return true;
}

/* An entry that is in no slot yet; NONE when memory is short. */
static uint32_t entry_make(struct weir_book *book, const struct weir_place *place)
{
    if (book->free_head == NONE && !grow(book))
        return NONE;
    uint32_t id = book->free_head;
    struct weir_book_entry *entry = &book->entries[id];
    book->free_head = entry->order_idx;
    *entry =
        (struct weir_book_entry){.place = *place, .is_used = true, .order_idx = book->order_cnt};
    book->order[book->order_cnt++] = id;
    book->map[book_map_at(book, place)] = id;
    book->new_table.entry_cnt++;
    return id;
}

static void entry_free(struct weir_book *book, uint32_t id)
{
    struct weir_book_entry *entry = &book->entries[id];
    WEIR_DCHECK(entry->slot_cnt == 0 && !entry->is_tried);
    uint32_t hole = book_map_at(book, &entry->place);
    book->map[hole] = NONE;
    /* Whoever stands behind and would be found no more is put in again. */
    for (uint32_t at = (hole + 1) & book->map_mask; book->map[at] != NONE;
         at = (at + 1) & book->map_mask) {
        uint32_t other = book->map[at];
        book->map[at] = NONE;
        book->map[book_map_at(book, &book->entries[other].place)] = other;
    }
    uint32_t last = book->order[--book->order_cnt];
    book->order[entry->order_idx] = last;
    book->entries[last].order_idx = entry->order_idx;
    for (uint32_t i = 0; i < book->waiting_cnt; i++) {
        if (book->waiting[i] != id)
            continue;
        book->waiting_cnt--;
        book->waiting[i] = book->waiting[book->waiting_cnt];
        book->waiting_since_s[i] = book->waiting_since_s[book->waiting_cnt];
        break;
    }
    book->new_table.entry_cnt--;
    *entry = (struct weir_book_entry){.order_idx = book->free_head};
    book->free_head = id;
}

/* Takes whoever is in a slot of new out of it, and out of the book when that was its last. */
static void new_evict(struct weir_book *book, uint32_t bucket, uint32_t *slot)
{
    uint32_t id = *slot;
    slot_clear(&book->new_table, bucket, slot);
    if (--book->entries[id].slot_cnt == 0)
        entry_free(book, id);
}

static void leave_new(struct weir_book *book, uint32_t id)
{
    struct weir_book_entry *entry = &book->entries[id];
    uint32_t first = new_bucket(book, &entry->place, &entry->source); /* the likeliest */
    for (uint32_t i = 0; entry->slot_cnt && i < book->new_table.bucket_cnt; i++) {
        uint32_t bucket = (first + i) % book->new_table.bucket_cnt;
        uint32_t *slot = new_slot(book, bucket, &entry->place);
        if (*slot != id)
            continue;
        slot_clear(&book->new_table, bucket, slot);
        entry->slot_cnt--;
    }
    WEIR_DCHECK(entry->slot_cnt == 0);
}

void book_make_tried(struct weir_book *book, uint32_t id)
{
    struct weir_book_entry *entry = &book->entries[id];
    leave_new(book, id);
    uint32_t bucket, *slot = book_tried_slot(book, &entry->place, &bucket);
    if (*slot != NONE) {
        uint32_t old_id = *slot;
        struct weir_book_entry *old = &book->entries[old_id];
        slot_clear(&book->tried_table, bucket, slot);
        old->is_tried = false;
        book->tried_table.entry_cnt--;
        book->new_table.entry_cnt++;
        uint32_t new_at = new_bucket(book, &old->place, &old->source);
        uint32_t *back = new_slot(book, new_at, &old->place);
        if (*back != NONE)
            new_evict(book, new_at, back);
        slot_set(&book->new_table, new_at, back, old_id);
        old->slot_cnt = 1;
    }
    slot_set(&book->tried_table, bucket, slot, id);
    entry->is_tried = true;
    book->new_table.entry_cnt--;
    book->tried_table.entry_cnt++;
    book->change_cnt++;
}

/* ---- what is learnt ------------------------------------------------------------------------ */

bool weir_book_is_terrible(const struct weir_book_entry *entry, uint64_t now_s)
{
    if (entry->attempt_s && entry->attempt_s + 60 > now_s)
        return false; /* being tried right now */
    if (entry->seen_s > now_s + FUTURE_S || entry->seen_s + HORIZON_S < now_s)
        return true;
    if (entry->good_s == 0 && entry->attempt_cnt >= 3)
        return true;
    return entry->good_s + 7 * 86400u < now_s && entry->attempt_cnt >= 10;
}

/* Puts an entry that is not in tried into its slot for `source`. */
static bool enter_new(struct weir_book *book, uint32_t id, const struct weir_place *source,
                      uint64_t now_s)
{
    struct weir_book_entry *entry = &book->entries[id];
    uint32_t bucket = new_bucket(book, &entry->place, source);
    uint32_t *slot = new_slot(book, bucket, &entry->place);
    if (*slot == id)
        return false;
    if (*slot != NONE) {
        const struct weir_book_entry *old = &book->entries[*slot];
        bool may_go =
            weir_book_is_terrible(old, now_s) || (old->slot_cnt > 1 && entry->slot_cnt == 0);
        if (!may_go)
            return false;
        new_evict(book, bucket, slot);
    }
    slot_set(&book->new_table, bucket, slot, id);
    entry->slot_cnt++;
    book->change_cnt++;
    return true;
}

bool weir_book_add(struct weir_book *book, const struct weir_place *place,
                   const struct weir_place *source, const char *caps, uint64_t seen_s,
                   uint64_t now_s)
{
    if (weir_place_kind(place) == WEIR_PLACE_UNUSABLE || !weir_caps_is_good(caps, strlen(caps)))
        return false;
    if (seen_s > now_s)
        seen_s = now_s;
    bool is_own_word = weir_place_is_host(place, source);
    uint32_t id = book_find(book, place);
    if (id == NONE) {
        id = entry_make(book, place);
        if (id == NONE)
            return false;
        book->entries[id].source = *source;
        book->entries[id].seen_s = seen_s;
        strcpy(book->entries[id].caps, caps);
        bool is_in = enter_new(book, id, source, now_s);
        if (!is_in)
            entry_free(book, id);
        return is_in;
    }
    struct weir_book_entry *entry = &book->entries[id];
    if (seen_s > entry->seen_s + SEEN_GRAIN_S) {
        entry->seen_s = seen_s;
        book->change_cnt++;
    }
    if (is_own_word && strcmp(entry->caps, caps) != 0) {
        strcpy(entry->caps, caps);
        book->change_cnt++;
    }
    if (entry->is_tried || entry->slot_cnt >= NEW_SLOTS_MAX ||
        weir_book_random(book, UINT64_C(1) << entry->slot_cnt) != 0)
        return false;
    return enter_new(book, id, source, now_s);
}

uint64_t weir_book_backoff_s(uint32_t attempt_cnt, uint64_t random)
{
    uint64_t wait = BACKOFF_MIN_S;
    for (uint32_t i = 0; i < attempt_cnt && wait < BACKOFF_MAX_S; i++)
        wait = 2 * wait < BACKOFF_MAX_S ? 2 * wait : BACKOFF_MAX_S;
    return wait - wait / 2 + random % (wait / 2 + 1);
}

void weir_book_attempt(struct weir_book *book, const struct weir_place *place, bool is_counted,
                       uint64_t now_s)
{
    uint32_t id = book_find(book, place);
    if (id == NONE)
        return;
    struct weir_book_entry *entry = &book->entries[id];
    uint32_t n = is_counted ? entry->attempt_cnt : 0;
    entry->attempt_s = now_s;
    entry->retry_s = now_s + weir_book_backoff_s(n, weir_book_random(book, UINT64_MAX));
    if (is_counted && entry->attempt_cnt < UINT16_MAX)
        entry->attempt_cnt++;
    book->change_cnt++;
}

void weir_book_good(struct weir_book *book, const struct weir_place *place, uint64_t now_s)
{
    uint32_t id = book_find(book, place);
    if (id == NONE)
        return;
    struct weir_book_entry *entry = &book->entries[id];
    entry->good_s = entry->attempt_s = entry->seen_s = now_s;
    entry->attempt_cnt = 0;
    entry->retry_s = 0;
    book->change_cnt++;
    if (entry->is_tried)
        return;
    uint32_t bucket, *slot = book_tried_slot(book, place, &bucket);
    if (*slot == NONE) {
        book_make_tried(book, id);
        return;
    }
    for (uint32_t i = 0; i < book->waiting_cnt; i++) {
        if (book->waiting[i] == id)
            return;
    }
    if (book->waiting_cnt < WAITING_MAX) {
        book->waiting_since_s[book->waiting_cnt] = now_s;
        book->waiting[book->waiting_cnt++] = id;
    }
}

void weir_book_seen(struct weir_book *book, const struct weir_place *place, uint64_t now_s)
{
    uint32_t id = book_find(book, place);
    if (id == NONE || now_s < book->entries[id].seen_s + SEEN_GRAIN_S)
        return;
    book->entries[id].seen_s = now_s;
    book->change_cnt++;
}

void weir_book_set_connected(struct weir_book *book, const struct weir_place *place,
                             bool is_connected)
{
    uint32_t id = book_find(book, place);
    if (id != NONE)
        book->entries[id].is_connected = is_connected;
}

void weir_book_rest(struct weir_book *book, const struct weir_place *place, uint64_t until_s)
{
    uint32_t id = book_find(book, place);
    if (id == NONE || book->entries[id].retry_s >= until_s)
        return;
    book->entries[id].retry_s = until_s;
    book->change_cnt++;
}

void weir_book_remove(struct weir_book *book, const struct weir_place *place)
{
    uint32_t id = book_find(book, place);
    if (id == NONE)
        return;
    if (book->entries[id].is_tried) {
        uint32_t bucket, *slot = book_tried_slot(book, place, &bucket);
        slot_clear(&book->tried_table, bucket, slot);
        book->entries[id].is_tried = false;
        book->tried_table.entry_cnt--;
        book->new_table.entry_cnt++; /* where entry_free takes it from */
    } else {
        leave_new(book, id);
    }
    entry_free(book, id);
    book->change_cnt++;
}

bool book_restore(struct weir_book *book, const struct weir_book_entry *from, uint64_t now_s)
{
    if (weir_place_kind(&from->place) == WEIR_PLACE_UNUSABLE ||
        book_find(book, &from->place) != NONE)
        return false;
    uint32_t id = entry_make(book, &from->place);
    if (id == NONE)
        return false;
    struct weir_book_entry *entry = &book->entries[id];
    uint32_t order_idx = entry->order_idx, bucket;
    *entry = *from;
    entry->is_used = true;
    entry->is_tried = false;
    entry->is_connected = false;
    entry->slot_cnt = 0;
    entry->order_idx = order_idx;
    if (from->is_tried && *book_tried_slot(book, &from->place, &bucket) == NONE)
        book_make_tried(book, id);
    else if (!enter_new(book, id, &entry->source, now_s)) {
        entry_free(book, id);
        return false;
    }
    return true;
}
