/* weir_peer_welcome: addresses that no limit holds and no score counts, in a simulated world. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "weir/peers.h"
#include "weir/sim.h"

static weir_world *world;

struct member {
    weir_node *node;
    weir_peer peer;
    uint32_t up_cnt, down_cnt;
};

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct member *member = ctx;
    (void)reason;
    if (event == WEIR_PEER_UP)
        member->peer = peer;
    member->up_cnt += event == WEIR_PEER_UP;
    member->down_cnt += event == WEIR_PEER_DOWN;
}

static void make(struct member *member, uint32_t host)
{
    char address[32];
    struct weir_channel channel = {.size = sizeof(channel), .id = 1};
    struct weir_config cfg = {
        .size = sizeof(cfg), .peers_max = 8, .recv_buf_cnt = 2, .inbound_max = host == 1 ? 1 : 0};
    struct weir_reactor reactor = {.size = sizeof(reactor), .ctx = member, .on_peer = on_peer};
    *member = (struct member){0};
    cr_assert_eq(weir_world_node_create(world, host, &cfg, &member->node), 0);
    cr_assert_eq(weir_node_attach(member->node, &reactor, &channel, 1), 0);
    snprintf(address, sizeof(address), "10.0.0.%u:7000", host);
    cr_assert_eq(weir_node_listen(member->node, address), 0);
    int error = weir_node_start(member->node);
    cr_assert_eq(error, 0, "%s", weir_error_name(error));
}

static void dial(struct member *member)
{
    cr_assert_eq(weir_dial(member->node, "10.0.0.1:7000", 0), 0);
    (void)weir_world_run(world, 2 * WEIR_NS_PER_S);
}

Test(welcome, no_limit_and_no_score_is_for_who_is_welcome)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = 1};
    struct member hub, stranger, other, friend;
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
    make(&hub, 1);
    make(&stranger, 2);
    make(&other, 3);
    make(&friend, 4);
    cr_assert_eq(weir_peer_welcome(hub.node, "10.0.0", 1), WEIR_E_ADDRESS);
    cr_assert_eq(weir_peer_welcome(hub.node, "10.0.0.4", 0), WEIR_E_GONE);
    cr_assert_eq(weir_peer_welcome(hub.node, "10.0.0.4", 1), 0);
    cr_assert_eq(weir_peer_welcome(hub.node, "10.0.0.4", 1), 0, "twice is once");
    dial(&friend);
    dial(&stranger);
    dial(&other);
    cr_assert_eq(friend.up_cnt, 1);
    cr_assert_eq(stranger.up_cnt, 1, "the friend took no place");
    cr_assert_eq(other.up_cnt, 0);
    /* A score is for others, too. */
    weir_peer peers[4];
    cr_assert_eq(weir_peer_find(hub.node, "10.0.0.4", peers, 4), 1);
    cr_assert_eq(weir_blame(hub.node, peers[0], 1000), 0);
    (void)weir_world_run(world, 2 * WEIR_NS_PER_S);
    cr_assert(friend.down_cnt == 0 && weir_ban_list(hub.node, NULL, 0) == 0);
    cr_assert_eq(weir_peer_find(hub.node, "10.0.0.2", peers, 4), 1);
    cr_assert_eq(weir_blame(hub.node, peers[0], 1000), 0);
    (void)weir_world_run(world, 2 * WEIR_NS_PER_S);
    cr_assert(stranger.down_cnt == 1 && weir_ban_list(hub.node, NULL, 0) == 1);
    /* Bans hold for the welcome as well, and a place that was never taken is not given back. */
    dial(&other);
    cr_assert_eq(other.up_cnt, 1);
    cr_assert_eq(weir_disconnect(friend.node, friend.peer, 0), 0);
    (void)weir_world_run(world, 2 * WEIR_NS_PER_S);
    dial(&friend);
    cr_assert_eq(friend.up_cnt, 2);
    cr_assert_eq(weir_ban(hub.node, "10.0.0.4", 0, 0), 0);
    (void)weir_world_run(world, 2 * WEIR_NS_PER_S);
    cr_assert_eq(friend.down_cnt, 2);
    dial(&friend);
    cr_assert_eq(friend.up_cnt, 2);
    /* Not welcome any more: counted like everybody. */
    cr_assert_eq(weir_unban(hub.node, "10.0.0.4/32"), 0);
    cr_assert_eq(weir_peer_welcome(hub.node, "10.0.0.4", 0), 0);
    dial(&friend);
    cr_assert_eq(friend.up_cnt, 2);
    char prefix[32];
    for (uint32_t i = 0; i <= WEIR_WELCOME_MAX; i++) {
        snprintf(prefix, sizeof(prefix), "10.1.%u.%u", i / 256, i % 256);
        cr_assert_eq(weir_peer_welcome(hub.node, prefix, 1),
                     i < WEIR_WELCOME_MAX ? 0 : WEIR_E_LIMIT);
    }
    weir_world_free(world);
}
