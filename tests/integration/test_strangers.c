/* Strangers, many of them: what a node gives them in a turn, in places and in memory, has bounds. The turns are the
 * test's own, so that what happens in one can be counted. (tests/chaos/hostile.c measures what they cost in time.) */
#include "proto/native_wire.h"
#include "tests/integration/raw.h"

IT_SUITE(strangers);

#define FLOOD 200
#define PLACES 16
#define STRANGER_BYTES_MAX 2048

static struct it_node b;
static int socks[FLOOD];

static void start(uint32_t handshakes_max)
{
    it_init(&b, "b");
    it_channel(&b, 1);
    b.cfg.flags = WEIR_CONFIG_CALLER_TURNS;
    b.cfg.handshakes_max = handshakes_max;
    b.cfg.handshake_timeout_ns = 600 * WEIR_NS_PER_S;
    it_start(&b, "127.0.0.1:0");
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
    start(PLACES);
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

/* However far into the handshake they get, all at once, they hold at most 2 KiB each. */
IT_TEST(strangers, each_holds_two_kibibytes_at_most)
{
    static uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX + WEIR_NATIVE_HEAD + NATIVE_HELLO_BYTES_MAX];
    size_t len = opening(bytes);
    start(FLOOD);
    flood();
    IT_WAIT(turn() >= 0 && it_metrics(&b)->handshakes == FLOOD);
    IT_EQ(it_metrics(&b)->pool_bytes, 0); /* who has said nothing holds nothing */
    const size_t stops[] = {1, 48, 64, 200, 1000, 1100, 2000, len - 1};
    size_t sent = 0;
    uint64_t most = 0;
    for (size_t i = 0; i < sizeof(stops) / sizeof(*stops); i++) {
        cr_assert(stops[i] > sent && stops[i] < len);
        for (int k = 0; k < FLOOD; k++)
            cr_assert_eq(send(socks[k], bytes + sent, stops[i] - sent, MSG_NOSIGNAL),
                         (ssize_t)(stops[i] - sent));
        sent = stops[i];
        IT_WAIT(turn() >= 0 && it_metrics(&b)->wire_bytes_received == sent * FLOOD);
        IT_EQ(it_metrics(&b)->handshakes, FLOOD);
        uint64_t held = it_metrics(&b)->pool_bytes;
        cr_assert(held <= (uint64_t)FLOOD * STRANGER_BYTES_MAX,
                  "%zu bytes sent: %llu are held each", sent, (unsigned long long)held / FLOOD);
        most = held > most ? held : most;
    }
    cr_assert(most > FLOOD * 1024, "they hold something at all");
    end();
}
