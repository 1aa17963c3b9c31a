/* sim_run.h: seeds in processes of their own, so that one that crashes is found and named. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/prove/prove.h"

/* How a seed ended: as its result says, or by a crash. */
struct sim_outcome {
    uint64_t seed;
    struct prove_result res;
};

struct sim_totals {
    uint64_t seeds, virtual_ns, turns, sent, delivered, links, secure_links, crashes, twice;
    uint64_t hash;    /* the sum of their hashes: equal where all of them ran the same way */
    uint32_t classes; /* that were on in some run */
};

/* Runs one seed in a child. `trace_cnt`: the last lines of its trace are printed to standard output. */
int sim_run_one(const struct prove_config *cfg, uint32_t trace_cnt,
                struct sim_outcome *ret_outcome);

/* Called now and then while seeds run. */
typedef void (*sim_progress)(void *ctx, const struct sim_totals *totals);

/* Runs seeds (`seeds`, or from cfg->seed on where it is NULL) in `job_cnt` processes. Each 50th runs twice,
 * and must run the same. From cfg->seed on it goes on behind `seed_cnt` until they make `virtual_ns` of virtual time.
 * Returns 1 when all are fine, 0 when one failed (the first to be heard of), or a negative errno. */
int sim_run_many(const struct prove_config *cfg, const uint64_t *seeds, uint64_t seed_cnt,
                 uint64_t virtual_ns, uint32_t job_cnt, sim_progress progress, void *ctx,
                 struct sim_totals *ret_totals, struct sim_outcome *ret_failed);

/* Told of each thing that was turned off, and whether the same oracle found something without it. */
typedef void (*sim_minimised)(void *ctx, const char *what, bool is_same);

/* Turns encryption and fault classes off, one by one and again until nothing more can go, as long as the same oracle
 * finds something, in this seed or one of the next. Returns what is left, and a seed that fails with it: without any of
 * its classes none was found. */
struct prove_config sim_minimise(const struct prove_config *cfg, const struct sim_outcome *failed,
                                 sim_minimised minimised, void *ctx);

#endif
