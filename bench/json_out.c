/* bench/json_out.c: the report as one JSON document; docs/bench.md describes each field. */
#include "bench/report.h"

#include <stdio.h>
#include <string.h>

#include "bench/json.h"

/* What a user would call zero digits of noise: six significant ones. */
static json_t *number(double value)
{
    char text[32];
    double rounded;

    if (isnan(value))
        return json_null();
    snprintf(text, sizeof(text), "%.6g", value);
    sscanf(text, "%lf", &rounded);
    return fabs(rounded) < 1e15 && rounded == floor(rounded) ? json_integer((json_int_t)rounded)
                                                             : json_real(rounded);
}

static json_t *range(double least, double most)
{
    json_t *pair = json_array();

    json_array_append_new(pair, number(least));
    json_array_append_new(pair, number(most));
    return pair;
}

static json_t *optional_text(const char *text)
{
    return text == NULL ? json_null() : json_string(text);
}

static const char *channel_class(const struct bench_channel *channel)
{
    return channel->is_urgent ? "urgent" : "weighted";
}

static json_t *inputs(const struct bench_report *report)
{
    const struct bench_options *options = report->options;
    json_t *out = json_object(), *sizes = json_array(), *against = json_array();
    json_t *channels = json_array();

    const char *axis = bench_axis_names[bench_cases[options->which].axis];

    for (uint32_t i = 0; i < options->size_cnt; i++)
        json_array_append_new(sizes, json_integer(options->sizes[i]));
    for (uint32_t i = 0; i < options->impl_cnt; i++)
        if (options->impls[i] != options->subject)
            json_array_append_new(against, json_string(options->impls[i]->name));
    for (uint32_t i = 0; i < options->channel_cnt; i++) {
        json_t *channel = json_object();
        json_object_set_new(channel, "class", json_string(channel_class(&options->channels[i])));
        json_object_set_new(channel, "weight", json_integer(options->channels[i].weight));
        json_array_append_new(channels, channel);
    }
    json_object_set_new(out, "sizes", sizes);
    if (axis != NULL) {
        json_t *counts = json_array();
        for (uint32_t i = 0; i < options->count_cnt; i++)
            json_array_append_new(counts, json_integer(options->counts[i]));
        json_object_set_new(out, axis, counts);
    }
    json_object_set_new(out, "seconds", number(options->seconds));
    json_object_set_new(out, "warmup_seconds", number((double)report->job->warmup_ns * 1e-9));
    json_object_set_new(out, "repeat", json_integer(options->repeat));
    json_object_set_new(out, "subject", json_string(options->subject->name));
    json_object_set_new(out, "against", against);
    json_object_set_new(out, "congestion", json_string(options->congestion));
    json_object_set_new(out, "recv_buffer",
                        options->recv_buffer == 0 ? json_null()
                                                  : json_integer(options->recv_buffer));
    json_object_set_new(out, "channels", channels);
    if (options->which == BENCH_URGENT) {
        json_object_set_new(out, "urgent_bytes", json_integer(BENCH_URGENT_BYTES));
        json_object_set_new(out, "urgent_interval_ns",
                            json_integer((json_int_t)report->job->interval_ns));
    }
    if (bench_has_newcomers(options->which))
        json_object_set_new(out, "interval_ns", json_integer((json_int_t)report->job->interval_ns));
    if (options->which == BENCH_RATE)
        json_object_set_new(out, "rate", json_integer(options->rate));
    json_object_set_new(out, "busy", json_boolean(options->is_busy));
    if (options->which == BENCH_SHARE)
        json_object_set_new(out, "mixed", json_boolean(options->is_mixed));
    return out;
}

static json_t *machine(const struct bench_report *report)
{
    const struct bench_machine *in = &report->machine;
    const char *congestion = report->job->congestion;
    json_t *out = json_object();

    json_object_set_new(out, "kernel", json_string(in->kernel));
    json_object_set_new(out, "cpu", json_string(in->cpu));
    json_object_set_new(out, "cores", json_integer(in->cores));
    json_object_set_new(out, "cores_allowed", json_integer(report->cpus.cnt));
    json_object_set_new(out, "sender_cpu", json_integer(report->cpus.sender));
    json_object_set_new(out, "receiver_cpu", json_integer(report->cpus.receiver));
    json_object_set_new(out, "niceness", json_integer(report->cpus.niceness));
    json_object_set_new(out, "load_before", number(in->load_before));
    json_object_set_new(out, "load_after", number(in->load_after));
    json_object_set_new(out, "weir", json_string(weir_version()));
    json_object_set_new(out, "commit", optional_text(in->commit));
    json_object_set_new(out, "compiler", json_string(in->compiler));
    json_object_set_new(out, "flags", json_string(in->flags));
    json_object_set_new(out, "hash", json_string(in->hash));
    json_object_set_new(out, "governor", optional_text(in->governor[0] != 0 ? in->governor : NULL));
    json_object_set_new(out, "memlock_bytes",
                        in->memlock_bytes < 0 ? json_null() : json_integer(in->memlock_bytes));
    json_object_set_new(out, "congestion",
                        json_string(congestion != NULL ? congestion : in->congestion_system));
    json_object_set_new(out, "congestion_system", json_string(in->congestion_system));
    return out;
}

/* Weir in `share`: one entry for each channel. */
static json_t *shares(const struct bench_report *report, const struct bench_summary *summary)
{
    json_t *out = json_array();

    for (uint32_t i = 0; i < report->job->channel_cnt; i++) {
        json_t *channel = json_object();
        uint32_t at = FIG_SHARE_PERCENT + i;
        json_object_set_new(channel, "weight", json_integer(report->job->channels[i].weight));
        json_object_set_new(channel, "due_percent", number(bench_share_due(report->job, i)));
        json_object_set_new(channel, "percent", number(summary->median[at]));
        json_object_set_new(channel, "percent_spread",
                            range(summary->least[at], summary->most[at]));
        json_object_set_new(channel, "bytes_per_s",
                            number(summary->median[FIG_CHANNEL_BYTES_PER_S + i]));
        json_array_append_new(out, channel);
    }
    return out;
}

static json_t *result(const struct bench_report *report, const struct bench_result *in)
{
    const struct bench_summary *summary = &in->summary;
    const char *axis = bench_axis_names[bench_cases[report->options->which].axis];
    json_t *out = json_object(), *spread = json_object();

    json_object_set_new(out, "impl", json_string(in->impl->name));
    json_object_set_new(out, "note", optional_text(in->impl->notes[report->options->which]));
    json_object_set_new(out, "size", json_integer(in->size));
    if (axis != NULL)
        json_object_set_new(out, axis, json_integer(in->count));
    for (uint32_t i = 0; i < FIG_NAMED_CNT; i++) {
        if (isnan(summary->median[i]))
            continue;
        json_object_set_new(out, bench_figure_names[i], number(summary->median[i]));
        json_object_set_new(spread, bench_figure_names[i],
                            range(summary->least[i], summary->most[i]));
    }
    if (!isnan(summary->median[FIG_SHARE_ERROR]))
        json_object_set_new(out, "channels", shares(report, summary));
    json_object_set_new(out, "msgs_sent", json_integer((json_int_t)in->msgs_sent));
    json_object_set_new(out, "msgs_received", json_integer((json_int_t)in->msgs_received));
    json_object_set_new(out, "msgs_lost",
                        json_integer((json_int_t)(in->msgs_sent - in->msgs_received)));
    json_object_set_new(out, "msgs_out_of_order", json_integer((json_int_t)in->seq_errors));
    json_object_set_new(out, "spread", spread);
    if (in->ratio_cnt > 0) {
        json_t *ratio_to = json_object(), *ratio_spread = json_object();
        for (uint32_t i = 0; i < in->ratio_cnt; i++) {
            const struct bench_ratio *ratio = &in->ratios[i];
            json_object_set_new(ratio_to, ratio->rival->name, number(ratio->median));
            json_object_set_new(ratio_spread, ratio->rival->name, range(ratio->least, ratio->most));
        }
        json_object_set_new(out, "ratio_to", ratio_to);
        json_object_set_new(out, "ratio_spread", ratio_spread);
    }
    return out;
}

int bench_json_print(const struct bench_report *report)
{
    enum bench_figure figure = bench_cases[report->options->which].main;
    json_t *out = bench_json_begin("case"), *results = json_array();

    json_object_set_new(out, "case", json_string(bench_case_names[report->options->which]));
    json_object_set_new(out, "inputs", inputs(report));
    json_object_set_new(out, "machine", machine(report));
    json_object_set_new(out, "ratio_figure", json_string(bench_figure_names[figure]));
    json_object_set_new(out, "ratio_better",
                        json_string(bench_figure_is_less_better(figure) ? "lower" : "higher"));
    for (uint32_t i = 0; i < report->result_cnt; i++)
        if (!report->results[i].is_skipped)
            json_array_append_new(results, result(report, &report->results[i]));
    json_object_set_new(out, "results", results);
    return bench_json_end(out);
}
