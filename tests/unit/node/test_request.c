/* Requests in a simulated world: node 0 asks, node 1 answers; a third may be an impostor that speaks the
 * requests' channel by hand. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/node/request_wire.h"
#include "weir/request.h"
#include "weir/sim.h"

#define MS WEIR_NS_PER_MS

enum { ECHO = 1, LENGTH = 2, SILENT = 3, FAIL = 4, STREAM = 5, LATER = 6 };

struct seen { /* what came for one ask, by its tag */
    uint64_t bytes;
    uint32_t answers, finals;
    int kind, code;
    char text[256];
    bool is_damaged;
};

struct side {
    weir_node *node;
    weir_requests *requests;
    struct weir_request_config cfg;
    weir_peer peer; /* the last that came up; {0}: none */
    uint32_t downs[WEIR_REASON_CNT];
    /* answering */
    struct weir_request last;
    uint8_t question[256];
    uint32_t questions, overs, rooms;
    uint64_t stream_len, stream_sent;
    weir_reply stream;
};

static weir_world *world;
static struct side sides[3];
static struct seen seen[4096];
static weir_inbox *inbox;

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 131 + (offset >> 8) * 7);
}

static void note(const struct weir_answer *answer)
{
    struct seen *at = &seen[answer->tag];
    at->answers++;
    at->finals += answer->is_final;
    at->kind = answer->kind;
    at->code = answer->code;
    if (answer->kind == WEIR_ANSWER_PART) {
        at->is_damaged |= answer->offset != at->bytes;
        for (uint32_t i = 0; i < answer->len; i++)
            at->is_damaged |= answer->data[i] != byte_at(answer->offset + i);
        at->bytes += answer->len;
    } else if (answer->kind == WEIR_ANSWER_ERROR) {
        snprintf(at->text, sizeof(at->text), "%.*s", (int)answer->len, (const char *)answer->data);
    }
}

static void on_answer(void *ctx, const struct weir_answer *answer)
{
    (void)ctx;
    note(answer);
}

static void stream_on(struct side *side)
{
    uint8_t chunk[5000];
    while (side->stream_sent < side->stream_len) {
        size_t len = side->stream_len - side->stream_sent;
        len = len < sizeof(chunk) ? len : sizeof(chunk);
        for (size_t i = 0; i < len; i++)
            chunk[i] = byte_at(side->stream_sent + i);
        bool is_last = side->stream_sent + len == side->stream_len;
        int64_t taken = weir_reply_write(side->requests, side->stream, chunk, len, is_last);
        if (taken < 0)
            return;
        side->stream_sent += (uint64_t)taken;
        if ((size_t)taken < len)
            return;
    }
}

static void on_question(void *ctx, const struct weir_request *request)
{
    struct side *side = ctx;
    uint64_t len = 0;
    side->last = *request;
    side->questions++;
    if (request->len >= 8)
        memcpy(&len, request->data, 8);
    if (request->method == ECHO)
        (void)weir_reply_send(side->requests, request->reply, request->data, request->len);
    if (request->method == FAIL)
        (void)weir_reply_error(side->requests, request->reply, 77, "no such\nthing");
    if (request->method == LENGTH) {
        uint8_t *bytes = malloc(len + 1);
        for (uint64_t i = 0; i < len; i++)
            bytes[i] = byte_at(i);
        (void)weir_reply_send(side->requests, request->reply, bytes, len);
        free(bytes);
    }
    if (request->method == STREAM) {
        side->stream = request->reply;
        side->stream_len = len;
        side->stream_sent = 0;
        stream_on(side);
    }
}

static void on_room(void *ctx, weir_reply reply)
{
    struct side *side = ctx;
    side->rooms++;
    if (reply.serial == side->stream.serial)
        stream_on(side);
}

static void on_over(void *ctx, weir_reply reply)
{
    struct side *side = ctx;
    (void)reply;
    side->overs++;
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct side *side = ctx;
    if (event == WEIR_PEER_UP)
        side->peer = peer;
    if (event == WEIR_PEER_DOWN) {
        side->downs[reason]++;
        side->peer = (weir_peer){0};
    }
}

static void make(unsigned idx, const char *dial)
{
    struct side *side = &sides[idx];
    struct weir_config cfg = {.size = sizeof(cfg), .peers_max = 16, .recv_buf_cnt = 2};
    struct weir_reactor reactor = {.size = sizeof(reactor), .ctx = side, .on_peer = on_peer};
    char address[32];
    snprintf(address, sizeof(address), "10.0.0.%u:7000", idx + 1);
    cfg.redial_max_ns = WEIR_NS_PER_S;
    cr_assert_eq(weir_world_node_create(world, idx + 1, &cfg, &side->node), 0);
    cr_assert_eq(weir_node_attach(side->node, &reactor, NULL, 0), 0);
    side->cfg.size = sizeof(side->cfg);
    side->cfg.ctx = side;
    if (idx == 1) {
        side->cfg.on_question = on_question;
        side->cfg.on_room = on_room;
        side->cfg.on_over = on_over;
    }
    cr_assert_eq(weir_requests_create(&side->requests, side->node, &side->cfg), 0);
    cr_assert_eq(weir_node_listen(side->node, address), 0);
    cr_assert_eq(weir_node_start(side->node), 0);
    if (dial)
        cr_assert_eq(weir_dial(side->node, dial, WEIR_DIAL_PERSIST), 0);
}

static int is_linked(void *ctx)
{
    (void)ctx;
    return sides[0].peer.v && sides[1].peer.v;
}

static void make_world(uint64_t seed)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = seed};
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
}

static void begin(void)
{
    make_world(1);
    make(1, NULL);
    make(0, "10.0.0.2:7000");
    cr_assert(weir_world_run_until(world, 10 * WEIR_NS_PER_S, is_linked, NULL));
}

static void finish(void)
{
    weir_world_free(world);
    for (unsigned i = 0; i < 3; i++)
        weir_requests_free(sides[i].requests);
    weir_inbox_free(inbox);
}

static struct weir_request_stats stats_of(unsigned idx)
{
    struct weir_request_stats stats = {.size = sizeof(stats)};
    cr_assert_eq(weir_requests_stats(sides[idx].requests, &stats), 0);
    return stats;
}

static int ask_with(uint64_t tag, uint16_t method, const void *data, size_t len, weir_ns timeout,
                    weir_ticket *ret_ticket)
{
    struct weir_ask ask = {.size = sizeof(ask),
                           .method = method,
                           .peer = sides[0].peer,
                           .data = data,
                           .len = len,
                           .timeout_ns = timeout,
                           .tag = tag,
                           .inbox = inbox,
                           .on_answer = inbox ? NULL : on_answer};
    return weir_ask(sides[0].requests, &ask, ret_ticket);
}

static void ask(uint64_t tag, uint16_t method, uint64_t number)
{
    cr_assert_eq(ask_with(tag, method, &number, sizeof(number), 0, NULL), 0);
}

static void run(weir_ns duration)
{
    (void)weir_world_run(world, duration);
}

static void expect_bytes(uint64_t tag, uint64_t bytes)
{
    cr_assert_eq(seen[tag].finals, 1, "ask %lu ended %u times", tag, seen[tag].finals);
    cr_assert_eq(seen[tag].kind, WEIR_ANSWER_PART, "ask %lu: %d", tag, seen[tag].kind);
    cr_assert_eq(seen[tag].bytes, bytes, "ask %lu: %lu bytes", tag, seen[tag].bytes);
    cr_assert(!seen[tag].is_damaged, "ask %lu", tag);
}

static void expect_end(uint64_t tag, int kind)
{
    cr_assert_eq(seen[tag].finals, 1, "ask %lu ended %u times", tag, seen[tag].finals);
    cr_assert_eq(seen[tag].kind, kind, "ask %lu: %d, not %d", tag, seen[tag].kind, kind);
}

Test(request, each_answer_comes_to_its_own_ask)
{
    begin();
    for (uint64_t i = 0; i < 60; i++)
        ask(i, LENGTH, i * 997 % 70000);
    run(2 * WEIR_NS_PER_S);
    for (uint64_t i = 0; i < 60; i++)
        expect_bytes(i, i * 997 % 70000);
    struct weir_request_stats asker = stats_of(0), answerer = stats_of(1);
    cr_assert_eq(asker.asked, 60);
    cr_assert_eq(asker.answered, 60);
    cr_assert_eq(asker.asking, 0);
    cr_assert_eq(answerer.questions, 60);
    cr_assert_eq(answerer.replied, 60);
    cr_assert_eq(answerer.answering, 0);
    cr_assert_eq(answerer.bytes_sent, asker.bytes_received);
    finish();
}

Test(request, an_error_reply_has_a_code_and_printable_text)
{
    begin();
    ask(1, FAIL, 0);
    run(WEIR_NS_PER_S);
    expect_end(1, WEIR_ANSWER_ERROR);
    cr_assert_eq(seen[1].code, 77);
    cr_assert_str_eq(seen[1].text, "no such?thing");
    cr_assert_eq(stats_of(1).reply_errors, 1);
    cr_assert_eq(weir_reply_error(sides[1].requests, sides[1].last.reply, 3, "weir's own"),
                 WEIR_E_MISUSE);
    finish();
}

Test(request, who_serves_nothing_says_so)
{
    begin();
    struct weir_ask back = {
        .size = sizeof(back), .peer = sides[1].peer, .tag = 5, .on_answer = on_answer};
    cr_assert_eq(weir_ask(sides[1].requests, &back, NULL), 0);
    run(WEIR_NS_PER_S);
    expect_end(5, WEIR_ANSWER_ERROR);
    cr_assert_eq(seen[5].code, WEIR_REQUEST_NO_SERVICE);
    finish();
}

Test(request, a_deadline_ends_both_sides_and_what_comes_after_is_late)
{
    begin();
    cr_assert_eq(ask_with(1, SILENT, NULL, 0, 300 * MS, NULL), 0);
    run(100 * MS);
    weir_reply reply = sides[1].last.reply;
    cr_assert_eq(seen[1].finals, 0);
    run(150 * MS);
    cr_assert_eq(seen[1].finals, 0, "not before its time");
    /* The answer leaves in time and arrives too late. */
    weir_world_slow(world, 2, 1, 200 * MS, 0);
    cr_assert_eq(weir_reply_send(sides[1].requests, reply, "", 0), 0);
    run(100 * MS);
    expect_end(1, WEIR_ANSWER_TIMEOUT);
    run(WEIR_NS_PER_S);
    expect_end(1, WEIR_ANSWER_TIMEOUT);
    cr_assert_eq(stats_of(0).late, 1);
    cr_assert_eq(stats_of(0).timeouts, 1);
    cr_assert_eq(stats_of(0).faults, 0);
    /* And one that nobody answers is over at the answerer too. */
    weir_world_slow(world, 2, 1, 0, 0);
    cr_assert_eq(ask_with(2, SILENT, NULL, 0, 300 * MS, NULL), 0);
    run(WEIR_NS_PER_S);
    expect_end(2, WEIR_ANSWER_TIMEOUT);
    cr_assert_eq(sides[1].overs, 1);
    cr_assert_eq(stats_of(1).answering, 0);
    finish();
}

Test(request, a_cancelled_ask_ends_once_and_stops_the_answerer)
{
    begin();
    weir_ticket ticket;
    uint64_t len = 10 << 20;
    cr_assert_eq(ask_with(1, STREAM, &len, 8, 0, &ticket), 0);
    run(5 * MS);
    cr_assert_eq(weir_ask_cancel(sides[0].requests, ticket), 0);
    run(WEIR_NS_PER_S);
    expect_end(1, WEIR_ANSWER_CANCELLED);
    cr_assert_eq(sides[1].overs, 1);
    cr_assert_lt(sides[1].stream_sent, len);
    cr_assert_eq(stats_of(0).cancelled, 1);
    cr_assert_eq(weir_reply_send(sides[1].requests, sides[1].stream, "", 0), 0);
    run(WEIR_NS_PER_S);
    expect_end(1, WEIR_ANSWER_CANCELLED);
    cr_assert_eq(stats_of(0).asking, 0);
    finish();
}

Test(request, no_more_than_the_cap_are_outstanding)
{
    sides[0].cfg.out_max = 10;
    sides[1].cfg.in_max = 7;
    begin();
    for (uint64_t i = 0; i < 12; i++)
        ask(i, SILENT, 0); /* from another thread: refusals come as answers */
    run(500 * MS);
    uint32_t busy = 0, refused = 0, waiting = 0;
    for (uint64_t i = 0; i < 12; i++) {
        busy += seen[i].kind == WEIR_ANSWER_ERROR && seen[i].code == WEIR_REQUEST_BUSY;
        refused += seen[i].kind == WEIR_ANSWER_FAILED && seen[i].code == WEIR_E_LIMIT;
        waiting += seen[i].finals == 0;
    }
    cr_assert_eq(busy, 3);
    cr_assert_eq(refused, 2);
    cr_assert_eq(waiting, 7);
    cr_assert_eq(stats_of(1).busy, 3);
    run(20 * WEIR_NS_PER_S); /* they expire, and there is room again */
    ask(20, ECHO, 0);
    run(WEIR_NS_PER_S);
    cr_assert_eq(seen[20].finals, 1);
    finish();
}

Test(request, a_slow_asker_holds_up_its_own_answer_and_no_other)
{
    cr_assert_eq(weir_inbox_create(&inbox), 0);
    begin();
    uint64_t len = 4 << 20;
    ask(1, STREAM, len);
    run(WEIR_NS_PER_S);
    /* Nobody takes it: the window is full, and not more. */
    cr_assert_eq(stats_of(1).bytes_sent, 262144);
    cr_assert_geq(stats_of(1).stalls, 1);
    weir_inbox *slow = inbox;
    inbox = NULL;
    ask(2, LENGTH, 1 << 20);
    run(WEIR_NS_PER_S);
    expect_bytes(2, 1 << 20);
    cr_assert_eq(stats_of(1).bytes_sent, 262144 + (1 << 20));
    const struct weir_answer *answer;
    uint32_t takes = 0;
    while (seen[1].finals == 0 && takes < 10000) {
        while ((answer = weir_inbox_take(slow, 0)) != NULL) {
            note(answer);
            weir_inbox_release(slow, answer);
            takes++;
        }
        run(MS);
    }
    expect_bytes(1, len);
    cr_assert_geq(sides[1].rooms, 10);
    inbox = slow;
    finish();
}

Test(request, an_answer_above_the_askers_limit_is_given_up)
{
    begin();
    uint64_t len = 1 << 20;
    struct weir_ask big = {.size = sizeof(big),
                           .method = LENGTH,
                           .peer = sides[0].peer,
                           .data = &len,
                           .len = 8,
                           .answer_bytes_max = 100000,
                           .tag = 1,
                           .on_answer = on_answer};
    cr_assert_eq(weir_ask(sides[0].requests, &big, NULL), 0);
    run(WEIR_NS_PER_S);
    expect_end(1, WEIR_ANSWER_FAILED);
    cr_assert_eq(seen[1].code, WEIR_E_TOO_BIG);
    cr_assert_leq(seen[1].bytes, 100000);
    cr_assert_eq(stats_of(1).answering, 0);
    finish();
}

Test(request, a_peer_that_goes_ends_what_was_asked_of_it)
{
    begin();
    for (uint64_t i = 0; i < 5; i++)
        cr_assert_eq(ask_with(i, SILENT, NULL, 0, WEIR_NS_FOREVER, NULL), 0);
    run(100 * MS);
    cr_assert_eq(sides[1].last.deadline, WEIR_NS_FOREVER);
    weir_peer was = sides[0].peer;
    cr_assert_eq(weir_disconnect(sides[0].node, was, 0), 0);
    run(100 * MS);
    for (uint64_t i = 0; i < 5; i++)
        expect_end(i, WEIR_ANSWER_GONE);
    cr_assert_eq(sides[1].overs, 5);
    struct weir_ask late = {.size = sizeof(late), .peer = was, .tag = 9, .on_answer = on_answer};
    cr_assert_eq(weir_ask(sides[0].requests, &late, NULL), 0);
    run(100 * MS);
    expect_end(9, WEIR_ANSWER_GONE);
    finish();
}

Test(request, misuse_is_refused)
{
    begin();
    struct weir_ask none = {.size = sizeof(none), .peer = sides[0].peer};
    cr_assert_eq(weir_ask(sides[0].requests, &none, NULL), WEIR_E_MISUSE);
    none.on_answer = on_answer;
    none.len = 65537;
    none.data = seen;
    cr_assert_eq(weir_ask(sides[0].requests, &none, NULL), WEIR_E_TOO_BIG);
    none.len = 1;
    none.peer.v = 0;
    cr_assert_eq(weir_ask(sides[0].requests, &none, NULL), 0, "the shard finds out");
    run(MS);
    expect_end(0, WEIR_ANSWER_GONE);
    none.peer.v = UINT64_MAX;
    cr_assert_eq(weir_ask(sides[0].requests, &none, NULL), WEIR_E_GONE);
    struct weir_request_config cfg = {.size = sizeof(cfg), .out_max = WEIR_REQUEST_OUT_MAX + 1};
    weir_requests *requests;
    cr_assert_eq(weir_requests_create(&requests, sides[0].node, &cfg), WEIR_E_CONFIG);
    cfg.out_max = 0;
    cr_assert_eq(weir_requests_create(&requests, sides[0].node, &cfg), WEIR_E_STATE);
    finish();
}

/* ---- a peer that speaks by hand ------------------------------------------------------------ */

static uint32_t hand_asked[16], hand_cnt;
static weir_peer hand_peer;
static weir_node *hand;

static void hand_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct weir_request_msg msg;
    (void)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++)
        if (weir_request_parse(&msg, msgs[i].data, msgs[i].len) == WEIR_REQUEST_IS_KNOWN &&
            msg.kind == WEIR_REQUEST_ASK && hand_cnt < 16)
            hand_asked[hand_cnt++] = msg.id;
}

static void hand_on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)ctx;
    (void)reason;
    hand_peer = event == WEIR_PEER_UP ? peer : (weir_peer){0};
}

static void begin_by_hand(void)
{
    struct weir_config cfg = {.size = sizeof(cfg), .peers_max = 4, .recv_buf_cnt = 2};
    struct weir_channel channel = {.size = sizeof(channel), .id = WEIR_REQUEST_CHANNEL};
    struct weir_reactor reactor = {
        .size = sizeof(reactor), .on_batch = hand_batch, .on_peer = hand_on_peer};
    make_world(2);
    make(1, NULL);
    cr_assert_eq(weir_world_node_create(world, 3, &cfg, &hand), 0);
    cr_assert_eq(weir_node_attach(hand, &reactor, &channel, 1), 0);
    cr_assert_eq(weir_node_start(hand), 0);
    cr_assert_eq(weir_dial(hand, "10.0.0.2:7000", 0), 0);
    run(WEIR_NS_PER_S);
    cr_assert(hand_peer.v && sides[1].peer.v);
}

static void say(struct weir_request_msg msg, const char *data)
{
    uint8_t bytes[512];
    uint32_t len = weir_request_write(bytes, &msg);
    memcpy(bytes + len, data, strlen(data));
    cr_assert_eq(weir_try_send(hand, hand_peer, WEIR_REQUEST_CHANNEL, bytes, len + strlen(data)),
                 0);
    run(10 * MS);
}

static void ask_hand(uint64_t tag, uint32_t window)
{
    struct weir_ask it = {.size = sizeof(it),
                          .peer = sides[1].peer,
                          .tag = tag,
                          .window_bytes = window,
                          .on_answer = on_answer,
                          .timeout_ns = 100 * MS};
    cr_assert_eq(weir_ask(sides[1].requests, &it, NULL), 0);
    run(10 * MS);
}

Test(request, replies_to_what_has_ended_are_told_apart)
{
    begin_by_hand();
    ask_hand(1, 0);
    ask_hand(2, 0);
    cr_assert_eq(hand_cnt, 2);
    uint8_t first = byte_at(0);
    char text[2] = {(char)first, 0};
    say((struct weir_request_msg){.kind = WEIR_REQUEST_PART, .is_last = true, .id = hand_asked[0]},
        text);
    expect_bytes(1, first ? 1 : 0);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_PART, .is_last = true, .id = hand_asked[0]},
        "");
    cr_assert_eq(stats_of(1).duplicates, 1);
    run(200 * MS); /* the second is not answered in time */
    expect_end(2, WEIR_ANSWER_TIMEOUT);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_ERROR, .code = 20, .id = hand_asked[1]},
        "too late");
    cr_assert_eq(stats_of(1).late, 1);
    cr_assert_eq(stats_of(1).duplicates, 1);
    expect_end(2, WEIR_ANSWER_TIMEOUT);
    cr_assert_eq(stats_of(1).faults, 0);
    cr_assert(hand_peer.v != 0);
    finish();
}

static void expect_fault(void)
{
    run(2 * WEIR_NS_PER_S);
    cr_assert_eq(stats_of(1).faults, 1);
    cr_assert_eq(sides[1].downs[WEIR_R_BAD_REQUEST], 1);
    cr_assert_eq(hand_peer.v, 0);
    finish();
}

Test(request, a_reply_to_what_was_never_asked_ends_the_connection)
{
    begin_by_hand();
    ask_hand(1, 0);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_PART,
                                  .is_last = true,
                                  .id = hand_asked[0] + 1024},
        "");
    expect_fault();
    cr_assert_eq(seen[1].kind, WEIR_ANSWER_GONE);
}

Test(request, a_part_beyond_the_window_ends_the_connection)
{
    begin_by_hand();
    ask_hand(1, 4);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_PART, .id = hand_asked[0]}, "12345");
    expect_fault();
}

Test(request, a_part_at_another_offset_ends_the_connection)
{
    begin_by_hand();
    ask_hand(1, 0);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_PART, .offset = 1, .id = hand_asked[0]},
        "1");
    expect_fault();
}

Test(request, a_question_with_an_id_in_use_ends_the_connection)
{
    begin_by_hand();
    say((struct weir_request_msg){.kind = WEIR_REQUEST_ASK, .id = 7, .method = SILENT}, "");
    cr_assert_eq(sides[1].questions, 1);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_ASK, .id = 7, .method = SILENT}, "");
    cr_assert_eq(sides[1].questions, 1);
    expect_fault();
}

Test(request, a_grant_that_takes_back_ends_the_connection)
{
    begin_by_hand();
    say(
        (struct weir_request_msg){
            .kind = WEIR_REQUEST_ASK, .id = 7, .method = SILENT, .window = 10},
        "");
    say((struct weir_request_msg){.kind = WEIR_REQUEST_GRANT, .id = 7, .offset = 10}, "");
    say((struct weir_request_msg){.kind = WEIR_REQUEST_GRANT, .id = 9, .offset = 1},
        ""); /* of none */
    say((struct weir_request_msg){.kind = WEIR_REQUEST_CANCEL, .id = 9}, "");
    cr_assert_eq(stats_of(1).faults, 0);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_GRANT, .id = 7, .offset = 9}, "");
    expect_fault();
}

Test(request, random_bytes_do_nothing_worse_than_end_a_connection)
{
    begin_by_hand();
    uint64_t seed = 5;
    for (uint32_t i = 0; i < 3000; i++) {
        uint8_t bytes[40];
        for (size_t k = 0; k < sizeof(bytes); k++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            bytes[k] = (uint8_t)(seed >> 56) & (seed >> 40 & 1 ? 0xFF : 0x07);
        }
        bytes[0] = (uint8_t)(1 + bytes[0] % 5);
        if (!hand_peer.v) {
            (void)!weir_dial(hand, "10.0.0.2:7000", 0);
            run(100 * MS);
        }
        if (hand_peer.v)
            (void)!weir_try_send(hand, hand_peer, WEIR_REQUEST_CHANNEL, bytes, 8 + bytes[1] % 33);
        if (i % 50 == 0 && sides[1].peer.v)
            ask_hand(i, 0);
        run(MS);
    }
    struct weir_request_stats stats = stats_of(1);
    cr_assert_geq(stats.faults, 1);
    run(WEIR_NS_PER_S);
    cr_assert_eq(stats_of(1).asking, 0);
    finish();
}

/* ---- a bad network ------------------------------------------------------------------------- */

Test(request, every_ask_ends_once_whatever_happens, .timeout = 200)
{
    uint64_t answered_all = 0; /* in one world resets may leave no time for any */
    for (uint64_t seed = 1; seed <= 5; seed++) {
        memset(sides, 0, sizeof(sides));
        memset(seen, 0, sizeof(seen));
        make_world(seed);
        make(1, NULL);
        make(0, "10.0.0.2:7000");
        weir_world_set_faults(world, WEIR_FAULT_SHORT | WEIR_FAULT_DELAY | WEIR_FAULT_RESET |
                                         WEIR_FAULT_LOSS | WEIR_FAULT_FULL | WEIR_FAULT_END);
        uint64_t cnt = 0, lens[4096];
        for (uint32_t round = 0; round < 120; round++) {
            for (uint32_t k = 0; k < 4 && sides[0].peer.v; k++) {
                weir_ticket ticket;
                lens[cnt] = weir_world_random(world, 4) ? weir_world_random(world, 5000)
                                                        : weir_world_random(world, 400000);
                uint16_t method = weir_world_random(world, 8) ? LENGTH : SILENT;
                int error = ask_with(cnt, method, &lens[cnt], 8,
                                     (100 + weir_world_random(world, 3000)) * MS, &ticket);
                cr_assert_eq(error, 0, "seed %lu: %d", seed, error);
                if (weir_world_random(world, 10) == 0)
                    cr_assert_eq(weir_ask_cancel(sides[0].requests, ticket), 0);
                cnt++;
            }
            run(weir_world_random(world, 40) * MS);
        }
        weir_world_set_faults(world, 0);
        run(10 * WEIR_NS_PER_S);
        struct weir_request_stats stats = stats_of(0);
        uint64_t answered = 0;
        for (uint64_t i = 0; i < cnt; i++) {
            cr_assert_eq(seen[i].finals, 1, "seed %lu: ask %lu ended %u times", seed, i,
                         seen[i].finals);
            cr_assert(!seen[i].is_damaged, "seed %lu: ask %lu", seed, i);
            if (seen[i].kind == WEIR_ANSWER_PART) {
                cr_assert_eq(seen[i].bytes, lens[i], "seed %lu: ask %lu", seed, i);
                answered++;
            }
        }
        answered_all += answered;
        cr_assert_eq(stats.answered, answered);
        cr_assert_eq(stats.asking, 0);
        cr_assert_eq(stats.answered + stats.errors + stats.timeouts + stats.cancelled + stats.gone +
                         stats.failed,
                     cnt);
        cr_assert_eq(stats.faults, 0, "seed %lu", seed);
        cr_assert_eq(stats_of(1).faults, 0, "seed %lu", seed);
        cr_assert_eq(stats_of(1).answering, 0, "seed %lu", seed);
        finish();
    }
    cr_assert_gt(answered_all, 0);
}
