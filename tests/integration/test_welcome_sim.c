/* A node that is welcome by its id, where 60 strangers of many subnets keep all places of a simulated node taken. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "engine/node/internal.h"
#include "weir/sim.h"
#include "weir/weir.h"

#define S WEIR_NS_PER_S
#define STRANGERS 60u
#define INBOUND_MAX 12u /* fewer than 17: nobody is evicted */

static weir_world *world;

struct member {
    weir_node *node;
    uint32_t host, up_cnt, down_cnt;
    int last_reason;
};

static struct member hub, friend, members[STRANGERS];

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct member *member = ctx;
    (void)peer;
    member->up_cnt += event == WEIR_PEER_UP;
    member->down_cnt += event == WEIR_PEER_DOWN;
    member->last_reason = reason;
}

static void make(struct member *member, uint32_t host, const char *address,
                 const struct weir_key *key)
{
    struct weir_config cfg;
    struct weir_channel channel;
    weir_config_init(&cfg);
    weir_channel_init(&channel, 1);
    cfg.peers_max = cfg.handshakes_max = host == 1 ? 128 : 4;
    cfg.dials_max = 2;
    cfg.recv_buf_bytes = 4096;
    cfg.recv_buf_cnt = 2;
    cfg.node_key = key;
    if (host == 1) {
        cfg.inbound_max = INBOUND_MAX;
        cfg.address_max = 1;
    }
    struct weir_reactor reactor = {.size = sizeof(reactor), .ctx = member, .on_peer = on_peer};
    *member = (struct member){.host = host};
    cr_assert_eq(weir_world_node_create(world, host, &cfg, &member->node), 0);
    cr_assert_eq(weir_node_attach(member->node, &reactor, &channel, 1), 0);
    cr_assert_eq(weir_node_listen(member->node, address), 0);
    cr_assert_eq(weir_node_start(member->node), 0);
}

static bool is_up(const struct member *member)
{
    return member->up_cnt > member->down_cnt;
}

static uint32_t strangers_up(void)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < STRANGERS; i++)
        cnt += is_up(&members[i]);
    return cnt;
}

static void begin(const struct weir_key *friend_key)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = 21};
    char address[64];
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
    make(&hub, 1, "10.0.0.1:7000", NULL);
    make(&friend, 2, "30.0.0.1:7000", friend_key);
    for (uint32_t i = 0; i < STRANGERS; i++) {
        snprintf(address, sizeof(address), "20.%u.0.1:7000", i);
        make(&members[i], 10 + i, address, NULL);
        cr_assert_eq(weir_dial(members[i].node, "10.0.0.1:7000", WEIR_DIAL_PERSIST), 0);
    }
    weir_world_run(world, 60 * S);
    cr_assert_eq(strangers_up(), INBOUND_MAX);
}

static const char *id_text(weir_node *node)
{
    static char text[WEIR_ID_TEXT_BYTES];
    struct weir_id id;
    cr_assert_eq(weir_node_id(node, &id), 0);
    return weir_id_text(&id, text);
}

static uint64_t closes(int reason)
{
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    cr_assert_eq(weir_metrics_read(hub.node, &metrics), 0);
    return metrics.closes[reason];
}

Test(welcome_sim, by_id_it_comes_in_where_all_places_are_taken, .timeout = 900)
{
    struct weir_key key = {.kind = WEIR_KEY_NODE, .secret = {9}};
    begin(&key);
    /* Nobody knows it: it is refused like the others. */
    cr_assert_eq(weir_dial(friend.node, "10.0.0.1:7000", WEIR_DIAL_PERSIST), 0);
    weir_world_run(world, 60 * S);
    cr_assert_eq(friend.up_cnt, 0);
    cr_assert_eq(weir_peer_welcome(hub.node, id_text(friend.node), 1), 0);
    weir_world_run(world, 60 * S);
    cr_assert(is_up(&friend));
    /* The strangers are tried now, and go for the reason that they would have been refused with. */
    uint64_t refused = closes(WEIR_R_LIMIT_INBOUND);
    weir_world_run(world, 60 * S);
    cr_assert_gt(closes(WEIR_R_LIMIT_INBOUND), refused);
    cr_assert_eq(strangers_up(), INBOUND_MAX);
    cr_assert_eq(hub.up_cnt - hub.down_cnt, INBOUND_MAX + 1);
    /* It takes nobody's place, and has no score. */
    weir_peer peers[2];
    cr_assert_eq(weir_peer_find(hub.node, id_text(friend.node), peers, 2), 1);
    cr_assert_eq(weir_blame(hub.node, peers[0], 1000000), 0);
    weir_world_run(world, 5 * S);
    cr_assert(is_up(&friend) && weir_ban_list(hub.node, NULL, 0) == 0);
    /* When it goes no place is given back that was not taken. */
    weir_world_crash(world, friend.node, 0);
    weir_world_run(world, 60 * S);
    cr_assert_eq(strangers_up(), INBOUND_MAX);
    cr_assert_eq(hub.up_cnt - hub.down_cnt, INBOUND_MAX);
    make(&friend, 2, "30.0.0.1:7000", &key);
    cr_assert_eq(weir_dial(friend.node, "10.0.0.1:7000", WEIR_DIAL_PERSIST), 0);
    weir_world_run(world, 60 * S);
    cr_assert(is_up(&friend), "%s", weir_reason_name(friend.last_reason));
    /* Not welcome any more: like everybody, from the next time on. A ban holds for the welcome as well. */
    cr_assert_eq(weir_ban(hub.node, id_text(friend.node), 10 * S, 0), 0);
    weir_world_run(world, 5 * S);
    cr_assert(!is_up(&friend));
    cr_assert_eq(weir_peer_welcome(hub.node, id_text(friend.node), 0), 0);
    cr_assert_eq(weir_peer_welcome(hub.node, id_text(friend.node), 0), WEIR_E_GONE);
    uint32_t ups = friend.up_cnt;
    weir_world_run(world, 120 * S);
    cr_assert_eq(friend.up_cnt, ups);
    cr_assert_eq(hub.node->shards[0]->trial_cnt, 0);
    weir_world_free(world);
}

/* Who comes through a limit like anybody and turns out to be welcome is not counted from then on. */
Test(welcome_sim, a_place_that_the_welcome_took_is_given_back, .timeout = 900)
{
    struct weir_key key = {.kind = WEIR_KEY_NODE, .secret = {9}};
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = 22};
    char address[64];
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
    make(&hub, 1, "10.0.0.1:7000", NULL);
    make(&friend, 2, "30.0.0.1:7000", &key);
    cr_assert_eq(weir_peer_welcome(hub.node, id_text(friend.node), 1), 0);
    cr_assert_eq(weir_dial(friend.node, "10.0.0.1:7000", WEIR_DIAL_PERSIST), 0);
    weir_world_run(world, 5 * S);
    cr_assert(is_up(&friend));
    for (uint32_t i = 0; i < STRANGERS; i++) {
        snprintf(address, sizeof(address), "20.%u.0.1:7000", i);
        make(&members[i], 10 + i, address, NULL);
        cr_assert_eq(weir_dial(members[i].node, "10.0.0.1:7000", WEIR_DIAL_PERSIST), 0);
    }
    weir_world_run(world, 60 * S);
    cr_assert_eq(strangers_up(), INBOUND_MAX);
    cr_assert(is_up(&friend) && friend.down_cnt == 0);
    weir_world_free(world);
}
