/* proto/native_run.h: the inside of a RUN frame: whole small messages, each behind its u16 length.
 *
 *   payload:  len0 bytes0 | len1 bytes1 | ...        the header's aux says how many messages there are
 *
 * The codec does not look inside a run: the connection does at dispatch, after verification, so that a
 * message's length is read once the frame is known to be what the peer sent:
 *
 *   weir_run_check() the whole run first, then weir_run_next() for each message: nothing of a broken
 *   run is delivered. This is what a receiver of bytes from a peer must do.
 *
 * docs/wire.md, "RUN".
 */
#ifndef WEIR_PROTO_NATIVE_RUN_H
#define WEIR_PROTO_NATIVE_RUN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/copy.h"
#include "proto/native_bytes.h"
#include "weir/error.h"

#define WEIR_RUN_PREFIX 2u /* bytes in front of each message of a run */
#define WEIR_RUN_MSG_MAX \
    UINT16_MAX /* the longest message a run can carry, were the frame that long */

/* Copies `len` bytes, up to 128 by moves of fixed size that may overlap: a call of the library's memcpy costs as much as
 * the rest of queueing a small message. */
static inline void weir_run_copy(uint8_t *to, const uint8_t *from, size_t len)
{
    if (len > 128) {
        weir_copy(to, from, len);
    } else if (len > 64) {
        memcpy(to, from, 64);
        memcpy(to + len - 64, from + len - 64, 64);
    } else if (len >= 32) {
        memcpy(to, from, 32);
        memcpy(to + len - 32, from + len - 32, 32);
    } else if (len >= 16) {
        memcpy(to, from, 16);
        memcpy(to + len - 16, from + len - 16, 16);
    } else if (len >= 8) {
        memcpy(to, from, 8);
        memcpy(to + len - 8, from + len - 8, 8);
    } else if (len >= 4) {
        memcpy(to, from, 4);
        memcpy(to + len - 4, from + len - 4, 4);
    } else if (len != 0) {
        to[0] = from[0];
        to[len / 2] = from[len / 2];
        to[len - 1] = from[len - 1];
    }
}

/* Appends one message at `at`, where WEIR_RUN_PREFIX + len bytes are free. `data` may be NULL when len is 0. Returns
 * the end. */
static inline uint8_t *weir_run_put(uint8_t *at, const void *data, uint16_t len)
{
    weir_le16_put(at, len);
    weir_run_copy(at + WEIR_RUN_PREFIX, data, len);
    return at + WEIR_RUN_PREFIX + len;
}

/* Checks that `msg_cnt` messages fill `len` bytes exactly and none is above `msg_bytes_max`.
 * Returns 0, WEIR_R_BAD_RUN or WEIR_R_MESSAGE_TOO_BIG. A run that is both is a BAD_RUN. */
static inline uint16_t weir_run_check(const uint8_t *payload, uint32_t len, uint32_t msg_cnt,
                                      uint32_t msg_bytes_max)
{
    uint32_t at = 0;
    uint32_t longest = 0;
    if (msg_cnt == 0)
        return WEIR_R_BAD_RUN;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        if (len - at < WEIR_RUN_PREFIX)
            return WEIR_R_BAD_RUN;
        uint32_t msg_len = weir_le16_get(payload + at);
        at += WEIR_RUN_PREFIX;
        if (len - at < msg_len)
            return WEIR_R_BAD_RUN;
        at += msg_len;
        longest = msg_len > longest ? msg_len : longest;
    }
    if (at != len)
        return WEIR_R_BAD_RUN;
    return longest > msg_bytes_max ? WEIR_R_MESSAGE_TOO_BIG : WEIR_R_NONE;
}

/* Reads the message at `*at`, which must be within a checked run, and moves `*at` to the next.
 * Returns its bytes (borrowed from the payload). */
static inline const uint8_t *weir_run_next(const uint8_t **at, uint32_t *ret_len)
{
    const uint8_t *data = *at + WEIR_RUN_PREFIX;
    *ret_len = weir_le16_get(*at);
    *at = data + *ret_len;
    return data;
}

#endif
