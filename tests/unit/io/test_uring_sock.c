#include "tests/unit/io/uring_fixture.h"

#include <fcntl.h>
#include <linux/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>

static int option_of(int sock, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);
    CHECK(getsockopt(sock, level, option, &value, &len) == 0);
    return value;
}

Test(uring_sock, a_port_in_use_is_said_to_be)
{
    struct weir_io *a = fixture_io(NULL), *b = fixture_io(NULL);
    const char *texts[] = {"127.0.0.1:0", "[::1]:0", "0.0.0.0:0"};
    for (int i = 0; i < 3; i++) {
        struct weir_addr addr = fixture_addr(texts[i]), real, other;
        CHECK(a->ops->listen(a, &addr, false, &real) >= 0);
        CHECK(real.port != 0 && real.family == addr.family && memcmp(real.ip, addr.ip, 16) == 0);
        cr_assert_eq(b->ops->listen(b, &real, false, &other), WEIR_E_IN_USE, "%s", texts[i]);
        int shared = b->ops->listen(b, &real, true, &other);
        cr_assert_geq(shared, 0, "another shard may join at %s: %d", texts[i], shared);
        CHECK(other.port == real.port);
        cr_assert_eq(b->ops->listen(b, &real, false, &other), WEIR_E_IN_USE, "%s", texts[i]);
    }
    a->ops->free(a);
    b->ops->free(b);
}

Test(uring_sock, shards_that_share_an_address_all_get_connections)
{
    struct weir_io *ios[2] = {fixture_io(NULL), fixture_io(NULL)};
    struct weir_addr addr = fixture_addr("127.0.0.1:0"), real = addr;
    int socks[2];
    for (int i = 0; i < 2; i++) {
        socks[i] = ios[i]->ops->listen(ios[i], &real, i > 0, &real);
        CHECK(socks[i] >= 0);
        CHECK(ios[i]->ops->accept(ios[i], socks[i], 1) == 0);
    }
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(real.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int cnt[2] = {0}, total = 0;
    for (int i = 0; i < 64; i++)
        CHECK(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof(in)) == 0);
    for (int round = 0; round < 200 && total < 64; round++) {
        for (int i = 0; i < 2; i++) {
            struct weir_io_event events[64];
            int64_t got = ios[i]->ops->turn(ios[i], events, 64, WEIR_NS_PER_MS);
            if (got > 0)
                CHECK(ios[i]->ops->accept(ios[i], socks[i], 1) == 0);
            cnt[i] += (int)got;
            total += (int)got;
        }
    }
    cr_assert(total == 64 && cnt[0] > 0 && cnt[1] > 0, "%d and %d", cnt[0], cnt[1]);
    for (int i = 0; i < 2; i++)
        ios[i]->ops->free(ios[i]);
}

Test(uring_sock, addresses_that_cannot_be_are_refused)
{
    struct weir_io *io = fixture_io(NULL);
    struct weir_addr addr, real;
    memset(&real, 0xAB, sizeof(real));
    struct {
        const char *text;
        int error;
    } cases[] = {{"192.0.2.1:0", WEIR_E_ADDRESS}, /* not of this machine */
                 {"unix:/nonexistent/x.sock", WEIR_E_ADDRESS},
                 {"unix:/etc/passwd", WEIR_E_IN_USE}, /* a file, and not a socket: it stays */
                 {"unix:/proc/x.sock", WEIR_E_ADDRESS}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        addr = fixture_addr(cases[i].text);
        int rc = io->ops->listen(io, &addr, false, &real);
        if (i == 3)
            cr_assert_lt(rc, 0);
        else
            cr_assert_eq(rc, cases[i].error, "%s: %d", cases[i].text, rc);
    }
    CHECK(access("/etc/passwd", R_OK) == 0);
    addr = (struct weir_addr){.family = WEIR_ADDR_NONE};
    CHECK(io->ops->listen(io, &addr, false, &real) == WEIR_E_ADDRESS);
    CHECK(real.reserved == 0xAB); /* untouched */
    io->ops->free(io);
}

Test(uring_sock, both_ip_families_can_have_one_port)
{
    struct weir_io *io = fixture_io(NULL);
    struct weir_addr six = fixture_addr("[::]:0"), four = fixture_addr("0.0.0.0:0"), real;
    CHECK(io->ops->listen(io, &six, false, &real) >= 0);
    four.port = real.port;
    CHECK(io->ops->listen(io, &four, false, &real) >= 0);
    CHECK(real.port == four.port);
    io->ops->free(io);
}

Test(uring_sock, a_stale_socket_file_is_replaced_and_a_live_one_is_not)
{
    const char *text = fixture_unix("stale"), *path = text + strlen("unix:");
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    strcpy(un.sun_path, path);
    unlink(path);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(dead, (struct sockaddr *)&un, sizeof(un)) == 0);
    CHECK(listen(dead, 1) == 0);

    struct weir_io *io = fixture_io(NULL);
    struct weir_addr addr = fixture_addr(text), real;
    CHECK(io->ops->listen(io, &addr, false, &real) == WEIR_E_IN_USE);
    CHECK(io->ops->listen(io, &addr, true, &real) == WEIR_E_IN_USE);
    CHECK(access(path, F_OK) == 0);
    close(dead); /* its file stays behind, as after a crash */
    int sock = io->ops->listen(io, &addr, false, &real);
    CHECK(sock >= 0 && weir_addr_is_equal(&addr, &real));

    /* A file that another made in our place is not ours to remove. */
    unlink(path);
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(other, (struct sockaddr *)&un, sizeof(un)) == 0);
    io->ops->close(io, sock);
    CHECK(access(path, F_OK) == 0);
    unlink(path);
    io->ops->free(io);
}

static uint64_t syscalls_of(struct weir_io *io)
{
    struct weir_io_stats stats;
    io->ops->stats(io, &stats);
    return stats.syscalls;
}

/* Nobody calls tune() here: a dialing socket has them before it connects, an accepted one from its listener. */
Test(uring_sock, sockets_have_their_options_from_the_beginning)
{
    struct weir_io_config cfg = fixture_config;
    cfg.socket_recv_bytes = 200000;
    cfg.socket_send_bytes = 100000;
    cfg.tcp_congestion = "reno";
    struct weir_io *io = fixture_io(&cfg);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    int socks[] = {pair.dialed, pair.accepted};
    for (int i = 0; i < 2; i++) {
        CHECK(option_of(socks[i], SOL_SOCKET, SO_BUF_LOCK) ==
              (SOCK_RCVBUF_LOCK | SOCK_SNDBUF_LOCK));
        char name[16] = "";
        socklen_t len = sizeof(name);
        CHECK(option_of(socks[i], IPPROTO_TCP, TCP_NODELAY) == 1);
        CHECK(option_of(socks[i], SOL_SOCKET, SO_RCVBUF) == 400000); /* the kernel doubles it */
        CHECK(option_of(socks[i], SOL_SOCKET, SO_SNDBUF) == 200000);
        CHECK(getsockopt(socks[i], IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0);
        cr_assert_str_eq(name, "reno");
        CHECK(fcntl(socks[i], F_GETFD) & FD_CLOEXEC);
        io->ops->bound_unsent(io, socks[i], 131072);
        CHECK(option_of(socks[i], IPPROTO_TCP, TCP_NOTSENT_LOWAT) == 131072);
        io->ops->bound_unsent(io, socks[i], 0);
        CHECK(option_of(socks[i], IPPROTO_TCP, TCP_NOTSENT_LOWAT) == -1);
    }
    fixture_pair_end(io, &pair, 0);
    pair = fixture_pair_at(io, fixture_unix("@options"));
    CHECK(option_of(pair.dialed, SOL_SOCKET, SO_SNDBUF) == 200000);
    CHECK(option_of(pair.accepted, SOL_SOCKET, SO_SNDBUF) == 200000);
    CHECK(option_of(pair.accepted, SOL_SOCKET, SO_RCVBUF) == 400000);
    fixture_pair_end(io, &pair, 0);
    io->ops->free(io);
}

/* A system call for each thing that is done, and none twice: see docs/performance.md. */
Test(uring_sock, a_connection_makes_few_calls)
{
    for (int has_congestion = 0; has_congestion < 2; has_congestion++) {
        struct weir_io_config cfg = fixture_config;
        cfg.near_recv_bytes = 100000;
        cfg.tcp_congestion = has_congestion ? "reno" : NULL;
        struct weir_io *io = fixture_io(&cfg);
        struct weir_addr addr = fixture_addr("127.0.0.1:0"), real, peer;
        int listener = io->ops->listen(io, &addr, false, &real), dialed;
        CHECK(listener >= 0 && io->ops->accept(io, listener, 1) == 0);
        CHECK(io->ops->turn(io, NULL, 0, 0) == 0);

        uint64_t before = syscalls_of(io);
        CHECK(io->ops->connect(io, &real, 2, &dialed) == 0);
        /* socket(), TCP_NODELAY, TCP_CONGESTION */
        CHECK(syscalls_of(io) - before == 2u + (uint64_t)has_congestion);
        int socks[2] = {-1, dialed};
        for (int seen = 0; seen < 2; seen++) {
            struct weir_io_event event = fixture_event(io);
            if (event.kind != WEIR_IO_ACCEPT)
                continue;
            socks[0] = event.res;
            before = syscalls_of(io);
            CHECK(io->ops->peer_addr(io, socks[0], &peer));
            CHECK(syscalls_of(io) == before);
        }
        CHECK(socks[0] >= 0);
        for (int i = 0; i < 2; i++) {
            before = syscalls_of(io);
            io->ops->tune(io, socks[i]);
            bool is_near = option_of(socks[i], SOL_SOCKET, SO_BUF_LOCK) & SOCK_RCVBUF_LOCK;
            /* TCP_INFO, and SO_RCVBUF where it says so */
            CHECK(syscalls_of(io) - before == 1u + is_near);
            before = syscalls_of(io);
            io->ops->close(io, socks[i]);
            CHECK(syscalls_of(io) - before == 1);
        }
        io->ops->free(io);
    }
}

/* Only one whose handshake took less than 50 us is near, which a busy machine may not grant: it is then as any other. */
static void check_narrowed(uint32_t near_recv_bytes)
{
    struct weir_io_config cfg = fixture_config;
    cfg.near_recv_bytes = near_recv_bytes;
    cfg.near_recv_contended = 50000;
    struct weir_io *io = fixture_io(&cfg);
    for (int i = 0; i < 20; i++) {
        struct fixture_pair pair =
            fixture_pair_at(io, i % 2 ? fixture_unix("@near") : "127.0.0.1:0");
        io->ops->tune(io, pair.accepted);
        int before = option_of(pair.accepted, SOL_SOCKET, SO_RCVBUF);
        bool is_near = option_of(pair.accepted, SOL_SOCKET, SO_BUF_LOCK) & SOCK_RCVBUF_LOCK;
        CHECK(!is_near || before > 100000);
        for (uint32_t step = 1, last = (uint32_t)before; step <= WEIR_IO_UNREAD_STEPS; step++) {
            io->ops->bound_unread(io, pair.accepted, step);
            uint32_t now = (uint32_t)option_of(pair.accepted, SOL_SOCKET, SO_RCVBUF);
            CHECK(now <= last && (is_near || now == last));
            last = now;
        }
        CHECK(option_of(pair.accepted, SOL_SOCKET, SO_RCVBUF) == (is_near ? 100000 : before));
        io->ops->bound_unread(io, pair.accepted, WEIR_IO_UNREAD_STEPS); /* as it is */
        CHECK(option_of(pair.accepted, SOL_SOCKET, SO_RCVBUF) == (is_near ? 100000 : before));
        io->ops->bound_unread(io, pair.accepted, 0);
        CHECK(option_of(pair.accepted, SOL_SOCKET, SO_RCVBUF) == before);
        fixture_pair_end(io, &pair, 0);
    }
    io->ops->free(io);
}

Test(uring_sock, a_near_socket_holds_less_unread_while_channels_compete)
{
    check_narrowed(100000);
}

Test(uring_sock, a_near_socket_that_the_system_cut_is_narrowed_as_well)
{
    check_narrowed(1u << 29); /* net.core.rmem_max is below that everywhere */
}

/* A size that somebody asked for is nobody else's to change. */
Test(uring_sock, a_socket_of_a_size_of_its_own_keeps_it)
{
    struct weir_io_config cfg = fixture_config;
    cfg.socket_recv_bytes = cfg.near_recv_bytes = 100000;
    cfg.near_recv_contended = 50000;
    struct weir_io *io = fixture_io(&cfg);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    io->ops->tune(io, pair.accepted);
    io->ops->bound_unread(io, pair.accepted, WEIR_IO_UNREAD_STEPS);
    CHECK(option_of(pair.accepted, SOL_SOCKET, SO_RCVBUF) == 200000);
    fixture_pair_end(io, &pair, 0);
    io->ops->free(io);
}

Test(uring_sock, the_other_ends_address_is_known)
{
    const char *texts[] = {"127.0.0.1:0", "[::1]:0", fixture_unix("@peer")};
    struct weir_io *io = fixture_io(NULL);
    for (int i = 0; i < 3; i++) {
        struct fixture_pair pair = fixture_pair_at(io, texts[i]);
        struct weir_addr addr;
        CHECK(io->ops->peer_addr(io, pair.dialed, &addr));
        CHECK(weir_addr_is_equal(&addr, &pair.addr));
        /* Turns after the one that brought it. */
        CHECK(fixture_is_quiet(io));
        CHECK(io->ops->peer_addr(io, pair.accepted, &addr));
        CHECK(addr.family == pair.addr.family);
        CHECK(addr.family == WEIR_ADDR_UNIX ? addr.path[0] == 0 : addr.port != 0);
        fixture_pair_end(io, &pair, 0);
    }
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    struct weir_addr addr;
    CHECK(!io->ops->peer_addr(io, sock, &addr));
    io->ops->free(io);
}

/* What accept() brings has the dialing socket's address, of every family, on every listener of one turn; it is
 * forgotten with the socket, whose number may be another's then. */
Test(uring_sock, accept_brings_the_address)
{
    enum { LISTENERS = 3 };
    const char *texts[LISTENERS] = {"127.0.0.1:0", "[::1]:0", fixture_unix("@came")};
    struct weir_io *io = fixture_io(NULL);
    struct weir_addr reals[LISTENERS];
    int listeners[LISTENERS], clients[LISTENERS];
    for (uint64_t i = 0; i < LISTENERS; i++) {
        struct weir_addr addr = fixture_addr(texts[i]);
        listeners[i] = io->ops->listen(io, &addr, false, &reals[i]);
        CHECK(listeners[i] >= 0 && io->ops->accept(io, listeners[i], 10 + i) == 0);
    }
    for (int round = 0; round < 3; round++) {
        union {
            struct sockaddr any;
            struct sockaddr_in in;
            struct sockaddr_in6 in6;
            struct sockaddr_un un;
        } to[LISTENERS] = {{.in = {.sin_family = AF_INET,
                                   .sin_port = htons(reals[0].port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}},
                           {.in6 = {.sin6_family = AF_INET6,
                                    .sin6_port = htons(reals[1].port),
                                    .sin6_addr = IN6ADDR_LOOPBACK_INIT}},
                           {.un = {.sun_family = AF_UNIX}}};
        memcpy(to[2].un.sun_path + 1, reals[2].path + 1, strlen(reals[2].path) - 1);
        socklen_t un_len =
            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(reals[2].path));
        const socklen_t lens[LISTENERS] = {sizeof(to[0].in), sizeof(to[1].in6), un_len};
        for (int i = 0; i < LISTENERS; i++) {
            clients[i] = socket(to[i].any.sa_family, SOCK_STREAM, 0);
            CHECK(connect(clients[i], &to[i].any, lens[i]) == 0);
        }
        for (int seen = 0; seen < LISTENERS;) {
            struct weir_io_event events[LISTENERS];
            int64_t cnt = io->ops->turn(io, events, LISTENERS, 5 * WEIR_NS_PER_S);
            cr_assert_gt(cnt, 0);
            uint64_t before = syscalls_of(io);
            for (int64_t e = 0; e < cnt; e++) {
                uint64_t i = events[e].token - 10;
                struct weir_addr addr;
                struct sockaddr_in in = {0};
                socklen_t len = sizeof(in);
                CHECK(events[e].kind == WEIR_IO_ACCEPT && events[e].res >= 0);
                CHECK(io->ops->peer_addr(io, events[e].res, &addr));
                CHECK(addr.family == reals[i].family);
                CHECK(getsockname(clients[i], (struct sockaddr *)&in, &len) == 0);
                CHECK(i == 2 ? addr.path[0] == 0 : addr.port == ntohs(in.sin_port));
                if (i < 2)
                    CHECK(weir_addr_is_loopback(&addr));
                /* Armed again at once, which must not touch what the turn's other events brought. */
                CHECK(io->ops->accept(io, listeners[i], 10 + i) == 0);
            }
            CHECK(syscalls_of(io) == before);
            for (int64_t e = 0; e < cnt; e++) {
                struct weir_addr addr;
                io->ops->close(io, events[e].res);
                CHECK(!io->ops->peer_addr(io, events[e].res, &addr));
            }
            seen += (int)cnt;
        }
        for (int i = 0; i < LISTENERS; i++)
            close(clients[i]);
    }
    io->ops->free(io);
}

/* Who has gone again by the time that it is accepted is accepted all the same, and its address known: an error
 * would stop the listener for a while, and a reset would hide who floods. */
Test(uring_sock, who_has_gone_before_it_is_accepted_has_an_address)
{
    struct weir_io *io = fixture_io(NULL);
    const char *texts[] = {"127.0.0.1:0", fixture_unix("@gone")};
    for (uint64_t i = 0; i < 4; i++) {
        bool is_unix = i & 1, is_reset = i & 2;
        struct weir_addr addr = fixture_addr(texts[is_unix]), real;
        int listener = io->ops->listen(io, &addr, false, &real);
        CHECK(listener >= 0);
        struct sockaddr_in in = {.sin_family = AF_INET,
                                 .sin_port = htons(real.port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        memcpy(un.sun_path + 1, real.path + 1, strlen(real.path + 1));
        socklen_t un_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                                       (is_unix ? strlen(real.path + 1) : 0));
        int client = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
        CHECK(is_unix ? connect(client, (struct sockaddr *)&un, un_len) == 0
                      : connect(client, (struct sockaddr *)&in, sizeof(in)) == 0);
        const struct linger now = {.l_onoff = 1};
        if (is_reset)
            CHECK(setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
        close(client);
        CHECK(io->ops->accept(io, listener, 1) == 0);
        struct weir_io_event event = fixture_event(io);
        cr_assert(event.kind == WEIR_IO_ACCEPT && event.res >= 0, "%d", event.res);
        CHECK(io->ops->peer_addr(io, event.res, &addr));
        CHECK(addr.family == real.family && (is_unix || addr.port != 0));
        io->ops->close(io, event.res);
        io->ops->close(io, listener);
    }
    io->ops->free(io);
}

Test(uring_sock, listeners_have_a_limit)
{
    struct weir_io *io = fixture_io(NULL);
    struct weir_addr addr = fixture_addr("127.0.0.1:0"), real;
    for (int i = 0; i < 32; i++)
        CHECK(io->ops->listen(io, &addr, false, &real) >= 0);
    CHECK(io->ops->listen(io, &addr, false, &real) == WEIR_E_LIMIT);
    io->ops->free(io);
}
