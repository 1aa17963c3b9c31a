/* engine/node/gossip_seen.h: which messages were seen: two generations of ids, in bounded memory.
 *
 * Ids go into the young generation. When it is full, or has lasted for `turn_ns`, the old one is emptied and the
 * two change places: an id is known for at least `max` others or `turn_ns`, whichever is less, and for twice
 * that at most. Ids are kept whole, so that no message is ever taken for another; places follow from a hash
 * with a secret, so that nobody can choose ids that meet in one place.
 */
#ifndef WEIR_ENGINE_NODE_GOSSIP_SEEN_H
#define WEIR_ENGINE_NODE_GOSSIP_SEEN_H

#include <stdbool.h>
#include <stdint.h>

struct weir_seen;

/* Errors: WEIR_E_NOMEM. Memory: 64 bytes for each of `max`, rounded up to a power of two. */
int weir_seen_create(struct weir_seen **ret_seen, uint32_t max, uint64_t turn_ns, uint64_t secret);
void weir_seen_free(struct weir_seen *seen);

bool weir_seen_has(const struct weir_seen *seen, const uint8_t id[16]);

/* Adds an id; false when it was there already. Turns the generations first when it is time. */
bool weir_seen_add(struct weir_seen *seen, const uint8_t id[16], uint64_t now_ns);

/* How often the generations have turned, and how often because one was full. */
void weir_seen_turns(const struct weir_seen *seen, uint64_t *ret_turns, uint64_t *ret_early);

#endif
