#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/base/check.h"
#include "engine/node/book_store.h"
#include "engine/node/discovery_impl.h"

#define SIM_EPOCH_S UINT64_C(1000000000)
#define SHORT_LIFE_NS (10 * WEIR_NS_PER_S)
#define SENT_AWAY_S 60u
#define HUNG_UP_S 5u
#define OTHER_DIALS 2u /* a feeler and a seed */

uint64_t disco_wall_s(const struct weir_discovery *disco)
{
    struct timespec now;
    if (disco->node->host)
        return SIM_EPOCH_S + weir_node_now(disco->node) / WEIR_NS_PER_S;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec;
}

/* ---- the reactor --------------------------------------------------------------------------- */

/* A name turned out to be somebody whom we have dialed already. */
static bool is_dialed_twice(struct weir_discovery *disco, const struct disco_peer *peer)
{
    for (uint32_t i = 0; i < disco->peer_cnt; i++) {
        const struct disco_peer *other = &disco->peers[i];
        if (other != peer && other->close_ns == 0 &&
            (other->kind == DISCO_OUTBOUND || other->kind == DISCO_SEED) &&
            weir_place_is_equal(&other->place, &peer->place))
            return true;
    }
    return false;
}

static void peer_up(struct weir_discovery *disco, weir_peer id, const struct weir_peer_info *info,
                    uint64_t now_ns)
{
    struct disco_peer *peer = disco_peer_add(disco, id);
    struct disco_dial dial;
    struct weir_addr addr;
    bool is_ours = info->is_dialer && disco_dial_take(disco, info->dialed_as, &dial);
    if (!peer)
        return; /* memory is short: it is a peer without discovery */
    peer->up_ns = now_ns;
    peer->kind = !info->is_dialer ? DISCO_INBOUND : is_ours ? dial.kind : DISCO_OTHER;
    if (weir_addr_parse(&addr, info->address) == 0)
        (void)weir_place_from(&peer->seen, &addr);
    for (uint32_t i = 0; info->is_secure && i < disco->unlisted_id_cnt; i++)
        peer->is_unlisted |= memcmp(&disco->unlisted_ids[i], &info->id, sizeof(info->id)) == 0;
    if (info->is_dialer) {
        peer->place = is_ours && dial.place.family ? dial.place : peer->seen;
        if (peer->place.family != WEIR_ADDR_NONE)
            weir_place_group(&peer->place, peer->group);
        disco_peer_mark(disco, peer);
        disco_peer_placed(disco, peer);
    }
    if (is_ours && dial.kind == DISCO_SEED && peer->place.family != WEIR_ADDR_NONE) {
        disco->seeds[dial.seed_idx].place = peer->place;
        if (is_dialed_twice(disco, peer)) {
            disco->counts.duplicates++;
            disco_close(disco, peer);
            return;
        }
    }
    if (is_ours && dial.instead.v)
        disco_useful_came(disco, dial.instead);
    disco_pex_greet(disco, peer);
}

bool disco_is_stopping(const struct weir_discovery *disco)
{
    int state = atomic_load(&disco->node->state);
    return state == WEIR_NODE_STOPPING || state == WEIR_NODE_STOPPED;
}

/* Who sends us away, or hangs up at once, is not asked again at once. */
static void rest(struct weir_discovery *disco, const struct disco_peer *peer, int reason,
                 uint64_t now_ns)
{
    bool is_sent_away = reason == WEIR_R_EVICTED || reason == WEIR_R_NOT_NEEDED;
    uint64_t wait_s = is_sent_away                           ? SENT_AWAY_S
                      : now_ns - peer->up_ns < SHORT_LIFE_NS ? HUNG_UP_S
                                                             : 0;
    if (wait_s && peer->kind != DISCO_INBOUND && peer->close_ns != 1)
        weir_book_rest(disco->book, &peer->place,
                       disco_wall_s(disco) + wait_s + weir_book_random(disco->book, wait_s + 1));
}

static void peer_down(struct weir_discovery *disco, weir_peer id, int reason, uint64_t now_ns)
{
    struct disco_peer *peer = disco_peer_find(disco, id);
    if (!peer)
        return;
    if (peer->has_about && peer->place.family != WEIR_ADDR_NONE)
        weir_book_seen(disco->book, &peer->place, disco_wall_s(disco));
    if (!disco_is_stopping(disco))
        rest(disco, peer, reason, now_ns);
    disco_peer_unmark(disco, peer);
    disco_peer_remove(disco, id);
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct weir_discovery *disco = ctx;
    struct weir_peer_info info = {.size = sizeof(info)};
    if (event == WEIR_PEER_FAILED ||
        (event == WEIR_PEER_UP && weir_peer_info(disco->node, peer, &info) != 0))
        return;
    uint64_t now_ns = weir_node_now(disco->node);
    pthread_mutex_lock(&disco->mutex);
    if (event == WEIR_PEER_UP) {
        peer_up(disco, peer, &info, now_ns);
    } else {
        peer_down(disco, peer, reason, now_ns);
        disco_dial_keep(disco, now_ns);
    }
    pthread_mutex_unlock(&disco->mutex);
}

static void on_dial(void *ctx, const char *address, int reason)
{
    struct weir_discovery *disco = ctx;
    struct disco_dial dial;
    pthread_mutex_lock(&disco->mutex);
    if (disco_dial_take(disco, address, &dial)) {
        disco_dial_failed(disco, &dial, reason);
        disco_dial_keep(disco, weir_node_now(disco->node));
    }
    pthread_mutex_unlock(&disco->mutex);
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct weir_discovery *disco = ctx;
    uint64_t now_ns = weir_node_now(disco->node);
    pthread_mutex_lock(&disco->mutex);
    for (uint32_t i = 0; i < msg_cnt; i++)
        disco_pex_message(disco, &msgs[i], now_ns);
    if (disco->next_round_ns <= now_ns)
        disco_dial_keep(disco, now_ns);
    pthread_mutex_unlock(&disco->mutex);
}

/* In a simulated world there are no threads, and nobody waits for its disk. */
static void save_here(struct weir_discovery *disco)
{
    struct weir_book_stats stats;
    weir_book_stats(disco->book, &stats);
    if (stats.change_cnt != disco->saved_change_cnt &&
        weir_book_store_save(disco->book, &disco->mutex, disco->book_path,
                             &disco->saved_change_cnt) == 0)
        disco->counts.saves++;
}

static weir_ns on_tick(void *ctx, uint32_t shard, weir_ns now)
{
    struct weir_discovery *disco = ctx;
    pthread_mutex_lock(&disco->mutex);
    weir_ns sample = disco_useful_sample(disco, shard, now);
    if (shard != 0) {
        pthread_mutex_unlock(&disco->mutex);
        return sample;
    }
    if (disco->next_round_ns <= now)
        disco_dial_keep(disco, now);
    bool is_due = disco->node->host && disco->book_path[0] && disco->next_save_ns <= now;
    if (is_due)
        disco->next_save_ns = now + disco->cfg.save_interval_ns;
    weir_ns next = disco->next_round_ns > now ? disco->next_round_ns : now + 1;
    int error = disco->save_error != disco->told_error ? disco->save_error : 0;
    disco->told_error = disco->save_error;
    pthread_mutex_unlock(&disco->mutex);
    if (error)
        weir_log(disco->node, WEIR_LOG_WARN, "book: %s cannot be written: %s; trying again",
                 disco->book_path, strerror(error));
    if (is_due)
        save_here(disco);
    return next;
}

/* ---- saving -------------------------------------------------------------------------------- */

static void *run_saver(void *arg)
{
    struct weir_discovery *disco = arg;
    pthread_setname_np(pthread_self(), "weir-book");
    pthread_mutex_lock(&disco->mutex);
    while (!disco->is_stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t at = (uint64_t)until.tv_nsec + disco->cfg.save_interval_ns;
        until.tv_sec += (time_t)(at / WEIR_NS_PER_S);
        until.tv_nsec = (long)(at % WEIR_NS_PER_S);
        while (!disco->is_stopping &&
               pthread_cond_timedwait(&disco->cond, &disco->mutex, &until) == 0)
            continue;
        struct weir_book_stats stats;
        weir_book_stats(disco->book, &stats);
        if (stats.change_cnt == disco->saved_change_cnt)
            continue;
        uint64_t saved = 0;
        pthread_mutex_unlock(&disco->mutex);
        int error = weir_book_store_save(disco->book, &disco->mutex, disco->book_path, &saved);
        pthread_mutex_lock(&disco->mutex);
        disco->save_error = error; /* on_tick says so: the node may be gone by now */
        if (!error) {
            disco->saved_change_cnt = saved;
            disco->counts.saves++;
        }
    }
    pthread_mutex_unlock(&disco->mutex);
    return NULL;
}

/* ---- configuration ------------------------------------------------------------------------- */

void weir_discovery_config_init(struct weir_discovery_config *ret_cfg)
{
    *ret_cfg = (struct weir_discovery_config){.size = sizeof(*ret_cfg),
                                              .channel = WEIR_DISCOVERY_CHANNEL,
                                              .outbound_cnt = 8,
                                              .dials_at_once = 8,
                                              .ask_interval_ns = 10 * WEIR_NS_PER_S,
                                              .feeler_interval_ns = 120 * WEIR_NS_PER_S,
                                              .save_interval_ns = 60 * WEIR_NS_PER_S};
}

static void set_defaults(struct weir_discovery_config *cfg)
{
    struct weir_discovery_config defaults;
    weir_discovery_config_init(&defaults);
    cfg->channel = cfg->channel ? cfg->channel : defaults.channel;
    cfg->outbound_cnt = cfg->outbound_cnt ? cfg->outbound_cnt : defaults.outbound_cnt;
    cfg->dials_at_once = cfg->dials_at_once ? cfg->dials_at_once : defaults.dials_at_once;
    if (!cfg->ask_interval_ns)
        cfg->ask_interval_ns = defaults.ask_interval_ns;
    if (!cfg->feeler_interval_ns)
        cfg->feeler_interval_ns = defaults.feeler_interval_ns;
    if (!cfg->save_interval_ns)
        cfg->save_interval_ns = defaults.save_interval_ns;
}

static int refuse(weir_node *node, const char *field, const char *what)
{
    weir_log(node, WEIR_LOG_ERROR, "discovery: %s: '%.60s' is not %s", field, what,
             strcmp(field, "seeds") == 0 || strcmp(field, "unlisted") == 0
                 ? "an address or an id, or there are too many"
                 : "in its range");
    return WEIR_E_CONFIG;
}

static bool is_between(uint64_t value, uint64_t min, uint64_t max)
{
    return value >= min && value <= max;
}

/* Takes the next of a list with commas between; false: there is none. */
static bool next_of(const char **list, char ret_text[WEIR_TARGET_TEXT_BYTES])
{
    if (!*list || !**list)
        return false;
    size_t len = strcspn(*list, ",");
    snprintf(ret_text, WEIR_TARGET_TEXT_BYTES, "%.*s",
             (int)(len < WEIR_TARGET_TEXT_BYTES ? len : WEIR_TARGET_TEXT_BYTES), *list);
    *list += len + ((*list)[len] == ',');
    return true;
}

static int take_lists(struct weir_discovery *disco)
{
    char text[WEIR_TARGET_TEXT_BYTES];
    const char *list = disco->cfg.seeds;
    while (next_of(&list, text)) {
        if (disco->seed_cnt == DISCO_SEEDS_MAX ||
            weir_target_parse(&disco->seeds[disco->seed_cnt].target, text) != 0)
            return refuse(disco->node, "seeds", text);
        struct disco_seed *seed = &disco->seeds[disco->seed_cnt++];
        if (!weir_target_is_name(&seed->target))
            (void)weir_place_from(&seed->place, &seed->target.addr);
    }
    list = disco->cfg.unlisted;
    while (next_of(&list, text)) {
        struct weir_addr addr;
        if (strncmp(text, "weir1", 5) == 0) {
            if (disco->unlisted_id_cnt == DISCO_UNLISTED_IDS_MAX ||
                weir_id_parse(&disco->unlisted_ids[disco->unlisted_id_cnt], text, SIZE_MAX, NULL) !=
                    0)
                return refuse(disco->node, "unlisted", text);
            disco->unlisted_id_cnt++;
            continue;
        }
        if (disco->unlisted_cnt == DISCO_UNLISTED_MAX - DISCO_UNLISTED_IDS_MAX ||
            weir_addr_parse(&addr, text) != 0 ||
            !weir_place_from(&disco->unlisted[disco->unlisted_cnt], &addr))
            return refuse(disco->node, "unlisted", text);
        disco->unlisted_cnt++;
    }
    return 0;
}

static int take_config(struct weir_discovery *disco, const struct weir_discovery_config *from)
{
    struct weir_discovery_config *cfg = &disco->cfg;
    weir_node *node = disco->node;
    int error = weir_struct_take(cfg, sizeof(*cfg), from);
    if (error)
        return error;
    set_defaults(cfg);
    if (cfg->outbound_cnt != UINT32_MAX &&
        !is_between(cfg->outbound_cnt, 1, WEIR_DISCOVERY_OUTBOUND_MAX))
        return refuse(node, "outbound_cnt", "it");
    if (!is_between(cfg->dials_at_once, 1, DISCO_DIALS_MAX))
        return refuse(node, "dials_at_once", "it");
    if (!is_between(cfg->ask_interval_ns, 100 * WEIR_NS_PER_MS, 86400 * WEIR_NS_PER_S))
        return refuse(node, "ask_interval_ns", "it");
    if (!is_between(cfg->feeler_interval_ns, 100 * WEIR_NS_PER_MS, 86400 * WEIR_NS_PER_S))
        return refuse(node, "feeler_interval_ns", "it");
    if (cfg->replace_interval_ns &&
        !is_between(cfg->replace_interval_ns, WEIR_NS_PER_S, 86400 * WEIR_NS_PER_S))
        return refuse(node, "replace_interval_ns", "it");
    if (cfg->quiet_ns && !is_between(cfg->quiet_ns, WEIR_NS_PER_S, 86400 * WEIR_NS_PER_S))
        return refuse(node, "quiet_ns", "it");
    if (!is_between(cfg->save_interval_ns, 100 * WEIR_NS_PER_MS, 86400 * WEIR_NS_PER_S))
        return refuse(node, "save_interval_ns", "it");
    if (cfg->flags &
        ~(uint32_t)(WEIR_DISCOVERY_PRIVATE | WEIR_DISCOVERY_CRAWLER | WEIR_DISCOVERY_NO_FEELERS))
        return refuse(node, "flags", "one of them");
    if (cfg->book_path && strlen(cfg->book_path) > 1000)
        return refuse(node, "book_path", cfg->book_path);
    snprintf(disco->book_path, sizeof(disco->book_path), "%s",
             cfg->book_path ? cfg->book_path : "");
    if (cfg->capabilities && weir_caps_parse(disco->capabilities, cfg->capabilities) != 0)
        return refuse(node, "capabilities", cfg->capabilities);
    if (cfg->wanted && cfg->wanted[0] && !weir_cap_is_good(cfg->wanted, strlen(cfg->wanted)))
        return refuse(node, "wanted", cfg->wanted);
    snprintf(disco->wanted, sizeof(disco->wanted), "%s", cfg->wanted ? cfg->wanted : "");
    return take_lists(disco);
}

/* ---- life ---------------------------------------------------------------------------------- */

static int make_book(struct weir_discovery *disco)
{
    struct weir_book_config cfg = {0};
    if (weir_node_random(disco->node, cfg.key, sizeof(cfg.key)) ||
        weir_node_random(disco->node, &cfg.seed, sizeof(cfg.seed)) ||
        weir_node_random(disco->node, &disco->nonce, sizeof(disco->nonce)) ||
        weir_node_random(disco->node, &disco->next_ask_id, sizeof(disco->next_ask_id)))
        return WEIR_E_SYSTEM;
    int error = weir_book_create(&disco->book, &cfg);
    bool is_damaged = false;
    if (!error && disco->book_path[0])
        error = weir_book_store_load(disco->node, disco->book, disco->book_path,
                                     disco_wall_s(disco), &is_damaged);
    if (error)
        return error;
    disco->anchor_cnt = weir_book_anchors(disco->book, disco->anchors);
    struct weir_book_stats stats;
    weir_book_stats(disco->book, &stats);
    disco->saved_change_cnt = is_damaged ? UINT64_MAX : stats.change_cnt;
    return 0;
}

/* Slots are shared, and who takes all of them by dialing in would keep us from dialing out: where no limit was set,
 * there is one that leaves room for our own. */
static void keep_room(struct weir_discovery *disco)
{
    const struct weir_config *cfg = &disco->node->cfg;
    uint32_t slots = cfg->peers_max * cfg->shard_cnt;
    uint32_t own = disco->cfg.outbound_cnt == UINT32_MAX ? 0 : disco->cfg.outbound_cnt;
    own += disco->cfg.dials_at_once + OTHER_DIALS;
    if (cfg->inbound_max == UINT32_MAX && slots >= 4 * own)
        weir_guard_set_inbound_max(disco->node, slots - own);
}

int weir_discovery_attach(weir_discovery **ret_discovery, weir_node *node,
                          const struct weir_discovery_config *cfg)
{
    if (!ret_discovery || !node || !cfg)
        return WEIR_E_MISUSE;
    struct weir_discovery *disco = weir_heap_alloc(NULL, sizeof(*disco));
    if (!disco)
        return WEIR_E_NOMEM;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&disco->mutex, NULL);
    pthread_cond_init(&disco->cond, &attr);
    pthread_condattr_destroy(&attr);
    disco->node = node;
    disco->answer = weir_heap_alloc(NULL, sizeof(*disco->answer));
    disco->bytes = weir_heap_alloc(NULL, WEIR_PEX_BYTES_MAX);
    int error = disco->answer && disco->bytes ? take_config(disco, cfg) : WEIR_E_NOMEM;
    if (!error)
        error = make_book(disco);
    if (!error) {
        struct weir_reactor reactor = {.size = sizeof(reactor),
                                       .ctx = disco,
                                       .on_batch = on_batch,
                                       .on_peer = on_peer,
                                       .on_tick = on_tick,
                                       .on_dial = on_dial};
        struct weir_channel channel;
        weir_channel_init(&channel, disco->cfg.channel);
        channel.msg_bytes_max = WEIR_PEX_BYTES_MAX;
        channel.send_bytes_max = 4 * WEIR_PEX_BYTES_MAX;
        channel.recv_bytes_max = 4 * WEIR_PEX_BYTES_MAX;
        channel.name = "discovery";
        error = weir_node_attach(node, &reactor, &channel, 1);
        if (!error)
            keep_room(disco);
    }
    if (error) {
        disco->book_path[0] = '\0'; /* nothing was learnt */
        weir_discovery_free(disco);
        return error;
    }
    if (disco->book_path[0] && !node->host)
        disco->has_saver = pthread_create(&disco->saver, NULL, run_saver, disco) == 0;
    disco_series_add(disco);
    *ret_discovery = disco;
    return 0;
}

void weir_discovery_free(weir_discovery *disco)
{
    if (!disco)
        return;
    pthread_mutex_lock(&disco->mutex);
    disco->is_stopping = true;
    pthread_cond_signal(&disco->cond);
    pthread_mutex_unlock(&disco->mutex);
    if (disco->has_saver)
        pthread_join(disco->saver, NULL);
    if (disco->book && disco->book_path[0])
        save_here(disco); /* what changed while the saver was busy, or when there was none */
    weir_book_free(disco->book);
    for (uint32_t i = 0; i < DISCO_CACHES; i++)
        weir_heap_release(disco->caches[i]);
    weir_heap_release(disco->peers);
    weir_heap_release(disco->map);
    weir_heap_release(disco->answer);
    weir_heap_release(disco->bytes);
    pthread_cond_destroy(&disco->cond);
    pthread_mutex_destroy(&disco->mutex);
    weir_heap_release(disco);
}
