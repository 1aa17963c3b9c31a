/* bench/pace.h: the clockwork of `rate`: messages at a fixed rate, whatever became of earlier ones.
 *
 * Message i is due i intervals after the first, and carries that time. Its latency is counted from
 * there and not from when it was sent: while an implementation stalls, messages go on falling due,
 * and each of them shows how long it had to wait. One that was due in the window and could not even
 * be sent within PATIENCE after it counts with the time that it had waited by then.
 */
#ifndef WEIR_BENCH_PACE_H
#define WEIR_BENCH_PACE_H

#include "bench/bench.h"

#define BENCH_PACE_BYTES_MIN 16u    /* number and time */
#define BENCH_PACE_BYTES_MAX 65536u /* one frame of every implementation */

struct bench_pace {
    uint8_t *msg;
    uint32_t size, per_s;
    weir_ns begin; /* when message 0 was due; 0: not begun */
    uint64_t seq;  /* of the next message */
};

/* Returns 0, or -1 without memory. */
int bench_pace_init(struct bench_pace *pace, const struct bench_job *job);

/* The next message, of the job's size, if it is due; the same one until it was taken. NULL: none is
 * due, or none any more in this run. The first call is when everything begins: only once the
 * connection is up. */
const uint8_t *bench_pace_next(struct bench_pace *pace, const struct bench_run *run, weir_ns now);

static inline void bench_pace_take(struct bench_pace *pace)
{
    pace->seq++;
}

/* How long until the next message is due, at most 20 ms. */
weir_ns bench_pace_wait(const struct bench_pace *pace, weir_ns now);

/* Sleeps that long, or not at all in a spinning run. For those who have no loop to wait in. */
void bench_pace_sleep(const struct bench_pace *pace, const struct bench_run *run);

/* Steps the run. True when all that was due in the window has been sent, or when the time to do so is
 * over; what is left is then noted for the receiver. To be followed by bench_publish_sent() as soon
 * as everything taken is on its way. */
bool bench_pace_is_over(const struct bench_pace *pace, struct bench_run *run);

/* Receiver: counts a message on channel 0 and notes its latency. */
void bench_pace_arrived(struct bench_run *run, const uint8_t *data, uint32_t len);

/* Receiver, at its end: gives the messages that were not sent the latency they had so far. */
void bench_pace_add_unsent(struct bench_run *run);

#endif
