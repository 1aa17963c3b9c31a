/* tests/unit/conn/box.h: one hub as a shard would run it, with everything it reports written down.
 *
 *   struct box *box = box_new(2);           two channels, ids 10 and 11, all defaults
 *   box->channels[0].recv_bytes_max = ...;  change what the test is about
 *   box_open(box, io);                      any weir_io; the box owns it from here on
 *   box_turn(box);                          one turn, in the order of engine/node/shard.c
 *   box_free(box);                          and nothing may be left
 *
 * After each event and each stage the invariants of every connection are walked.
 */
#ifndef WEIR_TESTS_UNIT_CONN_BOX_H
#define WEIR_TESTS_UNIT_CONN_BOX_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/conn/conn.h"
#include "proto/native_run.h"
#include "weir/error.h"

#define BOX_CHANNELS 8u
#ifndef BOX_MSGS       /* the fuzz targets have fewer: see PEER_FRAMES */
#define BOX_MSGS 4096u /* of one batch */
#endif
#define BOX_EVENTS 64u
#define BOX_ENDS 64u

struct box_msg {
    struct weir_conn *conn;
    uint32_t channel_idx;
    uint32_t len;
    uint8_t *data;
};

struct box_pending { /* handed over, not yet dealt with: borrowed memory */
    struct weir_conn *conn;
    uint32_t channel_idx, len;
    const uint8_t *data;
    struct weir_buf *buf;
};

struct box {
    struct weir_config cfg;
    struct weir_channel channels[BOX_CHANNELS];
    struct weir_channel_desc descs[BOX_CHANNELS];
    uint32_t channel_cnt;
    struct weir_offer offer;
    const struct weir_secret *secret; /* set before box_open: strangers are to encrypt */
    uint8_t idx_of[65536];
    struct weir_io *io;
    struct weir_heap *heap;
    struct weir_wheel wheel;
    struct weir_hub hub;
    struct weir_pool *pool;
    /* what was reported */
    struct box_pending pending[BOX_MSGS];
    uint32_t pending_cnt;
    struct box_msg *msgs; /* copies; not kept when on_msg is set */
    uint32_t msg_cnt, msg_cap;
    uint32_t ready_cnt, end_cnt, flush_cnt;
    struct weir_conn *last_ready;
    struct {
        struct weir_conn *conn;
        uint32_t gen;
        uint32_t dial_idx;
        uint16_t reason;
        bool was_ready;
    } ends[BOX_ENDS]; /* the latest, by end_cnt % BOX_ENDS */
    uint32_t writable_cnt[BOX_CHANNELS];
    uint64_t kept_bytes; /* charged to live connections: what was kept and not released */
    /* what the test does at certain points; may be NULL */
    void (*on_msg)(struct box *box, const struct box_pending *msg);
    void (*on_ready)(struct box *box, struct weir_conn *conn);
    void (*on_writable)(struct box *box, struct weir_conn *conn, uint32_t channel_idx);
    void (*on_timer)(struct box *box, struct weir_timer *timer); /* of another kind */
    void (*on_accept)(struct box *box, const struct weir_io_event *event);
    void (*on_turn)(struct box *box);       /* where letters are carried out */
    uint64_t (*now)(const struct box *box); /* NULL: of the last turn, as the io says */
    int last_listener;
    void *ctx;
};

static inline struct box *box_of(const struct weir_hub *hub)
{
    return hub->user;
}

/* ---- callbacks of the hub ------------------------------------------------------------------------- */

static inline void box_on_ready(struct weir_conn *conn)
{
    struct box *box = box_of(conn->hub);
    cr_assert_eq(conn->state, WEIR_CONN_READY);
    box->ready_cnt++;
    box->last_ready = conn;
    if (box->on_ready)
        box->on_ready(box, conn);
}

static inline void box_on_ended(struct weir_conn *conn, uint16_t reason, bool was_ready)
{
    struct box *box = box_of(conn->hub);
    cr_assert_neq(reason, WEIR_R_NONE);
    cr_assert_eq(conn->live_gen, 0, "other threads see that it is gone");
    uint32_t at = box->end_cnt++ % BOX_ENDS;
    box->ends[at].conn = conn;
    box->ends[at].gen = conn->gen;
    box->ends[at].dial_idx = conn->dial_idx;
    box->ends[at].reason = reason;
    box->ends[at].was_ready = was_ready;
}

static inline void box_pend(struct weir_conn *conn, uint32_t channel_idx, const uint8_t *data,
                            uint32_t len, struct weir_buf *buf)
{
    struct box *box = box_of(conn->hub);
    if (box->pending_cnt == BOX_MSGS)
        conn->hub->ops->flush(conn->hub);
    box->pending[box->pending_cnt++] = (struct box_pending){conn, channel_idx, len, data, buf};
}

static inline void box_on_run(struct weir_conn *conn, uint32_t channel_idx, const uint8_t *run,
                              uint32_t len, struct weir_buf *buf)
{
    cr_assert_eq(conn->state, WEIR_CONN_READY, "a message after the end");
    for (const uint8_t *at = run, *end = run + len; at < end;) {
        uint32_t msg_len;
        const uint8_t *data = weir_run_next(&at, &msg_len);
        box_pend(conn, channel_idx, data, msg_len, buf);
    }
}

static inline void box_on_message(struct weir_conn *conn, uint32_t channel_idx, const uint8_t *data,
                                  uint32_t len, struct weir_buf *buf)
{
    cr_assert_eq(conn->state, WEIR_CONN_READY, "a message after the end");
    box_pend(conn, channel_idx, data, len, buf);
}

static inline void box_record(struct box *box, const struct box_pending *pending)
{
    if (box->msg_cnt == box->msg_cap) {
        box->msg_cap = box->msg_cap ? 2 * box->msg_cap : 64;
        box->msgs = realloc(box->msgs, box->msg_cap * sizeof(*box->msgs));
    }
    struct box_msg *msg = &box->msgs[box->msg_cnt++];
    *msg = (struct box_msg){.conn = pending->conn,
                            .channel_idx = pending->channel_idx,
                            .len = pending->len,
                            .data = malloc(pending->len + 1)};
    if (pending->len)
        memcpy(msg->data, pending->data, pending->len);
}

/* The bytes are read here and not before, as a batch is: they must be valid until now. */
static inline void box_on_flush(struct weir_hub *hub)
{
    struct box *box = box_of(hub);
    uint32_t cnt = box->pending_cnt;
    box->flush_cnt++;
    box->pending_cnt = 0;
    for (uint32_t i = 0; i < cnt; i++) {
        if (box->on_msg)
            box->on_msg(box, &box->pending[i]);
        else
            box_record(box, &box->pending[i]);
    }
}

static inline void box_on_writable(struct weir_conn *conn, uint32_t channel_idx)
{
    struct box *box = box_of(conn->hub);
    cr_assert_eq(conn->state, WEIR_CONN_READY);
    box->writable_cnt[channel_idx]++;
    if (box->on_writable)
        box->on_writable(box, conn, channel_idx);
}

static inline void box_on_log(struct weir_hub *hub, int level, const char *line)
{
    (void)hub;
    (void)level;
    (void)line;
}

static const struct weir_hub_ops box_ops = {
    .ready = box_on_ready,
    .ended = box_on_ended,
    .run = box_on_run,
    .message = box_on_message,
    .flush = box_on_flush,
    .writable = box_on_writable,
    .log = box_on_log,
};

/* ---- kept messages, as engine/node does it -------------------------------------------------------- */

static inline void box_released(void *ctx, uint64_t owner, uint32_t channel_idx, uint32_t charge)
{
    struct box *box = ctx;
    struct weir_conn *conn = &box->hub.conns[(uint32_t)owner];
    if (conn->live_gen != owner >> 32)
        return;
    conn->bytes_held -= charge;
    box->kept_bytes -= charge;
    weir_credit_consume(conn, channel_idx, charge);
}

/* Keeps a message inside on_msg: its credit is taken back until the buffer is released. */
static inline struct weir_buf *box_keep(struct box *box, const struct box_pending *msg)
{
    struct weir_buf *buf = msg->buf;
    if (buf) {
        weir_buf_hold(buf);
    } else {
        buf = weir_pool_take(box->pool, msg->len);
        if (!buf)
            return NULL;
        memcpy(buf->data, msg->data, msg->len);
        buf->len = msg->len;
    }
    if (msg->conn->state == WEIR_CONN_READY) {
        buf->owner = (uint64_t)msg->conn->gen << 32 | msg->conn->slot;
        buf->owner_arg = msg->channel_idx;
        buf->owner_charge = msg->len;
        msg->conn->bytes_held += msg->len;
        msg->conn->channels[msg->channel_idx].rx_consumed -= msg->len;
        box->kept_bytes += msg->len;
    }
    return buf;
}

/* ---- life ----------------------------------------------------------------------------------------- */

static inline struct box *box_new(uint32_t channel_cnt)
{
    struct box *box = calloc(1, sizeof(*box));
    weir_config_init(&box->cfg);
    box->cfg.peers_max = 4;
    box->channel_cnt = channel_cnt;
    for (uint32_t i = 0; i < channel_cnt; i++)
        weir_channel_init(&box->channels[i], (uint16_t)(10 + i));
    return box;
}

/* Builds the hub; the io is freed by box_free, also when this fails. */
static inline int box_open(struct box *box, struct weir_io *io)
{
    static uint8_t nonce = 1;
    memset(box->idx_of, 0xFF, sizeof(box->idx_of));
    for (uint32_t i = 0; i < box->channel_cnt; i++) {
        const struct weir_channel *channel = &box->channels[i];
        box->idx_of[channel->id] = (uint8_t)i;
        box->descs[i] = (struct weir_channel_desc){.id = channel->id,
                                                   .weight = channel->weight,
                                                   .msg_bytes_max = channel->msg_bytes_max,
                                                   .window_bytes = channel->recv_bytes_max,
                                                   .flags = channel->flags};
    }
    box->offer = (struct weir_offer){.network_id = box->cfg.network_id,
                                     .user_agent = box->cfg.user_agent,
                                     .channels = box->descs,
                                     .channel_cnt = box->channel_cnt,
                                     .frame_bytes_max = box->cfg.frame_bytes_max,
                                     .nonce = {nonce++}};
    box->io = io;
    struct weir_pool_config pool_cfg = {
        .bytes_max = box->cfg.pool_bytes_max, .on_release = box_released, .ctx = box};
    box->heap = weir_heap_create();
    if (!box->heap)
        return WEIR_E_NOMEM;
    box->pool = weir_pool_create(box->heap, &pool_cfg);
    if (!box->pool)
        return WEIR_E_NOMEM;
    struct weir_hub *hub = &box->hub;
    hub->io = io;
    hub->heap = box->heap;
    hub->pool = box->pool;
    hub->wheel = &box->wheel;
    hub->codec = &weir_codec_native;
    hub->cfg = &box->cfg;
    hub->channels = box->channels;
    hub->channel_cnt = box->channel_cnt;
    hub->channel_idx_of = box->idx_of;
    hub->offer = &box->offer;
    if (box->secret) {
        box->offer.secret = box->secret;
        hub->secure_codec = &weir_codec_native_v2;
    }
    hub->ops = &box_ops;
    hub->user = box;
    int error = io->ops->enable(io);
    hub->now_ns = io->ops->now(io);
    weir_wheel_init(&box->wheel, hub->now_ns);
    return error ? error : weir_hub_init(hub);
}

static inline void box_forget_msgs(struct box *box)
{
    for (uint32_t i = 0; i < box->msg_cnt; i++)
        free(box->msgs[i].data);
    box->msg_cnt = 0;
}

static inline struct weir_pool_stats box_pool_stats(const struct box *box)
{
    struct weir_pool_stats stats;
    weir_pool_stats(box->pool, &stats);
    return stats;
}

/* Ends the hub as it is, whatever its connections are doing; no buffer may be left. */
static inline void box_free(struct box *box)
{
    if (box->hub.conns)
        weir_hub_fini(&box->hub);
    if (box->pool) {
        weir_pool_reclaim(box->pool);
        cr_assert_eq(box_pool_stats(box).used_cnt, 0, "buffers are left");
    }
    cr_assert_eq(box->wheel.timer_cnt, 0, "timers are left");
    weir_hub_free(&box->hub);
    box->io->ops->free(box->io);
    weir_pool_free(box->pool);
    weir_heap_free(box->heap);
    box_forget_msgs(box);
    free(box->msgs);
    free(box);
}

/* ---- turning -------------------------------------------------------------------------------------- */

static inline uint64_t box_held(const struct weir_conn *conn)
{
    uint64_t held = 0;
    for (uint32_t i = 0; i < conn->hub->channel_cnt; i++) {
        const struct weir_conn_channel *channel = &conn->channels[i];
        held += channel->partial ? channel->partial_total : 0;
        for (const struct weir_buf *buf = channel->held_head; buf; buf = buf->next)
            held += buf->len;
        if (conn->place.kind && conn->place.channel_idx == i && !channel->partial)
            held += conn->place.hold->len; /* its last fragment is on its way */
    }
    return held;
}

static inline void box_verify(const struct box *box)
{
    uint64_t ready_cnt = 0, used_cnt = 0, held = 0, counted = 0;
    for (uint32_t i = 0; i < box->cfg.peers_max; i++) {
        const struct weir_conn *conn = &box->hub.conns[i];
        used_cnt += conn->state != WEIR_CONN_FREE;
        ready_cnt += conn->state == WEIR_CONN_READY;
        cr_assert_eq(conn->live_gen, conn->state == WEIR_CONN_READY ? conn->gen : 0);
        if (conn->state == WEIR_CONN_FREE)
            continue;
        weir_conn_verify(conn);
        if (conn->state == WEIR_CONN_READY) {
            held += box_held(conn);
            counted += conn->bytes_held;
        }
    }
    cr_assert_eq(box->hub.metrics.conn_cnt, used_cnt);
    cr_assert_eq(box->hub.metrics.ready_cnt, ready_cnt);
    if (box->hub.frame_cnt == 0 && !box->kept_bytes)
        cr_assert_eq(held, counted, "%llu bytes are held, %llu counted", (unsigned long long)held,
                     (unsigned long long)counted);
}

static inline void box_timers(struct box *box)
{
    struct weir_timer *timer;
    while ((timer = weir_wheel_pop(&box->wheel, box->hub.now_ns)) != NULL) {
        if (timer->kind == WEIR_TIMER_RATE) {
            weir_rates_fire(&box->hub, timer->arg);
            continue;
        }
        if (timer->kind == WEIR_TIMER_GATE) {
            weir_gate_fire(&box->hub);
            continue;
        }
        if (timer->kind != WEIR_TIMER_CONN) {
            cr_assert_not_null(box->on_timer);
            box->on_timer(box, timer);
            continue;
        }
        struct weir_conn *conn = &box->hub.conns[timer->arg];
        weir_keepalive_fire(conn);
        weir_conn_settle(conn);
        box_verify(box);
    }
}

/* How long a shard would wait, as engine/node/shard.c says. */
static inline uint64_t box_wait(const struct box *box)
{
    const struct weir_hub *hub = &box->hub;
    uint64_t now_ns = box->now ? box->now(box) : box->io->ops->now(box->io);
    return hub->dirty_head || hub->roomy_head || hub->resumed || hub->starved ||
                   weir_gate_has_steps(&hub->keeper)
               ? 0
               : weir_wheel_wait(&box->wheel, now_ns);
}

/* One turn; returns the number of events. */
static inline int64_t box_turn(struct box *box)
{
    struct weir_hub *hub = &box->hub;
    struct weir_io_event events[BOX_EVENTS];
    int64_t cnt = box->io->ops->turn(box->io, events, BOX_EVENTS, box_wait(box));
    cr_assert_geq(cnt, 0);
    hub->now_ns = box->io->ops->now(box->io);
    for (int64_t i = 0; i < cnt; i++) {
        if (events[i].kind == WEIR_IO_ACCEPT)
            box->on_accept(box, &events[i]);
        else
            weir_conn_event(hub, &events[i]);
        box_verify(box);
    }
    if (cnt < BOX_EVENTS && !hub->starved && !hub->is_starved_io)
        hub->heard_all_ns = hub->now_ns;
    weir_verify_flush(hub);
    box_verify(box);
    weir_verify_resume(hub);
    weir_pool_reclaim(box->pool);
    box_verify(box);
    box_timers(box);
    if (box->on_turn)
        box->on_turn(box);
    weir_sendq_tell(hub);
    bool is_pressed = weir_gate_is_pressed(hub);
    weir_tx_flush(hub);
    box_verify(box);
    weir_rx_rearm(hub);
    weir_gate_step(hub, is_pressed);
    weir_tx_flush(hub); /* so that a turn does all that one message asks for */
    box_verify(box);
    cr_assert_eq(hub->frame_cnt, 0);
    cr_assert_eq(hub->used_buf_cnt, 0);
    return cnt;
}

/* The latest end that was reported. */
static inline uint16_t box_last_reason(const struct box *box)
{
    return box->end_cnt ? box->ends[(box->end_cnt - 1) % BOX_ENDS].reason : WEIR_R_NONE;
}

#endif
