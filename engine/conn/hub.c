#include "engine/conn/conn.h"

#include "engine/base/check.h"
#include "engine/conn/tx.h"
#include "weir/error.h"

/* The tables that peers_max sizes: of what no connection has used, nothing is resident but the slots themselves. */
struct table_bytes {
    size_t conns, conn_channels, codec_states, finish_tags;
};

static struct table_bytes table_bytes_of(const struct weir_hub *hub)
{
    size_t conn_cnt = hub->cfg->peers_max;
    return (struct table_bytes){.conns = conn_cnt * sizeof(struct weir_conn),
                                .conn_channels =
                                    conn_cnt * hub->channel_cnt * sizeof(struct weir_conn_channel),
                                .codec_states = conn_cnt * hub->codec_stride,
                                .finish_tags = conn_cnt * hub->channel_cnt * sizeof(uint64_t)};
}

int weir_hub_init(struct weir_hub *hub)
{
    uint32_t conn_cnt = hub->cfg->peers_max;
    uint32_t channel_cnt = hub->channel_cnt;
    size_t state_bytes = weir_codec_state_bytes(hub->codec, channel_cnt);
    if (hub->secure_codec)
        state_bytes =
            weir_max_u64(state_bytes, weir_codec_state_bytes(hub->secure_codec, channel_cnt));
    hub->codec_stride = (state_bytes + 63) & ~(size_t)63;
    const struct table_bytes bytes = table_bytes_of(hub);
    hub->conns = weir_heap_alloc_table(hub->heap, bytes.conns);
    hub->conn_channels = weir_heap_alloc_table(hub->heap, bytes.conn_channels);
    hub->codec_states = weir_heap_alloc_table(hub->heap, bytes.codec_states);
    hub->finish_tags = weir_heap_alloc_table(hub->heap, bytes.finish_tags);
    int error = weir_rates_init(hub);
    if (error || !hub->conns || !hub->conn_channels || !hub->codec_states || !hub->finish_tags) {
        weir_hub_fini(hub);
        weir_hub_free(hub);
        return WEIR_E_NOMEM;
    }
    for (uint32_t i = 0; i < channel_cnt; i++) {
        hub->costs[i] = weir_sched_cost(hub->channels[i].weight);
        if (hub->channels[i].flags & WEIR_CHANNEL_URGENT)
            hub->urgent |= UINT64_C(1) << i;
    }
    for (uint32_t i = conn_cnt; i-- > 0;) {
        struct weir_conn *conn = &hub->conns[i];
        conn->hub = hub;
        conn->slot = i;
        conn->gen = 1;
        conn->sock = -1;
        conn->channels = hub->conn_channels + (size_t)i * channel_cnt;
        conn->codec_state = hub->codec_states + i * hub->codec_stride;
        conn->next_free = hub->free_conns;
        hub->free_conns = conn;
    }
    return 0;
}

void weir_hub_fini(struct weir_hub *hub)
{
    weir_burst_end();
    for (uint32_t i = 0; hub->conns && i < hub->cfg->peers_max; i++) {
        struct weir_conn *conn = &hub->conns[i];
        if (conn->state == WEIR_CONN_FREE)
            continue;
        atomic_store_explicit(&conn->live_gen, 0, memory_order_release);
        conn->flags &= ~(uint32_t)WEIR_CONN_OP_SEND;
        if (conn->sock >= 0)
            hub->io->ops->close(hub->io, conn->sock);
        weir_prelude_drop(conn);
        weir_wheel_cancel(hub->wheel, &conn->timer);
        if (hub->rates)
            weir_rates_end(conn);
        weir_rx_reset(conn);
        weir_tx_reset(conn);
        weir_sendq_reset(conn);
        weir_conn_end_codec(conn);
        weir_heap_release(conn->text);
    }
    weir_wheel_cancel(hub->wheel, &hub->keeper.timer);
    while (hub->all_tx) {
        struct weir_tx *tx = hub->all_tx;
        hub->all_tx = tx->next_all;
        weir_heap_release(tx->sealed);
        weir_heap_release(tx);
    }
    while (hub->item_chunks) {
        struct weir_item *chunk = hub->item_chunks;
        hub->item_chunks = chunk->next;
        weir_heap_release(chunk);
    }
    hub->free_tx = NULL;
    hub->free_items = NULL;
    const struct table_bytes bytes = table_bytes_of(hub);
    weir_heap_release_table(hub->codec_states, bytes.codec_states);
    weir_heap_release_table(hub->finish_tags, bytes.finish_tags);
    hub->codec_states = NULL;
    hub->finish_tags = NULL;
    weir_rates_free(hub);
}

void weir_hub_free(struct weir_hub *hub)
{
    if (!hub->cfg)
        return; /* it was never initialised */
    const struct table_bytes bytes = table_bytes_of(hub);
    weir_heap_release_table(hub->conns, bytes.conns);
    weir_heap_release_table(hub->conn_channels, bytes.conn_channels);
    hub->conns = NULL;
    hub->conn_channels = NULL;
}
