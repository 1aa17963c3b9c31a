/* bench/callgrind/pipe_io.h: two weir_io that are joined in memory, for counting instructions.
 *
 * Nothing here waits, draws lots or asks the system: the same calls give the same events, and so the
 * same number of instructions in the engine, at every run. Bytes move only in pipe_move(), which is not
 * counted; inside an engine's turn an operation is a few stores, like an entry of a ring.
 *
 * The program is linked so that weir_io_uring_create() and weir_now() are these (--wrap).
 */
#ifndef WEIR_BENCH_CALLGRIND_PIPE_IO_H
#define WEIR_BENCH_CALLGRIND_PIPE_IO_H

/* Moves all that either side sends to the other, as far as its receive buffers go, and the clock by
 * 10 us. */
void pipe_move(void);

#endif
