/* Capabilities in a simulated network: a few of 60 nodes can do something, and who needs that finds all of them and nobody
 * else, though nobody told him where they are. */
#include "tests/integration/mesh.h"

#define S WEIR_NS_PER_S
#define NODES 60u
#define OUTBOUND 4u

/* Every tenth node keeps an archive, every seventh relays; 0 does both. */
static const char *caps_of(uint32_t idx)
{
    bool is_archive = idx % 10 == 0, is_relay = idx % 7 == 0;
    return is_archive && is_relay ? "archive,relay"
           : is_archive           ? "archive"
           : is_relay             ? "relay"
                                  : NULL;
}

static bool has(uint32_t idx, const char *cap)
{
    return caps_of(idx) && strstr(caps_of(idx), cap) != NULL;
}

static uint32_t cnt_with(const char *cap)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < NODES; i++)
        cnt += has(i, cap);
    return cnt;
}

/* How many nodes with a capability somebody knows; each of them must really have it. */
static uint32_t known_to(const struct mesh_node *own, const char *cap)
{
    struct weir_found found[NODES];
    int64_t cnt = weir_discovery_find(own->disco, cap, found, NODES);
    cr_assert_geq(cnt, 0);
    for (int64_t i = 0; i < cnt; i++) {
        uint32_t idx = mesh_find(found[i].address);
        cr_assert(idx < NODES && has(idx, cap), "%s has no %s", found[i].address, cap);
        cr_assert_str_eq(found[i].capabilities, caps_of(idx));
        for (int64_t k = 0; k < i; k++)
            cr_assert_str_neq(found[i].address, found[k].address);
    }
    return (uint32_t)cnt;
}

static void grow(char ret_seed[64])
{
    char address[64];
    mesh.disco.outbound_cnt = OUTBOUND;
    mesh_address(1, ret_seed); /* one that can do nothing in particular */
    for (uint32_t i = 0; i < NODES; i++) {
        mesh.disco.seeds = i == 1 ? NULL : ret_seed;
        mesh.disco.capabilities = caps_of(i);
        mesh_address(i, address);
        (void)mesh_add(address);
    }
    mesh.disco.capabilities = NULL;
    mesh.disco.seeds = ret_seed;
    weir_world_run(mesh.world, 60 * S);
}

Test(caps_sim, who_needs_a_capability_finds_all_that_have_it, .timeout = 900)
{
    char seed[64];
    mesh_begin(51, 128);
    grow(seed);
    uint32_t archives = cnt_with("archive");
    cr_assert(archives == 6 && cnt_with("relay") == 9);

    /* He asks each of his peers for archives, and for nothing else. */
    mesh.disco.wanted = "archive";
    struct mesh_node *own = mesh_add("19.0.0.1:7000");
    uint32_t known = 0, dialed = 0;
    for (uint32_t second = 0; second < 600 && (known < archives || dialed < OUTBOUND); second++) {
        weir_world_run(mesh.world, S);
        known = known_to(own, "archive");
        dialed = 0;
        for (uint32_t i = 0; i < own->link_cnt; i++)
            dialed += own->links[i].is_dialer && own->links[i].other < NODES &&
                      has(own->links[i].other, "archive");
    }
    cr_assert_eq(known, archives, "%u of %u archives are known", known, archives);
    cr_assert_eq(dialed, OUTBOUND, "%u of its %u outbound peers are archives", dialed, OUTBOUND);
    cr_assert_eq(known_to(own, "weather"), 0);
    mesh_end();
}

/* What somebody says of himself counts: one who has lost his archive is soon none to those who are connected to him. */
Test(caps_sim, who_comes_back_without_it_is_not_found_any_more, .timeout = 900)
{
    char seed[64], address[64];
    mesh_begin(52, 128);
    grow(seed);
    struct mesh_node *lost = &mesh.nodes[20];
    memcpy(address, lost->address, sizeof(address));
    mesh_kill(lost);
    lost->address[0] =
        '\0'; /* whoever says that it is an archive from now on is wrong, but may not know yet */
    mesh.disco.capabilities = NULL;
    struct mesh_node *back = mesh_add(address);
    weir_world_run(mesh.world, 60 * S);
    for (uint32_t i = 0; i < back->link_cnt; i++) {
        uint32_t other = back->links[i].other;
        struct weir_found found[NODES];
        if (!back->links[i].is_dialer || other == UINT32_MAX)
            continue;
        int64_t cnt = weir_discovery_find(mesh.nodes[other].disco, "archive", found, NODES);
        for (int64_t k = 0; k < cnt; k++)
            cr_assert_str_neq(found[k].address, address, "node %u has not been told", other);
    }
    cr_assert_geq(back->dialed_cnt, 1);
    mesh_end();
}
