#include "demo_mesh.h"

#include <string.h>

int demo_mesh_attach(struct demo_node *node, demo_votes_fn on_votes, void *ctx,
                     const char **ret_doing)
{
    struct weir_gossip_config gossip;
    weir_gossip_config_init(&gossip);
    gossip.channel = DEMO_VOTES;
    gossip.channel_flags = WEIR_CHANNEL_URGENT;
    gossip.fanout = DEMO_FANOUT;
    gossip.msg_bytes_max = DEMO_VOTE_BYTES;
    gossip.ctx = ctx;
    gossip.on_messages = on_votes;
    *ret_doing = "cannot attach gossip";
    int error = weir_gossip_create(&node->gossip, node->weir, &gossip);
    if (error != 0)
        return error;

    struct weir_discovery_config discovery;
    weir_discovery_config_init(&discovery);
    /* All dial node 1 themselves. It dials nobody, or two nodes could dial each other, and of two connections
     * the one with the files on it could be the one that goes. */
    discovery.outbound_cnt = node->idx == 1 ? UINT32_MAX : DEMO_OUTBOUND;
    discovery.ask_interval_ns = 500 * WEIR_NS_PER_MS; /* a network that is made in a second */
    discovery.flags = WEIR_DISCOVERY_NO_FEELERS;
    *ret_doing = "cannot attach discovery";
    return weir_discovery_attach(&node->discovery, node->weir, &discovery);
}

void demo_mesh_free(struct demo_node *node)
{
    weir_discovery_free(node->discovery);
    weir_gossip_free(node->gossip);
}

bool demo_mesh_has_met(const struct demo_node *node)
{
    struct weir_discovery_info info = {.size = sizeof(info)};
    if (weir_discovery_read(node->discovery, &info) != 0 ||
        info.new_cnt + info.tried_cnt < node->node_cnt - 1)
        return false; /* without a look at all of the book */
    return demo_mesh_found(node) == node->node_cnt - 1;
}

uint32_t demo_mesh_found(const struct demo_node *node)
{
    struct weir_found found[DEMO_NODES_MAX];
    int64_t cnt = weir_discovery_find(node->discovery, NULL, found, DEMO_NODES_MAX);
    uint32_t others = 0;
    for (int64_t i = 0; i < cnt; i++)
        others += strcmp(found[i].address, node->address) != 0;
    return others;
}

void demo_mesh_note(struct demo_node *node)
{
    struct demo_slot *slot = node->slot;
    struct weir_discovery_info info = {.size = sizeof(info)};
    slot->peers_found = demo_mesh_found(node);
    if (weir_discovery_read(node->discovery, &info) == 0)
        slot->peers_dialed = info.outbound_cnt;
    slot->gossip.size = sizeof(slot->gossip);
    weir_gossip_stats_read(node->gossip, &slot->gossip);
}
