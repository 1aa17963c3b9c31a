/* tests/unit/io/uring_fixture.h: one enabled ring and what every test does with it. */
#ifndef WEIR_TESTS_UNIT_IO_URING_FIXTURE_H
#define WEIR_TESTS_UNIT_IO_URING_FIXTURE_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/addr.h"
#include "engine/io/io.h"
#include "weir/base.h"
#include "weir/error.h"

#define CHECK(cond) cr_assert(cond, "%s:%d: %s", __FILE__, __LINE__, #cond)

static const struct weir_io_config fixture_config = {
    .sq_cnt = 64, .cq_cnt = 256, .recv_buf_bytes = 16384, .recv_buf_cnt = 16};

static inline struct weir_io *fixture_io(const struct weir_io_config *cfg)
{
    struct weir_io *io = NULL;
    int error = weir_io_uring_create(&io, cfg ? cfg : &fixture_config);
    cr_assert_eq(error, 0, "create: %s",
                 error == WEIR_E_NO_URING ? "io_uring is refused here" : "failed");
    CHECK(io->ops->enable(io) == 0);
    return io;
}

static inline struct weir_addr fixture_addr(const char *text)
{
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, text), 0, "%s", text);
    return addr;
}

/* A unix address of this process's own (tests run side by side): "unix:/tmp/weir-test-PID-NAME.sock" or,
 * for a name with '@' in front, an abstract one. Valid until the fourth call after. */
static inline const char *fixture_unix(const char *name)
{
    static char texts[4][96];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    if (name[0] == '@')
        snprintf(text, sizeof(texts[0]), "unix:@weir-test-%d-%s", (int)getpid(), name + 1);
    else
        snprintf(text, sizeof(texts[0]), "unix:/tmp/weir-test-%d-%s.sock", (int)getpid(), name);
    return text;
}

static inline int fixture_fd_cnt(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int cnt = -1; /* the folder's own */
    for (struct dirent *entry; (entry = readdir(dir));)
        cnt += entry->d_name[0] != '.';
    closedir(dir);
    return cnt;
}

/* The next event, however long a busy machine takes. */
static inline struct weir_io_event fixture_event(struct weir_io *io)
{
    struct weir_io_event event;
    uint64_t give_up_ns = io->ops->now(io) + 40 * WEIR_NS_PER_S;
    while (io->ops->now(io) < give_up_ns) {
        int64_t cnt = io->ops->turn(io, &event, 1, WEIR_NS_PER_S);
        CHECK(cnt >= 0);
        if (cnt == 1)
            return event;
    }
    cr_assert_fail("no event within 40 s");
    return event;
}

/* Whether no event comes for a while. */
static inline bool fixture_is_quiet(struct weir_io *io)
{
    struct weir_io_event event;
    for (int i = 0; i < 5; i++) {
        if (io->ops->turn(io, &event, 1, 10 * WEIR_NS_PER_MS) != 0)
            return false;
    }
    return true;
}

/* A listener at `text` and a connection to it: tokens 1 (accept), 2 (connect). */
struct fixture_pair {
    int listener, dialed, accepted;
    struct weir_addr addr;
};

static inline struct fixture_pair fixture_pair_at(struct weir_io *io, const char *text)
{
    struct fixture_pair pair = {.accepted = -1};
    struct weir_addr addr = fixture_addr(text);
    pair.listener = io->ops->listen(io, &addr, false, &pair.addr);
    cr_assert_geq(pair.listener, 0, "listen at %s: %d", text, pair.listener);
    CHECK(io->ops->accept(io, pair.listener, 1) == 0);
    CHECK(io->ops->connect(io, &pair.addr, 2, &pair.dialed) == 0);
    for (int seen = 0; seen < 2; seen++) {
        struct weir_io_event event = fixture_event(io);
        if (event.kind == WEIR_IO_ACCEPT) {
            CHECK(event.token == 1 && event.res >= 0 && !(event.flags & WEIR_IO_MORE));
            CHECK(io->ops->accept(io, pair.listener, 1) == 0);
            pair.accepted = event.res;
        } else {
            CHECK(event.kind == WEIR_IO_CONNECT && event.token == 2 && event.res == 0 &&
                  event.flags == 0);
        }
    }
    CHECK(pair.accepted >= 0);
    return pair;
}

/* Shuts both ends, sees every operation on them end, closes everything. `op_cnt`: operations that
 * are in flight on the two sockets. */
static inline void fixture_pair_end(struct weir_io *io, struct fixture_pair *pair, int op_cnt)
{
    CHECK(io->ops->shutdown(io, pair->dialed, SHUT_RDWR, 90) == 0);
    CHECK(io->ops->shutdown(io, pair->accepted, SHUT_RDWR, 91) == 0);
    CHECK(io->ops->cancel(io, 1) == 0);
    for (op_cnt += 3; op_cnt > 0;) {
        struct weir_io_event event = fixture_event(io);
        if (event.flags & WEIR_IO_BUF)
            io->ops->recv_done(io, event.buf_idx);
        if (!(event.flags & WEIR_IO_MORE))
            op_cnt--;
        if (event.kind == WEIR_IO_ACCEPT)
            CHECK(event.res == -ECANCELED && event.token == 1);
    }
    io->ops->close(io, pair->dialed);
    io->ops->close(io, pair->accepted);
    io->ops->close(io, pair->listener);
}

#endif
