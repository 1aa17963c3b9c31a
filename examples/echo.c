/* echo.c: a server that sends every message back, and a client that measures how long that takes.
 *
 *     echo server 127.0.0.1:7000
 *     echo client 127.0.0.1:7000 "one message" "another one"
 *
 * It shows the life of a node, callbacks that run on the node's own thread, what to do when a queue is
 * full, and how the thread that waits learns of it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <semaphore.h>

#include <weir/weir.h>

#define CHANNEL 1

static int fail(const char *doing, int error)
{
    fprintf(stderr, "%s: %s %s\n", doing, weir_error_text(error), weir_error_remedy(error));
    return 1;
}

/* A node needs a configuration, a reactor and its channels; both sides here need the same ones. Zero in
 * a field means its default; `size` tells the library which version of the struct we know. */
static int make_node(weir_node **ret_node, const struct weir_reactor *reactor)
{
    struct weir_config config = {.size = sizeof config, .network_id = "echo-example"};
    struct weir_channel channel = {.size = sizeof channel, .id = CHANNEL, .name = "echo"};
    int error = weir_node_create(ret_node, &config);
    if (error == 0)
        error = weir_node_attach(*ret_node, reactor, &channel, 1);
    return error;
}

/* ---- the server ---------------------------------------------------------------------------- */

/* Messages come in batches, already verified. Their bytes are ours until we return; sending copies
 * them. A peer that sends faster than it reads fills its queue: here that costs it the connection. */
static void server_on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    weir_node *node = *(weir_node **)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        int error = weir_try_send(node, msgs[i].peer, CHANNEL, msgs[i].data, msgs[i].len);
        if (error == WEIR_E_FULL)
            weir_disconnect(node, msgs[i].peer, WEIR_R_OVERFLOW);
    }
}

static int serve(const char *address)
{
    weir_node *node = NULL;
    struct weir_reactor reactor = {
        .size = sizeof reactor, .ctx = &node, .on_batch = server_on_batch};
    /* Blocked before the node makes its threads, so that the signal waits for sigwait below. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    int error = make_node(&node, &reactor);
    if (error == 0)
        error = weir_node_listen(node, address);
    if (error == 0)
        error = weir_node_start(node); /* from here on callbacks may run */
    if (error != 0) {
        weir_node_free(node);
        return fail(address, error);
    }
    char at[128]; /* with the real port, when the one given was 0 */
    if (weir_node_address(node, 0, at, sizeof at) == 0)
        printf("listening at %s\n", at);
    fflush(stdout);

    int received;
    sigwait(&signals, &received);
    weir_node_stop(node, WEIR_NS_PER_S); /* what is queued may take a second to be sent */
    weir_node_free(node);
    return 0;
}

/* ---- the client ---------------------------------------------------------------------------- */

struct client {
    weir_node *node;
    char **texts;
    int text_cnt, next;
    weir_ns sent_ns;
    int exit_code;
    sem_t is_over; /* posted by the node's thread, waited for by main */
};

static void send_next(struct client *client, weir_peer peer)
{
    const char *text = client->texts[client->next];
    client->sent_ns = weir_now();
    int error = weir_try_send(client->node, peer, CHANNEL, text, strlen(text));
    if (error != 0) {
        client->exit_code = fail("send", error);
        sem_post(&client->is_over);
    }
}

static void client_on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct client *client = ctx;
    for (uint32_t i = 0; i < msg_cnt && client->next < client->text_cnt; i++) {
        printf("%.*s (%.1f us)\n", (int)msgs[i].len, (const char *)msgs[i].data,
               (double)(weir_now() - client->sent_ns) / 1e3);
        if (++client->next < client->text_cnt) {
            send_next(client, msgs[i].peer);
        } else {
            client->exit_code = 0;
            sem_post(&client->is_over);
        }
    }
}

/* Every connection has one event when it is up, and one with the reason when it ends or fails. */
static void client_on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct client *client = ctx;
    if (event == WEIR_PEER_UP) {
        send_next(client, peer);
    } else if (client->next < client->text_cnt) {
        fprintf(stderr, "%s (%s)\n", weir_reason_text(reason), weir_reason_name(reason));
        sem_post(&client->is_over);
    }
}

static int ask(const char *address, char **texts, int text_cnt)
{
    struct client client = {.texts = texts, .text_cnt = text_cnt, .exit_code = 1};
    struct weir_reactor reactor = {
        .size = sizeof reactor,
        .ctx = &client,
        .on_batch = client_on_batch,
        .on_peer = client_on_peer,
    };
    sem_init(&client.is_over, 0, 0);
    int error = make_node(&client.node, &reactor);
    if (error == 0)
        error = weir_node_start(client.node);
    if (error == 0)
        error = weir_dial(client.node, address, 0); /* the outcome is an on_peer event */
    if (error == 0)
        sem_wait(&client.is_over);
    else
        fail(address, error);
    weir_node_free(client.node);
    sem_destroy(&client.is_over);
    return client.exit_code;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "server") == 0)
        return serve(argv[2]);
    if (argc >= 4 && strcmp(argv[1], "client") == 0)
        return ask(argv[2], argv + 3, argc - 3);
    fprintf(stderr, "usage: echo server ADDRESS | echo client ADDRESS TEXT...\n");
    return 2;
}
