/* A thousand connections, opened and closed: descriptors, slots and memory come back. */
#include "tests/integration/raw.h"

IT_SUITE(churn);

#define CNT 1000u

static struct it_node a, b;

static void count(struct it_node *node, const struct weir_msg *msg)
{
    (void)node;
    (void)msg;
}

static void big_node(struct it_node *node, const char *name)
{
    it_init(node, name);
    it_channel(node, 1);
    node->cfg.peers_max = CNT + 50;
    node->cfg.handshakes_max = CNT;
    node->cfg.dials_max = CNT + 50;
    node->on_msg = count;
}

IT_TEST(churn, a_thousand_at_once_between_two_nodes)
{
    big_node(&a, "a");
    big_node(&b, "b");
    b.cfg.shard_cnt = 2;
    b.cfg.peers_max = CNT; /* per shard */
    int fds_idle;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    fds_idle = it_fds();
    for (uint32_t i = 0; i < CNT; i++)
        IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.ups == CNT && b.ups == CNT);
    IT_EQ(it_metrics(&a)->conns, CNT);
    IT_EQ(it_metrics(&b)->conns, CNT);
    IT_EQ(it_metrics(&b)->accepted, CNT);
    IT_EQ(it_metrics(&a)->dialed, CNT);
    IT_EQ(it_fds(), fds_idle + 2 * (int)CNT);
    /* Idle connections hold no message memory. */
    IT_WAIT(it_metrics(&a)->pool_bytes == 0 && it_metrics(&b)->pool_bytes == 0);
    IT_EQ(weir_broadcast(a.node, 1, "to all", 6, NULL), 0);
    IT_WAIT(b.msgs == CNT);
    /* Half are ended by one side, the rest by the other, at the same time. */
    static weir_peer of_a[CNT / 2], of_b[CNT];
    for (uint32_t i = 0; i < CNT / 2; i++)
        of_a[i] = it_peer(&a, i);
    for (uint32_t i = 0; i < CNT; i++)
        of_b[i] = it_peer(&b, i);
    for (uint32_t i = 0; i < CNT / 2; i++) {
        int error = weir_disconnect(a.node, of_a[i], WEIR_R_APPLICATION);
        cr_assert(error == 0 || error == WEIR_E_GONE);
    }
    for (uint32_t i = 0; i < CNT; i++) {
        int error = weir_disconnect(b.node, of_b[i], 0);
        cr_assert(error == 0 || error == WEIR_E_GONE);
    }
    IT_WAIT(a.downs == CNT && b.downs == CNT);
    IT_EQ(a.down_by[WEIR_R_APPLICATION], CNT);
    IT_EQ(b.down_by[WEIR_R_APPLICATION], CNT);
    it_wait_empty(&a);
    it_wait_empty(&b);
    IT_WAIT(it_fds() == fds_idle);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(churn, a_thousand_one_after_the_other)
{
    struct raw raw;
    big_node(&b, "b");
    b.cfg.peers_max = 4;
    it_start(&b, "127.0.0.1:0");
    int fds_idle = it_fds();
    for (uint32_t i = 0; i < CNT; i++) {
        raw_init(&raw, 1, 65536);
        raw_join(&raw, &b);
        if (i % 3 == 0)
            raw_message(&raw, 1, "hello", 5);
        if (i % 3 == 1)
            raw_frame(&raw, WEIR_FRAME_FIRST, 1, 100000, "half", 4);
        if (i % 2)
            raw_reset(&raw);
        raw_close(&raw);
        IT_WAIT(b.downs + 2 > i); /* of four slots one or two are ending */
    }
    IT_WAIT(b.downs == CNT);
    IT_EQ(b.down_by[WEIR_R_EOF] + b.down_by[WEIR_R_RESET], CNT);
    it_wait_empty(&b);
    IT_WAIT(it_fds() == fds_idle);
    it_stop(&b);
}

/* Peers that come, say something and go in the same breath: the node sees all of it at once. */
IT_TEST(churn, a_thousand_that_leave_before_they_are_seen)
{
    struct raw raws[50];
    big_node(&b, "b");
    it_start(&b, "127.0.0.1:0");
    int fds_idle = it_fds();
    for (uint32_t i = 0; i < CNT; i += 50) {
        for (int k = 0; k < 50; k++) {
            raw_init(&raws[k], 1, 65536);
            raw_connect(&raws[k], b.address);
            raw_bytes(&raws[k], "\x89WEIR\r\n\x1a?", (size_t)(k % 10));
        }
        for (int k = 0; k < 50; k++) {
            if (k % 2)
                raw_reset(&raws[k]);
            raw_close(&raws[k]);
        }
    }
    IT_WAIT(it_metrics(&b)->accepted == CNT);
    IT_WAIT(b.fails == CNT);
    it_wait_empty(&b);
    IT_WAIT(it_fds() == fds_idle);
    it_stop(&b);
}

/* Nodes are made and freed, too, in every state that a program may leave them in. */
IT_TEST(churn, nodes_are_freed_in_every_state)
{
    for (int i = 0; i < 20; i++) {
        big_node(&a, "a");
        big_node(&b, "b");
        a.cfg.shard_cnt = 2;
        IT_OK(weir_node_create(&a.node, &a.cfg)); /* created */
        it_free(&a);
        big_node(&a, "a");
        it_create(&a, "127.0.0.1:0"); /* listening */
        it_metrics(&a);
        IT_OK(weir_dial(a.node, a.address, WEIR_DIAL_PERSIST)); /* and a dial that waits */
        it_free(&a);
        big_node(&a, "a");
        it_start(&b, "127.0.0.1:0");
        it_start(&a, NULL); /* running, with a connection, messages under way and a dial */
        weir_peer peer = it_link(&a, &b);
        char msg[3000] = {0};
        for (int k = 0; k < 50; k++)
            (void)!weir_try_send(a.node, peer, 1, msg, sizeof(msg));
        IT_OK(weir_dial(a.node, b.address, WEIR_DIAL_PERSIST));
        it_free(i % 2 ? &a : &b);
        it_free(i % 2 ? &b : &a);
    }
    weir_node_free(NULL);
}
