/* Whom to dial. A round runs when something happened and at the latest each second:
 *
 *   outbound   while there are fewer than outbound_cnt (dials included) and dials to spare: first the anchors of the
 *              last run, then whom the book chooses; never two of one group
 *   seeds      when the book had nobody: each with a backoff of its own
 *   feelers    now and then a place that was only heard of, or one whose slot in tried another waits for
 *   worth      who is not worth his place gives it up (discovery_useful.c)
 *   letting go seeds when half of the outbound places are taken, feelers when they have spoken, whoever does not
 */
#include <string.h>

#include "engine/base/check.h"
#include "engine/node/discovery_impl.h"

#define SEED_MIN_NS WEIR_NS_PER_S
#define SEED_MAX_NS (300 * WEIR_NS_PER_S)
/* The same of a node that knows nobody: it has nothing else to do. */
#define SEED_LOST_NS (15 * WEIR_NS_PER_S)
#define CRAWL_DIV 60u /* a crawler's feelers come so many times as often */
#define ANSWER_NS (5 * WEIR_NS_PER_S)
#define ROUND_NS (250 * WEIR_NS_PER_MS) /* while places are free */
#define CALM_NS WEIR_NS_PER_S
#define ASK_SHIFT_MAX 4u
#define POOR_FACTOR 16u /* of places known to outbound peers */

static bool is_crawler(const struct weir_discovery *disco)
{
    return (disco->cfg.flags & WEIR_DISCOVERY_CRAWLER) != 0;
}

static uint32_t target_of(const struct weir_discovery *disco)
{
    return is_crawler(disco) || disco->cfg.outbound_cnt == UINT32_MAX ? 0 : disco->cfg.outbound_cnt;
}

uint32_t disco_dial_outbound(const struct weir_discovery *disco, uint32_t *ret_dialing_cnt)
{
    uint32_t cnt = 0;
    *ret_dialing_cnt = 0;
    for (uint32_t i = 0; i < disco->peer_cnt; i++)
        cnt += disco->peers[i].kind == DISCO_OUTBOUND && disco->peers[i].close_ns == 0;
    for (uint32_t i = 0; i < disco->dial_cnt; i++)
        *ret_dialing_cnt += disco->dials[i].kind == DISCO_OUTBOUND;
    return cnt;
}

/* ---- dials --------------------------------------------------------------------------------- */

/* Begins a dial; false: the node does not take it now. */
static bool begin(struct weir_discovery *disco, const struct weir_target *target,
                  const struct weir_place *place, enum disco_kind kind, uint32_t seed_idx,
                  uint64_t now_ns)
{
    const struct weir_config *cfg = &disco->node->cfg;
    char text[WEIR_TARGET_TEXT_BYTES];
    WEIR_DCHECK(disco->dial_cnt <= DISCO_DIALS_MAX);
    weir_target_format(target, text);
    if (weir_dial(disco->node, text, 0) != 0)
        return false;
    struct disco_dial *dial = &disco->dials[disco->dial_cnt++];
    *dial = (struct disco_dial){.target = *target, .kind = (uint8_t)kind, .seed_idx = seed_idx};
    /* Every dial has an end that is told; if memory for a letter is short it may get lost. */
    dial->give_up_ns = now_ns + cfg->name_timeout_ns + WEIR_RESOLVED_MAX * cfg->dial_timeout_ns +
                       cfg->handshake_timeout_ns + WEIR_NS_PER_S;
    if (place) {
        dial->place = *place;
        weir_place_group(place, dial->group);
    }
    return true;
}

static bool begin_place(struct weir_discovery *disco, const struct weir_place *place,
                        enum disco_kind kind, uint64_t now_ns)
{
    struct weir_target target = {0};
    weir_place_addr(place, &target.addr);
    if (!begin(disco, &target, place, kind, UINT32_MAX, now_ns))
        return false;
    /* If nobody can be reached the fault is ours, and the places are not to pay for it. */
    weir_book_attempt(disco->book, place, disco->peer_cnt > 0, disco_wall_s(disco));
    return true;
}

bool disco_dial_take(struct weir_discovery *disco, const char *text, struct disco_dial *ret_dial)
{
    struct weir_target target;
    if (weir_target_parse(&target, text) != 0)
        return false;
    for (uint32_t i = 0; i < disco->dial_cnt; i++) {
        if (!weir_target_is_equal(&disco->dials[i].target, &target))
            continue;
        *ret_dial = disco->dials[i];
        disco->dials[i] = disco->dials[--disco->dial_cnt];
        return true;
    }
    return false;
}

void disco_dial_failed(struct weir_discovery *disco, const struct disco_dial *dial, int reason)
{
    if (reason != WEIR_R_SELF || dial->place.family == WEIR_ADDR_NONE)
        return;
    weir_book_remove(disco->book, &dial->place);
    if (!disco_is_own(disco, &dial->place) && disco->own_cnt < DISCO_OWN_MAX)
        disco->own[disco->own_cnt++] = dial->place;
}

static void forget_lost(struct weir_discovery *disco, uint64_t now_ns)
{
    for (uint32_t i = 0; i < disco->dial_cnt;) {
        if (disco->dials[i].give_up_ns > now_ns)
            i++;
        else
            disco->dials[i] = disco->dials[--disco->dial_cnt];
    }
}

/* ---- outbound ------------------------------------------------------------------------------ */

static bool is_dialing(const struct weir_discovery *disco, const struct weir_place *place)
{
    for (uint32_t i = 0; i < disco->dial_cnt; i++) {
        if (weir_place_is_equal(&disco->dials[i].place, place))
            return true;
    }
    return false;
}

/* `except` is on its way out. */
static bool has_group(const struct weir_discovery *disco, const uint8_t *group, weir_peer except)
{
    for (uint32_t i = 0; i < disco->peer_cnt; i++) {
        if (disco->peers[i].kind == DISCO_OUTBOUND && disco->peers[i].peer.v != except.v &&
            memcmp(disco->peers[i].group, group, WEIR_GROUP_BYTES) == 0)
            return true;
    }
    for (uint32_t i = 0; i < disco->dial_cnt; i++) {
        if (disco->dials[i].kind == DISCO_OUTBOUND &&
            memcmp(disco->dials[i].group, group, WEIR_GROUP_BYTES) == 0)
            return true;
    }
    return false;
}

static bool may_keep(const struct weir_discovery *disco, const struct weir_place *place,
                     weir_peer except)
{
    uint8_t group[WEIR_GROUP_BYTES];
    weir_place_group(place, group);
    return !is_dialing(disco, place) && !disco_is_own(disco, place) &&
           !has_group(disco, group, except);
}

static bool accept_outbound(void *ctx, const struct weir_book_entry *entry)
{
    return may_keep(ctx, &entry->place, (weir_peer){0});
}

struct instead {
    const struct weir_discovery *disco;
    weir_peer peer;
};

static bool accept_instead(void *ctx, const struct weir_book_entry *entry)
{
    const struct instead *instead = ctx;
    return may_keep(instead->disco, &entry->place, instead->peer);
}

static bool accept_feeler(void *ctx, const struct weir_book_entry *entry)
{
    return !is_dialing(ctx, &entry->place) && !disco_is_own(ctx, &entry->place);
}

static void fill_outbound(struct weir_discovery *disco, uint64_t now_ns)
{
    uint32_t dialing, up = disco_dial_outbound(disco, &dialing);
    disco->is_hungry = false;
    while (up + dialing < target_of(disco) && disco->dial_cnt < disco->cfg.dials_at_once) {
        struct weir_book_entry entry;
        if (disco->anchor_cnt) {
            entry.place = disco->anchors[--disco->anchor_cnt];
            if (!may_keep(disco, &entry.place, (weir_peer){0}))
                continue;
        } else if (!weir_book_select(disco->book, false, disco_wall_s(disco), accept_outbound,
                                     disco, &entry)) {
            disco->is_hungry = true;
            return;
        }
        if (!begin_place(disco, &entry.place, DISCO_OUTBOUND, now_ns))
            return;
        dialing++;
    }
}

bool disco_dial_instead(struct weir_discovery *disco, weir_peer peer, uint64_t now_ns)
{
    struct weir_book_entry entry;
    struct instead instead = {disco, peer};
    if (!weir_book_select(disco->book, false, disco_wall_s(disco), accept_instead, &instead,
                          &entry) ||
        !begin_place(disco, &entry.place, DISCO_OUTBOUND, now_ns))
        return false;
    disco->dials[disco->dial_cnt - 1].instead = peer;
    return true;
}

/* ---- seeds and feelers --------------------------------------------------------------------- */

static bool is_seed_up(const struct weir_discovery *disco, uint32_t seed_idx)
{
    const struct weir_place *place = &disco->seeds[seed_idx].place;
    bool has_place = place->family != WEIR_ADDR_NONE;
    for (uint32_t i = 0; has_place && i < disco->peer_cnt; i++) {
        if (weir_place_is_equal(&disco->peers[i].place, place))
            return true;
    }
    for (uint32_t i = 0; i < disco->dial_cnt; i++) {
        if (disco->dials[i].seed_idx == seed_idx ||
            (has_place && weir_place_is_equal(&disco->dials[i].place, place)))
            return true;
    }
    return has_place && disco_is_own(disco, place);
}

static void try_seeds(struct weir_discovery *disco, bool is_lost, uint64_t now_ns)
{
    uint64_t max_ns = is_lost ? SEED_LOST_NS : SEED_MAX_NS;
    for (uint32_t i = 0; i < disco->seed_cnt; i++) {
        struct disco_seed *seed = &disco->seeds[i];
        if (disco->dial_cnt >= disco->cfg.dials_at_once)
            return;
        if (seed->next_ns > now_ns || is_seed_up(disco, i))
            continue;
        bool is_name = weir_target_is_name(&seed->target); /* it may be elsewhere today */
        bool has_place = !is_name && seed->place.family != WEIR_ADDR_NONE;
        if (!begin(disco, &seed->target, has_place ? &seed->place : NULL, DISCO_SEED, i, now_ns))
            return;
        seed->next_ns = now_ns + weir_dial_backoff(SEED_MIN_NS, max_ns, seed->attempt_cnt,
                                                   weir_book_random(disco->book, UINT64_MAX));
        if (seed->attempt_cnt < 63)
            seed->attempt_cnt++;
    }
}

static void feel(struct weir_discovery *disco, uint64_t now_ns)
{
    uint64_t interval = disco->cfg.feeler_interval_ns / (is_crawler(disco) ? CRAWL_DIV : 1);
    if ((disco->cfg.flags & WEIR_DISCOVERY_NO_FEELERS) || now_ns < disco->next_feeler_ns ||
        disco->dial_cnt > DISCO_DIALS_MAX)
        return;
    bool is_first = disco->next_feeler_ns == 0;
    disco->next_feeler_ns = now_ns + interval / 2 + weir_book_random(disco->book, interval + 1);
    if (is_first && !is_crawler(disco))
        return;
    uint64_t now_s = disco_wall_s(disco);
    struct weir_book_entry entry;
    bool is_found = weir_book_doubtful(disco->book, now_s, &entry) && !entry.is_connected;
    if (!is_found)
        is_found =
            weir_book_select(disco->book, !is_crawler(disco), now_s, accept_feeler, disco, &entry);
    if (is_found && begin_place(disco, &entry.place, DISCO_FEELER, now_ns))
        disco->counts.feelers++;
}

/* ---- letting go ---------------------------------------------------------------------------- */

void disco_close(struct weir_discovery *disco, struct disco_peer *peer)
{
    (void)weir_disconnect(disco->node, peer->peer, WEIR_R_NOT_NEEDED);
    if (peer->close_ns == 0)
        peer->close_ns = 1; /* it is on its way out, and counts no more */
}

static void let_go(struct weir_discovery *disco, uint64_t now_ns)
{
    uint32_t dialing, up = disco_dial_outbound(disco, &dialing);
    for (uint32_t i = 0; i < disco->peer_cnt; i++) {
        struct disco_peer *peer = &disco->peers[i];
        if (peer->close_ns == 1)
            continue;
        bool is_silent = !peer->has_about && now_ns - peer->up_ns > DISCO_MESSAGE_NS;
        bool is_late = peer->is_asked && now_ns - peer->asked_ns > ANSWER_NS;
        bool is_over = peer->close_ns && peer->close_ns <= now_ns;
        if (peer->kind == DISCO_FEELER)
            is_over |= is_silent || is_late;
        /* One that does not speak discovery is no seed; one that does is kept until others are there. */
        if (peer->kind == DISCO_SEED)
            is_over |= is_silent || (2 * up >= target_of(disco) && (peer->has_answered || is_late));
        if (peer->kind == DISCO_INBOUND && is_crawler(disco))
            is_over |= now_ns - peer->up_ns > 2 * DISCO_MESSAGE_NS;
        if (is_over) {
            disco_close(disco, peer);
            continue;
        }
        /* Nobody else is there: the seed is a peer like any other. */
        bool is_wanted = peer->kind == DISCO_SEED && disco->is_hungry && peer->has_answered &&
                         !peer->is_crawler && up + dialing < target_of(disco) &&
                         now_ns - peer->up_ns > 3 * disco->cfg.ask_interval_ns;
        if (is_wanted) {
            peer->kind = DISCO_OUTBOUND;
            up++;
        }
    }
}

static void ask_around(struct weir_discovery *disco, uint64_t now_ns)
{
    for (uint32_t i = 0; i < disco->peer_cnt; i++) {
        struct disco_peer *peer = &disco->peers[i];
        uint64_t wait = disco->cfg.ask_interval_ns
                        << (peer->ask_shift < ASK_SHIFT_MAX ? peer->ask_shift : ASK_SHIFT_MAX);
        if (peer->has_about && !peer->is_asked && !peer->is_crawler && peer->close_ns == 0 &&
            peer->asked_ns + wait <= now_ns)
            disco_pex_ask(disco, peer, now_ns);
    }
}

/* The outbound peers that are there longest are dialed first after a restart. */
static void choose_anchors(struct weir_discovery *disco)
{
    _Static_assert(WEIR_BOOK_ANCHORS == 2, "the second is compared with the first alone");
    struct weir_place places[WEIR_BOOK_ANCHORS];
    uint32_t cnt = 0;
    while (cnt < WEIR_BOOK_ANCHORS) {
        const struct disco_peer *best = NULL;
        for (uint32_t i = 0; i < disco->peer_cnt; i++) {
            const struct disco_peer *peer = &disco->peers[i];
            bool is_out = peer->kind != DISCO_OUTBOUND || !peer->has_about ||
                          (cnt && weir_place_is_equal(&peer->place, &places[0]));
            if (!is_out && (!best || peer->up_ns < best->up_ns))
                best = peer;
        }
        if (!best)
            break;
        places[cnt++] = best->place;
    }
    if (cnt) /* who has lost all peers goes on remembering the last ones */
        weir_book_set_anchors(disco->book, places, cnt);
}

void disco_dial_keep(struct weir_discovery *disco, uint64_t now_ns)
{
    if (disco_is_stopping(disco)) { /* the anchors are those who were there before */
        disco->next_round_ns = now_ns + CALM_NS;
        return;
    }
    weir_book_settle(disco->book, disco_wall_s(disco));
    forget_lost(disco, now_ns);
    fill_outbound(disco, now_ns);
    let_go(disco, now_ns);
    if (!is_crawler(disco) && disco_useful_keep(disco, now_ns))
        disco->is_hungry = true;
    struct weir_book_stats stats;
    weir_book_stats(disco->book, &stats);
    uint32_t places = stats.new_cnt + stats.tried_cnt, dialing;
    if (disco->is_hungry || (is_crawler(disco) && places == 0))
        try_seeds(disco, places == 0 && disco->peer_cnt == 0, now_ns);
    /* Who knows few has nowhere to go when many are lost at once. */
    if (disco->is_hungry || places < POOR_FACTOR * target_of(disco))
        ask_around(disco, now_ns);
    bool is_short = disco_dial_outbound(disco, &dialing) < target_of(disco);
    for (uint32_t i = 0; !is_short && i < disco->seed_cnt; i++)
        disco->seeds[i].attempt_cnt = 0;
    feel(disco, now_ns);
    choose_anchors(disco);
    disco->next_round_ns = now_ns + (is_short || is_crawler(disco) ? ROUND_NS : CALM_NS);
}
