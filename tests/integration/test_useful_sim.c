/* Outbound peers that are not worth their place, in a simulated network that gossips: mute ones that hand nothing on, and a
 * node whose peers are all of them. */
#include "tests/integration/mesh.h"

#define S WEIR_NS_PER_S
#define NODES all_or_few(60, 30) /* that gossip */
#define MUTES (NODES / 3)        /* that do not, and are peers all the same */
#define OWN "19.0.0.1:7000"

static weir_gossip *gossips[MESH_MAX];
static uint64_t heard[MESH_MAX];
static bool is_mute;

static void on_messages(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    (void)msgs;
    *(uint64_t *)ctx += msg_cnt;
}

static void prepare(struct mesh_node *own)
{
    struct weir_gossip_config cfg;
    if (is_mute)
        return;
    weir_gossip_config_init(&cfg);
    cfg.ctx = &heard[own->idx];
    cfg.on_messages = on_messages;
    cfg.seen_max = 4096;
    cfg.store_max = 256;
    cfg.wants_max = 64;
    cfg.flags = WEIR_GOSSIP_NO_CATCH_UP;
    cr_assert_eq(weir_gossip_create(&gossips[own->idx], own->node, &cfg), 0);
}

static void begin(uint64_t seed)
{
    mesh_begin(seed, 128);
    memset(gossips, 0, sizeof(gossips));
    memset(heard, 0, sizeof(heard));
    is_mute = false;
    mesh.prepare = prepare;
    mesh.disco.outbound_cnt = 6;
    mesh.disco.flags = WEIR_DISCOVERY_NO_FEELERS;
}

static void end(void)
{
    uint32_t cnt = mesh.cnt;
    mesh_end();
    for (uint32_t i = 0; i < cnt; i++)
        weir_gossip_free(gossips[i]);
    mesh.prepare = NULL;
}

/* Some node says something new each `interval`. */
static void gossip_for(uint64_t duration, uint64_t interval, uint32_t first, uint32_t node_cnt)
{
    static uint64_t said;
    for (uint64_t past = 0; past < duration; past += interval) {
        uint32_t idx = first + (uint32_t)weir_world_random(mesh.world, node_cnt);
        said++;
        cr_assert_geq(weir_gossip_publish(gossips[idx], &said, sizeof(said), NULL), 0);
        weir_world_run(mesh.world, interval);
    }
}

/* Outbound connections of nodes that gossip to mute ones, and of all. */
static uint32_t mute_links(uint32_t *ret_all)
{
    uint32_t mute_cnt = 0;
    *ret_all = 0;
    for (uint32_t i = 0; i < mesh.cnt; i++) {
        for (uint32_t k = 0; gossips[i] && k < mesh.nodes[i].link_cnt; k++) {
            uint32_t other = mesh.nodes[i].links[k].other;
            if (!mesh.nodes[i].links[k].is_dialer || other == UINT32_MAX)
                continue;
            ++*ret_all;
            mute_cnt += gossips[other] == NULL;
        }
    }
    return mute_cnt;
}

static uint64_t replaced(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < mesh.cnt; i++) {
        struct weir_discovery_info info = {.size = sizeof(info)};
        cr_assert_eq(weir_discovery_read(mesh.nodes[i].disco, &info), 0);
        sum += info.replaced;
    }
    return sum;
}

static void grow(uint64_t replace_interval_ns)
{
    char address[64], seed[64];
    mesh.disco.replace_interval_ns = replace_interval_ns;
    mesh_address(0, seed);
    for (uint32_t i = 0; i < NODES + MUTES; i++) {
        is_mute = i % 4 == 3;
        mesh.disco.seeds = i ? seed : NULL;
        mesh_address(i, address);
        (void)mesh_add(address);
    }
    weir_world_run(mesh.world, 60 * S);
}

static uint32_t talker(uint32_t nth) /* the nodes that gossip are three of each four */
{
    return nth / 3 * 4 + nth % 3;
}

static void talk_for(uint32_t seconds)
{
    static uint64_t said = UINT64_C(1) << 40;
    for (uint32_t i = 0; i < 5 * seconds; i++) {
        uint32_t idx = talker((uint32_t)weir_world_random(mesh.world, NODES));
        said++;
        cr_assert_geq(weir_gossip_publish(gossips[idx], &said, sizeof(said), NULL), 0);
        weir_world_run(mesh.world, S / 5);
    }
}

Test(useful_sim, who_brings_nothing_gives_his_place_up, .timeout = 900)
{
    uint32_t all, alive;
    begin(41);
    grow(20 * S);
    uint32_t before = mute_links(&all);
    cr_assert_gt(before, all / 8, "%u of %u: chance has some everywhere", before, all);
    talk_for(400);
    uint32_t after = mute_links(&all);
    /* Fewer than half; with few nodes chance has a larger part (0.30 to 0.58 of before in 12 seeds). */
    cr_assert_lt(6 * after, all_or_few(3, 4) * before, "%u of %u are mute, %u were", after, all,
                 before);
    cr_assert_geq(replaced(), before - after);
    /* Nobody lost anything by it: all places are taken, and the network is one. */
    cr_assert_eq(mesh_component(&alive), NODES + MUTES);
    cr_assert_geq(mesh_full(), (NODES + MUTES) * 9 / 10);
    end();
}

Test(useful_sim, unless_somebody_asks_for_it_all_stay, .timeout = 900)
{
    uint32_t all;
    begin(41);
    grow(0);
    uint32_t before = mute_links(&all);
    talk_for(200);
    cr_assert_eq(mute_links(&all), before);
    cr_assert_eq(replaced(), 0);
    end();
}

/* Where nothing is said nobody can be judged. */
Test(useful_sim, in_silence_all_stay, .timeout = 900)
{
    begin(42);
    grow(20 * S);
    weir_world_run(mesh.world, 300 * S);
    cr_assert_eq(replaced(), 0);
    end();
}

/* ---- a clique ------------------------------------------------------------------------------- */

/* A node whose six outbound peers are mute, and which knows 60 places that are not. Returns how many messages it has
 * heard after 10 minutes. */
static uint64_t captive(uint64_t quiet_ns, struct weir_discovery_info *ret_info)
{
    char address[64];
    begin(43);
    mesh.disco.flags |= WEIR_DISCOVERY_PRIVATE; /* nobody dials it */
    is_mute = true;
    mesh.disco.outbound_cnt = UINT32_MAX;
    for (uint32_t i = 0; i < 6; i++) {
        snprintf(address, sizeof(address), "150.%u.0.1:7000", i);
        (void)mesh_add(address);
    }
    is_mute = false;
    mesh.disco.outbound_cnt = 6;
    mesh.disco.quiet_ns = quiet_ns;
    struct mesh_node *own = mesh_add(OWN);
    for (uint32_t i = 0; i < 6; i++)
        cr_assert_eq(weir_discovery_add(own->disco, mesh.nodes[i].address), 0);
    weir_world_run(mesh.world, 20 * S);
    cr_assert_eq(own->dialed_cnt, 6);
    mesh.disco.quiet_ns = 0;
    mesh.disco.flags = WEIR_DISCOVERY_NO_FEELERS;
    mesh_address(0, address);
    char seed[64];
    memcpy(seed, address, sizeof(seed));
    for (uint32_t i = 0; i < NODES; i++) {
        mesh.disco.seeds = i ? seed : NULL;
        mesh_address(i, address);
        (void)mesh_add(address);
    }
    weir_world_run(mesh.world, 60 * S);
    for (uint32_t i = 0; i < NODES; i++) {
        mesh_address(i, address);
        int error = weir_discovery_add(own->disco, address); /* or its slot is taken */
        cr_assert(error == 0 || error == WEIR_E_LIMIT);
    }
    gossip_for(600 * S, S, 7, NODES);
    memset(ret_info, 0, sizeof(*ret_info));
    ret_info->size = sizeof(*ret_info);
    cr_assert_eq(weir_discovery_read(own->disco, ret_info), 0);
    cr_assert_eq(own->dialed_cnt, 6);
    cr_assert_geq(heard[8], 500, "the others hear each other");
    uint64_t own_heard = heard[own->idx];
    end();
    return own_heard;
}

Test(useful_sim, who_hears_nothing_new_dials_elsewhere, .timeout = 900)
{
    struct weir_discovery_info info;
    cr_assert_eq(captive(0, &info), 0, "nothing else gets it out");
    cr_assert(info.replaced == 0 && info.quiets == 0);
    cr_assert_gt(captive(30 * S, &info), 300);
    cr_assert(info.replaced >= 1 && info.quiets >= 1);
    cr_assert_leq(info.replaced, 6, "and then it stays where it is");
}
