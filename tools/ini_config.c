#include "ini_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <ini.h>

#include "cli.h"

/* libinih as Debian builds it does not tell a handler the line's number, so the reader counts. */
struct reading {
    FILE *file;
    const char *path;
    struct settings *settings;
    int line;
    int bad_line; /* of the first error, 0 for none */
    bool was_cut; /* the last piece had no newline: a line longer than libinih takes */
    char section[64];
    char why[SETTINGS_WHY_BYTES + 128];
};

static void say_bad(struct reading *reading, const char *key, const char *why)
{
    if (reading->bad_line != 0)
        return;
    reading->bad_line = reading->line;
    if (key != NULL)
        snprintf(reading->why, sizeof(reading->why), "%.64s: %s", key, why);
    else
        snprintf(reading->why, sizeof(reading->why), "%s", why);
}

static char *read_line(char *text, int size, void *stream)
{
    struct reading *reading = stream;
    if (fgets(text, size, reading->file) == NULL)
        return NULL;
    size_t len = strlen(text);
    if (!reading->was_cut)
        reading->line++;
    reading->was_cut = len > 0 && text[len - 1] != '\n' && !feof(reading->file);
    if (reading->was_cut)
        say_bad(reading, NULL, "a line is longer than 198 bytes");
    return text;
}

static int on_value(void *ctx, const char *section, const char *name, const char *value)
{
    struct reading *reading = ctx;
    char why[SETTINGS_WHY_BYTES] = "";
    if (reading->bad_line != 0)
        return 0;
    if (strcmp(section, reading->section) != 0) {
        snprintf(reading->section, sizeof(reading->section), "%s", section);
        if (strncmp(section, "channel ", 8) == 0 &&
            !settings_begin_channel(reading->settings, section + 8, why)) {
            say_bad(reading, section, why);
            return 0;
        }
    }
    char origin[160];
    snprintf(origin, sizeof(origin), "%.120s:%d", reading->path, reading->line);
    reading->settings->origin = origin;
    bool is_good;
    if (strcmp(section, "node") == 0 || section[0] == '\0') {
        is_good = settings_set(reading->settings, name, value, why);
    } else if (strncmp(section, "channel ", 8) == 0) {
        is_good = settings_set_channel(reading->settings, name, value, why);
    } else {
        snprintf(why, sizeof(why), "in a section that is neither [node] nor [channel NAME]");
        is_good = false;
    }
    reading->settings->origin = NULL;
    if (!is_good)
        say_bad(reading, name, why);
    return is_good;
}

int ini_config_read_stream(const char *command, const char *path, FILE *file,
                           struct settings *settings)
{
    struct reading reading = {.settings = settings, .path = path, .file = file};
    int first_bad = ini_parse_stream(read_line, &reading, on_value, &reading);
    int read_error = ferror(file) ? errno : 0;
    if (read_error != 0)
        return cli_fail(CLI_USAGE, command, NULL, "%s: %s", path, strerror(read_error));
    /* A line that libinih itself cannot read may come before the first bad value. */
    if (first_bad > 0 && (reading.bad_line == 0 || first_bad < reading.bad_line))
        return cli_fail(CLI_USAGE, command, NULL,
                        "%s:%d: neither a [section] nor 'name = value' (WEIR_E_CONFIG)", path,
                        first_bad);
    if (reading.bad_line != 0)
        return cli_fail(CLI_USAGE, command, NULL, "%s:%d: %s (WEIR_E_CONFIG)", path,
                        reading.bad_line, reading.why);
    if (first_bad < 0)
        return cli_fail_weir(command, WEIR_E_NOMEM, "%s", path);
    return -1;
}

int ini_config_read(const char *command, const char *path, struct settings *settings)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return cli_fail(CLI_USAGE, command, NULL, "%s: %s", path, strerror(errno));
    int code = ini_config_read_stream(command, path, file, settings);
    fclose(file);
    return code;
}
