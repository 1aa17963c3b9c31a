/* item.h: one thing in a stream on its way out, as a line of text or as JSON. Inside tools/dump only. */
#ifndef DUMP_ITEM_H
#define DUMP_ITEM_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tools/json_out.h"

struct item {
    FILE *out;
    struct json_out *json; /* NULL: text */
    bool is_failed;        /* to be written */
};

/* Begins an item at `offset` of the stream, called `what`, of `len` bytes. */
void item_begin(struct item *ret_item, FILE *out, bool is_json, uint64_t offset, const char *what,
                uint64_t len);

/* Each adds a member: "name value" in a line, a field in JSON. */
void item_count(struct item *item, const char *name, uint64_t value);
/* A number of 64 bits, of which JSON readers lose some: as a text, 0x2a. */
void item_bits(struct item *item, const char *name, uint64_t value);
void item_text(struct item *item, const char *name, const char *text);
/* Bytes of a peer: those that are not printable ASCII as \xNN. At most 255 are taken. */
void item_bytes(struct item *item, const char *name, const uint8_t *bytes, size_t len);
/* A fault, by its reason. */
void item_fault(struct item *item, int reason);

/* Ends the line. Returns whether all of it could be written. */
bool item_end(struct item *item);

#endif
