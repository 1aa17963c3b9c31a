#include "tools/dump/item.h"

#include <inttypes.h>
#include <string.h>

#include <weir/error.h>

#define BYTES_MAX 255u

void item_begin(struct item *ret_item, FILE *out, bool is_json, uint64_t offset, const char *what,
                uint64_t len)
{
    *ret_item = (struct item){.out = out};
    if (!is_json) {
        fprintf(out, "%10" PRIu64 "  %-8s %6" PRIu64 " bytes", offset, what, len);
        return;
    }
    /* When memory is short this is NULL, and item_end says so. */
    ret_item->json = json_out_object();
    ret_item->is_failed = ret_item->json == NULL;
    json_out_count(ret_item->json, "offset", offset);
    json_out_text(ret_item->json, "what", what);
    json_out_count(ret_item->json, "bytes", len);
}

void item_count(struct item *item, const char *name, uint64_t value)
{
    if (item->json != NULL)
        json_out_count(item->json, name, value);
    else if (!item->is_failed)
        fprintf(item->out, "  %s %" PRIu64, name, value);
}

void item_text(struct item *item, const char *name, const char *text)
{
    if (item->json != NULL)
        json_out_text(item->json, name, text);
    else if (!item->is_failed)
        fprintf(item->out, "  %s \"%s\"", name, text);
}

void item_bits(struct item *item, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "0x%" PRIx64, value);
    item_text(item, name, text);
}

void item_bytes(struct item *item, const char *name, const uint8_t *bytes, size_t len)
{
    char text[4 * BYTES_MAX + 1];
    size_t at = 0;
    len = len < BYTES_MAX ? len : BYTES_MAX;
    for (size_t i = 0; i < len; i++) {
        /* The quote and the backslash too, so that a line can be read back. */
        bool is_plain = bytes[i] >= 0x20 && bytes[i] < 0x7F && bytes[i] != '"' && bytes[i] != '\\';
        if (is_plain)
            text[at++] = (char)bytes[i];
        else
            at += (size_t)snprintf(text + at, 5, "\\x%02x", bytes[i]);
    }
    text[at] = '\0';
    item_text(item, name, text);
}

void item_fault(struct item *item, int reason)
{
    if (item->json != NULL)
        json_out_text(item->json, "fault", weir_reason_name(reason));
    else if (!item->is_failed)
        fprintf(item->out, "  FAULT %s: %s", weir_reason_name(reason), weir_reason_text(reason));
}

bool item_end(struct item *item)
{
    if (item->is_failed)
        return false;
    if (item->json != NULL)
        return json_out_print(item->out, item->json, false);
    return fputc('\n', item->out) != EOF && ferror(item->out) == 0;
}
