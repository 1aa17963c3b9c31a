#include "bench/weir_side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/net.h"
#include "bench/weir_watch.h"

#define QUEUES_BYTES (256u << 20) /* of all connections of a run together */
#define WATCH_NS \
    (10 * WEIR_NS_PER_S) /* a run that lasts so long and was never looked at is no result */
#define QUEUE_BYTES_LEAST (64u << 10) /* what one send offers the kernel, of every implementation */

static bool is_environment(int error)
{
    return error == WEIR_E_NO_URING || error == WEIR_E_KERNEL || error == WEIR_E_MEMLOCK ||
           error == WEIR_E_DESCRIPTORS;
}

void weir_side_fail(struct weir_side *side, const char *what, int error)
{
    if (!side->is_failed)
        bench_fail(side->run, is_environment(error) ? BENCH_E_ENVIRONMENT : BENCH_E_RUN,
                   "%s: %s: %s %s%s%s", what, weir_error_name(error), weir_error_text(error),
                   weir_error_remedy(error), side->log[0] != 0 ? "; log: " : "", side->log);
    side->is_failed = true;
}

static void on_log(void *ctx, int level, const char *line)
{
    struct weir_side *side = ctx;

    if (level == WEIR_LOG_ERROR)
        snprintf(side->log, sizeof(side->log), "%s", line);
}

static void on_peer(void *role, weir_peer peer, int event, int reason)
{
    /* Every role begins with its side. */
    struct weir_side *side = role;

    if (event == WEIR_PEER_UP) {
        side->peer = peer;
        if (side->hooks->on_up != NULL)
            side->hooks->on_up(role, peer);
        return;
    }
    if (atomic_load_explicit(&side->run->shared->phase, memory_order_acquire) == BENCH_DONE)
        return;
    if (side->hooks->on_end != NULL) {
        side->hooks->on_end(role, peer, event, reason);
        return;
    }
    if (!side->is_failed)
        bench_fail(side->run, BENCH_E_RUN, "the connection %s: %s: %s",
                   event == WEIR_PEER_DOWN ? "ended" : "failed", weir_reason_name(reason),
                   weir_reason_text(reason));
    side->is_failed = true;
}

static void refresh(struct bench_run *run, void *ctx)
{
    static struct weir_metrics metrics; /* large */
    struct weir_side *side = ctx;

    if (side->hooks->collect != NULL)
        side->hooks->collect(side->role);
    metrics.size = sizeof(metrics);
    if (weir_metrics_read(side->node, &metrics) != 0)
        return;
    run->counts.syscalls = metrics.syscalls;
    run->counts.completions = metrics.completions;
    run->counts.turns = metrics.turns;
    run->counts.cookies = metrics.cookies_sent;
    run->counts.newcomers = metrics.accepted + metrics.refused;
    run->counts.handshakes = /* in plain nobody counts them, and all are served */
        run->impl == &bench_weir ? metrics.accepted : metrics.handshakes_served;
    run->counts.stalls = 0;
    for (uint32_t i = 0; i < metrics.channel_cnt && i < WEIR_CHANNELS_MAX; i++)
        run->counts.stalls += metrics.channels[i].credit_stalls;
}

uint32_t weir_side_queue_bytes(const struct bench_job *job)
{
    struct weir_channel channel;

    /* The default, or what weir makes of a large message's; among many connections, as an application
     * does that has many peers, a share of what all may hold together. */
    weir_channel_init(&channel, 0);
    uint32_t least = 2 * job->size < QUEUE_BYTES_LEAST ? QUEUE_BYTES_LEAST : 2 * job->size;
    uint32_t most = channel.send_bytes_max < least ? least : channel.send_bytes_max;
    uint32_t share = QUEUES_BYTES / job->conn_cnt;
    return job->conn_cnt == 1 || share > most ? most : share < least ? least : share;
}

static void describe_channels(const struct bench_job *job, struct weir_channel *ret_channels)
{
    for (uint32_t i = 0; i < job->channel_cnt; i++) {
        struct weir_channel *channel = &ret_channels[i];
        weir_channel_init(channel, (uint16_t)i);
        channel->weight = job->channels[i].weight;
        channel->flags = job->channels[i].is_urgent ? WEIR_CHANNEL_URGENT : 0;
        if (job->size > channel->msg_bytes_max)
            channel->msg_bytes_max = job->size;
        channel->send_bytes_max = weir_side_queue_bytes(job);
        channel->recv_bytes_max = 0; /* the default for such messages */
        if (channel->msg_bytes_max > channel->send_bytes_max)
            channel->msg_bytes_max = channel->send_bytes_max;
    }
}

/* What many connections ask of the configuration. */
static void make_room(struct weir_config *cfg, const struct bench_run *run)
{
    const struct bench_job *job = run->job;

    cfg->shard_cnt = job->shard_cnt;
    cfg->socket_send_bytes = job->send_buffer;
    if (job->conn_cnt <= cfg->peers_max)
        return;
    cfg->peers_max = job->conn_cnt;
    if (run->who == BENCH_SENDER)
        cfg->dials_max = job->conn_cnt;
}

/* At 127.0.0.1, and at the other addresses with the same port where the case has many connections. */
static int listen_at(weir_node *node, const struct weir_side_hooks *hooks)
{
    char address[32] = "127.0.0.1:0", first[128];
    int error = weir_node_listen(node, address);

    if (error == 0)
        error = weir_node_address(node, 0, first, sizeof(first));
    for (uint32_t i = 1; error == 0 && hooks->is_dialer && i < BENCH_NET_ADDRESSES; i++) {
        snprintf(address, sizeof(address), "127.0.0.%u%s", i + 1, strrchr(first, ':'));
        error = weir_node_listen(node, address);
    }
    return error;
}

/* Tells the sender the port behind the last colon of the listener's address. */
static int publish_port(struct weir_side *side)
{
    char address[128];
    int error = weir_node_address(side->node, 0, address, sizeof(address));

    if (error != 0)
        return error;
    const char *colon = strrchr(address, ':');
    atomic_store_explicit(&side->run->shared->port,
                          colon == NULL ? 0 : (uint32_t)strtoul(colon + 1, NULL, 10),
                          memory_order_release);
    return 0;
}

void weir_side_transport(const struct bench_run *run, struct weir_config *ret_cfg)
{
    bool is_plain = run->impl == &bench_weir || run->impl == &bench_weir_watched;
    ret_cfg->secure = is_plain ? WEIR_SECURE_PLAIN : WEIR_SECURE_REQUIRE;
    if (run->impl == &bench_weir_aes)
        ret_cfg->cipher = WEIR_CIPHER_AES_256_GCM;
}

/* Creates, attaches, listens and starts; says which of them failed. */
static int start(struct weir_side *side, const struct weir_reactor *reactor, const char **ret_step)
{
    const struct bench_job *job = side->run->job;
    struct weir_channel channels[BENCH_CHANNELS_MAX];
    struct weir_reactor own = *reactor;
    struct weir_config cfg;

    weir_config_init(&cfg);
    side->has_threads = job->which == BENCH_SHARDS;
    cfg.flags = (side->has_threads ? WEIR_CONFIG_PIN : WEIR_CONFIG_CALLER_TURNS) |
                (job->is_busy ? WEIR_CONFIG_BUSY_POLL : 0);
    cfg.network_id = "weir-bench";
    if (job->conn_cnt > 1 || bench_has_newcomers(job->which))
        cfg.flags |= WEIR_CONFIG_TWINS; /* two nodes, many connections */
    if (job->which == BENCH_FLOOD && side->run->who == BENCH_RECEIVER)
        cfg.flags |=
            WEIR_CONFIG_LIMIT_LOOPBACK; /* strangers are such, though they are of this machine */
    weir_side_transport(side->run, &cfg);
    bool is_watched = side->run->impl == &bench_weir_watched;
    if (is_watched)
        side->watch = weir_watch_create(&cfg);
    cfg.tcp_congestion = job->congestion;
    cfg.socket_recv_bytes = job->recv_buffer;
    cfg.log = on_log;
    cfg.log_ctx = side;
    make_room(&cfg, side->run);
    own.size = sizeof(own);
    own.ctx = side->role;
    own.on_peer = on_peer;
    describe_channels(job, channels);

    *ret_step = "weir_node_create";
    int error =
        is_watched && side->watch == NULL ? WEIR_E_NOMEM : weir_node_create(&side->node, &cfg);
    if (error == 0) {
        *ret_step = "weir_node_attach";
        error = weir_node_attach(side->node, &own, channels, job->channel_cnt);
    }
    if (error == 0 && side->run->who == BENCH_RECEIVER) {
        *ret_step = "weir_node_listen";
        error = listen_at(side->node, side->hooks);
    }
    if (error == 0 && is_watched) {
        *ret_step = "weir_metrics_listen";
        error = weir_watch_listen(side->watch, side->node);
    }
    if (error == 0) {
        *ret_step = "weir_node_start";
        error = weir_node_start(side->node);
    }
    if (error == 0 && is_watched) {
        *ret_step = "a thread that scrapes";
        error = weir_watch_begin(side->watch);
    }
    side->opened_ns = bench_now();
    return error;
}

bool weir_side_open(struct weir_side *side, struct bench_run *run,
                    const struct weir_reactor *reactor, const struct weir_side_hooks *hooks,
                    void *role)
{
    static const struct weir_side_hooks no_hooks;
    const char *step;

    side->run = run;
    side->hooks = hooks == NULL ? &no_hooks : hooks;
    side->role = role;
    int error = start(side, reactor, &step);
    if (error == 0 && run->who == BENCH_RECEIVER) {
        step = "weir_node_address";
        error = publish_port(side);
    }
    if (error != 0) {
        weir_side_fail(side, step, error);
        return false;
    }
    run->refresh = refresh;
    run->refresh_ctx = side;
    if (run->who == BENCH_RECEIVER)
        return true;
    side->port = bench_await_port(run);
    if (side->port == 0) {
        bench_fail(run, BENCH_E_RUN, "the receiver did not begin to listen");
        return false;
    }
    return side->hooks->is_dialer || weir_side_dial(side, 0);
}

bool weir_side_dial(struct weir_side *side, uint32_t nth)
{
    char address[32];

    snprintf(address, sizeof(address), "127.0.0.%u:%u", nth % BENCH_NET_ADDRESSES + 1, side->port);
    int error = weir_dial(side->node, address, 0);
    if (error != 0)
        weir_side_fail(side, "weir_dial", error);
    return error == 0;
}

bool weir_side_turn(struct weir_side *side, weir_ns wait)
{
    if (side->has_threads) {
        const struct timespec nap = {.tv_nsec = WEIR_NS_PER_MS};
        nanosleep(&nap, NULL);
        if (side->hooks->collect != NULL)
            side->hooks->collect(side->role);
        return !side->is_failed;
    }
    int64_t cnt = weir_node_turn(side->node, 0, wait);

    if (cnt < 0)
        weir_side_fail(side, "weir_node_turn", (int)cnt);
    if (side->hooks->collect != NULL)
        side->hooks->collect(side->role);
    return !side->is_failed;
}

void weir_side_close(struct weir_side *side)
{
    weir_ns end = bench_now() + WEIR_NS_PER_S;

    if (side->watch != NULL && weir_watch_end(side->watch) == 0 &&
        bench_now() - side->opened_ns > WATCH_NS)
        bench_fail(side->run, BENCH_E_RUN, "nobody could read the metrics");
    if (weir_node_stop(side->node, 0) == 0 && !side->has_threads)
        while (weir_node_turn(side->node, 0, WEIR_NS_PER_MS) >= 0 && bench_now() < end)
            ;
    weir_node_free(side->node);
    weir_watch_free(side->watch);
}

bool weir_side_sent(struct weir_side *side, uint32_t channel, uint32_t len, int error)
{
    struct bench_counts *counts = &side->run->counts;

    if (error == 0) {
        counts->msgs[channel]++;
        counts->bytes[channel] += len;
        return true;
    }
    if (error == WEIR_E_FULL)
        counts->refused[channel]++;
    else
        weir_side_fail(side, "sending", error);
    return false;
}

bool weir_side_send(struct weir_side *side, uint32_t channel, const void *data, uint32_t len)
{
    return weir_side_sent(side, channel, len,
                          weir_try_send(side->node, side->peer, (uint16_t)channel, data, len));
}
