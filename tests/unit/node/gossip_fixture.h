/* tests/unit/node/gossip_fixture.h: gossip in a simulated world: members[] that publish numbered messages, and write down
 * how often each came.
 *
 *   begin(3, seed);            three members that nobody has joined
 *   join(0, 1); run(MS);
 *   publish(0, number, len);   members[1].got[number]
 *   finish();
 */
#ifndef WEIR_TESTS_UNIT_NODE_GOSSIP_FIXTURE_H
#define WEIR_TESTS_UNIT_NODE_GOSSIP_FIXTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mem/heap.h"
#include "weir/gossip.h"
#include "weir/reactor.h"
#include "weir/sim.h"

#define MS WEIR_NS_PER_MS
#define NODES_MAX 60u
#define MESSAGES_MAX 200u

struct member {
    weir_node *node;
    weir_gossip *gossip;
    weir_peer peer; /* the last that came up */
    uint32_t idx, downs[WEIR_REASON_CNT];
    uint8_t verdict;
    uint32_t got[MESSAGES_MAX]; /* how often each came */
    uint8_t hops[MESSAGES_MAX];
};

static weir_world *world;
static struct member members[NODES_MAX];
static struct weir_gossip_config gossip_cfg = {.size = sizeof(gossip_cfg), .seen_max = 1024};
static uint32_t damaged;
static uint32_t short_at = UINT32_MAX; /* whose next message finds no memory to be handed on */

/* A message is its number, and bytes that follow from it. */
static inline void fill(uint8_t *ret_bytes, size_t len, uint32_t number)
{
    for (size_t i = 0; i < len; i++)
        ret_bytes[i] = (uint8_t)(number * 31 + i * 7);
    memcpy(ret_bytes, &number, sizeof(number));
}

static inline void on_messages(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    static uint8_t want[1 << 20];
    struct member *member = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint32_t number;
        memcpy(&number, msgs[i].data, sizeof(number));
        if (number >= MESSAGES_MAX) {
            damaged++;
            continue;
        }
        fill(want, msgs[i].len, number);
        damaged += memcmp(want, msgs[i].data, msgs[i].len) != 0;
        member->got[number]++;
        member->hops[number] = msgs[i].hops;
        msgs[i].verdict = member->verdict;
    }
    if (member->idx == short_at) {
        weir_heap_fail_nth(1);
        short_at = UINT32_MAX;
    }
}

static inline void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct member *member = ctx;
    if (event == WEIR_PEER_UP)
        member->peer = peer;
    if (event == WEIR_PEER_DOWN)
        member->downs[reason]++;
}

static inline void make(uint32_t idx)
{
    struct member *member = &members[idx];
    struct weir_config cfg = {.size = sizeof(cfg),
                              .peers_max = 64,
                              .recv_buf_cnt = 2,
                              .recv_buf_bytes = 16384,
                              .dials_max = 16,
                              .redial_max_ns = WEIR_NS_PER_S};
    struct weir_reactor reactor = {.size = sizeof(reactor), .ctx = member, .on_peer = on_peer};
    char address[32];
    *member = (struct member){.idx = idx};
    gossip_cfg.ctx = member;
    gossip_cfg.on_messages = on_messages;
    cr_assert_eq(weir_world_node_create(world, idx + 1, &cfg, &member->node), 0);
    cr_assert_eq(weir_node_attach(member->node, &reactor, NULL, 0), 0);
    cr_assert_eq(weir_gossip_create(&member->gossip, member->node, &gossip_cfg), 0);
    snprintf(address, sizeof(address), "10.0.0.%u:7000", idx + 1);
    cr_assert_eq(weir_node_listen(member->node, address), 0);
    cr_assert_eq(weir_node_start(member->node), 0);
}

static inline void join(uint32_t from, uint32_t to)
{
    char address[32];
    snprintf(address, sizeof(address), "10.0.0.%u:7000", to + 1);
    cr_assert_eq(weir_dial(members[from].node, address, WEIR_DIAL_PERSIST), 0);
}

static inline void begin(uint32_t cnt, uint64_t seed)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = seed};
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
    for (uint32_t i = 0; i < cnt; i++)
        make(i);
}

static inline void finish(void)
{
    weir_world_free(world);
    for (uint32_t i = 0; i < NODES_MAX; i++)
        weir_gossip_free(members[i].gossip);
    cr_assert_eq(damaged, 0);
}

static inline void run(weir_ns duration)
{
    (void)weir_world_run(world, duration);
}

static inline int64_t publish(uint32_t idx, uint32_t number, size_t len)
{
    static uint8_t bytes[1 << 20];
    fill(bytes, len, number);
    return weir_gossip_publish(members[idx].gossip, bytes, len, NULL);
}

static inline struct weir_gossip_stats stats_of(uint32_t idx)
{
    struct weir_gossip_stats stats = {.size = sizeof(stats)};
    cr_assert_eq(weir_gossip_stats_read(members[idx].gossip, &stats), 0);
    return stats;
}

#endif
