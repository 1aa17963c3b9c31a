#include "bench/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_socket(struct bench_run *run)
{
    const char *congestion = run->job->congestion;
    const int on = 1;
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (sock < 0) {
        bench_fail(run, BENCH_E_ENVIRONMENT, "socket: %s", strerror(errno));
        return -1;
    }
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const int recv_buffer = (int)run->job->recv_buffer;
    const int send_buffer = (int)run->job->send_buffer;
    if (recv_buffer != 0)
        setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &recv_buffer, sizeof(recv_buffer));
    if (send_buffer != 0)
        setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
    /* All of it before listen and connect: accepted sockets inherit it. */
    if (congestion != NULL && setsockopt(sock, IPPROTO_TCP, TCP_CONGESTION, congestion,
                                         (socklen_t)strlen(congestion)) != 0) {
        bench_fail(run, BENCH_E_ENVIRONMENT, "TCP_CONGESTION %s: %s", congestion, strerror(errno));
        close(sock);
        return -1;
    }
    return sock;
}

static int listen_at(struct bench_run *run, uint32_t ip, int backlog, const char *device)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(ip)};
    socklen_t addr_len = sizeof(addr);
    int sock = open_socket(run);

    if (sock < 0)
        return -1;
    if ((device != NULL &&
         setsockopt(sock, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) != 0) ||
        bind(sock, (struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(sock, backlog) != 0 ||
        getsockname(sock, (struct sockaddr *)&addr, &addr_len) != 0) {
        bench_fail(run, BENCH_E_ENVIRONMENT, "listening on loopback: %s", strerror(errno));
        close(sock);
        return -1;
    }
    atomic_store_explicit(&run->shared->port, ntohs(addr.sin_port), memory_order_release);
    return sock;
}

int bench_net_listen(struct bench_run *run)
{
    return listen_at(run, INADDR_LOOPBACK, 16, NULL);
}

int bench_net_listen_wide(struct bench_run *run)
{
    return listen_at(run, INADDR_ANY, 4096, "lo");
}

int bench_net_accept(struct bench_run *run, int listener)
{
    const int on = 1;
    int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (sock < 0)
        bench_fail(run, BENCH_E_RUN, "accept: %s", strerror(errno));
    else
        setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return sock;
}

int bench_net_accept_one(struct bench_run *run)
{
    int listener = bench_net_listen(run);

    if (listener < 0)
        return -1;
    int sock = bench_net_accept(run, listener);
    close(listener);
    return sock;
}

int bench_net_connect_nth(struct bench_run *run, uint16_t port, uint32_t nth)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + nth % BENCH_NET_ADDRESSES),
    };
    int sock = open_socket(run);

    if (sock < 0)
        return -1;
    if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        bench_fail(run, BENCH_E_RUN, "connecting to port %u: %s", port, strerror(errno));
        close(sock);
        return -1;
    }
    return sock;
}

int bench_net_connect(struct bench_run *run)
{
    uint16_t port = bench_await_port(run);

    if (port == 0) {
        bench_fail(run, BENCH_E_RUN, "the receiver did not begin to listen");
        return -1;
    }
    return bench_net_connect_nth(run, port, 0);
}

void bench_net_congestion(char *ret_name, size_t len)
{
    socklen_t name_len = (socklen_t)len - 1;
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memset(ret_name, 0, len);
    if (sock < 0 || getsockopt(sock, IPPROTO_TCP, TCP_CONGESTION, ret_name, &name_len) != 0)
        snprintf(ret_name, len, "unknown");
    if (sock >= 0)
        close(sock);
}

int bench_net_try_congestion(const char *name)
{
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (sock < 0)
        return errno;
    int error = setsockopt(sock, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0
                    ? 0
                    : errno;
    close(sock);
    return error;
}
