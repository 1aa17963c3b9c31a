/* tests/integration/mesh.h: many nodes with discovery in one simulated world, and what their graph looks like. */
#ifndef WEIR_TESTS_INTEGRATION_MESH_H
#define WEIR_TESTS_INTEGRATION_MESH_H

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sanitized.h"
#include "weir/sim.h"
#include "weir/weir.h"

#define MESH_MAX 2048u
#define MESH_PORT 7000u
#define MESH_PEERS 64u /* of a node: room in `links` */

struct mesh_node {
    weir_node *node; /* NULL: it is gone */
    weir_discovery *disco;
    char address[64];
    uint32_t idx;
    uint32_t link_cnt, dialed_cnt;
    struct {
        weir_peer peer;
        uint32_t other; /* index; UINT32_MAX: not known */
        bool is_dialer;
        uint64_t up_ns;
    } * links;
    uint32_t link_max;
};

struct mesh {
    weir_world *world;
    struct mesh_node *nodes;
    uint32_t cnt;
    struct weir_config cfg;
    struct weir_discovery_config disco;
    void (*prepare)(struct mesh_node *own); /* before a node starts; NULL: nothing */
};

static struct mesh mesh;

/* Finds who listens at an address: for dialed peers that is what was dialed. */
static uint32_t mesh_find(const char *address)
{
    for (uint32_t i = 0; i < mesh.cnt; i++)
        if (strcmp(mesh.nodes[i].address, address) == 0)
            return i;
    return UINT32_MAX;
}

static void mesh_on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct mesh_node *own = ctx;
    struct weir_peer_info info = {.size = sizeof(info)};
    (void)reason;
    if (event == WEIR_PEER_UP && weir_peer_info(own->node, peer, &info) == 0) {
        if (own->link_cnt == own->link_max) {
            own->link_max = own->link_max ? 2 * own->link_max : MESH_PEERS;
            own->links = realloc(own->links, own->link_max * sizeof(*own->links));
        }
        own->links[own->link_cnt].peer = peer;
        own->links[own->link_cnt].is_dialer = info.is_dialer;
        own->links[own->link_cnt].up_ns = weir_world_now(mesh.world);
        own->links[own->link_cnt++].other = info.is_dialer ? mesh_find(info.address) : UINT32_MAX;
        own->dialed_cnt += info.is_dialer;
    }
    for (uint32_t i = 0; event == WEIR_PEER_DOWN && i < own->link_cnt; i++) {
        if (own->links[i].peer.v != peer.v)
            continue;
        own->dialed_cnt -= own->links[i].is_dialer;
        own->links[i] = own->links[--own->link_cnt];
        break;
    }
}

static inline void mesh_begin(uint64_t seed, uint32_t peers_max)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = seed, .latency_ns = 20000000};
    cr_assert_eq(weir_world_create(&mesh.world, &cfg), 0);
    mesh.nodes = calloc(MESH_MAX, sizeof(*mesh.nodes));
    mesh.cnt = 0;
    weir_config_init(&mesh.cfg);
    /* Every third seed, except where there are so many connections that handshakes would be most of the time. */
    bool is_secure = seed % 3 == 1 && peers_max <= 128;
    mesh.cfg.secure = is_secure ? WEIR_SECURE_REQUIRE : WEIR_SECURE_PLAIN;
    /* As little memory as a node can do with: there are many. */
    mesh.cfg.peers_max = peers_max;
    mesh.cfg.handshakes_max = peers_max;
    mesh.cfg.dials_max = 32;
    mesh.cfg.recv_buf_bytes = 4096;
    mesh.cfg.recv_buf_cnt = 2;
    weir_discovery_config_init(&mesh.disco);
}

/* The n-th node's address: one group after the other, so that each has as few as possible. */
static inline void mesh_address(uint32_t idx, char ret_address[64])
{
    snprintf(ret_address, 64, "%u.%u.%u.1:%u", 20 + idx / 250 % 100, idx % 250, idx / 25000,
             MESH_PORT);
}

static inline struct mesh_node *mesh_add(const char *address)
{
    cr_assert_lt(mesh.cnt, MESH_MAX);
    struct mesh_node *own = &mesh.nodes[mesh.cnt];
    own->idx = mesh.cnt;
    snprintf(own->address, sizeof(own->address), "%s", address);
    cr_assert_eq(weir_world_node_create(mesh.world, 1 + mesh.cnt, &mesh.cfg, &own->node), 0);
    struct weir_reactor reactor = {.size = sizeof(reactor), .ctx = own, .on_peer = mesh_on_peer};
    cr_assert_eq(weir_node_attach(own->node, &reactor, NULL, 0), 0);
    cr_assert_eq(weir_discovery_attach(&own->disco, own->node, &mesh.disco), 0);
    cr_assert_eq(weir_node_listen(own->node, address), 0);
    if (mesh.prepare)
        mesh.prepare(own);
    cr_assert_eq(weir_node_start(own->node), 0);
    mesh.cnt++;
    return own;
}

static inline void mesh_kill(struct mesh_node *own)
{
    weir_world_crash(mesh.world, own->node, 0);
    weir_discovery_free(own->disco);
    own->node = NULL;
    own->disco = NULL;
    own->link_cnt = own->dialed_cnt = 0;
}

static inline void mesh_end(void)
{
    for (uint32_t i = 0; i < mesh.cnt; i++) {
        if (mesh.nodes[i].node)
            mesh_kill(&mesh.nodes[i]);
        free(mesh.nodes[i].links);
    }
    weir_world_free(mesh.world);
    free(mesh.nodes);
}

/* Nodes in the component of the first one that is alive. */
static inline uint32_t mesh_component(uint32_t *ret_alive)
{
    static uint32_t of[MESH_MAX];
    uint32_t alive = 0, best = 0;
    for (uint32_t i = 0; i < mesh.cnt; i++) {
        of[i] = i;
        alive += mesh.nodes[i].node != NULL;
    }
    for (bool is_changed = true; is_changed;) {
        is_changed = false;
        for (uint32_t i = 0; i < mesh.cnt; i++) {
            for (uint32_t k = 0; k < mesh.nodes[i].link_cnt; k++) {
                uint32_t other = mesh.nodes[i].links[k].other;
                if (other == UINT32_MAX || !mesh.nodes[other].node || of[i] == of[other])
                    continue;
                of[i] = of[other] = of[i] < of[other] ? of[i] : of[other];
                is_changed = true;
            }
        }
    }
    for (uint32_t root = 0; root < mesh.cnt; root++) {
        uint32_t size = 0;
        for (uint32_t i = 0; i < mesh.cnt; i++)
            size += mesh.nodes[i].node && of[i] == root;
        best = size > best ? size : best;
    }
    *ret_alive = alive;
    return best;
}

/* Alive nodes that have as many outbound peers as they are to have. */
static inline uint32_t mesh_full(void)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < mesh.cnt; i++) {
        struct weir_discovery_info info = {.size = sizeof(info)};
        if (mesh.nodes[i].disco && weir_discovery_read(mesh.nodes[i].disco, &info) == 0)
            cnt += info.outbound_cnt >= mesh.disco.outbound_cnt;
    }
    return cnt;
}

#endif
