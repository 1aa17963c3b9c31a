#include <string.h>

#include "engine/base/check.h"
#include "engine/base/copy.h"
#include "engine/node/request_impl.h"

#define PART_BYTES_MIN 1024u /* a peer that takes no part of this size takes none */

/* ---- the table ----------------------------------------------------------------------------- */

static void question_free(struct request_question *question)
{
    weir_buf_unref(question->whole);
    weir_heap_release(question);
}

/* Takes a question out of its peer's table and lets it go. */
static void drop(struct request_peer *peer, struct request_question *question)
{
    weir_requests *requests = question->requests;
    WEIR_CHECK(peer->ins[question->reply.slot] == question);
    peer->ins[question->reply.slot] = NULL;
    peer->in_cnt--;
    weir_wheel_cancel(&request_shard_of(requests, peer->peer)->wheel, &question->timer);
    atomic_fetch_sub_explicit(&requests->stats.answering, 1, memory_order_relaxed);
    question_free(question);
}

/* A question ends without an answer: whoever works on it is told, unless the whole answer is here already. */
static void over(struct request_peer *peer, struct request_question *question, bool can_call)
{
    weir_requests *requests = question->requests;
    weir_reply reply = question->reply;
    bool is_known = !question->whole && !question->code;
    drop(peer, question);
    request_count(&requests->stats.over, 1);
    if (can_call && is_known && requests->cfg.on_over)
        requests->cfg.on_over(requests->cfg.ctx, reply);
}

static struct request_question *question_of(weir_requests *requests, weir_reply reply,
                                            struct request_peer **ret_peer)
{
    struct request_peer *peer = weir_peer_get(requests->node, reply.peer, requests->place);
    if (!peer || peer->is_bad || reply.slot >= requests->cfg.in_max)
        return NULL;
    struct request_question *question = peer->ins[reply.slot];
    *ret_peer = peer;
    return question && question->reply.serial == reply.serial ? question : NULL;
}

static struct request_question *question_of_id(weir_requests *requests, struct request_peer *peer,
                                               uint32_t id)
{
    for (uint32_t i = 0, left = peer->in_cnt; left && i < requests->cfg.in_max; i++) {
        if (!peer->ins[i])
            continue;
        if (peer->ins[i]->reply.id == id)
            return peer->ins[i];
        left--;
    }
    return NULL;
}

/* ---- sending ------------------------------------------------------------------------------- */

/* An error reply to what is in no table. With no room for it the asker's deadline says the same, later. */
static void refuse(weir_requests *requests, struct request_peer *peer, uint32_t id, uint32_t code,
                   const char *text)
{
    struct weir_request_msg msg = {.kind = WEIR_REQUEST_ERROR,
                                   .id = id,
                                   .code = code,
                                   .data = (const uint8_t *)text,
                                   .len = (uint32_t)strlen(text)};
    (void)request_send(requests, peer, &msg);
}

/* Sends an error reply that was decided on; when there is no room it stays for later. */
static void send_error(struct request_peer *peer, struct request_question *question)
{
    weir_requests *requests = question->requests;
    struct weir_request_msg msg = {.kind = WEIR_REQUEST_ERROR,
                                   .id = question->reply.id,
                                   .code = question->code,
                                   .data = (const uint8_t *)question->text,
                                   .len = question->text_len};
    int error = request_send(requests, peer, &msg);
    if (error == WEIR_E_FULL || error == WEIR_E_NOMEM)
        return;
    if (!error)
        request_count(&requests->stats.reply_errors, 1);
    drop(peer, question);
}

static void set_error(struct request_question *question, uint32_t code, const char *text)
{
    size_t len = text ? strnlen(text, WEIR_REQUEST_TEXT_BYTES_MAX) : 0;
    question->code = code;
    question->text_len = (uint8_t)len;
    if (len)
        memcpy(question->text, text, len);
    weir_buf_unref(question->whole);
    question->whole = NULL;
}

/* Sends one part of at most `len` bytes. Returns the bytes taken, or WEIR_E_FULL (the channel or the window),
 * WEIR_E_NOMEM, WEIR_E_TOO_BIG (the peer takes no parts), WEIR_E_GONE. */
static int64_t send_part(struct request_peer *peer, struct request_question *question,
                         const uint8_t *data, uint64_t len, bool is_last)
{
    weir_requests *requests = question->requests;
    uint64_t room = question->limit - question->sent;
    uint64_t part = len < question->part_bytes_max ? len : question->part_bytes_max;
    part = part < room ? part : room;
    if (part == 0 && len) {
        if (!question->is_stalled)
            request_count(&requests->stats.stalls, 1);
        question->is_stalled = true;
        return WEIR_E_FULL;
    }
    struct weir_request_msg msg = {.kind = WEIR_REQUEST_PART,
                                   .is_last = is_last && part == len,
                                   .id = question->reply.id,
                                   .offset = question->sent,
                                   .data = data,
                                   .len = (uint32_t)part};
    int error = peer->is_blocked ? WEIR_E_FULL : request_send(requests, peer, &msg);
    if (error == WEIR_E_TOO_BIG && part > PART_BYTES_MIN) { /* its parts are smaller than ours */
        question->part_bytes_max = (uint32_t)(part / 2);
        return send_part(peer, question, data, len, is_last);
    }
    if (error)
        return error;
    question->sent += part;
    question->is_stalled = false;
    request_count(&requests->stats.parts_sent, 1);
    request_count(&requests->stats.bytes_sent, part);
    return (int64_t)part;
}

/* Sends the next part of a whole answer; whether it may be called again at once. */
static bool step(struct request_peer *peer, struct request_question *question)
{
    const uint8_t *data = weir_buf_data(question->whole);
    uint64_t len = weir_buf_len(question->whole);
    int64_t taken =
        send_part(peer, question, data + question->whole_off, len - question->whole_off, true);
    if (taken == WEIR_E_TOO_BIG) {
        set_error(question, WEIR_REQUEST_FAILED, "no part is small enough");
        send_error(peer, question);
        return false;
    }
    if (taken < 0)
        return false;
    question->whole_off += (uint64_t)taken;
    if (question->whole_off < len)
        return true;
    request_count(&question->requests->stats.replied, 1);
    drop(peer, question);
    return false;
}

/* Whole answers of a peer go part by part in turn, so that a long one does not hold up a short one. */
static void pump(weir_requests *requests, struct request_peer *peer)
{
    bool has_more = true;
    while (has_more && !peer->is_blocked) {
        has_more = false;
        for (uint32_t i = 0; i < requests->cfg.in_max && peer->in_cnt && !peer->is_blocked; i++) {
            struct request_question *question = peer->ins[peer->in_next];
            peer->in_next = (peer->in_next + 1) % requests->cfg.in_max;
            if (question && question->code)
                send_error(peer, question);
            else if (question && question->whole)
                has_more |= step(peer, question);
        }
    }
}

void request_serve_resume(weir_requests *requests, struct request_peer *peer)
{
    pump(requests, peer);
    for (uint32_t i = 0; i < requests->cfg.in_max && peer->in_cnt; i++) {
        struct request_question *question = peer->ins[i];
        if (peer->is_blocked || peer->is_bad)
            return;
        if (!question || !question->wants_room || question->limit == question->sent)
            continue;
        question->wants_room = false;
        if (requests->cfg.on_room)
            requests->cfg.on_room(requests->cfg.ctx, question->reply);
    }
}

/* ---- what the peer says -------------------------------------------------------------------- */

void request_question(weir_requests *requests, struct request_peer *peer,
                      const struct weir_request_msg *msg, const struct weir_msg *raw)
{
    if (question_of_id(requests, peer, msg->id)) {
        request_fault(requests, peer);
        return;
    }
    request_count(&requests->stats.questions, 1);
    if (!requests->cfg.on_question) {
        refuse(requests, peer, msg->id, WEIR_REQUEST_NO_SERVICE, "nobody answers here");
        return;
    }
    if (msg->len > requests->cfg.question_bytes_max) {
        refuse(requests, peer, msg->id, WEIR_REQUEST_TOO_BIG, "the question is too long");
        return;
    }
    struct request_question *question =
        peer->in_cnt < requests->cfg.in_max ? weir_heap_alloc(NULL, sizeof(*question)) : NULL;
    if (!question) {
        request_count(&requests->stats.busy, 1);
        refuse(requests, peer, msg->id, WEIR_REQUEST_BUSY, "too many questions at once");
        return;
    }
    uint32_t slot = 0;
    while (peer->ins[slot])
        slot++;
    question->requests = requests;
    question->reply = (weir_reply){
        .peer = peer->peer,
        .id = msg->id,
        .slot = slot,
        .serial = atomic_fetch_add_explicit(&requests->serial, 1, memory_order_relaxed) + 1};
    question->limit = msg->window;
    question->part_bytes_max = requests->cfg.part_bytes_max;
    question->timer.kind = REQUEST_TIMER_QUESTION;
    peer->ins[slot] = question;
    peer->in_cnt++;
    request_count(&requests->stats.answering, 1);
    struct weir_request told = {.reply = question->reply,
                                .data = msg->data,
                                .len = msg->len,
                                .method = msg->method,
                                .deadline = WEIR_NS_FOREVER,
                                .msg = raw};
    if (msg->timeout_ms) {
        told.deadline = weir_node_now(requests->node) + msg->timeout_ms * WEIR_NS_PER_MS;
        request_timer_set(requests, peer->peer, &question->timer, told.deadline);
    }
    requests->cfg.on_question(requests->cfg.ctx, &told);
}

void request_grant(weir_requests *requests, struct request_peer *peer,
                   const struct weir_request_msg *msg)
{
    struct request_question *question = question_of_id(requests, peer, msg->id);
    if (!question) /* it crossed the last part */
        return;
    if (msg->offset < question->limit) {
        request_fault(requests, peer);
        return;
    }
    question->limit = msg->offset;
    if (!peer->is_blocked)
        request_serve_resume(requests, peer);
}

void request_cancelled(weir_requests *requests, struct request_peer *peer, uint32_t id)
{
    struct request_question *question = question_of_id(requests, peer, id);
    if (question)
        over(peer, question, true);
}

void request_question_expired(struct request_question *question)
{
    weir_requests *requests = question->requests;
    struct request_peer *peer =
        weir_peer_get(requests->node, question->reply.peer, requests->place);
    WEIR_CHECK(peer != NULL);
    over(peer, question, true);
}

void request_questions_end(weir_requests *requests, struct request_peer *peer, bool can_call)
{
    for (uint32_t i = 0; i < requests->cfg.in_max && peer->in_cnt; i++)
        if (peer->ins[i])
            over(peer, peer->ins[i], can_call);
}

/* ---- what the application says ------------------------------------------------------------- */

/* An answer on its way to the shard. */
struct posted_reply {
    weir_requests *requests;
    weir_reply reply;
    struct weir_buf *whole;
    uint32_t code;
    char text[WEIR_REQUEST_TEXT_BYTES_MAX + 1];
};

static int reply_here(struct posted_reply *posted)
{
    struct request_peer *peer;
    struct request_question *question = question_of(posted->requests, posted->reply, &peer);
    if (!question || question->code || question->whole)
        return WEIR_E_GONE; /* not there, or answered and about to be sent */
    if (posted->code) {
        set_error(question, posted->code, posted->text);
        if (!peer->is_blocked)
            send_error(peer, question);
        return 0;
    }
    question->whole = posted->whole;
    posted->whole = NULL;
    if (!peer->is_blocked)
        pump(posted->requests, peer);
    return 0;
}

static void reply_posted(void *ctx, uint32_t shard, int is_run)
{
    struct posted_reply *posted = ctx;
    (void)shard;
    if (is_run)
        (void)reply_here(posted);
    weir_buf_unref(posted->whole);
    weir_heap_release(posted);
}

/* Consumes `whole`. */
static int reply_from_anywhere(weir_requests *requests, weir_reply reply, struct weir_buf *whole,
                               uint32_t code, const char *text)
{
    struct posted_reply here = {.requests = requests, .reply = reply, .whole = whole, .code = code};
    size_t len = text ? strnlen(text, WEIR_REQUEST_TEXT_BYTES_MAX) : 0;
    if (len)
        memcpy(here.text, text, len);
    int error;
    if (request_is_here(requests, reply.peer)) {
        error = reply_here(&here);
        weir_buf_unref(here.whole);
        return error;
    }
    struct posted_reply *posted = weir_heap_alloc_raw(NULL, sizeof(*posted));
    error = posted ? 0 : WEIR_E_NOMEM;
    if (posted) {
        *posted = here;
        error = weir_post(requests->node, weir_peer_shard(reply.peer), reply_posted, posted);
    }
    if (error) {
        weir_heap_release(posted);
        weir_buf_unref(whole);
    }
    return error == WEIR_E_STATE ? WEIR_E_GONE : error;
}

int weir_reply_send(weir_requests *requests, weir_reply reply, const void *data, size_t len)
{
    if (!requests || (!data && len))
        return WEIR_E_MISUSE;
    if (len > requests->cfg.answer_bytes_max)
        return WEIR_E_TOO_BIG;
    if (!request_shard_of(requests, reply.peer))
        return WEIR_E_GONE;
    struct weir_buf *whole;
    int error = weir_buf_create(&whole, len);
    if (error)
        return error;
    if (len)
        weir_copy(weir_buf_data(whole), data, len);
    return reply_from_anywhere(requests, reply, whole, 0, NULL);
}

int weir_reply_error(weir_requests *requests, weir_reply reply, uint32_t code, const char *text)
{
    if (!requests || code < WEIR_REQUEST_CODE_FIRST || code > INT32_MAX)
        return WEIR_E_MISUSE;
    if (!request_shard_of(requests, reply.peer))
        return WEIR_E_GONE;
    return reply_from_anywhere(requests, reply, NULL, code, text);
}

int64_t weir_reply_write(weir_requests *requests, weir_reply reply, const void *data, size_t len,
                         int is_last)
{
    if (!requests || (!data && len) || !request_is_here(requests, reply.peer))
        return WEIR_E_MISUSE;
    struct request_peer *peer;
    struct request_question *question = question_of(requests, reply, &peer);
    if (!question)
        return WEIR_E_GONE;
    if (question->whole || question->code)
        return WEIR_E_STATE;
    size_t taken = 0;
    bool is_ended = false;
    while (!is_ended && (taken < len || (is_last && taken == len))) {
        int64_t res =
            send_part(peer, question, (const uint8_t *)data + taken, len - taken, is_last != 0);
        if (res == WEIR_E_TOO_BIG || res == WEIR_E_GONE)
            return res;
        if (res < 0) {
            question->wants_room = true;
            return (int64_t)taken;
        }
        taken += (size_t)res;
        is_ended = is_last && taken == len;
    }
    if (is_ended) {
        request_count(&requests->stats.replied, 1);
        drop(peer, question);
    }
    return (int64_t)taken;
}
