/* bench/table_out.c: the report for a reader at a terminal. */
#include "bench/report.h"

#include <stdio.h>
#include <string.h>

/* A column: a figure, what it is divided by, how many digits behind the point. */
struct column {
    enum bench_figure figure;
    const char *title;
    double unit;
    int digits;
    bool has_spread;
};

static const struct column throughput_columns[] = {
    {FIG_MSGS_PER_S, "Mmsg/s", 1e6, 3, true},
    {FIG_BYTES_PER_S, "GB/s", 1e9, 2, false},
    {FIG_CPU_S_PER_GB, "cpu s/GB", 1, 3, false},
    {FIG_SENDER_CPU, "cpu snd %", 0.01, 0, false},
    {FIG_RECEIVER_CPU, "rcv %", 0.01, 0, false},
    {FIG_SENDER_SYSCALLS_PER_MSG, "calls/msg snd", 1, 5, false},
    {FIG_RECEIVER_SYSCALLS_PER_MSG, "rcv", 1, 5, false},
    {FIG_PREEMPTED_PER_S, "preempted/s", 1, 0, false},
    {FIG_CNT, NULL, 0, 0, false},
};
static const struct column rtt_columns[] = {
    {FIG_P50_NS, "p50 us", 1e3, 1, true},
    {FIG_P90_NS, "p90", 1e3, 1, false},
    {FIG_P99_NS, "p99", 1e3, 1, true},
    {FIG_P999_NS, "p99.9", 1e3, 1, false},
    {FIG_P9999_NS, "p99.99", 1e3, 1, false},
    {FIG_MAX_NS, "max", 1e3, 0, false},
    {FIG_MSGS_PER_S, "k/s", 1e3, 1, false},
    {FIG_SENDER_SYSCALLS_PER_MSG, "calls/msg snd", 1, 2, false},
    {FIG_RECEIVER_SYSCALLS_PER_MSG, "rcv", 1, 2, false},
    {FIG_PREEMPTED_PER_S, "preempted/s", 1, 0, false},
    {FIG_CNT, NULL, 0, 0, false},
};
static const struct column urgent_columns[] = {
    {FIG_P50_NS, "p50 us", 1e3, 1, true},
    {FIG_P99_NS, "p99", 1e3, 1, true},
    {FIG_MAX_NS, "max", 1e3, 0, false},
    {FIG_CALL_P50_NS, "call p50", 1e3, 1, false},
    {FIG_CALL_P99_NS, "call p99", 1e3, 1, false},
    {FIG_BULK_BYTES_PER_S, "bulk GB/s", 1e9, 2, false},
    {FIG_BULK_ALONE_BYTES_PER_S, "alone", 1e9, 2, false},
    {FIG_BULK_RATIO, "ratio", 1, 2, true},
    {FIG_PREEMPTED_PER_S, "preempted/s", 1, 0, false},
    {FIG_CNT, NULL, 0, 0, false},
};
static const struct column share_columns[] = {
    {FIG_BYTES_PER_S, "GB/s", 1e9, 2, true},
    {FIG_SHARE_ERROR, "off by points", 1, 2, true},
    {FIG_CPU_S_PER_GB, "cpu s/GB", 1, 3, false},
    {FIG_SENDER_SYSCALLS_PER_MSG, "calls/msg snd", 1, 4, false},
    {FIG_RECEIVER_SYSCALLS_PER_MSG, "rcv", 1, 4, false},
    {FIG_CREDIT_STALLS_PER_S, "stalls/s", 1, 0, false},
    {FIG_PREEMPTED_PER_S, "preempted/s", 1, 0, false},
    {FIG_CNT, NULL, 0, 0, false},
};
static const struct column rate_columns[] = {
    {FIG_P50_NS, "p50 us", 1e3, 1, true},
    {FIG_P90_NS, "p90", 1e3, 1, false},
    {FIG_P99_NS, "p99", 1e3, 1, true},
    {FIG_P999_NS, "p99.9", 1e3, 1, false},
    {FIG_P9999_NS, "p99.99", 1e3, 1, false},
    {FIG_MAX_NS, "max", 1e3, 0, false},
    {FIG_MSGS_PER_S, "k/s", 1e3, 1, false},
    {FIG_UNSENT, "unsent", 1, 0, false},
    {FIG_SENDER_CPU, "cpu snd %", 0.01, 0, false},
    {FIG_RECEIVER_CPU, "rcv %", 0.01, 0, false},
    {FIG_PREEMPTED_PER_S, "preempted/s", 1, 0, false},
    {FIG_CNT, NULL, 0, 0, false},
};
static const struct column *const columns_of[BENCH_CASE_CNT] = {
    [BENCH_THROUGHPUT] = throughput_columns,
    [BENCH_RTT] = rtt_columns,
    [BENCH_URGENT] = urgent_columns,
    [BENCH_SHARE] = share_columns,
    [BENCH_RATE] = rate_columns,
};

static int width_of(const struct column *column)
{
    int title = (int)strlen(column->title) + 1;
    int least = column->has_spread ? 22 : 7;

    return title > least ? title : least;
}

static void print_cell(const struct column *column, const struct bench_summary *summary)
{
    double median = summary->median[column->figure] / column->unit;
    double least = summary->least[column->figure] / column->unit;
    double most = summary->most[column->figure] / column->unit;
    char text[80];

    if (isnan(median))
        snprintf(text, sizeof(text), "-");
    else if (column->has_spread)
        snprintf(text, sizeof(text), "%.*f (%.*f..%.*f)", column->digits, median, column->digits,
                 least, column->digits, most);
    else
        snprintf(text, sizeof(text), "%.*f", column->digits, median);
    printf(" %*s", width_of(column), text);
}

static void print_size(uint32_t size)
{
    if (size >= 1024 * 1024 && size % (1024 * 1024) == 0)
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
    printf("  sender on CPU %d, receiver on CPU %d%s, one connection over loopback TCP, %s%s%s\n",
           report->cpus.sender, report->cpus.receiver,
           report->cpus.cnt < 2 ? " (only one may be used)" : "",
           congestion != NULL ? congestion : machine->congestion_system,
           congestion != NULL ? "" : " (the system's)", options->is_busy ? ", spinning" : "");
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
    enum bench_figure figure = bench_figure_main[report->options->which];

    if (result->ratio_cnt == 0)
        return;
    printf("%25s weir's %s is", "", bench_figure_names[figure]);
    for (uint32_t i = 0; i < result->ratio_cnt; i++) {
        const struct bench_ratio *ratio = &result->ratios[i];
        printf("%s %.2f x %s (%.2f..%.2f)", i == 0 ? "" : ",", ratio->median, ratio->rival->name,
               ratio->least, ratio->most);
    }
    printf("%s\n", bench_figure_is_less_better(figure) ? "; lower is better" : "");
}

void bench_table_print(const struct bench_report *report)
{
    const struct column *columns = columns_of[report->options->which];

    print_head(report);
    printf("%9s  %-12s", "size", "impl");
    for (const struct column *column = columns; column->title != NULL; column++)
        printf(" %*s", width_of(column), column->title);
    printf("\n");
    for (uint32_t i = 0; i < report->result_cnt; i++) {
        const struct bench_result *result = &report->results[i];

        print_size(result->size);
        printf("  %-12s", result->impl->name);
        for (const struct column *column = columns; column->title != NULL; column++)
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
