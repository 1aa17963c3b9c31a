/* bench/json.h: the one door to jansson, and what all documents of weir-bench have in common. */
#ifndef WEIR_BENCH_JSON_H
#define WEIR_BENCH_JSON_H

#include <jansson.h>
#include <stdio.h>

/* Of every document, bench/schema.json: another number when old readers would misread new documents. */
#define BENCH_SCHEMA 1

/* Begins a document of a kind: "case", "compare", "list". */
static inline json_t *bench_json_begin(const char *kind)
{
    return json_pack("{s:i, s:s}", "schema", BENCH_SCHEMA, "kind", kind);
}

/* Prints a document on standard output and drops it. Returns 0, or -1 when it is NULL or could not be
 * written. */
static inline int bench_json_end(json_t *take)
{
    if (take == NULL)
        return -1;
    int error = json_dumpf(take, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(take);
    putchar('\n');
    return error != 0 || fflush(stdout) != 0 ? -1 : 0;
}

#endif
