/* A node with discovery and, where it is asked for, gossip, on real sockets: made, started and ended as one. */
#pragma once

#include "tests/integration/harness.h"

struct member {
    struct it_node own;
    weir_discovery *disco;
    weir_gossip *gossip;    /* NULL without */
    _Atomic uint64_t heard; /* messages of gossip */
};

static void member_hear(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    (void)msgs;
    atomic_fetch_add(&((struct member *)ctx)->heard, msg_cnt);
}

/* `member` was given to it_init() and has its configuration; gossip: NULL for none. */
static inline void member_start(struct member *member, const struct weir_discovery_config *disco,
                                struct weir_gossip_config *gossip)
{
    it_create(&member->own, "127.0.0.1:0");
    IT_OK(weir_discovery_attach(&member->disco, member->own.node, disco));
    if (gossip) {
        gossip->ctx = member;
        gossip->on_messages = member_hear;
        IT_OK(weir_gossip_create(&member->gossip, member->own.node, gossip));
    }
    IT_OK(weir_node_start(member->own.node));
}

static inline void member_stop(struct member *member)
{
    IT_OK(weir_node_stop(member->own.node, 30 * WEIR_NS_PER_S));
    it_free(&member->own);
    weir_discovery_free(member->disco);
    weir_gossip_free(member->gossip);
}
