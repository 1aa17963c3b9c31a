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

#endif
