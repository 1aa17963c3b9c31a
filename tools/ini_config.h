/* ini_config.h: reads settings from an INI file. The only door to libinih.
 *
 *     [node]
 *     network-id = testnet        ; any name of settings.h
 *     listen = 127.0.0.1:7000     ; listen and peer may come more than once
 *     peer = 192.0.2.7:7000
 *
 *     [channel bulk]
 *     id = 3
 *     weight = 5
 *     urgent = no
 */
#ifndef INI_CONFIG_H
#define INI_CONFIG_H

#include <stdio.h>

#include "settings.h"

/* Adds what the file says to `settings`.
 * Returns -1, or an exit code after a line that names file, line and key. */
int ini_config_read(const char *command, const char *path, struct settings *settings);

/* The same of a file that is open, and stays so; `path` is what messages call it. */
int ini_config_read_stream(const char *command, const char *path, FILE *file,
                           struct settings *settings);

#endif
