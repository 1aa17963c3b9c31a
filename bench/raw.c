/* bench/raw.c: the rival without frames: its reads, its writes, and what it does in each case. */
#include "bench/raw_crowd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

bool bench_raw_write(struct bench_run *run, int sock, const uint8_t *data, size_t len)
{
    while (len != 0) {
        size_t piece = len < BENCH_RAW_BYTES ? len : BENCH_RAW_BYTES;
        ssize_t n = send(sock, data, piece, MSG_NOSIGNAL | (run->job->is_busy ? MSG_DONTWAIT : 0));

        run->counts.syscalls++;
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0) {
            bench_fail(run, BENCH_E_RUN, "send: %s", strerror(errno));
            return false;
        }
        data += n;
        len -= (size_t)n;
    }
    return true;
}

ssize_t bench_raw_read(struct bench_run *run, int sock, uint8_t *ret_data, size_t len)
{
    for (;;) {
        ssize_t n = recv(sock, ret_data, len, run->job->is_busy ? MSG_DONTWAIT : 0);

        run->counts.syscalls++;
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            bench_fail(run, BENCH_E_RUN, "recv: %s", strerror(errno));
        return n;
    }
}

const struct bench_impl bench_raw = {
    .name = "raw",
    .what = "blocking write and read of 256 KiB, no frames, no checksum",
    .notes =
        {
            [BENCH_RTT] = "blocking ping-pong on one socket",
            [BENCH_URGENT] =
                "the urgent messages have a connection of their own; the receiver polls both",
            [BENCH_SHARE] = "has no channels: one stream, the ceiling of the sum",
            [BENCH_RATE] = "sleeps until a message is due and sends all that are",
            [BENCH_CONNECTIONS] = "epoll; writes of up to 64 KiB, reads of 64 KiB",
            [BENCH_BROADCAST] =
                "one blocking send of the message to each peer; the receiver uses epoll",
            [BENCH_CHURN] =
                "connect and close against accept and close, one at a time, no handshake",
        },
    .roles =
        {
            [BENCH_THROUGHPUT] = {bench_raw_stream_send, bench_raw_stream_recv},
            [BENCH_RTT] = {bench_raw_rtt_send, bench_raw_rtt_recv},
            [BENCH_URGENT] = {bench_raw_urgent_send, bench_raw_urgent_recv},
            [BENCH_SHARE] = {bench_raw_stream_send, bench_raw_stream_recv},
            [BENCH_RATE] = {bench_raw_rate_send, bench_raw_stream_recv},
            [BENCH_CONNECTIONS] = {bench_raw_many_send, bench_raw_crowd_recv},
            [BENCH_BROADCAST] = {bench_raw_broadcast_send, bench_raw_crowd_recv},
            [BENCH_CHURN] = {bench_raw_churn_send, bench_raw_churn_recv},
        },
};
