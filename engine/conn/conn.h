/* engine/conn/conn.h: one connection, and the hub that all connections of a shard share.
 *
 * A connection is divided by direction and phase:
 *
 *   hub.c      the slots of all connections: made and freed
 *   conn.c     its life: every change of `state` is here
 *   events.c   an event of the io -> the part that it is for; receive is armed
 *   rx.c       received bytes -> frames (the window, admission: channel, credit, size)
 *   verify.c   frames of all connections -> checked in one batch -> messages in order
 *   sendq.c    messages -> queued items per channel
 *   sched.c    which channel's frame is next (start-time fair queueing)
 *   rate.c     who must wait because of a rate
 *   tx.c       picked frames -> one send
 *   gate.c     whose handshake is served: cookies, rates, who makes room
 *   prelude.c  what a dialed connection says to a proxy before its handshake
 *   keepalive.c  deadlines: handshake, ping, idle, stall, goodbye
 *
 *            open/accept            hello agreed             close asked or fault
 *   DIALING ------------> HANDSHAKE ------------> READY ------------------------> GOODBYE
 *      |                      |                     |                    goodbye sent | or late
 *      |                      |   (nothing to say)  |                                 v
 *      +----------------------+---------------------+-------------> DRAIN <------- LINGER
 *                                                                     | last operation ended
 *                                                                     v
 *                                                                   FREE
 *   DIALING    the connect is in flight, nothing else is; then perhaps a prelude: bytes to and from a proxy
 *   HANDSHAKE  bytes flow, the codec has not agreed; no channel exists
 *   READY      messages flow; `live_gen` names the generation to other threads
 *   GOODBYE    the application has been told; only queued frames (on request) and the goodbye go out,
 *              what arrives is thrown away
 *   LINGER     our side is shut for writing; waits for the peer's end so that a reset does not destroy
 *              the goodbye on its way
 *   DRAIN      shut both ways; waits for the last event of each operation
 *   FREE       the slot is free; its generation is the next connection's
 */
#ifndef WEIR_ENGINE_CONN_CONN_H
#define WEIR_ENGINE_CONN_CONN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/addr.h"
#include "engine/base/check.h"
#include "engine/base/wheel.h"
#include "engine/conn/burst.h"
#include "engine/conn/gate.h"
#include "engine/conn/item.h"
#include "engine/conn/prelude.h"
#include "engine/conn/rate.h"
#include "engine/conn/sched.h"
#include "engine/conn/series.h"
#include "engine/io/io.h"
#include "engine/mem/pool.h"
#include "proto/codec.h"
#include "weir/config.h"
#include "weir/metrics.h"

struct weir_hub;
struct weir_conn;
struct weir_tx;

enum weir_conn_state {
    WEIR_CONN_FREE = 0,
    WEIR_CONN_DIALING,
    WEIR_CONN_HANDSHAKE,
    WEIR_CONN_READY,
    WEIR_CONN_GOODBYE,
    WEIR_CONN_LINGER,
    WEIR_CONN_DRAIN,
};

enum weir_conn_flags {
    WEIR_CONN_IS_DIALER = 1u << 0,
    WEIR_CONN_DRAIN_FIRST = 1u << 1, /* queued messages go before the goodbye */
    WEIR_CONN_RX_DEAD = 1u << 2,     /* what arrives is thrown away */
    WEIR_CONN_DIRTY = 1u << 3,       /* on the hub's list of connections with something to send */
    WEIR_CONN_OP_RECV = 1u << 4,     /* operations in flight */
    WEIR_CONN_OP_SEND = 1u << 5,
    WEIR_CONN_OP_CONNECT = 1u << 6,
    WEIR_CONN_WANT_PING = 1u << 8,
    WEIR_CONN_WANT_PONG = 1u << 9,
    WEIR_CONN_WANT_CREDIT = 1u << 10,
    WEIR_CONN_SAID_GOODBYE = 1u << 11, /* the goodbye is in a send or was sent */
    WEIR_CONN_CONTENDED = 1u << 12,    /* several channels were busy lately */
    WEIR_CONN_STARVED = 1u << 13,      /* receive must be armed again */
    WEIR_CONN_WAS_READY = 1u << 14,
    WEIR_CONN_HEARD_GOODBYE = 1u << 15,
    WEIR_CONN_HAS_PULL = 1u << 16,      /* the codec may have bytes to send */
    WEIR_CONN_TOLD = 1u << 17,          /* the end was reported */
    WEIR_CONN_RESUMED = 1u << 18,       /* on the hub's list: held messages may be delivered */
    WEIR_CONN_WANT_SHUTDOWN = 1u << 19, /* the kernel did not take it: again in the tx stage */
    WEIR_CONN_TURNED_AWAY = 1u << 20,   /* it was never told to be up */
    WEIR_CONN_ROOMY = 1u << 21,         /* on the hub's list: its writer is to be told of room */
    WEIR_CONN_HELD = 1u << 22,          /* its first message waits in `carry` for its turn */
    WEIR_CONN_COOKIE = 1u << 23,        /* it has brought a good cookie */
    WEIR_CONN_ADMITTED = 1u << 24,      /* the node's limits count it */
    WEIR_CONN_ON_TRIAL = 1u << 25,     /* nothing counts it, and it goes unless its id is welcome */
    WEIR_CONN_PENDING = 1u << 26,      /* accepted and in its handshake: on the gate's list */
    WEIR_CONN_DIAL_COUNTED = 1u << 27, /* limits of dials per address and subnet count it */
    WEIR_CONN_KNEW_KEY = 1u << 28,     /* dialed: it began with the key that the peer had before */
    WEIR_CONN_QUEUED = 1u << 29, /* on the gate's line: a message of its handshake is in `carry` */
    WEIR_CONN_CONTENDED_IN = 1u << 30, /* several channels were heard of lately */
};

/* What one connection keeps per attached channel. Fields marked (any) are read by other threads. */
struct weir_conn_channel {
    /* sending */
    struct weir_item *head, *tail; /* queued items; the tail run may still be open */
    _Atomic uint64_t queued_bytes; /* (any) payload queued or in a send; written by the shard */
    _Atomic uint64_t
        remote_bytes; /* (any) reserved by other threads, not yet taken by the shard; */
                      /* belongs to the slot, not to the generation */
    _Atomic uint32_t msg_bytes_max; /* (any) the peer's maximum; 0: not agreed */
    uint32_t frame_bytes_max;       /* largest payload: frame size and half the window say */
    uint64_t tx_used, tx_limit;     /* credit: payload bytes sent, and allowed */
    /* receiving */
    uint64_t rx_used, rx_limit; /* payload bytes that arrived, and that we granted */
    uint64_t rx_consumed;       /* given back by the application */
    struct weir_buf *partial;   /* the message being assembled; NULL: none */
    uint32_t partial_len;       /* bytes of it that were decoded */
    uint32_t partial_total;
    struct weir_buf *held_head, *held_tail; /* verified, kept back while paused */
    bool is_agreed;
    bool is_paused;
    _Atomic bool want_writable; /* (any) a send was answered "full" */
    bool is_stalled;            /* counted as waiting for credit */
    bool was_full_run;          /* the last run was opened behind others: the queue is busy */
};

struct weir_conn {
    struct weir_hub *hub;
    uint32_t slot;
    uint32_t gen;
    _Atomic uint32_t live_gen;          /* (any) gen while READY, else 0 */
    struct weir_conn_channel *channels; /* hub->channel_cnt of them */
    void *codec_state;
    /* all above is the slot's, all below this connection's */
    uint32_t flags;       /* enum weir_conn_flags */
    uint8_t policy;       /* enum weir_secure: how a dialed one is to be */
    bool has_dial_id;     /* the other side must prove dial_id */
    uint8_t state;        /* enum weir_conn_state; changed only in conn.c */
    uint8_t shutdown_cnt; /* shutdown operations in flight */
    uint16_t close_reason;
    int sock;
    const struct weir_codec *codec; /* NULL: an accepted one whose first bytes have not come */
    uint32_t frame_bytes_max;       /* agreed */
    uint32_t dial_idx;              /* UINT32_MAX: accepted */
    struct weir_timer timer;
    /* receiving */
    struct weir_buf *carry;  /* a frame (or handshake piece) that is not all there */
    size_t carry_need;       /* bytes of it that must be there to go on */
    struct weir_frame place; /* a fragment whose payload goes straight to its message */
    uint32_t place_len;      /* bytes of it that are there; valid while place.kind != 0 */
    uint32_t pings_seen;     /* in this second, for the flood bound */
    uint64_t pings_since_ns;
    /* sending */
    struct weir_tx *tx; /* the send in flight or half done; NULL: none */
    struct weir_sched sched;
    uint64_t active;                  /* channels with queued items */
    uint64_t busy_now, busy_before;   /* channels picked in this and in the last half second */
    uint64_t heard_now, heard_before; /* channels heard of, likewise */
    uint32_t narrowed;                /* steps of bound_unread() that are taken, and */
    uint32_t narrowed_rx;             /* wire_rx, its lower half, when the last one was */
    uint64_t busy_since_ns;
    uint64_t urgent_alone_ns; /* when urgent frames last had a send of their own */
    uint64_t pong_value;
    uint64_t credit_due; /* channels whose new limit is to be announced */
    /* time */
    uint64_t opened_ns, last_rx_ns, last_tx_ns; /* last_tx: when the kernel last took bytes */
    uint64_t ping_sent_ns;                      /* 0: none outstanding */
    uint64_t last_ping_ns;
    uint64_t last_data_ns; /* when frames of channels were last picked; 0: never */
    uint64_t heard_ns;     /* when the last answered ping was sent: what went before was read */
    uint64_t state_ns;     /* when the state began */
    uint64_t rtt_ns, rtt_min_ns;
    /* accounts */
    uint64_t bytes_queued, bytes_held;
    uint64_t wire_tx, wire_rx, frames_tx, frames_rx;
    uint64_t key_ns;    /* encrypted: when the key that we seal with was last changed by time */
    uint64_t stall_cnt; /* times a channel had bytes and no credit */
    uint64_t first_cnt,
        again_cnt;      /* messages it brought first, or after another; the application says */
    uint64_t useful_ns; /* when it last brought one first; 0: never */
    struct weir_addr addr;
    struct weir_prelude *prelude; /* NULL: none, or it is done and its last send has ended */
    uint8_t dial_id[32];
    char *text;     /* of the goodbye, ours or the peer's, owned; NULL: none */
    uint64_t roomy; /* channels that got room */
    struct weir_conn *next_dirty, *next_starved, *next_resumed, *next_roomy, *next_free;
    struct weir_conn *older, *younger; /* PENDING: in the order in which they were accepted */
    struct weir_conn *next_step;       /* QUEUED: in the order in which the messages came */
};

/* What the node wants to hear. All run on the shard's thread. */
struct weir_hub_ops {
    /* A dialed connection's connect ended well; NULL: of no interest. */
    void (*connected)(struct weir_conn *conn);
    void (*ready)(struct weir_conn *conn);
    /* The static key that a dialed connection's dial_id is known to have; false: none is. NULL: none ever is. */
    bool (*known)(struct weir_conn *conn, uint8_t ret_key[32]);
    /* Once per connection that was opened; `was_ready` says whether ready() had been called. */
    void (*ended)(struct weir_conn *conn, uint16_t reason, bool was_ready);
    /* A verified run of messages whose lengths were checked. */
    void (*run)(struct weir_conn *conn, uint32_t channel_idx, const uint8_t *run, uint32_t len,
                struct weir_buf *buf);
    void (*message)(struct weir_conn *conn, uint32_t channel_idx, const uint8_t *data, uint32_t len,
                    struct weir_buf *buf);
    /* Everything handed over so far must be dealt with: its memory goes away. */
    void (*flush)(struct weir_hub *hub);
    void (*writable)(struct weir_conn *conn, uint32_t channel_idx);
    void (*log)(struct weir_hub *hub, int level, const char *line);
};

/* Frames that wait for verification at once, and bytes after which it is done early: a batch that does
 * not fit the L2 cache is hashed from L3. */
#define WEIR_HUB_FRAMES 512u
#define WEIR_HUB_PENDING_BYTES (256u * 1024u)

/* What those who are told of room queue in one turn. It is hashed and copied by the kernel as the turn ends, and the
 * buffers that this frees are the next to be filled: all of it stays in the L2 cache, however many connections
 * there are. */
#define WEIR_REFILL_BYTES (256u * 1024u)

#define WEIR_TIMER_CONN 1u        /* kind of the timers of connections; arg: the slot */
#define WEIR_PINGS_PER_S_MAX 100u /* more is WEIR_R_FLOOD */

struct weir_hub_metrics { /* written by the shard, read by any thread (relaxed) */
#define WEIR_FIELD(field, name, type, unit, help) _Atomic uint64_t field;
    WEIR_SHARD_SERIES(WEIR_FIELD)
    _Atomic uint64_t closes[WEIR_REASON_CNT];
    _Atomic uint64_t rtt_cnts[WEIR_RTT_BUCKETS]; /* not cumulative */
    _Atomic uint64_t rtt_sum_ns;
    struct {
        WEIR_CHANNEL_SERIES(WEIR_FIELD)
        _Atomic uint64_t refused_away; /* refused to other threads, and written by them */
    } channels[WEIR_CHANNELS_MAX];
#undef WEIR_FIELD
};

/* The shard is the only writer, so a plain add of a relaxed load and store is enough. */
static inline void weir_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void weir_uncount(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) - n,
                          memory_order_relaxed);
}

struct weir_hub {
    struct weir_io *io;
    struct weir_heap *heap;
    struct weir_pool *pool;
    struct weir_wheel *wheel;
    const struct weir_codec *codec;        /* the plain wire */
    const struct weir_codec *secure_codec; /* the encrypted one; NULL: this node is plain */
    const struct weir_config *cfg;         /* every default written out */
    const struct weir_channel *channels;   /* likewise */
    uint32_t channel_cnt;
    uint32_t shard;
    const uint8_t *channel_idx_of; /* by id: 65,536 bytes, 0xFF: not attached */
    const struct weir_offer *offer;
    const struct weir_offer *offer_refusing; /* to plain peers, where none are taken */
    const struct weir_hub_ops *ops;
    void *user; /* the node's shard */
    uint64_t
        drain_until_ns; /* the node stops, and this is how long its messages may take; 0: not */
    bool has_unheard;   /* while it stopped, messages were given up that may not have been read */
    uint64_t now_ns;    /* of this turn */
    uint64_t heard_all_ns; /* of the last one that left nothing unread that had come before it */

    struct weir_conn *conns; /* cfg->peers_max of them: type-stable memory */
    struct weir_conn_channel *conn_channels;
    uint8_t *codec_states;
    size_t codec_stride;
    struct weir_conn *free_conns;
    struct weir_conn *dirty_head, *dirty_tail;
    struct weir_conn *starved, *starved_tail; /* in the order in which they starved */
    struct weir_conn *resumed;
    struct weir_conn *roomy_head, *roomy_tail; /* in the order in which they got room */
    uint64_t *finish_tags;                     /* the schedulers', per connection and channel */
    uint64_t costs[WEIR_CHANNELS_MAX];         /* weir_sched_cost of each channel's weight */
    uint64_t urgent;                           /* a bit per channel */
    struct weir_rates *rates;                  /* NULL: no rate is configured */
    struct weir_upload *upload;                /* the node's; NULL: no bound */
    struct weir_upload_queue *upload_queue;
    struct weir_gatekeeper keeper;
    bool is_flushing;
    struct weir_tx *free_tx, *all_tx;
    struct weir_item *free_items, *item_chunks;
    bool is_starved_io; /* the ring ran empty: re-arm after buffers came back */

    struct weir_frame frames[WEIR_HUB_FRAMES]; /* all of one codec */
    const struct weir_codec *frames_codec;
    uint32_t frame_cnt;
    uint64_t pending_bytes;
    uint32_t used_bufs[1024]; /* receive buffers that `frames` point into */
    uint32_t used_buf_cnt;
    _Atomic uint32_t slots_used; /* (any) no slot from here on was ever taken */
    struct weir_hub_metrics metrics;
};

/* ---- hub.c --------------------------------------------------------------------------------- */

/* Sizes the slots and takes their memory. Errors: WEIR_E_NOMEM. */
int weir_hub_init(struct weir_hub *hub);

/* Closes every connection as it is and frees all but the slots, which other threads may still read. */
void weir_hub_fini(struct weir_hub *hub);

/* Frees the slots: no other thread is in a call any more. */
void weir_hub_free(struct weir_hub *hub);

/* ---- conn.c -------------------------------------------------------------------------------- */

/* Takes over an accepted socket. Errors: WEIR_E_LIMIT (no slot, or too many handshakes; the caller
 * closes the socket and counts it). */
int weir_conn_accept(struct weir_hub *hub, int sock, struct weir_conn **ret_conn);

/* Starts connecting. Errors: WEIR_E_LIMIT, those of weir_io_ops.connect. */
int weir_conn_dial(struct weir_hub *hub, const struct weir_addr *addr, uint32_t dial_idx,
                   struct weir_conn **ret_conn);

/* Ends a connection for `reason`: a goodbye where the other side can understand one, then shutdown,
 * drain, close. `is_graceful`: what is queued goes first (within cfg->goodbye_linger_ns). Only the
 * first call counts. */
void weir_conn_close(struct weir_conn *conn, uint16_t reason, bool is_graceful);

/* What the goodbye says in words, before weir_conn_close; cut behind WEIR_GOODBYE_TEXT_MAX bytes. Without memory
 * it goes without. */
void weir_conn_set_text(struct weir_conn *conn, const char *text);

/* The time of a GOODBYE or LINGER is over. What was queued and has not gone is given up, and the goodbye
 * alone gets as much time again; then it is weir_conn_abort. */
void weir_conn_hurry(struct weir_conn *conn);

/* The same without a goodbye: the stream is of no use any more. */
void weir_conn_abort(struct weir_conn *conn, uint16_t reason);

/* The stream broke under us: what arrived before is delivered, then as weir_conn_abort. */
void weir_conn_broken(struct weir_conn *conn);
/* The peer sends no more: likewise, but a goodbye of ours still goes. */
void weir_conn_ended(struct weir_conn *conn);

void weir_conn_established(struct weir_conn *conn); /* DIALING -> HANDSHAKE */
/* Begins the handshake on the wire that was chosen, or found out from the first bytes. */
void weir_conn_begin(struct weir_conn *conn, const struct weir_codec *codec,
                     const struct weir_offer *offer);
void weir_conn_agreed(struct weir_conn *conn);       /* HANDSHAKE -> READY */
void weir_conn_said_goodbye(struct weir_conn *conn); /* GOODBYE -> LINGER */
/* Tries again what the kernel had no memory for. */
void weir_conn_retry(struct weir_conn *conn);
void weir_conn_settle(struct weir_conn *conn); /* DRAIN -> FREE when nothing is in flight */
/* Has the codec forget the connection and its keys. */
void weir_conn_end_codec(struct weir_conn *conn);

/* Walks a connection's invariants (debug and simulation). */
void weir_conn_verify(const struct weir_conn *conn);

#define WEIR_BUSY_HALF_LIFE_NS (UINT64_C(500) * WEIR_NS_PER_MS)

/* What was busy in this half second is what was in the last, when one is over; after two nothing is left of it. */
static inline void weir_conn_age_busy(struct weir_conn *conn)
{
    uint64_t age_ns = conn->hub->now_ns - conn->busy_since_ns;
    if (WEIR_LIKELY(age_ns <= WEIR_BUSY_HALF_LIFE_NS))
        return;
    bool is_old = age_ns > 2 * WEIR_BUSY_HALF_LIFE_NS;
    conn->busy_before = is_old ? 0 : conn->busy_now;
    conn->heard_before = is_old ? 0 : conn->heard_now;
    conn->busy_now = conn->heard_now = 0;
    conn->busy_since_ns = conn->hub->now_ns;
}

static inline void weir_conn_mark_dirty(struct weir_conn *conn)
{
    if (conn->flags & WEIR_CONN_DIRTY)
        return;
    conn->flags |= WEIR_CONN_DIRTY;
    struct weir_hub *hub = conn->hub;
    conn->next_dirty = NULL;
    if (hub->dirty_tail)
        hub->dirty_tail->next_dirty = conn;
    else
        hub->dirty_head = conn;
    hub->dirty_tail = conn;
}

/* Whether messages are on their way that the peer may not have read. */
static inline bool weir_conn_is_unheard(const struct weir_conn *conn)
{
    return conn->last_data_ns && conn->last_data_ns >= conn->heard_ns;
}

/* ---- events.c ------------------------------------------------------------------------------ */

/* Arms receive. */
void weir_conn_arm_recv(struct weir_conn *conn);

/* Has receive armed again at the end of the turn. */
void weir_conn_starve(struct weir_conn *conn);

/* Handles one event of the io. */
void weir_conn_event(struct weir_hub *hub, const struct weir_io_event *event);

/* The connection that a token names, NULL when it is of an earlier generation. */
struct weir_conn *weir_conn_of_token(struct weir_hub *hub, uint64_t token);
static inline uint64_t weir_conn_token(const struct weir_conn *conn)
{
    return ((uint64_t)(conn->gen & 0xFFFFFFu) << 32) | conn->slot;
}

/* ---- rx.c ---------------------------------------------------------------------------------- */

/* Takes the bytes of one receive event. */
void weir_rx_event(struct weir_conn *conn, const struct weir_io_event *event);

/* Feeds a connection that was held or queued what it has sent. */
void weir_rx_again(struct weir_conn *conn);

/* Arms receive again on connections that starved, once buffers are back: the first of them, as many as there
 * are buffers. */
void weir_rx_rearm(struct weir_hub *hub);

/* Drops every buffer the receive side holds. */
void weir_rx_reset(struct weir_conn *conn);

/* ---- verify.c ------------------------------------------------------------------------------ */

/* Checks and delivers all pending frames, then gives receive buffers back. */
void weir_verify_flush(struct weir_hub *hub);

/* Gives `bytes` of a channel's credit back. */
void weir_credit_consume(struct weir_conn *conn, uint32_t channel_idx, uint64_t bytes);

/* Stops or goes on delivering a channel; what was held is delivered by weir_verify_resume. */
void weir_conn_pause(struct weir_conn *conn, uint32_t channel_idx, bool is_paused);
void weir_verify_resume(struct weir_hub *hub);

/* ---- sendq.c ------------------------------------------------------------------------------- */

/* Queues a copy. Errors: WEIR_E_FULL, WEIR_E_TOO_BIG (also an empty message for a window of one
 * byte), WEIR_E_NO_CHANNEL, WEIR_E_NOMEM. `is_reserved`: room
 * was reserved by another thread, the bound does not apply again. */
int weir_sendq_copy(struct weir_conn *conn, uint32_t channel_idx, const void *data, size_t len,
                    bool is_reserved);

/* Queues a reference; `take` is consumed whatever the result. */
int weir_sendq_buf(struct weir_conn *conn, uint32_t channel_idx, struct weir_buf *take,
                   bool is_reserved);

/* Queues a message that was encoded once for many connections. */
int weir_sendq_shared(struct weir_conn *conn, uint32_t channel_idx, struct weir_shared *shared);

/* Called when `bytes` of a channel's queue are gone: counts, and sees to it that writable is said. */
void weir_sendq_release(struct weir_conn *conn, uint32_t channel_idx, uint64_t bytes);

/* Says writable to those who got room, in their order, until they have queued WEIR_REFILL_BYTES; the others are
 * for the next turn. */
void weir_sendq_tell(struct weir_hub *hub);

/* Drops everything queued. */
void weir_sendq_reset(struct weir_conn *conn);

void weir_item_free(struct weir_hub *hub, struct weir_item *item);
void weir_shared_unref(struct weir_shared *shared);

/* ---- tx.c ---------------------------------------------------------------------------------- */

/* Submits a send on every dirty connection that has none in flight. */
void weir_tx_flush(struct weir_hub *hub);
void weir_tx_event(struct weir_conn *conn, int32_t res);
void weir_tx_reset(struct weir_conn *conn);

/* ---- keepalive.c --------------------------------------------------------------------------- */

/* Sets the connection's timer to its next deadline. */
void weir_keepalive_set(struct weir_conn *conn);
void weir_keepalive_fire(struct weir_conn *conn);
/* Counts a frame that asks for work and carries nothing (a ping, an unknown optional kind); true: it was one
 * too many in this second, and the connection ends with WEIR_R_FLOOD. */
bool weir_keepalive_is_flood(struct weir_conn *conn);
void weir_keepalive_ping(struct weir_conn *conn, uint64_t value);
void weir_keepalive_pong(struct weir_conn *conn, uint64_t value);

#endif
