/* A crawler as the one seed of a simulated network: it tells everybody of the others, and keeps nobody. */
#include "tests/integration/mesh.h"

#define S WEIR_NS_PER_S
#define NODES 55u

static uint32_t known_to(const struct mesh_node *own)
{
    struct weir_discovery_info info = {.size = sizeof(info)};
    cr_assert_eq(weir_discovery_read(own->disco, &info), 0);
    return info.new_cnt + info.tried_cnt;
}

Test(crawler_sim, it_serves_addresses_and_keeps_nobody, .timeout = 900)
{
    char address[64], seed[64];
    mesh_begin(11, 128);
    mesh_address(0, seed);
    mesh.disco.flags = WEIR_DISCOVERY_CRAWLER;
    struct mesh_node *crawler = mesh_add(seed);
    mesh.disco.flags = 0;
    mesh.disco.outbound_cnt = 4;
    mesh.disco.seeds = seed;
    for (uint32_t i = 1; i <= NODES; i++) {
        mesh_address(i, address);
        (void)mesh_add(address);
        weir_world_run(mesh.world, S);
    }
    uint32_t alive, seconds = 0;
    do {
        weir_world_run(mesh.world, 10 * S);
        seconds += 10;
    } while (seconds < 600 && (mesh_component(&alive) < NODES || mesh_full() < NODES));
    /* The others are one component with all their peers, without it: it is nobody's. */
    for (uint32_t i = 0; i < 30 && crawler->link_cnt > 0; i++)
        weir_world_run(mesh.world, S);
    uint32_t size = mesh_component(&alive);
    cr_assert_eq(size, NODES, "%u of %u in one component, %u with all their peers after %u s", size,
                 alive, mesh_full(), seconds);
    cr_assert_eq(mesh_full(), NODES);
    /* It has visited them since, and knows all; and nobody that it was connected to was kept. */
    for (uint32_t i = 0; i < 600 && known_to(crawler) < NODES; i++)
        weir_world_run(mesh.world, S);
    cr_assert_eq(known_to(crawler), NODES);
    struct weir_discovery_info info = {.size = sizeof(info)};
    cr_assert_eq(weir_discovery_read(crawler->disco, &info), 0);
    cr_assert_eq(info.outbound_cnt, 0);
    cr_assert_gt(info.feelers_good, 0);
    cr_assert_gt(info.answers_sent, 0);
    for (uint32_t i = 0; i < crawler->link_cnt; i++) /* who is there now came a moment ago */
        cr_assert_lt(weir_world_now(mesh.world) - crawler->links[i].up_ns, 30 * S);
    mesh_end();
}
