/* Gossip in a simulated world: few nodes whose every step is known, and sixty on a bad network. */
#include "tests/sanitized.h"
#include "tests/unit/node/gossip_fixture.h"

/* ---- few nodes ----------------------------------------------------------------------------- */

Test(gossip, a_message_does_not_go_back_to_where_it_came_from)
{
    begin(2, 1);
    join(1, 0);
    run(WEIR_NS_PER_S);
    cr_assert_eq(publish(0, 1, 100), 1);
    cr_assert_eq(publish(0, 1, 100), 0, "seen");
    run(WEIR_NS_PER_S);
    cr_assert_eq(members[1].got[1], 1);
    cr_assert_eq(members[0].got[1], 0);
    cr_assert_eq(stats_of(0).duplicates + stats_of(1).duplicates, 0);
    cr_assert_eq(stats_of(1).pushed + stats_of(1).told, 0);
    cr_assert_eq(stats_of(0).published, 1);
    finish();
}

Test(gossip, a_large_message_crosses_into_each_node_once)
{
    begin(4, 1);
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t k = 0; k < i; k++)
            join(i, k);
    run(WEIR_NS_PER_S);
    cr_assert_eq(publish(0, 1, 300000), 3);
    run(3 * WEIR_NS_PER_S);
    uint64_t served = 0, asked = 0;
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(members[i].got[1], i != 0);
        cr_assert_eq(stats_of(i).duplicates, 0);
        cr_assert_eq(stats_of(i).pushed, 0);
        served += stats_of(i).served;
        asked += stats_of(i).asked;
    }
    cr_assert_eq(served, 3);
    cr_assert_eq(asked, 3);
    finish();
}

Test(gossip, who_was_not_pushed_to_asks)
{
    gossip_cfg.fanout = 1;
    begin(5, 1);
    for (uint32_t i = 1; i < 5; i++) /* a star: nobody else can pass it on */
        join(i, 0);
    run(WEIR_NS_PER_S);
    cr_assert_eq(publish(0, 1, 100), 4);
    run(90 * MS);
    uint32_t got = 0;
    for (uint32_t i = 1; i < 5; i++)
        got += members[i].got[1];
    cr_assert_eq(got, 1);
    run(WEIR_NS_PER_S);
    for (uint32_t i = 1; i < 5; i++)
        cr_assert_eq(members[i].got[1], 1);
    cr_assert_eq(stats_of(0).pushed, 1);
    cr_assert_eq(stats_of(0).told, 3);
    cr_assert_eq(stats_of(0).served, 3);
    finish();
}

Test(gossip, a_message_makes_no_more_hops_than_it_may)
{
    gossip_cfg.hop_max = 3;
    gossip_cfg.flags = WEIR_GOSSIP_NO_CATCH_UP;
    begin(6, 1);
    for (uint32_t i = 1; i < 6; i++) /* a line */
        join(i, i - 1);
    run(WEIR_NS_PER_S);
    (void)publish(0, 1, 100);
    run(2 * WEIR_NS_PER_S);
    for (uint32_t i = 1; i < 6; i++) {
        cr_assert_eq(members[i].got[1], i <= 3, "node %u", i);
        if (i <= 3)
            cr_assert_eq(members[i].hops[1], i - 1);
    }
    cr_assert_eq(stats_of(3).hop_limited, 1);
    finish();
}

Test(gossip, what_memory_is_too_short_for_is_counted_or_refused)
{
    gossip_cfg.flags = WEIR_GOSSIP_NO_CATCH_UP;
    begin(3, 1);
    join(1, 0);
    join(2, 1); /* a line */
    run(WEIR_NS_PER_S);
    weir_heap_fail_nth(1);
    cr_assert_eq(publish(0, 1, 100), WEIR_E_NOMEM);
    cr_assert_eq(stats_of(0).published, 0);
    cr_assert_eq(publish(0, 1, 100), 1, "nothing was done: it is not seen before");
    run(WEIR_NS_PER_S);
    cr_assert_eq(members[2].got[1], 1);
    short_at = 1;
    cr_assert_eq(publish(0, 2, 100), 1);
    run(WEIR_NS_PER_S);
    cr_assert_eq(members[1].got[2], 1);
    cr_assert_eq(members[2].got[2], 0);
    cr_assert_eq(stats_of(1).lost, 1);
    cr_assert_eq(publish(0, 3, 100), 1);
    run(WEIR_NS_PER_S);
    cr_assert_eq(members[2].got[3], 1);
    cr_assert_eq(stats_of(0).lost + stats_of(2).lost, 0);
    cr_assert_eq(stats_of(1).lost, 1);
    weir_heap_fail_nth(0);
    finish();
}

/* What a queue of gossip holds is as configured: of 40 messages that nobody reads, 4 or 9 or so. */
Test(gossip, its_queues_are_as_large_as_they_are_to_be)
{
    static const uint32_t bounds[2] = {20000, 50000};
    uint64_t refused[2];
    for (uint32_t k = 0; k < 2; k++) {
        gossip_cfg.flags = WEIR_GOSSIP_NO_CATCH_UP;
        gossip_cfg.msg_bytes_max = 5000;
        gossip_cfg.push_bytes_max = UINT32_MAX;
        gossip_cfg.send_bytes_max = bounds[k];
        gossip_cfg.recv_bytes_max = 16384;
        begin(2, 1);
        join(1, 0);
        run(WEIR_NS_PER_S);
        cr_assert_eq(weir_channel_pause(members[1].node, members[1].peer, WEIR_GOSSIP_CHANNEL, 1),
                     0);
        for (uint32_t i = 0; i < 40; i++) {
            (void)publish(0, i, 5000);
            run(MS);
        }
        struct weir_metrics metrics = {.size = sizeof(metrics)};
        cr_assert_eq(weir_metrics_read(members[0].node, &metrics), 0);
        refused[k] = metrics.channels[0].msgs_refused;
        uint64_t taken = 40 - refused[k];
        cr_assert_leq((taken - 16384 / 5000 - 1) * 5000, bounds[k], "%u of 40", (unsigned)taken);
        finish();
    }
    cr_assert_gt(refused[0], refused[1]);
    struct weir_gossip_config cfg = {
        .size = sizeof(cfg), .msg_bytes_max = 100000, .send_bytes_max = 100000};
    struct weir_config node_cfg = {.size = sizeof(node_cfg), .secure = WEIR_SECURE_PLAIN};
    weir_node *node;
    weir_gossip *gossip;
    cr_assert_eq(weir_node_create(&node, &node_cfg), 0);
    cr_assert_eq(weir_gossip_create(&gossip, node, &cfg), WEIR_E_CONFIG, "less than a message");
    cfg.send_bytes_max += WEIR_GOSSIP_HEAD_BYTES;
    cr_assert_eq(weir_gossip_create(&gossip, node, &cfg), 0);
    weir_node_free(node);
    weir_gossip_free(gossip);
}

Test(gossip, the_application_decides_what_goes_on)
{
    begin(4, 1);
    for (uint32_t i = 1; i < 4; i++)
        join(i, i - 1);
    run(WEIR_NS_PER_S);
    members[1].verdict = WEIR_GOSSIP_KEEP;
    (void)publish(0, 1, 100);
    run(WEIR_NS_PER_S);
    cr_assert(members[1].got[1] == 1 && members[2].got[1] == 0);
    members[1].verdict = WEIR_GOSSIP_REJECT;
    (void)publish(0, 2, 100);
    run(WEIR_NS_PER_S);
    cr_assert(members[1].got[2] == 1 && members[2].got[2] == 0);
    cr_assert_eq(stats_of(1).rejected, 1);
    members[1].verdict = WEIR_GOSSIP_RELAY;
    run(5 * WEIR_NS_PER_S); /* whoever was blamed may have been disconnected */
    (void)publish(0, 3, 100);
    run(WEIR_NS_PER_S);
    cr_assert_eq(members[3].got[3], 1);
    finish();
}

Test(gossip, who_comes_later_is_told_of_what_went_before)
{
    begin(3, 1);
    join(1, 0);
    run(WEIR_NS_PER_S);
    for (uint32_t i = 0; i < 100; i++)
        cr_assert_eq(publish(0, i, 50 + i * 100), 1);
    run(WEIR_NS_PER_S);
    join(2, 1);
    run(3 * WEIR_NS_PER_S);
    for (uint32_t i = 0; i < 100; i++)
        cr_assert_eq(members[2].got[i], 1, "message %u: %u", i, members[2].got[i]);
    /* What is older than age_max is not asked for any more. */
    make(3);
    run(70 * WEIR_NS_PER_S);
    cr_assert_eq(stats_of(1).stored, 0);
    join(3, 1);
    run(3 * WEIR_NS_PER_S);
    cr_assert_eq(stats_of(3).delivered, 0);
    finish();
}

Test(gossip, misuse_is_refused)
{
    begin(1, 1);
    uint8_t id[16];
    cr_assert_eq(weir_gossip_publish(members[0].gossip, "a", 0, id), WEIR_E_MISUSE);
    cr_assert_eq(publish(0, 1, 1 << 20), 0);
    static uint8_t big[(1 << 20) + 1];
    cr_assert_eq(weir_gossip_publish(members[0].gossip, big, sizeof(big), NULL), WEIR_E_TOO_BIG);
    struct weir_gossip_config cfg = {.size = sizeof(cfg), .hop_max = 256};
    weir_gossip *gossip;
    cr_assert_eq(weir_gossip_create(&gossip, members[0].node, &cfg), WEIR_E_CONFIG);
    cfg.hop_max = 0;
    cr_assert_eq(weir_gossip_create(&gossip, members[0].node, &cfg), WEIR_E_STATE);
    finish();
}

/* ---- sixty on a bad network ---------------------------------------------------------------- */

Test(gossip, sixty_nodes_all_get_each_message_once_on_a_bad_network, .timeout = 200)
{
    uint32_t seed_cnt = all_or_few(3, 1);
    for (uint64_t seed = 1; seed <= seed_cnt; seed++) {
        memset(members, 0, sizeof(members));
        gossip_cfg.fanout = 3;
        begin(NODES_MAX, seed);
        for (uint32_t i = 1; i < NODES_MAX; i++)
            for (uint32_t k = 0; k < 4 && k < i; k++)
                join(i, k == 0 ? i - 1 : (uint32_t)weir_world_random(world, i));
        run(5 * WEIR_NS_PER_S);
        weir_world_set_faults(world, WEIR_FAULT_SHORT | WEIR_FAULT_DELAY | WEIR_FAULT_LOSS |
                                         WEIR_FAULT_RESET | WEIR_FAULT_END);
        uint32_t from[MESSAGES_MAX];
        for (uint32_t number = 0; number < 60; number++) {
            from[number] = (uint32_t)weir_world_random(world, NODES_MAX);
            cr_assert_geq(publish(from[number], number, number % 5 == 0 ? 30000 : 40 + number), 0);
            run(weir_world_random(world, 100) * MS);
        }
        weir_world_set_faults(world, 0);
        run(30 * WEIR_NS_PER_S);
        for (uint32_t number = 0; number < 60; number++)
            for (uint32_t i = 0; i < NODES_MAX; i++)
                cr_assert_eq(members[i].got[number], i != from[number],
                             "seed %lu: node %u got %u %u times", seed, i, number,
                             members[i].got[number]);
        for (uint32_t i = 0; i < NODES_MAX; i++)
            cr_assert_eq(stats_of(i).faults, 0);
        finish();
    }
}
