/* Scores and the bans that follow from them in a simulated network: of 60 nodes three misbehave, each towards twelve of the
 * others. Points halve with time, at one threshold a peer is sent away, at the next its address is banned, by those it
 * wronged and by nobody else, and that outlives a node that ends in between. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/prove/world.h"
#include "weir/weir.h"

#define MS WEIR_NS_PER_MS
#define S WEIR_NS_PER_S
#define HONEST 57u
#define ROGUES 3u
#define TARGETS 12u /* of each rogue: TARGETS * its index and those behind it */
#define POINTS 30u  /* that the application gives for a bad message */
#define HALF_LIFE_S 60u
#define BAN_S 600u

enum { MILD, GRAVE, RUDE }; /* the rogues */

struct honest {
    weir_node *node;
    uint32_t idx;
    char ban_path[64];
    weir_peer rogues[ROGUES]; /* {0}: not connected */
    uint32_t down_cnt[ROGUES];
    int down_reason[ROGUES];
};

static weir_world *world;
static struct honest honests[HONEST];
static weir_node *rogues[ROGUES];

static uint32_t first_of(uint32_t rogue)
{
    return rogue * TARGETS;
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct honest *own = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++)
        if (msgs[i].len == 3 && memcmp(msgs[i].data, "bad", 3) == 0)
            (void)!weir_blame(own->node, msgs[i].peer, POINTS);
}

/* Rogues come from 30.0.K.1. */
static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct honest *own = ctx;
    struct weir_peer_info info = {.size = sizeof(info)};
    unsigned rogue;
    if (event == WEIR_PEER_UP && weir_peer_info(own->node, peer, &info) == 0 &&
        sscanf(info.address, "30.0.%u.1:", &rogue) == 1 && rogue < ROGUES)
        own->rogues[rogue] = peer;
    for (uint32_t i = 0; event == WEIR_PEER_DOWN && i < ROGUES; i++) {
        if (own->rogues[i].v != peer.v)
            continue;
        own->rogues[i] = (weir_peer){0};
        own->down_cnt[i]++;
        own->down_reason[i] = reason;
    }
}

static void honest_address(uint32_t idx, char ret_address[64])
{
    snprintf(ret_address, 64, "20.%u.0.1:7000", idx);
}

static struct weir_config config(void)
{
    struct weir_config cfg;
    weir_config_init(&cfg);
    cfg.secure = WEIR_SECURE_PLAIN;
    cfg.peers_max = cfg.handshakes_max = 32;
    cfg.dials_max = 16;
    cfg.recv_buf_bytes = 4096;
    cfg.recv_buf_cnt = 2;
    cfg.redial_max_ns = 2 * S;
    cfg.score_half_life_ns = HALF_LIFE_S * S;
    cfg.ban_ns = BAN_S * S;
    return cfg;
}

static void start_honest(uint32_t idx)
{
    struct honest *own = &honests[idx];
    struct weir_config cfg = config();
    struct weir_channel channel;
    char address[64];
    memset(own, 0, sizeof(*own));
    own->idx = idx;
    snprintf(own->ban_path, sizeof(own->ban_path), "/tmp/weir-score-%d-%u", (int)getpid(), idx);
    cfg.ban_path = own->ban_path;
    weir_channel_init(&channel, 1);
    struct weir_reactor reactor = {
        .size = sizeof(reactor), .ctx = own, .on_batch = on_batch, .on_peer = on_peer};
    cr_assert_eq(weir_world_node_create(world, 1 + idx, &cfg, &own->node), 0);
    cr_assert_eq(weir_node_attach(own->node, &reactor, &channel, 1), 0);
    honest_address(idx, address);
    cr_assert_eq(weir_node_listen(own->node, address), 0);
    cr_assert_eq(weir_node_start(own->node), 0);
    for (uint32_t k = 1; k <= 3; k++) {
        honest_address((idx + k * k) % HONEST, address);
        cr_assert_eq(weir_dial(own->node, address, WEIR_DIAL_PERSIST), 0);
    }
}

static void start_rogue(uint32_t idx)
{
    struct weir_config cfg = config();
    struct weir_channel channel;
    struct weir_reactor reactor = {.size = sizeof(reactor)};
    char address[64];
    weir_channel_init(&channel, 1);
    cr_assert_eq(weir_world_node_create(world, 1000 + idx, &cfg, &rogues[idx]), 0);
    cr_assert_eq(weir_node_attach(rogues[idx], &reactor, &channel, 1), 0);
    snprintf(address, sizeof(address), "30.0.%u.1:7000", idx);
    cr_assert_eq(weir_node_listen(rogues[idx], address), 0);
    cr_assert_eq(weir_node_start(rogues[idx]), 0);
    for (uint32_t i = 0; i < TARGETS; i++) {
        honest_address(first_of(idx) + i, address);
        cr_assert_eq(weir_dial(rogues[idx], address, WEIR_DIAL_PERSIST), 0);
    }
}

/* Of a rogue's targets, how many it is connected to. */
static uint32_t up_cnt(uint32_t rogue)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < TARGETS; i++)
        cnt += honests[first_of(rogue) + i].rogues[rogue].v != 0;
    return cnt;
}

/* When a node's ban of a rogue ends; 0: it has none. */
static uint64_t banned_until(uint32_t honest, uint32_t rogue)
{
    struct weir_ban_info info[4];
    char prefix[64];
    snprintf(prefix, sizeof(prefix), "30.0.%u.1/32", rogue);
    int64_t cnt = weir_ban_list(honests[honest].node, info, 4);
    cr_assert(cnt >= 0 && cnt <= 1);
    return cnt == 1 && strcmp(info[0].prefix, prefix) == 0 && !info[0].is_manual ? info[0].until_s
                                                                                 : 0;
}

static uint32_t ban_cnt(uint32_t rogue)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < HONEST; i++)
        cnt += banned_until(i, rogue) != 0;
    return cnt;
}

static void misbehave(uint32_t rogue)
{
    cr_assert_geq(weir_broadcast(rogues[rogue], 1, "bad", 3, NULL), 0);
}

/* All that the targets of a rogue last said to it. */
static void assert_down(uint32_t rogue, int reason, uint32_t down_cnt)
{
    for (uint32_t i = 0; i < TARGETS; i++) {
        const struct honest *target = &honests[first_of(rogue) + i];
        cr_assert_eq(target->down_cnt[rogue], down_cnt, "node %u: %u", target->idx,
                     target->down_cnt[rogue]);
        cr_assert_eq(target->down_reason[rogue], reason, "node %u: %s", target->idx,
                     weir_reason_name(target->down_reason[rogue]));
    }
}

/* A browser, or what looks like one, from the rude one's address, at each of its targets. */
static void be_rude(void)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: weir\r\n\r\n";
    static uint16_t port = 20000;
    int socks[TARGETS];
    for (uint32_t i = 0; i < TARGETS; i++) {
        struct weir_addr to, from;
        char text[64];
        honest_address(first_of(RUDE) + i, text);
        cr_assert_eq(weir_addr_parse(&to, text), 0);
        snprintf(text, sizeof(text), "30.0.%u.1:%u", (unsigned)RUDE, ++port);
        cr_assert_eq(weir_addr_parse(&from, text), 0);
        socks[i] = weir_sim_raw_dial(world->sim, &to, &from);
        cr_assert_geq(socks[i], 0);
        (void)weir_sim_raw_write(world->sim, socks[i], request, sizeof(request) - 1);
    }
    weir_world_run(world, 300 * MS); /* no faster than an address may come */
    for (uint32_t i = 0; i < TARGETS; i++)
        weir_sim_raw_close(world->sim, socks[i]);
}

static void begin(void)
{
    struct weir_world_config cfg = {.size = sizeof(cfg), .seed = 61, .latency_ns = 20 * MS};
    cr_assert_eq(weir_world_create(&world, &cfg), 0);
    for (uint32_t i = 0; i < HONEST; i++)
        start_honest(i);
    for (uint32_t i = 0; i < ROGUES; i++)
        start_rogue(i);
    weir_world_run(world, 30 * S);
    for (uint32_t i = 0; i < ROGUES; i++)
        cr_assert_eq(up_cnt(i), TARGETS);
}

static void end(void)
{
    weir_world_free(world);
    for (uint32_t i = 0; i < HONEST; i++)
        (void)unlink(honests[i].ban_path);
}

/* Twenty bad messages, 600 points: but they come two half-lives apart, so that there are never more than 40 of them. */
Test(score_sim, points_are_forgotten_with_time, .timeout = 900)
{
    begin();
    for (uint32_t i = 0; i < 20; i++) {
        misbehave(MILD);
        weir_world_run(world, 2 * HALF_LIFE_S * S);
        cr_assert_eq(up_cnt(MILD), TARGETS, "after %u messages", i + 1);
    }
    assert_down(MILD, 0, 0);
    for (uint32_t i = 0; i < TARGETS; i++) {
        struct weir_metrics metrics = {.size = sizeof(metrics)};
        cr_assert_eq(weir_metrics_read(honests[first_of(MILD) + i].node, &metrics), 0);
        cr_assert_eq(metrics.points, 20 * POINTS);
    }
    cr_assert_eq(ban_cnt(MILD), 0);
    end();
}

Test(score_sim, a_ban_is_made_at_the_threshold_and_outlives_a_node, .timeout = 900)
{
    begin();
    /* The application's points. Two messages are worth 60: sent away (at 50), and let in again. Each further one sends it
     * away anew, until there are 100. */
    misbehave(GRAVE);
    for (uint32_t round = 1; ban_cnt(GRAVE) == 0; round++) {
        cr_assert_leq(round, 4, "60, and 30 more each few seconds: no ban");
        misbehave(GRAVE);
        weir_world_run(world, S / 5);
        assert_down(GRAVE, ban_cnt(GRAVE) ? WEIR_R_BANNED : WEIR_R_MISBEHAVED, round);
        cr_assert(ban_cnt(GRAVE) == 0 || round >= 3, "60 and less than 30 more are no 100");
        for (uint32_t i = 0; i < 20 && ban_cnt(GRAVE) == 0 && up_cnt(GRAVE) < TARGETS; i++)
            weir_world_run(world, S);
        cr_assert_eq(up_cnt(GRAVE), ban_cnt(GRAVE) ? 0 : TARGETS);
    }
    cr_assert_eq(ban_cnt(GRAVE), TARGETS, "those it wronged, and nobody else");
    uint32_t downs = honests[first_of(GRAVE)].down_cnt[GRAVE];

    /* The engine's own: 10 for each, so that a little later the eleventh makes it 100. A node of that address is as good as
     * any until then. */
    for (uint32_t k = 1; k <= 11; k++) {
        cr_assert(up_cnt(RUDE) == TARGETS && ban_cnt(RUDE) == 0, "before the %u. time", k);
        be_rude();
    }
    cr_assert_eq(ban_cnt(RUDE), TARGETS);
    assert_down(RUDE, WEIR_R_BANNED, 1);

    /* They are kept out, by those twelve: a thirteenth lets them in. */
    uint32_t others = HONEST - 1;
    char address[64];
    honest_address(others, address);
    cr_assert_eq(weir_dial(rogues[GRAVE], address, WEIR_DIAL_PERSIST), 0);
    uint64_t until_s[2];
    for (uint32_t i = 0; i < 2; i++)
        until_s[i] = banned_until(first_of(GRAVE) + i, GRAVE);
    weir_world_run(world, 200 * S);
    assert_down(GRAVE, WEIR_R_BANNED, downs);
    assert_down(RUDE, WEIR_R_BANNED, 1);
    cr_assert(up_cnt(GRAVE) == 0 && up_cnt(RUDE) == 0 && honests[others].rogues[GRAVE].v != 0);

    /* Of those who banned it one stops and one crashes; both come back, and nothing has changed. */
    struct honest *stops = &honests[first_of(GRAVE)], *crashes = &honests[first_of(GRAVE) + 1];
    cr_assert_eq(weir_node_stop(stops->node, S), 0);
    weir_world_run(world, 5 * S);
    cr_assert(weir_world_is_stopped(world, stops->node));
    weir_world_node_free(world, stops->node);
    weir_world_crash(world, crashes->node, 0);
    start_honest(stops->idx);
    start_honest(crashes->idx);
    weir_world_run(world, 100 * S);
    for (uint32_t i = 0; i < 2; i++) {
        const struct honest *back = &honests[first_of(GRAVE) + i];
        cr_assert_eq(banned_until(back->idx, GRAVE), until_s[i], "node %u", back->idx);
        cr_assert(back->rogues[GRAVE].v == 0 && back->down_cnt[GRAVE] == 0, "node %u", back->idx);
        cr_assert_geq(weir_peer_list(back->node, NULL, 0), 6, "its neighbours are back");
    }

    /* The end of the bans: all of them come in again, also where a node has begun anew meanwhile. */
    weir_world_run(world, 350 * S);
    cr_assert(ban_cnt(GRAVE) == 0 && ban_cnt(RUDE) == 0);
    cr_assert_eq(up_cnt(GRAVE), TARGETS);
    cr_assert_eq(up_cnt(RUDE), TARGETS);
    cr_assert(up_cnt(MILD) == TARGETS, "and who did nothing was connected all the time");
    assert_down(MILD, 0, 0);
    end();
}
