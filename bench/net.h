/* bench/net.h: the rivals' sockets: loopback TCP, no delay, the run's congestion control. */
#ifndef WEIR_BENCH_NET_H
#define WEIR_BENCH_NET_H

#include <stddef.h>

#include "bench/bench.h"

/* Listens on 127.0.0.1 and tells the sender the port. Returns the socket, or -1 after
 * bench_fail(). */
int bench_net_listen(struct bench_run *run);

/* The same at every loopback address (127.0.0.0/8, of the device lo only), for BENCH_NET_ADDRESSES times
 * as many connections as there are ports for one address. */
#define BENCH_NET_ADDRESSES 8u
int bench_net_listen_wide(struct bench_run *run);

/* Accepts one connection. Returns the socket, or -1 after bench_fail(). */
int bench_net_accept(struct bench_run *run, int listener);

/* Listens, accepts one connection and stops listening. */
int bench_net_accept_one(struct bench_run *run);

/* Connects to the receiver. Returns the socket, or -1 after bench_fail(). */
int bench_net_connect(struct bench_run *run);

/* Connects to `port` of the `nth` of the addresses, counted round. */
int bench_net_connect_nth(struct bench_run *run, uint16_t port, uint32_t nth);

/* Writes the name of the congestion control that new sockets get by themselves; "unknown" if
 * hidden. */
void bench_net_congestion(char *ret_name, size_t len);

/* Can sockets be given this congestion control? Returns 0 or errno. */
int bench_net_try_congestion(const char *name);

#endif
