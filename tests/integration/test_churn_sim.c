/* A thousand simulated nodes that know one address, gossip, and come and go all the time: they become one network within a
 * minute, stay one, keep their outbound peers, and hear what is said. */
#include "tests/integration/mesh.h"

#define S WEIR_NS_PER_S
#define NODES_PER_CHURN \
    200u /* of so many one crashes, and one joins, in each second: all have changed after 200 s */
#define GROW_S 60u /* until then they have to have found each other, with nodes coming and going */
#define STAY_S 60u /* and so long they have to stay together */
#define SETTLED_S 10u /* one ask-interval: who is older is to have all its peers */
#define SPREAD_S 20u  /* after that everybody has heard a message who is going to */
#define MSGS_MAX (GROW_S + STAY_S)

struct person {
    weir_gossip *gossip;
    uint32_t joined_s;
    uint8_t has_heard[MSGS_MAX];
};

static uint32_t
    churn_cnt; /* 1,000 nodes; with sanitizers 400, which are enough to look at memory */
static struct person *people; /* MESH_MAX of them: of each node that ever was */
static uint32_t now_s, said_cnt, said_s[MSGS_MAX];

static void on_messages(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    struct person *own = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint32_t which;
        cr_assert_eq(msgs[i].len, sizeof(which));
        memcpy(&which, msgs[i].data, sizeof(which));
        cr_assert_lt(which, said_cnt, "nobody said %u", which);
        cr_assert_eq(own->has_heard[which], 0, "%u came twice", which);
        own->has_heard[which] = 1;
    }
}

static void prepare(struct mesh_node *own)
{
    struct weir_gossip_config cfg;
    struct person *person = &people[own->idx];
    weir_gossip_config_init(&cfg);
    cfg.ctx = person;
    cfg.on_messages = on_messages;
    cfg.seen_max = 4096;
    cfg.store_max = 256;
    cfg.wants_max = 64;
    cr_assert_eq(weir_gossip_create(&person->gossip, own->node, &cfg), 0);
    person->joined_s = now_s;
}

static bool is_settled(uint32_t idx, uint32_t at_s)
{
    return mesh.nodes[idx].node && people[idx].joined_s + SETTLED_S <= at_s;
}

/* One who is there since so long, by lot. */
static uint32_t somebody(void)
{
    for (;;) {
        uint32_t idx = (uint32_t)weir_world_random(mesh.world, mesh.cnt);
        if (now_s < SETTLED_S ? mesh.nodes[idx].node != NULL : is_settled(idx, now_s))
            return idx;
    }
}

/* All know the first one's address and nothing else. It has a place for everybody: where its places are taken (246 of 256
 * are after one or two minutes), of those who come at once one is let in, and the others try again for seconds. */
static void join(void)
{
    char address[64];
    mesh.disco.seeds = mesh.cnt ? mesh.nodes[0].address : NULL;
    mesh.cfg.peers_max = mesh.cfg.handshakes_max = mesh.cnt ? 256 : 1280;
    mesh_address(mesh.cnt, address);
    (void)mesh_add(address);
}

static void leave(void)
{
    uint32_t idx = somebody();
    if (idx == 0) /* it stays: who would be told of nobody else could find nobody */
        return;
    mesh_kill(&mesh.nodes[idx]);
    weir_gossip_free(people[idx].gossip);
    people[idx].gossip = NULL;
}

static void say(void)
{
    uint32_t idx = somebody();
    said_s[said_cnt] = now_s;
    said_cnt++;
    people[idx].has_heard[said_cnt - 1] = 1; /* its own is not told to it */
    uint32_t which = said_cnt - 1;
    cr_assert_geq(weir_gossip_publish(people[idx].gossip, &which, sizeof(which), NULL), 0);
}

/* A second in which some go, some come and one says something. */
static void live(void)
{
    for (uint32_t i = 0; i < churn_cnt; i++) {
        leave();
        join();
    }
    say();
    weir_world_run(mesh.world, S);
    now_s++;
}

/* Settled nodes, and how many of them have all outbound peers that they are to have. */
static uint32_t settled(uint32_t *ret_full)
{
    uint32_t cnt = 0;
    *ret_full = 0;
    for (uint32_t i = 0; i < mesh.cnt; i++) {
        struct weir_discovery_info info = {.size = sizeof(info)};
        if (!is_settled(i, now_s) || weir_discovery_read(mesh.nodes[i].disco, &info) != 0)
            continue;
        cnt++;
        *ret_full += info.outbound_cnt >= mesh.disco.outbound_cnt;
    }
    return cnt;
}

/* All who are there are one component, but for who came in this second, and of those who had time for it all but one in a hundred
 * have all their peers: who just lost one looks for another. */
static bool is_whole(void)
{
    uint32_t alive, full, size = mesh_component(&alive), cnt = settled(&full);
    return size + churn_cnt >= alive && cnt != 0 && full * 100 >= cnt * 99;
}

Test(churn_sim, a_thousand_nodes_that_come_and_go_become_one_network_and_stay_it, .timeout = 1800)
{
    uint32_t node_cnt = all_or_few(1000, 250);
    churn_cnt = node_cnt / NODES_PER_CHURN;
    people = calloc(MESH_MAX, sizeof(*people));
    mesh_begin(9, 256);
    mesh.prepare = prepare;
    for (uint32_t i = 0; i < node_cnt; i++)
        join();
    uint32_t first_s = 0, broken = 0, alive, full, least = UINT32_MAX;
    while (now_s < GROW_S && first_s == 0) {
        live();
        if (now_s >= SETTLED_S && is_whole())
            first_s = now_s;
    }
    uint32_t size = mesh_component(&alive), cnt = settled(&full);
    cr_assert_neq(first_s, 0, "after %u s %u of %u in one component, %u of %u with all their peers",
                  now_s, size, alive, full, cnt);
    for (uint32_t i = 0; i < STAY_S; i++) {
        live();
        broken += !is_whole();
        size = mesh_component(&alive);
        least = size < least ? size : least;
    }
    cr_assert_eq(broken, 0, "in %u of %u s it was not whole; the largest component had %u at least",
                 broken, STAY_S, least);

    uint64_t due = 0, missed = 0;
    for (uint32_t which = 0; which < said_cnt && said_s[which] + SPREAD_S <= now_s; which++) {
        if (said_s[which] < first_s)
            continue;
        for (uint32_t i = 0; i < mesh.cnt; i++) {
            if (!is_settled(i, said_s[which]))
                continue;
            due++;
            missed += !people[i].has_heard[which];
        }
    }
    fprintf(stderr, "whole after %u s; %u of %u at least in one component; %llu of %llu heard\n",
            first_s, least, node_cnt, (unsigned long long)(due - missed), (unsigned long long)due);
    cr_assert_gt(due, 20 * node_cnt);
    cr_assert_eq(missed, 0);
    uint32_t all = mesh.cnt;
    mesh_end();
    for (uint32_t i = 0; i < all; i++)
        weir_gossip_free(people[i].gossip);
    mesh.prepare = NULL;
    free(people);
}
