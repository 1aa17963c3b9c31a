/* weir/config.h: what a node and a channel can be told before start.
 *
 * Zero in a field means "the default", which is given behind each. Fill a struct with
 * weir_config_init() or weir_channel_init() (or zero it and set `size`), then set what differs.
 */
#ifndef WEIR_CONFIG_H
#define WEIR_CONFIG_H

#include "weir/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_CHANNELS_MAX 64u         /* channels a node can attach */
#define WEIR_CHANNEL_NAME_BYTES 32u   /* of a channel's name, with its end */
#define WEIR_SHARDS_MAX 64u           /* shards a node can have */
#define WEIR_NETWORK_ID_BYTES_MAX 32u /* length of a network id */
#define WEIR_USER_AGENT_BYTES_MAX 64u /* length of a user agent */
#define WEIR_MSG_BYTES_MAX \
    (UINT32_C(1) << 28)             /* the largest message any channel can allow: 256 MiB */
#define WEIR_CHANNEL_ID_MAX 0xFFFEu /* the largest channel id */

enum weir_log_level {
    WEIR_LOG_ERROR = 1,
    WEIR_LOG_WARN = 2,
    WEIR_LOG_INFO = 3,
    WEIR_LOG_DEBUG = 4
};

/* Called with one line, no newline at its end; on any of the node's threads, borrowed until it returns. */
typedef void (*weir_log_fn)(void *ctx, int level, const char *line);

enum weir_config_flags {
    WEIR_CONFIG_CALLER_TURNS =
        1u << 0,               /* the caller drives weir_node_turn(); no threads are made */
    WEIR_CONFIG_PIN = 1u << 1, /* shard i is pinned to the i-th CPU the process may use */
    WEIR_CONFIG_BUSY_POLL =
        1u << 2, /* shards spin instead of sleeping: lower latency, a full core */
    WEIR_CONFIG_PROXY_SHARED = 1u << 3, /* the proxy is offered no credentials at all: with Tor,
                                         * connections share circuits */
    WEIR_CONFIG_LIMIT_LOOPBACK = 1u
                                 << 4, /* limits and scores per address count this machine's too */
    WEIR_CONFIG_TWINS =
        1u << 5, /* several connections with one node id are kept, not reduced to one */
};

struct weir_key;

/* How the connections of a node are protected. docs/security.md */
enum weir_secure {
    WEIR_SECURE_DEFAULT = 0, /* encrypted is required */
    WEIR_SECURE_PLAIN = 1,   /* neither encrypted nor authenticated */
    WEIR_SECURE_PREFER = 2,  /* encrypted where the other side can; else plain */
    WEIR_SECURE_REQUIRE = 3, /* encrypted, or not at all */
};

enum weir_cipher {
    WEIR_CIPHER_DEFAULT = 0,
    WEIR_CIPHER_CHACHA20_POLY1305 = 1, /* the default */
    WEIR_CIPHER_AES_256_GCM = 2,
};

struct weir_config {
    uint32_t size;          /* sizeof(struct weir_config) */
    uint32_t flags;         /* enum weir_config_flags */
    uint32_t shard_cnt;     /* 1 .. WEIR_SHARDS_MAX; default 1 */
    uint32_t peers_max;     /* connections per shard, both directions; default 1024, to 1,000,000 */
    const char *network_id; /* 1 .. 32 bytes; nodes of different ids do not talk; default "weir" */
    const char *user_agent; /* up to 64 printable bytes; default "weir/VERSION" */
    weir_log_fn log;        /* default NULL: nothing is said */
    void *log_ctx;
    uint32_t log_level;       /* default WEIR_LOG_INFO */
    uint32_t frame_bytes_max; /* payload of one frame, 4,096 .. 65,536; default 65,536 */
    uint32_t
        send_bytes_max; /* one send when one channel is busy, plus up to a frame; default 524,288 */
    uint32_t send_bytes_contended; /* the same when several compete; default 135,168 */
    uint32_t notsent_lowat_bytes;  /* TCP_NOTSENT_LOWAT when several compete; default 131,072 */
    uint32_t socket_recv_bytes;    /* SO_RCVBUF; default 0: 256 KiB (at most the sysctl
                                    * net.core.rmem_max, 208 KiB on many systems) for a peer whose round trip takes less
                                    * than 50 us, 128 while several channels are heard of (what waits unread in the kernel delays an urgent message
                                    * and falls out of the cache), the system's autotuning for others;
                                    * UINT32_MAX: autotuning for all */
    uint32_t socket_send_bytes;    /* SO_SNDBUF; default UINT32_MAX: the system's autotuning */
    uint32_t
        recv_buf_bytes; /* one provided receive buffer; default 65,536 (4 KiB more are set aside for each of 32 KiB or more) */
    uint32_t recv_buf_cnt;      /* of them per shard, a power of two; default 8 */
    uint64_t pool_bytes_max;    /* all message memory of one shard; default 1 GiB */
    uint64_t peer_bytes_max;    /* queued, partial and kept bytes of one peer; default 256 MiB */
    uint32_t mailbox_bytes_max; /* calls from other threads waiting for one shard; default 64 MiB */
    uint32_t handshakes_max;    /* connections per shard that are not ready yet; default 256 */
    uint32_t dials_max;         /* addresses a node keeps dialing; default 1024 */
    weir_ns handshake_timeout_ns; /* from connected to ready; default 10 s */
    weir_ns dial_timeout_ns;      /* until connected; default 5 s */
    weir_ns ping_interval_ns;     /* default 15 s */
    /* A shard that is itself late (it did not run, or has no receive buffer left) reads first what has come; it judges after
     * twice the time at the latest. */
    weir_ns ping_timeout_ns;   /* an answer later than this closes; default 20 s */
    weir_ns idle_timeout_ns;   /* no byte at all for this long closes; default 60 s */
    weir_ns stall_timeout_ns;  /* bytes to send and none taken for this long closes; default 60 s */
    weir_ns redial_min_ns;     /* first wait before dialing again; default 250 ms */
    weir_ns redial_max_ns;     /* longest; default 30 s */
    weir_ns goodbye_linger_ns; /* how long a goodbye may take to be sent and seen; default 1 s */
    const char *
        tcp_congestion; /* TCP_CONGESTION for every socket; default: the system's. A route that names one ("ip route
                                 * ... congctl NAME") goes before it */
    /* How long a shard looks for events before it sleeps, as long as its waits are that short: sleeping
     * and waking cost more than the wait then. Default 50 us; 1: sleep at once. A shard whose waits are
     * longer, or that is given its core only in turns with others, does not spin. */
    weir_ns spin_ns;
    weir_ns name_timeout_ns;    /* until a dialed host name is looked up; default 10 s */
    weir_ns dial_head_start_ns; /* of each address of a name over the next; default 250 ms, not
                                 * below 10 ms (RFC 8305) */
    uint32_t names_max;         /* host names that wait to be looked up; default 256 */
    const char *proxy; /* SOCKS5 proxy to dial through: "HOST:PORT" or "unix:PATH"; default: none.
                                 * Each connection offers it fresh random credentials, so that Tor gives
                                 * each a circuit of its own; see WEIR_CONFIG_PROXY_SHARED */
    const char *proxy_user; /* credentials for it instead, 1 .. 255 bytes each; default: none */
    const char *proxy_password;
    /* Limits of the whole node (docs/limits.md). An address is an IPv4 address or an IPv6 /64; loopback and unix
     * sockets are in no address and no subnet, unless WEIR_CONFIG_LIMIT_LOOPBACK. UINT32_MAX: no limit. */
    uint32_t
        inbound_max; /* connections that peers made; default UINT32_MAX: peers_max of each shard */
    uint32_t outbound_max;       /* that were dialed, or are being; default UINT32_MAX, likewise */
    uint32_t address_max;        /* inbound from one address; default 16 */
    uint32_t subnet_max;         /* inbound from one subnet; default 64 */
    uint32_t subnet_bits_ipv4;   /* what a subnet is, 8 .. 32; default 24 */
    uint32_t subnet_bits_ipv6;   /* 16 .. 64; default 56 */
    uint32_t address_burst;      /* new connections of an address at once, 1 ..; default 16 */
    uint32_t subnet_burst;       /* of a subnet; default 64 */
    weir_ns address_interval_ns; /* and one more each; default 200 ms */
    weir_ns subnet_interval_ns;  /* default 50 ms */
    /* Misbehaviour: points per address that halve with time; see weir_blame. */
    uint32_t score_ban; /* points at which an address is banned, 1 .. 1,000,000; default 100 */
    uint32_t score_disconnect;  /* at which weir_blame disconnects, likewise; default 50 */
    weir_ns score_half_life_ns; /* default 10 min */
    weir_ns ban_ns;             /* how long, 1 s .. 10 years; default 1 h */
    uint32_t bans_max;          /* entries of the table, 1 .. 65,536; default 4096 */
    const char
        *ban_path; /* file in which bans outlive the process, up to 1,000 bytes; default: none */
    /* Who this node is; copied. Default NULL: a new key for this run, where the policy needs one. */
    const struct weir_key *node_key;
    const struct weir_key *network_key; /* of a closed network; copied; default NULL: an open one */
    uint32_t secure;                    /* enum weir_secure */
    uint32_t cipher;                    /* enum weir_cipher: what is asked for when dialing */
    weir_ns rekey_interval_ns;          /* a key older than this is changed; default 120 s */
    /* Metrics (docs/metrics.md). */
    uint32_t
        metrics_peers; /* peers of each shard that weir_metrics_listen tells one by one, to 4,096;
                             * default 0: none, because each makes ten series */
    uint32_t
        stats_mode; /* permissions of the file at stats_path: 0600, 0640 or 0644; default 0600 */
    const char *stats_path; /* file that always has every series (weir/stats.h), up to 1,000 bytes;
                             * `weir stat` and `weir top` read it; default: none */
    weir_ns stats_interval_ns; /* how often it is written, 10 ms .. 1 h; default 500 ms */
    weir_ns
        turn_warn_ns; /* a turn that takes longer is counted and logged, 1 ms ..; default 25 ms */
    /* Rates (docs/limits.md): payload bytes and messages a second, of each peer; 0: no bound. Above a rate the
     * sending side waits in its queues; what a peer sends above it gets no credit meanwhile. */
    uint64_t rate_send_bytes, rate_recv_bytes; /* up to 10^12 */
    uint32_t rate_send_msgs, rate_recv_msgs;   /* up to 10^9 */
    uint64_t upload_bytes; /* a second, of the whole node to all peers, up to 10^12; 0: no bound */
    weir_ns rate_burst_ns; /* after an idle time, what is worth so long may go at once, up to 1 h;
                            * default 100 ms */
    /* Strangers' encrypted handshakes, per shard (docs/security.md, "Under load"); loopback and unix sockets are not
     * counted, unless WEIR_CONFIG_LIMIT_LOOPBACK. UINT32_MAX: no bound. */
    uint32_t
        cookie_pending;   /* so many under way: who comes is asked for a cookie; default a quarter
                              * of handshakes_max */
    uint32_t cookie_rate; /* so many a second without one, likewise; default 200 */
    uint32_t handshake_rate; /* that are served in a second at all, others wait; default 1000 */
    /* Dials, and who is welcome (docs/limits.md, docs/switch.md). */
    uint32_t
        outbound_address_max; /* dials to one address, connected or trying; default UINT32_MAX */
    uint32_t outbound_subnet_max; /* to one subnet; default UINT32_MAX */
    uint32_t dials_active_max;    /* dials of a shard that look a name up or connect at once, to
                                    * 65,536; further ones wait for their turn; default 128 */
    uint32_t
        trials_max; /* strangers of a shard who show their id first where ids are welcome and a limit
                          * refuses them, to 64; default 16 */
    uint32_t
        known_max; /* nodes whose static key is remembered, so that dialing one's id again takes a
                         * round trip less, of the whole node; default 1024; UINT32_MAX: none */
    uint32_t
        accept_rate; /* strangers a second of a shard, plain or encrypted, that are accepted and have not (yet) become
                      * peers: above it the listener rests, and who comes waits in the kernel's queue; counted as the
                      * handshakes above; default 5000; UINT32_MAX: no bound */
};

enum weir_overflow {
    WEIR_OVERFLOW_REFUSE = 0, /* the send answers WEIR_E_FULL */
    WEIR_OVERFLOW_DROP_OLDEST =
        1,                   /* whole unsent frames of this channel are dropped, and counted */
    WEIR_OVERFLOW_CLOSE = 2, /* the peer is closed with WEIR_R_OVERFLOW */
};

enum weir_channel_flags {
    WEIR_CHANNEL_URGENT = 1u << 0, /* its frames go before every channel that is not urgent */
};

struct weir_channel {
    uint32_t size;           /* sizeof(struct weir_channel) */
    uint16_t id;             /* 0 .. WEIR_CHANNEL_ID_MAX; the same number on both sides */
    uint16_t weight;         /* share of the bytes under load, 1 .. 1000; default 1 */
    uint32_t flags;          /* enum weir_channel_flags */
    uint32_t msg_bytes_max;  /* largest message, up to WEIR_MSG_BYTES_MAX; default 1 MiB */
    uint32_t send_bytes_max; /* send queue per peer; default max(1 MiB, 2 x msg_bytes_max) */
    uint32_t recv_bytes_max; /* credit per peer; default max(4 MiB, 2 x msg_bytes_max); not below
                               * msg_bytes_max, or a message could never arrive */
    uint32_t overflow;       /* enum weir_overflow */
    const char *name;        /* for logs and metrics; copied; default ""; up to
                               * WEIR_CHANNEL_NAME_BYTES - 1 bytes without control characters */
    /* As in weir_config, of this channel of each peer, besides the peer's. */
    uint64_t rate_send_bytes, rate_recv_bytes;
    uint32_t rate_send_msgs, rate_recv_msgs;
};

/* Fill a struct with its size and every default written out.  Thread: any thread. */
WEIR_API void weir_config_init(struct weir_config *ret_cfg);
WEIR_API void weir_channel_init(struct weir_channel *ret_channel, uint16_t id);

#ifdef __cplusplus
}
#endif

#endif
