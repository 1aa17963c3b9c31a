/* bench/nng/nng.c: nng in each case, over PAIR and over PUSH and PULL. */
#include "bench/nng/side.h"

#define LIBRARY(name) nng_side_##name
#define LIBRARY_SIDE struct nng_side
#include "bench/library_roles.h"

const struct bench_impl bench_nng = {
    .name = "nng",
    .what = "nng, PAIR to PAIR, its threads on the same core; no checksum",
    .roles = LIBRARY_ROLES,
};

const struct bench_impl bench_nng_pushpull = {
    .name = "nng-pushpull",
    .what = "nng, PUSH to PULL, its threads on the same core; no checksum",
    .notes = {[BENCH_RTT] = "a second pair of sockets for the way back"},
    .roles = LIBRARY_ROLES,
};
