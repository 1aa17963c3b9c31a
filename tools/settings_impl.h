/* settings_impl.h: what settings.c and settings_channel.c share. */
#ifndef SETTINGS_IMPL_H
#define SETTINGS_IMPL_H

#include "settings.h"

/* Copies a string that lives as long as the settings; NULL: memory is short. */
char *settings_keep(struct settings *settings, const char *text);

/* Notes what was set, for settings_print(); `channel` is 1 + its place, 0: the node. */
bool settings_note(struct settings *settings, uint32_t channel, const char *name, const char *value,
                   char why[SETTINGS_WHY_BYTES]);

#endif
