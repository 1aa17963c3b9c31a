#include "gossip_settings.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

#define WHY_BYTES 256u
#define LIST_BYTES_MAX \
    5124u /* the longest message of the protocol that is no push (docs/gossip.md) */

enum kind {
    KIND_COUNT16,
    KIND_COUNT,
    KIND_SIZE,
    KIND_SIZE_ALL, /* a size, or "all": UINT32_MAX */
    KIND_SIZE64,
    KIND_TIME,
    KIND_FLAG /* max is the flag */
};

#define AT(member) offsetof(struct weir_gossip_config, member)
#define HOUR (3600 * WEIR_NS_PER_S)
#define MIB (UINT64_C(1) << 20)

static const struct field {
    const char *name;
    enum kind kind;
    size_t offset;
    uint64_t min, max;
    const char *help;
} fields[] = {
    {"gossip-fanout", KIND_COUNT, AT(fanout), 1, WEIR_GOSSIP_FANOUT_MAX,
     "peers that a message is pushed to (6)"},
    {"gossip-told-max", KIND_COUNT, AT(told_max), 1, WEIR_GOSSIP_FANOUT_MAX,
     "further ones, at most, that are told of it (32)"},
    {"gossip-push-bytes-max", KIND_SIZE_ALL, AT(push_bytes_max), 1, 64 * MIB,
     "a longer message is told of, and sent to who asks; all: each is pushed (4K)"},
    {"gossip-msg-bytes-max", KIND_SIZE, AT(msg_bytes_max), 1, 64 * MIB, "longest message (1M)"},
    {"gossip-hop-max", KIND_COUNT, AT(hop_max), 1, 255,
     "a message that has made so many hops is not handed on (32)"},
    {"gossip-age-max", KIND_TIME, AT(age_max_ns), WEIR_NS_PER_MS, HOUR,
     "an older message is dropped; none is kept for longer to be asked for (60s)"},
    {"gossip-seen-max", KIND_COUNT, AT(seen_max), 1, 1u << 24,
     "ids in each of the two generations of the filter (65536)"},
    {"gossip-store-max", KIND_COUNT, AT(store_max), 1, 1u << 24,
     "messages kept to be asked for (16384)"},
    {"gossip-store-bytes-max", KIND_SIZE64, AT(store_bytes_max), 1, UINT64_C(1) << 40,
     "and their bytes (64M)"},
    {"gossip-wants-max", KIND_COUNT, AT(wants_max), 1, 1u << 20,
     "messages told of and awaited at once (4096)"},
    {"gossip-want-delay", KIND_TIME, AT(want_delay_ns), WEIR_NS_PER_US, HOUR,
     "what was told of may come by itself for so long (100ms)"},
    {"gossip-want-timeout", KIND_TIME, AT(want_timeout_ns), WEIR_NS_PER_MS, HOUR,
     "without an answer another one is asked (2s)"},
    {"gossip-send-bytes-max", KIND_SIZE, AT(send_bytes_max), 8192, UINT64_C(1) << 30,
     "queue to each peer (follows from gossip-msg-bytes-max)"},
    {"gossip-recv-bytes-max", KIND_SIZE, AT(recv_bytes_max), 16384, UINT64_C(1) << 30,
     "bytes of each peer received and not yet read (likewise)"},
    {"gossip-channel", KIND_COUNT16, AT(channel), 1, WEIR_CHANNEL_ID_MAX,
     "its channel's id, the same on all nodes (65281)"},
    {"gossip-weight", KIND_COUNT16, AT(weight), 1, 1000, "its channel's weight (1)"},
    {"gossip-push-only", KIND_FLAG, AT(flags), 0, WEIR_GOSSIP_PUSH_ONLY,
     "tell nobody: who is not pushed to does not hear of it from this node"},
    {"gossip-no-catch-up", KIND_FLAG, AT(flags), 0, WEIR_GOSSIP_NO_CATCH_UP,
     "do not tell who connects of what went before"},
};

_Static_assert(sizeof(fields) / sizeof(fields[0]) == GOSSIP_SETTINGS_CNT, "gossip_settings.h");

bool gossip_settings_name(size_t idx, const char **ret_name, const char **ret_argument,
                          const char **ret_help)
{
    static const char *const arguments[] = {
        [KIND_COUNT16] = "N",     [KIND_COUNT] = "N",     [KIND_SIZE] = "SIZE",
        [KIND_SIZE_ALL] = "SIZE", [KIND_SIZE64] = "SIZE", [KIND_TIME] = "TIME",
        [KIND_FLAG] = NULL};
    if (idx >= GOSSIP_SETTINGS_CNT)
        return false;
    *ret_name = fields[idx].name;
    *ret_argument = arguments[fields[idx].kind];
    *ret_help = fields[idx].help;
    return true;
}

static uint64_t number_of(const struct weir_gossip_config *cfg, const struct field *field)
{
    const char *at = (const char *)cfg + field->offset;
    uint64_t wide;
    uint32_t number;
    uint16_t narrow;
    switch (field->kind) {
    case KIND_COUNT16:
        memcpy(&narrow, at, sizeof(narrow));
        return narrow;
    case KIND_SIZE64:
    case KIND_TIME:
        memcpy(&wide, at, sizeof(wide));
        return wide;
    case KIND_COUNT:
    case KIND_SIZE:
    case KIND_SIZE_ALL:
    case KIND_FLAG:
        break;
    }
    memcpy(&number, at, sizeof(number));
    return number;
}

static void time_text(char ret_text[32], uint64_t ns)
{
    if (ns % HOUR == 0) {
        snprintf(ret_text, 32, "%" PRIu64 "h", ns / HOUR);
        return;
    }
    if (ns % WEIR_NS_PER_S == 0)
        snprintf(ret_text, 32, "%" PRIu64 "s", ns / WEIR_NS_PER_S);
    else if (ns % WEIR_NS_PER_MS == 0)
        snprintf(ret_text, 32, "%" PRIu64 "ms", ns / WEIR_NS_PER_MS);
    else
        snprintf(ret_text, 32, "%" PRIu64 "us", ns / WEIR_NS_PER_US);
}

bool gossip_settings_default(size_t idx, char ret_value[32])
{
    const struct field *field = &fields[idx];
    struct weir_gossip_config cfg;
    weir_gossip_config_init(&cfg);
    uint64_t number = number_of(&cfg, field);
    if (field->kind == KIND_FLAG) {
        snprintf(ret_value, 32, "%s", number & field->max ? "yes" : "no");
        return true;
    }
    if (number < field->min || number > field->max)
        return false;
    if (field->kind == KIND_TIME)
        time_text(ret_value, number);
    else
        snprintf(ret_value, 32, "%" PRIu64, number);
    return true;
}

static bool read_number(const struct weir_gossip_config *cfg, const struct field *field,
                        const char *value, uint64_t *ret_number)
{
    bool is_on;
    switch (field->kind) {
    case KIND_COUNT16:
    case KIND_COUNT:
        return cli_number(value, field->min, field->max, ret_number);
    case KIND_SIZE_ALL:
        if (strcmp(value, "all") == 0) {
            *ret_number = UINT32_MAX;
            return true;
        }
        return cli_size(value, field->min, field->max, ret_number);
    case KIND_SIZE:
    case KIND_SIZE64:
        return cli_size(value, field->min, field->max, ret_number);
    case KIND_TIME:
        return cli_duration(value, field->min, field->max, ret_number);
    case KIND_FLAG:
        if (!cli_bool(value, &is_on))
            return false;
        *ret_number = is_on ? cfg->flags | field->max : cfg->flags & ~field->max;
        return true;
    }
    return false;
}

static void say_range(const struct field *field, const char *value, char *why)
{
    char from[32], to[32];
    switch (field->kind) {
    case KIND_COUNT16:
    case KIND_COUNT:
        snprintf(why, WHY_BYTES, "'%.40s' is not a number from %" PRIu64 " to %" PRIu64, value,
                 field->min, field->max);
        break;
    case KIND_SIZE_ALL:
        snprintf(why, WHY_BYTES,
                 "'%.40s' is neither a size from %" PRIu64 " to %" PRIu64 " bytes nor all", value,
                 field->min, field->max);
        break;
    case KIND_SIZE:
    case KIND_SIZE64:
        snprintf(why, WHY_BYTES,
                 "'%.40s' is not a size from %" PRIu64 " to %" PRIu64
                 " bytes (as 65536, 64K or 1M)",
                 value, field->min, field->max);
        break;
    case KIND_TIME:
        time_text(from, field->min);
        time_text(to, field->max);
        snprintf(why, WHY_BYTES,
                 "'%.40s' is not a time from %s to %s with its unit (as 500ms, 10s or 2m)", value,
                 from, to);
        break;
    case KIND_FLAG:
        snprintf(why, WHY_BYTES, "'%.40s' is neither yes nor no", value);
        break;
    }
}

int gossip_settings_set(struct weir_gossip_config *cfg, const char *name, const char *value,
                        char *why)
{
    size_t idx = 0;
    while (idx < GOSSIP_SETTINGS_CNT && strcmp(fields[idx].name, name) != 0)
        idx++;
    if (idx == GOSSIP_SETTINGS_CNT)
        return -1;
    const struct field *field = &fields[idx];
    char *at = (char *)cfg + field->offset;
    uint64_t number = 0;
    if (!read_number(cfg, field, value, &number)) {
        say_range(field, value, why);
        return 0;
    }
    if (field->kind == KIND_SIZE64 || field->kind == KIND_TIME) {
        memcpy(at, &number, sizeof(number));
    } else if (field->kind == KIND_COUNT16) {
        uint16_t narrow = (uint16_t)number;
        memcpy(at, &narrow, sizeof(narrow));
    } else {
        uint32_t narrow = (uint32_t)number;
        memcpy(at, &narrow, sizeof(narrow));
    }
    return 1;
}

bool gossip_settings_check(const struct weir_gossip_config *cfg, char *why)
{
    uint32_t least = cfg->msg_bytes_max + WEIR_GOSSIP_HEAD_BYTES;
    if (least < LIST_BYTES_MAX)
        least = LIST_BYTES_MAX;
    bool is_send_low = cfg->send_bytes_max != 0 && cfg->send_bytes_max < least;
    bool is_recv_low = cfg->recv_bytes_max != 0 && cfg->recv_bytes_max < least;
    if (is_send_low || is_recv_low) {
        snprintf(why, WHY_BYTES,
                 "gossip-%s-bytes-max %u is below %u, which gossip-msg-bytes-max asks for",
                 is_send_low ? "send" : "recv",
                 is_send_low ? cfg->send_bytes_max : cfg->recv_bytes_max, least);
        return false;
    }
    if (cfg->want_delay_ns > cfg->age_max_ns) {
        char delay[32], age[32];
        time_text(delay, cfg->want_delay_ns);
        time_text(age, cfg->age_max_ns);
        snprintf(why, WHY_BYTES, "gossip-want-delay %s is above gossip-age-max %s", delay, age);
        return false;
    }
    return true;
}
