/* Messages of the requests' channel: what is read is written again to the same bytes, nothing is read beyond
 * the end, and what a second reading, written from docs/requests.md, makes of them is the same. */
#include "engine/node/request_wire.h"
#include "tests/fuzz/fuzz.h"

static uint64_t number(const uint8_t *at, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

/* By the page: 1 good, 0 to be skipped, -1 bad. */
static int verdict(const uint8_t *data, size_t size)
{
    static const uint8_t heads[] = {0, 16, 16, 12, 16, 8};
    if (size < 8)
        return -1;
    if (data[0] == 0 || data[0] > 5)
        return data[0] >= 128 ? 0 : -1;
    size_t head = heads[data[0]];
    if (size < head || data[1] > (data[0] == 2) || (data[0] != 1 && number(data + 2, 2)))
        return -1;
    if (data[0] == 2 && ((size == head && data[1] == 0) ||
                         number(data + 8, 8) + (size - head) < number(data + 8, 8)))
        return -1;
    if (data[0] == 3 && (size > head + 255 || number(data + 8, 4) - 1 >= 0x7FFFFFFF))
        return -1;
    return data[0] >= 4 && size != head ? -1 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + !size); /* exactly as large: a sanitizer sees a byte too many */
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data, size);
    struct weir_request_msg msg;
    int parsed = weir_request_parse(&msg, copy, (uint32_t)size);
    FUZZ_CHECK(parsed == verdict(data, size));
    if (parsed == WEIR_REQUEST_IS_KNOWN) {
        uint8_t head[WEIR_REQUEST_BYTES_MAX];
        uint32_t len = weir_request_write(head, &msg);
        FUZZ_CHECK(len + msg.len == size && msg.data == copy + len);
        FUZZ_CHECK(memcmp(head, copy, len) == 0);
    }
    free(copy);
    return 0;
}
