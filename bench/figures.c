#include "bench/figures.h"

#include <stdlib.h>

const char *const bench_figure_names[FIG_NAMED_CNT] = {
    [FIG_MSGS_PER_S] = "msgs_per_s",
    [FIG_BYTES_PER_S] = "bytes_per_s",
    [FIG_P50_NS] = "p50_ns",
    [FIG_P90_NS] = "p90_ns",
    [FIG_P99_NS] = "p99_ns",
    [FIG_P999_NS] = "p99_9_ns",
    [FIG_P9999_NS] = "p99_99_ns",
    [FIG_MIN_NS] = "min_ns",
    [FIG_MAX_NS] = "max_ns",
    [FIG_SAMPLES] = "samples",
    [FIG_UNSENT] = "unsent_msgs",
    [FIG_CALL_P50_NS] = "from_call_p50_ns",
    [FIG_CALL_P99_NS] = "from_call_p99_ns",
    [FIG_BULK_BYTES_PER_S] = "bulk_bytes_per_s",
    [FIG_BULK_ALONE_BYTES_PER_S] = "bulk_alone_bytes_per_s",
    [FIG_BULK_RATIO] = "bulk_ratio",
    [FIG_SHARE_ERROR] = "share_error_points",
    [FIG_CPU_S_PER_GB] = "cpu_s_per_gb",
    [FIG_CPU_S_PER_MMSG] = "cpu_s_per_mmsg",
    [FIG_SENDER_CPU] = "sender_cpu",
    [FIG_RECEIVER_CPU] = "receiver_cpu",
    [FIG_PREEMPTED_PER_S] = "preempted_per_s",
    [FIG_WAITED_MS_PER_S] = "waited_ms_per_s",
    [FIG_SENDER_SYSCALLS_PER_MSG] = "sender_syscalls_per_msg",
    [FIG_RECEIVER_SYSCALLS_PER_MSG] = "receiver_syscalls_per_msg",
    [FIG_SENDER_TURNS_PER_MSG] = "sender_turns_per_msg",
    [FIG_RECEIVER_TURNS_PER_MSG] = "receiver_turns_per_msg",
    [FIG_CREDIT_STALLS_PER_S] = "credit_stalls_per_s",
    [FIG_SENDER_CQES_PER_MSG] = "sender_cqes_per_msg",
    [FIG_RECEIVER_CQES_PER_MSG] = "receiver_cqes_per_msg",
    [FIG_SENDER_SYSCALLS_PER_TURN] = "sender_syscalls_per_turn",
    [FIG_RECEIVER_SYSCALLS_PER_TURN] = "receiver_syscalls_per_turn",
    [FIG_SENDER_CPU_S_PER_MMSG] = "sender_cpu_s_per_mmsg",
    [FIG_RECEIVER_CPU_S_PER_MMSG] = "receiver_cpu_s_per_mmsg",
    [FIG_SILENCE_NS] = "silence_ns",
    [FIG_SILENCE_ALONE_NS] = "silence_alone_ns",
    [FIG_OTHERS_KEPT] = "others_kept",
    [FIG_ALL_KEPT] = "all_kept",
    [FIG_CONNS_PER_S] = "conns_per_s",
    [FIG_SENDER_IDLE_BYTES] = "sender_idle_bytes",
    [FIG_RECEIVER_IDLE_BYTES] = "receiver_idle_bytes",
    [FIG_SEND_SHARD_NS] = "send_shard_ns",
    [FIG_SEND_THREAD_NS] = "send_thread_ns",
    [FIG_SEND_LONE_NS] = "send_lone_ns",
    [FIG_VERIFY_NS] = "verify_ns",
    [FIG_ENCODE_NS] = "encode_ns",
    [FIG_DECODE_NS] = "decode_ns",
    [FIG_SCHEDULE_NS] = "schedule_ns",
    [FIG_MAILBOX_NS] = "mailbox_ns",
    [FIG_P50_ALONE_NS] = "p50_alone_ns",
    [FIG_P99_ALONE_NS] = "p99_alone_ns",
    [FIG_P99_RATIO] = "p99_ratio",
    [FIG_HANDSHAKES_PER_S] = "handshakes_per_s",
    [FIG_HANDSHAKES_PER_CPU_S] = "handshakes_per_cpu_s",
    [FIG_HANDSHAKES_ALONE_PER_CPU_S] = "handshakes_alone_per_cpu_s",
    [FIG_COOKIES_PER_S] = "cookies_per_s",
    [FIG_NEWCOMERS_PER_S] = "newcomers_per_s",
};

bool bench_figure_is_less_better(enum bench_figure figure)
{
    switch (figure) {
    case FIG_P50_NS:
    case FIG_P99_NS:
    case FIG_SENDER_CPU_S_PER_MMSG:
    case FIG_SILENCE_NS:
    case FIG_SEND_SHARD_NS:
    case FIG_VERIFY_NS:
        return true;
    default:
        return false;
    }
}

/* What a side did between two of its marks. */
struct window {
    double seconds;
    double cpu; /* share of one core */
    double preempted, waited_ms, msgs, bytes, syscalls, turns, completions, stalls;
    double handshakes, cookies, newcomers;
    uint64_t channel_bytes[BENCH_CHANNELS_MAX];
};

static struct window between(const struct bench_side *side, enum bench_phase from,
                             enum bench_phase to)
{
    const struct bench_mark *a = &side->marks[from], *b = &side->marks[to];
    struct window window = {.seconds = (double)(b->now - a->now) * 1e-9};

    if (a->now == 0 || b->now == 0) /* the run failed before: no figure comes of it */
        return (struct window){.seconds = (double)NAN};
    window.cpu = (b->cpu_s - a->cpu_s) / window.seconds;
    window.preempted = (double)(b->preempted - a->preempted) / window.seconds;
    window.waited_ms = (double)(b->waited_ns - a->waited_ns) * 1e-6 / window.seconds;
    window.syscalls = (double)(b->counts.syscalls - a->counts.syscalls);
    window.stalls = (double)(b->counts.stalls - a->counts.stalls);
    window.completions = (double)(b->counts.completions - a->counts.completions);
    window.turns = (double)(b->counts.turns - a->counts.turns);
    window.handshakes = (double)(b->counts.handshakes - a->counts.handshakes);
    window.cookies = (double)(b->counts.cookies - a->counts.cookies);
    window.newcomers = (double)(b->counts.newcomers - a->counts.newcomers);
    for (uint32_t i = 0; i < BENCH_CHANNELS_MAX; i++) {
        window.channel_bytes[i] = b->counts.bytes[i] - a->counts.bytes[i];
        window.bytes += (double)window.channel_bytes[i];
        window.msgs += (double)(b->counts.msgs[i] - a->counts.msgs[i]);
    }
    return window;
}

static void add_latency(const struct bench_shared *shared, double *v, bool is_urgent)
{
    const struct bench_histogram *latency = &shared->latency, *call = &shared->latency_call;

    v[FIG_SAMPLES] = (double)latency->cnt;
    if (latency->cnt == 0)
        return;
    v[FIG_P50_NS] = (double)bench_histogram_at(latency, 0.5);
    v[FIG_P90_NS] = (double)bench_histogram_at(latency, 0.9);
    v[FIG_P99_NS] = (double)bench_histogram_at(latency, 0.99);
    v[FIG_P999_NS] = (double)bench_histogram_at(latency, 0.999);
    v[FIG_P9999_NS] = (double)bench_histogram_at(latency, 0.9999);
    v[FIG_MIN_NS] = (double)latency->least;
    v[FIG_MAX_NS] = (double)latency->greatest;
    if (is_urgent && call->cnt != 0) {
        v[FIG_CALL_P50_NS] = (double)bench_histogram_at(call, 0.5);
        v[FIG_CALL_P99_NS] = (double)bench_histogram_at(call, 0.99);
    }
}

double bench_share_due(const struct bench_job *job, uint32_t idx)
{
    double sum = 0;

    for (uint32_t i = 0; i < job->channel_cnt; i++)
        sum += job->channels[i].weight;
    return 100 * job->channels[idx].weight / sum;
}

static void add_shares(const struct bench_job *job, const struct window *window, double *v)
{
    v[FIG_SHARE_ERROR] = 0;
    for (uint32_t i = 0; i < job->channel_cnt; i++) {
        double bytes = (double)window->channel_bytes[i];
        double percent = 100 * bytes / window->bytes;
        v[FIG_SHARE_PERCENT + i] = percent;
        v[FIG_CHANNEL_BYTES_PER_S + i] = bytes / window->seconds;
        v[FIG_SHARE_ERROR] = fmax(v[FIG_SHARE_ERROR], fabs(percent - bench_share_due(job, i)));
    }
}

/* A rival's one stream is channel 0 and has no shares. */
static bool has_channels(const struct window *window)
{
    return window->channel_bytes[1] != 0;
}

void bench_figures_none(struct bench_figures *ret_figures)
{
    for (uint32_t i = 0; i < FIG_CNT; i++)
        ret_figures->v[i] = (double)NAN;
}

static double counted(double cnt)
{
    return cnt == 0 ? (double)NAN : cnt;
}

/* What both sides did in the window, and what it cost. */
static void add_cost(double *v, const struct window *out, const struct window *in,
                     const struct window *count)
{
    double cpu_s = (out->cpu + in->cpu) * count->seconds;

    v[FIG_SENDER_CPU] = out->cpu;
    v[FIG_RECEIVER_CPU] = in->cpu;
    v[FIG_PREEMPTED_PER_S] = out->preempted + in->preempted;
    v[FIG_WAITED_MS_PER_S] = out->waited_ms + in->waited_ms;
    v[FIG_CPU_S_PER_GB] = cpu_s / (count->bytes * 1e-9);
    v[FIG_CPU_S_PER_MMSG] = cpu_s / (count->msgs * 1e-6);
    v[FIG_SENDER_CPU_S_PER_MMSG] = out->cpu * out->seconds / (out->msgs * 1e-6);
    v[FIG_RECEIVER_CPU_S_PER_MMSG] = in->cpu * in->seconds / (in->msgs * 1e-6);
    /* A side that counts none does not know (what a library does), or has none. */
    v[FIG_SENDER_SYSCALLS_PER_MSG] = counted(out->syscalls) / out->msgs;
    v[FIG_RECEIVER_SYSCALLS_PER_MSG] = counted(in->syscalls) / in->msgs;
    v[FIG_SENDER_TURNS_PER_MSG] = counted(out->turns) / out->msgs;
    v[FIG_RECEIVER_TURNS_PER_MSG] = counted(in->turns) / in->msgs;
    v[FIG_SENDER_SYSCALLS_PER_TURN] = counted(out->syscalls) / out->turns;
    v[FIG_RECEIVER_SYSCALLS_PER_TURN] = counted(in->syscalls) / in->turns;
    v[FIG_SENDER_CQES_PER_MSG] = counted(out->completions) / out->msgs;
    v[FIG_RECEIVER_CQES_PER_MSG] = counted(in->completions) / in->msgs;
    v[FIG_CREDIT_STALLS_PER_S] = out->stalls / out->seconds;
    v[FIG_MSGS_PER_S] = count->msgs / count->seconds;
    v[FIG_BYTES_PER_S] = count->bytes / count->seconds;
}

static void add_urgent(const struct bench_shared *shared, double *v, const struct window *in,
                       const struct window *alone)
{
    add_latency(shared, v, true);
    v[FIG_BULK_BYTES_PER_S] = (double)in->channel_bytes[1] / in->seconds;
    v[FIG_BULK_ALONE_BYTES_PER_S] = (double)alone->channel_bytes[1] / alone->seconds;
    v[FIG_BULK_RATIO] = v[FIG_BULK_BYTES_PER_S] / v[FIG_BULK_ALONE_BYTES_PER_S];
}

/* Channel 0 is the one that nobody reads in the window. */
static void add_stall(double *v, const struct window *in, const struct window *alone)
{
    double rate = in->bytes / in->seconds, rate_alone = alone->bytes / alone->seconds;
    double others = (in->bytes - (double)in->channel_bytes[0]) / in->seconds;
    double others_alone = (alone->bytes - (double)alone->channel_bytes[0]) / alone->seconds;

    v[FIG_OTHERS_KEPT] = others / others_alone;
    v[FIG_ALL_KEPT] = rate / rate_alone;
}

static void add_silence(const struct bench_shared *shared, double *v)
{
    add_latency(shared, v, false); /* of the times between two arrivals */
    if (shared->latency.cnt != 0)
        v[FIG_SILENCE_NS] = (double)shared->latency.greatest;
    if (shared->latency_call.cnt != 0)
        v[FIG_SILENCE_ALONE_NS] = (double)shared->latency_call.greatest;
}

/* What came, what it cost the side that it came to, and what it did to who was there. */
static void add_newcomers(const struct bench_shared *shared, double *v, const struct window *in,
                          const struct window *quiet)
{
    const struct bench_histogram *alone = &shared->latency_call;

    v[FIG_HANDSHAKES_PER_S] = in->handshakes / in->seconds;
    v[FIG_HANDSHAKES_PER_CPU_S] = in->handshakes / (in->cpu * in->seconds);
    if (shared->latency.cnt == 0 &&
        quiet->handshakes != 0) { /* nobody is there: arithmetic alone */
        v[FIG_HANDSHAKES_ALONE_PER_CPU_S] = quiet->handshakes / (quiet->cpu * quiet->seconds);
        v[FIG_MSGS_PER_S] = v[FIG_BYTES_PER_S] = (double)NAN;
        return;
    }
    add_latency(shared, v, false);
    if (alone->cnt != 0) {
        v[FIG_P50_ALONE_NS] = (double)bench_histogram_at(alone, 0.5);
        v[FIG_P99_ALONE_NS] = (double)bench_histogram_at(alone, 0.99);
        v[FIG_P99_RATIO] = v[FIG_P99_NS] / v[FIG_P99_ALONE_NS];
    }
    v[FIG_COOKIES_PER_S] = in->cookies / in->seconds;
    v[FIG_NEWCOMERS_PER_S] = in->newcomers / in->seconds;
}

static void add_facts(double *v, const struct bench_side *sides)
{
    static const enum bench_figure figures[BENCH_FACT_CNT] = {
        [BENCH_FACT_IDLE_BYTES] = FIG_SENDER_IDLE_BYTES,
        [BENCH_FACT_SEND_SHARD_NS] = FIG_SEND_SHARD_NS,
        [BENCH_FACT_SEND_THREAD_NS] = FIG_SEND_THREAD_NS,
        [BENCH_FACT_SEND_LONE_NS] = FIG_SEND_LONE_NS,
        [BENCH_FACT_VERIFY_NS] = FIG_VERIFY_NS,
        [BENCH_FACT_ENCODE_NS] = FIG_ENCODE_NS,
        [BENCH_FACT_DECODE_NS] = FIG_DECODE_NS,
        [BENCH_FACT_SCHEDULE_NS] = FIG_SCHEDULE_NS,
        [BENCH_FACT_MAILBOX_NS] = FIG_MAILBOX_NS,
    };
    double idle = sides[BENCH_RECEIVER].facts[BENCH_FACT_IDLE_BYTES];

    for (uint32_t i = 0; i < BENCH_FACT_CNT; i++)
        if (sides[BENCH_SENDER].facts[i] != 0)
            v[figures[i]] = sides[BENCH_SENDER].facts[i];
    if (idle != 0)
        v[FIG_RECEIVER_IDLE_BYTES] = idle;
}

void bench_figures_of(const struct bench_job *job, const struct bench_shared *shared,
                      struct bench_figures *ret_figures)
{
    const struct bench_side *sides = shared->sides;
    struct window out = between(&sides[BENCH_SENDER], BENCH_MEASURE, BENCH_DRAIN);
    struct window in = between(&sides[BENCH_RECEIVER], BENCH_MEASURE, BENCH_DRAIN);
    struct window alone = between(&sides[BENCH_RECEIVER], BENCH_ALONE, BENCH_MEASURE);
    double *v = ret_figures->v;

    bench_figures_none(ret_figures);
    add_facts(v, sides);
    /* Who counts what arrived: there and back it is the side that asked. In-process loops move no
     * message. */
    if (job->which != BENCH_MICRO)
        add_cost(v, &out, &in,
                 job->which == BENCH_RTT || bench_has_newcomers(job->which) ? &out : &in);

    switch (job->which) {
    case BENCH_RTT:
        add_latency(shared, v, false);
        break;
    case BENCH_URGENT:
        add_urgent(shared, v, &in, &alone);
        break;
    case BENCH_SHARE:
        if (has_channels(&in))
            add_shares(job, &in, v);
        break;
    case BENCH_RATE:
        add_latency(shared, v, false);
        v[FIG_UNSENT] = (double)shared->unsent_cnt;
        break;
    case BENCH_WAKE:
        add_silence(shared, v);
        break;
    case BENCH_STALL:
        add_stall(v, &in, &alone);
        break;
    case BENCH_CHURN: /* counted as messages, but there are none */
        v[FIG_CONNS_PER_S] = v[FIG_MSGS_PER_S];
        v[FIG_MSGS_PER_S] = (double)NAN;
        break;
    case BENCH_HANDSHAKE:
    case BENCH_FLOOD:
        add_newcomers(shared, v, &in, &alone);
        break;
    case BENCH_SEND: /* the window's rate is that of the bursts */
        v[FIG_MSGS_PER_S] = v[FIG_BYTES_PER_S] = (double)NAN;
        break;
    case BENCH_THROUGHPUT:
    case BENCH_CONNECTIONS:
    case BENCH_BROADCAST:
    case BENCH_SHARDS:
    case BENCH_MICRO:
        break;
    }
    /* A window in which nothing arrived divides by zero; such figures are left out. */
    for (uint32_t i = 0; i < FIG_CNT; i++)
        if (!isfinite(v[i]))
            v[i] = (double)NAN;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(double *values, uint32_t cnt)
{
    qsort(values, cnt, sizeof(*values), compare);
    return cnt % 2 == 1 ? values[cnt / 2] : (values[cnt / 2 - 1] + values[cnt / 2]) / 2;
}

void bench_summarize(const struct bench_figures *runs, uint32_t run_cnt,
                     struct bench_summary *ret_summary)
{
    double values[1000]; /* BENCH_REPEAT_MAX and one */

    for (uint32_t i = 0; i < FIG_CNT; i++) {
        uint32_t cnt = 0;
        for (uint32_t run = 0; run < run_cnt; run++)
            if (!isnan(runs[run].v[i]))
                values[cnt++] = runs[run].v[i];
        ret_summary->median[i] = cnt == 0 ? (double)NAN : bench_median(values, cnt);
        ret_summary->least[i] = cnt == 0 ? (double)NAN : values[0];
        ret_summary->most[i] = cnt == 0 ? (double)NAN : values[cnt - 1];
    }
}
