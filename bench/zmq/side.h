/* bench/zmq/side.h: one side of a run over ZeroMQ: a context with its one I/O thread, a socket, and
 * what it sends.
 *
 * The I/O thread and the calling thread share the side's one core, as each implementation has one
 * core a side. High-water marks are of 4 MiB, at least 4 messages: the default of 1,000 is too few
 * small ones, and queues larger than the caches made everything slower. From 64 KiB on a message is
 * handed over without a copy (zmq_msg_init_data) from an array of static ones; below, copying was
 * as fast or faster.
 */
#ifndef WEIR_BENCH_ZMQ_SIDE_H
#define WEIR_BENCH_ZMQ_SIDE_H

#include <zmq.h>

#include "bench/bench.h"
#include "bench/source.h"

#define ZMQ_SIDE_HANDED_MAX 256u
#define ZMQ_SIDE_HANDED_BYTES 65536u /* messages of this size and more are handed over */

/* Messages that ZeroMQ may hold; the one that came back last is used first, it may still be cached.
 * ZeroMQ says on its I/O thread when it is done with one. */
struct zmq_handed {
    uint8_t *free[ZMQ_SIDE_HANDED_MAX];
    uint32_t free_cnt, cnt;             /* cnt: of all; 0: messages are copied */
    uint64_t seq;                       /* of the next message */
    uint8_t *back[ZMQ_SIDE_HANDED_MAX]; /* what came back, in a ring */
    _Atomic uint64_t back_cnt;          /* release by the I/O thread, pairs with the sender's */
    uint64_t seen_cnt;                  /* of these, moved to `free` */
};

struct zmq_side {
    struct bench_run *run;
    void *ctx;
    void *out, *in; /* the same one for PAIR; NULL: nothing goes that way */
    struct bench_source source;
    struct zmq_handed handed;
    zmq_msg_t msg; /* the one to send, or the last that came */
    bool is_ready; /* `msg` could not be sent yet */
};

/* Opens the sockets of this side; with the way back where the case answers. False after
 * bench_fail(). */
bool zmq_side_open(struct zmq_side *side, struct bench_run *run);

/* Sends the next message of the source, counted. False: not within 20 ms, or after bench_fail(). */
bool zmq_side_send(struct zmq_side *side);

/* Sends a copy. False: not within 20 ms. */
static inline bool zmq_side_send_copy(const struct zmq_side *side, const void *data, uint32_t len)
{
    return zmq_send(side->out, data, len, 0) >= 0;
}

/* The next message, borrowed until the next call; NULL: none came within 20 ms, or after
 * bench_fail(). */
const uint8_t *zmq_side_recv(struct zmq_side *side, uint32_t *ret_len);

/* Was bench_fail() called? */
static inline bool zmq_side_is_failed(const struct zmq_side *side)
{
    return side->run->shared->sides[side->run->who].status != BENCH_OK;
}

/* Closes everything; what is still queued is dropped. BENCH_OK unless the sockets turn out not to
 * have had the run's settings. */
enum bench_status zmq_side_close(struct zmq_side *side);

#endif
