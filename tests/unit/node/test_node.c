#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/mem/heap.h"
#include "tests/unit/node/node_fixture.h"

/* ---- create, attach, listen ----------------------------------------------------------------------- */

Test(node, create_takes_a_configuration_or_says_what_is_wrong)
{
    struct weir_config cfg = turning();
    weir_node *node = (weir_node *)&cfg;
    IS(weir_node_create(NULL, &cfg), WEIR_E_MISUSE);
    IS(weir_node_create(&node, NULL), WEIR_E_MISUSE);
    cfg.shard_cnt = 65;
    IS(weir_node_create(&node, &cfg), WEIR_E_CONFIG);
    cfg.shard_cnt = 64;
    cfg.size += 8;
    struct {
        struct weir_config cfg;
        uint64_t more;
    } newer = {cfg, 1};
    IS(weir_node_create(&node, &newer.cfg), WEIR_E_VERSION);
    cr_assert_eq(node, (weir_node *)&cfg, "untouched");
    newer.more = 0;
    IS(weir_node_create(&node, &newer.cfg), 0);
    weir_node_free(node);
    weir_node_free(NULL);
}

Test(node, create_without_memory_leaves_nothing)
{
    struct weir_config cfg = turning();
    weir_node *node = NULL;
    uint64_t n = 1;
    for (;; n++) {
        weir_heap_fail_nth(n);
        int error = weir_node_create(&node, &cfg);
        weir_heap_fail_nth(0);
        if (error == 0)
            break;
        IS(error, WEIR_E_NOMEM);
        cr_assert_null(node);
    }
    cr_assert_geq(n, 5);
    weir_node_free(node);
}

Test(node, a_channel_has_one_owner)
{
    struct weir_config cfg = turning();
    weir_node *node = make(&cfg);
    struct weir_channel channels[3] = {channel_of(1), channel_of(2), channel_of(1)};
    IS(weir_node_attach(NULL, &deaf, channels, 1), WEIR_E_MISUSE);
    IS(weir_node_attach(node, NULL, channels, 1), WEIR_E_MISUSE);
    IS(weir_node_attach(node, &deaf, NULL, 1), WEIR_E_MISUSE);
    IS(weir_node_attach(node, &deaf, NULL, 0), 0);
    IS(weir_node_attach(node, &deaf, channels, 3), WEIR_E_DUPLICATE);
    IS(weir_node_attach(node, &deaf, channels, 2),
       0); /* all or nothing: 1 and 2 were not taken before */
    channels[1].id = 3;
    IS(weir_node_attach(node, &deaf, channels + 1, 2), WEIR_E_DUPLICATE);
    channels[2].id = 4;
    channels[2].weight = 1001;
    IS(weir_node_attach(node, &deaf, channels + 1, 2), WEIR_E_CONFIG);
    channels[2].weight = 1000;
    IS(weir_node_attach(node, &deaf, channels + 1, 2), 0);
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    IS(weir_metrics_read(node, &metrics), 0);
    cr_assert_eq(metrics.channel_cnt, 4);
    for (uint16_t i = 0; i < 4; i++)
        cr_assert_eq(metrics.channels[i].id, i + 1);
    weir_node_free(node);
}

Test(node, attaching_has_its_limits)
{
    struct weir_config cfg = turning();
    weir_node *node = make(&cfg);
    struct weir_channel channels[66];
    for (uint16_t i = 0; i < 66; i++)
        channels[i] = channel_of((uint16_t)(1000 + i));
    IS(weir_node_attach(node, &deaf, channels, 65), WEIR_E_LIMIT);
    IS(weir_node_attach(node, &deaf, channels, 64), 0);
    IS(weir_node_attach(node, &deaf, channels + 65, 1), WEIR_E_LIMIT);
    for (int i = 1; i < 64; i++)
        IS(weir_node_attach(node, &deaf, NULL, 0), 0);
    IS(weir_node_attach(node, &deaf, NULL, 0), WEIR_E_LIMIT);
    weir_node_free(node);
}

/* A caller compiled against another version passes an array of its own stride. */
Test(node, channels_are_as_large_as_the_caller_says)
{
    struct weir_config cfg = turning();
    weir_node *node = make(&cfg);
    struct { /* of the first weir that there was: up to the weight and the flags */
        uint32_t size;
        uint16_t id, weight;
        uint32_t flags;
    } older[3] = {{12, 7, 3, 0}, {12, 8, 0, WEIR_CHANNEL_URGENT}, {12, 9, 5, 0}};
    struct {
        struct weir_channel channel;
        uint64_t more;
    } newer[2] = {{channel_of(20), 0}, {channel_of(21), 0}};
    newer[0].channel.size = newer[1].channel.size = sizeof(newer[0]);
    IS(weir_node_attach(node, &deaf, (const struct weir_channel *)(const void *)older, 3), 0);
    IS(weir_node_attach(node, &deaf, &newer[0].channel, 2), 0);
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    IS(weir_metrics_read(node, &metrics), 0);
    static const uint16_t ids[] = {7, 8, 9, 20, 21};
    cr_assert_eq(metrics.channel_cnt, 5);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(metrics.channels[i].id, ids[i]);
    struct {
        struct weir_reactor reactor;
        uint64_t more;
    } reactor = {{.size = sizeof(reactor)}, 1};
    IS(weir_node_attach(node, &reactor.reactor, NULL, 0), WEIR_E_VERSION);
    reactor.reactor.size = 3;
    IS(weir_node_attach(node, &reactor.reactor, NULL, 0), WEIR_E_CONFIG);
    weir_node_free(node);
}

/* Whether rings can be made here at all; without them the rest cannot be tried. */
Test(node, listening_says_where_or_why_not)
{
    need_ring();
    struct weir_config cfg = turning();
    weir_node *node = make(&cfg);
    char address[128] = "untouched";
    IS(weir_node_listen(NULL, "127.0.0.1:0"), WEIR_E_MISUSE);
    IS(weir_node_listen(node, NULL), WEIR_E_MISUSE);
    IS(weir_node_listen(node, "localhost:1"), WEIR_E_ADDRESS);
    IS(weir_node_listen(node, "127.0.0.1"), WEIR_E_ADDRESS);
    IS(weir_node_address(node, 0, address, sizeof(address)), WEIR_E_MISUSE);
    IS(weir_node_listen(node, "127.0.0.1:0"), 0);
    IS(weir_node_address(node, 0, address, 5), WEIR_E_TOO_BIG);
    cr_assert_str_eq(address, "untouched");
    IS(weir_node_address(node, 0, address, sizeof(address)), 0);
    cr_assert_eq(strncmp(address, "127.0.0.1:", 10), 0);
    cr_assert_neq(atoi(address + 10), 0);
    IS(weir_node_listen(node, address), WEIR_E_IN_USE);
    for (int i = 1; i < 16; i++)
        IS(weir_node_listen(node, "127.0.0.1:0"), 0);
    IS(weir_node_listen(node, "127.0.0.1:0"), WEIR_E_LIMIT);
    IS(weir_node_address(node, 16, address, sizeof(address)), WEIR_E_MISUSE);
    weir_node_free(node);
}

Test(node, several_shards_listen_at_one_port)
{
    need_ring();
    struct weir_config cfg = turning();
    cfg.shard_cnt = 3;
    weir_node *node = make(&cfg);
    char first[128], second[128];
    IS(weir_node_listen(node, "127.0.0.1:0"), 0);
    IS(weir_node_listen(node, "[::1]:0"), 0);
    IS(weir_node_address(node, 0, first, sizeof(first)), 0);
    IS(weir_node_address(node, 1, second, sizeof(second)), 0);
    cr_assert_eq(strncmp(second, "[::1]:", 6), 0);
    weir_node_free(node);
}

/* ---- states --------------------------------------------------------------------------------------- */

Test(node, each_call_knows_its_time)
{
    need_ring();
    struct weir_config cfg = turning();
    weir_node *node = make(&cfg);
    struct weir_channel channel = channel_of(1);
    IS(weir_node_start(NULL), WEIR_E_MISUSE);
    IS(weir_node_start(node), WEIR_E_CONFIG);      /* no channel */
    IS(weir_node_turn(node, 0, 0), WEIR_E_MISUSE); /* no shard yet */
    IS(weir_node_stop(node, 0), WEIR_E_STATE);
    IS((int)weir_broadcast(node, 1, "x", 1, NULL), WEIR_E_NO_CHANNEL);
    IS(weir_node_attach(node, &deaf, &channel, 1), 0);
    IS((int)weir_broadcast(node, 1, "x", 1, NULL), WEIR_E_STATE);
    IS(weir_node_listen(node, "127.0.0.1:0"), 0);
    IS((int)weir_node_turn(node, 0, 0), WEIR_E_STATE);
    IS(weir_node_start(node), 0);
    IS(weir_node_start(node), WEIR_E_STATE);
    channel.id = 2;
    IS(weir_node_attach(node, &deaf, &channel, 1), WEIR_E_STATE);
    IS(weir_node_listen(node, "127.0.0.1:0"), WEIR_E_STATE);
    IS((int)weir_node_turn(node, 1, 0), WEIR_E_MISUSE);
    IS((int)weir_node_turn(NULL, 0, 0), WEIR_E_MISUSE);
    cr_assert_geq(weir_node_turn(node, 0, 0), 0);
    IS(weir_node_stop(node, 0), 0);
    IS(weir_node_stop(node, 0), WEIR_E_STATE);
    IS(weir_dial(node, "127.0.0.1:1", 0), WEIR_E_STATE);
    int64_t res;
    for (int i = 0; (res = weir_node_turn(node, 0, WEIR_NS_PER_MS)) >= 0; i++)
        cr_assert_lt(i, 10000);
    IS((int)res, WEIR_E_STATE);
    IS((int)weir_node_turn(node, 0, 0), WEIR_E_STATE);
    weir_node_free(node);
}

static void *turn_elsewhere(void *ctx)
{
    IS((int)weir_node_turn(ctx, 0, 0), WEIR_E_MISUSE);
    return NULL;
}

Test(node, a_shard_belongs_to_the_thread_that_turned_it_first)
{
    need_ring();
    struct weir_config cfg = turning();
    weir_node *node = make(&cfg);
    struct weir_channel channel = channel_of(1);
    IS(weir_node_attach(node, &deaf, &channel, 1), 0);
    IS(weir_node_start(node), 0);
    cr_assert_geq(weir_node_turn(node, 0, 0), 0);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, turn_elsewhere, node), 0);
    pthread_join(thread, NULL);
    weir_node_free(node);
}

Test(node, a_node_may_be_freed_in_every_state)
{
    need_ring();
    for (int state = 0; state < 8; state++) {
        struct weir_config cfg = turning();
        if (state >= 6)
            cfg.flags = 0; /* the library's threads */
        weir_node *node = make(&cfg);
        struct weir_channel channel = channel_of(1);
        if (state > 0)
            IS(weir_node_attach(node, &deaf, &channel, 1), 0);
        if (state > 1)
            IS(weir_node_listen(node, "127.0.0.1:0"), 0);
        if (state > 2)
            IS(weir_dial(node, "127.0.0.1:1", WEIR_DIAL_PERSIST), 0);
        if (state > 3)
            IS(weir_node_start(node), 0);
        if (state == 5)
            cr_assert_geq(weir_node_turn(node, 0, 0), 0);
        if (state == 6)
            IS((int)weir_node_turn(node, 0, 0), WEIR_E_MISUSE);
        if (state == 7)
            IS(weir_node_stop(node, 0), 0);
        weir_node_free(node);
    }
}

/* ---- dialing -------------------------------------------------------------------------------------- */

Test(node, dialing_has_its_rules)
{
    need_ring();
    struct weir_config cfg = turning();
    weir_node *node = make(&cfg);
    IS(weir_dial(NULL, "127.0.0.1:1", 0), WEIR_E_MISUSE);
    IS(weir_dial(node, NULL, 0), WEIR_E_MISUSE);
    IS(weir_dial(node, "127.0.0.1:1", 32), WEIR_E_MISUSE);
    IS(weir_dial(node, "127.0.0.1:1", WEIR_DIAL_PLAIN | WEIR_DIAL_REQUIRE), WEIR_E_MISUSE);
    IS(weir_dial(node, "127.0.0.1:1", WEIR_DIAL_REQUIRE), WEIR_E_CONFIG); /* it is plain */
    IS(weir_dial(node, "weir1nonsense@127.0.0.1:1", 0), WEIR_E_KEY);
    IS(weir_dial(node, "127.0.0.1:0", 0), WEIR_E_ADDRESS);
    IS(weir_dial(node, "not an address", 0), WEIR_E_ADDRESS);
    IS(weir_dial_cancel(node, "127.0.0.1:1"), WEIR_E_GONE);
    IS(weir_dial_cancel(node, "what?"), WEIR_E_ADDRESS);
    IS(weir_dial_cancel(NULL, "127.0.0.1:1"), WEIR_E_MISUSE);
    for (int i = 1; i <= 4; i++) {
        char address[32];
        snprintf(address, sizeof(address), "127.0.0.1:%d", i);
        IS(weir_dial(node, address, WEIR_DIAL_PERSIST), 0);
    }
    IS(weir_dial(node, "127.0.0.1:5", 0), WEIR_E_LIMIT);
    /* What is cancelled makes room, once the shard has turned. */
    struct weir_channel channel = channel_of(1);
    IS(weir_node_attach(node, &deaf, &channel, 1), 0);
    IS(weir_node_start(node), 0);
    IS(weir_dial_cancel(node, "127.0.0.1:2"), 0);
    cr_assert_geq(weir_node_turn(node, 0, 0), 0);
    IS(weir_dial_cancel(node, "127.0.0.1:2"), WEIR_E_GONE);
    IS(weir_dial(node, "127.0.0.1:5", 0), 0);
    weir_node_free(node);
}

/* ---- nobody --------------------------------------------------------------------------------------- */

Test(node, a_peer_that_is_not_there_is_gone)
{
    need_ring();
    struct weir_config cfg = turning();
    weir_node *node = make(&cfg);
    struct weir_channel channel = channel_of(1);
    IS(weir_node_attach(node, &deaf, &channel, 1), 0);
    static const uint64_t ids[] = {0,
                                   1,
                                   UINT64_C(1) << 32,
                                   (UINT64_C(1) << 32) | 7, /* the last slot */
                                   (UINT64_C(1) << 32) | 8, /* one more */
                                   (UINT64_C(1) << 32) | 0xFFFFFF,
                                   (UINT64_C(1) << 32) | (1u << 24), /* another shard */
                                   UINT64_MAX};
    for (int is_started = 0; is_started < 3; is_started++) {
        if (is_started == 1)
            IS(weir_node_start(node), 0);
        if (is_started == 2)
            cr_assert_geq(weir_node_turn(node, 0, 0), 0);
        for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
            expect_gone(node, (weir_peer){ids[i]});
    }
    weir_peer nobody = {0};
    IS(weir_try_send(NULL, nobody, 1, "x", 1), WEIR_E_MISUSE);
    IS(weir_try_send(node, nobody, 1, NULL, 1), WEIR_E_MISUSE);
    IS(weir_try_send(node, nobody, 2, "x", 1), WEIR_E_NO_CHANNEL);
    IS(weir_send_buf(node, nobody, 1, NULL), WEIR_E_MISUSE);
    IS(weir_send(node, nobody, 1, "x", 1, 0), WEIR_E_SHARD_THREAD);
    IS(weir_disconnect(node, nobody, WEIR_REASON_CNT), WEIR_E_MISUSE);
    IS(weir_disconnect(node, nobody, -1), WEIR_E_MISUSE);
    IS(weir_channel_pause(node, nobody, 2, 1), WEIR_E_NO_CHANNEL);
    cr_assert_eq(weir_peer_shard((weir_peer){(UINT64_C(9) << 32) | (5u << 24) | 77}), 5);
    weir_node_free(node);
}

Test(node, a_reader_s_struct_is_as_large_as_it_says)
{
    struct weir_config cfg = turning();
    weir_node *node = make(&cfg);
    struct weir_metrics metrics;
    memset(&metrics, 0xEE, sizeof(metrics));
    metrics.size = 24; /* size, channel_cnt, turns, syscalls */
    IS(weir_metrics_read(node, &metrics), 0);
    cr_assert_eq(metrics.size, 24);
    cr_assert_eq(metrics.syscalls, 0);
    cr_assert_eq(metrics.completions, UINT64_C(0xEEEEEEEEEEEEEEEE), "not ours to write");
    metrics.size = sizeof(metrics) + 1;
    IS(weir_metrics_read(node, &metrics), WEIR_E_VERSION);
    metrics.size = 3;
    IS(weir_metrics_read(node, &metrics), WEIR_E_MISUSE);
    IS(weir_metrics_read(NULL, &metrics), WEIR_E_MISUSE);
    IS(weir_metrics_read(node, NULL), WEIR_E_MISUSE);
    weir_node_free(node);
}

/* ---- whose thread it is --------------------------------------------------------------------------- */

static void *turn_once(void *node)
{
    IS(weir_node_turn(node, 0, 0), 0);
    return NULL;
}

static void *send_from_here(void *node)
{
    weir_peer nobody = {UINT64_C(1) << 32};
    IS(weir_send(node, nobody, 1, "x", 1, 0), WEIR_E_GONE);
    return NULL;
}

/* The system gives the identity of a thread that has ended to the next one that begins. The node is
 * never freed: only the thread that turned it may. */
Test(node, a_later_thread_is_not_taken_for_the_shards)
{
    struct weir_config cfg = turning();
    struct weir_channel channel = channel_of(1);
    static weir_node *node;
    pthread_t thread;
    node = make(&cfg);
    IS(weir_node_attach(node, &deaf, &channel, 1), 0);
    IS(weir_node_start(node), 0);
    cr_assert_eq(pthread_create(&thread, NULL, turn_once, node), 0);
    pthread_join(thread, NULL);
    cr_assert_eq(pthread_create(&thread, NULL, send_from_here, node), 0);
    pthread_join(thread, NULL);
}
