/* Sixty simulated nodes that do everything at once, each on two shards: broadcast to samples with receipts, gossip,
 * ask each other, disconnect each other, while the network loses, delays, resets and three of them crash. What must
 * hold whatever happens is checked in the callbacks; what must hold in the end, after the network has healed. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/sim.h"
#include "weir/weir.h"

#define NODES 60u
#define ROUNDS 80u
#define CRASHES 3u
#define RECEIPTS_MAX (ROUNDS * 2)
#define RUMOURS_MAX ROUNDS
#define PEERS_MAX 512u
#define S WEIR_NS_PER_S
#define MS WEIR_NS_PER_MS

struct member;

struct other { /* a peer's own data, in its place from up to down */
    struct member *member;
    uint64_t next; /* number of the next broadcast that may come from it: they never go back */
};

struct member {
    weir_node *node;
    weir_gossip *gossip;
    weir_requests *requests;
    uint32_t idx, place;
    weir_peer up[PEERS_MAX];
    uint32_t up_cnt;
    uint64_t said, heard; /* broadcasts: published; received */
    uint64_t asked, answered, ended, farewells;
    uint8_t got[RUMOURS_MAX];
};

static weir_world *world;
static struct member members[NODES];
static struct {
    weir_receipt *receipt;
} receipts[RECEIPTS_MAX];
static uint32_t receipt_cnt, rumour_from[RUMOURS_MAX];
static uint64_t seed;
static char fault[160]; /* the first */

#define HOLDS(condition)                                                                         \
    do {                                                                                         \
        if (!(condition) && !fault[0])                                                           \
            snprintf(fault, sizeof(fault), "seed %lu, line %d: %s", seed, __LINE__, #condition); \
    } while (0)

/* What is kept until the world ends: nodes that crash, or end with it, say no last word about it. */
static struct kept {
    struct kept *next;
} * kept;

static void *keep(size_t bytes)
{
    struct kept *made = calloc(1, sizeof(*made) + bytes);
    made->next = kept;
    kept = made;
    return made + 1;
}

static void drop_kept(void)
{
    while (kept) {
        struct kept *next = kept->next;
        free(kept);
        kept = next;
    }
}

/* ---- switch -------------------------------------------------------------------------------- */

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct member *member = ctx;
    struct other *other = weir_peer_get(member->node, peer, member->place);
    struct weir_farewell farewell = {.size = sizeof(farewell)};
    uint32_t at = 0;
    while (at < member->up_cnt && member->up[at].v != peer.v)
        at++;
    if (event == WEIR_PEER_UP) {
        HOLDS(!other && at == member->up_cnt && at < PEERS_MAX && reason == 0);
        other = keep(sizeof(*other));
        other->member = member;
        HOLDS(weir_peer_set(member->node, peer, member->place, other) == 0);
        member->up[member->up_cnt++] = peer;
    } else if (event == WEIR_PEER_DOWN) {
        HOLDS(other && other->member == member && at < member->up_cnt && reason != 0);
        HOLDS(weir_peer_farewell(member->node, peer, &farewell) == 0 && farewell.reason == reason);
        if (reason == WEIR_R_APPLICATION) /* said by us or by them, always with these words */
            HOLDS(strcmp(farewell.text, "enough of you") == 0);
        member->farewells += reason == WEIR_R_APPLICATION && farewell.is_theirs;
        member->up[at] = member->up[--member->up_cnt];
    }
}

static uint32_t len_of(uint64_t number)
{
    return 16 + (uint32_t)(number * 7919 % (number % 5 ? 900 : 90000));
}

static void fill(uint8_t *ret_bytes, uint32_t len, uint64_t number)
{
    for (uint32_t i = 0; i < len; i++)
        ret_bytes[i] = (uint8_t)(number * 31 + i * 7);
    memcpy(ret_bytes, &number, sizeof(number));
}

static bool is_filled(const uint8_t *bytes, uint32_t len, uint64_t *ret_number)
{
    static uint8_t want[100000];
    if (len < sizeof(*ret_number) || len > sizeof(want))
        return false;
    memcpy(ret_number, bytes, sizeof(*ret_number));
    fill(want, len, *ret_number);
    return memcmp(want, bytes, len) == 0;
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct member *member = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        struct other *other = weir_peer_get(member->node, msgs[i].peer, member->place);
        uint64_t number = 0;
        HOLDS(other && other->member == member);
        HOLDS(is_filled(msgs[i].data, msgs[i].len, &number) && msgs[i].len == len_of(number));
        if (!other)
            continue;
        HOLDS(number >= other->next); /* each once, in order; of samples not all come */
        other->next = number + 1;
        member->heard++;
    }
}

static void say(struct member *member)
{
    static uint8_t bytes[100000];
    uint64_t number = member->said++;
    weir_receipt *receipt;
    fill(bytes, len_of(number), number);
    cr_assert_eq(weir_receipt_create(&receipt, member->node), 0);
    struct weir_fanout fanout = {.size = sizeof(fanout),
                                 .sample = (uint32_t)weir_world_random(world, 4),
                                 .receipt = receipt};
    int64_t taken = weir_broadcast(member->node, 1, bytes, len_of(number), &fanout);
    HOLDS(taken >= 0 || taken == WEIR_E_NOMEM || taken == WEIR_E_FULL);
    receipts[receipt_cnt++].receipt = receipt;
}

/* ---- gossip -------------------------------------------------------------------------------- */

static void on_messages(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    struct member *member = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint64_t number = 0;
        HOLDS(is_filled(msgs[i].data, msgs[i].len, &number) && number < RUMOURS_MAX);
        HOLDS(rumour_from[number] != member->idx && member->got[number]++ == 0);
    }
}

static void rumour(struct member *member, uint32_t number)
{
    static uint8_t bytes[100000];
    fill(bytes, len_of(number), number);
    rumour_from[number] = member->idx;
    cr_assert_geq(weir_gossip_publish(member->gossip, bytes, len_of(number), NULL), 0);
}

/* ---- requests ------------------------------------------------------------------------------ */

static void on_question(void *ctx, const struct weir_request *question)
{
    struct member *member = ctx;
    static uint8_t bytes[100000];
    uint64_t number = 0;
    HOLDS(is_filled(question->data, question->len, &number));
    fill(bytes, len_of(number + 1), number + 1);
    (void)!weir_reply_send(member->requests, question->reply, bytes, len_of(number + 1));
}

struct asked {
    struct member *member;
    uint64_t number;
    uint32_t len;
    bool is_final;
    uint8_t bytes[100000];
};

static void on_answer(void *ctx, const struct weir_answer *answer)
{
    struct asked *asked = ctx;
    uint64_t number = 0;
    HOLDS(!asked->is_final);
    if (answer->kind == WEIR_ANSWER_PART) {
        HOLDS(answer->offset == asked->len && asked->len + answer->len <= sizeof(asked->bytes));
        memcpy(asked->bytes + asked->len, answer->data, answer->len);
        asked->len += answer->len;
    }
    if (!answer->is_final)
        return;
    asked->is_final = true;
    asked->member->ended++;
    if (answer->kind == WEIR_ANSWER_PART) {
        HOLDS(is_filled(asked->bytes, asked->len, &number) && number == asked->number + 1);
        HOLDS(asked->len == len_of(number));
        asked->member->answered++;
    }
}

static void ask(struct member *member, uint64_t number)
{
    static uint8_t bytes[100000];
    if (member->up_cnt == 0)
        return;
    struct asked *asked = keep(sizeof(*asked));
    asked->member = member;
    asked->number = number;
    fill(bytes, 40, number);
    struct weir_ask to = {.size = sizeof(to),
                          .peer = member->up[weir_world_random(world, member->up_cnt)],
                          .data = bytes,
                          .len = 40,
                          .timeout_ns = 5 * S,
                          .on_answer = on_answer,
                          .ctx = asked};
    if (weir_ask(member->requests, &to, NULL) == 0)
        member->asked++;
}

/* ---- the crowd ----------------------------------------------------------------------------- */

static void make(uint32_t idx)
{
    struct member *member = &members[idx];
    struct weir_config cfg = {.size = sizeof(cfg),
                              .shard_cnt = 2,
                              .peers_max = 128,
                              .recv_buf_cnt = 2,
                              .recv_buf_bytes = 16384,
                              .dials_max = 16,
                              .redial_max_ns = S};
    struct weir_channel channel = {.size = sizeof(channel), .id = 1};
    struct weir_reactor reactor = {
        .size = sizeof(reactor), .ctx = member, .on_batch = on_batch, .on_peer = on_peer};
    struct weir_gossip_config gossip_cfg = {
        .size = sizeof(gossip_cfg), .seen_max = 1024, .ctx = member, .on_messages = on_messages};
    struct weir_request_config request_cfg = {
        .size = sizeof(request_cfg), .ctx = member, .on_question = on_question};
    char address[32];
    *member = (struct member){.idx = idx};
    cr_assert_eq(weir_world_node_create(world, idx + 1, &cfg, &member->node), 0);
    cr_assert_eq(weir_peer_place(member->node, &member->place), 0);
    cr_assert_eq(weir_node_attach(member->node, &reactor, &channel, 1), 0);
    cr_assert_eq(weir_gossip_create(&member->gossip, member->node, &gossip_cfg), 0);
    cr_assert_eq(weir_requests_create(&member->requests, member->node, &request_cfg), 0);
    snprintf(address, sizeof(address), "10.0.0.%u:7000", idx + 1);
    cr_assert_eq(weir_node_listen(member->node, address), 0);
    cr_assert_eq(weir_node_start(member->node), 0);
    for (uint32_t k = 0; k < 4 && k < idx; k++) {
        uint32_t to = k ? (uint32_t)weir_world_random(world, idx) : idx - 1;
        snprintf(address, sizeof(address), "10.0.0.%u:7000", to + 1);
        int error = weir_dial(member->node, address, WEIR_DIAL_PERSIST);
        cr_assert(error == 0, "%s", weir_error_name(error));
    }
}

static void crash(struct member *member)
{
    weir_world_crash(world, member->node, 0);
    weir_gossip_free(member->gossip);
    weir_requests_free(member->requests);
    member->node = NULL;
}

static struct member *anybody(void)
{
    struct member *member;
    do
        member = &members[weir_world_random(world, NODES)];
    while (!member->node);
    return member;
}

static void check_lists(void)
{
    weir_peer peers[PEERS_MAX];
    for (uint32_t i = 0; i < NODES; i++) {
        struct member *member = &members[i];
        if (!member->node)
            continue;
        int64_t cnt = weir_peer_list(member->node, peers, PEERS_MAX);
        HOLDS(cnt == member->up_cnt);
        for (uint32_t k = 0; k < member->up_cnt; k++) {
            uint32_t at = 0;
            while (at < cnt && peers[at].v != member->up[k].v)
                at++;
            HOLDS(at < cnt);
        }
    }
}

static void storm(void)
{
    uint32_t crashed = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        rumour(anybody(), round);
        say(anybody());
        say(anybody());
        for (uint32_t i = 0; i < 4; i++)
            ask(anybody(), round * 10 + i);
        struct member *member = anybody();
        if (member->up_cnt && round % 3 == 0)
            (void)weir_disconnect_text(member->node,
                                       member->up[weir_world_random(world, member->up_cnt)], 0,
                                       "enough of you");
        if (round % 20 == 10 && crashed < CRASHES) {
            (void)weir_world_run(world,
                                 2 * S); /* what it has just said is others' by now, or nobody's */
            crash(anybody());
            crashed++;
        }
        (void)weir_world_run(world, weir_world_random(world, 200) * MS);
        check_lists();
    }
}

static void settle(uint64_t *ret_handed, uint64_t *ret_lost)
{
    for (uint32_t i = 0; i < receipt_cnt; i++) {
        struct weir_receipt_counts counts = {.size = sizeof(counts)};
        HOLDS(weir_receipt_read(receipts[i].receipt, &counts) == 0);
        HOLDS(counts.is_settled && counts.queued == counts.handed + counts.lost);
        *ret_handed += counts.handed;
        *ret_lost += counts.lost;
        weir_receipt_free(receipts[i].receipt);
    }
    receipt_cnt = 0;
}

static void check_end(void)
{
    uint64_t heard = 0, handed = 0, lost = 0, farewells = 0, answered = 0, asked = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        struct member *member = &members[i];
        heard += member->heard;
        farewells += member->farewells;
        answered += member->answered;
        asked += member->asked;
        if (!member->node)
            continue;
        HOLDS(member->ended == member->asked);
        for (uint32_t number = 0; number < RUMOURS_MAX; number++) {
            bool is_owed = members[rumour_from[number]].node && rumour_from[number] != i;
            HOLDS(!is_owed || member->got[number] == 1);
        }
    }
    settle(&handed, &lost);
    /* A message that was given up may have been handed to the kernel all the same. */
    HOLDS(heard <= handed + lost);
    HOLDS(handed && heard && farewells && answered && answered <= asked);
}

/* A message to all of a healed network: everybody has it, and the receipts say so. */
static void check_healed(void)
{
    static uint8_t bytes[100000];
    uint64_t handed = 0, lost = 0, before = 0, after = 0, peers = 0;
    for (uint32_t i = 0; i < NODES; i++)
        before += members[i].heard;
    for (uint32_t i = 0; i < NODES; i++) {
        struct member *member = &members[i];
        if (!member->node)
            continue;
        uint64_t number = member->said++;
        weir_receipt *receipt;
        fill(bytes, len_of(number), number);
        cr_assert_eq(weir_receipt_create(&receipt, member->node), 0);
        struct weir_fanout fanout = {.size = sizeof(fanout), .receipt = receipt};
        HOLDS(weir_broadcast(member->node, 1, bytes, len_of(number), &fanout) >= 0);
        receipts[receipt_cnt++].receipt = receipt;
        peers += member->up_cnt;
    }
    (void)weir_world_run(world, 5 * S);
    for (uint32_t i = 0; i < NODES; i++)
        after += members[i].heard;
    settle(&handed, &lost);
    HOLDS(handed == peers && lost == 0 && after - before == peers);
}

Test(crowd, switch_gossip_and_requests_hold_together_under_faults, .timeout = 900)
{
    const char *sanitizer = getenv("WEIR_SANITIZE");
    uint64_t seed_cnt = sanitizer && *sanitizer ? 1 : 3;
    for (seed = 1; seed <= seed_cnt; seed++) {
        struct weir_world_config cfg = {.size = sizeof(cfg), .seed = seed};
        cr_assert_eq(weir_world_create(&world, &cfg), 0);
        for (uint32_t i = 0; i < NODES; i++)
            make(i);
        (void)weir_world_run(world, 5 * S);
        weir_world_set_faults(world, WEIR_FAULT_SHORT | WEIR_FAULT_DELAY | WEIR_FAULT_LOSS |
                                         WEIR_FAULT_RESET | WEIR_FAULT_END);
        storm();
        weir_world_set_faults(world, 0);
        (void)weir_world_run(world, 40 * S);
        check_end();
        check_healed();
        cr_assert(!fault[0], "%s", fault);
        weir_world_free(world);
        for (uint32_t i = 0; i < NODES; i++) {
            if (!members[i].node)
                continue;
            weir_gossip_free(members[i].gossip);
            weir_requests_free(members[i].requests);
        }
        drop_kept();
    }
}
