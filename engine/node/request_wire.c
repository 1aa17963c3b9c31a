#include "engine/node/request_wire.h"

#include <string.h>

#include "engine/base/check.h"
#include "proto/native_bytes.h"
#include "weir/request.h"

#define COMMON_BYTES 8u

_Static_assert(WEIR_REQUEST_HEAD_BYTES == WEIR_REQUEST_BYTES_MAX, "what weir_msg_keep users skip");

/* By kind; 0: there is no such kind. */
static uint32_t head_bytes(uint8_t kind)
{
    switch (kind) {
    case WEIR_REQUEST_ASK:
    case WEIR_REQUEST_PART:
    case WEIR_REQUEST_GRANT:
        return 16;
    case WEIR_REQUEST_ERROR:
        return 12;
    case WEIR_REQUEST_CANCEL:
        return COMMON_BYTES;
    default:
        return 0;
    }
}

int weir_request_parse(struct weir_request_msg *ret_msg, const uint8_t *bytes, uint32_t len)
{
    if (len < COMMON_BYTES)
        return WEIR_REQUEST_IS_BAD;
    uint8_t kind = bytes[0], flags = bytes[1];
    uint32_t head_len = head_bytes(kind);
    if (head_len == 0)
        return kind & WEIR_REQUEST_OPTIONAL ? WEIR_REQUEST_IS_UNKNOWN : WEIR_REQUEST_IS_BAD;
    uint16_t method = weir_le16_get(bytes + 2);
    if (len < head_len || (flags & ~(kind == WEIR_REQUEST_PART ? WEIR_REQUEST_LAST : 0u)) ||
        (method && kind != WEIR_REQUEST_ASK))
        return WEIR_REQUEST_IS_BAD;
    struct weir_request_msg msg = {.kind = kind,
                                   .is_last = (flags & WEIR_REQUEST_LAST) != 0,
                                   .method = method,
                                   .id = weir_le32_get(bytes + 4),
                                   .data = bytes + head_len,
                                   .len = len - head_len};
    switch ((enum weir_request_kind)kind) {
    case WEIR_REQUEST_ASK:
        msg.timeout_ms = weir_le32_get(bytes + 8);
        msg.window = weir_le32_get(bytes + 12);
        break;
    case WEIR_REQUEST_PART:
        msg.offset = weir_le64_get(bytes + 8);
        if ((msg.len == 0 && !msg.is_last) || msg.offset > UINT64_MAX - msg.len)
            return WEIR_REQUEST_IS_BAD;
        break;
    case WEIR_REQUEST_ERROR:
        msg.code = weir_le32_get(bytes + 8);
        if (msg.code == 0 || msg.code > INT32_MAX || msg.len > WEIR_REQUEST_TEXT_BYTES_MAX)
            return WEIR_REQUEST_IS_BAD;
        break;
    case WEIR_REQUEST_GRANT:
        msg.offset = weir_le64_get(bytes + 8);
        if (msg.len)
            return WEIR_REQUEST_IS_BAD;
        break;
    case WEIR_REQUEST_CANCEL:
        if (msg.len)
            return WEIR_REQUEST_IS_BAD;
        break;
    }
    *ret_msg = msg;
    return WEIR_REQUEST_IS_KNOWN;
}

uint32_t weir_request_write(uint8_t ret_head[WEIR_REQUEST_BYTES_MAX],
                            const struct weir_request_msg *msg)
{
    memset(ret_head, 0, WEIR_REQUEST_BYTES_MAX);
    ret_head[0] = msg->kind;
    ret_head[1] = msg->kind == WEIR_REQUEST_PART && msg->is_last ? WEIR_REQUEST_LAST : 0;
    weir_le32_put(ret_head + 4, msg->id);
    switch ((enum weir_request_kind)msg->kind) {
    case WEIR_REQUEST_ASK:
        weir_le16_put(ret_head + 2, msg->method);
        weir_le32_put(ret_head + 8, msg->timeout_ms);
        weir_le32_put(ret_head + 12, msg->window);
        break;
    case WEIR_REQUEST_PART:
    case WEIR_REQUEST_GRANT:
        weir_le64_put(ret_head + 8, msg->offset);
        break;
    case WEIR_REQUEST_ERROR:
        weir_le32_put(ret_head + 8, msg->code);
        break;
    case WEIR_REQUEST_CANCEL:
        break;
    }
    uint32_t len = head_bytes(msg->kind);
    WEIR_CHECK(len != 0);
    return len;
}
