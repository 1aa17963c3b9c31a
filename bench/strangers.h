/* bench/strangers.h: a thread of the sender that keeps the receiver busy with newcomers, beside what the sender measures.
 *
 * It runs in the scheduler's idle class: what is measured on the same core goes before it at once, and it takes what is
 * left of the core.
 */
#ifndef WEIR_BENCH_STRANGERS_H
#define WEIR_BENCH_STRANGERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "bench/bench.h"

enum bench_strangers_kind {
    BENCH_STRANGERS_DIAL, /* a node of its own: whole handshakes, a goodbye as soon as the peer is up, again */
    BENCH_STRANGERS_FLOOD, /* sockets, each from an address of its own: a first message; half of them
                            * bring a cookie back, half go when they are asked for it; away with a reset
                            * when the answer is there */
};

struct bench_strangers {
    struct bench_run *run;
    enum bench_strangers_kind kind;
    uint16_t port; /* the receiver's */
    pthread_t thread;
    bool is_running;
    _Atomic bool has_to_stop, is_failed;
};

/* Starts the thread; `job->conn_cnt` strangers are under way at a time. False after bench_fail(). */
bool bench_strangers_start(struct bench_strangers *strangers, struct bench_run *run,
                           enum bench_strangers_kind kind, uint16_t port);

/* Ends it. False when it has failed, after bench_fail(). */
bool bench_strangers_stop(struct bench_strangers *strangers);

#endif
