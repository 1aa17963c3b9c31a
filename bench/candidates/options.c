#include "bench/candidates/options.h"

#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS_MIN 0.01
#define SECONDS_MAX 60.0

static const struct {
    enum what what;
    const char *name, *question;
} alone[] = {
    {WHAT_HASH, "hash", "XXH3 one by one, or in batches that prefetch"},
    {WHAT_GAPS, "gaps", "for how long each core is taken away from a loop that looks at the clock"},
    {WHAT_COPY, "copy", "long copies by where they go, of memcpy, of weir and of the kernel"},
};
#define ALONE_CNT (sizeof(alone) / sizeof(alone[0]))

const char *options_group(const struct options *options)
{
    for (size_t i = 0; i < ALONE_CNT; i++)
        if (options->what == alone[i].what)
            return alone[i].name;
    return options->group->name;
}

static void print_help(FILE *out)
{
    fputs("usage: weir-candidates GROUP [options]\n\n"
          "  --seconds S    measured time of one run, 0.01 to 60 (default 0.3)\n"
          "  --repeat N     runs of each variant, in turns, 1 to 99 (default 5)\n"
          "  --veth         between two network namespaces, over virtual cards; wants root\n"
          "  --json FILE    also one JSON document, in FILE (docs/bench.md)\n\ngroups:\n",
          out);
    for (size_t i = 0; i < candidate_group_cnt; i++)
        fprintf(out, "  %-9s %s\n", candidate_groups[i].name, candidate_groups[i].question);
    for (size_t i = 0; i < ALONE_CNT; i++)
        fprintf(out, "  %-9s %s\n", alone[i].name, alone[i].question);
    fputs(
        "\nExit code: 0; 1 a run failed; 2 wrong arguments; 3 no network namespaces or no veth here.\n",
        out);
}

__attribute__((format(printf, 1, 2))) static bool complain(const char *format, ...)
{
    va_list args;

    fputs("weir-candidates: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\n", stderr);
    return false;
}

static bool find_group(struct options *options, const char *name)
{
    for (size_t i = 0; i < candidate_group_cnt; i++)
        if (strcmp(name, candidate_groups[i].name) == 0) {
            options->group = &candidate_groups[i];
            return true;
        }
    for (size_t i = 0; i < ALONE_CNT; i++)
        if (strcmp(name, alone[i].name) == 0) {
            options->what = alone[i].what;
            return true;
        }
    fprintf(stderr, "weir-candidates: there is no group '%s'; there are", name);
    for (size_t i = 0; i < candidate_group_cnt; i++)
        fprintf(stderr, " %s,", candidate_groups[i].name);
    for (size_t i = 0; i < ALONE_CNT; i++)
        fprintf(stderr, " %s%s", alone[i].name,
                i + 2 < ALONE_CNT   ? ","
                : i + 1 < ALONE_CNT ? " and"
                                    : "");
    fputs(" (see --help)\n", stderr);
    return false;
}

static bool take_seconds(struct options *options, const char *text)
{
    char *end;

    options->seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(options->seconds) ||
        options->seconds < SECONDS_MIN || options->seconds > SECONDS_MAX)
        return complain("--seconds: '%s' is not a number from %g to %g", text, SECONDS_MIN,
                        SECONDS_MAX);
    return true;
}

static bool take_repeat(struct options *options, const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end != '\0' || value < 1 || value > REPEAT_MAX)
        return complain("--repeat: '%s' is not a number from 1 to %d", text, REPEAT_MAX);
    options->repeat = (int)value;
    return true;
}

enum { OPT_SECONDS = 1, OPT_REPEAT, OPT_VETH, OPT_JSON, OPT_HELP };

static const struct option long_options[] = {
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"repeat", required_argument, NULL, OPT_REPEAT},
    {"veth", no_argument, NULL, OPT_VETH},
    {"json", required_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static bool take_option(struct options *options, int option, const char *arg)
{
    switch (option) {
    case OPT_SECONDS:
        return take_seconds(options, arg);
    case OPT_REPEAT:
        return take_repeat(options, arg);
    case OPT_VETH:
        options->is_veth = true;
        return true;
    default:
        options->json_path = arg;
        return arg[0] != '\0' || complain("--json: '' is not the name of a file");
    }
}

enum parsed options_parse(struct options *ret_options, int argc, char **argv)
{
    struct options options = {.what = WHAT_GROUP, .seconds = 0.3, .repeat = 5};
    int option;

    /* getopt moves what is no option to the end, and says itself which option it does not know. */
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == OPT_HELP) {
            print_help(stdout);
            return PARSED_STOP_OK;
        }
        if (option == '?') {
            complain("the options are --seconds S, --repeat N, --veth, --json FILE and --help");
            return PARSED_STOP_USAGE;
        }
        if (!take_option(&options, option, optarg))
            return PARSED_STOP_USAGE;
    }
    if (optind == argc)
        complain("which group? (see --help)");
    else if (optind + 1 != argc)
        complain("one group at a time: '%s' is too much", argv[optind + 1]);
    if (optind + 1 != argc || !find_group(&options, argv[optind]))
        return PARSED_STOP_USAGE;
    if (options.is_veth && options.what != WHAT_GROUP) {
        complain("--veth: %s sends nothing", argv[optind]);
        return PARSED_STOP_USAGE;
    }
    *ret_options = options;
    return PARSED_GO;
}
