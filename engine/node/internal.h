/* engine/node/internal.h: what the files of the node layer share: the node, its shards, their letters.
 *
 *   node.c      life: create, attach, listen, start, stop, free
 *   config.c    defaults and ranges
 *   shard.c     one shard's turn: the only file that knows the order of the stages
 *   dispatch.c  messages and events -> reactors
 *   letters.c   calls from other threads, as the shard carries them out
 *   send.c      try_send, send, send_buf, from any thread
 *   broadcast.c one message to many; sample.c: to some of them; receipt.c: how far it came
 *   dial.c      dial, cancel; names that are asked for
 *   peer.c      disconnect, pause, info, keep
 *   twins.c     one connection per peer
 *   directory.c who is up: listed, looked up; filter.c: the application's word on who may be
 *   guard.c     who may be connected: limits, scores
 *   ban.c       bans; guard_file.c keeps them in a file, ban_ask.c takes those that other programs ask for
 *   evict.c     room for one more inbound peer; welcome.c: who needs none
 *   secure.c    keys and policy: from the configuration to each shard's handshakes
 *   reactor.c   weir/reactor.h: posted calls, ticks, places per peer; series.c: series of reactors
 *   request*.c, inbox.c   weir/request.h; gossip*.c: weir/gossip.h; reactors like an application's
 *   metrics.c   counters as structs; gather.c walks all series, expose.c makes text of them
 *   stall.c     turns that take too long
 *   stats_file.c  the series in a file
 *   exporter.c  the text over HTTP; http.c the request
 *   discovery*.c, book_store.c   weir/discovery.h: a reactor like an application's
 */
#ifndef WEIR_ENGINE_NODE_INTERNAL_H
#define WEIR_ENGINE_NODE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "engine/base/wheel.h"
#include "engine/conn/conn.h"
#include "engine/mem/mailbox.h"
#include "engine/mem/thread.h"
#include "engine/node/guard.h"
#include "engine/node/stall.h"
#include "engine/node/stats_file.h"
#include "engine/peers/dial.h"
#include "engine/peers/resolver.h"
#include "engine/node/twins.h"
#include "proto/identity.h"
#include "weir/node.h"
#include "weir/peers.h"
#include "weir/reactor.h"

#define WEIR_REACTORS_MAX 64u
#define WEIR_LISTENERS_MAX 16u
#define WEIR_BATCH_MSGS 1024u
#define WEIR_EVENTS_PER_TURN \
    64u /* what their callbacks send is hashed and sent while it is cached */

#define WEIR_TIMER_TICK 3u
#define WEIR_TIMER_ACCEPT 4u
#define WEIR_TIMER_HTTP 20u
#define WEIR_TIMER_STATS 21u

/* Tokens that are no connection's: above every slot. The exporter's are its listener and its clients. */
#define WEIR_TOKEN_APART 0xFE000000u
#define WEIR_TOKEN_HTTP 0xFE000000u
#define WEIR_TOKEN_LISTENER 0xFF000000u

enum weir_node_state {
    WEIR_NODE_NEW = 0,
    WEIR_NODE_RUNNING,
    WEIR_NODE_STOPPING,
    WEIR_NODE_STOPPED
};

struct weir_ended { /* an event that waits for its place in the turn */
    uint64_t peer;
    uint32_t dial_idx;
    uint16_t reason;
    bool was_ready, was_useful, is_theirs;
    char *text; /* of the goodbye; owned */
};

struct weir_dial {                   /* what the node knows of one; its state is its shard's */
    struct weir_target_kept *target; /* owned; the dialer looks at it until weir_dial_forget */
    uint32_t shard, flags;
};

struct weir_directory { /* who is up, for every thread; directory.c */
    pthread_mutex_t mutex;
    struct weir_listed *items; /* cnt of them, of room for max: for each slot of each shard */
    uint32_t cnt, max;
};

struct weir_shard {
    struct weir_hub hub;
    weir_node *node;
    struct weir_io *io;
    struct weir_wheel wheel;
    struct weir_mailbox mailbox;
    _Atomic bool has_refused; /* the mailbox refused a send, and a letter that says so is in it */
    struct weir_dialer dialer;
    struct weir_note *stop_note; /* made with the shard, so that stopping cannot fail */
    pthread_t thread;
    _Atomic bool is_owned; /* `owner` is set and the hub is there */
    uint64_t owner;        /* the thread that turns, by its weir_thread_id() */
    int init_error;
    bool has_thread;
    bool is_in_turn; /* its callbacks run */
    bool is_done;    /* stopped: turn answers WEIR_E_STATE */
    bool is_stopping;
    bool has_lost; /* the drain ended with bytes unsent */
    uint64_t drain_until_ns, give_up_ns;
    int listen_socks[WEIR_LISTENERS_MAX]; /* -1: not on this shard */
    bool is_accepting[WEIR_LISTENERS_MAX];
    bool is_cancelled[WEIR_LISTENERS_MAX]; /* the end of accepting was asked for */
    struct weir_timer accept_timers[WEIR_LISTENERS_MAX];
    uint64_t accept_log_ns;     /* no line about a failing accept before */
    uint64_t evict_ns;          /* nobody is evicted before */
    _Atomic uint64_t useful_ns; /* when a peer brought something new last; 0: never */
    struct weir_trial
        trials[WEIR_TRIALS_MAX]; /* trial_cnt of them, up to cfg.trials_max; the oldest first */
    uint32_t trial_cnt;
    struct weir_timer tick_timers[WEIR_REACTORS_MAX];
    struct weir_msg *batch; /* WEIR_BATCH_MSGS of them, all of reactor `batch_reactor` */
    uint32_t batch_cnt;
    uint32_t batch_reactor;
    struct weir_ended *ended; /* a ring of ended_max */
    uint32_t ended_head, ended_cnt, ended_max;
    struct weir_io_event *events;
    /* Encryption: this thread's libcrypto contexts, and what every handshake here brings. */
    struct weir_crypto crypto;
    struct weir_identity identity;
    struct weir_secret secret;
    struct weir_offer offer;          /* the node's, with `secret` */
    struct weir_offer offer_refusing; /* to plain peers, where none are taken */
    uint32_t *listed_at;              /* per slot where the node's directory has it */
    const struct weir_ended *ending;  /* of whom reactors are being told; NULL: of nobody */
    void **places;                    /* per slot node->place_cnt of them; NULL: there are none */
    uint32_t *place_gens;             /* per slot whose they are; 0: nobody's */
    struct weir_stall stall;
    struct weir_exporter *exporter; /* of shard 0, when metrics are served; made before start */
};

struct weir_node {
    const struct weir_io_host *host; /* NULL: the system */
    struct weir_stats_file stats;
    struct weir_upload upload; /* what all shards may send */
    struct weir_config cfg;    /* every default written out; strings are ours */
    uint64_t made_wall_ns;     /* when it was made, by the wall clock */
    char network_id[WEIR_NETWORK_ID_BYTES_MAX + 1];
    char user_agent[WEIR_USER_AGENT_BYTES_MAX + 1];
    char tcp_congestion[32];
    struct weir_channel channels[WEIR_CHANNELS_MAX];
    char channel_names[WEIR_CHANNELS_MAX][WEIR_CHANNEL_NAME_BYTES];
    uint32_t channel_cnt;
    uint64_t queue_bytes_max; /* what all queues of a peer can hold, and be promised */
    uint8_t channel_reactor[WEIR_CHANNELS_MAX];
    uint8_t *channel_idx_of; /* 65,536: id -> position, 0xFF */
    struct weir_channel_desc descs[WEIR_CHANNELS_MAX];
    struct weir_offer offer;
    struct weir_key node_key, network_key; /* kind 0: none */
    struct weir_id id;
    struct weir_reactor reactors[WEIR_REACTORS_MAX];
    uint32_t reactor_cnt;
    uint32_t place_cnt;                    /* pointers per peer that reactors have asked for */
    weir_counter *series[WEIR_SERIES_MAX]; /* that reactors added; under `mutex`, until start */
    uint32_t series_cnt;
    struct weir_addr metrics_addr; /* where metrics are served; family 0: nowhere */
    struct weir_addr listeners[WEIR_LISTENERS_MAX];
    uint32_t listener_cnt;
    struct weir_shard **shards;
    uint32_t shard_cnt; /* made so far */
    _Atomic int state;  /* enum weir_node_state */
    _Atomic uint32_t next_dial_shard;
    pthread_mutex_t mutex; /* start and stop hand-shakes, dials, waiting senders */
    pthread_cond_t cond;
    uint32_t shards_up;
    _Atomic uint32_t waiter_cnt; /* threads in weir_send */
    struct weir_dial *dials;     /* under way or kept up, dial_cnt of cfg.dials_max */
    uint32_t dial_cnt;
    struct weir_twins twins;
    struct weir_filter filter; /* before start */
    struct weir_directory directory;
    struct weir_guard guard;
    bool has_guard;                 /* made, perhaps in part */
    struct weir_resolver *resolver; /* NULL before the first name */
    weir_lookup_fn lookup;          /* weir_lookup_system, or a test's, set before start */
    void *lookup_ctx;
    struct weir_proxy proxy; /* with has_proxy */
    bool has_proxy;
    bool is_lookup_instant; /* it never blocks, and is called on the shard: a simulator's table */
};

/* ---- series.c ------------------------------------------------------------------------------ */

/* Series of a reactor that comes with weir. */
struct weir_own_series {
    const char *name, *help;
    uint32_t type, arg;
    uint64_t (*read)(void *ctx, uint32_t arg);
};

/* As weir_series_add for each row, with names that begin with weir_. A channel's id becomes the label `channel`, and
 * UINT32_MAX none. For which there is no room is not shown, and works all the same. */
void weir_series_own(weir_node *node, const struct weir_own_series *rows, size_t row_cnt, void *ctx,
                     uint32_t channel_id);
void weir_series_fini(weir_node *node);

/* ---- secure.c ------------------------------------------------------------------------------ */

/* Takes over keys and policy; everything else of the configuration is there. */
int weir_secure_take(weir_node *node);
/* Sets up a shard's hub: which wires it speaks, and what it offers. Shard thread. */
int weir_secure_init(struct weir_shard *shard);
void weir_secure_fini(struct weir_shard *shard);
/* Static keys of nodes that were met (peers/known.h): the hub asks for one, a connection that is up brings one, and one
 * that came to nothing with one takes it away. */
bool weir_secure_known(struct weir_conn *conn, uint8_t ret_key[32]);
void weir_secure_met(struct weir_shard *shard, const struct weir_conn *conn);
void weir_secure_forget(struct weir_shard *shard, const struct weir_conn *conn);

/* ---- ids ----------------------------------------------------------------------------------- */

static inline weir_peer weir_peer_of(const struct weir_conn *conn)
{
    return (weir_peer){((uint64_t)conn->gen << 32) | (conn->hub->shard << 24) | conn->slot};
}

static inline uint32_t weir_peer_slot(weir_peer peer)
{
    return (uint32_t)peer.v & 0xFFFFFFu;
}

static inline uint32_t weir_peer_gen(weir_peer peer)
{
    return (uint32_t)(peer.v >> 32);
}

/* The shard of a peer, NULL for a bogus id or before the shard runs. Any thread. */
static inline struct weir_shard *weir_shard_of(weir_node *node, weir_peer peer)
{
    uint32_t idx = ((uint32_t)peer.v >> 24) & 0xFFu;
    if (idx >= node->shard_cnt || weir_peer_gen(peer) == 0)
        return NULL;
    struct weir_shard *shard = node->shards[idx];
    if (!atomic_load_explicit(&shard->is_owned, memory_order_acquire) ||
        weir_peer_slot(peer) >= node->cfg.peers_max)
        return NULL;
    return shard;
}

static inline bool weir_shard_is_here(const struct weir_shard *shard)
{
    return atomic_load_explicit(&shard->is_owned, memory_order_acquire) &&
           weir_thread_is(shard->owner);
}

/* The calling thread's shard, NULL when it is none of this node's. */
struct weir_shard *weir_shard_here(weir_node *node);

/* The ready connection of a peer, NULL when it is gone. Shard thread. */
static inline struct weir_conn *weir_conn_of_peer(struct weir_shard *shard, weir_peer peer)
{
    struct weir_conn *conn = &shard->hub.conns[weir_peer_slot(peer)];
    weir_burst_end(); /* what is done with it now finds its accounts complete */
    if (atomic_load_explicit(&conn->live_gen, memory_order_relaxed) != weir_peer_gen(peer))
        return NULL;
    return conn;
}

/* Who the other end has proved to be, when the handshake is done; NULL: it is plain. */
static inline const uint8_t *weir_conn_id(const struct weir_conn *conn)
{
    const struct weir_agreed *agreed =
        conn->codec && conn->codec->seal ? conn->codec->agreed(conn->codec_state) : NULL;
    return agreed ? agreed->node_id : NULL;
}

/* The same, also when the connection ends: an id that somebody only said is nobody's. */
static inline const uint8_t *weir_conn_proved_id(const struct weir_conn *conn)
{
    return conn->flags & WEIR_CONN_WAS_READY ? weir_conn_id(conn) : NULL;
}

/* ---- letters ------------------------------------------------------------------------------- */

enum weir_letter_kind {
    WEIR_LETTER_SEND = 1,
    WEIR_LETTER_SEND_BUF,
    WEIR_LETTER_BROADCAST,
    WEIR_LETTER_DIAL,
    WEIR_LETTER_DIAL_CANCEL,
    WEIR_LETTER_DISCONNECT,
    WEIR_LETTER_PAUSE,
    WEIR_LETTER_ADOPT,
    WEIR_LETTER_INFO,
    WEIR_LETTER_REFUSED,
    WEIR_LETTER_STOP,
    WEIR_LETTER_NAMED,
    WEIR_LETTER_BANS,
    WEIR_LETTER_BLAME,
    WEIR_LETTER_POST,
    WEIR_LETTER_USEFUL,    /* flags, channel_idx: first_cnt, again_cnt */
    WEIR_LETTER_PEER_ROWS, /* peer.v: the exporter's token, as it comes back with */
    WEIR_LETTER_PEER_TOLD, /* data: struct weir_peer_row, as many as fit */
    WEIR_LETTER_MULTICAST,
};

struct weir_info_answer { /* shared by the asker and the shard; the last one frees it */
    _Atomic uint32_t refs;
    bool is_done;
    int error;
    struct weir_peer_info info;
};

struct weir_note {
    struct weir_letter letter;
    weir_peer peer;
    uint32_t channel_idx;
    uint32_t flags;          /* DIAL: flags; DISCONNECT: reason; PAUSE: is_paused; ADOPT: socket */
    uint64_t deadline_ns;    /* STOP */
    uint32_t reserved_bytes; /* SEND, SEND_BUF: reserved in the channel's remote_bytes */
    struct weir_buf *buf;
    struct weir_shared *shared;
    struct weir_info_answer *answer;
    struct weir_fanout fanout;
    bool has_fanout;
    weir_post_fn post; /* POST: to be called; NULL: it was */
    void *post_ctx;
    uint32_t post_shard;
    uint32_t len;
    uint8_t data
        []; /* SEND: the message; MULTICAST: weir_peer of this shard; DIAL, DIAL_CANCEL: struct weir_target; NAMED: weir_named */
};

/* Makes a note with `len` bytes behind it; NULL when memory is short. */
struct weir_note *weir_note_create(uint32_t kind, uint32_t len);
void weir_note_free(struct weir_note *note);

/* Puts a note and wakes the shard. Errors: WEIR_E_FULL (the note stays the caller's). */
int weir_shard_post(struct weir_shard *shard, struct weir_note *note, bool must_arrive);

/* Carries out all letters. Shard thread. */
void weir_letters_run(struct weir_shard *shard);
/* Throws away what will never be carried out. */
void weir_letters_drop(struct weir_shard *shard);

/* ---- shard.c ------------------------------------------------------------------------------- */

/* Makes a shard with its (disabled) ring. Errors: those of weir_io_uring_create, WEIR_E_NOMEM. */
int weir_shard_create(struct weir_shard **ret_shard, weir_node *node, uint32_t idx);
/* Makes the hub, on the thread that will turn. */
int weir_shard_init(struct weir_shard *shard);
void weir_shard_fini(struct weir_shard *shard);
void weir_shard_free(struct weir_shard *shard);
int64_t weir_shard_turn(struct weir_shard *shard, uint64_t wait_max);
/* How long its next turn will wait for the ring at most, in ns; 0: there is something to do already. */
uint64_t weir_shard_wait(const struct weir_shard *shard, uint64_t wait_max);
void *weir_shard_main(void *arg);
void weir_shard_stop(struct weir_shard *shard, uint64_t drain_until_ns);

/* ---- accept.c ------------------------------------------------------------------------------ */

/* Accepts at a listener again, where it does not already. */
void weir_accept_arm(struct weir_shard *shard, uint32_t idx);
void weir_accept_event(struct weir_shard *shard, const struct weir_io_event *event);
/* Takes over an accepted socket, or closes it. */
void weir_shard_adopt(struct weir_shard *shard, int sock);
/* Ends accepting; true when it has ended. The kernel may not take a cancel at once. */
bool weir_accept_end(struct weir_shard *shard);

/* ---- dispatch.c ---------------------------------------------------------------------------- */

extern const struct weir_hub_ops weir_dispatch_ops;
void weir_dispatch_ended(
    struct weir_shard *shard); /* tells the reactors of connections that ended */
void weir_dispatch_failed(struct weir_shard *shard, const struct weir_target *target,
                          uint16_t reason);
void weir_dispatch_ticks(struct weir_shard *shard);
void weir_dispatch_tick(struct weir_shard *shard, uint32_t reactor_idx);

/* ---- others -------------------------------------------------------------------------------- */

/* Copies a configuration and writes defaults; says in the log what is wrong. */
int weir_config_take(weir_node *node, const struct weir_config *cfg);
int weir_channel_take(weir_node *node, const struct weir_channel *channel,
                      struct weir_channel *ret_channel);
/* Copies a caller's struct of `*from` bytes over `to_bytes` zero bytes. WEIR_E_VERSION, WEIR_E_CONFIG. */
int weir_struct_take(void *to, size_t to_bytes, const void *from);

bool weir_log_is_wanted(const weir_node *node, int level);
void weir_log(weir_node *node, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* weir_node_create on a host that is not the system; `host` lives as long as the node. */
int weir_node_create_on(weir_node **ret_node, const struct weir_config *cfg,
                        const struct weir_io_host *host);

/* Unix time; in a simulated world, its clock. */
uint64_t weir_node_wall_ns(const weir_node *node);

/* Makes the shards with their rings, once; the mutex is held. */
int weir_node_prepare(weir_node *node);

/* Wakes threads in weir_send when there are any. */
void weir_waiters_wake(weir_node *node);

void weir_info_fill(const struct weir_conn *conn, struct weir_peer_info *ret_info);
/* Counts what an application said of a peer; false: it is gone. Shard thread. */
bool weir_peer_note_useful(struct weir_shard *shard, weir_peer peer, uint32_t first_cnt,
                           uint32_t again_cnt);
/* Queues a shared message for one; NULL: an empty message, which has no frame of its own. */
int weir_shared_queue(struct weir_conn *conn, uint32_t channel_idx, struct weir_shared *shared);
bool weir_fanout_wants(const struct weir_fanout *fanout, weir_peer peer);
/* Sends a shared message to this shard's peers; returns how many took it. */
int64_t weir_broadcast_here(struct weir_shard *shard, uint32_t channel_idx,
                            struct weir_shared *shared, const struct weir_fanout *fanout);
/* The same to a list of them. */
int64_t weir_multicast_here(struct weir_shard *shard, uint32_t channel_idx,
                            struct weir_shared *shared, const weir_peer *peers, size_t peer_cnt);

/* ---- reactor.c ------------------------------------------------------------------------------ */

int weir_places_init(struct weir_shard *shard); /* Errors: WEIR_E_NOMEM. */
void weir_places_fini(struct weir_shard *shard);
void weir_places_begin(struct weir_shard *shard, weir_peer peer); /* before it is told to be up */
void weir_places_end(struct weir_shard *shard, weir_peer peer);   /* after it was told to be down */

/* ---- directory.c --------------------------------------------------------------------------- */

int weir_directory_init(weir_node *node); /* Errors: WEIR_E_NOMEM. */
void weir_directory_fini(weir_node *node);
int weir_directory_shard_init(struct weir_shard *shard); /* Errors: WEIR_E_NOMEM. */
void weir_directory_shard_fini(struct weir_shard *shard);
/* Before a peer is told to be up, and after it was told to be down. */
void weir_directory_add(struct weir_shard *shard, const struct weir_conn *conn);
void weir_directory_remove(struct weir_shard *shard, weir_peer peer);

/* ---- filter.c ------------------------------------------------------------------------------ */

/* Asks the application; 0, or the reason why not. */
uint16_t weir_filter_connect(struct weir_shard *shard, const struct weir_addr *addr,
                             bool is_dialer);
uint16_t weir_filter_ready(const struct weir_conn *conn);

/* ---- exporter.c ---------------------------------------------------------------------------- */

/* An event of the exporter's listener or of one of its clients. Shard thread, as all here. */
void weir_exporter_event(struct weir_shard *shard, const struct weir_io_event *event);
void weir_exporter_fire(struct weir_shard *shard, uint32_t timer_arg);
/* Begins; ends: true when nothing is in flight any more. */
void weir_exporter_start(struct weir_shard *shard);
bool weir_exporter_stop(struct weir_shard *shard);
void weir_exporter_free(struct weir_shard *shard);
/* A shard is asked for its peers; the exporter's shard is told. */
void weir_exporter_ask(struct weir_shard *shard, const struct weir_note *note);
void weir_exporter_told(struct weir_shard *shard, const struct weir_note *note);

/* ---- dial.c -------------------------------------------------------------------------------- */

struct weir_named { /* a name's answer on its way to the dialer that asked */
    uint32_t entry_idx, entry_gen;
    uint16_t reason;
    uint32_t addr_cnt;
    struct weir_addr addrs[WEIR_RESOLVED_MAX];
};

/* Writes what was dialed as weir_dial takes it, with the id if it has one. */
void weir_dial_text(const struct weir_target *target, char ret_text[WEIR_DIALED_BYTES]);
/* A dial has ended: its own target, not an equal one, which may be another's. Frees it. */
void weir_dial_forget(weir_node *node, struct weir_target_kept *target);
/* A dialer asks for a name; `ctx` is its shard. Returns 0 or a reason. */
uint16_t weir_dial_ask(void *ctx, const struct weir_question *question, const char *name,
                       uint16_t port);
/* Ends the resolver: no letter comes from it afterwards. */
void weir_dial_end_names(weir_node *node);

#endif
