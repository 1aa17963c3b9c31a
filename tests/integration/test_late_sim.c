/* A node that does not run for a while (a stopped process, a machine that has no core for it) and has few receive buffers:
 * its peers have answered its pings long before it looks, and it is not to take them for gone. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "engine/node/internal.h"
#include "weir/sim.h"
#include "weir/weir.h"

#define MS WEIR_NS_PER_MS
#define S WEIR_NS_PER_S
#define CNT 60u
#define HUB "10.0.0.1:7000"
#define PING_TIMEOUT (20 * S)

static weir_world *world;
static weir_node *hub, *nodes[CNT];

static weir_node *start(uint32_t host, bool is_hub)
{
    weir_node *node;
    struct weir_config cfg;
    struct weir_channel channel;
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    weir_config_init(&cfg);
    weir_channel_init(&channel, 1);
    cfg.secure = WEIR_SECURE_PLAIN;
    cfg.peers_max = cfg.handshakes_max = is_hub ? 128 : 4;
    cfg.recv_buf_bytes = 4096;
    cfg.recv_buf_cnt = 2;
    cfg.address_burst = cfg.subnet_burst = UINT32_MAX;
    /* The hub asks often; who is asked never asks. */
    cfg.ping_interval_ns = is_hub ? 5 * S : 3600 * S;
    cfg.ping_timeout_ns = is_hub ? PING_TIMEOUT : 3600 * S;
    cfg.idle_timeout_ns = cfg.stall_timeout_ns = is_hub ? 600 * S : 3600 * S;
    cr_assert_eq(weir_world_node_create(world, host, &cfg, &node), 0);
    cr_assert_eq(weir_node_attach(node, &reactor, &channel, 1), 0);
    if (is_hub)
        cr_assert_eq(weir_node_listen(node, HUB), 0);
    cr_assert_eq(weir_node_start(node), 0);
    return node;
}

static void begin(uint64_t seed)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = seed, .latency_ns = 50 * MS};
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
    hub = start(1, true);
    for (uint32_t i = 0; i < CNT; i++) {
        nodes[i] = start(10 + i, false);
        cr_assert_eq(weir_dial(nodes[i], HUB, 0), 0);
    }
    weir_world_run(world, 30 * S);
    cr_assert_eq(weir_peer_list(hub, NULL, 0), CNT);
}

/* Runs until so many of the hub's pings are on their way. */
static void until_asked(uint32_t cnt)
{
    const struct weir_hub *own = &hub->shards[0]->hub;
    for (uint32_t i = 0; i < 10000; i++) {
        uint32_t asked = 0;
        for (uint32_t k = 0; k < own->cfg->peers_max; k++)
            asked += own->conns[k].state == WEIR_CONN_READY && own->conns[k].ping_sent_ns != 0;
        if (asked >= cnt)
            return;
        weir_world_run(world, 5 * MS);
    }
    cr_assert_fail("it never asks %u at once", cnt);
}

static struct weir_metrics metrics_now(void)
{
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    cr_assert_eq(weir_metrics_read(hub, &metrics), 0);
    return metrics;
}

Test(late_sim, who_answered_while_a_node_did_not_run_stays, .timeout = 900)
{
    begin(101);
    for (uint32_t round = 0; round < 5; round++) {
        until_asked(CNT);
        uint64_t starved = metrics_now().recv_starved;
        weir_world_pause(world, hub, PING_TIMEOUT + 10 * S);
        weir_world_run(world, PING_TIMEOUT + 12 * S);
        cr_assert_gt(metrics_now().recv_starved, starved,
                     "it has buffers for all: this shows nothing");
        cr_assert_eq(metrics_now().closes[WEIR_R_PING_TIMEOUT], 0, "round %u", round);
        cr_assert_eq(weir_peer_list(hub, NULL, 0), CNT);
    }
    weir_world_free(world);
}

/* The same, and a third of them is gone without a word: those, and nobody else, are found out. */
Test(late_sim, who_did_not_goes, .timeout = 900)
{
    begin(102);
    until_asked(CNT);
    weir_world_pause(world, hub, PING_TIMEOUT + 10 * S);
    for (uint32_t i = 0; i < CNT; i += 3)
        weir_world_crash(world, nodes[i], 1);
    weir_world_run(world,
                   PING_TIMEOUT + 12 * S); /* their answers were on the way, and are not any more */
    weir_world_run(world, 2 * PING_TIMEOUT + 10 * S);
    cr_assert_eq(metrics_now().closes[WEIR_R_PING_TIMEOUT], CNT / 3);
    cr_assert_eq(weir_peer_list(hub, NULL, 0), CNT - CNT / 3);
    weir_world_free(world);
}
