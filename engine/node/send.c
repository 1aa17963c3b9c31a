#include <string.h>
#include <time.h>

#include "engine/base/check.h"
#include "engine/base/copy.h"
#include "engine/conn/burst.h"
#include "engine/node/internal.h"

static void count_refused(struct weir_shard *shard, uint32_t idx)
{
    atomic_fetch_add_explicit(&shard->hub.metrics.channels[idx].refused_away, 1,
                              memory_order_relaxed);
}

/* Whether the peer's budget has room for what its queues hold and are promised: an estimate, because
 * other threads reserve meanwhile, and what is held of received bytes is the shard's knowledge. */
static bool has_budget(const struct weir_shard *shard, const struct weir_conn *conn, uint32_t bytes)
{
    const weir_node *node = shard->node;
    uint64_t budget = node->cfg.peer_bytes_max;
    if (node->queue_bytes_max <= budget) /* as almost always */
        return true;
    uint64_t sum = bytes;
    for (uint32_t i = 0; i < node->channel_cnt; i++) {
        const struct weir_conn_channel *channel = &conn->channels[i];
        sum += atomic_load_explicit(&channel->queued_bytes, memory_order_relaxed) +
               atomic_load_explicit(&channel->remote_bytes, memory_order_relaxed);
    }
    return sum <= budget;
}

/* What another thread can know of a channel before it asks the shard. */
static int reserve(struct weir_shard *shard, weir_peer peer, uint32_t idx, size_t len,
                   uint32_t bytes)
{
    struct weir_conn *conn = &shard->hub.conns[weir_peer_slot(peer)];
    struct weir_conn_channel *channel = &conn->channels[idx];
    const struct weir_channel *cfg = &shard->node->channels[idx];
    /* Acquire: the channels are as they were when this generation became ready. */
    if (atomic_load_explicit(&conn->live_gen, memory_order_acquire) != weir_peer_gen(peer))
        return WEIR_E_GONE;
    uint32_t msg_max = atomic_load_explicit(&channel->msg_bytes_max, memory_order_relaxed);
    if (msg_max == 0)
        return WEIR_E_NO_CHANNEL;
    if (len > msg_max)
        return WEIR_E_TOO_BIG;
    if (!has_budget(shard, conn, bytes))
        return WEIR_E_NOMEM;
    bool has_said = false;
    uint64_t remote = atomic_load_explicit(&channel->remote_bytes, memory_order_seq_cst);
    for (;;) {
        /* The other policies are the shard's to carry out; only the mailbox's part is bounded here. */
        uint64_t queued = cfg->overflow == WEIR_OVERFLOW_REFUSE
                              ? atomic_load_explicit(&channel->queued_bytes, memory_order_seq_cst)
                              : 0;
        if (remote + queued == 0 || remote + queued + bytes <= cfg->send_bytes_max) {
            /* Not add-then-undo: what is not reserved in the end must not make the shard believe, for
             * a moment, that there is no room to tell anybody of. */
            if (atomic_compare_exchange_weak_explicit(&channel->remote_bytes, &remote,
                                                      remote + bytes, memory_order_seq_cst,
                                                      memory_order_seq_cst))
                return 0;
            continue;
        }
        if (has_said)
            break;
        /* Said first, looked again after: pairs with weir_sendq_release and unreserve. */
        atomic_store_explicit(&channel->want_writable, true, memory_order_seq_cst);
        has_said = true;
        remote = atomic_load_explicit(&channel->remote_bytes, memory_order_seq_cst);
    }
    count_refused(shard, idx);
    return WEIR_E_FULL;
}

/* The mailbox is full, perhaps of what has nothing to do with this channel, so that nothing of it will
 * say when there is room again: a letter that always arrives does, one for all who are refused until
 * it is read. */
static int refuse_mail(struct weir_shard *shard, struct weir_conn_channel *channel, uint32_t idx,
                       uint32_t bytes)
{
    atomic_fetch_sub_explicit(&channel->remote_bytes, bytes, memory_order_seq_cst);
    atomic_store_explicit(&channel->want_writable, true, memory_order_seq_cst);
    count_refused(shard, idx);
    /* Pairs with the exchange in letters.c: who finds it set here is before that one, and seen. */
    if (atomic_exchange_explicit(&shard->has_refused, true, memory_order_seq_cst))
        return WEIR_E_FULL;
    struct weir_note *note = weir_note_create(WEIR_LETTER_REFUSED, 0);
    if (!note) {
        atomic_store_explicit(&shard->has_refused, false, memory_order_seq_cst);
        return WEIR_E_NOMEM;
    }
    (void)weir_shard_post(shard, note, true);
    return WEIR_E_FULL;
}

static int post_send(struct weir_shard *shard, weir_peer peer, uint32_t idx, struct weir_note *note,
                     size_t len)
{
    uint32_t bytes = (uint32_t)len + 2;
    int error = reserve(shard, peer, idx, len, bytes);
    if (error)
        return error;
    note->peer = peer;
    note->channel_idx = idx;
    note->reserved_bytes = bytes;
    error = weir_shard_post(shard, note, false);
    if (!error)
        return 0;
    struct weir_conn *conn = &shard->hub.conns[weir_peer_slot(peer)];
    return refuse_mail(shard, &conn->channels[idx], idx, bytes);
}

/* The channel's position, or the error. */
static inline int channel_of(const weir_node *node, uint16_t channel, uint32_t *ret_idx)
{
    uint32_t idx = node->channel_idx_of[channel];
    if (WEIR_UNLIKELY(idx >= node->channel_cnt))
        return WEIR_E_NO_CHANNEL;
    *ret_idx = idx;
    return 0;
}

/* What is not the next message of a burst. */
__attribute__((noinline)) static int queue_copy(weir_node *node, weir_peer peer, uint16_t channel,
                                                const void *data, size_t len)
{
    uint32_t idx;
    int error = channel_of(node, channel, &idx);
    if (WEIR_UNLIKELY(error))
        return error;
    struct weir_shard *shard = weir_shard_of(node, peer);
    if (WEIR_UNLIKELY(!shard))
        return WEIR_E_GONE;
    if (WEIR_LIKELY(weir_shard_is_here(shard))) {
        struct weir_conn *conn = weir_conn_of_peer(shard, peer);
        if (WEIR_UNLIKELY(!conn))
            return WEIR_E_GONE;
        error = weir_sendq_copy(conn, idx, data, len, false);
        if (WEIR_LIKELY(!error) && len <= WEIR_BURST_MSG_MAX && shard->is_in_turn)
            weir_burst_follow(conn, idx);
        return error;
    }
    if (len > WEIR_MSG_BYTES_MAX)
        return WEIR_E_TOO_BIG;
    struct weir_note *note = weir_note_create(WEIR_LETTER_SEND, (uint32_t)len);
    if (!note)
        return WEIR_E_NOMEM;
    if (len)
        weir_copy(note->data, data, len);
    error = post_send(shard, peer, idx, note, len);
    if (error)
        weir_note_free(note);
    return error;
}

int weir_try_send(weir_node *node, weir_peer peer, uint16_t channel, const void *data, size_t len)
{
    if (WEIR_UNLIKELY(!node || (!data && len)))
        return WEIR_E_MISUSE;
    if (weir_burst_append(peer.v, &node->cfg, channel, data, len))
        return 0;
    return queue_copy(node, peer, channel, data, len);
}

int weir_send_buf(weir_node *node, weir_peer peer, uint16_t channel, struct weir_buf *take)
{
    if (!node || !take) {
        weir_buf_unref(take);
        return WEIR_E_MISUSE;
    }
    uint32_t idx = 0;
    int error = channel_of(node, channel, &idx);
    struct weir_shard *shard = weir_shard_of(node, peer);
    if (!error && !shard)
        error = WEIR_E_GONE;
    if (!error && take->len > WEIR_MSG_BYTES_MAX)
        error = WEIR_E_TOO_BIG;
    if (error) {
        weir_buf_unref(take);
        return error;
    }
    if (weir_shard_is_here(shard)) {
        struct weir_conn *conn = weir_conn_of_peer(shard, peer);
        if (conn)
            return weir_sendq_buf(conn, idx, take, false);
        weir_buf_unref(take);
        return WEIR_E_GONE;
    }
    struct weir_note *note = weir_note_create(WEIR_LETTER_SEND_BUF, 0);
    if (!note) {
        weir_buf_unref(take);
        return WEIR_E_NOMEM;
    }
    note->buf = take;
    note->letter.bytes += (uint32_t)take->len;
    error = post_send(shard, peer, idx, note, take->len);
    if (error)
        weir_note_free(note);
    return error;
}

void weir_waiters_wake(weir_node *node)
{
    /* Pairs with the add in weir_send: either the waiter sees the room, or it is seen here. */
    if (atomic_load_explicit(&node->waiter_cnt, memory_order_seq_cst) == 0)
        return;
    pthread_mutex_lock(&node->mutex);
    pthread_cond_broadcast(&node->cond);
    pthread_mutex_unlock(&node->mutex);
}

static struct timespec deadline_of(weir_ns timeout)
{
    weir_ns now = weir_now();
    weir_ns until = timeout > UINT64_MAX / 4 ? now + UINT64_MAX / 4 : now + timeout;
    return (struct timespec){.tv_sec = (time_t)(until / WEIR_NS_PER_S),
                             .tv_nsec = (long)(until % WEIR_NS_PER_S)};
}

int weir_send(weir_node *node, weir_peer peer, uint16_t channel, const void *data, size_t len,
              weir_ns timeout)
{
    if (!node)
        return WEIR_E_MISUSE;
    if (weir_shard_here(node))
        return WEIR_E_SHARD_THREAD;
    int error = weir_try_send(node, peer, channel, data, len);
    if (error != WEIR_E_FULL)
        return error;
    struct timespec deadline = deadline_of(timeout);
    int waited = 0;
    atomic_fetch_add_explicit(&node->waiter_cnt, 1, memory_order_seq_cst);
    pthread_mutex_lock(&node->mutex);
    while ((error = weir_try_send(node, peer, channel, data, len)) == WEIR_E_FULL && !waited)
        waited = pthread_cond_timedwait(&node->cond, &node->mutex, &deadline);
    pthread_mutex_unlock(&node->mutex);
    atomic_fetch_sub_explicit(&node->waiter_cnt, 1, memory_order_seq_cst);
    return error == WEIR_E_FULL ? WEIR_E_TIMEOUT : error;
}
