/* Wrong addresses, structs, values and calls: an error code, and nothing happens. */
#include "tests/integration/raw.h"

IT_SUITE(misuse);

static struct it_node a, b;

/* ---- addresses ----------------------------------------------------------------------------- */

IT_TEST(misuse, malformed_addresses)
{
    static const char *const bad[] = {"",
                                      "localhost:0",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:x",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:-1",
                                      "127.0.0.1:1 ",
                                      " 127.0.0.1:1",
                                      "127.0.0:1",
                                      "256.0.0.1:1",
                                      "::1:80",
                                      "[::1]",
                                      "[::1]:",
                                      "[::1:80",
                                      "[::1]:99999",
                                      "[:::1]:1",
                                      "unix:",
                                      "unix:@",
                                      "tcp://127.0.0.1:1",
                                      "127.0.0.1:1:2",
                                      "[127.0.0.1]:1",
                                      "0127.0.0.1:1"};
    char long_path[300] = "unix:/tmp/";
    memset(long_path + 10, 'x', sizeof(long_path) - 11);
    it_init(&a, "a");
    it_create(&a, NULL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int listened = weir_node_listen(a.node, bad[i]);
        cr_assert(listened == WEIR_E_ADDRESS, "listen at '%s': %s", bad[i],
                  weir_error_name(listened));
        int dialed = weir_dial(a.node, bad[i], 0);
        cr_assert(dialed == WEIR_E_ADDRESS, "dial '%s': %s", bad[i], weir_error_name(dialed));
        IT_IS(weir_dial_cancel(a.node, bad[i]), WEIR_E_ADDRESS);
    }
    IT_IS(weir_node_listen(a.node, long_path), WEIR_E_ADDRESS);
    IT_IS(weir_dial(a.node, long_path, 0), WEIR_E_ADDRESS);
    IT_IS(weir_dial(a.node, "127.0.0.1:0", 0), WEIR_E_ADDRESS);
    IT_IS(weir_dial(a.node, "[::1]:0", 0), WEIR_E_ADDRESS);
    IT_IS(weir_node_listen(a.node, "localhost:80"), WEIR_E_ADDRESS); /* a name can only be dialed */
    it_free(&a);
}

IT_TEST(misuse, an_address_in_use)
{
    char path[64], address[128];
    snprintf(path, sizeof(path), "unix:/tmp/weir-it-%d.sock", getpid());
    it_init(&a, "a");
    it_init(&b, "b");
    b.cfg.shard_cnt = 2;
    it_create(&b, "127.0.0.1:0");
    IT_OK(weir_node_listen(b.node, path));
    IT_OK(weir_node_listen(b.node, "[::1]:0"));
    it_create(&a, NULL);
    IT_IS(weir_node_listen(a.node, b.address), WEIR_E_IN_USE);
    IT_IS(weir_node_listen(a.node, path), WEIR_E_IN_USE);
    IT_OK(weir_node_address(b.node, 2, address, sizeof(address)));
    IT_IS(weir_node_listen(a.node, address), WEIR_E_IN_USE);
    IT_IS(weir_node_listen(b.node, b.address), WEIR_E_IN_USE); /* its own, too */
    /* A failed listen is not a listener. */
    IT_IS(weir_node_address(a.node, 0, address, sizeof(address)), WEIR_E_MISUSE);
    it_free(&b);
    IT_OK(weir_node_listen(a.node, b.address)); /* and free again */
    IT_OK(weir_node_listen(a.node, path));
    it_free(&a);
    cr_assert(access(path + 5, F_OK) != 0);
}

IT_TEST(misuse, a_stale_socket_file_is_replaced_and_nothing_else_is)
{
    char path[64];
    snprintf(path, sizeof(path), "unix:/tmp/weir-it-%d.sock", getpid());
    struct sockaddr_storage any;
    socklen_t len = raw_address(path, &any);
    int sock = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert(bind(sock, (struct sockaddr *)&any, len) == 0);
    close(sock);
    it_init(&a, "a");
    it_create(&a, path);
    it_free(&a);
    FILE *file = fopen(path + 5, "w");
    cr_assert(file != NULL);
    fputs("precious", file);
    fclose(file);
    it_init(&a, "a");
    it_create(&a, NULL);
    IT_IS(weir_node_listen(a.node, path), WEIR_E_IN_USE);
    cr_assert(weir_node_listen(a.node, "unix:/nonexistent/weir.sock") != 0);
    it_free(&a);
    cr_assert(access(path + 5, F_OK) == 0);
    unlink(path + 5);
}

IT_TEST(misuse, too_many_listeners)
{
    it_init(&a, "a");
    it_create(&a, NULL);
    for (int i = 0; i < 16; i++)
        IT_OK(weir_node_listen(a.node, "127.0.0.1:0"));
    IT_IS(weir_node_listen(a.node, "127.0.0.1:0"), WEIR_E_LIMIT);
    char text[10];
    IT_IS(weir_node_address(a.node, 0, text, sizeof(text)), WEIR_E_TOO_BIG);
    IT_IS(weir_node_address(a.node, 16, text, sizeof(text)), WEIR_E_MISUSE);
    it_free(&a);
}

/* ---- configurations ------------------------------------------------------------------------ */

static char last_line[512];

static void remember(void *ctx, int level, const char *line)
{
    (void)ctx;
    if (level == WEIR_LOG_ERROR)
        snprintf(last_line, sizeof(last_line), "%s", line);
}

static void expect_config(struct weir_config *cfg, const char *field)
{
    weir_node *node = NULL;
    last_line[0] = '\0';
    cfg->log = remember;
    int error = weir_node_create(&node, cfg);
    cr_assert(error == WEIR_E_CONFIG, "%s: %s", field, weir_error_name(error));
    cr_assert(node == NULL, "%s: the output was touched", field);
    cr_assert(strstr(last_line, field) != NULL, "the log does not name %s: %s", field, last_line);
    weir_config_init(cfg);
}

IT_TEST(misuse, every_field_out_of_its_range)
{
    struct weir_config cfg;
    weir_config_init(&cfg);
#define BAD(field, value)            \
    do {                             \
        cfg.field = value;           \
        expect_config(&cfg, #field); \
    } while (0)
    BAD(flags, 1u << 30);
    BAD(shard_cnt, 65);
    BAD(peers_max, 1000001);
    BAD(network_id, "");
    BAD(network_id, "123456789012345678901234567890123");
    BAD(network_id, "a\nb");
    BAD(user_agent, "12345678901234567890123456789012345678901234567890123456789012345");
    BAD(user_agent, "\x7f");
    BAD(log_level, 5);
    BAD(frame_bytes_max, 4095);
    BAD(frame_bytes_max, 65537);
    BAD(send_bytes_max, 100);
    BAD(send_bytes_contended, 100);
    BAD(notsent_lowat_bytes, 100);
    BAD(recv_buf_bytes, 100);
    BAD(recv_buf_bytes, 1u << 30);
    BAD(recv_buf_cnt, 3);
    BAD(recv_buf_cnt, 1);
    BAD(recv_buf_cnt, 65536);
    BAD(pool_bytes_max, 1);
    BAD(peer_bytes_max, 1);
    BAD(mailbox_bytes_max, 1);
    BAD(handshakes_max, 1000001);
    BAD(dials_max, 65537);
    BAD(handshake_timeout_ns, 1);
    BAD(dial_timeout_ns, WEIR_NS_FOREVER);
    BAD(ping_interval_ns, 1);
    BAD(ping_timeout_ns, 1);
    BAD(idle_timeout_ns, 1);
    BAD(stall_timeout_ns, 1);
    BAD(redial_min_ns, 1);
    BAD(redial_max_ns, 1);
    BAD(goodbye_linger_ns, 1);
    BAD(tcp_congestion, "a name that is too long to be the name of one");
#undef BAD
    cfg.tcp_congestion = "nosuch";
    weir_node *node;
    IT_OK(weir_node_create(&node, &cfg));
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    struct weir_channel channel = {.size = sizeof(channel), .id = 1};
    IT_OK(weir_node_attach(node, &reactor, &channel, 1));
    IT_IS(weir_node_start(node), WEIR_E_CONFIG);
    weir_node_free(node);
}

static void expect_channel(struct weir_channel channel, const char *field)
{
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    struct weir_channel good = {.size = sizeof(good), .id = 40};
    struct weir_channel both[2] = {good, channel};
    last_line[0] = '\0';
    int error = weir_node_attach(a.node, &reactor, both, 2);
    cr_assert(error == WEIR_E_CONFIG, "%s: %s", field, weir_error_name(error));
    cr_assert(strstr(last_line, field) != NULL, "the log does not name %s: %s", field, last_line);
}

IT_TEST(misuse, every_field_of_a_channel_out_of_its_range)
{
    it_init(&a, "a");
    a.cfg.log = remember;
    IT_OK(weir_node_create(&a.node, &a.cfg));
#define CHANNEL(...) ((struct weir_channel){.size = sizeof(struct weir_channel), __VA_ARGS__})
    expect_channel(CHANNEL(.id = 65535), "id");
    expect_channel(CHANNEL(.weight = 1001), "weight");
    expect_channel(CHANNEL(.flags = 2), "flags");
    expect_channel(CHANNEL(.msg_bytes_max = WEIR_MSG_BYTES_MAX + 1), "msg_bytes_max");
    expect_channel(CHANNEL(.msg_bytes_max = UINT32_MAX), "msg_bytes_max");
    expect_channel(CHANNEL(.msg_bytes_max = 1 << 20, .recv_bytes_max = (1 << 20) - 1),
                   "recv_bytes_max");
    expect_channel(CHANNEL(.msg_bytes_max = 1 << 20, .send_bytes_max = (1 << 20) - 1),
                   "send_bytes_max");
    expect_channel(CHANNEL(.overflow = 3), "overflow");
#undef CHANNEL
    /* All or nothing: the good one in front was not attached. */
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    struct weir_channel good = {.size = sizeof(good), .id = 40};
    IT_OK(weir_node_attach(a.node, &reactor, &good, 1));
    it_free(&a);
}

IT_TEST(misuse, two_reactors_on_one_channel)
{
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    struct weir_channel channels[2] = {{.size = sizeof(channels[0]), .id = 7},
                                       {.size = sizeof(channels[0]), .id = 8}};
    it_init(&a, "a");
    IT_OK(weir_node_create(&a.node, &a.cfg));
    IT_OK(weir_node_attach(a.node, &reactor, channels, 1));
    IT_IS(weir_node_attach(a.node, &reactor, channels, 1), WEIR_E_DUPLICATE);
    struct weir_channel again[2] = {channels[1], channels[1]};
    IT_IS(weir_node_attach(a.node, &reactor, again, 2), WEIR_E_DUPLICATE);
    IT_OK(weir_node_attach(a.node, &reactor, &channels[1], 1));
    IT_OK(weir_node_attach(a.node, &reactor, NULL, 0)); /* one that only listens to peers */
    it_free(&a);
}

IT_TEST(misuse, too_many_channels_and_reactors)
{
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    struct weir_channel channel = {.size = sizeof(channel)};
    it_init(&a, "a");
    IT_OK(weir_node_create(&a.node, &a.cfg));
    for (uint16_t i = 0; i < 64; i++) {
        channel.id = (uint16_t)(i * 1000);
        IT_OK(weir_node_attach(a.node, &reactor, &channel, 1));
    }
    IT_IS(weir_node_attach(a.node, &reactor, NULL, 0), WEIR_E_LIMIT);
    it_free(&a);
    struct weir_channel many[65];
    for (uint16_t i = 0; i < 65; i++)
        many[i] = (struct weir_channel){.size = sizeof(channel), .id = i};
    IT_OK(weir_node_create(&a.node, &a.cfg));
    IT_IS(weir_node_attach(a.node, &reactor, many, 65), WEIR_E_LIMIT);
    IT_OK(weir_node_attach(a.node, &reactor, many, 64));
    IT_OK(weir_node_start(a.node));
    IT_OK(weir_node_stop(a.node, 0));
    it_free(&a);
}

/* ---- versions ------------------------------------------------------------------------------ */

struct later_config {
    struct weir_config known;
    uint64_t later[4];
};

struct later_channel {
    struct weir_channel known;
    uint64_t later;
};

IT_TEST(misuse, structs_of_a_newer_and_of_an_older_caller)
{
    weir_node *node = NULL;
    struct later_config cfg = {.later = {0}};
    weir_config_init(&cfg.known);
    cfg.known.size = sizeof(cfg);
    cfg.later[3] = 1;
    IT_IS(weir_node_create(&node, &cfg.known), WEIR_E_VERSION);
    cr_assert(node == NULL);
    cfg.later[3] = 0;
    IT_OK(weir_node_create(&node, &cfg.known));

    struct weir_reactor reactor = {.size = sizeof(reactor)};
    struct later_channel channels[2] = {{.known = {.size = sizeof(channels[0]), .id = 1}},
                                        {.known = {.size = sizeof(channels[0]), .id = 2}}};
    channels[1].later = 1;
    IT_IS(weir_node_attach(node, &reactor, &channels[0].known, 2), WEIR_E_VERSION);
    channels[1].later = 0;
    IT_OK(weir_node_attach(node, &reactor, &channels[0].known, 2));
    IT_OK(weir_node_start(node));

    /* What is filled in for the caller must fit it exactly or be smaller. */
    static struct weir_metrics metrics;
    metrics.size = sizeof(metrics) + 8;
    IT_IS(weir_metrics_read(node, &metrics), WEIR_E_VERSION);
    metrics.size = 3;
    IT_IS(weir_metrics_read(node, &metrics), WEIR_E_MISUSE);
    memset(&metrics, 0xEE, sizeof(metrics));
    metrics.size = offsetof(struct weir_metrics, conns);
    IT_OK(weir_metrics_read(node, &metrics));
    IT_EQ(metrics.channel_cnt, 2);
    IT_EQ(metrics.conns, UINT64_C(0xEEEEEEEEEEEEEEEE));
    IT_OK(weir_node_stop(node, 0));
    weir_node_free(node);

    /* An older caller: what it does not know keeps its default. */
    struct weir_config old;
    memset(&old, 0xEE, sizeof(old));
    old.size = offsetof(struct weir_config, network_id);
    old.flags = 0;
    old.shard_cnt = 1;
    old.peers_max = 10;
    IT_OK(weir_node_create(&node, &old));
    weir_node_free(node);
    old.size = 3;
    IT_IS(weir_node_create(&node, &old), WEIR_E_CONFIG);
    old.size = 0;
    IT_IS(weir_node_create(&node, &old), WEIR_E_CONFIG);
    old.size = UINT32_MAX;
    IT_IS(weir_node_create(&node, &old), WEIR_E_CONFIG);
}

/* ---- calls --------------------------------------------------------------------------------- */

IT_TEST(misuse, null_where_something_is_needed)
{
    struct weir_config cfg;
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    struct weir_peer_info info = {.size = sizeof(info)};
    struct weir_msg msg = {0};
    struct weir_buf *buf;
    char text[128];
    weir_node *node;
    weir_config_init(&cfg);
    IT_IS(weir_node_create(NULL, &cfg), WEIR_E_MISUSE);
    IT_IS(weir_node_create(&node, NULL), WEIR_E_MISUSE);
    it_init(&a, "a");
    it_create(&a, NULL);
    IT_IS(weir_node_attach(NULL, &reactor, NULL, 0), WEIR_E_MISUSE);
    IT_IS(weir_node_attach(a.node, NULL, NULL, 0), WEIR_E_MISUSE);
    IT_IS(weir_node_attach(a.node, &reactor, NULL, 1), WEIR_E_MISUSE);
    IT_IS(weir_node_listen(NULL, "127.0.0.1:0"), WEIR_E_MISUSE);
    IT_IS(weir_node_listen(a.node, NULL), WEIR_E_MISUSE);
    IT_IS(weir_node_address(NULL, 0, text, sizeof(text)), WEIR_E_MISUSE);
    IT_IS(weir_node_address(a.node, 0, NULL, 0), WEIR_E_MISUSE);
    IT_IS(weir_node_start(NULL), WEIR_E_MISUSE);
    IT_IS(weir_node_turn(NULL, 0, 0), WEIR_E_MISUSE);
    IT_IS(weir_node_turn(a.node, 0, 0), WEIR_E_MISUSE); /* it has threads of its own */
    IT_IS(weir_node_stop(NULL, 0), WEIR_E_MISUSE);
    IT_IS(weir_node_stop(a.node, 0), WEIR_E_STATE);
    IT_IS(weir_dial(NULL, "127.0.0.1:1", 0), WEIR_E_MISUSE);
    IT_IS(weir_dial(a.node, NULL, 0), WEIR_E_MISUSE);
    IT_IS(weir_dial(a.node, "127.0.0.1:1", 1u << 7), WEIR_E_MISUSE);
    IT_IS(weir_dial_cancel(NULL, "127.0.0.1:1"), WEIR_E_MISUSE);
    IT_IS(weir_dial_cancel(a.node, NULL), WEIR_E_MISUSE);
    IT_IS(weir_dial_cancel(a.node, "127.0.0.1:1"), WEIR_E_GONE);
    IT_IS(weir_disconnect(NULL, (weir_peer){1}, 0), WEIR_E_MISUSE);
    IT_IS(weir_disconnect(a.node, (weir_peer){1}, -1), WEIR_E_MISUSE);
    IT_IS(weir_disconnect(a.node, (weir_peer){1}, WEIR_REASON_CNT), WEIR_E_MISUSE);
    IT_IS(weir_peer_info(NULL, (weir_peer){1}, &info), WEIR_E_MISUSE);
    IT_IS(weir_peer_info(a.node, (weir_peer){1}, NULL), WEIR_E_MISUSE);
    IT_IS(weir_peer_info(a.node, (weir_peer){1}, &info), WEIR_E_GONE);
    info.size++;
    IT_IS(weir_peer_info(a.node, (weir_peer){1}, &info), WEIR_E_VERSION);
    IT_IS(weir_try_send(NULL, (weir_peer){1}, 1, "", 0), WEIR_E_MISUSE);
    IT_IS(weir_send(NULL, (weir_peer){1}, 1, "", 0, 0), WEIR_E_MISUSE);
    IT_IS(weir_msg_keep(NULL, &msg, &buf), WEIR_E_MISUSE);
    IT_IS(weir_msg_keep(a.node, NULL, &buf), WEIR_E_MISUSE);
    IT_IS(weir_msg_keep(a.node, &msg, NULL), WEIR_E_MISUSE);
    IT_IS(weir_msg_keep(a.node, &msg, &buf), WEIR_E_MISUSE); /* not on a shard */
    IT_IS(weir_channel_pause(NULL, (weir_peer){1}, 1, 1), WEIR_E_MISUSE);
    IT_IS(weir_channel_pause(a.node, (weir_peer){1}, 1, 1), WEIR_E_GONE);
    IT_IS(weir_channel_pause(a.node, (weir_peer){1}, 2, 1), WEIR_E_NO_CHANNEL);
    IT_IS(weir_metrics_read(NULL, it_metrics(&a)), WEIR_E_MISUSE);
    IT_IS(weir_metrics_read(a.node, NULL), WEIR_E_MISUSE);
    it_free(&a);
}

IT_TEST(misuse, calls_out_of_season)
{
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    struct weir_channel channel = {.size = sizeof(channel), .id = 1};
    weir_node *node;
    it_init(&a, "a");
    IT_OK(weir_node_create(&node, &a.cfg));
    IT_IS(weir_node_start(node), WEIR_E_CONFIG); /* no channel */
    IT_OK(weir_node_attach(node, &reactor, &channel, 1));
    IT_OK(weir_node_start(node));
    IT_IS(weir_node_start(node), WEIR_E_STATE);
    channel.id = 2;
    IT_IS(weir_node_attach(node, &reactor, &channel, 1), WEIR_E_STATE);
    IT_IS(weir_node_listen(node, "127.0.0.1:0"), WEIR_E_STATE);
    IT_OK(weir_node_stop(node, 0));
    IT_IS(weir_node_stop(node, 0), WEIR_E_STATE);
    IT_IS(weir_node_start(node), WEIR_E_STATE);
    IT_IS(weir_dial(node, "127.0.0.1:1", 0), WEIR_E_STATE);
    IT_IS(weir_try_send(node, (weir_peer){UINT64_C(1) << 32}, 1, "x", 1), WEIR_E_GONE);
    weir_node_free(node);
}

/* Counters are written as far as the caller's struct goes, an older one's too. */
IT_TEST(misuse, counters_by_their_size)
{
    struct weir_discovery_config disco_cfg;
    struct weir_gossip_config gossip_cfg = {.size = sizeof(gossip_cfg)};
    struct weir_discovery_info info;
    struct weir_gossip_stats stats;
    weir_discovery *disco;
    weir_gossip *gossip;
    it_init(&a, "a");
    it_create(&a, NULL);
    weir_discovery_config_init(&disco_cfg);
    IT_OK(weir_discovery_attach(&disco, a.node, &disco_cfg));
    IT_OK(weir_gossip_create(&gossip, a.node, &gossip_cfg));
    for (uint32_t size = 0; size <= sizeof(info) + 8; size += 4) {
        memset(&info, 0xA5, sizeof(info));
        info.size = size;
        int want = size < 4 ? WEIR_E_MISUSE : size > sizeof(info) ? WEIR_E_VERSION : 0;
        IT_IS(weir_discovery_read(disco, &info), want);
        for (size_t i = want ? 4 : size; i < sizeof(info); i++)
            IT_EQ(((uint8_t *)&info)[i], 0xA5);
    }
    for (uint32_t size = 0; size <= sizeof(stats) + 8; size += 4) {
        memset(&stats, 0xA5, sizeof(stats));
        stats.size = size;
        int want = size < 4 ? WEIR_E_MISUSE : size > sizeof(stats) ? WEIR_E_VERSION : 0;
        IT_IS(weir_gossip_stats_read(gossip, &stats), want);
        for (size_t i = want ? 4 : size; i < sizeof(stats); i++)
            IT_EQ(((uint8_t *)&stats)[i], 0xA5);
    }
    IT_IS(weir_discovery_read(NULL, &info), WEIR_E_MISUSE);
    IT_IS(weir_gossip_stats_read(gossip, NULL), WEIR_E_MISUSE);
    it_free(&a);
    weir_discovery_free(disco);
    weir_gossip_free(gossip);
}
