#include <string.h>

#include "engine/node/internal.h"

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_channel(struct weir_channel_metrics *sum, const struct weir_hub_metrics *hub,
                        uint32_t idx)
{
    sum->msgs_sent += get(&hub->channels[idx].msgs_tx);
    sum->msgs_received += get(&hub->channels[idx].msgs_rx);
    sum->bytes_sent += get(&hub->channels[idx].bytes_tx);
    sum->bytes_received += get(&hub->channels[idx].bytes_rx);
    sum->msgs_refused += get(&hub->channels[idx].refused) + get(&hub->channels[idx].refused_away);
    sum->frames_dropped += get(&hub->channels[idx].dropped);
    sum->credit_stalls += get(&hub->channels[idx].stalls);
}

static void add_shard(struct weir_metrics *sum, const struct weir_shard *shard,
                      uint32_t channel_cnt)
{
    const struct weir_hub_metrics *hub = &shard->hub.metrics;
    sum->turns += get(&hub->turns);
    sum->syscalls += get(&hub->syscalls);
    sum->completions += get(&hub->completions);
    sum->wire_bytes_sent += get(&hub->wire_tx);
    sum->wire_bytes_received += get(&hub->wire_rx);
    sum->frames_sent += get(&hub->frames_tx);
    sum->frames_received += get(&hub->frames_rx);
    sum->frames_failed += get(&hub->frames_failed);
    sum->accepted += get(&hub->accepted);
    sum->dialed += get(&hub->dialed);
    sum->refused += get(&hub->refused);
    sum->peers += get(&hub->ready_cnt);
    sum->conns += get(&hub->conn_cnt);
    sum->handshakes += get(&hub->handshake_cnt);
    sum->handshakes_served += get(&hub->handshakes_served);
    sum->handshakes_held += get(&hub->handshakes_held);
    sum->accept_rests += get(&hub->accept_rests);
    sum->handshakes_evicted += get(&hub->handshakes_evicted);
    sum->cookies_sent += get(&hub->cookies_tx);
    sum->cookies_returned += get(&hub->cookies_rx);
    sum->pool_bytes += get(&hub->pool_bytes);
    sum->pool_bufs += get(&hub->pool_bufs);
    sum->recv_starved += get(&hub->recv_starved);
    sum->mailbox_bytes += get(&shard->mailbox.bytes);
    sum->broadcasts += get(&hub->broadcasts);
    sum->broadcast_encodes += get(&hub->broadcast_encodes);
    sum->heap_allocs += weir_heap_alloc_cnt(shard->hub.heap);
    for (uint32_t i = 0; i < WEIR_REASON_CNT; i++)
        sum->closes[i] += get(&hub->closes[i]);
    for (uint32_t i = 0; i < sizeof(sum->closes_first) / sizeof(sum->closes_first[0]); i++)
        sum->closes_first[i] = sum->closes[i];
    for (uint32_t i = 0; i < channel_cnt; i++)
        add_channel(&sum->channels[i], hub, i);
}

int weir_metrics_read(weir_node *node, struct weir_metrics *ret_metrics)
{
    weir_burst_end(); /* asked in a callback: what it sent counts */
    if (!node || !ret_metrics || ret_metrics->size < sizeof(uint32_t))
        return WEIR_E_MISUSE;
    uint32_t size = ret_metrics->size;
    if (size > sizeof(*ret_metrics))
        return WEIR_E_VERSION;
    struct weir_metrics sum = {.size = size, .channel_cnt = node->channel_cnt};
    for (uint32_t i = 0; i < node->channel_cnt; i++)
        sum.channels[i].id = node->channels[i].id;
    for (uint32_t i = 0; i < node->shard_cnt; i++)
        add_shard(&sum, node->shards[i], node->channel_cnt);
    pthread_mutex_lock(&node->guard.mutex);
    sum.bans = weir_bans_cnt(node->guard.bans);
    sum.points = node->guard.points;
    pthread_mutex_unlock(&node->guard.mutex);
    memcpy(ret_metrics, &sum, size);
    return 0;
}
