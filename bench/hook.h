/* bench/hook.h: gives the sockets that a library makes for itself the settings of the run.
 *
 * Neither ZeroMQ nor nng lets its user choose the congestion control or (nng) the receive buffer of
 * both sides' sockets. So weir-bench defines socket() itself: the program's definition is found
 * before the C library's, also by shared libraries. It makes the system call, and once
 * bench_hook_begin() was called, sets the options on each TCP socket before anybody has it. Accepted
 * sockets inherit them from the listener.
 */
#ifndef WEIR_BENCH_HOOK_H
#define WEIR_BENCH_HOOK_H

#include "bench/bench.h"

/* From now on, every TCP socket of this process gets the job's congestion control and receive
 * buffer. Before the library is used. */
void bench_hook_begin(const struct bench_job *job);

/* After the library has its connection: did at least one socket get the settings, and none not?
 * False after bench_fail(). */
bool bench_hook_check(struct bench_run *run);

#endif
