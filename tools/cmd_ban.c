/* weir ban and weir unban: the bans of a node, running or not, by the file it keeps them in. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <weir/weir.h>

#include "cli.h"
#include "commands.h"
#include "json_out.h"

#define WHOM_MAX 256u
#define BANS_MAX 65536u
#define TAKEN_NS (60 * WEIR_NS_PER_S)

enum { KEY_FILE = 1, KEY_FOR, KEY_PID, KEY_JSON };

struct ban_args {
    const char *path;
    weir_ns duration;
    uint64_t pid;
    bool has_duration, is_json, is_unban;
    const char *whom[WHOM_MAX];
    size_t whom_cnt;
};

static const char *name_of(const struct ban_args *args)
{
    return args->is_unban ? "unban" : "ban";
}

static int set(void *ctx, int key, const char *value)
{
    struct ban_args *args = ctx;
    switch (key) {
    case KEY_FILE:
        args->path = value;
        return -1;
    case KEY_FOR:
        args->has_duration = true;
        if (cli_duration(value, WEIR_NS_PER_S, 3650 * 24 * 3600 * WEIR_NS_PER_S, &args->duration))
            return -1;
        return cli_fail(CLI_USAGE, name_of(args), NULL,
                        "--for: '%.40s' is not a time from 1s to 87600h with its unit", value);
    case KEY_PID:
        if (cli_number(value, 1, INT32_MAX, &args->pid))
            return -1;
        return cli_fail(CLI_USAGE, name_of(args), NULL, "--pid: '%.40s' is no process id", value);
    default:
        args->is_json = true;
        return -1;
    }
}

static int operand(void *ctx, const char *value)
{
    struct ban_args *args = ctx;
    if (args->whom_cnt == WHOM_MAX)
        return cli_fail(CLI_USAGE, name_of(args), NULL, "more than %u at once", WHOM_MAX);
    args->whom[args->whom_cnt++] = value;
    return -1;
}

/* ---- asking -------------------------------------------------------------------------------- */

/* Whether a process does something else on SIGHUP than to end: a node without --ban-path does not, and a number may be
 * anybody's. */
static bool minds_hangup(uint64_t pid)
{
    char path[64], line[256];
    bool is_minding = false;
    snprintf(path, sizeof(path), "/proc/%" PRIu64 "/status", pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "SigBlk:", 7) == 0 || strncmp(line, "SigCgt:", 7) == 0)
            is_minding |= (strtoull(line + 7, NULL, 16) >> (SIGHUP - 1) & 1) != 0;
    }
    if (file != NULL)
        fclose(file);
    return is_minding;
}

static int tell(const struct ban_args *args)
{
    if (!minds_hangup(args->pid))
        return cli_fail(CLI_FAILED, name_of(args), "the node takes it when it starts",
                        "process %" PRIu64 " is no node with --ban-path", args->pid);
    if (kill((pid_t)args->pid, SIGHUP) != 0)
        return cli_fail(CLI_FAILED, name_of(args), "the node takes it when it starts",
                        "process %" PRIu64 ": %s", args->pid, strerror(errno));
    const struct timespec wait = {.tv_nsec = 5000000};
    weir_ns until = weir_now() + TAKEN_NS;
    while (weir_ban_is_asked(args->path)) {
        if (weir_now() > until)
            return cli_fail(CLI_FAILED, name_of(args), "is its --ban-path this file?",
                            "process %" PRIu64 " has not taken it in a minute", args->pid);
        nanosleep(&wait, NULL);
    }
    return CLI_OK;
}

static int ask(const struct ban_args *args)
{
    for (size_t i = 0; i < args->whom_cnt; i++) {
        int error = args->is_unban
                        ? weir_unban_ask(args->path, args->whom[i])
                        : weir_ban_ask(args->path, args->whom[i],
                                       args->has_duration ? args->duration : WEIR_NS_FOREVER, 0);
        if (error != 0)
            return cli_fail_whom(name_of(args), error, name_of(args), args->whom[i]);
    }
    return args->pid != 0 ? tell(args) : CLI_OK;
}

/* ---- listing ------------------------------------------------------------------------------- */

static const char *time_text(char text[32], uint64_t at_s)
{
    struct tm tm;
    time_t at = (time_t)at_s;
    if (at_s == UINT64_MAX || gmtime_r(&at, &tm) == NULL ||
        strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(text, 32, "never");
    return text;
}

static void print_ban(const struct weir_ban_info *ban)
{
    char id[WEIR_ID_TEXT_BYTES], since[32], until[32];
    printf("%s since=%s until=%s reason=%s by=%s\n",
           ban->is_id ? weir_id_text(&ban->id, id) : ban->prefix, time_text(since, ban->since_s),
           time_text(until, ban->until_s), weir_reason_name(ban->reason),
           ban->is_manual ? "operator" : "score");
}

static struct json_out *json_of(const struct weir_ban_info *bans, size_t cnt)
{
    struct json_out *list = json_out_array();
    for (size_t i = 0; i < cnt; i++) {
        char id[WEIR_ID_TEXT_BYTES], text[32];
        struct json_out *ban = json_out_object();
        json_out_text(ban, "whom", bans[i].is_id ? weir_id_text(&bans[i].id, id) : bans[i].prefix);
        json_out_text(ban, "since", time_text(text, bans[i].since_s));
        json_out_text(ban, "until", time_text(text, bans[i].until_s));
        json_out_text(ban, "reason", weir_reason_name(bans[i].reason));
        json_out_text(ban, "by", bans[i].is_manual ? "operator" : "score");
        json_out_push(list, ban);
    }
    return list;
}

static int list(const struct ban_args *args)
{
    struct weir_ban_info *bans = calloc(BANS_MAX, sizeof(*bans));
    if (bans == NULL)
        return cli_fail_weir("ban", WEIR_E_NOMEM, "cannot list");
    int64_t cnt = weir_ban_read(args->path, bans, BANS_MAX);
    bool is_printed = true;
    if (cnt >= 0 && args->is_json)
        is_printed = json_out_print(stdout, json_of(bans, (size_t)cnt), true);
    for (int64_t i = 0; !args->is_json && i < cnt; i++)
        print_ban(&bans[i]);
    free(bans);
    if (cnt < 0)
        return cli_fail_weir("ban", (int)cnt, "%s", args->path);
    if (weir_ban_is_asked(args->path))
        fprintf(stderr,
                "weir: ban: what was asked for last is not in it: the node has not taken it yet\n");
    return is_printed && fflush(stdout) == 0
               ? CLI_OK
               : cli_fail(CLI_FAILED, "ban", NULL, "cannot write to standard output");
}

/* ---- the commands -------------------------------------------------------------------------- */

#define NOTES                                                                                       \
    "WHOM is an address, a subnet as 192.0.2.0/24, or a node id. FILE is the node's --ban-path.\n"  \
    "A running node is told by SIGHUP: --pid sends it and waits until the node has done it; else\n" \
    "`kill -HUP` does, or the node's next start."

static int run(const struct cli_command *command, int argc, char **argv, bool is_unban)
{
    struct ban_args args = {.is_unban = is_unban};
    int code = cli_parse(command, argc, argv, &args);
    if (code >= 0)
        return code;
    if (args.path == NULL)
        return cli_fail(CLI_USAGE, name_of(&args), NULL, "--ban-path is not given");
    if (args.whom_cnt > 0)
        return ask(&args);
    if (is_unban || args.pid != 0 || args.has_duration)
        return cli_fail(CLI_USAGE, name_of(&args), NULL, "nobody is named");
    return list(&args);
}

int cmd_ban(int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"ban-path", "FILE", "the file in which the node keeps its bans", KEY_FILE},
        {"for", "TIME", "how long, as 90m or 24h (for ever)", KEY_FOR},
        {"pid", "PID", "the node that runs: tell it, and wait until it has done it", KEY_PID},
        {"json", NULL, "list as JSON", KEY_JSON},
    };
    static const struct cli_command command = {
        .name = "ban",
        .usage = "--ban-path FILE [--for TIME] [--pid PID] [--json] [WHOM...]",
        .intro = "Bans addresses, subnets and node ids; without any, lists the bans that hold.",
        .notes = NOTES,
        .options = options,
        .option_cnt = sizeof(options) / sizeof(options[0]),
        .set = set,
        .operand = operand,
    };
    return run(&command, argc, argv, false);
}

int cmd_unban(int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"ban-path", "FILE", "the file in which the node keeps its bans", KEY_FILE},
        {"pid", "PID", "the node that runs: tell it, and wait until it has done it", KEY_PID},
    };
    static const struct cli_command command = {
        .name = "unban",
        .usage = "--ban-path FILE [--pid PID] WHOM...",
        .intro = "Ends bans, whoever made them: each as `weir ban` lists it.",
        .notes = NOTES,
        .options = options,
        .option_cnt = sizeof(options) / sizeof(options[0]),
        .set = set,
        .operand = operand,
    };
    return run(&command, argc, argv, true);
}
