/* bench/uring.c: the hand-written rival in each case: what an expert writes for one connection,
 * with frames and checksums and nothing else. It is the ceiling for an engine that has to do as
 * much.
 */
#include "bench/uring_link.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/net.h"

/* ---- one way: throughput, share (one stream), urgent (in the stream, first come first served) ---- */

/* The bulk is channel 1 in `urgent`, where an urgent message goes to the front of the next
 * batch. */
static void fill(struct uring_link *link, struct bench_run *run, weir_ns *due)
{
    struct bench_counts *counts = &run->counts;
    uint8_t channel = 0;

    if (run->job->which == BENCH_URGENT) {
        struct bench_urgent msg;
        if (bench_urgent_next(run, due, counts->msgs[0], &msg)) {
            frame_put(&link->writer, uring_link_batch(link), 0, &msg, sizeof(msg));
            counts->msgs[0]++;
            counts->bytes[0] += sizeof(msg);
        }
        channel = 1;
    }
    uint64_t cnt = frame_fill(&link->writer, uring_link_batch(link), channel, UINT64_MAX);
    counts->msgs[channel] += cnt;
    counts->bytes[channel] += cnt * run->job->size;
}

/* Says that nothing follows, and waits until the receiver has counted and closed. */
static enum bench_status end_stream(struct bench_run *run, int sock)
{
    uint8_t end;

    bench_publish_sent(run);
    shutdown(sock, SHUT_WR);
    if (read(sock, &end, 1) != 0)
        return bench_fail(run, BENCH_E_RUN, "the receiver did not read to the end");
    bench_step(run);
    return BENCH_OK;
}

static enum bench_status stream_send(struct bench_run *run)
{
    struct uring_link link;
    weir_ns due = 0;
    int sock = bench_net_connect(run);

    if (sock < 0 || !uring_link_open(&link, run, sock))
        return BENCH_E_RUN;
    for (;;) {
        bool is_draining = bench_step(run) >= BENCH_DRAIN;

        if (!is_draining && uring_link_batch(&link)->len == 0)
            fill(&link, run, &due);
        if (!link.is_sending && uring_link_batch(&link)->len != 0)
            uring_link_send(&link);
        else if (!link.is_sending && is_draining)
            break;
        /* Idle only when both batches are full. The send of a batch usually ends within its submit,
         * so that a turn is one batch and one system call. */
        bool is_idle = link.is_sending && (is_draining || uring_link_batch(&link)->len != 0);
        if (!uring_link_turn(&link, run, is_idle ? WEIR_NS_FOREVER : 0))
            return BENCH_E_RUN;
    }
    return end_stream(run, sock);
}

static enum bench_status rate_send(struct bench_run *run)
{
    struct uring_link link;
    struct bench_pace pace;
    int sock = bench_net_connect(run);

    if (sock < 0 || !uring_link_open(&link, run, sock))
        return BENCH_E_RUN;
    if (bench_pace_init(&pace, run->job) != 0)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    while (!bench_pace_is_over(&pace, run) || link.is_sending ||
           uring_link_batch(&link)->len != 0) {
        frame_put_due(&link.writer, uring_link_batch(&link), run, &pace);
        if (!link.is_sending && uring_link_batch(&link)->len != 0)
            uring_link_send(&link);
        /* Asleep until the next message is due, or until there is room for it. */
        bool is_full = link.is_sending && uring_link_batch(&link)->len >= FRAME_BATCH_BYTES;
        if (!uring_link_turn(&link, run,
                             is_full ? WEIR_NS_FOREVER : bench_pace_wait(&pace, bench_now())))
            return BENCH_E_RUN;
    }
    return end_stream(run, sock);
}

static enum bench_status stream_recv(struct bench_run *run)
{
    struct uring_link link;
    int sock = bench_net_accept_one(run);

    if (sock < 0 || !uring_link_open(&link, run, sock))
        return BENCH_E_RUN;
    while (!link.is_ended) {
        uring_link_recv(&link);
        if (!uring_link_turn(&link, run, WEIR_NS_FOREVER))
            return BENCH_E_RUN;
        bench_step(run);
    }
    bench_finish(run);
    shutdown(sock, SHUT_RDWR);
    return BENCH_OK;
}

/* ---- there and back ------------------------------------------------------------------------ */

/* Sends one message, in several batches if it needs them. Only the parts before the last are waited
 * for; the last makes no completion, and its batch is filled again only after the other side
 * answered, which says that all of it has been sent. False after bench_fail(). */
static bool send_one(struct uring_link *link, struct bench_run *run)
{
    for (;;) {
        struct frame_batch *batch = uring_link_batch(link);

        frame_batch_sent(batch, batch->len);
        link->is_send_silent = frame_fill(&link->writer, batch, 0, 1) != 0;
        uring_link_send(link);
        if (link->is_send_silent)
            return true;
        while (link->is_sending)
            if (!uring_link_turn(link, run, WEIR_NS_FOREVER))
                return false;
    }
}

static enum bench_status rtt_send(struct bench_run *run)
{
    struct uring_link link;
    int sock = bench_net_connect(run);

    if (sock < 0 || !uring_link_open(&link, run, sock))
        return BENCH_E_RUN;
    while (bench_step(run) < BENCH_DRAIN) {
        uint64_t answered = run->counts.msgs[0];
        weir_ns begin = bench_now();

        if (!send_one(&link, run))
            return BENCH_E_RUN;
        while (run->counts.msgs[0] == answered && !link.is_ended) {
            uring_link_recv(&link);
            if (!uring_link_turn(&link, run, WEIR_NS_FOREVER))
                return BENCH_E_RUN;
        }
        if (link.is_ended)
            return bench_fail(run, BENCH_E_RUN, "the answer did not come");
        if (run->phase == BENCH_MEASURE)
            bench_histogram_add(&run->shared->latency, bench_now() - begin);
    }
    bench_publish_sent(run);
    bench_finish(run);
    shutdown(sock, SHUT_RDWR);
    return BENCH_OK;
}

static enum bench_status rtt_recv(struct bench_run *run)
{
    struct uring_link link;
    uint64_t answered = 0;
    int sock = bench_net_accept_one(run);

    if (sock < 0 || !uring_link_open(&link, run, sock))
        return BENCH_E_RUN;
    while (!link.is_ended) {
        uring_link_recv(&link);
        if (!uring_link_turn(&link, run, WEIR_NS_FOREVER))
            return BENCH_E_RUN;
        for (; answered < run->counts.msgs[0]; answered++)
            if (!send_one(&link, run))
                return BENCH_E_RUN;
        bench_step(run);
    }
    return BENCH_OK;
}

/* ---- the implementation -------------------------------------------------------------------- */

const struct bench_impl bench_uring = {
    .name = "uring",
    .what = "hand-written io_uring, a 16-byte header and XXH3-64 a frame, two batches of 256 KiB",
    .notes =
        {
            [BENCH_THROUGHPUT] =
                "a message above 64 KiB is frames of 64 KiB, verified and not gathered",
            [BENCH_RTT] = "one system call a turn on each side",
            [BENCH_URGENT] = "one stream: an urgent message goes to the front of the next batch",
            [BENCH_SHARE] = "has no channels: one stream, the ceiling of the sum",
        },
    .roles =
        {
            [BENCH_THROUGHPUT] = {stream_send, stream_recv},
            [BENCH_RTT] = {rtt_send, rtt_recv},
            [BENCH_URGENT] = {stream_send, stream_recv},
            [BENCH_SHARE] = {stream_send, stream_recv},
            [BENCH_RATE] = {rate_send, stream_recv},
        },
};
