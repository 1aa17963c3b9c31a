/* How many dials are under way at once, and to how many addresses of a subnet, in a simulated world: one node dials 60 that
 * are there and 60 that never answer. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "engine/node/internal.h"
#include "weir/sim.h"
#include "weir/weir.h"

#define S WEIR_NS_PER_S
#define CNT 60u
#define ACTIVE_MAX 8u

static weir_world *world;
static weir_node *hub, *nodes[CNT];
static uint32_t up_cnt, failed_cnt, failed_by[WEIR_REASON_CNT], active_most, turns;

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)ctx;
    (void)peer;
    up_cnt += event == WEIR_PEER_UP;
    up_cnt -= event == WEIR_PEER_DOWN;
    failed_cnt += event == WEIR_PEER_FAILED;
    failed_by[reason] += event == WEIR_PEER_FAILED;
}

static weir_node *make(uint32_t host, const char *address, struct weir_config *cfg, bool is_hub)
{
    weir_node *node;
    struct weir_channel channel;
    struct weir_reactor reactor = {.size = sizeof(reactor), .on_peer = is_hub ? on_peer : NULL};
    weir_channel_init(&channel, 1);
    cfg->secure = WEIR_SECURE_PLAIN;
    cfg->recv_buf_bytes = 4096;
    cfg->recv_buf_cnt = 2;
    cr_assert_eq(weir_world_node_create(world, host, cfg, &node), 0);
    cr_assert_eq(weir_node_attach(node, &reactor, &channel, 1), 0);
    cr_assert_eq(weir_node_listen(node, address), 0);
    cr_assert_eq(weir_node_start(node), 0);
    return node;
}

static void begin(struct weir_config *hub_cfg)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = 31, .latency_ns = 20000000};
    char address[64];
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
    hub_cfg->peers_max = 256;
    hub = make(1, "10.0.0.1:7000", hub_cfg, true);
    for (uint32_t i = 0; i < CNT; i++) {
        struct weir_config own;
        weir_config_init(&own);
        own.peers_max = own.handshakes_max = 4;
        snprintf(address, sizeof(address), "20.0.%u.%u:7000", i / 10, 1 + i % 10);
        nodes[i] = make(10 + i, address, &own, false);
    }
}

/* Asked after each turn. */
static int watch(void *ctx)
{
    const struct weir_hub *own = &hub->shards[0]->hub;
    uint32_t active = 0;
    (void)ctx;
    turns++;
    for (uint32_t i = 0; i < own->cfg->peers_max; i++)
        active += own->conns[i].state == WEIR_CONN_DIALING;
    active_most = active > active_most ? active : active_most;
    return up_cnt == CNT && failed_cnt == CNT;
}

Test(dials_sim, no_more_are_under_way_than_may_be_and_all_are_made, .timeout = 900)
{
    struct weir_config cfg;
    char address[64];
    weir_config_init(&cfg);
    cfg.dials_active_max = ACTIVE_MAX;
    cfg.dial_timeout_ns = 2 * S;
    begin(&cfg);
    weir_world_pause(world, nodes[0], S / 10);
    for (uint32_t i = 0; i < CNT; i++) {
        /* From here there is no way, and no word of it: the dial's deadline ends it. */
        weir_world_cut(world, 1, 5000 + i, 1);
        snprintf(address, sizeof(address), "10.0.%u.%u:7000", (5000 + i) / 256, (5000 + i) % 256);
        cr_assert_eq(weir_dial(hub, address, 0), 0);
        snprintf(address, sizeof(address), "20.0.%u.%u:7000", i / 10, 1 + i % 10);
        cr_assert_eq(weir_dial(hub, address, 0), 0);
    }
    bool is_done = weir_world_run_until(world, 120 * S, watch, NULL);
    cr_assert(is_done, "%u up, %u failed", up_cnt, failed_cnt);
    cr_assert_gt(turns, 0);
    cr_assert_eq(active_most, ACTIVE_MAX);
    weir_world_free(world);
}

Test(dials_sim, each_address_and_subnet_has_its_share_and_no_more, .timeout = 900)
{
    struct weir_config cfg;
    char address[64];
    weir_config_init(&cfg);
    cfg.outbound_subnet_max = 4;
    cfg.outbound_address_max = 1;
    begin(&cfg);
    for (uint32_t i = 0; i < CNT; i++) {
        snprintf(address, sizeof(address), "20.0.%u.%u:7000", i / 10, 1 + i % 10);
        cr_assert_eq(weir_dial(hub, address, 0), 0);
        if (i % 10 == 0)
            cr_assert_eq(weir_dial(hub, address, 0), 0);
    }
    weir_world_run(world, 30 * S);
    cr_assert_eq(up_cnt, 6 * 4);
    cr_assert_eq(failed_by[WEIR_R_LIMIT_ADDRESS], 6);
    cr_assert_eq(failed_by[WEIR_R_LIMIT_SUBNET], 6 * 6);
    cr_assert_eq(failed_cnt, 6 + 6 * 6);
    /* What goes makes room. */
    for (uint32_t i = 0; i < 4; i++) {
        weir_world_crash(world, nodes[i], 0);
        nodes[i] = NULL;
    }
    weir_world_run(world, 5 * S);
    cr_assert_eq(up_cnt, 5 * 4);
    for (uint32_t i = 4; i < 10; i++) {
        snprintf(address, sizeof(address), "20.0.0.%u:7000", 1 + i);
        cr_assert_eq(weir_dial(hub, address, 0), 0);
    }
    weir_world_run(world, 5 * S);
    cr_assert_eq(up_cnt, 6 * 4);
    weir_world_free(world);
}
