/* What comes to an open port: strangers, half a handshake, too many, other networks, ourselves. And what a
 * dialer meets. Each ends with the right reason, is counted, and leaves nothing behind. */
#include "tests/integration/raw.h"

IT_SUITE(handshake);

static struct it_node a, b;
static struct raw raw;

static void node_start(void)
{
    it_init(&b, "b");
    it_channel(&b, 1);
    it_start(&b, "127.0.0.1:0");
}

/* The bytes that a right dialer sends first: preface and hello. */
static size_t dialer_bytes(uint8_t ret_bytes[WEIR_HANDSHAKE_OUT_MAX])
{
    struct raw side, listener;
    raw_init(&side, 1, 65536);
    raw_init(&listener, 1, 65536);
    const struct weir_codec *codec = &weir_codec_native;
    codec->begin(side.state, &side.offer, true);
    codec->begin(listener.state, &listener.offer, false);
    uint8_t answer[WEIR_HANDSHAKE_OUT_MAX];
    struct weir_feed feed;
    size_t len = codec->pull(side.state, ret_bytes, WEIR_HANDSHAKE_OUT_MAX);
    codec->feed(listener.state, ret_bytes, len, NULL, 0, &feed);
    size_t answer_len = codec->pull(listener.state, answer, sizeof(answer));
    codec->feed(side.state, answer, answer_len, NULL, 0, &feed);
    len += codec->pull(side.state, ret_bytes + len, WEIR_HANDSHAKE_OUT_MAX - len);
    raw_close(&side);
    raw_close(&listener);
    return len;
}

/* ---- disappearing -------------------------------------------------------------------------- */

/* At every byte of the handshake, by an end and by a reset. */
IT_TEST(handshake, a_peer_that_disappears_at_any_byte_is_counted_and_leaves_nothing)
{
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t all = dialer_bytes(bytes);
    node_start();
    uint32_t ended = 0;
    for (size_t len = 0; len < all; len++) {
        raw_init(&raw, 1, 65536);
        raw_connect(&raw, b.address);
        cr_assert(raw_bytes(&raw, bytes, len));
        shutdown(raw.sock, SHUT_WR);
        while (raw_read(&raw, 60000))
            ;
        raw_close(&raw);
        ended++;
        IT_WAIT(b.fails == ended);
        IT_EQ(b.fail_by[WEIR_R_EOF], ended);
    }
    IT_EQ(it_closes(&b, WEIR_R_EOF), ended);
    for (size_t len = 0; len < all; len++) {
        raw_init(&raw, 1, 65536);
        raw_connect(&raw, b.address);
        cr_assert(raw_bytes(&raw, bytes, len));
        if (len % 2)
            raw_reset(&raw);
        raw_close(&raw);
        ended++;
    }
    /* What the node says meets a closed socket: an end or a reset, whichever is seen first. */
    IT_WAIT(b.fails == ended);
    IT_EQ(b.fail_by[WEIR_R_EOF] + b.fail_by[WEIR_R_RESET], ended);
    IT_EQ(b.ups, 0);
    it_wait_empty(&b);
    IT_EQ(it_metrics(&b)->accepted, ended);
    it_stop(&b);
}

IT_TEST(handshake, a_peer_that_closes_behind_its_hello_was_up)
{
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t all = dialer_bytes(bytes);
    node_start();
    raw_init(&raw, 1, 65536);
    raw_connect(&raw, b.address);
    cr_assert(raw_bytes(&raw, bytes, all));
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    /* Our hello meets a closed socket: whichever is seen first, its end or its reset. */
    IT_EQ(b.down_by[WEIR_R_EOF] + b.down_by[WEIR_R_RESET], 1);
    IT_EQ(b.fails, 0);
    it_stop(&b);
}

IT_TEST(handshake, a_peer_that_disappears_at_any_byte_of_a_frame_was_up_and_delivers_nothing)
{
    uint8_t frame[256], payload[100] = {1};
    size_t all =
        raw_frame_put(frame, WEIR_FRAME_FIRST, 1, sizeof(payload), payload, sizeof(payload));
    node_start();
    for (size_t len = 1; len < all; len++) {
        raw_init(&raw, 1, 65536);
        raw_join(&raw, &b);
        cr_assert(raw_bytes(&raw, frame, len));
        raw_close(&raw);
        IT_WAIT(b.downs == len);
        IT_EQ(b.down_by[WEIR_R_EOF], len);
    }
    IT_EQ(b.msgs, 0);
    it_wait_empty(&b);
    it_stop(&b);
}

/* Between the fragments of a large message: its memory comes back. */
IT_TEST(handshake, a_peer_that_disappears_in_the_middle_of_a_message_leaves_no_memory)
{
    static uint8_t payload[65536];
    node_start();
    for (uint32_t i = 0; i < 4; i++) {
        raw_init(&raw, 1, 65536);
        raw_join(&raw, &b);
        cr_assert(raw_frame(&raw, WEIR_FRAME_FIRST, 1, 1 << 20, payload, i % 2 ? 65536 : 1));
        if (i > 1)
            cr_assert(raw_bytes(&raw, "WEIR", 4));
        IT_WAIT(it_metrics(&b)->pool_bytes >= 1 << 20);
        raw_close(&raw);
        IT_WAIT(b.downs == i + 1);
        it_wait_empty(&b);
    }
    IT_EQ(b.down_by[WEIR_R_EOF], 4);
    it_stop(&b);
}

/* ---- strangers ----------------------------------------------------------------------------- */

static void expect_stranger(const void *data, size_t len, int reason)
{
    uint32_t before = b.fail_by[reason];
    raw_init(&raw, 1, 65536);
    raw_connect(&raw, b.address);
    raw_bytes(&raw, data, len);
    /* Told nothing, and not kept waiting either. */
    uint8_t byte;
    cr_assert(recv(raw.sock, &byte, 1, 0) <= 0, "a stranger was answered");
    IT_WAIT(b.fail_by[reason] == before + 1);
    raw_close(&raw);
}

IT_TEST(handshake, strangers_are_named_and_told_nothing)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    static const char http2[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    static const uint8_t tls[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3, 0, 0, 0};
    static const char ssh[] = "SSH-2.0-OpenSSH_9.2\r\n";
    static const uint8_t zeros[4096];
    uint8_t noise[4096];
    it_fill(noise, sizeof(noise), 99);
    noise[0] = 0xEE;

    node_start();
    expect_stranger(http, sizeof(http) - 1, WEIR_R_HTTP);
    expect_stranger(http2, sizeof(http2) - 1, WEIR_R_HTTP);
    expect_stranger("POST /", 6, WEIR_R_HTTP);
    expect_stranger(tls, sizeof(tls), WEIR_R_TLS);
    expect_stranger(ssh, sizeof(ssh) - 1, WEIR_R_NOT_WEIR);
    expect_stranger(zeros, sizeof(zeros), WEIR_R_NOT_WEIR);
    expect_stranger(noise, sizeof(noise), WEIR_R_NOT_WEIR);
    expect_stranger("\n", 1, WEIR_R_NOT_WEIR);
    /* Another listener's preface, and one whose line ends were rewritten on the way. */
    expect_stranger("\x89WEIR\r\n\x1a!", 9, WEIR_R_NOT_WEIR);
    expect_stranger("\x89WEIR\n\x1a?", 8, WEIR_R_NOT_WEIR);
    IT_EQ(it_closes(&b, WEIR_R_HTTP), 3);
    IT_EQ(it_closes(&b, WEIR_R_TLS), 1);
    IT_EQ(it_closes(&b, WEIR_R_NOT_WEIR), 6);
    IT_EQ(b.ups, 0);
    it_wait_empty(&b);
    it_stop(&b);
}

/* A stranger is owed no goodbye, so it holds no slot while it stays. */
IT_TEST(handshake, strangers_that_stay_do_not_hold_slots)
{
    enum { CNT = 8 };
    int socks[CNT];
    it_init(&b, "b");
    it_channel(&b, 1);
    b.cfg.peers_max = CNT;
    b.cfg.goodbye_linger_ns = 3600 * WEIR_NS_PER_S;
    it_start(&b, "127.0.0.1:0");
    for (int i = 0; i < CNT; i++) {
        socks[i] = raw_socket_to(b.address);
        cr_assert(send(socks[i], "?", 1, MSG_NOSIGNAL) == 1);
    }
    IT_WAIT(b.fail_by[WEIR_R_NOT_WEIR] == CNT);
    it_wait_empty(&b);
    raw_init(&raw, 1, 65536);
    raw_join(&raw, &b);
    raw_close(&raw);
    for (int i = 0; i < CNT; i++)
        close(socks[i]);
    IT_WAIT(b.downs == 1);
    it_stop(&b);
}

/* ---- slow ones ----------------------------------------------------------------------------- */

IT_TEST(handshake, one_byte_at_a_time_does_not_outlive_the_timeout)
{
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t all = dialer_bytes(bytes);
    it_init(&b, "b");
    it_channel(&b, 1);
    b.cfg.handshake_timeout_ns = 500 * IT_MS;
    it_start(&b, "127.0.0.1:0");
    weir_ns begin = weir_now();
    raw_init(&raw, 1, 65536);
    raw_connect(&raw, b.address);
    for (size_t i = 0; i < all && b.fails == 0; i++) {
        raw_bytes(&raw, bytes + i, 1);
        usleep(100 * 1000);
    }
    IT_WAIT(b.fails == 1);
    IT_EQ(b.fail_by[WEIR_R_HANDSHAKE_TIMEOUT], 1);
    cr_assert(weir_now() - begin >= 500 * IT_MS);
    raw_close(&raw);
    it_wait_empty(&b);
    it_stop(&b);
}

IT_TEST(handshake, a_hello_in_single_bytes_is_as_good_as_in_one)
{
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t all = dialer_bytes(bytes);
    node_start();
    raw_init(&raw, 1, 65536);
    raw_connect(&raw, b.address);
    for (size_t i = 0; i < all; i++) {
        cr_assert(raw_bytes(&raw, bytes + i, 1));
        if (i % 8 == 0)
            usleep(500);
    }
    IT_WAIT(b.ups == 1);
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    it_stop(&b);
}

static void *answer_silence(void *arg)
{
    int sock = raw_accept(*(int *)arg);
    char byte;
    while (recv(sock, &byte, 1, 0) > 0) /* reads on, says nothing */
        ;
    close(sock);
    return NULL;
}

IT_TEST(handshake, a_listener_that_says_nothing_times_out)
{
    char address[64];
    int listener = raw_listen(address, 4);
    pthread_t thread;
    pthread_create(&thread, NULL, answer_silence, &listener);
    it_init(&a, "a");
    a.cfg.handshake_timeout_ns = 300 * IT_MS;
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, address, 0));
    IT_WAIT(a.fails == 1);
    IT_EQ(a.fail_by[WEIR_R_HANDSHAKE_TIMEOUT], 1);
    pthread_join(thread, NULL);
    it_stop(&a);
    close(listener);
}

/* ---- limits -------------------------------------------------------------------------------- */

IT_TEST(handshake, no_more_handshakes_at_once_than_allowed)
{
    enum { MAX = 3 };
    int socks[MAX];
    it_init(&b, "b");
    it_channel(&b, 1);
    b.cfg.handshakes_max = MAX;
    it_start(&b, "127.0.0.1:0");
    for (int i = 0; i < MAX; i++)
        socks[i] = raw_socket_to(b.address);
    IT_WAIT(it_metrics(&b)->handshakes == MAX);
    /* One more is closed at once, however right it is. */
    raw_init(&raw, 1, 65536);
    raw_connect(&raw, b.address);
    cr_assert(!raw_handshake(&raw, true));
    raw_close(&raw);
    IT_WAIT(it_metrics(&b)->refused == 1);
    IT_EQ(it_metrics(&b)->handshakes, MAX);
    /* A place that comes free is given away. */
    close(socks[0]);
    IT_WAIT(it_metrics(&b)->handshakes == MAX - 1);
    raw_init(&raw, 1, 65536);
    raw_join(&raw, &b);
    IT_EQ(it_metrics(&b)->handshakes, MAX - 1);
    raw_close(&raw);
    for (int i = 1; i < MAX; i++)
        close(socks[i]);
    IT_WAIT(b.downs == 1 && b.fails == MAX);
    it_stop(&b);
}

IT_TEST(handshake, no_more_peers_than_allowed)
{
    struct raw raws[2];
    it_init(&b, "b");
    it_channel(&b, 1);
    b.cfg.peers_max = 2;
    it_start(&b, "127.0.0.1:0");
    for (int i = 0; i < 2; i++) {
        raw_init(&raws[i], 1, 65536);
        raw_join(&raws[i], &b);
    }
    for (uint32_t i = 0; i < 3; i++) {
        raw_init(&raw, 1, 65536);
        raw_connect(&raw, b.address);
        cr_assert(!raw_handshake(&raw, true));
        raw_close(&raw);
        IT_WAIT(it_metrics(&b)->refused == i + 1);
    }
    IT_EQ(it_closes(&b, WEIR_R_LIMIT_PEERS), 3);
    /* Nor by dialing. */
    char address[64];
    int listener = raw_listen(address, 4);
    IT_OK(weir_dial(b.node, address, 0));
    IT_WAIT(b.fail_by[WEIR_R_LIMIT_PEERS] == 1);
    close(listener);
    IT_EQ(it_metrics(&b)->conns, 2);
    raw_close(&raws[0]);
    IT_WAIT(it_metrics(&b)->conns == 1);
    raw_init(&raw, 1, 65536);
    raw_join(&raw, &b);
    raw_close(&raw);
    raw_close(&raws[1]);
    IT_WAIT(b.downs == 3);
    it_stop(&b);
}

/* ---- what two nodes cannot agree on -------------------------------------------------------- */

static void expect_refusal(int reason)
{
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.fails == 1 && b.fails == 1);
    IT_EQ(a.fail_by[reason], 1);
    IT_EQ(b.fail_by[reason], 1);
    IT_EQ(it_closes(&a, reason), 1);
    IT_EQ(it_closes(&b, reason), 1);
    IT_EQ(a.ups + b.ups, 0);
    it_wait_empty(&a);
    it_wait_empty(&b);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(handshake, another_network_is_said_at_both_sides)
{
    it_init(&a, "a");
    it_init(&b, "b");
    a.cfg.network_id = "one";
    b.cfg.network_id = "two";
    expect_refusal(WEIR_R_WRONG_NETWORK);
}

IT_TEST(handshake, no_channel_in_common_is_said_at_both_sides)
{
    it_init(&a, "a");
    it_init(&b, "b");
    it_channel(&a, 1);
    it_channel(&a, 2);
    it_channel(&b, 3);
    expect_refusal(WEIR_R_NO_CHANNELS);
}

IT_TEST(handshake, a_node_that_dials_itself_finds_out)
{
    node_start();
    IT_OK(weir_dial(b.node, b.address, WEIR_DIAL_PERSIST));
    IT_WAIT(b.fails == 2);
    IT_EQ(b.fail_by[WEIR_R_SELF], 2);
    IT_EQ(it_closes(&b, WEIR_R_SELF), 2);
    it_wait_empty(&b);
    /* Persistence does not help: the dial is forgotten. */
    IT_WAIT(weir_dial_cancel(b.node, b.address) == WEIR_E_GONE);
    it_stop(&b);
}

/* ---- what a dialer meets ------------------------------------------------------------------- */

struct answer {
    int listener;
    const char *bytes;
    size_t len;
};

static void *answer_main(void *arg)
{
    const struct answer *answer = arg;
    int sock = raw_accept(answer->listener);
    char in[4096];
    cr_expect(recv(sock, in, sizeof(in), 0) > 0);
    cr_expect(send(sock, answer->bytes, answer->len, MSG_NOSIGNAL) == (ssize_t)answer->len);
    shutdown(sock, SHUT_WR);
    while (recv(sock, in, sizeof(in), 0) > 0)
        ;
    close(sock);
    return NULL;
}

IT_TEST(handshake, a_dialer_names_what_it_meets)
{
    static const struct {
        const char *bytes;
        size_t len;
        int reason;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", 28, WEIR_R_HTTP},
        {"\x15\x03\x01\x00\x02\x02\x28", 7, WEIR_R_TLS},
        {"SSH-2.0-OpenSSH_9.2\r\n", 21, WEIR_R_NOT_WEIR},
        {"\x89WEIR\r\n\x1a?", 9, WEIR_R_NOT_WEIR}, /* an echo of our own bytes */
        {"\x89WEIR\r\n\x1a!", 9, WEIR_R_EOF},
        {"\x89WEIR\r\n\x1a!WEIX", 13, WEIR_R_BAD_MAGIC},
        {"\x89WEIR\r\n\x1a!WEIR1234567890123456789012345678", 41, WEIR_R_BAD_HEADER},
        {"\x89WEIR\r\n\x1a!WEIR12345678", 21, WEIR_R_EOF},
    };
    char address[64];
    int listener = raw_listen(address, 4);
    it_init(&a, "a");
    it_start(&a, NULL);
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer = {listener, cases[i].bytes, cases[i].len};
        uint32_t before = a.fail_by[cases[i].reason];
        pthread_t thread;
        pthread_create(&thread, NULL, answer_main, &answer);
        IT_OK(weir_dial(a.node, address, 0));
        IT_WAIT(a.fails == i + 1);
        pthread_join(thread, NULL);
        cr_assert(a.fail_by[cases[i].reason] == before + 1, "case %u: not %s", i,
                  weir_reason_name(cases[i].reason));
    }
    IT_EQ(a.ups, 0);
    it_wait_empty(&a);
    it_stop(&a);
    close(listener);
}
