/* engine/node/expose.h: a node's series as text in Prometheus' exposition format (version 0.0.4). */
#ifndef WEIR_ENGINE_NODE_EXPOSE_H
#define WEIR_ENGINE_NODE_EXPOSE_H

#include "engine/node/internal.h"
#include "engine/node/text.h"

#define WEIR_EXPOSE_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define WEIR_EXPOSE_BYTES_MAX (16u * 1024u * 1024u)

/* What is told of one peer. Its shard fills it (peer_row.c); it goes to other threads by value. */
struct weir_peer_row {
    uint64_t peer;
    bool is_dialer;
    uint64_t wire_tx, wire_rx, queued, held, rtt_ns, rtt_min_ns, stalls, first_cnt, again_cnt;
    uint64_t up_ns; /* for how long */
    char address[WEIR_ADDR_TEXT_BYTES];
};

/* Appends every series of the node. */
void weir_expose_node(struct weir_text *text, weir_node *node);

/* Appends the series of peers; nothing for none. */
void weir_expose_peers(struct weir_text *text, const struct weir_peer_row *rows, uint32_t row_cnt);

/* Writes up to `row_max` of a shard's peers; returns how many. Shard thread. */
uint32_t weir_peer_rows(struct weir_shard *shard, struct weir_peer_row *ret_rows, uint32_t row_max);

#endif
