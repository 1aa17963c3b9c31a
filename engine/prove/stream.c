#include "engine/prove/run.h"

#include <string.h>

#include "engine/base/check.h"
#include "engine/conn/tx.h"

/* The native wire as docs/wire.md has it; read here apart from the codec, which is what is being proved. */
#define PREFACE_BYTES 9u
#define HEAD_BYTES 32u
#define MAGIC UINT32_C(0x52494557)
#define KIND_AT 5u
#define CHANNEL_AT 6u
#define LENGTH_AT 8u
#define KIND_MORE 3u
/* A send that the kernel does not take is tried again in the next turn. It refuses one in five at most (FULL), so
 * that more than so many in a row come once in 10^14 times. */
#define REFUSED_TURNS_MAX 20u

static uint32_t word_at(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof(word));
    return word;
}

static struct weir_conn *conn_of_io(struct run *run, struct weir_io *io, uint64_t token,
                                    struct run_node **ret_node)
{
    for (uint32_t i = 0; i < run->world->node_cnt; i++) {
        struct world_node *node = run->world->nodes[i];
        for (uint32_t k = 0; node->node && k < node->node->shard_cnt; k++) {
            if (node->ios[k] != io)
                continue;
            *ret_node = run_node_of(run, node);
            return weir_conn_of_token(&node->node->shards[k]->hub, token);
        }
    }
    return NULL;
}

static struct run_link *link_of(struct run *run, const struct weir_conn *conn, uint32_t *ret_end)
{
    bool is_dialer = false;
    uint64_t id = weir_sim_link(run->world->sim, conn->sock, &is_dialer);
    *ret_end = is_dialer ? 0 : 1;
    return id ? model_link(run, id) : NULL;
}

static struct run_stream *stream_of(struct run *run, const struct weir_conn *conn)
{
    uint32_t end;
    struct run_link *link = link_of(run, conn, &end);
    return link ? &link->streams[end] : NULL;
}

/* A frame is no longer than the other side takes, which is not what the sender may have thought. */
static void check_length(struct run *run, const struct run_node *node, const struct weir_conn *conn,
                         uint32_t len)
{
    uint32_t end;
    const struct run_link *link = link_of(run, conn, &end);
    const struct run_node *other = link ? link->ends[1 - end].node : NULL; /* NULL: not up yet */
    if (other && len > other->cfg.frame_bytes_max)
        run_fail(run, "bound", "node %u slot %u: a frame of %u bytes, node %u takes %u", node->idx,
                 conn->slot, len, other->idx, other->cfg.frame_bytes_max);
}

/* A frame of a channel (by its place among the world's) begins at stream->taken. */
static void channel_frame(struct run *run, struct run_node *node, struct run_stream *stream,
                          const struct weir_conn *conn, uint32_t idx, uint32_t len)
{
    check_length(run, node, conn, len);
    stream->bytes[idx] += conn->codec->head_bytes + len;
    stream->payload[idx] += len;
    if (run->is_urgent[idx]) /* wherever it is: urgent_from may be too far, never too near */
        stream->urgent_since_ns = 0;
    if (stream->urgent_since_ns == 0 || stream->taken < stream->urgent_from)
        return;
    bool is_stalled = false; /* its frame grew beyond the credit: others may go */
    for (uint32_t i = 0; i < conn->hub->channel_cnt; i++)
        is_stalled |= conn->channels[i].is_stalled && (conn->hub->urgent >> i & 1);
    if (!is_stalled)
        run_fail(run, "urgent",
                 "node %u slot %u: a frame of channel %u goes before an urgent message that "
                 "has waited since %llu ns",
                 node->idx, conn->slot, idx + 1, (unsigned long long)stream->urgent_since_ns);
    stream->urgent_since_ns = 0;
}

/* Its header is there. */
static void frame(struct run *run, struct run_node *node, struct run_stream *stream,
                  const struct weir_conn *conn)
{
    const uint8_t *head = stream->head;
    uint32_t len = word_at(head + LENGTH_AT);
    if (word_at(head) != MAGIC || len > node->cfg.frame_bytes_max) {
        run_fail(run, "stream", "node %u slot %u: what it sends is no frame at byte %llu",
                 node->idx, conn->slot, (unsigned long long)stream->taken);
        stream->is_lost = true;
        return;
    }
    stream->skip = len;
    if ((head[KIND_AT] & 0x7F) > KIND_MORE)
        return; /* control goes first */
    uint32_t idx = (uint32_t)(head[CHANNEL_AT] | head[CHANNEL_AT + 1] << 8) - 1;
    if (idx < run->channel_cnt)
        channel_frame(run, node, stream, conn, idx, len);
}

/* Whether the first byte of the send that is under way was taken. */
static bool is_begun(const struct run_stream *stream, const struct weir_conn *conn)
{
    return stream->send_left > 0 || stream->wire > conn->wire_tx;
}

/* An encrypted connection's bytes say nothing, which is what they are for: that a message could be read in
 * them is a finding. The frames of a send are those that were picked for it. */
static void sealed(struct run *run, struct run_node *node, struct run_stream *stream,
                   const struct weir_conn *conn, const uint8_t *bytes, size_t len)
{
    const struct weir_tx *tx = conn->tx;
    if (!tx || (stream->send_left > 0 && stream->send_left < len)) {
        run_fail(run, "stream", "node %u slot %u: bytes of no send", node->idx, conn->slot);
        return;
    }
    if (stream->send_left == 0) {
        stream->send_left = tx->bytes_left;
        for (uint32_t i = 0; i < tx->frame_cnt; i++) {
            uint32_t idx = conn->hub->channels[tx->frames[i].channel_idx].id - 1u;
            channel_frame(run, node, stream, conn, idx, tx->frames[i].payload);
            stream->taken += conn->codec->head_bytes + tx->frames[i].payload;
        }
    }
    stream->send_left -= len;
    stream->wire += len;
    if (model_is_bare(bytes, len))
        run_fail(run, "secret", "node %u slot %u: a message can be read in what it sends",
                 node->idx, conn->slot);
}

void stream_watch(void *ctx, struct weir_io *io, uint64_t token, const uint8_t *bytes, size_t len)
{
    struct run *run = ctx;
    struct run_node *node = NULL;
    struct weir_conn *conn = conn_of_io(run, io, token, &node);
    struct run_stream *stream = conn && node ? stream_of(run, conn) : NULL;
    if (stream && !bytes && len > 0)
        stream->is_lost = true;
    if (!stream || stream->is_lost || !conn->codec)
        return;
    if (conn->codec->seal) {
        sealed(run, node, stream, conn, bytes, len);
        return;
    }
    while (len > 0) {
        size_t take;
        if (stream->taken < PREFACE_BYTES) {
            take = weir_min_u64(len, PREFACE_BYTES - stream->taken);
            stream->taken += take;
        } else if (stream->skip > 0) {
            take = weir_min_u64(len, stream->skip);
            stream->skip -= (uint32_t)take;
            stream->taken += take;
        } else {
            take = weir_min_u64(len, HEAD_BYTES - stream->head_len);
            memcpy(stream->head + stream->head_len, bytes, take);
            stream->head_len += (uint32_t)take;
            if (stream->head_len == HEAD_BYTES) {
                frame(run, node, stream, conn);
                stream->taken += HEAD_BYTES;
                stream->head_len = 0;
            }
        }
        bytes += take;
        len -= take;
        if (stream->is_lost)
            return;
    }
}

/* An urgent message was queued behind nothing urgent: what was picked before may go first, nothing else. */
void stream_urgent(struct run_node *node, struct weir_conn *conn, uint32_t channel)
{
    struct run *run = node->run;
    const struct weir_conn_channel *own = &conn->channels[channel];
    struct run_stream *stream = stream_of(run, conn);
    bool is_lossy = conn->hub->channels[channel].overflow == WEIR_OVERFLOW_DROP_OLDEST;
    if (!stream || is_lossy || stream->urgent_since_ns || conn->state != WEIR_CONN_READY ||
        !own->head)
        return;
    uint64_t credit = own->tx_limit - own->tx_used;
    if (own->head->len > credit) /* it waits for credit, and others may go meanwhile */
        return;
    stream->urgent_from = stream->taken + stream->head_len;
    if (!conn->codec->seal)
        stream->urgent_from += conn->tx ? conn->tx->bytes_left : 0;
    for (uint32_t i = 0; conn->codec->seal && conn->tx && i < conn->tx->frame_cnt; i++)
        if (!is_begun(stream, conn))
            stream->urgent_from += conn->codec->head_bytes + conn->tx->frames[i].payload;
    stream->urgent_since_ns = weir_world_now(run->world);
}

/* Bytes of a channel that were picked so far: those with the kernel, and those of the send that is under way
 * and not taken yet, which are the last of its frames. */
static uint64_t picked(const struct weir_conn *conn, uint32_t nth, const struct run_stream *stream,
                       uint32_t idx)
{
    uint64_t bytes = stream->bytes[idx];
    uint64_t left = conn->channels[nth].tx_used - stream->payload[idx];
    for (uint32_t i = conn->tx ? conn->tx->frame_cnt : 0; i-- > 0 && left > 0;) {
        const struct weir_tx_frame *frame = &conn->tx->frames[i];
        if (frame->channel_idx != nth)
            continue;
        bytes += conn->codec->head_bytes + frame->payload;
        left -= weir_min_u64(left, frame->payload);
    }
    return bytes;
}

/* Fairness: |W_i / w_i - W_j / w_j| <= l_i / w_i + l_j / w_j for two channels that stay backlogged. Whoever is
 * backlogged after a turn was so during it, because picking only takes away. */
static void check_pair(struct run_node *node, const struct weir_conn *conn,
                       struct run_stream *stream, const uint64_t *picked_bytes, uint32_t i,
                       uint32_t k)
{
    struct run *run = node->run;
    const struct weir_hub *hub = conn->hub;
    uint32_t a = hub->channels[i].id - 1u, b = hub->channels[k].id - 1u;
    uint64_t both = UINT64_C(1) << i | UINT64_C(1) << k;
    if ((conn->active & both) != both || conn->channels[i].is_stalled ||
        conn->channels[k].is_stalled || run->is_urgent[a] != run->is_urgent[b]) {
        stream->is_paired[a][b] = false;
        return;
    }
    stream->has_pairs = true;
    uint64_t now[2] = {picked_bytes[i], picked_bytes[k]};
    uint64_t *since = stream->since[a][b];
    if (!stream->is_paired[a][b]) {
        stream->is_paired[a][b] = true;
        since[0] = now[0];
        since[1] = now[1];
        return;
    }
    double got_a = (double)(now[0] - since[0]) / run->weights[a];
    double got_b = (double)(now[1] - since[1]) / run->weights[b];
    double most = (double)(node->cfg.frame_bytes_max + conn->codec->head_bytes) *
                      (1.0 / run->weights[a] + 1.0 / run->weights[b]) +
                  1;
    double apart = got_a > got_b ? got_a - got_b : got_b - got_a;
    if (apart > most)
        run_fail(
            run, "fair",
            "node %u slot %u: channels %u and %u, of weights %u and %u, got %llu and %llu bytes "
            "while both were backlogged",
            node->idx, conn->slot, a + 1, b + 1, run->weights[a], run->weights[b],
            (unsigned long long)(now[0] - since[0]), (unsigned long long)(now[1] - since[1]));
}

/* What is urgent waits for the send that is under way, and for nothing else: a turn queues before it sends, so at
 * its end a send is under way, or the kernel did not take one; and then the shard does not sleep. So in virtual time
 * the wait is that of the send, and of as many turns as the kernel refuses. */
static void check_idle(struct run_node *node, const struct weir_conn *conn,
                       struct run_stream *stream)
{
    struct run *run = node->run;
    const struct weir_hub *hub = conn->hub;
    uint64_t urgent = hub->urgent & conn->active;
    for (uint32_t i = 0; i < hub->channel_cnt; i++)
        if (conn->channels[i].is_stalled) /* it waits for credit */
            urgent &= ~(UINT64_C(1) << i);
    if (!urgent || (conn->flags & WEIR_CONN_OP_SEND)) {
        stream->idle_turns = 0;
        return;
    }
    bool may_refuse = (run->classes & WEIR_FAULT_FULL) != 0;
    if (++stream->idle_turns > (may_refuse ? REFUSED_TURNS_MAX : 0))
        run_fail(
            run, "urgent",
            "node %u slot %u: something urgent waits for the end of %u turns, and nothing is sent",
            node->idx, conn->slot, stream->idle_turns);
    if (weir_sim_io_due(hub->io) > weir_world_now(run->world))
        run_fail(run, "urgent", "node %u slot %u: the shard sleeps, and something urgent waits",
                 node->idx, conn->slot);
}

static void check_pairs(struct run_node *node, const struct weir_conn *conn,
                        struct run_stream *stream)
{
    const struct weir_hub *hub = conn->hub;
    uint64_t picked_bytes[RUN_CHANNELS_MAX] = {0};
    stream->has_pairs = false;
    for (uint32_t i = 0; i < hub->channel_cnt; i++)
        if (conn->active >> i & 1)
            picked_bytes[i] = picked(conn, i, stream, hub->channels[i].id - 1u);
    for (uint32_t i = 0; i < hub->channel_cnt; i++)
        for (uint32_t k = i + 1; k < hub->channel_cnt; k++)
            check_pair(node, conn, stream, picked_bytes, i, k);
}

void stream_check(struct run_node *node, struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    struct run_slot *slot = run_slot_of(node, conn);
    if (conn->state != WEIR_CONN_READY || (!hub->urgent && hub->channel_cnt < 2) ||
        (!conn->active && !slot->is_followed)) /* nothing is to be sent, nor was before */
        return;
    struct run_stream *stream = stream_of(node->run, conn);
    if (!stream || stream->is_lost)
        return;
    check_idle(node, conn, stream);
    if (stream->has_pairs || (conn->active & (conn->active - 1)))
        check_pairs(node, conn, stream);
    slot->is_followed = stream->has_pairs || stream->idle_turns > 0;
}
