/* engine/sim/sim_impl.h: the simulator from the inside.
 *
 *   sim_world.c   clock, agenda, addresses, what tests call
 *   sim_raw.c     sockets that tests hold in their hands
 *   sim_net.c     what is between hosts: routes, bytes on their way, resets
 *   sim_sock.c    what happens on sockets: connections, operations that act
 *   sim_io.c      struct weir_io_ops: rules checked, operations started, events delivered
 *
 * An operation is *started* by a call, *armed* when its io's turn submits it, and then on its io's agenda
 * whenever it may be able to act: acting looks at the socket afresh, and either makes an event or
 * waits to be put on the agenda by what it waits for (bytes, room, a connection, an end).
 *
 * Sockets are type-stable: a freed one goes to a list and its generation is raised, so that an entry of
 * an agenda can tell that its socket is another one now.
 */
#ifndef WEIR_ENGINE_SIM_SIM_IMPL_H
#define WEIR_ENGINE_SIM_SIM_IMPL_H

#include <stdatomic.h>

#include "engine/base/check.h"
#include "engine/sim/sim_io.h"

#define SIM_BACKLOG_MAX 4096u
#define SIM_RETRY_NS UINT64_C(1000000)  /* a SYN that found the backlog full comes again */
#define SIM_SEGS 32u                    /* pieces on their way to one socket; more are joined */
#define SIM_SYN_NS UINT64_C(1000000000) /* first wait before a lost SYN is sent again */
#define SIM_RTO_NS UINT64_C(200000000)  /* first wait before lost bytes are sent again; doubles */
#define SIM_RTO_MAX_NS UINT64_C(60000000000)
#define SIM_TRIES_MAX 15u /* then the sender is told ETIMEDOUT (tcp_retries2) */

enum sim_state { SIM_FREE, SIM_FRESH, SIM_LISTENING, SIM_CONNECTED };

/* One for each kind of operation that can be in flight on a socket once. */
struct sim_op {
    bool is_started; /* from the call to the last event's delivery */
    bool is_armed;   /* from submission to the making of the last event */
    bool is_listed;  /* on the agenda */
    uint64_t token;
    const struct iovec *iov; /* send */
    uint32_t iov_cnt;
    uint64_t iov_hash; /* of what the caller must not touch */
};

/* Bytes, or the end of the stream, that are on their way. */
struct sim_seg {
    uint64_t due_ns;
    uint32_t len;
    bool is_fin;
};

/* Kinds of the world's own agenda, beside enum weir_io_kind. */
enum sim_net {
    SIM_NET_ARRIVE = 16, /* the next piece for `sock` */
    SIM_NET_RESET = 17,  /* an RST for `sock` */
    SIM_NET_PROBE = 18,  /* bytes of `sock` reach a host that knows nothing of its connection */
};

struct sim_sock {
    struct weir_sim *sim;
    struct sim_io *io;                   /* NULL: raw */
    struct sim_sock *io_next, **io_link; /* of those that the io has; NULL: of none */
    uint64_t gen;
    int fd; /* -1: not accepted yet */
    uint8_t state;
    bool is_shut_rd, is_shut_wr; /* by this end */
    bool is_fin;                 /* the other end writes no more */
    bool is_reset;
    int reset_error;         /* what a reset says; 0: ECONNRESET */
    uint32_t host, far_host; /* 0: raw */
    uint64_t link_id;        /* the same for both ends; 0: not connected */
    bool is_dialer;
    struct sim_sock *peer;               /* NULL: closed, or never connected */
    struct weir_addr addr;               /* listening: own; otherwise the other end's */
    uint32_t in_flight;                  /* operations whose last event was not delivered yet */
    struct sim_op ops[WEIR_IO_SHUTDOWN]; /* by kind; shutdowns may be many and are not here */

    uint8_t *pipe; /* bytes to be read here and on their way here, a ring of sim->window_bytes */
    uint32_t pipe_head, pipe_len, arrived_len; /* arrived: the first of them, which can be read */
    struct sim_seg segs[SIM_SEGS];             /* the others, oldest first */
    uint32_t seg_head, seg_cnt;
    bool is_arriving; /* an entry for the first of them is on the world's agenda */
    uint32_t try_cnt; /* times that it was lost */
    uint64_t line_free_ns;
    uint32_t gone_len; /* bytes written to a connection that the other host does not know */
    bool is_probing;

    struct sim_sock *backlog,
        *next; /* listening: dialed, oldest first; and the link of that list */
    uint32_t backlog_cnt;
};

struct sim_entry {
    uint64_t due_ns, seq;
    struct sim_sock *sock;
    uint64_t gen;
    uint32_t kind;
    int32_t res; /* shutdown: what its event will say */
    uint64_t token;
};

struct sim_event {
    struct weir_io_event event;
    struct sim_sock *sock;
    uint64_t gen;
};

/* Started, to be submitted by the next turn. */
struct sim_start {
    struct sim_sock *sock; /* NULL: a cancel */
    uint64_t gen;
    uint32_t kind;
    int how;
    uint64_t token;
};

/* Grows as it must: the simulator is the one place where nothing is bounded before. */
struct sim_list {
    void *items;
    size_t cnt, cap;
};

struct sim_io {
    struct weir_io io;
    struct weir_sim *sim;
    struct sim_io *next;
    struct weir_io_config cfg;
    uint32_t host;
    bool is_enabled;
    bool is_overflown;
    bool is_dead;      /* its host crashed: it ends everything at once, and nobody hears of it */
    uint32_t turn_cnt; /* since the driver's last weir_sim_io_slot() */
    uint32_t tag;      /* the driver's */
    bool is_touched;   /* in sim->touched */
    _Atomic bool is_woken;
    uint64_t now_ns;      /* of the last turn */
    uint64_t deadline_ns; /* when the wait of the last turn ends */
    bool is_asleep;       /* until deadline_ns at most: weir_sim_io_sleeps */
    uint64_t rng;
    struct sim_list agenda; /* struct sim_entry, a heap by (due_ns, seq) */
    struct sim_list starts; /* struct sim_start */
    struct sim_list events; /* struct sim_event: the completion queue */
    size_t event_head;
    uint8_t *bufs;
    struct sim_sock *socks; /* that are its own, in no order */
    uint8_t *is_lent;
    uint32_t lent_cnt;
    uint32_t *lent_lens;  /* bytes that were written to it */
    uint32_t *ready_bufs; /* a ring of recv_buf_cnt, first in first out, as the kernel's */
    uint32_t ready_head, ready_cnt;
    uint32_t *returned_bufs; /* given back since the last turn */
    uint32_t returned_cnt;
    struct weir_io_stats stats;
};

struct sim_route {
    uint32_t from, to;
    struct weir_sim_route route;
};

struct weir_sim {
    struct weir_sim_config cfg;
    uint64_t now_ns, rng, seq, digest;
    struct sim_io *ios;
    struct sim_list socks;     /* struct sim_sock *, by descriptor; NULL: free */
    struct sim_list every;     /* struct sim_sock *: all that were ever made */
    struct sim_list spare;     /* struct sim_sock *: to be used again */
    struct sim_list holes;     /* struct weir_addr: blackholes */
    struct sim_list routes;    /* struct sim_route: those that differ from the configuration */
    struct sim_list off_hosts; /* uint32_t: without power */
    struct sim_list net;       /* struct sim_entry: what happens between hosts, a heap */
    uint64_t link_cnt;
    struct sim_list touched; /* struct sim_io *: may be due earlier than they were; driven only */
    bool is_driven; /* by weir_sim_io_slot: an io that turns twice in one slot waits for real */
    weir_sim_watch watch;
    void *watch_ctx;
    uint32_t sock_cnt;
    uint16_t next_port;
    weir_sim_tap tap;
    void *tap_ctx;
    uint64_t fail_in;
    int fail_error;
};

/* sim_world.c */
void *sim_list_add(struct sim_list *list, size_t item_bytes);
uint64_t sim_random(uint64_t *state);
bool sim_is_chance(struct weir_sim *sim, uint32_t ppm);
/* The bytes that may go at once: `chunk_max` as in the configuration. */
uint32_t sim_chunk(struct weir_sim *sim, uint64_t len, uint32_t chunk_max);
/* Notes that an io may be due earlier than it was. */
void sim_touch(struct sim_io *io);
void sim_agenda_add(struct weir_sim *sim, struct sim_list *agenda, struct sim_entry entry);
bool sim_agenda_pop(struct sim_list *agenda, uint64_t now_ns, struct sim_entry *ret_entry);
struct sim_sock *sim_sock_of(struct weir_sim *sim, int fd); /* NULL: not open */
struct sim_sock *sim_sock_make(struct weir_sim *sim, struct sim_io *io);
void sim_sock_move(struct sim_sock *sock, struct sim_io *io); /* NULL: to none */
int sim_sock_open(struct sim_sock *sock);                     /* gives it a descriptor; -EMFILE */
void sim_sock_free(struct sim_sock *sock);
/* One of those who listen there, at random; NULL: nobody. `host` is the dialer's, 0 for raw ones. */
struct sim_sock *sim_find_listener(struct weir_sim *sim, const struct weir_addr *addr,
                                   uint32_t host);
bool sim_is_taken(struct weir_sim *sim, const struct weir_addr *addr, uint32_t host);
bool sim_is_hole(const struct weir_sim *sim, const struct weir_addr *addr);
uint16_t sim_port(struct weir_sim *sim);
bool sim_is_wildcard(const struct weir_addr *addr);
uint32_t sim_host_of(const struct weir_addr *addr); /* 0: of no host */
void sim_host_addr(uint32_t host, uint8_t family, uint16_t port, struct weir_addr *ret_addr);

/* sim_net.c */
void sim_net_run(struct weir_sim *sim); /* all that is due */
void sim_net_free(struct weir_sim *sim);
struct weir_sim_route sim_route_of(const struct weir_sim *sim, uint32_t from, uint32_t to);
void sim_host_power(struct weir_sim *sim, uint32_t host, bool is_on);
bool sim_is_reachable(const struct weir_sim *sim, uint32_t from, uint32_t to); /* and back */
uint64_t sim_write(struct sim_sock *sock, const uint8_t *bytes, uint64_t len); /* as room permits */
uint64_t sim_read(struct sim_sock *sock, uint8_t *ret_bytes, uint64_t len);
void sim_fin(struct sim_sock *to);     /* the other end writes no more */
void sim_rst(struct sim_sock *to);     /* the other end sent an RST */
void sim_break(struct sim_sock *sock); /* an RST from between, to both ends, at once */
uint64_t sim_write_gone(struct sim_sock *sock, uint64_t len); /* nobody is there any more */

/* sim_sock.c */
void sim_wake_all(struct sim_sock *sock, uint64_t after_ns);
/* Puts an armed operation on its agenda, `after_ns` and a random delay from now. */
void sim_list_op(struct sim_sock *sock, uint32_t kind, uint64_t after_ns);
void sim_act(struct sim_sock *sock, uint32_t kind);                 /* at its time on the agenda */
void sim_end_op(struct sim_sock *sock, uint32_t kind, int32_t res); /* an event without MORE */
void sim_post(struct sim_sock *sock, const struct weir_io_event *event);
void sim_join(struct sim_sock *listener, struct sim_sock *dialer, const struct weir_addr *from);
int sim_shut(struct sim_sock *sock, int how);
void sim_sock_close(struct sim_sock *sock);
struct sim_sock *sim_backlog_pop(struct sim_sock *listener);
uint64_t sim_iov_hash(const struct iovec *iov, uint32_t iov_cnt);

#endif
