/* bench/main.c: weir-bench: reads the command line, runs everything in turn, reports. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/compare.h"
#include "bench/histogram_out.h"
#include "bench/net.h"
#include "bench/report.h"

/* A quarter of the measured time, but enough for TCP's windows to open and not more than needed; nor longer than
 * what is measured, where a run is only to show that it works. */
static weir_ns choose_warmup(double seconds)
{
    double warmup = seconds / 4;

    warmup = warmup < 0.1 ? 0.1 : warmup > 0.5 ? 0.5 : warmup;
    warmup = warmup > seconds ? seconds : warmup;
    return (weir_ns)(warmup * 1e9);
}

/* "64 bytes, 1000 connections". */
static const char *point_text(const struct bench_options *options,
                              const struct bench_result *result)
{
    static char text[64];
    const char *axis = bench_axis_names[bench_cases[options->which].axis];

    if (axis == NULL)
        snprintf(text, sizeof(text), "%u bytes", result->size);
    else if (result->size == 0)
        snprintf(text, sizeof(text), "%u %s", result->count, axis);
    else
        snprintf(text, sizeof(text), "%u bytes, %u %s", result->size, result->count, axis);
    return text;
}

static void progress(const struct bench_options *options, const struct bench_result *result,
                     uint32_t repeat)
{
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K");
    if (result != NULL)
        fprintf(stderr, "%s, %s: %s, %u of %u", bench_case_names[options->which],
                point_text(options, result), result->impl->name, repeat + 1, options->repeat);
    fflush(stderr);
}

/* One run, added to its result. */
static enum bench_status run_one(struct bench_report *report, struct bench_result *result,
                                 uint32_t repeat)
{
    struct bench_shared *shared = NULL;
    struct bench_job job = *report->job;
    char text[600] = "";

    job.size = result->size;
    bench_case_prepare(&job, report->options->seconds, result->count);
    progress(report->options, result, repeat);
    enum bench_status status =
        bench_run_once(result->impl, &job, &report->cpus, &shared, text, sizeof(text));
    if (shared != NULL) {
        const struct bench_counts *sent = &shared->sides[BENCH_SENDER].marks[BENCH_DONE].counts;
        const struct bench_counts *received =
            &shared->sides[BENCH_RECEIVER].marks[BENCH_DONE].counts;
        bool is_sent = result->impl->roles[job.which][BENCH_RECEIVER] != NULL;
        for (uint32_t i = 0; is_sent && i < BENCH_CHANNELS_MAX; i++) {
            result->msgs_sent += sent->msgs[i];
            result->msgs_received += received->msgs[i];
        }
        result->seq_errors += sent->seq_errors + received->seq_errors;
        if (result->latencies != NULL) {
            bench_histogram_merge(&result->latencies[0], &shared->latency);
            bench_histogram_merge(&result->latencies[1], &shared->latency_call);
        }
        bench_figures_of(&job, shared, &result->runs[repeat]);
    }
    bench_run_free(shared);
    if (status != BENCH_OK) {
        progress(report->options, NULL, 0);
        fprintf(stderr, "weir-bench: %s, %s, %s: %s\n", bench_case_names[job.which],
                result->impl->name, point_text(report->options, result), text);
    }
    return status;
}

/* A B C A B C ...: neighbours in time are compared with each other. */
static enum bench_status run_point(struct bench_report *report, struct bench_result *results)
{
    const struct bench_options *options = report->options;

    for (uint32_t repeat = 0; repeat < options->repeat; repeat++) {
        for (uint32_t i = 0; i < options->impl_cnt; i++) {
            enum bench_status status = BENCH_OK;
            if (!results[i].is_skipped)
                status = run_one(report, &results[i], repeat);
            if (status != BENCH_OK)
                return status;
        }
    }
    for (uint32_t i = 0; i < options->impl_cnt; i++)
        bench_summarize(results[i].runs, options->repeat, &results[i].summary);
    return BENCH_OK;
}

/* The machine's speed wanders, so the ratio is taken within each repeat and then the median. */
static void compare(const struct bench_report *report, struct bench_result *results)
{
    const struct bench_options *options = report->options;
    enum bench_figure figure = bench_cases[options->which].main;
    double ratios[BENCH_REPEAT_MAX];

    if (results[0].impl != options->subject) /* --rivals-only */
        return;
    for (uint32_t i = 1; i < options->impl_cnt; i++) {
        uint32_t cnt = 0;
        for (uint32_t repeat = 0; repeat < options->repeat; repeat++) {
            double ratio = results[0].runs[repeat].v[figure] / results[i].runs[repeat].v[figure];
            if (isfinite(ratio))
                ratios[cnt++] = ratio;
        }
        if (cnt == 0)
            continue;
        double median = bench_median(ratios, cnt);
        results[0].ratios[results[0].ratio_cnt++] =
            (struct bench_ratio){results[i].impl, median, ratios[0], ratios[cnt - 1]};
    }
}

/* Sets job->congestion, NULL for the system's. */
static enum bench_status choose_congestion(struct bench_options *options, struct bench_job *job,
                                           const struct bench_machine *machine)
{
    if (strcmp(options->congestion, "system") == 0)
        return BENCH_OK;
    int error = bench_net_try_congestion(options->congestion);
    if (error == 0) {
        job->congestion = options->congestion;
        return BENCH_OK;
    }
    fprintf(stderr, "weir-bench: congestion control %s: %s\n", options->congestion,
            strerror(error));
    if (!options->is_congestion_default) {
        fprintf(stderr, "weir-bench: see net.ipv4.tcp_available_congestion_control and "
                        "tcp_allowed_congestion_control\n");
        return BENCH_E_ENVIRONMENT;
    }
    fprintf(stderr, "weir-bench: going on with the system's, %s\n", machine->congestion_system);
    options->congestion = "system";
    return BENCH_OK;
}

static enum bench_status run_all(struct bench_report *report)
{
    const struct bench_options *options = report->options;
    const uint32_t point_cnt = options->count_cnt * options->size_cnt;
    enum bench_status status = BENCH_OK;

    for (uint32_t point = 0; point < point_cnt && status == BENCH_OK; point++) {
        struct bench_result *results = &report->results[report->result_cnt];
        for (uint32_t i = 0; i < options->impl_cnt; i++) {
            results[i] = (struct bench_result){
                .impl = options->impls[i],
                .size = options->sizes[point % options->size_cnt],
                .count = options->counts[point / options->size_cnt],
            };
            results[i].is_skipped = !bench_does_size(results[i].impl, results[i].size);
            results[i].runs = calloc(options->repeat, sizeof(*results[i].runs));
            if (options->histogram_dir != NULL)
                results[i].latencies = calloc(2, sizeof(*results[i].latencies));
            if (results[i].runs == NULL ||
                (options->histogram_dir != NULL && results[i].latencies == NULL))
                return BENCH_E_RUN;
            for (uint32_t repeat = 0; results[i].is_skipped && repeat < options->repeat; repeat++)
                bench_figures_none(&results[i].runs[repeat]);
        }
        status = run_point(report, results);
        if (status == BENCH_OK) {
            compare(report, results);
            report->result_cnt += options->impl_cnt;
        }
    }
    progress(options, NULL, 0);
    report->machine.load_after = bench_machine_load();
    return status;
}

int main(int argc, char **argv)
{
    struct bench_options options;
    struct bench_report report = {.options = &options};

    if (argc > 1 && strcmp(argv[1], "compare") == 0)
        return bench_compare_main(argc - 1, argv + 1);
    switch (bench_options_parse(&options, argc, argv)) {
    case BENCH_GO:
        break;
    case BENCH_STOP_OK:
        return BENCH_OK;
    case BENCH_STOP_USAGE:
        return BENCH_E_USAGE;
    }

    struct bench_job job = {
        .which = options.which,
        .warmup_ns = choose_warmup(options.seconds),
        .rate = options.rate,
        .recv_buffer = options.recv_buffer,
        .is_busy = options.is_busy,
        .is_mixed = options.is_mixed,
        .channel_cnt = options.channel_cnt,
    };
    memcpy(job.channels, options.channels, sizeof(job.channels));
    bench_case_prepare(&job, options.seconds, options.counts[0]);
    report.job = &job;
    uint32_t result_max = options.count_cnt * options.size_cnt * options.impl_cnt;
    report.results = calloc(result_max, sizeof(*report.results));
    if (report.results == NULL)
        return BENCH_E_RUN;

    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) ==
        0) { /* as many connections as the system allows */
        descriptors.rlim_cur = descriptors.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &descriptors);
    }
    signal(SIGCHLD, SIG_DFL);
    bench_machine_look(&report.machine);
    bench_net_congestion(report.machine.congestion_system,
                         sizeof(report.machine.congestion_system));
    bench_cpus_choose(&report.cpus);
    if (report.cpus.cnt < 2)
        fprintf(stderr,
                "weir-bench: only one CPU may be used: both sides share CPU %d, so the "
                "figures are of both together\n",
                report.cpus.sender);
    enum bench_status status = choose_congestion(&options, &job, &report.machine);
    if (status != BENCH_OK) {
        free(report.results);
        return (int)status;
    }
    status = run_all(&report);
    if (report.result_cnt > 0) {
        if (options.is_json && bench_json_print(&report) != 0) {
            fprintf(stderr, "weir-bench: the result could not be written\n");
            status = status == BENCH_OK ? BENCH_E_RUN : status;
        } else if (!options.is_json) {
            bench_table_print(&report);
        }
        if (options.histogram_dir != NULL &&
            bench_histograms_write(&report, options.histogram_dir) != 0)
            status = status == BENCH_OK ? BENCH_E_RUN : status;
    }
    for (uint32_t i = 0; i < result_max; i++) {
        free(report.results[i].runs);
        free(report.results[i].latencies);
    }
    free(report.results);
    return (int)status;
}
