/* bench/raw_many.c: the rival without frames in connections, broadcast and churn, the sender.
 *
 * connections: one write of as many messages as a piece has to each connection that takes them, told by
 * epoll (level-triggered: in turn) which do. broadcast: one blocking send for each peer, round
 * by round. churn: connect and close, against accept and close, blocking.
 */
#include "bench/raw_crowd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/net.h"

#define EVENTS_PER_TURN 256
#define PIECE_BYTES ((size_t)64 * 1024) /* what one write offers the kernel */
#define BACKLOG_MAX 1024u               /* connections that the other side has not taken yet */

struct piece {
    uint8_t *data;
    uint32_t size, msg_cnt;
};

static bool piece_init(struct piece *piece, uint32_t size)
{
    piece->size = size;
    piece->msg_cnt = size < PIECE_BYTES ? (uint32_t)PIECE_BYTES / size : 1;
    size_t bytes = (size_t)piece->msg_cnt * size;
    piece->data = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
    if (piece->data != NULL)
        memset(piece->data, 0x5a, bytes);
    return piece->data != NULL;
}

/* One write to a connection: the next one's turn comes before its own again. `at` of the connection is within
 * the piece's first message: what was taken of whole ones is over. */
static bool fill(struct bench_run *run, struct bench_raw_conn *conn, const struct piece *piece)
{
    const size_t len = (size_t)piece->msg_cnt * piece->size - conn->at;

    for (uint32_t i = 0; i < piece->msg_cnt; i++) {
        uint64_t number = conn->number + i;
        memcpy(piece->data + (size_t)i * piece->size, &number, sizeof(number));
    }
    ssize_t n = send(conn->sock, piece->data + conn->at, len, MSG_NOSIGNAL);
    run->counts.syscalls++;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n < 0) {
        bench_fail(run, BENCH_E_RUN, "send: %s", strerror(errno));
        return false;
    }
    if (n != 0 && conn->at == 0 && (conn->number & BENCH_NUMBER_MASK) == 0)
        bench_conn_begins(run);
    uint32_t end = conn->at + (uint32_t)n;
    conn->number += end / piece->size;
    conn->at = end % piece->size;
    run->counts.msgs[0] += end / piece->size;
    run->counts.bytes[0] += (uint64_t)(end / piece->size) * piece->size;
    return true;
}

/* Finishes the messages that are half written, and counts them. */
static bool finish(struct bench_run *run, struct bench_raw_conn *conn, const struct piece *piece)
{
    struct timespec nap = {.tv_nsec = 100000};

    memcpy(piece->data, &conn->number, sizeof(conn->number));
    while (conn->at != 0) {
        ssize_t n = send(conn->sock, piece->data + conn->at, piece->size - conn->at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            bench_fail(run, BENCH_E_RUN, "send: %s", strerror(errno));
            return false;
        }
        if (n < 0) {
            nanosleep(&nap, NULL);
            continue;
        }
        conn->at += (uint32_t)n;
        if (conn->at != piece->size)
            continue;
        conn->at = 0;
        run->counts.msgs[0]++;
        run->counts.bytes[0] += piece->size;
    }
    return true;
}

static enum bench_status await_end(struct bench_run *run)
{
    const struct timespec nap = {.tv_nsec = WEIR_NS_PER_MS};

    bench_publish_sent(run);
    while (bench_step(run) != BENCH_DONE)
        nanosleep(&nap, NULL);
    return BENCH_OK;
}

enum bench_status bench_raw_many_send(struct bench_run *run)
{
    static struct bench_raw_crowd crowd;
    static struct epoll_event events[EVENTS_PER_TURN];
    struct piece piece;

    if (!piece_init(&piece, run->job->size))
        return bench_fail(run, BENCH_E_RUN, "no memory for the messages");
    if (!bench_raw_crowd_open(&crowd, run, EPOLLOUT))
        return BENCH_E_RUN;
    for (uint32_t i = 0; i < crowd.conn_cnt; i++)
        crowd.conns[i].number = (uint64_t)i << BENCH_NUMBER_SHIFT;
    while (bench_step(run) < BENCH_DRAIN) {
        int cnt = epoll_wait(crowd.epoll, events, EVENTS_PER_TURN, run->job->is_busy ? 0 : 20);
        run->counts.syscalls++;
        run->counts.turns++;
        if (cnt < 0 && errno != EINTR)
            return bench_fail(run, BENCH_E_RUN, "epoll_wait: %s", strerror(errno));
        for (int i = 0; i < cnt; i++)
            if (!fill(run, &crowd.conns[events[i].data.u32], &piece))
                return BENCH_E_RUN;
    }
    for (uint32_t i = 0; i < crowd.conn_cnt; i++)
        if (!finish(run, &crowd.conns[i], &piece))
            return BENCH_E_RUN;
    return await_end(run);
}

enum bench_status bench_raw_broadcast_send(struct bench_run *run)
{
    static struct bench_raw_crowd crowd;
    uint8_t *msg = calloc(1, run->job->size);

    if (msg == NULL)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    if (!bench_raw_crowd_open(&crowd, run, 0))
        return BENCH_E_RUN;
    for (uint64_t seq = 0; bench_step(run) < BENCH_DRAIN; seq++) {
        memcpy(msg, &seq, sizeof(seq));
        for (uint32_t i = 0; i < crowd.conn_cnt; i++)
            if (!bench_raw_write(run, crowd.conns[i].sock, msg, run->job->size))
                return BENCH_E_RUN;
        run->counts.turns++;
        run->counts.msgs[0] += crowd.conn_cnt;
        run->counts.bytes[0] += (uint64_t)crowd.conn_cnt * run->job->size;
    }
    return await_end(run);
}

/* ---- churn --------------------------------------------------------------------------------- */

enum bench_status bench_raw_churn_send(struct bench_run *run)
{
    const struct timespec nap = {.tv_nsec = 20000};
    uint16_t port = bench_await_port(run);

    if (port == 0)
        return bench_fail(run, BENCH_E_RUN, "the receiver did not begin to listen");
    while (bench_step(run) < BENCH_DRAIN) {
        uint64_t taken = atomic_load_explicit(&run->shared->progress, memory_order_relaxed);
        if (run->counts.msgs[0] - taken >= BACKLOG_MAX) {
            nanosleep(&nap, NULL);
            continue;
        }
        int sock = bench_net_connect_nth(run, port, (uint32_t)run->counts.msgs[0]);
        if (sock < 0)
            return BENCH_E_RUN;
        close(sock);
        run->counts.msgs[0]++;
        run->counts.turns++;
    }
    return await_end(run);
}

enum bench_status bench_raw_churn_recv(struct bench_run *run)
{
    int listener = bench_net_listen_wide(run);
    const struct timeval patience = {.tv_usec = 20000};

    if (listener < 0)
        return BENCH_E_RUN;
    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    while (bench_step(run) != BENCH_DRAIN || !bench_is_drained(run)) {
        int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        run->counts.syscalls++;
        run->counts.turns++;
        if (sock < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            return bench_fail(run, BENCH_E_RUN, "accept: %s", strerror(errno));
        if (sock < 0)
            continue;
        close(sock);
        run->counts.syscalls++;
        run->counts.msgs[0]++;
        atomic_store_explicit(&run->shared->progress, run->counts.msgs[0], memory_order_relaxed);
    }
    bench_finish(run);
    close(listener);
    return BENCH_OK;
}
