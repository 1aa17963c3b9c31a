/* weir stat: what a node counted, from its statistics file, once. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <weir/weir.h>

#include "cli.h"
#include "commands.h"
#include "json_out.h"
#include "stats_read.h"

struct stat_args {
    const char *path;
    bool is_json, is_all;
};

enum { KEY_JSON = 1, KEY_ALL };

static int set(void *ctx, int key, const char *value)
{
    (void)value;
    struct stat_args *args = ctx;
    *(key == KEY_JSON ? &args->is_json : &args->is_all) = true;
    return -1;
}

static int operand(void *ctx, const char *value)
{
    struct stat_args *args = ctx;
    if (args->path != NULL)
        return cli_fail(CLI_USAGE, "stat", NULL, "more than one file");
    args->path = value;
    return -1;
}

static const struct cli_option options[] = {
    {"json", NULL, "print JSON, with every series", KEY_JSON},
    {"all", NULL, "print what is zero too", KEY_ALL},
};

static const struct cli_command command = {
    .name = "stat",
    .usage = "[--json] [--all] FILE",
    .intro =
        "Prints the series of a node from the file that `weir node --stats-path FILE` writes. The\n"
        "node does not notice.",
    .notes =
        "Exit code 0 when a node is writing the file, 1 when it has stopped, is gone or stands\n"
        "still (what it counted last is printed all the same), 2 when it is no such file.",
    .options = options,
    .option_cnt = sizeof(options) / sizeof(options[0]),
    .set = set,
    .operand = operand,
};

static const char *value_text(char text[40], const struct weir_stats_record *record)
{
    if (record->unit == WEIR_STATS_NS)
        snprintf(text, 40, "%.6f", (double)record->value / 1e9);
    else
        cli_count_text(text, record->value);
    return text;
}

static void print_table(const struct stats_view *view, bool is_all)
{
    const struct weir_stats_head *head = &view->head;
    printf("weir %s, network %s, process %u: %s, written %.1f s ago\n", head->weir_version,
           head->network_id, head->pid, stats_state_name(view->state), view->age_s);
    for (uint32_t i = 0; i < head->record_cnt; i++) {
        const struct weir_stats_record *record = &view->records[i];
        char value[40], name[sizeof(record->name) + sizeof(record->labels) + 2];
        if (record->value == 0 && !is_all)
            continue;
        snprintf(name, sizeof(name), record->labels[0] != '\0' ? "%s{%s}" : "%s%s", record->name,
                 record->labels);
        printf("%-72s %20s\n", name, value_text(value, record));
    }
}

/* The labels of a record, in their order. */
static struct json_out *json_labels(const struct weir_stats_record *record)
{
    static const char *const known[] = {"version", "network", "shard", "le",
                                        "channel", "name",    "reason"};
    struct json_out *labels = json_out_object();
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        char value[sizeof(record->labels)];
        if (stats_label(record, known[i], value, sizeof(value)))
            json_out_text(labels, known[i], value);
    }
    return labels;
}

static struct json_out *json_of(const struct stats_view *view)
{
    const struct weir_stats_head *head = &view->head;
    struct json_out *top = json_out_object(), *list = json_out_array();
    json_out_text(top, "state", stats_state_name(view->state));
    json_out_text(top, "version", head->weir_version);
    json_out_text(top, "network", head->network_id);
    json_out_count(top, "pid", head->pid);
    json_out_real(top, "age_s", view->age_s);
    json_out_count(top, "made_wall_ns", head->made_wall_ns);
    json_out_count(top, "updated_wall_ns", head->updated_wall_ns);
    json_out_count(top, "interval_ns", head->interval_ns);
    for (uint32_t i = 0; i < head->record_cnt; i++) {
        const struct weir_stats_record *record = &view->records[i];
        struct json_out *series = json_out_object();
        json_out_text(series, "name", record->name);
        json_out_put(series, "labels", json_labels(record));
        if (record->unit == WEIR_STATS_NS) {
            json_out_real(series, "value", (double)record->value / 1e9);
            json_out_count(series, "value_ns", record->value);
        } else {
            json_out_count(series, "value", record->value);
        }
        json_out_push(list, series);
    }
    json_out_put(top, "series", list);
    return top;
}

int cmd_stat(int argc, char **argv)
{
    struct stat_args args = {0};
    int code = cli_parse(&command, argc, argv, &args);
    if (code >= 0)
        return code;
    if (args.path == NULL)
        return cli_fail(CLI_USAGE, "stat", "see weir stat --help", "no file is given");
    struct stats_view view = {0};
    char why[STATS_WHY_BYTES];
    if (!stats_read(&view, args.path, why)) {
        stats_free(&view);
        return cli_fail(CLI_USAGE, "stat", NULL, "%s: %s", args.path, why);
    }
    code = view.state == STATS_LIVE ? CLI_OK : CLI_FAILED;
    bool is_written = true;
    if (args.is_json) {
        is_written = json_out_print(stdout, json_of(&view), false);
    } else {
        print_table(&view, args.is_all);
        is_written = fflush(stdout) == 0;
    }
    stats_free(&view);
    if (!is_written)
        return cli_fail(CLI_FAILED, "stat", NULL, "cannot write to standard output");
    return code;
}
