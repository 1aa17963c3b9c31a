/* bench/zmq/zmq.c: ZeroMQ in each case, over PUSH and PULL and over PAIR. */
#include "bench/zmq/side.h"

#define LIBRARY(name) zmq_side_##name
#define LIBRARY_SIDE struct zmq_side
#include "bench/library_roles.h"

#define THROUGHPUT_NOTE "from 64 KiB on messages are handed over without a copy"

const struct bench_impl bench_zmq = {
    .name = "zmq",
    .what = "ZeroMQ, PUSH to PULL, its I/O thread on the same core; no checksum",
    .notes =
        {
            [BENCH_THROUGHPUT] = THROUGHPUT_NOTE,
            [BENCH_RTT] = "a second pair of sockets for the way back",
        },
    .roles = LIBRARY_ROLES,
};

const struct bench_impl bench_zmq_pair = {
    .name = "zmq-pair",
    .what = "ZeroMQ, PAIR to PAIR, its I/O thread on the same core; no checksum",
    .notes = {[BENCH_THROUGHPUT] = THROUGHPUT_NOTE},
    .roles = LIBRARY_ROLES,
};
