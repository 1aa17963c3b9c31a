/* tests/fuzz/program.h: a valid stream of frames, written by the codec as an input tells it to.
 *
 * Each operation of the input is one frame: a run, a first or a further fragment, a control frame, or one of
 * an optional kind that nobody knows. What was meant is kept beside the bytes.
 */
#ifndef WEIR_TESTS_FUZZ_PROGRAM_H
#define WEIR_TESTS_FUZZ_PROGRAM_H

#include "tests/fuzz/wire_model.h"
#include "tests/unit/proto/native_fixture.h"

#define PROGRAM_FRAMES 64u
#define PROGRAM_BYTES (1u << 19)

struct program_frame {
    uint8_t wire_kind;
    uint16_t channel;
    uint32_t aux, len;
    size_t at;                   /* of its header, in the stream */
    struct weir_control control; /* of a control frame: what was asked to be written */
};

struct program {
    struct program_frame frames[PROGRAM_FRAMES];
    uint32_t frame_cnt;
    uint8_t *bytes;
    size_t len;
};

#define PROGRAM_PAYLOAD_MAX 65536u

/* Bytes without a pattern, which are made once; where in them a payload begins is the input's to say. */
static inline uint32_t program_payload(struct fuzz *fuzz, uint8_t *at, uint32_t len)
{
    static uint64_t noise[(PROGRAM_PAYLOAD_MAX + UINT8_MAX) / 8 + 1];
    static bool is_made;
    uint64_t state = 0;
    for (size_t i = 0; i < sizeof noise / sizeof noise[0] && !is_made; i++)
        noise[i] = fuzz_random(&state);
    is_made = true;
    memcpy(at, (const uint8_t *)noise + fuzz_u8(fuzz), len);
    return len;
}

static inline uint32_t program_len(struct fuzz *fuzz)
{
    uint8_t shape = fuzz_u8(fuzz);
    uint32_t len = shape < 128   ? shape
                   : shape < 250 ? 8u * (uint32_t)(shape - 100)
                   : shape < 253 ? 4093u + (uint32_t)(shape - 249)
                                 : 65533u + (uint32_t)(shape - 252);
    return len;
}

/* Up to 100 messages, as many as `len` has room for; the last one fills it. */
static inline uint32_t program_run(struct fuzz *fuzz, uint8_t *payload, uint32_t len,
                                   uint32_t *ret_cnt)
{
    uint8_t *at = payload, *end = payload + len;
    uint8_t bytes[UINT8_MAX];
    uint32_t cnt = 0;
    while ((size_t)(end - at) >= WEIR_RUN_PREFIX && cnt < 100) {
        uint32_t msg_len = fuzz_u8(fuzz);
        if (msg_len + WEIR_RUN_PREFIX > (size_t)(end - at))
            msg_len = (uint32_t)(end - at) - WEIR_RUN_PREFIX;
        memset(bytes, (int)cnt, msg_len);
        at = weir_run_put(at, bytes, (uint16_t)msg_len);
        cnt++;
    }
    *ret_cnt = cnt;
    return (uint32_t)(at - payload);
}

static inline void program_control(struct fuzz *fuzz, struct weir_control *ret_control,
                                   uint32_t kind)
{
    size_t len;
    const uint8_t *text;
    memset(ret_control, 0, sizeof *ret_control);
    ret_control->kind = (uint8_t)kind;
    switch ((enum weir_control_kind)kind) {
    case WEIR_CONTROL_PING:
    case WEIR_CONTROL_PONG:
        ret_control->value = fuzz_number(fuzz);
        break;
    case WEIR_CONTROL_CREDIT:
        ret_control->credit_cnt = 1 + fuzz_below(fuzz, WEIR_CHANNELS_MAX);
        for (uint32_t i = 0; i < ret_control->credit_cnt; i++) {
            ret_control->credits[i].channel = fuzz_u16(fuzz);
            ret_control->credits[i].limit = fuzz_number(fuzz);
        }
        break;
    case WEIR_CONTROL_GOODBYE:
        ret_control->reason = (uint16_t)(1 + fuzz_below(fuzz, WEIR_REASON_CNT - 1));
        text = fuzz_take(fuzz, fuzz_below(fuzz, WEIR_GOODBYE_TEXT_MAX + 1), &len);
        memcpy(ret_control->text, text, len); /* a NUL within ends it */
        break;
    case WEIR_CONTROL_REKEY: /* of version 2 */
        break;
    }
}

/* Adds one frame; false when there is no room for more. */
static inline bool program_add(struct program *program, struct fuzz *fuzz)
{
    size_t room = PROGRAM_BYTES - program->len;
    if (program->frame_cnt == PROGRAM_FRAMES || room < MODEL_HEAD + 65536)
        return false;
    struct program_frame *frame = &program->frames[program->frame_cnt++];
    uint8_t *head = program->bytes + program->len, *payload = head + MODEL_HEAD;
    *frame = (struct program_frame){.at = program->len};
    uint32_t op = fuzz_below(fuzz, 8);
    if (op >= 4) {
        program_control(fuzz, &frame->control, op - 3);
        frame->wire_kind = (uint8_t)(MODEL_PING + op - 4);
        frame->channel = MODEL_CONTROL;
        frame->len = CODEC->control_write(head, &frame->control) - MODEL_HEAD;
        program->len += MODEL_HEAD + frame->len;
        return true;
    }
    frame->channel = (uint16_t)(fuzz_u16(fuzz) % MODEL_CONTROL);
    uint32_t len = program_len(fuzz);
    switch (op) {
    case 0:
        frame->wire_kind = MODEL_RUN;
        frame->len = program_run(fuzz, payload, len < 2 ? 2 : len, &frame->aux);
        break;
    case 1:
        frame->wire_kind = MODEL_FIRST;
        frame->len = program_payload(fuzz, payload, len ? len : 1);
        frame->aux = frame->len + fuzz_below(fuzz, UINT32_MAX - 65536);
        break;
    case 2:
        frame->wire_kind = MODEL_MORE;
        frame->len = program_payload(fuzz, payload, len ? len : 1);
        frame->aux = 1 + fuzz_below(fuzz, UINT32_MAX);
        break;
    default:
        frame->wire_kind = (uint8_t)(MODEL_OPTIONAL | fuzz_u8(fuzz));
        frame->len = program_payload(fuzz, payload, len);
        frame->aux = (uint32_t)fuzz_uint(fuzz, 4);
        break;
    }
    CODEC->frame_head(head, frame->wire_kind, frame->channel, frame->aux, payload, frame->len);
    program->len += MODEL_HEAD + frame->len;
    return true;
}

/* The memory is the program's for the life of the process; the stream is only valid until the next. */
static inline void program_begin(struct program *ret_program)
{
    if (!ret_program->bytes)
        ret_program->bytes = malloc(PROGRAM_BYTES);
    FUZZ_CHECK(ret_program->bytes != NULL);
    ret_program->frame_cnt = 0;
    ret_program->len = 0;
}

/* A codec that has shaken hands; the dialer of the example takes frames of 64 KiB, the listener of 4. */
static inline void make_ready(struct end *ret_end, bool is_dialer)
{
    static struct end ready[2];
    if (!ready[is_dialer].is_ready)
        end_make_ready(&ready[is_dialer], is_dialer);
    /* Not the 8 KiB that its bytes waited in: nothing does any more. */
    memcpy(ret_end->state, ready[is_dialer].state, sizeof ret_end->state);
    ret_end->is_ready = true;
}

#endif
