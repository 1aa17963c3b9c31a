/* bench/epoll.c: the hand-written rival over epoll in each case: the same frames and checksums as
 * the one over io_uring, sent and received the way that readiness wants it.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/epoll_loop.h"
#include "bench/epoll_many.h"
#include "bench/net.h"

#define WAIT_NS (20 * WEIR_NS_PER_MS) /* most time between two looks at the phase */

struct side {
    struct epoll_loop loop;
    struct epoll_conn conn;
    struct frame_writer writer;
};

/* Loop and the one connection. False after bench_fail(). */
static bool open_side(struct side *side, struct bench_run *run)
{
    int sock = run->who == BENCH_SENDER ? bench_net_connect(run) : bench_net_accept_one(run);

    if (sock < 0 || !epoll_loop_open(&side->loop, run) ||
        !epoll_conn_open(&side->conn, &side->loop, sock))
        return false;
    if (frame_writer_init(&side->writer, run->job->size) == 0)
        return true;
    bench_fail(run, BENCH_E_RUN, "no memory for the messages");
    return false;
}

/* ---- one way: throughput, share (one stream), urgent (in the stream, first come first served) ---- */

/* The bulk is channel 1 in `urgent`, where an urgent message goes to the front of the next
 * batch. */
static void fill(struct side *side, struct bench_run *run, weir_ns *due)
{
    struct bench_counts *counts = &run->counts;
    uint8_t channel = 0;

    if (run->job->which == BENCH_URGENT) {
        struct bench_urgent msg;
        if (bench_urgent_next(run, due, counts->msgs[0], &msg)) {
            frame_put(&side->writer, &side->conn.batch, 0, &msg, sizeof(msg));
            counts->msgs[0]++;
            counts->bytes[0] += sizeof(msg);
        }
        channel = 1;
    }
    uint64_t cnt = frame_fill(&side->writer, &side->conn.batch, channel, UINT64_MAX);
    counts->msgs[channel] += cnt;
    counts->bytes[channel] += cnt * run->job->size;
}

/* Says that nothing follows, and waits until the receiver has counted and closed. */
static enum bench_status end_stream(struct side *side, struct bench_run *run)
{
    bench_publish_sent(run);
    shutdown(side->conn.sock, SHUT_WR);
    while (!side->conn.is_ended)
        if (!epoll_loop_turn(&side->loop, WAIT_NS))
            return BENCH_E_RUN;
    bench_step(run);
    return BENCH_OK;
}

static enum bench_status stream_send(struct bench_run *run)
{
    static struct side side;
    weir_ns due = 0;

    if (!open_side(&side, run))
        return BENCH_E_RUN;
    for (;;) {
        bool is_draining = bench_step(run) >= BENCH_DRAIN;

        if (side.conn.batch.len == 0 && is_draining)
            return end_stream(&side, run);
        if (side.conn.batch.len == 0)
            fill(&side, run, &due);
        if (!epoll_conn_send(&side.loop, &side.conn))
            return BENCH_E_RUN;
        if (side.conn.is_blocked && !epoll_loop_turn(&side.loop, WAIT_NS))
            return BENCH_E_RUN;
    }
}

static enum bench_status rate_send(struct bench_run *run)
{
    static struct side side;
    struct bench_pace pace;

    if (!open_side(&side, run))
        return BENCH_E_RUN;
    if (bench_pace_init(&pace, run->job) != 0)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    while (!bench_pace_is_over(&pace, run) || side.conn.batch.len != 0) {
        if (side.conn.batch.len == 0)
            frame_put_due(&side.writer, &side.conn.batch, run, &pace);
        if (!epoll_conn_send(&side.loop, &side.conn))
            return BENCH_E_RUN;
        weir_ns wait = side.conn.is_blocked ? WAIT_NS : bench_pace_wait(&pace, bench_now());
        if (wait != 0 && !epoll_loop_turn(&side.loop, wait))
            return BENCH_E_RUN;
    }
    return end_stream(&side, run);
}

static enum bench_status stream_recv(struct bench_run *run)
{
    static struct side side;

    if (!open_side(&side, run))
        return BENCH_E_RUN;
    while (!side.conn.is_ended) {
        if (!epoll_loop_turn(&side.loop, WAIT_NS))
            return BENCH_E_RUN;
        bench_step(run);
    }
    bench_finish(run);
    close(side.conn.sock);
    return BENCH_OK;
}

/* ---- there and back ------------------------------------------------------------------------ */

/* Sends one message, in several batches if it needs them. False after bench_fail(). */
static bool send_one(struct side *side)
{
    struct frame_batch *batch = &side->conn.batch;

    for (bool is_whole = false; !is_whole;) {
        is_whole = frame_fill(&side->writer, batch, 0, 1) != 0;
        while (batch->len != 0) {
            if (!epoll_conn_send(&side->loop, &side->conn))
                return false;
            if (side->conn.is_blocked && !epoll_loop_turn(&side->loop, WAIT_NS))
                return false;
        }
    }
    return true;
}

static enum bench_status rtt_send(struct bench_run *run)
{
    static struct side side;

    if (!open_side(&side, run))
        return BENCH_E_RUN;
    while (bench_step(run) < BENCH_DRAIN) {
        uint64_t answered = run->counts.msgs[0];
        weir_ns begin = bench_now();

        if (!send_one(&side))
            return BENCH_E_RUN;
        while (run->counts.msgs[0] == answered && !side.conn.is_ended)
            if (!epoll_loop_turn(&side.loop, WAIT_NS))
                return BENCH_E_RUN;
        if (run->counts.msgs[0] == answered)
            return bench_fail(run, BENCH_E_RUN, "the answer did not come");
        if (run->phase == BENCH_MEASURE)
            bench_histogram_add(&run->shared->latency, bench_now() - begin);
    }
    bench_publish_sent(run);
    bench_finish(run);
    close(side.conn.sock);
    return BENCH_OK;
}

static enum bench_status rtt_recv(struct bench_run *run)
{
    static struct side side;
    uint64_t answered = 0;

    if (!open_side(&side, run))
        return BENCH_E_RUN;
    while (!side.conn.is_ended) {
        if (!epoll_loop_turn(&side.loop, WAIT_NS))
            return BENCH_E_RUN;
        for (; answered < run->counts.msgs[0]; answered++)
            if (!send_one(&side))
                return BENCH_E_RUN;
        bench_step(run);
    }
    return BENCH_OK;
}

/* ---- the implementation -------------------------------------------------------------------- */

const struct bench_impl bench_epoll = {
    .name = "epoll",
    .what = "hand-written epoll, a 16-byte header and XXH3-64 a frame, sendmsg of 256 KiB",
    .notes =
        {
            [BENCH_THROUGHPUT] =
                "a message above 64 KiB is frames of 64 KiB, verified and not gathered",
            [BENCH_RTT] = "three system calls a turn on each side: send, wait, receive",
            [BENCH_URGENT] = "one stream: an urgent message goes to the front of the next batch",
            [BENCH_SHARE] = "has no channels: one stream, the ceiling of the sum",
            [BENCH_CONNECTIONS] =
                "a batch is as large as the socket's buffer, 64 KiB at least, and no connection's own",
        },
    .roles =
        {
            [BENCH_THROUGHPUT] = {stream_send, stream_recv},
            [BENCH_RTT] = {rtt_send, rtt_recv},
            [BENCH_URGENT] = {stream_send, stream_recv},
            [BENCH_SHARE] = {stream_send, stream_recv},
            [BENCH_RATE] = {rate_send, stream_recv},
            [BENCH_CONNECTIONS] = {bench_epoll_many_send, bench_epoll_many_recv},
        },
};
