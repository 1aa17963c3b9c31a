/* engine/node/request_impl.h: requests from the inside.
 *
 *   request.c        the reactor: its life, peers, which message is whose
 *   request_ask.c    asks: sent, answered, cancelled, late
 *   request_serve.c  questions: answered whole, in parts, with an error
 *   request_wire.c   bytes
 *   inbox.c          the asker's queue
 *
 * All of a peer (struct request_peer) is its shard's: other threads get there by weir_post. What other threads
 * do touch is marked (any). A *slot* is the position of an ask or a question in its peer's table; an ask's id on
 * the wire is its slot and how often the slot was used, so that any reply is known for what it is, without a
 * memory of past asks.
 */
#ifndef WEIR_ENGINE_NODE_REQUEST_IMPL_H
#define WEIR_ENGINE_NODE_REQUEST_IMPL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/base/wheel.h"
#include "engine/mem/heap.h"
#include "engine/node/request_wire.h"
#include "weir/buf.h"
#include "weir/reactor.h"
#include "weir/request.h"

#define WEIR_REQUEST_SLOT_BITS 10u
#define WEIR_REQUEST_USE_MASK ((UINT32_C(1) << (32 - WEIR_REQUEST_SLOT_BITS)) - 1)
_Static_assert(WEIR_REQUEST_OUT_MAX == 1u << WEIR_REQUEST_SLOT_BITS, "a slot fits its bits");

enum request_timer { REQUEST_TIMER_ASK = 1, REQUEST_TIMER_QUESTION = 2 };

struct request_ask {
    struct weir_timer timer; /* REQUEST_TIMER_ASK */
    _Atomic uint32_t refs;   /* (any) the table's, each answer's in an inbox, each post's */
    weir_requests *requests;
    weir_ticket ticket;
    uint64_t tag;
    weir_inbox *inbox; /* a reference; NULL: on_answer */
    void (*on_answer)(void *ctx, const struct weir_answer *answer);
    void *ctx;
    struct weir_inbox_item
        *last_item;           /* inbox: made with the ask, so that its end cannot be lost */
    struct weir_buf *message; /* until it is sent */
    weir_ns deadline;
    uint32_t id, window;
    uint64_t answer_bytes_max;  /* UINT64_MAX: none */
    uint64_t received, granted; /* bytes of the answer */
    _Atomic uint64_t consumed;  /* (any) of them given back by the asker */
    _Atomic uint64_t reported;  /* (any) of them a post was made for */
    _Atomic bool is_over;       /* (any) nothing is to be granted any more */
    bool wants_grant;           /* the channel was full when it was to be sent */
};

struct request_question {
    struct weir_timer timer; /* REQUEST_TIMER_QUESTION */
    weir_requests *requests;
    weir_reply reply;
    uint64_t sent, limit;   /* bytes of the answer: sent, and granted */
    struct weir_buf *whole; /* weir_reply_send: what is sent, from whole_off on */
    uint64_t whole_off;
    uint32_t part_bytes_max;
    uint32_t code; /* an error reply that waits for room; 0: none */
    uint8_t text_len;
    bool wants_room, is_stalled;
    char text[WEIR_REQUEST_TEXT_BYTES_MAX];
};

struct request_out {
    struct request_ask *ask; /* NULL: free */
    uint32_t use;            /* of the slot's id; 0: never used */
    bool was_answered;       /* how the last one ended */
};

struct request_peer {
    struct request_peer *next, **prev_link; /* of its shard */
    weir_peer peer;
    bool is_bad;     /* disconnected, or going: nothing is taken from it */
    bool is_blocked; /* the channel had no room */
    uint32_t out_cnt, out_next, in_cnt, in_next;
    struct request_question **ins; /* cfg.in_max */
    struct request_out outs[];     /* cfg.out_max */
};

struct request_shard {
    struct weir_wheel wheel;
    struct request_peer *peers;
    weir_ns retry_ns; /* when to try again what memory was short for; 0: nothing */
    uint32_t ask_cnt; /* without a final answer */
    bool is_begun;
    _Atomic bool has_missed; /* (any) a grant could not be posted: a tick looks for it */
};

struct weir_requests {
    weir_node *node;
    struct weir_request_config cfg;
    uint32_t place, shard_cnt;
    _Atomic uint64_t serial;      /* (any) of the last ask or question */
    struct request_peer *gone;    /* stands in the place of who went */
    struct request_shard *shards; /* shard_cnt */
    struct {
        _Atomic uint64_t asked, asking, answered, errors, timeouts, cancelled, gone, failed, late,
            duplicates, parts_received, bytes_received, questions, answering, busy, replied,
            reply_errors, over, parts_sent, bytes_sent, stalls, faults;
    } stats;
};

static inline void request_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- request.c ----------------------------------------------------------------------------- */

static inline struct request_shard *request_shard_of(weir_requests *requests, weir_peer peer)
{
    uint32_t shard = weir_peer_shard(peer);
    return shard < requests->shard_cnt ? &requests->shards[shard] : NULL;
}

/* The peer's state, made when there is none. Errors: WEIR_E_GONE, WEIR_E_NOMEM. Shard thread. */
int request_peer_of(weir_requests *requests, weir_peer peer, struct request_peer **ret_peer);

/* Whether the calling thread is the one of the peer's shard. */
bool request_is_here(weir_requests *requests, weir_peer peer);

/* Sends `head` and `len` bytes behind it. Errors: those of weir_try_send; WEIR_E_FULL and WEIR_E_NOMEM also
 * mean that request_peer_resume will come. */
int request_send(weir_requests *requests, struct request_peer *peer,
                 const struct weir_request_msg *msg);

/* Ends a connection whose peer breaks the protocol. */
void request_fault(weir_requests *requests, struct request_peer *peer);

/* Sets a timer on the peer's shard. */
void request_timer_set(weir_requests *requests, weir_peer peer, struct weir_timer *timer,
                       weir_ns when);

/* ---- request_ask.c ------------------------------------------------------------------------- */

void request_ask_reply(weir_requests *requests, struct request_peer *peer,
                       const struct weir_request_msg *msg);
void request_ask_resume(weir_requests *requests, struct request_peer *peer); /* there is room */
void request_ask_expired(struct request_ask *ask);
/* Ends all asks of a peer. `can_call`: callbacks may be made. */
void request_asks_end(weir_requests *requests, struct request_peer *peer, int reason,
                      bool can_call);
/* Notes that `len` bytes were consumed; any thread. */
void request_ask_consumed(struct request_ask *ask, uint64_t len);
void request_ask_unref(struct request_ask *ask);

/* ---- request_serve.c ----------------------------------------------------------------------- */

void request_question(weir_requests *requests, struct request_peer *peer,
                      const struct weir_request_msg *msg, const struct weir_msg *raw);
void request_grant(weir_requests *requests, struct request_peer *peer,
                   const struct weir_request_msg *msg);
void request_cancelled(weir_requests *requests, struct request_peer *peer, uint32_t id);
void request_serve_resume(weir_requests *requests, struct request_peer *peer);
void request_question_expired(struct request_question *question);
void request_questions_end(weir_requests *requests, struct request_peer *peer, bool can_call);

/* ---- inbox.c ------------------------------------------------------------------------------- */

struct weir_inbox_item {
    struct weir_answer answer; /* first: what the user holds */
    struct weir_inbox_item *next;
    struct request_ask *ask; /* a reference; NULL: nothing to be granted */
    uint8_t data[];
};

struct weir_inbox_item *weir_inbox_item_create(uint32_t len);
void weir_inbox_put(weir_inbox *inbox, struct weir_inbox_item *take);
weir_inbox *weir_inbox_ref(weir_inbox *inbox);
void weir_inbox_unref(weir_inbox *inbox);

#endif
