#include "bench/pace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE_NS WEIR_NS_PER_S
#define WAIT_NS (20 * WEIR_NS_PER_MS)

int bench_pace_init(struct bench_pace *pace, const struct bench_job *job)
{
    *pace = (struct bench_pace){.size = job->size, .per_s = job->rate};
    pace->msg = malloc(job->size);
    if (pace->msg == NULL)
        return -1;
    memset(pace->msg, 0x5a, job->size);
    return 0;
}

/* Whole seconds apart, so that nothing overflows and no error adds up. */
static weir_ns due_of(const struct bench_pace *pace, uint64_t seq)
{
    return pace->begin + seq / pace->per_s * WEIR_NS_PER_S +
           seq % pace->per_s * WEIR_NS_PER_S / pace->per_s;
}

/* The receiver leads and has written its mark before the phase. */
static weir_ns window_end(const struct bench_run *run)
{
    return run->shared->sides[BENCH_RECEIVER].marks[BENCH_DRAIN].now;
}

const uint8_t *bench_pace_next(struct bench_pace *pace, const struct bench_run *run, weir_ns now)
{
    if (pace->begin == 0)
        pace->begin = now;
    weir_ns due = due_of(pace, pace->seq);
    if (due > now || (run->phase >= BENCH_DRAIN && due >= window_end(run)))
        return NULL;
    memcpy(pace->msg, &pace->seq, sizeof(pace->seq));
    memcpy(pace->msg + sizeof(pace->seq), &due, sizeof(due));
    return pace->msg;
}

weir_ns bench_pace_wait(const struct bench_pace *pace, weir_ns now)
{
    weir_ns due = due_of(pace, pace->seq);

    if (pace->begin == 0 || due >= now + WAIT_NS)
        return WAIT_NS;
    return due > now ? due - now : 0;
}

void bench_pace_sleep(const struct bench_pace *pace, const struct bench_run *run)
{
    if (run->job->is_busy)
        return;
    weir_ns now = bench_now();
    weir_ns end = now + bench_pace_wait(pace, now);
    const struct timespec until = {.tv_sec = (time_t)(end / WEIR_NS_PER_S),
                                   .tv_nsec = (long)(end % WEIR_NS_PER_S)};

    while (end > now && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

bool bench_pace_is_over(const struct bench_pace *pace, struct bench_run *run)
{
    if (bench_step(run) < BENCH_DRAIN)
        return false;
    weir_ns end = window_end(run);
    weir_ns due = due_of(pace, pace->seq);

    if (pace->begin == 0 || due >= end)
        return true;
    if (bench_now() < end + PATIENCE_NS)
        return false;
    run->shared->unsent_due = due; /* bench_publish_sent() makes it visible */
    return true;
}

static bool is_in_window(const struct bench_run *run, weir_ns due)
{
    const struct bench_mark *marks = run->shared->sides[BENCH_RECEIVER].marks;

    return run->phase >= BENCH_MEASURE && due >= marks[BENCH_MEASURE].now &&
           (run->phase < BENCH_DRAIN || due < marks[BENCH_DRAIN].now);
}

void bench_pace_arrived(struct bench_run *run, const uint8_t *data, uint32_t len)
{
    weir_ns due;

    bench_count(run, 0, data, len);
    if (len < BENCH_PACE_BYTES_MIN)
        return;
    memcpy(&due, data + sizeof(uint64_t), sizeof(due));
    if (is_in_window(run, due))
        bench_histogram_add(&run->shared->latency, bench_now() - due);
}

void bench_pace_add_unsent(struct bench_run *run)
{
    const struct bench_pace pace = {
        .per_s = run->job->rate,
        .begin = run->shared->unsent_due,
    };
    weir_ns now = bench_now();

    if (pace.begin == 0)
        return;
    for (uint64_t seq = 0; due_of(&pace, seq) < window_end(run); seq++) {
        weir_ns due = due_of(&pace, seq);
        if (!is_in_window(run, due)) /* a sender can be behind by more than the window */
            continue;
        bench_histogram_add(&run->shared->latency, now - due);
        run->shared->unsent_cnt++;
    }
}
