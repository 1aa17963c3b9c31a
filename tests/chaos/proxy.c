/* proxy: a TCP proxy that flips bits, delays and splits, from a seed.
 *
 *     proxy --to IPV4:PORT [--seed N] [--flip-max BYTES] [--delay-us N] [--split BYTES]
 *
 * Each connection is damaged once, in one of its directions: it draws how many bytes go through before
 * (about as many early, in handshakes, as late, up to --flip-max; 0: never), and what is flipped there:
 * one bit, or bits in some of the next 64 bytes. What is read is cut into pieces of up to --split bytes,
 * each handed on up to --delay-us later. Bits count when their bytes were handed to the kernel.
 *
 * It prints "listening at ADDRESS", then a line of JSON four times a second and one at SIGTERM.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/chaos/stream.h"

#define LINKS_MAX 1024u
#define PIECE_MAX 65536u
#define NS_PER_US UINT64_C(1000)

struct way { /* one direction */
    uint8_t *piece;
    uint32_t len, pos;
    uint64_t due_ns;     /* when the piece may go on */
    uint64_t until_flip; /* bytes */
    uint32_t bits;       /* flipped in the piece */
    bool is_damaged;     /* some bit went through flipped */
    bool is_ended, is_shut;
};

struct link {
    bool is_used;
    int socks[2];       /* the dialer's, the target's */
    struct way ways[2]; /* from socks[i] to socks[1 - i] */
};

static struct {
    struct sockaddr_in to;
    uint64_t seed, flip_max, delay_us, split;
} options = {.flip_max = 65536, .split = PIECE_MAX};

static struct {
    uint64_t links, refused, bytes, bits, damages;
} count;

static struct link links[LINKS_MAX];
static int epoll_fd;
static volatile sig_atomic_t is_stopping;
static uint64_t random_state;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t below(uint64_t bound)
{
    random_state++;
    return stream_mix(options.seed ^ random_state * UINT64_C(0xD1342543DE82EF95)) % bound;
}

/* About as many damages in each doubling of the distance. */
static uint64_t draw_distance(void)
{
    uint64_t high = 32;
    while (high < options.flip_max && below(4) != 0)
        high *= 2;
    return below(high);
}

/* ---- damage -------------------------------------------------------------------------------- */

static void flip_at(struct way *way, uint32_t at)
{
    uint32_t span = way->len - at < 64 ? way->len - at : 64;
    uint32_t hits = below(2) ? 1 : 1 + (uint32_t)below(span);
    for (uint32_t i = 0; i < hits; i++) {
        /* Every byte at most once, so that no flip is taken back. */
        uint8_t mask = (uint8_t)(hits == 1 ? 1u << below(8) : 1 + below(255));
        way->piece[at + (i * span) / hits] ^= mask;
        way->bits += (uint32_t)__builtin_popcount(mask);
    }
}

static void damage(struct way *way)
{
    if (way->until_flip >= way->len) {
        way->until_flip -= way->until_flip == UINT64_MAX ? 0 : way->len;
        return;
    }
    flip_at(way, (uint32_t)way->until_flip);
    way->until_flip = UINT64_MAX;
}

/* ---- links --------------------------------------------------------------------------------- */

static void watch(struct link *link, int side)
{
    /* Readable matters while the way from here has no piece, writable while the one to here has. */
    const struct way *from = &link->ways[side], *to = &link->ways[1 - side];
    struct epoll_event event = {.data.u64 = (uint64_t)(link - links) * 2 + (uint64_t)side};
    if (!from->len && !from->is_ended)
        event.events |= EPOLLIN;
    if (to->len && to->due_ns == 0)
        event.events |= EPOLLOUT;
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, link->socks[side], &event);
}

static void link_close(struct link *link)
{
    for (int i = 0; i < 2; i++) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0}; /* leaves no TIME_WAIT behind */
        bool is_clean = link->ways[0].is_shut && link->ways[1].is_shut;
        if (!is_clean)
            setsockopt(link->socks[i], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        close(link->socks[i]);
        free(link->ways[i].piece);
    }
    memset(link, 0, sizeof(*link));
}

static void link_open(int sock)
{
    struct link *link = links;
    while (link < links + LINKS_MAX && link->is_used)
        link++;
    int other = link == links + LINKS_MAX
                    ? -1
                    : socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int one = 1;
    if (other < 0 || (connect(other, (struct sockaddr *)&options.to, sizeof(options.to)) != 0 &&
                      errno != EINPROGRESS)) {
        count.refused++;
        if (other >= 0)
            close(other);
        close(sock);
        return;
    }
    count.links++;
    *link = (struct link){.is_used = true, .socks = {sock, other}};
    for (int i = 0; i < 2; i++) {
        setsockopt(link->socks[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        link->ways[i].piece = malloc(PIECE_MAX);
        if (!link->ways[i].piece)
            abort();
        link->ways[i].until_flip = UINT64_MAX;
        struct epoll_event event = {.data.u64 = (uint64_t)(link - links) * 2 + (uint64_t)i};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, link->socks[i], &event);
    }
    if (options.flip_max)
        link->ways[below(2)].until_flip = draw_distance();
    watch(link, 0);
    watch(link, 1);
}

/* Hands a piece on. False: the link is broken. */
static bool hand_on(struct link *link, int side)
{
    struct way *way = &link->ways[side];
    while (way->pos < way->len) {
        ssize_t sent =
            send(link->socks[1 - side], way->piece + way->pos, way->len - way->pos, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == EINPROGRESS || errno == ENOTCONN;
        count.bytes += (uint64_t)sent;
        way->pos += (uint32_t)sent;
    }
    count.bits += way->bits;
    count.damages += way->bits != 0;
    way->len = way->pos = way->bits = 0;
    return true;
}

/* Reads the next piece. False: the link is broken. */
static bool fetch(struct link *link, int side)
{
    struct way *way = &link->ways[side];
    size_t max = options.split > 1 && below(4) ? 1 + below(options.split) : options.split;
    ssize_t got = recv(link->socks[side], way->piece, max < PIECE_MAX ? max : PIECE_MAX, 0);
    if (got < 0)
        return errno == EAGAIN;
    if (got == 0) {
        way->is_ended = true;
        return true;
    }
    way->len = (uint32_t)got;
    damage(way);
    way->due_ns = options.delay_us ? now_ns() + below(options.delay_us * NS_PER_US + 1) : 0;
    return true;
}

/* Does what can be done on both ways; closes the link at its end. */
static void work(struct link *link, uint64_t now)
{
    bool is_whole = true;
    for (int side = 0; side < 2 && is_whole; side++) {
        struct way *way = &link->ways[side];
        if (way->len && way->due_ns <= now) {
            way->due_ns = 0;
            is_whole = hand_on(link, side);
        }
        if (is_whole && !way->len && way->is_ended && !way->is_shut) {
            way->is_shut = true;
            shutdown(link->socks[1 - side], SHUT_WR);
        }
    }
    if (!is_whole || (link->ways[0].is_shut && link->ways[1].is_shut)) {
        link_close(link);
        return;
    }
    watch(link, 0);
    watch(link, 1);
}

static void on_event(const struct epoll_event *event, uint64_t now)
{
    struct link *link = &links[event->data.u64 / 2];
    int side = (int)(event->data.u64 % 2);
    if (!link->is_used)
        return;
    bool is_readable = (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
    if (is_readable && !link->ways[side].len && !link->ways[side].is_ended && !fetch(link, side)) {
        link_close(link);
        return;
    }
    if ((event->events & (EPOLLERR | EPOLLHUP)) && link->ways[side].is_ended) {
        link_close(link); /* both ends of this socket are over */
        return;
    }
    work(link, now);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void report(bool is_final)
{
    printf(
        "{\"is_final\": %s, \"links\": %llu, \"refused\": %llu, \"bytes\": %llu, \"bits\": %llu, "
        "\"damages\": %llu}\n",
        is_final ? "true" : "false", (unsigned long long)count.links,
        (unsigned long long)count.refused, (unsigned long long)count.bytes,
        (unsigned long long)count.bits, (unsigned long long)count.damages);
    fflush(stdout);
}

static void on_signal(int number)
{
    (void)number;
    is_stopping = 1;
}

static int open_listener(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sock < 0 || bind(sock, (struct sockaddr *)&in, len) != 0 || listen(sock, 1024) != 0 ||
        getsockname(sock, (struct sockaddr *)&in, &len) != 0)
        return -1;
    printf("listening at 127.0.0.1:%u\n", ntohs(in.sin_port));
    fflush(stdout);
    return sock;
}

static bool parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"to", required_argument, NULL, 't'},       {"seed", required_argument, NULL, 'e'},
        {"flip-max", required_argument, NULL, 'f'}, {"delay-us", required_argument, NULL, 'y'},
        {"split", required_argument, NULL, 's'},    {NULL, 0, NULL, 0}};
    char host[64];
    unsigned port = 0;
    int key;
    while ((key = getopt_long(argc, argv, "", names, NULL)) != -1) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 0) : 0;
        if (key == 't' && sscanf(optarg, "%63[0-9.]:%u", host, &port) == 2)
            options.to = (struct sockaddr_in){.sin_family = AF_INET,
                                              .sin_port = htons((uint16_t)port),
                                              .sin_addr.s_addr = inet_addr(host)};
        else if (key == 'e')
            options.seed = number;
        else if (key == 'f')
            options.flip_max = number;
        else if (key == 'y')
            options.delay_us = number;
        else if (key == 's')
            options.split = number ? number : 1;
        else
            return false;
    }
    return port != 0 && optind == argc;
}

int main(int argc, char **argv)
{
    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: see the head of tests/chaos/proxy.c\n");
        return 1;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    int listener = open_listener();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
    if (listener < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) != 0) {
        perror("proxy");
        return 1;
    }
    uint64_t next_report = 0;
    while (!is_stopping) {
        struct epoll_event events[256];
        int event_cnt = epoll_wait(epoll_fd, events, 256, options.delay_us ? 1 : 100);
        uint64_t now = now_ns();
        for (int i = 0; i < event_cnt; i++) {
            if (events[i].data.u64 != UINT64_MAX) {
                on_event(&events[i], now);
                continue;
            }
            int sock;
            while ((sock = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
                link_open(sock);
        }
        for (uint32_t i = 0; options.delay_us && i < LINKS_MAX; i++) {
            const struct link *link = &links[i];
            if (link->is_used && ((link->ways[0].due_ns && link->ways[0].due_ns <= now) ||
                                  (link->ways[1].due_ns && link->ways[1].due_ns <= now)))
                work(&links[i], now);
        }
        if (now >= next_report) {
            report(false);
            next_report = now + 250 * 1000 * NS_PER_US;
        }
    }
    report(true);
    return 0;
}
