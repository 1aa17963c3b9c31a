/* Bans by id, address and subnet in a simulated world: 60 nodes keep one dialed, on addresses of their own. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "weir/sim.h"
#include "weir/weir.h"

#define S WEIR_NS_PER_S
#define CNT 60u

static weir_world *world;
static weir_node *nodes[CNT], *hub;
static bool is_up[CNT];
static uint32_t banned_cnt[CNT]; /* how often it was told so */

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    uint32_t own = *(uint32_t *)ctx;
    (void)peer;
    is_up[own] = event == WEIR_PEER_UP;
    banned_cnt[own] += reason == WEIR_R_BANNED;
}

static void add(uint32_t idx)
{
    static uint32_t idxs[CNT];
    char address[64];
    struct weir_config cfg;
    struct weir_channel channel;
    weir_config_init(&cfg);
    weir_channel_init(&channel, 1);
    cfg.peers_max = cfg.handshakes_max = 4;
    cfg.dials_max = 2;
    cfg.recv_buf_bytes = 4096;
    cfg.recv_buf_cnt = 2;
    idxs[idx] = idx;
    struct weir_reactor reactor = {.size = sizeof(reactor), .ctx = &idxs[idx], .on_peer = on_peer};
    cr_assert_eq(weir_world_node_create(world, 10 + idx, &cfg, &nodes[idx]), 0);
    cr_assert_eq(weir_node_attach(nodes[idx], &reactor, &channel, 1), 0);
    /* Six subnets of ten. */
    snprintf(address, sizeof(address), "20.0.%u.%u:7000", idx / 10, 1 + idx % 10);
    cr_assert_eq(weir_node_listen(nodes[idx], address), 0);
    cr_assert_eq(weir_node_start(nodes[idx]), 0);
    cr_assert_eq(weir_dial(nodes[idx], "10.0.0.1:7000", WEIR_DIAL_PERSIST), 0);
}

static uint32_t up_cnt(void)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < CNT; i++)
        cnt += is_up[i];
    return cnt;
}

static const char *id_of(weir_node *node)
{
    static char text[WEIR_ID_TEXT_BYTES];
    struct weir_id id;
    cr_assert_eq(weir_node_id(node, &id), 0);
    return weir_id_text(&id, text);
}

Test(ban_sim, by_id_address_and_subnet_until_they_end, .timeout = 900)
{
    struct weir_world_config world_cfg = {.size = sizeof(world_cfg), .seed = 11};
    struct weir_config cfg;
    struct weir_channel channel;
    weir_config_init(&cfg);
    weir_channel_init(&channel, 1);
    cfg.peers_max = 128;
    cr_assert_eq(weir_world_create(&world, &world_cfg), 0);
    cr_assert_eq(weir_world_node_create(world, 1, &cfg, &hub), 0);
    cr_assert_eq(weir_node_attach(hub, &(struct weir_reactor){.size = sizeof(struct weir_reactor)},
                                  &channel, 1),
                 0);
    cr_assert_eq(weir_node_listen(hub, "10.0.0.1:7000"), 0);
    cr_assert_eq(weir_node_start(hub), 0);
    for (uint32_t i = 0; i < CNT; i++)
        add(i);
    weir_world_run(world, 20 * S);
    cr_assert_eq(up_cnt(), CNT);
    /* Ids 0 to 9 but 5; addresses of 10 to 14; the subnet of 20 to 29. */
    for (uint32_t i = 0; i < 10; i++)
        if (i != 5)
            cr_assert_eq(weir_ban(hub, id_of(nodes[i]), 300 * S, 0), 0);
    for (uint32_t i = 10; i < 15; i++) {
        char address[32];
        snprintf(address, sizeof(address), "20.0.1.%u", 1 + i % 10);
        cr_assert_eq(weir_ban(hub, address, 300 * S, 0), 0);
    }
    cr_assert_eq(weir_ban(hub, "20.0.2.0/24", WEIR_NS_FOREVER, 0), 0);
    weir_world_run(world, 200 * S); /* they go on trying */
    for (uint32_t i = 0; i < CNT; i++) {
        bool is_banned = (i < 10 && i != 5) || (i >= 10 && i < 15) || (i >= 20 && i < 30);
        cr_assert_eq(is_up[i], !is_banned, "node %u", i);
        cr_assert_eq(banned_cnt[i] > 0, is_banned, "node %u was told %u times", i, banned_cnt[i]);
    }
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    cr_assert_eq(weir_metrics_read(hub, &metrics), 0);
    cr_assert_gt(metrics.closes[WEIR_R_BANNED], 24);
    /* They end by themselves, but that which does not. */
    weir_world_run(world, 200 * S);
    cr_assert_eq(up_cnt(), CNT - 10);
    cr_assert_eq(weir_unban(hub, "20.0.2.0/24"), 0);
    weir_world_run(world, 100 * S);
    cr_assert_eq(up_cnt(), CNT);
    cr_assert_eq(weir_ban_list(hub, NULL, 0), 0);
    weir_world_free(world);
}
