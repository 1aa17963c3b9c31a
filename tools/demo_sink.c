#include "demo_sink.h"

#include <stdlib.h>

#include "cli.h"
#include "demo_files.h"
#include "demo_stream.h"

struct demo_sink {
    struct demo_node *node;
    struct demo_files *files;
    weir_peer source; /* {0}: not connected yet */
    struct demo_pace state;
    struct demo_check votes_check, state_check;
    uint64_t bulk_msgs; /* counted until the FIN */
    bool has_bulk_fin, has_state_fin_sent, is_done;
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

static void take_vote(struct demo_sink *sink, const struct weir_msg *msg)
{
    if (!demo_check_take(&sink->votes_check, msg, DEMO_VOTE_BYTES))
        return;
    struct demo_slot *slot = sink->node->slot;
    weir_ns now = weir_now();
    weir_ns due = get_u64(msg->data + 16), sent = get_u64(msg->data + 24);
    histogram_add(&slot->vote_latency, now > sent ? now - sent : 0);
    histogram_add(&slot->vote_lateness, now > due ? now - due : 0);
    atomic_store_explicit(&slot->last_vote_ns, now > sent ? now - sent : 0, memory_order_relaxed);
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
    if (sink->is_done || !sink->has_bulk_fin || !sink->votes_check.has_fin ||
        !sink->state_check.has_fin || !sink->has_state_fin_sent)
        return;
    struct demo_slot *slot = sink->node->slot;
    slot->votes_lost = sink->votes_check.lost;
    slot->states_lost = sink->state_check.lost;
    slot->stamps_bad = sink->votes_check.bad + sink->state_check.bad;
    sink->is_done = true;
    demo_report(sink->node, "done");
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct demo_sink *sink = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        const struct weir_msg *msg = &msgs[i];
        if (msg->channel < 1 || msg->channel > DEMO_CHANNEL_CNT || sink->node->has_failed)
            continue;
        demo_count(sink->node->slot, msg->channel, msg->len);
        switch ((enum demo_channel)msg->channel) {
        case DEMO_VOTES:
            take_vote(sink, msg);
            break;
        case DEMO_STATE:
            demo_check_take(&sink->state_check, msg, DEMO_STATE_BYTES);
            break;
        case DEMO_BULK:
            take_bulk(sink, msg);
            break;
        }
    }
    report_done(sink);
}

/* ---- what is sent: state, until the source has ended its own ------------------------------- */

static weir_ns on_tick(void *ctx, uint32_t shard, weir_ns now)
{
    struct demo_sink *sink = ctx;
    (void)shard;
    const weir_ns interval = WEIR_NS_PER_S / DEMO_STATES_PER_S;
    bool has_begun = sink->state_check.next_seq > 0 || sink->state_check.has_fin;
    if (sink->source.v == 0 || !has_begun || sink->has_state_fin_sent)
        return now + interval;
    if (sink->state.interval == 0)
        sink->state = (struct demo_pace){.start = now, .interval = interval};
    weir_node *weir = sink->node->weir;
    uint8_t state[DEMO_STATE_BYTES];
    if (sink->state_check.has_fin) {
        size_t len = demo_fin(state, sink->state.seq);
        sink->has_state_fin_sent = weir_try_send(weir, sink->source, DEMO_STATE, state, len) == 0;
        report_done(sink);
        return now + interval;
    }
    while (demo_pace_due(&sink->state) <= now) {
        demo_stamp(state, sizeof(state), sink->state.seq, demo_pace_due(&sink->state), weir_now());
        if (weir_try_send(weir, sink->source, DEMO_STATE, state, sizeof(state)) != 0)
            return now + interval; /* the same one again then */
        sink->state.seq++;
    }
    return demo_pace_due(&sink->state);
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct demo_sink *sink = ctx;
    if (event == WEIR_PEER_UP) {
        sink->source = peer;
        demo_report(sink->node, "ready");
    } else if (!sink->is_done) {
        char text[CLI_ERROR_BYTES];
        demo_fail(sink->node, CLI_CONNECTION, "the connection to node 1 %s: %s",
                  event == WEIR_PEER_DOWN ? "ended" : "could not be made",
                  cli_reason_text(text, reason));
    }
}

struct weir_reactor demo_sink_reactor(struct demo_sink *sink)
{
    return (struct weir_reactor){
        .size = sizeof(struct weir_reactor),
        .ctx = sink,
        .on_batch = on_batch,
        .on_peer = on_peer,
        .on_tick = on_tick,
    };
}
