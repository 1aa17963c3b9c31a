/* bench/candidates/options.h: the command line of weir-candidates. */
#ifndef WEIR_BENCH_CANDIDATES_OPTIONS_H
#define WEIR_BENCH_CANDIDATES_OPTIONS_H

#include "bench/candidates/candidates.h"

#define REPEAT_MAX 99

enum what { WHAT_GROUP, WHAT_HASH, WHAT_GAPS, WHAT_COPY };

struct options {
    enum what what;
    const struct group *group; /* WHAT_GROUP's */
    double seconds;
    int repeat;
    bool is_veth;
    const char *json_path; /* NULL: no document is asked for */
};

enum parsed { PARSED_GO, PARSED_STOP_OK, PARSED_STOP_USAGE };

/* The name that was asked for. */
const char *options_group(const struct options *options);

/* Says itself what is wrong, and what is allowed. `*ret_options` is set with PARSED_GO alone. */
enum parsed options_parse(struct options *ret_options, int argc, char **argv);

#endif
