#include <string.h>

#include "engine/base/check.h"
#include "engine/base/copy.h"
#include "engine/base/probe.h"
#include "engine/conn/conn.h"
#include "weir/error.h"

/* The window of a connection is one inequality, received >= framed >= verified >= consumed:
 *   received   bytes of the event, plus what `carry` or `place` hold
 *   framed     decoded and admitted: in hub->frames
 *   verified   frames before weir_verify_flush's cursor
 *   consumed   delivered: their memory is given back
 * A whole frame stays where the kernel put it until the flush. What is cut by the end of a receive buffer
 * is copied: a fragment straight to its place in its message, anything else to `carry`. So a receive buffer
 * is never held beyond a turn, and the ring cannot be starved by a peer that sends half frames. */

static struct weir_frame *frame_slot(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    /* Frames are verified in one batch, so what waits is all of one wire. */
    if (hub->frame_cnt == WEIR_HUB_FRAMES || (hub->frames_codec != conn->codec && hub->frame_cnt))
        weir_verify_flush(hub);
    hub->frames_codec = conn->codec;
    return &hub->frames[hub->frame_cnt];
}

/* Puts the end of a stream in line behind the frames before it. */
static void fault(struct weir_conn *conn, uint16_t reason)
{
    if (conn->state ==
        WEIR_CONN_HANDSHAKE) { /* there are no frames yet, and nobody to deliver to */
        conn->flags |= WEIR_CONN_RX_DEAD;
        weir_conn_close(conn, reason, false);
        return;
    }
    struct weir_frame *frame = frame_slot(conn);
    *frame = (struct weir_frame){.kind = WEIR_FRAME_FAULT, .fault = reason, .conn_idx = conn->slot};
    conn->hub->frame_cnt++;
    conn->flags |= WEIR_CONN_RX_DEAD;
}

/* Begins a message of several fragments, or one whose only fragment is cut. */
static uint16_t partial_begin(struct weir_conn *conn, uint32_t channel_idx, uint32_t total)
{
    struct weir_hub *hub = conn->hub;
    struct weir_conn_channel *channel = &conn->channels[channel_idx];
    if (conn->bytes_held + conn->bytes_queued + total > hub->cfg->peer_bytes_max)
        return WEIR_R_LIMIT_MEMORY;
    channel->partial = weir_pool_take(hub->pool, total);
    if (!channel->partial)
        return WEIR_R_LIMIT_MEMORY;
    channel->partial->len = total;
    channel->partial_total = total;
    channel->partial_len = 0;
    conn->bytes_held += total;
    /* Nothing of the message comes back before its end, so all that is due must be granted now. */
    if (channel->rx_consumed + hub->channels[channel_idx].recv_bytes_max > channel->rx_limit) {
        conn->credit_due |= UINT64_C(1) << channel_idx;
        conn->flags |= WEIR_CONN_WANT_CREDIT;
        weir_conn_mark_dirty(conn);
    }
    return 0;
}

/* Checks a data frame against what was agreed, before anything of it is stored. `is_cut`: its payload is
 * not all there. Returns 0, or why the connection must end. */
static uint16_t admit(struct weir_conn *conn, struct weir_frame *frame, bool is_cut)
{
    struct weir_hub *hub = conn->hub;
    uint32_t idx = hub->channel_idx_of[frame->channel];
    if (WEIR_UNLIKELY(idx >= hub->channel_cnt || !conn->channels[idx].is_agreed))
        return WEIR_R_BAD_CHANNEL;
    struct weir_conn_channel *channel = &conn->channels[idx];
    frame->channel_idx = idx;
    conn->heard_now |= UINT64_C(1) << idx;
    if (WEIR_UNLIKELY(frame->len > channel->rx_limit - channel->rx_used))
        return WEIR_R_CREDIT;
    uint32_t off = 0;
    switch (frame->kind) {
    case WEIR_FRAME_RUN:
        if (channel->partial)
            return WEIR_R_BAD_FRAGMENT;
        channel->rx_used += frame->len;
        return 0;
    case WEIR_FRAME_FIRST:
        if (channel->partial || frame->len == 0 || frame->len > frame->aux)
            return WEIR_R_BAD_FRAGMENT;
        if (frame->aux > hub->channels[idx].msg_bytes_max)
            return WEIR_R_MESSAGE_TOO_BIG;
        channel->rx_used += frame->len;
        if (frame->len == frame->aux && !is_cut)
            return 0; /* delivered from where it lies */
        uint16_t reason = partial_begin(conn, idx, frame->aux);
        if (reason)
            return reason;
        break;
    case WEIR_FRAME_MORE:
        if (!channel->partial || frame->aux != channel->partial_len || frame->len == 0 ||
            frame->len > channel->partial_total - channel->partial_len)
            return WEIR_R_BAD_FRAGMENT;
        channel->rx_used += frame->len;
        off = channel->partial_len;
        break;
    default:
        return WEIR_R_BAD_KIND;
    }
    channel->partial_len = off + frame->len;
    frame->hold = channel->partial;
    if (channel->partial_len == channel->partial_total)
        channel->partial = NULL; /* the reference goes with the frame that completes it */
    else
        weir_buf_hold(frame->hold);
    return 0;
}

/* Moves a fragment's bytes to their place in its message. */
static void fragment_place(struct weir_frame *frame)
{
    uint8_t *to = frame->hold->data + (frame->kind == WEIR_FRAME_FIRST ? 0 : frame->aux);
    weir_copy(to, frame->payload, frame->len);
    frame->payload = to;
}

/* Admits the frames that the codec just put behind hub->frames. Returns false when one broke the stream. */
static bool admit_all(struct weir_conn *conn, uint32_t frame_cnt, struct weir_buf *window)
{
    struct weir_hub *hub = conn->hub;
    for (uint32_t i = 0; i < frame_cnt; i++) {
        struct weir_frame *frame = &hub->frames[hub->frame_cnt];
        frame->conn_idx = conn->slot;
        frame->hold = NULL;
        uint16_t reason = frame->kind == WEIR_FRAME_FAULT ? frame->fault : 0;
        if (frame->kind <= WEIR_FRAME_MORE)
            reason = admit(conn, frame, false);
        if (WEIR_UNLIKELY(reason)) {
            fault(conn, reason);
            return false;
        }
        /* In the window of a carry buffer, the frame keeps it. A fragment keeps its message, so its bytes go
         * there at once; of a plain wire there is none in a carry, because its payload was placed. */
        if (window && !frame->hold)
            frame->hold = weir_buf_hold(window);
        else if (window)
            fragment_place(frame);
        hub->pending_bytes += frame->len;
        hub->frame_cnt++;
    }
    return true;
}

/* Starts placing a cut fragment. `have` payload bytes are at `payload`. */
static bool place_begin(struct weir_conn *conn, const struct weir_frame *partial,
                        const uint8_t *payload, size_t have)
{
    conn->place = *partial;
    conn->place.conn_idx = conn->slot;
    conn->place.hold = NULL;
    uint16_t reason = admit(conn, &conn->place, true);
    if (reason) {
        conn->place.kind = 0;
        fault(conn, reason);
        return false;
    }
    uint32_t off = conn->place.kind == WEIR_FRAME_FIRST ? 0 : conn->place.aux;
    conn->place.payload = conn->place.hold->data + off;
    conn->place_len = (uint32_t)have;
    weir_copy(conn->place.payload, payload, have);
    return true;
}

static void place_end(struct weir_conn *conn)
{
    struct weir_frame *frame = frame_slot(conn);
    *frame = conn->place;
    conn->hub->frame_cnt++;
    conn->hub->pending_bytes += frame->len;
    conn->place.kind = 0;
    conn->place.hold = NULL;
}

/* A stranger pays for memory with bytes: of a hello that it only announces, no more is taken than its first
 * class, and then as much again as has come. */
#define STRANGER_CARRY_BYTES 1024u
/* And never more than this: the largest message of a handshake with its length. */
#define STRANGER_BYTES_MAX 2048u

/* Keeps the start of something that is not all there. */
static bool carry_begin(struct weir_conn *conn, const uint8_t *data, size_t len, size_t need)
{
    WEIR_CHECK(need > len);
    size_t bytes = need;
    if (conn->state == WEIR_CONN_HANDSHAKE && need > STRANGER_CARRY_BYTES)
        bytes = len < STRANGER_CARRY_BYTES ? STRANGER_CARRY_BYTES : len + 1;
    struct weir_buf *buf = weir_pool_take(conn->hub->pool, bytes);
    if (!buf) {
        fault(conn, WEIR_R_LIMIT_MEMORY);
        return false;
    }
    weir_copy(buf->data, data, len);
    buf->len = len;
    conn->carry = buf;
    conn->carry_need = need;
    return true;
}

static void handshake_progress(struct weir_conn *conn, const struct weir_feed *feed)
{
    conn->flags |= WEIR_CONN_HAS_PULL;
    weir_conn_mark_dirty(conn);
    if (feed->is_theirs)
        conn->flags |= WEIR_CONN_HEARD_GOODBYE;
    if (feed->fault)
        weir_conn_close(conn, feed->fault, false);
    else if (feed->is_ready)
        weir_conn_agreed(conn);
}

/* Finds out from an accepted connection's first bytes which wire it is. Returns whether to go on. */
static bool wire_find(struct weir_conn *conn, uint8_t *data, size_t len)
{
    struct weir_hub *hub = conn->hub;
    uint16_t reason = WEIR_R_NOT_WEIR;
    int verdict = hub->secure_codec->sniff(data, len, &reason);
    if (verdict < 0 && (size_t)-verdict > len) {
        carry_begin(conn, data, len, (size_t)-verdict);
        return false;
    }
    if (verdict > 0) {
        weir_conn_begin(conn, hub->secure_codec, hub->offer);
        return true;
    }
    if (reason == WEIR_R_PLAIN_REFUSED) {
        bool is_taken = hub->cfg->secure != WEIR_SECURE_REQUIRE || WEIR_PLANTED(POLICY);
        weir_conn_begin(conn, hub->codec, is_taken ? hub->offer : hub->offer_refusing);
        return true;
    }
    weir_conn_close(conn, reason, false);
    return false;
}

/* Keeps what a connection that is held has sent. A stranger has nothing more to say before it was answered. */
static void hold(struct weir_conn *conn, const uint8_t *data, size_t len)
{
    if (len > STRANGER_CARRY_BYTES)
        fault(conn, WEIR_R_HANDSHAKE_BYTES);
    else
        carry_begin(conn, data, len, len + 1);
}

/* Keeps what waits for its step, however many pieces it came in. Both sides of a handshake wait for each other, so there
 * is a bound to what may come before that: from a dialer one message, from a listener its hello behind it. */
static void queue(struct weir_conn *conn, const uint8_t *data, size_t len)
{
    struct weir_buf *old = conn->carry;
    size_t old_len = old ? old->len : 0;
    struct weir_buf *buf = NULL;
    size_t bytes_max =
        conn->flags & WEIR_CONN_IS_DIALER ? conn->codec->handshake_bytes_max : STRANGER_BYTES_MAX;
    if (old_len + len > bytes_max) {
        fault(conn, WEIR_R_HANDSHAKE_BYTES);
        return;
    }
    if (!old || old_len + len > old->cap) {
        buf = weir_pool_take(conn->hub->pool, old_len + len);
        if (!buf) {
            fault(conn, WEIR_R_LIMIT_MEMORY);
            return;
        }
        if (old)
            weir_copy(buf->data, old->data, old_len);
        weir_buf_unref(old);
        conn->carry = buf;
    }
    weir_copy(conn->carry->data + old_len, data, len);
    conn->carry->len = conn->carry_need = old_len + len;
}

/* Decodes a window. Everything in it is dealt with: framed, placed or carried. `window` is the carry buffer
 * it lies in, or NULL. */
static void decode(struct weir_conn *conn, uint8_t *data, size_t len, struct weir_buf *window)
{
    struct weir_hub *hub = conn->hub;
    if (WEIR_UNLIKELY(!conn->codec) && !wire_find(conn, data, len))
        return;
    while (len && !(conn->flags & WEIR_CONN_RX_DEAD)) {
        frame_slot(conn);
        struct weir_feed feed = {0};
        bool is_step = false;
        if (WEIR_UNLIKELY(conn->state == WEIR_CONN_HANDSHAKE)) {
            is_step = conn->codec->is_step && conn->codec->is_step(conn->codec_state, data, len);
            if (is_step && !weir_gate_may_step(conn)) {
                queue(conn, data, len);
                return;
            }
            weir_gate_before(conn);
        }
        conn->codec->feed(conn->codec_state, data, len, hub->frames + hub->frame_cnt,
                          WEIR_HUB_FRAMES - hub->frame_cnt, &feed);
        WEIR_CHECK(feed.consumed <= len);
        data += feed.consumed;
        len -= feed.consumed;
        if (conn->state == WEIR_CONN_HANDSHAKE) {
            if (is_step && feed.consumed && (!feed.knock || (feed.knock & WEIR_KNOCK_SERVED)))
                weir_gate_stepped(conn);
            if (feed.knock && weir_gate_after(conn, feed.knock)) {
                hold(conn, data, len);
                return;
            }
            handshake_progress(conn, &feed);
            if (feed.consumed)
                continue;
        }
        if (!admit_all(conn, feed.frame_cnt, window) || len == 0)
            return;
        if (feed.has_partial && feed.partial.kind <= WEIR_FRAME_MORE &&
            feed.partial.kind != WEIR_FRAME_RUN) {
            place_begin(conn, &feed.partial, data + feed.partial_head, len - feed.partial_head);
            return;
        }
        if (feed.need > len) {
            carry_begin(conn, data, len, feed.need);
            return;
        }
        WEIR_CHECK(feed.consumed > 0 || feed.frame_cnt > 0); /* otherwise the codec stands still */
    }
}

/* Makes room for at least a byte more. */
static bool carry_grow(struct weir_conn *conn)
{
    struct weir_buf *old = conn->carry;
    struct weir_buf *buf = weir_pool_take(conn->hub->pool, old->cap + 1);
    if (!buf) {
        fault(conn, WEIR_R_LIMIT_MEMORY);
        return false;
    }
    weir_copy(buf->data, old->data, old->len);
    buf->len = old->len;
    weir_buf_unref(old);
    conn->carry = buf;
    return true;
}

/* Completes the carry with new bytes; returns how many it took. */
static size_t carry_on(struct weir_conn *conn, const uint8_t *data, size_t len)
{
    if (conn->carry->len == conn->carry->cap && !carry_grow(conn))
        return len;
    struct weir_buf *carry = conn->carry;
    size_t end = conn->carry_need < carry->cap ? conn->carry_need : carry->cap;
    size_t take = end - carry->len;
    if (take > len)
        take = len;
    weir_copy(carry->data + carry->len, data, take);
    carry->len += take;
    if (carry->len < conn->carry_need)
        return take;
    conn->carry = NULL;
    decode(conn, carry->data, carry->len, carry);
    weir_buf_unref(carry);
    return take;
}

/* Read between two steps of narrowing: more than a step takes away (io.h says why). */
#define NARROW_EACH_BYTES (64u * 1024u)

/* While several channels are heard of, the kernel holds less that nobody has read: what comes for one waits behind what came
 * for the others. */
static void note_heard(struct weir_conn *conn)
{
    weir_conn_age_busy(conn);
    uint64_t heard = conn->heard_now | conn->heard_before;
    bool is_contended = (heard & (heard - 1)) != 0;
    bool was_contended = (conn->flags & WEIR_CONN_CONTENDED_IN) != 0;
    uint32_t step = conn->narrowed;
    if (is_contended != was_contended) {
        conn->flags ^= WEIR_CONN_CONTENDED_IN;
        conn->narrowed_rx = (uint32_t)conn->wire_rx;
        step = 0;
    } else if (is_contended && step < WEIR_IO_UNREAD_STEPS &&
               (uint32_t)conn->wire_rx - conn->narrowed_rx >= NARROW_EACH_BYTES) {
        conn->narrowed_rx = (uint32_t)conn->wire_rx;
        step++;
    }
    if (WEIR_LIKELY(step == conn->narrowed))
        return;
    conn->narrowed = step;
    conn->hub->io->ops->bound_unread(conn->hub->io, conn->sock, step);
}

void weir_rx_event(struct weir_conn *conn, const struct weir_io_event *event)
{
    struct weir_hub *hub = conn->hub;
    uint8_t *data = event->data;
    size_t len = (size_t)event->res;
    conn->last_rx_ns = hub->now_ns;
    conn->wire_rx += len;
    weir_count(&hub->metrics.wire_rx, len);
    WEIR_PROBE3(received, conn->slot, conn->gen, len);
    while (len && !(conn->flags & WEIR_CONN_RX_DEAD)) {
        size_t took;
        if (conn->place.kind) {
            took = conn->place.len - conn->place_len;
            if (took > len)
                took = len;
            weir_copy(conn->place.payload + conn->place_len, data, took);
            conn->place_len += (uint32_t)took;
            if (conn->place_len == conn->place.len)
                place_end(conn);
        } else if (WEIR_UNLIKELY((conn->flags & WEIR_CONN_HELD) != 0)) {
            fault(conn, WEIR_R_HANDSHAKE_BYTES);
            took = len;
        } else if (conn->carry && WEIR_LIKELY(!(conn->flags & WEIR_CONN_QUEUED))) {
            took = carry_on(conn, data, len);
        } else if (conn->carry) {
            queue(conn, data, len);
            took = len;
        } else {
            decode(conn, data, len, NULL);
            took = len;
        }
        data += took;
        len -= took;
    }
    if (WEIR_LIKELY(conn->state == WEIR_CONN_READY))
        note_heard(conn);
    if (WEIR_PLANTED(EARLY))
        hub->io->ops->recv_done(hub->io, event->buf_idx);
    else
        hub->used_bufs[hub->used_buf_cnt++] = event->buf_idx;
    if (hub->pending_bytes >= WEIR_HUB_PENDING_BYTES ||
        hub->used_buf_cnt == sizeof(hub->used_bufs) / sizeof(hub->used_bufs[0]))
        weir_verify_flush(hub);
}

void weir_rx_again(struct weir_conn *conn)
{
    struct weir_buf *carry = conn->carry;
    conn->carry = NULL;
    decode(conn, carry->data, carry->len, carry);
    weir_buf_unref(carry);
}

/* Not all at once: a connection that is armed again takes a buffer at once if something waits for it, and
 * each beyond the buffers would starve again, for nothing but a completion. With 10,000 busy connections and
 * all of them armed, 170 such completions came for each frame. First come, first served, so that nobody
 * waits for longer than the others need. */
void weir_rx_rearm(struct weir_hub *hub)
{
    uint32_t left = hub->cfg->recv_buf_cnt;
    struct weir_conn *last = hub->starved_tail; /* who starves again now, waits for the next turn */
    while (hub->starved && left) {
        struct weir_conn *conn = hub->starved;
        bool is_last = conn == last;
        hub->starved = conn->next_starved;
        conn->flags &= ~(uint32_t)WEIR_CONN_STARVED;
        if (conn->state != WEIR_CONN_DRAIN && conn->state != WEIR_CONN_FREE &&
            !(conn->flags & WEIR_CONN_OP_RECV)) {
            left--;
            weir_count(&hub->metrics.recv_rearmed, 1);
            int error = hub->io->ops->recv(hub->io, conn->sock, weir_conn_token(conn));
            if (error == 0)
                conn->flags |= WEIR_CONN_OP_RECV;
            else if (error == WEIR_E_FULL)
                weir_conn_starve(conn);
            else
                weir_conn_abort(conn, WEIR_R_INTERNAL);
        }
        weir_conn_settle(conn);
        if (is_last)
            break;
    }
}

void weir_rx_reset(struct weir_conn *conn)
{
    if (conn->place.kind)
        weir_buf_unref(conn->place.hold);
    conn->place.kind = 0;
    weir_buf_unref(conn->carry);
    conn->carry = NULL;
    for (uint32_t i = 0; i < conn->hub->channel_cnt; i++) {
        struct weir_conn_channel *channel = &conn->channels[i];
        weir_buf_unref(channel->partial);
        channel->partial = NULL;
        while (channel->held_head) {
            struct weir_buf *buf = channel->held_head;
            channel->held_head = buf->next;
            weir_buf_unref(buf);
        }
        channel->held_tail = NULL;
    }
}
