#include "engine/node/gather.h"

#include <stdio.h>
#include <string.h>

#include "engine/node/text.h"

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* ---- one per shard ------------------------------------------------------------------------- */

struct shard_row {
    const char *name, *help;
    size_t offset; /* in struct weir_hub_metrics */
    enum weir_series_type type;
    enum weir_series_unit unit;
};

static const struct shard_row shard_rows[] = {
#define ROW(field, name, type, unit, help) \
    {name, help, offsetof(struct weir_hub_metrics, field), WEIR_SERIES_##type, WEIR_SERIES_##unit},
    WEIR_SHARD_SERIES(ROW)
#undef ROW
};

static void shard_label(char ret_labels[WEIR_LABELS_BYTES], uint32_t idx)
{
    snprintf(ret_labels, WEIR_LABELS_BYTES, "shard=\"%u\"", idx);
}

static void gather_shards(weir_node *node, uint32_t shard_cnt, const struct weir_gather_sink *sink)
{
    char labels[WEIR_LABELS_BYTES];
    for (size_t i = 0; i < sizeof(shard_rows) / sizeof(shard_rows[0]); i++) {
        const struct shard_row *row = &shard_rows[i];
        sink->family(sink->ctx, row->name, row->type, row->help);
        for (uint32_t k = 0; k < shard_cnt; k++) {
            const uint8_t *metrics = (const uint8_t *)&node->shards[k]->hub.metrics;
            const void *at = metrics + row->offset;
            shard_label(labels, k);
            sink->sample(sink->ctx, "", labels, get(at), row->unit);
        }
    }
}

/* What a shard keeps elsewhere. */
static void gather_more(weir_node *node, uint32_t shard_cnt, const struct weir_gather_sink *sink)
{
    char labels[WEIR_LABELS_BYTES];
    sink->family(sink->ctx, "weir_mailbox_bytes", WEIR_SERIES_GAUGE,
                 "Calls of other threads that wait");
    for (uint32_t i = 0; i < shard_cnt; i++) {
        shard_label(labels, i);
        sink->sample(sink->ctx, "", labels, get(&node->shards[i]->mailbox.bytes), WEIR_SERIES_ONE);
    }
    sink->family(sink->ctx, "weir_heap_allocations_total", WEIR_SERIES_COUNTER,
                 "Allocations; none in the steady state");
    for (uint32_t i = 0; i < shard_cnt; i++) {
        const struct weir_shard *shard = node->shards[i];
        bool is_owned = atomic_load_explicit(&shard->is_owned, memory_order_acquire);
        shard_label(labels, i);
        sink->sample(sink->ctx, "", labels, is_owned ? weir_heap_alloc_cnt(shard->hub.heap) : 0,
                     WEIR_SERIES_ONE);
    }
}

static void gather_rtt(weir_node *node, uint32_t shard_cnt, const struct weir_gather_sink *sink)
{
    uint64_t cnts[WEIR_RTT_BUCKETS] = {0}, sum_ns = 0;
    for (uint32_t i = 0; i < shard_cnt; i++) {
        const struct weir_hub_metrics *metrics = &node->shards[i]->hub.metrics;
        for (uint32_t k = 0; k < WEIR_RTT_BUCKETS; k++)
            cnts[k] += get(&metrics->rtt_cnts[k]);
        sum_ns += get(&metrics->rtt_sum_ns);
    }
    sink->family(sink->ctx, "weir_rtt_seconds", WEIR_SERIES_HISTOGRAM, "Round-trip times of pings");
    uint64_t below = 0;
    for (uint32_t k = 0; k < WEIR_RTT_BUCKETS; k++) {
        char labels[WEIR_LABELS_BYTES];
        below += cnts[k];
        if (k == WEIR_RTT_BUCKETS - 1)
            snprintf(labels, sizeof(labels), "le=\"+Inf\"");
        else
            snprintf(labels, sizeof(labels), "le=\"%g\"", (double)weir_rtt_bounds_ns[k] / 1e9);
        sink->sample(sink->ctx, "_bucket", labels, below, WEIR_SERIES_ONE);
    }
    sink->sample(sink->ctx, "_sum", "", sum_ns, WEIR_SERIES_NS);
    sink->sample(sink->ctx, "_count", "", below, WEIR_SERIES_ONE);
}

/* ---- one per channel ----------------------------------------------------------------------- */

static void channel_label(char ret_labels[WEIR_LABELS_BYTES], const struct weir_channel *channel)
{
    char name[72];
    weir_text_label(name, sizeof(name), channel->name);
    snprintf(ret_labels, WEIR_LABELS_BYTES, "channel=\"%u\",name=\"%s\"", channel->id, name);
}

struct channel_row {
    const char *name, *help;
    size_t offset; /* from the channel's first counter */
    enum weir_series_type type;
    enum weir_series_unit unit;
};

#define CHANNEL_AT(field)                                   \
    (offsetof(struct weir_hub_metrics, channels[0].field) - \
     offsetof(struct weir_hub_metrics, channels[0]))

static const struct channel_row channel_rows[] = {
#define ROW(field, name, type, unit, help) \
    {name, help, CHANNEL_AT(field), WEIR_SERIES_##type, WEIR_SERIES_##unit},
    WEIR_CHANNEL_SERIES(ROW)
#undef ROW
};

static uint64_t channel_sum(weir_node *node, uint32_t shard_cnt, uint32_t channel_idx,
                            const struct channel_row *row)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < shard_cnt; i++) {
        const struct weir_hub_metrics *metrics = &node->shards[i]->hub.metrics;
        const void *at = (const uint8_t *)&metrics->channels[channel_idx] + row->offset;
        sum += get(at);
        if (row->offset == CHANNEL_AT(refused))
            sum += get(&metrics->channels[channel_idx].refused_away);
    }
    return sum;
}

/* What lies in the queues of all peers: counted here, because a sum kept on the data path would cost each message. */
static void sum_queues(const struct weir_shard *shard, uint32_t channel_cnt,
                       uint64_t sums[WEIR_CHANNELS_MAX])
{
    const struct weir_hub *hub = &shard->hub;
    if (!atomic_load_explicit(&shard->is_owned, memory_order_acquire))
        return;
    uint32_t slot_cnt = atomic_load_explicit(&hub->slots_used, memory_order_relaxed);
    for (uint32_t i = 0; i < slot_cnt; i++) {
        const struct weir_conn_channel *channels = hub->conn_channels + (size_t)i * channel_cnt;
        for (uint32_t k = 0; k < channel_cnt; k++)
            sums[k] += get(&channels[k].queued_bytes);
    }
}

static void gather_channels(weir_node *node, uint32_t shard_cnt,
                            const struct weir_gather_sink *sink)
{
    char labels[WEIR_LABELS_BYTES];
    for (size_t i = 0; i < sizeof(channel_rows) / sizeof(channel_rows[0]); i++) {
        const struct channel_row *row = &channel_rows[i];
        sink->family(sink->ctx, row->name, row->type, row->help);
        for (uint32_t k = 0; k < node->channel_cnt; k++) {
            channel_label(labels, &node->channels[k]);
            sink->sample(sink->ctx, "", labels, channel_sum(node, shard_cnt, k, row), row->unit);
        }
    }
    uint64_t queued[WEIR_CHANNELS_MAX] = {0};
    for (uint32_t i = 0; i < shard_cnt; i++)
        sum_queues(node->shards[i], node->channel_cnt, queued);
    sink->family(sink->ctx, "weir_channel_queue_bytes", WEIR_SERIES_GAUGE,
                 "Bytes in the send queues of all peers, those in flight included");
    for (uint32_t k = 0; k < node->channel_cnt; k++) {
        channel_label(labels, &node->channels[k]);
        sink->sample(sink->ctx, "", labels, queued[k], WEIR_SERIES_ONE);
    }
}

/* ---- one per reason, one per node ---------------------------------------------------------- */

static void gather_reasons(weir_node *node, uint32_t shard_cnt, const struct weir_gather_sink *sink)
{
    char labels[WEIR_LABELS_BYTES];
    sink->family(sink->ctx, "weir_closes_total", WEIR_SERIES_COUNTER,
                 "Connections ended, refused and attempted in vain, by reason");
    for (int reason = 1; reason < WEIR_REASON_CNT; reason++) {
        const char *name = weir_reason_name(reason);
        if (strcmp(name, "unknown") == 0)
            continue; /* a number that is not taken */
        uint64_t sum = 0;
        for (uint32_t i = 0; i < shard_cnt; i++)
            sum += get(&node->shards[i]->hub.metrics.closes[reason]);
        snprintf(labels, sizeof(labels), "reason=\"%s\"", name);
        sink->sample(sink->ctx, "", labels, sum, WEIR_SERIES_ONE);
    }
}

static void one(const struct weir_gather_sink *sink, const char *name, enum weir_series_type type,
                const char *help, uint64_t value, enum weir_series_unit unit)
{
    sink->family(sink->ctx, name, type, help);
    sink->sample(sink->ctx, "", "", value, unit);
}

static void gather_node(weir_node *node, const struct weir_gather_sink *sink)
{
    char labels[WEIR_LABELS_BYTES], network[2 * WEIR_NETWORK_ID_BYTES_MAX + 3];
    weir_text_label(network, sizeof(network), node->network_id);
    snprintf(labels, sizeof(labels), "version=\"%s\",network=\"%s\"", weir_version(), network);
    sink->family(sink->ctx, "weir_info", WEIR_SERIES_GAUGE, "What runs: always 1");
    sink->sample(sink->ctx, "", labels, 1, WEIR_SERIES_ONE);
    one(sink, "weir_start_time_seconds", WEIR_SERIES_GAUGE, "When the node was made (Unix time)",
        node->made_wall_ns, WEIR_SERIES_NS);
    const struct weir_config *cfg = &node->cfg;
    one(sink, "weir_connections_max", WEIR_SERIES_GAUGE, "Connections that there is room for",
        (uint64_t)cfg->peers_max * cfg->shard_cnt, WEIR_SERIES_ONE);
    one(sink, "weir_pool_max_bytes", WEIR_SERIES_GAUGE, "Message memory that shards may use",
        cfg->pool_bytes_max * cfg->shard_cnt, WEIR_SERIES_ONE);
    pthread_mutex_lock(&node->mutex);
    uint32_t dial_cnt = node->dial_cnt;
    pthread_mutex_unlock(&node->mutex);
    one(sink, "weir_dials", WEIR_SERIES_GAUGE, "Addresses and names being dialed, or kept dialed",
        dial_cnt, WEIR_SERIES_ONE);
    pthread_mutex_lock(&node->guard.mutex);
    uint64_t bans = weir_bans_cnt(node->guard.bans), points = node->guard.points;
    uint64_t bans_made = node->guard.bans_made;
    pthread_mutex_unlock(&node->guard.mutex);
    one(sink, "weir_bans", WEIR_SERIES_GAUGE, "Bans that hold", bans, WEIR_SERIES_ONE);
    one(sink, "weir_bans_made_total", WEIR_SERIES_COUNTER, "Bans made", bans_made, WEIR_SERIES_ONE);
    one(sink, "weir_misbehaviour_points_total", WEIR_SERIES_COUNTER,
        "Points of misbehaviour given to addresses", points, WEIR_SERIES_ONE);
}

void weir_gather(weir_node *node, const struct weir_gather_sink *sink)
{
    weir_burst_end();
    pthread_mutex_lock(&node->mutex);
    uint32_t shard_cnt = node->shard_cnt, series_cnt = node->series_cnt;
    pthread_mutex_unlock(&node->mutex);
    gather_node(node, sink);
    gather_shards(node, shard_cnt, sink);
    gather_more(node, shard_cnt, sink);
    gather_rtt(node, shard_cnt, sink);
    gather_channels(node, shard_cnt, sink);
    gather_reasons(node, shard_cnt, sink);
    weir_gather_series(node, series_cnt, sink);
}
