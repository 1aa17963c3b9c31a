#include "tests/unit/conn/peer.h"

#define CHANNEL 10 /* the first channel's id */
#define MS WEIR_NS_PER_MS

/* All deadlines differ, so that a test knows which one it was. */
static struct box *timed_box(void)
{
    struct box *box = solo_new(1);
    box->cfg.handshake_timeout_ns = 700 * MS;
    box->cfg.dial_timeout_ns = 300 * MS;
    box->cfg.ping_interval_ns = 400 * MS;
    box->cfg.ping_timeout_ns = 500 * MS;
    box->cfg.idle_timeout_ns = 3000 * MS;
    box->cfg.stall_timeout_ns = 1500 * MS;
    box->cfg.goodbye_linger_ns = 200 * MS;
    return box;
}

/* Lets time pass in steps of 1 ms until something ends, at most `ms`; returns how many passed. The peer
 * takes what is sent when `listens`, and answers pings when `answers`. */
static uint32_t pass(struct peer *peer, uint32_t ms, bool listens, bool answers)
{
    struct box *box = peer->box;
    uint32_t before = box->end_cnt, pings = 0;
    while (peer_heard(peer, WEIR_CONTROL_PING, pings))
        pings++;
    for (uint32_t i = 0; i < ms; i++) {
        peer->script->now_ns += MS;
        box_turn(box);
        if (listens && peer->script->socks[peer->sock].is_open)
            peer_listen(peer);
        const struct weir_control *ping = peer_heard(peer, WEIR_CONTROL_PING, pings);
        if (ping && answers) {
            pings++;
            peer_control(peer,
                         &(struct weir_control){.kind = WEIR_CONTROL_PONG, .value = ping->value});
            peer_say(peer, 0);
        }
        if (box->end_cnt != before)
            return i + 1;
    }
    return ms;
}

/* A deadline is never early and at most two ticks of the wheel late. */
static void expect_after(uint32_t passed, uint32_t ms)
{
    cr_assert(passed >= ms && passed <= ms + 3, "after %u ms, not %u", passed, ms);
}

Test(keepalive, a_dial_has_its_deadline)
{
    struct box *box = timed_box();
    struct script_io *script = solo_open(box);
    struct weir_conn *conn;
    struct weir_addr addr;
    cr_assert_eq(weir_addr_parse(&addr, "192.0.2.7:7000"), 0);
    cr_assert_eq(weir_conn_dial(&box->hub, &addr, UINT32_MAX, &conn), 0);
    uint32_t passed = 0;
    while (!box->end_cnt && passed < 1000) {
        solo_advance(box, MS);
        passed++;
    }
    expect_after(passed, 300);
    cr_assert_eq(box_last_reason(box), WEIR_R_DIAL_TIMEOUT);
    box_turn(box);
    cr_assert_eq(conn->state, WEIR_CONN_FREE);
    cr_assert(!script->socks[1].is_open);
    solo_free(box);
}

Test(keepalive, a_handshake_has_its_deadline_however_slowly_it_goes_on)
{
    for (int is_dialer = 0; is_dialer < 2; is_dialer++) {
        for (int is_slow = 0; is_slow < 2; is_slow++) {
            struct box *box = timed_box();
            solo_open(box);
            struct peer *peer = peer_new(box, is_dialer);
            peer_connect(peer);
            uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
            size_t len = 0, at = 0;
            uint32_t passed = 0;
            while (!box->end_cnt && passed < 2000) {
                passed += pass(peer, 50, true, false);
                if (box->end_cnt)
                    break;
                len += weir_codec_native.pull(peer->state, bytes + len, sizeof(bytes) - len);
                if (is_slow && at < len) {
                    peer_raw(peer, bytes + at++, 1);
                    peer_say(peer, 0);
                }
            }
            expect_after(passed, 700);
            cr_assert_eq(box_last_reason(box), WEIR_R_HANDSHAKE_TIMEOUT);
            cr_assert(!box->ends[0].was_ready);
            peer_hang_up(peer);
            cr_assert_eq(peer->conn->state, WEIR_CONN_FREE);
            peer_free(peer);
            solo_free(box);
        }
    }
}

Test(keepalive, a_new_peer_is_pinged_soon_and_then_at_the_interval)
{
    struct box *box = timed_box();
    box->cfg.ping_interval_ns = 5000 * MS;
    box->cfg.idle_timeout_ns = 60000 * MS;
    solo_open(box);
    struct peer *peer = peer_ready(box);
    uint64_t start = peer->script->now_ns;
    pass(peer, 17000, true, true);
    static const uint64_t due[] = {1000, 6000, 11000, 16000};
    for (uint32_t i = 0; i < 4; i++) {
        const struct weir_control *ping = peer_heard(peer, WEIR_CONTROL_PING, i);
        cr_assert_not_null(ping, "ping %u", i);
        uint64_t at = (ping->value - start) / MS; /* its value is our clock, and nobody else's */
        cr_assert(at >= due[i] && at <= due[i] + 3 * (i + 1), "ping %u at %llu ms", i,
                  (unsigned long long)at);
    }
    cr_assert_null(peer_heard(peer, WEIR_CONTROL_PING, 4));
    cr_assert_eq(box->end_cnt, 0);
    peer_free(peer);
    solo_free(box);
}

Test(keepalive, the_round_trip_is_smoothed_by_an_eighth)
{
    struct box *box = timed_box();
    box->cfg.ping_timeout_ns = 3000 * MS;
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    uint64_t smoothed = 0, least = 0;
    static const uint32_t trips[] = {80, 16, 240, 8, 800};
    for (uint32_t i = 0; i < 5; i++) {
        while (!peer_heard(peer, WEIR_CONTROL_PING, i))
            pass(peer, 1, true, false);
        uint64_t sent_ns = peer_heard(peer, WEIR_CONTROL_PING, i)->value;
        script->now_ns = sent_ns + trips[i] * MS;
        peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_PONG, .value = sent_ns});
        peer_say(peer, 0);
        uint64_t trip = trips[i] * MS;
        smoothed = smoothed ? smoothed - smoothed / 8 + trip / 8 : trip;
        least = least && least < trip ? least : trip;
        cr_assert_eq(peer->conn->rtt_ns, smoothed);
        cr_assert_eq(peer->conn->rtt_min_ns, least);
    }
    peer_free(peer);
    solo_free(box);
}

Test(keepalive, a_ping_without_its_pong_ends_the_connection_in_time)
{
    /* Whichever of interval and timeout is the longer. */
    static const uint32_t intervals[] = {100, 400, 900, 20000};
    for (size_t i = 0; i < 4; i++) {
        struct box *box = timed_box();
        box->cfg.ping_interval_ns = intervals[i] * MS;
        box->cfg.idle_timeout_ns = 60000 * MS;
        solo_open(box);
        struct peer *peer = peer_ready(box);
        /* The first is answered, so that the interval is in force. */
        uint32_t first = intervals[i] < 1000 ? intervals[i] : 1000;
        pass(peer, first + 10, true, true);
        cr_assert_not_null(peer_heard(peer, WEIR_CONTROL_PING, 0));
        cr_assert_gt(peer->conn->rtt_ns, 0);
        uint32_t nth = 1;
        while (peer_heard(peer, WEIR_CONTROL_PING, nth))
            nth++;
        while (!peer_heard(peer, WEIR_CONTROL_PING, nth))
            pass(peer, 1, true, false);
        expect_after(pass(peer, 30000, true, false), 499);
        cr_assert_eq(box_last_reason(box), WEIR_R_PING_TIMEOUT);
        peer_listen(peer);
        cr_assert_eq(peer_heard(peer, WEIR_CONTROL_GOODBYE, 0)->reason, WEIR_R_PING_TIMEOUT);
        peer_free(peer);
        solo_free(box);
    }
}

Test(keepalive, a_pong_that_answers_nothing_proves_nothing)
{
    struct box *box = timed_box();
    solo_open(box);
    struct peer *peer = peer_ready(box);
    struct weir_control pong = {.kind = WEIR_CONTROL_PONG, .value = 0};
    peer_control(peer, &pong);
    peer_say(peer, 0);
    cr_assert_eq(peer->conn->rtt_ns, 0);
    while (!peer_heard(peer, WEIR_CONTROL_PING, 0))
        pass(peer, 1, true, false);
    uint64_t value = peer_heard(peer, WEIR_CONTROL_PING, 0)->value;
    static const int64_t offs[] = {-1, 1, 1000000};
    for (size_t i = 0; i < 3; i++) {
        pong.value = value + (uint64_t)offs[i];
        peer_control(peer, &pong);
    }
    pong.value = UINT64_MAX;
    peer_control(peer, &pong);
    peer_say(peer, 0);
    cr_assert_eq(peer->conn->rtt_ns, 0);
    expect_after(pass(peer, 1000, true, false), 499);
    cr_assert_eq(box_last_reason(box), WEIR_R_PING_TIMEOUT);
    peer_free(peer);
    solo_free(box);
}

Test(keepalive, silence_ends_the_connection)
{
    struct box *box = timed_box();
    box->cfg.ping_interval_ns = box->cfg.ping_timeout_ns = 60000 * MS;
    solo_open(box);
    struct peer *peer = peer_ready(box);
    pass(peer, 2000, true, true);
    peer_run(peer, CHANNEL, 1, 1, 1); /* one byte more, and the time begins again */
    peer_say(peer, 0);
    expect_after(pass(peer, 10000, true, false), 2999);
    cr_assert_eq(box_last_reason(box), WEIR_R_IDLE);
    peer_listen(peer);
    cr_assert_eq(peer_heard(peer, WEIR_CONTROL_GOODBYE, 0)->reason, WEIR_R_IDLE);
    peer_free(peer);
    solo_free(box);
}

Test(keepalive, half_a_frame_at_a_time_is_not_silence)
{
    struct box *box = timed_box();
    box->cfg.ping_interval_ns = box->cfg.ping_timeout_ns = 600000 * MS;
    solo_open(box);
    struct peer *peer = peer_ready(box);
    peer_run(peer, CHANNEL, 1, 10, 1);
    uint8_t bytes[64];
    size_t len = peer->out_len;
    memcpy(bytes, peer->outbox, len);
    peer->out_len = 0;
    for (size_t i = 0; i < len; i++) {
        pass(peer, 2500, true, false);
        peer_raw(peer, bytes + i, 1);
        peer_say(peer, 0);
        cr_assert_eq(box->end_cnt, 0, "byte %zu, reason %u", i, box_last_reason(box));
    }
    box_expect_msg(box, 0, 0, 10, 1);
    peer_free(peer);
    solo_free(box);
}

Test(keepalive, a_peer_that_takes_nothing_has_stalled)
{
    struct box *box = timed_box();
    box->cfg.ping_interval_ns = box->cfg.ping_timeout_ns = 60000 * MS;
    box->cfg.idle_timeout_ns = 60000 * MS;
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    /* Not as long as there is nothing to take. */
    pass(peer, 1700, true, true);
    cr_assert_eq(box->end_cnt, 0);
    cr_assert_eq(box_send(peer->conn, 0, 100000, 1), 0);
    box_turn(box);
    for (int i = 0; i < 10; i++) { /* a byte now and then is progress */
        pass(peer, 1400, false, false);
        cr_assert_eq(box->end_cnt, 0, "round %d", i);
        script_sent(script, peer->sock, 1);
        box_turn(box);
    }
    expect_after(pass(peer, 5000, false, false), 1499);
    cr_assert_eq(box_last_reason(box), WEIR_R_STALLED);
    box_turn(box);
    cr_assert_eq(peer->conn->state, WEIR_CONN_FREE, "without a goodbye: it would not be taken");
    cr_assert_eq(box_pool_stats(box).used_cnt, 0);
    peer_free(peer);
    solo_free(box);
}

Test(keepalive, a_goodbye_that_is_not_taken_is_given_up)
{
    for (int is_graceful = 0; is_graceful < 2; is_graceful++) {
        struct box *box = timed_box();
        solo_open(box);
        struct peer *peer = peer_ready(box);
        cr_assert_eq(box_send(peer->conn, 0, 100000, 1), 0);
        box_turn(box);
        weir_conn_close(peer->conn, WEIR_R_APPLICATION, is_graceful);
        uint32_t passed = 0;
        while (peer->conn->state != WEIR_CONN_FREE && passed < 1000)
            passed += pass(peer, 1, false, false);
        /* A graceful one gives its queue up first, and then has as long again for the goodbye. */
        expect_after(passed, is_graceful ? 401 : 200);
        cr_assert_eq(box->end_cnt, 1);
        cr_assert_eq(box_pool_stats(box).used_cnt, 0);
        peer_free(peer);
        solo_free(box);
    }
}

Test(keepalive, a_queue_that_cannot_be_drained_is_given_up_for_the_goodbye)
{
    struct box *box = timed_box();
    solo_open(box);
    struct peer *peer = peer_new(box, true);
    peer->descs[0].window_bytes = 1 << 20;
    peer_shake(peer);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(box_send(peer->conn, 0, 100000, 1), 0);
    weir_conn_close(peer->conn, WEIR_R_APPLICATION, true);
    uint32_t passed = 0;
    while (!peer_heard(peer, WEIR_CONTROL_GOODBYE, 0) && passed < 1000)
        passed += pass(peer, 1, true, false);
    expect_after(passed, 200);
    cr_assert_leq(peer_data_bytes(peer, CHANNEL), 1 << 20);
    cr_assert_eq(peer->conn->bytes_queued, 0);
    cr_assert_eq(peer->conn->state, WEIR_CONN_LINGER);
    passed = 0;
    while (peer->conn->state != WEIR_CONN_FREE && passed < 1000)
        passed += pass(peer, 1, true, false);
    expect_after(passed, 199);
    cr_assert_eq(box->end_cnt, 1);
    peer_free(peer);
    solo_free(box);
}

Test(keepalive, the_peer_s_end_is_waited_for_only_so_long)
{
    struct box *box = timed_box();
    solo_open(box);
    struct peer *peer = peer_ready(box);
    weir_conn_close(peer->conn, WEIR_R_APPLICATION, false);
    peer_listen(peer);
    cr_assert_eq(peer->conn->state, WEIR_CONN_LINGER);
    uint32_t passed = 0;
    while (peer->conn->state != WEIR_CONN_FREE && passed < 1000)
        passed += pass(peer, 1, false, false);
    expect_after(passed, 200);
    cr_assert_eq(box->hub.metrics.closes[WEIR_R_APPLICATION], 1);
    peer_free(peer);
    solo_free(box);
}

Test(keepalive, pings_are_answered_once_a_turn_with_the_latest_value)
{
    struct box *box = timed_box();
    solo_open(box);
    struct peer *peer = peer_ready(box);
    for (uint64_t i = 1; i <= 50; i++)
        peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_PING, .value = i << 50});
    peer_say(peer, 0);
    peer_listen(peer);
    cr_assert_eq(peer_heard(peer, WEIR_CONTROL_PONG, 0)->value, UINT64_C(50) << 50);
    cr_assert_null(peer_heard(peer, WEIR_CONTROL_PONG, 1));
    peer_free(peer);
    solo_free(box);
}

Test(keepalive, a_hundred_pings_a_second_are_enough)
{
    struct box *box = timed_box();
    solo_open(box);
    struct peer *peer = peer_ready(box);
    for (int second = 0; second < 3; second++) {
        for (uint32_t i = 0; i < WEIR_PINGS_PER_S_MAX; i++)
            peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_PING, .value = i});
        peer_say(peer, 0);
        cr_assert_eq(box->end_cnt, 0);
        pass(peer, 1001, true, true);
    }
    for (uint32_t i = 0; i <= WEIR_PINGS_PER_S_MAX; i++)
        peer_control(peer, &(struct weir_control){.kind = WEIR_CONTROL_PING, .value = i});
    peer_say(peer, 0);
    cr_assert_eq(box_last_reason(box), WEIR_R_FLOOD);
    peer_free(peer);
    solo_free(box);
}

/* A queue that the peer takes slowly delays our ping; the peer's answer in time is in time. */
Test(keepalive, a_ping_waits_for_its_send_and_its_time_begins_with_it)
{
    struct box *box = timed_box();
    box->cfg.idle_timeout_ns = 60000 * MS;
    box->cfg.stall_timeout_ns = 60000 * MS;
    solo_open(box);
    struct peer *peer = peer_ready(box);
    cr_assert_eq(box_send(peer->conn, 0, 100000, 1), 0);
    box_turn(box);
    cr_assert_eq(pass(peer, 5000, false, false), 5000, "no ping was sent, so none is late");
    cr_assert_eq(box->end_cnt, 0);
    pass(peer, 1000, true, true);
    cr_assert_eq(box->end_cnt, 0);
    cr_assert_not_null(peer_heard(peer, WEIR_CONTROL_PING, 0));
    peer_free(peer);
    solo_free(box);
}

Test(keepalive, a_thousand_idle_seconds_cost_only_pings)
{
    struct box *box = solo_new(1); /* all defaults */
    struct script_io *script = solo_open(box);
    struct peer *peer = peer_ready(box);
    uint32_t sends = script->socks[peer->sock].send_cnt, pings = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        solo_advance(box, 100 * MS);
        peer_listen(peer);
        if (peer_heard(peer, WEIR_CONTROL_PING, pings)) {
            peer_control(peer, &(struct weir_control){
                                   .kind = WEIR_CONTROL_PONG,
                                   .value = peer_heard(peer, WEIR_CONTROL_PING, pings++)->value});
            peer_say(peer, 0);
        }
    }
    cr_assert_eq(box->end_cnt, 0);
    cr_assert_eq(pings, 67);
    cr_assert_eq(script->socks[peer->sock].send_cnt - sends, pings);
    peer_free(peer);
    solo_free(box);
}
