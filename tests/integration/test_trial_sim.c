/* Strangers on trial where silent ones have taken all handshakes of a simulated node: one whom a limit lets in may have
 * the oldest of them make room, one on trial may not, or a trial would be a way around the limits. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "engine/prove/world.h"
#include "weir/weir.h"

#define MS WEIR_NS_PER_MS
#define S WEIR_NS_PER_S
#define PLACES 60u /* handshakes_max */

static weir_world *world;
static weir_node *node;

/* A stranger that says nothing; `subnet` is its own. */
static int come(uint32_t subnet)
{
    struct weir_addr to, from;
    char text[32];
    snprintf(text, sizeof(text), "20.%u.0.1:%u", subnet, 1000 + subnet);
    cr_assert(weir_addr_parse(&to, "10.0.0.1:7000") == 0 && weir_addr_parse(&from, text) == 0);
    int sock = weir_sim_raw_dial(world->sim, &to, &from);
    cr_assert_geq(sock, 0);
    weir_world_run(world, 10 * MS);
    return sock;
}

static struct weir_metrics metrics_now(void)
{
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    cr_assert_eq(weir_metrics_read(node, &metrics), 0);
    return metrics;
}

static bool is_closed(int sock)
{
    uint8_t bytes[16];
    int64_t got = weir_sim_raw_read(world->sim, sock, bytes, sizeof(bytes));
    return got == 0 || (got < 0 && got != -EAGAIN);
}

Test(trial_sim, who_is_on_trial_sends_nobody_away, .timeout = 300)
{
    struct weir_world_config world_cfg = {.size = sizeof(world_cfg), .seed = 23};
    struct weir_config cfg;
    struct weir_channel channel;
    struct weir_key key = {.kind = WEIR_KEY_NODE, .secret = {9}};
    struct weir_id id;
    char text[WEIR_ID_TEXT_BYTES];
    int socks[PLACES];
    weir_config_init(&cfg);
    weir_channel_init(&channel, 1);
    cfg.handshakes_max = PLACES;
    cfg.peers_max = 2 * PLACES;
    cfg.handshake_timeout_ns = 600 * S; /* nobody goes by himself */
    cfg.address_max = 1;
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    cr_assert_eq(weir_world_create(&world, &world_cfg), 0);
    cr_assert_eq(weir_world_node_create(world, 1, &cfg, &node), 0);
    cr_assert_eq(weir_node_attach(node, &reactor, &channel, 1), 0);
    cr_assert_eq(weir_node_listen(node, "10.0.0.1:7000"), 0);
    cr_assert_eq(weir_node_start(node), 0);
    cr_assert_eq(weir_key_id(&id, &key), 0);
    cr_assert_eq(weir_peer_welcome(node, weir_id_text(&id, text), 1), 0);
    for (uint32_t i = 0; i < PLACES; i++)
        socks[i] = come(i);
    cr_assert_eq(metrics_now().handshakes, PLACES);

    /* From an address that has its one connection: a limit refuses it, and it may show who it is, where there is room. */
    int on_trial = come(7);
    cr_assert_eq(metrics_now().handshakes_evicted, 0, "it has sent a stranger away");
    cr_assert(is_closed(on_trial), "there is no room for it");
    cr_assert_eq(metrics_now().closes[WEIR_R_LIMIT_HANDSHAKES], 1);
    for (uint32_t i = 0; i < PLACES; i++)
        cr_assert(!is_closed(socks[i]), "stranger %u", i);

    /* One that no limit refuses does: the oldest makes room. */
    int let_in = come(PLACES);
    cr_assert(!is_closed(let_in));
    cr_assert_eq(metrics_now().handshakes_evicted, 1);
    cr_assert(is_closed(socks[0]));

    /* And with room there is a trial, until its time is over and another one's begins. */
    weir_sim_raw_close(world->sim, socks[1]);
    weir_world_run(world, 10 * MS);
    cr_assert(!is_closed(come(7)));
    cr_assert_eq(metrics_now().handshakes_evicted, 1);
    cr_assert_eq(node->shards[0]->trial_cnt, 1);
    weir_world_free(world);
}
