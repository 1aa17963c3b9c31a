/* bench/weir_watch.h: a node that is watched: its series in a file, and over HTTP to a thread that asks each second. */
#ifndef WEIR_BENCH_WEIR_WATCH_H
#define WEIR_BENCH_WEIR_WATCH_H

#include "weir/weir.h"

struct weir_watch;

/* Makes one, and sets the configuration's stats_path. NULL: no memory. */
struct weir_watch *weir_watch_create(struct weir_config *cfg);

/* Before start: serves the series. Then, after start: begins to ask. Errors: of weir, or WEIR_E_SYSTEM. */
int weir_watch_listen(struct weir_watch *watch, weir_node *node);
int weir_watch_begin(struct weir_watch *watch);

/* Ends asking; returns how many whole answers came. While the node turns, or its last answer is given up. */
uint32_t weir_watch_end(struct weir_watch *watch);

/* NULL is fine. After the node. */
void weir_watch_free(struct weir_watch *watch);

#endif
