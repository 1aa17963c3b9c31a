/* mesh.c: many nodes that begin with one address.
 *
 *     mesh [nodes=8] [metrics=0]
 *
 * Runs `nodes` nodes in this process, each with a listener on loopback. All but the first are told one thing, the first
 * one's address; discovery finds the others for them and keeps four connected. When every node has a
 * peer, each publishes one message, which gossip brings to all; and the last node asks its peers for their number, with
 * requests. It counts greetings in a series of its own, which stands among the node's: metrics=1 prints all
 * of the first node's. Ends with 1 when a node misses a message for a minute.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir/weir.h>

#define NODES_MAX 64u
#define PATIENCE_NS (60 * WEIR_NS_PER_S)

struct member {
    uint32_t number;
    weir_node *node;
    weir_discovery *discovery;
    weir_gossip *gossip;
    weir_requests *requests;
    weir_counter *greetings;
    _Atomic uint32_t heard_cnt, up_cnt;
    _Atomic uint8_t heard[NODES_MAX]; /* whose greeting has come */
};

static struct member members[NODES_MAX];
static uint32_t node_cnt = 8;

static void must(int error, const char *what)
{
    if (!error)
        return;
    fprintf(stderr, "%s: %s %s\n", what, weir_error_text(error), weir_error_remedy(error));
    exit(1);
}

/* ---- callbacks, on each node's own thread ---------------------------------------------------- */

static void on_messages(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    struct member *member = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint32_t from;
        if (msgs[i].len != sizeof from) {
            msgs[i].verdict = WEIR_GOSSIP_REJECT;
            continue;
        }
        memcpy(&from, msgs[i].data, sizeof from);
        weir_counter_add(member->greetings, 1);
        if (from < node_cnt && !atomic_exchange(&member->heard[from], 1))
            atomic_fetch_add(&member->heard_cnt, 1);
    }
}

static void on_question(void *ctx, const struct weir_request *question)
{
    struct member *member = ctx;
    (void)weir_reply_send(member->requests, question->reply, &member->number,
                          sizeof member->number);
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct member *member = ctx;
    (void)peer;
    (void)reason;
    if (event == WEIR_PEER_UP)
        atomic_fetch_add(&member->up_cnt, 1);
    else if (event == WEIR_PEER_DOWN)
        atomic_fetch_sub(&member->up_cnt, 1);
}

/* ---- the network ----------------------------------------------------------------------------- */

static void start(uint32_t number, const char *seed, char ret_address[128])
{
    struct member *member = &members[number];
    struct weir_config cfg = {.size = sizeof cfg, .network_id = "mesh", .peers_max = 128};
    struct weir_reactor reactor = {.size = sizeof reactor, .ctx = member, .on_peer = on_peer};
    struct weir_discovery_config discovery = {.size = sizeof discovery,
                                              .outbound_cnt = 4,
                                              .seeds = seed,
                                              .ask_interval_ns = WEIR_NS_PER_S};
    struct weir_gossip_config gossip = {
        .size = sizeof gossip, .ctx = member, .on_messages = on_messages};
    struct weir_request_config requests = {
        .size = sizeof requests, .ctx = member, .on_question = on_question};
    struct weir_series series = {.size = sizeof series,
                                 .type = WEIR_STATS_COUNTER,
                                 .name = "mesh_messages_total",
                                 .help = "Messages of this example that came",
                                 .label = "kind",
                                 .value = "greeting"};
    member->number = number;
    must(weir_node_create(&member->node, &cfg), "node");
    must(weir_node_attach(member->node, &reactor, NULL, 0), "attach");
    must(weir_discovery_attach(&member->discovery, member->node, &discovery), "discovery");
    must(weir_gossip_create(&member->gossip, member->node, &gossip), "gossip");
    must(weir_requests_create(&member->requests, member->node, &requests), "requests");
    must(weir_series_add(member->node, &series, &member->greetings), "series");
    must(weir_node_listen(member->node, "127.0.0.1:0"), "listen");
    must(weir_node_address(member->node, 0, ret_address, 128), "address");
    must(weir_node_start(member->node), "start");
}

static void stop(struct member *member)
{
    weir_node_free(member->node); /* first: it calls them until it is gone */
    weir_discovery_free(member->discovery);
    weir_gossip_free(member->gossip);
    weir_requests_free(member->requests);
}

/* Waits until `is_true` of all; says who is not. */
static void wait_for(int (*is_true)(const struct member *member), const char *what)
{
    weir_ns until = weir_now() + PATIENCE_NS;
    for (uint32_t i = 0; i < node_cnt; usleep(1000)) {
        while (i < node_cnt && is_true(&members[i]))
            i++;
        if (i < node_cnt && weir_now() > until) {
            fprintf(stderr, "node %u does not %s\n", i + 1, what);
            exit(1);
        }
    }
}

static int has_peer(const struct member *member)
{
    return atomic_load(&member->up_cnt) > 0;
}

static int has_heard_all(const struct member *member)
{
    return atomic_load(&member->heard_cnt) == node_cnt - 1;
}

/* Asks all peers of a node who they are. */
static uint32_t ask_peers(struct member *member)
{
    weir_peer peers[NODES_MAX];
    weir_inbox *inbox;
    int64_t peer_cnt = weir_peer_list(member->node, peers, NODES_MAX);
    uint32_t asked = 0, answered = 0;
    must(weir_inbox_create(&inbox), "inbox");
    for (int64_t i = 0; i < peer_cnt && i < NODES_MAX; i++) {
        struct weir_ask ask = {
            .size = sizeof ask, .peer = peers[i], .data = "who", .len = 3, .inbox = inbox};
        asked += weir_ask(member->requests, &ask, NULL) == 0;
    }
    while (asked > 0) {
        const struct weir_answer *answer = weir_inbox_take(inbox, PATIENCE_NS);
        if (!answer)
            break;
        uint32_t number;
        if (answer->kind == WEIR_ANSWER_PART && answer->len == sizeof number) {
            memcpy(&number, answer->data, sizeof number);
            printf("%s%u", answered++ ? ", " : "its peers say that they are ", number + 1);
        }
        asked -= answer->is_final;
        weir_inbox_release(inbox, answer);
    }
    printf("\n");
    weir_inbox_free(inbox);
    return answered;
}

static void print_metrics(weir_node *node)
{
    int64_t len = weir_metrics_text(node, NULL, 0);
    char *text = len > 0 ? malloc((size_t)len + 4096) : NULL; /* it may have grown meanwhile */
    if (text && weir_metrics_text(node, text, (size_t)len + 4096) > 0)
        fputs(text, stdout);
    free(text);
}

int main(int argc, char **argv)
{
    char first[128], other[128];
    unsigned wants_metrics = 0;
    for (int i = 1; i < argc; i++) {
        if (sscanf(argv[i], "nodes=%u", &node_cnt) != 1 &&
            sscanf(argv[i], "metrics=%u", &wants_metrics) != 1)
            node_cnt = 0;
    }
    if (node_cnt < 2 || node_cnt > NODES_MAX) {
        fprintf(stderr, "usage: mesh [nodes=2..64] [metrics=1]\n");
        return 2;
    }
    start(0, NULL, first);
    for (uint32_t i = 1; i < node_cnt; i++)
        start(i, first, other);
    wait_for(has_peer, "find a peer");
    for (uint32_t i = 0; i < node_cnt; i++) {
        if (weir_gossip_publish(members[i].gossip, &i, sizeof i, NULL) < 0)
            must(WEIR_E_NOMEM, "publish");
    }
    wait_for(has_heard_all, "hear of all others");
    struct member *last = &members[node_cnt - 1];
    struct weir_discovery_info info = {.size = sizeof info};
    must(weir_discovery_read(last->discovery, &info), "discovery");
    printf("%u nodes, told one address, have all heard of each other\n", node_cnt);
    printf("node %u knows %u places, and is connected to %u\n", node_cnt,
           info.new_cnt + info.tried_cnt, atomic_load(&last->up_cnt));
    uint32_t answered = 0; /* a peer that is asked may be going: it was one connection too many */
    for (weir_ns until = weir_now() + PATIENCE_NS; !answered && weir_now() < until;)
        answered = ask_peers(last);
    if (wants_metrics)
        print_metrics(members[0].node);
    for (uint32_t i = 0; i < node_cnt; i++)
        stop(&members[i]);
    return answered == 0;
}
