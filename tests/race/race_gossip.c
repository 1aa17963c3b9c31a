/* Under ThreadSanitizer: two nodes of two shards each; threads publish and ask while peers come and go. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/weir.h"

#define THREADS 3
#define ROUNDS 300

static weir_node *nodes[2];
static weir_gossip *gossips[2];
static weir_requests *requests[2];
static _Atomic uint64_t peer, delivered, asked, ended, posts;

static void must(int error, const char *what)
{
    if (error) {
        fprintf(stderr, "%s: %s\n", what, weir_error_name(error));
        exit(1);
    }
}

static void on_messages(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    (void)ctx;
    (void)msgs;
    atomic_fetch_add(&delivered, msg_cnt);
}

static void on_question(void *ctx, const struct weir_request *request)
{
    (void)!weir_reply_send(*(weir_requests **)ctx, request->reply, request->data, request->len);
}

static void on_peer(void *ctx, weir_peer id, int event, int reason)
{
    (void)ctx;
    (void)reason;
    if (event == WEIR_PEER_UP)
        atomic_store(&peer, id.v);
}

static void posted(void *ctx, uint32_t shard, int is_run)
{
    (void)ctx;
    (void)shard;
    (void)is_run;
    atomic_fetch_add(&posts, 1);
}

static void *work(void *arg)
{
    weir_inbox *inbox;
    uint64_t mine = 0, my_ends = 0;
    must(weir_inbox_create(&inbox), "inbox");
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t number = (uint32_t)(uintptr_t)arg * ROUNDS + i;
        uint8_t bytes[6000] = {0};
        memcpy(bytes, &number, sizeof(number));
        (void)weir_gossip_publish(gossips[i % 2], bytes, i % 5 ? 100 : sizeof(bytes), NULL);
        struct weir_ask ask = {.size = sizeof(ask),
                               .peer = {atomic_load(&peer)},
                               .data = bytes,
                               .len = 100,
                               .timeout_ns = 2 * WEIR_NS_PER_S,
                               .inbox = inbox};
        weir_ticket ticket;
        if (weir_ask(requests[0], &ask, &ticket) == 0) {
            mine++;
            if (i % 7 == 0)
                (void)weir_ask_cancel(requests[0], ticket);
        }
        must(weir_post(nodes[i % 2], i / 2 % 2, posted, NULL), "post");
        if (i % 50 == 20)
            (void)weir_disconnect(nodes[0], (weir_peer){atomic_load(&peer)}, 0);
        struct weir_gossip_stats gossip_stats = {.size = sizeof(gossip_stats)};
        struct weir_request_stats request_stats = {.size = sizeof(request_stats)};
        must(weir_gossip_stats_read(gossips[0], &gossip_stats), "stats");
        must(weir_requests_stats(requests[0], &request_stats), "stats");
        const struct weir_answer *answer;
        while ((answer = weir_inbox_take(inbox, 0)) != NULL) {
            my_ends += answer->is_final;
            weir_inbox_release(inbox, answer);
        }
        usleep(200);
    }
    while (my_ends < mine) { /* each ends, at the latest by its deadline */
        const struct weir_answer *answer = weir_inbox_take(inbox, 60 * WEIR_NS_PER_S);
        if (!answer)
            break;
        my_ends += answer->is_final;
        weir_inbox_release(inbox, answer);
    }
    atomic_fetch_add(&asked, mine);
    atomic_fetch_add(&ended, my_ends);
    weir_inbox_free(inbox);
    return NULL;
}

int main(void)
{
    char address[128];
    for (int i = 0; i < 2; i++) {
        struct weir_config cfg = {.size = sizeof(cfg),
                                  .shard_cnt = 2,
                                  .peers_max = 64,
                                  .redial_min_ns = 10 * WEIR_NS_PER_MS,
                                  .redial_max_ns = 50 * WEIR_NS_PER_MS};
        struct weir_gossip_config gossip_cfg = {.size = sizeof(gossip_cfg),
                                                .on_messages = on_messages};
        struct weir_request_config request_cfg = {
            .size = sizeof(request_cfg), .ctx = &requests[i], .on_question = on_question};
        struct weir_reactor reactor = {.size = sizeof(reactor), .on_peer = on_peer};
        must(weir_node_create(&nodes[i], &cfg), "node");
        must(weir_gossip_create(&gossips[i], nodes[i], &gossip_cfg), "gossip");
        must(weir_requests_create(&requests[i], nodes[i], &request_cfg), "requests");
        if (i == 0)
            must(weir_node_attach(nodes[i], &reactor, NULL, 0), "attach");
        must(weir_node_listen(nodes[i], "127.0.0.1:0"), "listen");
        must(weir_node_start(nodes[i]), "start");
    }
    must(weir_node_address(nodes[1], 0, address, sizeof(address)), "address");
    for (int i = 0; i < 3; i++) {
        if (i == 0)
            must(weir_dial(nodes[0], address, WEIR_DIAL_PERSIST), "dial");
        else
            must(weir_dial(nodes[0], address, 0), "dial");
    }
    for (int i = 0; i < 6000 && !atomic_load(&peer); i++)
        usleep(10000);
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)i) != 0)
            return 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    must(weir_node_stop(nodes[0], 0) == WEIR_E_STATE, "stop");
    for (int i = 0; i < 2; i++)
        weir_node_free(nodes[i]);
    for (int i = 0; i < 2; i++) {
        weir_gossip_free(gossips[i]);
        weir_requests_free(requests[i]);
    }
    printf("%llu delivered, %llu asked, %llu ended, %llu posts\n", (unsigned long long)delivered,
           (unsigned long long)asked, (unsigned long long)ended, (unsigned long long)posts);
    return !(delivered && asked && asked == ended && posts == THREADS * ROUNDS);
}
