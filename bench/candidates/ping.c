/* bench/candidates/ping.c: 64 bytes there and back, one at a time: what waiting for them costs. */
#include "bench/candidates/candidates.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BYTES 64u
#define TRIPS_MAX (1u << 21)

/* Sends, where there is something to send, and waits for 64 bytes. False when the other side closed. */
static bool trade(struct run *run, struct io_uring *ring, int sock, uint8_t *data, bool is_sending)
{
    uint32_t len = 0;

    if (is_sending) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
        io_uring_prep_send(sqe, ring_fd(run, sock), data, BYTES, MSG_NOSIGNAL);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        ring_prepared(run, sqe);
    }
    while (len < BYTES) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
        struct io_uring_cqe *cqe;
        io_uring_prep_recv(sqe, ring_fd(run, sock), data + len, BYTES - len, 0);
        ring_prepared(run, sqe);
        do
            ring_wait(run, ring);
        while (io_uring_peek_cqe(ring, &cqe) != 0);
        int n = cqe->res;
        io_uring_cqe_seen(ring, cqe);
        if (n < 0)
            die(run, "ping", -n);
        if (n == 0)
            return false;
        len += (uint32_t)n;
    }
    return true;
}

void ping_send(struct run *run)
{
    struct io_uring ring;
    uint8_t data[BYTES] = {0};
    int sock = net_connect(run);
    float *trips = malloc(TRIPS_MAX * sizeof(*trips));
    uint32_t cnt = 0;

    if (trips == NULL)
        die(run, "no memory", 0);
    ring_open(run, &ring, sock);
    double begin = now_s(), sent = begin, cpu = cpu_s();
    while (sent - begin < run->seconds && cnt < TRIPS_MAX) {
        if (!trade(run, &ring, sock, data, true))
            die(run, "the answer did not come", 0);
        double now = now_s();
        trips[cnt++] = (float)((now - sent) * 1e6);
        sent = now;
    }
    percentiles(run->shared, trips, cnt);
    run->shared->cpu_s_per_gb = (cpu_s() - cpu) / (sent - begin); /* of a core */
    shutdown(sock, SHUT_RDWR);
}

void ping_recv(struct run *run)
{
    struct io_uring ring;
    uint8_t data[BYTES];
    bool has_message = false;
    int sock = net_accept(run);

    ring_open(run, &ring, sock);
    while (trade(run, &ring, sock, data, has_message))
        has_message = true;
}
