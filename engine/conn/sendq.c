#include <string.h>

#include "engine/base/check.h"
#include "engine/base/copy.h"
#include "engine/base/probe.h"
#include "engine/conn/burst.h"
#include "engine/conn/conn.h"
#include "weir/error.h"

#define PREFIX WEIR_RUN_PREFIX
#define FIRST_RUN \
    4096u             /* capacity of the first run of an empty queue; later ones are full frames */
#define SIDE_RUN 512u /* of one behind a message by reference, where there may be many such runs */
#define ITEMS_PER_CHUNK 256u

static struct weir_item *item_take(struct weir_hub *hub)
{
    struct weir_item *item = hub->free_items;
    if (WEIR_UNLIKELY(!item)) {
        struct weir_item *chunk = weir_heap_alloc(hub->heap, ITEMS_PER_CHUNK * sizeof(*chunk));
        if (!chunk)
            return NULL;
        /* The first of a chunk links the chunks for weir_hub_fini; it is never handed out. */
        chunk[0].next = hub->item_chunks;
        hub->item_chunks = chunk;
        for (uint32_t i = 1; i < ITEMS_PER_CHUNK; i++) {
            chunk[i].next = hub->free_items;
            hub->free_items = &chunk[i];
        }
        item = hub->free_items;
    }
    hub->free_items = item->next;
    return item;
}

void weir_item_free(struct weir_hub *hub, struct weir_item *item)
{
    item->next = hub->free_items;
    hub->free_items = item;
}

void weir_shared_unref(struct weir_shared *shared)
{
    if (atomic_fetch_sub_explicit(&shared->refs, 1, memory_order_acq_rel) != 1)
        return;
    weir_buf_unref(shared->buf);
    if (shared->receipt)
        weir_receipt_unref(shared->receipt);
    weir_heap_release(shared);
}

static void append(struct weir_conn *conn, uint32_t channel_idx, struct weir_item *item)
{
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    item->next = NULL;
    if (WEIR_PLANTED(ORDER) && channel->head && channel->head->off == 0) {
        item->next = channel->head;
        channel->head = item;
        return;
    }
    if (channel->tail)
        channel->tail->next = item;
    else
        channel->head = item;
    channel->tail = item;
    conn->active |= UINT64_C(1) << channel_idx;
}

static inline void account(struct weir_conn *conn, uint32_t channel_idx, uint64_t bytes,
                           uint64_t msg_len)
{
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    weir_count(&channel->queued_bytes, bytes);
    conn->bytes_queued += bytes;
    weir_count(&conn->hub->metrics.channels[channel_idx].msgs_tx, 1);
    weir_count(&conn->hub->metrics.channels[channel_idx].bytes_tx, msg_len);
    if (!WEIR_PLANTED(IDLE) || !(conn->hub->urgent >> channel_idx & 1))
        weir_conn_mark_dirty(conn);
}

static inline bool has_room(const struct weir_conn *conn, uint32_t channel_idx, uint64_t bytes)
{
    const struct weir_conn_channel *channel = &conn->channels[channel_idx];
    uint64_t queued = atomic_load_explicit(&channel->queued_bytes, memory_order_relaxed);
    /* Reserved is promised, but under the other policies nothing is reserved: what other threads sent
     * meets the policy when the shard takes it, and must not be counted before, least of all the
     * message that is being taken now. */
    if (conn->hub->channels[channel_idx].overflow == WEIR_OVERFLOW_REFUSE)
        queued += atomic_load_explicit(&channel->remote_bytes, memory_order_relaxed);
    return WEIR_PLANTED(BOUND) || queued == 0 ||
           queued + bytes <= conn->hub->channels[channel_idx].send_bytes_max;
}

static void item_drop(struct weir_conn *conn, uint32_t channel_idx, struct weir_item *item)
{
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    uint64_t bytes = item->len - item->off;
    weir_uncount(&channel->queued_bytes, bytes);
    conn->bytes_queued -= bytes;
    if (item->shared && item->shared->receipt)
        weir_receipt_count(item->shared->receipt, &item->shared->receipt->lost);
    if (item->shared)
        weir_shared_unref(item->shared);
    else if (!WEIR_PLANTED(RELEASE))
        weir_buf_unref(item->buf);
    weir_item_free(conn->hub, item);
}

/* Drops the oldest items that nothing was sent of, until `bytes` fit. Returns whether they do: when all
 * that may go would not suffice, nothing is dropped. */
static bool drop_oldest(struct weir_conn *conn, uint32_t channel_idx, uint64_t bytes)
{
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    uint64_t bytes_max = conn->hub->channels[channel_idx].send_bytes_max;
    uint64_t queued = atomic_load_explicit(&channel->queued_bytes, memory_order_relaxed);
    /* Begun: its message must be finished. */
    struct weir_item *begun = channel->head && channel->head->off ? channel->head : NULL;
    struct weir_item **link = begun ? &begun->next : &channel->head;
    uint32_t drop_cnt = 0;
    for (struct weir_item *item = *link; item && queued && queued + bytes > bytes_max;
         item = item->next, drop_cnt++)
        queued -= item->len;
    if (queued && queued + bytes > bytes_max)
        return false; /* what is being sent is too much already */
    weir_count(&conn->hub->metrics.channels[channel_idx].dropped, drop_cnt);
    WEIR_PROBE3(dropped, conn->slot, conn->hub->channels[channel_idx].id, drop_cnt);
    for (; drop_cnt; drop_cnt--) {
        struct weir_item *item = *link;
        *link = item->next;
        item_drop(conn, channel_idx, item);
    }
    if (!*link)
        channel->tail = begun;
    if (!channel->head)
        conn->active &= ~(UINT64_C(1) << channel_idx);
    return true;
}

/* Makes room by the channel's policy, or answers why there is none. */
static int make_room(struct weir_conn *conn, uint32_t channel_idx, uint64_t bytes)
{
    struct weir_hub *hub = conn->hub;
    switch ((enum weir_overflow)hub->channels[channel_idx].overflow) {
    case WEIR_OVERFLOW_DROP_OLDEST:
        if (drop_oldest(conn, channel_idx, bytes))
            return 0;
        break;
    case WEIR_OVERFLOW_CLOSE:
        weir_conn_close(conn, WEIR_R_OVERFLOW, false);
        return WEIR_E_GONE;
    case WEIR_OVERFLOW_REFUSE:
        break;
    }
    weir_count(&hub->metrics.channels[channel_idx].refused, 1);
    WEIR_PROBE3(refused, conn->slot, hub->channels[channel_idx].id, bytes);
    atomic_store_explicit(&conn->channels[channel_idx].want_writable, true, memory_order_relaxed);
    return WEIR_E_FULL;
}

/* Everything that is asked before a message of `len` bytes is queued as `bytes`. */
static inline int check(struct weir_conn *conn, uint32_t channel_idx, size_t len, uint64_t bytes,
                        bool is_reserved)
{
    const struct weir_conn_channel *channel = &conn->channels[channel_idx];
    if (WEIR_UNLIKELY(!channel->is_agreed))
        return WEIR_E_NO_CHANNEL;
    if (WEIR_UNLIKELY(len > atomic_load_explicit(&channel->msg_bytes_max, memory_order_relaxed)))
        return WEIR_E_TOO_BIG;
    if (is_reserved)
        return 0;
    if (WEIR_UNLIKELY(!has_room(conn, channel_idx, bytes))) {
        int error = make_room(conn, channel_idx, bytes);
        if (error)
            return error;
    }
    if (WEIR_UNLIKELY(conn->bytes_queued + conn->bytes_held + bytes >
                      conn->hub->cfg->peer_bytes_max))
        return WEIR_E_NOMEM;
    return 0;
}

static inline void run_append(struct weir_item *run, const void *data, size_t len)
{
    weir_run_put(run->buf->data + run->len, data, (uint16_t)len);
    run->len += (uint32_t)(PREFIX + len);
    run->msg_cnt++;
}

/* Opens a run with room for at least one message of `len`. */
static struct weir_item *run_open(struct weir_conn *conn, uint32_t channel_idx, size_t len)
{
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    /* A lone message takes a small buffer, so that thousands of peers with one message each do not take
     * a frame each; a queue that grows takes full frames. */
    bool is_full_run = channel->tail ? channel->tail->kind == WEIR_ITEM_RUN : channel->was_full_run;
    size_t cap = is_full_run ? channel->frame_bytes_max : channel->tail ? SIDE_RUN : FIRST_RUN;
    /* What a queue may hold is all that a run of it can: with many peers and small queues a full frame each
     * would be several times what the queues hold, and more than the pool keeps. */
    if (cap > conn->hub->channels[channel_idx].send_bytes_max)
        cap = conn->hub->channels[channel_idx].send_bytes_max;
    if (cap < PREFIX + len)
        cap = PREFIX + len;
    struct weir_item *item = item_take(conn->hub);
    if (!item)
        return NULL;
    struct weir_buf *buf = weir_pool_take(conn->hub->pool, cap);
    if (!buf) {
        weir_item_free(conn->hub, item);
        return NULL;
    }
    channel->was_full_run = channel->head != NULL;
    *item = (struct weir_item){.buf = buf, .kind = WEIR_ITEM_RUN, .is_own = true};
    append(conn, channel_idx, item);
    return item;
}

static int queue_whole(struct weir_conn *conn, uint32_t channel_idx, struct weir_buf *take,
                       struct weir_shared *shared, size_t len, uint8_t kind, bool is_own)
{
    struct weir_item *item = item_take(conn->hub);
    if (!item) {
        weir_buf_unref(take);
        return WEIR_E_NOMEM;
    }
    *item = (struct weir_item){.buf = shared ? shared->buf : take,
                               .shared = shared,
                               .len = (uint32_t)len,
                               .kind = kind,
                               .is_own = is_own};
    append(conn, channel_idx, item);
    account(conn, channel_idx, len, len);
    return 0;
}

/* ---- bursts ------------------------------------------------------------------------------------ */

_Thread_local struct weir_burst weir_burst __attribute__((tls_model("initial-exec")));

static inline uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void weir_burst_follow(struct weir_conn *conn, uint32_t channel_idx)
{
    const struct weir_channel *cfg = &conn->hub->channels[channel_idx];
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    struct weir_burst *burst = &weir_burst;
    struct weir_item *run = channel->tail;
    bool is_second = burst->last == channel;
    burst->last = channel;
    if (!is_second || !run || run->kind != WEIR_ITEM_RUN || run->msg_cnt < 2)
        return;
    uint64_t used = atomic_load_explicit(&channel->queued_bytes, memory_order_relaxed);
    if (cfg->overflow == WEIR_OVERFLOW_REFUSE)
        used += atomic_load_explicit(&channel->remote_bytes, memory_order_relaxed);
    uint64_t peer_used = conn->bytes_queued + conn->bytes_held;
    uint64_t peer_max = conn->hub->cfg->peer_bytes_max;
    uint64_t cap = least(run->buf->cap, channel->frame_bytes_max);
    if (used >= cfg->send_bytes_max || peer_used >= peer_max || run->len >= cap)
        return;
    uint64_t bytes = least(cap - run->len, least(cfg->send_bytes_max - used, peer_max - peer_used));
    burst->peer = ((uint64_t)conn->gen << 32) | (conn->hub->shard << 24) | conn->slot;
    burst->cfg = conn->hub->cfg;
    burst->channel = cfg->id;
    burst->len_max = atomic_load_explicit(&channel->msg_bytes_max, memory_order_relaxed);
    burst->begin = burst->at = run->buf->data + run->len;
    burst->end = burst->at + bytes;
    burst->msg_cnt = 0;
    burst->channel_idx = channel_idx;
    burst->conn = conn;
    burst->run = run;
    weir_count(&channel->queued_bytes, bytes);
    conn->bytes_queued += bytes;
}

void weir_burst_settle(void)
{
    struct weir_burst *burst = &weir_burst;
    struct weir_conn *conn = burst->conn;
    uint64_t unused = (uint64_t)(burst->end - burst->at);
    uint64_t bytes = (uint64_t)(burst->at - burst->begin);
    burst->peer = 0;
    burst->end = burst->at; /* no room for a peer that is none either */
    burst->run->len += (uint32_t)bytes;
    burst->run->msg_cnt += burst->msg_cnt;
    weir_uncount(&conn->channels[burst->channel_idx].queued_bytes, unused);
    conn->bytes_queued -= unused;
    weir_count(&conn->hub->metrics.channels[burst->channel_idx].msgs_tx, burst->msg_cnt);
    weir_count(&conn->hub->metrics.channels[burst->channel_idx].bytes_tx,
               bytes - (uint64_t)burst->msg_cnt * PREFIX);
}

/* ---- queueing ---------------------------------------------------------------------------------- */

int weir_sendq_copy(struct weir_conn *conn, uint32_t channel_idx, const void *data, size_t len,
                    bool is_reserved)
{
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    bool is_small = PREFIX + len <= channel->frame_bytes_max;
    weir_burst_end();
    int error = check(conn, channel_idx, len, is_small ? PREFIX + len : len, is_reserved);
    if (WEIR_UNLIKELY(error))
        return error;
    if (is_small) {
        struct weir_item *run = channel->tail;
        size_t end = run ? run->len + PREFIX + len : 0;
        if (WEIR_UNLIKELY(!run || run->kind != WEIR_ITEM_RUN || end > run->buf->cap ||
                          end > channel->frame_bytes_max)) {
            run = run_open(conn, channel_idx, len);
            if (!run)
                return WEIR_E_NOMEM;
        }
        run_append(run, data, len);
        account(conn, channel_idx, PREFIX + len, len);
        return 0;
    }
    if (len ==
        0) /* it exists only inside a run, and this peer takes none (its window is one byte) */
        return WEIR_E_TOO_BIG;
    struct weir_buf *buf = weir_pool_take(conn->hub->pool, len);
    if (!buf)
        return WEIR_E_NOMEM;
    weir_copy(buf->data, data, len);
    buf->len = len;
    return queue_whole(conn, channel_idx, buf, NULL, len, WEIR_ITEM_WHOLE, true);
}

int weir_sendq_buf(struct weir_conn *conn, uint32_t channel_idx, struct weir_buf *take,
                   bool is_reserved)
{
    size_t len = take->len;
    weir_burst_end();
    if (len == 0) { /* an empty message exists only inside a run */
        int error = weir_sendq_copy(conn, channel_idx, NULL, 0, is_reserved);
        weir_buf_unref(take);
        return error;
    }
    int error = check(conn, channel_idx, len, len, is_reserved);
    if (error) {
        weir_buf_unref(take);
        return error;
    }
    return queue_whole(conn, channel_idx, take, NULL, len, WEIR_ITEM_WHOLE, weir_buf_is_sole(take));
}

int weir_sendq_shared(struct weir_conn *conn, uint32_t channel_idx, struct weir_shared *shared)
{
    const struct weir_conn_channel *channel = &conn->channels[channel_idx];
    size_t len = shared->buf->len;
    weir_burst_end();
    int error = check(conn, channel_idx, len, len, false);
    if (error)
        return error;
    uint8_t kind =
        shared->frame_bytes > channel->frame_bytes_max ? WEIR_ITEM_WHOLE : WEIR_ITEM_SHARED;
    atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    error = queue_whole(conn, channel_idx, NULL, shared, len, kind, false);
    if (error)
        weir_shared_unref(shared);
    else if (shared->receipt) /* its end can only come later, from this thread */
        weir_receipt_count(shared->receipt, &shared->receipt->queued);
    return error;
}

/* Whether who was refused on this channel can be told that there is room. */
static bool is_roomy(const struct weir_conn *conn, uint32_t channel_idx)
{
    const struct weir_conn_channel *channel = &conn->channels[channel_idx];
    const struct weir_channel *cfg = &conn->hub->channels[channel_idx];
    if (!atomic_load_explicit(&channel->want_writable, memory_order_seq_cst) ||
        conn->state != WEIR_CONN_READY)
        return false;
    uint64_t queued = atomic_load_explicit(&channel->queued_bytes, memory_order_relaxed);
    if (cfg->overflow == WEIR_OVERFLOW_REFUSE) /* what is promised to other threads is no room */
        queued += atomic_load_explicit(&channel->remote_bytes, memory_order_seq_cst);
    return queued <= cfg->send_bytes_max / 2 && !WEIR_PLANTED(WRITABLE);
}

void weir_sendq_release(struct weir_conn *conn, uint32_t channel_idx, uint64_t bytes)
{
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    if (!WEIR_PLANTED(ACCOUNT))
        conn->bytes_queued -= bytes;
    uint64_t queued = atomic_load_explicit(&channel->queued_bytes, memory_order_relaxed) - bytes;
    /* Pairs with the sender that sets want_writable and then looks at queued_bytes again (node/send.c):
     * one of the two sees the other's store. Once per send, so the fence is cheap. */
    atomic_store_explicit(&channel->queued_bytes, queued, memory_order_seq_cst);
    if (!is_roomy(conn, channel_idx))
        return;
    struct weir_hub *hub = conn->hub;
    conn->roomy |= UINT64_C(1) << channel_idx;
    if (conn->flags & WEIR_CONN_ROOMY)
        return;
    conn->flags |= WEIR_CONN_ROOMY;
    conn->next_roomy = NULL;
    if (hub->roomy_tail)
        hub->roomy_tail->next_roomy = conn;
    else
        hub->roomy_head = conn;
    hub->roomy_tail = conn;
}

void weir_sendq_tell(struct weir_hub *hub)
{
    uint64_t refilled = 0;
    while (hub->roomy_head && refilled < WEIR_REFILL_BYTES) {
        struct weir_conn *conn = hub->roomy_head;
        hub->roomy_head = conn->next_roomy;
        if (!hub->roomy_head)
            hub->roomy_tail = NULL;
        conn->flags &= ~(uint32_t)WEIR_CONN_ROOMY;
        uint64_t before = conn->bytes_queued;
        for (uint64_t left = conn->roomy; left; left &= left - 1) {
            uint32_t idx = (uint32_t)__builtin_ctzll(left);
            if (!is_roomy(conn, idx)) /* filled meanwhile: its next release says so */
                continue;
            atomic_store_explicit(&conn->channels[idx].want_writable, false, memory_order_relaxed);
            hub->ops->writable(conn, idx);
            weir_burst_end();
        }
        conn->roomy = 0;
        if (conn->bytes_queued > before)
            refilled += conn->bytes_queued - before;
        weir_conn_settle(conn);
    }
}

void weir_sendq_reset(struct weir_conn *conn)
{
    for (uint32_t i = 0; i < conn->hub->channel_cnt; i++) {
        struct weir_conn_channel *channel = &conn->channels[i];
        while (channel->head) {
            struct weir_item *item = channel->head;
            channel->head = item->next;
            item_drop(conn, i, item);
        }
        channel->tail = NULL;
    }
    conn->active = 0;
}
