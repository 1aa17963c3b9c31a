/* gossip_settings.h: how a node gossips, as text: from flags, and from an INI file. Each name is that of a field of struct
 * weir_gossip_config with "gossip-" in front. */
#ifndef GOSSIP_SETTINGS_H
#define GOSSIP_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include <weir/weir.h>

#define GOSSIP_SETTINGS_CNT 18u

/* The names, for a table of options; false behind the last one. `argument` is NULL for a switch. */
bool gossip_settings_name(size_t idx, const char **ret_name, const char **ret_argument,
                          const char **ret_help);

/* The default of the idx-th as text (of up to 32 bytes). False: it follows from others. */
bool gossip_settings_default(size_t idx, char ret_value[32]);

/* Sets one. Returns 1; 0 after writing to `why` (256 bytes) what was expected; -1 for a name that is none of these. */
int gossip_settings_set(struct weir_gossip_config *cfg, const char *name, const char *value,
                        char *why);

/* Whether they go together; writes to `why` (256 bytes) which do not. */
bool gossip_settings_check(const struct weir_gossip_config *cfg, char *why);

#endif
