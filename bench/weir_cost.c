/* bench/weir_cost.c: what one weir_try_send costs its caller.
 *
 * ALONE: the shard's own thread sends bursts, a turn behind each. MEASURE: a thread on the receiver's CPU
 * does, while the shard turns: first bursts, then (in every second half millisecond) one message to a
 * shard that sleeps, which has to be woken. The cost is the median of many bursts, so that what
 * interrupts a burst does not count. A burst that met a full queue is not counted either.
 */
#include "bench/weir_roles.h"
#include "bench/weir_side.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/source.h"

#define BURST_MSGS 64u
#define BURST_BYTES (256u << 10) /* a quarter of a queue */
#define REST_NS (500 * WEIR_NS_PER_US)

struct cost {
    struct weir_side side; /* first: see on_peer */
    struct bench_source source;
    uint32_t burst_cnt; /* messages of a burst */
    _Atomic bool is_stopped;
    uint64_t shard_msgs;
    _Atomic uint64_t thread_msgs; /* written by the other thread */
    struct bench_histogram shard, thread, lone;
};

/* `cnt` sends; adds what they took to `histogram`. Returns how many were queued. */
static uint32_t burst(struct cost *cost, struct bench_source *source, uint32_t cnt,
                      struct bench_histogram *histogram)
{
    const uint32_t size = cost->side.run->job->size;
    const weir_peer peer = cost->side.peer;
    weir_node *node = cost->side.node;
    uint32_t sent = 0;
    int error = 0;

    weir_ns begin = bench_now();
    while (sent < cnt &&
           (error = weir_try_send(node, peer, 0, bench_source_peek(source), size)) == 0) {
        bench_source_take(source);
        sent++;
    }
    weir_ns end = bench_now();
    if (error == 0)
        bench_histogram_add(histogram, end - begin);
    else if (error != WEIR_E_FULL)
        weir_side_fail(&cost->side, "sending", error);
    return sent;
}

static void collect(void *role)
{
    struct cost *cost = role;
    struct bench_counts *counts = &cost->side.run->counts;

    counts->msgs[0] = cost->shard_msgs + atomic_load(&cost->thread_msgs);
    counts->bytes[0] = counts->msgs[0] * cost->side.run->job->size;
}

static void *other_thread(void *arg)
{
    struct cost *cost = arg;
    const struct timespec rest = {.tv_nsec = REST_NS};

    for (bool is_lone = false; !atomic_load(&cost->is_stopped); is_lone = !is_lone) {
        uint32_t sent = burst(cost, &cost->source, is_lone ? 1 : cost->burst_cnt,
                              is_lone ? &cost->lone : &cost->thread);
        atomic_fetch_add_explicit(&cost->thread_msgs, sent, memory_order_relaxed);
        nanosleep(&rest, NULL); /* the shard sends it all and falls asleep */
    }
    return NULL;
}

/* Sends from another thread as long as the window lasts. */
static bool measure_thread(struct cost *cost)
{
    struct bench_run *run = cost->side.run;
    pthread_t thread;
    pthread_attr_t attr;
    cpu_set_t set;
    bool is_well = true;

    CPU_ZERO(&set);
    CPU_SET((size_t)run->other_cpu, &set);
    pthread_attr_init(&attr);
    pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
    if (pthread_create(&thread, &attr, other_thread, cost) != 0) {
        bench_fail(run, BENCH_E_RUN, "no thread");
        return false;
    }
    while (is_well && bench_step(run) == BENCH_MEASURE)
        is_well = weir_side_turn(&cost->side, WEIR_SIDE_WAIT_NS);
    atomic_store(&cost->is_stopped, true);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    collect(cost);
    return is_well;
}

static void note(struct cost *cost)
{
    double *facts = cost->side.run->shared->sides[BENCH_SENDER].facts;
    double cnt = cost->burst_cnt;

    facts[BENCH_FACT_SEND_SHARD_NS] = (double)bench_histogram_at(&cost->shard, 0.5) / cnt;
    facts[BENCH_FACT_SEND_THREAD_NS] = (double)bench_histogram_at(&cost->thread, 0.5) / cnt;
    facts[BENCH_FACT_SEND_LONE_NS] = (double)bench_histogram_at(&cost->lone, 0.5);
}

enum bench_status bench_weir_cost_send(struct bench_run *run)
{
    static struct cost cost;
    const struct weir_reactor reactor = {0};
    const struct weir_side_hooks hooks = {.collect = collect};
    enum bench_phase phase;

    cost.burst_cnt = run->job->size * BURST_MSGS <= BURST_BYTES ? BURST_MSGS
                     : run->job->size < BURST_BYTES             ? BURST_BYTES / run->job->size
                                                                : 1;
    if (bench_source_init(&cost.source, run->job->size) != 0)
        return bench_fail(run, BENCH_E_RUN, "no memory for the messages");
    if (!weir_side_open(&cost.side, run, &reactor, &hooks, &cost))
        return BENCH_E_RUN;
    while ((phase = bench_step(run)) != BENCH_DONE) {
        if (phase == BENCH_MEASURE && !measure_thread(&cost))
            return BENCH_E_RUN;
        if (phase < BENCH_MEASURE && cost.side.peer.v != 0)
            cost.shard_msgs += burst(&cost, &cost.source, cost.burst_cnt, &cost.shard);
        if (bench_step(run) == BENCH_DRAIN)
            bench_publish_sent(run);
        if (!weir_side_turn(&cost.side, cost.side.peer.v == 0 ? WEIR_SIDE_WAIT_NS : WEIR_NS_PER_US))
            return BENCH_E_RUN;
    }
    note(&cost);
    weir_side_close(&cost.side);
    return BENCH_OK;
}
