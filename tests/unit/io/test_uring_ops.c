#include "tests/unit/io/uring_fixture.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>

#define STREAM_BYTES (16u << 20)

static uint8_t pattern(size_t at)
{
    return (uint8_t)((at * UINT64_C(0x9E3779B97F4A7C15)) >> 56);
}

/* Sends STREAM_BYTES in sends of up to three pieces while receiving them, and compares every byte.
 * `is_lazy`: buffers are kept until the receive has ended for want of them. */
static void stream(struct weir_io *io, const struct fixture_pair *pair, bool is_lazy)
{
    enum { TOKEN_SEND = 10, TOKEN_RECV = 11 };
    uint8_t *bytes = malloc(STREAM_BYTES);
    for (size_t i = 0; i < STREAM_BYTES; i++)
        bytes[i] = pattern(i);
    size_t sent = 0, received = 0;
    uint32_t short_cnt = 0, starved_cnt = 0, held_cnt = 0;
    uint32_t held[64];
    bool is_ended = false, is_sending = false, is_shut = false, is_armed = true;
    struct iovec iov[3];
    size_t asked = 0;

    CHECK(io->ops->recv(io, pair->accepted, TOKEN_RECV) == 0);
    while (!is_ended) {
        if (!is_sending && sent < STREAM_BYTES) {
            size_t left = STREAM_BYTES - sent;
            asked = left < 700000 ? left : 700000;
            uint32_t cnt = asked >= 1000 ? 1 + (uint32_t)(sent / 1000 % 3) : 1;
            size_t piece = asked / cnt;
            for (uint32_t i = 0; i < cnt; i++)
                iov[i] = (struct iovec){bytes + sent + i * piece,
                                        i + 1 < cnt ? piece : asked - i * piece};
            CHECK(io->ops->send(io, pair->dialed, iov, cnt, TOKEN_SEND) == 0);
            is_sending = true;
        }
        if (sent == STREAM_BYTES && !is_shut) {
            CHECK(io->ops->shutdown(io, pair->dialed, SHUT_WR, 12) == 0);
            is_shut = true;
        }
        struct weir_io_event events[8];
        int64_t cnt = io->ops->turn(io, events, 8, WEIR_NS_PER_S);
        CHECK(cnt > 0);
        for (int64_t i = 0; i < cnt; i++) {
            const struct weir_io_event *event = &events[i];
            if (event->kind == WEIR_IO_SEND) {
                CHECK(event->token == TOKEN_SEND && event->res > 0 && (size_t)event->res <= asked);
                sent += (size_t)event->res;
                short_cnt += (size_t)event->res < asked;
                is_sending = false;
            } else if (event->kind == WEIR_IO_RECV) {
                CHECK(event->token == TOKEN_RECV);
                if (event->flags & WEIR_IO_BUF) {
                    for (int32_t at = 0; at < event->res; at++)
                        CHECK(event->data[at] == pattern(received + (size_t)at));
                    received += (size_t)event->res;
                    event->data[0] = 0xFF; /* it is ours: writable */
                    if (is_lazy)
                        held[held_cnt++] = event->buf_idx;
                    else
                        io->ops->recv_done(io, event->buf_idx);
                } else {
                    CHECK(event->res == 0 || event->res == -ENOBUFS);
                    CHECK(!(event->flags & WEIR_IO_MORE));
                    is_ended = event->res == 0;
                    starved_cnt += event->res != 0;
                }
                is_armed = event->flags & WEIR_IO_MORE;
            } else {
                CHECK(event->kind == WEIR_IO_SHUTDOWN && event->res == 0 && event->token == 12);
            }
        }
        if (!is_armed && !is_ended) {
            while (held_cnt > 0)
                io->ops->recv_done(io, held[--held_cnt]);
            CHECK(io->ops->recv(io, pair->accepted, TOKEN_RECV) == 0);
            is_armed = true;
        }
    }
    while (held_cnt > 0)
        io->ops->recv_done(io, held[--held_cnt]);
    cr_assert_eq(received, STREAM_BYTES);
    struct weir_io_stats stats;
    io->ops->stats(io, &stats);
    cr_assert_eq(stats.recv_starved, starved_cnt);
    if (is_lazy)
        cr_assert_gt(starved_cnt, 0);
    else
        cr_assert_gt(short_cnt, 0, "the test is meant to see short sends");
    free(bytes);
}

Test(uring_ops, a_stream_arrives_whole_over_each_family)
{
    const char *addrs[] = {"127.0.0.1:0", "[::1]:0", fixture_unix("stream"),
                           fixture_unix("@stream")};
    for (size_t i = 0; i < sizeof(addrs) / sizeof(*addrs); i++) {
        int fd_cnt = fixture_fd_cnt();
        struct weir_io *io = fixture_io(NULL);
        struct fixture_pair pair = fixture_pair_at(io, addrs[i]);
        stream(io, &pair, false);
        fixture_pair_end(io, &pair, 0);
        io->ops->free(io);
        cr_assert_eq(fixture_fd_cnt(), fd_cnt, "descriptors left after %s", addrs[i]);
    }
    cr_assert_neq(access(addrs[2] + 5, F_OK), 0, "the socket file is removed");
}

static void stream_lazily(uint32_t buf_cnt, uint32_t buf_bytes)
{
    struct weir_io_config cfg = fixture_config;
    cfg.recv_buf_cnt = buf_cnt;
    cfg.recv_buf_bytes = buf_bytes;
    struct weir_io *io = fixture_io(&cfg);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    stream(io, &pair, true);
    fixture_pair_end(io, &pair, 0);
    io->ops->free(io);
}

Test(uring_ops, a_receive_without_buffers_ends_and_goes_on_when_they_are_back)
{
    stream_lazily(2, 4096);
}

Test(uring_ops, a_receive_ended_by_a_full_queue_loses_nothing)
{
    /* More small pieces than the completion queue has room for, while nobody reaps. */
    struct weir_io_config cfg = {
        .sq_cnt = 8, .cq_cnt = 8, .recv_buf_bytes = 64, .recv_buf_cnt = 256};
    struct weir_io *io = fixture_io(&cfg);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    uint8_t bytes[64 * 64];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = pattern(i);
    size_t received = 0;
    int ended_on_data_cnt = 0;
    CHECK(io->ops->recv(io, pair.accepted, 5) == 0);
    CHECK(io->ops->turn(io, NULL, 0, 0) == 0);
    CHECK(send(pair.dialed, bytes, sizeof(bytes), 0) == sizeof(bytes));
    while (received < sizeof(bytes)) {
        struct weir_io_event events[3];
        int64_t cnt = io->ops->turn(io, events, 3, WEIR_NS_PER_S);
        CHECK(cnt > 0);
        for (int64_t i = 0; i < cnt; i++) {
            CHECK(events[i].kind == WEIR_IO_RECV && events[i].res > 0 &&
                  (events[i].flags & WEIR_IO_BUF));
            for (int32_t at = 0; at < events[i].res; at++)
                CHECK(events[i].data[at] == pattern(received + (size_t)at));
            received += (size_t)events[i].res;
            io->ops->recv_done(io, events[i].buf_idx);
            if (!(events[i].flags & WEIR_IO_MORE)) {
                ended_on_data_cnt++;
                CHECK(io->ops->recv(io, pair.accepted, 5) == 0);
            }
        }
    }
    struct weir_io_stats stats;
    io->ops->stats(io, &stats);
    cr_assert_gt(ended_on_data_cnt, 0, "the receive is meant to end on a good event");
    cr_assert_gt(stats.overflows, 0);
    cr_assert_lt(stats.overflows, 200);
    fixture_pair_end(io, &pair, 1);
    io->ops->free(io);
}

/* Where the buffer of each of `cnt` receives began, of one byte each. */
static void receive_bytes(const struct weir_io_config *cfg, const uint8_t **ret_at,
                          uint32_t *ret_bufs, int cnt)
{
    struct weir_io *io = fixture_io(cfg);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    CHECK(io->ops->recv(io, pair.accepted, 5) == 0);
    for (int i = 0; i < cnt; i++) {
        CHECK(send(pair.dialed, "x", 1, 0) == 1);
        struct weir_io_event event = fixture_event(io);
        CHECK(event.kind == WEIR_IO_RECV && event.res == 1 && event.data[0] == 'x');
        CHECK(event.flags & WEIR_IO_MORE);
        ret_at[i] = event.data;
        ret_bufs[i] = event.buf_idx;
        io->ops->recv_done(io, event.buf_idx);
    }
    fixture_pair_end(io, &pair, 1);
    io->ops->free(io);
}

Test(uring_ops, a_large_receive_buffer_moves_within_its_page_and_a_small_one_stays)
{
    enum { CNT = 150 };
    const uint8_t *at[CNT], *least[2], *most[2];
    uint32_t bufs[CNT];
    struct weir_io_config cfg = fixture_config;
    cfg.recv_buf_cnt = 2;
    for (int is_large = 0; is_large < 2; is_large++) {
        cfg.recv_buf_bytes = is_large ? 32768 : 32704;
        receive_bytes(&cfg, at, bufs, CNT);
        memset(least, 0, sizeof least);
        for (int i = 0; i < CNT; i++) {
            const uint8_t **low = &least[bufs[i]], **high = &most[bufs[i]];
            *high = !*low || at[i] > *high ? at[i] : *high;
            *low = !*low || at[i] < *low ? at[i] : *low;
            if (is_large)
                cr_assert_eq((uintptr_t)at[i] % 64, 0);
        }
        CHECK(least[0] && least[1]);
        /* 75 receives each, in steps of two times 64 bytes */
        for (int b = 0; b < 2; b++)
            cr_assert_eq(most[b] - least[b], is_large ? 4096 - 128 : 0, "buffer %d", b);
        int first = least[0] < least[1] ? 0 : 1;
        cr_assert_geq(least[!first] - most[first], (ptrdiff_t)cfg.recv_buf_bytes, "they overlap");
    }
}

Test(uring_ops, large_receive_buffers_are_filled_where_they_have_moved)
{
    stream_lazily(4, 32768);
}

Test(uring_ops, tokens_come_back_with_all_their_bits)
{
    struct weir_io *io = fixture_io(NULL);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    const uint64_t token = (UINT64_C(1) << WEIR_IO_TOKEN_BITS) - 1;
    struct iovec iov = {(void *)(uintptr_t) "x", 1};
    CHECK(io->ops->send(io, pair.dialed, &iov, 1, token) == 0);
    struct weir_io_event event = fixture_event(io);
    CHECK(event.kind == WEIR_IO_SEND && event.token == token && event.res == 1);
    fixture_pair_end(io, &pair, 0);
    io->ops->free(io);
}

Test(uring_ops, connecting_where_nobody_listens_is_refused)
{
    struct weir_io *io = fixture_io(NULL);
    struct weir_addr addr = fixture_addr("127.0.0.1:0"), real;
    int listener = io->ops->listen(io, &addr, false, &real);
    io->ops->close(io, listener);
    int sock = -1;
    CHECK(io->ops->connect(io, &real, 7, &sock) == 0);
    struct weir_io_event event = fixture_event(io);
    CHECK(event.kind == WEIR_IO_CONNECT && event.token == 7 && event.res == -ECONNREFUSED);
    io->ops->close(io, sock);

    addr = fixture_addr(fixture_unix("nobody"));
    CHECK(io->ops->connect(io, &addr, 8, &sock) == 0);
    event = fixture_event(io);
    CHECK(event.kind == WEIR_IO_CONNECT && event.token == 8 && event.res == -ENOENT);
    io->ops->close(io, sock);
    CHECK(io->ops->connect(io, &(struct weir_addr){.family = WEIR_ADDR_NONE}, 9, &sock) ==
          WEIR_E_ADDRESS);
    io->ops->free(io);
}

/* A listener whose queue is full does not answer further SYNs, so a connect stays under way. */
static int deaf_listener(struct weir_addr *ret_addr, int ret_filling[4])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(sock, (struct sockaddr *)&in, sizeof(in)) == 0 && listen(sock, 0) == 0);
    CHECK(getsockname(sock, (struct sockaddr *)&in, &len) == 0);
    for (int i = 0; i < 4; i++) {
        ret_filling[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(ret_filling[i], (struct sockaddr *)&in, sizeof(in));
        usleep(1000);
    }
    *ret_addr = fixture_addr("127.0.0.1:1");
    ret_addr->port = ntohs(in.sin_port);
    return sock;
}

Test(uring_ops, shutdown_ends_a_connect_that_is_under_way)
{
    int filling[4];
    struct weir_addr addr;
    deaf_listener(&addr, filling);
    struct weir_io *io = fixture_io(NULL);
    for (int is_submitted = 0; is_submitted < 2; is_submitted++) {
        int sock = -1;
        CHECK(io->ops->connect(io, &addr, 20, &sock) == 0);
        if (is_submitted)
            CHECK(fixture_is_quiet(io));
        CHECK(io->ops->shutdown(io, sock, SHUT_RDWR, 21) == 0);
        int seen = 0;
        while (seen != 3) {
            struct weir_io_event event = fixture_event(io);
            if (event.kind == WEIR_IO_CONNECT) {
                cr_assert(event.res < 0 && event.token == 20, "res %d", event.res);
                seen |= 1;
            } else {
                CHECK(event.kind == WEIR_IO_SHUTDOWN && event.token == 21);
                CHECK(event.res == 0 || event.res == -ENOTCONN);
                seen |= 2;
            }
        }
        CHECK(fixture_is_quiet(io)); /* the cancel's own completion is nobody's */
        io->ops->close(io, sock);
    }
    io->ops->free(io);
}

Test(uring_ops, shutdown_ends_a_receive_and_a_blocked_send)
{
    const char *addrs[] = {"127.0.0.1:0", "[::1]:0", fixture_unix("@shut")};
    static uint8_t bytes[32 << 20];
    for (size_t i = 0; i < 3; i++) {
        struct weir_io *io = fixture_io(NULL);
        struct fixture_pair pair = fixture_pair_at(io, addrs[i]);
        struct iovec iov = {bytes, sizeof(bytes)};
        CHECK(io->ops->recv(io, pair.dialed, 31) == 0);
        for (;;) { /* until the socket takes no more */
            CHECK(io->ops->send(io, pair.dialed, &iov, 1, 30) == 0);
            struct weir_io_event event;
            int64_t cnt = io->ops->turn(io, &event, 1, 50 * WEIR_NS_PER_MS);
            if (cnt == 0)
                break;
            CHECK(event.kind == WEIR_IO_SEND && event.res > 0);
        }
        CHECK(io->ops->shutdown(io, pair.dialed, SHUT_RDWR, 32) == 0);
        int seen = 0;
        while (seen != 7) {
            struct weir_io_event event = fixture_event(io);
            CHECK(!(event.flags & WEIR_IO_MORE));
            if (event.kind == WEIR_IO_SEND)
                CHECK(event.res == -EPIPE);
            if (event.kind == WEIR_IO_RECV)
                CHECK(event.res == 0);
            seen |= event.kind == WEIR_IO_SEND ? 1 : event.kind == WEIR_IO_RECV ? 2 : 4;
        }
        fixture_pair_end(io, &pair, 0);
        io->ops->free(io);
    }
}

Test(uring_ops, a_reset_ends_receive_with_an_error)
{
    struct weir_io *io = fixture_io(NULL);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    CHECK(io->ops->recv(io, pair.accepted, 40) == 0);
    CHECK(fixture_is_quiet(io));
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    CHECK(setsockopt(pair.dialed, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
    io->ops->close(io, pair.dialed);
    struct weir_io_event event = fixture_event(io);
    CHECK(event.kind == WEIR_IO_RECV && event.res == -ECONNRESET && event.flags == 0);
    /* Shutting a socket that is no longer connected still answers with an event. */
    CHECK(io->ops->shutdown(io, pair.accepted, SHUT_RDWR, 41) == 0);
    event = fixture_event(io);
    CHECK(event.kind == WEIR_IO_SHUTDOWN && event.token == 41 && event.res == -ENOTCONN);
    io->ops->close(io, pair.accepted);
    io->ops->free(io);
}

/* All wait in the backlog, and who is armed again and again gets one of them a turn. */
Test(uring_ops, a_flood_of_connections_is_taken_one_by_one)
{
    enum { CLIENTS = 32 };
    struct weir_io *io = fixture_io(NULL);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(pair.addr.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int clients[CLIENTS], accepted = 0;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(clients[i], (struct sockaddr *)&in, sizeof(in)) == 0);
    }
    while (accepted < CLIENTS) {
        struct weir_io_event events[CLIENTS];
        int64_t cnt = io->ops->turn(io, events, CLIENTS, 5 * WEIR_NS_PER_S);
        cr_assert_eq(cnt, 1, "%d at once, or none", (int)cnt);
        CHECK(events[0].kind == WEIR_IO_ACCEPT && events[0].res >= 0);
        close(events[0].res);
        accepted++;
        CHECK(io->ops->accept(io, pair.listener, 1) == 0);
    }
    for (int i = 0; i < CLIENTS; i++)
        close(clients[i]);
    fixture_pair_end(io, &pair, 0);
    io->ops->free(io);
}

Test(uring_ops, accept_ends_without_descriptors_and_can_be_armed_again)
{
    struct weir_io *io = fixture_io(NULL);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(pair.addr.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int client = socket(AF_INET, SOCK_STREAM, 0);
    struct rlimit limit, low;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    low = limit;
    int unused = dup(client);
    close(unused); /* the lowest free number */
    /* Armed under the old limit: Linux 6.1 takes a descriptor at once. */
    CHECK(io->ops->turn(io, NULL, 0, 0) == 0);
    low.rlim_cur = (rlim_t)unused;
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    /* The kernel notes the limit when accept is armed. */
    CHECK(io->ops->cancel(io, 1) == 0);
    struct weir_io_event event = fixture_event(io);
    CHECK(event.kind == WEIR_IO_ACCEPT && event.res == -ECANCELED && !(event.flags & WEIR_IO_MORE));
    CHECK(io->ops->accept(io, pair.listener, 1) == 0);
    CHECK(connect(client, (struct sockaddr *)&in, sizeof(in)) == 0);
    event = fixture_event(io);
    CHECK(event.kind == WEIR_IO_ACCEPT && event.res == -EMFILE && !(event.flags & WEIR_IO_MORE));
    int sock;
    CHECK(io->ops->connect(io, &pair.addr, 50, &sock) == WEIR_E_DESCRIPTORS);
    struct weir_addr any = fixture_addr("127.0.0.1:0"), real;
    CHECK(io->ops->listen(io, &any, false, &real) == WEIR_E_DESCRIPTORS);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    /* Whether that connection survived is the kernel's affair; the next one is accepted. */
    CHECK(io->ops->accept(io, pair.listener, 1) == 0);
    int other = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(other, (struct sockaddr *)&in, sizeof(in)) == 0);
    event = fixture_event(io);
    CHECK(event.kind == WEIR_IO_ACCEPT && event.res >= 0 && !(event.flags & WEIR_IO_MORE));
    io->ops->free(io);
}

Test(uring_ops, more_operations_than_the_queue_has_places)
{
    struct weir_io_config cfg = fixture_config;
    cfg.sq_cnt = 8;
    cfg.recv_buf_cnt = 32;
    struct weir_io *io = fixture_io(&cfg);
    struct fixture_pair pairs[20];
    struct iovec iovs[20][2];
    char bytes[20];
    for (int i = 0; i < 20; i++) {
        pairs[i] = fixture_pair_at(io, "127.0.0.1:0");
        CHECK(io->ops->recv(io, pairs[i].accepted, 100 + (uint64_t)i) == 0);
        bytes[i] = (char)i;
        iovs[i][0] = (struct iovec){&bytes[i], 1};
        iovs[i][1] = (struct iovec){(void *)(uintptr_t) "tail", 4};
    }
    for (int i = 0; i < 20; i++) /* without a turn between them: each has its own msghdr */
        CHECK(io->ops->send(io, pairs[i].dialed, iovs[i], 2, 200 + (uint64_t)i) == 0);
    for (int seen = 0; seen < 40; seen++) {
        struct weir_io_event event = fixture_event(io);
        CHECK(event.res == 5);
        if (event.kind == WEIR_IO_RECV) {
            CHECK(event.data[0] == event.token - 100 && memcmp(event.data + 1, "tail", 4) == 0);
            io->ops->recv_done(io, event.buf_idx);
        }
    }
    io->ops->free(io);
}
