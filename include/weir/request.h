/* weir/request.h: questions that one peer asks another, and answers.
 *
 * A reactor with one channel. Both sides attach it; each may ask and answer.
 *
 *     weir_requests_create(&requests, node, &cfg);      // before weir_node_start
 *     weir_ask(requests, &ask, &ticket);                // any thread
 *
 * An *ask* is a method (a number of the application's), bytes, and a deadline. What comes back are *answers*:
 * zero or more parts and then, exactly once, a final one: the last part, an error with code and text, or why
 * there is none. They go to the asker's own queue (weir_inbox, which any thread polls) or to a callback on the
 * shard that owns the peer.
 *
 * Back-pressure: an answer may be of any size. The asker grants a window of bytes per ask (window_bytes) and
 * grants more as answers are consumed, so a slow asker holds up the one answer it does not read, and no other.
 *
 * Replies that come when nobody waits for them any more (after a deadline or a cancellation) are recognised,
 * dropped and counted as late; replies to what has been answered as duplicates. A reply to what was never asked
 * ends the connection with WEIR_R_BAD_REQUEST. docs/requests.md has every byte.
 */
#ifndef WEIR_REQUEST_H
#define WEIR_REQUEST_H

#include "weir/node.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_REQUEST_CHANNEL 0xFF02u     /* the channel's id, unless told otherwise */
#define WEIR_REQUEST_TEXT_BYTES_MAX 255u /* text of an error reply */
#define WEIR_REQUEST_HEAD_BYTES 16u      /* what the protocol puts in front of a question or part */
#define WEIR_REQUEST_OUT_MAX 1024u       /* the most that out_max and in_max can be */

typedef struct weir_requests
    weir_requests;                    /* the reactor; any thread unless a function says otherwise */
typedef struct weir_inbox weir_inbox; /* a queue of answers; any thread */

/* ---- answering ----------------------------------------------------------------------------- */

/* Names a question until it is answered; a stale one answers WEIR_E_GONE. */
typedef struct weir_reply {
    weir_peer peer;
    uint32_t id;
    uint32_t slot;
    uint64_t serial;
} weir_reply;

/* A question that arrived. `data` is borrowed until the callback returns. */
struct weir_request {
    weir_reply reply;
    const uint8_t *data;
    uint32_t len;
    uint16_t method;
    uint16_t reserved;
    weir_ns deadline;           /* when the asker gives up, by this node's clock; WEIR_NS_FOREVER */
    const struct weir_msg *msg; /* for weir_msg_keep: the bytes begin WEIR_REQUEST_HEAD_BYTES in */
};

/* Codes of error replies below this are weir's own. */
#define WEIR_REQUEST_CODE_FIRST 16u
enum weir_request_code {
    WEIR_REQUEST_BUSY = 1,       /* the peer has as many unanswered questions as it may (in_max) */
    WEIR_REQUEST_NO_SERVICE = 2, /* nobody answers here */
    WEIR_REQUEST_FAILED = 3,     /* the answer could not be sent */
    WEIR_REQUEST_TOO_BIG = 4, /* the question is longer than is taken here (question_bytes_max) */
};

struct weir_request_config {
    uint32_t size;
    uint16_t channel;            /* default WEIR_REQUEST_CHANNEL */
    uint16_t weight;             /* of the channel; default 1 */
    uint32_t channel_flags;      /* enum weir_channel_flags */
    uint32_t question_bytes_max; /* longest question, both ways; default 65,536, to 16 MiB */
    uint32_t
        part_bytes_max; /* longest part that is sent; default 32,768, 1,024 to 1 MiB. Parts of up to
                                  * max(question_bytes_max, part_bytes_max) are taken */
    uint32_t window_bytes; /* granted per ask unless it says; default 262,144 */
    uint32_t out_max;      /* unanswered asks per peer; default 64, to WEIR_REQUEST_OUT_MAX */
    uint32_t in_max;       /* unanswered questions per peer; more are answered WEIR_REQUEST_BUSY;
                                  * default 64, to WEIR_REQUEST_OUT_MAX */
    uint32_t reserved;
    weir_ns timeout_ns;        /* of an ask unless it says; default 10 s */
    uint64_t answer_bytes_max; /* of weir_reply_send; default 64 MiB, to 1 GiB */
    void *ctx; /* handed to the callbacks, which run on the shard that owns the peer */
    /* A question. Answer it here, or later with its `reply`. NULL: each is answered WEIR_REQUEST_NO_SERVICE. */
    void (*on_question)(void *ctx, const struct weir_request *question);
    /* After weir_reply_write took less than it was given: there is room again. */
    void (*on_room)(void *ctx, weir_reply reply);
    /* An unanswered question is over: cancelled, past its deadline, or its peer is gone. Not called for what
     * was answered to its end. */
    void (*on_over)(void *ctx, weir_reply reply);
};

/* Fills in the defaults.  Thread: any thread. */
WEIR_API void weir_request_config_init(struct weir_request_config *ret_cfg);

/* Makes the reactor and attaches it. Before start.
 * Errors: WEIR_E_CONFIG (a field out of range), WEIR_E_VERSION, WEIR_E_NOMEM, and those of weir_node_attach.
 * Owns: the caller frees it with weir_requests_free(), after the node. */
WEIR_API WEIR_MUST_CHECK int weir_requests_create(weir_requests **ret_requests, weir_node *node,
                                                  const struct weir_request_config *cfg);

/* Frees the reactor; NULL is fine. Not before its node was freed. Asks without a final answer get theirs here
 * (WEIR_ANSWER_GONE), if they go to an inbox. */
WEIR_API void weir_requests_free(weir_requests *requests);

/* Answers with all of it: `len` bytes (0 is an answer too), copied, and sent in parts as the asker grants.
 * 0 means queued. Errors: WEIR_E_GONE (cancelled, expired, answered, peer gone), WEIR_E_TOO_BIG
 * (answer_bytes_max), WEIR_E_STATE (after a weir_reply_write that was the last), WEIR_E_NOMEM, WEIR_E_FULL
 * (mailbox). Elsewhere than on the peer's shard what is gone is only noticed there: 0, and nothing is sent. */
WEIR_API int weir_reply_send(weir_requests *requests, weir_reply reply, const void *data,
                             size_t len);

/* Answers in parts, as fast as the asker takes them: takes as many bytes of `data` as may go now. `is_last`:
 * the answer ends with these bytes, if all of them were taken.
 * Returns how many bytes were taken, perhaps 0; if fewer than `len`, on_room follows.
 * Errors: WEIR_E_GONE, WEIR_E_MISUSE (elsewhere), WEIR_E_STATE (weir_reply_send was called before).
 * Thread: the one of the peer's shard (weir_post gets there). */
WEIR_API int64_t weir_reply_write(weir_requests *requests, weir_reply reply, const void *data,
                                  size_t len, int is_last);

/* Answers with an error: a code from WEIR_REQUEST_CODE_FIRST on and up to 255 bytes of text (longer ones are
 * cut; NULL: none). Parts that went before stay. Errors: as weir_reply_send; WEIR_E_MISUSE (a code of weir's). */
WEIR_API int weir_reply_error(weir_requests *requests, weir_reply reply, uint32_t code,
                              const char *text);

/* ---- asking -------------------------------------------------------------------------------- */

enum weir_answer_kind {
    WEIR_ANSWER_PART = 1,  /* bytes of the answer; is_final with the last ones */
    WEIR_ANSWER_ERROR,     /* the peer's error reply: code, text */
    WEIR_ANSWER_TIMEOUT,   /* the deadline passed */
    WEIR_ANSWER_CANCELLED, /* weir_ask_cancel */
    WEIR_ANSWER_GONE,      /* the peer went, or the node stopped */
    WEIR_ANSWER_FAILED, /* it could not be asked, or the answer is too big: code is a WEIR_E_*, negative */
};

/* Names an ask. */
typedef struct weir_ticket {
    weir_peer peer;
    uint64_t serial;
} weir_ticket;

struct weir_answer {
    weir_ticket ticket;
    uint64_t tag;        /* as in the ask */
    uint64_t offset;     /* PART: of `data` in the answer */
    const uint8_t *data; /* PART: bytes; ERROR: text, cut to printable bytes, not terminated */
    uint32_t len;
    int32_t code; /* ERROR: the peer's code; FAILED: WEIR_E_* */
    uint8_t kind; /* enum weir_answer_kind */
    uint8_t is_final;
    uint8_t reserved[6];
};

struct weir_ask {
    uint32_t size;
    uint16_t method;
    uint16_t reserved;
    weir_peer peer;
    const void *data; /* copied */
    size_t len;
    weir_ns timeout_ns;    /* 0: the configuration's; WEIR_NS_FOREVER: none */
    uint32_t window_bytes; /* 0: the configuration's */
    uint32_t flags;        /* 0 */
    uint64_t
        answer_bytes_max; /* a longer answer ends with WEIR_ANSWER_FAILED, WEIR_E_TOO_BIG; 0: none */
    uint64_t tag;
    weir_inbox *inbox; /* where answers go; NULL: to on_answer */
    /* Runs on the peer's shard, on the thread that frees the node if that comes first; the bytes are borrowed
     * until it returns, and granted again then. */
    void (*on_answer)(void *ctx, const struct weir_answer *answer);
    void *ctx;
};

/* Asks. 0 means that exactly one final answer will come. On the peer's shard errors are returned; elsewhere
 * those marked * come as an answer of WEIR_ANSWER_GONE or WEIR_ANSWER_FAILED.
 * Errors: WEIR_E_GONE *, WEIR_E_LIMIT * (out_max), WEIR_E_FULL * (the channel's queue; elsewhere also the
 * mailbox), WEIR_E_NO_CHANNEL * (the peer has no such reactor), WEIR_E_TOO_BIG, WEIR_E_NOMEM, WEIR_E_VERSION,
 * WEIR_E_MISUSE (neither inbox nor on_answer), WEIR_E_STATE.
 * `ret_ticket` may be NULL. */
WEIR_API WEIR_MUST_CHECK int weir_ask(weir_requests *requests, const struct weir_ask *ask,
                                      weir_ticket *ret_ticket);

/* Cancels an ask: its final answer is WEIR_ANSWER_CANCELLED, unless another was on its way already, and the
 * peer is told to stop. Errors: WEIR_E_GONE (it has ended; only noticed on the peer's shard), WEIR_E_FULL
 * (mailbox), WEIR_E_NOMEM. */
WEIR_API int weir_ask_cancel(weir_requests *requests, weir_ticket ticket);

/* ---- the asker's queue --------------------------------------------------------------------- */

/* Makes an inbox for any number of asks, of any number of reactors and nodes. What it holds is bounded by its
 * asks: each by its window. Errors: WEIR_E_NOMEM. */
WEIR_API WEIR_MUST_CHECK int weir_inbox_create(weir_inbox **ret_inbox);

/* Frees an inbox; NULL is fine. Answers that are in it or come later are dropped. No thread may be in a call
 * with it, and every answer taken from it must have been released. */
WEIR_API void weir_inbox_free(weir_inbox *inbox);

/* Takes the oldest answer, waiting for up to `timeout`; NULL: there is none. Asks' answers keep their order.
 * The bytes are the caller's until weir_inbox_release(), which grants them to the peer again: call it while the
 * node is there, or after weir_requests_free(). */
WEIR_API const struct weir_answer *weir_inbox_take(weir_inbox *inbox, weir_ns timeout);
WEIR_API void weir_inbox_release(weir_inbox *inbox, const struct weir_answer *answer);

/* A descriptor that is readable while answers wait, for poll and epoll; made by the first call; do not read
 * from it. Errors: WEIR_E_DESCRIPTORS. */
WEIR_API int weir_inbox_fd(weir_inbox *inbox);

/* ---- looking ------------------------------------------------------------------------------- */

struct weir_request_stats {
    uint32_t size; /* in: sizeof(struct weir_request_stats) */
    uint32_t reserved;
    uint64_t asked, asking;    /* asks sent so far; without a final answer now */
    uint64_t answered, errors; /* how they ended */
    uint64_t timeouts, cancelled, gone, failed;
    uint64_t late, duplicates;               /* replies that were dropped */
    uint64_t parts_received, bytes_received; /* of answers */
    uint64_t questions, answering;           /* that came; that are not answered now */
    uint64_t busy;                           /* questions refused at in_max */
    uint64_t replied, reply_errors, over;    /* how they ended */
    uint64_t parts_sent, bytes_sent;
    uint64_t stalls; /* times an answer waited for the asker's grant */
    uint64_t faults; /* peers that broke the protocol */
};

/* Reads the counters. Errors: WEIR_E_VERSION, WEIR_E_MISUSE (a size below 4). */
WEIR_API int weir_requests_stats(weir_requests *requests, struct weir_request_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif
