/* json_out.h: building and printing JSON. The only door to jansson in the tools.
 *
 * Every function takes NULL for a value, so that callers check once, at the end: json_out_print()
 * fails for a value that memory did not suffice for. A single member may be left out likewise.
 */
#ifndef JSON_OUT_H
#define JSON_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json_out; /* one value */

struct json_out *json_out_object(void);
struct json_out *json_out_array(void);

/* Each adds a member to an object. Text that is not UTF-8 has its odd bytes written as \xNN. */
void json_out_text(struct json_out *object, const char *key, const char *text);
void json_out_count(struct json_out *object, const char *key, uint64_t value);
void json_out_int(struct json_out *object, const char *key, int64_t value);
void json_out_real(struct json_out *object, const char *key, double value);
void json_out_bool(struct json_out *object, const char *key, bool value);

/* Adds a value to an object or to an array; `take` is consumed. */
void json_out_put(struct json_out *object, const char *key, struct json_out *take);
void json_out_push(struct json_out *array, struct json_out *take);

/* Prints a value and a newline (in one line, or indented), flushes, and consumes it.
 * Returns false when it could not be built or written. */
bool json_out_print(FILE *stream, struct json_out *take, bool is_indented);

#endif
