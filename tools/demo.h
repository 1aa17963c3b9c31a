/* demo.h: what the processes of `weir demo` share: channels, messages, and a page of counters.
 *
 *     parent ── pipe "control", lines ──► node     dial ADDR | go | stop | quit
 *            ◄─ pipe "report", lines ──── node     listening ADDR | ready | met | copied | done | fail CODE TEXT
 *            ◄─ shared memory ─────────── node     struct demo_slot: counters, one writer each
 *
 *     spawned ─listening─► dial ─ready, met─► go ─copied─► (time is up) stop ─done─► quit ─exit 0─►
 *
 * Node 1 is the source; the others dial it, and find each other (demo_mesh.h): a node is *ready* when it is
 * connected to node 1, and has *met* when it knows of all others. Files and state go straight between node 1 and
 * each other node; votes are gossiped. Integers in messages are little-endian. A node ends when its control pipe does, so
 * nothing outlives the parent.
 */
#ifndef DEMO_H
#define DEMO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/weir.h>

#include "histogram.h"

#define DEMO_NODES_MAX 32u

/* ---- channels ------------------------------------------------------------------------------ */

enum demo_channel { DEMO_VOTES = 1, DEMO_STATE = 2, DEMO_BULK = 3 };
#define DEMO_CHANNEL_CNT 3u

struct demo_channel_spec {
    uint16_t id, weight;
    bool is_urgent;
    const char *name;
};
extern const struct demo_channel_spec demo_channels[DEMO_CHANNEL_CNT];

/* ---- messages ------------------------------------------------------------------------------ */

/* VOTES and STATE: kind:1 zero:3 seen:4 seq:8 due:8 sent:8 pattern. `seen`, in state to node 1: votes below it
 * have all come (demo_votes.h). A FIN of STATE has the count in seq, and node 1's that of the votes in due. */
#define DEMO_STAMP_BYTES 32u
#define DEMO_VOTE_BYTES 200u
#define DEMO_STATE_BYTES 4096u
#define DEMO_VOTES_PER_S 1000u
#define DEMO_DELIVERIES_PER_S 8000u /* of votes, at all nodes: with more than 9 they are fewer */
#define DEMO_STATES_PER_S 250u
/* Node 1 publishes no further vote while a node misses one that is so many behind: who is kept from running gets
 * late votes then, and none that queues had no room for. */
#define DEMO_VOTES_AHEAD 2000u

enum demo_kind {
    DEMO_STAMPED = 1,  /* a vote or a state */
    DEMO_FIN = 2,      /* the last message of its channel */
    DEMO_MANIFEST = 3, /* entries: size:8 sha256:32 path_len:2 path */
    DEMO_TOTAL = 4,    /* files:8 bytes:8, behind the manifest */
    DEMO_PACK = 5,     /* small files: entries: idx:4 len:4 bytes */
    DEMO_PART = 6,     /* a piece of a file: idx:4 offset:8 bytes */
    DEMO_ROUND = 7,    /* every file has been sent once more */
};

#define DEMO_CHUNK_BYTES (256u << 10) /* the largest message on the bulk channel, about */

/* Writes a vote or a state of `len` bytes; the bytes behind the stamp follow from `seq`. */
void demo_stamp(uint8_t *ret, size_t len, uint64_t seq, weir_ns due, weir_ns sent);

/* Whether every byte behind the stamp is as demo_stamp() made it. */
bool demo_stamp_is_whole(const uint8_t *data, size_t len);

/* ---- counters ------------------------------------------------------------------------------ */

/* Of one node, in memory shared with the parent. The atomics are read while it runs; the rest after
 * its `done`. */
struct demo_slot {
    _Atomic uint64_t files_read, bytes_read; /* source: while it prepares */
    _Atomic uint64_t files_total, bytes_total;
    _Atomic uint64_t files_good, files_bad; /* sink: by SHA-256, in the first round */
    _Atomic uint64_t rounds;                /* sink: complete rounds */
    _Atomic uint64_t round_bytes;           /* sink: of the one that is under way */
    _Atomic uint64_t channel_bytes[DEMO_CHANNEL_CNT], channel_msgs[DEMO_CHANNEL_CNT]; /* received */
    _Atomic uint64_t last_vote_ns;
    uint64_t files_skipped; /* source */
    char first_skipped[256];
    uint64_t copied_ns;                    /* sink: when the first round was complete */
    uint64_t bytes_compared, bytes_hashed; /* sink: in later rounds */
    _Atomic uint64_t votes_lost;           /* sink: published and not come, once that is known */
    uint64_t states_lost, stamps_bad;
    uint32_t peers_found;  /* other nodes that discovery knows */
    uint32_t peers_dialed; /* of them, dialed by discovery */
    uint32_t peers_up;     /* connected */
    struct weir_gossip_stats gossip;
    bool has_copy;                  /* sink: later rounds are compared with a stored copy */
    struct histogram vote_latency;  /* from the call that sent it */
    struct histogram vote_lateness; /* from the moment it was due */
    struct weir_metrics metrics;
};

/* ---- a node process ------------------------------------------------------------------------ */

struct demo_node {
    uint32_t idx, node_cnt; /* idx 1 is the source */
    const char *directory;  /* the source's */
    const char *out;        /* the sinks'; NULL: files stay in memory */
    int control_fd, report_fd;
    struct demo_slot *slot;
    weir_node *weir;
    weir_discovery *discovery;
    weir_gossip *gossip;
    char address[128];       /* where it listens */
    _Atomic bool has_failed; /* `fail` was reported */
};

/* Writes one line to the parent. Any thread: a line is one write, below PIPE_BUF. */
void demo_report(const struct demo_node *node, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Reports the first failure; the parent then ends the demo. Any thread. */
void demo_fail(struct demo_node *node, int exit_code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
