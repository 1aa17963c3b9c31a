/* Private nodes in a simulated network: of 55 eight ask that nobody tells of them. They are peers like any other, and those
 * who are not connected to them have never heard of them. */
#include "tests/integration/mesh.h"

#define S WEIR_NS_PER_S
#define NODES 55u
#define PRIVATE 8u /* the last ones */

/* How many pairs there are of a node that is alive and one of the last ones that it knows the place of. */
static uint32_t known_cnt(void)
{
    static struct weir_found found[2 * NODES];
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        int64_t places = weir_discovery_find(mesh.nodes[i].disco, NULL, found, 2 * NODES);
        cr_assert_gt(places, 0);
        for (int64_t k = 0; k < places; k++)
            cnt += mesh_find(found[k].address) >= NODES - PRIVATE;
    }
    return cnt;
}

static void run(uint64_t seed, uint32_t flags)
{
    char address[64], first[64];
    uint32_t alive, size = 0;
    mesh_begin(seed, 128);
    mesh_address(0, first);
    for (uint32_t i = 0; i < NODES; i++) {
        mesh.disco.seeds = i ? first : NULL;
        mesh.disco.flags = i >= NODES - PRIVATE ? flags : 0;
        mesh_address(i, address);
        (void)mesh_add(address);
    }
    for (uint32_t second = 0; second < 120 && (size < NODES || mesh_full() < NODES); second++) {
        weir_world_run(mesh.world, S);
        size = mesh_component(&alive);
    }
    cr_assert(size == NODES && mesh_full() == NODES, "%u in one component, %u are full", size,
              mesh_full());
    weir_world_run(mesh.world,
                   600 * S); /* some of which they spend telling each other, and on feelers */
}

Test(private_sim, who_asks_for_it_is_told_to_nobody, .timeout = 900)
{
    run(81, WEIR_DISCOVERY_PRIVATE);
    cr_assert_eq(known_cnt(), 0);
    for (uint32_t i = NODES - PRIVATE; i < NODES; i++)
        cr_assert_eq(mesh.nodes[i].link_cnt, mesh.nodes[i].dialed_cnt, "somebody dialed node %u",
                     i);
    mesh_end();
}

Test(private_sim, and_who_does_not_is_known, .timeout = 900)
{
    run(81, 0);
    cr_assert_gt(known_cnt(), PRIVATE * NODES / 2);
    mesh_end();
}
