/* demo_mesh.h: how the nodes of the demo meet, and how votes get around: discovery and gossip.
 *
 * Node 2, 3, ... are told one address, node 1's. They dial it and keep that connection, for the files; who else is
 * there they hear by peer exchange, and discovery dials some of them. Votes are published by node 1 and
 * gossiped: each node hands a vote on to a few peers and tells others of it, so that it comes several times and is taken
 * once, in no order.
 */
#ifndef DEMO_MESH_H
#define DEMO_MESH_H

#include "demo.h"

#define DEMO_OUTBOUND 3u /* peers that each node finds and dials */
#define DEMO_FANOUT 3u   /* peers that a vote is pushed to; others are told of it */

typedef void (*demo_votes_fn)(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt);

/* Attaches both to node->weir, before it listens. Returns an error of weir's with the text in `ret_doing`. */
int demo_mesh_attach(struct demo_node *node, demo_votes_fn on_votes, void *ctx,
                     const char **ret_doing);

/* Frees them, after the node. */
void demo_mesh_free(struct demo_node *node);

/* How many of the other nodes discovery knows. */
uint32_t demo_mesh_found(const struct demo_node *node);
bool demo_mesh_has_met(const struct demo_node *node); /* whether that is all of them */

/* Writes what both have counted to the slot. */
void demo_mesh_note(struct demo_node *node);

#endif
