#include "engine/node/expose.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/node/gather.h"

/* ---- the node ------------------------------------------------------------------------------ */

struct exposing {
    struct weir_text *text;
    const char *name; /* of the family */
};

static void on_family(void *ctx, const char *name, enum weir_series_type type, const char *help)
{
    static const char *const types[] = {"?", "counter", "gauge", "histogram"};
    struct exposing *exposing = ctx;
    struct weir_text *text = exposing->text;
    exposing->name = name;
    weir_text_put(text, "# HELP ");
    weir_text_put(text, name);
    weir_text_put(text, " ");
    weir_text_put(text, help); /* ours: nothing to escape */
    weir_text_put(text, "\n# TYPE ");
    weir_text_put(text, name);
    weir_text_put(text, " ");
    weir_text_put(text, types[type]);
    weir_text_put(text, "\n");
}

static void on_sample(void *ctx, const char *suffix, const char *labels, uint64_t value,
                      enum weir_series_unit unit)
{
    const struct exposing *exposing = ctx;
    struct weir_text *text = exposing->text;
    weir_text_put(text, exposing->name);
    weir_text_put(text, suffix);
    if (labels[0]) {
        weir_text_put(text, "{");
        weir_text_put(text, labels);
        weir_text_put(text, "}");
    }
    weir_text_put(text, " ");
    if (unit == WEIR_SERIES_NS)
        weir_text_seconds(text, value);
    else
        weir_text_number(text, value);
    weir_text_put(text, "\n");
}

void weir_expose_node(struct weir_text *text, weir_node *node)
{
    struct exposing exposing = {.text = text};
    struct weir_gather_sink sink = {.ctx = &exposing, .family = on_family, .sample = on_sample};
    weir_gather(node, &sink);
}

/* ---- peers --------------------------------------------------------------------------------- */

struct peer_series {
    const char *name, *help;
    size_t offset;
    enum weir_series_type type;
    enum weir_series_unit unit;
};

#define PEER(field, name, type, unit, help)                                                       \
    {                                                                                             \
        name, help, offsetof(struct weir_peer_row, field), WEIR_SERIES_##type, WEIR_SERIES_##unit \
    }

static const struct peer_series peer_series[] = {
    PEER(wire_tx, "weir_peer_sent_bytes_total", COUNTER, ONE, "Bytes that the kernel took"),
    PEER(wire_rx, "weir_peer_received_bytes_total", COUNTER, ONE, "Bytes that arrived"),
    PEER(queued, "weir_peer_queue_bytes", GAUGE, ONE, "Bytes waiting to be sent"),
    PEER(held, "weir_peer_held_bytes", GAUGE, ONE, "Received bytes partial, paused or kept"),
    PEER(rtt_ns, "weir_peer_rtt_seconds", GAUGE, NS, "Smoothed round-trip time"),
    PEER(rtt_min_ns, "weir_peer_rtt_min_seconds", GAUGE, NS, "Least round-trip time"),
    PEER(stalls, "weir_peer_credit_stalls_total", COUNTER, ONE,
         "Times a channel had bytes to send and no credit"),
    PEER(first_cnt, "weir_peer_delivered_first_total", COUNTER, ONE,
         "Messages that this peer brought before any other"),
    PEER(again_cnt, "weir_peer_delivered_again_total", COUNTER, ONE,
         "Messages that another peer had brought before"),
    PEER(up_ns, "weir_peer_up_seconds", GAUGE, NS, "For how long the connection exists"),
};

void weir_expose_peers(struct weir_text *text, const struct weir_peer_row *rows, uint32_t row_cnt)
{
    struct exposing exposing = {.text = text};
    for (size_t i = 0; row_cnt && i < sizeof(peer_series) / sizeof(peer_series[0]); i++) {
        const struct peer_series *series = &peer_series[i];
        on_family(&exposing, series->name, series->type, series->help);
        for (uint32_t k = 0; k < row_cnt; k++) {
            char labels[2 * WEIR_ADDR_TEXT_BYTES + 96], address[2 * WEIR_ADDR_TEXT_BYTES];
            uint64_t value;
            weir_text_label(address, sizeof(address), rows[k].address);
            snprintf(labels, sizeof(labels),
                     "peer=\"%016" PRIx64 "\",address=\"%s\",direction=\"%s\"", rows[k].peer,
                     address, rows[k].is_dialer ? "dialed" : "accepted");
            memcpy(&value, (const uint8_t *)&rows[k] + series->offset, sizeof(value));
            on_sample(&exposing, "", labels, value, series->unit);
        }
    }
}

uint32_t weir_peer_rows(struct weir_shard *shard, struct weir_peer_row *ret_rows, uint32_t row_max)
{
    weir_burst_end();
    const struct weir_hub *hub = &shard->hub;
    uint32_t cnt = 0;
    uint32_t slot_cnt = atomic_load_explicit(&hub->slots_used, memory_order_relaxed);
    for (uint32_t i = 0; i < slot_cnt && cnt < row_max; i++) {
        const struct weir_conn *conn = &hub->conns[i];
        if (conn->state != WEIR_CONN_READY)
            continue;
        struct weir_peer_row *row = &ret_rows[cnt++];
        *row = (struct weir_peer_row){
            .peer = weir_peer_of(conn).v,
            .is_dialer = (conn->flags & WEIR_CONN_IS_DIALER) != 0,
            .wire_tx = conn->wire_tx,
            .wire_rx = conn->wire_rx,
            .queued = conn->bytes_queued,
            .held = conn->bytes_held,
            .rtt_ns = conn->rtt_ns,
            .rtt_min_ns = conn->rtt_min_ns,
            .stalls = conn->stall_cnt,
            .first_cnt = conn->first_cnt,
            .again_cnt = conn->again_cnt,
            .up_ns = hub->now_ns - conn->opened_ns,
        };
        if (conn->addr.family != WEIR_ADDR_NONE)
            weir_addr_format(&conn->addr, row->address);
    }
    return cnt;
}

/* ---- public -------------------------------------------------------------------------------- */

int64_t weir_metrics_text(weir_node *node, char *ret_text, size_t text_max)
{
    if (!node || (!ret_text && text_max))
        return WEIR_E_MISUSE;
    struct weir_text text;
    weir_text_init(&text, WEIR_EXPOSE_BYTES_MAX);
    weir_expose_node(&text, node);
    int64_t res = text.is_short ? WEIR_E_NOMEM : (int64_t)text.len;
    if (res >= 0 && (size_t)res < text_max)
        memcpy(ret_text, text.data, text.len + 1);
    weir_text_free(&text);
    return res;
}
