#include "proto/native_wire.h"

#include <string.h>

#include "engine/base/check.h"
#include "proto/native_bytes.h"

static void out_queue(struct native_state *native, enum native_out what)
{
    native->out = (uint8_t)(native->out | what);
    native->has_out = true;
}

static void native_begin(void *state, const struct weir_offer *offer, bool is_dialer)
{
    struct native_state *native = state;
    memset(native, 0, offsetof(struct native_state, agreed.channels)); /* behind may be nothing */
    native->offer = offer;
    native->frame_bytes_max = offer->frame_bytes_max;
    native->is_dialer = is_dialer;
    native->phase = NATIVE_PHASE_PREFACE;
    /* The dialer speaks first, so that a listener can tell what it is talking to before it says
     * anything. */
    if (is_dialer)
        out_queue(native, NATIVE_OUT_PREFACE);
}

/* ---- what we send -------------------------------------------------------------------------------- */

/* Writes all that was ever queued, in order; returns how many bytes that is. */
static size_t out_write(const struct native_state *native, uint8_t *ret_bytes)
{
    if (native->out & NATIVE_OUT_REFUSAL) { /* instead of a preface, and all there is */
        weir_native_preface_write(ret_bytes, true);
        ret_bytes[NATIVE_MARK_AT] = NATIVE_V2_MARK_REFUSAL;
        weir_le16_put(ret_bytes + NATIVE_V2_ANSWER_BYTES, native->fault);
        return NATIVE_V2_ANSWER_BYTES + sizeof native->fault;
    }
    /* A preface was queued before anything else, whoever we are. */
    WEIR_DCHECK(native->out & NATIVE_OUT_PREFACE);
    weir_native_preface_write(ret_bytes, native->is_dialer);
    size_t len = NATIVE_PREFACE_BYTES;
    if (native->out & NATIVE_OUT_HELLO) {
        uint8_t *head = ret_bytes + len;
        uint8_t *payload = head + WEIR_NATIVE_HEAD;
        uint32_t payload_len = weir_native_hello_write(payload, native->offer);
        weir_native_frame_head(head, NATIVE_HELLO, NATIVE_CHANNEL_CONTROL, 0, payload, payload_len);
        len += WEIR_NATIVE_HEAD + payload_len;
    }
    if (native->out & NATIVE_OUT_GOODBYE) {
        struct weir_control goodbye; /* not zeroed: it is 1.2 KiB and only these are read */
        goodbye.kind = WEIR_CONTROL_GOODBYE;
        goodbye.reason = native->fault;
        goodbye.text[0] = '\0';
        uint8_t frame[WEIR_CONTROL_OUT_MAX];
        uint32_t frame_len = weir_native_control_write(frame, &goodbye);
        memcpy(ret_bytes + len, frame, frame_len);
        len += frame_len;
    }
    return len;
}

static size_t native_pull(void *state, uint8_t *ret_bytes, size_t cap)
{
    struct native_state *native = state;
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    if (!native->has_out) /* as almost always: this is asked at each turn of a connection */
        return 0;
    size_t len = out_write(native, bytes) - native->out_pos;
    if (len <= cap)
        native->has_out = false;
    else
        len = cap;
    memcpy(ret_bytes, bytes + native->out_pos, len);
    native->out_pos = (uint16_t)(native->out_pos + len);
    return len;
}

/* ---- what we receive ----------------------------------------------------------------------------- */

/* Ends a handshake. A peer that speaks weir is told why, unless it was the one to say so; a stranger is
 * told nothing, not even what this port is. */
static void handshake_fail(struct native_state *native, uint16_t fault, bool is_told)
{
    native->phase = NATIVE_PHASE_FAILED;
    native->fault = fault;
    if (is_told)
        out_queue(native, NATIVE_OUT_GOODBYE);
    else
        native->has_out = false;
}

/* Takes the preface from the window's front. Sets `need` if it is not all there. */
static void preface_feed(struct native_state *native, const uint8_t *data, size_t len,
                         struct weir_feed *ret_feed)
{
    uint16_t reason = WEIR_R_NONE;
    int verdict = weir_native_preface_judge(data, len, !native->is_dialer, &reason);
    if (verdict == 0) {
        handshake_fail(native, reason, false);
        if (reason == WEIR_R_SECURE_REFUSED) /* it is weir too, and may be told */
            out_queue(native, NATIVE_OUT_REFUSAL);
    } else if (verdict < 0) {
        ret_feed->need = (size_t)-verdict;
    } else {
        ret_feed->consumed = NATIVE_PREFACE_BYTES;
        native->phase = NATIVE_PHASE_HELLO;
        /* Now each side knows that the other is there and speaks weir. The dialer shows itself first:
         * a listener tells a stranger nothing about its node. */
        out_queue(native, native->is_dialer ? NATIVE_OUT_HELLO : NATIVE_OUT_PREFACE);
    }
}

/* Checks what a header can tell of a frame during the handshake. Returns 0 or the reason. */
static uint16_t handshake_shape(const struct weir_frame *frame)
{
    bool is_hello = frame->wire_kind == NATIVE_HELLO;
    if (!is_hello && frame->wire_kind != NATIVE_GOODBYE)
        return WEIR_R_BAD_HELLO;
    if (is_hello && frame->len > NATIVE_HELLO_BYTES_MAX)
        return WEIR_R_HANDSHAKE_BYTES;
    if (!is_hello && frame->len > NATIVE_CONTROL_BYTES_MAX)
        return WEIR_R_BAD_LENGTH;
    if (frame->channel != NATIVE_CHANNEL_CONTROL || frame->aux != 0)
        return is_hello ? WEIR_R_BAD_HELLO : WEIR_R_BAD_CONTROL;
    return WEIR_R_NONE;
}

static void goodbye_feed(struct native_state *native, const struct weir_frame *frame)
{
    struct weir_control goodbye;
    int fault = weir_native_control_read(frame, &goodbye);
    if (fault != 0)
        handshake_fail(native, (uint16_t)fault, true);
    else
        handshake_fail(native, goodbye.reason, false);
    native->is_fault_theirs = fault == 0;
}

static void hello_feed(struct native_state *native, const struct weir_frame *frame)
{
    uint16_t fault =
        weir_native_hello_read(frame->payload, frame->len, native->offer, &native->agreed);
    if (fault == 0)
        fault = native->offer->refuse;
    if (fault != 0) {
        handshake_fail(native, fault, true);
        return;
    }
    if (!native->is_dialer)
        out_queue(native, NATIVE_OUT_HELLO);
    native->phase = NATIVE_PHASE_READY;
}

/* Takes the one frame of the handshake from the window's front. Sets `need` if it is not all there. */
static void handshake_feed(struct native_state *native, uint8_t *data, size_t len,
                           struct weir_feed *ret_feed)
{
    struct weir_frame frame;
    if (!weir_native_head_read(data, len, &frame, &ret_feed->need))
        return;
    uint16_t fault = frame.kind == WEIR_FRAME_FAULT ? frame.fault : handshake_shape(&frame);
    if (fault == 0 && len < WEIR_NATIVE_HEAD + (size_t)frame.len) {
        ret_feed->need = WEIR_NATIVE_HEAD + (size_t)frame.len;
        return;
    }
    if (fault == 0) {
        weir_native_verify(&frame, 1);
        fault = frame.fault;
    }
    ret_feed->consumed += WEIR_NATIVE_HEAD + (size_t)frame.len;
    if (fault != 0)
        handshake_fail(native, fault, true);
    else if (frame.wire_kind == NATIVE_GOODBYE)
        goodbye_feed(native, &frame);
    else
        hello_feed(native, &frame);
}

static void native_feed(void *state, uint8_t *data, size_t len, struct weir_frame *ret_frames,
                        uint32_t frame_max, struct weir_feed *ret_feed)
{
    struct native_state *native = state;
    memset(ret_feed, 0, sizeof *ret_feed);
    ret_feed->need = 1;

    if (native->phase == NATIVE_PHASE_PREFACE)
        preface_feed(native, data, len, ret_feed);
    if (native->phase == NATIVE_PHASE_HELLO) {
        /* Bytes behind the preface may already be there, be it a goodbye. */
        handshake_feed(native, data + ret_feed->consumed, len - ret_feed->consumed, ret_feed);
        ret_feed->is_ready = native->phase == NATIVE_PHASE_READY;
    } else if (native->phase == NATIVE_PHASE_READY) {
        ret_feed->is_ready = true;
        if (!weir_native_frames_feed(native->frame_bytes_max, data, len, ret_frames, frame_max,
                                     ret_feed))
            native->phase = NATIVE_PHASE_BROKEN;
    } else if (native->phase == NATIVE_PHASE_BROKEN) {
        ret_feed->is_ready = true;
        ret_feed->consumed = len;
    }
    if (native->phase == NATIVE_PHASE_FAILED) {
        ret_feed->fault = native->fault;
        ret_feed->is_theirs = native->is_fault_theirs;
        ret_feed->consumed = len;
        ret_feed->need = 1;
    }
}

static const struct weir_agreed *native_agreed(const void *state)
{
    const struct native_state *native = state;
    return &native->agreed;
}

const struct weir_codec weir_codec_native = {
    .name = "native",
    .state_bytes = sizeof(struct native_state),
    .channel_bytes = NATIVE_CHANNEL_BYTES,
    .head_bytes = WEIR_NATIVE_HEAD,
    .handshake_bytes_max = NATIVE_HANDSHAKE_BYTES_MAX,
    .sniff = weir_native_sniff,
    .begin = native_begin,
    .pull = native_pull,
    .feed = native_feed,
    .agreed = native_agreed,
    .verify = weir_native_verify,
    .frame_head = weir_native_frame_head,
    .control_write = weir_native_control_write,
    .control_read = weir_native_control_read,
};
