/* bench/raw.h: the rival without frames; its roles are in raw_stream.c, raw_rtt.c, raw_urgent.c,
 * raw_crowd.c and raw_many.c. */
#ifndef WEIR_BENCH_RAW_H
#define WEIR_BENCH_RAW_H

#include <stddef.h>
#include <sys/types.h>

#include "bench/bench.h"

#define BENCH_RAW_BYTES ((size_t)256 * 1024) /* one write, one read */

/* What one write sends: as many messages as fit in 256 KiB, or one that is larger (in several
 * writes). */
struct bench_raw_unit {
    uint8_t *data;
    size_t len;
    uint32_t size, msg_cnt, channel;
};

/* Where the receiver is in the message it began. */
struct bench_raw_scan {
    uint32_t at, channel;
    uint8_t head[16]; /* its number, and in `rate` when it was due */
};

/* Blocking, or spinning when the run is busy. False after bench_fail(). */
bool bench_raw_write(struct bench_run *run, int sock, const uint8_t *data, size_t len);
/* Returns as recv() does; -1 after bench_fail(). */
ssize_t bench_raw_read(struct bench_run *run, int sock, uint8_t *ret_data, size_t len);

int bench_raw_unit_init(struct bench_raw_unit *unit, const struct bench_job *job, uint32_t channel);
bool bench_raw_unit_send(struct bench_run *run, int sock, struct bench_raw_unit *unit);
void bench_raw_scan(struct bench_run *run, struct bench_raw_scan *scan, const uint8_t *data,
                    size_t len);

enum bench_status bench_raw_stream_send(struct bench_run *run);
enum bench_status bench_raw_stream_recv(struct bench_run *run);
enum bench_status bench_raw_rate_send(struct bench_run *run);
enum bench_status bench_raw_rtt_send(struct bench_run *run);
enum bench_status bench_raw_rtt_recv(struct bench_run *run);
enum bench_status bench_raw_urgent_send(struct bench_run *run);
enum bench_status bench_raw_urgent_recv(struct bench_run *run);
enum bench_status bench_raw_many_send(struct bench_run *run);
enum bench_status bench_raw_broadcast_send(struct bench_run *run);
enum bench_status bench_raw_churn_send(struct bench_run *run);
enum bench_status bench_raw_churn_recv(struct bench_run *run);

#endif
