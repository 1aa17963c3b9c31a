/* A receiver that stops reading one channel: the others go on, what waits is bounded, and nothing is lost
 * or out of order when it goes on. */
#include "tests/integration/raw.h"
#include "tests/integration/traffic.h"

IT_SUITE(flow);

static struct it_node a, b;
static struct traffic ta, tb;

#define MIB (1u << 20)

static uint32_t mixed_len(uint16_t channel, uint64_t seq)
{
    if (seq % 50 == 49)
        return 150000 + channel;
    return (uint32_t)(seq * 131 % 3000);
}

static void pair_init(void)
{
    it_init(&a, "a");
    it_init(&b, "b");
    for (uint16_t id = 1; id <= 3; id++) {
        for (int i = 0; i < 2; i++) {
            struct weir_channel *channel = it_channel(i ? &a : &b, id);
            channel->msg_bytes_max = 256 * 1024;
            channel->recv_bytes_max = MIB;
            channel->send_bytes_max = MIB;
        }
    }
    traffic_init(&ta, &a, 1, 2, mixed_len, 256 * 1024);
    traffic_init(&tb, &b, 2, 1, mixed_len, 256 * 1024);
}

static void pair_start(void)
{
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    it_link(&a, &b);
}

static void pair_stop(void)
{
    it_stop(&a);
    it_stop(&b);
    traffic_fini(&ta);
    traffic_fini(&tb);
}

static uint64_t received(struct traffic *traffic, uint32_t idx)
{
    return atomic_load(&traffic->peers[0].received[idx]);
}

static uint64_t bytes_held(struct it_node *node)
{
    struct weir_peer_info info = {.size = sizeof(info)};
    IT_OK(it_info(node, it_peer(node, 0), &info));
    return info.bytes_held;
}

/* ---- pause --------------------------------------------------------------------------------- */

static void pause_channel_2(struct it_node *node, weir_peer peer, int event, int reason)
{
    if (event == WEIR_PEER_UP && weir_channel_pause(node->node, peer, 2, 1) != 0)
        it_fault(node, "pause");
    traffic_on_peer(node, peer, event, reason);
}

IT_TEST(flow, a_paused_channel_holds_up_no_other)
{
    enum { CNT = 5000 };
    pair_init();
    b.on_peer = pause_channel_2;
    for (int i = 0; i < 3; i++)
        ta.total[i] = tb.total[i] = CNT;
    pair_start();
    IT_WAIT((received(&tb, 0) == CNT && received(&tb, 2) == CNT && ta.received == 3 * CNT) ||
            a.faults || b.faults);
    /* The sender has come to a stop at the window's end, and not before. */
    IT_WAIT(it_metrics(&a)->channels[1].credit_stalls > 0);
    IT_EQ(received(&tb, 1), 0);
    uint64_t held = bytes_held(&b);
    cr_assert(held <= MIB + 256 * 1024 && held >= MIB / 2, "%llu bytes are held",
              (unsigned long long)held);
    cr_assert(it_metrics(&b)->pool_bytes <= 4 * MIB);
    IT_OK(weir_channel_pause(b.node, it_peer(&b, 0), 2, 0));
    IT_WAIT(tb.received == 3 * CNT || b.faults);
    IT_EQ(bytes_held(&b), 0);
    pair_stop();
}

/* Paused and resumed again and again, in the middle of a batch and from outside. */
static void pause_often(struct it_node *node, const struct weir_msg *msg)
{
    struct traffic *traffic = node->user;
    if (traffic_take(traffic, msg) && msg->channel == 2 &&
        atomic_load(&traffic_find(traffic, msg->peer)->received[1]) % 37 == 0 &&
        weir_channel_pause(node->node, msg->peer, 2, 1) != 0)
        it_fault(node, "pause");
}

IT_TEST(flow, pausing_often_loses_nothing)
{
    enum { CNT = 3000 };
    pair_init();
    b.on_msg = pause_often;
    for (int i = 0; i < 3; i++)
        ta.total[i] = CNT;
    pair_start();
    weir_peer peer = it_peer(&b, 0);
    while (tb.received < 3 * CNT && !b.faults) {
        IT_OK(weir_channel_pause(b.node, peer, 2, 0));
        usleep(200);
    }
    IT_EQ(bytes_held(&b), 0);
    pair_stop();
}

/* What is in the batch that a pause is asked in still comes; then nothing. Deliveries while paused would be
 * a fault even if they were in order. */
static _Atomic uint32_t paused_msgs, is_paused;

static void count_paused(struct it_node *node, const struct weir_msg *msg)
{
    (void)node;
    if (msg->channel == 1 && atomic_load(&is_paused))
        atomic_fetch_add(&paused_msgs, 1);
}

IT_TEST(flow, small_messages_of_a_paused_channel_are_held_in_order)
{
    struct raw raw;
    it_init(&b, "b");
    it_channel(&b, 1);
    it_channel(&b, 2);
    b.on_msg = count_paused;
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 2, 65536);
    raw_join(&raw, &b);
    weir_peer peer = it_peer(&b, 0);
    IT_OK(weir_channel_pause(b.node, peer, 1, 1));
    bytes_held(&b); /* a question behind the pause: when it is answered, the channel is paused */
    atomic_store(&is_paused, 1);
    /* Each kind of frame that can be held: runs, a whole small message, one in pieces, an empty one. */
    for (int i = 0; i < 100; i++) {
        uint8_t payload[64], *at = payload;
        at = weir_run_put(at, "a", 1);
        at = weir_run_put(at, "", 0);
        raw_frame(&raw, WEIR_FRAME_RUN, 1, 2, payload, (uint32_t)(at - payload));
        raw_frame(&raw, WEIR_FRAME_FIRST, 1, 5, "whole", 5);
        raw_frame(&raw, WEIR_FRAME_FIRST, 1, 6, "pie", 3);
        raw_message(&raw, 2, "other", 5);
        raw_frame(&raw, WEIR_FRAME_MORE, 1, 3, "ces", 3);
    }
    IT_WAIT(b.msgs_of[1] == 100);
    IT_EQ(paused_msgs, 0);
    uint64_t held = bytes_held(&b);
    cr_assert(held >= 100 * (2 + 3 + 5 + 6) && held <= 100 * (2 + 3 + 7 + 8), "held: %llu",
              (unsigned long long)held);
    atomic_store(&is_paused, 0);
    IT_OK(weir_channel_pause(b.node, peer, 1, 0));
    IT_WAIT(b.msgs_of[0] == 400);
    IT_EQ(bytes_held(&b), 0);
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    it_stop(&b);
}

IT_TEST(flow, a_peer_that_goes_while_paused_leaves_nothing)
{
    struct raw raw;
    it_init(&b, "b");
    it_channel(&b, 1);
    it_start(&b, "127.0.0.1:0");
    for (uint32_t i = 0; i < 3; i++) {
        raw_init(&raw, 1, 65536);
        raw_join(&raw, &b);
        weir_peer peer = it_newest(&b);
        IT_OK(weir_channel_pause(b.node, peer, 1, 1));
        struct weir_peer_info info = {.size = sizeof(info)};
        IT_OK(it_info(&b, peer, &info));
        for (int k = 0; k < 50; k++)
            raw_message(&raw, 1, "held", 4);
        raw_frame(&raw, WEIR_FRAME_FIRST, 1, 100000, "held", 4);
        IT_WAIT(it_metrics(&b)->pool_bufs > 0);
        raw_close(&raw);
        IT_WAIT(b.downs == i + 1);
        IT_IS(weir_channel_pause(b.node, peer, 1, 0), WEIR_E_GONE);
        it_wait_empty(&b);
    }
    IT_EQ(b.msgs, 0);
    it_stop(&b);
}

/* ---- keep ---------------------------------------------------------------------------------- */

#define KEPT_MAX 100000u

static struct kept {
    struct weir_buf *buf;
    uint64_t seq;
} kept[KEPT_MAX];
static _Atomic uint32_t kept_cnt;
static _Atomic uint64_t kept_bytes;

static void keep_channel_2(struct it_node *node, const struct weir_msg *msg)
{
    struct traffic *traffic = node->user;
    uint32_t at = atomic_load(&kept_cnt);
    uint64_t seq = atomic_load(&traffic_find(traffic, msg->peer)->received[1]);
    if (!traffic_take(traffic, msg) || msg->channel != 2 || at == KEPT_MAX)
        return;
    int error = weir_msg_keep(node->node, msg, &kept[at].buf);
    if (error) {
        it_fault(node, "keep: %s", weir_error_name(error));
        return;
    }
    kept[at].seq = seq;
    atomic_fetch_add(&kept_bytes, msg->len);
    atomic_store(&kept_cnt, at + 1);
}

static void check_kept(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        uint32_t len = mixed_len(2, kept[i].seq);
        IT_EQ(weir_buf_len(kept[i].buf), len);
        cr_assert(it_is_filled(weir_buf_data(kept[i].buf), len, traffic_seed(1, 2, kept[i].seq)));
    }
}

/* The main thread gives back in small steps, so that all of it goes through the return stack. */
IT_TEST(flow, kept_messages_are_bounded_and_hold_up_no_other_channel)
{
    enum { CNT = 5000 };
    pair_init();
    b.on_msg = keep_channel_2;
    for (int i = 0; i < 3; i++)
        ta.total[i] = CNT;
    pair_start();
    IT_WAIT((received(&tb, 0) == CNT && received(&tb, 2) == CNT) || b.faults);
    IT_WAIT(it_metrics(&a)->channels[1].credit_stalls > 0);
    cr_assert(kept_bytes <= MIB);
    cr_assert(kept_bytes >= MIB / 2, "only %llu bytes are kept", (unsigned long long)kept_bytes);
    cr_assert(received(&tb, 1) < CNT);
    cr_assert(bytes_held(&b) <= MIB + 256 * 1024);
    uint32_t back = 0;
    weir_ns until = weir_now() + IT_PATIENCE;
    while (back < CNT && !b.faults) {
        uint32_t cnt = atomic_load(&kept_cnt);
        cr_assert(weir_now() < until, "%u messages came back, %u are kept", back, cnt);
        uint32_t step = cnt - back < 100 ? cnt : back + 100;
        check_kept(back, step);
        for (; back < step; back++)
            weir_buf_unref(kept[back].buf);
        usleep(100);
    }
    IT_WAIT(tb.received == 3 * CNT || b.faults);
    IT_WAIT(bytes_held(&b) == 0);
    pair_stop();
}

/* Kept bytes outlive their peer, and their node. */
IT_TEST(flow, kept_messages_stay_valid_when_all_else_is_gone)
{
    enum { CNT = 60 };
    pair_init();
    b.on_msg = keep_channel_2;
    ta.total[1] = CNT;
    pair_start();
    IT_WAIT(kept_cnt == CNT || b.faults);
    it_stop(&a);
    IT_WAIT(b.downs == 1);
    check_kept(0, CNT);
    IT_WAIT(it_metrics(&b)->conns == 0);
    cr_assert(it_metrics(&b)->pool_bufs >= CNT);
    for (uint32_t i = 0; i < CNT / 2; i++)
        weir_buf_unref(kept[i].buf);
    IT_WAIT(it_metrics(&b)->pool_bufs == CNT - CNT / 2);
    IT_OK(weir_node_stop(b.node, 0));
    check_kept(CNT / 2, CNT);
    it_free(&b);
    check_kept(CNT / 2, CNT);
    for (uint32_t i = CNT / 2; i < CNT; i++)
        weir_buf_unref(kept[i].buf);
    traffic_fini(&ta);
    traffic_fini(&tb);
}

/* A kept message goes on to another peer without a copy, again and again: a relay. */
static void relay(struct it_node *node, const struct weir_msg *msg)
{
    struct weir_buf *buf;
    int error = weir_msg_keep(node->node, msg, &buf);
    if (!error)
        error = weir_send_buf(node->node, msg->peer, msg->channel, buf);
    if (error)
        it_fault(node, "relay: %s", weir_error_name(error));
}

static uint8_t relay_msg[200000];
static _Atomic uint32_t relay_back;

static void take_relayed(struct it_node *node, const struct weir_msg *msg)
{
    if (msg->len != sizeof(relay_msg) && msg->len != 100)
        it_fault(node, "relayed: %u bytes", msg->len);
    else if (memcmp(msg->data, relay_msg, msg->len) != 0)
        it_fault(node, "relayed: other bytes");
    atomic_fetch_add(&relay_back, 1);
}

IT_TEST(flow, a_kept_message_can_be_sent_on)
{
    it_fill(relay_msg, sizeof(relay_msg), 1);
    it_init(&a, "a");
    it_init(&b, "b");
    it_channel(&a, 1);
    it_channel(&b, 1)->send_bytes_max = 64 * MIB;
    a.on_msg = take_relayed;
    b.on_msg = relay;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    weir_peer peer = it_link(&a, &b);
    for (uint32_t i = 0; i < 50; i++)
        IT_OK(weir_send(a.node, peer, 1, relay_msg, i % 2 ? sizeof(relay_msg) : 100, IT_PATIENCE));
    IT_WAIT(relay_back == 50 || a.faults || b.faults);
    it_stop(&a);
    IT_WAIT(b.downs == 1);
    it_wait_empty(&b);
    it_stop(&b);
}

/* ---- credit -------------------------------------------------------------------------------- */

/* An application that always keeps its last messages, nearly a window of them: what comes back in small
 * steps must be granted to the sender, or both wait for ever. */
#define KEEP_LAST (1024u - 80u) /* of 1,024 KiB: a frame (64 KiB) fits in what is left */

static uint32_t kilo_len(uint16_t channel, uint64_t seq)
{
    (void)channel;
    (void)seq;
    return 1022; /* with its prefix: 1 KiB */
}

static void keep_the_last(struct it_node *node, const struct weir_msg *msg)
{
    static uint64_t seq;
    if (!traffic_take(node->user, msg))
        return;
    struct weir_buf **place = &kept[seq++ % KEEP_LAST].buf;
    weir_buf_unref(*place);
    *place = NULL;
    if (weir_msg_keep(node->node, msg, place) != 0)
        it_fault(node, "keep");
}

IT_TEST(flow, what_is_left_of_a_window_is_granted)
{
    enum { CNT = 10 * 1024 };
    pair_init();
    ta.len_of = tb.len_of = kilo_len;
    b.on_msg = keep_the_last;
    ta.total[1] = CNT;
    pair_start();
    IT_WAIT(tb.received == CNT || b.faults);
    for (uint32_t i = 0; i < KEEP_LAST; i++)
        weir_buf_unref(kept[i].buf);
    pair_stop();
}

/* Each keep is a charge of its own; many of one message must not turn the window inside out. */
static void keep_a_hundred_times(struct it_node *node, const struct weir_msg *msg)
{
    for (uint32_t i = 0; i < 100; i++) {
        if (weir_msg_keep(node->node, msg, &kept[i].buf) != 0)
            it_fault(node, "keep");
    }
}

IT_TEST(flow, a_message_kept_many_times_grants_nothing)
{
    static uint8_t msg[60000];
    struct raw raw;
    it_init(&b, "b");
    it_channel(&b, 1)->recv_bytes_max = MIB;
    b.on_msg = keep_a_hundred_times;
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 1, 65536);
    raw_join(&raw, &b);
    raw_message(&raw, 1, msg, sizeof(msg));
    IT_WAIT(b.msgs == 1);
    raw_ping(&raw, 1);
    struct weir_frame frame;
    struct weir_control control = {0};
    for (uint32_t round = 1, back = 0; round <= 3; round++) {
        do {
            cr_assert(raw_await(&raw, &frame, WEIR_FRAME_CONTROL));
            cr_assert(weir_codec_native.control_read(&frame, &control) == 0);
            if (control.kind == WEIR_CONTROL_CREDIT)
                cr_assert(control.credits[0].limit <= MIB + sizeof(msg) + 2, "granted: %llu",
                          (unsigned long long)control.credits[0].limit);
        } while (control.kind != WEIR_CONTROL_PONG || control.value != round);
        if (round == 3)
            break;
        for (uint32_t until = round == 1 ? 1 : 100; back < until; back++)
            weir_buf_unref(kept[back].buf);
        IT_WAIT(bytes_held(&b) == (100 - back) * sizeof(msg));
        raw_ping(&raw, round + 1);
    }
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    it_stop(&b);
}
