#include "demo_sink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "demo_files.h"
#include "demo_mesh.h"
#include "demo_stream.h"
#include "demo_votes.h"

struct demo_sink {
    struct demo_node *node;
    struct demo_files *files;
    char source_address[128]; /* written before it is dialed */
    weir_peer source;         /* {0}: not connected yet */
    uint32_t peer_cnt;        /* connected, node 1 among them */
    struct demo_pace state;
    struct demo_votes votes;
    struct demo_check state_check;
    uint64_t vote_cnt;  /* published, once node 1 has said so */
    uint64_t bulk_msgs; /* counted until the FIN */
    bool has_met, has_bulk_fin, has_state_fin_sent, is_done;
};

struct demo_sink *demo_sink_create(struct demo_node *node, uint64_t memory_max)
{
    struct demo_sink *sink = calloc(1, sizeof(*sink));
    if (sink != NULL)
        sink->files = demo_files_create(node, memory_max);
    if (sink == NULL || sink->files == NULL) {
        if (!node->has_failed)
            demo_fail(node, CLI_ENVIRONMENT, "out of memory");
        free(sink);
        return NULL;
    }
    sink->node = node;
    return sink;
}

void demo_sink_free(struct demo_sink *sink)
{
    if (sink == NULL)
        return;
    demo_files_free(sink->files);
    free(sink);
}

/* ---- what arrives -------------------------------------------------------------------------- */

static void take_vote(struct demo_sink *sink, const struct weir_gossip_msg *msg)
{
    if (!demo_votes_take(&sink->votes, msg->data, msg->len))
        return;
    struct demo_slot *slot = sink->node->slot;
    weir_ns now = weir_now();
    weir_ns due = get_u64(msg->data + 16), sent = get_u64(msg->data + 24);
    histogram_add(&slot->vote_latency, now > sent ? now - sent : 0);
    histogram_add(&slot->vote_lateness, now > due ? now - due : 0);
    atomic_store_explicit(&slot->last_vote_ns, now > sent ? now - sent : 0, memory_order_relaxed);
}

static void take_state(struct demo_sink *sink, const struct weir_msg *msg)
{
    demo_check_take(&sink->state_check, msg, DEMO_STATE_BYTES);
    if (sink->state_check.has_fin && msg->len == DEMO_STAMP_BYTES)
        sink->vote_cnt = get_u64(msg->data + 16);
}

static void take_bulk(struct demo_sink *sink, const struct weir_msg *msg)
{
    if (msg->len == DEMO_STAMP_BYTES && msg->data[0] == DEMO_FIN) {
        sink->has_bulk_fin = true;
        uint64_t sent = get_u64(msg->data + 8);
        if (sent != sink->bulk_msgs)
            demo_fail(sink->node, CLI_MISMATCH, "%llu bulk messages were sent, %llu arrived",
                      (unsigned long long)sent, (unsigned long long)sink->bulk_msgs);
        return;
    }
    sink->bulk_msgs++;
    demo_files_take(sink->files, msg->data, msg->len);
}

static void report_done(struct demo_sink *sink)
{
    if (sink->is_done || !sink->has_bulk_fin || !sink->state_check.has_fin ||
        !sink->has_state_fin_sent)
        return;
    struct demo_slot *slot = sink->node->slot;
    slot->votes_lost = sink->vote_cnt > sink->votes.cnt ? sink->vote_cnt - sink->votes.cnt : 0;
    if (slot->votes_lost > 0)
        return; /* gossip may still have them: demo_sink_votes comes back here */
    slot->states_lost = sink->state_check.lost;
    slot->stamps_bad = sink->votes.bad + sink->state_check.bad;
    slot->peers_up = sink->peer_cnt;
    demo_mesh_note(sink->node);
    sink->is_done = true;
    demo_report(sink->node, "done");
}

void demo_sink_votes(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    struct demo_sink *sink = ctx;
    for (uint32_t i = 0; i < msg_cnt && !sink->node->has_failed; i++) {
        demo_count(sink->node->slot, DEMO_VOTES, msgs[i].len);
        take_vote(sink, &msgs[i]);
    }
    report_done(sink);
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct demo_sink *sink = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        const struct weir_msg *msg = &msgs[i];
        if (msg->peer.v != sink->source.v || sink->node->has_failed)
            continue; /* only node 1 has anything to say on these channels */
        demo_count(sink->node->slot, msg->channel, msg->len);
        if (msg->channel == DEMO_STATE)
            take_state(sink, msg);
        else if (msg->channel == DEMO_BULK)
            take_bulk(sink, msg);
    }
    report_done(sink);
}

/* ---- what is sent: state, until the source has ended its own ------------------------------- */

static weir_ns on_tick(void *ctx, uint32_t shard, weir_ns now)
{
    struct demo_sink *sink = ctx;
    (void)shard;
    const weir_ns interval = WEIR_NS_PER_S / DEMO_STATES_PER_S;
    if (sink->source.v != 0 && !sink->has_met && demo_mesh_has_met(sink->node)) {
        sink->has_met = true;
        demo_report(sink->node, "met");
    }
    bool has_begun = sink->state_check.next_seq > 0 || sink->state_check.has_fin;
    if (sink->source.v == 0 || !has_begun || sink->has_state_fin_sent)
        return now + interval;
    if (sink->state.interval == 0)
        sink->state = (struct demo_pace){.start = now, .interval = interval};
    weir_node *weir = sink->node->weir;
    uint8_t state[DEMO_STATE_BYTES];
    if (sink->state_check.has_fin) {
        size_t len = demo_fin(state, sink->state.seq, 0);
        sink->has_state_fin_sent = weir_try_send(weir, sink->source, DEMO_STATE, state, len) == 0;
        report_done(sink);
        return now + interval;
    }
    while (demo_pace_due(&sink->state) <= now) {
        demo_stamp(state, sizeof(state), sink->state.seq, demo_pace_due(&sink->state), weir_now());
        put_u32(state + 4, (uint32_t)sink->votes.next);
        if (weir_try_send(weir, sink->source, DEMO_STATE, state, sizeof(state)) != 0)
            return now + interval; /* the same one again then */
        sink->state.seq++;
    }
    return demo_pace_due(&sink->state);
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct demo_sink *sink = ctx;
    char text[CLI_ERROR_BYTES];
    struct weir_peer_info info = {.size = sizeof(info)};
    if (event == WEIR_PEER_UP) {
        sink->peer_cnt++;
        bool is_source = sink->source.v == 0 &&
                         weir_peer_info(sink->node->weir, peer, &info) == 0 && info.is_dialer &&
                         strcmp(info.dialed, sink->source_address) == 0;
        if (is_source) {
            sink->source = peer;
            demo_report(sink->node, "ready");
        }
    } else if (event == WEIR_PEER_DOWN) {
        sink->peer_cnt--;
        if (peer.v == sink->source.v && !sink->is_done)
            demo_fail(sink->node, CLI_CONNECTION, "the connection to node 1 ended: %s",
                      cli_reason_text(text, reason));
    }
}

/* Discovery's dials may fail, ours may not. */
static void on_dial(void *ctx, const char *address, int reason)
{
    struct demo_sink *sink = ctx;
    char text[CLI_ERROR_BYTES];
    if (sink->source.v == 0 && strcmp(address, sink->source_address) == 0)
        demo_fail(sink->node, CLI_CONNECTION, "the connection to node 1 could not be made: %s",
                  cli_reason_text(text, reason));
}

int demo_sink_dial(struct demo_sink *sink, const char *address)
{
    snprintf(sink->source_address, sizeof(sink->source_address), "%s", address);
    return weir_dial(sink->node->weir, sink->source_address, 0);
}

struct weir_reactor demo_sink_reactor(struct demo_sink *sink)
{
    return (struct weir_reactor){
        .size = sizeof(struct weir_reactor),
        .ctx = sink,
        .on_batch = on_batch,
        .on_peer = on_peer,
        .on_tick = on_tick,
        .on_dial = on_dial,
    };
}
