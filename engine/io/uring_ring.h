/* engine/io/uring_ring.h: the io_uring implementation from the inside (io.h is the contract).
 *
 * One struct weir_uring is one ring, one group of provided receive buffers and one eventfd:
 *
 *   uring_ring.c   makes the ring, runs a turn (publish buffers, enter, reap), frees
 *   uring_wait.c   submits and waits: spins, sleeps, is woken
 *   uring_ops.c    turns each operation into a submission entry
 *   uring_sock.c   system calls on sockets: listen, options, shutdown, close, addresses
 *   uring_probe.c  tries each feature once, for weir_doctor()
 *
 * user_data is the caller's token (56 bits) with the operation's kind in the top byte, so that a
 * completion is understood without a look at any table.
 *
 * What a submission entry points at (msghdr, sockaddr) lives in scratch[], one per place in the
 * submission queue: the kernel has copied it when io_uring_enter returns (IORING_FEAT_SUBMIT_STABLE,
 * demanded at creation), and a place is not used again before that. The iovec's bytes are the caller's
 * and must stay until the event. What an accept points at is written when somebody comes: accepts[] has it.
 *
 * The project's list of hazards, and where each is answered:
 *   one send in flight             the caller's rule; the simulator checks it
 *   short sends                    weir_uring_send: never WAITALL, the count is in the event
 *   close cancels nothing          weir_uring_shutdown, weir_uring_close; the caller's generations
 *   multishot ends on good events  translate(): MORE comes from the flag alone, never from res
 *   -ENOBUFS                       translate() counts it; never re-armed here
 *   CQ overflow                    weir_uring_enter(): counted, and flushed because every enter has GETEVENTS
 *   RLIMIT_MEMLOCK                 weir_io_uring_create(): shrinks once
 *   refused by the sandbox         error_of_setup()
 *   DEFER_TASKRUN, SINGLE_ISSUER   enable() on the owner's thread, GETEVENTS in every enter
 *   accept ends on EMFILE          the event says so, the caller delays; free() closes unseen sockets
 *   two completions of a cancel    the cancel's own is dropped by its kind
 *   linked timeouts are slow       none are used: one wait timeout
 */
#ifndef WEIR_ENGINE_IO_URING_RING_H
#define WEIR_ENGINE_IO_URING_RING_H

#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <liburing.h>

#include "engine/base/check.h"
#include "engine/io/io.h"

/* Top byte of user_data: enum weir_io_kind, or one of these. */
enum weir_uring_kind {
    WEIR_URING_UNCONNECTED = 6, /* a shutdown that answered ENOTCONN */
    WEIR_URING_DROPPED = 128,   /* a completion that nobody is told of (a cancel's) */
    WEIR_URING_WAKE = 129,      /* the eventfd */
};

#define WEIR_URING_KIND_SHIFT WEIR_IO_TOKEN_BITS
#define WEIR_URING_TOKEN_MASK ((UINT64_C(1) << WEIR_IO_TOKEN_BITS) - 1)
#define WEIR_URING_BUF_GROUP 0
#define WEIR_URING_LISTENERS_MAX 32u
#define WEIR_URING_CONNECTS_MAX 4096u /* in flight at once */

/* States of `wake_state`; see weir_uring_wake(). */
enum { WEIR_URING_AWAKE = 0, WEIR_URING_ASLEEP = 1, WEIR_URING_WOKEN = 2 };

struct weir_uring_listener {
    int sock;
    dev_t dev; /* of the socket file, so that another's is not removed; path "" for TCP */
    ino_t ino;
    char path[WEIR_ADDR_PATH_BYTES];
};

struct weir_uring_connect {
    uint64_t token;
    int sock;
    int reserved;
};

union weir_uring_address {
    struct sockaddr_storage any;
    struct sockaddr_un path;
};

/* An armed accept, and where the kernel writes who came. */
struct weir_uring_accept {
    uint64_t token;
    bool is_armed;
    socklen_t len;
    union weir_uring_address any;
};

/* Who came in the last turn. */
struct weir_uring_came {
    int sock;
    struct weir_addr addr;
};

/* Receive buffers of so many bytes or more are moved, by so much each time that they are lent, within so many bytes. */
#define WEIR_URING_BUF_MOVED_MIN 32768u
#define WEIR_URING_BUF_STEP 64u
#define WEIR_URING_BUF_WALK 4096u

struct weir_uring_buf {
    uint16_t moved; /* where it begins, beyond its place */
    bool is_lent;
};

struct weir_uring {
    struct weir_io io;
    struct weir_io_config cfg;
    struct io_uring ring;
    uint64_t now_ns;
    pid_t owner; /* 0: not enabled */
    bool is_wake_armed;
    bool is_overflown; /* within an episode that is counted already */

    /* Receive buffers: the ring of descriptions, then the bytes, in one mapping. */
    struct io_uring_buf_ring *buf_ring;
    uint8_t *bufs;
    size_t map_bytes;
    size_t buf_stride;
    struct weir_uring_buf *lent; /* by buffer */
    uint32_t return_cnt;         /* given back in this turn, not yet published */
    uint32_t walked;             /* by how much the next one to be given back is moved */

    struct msghdr *msgs;             /* by place in the submission queue */
    union weir_uring_address *addrs; /* likewise */

    struct weir_uring_connect *connects;
    uint32_t connect_cnt;
    struct weir_uring_listener listeners[WEIR_URING_LISTENERS_MAX];
    uint32_t listener_cnt;
    struct weir_uring_accept accepts[WEIR_URING_LISTENERS_MAX]; /* each listener has one at most */
    struct weir_uring_came came[WEIR_URING_LISTENERS_MAX];
    uint32_t came_cnt;

    struct weir_io_stats stats;
    int wake_fd;

    /* Whether spinning pays: see uring_wait.c. */
    uint32_t spin_score;
    uint64_t spin_hold_ns;  /* how long the last pause of spinning was */
    uint64_t spin_again_ns; /* and when it ends */

    _Alignas(64) _Atomic uint32_t wake_state; /* written by other threads */
};

static inline struct weir_uring *weir_uring_of(struct weir_io *io)
{
    return (struct weir_uring *)(void *)io;
}

/* A submission entry, with room made by a submit when there is none; NULL when the kernel takes
 * nothing now (short of memory) or the ring is not enabled and its queue is full. */
struct io_uring_sqe *weir_uring_sqe(struct weir_uring *u);

static inline void weir_uring_mark(struct io_uring_sqe *sqe, uint32_t kind, uint64_t token)
{
    WEIR_DCHECK((token & ~WEIR_URING_TOKEN_MASK) == 0);
    io_uring_sqe_set_data64(sqe, (uint64_t)kind << WEIR_URING_KIND_SHIFT | token);
}

/* The submission entry's place: the index into msgs and addrs. */
static inline size_t weir_uring_place(const struct weir_uring *u, const struct io_uring_sqe *sqe)
{
    return (size_t)(sqe - u->ring.sq.sqes);
}

static inline uint8_t *weir_uring_buf(const struct weir_uring *u, uint32_t buf_idx)
{
    return u->bufs + buf_idx * u->buf_stride + u->lent[buf_idx].moved;
}

/* Gives a receive buffer back to the kernel, at the next turn or submit.
 *
 * A large one is moved on by 64 bytes within a page. The kernel copies by `rep movsb` into it, which on some processors is
 * several times as slow in a few of all relations between where it takes bytes and where it puts them (base/copy.h), and
 * a receiver that is behind, and so fills whole buffers, would keep to such a relation for as long. */
static inline void weir_uring_buf_return(struct weir_uring *u, uint32_t buf_idx)
{
    if (u->buf_stride != u->cfg.recv_buf_bytes) {
        u->lent[buf_idx].moved = (uint16_t)u->walked;
        u->walked = (u->walked + WEIR_URING_BUF_STEP) % WEIR_URING_BUF_WALK;
    }
    io_uring_buf_ring_add(u->buf_ring, weir_uring_buf(u, buf_idx), u->cfg.recv_buf_bytes,
                          (unsigned short)buf_idx, (int)u->cfg.recv_buf_cnt - 1,
                          (int)u->return_cnt++);
}

/* CLOCK_MONOTONIC in ns. */
uint64_t weir_uring_clock(void);

/* uring_wait.c */
int weir_uring_enter(struct weir_uring *u, uint32_t event_max, uint64_t wait_ns);
void weir_uring_wake(struct weir_io *io);

/* uring_ops.c */
int weir_uring_accept(struct weir_io *io, int sock, uint64_t token);
int weir_uring_connect(struct weir_io *io, const struct weir_addr *addr, uint64_t token,
                       int *ret_sock);
int weir_uring_recv(struct weir_io *io, int sock, uint64_t token);
void weir_uring_recv_done(struct weir_io *io, uint32_t buf_idx);
int weir_uring_send(struct weir_io *io, int sock, const struct iovec *iov, uint32_t iov_cnt,
                    uint64_t token);
int weir_uring_shutdown(struct weir_io *io, int sock, int how, uint64_t token);
int weir_uring_cancel(struct weir_io *io, uint64_t token);
void weir_uring_connect_ended(struct weir_uring *u, uint64_t token);
void weir_uring_accept_ended(struct weir_uring *u, uint64_t token, int res);

/* uring_sock.c */
int weir_uring_listen(struct weir_io *io, const struct weir_addr *addr, bool is_shared,
                      struct weir_addr *ret_addr);
void weir_uring_tune(struct weir_io *io, int sock);
void weir_uring_bound_unsent(struct weir_io *io, int sock, uint32_t bytes);
void weir_uring_bound_unread(struct weir_io *io, int sock, uint32_t step);
bool weir_uring_peer_addr(struct weir_io *io, int sock, struct weir_addr *ret_addr);
/* Remembers who came, until the next turn; sets what a unix socket does not have from its listener. */
void weir_uring_came(struct weir_uring *u, int sock, const struct weir_uring_accept *accept);
void weir_uring_close(struct weir_io *io, int sock);
/* Makes a stream socket of the address's family with its options; fills `ret_any`. Returns the socket or
 * WEIR_E_*. */
int weir_uring_socket(struct weir_uring *u, const struct weir_addr *addr,
                      union weir_uring_address *ret_any, socklen_t *ret_len);
/* The WEIR_E_* for an errno of a call on a socket. */
int weir_uring_socket_error(int err);
/* Whether the kernel has and allows this congestion control. */
bool weir_uring_has_congestion(const char *name);

#endif
