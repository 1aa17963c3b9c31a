/* bench/epoll_many.h: the epoll rival's roles in `connections`. */
#ifndef WEIR_BENCH_EPOLL_MANY_H
#define WEIR_BENCH_EPOLL_MANY_H

#include "bench/bench.h"

enum bench_status bench_epoll_many_send(struct bench_run *run);
enum bench_status bench_epoll_many_recv(struct bench_run *run);

#endif
