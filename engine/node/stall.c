#include "engine/node/stall.h"

#include <inttypes.h>
#include <stdio.h>

#include "engine/base/check.h"
#include "engine/base/probe.h"
#include "engine/node/internal.h"

#define PERIOD_NS (60 * WEIR_NS_PER_S)
#define MS(ns) ((double)(ns) / 1e6)

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void weir_stall_mark(struct weir_shard *shard, enum weir_stage stage)
{
    struct weir_stall *stall = &shard->stall;
    uint64_t now = weir_node_now(shard->node);
    stall->stage_ns[stage] = now - stall->last_ns;
    stall->last_ns = now;
}

static void say(struct weir_shard *shard, uint64_t took_ns, int64_t event_cnt)
{
    static const char *const names[] = {"receive", "dispatch", "timers", "letters", "ends", "send"};
    struct weir_stall *stall = &shard->stall;
    const struct weir_hub_metrics *metrics = &shard->hub.metrics;
    char stages[160] = "", more[64] = "";
    size_t at = 0;
    for (uint32_t i = 0; stall->is_watching && i < WEIR_STAGE_CNT; i++)
        at += (size_t)snprintf(stages + at, sizeof(stages) - at, "%s%s %.1f ms", i ? ", " : "; ",
                               names[i], MS(stall->stage_ns[i]));
    if (stall->unsaid)
        snprintf(more, sizeof(more), "; %" PRIu32 " more since the last such line", stall->unsaid);
    weir_log(shard->node, WEIR_LOG_WARN,
             "shard %u: a turn took %.1f ms: %lld events, %" PRIu64 " frames in, %" PRIu64
             " out, %" PRIu64 " timers, %" PRIu64 " letters%s%s",
             shard->hub.shard, MS(took_ns), (long long)event_cnt,
             get(&metrics->frames_rx) - stall->frames_rx,
             get(&metrics->frames_tx) - stall->frames_tx,
             get(&metrics->timers_fired) - stall->timers, get(&metrics->letters) - stall->letters,
             stages, more);
}

static __attribute__((noinline, cold)) void stalled(struct weir_shard *shard, uint64_t now_ns,
                                                    uint64_t took_ns, int64_t event_cnt)
{
    struct weir_stall *stall = &shard->stall;
    weir_count(&shard->hub.metrics.stalled_turns, 1);
    WEIR_PROBE3(turn_stalled, shard->hub.shard, took_ns, event_cnt);
    weir_count(&shard->hub.metrics.stalled_ns, took_ns);
    stall->watch_ns = now_ns + 2 * PERIOD_NS;
    if (now_ns < stall->log_ns) {
        stall->unsaid++;
        return;
    }
    say(shard, took_ns, event_cnt);
    stall->unsaid = 0;
    stall->log_ns = now_ns + PERIOD_NS;
}

void weir_stall_end(struct weir_shard *shard, int64_t event_cnt)
{
    struct weir_stall *stall = &shard->stall;
    struct weir_hub_metrics *metrics = &shard->hub.metrics;
    uint64_t now = stall->end_ns = weir_node_now(shard->node);
    uint64_t took_ns = now > shard->hub.now_ns ? now - shard->hub.now_ns : 0;
    weir_count(&metrics->busy_ns, took_ns);
    WEIR_PROBE3(turn, shard->hub.shard, took_ns, event_cnt);
    if (WEIR_UNLIKELY(took_ns > get(&metrics->turn_max_ns)))
        atomic_store_explicit(&metrics->turn_max_ns, took_ns, memory_order_relaxed);
    if (WEIR_UNLIKELY(took_ns >= shard->hub.cfg->turn_warn_ns))
        stalled(shard, now, took_ns, event_cnt);
    stall->is_watching = now < stall->watch_ns;
    stall->frames_tx = get(&metrics->frames_tx);
    stall->frames_rx = get(&metrics->frames_rx);
    stall->timers = get(&metrics->timers_fired);
    stall->letters = get(&metrics->letters);
}
