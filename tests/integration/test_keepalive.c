/* Peers that say nothing, answer nothing or take nothing are noticed in time, and others are not. */
#include "tests/integration/raw.h"

IT_SUITE(keepalive);

#define HOUR (3600 * WEIR_NS_PER_S)

static struct it_node a, b;
static struct raw raw;
static weir_ns joined_at;

static void begin(void)
{
    it_init(&b, "b");
    it_channel(&b, 1)->send_bytes_max = 64 << 20;
    b.cfg.ping_interval_ns = b.cfg.ping_timeout_ns = b.cfg.idle_timeout_ns = HOUR;
    b.cfg.stall_timeout_ns = HOUR;
    b.cfg.goodbye_linger_ns = 100 * IT_MS;
}

static void join(uint32_t window)
{
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 1, window);
    joined_at = weir_now();
    raw_join(&raw, &b);
}

static void expect_down(int reason, weir_ns least)
{
    IT_WAIT(b.downs == 1);
    cr_assert(b.down_by[reason] == 1, "not %s", weir_reason_name(reason));
    cr_assert(weir_now() - joined_at >= least, "after %llu ns",
              (unsigned long long)(weir_now() - joined_at));
    IT_EQ(it_closes(&b, reason), 1);
}

static void end(void)
{
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    it_wait_empty(&b);
    it_stop(&b);
}

/* ---- round-trip time ----------------------------------------------------------------------- */

IT_TEST(keepalive, the_round_trip_time_is_known_at_both_ends)
{
    it_init(&a, "a");
    it_init(&b, "b");
    a.cfg.ping_interval_ns = b.cfg.ping_interval_ns = 20 * IT_MS;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    it_link(&a, &b);
    for (int i = 0; i < 2; i++) {
        struct it_node *node = i ? &a : &b;
        struct weir_peer_info info = {.size = sizeof(info)};
        do
            IT_OK(it_info(node, it_peer(node, 0), &info));
        while (info.rtt_ns == 0 && usleep(1000) == 0);
        cr_assert(info.rtt_min_ns > 0 && info.rtt_min_ns < 10 * WEIR_NS_PER_S);
        cr_assert(info.rtt_ns >= info.rtt_min_ns);
        weir_ns first = info.rtt_ns;
        for (weir_ns until = weir_now() + IT_PATIENCE; info.rtt_ns == first; usleep(1000)) {
            cr_assert(weir_now() < until, "the round-trip time is measured only once");
            IT_OK(it_info(node, it_peer(node, 0), &info));
        }
    }
    it_stop(&a);
    IT_WAIT(b.downs == 1);
    it_stop(&b);
}

IT_TEST(keepalive, pings_do_not_wait_for_channels_without_credit)
{
    static uint8_t msg[60000];
    struct weir_control control;
    begin();
    b.cfg.ping_interval_ns = 20 * IT_MS;
    join(65536);
    for (int i = 0; i < 20; i++)
        IT_OK(weir_try_send(b.node, it_peer(&b, 0), 1, msg, sizeof(msg)));
    for (int i = 0; i < 5; i++) {
        cr_assert(raw_await_control(&raw, &control, WEIR_CONTROL_PING));
        raw_control(&raw,
                    &(struct weir_control){.kind = WEIR_CONTROL_PONG, .value = control.value});
    }
    raw_ping(&raw, 42);
    cr_assert(raw_await_control(&raw, &control, WEIR_CONTROL_PONG));
    IT_EQ(control.value, 42);
    IT_EQ(b.downs, 0);
    end();
}

/* ---- silence ------------------------------------------------------------------------------- */

IT_TEST(keepalive, a_peer_that_answers_no_ping)
{
    struct weir_control control;
    begin();
    b.cfg.ping_interval_ns = 200 * IT_MS;
    b.cfg.ping_timeout_ns = 300 * IT_MS;
    join(65536);
    cr_assert(raw_await_control(&raw, &control, WEIR_CONTROL_PING));
    expect_down(WEIR_R_PING_TIMEOUT, 500 * IT_MS);
    IT_EQ(raw_end(&raw), WEIR_R_PING_TIMEOUT);
    end();
}

/* Also when it has much to say, and when it answers something else. */
IT_TEST(keepalive, a_peer_that_talks_but_answers_no_ping)
{
    begin();
    b.cfg.ping_interval_ns = 200 * IT_MS;
    b.cfg.ping_timeout_ns = 300 * IT_MS;
    join(65536);
    while (b.downs == 0) {
        raw_message(&raw, 1, "talk", 4);
        raw_control(&raw, &(struct weir_control){.kind = WEIR_CONTROL_PONG, .value = 1});
        usleep(10 * 1000);
    }
    expect_down(WEIR_R_PING_TIMEOUT, 500 * IT_MS);
    end();
}

/* A timeout that is shorter than the interval is noticed when it is over, not at the next ping. */
IT_TEST(keepalive, a_ping_timeout_shorter_than_the_interval)
{
    struct weir_control control;
    begin();
    b.cfg.ping_interval_ns = HOUR;
    b.cfg.ping_timeout_ns = 100 * IT_MS;
    join(65536);
    /* The first ping comes soon whatever the interval; the next one would come in an hour. */
    cr_assert(raw_await_control(&raw, &control, WEIR_CONTROL_PING));
    expect_down(WEIR_R_PING_TIMEOUT, 100 * IT_MS);
    end();
}

IT_TEST(keepalive, a_peer_that_says_nothing_at_all)
{
    begin();
    b.cfg.idle_timeout_ns = 400 * IT_MS;
    join(65536);
    expect_down(WEIR_R_IDLE, 400 * IT_MS);
    IT_EQ(raw_end(&raw), WEIR_R_IDLE);
    end();
}

IT_TEST(keepalive, a_peer_that_says_a_little_is_not_idle)
{
    begin();
    b.cfg.idle_timeout_ns = 600 * IT_MS;
    join(65536);
    weir_ns until = weir_now() + 1200 * IT_MS, last = weir_now(), gap = 0;
    while (weir_now() < until) {
        raw_message(&raw, 1, "", 0);
        gap = weir_now() - last > gap ? weir_now() - last : gap;
        last = weir_now();
        usleep(50 * 1000);
    }
    uint32_t downs = b.downs;
    gap = weir_now() - last > gap ? weir_now() - last : gap;
    cr_assert(downs == 0 || gap > 500 * IT_MS); /* but for a machine that stood still */
    end();
}

/* Two nodes with nothing to say stay together for many intervals. */
IT_TEST(keepalive, idle_nodes_stay_connected)
{
    it_init(&a, "a");
    it_init(&b, "b");
    a.cfg.ping_interval_ns = b.cfg.ping_interval_ns = 30 * IT_MS;
    a.cfg.idle_timeout_ns = b.cfg.idle_timeout_ns = 20 * WEIR_NS_PER_S;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    it_link(&a, &b);
    uint64_t frames = it_metrics(&b)->frames_received;
    IT_WAIT(it_metrics(&b)->frames_received >= frames + 40);
    IT_EQ(a.downs + b.downs, 0);
    it_stop(&a);
    IT_WAIT(b.downs == 1);
    it_stop(&b);
}

/* ---- standstill ---------------------------------------------------------------------------- */

static void stop_reading(void)
{
    static uint8_t msg[50000];
    int small = 65536;
    setsockopt(raw.sock, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    raw_grant(&raw, 1, UINT64_C(1) << 40);
    raw_ping(&raw, 1);
    struct weir_control control;
    cr_assert(raw_await_control(&raw, &control, WEIR_CONTROL_PONG));
    for (int i = 0; i < 400; i++) /* 20 MB: more than the kernel takes */
        IT_OK(weir_try_send(b.node, it_peer(&b, 0), 1, msg, sizeof(msg)));
}

IT_TEST(keepalive, a_peer_that_stops_reading_is_stalled)
{
    begin();
    b.cfg.stall_timeout_ns = 500 * IT_MS;
    join(65536);
    stop_reading();
    expect_down(WEIR_R_STALLED, 500 * IT_MS);
    it_wait_empty(&b);
    end();
}

/* It talks all the time, but takes nothing. */
IT_TEST(keepalive, talking_does_not_help_who_does_not_read)
{
    begin();
    b.cfg.stall_timeout_ns = 500 * IT_MS;
    join(65536);
    stop_reading();
    while (b.downs == 0) {
        raw_message(&raw, 1, "talk", 4);
        usleep(10 * 1000);
    }
    expect_down(WEIR_R_STALLED, 500 * IT_MS);
    end();
}

/* Reading a little now and then is not a standstill, however much waits. */
IT_TEST(keepalive, a_slow_reader_is_not_stalled)
{
    static uint8_t in[400000];
    begin();
    b.cfg.stall_timeout_ns = 2 * WEIR_NS_PER_S;
    join(65536);
    stop_reading();
    weir_ns until = weir_now() + 4 * WEIR_NS_PER_S, last = weir_now(), gap = 0;
    while (weir_now() < until) {
        recv(raw.sock, in, sizeof(in), 0);
        gap = weir_now() - last > gap ? weir_now() - last : gap;
        last = weir_now();
        usleep(100 * 1000);
    }
    uint32_t downs = b.downs;
    gap = weir_now() - last > gap ? weir_now() - last : gap;
    cr_assert(downs == 0 || gap > WEIR_NS_PER_S);
    raw_reset(&raw);
    end();
}

/* Without credit nothing is owed to the kernel: that is the application's matter, not a standstill. */
IT_TEST(keepalive, a_peer_without_credit_is_not_stalled)
{
    static uint8_t msg[60000];
    struct weir_frame frame;
    begin();
    b.cfg.stall_timeout_ns = 200 * IT_MS;
    join(65536);
    for (int i = 0; i < 20; i++)
        IT_OK(weir_try_send(b.node, it_peer(&b, 0), 1, msg, sizeof(msg)));
    weir_ns until = weir_now() + 800 * IT_MS;
    while (weir_now() < until)
        (void)raw_next(&raw, &frame, 10);
    IT_EQ(b.downs, 0);
    end();
}
