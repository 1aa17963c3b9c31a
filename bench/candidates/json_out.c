#include "bench/candidates/json_out.h"

#include <stdlib.h>

#include "weir/base.h"

void json_add(json_t *result, const char *name, double *values, int cnt, double unit)
{
    json_t *spread = json_object_get(result, "spread");

    json_object_set_new(result, name, json_real(median(values, cnt) * unit));
    if (spread == NULL) {
        spread = json_object();
        json_object_set_new(result, "spread", spread);
    }
    json_object_set_new(spread, name,
                        json_pack("[f, f]", values[0] * unit, values[cnt - 1] * unit));
}

static json_t *machine_of(const struct bench_machine *machine)
{
    return json_pack("{s:s, s:s, s:i, s:f, s:f, s:s, s:s?, s:s, s:s, s:s}", "kernel",
                     machine->kernel, "cpu", machine->cpu, "cores", machine->cores, "load_before",
                     machine->load_before, "load_after", machine->load_after, "weir",
                     weir_version(), "commit", machine->commit, "compiler", machine->compiler,
                     "flags", machine->flags, "hash", machine->hash);
}

bool json_write(FILE *file, const struct options *options, const char *congestion,
                struct bench_machine *machine, json_t *take_results)
{
    const struct group *group = options->group;
    json_t *out = bench_json_begin("candidates");
    bool is_lower = group == NULL || group->is_ping;

    machine->load_after = bench_machine_load();
    json_object_set_new(out, "group", json_string(options_group(options)));
    json_object_set_new(out, "inputs",
                        json_pack("{s:f, s:i, s:s?, s:s?}", "seconds", options->seconds, "repeat",
                                  options->repeat, "place",
                                  group == NULL      ? NULL
                                  : options->is_veth ? "veth"
                                                     : "loopback",
                                  "congestion", group == NULL ? NULL : congestion));
    json_object_set_new(out, "machine", machine_of(machine));
    json_object_set_new(out, "ratio_figure",
                        json_string(options->what == WHAT_HASH   ? "one_ns"
                                    : options->what == WHAT_GAPS ? "longest_ns"
                                    : options->what == WHAT_COPY ? "memcpy_ns"
                                    : is_lower                   ? "p50_ns"
                                                                 : "bytes_per_s"));
    json_object_set_new(out, "ratio_better", json_string(is_lower ? "lower" : "higher"));
    json_object_set_new(out, "results", take_results);
    bool is_written = json_dumpf(out, file, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) == 0 &&
                      fputc('\n', file) >= 0;
    json_decref(out);
    return fclose(file) == 0 && is_written;
}
