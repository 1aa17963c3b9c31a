/* bench/epoll_loop.h: the epoll rival's loop and connections; the frames are those of frame.h.
 *
 * Edge-triggered, one registration a socket for both directions, so that there is no epoll_ctl in
 * the steady state. Sending: one batch of 256 KiB a connection, one sendmsg (a writev that takes
 * MSG_NOSIGNAL) until the kernel has all of it; the socket's buffer is the second batch. Receiving:
 * one buffer that all connections of a loop share, small enough to stay in the second-level cache.
 */
#ifndef WEIR_BENCH_EPOLL_LOOP_H
#define WEIR_BENCH_EPOLL_LOOP_H

#include "bench/bench.h"
#include "bench/frame.h"

#define EPOLL_RECV_BYTES ((size_t)256 * 1024)

struct epoll_loop {
    struct bench_run *run;
    int epoll;
    uint8_t *buffer; /* what recv fills; nothing stays in it */
};

struct epoll_conn {
    int sock;
    bool is_blocked; /* the kernel took no more; until epoll says that it does again */
    bool is_ended;   /* the other side closed */
    struct frame_batch batch;
    struct frame_reader reader;
};

/* Makes the descriptor and the buffer. False after bench_fail(). */
bool epoll_loop_open(struct epoll_loop *loop, struct bench_run *run);

/* Makes `sock` a non-blocking connection of the loop. False after bench_fail(). */
bool epoll_conn_open(struct epoll_conn *conn, struct epoll_loop *loop, int sock);

/* Hands the batch to the kernel until it is empty or the connection is blocked. False after
 * bench_fail(). */
bool epoll_conn_send(struct epoll_loop *loop, struct epoll_conn *conn);

/* Waits up to `wait` for something to happen (not at all in a spinning run), then reads what there
 * is of each connection; received messages are counted. False after bench_fail(). */
bool epoll_loop_turn(struct epoll_loop *loop, weir_ns wait);

#endif
