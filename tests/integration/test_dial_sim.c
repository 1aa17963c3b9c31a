/* Dials of one address, several at once and on several shards, in a simulated world. */
#include <criterion/criterion.h>

#include "weir/sim.h"
#include "weir/weir.h"

TestSuite(dial_sim, .timeout = 300);

#define NOBODY "10.0.0.9:7000"
#define OTHER "10.0.0.8:7000"

static weir_world *world;
static weir_node *node;
static uint64_t fail_cnt; /* each attempt ends so: nobody is there */

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)ctx;
    (void)peer;
    cr_assert(event == WEIR_PEER_FAILED && reason == WEIR_R_REFUSED);
    fail_cnt++;
}

static void begin(uint32_t shard_cnt)
{
    struct weir_world_config world_cfg = {.size = sizeof(world_cfg), .seed = 5};
    cr_assert_eq(weir_world_create(&world, &world_cfg), 0);
    struct weir_config cfg;
    weir_config_init(&cfg);
    cfg.secure = WEIR_SECURE_PLAIN;
    cfg.shard_cnt = shard_cnt;
    cfg.dials_max = 4;
    cfg.redial_min_ns = cfg.redial_max_ns = 20 * WEIR_NS_PER_MS;
    cr_assert_eq(weir_world_node_create(world, 1, &cfg, &node), 0);
    struct weir_channel channel;
    weir_channel_init(&channel, 1);
    struct weir_reactor reactor = {.size = sizeof(reactor), .on_peer = on_peer};
    cr_assert_eq(weir_node_attach(node, &reactor, &channel, 1), 0);
    cr_assert_eq(weir_node_start(node), 0);
}

static uint64_t fails_in(weir_ns duration)
{
    fail_cnt = 0;
    (void)weir_world_run(world, duration);
    return fail_cnt;
}

/* One dial for ever, and others that come and go, here and on the other shards. The one that is left over was looked
 * for on the shard of one that had gone, and never found. */
Test(dial_sim, a_dial_is_cancelled_whatever_other_dials_of_its_address_there_were)
{
    for (uint32_t shard_cnt = 1; shard_cnt <= 3; shard_cnt++) {
        for (uint32_t before = 0; before < 3; before++) {
            begin(shard_cnt);
            for (uint32_t i = 0; i < before; i++)
                cr_assert_eq(weir_dial(node, NOBODY, 0), 0);
            cr_assert_eq(weir_dial(node, NOBODY, WEIR_DIAL_PERSIST), 0);
            cr_assert_eq(weir_dial(node, NOBODY, 0), 0);
            cr_assert_gt(fails_in(WEIR_NS_PER_S), 20);
            cr_assert_eq(weir_dial_cancel(node, NOBODY), 0);
            (void)weir_world_run(world, WEIR_NS_PER_S);
            cr_assert_eq(fails_in(WEIR_NS_PER_S), 0, "%u shards, %u before it", shard_cnt, before);
            cr_assert_eq(weir_dial_cancel(node, NOBODY), WEIR_E_GONE);
            weir_world_free(world);
        }
    }
}

/* One for ever and another on one shard, a third elsewhere: when the second has ended, the third is not taken for
 * the first. Dials go to the shards in turn. */
Test(dial_sim, a_dial_for_ever_is_told_from_others_of_its_shard)
{
    begin(2);
    cr_assert_eq(weir_dial(node, OTHER, WEIR_DIAL_PERSIST), 0);
    cr_assert_eq(weir_dial(node, NOBODY, WEIR_DIAL_PERSIST), 0); /* on shard 1 */
    cr_assert_eq(weir_dial(node, OTHER, 0), 0);
    cr_assert_eq(weir_dial(node, NOBODY, 0), 0); /* on shard 1, and soon at its end */
    (void)weir_world_run(world, WEIR_NS_PER_S);
    cr_assert_eq(weir_dial(node, NOBODY, 0), 0); /* on shard 0 */
    cr_assert_eq(weir_dial_cancel(node, OTHER), 0);
    (void)weir_world_run(world, 100000); /* its connect is still on its way */
    cr_assert_eq(weir_dial_cancel(node, NOBODY), 0);
    (void)weir_world_run(world, WEIR_NS_PER_S);
    cr_assert_eq(fails_in(WEIR_NS_PER_S), 0);
    weir_world_free(world);
}

Test(dial_sim, places_for_dials_come_back)
{
    begin(2);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 4; i++)
            cr_assert_eq(weir_dial(node, NOBODY, 0), 0, "round %d", round);
        cr_assert_eq(weir_dial(node, NOBODY, 0), WEIR_E_LIMIT);
        (void)weir_world_run(world, WEIR_NS_PER_S);
    }
    for (int i = 0; i < 4; i++)
        cr_assert_eq(weir_dial(node, NOBODY, WEIR_DIAL_PERSIST), 0);
    cr_assert_eq(weir_dial(node, NOBODY, 0), WEIR_E_LIMIT);
    for (int i = 0; i < 4; i++) {
        (void)weir_world_run(world, WEIR_NS_PER_S);
        cr_assert_eq(weir_dial_cancel(node, NOBODY), 0);
    }
    (void)weir_world_run(world, WEIR_NS_PER_S);
    cr_assert_eq(fails_in(WEIR_NS_PER_S), 0);
    weir_world_free(world);
}
