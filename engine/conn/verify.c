#include <string.h>

#include "engine/base/check.h"
#include "engine/base/copy.h"
#include "engine/base/probe.h"
#include "engine/conn/conn.h"
#include "proto/native_run.h"
#include "weir/error.h"

void weir_credit_consume(struct weir_conn *conn, uint32_t channel_idx, uint64_t bytes)
{
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    channel->rx_consumed += bytes;
    uint64_t window = conn->hub->channels[channel_idx].recv_bytes_max;
    uint64_t frame = conn->frame_bytes_max < window / 2 ? conn->frame_bytes_max : window / 2;
    /* Signed: keeping one message many times is charged many times, and may take back more than came. */
    int64_t due = (int64_t)(channel->rx_consumed + window - channel->rx_limit);
    /* In quarters, so that credit costs one small frame per megabyte and not one per message; at once
     * while a message is half here, because its end may wait for the last byte, and when what is left
     * may be too little for the sender's next frame: an application that keeps most of a window would
     * wait for it for ever. */
    bool is_wanted = channel->partial || channel->rx_limit - channel->rx_used < frame;
    if (due <= 0 || (due < (int64_t)(window / 4) && !is_wanted))
        return;
    conn->credit_due |= UINT64_C(1) << channel_idx;
    conn->flags |= WEIR_CONN_WANT_CREDIT;
    weir_conn_mark_dirty(conn);
}

/* ---- paused channels ----------------------------------------------------------------------- */

enum { HELD_RUN = 1, HELD_MESSAGE = 2 };

static void held_append(struct weir_conn_channel *channel, struct weir_buf *buf, uint32_t what)
{
    buf->owner_arg = what;
    buf->next = NULL;
    if (channel->held_tail)
        channel->held_tail->next = buf;
    else
        channel->held_head = buf;
    channel->held_tail = buf;
}

/* Holds a message whose bytes are in a buffer of their own. */
static void hold_taken(struct weir_conn *conn, uint32_t channel_idx, struct weir_buf *take)
{
    take->owner_charge = (uint32_t)take->len;
    held_append(&conn->channels[channel_idx], take, HELD_MESSAGE);
}

/* Holds a copy of a run, or of a message. Runs, and messages that fit a run, gather in one buffer as long
 * as it has room: a peer must not make us spend a buffer on each byte of its credit. owner_charge is the
 * credit that comes back with the buffer: without the prefixes that are put here. */
static void hold_copy(struct weir_conn *conn, uint32_t channel_idx, const uint8_t *data,
                      uint32_t len, uint32_t what)
{
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    bool is_put = what == HELD_MESSAGE && len <= WEIR_RUN_MSG_MAX;
    uint32_t need = len + (is_put ? WEIR_RUN_PREFIX : 0);
    struct weir_buf *buf = channel->held_tail;
    bool has_budget =
        conn->bytes_held + conn->bytes_queued + need <= conn->hub->cfg->peer_bytes_max;
    if (is_put)
        what = HELD_RUN;
    if (!has_budget || !buf || what != HELD_RUN || buf->owner_arg != HELD_RUN ||
        buf->cap - buf->len < need) {
        buf = has_budget ? weir_pool_take(conn->hub->pool, need) : NULL;
        if (!buf) {
            weir_conn_close(conn, WEIR_R_LIMIT_MEMORY, false);
            return;
        }
        held_append(channel, buf, what);
    }
    if (is_put)
        weir_run_put(buf->data + buf->len, data, (uint16_t)len);
    else
        weir_copy(buf->data + buf->len, data, len);
    buf->len += need;
    buf->owner_charge += len;
    conn->bytes_held += need;
}

void weir_conn_pause(struct weir_conn *conn, uint32_t channel_idx, bool is_paused)
{
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    channel->is_paused = is_paused;
    if (is_paused || !channel->held_head || (conn->flags & WEIR_CONN_RESUMED))
        return;
    /* Later in the turn: the caller may be inside a batch. */
    conn->flags |= WEIR_CONN_RESUMED;
    conn->next_resumed = conn->hub->resumed;
    conn->hub->resumed = conn;
}

static void resume_channel(struct weir_conn *conn, uint32_t idx)
{
    struct weir_hub *hub = conn->hub;
    struct weir_conn_channel *channel = &conn->channels[idx];
    while (channel->held_head && !channel->is_paused && conn->state == WEIR_CONN_READY) {
        struct weir_buf *buf = channel->held_head;
        channel->held_head = buf->next;
        if (!channel->held_head)
            channel->held_tail = NULL;
        uint32_t len = (uint32_t)buf->len;
        conn->bytes_held -= len;
        weir_credit_consume(conn, idx, buf->owner_charge);
        if (buf->owner_arg == HELD_RUN)
            hub->ops->run(conn, idx, buf->data, len, NULL);
        else
            hub->ops->message(conn, idx, buf->data, len, buf);
        hub->ops->flush(hub);
        weir_buf_unref(buf);
    }
}

void weir_verify_resume(struct weir_hub *hub)
{
    struct weir_conn *conn = hub->resumed;
    hub->resumed = NULL;
    while (conn) {
        struct weir_conn *next = conn->next_resumed;
        conn->flags &= ~(uint32_t)WEIR_CONN_RESUMED;
        for (uint32_t i = 0; i < hub->channel_cnt; i++)
            resume_channel(conn, i);
        weir_conn_settle(conn);
        conn = next;
    }
}

/* ---- delivery ------------------------------------------------------------------------------ */

static void deliver_control(struct weir_conn *conn, const struct weir_frame *frame)
{
    struct weir_hub *hub = conn->hub;
    struct weir_control ctl;
    int reason = conn->codec->control_read(frame, &ctl);
    if (reason) {
        weir_count(&hub->metrics.frames_failed, 1);
        weir_conn_close(conn, (uint16_t)reason, false);
        return;
    }
    switch ((enum weir_control_kind)ctl.kind) {
    case WEIR_CONTROL_PING:
        weir_keepalive_ping(conn, ctl.value);
        break;
    case WEIR_CONTROL_PONG:
        weir_keepalive_pong(conn, ctl.value);
        break;
    case WEIR_CONTROL_CREDIT:
        for (uint32_t i = 0; i < ctl.credit_cnt; i++) {
            uint32_t idx = hub->channel_idx_of[ctl.credits[i].channel];
            if (idx >= hub->channel_cnt || !conn->channels[idx].is_agreed) {
                weir_count(&hub->metrics.frames_failed, 1);
                weir_conn_close(conn, WEIR_R_BAD_CHANNEL, false);
                return;
            }
            if (ctl.credits[i].limit > conn->channels[idx].tx_limit)
                conn->channels[idx].tx_limit = ctl.credits[i].limit;
        }
        weir_conn_mark_dirty(conn);
        break;
    case WEIR_CONTROL_GOODBYE:
        conn->flags |= WEIR_CONN_HEARD_GOODBYE;
        weir_count(&hub->metrics.goodbyes_rx, 1);
        if (ctl.text[0] && !(conn->flags & WEIR_CONN_TOLD))
            weir_conn_set_text(conn, ctl.text);
        weir_conn_abort(conn, ctl.reason ? ctl.reason : WEIR_R_APPLICATION);
        break;
    case WEIR_CONTROL_REKEY: /* the codec's own business, and never handed on */
        break;
    }
}

static void deliver_run(struct weir_conn *conn, const struct weir_frame *frame)
{
    struct weir_hub *hub = conn->hub;
    uint32_t idx = frame->channel_idx;
    int reason =
        weir_run_check(frame->payload, frame->len, frame->aux, hub->channels[idx].msg_bytes_max);
    if (WEIR_UNLIKELY(reason)) {
        weir_count(&hub->metrics.frames_failed, 1);
        weir_conn_close(conn, (uint16_t)reason, false);
        return;
    }
    if (WEIR_UNLIKELY(hub->rates != NULL))
        weir_rates_received(conn, idx, frame->aux);
    if (WEIR_UNLIKELY(conn->channels[idx].is_paused || conn->channels[idx].held_head)) {
        hold_copy(conn, idx, frame->payload, frame->len, HELD_RUN);
        return;
    }
    weir_credit_consume(conn, idx, frame->len);
    if (WEIR_PLANTED(LOSE) && frame->len % 7 == 0)
        return;
    hub->ops->run(conn, idx, frame->payload, frame->len, NULL);
    if (WEIR_PLANTED(TWICE))
        hub->ops->run(conn, idx, frame->payload, frame->len, NULL);
}

static void deliver_fragment(struct weir_conn *conn, struct weir_frame *frame)
{
    struct weir_hub *hub = conn->hub;
    uint32_t idx = frame->channel_idx;
    struct weir_conn_channel *channel = &conn->channels[idx];
    struct weir_buf *message = frame->hold;
    uint32_t off = frame->kind == WEIR_FRAME_FIRST ? 0 : frame->aux;
    bool is_in_place = !message || (frame->kind == WEIR_FRAME_FIRST && frame->len == frame->aux &&
                                    frame->payload != message->data);
    uint32_t total = is_in_place ? frame->len : (uint32_t)message->len;
    if (!is_in_place) {
        if (frame->payload != message->data + off)
            weir_copy(message->data + off, frame->payload, frame->len);
        if (off + frame->len < total)
            return;
    }
    const uint8_t *data = is_in_place ? frame->payload : message->data;
    if (WEIR_UNLIKELY(hub->rates != NULL))
        weir_rates_received(conn, idx, 1);
    bool is_wanted = conn->state == WEIR_CONN_READY; /* otherwise it is draining */
    if (is_wanted && (channel->is_paused || channel->held_head)) {
        if (is_in_place)
            hold_copy(conn, idx, data, total, HELD_MESSAGE);
        else
            hold_taken(conn, idx, weir_buf_hold(message));
        return;
    }
    if (!is_in_place)
        conn->bytes_held -= total;
    weir_credit_consume(conn, idx, total);
    if (is_wanted)
        hub->ops->message(conn, idx, data, total, is_in_place ? NULL : message);
}

static void deliver(struct weir_conn *conn, struct weir_frame *frame)
{
    struct weir_hub *hub = conn->hub;
    bool is_draining = conn->state == WEIR_CONN_GOODBYE && (conn->flags & WEIR_CONN_DRAIN_FIRST);
    if (conn->state != WEIR_CONN_READY && !is_draining)
        return;
    if (WEIR_UNLIKELY(frame->fault) &&
        !(WEIR_PLANTED(UNCHECKED) && frame->kind <= WEIR_FRAME_MORE)) {
        weir_count(&hub->metrics.frames_failed, 1);
        weir_conn_close(conn, frame->fault, false);
        return;
    }
    WEIR_PROBE3(frame_in, conn->slot, frame->kind, frame->len);
    conn->frames_rx++;
    weir_count(&hub->metrics.frames_rx, 1);
    switch ((enum weir_frame_kind)frame->kind) {
    case WEIR_FRAME_CONTROL:
        deliver_control(conn, frame);
        break;
    case WEIR_FRAME_RUN:
        if (is_draining)
            weir_credit_consume(conn, frame->channel_idx, frame->len);
        else
            deliver_run(conn, frame);
        break;
    case WEIR_FRAME_FIRST:
    case WEIR_FRAME_MORE:
        deliver_fragment(conn, frame);
        break;
    case WEIR_FRAME_SKIP:
        (void)weir_keepalive_is_flood(conn);
        break;
    case WEIR_FRAME_FAULT:
        break;
    }
}

void weir_verify_flush(struct weir_hub *hub)
{
    if (hub->is_flushing || (hub->frame_cnt == 0 && hub->used_buf_cnt == 0))
        return;
    hub->is_flushing = true;
    WEIR_PROBE3(verify, hub->shard, hub->frame_cnt, hub->pending_bytes);
    if (hub->frame_cnt)
        hub->frames_codec->verify(hub->frames, hub->frame_cnt);
    for (uint32_t i = 0; i < hub->frame_cnt; i++)
        deliver(&hub->conns[hub->frames[i].conn_idx], &hub->frames[i]);
    hub->ops->flush(hub);
    for (uint32_t i = 0; i < hub->frame_cnt; i++)
        weir_buf_unref(hub->frames[i].hold);
    for (uint32_t i = 0; i < hub->used_buf_cnt; i++)
        hub->io->ops->recv_done(hub->io, hub->used_bufs[i]);
    hub->frame_cnt = 0;
    hub->used_buf_cnt = 0;
    hub->pending_bytes = 0;
    hub->is_flushing = false;
}
