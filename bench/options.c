#include "bench/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cases.h"
#include "bench/impls.h"
#include "weir/config.h"

#define RATE_MAX 50000000u

static const char help[] =
    "usage: weir-bench CASE [options]\n"
    "       weir-bench compare OLD.json NEW.json [--json] [--all] [--tolerance PERCENT]\n"
    "       weir-bench --list [--json] | --help\n"
    "\n"
    "Measures weir against other ways to move messages between two processes on this machine, over\n"
    "loopback TCP, one core each, interleaved in one run. See docs/bench.md.\n"
    "\n"
    "  --size BYTES[,BYTES..]  message sizes; K and M are 1024 and 1024 x 1024 (default: 64,1K,16K,64K,1M\n"
    "                          or what the case asks for: see docs/bench.md)\n"
    "  --seconds S             measured time of one run, after a warm-up (default 1; urgent 3; wake 5,\n"
    "                          the time that the first channel is alone; micro 0.5)\n"
    "  --repeat N              runs of each implementation, interleaved; medians are given (default 5)\n"
    "  --against LIST          rivals, all or none (default raw,uring; raw or none where there is no more:\n"
    "                          see --list)\n"
    "  --rivals-only           leave weir out\n"
    "  --congestion NAME       TCP congestion control of every socket; system: as the system has it\n"
    "                          (default cubic)\n"
    "  --recv-buffer BYTES     SO_RCVBUF of every socket (default: the system's autotuning)\n"
    "  --channels W:W[:W..]    share: the weights (default 1:5:10); stall: likewise, the first is not\n"
    "                          read (default 1:1:1:1); wake: the first's and the other's (default 1:1).\n"
    "                          urgent: the small messages' class and the bulk's weight: urgent:1 (default)\n"
    "                          or such as 100:1\n"
    "  --connections N[,N..]   connections: how many (default 1,64,1000,10000); churn: how many at a time\n"
    "                          (default 64)\n"
    "  --peers N[,N..]         broadcast: to how many (default 1,8,64,512)\n"
    "  --shards N[,N..]        shards: of each of the two nodes (default 1,2)\n"
    "  --rate N                rate: messages a second (default 50000)\n"
    "  --mixed                 share: messages of the given size and of a 4th, a 16th and a 256th of it, at\n"
    "                          random, on every channel\n"
    "  --transport NAME        which weir is measured: plain (default), secure or secure-aes, beside plain\n"
    "                          weir then (handshake and flood: secure is the default)\n"
    "  --busy                  spin instead of sleeping, all implementations\n"
    "  --json                  one JSON document on standard output instead of a table\n"
    "  --histogram DIR         also every latency histogram, as DIR/CASE-SIZE-IMPL.hgrm\n"
    "\n"
    "Exit code: 0; 1 a message was lost or a run failed; 2 wrong arguments; 3 the machine refuses\n"
    "something that is needed (io_uring, a congestion control).\n";

__attribute__((format(printf, 1, 2))) static bool complain(const char *format, ...)
{
    va_list args;

    fputs("weir-bench: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\n", stderr);
    return false;
}

/* Takes the part of *list before the next `mark` off its front. False at the end. */
static bool next_part(const char **list, char mark, char *ret_part, size_t len)
{
    if (*list == NULL)
        return false;
    const char *end = strchr(*list, mark);
    size_t part_len = end == NULL ? strlen(*list) : (size_t)(end - *list);

    if (part_len >= len)
        part_len = len - 1;
    memcpy(ret_part, *list, part_len);
    ret_part[part_len] = 0;
    *list = end == NULL ? NULL : end + 1;
    return true;
}

/* A whole number of `least` to `most`, with K or M behind it if `has_units`. */
static bool parse_number(const char *text, bool has_units, uint32_t least, uint32_t most,
                         uint32_t *ret_number)
{
    char *end;
    uint64_t unit = 1;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (has_units && (*end == 'K' || *end == 'k' || *end == 'M' || *end == 'm')) {
        unit = *end == 'K' || *end == 'k' ? 1024 : 1024 * 1024;
        end++;
    }
    if (errno != 0 || *end != 0 || number > most / unit || number * unit < least)
        return false;
    *ret_number = (uint32_t)(number * unit);
    return true;
}

static bool parse_sizes(struct bench_options *options, const char *list)
{
    const struct bench_case_facts *facts = &bench_cases[options->which];
    const uint32_t most = facts->size_max == 0 ? BENCH_SIZE_MAX : facts->size_max;
    const uint32_t least = facts->size_min == 0 ? 1 : facts->size_min;
    char part[32];

    if (facts->sizes == NULL)
        return complain("--size: %s sends no messages", bench_case_names[options->which]);
    for (options->size_cnt = 0; next_part(&list, ',', part, sizeof(part)); options->size_cnt++) {
        if (options->size_cnt == BENCH_SIZES_MAX)
            return complain("--size: at most %u sizes", BENCH_SIZES_MAX);
        if (!parse_number(part, true, least, most, &options->sizes[options->size_cnt]))
            return complain("--size: '%s' is not a number of bytes from %u to %u%s", part, least,
                            most < 1u << 20 ? most >> 10 : most >> 20, most < 1u << 20 ? "K" : "M");
    }
    return true;
}

/* `axis`: which option it was. */
static bool parse_counts(struct bench_options *options, enum bench_axis axis, const char *list)
{
    const struct bench_case_facts *facts = &bench_cases[options->which];
    char part[32];

    if (facts->axis != axis)
        return complain("--%s: %s has no such thing", bench_axis_names[axis],
                        bench_case_names[options->which]);
    for (options->count_cnt = 0; next_part(&list, ',', part, sizeof(part)); options->count_cnt++) {
        if (options->count_cnt == BENCH_COUNTS_MAX)
            return complain("--%s: at most %u of them", bench_axis_names[axis], BENCH_COUNTS_MAX);
        if (!parse_number(part, false, 1, facts->count_max, &options->counts[options->count_cnt]))
            return complain("--%s: '%s' is not a number from 1 to %u", bench_axis_names[axis], part,
                            facts->count_max);
    }
    return true;
}

static bool complain_unknown(const char *name)
{
    const char *package = bench_impl_package(name);

    if (package == NULL)
        return complain("--against: there is no '%s' (see weir-bench --list)", name);
    return complain("--against: '%s' was left out of this build, as it needs %s: scripts/deps "
                    "--bench, then configure and build again",
                    name, package);
}

static bool does_case(const struct bench_options *options, const struct bench_impl *impl)
{
    return impl->roles[options->which][BENCH_SENDER] != NULL;
}

static bool parse_against(struct bench_options *options, const char *list)
{
    char part[32];

    options->impl_cnt = 1; /* the subject */
    if (strcmp(list, "none") == 0)
        return true;
    if (strcmp(list, "all") == 0) {
        for (uint32_t i = 0; bench_impls[i] != NULL; i++)
            if (bench_impls[i] != options->subject && does_case(options, bench_impls[i]) &&
                bench_impl_is_installed(bench_impls[i]))
                options->impls[options->impl_cnt++] = bench_impls[i];
        return true;
    }
    while (next_part(&list, ',', part, sizeof(part))) {
        const struct bench_impl *impl = bench_impl_find(part);
        if (impl == NULL)
            return complain_unknown(part);
        if (!bench_impl_is_installed(impl))
            return complain(
                "--against: '%s' needs %s, which is not installed: scripts/deps --bench", part,
                impl->program);
        if (!does_case(options, impl))
            return complain("--against: '%s' does not do %s (see weir-bench --list)", part,
                            bench_case_names[options->which]);
        for (uint32_t k = 0; k < options->impl_cnt; k++)
            if (options->impls[k] == impl)
                return complain("--against: '%s' is there twice", part);
        options->impls[options->impl_cnt++] = impl;
    }
    return true;
}

static bool parse_channels(struct bench_options *options, const char *list)
{
    char part[32];
    bool is_urgent_case = options->which == BENCH_URGENT;
    bool is_pair = is_urgent_case || options->which == BENCH_WAKE;
    uint32_t cnt = 0;

    if (bench_cases[options->which].channels == NULL)
        return complain("--channels: %s has channels of its own", bench_case_names[options->which]);
    for (; next_part(&list, ':', part, sizeof(part)); cnt++) {
        uint32_t weight = 1;
        bool is_urgent = is_urgent_case && cnt == 0 && strcmp(part, "urgent") == 0;
        if (cnt == BENCH_CHANNELS_MAX)
            return complain("--channels: at most %u", BENCH_CHANNELS_MAX);
        if (!is_urgent && !parse_number(part, false, 1, 1000, &weight))
            return complain("--channels: '%s' is not a weight from 1 to 1000", part);
        options->channels[cnt] = (struct bench_channel){(uint16_t)weight, is_urgent};
    }
    if (is_pair ? cnt != 2 : cnt < 2)
        return complain("--channels: %s needs two%s", bench_case_names[options->which],
                        is_urgent_case ? ", as urgent:1 or 100:1"
                        : is_pair      ? ", as 1:1"
                                       : " or more, as 1:5:10");
    options->channel_cnt = cnt;
    return true;
}

static bool parse_seconds(struct bench_options *options, const char *text)
{
    char *end;

    options->seconds = strtod(text, &end);
    if (end == text || *end != 0 || !isfinite(options->seconds) || options->seconds < 0.01 ||
        options->seconds > 3600)
        return complain("--seconds: '%s' is not a number from 0.01 to 3600", text);
    return true;
}

static bool parse_rate(struct bench_options *options, const char *text)
{
    if (options->which != BENCH_RATE)
        return complain("--rate: %s has no rate", bench_case_names[options->which]);
    return parse_number(text, false, 1, RATE_MAX, &options->rate) ||
           complain("--rate: '%s' is not a number of messages a second from 1 to %u", text,
                    RATE_MAX);
}

/* Who asks for another transport than the case's own wants to know what it costs: plain weir is the first rival, unless
 * others are named. */
static bool beside_plain(struct bench_options *options)
{
    if (options->subject == &bench_weir || bench_cases[options->which].is_secure ||
        !does_case(options, &bench_weir))
        return true;
    memmove(&options->impls[2], &options->impls[1],
            (options->impl_cnt - 1) * sizeof(options->impls[0]));
    options->impls[1] = &bench_weir;
    options->impl_cnt++;
    return true;
}

bool bench_options_default(struct bench_options *options)
{
    const struct bench_case_facts *facts = &bench_cases[options->which];

    options->seconds = facts->seconds;
    options->repeat = 5;
    options->congestion = "cubic";
    options->rate = 50000;
    options->is_congestion_default = true;
    if (options->subject == NULL)
        options->subject = facts->is_secure ? &bench_weir_secure : &bench_weir;
    options->impls[0] = options->subject;
    options->channel_cnt = 1;
    options->channels[0] = (struct bench_channel){1, false};
    options->size_cnt = options->count_cnt = 1; /* of size 0 and count 1 */
    options->counts[0] = 1;
    return (facts->sizes == NULL || parse_sizes(options, facts->sizes)) &&
           (facts->counts == NULL || parse_counts(options, facts->axis, facts->counts)) &&
           (facts->channels == NULL || parse_channels(options, facts->channels)) &&
           parse_against(options, facts->against) && beside_plain(options);
}

enum {
    OPT_SIZE = 1,
    OPT_SECONDS,
    OPT_REPEAT,
    OPT_AGAINST,
    OPT_ONLY,
    OPT_CONGESTION,
    OPT_RECV,
    OPT_CHANNELS,
    OPT_RATE,
    OPT_CONNECTIONS,
    OPT_PEERS,
    OPT_SHARDS,
    OPT_BUSY,
    OPT_MIXED,
    OPT_TRANSPORT,
    OPT_JSON,
    OPT_HISTOGRAM,
    OPT_HELP,
    OPT_LIST
};

static const struct option long_options[] = {
    {"size", required_argument, NULL, OPT_SIZE},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"repeat", required_argument, NULL, OPT_REPEAT},
    {"against", required_argument, NULL, OPT_AGAINST},
    {"rivals-only", no_argument, NULL, OPT_ONLY},
    {"congestion", required_argument, NULL, OPT_CONGESTION},
    {"recv-buffer", required_argument, NULL, OPT_RECV},
    {"channels", required_argument, NULL, OPT_CHANNELS},
    {"rate", required_argument, NULL, OPT_RATE},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"peers", required_argument, NULL, OPT_PEERS},
    {"shards", required_argument, NULL, OPT_SHARDS},
    {"busy", no_argument, NULL, OPT_BUSY},
    {"mixed", no_argument, NULL, OPT_MIXED},
    {"transport", required_argument, NULL, OPT_TRANSPORT},
    {"json", no_argument, NULL, OPT_JSON},
    {"histogram", required_argument, NULL, OPT_HISTOGRAM},
    {"help", no_argument, NULL, OPT_HELP},
    {"list", no_argument, NULL, OPT_LIST},
    {NULL, 0, NULL, 0},
};

/* One option of `options`. */
static bool take_option(struct bench_options *options, int option, const char *arg)
{
    switch (option) {
    case OPT_SIZE:
        return parse_sizes(options, arg);
    case OPT_SECONDS:
        return parse_seconds(options, arg);
    case OPT_REPEAT:
        return parse_number(arg, false, 1, BENCH_REPEAT_MAX, &options->repeat) ||
               complain("--repeat: '%s' is not a number from 1 to %u", arg, BENCH_REPEAT_MAX);
    case OPT_AGAINST:
        return parse_against(options, arg);
    case OPT_CONGESTION:
        options->congestion = arg;
        options->is_congestion_default = false;
        return (arg[0] != 0 && strlen(arg) < 16) ||
               complain("--congestion: '%s' is not a name of a congestion control", arg);
    case OPT_RECV:
        return parse_number(arg, true, 4096, 1u << 30, &options->recv_buffer) ||
               complain("--recv-buffer: '%s' is not a number of bytes from 4K to 1024M", arg);
    case OPT_CHANNELS:
        return parse_channels(options, arg);
    case OPT_RATE:
        return parse_rate(options, arg);
    case OPT_CONNECTIONS:
        return parse_counts(options, BENCH_AXIS_CONNECTIONS, arg);
    case OPT_PEERS:
        return parse_counts(options, BENCH_AXIS_PEERS, arg);
    case OPT_SHARDS:
        return parse_counts(options, BENCH_AXIS_SHARDS, arg);
    case OPT_TRANSPORT:
        return true; /* the first pass took it */
    case OPT_BUSY:
        options->is_busy = true;
        return true;
    case OPT_MIXED:
        options->is_mixed = true;
        return options->which == BENCH_SHARE || complain("--mixed: only share mixes sizes");
    case OPT_JSON:
        options->is_json = true;
        return true;
    case OPT_HISTOGRAM:
        options->histogram_dir = arg;
        return (arg[0] != 0 && strlen(arg) < 4000) ||
               complain("--histogram: '%s' is not the name of a folder", arg);
    default:
        return true;
    }
}

static bool take_transport(struct bench_options *options, const char *name)
{
    const struct bench_impl *const weirs[] = {&bench_weir, &bench_weir_secure, &bench_weir_aes};

    for (uint32_t i = 0; i < 3; i++) {
        if (strcmp(name, i == 0 ? "plain" : weirs[i]->name) != 0)
            continue;
        options->subject = weirs[i];
        return true;
    }
    return complain("--transport: '%s' is not plain, secure or secure-aes", name);
}

static bool find_case(struct bench_options *options, const char *name)
{
    for (uint32_t i = 0; i < BENCH_CASE_CNT; i++) {
        if (strcmp(bench_case_names[i], name) != 0)
            continue;
        options->which = (enum bench_case)i;
        return true;
    }
    return complain("there is no case '%s' (see weir-bench --list)", name);
}

enum bench_parsed bench_options_parse(struct bench_options *ret_options, int argc, char **argv)
{
    struct bench_options options = {0};
    bool is_rivals_only = false, is_list = false;
    int option;

    /* The first pass finds the case, on which defaults and --channels depend, and help. getopt
     * moves the words that are not options to the end and says itself what it does not
     * understand. */
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == '?')
            return BENCH_STOP_USAGE;
        if (option == OPT_HELP)
            fputs(help, stdout);
        if (option == OPT_HELP)
            return BENCH_STOP_OK;
        is_list = is_list || option == OPT_LIST;
        options.is_json = options.is_json || option == OPT_JSON;
        is_rivals_only = is_rivals_only || option == OPT_ONLY;
        if (option == OPT_TRANSPORT && !take_transport(&options, optarg))
            return BENCH_STOP_USAGE;
    }
    if (is_list) {
        if (!options.is_json)
            bench_impls_print();
        else if (bench_list_print() != 0)
            return BENCH_STOP_USAGE;
        return BENCH_STOP_OK;
    }
    if (optind == argc) {
        complain("which case? (see weir-bench --list)");
        return BENCH_STOP_USAGE;
    }
    if (optind + 1 != argc) {
        complain("one case at a time: '%s' is too much", argv[optind + 1]);
        return BENCH_STOP_USAGE;
    }
    if (!find_case(&options, argv[optind]) || !bench_options_default(&options))
        return BENCH_STOP_USAGE;
    if (!does_case(&options, options.subject)) {
        complain("--transport: %s is not done in plain", bench_case_names[options.which]);
        return BENCH_STOP_USAGE;
    }

    optind = 1;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        if (!take_option(&options, option, optarg))
            return BENCH_STOP_USAGE;

    if (is_rivals_only) {
        options.impl_cnt--;
        memmove(&options.impls[0], &options.impls[1], options.impl_cnt * sizeof(options.impls[0]));
        if (options.impl_cnt == 0) {
            complain("--rivals-only with no rivals leaves nothing to run");
            return BENCH_STOP_USAGE;
        }
    }
    *ret_options = options;
    return BENCH_GO;
}
