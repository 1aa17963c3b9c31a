/* tests/unit/node/request_fixture.h: requests in a simulated world: sides[0] asks, sides[1] answers by method, and what
 * came for each ask is in seen[tag].
 *
 *   sides[1].cfg.in_max = 7;   what the test is about
 *   begin();                   both run and are linked
 *   ask(1, ECHO, 0); run(MS);  expect_bytes(), expect_end()
 *   finish();
 */
#ifndef WEIR_TESTS_UNIT_NODE_REQUEST_FIXTURE_H
#define WEIR_TESTS_UNIT_NODE_REQUEST_FIXTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/request.h"
#include "weir/sim.h"

#define MS WEIR_NS_PER_MS

enum { ECHO = 1, LENGTH = 2, SILENT = 3, FAIL = 4, STREAM = 5 };

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
    uint32_t questions, overs, rooms;
    uint64_t stream_len, stream_sent;
    weir_reply stream;
};

static weir_world *world;
static struct side sides[3];
static struct seen seen[4096];
static weir_inbox *inbox;

static inline uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 131 + (offset >> 8) * 7);
}

static inline void note(const struct weir_answer *answer)
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

static inline void on_answer(void *ctx, const struct weir_answer *answer)
{
    (void)ctx;
    note(answer);
}

static inline void stream_on(struct side *side)
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

static inline void on_question(void *ctx, const struct weir_request *request)
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

static inline void on_room(void *ctx, weir_reply reply)
{
    struct side *side = ctx;
    side->rooms++;
    if (reply.serial == side->stream.serial)
        stream_on(side);
}

static inline void on_over(void *ctx, weir_reply reply)
{
    struct side *side = ctx;
    (void)reply;
    side->overs++;
}

static inline void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct side *side = ctx;
    if (event == WEIR_PEER_UP)
        side->peer = peer;
    if (event == WEIR_PEER_DOWN) {
        side->downs[reason]++;
        side->peer = (weir_peer){0};
    }
}

static inline void make(unsigned idx, const char *dial)
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

static inline int is_linked(void *ctx)
{
    (void)ctx;
    return sides[0].peer.v && sides[1].peer.v;
}

static inline void make_world(uint64_t seed)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = seed};
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
}

static inline void begin(void)
{
    make_world(1);
    make(1, NULL);
    make(0, "10.0.0.2:7000");
    cr_assert(weir_world_run_until(world, 10 * WEIR_NS_PER_S, is_linked, NULL));
}

static inline void finish(void)
{
    weir_world_free(world);
    for (unsigned i = 0; i < 3; i++)
        weir_requests_free(sides[i].requests);
    weir_inbox_free(inbox);
}

static inline struct weir_request_stats stats_of(unsigned idx)
{
    struct weir_request_stats stats = {.size = sizeof(stats)};
    cr_assert_eq(weir_requests_stats(sides[idx].requests, &stats), 0);
    return stats;
}

static inline int ask_with(uint64_t tag, uint16_t method, const void *data, size_t len,
                           weir_ns timeout, weir_ticket *ret_ticket)
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

static inline void ask(uint64_t tag, uint16_t method, uint64_t number)
{
    cr_assert_eq(ask_with(tag, method, &number, sizeof(number), 0, NULL), 0);
}

static inline void run(weir_ns duration)
{
    (void)weir_world_run(world, duration);
}

static inline void expect_bytes(uint64_t tag, uint64_t bytes)
{
    cr_assert_eq(seen[tag].finals, 1, "ask %lu ended %u times", tag, seen[tag].finals);
    cr_assert_eq(seen[tag].kind, WEIR_ANSWER_PART, "ask %lu: %d", tag, seen[tag].kind);
    cr_assert_eq(seen[tag].bytes, bytes, "ask %lu: %lu bytes", tag, seen[tag].bytes);
    cr_assert(!seen[tag].is_damaged, "ask %lu", tag);
}

static inline void expect_end(uint64_t tag, int kind)
{
    cr_assert_eq(seen[tag].finals, 1, "ask %lu ended %u times", tag, seen[tag].finals);
    cr_assert_eq(seen[tag].kind, kind, "ask %lu: %d, not %d", tag, seen[tag].kind, kind);
}

#endif
