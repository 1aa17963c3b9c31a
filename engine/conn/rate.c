#include "engine/conn/rate.h"

#include <string.h>

#include "engine/base/check.h"
#include "engine/conn/conn.h"
#include "weir/error.h"

struct weir_rates {
    /* Rates per second by kind: of a peer in row 0, of channel i in row i + 1; 0: none. */
    uint64_t per_s[1 + WEIR_CHANNELS_MAX][WEIR_RATE_KINDS];
    uint64_t burst_ns;
    uint32_t row_cnt;
    struct weir_bucket *buckets; /* by slot, row and kind */
    struct weir_timer *timers;   /* by slot */
};

static struct weir_bucket *bucket_of(const struct weir_conn *conn, uint32_t row, uint32_t kind)
{
    const struct weir_rates *rates = conn->hub->rates;
    return &rates->buckets[((size_t)conn->slot * rates->row_cnt + row) * WEIR_RATE_KINDS + kind];
}

/* ---- memory -------------------------------------------------------------------------------- */

static size_t bucket_cnt_of(const struct weir_hub *hub)
{
    return (size_t)hub->cfg->peers_max * hub->rates->row_cnt * WEIR_RATE_KINDS;
}

int weir_rates_init(struct weir_hub *hub)
{
    const struct weir_config *cfg = hub->cfg;
    struct weir_rates own = {.burst_ns = cfg->rate_burst_ns, .row_cnt = 1 + hub->channel_cnt};
    uint64_t *of = own.per_s[0];
    of[WEIR_RATE_SEND_BYTES] = cfg->rate_send_bytes;
    of[WEIR_RATE_SEND_MSGS] = cfg->rate_send_msgs;
    of[WEIR_RATE_RECV_BYTES] = cfg->rate_recv_bytes;
    of[WEIR_RATE_RECV_MSGS] = cfg->rate_recv_msgs;
    for (uint32_t i = 0; i < hub->channel_cnt; i++) {
        const struct weir_channel *channel = &hub->channels[i];
        of = own.per_s[1 + i];
        of[WEIR_RATE_SEND_BYTES] = channel->rate_send_bytes;
        of[WEIR_RATE_SEND_MSGS] = channel->rate_send_msgs;
        of[WEIR_RATE_RECV_BYTES] = channel->rate_recv_bytes;
        of[WEIR_RATE_RECV_MSGS] = channel->rate_recv_msgs;
    }
    bool has_any = hub->upload != NULL;
    for (uint32_t row = 0; row < own.row_cnt; row++)
        for (uint32_t kind = 0; kind < WEIR_RATE_KINDS; kind++)
            has_any |= own.per_s[row][kind] != 0;
    if (!has_any)
        return 0;
    struct weir_rates *rates = weir_heap_alloc(hub->heap, sizeof(*rates));
    if (!rates)
        return WEIR_E_NOMEM;
    *rates = own;
    hub->rates = rates;
    size_t bucket_cnt = bucket_cnt_of(hub);
    rates->buckets = weir_heap_alloc_table(hub->heap, bucket_cnt * sizeof(*rates->buckets));
    rates->timers = weir_heap_alloc_table(hub->heap, cfg->peers_max * sizeof(*rates->timers));
    return rates->buckets && rates->timers ? weir_upload_init(hub) : WEIR_E_NOMEM;
}

void weir_rates_free(struct weir_hub *hub)
{
    if (!hub->rates)
        return;
    weir_upload_free(hub);
    struct weir_rates *rates = hub->rates;
    weir_heap_release_table(rates->buckets, bucket_cnt_of(hub) * sizeof(*rates->buckets));
    weir_heap_release_table(rates->timers, hub->cfg->peers_max * sizeof(*rates->timers));
    weir_heap_release(hub->rates);
    hub->rates = NULL;
}

void weir_rates_begin(struct weir_conn *conn)
{
    struct weir_rates *rates = conn->hub->rates;
    struct weir_timer *timer = &rates->timers[conn->slot];
    timer->kind = WEIR_TIMER_RATE;
    timer->arg = conn->slot;
    memset(bucket_of(conn, 0, 0), 0, rates->row_cnt * WEIR_RATE_KINDS * sizeof(struct weir_bucket));
}

void weir_rates_end(struct weir_conn *conn)
{
    weir_wheel_cancel(conn->hub->wheel, &conn->hub->rates->timers[conn->slot]);
    if (conn->hub->upload_queue)
        weir_upload_leave(conn);
}

/* ---- waiting ------------------------------------------------------------------------------- */

/* Has the connection looked at again at `due_ns`, in whole milliseconds: sooner than it was to be, or not at all. */
static void wait_until(struct weir_conn *conn, uint64_t due_ns)
{
    struct weir_hub *hub = conn->hub;
    struct weir_timer *timer = &hub->rates->timers[conn->slot];
    due_ns = (due_ns + WEIR_NS_PER_MS - 1) / WEIR_NS_PER_MS * WEIR_NS_PER_MS;
    if (weir_timer_is_set(timer) && timer->due_ns <= due_ns)
        return;
    weir_wheel_set(hub->wheel, timer, due_ns);
}

void weir_rates_fire(struct weir_hub *hub, uint32_t arg)
{
    if (arg == WEIR_RATE_UPLOAD) {
        weir_upload_fire(hub);
        return;
    }
    struct weir_conn *conn = &hub->conns[arg];
    if (conn->state != WEIR_CONN_READY && conn->state != WEIR_CONN_GOODBYE)
        return;
    if (conn->credit_due)
        conn->flags |= WEIR_CONN_WANT_CREDIT;
    weir_conn_mark_dirty(conn);
}

/* When a row's buckets of two kinds are both paid; 0: there is no rate. */
static uint64_t ready_of(const struct weir_conn *conn, uint32_t row, uint32_t first_kind)
{
    const struct weir_rates *rates = conn->hub->rates;
    uint64_t ready_ns = 0;
    for (uint32_t kind = first_kind; kind < first_kind + 2; kind++) {
        if (rates->per_s[row][kind])
            ready_ns = weir_max_u64(ready_ns,
                                    weir_bucket_ready(bucket_of(conn, row, kind), rates->burst_ns));
    }
    return ready_ns;
}

static void take(struct weir_conn *conn, uint32_t row, uint32_t kind, uint64_t cnt)
{
    uint64_t per_s = conn->hub->rates->per_s[row][kind];
    if (per_s && cnt)
        weir_bucket_take(bucket_of(conn, row, kind), per_s, cnt, conn->hub->now_ns);
}

/* ---- sending ------------------------------------------------------------------------------- */

uint64_t weir_rates_may_send(struct weir_conn *conn, uint64_t channels)
{
    struct weir_hub *hub = conn->hub;
    if (!channels) {
        if (hub->upload)
            weir_upload_leave(conn);
        return 0;
    }
    uint64_t now = hub->now_ns;
    uint64_t all_ns = ready_of(conn, 0, WEIR_RATE_SEND_BYTES);
    uint64_t may = 0, first_ns = UINT64_MAX;
    for (uint64_t left = channels; left; left &= left - 1) {
        uint32_t idx = (uint32_t)__builtin_ctzll(left);
        uint64_t ready_ns = weir_max_u64(all_ns, ready_of(conn, 1 + idx, WEIR_RATE_SEND_BYTES));
        if (ready_ns <= now)
            may |= UINT64_C(1) << idx;
        else
            first_ns = weir_min_u64(first_ns, ready_ns);
    }
    if (first_ns != UINT64_MAX)
        wait_until(conn, first_ns);
    if (may && hub->upload && !weir_upload_may_send(conn))
        may = 0;
    if (may != channels)
        weir_count(&hub->metrics.rate_waits, 1);
    return may;
}

void weir_rates_sent(struct weir_conn *conn, uint32_t channel_idx, uint32_t bytes, uint32_t msgs)
{
    take(conn, 0, WEIR_RATE_SEND_BYTES, bytes);
    take(conn, 0, WEIR_RATE_SEND_MSGS, msgs);
    take(conn, 1 + channel_idx, WEIR_RATE_SEND_BYTES, bytes);
    take(conn, 1 + channel_idx, WEIR_RATE_SEND_MSGS, msgs);
    if (conn->hub->upload)
        weir_upload_sent(conn, bytes);
}

/* ---- receiving ----------------------------------------------------------------------------- */

bool weir_rates_may_grant(struct weir_conn *conn, uint32_t channel_idx)
{
    uint64_t ready_ns = weir_max_u64(ready_of(conn, 0, WEIR_RATE_RECV_BYTES),
                                     ready_of(conn, 1 + channel_idx, WEIR_RATE_RECV_BYTES));
    if (ready_ns <= conn->hub->now_ns)
        return true;
    weir_count(&conn->hub->metrics.rate_credit_waits, 1);
    wait_until(conn, ready_ns);
    return false;
}

void weir_rates_granted(struct weir_conn *conn, uint32_t channel_idx, uint64_t bytes)
{
    take(conn, 0, WEIR_RATE_RECV_BYTES, bytes);
    take(conn, 1 + channel_idx, WEIR_RATE_RECV_BYTES, bytes);
}

void weir_rates_received(struct weir_conn *conn, uint32_t channel_idx, uint32_t msgs)
{
    take(conn, 0, WEIR_RATE_RECV_MSGS, msgs);
    take(conn, 1 + channel_idx, WEIR_RATE_RECV_MSGS, msgs);
}
