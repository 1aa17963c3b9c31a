/* Discovery of many nodes, in a simulated world: the same from the same seed. */
#include "tests/integration/mesh.h"

#define S WEIR_NS_PER_S

/* Time in seconds until `cnt` nodes of one component have all their outbound peers; at most `max`. */
static uint32_t converge(uint32_t max)
{
    uint32_t alive;
    for (uint32_t second = 1; second <= max; second++) {
        weir_world_run(mesh.world, S);
        if (mesh_component(&alive) == alive && mesh_full() == alive)
            return second;
    }
    return UINT32_MAX;
}

static void grow(uint32_t cnt)
{
    char address[64];
    mesh_address(0, address);
    mesh.disco.seeds = NULL;
    (void)mesh_add(address);
    char seed[64];
    memcpy(seed, address, sizeof(seed));
    for (uint32_t i = 1; i < cnt; i++) {
        mesh.disco.seeds = seed;
        mesh_address(i, address);
        (void)mesh_add(address);
    }
}

Test(discovery_sim, sixty_nodes_find_each_other_from_one_seed, .timeout = 900)
{
    mesh_begin(1, 128);
    grow(60);
    uint32_t seconds = converge(60);
    uint32_t alive, size = mesh_component(&alive);
    cr_assert_leq(seconds, 60, "%u of %u in one component, %u with all their peers", size, alive,
                  mesh_full());
    /* A third goes from one moment to the next. */
    for (uint32_t i = 0; i < 60; i += 3)
        mesh_kill(&mesh.nodes[i]);
    seconds = converge(30);
    size = mesh_component(&alive);
    cr_assert_leq(seconds, 30, "%u of %u in one component, %u with all their peers", size, alive,
                  mesh_full());
    mesh_end();
}

/* Says how a graph is: what docs/discovery.md's table is made of. */
static void describe(uint32_t seconds)
{
    uint32_t alive, most = 0, least = UINT32_MAX, in_most = 0, size = mesh_component(&alive);
    uint64_t out = 0, asks = 0, answers = 0, known = 0;
    for (uint32_t i = 0; i < mesh.cnt; i++) {
        struct weir_discovery_info info = {.size = sizeof(info)};
        if (!mesh.nodes[i].disco || weir_discovery_read(mesh.nodes[i].disco, &info) != 0)
            continue;
        most = info.outbound_cnt > most ? info.outbound_cnt : most;
        least = info.outbound_cnt < least ? info.outbound_cnt : least;
        in_most = info.inbound_cnt > in_most ? info.inbound_cnt : in_most;
        out += info.outbound_cnt;
        asks += info.asks_sent;
        answers += info.answers_sent;
        known += info.new_cnt + info.tried_cnt;
    }
    fprintf(
        stderr,
        "%u nodes, %u s: component %u, outbound %u to %u (%.2f), inbound at most %u, known %.0f, "
        "asks %.1f and answers %.1f a node\n",
        alive, seconds, size, least, most, (double)out / alive, in_most, (double)known / alive,
        (double)asks / alive, (double)answers / alive);
}

Test(discovery_sim, a_thousand_nodes_converge_and_lose_a_third, .timeout = 900)
{
    uint32_t node_cnt = all_or_few(1000, 400);
    mesh_begin(7, 256);
    grow(node_cnt);
    uint32_t alive, seconds = converge(60), size = mesh_component(&alive);
    describe(seconds);
    cr_assert_leq(seconds, 60, "%u of %u in one component, %u with all their peers", size, alive,
                  mesh_full());
    for (uint32_t i = 0; i < node_cnt; i += 3)
        mesh_kill(&mesh.nodes[i]);
    seconds = converge(30);
    describe(seconds);
    size = mesh_component(&alive);
    cr_assert_leq(seconds, 30, "%u of %u in one component, %u with all their peers", size, alive,
                  mesh_full());
    mesh_end();
}
