#include "engine/peers/useful.h"

#include <stdbool.h>

/* Few: as many as a node keeps dialed. */
static void sort(struct weir_useful_peer *peers, uint32_t peer_cnt)
{
    for (uint32_t i = 1; i < peer_cnt; i++) {
        struct weir_useful_peer one = peers[i];
        uint32_t at = i;
        for (; at > 0 && peers[at - 1].first_cnt > one.first_cnt; at--)
            peers[at] = peers[at - 1];
        peers[at] = one;
    }
}

static bool is_oldest(const struct weir_useful_peer *peers, uint32_t peer_cnt, uint32_t at)
{
    uint32_t older_cnt = 0;
    for (uint32_t i = 0; i < peer_cnt; i++)
        older_cnt += peers[i].since_ns < peers[at].since_ns;
    return older_cnt < WEIR_USEFUL_OLDEST_STAY;
}

uint32_t weir_useful_least(struct weir_useful_peer *peers, uint32_t peer_cnt)
{
    if (peer_cnt < WEIR_USEFUL_PEERS_MIN)
        return WEIR_USEFUL_NOBODY;
    sort(peers, peer_cnt);
    uint64_t median = peers[peer_cnt / 2].first_cnt;
    uint64_t bound = median / WEIR_USEFUL_SHARE; /* rounded down: 0 below four */
    for (uint32_t i = 0; i < peer_cnt && peers[i].first_cnt < bound; i++) {
        if (!is_oldest(peers, peer_cnt, i))
            return peers[i].id;
    }
    return WEIR_USEFUL_NOBODY;
}
