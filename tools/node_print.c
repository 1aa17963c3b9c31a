#include "node_print.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli.h"

void node_print_json(struct json_out *take)
{
    if (!json_out_print(stdout, take, false))
        fprintf(stderr, "weir: node: cannot write to standard output\n");
}

void node_print_listener(const struct node_watch *watch, const char *address)
{
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "listening");
        json_out_text(object, "address", address);
        node_print_json(object);
    } else {
        printf("listening at %s\n", address);
    }
}

void node_print_metrics(const struct node_watch *watch, const char *address)
{
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "metrics");
        json_out_text(object, "address", address);
        node_print_json(object);
    } else {
        printf("metrics at http://%s/metrics\n", address);
    }
}

void node_print_id(const struct node_watch *watch)
{
    struct weir_id id;
    char text[WEIR_ID_TEXT_BYTES];
    if (weir_node_id(watch->node, &id) != 0)
        return; /* it is plain */
    weir_id_text(&id, text);
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "id");
        json_out_text(object, "id", text);
        node_print_json(object);
    } else {
        printf("id %s\n", text);
    }
}

/* On the shard's thread. One print call per line, because shards share the stream. */
void node_print_peer(void *ctx, weir_peer peer, int event, int reason)
{
    const struct node_watch *watch = ctx;
    static const char *const names[] = {"?", "up", "down", "failed"};
    const char *name = event >= 1 && event <= 3 ? names[event] : names[0];
    struct weir_peer_info info = {.size = sizeof(info)};
    bool is_known = peer.v != 0 && weir_peer_info(watch->node, peer, &info) == 0;
    const char *address = is_known ? info.address : "";
    char node_id[WEIR_ID_TEXT_BYTES] = "";
    if (is_known && info.is_secure)
        weir_id_text(&info.id, node_id);
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", name);
        char id[20];
        snprintf(id, sizeof(id), "%" PRIx64, peer.v);
        json_out_text(object, "peer", id);
        json_out_text(object, "address", address);
        if (event == WEIR_PEER_UP && is_known) {
            json_out_bool(object, "is_dialer", info.is_dialer != 0);
            json_out_text(object, "user_agent", info.user_agent);
            json_out_bool(object, "is_secure", info.is_secure != 0);
            if (info.is_secure)
                json_out_text(object, "id", node_id);
            json_out_count(object, "channels", info.channel_cnt);
        } else {
            json_out_text(object, "reason", weir_reason_name(reason));
        }
        node_print_json(object);
    } else if (event == WEIR_PEER_UP) {
        printf("peer %" PRIx64 " up: %s, %s, %s, %u channels\n", peer.v, address,
               is_known && info.is_dialer ? "dialed" : "accepted",
               is_known && info.user_agent[0] != '\0' ? info.user_agent : "no user agent",
               is_known ? info.channel_cnt : 0);
    } else if (peer.v != 0) {
        printf("peer %" PRIx64 " %s: %s%s%s: %s\n", peer.v, name, address, is_known ? ", " : "",
               weir_reason_name(reason), weir_reason_text(reason));
    } else {
        printf("dial %s: %s: %s\n", name, weir_reason_name(reason), weir_reason_text(reason));
    }
    fflush(stdout);
}

void node_print_bans(const struct node_watch *watch, int64_t done)
{
    if (done < 0) {
        (void)cli_fail_weir("node", (int)done, "bans: what was asked for is not all done");
        return;
    }
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "bans");
        json_out_count(object, "taken", (uint64_t)done);
        node_print_json(object);
        return;
    }
    printf("bans: %" PRId64 " taken\n", done);
    fflush(stdout);
}

static void sum_msgs(const struct weir_metrics *metrics, uint64_t *ret_sent, uint64_t *ret_received)
{
    *ret_sent = *ret_received = 0;
    for (uint32_t i = 0; i < metrics->channel_cnt && i < WEIR_CHANNELS_MAX; i++) {
        *ret_sent += metrics->channels[i].msgs_sent;
        *ret_received += metrics->channels[i].msgs_received;
    }
}

void node_print_rates(const struct node_watch *watch, const struct weir_metrics *was,
                      const struct weir_metrics *now, double seconds)
{
    uint64_t sent_was, received_was, sent, received;
    sum_msgs(was, &sent_was, &received_was);
    sum_msgs(now, &sent, &received);
    double in = (double)(now->wire_bytes_received - was->wire_bytes_received) / seconds;
    double out = (double)(now->wire_bytes_sent - was->wire_bytes_sent) / seconds;
    double msgs_in = (double)(received - received_was) / seconds;
    double msgs_out = (double)(sent - sent_was) / seconds;
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "rates");
        json_out_count(object, "peers", now->peers);
        json_out_real(object, "bytes_in_per_s", in);
        json_out_real(object, "bytes_out_per_s", out);
        json_out_real(object, "msgs_in_per_s", msgs_in);
        json_out_real(object, "msgs_out_per_s", msgs_out);
        json_out_count(object, "frames_failed", now->frames_failed);
        json_out_count(object, "pool_bytes", now->pool_bytes);
        node_print_json(object);
        return;
    }
    char in_text[CLI_TEXT_BYTES], out_text[CLI_TEXT_BYTES];
    printf("%" PRIu64
           " peers  in %s, %.0f messages/s  out %s, %.0f messages/s  failed frames %" PRIu64 "\n",
           now->peers, cli_rate_text(in_text, in), msgs_in, cli_rate_text(out_text, out), msgs_out,
           now->frames_failed);
    fflush(stdout);
}

void node_print_discovery(const struct node_watch *watch)
{
    struct weir_discovery_info info = {.size = sizeof(info)};
    if (watch->discovery == NULL || weir_discovery_read(watch->discovery, &info) != 0)
        return;
    if (watch->is_json) {
        struct json_out *object = json_out_object();
        json_out_text(object, "event", "discovery");
        json_out_count(object, "outbound", info.outbound_cnt);
        json_out_count(object, "inbound", info.inbound_cnt);
        json_out_count(object, "dialing", info.dialing_cnt);
        json_out_count(object, "tried", info.tried_cnt);
        json_out_count(object, "new", info.new_cnt);
        json_out_count(object, "asks_sent", info.asks_sent);
        json_out_count(object, "asks_refused", info.asks_refused);
        json_out_count(object, "answers_sent", info.answers_sent);
        json_out_count(object, "answers_taken", info.answers_taken);
        node_print_json(object);
        return;
    }
    printf("discovery: %u outbound, %u inbound, %u being dialed; known: %u tried, %u new\n",
           info.outbound_cnt, info.inbound_cnt, info.dialing_cnt, info.tried_cnt, info.new_cnt);
    fflush(stdout);
}

void node_print_end(const struct node_watch *watch, const struct weir_metrics *metrics)
{
    uint64_t sent, received;
    sum_msgs(metrics, &sent, &received);
    if (watch->is_json) {
        struct json_out *object = json_out_object(), *closes = json_out_object();
        json_out_text(object, "event", "end");
        json_out_count(object, "accepted", metrics->accepted);
        json_out_count(object, "dialed", metrics->dialed);
        json_out_count(object, "msgs_sent", sent);
        json_out_count(object, "msgs_received", received);
        json_out_count(object, "wire_bytes_sent", metrics->wire_bytes_sent);
        json_out_count(object, "wire_bytes_received", metrics->wire_bytes_received);
        json_out_count(object, "frames_received", metrics->frames_received);
        json_out_count(object, "frames_failed", metrics->frames_failed);
        for (int i = 0; i < WEIR_REASON_CNT; i++) {
            if (metrics->closes[i] != 0)
                json_out_count(closes, weir_reason_name(i), metrics->closes[i]);
        }
        json_out_put(object, "closes", closes);
        node_print_json(object);
        return;
    }
    printf("ended: %" PRIu64 " accepted, %" PRIu64 " dialed; %" PRIu64
           " messages received, %" PRIu64 " sent; %" PRIu64 " frames checked, %" PRIu64 " failed\n",
           metrics->accepted, metrics->dialed, received, sent, metrics->frames_received,
           metrics->frames_failed);
    for (int i = 0; i < WEIR_REASON_CNT; i++) {
        if (metrics->closes[i] != 0)
            printf("closed by reason: %s %" PRIu64 "\n", weir_reason_name(i), metrics->closes[i]);
    }
    fflush(stdout);
}
