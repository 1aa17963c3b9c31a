#include "bench/weir_side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        if (side->on_up != NULL)
            side->on_up(role);
        return;
    }
    if (atomic_load_explicit(&side->run->shared->phase, memory_order_acquire) == BENCH_DONE)
        return;
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

    metrics.size = sizeof(metrics);
    if (weir_metrics_read(side->node, &metrics) != 0)
        return;
    run->counts.syscalls = metrics.syscalls;
    run->counts.turns = metrics.turns;
    run->counts.stalls = 0;
    for (uint32_t i = 0; i < metrics.channel_cnt && i < WEIR_CHANNELS_MAX; i++)
        run->counts.stalls += metrics.channels[i].credit_stalls;
}

static void describe_channels(const struct bench_job *job, struct weir_channel *ret_channels)
{
    for (uint32_t i = 0; i < job->channel_cnt; i++) {
        struct weir_channel *channel = &ret_channels[i];
        weir_channel_init(channel, (uint16_t)i);
        channel->weight = job->channels[i].weight;
        channel->flags = job->channels[i].is_urgent ? WEIR_CHANNEL_URGENT : 0;
        if (job->size > channel->msg_bytes_max) {
            channel->msg_bytes_max = job->size;
            channel->send_bytes_max = channel->recv_bytes_max = 0; /* the defaults for that */
        }
    }
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

bool weir_side_open(struct weir_side *side, struct bench_run *run,
                    const struct weir_reactor *reactor, void (*on_up)(void *role), void *role)
{
    const struct bench_job *job = run->job;
    struct weir_channel channels[BENCH_CHANNELS_MAX];
    struct weir_reactor own = *reactor;
    struct weir_config cfg;
    char address[32] = "127.0.0.1:0";
    const char *step = "weir_node_create";
    int error;

    *side = (struct weir_side){.run = run, .on_up = on_up};
    weir_config_init(&cfg);
    cfg.flags = WEIR_CONFIG_CALLER_TURNS | (job->is_busy ? WEIR_CONFIG_BUSY_POLL : 0);
    cfg.network_id = "weir-bench";
    cfg.tcp_congestion = job->congestion;
    cfg.socket_recv_bytes = job->recv_buffer;
    cfg.log = on_log;
    cfg.log_ctx = side;
    own.size = sizeof(own);
    own.ctx = role;
    own.on_peer = on_peer;
    describe_channels(job, channels);

    error = weir_node_create(&side->node, &cfg);
    if (error == 0) {
        step = "weir_node_attach";
        error = weir_node_attach(side->node, &own, channels, job->channel_cnt);
    }
    if (error == 0 && run->who == BENCH_RECEIVER) {
        step = "weir_node_listen";
        error = weir_node_listen(side->node, address);
    }
    if (error == 0) {
        step = "weir_node_start";
        error = weir_node_start(side->node);
    }
    if (error == 0 && run->who == BENCH_RECEIVER) {
        step = "weir_node_address";
        error = publish_port(side);
    } else if (error == 0) {
        uint16_t port = bench_await_port(run);
        if (port == 0) {
            bench_fail(run, BENCH_E_RUN, "the receiver did not begin to listen");
            return false;
        }
        snprintf(address, sizeof(address), "127.0.0.1:%u", port);
        step = "weir_dial";
        error = weir_dial(side->node, address, 0);
    }
    if (error != 0) {
        weir_side_fail(side, step, error);
        return false;
    }
    run->refresh = refresh;
    run->refresh_ctx = side;
    return true;
}

bool weir_side_turn(struct weir_side *side, weir_ns wait)
{
    int64_t cnt = weir_node_turn(side->node, 0, wait);

    if (cnt < 0)
        weir_side_fail(side, "weir_node_turn", (int)cnt);
    return !side->is_failed;
}

void weir_side_close(struct weir_side *side)
{
    weir_ns end = bench_now() + WEIR_NS_PER_S;

    if (weir_node_stop(side->node, 0) == 0)
        while (weir_node_turn(side->node, 0, WEIR_NS_PER_MS) >= 0 && bench_now() < end)
            ;
    weir_node_free(side->node);
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
