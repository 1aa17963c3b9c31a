#include "tests/unit/io/uring_fixture.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static uint64_t clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * WEIR_NS_PER_S + (uint64_t)ts.tv_nsec;
}

Test(uring_ring, making_and_freeing_leaves_no_descriptor)
{
    int fd_cnt = fixture_fd_cnt();
    for (int i = 0; i < 20; i++) {
        struct weir_io *io = NULL;
        CHECK(weir_io_uring_create(&io, &fixture_config) == 0);
        if (i % 2)
            CHECK(io->ops->enable(io) == 0);
        struct weir_addr addr = fixture_addr(i % 3 ? "127.0.0.1:0" : fixture_unix("free")), real;
        CHECK(io->ops->listen(io, &addr, false, &real) >= 0);
        io->ops->free(io);
    }
    cr_assert_eq(fixture_fd_cnt(), fd_cnt);
    cr_assert_neq(access(fixture_unix("free") + 5, F_OK), 0);
}

Test(uring_ring, a_configuration_out_of_range_is_refused)
{
    struct weir_io *io = (struct weir_io *)1;
    struct weir_io_config bad[8];
    for (int i = 0; i < 8; i++)
        bad[i] = fixture_config;
    bad[0].sq_cnt = 0;
    bad[1].cq_cnt = bad[1].sq_cnt - 1;
    bad[2].recv_buf_cnt = 3;
    bad[3].recv_buf_cnt = 0;
    bad[4].recv_buf_bytes = 0;
    bad[5].sq_cnt = 65536, bad[5].cq_cnt = 65536;
    bad[6].recv_buf_cnt = 65536;
    bad[7].tcp_congestion = "no-such-control";
    for (int i = 0; i < 8; i++)
        cr_assert_eq(weir_io_uring_create(&io, &bad[i]), WEIR_E_CONFIG, "case %d", i);
    CHECK(io == (struct weir_io *)1);
}

Test(uring_ring, a_turn_waits_as_long_as_it_is_told)
{
    struct weir_io *io = fixture_io(NULL);
    struct weir_io_event event;
    uint64_t start_ns = clock_ns();
    CHECK(io->ops->turn(io, &event, 1, 0) == 0);
    CHECK(io->ops->turn(io, &event, 1, 30 * WEIR_NS_PER_MS) == 0);
    CHECK(clock_ns() - start_ns >= 29 * WEIR_NS_PER_MS);
    CHECK(io->ops->now(io) - start_ns >=
          29 * WEIR_NS_PER_MS); /* the end of the wait, not its start */
    io->ops->free(io);
}

static void *wake_later(void *arg)
{
    struct weir_io *io = arg;
    usleep(30000);
    io->ops->wake(io);
    return NULL;
}

/* A wait that a lost wake leaves alone: it ends with the test's own time limit, however slow the machine is. */
#define HOUR (3600 * WEIR_NS_PER_S)

static void check_wake(uint64_t spin_ns)
{
    struct weir_io_config cfg = fixture_config;
    cfg.spin_ns = spin_ns;
    struct weir_io *io = fixture_io(&cfg);
    struct weir_io_event event;
    /* Waits so short that spinning seems worth it, for an io that may choose. */
    for (int i = 0; i < 20; i++)
        CHECK(io->ops->turn(io, &event, 1, 10 * WEIR_NS_PER_US) == 0);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        uint64_t start_ns = clock_ns();
        pthread_create(&thread, NULL, wake_later, io);
        for (uint64_t now_ns = start_ns; now_ns - start_ns < 30 * WEIR_NS_PER_MS;
             now_ns = clock_ns())
            CHECK(io->ops->turn(io, &event, 1, spin_ns == UINT64_MAX ? HOUR : WEIR_NS_FOREVER) ==
                  0);
        pthread_join(thread, NULL);
    }
    /* A wake that comes before the wait ends it, also when it is one of many. */
    for (int i = 0; i < 100; i++)
        io->ops->wake(io);
    CHECK(io->ops->turn(io, &event, 1, HOUR) == 0);
    io->ops->turn(io, &event, 1, WEIR_NS_PER_MS); /* a late completion of an earlier wake */
    uint64_t start_ns = clock_ns();
    CHECK(io->ops->turn(io, &event, 1, 20 * WEIR_NS_PER_MS) == 0);
    CHECK(clock_ns() - start_ns >= 19 * WEIR_NS_PER_MS);
    io->ops->free(io);
}

Test(uring_ring, a_wake_from_another_thread_ends_the_wait)
{
    check_wake(0);
}

Test(uring_ring, a_wake_ends_a_busy_wait_too)
{
    check_wake(UINT64_MAX);
}

Test(uring_ring, a_wake_ends_the_wait_that_spun_first)
{
    check_wake(50 * WEIR_NS_PER_US); /* sleeps most of each 30 ms */
    check_wake(WEIR_NS_PER_S);       /* spins all of them */
}

struct storm {
    struct weir_io *io;
    _Atomic uint64_t posted;
};

static void *storm_run(void *arg)
{
    struct storm *storm = arg;
    for (int i = 0; i < 20000; i++) {
        atomic_fetch_add(&storm->posted, 1);
        storm->io->ops->wake(storm->io);
        if (i % 64 == 0)
            usleep(1);
    }
    return NULL;
}

Test(uring_ring, no_wake_is_lost_in_a_storm)
{
    struct storm storm = {.io = fixture_io(NULL)};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, storm_run, &storm);
    struct weir_io_event event;
    while (atomic_load(&storm.posted) < 40000)
        CHECK(storm.io->ops->turn(storm.io, &event, 1, HOUR) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    storm.io->ops->free(storm.io);
}

Test(uring_ring, busy_polling_moves_data)
{
    struct weir_io_config cfg = fixture_config;
    cfg.spin_ns = UINT64_MAX;
    struct weir_io *io = fixture_io(&cfg);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    CHECK(io->ops->recv(io, pair.accepted, 5) == 0);
    CHECK(fixture_is_quiet(io));
    CHECK(send(pair.dialed, "abc", 3, 0) == 3);
    struct weir_io_event event = fixture_event(io);
    CHECK(event.kind == WEIR_IO_RECV && event.res == 3 && memcmp(event.data, "abc", 3) == 0);
    io->ops->recv_done(io, event.buf_idx);
    fixture_pair_end(io, &pair, 1);
    io->ops->free(io);
}

Test(uring_ring, events_beyond_the_maximum_come_with_the_next_turn)
{
    struct weir_io *io = fixture_io(NULL);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    for (uint64_t i = 0; i < 10; i++)
        CHECK(io->ops->shutdown(io, pair.dialed, SHUT_WR, 100 + i) == 0);
    for (uint64_t i = 0; i < 10;) {
        struct weir_io_event events[3];
        int64_t cnt = io->ops->turn(io, events, 3, WEIR_NS_PER_S);
        CHECK(cnt == (i < 9 ? 3 : 1));
        for (int64_t at = 0; at < cnt; at++)
            CHECK(events[at].token == 100 + i++ && events[at].kind == WEIR_IO_SHUTDOWN);
    }
    io->ops->free(io);
}

Test(uring_ring, a_turn_is_one_system_call)
{
    struct weir_io *io = fixture_io(NULL);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    CHECK(io->ops->recv(io, pair.accepted, 5) == 0);
    CHECK(fixture_is_quiet(io));
    struct weir_io_stats before, after;
    io->ops->stats(io, &before);
    struct iovec iov = {(void *)(uintptr_t) "abcd", 4};
    for (int i = 0; i < 100; i++) {
        CHECK(io->ops->send(io, pair.dialed, &iov, 1, 6) == 0);
        for (int seen = 0; seen < 2;) {
            struct weir_io_event events[4];
            int64_t cnt = io->ops->turn(io, events, 4, WEIR_NS_PER_S);
            CHECK(cnt > 0);
            for (int64_t at = 0; at < cnt; at++, seen++)
                if (events[at].flags & WEIR_IO_BUF)
                    io->ops->recv_done(io, events[at].buf_idx);
        }
    }
    io->ops->stats(io, &after);
    CHECK(after.syscalls - before.syscalls <= 200);
    CHECK(after.completions - before.completions == 200);
    io->ops->free(io);
}

static void *own_and_leave(void *arg)
{
    struct weir_io *io = arg;
    CHECK(io->ops->enable(io) == 0);
    struct fixture_pair pair = fixture_pair_at(io, "127.0.0.1:0");
    CHECK(io->ops->recv(io, pair.accepted, 5) == 0);
    CHECK(fixture_is_quiet(io));
    io->ops->close(io, pair.dialed);
    io->ops->close(io, pair.accepted);
    return NULL;
}

Test(uring_ring, another_thread_frees_what_its_owner_left)
{
    int fd_cnt = fixture_fd_cnt();
    struct weir_io *io = NULL, *mine = fixture_io(NULL);
    CHECK(weir_io_uring_create(&io, &fixture_config) == 0);
    pthread_t thread;
    pthread_create(&thread, NULL, own_and_leave, io);
    pthread_join(thread, NULL);
    io->ops->free(io);
    /* This thread's own ring has the same registered index and must not have lost it. */
    CHECK(fixture_is_quiet(mine));
    mine->ops->free(mine);
    cr_assert_eq(fixture_fd_cnt(), fd_cnt);
}

Test(uring_ring, sockets_that_nobody_saw_accepted_are_closed)
{
    int fd_cnt = fixture_fd_cnt();
    struct weir_io *io = fixture_io(NULL);
    struct weir_addr addr = fixture_addr("127.0.0.1:0"), real;
    int listener = io->ops->listen(io, &addr, false, &real);
    CHECK(io->ops->accept(io, listener, 1) == 0);
    CHECK(io->ops->turn(io, NULL, 0, 0) == 0);
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(real.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int clients[3];
    for (int i = 0; i < 3; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(clients[i], (struct sockaddr *)&in, sizeof(in)) == 0);
    }
    struct weir_io_event event = fixture_event(io);
    CHECK(event.kind == WEIR_IO_ACCEPT && event.res >= 0);
    close(event.res);
    CHECK(io->ops->accept(io, listener, 1) == 0);
    CHECK(io->ops->turn(io, NULL, 0, 0) == 0);
    io->ops->free(io); /* one more is in the completion queue or on its way */
    for (int i = 0; i < 3; i++)
        close(clients[i]);
    cr_assert_eq(fixture_fd_cnt(), fd_cnt);
}

Test(uring_ring, random_bytes_differ)
{
    struct weir_io *io = fixture_io(NULL);
    uint8_t a[64] = {0}, b[64] = {0};
    io->ops->random(io, a, sizeof(a));
    io->ops->random(io, b, sizeof(b));
    CHECK(memcmp(a, b, sizeof(a)) != 0);
    io->ops->free(io);
}
