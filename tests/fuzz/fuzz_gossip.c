/* Messages of gossip's channel: nothing is read beyond the end, what is read says what a second reading, written
 * from docs/gossip.md, says; and behind the first byte a filter of seen ids, against a plain list. */
#include "engine/node/gossip_seen.h"
#include "engine/node/gossip_wire.h"
#include "tests/fuzz/fuzz.h"

/* By the page: 1 good, 0 to be skipped, -1 bad. */
static int verdict(const uint8_t *data, size_t size)
{
    if (size < 4)
        return -1;
    if (data[0] == 1)
        return size > 8 && data[2] == 0 && data[3] == 0 ? 1 : -1;
    if (data[0] < 2 || data[0] > 4)
        return data[0] >= 128 ? 0 : -1;
    size_t cnt = data[2] + 256u * data[3];
    return data[1] == 0 && cnt >= 1 && cnt <= 256 && size == 4 + cnt * (data[0] == 2 ? 20 : 16)
               ? 1
               : -1;
}

static void read_one(const uint8_t *data, size_t size)
{
    struct weir_gossip_parsed msg;
    int parsed = weir_gossip_parse(&msg, data, (uint32_t)size);
    FUZZ_CHECK(parsed == verdict(data, size));
    if (parsed != WEIR_GOSSIP_IS_KNOWN)
        return;
    if (msg.kind == WEIR_GOSSIP_PUSH) {
        uint8_t head[8];
        weir_gossip_push_head(head, msg.hops, msg.age_us);
        FUZZ_CHECK(memcmp(head, data, 8) == 0 && msg.data == data + 8 && msg.len == size - 8);
        return;
    }
    for (uint32_t i = 0; i < msg.cnt; i++) {
        uint8_t one[24];
        uint32_t len, each = msg.kind == WEIR_GOSSIP_HAVE ? 20 : 16;
        const uint8_t *id = weir_gossip_entry(&msg, i, &len);
        FUZZ_CHECK(weir_gossip_list_of_one(one, msg.kind, id, len) == 4 + each);
        FUZZ_CHECK(memcmp(one + 4, data + 4 + i * each, each) == 0);
    }
}

#define SEEN_MAX 8u

/* Each byte is an id; time passes by its upper bits. So many fill and empty its two generations often enough. */
#define IDS_MAX 512u
static void filter(const uint8_t *data, size_t size)
{
    size = size < IDS_MAX ? size : IDS_MAX;
    struct weir_seen *seen;
    uint64_t now = 1, last[256] = {0}, fresh = 0;
    FUZZ_CHECK(weir_seen_create(&seen, SEEN_MAX, 50, 1) == 0);
    for (size_t i = 0; i < size; i++) {
        uint8_t id[16] = {[15] = data[i]};
        bool has = weir_seen_has(seen, id);
        FUZZ_CHECK(weir_seen_add(seen, id, now) != has);
        /* Known at least for as many others, and at most for twice as many. */
        FUZZ_CHECK(has ? last[data[i]] != 0 && fresh - last[data[i]] < 2 * SEEN_MAX
                       : last[data[i]] == 0 || fresh - last[data[i]] >= SEEN_MAX || now > 50);
        fresh += !has;
        if (!has)
            last[data[i]] = fresh;
        now += data[i] >> 6;
    }
    weir_seen_free(seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + !size); /* exactly as large: a sanitizer sees a byte too many */
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data, size);
    read_one(copy, size);
    filter(copy, size);
    free(copy);
    return 0;
}
