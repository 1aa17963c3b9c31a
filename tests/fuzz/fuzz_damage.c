/* A valid stream in which bits were flipped on the way: nothing corrupt is delivered, and the fault is named.
 *
 * input: split seed u16, number of flips, six bytes for each (where, and which bits), then the operations of
 * tests/fuzz/program.h.
 *
 * Frames before the first damaged byte come through as they were. The frame that holds it is a fault: BAD_MAGIC
 * for its first four bytes, BAD_HEADER for the others of its header, BAD_CHECKSUM for its payload. (A sum of 64
 * bits that matches by chance is not expected in this universe.)
 */
#include "tests/fuzz/program.h"

#define FLIPS_MAX 8u

struct damage {
    uint32_t frame_idx; /* of the first damaged frame; frame_cnt: none is */
    uint16_t reason;
};

/* The first byte that differs decides; in a header, whether any of its magic does. */
static struct damage damage_of(const struct program *program, const uint8_t *damaged)
{
    for (uint32_t i = 0; i < program->frame_cnt; i++) {
        const struct program_frame *frame = &program->frames[i];
        const uint8_t *was = program->bytes + frame->at, *is = damaged + frame->at;
        if (memcmp(was, is, 4) != 0)
            return (struct damage){i, WEIR_R_BAD_MAGIC};
        if (memcmp(was, is, MODEL_HEAD) != 0)
            return (struct damage){i, WEIR_R_BAD_HEADER};
        if (memcmp(was, is, MODEL_HEAD + frame->len) != 0)
            return (struct damage){i, WEIR_R_BAD_CHECKSUM};
    }
    return (struct damage){program->frame_cnt, 0};
}

static void hear(const struct program *program, uint8_t *damaged, uint64_t split)
{
    static struct end end;
    struct damage damage = damage_of(program, damaged);
    make_ready(&end, true);
    size_t at = 0, have = 0;
    uint32_t idx = 0;
    uint16_t fault = 0;
    while (!fault && (have < program->len || at < have)) {
        struct weir_frame frames[8];
        struct weir_feed feed;
        have += have < program->len ? fuzz_chunk(&split, program->len - have) : 0;
        uint8_t *window = fuzz_window(damaged + at, have - at);
        CODEC->feed(end.state, window, have - at, frames, 8, &feed);
        CODEC->verify(frames, feed.frame_cnt);
        for (uint32_t i = 0; i < feed.frame_cnt && !fault; i++) {
            fault = frames[i].fault; /* the first one ends the connection */
            if (fault)
                break;
            FUZZ_CHECK(idx < damage.frame_idx);
            const struct program_frame *want = &program->frames[idx++];
            FUZZ_CHECK(frames[i].wire_kind == want->wire_kind && frames[i].len == want->len &&
                       frames[i].channel == want->channel && frames[i].aux == want->aux);
            FUZZ_CHECK(
                memcmp(frames[i].payload, program->bytes + want->at + MODEL_HEAD, want->len) == 0);
        }
        fuzz_window_end(window);
        at += feed.consumed;
        FUZZ_CHECK(fault || feed.consumed || have < program->len);
    }
    FUZZ_CHECK(idx == damage.frame_idx);
    FUZZ_CHECK(fault == damage.reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    static struct program program;
    struct fuzz fuzz = fuzz_begin(input, size);
    uint64_t split = fuzz_u16(&fuzz);
    uint32_t flip_cnt = fuzz_below(&fuzz, FLIPS_MAX + 1);
    struct fuzz flips = fuzz;
    size_t skipped;
    fuzz_take(&fuzz, (size_t)flip_cnt * 6, &skipped);
    program_begin(&program);
    while (fuzz_has_more(&fuzz) && program_add(&program, &fuzz)) {
    }
    uint8_t *damaged = fuzz_copy(program.bytes, program.len);
    for (uint32_t i = 0; i < flip_cnt && program.len; i++) {
        /* Half of them within the first frames' headers: payloads are most of the bytes. */
        uint8_t shape = fuzz_u8(&flips);
        uint32_t where = (uint32_t)fuzz_uint(&flips, 4);
        size_t at = shape & 1 ? where % program.len
                              : program.frames[where % program.frame_cnt].at + (where >> 8) % 32;
        damaged[at] ^= fuzz_u8(&flips);
    }
    hear(&program, damaged, 0);
    hear(&program, damaged, split);
    free(damaged);
    return 0;
}
