/* weir/node.h: a node: its life, its reactors, its peers, sending.
 *
 * Life:   create -> attach (reactors), listen, dial -> start -> ... -> stop -> free
 *
 * A node has shards; a shard is one thread with one event loop that owns connections outright. A
 * *reactor* is a set of callbacks that owns channels; a callback about a peer runs on the shard that
 * owns the peer. Per peer the order is: PEER_UP, then messages and writable events, then PEER_DOWN,
 * and nothing after. Messages of one channel arrive in the order they were sent; between channels there
 * is no order.
 *
 * Unless a function says otherwise it can be called on any thread. On the thread of the shard that owns
 * the peer it acts at once; from elsewhere it goes through the shard's mailbox, and besides the errors that
 * it names there are two more: WEIR_E_FULL (mailbox_bytes_max are waiting there; try later) and WEIR_E_NOMEM. What
 * then turns out on the shard, a peer that has gone above all, is not told.
 */
#ifndef WEIR_NODE_H
#define WEIR_NODE_H

#include "weir/base.h"
#include "weir/buf.h"
#include "weir/config.h"
#include "weir/error.h"
#include "weir/key.h"
#include "weir/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_node weir_node;

/* A received message: `len` bytes at `data`, borrowed until the callback returns unless kept. */
struct weir_msg {
    weir_peer peer;
    const uint8_t *data;
    uint32_t len;
    uint16_t channel;
    uint16_t reserved;
    struct weir_buf *buf; /* the engine's own, for weir_msg_keep; do not touch */
};

enum weir_event {
    WEIR_PEER_UP = 1,   /* handshake done, messages may be sent */
    WEIR_PEER_DOWN = 2, /* a peer that was up is gone: reason; its id is stale from here on */
    WEIR_PEER_FAILED =
        3, /* a connection that never came up: reason. peer is {0} when a dial failed */
};

struct weir_reactor {
    uint32_t size; /* sizeof(struct weir_reactor) */
    uint32_t reserved;
    void *ctx; /* handed to every callback */
    /* Messages that were verified, all of this reactor's channels, possibly of several peers. */
    void (*on_batch)(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt);
    /* A peer came or went: enum weir_event and enum weir_reason. Every reactor hears of every peer. */
    void (*on_peer)(void *ctx, weir_peer peer, int event, int reason);
    /* Once after a send answered WEIR_E_FULL: half of the channel's queue is free again. */
    void (*on_writable)(void *ctx, weir_peer peer, uint16_t channel);
    /* Runs on each shard at start and then when it asked to: returns the time of its next call,
     * 0 for never. `now` is on CLOCK_MONOTONIC. Called up to 16 us and one turn late, never early. */
    weir_ns (*on_tick)(void *ctx, uint32_t shard, weir_ns now);
    /* A dial ended without a peer: follows WEIR_PEER_FAILED on the same thread and says which address it was, as
     * weir_dial takes it. Persistent dials will be made again. */
    void (*on_dial)(void *ctx, const char *address, int reason);
};

/* ---- life ---------------------------------------------------------------------------------- */

/* Makes a node from a configuration, which is copied. No ring and no thread exist yet.
 * Errors: WEIR_E_CONFIG (a field out of range), WEIR_E_VERSION (a newer struct that uses unknown fields),
 * WEIR_E_ACCESS (ban_path exists and cannot be read), WEIR_E_SYSTEM (no random numbers are to be had), WEIR_E_NOMEM.
 * A line for the log callback names the field.
 * Owns: the caller frees it with weir_node_free(). */
WEIR_API WEIR_MUST_CHECK int weir_node_create(weir_node **ret_node, const struct weir_config *cfg);

/* Attaches a reactor with `channel_cnt` channels (0 is allowed: it hears of peers only). Both are copied; what
 * `ctx` points to has to outlive the node. Before start.
 * Errors: WEIR_E_DUPLICATE (a channel id that is attached already), WEIR_E_CONFIG, WEIR_E_VERSION,
 * WEIR_E_LIMIT (more than WEIR_CHANNELS_MAX channels or 64 reactors), WEIR_E_STATE (after start). */
WEIR_API WEIR_MUST_CHECK int weir_node_attach(weir_node *node, const struct weir_reactor *reactor,
                                              const struct weir_channel *channels,
                                              uint32_t channel_cnt);

/* Listens at "IPV4:PORT", "[IPV6]:PORT" or "unix:PATH" (a stale socket file is replaced, one in use is
 * not); port 0 lets the system choose. TCP listeners exist on every shard (SO_REUSEPORT). Before start.
 * The first listen, dial or start makes the rings: errors of weir_node_start() that concern them are answered
 * by whichever comes first.
 * Errors: WEIR_E_ADDRESS (it does not parse, or is not of this machine), WEIR_E_IN_USE, WEIR_E_ACCESS (a port or a
 * folder that is not for this user), WEIR_E_DESCRIPTORS, WEIR_E_LIMIT (16 listeners), WEIR_E_STATE (after start), WEIR_E_SYSTEM;
 * WEIR_E_NO_URING, WEIR_E_KERNEL, WEIR_E_MEMLOCK, WEIR_E_NOMEM, WEIR_E_CONFIG (tcp_congestion). */
WEIR_API WEIR_MUST_CHECK int weir_node_listen(weir_node *node, const char *address);

/* Writes the address of listener `idx`, with the port the system chose, as weir_dial takes it.
 * Errors: WEIR_E_MISUSE (no such listener), WEIR_E_TOO_BIG (`ret_len` bytes are too few: 128 do). */
WEIR_API int weir_node_address(weir_node *node, uint32_t idx, char *ret_address, size_t ret_len);

/* Makes the rings and, unless WEIR_CONFIG_CALLER_TURNS, one thread per shard; returns when all run.
 * Errors: WEIR_E_CONFIG (no channel is attached, or tcp_congestion is unknown), WEIR_E_NO_URING, WEIR_E_KERNEL,
 * WEIR_E_MEMLOCK, WEIR_E_NOMEM, WEIR_E_DESCRIPTORS, WEIR_E_STATE (it was started before); where stats_path is set
 * WEIR_E_IN_USE (a node that runs writes that file), WEIR_E_ACCESS and WEIR_E_SYSTEM (it cannot be made). */
WEIR_API WEIR_MUST_CHECK int weir_node_start(weir_node *node);

/* Runs one turn of a shard on the calling thread, which owns the shard from its first turn on. Waits
 * for work at most `wait_max` (0: does not wait). Only with WEIR_CONFIG_CALLER_TURNS.
 * Returns the number of completions handled. Errors: WEIR_E_STATE (not started, or it has stopped), WEIR_E_MISUSE (no
 * such shard, not its thread, or not with WEIR_CONFIG_CALLER_TURNS); in the first turn those of making a shard, as
 * weir_node_start. */
WEIR_API int64_t weir_node_turn(weir_node *node, uint32_t shard, weir_ns wait_max);

/* Stops: no new peers, queued messages are sent until `drain` has passed, then every peer gets a
 * goodbye (WEIR_R_SHUTDOWN) and the threads end. With caller turns: keep turning until
 * weir_node_turn() answers WEIR_E_STATE. A name that is being looked up is waited for, at most until its
 * name_timeout_ns. Returns 0, or WEIR_E_TIMEOUT when bytes had to be given up (with caller turns 0, at once).
 * Errors: WEIR_E_SHARD_THREAD (from a callback: call it elsewhere), WEIR_E_STATE (it was never started, or was
 * stopped before). */
WEIR_API int weir_node_stop(weir_node *node, weir_ns drain);

/* Frees a node that is stopped or was never started (a running one is stopped first, without drain);
 * NULL is fine. Kept messages stay valid.
 * Thread: any that is not in a callback of the node, when no other call for the node is under way or comes. With
 * caller turns best the one that turned, which ends what is in flight before this returns. Another one may when those
 * that turned have done with the node: until this has returned they neither call it nor release a message that they
 * kept, and the application sees to the order (it joined them, or a mutex). It is the kernel that closes the
 * connections then, maybe some time after this has returned. */
WEIR_API void weir_node_free(weir_node *node);

/* ---- peers --------------------------------------------------------------------------------- */

enum weir_dial_flags {
    WEIR_DIAL_PERSIST =
        1u << 0,                /* dial again, with backoff and jitter, whenever it fails or ends */
    WEIR_DIAL_DIRECT = 1u << 1, /* not through weir_config.proxy */
    /* Instead of weir_config.secure, for this address; at most one of them. */
    WEIR_DIAL_PLAIN = 1u << 2,
    WEIR_DIAL_PREFER = 1u << 3,
    WEIR_DIAL_REQUIRE = 1u << 4,
};

/* Dials an address (as weir_node_listen takes it, port not 0), or "NAME:PORT" with a host name of up to
 * 253 bytes, or either behind "ID@": then only the node with this id is accepted there, encrypted. A name is
 * looked up by a thread of the node, anew each time; up to 8 of its addresses are tried, IPv4 and IPv6 in turn,
 * each with a head start of dial_head_start_ns over the next, and the first that connects is kept (RFC 8305).
 * The outcome is one on_peer event, however many addresses failed; the reasons WEIR_R_NAME_* say what is wrong
 * with a name.
 * With weir_config.proxy everything but unix sockets is dialed through the proxy, which looks names up, so
 * that no name of a peer is ever asked for here; names under .onion can only be dialed so. The reasons
 * WEIR_R_PROXY_* say what the proxy answered.
 * Errors: WEIR_E_KEY (the id), WEIR_E_CONFIG (encrypted, but this node is plain), WEIR_E_ADDRESS, WEIR_E_LIMIT
 * (dials_max), WEIR_E_STATE (stopping), WEIR_E_MISUSE (unknown flags, or two policies), WEIR_E_FULL (mailbox),
 * WEIR_E_NOMEM, and those of making the rings (see weir_node_listen). */
WEIR_API WEIR_MUST_CHECK int weir_dial(weir_node *node, const char *address, uint32_t flags);

/* The id of this node, for weir_id_text. Errors: WEIR_E_STATE (it is plain and has none). */
WEIR_API int weir_node_id(weir_node *node, struct weir_id *ret_id);

/* Forgets a dial, written as it was to weir_dial; a connection that exists stays. ID@ADDRESS means the dial of this
 * node alone; ADDRESS one there, whatever id it has. Of several, a persistent one goes first. Errors:
 * WEIR_E_GONE (not being dialed), WEIR_E_ADDRESS, WEIR_E_KEY (the id), WEIR_E_NOMEM. */
WEIR_API int weir_dial_cancel(weir_node *node, const char *address);

/* Closes a peer with a goodbye that carries `reason` (WEIR_R_APPLICATION for 0). What was queued for it goes first, within
 * goodbye_linger_ns.
 * Errors: WEIR_E_GONE, WEIR_E_MISUSE (not an enum weir_reason), WEIR_E_FULL (mailbox), WEIR_E_NOMEM. */
WEIR_API int weir_disconnect(weir_node *node, weir_peer peer, int reason);

/* Describes a peer. Errors: WEIR_E_GONE, WEIR_E_VERSION, WEIR_E_NOMEM.
 * Thread: the owning shard's (inside a callback); elsewhere it waits for the shard for up to 1 s:
 * WEIR_E_TIMEOUT. */
WEIR_API int weir_peer_info(weir_node *node, weir_peer peer, struct weir_peer_info *ret_info);

/* The shard that owns the peer, also of one that is gone. */
WEIR_API uint32_t weir_peer_shard(weir_peer peer);

/* ---- misbehaviour and bans ----------------------------------------------------------------- */

/* Says that a peer misbehaved, by points (1 .. 1,000,000) that are added to its address's. The engine does the
 * same for what breaks the wire format (docs/limits.md has how many points for what). Points halve every
 * score_half_life_ns. At score_disconnect the peer is closed with WEIR_R_MISBEHAVED, at score_ban its address
 * (of IPv6 the /64) is banned for ban_ns. Peers that are kept dialed (WEIR_DIAL_PERSIST), connections from
 * their addresses, unix sockets, and loopback without WEIR_CONFIG_LIMIT_LOOPBACK have no score.
 * Errors: WEIR_E_GONE, WEIR_E_MISUSE (points), WEIR_E_NOMEM, WEIR_E_FULL (mailbox). */
WEIR_API int weir_blame(weir_node *node, weir_peer peer, uint32_t points);

/* Bans an address or a subnet ("192.0.2.7", "192.0.2.0/24", "2001:db8::/32") or a node id for `duration` (0: ban_ns,
 * WEIR_NS_FOREVER), rounded up to seconds, with a reason for lists and logs (0: WEIR_R_BANNED). Connections are
 * closed with WEIR_R_BANNED, further ones refused (those of an id when the handshake has proved it), and plain dials
 * fail; persistent dials go on, since somebody asked for them. With weir_config.ban_path bans outlive the process. From
 * create on. How another program does it: weir_ban_ask.
 * Errors: WEIR_E_ADDRESS, WEIR_E_KEY (it begins like an id), WEIR_E_LIMIT (bans_max), WEIR_E_MISUSE (not an enum
 * weir_reason). */
WEIR_API int weir_ban(weir_node *node, const char *whom, weir_ns duration, int reason);

/* Ends the ban of exactly that prefix or id. Errors: WEIR_E_GONE (there is none), WEIR_E_ADDRESS, WEIR_E_KEY. */
WEIR_API int weir_unban(weir_node *node, const char *whom);

struct weir_ban_info {
    char prefix[64];           /* "" when an id is banned */
    uint64_t since_s, until_s; /* seconds since 1970, UTC; until UINT64_MAX: for ever */
    int32_t reason;            /* enum weir_reason */
    uint8_t is_manual;         /* by weir_ban, not by a score */
    uint8_t is_id;             /* it is about `id`, wherever it comes from */
    uint8_t reserved[2];
    struct weir_id id;
};

/* Lists the bans that hold. Returns how many there are; at most `ban_max` are filled in. */
WEIR_API int64_t weir_ban_list(weir_node *node, struct weir_ban_info *ret_bans, size_t ban_max);

/* ---- sending ------------------------------------------------------------------------------- */

/* Queues a copy of a message; never blocks. 0 means queued: it will be sent unless the connection ends.
 * Errors: WEIR_E_FULL (on_writable follows), WEIR_E_GONE, WEIR_E_TOO_BIG, WEIR_E_NO_CHANNEL,
 * WEIR_E_NOMEM (pool or peer budget). On the channel's overflow policy see enum weir_overflow.
 * The bound of a queue is weir_channel.send_bytes_max; what other threads sent and the shard has not
 * yet taken is bounded by the same figure apart.
 * While a callback of a shard sends small messages in a row to one channel of one peer, that queue and the peer's budget
 * count as fuller than they are, by what may still go into the frame that is being filled: less than 64 KiB, and
 * within their bounds. That is given back with the callback's next call for anything else, and when it returns.
 * Other threads may be answered WEIR_E_FULL or WEIR_E_NOMEM so much early meanwhile; the callback is not. */
WEIR_API WEIR_MUST_CHECK int weir_try_send(weir_node *node, weir_peer peer, uint16_t channel,
                                           const void *data, size_t len);

/* As weir_try_send, but waits up to `timeout` for room. Errors: also WEIR_E_TIMEOUT, and
 * WEIR_E_SHARD_THREAD on any of the node's shard threads. */
WEIR_API WEIR_MUST_CHECK int weir_send(weir_node *node, weir_peer peer, uint16_t channel,
                                       const void *data, size_t len, weir_ns timeout);

/* As weir_try_send, without a copy: the reference `take` is consumed whatever the result and released
 * exactly once, when the bytes have been handed to the kernel (or the send failed). */
WEIR_API WEIR_MUST_CHECK int weir_send_buf(weir_node *node, weir_peer peer, uint16_t channel,
                                           struct weir_buf *take);

typedef struct weir_receipt weir_receipt; /* any thread */

/* Which peers a broadcast goes to; NULL for all that are up and have the channel. */
struct weir_fanout {
    uint32_t size; /* sizeof(struct weir_fanout) */
    uint32_t reserved;
    weir_peer except;                         /* {0} for none */
    int (*accept)(void *ctx, weir_peer peer); /* nonzero: send to it; NULL: to all; shard thread */
    void *ctx; /* valid until the node stops when called off a shard thread */
    uint32_t
        sample; /* of those, so many drawn at random; 0: all. With several shards each draws its share by
                      * the peers that it has */
    uint32_t reserved2;
    weir_receipt *receipt; /* of this message alone; NULL: nobody asks */
};

/* What became of a message that was sent to many. Each peer that it was queued for ends in one of two: the kernel
 * took its last byte, or it was given up (the connection ended, or the channel's policy dropped it). */
struct weir_receipt_counts {
    uint32_t size; /* in: sizeof(struct weir_receipt_counts) */
    uint32_t
        is_settled; /* all shards have queued it, and each peer has ended: no count changes any more */
    uint64_t queued, handed, lost; /* peers */
};

/* Makes a receipt, for one message to many.
 * Errors: WEIR_E_NOMEM.
 * Owns: the caller frees it, at any time. */
WEIR_API WEIR_MUST_CHECK int weir_receipt_create(weir_receipt **ret_receipt, weir_node *node);
WEIR_API void weir_receipt_free(weir_receipt *receipt);

/* Reads the counts. Errors: WEIR_E_VERSION, WEIR_E_MISUSE. */
WEIR_API int weir_receipt_read(weir_receipt *receipt, struct weir_receipt_counts *ret_counts);

/* Waits until the kernel has taken the message for `peer_cnt` peers, up to `timeout`. That it took it says nothing
 * of its arrival.
 * Errors: WEIR_E_GONE (it is settled, for fewer), WEIR_E_TIMEOUT, WEIR_E_SHARD_THREAD (on any of the node's shard
 * threads: they would wait for themselves). */
WEIR_API WEIR_MUST_CHECK int weir_receipt_wait(weir_receipt *receipt, uint32_t peer_cnt,
                                               weir_ns timeout);

/* Sends one message to many peers: encoded and hashed once. Peers whose queue is full are treated by
 * the channel's policy.
 * Returns how many peers it was queued for; called off a shard thread, or with several shards, peers of
 * other shards are not counted (they are queued a moment later).
 * Errors: WEIR_E_TOO_BIG (above WEIR_MSG_BYTES_MAX; peers for whom it is too long are skipped), WEIR_E_NO_CHANNEL,
 * WEIR_E_NOMEM, WEIR_E_FULL (a mailbox; other shards' peers may have it), WEIR_E_STATE (not running; a receipt that was
 * used), WEIR_E_VERSION (the fanout), WEIR_E_MISUSE (an empty message with a receipt: it has no frame of its own). */
WEIR_API int64_t weir_broadcast(weir_node *node, uint16_t channel, const void *data, size_t len,
                                const struct weir_fanout *fanout);

/* The same to `peer_cnt` peers of a list, in its order. Who is gone, or does not have the channel, is skipped.
 * Returns as weir_broadcast. Errors: the same; WEIR_E_MISUSE (more than 65,536 peers). */
WEIR_API int64_t weir_multicast(weir_node *node, uint16_t channel, const void *data, size_t len,
                                const weir_peer *peers, size_t peer_cnt);

/* The same with a receipt, of this message alone. Errors: as weir_broadcast with one; WEIR_E_MISUSE (NULL). */
WEIR_API int64_t weir_multicast_receipt(weir_node *node, uint16_t channel, const void *data,
                                        size_t len, const weir_peer *peers, size_t peer_cnt,
                                        weir_receipt *receipt);

/* ---- receiving ----------------------------------------------------------------------------- */

/* Keeps a message beyond the callback: the bytes are the returned buffer's and count against the
 * channel's credit and the peer's budget until weir_buf_unref(). Large messages are not copied.
 * Errors: WEIR_E_NOMEM (the pool or the peer's budget), WEIR_E_MISUSE (elsewhere than in on_batch).
 * Owns: the caller gives the buffer back with weir_buf_unref(), on any thread.  Thread: inside on_batch only. */
WEIR_API WEIR_MUST_CHECK int weir_msg_keep(weir_node *node, const struct weir_msg *msg,
                                           struct weir_buf **ret_buf);

/* Stops (or goes on with) delivering one channel of one peer. What has arrived, at most the channel's
 * recv_bytes_max, is held; the peer then runs out of credit on this channel and no other.
 * Errors: WEIR_E_GONE, WEIR_E_NO_CHANNEL, WEIR_E_FULL (mailbox), WEIR_E_NOMEM. */
WEIR_API int weir_channel_pause(weir_node *node, weir_peer peer, uint16_t channel, int is_paused);

/* ---- looking ------------------------------------------------------------------------------- */

/* Reads the node's counters. Errors: WEIR_E_VERSION, WEIR_E_MISUSE (a size below 4). */
WEIR_API int weir_metrics_read(weir_node *node, struct weir_metrics *ret_metrics);

/* Writes every series of the node (docs/metrics.md) as text in Prometheus' exposition format, with a NUL behind, if it
 * fits `text_max` bytes. For an application that has an HTTP server; without one, see weir_metrics_listen.
 * Returns the length of the text, whether it fit or not. Errors: WEIR_E_NOMEM, WEIR_E_MISUSE. */
WEIR_API int64_t weir_metrics_text(weir_node *node, char *ret_text, size_t text_max);

/* Serves that text over HTTP at `address` (as weir_node_listen takes it), under /metrics, from shard 0 on: with the
 * peers one by one when metrics_peers says so. GET only, at most 8 clients at once, 10 s for each. Whoever reaches the
 * address can read it: keep it on loopback or a private network. Before start, once.
 * Errors: as weir_node_listen; WEIR_E_LIMIT (a second one), WEIR_E_STATE. */
WEIR_API WEIR_MUST_CHECK int weir_metrics_listen(weir_node *node, const char *address);

/* Writes the address of that server, with the port the system chose. Errors: as weir_node_address. */
WEIR_API int weir_metrics_address(weir_node *node, char *ret_address, size_t ret_len);

/* Says that `first_cnt` messages of a peer were new and `again_cnt` had come from another peer before. The node only
 * counts: struct weir_peer_info and the metrics show it, for whoever chooses which peers to keep.
 * Errors: WEIR_E_GONE, WEIR_E_NOMEM, WEIR_E_FULL (mailbox). */
WEIR_API int weir_peer_useful(weir_node *node, weir_peer peer, uint32_t first_cnt,
                              uint32_t again_cnt);

/* The clock that weir uses (CLOCK_MONOTONIC). */
WEIR_API weir_ns weir_now(void);

/* The clock of this node: weir_now(), or the virtual time of the world it was made in (weir/sim.h). */
WEIR_API weir_ns weir_node_now(const weir_node *node);

/* One probed fact about the system. */
struct weir_check {
    char name[32];
    int32_t status; /* 0 fine, 1 slower or smaller than it could be, 2 weir cannot run */
    int32_t error;  /* the WEIR_E_* that weir_node_start would give when status is 2 */
    char found[160];
    char remedy[256]; /* "" when nothing is to be done */
};

/* Looks at kernel, io_uring (each feature is tried), limits, sysctls, and how fast the ciphers are here.
 * Takes some 20 ms.
 * Returns how many of `ret_checks` were filled, at most `check_max` (32 suffice). */
WEIR_API int64_t weir_doctor(struct weir_check *ret_checks, size_t check_max);

#ifdef __cplusplus
}
#endif

#endif
