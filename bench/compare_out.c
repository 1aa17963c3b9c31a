/* bench/compare_out.c: what was found, for people and for programs. */
#include <math.h>
#include <string.h>

#include "bench/compare.h"

/* ---- what is different besides weir -------------------------------------------------------------- */

static const char *const machine_members[] = {"cpu",        "kernel",      "cores",      "compiler",
                                              "flags",      "hash",        "congestion", "governor",
                                              "sender_cpu", "receiver_cpu"};
#define MEMBER_CNT (sizeof(machine_members) / sizeof(machine_members[0]))

static bool is_different(const struct compare_report *report, const char *member)
{
    json_t *old = json_object_get(report->old.machine, member);
    json_t *new = json_object_get(report->new.machine, member);

    return old != NULL && new != NULL && !json_equal(old, new);
}

static const char *commit_of(const struct compare_doc *doc)
{
    const char *commit = json_string_value(json_object_get(doc->machine, "commit"));

    return commit != NULL ? commit : "unknown commit";
}

/* ---- table --------------------------------------------------------------------------------------- */

/* A figure in a unit that people read: the unit is told by the name. */
static void show(char *ret_text, size_t len, const char *figure, double value)
{
    size_t end = strlen(figure);

    if (end > 3 && strcmp(figure + end - 3, "_ns") == 0)
        snprintf(ret_text, len, "%.1f us", value / 1e3);
    else if (end > 12 && strcmp(figure + end - 11, "bytes_per_s") == 0)
        snprintf(ret_text, len, "%.2f GB/s", value / 1e9);
    else if (value >= 1e6)
        snprintf(ret_text, len, "%.3f M", value / 1e6);
    else
        snprintf(ret_text, len, "%.4g", value);
}

static void show_value(char *ret_text, size_t len, const char *figure,
                       const struct compare_value *value)
{
    char median[32], least[32], most[32];

    show(median, sizeof(median), figure, value->median);
    show(least, sizeof(least), figure, value->least);
    show(most, sizeof(most), figure, value->most);
    snprintf(ret_text, len, "%s (%s..%s)", median, least, most);
}

static double percent_of(double new, double old)
{
    return old > 0 ? 100 * (new / old - 1) : 0;
}

static void print_finding(const struct compare_finding *finding)
{
    char old[100], new[100], drift[60] = "no rivals";

    show_value(old, sizeof(old), finding->figure, &finding->old);
    show_value(new, sizeof(new), finding->figure, &finding->new);
    if (finding->rival_cnt != 0)
        snprintf(drift, sizeof(drift), "rivals %+.1f..%+.1f %%", 100 * (finding->drift_least - 1),
                 100 * (finding->drift_most - 1));
    printf("%-7s %-28s %-18s %+7.1f %%  %s  %s -> %s\n", compare_verdict_names[finding->verdict],
           finding->row->label, finding->figure,
           percent_of(finding->new.median, finding->old.median), drift, old, new);
}

void compare_table_print(const struct compare_report *report, bool is_all)
{
    printf("%s (%s) -> %s (%s)\n", report->old.path, commit_of(&report->old), report->new.path,
           commit_of(&report->new));
    for (size_t i = 0; i < MEMBER_CNT; i++)
        if (is_different(report, machine_members[i]))
            printf("note: '%s' of the machine is not the same\n", machine_members[i]);
    if (report->only_old_cnt + report->only_new_cnt != 0)
        printf("note: %u results of weir are only in the old, %u only in the new document\n",
               report->only_old_cnt, report->only_new_cnt);
    for (uint32_t i = 0; i < report->finding_cnt; i++)
        if (is_all || report->findings[i].verdict != COMPARE_SAME)
            print_finding(&report->findings[i]);
    printf("%u figures: %u worse, %u better, %u unsure, %u the same\n", report->finding_cnt,
           report->counts[COMPARE_WORSE], report->counts[COMPARE_BETTER],
           report->counts[COMPARE_UNSURE], report->counts[COMPARE_SAME]);
}

/* ---- JSON ---------------------------------------------------------------------------------------- */

static json_t *describe_value(const struct compare_value *value)
{
    return json_pack("{s:f, s:[f, f]}", "median", value->median, "spread", value->least,
                     value->most);
}

static json_t *describe(const struct compare_finding *finding)
{
    return json_pack("{s:s, s:s, s:O, s:s, s:s, s:o, s:o, s:f, s:[f, f], s:i, s:f, s:s}", "case",
                     finding->row->case_name, "label", finding->row->label, "size",
                     json_object_get(finding->row->result, "size"), "figure", finding->figure,
                     "better", finding->is_less_better ? "lower" : "higher", "old",
                     describe_value(&finding->old), "new", describe_value(&finding->new),
                     "change_percent", percent_of(finding->new.median, finding->old.median),
                     "drift", finding->drift_least, finding->drift_most, "rivals",
                     (int)finding->rival_cnt, "tolerance_percent", 100 * finding->tolerance,
                     "verdict", compare_verdict_names[finding->verdict]);
}

static json_t *describe_doc(const struct compare_doc *doc)
{
    json_t *commit = json_object_get(doc->machine, "commit");

    return json_pack("{s:s, s:o}", "path", doc->path, "commit",
                     commit != NULL ? json_incref(commit) : json_null());
}

int compare_json_print(const struct compare_report *report)
{
    json_t *findings = json_array(), *differences = json_array();

    for (uint32_t i = 0; i < report->finding_cnt; i++)
        json_array_append_new(findings, describe(&report->findings[i]));
    for (size_t i = 0; i < MEMBER_CNT; i++)
        if (is_different(report, machine_members[i]))
            json_array_append_new(differences, json_string(machine_members[i]));
    json_t *out = bench_json_begin("compare");
    json_t *rest = json_pack(
        "{s:o, s:o, s:o, s:i, s:i, s:{s:i, s:i, s:i, s:i}, s:o}", "old", describe_doc(&report->old),
        "new", describe_doc(&report->new), "machine_differences", differences, "only_old",
        (int)report->only_old_cnt, "only_new", (int)report->only_new_cnt, "counts", "worse",
        (int)report->counts[COMPARE_WORSE], "better", (int)report->counts[COMPARE_BETTER], "unsure",
        (int)report->counts[COMPARE_UNSURE], "same", (int)report->counts[COMPARE_SAME], "findings",
        findings);
    int error = rest == NULL || json_object_update(out, rest); /* a path that is not UTF-8 */

    json_decref(rest);
    if (error == 0)
        return bench_json_end(out);
    json_decref(out);
    return -1;
}
