/* One message to many peers, on two shards, whatever their frame size: encoded once, whole at each. */
#include "tests/integration/raw.h"

IT_SUITE(broadcast);

#define PEERS 8u

static struct it_node b;         /* sends */
static struct it_node rx[PEERS]; /* receive */
static weir_peer to[PEERS];      /* b's peers */

struct message {
    uint64_t seed;
    uint32_t len;
};

/* What each receiver must get next. */
static struct message wanted[64];
static _Atomic uint32_t wanted_cnt;

static void take_wanted(struct it_node *node, const struct weir_msg *msg)
{
    uint64_t idx = atomic_load(&node->msgs);
    if (idx >= atomic_load(&wanted_cnt) || msg->len != wanted[idx].len ||
        !it_is_filled(msg->data, msg->len, wanted[idx].seed))
        it_fault(node, "broadcast %llu: %u bytes, or damaged", (unsigned long long)idx, msg->len);
}

static void begin(uint32_t shards)
{
    it_init(&b, "b");
    it_channel(&b, 1)->msg_bytes_max = 4 << 20;
    it_channel(&b, 2);
    b.cfg.shard_cnt = shards;
    it_start(&b, "127.0.0.1:0");
    for (uint32_t i = 0; i < PEERS; i++) {
        it_init(&rx[i], "rx");
        it_channel(&rx[i], 1)->msg_bytes_max = 4 << 20;
        if (i == 1)
            rx[i].cfg.frame_bytes_max = 4096;
        if (i == 2)
            rx[i].cfg.frame_bytes_max = 20000;
        if (i == 3)
            rx[i].channels[0].recv_bytes_max = 4 << 20;
        rx[i].cfg.recv_buf_cnt = 4;
        rx[i].cfg.peers_max = 2;
        rx[i].on_msg = take_wanted;
        it_start(&rx[i], NULL);
        it_link(&rx[i], &b);
        to[i] = it_newest(&b);
    }
}

static void end(void)
{
    for (uint32_t i = 0; i < PEERS; i++)
        it_stop(&rx[i]);
    IT_WAIT(b.downs == PEERS);
    it_wait_empty(&b);
    it_stop(&b);
}

static void expect_all(uint32_t cnt)
{
    for (uint32_t i = 0; i < PEERS; i++) {
        IT_WAIT(rx[i].msgs == cnt || rx[i].faults);
        it_check_faults(&rx[i]);
    }
}

static const uint32_t lens[] = {1,     64,    4095,  4096,  4097,    20000,   20001, 65533,
                                65534, 65535, 65536, 65537, 1000000, 4 << 20, 0,     131072};
#define LENS (sizeof(lens) / sizeof(lens[0]))

static uint8_t bytes[4 << 20];

static int64_t broadcast(uint32_t len, const struct weir_fanout *fanout)
{
    uint32_t at = atomic_load(&wanted_cnt);
    uint64_t seed = 1000 + at;
    wanted[at] = (struct message){seed, len};
    atomic_store(&wanted_cnt, at + 1);
    it_fill(bytes, len, seed);
    return weir_broadcast(b.node, 1, bytes, len, fanout);
}

/* ---- from outside -------------------------------------------------------------------------- */

IT_TEST(broadcast, every_size_reaches_every_peer_of_both_shards)
{
    begin(2);
    uint32_t on_shard[2] = {0, 0};
    for (uint32_t i = 0; i < PEERS; i++)
        on_shard[weir_peer_shard(to[i])]++;
    cr_assert(on_shard[0] > 0 && on_shard[1] > 0);
    uint32_t encodes = 0;
    for (uint32_t i = 0; i < LENS; i++) {
        IT_EQ(broadcast(lens[i], NULL), 0); /* nobody is counted from outside */
        encodes += lens[i] > 0;
        expect_all(i + 1);
        IT_EQ(it_metrics(&b)->broadcasts, i + 1);
        IT_EQ(it_metrics(&b)->broadcast_encodes, encodes);
    }
    IT_EQ(it_metrics(&b)->channels[0].msgs_sent, PEERS * LENS);
    end();
}

/* All at once: the queues fill, and the policy of the channel says what happens. */
IT_TEST(broadcast, many_in_a_row_keep_their_order)
{
    begin(2);
    for (uint32_t i = 0; i < 60; i++) /* 6 MB: fits every queue of 8 MiB */
        IT_EQ(broadcast(i % 2 ? 200000 : i, NULL), 0);
    expect_all(60);
    end();
}

static weir_peer skipped;

static int accept_but_one(void *ctx, weir_peer peer)
{
    (void)ctx;
    return peer.v != skipped.v;
}

IT_TEST(broadcast, except_and_accept_choose)
{
    begin(2);
    struct weir_fanout fanout = {.size = sizeof(fanout), .except = to[0]};
    IT_EQ(broadcast(100, &fanout), 0);
    fanout = (struct weir_fanout){.size = sizeof(fanout), .accept = accept_but_one};
    skipped = to[0];
    IT_EQ(broadcast(70000, &fanout), 0);
    for (uint32_t i = 1; i < PEERS; i++)
        IT_WAIT(rx[i].msgs == 2);
    IT_EQ(rx[0].msgs, 0);
    end();
}

/* ---- on a shard ---------------------------------------------------------------------------- */

static int64_t here_taken[LENS + 2];
static weir_peer asker; /* the raw peer that makes the shard speak */

static void broadcast_on_shard(struct it_node *node, const struct weir_msg *msg)
{
    (void)node;
    asker = msg->peer;
    for (uint32_t i = 0; i < LENS; i++)
        here_taken[i] = broadcast(lens[i], &(struct weir_fanout){.size = sizeof(struct weir_fanout),
                                                                 .except = msg->peer});
}

static void on_shard(uint32_t shards)
{
    struct raw raw;
    begin(shards);
    b.on_msg = broadcast_on_shard;
    raw_init(&raw, 1, 4 << 20);
    raw_join(&raw, &b);
    uint32_t near = 0;
    weir_peer self = it_newest(&b);
    for (uint32_t i = 0; i < PEERS; i++)
        near += weir_peer_shard(to[i]) == weir_peer_shard(self);
    raw_message(&raw, 1, "go", 2);
    expect_all(LENS);
    for (uint32_t i = 0; i < LENS; i++)
        IT_EQ(here_taken[i], near);
    IT_EQ(it_metrics(&b)->broadcast_encodes, LENS - 1);
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    for (uint32_t i = 0; i < PEERS; i++)
        it_stop(&rx[i]);
    IT_WAIT(b.downs == PEERS + 1);
    it_stop(&b);
}

IT_TEST(broadcast, from_the_only_shard)
{
    on_shard(1);
}

IT_TEST(broadcast, from_one_of_two_shards)
{
    on_shard(2);
}

/* ---- errors -------------------------------------------------------------------------------- */

IT_TEST(broadcast, errors)
{
    it_init(&b, "b");
    it_channel(&b, 1);
    it_create(&b, "127.0.0.1:0");
    IT_IS(weir_broadcast(b.node, 1, "x", 1, NULL), WEIR_E_STATE);
    IT_OK(weir_node_start(b.node));
    IT_EQ(weir_broadcast(b.node, 1, "x", 1, NULL), 0); /* to nobody */
    IT_IS(weir_broadcast(b.node, 2, "x", 1, NULL), WEIR_E_NO_CHANNEL);
    IT_IS(weir_broadcast(NULL, 1, "x", 1, NULL), WEIR_E_MISUSE);
    IT_IS(weir_broadcast(b.node, 1, NULL, 1, NULL), WEIR_E_MISUSE);
    IT_IS(weir_broadcast(b.node, 1, "x", (size_t)WEIR_MSG_BYTES_MAX + 1, NULL), WEIR_E_TOO_BIG);
    struct weir_fanout fanout = {.size = 0};
    IT_IS(weir_broadcast(b.node, 1, "x", 1, &fanout), WEIR_E_CONFIG);
    IT_OK(weir_node_stop(b.node, IT_MS));
    IT_IS(weir_broadcast(b.node, 1, "x", 1, NULL), WEIR_E_STATE);
    it_check_empty(&b);
    it_free(&b);
}

/* A peer that takes nothing is treated by the channel's policy; it does not hold up the others. */
IT_TEST(broadcast, a_full_queue_is_that_peers_alone)
{
    struct raw full, open;
    struct weir_frame frame;
    it_init(&b, "b");
    it_channel(&b, 1)->send_bytes_max = 1 << 20;
    b.cfg.shard_cnt = 2;
    it_start(&b, "127.0.0.1:0");
    raw_init(&full, 1, 65536);
    raw_join(&full, &b);
    raw_init(&open, 1, 65536);
    raw_join(&open, &b);
    raw_grant(&open, 1, 1 << 30);
    for (uint32_t i = 0; i < 100; i++) {
        IT_EQ(weir_broadcast(b.node, 1, bytes, 50000, NULL), 0);
        for (uint32_t got = 0; got < 50000;) {
            cr_assert(raw_next(&open, &frame, 60000));
            got += frame.kind <= WEIR_FRAME_MORE ? frame.len : 0;
        }
    }
    IT_WAIT(it_metrics(&b)->channels[0].msgs_refused > 70);
    IT_EQ(b.downs, 0);
    raw_close(&full);
    raw_close(&open);
    IT_WAIT(b.downs == 2);
    it_wait_empty(&b);
    it_stop(&b);
}
