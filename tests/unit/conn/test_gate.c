/* Whose handshake a shard serves, and when: strangers as encrypting dialers, against a hub in a clock of its own. */
#include "tests/unit/conn/siege.h"

static bool is_answered(const struct stranger *stranger)
{
    const struct script_sock *sock = &siege.script->socks[stranger->sock];
    return sock->out_len + script_unsent(siege.script, stranger->sock) > stranger->heard;
}

Test(gate, nobody_is_asked_while_there_is_no_load)
{
    siege_begin();
    siege_open();
    struct stranger *stranger = come();
    speak(stranger);
    finish(stranger);
    cr_assert_eq(siege.box->hub.metrics.cookies_tx, 0);
    cr_assert_eq(siege.box->hub.metrics.handshakes_served, 1);
    cr_assert_eq(siege.box->hub.keeper.pending_cnt, 0);
    siege_end();
}

Test(gate, with_many_under_way_who_comes_is_asked)
{
    siege_begin();
    siege.box->cfg.cookie_pending = 4;
    siege_open();
    for (int i = 0; i < 2; i++) /* they say nothing */
        (void)come();
    struct stranger *third = come();
    speak(third);
    cr_assert_eq(siege.box->hub.metrics.cookies_tx, 0, "three are not four");
    struct stranger *fourth = come();
    speak(fourth);
    cr_assert_eq(siege.box->hub.metrics.cookies_tx, 1);
    cr_assert_eq(siege.box->hub.metrics.handshakes_served, 1);
    cr_assert(!(fourth->conn->flags & WEIR_CONN_COOKIE));
    finish(fourth);
    cr_assert_eq(siege.box->hub.metrics.cookies_rx, 1);
    cr_assert_eq(siege.box->hub.metrics.handshakes_served, 2);
    finish(third);
    siege_end();
}

Test(gate, above_a_rate_who_comes_is_asked_and_below_it_no_more)
{
    siege_begin();
    siege.box->cfg.cookie_rate = 5;
    siege_open();
    uint32_t free_cnt = 0;
    while (siege.box->hub.metrics.cookies_tx == 0) {
        struct stranger *stranger = come();
        speak(stranger);
        free_cnt += siege.box->hub.metrics.cookies_tx == 0;
        finish(stranger);
    }
    cr_assert_eq(free_cnt, 6, "a second's worth, and the one that was under way");
    solo_advance(siege.box, 1000 * MS);
    struct stranger *stranger = come();
    speak(stranger);
    cr_assert_eq(siege.box->hub.metrics.cookies_tx, 1);
    finish(stranger);
    siege_end();
}

/* Who becomes a peer costs nothing at the door; who does not, and who is still in its handshake, does. */
Test(gate, who_becomes_a_peer_gives_back_what_was_taken_for_it)
{
    siege_begin();
    siege.box->cfg.accept_rate = 1000; /* three at once */
    siege_open();
    struct weir_hub *hub = &siege.box->hub;
    struct weir_addr far = {.family = WEIR_ADDR_NONE}, near;
    cr_assert_eq(weir_addr_parse(&near, "127.0.0.1:5000"), 0);
    for (int i = 0; i < 100; i++)
        weir_gate_accepted(hub, &near);
    cr_assert_leq(weir_gate_accept_ns(hub), hub->now_ns, "this machine is not counted");
    struct stranger *first = come(), *second = come(), *third = come();
    for (int i = 0; i < 3; i++)
        weir_gate_accepted(hub, &far);
    cr_assert_eq(weir_gate_accept_ns(hub), hub->now_ns + 3 * MS);
    speak(first);
    finish(first);
    cr_assert_leq(weir_gate_accept_ns(hub), hub->now_ns);
    weir_gate_accepted(hub, &far);
    cr_assert_gt(weir_gate_accept_ns(hub), hub->now_ns);
    weir_conn_abort(second->conn, WEIR_R_APPLICATION); /* it comes to nothing */
    cr_assert_gt(weir_gate_accept_ns(hub), hub->now_ns);
    speak(third);
    finish(third);
    cr_assert_leq(weir_gate_accept_ns(hub), hub->now_ns);
    siege_end();
}

Test(gate, a_machine_does_not_ask_itself)
{
    for (int is_limited = 0; is_limited < 2; is_limited++) {
        siege_begin();
        siege.box->cfg.cookie_pending = siege.box->cfg.cookie_rate = 1;
        siege.box->cfg.handshake_rate = 1;
        siege.box->cfg.flags = is_limited ? WEIR_CONFIG_LIMIT_LOOPBACK : 0;
        siege_open();
        for (int i = 0; i < 5; i++) {
            struct stranger *stranger = come();
            cr_assert_eq(weir_addr_parse(&stranger->conn->addr, "127.0.0.1:5000"), 0);
            speak(stranger);
        }
        cr_assert_eq(siege.box->hub.metrics.cookies_tx, is_limited ? 5 : 0);
        cr_assert_eq(siege.box->hub.metrics.handshakes_served, is_limited ? 0 : 5);
        siege_end();
    }
}

/* In every second no more than the rate, in the order in which they came; those with a cookie before one that knows
 * none. */
Test(gate, handshakes_above_the_rate_wait_for_their_turn)
{
    siege_begin();
    siege.box->cfg.cookie_pending = 1;
    siege.box->cfg.handshake_rate = 10;
    siege_open();
    struct weir_hub *hub = &siege.box->hub;
    struct stranger *old = come(); /* from before there were cookies */
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t len = weir_codec_native_v2.pull(old->state, bytes, sizeof bytes);
    bytes[13] &= 0x7F;
    script_recv(siege.script, old->sock, bytes, len);
    box_turn(siege.box);
    cr_assert_eq(hub->metrics.handshakes_held, 1);
    struct stranger *others[4];
    for (int i = 0; i < 4; i++) {
        others[i] = come_with_cookie();
    }
    cr_assert_eq(hub->metrics.cookies_rx, 4);
    cr_assert_eq(hub->keeper.held_cnt, 5, "behind somebody who waits, all do");
    for (uint32_t i = 0; i < 5; i++) {
        uint64_t waited_ms = 0;
        while (hub->metrics.handshakes_served == i) {
            solo_advance(siege.box, MS);
            cr_assert_lt(++waited_ms, 150);
        }
        cr_assert_eq(hub->metrics.handshakes_served, i + 1);
        cr_assert(i == 0 || waited_ms >= 95, "%llu ms", (unsigned long long)waited_ms);
        struct stranger *turn = i < 4 ? others[i] : old;
        cr_assert(is_answered(turn), "turn %u", i);
        if (i < 4)
            finish(turn);
    }
    cr_assert_eq(hub->keeper.held_cnt, 0);
    cr_assert_eq(hub->metrics.handshakes_held, 5);
    siege_end();
}

Test(gate, who_waits_may_go_and_may_not_talk)
{
    siege_begin();
    siege.box->cfg.handshake_rate = 1;
    siege.box->cfg.cookie_pending = 1;
    siege_open();
    struct weir_hub *hub = &siege.box->hub;
    struct stranger *strangers[4];
    for (int i = 0; i < 4; i++) {
        strangers[i] = come_with_cookie();
    }
    cr_assert_eq(hub->metrics.handshakes_served, 1);
    cr_assert_eq(hub->keeper.held_cnt, 3);
    script_recv_end(siege.script, strangers[1]->sock, 0);
    box_turn(siege.box);
    cr_assert_eq(hub->keeper.held_cnt, 2);
    script_recv(siege.script, strangers[2]->sock, "more", 4);
    box_turn(siege.box);
    cr_assert_eq(hub->keeper.held_cnt, 1);
    cr_assert_eq(box_last_reason(siege.box), WEIR_R_HANDSHAKE_BYTES);
    solo_advance(siege.box, 1100 * MS);
    cr_assert_eq(hub->metrics.handshakes_served, 2);
    finish(strangers[3]);
    siege_end();
}

Test(gate, a_hello_that_says_too_much_is_not_kept)
{
    siege_begin();
    siege.box->cfg.handshake_rate = 1;
    siege_open();
    struct stranger *first = come(), *second = come();
    speak(first);
    uint8_t bytes[4096] = {0};
    size_t len = weir_codec_native_v2.pull(second->state, bytes, WEIR_HANDSHAKE_OUT_MAX);
    bytes[13] &= 0x7F;
    cr_assert_lt(len, sizeof bytes);
    script_recv(siege.script, second->sock, bytes, sizeof bytes);
    box_turn(siege.box);
    cr_assert_eq(box_last_reason(siege.box), WEIR_R_HANDSHAKE_BYTES);
    cr_assert_eq(siege.box->hub.keeper.held_cnt, 0);
    siege_end();
}

Test(gate, when_all_places_are_taken_who_brought_no_cookie_makes_room)
{
    siege_begin();
    siege.box->cfg.handshakes_max = 4;
    siege.box->cfg.cookie_pending = 1;
    siege_open();
    struct weir_hub *hub = &siege.box->hub;
    struct stranger *strangers[4];
    for (int i = 0; i < 4; i++) {
        strangers[i] = come();
        if (i == 3)
            continue;
        speak(strangers[i]);
        listen_to(strangers[i]);
        if (i < 2) /* the third does not come back with it, the fourth says nothing */
            speak(strangers[i]);
    }
    cr_assert_null(come());
    cr_assert(weir_gate_has_room(hub));
    cr_assert(weir_gate_make_room(hub));
    cr_assert_eq(box_last_reason(siege.box), WEIR_R_LIMIT_HANDSHAKES);
    cr_assert_eq(strangers[2]->conn->state, WEIR_CONN_DRAIN);
    cr_assert(weir_gate_make_room(hub));
    cr_assert_eq(strangers[3]->conn->state, WEIR_CONN_DRAIN);
    box_turn(siege.box);
    box_turn(siege.box);
    cr_assert(!weir_gate_has_room(hub), "two have a cookie and some time");
    cr_assert(!weir_gate_make_room(hub));
    cr_assert_eq(hub->metrics.handshakes_evicted, 2);
    finish(strangers[0]);
    solo_advance(siege.box, 2000 * MS);
    cr_assert(weir_gate_make_room(hub), "but not for ever");
    cr_assert_eq(strangers[1]->conn->state, WEIR_CONN_DRAIN);
    cr_assert_eq(hub->keeper.pending_cnt, 0);
    siege_end();
}

Test(gate, secrets_change_and_the_one_before_is_good_for_a_while)
{
    static const struct {
        uint64_t after_ms;
        bool is_good;
    } cases[] = {{0, true}, {59000, true}, {61000, true}, {119000, true}, {121000, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        siege_begin();
        siege.box->cfg.cookie_pending = 1;
        siege.box->cfg.handshake_timeout_ns = 600000 * MS;
        siege_open();
        struct stranger *stranger = come();
        speak(stranger);
        listen_to(stranger);
        uint64_t step_ms = cases[i].after_ms / 2;
        for (int k = 0; k < 2; k++) { /* others come meanwhile */
            solo_advance(siege.box, step_ms * MS);
            speak(come());
        }
        speak(stranger);
        cr_assert_eq(siege.box->hub.metrics.cookies_forged, cases[i].is_good ? 0 : 1, "case %zu",
                     i);
        cr_assert_eq(siege.box->hub.metrics.cookies_rx, cases[i].is_good ? 1 : 0);
        siege_end();
    }
}

/* ---- steps --------------------------------------------------------------------------------- */

/* What it has to say lies in its socket; the hub has had no turn yet. */
static void say(struct stranger *stranger)
{
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t len = weir_codec_native_v2.pull(stranger->state, bytes, sizeof bytes);
    script_recv(siege.script, stranger->sock, bytes, len);
}

Test(gate, a_turn_serves_one_handshake_and_all_come_to_their_end)
{
    siege_begin();
    siege_open();
    struct weir_hub *hub = &siege.box->hub;
    struct stranger *strangers[5];
    for (int i = 0; i < 5; i++)
        say(strangers[i] = come());
    for (uint32_t i = 1; i <= 5; i++) {
        box_turn(siege.box);
        cr_assert_eq(hub->metrics.handshakes_served, i);
        cr_assert_eq(strangers[i - 1]->conn->flags & WEIR_CONN_QUEUED, 0, "in their order");
        cr_assert_eq(weir_gate_has_steps(&hub->keeper), i < 5);
    }
    for (int i = 0; i < 5; i++)
        finish(strangers[i]);
    siege_end();
}

Test(gate, a_turn_with_messages_to_send_leaves_its_step_to_the_next)
{
    siege_begin();
    siege_open();
    struct weir_hub *hub = &siege.box->hub;
    struct stranger *friend = come();
    speak(friend);
    finish(friend);
    listen_to(friend);
    struct stranger *strangers[2] = {come(), come()};
    for (uint32_t round = 0; round < 2; round++) {
        say(strangers[round]);
        cr_assert_eq(weir_sendq_copy(friend->conn, 0, "message", 7, false), 0);
        box_turn(siege.box);
        cr_assert_eq(hub->metrics.handshakes_served, 1 + round, "the message goes first");
        cr_assert_gt(script_unsent(siege.script, friend->sock), 0);
        cr_assert(weir_gate_has_steps(&hub->keeper));
        box_turn(siege.box);
        cr_assert_eq(hub->metrics.handshakes_served, 2 + round);
        script_sent(siege.script, friend->sock, (int64_t)script_unsent(siege.script, friend->sock));
    }
    for (int i = 0; i < 2; i++)
        finish(strangers[i]);
    siege_end();
}

/* One that goes while it is in the line, one that talks on, one whose message comes in two pieces. */
Test(gate, who_is_in_the_line_may_go_and_may_not_talk)
{
    siege_begin();
    siege_open();
    struct weir_hub *hub = &siege.box->hub;
    uint8_t bytes[4096] = {0};
    struct stranger *first = come(), *gone = come(), *talker = come(), *halved = come();
    say(first);
    say(gone);
    say(talker);
    size_t len = weir_codec_native_v2.pull(halved->state, bytes, WEIR_HANDSHAKE_OUT_MAX);
    script_recv(siege.script, halved->sock, bytes, len - 5);
    box_turn(siege.box);
    cr_assert_eq(hub->metrics.handshakes_served, 1);
    script_recv_end(siege.script, gone->sock, 0);
    script_recv(siege.script, talker->sock, bytes, sizeof bytes);
    script_recv(siege.script, halved->sock, bytes + len - 5, 5);
    for (int i = 0; i < 4; i++)
        box_turn(siege.box);
    cr_assert_eq(hub->metrics.handshakes_served, 2);
    cr_assert_eq(hub->metrics.closes[WEIR_R_HANDSHAKE_BYTES], 1);
    cr_assert_eq(hub->metrics.closes[WEIR_R_EOF], 1);
    cr_assert(!weir_gate_has_steps(&hub->keeper));
    cr_assert_eq(hub->metrics.conn_cnt, 2);
    finish(first);
    finish(halved);
    siege_end();
}
