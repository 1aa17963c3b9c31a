/* Strangers flood a node in a simulated world, where time is virtual and what their handshakes cost is charged to the
 * shard: established traffic keeps moving, within bounds that follow from the limits and these costs. (What a flood costs
 * in real time is measured by tests/chaos/hostile.c.) */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/prove/world.h"
#include "proto/codec.h"
#include "weir/weir.h"

TestSuite(flood_sim, .timeout = 300);

#define US WEIR_NS_PER_US
#define MS WEIR_NS_PER_MS
#define S WEIR_NS_PER_S
#define PLACES 64u            /* handshakes_max */
#define STRANGERS 160u        /* that are there at a time: most of them wait to be accepted */
#define STRANGER_BYTES 2048u  /* that each may hold */
#define TURN_NS (20 * US)     /* a turn without strangers takes up to so much */
#define ACCEPT_NS (20 * US)   /* what a new connection costs more, */
#define MESSAGE_NS (150 * US) /* and a handshake message: the curve and a signature */
#define COOKIE_NS (10 * US)   /* and an answer that costs neither */
#define SECOND_BYTES 200u     /* the second message has more, a cookie less */
#define PINGS_MAX 4096u
#define ATTEMPTS_PER_MS 20u
#define ATTEMPTS_HELD 1000u
#define PING_EVERY_NS (5 * MS)

/* What a stranger does once it is connected. */
enum manner {
    SILENT, /* nothing */
    FIRST,  /* sends the first handshake message, and nothing else */
    WRONG, /* answers the listener's message with bytes that do not open, and is closed: another one comes */
    BURST,    /* waits until all can speak, and then they speak at once */
    ATTEMPTS, /* says nothing, and goes as others come: 20 in a millisecond */
};

struct stranger {
    int sock; /* -1: none */
    size_t sent;
};

static weir_world *world;
static weir_node *victim, *friend;
static struct world_node *inside; /* the victim's */
static weir_peer peer;            /* the victim, as its friend knows it */
static uint64_t rtts[PINGS_MAX];
static uint32_t ping_cnt, pong_cnt, ups, downs;
static uint64_t bulk_bytes, next_ping_ns;
static struct stranger strangers[STRANGERS];
static int attempts[ATTEMPTS_HELD];
static uint64_t attempt_cnt;
static uint32_t stranger_cnt, most_pending;
static uint64_t most_held, messages, refused;
static uint8_t opening[WEIR_HANDSHAKE_OUT_MAX];
static size_t opening_len;

/* ---- established traffic ------------------------------------------------------------------- */

static void victim_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    (void)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        if (msgs[i].channel == 1)
            cr_assert_eq(weir_try_send(victim, msgs[i].peer, 1, msgs[i].data, msgs[i].len), 0);
        else
            bulk_bytes += msgs[i].len;
    }
}

static void friend_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    (void)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint64_t sent_ns;
        memcpy(&sent_ns, msgs[i].data, sizeof(sent_ns));
        cr_assert_lt(pong_cnt, PINGS_MAX);
        rtts[pong_cnt++] = weir_world_now(world) - sent_ns;
    }
}

static void friend_peer(void *ctx, weir_peer who, int event, int reason)
{
    (void)ctx;
    (void)reason;
    ups += event == WEIR_PEER_UP;
    downs += event != WEIR_PEER_UP;
    peer = who;
}

static weir_ns friend_tick(void *ctx, uint32_t shard, weir_ns now)
{
    (void)ctx;
    (void)shard;
    uint8_t bulk[4096] = {0};
    if (!ups || !next_ping_ns)
        return now + MS;
    while (weir_try_send(friend, peer, 2, bulk, sizeof(bulk)) == 0)
        continue;
    if (now >= next_ping_ns) {
        uint64_t stamp[8] = {weir_world_now(world)};
        cr_assert_eq(weir_try_send(friend, peer, 1, stamp, sizeof(stamp)), 0);
        ping_cnt++;
        next_ping_ns += PING_EVERY_NS;
    }
    return now + MS;
}

/* ---- strangers ----------------------------------------------------------------------------- */

/* The first bytes of a dialer of the encrypted wire, the same for all of them. */
static void make_opening(void)
{
    static struct weir_crypto crypto;
    static struct weir_identity identity;
    static const uint8_t secret_bytes[32] = {7}, seed[32] = {9};
    cr_assert(weir_crypto_init(&crypto) && weir_identity_init(&identity, &crypto, secret_bytes));
    struct weir_secret secret = {.crypto = &crypto, .identity = &identity};
    struct weir_offer offer = {.network_id = "flood", .user_agent = "", .secret = &secret};
    void *state = calloc(1, weir_codec_native_v2.state_bytes);
    weir_codec_native_v2.begin(state, &offer, true);
    weir_codec_native_v2.arm(state, &(struct weir_arm){.seed = seed});
    opening_len = weir_codec_native_v2.pull(state, opening, sizeof(opening));
    cr_assert_gt(opening_len, 32);
    weir_codec_native_v2.end(state);
    free(state);
    weir_identity_fini(&identity);
    weir_crypto_fini(&crypto);
}

/* Returns the socket, or -ECONNREFUSED where the queue of the listener is full. */
static int dial(void)
{
    struct weir_addr to, from;
    char text[32];
    uint32_t n = stranger_cnt++; /* each from a subnet of its own */
    snprintf(text, sizeof(text), "%u.%u.%u.1:999", 20 + n / 65536, n / 256 % 256, n % 256);
    cr_assert(weir_addr_parse(&to, "10.0.0.1:7000") == 0 && weir_addr_parse(&from, text) == 0);
    return weir_sim_raw_dial(world->sim, &to, &from);
}

static void stranger_come(struct stranger *stranger)
{
    *stranger = (struct stranger){.sock = dial()};
    cr_assert_geq(stranger->sock, 0);
}

/* A millisecond of attempts; the oldest go. */
static void attempt(void)
{
    for (uint32_t i = 0; i < ATTEMPTS_PER_MS; i++) {
        int *sock = &attempts[attempt_cnt++ % ATTEMPTS_HELD];
        if (*sock >= 0)
            weir_sim_raw_close(world->sim, *sock);
        *sock = dial();
    }
}

/* Moves each of them on; a closed one is followed by the next. */
static void strangers_move(enum manner manner, bool may_speak)
{
    for (uint32_t i = 0; i < STRANGERS; i++) {
        struct stranger *stranger = &strangers[i];
        uint8_t bytes[512];
        if (stranger->sock < 0)
            stranger_come(stranger);
        int64_t got = weir_sim_raw_read(world->sim, stranger->sock, bytes, sizeof(bytes));
        if (got == 0 || (got < 0 && got != -EAGAIN)) {
            weir_sim_raw_close(world->sim, stranger->sock);
            stranger->sock = -1;
            continue;
        }
        if (manner == SILENT || !may_speak)
            continue;
        if (stranger->sent < opening_len) {
            int64_t put = weir_sim_raw_write(world->sim, stranger->sock, opening + stranger->sent,
                                             opening_len - stranger->sent);
            stranger->sent += put > 0 ? (size_t)put : 0;
        } else if (manner == WRONG && got > 0) {
            memset(bytes, 0x5A, sizeof(bytes));
            (void)weir_sim_raw_write(world->sim, stranger->sock, bytes, sizeof(bytes));
        }
    }
}

/* ---- what it costs ------------------------------------------------------------------------- */

/* After a turn: charges what it did for strangers, and looks at what they hold. */
static void charge(void *ctx, struct world_node *node, uint32_t shard)
{
    static uint32_t gens[256];
    static uint64_t said[256];
    (void)ctx;
    if (node != inside)
        return;
    struct weir_hub *hub = &node->node->shards[shard]->hub;
    uint32_t pending = 0;
    uint64_t cost_ns = 0, held = 0;
    for (uint32_t i = 0; i < hub->cfg->peers_max; i++) {
        struct weir_conn *conn = &hub->conns[i];
        if (conn->state == WEIR_CONN_FREE)
            continue;
        if (gens[i] != conn->gen) {
            gens[i] = conn->gen;
            said[i] = 0;
            cost_ns += ACCEPT_NS;
        }
        /* Its first message, which may be answered with a cookie, which is short, or with the second one; and then
         * whatever it sends for a third one. */
        uint64_t now_said = conn->wire_rx >= opening_len ? COOKIE_NS : 0;
        if (conn->wire_tx >= SECOND_BYTES)
            now_said += conn->wire_rx == opening_len ? MESSAGE_NS : 2 * MESSAGE_NS;
        messages += now_said >= MESSAGE_NS && said[i] < MESSAGE_NS;
        cost_ns += now_said > said[i] ? now_said - said[i] : 0;
        said[i] = now_said;
        pending += conn->state == WEIR_CONN_HANDSHAKE;
        held += conn->state == WEIR_CONN_HANDSHAKE ? conn->bytes_held : 0;
    }
    uint64_t refused_now = atomic_load(&hub->metrics.refused);
    cost_ns += (refused_now - refused) * ACCEPT_NS;
    refused = refused_now;
    node->busy_until_ns[shard] += cost_ns;
    most_pending = pending > most_pending ? pending : most_pending;
    if (pending && held / pending > most_held)
        most_held = held / pending;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct window {
    uint64_t p50_ns, p99_ns, most_ns, bulk_bytes;
    uint32_t cnt;
};

/* Lets `duration` pass with strangers of a manner (or none, -1). */
static struct window watch(int manner, uint64_t duration)
{
    ping_cnt = pong_cnt = 0;
    bulk_bytes = 0;
    next_ping_ns = weir_world_now(world) + MS;
    uint64_t end_ns = weir_world_now(world) + duration;
    while (weir_world_now(world) < end_ns) {
        if (manner == ATTEMPTS)
            attempt();
        else if (manner >= 0) /* those of a burst speak each half second */
            strangers_move((enum manner)manner,
                           manner != BURST || weir_world_now(world) / MS % 500 < 10);
        (void)weir_world_run(world, MS);
    }
    next_ping_ns = 0;
    (void)weir_world_run(world, S / 2);
    struct window window = {.cnt = pong_cnt, .bulk_bytes = bulk_bytes};
    cr_assert_eq(pong_cnt, ping_cnt, "all of them are answered");
    cr_assert_gt(pong_cnt, 100);
    qsort(rtts, pong_cnt, sizeof(rtts[0]), compare);
    window.p50_ns = rtts[pong_cnt / 2];
    window.p99_ns = rtts[pong_cnt * 99 / 100];
    window.most_ns = rtts[pong_cnt - 1];
    return window;
}

static void begin(uint64_t seed, uint32_t accept_rate)
{
    struct weir_world_config world_cfg = {
        .size = sizeof(world_cfg), .seed = seed, .turn_us_max = TURN_NS / US};
    cr_assert_eq(weir_world_create(&world, &world_cfg), 0);
    struct weir_config cfg;
    weir_config_init(&cfg);
    cfg.network_id = "flood";
    cfg.handshakes_max = PLACES;
    cfg.accept_rate = accept_rate;
    cfg.peers_max = 128;
    cfg.handshake_timeout_ns = S;
    struct weir_channel channels[2];
    weir_channel_init(&channels[0], 1);
    weir_channel_init(&channels[1], 2);
    channels[0].flags = WEIR_CHANNEL_URGENT;
    struct weir_reactor reactor = {.size = sizeof(reactor), .on_batch = victim_batch};
    cr_assert_eq(weir_world_node_create(world, 1, &cfg, &victim), 0);
    cr_assert_eq(weir_node_attach(victim, &reactor, channels, 2), 0);
    cr_assert_eq(weir_node_listen(victim, "10.0.0.1:7000"), 0);
    cr_assert_eq(weir_node_start(victim), 0);
    reactor = (struct weir_reactor){.size = sizeof(reactor),
                                    .on_batch = friend_batch,
                                    .on_peer = friend_peer,
                                    .on_tick = friend_tick};
    cr_assert_eq(weir_world_node_create(world, 2, &cfg, &friend), 0);
    cr_assert_eq(weir_node_attach(friend, &reactor, channels, 2), 0);
    cr_assert_eq(weir_node_start(friend), 0);
    cr_assert_eq(weir_dial(friend, "10.0.0.1:7000", 0), 0);
    (void)weir_world_run(world, S);
    cr_assert_eq(ups, 1);
    inside = world_node_of(world, victim);
    make_opening();
    world->after_turn = charge;
    for (uint32_t i = 0; i < STRANGERS; i++)
        strangers[i].sock = -1;
    for (uint32_t i = 0; i < ATTEMPTS_HELD; i++)
        attempts[i] = -1;
    stranger_cnt = most_pending = 0;
    most_held = messages = refused = attempt_cnt = 0;
}

static void end(void)
{
    cr_assert_eq(downs, 0, "the friend's connection holds");
    cr_assert_leq(most_pending, PLACES);
    cr_assert_leq(most_held, STRANGER_BYTES);
    for (uint32_t i = 0; i < STRANGERS; i++)
        if (strangers[i].sock >= 0)
            weir_sim_raw_close(world->sim, strangers[i].sock);
    for (uint32_t i = 0; i < ATTEMPTS_HELD; i++)
        if (attempts[i] >= 0)
            weir_sim_raw_close(world->sim, attempts[i]);
    world->after_turn = NULL;
    weir_world_free(world);
}

/* How long a ping may take. A turn of the victim takes half of TURN_NS in the mean, and with strangers `longer_ns` more at
 * most, so what a ping waits for takes as many times longer, twice that beside the luck of a few hundred pings; and what
 * strangers were let in for and have not done yet they may do at once. */
static uint64_t bound(const struct window *quiet, uint64_t longer_ns, uint64_t once_ns)
{
    return 2 * quiet->p99_ns * (TURN_NS / 2 + longer_ns) / (TURN_NS / 2) + once_ns;
}

static void say(enum manner manner, const struct window *quiet, const struct window *during)
{
    cr_log_info(
        "manner %d: p50 %llu to %llu us, p99 %llu to %llu us, most %llu to %llu us, bulk %llu "
        "to %llu MB/s, %u strangers, %llu messages",
        manner, (unsigned long long)(quiet->p50_ns / US), (unsigned long long)(during->p50_ns / US),
        (unsigned long long)(quiet->p99_ns / US), (unsigned long long)(during->p99_ns / US),
        (unsigned long long)(quiet->most_ns / US), (unsigned long long)(during->most_ns / US),
        (unsigned long long)(quiet->bulk_bytes / 1000000),
        (unsigned long long)(during->bulk_bytes / 3000000), stranger_cnt,
        (unsigned long long)messages);
}

/* As many are accepted as come. */
static void flood(enum manner manner, uint64_t longer_ns, uint64_t once_ns)
{
    begin(11 + (uint64_t)manner, UINT32_MAX);
    struct window quiet = watch(-1, S), during = watch((int)manner, 3 * S);
    say(manner, &quiet, &during);
    uint64_t most_ns = bound(&quiet, longer_ns, once_ns);
    cr_assert_leq(during.p99_ns, most_ns, "%llu us, and %llu us may be",
                  (unsigned long long)(during.p99_ns / US), (unsigned long long)(most_ns / US));
    /* Bulk is slower by the same, and never half of that (the windows are as 1 to 3). */
    cr_assert_geq(during.bulk_bytes,
                  3 * quiet.bulk_bytes * TURN_NS / (TURN_NS + 2 * longer_ns) / 2);
    cr_assert_eq(most_pending, PLACES, "all places were taken: it was a flood");
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    cr_assert_eq(weir_metrics_read(victim, &metrics), 0);
    if (manner != SILENT)
        cr_assert_gt(metrics.cookies_sent, PLACES);
    end();
}

/* They are accepted or refused one a turn, and that is what they cost. */
Test(flood_sim, silent_strangers_cost_an_accept_a_turn)
{
    flood(SILENT, ACCEPT_NS, 0);
}

/* Under load they are asked for cookies, and who has been served keeps a place until its time is over. */
Test(flood_sim, strangers_who_begin_a_handshake_cost_their_places)
{
    flood(FIRST, ACCEPT_NS + COOKIE_NS, PLACES * MESSAGE_NS);
}

/* Two messages for each who is accepted, which is one a turn. */
Test(flood_sim, strangers_who_fail_a_handshake_and_come_again_cost_what_they_say)
{
    flood(WRONG, ACCEPT_NS + 2 * MESSAGE_NS, PLACES * 2 * MESSAGE_NS);
}

/* At worst all places speak at once. */
Test(flood_sim, strangers_who_speak_at_once_cost_their_places)
{
    flood(BURST, ACCEPT_NS + COOKIE_NS, PLACES * MESSAGE_NS);
}

#define RATE 5000u /* the default */

/* By default a listener rests where more than so many strangers come to nothing. Whatever they do, who is connected feels a fifth more
 * than in quiet at most. */
static void flood_by_default(enum manner manner)
{
    begin(21 + (uint64_t)manner, RATE);
    struct window quiet = watch(-1, S), during = watch((int)manner, 3 * S);
    say(manner, &quiet, &during);
    cr_assert_leq(during.p99_ns, quiet.p99_ns * 6 / 5, "%llu us, %llu in quiet",
                  (unsigned long long)(during.p99_ns / US),
                  (unsigned long long)(quiet.p99_ns / US));
    cr_assert_geq(during.bulk_bytes, 3 * quiet.bulk_bytes * 9 / 10);
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    cr_assert_eq(weir_metrics_read(victim, &metrics), 0);
    cr_assert_gt(metrics.accept_rests, 0);
    /* The windows have 3.5 s; and what may go at once, which is 2 ms' worth. */
    cr_assert_leq(metrics.accepted + metrics.refused, RATE * 7 / 2 + RATE / 500 + 2);
    cr_assert_eq(most_pending, PLACES, "all places were taken: it was a flood");
    end();
}

Test(flood_sim, by_default_silent_strangers_are_hardly_felt)
{
    flood_by_default(SILENT);
}

Test(flood_sim, by_default_first_messages_are_hardly_felt)
{
    flood_by_default(FIRST);
}

Test(flood_sim, by_default_failed_handshakes_are_hardly_felt)
{
    flood_by_default(WRONG);
}

Test(flood_sim, by_default_messages_at_once_are_hardly_felt)
{
    flood_by_default(BURST);
}

/* 60,000 of them. */
Test(flood_sim, by_default_connection_attempts_are_hardly_felt)
{
    flood_by_default(ATTEMPTS);
    cr_assert_geq(attempt_cnt, 20000);
}
