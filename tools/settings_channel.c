/* The channels of a node as text: the lists of its flags, the sections of its INI file. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "settings.h"
#include "settings_impl.h"
#include "suggest.h"

enum kind {
    KIND_COUNT16,
    KIND_COUNT32,
    KIND_SIZE32,
    KIND_SIZE64,
    KIND_TEXT,
    KIND_URGENT,
    KIND_OVERFLOW
};

struct property {
    const char *name;
    enum kind kind;
    size_t offset;
    uint64_t min, max;
    const char *expected;
};

#define SEND_BYTES_MIN (1u << 20) /* of a channel whose messages are small */
#define AT(member) offsetof(struct weir_channel, member)
#define NAME_EXPECTED "a text of up to 31 bytes, without control characters or a blank at an end"
#define QUEUE_EXPECTED "a size from 16K to 1G"
#define RATE_EXPECTED "a size from 0 to 1000000000000"
#define MSGS_EXPECTED "a number from 0 to 1000000000"

/* What a channel has, in the order in which it is printed. */
static const struct property properties[] = {
    {"id", KIND_COUNT16, AT(id), 0, WEIR_CHANNEL_ID_MAX, "a number from 0 to 65534"},
    {"name", KIND_TEXT, AT(name), 0, WEIR_CHANNEL_NAME_BYTES - 1, NAME_EXPECTED},
    {"weight", KIND_COUNT16, AT(weight), 1, 1000, "a number from 1 to 1000"},
    {"urgent", KIND_URGENT, AT(flags), 0, 0, "yes or no"},
    {"msg-max", KIND_SIZE32, AT(msg_bytes_max), 1, WEIR_MSG_BYTES_MAX, "a size from 1 to 256M"},
    {"send-max", KIND_SIZE32, AT(send_bytes_max), 16384, 1u << 30, QUEUE_EXPECTED},
    {"recv-max", KIND_SIZE32, AT(recv_bytes_max), 16384, 1u << 30, QUEUE_EXPECTED},
    {"overflow", KIND_OVERFLOW, AT(overflow), 0, 0, "refuse, drop or close"},
    {"rate-send", KIND_SIZE64, AT(rate_send_bytes), 0, 1000000000000, RATE_EXPECTED},
    {"rate-recv", KIND_SIZE64, AT(rate_recv_bytes), 0, 1000000000000, RATE_EXPECTED},
    {"rate-send-msgs", KIND_COUNT32, AT(rate_send_msgs), 0, 1000000000, MSGS_EXPECTED},
    {"rate-recv-msgs", KIND_COUNT32, AT(rate_recv_msgs), 0, 1000000000, MSGS_EXPECTED},
};

#define PROPERTY_CNT (sizeof(properties) / sizeof(properties[0]))

static const char *const overflows[] = {"refuse", "drop", "close"};

/* What the engine takes, less what a line of a file cannot say. */
static bool is_channel_name(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++)
        if (iscntrl((unsigned char)name[i]))
            return false;
    return len == 0 || (len < WEIR_CHANNEL_NAME_BYTES && name[0] != ' ' && name[len - 1] != ' ');
}

bool settings_begin_channel(struct settings *settings, const char *name,
                            char why[SETTINGS_WHY_BYTES])
{
    if (settings->channel_cnt == WEIR_CHANNELS_MAX) {
        snprintf(why, SETTINGS_WHY_BYTES, "more than %u channels", WEIR_CHANNELS_MAX);
        return false;
    }
    if (!is_channel_name(name)) {
        snprintf(why, SETTINGS_WHY_BYTES, "the name of a channel is " NAME_EXPECTED);
        return false;
    }
    struct weir_channel *channel = &settings->channels[settings->channel_cnt];
    weir_channel_init(channel, 0);
    channel->send_bytes_max = channel->recv_bytes_max = 0; /* they follow from msg-max */
    channel->name = settings_keep(settings, name);
    if (channel->name == NULL) {
        snprintf(why, SETTINGS_WHY_BYTES, "out of memory");
        return false;
    }
    settings->has_id[settings->channel_cnt++] = false;
    return true;
}

static bool overflow_of(const char *text, uint64_t *ret_overflow)
{
    for (uint64_t i = 0; i < sizeof(overflows) / sizeof(overflows[0]); i++) {
        if (strcmp(text, overflows[i]) == 0) {
            *ret_overflow = i;
            return true;
        }
    }
    return false;
}

const char *settings_channel_name(size_t idx)
{
    return idx < PROPERTY_CNT ? properties[idx].name : NULL;
}

static const char *name_at(void *ctx, size_t idx)
{
    (void)ctx;
    return settings_channel_name(idx);
}

static bool set_property(struct settings *settings, struct weir_channel *channel,
                         const struct property *property, const char *value)
{
    char *at = (char *)channel + property->offset;
    uint64_t number = 0;
    bool is_good = false, is_on = false;
    switch (property->kind) {
    case KIND_COUNT16:
    case KIND_COUNT32:
        is_good = cli_number(value, property->min, property->max, &number);
        break;
    case KIND_SIZE32:
    case KIND_SIZE64:
        is_good = cli_size(value, property->min, property->max, &number);
        break;
    case KIND_OVERFLOW:
        is_good = overflow_of(value, &number);
        break;
    case KIND_URGENT:
        is_good = cli_bool(value, &is_on);
        number = is_on ? channel->flags | WEIR_CHANNEL_URGENT
                       : channel->flags & ~(uint32_t)WEIR_CHANNEL_URGENT;
        break;
    case KIND_TEXT: {
        const char *copy = is_channel_name(value) ? settings_keep(settings, value) : NULL;
        if (copy != NULL)
            memcpy(at, &copy, sizeof(copy));
        return copy != NULL;
    }
    }
    if (!is_good)
        return false;
    uint32_t narrow = (uint32_t)number;
    uint16_t narrower = (uint16_t)number;
    if (property->kind == KIND_SIZE64)
        memcpy(at, &number, sizeof(number));
    else if (property->kind == KIND_COUNT16)
        memcpy(at, &narrower, sizeof(narrower));
    else
        memcpy(at, &narrow, sizeof(narrow));
    return true;
}

static bool set_channel(struct settings *settings, const char *name, const char *value,
                        char why[SETTINGS_WHY_BYTES])
{
    uint32_t channel_idx = settings->channel_cnt - 1;
    for (size_t i = 0; i < PROPERTY_CNT; i++) {
        if (strcmp(properties[i].name, name) != 0)
            continue;
        bool is_good =
            set_property(settings, &settings->channels[channel_idx], &properties[i], value);
        if (!is_good)
            snprintf(why, SETTINGS_WHY_BYTES, "%.20s '%.60s' is not %s", name, value,
                     properties[i].expected);
        settings->has_id[channel_idx] |= is_good && properties[i].offset == AT(id);
        return is_good;
    }
    char hint[SUGGEST_BYTES];
    snprintf(why, SETTINGS_WHY_BYTES, "a channel has no '%.40s'%s", name,
             suggest(hint, "", name, name_at, NULL));
    return false;
}

/* What is in force: bounds that were not set follow from the largest message, as weir/config.h has it. */
static struct weir_channel effective(const struct weir_channel *channel)
{
    struct weir_channel all = *channel, defaults;
    weir_channel_init(&defaults, channel->id);
    uint32_t twice = 2 * all.msg_bytes_max;
    if (all.send_bytes_max == 0)
        all.send_bytes_max = twice > SEND_BYTES_MIN ? twice : SEND_BYTES_MIN;
    if (all.recv_bytes_max == 0)
        all.recv_bytes_max = twice > defaults.recv_bytes_max ? twice : defaults.recv_bytes_max;
    return all;
}

void settings_channel_text(const struct weir_channel *channel, size_t idx,
                           char ret_value[SETTINGS_DEFAULT_BYTES])
{
    const struct property *property = &properties[idx];
    struct weir_channel all = effective(channel);
    const char *at = (const char *)&all + property->offset, *text = NULL;
    uint64_t number = 0;
    uint32_t narrow;
    uint16_t narrower;
    switch (property->kind) {
    case KIND_COUNT16:
        memcpy(&narrower, at, sizeof(narrower));
        number = narrower;
        break;
    case KIND_COUNT32:
    case KIND_SIZE32:
        memcpy(&narrow, at, sizeof(narrow));
        number = narrow;
        break;
    case KIND_SIZE64:
        memcpy(&number, at, sizeof(number));
        break;
    case KIND_TEXT:
        memcpy(&text, at, sizeof(text));
        break;
    case KIND_URGENT:
        text = all.flags & WEIR_CHANNEL_URGENT ? "yes" : "no";
        break;
    case KIND_OVERFLOW:
        text = overflows[all.overflow];
        break;
    }
    if (text != NULL)
        snprintf(ret_value, SETTINGS_DEFAULT_BYTES, "%s", text);
    else
        snprintf(ret_value, SETTINGS_DEFAULT_BYTES, "%llu", (unsigned long long)number);
}

bool settings_set_channel(struct settings *settings, const char *name, const char *value,
                          char why[SETTINGS_WHY_BYTES])
{
    return set_channel(settings, name, value, why) &&
           settings_note(settings, settings->channel_cnt, name, value, why);
}

bool settings_add_channel(struct settings *settings, const char *text, char why[SETTINGS_WHY_BYTES])
{
    char *copy = strdup(text);
    if (copy == NULL || !settings_begin_channel(settings, "", why)) {
        free(copy);
        return false;
    }
    bool is_good = true;
    char *rest = copy;
    for (char *part = strsep(&rest, ","); part != NULL && is_good; part = strsep(&rest, ",")) {
        char *value = part;
        const char *name = strsep(&value, "=");
        is_good = settings_set_channel(settings, name, value != NULL ? value : "yes", why);
    }
    free(copy);
    if (is_good && !settings->has_id[settings->channel_cnt - 1]) {
        snprintf(why, SETTINGS_WHY_BYTES, "the channel has no id");
        is_good = false;
    }
    return is_good;
}

bool settings_check(const struct settings *settings, char why[SETTINGS_WHY_BYTES])
{
    for (uint32_t i = 0; i < settings->channel_cnt; i++) {
        const struct weir_channel *channel = &settings->channels[i];
        if (!settings->has_id[i]) {
            snprintf(why, SETTINGS_WHY_BYTES, "channel '%s' has no id", channel->name);
            return false;
        }
        for (uint32_t k = 0; k < i; k++) {
            if (settings->channels[k].id == channel->id) {
                snprintf(why, SETTINGS_WHY_BYTES, "two channels have the id %u", channel->id);
                return false;
            }
        }
        bool is_send_low =
            channel->send_bytes_max != 0 && channel->send_bytes_max < channel->msg_bytes_max;
        bool is_recv_low =
            channel->recv_bytes_max != 0 && channel->recv_bytes_max < channel->msg_bytes_max;
        if (is_send_low || is_recv_low) {
            snprintf(why, SETTINGS_WHY_BYTES, "channel %u: %s %u is below msg-max %u", channel->id,
                     is_send_low ? "send-max" : "recv-max",
                     is_send_low ? channel->send_bytes_max : channel->recv_bytes_max,
                     channel->msg_bytes_max);
            return false;
        }
        if (settings->has_gossip && settings->gossip.channel == channel->id) {
            snprintf(why, SETTINGS_WHY_BYTES, "channel '%s' has the id %u, which is gossip-channel",
                     channel->name, channel->id);
            return false;
        }
    }
    return !settings->has_gossip || gossip_settings_check(&settings->gossip, why);
}
