/* Encrypted nodes in a simulated world: what takes minutes, or must be the same each time. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "weir/sim.h"
#include "weir/weir.h"

TestSuite(secure_sim, .timeout = 300);

#define S WEIR_NS_PER_S
#define MS WEIR_NS_PER_MS

struct end {
    weir_node *node;
    uint32_t ups, fails, fails_by[WEIR_REASON_CNT];
    weir_peer peer;
};

static weir_world *world;
static struct end a, b;

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct end *end = ctx;
    end->ups += event == WEIR_PEER_UP;
    if (event == WEIR_PEER_UP)
        end->peer = peer;
    if (event != WEIR_PEER_FAILED)
        return;
    end->fails++;
    end->fails_by[reason]++;
}

static void begin(uint64_t seed)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = seed};
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
}

static void start(struct end *end, uint32_t host, const struct weir_config *cfg)
{
    *end = (struct end){0};
    cr_assert_eq(weir_world_node_create(world, host, cfg, &end->node), 0);
    struct weir_channel channel;
    weir_channel_init(&channel, 1);
    struct weir_reactor reactor = {.size = sizeof(reactor), .ctx = end, .on_peer = on_peer};
    cr_assert_eq(weir_node_attach(end->node, &reactor, &channel, 1), 0);
    char address[48];
    snprintf(address, sizeof(address), "10.0.0.%u:7000", host);
    cr_assert_eq(weir_node_listen(end->node, address), 0);
    cr_assert_eq(weir_node_start(end->node), 0);
}

static int is_up(void *ctx)
{
    (void)ctx;
    return a.ups > 0;
}

/* `b` is plain, and `a` prefers encryption and dials again soon. */
static void begin_with_a_plain_node(uint64_t seed)
{
    begin(seed);
    struct weir_config cfg;
    weir_config_init(&cfg);
    cfg.secure = WEIR_SECURE_PLAIN;
    start(&b, 2, &cfg);
    cfg.secure = WEIR_SECURE_PREFER;
    cfg.redial_min_ns = cfg.redial_max_ns = 40 * MS;
    start(&a, 1, &cfg);
}

/* Each round of a dialer that prefers encryption is two connections to a plain node. One that dials faster than the
 * other lets connections in (5 a second, when the first 16 are used up) was let in for the first alone, always. */
Test(secure_sim, a_limit_on_new_connections_does_not_keep_a_fallback_from_a_plain_node)
{
    begin_with_a_plain_node(1);
    /* Uses up the first 16: nobody of them is plain enough, or encrypted enough. */
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(weir_dial(a.node, "10.0.0.2:7000", WEIR_DIAL_REQUIRE), 0);
        (void)weir_world_run(world, 20 * MS);
    }
    cr_assert_eq(a.ups, 0);
    cr_assert_gt(a.fails_by[WEIR_R_RESET], 0, "the limit is reached");
    cr_assert_eq(weir_dial(a.node, "10.0.0.2:7000", WEIR_DIAL_PERSIST), 0);
    cr_assert(weir_world_run_until(world, 20 * S, is_up, NULL));
    weir_world_free(world);
}

/* And its word does not hold for ever: who encrypts by now is asked again. */
Test(secure_sim, a_node_that_was_plain_is_asked_for_encryption_again)
{
    begin_with_a_plain_node(2);
    cr_assert_eq(weir_dial(a.node, "10.0.0.2:7000", WEIR_DIAL_PERSIST), 0);
    cr_assert(weir_world_run_until(world, 20 * S, is_up, NULL));
    weir_world_crash(world, b.node, 0);
    (void)weir_world_run(world, 5 * S);
    a.ups = 0;
    struct weir_config cfg;
    weir_config_init(&cfg);
    cfg.redial_min_ns = cfg.redial_max_ns = 40 * MS;
    cfg.secure = WEIR_SECURE_REQUIRE;
    start(&b, 2, &cfg);
    cr_assert(weir_world_run_until(world, 20 * S, is_up, NULL));
    cr_assert_eq(b.fails_by[WEIR_R_PLAIN_REFUSED], 0, "it did not try plain first");
    weir_world_free(world);
}
