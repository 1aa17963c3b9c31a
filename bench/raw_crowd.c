#include "bench/raw_crowd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/net.h"

#define EVENTS_PER_TURN 256
#define READ_BYTES ((size_t)64 * 1024)

static bool watch(struct bench_raw_crowd *crowd, struct bench_run *run, uint32_t idx,
                  uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u32 = idx};
    int sock = crowd->conns[idx].sock;

    if (events == 0)
        return true; /* a blocking one, without epoll */
    if (fcntl(sock, F_SETFL, fcntl(sock, F_GETFL) | O_NONBLOCK) == 0 &&
        epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, sock, &event) == 0)
        return true;
    bench_fail(run, BENCH_E_RUN, "epoll_ctl: %s", strerror(errno));
    return false;
}

static bool connect_all(struct bench_raw_crowd *crowd, struct bench_run *run)
{
    bool is_receiver = run->who == BENCH_RECEIVER;
    int listener = is_receiver ? bench_net_listen_wide(run) : -1;
    uint16_t port = is_receiver ? 0 : bench_await_port(run);

    if (is_receiver && listener < 0)
        return false;
    if (!is_receiver && port == 0) {
        bench_fail(run, BENCH_E_RUN, "the receiver did not begin to listen");
        return false;
    }
    for (uint32_t i = 0; i < crowd->conn_cnt; i++) {
        crowd->conns[i].sock =
            is_receiver ? bench_net_accept(run, listener) : bench_net_connect_nth(run, port, i);
        if (crowd->conns[i].sock < 0)
            return false;
    }
    if (listener >= 0)
        close(listener);
    return true;
}

bool bench_raw_crowd_open(struct bench_raw_crowd *crowd, struct bench_run *run, uint32_t events)
{
    const struct timespec nap = {.tv_nsec = WEIR_NS_PER_MS};

    if (crowd->memory_before == 0)
        crowd->memory_before = bench_memory();
    crowd->conn_cnt = run->job->conn_cnt;
    crowd->conns = calloc(crowd->conn_cnt, sizeof(crowd->conns[0]));
    crowd->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (crowd->conns == NULL || crowd->epoll < 0) {
        bench_fail(run, BENCH_E_RUN, "no memory for %u connections", crowd->conn_cnt);
        return false;
    }
    if (!connect_all(crowd, run))
        return false;
    for (uint32_t i = 0; i < crowd->conn_cnt; i++)
        if (!watch(crowd, run, i, events))
            return false;
    bench_note_idle(run, crowd->memory_before);
    while (!bench_is_idle_noted(run)) /* if the other one fails, this process is ended */
        nanosleep(&nap, NULL);
    return true;
}

/* ---- the receiver -------------------------------------------------------------------------- */

/* A whole message's number was gathered: is it the next of its connection? In `connections` it says
 * whose it is; that must not change. */
static void check(struct bench_run *run, struct bench_raw_conn *conn)
{
    run->counts.seq_errors += (conn->number & BENCH_NUMBER_MASK) != conn->seq_cnt;
    conn->seq_cnt++;
    run->counts.msgs[0]++;
    run->counts.bytes[0] += run->job->size;
}

/* As bench_raw_scan, for a connection of many. Messages are of 8 bytes or more. */
static void scan(struct bench_run *run, struct bench_raw_conn *conn, const uint8_t *data,
                 size_t len)
{
    const uint32_t size = run->job->size;

    while (len != 0) {
        if (conn->at == 0 && len >= size) {
            memcpy(&conn->number, data, sizeof(conn->number));
            check(run, conn);
            data += size;
            len -= size;
            continue;
        }
        size_t piece = len < size - conn->at ? len : size - conn->at;
        if (conn->at < sizeof(conn->number)) {
            size_t head = sizeof(conn->number) - conn->at;
            memcpy((uint8_t *)&conn->number + conn->at, data, head < piece ? head : piece);
        }
        data += piece;
        len -= piece;
        conn->at += (uint32_t)piece;
        if (conn->at == size) {
            conn->at = 0;
            check(run, conn);
        }
    }
}

/* One read of a connection that has something: who has more is told again. */
static bool read_some(struct bench_run *run, struct bench_raw_conn *conn, uint8_t *data)
{
    ssize_t n = recv(conn->sock, data, READ_BYTES, 0);

    run->counts.syscalls++;
    if (n > 0)
        scan(run, conn, data, (size_t)n);
    if (n >= 0 || errno == EAGAIN || errno == EINTR)
        return true;
    bench_fail(run, BENCH_E_RUN, "recv: %s", strerror(errno));
    return false;
}

enum bench_status bench_raw_crowd_recv(struct bench_run *run)
{
    static struct bench_raw_crowd crowd;
    static struct epoll_event events[EVENTS_PER_TURN];
    uint8_t *data = aligned_alloc(4096, READ_BYTES);

    if (data == NULL)
        return bench_fail(run, BENCH_E_RUN, "no memory for the receive buffer");
    if (!bench_raw_crowd_open(&crowd, run, EPOLLIN))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DRAIN || !bench_is_drained(run)) {
        int wait_ms = run->job->is_busy ? 0 : run->phase == BENCH_DRAIN ? 1 : 20;
        int cnt = epoll_wait(crowd.epoll, events, EVENTS_PER_TURN, wait_ms);
        run->counts.syscalls++;
        run->counts.turns++;
        if (cnt < 0 && errno != EINTR)
            return bench_fail(run, BENCH_E_RUN, "epoll_wait: %s", strerror(errno));
        for (int i = 0; i < cnt; i++)
            if (!read_some(run, &crowd.conns[events[i].data.u32], data))
                return BENCH_E_RUN;
    }
    bench_finish(run);
    return BENCH_OK;
}
