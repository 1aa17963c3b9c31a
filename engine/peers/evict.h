/* engine/peers/evict.h: whose inbound place is given away when all are taken and one more comes.
 *
 * An attacker can open any number of connections, but he has addresses in few networks, is rarely the nearest, and was
 * not there before the others. So these stay, each counted among those that the lines before have left:
 *
 *   4   of the groups that a secret prefers: nobody can tell which addresses to get hold of
 *   8   with the lowest round-trip time ever measured
 *   4   that delivered something new most recently (of those that ever did)
 *   half of the rest: who is connected longest
 *
 * Of what is left, with the newcomer counted in, the *largest group* loses its *youngest*: the newcomer itself when its
 * group is larger than any other. So who comes in crowds displaces himself. Among groups of one size it is the one with
 * the youngest. With fewer than 17 candidates nobody goes.
 *
 * A group is 64 bits of a keyed hash. Nothing here reads a clock, allocates or remembers.
 *
 * Source: the criteria are in the spirit of Bitcoin Core's inbound eviction; the newcomer's own vote is ours.
 */
#ifndef WEIR_ENGINE_PEERS_EVICT_H
#define WEIR_ENGINE_PEERS_EVICT_H

#include <stdint.h>

#include "engine/base/addr.h"
#include "engine/base/siphash.h"

#define WEIR_EVICT_KEEP_GROUPS 4u
#define WEIR_EVICT_KEEP_NEAR 8u
#define WEIR_EVICT_KEEP_USEFUL 4u
#define WEIR_EVICT_NOBODY UINT32_MAX

struct weir_evict_peer {
    uint64_t group;      /* weir_evict_group */
    uint64_t rtt_min_ns; /* 0: never measured, which is as far as can be */
    uint64_t useful_ns;  /* when it last brought something new; 0: never */
    uint64_t since_ns;   /* when it came */
    uint32_t id;         /* the caller's; the smaller is preferred where all else is equal */
};

/* Chooses who goes for a newcomer of `group`; `peers` is put into another order.
 * Returns the id, or WEIR_EVICT_NOBODY: the newcomer is to be refused. */
uint32_t weir_evict_choose(struct weir_evict_peer *peers, uint32_t peer_cnt, uint64_t group);

/* The group of an address: what engine/base/place.h says of a global one (IPv4 /16, IPv6 /32), the subnet of another;
 * unix sockets are one group. */
uint64_t weir_evict_group(const uint8_t key[WEIR_SIPHASH_KEY_BYTES], const struct weir_addr *addr,
                          uint32_t ipv4_bits, uint32_t ipv6_bits);

#endif
