#include "engine/peers/admit.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "weir/error.h"

#define MS UINT64_C(1000000)
#define NOW (UINT64_C(1000) * MS)

static struct weir_addr addr_of(const char *text)
{
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, text), 0, "%s", text);
    return addr;
}

static struct weir_addr nth(uint32_t n)
{
    struct weir_addr addr = {.family = WEIR_ADDR_IPV4, .port = 1};
    addr.ip[0] = 10;
    addr.ip[1] = (uint8_t)(n >> 16);
    addr.ip[2] = (uint8_t)(n >> 8);
    addr.ip[3] = (uint8_t)n;
    return addr;
}

/* No limit but those the test sets. */
static struct weir_admit_config open_cfg(void)
{
    return (struct weir_admit_config){.seed = 7,
                                      .conn_max = 1000,
                                      .inbound_max = WEIR_NO_LIMIT,
                                      .outbound_max = WEIR_NO_LIMIT,
                                      .address_max = WEIR_NO_LIMIT,
                                      .subnet_max = WEIR_NO_LIMIT,
                                      .dial_address_max = WEIR_NO_LIMIT,
                                      .dial_subnet_max = WEIR_NO_LIMIT,
                                      .ipv4_bits = 24,
                                      .ipv6_bits = 56,
                                      .address_interval_ns = MS,
                                      .subnet_interval_ns = MS,
                                      .address_burst = WEIR_NO_LIMIT,
                                      .subnet_burst = WEIR_NO_LIMIT};
}

static struct weir_admit *make(const struct weir_admit_config *cfg)
{
    struct weir_admit *admit;
    cr_assert_eq(weir_admit_create(&admit, cfg), 0);
    return admit;
}

static uint16_t come(struct weir_admit *admit, const char *text, uint64_t now_ns)
{
    struct weir_addr addr = addr_of(text);
    return weir_admit_inbound(admit, &addr, now_ns);
}

static void leave(struct weir_admit *admit, const char *text)
{
    struct weir_addr addr = addr_of(text);
    weir_admit_left(admit, &addr);
}

Test(admit, each_limit_has_its_reason_and_its_room_comes_back)
{
    struct weir_admit_config cfg = open_cfg();
    cfg.inbound_max = 6;
    cfg.address_max = 2;
    cfg.subnet_max = 4;
    struct weir_admit *admit = make(&cfg);
    cr_assert_eq(come(admit, "192.0.2.1:1", NOW), 0);
    cr_assert_eq(come(admit, "192.0.2.1:2", NOW), 0);
    cr_assert_eq(come(admit, "192.0.2.1:3", NOW), WEIR_R_LIMIT_ADDRESS);
    cr_assert_eq(come(admit, "[::ffff:192.0.2.1]:4", NOW), WEIR_R_LIMIT_ADDRESS, "is the same");
    cr_assert_eq(come(admit, "192.0.2.2:1", NOW), 0);
    cr_assert_eq(come(admit, "192.0.2.3:1", NOW), 0);
    cr_assert_eq(come(admit, "192.0.2.4:1", NOW), WEIR_R_LIMIT_SUBNET);
    cr_assert_eq(come(admit, "192.0.3.4:1", NOW), 0);
    cr_assert_eq(come(admit, "unix:/x", NOW), 0, "in no subnet, but counted");
    cr_assert_eq(come(admit, "198.51.100.1:1", NOW), WEIR_R_LIMIT_INBOUND);
    cr_assert_eq(come(admit, "192.0.2.1:3", NOW), WEIR_R_LIMIT_ADDRESS, "room would not help it");
    leave(admit, "192.0.2.3:1");
    struct weir_addr again = addr_of("192.0.2.4:1");
    cr_assert_eq(weir_admit_again(admit, &again), 0);
    cr_assert_eq(weir_admit_again(admit, &again), WEIR_R_LIMIT_SUBNET);
    weir_admit_set_inbound_max(admit, 5);
    again = addr_of("198.51.100.1:1");
    cr_assert_eq(weir_admit_again(admit, &again), WEIR_R_LIMIT_INBOUND);
    weir_admit_set_inbound_max(admit, 6);
    leave(admit, "unix:/x");
    leave(admit, "192.0.2.1:2");
    cr_assert_eq(come(admit, "192.0.2.1:9", NOW), 0);
    weir_admit_free(admit);
    weir_admit_free(NULL);
}

Test(admit, ipv6_is_counted_by_64_and_by_subnet)
{
    struct weir_admit_config cfg = open_cfg();
    cfg.address_max = 1;
    cfg.subnet_max = 2;
    struct weir_admit *admit = make(&cfg);
    cr_assert_eq(come(admit, "[2001:db8:0:100::1]:1", NOW), 0);
    cr_assert_eq(come(admit, "[2001:db8:0:100:ffff::2]:1", NOW), WEIR_R_LIMIT_ADDRESS);
    cr_assert_eq(come(admit, "[2001:db8:0:101::1]:1", NOW), 0);
    cr_assert_eq(come(admit, "[2001:db8:0:1ff::1]:1", NOW), WEIR_R_LIMIT_SUBNET);
    cr_assert_eq(come(admit, "[2001:db8:0:200::1]:1", NOW), 0);
    weir_admit_free(admit);
}

Test(admit, loopback_is_no_address_unless_it_is_to_be)
{
    static const char *const texts[] = {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1",
                                        "[::ffff:127.0.0.1]:1", "unix:/x"};
    for (int has_loopback = 0; has_loopback < 2; has_loopback++) {
        struct weir_admit_config cfg = open_cfg();
        cfg.address_max = 1;
        cfg.has_loopback = has_loopback;
        for (size_t i = 0; i < 5; i++) {
            struct weir_admit *admit = make(&cfg);
            cr_assert_eq(come(admit, texts[i], NOW), 0);
            uint16_t want = has_loopback && i < 4 ? WEIR_R_LIMIT_ADDRESS : 0;
            cr_assert_eq(come(admit, texts[i], NOW), want, "%s", texts[i]);
            weir_admit_free(admit);
        }
    }
}

Test(admit, the_rate_of_an_address_is_its_burst_and_one_each_interval)
{
    struct weir_admit_config cfg = open_cfg();
    cfg.address_burst = 3;
    cfg.address_interval_ns = 100 * MS;
    struct weir_admit *admit = make(&cfg);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(come(admit, "192.0.2.1:1", NOW), 0);
    cr_assert_eq(come(admit, "192.0.2.1:1", NOW), WEIR_R_LIMIT_RATE);
    cr_assert_eq(come(admit, "192.0.2.2:1", NOW), 0, "its neighbour has a bucket of its own");
    cr_assert_eq(come(admit, "192.0.2.1:1", NOW + 99 * MS), WEIR_R_LIMIT_RATE);
    for (int i = 1; i <= 50; i++) {
        cr_assert_eq(come(admit, "192.0.2.1:1", NOW + 100 * MS * (uint64_t)i), 0);
        cr_assert_eq(come(admit, "192.0.2.1:1", NOW + 100 * MS * (uint64_t)i), WEIR_R_LIMIT_RATE,
                     "to be refused costs no token, and gives none");
    }
    uint64_t later = NOW + 60000 * MS;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(come(admit, "192.0.2.1:1", later), 0);
    cr_assert_eq(come(admit, "192.0.2.1:1", later), WEIR_R_LIMIT_RATE, "no more than the burst");
    weir_admit_free(admit);
}

Test(admit, the_rate_of_a_subnet_is_shared_by_its_addresses)
{
    struct weir_admit_config cfg = open_cfg();
    cfg.address_burst = 2;
    cfg.subnet_burst = 4;
    cfg.address_interval_ns = cfg.subnet_interval_ns = 100 * MS;
    struct weir_admit *admit = make(&cfg);
    for (int i = 1; i <= 4; i++) {
        char text[32];
        snprintf(text, sizeof(text), "192.0.2.%d:1", i);
        cr_assert_eq(come(admit, text, NOW), 0);
    }
    cr_assert_eq(come(admit, "192.0.2.5:1", NOW), WEIR_R_LIMIT_RATE);
    cr_assert_eq(come(admit, "192.0.3.5:1", NOW), 0);
    /* The one that its neighbours kept out has lost no token of its own. */
    cr_assert_eq(come(admit, "192.0.2.5:1", NOW + 100 * MS), 0);
    cr_assert_eq(come(admit, "192.0.2.5:1", NOW + 200 * MS), 0);
    weir_admit_free(admit);
}

/* Against an attacker with more addresses than there are buckets: memory stays, and whoever was refused a
 * moment ago is not forgotten by that. */
Test(admit, many_addresses_do_not_flush_a_bucket_that_is_empty)
{
    struct weir_admit_config cfg = open_cfg();
    cfg.conn_max = 200000;
    cfg.address_burst = 100;
    cfg.address_interval_ns = 1000 * MS;
    struct weir_admit *admit = make(&cfg);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(come(admit, "192.0.2.1:1", NOW), 0);
    for (uint32_t i = 0; i < 100000; i++) {
        struct weir_addr addr = nth(i);
        cr_assert_eq(weir_admit_inbound(admit, &addr, NOW), 0);
    }
    cr_assert_eq(come(admit, "192.0.2.1:1", NOW), WEIR_R_LIMIT_RATE);
    weir_admit_free(admit);
}

/* Against a table of plain counters, under a random program. */
Test(admit, counts_are_those_of_a_plain_table)
{
    enum { ADDRS = 600, STEPS = 200000 };
    static uint32_t model[ADDRS];
    struct weir_admit_config cfg = open_cfg();
    cfg.conn_max = 700;
    cfg.address_max = 5;
    struct weir_admit *admit = make(&cfg);
    uint64_t random = 1;
    uint32_t all = 0;
    for (uint32_t step = 0; step < STEPS; step++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint32_t i = (uint32_t)(random >> 33) % ADDRS;
        struct weir_addr addr = nth(i * 37);
        bool comes = (random >> 20) % 2 && all < 690;
        if (comes) {
            uint16_t reason = weir_admit_inbound(admit, &addr, NOW);
            cr_assert_eq(reason, model[i] < 5 ? 0 : WEIR_R_LIMIT_ADDRESS);
            model[i] += !reason;
            all += !reason;
        } else if (model[i]) {
            weir_admit_left(admit, &addr);
            model[i]--;
            all--;
        }
        cr_assert_eq(weir_admit_cnt(admit, &addr), model[i]);
    }
    for (uint32_t i = 0; i < ADDRS; i++) {
        struct weir_addr addr = nth(i * 37);
        cr_assert_eq(weir_admit_cnt(admit, &addr), model[i]);
        while (model[i]) {
            weir_admit_left(admit, &addr);
            model[i]--;
        }
    }
    cr_assert_eq(weir_admit_groups(admit), 0, "nothing is left");
    weir_admit_free(admit);
}

Test(admit, outbound_has_its_own_limit)
{
    struct weir_admit_config cfg = open_cfg();
    cfg.outbound_max = 2;
    cfg.inbound_max = 1;
    struct weir_admit *admit = make(&cfg);
    cr_assert_eq(weir_admit_outbound(admit), 0);
    cr_assert_eq(weir_admit_outbound(admit), 0);
    cr_assert_eq(weir_admit_outbound(admit), WEIR_R_LIMIT_OUTBOUND);
    cr_assert_eq(come(admit, "192.0.2.1:1", NOW), 0, "apart");
    weir_admit_outbound_left(admit);
    cr_assert_eq(weir_admit_outbound(admit), 0);
    weir_admit_free(admit);
}

static uint16_t dial(struct weir_admit *admit, const char *text)
{
    struct weir_addr addr = addr_of(text);
    return weir_admit_dial(admit, &addr);
}

static void dial_left(struct weir_admit *admit, const char *text)
{
    struct weir_addr addr = addr_of(text);
    weir_admit_dial_left(admit, &addr);
}

Test(admit, dials_have_limits_of_their_own_per_address_and_subnet)
{
    struct weir_admit_config cfg = open_cfg();
    cfg.dial_address_max = 2;
    cfg.dial_subnet_max = 3;
    cfg.address_max = 1;
    struct weir_admit *admit = make(&cfg);
    cr_assert_eq(come(admit, "192.0.2.1:1", NOW), 0);
    cr_assert_eq(dial(admit, "192.0.2.1:1"), 0, "who comes from there is counted apart");
    cr_assert_eq(dial(admit, "[::ffff:192.0.2.1]:2"), 0);
    cr_assert_eq(dial(admit, "192.0.2.1:3"), WEIR_R_LIMIT_ADDRESS);
    cr_assert_eq(dial(admit, "192.0.2.2:1"), 0);
    cr_assert_eq(dial(admit, "192.0.2.3:1"), WEIR_R_LIMIT_SUBNET);
    cr_assert_eq(dial(admit, "192.0.3.3:1"), 0);
    dial_left(admit, "192.0.2.1:1");
    cr_assert_eq(dial(admit, "192.0.2.3:1"), 0);
    cr_assert_eq(dial(admit, "192.0.2.1:3"), WEIR_R_LIMIT_SUBNET);
    cr_assert_eq(come(admit, "192.0.2.1:2", NOW), WEIR_R_LIMIT_ADDRESS, "nor the other way round");
    /* What has no group has no limit. */
    for (uint32_t i = 0; i < 10; i++)
        cr_assert(dial(admit, "127.0.0.1:1") == 0 && dial(admit, "unix:/x") == 0);
    leave(admit, "192.0.2.1:1");
    dial_left(admit, "192.0.2.1:2");
    dial_left(admit, "192.0.2.2:1");
    dial_left(admit, "192.0.2.3:1");
    dial_left(admit, "192.0.3.3:1");
    cr_assert_eq(weir_admit_groups(admit), 0);
    weir_admit_free(admit);
    /* Without limits nothing is counted. */
    cfg = open_cfg();
    admit = make(&cfg);
    cr_assert_eq(dial(admit, "192.0.2.1:1"), 0);
    cr_assert_eq(weir_admit_groups(admit), 0);
    dial_left(admit, "192.0.2.1:1");
    weir_admit_free(admit);
}
