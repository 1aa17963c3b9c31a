/* chat.c: lines from the keyboard to everybody who is connected.
 *
 *     chat ann 127.0.0.1:7000
 *     chat bob 127.0.0.1:0 127.0.0.1:7000
 *
 * It shows a node that listens and dials at once, broadcasts (encoded once, however many are connected),
 * calls from a thread that is not the node's, and dialing that goes on until the peer is there. Lines
 * are not passed on: everybody talks to those he is connected with.
 */
#include <stdio.h>
#include <string.h>

#include <weir/weir.h>

#define CHANNEL 1
#define LINE_BYTES_MAX 1000

/* Prints text of another's making: nothing in it may steer the terminal. */
static void print_safely(const uint8_t *text, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        putchar(text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i]);
    putchar('\n');
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    (void)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++)
        print_safely(msgs[i].data, msgs[i].len);
    fflush(stdout);
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    weir_node *node = *(weir_node **)ctx;
    struct weir_peer_info info = {.size = sizeof info};
    if (event == WEIR_PEER_UP && weir_peer_info(node, peer, &info) == 0)
        printf("* %s is here\n", info.address);
    else if (event == WEIR_PEER_DOWN)
        printf("* somebody left: %s\n", weir_reason_text(reason));
    /* WEIR_PEER_FAILED is not told: a persistent dial tries again by itself. */
    fflush(stdout);
}

/* Sends each line as "name: line" until the input ends. weir_broadcast is called on the main thread,
 * so it goes through the mailbox of the node's own thread; to wait for room is our part. */
static void talk(weir_node *node, const char *name)
{
    char line[LINE_BYTES_MAX], text[LINE_BYTES_MAX + 64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        int len = snprintf(text, sizeof text, "%.60s: %s", name, line);
        int64_t peer_cnt = weir_broadcast(node, CHANNEL, text, (size_t)len, NULL);
        if (peer_cnt < 0)
            printf("* not sent: %s\n", weir_error_text((int)peer_cnt));
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: chat NAME LISTEN_ADDRESS [PEER_ADDRESS...]\n");
        return 2;
    }
    weir_node *node = NULL;
    struct weir_config config = {.size = sizeof config, .network_id = "chat-example"};
    struct weir_channel channel = {
        .size = sizeof channel,
        .id = CHANNEL,
        .flags =
            WEIR_CHANNEL_URGENT, /* were there other channels, people would not wait for them */
        .msg_bytes_max = 4096,   /* what a peer may send us; a longer message ends its connection */
        .name = "chat",
    };
    struct weir_reactor reactor = {
        .size = sizeof reactor,
        .ctx = &node,
        .on_batch = on_batch,
        .on_peer = on_peer,
    };
    int error = weir_node_create(&node, &config);
    if (error == 0)
        error = weir_node_attach(node, &reactor, &channel, 1);
    if (error == 0)
        error = weir_node_listen(node, argv[2]);
    if (error == 0)
        error = weir_node_start(node);
    for (int i = 3; i < argc && error == 0; i++)
        error = weir_dial(node, argv[i], WEIR_DIAL_PERSIST);
    if (error != 0) {
        fprintf(stderr, "%s %s\n", weir_error_text(error), weir_error_remedy(error));
        weir_node_free(node);
        return 1;
    }
    char at[128];
    if (weir_node_address(node, 0, at, sizeof at) == 0)
        printf("* listening at %s\n", at);
    fflush(stdout);

    talk(node, argv[1]);
    weir_node_stop(node, WEIR_NS_PER_S); /* the last lines are still sent, then a goodbye */
    weir_node_free(node);
    return 0;
}
