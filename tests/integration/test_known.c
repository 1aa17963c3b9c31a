/* Nodes that have met: dialing an id again begins with its key, and what was learnt is not kept when it fails. */
#include "engine/node/internal.h"
#include "proto/native_v2.h"
#include "tests/integration/raw.h"

IT_SUITE(known);

static struct it_node a, b;
static char target[256];

static void start_b(uint8_t seed)
{
    static struct weir_key key;
    struct weir_id id;
    char text[WEIR_ID_TEXT_BYTES];
    key = (struct weir_key){.kind = WEIR_KEY_NODE};
    memset(key.secret, seed, sizeof key.secret);
    it_init(&b, "b");
    b.cfg.secure = WEIR_SECURE_REQUIRE;
    b.cfg.node_key = &key;
    it_start(&b, "127.0.0.1:0");
    IT_OK(weir_node_id(b.node, &id));
    (void)weir_id_text(&id, text);
    snprintf(target, sizeof target, "%s@%s", text, b.address);
}

static void start_a(uint32_t known_max)
{
    it_init(&a, "a");
    a.cfg.secure = WEIR_SECURE_REQUIRE;
    a.cfg.known_max = known_max;
    it_start(&a, NULL);
}

static bool knows(void)
{
    struct weir_id id;
    uint8_t key[WEIR_KEY_BYTES];
    struct weir_guard *guard = &a.node->guard;
    IT_OK(weir_id_parse(&id, target, strcspn(target, "@"), NULL));
    pthread_mutex_lock(&guard->mutex);
    bool is_known = guard->known && weir_known_find(guard->known, id.bytes, key);
    pthread_mutex_unlock(&guard->mutex);
    return is_known;
}

/* Dials, looks with which pattern the peer came up, and says goodbye. */
static uint8_t meet(void)
{
    uint32_t ups = atomic_load(&a.ups), downs = atomic_load(&b.downs);
    IT_OK(weir_dial(a.node, target, 0));
    IT_WAIT(atomic_load(&a.ups) > ups);
    weir_peer peer = it_newest(&a);
    const struct weir_conn *conn = &a.node->shards[0]->hub.conns[(uint32_t)peer.v];
    const struct native_v2_state *state = conn->codec_state;
    uint8_t pattern = state->preface[NATIVE_V2_AT_PATTERN]; /* it does not change any more */
    IT_OK(weir_disconnect(a.node, peer, WEIR_R_NONE));
    IT_WAIT(atomic_load(&b.downs) > downs && it_metrics(&a)->conns == 0);
    return pattern;
}

IT_TEST(known, who_is_met_again_is_met_with_ik)
{
    start_b(7);
    start_a(0);
    cr_assert(!knows());
    IT_EQ(meet(), NATIVE_V2_XX);
    cr_assert(knows());
    IT_EQ(meet(), NATIVE_V2_IK);
    IT_EQ(meet(), NATIVE_V2_IK);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(known, a_node_that_is_to_remember_nobody_does_not)
{
    start_b(7);
    start_a(UINT32_MAX);
    IT_EQ(meet(), NATIVE_V2_XX);
    cr_assert(!knows());
    IT_EQ(meet(), NATIVE_V2_XX);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(known, a_key_that_is_wrong_costs_a_round_trip_and_is_replaced)
{
    struct weir_id id;
    uint8_t wrong[WEIR_KEY_BYTES] = {9, 9, 9};
    start_b(7);
    start_a(0);
    IT_EQ(meet(), NATIVE_V2_XX);
    IT_OK(weir_node_id(b.node, &id));
    pthread_mutex_lock(&a.node->guard.mutex);
    weir_known_put(a.node->guard.known, id.bytes, wrong);
    pthread_mutex_unlock(&a.node->guard.mutex);
    IT_EQ(meet(), NATIVE_V2_XX);
    IT_EQ(meet(), NATIVE_V2_IK);
    IT_EQ(a.fails, 0);
    it_stop(&a);
    it_stop(&b);
}

IT_TEST(known, what_is_known_of_one_who_does_not_answer_is_forgotten)
{
    char address[64];
    start_b(7);
    start_a(0);
    IT_EQ(meet(), NATIVE_V2_XX);
    cr_assert(knows());
    it_stop(&b);
    int listener = raw_listen(address, 4); /* somebody else is where it was, and hangs up */
    char *at = strchr(target, '@');
    snprintf(at + 1, sizeof target - (size_t)(at + 1 - target), "%s", address);
    IT_OK(weir_dial(a.node, target, 0));
    int sock = raw_accept(listener);
    uint8_t byte;
    cr_assert_eq(recv(sock, &byte, 1, 0), 1);
    close(sock);
    IT_WAIT(a.fails == 1);
    cr_assert(!knows());
    close(listener);
    it_stop(&a);
}
