/* bench/raw_urgent.c: the rival without frames in `urgent`: what one does without channels, a
 * second connection. The sender is one thread: it writes bulk in blocking writes of 256 KiB and
 * looks at the clock between two; the receiver polls both sockets and reads the urgent one first.
 */
#include "bench/raw.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/net.h"

enum bench_status bench_raw_urgent_send(struct bench_run *run)
{
    struct bench_raw_unit unit;
    struct bench_urgent msg;
    weir_ns due = 0;
    uint8_t end;
    int bulk = bench_net_connect(run);
    int urgent = bulk < 0 ? -1 : bench_net_connect(run);

    if (urgent < 0)
        return BENCH_E_RUN;
    if (bench_raw_unit_init(&unit, run->job, 1) != 0)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    while (bench_step(run) < BENCH_DRAIN) {
        run->counts.turns++;
        if (bench_urgent_next(run, &due, run->counts.msgs[0], &msg)) {
            if (!bench_raw_write(run, urgent, (const uint8_t *)&msg, sizeof(msg)))
                return BENCH_E_RUN;
            run->counts.msgs[0]++;
            run->counts.bytes[0] += sizeof(msg);
        }
        if (!bench_raw_unit_send(run, bulk, &unit))
            return BENCH_E_RUN;
    }
    bench_publish_sent(run);
    shutdown(urgent, SHUT_WR);
    shutdown(bulk, SHUT_WR);
    if (bench_raw_read(run, bulk, &end, 1) != 0)
        return bench_fail(run, BENCH_E_RUN, "the receiver did not read to the end");
    bench_step(run);
    return BENCH_OK;
}

/* Reads what the urgent socket has. False at its end or after bench_fail(). */
static bool read_urgent(struct bench_run *run, int sock, uint8_t *data, size_t *have)
{
    ssize_t n = bench_raw_read(run, sock, data + *have, BENCH_URGENT_BYTES - *have);

    if (n <= 0)
        return false;
    *have += (size_t)n;
    if (*have == BENCH_URGENT_BYTES) {
        bench_urgent_arrived(run, data, BENCH_URGENT_BYTES);
        *have = 0;
    }
    return true;
}

enum bench_status bench_raw_urgent_recv(struct bench_run *run)
{
    uint8_t *data = aligned_alloc(4096, BENCH_RAW_BYTES), urgent[BENCH_URGENT_BYTES];
    struct bench_raw_scan scan = {.channel = 1};
    struct pollfd polls[2] = {{.events = POLLIN}, {.events = POLLIN}}; /* urgent, bulk */
    size_t have = 0;
    int listener = bench_net_listen(run);

    if (listener < 0)
        return BENCH_E_RUN;
    polls[1].fd = bench_net_accept(run, listener); /* the sender connects the bulk first */
    polls[0].fd = polls[1].fd < 0 ? -1 : bench_net_accept(run, listener);
    if (polls[0].fd < 0)
        return BENCH_E_RUN;
    if (data == NULL)
        return bench_fail(run, BENCH_E_RUN, "no memory for the receive buffer");

    int bulk = polls[1].fd;
    while (polls[0].fd >= 0 || polls[1].fd >= 0) {
        int ready = poll(polls, 2, run->job->is_busy ? 0 : -1);

        run->counts.syscalls++;
        run->counts.turns++;
        if (ready < 0 && errno != EINTR)
            return bench_fail(run, BENCH_E_RUN, "poll: %s", strerror(errno));
        if (ready <= 0)
            continue;
        /* A negative descriptor is skipped by poll. */
        if (polls[0].revents != 0 && !read_urgent(run, polls[0].fd, urgent, &have))
            polls[0].fd = -1;
        if (polls[1].revents != 0) {
            ssize_t n = bench_raw_read(run, polls[1].fd, data, BENCH_RAW_BYTES);
            if (n <= 0)
                polls[1].fd = -1;
            else
                bench_raw_scan(run, &scan, data, (size_t)n);
        }
        bench_step(run);
    }
    bench_finish(run);
    close(bulk);
    return BENCH_OK;
}
