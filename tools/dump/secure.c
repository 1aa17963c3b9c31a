#include "tools/dump/secure.h"

#include <string.h>

#include <weir/error.h>

#include "proto/native_bytes.h"
#include "proto/native_v2.h"

enum { PART_PREFACE, PART_FIRST_MESSAGE, PART_LAST_MESSAGE, PART_RECORDS };

bool secure_is(struct secure_stream *ret_stream, const uint8_t *data, size_t len)
{
    uint8_t preface[NATIVE_V2_ANSWER_BYTES];
    weir_native_preface_write(preface, true);
    if (len < NATIVE_V2_ANSWER_BYTES || memcmp(data, preface, NATIVE_MARK_AT) != 0)
        return false;
    uint8_t mark = data[NATIVE_MARK_AT];
    *ret_stream = (struct secure_stream){.is_dialer = mark == NATIVE_V2_MARK_DIALER};
    return mark == NATIVE_V2_MARK_DIALER || mark == NATIVE_V2_MARK_ANSWER ||
           mark == NATIVE_V2_MARK_REFUSAL || mark == NATIVE_V2_MARK_ASK ||
           mark == NATIVE_V2_MARK_AGAIN;
}

bool secure_is_sealed(const struct secure_stream *stream)
{
    bool has_last = stream->is_dialer && !stream->is_ik;
    return stream->part_idx >= (has_last ? PART_RECORDS : PART_LAST_MESSAGE);
}

static bool has_mark(const uint8_t *data, size_t len, uint8_t mark)
{
    uint8_t expected[NATIVE_V2_ANSWER_BYTES];
    weir_native_preface_write(expected, true);
    expected[NATIVE_V2_AT_MARK] = mark;
    return len >= sizeof(expected) && memcmp(data, expected, sizeof(expected)) == 0;
}

/* A listener's cookie, or its word that the dialer is to begin again, comes in place of its answer; what a dialer does then
 * begins where message 3 or the records would. Returns how many bytes of the beginning there are in front of a preface or
 * an answer that follows; -1: it is no such place. */
static int again(const struct secure_stream *stream, const uint8_t *data, size_t len)
{
    if (stream->is_dialer && stream->part_idx == PART_LAST_MESSAGE) {
        if (has_mark(data, len, NATIVE_V2_MARK_BACK))
            return (int)NATIVE_V2_ASK_BYTES;
        return has_mark(data, len, NATIVE_V2_MARK_DIALER) ? 0 : -1;
    }
    if (stream->is_dialer || stream->part_idx != PART_PREFACE)
        return -1;
    if (has_mark(data, len, NATIVE_V2_MARK_ASK))
        return (int)NATIVE_V2_ASK_BYTES;
    return has_mark(data, len, NATIVE_V2_MARK_AGAIN) ? (int)NATIVE_V2_ANSWER_BYTES : -1;
}

bool secure_next(struct secure_stream *stream, const uint8_t *data, size_t len,
                 struct secure_part *ret_part)
{
    int front = again(stream, data, len);
    if (front >= 0)
        stream->part_idx = PART_PREFACE;
    if (front > 0) {
        ret_part->what = front == (int)NATIVE_V2_ASK_BYTES ? "cookie" : "again";
        ret_part->len = (size_t)front;
        return len >= ret_part->len;
    }
    if (secure_is_sealed(stream))
        return false;
    switch (stream->part_idx) {
    case PART_PREFACE:
        ret_part->what = "preface";
        ret_part->len = NATIVE_V2_ANSWER_BYTES;
        if (stream->is_dialer)
            ret_part->len = NATIVE_V2_PREFACE_BYTES;
        else if (len >= NATIVE_V2_ANSWER_BYTES && data[NATIVE_MARK_AT] == NATIVE_V2_MARK_REFUSAL)
            ret_part->len = NATIVE_V2_ANSWER_BYTES + 2;
        break;
    default:
        if (len < NATIVE_V2_LENGTH_BYTES)
            return false;
        ret_part->what = stream->part_idx == PART_LAST_MESSAGE ? "message-3"
                         : stream->is_dialer                   ? "message-1"
                                                               : "message-2";
        ret_part->len = NATIVE_V2_LENGTH_BYTES + (size_t)weir_le16_get(data);
    }
    return len >= ret_part->len;
}

static int preface_show(struct secure_stream *stream, struct item *item, const uint8_t *data)
{
    static const char *const patterns[] = {"?", "XX", "XXpsk3", "IK", "IKpsk2"};
    static const char *const ciphers[] = {"ChaChaPoly", "AESGCM", "?"};
    item_text(item, "from", stream->is_dialer ? "dialer" : "listener");
    if (!stream->is_dialer && data[NATIVE_MARK_AT] == NATIVE_V2_MARK_REFUSAL) {
        item_text(item, "refused", weir_reason_name(weir_le16_get(data + NATIVE_V2_ANSWER_BYTES)));
        stream->part_idx = PART_RECORDS - 1;
        return 0;
    }
    if (!stream->is_dialer)
        return 0;
    uint8_t pattern = data[NATIVE_V2_AT_PATTERN], cipher = data[NATIVE_V2_AT_CIPHER];
    stream->is_ik = weir_v2_pattern_is_ik(pattern);
    item_count(item, "version-min", data[NATIVE_V2_AT_VERSION_MIN]);
    item_count(item, "version-max", data[NATIVE_V2_AT_VERSION_MAX]);
    item_text(item, "pattern", patterns[pattern <= NATIVE_V2_PATTERN_LAST ? pattern : 0]);
    item_text(item, "cipher", ciphers[cipher < WEIR_CIPHER_CNT ? cipher : WEIR_CIPHER_CNT]);
    return 0;
}

int secure_show(struct secure_stream *stream, const struct secure_part *part, struct item *item,
                const uint8_t *data)
{
    int reason = 0;
    if (strcmp(part->what, "cookie") == 0 || strcmp(part->what, "again") == 0) {
        item_text(item, "from", stream->is_dialer ? "dialer" : "listener");
        return 0;
    }
    if (stream->part_idx == PART_PREFACE)
        reason = preface_show(stream, item, data);
    stream->part_idx++;
    return reason;
}
