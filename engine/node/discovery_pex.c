/* Peer exchange: about, ask, answer.
 *
 * Nothing is believed that was not asked for; what is told is only ever put into the book as heard of, under the group
 * of whoever told it. An answer is the same for all who ask within a period, so that asking often, or over many
 * connections, shows no more of the book:
 *
 *     places  min(250, asked for, max(32, 23 % of the book))
 *     period  min(1 h, 10 s * (1 + places in the book / 100)), of which a random half; or until the book has
 *             doubled: when all begin at once, the first few must not be all that everybody hears of
 */
#include <string.h>

#include "engine/base/check.h"
#include "engine/node/discovery_impl.h"

#define SHARE_PERCENT 23u
#define SHARE_MIN 32u
#define PERIOD_NS (10 * WEIR_NS_PER_S)
#define PERIOD_MAX_NS (3600 * WEIR_NS_PER_S)
#define AGE_MAX_S (30 * 86400u)
#define POINTS_MALFORMED 50u
#define POINTS_UNASKED 20u
#define POINTS_EARLY 2u
#define EARLY_FREE 5u /* an ask that crossed ours, a clock that runs fast */

static void send(struct weir_discovery *disco, struct disco_peer *peer, size_t len)
{
    /* It is lost when the peer's queue is full: then it is asked again later, or asks again. */
    (void)!weir_try_send(disco->node, peer->peer, disco->cfg.channel, disco->bytes, len);
}

static void blame(struct weir_discovery *disco, const struct disco_peer *peer, uint32_t points)
{
    (void)weir_blame(disco->node, peer->peer, points);
}

/* ---- about --------------------------------------------------------------------------------- */

static bool is_wildcard(const struct weir_addr *addr)
{
    static const uint8_t none[16] = {0};
    return memcmp(addr->ip, none, sizeof(none)) == 0;
}

/* What this node listens at: set before start, and not changed afterwards. */
static void listening_at(const struct weir_discovery *disco, struct weir_pex_about *about)
{
    const weir_node *node = disco->node;
    for (uint32_t i = 0; i < node->listener_cnt && !about->port; i++) {
        const struct weir_addr *addr = &node->listeners[i];
        if (addr->family != WEIR_ADDR_IPV4 && addr->family != WEIR_ADDR_IPV6)
            continue;
        about->port = addr->port;
        if (!is_wildcard(addr))
            (void)weir_place_from(&about->place, addr);
    }
    if (disco->cfg.port) {
        about->port = disco->cfg.port;
        if (about->place.family != WEIR_ADDR_NONE)
            about->place.port = disco->cfg.port;
    }
}

void disco_pex_greet(struct weir_discovery *disco, struct disco_peer *peer)
{
    struct weir_pex_about about = {.nonce = disco->nonce};
    if (disco->cfg.flags & WEIR_DISCOVERY_PRIVATE)
        about.flags |= WEIR_PEX_PRIVATE;
    if (disco->cfg.flags & WEIR_DISCOVERY_CRAWLER)
        about.flags |= WEIR_PEX_CRAWLER;
    listening_at(disco, &about);
    strcpy(about.caps, disco->capabilities);
    size_t len = weir_pex_put_about(&about, disco->bytes);
    int error = weir_try_send(disco->node, peer->peer, disco->cfg.channel, disco->bytes, len);
    /* One that does not speak discovery is a node all the same: the handshake is all it will say. */
    if (error == WEIR_E_NO_CHANNEL && peer->kind != DISCO_INBOUND &&
        peer->place.family != WEIR_ADDR_NONE)
        weir_book_good(disco->book, &peer->place, disco_wall_s(disco));
}

/* Where an inbound peer listens: where it came from, at the port that it says; so nobody can claim to be
 * somewhere else. */
static void place_inbound(struct weir_discovery *disco, struct disco_peer *peer,
                          const struct weir_pex_about *about)
{
    uint64_t now_s = disco_wall_s(disco);
    if (about->port && peer->seen.family != WEIR_ADDR_NONE) {
        peer->place = peer->seen;
        peer->place.port = about->port;
        disco_peer_placed(disco, peer);
    }
    if (peer->is_private || peer->place.family == WEIR_ADDR_NONE)
        return;
    (void)weir_book_add(disco->book, &peer->place, &peer->seen, about->caps, now_s, now_s);
    disco_peer_mark(disco, peer);
    /* A second address of the same node is its word, to be tried out. */
    if (about->place.family != WEIR_ADDR_NONE && !weir_place_is_host(&about->place, &peer->seen) &&
        weir_place_may_tell(&peer->seen, &about->place))
        (void)weir_book_add(disco->book, &about->place, &peer->seen, about->caps, now_s, now_s);
}

/* Two nodes that dialed each other have two connections. Each knows the other by the place that it dialed, which
 * cannot be claimed by a third, and both know both nonces: who has the smaller one closes the connection that it
 * dialed. */
static void end_duplicate(struct weir_discovery *disco, const struct disco_peer *peer)
{
    if (peer->place.family == WEIR_ADDR_NONE || disco->nonce >= peer->nonce)
        return;
    for (uint32_t i = 0; i < disco->peer_cnt; i++) {
        struct disco_peer *other = &disco->peers[i];
        bool is_kept = other->kind == DISCO_OUTBOUND || other->kind == DISCO_SEED;
        bool is_other_way = is_kept != (peer->kind == DISCO_OUTBOUND || peer->kind == DISCO_SEED);
        if (other == peer || !other->has_about || other->close_ns || !is_other_way ||
            (!is_kept && other->kind != DISCO_INBOUND) ||
            !weir_place_is_equal(&other->place, &peer->place) || other->nonce != peer->nonce)
            continue;
        struct disco_peer *mine = is_kept ? other : &disco->peers[peer - disco->peers];
        disco->counts.duplicates++;
        disco_close(disco, mine);
        return;
    }
}

static void on_about(struct weir_discovery *disco, struct disco_peer *peer,
                     const struct weir_pex_about *about, uint64_t now_ns)
{
    uint64_t now_s = disco_wall_s(disco);
    if (peer->has_about) {
        blame(disco, peer, POINTS_UNASKED);
        return;
    }
    peer->has_about = true;
    peer->nonce = about->nonce;
    peer->is_private = peer->is_unlisted || (about->flags & WEIR_PEX_PRIVATE) != 0;
    peer->is_crawler = (about->flags & WEIR_PEX_CRAWLER) != 0;
    if (peer->kind == DISCO_INBOUND) {
        place_inbound(disco, peer, about);
    } else if (peer->place.family != WEIR_ADDR_NONE) {
        /* We know it by our own dial: it is good, and what it can do is its own word. */
        if (!peer->is_private)
            (void)weir_book_add(disco->book, &peer->place, &peer->place, about->caps, now_s, now_s);
        weir_book_good(disco->book, &peer->place, now_s);
        disco_peer_mark(disco, peer);
    }
    if (peer->kind == DISCO_FEELER) {
        disco->counts.feelers_good++;
        if (!(disco->cfg.flags & WEIR_DISCOVERY_CRAWLER)) {
            disco_close(disco, peer);
            return;
        }
    }
    end_duplicate(disco, peer);
    if (peer->close_ns == 0 && peer->kind != DISCO_INBOUND)
        disco_pex_ask(disco, peer, now_ns);
}

/* ---- asking -------------------------------------------------------------------------------- */

void disco_pex_ask(struct weir_discovery *disco, struct disco_peer *peer, uint64_t now_ns)
{
    struct weir_pex_ask ask = {.id = ++disco->next_ask_id, .place_max = WEIR_PEX_PLACES_MAX};
    strcpy(ask.cap, disco->wanted);
    peer->is_asked = true;
    peer->ask_id = ask.id;
    peer->asked_ns = now_ns;
    disco->counts.asks_sent++;
    send(disco, peer, weir_pex_put_ask(&ask, disco->bytes));
}

static void on_answer(struct weir_discovery *disco, struct disco_peer *peer, uint64_t now_ns)
{
    const struct weir_pex_answer *answer = disco->answer;
    if (!peer->is_asked || answer->id != peer->ask_id) {
        blame(disco, peer, POINTS_UNASKED);
        return;
    }
    peer->is_asked = false;
    peer->has_answered = true;
    disco->counts.answers_taken++;
    uint64_t now_s = disco_wall_s(disco);
    const struct weir_place *source =
        peer->place.family != WEIR_ADDR_NONE ? &peer->place : &peer->seen;
    uint64_t taken = 0;
    for (uint32_t i = 0; i < answer->record_cnt; i++) {
        const struct weir_pex_record *record = &answer->records[i];
        uint64_t age_s = record->age_s < AGE_MAX_S ? record->age_s : AGE_MAX_S;
        if (!weir_place_may_tell(source, &record->place)) {
            disco->counts.places_refused++;
            continue;
        }
        if (!disco_is_own(disco, &record->place))
            taken += weir_book_add(disco->book, &record->place, source, record->caps, now_s - age_s,
                                   now_s);
    }
    disco->counts.places_taken += taken;
    peer->ask_shift = taken ? 0 : (uint8_t)(peer->ask_shift + (peer->ask_shift < 4));
    if (peer->kind == DISCO_FEELER)
        disco_close(disco, peer);
    disco->next_round_ns = now_ns; /* there may be somebody to dial now */
}

/* ---- answering ----------------------------------------------------------------------------- */

struct choice {
    const struct weir_discovery *disco;
    const char *cap;
    struct weir_place asker; /* one of the kind that asks */
};

static bool may_answer(void *ctx, const struct weir_book_entry *entry)
{
    const struct choice *choice = ctx;
    if ((choice->cap[0] && !weir_caps_has(entry->caps, choice->cap)) ||
        !weir_place_may_tell(&choice->asker, &entry->place))
        return false;
    for (uint32_t i = 0; i < choice->disco->unlisted_cnt; i++) {
        if (weir_place_is_equal(&choice->disco->unlisted[i], &entry->place))
            return false;
    }
    return true;
}

static uint32_t places_of(const struct weir_discovery *disco)
{
    struct weir_book_stats stats;
    weir_book_stats(disco->book, &stats);
    return stats.new_cnt + stats.tried_cnt;
}

/* Chooses what is answered from now on. */
static void refresh(struct weir_discovery *disco, struct disco_cache *cache,
                    const struct weir_place *asker, uint64_t now_ns)
{
    uint32_t places = places_of(disco);
    uint32_t max = places * SHARE_PERCENT / 100;
    max = max < SHARE_MIN ? SHARE_MIN : max > WEIR_PEX_PLACES_MAX ? WEIR_PEX_PLACES_MAX : max;
    struct choice choice = {.disco = disco, .cap = cache->cap, .asker = *asker};
    struct weir_book_entry *entries = weir_heap_alloc_raw(NULL, max * sizeof(*entries));
    cache->made_s = disco_wall_s(disco);
    cache->cnt = 0;
    cache->book_cnt = places;
    if (!entries)
        return;
    cache->cnt = weir_book_sample(disco->book, cache->made_s, may_answer, &choice, entries, max);
    for (uint32_t i = 0; i < cache->cnt; i++) {
        uint64_t age_s = cache->made_s - weir_min_u64(entries[i].seen_s, cache->made_s);
        cache->records[i] = (struct weir_pex_record){
            .place = entries[i].place, .age_s = (uint32_t)weir_min_u64(age_s, AGE_MAX_S)};
        memcpy(cache->records[i].caps, entries[i].caps, WEIR_CAPS_BYTES);
    }
    weir_heap_release(entries);
    uint64_t period = weir_min_u64(PERIOD_NS + places * (PERIOD_NS / 100), PERIOD_MAX_NS);
    cache->until_ns = now_ns + period / 2 + weir_book_random(disco->book, period / 2 + 1);
}

/* The answer that is given now; NULL: every place for one is taken, or memory is short. */
static struct disco_cache *cache_of(struct weir_discovery *disco, const char *cap,
                                    const struct weir_place *asker, uint64_t now_ns)
{
    uint8_t kind = (uint8_t)weir_place_kind(asker);
    uint32_t spare = DISCO_CACHES;
    for (uint32_t i = 0; i < DISCO_CACHES; i++) {
        struct disco_cache *cache = disco->caches[i];
        if (cache && strcmp(cache->cap, cap) == 0 && cache->asker == kind) {
            if (cache->until_ns <= now_ns || places_of(disco) > 2 * cache->book_cnt)
                refresh(disco, cache, asker, now_ns);
            return cache;
        }
        if (spare == DISCO_CACHES && (!cache || cache->until_ns <= now_ns))
            spare = i;
    }
    if (spare == DISCO_CACHES)
        return NULL;
    if (!disco->caches[spare])
        disco->caches[spare] = weir_heap_alloc(NULL, sizeof(struct disco_cache));
    struct disco_cache *cache = disco->caches[spare];
    if (!cache)
        return NULL;
    strcpy(cache->cap, cap);
    cache->asker = kind;
    refresh(disco, cache, asker, now_ns);
    return cache;
}

static void on_ask(struct weir_discovery *disco, struct disco_peer *peer,
                   const struct weir_pex_ask *ask, uint64_t now_ns)
{
    bool is_early = peer->served_ns && now_ns - peer->served_ns < disco->cfg.ask_interval_ns / 2;
    if (!peer->has_about || is_early) {
        disco->counts.asks_refused++;
        if (++peer->early_cnt > EARLY_FREE)
            blame(disco, peer, POINTS_EARLY);
        return;
    }
    peer->served_ns = now_ns;
    const struct disco_cache *cache = cache_of(disco, ask->cap, &peer->seen, now_ns);
    struct weir_pex_answer *answer = disco->answer;
    answer->id = ask->id;
    answer->record_cnt = 0;
    for (uint32_t i = 0; cache && i < cache->cnt && answer->record_cnt < ask->place_max; i++) {
        const struct weir_pex_record *record = &cache->records[i];
        if (weir_place_is_equal(&record->place, &peer->place))
            continue; /* itself */
        answer->records[answer->record_cnt] = *record;
        answer->records[answer->record_cnt++].age_s +=
            (uint32_t)(disco_wall_s(disco) - cache->made_s);
    }
    disco->counts.answers_sent++;
    send(disco, peer, weir_pex_put_answer(answer, disco->bytes));
    if ((disco->cfg.flags & WEIR_DISCOVERY_CRAWLER) && peer->kind == DISCO_INBOUND &&
        peer->close_ns == 0)
        peer->close_ns = now_ns + 2 * WEIR_NS_PER_S; /* it has time to arrive */
}

void disco_pex_message(struct weir_discovery *disco, const struct weir_msg *msg, uint64_t now_ns)
{
    struct disco_peer *peer = disco_peer_find(disco, msg->peer);
    if (!peer)
        return;
    struct weir_pex_about about;
    struct weir_pex_ask ask;
    bool is_good = false;
    switch (weir_pex_kind(msg->data, msg->len)) {
    case WEIR_PEX_ABOUT:
        is_good = weir_pex_get_about(msg->data, msg->len, &about);
        if (is_good)
            on_about(disco, peer, &about, now_ns);
        break;
    case WEIR_PEX_ASK:
        is_good = weir_pex_get_ask(msg->data, msg->len, &ask);
        if (is_good)
            on_ask(disco, peer, &ask, now_ns);
        break;
    case WEIR_PEX_ANSWER:
        is_good = weir_pex_get_answer(msg->data, msg->len, disco->answer);
        if (is_good)
            on_answer(disco, peer, now_ns);
        break;
    case WEIR_PEX_OTHER:
        is_good = true;
        break;
    case WEIR_PEX_MALFORMED:
        break;
    }
    if (!is_good)
        blame(disco, peer, POINTS_MALFORMED);
}
