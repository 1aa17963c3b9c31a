/* Names on real sockets: localhost through the system, the rest from a lookup of the test's own. */
#include "engine/node/internal.h"
#include "tests/integration/raw.h"

IT_SUITE(names);

static struct it_node a, b;

/* What the test's lookup answers, and what was asked. */
static struct table {
    _Atomic uint32_t asked;
    _Atomic uint32_t wait_ms;
    uint16_t reason;
    const char *addrs[4];
} table;

static uint16_t table_lookup(void *ctx, const char *name, uint16_t port,
                             struct weir_addr *ret_addrs, uint32_t addr_max, uint32_t *ret_addr_cnt)
{
    (void)ctx;
    (void)name;
    uint32_t cnt = 0;
    atomic_fetch_add(&table.asked, 1);
    usleep(1000 * atomic_load(&table.wait_ms));
    for (; cnt < addr_max && cnt < 4 && table.addrs[cnt]; cnt++) {
        char text[64];
        snprintf(text, sizeof(text), "%s:%u", table.addrs[cnt], port);
        if (weir_addr_parse(&ret_addrs[cnt], text) != 0)
            abort();
    }
    *ret_addr_cnt = cnt;
    return table.reason;
}

static void start_with_table(struct it_node *node)
{
    it_create(node, NULL);
    node->node->lookup = table_lookup;
    node->looks_up = true;
    IT_OK(weir_node_start(node->node));
}

static const char *port_of(const struct it_node *node)
{
    return strrchr(node->address, ':');
}

IT_TEST(names, localhost_by_the_system)
{
    it_init(&a, "a");
    it_init(&b, "b");
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    char target[64];
    snprintf(target, sizeof(target), "LocalHost%s", port_of(&b));
    IT_OK(weir_dial(a.node, target, WEIR_DIAL_PERSIST));
    IT_WAIT(a.ups == 1 && b.ups == 1);
    struct weir_peer_info info = {.size = sizeof(info)};
    IT_OK(it_info(&a, it_peer(&a, 0), &info));
    cr_assert_str_eq(info.address, b.address);
    snprintf(target, sizeof(target), "localhost%s", port_of(&b));
    cr_assert_str_eq(info.dialed, target);
    IT_OK(it_info(&b, it_peer(&b, 0), &info));
    cr_assert_str_eq(info.dialed, "");
    IT_IS(weir_dial_cancel(a.node, "LOCALHOST:1"), WEIR_E_GONE);
    IT_OK(weir_dial_cancel(a.node, target));
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(names, an_address_that_refuses_gives_way_to_the_next)
{
    it_init(&a, "a");
    it_init(&b, "b");
    it_start(&b, "127.0.0.1:0");
    table = (struct table){.addrs = {"[::1]", "127.0.0.2", "127.0.0.1"}};
    start_with_table(&a);
    char target[64];
    snprintf(target, sizeof(target), "three.example%s", port_of(&b));
    IT_OK(weir_dial(a.node, target, 0));
    IT_WAIT(a.ups == 1 && b.ups == 1);
    IT_EQ(a.fails, 0);
    IT_EQ(it_metrics(&a)->dialed, 1);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(names, a_dead_address_is_overtaken_and_cancelled)
{
    /* A backlog that is full drops every further SYN. */
    char dead[64];
    int listener = raw_listen(dead, 0);
    struct sockaddr_storage any;
    socklen_t len = raw_address(dead, &any);
    int socks[4];
    for (int i = 0; i < 4; i++) {
        socks[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(socks[i], (struct sockaddr *)&any, len);
    }
    char live[64];
    snprintf(live, sizeof(live), "127.0.0.2%s", strrchr(dead, ':'));
    it_init(&a, "a");
    it_init(&b, "b");
    it_start(&b, live); /* the same port */
    a.cfg.dial_timeout_ns = 3600 * WEIR_NS_PER_S;
    table = (struct table){.addrs = {"127.0.0.1", "127.0.0.2"}};
    start_with_table(&a);
    char target[64];
    snprintf(target, sizeof(target), "two.example%s", strrchr(dead, ':'));
    IT_OK(weir_dial(a.node, target, 0));
    IT_WAIT(a.ups == 1 && b.ups == 1);
    IT_WAIT(it_metrics(&a)->conns == 1);
    IT_EQ(it_closes(&a, WEIR_R_RACE), 1);
    IT_EQ(a.fails, 0);
    it_stop(&a);
    it_stop(&b);
    for (int i = 0; i < 4; i++)
        close(socks[i]);
    close(listener);
}

IT_TEST(names, each_failure_has_its_reason)
{
    static const uint16_t reasons[] = {WEIR_R_NAME_NOT_FOUND, WEIR_R_NAME_TEMPORARY,
                                       WEIR_R_NAME_NO_ADDRESS};
    table = (struct table){0};
    it_init(&a, "a");
    a.cfg.redial_min_ns = a.cfg.redial_max_ns = IT_MS;
    start_with_table(&a);
    for (uint32_t i = 0; i < 3; i++) {
        table.reason = reasons[i];
        IT_OK(weir_dial(a.node, "none.example:1", 0));
        IT_WAIT(a.fails == i + 1);
        IT_EQ(a.fail_by[reasons[i]], 1);
        IT_EQ(it_closes(&a, reasons[i]), 1);
    }
    /* A persistent one asks again and again. */
    table.reason = WEIR_R_NAME_NOT_FOUND;
    uint32_t asked = table.asked;
    IT_OK(weir_dial(a.node, "none.example:1", WEIR_DIAL_PERSIST));
    IT_WAIT(table.asked >= asked + 5);
    IT_OK(weir_dial_cancel(a.node, "none.example:1"));
    IT_IS(weir_dial(a.node, "abcdef.onion:1", 0), WEIR_E_ADDRESS);
    IT_IS(weir_dial(a.node, "name:0", 0), WEIR_E_ADDRESS);
    IT_IS(weir_dial(a.node, "name", 0), WEIR_E_ADDRESS);
    IT_IS(weir_node_listen(a.node, "name:1"), WEIR_E_STATE);
    it_stop(&a);
}

/* A lookup that takes long holds nobody up: the shard goes on, the dial fails at its deadline, and the node
 * stops without waiting for more than that. */
IT_TEST(names, a_slow_lookup_blocks_no_turn)
{
    it_init(&a, "a");
    it_init(&b, "b");
    it_start(&b, "127.0.0.1:0");
    a.cfg.name_timeout_ns = 300 * IT_MS;
    table = (struct table){.wait_ms = 3000};
    start_with_table(&a);
    IT_OK(weir_dial(a.node, "slow.example:1", 0));
    IT_WAIT(table.asked == 1);
    it_link(&a, &b);
    IT_OK(weir_try_send(a.node, it_peer(&a, 0), 1, "meanwhile", 9));
    IT_WAIT(b.msgs == 1);
    IT_WAIT(a.fails == 1);
    IT_EQ(a.fail_by[WEIR_R_NAME_TIMEOUT], 1);
    it_stop(&a);
    it_stop(&b);
    usleep(3100 * 1000); /* the thread that was left behind ends inside of this test */
}

/* As in a simulated world: no thread is made. */
IT_TEST(names, a_table_that_answers_at_once)
{
    it_init(&a, "a");
    it_init(&b, "b");
    it_start(&b, "127.0.0.1:0");
    table = (struct table){.addrs = {"127.0.0.2", "127.0.0.1"}};
    it_create(&a, NULL);
    a.node->lookup = table_lookup;
    a.looks_up = true;
    a.node->is_lookup_instant = true;
    IT_OK(weir_node_start(a.node));
    char target[64];
    snprintf(target, sizeof(target), "table.example%s", port_of(&b));
    IT_OK(weir_dial(a.node, target, 0));
    IT_WAIT(a.ups == 1 && b.ups == 1);
    cr_assert(a.node->resolver == NULL);
    table = (struct table){.reason = WEIR_R_NAME_NOT_FOUND};
    IT_OK(weir_dial(a.node, target, 0));
    IT_WAIT(a.fail_by[WEIR_R_NAME_NOT_FOUND] == 1);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(names, stopping_while_a_name_is_looked_up)
{
    table = (struct table){.wait_ms = 100, .addrs = {"127.0.0.1"}};
    it_init(&a, "a");
    start_with_table(&a);
    for (int i = 0; i < 20; i++) {
        char target[64];
        snprintf(target, sizeof(target), "n%d.example:1", i);
        IT_OK(weir_dial(a.node, target, WEIR_DIAL_PERSIST));
    }
    IT_WAIT(table.asked >= 1);
    it_stop(&a);
    cr_assert(table.asked < 20, "those that waited were not asked any more");
}

IT_TEST(names, more_names_than_the_queue_takes)
{
    table = (struct table){.wait_ms = 200, .reason = WEIR_R_NAME_NOT_FOUND};
    it_init(&a, "a");
    a.cfg.names_max = 2;
    start_with_table(&a);
    for (int i = 0; i < 8; i++) {
        char target[64];
        snprintf(target, sizeof(target), "n%d.example:1", i);
        IT_OK(weir_dial(a.node, target, 0));
    }
    IT_WAIT(a.fails == 8);
    cr_assert(a.fail_by[WEIR_R_NAME_TEMPORARY] >= 5 && a.fail_by[WEIR_R_NAME_NOT_FOUND] >= 2);
    IT_EQ(a.fail_by[WEIR_R_NAME_TEMPORARY] + a.fail_by[WEIR_R_NAME_NOT_FOUND], 8);
    it_stop(&a);
}
