/* bench/raw_stream.c: the rival without frames: blocking write and read of 256 KiB, one way.
 *
 * The bytes are messages of one size laid end to end, each with its number in its first 8 bytes:
 * the receiver finds them by counting, checks the numbers and looks at nothing else. This is what
 * the kernel carries for a program that asks for nothing. In `share` there is one such stream.
 */
#include "bench/raw.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/net.h"
#include "bench/pace.h"

int bench_raw_unit_init(struct bench_raw_unit *unit, const struct bench_job *job, uint32_t channel)
{
    unit->size = job->size;
    unit->msg_cnt = job->size < BENCH_RAW_BYTES ? (uint32_t)BENCH_RAW_BYTES / job->size : 1;
    unit->len = (size_t)unit->msg_cnt * job->size;
    unit->channel = channel;
    unit->data = aligned_alloc(4096, (unit->len + 4095) & ~(size_t)4095);
    if (unit->data == NULL)
        return -1;
    memset(unit->data, 0x5a, unit->len);
    return 0;
}

bool bench_raw_unit_send(struct bench_run *run, int sock, struct bench_raw_unit *unit)
{
    uint64_t seq = run->counts.msgs[unit->channel];

    if (unit->size >= sizeof(seq))
        for (uint32_t i = 0; i < unit->msg_cnt; i++, seq++)
            memcpy(unit->data + (size_t)i * unit->size, &seq, sizeof(seq));
    if (!bench_raw_write(run, sock, unit->data, unit->len))
        return false;
    run->counts.msgs[unit->channel] += unit->msg_cnt;
    run->counts.bytes[unit->channel] += unit->len;
    return true;
}

static void arrived(struct bench_run *run, uint32_t channel, const uint8_t *data, uint32_t size)
{
    if (run->job->which == BENCH_RATE)
        bench_pace_arrived(run, data, size);
    else
        bench_count(run, channel, data, size);
}

/* A message's end is known by its size; its number can lie across two reads. */
void bench_raw_scan(struct bench_run *run, struct bench_raw_scan *scan, const uint8_t *data,
                    size_t len)
{
    const uint32_t size = run->job->size;
    const uint32_t head_len = size < sizeof(scan->head) ? size : sizeof(scan->head);
    uint32_t at = scan->at; /* bytes of the message that `data` begins in the middle of */

    while (len != 0) {
        if (at == 0 && len >= size) { /* a whole message */
            arrived(run, scan->channel, data, size);
            data += size;
            len -= size;
            continue;
        }
        if (at < head_len) {
            scan->head[at++] = *data++;
            len--;
        } else {
            size_t piece = len < size - at ? len : size - at;
            data += piece;
            len -= piece;
            at += (uint32_t)piece;
        }
        if (at == size) {
            arrived(run, scan->channel, scan->head,
                    size); /* nothing behind the head is looked at */
            at = 0;
        }
    }
    scan->at = at;
}

static enum bench_status end_stream(struct bench_run *run, int sock)
{
    uint8_t end;

    bench_publish_sent(run);
    shutdown(sock, SHUT_WR);
    if (bench_raw_read(run, sock, &end, 1) != 0) /* the receiver closes when it has counted */
        return bench_fail(run, BENCH_E_RUN, "the receiver did not read to the end");
    bench_step(run);
    return BENCH_OK;
}

enum bench_status bench_raw_stream_send(struct bench_run *run)
{
    struct bench_raw_unit unit;
    int sock = bench_net_connect(run);

    if (sock < 0)
        return BENCH_E_RUN;
    if (bench_raw_unit_init(&unit, run->job, 0) != 0)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    while (bench_step(run) < BENCH_DRAIN) {
        run->counts.turns++;
        if (!bench_raw_unit_send(run, sock, &unit))
            return BENCH_E_RUN;
    }
    return end_stream(run, sock);
}

/* Everything that is due, laid end to end. */
static size_t collect_due(struct bench_run *run, struct bench_pace *pace, uint8_t *ret_data)
{
    weir_ns now = bench_now();
    const uint8_t *msg;
    size_t len = 0;

    while (len + pace->size <= BENCH_RAW_BYTES && (msg = bench_pace_next(pace, run, now)) != NULL) {
        memcpy(ret_data + len, msg, pace->size);
        len += pace->size;
        bench_pace_take(pace);
        bench_sent(run, 0, pace->size);
    }
    return len;
}

enum bench_status bench_raw_rate_send(struct bench_run *run)
{
    uint8_t *data = aligned_alloc(4096, BENCH_RAW_BYTES);
    struct bench_pace pace;
    int sock = bench_net_connect(run);

    if (sock < 0)
        return BENCH_E_RUN;
    if (data == NULL || bench_pace_init(&pace, run->job) != 0)
        return bench_fail(run, BENCH_E_RUN, "no memory for the messages");
    while (!bench_pace_is_over(&pace, run)) {
        run->counts.turns++;
        size_t len = collect_due(run, &pace, data);
        if (len != 0 && !bench_raw_write(run, sock, data, len))
            return BENCH_E_RUN;
        bench_pace_sleep(&pace, run);
    }
    return end_stream(run, sock);
}

enum bench_status bench_raw_stream_recv(struct bench_run *run)
{
    struct bench_raw_scan scan = {.channel = 0};
    uint8_t *data = aligned_alloc(4096, BENCH_RAW_BYTES);
    int sock = bench_net_accept_one(run);
    ssize_t n;

    if (sock < 0)
        return BENCH_E_RUN;
    if (data == NULL)
        return bench_fail(run, BENCH_E_RUN, "no memory for the receive buffer");
    while ((n = bench_raw_read(run, sock, data, BENCH_RAW_BYTES)) > 0) {
        run->counts.turns++;
        bench_raw_scan(run, &scan, data, (size_t)n);
        bench_step(run);
    }
    if (n < 0)
        return BENCH_E_RUN;
    bench_finish(run);
    close(sock);
    return BENCH_OK;
}
