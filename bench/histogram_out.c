#include "bench/histogram_out.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#define TICKS_PER_HALF 5.0 /* as HdrHistogram's own tools have it */

/* Standard deviation, from the middles of the cells. */
static double deviation(const struct bench_histogram *histogram, double mean)
{
    double squares = 0;

    for (uint32_t cell = 0; cell < BENCH_HISTOGRAM_CNT; cell++) {
        double off = (double)bench_histogram_value(cell) - mean;
        squares += (double)histogram->cells[cell] * off * off;
    }
    return sqrt(squares / (double)histogram->cnt);
}

/* What a cell's values are called: its middle, but nothing outside of what was seen. */
static uint64_t shown_value(const struct bench_histogram *histogram, uint32_t cell)
{
    uint64_t value = bench_histogram_value(cell);

    if (value < histogram->least)
        return histogram->least;
    return value < histogram->greatest ? value : histogram->greatest;
}

void bench_histogram_print(const struct bench_histogram *histogram, FILE *file)
{
    double total = (double)histogram->cnt;
    double level = 0; /* the percentile, 0 .. 1, that the next line has to reach */
    uint64_t seen = 0;

    fprintf(file, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
            "1/(1-Percentile)");
    for (uint32_t cell = 0; cell < BENCH_HISTOGRAM_CNT && seen < histogram->cnt; cell++) {
        seen += histogram->cells[cell];
        /* The last values are one line that has no fourth column, below. */
        while (histogram->cells[cell] != 0 && seen < histogram->cnt &&
               (double)seen >= level * total) {
            fprintf(file, "%12.3f %14.12f %10llu %14.2f\n", (double)shown_value(histogram, cell),
                    level, (unsigned long long)seen, 1 / (1 - level));
            double halves = floor(log2(1 / (1 - level))) + 1;
            level += 1 / (TICKS_PER_HALF * exp2(halves));
        }
    }
    if (histogram->cnt != 0)
        fprintf(file, "%12.3f %14.12f %10llu\n", (double)histogram->greatest, 1.0,
                (unsigned long long)histogram->cnt);
    double mean = histogram->cnt == 0 ? 0 : (double)histogram->sum / total;
    fprintf(file, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", mean,
            histogram->cnt == 0 ? 0 : deviation(histogram, mean));
    fprintf(file, "#[Max     = %12.3f, Total count    = %12llu]\n",
            histogram->cnt == 0 ? 0 : (double)histogram->greatest,
            (unsigned long long)histogram->cnt);
    fprintf(file, "#[Buckets = %12u, SubBuckets     = %12u]\n",
            BENCH_HISTOGRAM_CNT / BENCH_HISTOGRAM_STEPS, BENCH_HISTOGRAM_STEPS);
}

static int write_one(const struct bench_histogram *histogram, const char *path)
{
    FILE *file = fopen(path, "we");

    if (file != NULL) {
        bench_histogram_print(histogram, file);
        int error = ferror(file);
        if (fclose(file) == 0 && error == 0)
            return 0;
    }
    fprintf(stderr, "weir-bench: %s: %s\n", path, strerror(errno));
    return -1;
}

/* "1000-" in a case that varies a count besides the size. */
static const char *count_text(const struct bench_report *report, const struct bench_result *result,
                              char ret_text[16])
{
    ret_text[0] = 0;
    if (bench_cases[report->options->which].axis != BENCH_AXIS_NONE)
        snprintf(ret_text, 16, "%u-", result->count);
    return ret_text;
}

static const char *second_name(const struct bench_report *report)
{
    return report->options->which == BENCH_WAKE || bench_has_newcomers(report->options->which)
               ? "-alone"
               : "-from-call";
}

int bench_histograms_write(const struct bench_report *report, const char *dir)
{
    const char *name = bench_case_names[report->options->which];
    int status = 0;

    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "weir-bench: %s: %s\n", dir, strerror(errno));
        return -1;
    }
    for (uint32_t i = 0; i < report->result_cnt && status == 0; i++) {
        const struct bench_result *result = &report->results[i];
        char path[4200], count[16];
        for (uint32_t k = 0; k < 2 && status == 0; k++) {
            const struct bench_histogram *histogram = &result->latencies[k];
            if (result->latencies == NULL || histogram->cnt == 0)
                continue;
            snprintf(path, sizeof(path), "%.4000s/%s-%u-%s%s%s.hgrm", dir, name, result->size,
                     count_text(report, result, count), result->impl->name,
                     k == 0 ? "" : second_name(report));
            status = write_one(histogram, path);
        }
    }
    return status;
}
