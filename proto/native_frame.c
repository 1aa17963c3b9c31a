#include "proto/native_wire.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "proto/native_bytes.h"
#include "proto/native_run.h"

#define VERIFY_CHUNK 64u /* jobs hashed at once: 1.5 KiB of stack, long enough to hide the loads */

static bool is_magic(const uint8_t *head)
{
    return weir_le32_get(head + NATIVE_AT_MAGIC) == NATIVE_MAGIC;
}

/* Decodes a whole header whose magic is right. Returns 0 or what is wrong with it. */
static inline uint16_t head_decode(const struct weir_hash_ops *hash, uint8_t *head,
                                   struct weir_frame *ret_frame)
{
    uint64_t check = hash->xxh3(head, NATIVE_AT_CHECK, NATIVE_CHECK_SEED);
    if (WEIR_UNLIKELY(check != weir_le64_get(head + NATIVE_AT_CHECK)))
        return WEIR_R_BAD_HEADER;
    if (WEIR_UNLIKELY(head[NATIVE_AT_VERSION] != NATIVE_VERSION))
        return WEIR_R_WRONG_VERSION;
    *ret_frame = (struct weir_frame){
        .payload = head + WEIR_NATIVE_HEAD,
        .len = weir_le32_get(head + NATIVE_AT_LENGTH),
        .aux = weir_le32_get(head + NATIVE_AT_AUX),
        .sum = weir_le64_get(head + NATIVE_AT_SUM),
        .channel = weir_le16_get(head + NATIVE_AT_CHANNEL),
        .wire_kind = head[NATIVE_AT_KIND],
    };
    return WEIR_R_NONE;
}

static uint16_t control_shape(const struct weir_frame *frame)
{
    if (frame->len > NATIVE_CONTROL_BYTES_MAX)
        return WEIR_R_BAD_LENGTH;
    if (frame->channel != NATIVE_CHANNEL_CONTROL || frame->aux != 0)
        return WEIR_R_BAD_CONTROL;
    return WEIR_R_NONE;
}

static uint16_t data_shape(const struct weir_frame *frame, uint32_t frame_bytes_max)
{
    if (frame->len > frame_bytes_max)
        return WEIR_R_BAD_LENGTH;
    if (frame->channel == NATIVE_CHANNEL_CONTROL)
        return WEIR_R_BAD_CHANNEL;
    return WEIR_R_NONE;
}

/* Settles a decoded frame's kind for the connection and checks all that the header alone can tell, in
 * the order of docs/wire.md "Checks": kind, length, channel, aux. Returns 0 or what is wrong. */
static inline uint16_t frame_shape(struct weir_frame *frame, uint32_t frame_bytes_max)
{
    uint16_t fault;
    switch (frame->wire_kind) {
    case NATIVE_RUN:
        frame->kind = WEIR_FRAME_RUN;
        fault = data_shape(frame, frame_bytes_max);
        /* Each message takes its prefix at least: a count that cannot be is not waited for. */
        if (fault == 0 && (frame->aux == 0 || frame->aux > frame->len / WEIR_RUN_PREFIX))
            fault = WEIR_R_BAD_RUN;
        return fault;
    case NATIVE_FIRST:
        frame->kind = WEIR_FRAME_FIRST;
        fault = data_shape(frame, frame_bytes_max);
        if (fault == 0 && (frame->len == 0 || frame->len > frame->aux))
            fault = WEIR_R_BAD_FRAGMENT;
        return fault;
    case NATIVE_MORE:
        frame->kind = WEIR_FRAME_MORE;
        fault = data_shape(frame, frame_bytes_max);
        if (fault == 0 && (frame->len == 0 || frame->aux == 0))
            fault = WEIR_R_BAD_FRAGMENT;
        return fault;
    case NATIVE_PING:
    case NATIVE_PONG:
    case NATIVE_CREDIT:
    case NATIVE_GOODBYE:
        frame->kind = WEIR_FRAME_CONTROL;
        return control_shape(frame);
    case NATIVE_HELLO: /* a second one: there is nothing to agree again */
        return WEIR_R_BAD_CONTROL;
    default:
        if ((frame->wire_kind & NATIVE_KIND_OPTIONAL) == 0)
            return WEIR_R_BAD_KIND;
        frame->kind = WEIR_FRAME_SKIP;
        return frame->len > frame_bytes_max ? WEIR_R_BAD_LENGTH : WEIR_R_NONE;
    }
}

uint16_t weir_native_shape(struct weir_frame *frame, uint32_t frame_bytes_max)
{
    return frame_shape(frame, frame_bytes_max);
}

bool weir_native_head_read(uint8_t *data, size_t len, struct weir_frame *ret_frame,
                           size_t *ret_need)
{
    uint16_t fault = WEIR_R_NONE;
    if (len < sizeof(uint32_t)) {
        *ret_need = sizeof(uint32_t);
        return false;
    }
    if (!is_magic(data)) {
        fault = WEIR_R_BAD_MAGIC;
    } else if (len < WEIR_NATIVE_HEAD) {
        *ret_need = WEIR_NATIVE_HEAD;
        return false;
    } else {
        fault = head_decode(weir_hash_ops(), data, ret_frame);
    }
    if (fault != 0)
        *ret_frame = (struct weir_frame){.kind = WEIR_FRAME_FAULT, .fault = fault};
    return true;
}

bool weir_native_frames_feed(uint32_t frame_bytes_max, uint8_t *data, size_t len,
                             struct weir_frame *ret_frames, uint32_t frame_max,
                             struct weir_feed *ret_feed)
{
    const struct weir_hash_ops *hash = weir_hash_ops();
    size_t at = 0;
    uint32_t frame_cnt = 0;
    uint16_t fault = WEIR_R_NONE;

    ret_feed->need = 1; /* holds when frame_max ends the loop: what is left may be fed at once */
    while (frame_cnt < frame_max) {
        size_t rest = len - at;
        if (rest < sizeof(uint32_t)) {
            ret_feed->need = sizeof(uint32_t);
            break;
        }
        if (WEIR_UNLIKELY(!is_magic(data + at))) {
            fault = WEIR_R_BAD_MAGIC;
            break;
        }
        if (rest < WEIR_NATIVE_HEAD) {
            ret_feed->need = WEIR_NATIVE_HEAD;
            break;
        }
        struct weir_frame *frame = &ret_frames[frame_cnt];
        fault = head_decode(hash, data + at, frame);
        if (fault == 0)
            fault = frame_shape(frame, frame_bytes_max);
        if (WEIR_UNLIKELY(fault != 0))
            break;
        size_t frame_len = WEIR_NATIVE_HEAD + (size_t)frame->len;
        if (rest < frame_len) {
            ret_feed->need = frame_len;
            ret_feed->has_partial = true;
            ret_feed->partial = *frame;
            ret_feed->partial_head = WEIR_NATIVE_HEAD;
            break;
        }
        at += frame_len;
        frame_cnt++;
    }
    if (WEIR_UNLIKELY(fault != 0)) {
        ret_frames[frame_cnt++] = (struct weir_frame){.kind = WEIR_FRAME_FAULT, .fault = fault};
        at = len;
        ret_feed->need = 1;
    }
    ret_feed->consumed = at;
    ret_feed->frame_cnt = frame_cnt;
    return fault == 0;
}

uint32_t weir_native_frame_head(uint8_t *ret_head, uint8_t kind, uint16_t channel, uint32_t aux,
                                const uint8_t *payload, uint32_t len)
{
    const struct weir_hash_ops *hash = weir_hash_ops();
    WEIR_DCHECK(len <= NATIVE_FRAME_BYTES_MAX);
    weir_le32_put(ret_head + NATIVE_AT_MAGIC, NATIVE_MAGIC);
    ret_head[NATIVE_AT_VERSION] = NATIVE_VERSION;
    ret_head[NATIVE_AT_KIND] = kind;
    weir_le16_put(ret_head + NATIVE_AT_CHANNEL, channel);
    weir_le32_put(ret_head + NATIVE_AT_LENGTH, len);
    weir_le32_put(ret_head + NATIVE_AT_AUX, aux);
    weir_le64_put(ret_head + NATIVE_AT_SUM, hash->xxh3(payload, len, 0));
    weir_le64_put(ret_head + NATIVE_AT_CHECK,
                  hash->xxh3(ret_head, NATIVE_AT_CHECK, NATIVE_CHECK_SEED));
    return WEIR_NATIVE_HEAD;
}

void weir_native_verify(struct weir_frame *frames, uint32_t frame_cnt)
{
    const struct weir_hash_ops *hash = weir_hash_ops();
    struct weir_hash_job jobs[VERIFY_CHUNK];
    struct weir_frame *of_job[VERIFY_CHUNK];
    uint32_t at = 0;

    while (at < frame_cnt) {
        uint32_t job_cnt = 0;
        for (; at < frame_cnt && job_cnt < VERIFY_CHUNK; at++) {
            if (frames[at].kind == WEIR_FRAME_FAULT)
                continue;
            jobs[job_cnt].data = frames[at].payload;
            jobs[job_cnt].len = frames[at].len;
            of_job[job_cnt++] = &frames[at];
        }
        hash->xxh3_batch(jobs, job_cnt);
        for (uint32_t i = 0; i < job_cnt; i++) {
            if (WEIR_UNLIKELY(jobs[i].ret_hash != of_job[i]->sum))
                of_job[i]->fault = WEIR_R_BAD_CHECKSUM;
        }
    }
}
