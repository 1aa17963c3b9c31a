/* weir sim: the proving ground: replays one seed, or runs many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "engine/prove/world.h"
#include "sim_run.h"
#include "tools/cli.h"
#include "tools/commands.h"
#include "tools/json_out.h"

#define TRACE_LINES 60u
#define FILE_SEEDS_MAX 10000u

struct options {
    struct prove_config cfg;
    uint64_t seed_cnt, virtual_ns;
    const char *file;
    uint32_t job_cnt, trace_cnt;
    bool has_seed, is_json, is_minimising;
    uint64_t next_said_ms;
};

static int bad(const char *what, const char *value)
{
    return cli_fail(CLI_USAGE, "sim", "weir sim --help says what it takes", "%s '%s'", what, value);
}

static bool take_classes(const char *text, uint32_t *ret_classes)
{
    while (*text) {
        size_t len = strcspn(text, ",");
        uint32_t idx = 0;
        const char *name;
        while ((name = prove_class_name(idx)) && (strlen(name) != len || strncmp(name, text, len)))
            idx++;
        if (!name)
            return false;
        *ret_classes |= 1u << idx;
        text += len + (text[len] == ',');
    }
    return true;
}

static bool take_secure(const char *text, uint32_t *ret_secure)
{
    for (uint32_t i = 1; i < PROVE_SECURE_CNT; i++) {
        if (strcmp(text, prove_secure_name(i)) != 0)
            continue;
        *ret_secure = i;
        return true;
    }
    return false;
}

static int set(void *ctx, int key, const char *value)
{
    struct options *options = ctx;
    uint64_t number = 0;
    switch (key) {
    case 's':
        options->has_seed = true;
        if (!cli_number(value, 0, UINT64_MAX, &options->cfg.seed))
            return bad("not a seed:", value);
        break;
    case 'c':
        if (!cli_number(value, 1, UINT32_MAX, &options->seed_cnt))
            return bad("not a number of seeds:", value);
        break;
    case 'T':
        if (!cli_number(value, 1, 1000000, &number))
            return bad("not a number of minutes:", value);
        options->virtual_ns = number * 60 * WEIR_NS_PER_S;
        break;
    case 'n':
        if (!cli_number(value, 1, 8, &number))
            return bad("1 to 8 nodes, not", value);
        options->cfg.node_cnt = (uint32_t)number;
        break;
    case 'm':
        if (!cli_number(value, 1, 10000, &number))
            return bad("not a number of minutes:", value);
        options->cfg.duration_ns = number * 60 * WEIR_NS_PER_S;
        break;
    case 'p':
        if (!world_profile_find(value))
            return bad("the profiles are 6.1, 6.12 and 6.18, not", value);
        options->cfg.profile = value;
        break;
    case 'e':
        if (!take_secure(value, &options->cfg.secure))
            return bad("encryption is yes, no or mixed, not", value);
        break;
    case 'o':
        if (!take_classes(value, &options->cfg.off))
            return bad("not a list of fault classes:", value);
        break;
    case 'J':
        if (!cli_number(value, 1, 64, &number))
            return bad("1 to 64 jobs, not", value);
        options->job_cnt = (uint32_t)number;
        break;
    case 't':
        if (!cli_number(value, 1, 1000000, &number))
            return bad("not a number of lines:", value);
        options->trace_cnt = (uint32_t)number;
        break;
    case 'f':
        options->file = value;
        break;
    case 'M':
        options->is_minimising = true;
        break;
    case 'j':
        options->is_json = true;
        break;
    }
    return -1;
}

static const struct cli_option option_list[] = {
    {"seed", "S", "the first seed; default: a random one, which is printed", 's'},
    {"seeds", "COUNT", "how many seeds, from the first on; default 1", 'c'},
    {"total", "M", "and as many more as make M minutes of virtual time", 'T'},
    {"file", "PATH", "the seeds of a file, one a line, # begins a comment", 'f'},
    {"nodes", "N", "1 to 8; default: as the seed says", 'n'},
    {"minutes", "M", "virtual minutes with faults; default: as the seed says", 'm'},
    {"profile", "KERNEL", "6.1, 6.12 or 6.18; default: as the seed says", 'p'},
    {"secure", "yes|no|mixed", "whether nodes encrypt; default: as the seed says", 'e'},
    {"off", "CLASS,...", "fault classes that stay off", 'o'},
    {"jobs", "J", "processes; default: one per CPU", 'J'},
    {"minimise", NULL,
     "on failure, turn encryption and fault classes off one by one as long as it fails", 'M'},
    {"trace", "LINES", "of one seed: print the last lines of its trace", 't'},
    {"json", NULL, "print the result as JSON", 'j'},
};

static const struct cli_command command = {
    .name = "sim",
    .usage = "[--seed S] [--seeds COUNT] [OPTION...]",
    .intro =
        "Runs whole clusters in a simulated world: virtual time, an io_uring and a network that "
        "behave as badly as they may, an application that does anything, and oracles that "
        "check every step. A seed says it all: the same seed runs the same way.",
    .notes =
        "fault classes: short delay end cq enter full refuse reset loss corrupt cut clog pause\n"
        "  crash restart memory disconnect dial hold keep slow broadcast large away tight lossy\n"
        "Exit code 0 when every seed is fine, 1 when one failed.",
    .options = option_list,
    .option_cnt = sizeof(option_list) / sizeof(option_list[0]),
    .set = set,
};

/* ---- saying -------------------------------------------------------------------------------- */

static void print_classes(FILE *stream, uint32_t classes)
{
    const char *comma = "";
    for (uint32_t i = 0; i < PROVE_CLASS_CNT; i++) {
        if (!(classes >> i & 1))
            continue;
        fprintf(stream, "%s%s", comma, prove_class_name(i));
        comma = ",";
    }
}

static void print_command(FILE *stream, const struct prove_config *cfg)
{
    fprintf(stream, "weir sim --seed %llu", (unsigned long long)cfg->seed);
    if (cfg->node_cnt)
        fprintf(stream, " --nodes %u", cfg->node_cnt);
    if (cfg->duration_ns)
        fprintf(stream, " --minutes %llu",
                (unsigned long long)(cfg->duration_ns / WEIR_NS_PER_S / 60));
    if (cfg->profile)
        fprintf(stream, " --profile %s", cfg->profile);
    if (cfg->secure)
        fprintf(stream, " --secure %s", prove_secure_name(cfg->secure));
    if (cfg->off) {
        fprintf(stream, " --off ");
        print_classes(stream, cfg->off);
    }
    fprintf(stream, "\n");
}

static uint64_t now_ms(void)
{
    return weir_now() / WEIR_NS_PER_MS;
}

static void progress(void *ctx, const struct sim_totals *totals)
{
    struct options *options = ctx;
    bool is_terminal = isatty(STDERR_FILENO);
    if (now_ms() < options->next_said_ms)
        return;
    options->next_said_ms = now_ms() + (is_terminal ? 1000 : 15000);
    fprintf(stderr, "%s%llu of %llu seeds, %.1f virtual hours%s", is_terminal ? "\r" : "",
            (unsigned long long)totals->seeds, (unsigned long long)options->seed_cnt,
            (double)totals->virtual_ns / 3.6e12, is_terminal ? "   " : "\n");
}

/* ---- results ------------------------------------------------------------------------------- */

static int print_json(const struct options *options, const struct sim_totals *totals,
                      const struct sim_outcome *failed)
{
    struct json_out *top = json_out_object();
    json_out_bool(top, "passed", failed == NULL);
    json_out_count(top, "first_seed", options->cfg.seed);
    json_out_count(top, "seeds", totals->seeds);
    json_out_count(top, "run_twice", totals->twice);
    json_out_real(top, "virtual_hours", (double)totals->virtual_ns / 3.6e12);
    json_out_count(top, "turns", totals->turns);
    json_out_count(top, "messages_sent", totals->sent);
    json_out_count(top, "messages_delivered", totals->delivered);
    json_out_count(top, "connections", totals->links);
    json_out_count(top, "connections_encrypted", totals->secure_links);
    json_out_count(top, "crashes", totals->crashes);
    char hash[17];
    snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)totals->hash);
    json_out_text(top, "hash", hash);
    if (failed) {
        json_out_count(top, "failed_seed", failed->seed);
        json_out_text(top, "oracle", failed->res.oracle);
        if (failed->res.secure)
            json_out_text(top, "secure", prove_secure_name(failed->res.secure));
        json_out_text(top, "text", failed->res.text);
        json_out_real(top, "at_s", (double)failed->res.at_ns / 1e9);
    }
    return json_out_print(stdout, top, true) ? 0 : -1;
}

static void said_minimise(void *ctx, const char *what, bool is_same)
{
    (void)ctx;
    fprintf(stderr, "without %s: %s\n", what,
            is_same ? "it still fails" : "it does not fail like that");
}

static int say_failed(const struct options *options, const struct sim_outcome *failed)
{
    struct prove_config cfg = options->cfg;
    struct sim_outcome again;
    cfg.seed = failed->seed;
    cfg.secure =
        failed->res.secure; /* said, so that the seed says the same when shares have changed */
    if (options->is_minimising) {
        cfg = sim_minimise(&cfg, failed, said_minimise, NULL);
        fprintf(stderr, "minimised: ");
        print_command(stderr, &cfg);
    }
    bool is_traced = options->trace_cnt && options->seed_cnt == 1 && !options->virtual_ns &&
                     !options->is_minimising;
    if (!options->is_json && !is_traced)
        (void)sim_run_one(&cfg, options->trace_cnt ? options->trace_cnt : TRACE_LINES, &again);
    printf("\nseed %llu FAILED after %.6f s: %s: %s\n", (unsigned long long)failed->seed,
           (double)failed->res.at_ns / 1e9, failed->res.oracle, failed->res.text);
    printf("fault classes: ");
    print_classes(stdout, failed->res.classes & ~cfg.off);
    printf("\nto have it again: ");
    print_command(stdout, &cfg);
    return CLI_FAILED;
}

static int64_t read_seeds(const char *path, uint64_t *ret_seeds)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return -1;
    char line[256];
    int64_t cnt = 0;
    while (cnt < FILE_SEEDS_MAX && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "# \t\r\n")] = '\0';
        if (line[0] && cli_number(line, 0, UINT64_MAX, &ret_seeds[cnt]))
            cnt++;
    }
    fclose(file);
    return cnt;
}

int cmd_sim(int argc, char **argv)
{
    static uint64_t seeds[FILE_SEEDS_MAX];
    struct options options = {.seed_cnt = 1};
    int code = cli_parse(&command, argc, argv, &options);
    if (code >= 0)
        return code;
    if (options.file && options.virtual_ns)
        return bad("a file has the seeds that it has: --total does not go with", options.file);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (!options.job_cnt)
        options.job_cnt = cpus > 0 && cpus <= 64 ? (uint32_t)cpus : 1;
    if (options.file) {
        int64_t cnt = read_seeds(options.file, seeds);
        if (cnt < 0)
            return cli_fail(CLI_USAGE, "sim", NULL, "cannot read %s", options.file);
        options.seed_cnt = (uint64_t)cnt;
    } else if (!options.has_seed) {
        uint32_t random = 0;
        if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
            return cli_fail(CLI_FAILED, "sim", NULL, "no randomness");
        options.cfg.seed = (uint64_t)random * 1000000;
    }
    if (!options.file)
        fprintf(stderr, "seeds %llu to %llu\n", (unsigned long long)options.cfg.seed,
                (unsigned long long)(options.cfg.seed + options.seed_cnt - 1));
    if (options.virtual_ns)
        fprintf(stderr, "and more until they make %.1f virtual hours\n",
                (double)options.virtual_ns / 3.6e12);
    struct sim_totals totals = {0};
    struct sim_outcome failed = {0};
    int res;
    if (options.trace_cnt && options.seed_cnt == 1 && !options.file && !options.virtual_ns) {
        res = sim_run_one(&options.cfg, options.trace_cnt, &failed);
        res = res < 0 ? res : !failed.res.is_failed;
        totals = (struct sim_totals){.seeds = 1,
                                     .virtual_ns = failed.res.virtual_ns,
                                     .turns = failed.res.turns,
                                     .sent = failed.res.sent,
                                     .delivered = failed.res.delivered,
                                     .links = failed.res.links,
                                     .secure_links = failed.res.secure_links,
                                     .crashes = failed.res.crashes,
                                     .hash = failed.res.hash};
    } else {
        res =
            sim_run_many(&options.cfg, options.file ? seeds : NULL, options.seed_cnt,
                         options.virtual_ns, options.job_cnt, progress, &options, &totals, &failed);
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\n");
    }
    if (res < 0)
        return cli_fail(CLI_FAILED, "sim", NULL, "%s", strerror(-res));
    if (options.is_json && print_json(&options, &totals, res ? NULL : &failed) != 0)
        return cli_fail(CLI_FAILED, "sim", NULL, "cannot write to standard output");
    if (!res)
        return options.is_json && !options.is_minimising ? CLI_FAILED
                                                         : say_failed(&options, &failed);
    if (!options.is_json)
        printf(
            "%llu seeds passed, %llu of them run twice with one hash; %.2f virtual hours, %llu turns, "
            "%llu messages sent, %llu delivered, %llu connections (%llu encrypted), %llu crashes\n",
            (unsigned long long)totals.seeds, (unsigned long long)totals.twice,
            (double)totals.virtual_ns / 3.6e12, (unsigned long long)totals.turns,
            (unsigned long long)totals.sent, (unsigned long long)totals.delivered,
            (unsigned long long)totals.links, (unsigned long long)totals.secure_links,
            (unsigned long long)totals.crashes);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}
