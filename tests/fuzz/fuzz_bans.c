/* The file of bans, and what other programs ask for in lines of its form: whatever the bytes are, what is taken is a sound
 * table, and that comes back from its own text.
 *
 * input: a byte, odd: the hash of each line is mended first, so that what stands behind it is reached; then the file. */
#include "engine/base/hash.h"
#include "engine/peers/bans.h"
#include "tests/fuzz/fuzz.h"

#define NOW UINT64_C(1763000000)
#define HASH_LEN 16u
#define BAN_MAX 64u

static struct weir_bans *make(void)
{
    struct weir_bans *bans;
    FUZZ_CHECK(weir_bans_create(&bans, BAN_MAX) == 0);
    return bans;
}

static size_t line_len(const char *text, size_t at, size_t len)
{
    const char *end = memchr(text + at, '\n', len - at);
    return end ? (size_t)(end - text) - at : len - at;
}

static void mend(char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t own = line_len(text, at, len);
        size_t body = own > HASH_LEN + 1 ? own - HASH_LEN - 1 : 0;
        if (body && text[at + body] == ' ') {
            /* The last line's is of all before it, that of others of their own. */
            bool is_end = own > 4 && memcmp(text + at, "end ", 4) == 0;
            uint64_t hash = weir_hash_ops()->xxh3(is_end ? text : text + at, is_end ? at : body, 0);
            for (uint32_t i = 0; i < HASH_LEN; i++)
                text[at + body + 1 + i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
        }
        at += own + 1;
    }
}

static bool is_same(const struct weir_ban_entry *a, const struct weir_ban_entry *b)
{
    return memcmp(&a->prefix, &b->prefix, sizeof(a->prefix)) == 0 &&
           memcmp(a->id, b->id, sizeof(a->id)) == 0 && a->since_s == b->since_s &&
           a->until_s == b->until_s && a->reason == b->reason && a->is_manual == b->is_manual;
}

/* A line that is taken is what it would be written as, but for the way its numbers are spelled. */
static void check_line(const char *text, size_t len)
{
    char line[WEIR_BAN_LINE_BYTES], again[WEIR_BAN_LINE_BYTES];
    struct weir_ban_entry entry, copy;
    if (len >= sizeof(line))
        return;
    memcpy(line, text, len);
    if (!weir_ban_line_parse(line, len, &entry))
        return;
    bool is_id = entry.prefix.family == WEIR_ADDR_NONE;
    FUZZ_CHECK(entry.reason < WEIR_REASON_CNT);
    FUZZ_CHECK(!is_id || entry.prefix.bits == 0);
    size_t again_len = weir_ban_line_format(&entry, again);
    FUZZ_CHECK(again_len <= sizeof(again) && again[again_len - 1] == '\n');
    FUZZ_CHECK(weir_ban_line_parse(again, again_len - 1, &copy) && is_same(&entry, &copy));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_begin(data, size);
    bool is_mended = fuzz_flag(&fuzz);
    size_t len;
    const uint8_t *in = fuzz_take(&fuzz, fuzz.left, &len);
    char *text = malloc(len + 1), *own = malloc((BAN_MAX + 2) * WEIR_BAN_LINE_BYTES);
    FUZZ_CHECK(text != NULL && own != NULL);
    if (len)
        memcpy(text, in, len);
    if (is_mended)
        mend(text, len);
    uint32_t line_cnt = 0;
    for (size_t at = 0; at < len; at += line_len(text, at, len) + 1, line_cnt++)
        check_line(text + at, line_len(text, at, len));
    struct weir_bans *bans = make(), *copy = make();
    struct weir_bans_read got, again;
    weir_bans_parse(bans, text, len, NOW, &got);
    FUZZ_CHECK(got.ban_cnt + got.expired_cnt + got.damaged_cnt + got.dropped_cnt <= line_cnt);
    FUZZ_CHECK(weir_bans_cnt(bans) <= got.ban_cnt && weir_bans_cnt(bans) <= BAN_MAX);
    FUZZ_CHECK((got.damaged_cnt == 0) == (got.damaged_line == 0) && got.damaged_line <= line_cnt);
    /* What holds is found, whatever else holds. */
    for (uint32_t i = 0; i < weir_bans_cnt(bans); i++) {
        const struct weir_ban_entry *entry = weir_bans_at(bans, i);
        struct weir_addr addr = {.family = entry->prefix.family};
        memcpy(addr.ip, entry->prefix.ip, sizeof(addr.ip));
        FUZZ_CHECK(entry->until_s > NOW);
        if (addr.family == WEIR_ADDR_NONE)
            FUZZ_CHECK(weir_bans_find_id(bans, entry->id, NOW) == entry);
        else if (addr.family == WEIR_ADDR_IPV4)
            FUZZ_CHECK(weir_bans_find(bans, &addr, NOW) != NULL);
    }
    weir_bans_parse(copy, own, weir_bans_format(bans, own), NOW, &again);
    FUZZ_CHECK(again.ban_cnt == weir_bans_cnt(bans) && again.damaged_cnt == 0 && !again.is_cut);
    FUZZ_CHECK(weir_bans_cnt(copy) == weir_bans_cnt(bans));
    for (uint32_t i = 0; i < weir_bans_cnt(bans); i++)
        FUZZ_CHECK(is_same(weir_bans_at(bans, i), weir_bans_at(copy, i)));
    weir_bans_free(bans);
    weir_bans_free(copy);
    free(text);
    free(own);
    return 0;
}
