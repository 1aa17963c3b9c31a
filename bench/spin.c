/* bench/spin.c: the rival that never sleeps: raw's ping-pong on a non-blocking socket, both sides
 * spinning. It is the floor for a mode of busy polling, at the price of two cores. */
#include "bench/raw.h"

static enum bench_status spin(struct bench_run *run, bench_role role)
{
    struct bench_job job = *run->job;

    job.is_busy = true;
    run->job = &job;
    return role(run); /* the process ends with the role: nobody sees `job` afterwards */
}

static enum bench_status rtt_send(struct bench_run *run)
{
    return spin(run, bench_raw_rtt_send);
}

static enum bench_status rtt_recv(struct bench_run *run)
{
    return spin(run, bench_raw_rtt_recv);
}

const struct bench_impl bench_spin = {
    .name = "spin",
    .what = "non-blocking write and read, spinning on both sides; no frames, no checksum",
    .roles = {[BENCH_RTT] = {rtt_send, rtt_recv}},
};
