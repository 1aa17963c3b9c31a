/* minimal.c: node b dials node a and says hello, a prints it. Zero in a struct means the default. */
#include <stdio.h>
#include <weir/weir.h>

/* Callbacks run on the node's own thread. What on_batch gets is verified. */
static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    if (event == WEIR_PEER_UP && weir_try_send(*(weir_node **)ctx, peer, 7, "hello", 5) != 0)
        fprintf(stderr, "not sent (%d)\n", reason);
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    for (uint32_t i = 0; i < msg_cnt; i++)
        fprintf(ctx, "a got %.*s\n", (int)msgs[i].len, (const char *)msgs[i].data);
}

int main(void)
{
    weir_node *a, *b;
    char at[128]; /* the address of a, with the port that the system chose */
    struct weir_config config = {.size = sizeof config};
    struct weir_channel channel = {.size = sizeof channel, .id = 7}; /* 7 on both sides */
    struct weir_reactor prints = {.size = sizeof prints, .ctx = stdout, .on_batch = on_batch};
    struct weir_reactor greets = {.size = sizeof greets, .ctx = &b, .on_peer = on_peer};
    if (weir_node_create(&a, &config) || weir_node_attach(a, &prints, &channel, 1) ||
        weir_node_listen(a, "127.0.0.1:0") || weir_node_start(a) ||
        weir_node_address(a, 0, at, sizeof at) || weir_node_create(&b, &config) ||
        weir_node_attach(b, &greets, &channel, 1) || weir_node_start(b) || weir_dial(b, at, 0))
        return fprintf(stderr, "weir cannot run here; `weir doctor` says why\n");
    getchar(); /* the nodes run on threads of their own until Enter is pressed */
    weir_node_free(b), weir_node_free(a);
}
