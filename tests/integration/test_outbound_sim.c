/* Whom a node with discovery dials: anchors first after a restart, never two of one group, feelers on the side. */
#include <unistd.h>

#include "tests/integration/mesh.h"

#define S WEIR_NS_PER_S
#define OTHERS 55u
#define OWN "19.0.0.1:7000"

static char book[64];

/* A network of `cnt` nodes in subnets of their own, that know each other. */
static void begin(uint64_t world_seed, uint32_t cnt)
{
    char seed[64], address[64];
    snprintf(book, sizeof(book), "/tmp/weir-outbound-%d", (int)getpid());
    (void)unlink(book);
    mesh_begin(world_seed, 128);
    mesh_address(0, seed);
    for (uint32_t i = 0; i < cnt; i++) {
        mesh.disco.seeds = i ? seed : NULL;
        mesh_address(i, address);
        (void)mesh_add(address);
    }
    weir_world_run(mesh.world, 60 * S);
}

static struct mesh_node *add_own(const char *seed)
{
    mesh.disco.seeds = seed;
    mesh.disco.book_path = book;
    struct mesh_node *own = mesh_add(OWN);
    mesh.disco.book_path = NULL;
    return own;
}

static struct weir_discovery_info info_of(const struct mesh_node *own)
{
    struct weir_discovery_info info = {.size = sizeof(info)};
    cr_assert_eq(weir_discovery_read(own->disco, &info), 0);
    return info;
}

/* When a peer that it dialed came up; UINT64_MAX: it is none. */
static uint64_t since(const struct mesh_node *own, uint32_t other)
{
    for (uint32_t i = 0; i < own->link_cnt; i++)
        if (own->links[i].is_dialer && own->links[i].other == other)
            return own->links[i].up_ns;
    return UINT64_MAX;
}

static struct mesh_node *restart(struct mesh_node *own)
{
    mesh_kill(own);
    mesh.cnt--;
    free(own->links);
    memset(own, 0, sizeof(*own));
    return add_own(NULL);
}

Test(outbound_sim, the_longest_connected_are_dialed_first_after_a_restart, .timeout = 900)
{
    char seed[64];
    begin(21, OTHERS);
    mesh_address(0, seed);
    struct mesh_node *own = add_own(seed);
    mesh.disco.dials_at_once = 2;
    weir_world_run(mesh.world, 300 * S);
    cr_assert_geq(own->dialed_cnt, 8);
    cr_assert_gt(info_of(own).saves, 0, "it is killed, and has only what it wrote while it ran");
    uint64_t since_ns[OTHERS];
    for (uint32_t i = 0; i < OTHERS; i++)
        since_ns[i] = since(own, i);
    own = restart(own);
    for (uint32_t ms = 0; own->dialed_cnt < 2 && ms < 10000; ms += 10)
        weir_world_run(mesh.world, 10 * WEIR_NS_PER_MS);
    cr_assert_geq(own->dialed_cnt, 2);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t other = own->links[i].other, longer_cnt = 0;
        for (uint32_t k = 0; k < OTHERS; k++)
            longer_cnt += since_ns[k] < since_ns[other];
        cr_assert_lt(longer_cnt, 2, "%u others were connected longer", longer_cnt);
    }
    mesh_end();
    (void)unlink(book);
}

Test(outbound_sim, never_two_of_one_subnet, .timeout = 900)
{
    char address[64];
    mesh_begin(22, 128);
    for (uint32_t i = 0; i < 30; i++) { /* 30 nodes, three subnets */
        snprintf(address, sizeof(address), "%u.7.%u.1:7000", 20 + i % 3, i);
        (void)mesh_add(address);
    }
    struct mesh_node *own = mesh_add(OWN);
    for (uint32_t i = 0; i < 30; i++) {
        int error =
            weir_discovery_add(own->disco, mesh.nodes[i].address); /* or its slot is taken */
        cr_assert(error == 0 || error == WEIR_E_LIMIT);
    }
    weir_world_run(mesh.world, 60 * S);
    uint32_t of_subnet[3] = {0};
    for (uint32_t i = 0; i < own->link_cnt; i++)
        if (own->links[i].is_dialer)
            of_subnet[own->links[i].other % 3]++;
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(of_subnet[i], 1, "subnet %u: %u", i, of_subnet[i]);
    cr_assert_eq(info_of(own).outbound_cnt, 3, "and the places that are left stay free");
    mesh_end();
}

Test(outbound_sim, feelers_move_places_from_new_to_tried, .timeout = 900)
{
    char seed[64];
    begin(23, OTHERS);
    mesh_address(0, seed);
    struct mesh_node *own = add_own(seed);
    weir_world_run(mesh.world, 30 * S);
    struct weir_discovery_info before = info_of(own);
    weir_world_run(mesh.world, 1800 * S); /* some 15 of them */
    struct weir_discovery_info after = info_of(own);
    uint64_t feelers = after.feelers - before.feelers;
    cr_assert(feelers >= 9 && feelers <= 31, "%llu in half an hour, one in 1 to 3 minutes",
              (unsigned long long)feelers);
    cr_assert_gt(after.feelers_good, before.feelers_good);
    cr_assert_gt(after.tried_cnt, before.tried_cnt);
    cr_assert_leq(after.outbound_cnt, 8, "none of them stays");
    mesh_end();
    (void)unlink(book);
}

Test(outbound_sim, a_seed_may_be_a_name_and_one_that_is_not_found_does_no_harm, .timeout = 900)
{
    mesh_begin(24, 128);
    mesh.disco.seeds = "nobody:7000,host1:7000";
    for (uint32_t i = 0; i < 5; i++)
        (void)mesh_add("0.0.0.0:7000"); /* on host1 to host5, who are told by their addresses */
    weir_world_run(mesh.world, 120 * S);
    for (uint32_t i = 0; i < 5; i++) {
        struct weir_discovery_info info = info_of(&mesh.nodes[i]);
        cr_assert_eq(info.outbound_cnt + info.inbound_cnt, 4, "host%u: %u and %u", i + 1,
                     info.outbound_cnt, info.inbound_cnt);
    }
    mesh_end();
}
