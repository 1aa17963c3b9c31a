/* Control frames: any payload under any kind is read as docs/wire.md says, and what was read can be written and
 * read again. The text of a goodbye is checked with a reader of UTF-8 of this file's own.
 *
 * input: kind, then the payload.
 */
#include "tests/fuzz/wire_model.h"
#include "tests/unit/proto/native_fixture.h"

/* The length of a character at the front of a text that must be clean, by RFC 3629, table "Syntax". */
static size_t clean_char(const uint8_t *at, size_t left)
{
#define TAIL(i) (left > (i) && at[i] >= 0x80 && at[i] <= 0xBF)
#define WITHIN(low, high) (left > 1 && at[1] >= (low) && at[1] <= (high))
    if (at[0] < 0x80)
        return at[0] >= 0x20 && at[0] != 0x7F;
    if (at[0] >= 0xC2 && at[0] <= 0xDF)
        return TAIL(1) && !(at[0] == 0xC2 && at[1] <= 0x9F) ? 2 : 0;
    if (at[0] >= 0xE0 && at[0] <= 0xEF) {
        bool is_second = at[0] == 0xE0   ? WITHIN(0xA0, 0xBF)
                         : at[0] == 0xED ? WITHIN(0x80, 0x9F)
                                         : TAIL(1);
        if (!is_second || !TAIL(2))
            return 0;
        /* E2 80 A8 .. AE and E2 81 A6 .. A9 turn text round or end lines. */
        bool is_turning = at[0] == 0xE2 && ((at[1] == 0x80 && at[2] >= 0xA8 && at[2] <= 0xAE) ||
                                            (at[1] == 0x81 && at[2] >= 0xA6 && at[2] <= 0xA9));
        return is_turning ? 0 : 3;
    }
    bool is_second = at[0] == 0xF0                    ? WITHIN(0x90, 0xBF)
                     : at[0] >= 0xF1 && at[0] <= 0xF3 ? TAIL(1)
                     : at[0] == 0xF4                  ? WITHIN(0x80, 0x8F)
                                                      : false;
    return is_second && TAIL(2) && TAIL(3) ? 4 : 0;
#undef TAIL
#undef WITHIN
}

static void text_is_clean(const char *text)
{
    size_t left = strlen(text);
    FUZZ_CHECK(left <= WEIR_GOODBYE_TEXT_MAX);
    for (const uint8_t *at = (const uint8_t *)text; left;) {
        size_t len = clean_char(at, left);
        FUZZ_CHECK(len != 0);
        at += len;
        left -= len;
    }
}

/* Each byte comes through, or is a '?': a receiver replaces byte by byte. */
static void text_is_of(const char *text, const uint8_t *bytes, size_t len)
{
    FUZZ_CHECK(strlen(text) == len);
    for (size_t i = 0; i < len;) {
        size_t char_len = clean_char(bytes + i, len - i);
        for (size_t k = 0; k < (char_len ? char_len : 1); k++)
            FUZZ_CHECK((uint8_t)text[i + k] == (char_len ? bytes[i + k] : '?'));
        i += char_len ? char_len : 1;
    }
}

static bool is_right(uint8_t kind, const uint8_t *payload, uint32_t len)
{
    bool is_good;
    switch (kind) {
    case MODEL_PING:
    case MODEL_PONG:
        return len == 8;
    case MODEL_CREDIT:
        is_good = len >= 12 && len <= 64 * 12 && len % 12 == 0;
        for (uint32_t i = 0; is_good && i < len; i += 12)
            is_good = model_uint(payload + i + 2, 2) == 0;
        return is_good;
    case MODEL_GOODBYE:
        return len >= 4 && model_uint(payload, 2) != 0 && model_uint(payload + 2, 2) <= 120 &&
               model_uint(payload + 2, 2) == len - 4;
    default:
        return false;
    }
}

static void control_is_right(const struct weir_control *control, uint8_t kind,
                             const uint8_t *payload, uint32_t len)
{
    FUZZ_CHECK(control->kind == kind - MODEL_PING + WEIR_CONTROL_PING);
    if (kind == MODEL_PING || kind == MODEL_PONG) {
        FUZZ_CHECK(control->value == model_uint(payload, 8));
    } else if (kind == MODEL_CREDIT) {
        FUZZ_CHECK(control->credit_cnt == len / 12);
        for (uint32_t i = 0; i < control->credit_cnt; i++) {
            FUZZ_CHECK(control->credits[i].channel == model_uint(payload + 12 * i, 2));
            FUZZ_CHECK(control->credits[i].limit == model_uint(payload + 12 * i + 4, 8));
        }
    } else {
        uint64_t reason = model_uint(payload, 2);
        FUZZ_CHECK(control->reason == (reason < WEIR_REASON_CNT ? reason : WEIR_R_APPLICATION));
        text_is_clean(control->text);
        text_is_of(control->text, payload + 4, len - 4);
    }
}

/* Writing what was read must give what is read again. */
static void write_again(const struct weir_control *control)
{
    uint8_t bytes[WEIR_CONTROL_OUT_MAX];
    uint32_t len = CODEC->control_write(bytes, control);
    FUZZ_CHECK(len >= MODEL_HEAD && len <= WEIR_CONTROL_OUT_MAX);
    struct model_frame frame = model_read(bytes, len, 4096);
    FUZZ_CHECK(frame.is_there && frame.is_sum_right && frame.len == len - MODEL_HEAD);
    FUZZ_CHECK(is_right(frame.kind, frame.payload, frame.len));
    control_is_right(control, frame.kind, frame.payload, frame.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size < 1 || size > 1 + 1024)
        return 0;
    /* Mostly one of the four, for their numbers are not easily guessed. */
    uint8_t kind = input[0] < 0xF0 ? (uint8_t)(MODEL_PING + input[0] % 4) : (uint8_t)(input[0] * 7);
    uint32_t len = (uint32_t)(size - 1);
    uint8_t *payload = fuzz_copy(input + 1, len);
    struct weir_frame frame = {.payload = payload,
                               .len = len,
                               .channel = MODEL_CONTROL,
                               .kind = WEIR_FRAME_CONTROL,
                               .wire_kind = kind};
    struct weir_control control;
    memset(&control, 0xA5, sizeof control);
    int reason = CODEC->control_read(&frame, &control);
    if (is_right(kind, payload, len)) {
        FUZZ_CHECK(reason == 0);
        control_is_right(&control, kind, payload, len);
        write_again(&control);
    } else {
        FUZZ_CHECK(reason == WEIR_R_BAD_CONTROL);
    }
    /* A sender's own text is cleaned too, whatever the application gave it. */
    struct weir_control bye;
    memset(&bye, 0, sizeof bye);
    bye.kind = WEIR_CONTROL_GOODBYE;
    bye.reason = WEIR_R_APPLICATION;
    memcpy(bye.text, payload, len < WEIR_GOODBYE_TEXT_MAX ? len : WEIR_GOODBYE_TEXT_MAX);
    uint8_t bytes[WEIR_CONTROL_OUT_MAX];
    uint32_t bye_len = CODEC->control_write(bytes, &bye);
    FUZZ_CHECK(bye_len >= MODEL_HEAD + 4);
    char text[WEIR_GOODBYE_TEXT_MAX + 1] = "";
    memcpy(text, bytes + MODEL_HEAD + 4, bye_len - MODEL_HEAD - 4);
    text_is_clean(text);
    free(payload);
    return 0;
}
