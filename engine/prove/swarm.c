#include "engine/prove/run.h"

#include <stdio.h>
#include <string.h>

static const char *const class_names[PROVE_CLASS_CNT] = {
    "short",   "delay", "end",  "cq",        "enter", "full",    "refuse", "reset",      "loss",
    "corrupt", "cut",   "clog", "pause",     "crash", "restart", "memory", "disconnect", "dial",
    "hold",    "keep",  "slow", "broadcast", "large", "away",    "tight",  "lossy",
};

const char *prove_class_name(uint32_t idx)
{
    return idx < PROVE_CLASS_CNT ? class_names[idx] : NULL;
}

static uint64_t between(struct run *run, uint64_t low, uint64_t high)
{
    return low + run_below(run, high - low + 1);
}

/* Small values as likely as large ones. */
static uint64_t between_log(struct run *run, uint64_t low, uint64_t high)
{
    uint64_t top = high;
    for (uint64_t halvings = run_below(run, 16); halvings > 0 && top / 2 >= low; halvings--)
        top /= 2;
    return between(run, low, top);
}

static void draw_channel(struct run *run, struct run_node *node, uint32_t idx)
{
    struct weir_channel *channel = &node->channels[node->channel_cnt++];
    bool is_tight = run_is_on(run, PROVE_TIGHT);
    weir_channel_init(channel, (uint16_t)(1 + idx));
    channel->weight = run->weights[idx];
    channel->flags = run->is_urgent[idx] ? WEIR_CHANNEL_URGENT : 0;
    channel->msg_bytes_max = (uint32_t)between_log(run, 1000, run->len_max);
    uint32_t low = channel->msg_bytes_max > 16384 ? channel->msg_bytes_max : 16384;
    channel->send_bytes_max =
        (uint32_t)between_log(run, channel->msg_bytes_max, is_tight ? 2 * low : 1 << 20);
    channel->recv_bytes_max = (uint32_t)between_log(run, low, is_tight ? 2 * low : 1 << 20);
    if (run_is_on(run, PROVE_LOSSY) && run_chance(run, 30))
        channel->overflow = run_chance(run, 80) ? WEIR_OVERFLOW_DROP_OLDEST : WEIR_OVERFLOW_CLOSE;
}

static void draw_node(struct run *run, uint32_t idx)
{
    struct run_node *node = &run->nodes[idx];
    bool is_tight = run_is_on(run, PROVE_TIGHT);
    *node = (struct run_node){.run = run, .idx = idx, .host = idx + 1};
    struct weir_config *cfg = &node->cfg;
    weir_config_init(cfg);
    cfg->shard_cnt = (uint32_t)between(run, 1, RUN_SHARDS_MAX);
    cfg->peers_max = (uint32_t)between(run, 3 * run->node_cnt, RUN_SLOTS_MAX);
    cfg->handshakes_max = (uint32_t)between(run, 4, 16);
    if (is_tight) /* the other nodes are strangers too, as often as a fault keeps them from becoming peers */
        cfg->accept_rate = (uint32_t)between_log(run, 5, 500);
    cfg->dials_max = (uint32_t)between(run, run->node_cnt + 2, 24);
    cfg->frame_bytes_max = (uint32_t)between_log(run, 4096, 65536);
    cfg->send_bytes_max = (uint32_t)between_log(run, 4096, 262144);
    cfg->send_bytes_contended = (uint32_t)between_log(run, 4096, cfg->send_bytes_max);
    cfg->recv_buf_bytes = (uint32_t)between_log(run, 2048, 65536);
    cfg->recv_buf_cnt = 2u << run_below(run, is_tight ? 2 : 4);
    cfg->pool_bytes_max = is_tight ? between(run, 4 << 20, 16 << 20) : 64 << 20;
    cfg->peer_bytes_max = is_tight ? between(run, 1 << 20, 2 << 20) : 16 << 20;
    cfg->mailbox_bytes_max = (uint32_t)(is_tight ? between(run, 65536, 300000) : 4 << 20);
    cfg->handshake_timeout_ns = between(run, 1000, 4000) * WEIR_NS_PER_MS;
    cfg->dial_timeout_ns = between(run, 500, 3000) * WEIR_NS_PER_MS;
    cfg->ping_interval_ns = between(run, 500, 4000) * WEIR_NS_PER_MS;
    cfg->ping_timeout_ns = between(run, 1000, 5000) * WEIR_NS_PER_MS;
    cfg->idle_timeout_ns = between(run, 5000, 10000) * WEIR_NS_PER_MS;
    cfg->stall_timeout_ns = between(run, 2000, 10000) * WEIR_NS_PER_MS;
    cfg->redial_min_ns = between(run, 5, 300) * WEIR_NS_PER_MS;
    cfg->redial_max_ns = cfg->redial_min_ns + between(run, 0, 2000) * WEIR_NS_PER_MS;
    /* The world damages bytes, and an honest peer pays for it. A ban that ends soon is part of the run: nodes
     * must come together again after it. */
    cfg->ban_ns = WEIR_NS_PER_S;
    cfg->goodbye_linger_ns = between(run, 50, 1000) * WEIR_NS_PER_MS;
    cfg->network_id = "proving-ground";
    for (uint32_t i = 0; i < run->channel_cnt; i++)
        if (i == 0 || run_chance(run, 90)) /* not everybody has every channel */
            draw_channel(run, node, i);
    node->reactor_cnt = node->channel_cnt > 1 && run_chance(run, 50) ? 2 : 1;
    node->channel_split = node->reactor_cnt == 2
                              ? 1 + (uint32_t)run_below(run, node->channel_cnt - 1)
                              : node->channel_cnt;
    node->tick_ns = between_log(run, 5, 500) * WEIR_NS_PER_MS;
    node->ops_max = (uint32_t)between_log(run, 1, 24);
    node->persist = (uint32_t)run_below(run, 1u << run->node_cnt) & ~(1u << idx);
    if (run->node_cnt > 1) /* a ring, so that all hear of each other */
        node->persist |= 1u << ((idx + 1) % run->node_cnt);
}

void swarm_draw(struct run *run, struct weir_world_config *ret_world)
{
    static const char *const profiles[] = {"6.1", "6.12", "6.18"};
    const char *profile = run->cfg.profile ? run->cfg.profile : profiles[run_below(run, 3)];
    snprintf(run->res->profile, sizeof(run->res->profile), "%.7s", profile);
    /* Half of the classes in a run, more or less: all at once hide each other. */
    uint32_t share = 10 + (uint32_t)run_below(run, 80);
    for (uint32_t i = 0; i < PROVE_CLASS_CNT; i++)
        if (run_chance(run, share))
            run->classes |= 1u << i;
    run->classes &= ~run->cfg.off;
    run->res->classes = run->classes;
    uint32_t node_cnt = (uint32_t)between(run, 2, 5);
    run->node_cnt = run->cfg.node_cnt ? run->cfg.node_cnt : node_cnt;
    uint64_t duration_ns = between(run, 10, 60) * WEIR_NS_PER_S;
    if (run->cfg.duration_ns)
        duration_ns = run->cfg.duration_ns;
    run->len_max = run_is_on(run, PROVE_LARGE) ? (uint32_t)between_log(run, 70000, 400000) : 20000;
    run->channel_cnt = (uint32_t)between(run, 1, RUN_CHANNELS_MAX);
    for (uint32_t i = 0; i < run->channel_cnt; i++) {
        run->is_urgent[i] = run_chance(run, 25);
        run->weights[i] = (uint16_t)between_log(run, 1, 1000);
    }
    *ret_world = (struct weir_world_config){
        .size = sizeof(*ret_world),
        .seed = run->cfg.seed,
        .faults = run->classes & WEIR_FAULTS_ALL,
        .profile = profile,
        .latency_ns = between_log(run, 10, 50000) * WEIR_NS_PER_US,
        .bytes_per_s = run_chance(run, 50) ? between_log(run, 1 << 20, 1 << 30) : 0,
        .window_bytes = (uint32_t)between_log(run, 4096, 300000),
        .turn_us_max = (uint32_t)between_log(run, 5, 200),
    };
    run->end_ns = WEIR_NS_PER_S + duration_ns;
    for (uint32_t i = 0; i < run->node_cnt; i++)
        draw_node(run, i);
    policy_draw(run);
}
