/* demo_source.h: node 1 of the demo: sends the files round after round, votes, and state. */
#ifndef DEMO_SOURCE_H
#define DEMO_SOURCE_H

#include "demo.h"

struct demo_source;

/* Reads the files below node->directory; `memory_max` decides whether they are kept in memory.
 * Returns NULL after reporting the failure. */
struct demo_source *demo_source_create(struct demo_node *node, uint64_t memory_max);
void demo_source_free(struct demo_source *source);

/* The reactor's callbacks; the context is the source. */
struct weir_reactor demo_source_reactor(struct demo_source *source);

/* Main thread: begins to send; and ends every stream, after which `done` is reported. */
void demo_source_go(struct demo_source *source);
void demo_source_stop(struct demo_source *source);

#endif
