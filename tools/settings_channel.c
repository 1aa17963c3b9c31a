/* The channels of a node as text: the lists of its flags, the sections of its INI file. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "settings.h"
#include "settings_impl.h"
#include "suggest.h"

#define CHANNEL_NAME_EXPECTED \
    "a text of up to 31 bytes, without control characters or a blank at an end"

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
        snprintf(why, SETTINGS_WHY_BYTES, "the name of a channel is " CHANNEL_NAME_EXPECTED);
        return false;
    }
    struct weir_channel *channel = &settings->channels[settings->channel_cnt];
    weir_channel_init(channel, 0);
    channel->name = settings_keep(settings, name);
    if (channel->name == NULL) {
        snprintf(why, SETTINGS_WHY_BYTES, "out of memory");
        return false;
    }
    settings->has_id[settings->channel_cnt++] = false;
    return true;
}

static bool overflow_of(const char *text, uint32_t *ret_overflow)
{
    static const char *const names[] = {"refuse", "drop", "close"};
    for (uint32_t i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_overflow = i;
            return true;
        }
    }
    return false;
}

static const char *channel_name(void *ctx, size_t idx)
{
    static const char *const names[] = {
        "id",       "name",     "weight",    "urgent",    "msg-max",        "send-max",
        "recv-max", "overflow", "rate-send", "rate-recv", "rate-send-msgs", "rate-recv-msgs"};
    (void)ctx;
    return idx < sizeof(names) / sizeof(names[0]) ? names[idx] : NULL;
}

static bool set_channel(struct settings *settings, const char *name, const char *value,
                        char why[SETTINGS_WHY_BYTES])
{
    uint32_t idx = settings->channel_cnt - 1;
    struct weir_channel *channel = &settings->channels[idx];
    const char *expected;
    uint64_t number = 0;
    if (strcmp(name, "id") == 0) {
        expected = "a number from 0 to 65534";
        if (cli_number(value, 0, WEIR_CHANNEL_ID_MAX, &number)) {
            channel->id = (uint16_t)number;
            settings->has_id[idx] = true;
            return true;
        }
    } else if (strcmp(name, "weight") == 0) {
        expected = "a number from 1 to 1000";
        if (cli_number(value, 1, 1000, &number)) {
            channel->weight = (uint16_t)number;
            return true;
        }
    } else if (strcmp(name, "msg-max") == 0) {
        /* The other two bounds follow from this one unless they are given: zero is "the default". */
        expected = "a size from 1 to 256M";
        if (cli_size(value, 1, WEIR_MSG_BYTES_MAX, &number)) {
            struct weir_channel defaults;
            weir_channel_init(&defaults, 0);
            channel->msg_bytes_max = (uint32_t)number;
            if (channel->send_bytes_max == defaults.send_bytes_max)
                channel->send_bytes_max = 0;
            if (channel->recv_bytes_max == defaults.recv_bytes_max)
                channel->recv_bytes_max = 0;
            return true;
        }
    } else if (strcmp(name, "send-max") == 0 || strcmp(name, "recv-max") == 0) {
        expected = "a size from 16K to 1G";
        if (cli_size(value, 16384, 1u << 30, &number)) {
            *(name[0] == 's' ? &channel->send_bytes_max : &channel->recv_bytes_max) =
                (uint32_t)number;
            return true;
        }
    } else if (strcmp(name, "rate-send") == 0 || strcmp(name, "rate-recv") == 0) {
        expected = "a size from 0 to 1000000000000";
        if (cli_size(value, 0, 1000000000000, &number)) {
            *(name[5] == 's' ? &channel->rate_send_bytes : &channel->rate_recv_bytes) = number;
            return true;
        }
    } else if (strcmp(name, "rate-send-msgs") == 0 || strcmp(name, "rate-recv-msgs") == 0) {
        expected = "a number from 0 to 1000000000";
        if (cli_number(value, 0, 1000000000, &number)) {
            *(name[5] == 's' ? &channel->rate_send_msgs : &channel->rate_recv_msgs) =
                (uint32_t)number;
            return true;
        }
    } else if (strcmp(name, "overflow") == 0) {
        expected = "refuse, drop or close";
        if (overflow_of(value, &channel->overflow))
            return true;
    } else if (strcmp(name, "urgent") == 0) {
        expected = "yes or no";
        bool is_on;
        if (cli_bool(value, &is_on)) {
            channel->flags = is_on ? channel->flags | WEIR_CHANNEL_URGENT
                                   : channel->flags & ~(uint32_t)WEIR_CHANNEL_URGENT;
            return true;
        }
    } else if (strcmp(name, "name") == 0) {
        expected = CHANNEL_NAME_EXPECTED;
        const char *copy = is_channel_name(value) ? settings_keep(settings, value) : NULL;
        if (copy != NULL) {
            channel->name = copy;
            return true;
        }
    } else {
        char hint[SUGGEST_BYTES];
        snprintf(why, SETTINGS_WHY_BYTES, "a channel has no '%.40s'%s", name,
                 suggest(hint, "", name, channel_name, NULL));
        return false;
    }
    snprintf(why, SETTINGS_WHY_BYTES, "%.20s '%.60s' is not %s", name, value, expected);
    return false;
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
    }
    return true;
}
