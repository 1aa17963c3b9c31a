/* engine/peers/admit.h: how many connections a node has, from whom, and how fast they may come.
 *
 * Connections are counted in all, per direction, per address (an IPv4 address, or an IPv6 /64, which is what one host
 * is given) and per subnet (cfg.ipv4_bits, cfg.ipv6_bits). How fast they come is bounded by a token bucket per
 * address and one per subnet, kept as the time at which the bucket is full again (GCRA, ITU-T I.371).
 *
 * Memory is bounded: the counts have room for every connection there can be; of the buckets there are 8,192,
 * and when the 8 places of a bucket's set are taken the one that is nearest to full goes, which forgets least.
 * Places follow from a hash with a secret seed, so that nobody can choose whom to displace.
 *
 * What is on this machine (loopback, unix sockets) has no groups: it is counted in all and no more, unless
 * has_loopback. Nothing here takes a lock or reads a clock.
 */
#ifndef WEIR_ENGINE_PEERS_ADMIT_H
#define WEIR_ENGINE_PEERS_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/addr.h"

#define WEIR_ADDRESS_BITS_IPV4 32u
#define WEIR_ADDRESS_BITS_IPV6 64u
#define WEIR_NO_LIMIT UINT32_MAX

struct weir_admit_config {
    uint64_t seed;
    uint32_t conn_max;                                /* connections there can ever be at once */
    uint32_t inbound_max, outbound_max;               /* WEIR_NO_LIMIT */
    uint32_t address_max, subnet_max;                 /* inbound from one; WEIR_NO_LIMIT */
    uint32_t dial_address_max, dial_subnet_max;       /* outbound to one; WEIR_NO_LIMIT */
    uint32_t ipv4_bits, ipv6_bits;                    /* of a subnet */
    uint64_t address_interval_ns, subnet_interval_ns; /* one more each */
    uint32_t address_burst, subnet_burst;             /* at once; WEIR_NO_LIMIT: any number */
    bool has_loopback;
};

struct weir_admit;

/* Errors: WEIR_E_NOMEM. */
int weir_admit_create(struct weir_admit **ret_admit, const struct weir_admit_config *cfg);
void weir_admit_free(struct weir_admit *admit);

/* A connection came from `addr`. Returns 0 when it is let in, and counted until weir_admit_left; or why not:
 * WEIR_R_LIMIT_RATE, _ADDRESS, _SUBNET, _INBOUND, the last where nothing else is in its way. */
uint16_t weir_admit_inbound(struct weir_admit *admit, const struct weir_addr *addr,
                            uint64_t now_ns);
/* The same for one that was refused for WEIR_R_LIMIT_INBOUND a moment ago, and for whom room was made: it has paid its
 * token. */
uint16_t weir_admit_again(struct weir_admit *admit, const struct weir_addr *addr);
/* Sets the limit on inbound connections anew; who is there stays. */
void weir_admit_set_inbound_max(struct weir_admit *admit, uint32_t inbound_max);
void weir_admit_left(struct weir_admit *admit, const struct weir_addr *addr);

/* The same for a connection that is to be made. Returns 0 or WEIR_R_LIMIT_OUTBOUND. */
uint16_t weir_admit_outbound(struct weir_admit *admit);
void weir_admit_outbound_left(struct weir_admit *admit);

/* And for each address that such a one tries: counted apart from what comes from there. Returns 0, WEIR_R_LIMIT_ADDRESS or
 * WEIR_R_LIMIT_SUBNET. */
uint16_t weir_admit_dial(struct weir_admit *admit, const struct weir_addr *addr);
void weir_admit_dial_left(struct weir_admit *admit, const struct weir_addr *addr);

/* For tests: how many connections of an address, and how many groups, are counted. */
uint32_t weir_admit_cnt(const struct weir_admit *admit, const struct weir_addr *addr);
uint32_t weir_admit_groups(const struct weir_admit *admit);

#endif
