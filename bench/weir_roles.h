/* bench/weir_roles.h: what weir does in the cases: weir_stream.c, weir_rate.c and
 * weir_rtt.c. */
#ifndef WEIR_BENCH_WEIR_ROLES_H
#define WEIR_BENCH_WEIR_ROLES_H

#include "bench/bench.h"

enum bench_status bench_weir_stream_send(struct bench_run *run);
enum bench_status bench_weir_stream_recv(struct bench_run *run);
enum bench_status bench_weir_rate_send(struct bench_run *run);
enum bench_status bench_weir_rtt_send(struct bench_run *run);
enum bench_status bench_weir_rtt_recv(struct bench_run *run);

#endif
