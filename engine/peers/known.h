/* engine/peers/known.h: the static keys of nodes that were met, by node id: whoever dials one of them again can begin
 * with pattern IK, one round trip less (docs/wire-v2.md).
 *
 * A key is learnt from a handshake that proved it, and forgotten when one that began with it came to nothing. Memory is
 * bounded: sets of 8 places; in a full set the one that was used longest ago goes. Which set an id is in follows from a
 * secret, so that nobody can choose whom to displace. Nothing here takes a lock.
 */
#ifndef WEIR_ENGINE_PEERS_KNOWN_H
#define WEIR_ENGINE_PEERS_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#define WEIR_KNOWN_BYTES 32u /* of an id, and of a key */

struct weir_known;

/* Has room for `cnt_max` or some more. Errors: WEIR_E_NOMEM. */
int weir_known_create(struct weir_known **ret_known, uint32_t cnt_max, uint64_t seed);
void weir_known_free(struct weir_known *known);

/* Returns whether the key of `id` is there; it counts as used then. */
bool weir_known_find(struct weir_known *known, const uint8_t id[WEIR_KNOWN_BYTES],
                     uint8_t ret_key[WEIR_KNOWN_BYTES]);
void weir_known_put(struct weir_known *known, const uint8_t id[WEIR_KNOWN_BYTES],
                    const uint8_t key[WEIR_KNOWN_BYTES]);
void weir_known_forget(struct weir_known *known, const uint8_t id[WEIR_KNOWN_BYTES]);

#endif
