/* weir/metrics.h: counters of a node and of a peer, as plain structs.
 *
 * A snapshot of the node is read from other threads without stopping a shard: each counter is exact
 * at some moment of the call, not all at the same one.
 */
#ifndef WEIR_METRICS_H
#define WEIR_METRICS_H

#include "weir/base.h"
#include "weir/config.h"
#include "weir/error.h"
#include "weir/key.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_channel_metrics {
    uint16_t id;
    uint16_t reserved[3];
    uint64_t msgs_sent, msgs_received;   /* messages: accepted for sending; delivered */
    uint64_t bytes_sent, bytes_received; /* their bytes */
    uint64_t msgs_refused;               /* sends answered WEIR_E_FULL */
    uint64_t frames_dropped;             /* by WEIR_OVERFLOW_DROP_OLDEST */
    uint64_t credit_stalls;              /* times the channel had bytes but no credit */
};

#define WEIR_REASONS_MAX 256u /* above every enum weir_reason that will be */

struct weir_metrics {
    uint32_t size;                         /* in: sizeof(struct weir_metrics) */
    uint32_t channel_cnt;                  /* entries of `channels` that are filled */
    uint64_t turns, syscalls, completions; /* of all shards */
    uint64_t wire_bytes_sent, wire_bytes_received;
    uint64_t frames_sent, frames_received; /* received: verified */
    uint64_t frames_failed;                /* failed a check */
    uint64_t accepted, dialed, refused; /* connections made by peers, by us; refused at a limit */
    uint64_t peers;                     /* ready now */
    uint64_t conns;                     /* slots in use now, ready or not */
    uint64_t handshakes;                /* pending now */
    uint64_t pool_bytes;                /* message memory in use now */
    uint64_t pool_bufs;                 /* buffers in use now */
    uint64_t heap_allocs;               /* allocations made by the shards so far */
    uint64_t recv_starved;              /* times the receive ring ran empty */
    uint64_t mailbox_bytes;             /* waiting now */
    uint64_t broadcasts,
        broadcast_encodes; /* calls, and how often a payload was encoded and hashed */
    uint64_t closes_first
        [68]; /* the first of `closes`: for programs that were compiled when it was here */
    struct weir_channel_metrics channels[WEIR_CHANNELS_MAX];
    uint64_t
        closes[WEIR_REASONS_MAX]; /* connections ended, refused and attempted in vain, by reason */
    uint64_t bans;                /* that hold now */
    uint64_t points;              /* of misbehaviour, given so far */
    uint64_t handshakes_served;   /* of strangers, as far as a curve operation was made */
    uint64_t handshakes_held;     /* that waited for their turn; see weir_config.handshake_rate */
    uint64_t handshakes_evicted;  /* ended to make room for another */
    uint64_t cookies_sent, cookies_returned; /* asked for under load, and what came back */
    uint64_t accept_rests; /* times that a listener rested; see weir_config.accept_rate */
};

#define WEIR_DIALED_BYTES 336u /* enough for ID@NAME:PORT with its NUL */

struct weir_peer_info {
    uint32_t size; /* in: sizeof(struct weir_peer_info) */
    uint32_t shard;
    uint8_t is_dialer; /* we dialed */
    uint8_t is_ready;
    uint8_t reserved[2];
    uint32_t channel_cnt; /* channels in common */
    uint64_t wire_bytes_sent, wire_bytes_received;
    uint64_t frames_sent, frames_received;
    uint64_t bytes_queued;      /* waiting to be sent, exactly */
    uint64_t bytes_held;        /* partial, paused and kept */
    weir_ns rtt_ns, rtt_min_ns; /* smoothed (RFC 6298's 1/8), least; 0 before the first pong */
    char address[128];          /* the other end */
    char user_agent[WEIR_USER_AGENT_BYTES_MAX + 1];
    char dialed
        [264]; /* the address or name that was dialed, without an ID@ in front; "" when accepted, or
                        * cancelled */
    uint8_t is_secure;      /* encrypted, and the id is proved */
    struct weir_id id;      /* zero where it is not */
    uint64_t credit_stalls; /* times a channel had bytes to send and no credit */
    uint64_t
        delivered_first; /* messages it brought before, and after others: what weir_peer_useful said */
    uint64_t delivered_again;
    weir_ns up_ns; /* for how long the connection exists */
    char dialed_as
        [WEIR_DIALED_BYTES]; /* what was dialed, with its ID@ if it had one: as weir_dial and
                                        * weir_dial_cancel take it; "" as `dialed` */
};

#ifdef __cplusplus
}
#endif

#endif
