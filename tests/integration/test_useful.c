/* A node whose only outbound peer tells it nothing dials elsewhere, on real sockets. */
#include "tests/integration/member.h"

IT_SUITE(useful);

static struct member mute, talker, own;

static void start(struct member *member, const char *name, uint32_t shard_cnt,
                  const struct weir_discovery_config *disco, bool has_gossip)
{
    struct weir_gossip_config gossip;
    weir_gossip_config_init(&gossip);
    gossip.flags = WEIR_GOSSIP_NO_CATCH_UP;
    it_init(&member->own, name);
    member->own.cfg.shard_cnt = shard_cnt;
    member_start(member, disco, has_gossip ? &gossip : NULL);
}

IT_TEST(useful, who_hears_nothing_new_dials_elsewhere)
{
    struct weir_discovery_config disco;
    struct weir_discovery_info info = {.size = sizeof(info)};
    weir_discovery_config_init(&disco);
    disco.outbound_cnt = UINT32_MAX; /* they dial nobody */
    disco.flags = WEIR_DISCOVERY_NO_FEELERS | WEIR_DISCOVERY_PRIVATE;
    start(&mute, "mute", 1, &disco, false);
    start(&talker, "talker", 1, &disco, true);
    disco.outbound_cnt = 1;
    disco.quiet_ns = WEIR_NS_PER_S;
    disco.replace_interval_ns = WEIR_NS_PER_S; /* finds nobody: with one peer there is no median */
    start(&own, "own", 2, &disco, true);
    IT_OK(weir_discovery_add(own.disco, mute.own.address));
    IT_WAIT(mute.own.ups >= 1);
    IT_OK(weir_discovery_add(own.disco, talker.own.address));
    weir_ns until = weir_now() + IT_PATIENCE;
    for (uint64_t said = 1; own.heard == 0; said++) {
        cr_assert(weir_now() < until, "nobody else was dialed");
        cr_assert_geq(weir_gossip_publish(talker.gossip, &said, sizeof(said), NULL), 0);
        usleep(20000);
    }
    IT_WAIT(mute.own.downs == mute.own.ups);
    IT_OK(weir_discovery_read(own.disco, &info));
    cr_assert(info.replaced >= 1 && info.quiets >= 1);
    member_stop(&own);
    member_stop(&talker);
    member_stop(&mute);
}
