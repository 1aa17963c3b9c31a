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

Test(uring_sock, sockets_are_tuned_before_they_connect_and_when_accepted)
{
    struct weir_io_config cfg = fixture_config;
    cfg.socket_recv_bytes = 200000;
    cfg.socket_send_bytes = 100000;
    cfg.tcp_congestion = "reno";
    struct weir_io *io = fixture_io(&cfg);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    int socks[] = {pair.dialed, pair.accepted};
    for (int i = 0; i < 2; i++) {
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
    io->ops->free(io);
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
        int before = option_of(pair.accepted, SOL_SOCKET, SO_RCVBUF);
        bool is_near = option_of(pair.accepted, SOL_SOCKET, SO_BUF_LOCK) & SOCK_RCVBUF_LOCK;
        CHECK(!is_near || before > 100000);
        io->ops->bound_unread(io, pair.accepted, true);
        CHECK(option_of(pair.accepted, SOL_SOCKET, SO_RCVBUF) == (is_near ? 100000 : before));
        io->ops->bound_unread(io, pair.accepted, true); /* as it is */
        CHECK(option_of(pair.accepted, SOL_SOCKET, SO_RCVBUF) == (is_near ? 100000 : before));
        io->ops->bound_unread(io, pair.accepted, false);
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
    io->ops->bound_unread(io, pair.accepted, true);
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

Test(uring_sock, listeners_have_a_limit)
{
    struct weir_io *io = fixture_io(NULL);
    struct weir_addr addr = fixture_addr("127.0.0.1:0"), real;
    for (int i = 0; i < 32; i++)
        CHECK(io->ops->listen(io, &addr, false, &real) >= 0);
    CHECK(io->ops->listen(io, &addr, false, &real) == WEIR_E_LIMIT);
    io->ops->free(io);
}
