/* Networks that find themselves from a name and nothing else: the simulated world's DNS is a table of this test's. */
#include "engine/node/internal.h"
#include "tests/integration/mesh.h"

#define S WEIR_NS_PER_S
#define NODES 55u
#define SEED "seeds.example.org:7000"

/* What the DNS answers. */
static struct table {
    uint16_t reason;    /* why nothing is found; 0: it is */
    const char *names;  /* the only one that there is */
    uint32_t found[4];  /* nodes that are behind it; UINT32_MAX: an address at which nobody is */
    uint32_t found_cnt; /* how many */
    uint32_t asked_cnt;
    uint32_t other_cnt; /* lookups of anything else */
} table;

static uint16_t table_lookup(void *ctx, const char *name, uint16_t port,
                             struct weir_addr *ret_addrs, uint32_t addr_max, uint32_t *ret_addr_cnt)
{
    (void)ctx;
    table.asked_cnt++;
    table.other_cnt += strcmp(name, table.names) != 0;
    if (table.reason)
        return table.reason;
    uint32_t cnt = 0;
    for (; cnt < table.found_cnt && cnt < addr_max; cnt++) {
        char address[64];
        if (table.found[cnt] == UINT32_MAX)
            snprintf(address, sizeof(address), "19.9.9.9:%u", MESH_PORT);
        else
            mesh_address(table.found[cnt], address);
        cr_assert_eq(weir_addr_parse(&ret_addrs[cnt], address), 0);
        cr_assert_eq(ret_addrs[cnt].port, port);
    }
    *ret_addr_cnt = cnt;
    return 0;
}

static void prepare(struct mesh_node *own)
{
    own->node->lookup = table_lookup;
}

/* Each node knows the name, and no node an address. */
static void grow(uint64_t seed)
{
    char address[64];
    mesh_begin(seed, 128);
    mesh.prepare = prepare;
    mesh.disco.seeds = SEED;
    for (uint32_t i = 0; i < NODES; i++) {
        mesh_address(i, address);
        (void)mesh_add(address);
    }
}

static void converge(uint32_t seconds_max)
{
    uint32_t alive, size = 0;
    for (uint32_t second = 0; second < seconds_max; second++) {
        weir_world_run(mesh.world, S);
        size = mesh_component(&alive);
        if (size == alive && mesh_full() == alive)
            return;
    }
    cr_assert_fail("%u of %u in one component, %u with all their peers", size, alive, mesh_full());
}

/* Behind the name are a node that is gone and two that are there, which ask for it as well and find themselves. */
Test(seeds_sim, a_network_finds_itself_from_a_name, .timeout = 900)
{
    table =
        (struct table){.names = "seeds.example.org", .found = {UINT32_MAX, 3, 17}, .found_cnt = 3};
    grow(41);
    converge(120);
    cr_assert_geq(table.asked_cnt, NODES, "not everybody asked for it");
    cr_assert_eq(table.other_cnt, 0);
    /* Once they know each other nobody asks any more. */
    uint32_t asked = table.asked_cnt;
    weir_world_run(mesh.world, 600 * S);
    cr_assert_eq(table.asked_cnt, asked);
    mesh_end();
}

/* A DNS that is down for two minutes: they go on asking, at first ever more seldom, and then it is as if it had been there. */
Test(seeds_sim, a_name_that_is_not_found_is_asked_for_again, .timeout = 900)
{
    table = (struct table){.names = "seeds.example.org", .reason = WEIR_R_NAME_TEMPORARY};
    grow(42);
    weir_world_run(mesh.world, 120 * S);
    uint32_t alive;
    cr_assert_eq(mesh_component(&alive), 1);
    cr_assert_geq(table.asked_cnt, 4 * NODES);
    cr_assert_leq(table.asked_cnt, 18 * NODES,
                  "two minutes have room for 4 waits of half of 2^n s, and 14 of half of 15 s");
    table.reason = 0;
    table.found[0] = 8;
    table.found[1] = 44;
    table.found_cnt = 2;
    converge(360);
    cr_assert_eq(table.other_cnt, 0);
    mesh_end();
}

/* However long nobody could be found: who knows nobody asks often enough to be there soon after somebody can. */
Test(seeds_sim, a_name_that_is_found_late_is_found_soon, .timeout = 900)
{
    table = (struct table){.names = "seeds.example.org", .reason = WEIR_R_NAME_TEMPORARY};
    grow(43);
    weir_world_run(mesh.world, 1200 * S);
    uint32_t alive;
    cr_assert_eq(mesh_component(&alive), 1);
    table.reason = 0;
    table.found[0] = 8;
    table.found_cnt = 1;
    converge(90); /* 15 s, and what a network takes from there */
    mesh_end();
}
