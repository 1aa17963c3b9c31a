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
           mark == NATIVE_V2_MARK_REFUSAL || mark == NATIVE_V2_MARK_ASK;
}

bool secure_is_sealed(const struct secure_stream *stream)
{
    return stream->part_idx >= (stream->is_dialer ? PART_RECORDS : PART_LAST_MESSAGE);
}

/* A listener's cookie comes in place of its answer; a dialer's in place of message 3, and preface and message 1 once
 * more behind it. */
static bool is_cookie(const struct secure_stream *stream, const uint8_t *data, size_t len)
{
    uint8_t mark[NATIVE_V2_ANSWER_BYTES];
    if (stream->has_cookie || len < sizeof(mark) ||
        stream->part_idx != (stream->is_dialer ? PART_LAST_MESSAGE : PART_PREFACE))
        return false;
    weir_native_preface_write(mark, true);
    mark[NATIVE_V2_AT_MARK] = stream->is_dialer ? NATIVE_V2_MARK_BACK : NATIVE_V2_MARK_ASK;
    return memcmp(data, mark, sizeof(mark)) == 0;
}

bool secure_next(const struct secure_stream *stream, const uint8_t *data, size_t len,
                 struct secure_part *ret_part)
{
    if (secure_is_sealed(stream))
        return false;
    if (is_cookie(stream, data, len)) {
        ret_part->what = "cookie";
        ret_part->len = NATIVE_V2_ASK_BYTES;
        return len >= ret_part->len;
    }
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
    static const char *const patterns[] = {"?", "XX", "XXpsk3"};
    static const char *const ciphers[] = {"ChaChaPoly", "AESGCM", "?"};
    item_text(item, "from", stream->is_dialer ? "dialer" : "listener");
    if (data[NATIVE_MARK_AT] == NATIVE_V2_MARK_REFUSAL) {
        item_text(item, "refused", weir_reason_name(weir_le16_get(data + NATIVE_V2_ANSWER_BYTES)));
        stream->part_idx = PART_RECORDS - 1;
        return 0;
    }
    if (!stream->is_dialer)
        return 0;
    uint8_t pattern = data[NATIVE_V2_AT_PATTERN], cipher = data[NATIVE_V2_AT_CIPHER];
    item_count(item, "version-min", data[NATIVE_V2_AT_VERSION_MIN]);
    item_count(item, "version-max", data[NATIVE_V2_AT_VERSION_MAX]);
    item_text(item, "pattern", patterns[pattern <= NATIVE_V2_XXPSK3 ? pattern : 0]);
    item_text(item, "cipher", ciphers[cipher < WEIR_CIPHER_CNT ? cipher : WEIR_CIPHER_CNT]);
    return 0;
}

int secure_show(struct secure_stream *stream, struct item *item, const uint8_t *data)
{
    int reason = 0;
    if (is_cookie(stream, data, NATIVE_V2_ASK_BYTES)) {
        item_text(item, "from", stream->is_dialer ? "dialer" : "listener");
        stream->has_cookie = true;
        stream->part_idx = PART_PREFACE;
        return 0;
    }
    if (stream->part_idx == PART_PREFACE)
        reason = preface_show(stream, item, data);
    stream->part_idx++;
    return reason;
}
