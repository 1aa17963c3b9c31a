/* A peer that speaks gossip's channel by hand. */
#include "engine/base/hash.h"
#include "engine/node/gossip_wire.h"
#include "tests/unit/node/gossip_fixture.h"

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

Test(gossip_hostile, another_announcer_is_asked_when_one_does_not_answer)
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

Test(gossip_hostile, what_is_too_old_is_dropped)
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

Test(gossip_hostile, what_a_peer_brings_first_and_again_is_counted)
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

Test(gossip_hostile, asking_for_more_than_a_queue_takes_copies_no_more)
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

Test(gossip_hostile, what_is_not_there_is_said_to_be_not_there)
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

Test(gossip_hostile, one_peer_cannot_take_all_places_for_what_is_awaited)
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

Test(gossip_hostile, a_malformed_message_ends_the_connection)
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
