/* Rates on real sockets: never faster, and everything arrives. How much slower a loaded machine is, is not judged. */
#include "tests/integration/harness.h"

IT_SUITE(rate);

#define MSG_BYTES 4000u
#define PEERS 4u

static struct it_node a, receivers[PEERS];
static weir_peer peers[PEERS];

/* a, which dials each of `cnt` receivers; cfg of all may be changed by `set` before they start. */
static void begin(uint32_t cnt, void (*set)(void))
{
    it_init(&a, "a");
    it_channel(&a, 1)->send_bytes_max = 8 << 20;
    it_channel(&a, 2);
    for (uint32_t i = 0; i < cnt; i++) {
        it_init(&receivers[i], "receiver");
        it_channel(&receivers[i], 1)->recv_bytes_max = 1 << 20;
        it_channel(&receivers[i], 2);
    }
    set();
    for (uint32_t i = 0; i < cnt; i++)
        it_start(&receivers[i], "127.0.0.1:0");
    it_start(&a, NULL);
    for (uint32_t i = 0; i < cnt; i++)
        peers[i] = it_link(&a, &receivers[i]);
}

static void end(uint32_t cnt)
{
    it_stop(&a);
    for (uint32_t i = 0; i < cnt; i++) {
        IT_WAIT(receivers[i].downs == 1);
        it_stop(&receivers[i]);
    }
}

static void send_to(uint32_t idx, uint16_t channel, uint32_t msg_cnt)
{
    static const uint8_t bytes[MSG_BYTES];
    for (uint32_t i = 0; i < msg_cnt; i++)
        IT_OK(weir_try_send(a.node, peers[idx], channel, bytes, sizeof(bytes)));
}

/* How long `cnt` bytes or messages take at the least, when `free_cnt` of them need not wait. */
static weir_ns least_ns(uint64_t cnt, uint64_t free_cnt, uint64_t per_s)
{
    return (cnt - free_cnt) * 1000 / per_s * IT_MS;
}

/* One receiver gets `msg_cnt` messages, in no less time than that. */
static void expect_no_faster(void (*set)(void), uint32_t msg_cnt, weir_ns least)
{
    begin(1, set);
    weir_ns start = weir_now();
    send_to(0, 1, msg_cnt);
    IT_WAIT(receivers[0].msgs == msg_cnt);
    cr_assert_geq(weir_now() - start, least);
    end(1);
}

static void set_send(void)
{
    a.cfg.rate_send_bytes = 1000000;
}

/* 1 MB at 1 MB/s: 100 ms of it are the burst, and one frame goes into debt. */
IT_TEST(rate, nothing_is_sent_faster)
{
    expect_no_faster(set_send, 250, least_ns(1000000, 100000 + 65536, 1000000));
}

static void set_recv(void)
{
    receivers[0].channels[0].rate_recv_bytes = 1000000;
    receivers[0].channels[0].recv_bytes_max = 262144;
    receivers[0].channels[0].msg_bytes_max = 65536;
}

/* The first window came with the handshake; a burst, and a window in debt. */
IT_TEST(rate, nothing_is_received_faster)
{
    expect_no_faster(set_recv, 400, least_ns(1600000, 2 * 262144 + 100000, 1000000));
}

static void set_recv_slowly(void)
{
    set_recv();
    receivers[0].channels[0].rate_recv_bytes = 1000; /* more than the window would take minutes */
}

IT_TEST(rate, a_channel_without_credit_does_not_hold_up_others)
{
    begin(1, set_recv_slowly);
    send_to(0, 1, 400);
    send_to(0, 2, 10);
    IT_WAIT(receivers[0].msgs_of[1] == 10);
    cr_assert_lt(receivers[0].msgs_of[0], 400);
    it_stop(&receivers[0]); /* first, or the other would wait for what it queued */
    IT_WAIT(a.downs == 1);
    it_wait_empty(&a);
    it_stop(&a);
}

static void set_upload(void)
{
    a.cfg.upload_bytes = 2000000;
    a.cfg.shard_cnt = 2;
}

/* Two shards share what the node may send. When the last peer has got everything, nobody was left out, since each got
 * as much; that all took turns is judged in virtual time (unit/conn/test_rate). */
IT_TEST(rate, a_node_uploads_no_faster_over_all_its_shards)
{
    begin(PEERS, set_upload);
    weir_ns start = weir_now();
    for (uint32_t i = 0; i < PEERS; i++)
        send_to(i, 1, 125);
    for (uint32_t i = 0; i < PEERS; i++)
        IT_WAIT(receivers[i].msgs == 125);
    /* Each shard may have found the debt paid at the same moment. */
    cr_assert_geq(weir_now() - start, least_ns(PEERS * 500000, 200000 + 2 * 65536, 2000000));
    end(PEERS);
}

static void set_msgs(void)
{
    a.cfg.rate_send_msgs = 500;
}

/* Messages are counted in the frames that carry them: a frame of small ones goes at once. */
IT_TEST(rate, messages_have_a_rate_of_their_own)
{
    expect_no_faster(set_msgs, 500, least_ns(500, 50 + 17, 500));
}
