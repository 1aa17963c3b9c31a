/* bench/weir_many.c: weir with many connections, all with something to send: connections and shards.
 *
 * Every connection's queue is kept full, as in weir_stream.c, on the thread of the shard that owns it. A
 * message's number says whose it is, so that the receiver checks the order of each connection by itself.
 */
#include "bench/weir_crowd.h"
#include "bench/weir_roles.h"

#include <stdlib.h>
#include <string.h>

#define TICK_NS WEIR_NS_PER_MS
#define CONNS_PER_TICK 32u

static void fill(struct weir_crowd *crowd, uint32_t idx)
{
    struct weir_crowd_conn *conn = &crowd->conns[idx];
    struct weir_crowd_tally *tally = weir_crowd_tally_of(crowd, conn->peer);
    struct bench_source *source = &tally->source;
    const uint32_t size = crowd->side.run->job->size;
    uint64_t msg_cnt = 0;
    int error = 0;

    /* Pairs with settle(): either this sees that no more is to be sent, or that waits for this. */
    atomic_store(&tally->is_busy, 1);
    if (!atomic_load(&crowd->is_stopped)) {
        source->seq = (uint64_t)idx << BENCH_NUMBER_SHIFT | conn->seq;
        bench_source_number(source);
        while ((error = weir_try_send(crowd->side.node, conn->peer, 0, bench_source_peek(source),
                                      size)) == 0) {
            bench_source_take(source);
            msg_cnt++;
        }
        conn->seq += msg_cnt;
        weir_crowd_add(&tally->msgs, msg_cnt);
        weir_crowd_add(&tally->bytes, msg_cnt * size);
        weir_crowd_add(&tally->refused, error == WEIR_E_FULL);
        if (error != WEIR_E_FULL)
            weir_side_fail(&crowd->side, "sending", error);
    }
    atomic_store(&tally->is_busy, 0);
}

static void on_writable(void *role, weir_peer peer, uint16_t channel)
{
    struct weir_crowd *crowd = role;

    (void)channel;
    fill(crowd, bench_peer_map_at(&weir_crowd_tally_of(crowd, peer)->map, peer));
}

/* Begins, on each shard's thread, once all are up: some at a time, so that the first are being sent while
 * the last queues are filled. */
static weir_ns on_tick(void *role, uint32_t shard, weir_ns now)
{
    struct weir_crowd *crowd = role;
    struct weir_crowd_tally *tally = &crowd->tallies[shard];

    if (!atomic_load_explicit(&crowd->has_to_send, memory_order_acquire))
        return now + TICK_NS;
    for (uint32_t cnt = 0; tally->begun_cnt < crowd->conn_cnt; tally->begun_cnt++) {
        if (weir_peer_shard(crowd->conns[tally->begun_cnt].peer) != shard)
            continue;
        if (cnt++ == CONNS_PER_TICK)
            return now;
        fill(crowd, tally->begun_cnt);
        bench_conn_begins(crowd->side.run);
    }
    return 0;
}

/* Nothing is sent any more from here on. */
static void settle(struct weir_crowd *crowd)
{
    atomic_store(&crowd->is_stopped, true);
    for (uint32_t i = 0; i < WEIR_CROWD_SHARDS_MAX; i++)
        while (atomic_load(&crowd->tallies[i].is_busy) != 0)
            ;
    crowd->side.hooks->collect(crowd);
    bench_publish_sent(crowd->side.run);
}

enum bench_status bench_weir_many_send(struct bench_run *run)
{
    static struct weir_crowd crowd;
    const struct weir_reactor reactor = {.on_writable = on_writable, .on_tick = on_tick};
    enum bench_phase phase;

    if (!weir_crowd_open(&crowd, run, &reactor))
        return BENCH_E_RUN;
    while ((phase = bench_step(run)) != BENCH_DONE) {
        if (phase == BENCH_DRAIN && !crowd.is_stopped)
            settle(&crowd);
        if (!weir_crowd_step(&crowd))
            return BENCH_E_RUN;
        if (!crowd.has_to_send && weir_crowd_is_ready(&crowd))
            atomic_store_explicit(&crowd.has_to_send, true, memory_order_release);
        if (!weir_side_turn(&crowd.side, WEIR_NS_PER_MS))
            return BENCH_E_RUN;
    }
    weir_side_close(&crowd.side);
    return BENCH_OK;
}

/* ---- the receiver -------------------------------------------------------------------------- */

static void on_batch(void *role, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct weir_crowd *crowd = role;
    struct weir_crowd_tally *tally = weir_crowd_tally_of(crowd, msgs[0].peer);
    uint64_t bytes = 0, errors = 0;

    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint64_t number;
        __builtin_memcpy(&number, msgs[i].data, sizeof(number));
        errors += !bench_is_next(crowd->side.run, number);
        bytes += msgs[i].len;
    }
    weir_crowd_add(&tally->msgs, msg_cnt);
    weir_crowd_add(&tally->bytes, bytes);
    weir_crowd_add(&tally->seq_errors, errors);
}

enum bench_status bench_weir_many_recv(struct bench_run *run)
{
    static struct weir_crowd crowd;
    const struct weir_reactor reactor = {.on_batch = on_batch};

    run->conn_seqs = malloc(run->job->conn_cnt * sizeof(run->conn_seqs[0]));
    if (run->conn_seqs == NULL)
        return bench_fail(run, BENCH_E_RUN, "no memory for %u connections", run->job->conn_cnt);
    memset(run->conn_seqs, 0, run->job->conn_cnt * sizeof(run->conn_seqs[0]));
    if (!weir_crowd_open(&crowd, run, &reactor))
        return BENCH_E_RUN;
    while (bench_step(run) != BENCH_DRAIN || !bench_is_drained(run)) {
        if (!weir_crowd_step(&crowd) ||
            !weir_side_turn(&crowd.side,
                            run->phase == BENCH_DRAIN ? WEIR_NS_PER_MS : WEIR_SIDE_WAIT_NS))
            return BENCH_E_RUN;
    }
    bench_finish(run);
    weir_side_close(&crowd.side);
    return BENCH_OK;
}
