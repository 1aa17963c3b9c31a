/* Peer exchange between a node and one that says whatever a test wants, in a simulated world. */
#include "proto/pex.h"
#include "tests/integration/mesh.h"

#define S WEIR_NS_PER_S
#define VICTIM "20.0.0.1:7000"
#define ROGUE "30.0.0.1:7000"

/* A node without discovery that has its channel. */
static struct rogue {
    weir_node *node;
    weir_peer peer;
    uint32_t up_cnt, about_cnt, ask_cnt, answer_cnt;
    int down_reason;
    struct weir_pex_about about;
    struct weir_pex_ask ask;
    struct weir_pex_answer answer;
    uint64_t digest[8]; /* of the answers' places */
} rogue;

static void rogue_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    (void)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        const uint8_t *data = msgs[i].data;
        if (weir_pex_get_about(data, msgs[i].len, &rogue.about) && data[0] == WEIR_PEX_ABOUT)
            rogue.about_cnt++;
        if (data[0] == WEIR_PEX_ASK && weir_pex_get_ask(data, msgs[i].len, &rogue.ask))
            rogue.ask_cnt++;
        if (data[0] != WEIR_PEX_ANSWER || !weir_pex_get_answer(data, msgs[i].len, &rogue.answer))
            continue;
        uint64_t digest = 0;
        for (uint32_t k = 0; k < rogue.answer.record_cnt; k++)
            for (int b = 0; b < 16; b++)
                digest = digest * 31 + rogue.answer.records[k].place.ip[b];
        rogue.digest[rogue.answer_cnt++ % 8] = digest;
    }
}

static void rogue_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)ctx;
    if (event == WEIR_PEER_UP) {
        rogue.peer = peer;
        rogue.up_cnt++;
    } else if (event == WEIR_PEER_DOWN) {
        rogue.down_reason = reason;
        rogue.up_cnt--;
    }
}

static void begin(void)
{
    mesh_begin(3, 64);
    mesh.disco.outbound_cnt = UINT32_MAX; /* it dials nobody */
    (void)mesh_add(VICTIM);
    cr_assert_eq(weir_world_node_create(mesh.world, 1000, &mesh.cfg, &rogue.node), 0);
    struct weir_reactor reactor = {
        .size = sizeof(reactor), .on_batch = rogue_batch, .on_peer = rogue_peer};
    struct weir_channel channel;
    weir_channel_init(&channel, WEIR_DISCOVERY_CHANNEL);
    cr_assert_eq(weir_node_attach(rogue.node, &reactor, &channel, 1), 0);
    cr_assert_eq(weir_node_listen(rogue.node, ROGUE), 0);
    cr_assert_eq(weir_node_start(rogue.node), 0);
}

static void join(void)
{
    cr_assert_eq(weir_dial(rogue.node, VICTIM, 0), 0);
    weir_world_run(mesh.world, S);
    cr_assert_eq(rogue.up_cnt, 1);
}

static void leave(void)
{
    cr_assert_eq(weir_disconnect(rogue.node, rogue.peer, 0), 0);
    weir_world_run(mesh.world, S);
    cr_assert_eq(rogue.up_cnt, 0);
}

static void end(void)
{
    mesh_end(); /* frees all nodes of the world */
}

static void say(const void *bytes, size_t len)
{
    cr_assert_eq(weir_try_send(rogue.node, rogue.peer, WEIR_DISCOVERY_CHANNEL, bytes, len), 0);
    weir_world_run(mesh.world, S / 5);
}

static void say_about(uint16_t port, uint32_t flags, const char *caps)
{
    uint8_t bytes[WEIR_PEX_BYTES_MAX];
    struct weir_pex_about about = {.flags = flags, .nonce = 1, .port = port};
    strcpy(about.caps, caps);
    say(bytes, weir_pex_put_about(&about, bytes));
}

static void say_ask(uint16_t max, const char *cap)
{
    uint8_t bytes[WEIR_PEX_BYTES_MAX];
    struct weir_pex_ask ask = {.id = 5, .place_max = max};
    strcpy(ask.cap, cap);
    say(bytes, weir_pex_put_ask(&ask, bytes));
}

static void say_answer(uint32_t id, const char *const *addresses, uint16_t cnt)
{
    static uint8_t bytes[WEIR_PEX_BYTES_MAX];
    static struct weir_pex_answer answer;
    answer.id = id;
    answer.record_cnt = cnt;
    for (uint16_t i = 0; i < cnt; i++) {
        struct weir_addr addr;
        cr_assert_eq(weir_addr_parse(&addr, addresses[i]), 0);
        cr_assert(weir_place_from(&answer.records[i].place, &addr));
    }
    say(bytes, weir_pex_put_answer(&answer, bytes));
}

static struct weir_discovery_info read_info(void)
{
    struct weir_discovery_info info = {.size = sizeof(info)};
    cr_assert_eq(weir_discovery_read(mesh.nodes[0].disco, &info), 0);
    return info;
}

static bool knows(const char *address, const char *cap)
{
    struct weir_found found[64];
    int64_t cnt = weir_discovery_find(mesh.nodes[0].disco, cap, found, 64);
    cr_assert(cnt >= 0);
    for (int64_t i = 0; i < cnt; i++) {
        if (strcmp(found[i].address, address) == 0)
            return true;
    }
    return false;
}

static void fill(uint32_t begin_idx, uint32_t end_idx)
{
    for (uint32_t i = begin_idx; i < end_idx; i++) {
        char address[64];
        snprintf(address, sizeof(address), "40.%u.%u.1:7000", i % 250, i / 250);
        int error =
            weir_discovery_add(mesh.nodes[0].disco, address); /* few find their slot taken */
        cr_assert(error == 0 || error == WEIR_E_LIMIT);
    }
}

Test(pex_sim, a_node_says_who_it_is_and_learns_where_we_listen)
{
    begin();
    join();
    cr_assert_eq(rogue.about_cnt, 1);
    cr_assert(rogue.about.port == MESH_PORT && rogue.about.flags == 0);
    say_about(7000, 0, "archive,relay");
    cr_assert(knows(ROGUE, "") && knows(ROGUE, "relay") && !knows(ROGUE, "else"));
    struct weir_found found[1];
    cr_assert_eq(weir_discovery_find(mesh.nodes[0].disco, "A B", found, 1), WEIR_E_MISUSE);
    leave();
    end();
}

Test(pex_sim, who_wants_to_be_told_to_nobody_is_not_even_written_down)
{
    begin();
    join();
    say_about(7000, WEIR_PEX_PRIVATE, "");
    cr_assert(!knows(ROGUE, ""));
    end();
}

Test(pex_sim, what_was_not_asked_for_is_not_believed)
{
    static const char *const lies[] = {"50.0.0.1:7000", "50.1.0.1:7000"};
    begin();
    join();
    say_about(7000, 0, "");
    uint32_t before = read_info().new_cnt;
    say_answer(77, lies, 2);
    cr_assert_eq(read_info().new_cnt, before);
    cr_assert_eq(read_info().answers_taken, 0);
    for (int i = 0; i < 5 && rogue.up_cnt; i++)
        say_answer(78, lies, 2);
    cr_assert_eq(rogue.up_cnt, 0, "and who goes on is sent away");
    cr_assert(rogue.down_reason == WEIR_R_MISBEHAVED || rogue.down_reason == WEIR_R_BANNED);
    end();
}

Test(pex_sim, rubbish_is_the_end)
{
    begin();
    join();
    say_about(7000, 0, "");
    say("\x04 from a later version", 20);
    cr_assert_eq(rogue.up_cnt, 1, "an unknown kind is none of ours");
    say("\x03\x00", 2);
    cr_assert_eq(rogue.up_cnt, 0);
    cr_assert_eq(rogue.down_reason, WEIR_R_MISBEHAVED);
    end();
}

Test(pex_sim, answers_are_few_and_the_same_for_a_while)
{
    begin();
    fill(0, 1000);
    join();
    say_ask(250, "");
    cr_assert_eq(rogue.answer_cnt, 0, "not before it has said who it is");
    say_about(7000, 0, "");
    say_ask(250, "");
    cr_assert_eq(rogue.answer_cnt, 1);
    cr_assert_eq(rogue.answer.id, 5);
    uint32_t told = rogue.answer.record_cnt;
    cr_assert(told >= 200 && told <= 250, "%u", told);
    say_ask(250, "");
    cr_assert_eq(rogue.answer_cnt, 1, "too early");
    cr_assert_eq(read_info().asks_refused, 2);
    weir_world_run(mesh.world, 6 * S);
    say_ask(10, "");
    cr_assert_eq(rogue.answer_cnt, 2);
    cr_assert_eq(rogue.answer.record_cnt, 10);
    leave();
    join(); /* another connection gets the same */
    say_about(7000, 0, "");
    say_ask(250, "");
    cr_assert_eq(rogue.answer_cnt, 3);
    cr_assert_eq(rogue.digest[2], rogue.digest[0]);
    weir_world_run(mesh.world, 200 * S);
    say_ask(250, "");
    cr_assert_eq(rogue.answer_cnt, 4);
    cr_assert_neq(rogue.digest[3], rogue.digest[0], "after its period another one");
    for (int i = 0; i < 80 && rogue.up_cnt; i++)
        say_ask(250, "");
    cr_assert_eq(rogue.up_cnt, 0, "who asks and asks is sent away");
    end();
}

Test(pex_sim, capabilities_are_asked_for_by_name)
{
    begin();
    fill(0, 100);
    join();
    say_about(7000, 0, "archive");
    leave();
    join();
    say_about(0, 0, "");
    say_ask(250, "archive");
    cr_assert_eq(rogue.answer_cnt, 1);
    cr_assert_eq(rogue.answer.record_cnt, 1);
    cr_assert_str_eq(rogue.answer.records[0].caps, "archive");
    weir_world_run(mesh.world, 6 * S);
    say_ask(250, "none");
    cr_assert_eq(rogue.answer_cnt, 2);
    cr_assert_eq(rogue.answer.record_cnt, 0);
    end();
}

Test(pex_sim, what_is_unlisted_or_not_global_is_not_told_to_strangers)
{
    begin();
    mesh_kill(&mesh.nodes[0]);
    mesh.disco.unlisted = "40.0.0.1:7000,40.1.0.1:7000";
    mesh.disco.outbound_cnt = UINT32_MAX;
    struct mesh_node *victim = mesh_add("20.0.0.1:7000");
    cr_assert_eq(weir_discovery_add(victim->disco, "40.0.0.1:7000"), 0);
    cr_assert_eq(weir_discovery_add(victim->disco, "40.2.0.1:7000"), 0);
    cr_assert_eq(weir_discovery_add(victim->disco, "10.0.0.9:7000"), 0);
    cr_assert_eq(weir_discovery_add(victim->disco, "127.0.0.1:7000"), 0);
    cr_assert_eq(weir_discovery_add(victim->disco, "0.0.0.0:7000"), WEIR_E_ADDRESS);
    cr_assert_eq(weir_discovery_add(victim->disco, "host:7000"), WEIR_E_ADDRESS);
    join();
    say_about(0, 0, "");
    say_ask(250, "");
    cr_assert_eq(rogue.answer_cnt, 1);
    cr_assert_eq(rogue.answer.record_cnt, 1);
    cr_assert_eq(rogue.answer.records[0].place.ip[1], 2);
    end();
}

#define HIDDEN "60.0.0.1:7000"

/* A node keeps one dialed that dials nobody and is told of by nobody else, and 50 nodes ask it for places.
 * Returns how many of them come to know that one. */
static uint32_t who_knows_hidden(bool is_unlisted)
{
    static struct weir_found found[512];
    struct weir_key key = {.kind = WEIR_KEY_NODE, .secret = {5}};
    struct weir_id id;
    char text[WEIR_ID_TEXT_BYTES], address[64];
    uint32_t known_by = 0;
    mesh_begin(4, 128);
    mesh.cfg.secure = WEIR_SECURE_REQUIRE;
    mesh.cfg.node_key = &key;
    mesh.disco.outbound_cnt = UINT32_MAX;
    mesh.disco.flags = WEIR_DISCOVERY_NO_FEELERS;
    (void)mesh_add(HIDDEN);
    mesh.cfg.node_key = NULL;
    cr_assert_eq(weir_key_id(&id, &key), 0);
    mesh.disco.unlisted = is_unlisted ? weir_id_text(&id, text) : NULL;
    struct mesh_node *keeper = mesh_add("61.0.0.1:7000");
    cr_assert_eq(weir_discovery_add(keeper->disco, HIDDEN), 0); /* somebody has told it before */
    cr_assert_eq(weir_dial(keeper->node, HIDDEN, WEIR_DIAL_PERSIST), 0);
    weir_world_run(mesh.world, 5 * S);
    mesh.disco.unlisted = NULL;
    mesh.disco.outbound_cnt = 4;
    mesh.disco.seeds = "61.0.0.1:7000";
    for (uint32_t i = 0; i < 50; i++) {
        mesh_address(i, address);
        (void)mesh_add(address);
    }
    weir_world_run(mesh.world, 60 * S);
    cr_assert_eq(mesh.nodes[1].link_cnt > 0, true);
    for (uint32_t i = 2; i < mesh.cnt; i++) {
        int64_t cnt = weir_discovery_find(mesh.nodes[i].disco, NULL, found, 512);
        cr_assert_gt(cnt, 0);
        bool is_known = false;
        for (int64_t k = 0; k < cnt; k++)
            is_known |= strcmp(found[k].address, HIDDEN) == 0;
        known_by += is_known;
    }
    mesh_end();
    return known_by;
}

Test(pex_sim, whose_id_is_unlisted_is_told_to_nobody, .timeout = 900)
{
    cr_assert_gt(who_knows_hidden(false), 25, "else the other half shows nothing");
    cr_assert_eq(who_knows_hidden(true), 0);
}

Test(pex_sim, who_is_asked_tells_only_what_is_his_to_tell)
{
    static const char *const told[] = {"50.0.0.1:7000", "10.0.0.1:7000", "127.0.0.1:22",
                                       "[fd00::1]:7000", "50.1.0.1:7000"};
    begin();
    mesh_kill(&mesh.nodes[0]);
    mesh.disco.outbound_cnt = 1;
    mesh.disco.seeds = ROGUE;
    struct mesh_node *victim = mesh_add("20.9.0.1:7000");
    weir_world_run(mesh.world, S);
    cr_assert_eq(rogue.up_cnt, 1, "it dials its seed");
    say_about(7000, 0, "");
    cr_assert_eq(rogue.ask_cnt, 1);
    cr_assert_eq(rogue.ask.place_max, WEIR_PEX_PLACES_MAX);
    say_answer(rogue.ask.id, told, 5);
    struct weir_discovery_info info = {.size = sizeof(info)};
    cr_assert_eq(weir_discovery_read(victim->disco, &info), 0);
    cr_assert_eq(info.answers_taken, 1);
    cr_assert_eq(info.places_taken, 2);
    cr_assert_eq(info.places_refused, 3);
    cr_assert_eq(rogue.ask_cnt, 1, "no second ask before its time");
    end();
}
