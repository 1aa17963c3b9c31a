/* Strangers, many of them: what a node gives them in a turn, in places and in memory, has bounds. The turns are the
 * test's own, so that what happens in one can be counted. (tests/chaos/hostile.c measures what they cost in time.) */
#include "proto/native_v2.h"
#include "tests/integration/raw.h"

IT_SUITE(strangers);

#define FLOOD 200
#define PLACES 16
#define STRANGER_BYTES_MAX 2048

static struct it_node b;
static int socks[FLOOD];

static void start_with(uint32_t handshakes_max, uint32_t secure, uint32_t accept_rate)
{
    it_init(&b, "b");
    it_channel(&b, 1);
    b.cfg.secure = secure;
    b.cfg.flags = WEIR_CONFIG_CALLER_TURNS;
    b.cfg.handshakes_max = handshakes_max;
    b.cfg.handshake_timeout_ns = 600 * WEIR_NS_PER_S;
    if (accept_rate != UINT32_MAX) { /* they are of this machine, and strangers all the same */
        b.cfg.flags |= WEIR_CONFIG_LIMIT_LOOPBACK;
        b.cfg.address_max = b.cfg.subnet_max = UINT32_MAX;
        b.cfg.address_burst = b.cfg.subnet_burst = UINT32_MAX;
        b.cfg.accept_rate = accept_rate;
    }
    it_start(&b, "127.0.0.1:0");
}

static void start(uint32_t handshakes_max, uint32_t secure)
{
    start_with(handshakes_max, secure, UINT32_MAX);
}

static int64_t turn(void)
{
    return weir_node_turn(b.node, 0, IT_MS);
}

static void flood(void)
{
    for (int i = 0; i < FLOOD; i++)
        socks[i] = raw_socket_to(b.address);
}

static void end(void)
{
    for (int i = 0; i < FLOOD; i++)
        close(socks[i]);
    IT_OK(weir_node_stop(b.node, 0));
    IT_WAIT(turn() == WEIR_E_STATE);
    it_check_empty(&b);
    it_free(&b);
}

/* All of them wait in the backlog. One is dealt with in a turn, so whoever is connected waits for one at most. */
IT_TEST(strangers, a_flood_gets_one_connection_a_turn)
{
    start(PLACES, WEIR_SECURE_PLAIN);
    flood();
    uint64_t seen = 0, turns = 0;
    while (seen < FLOOD) {
        IT_WAIT(turn() != 0);
        const struct weir_metrics *metrics = it_metrics(&b);
        uint64_t now = metrics->accepted + metrics->refused;
        cr_assert(now - seen <= 1, "%llu in one turn", (unsigned long long)(now - seen));
        cr_assert(metrics->handshakes <= PLACES);
        seen = now;
        turns++;
    }
    cr_assert(turns >= FLOOD);
    const struct weir_metrics *metrics = it_metrics(&b);
    IT_EQ(metrics->accepted, PLACES);
    IT_EQ(metrics->refused, FLOOD - PLACES);
    IT_EQ(metrics->closes[WEIR_R_LIMIT_HANDSHAKES], FLOOD - PLACES);
    /* Places that become free are given away again. */
    for (int i = 0; i < FLOOD; i++)
        close(socks[i]);
    IT_WAIT(turn() >= 0 && it_metrics(&b)->handshakes == 0);
    for (int i = 0; i < FLOOD; i++)
        socks[i] = i < PLACES ? raw_socket_to(b.address) : -1;
    IT_WAIT(turn() >= 0 && it_metrics(&b)->handshakes == PLACES);
    IT_EQ(it_metrics(&b)->refused, FLOOD - PLACES);
    end();
}

/* Beyond the rate they wait in the kernel's queue, and none of them is lost. */
IT_TEST(strangers, a_flood_comes_in_at_the_rate)
{
    const uint32_t rate = 200;
    start_with(FLOOD, WEIR_SECURE_PLAIN, rate);
    weir_ns began = weir_now();
    flood();
    for (uint64_t come = 0; come < FLOOD;) {
        cr_assert(turn() >= 0);
        come = it_metrics(&b)->accepted;
        uint64_t most = (weir_now() - began) * rate / WEIR_NS_PER_S + 2;
        cr_assert(come <= most, "%llu have come, %llu may have", (unsigned long long)come,
                  (unsigned long long)most);
    }
    cr_assert(it_metrics(&b)->accept_rests >= FLOOD / 2);
    IT_EQ(it_metrics(&b)->refused, 0);
    end();
}

/* A preface, and a hello of the largest size that is announced in it and never ends. */
static size_t opening(uint8_t *ret_bytes)
{
    struct raw raw;
    raw_init(&raw, 1, 65536);
    weir_codec_native.begin(raw.state, &raw.offer, true);
    memset(ret_bytes, 0, WEIR_HANDSHAKE_OUT_MAX + WEIR_NATIVE_HEAD + NATIVE_HELLO_BYTES_MAX);
    size_t len = weir_codec_native.pull(raw.state, ret_bytes, WEIR_HANDSHAKE_OUT_MAX);
    weir_codec_native.frame_head(ret_bytes + len, NATIVE_HELLO, NATIVE_CHANNEL_CONTROL, 0,
                                 ret_bytes + len + WEIR_NATIVE_HEAD, NATIVE_HELLO_BYTES_MAX);
    raw_close(&raw);
    return len + WEIR_NATIVE_HEAD + NATIVE_HELLO_BYTES_MAX;
}

/* Encrypted: preface, message 1, and the largest message 3, which nobody could open; never all of it. */
#define SECURE_MESSAGE1 \
    (NATIVE_V2_PREFACE_BYTES + NATIVE_V2_LENGTH_BYTES + NATIVE_V2_MESSAGE1_BYTES)
#define SECURE_BYTES (SECURE_MESSAGE1 + NATIVE_V2_LENGTH_BYTES + NATIVE_V2_MESSAGE3_MAX)

static size_t opening_secure(uint8_t *ret_bytes)
{
    static const uint8_t preface[NATIVE_V2_PREFACE_BYTES] = {
        0x89, 'W', 'E', 'I', 'R', '\r', '\n', 0x1A, 'S', 2, 2, NATIVE_V2_XX, 0, 1};
    memset(ret_bytes, 0, SECURE_BYTES);
    memcpy(ret_bytes, preface, sizeof(preface));
    ret_bytes[sizeof(preface)] = NATIVE_V2_MESSAGE1_BYTES;
    ret_bytes[sizeof(preface) + NATIVE_V2_LENGTH_BYTES] = 9; /* a key: the base point */
    ret_bytes[SECURE_MESSAGE1] = (uint8_t)NATIVE_V2_MESSAGE3_MAX;
    ret_bytes[SECURE_MESSAGE1 + 1] = (uint8_t)(NATIVE_V2_MESSAGE3_MAX >> 8);
    return SECURE_BYTES;
}

/* However far into the handshake they get, all at once, they hold at most 2 KiB each. */
static void hold(const uint8_t *bytes, size_t len, const size_t *stops, size_t stop_cnt,
                 size_t answered_at, size_t answer_bytes)
{
    size_t sent = 0;
    uint64_t most = 0;
    flood();
    IT_WAIT(turn() >= 0 && it_metrics(&b)->handshakes == FLOOD);
    IT_EQ(it_metrics(&b)->pool_bytes, 0); /* who has said nothing holds nothing */
    for (size_t i = 0; i < stop_cnt; i++) {
        cr_assert(stops[i] > sent && stops[i] < len);
        for (int k = 0; k < FLOOD; k++)
            cr_assert_eq(send(socks[k], bytes + sent, stops[i] - sent, MSG_NOSIGNAL),
                         (ssize_t)(stops[i] - sent));
        sent = stops[i];
        IT_WAIT(turn() >= 0 && it_metrics(&b)->wire_bytes_received == sent * FLOOD);
        if (sent == answered_at)
            IT_WAIT(turn() >= 0 && it_metrics(&b)->wire_bytes_sent == answer_bytes * FLOOD);
        IT_EQ(it_metrics(&b)->handshakes, FLOOD);
        uint64_t held = it_metrics(&b)->pool_bytes;
        cr_assert(held <= (uint64_t)FLOOD * STRANGER_BYTES_MAX,
                  "%zu bytes sent: %llu are held each", sent, (unsigned long long)held / FLOOD);
        most = held > most ? held : most;
    }
    cr_assert(most > FLOOD * 1024, "they hold something at all");
}

IT_TEST(strangers, each_holds_two_kibibytes_at_most)
{
    static uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX + WEIR_NATIVE_HEAD + NATIVE_HELLO_BYTES_MAX];
    size_t len = opening(bytes);
    const size_t stops[] = {1, 48, 64, 200, 1000, 1100, 2000, len - 1};
    start(FLOOD, WEIR_SECURE_PLAIN);
    hold(bytes, len, stops, sizeof(stops) / sizeof(*stops), 0, 0);
    end();
}

IT_TEST(strangers, each_holds_so_much_in_an_encrypted_handshake)
{
    static uint8_t bytes[SECURE_BYTES];
    size_t len = opening_secure(bytes);
    const size_t stops[] = {1,    9,    16,     SECURE_MESSAGE1 - 1, SECURE_MESSAGE1, 200, 1000,
                            1100, 2000, len - 1};
    start(FLOOD, WEIR_SECURE_REQUIRE);
    hold(bytes, len, stops, sizeof(stops) / sizeof(*stops), SECURE_MESSAGE1,
         NATIVE_V2_ANSWER_BYTES + NATIVE_V2_LENGTH_BYTES + NATIVE_V2_MESSAGE2_BYTES);
    end();
}

/* Who does not wait for its answer has to stay within that while its first message waits for its turn. */
IT_TEST(strangers, each_holds_no_more_when_it_does_not_wait)
{
    static uint8_t bytes[SECURE_BYTES];
    size_t len = opening_secure(bytes) - 1;
    start(FLOOD, WEIR_SECURE_REQUIRE);
    flood();
    IT_WAIT(turn() >= 0 && it_metrics(&b)->handshakes == FLOOD);
    for (int k = 0; k < FLOOD; k++)
        cr_assert_eq(send(socks[k], bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    for (bool is_over = false; !is_over;) {
        IT_WAIT(turn() >= 0);
        const struct weir_metrics *metrics = it_metrics(&b);
        /* And the answers that are under way: one is made in a turn. */
        cr_assert(metrics->pool_bytes <= (uint64_t)(FLOOD + 20) * STRANGER_BYTES_MAX,
                  "%llu bytes are held", (unsigned long long)metrics->pool_bytes);
        is_over = metrics->wire_bytes_received == len * FLOOD;
    }
    end();
}
