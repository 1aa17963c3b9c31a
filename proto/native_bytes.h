/* proto/native_bytes.h: little-endian integers at any address.
 *
 * Written with shifts so that they mean the same on every host; compilers make single loads and stores
 * of them where the host is little-endian.
 */
#ifndef WEIR_PROTO_NATIVE_BYTES_H
#define WEIR_PROTO_NATIVE_BYTES_H

#include <stdint.h>

static inline uint16_t weir_le16_get(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t weir_le32_get(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t weir_le64_get(const uint8_t *at)
{
    return (uint64_t)weir_le32_get(at) | (uint64_t)weir_le32_get(at + 4) << 32;
}

static inline void weir_le16_put(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void weir_le32_put(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
}

static inline void weir_le64_put(uint8_t *at, uint64_t value)
{
    weir_le32_put(at, (uint32_t)value);
    weir_le32_put(at + 4, (uint32_t)(value >> 32));
}

#endif
