/* bench/uring_link.h: the hand-written rival's ring and socket: two batches to send, a pool to
 * receive.
 *
 * One ring per process (SINGLE_ISSUER, DEFER_TASKRUN). Sending: one sendmsg in flight, of one of
 * two batches, while the other is filled. Receiving: multishot into 16 provided buffers of 64 KiB,
 * small enough to stay in the second-level cache, each given back as soon as its frames are
 * verified.
 */
#ifndef WEIR_BENCH_URING_LINK_H
#define WEIR_BENCH_URING_LINK_H

#include <liburing.h>
#include <sys/socket.h>

#include "bench/bench.h"
#include "bench/frame.h"

#define URING_RECV_CNT 16u
#define URING_RECV_BYTES 65536u

struct uring_link {
    struct io_uring ring;
    struct io_uring_buf_ring *buf_ring;
    uint8_t *pool;
    int sock;
    bool is_sending, is_receiving, is_ended; /* is_ended: the other side closed */
    bool is_send_silent; /* a send that succeeds makes no completion (rtt: the answer says it) */
    uint32_t fill_idx;   /* the batch to fill; while is_sending the other one is in the kernel */
    struct frame_batch batches[2];
    struct msghdr send_msg;
    struct frame_writer writer;
    struct frame_reader reader;
};

/* Makes ring, pool and batches. False after bench_fail(). */
bool uring_link_open(struct uring_link *link, struct bench_run *run, int sock);

/* Starts to send the batch that was filled; the other one is to be filled now. Only when nothing is
 * being sent and the batch is not empty. */
void uring_link_send(struct uring_link *link);

/* Arms the receive, if it is not armed. */
void uring_link_recv(struct uring_link *link);

/* One system call: submits, and waits up to `wait` for something to happen (not at all in a spinning
 * run); then handles what did. Received messages are counted. False after bench_fail(). */
bool uring_link_turn(struct uring_link *link, struct bench_run *run, weir_ns wait);

static inline struct frame_batch *uring_link_batch(struct uring_link *link)
{
    return &link->batches[link->fill_idx];
}

#endif
