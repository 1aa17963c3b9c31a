/* engine/base/addr.h: socket addresses as values: parsed, printed and compared without a system call. */
#ifndef WEIR_ENGINE_BASE_ADDR_H
#define WEIR_ENGINE_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum weir_addr_family {
    WEIR_ADDR_NONE = 0,
    WEIR_ADDR_IPV4 = 4,
    WEIR_ADDR_IPV6 = 6,
    WEIR_ADDR_UNIX = 1
};

#define WEIR_ADDR_PATH_BYTES 108 /* sockaddr_un.sun_path */
#define WEIR_ADDR_TEXT_BYTES 128 /* enough for every text form with its NUL */

struct weir_addr {
    uint8_t family; /* enum weir_addr_family */
    uint8_t reserved;
    uint16_t port;                   /* host order */
    uint32_t scope_id;               /* IPv6 only: from "%N", numeric */
    uint8_t ip[16];                  /* network order; IPv4 in the first four */
    char path[WEIR_ADDR_PATH_BYTES]; /* unix: NUL-terminated, "@name" for an abstract one */
};

/* Parses "1.2.3.4:80", "[::1]:80", "[fe80::1%2]:80" or "unix:PATH". Ports are decimal, 0 to 65,535.
 * Errors: WEIR_E_ADDRESS; `*ret_addr` is untouched then. */
int weir_addr_parse(struct weir_addr *ret_addr, const char *text);

/* Writes the text form that weir_addr_parse reads; `ret_text` has WEIR_ADDR_TEXT_BYTES. */
void weir_addr_format(const struct weir_addr *addr, char *ret_text);

bool weir_addr_is_equal(const struct weir_addr *a, const struct weir_addr *b);

/* ---- groups of addresses ------------------------------------------------------------------- */

/* A prefix: the first `bits` bits of an address, the others zero. Equal prefixes are equal bytes. */
struct weir_prefix {
    uint8_t family; /* WEIR_ADDR_IPV4 or WEIR_ADDR_IPV6 */
    uint8_t bits;   /* 0 .. 32, 0 .. 128 */
    uint8_t ip[16];
};

#define WEIR_PREFIX_TEXT_BYTES 64

/* The group that an address is in: its first `ipv4_bits` or `ipv6_bits` bits. IPv4 addresses that are written
 * as IPv6 ones, mapped (RFC 4291, 2.5.5.2) or behind NAT64 (RFC 6052, 2.1), are the IPv4 addresses they are.
 * False for a unix socket and for no address: they are in no group. */
bool weir_addr_prefix(struct weir_prefix *ret_prefix, const struct weir_addr *addr,
                      uint32_t ipv4_bits, uint32_t ipv6_bits);

/* Whether an address is on this machine: 127.0.0.0/8, ::1, a unix socket. */
bool weir_addr_is_loopback(const struct weir_addr *addr);

/* Parses "192.0.2.7", "192.0.2.0/24", "2001:db8::/32". Errors: WEIR_E_ADDRESS, also when bits behind the
 * prefix are not zero: what is meant is not clear then. */
int weir_prefix_parse(struct weir_prefix *ret_prefix, const char *text);
/* Always with the length; `ret_text` has WEIR_PREFIX_TEXT_BYTES. */
void weir_prefix_format(const struct weir_prefix *prefix, char *ret_text);
/* Whether `prefix` holds all of `other`. */
bool weir_prefix_covers(const struct weir_prefix *prefix, const struct weir_prefix *other);

#endif
