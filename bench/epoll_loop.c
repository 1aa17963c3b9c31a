#include "bench/epoll_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#define EVENTS 64

bool epoll_loop_open(struct epoll_loop *loop, struct bench_run *run)
{
    *loop = (struct epoll_loop){.run = run, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    if (loop->epoll < 0) {
        bench_fail(run, BENCH_E_ENVIRONMENT, "epoll_create1: %s", strerror(errno));
        return false;
    }
    loop->buffer = aligned_alloc(4096, EPOLL_RECV_BYTES);
    if (loop->buffer == NULL) {
        bench_fail(run, BENCH_E_RUN, "no memory for the receive buffer");
        return false;
    }
    return true;
}

bool epoll_conn_open(struct epoll_conn *conn, struct epoll_loop *loop, int sock)
{
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.ptr = conn,
    };

    *conn = (struct epoll_conn){.sock = sock};
    if (frame_batch_init(&conn->batch) != 0 || frame_reader_init(&conn->reader) != 0) {
        bench_fail(loop->run, BENCH_E_RUN, "no memory for the buffers");
        return false;
    }
    if (fcntl(sock, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(loop->epoll, EPOLL_CTL_ADD, sock, &event) != 0) {
        bench_fail(loop->run, BENCH_E_RUN, "epoll_ctl: %s", strerror(errno));
        return false;
    }
    return true;
}

bool epoll_conn_send(struct epoll_loop *loop, struct epoll_conn *conn)
{
    struct frame_batch *batch = &conn->batch;

    while (batch->len != 0 && !conn->is_blocked) {
        const struct msghdr msg = {
            .msg_iov = &batch->vectors[batch->vector_idx],
            .msg_iovlen = batch->vector_cnt - batch->vector_idx,
        };
        ssize_t n = sendmsg(conn->sock, &msg, MSG_NOSIGNAL);

        loop->run->counts.syscalls++;
        if (n >= 0) {
            frame_batch_sent(batch, (size_t)n);
        } else if (errno == EAGAIN) {
            conn->is_blocked = true;
        } else if (errno != EINTR) {
            bench_fail(loop->run, BENCH_E_RUN, "sendmsg: %s", strerror(errno));
            return false;
        }
    }
    return true;
}

/* A read that fills less than the buffer has emptied the socket, and what comes later is an edge of
 * its own; but the end of the stream may have come with this one. */
static bool receive(struct epoll_loop *loop, struct epoll_conn *conn, bool has_hangup)
{
    for (;;) {
        ssize_t n = recv(conn->sock, loop->buffer, EPOLL_RECV_BYTES, 0);

        loop->run->counts.syscalls++;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0) {
            bench_fail(loop->run, BENCH_E_RUN, "recv: %s", strerror(errno));
            return false;
        }
        if (n == 0) {
            conn->is_ended = true;
            return true;
        }
        if (!frame_read(&conn->reader, loop->run, loop->buffer, (size_t)n))
            return false;
        if ((size_t)n < EPOLL_RECV_BYTES && !has_hangup)
            return true;
        bench_step(loop->run); /* a sender that never pauses keeps this loop going */
    }
}

bool epoll_loop_turn(struct epoll_loop *loop, weir_ns wait)
{
    struct epoll_event events[EVENTS];
    const struct timespec timeout = {
        .tv_sec = (time_t)(wait / WEIR_NS_PER_S),
        .tv_nsec = (long)(wait % WEIR_NS_PER_S),
    };
    const struct timespec none = {0};
    /* Its timeout is exact to the nanosecond, epoll_wait's to the millisecond. */
    int cnt =
        epoll_pwait2(loop->epoll, events, EVENTS, loop->run->job->is_busy ? &none : &timeout, NULL);

    loop->run->counts.syscalls++;
    loop->run->counts.turns++;
    if (cnt < 0 && errno != EINTR) {
        bench_fail(loop->run, BENCH_E_RUN, "epoll_pwait2: %s", strerror(errno));
        return false;
    }
    for (int i = 0; i < cnt; i++) {
        struct epoll_conn *conn = events[i].data.ptr;

        if ((events[i].events & EPOLLOUT) != 0)
            conn->is_blocked = false;
        if ((events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 &&
            !conn->is_ended &&
            !receive(loop, conn, (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0))
            return false;
    }
    return true;
}
