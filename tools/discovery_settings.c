#include "discovery_settings.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"

#define WHY_BYTES 256u

static const struct {
    const char *name, *argument, *help;
} names[] = {
    {"seed", "ADDR", "find peers, beginning there; may be given often"},
    {"outbound", "N", "find and keep so many peers dialed, 0 to 256 (8)"},
    {"book", "FILE", "keep the addresses of nodes there"},
    {"capability", "NAME", "what this node can do for others; may be given often"},
    {"want", "NAME", "ask for peers with this capability"},
    {"crawler", NULL, "serve addresses and disconnect; visit those that are known"},
    {"replace-interval", "TIME",
     "so often look for the least useful outbound peer, to exchange it (never)"},
    {"quiet-time", "TIME",
     "exchange an outbound peer when nothing new has come for so long (never)"},
    {"dials-at-once", "N", "dials for them under way at once, 1 to 64 (8)"},
    {"ask-interval", "TIME", "between two questions to one peer, from 100ms (10s)"},
    {"feeler-interval", "TIME", "on average, between two test connections, from 100ms (2m)"},
    {"no-feelers", NULL, "no test connections"},
    {"save-interval", "TIME", "between two writes of a book that changed, from 100ms (1m)"},
    {"private", NULL, "ask peers not to tell others of this node"},
    {"unlisted", "WHOM", "tell nobody of this address or node id; may be given often"},
};

void discovery_settings_init(struct discovery_settings *ret_settings)
{
    memset(ret_settings, 0, sizeof(*ret_settings));
    weir_discovery_config_init(&ret_settings->config);
}

bool discovery_settings_name(size_t idx, const char **ret_name, const char **ret_argument,
                             const char **ret_help)
{
    if (idx >= sizeof(names) / sizeof(names[0]))
        return false;
    *ret_name = names[idx].name;
    *ret_argument = names[idx].argument;
    *ret_help = names[idx].help;
    return true;
}

static int add(char *list, size_t list_bytes, const char *value, char *why)
{
    size_t len = strlen(list);
    if (value[0] == '\0' || strchr(value, ',') != NULL || len + strlen(value) + 2 > list_bytes) {
        snprintf(why, WHY_BYTES, "'%.40s' is empty, has a comma, or is one too many", value);
        return 0;
    }
    snprintf(list + len, list_bytes - len, "%s%s", len > 0 ? "," : "", value);
    return 1;
}

static int set_text(char *text, size_t text_bytes, const char *value, char *why)
{
    if (value[0] == '\0' || strlen(value) >= text_bytes) {
        snprintf(why, WHY_BYTES, "'%.40s' is not a text of 1 to %zu bytes", value, text_bytes - 1);
        return 0;
    }
    snprintf(text, text_bytes, "%s", value);
    return 1;
}

static int set_flag(struct discovery_settings *settings, uint32_t flag, const char *value,
                    char *why)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0) {
        snprintf(why, WHY_BYTES, "'%.40s' is neither yes nor no", value);
        return 0;
    }
    settings->config.flags &= ~flag;
    if (value[0] == 'y')
        settings->config.flags |= flag;
    return 1;
}

static int set_outbound(struct discovery_settings *settings, const char *value, char *why)
{
    uint64_t number;
    if (!cli_number(value, 0, WEIR_DISCOVERY_OUTBOUND_MAX, &number)) {
        snprintf(why, WHY_BYTES, "'%.40s' is not a number from 0 to 256", value);
        return 0;
    }
    settings->config.outbound_cnt = number > 0 ? (uint32_t)number : UINT32_MAX;
    return 1;
}

static int set_time(weir_ns *ret_ns, const char *value, char *why)
{
    if (strcmp(value, "never") == 0) {
        *ret_ns = 0;
        return 1;
    }
    if (cli_duration(value, WEIR_NS_PER_S, 24 * 3600 * WEIR_NS_PER_S, ret_ns))
        return 1;
    snprintf(why, WHY_BYTES, "'%.40s' is neither a time from 1s to 24h with its unit nor never",
             value);
    return 0;
}

static int set_interval(weir_ns *ret_ns, const char *value, char *why)
{
    if (cli_duration(value, 100 * WEIR_NS_PER_MS, 24 * 3600 * WEIR_NS_PER_S, ret_ns))
        return 1;
    snprintf(why, WHY_BYTES, "'%.40s' is not a time from 100ms to 24h with its unit", value);
    return 0;
}

static int set_dials(struct discovery_settings *settings, const char *value, char *why)
{
    uint64_t number;
    if (!cli_number(value, 1, 64, &number)) {
        snprintf(why, WHY_BYTES, "'%.40s' is not a number from 1 to 64", value);
        return 0;
    }
    settings->config.dials_at_once = (uint32_t)number;
    return 1;
}

int discovery_settings_set(struct discovery_settings *settings, const char *name, const char *value,
                           char *why)
{
    int result = -1;
    if (strcmp(name, "seed") == 0)
        result = add(settings->seeds, sizeof(settings->seeds), value, why);
    else if (strcmp(name, "unlisted") == 0)
        result = add(settings->unlisted, sizeof(settings->unlisted), value, why);
    else if (strcmp(name, "capability") == 0)
        result = add(settings->capabilities, sizeof(settings->capabilities), value, why);
    else if (strcmp(name, "want") == 0)
        result = set_text(settings->want, sizeof(settings->want), value, why);
    else if (strcmp(name, "book") == 0)
        result = set_text(settings->book, sizeof(settings->book), value, why);
    else if (strcmp(name, "outbound") == 0)
        result = set_outbound(settings, value, why);
    else if (strcmp(name, "replace-interval") == 0)
        result = set_time(&settings->config.replace_interval_ns, value, why);
    else if (strcmp(name, "quiet-time") == 0)
        result = set_time(&settings->config.quiet_ns, value, why);
    else if (strcmp(name, "dials-at-once") == 0)
        result = set_dials(settings, value, why);
    else if (strcmp(name, "ask-interval") == 0)
        result = set_interval(&settings->config.ask_interval_ns, value, why);
    else if (strcmp(name, "feeler-interval") == 0)
        result = set_interval(&settings->config.feeler_interval_ns, value, why);
    else if (strcmp(name, "save-interval") == 0)
        result = set_interval(&settings->config.save_interval_ns, value, why);
    else if (strcmp(name, "no-feelers") == 0)
        result = set_flag(settings, WEIR_DISCOVERY_NO_FEELERS, value, why);
    else if (strcmp(name, "crawler") == 0)
        result = set_flag(settings, WEIR_DISCOVERY_CRAWLER, value, why);
    else if (strcmp(name, "private") == 0)
        result = set_flag(settings, WEIR_DISCOVERY_PRIVATE, value, why);
    settings->is_used |= result == 1;
    return result;
}

const struct weir_discovery_config *discovery_settings_config(struct discovery_settings *settings)
{
    settings->config.seeds = settings->seeds;
    settings->config.unlisted = settings->unlisted;
    settings->config.capabilities = settings->capabilities;
    settings->config.wanted = settings->want;
    settings->config.book_path = settings->book[0] != '\0' ? settings->book : NULL;
    return &settings->config;
}
