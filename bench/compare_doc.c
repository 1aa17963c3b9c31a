#include "bench/compare.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define PLACE_BYTES 200u

/* Where the reader is, for what it says when something is wrong there. */
struct reader {
    struct compare_doc *doc;
    char *text;
    size_t text_len;
    char place[PLACE_BYTES]; /* "cases[2].results[0]" */
};

/* Writes "FILE: PLACE: ..." and returns -1. */
__attribute__((format(printf, 2, 3))) static int wrong(struct reader *reader, const char *format,
                                                       ...)
{
    va_list args;
    int at = snprintf(reader->text, reader->text_len, "%s: %s%s", reader->doc->path, reader->place,
                      reader->place[0] != 0 ? ": " : "");

    if (at >= 0 && (size_t)at < reader->text_len) {
        va_start(args, format);
        vsnprintf(reader->text + at, reader->text_len - (size_t)at, format, args);
        va_end(args);
    }
    return -1;
}

/* ---- figures ------------------------------------------------------------------------------------- */

static bool is_figure(const json_t *value)
{
    return json_is_number(value) && isfinite(json_number_value(value)) &&
           json_number_value(value) >= 0;
}

/* A member of `spread` must be [least, most] around the figure of that name. */
static int check_spread(struct reader *reader, const json_t *result, const char *name,
                        const json_t *pair)
{
    const json_t *median = json_object_get(result, name);
    const json_t *least = json_array_get(pair, 0), *most = json_array_get(pair, 1);

    if (!json_is_array(pair) || json_array_size(pair) != 2 || !is_figure(least) || !is_figure(most))
        return wrong(reader, "spread.%.60s is not [least, most]", name);
    if (!is_figure(median))
        return wrong(reader, "%.60s is not a number of 0 or more", name);
    if (json_number_value(least) > json_number_value(median) ||
        json_number_value(median) > json_number_value(most))
        return wrong(reader, "%.60s is outside of its spread", name);
    return 0;
}

bool compare_row_figure(const struct compare_row *row, const char *figure,
                        struct compare_value *ret_value)
{
    const json_t *pair = json_object_get(json_object_get(row->result, "spread"), figure);

    if (pair == NULL)
        return false;
    *ret_value = (struct compare_value){
        .median = json_number_value(json_object_get(row->result, figure)),
        .least = json_number_value(json_array_get(pair, 0)),
        .most = json_number_value(json_array_get(pair, 1)),
    };
    return true;
}

/* ---- what a row is ------------------------------------------------------------------------------- */

/* Members of a result that are sums or sayings; everything else without a spread is a parameter. */
static bool is_parameter(const json_t *result, const char *name, const json_t *value)
{
    static const char *const others[] = {"impl",          "note",         "msgs_sent",
                                         "msgs_received", "msgs_lost",    "msgs_out_of_order",
                                         "ratio_to",      "ratio_spread", "spread"};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(name, others[i]) == 0)
            return false;
    return (json_is_integer(value) || json_is_string(value) || json_is_boolean(value)) &&
           json_object_get(json_object_get(result, "spread"), name) == NULL;
}

/* Inputs that may differ between documents that are compared: how long, how often, and the lists from
 * which each result takes one value. */
static bool is_context(const char *name, const json_t *value)
{
    static const char *const others[] = {"seconds", "warmup_seconds", "repeat", "against"};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(name, others[i]) == 0)
            return false;
    return !json_is_array(value) || json_is_object(json_array_get(value, 0));
}

/* "case {inputs} {parameters}", members in the order of their names. */
static char *make_key(const char *case_name, const json_t *inputs, const json_t *result)
{
    json_t *all = json_object(), *context = json_object(), *parameters = json_object();
    const char *name;
    json_t *value;

    json_object_set_new(all, "case", json_string(case_name));
    json_object_foreach((json_t *)inputs, name, value) if (is_context(name, value))
        json_object_set(context, name, value);
    json_object_foreach((json_t *)result, name, value) if (is_parameter(result, name, value))
        json_object_set(parameters, name, value);
    json_object_set_new(all, "inputs", context);
    json_object_set_new(all, "parameters", parameters);
    char *key = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(all);
    return key;
}

__attribute__((format(printf, 3, 4))) static void append(char *text, size_t len, const char *format,
                                                         ...)
{
    size_t at = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(text + at, len - at, format, args);
    va_end(args);
}

static void append_size(char *text, size_t len, json_int_t size)
{
    if (size >= 1024 * 1024 && size % (1024 * 1024) == 0)
        append(text, len, " %lld MiB", (long long)(size / (1024 * 1024)));
    else if (size >= 1024 && size % 1024 == 0)
        append(text, len, " %lld KiB", (long long)(size / 1024));
    else
        append(text, len, " %lld B", (long long)size);
}

static void append_channels(char *text, size_t len, const json_t *channels)
{
    if (json_array_size(channels) < 2)
        return;
    for (size_t i = 0; i < json_array_size(channels); i++) {
        const json_t *channel = json_array_get(channels, i);
        const char *class = json_string_value(json_object_get(channel, "class"));
        append(text, len, "%c", i == 0 ? ' ' : ':');
        if (class != NULL && strcmp(class, "urgent") == 0)
            append(text, len, "urgent");
        else
            append(text, len, "%lld",
                   (long long)json_integer_value(json_object_get(channel, "weight")));
    }
}

/* "throughput 64 B", and what is not as usual. */
static char *make_label(const char *case_name, const json_t *inputs, const json_t *result)
{
    const char *congestion = json_string_value(json_object_get(inputs, "congestion"));
    const char *name;
    json_t *value;
    char text[256];

    snprintf(text, sizeof(text), "%.60s", case_name);
    append_size(text, sizeof(text), json_integer_value(json_object_get(result, "size")));
    json_object_foreach((json_t *)result, name, value) if (json_is_integer(value) &&
                                                           strcmp(name, "size") != 0 &&
                                                           is_parameter(result, name, value))
        append(text, sizeof(text), " %.30s %lld", name, (long long)json_integer_value(value));
    append_channels(text, sizeof(text), json_object_get(inputs, "channels"));
    if (congestion != NULL && strcmp(congestion, "cubic") != 0)
        append(text, sizeof(text), " %.20s", congestion);
    if (json_is_true(json_object_get(inputs, "busy")))
        append(text, sizeof(text), " busy");
    if (json_is_true(json_object_get(inputs, "mixed")))
        append(text, sizeof(text), " mixed");
    if (json_is_integer(json_object_get(inputs, "recv_buffer")))
        append(text, sizeof(text), " recv_buffer %lld",
               (long long)json_integer_value(json_object_get(inputs, "recv_buffer")));
    return strdup(text);
}

/* ---- reading ------------------------------------------------------------------------------------- */

static int read_result(struct reader *reader, const json_t *doc, const json_t *result)
{
    struct compare_doc *out = reader->doc;
    const json_t *inputs = json_object_get(doc, "inputs");
    const char *case_name = json_string_value(json_object_get(doc, "case"));
    const char *main_figure = json_string_value(json_object_get(doc, "ratio_figure"));
    const char *impl = json_string_value(json_object_get(result, "impl"));
    const json_t *spread = json_object_get(result, "spread");
    const char *name;
    json_t *pair;

    if (!json_is_object(result))
        return wrong(reader, "not an object");
    if (impl == NULL)
        return wrong(reader, "'impl' is missing or no text");
    if (!json_is_integer(json_object_get(result, "size")))
        return wrong(reader, "'size' is missing or no whole number");
    if (!json_is_object(spread))
        return wrong(reader, "'spread' is missing or no object");
    json_object_foreach((json_t *)spread, name,
                        pair) if (check_spread(reader, result, name, pair) != 0) return -1;
    if (json_object_get(spread, main_figure) == NULL)
        return wrong(reader, "the figure to compare by, '%.60s', is missing", main_figure);
    if (out->row_cnt == COMPARE_ROWS_MAX)
        return wrong(reader, "more than %u results", COMPARE_ROWS_MAX);

    struct compare_row *row = &out->rows[out->row_cnt];
    *row = (struct compare_row){
        .case_name = case_name,
        .impl = impl,
        .key = make_key(case_name, inputs, result),
        .label = make_label(case_name, inputs, result),
        .result = result,
        .main_figure = main_figure,
        .is_main_less_better =
            strcmp(json_string_value(json_object_get(doc, "ratio_better")), "lower") == 0,
        .repeat = (uint32_t)json_integer_value(json_object_get(inputs, "repeat")),
    };
    out->row_cnt++; /* freed with the document from here on */
    if (row->key == NULL || row->label == NULL)
        return wrong(reader, "out of memory");
    for (uint32_t i = 0; i + 1 < out->row_cnt; i++)
        if (strcmp(out->rows[i].key, row->key) == 0 && strcmp(out->rows[i].impl, impl) == 0)
            return wrong(reader, "%.30s in %.60s is there twice", impl, row->label);
    return 0;
}

/* "schema" must be ours: another number means that members have another meaning. */
static int check_schema(struct reader *reader, const json_t *doc)
{
    const json_t *schema = json_object_get(doc, "schema");

    if (!json_is_object(doc))
        return wrong(reader, "not an object");
    if (!json_is_integer(schema))
        return wrong(reader, "not a document of weir-bench: 'schema' is missing or no number");
    if (json_integer_value(schema) != BENCH_SCHEMA)
        return wrong(reader, "its schema is %lld, this weir-bench reads %d",
                     (long long)json_integer_value(schema), BENCH_SCHEMA);
    return 0;
}

static int read_case(struct reader *reader, const json_t *doc)
{
    const json_t *inputs = json_object_get(doc, "inputs"), *results;
    const json_t *repeat = json_object_get(inputs, "repeat");
    const char *better = json_string_value(json_object_get(doc, "ratio_better"));
    size_t at = strlen(reader->place);

    if (check_schema(reader, doc) != 0)
        return -1;
    if (!json_is_string(json_object_get(doc, "case")))
        return wrong(reader, "'case' is missing or no text");
    if (!json_is_integer(repeat) || json_integer_value(repeat) < 1 ||
        json_integer_value(repeat) > 1000000)
        return wrong(reader, "'inputs.repeat' is missing or no number of 1 or more");
    if (!json_is_string(json_object_get(doc, "ratio_figure")))
        return wrong(reader, "'ratio_figure' is missing or no text");
    if (better == NULL || (strcmp(better, "higher") != 0 && strcmp(better, "lower") != 0))
        return wrong(reader, "'ratio_better' is neither 'higher' nor 'lower'");
    results = json_object_get(doc, "results");
    if (!json_is_array(results))
        return wrong(reader, "'results' is missing or no array");
    if (reader->doc->machine == NULL)
        reader->doc->machine = json_object_get(doc, "machine");
    for (size_t i = 0; i < json_array_size(results); i++) {
        snprintf(reader->place + at, sizeof(reader->place) - at, "%sresults[%zu]",
                 at != 0 ? "." : "", i);
        if (read_result(reader, doc, json_array_get(results, i)) != 0)
            return -1;
    }
    reader->place[at] = 0;
    return 0;
}

static int read_all(struct reader *reader)
{
    const json_t *root = reader->doc->root, *cases = json_object_get(root, "cases");
    const char *kind = json_string_value(json_object_get(root, "kind"));

    if (check_schema(reader, root) != 0)
        return -1;
    if (kind == NULL || strcmp(kind, "case") == 0)
        return read_case(reader, root);
    if (strcmp(kind, "suite") != 0)
        return wrong(reader, "its kind is '%.40s': 'suite' or 'case' is needed", kind);
    if (!json_is_array(cases))
        return wrong(reader, "'cases' is missing or no array");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        snprintf(reader->place, sizeof(reader->place), "cases[%zu]", i);
        if (read_case(reader, json_array_get(cases, i)) != 0)
            return -1;
    }
    reader->place[0] = 0;
    return 0;
}

int compare_doc_load(struct compare_doc *ret_doc, const char *path, char *ret_text, size_t len)
{
    struct reader reader = {.doc = ret_doc, .text = ret_text, .text_len = len};
    json_error_t error;

    *ret_doc = (struct compare_doc){.path = path};
    ret_doc->rows = calloc(COMPARE_ROWS_MAX, sizeof(*ret_doc->rows));
    if (ret_doc->rows == NULL)
        return wrong(&reader, "out of memory");
    ret_doc->root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (ret_doc->root == NULL) {
        if (error.line < 0) /* it was not even opened: the text names the file */
            return wrong(&reader, "%s", error.text);
        return wrong(&reader, "not JSON: line %d: %s", error.line, error.text);
    }
    if (read_all(&reader) != 0)
        return -1;
    return ret_doc->row_cnt > 0 ? 0 : wrong(&reader, "it has no results");
}

void compare_doc_free(struct compare_doc *doc)
{
    for (uint32_t i = 0; i < doc->row_cnt; i++) {
        free(doc->rows[i].key);
        free(doc->rows[i].label);
    }
    free(doc->rows);
    json_decref(doc->root);
}
