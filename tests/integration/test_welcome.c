/* A node that is welcome by its id, on real sockets, among strangers who take all that there is to take. */
#include "engine/node/internal.h"
#include "tests/integration/raw.h"

IT_SUITE(welcome);

#define TRIALS 4u

static struct it_node a, b, c;

static void connect_raw(struct raw *raw, const struct it_node *node)
{
    struct sockaddr_storage to;
    raw_init(raw, 1, 65536);
    raw->sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = raw_address(node->address, &to);
    cr_assert(connect(raw->sock, (struct sockaddr *)&to, len) == 0);
}

static void start(uint32_t shard_cnt)
{
    it_init(&a, "a");
    it_init(&b, "b");
    it_init(&c, "c");
    a.cfg.secure = b.cfg.secure = c.cfg.secure = WEIR_SECURE_REQUIRE;
    a.cfg.redial_min_ns = a.cfg.redial_max_ns = 50 * IT_MS;
    b.cfg.shard_cnt = shard_cnt;
    b.cfg.inbound_max = 1;
    b.cfg.trials_max = TRIALS;
    b.cfg.handshake_timeout_ns = 3600 * WEIR_NS_PER_S; /* nobody goes by himself */
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    it_start(&c, NULL);
    it_link(&c, &b); /* takes the one place */
}

static void welcome_a(int is_welcome)
{
    char text[WEIR_ID_TEXT_BYTES];
    struct weir_id id;
    IT_OK(weir_node_id(a.node, &id));
    IT_OK(weir_peer_welcome(b.node, weir_id_text(&id, text), is_welcome));
}

IT_TEST(welcome, by_id_a_node_comes_in_where_there_is_no_place)
{
    start(2);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.fails == 1); /* nobody knows it */
    IT_WAIT(it_closes(&b, WEIR_R_LIMIT_INBOUND) == 1);
    welcome_a(1);
    it_link(&a, &b);
    IT_EQ(c.downs, 0);
    /* Another stranger shows his id, and goes for the reason that he is refused with. */
    IT_OK(weir_disconnect(a.node, it_peer(&a, 0), 0));
    IT_WAIT(a.downs == 1 && b.downs == 1);
    welcome_a(0);
    IT_IS(weir_peer_welcome(b.node, "weir1x", 1), WEIR_E_KEY);
    IT_OK(weir_dial(a.node, b.address, 0));
    IT_WAIT(a.fails == 2);
    IT_WAIT(it_closes(&b, WEIR_R_LIMIT_INBOUND) == 2);
    it_stop(&a);
    it_stop(&c);
    it_stop(&b);
}

/* More strangers than there are trials connect and say nothing, for ever. */
IT_TEST(welcome, strangers_who_say_nothing_keep_nobody_out)
{
    static struct raw raws[TRIALS + 4];
    start(1);
    char other[WEIR_ID_TEXT_BYTES];
    struct weir_id id = {{1}};
    IT_OK(weir_peer_welcome(b.node, weir_id_text(&id, other), 1));
    for (uint32_t i = 0; i < TRIALS + 4; i++)
        connect_raw(&raws[i], &b);
    IT_WAIT(it_metrics(&b)->handshakes == TRIALS);
    welcome_a(1);
    IT_OK(weir_dial(a.node, b.address, WEIR_DIAL_PERSIST));
    IT_WAIT(a.ups == 1 && b.ups == 2);
    IT_EQ(c.downs, 0);
    for (uint32_t i = 0; i < TRIALS + 4; i++)
        raw_close(&raws[i]);
    IT_WAIT(it_metrics(&b)->handshakes == 0);
    IT_WAIT(b.node->shards[0]->trial_cnt == 0); /* the shard counts it a moment later */
    it_stop(&a);
    it_stop(&c);
    it_stop(&b);
}
