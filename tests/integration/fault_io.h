/* tests/integration/fault_io.h: the n-th operation of a real ring fails, in a way that is chosen.
 *
 * It stands between a shard and its io_uring: fault_make() makes the rings and puts it
 * there, before the node listens and starts. One fault is armed at a time, for all rings of the process:
 *
 *   FAULT_REFUSED    starting the operation answers `value` (a WEIR_E_*); nothing was started
 *   FAULT_RESULT     the operation ends at once with `value` (-errno, 0 or a count), without MORE, and
 *                    the kernel never hears of it
 *   FAULT_REWRITTEN  the kernel carries it out, and its (last) event says `value` instead
 *   FAULT_SHORT      a send of which only `value` bytes are given to the kernel
 *
 * Everything is on one thread.
 */
#ifndef WEIR_TESTS_INTEGRATION_FAULT_IO_H
#define WEIR_TESTS_INTEGRATION_FAULT_IO_H

#include "engine/node/internal.h"
#include "tests/integration/harness.h"

enum fault_op {
    FAULT_OP_NONE = 0,
    FAULT_OP_ENABLE,
    FAULT_OP_LISTEN,
    FAULT_OP_ACCEPT,
    FAULT_OP_CONNECT,
    FAULT_OP_RECV,
    FAULT_OP_SEND,
    FAULT_OP_SHUTDOWN,
    FAULT_OP_CANCEL,
    FAULT_OP_PEER_ADDR,
    FAULT_OP_TURN,
    FAULT_OPS
};

enum fault_way { FAULT_REFUSED = 1, FAULT_RESULT, FAULT_REWRITTEN, FAULT_SHORT };

struct fault {
    enum fault_op op;
    enum fault_way way;
    int value;
};

#define FAULT_EVENTS 64u

struct fault_io {
    struct weir_io io;
    struct weir_io *real;
    struct weir_io_event made[FAULT_EVENTS]; /* events that no kernel made */
    uint32_t made_cnt;
    uint64_t rewrite_token; /* of `rewrite_kind`; 0: none */
    uint32_t rewrite_kind;
};

static struct {
    struct fault fault;
    uint64_t countdown; /* 1: the next; 0: off */
    uint64_t op_cnt[FAULT_OPS];
} fault_plan;

/* Whether this operation is the one. */
static inline bool fault_hits(enum fault_op op)
{
    fault_plan.op_cnt[op]++;
    if (fault_plan.fault.op != op || fault_plan.countdown == 0)
        return false;
    return --fault_plan.countdown == 0;
}

static inline struct fault_io *fault_of(struct weir_io *io)
{
    return (struct fault_io *)(void *)io;
}

static inline struct weir_io *fault_real(struct weir_io *io)
{
    return fault_of(io)->real;
}

/* Deals with an operation that is hit. Returns true when the kernel is not to hear of it, with what its
 * start answers. */
static inline bool fault_applies(struct weir_io *io, enum fault_op op, uint32_t kind,
                                 uint64_t token, int *ret_error)
{
    struct fault_io *own = fault_of(io);
    if (!fault_hits(op))
        return false;
    switch (fault_plan.fault.way) {
    case FAULT_REFUSED:
        *ret_error = fault_plan.fault.value;
        return true;
    case FAULT_RESULT:
        cr_assert(own->made_cnt < FAULT_EVENTS);
        own->made[own->made_cnt++] = (struct weir_io_event){
            .token = token, .res = fault_plan.fault.value, .kind = (uint16_t)kind};
        *ret_error = 0;
        return true;
    case FAULT_REWRITTEN:
        own->rewrite_token = token;
        own->rewrite_kind = kind;
        return false;
    case FAULT_SHORT:
        break;
    }
    return false;
}

static inline int fault_enable(struct weir_io *io)
{
    int error = 0;
    return fault_applies(io, FAULT_OP_ENABLE, 0, 0, &error)
               ? error
               : fault_real(io)->ops->enable(fault_real(io));
}

static inline void fault_free(struct weir_io *io)
{
    fault_real(io)->ops->free(fault_real(io));
    free(io);
}

static inline int fault_listen(struct weir_io *io, const struct weir_addr *addr, bool is_shared,
                               struct weir_addr *ret_addr)
{
    int error = 0;
    return fault_applies(io, FAULT_OP_LISTEN, 0, 0, &error)
               ? error
               : fault_real(io)->ops->listen(fault_real(io), addr, is_shared, ret_addr);
}

static inline int fault_accept(struct weir_io *io, int sock, uint64_t token)
{
    int error = 0;
    return fault_applies(io, FAULT_OP_ACCEPT, WEIR_IO_ACCEPT, token, &error)
               ? error
               : fault_real(io)->ops->accept(fault_real(io), sock, token);
}

static inline int fault_connect(struct weir_io *io, const struct weir_addr *addr, uint64_t token,
                                int *ret_sock)
{
    int error = 0;
    return fault_applies(io, FAULT_OP_CONNECT, WEIR_IO_CONNECT, token, &error)
               ? error
               : fault_real(io)->ops->connect(fault_real(io), addr, token, ret_sock);
}

static inline void fault_tune(struct weir_io *io, int sock)
{
    fault_real(io)->ops->tune(fault_real(io), sock);
}

static inline void fault_bound_unsent(struct weir_io *io, int sock, uint32_t bytes)
{
    fault_real(io)->ops->bound_unsent(fault_real(io), sock, bytes);
}

static inline void fault_bound_unread(struct weir_io *io, int sock, uint32_t step)
{
    fault_real(io)->ops->bound_unread(fault_real(io), sock, step);
}

static inline int fault_recv(struct weir_io *io, int sock, uint64_t token)
{
    int error = 0;
    return fault_applies(io, FAULT_OP_RECV, WEIR_IO_RECV, token, &error)
               ? error
               : fault_real(io)->ops->recv(fault_real(io), sock, token);
}

static inline void fault_recv_done(struct weir_io *io, uint32_t buf_idx)
{
    fault_real(io)->ops->recv_done(fault_real(io), buf_idx);
}

static inline int fault_send(struct weir_io *io, int sock, const struct iovec *iov,
                             uint32_t iov_cnt, uint64_t token)
{
    int error = 0;
    bool is_short = fault_plan.fault.way == FAULT_SHORT;
    if (!is_short && fault_applies(io, FAULT_OP_SEND, WEIR_IO_SEND, token, &error))
        return error;
    if (!is_short || !fault_hits(FAULT_OP_SEND))
        return fault_real(io)->ops->send(fault_real(io), sock, iov, iov_cnt, token);
    static struct iovec less; /* outlives the submission */
    less = iov[0];
    if (less.iov_len > (size_t)fault_plan.fault.value)
        less.iov_len = (size_t)fault_plan.fault.value;
    return fault_real(io)->ops->send(fault_real(io), sock, &less, 1, token);
}

static inline int fault_shutdown(struct weir_io *io, int sock, int how, uint64_t token)
{
    int error = 0;
    return fault_applies(io, FAULT_OP_SHUTDOWN, WEIR_IO_SHUTDOWN, token, &error)
               ? error
               : fault_real(io)->ops->shutdown(fault_real(io), sock, how, token);
}

static inline int fault_cancel(struct weir_io *io, uint64_t token)
{
    int error = 0;
    return fault_applies(io, FAULT_OP_CANCEL, WEIR_IO_ACCEPT, token, &error)
               ? error
               : fault_real(io)->ops->cancel(fault_real(io), token);
}

static inline void fault_close(struct weir_io *io, int sock)
{
    fault_real(io)->ops->close(fault_real(io), sock);
}

static inline bool fault_peer_addr(struct weir_io *io, int sock, struct weir_addr *ret_addr)
{
    return !fault_hits(FAULT_OP_PEER_ADDR) &&
           fault_real(io)->ops->peer_addr(fault_real(io), sock, ret_addr);
}

static inline int64_t fault_turn(struct weir_io *io, struct weir_io_event *ret_events,
                                 uint32_t event_max, uint64_t wait_ns)
{
    struct fault_io *own = fault_of(io);
    int error = 0;
    if (fault_applies(io, FAULT_OP_TURN, 0, 0, &error))
        return error;
    uint32_t made_cnt = own->made_cnt < event_max ? own->made_cnt : event_max;
    memcpy(ret_events, own->made, made_cnt * sizeof(*ret_events));
    memmove(own->made, own->made + made_cnt, (own->made_cnt - made_cnt) * sizeof(*own->made));
    own->made_cnt -= made_cnt;
    struct weir_io_event *events = ret_events + made_cnt;
    int64_t cnt =
        own->real->ops->turn(own->real, events, event_max - made_cnt, made_cnt ? 0 : wait_ns);
    if (cnt < 0)
        return cnt;
    for (int64_t i = 0; i < cnt; i++) {
        if (events[i].token != own->rewrite_token || events[i].kind != own->rewrite_kind ||
            own->rewrite_token == 0 || (events[i].flags & WEIR_IO_MORE))
            continue;
        events[i].res = fault_plan.fault.value;
        own->rewrite_token = 0;
    }
    return made_cnt + cnt;
}

static inline void fault_wake(struct weir_io *io)
{
    fault_real(io)->ops->wake(fault_real(io));
}

static inline uint64_t fault_now(struct weir_io *io)
{
    return fault_real(io)->ops->now(fault_real(io));
}

static inline void fault_random(struct weir_io *io, void *ret_bytes, size_t len)
{
    fault_real(io)->ops->random(fault_real(io), ret_bytes, len);
}

static inline void fault_stats(const struct weir_io *io, struct weir_io_stats *ret_stats)
{
    const struct weir_io *real = ((const struct fault_io *)(const void *)io)->real;
    real->ops->stats(real, ret_stats);
}

static const struct weir_io_ops fault_ops = {
    .enable = fault_enable,
    .free = fault_free,
    .listen = fault_listen,
    .accept = fault_accept,
    .connect = fault_connect,
    .tune = fault_tune,
    .bound_unsent = fault_bound_unsent,
    .bound_unread = fault_bound_unread,
    .recv = fault_recv,
    .recv_done = fault_recv_done,
    .send = fault_send,
    .shutdown = fault_shutdown,
    .cancel = fault_cancel,
    .close = fault_close,
    .peer_addr = fault_peer_addr,
    .turn = fault_turn,
    .wake = fault_wake,
    .now = fault_now,
    .random = fault_random,
    .stats = fault_stats,
};

/* Makes a node's rings and puts it between them and the shards; before listen, dial and start. */
static inline int fault_make(weir_node *node)
{
    pthread_mutex_lock(&node->mutex);
    int error = weir_node_prepare(node);
    pthread_mutex_unlock(&node->mutex);
    for (uint32_t i = 0; i < node->shard_cnt && !error; i++) {
        struct fault_io *own = calloc(1, sizeof(*own));
        cr_assert(own != NULL);
        own->io.ops = &fault_ops;
        own->real = node->shards[i]->io;
        node->shards[i]->io = &own->io;
    }
    return error;
}

/* The n-th operation of the fault's kind from now on fails; NULL: none does. Counts start anew. */
static inline void fault_arm(const struct fault *fault, uint64_t nth)
{
    memset(&fault_plan, 0, sizeof(fault_plan));
    if (fault) {
        fault_plan.fault = *fault;
        fault_plan.countdown = nth;
    }
}

#endif
