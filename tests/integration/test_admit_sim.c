/* Who may connect, and who comes again, in a simulated world: 60 nodes keep one dialed that has room for some of them; and
 * then it is gone for a while. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "weir/sim.h"
#include "weir/weir.h"

#define MS WEIR_NS_PER_MS
#define S WEIR_NS_PER_S
#define CNT 60u
#define SUBNETS 5u
#define HUB "10.0.0.1:7000"
#define TRIES_MAX 64u

struct member {
    weir_node *node;
    bool is_up, has_heard;
    uint32_t fail_cnt, fail_by[WEIR_REASON_CNT];
    weir_ns failed_ns[TRIES_MAX]; /* since the last reset */
};

static weir_world *world;
static weir_node *hub;
static struct member members[CNT];

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct member *own = ctx;
    (void)peer;
    if (event == WEIR_PEER_UP || event == WEIR_PEER_DOWN)
        own->is_up = event == WEIR_PEER_UP;
    if (event != WEIR_PEER_FAILED)
        return;
    own->fail_by[reason]++;
    if (own->fail_cnt < TRIES_MAX)
        own->failed_ns[own->fail_cnt] = weir_world_now(world);
    own->fail_cnt++;
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    (void)msgs;
    ((struct member *)ctx)->has_heard |= msg_cnt > 0;
}

static struct weir_config config(void)
{
    struct weir_config cfg;
    weir_config_init(&cfg);
    cfg.secure = WEIR_SECURE_PLAIN;
    cfg.recv_buf_bytes = 4096;
    cfg.recv_buf_cnt = 2;
    cfg.redial_min_ns = S;
    cfg.redial_max_ns = 16 * S;
    return cfg;
}

static weir_node *start(uint32_t host, const char *address, const struct weir_config *cfg,
                        struct member *own)
{
    weir_node *node;
    struct weir_channel channel;
    weir_channel_init(&channel, 1);
    struct weir_reactor reactor = {.size = sizeof(reactor),
                                   .ctx = own,
                                   .on_peer = own ? on_peer : NULL,
                                   .on_batch = own ? on_batch : NULL};
    cr_assert_eq(weir_world_node_create(world, host, cfg, &node), 0);
    cr_assert_eq(weir_node_attach(node, &reactor, &channel, 1), 0);
    cr_assert_eq(weir_node_listen(node, address), 0);
    cr_assert_eq(weir_node_start(node), 0);
    return node;
}

/* Each subnet has twelve nodes at six addresses. */
static void begin(uint64_t seed, struct weir_config hub_cfg)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = seed, .latency_ns = 20 * MS};
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
    hub_cfg.peers_max = hub_cfg.handshakes_max = 128;
    hub = start(1, HUB, &hub_cfg, NULL);
    for (uint32_t i = 0; i < CNT; i++) {
        struct weir_config own = config();
        char address[64];
        own.peers_max = own.handshakes_max = 4;
        own.dials_max = 2;
        memset(&members[i], 0, sizeof(members[i]));
        snprintf(address, sizeof(address), "20.0.%u.%u:%u", i % SUBNETS, 1 + i / SUBNETS % 6,
                 7000 + i / SUBNETS / 6);
        members[i].node = start(10 + i, address, &own, &members[i]);
    }
    for (uint32_t i = 0; i < CNT; i++)
        cr_assert_eq(weir_dial(members[i].node, HUB, WEIR_DIAL_PERSIST), 0);
}

static uint32_t up_cnt(void)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < CNT; i++)
        cnt += members[i].is_up;
    return cnt;
}

static uint64_t refused(int reason)
{
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    cr_assert_eq(weir_metrics_read(hub, &metrics), 0);
    return metrics.closes[reason];
}

static void check_counts(uint32_t address_max, uint32_t subnet_max)
{
    for (uint32_t s = 0; s < SUBNETS; s++) {
        char text[64];
        snprintf(text, sizeof(text), "20.0.%u.0/24", s);
        int64_t cnt = weir_peer_find(hub, text, NULL, 0);
        cr_assert(cnt >= 0 && cnt <= subnet_max, "%s has %lld", text, (long long)cnt);
        for (uint32_t a = 1; a <= 6; a++) {
            snprintf(text, sizeof(text), "20.0.%u.%u", s, a);
            cnt = weir_peer_find(hub, text, NULL, 0);
            cr_assert(cnt >= 0 && cnt <= address_max, "%s has %lld", text, (long long)cnt);
        }
    }
}

Test(admit_sim, each_address_and_subnet_has_its_places_and_no_more, .timeout = 900)
{
    struct weir_config cfg = config();
    cfg.address_max = 1;
    cfg.subnet_max = 4;
    begin(91, cfg);
    for (uint32_t second = 0; second < 60; second++) {
        weir_world_run(world, S);
        check_counts(1, 4);
    }
    cr_assert_eq(up_cnt(), SUBNETS * 4, "and these are all taken");
    cr_assert(refused(WEIR_R_LIMIT_ADDRESS) > 0 && refused(WEIR_R_LIMIT_SUBNET) > 0);
    /* Who goes makes room for others of his subnet. */
    for (uint32_t i = 0; i < CNT; i++)
        if (i % SUBNETS == 0 && members[i].is_up) {
            weir_world_crash(world, members[i].node, 0);
            members[i].is_up = false;
        }
    cr_assert_eq(up_cnt(), (SUBNETS - 1) * 4);
    weir_world_run(world, 60 * S);
    check_counts(1, 4);
    cr_assert_eq(up_cnt(), SUBNETS * 4);
    weir_world_free(world);
}

Test(admit_sim, so_have_all_together, .timeout = 900)
{
    struct weir_config cfg = config();
    cfg.inbound_max = 12; /* fewer than 17: nobody is evicted */
    begin(92, cfg);
    weir_world_run(world, 60 * S);
    cr_assert_eq(up_cnt(), 12);
    cr_assert_geq(refused(WEIR_R_LIMIT_INBOUND), CNT - 12);
    weir_world_free(world);
}

/* When the n-th attempt in vain may be behind the one before: half of the wait to all of it, and what a refusal takes. */
static void check_waits(const struct member *own, uint32_t idx)
{
    for (uint32_t n = 1; n < own->fail_cnt && n < TRIES_MAX; n++) {
        uint64_t wait = S << n < 16 * S ? S << n : 16 * S,
                 took = own->failed_ns[n] - own->failed_ns[n - 1];
        cr_assert(took >= wait / 4 && took <= wait + S,
                  "node %u came for the %u. time after %llu ms", idx, n + 1,
                  (unsigned long long)(took / MS));
    }
}

/* The hub is gone for five minutes, twice. All come again, ever more seldom and not all at once; before the second time half
 * of them have heard from it, and only those begin anew. */
Test(admit_sim, who_is_kept_dialed_comes_again_with_backoff, .timeout = 900)
{
    uint32_t tries[2] = {0};
    begin(93, config());
    weir_world_run(world, 30 * S);
    cr_assert_eq(up_cnt(), CNT);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < CNT; i++)
            members[i].fail_cnt = 0;
        weir_world_crash(world, hub, 0);
        weir_world_run(world, 300 * S);
        cr_assert_eq(up_cnt(), 0);
        weir_ns first_ns = UINT64_MAX, last_ns = 0;
        for (uint32_t i = 0; i < CNT; i++) {
            cr_assert_geq(members[i].fail_cnt, 300 / 17);
            cr_assert_leq(members[i].fail_cnt, 300 / 8 + 8);
            if (round == 0)
                check_waits(&members[i], i);
            weir_ns tenth_ns = members[i].failed_ns[9];
            first_ns = tenth_ns < first_ns ? tenth_ns : first_ns;
            last_ns = tenth_ns > last_ns ? tenth_ns : last_ns;
            tries[members[i].has_heard] += round == 1 ? members[i].fail_cnt : 0;
        }
        cr_assert_gt(last_ns - first_ns, 8 * S, "they come all at once");
        struct weir_config cfg = config();
        cfg.peers_max = cfg.handshakes_max = 128;
        hub = start(1, HUB, &cfg, NULL);
        weir_world_run(world, 33 * S / 2);
        cr_assert_eq(up_cnt(), CNT, "the longest wait is over");
        /* Half of them are told something, which is what makes a connection a useful one. */
        struct weir_fanout fanout = {.size = sizeof(fanout), .sample = CNT / 2};
        cr_assert_geq(weir_broadcast(hub, 1, "news", 4, &fanout), 0);
        weir_world_run(world, S / 5);
    }
    cr_assert_gt(tries[1], tries[0] + CNT / 2,
                 "%u attempts of those who heard from it, %u of others", tries[1], tries[0]);
    weir_world_free(world);
}
