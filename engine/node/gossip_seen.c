#include "engine/node/gossip_seen.h"

#include <string.h>

#include "engine/base/hash.h"
#include "engine/mem/heap.h"
#include "weir/error.h"

#define ID_BYTES 16u

struct generation {
    uint8_t (*ids)[ID_BYTES]; /* slot_cnt of them; all zero: free */
    uint32_t cnt;
};

struct weir_seen {
    struct generation young, old;
    uint32_t max, slot_mask; /* at least twice as many slots as ids */
    uint64_t turn_ns, turned_ns, secret;
    uint64_t turns, early;
};

static const uint8_t no_id[ID_BYTES];

int weir_seen_create(struct weir_seen **ret_seen, uint32_t max, uint64_t turn_ns, uint64_t secret)
{
    uint32_t slot_cnt = 16;
    while (slot_cnt < 2 * max)
        slot_cnt *= 2;
    struct weir_seen *seen = weir_heap_alloc(NULL, sizeof(*seen));
    if (!seen)
        return WEIR_E_NOMEM;
    *seen = (struct weir_seen){
        .max = max, .slot_mask = slot_cnt - 1, .turn_ns = turn_ns, .secret = secret};
    seen->young.ids = weir_heap_alloc_table(NULL, (size_t)slot_cnt * ID_BYTES);
    seen->old.ids = weir_heap_alloc_table(NULL, (size_t)slot_cnt * ID_BYTES);
    if (!seen->young.ids || !seen->old.ids) {
        weir_seen_free(seen);
        return WEIR_E_NOMEM;
    }
    *ret_seen = seen;
    return 0;
}

void weir_seen_free(struct weir_seen *seen)
{
    if (!seen)
        return;
    const size_t bytes = ((size_t)seen->slot_mask + 1) * ID_BYTES;
    weir_heap_release_table(seen->young.ids, bytes);
    weir_heap_release_table(seen->old.ids, bytes);
    weir_heap_release(seen);
}

/* The id's slot, or the free one where it would be. The one id that means "free" stands for its neighbour. */
static uint8_t *slot_of(const struct weir_seen *seen, const struct generation *in,
                        const uint8_t id[ID_BYTES], uint8_t own[ID_BYTES])
{
    memcpy(own, id, ID_BYTES);
    if (memcmp(own, no_id, ID_BYTES) == 0)
        own[0] = 1;
    uint64_t at = weir_hash_ops()->xxh3(own, ID_BYTES, seen->secret);
    for (;; at++) {
        uint8_t *slot = in->ids[at & seen->slot_mask];
        if (memcmp(slot, own, ID_BYTES) == 0 || memcmp(slot, no_id, ID_BYTES) == 0)
            return slot;
    }
}

static bool has(const struct weir_seen *seen, const struct generation *in, const uint8_t id[16])
{
    uint8_t own[ID_BYTES];
    return in->cnt && memcmp(slot_of(seen, in, id, own), own, ID_BYTES) == 0;
}

bool weir_seen_has(const struct weir_seen *seen, const uint8_t id[16])
{
    return has(seen, &seen->young, id) || has(seen, &seen->old, id);
}

bool weir_seen_add(struct weir_seen *seen, const uint8_t id[16], uint64_t now_ns)
{
    if (weir_seen_has(seen, id))
        return false;
    bool is_full = seen->young.cnt == seen->max;
    bool is_late = seen->turned_ns && now_ns - seen->turned_ns >= seen->turn_ns;
    if (!seen->turned_ns)
        seen->turned_ns = now_ns;
    if (is_full || is_late) {
        struct generation emptied = seen->old;
        if (emptied.cnt)
            memset(emptied.ids, 0, ((size_t)seen->slot_mask + 1) * ID_BYTES);
        emptied.cnt = 0;
        seen->old = seen->young;
        seen->young = emptied;
        seen->turned_ns = now_ns;
        seen->turns++;
        seen->early += !is_late;
    }
    uint8_t own[ID_BYTES];
    uint8_t *slot = slot_of(seen, &seen->young, id, own);
    memcpy(slot, own, ID_BYTES);
    seen->young.cnt++;
    return true;
}

void weir_seen_turns(const struct weir_seen *seen, uint64_t *ret_turns, uint64_t *ret_early)
{
    *ret_turns = seen->turns;
    *ret_early = seen->early;
}
