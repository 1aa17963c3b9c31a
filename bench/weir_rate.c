/* bench/weir_rate.c: weir at a fixed rate: what is due is sent between two turns, and a turn waits
 * until the next message is due. */
#include "bench/pace.h"
#include "bench/weir_roles.h"
#include "bench/weir_side.h"

/* Sends what is due. False: the queue is full. */
static bool send_due(struct weir_side *side, struct bench_pace *pace)
{
    weir_ns now = bench_now();
    const uint8_t *msg;

    while ((msg = bench_pace_next(pace, side->run, now)) != NULL) {
        if (!weir_side_send(side, 0, msg, pace->size))
            return false;
        bench_pace_take(pace);
    }
    return true;
}

enum bench_status bench_weir_rate_send(struct bench_run *run)
{
    static struct weir_side side;
    const struct weir_reactor reactor = {.on_writable = NULL}; /* a turn ends when there is room */
    struct bench_pace pace;

    if (bench_pace_init(&pace, run->job) != 0)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    if (!weir_side_open(&side, run, &reactor, NULL, &side))
        return BENCH_E_RUN;
    while (!bench_pace_is_over(&pace, run)) {
        bool has_room = side.peer.v == 0 || send_due(&side, &pace);
        weir_ns wait = has_room ? bench_pace_wait(&pace, bench_now()) : WEIR_SIDE_WAIT_NS;
        if (!weir_side_turn(&side, wait))
            return BENCH_E_RUN;
    }
    bench_publish_sent(run);
    while (bench_step(run) != BENCH_DONE)
        if (!weir_side_turn(&side, WEIR_NS_PER_MS))
            return BENCH_E_RUN;
    weir_side_close(&side);
    return BENCH_OK;
}
