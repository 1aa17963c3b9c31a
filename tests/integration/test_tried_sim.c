/* Test before evict, in a simulated network: two places want one slot of a node's tried table, and a feeler to the one that
 * is in it decides. One such place answers and keeps its slot; another one has died, and who waited gets its slot. */
#include "engine/node/discovery_impl.h"
#include "engine/peers/book_impl.h"
#include "tests/integration/mesh.h"

#define S WEIR_NS_PER_S
#define OWN "19.0.0.1:7000"
#define DOUBT_S (4u * 3600) /* a success is proof for so long */
#define SETTLE_S \
    (35u * 60) /* less than the 40 minutes after which who waits gets the slot undecided */

static struct weir_place place_of(const char *address)
{
    struct weir_addr addr;
    struct weir_place place;
    cr_assert_eq(weir_addr_parse(&addr, address), 0);
    cr_assert(weir_place_from(&place, &addr));
    return place;
}

static const struct weir_book_entry *entry_of(const struct mesh_node *own, const char *address)
{
    struct weir_place place = place_of(address);
    const struct weir_book_entry *entry = weir_book_find(own->disco->book, &place);
    cr_assert_not_null(entry, "%s", address);
    return entry;
}

static struct weir_book_stats stats_of(const struct mesh_node *own)
{
    struct weir_book_stats stats;
    weir_book_stats(own->disco->book, &stats);
    return stats;
}

/* An address of the /16 of `address` whose slot in tried is the same. */
static void find_rival(const struct mesh_node *own, const char *address, char ret_rival[64])
{
    struct weir_place place = place_of(address);
    uint32_t bucket, *slot = book_tried_slot(own->disco->book, &place, &bucket);
    for (uint32_t i = 0x100; i < 0x10000; i++) {
        snprintf(ret_rival, 64, "%u.%u.%u.%u:7000", place.ip[0], place.ip[1], i >> 8, i & 255);
        struct weir_place rival = place_of(ret_rival);
        if (book_tried_slot(own->disco->book, &rival, &bucket) == slot)
            return;
    }
    cr_assert_fail("no address has the slot of %s", address);
}

/* Runs until the place is tried, or, if it `waits`, until it was found good and has no slot. */
static void until_good(const struct mesh_node *own, const char *address, bool waits)
{
    for (uint32_t i = 0; i < 12 * 3600; i += 10) {
        const struct weir_book_entry *entry = entry_of(own, address);
        if (waits ? entry->good_s != 0 : entry->is_tried)
            return;
        weir_world_run(mesh.world, 10 * S);
    }
    cr_assert_fail("no feeler went to %s", address);
}

Test(tried_sim, a_feeler_decides_who_gets_a_slot_of_tried, .timeout = 900)
{
    static const char *const olds[2] = {"90.1.0.1:7000", "90.2.0.1:7000"}; /* lives; dies */
    char youngs[2][64], seed[64], address[64];
    uint32_t node_cnt = all_or_few(55, 24);
    mesh_begin(31, 128);
    mesh.cfg.ping_interval_ns = 600 * S; /* hours of pings would be most of the run */
    mesh.cfg.idle_timeout_ns = 3000 * S;
    mesh_address(0, seed);
    for (uint32_t i = 0; i < node_cnt; i++) {
        mesh.disco.seeds = i ? seed : NULL;
        mesh_address(i, address);
        (void)mesh_add(address);
    }
    mesh.disco.seeds = seed;
    struct mesh_node *own = mesh_add(OWN);
    struct weir_discovery_info info = {.size = sizeof(info)};
    for (uint32_t i = 0; i < 600 && info.outbound_cnt < mesh.disco.outbound_cnt; i++) {
        weir_world_run(mesh.world, S);
        cr_assert_eq(weir_discovery_read(own->disco, &info), 0);
    }
    cr_assert_eq(info.outbound_cnt, mesh.disco.outbound_cnt); /* from here on only feelers dial */

    /* These four answer, and dial nobody. */
    struct mesh_node *old_nodes[2];
    mesh.disco.seeds = NULL;
    mesh.disco.outbound_cnt = UINT32_MAX;
    mesh.disco.flags = WEIR_DISCOVERY_NO_FEELERS;
    for (uint32_t i = 0; i < 2; i++) {
        old_nodes[i] = mesh_add(olds[i]);
        find_rival(own, olds[i], youngs[i]);
        (void)mesh_add(youngs[i]);
        cr_assert_eq(weir_discovery_add(own->disco, olds[i]), 0);
    }
    for (uint32_t i = 0; i < 2; i++)
        until_good(own, olds[i], false);
    cr_assert_eq(stats_of(own).waiting_cnt, 0);

    /* Hours later one of them dies, and their rivals turn up: found good, but their slots are taken. */
    weir_world_run(mesh.world, (DOUBT_S + 60) * S);
    mesh_kill(old_nodes[1]);
    for (uint32_t i = 0; i < 2; i++)
        cr_assert_eq(weir_discovery_add(own->disco, youngs[i]), 0);
    uint64_t good_s[2] = {entry_of(own, olds[0])->good_s, entry_of(own, olds[1])->good_s};
    uint64_t begun_s = disco_wall_s(own->disco);
    until_good(own, youngs[0], true);
    until_good(own, youngs[1], true);

    /* The next feelers go to who is in the slots, and that decides. */
    for (uint32_t i = 0; i < SETTLE_S && stats_of(own).waiting_cnt > 0; i++)
        weir_world_run(mesh.world, S);
    cr_assert_eq(stats_of(own).waiting_cnt, 0, "nothing is decided");
    cr_assert_gt(entry_of(own, olds[0])->attempt_s, begun_s, "it was not dialed");
    cr_assert_gt(entry_of(own, olds[0])->good_s, good_s[0], "it did not answer");
    cr_assert(entry_of(own, olds[0])->is_tried, "it answered, and lost its slot");
    cr_assert(!entry_of(own, youngs[0])->is_tried);
    cr_assert_gt(entry_of(own, olds[1])->attempt_s, begun_s, "it was not dialed");
    cr_assert_eq(entry_of(own, olds[1])->good_s, good_s[1]);
    cr_assert(!entry_of(own, olds[1])->is_tried, "it is dead, and has its slot");
    cr_assert(entry_of(own, youngs[1])->is_tried);
    /* Nobody was lost over it. */
    cr_assert_eq(weir_discovery_read(own->disco, &info), 0);
    cr_assert_eq(info.outbound_cnt, 8);
    weir_book_verify(own->disco->book);
    mesh_end();
}
