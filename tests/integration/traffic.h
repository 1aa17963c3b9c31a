/* tests/integration/traffic.h: streams of numbered messages between nodes, checked byte by byte.
 *
 * Each side of a connection sends `total` messages on each of its channels, as fast as its queues take
 * them, from its shard's thread: when a peer comes up and at each on_writable. Message `seq` of a channel
 * has a length and bytes that follow from the channel, the number and the side, so a receiver knows what
 * must come next on each channel: order, loss, doubling and damage are all a wrong byte.
 */
#ifndef WEIR_TESTS_INTEGRATION_TRAFFIC_H
#define WEIR_TESTS_INTEGRATION_TRAFFIC_H

#include "tests/integration/harness.h"

#define TRAFFIC_PEERS 128u
#define TRAFFIC_MSG_MAX ((16u << 20) + 1u)

struct traffic_peer {
    weir_peer peer;
    uint64_t sent[IT_CHANNELS];
    _Atomic uint64_t received[IT_CHANNELS];
};

struct traffic {
    struct it_node *node;
    uint32_t side; /* a number; the other side's is `other` */
    uint32_t other;
    uint64_t total[IT_CHANNELS]; /* to send to each peer, by the channel's position */
    uint32_t (*len_of)(uint16_t channel, uint64_t seq);
    struct traffic_peer peers[TRAFFIC_PEERS];
    _Atomic uint32_t peer_cnt;
    _Atomic uint64_t received; /* of all peers and channels */
    uint8_t *scratch[WEIR_SHARDS_MAX];
};

static inline uint64_t traffic_seed(uint32_t side, uint16_t channel, uint64_t seq)
{
    return (uint64_t)side << 56 | (uint64_t)channel << 40 | seq;
}

static inline struct traffic_peer *traffic_find(struct traffic *traffic, weir_peer peer)
{
    uint32_t cnt = atomic_load(&traffic->peer_cnt);
    for (uint32_t i = 0; i < cnt; i++) {
        if (traffic->peers[i].peer.v == peer.v)
            return &traffic->peers[i];
    }
    return NULL;
}

/* Sends on one channel until its queue is full. On the peer's shard. */
static inline void traffic_pump(struct traffic *traffic, struct traffic_peer *to, uint32_t idx)
{
    uint16_t channel = traffic->node->channels[idx].id;
    uint8_t *scratch = traffic->scratch[weir_peer_shard(to->peer)];
    while (to->sent[idx] < traffic->total[idx]) {
        uint64_t seq = to->sent[idx];
        uint32_t len = traffic->len_of(channel, seq);
        it_fill(scratch, len, traffic_seed(traffic->side, channel, seq));
        int error = weir_try_send(traffic->node->node, to->peer, channel, scratch, len);
        if (error == WEIR_E_FULL || error == WEIR_E_GONE)
            return;
        if (error) {
            it_fault(traffic->node, "try_send: %s", weir_error_name(error));
            return;
        }
        to->sent[idx]++;
    }
}

static inline void traffic_on_peer(struct it_node *node, weir_peer peer, int event, int reason)
{
    struct traffic *traffic = node->user;
    (void)reason;
    if (event != WEIR_PEER_UP)
        return;
    pthread_mutex_lock(&node->mutex);
    uint32_t at = atomic_load(&traffic->peer_cnt);
    if (at < TRAFFIC_PEERS) {
        traffic->peers[at].peer = peer;
        atomic_store(&traffic->peer_cnt, at + 1);
    }
    pthread_mutex_unlock(&node->mutex);
    if (at == TRAFFIC_PEERS) {
        it_fault(node, "too many peers");
        return;
    }
    for (uint32_t i = 0; i < node->channel_cnt; i++)
        traffic_pump(traffic, &traffic->peers[at], i);
}

static inline void traffic_on_writable(struct it_node *node, weir_peer peer, uint16_t channel)
{
    struct traffic *traffic = node->user;
    traffic_pump(traffic, traffic_find(traffic, peer), (uint32_t)it_channel_idx(node, channel));
}

/* True when the message is the next of its channel. */
static inline bool traffic_take(struct traffic *traffic, const struct weir_msg *msg)
{
    struct traffic_peer *from = traffic_find(traffic, msg->peer);
    int idx = it_channel_idx(traffic->node, msg->channel);
    if (!from || idx < 0) {
        it_fault(traffic->node, "a message from nowhere");
        return false;
    }
    uint64_t seq = atomic_load(&from->received[idx]);
    uint32_t len = traffic->len_of(msg->channel, seq);
    if (msg->len != len ||
        !it_is_filled(msg->data, len, traffic_seed(traffic->other, msg->channel, seq))) {
        it_fault(traffic->node, "message %llu of channel %u: %u bytes, %u expected, or damaged",
                 (unsigned long long)seq, msg->channel, msg->len, len);
        return false;
    }
    atomic_store(&from->received[idx], seq + 1);
    atomic_fetch_add(&traffic->received, 1);
    return true;
}

static inline void traffic_on_msg(struct it_node *node, const struct weir_msg *msg)
{
    (void)traffic_take(node->user, msg);
}

/* Gives the node this traffic's callbacks; before it_start. `len_max`: of any message. */
static inline void traffic_init(struct traffic *traffic, struct it_node *node, uint32_t side,
                                uint32_t other, uint32_t (*len_of)(uint16_t, uint64_t),
                                uint32_t len_max)
{
    memset(traffic, 0, sizeof(*traffic));
    traffic->node = node;
    traffic->side = side;
    traffic->other = other;
    traffic->len_of = len_of;
    for (uint32_t i = 0; i < node->cfg.shard_cnt; i++) {
        traffic->scratch[i] = malloc(len_max ? len_max : 1);
        cr_assert(traffic->scratch[i] != NULL);
    }
    node->user = traffic;
    node->on_peer = traffic_on_peer;
    node->on_writable = traffic_on_writable;
    node->on_msg = traffic_on_msg;
}

static inline void traffic_fini(struct traffic *traffic)
{
    for (uint32_t i = 0; i < WEIR_SHARDS_MAX; i++)
        free(traffic->scratch[i]);
}

#endif
