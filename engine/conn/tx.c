#include "engine/conn/tx.h"

#include <errno.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/probe.h"
#include "weir/error.h"

#define URGENT_ALONE_BYTES 16384u
#define URGENT_ALONE_NS (UINT64_C(100) * WEIR_NS_PER_US)
#define FRAGMENT_MIN 4096u /* a smaller one is worth sending only as the last of its message */

static struct weir_tx *tx_take(struct weir_hub *hub)
{
    struct weir_tx *tx = hub->free_tx;
    if (tx) {
        hub->free_tx = tx->next;
    } else {
        tx = weir_heap_alloc(hub->heap, sizeof(*tx));
        if (!tx)
            return NULL;
        tx->next_all = hub->all_tx;
        hub->all_tx = tx;
    }
    tx->iov_cnt = tx->iov_first = tx->frame_cnt = tx->control_len = tx->raw_len = 0;
    tx->iov = tx->gathered;
    tx->is_sealed = false;
    tx->bytes_left = 0;
    tx->has_goodbye = false;
    return tx;
}

static void piece(struct weir_tx *tx, void *data, size_t len, uint32_t flags)
{
    tx->piece_flags[tx->iov_cnt] = (uint8_t)flags;
    tx->iov[tx->iov_cnt++] = (struct iovec){.iov_base = data, .iov_len = len};
    tx->bytes_left += len;
}

static void control(struct weir_conn *conn, struct weir_tx *tx, const struct weir_control *control)
{
    WEIR_CHECK(tx->control_len + WEIR_CONTROL_OUT_MAX <= sizeof(tx->control));
    tx->control_len += conn->codec->control_write(tx->control + tx->control_len, control);
    conn->frames_tx++;
    weir_count(&conn->hub->metrics.frames_tx, 1);
}

static void announce_credit(struct weir_conn *conn, struct weir_tx *tx)
{
    struct weir_hub *hub = conn->hub;
    struct weir_control ctl = {.kind = WEIR_CONTROL_CREDIT};
    uint64_t held = 0;
    for (uint64_t due = conn->credit_due; due; due &= due - 1) {
        uint32_t idx = (uint32_t)__builtin_ctzll(due);
        struct weir_conn_channel *channel = &conn->channels[idx];
        uint64_t limit = channel->rx_consumed + hub->channels[idx].recv_bytes_max;
        if ((int64_t)(limit - channel->rx_limit) <= 0) /* signed: see weir_credit_consume */
            continue;
        if (WEIR_UNLIKELY(hub->rates != NULL)) {
            if (!weir_rates_may_grant(conn, idx)) {
                held |= UINT64_C(1) << idx;
                continue;
            }
            weir_rates_granted(conn, idx, limit - channel->rx_limit);
        }
        channel->rx_limit = limit;
        ctl.credits[ctl.credit_cnt++] = (struct weir_credit){hub->channels[idx].id, limit};
    }
    conn->credit_due = held;
    if (!ctl.credit_cnt)
        return;
    weir_count(&hub->metrics.credits_tx, 1);
    control(conn, tx, &ctl);
}

/* The handshake's bytes, in front of everything else. Returns the reason if it cannot go on. */
static uint16_t gather_handshake(struct weir_conn *conn, struct weir_tx *tx)
{
    size_t len = conn->codec->pull(conn->codec_state, tx->control, WEIR_HANDSHAKE_OUT_MAX);
    tx->control_len = tx->raw_len = (uint32_t)len;
    conn->flags &= ~(uint32_t)WEIR_CONN_HAS_PULL;
    bool is_over = conn->state == WEIR_CONN_GOODBYE; /* it has its reason */
    return len || is_over || !conn->codec->fault ? 0 : conn->codec->fault(conn->codec_state);
}

/* What is neither the handshake's nor a channel's: pong, ping, credit. Built when it is sent, from flags, so that
 * nothing a peer sends can make a queue of it. */
static void gather_control(struct weir_conn *conn, struct weir_tx *tx)
{
    struct weir_hub *hub = conn->hub;
    if (!(conn->flags & WEIR_CONN_WAS_READY))
        return;
    if (conn->flags & WEIR_CONN_WANT_PONG)
        control(conn, tx,
                &(struct weir_control){.kind = WEIR_CONTROL_PONG, .value = conn->pong_value});
    if ((conn->flags & WEIR_CONN_WANT_PING) && conn->state == WEIR_CONN_READY) {
        conn->ping_sent_ns = conn->last_ping_ns = hub->now_ns;
        weir_count(&hub->metrics.pings_tx, 1);
        WEIR_PROBE2(ping, conn->slot, conn->gen);
        control(conn, tx, &(struct weir_control){.kind = WEIR_CONTROL_PING, .value = hub->now_ns});
        weir_keepalive_set(conn); /* its timeout may be sooner than the next ping */
    }
    if (conn->flags & WEIR_CONN_WANT_CREDIT)
        announce_credit(conn, tx);
    conn->flags &= ~(uint32_t)(WEIR_CONN_WANT_PONG | WEIR_CONN_WANT_PING | WEIR_CONN_WANT_CREDIT);
}

static void gather_goodbye(struct weir_conn *conn, struct weir_tx *tx)
{
    if (conn->state != WEIR_CONN_GOODBYE || (conn->flags & WEIR_CONN_SAID_GOODBYE))
        return;
    if ((conn->flags & WEIR_CONN_DRAIN_FIRST) && conn->active)
        return;
    if (conn->flags & WEIR_CONN_WAS_READY) {
        /* Behind the frames of this send, so it has a place of its own. */
        struct weir_control bye = {.kind = WEIR_CONTROL_GOODBYE, .reason = conn->close_reason};
        if (conn->text)
            memcpy(bye.text, conn->text, strlen(conn->text) + 1);
        uint8_t *at = tx->control + tx->control_len;
        WEIR_CHECK(tx->control_len + WEIR_CONTROL_OUT_MAX <= sizeof(tx->control));
        piece(tx, at, conn->codec->control_write(at, &bye), WEIR_TX_BEGINS);
        weir_count(&conn->hub->metrics.goodbyes_tx, 1);
    }
    conn->flags |= WEIR_CONN_SAID_GOODBYE;
    tx->has_goodbye = true;
}

/* Notes which channels are busy and bounds what the kernel holds unsent while several are: priority is
 * only as real as what is already below the scheduler is small. */
static void note_busy(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    weir_conn_age_busy(conn);
    conn->busy_now |= conn->active;
    uint64_t busy = conn->busy_now | conn->busy_before;
    bool is_contended = (busy & (busy - 1)) != 0;
    if (is_contended == ((conn->flags & WEIR_CONN_CONTENDED) != 0))
        return;
    conn->flags ^= WEIR_CONN_CONTENDED;
    hub->io->ops->bound_unsent(hub->io, conn->sock,
                               is_contended ? hub->cfg->notsent_lowat_bytes : 0);
}

/* How many payload bytes the head of a channel may send now; 0: it has no credit. */
static uint32_t payload_next(const struct weir_conn_channel *channel)
{
    const struct weir_item *item = channel->head;
    uint64_t credit = channel->tx_limit - channel->tx_used;
    uint32_t left = item->len - item->off;
    uint32_t want = item->kind == WEIR_ITEM_RUN ? left
                    : item->kind == WEIR_ITEM_SHARED
                        ? (left < item->shared->frame_bytes ? left : item->shared->frame_bytes)
                        : (left < channel->frame_bytes_max ? left : channel->frame_bytes_max);
    if (want <= credit)
        return want;
    if (item->kind == WEIR_ITEM_WHOLE && credit >= FRAGMENT_MIN)
        return (uint32_t)credit;
    return 0;
}

/* Takes `len` payload bytes off a channel's head and makes a frame of them. */
static void gather_frame(struct weir_conn *conn, struct weir_tx *tx, uint32_t channel_idx,
                         uint32_t len)
{
    struct weir_hub *hub = conn->hub;
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    struct weir_item *item = channel->head;
    const struct weir_codec *codec = conn->codec;
    uint32_t head_len = codec->head_bytes;
    uint32_t borrowed = item->is_own ? 0 : WEIR_TX_BORROWED;
    struct weir_tx_frame *frame = &tx->frames[tx->frame_cnt];
    uint8_t *payload = item->buf->data + item->off;
    uint8_t *head = tx->heads[tx->frame_cnt++];
    *frame = (struct weir_tx_frame){.payload = len, .channel_idx = channel_idx};

    switch ((enum weir_item_kind)item->kind) {
    case WEIR_ITEM_RUN:
        head = payload - head_len; /* the headroom: one piece */
        codec->frame_head(head, WEIR_FRAME_RUN, hub->channels[channel_idx].id, item->msg_cnt,
                          payload, len);
        break;
    case WEIR_ITEM_WHOLE:
        codec->frame_head(head, item->off ? WEIR_FRAME_MORE : WEIR_FRAME_FIRST,
                          hub->channels[channel_idx].id, item->off ? item->off : item->len, payload,
                          len);
        break;
    case WEIR_ITEM_SHARED:
        if (codec != hub->codec) { /* the headers that were made once are the plain wire's */
            codec->frame_head(head, item->off ? WEIR_FRAME_MORE : WEIR_FRAME_FIRST,
                              hub->channels[channel_idx].id, item->off ? item->off : item->len,
                              payload, len);
            break;
        }
        head = item->off == 0 ? payload - head_len /* in the headroom: one piece */
                              : item->shared->heads +
                                    (size_t)(item->off / item->shared->frame_bytes) * head_len;
        break;
    }
    if (WEIR_PLANTED(STREAM) && len % 11 == 0)
        head[0] ^= 1;
    if (head + head_len == payload) {
        piece(tx, head, head_len + (size_t)len, WEIR_TX_BEGINS | borrowed);
    } else {
        piece(tx, head, head_len, WEIR_TX_BEGINS);
        piece(tx, payload, len, borrowed);
    }
    item->off += len;
    channel->tx_used += len;
    weir_sched_charge(&conn->sched, channel_idx, head_len + len);
    WEIR_PROBE3(frame_out, conn->slot, hub->channels[channel_idx].id, len);
    conn->frames_tx++;
    weir_count(&hub->metrics.frames_tx, 1);

    bool is_last = item->off == item->len;
    if (item->shared) {
        if (!is_last)
            atomic_fetch_add_explicit(&item->shared->refs, 1, memory_order_relaxed);
        frame->shared = item->shared;
        frame->is_last = is_last;
    } else {
        frame->buf = is_last ? item->buf : weir_buf_hold(item->buf);
    }
    if (!is_last)
        return;
    channel->head = item->next;
    if (!channel->head) {
        channel->tail = NULL;
        conn->active &= ~(UINT64_C(1) << channel_idx);
    }
    weir_item_free(hub, item);
}

/* Whether the urgent frames that were picked go without the others that could follow them: with bulk
 * behind them they would wait until it is hashed and copied (10 us of 70 beside 64 KiB frames). Not often,
 * because a send of their own costs as much as a hundred of them in one. */
static bool is_urgent_alone(struct weir_conn *conn, const struct weir_tx *tx, uint32_t next_idx)
{
    struct weir_hub *hub = conn->hub;
    if (tx->frame_cnt == 0 || ((hub->urgent >> next_idx) & 1) ||
        !((hub->urgent >> tx->frames[0].channel_idx) & 1) || tx->bytes_left > URGENT_ALONE_BYTES ||
        hub->now_ns - conn->urgent_alone_ns < URGENT_ALONE_NS)
        return false;
    conn->urgent_alone_ns = hub->now_ns;
    return true;
}

/* How many messages begin with the next frame of an item. */
static uint32_t msgs_next(const struct weir_item *item)
{
    return item->kind == WEIR_ITEM_RUN ? item->msg_cnt : item->off == 0;
}

static void gather_frames(struct weir_conn *conn, struct weir_tx *tx)
{
    struct weir_hub *hub = conn->hub;
    note_busy(conn);
    uint64_t budget = conn->flags & WEIR_CONN_CONTENDED ? hub->cfg->send_bytes_contended
                                                        : hub->cfg->send_bytes_max;
    uint64_t eligible = conn->active;
    bool has_rates = hub->rates != NULL;
    if (WEIR_UNLIKELY(has_rates))
        eligible = weir_rates_may_send(conn, eligible);
    /* Alone, the last frame may go beyond the bound: four frames of 64 KiB with their headers are the 256 KiB
     * that a send should be, three are a quarter less (64 KiB messages: 1.02 of `uring` against 0.76). */
    bool is_strict = (conn->flags & WEIR_CONN_CONTENDED) != 0;
    while (eligible && tx->frame_cnt < WEIR_TX_FRAMES && tx->bytes_left < budget) {
        uint32_t idx = weir_sched_pick(&conn->sched, eligible);
        if (is_strict && is_urgent_alone(conn, tx, idx))
            break;
        struct weir_conn_channel *channel = &conn->channels[idx];
        uint32_t len = payload_next(channel);
        if (is_strict && len && tx->frame_cnt && tx->bytes_left + len > budget)
            break;
        if (len == 0) {
            eligible &= ~(UINT64_C(1) << idx);
            if (!channel->is_stalled) {
                weir_count(&hub->metrics.channels[idx].stalls, 1);
                WEIR_PROBE3(credit_stall, conn->slot, conn->gen, hub->channels[idx].id);
                conn->stall_cnt++;
            }
            channel->is_stalled = true;
            continue;
        }
        channel->is_stalled = false;
        conn->last_data_ns = hub->now_ns;
        uint32_t msgs = has_rates ? msgs_next(channel->head) : 0;
        gather_frame(conn, tx, idx, len);
        eligible &= conn->active | ~(UINT64_C(1) << idx);
        if (WEIR_UNLIKELY(has_rates)) {
            weir_rates_sent(conn, idx, len, msgs);
            eligible = weir_rates_may_send(conn, eligible);
        }
    }
}

/* Fills a send; false when there is nothing to say. */
static bool gather(struct weir_conn *conn, struct weir_tx *tx)
{
    /* Piece 0 is kept for control bytes, which are known last. */
    piece(tx, tx->control, 0, WEIR_TX_BEGINS);
    gather_control(conn, tx);
    uint32_t control_len = tx->control_len;
    bool is_draining = conn->state == WEIR_CONN_GOODBYE && (conn->flags & WEIR_CONN_DRAIN_FIRST);
    if ((conn->state == WEIR_CONN_READY || is_draining) && conn->active)
        gather_frames(conn, tx);
    gather_goodbye(conn, tx);
    tx->iov[0].iov_len = control_len;
    tx->bytes_left += control_len;
    tx->iov_first = control_len ? 0 : 1;
    return tx->bytes_left != 0;
}

/* Lets go of what a frame holds, and says what became of its message. */
static inline void frame_release(const struct weir_tx_frame *frame, bool is_dead)
{
    struct weir_shared *shared = frame->shared;
    if (!shared) {
        weir_buf_unref(frame->buf);
        return;
    }
    struct weir_receipt *receipt = shared->receipt;
    if (receipt && frame->is_last)
        weir_receipt_count(receipt, is_dead ? &receipt->lost : &receipt->handed);
    weir_shared_unref(shared);
}

static void tx_release(struct weir_conn *conn, struct weir_tx *tx, bool is_dead)
{
    struct weir_hub *hub = conn->hub;
    for (uint32_t i = 0; i < tx->frame_cnt; i++) {
        struct weir_tx_frame *frame = &tx->frames[i];
        frame_release(frame, is_dead);
        /* Frames of one channel that follow each other are one release. */
        uint64_t bytes = frame->payload;
        while (i + 1 < tx->frame_cnt && tx->frames[i + 1].channel_idx == frame->channel_idx) {
            struct weir_tx_frame *next = &tx->frames[++i];
            frame_release(next, is_dead);
            bytes += next->payload;
        }
        if (is_dead) {
            weir_uncount(&conn->channels[frame->channel_idx].queued_bytes, bytes);
            conn->bytes_queued -= bytes;
        } else {
            weir_sendq_release(conn, frame->channel_idx, bytes);
        }
    }
    tx->frame_cnt = 0;
    if (tx->is_sealed)
        weir_tx_unseal(tx);
    tx->next = hub->free_tx;
    hub->free_tx = tx;
}

static void submit(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    struct weir_tx *tx = conn->tx;
    int error = hub->io->ops->send(hub->io, conn->sock, tx->iov + tx->iov_first,
                                   tx->iov_cnt - tx->iov_first, weir_conn_token(conn));
    weir_count(&hub->metrics.sends, error == 0);
    WEIR_PROBE4(send, conn->slot, conn->gen, tx->bytes_left, error);
    if (error == 0)
        conn->flags |= WEIR_CONN_OP_SEND;
    else if (error == WEIR_E_FULL)
        weir_conn_mark_dirty(conn); /* the kernel is short of memory: again in the next turn */
    else
        weir_conn_abort(conn, WEIR_R_INTERNAL);
}

static void flush_one(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    weir_conn_retry(conn);
    if ((conn->flags & WEIR_CONN_OP_SEND) && !WEIR_PLANTED(SENDS))
        return; /* its event makes it dirty again */
    if (conn->prelude) {
        weir_prelude_flush(conn);
        return;
    }
    if (conn->state != WEIR_CONN_HANDSHAKE && conn->state != WEIR_CONN_READY &&
        conn->state != WEIR_CONN_GOODBYE)
        return;
    if (!conn->tx) {
        struct weir_tx *tx = tx_take(hub);
        if (!tx) {
            weir_conn_abort(conn, WEIR_R_LIMIT_MEMORY);
            return;
        }
        uint16_t reason = conn->flags & WEIR_CONN_HAS_PULL ? gather_handshake(conn, tx) : 0;
        if (reason) {
            tx_release(conn, tx, true);
            weir_conn_abort(conn, reason);
            return;
        }
        if (!gather(conn, tx)) {
            bool is_over = tx->has_goodbye;
            tx_release(conn, tx, false);
            /* Nothing to say to a stranger, so nothing that a reset could destroy: it gets no linger, or
             * whoever sends one wrong byte would hold a slot that no handshake limit counts. */
            if (is_over)
                weir_conn_abort(conn, conn->close_reason);
            return;
        }
        reason = conn->codec->seal ? weir_tx_seal(conn, tx) : 0;
        if (reason) {
            tx_release(conn, tx, true);
            weir_conn_abort(conn, reason);
            return;
        }
        conn->tx = tx;
        conn->last_tx_ns = hub->now_ns; /* the stall clock starts with something to send */
    }
    submit(conn);
}

void weir_tx_flush(struct weir_hub *hub)
{
    weir_burst_end();
    struct weir_conn *conn = hub->dirty_head;
    hub->dirty_head = hub->dirty_tail = NULL;
    while (conn) {
        struct weir_conn *next = conn->next_dirty;
        conn->flags &= ~(uint32_t)WEIR_CONN_DIRTY;
        flush_one(conn);
        weir_conn_settle(conn);
        conn = next;
    }
}

void weir_tx_event(struct weir_conn *conn, int32_t res)
{
    struct weir_hub *hub = conn->hub;
    conn->flags &= ~(uint32_t)WEIR_CONN_OP_SEND;
    WEIR_PROBE3(sent, conn->slot, conn->gen, res);
    if (conn->prelude) {
        weir_prelude_sent(conn, res);
        return;
    }
    if (conn->state == WEIR_CONN_DRAIN || !conn->tx)
        return;
    if (res == -EAGAIN || res == -EINTR) {
        weir_conn_mark_dirty(conn);
        return;
    }
    if (res < 0) {
        weir_conn_broken(conn);
        return;
    }
    struct weir_tx *tx = conn->tx;
    uint64_t taken = (uint64_t)res;
    WEIR_CHECK(taken <= tx->bytes_left);
    conn->wire_tx += taken;
    weir_count(&hub->metrics.wire_tx, taken);
    if (taken)
        conn->last_tx_ns = hub->now_ns;
    tx->bytes_left -= taken;
    if (tx->bytes_left) { /* short: the rest goes first, then the scheduler picks again */
        weir_count(&hub->metrics.sends_short, 1);
        while (taken >= tx->iov[tx->iov_first].iov_len)
            taken -= tx->iov[tx->iov_first++].iov_len;
        struct iovec *iov = &tx->iov[tx->iov_first];
        iov->iov_base = (uint8_t *)iov->iov_base + taken;
        iov->iov_len -= taken;
        weir_conn_mark_dirty(conn);
        return;
    }
    bool is_said = tx->has_goodbye;
    conn->tx = NULL;
    tx_release(conn, tx, false);
    if (is_said)
        weir_conn_said_goodbye(conn);
    else
        weir_conn_mark_dirty(conn);
}

void weir_tx_reset(struct weir_conn *conn)
{
    WEIR_CHECK(!(conn->flags & WEIR_CONN_OP_SEND));
    if (conn->tx)
        tx_release(conn, conn->tx, true);
    conn->tx = NULL;
}
