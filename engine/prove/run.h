/* engine/prove/run.h: what the files of the proving ground share: one run. */
#ifndef WEIR_ENGINE_PROVE_RUN_H
#define WEIR_ENGINE_PROVE_RUN_H

#include "engine/prove/prove.h"
#include "engine/prove/world.h"

#define RUN_NODES_MAX 8u
#define RUN_SHARDS_MAX 3u
#define RUN_CHANNELS_MAX 6u
#define RUN_PEERS_MAX 64u /* that a node remembers at once: those that are up */
#define RUN_SLOTS_MAX (RUN_PEERS_MAX / RUN_SHARDS_MAX) /* of a shard */
#define RUN_KEPT_MAX 512u
#define RUN_TRACE_BYTES 200u
#define RUN_MARK_BYTES 12u /* a message of that many says who it is */

/* Who sent a message: each has an order of its own. */
enum run_source {
    RUN_OWN = 0,   /* the peer's own shard */
    RUN_SHARD = 1, /* another shard: 1 + its number */
    RUN_AWAY = 4,  /* another thread */
    RUN_SOURCES = 5
};

/* A message that was accepted for sending and has not arrived. */
struct run_entry {
    uint64_t uid;
    uint32_t len;
    bool is_maybe; /* it may have been dropped, or refused later */
};

struct run_queue {
    struct run_entry *entries; /* a ring */
    uint32_t head, cnt, cap;
};

/* One channel of one connection, one way. */
struct run_flow {
    struct run_queue queues[RUN_SOURCES];
    bool is_lossy;
    bool is_full; /* a send was refused, and on_writable has not come */
};

/* What the bytes of one direction say, as the sender's kernel takes them. Of an encrypted one the frames are
 * known from what was picked for the send that they are in, all at once with its first byte. */
struct run_stream {
    uint8_t head[32];
    uint32_t head_len, skip;  /* bytes of a header that are there; payload bytes to come */
    uint64_t taken;           /* bytes so far; encrypted: of frames, with their headers */
    uint64_t wire, send_left; /* encrypted: bytes so far; of a send that has begun, to come */
    uint64_t bytes[RUN_CHANNELS_MAX]; /* of frames whose header was taken, with the header */
    uint64_t payload[RUN_CHANNELS_MAX];
    bool is_lost; /* not followed: something was not as expected */
    /* fairness: pairs that have been backlogged since */
    bool has_pairs;
    bool is_paired[RUN_CHANNELS_MAX][RUN_CHANNELS_MAX];
    uint64_t since[RUN_CHANNELS_MAX][RUN_CHANNELS_MAX][2];
    /* urgency: no frame that is not urgent may begin at or behind this, before an urgent one */
    uint64_t urgent_from;
    uint64_t urgent_since_ns; /* 0: nothing urgent waits */
    uint32_t idle_turns;      /* that ended with something urgent to send, and no send under way */
};

struct run_node;

struct run_end {
    struct run_node *node; /* NULL: never came up */
    uint32_t life;         /* of the node */
    weir_peer peer;
    bool is_up;
};

struct run_link {
    uint64_t id;
    struct run_end ends[2];                     /* 0: the dialer's */
    bool is_secure;                             /* known when an end is up */
    struct run_flow flows[2][RUN_CHANNELS_MAX]; /* by the sender's end */
    struct run_stream streams[2];
};

/* A peer that is up, as its node knows it. */
struct run_peer {
    weir_peer peer;
    struct run_link *link;
    uint32_t end;
};

/* What the oracles know of a slot of a shard in this life of its node. */
struct run_slot {
    uint64_t kept_peer, kept_bytes; /* of the peer that kept something last */
    uint64_t seen_kept_bytes;       /* when its connection was last looked at as a whole */
    bool is_seen;
    bool is_followed; /* its stream has something that goes on from turn to turn */
    /* A connection as it was then. */
    struct weir_conn conn;
    struct weir_conn_channel channels[RUN_CHANNELS_MAX];
};

struct run_kept {
    struct weir_buf *buf;
    struct run_slot *slot; /* that counts it; NULL: none */
    struct run_node *node;
    uint32_t life;
    weir_peer peer;
    uint64_t uid, until_ns;
    uint32_t len;
};

struct run_reactor {
    struct run_node *node;
    uint32_t idx;
};

struct run_node {
    struct run *run;
    uint32_t idx, host;
    uint32_t life;   /* how many times it was started */
    weir_node *node; /* NULL: down */
    bool is_stopping;
    uint64_t back_at_ns, stop_by_ns;
    struct weir_config cfg;
    struct weir_channel channels[RUN_CHANNELS_MAX];
    uint32_t channel_cnt, reactor_cnt;
    uint32_t channel_split; /* channels from here on belong to the second reactor */
    struct run_reactor reactors[2];
    uint32_t persist; /* a bit per node that it dials for ever */
    uint32_t named;   /* a bit per host that it dials for ever by name, for a while */
    uint32_t by_id;   /* of those, who must have the id that they had at first */
    bool has_key;     /* the same in all its lives */
    struct weir_key key;
    struct weir_id id;
    struct run_slot *slots; /* RUN_SLOTS_MAX for each shard */
    uint32_t dial_cnts[RUN_SHARDS_MAX];
    struct run_peer peers[RUN_PEERS_MAX];
    uint32_t peer_cnt;
    uint64_t ups, downs, ups_heard, downs_heard;
    uint64_t tick_ns; /* mean time between two of a shard's rounds */
    uint32_t ops_max; /* of a round */
};

struct run {
    struct prove_config cfg;
    struct prove_result *res;
    weir_world *world;
    uint64_t rng; /* the application's, so that it does not depend on the world's */
    uint32_t classes;
    uint32_t secure;             /* enum prove_secure */
    struct weir_key network_key; /* kind 0: none */
    bool is_healing, is_quiet;   /* quiet: nothing new is sent */
    bool is_still,
        is_to_stay;     /* still: nor is anything wanted; to stay: nor does a connection end */
    uint64_t end_ns;    /* of the safety phase */
    uint64_t healed_ns; /* no fault since then */
    struct run_node nodes[RUN_NODES_MAX];
    uint32_t node_cnt, channel_cnt;
    bool is_urgent[RUN_CHANNELS_MAX];
    uint16_t weights[RUN_CHANNELS_MAX];
    uint32_t len_max;
    struct run_link **links;
    uint64_t link_cap;
    uint64_t last_uid;
    struct run_kept kept[RUN_KEPT_MAX];
    uint32_t kept_cnt;
    uint64_t wraps_out; /* buffers of ours that were not released yet */
    uint64_t hash;
    uint64_t next_fault_ns, next_away_ns;
    uint8_t *scratch;       /* len_max bytes */
    struct run_slot *slots; /* of all nodes */
};

/* ---- prove.c ------------------------------------------------------------------------------- */

/* An oracle's finding; the first counts. */
void run_fail(struct run *run, const char *oracle, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void run_trace(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define TRACE(run, ...)                  \
    do {                                 \
        if ((run)->cfg.trace)            \
            run_trace(run, __VA_ARGS__); \
    } while (0)

uint64_t run_below(struct run *run, uint64_t bound);
bool run_chance(struct run *run, uint32_t percent);
static inline bool run_is_on(const struct run *run, uint32_t class_bit)
{
    return (run->classes & class_bit) && !run->is_healing;
}
struct run_node *run_node_of(struct run *run, const struct world_node *node);
void run_node_start(struct run_node *node);
struct weir_conn *run_conn_of(struct run_node *node, weir_peer peer);
static inline struct run_slot *run_slot_of(const struct run_node *node,
                                           const struct weir_conn *conn)
{
    return &node->slots[conn->hub->shard * RUN_SLOTS_MAX + conn->slot];
}

/* ---- swarm.c ------------------------------------------------------------------------------- */

void swarm_draw(struct run *run, struct weir_world_config *ret_world);

/* ---- policy.c ------------------------------------------------------------------------------ */

void policy_draw(struct run *run); /* after the nodes */
/* Writes what `from` dials to come to `to` for ever, or once (with flags that it chooses). */
void policy_address(const struct run_node *from, const struct run_node *to, char ret_address[128]);
uint32_t policy_dial(struct run_node *from, uint32_t to, char ret_address[128]);
/* Whether a dial for ever can come to a connection. */
bool policy_can_join(const struct run_node *from, const struct run_node *to);
/* Whether a connection stands for one in the other direction too. */
bool policy_is_for_both(const struct run_link *link);
bool policy_can_be(const struct run *run,
                   int reason); /* of the reasons that have to do with this */
void policy_up(struct run_node *node, const struct run_peer *peer);
bool policy_has_twins(const struct run_node *node);

/* ---- actor.c ------------------------------------------------------------------------------- */

extern const struct weir_reactor actor_reactor;
/* Does something at random, as another thread of the node's. */
void actor_away(struct run *run);
void actor_release(struct run *run, bool is_all); /* what was kept long enough, or everything */
/* In the healing phase: undoes what would keep the cluster from coming to rest. */
void actor_part(
    struct run *run); /* disconnects all, so that there are places for who dials for ever */
void actor_calm(struct run *run);
void actor_cancel(struct run *run); /* what is dialed for ever by name */
void actor_dial(struct run_node *node);

/* ---- model.c ------------------------------------------------------------------------------- */

struct run_link *model_link(struct run *run, uint64_t id);
struct run_peer *model_peer(struct run_node *node, weir_peer peer);
void model_up(struct run_node *node, weir_peer peer);
void model_down(struct run_node *node, weir_peer peer, int reason);
void model_blame(struct run_node *node, int reason); /* whether an end's reason can be */
void model_node_gone(struct run_node *node);
uint64_t model_uid(struct run *run, uint32_t source);
void model_fill(uint8_t *bytes, uint32_t len, uint64_t uid);
bool model_is_filled(const uint8_t *bytes, uint32_t len, uint64_t uid);
/* Whether a message can be read in these bytes. */
bool model_is_bare(const uint8_t *bytes, size_t len);
void model_sent(struct run_node *node, struct run_peer *peer, uint32_t channel, uint64_t uid,
                uint32_t len, bool is_maybe);
/* Takes the last entry of a queue back: it was not accepted after all. */
void model_unsent(struct run_peer *peer, uint32_t channel, uint64_t uid);
uint64_t model_arrived(struct run_node *node, const struct weir_msg *msg);
void model_check_empty(struct run *run);
bool model_is_empty(const struct run *run);
void model_free(struct run *run);

/* ---- oracle.c ------------------------------------------------------------------------------ */

void oracle_turn(void *ctx, struct world_node *node, uint32_t shard);
bool oracle_is_joined(struct run *run, bool is_said);  /* every persistent dial is a connection */
bool oracle_is_at_rest(struct run *run, bool is_said); /* nothing is queued, held or owed */
void oracle_awake(struct run_node *node);              /* nobody sleeps who has mail */
void oracle_stopped(struct run_node *node);

/* ---- stream.c ------------------------------------------------------------------------------ */

void stream_watch(void *ctx, struct weir_io *io, uint64_t token, const uint8_t *bytes, size_t len);
void stream_check(struct run_node *node, struct weir_conn *conn); /* after a turn */
void stream_urgent(struct run_node *node, struct weir_conn *conn, uint32_t channel);

#endif
