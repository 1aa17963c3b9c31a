/* What a node developer does with many peers, on threads and real sockets: samples, receipts, look-ups, farewells,
 * filters, and the order of events while peers come and go. */
#include "tests/integration/harness.h"

IT_SUITE(switches);

#define LEAVES 12u

static struct it_node hub, leaves[LEAVES];

static void make_star(uint32_t shard_cnt, uint32_t leaf_cnt)
{
    it_init(&hub, "hub");
    hub.cfg.shard_cnt = shard_cnt;
    it_start(&hub, "127.0.0.1:0");
    for (uint32_t i = 0; i < leaf_cnt; i++) {
        it_init(&leaves[i], "leaf");
        it_start(&leaves[i], NULL);
        it_link(&leaves[i], &hub);
    }
}

static void end_star(uint32_t leaf_cnt)
{
    for (uint32_t i = 0; i < leaf_cnt; i++)
        it_stop(&leaves[i]);
    IT_WAIT(hub.downs == hub.ups);
    it_wait_empty(&hub);
    it_stop(&hub);
}

static struct weir_receipt_counts counts_of(weir_receipt *receipt)
{
    struct weir_receipt_counts counts = {.size = sizeof(counts)};
    IT_OK(weir_receipt_read(receipt, &counts));
    return counts;
}

/* ---- samples and receipts ------------------------------------------------------------------ */

static int is_not_first(void *ctx, weir_peer peer)
{
    return peer.v != ((weir_peer *)ctx)->v;
}

static void check_samples(uint32_t shard_cnt)
{
    static _Atomic uint64_t before[LEAVES];
    make_star(shard_cnt, LEAVES);
    weir_peer first = it_peer(&hub, 0);
    uint32_t drawn = 0;
    for (uint32_t round = 0; round < 60; round++) {
        weir_receipt *receipt;
        IT_OK(weir_receipt_create(&receipt, hub.node));
        struct weir_fanout fanout = {.size = sizeof(fanout),
                                     .accept = is_not_first,
                                     .ctx = &first,
                                     .sample = 3,
                                     .receipt = receipt};
        for (uint32_t i = 0; i < LEAVES; i++)
            before[i] = leaves[i].msgs;
        cr_assert_geq(weir_broadcast(hub.node, 1, "sample", 6, &fanout), 0);
        int error = weir_receipt_wait(receipt, 3, IT_PATIENCE);
        struct weir_receipt_counts counts = counts_of(receipt);
        /* With two shards a share can meet the one that is not wanted, in a shard that has few. */
        cr_assert(error == 0 || (shard_cnt > 1 && error == WEIR_E_GONE), "%s",
                  weir_error_name(error));
        cr_assert(counts.is_settled && counts.lost == 0 && counts.handed == counts.queued);
        cr_assert(counts.queued <= 3 && (shard_cnt > 1 || counts.queued == 3));
        IT_WAIT(({
            uint64_t got = 0;
            for (uint32_t i = 0; i < LEAVES; i++)
                got += leaves[i].msgs - before[i];
            got == counts.queued;
        }));
        for (uint32_t i = 0; i < LEAVES; i++) {
            cr_assert_leq(leaves[i].msgs - before[i], 1);
            drawn |= (uint32_t)(leaves[i].msgs - before[i]) << i;
        }
        weir_receipt_free(receipt);
    }
    /* Each of 11 is missed 60 times with a chance of (8/11)^60, 5e-9. */
    uint32_t drawn_cnt = (uint32_t)__builtin_popcount(drawn);
    IT_EQ(drawn_cnt, LEAVES - 1);
    struct weir_fanout all = {.size = sizeof(all), .sample = 1000};
    cr_assert_geq(weir_broadcast(hub.node, 1, "all", 3, &all), 0);
    IT_WAIT(({
        uint64_t got = 0;
        for (uint32_t i = 0; i < LEAVES; i++)
            got += leaves[i].msgs;
        got >= LEAVES &&it_metrics(&hub)->channels[0].msgs_sent == got;
    }));
    end_star(LEAVES);
}

IT_TEST(switches, a_sample_of_one_shard)
{
    check_samples(1);
}

IT_TEST(switches, a_sample_of_two_shards)
{
    check_samples(2);
}

/* A large message to peers of which some take nothing: the receipt says how many have it, and when they go it is
 * settled. */
IT_TEST(switches, a_receipt_counts_who_was_handed_a_message_and_who_was_not)
{
    static uint8_t large[8 << 20];
    it_init(&hub, "hub");
    struct weir_channel *channel = it_channel(&hub, 1);
    channel->msg_bytes_max = sizeof(large);
    channel->send_bytes_max = 2 * sizeof(large);
    hub.cfg.shard_cnt = 2;
    it_start(&hub, "127.0.0.1:0");
    for (uint32_t i = 0; i < 4; i++) {
        it_init(&leaves[i], "leaf");
        channel = it_channel(&leaves[i], 1);
        channel->msg_bytes_max = sizeof(large);
        channel->recv_bytes_max = sizeof(large);
        it_start(&leaves[i], NULL);
        weir_peer peer = it_link(&leaves[i], &hub);
        if (i == 3) /* takes nothing of a second message */
            IT_OK(weir_channel_pause(leaves[i].node, peer, 1, 1));
    }
    weir_receipt *receipts[2];
    for (uint32_t i = 0; i < 2; i++) {
        IT_OK(weir_receipt_create(&receipts[i], hub.node));
        struct weir_receipt_counts fresh = counts_of(receipts[i]);
        cr_assert(!fresh.is_settled && fresh.queued == 0);
        struct weir_fanout fanout = {.size = sizeof(fanout), .receipt = receipts[i]};
        cr_assert_geq(weir_broadcast(hub.node, 1, large, sizeof(large), &fanout), 0);
        IT_IS(weir_broadcast(hub.node, 1, large, sizeof(large), &fanout), WEIR_E_STATE);
    }
    IT_OK(weir_receipt_wait(receipts[0], 4, IT_PATIENCE));
    IT_OK(weir_receipt_wait(receipts[1], 3, IT_PATIENCE));
    IT_IS(weir_receipt_wait(receipts[1], 4, 10 * IT_MS), WEIR_E_TIMEOUT);
    struct weir_receipt_counts counts = counts_of(receipts[1]);
    cr_assert(counts.queued == 4 && counts.handed == 3 && counts.lost == 0 && !counts.is_settled);
    weir_node_free(leaves[3].node); /* without a word */
    IT_IS(weir_receipt_wait(receipts[1], 4, IT_PATIENCE), WEIR_E_GONE);
    counts = counts_of(receipts[1]);
    cr_assert(counts.handed == 3 && counts.lost == 1 && counts.is_settled);
    counts = counts_of(receipts[0]);
    cr_assert(counts.handed == 4 && counts.lost == 0 && counts.is_settled);
    weir_receipt_free(receipts[0]);
    struct weir_fanout empty = {.size = sizeof(empty), .receipt = receipts[1]};
    IT_IS(weir_broadcast(hub.node, 1, NULL, 0, &empty), WEIR_E_MISUSE);
    weir_receipt_free(receipts[1]);
    end_star(3);
}

/* A list of peers of both shards, of one that is gone, and of nobody: the receipt counts those that there are. */
IT_TEST(switches, a_receipt_counts_a_list_too)
{
    make_star(2, 8);
    weir_peer list[7];
    for (uint32_t i = 0; i < 6; i++)
        list[i] = it_peer(&hub, i);
    list[6] = (weir_peer){0};
    it_stop(&leaves[0]);
    IT_WAIT(hub.downs == 1);
    weir_receipt *receipt;
    IT_OK(weir_receipt_create(&receipt, hub.node));
    cr_assert_geq(weir_multicast_receipt(hub.node, 1, "listed", 6, list, 7, receipt), 0);
    IT_OK(weir_receipt_wait(receipt, 5, IT_PATIENCE));
    IT_IS(weir_receipt_wait(receipt, 6, IT_PATIENCE), WEIR_E_GONE);
    struct weir_receipt_counts counts = counts_of(receipt);
    cr_assert(counts.is_settled && counts.queued == 5 && counts.handed == 5 && counts.lost == 0);
    IT_WAIT(({
        uint64_t got = 0;
        for (uint32_t i = 1; i < 8; i++)
            got += leaves[i].msgs;
        got == 5;
    }));
    IT_IS(weir_multicast_receipt(hub.node, 1, "again", 5, list, 7, receipt), WEIR_E_STATE);
    IT_IS(weir_multicast_receipt(hub.node, 1, "none", 4, list, 7, NULL), WEIR_E_MISUSE);
    weir_receipt_free(receipt);
    /* To nobody: settled at once. */
    IT_OK(weir_receipt_create(&receipt, hub.node));
    IT_EQ(weir_multicast_receipt(hub.node, 1, "nobody", 6, NULL, 0, receipt), 0);
    IT_IS(weir_receipt_wait(receipt, 1, IT_PATIENCE), WEIR_E_GONE);
    weir_receipt_free(receipt);
    for (uint32_t i = 1; i < 8; i++)
        it_stop(&leaves[i]);
    IT_WAIT(hub.downs == hub.ups);
    it_wait_empty(&hub);
    it_stop(&hub);
}

/* The owner may go at any time, and a node that ends settles what it did not send. */
IT_TEST(switches, a_receipt_may_be_freed_before_its_message_is_sent)
{
    make_star(2, 4);
    static uint8_t bytes[500000];
    weir_receipt *last = NULL;
    weir_ns until = weir_now() + IT_PATIENCE;
    for (uint32_t round = 0; round < 200;) {
        weir_receipt *receipt;
        IT_OK(weir_receipt_create(&receipt, hub.node));
        struct weir_fanout fanout = {.size = sizeof(fanout), .receipt = receipt};
        int64_t done = weir_broadcast(hub.node, 1, bytes, sizeof(bytes), &fanout);
        if (done ==
            WEIR_E_FULL) { /* a mailbox: 100 MB are more than it holds, if its shard is slow */
            cr_assert(weir_now() < until, "a mailbox stays full");
            usleep(1000);
        } else {
            cr_assert_geq(done, 0);
            round++;
        }
        if (round < 200)
            weir_receipt_free(receipt);
        else
            last = receipt;
    }
    weir_node_free(hub.node);
    hub.node = NULL;
    cr_assert(counts_of(last).is_settled);
    weir_receipt_free(last);
    for (uint32_t i = 0; i < 4; i++) {
        IT_WAIT(leaves[i].downs == 1);
        it_stop(&leaves[i]);
    }
}

/* ---- farewells ----------------------------------------------------------------------------- */

static struct weir_farewell farewells[2]; /* the hub's, and the leaf's */

static void note_farewell(struct it_node *node, weir_peer peer, int event, int reason)
{
    struct weir_farewell *farewell = &farewells[node == &hub ? 0 : 1];
    struct weir_farewell other = {.size = sizeof(other)};
    if (event != WEIR_PEER_DOWN)
        return;
    farewell->size = sizeof(*farewell);
    if (weir_peer_farewell(node->node, peer, farewell) != 0 || farewell->reason != reason)
        it_fault(node, "no farewell, or of another reason");
    if (weir_peer_farewell(node->node, (weir_peer){peer.v + 1}, &other) != WEIR_E_GONE)
        it_fault(node, "a farewell of somebody else");
}

static int end_from_callback;

static void answer(struct it_node *node, const struct weir_msg *msg)
{
    if (end_from_callback)
        (void)weir_disconnect_text(node->node, msg->peer, WEIR_R_MISBEHAVED, "from a callback");
}

IT_TEST(switches, a_reason_travels_with_its_words)
{
    static const struct {
        const char *said, *heard;
    } texts[] = {
        {"your head is 3 blocks behind", "your head is 3 blocks behind"},
        {NULL, ""},
        {"", ""},
        {"one\nline\x1b[31m", "one?line?[31m"},
        {"caf\xc3\xa9 \xff", "caf\xc3\xa9 ?"},
    };
    hub.on_peer = note_farewell;
    it_init(&hub, "hub");
    hub.on_peer = note_farewell;
    hub.on_msg = answer;
    it_start(&hub, "127.0.0.1:0");
    it_init(&leaves[0], "leaf");
    leaves[0].on_peer = note_farewell;
    it_start(&leaves[0], NULL);
    char too_long[400];
    memset(too_long, 'x', sizeof(too_long) - 1);
    too_long[sizeof(too_long) - 1] = '\0';
    for (uint32_t i = 0; i <= sizeof(texts) / sizeof(texts[0]); i++) {
        bool is_long = i == sizeof(texts) / sizeof(texts[0]);
        it_link(&leaves[0], &hub);
        const char *said = is_long ? too_long : texts[i].said;
        IT_OK(weir_disconnect_text(hub.node, it_newest(&hub), WEIR_R_OVERFLOW, said));
        IT_WAIT(hub.downs == i + 1 && leaves[0].downs == i + 1);
        cr_assert(farewells[1].is_theirs && !farewells[0].is_theirs);
        IT_EQ(farewells[1].reason, WEIR_R_OVERFLOW);
        if (is_long)
            IT_EQ(strlen(farewells[1].text), WEIR_FAREWELL_TEXT_MAX);
        else
            cr_assert_str_eq(farewells[1].text, texts[i].heard);
    }
    weir_peer peer = it_link(&leaves[0], &hub);
    end_from_callback = 1;
    IT_OK(weir_try_send(leaves[0].node, peer, 1, "a", 1));
    IT_WAIT(leaves[0].down_by[WEIR_R_MISBEHAVED] == 1);
    cr_assert_str_eq(farewells[1].text, "from a callback");
    IT_IS(weir_disconnect_text(hub.node, (weir_peer){0}, 0, "nobody"), WEIR_E_GONE);
    struct weir_farewell none = {.size = sizeof(none)};
    IT_IS(weir_peer_farewell(hub.node, peer, &none), WEIR_E_GONE);
    IT_WAIT(hub.downs == hub.ups);
    end_star(1);
}

/* ---- looking up ---------------------------------------------------------------------------- */

IT_TEST(switches, peers_are_listed_and_found)
{
    weir_peer peers[LEAVES], found[LEAVES];
    char text[WEIR_ID_TEXT_BYTES];
    it_init(&hub, "hub");
    hub.cfg.shard_cnt = 2;
    hub.cfg.secure = WEIR_SECURE_PREFER;
    it_start(&hub, "127.0.0.1:0");
    IT_EQ(weir_peer_list(hub.node, peers, LEAVES), 0);
    for (uint32_t i = 0; i < 6; i++) {
        it_init(&leaves[i], "leaf");
        leaves[i].cfg.secure = WEIR_SECURE_PREFER;
        it_start(&leaves[i], NULL);
        it_link(&leaves[i], &hub);
    }
    IT_EQ(weir_peer_list(hub.node, NULL, 0), 6);
    IT_EQ(weir_peer_list(hub.node, peers, 3), 6);
    IT_EQ(weir_peer_list(hub.node, peers, LEAVES), 6);
    for (uint32_t i = 0; i < 6; i++) {
        struct weir_peer_info info = {.size = sizeof(info)};
        cr_assert(it_is_up(&hub, peers[i]));
        IT_OK(it_info(&hub, peers[i], &info));
        IT_EQ(weir_peer_find(hub.node, info.address, found, LEAVES), 1);
        IT_EQ(found[0].v, peers[i].v);
        IT_EQ(weir_peer_find(hub.node, weir_id_text(&info.id, text), found, LEAVES), 1);
        IT_EQ(found[0].v, peers[i].v);
    }
    IT_EQ(weir_peer_find(hub.node, "127.0.0.1", found, 2), 6);
    IT_EQ(weir_peer_find(hub.node, "127.0.0.0/8", NULL, 0), 6);
    IT_EQ(weir_peer_find(hub.node, "10.0.0.0/8", found, LEAVES), 0);
    IT_EQ(weir_peer_find(hub.node, "127.0.0.1:1", found, LEAVES), 0);
    IT_IS(weir_peer_find(hub.node, "nonsense", found, LEAVES), WEIR_E_ADDRESS);
    /* Of those that go, the last of the table takes the place, whichever shard it is of. */
    for (uint32_t i = 0; i < 6; i++) {
        weir_peer gone = it_peer(&hub, i % 2 ? 0 : 5 - i);
        IT_OK(weir_disconnect(hub.node, gone, 0));
        IT_WAIT(weir_peer_list(hub.node, peers, LEAVES) == 5 - i);
        for (uint32_t k = 0; k < 5 - i; k++)
            cr_assert_neq(peers[k].v, gone.v);
    }
    end_star(6);
}

/* ---- filters ------------------------------------------------------------------------------- */

static _Atomic uint32_t connects, handshakes;
static _Atomic int connect_answer, handshake_answer;
static char seen_agent[WEIR_USER_AGENT_BYTES_MAX + 1];

static int on_connect(void *ctx, const char *address, int is_dialer)
{
    if (!strstr(address, "127.0.0.1:"))
        it_fault(ctx, "address %s", address);
    atomic_fetch_add(&connects, is_dialer ? 100 : 1);
    return connect_answer;
}

static int on_handshake(void *ctx, const struct weir_peer_info *info)
{
    (void)ctx;
    memcpy(seen_agent, info->user_agent, sizeof(seen_agent));
    atomic_fetch_add(&handshakes, 1);
    return handshake_answer;
}

IT_TEST(switches, a_filter_decides_before_and_after_the_handshake)
{
    struct weir_filter filter = {.size = sizeof(filter),
                                 .ctx = &hub,
                                 .on_connect = on_connect,
                                 .on_handshake = on_handshake};
    it_init(&hub, "hub");
    it_create(&hub, "127.0.0.1:0");
    IT_OK(weir_filter_set(hub.node, &filter));
    IT_OK(weir_node_start(hub.node));
    IT_IS(weir_filter_set(hub.node, &filter), WEIR_E_STATE);
    it_init(&leaves[0], "leaf");
    leaves[0].cfg.user_agent = "picky/1";
    leaves[0].on_peer = note_farewell;
    it_start(&leaves[0], "127.0.0.1:0");
    it_link(&leaves[0], &hub);
    cr_assert(connects == 1 && handshakes == 1);
    cr_assert_str_eq(seen_agent, "picky/1");
    /* After the handshake: here it never was up; over there it was, until the goodbye. */
    handshake_answer = WEIR_R_LIMIT_SUBNET;
    IT_OK(weir_dial(leaves[0].node, hub.address, 0));
    IT_WAIT(hub.fail_by[WEIR_R_LIMIT_SUBNET] == 1);
    IT_WAIT(leaves[0].down_by[WEIR_R_LIMIT_SUBNET] + leaves[0].fail_by[WEIR_R_LIMIT_SUBNET] == 1);
    handshake_answer = -5;
    IT_OK(weir_dial(leaves[0].node, hub.address, 0));
    IT_WAIT(hub.fail_by[WEIR_R_APPLICATION] == 1);
    handshake_answer = 0;
    /* Before it: nobody is asked after. */
    connect_answer = WEIR_R_LIMIT_ADDRESS;
    IT_OK(weir_dial(leaves[0].node, hub.address, 0));
    IT_WAIT(it_closes(&hub, WEIR_R_LIMIT_ADDRESS) == 1);
    IT_WAIT(leaves[0].fails + leaves[0].downs >= 3);
    cr_assert(connects == 4 && handshakes == 3);
    /* And of dials. */
    IT_OK(weir_dial(hub.node, leaves[0].address, 0));
    IT_WAIT(hub.fail_by[WEIR_R_LIMIT_ADDRESS] == 1);
    cr_assert(connects == 104 && hub.ups == 1);
    connect_answer = 0;
    IT_OK(weir_dial(hub.node, leaves[0].address, 0));
    IT_WAIT(hub.ups == 2 && connects == 204 && handshakes == 4);
    IT_EQ(weir_peer_list(hub.node, NULL, 0), 2);
    IT_OK(weir_disconnect(hub.node, it_newest(&hub), 0));
    end_star(1);
}

/* ---- the order of events ------------------------------------------------------------------- */

#define STORM_NODES 4u
#define STORM_ROUNDS 60u

static uint32_t place;
static const char is_here; /* what a peer's place holds between up and down */

static void storm_peer(struct it_node *node, weir_peer peer, int event, int reason)
{
    (void)reason;
    const void *held = weir_peer_get(node->node, peer, place);
    if (event == WEIR_PEER_UP && held)
        it_fault(node, "a place that was somebody else's");
    if (event == WEIR_PEER_DOWN && held != &is_here)
        it_fault(node, "down, and not up before");
    if (event == WEIR_PEER_UP)
        (void)weir_peer_set(node->node, peer, place, (void *)(uintptr_t)&is_here);
    if (event == WEIR_PEER_UP) /* sent before anybody else can know of it */
        (void)!weir_try_send(node->node, peer, 1, "first", 5);
}

static void storm_msg(struct it_node *node, const struct weir_msg *msg)
{
    if (weir_peer_get(node->node, msg->peer, place) != &is_here)
        it_fault(node, "a message before up, or after down");
    if (msg->len % 64 == 63) /* in the middle of a batch */
        (void)weir_disconnect_text(node->node, msg->peer, WEIR_R_APPLICATION, "enough");
}

static void *storm(void *arg)
{
    struct it_node *node = arg;
    uint64_t state = (uint64_t)(node - leaves) + 1;
    static const uint8_t bytes[5000];
    for (uint32_t round = 0; round < STORM_ROUNDS; round++) {
        weir_peer peers[64];
        struct it_node *to = &leaves[it_word(&state) % STORM_NODES];
        if (to != node)
            (void)!weir_dial(node->node, to->address, 0);
        struct weir_fanout fanout = {.size = sizeof(fanout), .sample = 1 + round % 3};
        for (uint32_t i = 0; i < 30; i++)
            (void)weir_broadcast(node->node, 1, bytes, it_word(&state) % sizeof(bytes), &fanout);
        int64_t cnt = weir_peer_list(node->node, peers, 64);
        for (int64_t i = 0; i < cnt && i < 64; i++)
            if (it_word(&state) % 8 == 0)
                (void)weir_disconnect(node->node, peers[i], 0);
        usleep(1000);
    }
    return NULL;
}

/* it_on_batch, it_on_peer and it_on_writable find what is out of order; the places say it a second time. */
IT_TEST(switches, no_message_comes_before_up_and_none_after_down)
{
    pthread_t threads[STORM_NODES];
    for (uint32_t i = 0; i < STORM_NODES; i++) {
        it_init(&leaves[i], "storm");
        leaves[i].cfg.shard_cnt = 2;
        leaves[i].on_peer = storm_peer;
        leaves[i].on_msg = storm_msg;
        it_create(&leaves[i], "127.0.0.1:0");
        IT_OK(weir_peer_place(leaves[i].node, &place));
        IT_OK(weir_node_start(leaves[i].node));
    }
    for (uint32_t i = 0; i < STORM_NODES; i++)
        IT_OK(weir_dial(leaves[i].node, leaves[(i + 1) % STORM_NODES].address, 0));
    for (uint32_t i = 0; i < STORM_NODES; i++)
        IT_WAIT(leaves[i].ups >= 2 && leaves[i].msgs >= 2);
    for (uint32_t i = 0; i < STORM_NODES; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, storm, &leaves[i]), 0);
    for (uint32_t i = 0; i < STORM_NODES; i++)
        pthread_join(threads[i], NULL);
    for (uint32_t i = 0; i < STORM_NODES; i++) {
        IT_OK(weir_node_stop(leaves[i].node, 0) == WEIR_E_TIMEOUT ? 0 : 0);
        it_check_faults(&leaves[i]);
        cr_assert(leaves[i].ups == leaves[i].downs);
        IT_EQ(weir_peer_list(leaves[i].node, NULL, 0), 0);
    }
    for (uint32_t i = 0; i < STORM_NODES; i++)
        it_free(&leaves[i]);
}
