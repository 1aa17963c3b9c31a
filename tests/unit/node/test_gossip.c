/* Gossip in a simulated world: few nodes whose every step is known, sixty on a bad network, and a peer that
 * speaks gossip's channel by hand. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/node/gossip_wire.h"
#include "weir/gossip.h"
#include "weir/reactor.h"
#include "weir/sim.h"

#define MS WEIR_NS_PER_MS
#define NODES_MAX 60u
#define MESSAGES_MAX 200u

struct member {
    weir_node *node;
    weir_gossip *gossip;
    weir_peer peer; /* the last that came up */
    uint32_t idx, downs[WEIR_REASON_CNT];
    uint8_t verdict;
    uint32_t got[MESSAGES_MAX]; /* how often each came */
    uint8_t hops[MESSAGES_MAX];
};

static weir_world *world;
static struct member members[NODES_MAX];
static struct weir_gossip_config gossip_cfg = {.size = sizeof(gossip_cfg), .seen_max = 1024};
static uint32_t damaged;

/* A message is its number, and bytes that follow from it. */
static void fill(uint8_t *ret_bytes, size_t len, uint32_t number)
{
    for (size_t i = 0; i < len; i++)
        ret_bytes[i] = (uint8_t)(number * 31 + i * 7);
    memcpy(ret_bytes, &number, sizeof(number));
}

static void on_messages(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    static uint8_t want[1 << 20];
    struct member *member = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint32_t number;
        memcpy(&number, msgs[i].data, sizeof(number));
        if (number >= MESSAGES_MAX) {
            damaged++;
            continue;
        }
        fill(want, msgs[i].len, number);
        damaged += memcmp(want, msgs[i].data, msgs[i].len) != 0;
        member->got[number]++;
        member->hops[number] = msgs[i].hops;
        msgs[i].verdict = member->verdict;
    }
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct member *member = ctx;
    if (event == WEIR_PEER_UP)
        member->peer = peer;
    if (event == WEIR_PEER_DOWN)
        member->downs[reason]++;
}

static void make(uint32_t idx)
{
    struct member *member = &members[idx];
    struct weir_config cfg = {.size = sizeof(cfg),
                              .peers_max = 64,
                              .recv_buf_cnt = 2,
                              .recv_buf_bytes = 16384,
                              .dials_max = 16,
                              .redial_max_ns = WEIR_NS_PER_S};
    struct weir_reactor reactor = {.size = sizeof(reactor), .ctx = member, .on_peer = on_peer};
    char address[32];
    *member = (struct member){.idx = idx};
    gossip_cfg.ctx = member;
    gossip_cfg.on_messages = on_messages;
    cr_assert_eq(weir_world_node_create(world, idx + 1, &cfg, &member->node), 0);
    cr_assert_eq(weir_node_attach(member->node, &reactor, NULL, 0), 0);
    cr_assert_eq(weir_gossip_create(&member->gossip, member->node, &gossip_cfg), 0);
    snprintf(address, sizeof(address), "10.0.0.%u:7000", idx + 1);
    cr_assert_eq(weir_node_listen(member->node, address), 0);
    cr_assert_eq(weir_node_start(member->node), 0);
}

static void join(uint32_t from, uint32_t to)
{
    char address[32];
    snprintf(address, sizeof(address), "10.0.0.%u:7000", to + 1);
    cr_assert_eq(weir_dial(members[from].node, address, WEIR_DIAL_PERSIST), 0);
}

static void begin(uint32_t cnt, uint64_t seed)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = seed};
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
    for (uint32_t i = 0; i < cnt; i++)
        make(i);
}

static void finish(void)
{
    weir_world_free(world);
    for (uint32_t i = 0; i < NODES_MAX; i++)
        weir_gossip_free(members[i].gossip);
    cr_assert_eq(damaged, 0);
}

static void run(weir_ns duration)
{
    (void)weir_world_run(world, duration);
}

static int64_t publish(uint32_t idx, uint32_t number, size_t len)
{
    static uint8_t bytes[1 << 20];
    fill(bytes, len, number);
    return weir_gossip_publish(members[idx].gossip, bytes, len, NULL);
}

static struct weir_gossip_stats stats_of(uint32_t idx)
{
    struct weir_gossip_stats stats = {.size = sizeof(stats)};
    cr_assert_eq(weir_gossip_stats_read(members[idx].gossip, &stats), 0);
    return stats;
}

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

/* ---- a peer that speaks by hand ------------------------------------------------------------ */

struct hand {
    weir_node *node;
    weir_peer peer;
    uint32_t wants, nones, pushes;
};
static struct hand hands[2];

static void hand_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct hand *hand = ctx;
    struct weir_gossip_parsed msg;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        if (weir_gossip_parse(&msg, msgs[i].data, msgs[i].len) != WEIR_GOSSIP_IS_KNOWN)
            continue;
        hand->wants += msg.kind == WEIR_GOSSIP_WANT;
        hand->nones += msg.kind == WEIR_GOSSIP_NONE;
        hand->pushes += msg.kind == WEIR_GOSSIP_PUSH;
    }
}

static void hand_on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct hand *hand = ctx;
    (void)reason;
    hand->peer = event == WEIR_PEER_UP ? peer : (weir_peer){0};
}

static void hand_make(struct hand *hand, uint32_t host)
{
    struct weir_config cfg = {.size = sizeof(cfg), .peers_max = 4, .recv_buf_cnt = 2};
    struct weir_channel channel = {.size = sizeof(channel), .id = WEIR_GOSSIP_CHANNEL};
    struct weir_reactor reactor = {
        .size = sizeof(reactor), .ctx = hand, .on_batch = hand_batch, .on_peer = hand_on_peer};
    cr_assert_eq(weir_world_node_create(world, host, &cfg, &hand->node), 0);
    cr_assert_eq(weir_node_attach(hand->node, &reactor, &channel, 1), 0);
    cr_assert_eq(weir_node_start(hand->node), 0);
    cr_assert_eq(weir_dial(hand->node, "10.0.0.1:7000", 0), 0);
    run(WEIR_NS_PER_S);
    cr_assert(hand->peer.v != 0);
}

static void say(struct hand *hand, const void *bytes, size_t len)
{
    cr_assert_eq(weir_try_send(hand->node, hand->peer, WEIR_GOSSIP_CHANNEL, bytes, len), 0);
    run(10 * MS);
}

static void tell(struct hand *hand, uint8_t kind, const uint8_t id[16], uint32_t len)
{
    uint8_t bytes[WEIR_GOSSIP_LIST_HEAD_BYTES + 20];
    say(hand, bytes, weir_gossip_list_of_one(bytes, kind, id, len));
}

static void push(struct hand *hand, uint32_t number, uint32_t len, uint32_t age_us)
{
    static uint8_t bytes[8 + (1 << 20)];
    weir_gossip_push_head(bytes, 0, age_us);
    fill(bytes + 8, len, number);
    say(hand, bytes, 8 + len);
}

Test(gossip, another_announcer_is_asked_when_one_does_not_answer)
{
    uint8_t id[16] = {1}, gone[16] = {2}, none[16] = {3};
    begin(1, 1);
    hand_make(&hands[0], 100);
    hand_make(&hands[1], 101);
    tell(&hands[0], WEIR_GOSSIP_HAVE, id, 10000); /* large: asked for at once */
    cr_assert_eq(hands[0].wants, 1);
    tell(&hands[1], WEIR_GOSSIP_HAVE, id, 10000);
    run(1900 * MS);
    cr_assert_eq(hands[1].wants, 0, "one was asked, and has time");
    run(200 * MS);
    cr_assert_eq(hands[1].wants, 1);
    run(3 * WEIR_NS_PER_S);
    cr_assert_eq(stats_of(0).in_vain, 1);
    cr_assert_eq(stats_of(0).asked_again, 1);
    /* Who says that it is not there is not waited for. */
    tell(&hands[0], WEIR_GOSSIP_HAVE, none, 10000);
    tell(&hands[1], WEIR_GOSSIP_HAVE, none, 10000);
    cr_assert(hands[0].wants == 2 && hands[1].wants == 1);
    tell(&hands[0], WEIR_GOSSIP_NONE, none, 0);
    cr_assert_eq(hands[1].wants, 2);
    tell(&hands[0], WEIR_GOSSIP_NONE, none, 0); /* it was not asked any more */
    cr_assert_eq(stats_of(0).wanted, 1);
    /* Nor who goes. */
    tell(&hands[0], WEIR_GOSSIP_HAVE, gone, 10000);
    tell(&hands[1], WEIR_GOSSIP_HAVE, gone, 10000);
    cr_assert_eq(hands[1].wants, 2);
    cr_assert_eq(weir_disconnect(hands[0].node, hands[0].peer, 0), 0);
    run(100 * MS);
    cr_assert_eq(hands[1].wants, 3);
    finish();
}

Test(gossip, what_is_too_old_is_dropped)
{
    begin(1, 1);
    hand_make(&hands[0], 100);
    push(&hands[0], 1, 20, 61000000);
    push(&hands[0], 2, 20, 59000000);
    cr_assert(members[0].got[1] == 0 && members[0].got[2] == 1);
    cr_assert_eq(stats_of(0).too_old, 1);
    hand_make(&hands[1], 101); /* who lies about an age keeps it from nobody */
    push(&hands[1], 1, 20, 0);
    cr_assert_eq(members[0].got[1], 1);
    cr_assert_eq(stats_of(0).duplicates, 0);
    /* Nor is who was asked and sends it too old waited for. */
    uint8_t id[16], bytes[5000];
    fill(bytes, sizeof(bytes), 3);
    weir_hash_ops()->xxh3_128(bytes, sizeof(bytes), id);
    tell(&hands[0], WEIR_GOSSIP_HAVE, id, sizeof(bytes));
    tell(&hands[1], WEIR_GOSSIP_HAVE, id, sizeof(bytes));
    cr_assert(hands[0].wants == 1 && hands[1].wants == 0);
    push(&hands[0], 3, sizeof(bytes), 61000000);
    cr_assert_eq(hands[1].wants, 1);
    finish();
}

static struct weir_peer_info info;

static void look(void *ctx, uint32_t shard, int is_run) /* only a shard's thread sees it at once */
{
    const struct member *member = ctx;
    (void)shard;
    info = (struct weir_peer_info){.size = sizeof(info)};
    cr_assert(is_run && weir_peer_info(member->node, member->peer, &info) == 0);
}

Test(gossip, what_a_peer_brings_first_and_again_is_counted)
{
    begin(1, 1);
    hand_make(&hands[0], 100);
    hand_make(&hands[1], 101);
    push(&hands[0], 1, 20, 0);
    push(&hands[0], 2, 20, 0);
    push(&hands[1], 2, 20, 0);
    push(&hands[1], 3, 20, 0);
    cr_assert_eq(weir_post(members[0].node, 0, look, &members[0]), 0);
    run(10 * MS);
    cr_assert_eq(info.delivered_first, 1);
    cr_assert_eq(info.delivered_again, 1);
    finish();
}

Test(gossip, asking_for_more_than_a_queue_takes_copies_no_more)
{
    begin(1, 1);
    hand_make(&hands[0], 100);
    uint8_t bytes[WEIR_GOSSIP_LIST_BYTES_MAX];
    static uint8_t data[1000000];
    for (uint32_t i = 0; i < 40; i++) {
        fill(data, sizeof(data), i);
        cr_assert_eq(weir_gossip_publish(members[0].gossip, data, sizeof(data), bytes + 4 + 16 * i),
                     1);
    }
    run(100 * MS);
    weir_gossip_list_head(bytes, WEIR_GOSSIP_WANT, 40);
    say(&hands[0], bytes, 4 + 16 * 40);
    run(5 * WEIR_NS_PER_S);
    struct weir_gossip_stats stats = stats_of(0);
    cr_assert_eq(stats.served + stats.full, 40);
    cr_assert(stats.served >= 1 && stats.full >= 1);
    cr_assert_eq(hands[0].pushes, stats.served);
    finish();
}

Test(gossip, what_is_not_there_is_said_to_be_not_there)
{
    static uint8_t large[1 << 20];
    uint8_t id[16] = {9};
    begin(1, 1);
    hand_make(&hands[0], 100);
    tell(&hands[0], WEIR_GOSSIP_WANT, id, 0);
    cr_assert(hands[0].nones == 1 && hands[0].pushes == 0);
    cr_assert_eq(stats_of(0).missing, 1);
    /* Nor what is larger than the peer takes: its channel has 1 MiB, and the message a head. */
    cr_assert_eq(weir_gossip_publish(members[0].gossip, large, sizeof(large), id), 1);
    tell(&hands[0], WEIR_GOSSIP_WANT, id, 0);
    cr_assert(hands[0].nones == 2 && hands[0].pushes == 0);
    finish();
}

Test(gossip, one_peer_cannot_take_all_places_for_what_is_awaited)
{
    gossip_cfg.wants_max = 400;
    begin(1, 1);
    hand_make(&hands[0], 100);
    hand_make(&hands[1], 101);
    for (uint32_t i = 0; i < 1000; i++) {
        uint8_t bytes[24], id[16] = {5};
        memcpy(id + 1, &i, sizeof(i));
        uint32_t len = weir_gossip_list_of_one(bytes, WEIR_GOSSIP_HAVE, id, 100);
        cr_assert_eq(weir_try_send(hands[0].node, hands[0].peer, WEIR_GOSSIP_CHANNEL, bytes, len),
                     0);
    }
    run(50 * MS);
    cr_assert_eq(stats_of(0).wanted, 100);
    uint8_t id[16] = {6};
    tell(&hands[1], WEIR_GOSSIP_HAVE, id, 100);
    cr_assert_eq(stats_of(0).wanted, 101);
    run(10 * WEIR_NS_PER_S);
    cr_assert_eq(stats_of(0).wanted, 0);
    cr_assert_eq(stats_of(0).in_vain, 101);
    finish();
}

Test(gossip, a_malformed_message_ends_the_connection)
{
    begin(1, 1);
    hand_make(&hands[0], 100);
    say(&hands[0], "\x80\x01\x02\x03", 4); /* optional: skipped */
    cr_assert(hands[0].peer.v != 0);
    say(&hands[0], "\x03\x00\x00\x00", 4);
    run(2 * WEIR_NS_PER_S);
    cr_assert_eq(members[0].downs[WEIR_R_BAD_GOSSIP], 1);
    cr_assert_eq(stats_of(0).faults, 1);
    finish();
}

/* ---- sixty on a bad network ---------------------------------------------------------------- */

Test(gossip, sixty_nodes_all_get_each_message_once_on_a_bad_network, .timeout = 200)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
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
