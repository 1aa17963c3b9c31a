/* engine/base/place.h: where a node can be reached: an IP address and a port, small enough to keep 80,000 of
 * them; and which group of places somebody can get hold of together.
 *
 * An attacker has many addresses, but in few networks. So what counts against him is counted per *group*:
 *
 *   kind       which                                                   its group
 *   global     all that are not below                                  IPv4: /16; IPv6: /32 (6to4: of the IPv4 address)
 *   private    10/8, 172.16/12, 192.168/16, 100.64/10, 169.254/16, fc00::/7   the address itself
 *   loopback   127/8, ::1                                              address and port
 *
 * In a private network everybody is a neighbour, and on one machine everybody shares the address: there a
 * subnet says nothing. Strangers cannot exploit that, because private places are only taken from peers that
 * are private themselves, and loopback ones from loopback (weir_place_may_tell).
 */
#ifndef WEIR_ENGINE_BASE_PLACE_H
#define WEIR_ENGINE_BASE_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/addr.h"

struct weir_place {
    uint8_t family; /* WEIR_ADDR_IPV4, WEIR_ADDR_IPV6; WEIR_ADDR_NONE: none */
    uint8_t reserved;
    uint16_t port; /* host order */
    uint8_t ip[16];
};

enum weir_place_kind {
    WEIR_PLACE_UNUSABLE = 0, /* no unicast address, link-local IPv6, port 0 */
    WEIR_PLACE_GLOBAL,
    WEIR_PLACE_PRIVATE,
    WEIR_PLACE_LOOPBACK
};

#define WEIR_GROUP_BYTES 19u

/* Makes a place; IPv4 addresses that are written as IPv6 ones become what they are. False for a unix socket, a
 * scoped or an unusable address. */
bool weir_place_from(struct weir_place *ret_place, const struct weir_addr *addr);
void weir_place_addr(const struct weir_place *place, struct weir_addr *ret_addr);
bool weir_place_is_equal(const struct weir_place *a, const struct weir_place *b);
/* The same address, whatever the port. */
bool weir_place_is_host(const struct weir_place *a, const struct weir_place *b);

enum weir_place_kind weir_place_kind(const struct weir_place *place);

/* Whether a peer that is at `source` can know that `place` is of use here. A source without an address (it was
 * dialed by name through a proxy, or comes over a unix socket) may tell global places. */
bool weir_place_may_tell(const struct weir_place *source, const struct weir_place *place);

/* Writes the group: equal groups are equal bytes. */
void weir_place_group(const struct weir_place *place, uint8_t ret_group[WEIR_GROUP_BYTES]);

#endif
