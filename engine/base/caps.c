#include "engine/base/caps.h"

#include <string.h>

#include "weir/error.h"

#define NAMES_MAX (WEIR_CAPS_BYTES / 2)

bool weir_cap_is_good(const char *name, size_t len)
{
    if (len == 0 || len > WEIR_CAP_BYTES_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return true;
}

static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order ? order : a_len < b_len ? -1 : a_len > b_len;
}

/* Bytes up to the next comma or the end. */
static size_t name_len(const char *at, const char *end)
{
    const char *comma = memchr(at, ',', (size_t)(end - at));
    return (size_t)((comma ? comma : end) - at);
}

bool weir_caps_is_good(const char *text, size_t len)
{
    if (len == 0)
        return true;
    if (len >= WEIR_CAPS_BYTES)
        return false;
    const char *end = text + len, *was = NULL;
    size_t was_len = 0;
    for (const char *at = text;;) {
        size_t own = name_len(at, end);
        if (!weir_cap_is_good(at, own) || (was && compare(was, was_len, at, own) >= 0))
            return false;
        if (at + own == end)
            return true;
        was = at;
        was_len = own;
        at += own + 1;
    }
}

int weir_caps_parse(char ret_caps[WEIR_CAPS_BYTES], const char *text)
{
    const char *names[NAMES_MAX];
    size_t lens[NAMES_MAX], cnt = 0, total = 0;
    const char *end = text + strlen(text);
    for (const char *at = text; text[0];) {
        size_t own = name_len(at, end);
        if (!weir_cap_is_good(at, own))
            return WEIR_E_CONFIG;
        size_t place = 0;
        while (place < cnt && compare(names[place], lens[place], at, own) < 0)
            place++;
        bool is_there = place < cnt && compare(names[place], lens[place], at, own) == 0;
        if (!is_there) {
            total += own + (cnt > 0);
            if (total >= WEIR_CAPS_BYTES)
                return WEIR_E_CONFIG;
            memmove(names + place + 1, names + place, (cnt - place) * sizeof(names[0]));
            memmove(lens + place + 1, lens + place, (cnt - place) * sizeof(lens[0]));
            names[place] = at;
            lens[place] = own;
            cnt++;
        }
        if (at + own == end)
            break;
        at += own + 1;
    }
    memset(ret_caps, 0, WEIR_CAPS_BYTES);
    char *to = ret_caps;
    for (size_t i = 0; i < cnt; i++) {
        if (i)
            *to++ = ',';
        memcpy(to, names[i], lens[i]);
        to += lens[i];
    }
    return 0;
}

bool weir_caps_has(const char *caps, const char *name)
{
    const char *end = caps + strlen(caps);
    size_t len = strlen(name);
    for (const char *at = caps; len && at < end;) {
        size_t own = name_len(at, end);
        if (own == len && memcmp(at, name, len) == 0)
            return true;
        at += own + 1;
    }
    return false;
}
