#include "transfer.h"

#include <string.h>

#include "bytes.h"

void transfer_config(struct weir_config *ret_config)
{
    weir_config_init(ret_config);
    ret_config->ping_timeout_ns = TRANSFER_PATIENCE_NS;
    ret_config->idle_timeout_ns = TRANSFER_PATIENCE_NS;
    ret_config->stall_timeout_ns = TRANSFER_PATIENCE_NS;
    ret_config->log_level = WEIR_LOG_WARN;
}

struct transfer transfer_read(const uint8_t *data, size_t len)
{
    static const struct transfer nothing = {.kind = TRANSFER_NOTHING};
    if (len == 0)
        return nothing;
    struct transfer msg = {.kind = (enum transfer_kind)data[0]};
    const uint8_t *body = data + 1;
    size_t body_len = len - 1;
    switch (msg.kind) {
    case TRANSFER_IS_HELLO:
        if (body_len < TRANSFER_HELLO_BYTES + 2 ||
            memcmp(body, TRANSFER_HELLO, TRANSFER_HELLO_BYTES) != 0 ||
            get_u16(body + TRANSFER_HELLO_BYTES) != TRANSFER_VERSION)
            return nothing;
        return msg;
    case TRANSFER_DATA:
    case TRANSFER_LINE:
    case TRANSFER_CHUNK:
        msg.data = body;
        msg.len = body_len;
        return msg;
    case TRANSFER_FILE:
        if (body_len < 16)
            return nothing;
        msg.seq = get_u32(body);
        msg.size = get_u64(body + 4);
        msg.mode = get_u32(body + 12);
        msg.data = body + 16;
        msg.len = body_len - 16;
        return msg;
    case TRANSFER_END:
        if (body_len != 4 + SHA256_BYTES)
            return nothing;
        msg.seq = get_u32(body);
        msg.digest = body + 4;
        return msg;
    case TRANSFER_FINISH:
    case TRANSFER_DONE:
        if (body_len != 12)
            return nothing;
        msg.bytes = get_u64(body);
        msg.files = get_u32(body + 8);
        return msg;
    case TRANSFER_OK:
        if (body_len != 4)
            return nothing;
        msg.seq = get_u32(body);
        return msg;
    case TRANSFER_FAILED:
        if (body_len < 1)
            return nothing;
        msg.failed_class = body[0];
        msg.data = body + 1;
        msg.len = body_len - 1;
        return msg;
    case TRANSFER_NOTHING:
        break;
    }
    return nothing;
}

size_t transfer_hello(uint8_t *ret)
{
    ret[0] = TRANSFER_IS_HELLO;
    memcpy(ret + 1, TRANSFER_HELLO, TRANSFER_HELLO_BYTES);
    put_u16(ret + 1 + TRANSFER_HELLO_BYTES, TRANSFER_VERSION);
    return 1 + TRANSFER_HELLO_BYTES + 2;
}

size_t transfer_file(uint8_t *ret, uint32_t seq, uint64_t size, uint32_t mode, const char *path)
{
    size_t path_len = strlen(path);
    ret[0] = TRANSFER_FILE;
    put_u32(ret + 1, seq);
    put_u64(ret + 5, size);
    put_u32(ret + 13, mode);
    memcpy(ret + 17, path, path_len);
    return 17 + path_len;
}

size_t transfer_end(uint8_t *ret, uint32_t seq, const uint8_t digest[SHA256_BYTES])
{
    ret[0] = TRANSFER_END;
    put_u32(ret + 1, seq);
    memcpy(ret + 5, digest, SHA256_BYTES);
    return 5 + SHA256_BYTES;
}

static size_t counts(uint8_t *ret, enum transfer_kind kind, uint64_t bytes, uint32_t files)
{
    ret[0] = (uint8_t)kind;
    put_u64(ret + 1, bytes);
    put_u32(ret + 9, files);
    return 13;
}

size_t transfer_finish(uint8_t *ret, uint64_t bytes, uint32_t files)
{
    return counts(ret, TRANSFER_FINISH, bytes, files);
}

size_t transfer_ok(uint8_t *ret, uint32_t seq)
{
    ret[0] = TRANSFER_OK;
    put_u32(ret + 1, seq);
    return 5;
}

size_t transfer_done(uint8_t *ret, uint64_t bytes, uint32_t files)
{
    return counts(ret, TRANSFER_DONE, bytes, files);
}

size_t transfer_failed(uint8_t *ret, size_t ret_len, uint8_t failed_class, const char *text)
{
    size_t len = strlen(text);
    if (len > ret_len - 2)
        len = ret_len - 2;
    ret[0] = TRANSFER_FAILED;
    ret[1] = failed_class;
    memcpy(ret + 2, text, len);
    return 2 + len;
}
