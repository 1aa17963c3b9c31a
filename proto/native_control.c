#include "proto/native_wire.h"

#include <string.h>

#include "engine/base/check.h"
#include "proto/native_bytes.h"

/* ---- the text of a goodbye ----------------------------------------------------------------------- */

/* Returns the length of the UTF-8 character at `at` (RFC 3629: no overlong forms, no surrogates), 0 if
 * there is none, and its number. */
static size_t utf8_char(const uint8_t *at, size_t len, uint32_t *ret_char)
{
    uint8_t lead = at[0];
    size_t char_len = lead < 0x80   ? 1
                      : lead < 0xC2 ? 0
                      : lead < 0xE0 ? 2
                      : lead < 0xF0 ? 3
                      : lead < 0xF5 ? 4
                                    : 0;
    if (char_len == 0 || char_len > len)
        return 0;
    uint32_t value = char_len == 1 ? lead : lead & (0x7Fu >> char_len);
    for (size_t i = 1; i < char_len; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (at[i] & 0x3F);
    }
    if ((char_len == 3 && value < 0x800) || (char_len == 4 && value < 0x10000))
        return 0;
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return 0;
    *ret_char = value;
    return char_len;
}

/* Characters that would let a peer write its own lines into somebody's log or terminal, or turn round
 * the ones that are there. */
static bool is_printable(uint32_t value)
{
    return value >= 0x20 && !(value >= 0x7F && value <= 0x9F) &&
           !(value >= 0x2028 && value <= 0x202E) && !(value >= 0x2066 && value <= 0x2069);
}

/* Copies what fits of `text`, each byte of anything unprintable as '?'. Never cuts a character in two
 * and never writes more than `cap` bytes; returns how many. */
static size_t text_clean(char *ret_text, size_t cap, const uint8_t *text, size_t len)
{
    size_t out = 0;
    for (size_t at = 0; at < len && out < cap;) {
        uint32_t value;
        size_t char_len = utf8_char(text + at, len - at, &value);
        if (char_len == 0 || (char_len == 1 && !is_printable(value))) {
            ret_text[out++] = '?';
            at += 1;
        } else if (!is_printable(value)) {
            for (size_t i = 0; i < char_len && out < cap; i++)
                ret_text[out++] = '?';
            at += char_len;
        } else {
            if (char_len > cap - out)
                break;
            memcpy(ret_text + out, text + at, char_len);
            out += char_len;
            at += char_len;
        }
    }
    return out;
}

/* ---- writing ------------------------------------------------------------------------------------- */

uint32_t weir_native_control_payload(uint8_t *ret_payload, uint8_t *ret_kind,
                                     const struct weir_control *control)
{
    uint8_t *payload = ret_payload;
    uint8_t kind = 0;
    uint32_t len = 0;

    enum weir_control_kind what = (enum weir_control_kind)control->kind;

    switch (what) { /* GCOVR_EXCL_BR_LINE: another one is stopped below */
    case WEIR_CONTROL_PING:
    case WEIR_CONTROL_PONG:
        kind = control->kind == WEIR_CONTROL_PING ? NATIVE_PING : NATIVE_PONG;
        weir_le64_put(payload, control->value);
        len = 8;
        break;
    case WEIR_CONTROL_CREDIT:
        /* The count sizes the write below. */
        WEIR_CHECK(control->credit_cnt >= 1 && control->credit_cnt <= WEIR_CHANNELS_MAX);
        kind = NATIVE_CREDIT;
        for (uint32_t i = 0; i < control->credit_cnt; i++, len += NATIVE_CREDIT_BYTES) {
            weir_le16_put(payload + len, control->credits[i].channel);
            weir_le16_put(payload + len + 2, 0);
            weir_le64_put(payload + len + 4, control->credits[i].limit);
        }
        break;
    case WEIR_CONTROL_GOODBYE: {
        kind = NATIVE_GOODBYE;
        size_t text_len = text_clean((char *)payload + NATIVE_GOODBYE_FIXED, WEIR_GOODBYE_TEXT_MAX,
                                     (const uint8_t *)control->text,
                                     strnlen(control->text, sizeof control->text));
        weir_le16_put(payload, control->reason);
        weir_le16_put(payload + 2, (uint16_t)text_len);
        len = NATIVE_GOODBYE_FIXED + (uint32_t)text_len;
        break;
    }
    case WEIR_CONTROL_REKEY:
        kind = NATIVE_REKEY;
        break;
    }
    WEIR_CHECK(kind != 0);
    *ret_kind = kind;
    return len;
}

uint32_t weir_native_control_write(uint8_t *ret_bytes, const struct weir_control *control)
{
    uint8_t *payload = ret_bytes + WEIR_NATIVE_HEAD;
    uint8_t kind;
    uint32_t len = weir_native_control_payload(payload, &kind, control);
    weir_native_frame_head(ret_bytes, kind, NATIVE_CHANNEL_CONTROL, 0, payload, len);
    return WEIR_NATIVE_HEAD + len;
}

/* ---- reading ------------------------------------------------------------------------------------- */

static int credit_read(const struct weir_frame *frame, struct weir_control *ret_control)
{
    uint32_t credit_cnt = frame->len / NATIVE_CREDIT_BYTES;
    if (credit_cnt == 0 || credit_cnt > WEIR_CHANNELS_MAX ||
        credit_cnt * NATIVE_CREDIT_BYTES != frame->len)
        return WEIR_R_BAD_CONTROL;
    for (uint32_t i = 0; i < credit_cnt; i++) {
        if (weir_le16_get(frame->payload + i * NATIVE_CREDIT_BYTES + 2) != 0)
            return WEIR_R_BAD_CONTROL;
    }
    for (uint32_t i = 0; i < credit_cnt; i++) {
        const uint8_t *entry = frame->payload + i * NATIVE_CREDIT_BYTES;
        ret_control->credits[i].channel = weir_le16_get(entry);
        ret_control->credits[i].limit = weir_le64_get(entry + 4);
    }
    ret_control->kind = WEIR_CONTROL_CREDIT;
    ret_control->credit_cnt = credit_cnt;
    return 0;
}

static int goodbye_read(const struct weir_frame *frame, struct weir_control *ret_control)
{
    if (frame->len < NATIVE_GOODBYE_FIXED)
        return WEIR_R_BAD_CONTROL;
    uint16_t reason = weir_le16_get(frame->payload);
    uint16_t text_len = weir_le16_get(frame->payload + 2);
    if (reason == WEIR_R_NONE || text_len > WEIR_GOODBYE_TEXT_MAX ||
        text_len != frame->len - NATIVE_GOODBYE_FIXED)
        return WEIR_R_BAD_CONTROL;
    /* A later weir may have later reasons. Here they are one that is known, so that no counter and no
     * table is ever indexed by what a peer says. */
    if (reason >= WEIR_REASON_CNT)
        reason = WEIR_R_APPLICATION;
    size_t clean_len = text_clean(ret_control->text, WEIR_GOODBYE_TEXT_MAX,
                                  frame->payload + NATIVE_GOODBYE_FIXED, text_len);
    ret_control->text[clean_len] = '\0';
    ret_control->kind = WEIR_CONTROL_GOODBYE;
    ret_control->reason = reason;
    return 0;
}

int weir_native_control_read(const struct weir_frame *frame, struct weir_control *ret_control)
{
    switch (frame->wire_kind) {
    case NATIVE_PING:
    case NATIVE_PONG:
        if (frame->len != 8)
            return WEIR_R_BAD_CONTROL;
        ret_control->kind = frame->wire_kind == NATIVE_PING ? WEIR_CONTROL_PING : WEIR_CONTROL_PONG;
        ret_control->value = weir_le64_get(frame->payload);
        return 0;
    case NATIVE_CREDIT:
        return credit_read(frame, ret_control);
    case NATIVE_GOODBYE:
        return goodbye_read(frame, ret_control);
    default:
        return WEIR_R_BAD_CONTROL;
    }
}
