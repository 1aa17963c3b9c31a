#include <string.h>

#include "engine/base/check.h"
#include "engine/base/copy.h"
#include "engine/node/internal.h"
#include "engine/node/request_impl.h"

#define RETRY_NS \
    (10 * WEIR_NS_PER_MS)      /* after a shortage of memory, which nothing tells the end of */
#define SWEEP_NS WEIR_NS_PER_S /* for grants that the mailbox had no room for */
#define SMALL_BYTES 4096u      /* copied into the channel's run; larger ones go by reference */

/* ---- configuration ------------------------------------------------------------------------- */

void weir_request_config_init(struct weir_request_config *ret_cfg)
{
    *ret_cfg = (struct weir_request_config){
        .size = sizeof(*ret_cfg),
        .channel = WEIR_REQUEST_CHANNEL,
        .weight = 1,
        .question_bytes_max = 65536,
        .part_bytes_max = 32768,
        .window_bytes = 262144,
        .out_max = 64,
        .in_max = 64,
        .timeout_ns = 10 * WEIR_NS_PER_S,
        .answer_bytes_max = UINT64_C(64) << 20,
    };
}

#define DEFAULT(field) \
    if (!own->field)   \
    own->field = defaults.field

static int take_config(struct weir_request_config *own, const struct weir_request_config *cfg)
{
    int error = weir_struct_take(own, sizeof(*own), cfg);
    if (error)
        return error;
    struct weir_request_config defaults;
    weir_request_config_init(&defaults);
    DEFAULT(channel);
    DEFAULT(weight);
    DEFAULT(question_bytes_max);
    DEFAULT(part_bytes_max);
    DEFAULT(window_bytes);
    DEFAULT(out_max);
    DEFAULT(in_max);
    DEFAULT(timeout_ns);
    DEFAULT(answer_bytes_max);
    bool is_good = own->question_bytes_max <= 16u << 20 && own->part_bytes_max >= 1024 &&
                   own->part_bytes_max <= 1u << 20 && own->window_bytes <= 1u << 30 &&
                   own->out_max <= WEIR_REQUEST_OUT_MAX && own->in_max <= WEIR_REQUEST_OUT_MAX &&
                   own->answer_bytes_max <= UINT64_C(1) << 30;
    return is_good ? 0 : WEIR_E_CONFIG;
}

/* ---- peers --------------------------------------------------------------------------------- */

bool request_is_here(weir_requests *requests, weir_peer peer)
{
    struct weir_shard *shard = weir_shard_of(requests->node, peer);
    return shard && weir_shard_is_here(shard);
}

int request_peer_of(weir_requests *requests, weir_peer peer, struct request_peer **ret_peer)
{
    struct request_peer *found = weir_peer_get(requests->node, peer, requests->place);
    if (found) {
        *ret_peer = found;
        return found->is_bad ? WEIR_E_GONE : 0;
    }
    struct request_shard *shard = request_shard_of(requests, peer);
    if (!shard)
        return WEIR_E_GONE;
    size_t out_bytes = requests->cfg.out_max * sizeof(struct request_out);
    size_t in_bytes = requests->cfg.in_max * sizeof(struct request_question *);
    found = weir_heap_alloc(NULL, sizeof(*found) + out_bytes + in_bytes);
    if (!found)
        return WEIR_E_NOMEM;
    found->peer = peer;
    found->ins = (struct request_question **)(void *)((uint8_t *)(found + 1) + out_bytes);
    int error = weir_peer_set(requests->node, peer, requests->place, found);
    if (error) {
        weir_heap_release(found);
        return error;
    }
    found->next = shard->peers;
    found->prev_link = &shard->peers;
    if (found->next)
        found->next->prev_link = &found->next;
    shard->peers = found;
    *ret_peer = found;
    return 0;
}

static void peer_free(struct request_peer *peer)
{
    *peer->prev_link = peer->next;
    if (peer->next)
        peer->next->prev_link = peer->prev_link;
    weir_heap_release(peer);
}

void request_fault(weir_requests *requests, struct request_peer *peer)
{
    peer->is_bad = true;
    request_count(&requests->stats.faults, 1);
    (void)weir_disconnect(requests->node, peer->peer, WEIR_R_BAD_REQUEST);
}

int request_send(weir_requests *requests, struct request_peer *peer,
                 const struct weir_request_msg *msg)
{
    uint8_t small[WEIR_REQUEST_BYTES_MAX + SMALL_BYTES];
    uint32_t head_len = weir_request_write(small, msg);
    uint32_t len = head_len + msg->len;
    int error;
    if (msg->len <= SMALL_BYTES) {
        if (msg->len)
            memcpy(small + head_len, msg->data, msg->len);
        error = weir_try_send(requests->node, peer->peer, requests->cfg.channel, small, len);
    } else {
        struct weir_buf *buf;
        error = weir_buf_create(&buf, len);
        if (!error) {
            memcpy(weir_buf_data(buf), small, head_len);
            weir_copy(weir_buf_data(buf) + head_len, msg->data, msg->len);
            error = weir_send_buf(requests->node, peer->peer, requests->cfg.channel, buf);
        }
    }
    if (error == WEIR_E_NOMEM) {
        struct request_shard *shard = request_shard_of(requests, peer->peer);
        shard->retry_ns = weir_node_now(requests->node) + RETRY_NS;
        (void)weir_tick_set(requests->node, requests, shard->retry_ns);
    }
    if (error == WEIR_E_FULL || error == WEIR_E_NOMEM)
        peer->is_blocked = true;
    return error;
}

void request_timer_set(weir_requests *requests, weir_peer peer, struct weir_timer *timer,
                       weir_ns when)
{
    if (when == WEIR_NS_FOREVER)
        return;
    weir_wheel_set(&request_shard_of(requests, peer)->wheel, timer, when);
    (void)weir_tick_set(requests->node, requests, when);
}

/* ---- the reactor --------------------------------------------------------------------------- */

static void on_message(weir_requests *requests, struct request_peer *peer,
                       const struct weir_msg *raw)
{
    struct weir_request_msg msg;
    int parsed = weir_request_parse(&msg, raw->data, raw->len);
    if (parsed == WEIR_REQUEST_IS_BAD) {
        request_fault(requests, peer);
        return;
    }
    if (parsed == WEIR_REQUEST_IS_UNKNOWN)
        return;
    switch ((enum weir_request_kind)msg.kind) {
    case WEIR_REQUEST_ASK:
        request_question(requests, peer, &msg, raw);
        break;
    case WEIR_REQUEST_PART:
    case WEIR_REQUEST_ERROR:
        request_ask_reply(requests, peer, &msg);
        break;
    case WEIR_REQUEST_GRANT:
        request_grant(requests, peer, &msg);
        break;
    case WEIR_REQUEST_CANCEL:
        request_cancelled(requests, peer, msg.id);
        break;
    }
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    weir_requests *requests = ctx;
    struct request_peer *peer = NULL;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        if (!peer || peer->peer.v != msgs[i].peer.v) {
            peer = NULL;
            int error = request_peer_of(requests, msgs[i].peer, &peer);
            if (error == WEIR_E_NOMEM) /* what is not heard must not be believed to be */
                (void)weir_disconnect(requests->node, msgs[i].peer, WEIR_R_LIMIT_MEMORY);
            if (error)
                peer = NULL;
        }
        if (peer && !peer->is_bad)
            on_message(requests, peer, &msgs[i]);
    }
}

static void resume(weir_requests *requests, struct request_peer *peer)
{
    peer->is_blocked = false;
    request_ask_resume(requests, peer);
    if (!peer->is_blocked)
        request_serve_resume(requests, peer);
}

static void on_writable(void *ctx, weir_peer peer, uint16_t channel)
{
    weir_requests *requests = ctx;
    struct request_peer *found = weir_peer_get(requests->node, peer, requests->place);
    (void)channel;
    if (found && !found->is_bad)
        resume(requests, found);
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    weir_requests *requests = ctx;
    if (event != WEIR_PEER_DOWN)
        return;
    struct request_peer *found = weir_peer_get(requests->node, peer, requests->place);
    /* Other reactors hear of it after this one, and may ask in their callbacks. */
    (void)weir_peer_set(requests->node, peer, requests->place, requests->gone);
    if (!found)
        return;
    found->is_bad = true;
    request_asks_end(requests, found, reason, true);
    request_questions_end(requests, found, true);
    peer_free(found);
}

static void retry(weir_requests *requests, struct request_shard *shard)
{
    shard->retry_ns = 0;
    /* Callbacks may make peers (in front) but not free them. */
    for (struct request_peer *peer = shard->peers; peer; peer = peer->next)
        if (peer->is_blocked && !peer->is_bad)
            resume(requests, peer);
}

static weir_ns on_tick(void *ctx, uint32_t shard_idx, weir_ns now)
{
    weir_requests *requests = ctx;
    struct request_shard *shard = &requests->shards[shard_idx];
    struct weir_timer *timer;
    if (!shard->is_begun)
        weir_wheel_init(&shard->wheel, now);
    shard->is_begun = true;
    while ((timer = weir_wheel_pop(&shard->wheel, now)) != NULL) {
        if (timer->kind == REQUEST_TIMER_ASK)
            request_ask_expired((struct request_ask *)(void *)timer);
        else
            request_question_expired((struct request_question *)(void *)timer);
    }
    if (shard->retry_ns && shard->retry_ns <= now)
        retry(requests, shard);
    if (atomic_exchange(&shard->has_missed, false))
        for (struct request_peer *peer = shard->peers; peer; peer = peer->next)
            request_ask_resume(requests, peer);
    weir_ns next = shard->retry_ns ? shard->retry_ns : WEIR_NS_FOREVER;
    weir_ns wait = weir_wheel_wait(&shard->wheel, now);
    if (wait != WEIR_NS_FOREVER && now + wait < next)
        next = now + wait;
    if (shard->ask_cnt && now + SWEEP_NS < next)
        next = now + SWEEP_NS;
    return next == WEIR_NS_FOREVER ? 0 : next;
}

/* ---- life ---------------------------------------------------------------------------------- */

static uint64_t read_counter(void *ctx, uint32_t offset)
{
    const void *at = (const uint8_t *)ctx + offset;
    return atomic_load_explicit((const _Atomic uint64_t *)at, memory_order_relaxed);
}

#define AT(field) offsetof(weir_requests, stats.field), read_counter
#define ROW(field, name, help)                                             \
    {                                                                      \
        "weir_request_" name "_total", help, WEIR_STATS_COUNTER, AT(field) \
    }
#define NOW(field, name, help)                                  \
    {                                                           \
        "weir_request_" name, help, WEIR_STATS_GAUGE, AT(field) \
    }

static const struct weir_own_series series[] = {
    NOW(asking, "asking", "Asks without a final answer"),
    ROW(asked, "asked", "Asks sent"),
    ROW(answered, "answered", "Asks that were answered in full"),
    ROW(errors, "errors", "Asks answered with an error"),
    ROW(timeouts, "timeouts", "Asks whose deadline passed"),
    ROW(cancelled, "cancelled", "Asks that the asker cancelled"),
    ROW(gone, "gone", "Asks whose peer went"),
    ROW(failed, "failed", "Asks that failed here"),
    ROW(late, "late", "Replies that came after the end and were dropped"),
    ROW(duplicates, "duplicates", "Replies that came twice and were dropped"),
    ROW(parts_received, "parts_received", "Parts of answers received"),
    ROW(bytes_received, "received_bytes", "Bytes of answers received"),
    NOW(answering, "answering", "Questions that are not answered"),
    ROW(questions, "questions", "Questions that came"),
    ROW(busy, "busy", "Questions refused at in_max"),
    ROW(replied, "replied", "Questions answered in full"),
    ROW(reply_errors, "reply_errors", "Questions answered with an error"),
    ROW(over, "over", "Questions that ended without an answer"),
    ROW(parts_sent, "parts_sent", "Parts of answers sent"),
    ROW(bytes_sent, "sent_bytes", "Bytes of answers sent"),
    ROW(stalls, "stalls", "Times an answer waited for a grant"),
    ROW(faults, "faults", "Peers that broke the protocol"),
};

int weir_requests_create(weir_requests **ret_requests, weir_node *node,
                         const struct weir_request_config *cfg)
{
    if (!ret_requests || !node || !cfg)
        return WEIR_E_MISUSE;
    struct weir_request_config own;
    int error = take_config(&own, cfg);
    if (error)
        return error;
    uint32_t shard_cnt = weir_node_shards(node);
    weir_requests *requests =
        weir_heap_alloc(NULL, sizeof(*requests) + shard_cnt * sizeof(struct request_shard));
    if (!requests)
        return WEIR_E_NOMEM;
    requests->node = node;
    requests->cfg = own;
    requests->shard_cnt = shard_cnt;
    requests->shards = (struct request_shard *)(void *)(requests + 1);
    requests->gone = weir_heap_alloc(NULL, sizeof(*requests->gone));
    if (!requests->gone) {
        weir_heap_release(requests);
        return WEIR_E_NOMEM;
    }
    requests->gone->is_bad = true;
    uint32_t data_max =
        own.question_bytes_max > own.part_bytes_max ? own.question_bytes_max : own.part_bytes_max;
    struct weir_channel channel = {.size = sizeof(channel),
                                   .id = own.channel,
                                   .weight = own.weight,
                                   .flags = own.channel_flags,
                                   .msg_bytes_max = data_max + WEIR_REQUEST_BYTES_MAX,
                                   .overflow = WEIR_OVERFLOW_REFUSE,
                                   .name = "requests"};
    struct weir_reactor reactor = {.size = sizeof(reactor),
                                   .ctx = requests,
                                   .on_batch = on_batch,
                                   .on_peer = on_peer,
                                   .on_writable = on_writable,
                                   .on_tick = on_tick};
    error = weir_peer_place(node, &requests->place);
    if (!error)
        error = weir_node_attach(node, &reactor, &channel, 1);
    if (error) {
        weir_heap_release(requests->gone);
        weir_heap_release(requests);
        return error;
    }
    weir_series_own(node, series, sizeof(series) / sizeof(series[0]), requests, own.channel);
    *ret_requests = requests;
    return 0;
}

void weir_requests_free(weir_requests *requests)
{
    if (!requests)
        return;
    for (uint32_t i = 0; i < requests->shard_cnt; i++) {
        struct request_peer *peer;
        while ((peer = requests->shards[i].peers) != NULL) {
            request_asks_end(requests, peer, WEIR_R_SHUTDOWN, false);
            request_questions_end(requests, peer, false);
            peer_free(peer);
        }
    }
    weir_heap_release(requests->gone);
    weir_heap_release(requests);
}

#define COPY(field) ret.field = atomic_load_explicit(&stats->field, memory_order_relaxed)

int weir_requests_stats(weir_requests *requests, struct weir_request_stats *ret_stats)
{
    if (!requests || !ret_stats || ret_stats->size < sizeof(uint32_t))
        return WEIR_E_MISUSE;
    if (ret_stats->size > sizeof(*ret_stats))
        return WEIR_E_VERSION;
    struct weir_request_stats ret = {.size = ret_stats->size};
    const __typeof__(requests->stats) *stats = &requests->stats;
    COPY(asked);
    COPY(asking);
    COPY(answered);
    COPY(errors);
    COPY(timeouts);
    COPY(cancelled);
    COPY(gone);
    COPY(failed);
    COPY(late);
    COPY(duplicates);
    COPY(parts_received);
    COPY(bytes_received);
    COPY(questions);
    COPY(answering);
    COPY(busy);
    COPY(replied);
    COPY(reply_errors);
    COPY(over);
    COPY(parts_sent);
    COPY(bytes_sent);
    COPY(stalls);
    COPY(faults);
    memcpy(ret_stats, &ret, ret.size);
    return 0;
}
