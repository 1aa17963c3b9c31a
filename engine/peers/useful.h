/* engine/peers/useful.h: which of the peers that we keep dialed is not worth its place.
 *
 * The measure is how many messages each brought first since the last time somebody looked. The least useful one goes if
 * that is less than a quarter of the median; the two that are connected longest stay in any case, and all do where there
 * are fewer than four, or where the median brought fewer than four: that is too little to tell one from another.
 *
 * To be first is cheap for an attacker with a short way. The median is what keeps him from pushing all others out: he
 * needs half of the places before he can. Nothing here reads a clock, allocates or remembers.
 */
#ifndef WEIR_ENGINE_PEERS_USEFUL_H
#define WEIR_ENGINE_PEERS_USEFUL_H

#include <stdint.h>

#define WEIR_USEFUL_NOBODY UINT32_MAX
#define WEIR_USEFUL_OLDEST_STAY 2u
#define WEIR_USEFUL_PEERS_MIN 4u
#define WEIR_USEFUL_SHARE 4u /* of the median: less than a quarter */

struct weir_useful_peer {
    uint64_t first_cnt; /* messages that it brought first */
    uint64_t since_ns;  /* when it came */
    uint32_t id;        /* the caller's */
};

/* Returns the id of who goes, or WEIR_USEFUL_NOBODY; `peers` is put into another order. */
uint32_t weir_useful_least(struct weir_useful_peer *peers, uint32_t peer_cnt);

#endif
