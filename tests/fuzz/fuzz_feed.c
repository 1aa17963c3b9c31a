/* Frames after the handshake, decoded in one piece and in arbitrary pieces.
 *
 * input: options (enum model_repair, bit 3: small frames), split seed u16, then the stream.
 *
 * Both ways the codec must yield what the model reads: the same frames, then the same fault, and nothing
 * after it. No feed may ask for a byte that it does not need, nor stand still.
 */
#include "tests/fuzz/program.h"

#define SMALL_FRAMES 8u
#define FRAMES_MAX 16u

struct stream {
    const uint8_t *data;
    size_t len;
    uint32_t frame_bytes_max;
};

/* Checks one decoded frame against what the model reads at `at`; returns false at a fault. */
static bool frame_is_right(const struct stream *stream, size_t *at, const struct weir_frame *frame)
{
    struct model_frame model =
        model_read(stream->data + *at, stream->len - *at, stream->frame_bytes_max);
    if (frame->kind == WEIR_FRAME_FAULT) {
        FUZZ_CHECK(model.reason != 0 && frame->fault == model.reason);
        return false;
    }
    FUZZ_CHECK(model.is_there);
    FUZZ_CHECK(frame->wire_kind == model.kind && frame->channel == model.channel);
    FUZZ_CHECK(frame->len == model.len && frame->aux == model.aux);
    FUZZ_CHECK(memcmp(frame->payload, model.payload, model.len) == 0);
    FUZZ_CHECK(frame->fault == (model.is_sum_right ? 0 : WEIR_R_BAD_CHECKSUM));
    uint8_t kind = model.kind <= MODEL_MORE      ? model.kind
                   : model.kind <= MODEL_GOODBYE ? (uint8_t)WEIR_FRAME_CONTROL
                                                 : (uint8_t)WEIR_FRAME_SKIP;
    FUZZ_CHECK(frame->kind == kind);
    *at += MODEL_HEAD + model.len;
    return true;
}

/* What a feed says of the bytes that it leaves. */
static void rest_is_right(const struct stream *stream, size_t at, size_t end,
                          const struct weir_feed *feed)
{
    struct model_frame model = model_read(stream->data + at, end - at, stream->frame_bytes_max);
    size_t have = end - at;
    FUZZ_CHECK(!model.is_there && model.reason == 0);
    FUZZ_CHECK(feed->has_partial == model.is_head_there);
    FUZZ_CHECK(feed->need == (have < 4            ? 4
                              : have < MODEL_HEAD ? MODEL_HEAD
                                                  : MODEL_HEAD + (size_t)model.len));
    if (feed->has_partial)
        FUZZ_CHECK(feed->partial.len == model.len && feed->partial.wire_kind == model.kind &&
                   feed->partial_head == MODEL_HEAD);
}

static void decode(const struct stream *stream, uint64_t split)
{
    static struct end end;
    make_ready(&end, stream->frame_bytes_max == 65536);
    struct weir_frame frames[FRAMES_MAX];
    size_t at = 0, have = 0;
    bool is_broken = false;
    while (have < stream->len || at < have) {
        have += have < stream->len ? fuzz_chunk(&split, stream->len - have) : 0;
        size_t len = have - at;
        uint8_t *window = fuzz_copy(stream->data + at, len);
        uint32_t frame_max = 1 + (uint32_t)(split % FRAMES_MAX);
        struct weir_feed feed;
        CODEC->feed(end.state, window, len, frames, frame_max, &feed);
        CODEC->verify(frames, feed.frame_cnt);
        FUZZ_CHECK(feed.consumed <= len && feed.frame_cnt <= frame_max);
        FUZZ_CHECK(feed.is_ready && feed.fault == 0);
        FUZZ_CHECK(!is_broken || (feed.frame_cnt == 0 && feed.consumed == len));
        size_t model_at = at;
        for (uint32_t i = 0; i < feed.frame_cnt; i++) {
            FUZZ_CHECK(!is_broken);
            is_broken = !frame_is_right(stream, &model_at, &frames[i]);
        }
        at += feed.consumed;
        if (!is_broken) {
            FUZZ_CHECK(at == model_at);
            if (feed.frame_cnt < frame_max) /* otherwise that is what ended it */
                rest_is_right(stream, at, have, &feed);
        } else {
            FUZZ_CHECK(at == have);
        }
        free(window);
        if (feed.consumed == 0 && have == stream->len)
            break;
    }
    /* What is left at the end is no frame, or not all of one. */
    struct model_frame last =
        model_read(stream->data + at, stream->len - at, stream->frame_bytes_max);
    FUZZ_CHECK(is_broken || (!last.is_there && last.reason == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct fuzz fuzz = fuzz_begin(input, size);
    uint8_t options = fuzz_u8(&fuzz);
    uint64_t split = 1 + (uint64_t)fuzz_u16(&fuzz);
    uint8_t *data = fuzz_copy(fuzz.at, fuzz.left);
    model_repair(data, fuzz.left, options);
    struct stream stream = {
        .data = data, .len = fuzz.left, .frame_bytes_max = options & SMALL_FRAMES ? 4096 : 65536};
    decode(&stream, 0);
    decode(&stream, split);
    free(data);
    return 0;
}
