/* settings.h: a node's configuration as text: from flags, and from an INI file.
 *
 * Every field of struct weir_config has a name here (dashes for underscores, without _ns), one range
 * and one line of help, and so have the properties of a channel. Flags and the INI file use the same
 * names and the same checks.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include <weir/weir.h>

#include "discovery_settings.h"
#include "gossip_settings.h"
#include "secure_options.h"

#define SETTINGS_LISTENS_MAX 16u
#define SETTINGS_PEERS_MAX 1024u
#define SETTINGS_WHY_BYTES 256u

struct setting_entry {
    const char *name, *value;
    const char *origin;
    uint32_t channel; /* 1 + its place; 0: a setting of the node */
};

struct settings {
    struct weir_config config;
    struct secure_options secure; /* put into config by settings_apply() */
    struct weir_channel channels[WEIR_CHANNELS_MAX];
    bool has_id[WEIR_CHANNELS_MAX]; /* an INI section may name its id late, or never */
    uint32_t channel_cnt;
    char *listens[SETTINGS_LISTENS_MAX];
    uint32_t listen_cnt;
    char *peers[SETTINGS_PEERS_MAX];
    uint32_t peer_cnt;
    bool has_gossip;
    struct weir_gossip_config
        gossip;    /* its names are set like those of config; of no effect without has_gossip */
    char *metrics; /* where they are served; NULL: nowhere */
    char *bans[SETTINGS_PEERS_MAX];
    uint32_t ban_cnt;
    char *welcomes[SETTINGS_PEERS_MAX];
    uint32_t welcome_cnt;
    struct discovery_settings discovery; /* its names are set like those of config */
    const char *origin; /* of what is set next, as a text; the caller's. NULL: none is kept */
    struct setting_entry *entries; /* everything that was set, in its order */
    size_t entry_cnt;
    char **texts; /* every string that the members above point to */
    size_t text_cnt;
};

void settings_init(struct settings *ret_settings);
void settings_free(struct settings *settings);

/* The names that settings_set() knows, for a table of options. False behind the last one. `argument`
 * is NULL for a switch. */
struct setting_name {
    const char *name, *argument, *help;
};
bool settings_name(size_t idx, struct setting_name *ret_name);

/* The default of the idx-th of them as text. False when it has none that could be set, such as "the system's". */
#define SETTINGS_DEFAULT_BYTES 128u
bool settings_default(size_t idx, char ret_value[SETTINGS_DEFAULT_BYTES]);

/* Whether a setting must not be shown; may be set more than once. */
bool settings_is_secret(const char *name);
bool settings_is_list(const char *name);

/* Sets one field. A switch takes "yes" or "no"; `listen`, `peer`, `ban` and `welcome` may be set often,
 * `metrics` is where they are served.
 * Returns false after writing to `why` what was expected, with the range. */
bool settings_set(struct settings *settings, const char *name, const char *value,
                  char why[SETTINGS_WHY_BYTES]);

/* Adds a channel from "id=3,name=bulk,weight=5,urgent,msg-max=1M"; id is required. */
bool settings_add_channel(struct settings *settings, const char *text,
                          char why[SETTINGS_WHY_BYTES]);

/* Adds an empty channel called `name`, and sets a property of the one added last (an INI section). */
bool settings_begin_channel(struct settings *settings, const char *name,
                            char why[SETTINGS_WHY_BYTES]);
bool settings_set_channel(struct settings *settings, const char *name, const char *value,
                          char why[SETTINGS_WHY_BYTES]);

/* The names of a channel's properties, as many as there are (NULL behind the last), and what one of a channel is in the end,
 * set or not, as text. */
const char *settings_channel_name(size_t idx);
void settings_channel_text(const struct weir_channel *channel, size_t idx,
                           char ret_value[SETTINGS_DEFAULT_BYTES]);

/* Checks what one value alone does not show: every channel has an id, and no two the same. */
bool settings_check(const struct settings *settings, char why[SETTINGS_WHY_BYTES]);

/* Completes `config`, which from then on points into `settings`. */
void settings_apply(struct settings *settings);

/* What help and messages say of the properties of a channel. */
#define SETTINGS_CHANNEL_HELP                                                                        \
    "id=0..65534, name=TEXT, weight=1..1000, urgent, msg-max=SIZE (up to 256M), send-max=SIZE,\n"    \
    "recv-max=SIZE, overflow=refuse|drop|close, rate-send=SIZE, rate-recv=SIZE, rate-send-msgs=N,\n" \
    "rate-recv-msgs=N (a second)"

#endif
