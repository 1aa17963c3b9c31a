/* Whole nodes that encrypt: identities, policies, refusals, keys that change while messages flow. */
#include "tests/integration/raw.h"
#include "tests/integration/traffic.h"

IT_SUITE(secure);

static struct it_node a, b;
static struct traffic ta, tb;

static void key_of(struct weir_key *ret_key, uint32_t kind, uint8_t seed)
{
    *ret_key = (struct weir_key){.kind = kind};
    memset(ret_key->secret, seed, sizeof(ret_key->secret));
}

static void nodes_init(uint32_t secure_a, uint32_t secure_b)
{
    it_init(&a, "a");
    it_init(&b, "b");
    a.cfg.secure = secure_a;
    b.cfg.secure = secure_b;
}

static uint32_t mixed_len(uint16_t channel, uint64_t seq)
{
    static const uint32_t lens[] = {0,     1,     64,    1000,  4094,   16384,
                                    65490, 65505, 65506, 65507, 65518,  65519,
                                    65534, 65535, 65536, 70000, 131012, 262144};
    return lens[(seq * 5 + channel) % (sizeof(lens) / sizeof(lens[0]))];
}

static void run_traffic(uint64_t total)
{
    for (uint16_t id = 1; id <= 3; id++) {
        it_channel(&a, id)->msg_bytes_max = 262144;
        it_channel(&b, id)->msg_bytes_max = 262144;
    }
    traffic_init(&ta, &a, 1, 2, mixed_len, 262144);
    traffic_init(&tb, &b, 2, 1, mixed_len, 262144);
    for (int i = 0; i < 3; i++)
        ta.total[i] = tb.total[i] = total;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    it_link(&a, &b);
    IT_WAIT((ta.received >= 3 * total && tb.received >= 3 * total) || a.faults || b.faults);
    struct weir_peer_info info = {.size = sizeof(info)};
    struct weir_id id;
    IT_OK(it_info(&a, a.up[0], &info));
    IT_EQ(info.is_secure, a.cfg.secure != WEIR_SECURE_PLAIN);
    if (info.is_secure) {
        IT_OK(weir_node_id(b.node, &id));
        cr_assert_arr_eq(info.id.bytes, id.bytes, WEIR_ID_BYTES);
    }
    it_stop(&a);
    it_stop(&b);
    IT_EQ(ta.received, 3 * total);
    IT_EQ(tb.received, 3 * total);
    traffic_fini(&ta);
    traffic_fini(&tb);
}

IT_TEST(secure, messages_of_every_size_arrive_with_either_cipher)
{
    for (uint32_t cipher = WEIR_CIPHER_CHACHA20_POLY1305; cipher <= WEIR_CIPHER_AES_256_GCM;
         cipher++) {
        nodes_init(WEIR_SECURE_REQUIRE, WEIR_SECURE_REQUIRE);
        a.cfg.cipher = cipher;
        run_traffic(400);
    }
}

IT_TEST(secure, keys_change_by_time_while_messages_flow)
{
    nodes_init(WEIR_SECURE_REQUIRE, WEIR_SECURE_REQUIRE);
    a.cfg.rekey_interval_ns = b.cfg.rekey_interval_ns = WEIR_NS_PER_MS;
    run_traffic(1000);
}

IT_TEST(secure, small_receive_buffers_cut_every_record)
{
    nodes_init(WEIR_SECURE_REQUIRE, WEIR_SECURE_REQUIRE);
    a.cfg.recv_buf_bytes = b.cfg.recv_buf_bytes = 2048;
    run_traffic(200);
}

IT_TEST(secure, a_closed_network_lets_only_its_members_in)
{
    struct weir_key key, other;
    key_of(&key, WEIR_KEY_NETWORK, 7);
    key_of(&other, WEIR_KEY_NETWORK, 8);
    nodes_init(WEIR_SECURE_DEFAULT, WEIR_SECURE_DEFAULT);
    a.cfg.network_key = b.cfg.network_key = &key;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    it_link(&a, &b);
    it_stop(&a);
    IT_EQ(b.fails, 0);

    it_init(&a, "wrong key");
    a.cfg.secure = WEIR_SECURE_DEFAULT;
    a.cfg.network_key = &other;
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.fails == 1 && b.fails == 1);
    IT_EQ(b.fail_by[WEIR_R_HANDSHAKE_CRYPTO], 1);
    it_stop(&a);

    it_init(&a, "no key");
    a.cfg.secure = WEIR_SECURE_REQUIRE;
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.fails == 1 && b.fails == 2);
    IT_EQ(a.fail_by[WEIR_R_NETWORK_KEY], 1);
    IT_EQ(b.fail_by[WEIR_R_NETWORK_KEY], 1);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(secure, another_network_id_is_named_by_both_sides)
{
    nodes_init(WEIR_SECURE_REQUIRE, WEIR_SECURE_REQUIRE);
    a.cfg.network_id = "another";
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.fails == 1 && b.fails == 1);
    IT_EQ(a.fail_by[WEIR_R_HANDSHAKE_CRYPTO], 1);
    IT_EQ(b.fail_by[WEIR_R_HANDSHAKE_CRYPTO], 1);
    it_stop(&a);
    it_stop(&b);
}

static _Atomic uint64_t queued_cnt;
static _Atomic bool is_pool_used;

/* Queues wrapped bytes, which are not sealed in place, and runs in turn until the pool has nothing left. */
static void use_pool_up(struct it_node *node, weir_peer peer, int event, int reason)
{
    static uint8_t bytes[100];
    (void)reason;
    if (event != WEIR_PEER_UP)
        return;
    for (int error = 0; error == 0;) {
        struct weir_buf *buf;
        error = weir_buf_wrap(&buf, bytes, sizeof(bytes), NULL, NULL);
        error = error ? error : weir_send_buf(node->node, peer, 1, buf);
        queued_cnt += error == 0;
        if (error == 0)
            error = weir_try_send(node->node, peer, 1, bytes, sizeof(bytes));
        queued_cnt += error == 0;
        is_pool_used = error == WEIR_E_NOMEM;
    }
}

IT_TEST(secure, what_is_queued_goes_when_queues_have_used_up_the_pool)
{
    nodes_init(WEIR_SECURE_REQUIRE, WEIR_SECURE_REQUIRE);
    a.cfg.pool_bytes_max = 1u << 20;
    a.on_peer = use_pool_up;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    it_link(&a, &b);
    IT_WAIT(is_pool_used && b.msgs == queued_cnt);
    IT_EQ(a.downs, 0);
    it_stop(&a);
    it_stop(&b);
}

/* ---- who is who ---------------------------------------------------------------------------------- */

static void address_of(const struct it_node *node, const struct weir_id *id, char *ret_text,
                       size_t cap)
{
    char text[WEIR_ID_TEXT_BYTES];
    snprintf(ret_text, cap, "%s@%s", weir_id_text(id, text), node->address);
}

IT_TEST(secure, the_node_that_was_dialed_is_the_only_one_accepted)
{
    struct weir_key key;
    struct weir_id id, wrong;
    char address[256];
    nodes_init(WEIR_SECURE_REQUIRE, WEIR_SECURE_REQUIRE);
    key_of(&key, WEIR_KEY_NODE, 3);
    b.cfg.node_key = &key;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    IT_OK(weir_key_id(&id, &key));
    wrong = id;
    wrong.bytes[0] ^= 1;
    address_of(&b, &wrong, address, sizeof(address));
    IT_OK(weir_dial(a.node, address, 0));
    IT_WAIT(a.fails == 1 && b.fails == 1);
    IT_EQ(a.fail_by[WEIR_R_WRONG_ID], 1);
    IT_EQ(b.fail_by[WEIR_R_WRONG_ID], 1);
    IT_EQ(a.ups, 0);
    IT_EQ(b.ups, 0);
    address_of(&b, &id, address, sizeof(address));
    IT_OK(weir_dial(a.node, address, 0));
    IT_WAIT(a.ups == 1 && b.ups == 1);
    IT_IS(weir_dial(a.node, address, WEIR_DIAL_PLAIN), WEIR_E_MISUSE);
    it_stop(&a);
    it_stop(&b);
}

static char heard_dial[400];

static void hear_dial(void *ctx, const char *address, int reason)
{
    (void)ctx;
    if (reason == WEIR_R_WRONG_ID && heard_dial[0] == '\0')
        snprintf(heard_dial, sizeof(heard_dial), "%s", address);
}

/* Two dials of one address that differ in the id alone are two. */
IT_TEST(secure, a_dial_is_told_and_cancelled_by_its_id)
{
    struct weir_key key;
    struct weir_id id, wrong;
    char address[256], other[256];
    struct weir_peer_info info = {.size = sizeof(info)};
    nodes_init(WEIR_SECURE_REQUIRE, WEIR_SECURE_REQUIRE);
    key_of(&key, WEIR_KEY_NODE, 3);
    b.cfg.node_key = &key;
    a.cfg.redial_min_ns = WEIR_NS_PER_MS;
    a.cfg.redial_max_ns = 10 * WEIR_NS_PER_MS;
    it_start(&b, "127.0.0.1:0");
    it_create(&a, NULL);
    struct weir_reactor ears = {.size = sizeof(ears), .on_dial = hear_dial};
    IT_OK(weir_node_attach(a.node, &ears, NULL, 0));
    IT_OK(weir_node_start(a.node));
    IT_OK(weir_key_id(&id, &key));
    wrong = id;
    wrong.bytes[0] ^= 1;
    address_of(&b, &id, address, sizeof(address));
    address_of(&b, &wrong, other, sizeof(other));
    IT_OK(weir_dial(a.node, other, WEIR_DIAL_PERSIST));
    IT_OK(weir_dial(a.node, address, WEIR_DIAL_PERSIST));
    IT_WAIT(a.ups == 1 && a.fails >= 3);
    weir_peer peer = {0};
    IT_EQ(weir_peer_list(a.node, &peer, 1), 1);
    IT_OK(it_info(&a, peer, &info));
    cr_assert_str_eq(info.dialed, b.address);
    cr_assert_str_eq(info.dialed_as, address);
    /* The one that no node answers to goes, and the other one stays. */
    IT_OK(weir_dial_cancel(a.node, other));
    IT_WAIT(weir_dial_cancel(a.node, other) == WEIR_E_GONE);
    cr_assert_str_eq(heard_dial, other);
    IT_OK(it_info(&a, peer, &info));
    cr_assert_str_eq(info.dialed_as, address);
    IT_OK(weir_disconnect(a.node, peer, 0)); /* it is dialed again */
    IT_WAIT(a.ups == 2);
    IT_EQ(weir_peer_list(a.node, &peer, 1), 1);
    /* Without an id it means whoever is dialed there. */
    IT_OK(weir_dial_cancel(a.node, b.address));
    IT_WAIT(weir_dial_cancel(a.node, b.address) == WEIR_E_GONE);
    IT_IS(weir_dial_cancel(a.node, address), WEIR_E_GONE);
    IT_OK(it_info(&a, peer, &info));
    cr_assert_str_eq(info.dialed_as, "");
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(secure, a_node_that_dials_itself_notices)
{
    nodes_init(WEIR_SECURE_REQUIRE, WEIR_SECURE_REQUIRE);
    it_start(&a, "127.0.0.1:0");
    IT_OK(weir_dial(a.node, a.address, WEIR_DIAL_PERSIST));
    IT_WAIT(a.fails == 2);
    IT_EQ(a.fail_by[WEIR_R_SELF], 2);
    it_stop(&a);
}

/* ---- one connection per peer --------------------------------------------------------------------- */

/* A message arrives. An end is counted before it is told, so the peer that is up may be the one that goes: it is said again
 * to who is there then. */
static void expect_arrival(struct it_node *from, struct it_node *to)
{
    uint64_t was = to->msgs;
    for (weir_ns until = weir_now() + IT_PATIENCE; to->msgs == was;) {
        cr_assert(weir_now() < until, "nothing arrives");
        int error = weir_send(from->node, from->up[0], 1, "m", 1, WEIR_NS_PER_S);
        cr_assert(error == 0 || error == WEIR_E_GONE || error == WEIR_E_TIMEOUT, "%s",
                  weir_error_name(error));
        for (int i = 0; i < 1000 && to->msgs == was; i++)
            usleep(1000);
    }
}

static void expect_one_connection(uint32_t twin_cnt)
{
    /* Every connection but one ends, on both sides and with its reason. */
    IT_WAIT(a.up_cnt == 1 && b.up_cnt == 1 &&
            it_metrics(&a)->closes[WEIR_R_DUPLICATE_PEER] >= twin_cnt &&
            it_metrics(&b)->closes[WEIR_R_DUPLICATE_PEER] >= twin_cnt);
    /* And what is left is the same one: a message each way arrives. */
    expect_arrival(&a, &b);
    expect_arrival(&b, &a);
    IT_WAIT(a.up_cnt == 1 && b.up_cnt == 1);
}

IT_TEST(secure, crossed_dials_end_as_one_connection)
{
    for (uint8_t round = 0; round < 8; round++) {
        nodes_init(WEIR_SECURE_REQUIRE, WEIR_SECURE_REQUIRE);
        a.cfg.shard_cnt = b.cfg.shard_cnt = 1 + round % 2;
        it_start(&a, "127.0.0.1:0");
        it_start(&b, "127.0.0.1:0");
        IT_OK(weir_dial(a.node, b.address, 0));
        IT_OK(weir_dial(b.node, a.address, 0));
        expect_one_connection(1);
        it_stop(&a);
        it_stop(&b);
    }
}

IT_TEST(secure, many_addresses_of_one_node_are_one_connection)
{
    char address[160];
    nodes_init(WEIR_SECURE_REQUIRE, WEIR_SECURE_REQUIRE);
    a.cfg.shard_cnt = b.cfg.shard_cnt = 2;
    it_start(&b, "0.0.0.0:0");
    it_start(&a, "127.0.0.1:0");
    for (int i = 1; i <= 8; i++) {
        snprintf(address, sizeof(address), "127.0.0.%d%s", i, strrchr(b.address, ':'));
        IT_OK(weir_dial(a.node, address, i % 2 ? 0 : WEIR_DIAL_PERSIST));
    }
    IT_OK(weir_dial(b.node, a.address, 0));
    expect_one_connection(8);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(secure, several_connections_stay_where_they_are_asked_for)
{
    char address[160];
    nodes_init(WEIR_SECURE_REQUIRE, WEIR_SECURE_REQUIRE);
    a.cfg.flags = b.cfg.flags = WEIR_CONFIG_TWINS;
    it_start(&b, "0.0.0.0:0");
    it_start(&a, NULL);
    for (int i = 1; i <= 4; i++) {
        snprintf(address, sizeof(address), "127.0.0.%d%s", i, strrchr(b.address, ':'));
        IT_OK(weir_dial(a.node, address, 0));
    }
    IT_WAIT(a.up_cnt == 4 && b.up_cnt == 4);
    IT_EQ(it_metrics(&b)->closes[WEIR_R_DUPLICATE_PEER], 0);
    it_stop(&a);
    it_stop(&b);
}

/* ---- policies ------------------------------------------------------------------------------------ */

/* Has `a` dial `b` with these policies; expects a connection that is secure or not, or a failure. */
static void expect(uint32_t secure_a, uint32_t secure_b, uint32_t flags, int want)
{
    nodes_init(secure_a, secure_b);
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, flags));
    if (want < 2) {
        IT_WAIT(a.ups == 1 && b.ups == 1);
        struct weir_peer_info info = {.size = sizeof(info)};
        IT_OK(it_info(&a, a.up[0], &info));
        cr_assert(info.is_secure == want, "%u to %u: secure %u", secure_a, secure_b,
                  info.is_secure);
    } else {
        IT_WAIT(a.fails == 1 && b.fails == 1);
        IT_EQ(a.fail_by[want], 1);
        IT_EQ(b.fail_by[want], 1);
        IT_EQ(it_metrics(&b)->closes[want], 1);
    }
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(secure, policies_meet_as_the_header_says)
{
    enum { PLAIN = WEIR_SECURE_PLAIN, PREFER = WEIR_SECURE_PREFER, REQUIRE = WEIR_SECURE_REQUIRE };
    expect(WEIR_SECURE_DEFAULT, WEIR_SECURE_DEFAULT, 0, 1); /* without any key: new ones */
    expect(PLAIN, WEIR_SECURE_DEFAULT, 0, WEIR_R_PLAIN_REFUSED);
    expect(WEIR_SECURE_DEFAULT, PLAIN, 0, WEIR_R_SECURE_REFUSED);
    expect(PLAIN, PLAIN, 0, 0);
    expect(PLAIN, PREFER, 0, 0);
    expect(PLAIN, REQUIRE, 0, WEIR_R_PLAIN_REFUSED);
    expect(PREFER, PLAIN, 0, 0);
    expect(PREFER, PREFER, 0, 1);
    expect(PREFER, REQUIRE, 0, 1);
    expect(REQUIRE, PLAIN, 0, WEIR_R_SECURE_REFUSED);
    expect(REQUIRE, PREFER, 0, 1);
    expect(REQUIRE, REQUIRE, 0, 1);
    expect(REQUIRE, PREFER, WEIR_DIAL_PLAIN, 0);
    expect(REQUIRE, PLAIN, WEIR_DIAL_PREFER, 0);
    expect(PREFER, PLAIN, WEIR_DIAL_REQUIRE, WEIR_R_SECURE_REFUSED);
}

IT_TEST(secure, prefer_does_not_fall_back_after_a_failed_handshake)
{
    struct weir_key key, other;
    key_of(&key, WEIR_KEY_NETWORK, 1);
    key_of(&other, WEIR_KEY_NETWORK, 2);
    nodes_init(WEIR_SECURE_PREFER, WEIR_SECURE_PREFER);
    a.cfg.network_key = &key;
    b.cfg.network_key = &other;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.fails == 1 && b.fails == 1);
    usleep(50000);
    IT_EQ(a.fails, 1);
    IT_EQ(a.ups, 0);
    IT_EQ(it_metrics(&b)->accepted, 1);
    it_stop(&a);
    it_stop(&b);
}
