/* bench/candidates/json_out.h: what weir-candidates saw, as one document (docs/bench.md, bench/schema.json). */
#ifndef WEIR_BENCH_CANDIDATES_JSON_OUT_H
#define WEIR_BENCH_CANDIDATES_JSON_OUT_H

#include "bench/candidates/options.h"
#include "bench/json.h"
#include "bench/machine.h"

/* A number of a result: its median, and in `spread` under the same name the least and the greatest. `values`, which are put in
 * order, are `cnt`, and are multiplied by `unit`. */
void json_add(json_t *result, const char *name, double *values, int cnt, double unit);

/* Writes the document and drops `take_results`. Returns whether that could be done. */
bool json_write(FILE *file, const struct options *options, const char *congestion,
                struct bench_machine *machine, json_t *take_results);

#endif
