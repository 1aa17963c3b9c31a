/* bench/raw_rtt.c: the rival without frames, there and back: blocking ping-pong of one message. */
#include "bench/raw.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/net.h"

/* Reads exactly one message. False at the end of the stream or after bench_fail(). */
static bool read_whole(struct bench_run *run, int sock, uint8_t *ret_data, ssize_t *ret_last)
{
    for (uint32_t at = 0; at < run->job->size; at += (uint32_t)*ret_last) {
        *ret_last = bench_raw_read(run, sock, ret_data + at, run->job->size - at);
        if (*ret_last <= 0)
            return false;
    }
    return true;
}

enum bench_status bench_raw_rtt_send(struct bench_run *run)
{
    const uint32_t size = run->job->size;
    uint8_t *data = calloc(1, size);
    int sock = bench_net_connect(run);
    ssize_t last;

    if (sock < 0)
        return BENCH_E_RUN;
    if (data == NULL)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    while (bench_step(run) < BENCH_DRAIN) {
        weir_ns begin = bench_now();
        if (size >= sizeof(uint64_t))
            memcpy(data, &run->counts.msgs[0], sizeof(uint64_t));
        if (!bench_raw_write(run, sock, data, size))
            return BENCH_E_RUN;
        if (!read_whole(run, sock, data, &last))
            return bench_fail(run, BENCH_E_RUN, "the answer did not come");
        if (run->phase == BENCH_MEASURE)
            bench_histogram_add(&run->shared->latency, bench_now() - begin);
        bench_count(run, 0, data, size);
        run->counts.turns++;
    }
    bench_publish_sent(run);
    bench_finish(run);
    close(sock);
    return BENCH_OK;
}

enum bench_status bench_raw_rtt_recv(struct bench_run *run)
{
    const uint32_t size = run->job->size;
    uint8_t *data = calloc(1, size);
    int sock = bench_net_accept_one(run);
    ssize_t last = 0;

    if (sock < 0)
        return BENCH_E_RUN;
    if (data == NULL)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    while (read_whole(run, sock, data, &last)) {
        bench_count(run, 0, data, size);
        if (!bench_raw_write(run, sock, data, size))
            return BENCH_E_RUN;
        run->counts.turns++;
        bench_step(run);
    }
    if (last < 0)
        return BENCH_E_RUN;
    bench_step(run);
    return BENCH_OK;
}
