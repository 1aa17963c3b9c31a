#include <string.h>

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "engine/node/gossip_impl.h"

#define PEER_SHARE 4u /* of all wants, those that one peer can be the first to tell of: a fourth */
#define PEER_WANTS_MIN 16u

int gossip_wants_init(weir_gossip *gossip)
{
    struct gossip_wants *wants = &gossip->wants;
    uint32_t max = gossip->cfg.wants_max, bucket_cnt = 16;
    while (bucket_cnt < max)
        bucket_cnt *= 2;
    wants->bucket_mask = bucket_cnt - 1;
    wants->items = weir_heap_alloc(NULL, max * sizeof(*wants->items));
    wants->buckets = weir_heap_alloc(NULL, bucket_cnt * sizeof(*wants->buckets));
    gossip->wheels = weir_heap_alloc(NULL, gossip->shard_cnt * sizeof(*gossip->wheels));
    if (!wants->items || !wants->buckets || !gossip->wheels)
        return WEIR_E_NOMEM;
    for (uint32_t i = max; i-- > 0;) {
        wants->items[i].next = wants->free;
        wants->free = &wants->items[i];
    }
    weir_ns now = weir_node_now(gossip->node);
    for (uint32_t i = 0; i < gossip->shard_cnt; i++)
        weir_wheel_init(&gossip->wheels[i], now);
    return 0;
}

void gossip_wants_fini(weir_gossip *gossip)
{
    weir_heap_release(gossip->wants.items);
    weir_heap_release(gossip->wants.buckets);
    weir_heap_release(gossip->wheels);
}

static struct gossip_want **link_of(weir_gossip *gossip, const uint8_t id[16])
{
    struct gossip_wants *wants = &gossip->wants;
    uint64_t hash = weir_hash_ops()->xxh3(id, 16, gossip->secret);
    struct gossip_want **link = &wants->buckets[hash & wants->bucket_mask];
    while (*link && memcmp((*link)->id, id, 16) != 0)
        link = &(*link)->next;
    return link;
}

static void drop(weir_gossip *gossip, struct gossip_want *want)
{
    struct gossip_wants *wants = &gossip->wants;
    struct gossip_want **link = link_of(gossip, want->id);
    WEIR_CHECK(*link == want);
    *link = want->next;
    weir_wheel_cancel(&gossip->wheels[want->timer.arg], &want->timer);
    if (want->first)
        want->first->want_cnt--;
    want->next = wants->free;
    wants->free = want;
    wants->cnt--;
}

static weir_ns patience(const weir_gossip *gossip, const struct gossip_want *want)
{
    return gossip->cfg.want_timeout_ns + want->len * WEIR_NS_PER_US;
}

/* Asks the next who has it, or gives it up. Who has told of it again meanwhile is asked again. */
static void ask_next(weir_gossip *gossip, struct gossip_want *want, weir_ns now)
{
    uint8_t bytes[WEIR_GOSSIP_LIST_HEAD_BYTES + 20];
    uint32_t len = weir_gossip_list_of_one(bytes, WEIR_GOSSIP_WANT, want->id, 0);
    bool is_again = want->asked.v != 0;
    while (want->next_announcer < want->announcer_cnt) {
        weir_peer peer = want->announcers[want->next_announcer++];
        if (weir_try_send(gossip->node, peer, gossip->cfg.channel, bytes, len) != 0)
            continue;
        want->asked = peer;
        weir_wheel_set(&gossip->wheels[want->timer.arg], &want->timer,
                       now + patience(gossip, want));
        gossip_count(&gossip->stats.asked, 1);
        gossip_count(&gossip->stats.asked_again, is_again);
        return;
    }
    gossip_count(&gossip->stats.in_vain, 1);
    drop(gossip, want);
}

void gossip_want_add(weir_gossip *gossip, struct gossip_peer *peer, const uint8_t id[16],
                     uint32_t len, weir_ns now)
{
    struct gossip_wants *wants = &gossip->wants;
    struct gossip_want *want = *link_of(gossip, id);
    if (want) {
        if (want->announcer_cnt < GOSSIP_ANNOUNCERS)
            want->announcers[want->announcer_cnt++] = peer->peer;
        return;
    }
    uint32_t share = gossip->cfg.wants_max / PEER_SHARE;
    share = share > PEER_WANTS_MIN ? share : PEER_WANTS_MIN;
    want = wants->free;
    if (!want || peer->want_cnt >= share)
        return;
    wants->free = want->next;
    wants->cnt++;
    peer->want_cnt++;
    *want = (struct gossip_want){
        .first = peer, .announcers = {peer->peer}, .announcer_cnt = 1, .len = len};
    memcpy(want->id, id, 16);
    struct gossip_want **link = link_of(gossip, id);
    want->next = *link;
    *link = want;
    want->timer.arg = weir_peer_shard(peer->peer);
    if (len > gossip->cfg.push_bytes_max) {
        ask_next(gossip, want, now);
        return; /* may have dropped it */
    }
    weir_wheel_set(&gossip->wheels[want->timer.arg], &want->timer, now + gossip->cfg.want_delay_ns);
}

uint32_t gossip_want_end(weir_gossip *gossip, const uint8_t id[16],
                         weir_peer ret_known[GOSSIP_ANNOUNCERS])
{
    struct gossip_want *want = *link_of(gossip, id);
    if (!want)
        return 0;
    uint32_t cnt = want->announcer_cnt;
    memcpy(ret_known, want->announcers, cnt * sizeof(*ret_known));
    drop(gossip, want);
    return cnt;
}

void gossip_want_missing(weir_gossip *gossip, weir_peer peer, const uint8_t id[16], weir_ns now)
{
    struct gossip_want *want = *link_of(gossip, id);
    if (want && want->asked.v == peer.v)
        ask_next(gossip, want, now);
}

void gossip_want_gone(weir_gossip *gossip, struct gossip_peer *peer, weir_ns now)
{
    for (uint32_t i = 0; i < gossip->cfg.wants_max && gossip->wants.cnt; i++) {
        struct gossip_want *want = &gossip->wants.items[i];
        if (want->announcer_cnt == 0)
            continue; /* never used */
        if (want->first == peer)
            want->first = NULL;
        if (weir_timer_is_set(&want->timer) && want->asked.v == peer->peer.v)
            ask_next(gossip, want, now);
    }
}

weir_ns gossip_want_tick(weir_gossip *gossip, uint32_t shard, weir_ns now)
{
    struct weir_timer *timer;
    while ((timer = weir_wheel_pop(&gossip->wheels[shard], now)) != NULL)
        ask_next(gossip, (struct gossip_want *)(void *)timer, now);
    weir_ns wait = weir_wheel_wait(&gossip->wheels[shard], now);
    return wait == WEIR_NS_FOREVER ? WEIR_NS_FOREVER : now + wait;
}
