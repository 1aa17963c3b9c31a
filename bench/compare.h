/* bench/compare.h: weir-bench compare OLD NEW: what changed between two runs beyond their noise.
 *
 *   compare_doc.c   a document from a file, checked to the last figure -> rows
 *   compare.c       the rule: pairs of rows -> findings; the command
 *   compare_out.c   findings -> a table or a document
 *
 * A *row* is one implementation in one case with one set of inputs. weir's rows are judged; those of
 * the rivals say how much the machine itself changed (its *drift*).
 *
 * The rule, for each figure of a row of weir that both documents have:
 *
 *   - drift is from the least to the greatest of new / old of the same figure among the rivals that both
 *     documents have in that case with those inputs; without rivals it is 1;
 *   - the old figure and its spread are multiplied by the drift, which widens the spread when rivals
 *     disagree;
 *   - the figure changed when the new spread lies outside of that one, and the new median is further
 *     from the nearer end of the old median's drift than the tolerance: 5 % where both documents have
 *     5 repeats or more, 15 % with 3 or 4 (--tolerance sets another);
 *   - with fewer than 3 repeats nothing is judged: the verdict is "unsure". So is a percentile's beyond
 *     which a run has fewer than 2 samples.
 */
#ifndef WEIR_BENCH_COMPARE_H
#define WEIR_BENCH_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/json.h"

#define COMPARE_ROWS_MAX 4096u
#define COMPARE_REPEAT_MIN 3u

struct compare_row {
    const char *case_name, *impl; /* the document's */
    char *label;                  /* "throughput 64 B", for people */
    char *key;            /* case, inputs and parameters: equal where rows may be compared */
    const json_t *result; /* the document's; every figure was checked */
    const char *main_figure;
    bool is_main_less_better;
    uint32_t repeat;
};

struct compare_doc {
    const char *path;
    json_t *root;
    const json_t *machine; /* of the first case */
    struct compare_row *rows;
    uint32_t row_cnt;
};

/* Reads and checks a document of weir-bench (one case) or of scripts/bench (many).
 * Returns 0, or -1 with what is wrong, and where, in `ret_text`; free it in both cases. */
int compare_doc_load(struct compare_doc *ret_doc, const char *path, char *ret_text, size_t len);
void compare_doc_free(struct compare_doc *doc);

/* A figure of a row: false when it has none. */
struct compare_value {
    double median, least, most;
};
bool compare_row_figure(const struct compare_row *row, const char *figure,
                        struct compare_value *ret_value);

enum compare_verdict { COMPARE_SAME, COMPARE_BETTER, COMPARE_WORSE, COMPARE_UNSURE };
extern const char *const compare_verdict_names[4];

struct compare_finding {
    const struct compare_row *row; /* of the new document */
    const char *figure;
    bool is_less_better;
    struct compare_value old, new;
    double drift_least, drift_most;
    uint32_t rival_cnt; /* that the drift is of */
    double tolerance;
    enum compare_verdict verdict;
};

struct compare_report {
    struct compare_doc old, new;
    struct compare_finding *findings;
    uint32_t finding_cnt;
    uint32_t counts[4];                  /* by verdict */
    uint32_t only_old_cnt, only_new_cnt; /* weir's rows that the other document does not have */
    double tolerance;                    /* as asked for; negative: by the number of repeats */
};

void compare_table_print(const struct compare_report *report, bool is_all);

/* Returns 0, or -1 when it could not be written. */
int compare_json_print(const struct compare_report *report);

/* The command. Returns its exit code: 0 nothing is worse, 1 something is, 2 it could not be told. */
int bench_compare_main(int argc, char **argv);

#endif
