#include "proto/native_v2.h"

#include <string.h>

#include "engine/base/check.h"
#include "proto/native_bytes.h"

uint32_t weir_v2_frame_head(uint8_t *ret_head, uint8_t kind, uint16_t channel, uint32_t aux,
                            const uint8_t *payload, uint32_t len)
{
    (void)payload; /* the record's tag covers it */
    WEIR_DCHECK(len <= NATIVE_V2_FRAME_BYTES_MAX);
    ret_head[NATIVE_V2_AT_KIND] = kind;
    ret_head[NATIVE_V2_AT_ZERO] = 0;
    weir_le16_put(ret_head + NATIVE_V2_AT_CHANNEL, channel);
    weir_le32_put(ret_head + NATIVE_V2_AT_LENGTH, len);
    weir_le32_put(ret_head + NATIVE_V2_AT_AUX, aux);
    return NATIVE_V2_HEAD;
}

uint32_t weir_v2_control_write(uint8_t *ret_bytes, const struct weir_control *control)
{
    uint8_t kind;
    uint32_t len = weir_native_control_payload(ret_bytes + NATIVE_V2_HEAD, &kind, control);
    weir_v2_frame_head(ret_bytes, kind, NATIVE_CHANNEL_CONTROL, 0, NULL, len);
    return NATIVE_V2_HEAD + len;
}

static uint32_t frame_fault(struct weir_frame *ret_frame, uint16_t fault)
{
    *ret_frame = (struct weir_frame){.kind = WEIR_FRAME_FAULT, .fault = fault};
    return 0;
}

uint32_t weir_v2_frame_read(uint8_t *data, uint32_t len, struct weir_frame *ret_frame)
{
    if (len < NATIVE_V2_HEAD)
        return frame_fault(ret_frame, WEIR_R_BAD_HEADER);
    if (data[NATIVE_V2_AT_ZERO] != 0)
        return frame_fault(ret_frame, WEIR_R_BAD_HEADER);
    *ret_frame = (struct weir_frame){
        .payload = data + NATIVE_V2_HEAD,
        .len = weir_le32_get(data + NATIVE_V2_AT_LENGTH),
        .aux = weir_le32_get(data + NATIVE_V2_AT_AUX),
        .channel = weir_le16_get(data + NATIVE_V2_AT_CHANNEL),
        .wire_kind = data[NATIVE_V2_AT_KIND],
    };
    if (ret_frame->len > len - NATIVE_V2_HEAD) /* a frame is whole within its record */
        return frame_fault(ret_frame, WEIR_R_BAD_LENGTH);
    return NATIVE_V2_HEAD + ret_frame->len;
}

/* The frames of one opened record, as many as there is room for. Returns 0 or what is wrong. */
static uint16_t plain_feed(struct native_v2_state *state, uint8_t *data,
                           struct weir_frame *ret_frames, uint32_t frame_max,
                           struct weir_feed *ret_feed)
{
    while (state->plain_left > 0 && ret_feed->frame_cnt < frame_max) {
        struct weir_frame *frame = &ret_frames[ret_feed->frame_cnt];
        uint32_t took = weir_v2_frame_read(data + ret_feed->consumed, state->plain_left, frame);
        if (took == 0)
            return frame->fault;
        ret_feed->consumed += took;
        state->plain_left -= took;
        if (frame->wire_kind == NATIVE_REKEY) {
            if (frame->len != 0 || frame->aux != 0 || frame->channel != NATIVE_CHANNEL_CONTROL ||
                state->plain_left != 0)
                return WEIR_R_BAD_CONTROL;
            /* The record may have been the last by its number or its bytes as well: one end, one new key. */
            if (state->u.records.recv.key_cnt == state->plain_key &&
                !weir_v2_rekey(state->offer->secret->crypto, &state->u.records.recv))
                return WEIR_R_INTERNAL;
            continue; /* nobody else's business */
        }
        uint16_t fault = weir_native_shape(frame, state->frame_bytes_max);
        if (fault != 0)
            return fault;
        ret_feed->frame_cnt++;
    }
    if (state->plain_left == 0)
        ret_feed->consumed += WEIR_TAG_BYTES;
    return 0;
}

bool weir_v2_frames_feed(struct native_v2_state *state, uint8_t *data, size_t len,
                         struct weir_frame *ret_frames, uint32_t frame_max,
                         struct weir_feed *ret_feed)
{
    uint16_t fault = 0;
    ret_feed->need = 1;
    while (fault == 0 && ret_feed->frame_cnt < frame_max) {
        if (state->plain_left == 0) {
            size_t need;
            state->plain_key = state->u.records.recv.key_cnt;
            int32_t opened =
                weir_v2_open(state->offer->secret->crypto, &state->u.records.recv,
                             data + ret_feed->consumed, len - ret_feed->consumed, &need);
            if (opened < 0) {
                fault = (uint16_t)-opened;
                break;
            }
            if (opened == 0) {
                ret_feed->need = need;
                break;
            }
            ret_feed->consumed += NATIVE_V2_LENGTH_BYTES;
            state->plain_left = (uint32_t)opened;
        }
        fault = plain_feed(state, data, ret_frames, frame_max, ret_feed);
    }
    if (WEIR_UNLIKELY(fault != 0)) {
        ret_frames[ret_feed->frame_cnt++] =
            (struct weir_frame){.kind = WEIR_FRAME_FAULT, .fault = fault};
        ret_feed->consumed = len;
        ret_feed->need = 1;
    }
    return fault == 0;
}
