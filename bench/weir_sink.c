/* bench/weir_sink.c: weir one way, the receiver: counts, and in some cases does what the case is about. */
#include "bench/pace.h"
#include "bench/weir_roles.h"
#include "bench/weir_side.h"

struct sink {
    struct weir_side side; /* first: see on_peer */
    weir_ns last;          /* `wake`: when channel 0 was last heard of */
    bool is_paused;        /* `stall`: channel 0 is not read */
};

static void on_batch(void *role, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct bench_run *run = ((struct weir_side *)role)->run;

    for (uint32_t i = 0; i < msg_cnt; i++)
        bench_count(run, msgs[i].channel, msgs[i].data, msgs[i].len);
}

static void on_batch_urgent(void *role, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct bench_run *run = ((struct weir_side *)role)->run;

    for (uint32_t i = 0; i < msg_cnt; i++)
        if (msgs[i].channel == 0)
            bench_urgent_arrived(run, msgs[i].data, msgs[i].len);
        else
            bench_count(run, msgs[i].channel, msgs[i].data, msgs[i].len);
}

static void on_batch_rate(void *role, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct bench_run *run = ((struct weir_side *)role)->run;

    for (uint32_t i = 0; i < msg_cnt; i++)
        bench_pace_arrived(run, msgs[i].data, msgs[i].len);
}

static void on_batch_wake(void *role, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct sink *sink = role;
    uint64_t before = sink->side.run->counts.msgs[0];

    on_batch(role, msgs, msg_cnt);
    if (sink->side.run->counts.msgs[0] != before)
        bench_silence_ends(sink->side.run, &sink->last);
}

/* In the window nobody reads channel 0; before and after it somebody does, so that nothing is lost. */
static void stall(struct sink *sink, enum bench_phase phase)
{
    bool should_pause = phase == BENCH_MEASURE;

    if (should_pause == sink->is_paused)
        return;
    sink->is_paused = should_pause;
    int error = weir_channel_pause(sink->side.node, sink->side.peer, 0, should_pause);
    if (error != 0)
        weir_side_fail(&sink->side, "weir_channel_pause", error);
}

enum bench_status bench_weir_stream_recv(struct bench_run *run)
{
    static struct sink sink;
    const enum bench_case which = run->job->which;
    const struct weir_reactor reactor = {
        .on_batch = which == BENCH_URGENT ? on_batch_urgent
                    : which == BENCH_RATE ? on_batch_rate
                    : which == BENCH_WAKE ? on_batch_wake
                                          : on_batch,
    };
    enum bench_phase phase;

    if (!weir_side_open(&sink.side, run, &reactor, NULL, &sink))
        return BENCH_E_RUN;
    while ((phase = bench_step(run)) != BENCH_DRAIN || !bench_is_drained(run)) {
        if (which == BENCH_STALL)
            stall(&sink, phase);
        if (!weir_side_turn(&sink.side, phase == BENCH_DRAIN ? WEIR_NS_PER_MS : WEIR_SIDE_WAIT_NS))
            return BENCH_E_RUN;
    }
    bench_finish(run);
    weir_side_close(&sink.side);
    return BENCH_OK;
}
