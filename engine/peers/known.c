#include "engine/peers/known.h"

#include <string.h>

#include "engine/base/hash.h"
#include "engine/mem/heap.h"
#include "weir/error.h"

#define WAYS 8u

struct entry {
    uint64_t used; /* the clock when it was last used; 0: free */
    uint8_t id[WEIR_KNOWN_BYTES];
    uint8_t key[WEIR_KNOWN_BYTES];
};

struct weir_known {
    uint64_t seed;
    uint64_t clock; /* counts uses */
    uint32_t set_cnt;
    struct entry entries[][WAYS];
};

static size_t bytes_of(uint32_t set_cnt)
{
    return sizeof(struct weir_known) + set_cnt * sizeof(((struct weir_known *)0)->entries[0]);
}

int weir_known_create(struct weir_known **ret_known, uint32_t cnt_max, uint64_t seed)
{
    uint32_t set_cnt = (cnt_max + WAYS - 1) / WAYS;
    struct weir_known *known = weir_heap_alloc_table(NULL, bytes_of(set_cnt));
    if (!known)
        return WEIR_E_NOMEM;
    known->seed = seed;
    known->set_cnt = set_cnt;
    *ret_known = known;
    return 0;
}

void weir_known_free(struct weir_known *known)
{
    if (known)
        weir_heap_release_table(known, bytes_of(known->set_cnt));
}

/* The id's place, else that of whose use is longest ago. */
static struct entry *entry_of(struct weir_known *known, const uint8_t *id)
{
    uint64_t hash = weir_hash_ops()->xxh3(id, WEIR_KNOWN_BYTES, known->seed);
    struct entry *set = known->entries[hash % known->set_cnt];
    struct entry *best = &set[0];
    for (uint32_t i = 0; i < WAYS; i++) {
        if (set[i].used && memcmp(set[i].id, id, WEIR_KNOWN_BYTES) == 0)
            return &set[i];
        if (set[i].used < best->used)
            best = &set[i];
    }
    return best;
}

static bool is_of(const struct entry *entry, const uint8_t *id)
{
    return entry->used && memcmp(entry->id, id, WEIR_KNOWN_BYTES) == 0;
}

bool weir_known_find(struct weir_known *known, const uint8_t id[WEIR_KNOWN_BYTES],
                     uint8_t ret_key[WEIR_KNOWN_BYTES])
{
    struct entry *entry = entry_of(known, id);
    if (!is_of(entry, id))
        return false;
    entry->used = ++known->clock;
    memcpy(ret_key, entry->key, WEIR_KNOWN_BYTES);
    return true;
}

void weir_known_put(struct weir_known *known, const uint8_t id[WEIR_KNOWN_BYTES],
                    const uint8_t key[WEIR_KNOWN_BYTES])
{
    struct entry *entry = entry_of(known, id);
    entry->used = ++known->clock;
    memcpy(entry->id, id, WEIR_KNOWN_BYTES);
    memcpy(entry->key, key, WEIR_KNOWN_BYTES);
}

void weir_known_forget(struct weir_known *known, const uint8_t id[WEIR_KNOWN_BYTES])
{
    struct entry *entry = entry_of(known, id);
    if (is_of(entry, id))
        memset(entry, 0, sizeof(*entry));
}
