/* bench/nng/side.h: one side of a run over nng: a socket each way, and what it sends.
 *
 * nng's own threads share the side's one core with the calling thread. Its queues hold up to 8,192
 * messages (the most that it allows) or 8 MiB of them, at least 8. A message is allocated, filled and given away
 * (nng_sendmsg); nng has no way to send memory that it did not allocate.
 */
#ifndef WEIR_BENCH_NNG_SIDE_H
#define WEIR_BENCH_NNG_SIDE_H

#include <nng/nng.h>

#include "bench/bench.h"
#include "bench/source.h"

struct nng_side {
    struct bench_run *run;
    nng_socket out, in; /* the same one for PAIR */
    bool has_out, has_in;
    struct bench_source source;
    nng_msg *msg;  /* the one to send, or the last that came; NULL: none */
    bool is_ready; /* `msg` could not be sent yet */
    bool is_failed;
};

/* Opens the sockets of this side; with the way back where the case answers. False after
 * bench_fail(). */
bool nng_side_open(struct nng_side *side, struct bench_run *run);

/* Sends the next message of the source. False: not within 20 ms, or after bench_fail(). */
bool nng_side_send(struct nng_side *side);

/* Sends a copy. False: not within 20 ms, or after bench_fail(). */
bool nng_side_send_copy(struct nng_side *side, const void *data, uint32_t len);

/* The next message, borrowed until the next call; NULL: none came within 20 ms, or after
 * bench_fail(). */
const uint8_t *nng_side_recv(struct nng_side *side, uint32_t *ret_len);

/* Was bench_fail() called? */
static inline bool nng_side_is_failed(const struct nng_side *side)
{
    return side->is_failed;
}

/* Closes everything; what is still queued is dropped. BENCH_OK unless the sockets turn out not to
 * have had the run's settings. */
enum bench_status nng_side_close(struct nng_side *side);

#endif
