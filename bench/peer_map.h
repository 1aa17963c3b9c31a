/* bench/peer_map.h: from a peer to a position in the application's own table, as a program with many
 * peers has it: a hash table with open addressing, twice as large as it can be full. Peers are never
 * taken out. */
#ifndef WEIR_BENCH_PEER_MAP_H
#define WEIR_BENCH_PEER_MAP_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base.h"

struct bench_peer_map {
    struct {
        uint64_t peer; /* 0: empty */
        uint32_t idx;
    } * cells;
    uint64_t mask;
};

/* Room for `cnt` peers. Returns 0, or -1 without memory. */
static inline int bench_peer_map_init(struct bench_peer_map *map, uint32_t cnt)
{
    uint64_t cell_cnt = 16;

    while (cell_cnt < 2 * (uint64_t)cnt)
        cell_cnt *= 2;
    map->mask = cell_cnt - 1;
    map->cells = malloc(cell_cnt * sizeof(map->cells[0]));
    if (map->cells == NULL)
        return -1;
    memset(map->cells, 0,
           cell_cnt * sizeof(map->cells[0])); /* resident before memory is measured */
    return 0;
}

/* The cell of a peer, or the empty one where it belongs. */
static inline uint64_t bench_peer_map_cell(const struct bench_peer_map *map, weir_peer peer)
{
    uint64_t cell = (peer.v * UINT64_C(0x9E3779B97F4A7C15)) >> 32 & map->mask;

    while (map->cells[cell].peer != 0 && map->cells[cell].peer != peer.v)
        cell = (cell + 1) & map->mask;
    return cell;
}

static inline void bench_peer_map_put(struct bench_peer_map *map, weir_peer peer, uint32_t idx)
{
    uint64_t cell = bench_peer_map_cell(map, peer);

    map->cells[cell].peer = peer.v;
    map->cells[cell].idx = idx;
}

/* The position of a peer that was put. */
static inline uint32_t bench_peer_map_at(const struct bench_peer_map *map, weir_peer peer)
{
    return map->cells[bench_peer_map_cell(map, peer)].idx;
}

#endif
