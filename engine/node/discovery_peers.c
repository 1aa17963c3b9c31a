#include <string.h>

#include "engine/base/check.h"
#include "engine/node/discovery_impl.h"

#define NONE UINT32_MAX
#define PEERS_FIRST 16u

/* Ids are ours and no attacker's: a multiplication spreads them well enough. */
static uint32_t map_at(const struct weir_discovery *disco, weir_peer peer)
{
    uint32_t at = (uint32_t)(peer.v * UINT64_C(0x9E3779B97F4A7C15) >> 32) & disco->map_mask;
    while (disco->map[at] != NONE && disco->peers[disco->map[at]].peer.v != peer.v)
        at = (at + 1) & disco->map_mask;
    return at;
}

static bool grow(struct weir_discovery *disco)
{
    uint32_t cap = disco->peer_cap ? 2 * disco->peer_cap : PEERS_FIRST;
    struct disco_peer *peers = weir_heap_alloc_raw(NULL, cap * sizeof(*peers));
    uint32_t *map = weir_heap_alloc_raw(NULL, 2 * cap * sizeof(*map));
    if (!peers || !map) {
        weir_heap_release(peers);
        weir_heap_release(map);
        return false;
    }
    if (disco->peer_cnt)
        memcpy(peers, disco->peers, disco->peer_cnt * sizeof(*peers));
    weir_heap_release(disco->peers);
    weir_heap_release(disco->map);
    disco->peers = peers;
    disco->map = map;
    disco->peer_cap = cap;
    disco->map_mask = 2 * cap - 1;
    memset(map, 0xFF, 2 * cap * sizeof(*map));
    for (uint32_t i = 0; i < disco->peer_cnt; i++)
        map[map_at(disco, peers[i].peer)] = i;
    return true;
}

struct disco_peer *disco_peer_find(const struct weir_discovery *disco, weir_peer peer)
{
    uint32_t idx = disco->map ? disco->map[map_at(disco, peer)] : NONE;
    return idx == NONE ? NULL : &disco->peers[idx];
}

struct disco_peer *disco_peer_add(struct weir_discovery *disco, weir_peer peer)
{
    if (disco->peer_cnt == disco->peer_cap && !grow(disco))
        return NULL;
    uint32_t at = map_at(disco, peer);
    WEIR_CHECK(disco->map[at] == NONE); /* a peer is up once */
    disco->map[at] = disco->peer_cnt;
    disco->peers[disco->peer_cnt] = (struct disco_peer){.peer = peer};
    return &disco->peers[disco->peer_cnt++];
}

void disco_peer_remove(struct weir_discovery *disco, weir_peer peer)
{
    uint32_t hole = map_at(disco, peer), idx = disco->map[hole];
    WEIR_CHECK(idx != NONE);
    disco->map[hole] = NONE;
    for (uint32_t at = (hole + 1) & disco->map_mask; disco->map[at] != NONE;
         at = (at + 1) & disco->map_mask) {
        uint32_t other = disco->map[at];
        disco->map[at] = NONE;
        disco->map[map_at(disco, disco->peers[other].peer)] = other;
    }
    uint32_t last = --disco->peer_cnt;
    if (idx == last)
        return;
    uint32_t at = map_at(disco, disco->peers[last].peer);
    disco->peers[idx] = disco->peers[last];
    disco->map[at] = idx;
}

void disco_peer_mark(struct weir_discovery *disco, struct disco_peer *peer)
{
    if (peer->place.family == WEIR_ADDR_NONE)
        return;
    weir_book_set_connected(disco->book, &peer->place, true);
    peer->is_marked = true;
}

void disco_peer_unmark(struct weir_discovery *disco, struct disco_peer *peer)
{
    if (!peer->is_marked)
        return;
    peer->is_marked = false;
    for (uint32_t i = 0; i < disco->peer_cnt; i++) { /* another one may be there as well */
        if (disco->peers[i].is_marked && weir_place_is_equal(&disco->peers[i].place, &peer->place))
            return;
    }
    weir_book_set_connected(disco->book, &peer->place, false);
}

/* Each id has room for one place; of who moves about the latest is kept, where the ids have taken all. */
void disco_peer_placed(struct weir_discovery *disco, const struct disco_peer *peer)
{
    if (!peer->is_unlisted || peer->place.family == WEIR_ADDR_NONE)
        return;
    for (uint32_t i = 0; i < disco->unlisted_cnt; i++) {
        if (weir_place_is_equal(&disco->unlisted[i], &peer->place))
            return;
    }
    uint32_t at =
        disco->unlisted_cnt < DISCO_UNLISTED_MAX ? disco->unlisted_cnt++ : DISCO_UNLISTED_MAX - 1;
    disco->unlisted[at] = peer->place;
    for (uint32_t i = 0; i < DISCO_CACHES; i++) { /* answers that may have it */
        weir_heap_release(disco->caches[i]);
        disco->caches[i] = NULL;
    }
}

bool disco_is_own(const struct weir_discovery *disco, const struct weir_place *place)
{
    for (uint32_t i = 0; i < disco->own_cnt; i++) {
        if (weir_place_is_equal(&disco->own[i], place))
            return true;
    }
    return false;
}
