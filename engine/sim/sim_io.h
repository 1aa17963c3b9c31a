/* engine/sim/sim_io.h: a whole network in one thread, from one seed.
 *
 * A world has a virtual clock, hosts and sockets. It makes any number of ios (engine/io/io.h) that
 * behave as rings do, and as badly as rings may: sends and receives are cut short, a multishot receive
 * ends on a good event, buffers run out, events are late, the completion queue overflows, accept finds
 * no descriptor. The same seed and the same calls give the same run; weir_sim_digest() tells.
 *
 * As with DEFER_TASKRUN nothing happens on an io except inside its own turn(). A turn never sleeps and
 * never moves the clock: it reports what is ready. The driver does, between turns:
 *
 *     do {
 *         for each node: weir_node_turn(...);        // or weir_io turn
 *     } while (!is_done && weir_sim_step(sim));
 *
 * A caller that breaks a rule of io.h (two sends in flight, bytes touched during a send, an operation
 * on a closed socket, a close while operations are in flight, a buffer given back twice) is stopped by
 * WEIR_CHECK.
 *
 * Raw sockets belong to no io: a test moves their bytes by hand, to play a hostile peer.
 *
 * Hosts: an io lives on a host, whose addresses are 10.0.0.0 + host and fd00:: + host. A listener at a
 * wildcard address answers at its host's, and at 127.0.0.1 and ::1 for dialers of the same host. A
 * listener at any other address, 127.0.0.1 included, answers to everybody who dials exactly that.
 *
 * Thread: one for everything, except that weir_io's wake may come from any.
 */
#ifndef WEIR_ENGINE_SIM_SIM_IO_H
#define WEIR_ENGINE_SIM_SIM_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/addr.h"
#include "engine/io/io.h"

struct weir_sim;

/* Probabilities are in parts per million. 0 everywhere (but for the seed) is a perfect network. */
struct weir_sim_config {
    uint64_t seed;
    uint64_t start_ns;         /* where the clock begins; default 1 s */
    uint32_t send_chunk_max;   /* bytes a send takes: 0 all that fits, 1 one, n a random 1 .. n */
    uint32_t recv_chunk_max;   /* bytes of one receive event, likewise */
    uint32_t window_bytes;     /* what a socket holds unread; default 65,536 */
    uint32_t sock_max;         /* sockets at once, then EMFILE; default 65,536 */
    uint64_t delay_max_ns;     /* an operation acts up to so much later than it could */
    uint64_t latency_ns;       /* from one host to another, each way, where no route is set */
    uint32_t recv_end_ppm;     /* a good receive event is the last of its multishot */
    uint32_t accept_fail_ppm;  /* accept ends with -EMFILE; the connection stays in the queue */
    uint32_t connect_fail_ppm; /* connect ends with -ECONNREFUSED */
    uint32_t reset_ppm;        /* a send resets its connection */
    uint32_t flood_ppm;        /* a turn completes all it can, whether or not the CQ has room */
    uint32_t turn_empty_ppm;   /* a turn submits and reports nothing (EINTR, EAGAIN, EBUSY) */
    uint32_t submit_part_ppm;  /* a turn submits only some of what was started */
    uint32_t full_ppm;         /* an operation is not taken: WEIR_E_FULL */
    uint32_t loss_ppm;         /* bytes on their way are lost once more, and come a timeout later */
    uint32_t corrupt_ppm;      /* one bit of what arrives is flipped */
    uint32_t jitter_ns;        /* bytes take up to so much longer */
    uint64_t bytes_per_s;      /* of a connection, each way; 0: no limit */
    uint32_t recv_run_max;     /* receive events of one socket before another's; default 1 */
    bool is_busy_on_overflow;  /* a turn that finds the CQ overflown submits nothing (EBUSY) */
};

/* How it is from one host to another (one way). */
struct weir_sim_route {
    bool is_down; /* what is sent is lost; a reset is lost for good */
    uint64_t latency_ns;
    uint64_t bytes_per_s; /* 0: no limit */
};

/* Makes a world. Errors: WEIR_E_NOMEM. */
int weir_sim_create(struct weir_sim **ret_sim, const struct weir_sim_config *cfg);

/* Frees a world and its sockets; its ios must have been freed. NULL is fine. */
void weir_sim_free(struct weir_sim *sim);

/* Makes an io on a host (1 .. 65,535). Freed through its ops. Errors: WEIR_E_NOMEM, WEIR_E_CONFIG. */
int weir_sim_io_create(struct weir_sim *sim, uint32_t host, const struct weir_io_config *cfg,
                       struct weir_io **ret_io);

/* ---- time ---------------------------------------------------------------------------------- */

uint64_t weir_sim_now(const struct weir_sim *sim);
void weir_sim_advance(struct weir_sim *sim, uint64_t ns);

/* Moves the clock to the next thing that happens, which is an operation that acts or the end of a wait
 * that some io's last turn() was given; not at all when there is something to do already.
 * Returns false when nothing will ever happen. */
bool weir_sim_step(struct weir_sim *sim);

/* ---- looking and meddling ------------------------------------------------------------------ */

/* Changes the probabilities and sizes from here on (seed, window and clock stay). */
void weir_sim_configure(struct weir_sim *sim, const struct weir_sim_config *cfg);

/* A number that depends on every event delivered so far: equal for equal runs. */
uint64_t weir_sim_digest(const struct weir_sim *sim);

/* A number from the world's seed, below `bound`; for the test's own decisions. */
uint64_t weir_sim_random(struct weir_sim *sim, uint64_t bound);

/* Sockets that are open, raw ones included; those nobody has accepted yet are not. */
uint32_t weir_sim_sock_cnt(const struct weir_sim *sim);

/* Receive buffers of an io that its user has not given back. */
uint32_t weir_sim_lent_cnt(struct weir_io *io);

/* Breaks a connection as an RST does: unread bytes of both ends are lost. */
void weir_sim_reset(struct weir_sim *sim, int sock);

/* Connects to `addr` hang from now on (or no more), as where a firewall drops every packet. */
int weir_sim_blackhole(struct weir_sim *sim, const struct weir_addr *addr, bool is_on);

/* Sets how it is from one host to another; NULL: as the configuration says. */
void weir_sim_set_route(struct weir_sim *sim, uint32_t from, uint32_t to,
                        const struct weir_sim_route *route);

/* The host of an io crashes: its operations end at once, whatever its owner still does reaches nobody.
 * `is_silent`: the power is cut, and other hosts learn of it when they send to it and it is up again;
 * otherwise only the program dies, and its connections end as a system ends them. */
void weir_sim_io_kill(struct weir_io *io, bool is_silent);

/* For a driver of its own (engine/prove): when an io has something to do, its time WEIR_NS_FOREVER for
 * never. Before each turn the driver says so with weir_sim_io_slot(); an owner that turns its io again
 * in the same slot, as a node does that ends, has its waits take their time. */
uint64_t weir_sim_io_due(const struct weir_io *io);

/* For a driver of many: gives an io a number, and takes the number of one that may be due earlier than it was
 * when it last was taken; false: there is none. From the first weir_sim_io_slot on. */
void weir_sim_io_set_tag(struct weir_io *io, uint32_t tag);
bool weir_sim_touched(struct weir_sim *sim, uint32_t *ret_tag);
void weir_sim_io_slot(struct weir_io *io);

/* What a ring's turn does before it returns: the kernel takes what was started, and where nothing is ready then, it
 * sleeps for wait_ns (more than 0) at most. True: it sleeps, and until weir_sim_io_due() its owner's turn would not have
 * returned, so that the driver does not make it; false: it returns at once, and the driver makes it. */
bool weir_sim_io_sleeps(struct weir_io *io, uint64_t wait_ns);

/* When the next thing happens between hosts. */
uint64_t weir_sim_net_due(const struct weir_sim *sim);

/* Moves the clock to `now_ns`, if it is later, and lets happen what does until then. */
void weir_sim_advance_to(struct weir_sim *sim, uint64_t now_ns);

/* The connection that a socket is an end of: a number that both ends share, 0 for none. */
uint64_t weir_sim_link(const struct weir_sim *sim, int sock, bool *ret_is_dialer);

/* Calls `visit` for each operation of an io whose last event was not delivered yet. */
typedef void (*weir_sim_visit)(void *ctx, int sock, uint32_t kind, uint64_t token);
void weir_sim_visit_ops(struct weir_io *io, weir_sim_visit visit, void *ctx);

/* Sees all bytes as an io's send takes them; `bytes` NULL where they go to nobody. NULL for none. */
typedef void (*weir_sim_watch)(void *ctx, struct weir_io *io, uint64_t token, const uint8_t *bytes,
                               size_t len);
void weir_sim_set_watch(struct weir_sim *sim, weir_sim_watch watch, void *ctx);

/* Sees, and may change, all bytes on their way out of `sock`. NULL for none. */
typedef void (*weir_sim_tap)(void *ctx, int sock, uint8_t *bytes, size_t len);
void weir_sim_set_tap(struct weir_sim *sim, weir_sim_tap tap, void *ctx);

/* The n-th operation started from now on (1 is the next), on any io, answers `error`; 0 turns it off. */
void weir_sim_fail_nth(struct weir_sim *sim, uint64_t n, int error);

/* ---- raw sockets --------------------------------------------------------------------------- */

/* Dials at once, seen by the other end as `from` (NULL: 192.0.2.1 and some port).
 * Returns the socket, or -ECONNREFUSED, -EMFILE. */
int weir_sim_raw_dial(struct weir_sim *sim, const struct weir_addr *addr,
                      const struct weir_addr *from);

/* Returns the listening socket. Errors: -EADDRINUSE, -EMFILE. */
int weir_sim_raw_listen(struct weir_sim *sim, const struct weir_addr *addr,
                        struct weir_addr *ret_addr);

/* Returns a socket that was dialed to; -EAGAIN when there is none. */
int weir_sim_raw_accept(struct weir_sim *sim, int listener);

/* Returns the bytes taken, 0 when the other end's window is full; -EPIPE, -ECONNRESET. */
int64_t weir_sim_raw_write(struct weir_sim *sim, int sock, const void *bytes, size_t len);

/* Returns the bytes read, 0 at the end of the stream; -EAGAIN when there are none yet, -ECONNRESET. */
int64_t weir_sim_raw_read(struct weir_sim *sim, int sock, void *ret_bytes, size_t len);

void weir_sim_raw_shutdown(struct weir_sim *sim, int sock, int how);
void weir_sim_raw_close(struct weir_sim *sim, int sock);

#endif
