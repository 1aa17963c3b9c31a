/* bench/epoll_many.c: the epoll rival with many connections: the same frames and checksums.
 *
 * One batch is built for whoever can be written to and handed over at once; what the kernel does not take
 * of it is kept with its connection until it does, so that an idle connection has no buffer. A batch is
 * as large as the socket's buffer, where the run sets one, but 64 KiB at least: the kernel takes as much at once,
 * and half as many calls were 1.3 times the rate with 10,000 connections. Level-triggered on both sides, one write or read
 * for each event: that serves all in turn. Edge-triggered, and on until the kernel takes no more, two sides that
 * keep pace with each other stay with one connection (of 1,000, 256 got messages in a second).
 */
#include "bench/epoll_many.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "bench/epoll_loop.h"
#include "bench/raw_crowd.h"

#define EVENTS_PER_TURN 256
#define BATCH_BYTES_LEAST (64u << 10)

struct rest {
    uint64_t seq;
    uint8_t *data; /* frames that were built and not taken; NULL: none */
    uint32_t at, len;
};

struct sender {
    struct bench_raw_crowd crowd;
    struct rest *rests; /* one for each connection */
    struct frame_writer writer;
    struct frame_batch batch;
    uint64_t batch_msgs;
};

/* Returns how many bytes the kernel took; -1 after bench_fail(). */
static ssize_t hand_over(struct bench_run *run, int sock, const void *data, size_t len)
{
    for (;;) {
        ssize_t n = send(sock, data, len, MSG_NOSIGNAL);

        run->counts.syscalls++;
        if (n >= 0)
            return n;
        if (errno == EAGAIN)
            return 0;
        if (errno == EINTR)
            continue;
        bench_fail(run, BENCH_E_RUN, "send: %s", strerror(errno));
        return -1;
    }
}

/* Sends what is left. Returns 1 when nothing is any more, 0 when the kernel is full, -1 after
 * bench_fail(). */
static int send_rest(struct bench_run *run, int sock, struct rest *rest)
{
    while (rest->data != NULL) {
        ssize_t n = hand_over(run, sock, rest->data + rest->at, rest->len - rest->at);
        if (n <= 0)
            return (int)n;
        rest->at += (uint32_t)n;
        if (rest->at != rest->len)
            continue;
        free(rest->data);
        rest->data = NULL;
    }
    return 1;
}

/* Keeps what the kernel did not take of the batch. */
static bool keep(struct bench_run *run, struct rest *rest, const uint8_t *data, size_t len)
{
    rest->data = malloc(len);
    if (rest->data == NULL) {
        bench_fail(run, BENCH_E_RUN, "no memory for what is left");
        return false;
    }
    memcpy(rest->data, data, len);
    rest->at = 0;
    rest->len = (uint32_t)len;
    return true;
}

/* One batch to one connection: the next one's turn comes before its own again. */
static bool fill(struct sender *sender, struct bench_run *run, uint32_t idx)
{
    const int sock = sender->crowd.conns[idx].sock;
    struct rest *rest = &sender->rests[idx];
    struct frame_batch *batch = &sender->batch;
    int is_clear = send_rest(run, sock, rest);

    if (is_clear != 1)
        return is_clear == 0;
    if (rest->seq == 0)
        bench_conn_begins(run);
    sender->writer.source.seq = (uint64_t)idx << BENCH_NUMBER_SHIFT | rest->seq;
    bench_source_number(&sender->writer.source);
    uint64_t cnt = frame_fill(&sender->writer, batch, 0, sender->batch_msgs);
    rest->seq += cnt;
    run->counts.msgs[0] += cnt;
    run->counts.bytes[0] += cnt * run->job->size;

    size_t len = batch->len;
    ssize_t n = hand_over(run, sock, batch->data, len);
    frame_batch_sent(batch, len); /* sent or kept, it is empty */
    return n >= 0 && ((size_t)n == len || keep(run, rest, batch->data + n, len - (size_t)n));
}

static bool open_sender(struct sender *sender, struct bench_run *run)
{
    const struct bench_job *job = run->job;
    const uint32_t bytes = job->send_buffer == 0                  ? FRAME_BATCH_BYTES
                           : job->send_buffer < BATCH_BYTES_LEAST ? BATCH_BYTES_LEAST
                                                                  : job->send_buffer;
    const uint32_t frame = (uint32_t)sizeof(struct frame_header) + job->size;

    sender->crowd.memory_before = bench_memory();
    sender->batch_msgs = bytes < frame ? 1 : bytes / frame;
    sender->rests = calloc(job->conn_cnt, sizeof(sender->rests[0]));
    if (sender->rests == NULL || frame_batch_init(&sender->batch) != 0 ||
        frame_writer_init(&sender->writer, job->size) != 0) {
        bench_fail(run, BENCH_E_RUN, "no memory for the messages");
        return false;
    }
    return bench_raw_crowd_open(&sender->crowd, run, EPOLLOUT);
}

/* What was built is sent to its end: then everything that was counted is on its way. */
static bool finish(struct sender *sender, struct bench_run *run)
{
    const struct timespec nap = {.tv_nsec = 100000};
    int is_clear;

    for (uint32_t i = 0; i < sender->crowd.conn_cnt; i++) {
        while ((is_clear = send_rest(run, sender->crowd.conns[i].sock, &sender->rests[i])) == 0)
            nanosleep(&nap, NULL);
        if (is_clear < 0)
            return false;
    }
    return true;
}

enum bench_status bench_epoll_many_send(struct bench_run *run)
{
    static struct sender sender;
    static struct epoll_event events[EVENTS_PER_TURN];
    const struct timespec nap = {.tv_nsec = WEIR_NS_PER_MS};

    if (!open_sender(&sender, run))
        return BENCH_E_RUN;
    while (bench_step(run) < BENCH_DRAIN) {
        int cnt =
            epoll_wait(sender.crowd.epoll, events, EVENTS_PER_TURN, run->job->is_busy ? 0 : 20);
        run->counts.syscalls++;
        run->counts.turns++;
        if (cnt < 0 && errno != EINTR)
            return bench_fail(run, BENCH_E_RUN, "epoll_wait: %s", strerror(errno));
        for (int i = 0; i < cnt; i++)
            if (!fill(&sender, run, events[i].data.u32))
                return BENCH_E_RUN;
    }
    if (!finish(&sender, run))
        return BENCH_E_RUN;
    bench_publish_sent(run);
    while (bench_step(run) != BENCH_DONE)
        nanosleep(&nap, NULL);
    return BENCH_OK;
}

/* ---- the receiver -------------------------------------------------------------------------- */

struct receiver {
    struct bench_raw_crowd crowd;
    struct frame_reader *readers; /* one for each connection */
    uint8_t *buffer;
};

static bool open_receiver(struct receiver *receiver, struct bench_run *run)
{
    const uint32_t conn_cnt = run->job->conn_cnt;
    bool is_short = false;

    run->conn_seqs = malloc(conn_cnt * sizeof(run->conn_seqs[0]));
    if (run->conn_seqs != NULL) /* the benchmark's own: resident before memory is measured */
        memset(run->conn_seqs, 0, conn_cnt * sizeof(run->conn_seqs[0]));
    receiver->crowd.memory_before = bench_memory();
    receiver->readers = calloc(conn_cnt, sizeof(receiver->readers[0]));
    receiver->buffer = aligned_alloc(4096, EPOLL_RECV_BYTES);
    is_short = run->conn_seqs == NULL || receiver->readers == NULL || receiver->buffer == NULL;
    for (uint32_t i = 0; !is_short && i < conn_cnt; i++)
        is_short = frame_reader_init(&receiver->readers[i]) != 0;
    if (is_short) {
        bench_fail(run, BENCH_E_RUN, "no memory for %u connections", conn_cnt);
        return false;
    }
    return bench_raw_crowd_open(&receiver->crowd, run, EPOLLIN);
}

/* One read of a connection that has something: who has more is told again. */
static bool receive(struct receiver *receiver, struct bench_run *run, uint32_t idx)
{
    ssize_t n = recv(receiver->crowd.conns[idx].sock, receiver->buffer, EPOLL_RECV_BYTES, 0);

    run->counts.syscalls++;
    if (n > 0)
        return frame_read(&receiver->readers[idx], run, receiver->buffer, (size_t)n);
    if (n == 0 || errno == EAGAIN || errno == EINTR)
        return true;
    bench_fail(run, BENCH_E_RUN, "recv: %s", strerror(errno));
    return false;
}

enum bench_status bench_epoll_many_recv(struct bench_run *run)
{
    static struct receiver receiver;
    static struct epoll_event events[EVENTS_PER_TURN];

    if (!open_receiver(&receiver, run))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DRAIN || !bench_is_drained(run)) {
        int wait_ms = run->job->is_busy ? 0 : run->phase == BENCH_DRAIN ? 1 : 20;
        int cnt = epoll_wait(receiver.crowd.epoll, events, EVENTS_PER_TURN, wait_ms);
        run->counts.syscalls++;
        run->counts.turns++;
        if (cnt < 0 && errno != EINTR)
            return bench_fail(run, BENCH_E_RUN, "epoll_wait: %s", strerror(errno));
        for (int i = 0; i < cnt; i++)
            if (!receive(&receiver, run, events[i].data.u32))
                return BENCH_E_RUN;
    }
    bench_finish(run);
    return BENCH_OK;
}
