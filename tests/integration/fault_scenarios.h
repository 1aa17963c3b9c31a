/* tests/integration/fault_scenarios.h: what two nodes live through while something fails (fault_life.h). */
#ifndef WEIR_TESTS_INTEGRATION_FAULT_SCENARIOS_H
#define WEIR_TESTS_INTEGRATION_FAULT_SCENARIOS_H

#include "tests/integration/fault_life.h"

static inline void life_talk(struct life *life)
{
    static const size_t lens[] = {0, 8, 64, 1000, 5000, 65536, 66000, LIFE_MSG_MAX};
    for (uint32_t i = 0; i < 16 && !life_is_dead(life); i++) {
        life_send(life, LIFE_CLIENT, 1 + i % 2, lens[i % 8]);
        life_send(life, LIFE_SERVER, 1 + i % 2, lens[(i + 3) % 8]);
        if (i % 4 == 3)
            life_turn(life);
    }
    life_settle(life);
}

static inline void life_broadcasts(struct life *life)
{
    struct life_node *server = &life->nodes[LIFE_SERVER];
    static const size_t lens[] = {0, 4, 7, 7};
    life_connect(life, 3);
    life_connect(life, 3);
    for (uint32_t i = 0; i < 12 && !life_is_dead(life); i++) {
        /* Shorter than a number, so that each receiver's count of numbers is its own. */
        int64_t res =
            weir_broadcast(server->node, (uint16_t)(1 + i % 2), "chaos!!", lens[i % 4], NULL);
        cr_assert(res >= 0 || res == WEIR_E_NOMEM, "broadcast: %s", weir_error_name((int)res));
        if (res < 0 || (uint32_t)res < life_up_cnt(server))
            life->has_lost = true;
        if (res > 0)
            server->sent += (uint64_t)res;
        life_send(life, LIFE_SERVER, 1, 60000); /* the queue is full soon */
    }
    life_settle(life);
}

static inline void life_pause(struct life *life, int side, int is_paused)
{
    struct life_node *own = &life->nodes[side];
    for (uint32_t i = 0; i < LIFE_PEERS; i++) {
        if (own->peers[i].is_up)
            IT_OK(weir_channel_pause(own->node, own->peers[i].peer, 1, is_paused));
    }
}

static inline void life_release_kept(struct life_node *own)
{
    while (own->kept_cnt)
        weir_buf_unref(own->kept[--own->kept_cnt]);
}

static inline void life_hold(struct life *life)
{
    life_pause(life, LIFE_SERVER, 1);
    life->keeps = true;
    for (int i = 0; i < 6; i++) {
        life_send(life, LIFE_CLIENT, 1, 70000);
        life_send(life, LIFE_CLIENT, 1, 100);
        life_send(life, LIFE_CLIENT, 2, i % 2 ? 80000 : 200);
        life_turn(life);
    }
    life_calm(life, 20);
    life_pause(life, LIFE_SERVER, 0);
    life_settle(life);
    life->keeps = false;
    life_release_kept(&life->nodes[0]);
    life_release_kept(&life->nodes[1]);
}

/* On a thread that is none of the node's. */
static inline void *life_away(void *arg)
{
    struct life *life = arg;
    struct life_node *client = &life->nodes[LIFE_CLIENT];
    weir_peer peer = client->peers[0].peer;
    for (uint32_t i = 0; i < 6; i++) {
        struct weir_buf *buf = NULL;
        int error = weir_buf_create(&buf, 50000);
        if (!error) {
            memset(weir_buf_data(buf), 0, 50000);
            uint64_t seq = life_send_seq[LIFE_CLIENT][0][0]++;
            memcpy(weir_buf_data(buf), &seq, 8);
            it_fill(weir_buf_data(buf) + 8, 50000 - 8, seq);
            error = weir_send_buf(client->node, peer, 1, buf);
        }
        life_sent(client, error);
        life_sent(client, weir_try_send(client->node, peer, 2, "away", 4));
        error = weir_send(client->node, peer, 2, "away", 4,
                          life_call_ns ? life_call_ns : LIFE_CALL_OF_DEAD);
        if (error == WEIR_E_TIMEOUT && !life_call_ns) { /* nobody turns the shard any more */
            life->has_lost = true;
            break;
        }
        life_sent(client, error);
    }
    int64_t res = weir_broadcast(client->node, 2, "all", 3, NULL);
    cr_assert(res == 0 || res == WEIR_E_NOMEM, "broadcast: %s", weir_error_name((int)res));
    struct weir_peer_info info = {.size = sizeof(info)};
    /* It waits for a whole second for a shard that is dead: only for those that die meanwhile. */
    int error = life_is_dead(life) ? WEIR_E_GONE : weir_peer_info(client->node, peer, &info);
    cr_assert(error == 0 || error == WEIR_E_GONE || error == WEIR_E_NOMEM ||
                  (error == WEIR_E_TIMEOUT && !life_call_ns),
              "info: %s", weir_error_name(error));
    for (int i = 0; i < 2; i++) {
        error = weir_channel_pause(client->node, peer, 1, !i);
        cr_assert(error == 0 || error == WEIR_E_GONE || error == WEIR_E_NOMEM, "pause: %s",
                  weir_error_name(error));
        life->has_lost |= error != 0; /* it may stay paused */
    }
    error = weir_dial(client->node, life->nodes[LIFE_SERVER].address, WEIR_DIAL_PERSIST);
    cr_assert(error == 0 || error == WEIR_E_NOMEM, "dial: %s", weir_error_name(error));
    error = weir_dial_cancel(client->node, life->nodes[LIFE_SERVER].address);
    cr_assert(error == 0 || error == WEIR_E_GONE || error == WEIR_E_NOMEM, "cancel: %s",
              weir_error_name(error));
    life->is_away_done = true;
    return NULL;
}

static inline void life_letters(struct life *life)
{
    pthread_t thread;
    cr_assert(pthread_create(&thread, NULL, life_away, life) == 0);
    while (!life->is_away_done && !life_is_dead(life))
        life_turn(life);
    pthread_join(thread, NULL);
    struct life_node *client = &life->nodes[LIFE_CLIENT];
    /* The broadcast of the thread: whoever is up hears it. */
    life->has_lost = life->has_lost || life_up_cnt(client) != 1;
    life_calm(life, 50);
    for (uint32_t i = 0; i < LIFE_PEERS; i++) {
        if (!client->peers[i].is_up)
            continue;
        int error = weir_disconnect(client->node, client->peers[i].peer, 0);
        cr_assert(error == 0 || error == WEIR_E_GONE || error == WEIR_E_NOMEM, "disconnect: %s",
                  weir_error_name(error));
    }
    (void)weir_dial_cancel(client->node, life->nodes[LIFE_SERVER].address);
}

static inline void life_persist(struct life *life)
{
    struct life_node *server = &life->nodes[LIFE_SERVER], *client = &life->nodes[LIFE_CLIENT];
    int error = weir_dial(client->node, server->address, WEIR_DIAL_PERSIST);
    cr_assert(error == 0 || error == WEIR_E_NOMEM, "dial: %s", weir_error_name(error));
    for (uint32_t round = 0; round < 3 && !error && !life_is_dead(life); round++) {
        LIFE_UNTIL(life, life_up_cnt(server) > 0, "the persistent dial is up again");
        life_send(life, LIFE_SERVER, 1, 1000);
        for (uint32_t i = 0; i < LIFE_PEERS; i++) {
            if (server->peers[i].is_up)
                (void)weir_disconnect(server->node, server->peers[i].peer, 0);
        }
        LIFE_UNTIL(life, life_up_cnt(server) == 0, "the peers are down");
    }
    if (!error) {
        error = weir_dial_cancel(client->node, server->address);
        cr_assert(error == 0 || error == WEIR_E_NOMEM, "cancel: %s", weir_error_name(error));
        if (error) /* nothing changed: it can be asked for again */
            IT_OK(weir_dial_cancel(client->node, server->address));
    }
    /* A connection that was on its way when it was cancelled still ends by itself. */
    life_calm(life, 20);
}

/* What the client remembers of the server, to be looked at or exchanged; NULL: nothing, for want of memory. */
static inline struct weir_known *life_memory(struct life *life, uint8_t ret_id[WEIR_KNOWN_BYTES])
{
    struct weir_id id;
    IT_OK(weir_node_id(life->nodes[LIFE_SERVER].node, &id));
    memcpy(ret_id, id.bytes, WEIR_KNOWN_BYTES);
    return life->nodes[LIFE_CLIENT].node->guard.known; /* one thread: nobody holds its mutex */
}

/* Whether the client knows the server's key. */
static inline bool life_knows(struct life *life)
{
    uint8_t id[WEIR_KNOWN_BYTES], key[WEIR_KEY_BYTES];
    struct weir_known *known = life_memory(life, id);
    return known && weir_known_find(known, id, key);
}

/* Connects, and notes how: 'x' XX, 'k' IK, 'f' XX although the handshake could begin with IK, '-' not at all. */
static inline void life_meet(struct life *life)
{
    bool was_known = life_knows(life);
    char how = '-';
    if (life_connect(life, 1))
        how = life->nodes[LIFE_CLIENT].pattern == NATIVE_V2_IK ? 'k' : was_known ? 'f' : 'x';
    life->met[strlen(life->met)] = how;
}

/* A second handshake with the key of the first one, a third with a key that the server has not (any more), which it
 * cannot open: it says so, and the client begins anew on the same stream. A fourth with what that one taught. */
static inline void life_known(struct life *life)
{
    static const uint8_t wrong[WEIR_KEY_BYTES] = {9, 9, 9};
    uint8_t id[WEIR_KNOWN_BYTES];
    life_meet(life);
    life_send(life, LIFE_CLIENT, 1, 5000);
    life_send(life, LIFE_SERVER, 2, 5000);
    struct weir_known *known = life_memory(life, id);
    if (known)
        weir_known_put(known, id, wrong);
    life_meet(life);
    life_meet(life);
    life_send(life, LIFE_CLIENT, 2, 20000);
    life_send(life, LIFE_SERVER, 1, 20000);
    life_settle(life);
}

static inline void life_play(struct life *life)
{
    struct life_node *server = &life->nodes[LIFE_SERVER];
    switch (life->scenario) {
    case LIFE_TRAFFIC:
        life_talk(life);
        break;
    case LIFE_UNIX:
        life_talk(life);
        if (server->peers[0].is_up)
            (void)weir_disconnect(server->node, server->peers[0].peer, 0);
        life_send(life, LIFE_CLIENT, 1, LIFE_MSG_MAX);
        LIFE_UNTIL(life, life_up_cnt(server) == 0, "the peer is down");
        break;
    case LIFE_BROADCAST:
        life_broadcasts(life);
        break;
    case LIFE_HOLD:
        life_hold(life);
        break;
    case LIFE_LETTERS:
        life_letters(life);
        break;
    case LIFE_PERSIST:
        life_persist(life);
        break;
    case LIFE_SHARDS:
        life_connect(life, 3);
        life_connect(life, 3);
        life_talk(life);
        break;
    case LIFE_SECURE:
        life_connect(life, 3);
        life_talk(life);
        break;
    case LIFE_KNOWN:
        life_known(life);
        break;
    case LIFE_SCENARIOS:
        break;
    }
}

/* The whole life. `life->error` says why it did not begin. */
static inline void life_run(struct life *life, enum life_scenario scenario)
{
    uint64_t before = weir_heap_alloc_cnt(NULL);
    char path[64] = "127.0.0.1:0";
    prctl(PR_SET_TIMERSLACK, 1000); /* the short waits of life_turn() are as short as they say */
    memset(life, 0, sizeof(*life));
    memset(life_send_seq, 0, sizeof(life_send_seq));
    life->scenario = scenario;
    life_refused = NULL;
    if (scenario == LIFE_UNIX)
        snprintf(path, sizeof(path), "unix:@weir-life-%d", getpid());
    life->error = life_make(life, LIFE_SERVER, path);
    if (!life->error)
        life->error = life_make(life, LIFE_CLIENT, NULL);
    if (!life->error && life_connect(life, 3))
        life_play(life);
    /* Whatever failed is over: it can be done again. */
    if (!life->error && !life_is_dead(life))
        cr_assert(life_connect(life, 3) || life_is_dead(life), "%s: no connection any more",
                  life_names[scenario]);
    life_end(life);
    life->alloc_cnt += weir_heap_alloc_cnt(NULL) - before;
}

#endif
