/* `weir dump` on any bytes: what it prints is printable and counts what a model of docs/wire.md counts.
 *
 * input: options (enum model_repair, bit 3: --json), then the stream.
 */
#include "tests/fuzz/hello_model.h"
#include "tests/fuzz/streams.h"
#include "tools/dump/dump.h"

#define AS_JSON 8u

static bool is_mark(const uint8_t *data, size_t len, const char *marks)
{
    static const uint8_t magic[8] = {0x89, 'W', 'E', 'I', 'R', 0x0D, 0x0A, 0x1A};
    return len >= 9 && memcmp(data, magic, 8) == 0 && data[8] && strchr(marks, data[8]);
}

/* How long a preface or what answers it is; 0: that is not known yet. */
static size_t preface_len(const uint8_t *data, size_t len, bool is_dialer)
{
    if (len < 9)
        return 0;
    return is_dialer ? 16 : data[8] == 'n' ? 11 : 9;
}

static size_t message_len(const uint8_t *data, size_t len)
{
    return len < 2 ? 0 : 2u + data[0] + 256u * data[1];
}

/* How many bytes of a cookie or of "again" are in front of a preface or answer here; -1: none may begin here. */
static int again(const uint8_t *data, size_t len, bool is_dialer, uint32_t part)
{
    if (is_dialer && part == 2)
        return is_mark(data, len, "C") ? 41 : is_mark(data, len, "S") ? 0 : -1;
    if (is_dialer || part != 0)
        return -1;
    return is_mark(data, len, "c") ? 41 : is_mark(data, len, "x") ? 9 : -1;
}

/* Version 2 shows its parts from outside (docs/wire-v2.md): a preface or an answer, messages with a length in front (a
 * dialer's two, or one of pattern IK; a listener's one), and all behind them as records. Each of them may begin again, with a
 * cookie in front or for another pattern. Returns whether it is that; `*ret_part_cnt` is how many whole parts there are. */
static bool count_secure(const uint8_t *data, size_t len, struct dump_result *ret_result,
                         uint64_t *ret_part_cnt)
{
    memset(ret_result, 0, sizeof *ret_result);
    *ret_part_cnt = 0;
    if (!is_mark(data, len, "Ssncx"))
        return false;
    bool is_dialer = data[8] == 'S', is_cut = false;
    uint32_t part = 0, part_cnt = is_dialer ? 3 : 2;
    size_t at = 0;
    while (!is_cut) {
        int front = again(data + at, len - at, is_dialer, part);
        if (front >= 0)
            part = 0;
        if (front <= 0 && part == part_cnt)
            break;
        size_t need = front > 0   ? (size_t)front
                      : part == 0 ? preface_len(data + at, len - at, is_dialer)
                                  : message_len(data + at, len - at);
        is_cut = need == 0 || need > len - at;
        if (is_cut)
            break;
        if (front <= 0 && part == 0 && is_dialer)
            part_cnt = data[at + 11] == 3 || data[at + 11] == 4 ? 2 : 3;
        if (front <= 0 && part == 0 && need == 11) /* a refusal: nothing follows it */
            part_cnt = 1;
        at += need;
        ++*ret_part_cnt;
        part += front <= 0;
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
