#include "proto/pex.h"

#include <string.h>

#include "engine/base/check.h"
#include "proto/native_bytes.h"

#define ABOUT_HEAD 12u
#define ASK_HEAD 8u
#define ANSWER_HEAD 8u
#define RECORD_HEAD 8u

/* ---- writing ------------------------------------------------------------------------------- */

static size_t ip_bytes(uint8_t family)
{
    return family == WEIR_ADDR_IPV4 ? 4 : family == WEIR_ADDR_IPV6 ? 16 : 0;
}

static size_t put_text(uint8_t *at, const char *text)
{
    size_t len = strlen(text);
    memcpy(at, text, len);
    return len;
}

/* A record: family, length of the capabilities, port, age, address, capabilities. */
static size_t put_record(uint8_t *at, const struct weir_place *place, uint32_t age_s,
                         const char *caps)
{
    size_t ip_len = ip_bytes(place->family);
    at[0] = place->family;
    at[1] = (uint8_t)strlen(caps);
    weir_le16_put(at + 2, place->port);
    weir_le32_put(at + 4, age_s);
    memcpy(at + RECORD_HEAD, place->ip, ip_len);
    return RECORD_HEAD + ip_len + put_text(at + RECORD_HEAD + ip_len, caps);
}

size_t weir_pex_put_about(const struct weir_pex_about *about, uint8_t *ret_bytes)
{
    ret_bytes[0] = WEIR_PEX_ABOUT;
    ret_bytes[1] = 0;
    weir_le16_put(ret_bytes + 2, (uint16_t)about->flags);
    weir_le64_put(ret_bytes + 4, about->nonce);
    struct weir_place place = about->place;
    if (ip_bytes(place.family) == 0)
        place = (struct weir_place){.port = about->port};
    return ABOUT_HEAD + put_record(ret_bytes + ABOUT_HEAD, &place, 0, about->caps);
}

size_t weir_pex_put_ask(const struct weir_pex_ask *ask, uint8_t *ret_bytes)
{
    ret_bytes[0] = WEIR_PEX_ASK;
    ret_bytes[1] = (uint8_t)strlen(ask->cap);
    weir_le16_put(ret_bytes + 2, ask->place_max);
    weir_le32_put(ret_bytes + 4, ask->id);
    return ASK_HEAD + put_text(ret_bytes + ASK_HEAD, ask->cap);
}

size_t weir_pex_put_answer(const struct weir_pex_answer *answer, uint8_t *ret_bytes)
{
    ret_bytes[0] = WEIR_PEX_ANSWER;
    ret_bytes[1] = 0;
    weir_le16_put(ret_bytes + 2, answer->record_cnt);
    weir_le32_put(ret_bytes + 4, answer->id);
    size_t len = ANSWER_HEAD;
    for (uint32_t i = 0; i < answer->record_cnt; i++) {
        const struct weir_pex_record *record = &answer->records[i];
        len += put_record(ret_bytes + len, &record->place, record->age_s, record->caps);
    }
    WEIR_DCHECK(len <= WEIR_PEX_BYTES_MAX);
    return len;
}

/* ---- reading ------------------------------------------------------------------------------- */

enum weir_pex_kind weir_pex_kind(const uint8_t *bytes, size_t len)
{
    if (len == 0 || bytes[0] == 0)
        return WEIR_PEX_MALFORMED;
    return bytes[0] <= WEIR_PEX_ANSWER ? (enum weir_pex_kind)bytes[0] : WEIR_PEX_OTHER;
}

/* Takes a record from `*at` on, which moves behind it. Without an address only in an about. */
static bool get_record(const uint8_t **at, const uint8_t *end, bool may_be_none,
                       struct weir_pex_record *ret_record)
{
    if ((size_t)(end - *at) < RECORD_HEAD)
        return false;
    const uint8_t *head = *at;
    size_t ip_len = ip_bytes(head[0]), caps_len = head[1];
    bool is_none = head[0] == WEIR_ADDR_NONE && may_be_none;
    if ((ip_len == 0 && !is_none) || (size_t)(end - *at) < RECORD_HEAD + ip_len + caps_len)
        return false;
    const char *caps = (const char *)head + RECORD_HEAD + ip_len;
    if (!weir_caps_is_good(caps, caps_len))
        return false;
    *ret_record =
        (struct weir_pex_record){.place = {.family = head[0], .port = weir_le16_get(head + 2)},
                                 .age_s = weir_le32_get(head + 4)};
    memcpy(ret_record->place.ip, head + RECORD_HEAD, ip_len);
    memcpy(ret_record->caps, caps, caps_len);
    *at += RECORD_HEAD + ip_len + caps_len;
    return true;
}

bool weir_pex_get_about(const uint8_t *bytes, size_t len, struct weir_pex_about *ret_about)
{
    struct weir_pex_record record;
    const uint8_t *at = bytes + ABOUT_HEAD, *end = bytes + len;
    if (len < ABOUT_HEAD || !get_record(&at, end, true, &record) || at != end)
        return false;
    *ret_about = (struct weir_pex_about){.flags = weir_le16_get(bytes + 2),
                                         .nonce = weir_le64_get(bytes + 4),
                                         .port = record.place.port,
                                         .place = record.place};
    if (weir_place_kind(&record.place) == WEIR_PLACE_UNUSABLE)
        ret_about->place = (struct weir_place){0};
    memcpy(ret_about->caps, record.caps, sizeof(record.caps));
    return true;
}

bool weir_pex_get_ask(const uint8_t *bytes, size_t len, struct weir_pex_ask *ret_ask)
{
    if (len < ASK_HEAD || len != ASK_HEAD + bytes[1])
        return false;
    uint16_t place_max = weir_le16_get(bytes + 2);
    const char *cap = (const char *)bytes + ASK_HEAD;
    if (place_max == 0 || place_max > WEIR_PEX_PLACES_MAX ||
        (bytes[1] && !weir_cap_is_good(cap, bytes[1])))
        return false;
    *ret_ask = (struct weir_pex_ask){.id = weir_le32_get(bytes + 4), .place_max = place_max};
    memcpy(ret_ask->cap, cap, bytes[1]);
    return true;
}

bool weir_pex_get_answer(const uint8_t *bytes, size_t len, struct weir_pex_answer *ret_answer)
{
    if (len < ANSWER_HEAD)
        return false;
    uint16_t cnt = weir_le16_get(bytes + 2);
    const uint8_t *at = bytes + ANSWER_HEAD, *end = bytes + len;
    if (cnt > WEIR_PEX_PLACES_MAX)
        return false;
    ret_answer->id = weir_le32_get(bytes + 4);
    ret_answer->record_cnt = 0;
    for (uint32_t i = 0; i < cnt; i++) {
        struct weir_pex_record *record = &ret_answer->records[ret_answer->record_cnt];
        if (!get_record(&at, end, false, record))
            return false;
        if (weir_place_kind(&record->place) != WEIR_PLACE_UNUSABLE)
            ret_answer->record_cnt++;
    }
    return at == end;
}
