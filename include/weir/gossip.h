/* weir/gossip.h: messages that are to reach everybody, through whoever is connected.
 *
 * A reactor with one channel. Each node that attaches it hands a message on to some of its peers once, so that
 * a message that one node publishes comes to all nodes of a connected network, and to each application once.
 *
 * A message of up to push_bytes_max is *pushed* to `fanout` peers drawn at random; the others are only *told* its
 * id, and ask for it if it does not come to them otherwise. A larger one is told to all and sent to who asks,
 * so that it crosses into a node once. Nothing goes back to where it came from, nor to who is known to have it.
 * What was seen is known by its 16-byte id (XXH3-128 of the bytes, or a function of the application's) for
 * seen_max messages at least. A message is dropped when it is older than age_max_ns, and not handed on any more
 * after hop_max hops.
 *
 * Gossip is a hint, not a log: a peer whose queue is full misses a push, and what every holder has let go can
 * no longer be asked for. docs/gossip.md has the bytes, and measured what reaches whom when.
 *
 * Several may be attached, on channels of their own: one per topic.
 */
#ifndef WEIR_GOSSIP_H
#define WEIR_GOSSIP_H

#include "weir/node.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_GOSSIP_CHANNEL 0xFF01u  /* the channel's id, unless told otherwise */
#define WEIR_GOSSIP_HEAD_BYTES 8u    /* what the protocol puts in front of a message */
#define WEIR_GOSSIP_BATCH_MAX 64u    /* messages in one on_messages */
#define WEIR_GOSSIP_FANOUT_MAX 1024u /* the most that fanout and told_max can be */

typedef struct weir_gossip
    weir_gossip; /* the reactor; any thread unless a function says otherwise */

enum weir_gossip_verdict {
    WEIR_GOSSIP_RELAY = 0, /* it is handed on */
    WEIR_GOSSIP_KEEP = 1,  /* it is not */
    WEIR_GOSSIP_REJECT = 2 /* nor this, and who sent it is blamed (reject_points) */
};

/* A message that came for the first time; borrowed until the callback returns. */
struct weir_gossip_msg {
    uint8_t id[16];
    weir_peer from;
    const uint8_t *data;
    uint32_t len;
    uint8_t hops;    /* it made before this one */
    uint8_t verdict; /* out: enum weir_gossip_verdict; WEIR_GOSSIP_RELAY unless set */
    uint8_t reserved[2];
    weir_ns age;                /* what its hops say it has waited, and half round trips */
    const struct weir_msg *msg; /* for weir_msg_keep: it begins WEIR_GOSSIP_HEAD_BYTES in */
};

enum weir_gossip_flags {
    WEIR_GOSSIP_PUSH_ONLY = 1u << 0,   /* who is not pushed to is not told either */
    WEIR_GOSSIP_NO_CATCH_UP = 1u << 1, /* who connects is not told of what went before */
};

struct weir_gossip_config {
    uint32_t size;
    uint16_t channel;       /* default WEIR_GOSSIP_CHANNEL */
    uint16_t weight;        /* of the channel; default 1 */
    uint32_t channel_flags; /* enum weir_channel_flags */
    uint32_t flags;         /* enum weir_gossip_flags */
    uint32_t msg_bytes_max; /* longest message; default 1 MiB, to 64 MiB */
    uint32_t
        push_bytes_max; /* longest that is pushed unasked; default 4,096; UINT32_MAX: all are */
    uint32_t fanout;    /* peers a message is pushed to; default 6 */
    uint32_t told_max;  /* peers at most that are told of it; default 32 */
    uint32_t hop_max;   /* 1 .. 255; default 32 */
    uint32_t seen_max;  /* ids kept, of each of two generations; default 65,536, to 2^24 */
    uint32_t wants_max; /* messages that are told of and awaited; default 4,096 */
    uint32_t store_max; /* messages kept to be asked for; default 16,384 */
    uint64_t store_bytes_max; /* and their bytes; default 64 MiB */
    weir_ns age_max_ns; /* default 60 s, to 1 h; also how long a message is kept to be asked for */
    weir_ns want_delay_ns;   /* what was told of and would be pushed too may come by itself so long;
                               * default 100 ms */
    weir_ns want_timeout_ns; /* until another is asked, and a microsecond per byte; default 2 s */
    uint32_t reject_points;  /* weir_blame for WEIR_GOSSIP_REJECT; default 50 */
    uint32_t reserved;
    void *ctx; /* handed to the callbacks */
    /* Messages, on the shard they came to; several shards may be in it at once. */
    void (*on_messages)(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt);
    /* The id of a message, the same on all nodes; NULL: XXH3-128 of it, which finds equal bytes and keeps no
     * attacker from making two messages of one id. Any thread. */
    void (*id_of)(void *ctx, const void *data, size_t len, uint8_t ret_id[16]);
    /* Of the channel, per peer, as in struct weir_channel; 0: its defaults, which follow from msg_bytes_max. Neither can be
     * below the longest of its messages: msg_bytes_max + WEIR_GOSSIP_HEAD_BYTES, and 5,124. */
    uint32_t send_bytes_max, recv_bytes_max;
};

/* Fills in the defaults.  Thread: any thread. */
WEIR_API void weir_gossip_config_init(struct weir_gossip_config *ret_cfg);

/* Makes the reactor and attaches it. Before start.
 * Errors: WEIR_E_CONFIG (a field out of range), WEIR_E_VERSION, WEIR_E_NOMEM, WEIR_E_SYSTEM, and those of
 * weir_node_attach.
 * Owns: the caller frees it with weir_gossip_free(), after the node. */
WEIR_API WEIR_MUST_CHECK int weir_gossip_create(weir_gossip **ret_gossip, weir_node *node,
                                                const struct weir_gossip_config *cfg);

/* Frees the reactor; NULL is fine. Not before its node was freed. */
WEIR_API void weir_gossip_free(weir_gossip *gossip);

/* Publishes a message of 1 byte or more, which is copied. It does not come to this node's own on_messages.
 * Returns how many peers it was pushed to or told of; 0 also when its id was seen before, which is no error.
 * Who connects within age_max_ns is told of the last 256 messages, unless WEIR_GOSSIP_NO_CATCH_UP. `ret_id` may
 * be NULL.
 * Errors: WEIR_E_TOO_BIG (msg_bytes_max), WEIR_E_MISUSE (no bytes), WEIR_E_NOMEM (nothing was done: it can be
 * published again). Before start and while the node stops there is nobody to tell: 0. */
WEIR_API int64_t weir_gossip_publish(weir_gossip *gossip, const void *data, size_t len,
                                     uint8_t ret_id[16]);

struct weir_gossip_stats {
    uint32_t size; /* in: sizeof(struct weir_gossip_stats) */
    uint32_t reserved;
    uint64_t published, delivered, rejected;
    uint64_t duplicates, duplicate_bytes;   /* messages that came again; their bytes */
    uint64_t too_old, hop_limited;          /* dropped; delivered and not handed on */
    uint64_t pushed, pushed_bytes;          /* unasked */
    uint64_t told, heard;                   /* ids that were told to peers, and by peers */
    uint64_t asked, asked_again;            /* WANTs sent; of them to another announcer */
    uint64_t in_vain;                       /* told of, and nobody sent it */
    uint64_t served, served_bytes, missing; /* WANTs answered; not there any more */
    uint64_t full;                          /* sends that a peer's queue had no room for */
    uint64_t turns, turns_early; /* of the filter's generations; before age_max_ns was over */
    uint64_t stored, stored_bytes, wanted; /* now */
    uint64_t faults;                       /* peers that broke the protocol */
    uint64_t lost; /* messages that were delivered and not handed on: memory was short */
};

/* Reads the counters. Errors: WEIR_E_VERSION, WEIR_E_MISUSE. */
WEIR_API int weir_gossip_stats_read(weir_gossip *gossip, struct weir_gossip_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif
