/* Whom discovery dials, on real sockets: a feeler makes a place a tried one, anchors come first after a restart, who brings
 * nothing gives his place up, and from a name somebody is found who can do what is needed. */
#include "tests/integration/member.h"

IT_SUITE(places);

#define OTHERS 5u
#define NOBODY "127.99.0.1:1" /* no program of this machine listens there */

static struct member own, others[OTHERS];
static char book[64];

/* Whom `own` has dialed, in the order in which they came up. */
static char dialed[64][64];
static _Atomic uint32_t dialed_cnt;

static void note_dialed(struct it_node *node, weir_peer peer, int event, int reason)
{
    struct weir_peer_info info = {.size = sizeof(info)};
    (void)reason;
    if (event != WEIR_PEER_UP || weir_peer_info(node->node, peer, &info) != 0 || !info.is_dialer)
        return;
    if (dialed_cnt < 64)
        snprintf(dialed[dialed_cnt], sizeof(dialed[0]), "%.63s", info.address);
    atomic_fetch_add(&dialed_cnt, 1);
}

static void start(struct member *member, const char *name,
                  const struct weir_discovery_config *disco, bool has_gossip)
{
    memset(member, 0, sizeof(*member));
    it_init(&member->own, name);
    if (member == &own)
        own.own.on_peer = note_dialed;
    struct weir_gossip_config gossip;
    weir_gossip_config_init(&gossip);
    member_start(member, disco, has_gossip ? &gossip : NULL);
}

/* The others dial nobody and tell nobody of themselves: `own` knows what the test tells it. */
static void start_others(uint32_t cnt, bool has_gossip)
{
    struct weir_discovery_config disco;
    weir_discovery_config_init(&disco);
    disco.outbound_cnt = UINT32_MAX;
    disco.flags = WEIR_DISCOVERY_NO_FEELERS | WEIR_DISCOVERY_PRIVATE;
    for (uint32_t i = 0; i < cnt; i++)
        start(&others[i], "other", &disco, has_gossip && i != 3);
}

static struct weir_discovery_config config(void)
{
    struct weir_discovery_config disco;
    weir_discovery_config_init(&disco);
    disco.outbound_cnt = 4;
    disco.ask_interval_ns = 100 * IT_MS;
    disco.flags = WEIR_DISCOVERY_NO_FEELERS;
    return disco;
}

static struct weir_discovery_info info_of(const struct member *member)
{
    struct weir_discovery_info info = {.size = sizeof(info)};
    IT_OK(weir_discovery_read(member->disco, &info));
    return info;
}

static struct weir_discovery_info info_now(void)
{
    return info_of(&own);
}

static bool knows(const struct member *member, const char *address, const char *capability,
                  bool *ret_is_tried)
{
    struct weir_found found[8];
    int64_t cnt = weir_discovery_find(member->disco, capability, found, 8);
    for (int64_t i = 0; i < cnt && i < 8; i++) {
        *ret_is_tried = found[i].is_tried != 0;
        if (strcmp(found[i].address, address) == 0)
            return true;
    }
    return false;
}

static bool is_tried(const char *address)
{
    bool is_tried = false;
    return knows(&own, address, NULL, &is_tried) && is_tried;
}

static bool is_found(const struct member *member, const char *address)
{
    bool is_tried;
    return knows(member, address, "archive", &is_tried);
}

/* One after the other, so that they come up in this order. */
static void tell_of(uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        IT_OK(weir_discovery_add(own.disco, others[i].own.address));
        IT_WAIT(others[i].own.ups >= 1 && info_now().outbound_cnt == i + 1);
        IT_WAIT(info_of(&others[i]).answers_sent >= 1); /* it is asked when it has said who it is */
    }
}

IT_TEST(places, a_feeler_makes_a_place_a_tried_one)
{
    struct weir_discovery_config disco = config();
    start_others(1, false);
    disco.outbound_cnt = UINT32_MAX; /* nobody is kept: only feelers dial */
    disco.flags = 0;
    disco.feeler_interval_ns = 100 * IT_MS;
    start(&own, "own", &disco, false);
    IT_OK(weir_discovery_add(own.disco, NOBODY));
    int error = weir_discovery_add(own.disco, others[0].own.address);
    cr_assert(error == 0 || error == WEIR_E_LIMIT);
    if (error == WEIR_E_LIMIT) { /* once in 4,096 times both have the same slot */
        member_stop(&own);
        start(&own, "own", &disco, false);
        IT_OK(weir_discovery_add(own.disco, others[0].own.address));
    }
    IT_WAIT(is_tried(others[0].own.address));
    cr_assert(!is_tried(NOBODY));
    struct weir_discovery_info info = info_now();
    cr_assert(info.feelers >= 1 && info.feelers_good >= 1 && info.tried_cnt == 1);
    IT_EQ(info.outbound_cnt, 0);
    /* And goes at once: it was to find out, no more. */
    IT_WAIT(others[0].own.downs >= 1 && others[0].own.downs == others[0].own.ups);
    cr_assert_geq(others[0].own.down_by[WEIR_R_NOT_NEEDED], 1);
    member_stop(&own);
    member_stop(&others[0]);
}

/* A node that was stopped, as by its operator, knows its two oldest outbound peers when it comes back. */
IT_TEST(places, who_was_there_longest_is_dialed_first_after_a_restart)
{
    struct weir_discovery_config disco = config();
    snprintf(book, sizeof(book), "/tmp/weir-it-places-%d", getpid());
    unlink(book);
    disco.book_path = book;
    start_others(4, false);
    start(&own, "own", &disco, false);
    tell_of(0, 4);
    member_stop(&own);
    disco.dials_at_once =
        1; /* so that the order in which they come is that in which they were dialed */
    atomic_store(&dialed_cnt, 0);
    start(&own, "own", &disco, false);
    IT_WAIT(dialed_cnt >= 2);
    for (uint32_t i = 0; i < 2; i++)
        cr_assert(strcmp(dialed[i], others[0].own.address) == 0 ||
                      strcmp(dialed[i], others[1].own.address) == 0,
                  "%s was dialed as number %u, before %s or %s", dialed[i], i,
                  others[0].own.address, others[1].own.address);
    member_stop(&own);
    for (uint32_t i = 0; i < 4; i++)
        member_stop(&others[i]);
    unlink(book);
}

/* Of four peers one hands nothing on. There is nobody else at first, and then there is. */
IT_TEST(places, who_brings_nothing_gives_his_place_to_another)
{
    struct weir_discovery_config disco = config();
    disco.replace_interval_ns = WEIR_NS_PER_S;
    start_others(OTHERS, true);
    start(&own, "own", &disco, true);
    tell_of(0, 4);
    struct it_node *mute = &others[3].own, *last = &others[4].own;
    IT_EQ(mute->downs, 0);
    IT_OK(weir_discovery_add(own.disco, last->address));
    weir_ns until = weir_now() + IT_PATIENCE;
    for (uint64_t said = 1; mute->downs == 0; said++) {
        cr_assert(weir_now() < until, "it has kept its place");
        for (uint32_t i = 0; i < 3; i++) {
            uint64_t text[2] = {said, i};
            cr_assert_geq(weir_gossip_publish(others[i].gossip, text, sizeof(text), NULL), 0);
        }
        usleep(20000);
    }
    IT_EQ(mute->down_by[WEIR_R_NOT_NEEDED], 1);
    cr_assert(last->ups >= 1);
    cr_assert_geq(info_now().replaced, 1);
    member_stop(&own);
    for (uint32_t i = 0; i < OTHERS; i++)
        member_stop(&others[i]);
}

/* All that anybody knows is the name of one who keeps no archive. Of the two who do one asks to be told to nobody. */
IT_TEST(places, from_a_name_an_archive_is_found_and_a_private_one_is_not)
{
    struct weir_discovery_config disco = config();
    char seed[64];
    start_others(1, false);
    snprintf(seed, sizeof(seed), "localhost%s", strrchr(others[0].own.address, ':'));
    disco.seeds = seed;
    disco.capabilities = "relay,archive";
    disco.outbound_cnt = 1;
    start(&others[1], "archive", &disco, false);
    disco.flags |= WEIR_DISCOVERY_PRIVATE;
    start(&others[2], "private", &disco, false);
    disco.flags = WEIR_DISCOVERY_NO_FEELERS;
    IT_WAIT(is_found(&others[0], others[1].own.address));
    IT_WAIT(others[2].own.ups >=
            1); /* and it has been asked for places, so it has said who it is */
    IT_WAIT(info_of(&others[2]).answers_taken >= 1);
    disco.capabilities = NULL;
    disco.wanted = "archive";
    start(&own, "own", &disco, false);
    IT_WAIT(is_found(&own, others[1].own.address) && is_tried(others[1].own.address));
    IT_WAIT(info_now().outbound_cnt == 1);
    cr_assert(!is_found(&others[0], others[2].own.address) &&
              !is_found(&own, others[2].own.address));
    cr_assert(!is_found(&own, others[0].own.address), "the seed has no archive");
    member_stop(&own);
    for (uint32_t i = 0; i < 3; i++)
        member_stop(&others[i]);
}

/* An operator's list of whom nobody is told: of two places that a node knows one is on it. */
IT_TEST(places, who_is_unlisted_is_not_among_what_is_answered)
{
    struct weir_discovery_config disco = config();
    start_others(2, false);
    disco.outbound_cnt = UINT32_MAX;
    disco.unlisted = others[0].own.address;
    /* Once in 4,096 times both have the same slot of its book: then it begins with another secret. */
    for (int error = WEIR_E_LIMIT; error == WEIR_E_LIMIT;) {
        start(&others[2], "teller", &disco, false);
        IT_OK(weir_discovery_add(others[2].disco, others[0].own.address));
        error = weir_discovery_add(others[2].disco, others[1].own.address);
        cr_assert(error == 0 || error == WEIR_E_LIMIT);
        if (error != 0)
            member_stop(&others[2]);
    }
    disco = config();
    disco.seeds = others[2].own.address;
    disco.outbound_cnt = 2;
    start(&own, "own", &disco, false);
    IT_WAIT(others[1].own.ups >=
            1); /* one answer has told of it, and of all that there is to tell */
    bool is_tried;
    cr_assert(knows(&own, others[1].own.address, NULL, &is_tried));
    cr_assert(!knows(&own, others[0].own.address, NULL, &is_tried));
    IT_EQ(others[0].own.ups, 0);
    member_stop(&own);
    for (uint32_t i = 0; i < 3; i++)
        member_stop(&others[i]);
}
