/* tests/unit/conn/pair.h: two hubs that talk over a simulated network, and a record of what they owe
 * each other: every message that one side queued is expected at the other, byte for byte and in its
 * channel's order.
 *
 * What goes wrong is not asserted but noted (pair->fault), so that a test can also check that a planted
 * fault is found.
 */
#ifndef WEIR_TESTS_UNIT_CONN_PAIR_H
#define WEIR_TESTS_UNIT_CONN_PAIR_H

#include <stdarg.h>
#include <stdio.h>

#include "engine/sim/sim_io.h"
#include "tests/unit/conn/messages.h"

#define PAIR_LINKS 3u
#define PAIR_KEPT 64u
#define PAIR_TOKEN_ACCEPT UINT64_C(0xFF000000)

struct owed {
    struct owed *next;
    uint64_t seed;
    size_t len;
};

/* One direction of one channel of one connection. */
struct flow {
    struct owed *head, *tail;
    bool was_full; /* and writable is to follow */
    uint64_t delivered_cnt;
};

struct link {
    bool is_up;
    bool is_ending;             /* what is owed need not arrive any more */
    struct weir_conn *conns[2]; /* of side 0, which dials, and of side 1 */
    uint32_t gens[2];
    struct flow flows[2][BOX_CHANNELS]; /* by the sending side */
};

struct pair {
    uint64_t seed, random;
    struct weir_sim *sim;
    struct box *boxes[2];
    struct weir_addr addr; /* side 1 listens there */
    struct link links[PAIR_LINKS];
    struct {
        struct weir_buf *buf;
        uint64_t seed;
        size_t len;
    } kept[PAIR_KEPT];
    uint32_t keep_ppm; /* of the messages are kept */
    bool may_end;      /* connections may end by themselves */
    uint64_t next_seed;
    uint64_t sent_cnt, delivered_cnt, writable_cnt, full_cnt;
    char fault[256]; /* "": none */
};

static inline void pair_fault(struct pair *pair, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void pair_fault(struct pair *pair, const char *format, ...)
{
    if (pair->fault[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(pair->fault, sizeof(pair->fault), format, args);
    va_end(args);
}

static inline uint64_t pair_below(struct pair *pair, uint64_t bound)
{
    return box_random(&pair->random) % bound;
}

static inline uint32_t pair_side(const struct pair *pair, const struct box *box)
{
    return box == pair->boxes[1];
}

static inline struct link *pair_link_of(struct pair *pair, const struct weir_conn *conn)
{
    uint32_t side = pair_side(pair, box_of(conn->hub));
    for (uint32_t i = 0; i < PAIR_LINKS; i++) {
        struct link *link = &pair->links[i];
        if (link->conns[side] == conn && link->gens[side] == conn->gen)
            return link;
    }
    return NULL;
}

/* ---- what is owed --------------------------------------------------------------------------------- */

static inline void flow_owe(struct flow *flow, uint64_t seed, size_t len)
{
    struct owed *owed = malloc(sizeof(*owed));
    *owed = (struct owed){.seed = seed, .len = len};
    if (flow->tail)
        flow->tail->next = owed;
    else
        flow->head = owed;
    flow->tail = owed;
}

static inline void flow_pop(struct flow *flow)
{
    struct owed *owed = flow->head;
    flow->head = owed->next;
    if (!flow->head)
        flow->tail = NULL;
    free(owed);
}

static inline void link_forget(struct link *link)
{
    for (uint32_t side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < BOX_CHANNELS; i++) {
            while (link->flows[side][i].head)
                flow_pop(&link->flows[side][i]);
        }
    }
    *link = (struct link){0};
}

/* ---- what is reported ----------------------------------------------------------------------------- */

static inline void pair_on_msg(struct box *box, const struct box_pending *msg)
{
    struct pair *pair = box->ctx;
    struct link *link = pair_link_of(pair, msg->conn);
    if (!link) {
        pair_fault(pair, "a message of nobody");
        return;
    }
    struct flow *flow = &link->flows[!pair_side(pair, box)][msg->channel_idx];
    if (!flow->head) {
        pair_fault(pair, "a message of %u bytes that was not sent", msg->len);
        return;
    }
    uint64_t seed = flow->head->seed;
    size_t len = flow->head->len;
    if (msg->len != len)
        pair_fault(pair, "a message of %u bytes for one of %zu", msg->len, len);
    else if (!box_is_filled(msg->data, len, seed))
        pair_fault(pair, "bytes differ in a message of %zu", len);
    flow_pop(flow);
    flow->delivered_cnt++;
    pair->delivered_cnt++;
    uint32_t slot = (uint32_t)pair_below(pair, PAIR_KEPT);
    if (pair_below(pair, 1000000) < pair->keep_ppm && !pair->kept[slot].buf && len) {
        pair->kept[slot].buf = box_keep(box, msg);
        pair->kept[slot].seed = seed;
        pair->kept[slot].len = len;
    }
}

static inline void pair_release(struct pair *pair, uint32_t slot)
{
    if (!pair->kept[slot].buf)
        return;
    if (!box_is_filled(pair->kept[slot].buf->data, pair->kept[slot].len, pair->kept[slot].seed))
        pair_fault(pair, "bytes differ in a kept message of %zu", pair->kept[slot].len);
    weir_buf_unref(pair->kept[slot].buf);
    pair->kept[slot].buf = NULL;
}

static inline void pair_on_writable(struct box *box, struct weir_conn *conn, uint32_t channel_idx)
{
    struct pair *pair = box->ctx;
    struct link *link = pair_link_of(pair, conn);
    if (!link || !link->flows[pair_side(pair, box)][channel_idx].was_full) {
        pair_fault(pair, "writable, and nobody was refused");
        return;
    }
    link->flows[pair_side(pair, box)][channel_idx].was_full = false;
    pair->writable_cnt++;
}

static inline void pair_on_accept(struct box *box, const struct weir_io_event *event)
{
    struct weir_conn *conn;
    if (event->res >= 0)
        cr_assert_eq(weir_conn_accept(&box->hub, event->res, &conn), 0);
    if (!(event->flags & WEIR_IO_MORE))
        cr_assert_eq(box->io->ops->accept(box->io, box->last_listener, PAIR_TOKEN_ACCEPT), 0);
}

/* Before a turn, the io has the time of the one before. */
static inline uint64_t pair_now(const struct box *box)
{
    const struct pair *pair = box->ctx;
    return weir_sim_now(pair->sim);
}

/* ---- life ----------------------------------------------------------------------------------------- */

/* Makes the network and both hubs, whose configuration the caller may change before pair_open. */
static inline struct pair *pair_new(uint64_t seed, const struct weir_sim_config *sim_cfg,
                                    uint32_t channel_cnt)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    pair->seed = pair->random = seed;
    pair->next_seed = seed << 32;
    cr_assert_eq(weir_sim_create(&pair->sim, sim_cfg), 0);
    for (uint32_t side = 0; side < 2; side++) {
        struct box *box = pair->boxes[side] = box_new(channel_cnt);
        box->ctx = pair;
        box->now = pair_now;
        box->on_msg = pair_on_msg;
        box->on_writable = pair_on_writable;
        box->on_accept = pair_on_accept;
    }
    return pair;
}

static inline void pair_open(struct pair *pair, const struct weir_io_config *io_cfg)
{
    for (uint32_t side = 0; side < 2; side++) {
        struct weir_io *io;
        cr_assert_eq(weir_sim_io_create(pair->sim, side + 1, io_cfg, &io), 0);
        cr_assert_eq(box_open(pair->boxes[side], io), 0);
    }
    struct box *box = pair->boxes[1];
    struct weir_addr any;
    cr_assert_eq(weir_addr_parse(&any, "10.0.0.2:7000"), 0);
    int sock = box->io->ops->listen(box->io, &any, false, &pair->addr);
    cr_assert_geq(sock, 0);
    box->last_listener = sock;
    cr_assert_eq(box->io->ops->accept(box->io, sock, PAIR_TOKEN_ACCEPT), 0);
}

static inline bool box_has_work(const struct box *box)
{
    return box->hub.dirty_head || box->hub.resumed || box->hub.starved;
}

/* One turn of each; false when nothing will ever happen any more. */
static inline bool pair_step(struct pair *pair)
{
    box_turn(pair->boxes[0]);
    box_turn(pair->boxes[1]);
    if (box_has_work(pair->boxes[0]) || box_has_work(pair->boxes[1]))
        return true;
    return weir_sim_step(pair->sim);
}

/* Dials and shakes hands. */
static inline void pair_connect(struct pair *pair, uint32_t link_idx)
{
    struct link *link = &pair->links[link_idx];
    uint32_t ready[2] = {pair->boxes[0]->ready_cnt, pair->boxes[1]->ready_cnt};
    struct weir_conn *conn;
    uint64_t start_ns = pair->boxes[0]->hub.now_ns;
    cr_assert_eq(weir_conn_dial(&pair->boxes[0]->hub, &pair->addr, UINT32_MAX, &conn), 0);
    for (uint32_t i = 0; i < 200000 && !pair->fault[0]; i++) {
        pair_step(pair);
        if (pair->boxes[0]->ready_cnt > ready[0] && pair->boxes[1]->ready_cnt > ready[1])
            break;
    }
    for (uint32_t side = 0; side < 2; side++) {
        if (pair->boxes[side]->ready_cnt != ready[side] + 1) {
            pair_fault(pair, "no handshake after %llu ms: side %u's last end was %u, state %u",
                       (unsigned long long)(pair->boxes[0]->hub.now_ns - start_ns) / WEIR_NS_PER_MS,
                       side, box_last_reason(pair->boxes[side]), conn->state);
            return;
        }
        link->conns[side] = pair->boxes[side]->last_ready;
        link->gens[side] = link->conns[side]->gen;
    }
    link->is_up = true;
}

/* Breaks what is still connected; nothing may be left. */
static inline void pair_free(struct pair *pair)
{
    pair->keep_ppm = 0;
    for (uint32_t i = 0; i < PAIR_KEPT; i++)
        pair_release(pair, i);
    uint64_t left = 1;
    for (uint32_t n = 0; n < 100000 && left; n++) {
        left = 0;
        for (uint32_t side = 0; side < 2; side++) {
            struct weir_hub *hub = &pair->boxes[side]->hub;
            for (uint32_t i = 0; i < hub->cfg->peers_max; i++)
                weir_conn_abort(&hub->conns[i], WEIR_R_SHUTDOWN);
            left += hub->metrics.conn_cnt;
        }
        pair_step(pair);
    }
    cr_assert_eq(left, 0, "seed %llu: connections do not end", (unsigned long long)pair->seed);
    for (uint32_t i = 0; i < PAIR_LINKS; i++)
        link_forget(&pair->links[i]);
    for (uint32_t side = 0; side < 2; side++)
        box_free(pair->boxes[side]);
    weir_sim_free(pair->sim);
    free(pair);
}

/* ---- sending -------------------------------------------------------------------------------------- */

enum pair_way { PAIR_COPY, PAIR_BUF, PAIR_SHARED };

/* Queues a message that is then owed; a refusal is noted. Returns the error. */
static inline int pair_send(struct pair *pair, struct link *link, uint32_t side,
                            uint32_t channel_idx, size_t len, enum pair_way way)
{
    struct weir_conn *conn = link->conns[side];
    uint64_t seed = pair->next_seed++;
    int error = way == PAIR_COPY || len == 0 ? box_send(conn, channel_idx, len, seed)
                : way == PAIR_BUF            ? box_send_buf(conn, channel_idx, len, seed)
                                             : box_send_shared(conn, channel_idx, len, seed);
    struct flow *flow = &link->flows[side][channel_idx];
    if (error == 0) {
        flow_owe(flow, seed, len);
        pair->sent_cnt++;
    } else if (error == WEIR_E_FULL) {
        flow->was_full = true;
        pair->full_cnt++;
    }
    return error;
}

static inline uint64_t pair_owed_cnt(const struct pair *pair)
{
    uint64_t cnt = 0;
    for (uint32_t i = 0; i < PAIR_LINKS; i++) {
        for (uint32_t side = 0; side < 2; side++) {
            for (uint32_t c = 0; c < BOX_CHANNELS; c++)
                for (const struct owed *o = pair->links[i].flows[side][c].head; o; o = o->next)
                    cnt++;
        }
    }
    return cnt;
}

/* ---- the end -------------------------------------------------------------------------------------- */

/* Runs until nothing is owed and the queues are empty. An hour of virtual time is enough for anything. */
static inline void run_dry(struct pair *pair)
{
    uint64_t dry_ns = 0;
    uint64_t until = weir_sim_now(pair->sim) + 3600 * WEIR_NS_PER_S;
    while (!pair->fault[0] && weir_sim_now(pair->sim) < until) {
        pair_step(pair);
        bool is_dry = true;
        for (uint32_t i = 0; i < PAIR_LINKS && is_dry; i++) {
            const struct link *link = &pair->links[i];
            for (uint32_t side = 0; link->is_up && side < 2; side++) {
                is_dry &= link->conns[side]->bytes_queued == 0 && !link->conns[side]->tx &&
                          !link->conns[side]->carry;
                for (uint32_t c = 0; c < BOX_CHANNELS; c++)
                    is_dry &= link->flows[side][c].head == NULL;
            }
        }
        if (!is_dry)
            dry_ns = 0;
        else if (!dry_ns)
            dry_ns = weir_sim_now(pair->sim);
        else if (weir_sim_now(pair->sim) > dry_ns + WEIR_NS_PER_S)
            return; /* credit was under way as well */
    }
    pair_fault(pair, "stuck: %llu messages are still owed",
               (unsigned long long)pair_owed_cnt(pair));
}

/* What must hold when all was delivered and released. */
static inline void expect_dry(struct pair *pair)
{
    for (uint32_t i = 0; i < PAIR_LINKS && !pair->fault[0]; i++) {
        const struct link *link = &pair->links[i];
        for (uint32_t side = 0; link->is_up && side < 2; side++) {
            const struct weir_conn *conn = link->conns[side];
            if (conn->state != WEIR_CONN_READY || conn->gen != link->gens[side])
                pair_fault(pair, "side %u ended with %u", side, box_last_reason(pair->boxes[side]));
            else if (conn->bytes_queued || conn->bytes_held || conn->active)
                pair_fault(pair, "accounts: %llu queued, %llu held",
                           (unsigned long long)conn->bytes_queued,
                           (unsigned long long)conn->bytes_held);
            for (uint32_t c = 0; c < pair->boxes[0]->channel_cnt; c++) {
                const struct weir_conn_channel *channel = &conn->channels[c];
                const struct weir_conn_channel *other = &link->conns[!side]->channels[c];
                if (link->flows[side][c].was_full)
                    pair_fault(pair, "nobody was told writable");
                if (other->rx_used != channel->tx_used || other->rx_consumed != other->rx_used)
                    pair_fault(pair, "credit: %llu sent, %llu arrived, %llu consumed",
                               (unsigned long long)channel->tx_used,
                               (unsigned long long)other->rx_used,
                               (unsigned long long)other->rx_consumed);
            }
        }
    }
    for (uint32_t side = 0; side < 2; side++) {
        struct weir_pool_stats stats = box_pool_stats(pair->boxes[side]);
        if (stats.used_cnt && !pair->fault[0])
            pair_fault(pair, "%llu buffers are left", (unsigned long long)stats.used_cnt);
        if (weir_sim_lent_cnt(pair->boxes[side]->io) && !pair->fault[0])
            pair_fault(pair, "receive buffers are left");
    }
}

#endif
