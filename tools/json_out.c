#include "json_out.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* struct json_out is never defined: it is json_t by another name, so that no other file of the tools
 * needs jansson's header. */
static json_t *inside(struct json_out *value)
{
    return (json_t *)value;
}

static struct json_out *outside(json_t *value)
{
    return (struct json_out *)value;
}

struct json_out *json_out_object(void)
{
    return outside(json_object());
}

struct json_out *json_out_array(void)
{
    return outside(json_array());
}

/* A copy in which every byte outside of ASCII is written as \xNN: for text that is not UTF-8. */
static json_t *escaped(const char *text)
{
    static const char digits[] = "0123456789abcdef";
    char *copy = malloc(4 * strlen(text) + 1);
    if (copy == NULL)
        return NULL;
    size_t at = 0;
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte < 0x80) {
            copy[at++] = *c;
            continue;
        }
        copy[at++] = '\\';
        copy[at++] = 'x';
        copy[at++] = digits[byte >> 4];
        copy[at++] = digits[byte & 15];
    }
    copy[at] = '\0';
    json_t *value = json_string(copy);
    free(copy);
    return value;
}

static void set(struct json_out *object, const char *key, json_t *value)
{
    json_object_set_new(inside(object), key, value);
}

void json_out_text(struct json_out *object, const char *key, const char *text)
{
    json_t *value = json_string(text);
    set(object, key, value != NULL ? value : escaped(text));
}

void json_out_count(struct json_out *object, const char *key, uint64_t value)
{
    set(object, key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

void json_out_int(struct json_out *object, const char *key, int64_t value)
{
    set(object, key, json_integer(value));
}

void json_out_real(struct json_out *object, const char *key, double value)
{
    set(object, key, json_real(value));
}

void json_out_bool(struct json_out *object, const char *key, bool value)
{
    set(object, key, json_boolean(value));
}

void json_out_put(struct json_out *object, const char *key, struct json_out *take)
{
    set(object, key, inside(take));
}

void json_out_push(struct json_out *array, struct json_out *take)
{
    json_array_append_new(inside(array), inside(take));
}

bool json_out_print(FILE *stream, struct json_out *take, bool is_indented)
{
    json_t *value = inside(take);
    size_t flags = JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9);
    flags |= is_indented ? JSON_INDENT(2) : JSON_COMPACT;
    /* Dumped first and written by one call, so that lines of several threads do not mix. */
    char *text = value != NULL ? json_dumps(value, flags) : NULL;
    json_decref(value);
    if (text == NULL)
        return false;
    bool is_written = fprintf(stream, "%s\n", text) >= 0 && fflush(stream) == 0;
    free(text);
    return is_written;
}
