/* engine/io/io.h: the seam between weir and the system: sockets, time, sleep and randomness.
 *
 * One weir_io belongs to one shard. It is shaped like a ring: operations are *armed* or *started* with
 * a 64-bit token of the caller's choice and end as events in a later weir_io_turn(). The only blocking
 * call is weir_io_turn(). Three implementations: io_uring (uring_*.c), simulated (engine/sim), and what
 * a test makes of `struct weir_io_ops`.
 *
 * Rules (each is checked by the simulator and answers a line of the project's list of io_uring hazards):
 *  - at most one send is in flight on a socket; `iov` and what it points to stay untouched until its event;
 *  - a send may be short: the event's res says how much, the caller sends the rest;
 *  - recv is multishot: events with WEIR_IO_MORE are followed by others. Without MORE it has ended
 *    (whatever res says) and must be armed again if it is still wanted;
 *  - res -ENOBUFS on recv: no buffer was free, nothing is lost; re-arm after buffers were returned;
 *  - tokens are below 2^56 (an implementation keeps the operation's kind beside them); one connect is in
 *    flight per token;
 *  - close() cancels nothing: shutdown the socket, wait for the last event of each operation on it, then
 *    close it. The engine keeps a generation in its tokens all the same.
 *
 * Thread: the shard's, except weir_io_wake (any), create and listen (before the shard runs).
 */
#ifndef WEIR_ENGINE_IO_IO_H
#define WEIR_ENGINE_IO_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "engine/base/addr.h"

#define WEIR_IO_TOKEN_BITS 56

struct weir_io;

enum weir_io_kind {
    WEIR_IO_ACCEPT = 1,  /* res: the new socket, or -errno */
    WEIR_IO_CONNECT = 2, /* res: 0 or -errno */
    WEIR_IO_RECV = 3, /* res: bytes at `data` (in buffer `buf_idx`), 0 at end of stream, -errno */
    WEIR_IO_SEND = 4, /* res: bytes taken, or -errno */
    WEIR_IO_SHUTDOWN = 5, /* res: 0 or -errno */
};

enum weir_io_flags {
    WEIR_IO_MORE = 1u << 0, /* the operation goes on */
    WEIR_IO_BUF = 1u << 1,  /* `data` and `buf_idx` are set: give it back with weir_io_recv_done */
};

struct weir_io_event {
    uint64_t token;
    int32_t res;
    uint16_t kind;  /* enum weir_io_kind */
    uint16_t flags; /* enum weir_io_flags */
    uint8_t *data;  /* writable until given back */
    uint32_t buf_idx;
    uint32_t reserved;
};

/* Steps of bound_unread(), of 2 KiB each as the two sizes are by default. */
#define WEIR_IO_UNREAD_STEPS 64u

struct weir_io_config {
    uint32_t sq_cnt;                               /* submission entries */
    uint32_t cq_cnt;                               /* completion entries */
    uint32_t recv_buf_bytes;                       /* one provided buffer */
    uint32_t recv_buf_cnt;                         /* a power of two */
    uint32_t socket_recv_bytes, socket_send_bytes; /* 0: the system's autotuning */
    /* SO_RCVBUF where the first round trip took less than 50 us and socket_recv_bytes is 0, and the same while bound_unread()
     * says that channels compete. 0: as for others. */
    uint32_t near_recv_bytes, near_recv_contended;
    const char *tcp_congestion; /* NULL: the system's; valid while the io lives */
    /* How long turn() looks for events before it sleeps, where its last waits were that short; 0: it
     * sleeps at once. UINT64_MAX: it never sleeps. */
    uint64_t spin_ns;
};

struct weir_io_stats {
    uint64_t syscalls; /* enters and other calls made so far */
    uint64_t completions;
    uint64_t recv_starved;  /* -ENOBUFS seen */
    uint64_t overflows;     /* CQ overflows noticed */
    uint64_t sleeps, spins; /* waits that slept; that looked before */
    uint64_t spin_ns;       /* time spent looking */
};

/* The operations of an implementation; a `struct weir_io` begins with a pointer to them. All errors are
 * negative WEIR_E_* unless said otherwise. */
struct weir_io_ops {
    /* Makes the calling thread the owner. Errors: WEIR_E_SYSTEM. */
    int (*enable)(struct weir_io *io);
    void (*free)(struct weir_io *io);
    /* Listens at `addr` (port 0: any) and returns the socket; `ret_addr` has the real port. With
     * `is_shared` it joins listeners that other ios (of the same user) have there (SO_REUSEPORT); without
     * it the address must be free. So a node's first shard listens without, which finds a port that
     * another program has, and its other shards with. A unix address cannot be shared: the first shard
     * listens alone. May be called before enable.
     * Errors: WEIR_E_IN_USE, WEIR_E_ACCESS, WEIR_E_ADDRESS, WEIR_E_DESCRIPTORS, WEIR_E_NOMEM, WEIR_E_LIMIT
     * (32 listeners), WEIR_E_SYSTEM. */
    int (*listen)(struct weir_io *io, const struct weir_addr *addr, bool is_shared,
                  struct weir_addr *ret_addr);
    /* accept, recv, send, shutdown and cancel answer WEIR_E_FULL when the kernel takes no operation now
     * (short of memory): nothing was started.
     * accept: arms accept on a listening socket, for one connection: its event is the only one. Arm it again: after
     * -EMFILE, -ENFILE, -ENOBUFS or -ENOMEM with a delay. */
    int (*accept)(struct weir_io *io, int sock, uint64_t token);
    /* Makes a socket and starts connecting it; `*ret_sock` is set at once. Errors: WEIR_E_ADDRESS,
     * WEIR_E_DESCRIPTORS, WEIR_E_NOMEM, WEIR_E_LIMIT (4,096 under way), WEIR_E_FULL, WEIR_E_SYSTEM. */
    int (*connect)(struct weir_io *io, const struct weir_addr *addr, uint64_t token, int *ret_sock);
    /* Sets what only a connected TCP socket tells: the receive buffer of a near peer. The other options (TCP_NODELAY,
     * sizes asked for, congestion control) a socket has from its beginning: from connect(), or from its listener. */
    void (*tune)(struct weir_io *io, int sock);
    /* Bounds the bytes the kernel holds unsent (TCP_NOTSENT_LOWAT; 0: no bound). No error: advice. */
    void (*bound_unsent)(struct weir_io *io, int sock, uint32_t bytes);
    /* Bounds the bytes of a near peer that the kernel holds unread, between near_recv_bytes (step 0) and near_recv_contended
     * (step WEIR_IO_UNREAD_STEPS). Sockets that tune() did not take for near stay as they are. No error: advice.
     *
     * Down one step at a time, each after more was read than a step takes away: the peer may send what the buffer had room
     * for when it was told, TCP drops what no longer fits, and where that is the last it sent it waits for 200 ms. Steps of
     * 16 KiB still did that where the reader was kept from its core after one; of 4 and less they were not seen to
     * (docs/performance.md). */
    void (*bound_unread)(struct weir_io *io, int sock, uint32_t step);
    int (*recv)(struct weir_io *io, int sock, uint64_t token);
    void (*recv_done)(struct weir_io *io, uint32_t buf_idx);
    /* `more_follows`: MSG_MORE-like hint may be ignored. */
    int (*send)(struct weir_io *io, int sock, const struct iovec *iov, uint32_t iov_cnt,
                uint64_t token);
    /* how: SHUT_RD, SHUT_WR, SHUT_RDWR. Acts at once, before what is started and not yet submitted.
     * Also makes every pending operation on the socket end (for SHUT_RDWR) even where the system's
     * shutdown does not (a socket that is still connecting). */
    int (*shutdown)(struct weir_io *io, int sock, int how, uint64_t token);
    /* Ends an armed accept: its last event has res -ECANCELED and no MORE. */
    int (*cancel)(struct weir_io *io, uint64_t token);
    void (*close)(struct weir_io *io, int sock);
    /* Writes the other end's address (of a dialing unix socket only the family, with an empty path);
     * false when unknown. Costs no system call for a socket that the last turn's accept brought. */
    bool (*peer_addr)(struct weir_io *io, int sock, struct weir_addr *ret_addr);
    /* Submits what was started and fills up to `event_max` events, waiting for the first at most
     * `wait_ns` (0: not at all, WEIR_NS_FOREVER: without limit). Returns the number of events (0 when
     * the time passed, somebody woke it, or for no reason). Errors: WEIR_E_SYSTEM, nothing can go on. */
    int64_t (*turn)(struct weir_io *io, struct weir_io_event *ret_events, uint32_t event_max,
                    uint64_t wait_ns);
    /* Ends the current or the next wait of turn(). Any thread. */
    void (*wake)(struct weir_io *io);
    uint64_t (*now)(struct weir_io *io); /* ns, monotonic; cheap: the time of this turn's reap */
    void (*random)(struct weir_io *io, void *ret_bytes, size_t len);
    void (*stats)(const struct weir_io *io, struct weir_io_stats *ret_stats);
};

struct weir_io {
    const struct weir_io_ops *ops;
};

/* Makes an io_uring one; the ring is disabled until enable().
 * Errors: WEIR_E_NO_URING (refused: EPERM, ENOSYS, EOPNOTSUPP ...), WEIR_E_KERNEL (a feature of 6.1 is
 * missing), WEIR_E_MEMLOCK (even shrunk once), WEIR_E_NOMEM, WEIR_E_DESCRIPTORS, WEIR_E_CONFIG. */
int weir_io_uring_create(struct weir_io **ret_io, const struct weir_io_config *cfg);

/* Where a node's ios, time and randomness come from when it is not the system: a simulated world. */
struct weir_io_host {
    int (*create)(void *ctx, uint32_t shard, const struct weir_io_config *cfg,
                  struct weir_io **ret_io); /* errors as weir_io_uring_create */
    uint64_t (*now)(void *ctx);
    void (*random)(void *ctx, void *ret_bytes, size_t len);
    void *ctx; /* valid while the node lives */
};

struct weir_check;

/* What weir_doctor() (engine/node/doctor.c) says of everything but ciphers: of the system behind `uring`. */
int64_t weir_doctor_io(struct weir_check *ret_checks, size_t check_max);

#endif
