/* bench/table_out.c: the report for a reader at a terminal. */
#include "bench/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/table.h"

static int width_of(const struct bench_column *column)
{
    int title = (int)strlen(column->title) + 1;
    int least = column->has_spread ? 26 : 7;

    return title > least ? title : least;
}

/* So many that two or three digits of a median that is far below the column's unit are seen: 4 MiB messages are
 * counted by millions too. */
static int digits_of(const struct bench_column *column, double median)
{
    int digits = column->digits;

    for (double shown = median * pow(10, digits); shown > 0 && shown < 100 && digits < 5;
         shown *= 10)
        digits++;
    return column->has_spread ? digits : column->digits;
}

static void print_cell(const struct bench_column *column, const struct bench_summary *summary)
{
    double median = summary->median[column->figure] / column->unit;
    double least = summary->least[column->figure] / column->unit;
    double most = summary->most[column->figure] / column->unit;
    int digits = digits_of(column, median);
    char text[80];

    if (isnan(median))
        snprintf(text, sizeof(text), "-");
    else if (column->has_spread)
        snprintf(text, sizeof(text), "%.*f (%.*f..%.*f)", digits, median, digits, least, digits,
                 most);
    else
        snprintf(text, sizeof(text), "%.*f", digits, median);
    printf(" %*s", width_of(column), text);
}

static void print_size(uint32_t size)
{
    if (size == 0)
        printf("%9s", "-");
    else if (size >= 1024 * 1024 && size % (1024 * 1024) == 0)
        printf("%5u MiB", size / (1024 * 1024));
    else if (size >= 1024 && size % 1024 == 0)
        printf("%5u KiB", size / 1024);
    else
        printf("%5u B  ", size);
}

static void print_head(const struct bench_report *report)
{
    const struct bench_options *options = report->options;
    const struct bench_machine *machine = &report->machine;
    const char *congestion = report->job->congestion;

    printf("%s: %s\n", bench_case_names[options->which], bench_case_texts[options->which]);
    printf("  %s, %s, %d cores; load %.2f before, %.2f after\n", machine->kernel, machine->cpu,
           machine->cores, machine->load_before, machine->load_after);
    printf("  sender on CPU %d, receiver on CPU %d%s, loopback TCP, %s%s%s\n", report->cpus.sender,
           report->cpus.receiver, report->cpus.cnt < 2 ? " (only one may be used)" : "",
           congestion != NULL ? congestion : machine->congestion_system,
           congestion != NULL ? "" : " (the system's)", options->is_busy ? ", spinning" : "");
    if (options->is_mixed)
        puts("  messages of that size and of a 4th, a 16th and a 256th of it");
    if (options->recv_buffer != 0)
        printf("  SO_RCVBUF of every socket %u bytes\n", options->recv_buffer);
    if (options->which == BENCH_RATE)
        printf("  %u messages a second offered\n", report->job->rate);
    printf("  medians (least..most) of %u runs of %g s after %.2g s of warm-up, interleaved\n",
           options->repeat, options->seconds, (double)report->job->warmup_ns * 1e-9);
    printf("  weir %s%s%s, %s, %s; XXH3 for %s\n\n", weir_version(),
           machine->commit != NULL ? " " : "", machine->commit != NULL ? machine->commit : "",
           machine->compiler, machine->flags, machine->hash);
}

static void print_shares(const struct bench_report *report, const struct bench_result *result)
{
    printf("%25s", "");
    for (uint32_t i = 0; i < report->job->channel_cnt; i++) {
        uint32_t at = FIG_SHARE_PERCENT + i;
        printf("%s weight %u: %.2f %% (%.2f..%.2f), due %.2f", i == 0 ? "" : ";",
               report->job->channels[i].weight, result->summary.median[at],
               result->summary.least[at], result->summary.most[at],
               bench_share_due(report->job, i));
    }
    printf("\n");
}

static void print_ratios(const struct bench_report *report, const struct bench_result *result)
{
    enum bench_figure figure = bench_cases[report->options->which].main;

    if (result->ratio_cnt == 0)
        return;
    printf("%25s %s's %s is", "", result->impl->name, bench_figure_names[figure]);
    for (uint32_t i = 0; i < result->ratio_cnt; i++) {
        const struct bench_ratio *ratio = &result->ratios[i];
        printf("%s %.2f x %s (%.2f..%.2f)", i == 0 ? "" : ",", ratio->median, ratio->rival->name,
               ratio->least, ratio->most);
    }
    printf("%s\n", bench_figure_is_less_better(figure) ? "; lower is better" : "");
}

void bench_table_print(const struct bench_report *report)
{
    const struct bench_column *columns = bench_columns[report->options->which];
    const char *axis = bench_axis_names[bench_cases[report->options->which].axis];

    print_head(report);
    printf("%9s  ", "size");
    if (axis != NULL)
        printf("%11s  ", axis);
    printf("%-12s", "impl");
    for (const struct bench_column *column = columns; column->title != NULL; column++)
        printf(" %*s", width_of(column), column->title);
    printf("\n");
    for (uint32_t i = 0; i < report->result_cnt; i++) {
        const struct bench_result *result = &report->results[i];

        print_size(result->size);
        if (axis != NULL)
            printf("  %11u", result->count);
        printf("  %-12s", result->impl->name);
        for (const struct bench_column *column = columns; column->title != NULL; column++)
            print_cell(column, &result->summary);
        printf("\n");
        if (!isnan(result->summary.median[FIG_SHARE_ERROR]))
            print_shares(report, result);
        /* Behind the last implementation of a size. */
        if ((i + 1) % report->options->impl_cnt == 0)
            print_ratios(report, &report->results[i + 1 - report->options->impl_cnt]);
    }
    printf("\n");
    for (uint32_t i = 0; i < report->options->impl_cnt; i++) {
        const struct bench_impl *impl = report->options->impls[i];
        const char *note = impl->notes[report->options->which];
        printf("  %-12s %s%s%s\n", impl->name, impl->what, note != NULL ? "; " : "",
               note != NULL ? note : "");
    }
}
