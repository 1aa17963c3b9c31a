#include "settings_print.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "settings_impl.h"

#define LINE_BYTES_MAX 198u /* what the reader takes */

/* Whether a line of the file can say it: the reader strips blanks and what stands behind " ;". */
static bool can_be_written(const char *name, const char *value)
{
    size_t len = strlen(value);
    if (strlen(name) + 1 + len > LINE_BYTES_MAX || strstr(value, " ;") != NULL)
        return false;
    for (size_t i = 0; i < len; i++)
        if (iscntrl((unsigned char)value[i]))
            return false;
    return len == 0 || (value[0] != ' ' && value[len - 1] != ' ');
}

static void print_line(FILE *out, const char *name, const char *value)
{
    /* Behind a blank a semicolon would begin a comment. */
    bool is_tight = value[0] == ';' || strlen(name) + 3 + strlen(value) > LINE_BYTES_MAX;
    fputs(name, out);
    fputs(is_tight ? "=" : " = ", out);
    fputs(value, out);
    fputc('\n', out);
}

static void print_entry(FILE *out, const struct setting_entry *entry)
{
    fprintf(out, "# %s\n", entry->origin);
    if (settings_is_secret(entry->name))
        fprintf(out, "# %s is set, and not shown\n", entry->name);
    else if (can_be_written(entry->name, entry->value))
        print_line(out, entry->name, entry->value);
    else
        fprintf(out, "# %s has a value that no file can have\n", entry->name);
}

/* The last place in the list that sets what entry `idx` sets, unless it is a list itself. */
static bool is_overruled(const struct settings *settings, size_t idx)
{
    const struct setting_entry *entry = &settings->entries[idx];
    if (entry->channel == 0 && settings_is_list(entry->name))
        return false;
    for (size_t i = idx + 1; i < settings->entry_cnt; i++) {
        const struct setting_entry *later = &settings->entries[i];
        if (later->channel == entry->channel && settings_is_name(later->name, entry->name))
            return true;
    }
    return false;
}

/* `channel` as in struct setting_entry. */
static bool is_set(const struct settings *settings, uint32_t channel, const char *name)
{
    for (size_t i = 0; i < settings->entry_cnt; i++)
        if (settings->entries[i].channel == channel &&
            settings_is_name(settings->entries[i].name, name))
            return true;
    return false;
}

static void print_set(const struct settings *settings, uint32_t channel, FILE *out)
{
    for (size_t i = 0; i < settings->entry_cnt; i++)
        if (settings->entries[i].channel == channel && !is_overruled(settings, i))
            print_entry(out, &settings->entries[i]);
}

static void print_channel(const struct settings *settings, uint32_t channel, FILE *out)
{
    fprintf(out, "\n[channel %u]\n", channel);
    print_set(settings, channel, out);
    fprintf(out, "# defaults\n");
    const char *name;
    for (size_t i = 0; (name = settings_channel_name(i)) != NULL; i++) {
        char value[SETTINGS_DEFAULT_BYTES];
        if (is_set(settings, channel, name))
            continue;
        settings_channel_text(&settings->channels[channel - 1], i, value);
        if (can_be_written(name, value)) /* the name too: the section's own is a number here */
            print_line(out, name, value);
        else
            fprintf(out, "# %s has a value that no file can have\n", name);
    }
}

void settings_print(const struct settings *settings, FILE *out)
{
    fprintf(out, "# weir node: every setting, and where it comes from\n[node]\n");
    print_set(settings, 0, out);
    fprintf(out, "# defaults\n");
    struct setting_name name;
    for (size_t i = 0; settings_name(i, &name); i++) {
        char value[SETTINGS_DEFAULT_BYTES];
        if (is_set(settings, 0, name.name))
            continue;
        if (settings_default(i, value) && can_be_written(name.name, value))
            print_line(out, name.name, value);
        else
            fprintf(out, "# %s is not set: %s\n", name.name, name.help);
    }
    const char *argument;
    for (size_t i = 0; gossip_settings_name(i, &name.name, &argument, &name.help); i++) {
        char value[32];
        if (is_set(settings, 0, name.name))
            continue;
        if (gossip_settings_default(i, value))
            print_line(out, name.name, value);
        else
            fprintf(out, "# %s is not set: %s\n", name.name, name.help);
    }
    /* As comments: a file that sets one of them has a node that finds peers. */
    for (size_t i = 0; discovery_settings_name(i, &name.name, &argument, &name.help); i++)
        if (!is_set(settings, 0, name.name))
            fprintf(out, "# %s is not set: %s\n", name.name, name.help);
    for (uint32_t channel = 1; channel <= settings->channel_cnt; channel++)
        print_channel(settings, channel, out);
}
