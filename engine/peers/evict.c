#include "engine/peers/evict.h"

#include <stdbool.h>
#include <string.h>

#include "engine/base/place.h"

typedef bool (*before_fn)(const struct weir_evict_peer *a, const struct weir_evict_peer *b);

static bool is_preferred(const struct weir_evict_peer *a, const struct weir_evict_peer *b)
{
    return a->group != b->group ? a->group < b->group : a->id < b->id;
}

static bool is_nearer(const struct weir_evict_peer *a, const struct weir_evict_peer *b)
{
    uint64_t rtt_a = a->rtt_min_ns - 1, rtt_b = b->rtt_min_ns - 1; /* 0 becomes the largest */
    return rtt_a != rtt_b ? rtt_a < rtt_b : a->id < b->id;
}

static bool is_more_useful(const struct weir_evict_peer *a, const struct weir_evict_peer *b)
{
    return a->useful_ns != b->useful_ns ? a->useful_ns > b->useful_ns : a->id < b->id;
}

static bool is_older(const struct weir_evict_peer *a, const struct weir_evict_peer *b)
{
    return a->since_ns != b->since_ns ? a->since_ns < b->since_ns : a->id < b->id;
}

static bool is_grouped(const struct weir_evict_peer *a, const struct weir_evict_peer *b)
{
    return a->group != b->group ? a->group < b->group : is_older(a, b);
}

static void swap(struct weir_evict_peer *a, struct weir_evict_peer *b)
{
    struct weir_evict_peer other = *a;
    *a = *b;
    *b = other;
}

static void sink(struct weir_evict_peer *peers, uint32_t at, uint32_t cnt, before_fn is_before)
{
    for (;;) {
        uint32_t last = at, child = 2 * at + 1;
        if (child < cnt && is_before(&peers[last], &peers[child]))
            last = child;
        if (child + 1 < cnt && is_before(&peers[last], &peers[child + 1]))
            last = child + 1;
        if (last == at)
            return;
        swap(&peers[at], &peers[last]);
        at = last;
    }
}

/* Heapsort: qsort() may ask for memory, and one that is quadratic for some orders is a present to an attacker. */
static void sort(struct weir_evict_peer *peers, uint32_t cnt, before_fn is_before)
{
    for (uint32_t at = cnt / 2; at-- > 0;)
        sink(peers, at, cnt, is_before);
    for (uint32_t end = cnt; end-- > 1;) {
        swap(&peers[0], &peers[end]);
        sink(peers, 0, end, is_before);
    }
}

/* Takes the first `keep_cnt` by an order away; returns how many are left, in front. */
static uint32_t keep(struct weir_evict_peer *peers, uint32_t cnt, uint32_t keep_cnt,
                     before_fn is_before)
{
    keep_cnt = keep_cnt < cnt ? keep_cnt : cnt;
    sort(peers, cnt, is_before);
    memmove(peers, peers + keep_cnt, (cnt - keep_cnt) * sizeof(*peers));
    return cnt - keep_cnt;
}

static uint32_t keep_useful(struct weir_evict_peer *peers, uint32_t cnt)
{
    uint32_t useful_cnt = 0;
    for (uint32_t i = 0; i < cnt; i++)
        useful_cnt += peers[i].useful_ns != 0;
    return keep(peers, cnt,
                useful_cnt < WEIR_EVICT_KEEP_USEFUL ? useful_cnt : WEIR_EVICT_KEEP_USEFUL,
                is_more_useful);
}

uint32_t weir_evict_choose(struct weir_evict_peer *peers, uint32_t peer_cnt, uint64_t group)
{
    uint32_t cnt = keep(peers, peer_cnt, WEIR_EVICT_KEEP_GROUPS, is_preferred);
    cnt = keep(peers, cnt, WEIR_EVICT_KEEP_NEAR, is_nearer);
    cnt = keep_useful(peers, cnt);
    cnt = keep(peers, cnt, cnt / 2, is_older);
    sort(peers, cnt, is_grouped);
    const struct weir_evict_peer *best = NULL;
    uint32_t best_cnt = 0, own_cnt = 1;
    for (uint32_t begin = 0, end; begin < cnt; begin = end) {
        for (end = begin + 1; end < cnt && peers[end].group == peers[begin].group;)
            end++;
        bool is_own = peers[begin].group == group;
        uint32_t group_cnt = end - begin + (is_own ? 1 : 0);
        const struct weir_evict_peer *youngest = &peers[end - 1];
        if (is_own)
            own_cnt = group_cnt;
        else if (group_cnt > best_cnt || (group_cnt == best_cnt && is_older(best, youngest))) {
            best = youngest;
            best_cnt = group_cnt;
        }
    }
    return best && own_cnt <= best_cnt ? best->id : WEIR_EVICT_NOBODY;
}

uint64_t weir_evict_group(const uint8_t key[WEIR_SIPHASH_KEY_BYTES], const struct weir_addr *addr,
                          uint32_t ipv4_bits, uint32_t ipv6_bits)
{
    uint8_t bytes[WEIR_GROUP_BYTES + 1] = {0};
    _Static_assert(sizeof(bytes) >= sizeof(struct weir_prefix), "either fits");
    struct weir_place place;
    struct weir_prefix prefix;
    if (weir_place_from(&place, addr) && weir_place_kind(&place) == WEIR_PLACE_GLOBAL)
        weir_place_group(&place, bytes);
    else if (weir_addr_prefix(&prefix, addr, ipv4_bits, ipv6_bits))
        memcpy(bytes, &prefix, sizeof(prefix));
    return weir_siphash(key, bytes, sizeof(bytes));
}
