/* settings_impl.h: what settings.c and settings_channel.c share. */
#ifndef SETTINGS_IMPL_H
#define SETTINGS_IMPL_H

#include <string.h>

#include "settings.h"

/* Names are looked for one after the other, and most differ at once. */
static inline bool settings_is_name(const char *a, const char *b)
{
    return a[0] == b[0] && strcmp(a, b) == 0;
}

/* Copies a string that lives as long as the settings; NULL: memory is short. */
char *settings_keep(struct settings *settings, const char *text);

/* Notes what was set, for settings_print(); `channel` is 1 + its place, 0: the node. */
bool settings_note(struct settings *settings, uint32_t channel, const char *name, const char *value,
                   char why[SETTINGS_WHY_BYTES]);

#endif
