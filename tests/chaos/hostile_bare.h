/* tests/chaos/hostile_bare.h: the least that a listener can do with strangers: it accepts, keeps as many as a node
 * would, reads what they say and throws it away.
 *
 * The same flood against it shows what a flood costs the good peers although nobody attacks their node: the kernel's
 * work for connections, and the processor's time. What is above that is the node's own doing.
 */
#ifndef WEIR_TESTS_CHAOS_HOSTILE_BARE_H
#define WEIR_TESTS_CHAOS_HOSTILE_BARE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tests/chaos/hostile.h"

#define BARE_EVENTS 64

static inline int bare_listen(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0 || bind(sock, (struct sockaddr *)&in, len) != 0 || listen(sock, 4096) != 0 ||
        getsockname(sock, (struct sockaddr *)&in, &len) != 0)
        hostile_die("bare listener", 0);
    snprintf(hostile->bare_address, sizeof(hostile->bare_address), "127.0.0.1:%u",
             ntohs(in.sin_port));
    return sock;
}

static inline void bare_accept(int epoll, int listener, uint32_t *cnt, uint32_t handshakes_max)
{
    int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (sock < 0)
        return;
    hostile->bare_accepted++;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = sock};
    if (*cnt == handshakes_max || epoll_ctl(epoll, EPOLL_CTL_ADD, sock, &event) != 0)
        close(sock);
    else
        ++*cnt;
}

static inline void bare_run(uint32_t handshakes_max)
{
    int listener = bare_listen(), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[BARE_EVENTS] = {{.events = EPOLLIN, .data.fd = listener}};
    uint32_t cnt = 0;
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &events[0]) != 0)
        hostile_die("bare listener", 0);
    hostile->is_bare_ready = true;
    for (;;) {
        int event_cnt = epoll_wait(epoll, events, BARE_EVENTS, -1);
        for (int i = 0; i < event_cnt; i++) {
            char bytes[4096];
            int sock = events[i].data.fd;
            if (sock == listener) {
                bare_accept(epoll, listener, &cnt, handshakes_max);
            } else if (recv(sock, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0) {
                close(sock);
                cnt--;
            }
        }
    }
}

/* Starts it; it ends with the process that called. */
static inline pid_t bare_start(uint32_t handshakes_max)
{
    hostile->is_bare_ready = false;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        hostile_place(true);
        bare_run(handshakes_max);
    }
    for (int k = 0; k < 30000 && !hostile->is_bare_ready; k++)
        usleep(1000);
    return child;
}

#endif
