#include "bench/weir_crowd.h"

#include <stdlib.h>
#include <string.h>

#define DIALS_AT_ONCE 128u /* half of what a listener lets shake hands at a time */

static void on_up(void *role, weir_peer peer)
{
    struct weir_crowd *crowd = role;
    uint32_t idx = atomic_load_explicit(&crowd->up_cnt, memory_order_relaxed);

    do
        if (idx == crowd->conn_cnt)
            return; /* more than were asked for: nobody but the sender connects */
    while (!atomic_compare_exchange_weak(&crowd->up_cnt, &idx, idx + 1));
    crowd->conns[idx].peer = peer;
    bench_peer_map_put(&weir_crowd_tally_of(crowd, peer)->map, peer, idx);
}

static void collect(void *role)
{
    struct weir_crowd *crowd = role;
    struct bench_counts *counts = &crowd->side.run->counts;

    counts->msgs[0] = counts->bytes[0] = counts->refused[0] = counts->seq_errors = 0;
    for (uint32_t i = 0; i < WEIR_CROWD_SHARDS_MAX; i++) {
        struct weir_crowd_tally *tally = &crowd->tallies[i];
        counts->msgs[0] += atomic_load_explicit(&tally->msgs, memory_order_relaxed);
        counts->bytes[0] += atomic_load_explicit(&tally->bytes, memory_order_relaxed);
        counts->refused[0] += atomic_load_explicit(&tally->refused, memory_order_relaxed);
        counts->seq_errors += atomic_load_explicit(&tally->seq_errors, memory_order_relaxed);
    }
}

bool weir_crowd_open(struct weir_crowd *crowd, struct bench_run *run,
                     const struct weir_reactor *reactor)
{
    static const struct weir_side_hooks hooks = {
        .on_up = on_up,
        .collect = collect,
        .is_dialer = true,
    };
    bool is_short = false;

    crowd->conn_cnt = run->job->conn_cnt;
    crowd->conns = malloc(crowd->conn_cnt * sizeof(crowd->conns[0]));
    for (uint32_t i = 0; i < run->job->shard_cnt; i++)
        is_short = is_short || bench_peer_map_init(&crowd->tallies[i].map, crowd->conn_cnt) != 0 ||
                   bench_source_init(&crowd->tallies[i].source, run->job->size) != 0;
    if (crowd->conns == NULL || is_short) {
        bench_fail(run, BENCH_E_RUN, "no memory for %u connections", crowd->conn_cnt);
        return false;
    }
    memset(crowd->conns, 0, crowd->conn_cnt * sizeof(crowd->conns[0]));
    crowd->memory_before = bench_memory();
    return weir_side_open(&crowd->side, run, reactor, &hooks, crowd);
}

bool weir_crowd_step(struct weir_crowd *crowd)
{
    uint32_t up_cnt = atomic_load_explicit(&crowd->up_cnt, memory_order_acquire);

    if (crowd->is_noted)
        return true;
    while (crowd->side.run->who == BENCH_SENDER && crowd->asked_cnt < crowd->conn_cnt &&
           crowd->asked_cnt - up_cnt < DIALS_AT_ONCE)
        if (!weir_side_dial(&crowd->side, crowd->asked_cnt++))
            return false;
    if (up_cnt < crowd->conn_cnt)
        return true;
    weir_ns now = bench_now();
    if (crowd->idle_since == 0)
        crowd->idle_since = now;
    if (now - crowd->idle_since < WEIR_CROWD_IDLE_NS)
        return true;
    bench_note_idle(crowd->side.run, crowd->memory_before);
    crowd->is_noted = true;
    return true;
}
