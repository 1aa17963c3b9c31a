/* Limits of what a node dials, and what its filter says of dials, on real sockets. */
#include "engine/node/internal.h"
#include "tests/integration/harness.h"

IT_SUITE(outbound);

#define MANY 24u

static struct it_node a, b, many[MANY];

/* Nodes at 127.0.0.1, 127.0.0.2, ...: addresses like any others, with LIMIT_LOOPBACK. */
static void start_many(uint32_t cnt)
{
    char address[32];
    it_init(&a, "a");
    a.cfg.flags |= WEIR_CONFIG_LIMIT_LOOPBACK;
    a.cfg.redial_min_ns = a.cfg.redial_max_ns = 50 * IT_MS;
    for (uint32_t i = 0; i < cnt; i++) {
        snprintf(address, sizeof(address), "127.0.%u.%u:0", i / 4, 1 + i % 4);
        it_init(&many[i], "many");
        many[i].cfg.peers_max = 16;
        it_start(&many[i], address);
    }
}

static void stop_many(uint32_t cnt)
{
    it_stop(&a);
    for (uint32_t i = 0; i < cnt; i++)
        it_stop(&many[i]);
}

IT_TEST(outbound, each_limit_of_dials_refuses_with_its_reason)
{
    start_many(8);
    a.cfg.shard_cnt = 2; /* the limits are the node's, whichever shard dials */
    a.cfg.outbound_max = 5;
    a.cfg.outbound_address_max = 1;
    a.cfg.outbound_subnet_max = 3;
    it_start(&a, NULL);
    it_link(&a, &many[0]);
    IT_OK(weir_dial(a.node, many[0].address, 0));
    IT_WAIT(a.fail_by[WEIR_R_LIMIT_ADDRESS] == 1);
    it_link(&a, &many[1]);
    it_link(&a, &many[2]);
    IT_OK(weir_dial(a.node, many[3].address, 0));
    IT_WAIT(a.fail_by[WEIR_R_LIMIT_SUBNET] == 1);
    /* A persistent one comes again, and in when there is room. */
    IT_OK(weir_dial(a.node, many[3].address, WEIR_DIAL_PERSIST));
    IT_WAIT(a.fail_by[WEIR_R_LIMIT_SUBNET] >= 3);
    uint32_t ups = a.ups;
    IT_OK(weir_disconnect(a.node, it_peer(&a, 1), 0));
    IT_WAIT(a.ups == ups + 1 && many[3].ups == 1);
    it_link(&a, &many[4]);
    it_link(&a, &many[5]);
    IT_OK(weir_dial(a.node, many[6].address, 0));
    IT_WAIT(a.fail_by[WEIR_R_LIMIT_OUTBOUND] == 1);
    IT_OK(weir_dial_cancel(a.node, many[3].address));
    for (uint32_t left = a.up_cnt; left; left--) {
        uint32_t downs = a.downs;
        IT_OK(weir_disconnect(a.node, it_peer(&a, 0), 0));
        IT_WAIT(a.downs == downs + 1);
    }
    it_wait_empty(&a);
    IT_EQ(weir_admit_groups(a.node->guard.admit), 0);
    stop_many(8);
}

/* One at a time, on each of two shards, and all come up. */
IT_TEST(outbound, dials_that_wait_for_their_turn_are_all_made)
{
    start_many(MANY);
    a.cfg.shard_cnt = 2;
    a.cfg.dials_active_max = 1;
    it_start(&a, NULL);
    for (uint32_t i = 0; i < MANY; i++)
        IT_OK(weir_dial(a.node, many[i].address, 0));
    IT_WAIT(a.ups == MANY);
    IT_EQ(a.fails, 0);
    stop_many(MANY);
}

/* ---- the filter ---------------------------------------------------------------------------- */

static int say_no(void *ctx, const char *address, int is_dialer)
{
    (void)ctx;
    if (!is_dialer)
        return 0;
    return strncmp(address, "127.0.0.1:", 10) == 0   ? WEIR_R_NOT_NEEDED
           : strncmp(address, "127.0.0.2:", 10) == 0 ? 100000
                                                     : 0;
}

IT_TEST(outbound, a_filter_says_why_a_dial_is_not_made)
{
    struct weir_filter filter = {.size = sizeof(filter), .on_connect = say_no};
    char id[WEIR_ID_TEXT_BYTES], target[WEIR_ID_TEXT_BYTES + 128];
    start_many(3);
    a.cfg.secure = WEIR_SECURE_PREFER;
    it_create(&a, NULL);
    IT_OK(weir_filter_set(a.node, &filter));
    IT_OK(weir_node_start(a.node));
    IT_OK(weir_dial(a.node, many[0].address, 0));
    IT_WAIT(a.fails == 1);
    IT_EQ(a.fail_by[WEIR_R_NOT_NEEDED], 1);
    IT_OK(weir_dial(a.node, many[1].address, 0)); /* no reason that there is */
    IT_WAIT(a.fails == 2);
    IT_EQ(a.fail_by[WEIR_R_APPLICATION], 1);
    it_link(&a, &many[2]);
    /* A ban is a ban: of the address, and of the id that is dialed, before anything is connected. */
    it_init(&b, "b");
    b.cfg.secure = WEIR_SECURE_REQUIRE;
    it_start(&b, "127.0.0.9:0");
    struct weir_id own;
    IT_OK(weir_node_id(b.node, &own));
    snprintf(target, sizeof(target), "%s@%s", weir_id_text(&own, id), b.address);
    IT_OK(weir_ban(a.node, id, 0, 0));
    IT_OK(weir_dial(a.node, target, 0));
    IT_WAIT(a.fails == 3);
    IT_EQ(a.fail_by[WEIR_R_BANNED], 1);
    IT_EQ(it_metrics(&b)->accepted, 0);
    IT_OK(weir_ban(a.node, "127.0.0.0/8", 0, 0));
    IT_WAIT(a.downs == 1);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.fails == 4);
    IT_EQ(a.fail_by[WEIR_R_BANNED], 2);
    it_stop(&b);
    stop_many(3);
}
