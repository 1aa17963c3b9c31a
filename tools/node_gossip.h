/* node_gossip.h: `weir node --gossip`: hands on what it hears, and prints it. */
#ifndef NODE_GOSSIP_H
#define NODE_GOSSIP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <weir/weir.h>

struct node_gossip {
    weir_gossip *gossip; /* NULL: none */
    bool is_json;
    pthread_mutex_t mutex;
    weir_ns
        second_ns; /* lines of the second that began then: a flood of messages is not to be one of lines */
    uint32_t line_cnt;
};

/* Attaches it to a node, before start, with these settings. Returns a WEIR_E_*. */
int node_gossip_attach(struct node_gossip *gossip, weir_node *node,
                       const struct weir_gossip_config *settings, bool is_json);

/* Says a text to everybody: to who is connected, and to who comes in the next minute. */
int node_gossip_say(struct node_gossip *gossip, const char *text);

void node_gossip_print_end(struct node_gossip *gossip);

/* After the node. */
void node_gossip_free(struct node_gossip *gossip);

#endif
