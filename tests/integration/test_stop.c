/* The end of a node: what was queued arrives, what cannot arrive does not keep it, and everybody is told. */
#include "tests/integration/raw.h"

IT_SUITE(stop);

static struct it_node a, b;
static struct raw raw;

/* ---- gracefully ---------------------------------------------------------------------------- */

static uint32_t len_of(uint64_t seq)
{
    return seq % 10 == 9 ? 150000 : (uint32_t)(seq * 37 % 2000);
}

static void take_in_order(struct it_node *node, const struct weir_msg *msg)
{
    uint64_t seq = node->msgs_of[it_channel_idx(node, msg->channel)];
    if (msg->len != len_of(seq) || !it_is_filled(msg->data, msg->len, seq))
        it_fault(node, "message %llu of channel %u", (unsigned long long)seq, msg->channel);
}

static void pair(void)
{
    it_init(&a, "a");
    it_init(&b, "b");
    for (int i = 0; i < 2; i++) {
        for (uint16_t id = 1; id <= 2; id++)
            it_channel(i ? &a : &b, id)->send_bytes_max = 64 << 20;
    }
    a.on_msg = b.on_msg = take_in_order;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
}

static void send_some(struct it_node *from, weir_peer peer, uint16_t channel, uint64_t cnt)
{
    static uint8_t msg[150000];
    for (uint64_t seq = 0; seq < cnt; seq++) {
        it_fill(msg, len_of(seq), seq);
        IT_OK(weir_send(from->node, peer, channel, msg, len_of(seq), IT_PATIENCE));
    }
}

IT_TEST(stop, everything_queued_before_arrives)
{
    enum { CNT = 1000 }; /* 16 MB a channel */
    pair();
    weir_peer peer = it_link(&a, &b);
    send_some(&a, peer, 1, CNT);
    send_some(&a, peer, 2, CNT);
    static uint8_t last[2000];
    it_fill(last, len_of(CNT), CNT);
    IT_EQ(weir_broadcast(a.node, 1, last, len_of(CNT), NULL), 0);
    IT_OK(weir_node_stop(a.node, 30 * WEIR_NS_PER_S));
    IT_WAIT(b.downs == 1);
    IT_EQ(b.down_by[WEIR_R_SHUTDOWN], 1);
    IT_EQ(a.down_by[WEIR_R_SHUTDOWN], 1);
    IT_EQ(b.msgs_of[0], CNT + 1);
    IT_EQ(b.msgs_of[1], CNT);
    it_check_empty(&a);
    it_free(&a);
    it_stop(&b);
}

/* While the other side sends as much: what it sends may be lost, what it is owed is not. */
static _Atomic int is_stopped;

static void *keep_sending(void *arg)
{
    static uint8_t msg[150000];
    const weir_peer *peer = arg;
    for (uint64_t seq = 0; !atomic_load(&is_stopped); seq++) {
        it_fill(msg, len_of(seq), seq);
        if (weir_send(b.node, *peer, 1, msg, len_of(seq), IT_PATIENCE) != 0)
            break;
    }
    return NULL;
}

IT_TEST(stop, everything_arrives_also_while_the_peer_sends)
{
    enum { CNT = 500 };
    pthread_t thread;
    pair();
    weir_peer peer = it_link(&a, &b), back = it_peer(&b, 0);
    pthread_create(&thread, NULL, keep_sending, &back);
    send_some(&a, peer, 2, CNT);
    IT_OK(weir_node_stop(a.node, 30 * WEIR_NS_PER_S));
    atomic_store(&is_stopped, 1);
    IT_WAIT(b.downs == 1);
    pthread_join(thread, NULL);
    IT_EQ(b.down_by[WEIR_R_SHUTDOWN], 1);
    IT_EQ(b.msgs_of[1], CNT);
    it_check_empty(&a);
    it_free(&a);
    it_stop(&b);
}

IT_TEST(stop, a_graceful_disconnect_sends_what_is_queued)
{
    enum { CNT = 100 };
    pair();
    a.cfg.goodbye_linger_ns = 30 * WEIR_NS_PER_S;
    weir_peer peer = it_link(&a, &b);
    send_some(&a, peer, 1, CNT);
    IT_OK(weir_disconnect(a.node, peer, WEIR_R_APPLICATION));
    IT_WAIT(b.downs == 1 && a.downs == 1);
    IT_EQ(b.down_by[WEIR_R_APPLICATION], 1);
    IT_EQ(b.msgs_of[0], CNT);
    it_stop(&a);
    it_stop(&b);
}

static void *stop_b(void *arg)
{
    int *error = arg;
    *error = weir_node_stop(b.node, 10 * WEIR_NS_PER_S);
    return NULL;
}

IT_TEST(stop, both_at_the_same_time)
{
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        int error = -1;
        pair();
        it_link(&a, &b);
        it_link(&a, &b);
        pthread_create(&thread, NULL, stop_b, &error);
        IT_OK(weir_node_stop(a.node, 10 * WEIR_NS_PER_S));
        pthread_join(thread, NULL);
        IT_OK(error);
        IT_EQ(a.downs, 2);
        IT_EQ(b.downs, 2);
        it_check_empty(&a);
        it_check_empty(&b);
        it_free(&a);
        it_free(&b);
    }
}

/* ---- not gracefully ------------------------------------------------------------------------ */

static void begin_owing(weir_ns linger, int recv_buf_bytes)
{
    it_init(&b, "b");
    it_channel(&b, 1)->send_bytes_max = 64 << 20;
    b.cfg.goodbye_linger_ns = linger;
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 1, 65536);
    raw_connect(&raw, b.address);
    setsockopt(raw.sock, SOL_SOCKET, SO_RCVBUF, &recv_buf_bytes, sizeof(recv_buf_bytes));
    cr_assert(raw_handshake(&raw, true));
    IT_WAIT(b.ups == 1);
}

static void owe(uint32_t cnt)
{
    static uint8_t msg[50000];
    for (uint32_t i = 0; i < cnt; i++)
        IT_OK(weir_try_send(b.node, it_peer(&b, 0), 1, msg, sizeof(msg)));
}

/* It reads, but grants nothing: it is told. */
IT_TEST(stop, a_peer_without_credit_does_not_keep_a_node)
{
    begin_owing(100 * IT_MS, 65536);
    owe(10);
    weir_ns begin = weir_now();
    IT_IS(weir_node_stop(b.node, 300 * IT_MS), WEIR_E_TIMEOUT);
    cr_assert(weir_now() - begin >= 300 * IT_MS);
    IT_EQ(b.down_by[WEIR_R_SHUTDOWN], 1);
    IT_EQ(raw_end(&raw), WEIR_R_SHUTDOWN);
    it_check_empty(&b);
    it_free(&b);
    raw_close(&raw);
}

/* It does not read at all. */
IT_TEST(stop, a_peer_that_does_not_read_does_not_keep_a_node)
{
    begin_owing(100 * IT_MS, 65536);
    raw_grant(&raw, 1, UINT64_C(1) << 40);
    IT_OK(weir_try_send(b.node, it_peer(&b, 0), 1, "", 0));
    owe(400); /* 20 MB: more than the kernel takes */
    IT_IS(weir_node_stop(b.node, 300 * IT_MS), WEIR_E_TIMEOUT);
    IT_EQ(b.downs, 1);
    it_check_empty(&b);
    it_free(&b);
    raw_close(&raw);
}

/* It reads so slowly that all of the drain is needed, and gets everything. */
IT_TEST(stop, a_slow_peer_gets_everything)
{
    pthread_t thread;
    int error = -1;
    begin_owing(30 * WEIR_NS_PER_S, 1 << 20);
    raw_grant(&raw, 1, UINT64_C(1) << 40);
    owe(400);
    pthread_create(&thread, NULL, stop_b, &error);
    struct weir_frame frame;
    uint32_t got = 0;
    while (raw_next(&raw, &frame, 60000)) {
        got += frame.kind <= WEIR_FRAME_MORE ? frame.len : 0;
        if (frame.kind == WEIR_FRAME_FIRST)
            usleep(500);
    }
    shutdown(raw.sock, SHUT_WR); /* our end tells the node that all of it was read */
    pthread_join(thread, NULL);
    IT_OK(error);
    cr_assert(got >= 400 * 50000, "%u bytes came", got);
    IT_EQ(raw.goodbye, WEIR_R_SHUTDOWN);
    it_check_empty(&b);
    it_free(&b);
    raw_close(&raw);
}

/* Its reading takes longer than a goodbye may linger, and it talks meanwhile: bytes that a closed socket
 * answers with a reset, which would take the rest of ours with it. */
IT_TEST(stop, a_slow_peer_that_talks_gets_everything)
{
    pthread_t thread;
    int error = -1;
    begin_owing(100 * IT_MS, 256 * 1024);
    raw_grant(&raw, 1, UINT64_C(1) << 40);
    owe(40); /* 2 MB: the kernel takes them at once */
    pthread_create(&thread, NULL, stop_b, &error);
    struct weir_frame frame;
    uint32_t got = 0;
    while (raw_next(&raw, &frame, 60000)) {
        got += frame.kind <= WEIR_FRAME_MORE ? frame.len : 0;
        raw_control(&raw, &(struct weir_control){.kind = WEIR_CONTROL_PONG});
        usleep(10 * 1000);
    }
    shutdown(raw.sock, SHUT_WR);
    pthread_join(thread, NULL);
    cr_assert(got >= 40 * 50000 || error == WEIR_E_TIMEOUT, "%u bytes came, and stop says %s", got,
              weir_error_name(error));
    it_check_empty(&b);
    it_free(&b);
    raw_close(&raw);
}

IT_TEST(stop, strangers_and_half_shaken_hands_do_not_keep_a_node)
{
    int socks[20];
    it_init(&b, "b");
    b.cfg.shard_cnt = 2;
    it_start(&b, "127.0.0.1:0");
    for (int i = 0; i < 20; i++) {
        socks[i] = raw_socket_to(b.address);
        cr_assert(send(socks[i], "\x89WEIR\r\n\x1a?WEIR", (size_t)(i % 13) + 1, 0) > 0);
    }
    IT_WAIT(it_metrics(&b)->conns == 20);
    IT_OK(weir_node_stop(b.node, 3600 * WEIR_NS_PER_S));
    IT_EQ(b.fail_by[WEIR_R_SHUTDOWN], 20);
    it_check_empty(&b);
    it_free(&b);
    for (int i = 0; i < 20; i++)
        close(socks[i]);
}

/* ---- from where it must not be called ------------------------------------------------------ */

static _Atomic int error_in_callback;

static void stop_in_callback(struct it_node *node, const struct weir_msg *msg)
{
    (void)msg;
    atomic_store(&error_in_callback, weir_node_stop(node->node, 0));
}

IT_TEST(stop, not_from_a_callback)
{
    it_init(&b, "b");
    b.on_msg = stop_in_callback;
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 1, 65536);
    raw_join(&raw, &b);
    raw_message(&raw, 1, "go", 2);
    IT_WAIT(b.msgs == 1);
    IT_IS(error_in_callback, WEIR_E_SHARD_THREAD);
    raw_message(&raw, 1, "go", 2); /* it lives on */
    IT_WAIT(b.msgs == 2);
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    it_stop(&b);
}

/* ---- turns --------------------------------------------------------------------------------- */

static int64_t turn(struct it_node *node)
{
    int64_t cnt = weir_node_turn(node->node, 0, 0);
    cr_assert(cnt >= 0 || cnt == WEIR_E_STATE, "turn: %s", weir_error_name((int)cnt));
    return cnt;
}

#define TURN_UNTIL(condition) IT_WAIT(turn(&a) >= 0 && turn(&b) >= 0 && (condition))

static void *turn_elsewhere(void *arg)
{
    int64_t *res = arg;
    *res = weir_node_turn(a.node, 0, 0);
    return NULL;
}

IT_TEST(stop, two_nodes_in_one_thread)
{
    static uint8_t msg[150000];
    it_init(&a, "a");
    it_init(&b, "b");
    it_channel(&a, 1);
    it_channel(&b, 1);
    a.on_msg = b.on_msg = take_in_order;
    a.cfg.flags = b.cfg.flags = WEIR_CONFIG_CALLER_TURNS;
    IT_OK(weir_node_create(&a.node, &a.cfg));
    IT_IS(weir_node_turn(a.node, 0, 0), WEIR_E_MISUSE); /* no shard yet */
    weir_node_free(a.node);
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, 0));
    TURN_UNTIL(a.ups == 1 && b.ups == 1);

    pthread_t thread;
    int64_t res = 0;
    pthread_create(&thread, NULL, turn_elsewhere, &res);
    pthread_join(thread, NULL);
    IT_EQ(res, WEIR_E_MISUSE); /* the shard is this thread's */

    weir_peer to_b = it_peer(&a, 0), to_a = it_peer(&b, 0);
    for (uint64_t seq = 0; seq < 200; seq++) {
        it_fill(msg, len_of(seq), seq);
        while (weir_try_send(a.node, to_b, 1, msg, len_of(seq)) == WEIR_E_FULL)
            turn(&a), turn(&b);
        while (weir_try_send(b.node, to_a, 1, msg, len_of(seq)) == WEIR_E_FULL)
            turn(&a), turn(&b);
    }
    IT_IS(weir_send(a.node, to_b, 1, "x", 1, 0), WEIR_E_SHARD_THREAD);
    struct weir_peer_info info = {.size = sizeof(info)};
    IT_OK(it_info(&a, to_b, &info));
    cr_assert(info.is_dialer && info.is_ready);
    TURN_UNTIL(a.msgs == 200 && b.msgs == 200);

    IT_OK(weir_node_stop(a.node, WEIR_NS_PER_S));
    IT_WAIT(turn(&b) >= 0 && turn(&a) == WEIR_E_STATE);
    IT_IS(weir_node_turn(a.node, 0, 0), WEIR_E_STATE);
    IT_WAIT(turn(&b) >= 0 && b.downs == 1);
    IT_EQ(b.down_by[WEIR_R_SHUTDOWN], 1);
    IT_EQ(a.down_by[WEIR_R_SHUTDOWN], 1);
    it_check_empty(&a);
    it_free(&a);
    IT_OK(weir_node_stop(b.node, 0));
    IT_WAIT(turn(&b) == WEIR_E_STATE);
    it_check_empty(&b);
    it_free(&b);
}

/* A node that the caller turns may be left standing with sends and receives in flight. */
IT_TEST(stop, a_node_of_turns_is_freed_in_the_middle)
{
    static uint8_t msg[150000];
    for (int round = 0; round < 20; round++) {
        it_init(&a, "a");
        it_init(&b, "b");
        a.cfg.flags = b.cfg.flags = WEIR_CONFIG_CALLER_TURNS;
        it_start(&b, "127.0.0.1:0");
        it_start(&a, NULL);
        IT_OK(weir_dial(a.node, b.address, WEIR_DIAL_PERSIST));
        for (int i = 0; i < round; i++) {
            turn(&a);
            turn(&b);
            if (a.ups == 1 && a.downs == 0)
                (void)!weir_try_send(a.node, it_peer(&a, 0), 1, msg, sizeof(msg));
        }
        it_free(round % 2 ? &a : &b);
        it_free(round % 2 ? &b : &a);
    }
}

static void *free_elsewhere(void *arg)
{
    it_free(arg);
    return NULL;
}

static void free_by_another(struct it_node *node)
{
    pthread_t thread;
    pthread_create(&thread, NULL, free_elsewhere, node);
    pthread_join(thread, NULL);
}

/* What its own thread has queued between turns leaves nothing in that thread that would still point to the node. */
IT_TEST(stop, a_node_of_turns_is_freed_by_another_thread)
{
    it_init(&a, "a");
    it_init(&b, "b");
    it_channel(&a, 1);
    it_channel(&b, 1);
    a.cfg.flags = b.cfg.flags = WEIR_CONFIG_CALLER_TURNS;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    IT_OK(weir_dial(a.node, b.address, 0));
    TURN_UNTIL(a.ups == 1 && b.ups == 1);
    weir_peer to_b = it_peer(&a, 0), to_a = it_peer(&b, 0);
    for (int i = 0; i < 5; i++)
        IT_OK(weir_try_send(a.node, to_b, 1, "between turns", 13));
    free_by_another(&a);
    for (int i = 0; i < 5; i++)
        IT_OK(weir_try_send(b.node, to_a, 1, "to nobody", 9));
    IT_WAIT(turn(&b) >= 0 && b.downs == 1);
    it_free(&b);
}

static struct weir_buf *kept[8];
static uint32_t kept_cnt;

static void keep_some(struct it_node *node, const struct weir_msg *msg)
{
    if (kept_cnt < 8)
        IT_OK(weir_msg_keep(node->node, msg, &kept[kept_cnt++]));
}

/* Sends and receives are in flight. Of the messages that the thread that turned has kept it releases one before the
 * node is freed, the others after. */
IT_TEST(stop, another_thread_frees_a_node_of_turns_in_the_middle)
{
    static uint8_t msg[150000];
    for (int round = 0; round < 12; round++) {
        kept_cnt = 0;
        it_init(&a, "a");
        it_init(&b, "b");
        a.cfg.flags = b.cfg.flags = WEIR_CONFIG_CALLER_TURNS;
        b.on_msg = keep_some;
        it_start(&b, "127.0.0.1:0");
        it_start(&a, NULL);
        IT_OK(weir_dial(a.node, b.address, WEIR_DIAL_PERSIST));
        TURN_UNTIL(a.ups == 1 && b.ups == 1);
        for (int i = 0; i < 5; i++) {
            it_fill(msg, 1000, (uint64_t)i);
            IT_OK(weir_try_send(a.node, it_peer(&a, 0), 1, msg, 1000));
        }
        TURN_UNTIL(kept_cnt >= 5);
        for (int i = 0; i < round; i++) {
            (void)!weir_try_send(a.node, it_peer(&a, 0), 1, msg, sizeof(msg));
            turn(round % 3 ? &a : &b);
        }
        weir_buf_unref(kept[4]);
        free_by_another(round % 2 ? &a : &b);
        free_by_another(round % 2 ? &b : &a);
        for (uint32_t i = 0; i < kept_cnt; i++) {
            if (i == 4)
                continue;
            if (i < 5)
                cr_assert(it_is_filled(weir_buf_data(kept[i]), 1000, i), "round %d: %u", round, i);
            weir_buf_unref(kept[i]);
        }
    }
}
