/* demo_sink.h: every other node of the demo: takes votes and the files, and compares every byte.
 *
 * The first round is verified file by file: the SHA-256 of what came against the source's manifest.
 * What was verified is kept, and each later round is compared with it byte by byte; when memory does
 * not suffice for the copy, later rounds are hashed like the first. Any difference ends the demo.
 */
#ifndef DEMO_SINK_H
#define DEMO_SINK_H

#include "demo.h"

struct demo_sink;

/* `memory_max` decides whether a copy is kept. Files go below node->out too when that is not NULL.
 * Returns NULL after reporting the failure. */
struct demo_sink *demo_sink_create(struct demo_node *node, uint64_t memory_max);
void demo_sink_free(struct demo_sink *sink);

/* The reactor's callbacks; the context is the sink. */
struct weir_reactor demo_sink_reactor(struct demo_sink *sink);

/* Votes, as gossip delivers them; the context is the sink. */
void demo_sink_votes(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt);

/* Main thread: dials node 1, once. Errors: of weir_dial. */
int demo_sink_dial(struct demo_sink *sink, const char *address);

#endif
