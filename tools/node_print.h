/* node_print.h: what `weir node` says, as lines for people or as JSON, one object a line. */
#ifndef NODE_PRINT_H
#define NODE_PRINT_H

#include <stdbool.h>

#include <weir/weir.h>

#include "json_out.h"
#include "node_gossip.h"

struct node_watch {
    weir_node *node;
    weir_discovery *discovery; /* NULL: none */
    struct node_gossip gossip;
    bool is_json;
};

/* Prints an object and frees it. */
void node_print_json(struct json_out *take);

void node_print_listener(const struct node_watch *watch, const char *address);
void node_print_metrics(const struct node_watch *watch, const char *address);
void node_print_id(const struct node_watch *watch);

/* An on_peer; `ctx` is the struct node_watch. On the shard's thread. */
void node_print_peer(void *ctx, weir_peer peer, int event, int reason);

/* What weir_ban_take answered. */
void node_print_bans(const struct node_watch *watch, int64_t done);

/* Each second, and at the end. */
void node_print_rates(const struct node_watch *watch, const struct weir_metrics *was,
                      const struct weir_metrics *now, double seconds);
void node_print_discovery(const struct node_watch *watch);
void node_print_end(const struct node_watch *watch, const struct weir_metrics *metrics);

#endif
