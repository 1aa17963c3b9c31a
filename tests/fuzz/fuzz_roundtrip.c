/* Whatever the codec writes, it reads: every frame of a program comes back as it was meant.
 *
 * input: split seed u16, then the operations of tests/fuzz/program.h.
 */
#include "tests/fuzz/program.h"

static void control_is_same(const struct weir_control *want, const struct weir_frame *frame)
{
    struct weir_control got;
    memset(&got, 0, sizeof got);
    FUZZ_CHECK(CODEC->control_read(frame, &got) == 0);
    FUZZ_CHECK(got.kind == want->kind && got.value == want->value && got.reason == want->reason);
    FUZZ_CHECK(got.credit_cnt == want->credit_cnt);
    for (uint32_t i = 0; i < want->credit_cnt; i++)
        FUZZ_CHECK(got.credits[i].channel == want->credits[i].channel &&
                   got.credits[i].limit == want->credits[i].limit);
    /* A text of printable ASCII comes through as it is; the rest is fuzz_control's business. */
    bool is_plain = true;
    for (const char *at = want->text; *at; at++)
        is_plain &= *at >= 0x20 && *at < 0x7F;
    if (is_plain)
        FUZZ_CHECK(strcmp(got.text, want->text) == 0);
}

static void run_is_same(const struct program_frame *want, const struct weir_frame *frame)
{
    const uint8_t *at = frame->payload;
    uint8_t meant[UINT8_MAX];
    FUZZ_CHECK(weir_run_check(frame->payload, frame->len, frame->aux, UINT16_MAX) == 0);
    for (uint32_t i = 0; i < want->aux; i++) {
        uint32_t len;
        const uint8_t *data = weir_run_next(&at, &len);
        memset(meant, (int)i, sizeof meant);
        FUZZ_CHECK(len <= sizeof meant && memcmp(data, meant, len) == 0);
    }
    FUZZ_CHECK(at == frame->payload + frame->len);
}

static void frame_is_same(const struct program *program, const struct program_frame *want,
                          const struct weir_frame *frame)
{
    FUZZ_CHECK(frame->fault == 0);
    FUZZ_CHECK(frame->wire_kind == want->wire_kind);
    FUZZ_CHECK(frame->channel == want->channel && frame->aux == want->aux);
    FUZZ_CHECK(frame->len == want->len);
    FUZZ_CHECK(memcmp(frame->payload, program->bytes + want->at + MODEL_HEAD, want->len) == 0);
    if (frame->kind == WEIR_FRAME_CONTROL)
        control_is_same(&want->control, frame);
    else if (frame->kind == WEIR_FRAME_RUN)
        run_is_same(want, frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    static struct program program;
    static struct end end;
    struct fuzz fuzz = fuzz_begin(input, size);
    uint64_t split = fuzz_u16(&fuzz);
    program_begin(&program);
    while (fuzz_has_more(&fuzz) && program_add(&program, &fuzz)) {
    }
    make_ready(&end, true);
    uint8_t *heard = fuzz_copy(program.bytes, program.len); /* what was meant stays beside it */
    size_t at = 0, have = 0;
    uint32_t idx = 0;
    while (have < program.len || at < have) {
        struct weir_frame frames[8];
        struct weir_feed feed;
        have += have < program.len ? fuzz_chunk(&split, program.len - have) : 0;
        uint8_t *window = fuzz_window(heard + at, have - at);
        CODEC->feed(end.state, window, have - at, frames, 8, &feed);
        CODEC->verify(frames, feed.frame_cnt);
        for (uint32_t i = 0; i < feed.frame_cnt; i++) {
            FUZZ_CHECK(idx < program.frame_cnt);
            frame_is_same(&program, &program.frames[idx++], &frames[i]);
        }
        fuzz_window_end(window);
        at += feed.consumed;
        FUZZ_CHECK(feed.consumed || have < program.len);
    }
    FUZZ_CHECK(idx == program.frame_cnt && at == program.len);
    free(heard);
    return 0;
}
