/* tests/unit/node/hex.h: bytes as the pages of docs/ write them. */
#ifndef WEIR_TESTS_UNIT_NODE_HEX_H
#define WEIR_TESTS_UNIT_NODE_HEX_H

#include <stdint.h>
#include <stdlib.h>

/* "01 ff" -> 2 bytes; returns how many. */
static inline uint32_t from_hex(uint8_t *ret_bytes, const char *hex)
{
    uint32_t len = 0;
    char *end;
    for (; *hex; hex = end)
        ret_bytes[len++] = (uint8_t)strtoul(hex, &end, 16);
    return len;
}

#endif
