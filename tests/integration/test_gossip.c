/* Gossip over real sockets: ten nodes of two shards in a ring with chords; threads publish, small and large. */
#include "tests/integration/harness.h"

IT_SUITE(gossip);

#define NODES 10u
#define MESSAGES 60u /* of each node */

static struct it_node nodes[NODES];
static weir_gossip *gossips[NODES];
static _Atomic uint8_t got[NODES][NODES * MESSAGES];
static _Atomic uint32_t got_cnt[NODES];

static uint32_t len_of(uint32_t number)
{
    return number % 7 == 3 ? 5000 + number * 61 % 100000 : 16 + number % 3000;
}

static void on_messages(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    struct it_node *node = ctx;
    size_t idx = (size_t)(node - nodes);
    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint64_t number;
        memcpy(&number, msgs[i].data, sizeof(number));
        if (number >= NODES * MESSAGES || msgs[i].len != len_of((uint32_t)number) ||
            !it_is_filled(msgs[i].data + 8, msgs[i].len - 8, number)) {
            it_fault(node, "message %lu is damaged", number);
            continue;
        }
        if (number / MESSAGES == idx || atomic_fetch_add(&got[idx][number], 1) != 0)
            it_fault(node, "message %lu came again", number);
        atomic_fetch_add(&got_cnt[idx], 1);
    }
}

static void *publish(void *arg)
{
    uintptr_t idx = (uintptr_t)arg;
    static uint8_t bytes[NODES][120000];
    for (uint64_t i = 0; i < MESSAGES; i++) {
        uint64_t number = idx * MESSAGES + i;
        uint32_t len = len_of((uint32_t)number);
        memcpy(bytes[idx], &number, sizeof(number));
        it_fill(bytes[idx] + 8, len - 8, number);
        int64_t to = weir_gossip_publish(gossips[idx], bytes[idx], len, NULL);
        if (to < 1)
            it_fault(&nodes[idx], "publish: %ld", (long)to);
        usleep(500);
    }
    return NULL;
}

IT_TEST(gossip, every_node_gets_each_message_once)
{
    struct weir_gossip_config cfg = {.size = sizeof(cfg), .fanout = 2, .on_messages = on_messages};
    cfg.age_max_ns = 600 * WEIR_NS_PER_S; /* a slow machine loses none by their age */
    for (uint32_t i = 0; i < NODES; i++) {
        it_init(&nodes[i], "node");
        nodes[i].cfg.shard_cnt = 2;
        nodes[i].cfg.peers_max = 32;
        nodes[i].cfg.recv_buf_cnt = 4;
        it_create(&nodes[i], "127.0.0.1:0");
        cfg.ctx = &nodes[i];
        IT_OK(weir_gossip_create(&gossips[i], nodes[i].node, &cfg));
        IT_OK(weir_node_start(nodes[i].node));
    }
    for (uint32_t i = 0; i < NODES; i++) {
        it_link(&nodes[i], &nodes[(i + 1) % NODES]);
        it_link(&nodes[i], &nodes[(i + 3) % NODES]);
    }
    pthread_t threads[NODES];
    for (uintptr_t i = 0; i < NODES; i++)
        pthread_create(&threads[i], NULL, publish, (void *)i);
    for (uint32_t i = 0; i < NODES; i++)
        pthread_join(threads[i], NULL);
    for (uint32_t i = 0; i < NODES; i++) {
        IT_WAIT(got_cnt[i] >= (NODES - 1) * MESSAGES || nodes[i].faults);
        it_check_faults(&nodes[i]);
    }
    uint64_t delivered = 0, published = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        struct weir_gossip_stats stats = {.size = sizeof(stats)};
        IT_OK(weir_gossip_stats_read(gossips[i], &stats));
        delivered += stats.delivered;
        published += stats.published;
        IT_EQ(stats.faults, 0);
    }
    IT_EQ(published, NODES * MESSAGES);
    IT_EQ(delivered, NODES * (NODES - 1) * MESSAGES);
    for (uint32_t i = 0; i < NODES; i++)
        IT_OK(weir_node_stop(nodes[i].node, 10 * WEIR_NS_PER_S));
    for (uint32_t i = 0; i < NODES; i++) {
        it_free(&nodes[i]);
        weir_gossip_free(gossips[i]);
    }
}

/* ---- weir_multicast ------------------------------------------------------------------------ */

IT_TEST(gossip, a_list_of_peers_gets_a_message_and_nobody_else)
{
    struct it_node *hub = &nodes[0];
    it_init(hub, "hub");
    hub->cfg.shard_cnt = 2;
    it_start(hub, "127.0.0.1:0");
    weir_peer peers[8];
    for (uint32_t i = 0; i < 8; i++) {
        it_init(&nodes[1 + i], "leaf");
        it_start(&nodes[1 + i], NULL);
        it_link(&nodes[1 + i], hub);
        peers[i] = it_newest(hub);
    }
    weir_peer some[] = {peers[1], peers[6], {0}, peers[4], {UINT64_MAX}};
    static uint8_t large[300000];
    cr_assert_geq(weir_multicast(hub->node, 1, "some", 4, some, 5), 0);
    cr_assert_geq(weir_multicast(hub->node, 1, large, sizeof(large), some, 5), 0);
    cr_assert_geq(weir_multicast(hub->node, 1, NULL, 0, some, 5), 0);
    IT_EQ(weir_multicast(hub->node, 1, "none", 4, NULL, 0), 0);
    IT_IS(weir_multicast(hub->node, 1, "none", 4, NULL, 1), WEIR_E_MISUSE);
    IT_IS(weir_multicast(hub->node, 9, "none", 4, some, 1), WEIR_E_NO_CHANNEL);
    cr_assert_geq(weir_broadcast(hub->node, 1, "all", 3, NULL), 0);
    for (uint32_t i = 0; i < 8; i++) {
        uint64_t want = i == 1 || i == 6 || i == 4 ? 4 : 1;
        IT_WAIT(nodes[1 + i].msgs == want);
    }
    for (uint32_t i = 0; i < 8; i++)
        it_stop(&nodes[1 + i]);
    IT_WAIT(hub->downs == 8);
    it_wait_empty(hub);
    it_stop(hub);
}
