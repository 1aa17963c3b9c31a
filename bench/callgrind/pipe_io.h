/* bench/callgrind/pipe_io.h: two weir_io that are joined in memory, for counting instructions.
 *
 * Nothing here waits, draws lots or asks the system: the same calls give the same events, and so the
 * same number of instructions in the engine, at every run. Bytes move only in pipe_move(), which is not
 * counted; inside an engine's turn an operation is a few stores, like an entry of a ring.
 */
#ifndef WEIR_BENCH_CALLGRIND_PIPE_IO_H
#define WEIR_BENCH_CALLGRIND_PIPE_IO_H

#include "engine/io/io.h"

/* What both nodes are created on; its clock stands still but for pipe_move(). */
extern const struct weir_io_host pipe_host;

/* Moves all that either side sends to the other, as far as its receive buffers go, and the clock by
 * 10 us. */
void pipe_move(void);

#endif
