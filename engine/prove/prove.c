#include "engine/prove/prove.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/prove/run.h"

#define SLICE_NS (200 * WEIR_NS_PER_MS) /* between two looks of the main loop at most */

/* ---- helpers ------------------------------------------------------------------------------- */

/* SplitMix64, as everywhere in the simulator. */
uint64_t run_below(struct run *run, uint64_t bound)
{
    uint64_t z = run->rng += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    return bound ? z % bound : 0;
}

bool run_chance(struct run *run, uint32_t percent)
{
    return run_below(run, 100) < percent;
}

void run_trace(struct run *run, const char *format, ...)
{
    char line[RUN_TRACE_BYTES];
    uint64_t now_ns = weir_world_now(run->world);
    int at =
        snprintf(line, sizeof(line), "%4llu.%06llu  ", (unsigned long long)(now_ns / WEIR_NS_PER_S),
                 (unsigned long long)(now_ns % WEIR_NS_PER_S / WEIR_NS_PER_US));
    va_list args;
    va_start(args, format);
    vsnprintf(line + at, sizeof(line) - (size_t)at, format, args);
    va_end(args);
    run->cfg.trace(run->cfg.trace_ctx, line);
}

void run_fail(struct run *run, const char *oracle, const char *format, ...)
{
    struct prove_result *res = run->res;
    if (res->is_failed)
        return;
    res->is_failed = true;
    res->at_ns = weir_world_now(run->world);
    snprintf(res->oracle, sizeof(res->oracle), "%s", oracle);
    va_list args;
    va_start(args, format);
    vsnprintf(res->text, sizeof(res->text), format, args);
    va_end(args);
    TRACE(run, "FAILED: %s: %.150s", oracle, res->text);
    weir_world_halt(run->world);
}

struct run_node *run_node_of(struct run *run, const struct world_node *node)
{
    for (uint32_t i = 0; i < run->node_cnt; i++)
        if (run->nodes[i].node && run->nodes[i].node == node->node)
            return &run->nodes[i];
    return NULL;
}

struct weir_conn *run_conn_of(struct run_node *node, weir_peer peer)
{
    struct weir_shard *shard = weir_shard_of(node->node, peer);
    return shard ? weir_conn_of_peer(shard, peer) : NULL;
}

/* ---- nodes --------------------------------------------------------------------------------- */

static void node_log(void *ctx, int level, const char *line)
{
    struct run_node *node = ctx;
    (void)level;
    TRACE(node->run, "node %u says: %.150s", node->idx, line);
}

void run_node_start(struct run_node *node)
{
    struct run *run = node->run;
    char address[128];
    snprintf(address, sizeof(address), "10.0.0.%u:7000", node->host);
    node->life++;
    node->ups = node->downs = node->ups_heard = node->downs_heard = 0;
    node->is_stopping = false;
    node->named = 0;
    memset(node->dial_cnts, 0, sizeof(node->dial_cnts));
    for (uint32_t i = 0; i < RUN_SHARDS_MAX * RUN_SLOTS_MAX; i++) {
        node->slots[i].kept_peer = 0;
        node->slots[i].is_seen = node->slots[i].is_followed = false;
    }
    if (run->cfg.trace) {
        node->cfg.log = node_log;
        node->cfg.log_ctx = node;
        node->cfg.log_level = WEIR_LOG_DEBUG;
    }
    int error = weir_world_node_create(run->world, node->host, &node->cfg, &node->node);
    for (uint32_t i = 0; i < node->reactor_cnt && !error; i++) {
        struct weir_reactor reactor = actor_reactor;
        node->reactors[i] = (struct run_reactor){.node = node, .idx = i};
        reactor.ctx = &node->reactors[i];
        uint32_t from = i == 0 ? 0 : node->channel_split;
        uint32_t to = i == 0 ? node->channel_split : node->channel_cnt;
        error = weir_node_attach(node->node, &reactor, &node->channels[from], to - from);
    }
    if (!error)
        error = weir_node_listen(node->node, address);
    if (!error)
        error = weir_node_start(node->node);
    for (uint32_t i = 0; i < run->node_cnt && !error; i++) {
        if (!(node->persist >> i & 1))
            continue;
        policy_address(node, &run->nodes[i], address);
        error = weir_dial(node->node, address, WEIR_DIAL_PERSIST);
    }
    if (error)
        run_fail(run, "start", "node %u does not start: %s", node->idx, weir_error_name(error));
    TRACE(run, "node %u started, life %u", node->idx, node->life);
}

static void node_crash(struct run_node *node)
{
    struct run *run = node->run;
    bool is_power_cut = run_chance(run, 50);
    uint64_t down_ns = run_below(run, 5 * WEIR_NS_PER_S);
    TRACE(run, "node %u %s for %llu ms", node->idx, is_power_cut ? "loses power" : "dies",
          (unsigned long long)(down_ns / WEIR_NS_PER_MS));
    model_node_gone(node);
    weir_world_crash(run->world, node->node, is_power_cut);
    node->node = NULL;
    node->back_at_ns = weir_world_now(run->world) + down_ns;
    run->res->crashes++;
}

static void node_stop(struct run_node *node)
{
    struct run *run = node->run;
    uint64_t drain_ns = run_below(run, 1000) * WEIR_NS_PER_MS;
    TRACE(run, "node %u stops, drain %llu ms", node->idx,
          (unsigned long long)(drain_ns / WEIR_NS_PER_MS));
    int error = weir_node_stop(node->node, drain_ns);
    if (error)
        run_fail(run, "answer", "node %u: stop answered %s", node->idx, weir_error_name(error));
    node->is_stopping = true;
    /* Drain, goodbyes, and what a goodbye that nobody takes needs; then the shard gives up by itself. */
    node->stop_by_ns =
        weir_world_now(run->world) + drain_ns + 4 * node->cfg.goodbye_linger_ns + 5 * WEIR_NS_PER_S;
}

/* Frees a node that has stopped. */
static void node_reap(struct run_node *node)
{
    struct run *run = node->run;
    if (!weir_world_is_stopped(run->world, node->node)) {
        const struct world_node *own = world_node_of(run->world, node->node);
        uint64_t now_ns = weir_world_now(run->world);
        if (own->paused_until_ns > now_ns) /* it cannot hurry while it is stopped */
            node->stop_by_ns =
                weir_max_u64(node->stop_by_ns, own->paused_until_ns + 10 * WEIR_NS_PER_S);
        if (now_ns > node->stop_by_ns && !(run_is_on(run, PROVE_SLOW)))
            run_fail(run, "stop", "node %u has not stopped in time", node->idx);
        return;
    }
    oracle_stopped(node);
    for (uint32_t i = 0; i < run->kept_cnt; i++) /* kept messages outlive their node */
        run->kept[i].life +=
            run->kept[i].node == node && run->kept[i].life == node->life ? 1000000 : 0;
    weir_world_node_free(run->world, node->node);
    TRACE(run, "node %u has stopped", node->idx);
    node->node = NULL;
    node->is_stopping = false;
    node->back_at_ns = weir_world_now(run->world) + run_below(run, 3 * WEIR_NS_PER_S);
}

/* ---- faults that somebody must make -------------------------------------------------------- */

static uint32_t some_host(struct run *run)
{
    return 1 + (uint32_t)run_below(run, run->node_cnt);
}

static void heal_ways(struct run *run)
{
    for (uint32_t a = 1; a <= run->node_cnt; a++)
        for (uint32_t b = 1; b <= run->node_cnt; b++)
            weir_world_cut(run->world, a, b, 0);
}

static void cut_something(struct run *run)
{
    switch (run_below(run, 4)) {
    case 0: /* one way */
        weir_world_cut(run->world, some_host(run), some_host(run), 1);
        break;
    case 1: { /* both ways */
        uint32_t a = some_host(run), b = some_host(run);
        weir_world_cut(run->world, a, b, 1);
        weir_world_cut(run->world, b, a, 1);
        break;
    }
    case 2: { /* one against all */
        uint32_t alone = some_host(run);
        for (uint32_t i = 1; i <= run->node_cnt; i++) {
            weir_world_cut(run->world, alone, i, i != alone);
            weir_world_cut(run->world, i, alone, i != alone);
        }
        break;
    }
    default:
        heal_ways(run);
    }
}

static void clog_something(struct run *run)
{
    uint64_t latency_ns = run_below(run, 1u << run_below(run, 10)) * WEIR_NS_PER_MS;
    uint64_t bytes_per_s =
        run_chance(run, 50) ? 1000 + run_below(run, 1u << (10 + run_below(run, 12))) : 0;
    weir_world_slow(run->world, some_host(run), some_host(run), latency_ns, bytes_per_s);
}

static void make_faults(struct run *run)
{
    struct run_node *node = &run->nodes[run_below(run, run->node_cnt)];
    bool is_running = node->node && !node->is_stopping;
    switch (run_below(run, 6)) {
    case 0:
        if (run_is_on(run, PROVE_CUT))
            cut_something(run);
        break;
    case 1:
        if (run_is_on(run, PROVE_CLOG))
            clog_something(run);
        break;
    case 2:
        if (run_is_on(run, PROVE_PAUSE) && node->node)
            weir_world_pause(run->world, node->node,
                             run_below(run, 1u << run_below(run, 14)) * WEIR_NS_PER_MS);
        break;
    case 3:
        if (run_is_on(run, PROVE_CRASH) && node->node && run_chance(run, 30))
            node_crash(node);
        break;
    case 4:
        if (run_is_on(run, PROVE_RESTART) && is_running && run_chance(run, 30))
            node_stop(node);
        break;
    default:
        if (run_chance(run, 20)) /* another swarm of the world's own faults */
            weir_world_set_faults(run->world, run->classes & WEIR_FAULTS_ALL);
    }
}

/* Brings back who is down, frees who has stopped. */
static void tend(struct run *run)
{
    for (uint32_t i = 0; i < run->node_cnt; i++) {
        struct run_node *node = &run->nodes[i];
        if (node->node && node->is_stopping)
            node_reap(node);
        else if (!node->node && (run->is_healing || weir_world_now(run->world) >= node->back_at_ns))
            run_node_start(node);
    }
}

/* Lets time pass, in slices, until `is_done` or `end_ns`. */
static bool pass(struct run *run, uint64_t end_ns, bool (*is_done)(struct run *run))
{
    for (;;) {
        uint64_t now_ns = weir_world_now(run->world);
        if (run->res->is_failed)
            return false;
        if (is_done && is_done(run))
            return true;
        if (now_ns >= end_ns)
            return false;
        uint64_t slice_ns = 1 + run_below(run, SLICE_NS);
        weir_world_run(run->world, weir_min_u64(slice_ns, end_ns - now_ns));
        if (run->res->is_failed)
            return false;
        tend(run);
        actor_away(run);
        for (uint32_t i = 0; i < run->node_cnt; i++)
            oracle_awake(&run->nodes[i]);
        if (!run->is_healing && weir_world_now(run->world) >= run->next_fault_ns) {
            make_faults(run);
            run->next_fault_ns = weir_world_now(run->world) + run_below(run, 2 * WEIR_NS_PER_S);
        }
    }
}

/* ---- phases -------------------------------------------------------------------------------- */

/* How long it may take until everybody is connected: an old connection is found dead, a dial under way
 * fails, the longest wait before the next passes, and that one succeeds. */
static uint64_t heal_bound(const struct run *run)
{
    uint64_t most_ns = 0;
    for (uint32_t i = 0; i < run->node_cnt; i++) {
        const struct weir_config *cfg = &run->nodes[i].cfg;
        uint64_t ns = cfg->idle_timeout_ns + cfg->ping_interval_ns + cfg->ping_timeout_ns +
                      cfg->stall_timeout_ns + 2 * cfg->goodbye_linger_ns + cfg->dial_timeout_ns +
                      2 * cfg->handshake_timeout_ns + 2 * cfg->redial_max_ns;
        most_ns = weir_max_u64(most_ns, ns);
    }
    return 2 * most_ns + 10 * WEIR_NS_PER_S;
}

/* How long it may take until each dial that was made before has come up or failed. */
static uint64_t dials_bound(const struct run *run)
{
    uint64_t most_ns = 0;
    for (uint32_t i = 0; i < run->node_cnt; i++) {
        const struct weir_config *cfg = &run->nodes[i].cfg;
        most_ns = weir_max_u64(most_ns, cfg->dial_timeout_ns + cfg->handshake_timeout_ns);
    }
    return most_ns + WEIR_NS_PER_S;
}

/* Whether everybody is there to stay: a stop of the last moment has been called and shows nowhere yet. */
static bool is_complete(const struct run *run)
{
    for (uint32_t i = 0; i < run->node_cnt; i++)
        if (!run->nodes[i].node || run->nodes[i].is_stopping)
            return false;
    return true;
}

static bool is_joined(struct run *run)
{
    return is_complete(run) && oracle_is_joined(run, false);
}

static bool is_at_rest(struct run *run)
{
    return oracle_is_at_rest(run, false) && model_is_empty(run) && is_joined(run);
}

#define TURNS_MAX 200000u

/* Two fifths of the time went into what three seeds in ten did after so many turns, some of which made two million in their
 * minute: more of the same. Others have more to show in that time. */
static bool is_spent(struct run *run)
{
    return run->world->turn_cnt >= TURNS_MAX;
}

static bool is_all_stopped(struct run *run)
{
    for (uint32_t i = 0; i < run->node_cnt; i++)
        if (!weir_world_is_stopped(run->world, run->nodes[i].node))
            return false;
    return true;
}

/* Fails the run for what keeps it from being at rest, unless it has failed. */
static void say_unrest(struct run *run)
{
    if (run->res->is_failed)
        return;
    model_check_empty(run);
    (void)oracle_is_at_rest(run, true);
    (void)oracle_is_joined(run, true);
}

static void heal(struct run *run)
{
    TRACE(run, "healing");
    run->is_healing = true;
    run->healed_ns = weir_world_now(run->world);
    weir_world_set_faults(run->world, 0);
    heal_ways(run);
    for (uint32_t i = 0; i < run->node_cnt; i++)
        if (run->nodes[i].node)
            weir_world_pause(run->world, run->nodes[i].node, 0);
    actor_cancel(run);
    if (run->classes & PROVE_DIAL) {
        /* Dials at random may have taken the places of those that are meant, and who is under way now takes more. */
        (void)pass(run, weir_world_now(run->world) + dials_bound(run), NULL);
        actor_part(run);
    }
    uint64_t bound_ns = heal_bound(run);
    if (!pass(run, weir_world_now(run->world) + bound_ns, is_joined))
        (void)oracle_is_joined(run, true);
    if (run->res->is_failed)
        return;
    TRACE(run, "quiet");
    run->is_quiet = true;
    actor_calm(run);
    actor_release(run, true);
    if (!pass(run, weir_world_now(run->world) + bound_ns + 20 * WEIR_NS_PER_S, is_at_rest))
        say_unrest(run);
}

#define STILL_S 8u /* up to so long */

/* How long it may take until each connection whose other end is gone has been found dead. */
static uint64_t death_bound(const struct run *run)
{
    uint64_t most_ns = 0;
    for (uint32_t i = 0; i < run->node_cnt; i++) {
        const struct weir_config *cfg = &run->nodes[i].cfg;
        most_ns = weir_max_u64(most_ns, cfg->idle_timeout_ns + cfg->ping_interval_ns +
                                            cfg->ping_timeout_ns + cfg->stall_timeout_ns);
    }
    return most_ns;
}

/* Nobody wants anything any more. So when what died before has been found, no connection ends (model_down), however long
 * that lasts: pings are answered and keys are changed. Then everything is as it was. */
static void stay(struct run *run)
{
    run->is_still = true;
    uint64_t a_second_ns =
        weir_world_now(run->world) + WEIR_NS_PER_S; /* for what was asked for last */
    (void)pass(run, weir_max_u64(a_second_ns, run->healed_ns + death_bound(run)), NULL);
    if (run->res->is_failed)
        return;
    TRACE(run, "stillness");
    run->is_to_stay = true;
    (void)pass(run, weir_world_now(run->world) + run_below(run, STILL_S * WEIR_NS_PER_S), NULL);
    run->is_still = run->is_to_stay = false;
    if (!pass(run, weir_world_now(run->world) + 20 * WEIR_NS_PER_S, is_at_rest))
        say_unrest(run);
}

static void finish(struct run *run)
{
    TRACE(run, "the end");
    for (uint32_t i = 0; i < run->node_cnt; i++)
        node_stop(&run->nodes[i]);
    uint64_t end_ns = weir_world_now(run->world) + 20 * WEIR_NS_PER_S;
    while (!is_all_stopped(run) && weir_world_now(run->world) < end_ns && !run->res->is_failed)
        weir_world_run(run->world, SLICE_NS);
    for (uint32_t i = 0; i < run->node_cnt && !run->res->is_failed; i++) {
        node_reap(&run->nodes[i]);
        if (run->nodes[i].node)
            run_fail(run, "stop", "node %u has not stopped in time", i);
    }
    if (run->res->is_failed)
        return;
    if (weir_sim_sock_cnt(run->world->sim) != 0)
        run_fail(run, "account", "%u sockets are left", weir_sim_sock_cnt(run->world->sim));
    if (run->wraps_out || run->kept_cnt)
        run_fail(run, "release", "%llu buffers were not released, %u kept",
                 (unsigned long long)run->wraps_out, run->kept_cnt);
}

int prove_run(const struct prove_config *cfg, struct prove_result *ret_result)
{
    *ret_result = (struct prove_result){0};
    if (cfg->node_cnt > RUN_NODES_MAX)
        return WEIR_E_CONFIG;
    struct run *run = calloc(1, sizeof(*run));
    if (!run)
        return WEIR_E_NOMEM;
    run->cfg = *cfg;
    run->res = ret_result;
    run->rng = cfg->seed ^ UINT64_C(0x5765697250726F76);
    struct weir_world_config world_cfg;
    swarm_draw(run, &world_cfg);
    int error = weir_world_create(&run->world, &world_cfg);
    run->scratch = malloc(run->len_max + 64);
    uint32_t slot_cnt = RUN_SHARDS_MAX * RUN_SLOTS_MAX;
    run->slots = calloc((size_t)run->node_cnt * slot_cnt, sizeof(*run->slots));
    if (error || !run->scratch || !run->slots) {
        free(run->scratch);
        free(run->slots);
        free(run);
        return error ? error : WEIR_E_NOMEM;
    }
    for (uint32_t i = 0; i < run->node_cnt; i++)
        run->nodes[i].slots = &run->slots[i * slot_cnt];
    run->world->after_turn = oracle_turn;
    run->world->after_turn_ctx = run;
    weir_sim_set_watch(run->world->sim, stream_watch, run);
    for (uint32_t i = 0; i < run->node_cnt; i++)
        run_node_start(&run->nodes[i]);
    (void)pass(run, run->end_ns, run->cfg.duration_ns ? NULL : is_spent);
    if (!ret_result->is_failed)
        heal(run);
    if (!ret_result->is_failed)
        stay(run);
    if (!ret_result->is_failed)
        finish(run);
    ret_result->virtual_ns = weir_world_now(run->world) - WEIR_NS_PER_S;
    ret_result->turns = run->world->turn_cnt;
    ret_result->hash = weir_world_hash(run->world) ^ run->hash;
    if (ret_result->is_failed)
        return 0; /* who ends soon need not clean up, and what failed might not let itself be */
    weir_world_free(run->world);
    model_free(run);
    free(run->scratch);
    free(run->slots);
    free(run);
    return 0;
}
