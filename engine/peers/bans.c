#define _GNU_SOURCE
#include "engine/peers/bans.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "engine/mem/heap.h"
#include "weir/error.h"

#define HEAD "weir-bans 1"
#define HASH_LEN 16u

/* Sorted by family (node ids have none), length and bytes; `ranges` says where each length begins, so that an address is looked up
 * with one binary search per length that is in use. */
struct range {
    uint8_t family, bits;
    uint32_t begin, end;
};

#define RANGE_MAX (1u + 33u + 129u)

struct weir_bans {
    struct weir_ban_entry *entries;
    uint32_t cnt, max;
    struct range ranges[RANGE_MAX];
    uint32_t range_cnt;
};

int weir_bans_create(struct weir_bans **ret_bans, uint32_t ban_max)
{
    struct weir_bans *bans = weir_heap_alloc(NULL, sizeof(*bans));
    if (!bans)
        return WEIR_E_NOMEM;
    bans->max = ban_max;
    bans->entries = weir_heap_alloc_table(NULL, ban_max * sizeof(*bans->entries));
    if (!bans->entries) {
        weir_bans_free(bans);
        return WEIR_E_NOMEM;
    }
    *ret_bans = bans;
    return 0;
}

void weir_bans_free(struct weir_bans *bans)
{
    if (!bans)
        return;
    weir_heap_release_table(bans->entries, bans->max * sizeof(*bans->entries));
    weir_heap_release(bans);
}

/* ---- whom a ban is about ------------------------------------------------------------------- */

int weir_ban_whom_parse(struct weir_ban_entry *ret_entry, const char *text)
{
    struct weir_prefix prefix = {0};
    struct weir_id id = {{0}};
    bool is_id = strncmp(text, "weir1", 5) == 0 || strncmp(text, "WEIR1", 5) == 0;
    int error = is_id ? weir_id_parse(&id, text, SIZE_MAX, NULL) : weir_prefix_parse(&prefix, text);
    if (error)
        return error;
    ret_entry->prefix = prefix;
    memcpy(ret_entry->id, id.bytes, sizeof(ret_entry->id));
    return 0;
}

void weir_ban_whom_format(const struct weir_ban_entry *entry, char ret_text[WEIR_BAN_WHOM_BYTES])
{
    _Static_assert(WEIR_BAN_WHOM_BYTES >= WEIR_PREFIX_TEXT_BYTES, "either fits");
    _Static_assert(WEIR_BAN_WHOM_BYTES >= WEIR_ID_TEXT_BYTES, "either fits");
    struct weir_id id;
    memcpy(id.bytes, entry->id, sizeof(id.bytes));
    if (entry->prefix.family == WEIR_ADDR_NONE)
        (void)weir_id_text(&id, ret_text);
    else
        weir_prefix_format(&entry->prefix, ret_text);
}

static int compare(const struct weir_ban_entry *left, const struct weir_ban_entry *right)
{
    const struct weir_prefix *a = &left->prefix, *b = &right->prefix;
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    if (a->bits != b->bits)
        return a->bits < b->bits ? -1 : 1;
    if (a->family == WEIR_ADDR_NONE)
        return memcmp(left->id, right->id, sizeof(left->id));
    return memcmp(a->ip, b->ip, sizeof(a->ip));
}

/* ---- the table ----------------------------------------------------------------------------- */

/* The first entry of [begin, end) that is not below `whom`. */
static uint32_t lower_bound(const struct weir_bans *bans, uint32_t begin, uint32_t end,
                            const struct weir_ban_entry *whom)
{
    while (begin < end) {
        uint32_t middle = begin + (end - begin) / 2;
        if (compare(&bans->entries[middle], whom) < 0)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

static void find_ranges(struct weir_bans *bans)
{
    bans->range_cnt = 0;
    for (uint32_t i = 0; i < bans->cnt; i++) {
        const struct weir_prefix *prefix = &bans->entries[i].prefix;
        struct range *last = bans->range_cnt ? &bans->ranges[bans->range_cnt - 1] : NULL;
        if (last && last->family == prefix->family && last->bits == prefix->bits) {
            last->end = i + 1;
            continue;
        }
        WEIR_CHECK(bans->range_cnt < RANGE_MAX);
        bans->ranges[bans->range_cnt++] = (struct range){prefix->family, prefix->bits, i, i + 1};
    }
}

static void remove_at(struct weir_bans *bans, uint32_t at)
{
    memmove(&bans->entries[at], &bans->entries[at + 1],
            (bans->cnt - at - 1) * sizeof(*bans->entries));
    bans->cnt--;
}

uint32_t weir_bans_expire(struct weir_bans *bans, uint64_t now_s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < bans->cnt; i++) {
        if (bans->entries[i].until_s > now_s)
            bans->entries[kept++] = bans->entries[i];
    }
    uint32_t gone = bans->cnt - kept;
    bans->cnt = kept;
    find_ranges(bans);
    return gone;
}

/* Makes room for one more. */
static int make_room(struct weir_bans *bans, const struct weir_ban_entry *entry, uint64_t now_s)
{
    if (bans->cnt < bans->max || weir_bans_expire(bans, now_s))
        return 0;
    uint32_t first = UINT32_MAX;
    for (uint32_t i = 0; i < bans->cnt; i++) {
        const struct weir_ban_entry *other = &bans->entries[i];
        if (!other->is_manual &&
            (first == UINT32_MAX || other->until_s < bans->entries[first].until_s))
            first = i;
    }
    if (first == UINT32_MAX || (!entry->is_manual && bans->entries[first].until_s > entry->until_s))
        return WEIR_E_LIMIT;
    remove_at(bans, first);
    return 0;
}

/* The caller finds the ranges again. */
static int add(struct weir_bans *bans, const struct weir_ban_entry *entry, uint64_t now_s)
{
    uint32_t at = lower_bound(bans, 0, bans->cnt, entry);
    if (at < bans->cnt && compare(&bans->entries[at], entry) == 0) {
        struct weir_ban_entry *old = &bans->entries[at];
        bool is_weaker = !entry->is_manual && (old->is_manual || old->until_s > entry->until_s);
        if (!is_weaker || old->until_s <= now_s)
            *old = *entry;
        return 0;
    }
    int error = make_room(bans, entry, now_s);
    if (error)
        return error;
    at = lower_bound(bans, 0, bans->cnt, entry);
    memmove(&bans->entries[at + 1], &bans->entries[at], (bans->cnt - at) * sizeof(*bans->entries));
    bans->entries[at] = *entry;
    bans->cnt++;
    return 0;
}

int weir_bans_add(struct weir_bans *bans, const struct weir_ban_entry *entry, uint64_t now_s)
{
    int error = add(bans, entry, now_s);
    find_ranges(bans);
    return error;
}

bool weir_bans_remove(struct weir_bans *bans, const struct weir_ban_entry *whom)
{
    uint32_t at = lower_bound(bans, 0, bans->cnt, whom);
    if (at == bans->cnt || compare(&bans->entries[at], whom) != 0)
        return false;
    remove_at(bans, at);
    find_ranges(bans);
    return true;
}

const struct weir_ban_entry *weir_bans_find(const struct weir_bans *bans,
                                            const struct weir_addr *addr, uint64_t now_s)
{
    for (uint32_t i = 0; i < bans->range_cnt; i++) {
        const struct range *range = &bans->ranges[i];
        struct weir_ban_entry whom = {0};
        if (range->family == WEIR_ADDR_NONE)
            continue;
        if (!weir_addr_prefix(&whom.prefix, addr, range->bits, range->bits))
            return NULL;
        if (whom.prefix.family != range->family)
            continue;
        uint32_t at = lower_bound(bans, range->begin, range->end, &whom);
        if (at < range->end && compare(&bans->entries[at], &whom) == 0 &&
            bans->entries[at].until_s > now_s)
            return &bans->entries[at];
    }
    return NULL;
}

const struct weir_ban_entry *weir_bans_find_id(const struct weir_bans *bans,
                                               const uint8_t id[WEIR_ID_BYTES], uint64_t now_s)
{
    struct weir_ban_entry whom = {0};
    memcpy(whom.id, id, sizeof(whom.id));
    uint32_t at = lower_bound(bans, 0, bans->cnt, &whom);
    bool is_found = at < bans->cnt && compare(&bans->entries[at], &whom) == 0 &&
                    bans->entries[at].until_s > now_s;
    return is_found ? &bans->entries[at] : NULL;
}

uint32_t weir_bans_cnt(const struct weir_bans *bans)
{
    return bans->cnt;
}

const struct weir_ban_entry *weir_bans_at(const struct weir_bans *bans, uint32_t idx)
{
    return &bans->entries[idx];
}

/* ---- the text ------------------------------------------------------------------------------ */

static uint64_t hash_text(const char *text, size_t len)
{
    return weir_hash_ops()->xxh3(text, len, 0);
}

static void put_hash(char at[HASH_LEN], uint64_t hash)
{
    for (uint32_t i = 0; i < HASH_LEN; i++)
        at[i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
}

size_t weir_ban_line_format(const struct weir_ban_entry *entry, char at[WEIR_BAN_LINE_BYTES])
{
    char whom[WEIR_BAN_WHOM_BYTES], until[24] = "never";
    weir_ban_whom_format(entry, whom);
    if (entry->until_s != WEIR_BAN_FOREVER)
        snprintf(until, sizeof(until), "%" PRIu64, entry->until_s);
    int len =
        snprintf(at, WEIR_BAN_LINE_BYTES, "%s %" PRIu64 " %s %s %s", whom, entry->since_s, until,
                 entry->is_manual ? "manual" : "auto", weir_reason_name(entry->reason));
    WEIR_CHECK(len > 0 && (size_t)len + HASH_LEN + 3 < WEIR_BAN_LINE_BYTES);
    size_t all = (size_t)len;
    at[all] = ' ';
    put_hash(at + all + 1, hash_text(at, all));
    memcpy(at + all + 1 + HASH_LEN, "\n", 2);
    return all + 1 + HASH_LEN + 1;
}

size_t weir_bans_format(const struct weir_bans *bans, char *ret_text)
{
    size_t len = (size_t)snprintf(ret_text, WEIR_BAN_LINE_BYTES, "%s\n", HEAD);
    for (uint32_t i = 0; i < bans->cnt; i++)
        len += weir_ban_line_format(&bans->entries[i], ret_text + len);
    uint64_t hash = hash_text(ret_text, len);
    len += (size_t)snprintf(ret_text + len, WEIR_BAN_LINE_BYTES, "end %u %016" PRIx64 "\n",
                            bans->cnt, hash);
    return len;
}

static bool parse_u64(const char *text, uint64_t *ret_number)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    *ret_number = strtoull(text, &end, 10);
    return *end == '\0';
}

static bool parse_reason(const char *text, uint16_t *ret_reason)
{
    for (uint16_t i = 0; i < WEIR_REASON_CNT; i++) {
        if (strcmp(weir_reason_name(i), text) == 0) {
            *ret_reason = i;
            return strcmp(text, "unknown") != 0;
        }
    }
    return false;
}

/* A line without its newline, changed. Its hash has to match, so only a text that somebody made differs from
 * what weir_ban_line_format writes; it is checked all the same. */
bool weir_ban_line_parse(char *line, size_t len, struct weir_ban_entry *ret_entry)
{
    char hash[HASH_LEN];
    if (len < HASH_LEN + 2 || line[len - HASH_LEN - 1] != ' ' || memchr(line, '\0', len))
        return false;
    put_hash(hash, hash_text(line, len - HASH_LEN - 1));
    if (memcmp(hash, line + len - HASH_LEN, HASH_LEN) != 0)
        return false;
    line[len - HASH_LEN - 1] = '\0';
    char *parts[5], *rest = line;
    for (uint32_t i = 0; i < 5; i++) {
        parts[i] = strsep(&rest, " ");
        if (!parts[i])
            return false;
    }
    memset(ret_entry, 0, sizeof(*ret_entry));
    ret_entry->is_manual = strcmp(parts[3], "manual") == 0;
    ret_entry->until_s = WEIR_BAN_FOREVER;
    return !rest && weir_ban_whom_parse(ret_entry, parts[0]) == 0 &&
           parse_u64(parts[1], &ret_entry->since_s) &&
           (strcmp(parts[2], "never") == 0 || parse_u64(parts[2], &ret_entry->until_s)) &&
           (ret_entry->is_manual || strcmp(parts[3], "auto") == 0) &&
           parse_reason(parts[4], &ret_entry->reason);
}

static bool is_end(const char *line, size_t len, uint64_t hash, uint32_t line_cnt)
{
    char want[WEIR_BAN_LINE_BYTES];
    int want_len = snprintf(want, sizeof(want), "end %u %016" PRIx64, line_cnt, hash);
    return len == (size_t)want_len && memcmp(line, want, len) == 0;
}

void weir_bans_parse(struct weir_bans *bans, const char *text, size_t len, uint64_t now_s,
                     struct weir_bans_read *ret_read)
{
    *ret_read = (struct weir_bans_read){.is_cut = true};
    uint32_t number = 0;
    for (size_t at = 0; at < len && ret_read->is_cut;) {
        const char *begin = text + at;
        const char *end = memchr(begin, '\n', len - at);
        size_t line_len = end ? (size_t)(end - begin) : len - at;
        number++;
        char line[WEIR_BAN_LINE_BYTES];
        struct weir_ban_entry entry;
        bool is_good = end && line_len < sizeof(line);
        if (is_good)
            memcpy(line, begin, line_len);
        if (number == 1) {
            is_good = is_good && line_len == strlen(HEAD) && memcmp(line, HEAD, line_len) == 0;
        } else if (is_good && line_len >= 4 && memcmp(line, "end ", 4) == 0) {
            /* The sum of all before it is taken here alone: at each line, it took seconds of 65,536. */
            if (!is_end(line, line_len, hash_text(text, at), number - 2))
                break; /* it does not match: of what stands before */
            ret_read->is_cut = false;
        } else if (is_good && weir_ban_line_parse(line, line_len, &entry)) {
            if (entry.until_s <= now_s)
                ret_read->expired_cnt++;
            else if (add(bans, &entry, now_s) == 0)
                ret_read->ban_cnt++;
            else
                ret_read->dropped_cnt++;
        } else {
            is_good = false;
        }
        if (!is_good && ret_read->damaged_cnt++ == 0)
            ret_read->damaged_line = number;
        at += line_len + 1;
    }
    find_ranges(bans); /* of all that were added */
}
