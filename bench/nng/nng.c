/* bench/nng/nng.c: nng in each case, over PAIR and over PUSH and PULL. */
#include <time.h>

#include "bench/pace.h"
#include "bench/nng/side.h"

#define STEP_MSGS 64u /* messages between two looks at the clock */

/* Nothing more is sent: waits until the receiver has counted. */
static enum bench_status end_stream(struct nng_side *side)
{
    const struct timespec nap = {.tv_nsec = 1000000};

    bench_publish_sent(side->run);
    while (bench_step(side->run) != BENCH_DONE)
        nanosleep(&nap, NULL); /* nng's threads go on sending */
    return nng_side_close(side);
}

static enum bench_status stream_send(struct bench_run *run)
{
    static struct nng_side side;

    if (!nng_side_open(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) < BENCH_DRAIN && !side.is_failed) {
        run->counts.turns++;
        for (uint32_t i = 0; i < STEP_MSGS && nng_side_send(&side); i++)
            bench_sent(run, 0, run->job->size);
    }
    return side.is_failed ? BENCH_E_RUN : end_stream(&side);
}

static enum bench_status stream_recv(struct bench_run *run)
{
    static struct nng_side side;
    const uint8_t *data;
    uint32_t len;

    if (!nng_side_open(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DRAIN || !bench_is_drained(run)) {
        run->counts.turns++;
        for (uint32_t i = 0; i < STEP_MSGS && (data = nng_side_recv(&side, &len)) != NULL; i++)
            if (run->job->which == BENCH_RATE)
                bench_pace_arrived(run, data, len);
            else
                bench_count(run, 0, data, len);
        if (side.is_failed)
            return BENCH_E_RUN;
    }
    bench_finish(run);
    return nng_side_close(&side);
}

/* ---- at a fixed rate ------------------------------------------------------------------------ */

static enum bench_status rate_send(struct bench_run *run)
{
    static struct nng_side side;
    struct bench_pace pace;
    const uint8_t *msg;

    if (!nng_side_open(&side, run))
        return BENCH_E_RUN;
    if (bench_pace_init(&pace, run->job) != 0)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    while (!bench_pace_is_over(&pace, run)) {
        weir_ns now = bench_now();
        run->counts.turns++;
        while ((msg = bench_pace_next(&pace, run, now)) != NULL &&
               nng_side_send_copy(&side, msg, pace.size)) {
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
    static struct nng_side side;
    const uint8_t *data = NULL;
    uint32_t len = 0;

    if (!nng_side_open(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) < BENCH_DRAIN) {
        weir_ns begin = bench_now();
        while (!nng_side_send(&side))
            if (side.is_failed)
                return BENCH_E_RUN;
        while ((data = nng_side_recv(&side, &len)) == NULL)
            if (side.is_failed)
                return BENCH_E_RUN;
        if (run->phase == BENCH_MEASURE)
            bench_histogram_add(&run->shared->latency, bench_now() - begin);
        bench_count(run, 0, data, len);
    }
    bench_publish_sent(run);
    bench_finish(run);
    return nng_side_close(&side);
}

static enum bench_status rtt_recv(struct bench_run *run)
{
    static struct nng_side side;
    uint32_t len;

    if (!nng_side_open(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DONE) {
        const uint8_t *data = nng_side_recv(&side, &len);
        if (data != NULL) {
            bench_count(run, 0, data, len);
            while (!nng_side_send(&side) && !side.is_failed)
                ;
        }
        if (side.is_failed)
            return BENCH_E_RUN;
    }
    return nng_side_close(&side);
}

/* ---- the implementations -------------------------------------------------------------------- */

#define ROLES                                                                                \
    {                                                                                        \
        [BENCH_THROUGHPUT] = {stream_send, stream_recv}, [BENCH_RTT] = {rtt_send, rtt_recv}, \
        [BENCH_RATE] = {rate_send, stream_recv},                                             \
    }

const struct bench_impl bench_nng = {
    .name = "nng",
    .what = "nng, PAIR to PAIR, its threads on the same core; no checksum",
    .roles = ROLES,
};

const struct bench_impl bench_nng_pushpull = {
    .name = "nng-pushpull",
    .what = "nng, PUSH to PULL, its threads on the same core; no checksum",
    .notes = {[BENCH_RTT] = "a second pair of sockets for the way back"},
    .roles = ROLES,
};
