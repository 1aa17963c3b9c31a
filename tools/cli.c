#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/signalfd.h>

#include <weir/weir.h>

#include "suggest.h"

static void print_error(const char *command, const char *tail, const char *remedy,
                        const char *format, va_list args)
{
    /* One write for the whole line: other processes and threads share the terminal. */
    char line[2048];
    size_t used = 0;
    int n = snprintf(line, sizeof(line), "weir: %s%s", command, command[0] != '\0' ? ": " : "");
    used = n > 0 ? (size_t)n : 0;
    n = vsnprintf(line + used, sizeof(line) - used, format, args);
    used += n > 0 ? (size_t)n : 0;
    if (used < sizeof(line)) {
        bool has_remedy = remedy != NULL && remedy[0] != '\0';
        snprintf(line + used, sizeof(line) - used, "%s%s%s", tail, has_remedy ? "; " : "",
                 has_remedy ? remedy : "");
    }
    /* A file or an argument may hold anything, and this goes to a terminal. */
    for (char *at = line; *at != '\0'; at++)
        if (iscntrl((unsigned char)*at))
            *at = '?';
    fprintf(stderr, "%s\n", line);
}

int cli_fail(int exit_code, const char *command, const char *remedy, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error(command, "", remedy, format, args);
    va_end(args);
    return exit_code;
}

/* The library's texts are sentences; inside a line their full stop would be in the way. */
static const char *phrase(char text[CLI_ERROR_BYTES], const char *sentence, const char *name)
{
    size_t len = strlen(sentence);
    if (len > 0 && sentence[len - 1] == '.')
        len--;
    snprintf(text, CLI_ERROR_BYTES, "%.*s (%s)", (int)len, sentence, name);
    return text;
}

const char *cli_error_text(char text[CLI_ERROR_BYTES], int error)
{
    return phrase(text, weir_error_text(error), weir_error_name(error));
}

const char *cli_reason_text(char text[CLI_ERROR_BYTES], int reason)
{
    return phrase(text, weir_reason_text(reason), weir_reason_name(reason));
}

int cli_fail_weir(const char *command, int error, const char *format, ...)
{
    char text[CLI_ERROR_BYTES], tail[CLI_ERROR_BYTES + 2];
    snprintf(tail, sizeof(tail), ": %s", cli_error_text(text, error));
    va_list args;
    va_start(args, format);
    print_error(command, tail, weir_error_remedy(error), format, args);
    va_end(args);
    return cli_exit_of(error);
}

int cli_fail_whom(const char *command, int error, const char *verb, const char *whom)
{
    if (error == WEIR_E_ADDRESS) /* the library's remedy is about addresses with ports */
        return cli_fail(
            CLI_USAGE, command,
            "give an address without a port, a subnet such as 192.0.2.0/24, or a node id",
            "cannot %s '%.80s' (WEIR_E_ADDRESS)", verb, whom);
    return cli_fail_weir(command, error, "cannot %s %s", verb, whom);
}

int cli_exit_of(int error)
{
    switch (error) {
    case WEIR_OK:
        return CLI_OK;
    case WEIR_E_ADDRESS:
    case WEIR_E_CONFIG:
    case WEIR_E_DUPLICATE:
    case WEIR_E_KEY:
        return CLI_USAGE;
    case WEIR_E_NOMEM:
    case WEIR_E_IN_USE:
    case WEIR_E_ACCESS:
    case WEIR_E_NO_URING:
    case WEIR_E_MEMLOCK:
    case WEIR_E_DESCRIPTORS:
    case WEIR_E_KERNEL:
        return CLI_ENVIRONMENT;
    case WEIR_E_GONE:
    case WEIR_E_TIMEOUT:
        return CLI_CONNECTION;
    default:
        return CLI_FAILED;
    }
}

void cli_log(void *ctx, int level, const char *line)
{
    static const char *const names[] = {"?", "error", "warning", "info", "debug"};
    const char *name = level >= 1 && level <= 4 ? names[level] : names[0];
    fprintf(stderr, "weir: %s: %s: %s\n", (const char *)ctx, name, line);
}

/* ---- options ------------------------------------------------------------------------------- */

static void print_help(const struct cli_command *command)
{
    printf("usage: weir %s %s\n\n%s\n\noptions:\n", command->name, command->usage, command->intro);
    for (size_t i = 0; i < command->option_cnt; i++) {
        const struct cli_option *option = &command->options[i];
        if (option->name == NULL) {
            printf("\n%s\n", option->help);
            continue;
        }
        char left[64];
        snprintf(left, sizeof(left), "--%s%s%s", option->name, option->argument != NULL ? " " : "",
                 option->argument != NULL ? option->argument : "");
        printf("  %-30s %s\n", left, option->help);
    }
    printf("  %-30s %s\n", "--help", "print this and end");
    if (command->notes != NULL)
        printf("\n%s\n", command->notes);
}

/* Keys of getopt's own, out of the way of characters and of '?' and ':'. */
#define KEY_BASE 0x1000
#define KEY_HELP 0x0fff

static int say_usage(const struct cli_command *command, const char *what, const char *which)
{
    return cli_fail(CLI_USAGE, command->name, NULL, "%s '%s'; see weir %s --help", what, which,
                    command->name);
}

static const char *option_name(void *ctx, size_t idx)
{
    const struct option *table = ctx;
    return table[idx].name;
}

static int say_unknown(const struct cli_command *command, const struct option *table,
                       const char *which)
{
    char hint[SUGGEST_BYTES], name[64];
    size_t dashes = strspn(which, "-");
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(which + dashes, "="), which + dashes);
    return cli_fail(CLI_USAGE, command->name, NULL, "unknown option '%s'%s; see weir %s --help",
                    which, suggest(hint, "--", name, option_name, (void *)(uintptr_t)table),
                    command->name);
}

static int parse_with(const struct cli_command *command, const struct option *table, int argc,
                      char **argv, void *ctx)
{
    opterr = 0;
    optind = 1;
    for (;;) {
        int at = optind;
        int key = getopt_long(argc, argv, "-:h", table, NULL);
        if (key == -1)
            break;
        int code = -1;
        if (key == 'h' || key == KEY_HELP) {
            print_help(command);
            return CLI_OK;
        } else if (key == 1) {
            if (command->operand == NULL)
                return say_usage(command, "unexpected argument", optarg);
            code = command->operand(ctx, optarg);
        } else if (key == ':') {
            return say_usage(command, "a value is missing behind", argv[optind - 1]);
        } else if (key == '?') {
            const char *which = argv[optind > at ? optind - 1 : at];
            return optopt >= KEY_HELP ? say_usage(command, "no value is taken by", which)
                                      : say_unknown(command, table, which);
        } else {
            code = command->set(ctx, command->options[key - KEY_BASE].key, optarg);
        }
        if (code >= 0)
            return code;
    }
    for (int i = optind; i < argc; i++) { /* what stands behind "--" */
        if (command->operand == NULL)
            return say_usage(command, "unexpected argument", argv[i]);
        int code = command->operand(ctx, argv[i]);
        if (code >= 0)
            return code;
    }
    return -1;
}

int cli_parse(const struct cli_command *command, int argc, char **argv, void *ctx)
{
    struct option *table = calloc(command->option_cnt + 2, sizeof(*table));
    if (table == NULL)
        return cli_fail_weir(command->name, WEIR_E_NOMEM, "options");
    size_t cnt = 0;
    for (size_t i = 0; i < command->option_cnt; i++) {
        const struct cli_option *option = &command->options[i];
        if (option->name == NULL)
            continue;
        table[cnt++] = (struct option){
            .name = option->name,
            .has_arg = option->argument != NULL ? required_argument : no_argument,
            .val = (int)i + KEY_BASE,
        };
    }
    table[cnt] = (struct option){.name = "help", .val = KEY_HELP};
    int code = parse_with(command, table, argc, argv, ctx);
    free(table);
    if (code == CLI_OK && fflush(stdout) != 0)
        return CLI_FAILED;
    return code;
}

/* ---- numbers ------------------------------------------------------------------------------- */

struct unit {
    const char *name;
    uint64_t factor;
};

static bool number_with_unit(const char *text, const struct unit *units, uint64_t min, uint64_t max,
                             uint64_t *ret)
{
    if (text[0] < '0' || text[0] > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        if (strcasecmp(end, unit->name) != 0)
            continue;
        if (value > UINT64_MAX / unit->factor)
            return false;
        uint64_t product = value * unit->factor;
        if (product < min || product > max)
            return false;
        *ret = product;
        return true;
    }
    return false;
}

bool cli_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    static const struct unit units[] = {{"", 1}, {NULL, 0}};
    return number_with_unit(text, units, min, max, ret);
}

bool cli_size(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    static const struct unit units[] = {
        {"", 1},
        {"K", 1ull << 10},
        {"KiB", 1ull << 10},
        {"M", 1ull << 20},
        {"MiB", 1ull << 20},
        {"G", 1ull << 30},
        {"GiB", 1ull << 30},
        {"T", 1ull << 40},
        {"TiB", 1ull << 40},
        {NULL, 0},
    };
    return number_with_unit(text, units, min, max, ret);
}

bool cli_duration(const char *text, uint64_t min_ns, uint64_t max_ns, uint64_t *ret_ns)
{
    static const struct unit units[] = {
        {"ns", 1},
        {"us", WEIR_NS_PER_US},
        {"ms", WEIR_NS_PER_MS},
        {"s", WEIR_NS_PER_S},
        {"m", 60 * WEIR_NS_PER_S},
        {"h", 3600 * WEIR_NS_PER_S},
        {NULL, 0},
    };
    return number_with_unit(text, units, min_ns, max_ns, ret_ns);
}

bool cli_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};
    for (size_t i = 0; i < 4; i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *ret = strcasecmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static const char *scaled(char text[CLI_TEXT_BYTES], double value, const char *suffix)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t idx = 0;
    while (value >= 999.5 && idx < 5) {
        value /= 1000;
        idx++;
    }
    int digits = idx == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(text, CLI_TEXT_BYTES, "%.*f %s%s", digits, value, units[idx], suffix);
    return text;
}

const char *cli_bytes_text(char text[CLI_TEXT_BYTES], double bytes)
{
    return scaled(text, bytes, "");
}

const char *cli_rate_text(char text[CLI_TEXT_BYTES], double bytes_per_s)
{
    return scaled(text, bytes_per_s, "/s");
}

const char *cli_time_text(char text[CLI_TEXT_BYTES], double ns)
{
    if (ns < 999.5)
        snprintf(text, CLI_TEXT_BYTES, "%.0f ns", ns);
    else if (ns < 999.5e3)
        snprintf(text, CLI_TEXT_BYTES, "%.*f us", ns < 99.95e3 ? 1 : 0, ns / 1e3);
    else if (ns < 999.5e6)
        snprintf(text, CLI_TEXT_BYTES, "%.*f ms", ns < 9.995e6 ? 2 : 1, ns / 1e6);
    else
        snprintf(text, CLI_TEXT_BYTES, "%.2f s", ns / 1e9);
    return text;
}

const char *cli_count_text(char text[CLI_TEXT_BYTES], uint64_t count)
{
    char digits[24];
    size_t len = (size_t)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

/* ---- signals ------------------------------------------------------------------------------- */

static int signals(bool has_hangup)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (has_hangup)
        sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int cli_signals(void)
{
    return signals(false);
}

int cli_signals_and_hangup(void)
{
    return signals(true);
}
