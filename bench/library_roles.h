/* bench/library_roles.h: the roles of a library that has messages, queues and threads of its own, such as
 * ZeroMQ and nng. Each includes it once, with LIBRARY(name) as the name of its function in bench/<library>/side.h
 * and LIBRARY_SIDE as its side. A template and no table of functions: a call through a pointer for each
 * message would be a cost that a user of the library does not have. */
#ifndef WEIR_BENCH_LIBRARY_ROLES_H
#define WEIR_BENCH_LIBRARY_ROLES_H

#include <time.h>

#include "bench/pace.h"

#define STEP_MSGS 64u /* messages between two looks at the clock */

/* Nothing more is sent: waits until the receiver has counted. */
static enum bench_status end_stream(LIBRARY_SIDE *side)
{
    const struct timespec nap = {.tv_nsec = 1000000};

    bench_publish_sent(side->run);
    while (bench_step(side->run) != BENCH_DONE)
        nanosleep(&nap, NULL); /* the library's threads go on sending */
    return LIBRARY(close)(side);
}

static enum bench_status stream_send(struct bench_run *run)
{
    static LIBRARY_SIDE side;

    if (!LIBRARY(open)(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) < BENCH_DRAIN && !LIBRARY(is_failed)(&side)) {
        run->counts.turns++;
        for (uint32_t i = 0; i < STEP_MSGS && LIBRARY(send)(&side); i++)
            bench_sent(run, 0, run->job->size);
    }
    return LIBRARY(is_failed)(&side) ? BENCH_E_RUN : end_stream(&side);
}

static enum bench_status stream_recv(struct bench_run *run)
{
    static LIBRARY_SIDE side;
    const uint8_t *data;
    uint32_t len;

    if (!LIBRARY(open)(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DRAIN || !bench_is_drained(run)) {
        run->counts.turns++;
        for (uint32_t i = 0; i < STEP_MSGS && (data = LIBRARY(recv)(&side, &len)) != NULL; i++)
            if (run->job->which == BENCH_RATE)
                bench_pace_arrived(run, data, len);
            else
                bench_count(run, 0, data, len);
        if (LIBRARY(is_failed)(&side))
            return BENCH_E_RUN;
    }
    bench_finish(run);
    return LIBRARY(close)(&side);
}

/* ---- at a fixed rate ------------------------------------------------------------------------ */

static enum bench_status rate_send(struct bench_run *run)
{
    static LIBRARY_SIDE side;
    struct bench_pace pace;
    const uint8_t *msg;

    if (!LIBRARY(open)(&side, run))
        return BENCH_E_RUN;
    if (bench_pace_init(&pace, run->job) != 0)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    while (!bench_pace_is_over(&pace, run)) {
        weir_ns now = bench_now();
        run->counts.turns++;
        while ((msg = bench_pace_next(&pace, run, now)) != NULL &&
               LIBRARY(send_copy)(&side, msg, pace.size)) {
            bench_pace_take(&pace);
            bench_sent(run, 0, pace.size);
        }
        bench_pace_sleep(&pace, run);
    }
    return end_stream(&side);
}

/* ---- there and back ------------------------------------------------------------------------- */

static enum bench_status rtt_send(struct bench_run *run)
{
    static LIBRARY_SIDE side;
    const uint8_t *data = NULL;
    uint32_t len = 0;

    if (!LIBRARY(open)(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) < BENCH_DRAIN) {
        weir_ns begin = bench_now();
        while (!LIBRARY(send)(&side))
            if (LIBRARY(is_failed)(&side))
                return BENCH_E_RUN;
        while ((data = LIBRARY(recv)(&side, &len)) == NULL)
            if (LIBRARY(is_failed)(&side))
                return BENCH_E_RUN;
        if (run->phase == BENCH_MEASURE)
            bench_histogram_add(&run->shared->latency, bench_now() - begin);
        bench_count(run, 0, data, len);
    }
    bench_publish_sent(run);
    bench_finish(run);
    return LIBRARY(close)(&side);
}

static enum bench_status rtt_recv(struct bench_run *run)
{
    static LIBRARY_SIDE side;
    uint32_t len;

    if (!LIBRARY(open)(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DONE) {
        const uint8_t *data = LIBRARY(recv)(&side, &len);
        if (data != NULL) {
            bench_count(run, 0, data, len);
            while (!LIBRARY(send)(&side) && !LIBRARY(is_failed)(&side))
                ;
        }
        if (LIBRARY(is_failed)(&side))
            return BENCH_E_RUN;
    }
    return LIBRARY(close)(&side);
}

#define LIBRARY_ROLES                                                                        \
    {                                                                                        \
        [BENCH_THROUGHPUT] = {stream_send, stream_recv}, [BENCH_RTT] = {rtt_send, rtt_recv}, \
        [BENCH_RATE] = {rate_send, stream_recv},                                             \
    }

#endif
