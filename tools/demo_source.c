#include "demo_source.h"

#include <stdlib.h>

#include "cli.h"
#include "demo_mesh.h"
#include "demo_plan.h"
#include "demo_stream.h"

enum phase { PHASE_WAIT, PHASE_GO, PHASE_STOP, PHASE_DONE };

struct sink_link {
    weir_peer peer; /* {0}: not connected yet */
    size_t next;    /* the plan's next message for it; plan.cnt stands for the end of the round */
    uint32_t round;
    bool is_blocked;                  /* its bulk queue is full, on_writable will come */
    bool has_bulk_fin, has_state_fin; /* sent */
    uint64_t bulk_msgs;
    uint32_t votes_seen; /* it has every vote below */
    struct demo_pace state;
    struct demo_check state_check;
};

struct demo_source {
    struct demo_node *node;
    struct demo_plan plan;
    struct sink_link links[DEMO_NODES_MAX];
    uint32_t link_cnt;
    struct demo_pace votes;
    _Atomic int wanted; /* enum phase, set by the main thread */
    enum phase phase;   /* the shard's */
};

#define TICK_NS (500 * WEIR_NS_PER_US)

struct demo_source *demo_source_create(struct demo_node *node, uint64_t memory_max)
{
    struct demo_source *source = calloc(1, sizeof(*source));
    if (source == NULL) {
        demo_fail(node, CLI_ENVIRONMENT, "out of memory");
        return NULL;
    }
    source->node = node;
    if (!demo_plan_make(&source->plan, node->directory, memory_max, node->slot)) {
        demo_fail(node, CLI_FAILED, "%s", source->plan.fault);
        demo_source_free(source);
        return NULL;
    }
    return source;
}

void demo_source_free(struct demo_source *source)
{
    if (source == NULL)
        return;
    demo_plan_free(&source->plan);
    free(source);
}

void demo_source_go(struct demo_source *source)
{
    atomic_store(&source->wanted, PHASE_GO);
}

void demo_source_stop(struct demo_source *source)
{
    atomic_store(&source->wanted, PHASE_STOP);
}

/* ---- sending ------------------------------------------------------------------------------- */

/* Sends the end-of-round message, or the last one of the channel. */
static int send_mark(struct demo_source *source, struct sink_link *to, enum demo_kind kind)
{
    uint8_t data[DEMO_STAMP_BYTES];
    size_t len = demo_fin(data, kind == DEMO_FIN ? to->bulk_msgs : to->round, 0);
    data[0] = (uint8_t)kind;
    return weir_try_send(source->node->weir, to->peer, DEMO_BULK, data, len);
}

/* Queues bulk messages for one sink until its queue is full. */
static void pump(struct demo_source *source, struct sink_link *to)
{
    if (to->peer.v == 0 || to->has_bulk_fin)
        return;
    for (;;) {
        int error;
        if (source->phase == PHASE_STOP) {
            error = send_mark(source, to, DEMO_FIN);
            to->has_bulk_fin = error == 0;
            if (error == 0)
                return;
        } else if (to->next == source->plan.cnt) {
            error = send_mark(source, to, DEMO_ROUND);
            if (error == 0) {
                to->round++;
                to->next = source->plan.manifest_cnt;
            }
        } else {
            struct weir_buf *buf = demo_plan_msg(&source->plan, to->next);
            if (buf == NULL) {
                demo_fail(source->node, CLI_FAILED, "%s", source->plan.fault);
                return;
            }
            error = weir_send_buf(source->node->weir, to->peer, DEMO_BULK, buf);
            to->next += error == 0;
        }
        to->bulk_msgs += error == 0;
        to->is_blocked = error == WEIR_E_FULL;
        if (error == WEIR_E_FULL || error == WEIR_E_NOMEM || error == WEIR_E_GONE)
            return; /* on_writable, the next tick, or on_peer goes on */
        if (error != 0) {
            char text[CLI_ERROR_BYTES];
            demo_fail(source->node, cli_exit_of(error), "cannot send: %s",
                      cli_error_text(text, error));
            return;
        }
    }
}

static uint32_t votes_per_s(const struct demo_source *source)
{
    uint32_t most = DEMO_DELIVERIES_PER_S / (source->node->node_cnt - 1);
    return most < DEMO_VOTES_PER_S ? most : DEMO_VOTES_PER_S;
}

/* The vote before which nobody misses one. */
static uint64_t votes_seen(const struct demo_source *source)
{
    uint64_t min = UINT64_MAX;
    for (uint32_t i = 0; i < source->link_cnt; i++) {
        if (source->links[i].votes_seen < min)
            min = source->links[i].votes_seen;
    }
    return min;
}

static void send_votes(struct demo_source *source, weir_ns now)
{
    uint8_t vote[DEMO_VOTE_BYTES];
    uint64_t end = votes_seen(source) + DEMO_VOTES_AHEAD;
    while (demo_pace_due(&source->votes) <= now && source->votes.seq < end) {
        demo_stamp(vote, sizeof(vote), source->votes.seq, demo_pace_due(&source->votes),
                   weir_now());
        int64_t peer_cnt = weir_gossip_publish(source->node->gossip, vote, sizeof(vote), NULL);
        if (peer_cnt == WEIR_E_NOMEM || peer_cnt == 0)
            return; /* nobody has it: the same vote again at the next tick, with another time in it */
        if (peer_cnt < 0) {
            char text[CLI_ERROR_BYTES];
            demo_fail(source->node, cli_exit_of((int)peer_cnt), "cannot publish: %s",
                      cli_error_text(text, (int)peer_cnt));
            return;
        }
        source->votes.seq++;
    }
}

static void send_states(struct demo_source *source, struct sink_link *to, weir_ns now)
{
    uint8_t state[DEMO_STATE_BYTES];
    while (demo_pace_due(&to->state) <= now) {
        demo_stamp(state, sizeof(state), to->state.seq, demo_pace_due(&to->state), weir_now());
        if (weir_try_send(source->node->weir, to->peer, DEMO_STATE, state, sizeof(state)) != 0)
            return; /* the same one again at the next tick */
        to->state.seq++;
    }
}

static void send_fins(struct demo_source *source, struct sink_link *to)
{
    uint8_t fin[DEMO_STAMP_BYTES];
    if (!to->has_state_fin)
        to->has_state_fin = weir_try_send(source->node->weir, to->peer, DEMO_STATE, fin,
                                          demo_fin(fin, to->state.seq, source->votes.seq)) == 0;
}

static void report_done(struct demo_source *source)
{
    struct demo_slot *slot = source->node->slot;
    for (uint32_t i = 0; i < source->link_cnt; i++) {
        const struct sink_link *from = &source->links[i];
        if (!from->has_bulk_fin || !from->has_state_fin || !from->state_check.has_fin)
            return;
    }
    for (uint32_t i = 0; i < source->link_cnt; i++) {
        slot->states_lost += source->links[i].state_check.lost;
        slot->stamps_bad += source->links[i].state_check.bad;
    }
    slot->peers_up = source->link_cnt;
    demo_mesh_note(source->node);
    source->phase = PHASE_DONE;
    demo_report(source->node, "done");
}

/* ---- callbacks, on the shard's thread ------------------------------------------------------ */

static struct sink_link *find(struct demo_source *source, weir_peer peer)
{
    for (uint32_t i = 0; i < source->link_cnt; i++) {
        if (source->links[i].peer.v == peer.v)
            return &source->links[i];
    }
    return NULL;
}

static weir_ns on_tick(void *ctx, uint32_t shard, weir_ns now)
{
    struct demo_source *source = ctx;
    (void)shard;
    int wanted = atomic_load(&source->wanted);
    if (wanted == PHASE_WAIT || source->phase == PHASE_DONE)
        return now + 5 * WEIR_NS_PER_MS;
    if (source->phase == PHASE_WAIT) {
        source->phase = PHASE_GO;
        source->votes =
            (struct demo_pace){.start = now, .interval = WEIR_NS_PER_S / votes_per_s(source)};
        for (uint32_t i = 0; i < source->link_cnt; i++)
            source->links[i].state =
                (struct demo_pace){.start = now, .interval = WEIR_NS_PER_S / DEMO_STATES_PER_S};
    }
    if (wanted == PHASE_STOP)
        source->phase = PHASE_STOP;
    /* Votes first: what is queued behind them in this turn cannot delay them. */
    if (source->phase == PHASE_GO)
        send_votes(source, now);
    for (uint32_t i = 0; i < source->link_cnt; i++) {
        struct sink_link *to = &source->links[i];
        if (source->phase == PHASE_GO)
            send_states(source, to, now);
        else
            send_fins(source, to);
        if (!to->is_blocked)
            pump(source, to);
    }
    if (source->phase == PHASE_STOP)
        report_done(source);
    weir_ns due = demo_pace_due(&source->votes);
    return source->phase == PHASE_GO && due > now && due < now + TICK_NS ? due : now + TICK_NS;
}

static void on_writable(void *ctx, weir_peer peer, uint16_t channel)
{
    struct demo_source *source = ctx;
    struct sink_link *to = find(source, peer);
    if (to == NULL || channel != DEMO_BULK)
        return;
    to->is_blocked = false;
    pump(source, to);
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct demo_source *source = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        struct sink_link *from = find(source, msgs[i].peer);
        if (from == NULL || msgs[i].channel != DEMO_STATE)
            continue;
        demo_count(source->node->slot, msgs[i].channel, msgs[i].len);
        if (demo_check_take(&from->state_check, &msgs[i], DEMO_STATE_BYTES))
            from->votes_seen = get_u32(msgs[i].data + 4);
    }
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct demo_source *source = ctx;
    if (event == WEIR_PEER_UP && source->link_cnt < source->node->node_cnt - 1) {
        source->links[source->link_cnt++].peer = peer;
        if (source->link_cnt == source->node->node_cnt - 1)
            demo_report(source->node, "ready");
    } else if (event == WEIR_PEER_DOWN && source->phase != PHASE_DONE &&
               find(source, peer) != NULL) {
        char text[CLI_ERROR_BYTES];
        demo_fail(source->node, CLI_CONNECTION, "a node's connection ended: %s",
                  cli_reason_text(text, reason));
    }
}

struct weir_reactor demo_source_reactor(struct demo_source *source)
{
    return (struct weir_reactor){
        .size = sizeof(struct weir_reactor),
        .ctx = source,
        .on_batch = on_batch,
        .on_peer = on_peer,
        .on_writable = on_writable,
        .on_tick = on_tick,
    };
}
