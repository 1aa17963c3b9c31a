/* Limits, scores and bans of a whole node, on loopback: with WEIR_CONFIG_LIMIT_LOOPBACK 127.0.0.x are addresses
 * like any others. */
#include <fcntl.h>
#include <sys/stat.h>

#include "engine/node/internal.h"
#include "tests/integration/raw.h"

IT_SUITE(guard);

static struct it_node a, b;
static char said[64][512];
static _Atomic uint32_t said_cnt;

static void hear(void *ctx, int level, const char *line)
{
    (void)ctx;
    (void)level;
    uint32_t at = atomic_fetch_add(&said_cnt, 1);
    if (at < 64)
        snprintf(said[at], sizeof(said[at]), "%s", line);
}

static const char *heard(const char *part)
{
    for (uint32_t i = 0; i < said_cnt && i < 64; i++) {
        if (strstr(said[i], part))
            return said[i];
    }
    return NULL;
}

static void init(struct it_node *node, const char *name)
{
    it_init(node, name);
    it_channel(node, 1);
    said_cnt = 0;
    node->cfg.log = hear;
    node->cfg.log_level = WEIR_LOG_WARN;
    node->cfg.flags |= WEIR_CONFIG_LIMIT_LOOPBACK;
    node->cfg.address_burst = node->cfg.subnet_burst = UINT32_MAX;
}

/* A raw connection from an address of this machine. */
static void connect_from_host(struct raw *raw, const struct it_node *node, uint32_t host)
{
    raw_init(raw, 1, 65536);
    raw->sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(host);
    cr_assert(bind(raw->sock, (struct sockaddr *)&from, sizeof(from)) == 0);
    struct sockaddr_storage to;
    socklen_t len = raw_address(node->address, &to);
    cr_assert(connect(raw->sock, (struct sockaddr *)&to, len) == 0);
}

/* From 127.0.0.`last`. */
static void connect_from(struct raw *raw, const struct it_node *node, uint8_t last)
{
    connect_from_host(raw, node, 0x7F000000u + last);
}

static void refused_for(struct it_node *node, uint8_t last, int reason)
{
    struct raw raw;
    uint64_t before = it_closes(node, reason), all = it_metrics(node)->refused;
    connect_from(&raw, node, last);
    cr_assert(!raw_handshake(&raw, true));
    raw_close(&raw);
    IT_WAIT(it_closes(node, reason) == before + 1);
    IT_EQ(it_metrics(node)->refused, all + 1);
}

static void joined(struct raw *raw, struct it_node *node, uint8_t last)
{
    uint32_t ups = node->ups;
    connect_from(raw, node, last);
    cr_assert(raw_handshake(raw, true));
    IT_WAIT(node->ups == ups + 1);
}

IT_TEST(guard, each_limit_refuses_with_its_reason)
{
    struct raw raws[4];
    init(&b, "b");
    b.cfg.shard_cnt = 2; /* the limits are the node's, whichever shard accepts */
    b.cfg.address_max = 2;
    b.cfg.subnet_max = 3;
    b.cfg.inbound_max = 4;
    it_start(&b, "127.0.0.1:0");
    joined(&raws[0], &b, 1);
    joined(&raws[1], &b, 1);
    refused_for(&b, 1, WEIR_R_LIMIT_ADDRESS);
    joined(&raws[2], &b, 2);
    refused_for(&b, 3, WEIR_R_LIMIT_SUBNET);
    raw_close(&raws[0]);
    IT_WAIT(b.downs == 1);
    joined(&raws[0], &b, 1);
    for (int i = 0; i < 3; i++)
        raw_close(&raws[i]);
    IT_WAIT(b.downs == 4);
    IT_EQ(weir_admit_groups(b.node->guard.admit), 0);
    it_stop(&b);
    init(&b, "b");
    b.cfg.address_max = b.cfg.subnet_max = UINT32_MAX;
    b.cfg.inbound_max = 2;
    it_start(&b, "127.0.0.1:0");
    joined(&raws[0], &b, 1);
    joined(&raws[1], &b, 2);
    refused_for(&b, 3, WEIR_R_LIMIT_INBOUND);
    raw_close(&raws[0]);
    raw_close(&raws[1]);
    IT_WAIT(b.downs == 2);
    it_stop(&b);
}

IT_TEST(guard, pending_strangers_have_a_limit_and_a_reason_of_their_own)
{
    struct raw raws[3];
    init(&b, "b");
    b.cfg.handshakes_max = 2;
    it_start(&b, "127.0.0.1:0");
    connect_from(&raws[0], &b, 1);
    connect_from(&raws[1], &b, 2);
    IT_WAIT(it_metrics(&b)->handshakes == 2);
    refused_for(&b, 3, WEIR_R_LIMIT_HANDSHAKES);
    raw_close(&raws[0]);
    IT_WAIT(it_metrics(&b)->handshakes == 1);
    joined(&raws[2], &b, 3);
    raw_close(&raws[1]);
    raw_close(&raws[2]);
    IT_WAIT(b.downs == 1 && it_metrics(&b)->conns == 0);
    IT_EQ(weir_admit_groups(b.node->guard.admit), 0);
    it_stop(&b);
}

IT_TEST(guard, an_address_that_connects_too_often)
{
    struct raw raw;
    init(&b, "b");
    b.cfg.address_burst = 3;
    b.cfg.address_interval_ns = 3600 * WEIR_NS_PER_S;
    it_start(&b, "127.0.0.1:0");
    for (uint32_t i = 0; i < 3; i++) {
        joined(&raw, &b, 1);
        raw_close(&raw);
        IT_WAIT(b.downs == i + 1);
    }
    refused_for(&b, 1, WEIR_R_LIMIT_RATE);
    joined(&raw, &b, 2);
    raw_close(&raw);
    IT_WAIT(b.downs == 4);
    it_stop(&b);
}

IT_TEST(guard, loopback_is_not_limited_by_default)
{
    struct raw raws[20];
    init(&b, "b");
    b.cfg.flags = 0;
    b.cfg.address_max = b.cfg.subnet_max = 1;
    b.cfg.address_burst = b.cfg.subnet_burst = 1;
    it_start(&b, "127.0.0.1:0");
    for (int i = 0; i < 20; i++)
        joined(&raws[i], &b, 1);
    for (int i = 0; i < 20; i++)
        raw_close(&raws[i]);
    IT_WAIT(b.downs == 20);
    it_stop(&b);
}

IT_TEST(guard, outbound_connections_have_their_limit)
{
    init(&a, "a");
    init(&b, "b");
    it_start(&b, "127.0.0.1:0");
    a.cfg.outbound_max = 2;
    it_start(&a, NULL);
    for (uint32_t i = 1; i <= 2; i++) {
        IT_OK(weir_dial(a.node, b.address, 0));
        IT_WAIT(a.ups == i);
    }
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.fail_by[WEIR_R_LIMIT_OUTBOUND] == 1);
    IT_OK(weir_dial_cancel(a.node, b.address)); /* its connection stays, and stays counted */
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.fail_by[WEIR_R_LIMIT_OUTBOUND] == 2);
    weir_peer peers[2] = {it_peer(&a, 0), it_peer(&a, 1)};
    IT_OK(weir_disconnect(a.node, peers[0], 0));
    IT_OK(weir_disconnect(a.node, peers[1], 0));
    IT_WAIT(a.downs == 2);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.ups == 3);
    it_stop(&a);
    it_stop(&b);
}

/* ---- scores -------------------------------------------------------------------------------- */

/* Shakes hands and sends rubbish. */
static void offend(struct it_node *node, uint8_t last)
{
    struct raw raw;
    uint32_t downs = node->downs;
    joined(&raw, node, last);
    uint8_t rubbish[64];
    memset(rubbish, 0xEE, sizeof(rubbish));
    cr_assert(write(raw.sock, rubbish, sizeof(rubbish)) == sizeof(rubbish));
    IT_WAIT(node->downs == downs + 1);
    raw_close(&raw);
}

IT_TEST(guard, who_breaks_the_wire_format_twice_is_banned)
{
    init(&b, "b");
    it_start(&b, "127.0.0.1:0");
    offend(&b, 5);
    IT_EQ(it_metrics(&b)->points, 50);
    IT_EQ(it_metrics(&b)->bans, 0);
    offend(&b, 5);
    IT_WAIT(it_metrics(&b)->bans == 1);
    refused_for(&b, 5, WEIR_R_BANNED);
    struct raw raw;
    joined(&raw, &b, 6);
    struct weir_ban_info info[2];
    IT_EQ(weir_ban_list(b.node, info, 2), 1);
    cr_assert_str_eq(info[0].prefix, "127.0.0.5/32");
    IT_EQ(info[0].until_s - info[0].since_s, 3600);
    IT_EQ(info[0].is_manual, 0);
    const char *line = heard("weir-ban 127.0.0.5/32 until=");
    cr_assert(line != NULL, "the line for fail2ban");
    cr_assert(strstr(line, " reason=bad-magic score=100 by=score") != NULL, "%s", line);
    cr_assert(line[4] == '-' && line[10] == 'T' && line[19] == 'Z', "%s", line);
    IT_OK(weir_unban(b.node, "127.0.0.5"));
    IT_IS(weir_unban(b.node, "127.0.0.5"), WEIR_E_GONE);
    raw_close(&raw);
    joined(&raw, &b, 5);
    raw_close(&raw);
    it_stop(&b);
}

static void blame_in_callback(struct it_node *node, const struct weir_msg *msg)
{
    if (weir_blame(node->node, msg->peer, 30) != 0)
        it_fault(node, "blame");
}

IT_TEST(guard, the_application_s_points_disconnect_and_then_ban)
{
    struct raw raw;
    init(&b, "b");
    b.on_msg = blame_in_callback;
    it_start(&b, "127.0.0.1:0");
    joined(&raw, &b, 5);
    raw_message(&raw, 1, "x", 1);
    IT_WAIT(b.msgs == 1);
    IT_EQ(b.downs, 0);
    raw_message(&raw, 1, "x", 1);
    IT_WAIT(b.downs == 1);
    IT_EQ(b.down_by[WEIR_R_MISBEHAVED], 1);
    IT_EQ(raw_end(&raw), WEIR_R_MISBEHAVED);
    raw_close(&raw);
    joined(&raw, &b, 5);
    /* From another thread. */
    IT_IS(weir_blame(b.node, it_peer(&b, 0), 0), WEIR_E_MISUSE);
    IT_OK(weir_blame(b.node, it_peer(&b, 0), 60));
    IT_WAIT(b.downs == 2);
    IT_EQ(b.down_by[WEIR_R_BANNED], 1);
    raw_close(&raw);
    IT_EQ(it_metrics(&b)->bans, 1);
    refused_for(&b, 5, WEIR_R_BANNED);
    it_stop(&b);
}

IT_TEST(guard, what_the_peer_says_of_us_costs_it_nothing)
{
    struct raw raw;
    init(&b, "b");
    it_start(&b, "127.0.0.1:0");
    for (uint32_t i = 0; i < 3; i++) {
        joined(&raw, &b, 5);
        struct weir_control goodbye = {.kind = WEIR_CONTROL_GOODBYE, .reason = WEIR_R_BAD_CHECKSUM};
        raw_control(&raw, &goodbye);
        IT_WAIT(b.downs == i + 1);
        IT_EQ(b.down_by[WEIR_R_BAD_CHECKSUM], i + 1);
        raw_close(&raw);
    }
    IT_EQ(it_metrics(&b)->points, 0);
    it_stop(&b);
}

/* The same before there is a connection. What its bytes are found to be still counts. */
IT_TEST(guard, what_the_peer_says_of_us_in_a_handshake_costs_it_nothing)
{
    static const struct weir_control goodbye = {.kind = WEIR_CONTROL_GOODBYE,
                                                .reason = WEIR_R_BAD_CHANNEL};
    struct raw raw;
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    init(&b, "b");
    it_start(&b, "127.0.0.1:0");
    for (uint32_t i = 0; i < 4; i++) {
        raw_init(&raw, 1, 65536);
        raw_connect(&raw, b.address);
        weir_codec_native.begin(raw.state, &raw.offer, true);
        raw_pull(&raw); /* its preface */
        cr_assert(raw_read(&raw, 60000));
        size_t len = weir_codec_native.control_write(bytes, &goodbye);
        bytes[len - 1] ^= (uint8_t)(i == 3); /* a frame that says otherwise than its checksum */
        cr_assert(raw_bytes(&raw, bytes, len));
        IT_WAIT(b.fails == i + 1);
        IT_EQ(b.fail_by[WEIR_R_BAD_CHANNEL], i < 3 ? i + 1 : 3);
        IT_EQ(it_metrics(&b)->points, i < 3 ? 0 : 25);
        raw_close(&raw);
    }
    it_stop(&b);
}

IT_TEST(guard, peers_that_are_kept_dialed_are_exempt)
{
    init(&a, "a");
    init(&b, "b");
    a.cfg.redial_min_ns = a.cfg.redial_max_ns = 10 * IT_MS;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, WEIR_DIAL_PERSIST));
    IT_WAIT(a.ups == 1);
    IT_OK(weir_blame(a.node, it_peer(&a, 0), 1000000));
    IT_OK(weir_try_send(a.node, it_peer(&a, 0), 1, "after it", 8));
    IT_WAIT(b.msgs == 1);
    IT_EQ(it_metrics(&a)->bans, 0);
    /* An operator's ban does not end what an operator keeps dialed, but a plain dial. */
    IT_OK(weir_ban(a.node, "127.0.0.0/8", 0, 0));
    IT_OK(weir_dial(a.node, "127.0.0.9:1", 0));
    IT_WAIT(a.fail_by[WEIR_R_BANNED] == 1);
    IT_OK(weir_disconnect(b.node, it_peer(&b, 0), 0));
    IT_WAIT(a.ups == 2);
    it_stop(&a);
    it_stop(&b);
}

/* ---- bans ---------------------------------------------------------------------------------- */

IT_TEST(guard, a_ban_by_hand_closes_and_refuses_until_its_time)
{
    struct raw raws[2];
    init(&b, "b");
    b.cfg.shard_cnt = 2;
    it_start(&b, "127.0.0.1:0");
    joined(&raws[0], &b, 5);
    joined(&raws[1], &b, 200);
    IT_OK(weir_ban(b.node, "127.0.0.0/25", 100 * WEIR_NS_PER_S, WEIR_R_APPLICATION));
    IT_WAIT(b.downs == 1);
    IT_EQ(b.down_by[WEIR_R_BANNED], 1);
    IT_EQ(raw_end(&raws[0]), WEIR_R_BANNED);
    refused_for(&b, 6, WEIR_R_BANNED);
    cr_assert(heard("weir-ban 127.0.0.0/25 until=") != NULL);
    b.node->guard.wall_skew_s = 101;
    raw_close(&raws[0]);
    joined(&raws[0], &b, 6);
    IT_EQ(weir_ban_list(b.node, NULL, 0), 0);
    IT_IS(weir_ban(b.node, "nonsense", 0, 0), WEIR_E_ADDRESS);
    IT_IS(weir_ban(b.node, "127.0.0.1", 0, WEIR_REASON_CNT), WEIR_E_MISUSE);
    raw_close(&raws[0]);
    raw_close(&raws[1]);
    IT_WAIT(b.downs == 3);
    it_stop(&b);
}

static char path[128];

static void make_node(struct it_node *node)
{
    init(node, "b");
    node->cfg.ban_path = path;
    it_create(node, NULL);
}

IT_TEST(guard, bans_survive_a_restart_and_damage)
{
    char damaged[160];
    snprintf(path, sizeof(path), "/tmp/weir-it-bans-%d", getpid());
    snprintf(damaged, sizeof(damaged), "%s.damaged", path);
    unlink(path);
    make_node(&b);
    IT_OK(weir_ban(b.node, "192.0.2.7", 100 * WEIR_NS_PER_S, 0));
    IT_OK(weir_ban(b.node, "2001:db8::/32", WEIR_NS_FOREVER, 0));
    IT_OK(weir_ban(b.node, "198.51.100.0/24", 0, 0));
    IT_OK(weir_unban(b.node, "198.51.100.0/24"));
    it_free(&b); /* which writes what is left to write */
    struct stat stat_now;
    cr_assert(stat(path, &stat_now) == 0 && (stat_now.st_mode & 0777) == 0600);
    struct weir_ban_info info[4];
    make_node(&b);
    IT_EQ(weir_ban_list(b.node, info, 4), 2);
    IT_EQ(said_cnt, 0);
    uint64_t until = info[0].until_s;
    b.node->guard.wall_skew_s = 101; /* absolute times */
    IT_EQ(weir_ban_list(b.node, info, 4), 1);
    cr_assert_str_eq(info[0].prefix, "2001:db8::/32");
    b.node->guard.wall_skew_s = 0;
    it_free(&b);
    /* A damaged byte in the first ban's line. */
    int fd = open(path, O_RDWR);
    cr_assert(pwrite(fd, "7", 1, 15) == 1);
    close(fd);
    make_node(&b);
    cr_assert(heard("is damaged (1 lines, the first is line 2; its end is missing or does not "
                    "match): the other 1 bans hold; the file is now ") != NULL,
              "%s", said[0]);
    cr_assert(access(damaged, F_OK) == 0);
    IT_EQ(weir_ban_list(b.node, info, 4), 1);
    IT_OK(weir_node_start(b.node)); /* nothing else is lost: the node runs */
    it_stop(&b);
    make_node(&b);
    IT_EQ(said_cnt, 0); /* the file is whole again */
    IT_EQ(weir_ban_list(b.node, info, 4), 1);
    it_free(&b);
    cr_assert(until > 0);
    unlink(path);
    unlink(damaged);
    /* What cannot be read at all is said before anything runs. */
    cr_assert(mkdir(path, 0700) == 0);
    init(&b, "b");
    b.cfg.ban_path = path;
    IT_IS(weir_node_create(&b.node, &b.cfg), WEIR_E_ACCESS);
    cr_assert(heard("cannot be read") != NULL);
    rmdir(path);
}

IT_TEST(guard, a_ban_is_in_the_file_while_the_node_runs)
{
    snprintf(path, sizeof(path), "/tmp/weir-it-bans-%d", getpid());
    unlink(path);
    make_node(&b);
    IT_OK(weir_node_start(b.node));
    char text[64];
    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "192.0.2.%d", i);
        IT_OK(weir_ban(b.node, text, 0, 0));
    }
    IT_WAIT(b.node->guard.saved_version == 50);
    struct it_node other;
    init(&other, "other");
    other.cfg.ban_path = path;
    it_create(&other, NULL);
    IT_EQ(weir_ban_list(other.node, NULL, 0), 50);
    it_free(&other);
    it_stop(&b);
    unlink(path);
}

/* A raw connection from 127.`subnet`.0.`last` that says hello and stays. */
static void join_subnet(struct raw *raw, struct it_node *node, uint8_t subnet, uint8_t last)
{
    uint32_t ups = node->ups;
    connect_from_host(raw, node, 0x7F000000u | (uint32_t)subnet << 16 | last);
    cr_assert(raw_handshake(raw, true));
    IT_WAIT(node->ups == ups + 1);
}

/* The node is full: 20 from subnets of their own, then 20 of one subnet. One more of those is refused, a stranger gets
 * the place of the youngest of them. */
IT_TEST(guard, a_full_node_gives_the_place_of_a_crowd_to_a_stranger)
{
    static struct raw raws[41];
    init(&b, "b");
    b.cfg.shard_cnt = 1;
    b.cfg.address_max = b.cfg.subnet_max = UINT32_MAX;
    b.cfg.inbound_max = 40;
    b.cfg.ping_timeout_ns = 600 * WEIR_NS_PER_S; /* raw ones do not answer: none is near */
    b.cfg.log_level = WEIR_LOG_ERROR;
    it_start(&b, "127.0.0.1:0");
    for (uint32_t i = 0; i < 40; i++)
        join_subnet(&raws[i], &b, i < 20 ? (uint8_t)(1 + i) : 200, (uint8_t)(1 + i));
    uint64_t refused = it_closes(&b, WEIR_R_LIMIT_INBOUND);
    connect_from_host(&raws[40], &b, 0x7F000000u | 200u << 16 | 99u);
    cr_assert(!raw_handshake(&raws[40], true), "one more of the crowd");
    raw_close(&raws[40]);
    IT_WAIT(it_closes(&b, WEIR_R_LIMIT_INBOUND) == refused + 1);
    IT_EQ(it_closes(&b, WEIR_R_EVICTED), 0);
    usleep(20000); /* not two looks within 10 ms; that one was no sooner does no harm */
    join_subnet(&raws[40], &b, 150, 1);
    IT_EQ(it_closes(&b, WEIR_R_EVICTED), 1);
    IT_WAIT(b.downs == 1);
    for (uint32_t i = 0; i < 41; i++)
        raw_close(&raws[i]);
    IT_WAIT(b.downs == 41);
    IT_EQ(weir_admit_groups(b.node->guard.admit), 0);
    it_stop(&b);
}
