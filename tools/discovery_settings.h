/* discovery_settings.h: how a node finds its peers, as text: from flags, and from an INI file. */
#ifndef DISCOVERY_SETTINGS_H
#define DISCOVERY_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include <weir/weir.h>

#define DISCOVERY_LIST_BYTES 4096u

struct discovery_settings {
    bool is_used; /* one of the names was set */
    struct weir_discovery_config config;
    char seeds[DISCOVERY_LIST_BYTES], unlisted[DISCOVERY_LIST_BYTES];
    char book[1001], capabilities[64], want[16];
};

void discovery_settings_init(struct discovery_settings *ret_settings);

/* The names, for a table of options; false behind the last one. `argument` is NULL for a switch. */
bool discovery_settings_name(size_t idx, const char **ret_name, const char **ret_argument,
                             const char **ret_help);

/* Sets one. `seed`, `unlisted` and `capability` may be set often.
 * Returns 1; 0 after writing to `why` (256 bytes) what was expected; -1 for a name that is none of these. */
int discovery_settings_set(struct discovery_settings *settings, const char *name, const char *value,
                           char *why);

/* The configuration, whose strings are in `settings`. */
const struct weir_discovery_config *discovery_settings_config(struct discovery_settings *settings);

#endif
