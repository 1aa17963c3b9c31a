/* bench/list_out.c: what there is to run, for programs: cases with their defaults, implementations with
 * the cases they know. */
#include "bench/json.h"
#include "bench/report.h"

static json_t *describe_case(uint32_t which)
{
    struct bench_options options = {.which = (enum bench_case)which};
    json_t *out = json_object(), *sizes = json_array(), *against = json_array();

    (void)bench_options_default(&options); /* the defaults are within the limits */
    enum bench_figure figure = bench_cases[which].main;
    for (uint32_t i = 0; i < options.size_cnt; i++)
        json_array_append_new(sizes, json_integer(options.sizes[i]));
    for (uint32_t i = 0; i < options.impl_cnt; i++)
        if (options.impls[i] != options.subject)
            json_array_append_new(against, json_string(options.impls[i]->name));
    json_object_set_new(out, "name", json_string(bench_case_names[which]));
    json_object_set_new(out, "text", json_string(bench_case_texts[which]));
    json_object_set_new(out, "figure", json_string(bench_figure_names[figure]));
    json_object_set_new(out, "better",
                        json_string(bench_figure_is_less_better(figure) ? "lower" : "higher"));
    json_object_set_new(out, "sizes", sizes);
    if (bench_cases[which].axis != BENCH_AXIS_NONE) {
        json_t *counts = json_array();
        for (uint32_t i = 0; i < options.count_cnt; i++)
            json_array_append_new(counts, json_integer(options.counts[i]));
        json_object_set_new(out, "axis", json_string(bench_axis_names[bench_cases[which].axis]));
        json_object_set_new(out, "counts", counts);
    }
    json_object_set_new(out, "seconds", json_real(options.seconds));
    json_object_set_new(out, "repeat", json_integer(options.repeat));
    json_object_set_new(out, "subject", json_string(options.subject->name));
    json_object_set_new(out, "against", against);
    return out;
}

static json_t *describe_impl(const struct bench_impl *impl)
{
    json_t *out = json_object(), *cases = json_array();

    for (uint32_t i = 0; i < BENCH_CASE_CNT; i++)
        if (impl->roles[i][BENCH_SENDER] != NULL)
            json_array_append_new(cases, json_string(bench_case_names[i]));
    json_object_set_new(out, "name", json_string(impl->name));
    json_object_set_new(out, "what", json_string(impl->what));
    json_object_set_new(out, "cases", cases);
    return out;
}

int bench_list_print(void)
{
    json_t *out = bench_json_begin("list"), *cases = json_array(), *impls = json_array();

    for (uint32_t i = 0; i < BENCH_CASE_CNT; i++)
        json_array_append_new(cases, describe_case(i));
    for (uint32_t i = 0; bench_impls[i] != NULL; i++)
        json_array_append_new(impls, describe_impl(bench_impls[i]));
    json_object_set_new(out, "cases", cases);
    json_object_set_new(out, "implementations", impls);
    return bench_json_end(out);
}
