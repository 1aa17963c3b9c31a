/* engine/node/text.h: a text that grows up to a bound.
 *
 * What does not fit, or cannot be allocated, is left out and noted in `is_short`: the caller looks once, at the end.
 */
#ifndef WEIR_ENGINE_NODE_TEXT_H
#define WEIR_ENGINE_NODE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_text {
    char *data; /* NUL behind `len` bytes, or NULL */
    size_t len, cap;
    size_t max; /* of `len` */
    bool is_short;
};

/* Starts empty; weir_text_free ends it. */
void weir_text_init(struct weir_text *text, size_t max);
void weir_text_free(struct weir_text *text);

void weir_text_add(struct weir_text *text, const char *bytes, size_t len);
void weir_text_put(struct weir_text *text, const char *string);
void weir_text_number(struct weir_text *text, uint64_t value);
/* Nanoseconds as seconds: "0.000025". */
void weir_text_seconds(struct weir_text *text, uint64_t ns);

/* Writes a label's value into `ret_text` of `size` bytes, as the exposition format wants it: backslash, quote and newline
 * escaped, and what is not printable ASCII as a question mark. Cut where it does not fit. */
void weir_text_label(char *ret_text, size_t size, const char *value);

#endif
