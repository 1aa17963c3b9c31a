/* A node whose inbound places are all taken, and one who wants them all: 300 nodes of 8 subnets dial it for ever. */
#include "tests/integration/mesh.h"

#define S WEIR_NS_PER_S
#define FIRST 40u  /* honest ones that are there before */
#define LATER 20u  /* and that come when it is full */
#define CROWD 300u /* of 8 subnets */
#define VICTIM "19.0.0.1:7000"

static uint32_t honest_ups, honest_evictions;

static void honest_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)ctx;
    (void)peer;
    if (event == WEIR_PEER_UP)
        honest_ups++;
    if (event == WEIR_PEER_DOWN)
        honest_ups--;
    honest_evictions += event == WEIR_PEER_DOWN && reason == WEIR_R_EVICTED;
}

static void add_dialer(uint32_t host, const char *address, bool is_honest)
{
    weir_node *node;
    struct weir_config cfg = mesh.cfg;
    cfg.peers_max = 4;
    cfg.handshakes_max = 4;
    cfg.dials_max = 2;
    cr_assert_eq(weir_world_node_create(mesh.world, host, &cfg, &node), 0);
    struct weir_reactor reactor = {.size = sizeof(reactor), .on_peer = honest_peer};
    struct weir_channel channel;
    weir_channel_init(&channel, WEIR_DISCOVERY_CHANNEL);
    if (!is_honest)
        reactor.on_peer = NULL;
    cr_assert_eq(weir_node_attach(node, &reactor, &channel, 1), 0);
    cr_assert_eq(weir_node_listen(node, address), 0);
    cr_assert_eq(weir_node_start(node), 0);
    cr_assert_eq(weir_dial(node, VICTIM, WEIR_DIAL_PERSIST), 0);
}

static void add_honest(uint32_t begin, uint32_t end)
{
    char address[64];
    for (uint32_t i = begin; i < end; i++) {
        snprintf(address, sizeof(address), "60.%u.0.1:7000", i);
        add_dialer(1000 + i, address, true);
    }
}

Test(evict_sim, a_crowd_displaces_nobody_but_itself, .timeout = 900)
{
    char address[64];
    mesh_begin(5, 128);
    mesh.disco.outbound_cnt = 8;
    struct mesh_node *victim = mesh_add(VICTIM);
    add_honest(0, FIRST);
    weir_world_run(mesh.world, 60 * S);
    cr_assert_eq(honest_ups, FIRST);
    for (uint32_t i = 0; i < CROWD; i++) {
        snprintf(address, sizeof(address), "200.%u.%u.1:7000", i % 8, i / 8);
        add_dialer(20000 + i, address, false);
    }
    weir_world_run(mesh.world, 300 * S);
    struct weir_discovery_info info = {.size = sizeof(info)};
    cr_assert_eq(weir_discovery_read(victim->disco, &info), 0);
    /* Of 128 slots 18 are for its own dials; one or two may just be changing hands. */
    cr_assert(info.inbound_cnt >= 105 && info.inbound_cnt <= 110, "%u inbound", info.inbound_cnt);
    cr_assert_eq(honest_evictions, 0);
    cr_assert_eq(honest_ups, FIRST);
    add_honest(FIRST, FIRST + LATER); /* each takes a place of the crowd's */
    weir_world_run(mesh.world, 600 * S);
    cr_assert_eq(honest_ups, FIRST + LATER);
    cr_assert_eq(honest_evictions, 0);
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    cr_assert_eq(weir_metrics_read(victim->node, &metrics), 0);
    cr_assert_geq(metrics.closes[WEIR_R_EVICTED], LATER);
    cr_assert_gt(metrics.closes[WEIR_R_LIMIT_INBOUND], 0);
    mesh_end();
}
