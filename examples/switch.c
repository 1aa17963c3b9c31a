/* A room of nodes in one process, over real sockets: who may come in, a message to some and one to a list, with receipts,
 * data of one's own per peer, a farewell with words, and a ban of a node wherever it comes from.
 *
 *     examples/switch
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir/weir.h>

#define GUESTS 8
#define CHANNEL 1

struct guest { /* what the host keeps of each peer */
    unsigned long long messages;
};

static weir_node *host, *guests[GUESTS + 1];
static uint32_t place;
static _Atomic int up_cnt, heard_cnt, refused_cnt, gone_cnt, banned_cnt;

static void must(int error, const char *what)
{
    if (error) {
        fprintf(stderr, "%s: %s\n", what, weir_error_text(error));
        exit(1);
    }
}

static void wait_for(_Atomic int *count, int wanted)
{
    for (int i = 0; i < 60000 && atomic_load(count) < wanted; i++)
        usleep(1000);
    if (atomic_load(count) < wanted) {
        fprintf(stderr, "waited in vain\n");
        exit(1);
    }
}

/* ---- the host ------------------------------------------------------------------------------ */

/* After the handshake, before PEER_UP: no strangers. */
static int on_handshake(void *ctx, const struct weir_peer_info *info)
{
    (void)ctx;
    return strncmp(info->user_agent, "guest/", 6) == 0 ? 0 : WEIR_R_APPLICATION;
}

static void host_on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)ctx;
    (void)reason;
    if (event == WEIR_PEER_UP) {
        (void)weir_peer_set(host, peer, place, calloc(1, sizeof(struct guest)));
        atomic_fetch_add(&up_cnt, 1);
    } else if (event == WEIR_PEER_DOWN) {
        free(weir_peer_get(host, peer, place));
    } else {
        atomic_fetch_add(&refused_cnt, 1);
    }
}

static void host_on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    (void)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        struct guest *guest = weir_peer_get(host, msgs[i].peer, place);
        if (guest && ++guest->messages == 3) /* no lock: a peer's callbacks are all on one thread */
            (void)weir_disconnect_text(host, msgs[i].peer, WEIR_R_APPLICATION,
                                       "three messages are enough");
    }
}

/* ---- a guest ------------------------------------------------------------------------------- */

static void guest_on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct weir_farewell farewell = {.size = sizeof farewell};
    weir_node *node = guests[(size_t)ctx];
    atomic_fetch_add(&banned_cnt, event == WEIR_PEER_DOWN && reason == WEIR_R_BANNED);
    if (event != WEIR_PEER_DOWN || weir_peer_farewell(node, peer, &farewell) != 0)
        return;
    if (!farewell.is_theirs || !farewell.text[0])
        return;
    printf("guest %zu was told: %s, \"%s\"\n", (size_t)ctx, weir_reason_name(reason),
           farewell.text);
    atomic_fetch_add(&gone_cnt, 1);
}

static void guest_on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    weir_node *node = guests[(size_t)ctx];
    atomic_fetch_add(&heard_cnt, (int)msg_cnt);
    for (uint32_t i = 0; i < msg_cnt; i++)
        for (int k = 0; k < 3; k++)
            (void)!weir_try_send(node, msgs[i].peer, CHANNEL, "thanks", 6);
}

static weir_node *make(const char *agent, size_t idx)
{
    weir_node *node;
    struct weir_config cfg = {.size = sizeof cfg, .peers_max = 32, .user_agent = agent};
    struct weir_channel channel = {.size = sizeof channel, .id = CHANNEL, .name = "room"};
    int is_host = idx > GUESTS;
    struct weir_reactor reactor = {.size = sizeof reactor,
                                   .ctx = (void *)idx,
                                   .on_peer = is_host ? host_on_peer : guest_on_peer,
                                   .on_batch = is_host ? host_on_batch : guest_on_batch};
    must(weir_node_create(&node, &cfg), "create");
    must(weir_node_attach(node, &reactor, &channel, 1), "attach");
    return node;
}

int main(void)
{
    char address[128];
    struct weir_filter filter = {.size = sizeof filter, .on_handshake = on_handshake};
    host = make("host/1", GUESTS + 1);
    must(weir_peer_place(host, &place), "place");
    must(weir_filter_set(host, &filter), "filter");
    must(weir_node_listen(host, "127.0.0.1:0"), "listen");
    must(weir_node_address(host, 0, address, sizeof address), "address");
    must(weir_node_start(host), "start");
    for (size_t i = 0; i <= GUESTS; i++) { /* the last is none */
        guests[i] = make(i < GUESTS ? "guest/1" : "stranger/1", i);
        must(weir_node_start(guests[i]), "start");
        must(weir_dial(guests[i], address, 0), "dial");
    }
    wait_for(&up_cnt, GUESTS);
    wait_for(&refused_cnt, 1);
    printf("%lld came in, %d was refused\n", (long long)weir_peer_list(host, NULL, 0),
           atomic_load(&refused_cnt));

    /* To three of them, and wait until the kernel has it for all three. */
    weir_receipt *receipt;
    must(weir_receipt_create(&receipt, host), "receipt");
    struct weir_fanout some = {.size = sizeof some, .sample = 3, .receipt = receipt};
    if (weir_broadcast(host, CHANNEL, "hello", 5, &some) < 0)
        return 1;
    must(weir_receipt_wait(receipt, 3, 60 * WEIR_NS_PER_S), "receipt");
    weir_receipt_free(receipt);
    wait_for(&heard_cnt, 3);
    printf("three were handed a message\n");

    /* They thanked three times each, and that was enough. */
    wait_for(&gone_cnt, 3);

    /* One of those who are left is banned by its id. */
    weir_peer left[GUESTS];
    struct weir_peer_info info = {.size = sizeof info};
    char id[WEIR_ID_TEXT_BYTES];
    must(weir_peer_list(host, left, GUESTS) != GUESTS - 3, "list");
    must(weir_peer_info(host, left[0], &info), "info");
    must(weir_ban(host, weir_id_text(&info.id, id), 0, 0), "ban");
    wait_for(&banned_cnt, 1);
    printf("one was banned by its id\n");

    /* To the others, as a list, and wait again. */
    must(weir_receipt_create(&receipt, host), "receipt");
    if (weir_multicast_receipt(host, CHANNEL, "goodbye", 7, left + 1, GUESTS - 4, receipt) < 0)
        return 1;
    must(weir_receipt_wait(receipt, GUESTS - 4, 60 * WEIR_NS_PER_S), "receipt");
    weir_receipt_free(receipt);
    wait_for(&gone_cnt, GUESTS - 1);
    printf("and %d were handed another\n", GUESTS - 4);
    must(weir_node_stop(host, WEIR_NS_PER_S) == WEIR_E_STATE, "stop");
    for (size_t i = 0; i <= GUESTS; i++)
        weir_node_free(guests[i]);
    weir_node_free(host);
    return 0;
}
