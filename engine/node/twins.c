#include "engine/node/twins.h"

#include <string.h>

#include "engine/base/check.h"
#include "engine/mem/heap.h"
#include "weir/error.h"

static void drop_tables(struct weir_twins *twins)
{
    weir_heap_release_table(twins->places, twins->place_cnt * sizeof(twins->places[0]));
    weir_heap_release_table(twins->buckets, twins->bucket_cnt * sizeof(twins->buckets[0]));
    memset(twins, 0, sizeof(*twins));
}

int weir_twins_init(struct weir_twins *ret_twins, uint32_t place_cnt,
                    const uint8_t key[WEIR_SIPHASH_KEY_BYTES])
{
    struct weir_twins *twins = ret_twins;
    memset(twins, 0, sizeof(*twins));
    twins->place_cnt = place_cnt;
    for (twins->bucket_cnt = 1; twins->bucket_cnt < place_cnt; twins->bucket_cnt *= 2)
        continue;
    twins->places = weir_heap_alloc_table(NULL, place_cnt * sizeof(twins->places[0]));
    twins->buckets = weir_heap_alloc_table(NULL, twins->bucket_cnt * sizeof(twins->buckets[0]));
    if (!twins->places || !twins->buckets) {
        drop_tables(twins);
        return WEIR_E_NOMEM;
    }
    memcpy(twins->key, key, sizeof(twins->key));
    pthread_mutex_init(&twins->mutex, NULL);
    return 0;
}

void weir_twins_fini(struct weir_twins *twins)
{
    if (!twins->places)
        return;
    pthread_mutex_destroy(&twins->mutex);
    drop_tables(twins);
}

static uint32_t *bucket_of(struct weir_twins *twins, const uint8_t id[32])
{
    uint64_t hash = weir_siphash(twins->key, id, 32);
    return &twins->buckets[hash & (twins->bucket_cnt - 1)];
}

/* Whether `a` stays rather than `b`. */
static bool is_before(const struct weir_twin_rank *a, const struct weir_twin_rank *b)
{
    if (a->is_by_greater != b->is_by_greater)
        return b->is_by_greater;
    return memcmp(a->session, b->session, sizeof(a->session)) < 0;
}

static void take_out(struct weir_twins *twins, uint32_t place_idx)
{
    struct weir_twin *twin = &twins->places[place_idx];
    uint32_t *link = bucket_of(twins, twin->id);
    while (*link != place_idx + 1) {
        WEIR_CHECK(*link != 0);
        link = &twins->places[*link - 1].next;
    }
    *link = twin->next;
    twin->peer = 0;
}

uint64_t weir_twins_come(struct weir_twins *twins, uint32_t place_idx, const uint8_t id[32],
                         const struct weir_twin_rank *rank, uint64_t peer)
{
    uint64_t loser = 0;
    WEIR_CHECK(place_idx < twins->place_cnt && peer != 0);
    pthread_mutex_lock(&twins->mutex);
    WEIR_CHECK(twins->places[place_idx].peer == 0);
    uint32_t *bucket = bucket_of(twins, id);
    uint32_t other = *bucket;
    while (other != 0 && memcmp(twins->places[other - 1].id, id, 32) != 0)
        other = twins->places[other - 1].next;
    if (other != 0) {
        bool has_won = is_before(rank, &twins->places[other - 1].rank);
        loser = has_won ? twins->places[other - 1].peer : peer;
        if (has_won)
            take_out(twins, other - 1);
    }
    if (loser != peer) {
        struct weir_twin *twin = &twins->places[place_idx];
        *twin = (struct weir_twin){.rank = *rank, .peer = peer, .next = *bucket};
        memcpy(twin->id, id, sizeof(twin->id));
        *bucket = place_idx + 1;
    }
    pthread_mutex_unlock(&twins->mutex);
    return loser;
}

void weir_twins_go(struct weir_twins *twins, uint32_t place_idx, uint64_t peer)
{
    WEIR_CHECK(place_idx < twins->place_cnt);
    pthread_mutex_lock(&twins->mutex);
    if (twins->places[place_idx].peer == peer)
        take_out(twins, place_idx);
    pthread_mutex_unlock(&twins->mutex);
}
