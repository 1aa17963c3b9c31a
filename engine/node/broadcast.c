#include <string.h>

#include "engine/base/check.h"
#include "engine/base/copy.h"
#include "engine/node/internal.h"
#include "engine/node/receipt.h"
#include "engine/node/sample.h"

/* Encodes and hashes a message once: its bytes, and the header of each of its fragments. The first header
 * lies in the buffer's headroom, so that a small message is one piece for the kernel. */
static struct weir_shared *encode(weir_node *node, struct weir_shard *here, uint32_t channel_idx,
                                  const void *data, size_t len)
{
    const struct weir_codec *codec = &weir_codec_native;
    uint32_t frame_bytes = node->cfg.frame_bytes_max;
    uint32_t frame_cnt = (uint32_t)((len + frame_bytes - 1) / frame_bytes);
    struct weir_buf *buf = NULL;
    if (here)
        buf = weir_pool_take(here->hub.pool, len);
    else if (weir_buf_create(&buf, len) != 0)
        buf = NULL;
    struct weir_shared *shared = weir_heap_alloc_raw(
        here ? here->hub.heap : NULL, sizeof(*shared) + (size_t)frame_cnt * codec->head_bytes);
    if (!buf || !shared) {
        weir_buf_unref(buf);
        weir_heap_release(shared);
        return NULL;
    }
    weir_copy(buf->data, data, len);
    buf->len = len;
    atomic_init(&shared->refs, 1);
    shared->frame_bytes = frame_bytes;
    shared->head_bytes = codec->head_bytes;
    shared->frame_cnt = frame_cnt;
    shared->buf = buf;
    shared->receipt = NULL;
    for (uint32_t i = 0; i < frame_cnt; i++) {
        uint32_t off = i * frame_bytes;
        uint32_t left = (uint32_t)len - off;
        uint8_t *head =
            i ? shared->heads + (size_t)i * codec->head_bytes : buf->data - codec->head_bytes;
        codec->frame_head(head, i ? WEIR_FRAME_MORE : WEIR_FRAME_FIRST,
                          node->channels[channel_idx].id, i ? off : (uint32_t)len, buf->data + off,
                          left < frame_bytes ? left : frame_bytes);
    }
    return shared;
}

bool weir_fanout_wants(const struct weir_fanout *fanout, weir_peer peer)
{
    if (!fanout)
        return true;
    if (fanout->except.v == peer.v)
        return false;
    return !fanout->accept || fanout->accept(fanout->ctx, peer);
}

/* `shared` NULL: an empty message, which has no frame of its own. */
int weir_shared_queue(struct weir_conn *conn, uint32_t channel_idx, struct weir_shared *shared)
{
    return shared ? weir_sendq_shared(conn, channel_idx, shared)
                  : weir_sendq_copy(conn, channel_idx, NULL, 0, false);
}

int64_t weir_broadcast_here(struct weir_shard *shard, uint32_t channel_idx,
                            struct weir_shared *shared, const struct weir_fanout *fanout)
{
    struct weir_hub *hub = &shard->hub;
    int64_t taken = 0;
    if (fanout && fanout->sample)
        return weir_sample_here(shard, channel_idx, shared, fanout);
    uint64_t left = atomic_load_explicit(&hub->metrics.ready_cnt, memory_order_relaxed);
    for (uint32_t i = 0; left && i < hub->cfg->peers_max; i++) {
        struct weir_conn *conn = &hub->conns[i];
        if (conn->state != WEIR_CONN_READY)
            continue;
        left--;
        if (!conn->channels[channel_idx].is_agreed ||
            !weir_fanout_wants(fanout, weir_peer_of(conn)) || conn->state != WEIR_CONN_READY)
            continue;
        taken += weir_shared_queue(conn, channel_idx, shared) == 0;
    }
    return taken;
}

int64_t weir_multicast_here(struct weir_shard *shard, uint32_t channel_idx,
                            struct weir_shared *shared, const weir_peer *peers, size_t peer_cnt)
{
    int64_t taken = 0;
    for (size_t i = 0; i < peer_cnt; i++) {
        struct weir_conn *conn = weir_shard_of(shard->node, peers[i]) == shard
                                     ? weir_conn_of_peer(shard, peers[i])
                                     : NULL;
        if (!conn || !conn->channels[channel_idx].is_agreed)
            continue;
        taken += weir_shared_queue(conn, channel_idx, shared) == 0;
    }
    return taken;
}

/* A broadcast to another shard, or a multicast to those of `peers` that are its. */
static int post_broadcast(struct weir_shard *shard, uint32_t channel_idx,
                          struct weir_shared *shared, const struct weir_fanout *fanout,
                          const weir_peer *peers, size_t peer_cnt)
{
    size_t own_cnt = 0;
    for (size_t i = 0; i < peer_cnt; i++)
        own_cnt += weir_shard_of(shard->node, peers[i]) == shard;
    if (peers && own_cnt == 0)
        return 0;
    struct weir_note *note = weir_note_create(peers ? WEIR_LETTER_MULTICAST : WEIR_LETTER_BROADCAST,
                                              (uint32_t)(own_cnt * sizeof(weir_peer)));
    if (!note)
        return WEIR_E_NOMEM;
    weir_peer *own = (weir_peer *)(void *)note->data;
    for (size_t i = 0; i < peer_cnt; i++)
        if (weir_shard_of(shard->node, peers[i]) == shard)
            *own++ = peers[i];
    note->channel_idx = channel_idx;
    note->shared = shared;
    if (shared) {
        atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
        note->letter.bytes += (uint32_t)shared->buf->len;
        if (shared->receipt)
            weir_receipt_post(shared->receipt); /* weir_note_free says that it is over */
    }
    if (fanout) {
        note->fanout = *fanout;
        note->has_fanout = true;
    }
    int error = weir_shard_post(shard, note, false);
    if (error)
        weir_note_free(note);
    return error;
}

/* `peers` NULL: a broadcast. */
static int64_t send_to_many(weir_node *node, uint16_t channel, const void *data, size_t len,
                            const struct weir_fanout *fanout, const weir_peer *peers,
                            size_t peer_cnt)
{
    uint32_t idx = node->channel_idx_of[channel];
    if (idx >= node->channel_cnt)
        return WEIR_E_NO_CHANNEL;
    if (len > WEIR_MSG_BYTES_MAX)
        return WEIR_E_TOO_BIG;
    if (atomic_load(&node->state) != WEIR_NODE_RUNNING)
        return WEIR_E_STATE;
    struct weir_shard *here = weir_shard_here(node);
    struct weir_shared *shared = NULL;
    weir_receipt *receipt = fanout ? fanout->receipt : NULL;
    if (receipt && len == 0)
        return WEIR_E_MISUSE;
    if (len) {
        shared = encode(node, here, idx, data, len);
        if (!shared)
            return WEIR_E_NOMEM;
    }
    if (receipt && weir_receipt_begin(receipt, node) != 0) {
        weir_shared_unref(shared);
        return WEIR_E_STATE;
    }
    if (receipt)
        shared->receipt = receipt;
    struct weir_hub_metrics *metrics = &(here ? here : node->shards[0])->hub.metrics;
    atomic_fetch_add_explicit(&metrics->broadcasts, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&metrics->broadcast_encodes, shared != NULL, memory_order_relaxed);
    int64_t taken = 0;
    int64_t error = 0;
    struct weir_sample sample;
    if (fanout && fanout->sample)
        weir_sample_begin(&sample, node, fanout->sample);
    for (uint32_t i = 0; i < node->shard_cnt; i++) {
        struct weir_fanout own;
        if (fanout) {
            own = *fanout;
            own.sample = fanout->sample ? weir_sample_share(&sample, i) : 0;
            if (fanout->sample && !own.sample)
                continue;
        }
        int64_t done;
        if (node->shards[i] != here)
            done =
                post_broadcast(node->shards[i], idx, shared, fanout ? &own : NULL, peers, peer_cnt);
        else if (peers)
            done = weir_multicast_here(here, idx, shared, peers, peer_cnt);
        else
            done = weir_broadcast_here(here, idx, shared, fanout ? &own : NULL);
        taken += done > 0 ? done : 0;
        error = !error && done < 0 ? done : error;
    }
    if (receipt)
        weir_receipt_posted(receipt);
    if (shared)
        weir_shared_unref(shared);
    return error ? error : taken;
}

int64_t weir_broadcast(weir_node *node, uint16_t channel, const void *data, size_t len,
                       const struct weir_fanout *fanout)
{
    if (!node || (!data && len))
        return WEIR_E_MISUSE;
    struct weir_fanout own;
    int error = fanout ? weir_struct_take(&own, sizeof(own), fanout) : 0;
    if (error)
        return error;
    return send_to_many(node, channel, data, len, fanout ? &own : NULL, NULL, 0);
}

static int64_t multicast(weir_node *node, uint16_t channel, const void *data, size_t len,
                         const weir_peer *peers, size_t peer_cnt, const struct weir_fanout *fanout)
{
    static const weir_peer nobody;
    if (!node || (!data && len) || (!peers && peer_cnt) || peer_cnt > 65536)
        return WEIR_E_MISUSE;
    return send_to_many(node, channel, data, len, fanout, peers ? peers : &nobody, peer_cnt);
}

int64_t weir_multicast(weir_node *node, uint16_t channel, const void *data, size_t len,
                       const weir_peer *peers, size_t peer_cnt)
{
    return multicast(node, channel, data, len, peers, peer_cnt, NULL);
}

int64_t weir_multicast_receipt(weir_node *node, uint16_t channel, const void *data, size_t len,
                               const weir_peer *peers, size_t peer_cnt, weir_receipt *receipt)
{
    const struct weir_fanout fanout = {.size = sizeof(fanout), .receipt = receipt};
    return receipt ? multicast(node, channel, data, len, peers, peer_cnt, &fanout) : WEIR_E_MISUSE;
}
