#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "engine/base/check.h"
#include "engine/node/internal.h"

weir_ns weir_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (weir_ns)now.tv_sec * WEIR_NS_PER_S + (weir_ns)now.tv_nsec;
}

weir_ns weir_node_now(const weir_node *node)
{
    return node && node->host ? node->host->now(node->host->ctx) : weir_now();
}

/* ---- before start -------------------------------------------------------------------------- */

int weir_node_random(weir_node *node, void *ret_bytes, size_t len)
{
    if (!node || (!ret_bytes && len))
        return WEIR_E_MISUSE;
    if (node->host) {
        node->host->random(node->host->ctx, ret_bytes, len);
        return 0;
    }
    uint8_t *at = ret_bytes;
    while (len) { /* large ones are filled in part, or interrupted */
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno != EINTR)
            return WEIR_E_SYSTEM;
        at += got > 0 ? got : 0;
        len -= got > 0 ? (size_t)got : 0;
    }
    return 0;
}

/* A simulated world has one clock, and its runs follow from their seed. */
uint64_t weir_node_wall_ns(const weir_node *node)
{
    struct timespec now;
    if (node->host)
        return weir_node_now(node);
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * WEIR_NS_PER_S + (uint64_t)now.tv_nsec;
}

int weir_node_create(weir_node **ret_node, const struct weir_config *cfg)
{
    return weir_node_create_on(ret_node, cfg, NULL);
}

static int twins_make(weir_node *node)
{
    uint8_t key[WEIR_SIPHASH_KEY_BYTES];
    if (weir_node_random(node, key, sizeof(key)))
        return WEIR_E_SYSTEM;
    return weir_twins_init(&node->twins, node->cfg.peers_max * node->cfg.shard_cnt, key);
}

int weir_node_create_on(weir_node **ret_node, const struct weir_config *cfg,
                        const struct weir_io_host *host)
{
    if (!ret_node || !cfg)
        return WEIR_E_MISUSE;
    weir_node *node = weir_heap_alloc(NULL, sizeof(*node));
    if (!node)
        return WEIR_E_NOMEM;
    node->host = host;
    node->made_wall_ns = weir_node_wall_ns(node);
    int error = weir_config_take(node, cfg);
    if (error) {
        weir_key_wipe(&node->node_key);
        weir_key_wipe(&node->network_key);
        weir_heap_release(node);
        return error;
    }
    node->channel_idx_of = weir_heap_alloc_raw(NULL, 65536);
    node->shards = weir_heap_alloc(NULL, node->cfg.shard_cnt * sizeof(struct weir_shard *));
    node->dials = weir_heap_alloc_table(NULL, node->cfg.dials_max * sizeof(*node->dials));
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&node->mutex, NULL);
    pthread_cond_init(&node->cond, &attr);
    pthread_condattr_destroy(&attr);
    if (!node->channel_idx_of || !node->shards || !node->dials) {
        weir_node_free(node);
        return WEIR_E_NOMEM;
    }
    memset(node->channel_idx_of, 0xFF, 65536);
    uint64_t seeds[2]; /* not the nonce, which is told to peers */
    if (weir_node_random(node, node->offer.nonce, sizeof(node->offer.nonce)) ||
        weir_node_random(node, seeds, sizeof(seeds))) {
        weir_node_free(node);
        return WEIR_E_SYSTEM;
    }
    error = weir_directory_init(node);
    if (error) {
        weir_node_free(node);
        return error;
    }
    node->has_guard = true;
    error = weir_guard_init(node, seeds);
    if (!error && node->cfg.secure != WEIR_SECURE_PLAIN)
        error = twins_make(node);
    if (error) {
        weir_node_free(node);
        return error;
    }
    *ret_node = node;
    return 0;
}

static int attach_channel(weir_node *node, const struct weir_channel *channel, uint32_t reactor_idx)
{
    uint32_t idx = node->channel_cnt;
    if (idx == WEIR_CHANNELS_MAX)
        return WEIR_E_LIMIT;
    struct weir_channel own;
    int error = weir_channel_take(node, channel, &own);
    if (error)
        return error;
    if (node->channel_idx_of[own.id] != 0xFF) {
        weir_log(node, WEIR_LOG_ERROR, "channel %u is attached already", own.id);
        return WEIR_E_DUPLICATE;
    }
    snprintf(node->channel_names[idx], sizeof(node->channel_names[idx]), "%s",
             own.name ? own.name : "");
    own.name = node->channel_names[idx];
    node->channels[idx] = own;
    node->channel_idx_of[own.id] = (uint8_t)idx;
    node->channel_reactor[idx] = (uint8_t)reactor_idx;
    node->descs[idx] = (struct weir_channel_desc){.id = own.id,
                                                  .weight = own.weight,
                                                  .msg_bytes_max = own.msg_bytes_max,
                                                  .window_bytes = own.recv_bytes_max,
                                                  .flags = own.flags};
    node->channel_cnt++;
    return 0;
}

int weir_node_attach(weir_node *node, const struct weir_reactor *reactor,
                     const struct weir_channel *channels, uint32_t channel_cnt)
{
    if (!node || !reactor || (!channels && channel_cnt))
        return WEIR_E_MISUSE;
    if (atomic_load(&node->state) != WEIR_NODE_NEW)
        return WEIR_E_STATE;
    if (node->reactor_cnt == WEIR_REACTORS_MAX)
        return WEIR_E_LIMIT;
    struct weir_reactor own;
    int error = weir_struct_take(&own, sizeof(own), reactor);
    uint32_t before = node->channel_cnt;
    for (uint32_t i = 0; !error && i < channel_cnt; i++) {
        /* Elements are as large as their first says: the caller's size, not ours. */
        const uint8_t *at = (const uint8_t *)channels + (size_t)i * channels[0].size;
        error =
            attach_channel(node, (const struct weir_channel *)(const void *)at, node->reactor_cnt);
    }
    if (error) { /* all or nothing */
        while (node->channel_cnt > before)
            node->channel_idx_of[node->channels[--node->channel_cnt].id] = 0xFF;
        return error;
    }
    node->reactors[node->reactor_cnt++] = own;
    return 0;
}

/* Makes the shards with their rings; the mutex is held. */
int weir_node_prepare(weir_node *node)
{
    while (node->shard_cnt < node->cfg.shard_cnt) {
        struct weir_shard *shard;
        int error = weir_shard_create(&shard, node, node->shard_cnt);
        if (error) {
            weir_log(node, WEIR_LOG_ERROR, "shard %u: %s %s", node->shard_cnt,
                     weir_error_text(error), weir_error_remedy(error));
            return error;
        }
        node->shards[node->shard_cnt++] = shard;
    }
    return 0;
}

static int listen_on_shards(weir_node *node, struct weir_addr *addr, uint32_t idx)
{
    /* A unix socket has no SO_REUSEPORT: shard 0 listens and hands connections on. */
    uint32_t cnt = addr->family == WEIR_ADDR_UNIX ? 1 : node->shard_cnt;
    for (uint32_t i = 0; i < cnt; i++) {
        struct weir_io *io = node->shards[i]->io;
        struct weir_addr real;
        /* The first finds a port that another program has; the others join it. */
        int sock = io->ops->listen(io, addr, i > 0, &real);
        if (sock < 0) {
            while (i-- > 0) {
                node->shards[i]->io->ops->close(node->shards[i]->io,
                                                node->shards[i]->listen_socks[idx]);
                node->shards[i]->listen_socks[idx] = -1;
            }
            return sock;
        }
        node->shards[i]->listen_socks[idx] = sock;
        *addr = real; /* the port that was chosen is the other shards' too */
    }
    return 0;
}

int weir_node_listen(weir_node *node, const char *address)
{
    if (!node || !address)
        return WEIR_E_MISUSE;
    if (atomic_load(&node->state) != WEIR_NODE_NEW)
        return WEIR_E_STATE;
    struct weir_addr addr;
    int error = weir_addr_parse(&addr, address);
    if (error)
        return error;
    if (node->listener_cnt == WEIR_LISTENERS_MAX)
        return WEIR_E_LIMIT;
    pthread_mutex_lock(&node->mutex);
    error = weir_node_prepare(node);
    pthread_mutex_unlock(&node->mutex);
    if (!error)
        error = listen_on_shards(node, &addr, node->listener_cnt);
    if (error) {
        weir_log(node, WEIR_LOG_ERROR, "listen at %s: %s", address, weir_error_text(error));
        return error;
    }
    node->listeners[node->listener_cnt++] = addr;
    return 0;
}

int weir_node_address(weir_node *node, uint32_t idx, char *ret_address, size_t ret_len)
{
    if (!node || !ret_address || idx >= node->listener_cnt)
        return WEIR_E_MISUSE;
    char text[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(&node->listeners[idx], text);
    if (strlen(text) >= ret_len)
        return WEIR_E_TOO_BIG;
    memcpy(ret_address, text, strlen(text) + 1);
    return 0;
}

/* ---- running ------------------------------------------------------------------------------- */

struct weir_shard *weir_shard_here(weir_node *node)
{
    for (uint32_t i = 0; i < node->shard_cnt; i++) {
        if (weir_shard_is_here(node->shards[i]))
            return node->shards[i];
    }
    return NULL;
}

static void join_threads(weir_node *node)
{
    for (uint32_t i = 0; i < node->shard_cnt; i++) {
        if (node->shards[i]->has_thread)
            pthread_join(node->shards[i]->thread, NULL);
        node->shards[i]->has_thread = false;
    }
}

/* Cannot fail: a node that cannot be stopped could not be freed either. Once per node. */
static void post_stop(weir_node *node, weir_ns drain)
{
    weir_ns now = weir_node_now(node);
    for (uint32_t i = 0; i < node->shard_cnt; i++) {
        struct weir_note *note = node->shards[i]->stop_note;
        node->shards[i]->stop_note = NULL;
        note->deadline_ns = drain > UINT64_MAX / 4 ? now + UINT64_MAX / 4 : now + drain;
        (void)weir_shard_post(node->shards[i], note, true);
    }
}

static int start_threads(weir_node *node)
{
    uint32_t made = 0;
    int error = 0;
    for (uint32_t i = 0; i < node->shard_cnt && !error; i++) {
        struct weir_shard *shard = node->shards[i];
        if (pthread_create(&shard->thread, NULL, weir_shard_main, shard) != 0) {
            error = WEIR_E_NOMEM;
        } else {
            shard->has_thread = true;
            made++;
        }
    }
    pthread_mutex_lock(&node->mutex);
    while (node->shards_up < made)
        pthread_cond_wait(&node->cond, &node->mutex);
    for (uint32_t i = 0; i < made && !error; i++)
        error = node->shards[i]->init_error;
    pthread_mutex_unlock(&node->mutex);
    return error;
}

int weir_node_start(weir_node *node)
{
    if (!node)
        return WEIR_E_MISUSE;
    if (atomic_load(&node->state) != WEIR_NODE_NEW)
        return WEIR_E_STATE;
    if (node->channel_cnt == 0) {
        weir_log(node, WEIR_LOG_ERROR, "start: no channel is attached");
        return WEIR_E_CONFIG;
    }
    pthread_mutex_lock(&node->mutex);
    int error = weir_node_prepare(node);
    pthread_mutex_unlock(&node->mutex);
    if (!error)
        error = weir_stats_file_open(node);
    if (error)
        return error;
    node->upload.per_s = node->cfg.upload_bytes;
    node->upload.burst_ns = node->cfg.rate_burst_ns;
    node->queue_bytes_max = 0;
    for (uint32_t i = 0; i < node->channel_cnt; i++) /* twice: see weir_try_send on bounds */
        node->queue_bytes_max += UINT64_C(2) * node->channels[i].send_bytes_max;
    node->offer.network_id = node->cfg.network_id;
    node->offer.user_agent = node->cfg.user_agent;
    node->offer.channels = node->descs;
    node->offer.channel_cnt = node->channel_cnt;
    node->offer.frame_bytes_max = node->cfg.frame_bytes_max;
    atomic_store(&node->state, WEIR_NODE_RUNNING);
    if (node->cfg.flags & WEIR_CONFIG_CALLER_TURNS)
        return 0;
    error = start_threads(node);
    if (!error)
        return 0;
    post_stop(node, 0);
    join_threads(node);
    weir_stats_file_close(node);
    atomic_store(&node->state, WEIR_NODE_STOPPED);
    return error;
}

int64_t weir_node_turn(weir_node *node, uint32_t shard_idx, weir_ns wait_max)
{
    if (!node || shard_idx >= node->shard_cnt || !(node->cfg.flags & WEIR_CONFIG_CALLER_TURNS))
        return WEIR_E_MISUSE;
    struct weir_shard *shard = node->shards[shard_idx];
    int state = atomic_load(&node->state);
    if (state == WEIR_NODE_NEW || shard->is_done)
        return WEIR_E_STATE;
    if (!atomic_load_explicit(&shard->is_owned, memory_order_acquire)) {
        int error = weir_shard_init(shard);
        if (error) {
            shard->is_done = true;
            return error;
        }
    } else if (!weir_shard_is_here(shard)) {
        return WEIR_E_MISUSE;
    }
    int64_t res = weir_shard_turn(shard, wait_max);
    if (shard->is_done)
        weir_shard_fini(shard);
    return res;
}

int weir_node_stop(weir_node *node, weir_ns drain)
{
    if (!node)
        return WEIR_E_MISUSE;
    bool has_threads = !(node->cfg.flags & WEIR_CONFIG_CALLER_TURNS);
    if (has_threads && weir_shard_here(node))
        return WEIR_E_SHARD_THREAD;
    int running = WEIR_NODE_RUNNING;
    if (!atomic_compare_exchange_strong(&node->state, &running, WEIR_NODE_STOPPING))
        return WEIR_E_STATE;
    post_stop(node, drain);
    if (!has_threads)
        return 0;
    join_threads(node);
    weir_dial_end_names(node);
    weir_guard_end_saver(node);
    weir_stats_file_close(node);
    atomic_store(&node->state, WEIR_NODE_STOPPED);
    int error = 0;
    for (uint32_t i = 0; i < node->shard_cnt; i++) {
        if (node->shards[i]->has_lost)
            error = WEIR_E_TIMEOUT;
    }
    return error;
}

void weir_node_free(weir_node *node)
{
    if (!node)
        return;
    if (atomic_load(&node->state) == WEIR_NODE_RUNNING)
        (void)weir_node_stop(node, 0);
    weir_dial_end_names(node);
    weir_stats_file_close(node);
    weir_series_fini(node);
    for (uint32_t i = 0; i < node->shard_cnt; i++)
        weir_shard_free(node->shards[i]);
    weir_key_wipe(&node->node_key);
    weir_key_wipe(&node->network_key);
    weir_heap_release(node->shards);
    weir_heap_release(node->channel_idx_of);
    while (node->dial_cnt)
        weir_heap_release(node->dials[--node->dial_cnt].target);
    weir_heap_release_table(node->dials, node->cfg.dials_max * sizeof(*node->dials));
    weir_directory_fini(node);
    if (node->has_guard)
        weir_guard_fini(node);
    weir_twins_fini(&node->twins);
    pthread_cond_destroy(&node->cond);
    pthread_mutex_destroy(&node->mutex);
    explicit_bzero(&node->proxy, sizeof(node->proxy)); /* credentials */
    weir_heap_release(node);
}
