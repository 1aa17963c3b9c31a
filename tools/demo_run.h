/* demo_run.h: one run of the demo as the parent sees it, and the two ways of showing it. */
#ifndef DEMO_RUN_H
#define DEMO_RUN_H

#include <stdio.h>

#include "demo.h"
#include "demo_process.h"
#include "secure_options.h"

struct demo_run {
    uint32_t node_cnt;
    uint64_t seconds;
    const char *directory;
    const char *out;        /* NULL: received files stay in memory */
    const char *congestion; /* NULL: the system's */
    struct secure_options
        secure; /* policy and cipher; each node has a key of its own for the run */
    struct demo_slot *slots;
    struct demo_process processes[DEMO_NODES_MAX];
    weir_ns go_ns, stop_ns, done_ns; /* 0: not yet */
};

/* Bytes of one channel (index into demo_channels) that all nodes have received. */
uint64_t demo_run_bytes(const struct demo_run *run, size_t channel_idx);
uint64_t demo_run_msgs(const struct demo_run *run, size_t channel_idx);

/* ---- while it runs ------------------------------------------------------------------------- */

struct demo_view {
    FILE *stream; /* NULL: nothing is shown */
    bool is_terminal;
    int line_cnt; /* drawn, to be drawn over */
    weir_ns last_ns, next_ns;
    uint64_t last_bytes[DEMO_NODES_MAX];
};

/* Shows the state when it is time to; draws a block on a terminal, else prints a line a second. */
void demo_view_show(struct demo_view *view, const struct demo_run *run, weir_ns now);

/* Removes the block. */
void demo_view_clear(struct demo_view *view);

/* ---- at the end ---------------------------------------------------------------------------- */

/* Whether every file is identical everywhere, nothing was lost and no frame failed. Otherwise says
 * what is wrong in `why`. */
bool demo_run_is_good(const struct demo_run *run, char *why, size_t why_len);

void demo_run_print(const struct demo_run *run);
bool demo_run_print_json(const struct demo_run *run);

#endif
