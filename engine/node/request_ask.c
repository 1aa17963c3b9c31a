#include <string.h>

#include "engine/base/check.h"
#include "engine/base/copy.h"
#include "engine/node/internal.h"
#include "engine/node/request_impl.h"

/* ---- references ---------------------------------------------------------------------------- */

static struct request_ask *hold(struct request_ask *ask)
{
    atomic_fetch_add_explicit(&ask->refs, 1, memory_order_relaxed);
    return ask;
}

void request_ask_unref(struct request_ask *ask)
{
    if (atomic_fetch_sub_explicit(&ask->refs, 1, memory_order_acq_rel) != 1)
        return;
    weir_buf_unref(ask->message);
    weir_heap_release(ask->last_item);
    weir_inbox_unref(ask->inbox);
    weir_heap_release(ask);
}

/* ---- answers to the asker ------------------------------------------------------------------ */

/* Copies an answer into the asker's inbox. Errors: WEIR_E_NOMEM, never for one that fits the last item. */
static int put(struct request_ask *ask, const struct weir_answer *answer)
{
    struct weir_inbox_item *item = NULL;
    if (answer->is_final && answer->len <= WEIR_REQUEST_TEXT_BYTES_MAX) {
        item = ask->last_item;
        ask->last_item = NULL;
    } else {
        item = weir_inbox_item_create(answer->len);
    }
    if (!item)
        return WEIR_E_NOMEM;
    item->answer = *answer;
    if (answer->len)
        memcpy(item->data, answer->data, answer->len);
    item->answer.data = item->data;
    item->ask = hold(ask);
    weir_inbox_put(ask->inbox, item);
    return 0;
}

static int tell(struct request_ask *ask, struct weir_answer *answer)
{
    answer->ticket = ask->ticket;
    answer->tag = ask->tag;
    if (ask->inbox)
        return put(ask, answer);
    ask->on_answer(ask->ctx, answer);
    return 0;
}

static void count_end(weir_requests *requests, const struct weir_answer *answer)
{
    switch ((enum weir_answer_kind)answer->kind) {
    case WEIR_ANSWER_PART:
        request_count(&requests->stats.answered, 1);
        break;
    case WEIR_ANSWER_ERROR:
        request_count(&requests->stats.errors, 1);
        break;
    case WEIR_ANSWER_TIMEOUT:
        request_count(&requests->stats.timeouts, 1);
        break;
    case WEIR_ANSWER_CANCELLED:
        request_count(&requests->stats.cancelled, 1);
        break;
    case WEIR_ANSWER_GONE:
        request_count(&requests->stats.gone, 1);
        break;
    case WEIR_ANSWER_FAILED:
        request_count(&requests->stats.failed, 1);
        break;
    }
}

/* Tells the final answer of an ask that is in no table (any more) and lets it go. */
static void tell_last(struct request_ask *take, struct weir_answer *answer, bool can_call)
{
    weir_requests *requests = take->requests;
    answer->is_final = 1;
    if ((can_call || take->inbox) && tell(take, answer) != 0) {
        *answer =
            (struct weir_answer){.kind = WEIR_ANSWER_FAILED, .code = WEIR_E_NOMEM, .is_final = 1};
        (void)tell(take, answer);
    }
    count_end(requests, answer);
    request_ask_unref(take);
}

/* ---- the table ----------------------------------------------------------------------------- */

static uint32_t slot_of(uint32_t id)
{
    return id & (WEIR_REQUEST_OUT_MAX - 1);
}

static uint32_t use_of(uint32_t id)
{
    return id >> WEIR_REQUEST_SLOT_BITS;
}

/* Takes an ask out of the table: its slot is free, replies to it are late or duplicates. */
static void take_out(struct request_peer *peer, struct request_ask *ask, bool was_answered)
{
    weir_requests *requests = ask->requests;
    struct request_shard *shard = request_shard_of(requests, peer->peer);
    struct request_out *out = &peer->outs[slot_of(ask->id)];
    WEIR_CHECK(out->ask == ask);
    atomic_store_explicit(&ask->is_over, true, memory_order_relaxed);
    out->ask = NULL;
    out->was_answered = was_answered;
    peer->out_cnt--;
    shard->ask_cnt--;
    weir_wheel_cancel(&shard->wheel, &ask->timer);
    atomic_fetch_sub_explicit(&requests->stats.asking, 1, memory_order_relaxed);
}

static void end(struct request_peer *peer, struct request_ask *ask, struct weir_answer *answer)
{
    bool was_answered = answer->kind == WEIR_ANSWER_PART || answer->kind == WEIR_ANSWER_ERROR;
    take_out(peer, ask, was_answered);
    tell_last(ask, answer, true);
}

/* The same, and the peer is told to stop. If there is no room for that, its window and the deadline that it
 * knows stop it. */
static void give_up(struct request_peer *peer, struct request_ask *ask, struct weir_answer *answer)
{
    struct weir_request_msg msg = {.kind = WEIR_REQUEST_CANCEL, .id = ask->id};
    if (!peer->is_bad)
        (void)request_send(ask->requests, peer, &msg);
    end(peer, ask, answer);
}

/* ---- asking -------------------------------------------------------------------------------- */

static uint32_t timeout_ms(const struct request_ask *ask)
{
    if (ask->deadline == WEIR_NS_FOREVER)
        return 0;
    weir_ns now = weir_node_now(ask->requests->node);
    uint64_t ms = ask->deadline > now ? (ask->deadline - now) / WEIR_NS_PER_MS + 1 : 1;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

/* Sends an ask and puts it into its peer's table. Shard thread. */
static int start(struct request_ask *ask, uint16_t method)
{
    weir_requests *requests = ask->requests;
    struct request_peer *peer;
    int error = request_peer_of(requests, ask->ticket.peer, &peer);
    if (error)
        return error;
    if (peer->out_cnt == requests->cfg.out_max)
        return WEIR_E_LIMIT;
    uint32_t slot = peer->out_next;
    while (peer->outs[slot].ask) /* the next free one: a slot rests as long as it can */
        slot = (slot + 1) % requests->cfg.out_max;
    struct request_out *out = &peer->outs[slot];
    uint32_t use = (out->use + 1) & WEIR_REQUEST_USE_MASK;
    use = use ? use : 1;
    ask->id = use << WEIR_REQUEST_SLOT_BITS | slot;
    struct weir_request_msg msg = {
        .kind = WEIR_REQUEST_ASK,
        .method = method,
        .id = ask->id,
        .timeout_ms = timeout_ms(ask),
        .window = ask->window,
        .data = weir_buf_data(ask->message),
        .len = (uint32_t)weir_buf_len(ask->message),
    };
    error = request_send(requests, peer, &msg);
    if (error)
        return error;
    weir_buf_unref(ask->message);
    ask->message = NULL;
    *out = (struct request_out){.ask = ask, .use = use};
    peer->out_next = (slot + 1) % requests->cfg.out_max;
    peer->out_cnt++;
    request_shard_of(requests, ask->ticket.peer)->ask_cnt++;
    ask->granted = ask->window;
    request_count(&requests->stats.asked, 1);
    request_count(&requests->stats.asking, 1);
    ask->timer.kind = REQUEST_TIMER_ASK;
    request_timer_set(requests, ask->ticket.peer, &ask->timer, ask->deadline);
    return 0;
}

/* The method rides in the timer until then. */
static void start_posted(void *ctx, uint32_t shard, int is_run)
{
    struct request_ask *ask = ctx;
    (void)shard;
    int error = is_run ? start(ask, (uint16_t)ask->timer.arg) : WEIR_E_GONE;
    if (!error)
        return;
    struct weir_answer answer = {.kind =
                                     error == WEIR_E_GONE ? WEIR_ANSWER_GONE : WEIR_ANSWER_FAILED,
                                 .code = error == WEIR_E_GONE ? 0 : error};
    tell_last(ask, &answer, true);
}

static struct request_ask *make(weir_requests *requests, const struct weir_ask *ask)
{
    struct request_ask *made = weir_heap_alloc(NULL, sizeof(*made));
    if (!made)
        return NULL;
    atomic_init(&made->refs, 1);
    made->requests = requests;
    made->ticket = (weir_ticket){
        .peer = ask->peer,
        .serial = atomic_fetch_add_explicit(&requests->serial, 1, memory_order_relaxed) + 1};
    made->tag = ask->tag;
    made->on_answer = ask->on_answer;
    made->ctx = ask->ctx;
    made->window = ask->window_bytes ? ask->window_bytes : requests->cfg.window_bytes;
    made->answer_bytes_max = ask->answer_bytes_max ? ask->answer_bytes_max : UINT64_MAX;
    weir_ns now = weir_node_now(requests->node);
    weir_ns timeout = ask->timeout_ns ? ask->timeout_ns : requests->cfg.timeout_ns;
    made->deadline = timeout > WEIR_NS_FOREVER - now ? WEIR_NS_FOREVER : now + timeout;
    if (ask->inbox) {
        made->inbox = weir_inbox_ref(ask->inbox);
        made->last_item = weir_inbox_item_create(WEIR_REQUEST_TEXT_BYTES_MAX);
    }
    if ((ask->inbox && !made->last_item) || weir_buf_create(&made->message, ask->len) != 0) {
        request_ask_unref(made);
        return NULL;
    }
    if (ask->len)
        weir_copy(weir_buf_data(made->message), ask->data, ask->len);
    return made;
}

int weir_ask(weir_requests *requests, const struct weir_ask *ask, weir_ticket *ret_ticket)
{
    struct weir_ask own;
    if (!requests || !ask)
        return WEIR_E_MISUSE;
    int error = weir_struct_take(&own, sizeof(own), ask);
    if (error)
        return error;
    if ((!own.inbox && !own.on_answer) || (!own.data && own.len) || own.flags ||
        own.window_bytes > 1u << 30)
        return WEIR_E_MISUSE;
    if (own.len > requests->cfg.question_bytes_max)
        return WEIR_E_TOO_BIG;
    if (!request_shard_of(requests, own.peer))
        return WEIR_E_GONE;
    struct request_ask *made = make(requests, &own);
    if (!made)
        return WEIR_E_NOMEM;
    weir_ticket ticket = made->ticket; /* it may have ended before the post returns */
    if (request_is_here(requests, own.peer)) {
        error = start(made, own.method);
    } else {
        made->timer.arg = own.method;
        error = weir_post(requests->node, weir_peer_shard(own.peer), start_posted, made);
    }
    if (error) {
        request_ask_unref(made);
        return error;
    }
    if (ret_ticket)
        *ret_ticket = ticket;
    return 0;
}

/* ---- replies ------------------------------------------------------------------------------- */

/* The ask that a reply is for; NULL: it was late or a duplicate, or the peer is at fault. */
static struct request_ask *ask_of(weir_requests *requests, struct request_peer *peer, uint32_t id)
{
    uint32_t slot = slot_of(id), use = use_of(id);
    struct request_out *out = slot < requests->cfg.out_max ? &peer->outs[slot] : NULL;
    /* Half of all numbers are before the present one, half after it. */
    if (!out || out->use == 0 || use == 0 ||
        ((out->use - use) & WEIR_REQUEST_USE_MASK) > WEIR_REQUEST_USE_MASK / 2) {
        request_fault(requests, peer);
        return NULL;
    }
    if (out->use == use && out->ask)
        return out->ask;
    bool is_duplicate = out->use == use && out->was_answered;
    request_count(is_duplicate ? &requests->stats.duplicates : &requests->stats.late, 1);
    return NULL;
}

static void grant(struct request_peer *peer, struct request_ask *ask)
{
    uint64_t consumed = atomic_load_explicit(&ask->consumed, memory_order_acquire);
    uint64_t limit = consumed + ask->window;
    ask->wants_grant = false;
    if (limit <= ask->granted || (limit - ask->granted) * 2 < ask->window || peer->is_bad)
        return;
    struct weir_request_msg msg = {.kind = WEIR_REQUEST_GRANT, .id = ask->id, .offset = limit};
    int error = request_send(ask->requests, peer, &msg);
    if (error)
        ask->wants_grant = true; /* request_ask_resume */
    else
        ask->granted = limit;
}

static void on_part(struct request_peer *peer, struct request_ask *ask,
                    const struct weir_request_msg *msg)
{
    weir_requests *requests = ask->requests;
    if (msg->offset != ask->received || msg->len > ask->granted - ask->received) {
        request_fault(requests, peer);
        return;
    }
    ask->received += msg->len;
    request_count(&requests->stats.parts_received, 1);
    request_count(&requests->stats.bytes_received, msg->len);
    struct weir_answer answer = {
        .kind = WEIR_ANSWER_PART, .offset = msg->offset, .data = msg->data, .len = msg->len};
    if (ask->received > ask->answer_bytes_max) {
        answer = (struct weir_answer){.kind = WEIR_ANSWER_FAILED, .code = WEIR_E_TOO_BIG};
        if (msg->is_last)
            end(peer, ask, &answer);
        else
            give_up(peer, ask, &answer);
        return;
    }
    if (msg->is_last) {
        end(peer, ask, &answer);
        return;
    }
    (void)hold(ask); /* the callback may cancel it */
    if (tell(ask, &answer) != 0) {
        answer = (struct weir_answer){.kind = WEIR_ANSWER_FAILED, .code = WEIR_E_NOMEM};
        give_up(peer, ask, &answer);
    } else if (!ask->inbox) {
        atomic_fetch_add_explicit(&ask->consumed, msg->len, memory_order_relaxed);
        if (peer->outs[slot_of(ask->id)].ask == ask)
            grant(peer, ask);
    }
    request_ask_unref(ask);
}

void request_ask_reply(weir_requests *requests, struct request_peer *peer,
                       const struct weir_request_msg *msg)
{
    struct request_ask *ask = ask_of(requests, peer, msg->id);
    if (!ask)
        return;
    if (msg->kind == WEIR_REQUEST_PART) {
        on_part(peer, ask, msg);
        return;
    }
    uint8_t text[WEIR_REQUEST_TEXT_BYTES_MAX];
    for (uint32_t i = 0; i < msg->len; i++) /* it will be shown, or logged */
        text[i] = msg->data[i] < 0x20 || msg->data[i] == 0x7F ? '?' : msg->data[i];
    struct weir_answer answer = {
        .kind = WEIR_ANSWER_ERROR, .code = (int32_t)msg->code, .data = text, .len = msg->len};
    end(peer, ask, &answer);
}

void request_ask_resume(weir_requests *requests, struct request_peer *peer)
{
    for (uint32_t i = 0; i < requests->cfg.out_max && peer->out_cnt; i++)
        if (peer->outs[i].ask)
            grant(peer, peer->outs[i].ask);
}

static void grant_posted(void *ctx, uint32_t shard, int is_run)
{
    struct request_ask *ask = ctx;
    (void)shard;
    if (is_run) {
        weir_requests *requests = ask->requests;
        struct request_peer *peer =
            weir_peer_get(requests->node, ask->ticket.peer, requests->place);
        if (peer && !peer->is_bad && peer->outs[slot_of(ask->id)].ask == ask)
            grant(peer, ask);
    }
    request_ask_unref(ask);
}

void request_ask_consumed(struct request_ask *ask, uint64_t len)
{
    uint64_t consumed = atomic_fetch_add_explicit(&ask->consumed, len, memory_order_acq_rel) + len;
    uint64_t reported = atomic_load_explicit(&ask->reported, memory_order_relaxed);
    if ((consumed - reported) * 2 < ask->window ||
        atomic_load_explicit(&ask->is_over, memory_order_relaxed))
        return;
    /* One of several threads that get here. */
    if (!atomic_compare_exchange_strong(&ask->reported, &reported, consumed))
        return;
    weir_requests *requests = ask->requests;
    uint32_t shard = weir_peer_shard(ask->ticket.peer);
    if (weir_post(requests->node, shard, grant_posted, hold(ask)) == 0)
        return;
    request_ask_unref(ask);
    atomic_store(&requests->shards[shard].has_missed, true);
}

/* ---- ends ---------------------------------------------------------------------------------- */

void request_ask_expired(struct request_ask *ask)
{
    struct request_peer *peer =
        weir_peer_get(ask->requests->node, ask->ticket.peer, ask->requests->place);
    WEIR_CHECK(peer != NULL);
    struct weir_answer answer = {.kind = WEIR_ANSWER_TIMEOUT};
    give_up(peer, ask, &answer);
}

static struct request_ask *ask_of_ticket(weir_requests *requests, weir_ticket ticket,
                                         struct request_peer **ret_peer)
{
    struct request_peer *peer = weir_peer_get(requests->node, ticket.peer, requests->place);
    *ret_peer = peer;
    for (uint32_t i = 0; peer && peer != requests->gone && i < requests->cfg.out_max; i++)
        if (peer->outs[i].ask && peer->outs[i].ask->ticket.serial == ticket.serial)
            return peer->outs[i].ask;
    return NULL;
}

struct cancel {
    weir_requests *requests;
    weir_ticket ticket;
};

static int cancel_here(weir_requests *requests, weir_ticket ticket)
{
    struct request_peer *peer;
    struct request_ask *ask = ask_of_ticket(requests, ticket, &peer);
    if (!ask)
        return WEIR_E_GONE;
    struct weir_answer answer = {.kind = WEIR_ANSWER_CANCELLED};
    give_up(peer, ask, &answer);
    return 0;
}

static void cancel_posted(void *ctx, uint32_t shard, int is_run)
{
    struct cancel *cancel = ctx;
    (void)shard;
    if (is_run)
        (void)cancel_here(cancel->requests, cancel->ticket);
    weir_heap_release(cancel);
}

int weir_ask_cancel(weir_requests *requests, weir_ticket ticket)
{
    if (!requests)
        return WEIR_E_MISUSE;
    if (!request_shard_of(requests, ticket.peer))
        return WEIR_E_GONE;
    if (request_is_here(requests, ticket.peer))
        return cancel_here(requests, ticket);
    struct cancel *cancel = weir_heap_alloc(NULL, sizeof(*cancel));
    if (!cancel)
        return WEIR_E_NOMEM;
    *cancel = (struct cancel){.requests = requests, .ticket = ticket};
    int error = weir_post(requests->node, weir_peer_shard(ticket.peer), cancel_posted, cancel);
    if (error)
        weir_heap_release(cancel);
    return error == WEIR_E_STATE ? WEIR_E_GONE : error;
}

void request_asks_end(weir_requests *requests, struct request_peer *peer, int reason, bool can_call)
{
    for (uint32_t i = 0; i < requests->cfg.out_max && peer->out_cnt; i++) {
        struct request_ask *ask = peer->outs[i].ask;
        if (!ask)
            continue;
        struct weir_answer answer = {.kind = WEIR_ANSWER_GONE, .code = reason};
        take_out(peer, ask, false);
        tell_last(ask, &answer, can_call);
    }
}
