/* bench/candidates/ring.c: what both sides do with rings, sockets and clocks. */
#include "bench/candidates/candidates.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SPIN_S 50e-6

double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

void percentiles(struct shared *shared, float *times_us, uint32_t cnt)
{
    qsort(times_us, cnt, sizeof(*times_us), by_size);
    shared->p50_us = times_us[cnt / 2];
    shared->p99_us = times_us[(uint64_t)cnt * 99 / 100];
}

_Noreturn void die(struct run *run, const char *what, int error)
{
    if (atomic_exchange(&run->shared->failed, 1) == 0)
        snprintf(run->shared->text, sizeof(run->shared->text), "%s%s%s", what,
                 error != 0 ? ": " : "", error != 0 ? strerror(error) : "");
    _exit(1);
}

/* ---- sockets ------------------------------------------------------------------------------- */

static int open_socket(struct run *run)
{
    const int on = 1;
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (sock < 0)
        die(run, "socket", errno);
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const uint32_t wanted = run->variant->recv_buffer;
    const int recv_buffer = (int)(wanted != 0 ? wanted : 256 * KIB);
    if (wanted != AUTOTUNING)
        setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &recv_buffer, sizeof(recv_buffer));
    const int unsent = (int)run->variant->unsent_bytes;
    if (unsent != 0)
        setsockopt(sock, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
    setsockopt(sock, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5); /* main() says what it became */
    return sock;
}

int net_accept(struct run *run)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof(addr);
    int listener = open_socket(run);

    inet_pton(AF_INET, run->addr, &addr.sin_addr);
    if (bind(listener, (struct sockaddr *)&addr, len) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&addr, &len) != 0)
        die(run, "listening", errno);
    atomic_store(&run->shared->port, ntohs(addr.sin_port));
    int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (sock < 0)
        die(run, "accept", errno);
    close(listener);
    return sock;
}

int net_connect(struct run *run)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    int sock = open_socket(run);

    while (atomic_load(&run->shared->port) == 0) {
        if (atomic_load(&run->shared->failed))
            _exit(1);
        usleep(1000);
    }
    inet_pton(AF_INET, run->addr, &addr.sin_addr);
    addr.sin_port = htons((uint16_t)atomic_load(&run->shared->port));
    if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) != 0)
        die(run, "connect", errno);
    return sock;
}

/* ---- rings --------------------------------------------------------------------------------- */

void ring_open(struct run *run, struct io_uring *ring, int sock)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = 256,
    };
    int error = io_uring_queue_init_params(16, ring, &params);

    if (error != 0)
        die(run, "io_uring_setup", -error);
    if (run->variant->is_direct && (error = io_uring_register_files(ring, &sock, 1)) != 0)
        die(run, "io_uring_register_files", -error);
    if (run->variant->napi_us != 0) {
        struct io_uring_napi napi = {.busy_poll_to = run->variant->napi_us};
        if ((error = io_uring_register_napi(ring, &napi)) != 0)
            die(run, "io_uring_register_napi", -error);
    }
}

void ring_wait(struct run *run, struct io_uring *ring)
{
    const struct variant *variant = run->variant;
    struct __kernel_timespec second = {.tv_sec = 1};
    struct io_uring_cqe *cqe;

    if (variant->min_wait_us != 0) {
        io_uring_submit_and_wait_min_timeout(ring, &cqe, 4, &second, variant->min_wait_us, NULL);
        return;
    }
    if (!variant->is_sleeping) {
        double begin = 0;
        do {
            io_uring_submit_and_get_events(ring);
            if (io_uring_cq_ready(ring) != 0)
                return;
            begin = begin == 0 ? now_s() : begin;
        } while (now_s() - begin < SPIN_S);
    }
    /* A second at most: then the caller looks whether the other side has failed. */
    io_uring_submit_and_wait_timeout(ring, &cqe, 1, &second, NULL);
    if (atomic_load(&run->shared->failed))
        _exit(1);
}
