/* bench/weir_roles.h: what weir does in the cases. */
#ifndef WEIR_BENCH_WEIR_ROLES_H
#define WEIR_BENCH_WEIR_ROLES_H

#include "bench/bench.h"

enum bench_status bench_weir_stream_send(struct bench_run *run); /* weir_stream.c */
enum bench_status bench_weir_stream_recv(struct bench_run *run); /* weir_sink.c */
enum bench_status bench_weir_rate_send(struct bench_run *run);   /* weir_rate.c */
enum bench_status bench_weir_rtt_send(struct bench_run *run);    /* weir_rtt.c */
enum bench_status bench_weir_rtt_recv(struct bench_run *run);
enum bench_status bench_weir_many_send(struct bench_run *run); /* weir_many.c */
enum bench_status bench_weir_many_recv(struct bench_run *run);
enum bench_status bench_weir_broadcast_send(struct bench_run *run); /* weir_broadcast.c */
enum bench_status bench_weir_broadcast_recv(struct bench_run *run);
enum bench_status bench_weir_churn_send(struct bench_run *run); /* weir_churn.c */
enum bench_status bench_weir_churn_recv(struct bench_run *run);
enum bench_status bench_weir_cost_send(struct bench_run *run);  /* weir_cost.c */
enum bench_status bench_weir_siege_send(struct bench_run *run); /* weir_siege.c */
enum bench_status bench_weir_siege_recv(struct bench_run *run);
enum bench_status bench_weir_micro(struct bench_run *run); /* micro/micro.c */

#endif
