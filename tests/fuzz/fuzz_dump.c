/* `weir dump` on any bytes: what it prints is printable and counts what a model of docs/wire.md counts.
 *
 * input: options (enum model_repair, bit 3: --json), then the stream.
 */
#include "tests/fuzz/hello_model.h"
#include "tests/fuzz/streams.h"
#include "tools/dump/dump.h"

#define AS_JSON 8u

/* How far frames go, as the header alone tells: payloads may be wrong. */
static void count(const uint8_t *data, size_t len, struct dump_result *ret_result,
                  bool *ret_is_broken)
{
    size_t at = 0;
    memset(ret_result, 0, sizeof *ret_result);
    *ret_is_broken = false;
    if (len && !(len >= 4 && model_is_magic(data))) {
        bool is_dialer = len < 9 || data[8] != '!';
        *ret_is_broken = model_preface(data, len, is_dialer) != 0;
        if (*ret_is_broken || len < MODEL_PREFACE) {
            ret_result->rest_bytes = *ret_is_broken ? 0 : len;
            return;
        }
        at = MODEL_PREFACE;
    }
    for (;;) {
        struct model_frame frame = model_read(data + at, len - at, 65536);
        struct model_frame hello = model_read(data + at, len - at, 0);
        if (frame.kind == MODEL_HELLO)
            frame = hello;
        *ret_is_broken = frame.reason != 0;
        if (!frame.is_there)
            break;
        ret_result->frame_cnt++;
        ret_result->fault_cnt += !frame.is_sum_right; /* at least */
        at += MODEL_HEAD + frame.len;
    }
    ret_result->byte_cnt = at;
    ret_result->rest_bytes = *ret_is_broken ? 0 : len - at;
}

static void check_text(const char *text, size_t len, bool is_json, uint64_t line_min)
{
    uint64_t line_cnt = 0;
    for (size_t i = 0; i < len; i++) {
        bool is_end = text[i] == '\n';
        FUZZ_CHECK(is_end || ((uint8_t)text[i] >= 0x20 && (uint8_t)text[i] < 0x7F));
        line_cnt += is_end;
        if (is_json && (i == 0 || text[i - 1] == '\n'))
            FUZZ_CHECK(text[i] == '{');
        if (is_json && is_end)
            FUZZ_CHECK(i > 0 && text[i - 1] == '}');
    }
    FUZZ_CHECK(len == 0 || text[len - 1] == '\n');
    FUZZ_CHECK(line_cnt >= line_min && line_cnt <= line_min + 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct fuzz fuzz = fuzz_begin(input, size);
    uint8_t options = fuzz_u8(&fuzz);
    size_t len = fuzz.left;
    uint8_t *data = fuzz_copy(fuzz.at, len);
    size_t head = len > MODEL_PREFACE && data[0] == 0x89 ? MODEL_PREFACE : 0;
    model_repair(data + head, len - head, options);

    struct dump_result want, got;
    bool is_broken, is_output;
    count(data, len, &want, &is_broken);
    char *text = NULL;
    size_t text_len = 0;
    /* fmemopen takes no empty block. */
    FILE *in = len ? fmemopen(data, len, "rb") : fopen("/dev/null", "rb");
    FILE *out = open_memstream(&text, &text_len);
    FUZZ_CHECK(in && out);
    FUZZ_CHECK(dump_stream(in, out, options & AS_JSON, &got, &is_output) == 0 && !is_output);
    fclose(in);
    fclose(out);
    FUZZ_CHECK(got.frame_cnt == want.frame_cnt && got.byte_cnt == want.byte_cnt);
    FUZZ_CHECK(got.rest_bytes == want.rest_bytes);
    FUZZ_CHECK(got.fault_cnt >= want.fault_cnt + is_broken);
    FUZZ_CHECK(got.fault_cnt <= want.frame_cnt + is_broken);
    check_text(text, text_len, options & AS_JSON, got.frame_cnt);
    free(text);
    free(data);
    return 0;
}
