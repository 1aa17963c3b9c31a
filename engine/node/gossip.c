#include <string.h>

#include "engine/base/check.h"
#include "engine/node/gossip_impl.h"
#include "engine/node/internal.h"

#define PEERS_FIRST 16u

/* ---- configuration ------------------------------------------------------------------------- */

void weir_gossip_config_init(struct weir_gossip_config *ret_cfg)
{
    *ret_cfg = (struct weir_gossip_config){
        .size = sizeof(*ret_cfg),
        .channel = WEIR_GOSSIP_CHANNEL,
        .weight = 1,
        .msg_bytes_max = 1u << 20,
        .push_bytes_max = 4096,
        .fanout = 6,
        .told_max = 32,
        .hop_max = 32,
        .seen_max = 65536,
        .wants_max = 4096,
        .store_max = 16384,
        .store_bytes_max = UINT64_C(64) << 20,
        .age_max_ns = 60 * WEIR_NS_PER_S,
        .want_delay_ns = 100 * WEIR_NS_PER_MS,
        .want_timeout_ns = 2 * WEIR_NS_PER_S,
        .reject_points = 50,
    };
}

#define DEFAULT(field) \
    if (!own->field)   \
    own->field = defaults.field

static int take_config(struct weir_gossip_config *own, const struct weir_gossip_config *cfg)
{
    int error = weir_struct_take(own, sizeof(*own), cfg);
    if (error)
        return error;
    struct weir_gossip_config defaults;
    weir_gossip_config_init(&defaults);
    DEFAULT(channel);
    DEFAULT(weight);
    DEFAULT(msg_bytes_max);
    DEFAULT(push_bytes_max);
    DEFAULT(fanout);
    DEFAULT(told_max);
    DEFAULT(hop_max);
    DEFAULT(seen_max);
    DEFAULT(wants_max);
    DEFAULT(store_max);
    DEFAULT(store_bytes_max);
    DEFAULT(age_max_ns);
    DEFAULT(want_delay_ns);
    DEFAULT(want_timeout_ns);
    DEFAULT(reject_points);
    bool is_good = own->msg_bytes_max <= 64u << 20 && own->fanout <= WEIR_GOSSIP_FANOUT_MAX &&
                   own->told_max <= WEIR_GOSSIP_FANOUT_MAX && own->hop_max <= 255 &&
                   own->seen_max <= 1u << 24 && own->wants_max <= 1u << 20 &&
                   own->store_max <= 1u << 24 && own->age_max_ns <= 3600 * WEIR_NS_PER_S &&
                   own->want_delay_ns <= own->age_max_ns && own->reject_points <= 1000000;
    return is_good ? 0 : WEIR_E_CONFIG;
}

/* ---- peers --------------------------------------------------------------------------------- */

/* Errors: WEIR_E_NOMEM. The mutex is held. */
static int list_add(weir_gossip *gossip, struct gossip_peer *peer)
{
    if (gossip->peer_cnt == gossip->peer_max) {
        uint32_t max = gossip->peer_max ? 2 * gossip->peer_max : PEERS_FIRST;
        struct gossip_peer **peers = weir_heap_alloc_raw(NULL, max * sizeof(struct gossip_peer *));
        if (!peers)
            return WEIR_E_NOMEM;
        if (gossip->peer_cnt)
            memcpy(peers, gossip->peers, gossip->peer_cnt * sizeof(struct gossip_peer *));
        weir_heap_release(gossip->peers);
        gossip->peers = peers;
        gossip->peer_max = max;
    }
    peer->idx = gossip->peer_cnt;
    gossip->peers[gossip->peer_cnt++] = peer;
    return 0;
}

static void on_up(weir_gossip *gossip, weir_peer peer)
{
    /* Delivering goes on as it did; the answer says whether the peer has the channel. */
    if (weir_channel_pause(gossip->node, peer, gossip->cfg.channel, 0) != 0)
        return;
    struct gossip_peer *made = weir_heap_alloc(NULL, sizeof(*made));
    int error = made ? 0 : WEIR_E_NOMEM;
    if (made) {
        made->peer = peer;
        pthread_mutex_lock(&gossip->mutex);
        error = list_add(gossip, made);
        pthread_mutex_unlock(&gossip->mutex);
    }
    if (error) { /* a peer that is connected and hears nothing would be worse */
        weir_heap_release(made);
        (void)weir_disconnect(gossip->node, peer, WEIR_R_LIMIT_MEMORY);
        return;
    }
    (void)weir_peer_set(gossip->node, peer, gossip->place, made);
    if (!(gossip->cfg.flags & WEIR_GOSSIP_NO_CATCH_UP))
        gossip_catch_up(gossip, peer);
}

static void on_down(weir_gossip *gossip, weir_peer peer)
{
    struct gossip_peer *found = weir_peer_get(gossip->node, peer, gossip->place);
    if (!found)
        return;
    (void)weir_peer_set(gossip->node, peer, gossip->place, NULL);
    pthread_mutex_lock(&gossip->mutex);
    gossip->peers[found->idx] = gossip->peers[--gossip->peer_cnt];
    gossip->peers[found->idx]->idx = found->idx;
    gossip_want_gone(gossip, found, weir_node_now(gossip->node));
    pthread_mutex_unlock(&gossip->mutex);
    weir_heap_release(found);
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)reason;
    if (event == WEIR_PEER_UP)
        on_up(ctx, peer);
    else if (event == WEIR_PEER_DOWN)
        on_down(ctx, peer);
}

/* ---- messages ------------------------------------------------------------------------------ */

static void on_have(weir_gossip *gossip, struct gossip_peer *peer,
                    const struct weir_gossip_parsed *msg)
{
    weir_ns now = weir_node_now(gossip->node);
    gossip_count(&gossip->stats.heard, msg->cnt);
    pthread_mutex_lock(&gossip->mutex);
    for (uint32_t i = 0; i < msg->cnt; i++) {
        uint32_t len;
        const uint8_t *id = weir_gossip_entry(msg, i, &len);
        if (len && len <= gossip->cfg.msg_bytes_max && !weir_seen_has(gossip->seen, id))
            gossip_want_add(gossip, peer, id, len, now);
    }
    uint32_t shard = weir_peer_shard(peer->peer);
    weir_ns wait = weir_wheel_wait(&gossip->wheels[shard], now);
    pthread_mutex_unlock(&gossip->mutex);
    if (wait != WEIR_NS_FOREVER)
        (void)weir_tick_set(gossip->node, gossip, now + wait);
}

static void on_none(weir_gossip *gossip, struct gossip_peer *peer,
                    const struct weir_gossip_parsed *msg)
{
    pthread_mutex_lock(&gossip->mutex);
    for (uint32_t i = 0; i < msg->cnt; i++) {
        uint32_t len;
        gossip_want_missing(gossip, peer->peer, weir_gossip_entry(msg, i, &len),
                            weir_node_now(gossip->node));
    }
    pthread_mutex_unlock(&gossip->mutex);
}

static void on_message(weir_gossip *gossip, struct gossip_peer *peer, struct gossip_batch *batch,
                       const struct weir_msg *raw)
{
    struct weir_gossip_parsed msg;
    int verdict = weir_gossip_parse(&msg, raw->data, raw->len);
    if (verdict == WEIR_GOSSIP_IS_BAD) {
        peer->is_bad = true;
        gossip_count(&gossip->stats.faults, 1);
        (void)weir_disconnect(gossip->node, peer->peer, WEIR_R_BAD_GOSSIP);
        return;
    }
    if (verdict == WEIR_GOSSIP_IS_UNKNOWN)
        return;
    switch ((enum weir_gossip_kind)msg.kind) {
    case WEIR_GOSSIP_PUSH:
        gossip_pushed(gossip, peer, batch, &msg, raw);
        break;
    case WEIR_GOSSIP_HAVE:
        on_have(gossip, peer, &msg);
        break;
    case WEIR_GOSSIP_WANT:
        gossip_serve(gossip, peer, &msg);
        break;
    case WEIR_GOSSIP_NONE:
        on_none(gossip, peer, &msg);
        break;
    }
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    weir_gossip *gossip = ctx;
    struct gossip_batch batch;
    batch.cnt = 0;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        struct gossip_peer *peer = weir_peer_get(gossip->node, msgs[i].peer, gossip->place);
        if (peer && !peer->is_bad)
            on_message(gossip, peer, &batch, &msgs[i]);
    }
    gossip_batch_end(gossip, &batch);
}

static weir_ns on_tick(void *ctx, uint32_t shard, weir_ns now)
{
    weir_gossip *gossip = ctx;
    pthread_mutex_lock(&gossip->mutex);
    weir_ns next = gossip_want_tick(gossip, shard, now);
    if (shard == 0 && now > gossip->cfg.age_max_ns)
        weir_store_expire(gossip->store, now - gossip->cfg.age_max_ns);
    pthread_mutex_unlock(&gossip->mutex);
    weir_ns expire = now + gossip->cfg.age_max_ns / 4;
    if (shard == 0 && expire < next)
        next = expire;
    return next == WEIR_NS_FOREVER ? 0 : next;
}

/* ---- series -------------------------------------------------------------------------------- */

static uint64_t read_counter(void *ctx, uint32_t offset)
{
    const void *at = (const uint8_t *)ctx + offset;
    return atomic_load_explicit((const _Atomic uint64_t *)at, memory_order_relaxed);
}

enum held { HELD_PEERS, HELD_STORED, HELD_STORED_BYTES, HELD_WANTED };

static uint64_t read_held(void *ctx, uint32_t what)
{
    weir_gossip *gossip = ctx;
    uint64_t stored, bytes;
    pthread_mutex_lock(&gossip->mutex);
    uint64_t peers = gossip->peer_cnt, wanted = gossip->wants.cnt;
    weir_store_sizes(gossip->store, &stored, &bytes);
    pthread_mutex_unlock(&gossip->mutex);
    switch ((enum held)what) {
    case HELD_PEERS:
        return peers;
    case HELD_STORED:
        return stored;
    case HELD_STORED_BYTES:
        return bytes;
    case HELD_WANTED:
        return wanted;
    }
    return 0;
}

#define ROW(field, name, help)                                  \
    {                                                           \
        "weir_gossip_" name "_total", help, WEIR_STATS_COUNTER, \
            offsetof(weir_gossip, stats.field), read_counter    \
    }
#define HELD(what, name, help)                                       \
    {                                                                \
        "weir_gossip_" name, help, WEIR_STATS_GAUGE, what, read_held \
    }

static const struct weir_own_series series[] = {
    HELD(HELD_PEERS, "peers", "Peers that have the channel"),
    ROW(published, "published", "Messages published here"),
    ROW(delivered, "delivered", "Messages that came for the first time"),
    ROW(rejected, "rejected", "Messages that the application rejected"),
    ROW(duplicates, "duplicates", "Messages that came again"),
    ROW(duplicate_bytes, "duplicate_bytes", "Bytes of messages that came again"),
    ROW(too_old, "too_old", "Messages dropped for their age"),
    ROW(hop_limited, "hop_limited", "Messages not handed on after hop_max hops"),
    ROW(pushed, "pushed", "Messages sent unasked"),
    ROW(pushed_bytes, "pushed_bytes", "Bytes of messages sent unasked"),
    ROW(told, "told", "Ids that peers were told"),
    ROW(heard, "heard", "Ids that peers told"),
    ROW(asked, "asked", "Messages asked for"),
    ROW(asked_again, "asked_again", "Messages asked for once more, of another peer"),
    ROW(in_vain, "in_vain", "Messages that were told of and that nobody sent"),
    ROW(served, "served", "Messages sent when asked for"),
    ROW(served_bytes, "served_bytes", "Bytes of messages sent when asked for"),
    ROW(missing, "missing", "Messages asked for here that were not there any more"),
    ROW(full, "full", "Sends that a queue of a peer had no room for"),
    ROW(lost, "lost", "Messages that were not handed on because memory was short"),
    ROW(faults, "faults", "Peers that broke the protocol"),
    HELD(HELD_STORED, "stored", "Messages kept to be asked for"),
    HELD(HELD_STORED_BYTES, "stored_bytes", "Bytes of messages kept to be asked for"),
    HELD(HELD_WANTED, "wanted", "Messages told of and awaited"),
};

/* ---- life ---------------------------------------------------------------------------------- */

static int make_tables(weir_gossip *gossip)
{
    uint64_t seeds[2];
    int error = weir_node_random(gossip->node, seeds, sizeof(seeds));
    if (error)
        return error;
    gossip->rng = seeds[0];
    gossip->secret = seeds[1];
    const struct weir_gossip_config *cfg = &gossip->cfg;
    error = weir_seen_create(&gossip->seen, cfg->seen_max, cfg->age_max_ns, gossip->secret);
    if (!error)
        error =
            weir_store_create(&gossip->store, cfg->store_max, cfg->store_bytes_max, gossip->secret);
    return error ? error : gossip_wants_init(gossip);
}

int weir_gossip_create(weir_gossip **ret_gossip, weir_node *node,
                       const struct weir_gossip_config *cfg)
{
    if (!ret_gossip || !node || !cfg)
        return WEIR_E_MISUSE;
    struct weir_gossip_config own;
    int error = take_config(&own, cfg);
    if (error)
        return error;
    weir_gossip *gossip = weir_heap_alloc(NULL, sizeof(*gossip));
    if (!gossip)
        return WEIR_E_NOMEM;
    gossip->node = node;
    gossip->cfg = own;
    gossip->shard_cnt = weir_node_shards(node);
    pthread_mutex_init(&gossip->mutex, NULL);
    struct weir_channel channel = {.size = sizeof(channel),
                                   .id = own.channel,
                                   .weight = own.weight,
                                   .flags = own.channel_flags,
                                   .msg_bytes_max = own.msg_bytes_max + WEIR_GOSSIP_HEAD_BYTES,
                                   .send_bytes_max = own.send_bytes_max,
                                   .recv_bytes_max = own.recv_bytes_max,
                                   .overflow = WEIR_OVERFLOW_REFUSE,
                                   .name = "gossip"};
    if (channel.msg_bytes_max < WEIR_GOSSIP_LIST_BYTES_MAX)
        channel.msg_bytes_max = WEIR_GOSSIP_LIST_BYTES_MAX;
    struct weir_reactor reactor = {.size = sizeof(reactor),
                                   .ctx = gossip,
                                   .on_batch = on_batch,
                                   .on_peer = on_peer,
                                   .on_tick = on_tick};
    error = make_tables(gossip);
    if (!error)
        error = weir_peer_place(node, &gossip->place);
    if (!error)
        error = weir_node_attach(node, &reactor, &channel, 1);
    if (error) {
        weir_gossip_free(gossip);
        return error;
    }
    weir_series_own(node, series, sizeof(series) / sizeof(series[0]), gossip, own.channel);
    *ret_gossip = gossip;
    return 0;
}

void weir_gossip_free(weir_gossip *gossip)
{
    if (!gossip)
        return;
    for (uint32_t i = 0; i < gossip->peer_cnt; i++) /* of a node that did not stop */
        weir_heap_release(gossip->peers[i]);
    weir_heap_release(gossip->peers);
    gossip_wants_fini(gossip);
    weir_seen_free(gossip->seen);
    weir_store_free(gossip->store);
    pthread_mutex_destroy(&gossip->mutex);
    weir_heap_release(gossip);
}

#define COPY(field) ret.field = atomic_load_explicit(&stats->field, memory_order_relaxed)

int weir_gossip_stats_read(weir_gossip *gossip, struct weir_gossip_stats *ret_stats)
{
    if (!gossip || !ret_stats || ret_stats->size < sizeof(uint32_t))
        return WEIR_E_MISUSE;
    if (ret_stats->size > sizeof(*ret_stats))
        return WEIR_E_VERSION;
    struct weir_gossip_stats ret = {.size = ret_stats->size};
    const __typeof__(gossip->stats) *stats = &gossip->stats;
    COPY(published);
    COPY(delivered);
    COPY(rejected);
    COPY(duplicates);
    COPY(duplicate_bytes);
    COPY(too_old);
    COPY(hop_limited);
    COPY(pushed);
    COPY(pushed_bytes);
    COPY(told);
    COPY(heard);
    COPY(asked);
    COPY(asked_again);
    COPY(in_vain);
    COPY(served);
    COPY(served_bytes);
    COPY(missing);
    COPY(full);
    COPY(faults);
    COPY(lost);
    pthread_mutex_lock(&gossip->mutex);
    weir_seen_turns(gossip->seen, &ret.turns, &ret.turns_early);
    weir_store_sizes(gossip->store, &ret.stored, &ret.stored_bytes);
    ret.wanted = gossip->wants.cnt;
    pthread_mutex_unlock(&gossip->mutex);
    memcpy(ret_stats, &ret, ret.size);
    return 0;
}
