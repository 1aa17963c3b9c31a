/* Messages of every size, over every kind of socket, both ways at once: all arrive, whole and in order. */
#include "tests/integration/traffic.h"

IT_SUITE(traffic);

static struct it_node a, b;
static struct traffic ta, tb;

/* Sizes around every edge: a run's prefix, a run's last place, one frame, several frames. */
static uint32_t edge_len(uint16_t channel, uint64_t seq)
{
    static const uint32_t lens[] = {
        0,     1,     2,     3,     63,     64,     65,     1000,   1021,  1022,  1023,  1024,
        4090,  4093,  4094,  4095,  4096,   16384,  32766,  32767,  65500, 65533, 65534, 65535,
        65536, 65537, 65569, 98304, 131070, 131072, 131073, 200001, 0,     262144};
    return lens[(seq * 7 + channel) % (sizeof(lens) / sizeof(lens[0]))];
}

static uint32_t mixed_len(uint16_t channel, uint64_t seq)
{
    if (channel == 1)
        return (uint32_t)(seq % 200);
    if (channel == 2)
        return (uint32_t)(1000 + seq * 37 % 3000);
    return (uint32_t)(60000 + seq * 4999 % 80000);
}

static uint32_t big_len(uint16_t channel, uint64_t seq)
{
    (void)channel;
    return seq % 2 ? (16u << 20) - (uint32_t)(seq == 1 ? 0 : seq) : (uint32_t)seq * 100003;
}

static uint32_t small_len(uint16_t channel, uint64_t seq)
{
    uint32_t max = channel == 1 ? 16384 : 16000;
    return seq % 3 == 0 ? max : (uint32_t)(seq * 997 % max);
}

static void three_channels(struct it_node *node, uint32_t msg_bytes_max)
{
    for (uint16_t id = 1; id <= 3; id++)
        it_channel(node, id)->msg_bytes_max = msg_bytes_max;
}

static void run_pair(const char *listen, uint32_t (*len_of)(uint16_t, uint64_t), uint32_t len_max,
                     const uint64_t totals[3])
{
    it_init(&a, "a");
    it_init(&b, "b");
    three_channels(&a, len_max);
    three_channels(&b, len_max);
    traffic_init(&ta, &a, 1, 2, len_of, len_max);
    traffic_init(&tb, &b, 2, 1, len_of, len_max);
    uint64_t all = 0;
    for (int i = 0; i < 3; i++) {
        ta.total[i] = tb.total[i] = totals[i];
        all += totals[i];
    }
    it_start(&b, listen);
    it_start(&a, NULL);
    it_link(&a, &b);
    IT_WAIT((ta.received >= all && tb.received >= all) || a.faults || b.faults);
    it_stop(&a);
    it_stop(&b);
    IT_EQ(ta.received, all);
    IT_EQ(tb.received, all);
    traffic_fini(&ta);
    traffic_fini(&tb);
}

IT_TEST(traffic, every_size_both_ways_over_ipv4)
{
    run_pair("127.0.0.1:0", edge_len, 262144, (uint64_t[]){300, 300, 300});
}

IT_TEST(traffic, every_size_both_ways_over_ipv6)
{
    run_pair("[::1]:0", edge_len, 262144, (uint64_t[]){300, 300, 300});
}

IT_TEST(traffic, every_size_both_ways_over_a_unix_socket)
{
    char path[64];
    snprintf(path, sizeof(path), "unix:/tmp/weir-it-%d.sock", getpid());
    run_pair(path, edge_len, 262144, (uint64_t[]){300, 300, 300});
    cr_assert(access(path + 5, F_OK) != 0, "the socket file is left behind");
}

IT_TEST(traffic, every_size_over_an_abstract_socket)
{
    char path[64];
    snprintf(path, sizeof(path), "unix:@weir-it-%d", getpid());
    run_pair(path, edge_len, 262144, (uint64_t[]){100, 100, 100});
}

IT_TEST(traffic, three_channels_at_once_keep_their_order)
{
    run_pair("127.0.0.1:0", mixed_len, 262144, (uint64_t[]){60000, 6000, 1000});
}

IT_TEST(traffic, messages_of_16_mib_cross_each_other)
{
    run_pair("127.0.0.1:0", big_len, 16u << 20, (uint64_t[]){4, 6, 4});
}

/* Frames of 4 KiB and a window of one message: the smallest that the configuration allows. */
IT_TEST(traffic, the_smallest_frames_and_windows_do)
{
    it_init(&a, "a");
    it_init(&b, "b");
    for (uint16_t id = 1; id <= 3; id++) {
        for (int i = 0; i < 2; i++) {
            struct weir_channel *channel = it_channel(i ? &a : &b, id);
            channel->msg_bytes_max = id == 1 ? 16384 : 16000;
            channel->recv_bytes_max = 16384;
            channel->send_bytes_max = 16384;
        }
    }
    a.cfg.frame_bytes_max = 4096;
    a.cfg.recv_buf_bytes = 2048;
    a.cfg.recv_buf_cnt = 2;
    b.cfg.send_bytes_max = 4096;
    b.cfg.send_bytes_contended = 4096;
    traffic_init(&ta, &a, 1, 2, small_len, 16384);
    traffic_init(&tb, &b, 2, 1, small_len, 16384);
    uint64_t all = 0;
    for (int i = 0; i < 3; i++) {
        ta.total[i] = tb.total[i] = 400;
        all += 400;
    }
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    it_link(&a, &b);
    IT_WAIT((ta.received >= all && tb.received >= all) || a.faults || b.faults);
    it_stop(&a);
    it_stop(&b);
    traffic_fini(&ta);
    traffic_fini(&tb);
}

/* Channels are known by their numbers, not by the order in which a program attaches them; one that the
 * other side does not have is nobody's business. */
IT_TEST(traffic, channels_attached_in_another_order)
{
    it_init(&a, "a");
    it_init(&b, "b");
    static const uint16_t ids_of_a[] = {3, 40000, 1}, ids_of_b[] = {1, 2, 40000, 0, 3};
    for (int i = 0; i < 3; i++)
        it_channel(&a, ids_of_a[i]);
    for (int i = 0; i < 5; i++)
        it_channel(&b, ids_of_b[i]);
    traffic_init(&ta, &a, 1, 2, edge_len, 262144);
    traffic_init(&tb, &b, 2, 1, edge_len, 262144);
    ta.total[0] = ta.total[1] = ta.total[2] = 200;
    tb.total[0] = tb.total[2] = tb.total[4] = 200;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    weir_peer peer = it_link(&a, &b);
    IT_IS(weir_try_send(b.node, it_peer(&b, 0), 2, "x", 1), WEIR_E_NO_CHANNEL);
    struct weir_peer_info info = {.size = sizeof(info)};
    IT_OK(it_info(&a, peer, &info));
    IT_EQ(info.channel_cnt, 3);
    IT_WAIT((ta.received >= 600 && tb.received >= 600) || a.faults || b.faults);
    it_stop(&a);
    it_stop(&b);
    traffic_fini(&ta);
    traffic_fini(&tb);
}

static _Atomic uint32_t ticks[2];

static weir_ns count_ticks(struct it_node *node, uint32_t shard, weir_ns now)
{
    if (shard > 1)
        it_fault(node, "a tick of shard %u", shard);
    else if (atomic_fetch_add(&ticks[shard], 1) == 4)
        return 0; /* never again */
    return now + 5 * IT_MS;
}

/* The same code with shards that spin and are pinned, and with ticks in between. */
IT_TEST(traffic, spinning_pinned_shards_that_tick)
{
    it_init(&a, "a");
    it_init(&b, "b");
    three_channels(&a, 262144);
    three_channels(&b, 262144);
    a.cfg.flags = WEIR_CONFIG_BUSY_POLL | WEIR_CONFIG_PIN;
    b.cfg.shard_cnt = 2;
    b.cfg.tcp_congestion = "reno";
    b.cfg.socket_recv_bytes = b.cfg.socket_send_bytes = 65536;
    b.on_tick = count_ticks;
    traffic_init(&ta, &a, 1, 2, mixed_len, 262144);
    traffic_init(&tb, &b, 2, 1, mixed_len, 262144);
    for (int i = 0; i < 3; i++)
        ta.total[i] = tb.total[i] = 200;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    it_link(&a, &b);
    IT_WAIT((ta.received >= 600 && tb.received >= 600) || a.faults || b.faults);
    IT_WAIT(ticks[0] == 5 && ticks[1] == 5);
    usleep(20 * 1000);
    IT_EQ(ticks[0] + ticks[1], 10);
    it_stop(&a);
    it_stop(&b);
    traffic_fini(&ta);
    traffic_fini(&tb);
}

#define DIALERS 64u

static struct it_node dialers[DIALERS];
static struct traffic dialer_traffic[DIALERS];

/* Four listeners, two shards, 64 nodes that dial, all of them sending and receiving at once. */
IT_TEST(traffic, sixty_four_nodes_saturate_one_with_two_shards)
{
    const uint64_t totals[3] = {300, 100, 20};
    const uint64_t all = 300 + 100 + 20;
    char path[64];
    snprintf(path, sizeof(path), "unix:/tmp/weir-it-%d.sock", getpid());

    it_init(&b, "b");
    b.cfg.shard_cnt = 2;
    three_channels(&b, 262144);
    traffic_init(&tb, &b, 2, 1, mixed_len, 262144);
    memcpy(tb.total, totals, sizeof(totals));
    it_create(&b, "127.0.0.1:0");
    IT_OK(weir_node_listen(b.node, "[::1]:0"));
    IT_OK(weir_node_listen(b.node, path));
    IT_OK(weir_node_start(b.node));

    for (uint32_t i = 0; i < DIALERS; i++) {
        struct it_node *node = &dialers[i];
        it_init(node, "dialer");
        node->cfg.recv_buf_bytes = 16384;
        node->cfg.recv_buf_cnt = 4;
        node->cfg.peers_max = 4;
        node->cfg.dials_max = 4;
        three_channels(node, 262144);
        traffic_init(&dialer_traffic[i], node, 1, 2, mixed_len, 262144);
        memcpy(dialer_traffic[i].total, totals, sizeof(totals));
        it_start(node, NULL);
        char address[128];
        IT_OK(weir_node_address(b.node, i % 3, address, sizeof(address)));
        IT_OK(weir_dial(node->node, address, 0));
    }
    for (uint32_t i = 0; i < DIALERS; i++)
        IT_WAIT(dialer_traffic[i].received >= all || dialers[i].faults);
    IT_WAIT(tb.received >= DIALERS * all || b.faults);

    uint32_t on_shard[2] = {0, 0};
    for (uint32_t i = 0; i < DIALERS; i++)
        on_shard[weir_peer_shard(it_peer(&b, i)) & 1]++;
    cr_expect(on_shard[0] >= DIALERS / 4 && on_shard[1] >= DIALERS / 4,
              "the shards have %u and %u connections", on_shard[0], on_shard[1]);
    for (uint32_t i = 0; i < DIALERS; i++) {
        it_stop(&dialers[i]);
        IT_EQ(dialers[i].down_by[WEIR_R_SHUTDOWN], 1);
        traffic_fini(&dialer_traffic[i]);
    }
    IT_WAIT(b.downs == DIALERS);
    IT_EQ(b.down_by[WEIR_R_SHUTDOWN], DIALERS);
    it_stop(&b);
    traffic_fini(&tb);
}

/* Many connections between the same two nodes: each is a peer of its own. */
IT_TEST(traffic, one_node_dials_another_many_times)
{
    it_init(&a, "a");
    it_init(&b, "b");
    a.cfg.shard_cnt = b.cfg.shard_cnt = 2;
    three_channels(&a, 262144);
    three_channels(&b, 262144);
    traffic_init(&ta, &a, 1, 2, mixed_len, 262144);
    traffic_init(&tb, &b, 2, 1, mixed_len, 262144);
    const uint64_t totals[3] = {200, 100, 10};
    const uint64_t all = 100 * (200 + 100 + 10);
    memcpy(ta.total, totals, sizeof(totals));
    memcpy(tb.total, totals, sizeof(totals));
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    for (int i = 0; i < 100; i++)
        IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT((ta.received >= all && tb.received >= all) || a.faults || b.faults);
    it_stop(&a);
    IT_WAIT(b.downs == 100);
    it_stop(&b);
    traffic_fini(&ta);
    traffic_fini(&tb);
}
