#include "engine/peers/admit.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "engine/mem/heap.h"
#include "weir/error.h"

#define WAYS 8u
#define SETS 1024u

struct count {
    uint64_t hash; /* of the group; 0: free */
    uint32_t cnt;
};

struct bucket {
    uint64_t hash;
    uint64_t full_ns; /* when all tokens are there again; in the past: as if it did not exist */
};

struct weir_admit {
    struct weir_admit_config cfg;
    uint32_t inbound_cnt, outbound_cnt, group_cnt;
    struct count *counts; /* linear probing, deleted by shifting back */
    uint32_t count_mask;
    struct bucket buckets[SETS][WAYS];
};

/* 64 bits under a secret seed stand for the group: two that are one by accident are not to be expected. */
static uint64_t hash_of(const struct weir_admit *admit, const struct weir_prefix *prefix)
{
    uint64_t hash = weir_hash_ops()->xxh3(prefix, sizeof(*prefix), admit->cfg.seed);
    return hash ? hash : 1;
}

/* The groups of an address: [0] its own, [1] its subnet. False: it has none. */
static bool groups_of(const struct weir_admit *admit, const struct weir_addr *addr,
                      uint64_t ret_hashes[2])
{
    struct weir_prefix own, subnet;
    if (!admit->cfg.has_loopback && weir_addr_is_loopback(addr))
        return false;
    if (!weir_addr_prefix(&own, addr, WEIR_ADDRESS_BITS_IPV4, WEIR_ADDRESS_BITS_IPV6) ||
        !weir_addr_prefix(&subnet, addr, admit->cfg.ipv4_bits, admit->cfg.ipv6_bits))
        return false;
    ret_hashes[0] = hash_of(admit, &own);
    /* A subnet of one address is not the address: each has its own limit. */
    ret_hashes[1] = ~hash_of(admit, &subnet);
    if (ret_hashes[1] == 0)
        ret_hashes[1] = 1;
    return true;
}

int weir_admit_create(struct weir_admit **ret_admit, const struct weir_admit_config *cfg)
{
    struct weir_admit *admit = weir_heap_alloc_table(NULL, sizeof(*admit));
    if (!admit)
        return WEIR_E_NOMEM;
    admit->cfg = *cfg;
    uint64_t slots = 16; /* two groups a connection, half of the slots free */
    while (slots < UINT64_C(4) * cfg->conn_max)
        slots *= 2;
    admit->count_mask = (uint32_t)(slots - 1);
    admit->counts = weir_heap_alloc_table(NULL, slots * sizeof(*admit->counts));
    if (!admit->counts) {
        weir_admit_free(admit);
        return WEIR_E_NOMEM;
    }
    *ret_admit = admit;
    return 0;
}

void weir_admit_free(struct weir_admit *admit)
{
    if (!admit)
        return;
    weir_heap_release_table(admit->counts,
                            ((size_t)admit->count_mask + 1) * sizeof(*admit->counts));
    weir_heap_release_table(admit, sizeof(*admit));
}

/* ---- counts -------------------------------------------------------------------------------- */

/* The group's place, or the free one where it would be. */
static uint32_t place_of(const struct weir_admit *admit, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & admit->count_mask;
    while (admit->counts[at].hash && admit->counts[at].hash != hash)
        at = (at + 1) & admit->count_mask;
    return at;
}

static uint32_t cnt_of(const struct weir_admit *admit, uint64_t hash)
{
    return admit->counts[place_of(admit, hash)].cnt;
}

static void count_in(struct weir_admit *admit, uint64_t hash)
{
    struct count *count = &admit->counts[place_of(admit, hash)];
    if (!count->hash) {
        admit->group_cnt++;
        WEIR_CHECK(admit->group_cnt <= admit->count_mask);
    }
    count->hash = hash;
    count->cnt++;
}

static void count_out(struct weir_admit *admit, uint64_t hash)
{
    uint32_t hole = place_of(admit, hash);
    WEIR_CHECK(admit->counts[hole].cnt > 0);
    if (--admit->counts[hole].cnt)
        return;
    admit->group_cnt--;
    /* Whoever stands behind and would be found no more moves into the hole. */
    for (uint32_t at = (hole + 1) & admit->count_mask; admit->counts[at].hash;
         at = (at + 1) & admit->count_mask) {
        uint32_t home = (uint32_t)admit->counts[at].hash & admit->count_mask;
        if (((at - home) & admit->count_mask) < ((at - hole) & admit->count_mask))
            continue;
        admit->counts[hole] = admit->counts[at];
        hole = at;
    }
    admit->counts[hole] = (struct count){0};
}

/* ---- buckets ------------------------------------------------------------------------------- */

/* The bucket's place: its own, else that of the one which is nearest to full. */
static struct bucket *bucket_of(struct weir_admit *admit, uint64_t hash)
{
    struct bucket *set = admit->buckets[(hash >> 32) % SETS];
    struct bucket *best = &set[0];
    for (uint32_t i = 0; i < WAYS; i++) {
        if (set[i].hash == hash)
            return &set[i];
        if (set[i].full_ns < best->full_ns)
            best = &set[i];
    }
    return best;
}

/* When the bucket would be full again after one more token; 0: there is none to take. */
static uint64_t full_after(struct weir_admit *admit, uint64_t hash, uint64_t interval_ns,
                           uint32_t burst, uint64_t now_ns)
{
    const struct bucket *bucket = bucket_of(admit, hash);
    uint64_t full = bucket->hash == hash && bucket->full_ns > now_ns ? bucket->full_ns : now_ns;
    if (full - now_ns > (uint64_t)(burst - 1) * interval_ns)
        return 0;
    return full + interval_ns;
}

static void take(struct weir_admit *admit, uint64_t hash, uint64_t full_ns)
{
    *bucket_of(admit, hash) = (struct bucket){.hash = hash, .full_ns = full_ns};
}

/* Takes a token of both, or of neither: who is refused by its subnet's neighbours keeps its own. */
static bool take_tokens(struct weir_admit *admit, const uint64_t hashes[2], uint64_t now_ns)
{
    const struct weir_admit_config *cfg = &admit->cfg;
    bool has_own = cfg->address_burst != WEIR_NO_LIMIT;
    bool has_subnet = cfg->subnet_burst != WEIR_NO_LIMIT;
    uint64_t own =
        has_own ? full_after(admit, hashes[0], cfg->address_interval_ns, cfg->address_burst, now_ns)
                : 0;
    uint64_t subnet = has_subnet ? full_after(admit, hashes[1], cfg->subnet_interval_ns,
                                              cfg->subnet_burst, now_ns)
                                 : 0;
    if ((has_own && !own) || (has_subnet && !subnet))
        return false;
    if (has_own)
        take(admit, hashes[0], own);
    if (has_subnet)
        take(admit, hashes[1], subnet);
    return true;
}

/* ---- connections --------------------------------------------------------------------------- */

static uint16_t enter(struct weir_admit *admit, const uint64_t hashes[2], bool has_groups)
{
    const struct weir_admit_config *cfg = &admit->cfg;
    if (has_groups && cnt_of(admit, hashes[0]) >= cfg->address_max)
        return WEIR_R_LIMIT_ADDRESS;
    if (has_groups && cnt_of(admit, hashes[1]) >= cfg->subnet_max)
        return WEIR_R_LIMIT_SUBNET;
    if (admit->inbound_cnt >= cfg->inbound_max)
        return WEIR_R_LIMIT_INBOUND;
    admit->inbound_cnt++;
    if (has_groups) {
        count_in(admit, hashes[0]);
        count_in(admit, hashes[1]);
    }
    return 0;
}

uint16_t weir_admit_inbound(struct weir_admit *admit, const struct weir_addr *addr, uint64_t now_ns)
{
    uint64_t hashes[2];
    bool has_groups = groups_of(admit, addr, hashes);
    if (has_groups && !take_tokens(admit, hashes, now_ns))
        return WEIR_R_LIMIT_RATE;
    return enter(admit, hashes, has_groups);
}

uint16_t weir_admit_again(struct weir_admit *admit, const struct weir_addr *addr)
{
    uint64_t hashes[2];
    bool has_groups = groups_of(admit, addr, hashes);
    return enter(admit, hashes, has_groups);
}

void weir_admit_set_inbound_max(struct weir_admit *admit, uint32_t inbound_max)
{
    admit->cfg.inbound_max = inbound_max;
}

void weir_admit_left(struct weir_admit *admit, const struct weir_addr *addr)
{
    uint64_t hashes[2];
    WEIR_CHECK(admit->inbound_cnt > 0);
    admit->inbound_cnt--;
    if (groups_of(admit, addr, hashes)) {
        count_out(admit, hashes[0]);
        count_out(admit, hashes[1]);
    }
}

uint16_t weir_admit_outbound(struct weir_admit *admit)
{
    if (admit->outbound_cnt >= admit->cfg.outbound_max)
        return WEIR_R_LIMIT_OUTBOUND;
    admit->outbound_cnt++;
    return 0;
}

void weir_admit_outbound_left(struct weir_admit *admit)
{
    WEIR_CHECK(admit->outbound_cnt > 0);
    admit->outbound_cnt--;
}

/* The same groups under other hashes: who dials out is not who dials in. */
static bool dial_groups_of(const struct weir_admit *admit, const struct weir_addr *addr,
                           uint64_t ret_hashes[2])
{
    const struct weir_admit_config *cfg = &admit->cfg;
    bool is_limited =
        cfg->dial_address_max != WEIR_NO_LIMIT || cfg->dial_subnet_max != WEIR_NO_LIMIT;
    if (!is_limited || !groups_of(admit, addr, ret_hashes))
        return false;
    for (int i = 0; i < 2; i++) {
        ret_hashes[i] = ret_hashes[i] << 32 | ret_hashes[i] >> 32;
        ret_hashes[i] ^= UINT64_C(0x9E3779B97F4A7C15);
        if (ret_hashes[i] == 0)
            ret_hashes[i] = 1;
    }
    return true;
}

uint16_t weir_admit_dial(struct weir_admit *admit, const struct weir_addr *addr)
{
    uint64_t hashes[2];
    if (!dial_groups_of(admit, addr, hashes))
        return 0;
    if (cnt_of(admit, hashes[0]) >= admit->cfg.dial_address_max)
        return WEIR_R_LIMIT_ADDRESS;
    if (cnt_of(admit, hashes[1]) >= admit->cfg.dial_subnet_max)
        return WEIR_R_LIMIT_SUBNET;
    count_in(admit, hashes[0]);
    count_in(admit, hashes[1]);
    return 0;
}

void weir_admit_dial_left(struct weir_admit *admit, const struct weir_addr *addr)
{
    uint64_t hashes[2];
    if (!dial_groups_of(admit, addr, hashes))
        return;
    count_out(admit, hashes[0]);
    count_out(admit, hashes[1]);
}

uint32_t weir_admit_cnt(const struct weir_admit *admit, const struct weir_addr *addr)
{
    uint64_t hashes[2];
    return groups_of(admit, addr, hashes) ? cnt_of(admit, hashes[0]) : 0;
}

uint32_t weir_admit_groups(const struct weir_admit *admit)
{
    return admit->group_cnt;
}
