/* Questions and posted calls under ThreadSanitizer: threads ask, cancel and post, one takes the answers of all from one
 * inbox, the other side answers on its shards and from a thread of its own, and the asker stops in the middle. Each ask
 * that was taken has exactly one final answer. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/weir.h"

#define ASKERS 3u
#define ASKS 1500u       /* of each */
#define BEFORE_STOP 600u /* final answers */
#define PEERS 2u
#define LATER 64u
#define ANSWER_BYTES 9000u

static weir_node *server, *client;
static weir_requests *answering, *asking;
static weir_inbox *inbox;
static _Atomic uint64_t peers[PEERS];
static _Atomic uint32_t peer_cnt, asked_cnt, final_cnt, posted_cnt, ran_cnt, dropped_cnt;
static _Atomic uint8_t finals[ASKERS * ASKS];
static _Atomic int is_asked, is_stopping, is_over;
static _Atomic int64_t counts[ASKERS]; /* of the calls that were posted */

/* Questions that a thread of the server's answers. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static weir_reply later[LATER];
static uint32_t later_cnt;

static void fail(const char *what)
{
    fprintf(stderr, "race_request: %s\n", what);
    exit(1);
}

/* ---- answering ------------------------------------------------------------------------------ */

static const uint8_t answer_bytes[ANSWER_BYTES];

static void on_question(void *ctx, const struct weir_request *question)
{
    (void)ctx;
    bool is_later = false;
    if (question->method == 1) {
        pthread_mutex_lock(&mutex);
        is_later = later_cnt < LATER;
        if (is_later)
            later[later_cnt++] = question->reply;
        pthread_mutex_unlock(&mutex);
    }
    if (!is_later && question->method == 2)
        (void)weir_reply_error(answering, question->reply, WEIR_REQUEST_CODE_FIRST, "no");
    else if (!is_later)
        (void)weir_reply_send(answering, question->reply, answer_bytes, sizeof(answer_bytes));
}

static void *answer_main(void *arg)
{
    (void)arg;
    while (!atomic_load(&is_over)) {
        weir_reply reply;
        pthread_mutex_lock(&mutex);
        bool has_one = later_cnt > 0;
        if (has_one)
            reply = later[--later_cnt];
        pthread_mutex_unlock(&mutex);
        if (has_one)
            (void)weir_reply_send(answering, reply, answer_bytes, sizeof(answer_bytes));
        else
            usleep(200);
    }
    return NULL;
}

/* ---- asking --------------------------------------------------------------------------------- */

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)ctx;
    (void)reason;
    uint32_t idx = event == WEIR_PEER_UP ? atomic_fetch_add(&peer_cnt, 1) : PEERS;
    if (idx < PEERS)
        atomic_store(&peers[idx], peer.v);
}

/* A call that was posted runs once, or is dropped once. */
static void called(void *ctx, uint32_t shard, int is_run)
{
    (void)shard;
    atomic_fetch_sub((_Atomic int64_t *)ctx, 1);
    atomic_fetch_add(is_run ? &ran_cnt : &dropped_cnt, 1);
}

static void *ask_main(void *arg)
{
    uint32_t own = (uint32_t)(uintptr_t)arg;
    unsigned seed = own + 1;
    for (uint32_t i = 0; i < ASKS; i++) {
        uint32_t tag = own * ASKS + i;
        while (i == ASKS / 2 && !atomic_load(&is_stopping)) /* half is for the stop */
            usleep(100);
        struct weir_ask ask = {.size = sizeof(ask),
                               .method = (uint16_t)(rand_r(&seed) % 3),
                               .peer = {atomic_load(&peers[i % PEERS])},
                               .data = &tag,
                               .len = sizeof(tag),
                               .timeout_ns = i % 7 ? 60 * WEIR_NS_PER_S : WEIR_NS_PER_MS,
                               .tag = tag,
                               .inbox = inbox};
        weir_ticket ticket;
        int error = weir_ask(asking, &ask, &ticket);
        if (error == 0)
            atomic_fetch_add(&asked_cnt, 1);
        else
            atomic_store(&finals[tag], 2); /* none is to come */
        if (error == 0 && i % 5 == 0)
            (void)weir_ask_cancel(asking, ticket);
        if (error == WEIR_E_FULL)
            usleep(1000);
        if (i % 3)
            continue;
        atomic_fetch_add(&counts[own], 1);
        if (weir_post(client, i % 2, called, &counts[own]) == 0)
            atomic_fetch_add(&posted_cnt, 1);
        else
            atomic_fetch_sub(&counts[own], 1);
    }
    return NULL;
}

static void *take_main(void *arg)
{
    (void)arg;
    while (!atomic_load(&is_asked) || atomic_load(&final_cnt) < atomic_load(&asked_cnt)) {
        const struct weir_answer *answer = weir_inbox_take(inbox, 50 * WEIR_NS_PER_MS);
        if (!answer)
            continue;
        if (answer->tag >= ASKERS * ASKS)
            fail("an answer to nobody");
        if (answer->is_final) {
            if (atomic_fetch_add(&finals[answer->tag], 1) != 0)
                fail("a second final answer");
            atomic_fetch_add(&final_cnt, 1);
        }
        weir_inbox_release(inbox, answer);
    }
    return NULL;
}

/* ---- life ----------------------------------------------------------------------------------- */

static weir_node *make(weir_requests **ret_requests, bool is_server)
{
    struct weir_config cfg;
    struct weir_request_config request_cfg;
    struct weir_reactor reactor = {.size = sizeof(reactor), .on_peer = on_peer};
    struct weir_channel channel;
    weir_node *node;
    weir_config_init(&cfg);
    weir_request_config_init(&request_cfg);
    weir_channel_init(&channel, 1);
    cfg.shard_cnt = 2;
    cfg.flags |= WEIR_CONFIG_TWINS; /* the client dials it twice */
    request_cfg.on_question = is_server ? on_question : NULL;
    if (weir_node_create(&node, &cfg) || weir_requests_create(ret_requests, node, &request_cfg) ||
        (!is_server && weir_node_attach(node, &reactor, &channel, 1)))
        fail("a node could not be made");
    return node;
}

int main(void)
{
    char address[128];
    server = make(&answering, true);
    client = make(&asking, false);
    if (weir_inbox_create(&inbox) || weir_node_listen(server, "127.0.0.1:0") ||
        weir_node_address(server, 0, address, sizeof(address)) || weir_node_start(server) ||
        weir_node_start(client))
        fail("no start");
    for (uint32_t i = 0; i < PEERS; i++) {
        if (weir_dial(client, address, 0))
            fail("dial");
    }
    for (int i = 0; i < 6000 && atomic_load(&peer_cnt) < PEERS; i++)
        usleep(10000);
    if (atomic_load(&peer_cnt) < PEERS)
        fail("the peers did not come up");
    pthread_t askers[ASKERS], answerer, taker;
    pthread_create(&answerer, NULL, answer_main, NULL);
    pthread_create(&taker, NULL, take_main, NULL);
    for (uintptr_t i = 0; i < ASKERS; i++)
        pthread_create(&askers[i], NULL, ask_main, (void *)i);
    while (atomic_load(&final_cnt) < BEFORE_STOP)
        usleep(1000);
    atomic_store(&is_stopping, 1);
    (void)weir_node_stop(client, 0); /* while the askers go on */
    for (uint32_t i = 0; i < ASKERS; i++)
        pthread_join(askers[i], NULL);
    atomic_store(&is_over, 1);
    pthread_join(answerer, NULL);
    (void)weir_node_stop(server, 0);
    weir_node_free(client);
    weir_requests_free(asking); /* what had no final answer gets one */
    atomic_store(&is_asked, 1);
    pthread_join(taker, NULL);
    weir_node_free(server);
    weir_requests_free(answering);
    weir_inbox_free(inbox);
    for (uint32_t i = 0; i < ASKERS; i++) {
        if (atomic_load(&counts[i]) != 0)
            fail("a posted call neither ran nor was dropped, or did twice");
    }
    if (atomic_load(&ran_cnt) + atomic_load(&dropped_cnt) != atomic_load(&posted_cnt))
        fail("posted calls");
    printf("race_request: %u asked, %u final answers; %u calls ran, %u were dropped\n",
           atomic_load(&asked_cnt), atomic_load(&final_cnt), atomic_load(&ran_cnt),
           atomic_load(&dropped_cnt));
    return 0;
}
