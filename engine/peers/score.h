/* engine/peers/score.h: how badly an address has behaved lately: points that halve with time.
 *
 * An address is an IPv4 address or an IPv6 /64. Points come from the engine (weir_score_points says how many a
 * close reason is worth) and from the application; they halve every half_life_ns. There are 4,096 places; when
 * the 8 of a set are taken, the address with the fewest points is forgotten. Nothing here takes a lock or
 * reads a clock.
 */
#ifndef WEIR_ENGINE_PEERS_SCORE_H
#define WEIR_ENGINE_PEERS_SCORE_H

#include <stdint.h>

#include "engine/base/addr.h"

#define WEIR_POINTS_MAX 1000000u

struct weir_score;

/* Errors: WEIR_E_NOMEM. */
int weir_score_create(struct weir_score **ret_score, uint64_t seed, uint64_t half_life_ns);
void weir_score_free(struct weir_score *score);

/* Adds points and returns how many there are now, rounded down, at most WEIR_POINTS_MAX. An address without
 * groups (a unix socket, none) has no score: 0. */
uint32_t weir_score_add(struct weir_score *score, const struct weir_addr *addr, uint32_t points,
                        uint64_t now_ns);

/* Forgets an address: its ban begins. */
void weir_score_clear(struct weir_score *score, const struct weir_addr *addr);

/* The points for ending a connection for a reason that is the peer's fault; 0 for all others. */
uint32_t weir_score_points(uint16_t reason);

#endif
