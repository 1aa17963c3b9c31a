/* bench/raw_crowd.h: the rival without frames, with many connections: sockets, an epoll, and 24 bytes for
 * each. It is also what a connection takes in user space at the least. */
#ifndef WEIR_BENCH_RAW_CROWD_H
#define WEIR_BENCH_RAW_CROWD_H

#include "bench/raw.h"

/* One connection. The sender makes its bytes again from the number when the kernel took a part. */
struct bench_raw_conn {
    int sock;
    uint32_t at;      /* sender: bytes of the piece that are sent; receiver: of the message begun */
    uint64_t number;  /* sender: of the piece's first message; receiver: of the message begun */
    uint64_t seq_cnt; /* receiver: whole messages so far */
};

struct bench_raw_crowd {
    struct bench_raw_conn *conns;
    uint32_t conn_cnt;
    int epoll;
    uint64_t memory_before; /* 0: bench_raw_crowd_open() looks */
};

/* Connects, or accepts, all connections (non-blocking from then on) and waits until both sides have
 * looked at their memory. `events`: what epoll is to watch, edge-triggered or not; 0: no epoll. False
 * after bench_fail(). */
bool bench_raw_crowd_open(struct bench_raw_crowd *crowd, struct bench_run *run, uint32_t events);

/* Receives from all until the run is drained; in `broadcast` every connection numbers from 0. */
enum bench_status bench_raw_crowd_recv(struct bench_run *run);

#endif
