#include "engine/node/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/mem/heap.h"

#define FIRST_BYTES 16384u

void weir_text_init(struct weir_text *text, size_t max)
{
    *text = (struct weir_text){.max = max};
}

void weir_text_free(struct weir_text *text)
{
    weir_heap_release(text->data);
    *text = (struct weir_text){0};
}

/* Makes room for `len` bytes and a NUL. */
static bool grow(struct weir_text *text, size_t len)
{
    if (text->is_short || len > text->max - text->len)
        return false;
    size_t need = text->len + len + 1;
    if (need <= text->cap)
        return true;
    size_t cap = text->cap ? text->cap : FIRST_BYTES;
    while (cap < need)
        cap *= 2;
    char *data = weir_heap_alloc_raw(NULL, cap);
    if (!data)
        return false;
    if (text->len)
        memcpy(data, text->data, text->len);
    weir_heap_release(text->data);
    text->data = data;
    text->cap = cap;
    return true;
}

void weir_text_add(struct weir_text *text, const char *bytes, size_t len)
{
    if (!grow(text, len)) {
        text->is_short = true;
        return;
    }
    memcpy(text->data + text->len, bytes, len);
    text->len += len;
    text->data[text->len] = '\0';
}

void weir_text_put(struct weir_text *text, const char *string)
{
    weir_text_add(text, string, strlen(string));
}

void weir_text_number(struct weir_text *text, uint64_t value)
{
    char digits[24];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    weir_text_add(text, digits + at, sizeof(digits) - at);
}

void weir_text_seconds(struct weir_text *text, uint64_t ns)
{
    char digits[32];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64 ".%09" PRIu64, ns / 1000000000u,
                       ns % 1000000000u);
    while (digits[len - 1] == '0')
        len--;
    if (digits[len - 1] == '.')
        len--;
    weir_text_add(text, digits, (size_t)len);
}

void weir_text_label(char *ret_text, size_t size, const char *value)
{
    size_t at = 0;
    for (; *value && at + 3 <= size; value++) {
        unsigned char byte = (unsigned char)*value;
        if (byte == '\\' || byte == '"' || byte == '\n') {
            ret_text[at++] = '\\';
            ret_text[at++] = byte == '\n' ? 'n' : (char)byte;
        } else {
            /* Bytes above 0x7E could be anything but UTF-8, and one of them would spoil the whole page. */
            ret_text[at++] = byte < 0x20 || byte > 0x7E ? '?' : (char)byte;
        }
    }
    ret_text[at] = '\0';
}
