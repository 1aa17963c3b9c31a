/* bench/zmq/zmq.c: ZeroMQ in each case, over PUSH and PULL and over PAIR. */
#include <time.h>

#include "bench/pace.h"
#include "bench/zmq/side.h"

#define STEP_MSGS 64u /* messages between two looks at the clock */

/* Nothing more is sent: waits until the receiver has counted. */
static enum bench_status end_stream(struct zmq_side *side)
{
    const struct timespec nap = {.tv_nsec = 1000000};

    bench_publish_sent(side->run);
    while (bench_step(side->run) != BENCH_DONE)
        nanosleep(&nap, NULL); /* the I/O thread goes on sending */
    return zmq_side_close(side);
}

static enum bench_status stream_send(struct bench_run *run)
{
    static struct zmq_side side;

    if (!zmq_side_open(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) < BENCH_DRAIN && !zmq_side_is_failed(&side)) {
        run->counts.turns++;
        for (uint32_t i = 0; i < STEP_MSGS && zmq_side_send(&side); i++)
            bench_sent(run, 0, run->job->size);
    }
    return zmq_side_is_failed(&side) ? BENCH_E_RUN : end_stream(&side);
}

static enum bench_status stream_recv(struct bench_run *run)
{
    static struct zmq_side side;
    const uint8_t *data;
    uint32_t len;

    if (!zmq_side_open(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DRAIN || !bench_is_drained(run)) {
        run->counts.turns++;
        for (uint32_t i = 0; i < STEP_MSGS && (data = zmq_side_recv(&side, &len)) != NULL; i++)
            if (run->job->which == BENCH_RATE)
                bench_pace_arrived(run, data, len);
            else
                bench_count(run, 0, data, len);
        if (zmq_side_is_failed(&side))
            return BENCH_E_RUN;
    }
    bench_finish(run);
    return zmq_side_close(&side);
}

/* ---- at a fixed rate ------------------------------------------------------------------------ */

static enum bench_status rate_send(struct bench_run *run)
{
    static struct zmq_side side;
    struct bench_pace pace;
    const uint8_t *msg;

    if (!zmq_side_open(&side, run))
        return BENCH_E_RUN;
    if (bench_pace_init(&pace, run->job) != 0)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    while (!bench_pace_is_over(&pace, run)) {
        weir_ns now = bench_now();
        run->counts.turns++;
        while ((msg = bench_pace_next(&pace, run, now)) != NULL &&
               zmq_send(side.out, msg, pace.size, 0) >= 0) { /* waits up to 20 ms if it must */
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
    static struct zmq_side side;
    const uint8_t *data = NULL;
    uint32_t len = 0;

    if (!zmq_side_open(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) < BENCH_DRAIN) {
        weir_ns begin = bench_now();
        while (!zmq_side_send(&side))
            if (zmq_side_is_failed(&side))
                return BENCH_E_RUN;
        while ((data = zmq_side_recv(&side, &len)) == NULL)
            if (zmq_side_is_failed(&side))
                return BENCH_E_RUN;
        if (run->phase == BENCH_MEASURE)
            bench_histogram_add(&run->shared->latency, bench_now() - begin);
        bench_count(run, 0, data, len);
    }
    bench_publish_sent(run);
    bench_finish(run);
    return zmq_side_close(&side);
}

static enum bench_status rtt_recv(struct bench_run *run)
{
    static struct zmq_side side;
    uint32_t len;

    if (!zmq_side_open(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DONE) {
        const uint8_t *data = zmq_side_recv(&side, &len);
        if (data != NULL) {
            bench_count(run, 0, data, len);
            while (!zmq_side_send(&side) && !zmq_side_is_failed(&side))
                ;
        }
        if (zmq_side_is_failed(&side))
            return BENCH_E_RUN;
    }
    return zmq_side_close(&side);
}

/* ---- the implementations -------------------------------------------------------------------- */

#define THROUGHPUT_NOTE "from 64 KiB on messages are handed over without a copy"
#define ROLES                                                                                \
    {                                                                                        \
        [BENCH_THROUGHPUT] = {stream_send, stream_recv}, [BENCH_RTT] = {rtt_send, rtt_recv}, \
        [BENCH_RATE] = {rate_send, stream_recv},                                             \
    }

const struct bench_impl bench_zmq = {
    .name = "zmq",
    .what = "ZeroMQ, PUSH to PULL, its I/O thread on the same core; no checksum",
    .notes =
        {
            [BENCH_THROUGHPUT] = THROUGHPUT_NOTE,
            [BENCH_RTT] = "a second pair of sockets for the way back",
        },
    .roles = ROLES,
};

const struct bench_impl bench_zmq_pair = {
    .name = "zmq-pair",
    .what = "ZeroMQ, PAIR to PAIR, its I/O thread on the same core; no checksum",
    .notes = {[BENCH_THROUGHPUT] = THROUGHPUT_NOTE},
    .roles = ROLES,
};
