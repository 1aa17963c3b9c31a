#include <string.h>

#include "engine/base/copy.h"
#include "engine/base/hash.h"
#include "engine/node/gossip_impl.h"
#include "engine/node/internal.h"

#define RTT_NS (5 * WEIR_NS_PER_S) /* how long a peer's round trip is taken for the present one */
#define CATCH_UP_MAX WEIR_GOSSIP_IDS_MAX

/* ---- whom to ------------------------------------------------------------------------------- */

/* SplitMix64 (Steele, Lea and Flood, 2014). */
static uint64_t random_below(weir_gossip *gossip, uint64_t bound)
{
    uint64_t z = gossip->rng += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) % bound;
}

struct targets {
    weir_peer push[WEIR_GOSSIP_FANOUT_MAX], tell[WEIR_GOSSIP_FANOUT_MAX];
    uint32_t push_cnt, tell_cnt;
};

static bool is_known(const weir_peer *known, weir_peer peer)
{
    for (uint32_t i = 0; known && i <= GOSSIP_ANNOUNCERS && known[i].v; i++)
        if (known[i].v == peer.v)
            return true;
    return false;
}

/* Draws peers at random: the list is shuffled from its front for as long as somebody is wanted. The mutex is
 * held. */
static void choose(weir_gossip *gossip, const weir_peer *known, bool is_pushed,
                   struct targets *ret_targets)
{
    uint32_t push_max = is_pushed ? gossip->cfg.fanout : 0;
    bool is_told = !is_pushed || !(gossip->cfg.flags & WEIR_GOSSIP_PUSH_ONLY);
    uint32_t tell_max = is_told ? gossip->cfg.told_max : 0;
    ret_targets->push_cnt = ret_targets->tell_cnt = 0;
    for (uint32_t i = 0; i < gossip->peer_cnt; i++) {
        if (ret_targets->push_cnt == push_max && ret_targets->tell_cnt == tell_max)
            return;
        uint32_t at = i + (uint32_t)random_below(gossip, gossip->peer_cnt - i);
        struct gossip_peer *chosen = gossip->peers[at];
        gossip->peers[at] = gossip->peers[i];
        gossip->peers[at]->idx = at;
        gossip->peers[i] = chosen;
        chosen->idx = i;
        if (is_known(known, chosen->peer))
            continue;
        if (ret_targets->push_cnt < push_max)
            ret_targets->push[ret_targets->push_cnt++] = chosen->peer;
        else
            ret_targets->tell[ret_targets->tell_cnt++] = chosen->peer;
    }
}

static uint64_t send_to(weir_gossip *gossip, const void *data, size_t len, const weir_peer *peers,
                        uint32_t peer_cnt)
{
    if (!peer_cnt)
        return 0;
    int64_t taken = weir_multicast(gossip->node, gossip->cfg.channel, data, len, peers, peer_cnt);
    /* Of peers of other shards it is not known, nor of any from a thread that is none. */
    bool is_known_cnt =
        taken >= 0 && gossip->shard_cnt == 1 && weir_shard_here(gossip->node) != NULL;
    if (taken < 0 || is_known_cnt)
        gossip_count(&gossip->stats.full, peer_cnt - (taken < 0 ? 0 : (uint32_t)taken));
    return taken < 0 ? 0 : is_known_cnt ? (uint64_t)taken : peer_cnt;
}

static uint32_t age_of(uint64_t age_us)
{
    return age_us < UINT32_MAX ? (uint32_t)age_us : UINT32_MAX;
}

/* A message as it is handed on. Errors: WEIR_E_NOMEM. */
static int copy(struct weir_buf **ret_buf, const uint8_t *data, size_t len)
{
    int error = weir_buf_create(ret_buf, WEIR_GOSSIP_HEAD_BYTES + len);
    if (!error)
        weir_copy(weir_buf_data(*ret_buf) + WEIR_GOSSIP_HEAD_BYTES, data, len);
    return error;
}

/* Hands a message on and keeps it to be asked for. Returns how many peers it was pushed to or told of. Any thread. */
static uint64_t relay(weir_gossip *gossip, const uint8_t id[16], struct weir_buf *take,
                      uint8_t hops, uint64_t age_us, const weir_peer *known)
{
    struct weir_buf *buf = take;
    struct targets targets;
    uint32_t len = (uint32_t)(weir_buf_len(buf) - WEIR_GOSSIP_HEAD_BYTES);
    bool is_pushed = len <= gossip->cfg.push_bytes_max;
    weir_gossip_push_head(weir_buf_data(buf), hops, age_of(age_us));
    pthread_mutex_lock(&gossip->mutex);
    choose(gossip, known, is_pushed, &targets);
    /* Before anybody is told: the answer may come to another shard at once. */
    weir_store_put(gossip->store, id, weir_buf_ref(buf), hops, age_us, weir_node_now(gossip->node));
    pthread_mutex_unlock(&gossip->mutex);
    uint8_t have[WEIR_GOSSIP_LIST_HEAD_BYTES + 20];
    uint32_t have_len = weir_gossip_list_of_one(have, WEIR_GOSSIP_HAVE, id, len);
    uint64_t pushed =
        send_to(gossip, weir_buf_data(buf), weir_buf_len(buf), targets.push, targets.push_cnt);
    uint64_t told = send_to(gossip, have, have_len, targets.tell, targets.tell_cnt);
    weir_buf_unref(buf);
    gossip_count(&gossip->stats.pushed, pushed);
    gossip_count(&gossip->stats.pushed_bytes, pushed * len);
    gossip_count(&gossip->stats.told, told);
    return pushed + told;
}

/* ---- a message that came ------------------------------------------------------------------- */

static void id_of(const weir_gossip *gossip, const void *data, size_t len, uint8_t ret_id[16])
{
    if (gossip->cfg.id_of)
        gossip->cfg.id_of(gossip->cfg.ctx, data, len, ret_id);
    else
        weir_hash_ops()->xxh3_128(data, len, ret_id);
}

static weir_ns half_rtt(weir_gossip *gossip, struct gossip_peer *peer, weir_ns now)
{
    struct weir_peer_info info = {.size = sizeof(info)};
    if (peer->rtt_at && now - peer->rtt_at < RTT_NS)
        return peer->half_rtt;
    peer->rtt_at = now;
    if (weir_peer_info(gossip->node, peer->peer, &info) == 0)
        peer->half_rtt = info.rtt_ns / 2;
    return peer->half_rtt;
}

void gossip_pushed(weir_gossip *gossip, struct gossip_peer *peer, struct gossip_batch *batch,
                   const struct weir_gossip_parsed *msg, const struct weir_msg *raw)
{
    struct weir_gossip_msg *fresh = &batch->msgs[batch->cnt];
    weir_peer *known = batch->known[batch->cnt];
    weir_ns now = weir_node_now(gossip->node);
    weir_ns age = msg->age_us * WEIR_NS_PER_US + half_rtt(gossip, peer, now);
    bool is_too_old = age > gossip->cfg.age_max_ns;
    id_of(gossip, msg->data, msg->len, fresh->id);
    pthread_mutex_lock(&gossip->mutex);
    if (is_too_old) {
        /* Not taken for seen: a peer that lies about an age would keep the message from us. */
        gossip_want_missing(gossip, peer->peer, fresh->id, now);
        pthread_mutex_unlock(&gossip->mutex);
        gossip_count(&gossip->stats.too_old, 1);
        return;
    }
    uint32_t known_cnt = gossip_want_end(gossip, fresh->id, known);
    bool is_fresh = weir_seen_add(gossip->seen, fresh->id, now);
    pthread_mutex_unlock(&gossip->mutex);
    if (!is_fresh) {
        gossip_count(&gossip->stats.duplicates, 1);
        gossip_count(&gossip->stats.duplicate_bytes, msg->len);
        (void)weir_peer_useful(gossip->node, peer->peer, 0, 1);
        return;
    }
    known[known_cnt++] = peer->peer;
    if (known_cnt <= GOSSIP_ANNOUNCERS)
        known[known_cnt] = (weir_peer){0};
    fresh->from = peer->peer;
    fresh->data = msg->data;
    fresh->len = msg->len;
    fresh->hops = msg->hops;
    fresh->verdict = WEIR_GOSSIP_RELAY;
    fresh->age = age;
    fresh->msg = raw;
    if (++batch->cnt == WEIR_GOSSIP_BATCH_MAX)
        gossip_batch_end(gossip, batch);
}

void gossip_batch_end(weir_gossip *gossip, struct gossip_batch *batch)
{
    uint32_t cnt = batch->cnt;
    batch->cnt = 0;
    if (!cnt)
        return;
    if (gossip->cfg.on_messages)
        gossip->cfg.on_messages(gossip->cfg.ctx, batch->msgs, cnt);
    gossip_count(&gossip->stats.delivered, cnt);
    for (uint32_t i = 0; i < cnt; i++) {
        const struct weir_gossip_msg *msg = &batch->msgs[i];
        if (msg->verdict == WEIR_GOSSIP_REJECT) {
            gossip_count(&gossip->stats.rejected, 1);
            (void)weir_blame(gossip->node, msg->from, gossip->cfg.reject_points);
            continue;
        }
        (void)weir_peer_useful(gossip->node, msg->from, 1, 0);
        if (msg->verdict != WEIR_GOSSIP_RELAY)
            continue;
        struct weir_buf *buf;
        if (msg->hops + 1u >= gossip->cfg.hop_max)
            gossip_count(&gossip->stats.hop_limited, 1);
        else if (copy(&buf, msg->data, msg->len))
            gossip_count(&gossip->stats.lost, 1); /* here: others may have it from others */
        else
            (void)relay(gossip, msg->id, buf, (uint8_t)(msg->hops + 1), msg->age / WEIR_NS_PER_US,
                        batch->known[i]);
    }
}

int64_t weir_gossip_publish(weir_gossip *gossip, const void *data, size_t len, uint8_t ret_id[16])
{
    uint8_t id[16];
    if (!gossip || !data || len == 0)
        return WEIR_E_MISUSE;
    if (len > gossip->cfg.msg_bytes_max)
        return WEIR_E_TOO_BIG;
    id_of(gossip, data, len, id);
    if (ret_id)
        memcpy(ret_id, id, sizeof(id));
    /* Before it is taken for seen: what memory is too short for can be published again. */
    struct weir_buf *buf;
    int error = copy(&buf, data, len);
    if (error)
        return error;
    weir_peer known[GOSSIP_ANNOUNCERS + 1] = {{0}};
    pthread_mutex_lock(&gossip->mutex);
    (void)gossip_want_end(gossip, id, known);
    bool is_fresh = weir_seen_add(gossip->seen, id, weir_node_now(gossip->node));
    pthread_mutex_unlock(&gossip->mutex);
    if (!is_fresh) {
        weir_buf_unref(buf);
        return 0;
    }
    gossip_count(&gossip->stats.published, 1);
    return (int64_t)relay(gossip, id, buf, 0, 0, known);
}

/* ---- what can be asked for ----------------------------------------------------------------- */

/* Sends a kept message with its age of now: its head is its own, since others may be sending the kept one. */
static int serve_kept(weir_gossip *gossip, struct gossip_peer *peer, struct weir_buf *kept,
                      uint8_t hops, uint64_t age_us)
{
    struct weir_buf *buf;
    size_t len = weir_buf_len(kept);
    int error = weir_buf_create(&buf, len);
    if (error)
        return error;
    weir_copy(weir_buf_data(buf), weir_buf_data(kept), len);
    weir_gossip_push_head(weir_buf_data(buf), hops, age_of(age_us));
    error = weir_send_buf(gossip->node, peer->peer, gossip->cfg.channel, buf);
    if (error)
        return error;
    gossip_count(&gossip->stats.served, 1);
    gossip_count(&gossip->stats.served_bytes, len - WEIR_GOSSIP_HEAD_BYTES);
    return 0;
}

/* Errors: as weir_try_send. */
static int serve_one(weir_gossip *gossip, struct gossip_peer *peer, const uint8_t id[16])
{
    weir_ns now = weir_node_now(gossip->node);
    pthread_mutex_lock(&gossip->mutex);
    const struct weir_stored *stored = weir_store_find(gossip->store, id);
    struct weir_buf *kept = stored ? weir_buf_ref(stored->buf) : NULL;
    uint64_t age_us = stored ? stored->age_us + (now - stored->since_ns) / WEIR_NS_PER_US : 0;
    uint8_t hops = stored ? stored->hops : 0;
    pthread_mutex_unlock(&gossip->mutex);
    int error = WEIR_E_TOO_BIG; /* for the peer's channel: to it, that is as good as not there */
    if (kept && age_us * WEIR_NS_PER_US <= gossip->cfg.age_max_ns)
        error = serve_kept(gossip, peer, kept, hops, age_us);
    weir_buf_unref(kept);
    if (error != WEIR_E_TOO_BIG)
        return error;
    uint8_t bytes[WEIR_GOSSIP_LIST_HEAD_BYTES + 20];
    uint32_t len = weir_gossip_list_of_one(bytes, WEIR_GOSSIP_NONE, id, 0);
    gossip_count(&gossip->stats.missing, 1);
    return weir_try_send(gossip->node, peer->peer, gossip->cfg.channel, bytes, len);
}

void gossip_serve(weir_gossip *gossip, struct gossip_peer *peer,
                  const struct weir_gossip_parsed *msg)
{
    uint32_t none, i = 0;
    /* What follows is not copied for a queue that has no room: its asker asks another, or again. */
    while (i < msg->cnt && serve_one(gossip, peer, weir_gossip_entry(msg, i, &none)) == 0)
        i++;
    gossip_count(&gossip->stats.full, msg->cnt - i);
}

void gossip_catch_up(weir_gossip *gossip, weir_peer peer)
{
    uint8_t bytes[WEIR_GOSSIP_LIST_BYTES_MAX], one[WEIR_GOSSIP_LIST_HEAD_BYTES + 20];
    weir_ns now = weir_node_now(gossip->node);
    uint32_t cnt = 0, len = WEIR_GOSSIP_LIST_HEAD_BYTES;
    pthread_mutex_lock(&gossip->mutex);
    weir_store_expire(gossip->store,
                      now > gossip->cfg.age_max_ns ? now - gossip->cfg.age_max_ns : 0);
    for (; cnt < CATCH_UP_MAX; cnt++) {
        const struct weir_stored *stored = weir_store_recent(gossip->store, cnt);
        if (!stored)
            break;
        uint32_t one_len =
            weir_gossip_list_of_one(one, WEIR_GOSSIP_HAVE, stored->id,
                                    (uint32_t)weir_buf_len(stored->buf) - WEIR_GOSSIP_HEAD_BYTES);
        memcpy(bytes + len, one + WEIR_GOSSIP_LIST_HEAD_BYTES,
               one_len - WEIR_GOSSIP_LIST_HEAD_BYTES);
        len += one_len - WEIR_GOSSIP_LIST_HEAD_BYTES;
    }
    pthread_mutex_unlock(&gossip->mutex);
    if (cnt == 0)
        return;
    weir_gossip_list_head(bytes, WEIR_GOSSIP_HAVE, cnt);
    if (weir_try_send(gossip->node, peer, gossip->cfg.channel, bytes, len) == 0)
        gossip_count(&gossip->stats.told, cnt);
}
