/* Whole nodes in a world (weir/sim.h): what is done to them shows as it should, and a seed says it all. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "engine/prove/world.h"
#include "weir/weir.h"

#define MS WEIR_NS_PER_MS
#define S WEIR_NS_PER_S

struct end {
    weir_node *node;
    uint32_t up_cnt, down_cnt, fail_cnt, msg_cnt;
    uint64_t down_ns, msg_ns;
    int reason;
    weir_peer peer;
};

static weir_world *world;
static struct end a, b;

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct end *end = ctx;
    end->up_cnt += event == WEIR_PEER_UP;
    end->down_cnt += event == WEIR_PEER_DOWN;
    end->fail_cnt += event == WEIR_PEER_FAILED;
    if (event == WEIR_PEER_UP)
        end->peer = peer;
    if (event == WEIR_PEER_DOWN) {
        end->reason = reason;
        end->down_ns = weir_world_now(world);
    }
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct end *end = ctx;
    (void)msgs;
    end->msg_cnt += msg_cnt;
    end->msg_ns = weir_world_now(world);
}

static void start(struct end *end, uint32_t host, uint32_t secure)
{
    *end = (struct end){0};
    struct weir_config cfg;
    weir_config_init(&cfg);
    cfg.secure = secure;
    cfg.ping_interval_ns = S;
    cfg.ping_timeout_ns = cfg.idle_timeout_ns = 3 * S;
    cfg.redial_min_ns = cfg.redial_max_ns = 500 * MS;
    cr_assert_eq(weir_world_node_create(world, host, &cfg, &end->node), 0);
    struct weir_channel channel;
    weir_channel_init(&channel, 1);
    struct weir_reactor reactor = {
        .size = sizeof(reactor), .ctx = end, .on_peer = on_peer, .on_batch = on_batch};
    cr_assert_eq(weir_node_attach(end->node, &reactor, &channel, 1), 0);
    char address[48];
    snprintf(address, sizeof(address), "10.0.0.%u:7000", host);
    cr_assert_eq(weir_node_listen(end->node, address), 0);
    cr_assert_eq(weir_node_start(end->node), 0);
}

/* Two nodes that are connected, `a` dials for ever. */
static void begin(uint64_t seed, uint32_t secure)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = seed, .latency_ns = MS};
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
    start(&a, 1, secure);
    start(&b, 2, secure);
    cr_assert_eq(weir_dial(a.node, "10.0.0.2:7000", WEIR_DIAL_PERSIST), 0);
    (void)weir_world_run(world, S);
    cr_assert(a.up_cnt == 1 && b.up_cnt == 1);
}

static void send(struct end *from)
{
    cr_assert_eq(weir_try_send(from->node, from->peer, 1, "hello", 5), 0);
}

Test(world, wrong_configurations_and_calls_are_refused)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .profile = "5.4"};
    cr_assert_eq(weir_world_create(&world, &cfg), WEIR_E_CONFIG);
    cfg = (struct weir_world_config){.size = sizeof(cfg), .faults = WEIR_FAULTS_ALL + 1};
    cr_assert_eq(weir_world_create(&world, &cfg), WEIR_E_CONFIG);
    cfg.faults = 0;
    cr_assert_eq(weir_world_create(NULL, &cfg), WEIR_E_MISUSE);
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
    struct weir_config node_cfg;
    weir_config_init(&node_cfg);
    weir_node *node;
    cr_assert_eq(weir_world_node_create(world, 0, &node_cfg, &node), WEIR_E_MISUSE);
    cr_assert_eq(weir_world_node_create(world, 65536, &node_cfg, &node), WEIR_E_MISUSE);
    cr_assert_eq(weir_world_node_create(world, 1, NULL, &node), WEIR_E_MISUSE);
    cr_assert_eq(weir_world_run(world, S), 0); /* nobody is there, and time passes */
    cr_assert_eq(weir_world_random(world, 0), 0);
    weir_world_free(world);
    weir_world_free(NULL);
}

static uint64_t hash_of_run(uint64_t seed)
{
    begin(seed, WEIR_SECURE_REQUIRE);
    weir_world_set_faults(world, WEIR_FAULT_SHORT | WEIR_FAULT_DELAY | WEIR_FAULT_LOSS);
    for (int i = 0; i < 20; i++) {
        if (a.up_cnt > a.down_cnt)
            send(&a);
        (void)weir_world_run(world, 100 * MS);
    }
    uint64_t hash = weir_world_hash(world);
    weir_world_free(world);
    return hash;
}

/* Keys too, ephemeral ones and those of nodes that were given none. */
Test(world, one_seed_is_one_run_encrypted_or_not)
{
    cr_assert_eq(hash_of_run(1), hash_of_run(1));
    cr_assert_neq(hash_of_run(1), hash_of_run(2));
}

Test(world, a_process_that_dies_is_heard_of_at_once_and_a_power_cut_by_its_silence)
{
    for (int is_power_cut = 0; is_power_cut < 2; is_power_cut++) {
        begin(3, WEIR_SECURE_PLAIN);
        uint64_t from_ns = weir_world_now(world);
        weir_world_crash(world, b.node, is_power_cut);
        (void)weir_world_run(world, 10 * S);
        cr_assert(a.down_cnt == 1 && b.down_cnt == 0, "a dead node's callbacks run no more");
        if (is_power_cut)
            cr_assert(a.reason == WEIR_R_PING_TIMEOUT || a.reason == WEIR_R_IDLE);
        else
            cr_assert(a.reason == WEIR_R_EOF || a.reason == WEIR_R_RESET);
        cr_assert_eq(a.down_ns > from_ns + S, is_power_cut);
        start(&b, 2, WEIR_SECURE_PLAIN); /* and it is found again */
        (void)weir_world_run(world, 10 * S);
        cr_assert(a.up_cnt == 2 && b.up_cnt == 1);
        weir_world_free(world);
    }
}

Test(world, a_way_that_is_cut_is_noticed_and_got_over)
{
    for (uint32_t from = 1; from <= 2; from++) {
        begin(4, WEIR_SECURE_PLAIN);
        weir_world_cut(world, from, 3 - from, 1);
        (void)weir_world_run(world, 20 * S);
        cr_assert(a.down_cnt == 1 && a.up_cnt == 1, "one way is as good as both");
        weir_world_cut(world, from, 3 - from, 0);
        (void)weir_world_run(world, 60 * S);
        cr_assert_eq(a.up_cnt, a.down_cnt + 1);
        weir_world_free(world);
    }
}

Test(world, a_slow_way_is_slow_until_it_is_not)
{
    begin(5, WEIR_SECURE_PLAIN);
    weir_world_slow(world, 1, 2, 300 * MS, 0);
    uint64_t from_ns = weir_world_now(world);
    send(&a);
    (void)weir_world_run(world, S);
    cr_assert(b.msg_cnt == 1 && b.msg_ns >= from_ns + 300 * MS && b.msg_ns < from_ns + 400 * MS);
    weir_world_slow(world, 1, 2, 0, 0);
    from_ns = weir_world_now(world);
    send(&a);
    (void)weir_world_run(world, S);
    cr_assert(b.msg_cnt == 2 && b.msg_ns < from_ns + 10 * MS);
    weir_world_free(world);
}

Test(world, a_paused_node_does_nothing_and_goes_on)
{
    begin(6, WEIR_SECURE_PLAIN);
    uint64_t from_ns = weir_world_now(world);
    weir_world_pause(world, b.node, 2 * S);
    send(&a);
    (void)weir_world_run(world, 4 * S);
    cr_assert(b.msg_cnt == 1 && b.msg_ns >= from_ns + 2 * S && b.msg_ns < from_ns + 3 * S);
    cr_assert_eq(a.down_cnt, 0);
    weir_world_free(world);
}

static int has_message(void *ctx)
{
    return ((struct end *)ctx)->msg_cnt > 0;
}

Test(world, a_run_ends_when_it_is_told_to)
{
    begin(7, WEIR_SECURE_PLAIN);
    uint64_t from_ns = weir_world_now(world);
    send(&a);
    cr_assert(weir_world_run_until(world, 10 * S, has_message, &b));
    cr_assert_lt(weir_world_now(world), from_ns + 100 * MS);
    b.msg_cnt = 0;
    cr_assert(!weir_world_run_until(world, S, has_message, &b));
    weir_world_free(world);
}

/* An accept that the kernel does not take is asked for again, and when that is not taken either, once more. */
Test(world, an_accept_that_is_refused_again_and_again_is_made_in_the_end)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = 8, .latency_ns = MS};
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
    start(&b, 2, WEIR_SECURE_PLAIN);
    for (int i = 0; i < 20; i++) { /* nothing else has operations */
        weir_sim_fail_nth(world->sim, 1, WEIR_E_FULL);
        (void)weir_world_run(world, 50 * MS);
    }
    weir_sim_fail_nth(world->sim, 0, 0);
    start(&a, 1, WEIR_SECURE_PLAIN);
    cr_assert_eq(weir_dial(a.node, "10.0.0.2:7000", 0), 0);
    (void)weir_world_run(world, 5 * S);
    cr_assert(a.up_cnt == 1 && b.up_cnt == 1);
    weir_world_free(world);
}
