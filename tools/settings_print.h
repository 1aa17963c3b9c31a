/* settings_print.h: the configuration that holds, as a file that reads back to it.
 *
 * Each line has where it comes from above it: a file and its line, a flag, a default. What was set is printed as it was
 * written; a default is only shown as a line where setting it is the same as not setting it.
 */
#ifndef SETTINGS_PRINT_H
#define SETTINGS_PRINT_H

#include <stdio.h>

#include "settings.h"

void settings_print(const struct settings *settings, FILE *out);

#endif
