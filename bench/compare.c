#include "bench/compare.h"

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REPEAT_SURE 5u
#define TOLERANCE_SURE 0.05
#define TOLERANCE_FEW 0.15
#define SAMPLES_BEYOND 2.0 /* a percentile is of use when so many samples lie above it */

const char *const compare_verdict_names[4] = {"same", "better", "worse", "unsure"};

/* Compared in every case that has them, next to the case's main figure. */
struct rule {
    const char *figure;
    bool is_less_better;
    double beyond; /* of a percentile, the share of samples above it; else 0 */
    double floor;  /* a difference of this or less is none */
};

static const struct rule rules[] = {
    {"p50_ns", true, 0.5, 0},
    {"p99_ns", true, 0.01, 0},
    {"p99_9_ns", true, 0.001, 0},
    {"bulk_ratio", false, 0, 0.02},
    {"share_error_points", true, 0, 0.3}, /* the goal's own tolerance */
    {"cpu_s_per_mmsg", true, 0, 0},
};
#define RULE_CNT (sizeof(rules) / sizeof(rules[0]))

static const struct compare_row *find_row(const struct compare_doc *doc, const char *key,
                                          const char *impl)
{
    for (uint32_t i = 0; i < doc->row_cnt; i++)
        if (strcmp(doc->rows[i].key, key) == 0 && strcmp(doc->rows[i].impl, impl) == 0)
            return &doc->rows[i];
    return NULL;
}

/* Whatever its transport is. */
static bool is_weir(const struct compare_row *row)
{
    static const char *const names[] = {"weir", "secure", "secure-aes"};

    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(row->impl, names[i]) == 0)
            return true;
    return false;
}

/* By how much the figure changed for those whose code did not: the machine. */
static void find_drift(const struct compare_report *report, struct compare_finding *finding)
{
    finding->drift_least = INFINITY;
    finding->drift_most = 0;
    for (uint32_t i = 0; i < report->new.row_cnt; i++) {
        const struct compare_row *row = &report->new.rows[i];
        struct compare_value old, new;
        if (is_weir(row) || strcmp(row->key, finding->row->key) != 0)
            continue;
        const struct compare_row *before = find_row(&report->old, row->key, row->impl);
        if (before == NULL || !compare_row_figure(row, finding->figure, &new) ||
            !compare_row_figure(before, finding->figure, &old) || old.median <= 0 ||
            new.median <= 0)
            continue;
        finding->drift_least = fmin(finding->drift_least, new.median / old.median);
        finding->drift_most = fmax(finding->drift_most, new.median / old.median);
        finding->rival_cnt++;
    }
    if (finding->rival_cnt == 0)
        finding->drift_least = finding->drift_most = 1;
}

/* The rule of compare.h. */
static enum compare_verdict judge(const struct compare_finding *finding, double floor)
{
    const struct compare_value *old = &finding->old, *new = &finding->new;
    double low = old->median * finding->drift_least, high = old->median * finding->drift_most;
    bool is_below = new->most < old->least * finding->drift_least &&new->median <
                    low *(1 - finding->tolerance) - floor;
    bool is_above = new->least > old->most * finding->drift_most &&new->median >
                    high *(1 + finding->tolerance) + floor;

    if (!is_below && !is_above)
        return COMPARE_SAME;
    return is_above == finding->is_less_better ? COMPARE_WORSE : COMPARE_BETTER;
}

/* Whether a run has enough samples above a percentile to speak of it. */
static bool has_samples(const struct compare_row *row, double beyond)
{
    struct compare_value samples;

    return beyond <= 0 || !compare_row_figure(row, "samples", &samples) ||
           samples.least * beyond >= SAMPLES_BEYOND;
}

static void compare_figure(struct compare_report *report, const struct compare_row *old,
                           const struct compare_row *new, const struct rule *rule)
{
    struct compare_finding *finding = &report->findings[report->finding_cnt];
    uint32_t repeat = old->repeat < new->repeat ? old->repeat : new->repeat;

    *finding = (struct compare_finding){
        .row = new,
        .figure = rule->figure,
        .is_less_better = rule->is_less_better,
        .tolerance = report->tolerance >= 0  ? report->tolerance
                     : repeat >= REPEAT_SURE ? TOLERANCE_SURE
                                             : TOLERANCE_FEW,
    };
    if (!compare_row_figure(old, rule->figure, &finding->old) ||
        !compare_row_figure(new, rule->figure, &finding->new))
        return;
    find_drift(report, finding);
    finding->verdict = judge(finding, rule->floor);
    if (finding->verdict != COMPARE_SAME &&
        (repeat < COMPARE_REPEAT_MIN || !has_samples(old, rule->beyond) ||
         !has_samples(new, rule->beyond)))
        finding->verdict = COMPARE_UNSURE;
    report->counts[finding->verdict]++;
    report->finding_cnt++;
}

static void compare_rows(struct compare_report *report, const struct compare_row *old,
                         const struct compare_row *new)
{
    struct rule main_rule = {new->main_figure, new->is_main_less_better, 0, 0};

    for (uint32_t i = 0; i < RULE_CNT; i++)
        if (strcmp(rules[i].figure, new->main_figure) == 0)
            main_rule = rules[i];
    compare_figure(report, old, new, &main_rule);
    for (uint32_t i = 0; i < RULE_CNT; i++)
        if (strcmp(rules[i].figure, new->main_figure) != 0)
            compare_figure(report, old, new, &rules[i]);
}

/* Returns 0, or -1 with the reason on standard error. */
static int compare_docs(struct compare_report *report)
{
    report->findings =
        calloc((size_t)report->new.row_cnt *(RULE_CNT + 1), sizeof(*report->findings));
    if (report->findings == NULL) {
        fprintf(stderr, "weir-bench compare: out of memory\n");
        return -1;
    }
    for (uint32_t i = 0; i < report->new.row_cnt; i++) {
        const struct compare_row *new = &report->new.rows[i];
        if (!is_weir(new))
            continue;
        const struct compare_row *old = find_row(&report->old, new->key, new->impl);
        if (old == NULL)
            report->only_new_cnt++;
        else
            compare_rows(report, old, new);
    }
    for (uint32_t i = 0; i < report->old.row_cnt; i++)
        if (is_weir(&report->old.rows[i]) &&
            find_row(&report->new, report->old.rows[i].key, report->old.rows[i].impl) == NULL)
            report->only_old_cnt++;
    if (report->finding_cnt > 0)
        return 0;
    fprintf(stderr,
            "weir-bench compare: %s and %s have no result of weir in common: no case with the "
            "same inputs is in both\n",
            report->old.path, report->new.path);
    return -1;
}

static void print_help(FILE *file)
{
    fputs(
        "usage: weir-bench compare OLD.json NEW.json [--json] [--all] [--tolerance PERCENT]\n"
        "\n"
        "Says what of weir changed between two documents of scripts/bench or of weir-bench --json\n"
        "beyond the noise that both recorded and beyond what changed for the rivals as well.\n"
        "\n"
        "  --json               one JSON document on standard output\n"
        "  --all                also the figures that did not change\n"
        "  --tolerance PERCENT  changes up to this are none (default 5; 15 below 5 repeats)\n"
        "\n"
        "Exit code: 0 nothing is worse; 1 something is; 2 wrong arguments, or a document that\n"
        "cannot be read or compared.\n",
        file);
}

static bool parse_tolerance(const char *text, double *ret_tolerance)
{
    char *end;
    double percent = strtod(text, &end);

    if (end == text || *end != 0 || !(percent >= 0 && percent <= 1000)) {
        fprintf(stderr, "weir-bench compare: --tolerance: '%s' is not a number from 0 to 1000\n",
                text);
        return false;
    }
    *ret_tolerance = percent / 100;
    return true;
}

static int run(struct compare_report *report, bool is_json, bool is_all)
{
    char text[600];

    if (compare_doc_load(&report->old, report->old.path, text, sizeof(text)) != 0 ||
        compare_doc_load(&report->new, report->new.path, text, sizeof(text)) != 0) {
        fprintf(stderr, "weir-bench compare: %s\n", text);
        return 2;
    }
    if (compare_docs(report) != 0)
        return 2;
    if (!is_json) {
        compare_table_print(report, is_all);
    } else if (compare_json_print(report) != 0) {
        fprintf(stderr, "weir-bench compare: the result could not be written\n");
        return 2;
    }
    return report->counts[COMPARE_WORSE] > 0 ? 1 : 0;
}

int bench_compare_main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"all", no_argument, NULL, 'a'},
        {"tolerance", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct compare_report report = {.tolerance = -1};
    bool is_json = false, is_all = false;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'j':
            is_json = true;
            break;
        case 'a':
            is_all = true;
            break;
        case 't':
            if (!parse_tolerance(optarg, &report.tolerance))
                return 2;
            break;
        case 'h':
            print_help(stdout);
            return 0;
        default:
            return 2; /* getopt said what it does not understand */
        }
    }
    if (argc - optind != 2) {
        fputs("weir-bench compare: two documents are needed, OLD and NEW\n", stderr);
        print_help(stderr);
        return 2;
    }
    report.old.path = argv[optind];
    report.new.path = argv[optind + 1];
    int status = run(&report, is_json, is_all);
    compare_doc_free(&report.old);
    compare_doc_free(&report.new);
    free(report.findings);
    return status;
}
