#include "node_gossip.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "json_out.h"
#include "node_print.h"

#define LINES_MAX 20u /* a second */
#define SHOWN_MAX 120u

static bool may_print(struct node_gossip *gossip)
{
    weir_ns now = weir_now();
    pthread_mutex_lock(&gossip->mutex);
    if (now - gossip->second_ns >= WEIR_NS_PER_S) {
        gossip->second_ns = now;
        gossip->line_cnt = 0;
    }
    bool is_due = gossip->line_cnt < LINES_MAX;
    gossip->line_cnt += is_due;
    pthread_mutex_unlock(&gossip->mutex);
    return is_due;
}

/* What a peer said is nothing that a terminal should obey. */
static void printable(char ret_text[SHOWN_MAX + 1], const uint8_t *data, size_t len)
{
    size_t cnt = len < SHOWN_MAX ? len : SHOWN_MAX;
    for (size_t i = 0; i < cnt; i++)
        ret_text[i] = data[i] >= ' ' && data[i] < 0x7F ? (char)data[i] : '?';
    ret_text[cnt] = '\0';
}

static void print_one(const struct node_gossip *gossip, const struct weir_gossip_msg *msg)
{
    char text[SHOWN_MAX + 1];
    printable(text, msg->data, msg->len);
    if (gossip->is_json) {
        char peer[20];
        struct json_out *object = json_out_object();
        snprintf(peer, sizeof(peer), "%" PRIx64, msg->from.v);
        json_out_text(object, "event", "gossip");
        json_out_text(object, "peer", peer);
        json_out_count(object, "hops", msg->hops);
        json_out_count(object, "bytes", msg->len);
        json_out_text(object, "text", text);
        node_print_json(object);
    } else {
        printf("gossip of peer %" PRIx64 ", %u hops, %u bytes: %s%s\n", msg->from.v, msg->hops,
               msg->len, text, msg->len > SHOWN_MAX ? "..." : "");
    }
    fflush(stdout);
}

/* On shards, several at once. */
static void on_messages(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    struct node_gossip *gossip = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        if (may_print(gossip))
            print_one(gossip, &msgs[i]);
    }
}

int node_gossip_attach(struct node_gossip *gossip, weir_node *node,
                       const struct weir_gossip_config *settings, bool is_json)
{
    struct weir_gossip_config cfg = *settings;
    cfg.ctx = gossip;
    cfg.on_messages = on_messages;
    gossip->is_json = is_json;
    pthread_mutex_init(&gossip->mutex, NULL);
    int error = weir_gossip_create(&gossip->gossip, node, &cfg);
    if (error != 0)
        pthread_mutex_destroy(&gossip->mutex);
    return error;
}

int node_gossip_say(struct node_gossip *gossip, const char *text)
{
    int64_t told = weir_gossip_publish(gossip->gossip, text, strlen(text), NULL);
    return told < 0 ? (int)told : 0;
}

void node_gossip_print_end(struct node_gossip *gossip)
{
    struct weir_gossip_stats stats = {.size = sizeof(stats)};
    if (gossip->gossip == NULL || weir_gossip_stats_read(gossip->gossip, &stats) != 0)
        return;
    if (gossip->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "gossip_end");
        json_out_count(object, "published", stats.published);
        json_out_count(object, "delivered", stats.delivered);
        json_out_count(object, "duplicates", stats.duplicates);
        json_out_count(object, "pushed", stats.pushed);
        json_out_count(object, "served", stats.served);
        node_print_json(object);
    } else {
        printf("gossip: %" PRIu64 " said, %" PRIu64 " heard, %" PRIu64 " of them again; %" PRIu64
               " handed on\n",
               stats.published, stats.delivered + stats.duplicates, stats.duplicates,
               stats.pushed + stats.served);
    }
    fflush(stdout);
}

void node_gossip_free(struct node_gossip *gossip)
{
    if (gossip->gossip == NULL)
        return;
    weir_gossip_free(gossip->gossip);
    pthread_mutex_destroy(&gossip->mutex);
    gossip->gossip = NULL;
}
