#include "engine/base/addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/check.h"
#include "weir/error.h"

#define UNIX_PREFIX "unix:"
#define UNIX_PREFIX_LEN (sizeof(UNIX_PREFIX) - 1)
#define SCOPE_DIGITS_MAX 10 /* 4294967295 */

static_assert(UNIX_PREFIX_LEN + WEIR_ADDR_PATH_BYTES <= WEIR_ADDR_TEXT_BYTES, "unix text fits");
static_assert(1 + INET6_ADDRSTRLEN + 1 + SCOPE_DIGITS_MAX + sizeof("]:65535") <=
                  WEIR_ADDR_TEXT_BYTES,
              "IPv6 text fits");

/* Reads `len` bytes of decimal digits, all of them. One number has one text, so there are no
 * leading zeros, which some parsers take for octal; then equal addresses are equal strings. */
static bool parse_number(const char *text, size_t len, uint32_t max, uint32_t *ret_number)
{
    if (len == 0 || len > SCOPE_DIGITS_MAX || (len > 1 && text[0] == '0')) {
        return false;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < len; ++i) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    if (number > max) {
        return false;
    }
    *ret_number = (uint32_t)number;
    return true;
}

/* inet_pton alone decides what an address is (it is strict: four decimal parts, no leading zeros);
 * it wants a NUL, so the bytes are copied first. */
static bool parse_ip(int family, const char *text, size_t len, uint8_t *ret_ip)
{
    char copy[INET6_ADDRSTRLEN];
    if (len == 0 || len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    return inet_pton(family, copy, ret_ip) == 1;
}

static bool parse_port(const char *text, uint16_t *ret_port)
{
    uint32_t port;
    if (!parse_number(text, strnlen(text, SCOPE_DIGITS_MAX + 1), UINT16_MAX, &port)) {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

static bool parse_unix(struct weir_addr *addr, const char *path)
{
    size_t len = strnlen(path, WEIR_ADDR_PATH_BYTES);
    if (len == 0 || len >= WEIR_ADDR_PATH_BYTES) {
        return false;
    }
    /* An abstract address without a name would ask the kernel to invent one. */
    if (path[0] == '@' && len == 1) {
        return false;
    }
    addr->family = WEIR_ADDR_UNIX;
    memcpy(addr->path, path, len); /* the rest is zero already */
    return true;
}

static bool parse_ipv6(struct weir_addr *addr, const char *text)
{
    const char *end = strchr(text, ']'); /* text begins behind the '[' */
    if (end == NULL || end[1] != ':') {
        return false;
    }
    const char *percent = memchr(text, '%', (size_t)(end - text));
    const char *ip_end = percent != NULL ? percent : end;
    if (percent != NULL &&
        !parse_number(percent + 1, (size_t)(end - percent - 1), UINT32_MAX, &addr->scope_id)) {
        return false;
    }
    addr->family = WEIR_ADDR_IPV6;
    return parse_ip(AF_INET6, text, (size_t)(ip_end - text), addr->ip) &&
           parse_port(end + 2, &addr->port);
}

static bool parse_ipv4(struct weir_addr *addr, const char *text)
{
    const char *colon = strchr(text, ':');
    if (colon == NULL) {
        return false;
    }
    addr->family = WEIR_ADDR_IPV4;
    return parse_ip(AF_INET, text, (size_t)(colon - text), addr->ip) &&
           parse_port(colon + 1, &addr->port);
}

int weir_addr_parse(struct weir_addr *ret_addr, const char *text)
{
    struct weir_addr addr = {.family = WEIR_ADDR_NONE};
    bool is_good;
    if (text == NULL) {
        is_good = false;
    } else if (strncmp(text, UNIX_PREFIX, UNIX_PREFIX_LEN) == 0) {
        is_good = parse_unix(&addr, text + UNIX_PREFIX_LEN);
    } else if (text[0] == '[') {
        is_good = parse_ipv6(&addr, text + 1);
    } else {
        is_good = parse_ipv4(&addr, text);
    }
    if (!is_good) {
        return WEIR_E_ADDRESS;
    }
    *ret_addr = addr;
    return 0;
}

void weir_addr_format(const struct weir_addr *addr, char *ret_text)
{
    char ip[INET6_ADDRSTRLEN];
    char scope[1 + SCOPE_DIGITS_MAX + 1] = "";
    switch ((enum weir_addr_family)addr->family) {
    case WEIR_ADDR_IPV4:
        WEIR_CHECK(inet_ntop(AF_INET, addr->ip, ip, sizeof(ip)) != NULL);
        snprintf(ret_text, WEIR_ADDR_TEXT_BYTES, "%s:%u", ip, (unsigned)addr->port);
        return;
    case WEIR_ADDR_IPV6:
        WEIR_CHECK(inet_ntop(AF_INET6, addr->ip, ip, sizeof(ip)) != NULL);
        if (addr->scope_id != 0) {
            snprintf(scope, sizeof(scope), "%%%u", (unsigned)addr->scope_id);
        }
        snprintf(ret_text, WEIR_ADDR_TEXT_BYTES, "[%s%s]:%u", ip, scope, (unsigned)addr->port);
        return;
    case WEIR_ADDR_UNIX:
        snprintf(ret_text, WEIR_ADDR_TEXT_BYTES, UNIX_PREFIX "%.*s", WEIR_ADDR_PATH_BYTES - 1,
                 addr->path);
        return;
    case WEIR_ADDR_NONE:
        break;
    }
    memcpy(ret_text, "none", sizeof("none")); /* does not parse, on purpose */
}

bool weir_addr_is_equal(const struct weir_addr *a, const struct weir_addr *b)
{
    if (a->family != b->family) {
        return false;
    }
    switch ((enum weir_addr_family)a->family) {
    case WEIR_ADDR_IPV4:
        return a->port == b->port && memcmp(a->ip, b->ip, 4) == 0;
    case WEIR_ADDR_IPV6:
        return a->port == b->port && a->scope_id == b->scope_id && memcmp(a->ip, b->ip, 16) == 0;
    case WEIR_ADDR_UNIX:
        return strncmp(a->path, b->path, WEIR_ADDR_PATH_BYTES) == 0;
    case WEIR_ADDR_NONE:
        break;
    }
    return true;
}

/* ---- groups of addresses ------------------------------------------------------------------- */

static void mask(uint8_t ip[16], uint32_t bits)
{
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t begin = 8 * i;
        if (begin >= bits)
            ip[i] = 0;
        else if (begin + 8 > bits)
            ip[i] = (uint8_t)(ip[i] & (0xFF00u >> (bits - begin)));
    }
}

/* The IPv4 address that an IPv6 one stands for, or NULL. */
static const uint8_t *ipv4_in(const uint8_t ip[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xFF, 0x9B};
    return memcmp(ip, mapped, 12) == 0 || memcmp(ip, nat64, 12) == 0 ? ip + 12 : NULL;
}

bool weir_addr_prefix(struct weir_prefix *ret_prefix, const struct weir_addr *addr,
                      uint32_t ipv4_bits, uint32_t ipv6_bits)
{
    const uint8_t *ipv4 = addr->family == WEIR_ADDR_IPV4   ? addr->ip
                          : addr->family == WEIR_ADDR_IPV6 ? ipv4_in(addr->ip)
                                                           : NULL;
    if (!ipv4 && addr->family != WEIR_ADDR_IPV6)
        return false;
    memset(ret_prefix, 0, sizeof(*ret_prefix));
    ret_prefix->family = ipv4 ? WEIR_ADDR_IPV4 : WEIR_ADDR_IPV6;
    ret_prefix->bits = (uint8_t)(ipv4 ? ipv4_bits : ipv6_bits);
    memcpy(ret_prefix->ip, ipv4 ? ipv4 : addr->ip, ipv4 ? 4 : 16);
    mask(ret_prefix->ip, ret_prefix->bits);
    return true;
}

bool weir_addr_is_loopback(const struct weir_addr *addr)
{
    static const uint8_t one[16] = {[15] = 1};
    struct weir_prefix prefix;
    if (!weir_addr_prefix(&prefix, addr, 32, 128))
        return addr->family == WEIR_ADDR_UNIX;
    return prefix.family == WEIR_ADDR_IPV4 ? prefix.ip[0] == 127 : memcmp(prefix.ip, one, 16) == 0;
}

int weir_prefix_parse(struct weir_prefix *ret_prefix, const char *text)
{
    if (!text)
        return WEIR_E_ADDRESS;
    size_t len = strnlen(text, WEIR_PREFIX_TEXT_BYTES);
    const char *slash = memchr(text, '/', len);
    size_t ip_len = slash ? (size_t)(slash - text) : len;
    struct weir_addr addr = {.family = WEIR_ADDR_IPV4};
    bool is_good = parse_ip(AF_INET, text, ip_len, addr.ip);
    if (!is_good) {
        addr.family = WEIR_ADDR_IPV6;
        is_good = parse_ip(AF_INET6, text, ip_len, addr.ip);
    }
    uint32_t bits = addr.family == WEIR_ADDR_IPV4 ? 32 : 128;
    if (is_good && slash)
        is_good = parse_number(slash + 1, len - ip_len - 1, bits, &bits);
    if (!is_good)
        return WEIR_E_ADDRESS;
    /* One that is mapped has to be written as the IPv4 prefix that it is, or to be whole. */
    struct weir_prefix prefix;
    bool is_whole = bits == (addr.family == WEIR_ADDR_IPV4 ? 32u : 128u);
    if (addr.family == WEIR_ADDR_IPV6 && ipv4_in(addr.ip) && !is_whole)
        return WEIR_E_ADDRESS;
    (void)weir_addr_prefix(&prefix, &addr, addr.family == WEIR_ADDR_IPV4 ? bits : 32, bits);
    if (prefix.family == addr.family && memcmp(prefix.ip, addr.ip, 16) != 0)
        return WEIR_E_ADDRESS;
    *ret_prefix = prefix;
    return 0;
}

void weir_prefix_format(const struct weir_prefix *prefix, char *ret_text)
{
    char ip[INET6_ADDRSTRLEN];
    int family = prefix->family == WEIR_ADDR_IPV4 ? AF_INET : AF_INET6;
    WEIR_CHECK(inet_ntop(family, prefix->ip, ip, sizeof(ip)) != NULL);
    snprintf(ret_text, WEIR_PREFIX_TEXT_BYTES, "%s/%u", ip, prefix->bits);
}

bool weir_prefix_covers(const struct weir_prefix *prefix, const struct weir_prefix *other)
{
    if (prefix->family != other->family || prefix->bits > other->bits)
        return false;
    uint8_t ip[16];
    memcpy(ip, other->ip, sizeof(ip));
    mask(ip, prefix->bits);
    return memcmp(ip, prefix->ip, sizeof(ip)) == 0;
}
