#include "engine/base/place.h"

#include <string.h>

bool weir_place_from(struct weir_place *ret_place, const struct weir_addr *addr)
{
    struct weir_prefix whole; /* knows which IPv6 addresses are IPv4 ones */
    if (!weir_addr_prefix(&whole, addr, 32, 128) || addr->scope_id != 0)
        return false;
    struct weir_place place = {.family = whole.family, .port = addr->port};
    memcpy(place.ip, whole.ip, sizeof(place.ip));
    if (weir_place_kind(&place) == WEIR_PLACE_UNUSABLE)
        return false;
    *ret_place = place;
    return true;
}

void weir_place_addr(const struct weir_place *place, struct weir_addr *ret_addr)
{
    *ret_addr = (struct weir_addr){.family = place->family, .port = place->port};
    memcpy(ret_addr->ip, place->ip, sizeof(place->ip));
}

bool weir_place_is_host(const struct weir_place *a, const struct weir_place *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool weir_place_is_equal(const struct weir_place *a, const struct weir_place *b)
{
    return weir_place_is_host(a, b) && a->port == b->port;
}

/* RFC 6890 has the special blocks; of those that are of no use only what could hurt is left out, because a
 * place that nobody answers at costs a dial and no more. */
static enum weir_place_kind kind_ipv4(const uint8_t *ip)
{
    if (ip[0] == 0 || ip[0] >= 224)
        return WEIR_PLACE_UNUSABLE;
    if (ip[0] == 127)
        return WEIR_PLACE_LOOPBACK;
    bool is_private = ip[0] == 10 || (ip[0] == 172 && (ip[1] & 0xF0) == 16) ||
                      (ip[0] == 192 && ip[1] == 168) || (ip[0] == 100 && (ip[1] & 0xC0) == 64) ||
                      (ip[0] == 169 && ip[1] == 254);
    return is_private ? WEIR_PLACE_PRIVATE : WEIR_PLACE_GLOBAL;
}

static enum weir_place_kind kind_ipv6(const uint8_t *ip)
{
    static const uint8_t none[16] = {0}, one[16] = {[15] = 1};
    if (memcmp(ip, one, 16) == 0)
        return WEIR_PLACE_LOOPBACK;
    bool is_link_local =
        ip[0] == 0xFE && (ip[1] & 0xC0) == 0x80; /* means nothing without a scope */
    if (memcmp(ip, none, 16) == 0 || ip[0] == 0xFF || is_link_local)
        return WEIR_PLACE_UNUSABLE;
    return (ip[0] & 0xFE) == 0xFC ? WEIR_PLACE_PRIVATE : WEIR_PLACE_GLOBAL;
}

enum weir_place_kind weir_place_kind(const struct weir_place *place)
{
    if (place->port == 0)
        return WEIR_PLACE_UNUSABLE;
    return place->family == WEIR_ADDR_IPV4   ? kind_ipv4(place->ip)
           : place->family == WEIR_ADDR_IPV6 ? kind_ipv6(place->ip)
                                             : WEIR_PLACE_UNUSABLE;
}

bool weir_place_may_tell(const struct weir_place *source, const struct weir_place *place)
{
    enum weir_place_kind kind = weir_place_kind(place);
    return kind == WEIR_PLACE_GLOBAL ||
           (kind != WEIR_PLACE_UNUSABLE && kind <= weir_place_kind(source));
}

void weir_place_group(const struct weir_place *place, uint8_t ret_group[WEIR_GROUP_BYTES])
{
    static const uint8_t six_to_four[2] = {0x20, 0x02}; /* RFC 3056: 2002:IPV4::/48 */
    enum weir_place_kind kind = weir_place_kind(place);
    bool is_ipv4 = place->family == WEIR_ADDR_IPV4;
    memset(ret_group, 0, WEIR_GROUP_BYTES);
    ret_group[0] = place->family;
    if (kind != WEIR_PLACE_GLOBAL) {
        memcpy(ret_group + 1, place->ip, is_ipv4 ? 4 : 16);
        if (kind == WEIR_PLACE_LOOPBACK) {
            ret_group[17] = (uint8_t)place->port;
            ret_group[18] = (uint8_t)(place->port >> 8);
        }
    } else if (!is_ipv4 && memcmp(place->ip, six_to_four, 2) == 0) {
        ret_group[0] = WEIR_ADDR_IPV4;
        memcpy(ret_group + 1, place->ip + 2, 2);
    } else {
        memcpy(ret_group + 1, place->ip, is_ipv4 ? 2 : 4);
    }
}
