/* secure.h: what a captured stream of version 2 shows without its keys: who began, with what, and how long the
 * messages of the handshake are. Inside tools/dump only. */
#ifndef DUMP_SECURE_H
#define DUMP_SECURE_H

#include <stdbool.h>

#include "tools/dump/item.h"

struct secure_stream {
    bool is_dialer; /* which direction it is */
    bool is_ik;     /* the latest preface was of a pattern with two messages */
    uint8_t part_idx;
};

struct secure_part {
    const char *what;
    size_t len;
};

/* Whether a stream that begins with these bytes is of version 2. */
bool secure_is(struct secure_stream *ret_stream, const uint8_t *data, size_t len);

/* Finds the part of the handshake at the front. Returns false when it is cut, or when records follow. */
bool secure_next(struct secure_stream *stream, const uint8_t *data, size_t len,
                 struct secure_part *ret_part);

/* Adds what it says and goes on to the next. Returns 0 or what is wrong with it. */
int secure_show(struct secure_stream *stream, const struct secure_part *part, struct item *item,
                const uint8_t *data);

/* Whether all parts have passed, and what follows are records. */
bool secure_is_sealed(const struct secure_stream *stream);

#endif
