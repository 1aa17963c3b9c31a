/* Dialing through a proxy, over a scripted io: the proxy is the test, byte by byte and event by event. */
#include <stdio.h>

#include "engine/peers/dial.h"
#include "tests/unit/conn/peer.h"
#include "tests/unit/peers/kept.h"
#include "weir/node.h"

#define MS UINT64_C(1000000)

struct rig {
    struct box *box;
    struct script_io *script;
    struct weir_dialer dialer;
    struct weir_proxy proxy;
    uint32_t told_cnt, fail_cnt, forget_cnt;
    uint16_t fail_reason;
    char asked[260];
    struct weir_question question;
    size_t seen; /* of what was sent to the proxy */
};

static void rig_forgot(void *ctx, struct weir_target_kept *target)
{
    kept_drop(target);
    ((struct rig *)ctx)->forget_cnt++;
}

static void rig_failed(void *ctx, const struct weir_target *target, uint16_t reason)
{
    struct rig *rig = ctx;
    (void)target;
    rig->fail_cnt++;
    rig->fail_reason = reason;
}

static uint16_t rig_ask(void *ctx, const struct weir_question *question, const char *name,
                        uint16_t port)
{
    struct rig *rig = ctx;
    cr_assert_eq(port, 9050);
    rig->question = *question;
    snprintf(rig->asked, sizeof(rig->asked), "%s", name);
    return 0;
}

static void rig_timer(struct box *box, struct weir_timer *timer)
{
    weir_dialer_fire(&((struct rig *)box->ctx)->dialer, timer->arg);
}

static void rig_connected(struct weir_conn *conn)
{
    weir_dialer_connected(&((struct rig *)box_of(conn->hub)->ctx)->dialer, conn);
}

static void rig_turn(struct box *box)
{
    struct rig *rig = box->ctx;
    while (rig->told_cnt < box->end_cnt) {
        uint32_t at = rig->told_cnt++ % BOX_ENDS;
        if (weir_dialer_ended(&rig->dialer, box->ends[at].dial_idx, box->ends[at].conn->slot,
                              box->ends[at].gen, box->ends[at].reason, box->ends[at].was_ready,
                              box->ends[at].was_ready)) {
            rig->fail_cnt++;
            rig->fail_reason = box->ends[at].reason;
        }
    }
}

static struct weir_hub_ops rig_ops;

static struct rig *rig_new(const char *proxy, uint8_t auth)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    rig->box = solo_new(1);
    rig->box->cfg.dial_timeout_ns = 1000 * MS;
    rig->script = solo_open(rig->box);
    rig->box->ctx = rig;
    rig->box->on_timer = rig_timer;
    rig->box->on_turn = rig_turn;
    rig_ops = box_ops;
    rig_ops.connected = rig_connected;
    rig->box->hub.ops = &rig_ops;
    cr_assert_eq(weir_dialer_init(&rig->dialer, &rig->box->hub, 4), 0);
    cr_assert_eq(weir_target_parse(&rig->proxy.at, proxy), 0);
    rig->proxy.auth = auth;
    strcpy(rig->proxy.user, "me");
    strcpy(rig->proxy.password, "secret");
    rig->dialer.proxy = &rig->proxy;
    rig->dialer.forget = rig_forgot;
    rig->dialer.failed = rig_failed;
    rig->dialer.ask = rig_ask;
    rig->dialer.ctx = rig;
    return rig;
}

static void rig_free(struct rig *rig)
{
    weir_dialer_stop(&rig->dialer);
    weir_dialer_fini(&rig->dialer);
    solo_free(rig->box);
    free(rig);
}

static void dial(struct rig *rig, const char *text, uint32_t flags)
{
    struct weir_target target;
    cr_assert_eq(weir_target_parse(&target, text), 0);
    cr_assert_eq(kept_add(&rig->dialer, &target, flags), 0);
}

static void connected(struct rig *rig, int res)
{
    script_connected(rig->script, 1, res);
    box_turn(rig->box);
}

/* Takes what is being sent, `chunk` bytes at a time, until nothing is; returns how many bytes are new. */
static size_t sent(struct rig *rig, size_t chunk)
{
    while (script_unsent(rig->script, 1)) {
        size_t left = script_unsent(rig->script, 1);
        script_sent(rig->script, 1, (int64_t)(left < chunk ? left : chunk));
        box_turn(rig->box);
    }
    size_t all = rig->script->socks[1].out_len, was = rig->seen;
    rig->seen = all;
    return all - was;
}

static const uint8_t *tail(const struct rig *rig, size_t len)
{
    return rig->script->socks[1].out + rig->script->socks[1].out_len - len;
}

static void answer(struct rig *rig, const void *bytes, size_t len)
{
    script_recv(rig->script, 1, bytes, len);
    box_turn(rig->box);
}

#define SUCCESS "\5\0\0\1\0\0\0\0\0\0"

/* Plays the rest of a connection over socket 1: the other weir behind the proxy. */
static void shake(struct rig *rig)
{
    struct peer *peer = peer_new(rig->box, false);
    weir_codec_native.begin(peer->state, &peer->offer, false);
    peer->conn = rig->dialer.entries[0].conns[0];
    peer->sock = 1;
    peer->seen = rig->script->socks[1].out_len;
    peer_pump(peer, 0);
    cr_assert_eq(peer->conn->state, WEIR_CONN_READY);
    cr_assert_eq(rig->box->ready_cnt, 1);
    peer_free(peer);
}

Test(proxy, a_name_goes_to_the_proxy_and_the_handshake_follows)
{
    for (size_t chunk = 1; chunk < 200; chunk += 66) {
        struct rig *rig = rig_new("192.0.2.1:9050", WEIR_PROXY_AUTH_NONE);
        dial(rig, "peer.onion:7000", 0);
        cr_assert_str_eq(rig->asked, "", "nothing is looked up here");
        cr_assert_eq(rig->script->socks[1].addr.port, 9050);
        connected(rig, 0);
        cr_assert_eq(sent(rig, chunk), 3);
        answer(rig, "\5", 1);
        cr_assert_eq(sent(rig, chunk), 0);
        answer(rig, "\0", 1);
        cr_assert_eq(sent(rig, chunk), 4 + 1 + 10 + 2);
        cr_assert_eq(memcmp(tail(rig, 17), "\5\1\0\3\12peer.onion\33\130", 17), 0);
        cr_assert_eq(rig->box->hub.metrics.dialed, 0);
        cr_assert_eq(rig->dialer.entries[0].conns[0]->state, WEIR_CONN_DIALING);
        answer(rig, SUCCESS, 10);
        cr_assert_eq(rig->dialer.entries[0].conns[0]->state, WEIR_CONN_HANDSHAKE);
        cr_assert_eq(rig->box->hub.metrics.dialed, 1);
        cr_assert_eq(rig->dialer.entries[0].conns[0]->addr.family, WEIR_ADDR_NONE);
        cr_assert_null(rig->dialer.entries[0].conns[0]->prelude);
        shake(rig);
        rig_free(rig);
    }
}

Test(proxy, given_credentials_are_sent_and_an_address_is_the_peer_s)
{
    struct rig *rig = rig_new("unix:/run/tor/socks", WEIR_PROXY_AUTH_GIVEN);
    dial(rig, "198.51.100.7:7000", 0);
    cr_assert_eq(rig->script->socks[1].addr.family, WEIR_ADDR_UNIX);
    connected(rig, 0);
    cr_assert_eq(sent(rig, 100), 4);
    answer(rig, "\5\2", 2);
    cr_assert_eq(sent(rig, 100), 11);
    cr_assert_eq(memcmp(tail(rig, 11), "\1\2me\6secret", 11), 0);
    answer(rig, "\1\0", 2);
    cr_assert_eq(sent(rig, 100), 10);
    answer(rig, SUCCESS, 10);
    char text[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(&rig->dialer.entries[0].conns[0]->addr, text);
    cr_assert_str_eq(text, "198.51.100.7:7000");
    shake(rig);
    rig_free(rig);
}

/* The script's random bytes are all the same; so another random number is made of it here. */
static uint8_t random_next;
static void random_op(struct weir_io *io, void *ret_bytes, size_t len)
{
    (void)io;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)ret_bytes)[i] = random_next++;
}

Test(proxy, fresh_credentials_differ_from_connection_to_connection)
{
    uint8_t first[68] = {0};
    static struct weir_io_ops ops;
    for (int round = 0; round < 3; round++) {
        struct rig *rig = rig_new("192.0.2.1:9050", WEIR_PROXY_AUTH_FRESH);
        ops = *rig->script->io.ops;
        ops.random = random_op;
        rig->script->io.ops = &ops;
        dial(rig, "198.51.100.7:7000", 0);
        connected(rig, 0);
        sent(rig, 100);
        answer(rig, "\5\2", 2);
        cr_assert_eq(sent(rig, 100), 3 + 32 + 32);
        const uint8_t *auth = tail(rig, 67);
        cr_assert(auth[0] == 1 && auth[1] == 32 && auth[34] == 32);
        cr_assert_neq(memcmp(auth, first, 67), 0);
        cr_assert_neq(memcmp(auth + 2, auth + 35, 32), 0, "nor is the password the user");
        memcpy(first, auth, 67);
        rig_free(rig);
    }
}

Test(proxy, what_comes_behind_the_reply_belongs_to_the_stream)
{
    struct rig *rig = rig_new("192.0.2.1:9050", WEIR_PROXY_AUTH_NONE);
    dial(rig, "peer.example:7000", 0);
    connected(rig, 0);
    sent(rig, 100);
    answer(rig, "\5\0", 2);
    sent(rig, 100);
    /* A name of 200 bytes, and in the same event the other side's whole handshake. */
    struct peer *peer = peer_new(rig->box, false);
    weir_codec_native.begin(peer->state, &peer->offer, true);
    uint8_t bytes[4096] = {5, 0, 0, 3, 200};
    size_t len = 4 + 1 + 200 + 2;
    size_t hello = weir_codec_native.pull(peer->state, bytes + len, WEIR_HANDSHAKE_OUT_MAX);
    cr_assert_gt(hello, 0);
    struct weir_conn *conn = rig->dialer.entries[0].conns[0];
    answer(rig, bytes, len + hello);
    cr_assert_eq(conn->wire_rx, 2 + len + hello);
    /* The codec has seen it: these are the bytes of a dialer, and it is one itself. */
    cr_assert(box_last_reason(rig->box) >= WEIR_R_NOT_WEIR &&
                  box_last_reason(rig->box) <= WEIR_R_HANDSHAKE_BYTES,
              "%s", weir_reason_name(box_last_reason(rig->box)));
    cr_assert_eq(rig->script->lent_cnt, 0, "the buffer is back");
    peer_free(peer);
    rig_free(rig);
}

Test(proxy, every_refusal_is_told_with_its_reason)
{
    static const struct {
        const char *bytes;
        size_t len;
        uint16_t reason;
    } cases[] = {
        {"\5\0\5\1\0\1\0", 7, WEIR_R_PROXY_GENERAL},
        {"\5\0\5\5\0\1\0", 7, WEIR_R_PROXY_REFUSED},
        {"\5\0\5\xF6\0\1\0", 7, WEIR_R_PROXY_ONION_ADDRESS},
        {"\5\xFF", 2, WEIR_R_PROXY_METHOD},
        {"HTTP/1.1 400", 12, WEIR_R_PROXY_PROTOCOL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig *rig = rig_new("192.0.2.1:9050", WEIR_PROXY_AUTH_NONE);
        dial(rig, "peer.example:7000", 0);
        connected(rig, 0);
        sent(rig, 100);
        for (size_t at = 0; at < cases[i].len && rig->script->socks[1].is_receiving; at++) {
            answer(rig, cases[i].bytes + at, 1);
            sent(rig, 100);
        }
        box_turn(rig->box);
        cr_assert_eq(rig->fail_cnt, 1);
        cr_assert_eq(rig->fail_reason, cases[i].reason, "%s", weir_reason_name(rig->fail_reason));
        cr_assert_eq(rig->forget_cnt, 1);
        box_turn(rig->box);
        cr_assert_eq(rig->box->hub.metrics.conn_cnt, 0);
        cr_assert_eq(rig->script->lent_cnt, 0);
        rig_free(rig);
    }
}

Test(proxy, one_that_is_down_closes_resets_or_stalls)
{
    for (int how = 0; how < 5; how++) {
        struct rig *rig = rig_new("192.0.2.1:9050", WEIR_PROXY_AUTH_NONE);
        dial(rig, "peer.example:7000", 0);
        connected(rig, how == 0 ? -ECONNREFUSED : 0);
        if (how)
            sent(rig, 100);
        if (how == 1)
            script_recv_end(rig->script, 1, 0);
        if (how == 2)
            script_recv_end(rig->script, 1, -ECONNRESET);
        if (how == 3) { /* between the answers */
            answer(rig, "\5\0", 2);
            script_sent(rig->script, 1, -EPIPE);
        }
        if (how == 4) { /* says a little, then nothing */
            answer(rig, "\5\0", 2);
            sent(rig, 100);
            answer(rig, "\5\0\0\3\310abc", 8);
            for (int i = 0; i < 998; i++)
                solo_advance(rig->box, MS);
            cr_assert_eq(rig->fail_cnt, 0);
            solo_advance(rig->box, 4 * MS);
        }
        box_turn(rig->box);
        static const uint16_t reasons[] = {WEIR_R_PROXY_DOWN, WEIR_R_PROXY_CLOSED,
                                           WEIR_R_PROXY_CLOSED, WEIR_R_PROXY_CLOSED,
                                           WEIR_R_DIAL_TIMEOUT};
        cr_assert_eq(rig->fail_cnt, 1, "%d", how);
        cr_assert_eq(rig->fail_reason, reasons[how], "%d: %s", how,
                     weir_reason_name(rig->fail_reason));
        box_turn(rig->box);
        box_turn(rig->box);
        cr_assert_eq(rig->box->hub.metrics.conn_cnt, 0);
        rig_free(rig);
    }
}

/* The answer's event may come before that of the send it answers: the machine goes on, what is in flight stays
 * untouched (the script checks that). */
Test(proxy, an_answer_that_is_faster_than_the_send_s_event)
{
    struct rig *rig = rig_new("192.0.2.1:9050", WEIR_PROXY_AUTH_GIVEN);
    dial(rig, "peer.example:7000", 0);
    connected(rig, 0);
    answer(rig, "\5\2", 2);
    answer(rig, "\1\0", 2);
    cr_assert_eq(script_unsent(rig->script, 1), 4);
    cr_assert_eq(sent(rig, 100), 4 + 11 + 19);
    cr_assert_eq(memcmp(tail(rig, 19), "\5\1\0\3\14peer.example\33\130", 19), 0);
    answer(rig, SUCCESS, 10);
    shake(rig);
    rig_free(rig);
    /* Likewise the last one; the handshake waits for the event. */
    rig = rig_new("192.0.2.1:9050", WEIR_PROXY_AUTH_NONE);
    dial(rig, "1.2.3.4:7000", 0);
    connected(rig, 0);
    sent(rig, 100);
    answer(rig, "\5\0", 2);
    answer(rig, SUCCESS, 10);
    cr_assert_eq(rig->dialer.entries[0].conns[0]->state, WEIR_CONN_HANDSHAKE);
    cr_assert_not_null(rig->dialer.entries[0].conns[0]->prelude);
    script_sent(rig->script, 1, 10);
    box_turn(rig->box);
    cr_assert_null(rig->dialer.entries[0].conns[0]->prelude);
    rig->seen = rig->script->socks[1].out_len;
    shake(rig);
    rig_free(rig);
}

Test(proxy, one_that_answers_what_it_has_not_read_lies)
{
    for (int is_short = 0; is_short < 2; is_short++) {
        struct rig *rig = rig_new("192.0.2.1:9050", WEIR_PROXY_AUTH_NONE);
        dial(rig, "1.2.3.4:7000", 0);
        connected(rig, 0);
        if (is_short) {
            sent(rig, 100);
            answer(rig, "\5\0", 2);
            answer(rig, SUCCESS, 10);
            script_sent(rig->script, 1, 7); /* of 10 */
        } else {
            answer(rig, "\5\0" SUCCESS,
                   12); /* before the greeting's event; the request is not sent at all */
            script_sent(rig->script, 1, 3);
        }
        box_turn(rig->box);
        box_turn(rig->box);
        box_turn(rig->box);
        cr_assert_eq(rig->fail_reason, WEIR_R_PROXY_PROTOCOL, "%s",
                     weir_reason_name(rig->fail_reason));
        cr_assert_eq(rig->box->hub.metrics.conn_cnt, 0);
        rig_free(rig);
    }
}

Test(proxy, a_kernel_without_memory_is_tried_again)
{
    struct rig *rig = rig_new("192.0.2.1:9050", WEIR_PROXY_AUTH_NONE);
    dial(rig, "peer.example:7000", 0);
    rig->script->is_refusing = true;
    connected(rig, 0);
    for (int i = 0; i < 5; i++)
        box_turn(rig->box);
    cr_assert_eq(rig->fail_cnt, 0);
    rig->script->is_refusing = false;
    box_turn(rig->box);
    box_turn(rig->box);
    cr_assert_eq(sent(rig, 100), 3);
    answer(rig, "\5\0", 2);
    sent(rig, 100);
    answer(rig, SUCCESS, 10);
    shake(rig);
    rig_free(rig);
}

Test(proxy, its_own_name_is_looked_up_and_its_addresses_race)
{
    struct rig *rig = rig_new("Tor.example:9050", WEIR_PROXY_AUTH_FRESH);
    dial(rig, "peer.onion:7000", 0);
    cr_assert_str_eq(rig->asked, "tor.example");
    struct weir_addr addrs[2];
    cr_assert_eq(weir_addr_parse(&addrs[0], "[2001:db8::1]:9050"), 0);
    cr_assert_eq(weir_addr_parse(&addrs[1], "192.0.2.1:9050"), 0);
    weir_dialer_answer(&rig->dialer, rig->question.entry_idx, rig->question.entry_gen, 0, addrs, 2);
    for (int i = 0; i < 251; i++)
        solo_advance(rig->box, MS);
    cr_assert_eq(rig->script->sock_cnt, 2);
    script_connected(rig->script, 2, 0);
    box_turn(rig->box);
    box_turn(rig->box);
    cr_assert(!rig->script->socks[1].is_open, "the slower one is cancelled");
    cr_assert_eq(script_unsent(rig->script, 2), 4);
    rig_free(rig);
}

Test(proxy, unix_sockets_and_direct_dials_go_past_it)
{
    struct rig *rig = rig_new("192.0.2.1:9050", WEIR_PROXY_AUTH_NONE);
    dial(rig, "unix:/tmp/x", 0);
    dial(rig, "198.51.100.7:7000", WEIR_DIAL_DIRECT);
    cr_assert_eq(rig->script->socks[1].addr.family, WEIR_ADDR_UNIX);
    cr_assert_str_eq(rig->script->socks[1].addr.path, "/tmp/x");
    cr_assert_eq(rig->script->socks[2].addr.port, 7000);
    rig_free(rig);
}

Test(proxy, without_memory_the_dial_fails_and_nothing_leaks)
{
    for (uint64_t n = 1; n < 4; n++) {
        struct rig *rig = rig_new("192.0.2.1:9050", WEIR_PROXY_AUTH_NONE);
        weir_heap_fail_nth(n);
        dial(rig, "peer.example:7000", 0);
        weir_heap_fail_nth(0);
        cr_assert_eq(rig->fail_cnt, n == 1);
        cr_assert(n > 1 || rig->fail_reason == WEIR_R_LIMIT_MEMORY);
        rig->fail_cnt = 0;
        rig->script->fail_connect = 1;
        dial(rig, "other.example:7000", 0);
        cr_assert_eq(rig->fail_cnt, 1);
        rig_free(rig);
    }
}

/* Whatever the moment in which the connection is given up, nothing is left. */
Test(proxy, giving_up_at_any_moment)
{
    for (int stage = 0; stage < 6; stage++) {
        struct rig *rig = rig_new("192.0.2.1:9050", WEIR_PROXY_AUTH_NONE);
        dial(rig, "peer.example:7000", 0);
        struct weir_conn *conn = rig->dialer.entries[0].conns[0];
        if (stage >= 1)
            connected(rig, 0);
        if (stage >= 2)
            sent(rig, 100);
        if (stage >= 3)
            answer(rig, "\5\0", 2);
        if (stage >= 4)
            sent(rig, 100);
        if (stage >= 5)
            answer(rig, SUCCESS, 10);
        weir_conn_abort(conn, WEIR_R_APPLICATION);
        for (int i = 0; i < 4; i++)
            box_turn(rig->box);
        cr_assert_eq(rig->box->hub.metrics.conn_cnt, 0, "stage %d", stage);
        cr_assert_eq(rig->fail_reason, WEIR_R_APPLICATION);
        rig_free(rig);
    }
}
