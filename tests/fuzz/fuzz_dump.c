/* `weir dump` on any bytes: what it prints is printable and counts what a model of docs/wire.md counts.
 *
 * input: options (enum model_repair, bit 3: --json), then the stream.
 */
#include "tests/fuzz/hello_model.h"
#include "tests/fuzz/streams.h"
#include "tools/dump/dump.h"

#define AS_JSON 8u

/* Version 2 shows its parts from outside (docs/wire-v2.md): a preface, one or two messages with a length in front,
 * and all behind them as records. Returns whether it is that; `*ret_part_cnt` is how many whole parts there are. */
static bool count_secure(const uint8_t *data, size_t len, struct dump_result *ret_result,
                         uint64_t *ret_part_cnt)
{
    static const uint8_t magic[8] = {0x89, 'W', 'E', 'I', 'R', 0x0D, 0x0A, 0x1A};
    memset(ret_result, 0, sizeof *ret_result);
    *ret_part_cnt = 0;
    if (len < 9 || memcmp(data, magic, 8) != 0 || !memchr("Ssn", data[8], 3))
        return false;
    size_t at = data[8] == 'S' ? 16 : data[8] == 's' ? 9 : 11;
    uint32_t message_cnt = data[8] == 'S' ? 2 : data[8] == 's' ? 1 : 0;
    bool is_cut = at > len;
    if (is_cut)
        at = 0;
    *ret_part_cnt = !is_cut;
    for (uint32_t i = 0; i < message_cnt && !is_cut; i++) {
        size_t need = len - at < 2 ? 2 : 2u + data[at] + 256u * data[at + 1];
        is_cut = len - at < need;
        at += is_cut ? 0 : need;
        *ret_part_cnt += !is_cut;
    }
    ret_result->byte_cnt = is_cut ? at : len;
    ret_result->rest_bytes = len - ret_result->byte_cnt;
    return true;
}

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
    bool is_broken = false, is_output;
    uint64_t part_cnt;
    bool is_secure = count_secure(data, len, &want, &part_cnt);
    if (!is_secure)
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
    check_text(text, text_len, options & AS_JSON, is_secure ? part_cnt : got.frame_cnt);
    free(text);
    free(data);
    return 0;
}
