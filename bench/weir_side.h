/* bench/weir_side.h: a node for one side of a run: made, turned and ended through the public API
 * only.
 *
 * The process drives the node's turns itself (WEIR_CONFIG_CALLER_TURNS) on its one pinned thread,
 * so that between two turns it can look at the run's phase. Everything is weir's default but the
 * channels of the case, the congestion control and, in a spinning run, WEIR_CONFIG_BUSY_POLL; where there
 * are many connections, the limits that many need (weir_side.c: make_room).
 */
#ifndef WEIR_BENCH_WEIR_SIDE_H
#define WEIR_BENCH_WEIR_SIDE_H

#include "bench/bench.h"
#include "weir/weir.h"

#define WEIR_SIDE_WAIT_NS (20 * WEIR_NS_PER_MS)

/* What a role wants to hear besides its reactor's callbacks. All may be NULL. */
struct weir_side_hooks {
    void (*on_up)(void *role, weir_peer peer);
    /* Without it, a connection that ends before the run does is a failure. */
    void (*on_end)(void *role, weir_peer peer, int event, int reason);
    /* Brings run->counts up to date, where the role counts elsewhere. */
    void (*collect)(void *role);
    bool is_dialer; /* the role dials, with weir_side_dial */
};

struct weir_side {
    struct bench_run *run;
    weir_node *node;
    weir_peer peer; /* the last one that came up; {0}: none */
    uint16_t port;  /* sender: the receiver's */
    bool has_threads;
    _Atomic bool is_failed; /* bench_fail() was called in a callback */
    const struct weir_side_hooks *hooks;
    void *role;
    struct weir_watch *watch; /* of the implementation `watched`; else NULL */
    weir_ns opened_ns;
    char log[256]; /* the last line at error level */
};

/* Makes the node with the reactor's on_batch, on_writable and on_tick (on_peer is the side's own;
 * callbacks get `role`, which begins with the side), listens or dials and starts. With more than one
 * shard the node has threads of its own. False after bench_fail(). */
bool weir_side_open(struct weir_side *side, struct bench_run *run,
                    const struct weir_reactor *reactor, const struct weir_side_hooks *hooks,
                    void *role);

/* Sets what the run's implementation says of encryption. */
void weir_side_transport(const struct bench_run *run, struct weir_config *ret_cfg);

/* Dials the receiver once more, at the `nth` of its addresses. False after bench_fail(). */
bool weir_side_dial(struct weir_side *side, uint32_t nth);

/* What one channel's queue of one connection may hold. */
uint32_t weir_side_queue_bytes(const struct bench_job *job);

/* One turn, waiting at most `wait` for work (a millisecond where the node has threads). False after bench_fail(), here or in a callback. */
bool weir_side_turn(struct weir_side *side, weir_ns wait);

/* Says goodbye and frees the node. */
void weir_side_close(struct weir_side *side);

/* Writes down an error of weir's; in a callback the turn then fails. */
void weir_side_fail(struct weir_side *side, const char *what, int error);

/* Sends a copy, counted on its channel. True when it was queued; false when the queue was full or
 * (weir_side_turn then fails) anything else went wrong. */
bool weir_side_send(struct weir_side *side, uint32_t channel, const void *data, uint32_t len);

/* Counts the outcome of a send in the same way. */
bool weir_side_sent(struct weir_side *side, uint32_t channel, uint32_t len, int error);

#endif
