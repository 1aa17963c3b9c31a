/* bench/weir_broadcast.c: weir to many: one weir_broadcast a turn, so that each copy is a send of its
 * own, as it is for the rival that sends it in a loop.
 *
 * A broadcast that finds a peer's queue full does without that peer, and here nobody may miss anything:
 * the sender stays less than a window ahead of the slowest peer, which the receiver says in the shared
 * page (struct bench_shared.progress).
 */
#include "bench/weir_crowd.h"
#include "bench/weir_roles.h"

#define WINDOW_MSGS_MAX 64u
#define NAP_NS (200 * WEIR_NS_PER_US)

static bool broadcast(struct weir_crowd *crowd)
{
    struct weir_crowd_tally *tally = &crowd->tallies[0];
    const uint32_t size = crowd->side.run->job->size;
    int64_t taken =
        weir_broadcast(crowd->side.node, 0, bench_source_peek(&tally->source), size, NULL);

    if (taken != crowd->conn_cnt) {
        if (taken < 0)
            weir_side_fail(&crowd->side, "weir_broadcast", (int)taken);
        else
            weir_side_fail(&crowd->side, "a peer missed a broadcast", WEIR_E_FULL);
        return false;
    }
    bench_source_take(&tally->source);
    weir_crowd_add(&tally->msgs, crowd->conn_cnt);
    weir_crowd_add(&tally->bytes, (uint64_t)crowd->conn_cnt * size);
    return true;
}

enum bench_status bench_weir_broadcast_send(struct bench_run *run)
{
    static struct weir_crowd crowd;
    const struct weir_reactor reactor = {0};
    const uint32_t fit = weir_side_queue_bytes(run->job) / run->job->size;
    const uint32_t window = fit < WINDOW_MSGS_MAX ? fit : WINDOW_MSGS_MAX;
    uint64_t sent_cnt = 0;
    enum bench_phase phase;

    if (!weir_crowd_open(&crowd, run, &reactor))
        return BENCH_E_RUN;
    while ((phase = bench_step(run)) != BENCH_DONE) {
        bool is_open =
            weir_crowd_is_ready(&crowd) && phase < BENCH_DRAIN &&
            sent_cnt - atomic_load_explicit(&run->shared->progress, memory_order_relaxed) < window;
        if (phase == BENCH_DRAIN)
            bench_publish_sent(run);
        if (is_open && !broadcast(&crowd))
            return BENCH_E_RUN;
        sent_cnt += is_open;
        if (!weir_crowd_step(&crowd) || !weir_side_turn(&crowd.side, is_open ? 0 : NAP_NS))
            return BENCH_E_RUN;
    }
    weir_side_close(&crowd.side);
    return BENCH_OK;
}

/* ---- the receiver -------------------------------------------------------------------------- */

static void on_batch(void *role, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct weir_crowd *crowd = role;
    struct weir_crowd_tally *tally = &crowd->tallies[0];
    struct weir_crowd_conn *conn = NULL;
    uint64_t bytes = 0, errors = 0;

    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint64_t number;
        if (conn == NULL || conn->peer.v != msgs[i].peer.v)
            conn = &crowd->conns[bench_peer_map_at(&tally->map, msgs[i].peer)];
        __builtin_memcpy(&number, msgs[i].data, sizeof(number));
        errors += number != conn->seq++;
        bytes += msgs[i].len;
    }
    weir_crowd_add(&tally->msgs, msg_cnt);
    weir_crowd_add(&tally->bytes, bytes);
    weir_crowd_add(&tally->seq_errors, errors);
}

static void publish_progress(struct weir_crowd *crowd)
{
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 0; i < crowd->conn_cnt; i++)
        least = crowd->conns[i].seq < least ? crowd->conns[i].seq : least;
    atomic_store_explicit(&crowd->side.run->shared->progress, least, memory_order_relaxed);
}

enum bench_status bench_weir_broadcast_recv(struct bench_run *run)
{
    static struct weir_crowd crowd;
    const struct weir_reactor reactor = {.on_batch = on_batch};

    if (!weir_crowd_open(&crowd, run, &reactor))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DRAIN || !bench_is_drained(run)) {
        if (!weir_crowd_step(&crowd) ||
            !weir_side_turn(&crowd.side,
                            run->phase == BENCH_DRAIN ? WEIR_NS_PER_MS : WEIR_SIDE_WAIT_NS))
            return BENCH_E_RUN;
        publish_progress(&crowd);
    }
    bench_finish(run);
    weir_side_close(&crowd.side);
    return BENCH_OK;
}
