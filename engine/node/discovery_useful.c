/* Which outbound peers are worth their place. Two things, each off unless it has a time:
 *
 *   replacing   every replace_interval_ns or so, when all outbound places are taken: the peer that peers/useful.h names,
 *               by what weir_peer_useful was told of it since the last time (gossip tells it)
 *   elsewhere   nothing new came from anybody for quiet_ns: whom we are connected to may be a clique that hears nothing, or
 *               tells us nothing. One outbound peer, by lot, gives its place up, and seeds are asked again.
 *
 * Who gives his place up goes when the new one is up, so that a dial in vain costs nobody anything. */
#include "engine/peers/useful.h"

#include "engine/base/check.h"
#include "engine/node/discovery_impl.h"

#define SAMPLES 8u /* of an interval */
#define SAMPLE_MAX_NS (10 * WEIR_NS_PER_S)
#define REST_FACTOR 8u /* intervals before a replaced one may be chosen again */

uint64_t disco_useful_sample(struct weir_discovery *disco, uint32_t shard, uint64_t now_ns)
{
    uint64_t interval = disco->cfg.replace_interval_ns;
    if (!interval)
        return 0;
    for (uint32_t i = 0; i < disco->peer_cnt; i++) {
        struct disco_peer *peer = &disco->peers[i];
        struct weir_peer_info info = {.size = sizeof(info)};
        if (peer->kind == DISCO_OUTBOUND && weir_peer_shard(peer->peer) == shard &&
            weir_peer_info(disco->node, peer->peer, &info) == 0)
            peer->first_cnt = info.delivered_first;
    }
    return now_ns + weir_min_u64(interval / SAMPLES, SAMPLE_MAX_NS);
}

/* ---- a place is given up ------------------------------------------------------------------- */

static bool is_kept(const struct disco_peer *peer)
{
    return peer->kind == DISCO_OUTBOUND && peer->close_ns == 0;
}

static bool is_full(const struct weir_discovery *disco)
{
    uint32_t dialing, up = disco_dial_outbound(disco, &dialing);
    return up > 0 && up >= disco->cfg.outbound_cnt && dialing == 0 &&
           disco->dial_cnt < disco->cfg.dials_at_once;
}

void disco_useful_came(struct weir_discovery *disco, weir_peer replaced)
{
    struct disco_peer *old = disco_peer_find(disco, replaced);
    if (!old || !is_kept(old))
        return; /* it went by itself: there is room */
    uint64_t interval = weir_max_u64(disco->cfg.replace_interval_ns, disco->cfg.quiet_ns);
    if (old->place.family != WEIR_ADDR_NONE)
        weir_book_rest(disco->book, &old->place,
                       disco_wall_s(disco) + REST_FACTOR * interval / WEIR_NS_PER_S);
    disco->counts.replaced++;
    disco_close(disco, old);
}

/* ---- whose ---------------------------------------------------------------------------------- */

/* Whoever came since the last look was not there for all of it: he is judged the next time. */
static weir_peer least_useful(struct weir_discovery *disco)
{
    struct weir_useful_peer peers[WEIR_DISCOVERY_OUTBOUND_MAX];
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < disco->peer_cnt; i++) {
        struct disco_peer *peer = &disco->peers[i];
        if (!is_kept(peer))
            continue;
        if (peer->has_base && cnt < WEIR_DISCOVERY_OUTBOUND_MAX)
            peers[cnt++] = (struct weir_useful_peer){
                .first_cnt = peer->first_cnt - peer->base_cnt, .since_ns = peer->up_ns, .id = i};
        peer->has_base = true;
        peer->base_cnt = peer->first_cnt;
    }
    uint32_t idx = weir_useful_least(peers, cnt);
    return idx == WEIR_USEFUL_NOBODY ? (weir_peer){0} : disco->peers[idx].peer;
}

/* Of those that were there for all of the quiet time: a new one is to have a chance. */
static weir_peer by_lot(struct weir_discovery *disco, uint64_t now_ns)
{
    weir_peer chosen = {0};
    uint64_t seen_cnt = 0;
    for (uint32_t i = 0; i < disco->peer_cnt; i++) {
        const struct disco_peer *peer = &disco->peers[i];
        if (is_kept(peer) && now_ns - peer->up_ns >= disco->cfg.quiet_ns &&
            weir_book_random(disco->book, ++seen_cnt) == 0)
            chosen = peer->peer;
    }
    return chosen;
}

/* When something new came last, from anybody; before anything did, when we began to look. */
static uint64_t heard_ns(struct weir_discovery *disco, uint64_t now_ns)
{
    if (!disco->quiet_from_ns)
        disco->quiet_from_ns = now_ns;
    uint64_t last_ns = disco->quiet_from_ns;
    for (uint32_t i = 0; i < disco->node->shard_cnt; i++)
        last_ns = weir_max_u64(last_ns, atomic_load_explicit(&disco->node->shards[i]->useful_ns,
                                                             memory_order_relaxed));
    return last_ns;
}

static bool look_elsewhere(struct weir_discovery *disco, uint64_t now_ns)
{
    uint64_t quiet = disco->cfg.quiet_ns;
    if (!quiet || now_ns < heard_ns(disco, now_ns) + quiet || now_ns < disco->next_quiet_ns)
        return false;
    disco->next_quiet_ns = now_ns + quiet;
    disco->counts.quiets++;
    weir_peer peer = by_lot(disco, now_ns);
    if (peer.v && is_full(disco))
        (void)disco_dial_instead(disco, peer, now_ns);
    return true;
}

bool disco_useful_keep(struct weir_discovery *disco, uint64_t now_ns)
{
    uint64_t interval = disco->cfg.replace_interval_ns;
    if (look_elsewhere(disco, now_ns))
        return true;
    if (!interval || now_ns < disco->next_replace_ns)
        return false;
    disco->next_replace_ns = now_ns + interval / 2 + weir_book_random(disco->book, interval + 1);
    weir_peer peer = least_useful(disco);
    if (peer.v && is_full(disco))
        (void)disco_dial_instead(disco, peer, now_ns);
    return false;
}
