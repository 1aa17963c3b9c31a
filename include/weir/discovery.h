/* weir/discovery.h: whom to be connected to: an address book, peer exchange, and a policy that keeps a number of
 * outbound peers connected.
 *
 *     weir_node_create(&node, &cfg);
 *     weir_discovery_config_init(&d);  d.seeds = "seed.example.org:7711";  d.book_path = "/var/lib/node/book";
 *     weir_discovery_attach(&discovery, node, &d);      // one more reactor, on a channel of its own
 *     weir_node_listen(node, ...); weir_node_start(node);
 *     ...
 *     weir_node_stop(node, drain); weir_node_free(node);
 *     weir_discovery_free(discovery);                   // writes the book once more
 *
 * It dials for itself: what the application dials with weir_dial (its own, persistent peers) is not touched and not
 * counted. Both sides have to have it attached for addresses to be exchanged; a peer without is a peer all the same.
 * docs/discovery.md has the wire, the policies and what they are worth against an attacker.
 */
#ifndef WEIR_DISCOVERY_H
#define WEIR_DISCOVERY_H

#include "weir/base.h"
#include "weir/error.h"
#include "weir/node.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_DISCOVERY_CHANNEL 0xFF00u /* its channel, where nothing else is said */
#define WEIR_DISCOVERY_OUTBOUND_MAX 256u

typedef struct weir_discovery weir_discovery;

enum weir_discovery_flags {
    WEIR_DISCOVERY_PRIVATE = 1u << 0, /* peers are asked not to tell others of this node */
    WEIR_DISCOVERY_CRAWLER =
        1u << 1, /* serves addresses: disconnects after one answer, and visits the
                                       * places of its book one after the other instead of keeping peers */
    WEIR_DISCOVERY_NO_FEELERS = 1u << 2, /* no test connections */
};

/* Zero in a field means the default. */
struct weir_discovery_config {
    uint32_t size;          /* sizeof(struct weir_discovery_config) */
    uint32_t flags;         /* enum weir_discovery_flags */
    uint16_t channel;       /* default WEIR_DISCOVERY_CHANNEL */
    uint16_t port;          /* that peers are told; default: that of the first TCP listener */
    uint32_t outbound_cnt;  /* peers to keep dialed, to 256; default 8; UINT32_MAX: none */
    uint32_t dials_at_once; /* to 64; default 8 */
    const char *book_path;  /* file of the book, up to 1,000 bytes; default: none */
    const char *seeds;      /* addresses or "NAME:PORT", with commas between; default none */
    const char
        *capabilities;  /* of this node, with commas between (docs/discovery.md); default none */
    const char *wanted; /* peers are asked for places with this capability; default: any */
    const char *
        unlisted; /* addresses (to 32) and node ids (to 32) of whom nobody is told, with commas between; default
                           * none. The place of an id is known while or after its node was a peer */
    weir_ns ask_interval_ns;    /* between two asks to one peer, 100 ms ..; default 10 s */
    weir_ns feeler_interval_ns; /* on average, between two test connections; default 2 min */
    weir_ns save_interval_ns;   /* between two writes of a book that changed; default 1 min */
    weir_ns
        replace_interval_ns; /* on average, between two looks at who is the least useful outbound peer, which
                                  * may give its place to another, 1 s ..; default 0: none does */
    weir_ns quiet_ns; /* nothing new came from anybody (weir_peer_useful) for so long, 1 s ..: one
                                  * outbound peer is exchanged by lot, again each time; default 0: never */
};

/* Fills in the size and every default.  Thread: any thread. */
WEIR_API void weir_discovery_config_init(struct weir_discovery_config *ret_cfg);

/* Attaches discovery to a node, before start. Reads the book.
 * Errors: WEIR_E_CONFIG (a field, a capability, a seed), WEIR_E_VERSION, WEIR_E_ACCESS (the book exists and cannot be read),
 * WEIR_E_NOMEM, WEIR_E_SYSTEM, and those of weir_node_attach. */
WEIR_API WEIR_MUST_CHECK int weir_discovery_attach(weir_discovery **ret_discovery, weir_node *node,
                                                   const struct weir_discovery_config *cfg);

/* Writes the book if it changed, and frees it all. After the node was stopped or freed; NULL is fine. */
WEIR_API void weir_discovery_free(weir_discovery *discovery);

/* Adds an address to the book, as somebody who knows it.
 * Errors: WEIR_E_ADDRESS (not an IP address and port of use), WEIR_E_LIMIT (no slot for it).  Thread: any thread. */
WEIR_API int weir_discovery_add(weir_discovery *discovery, const char *address);

/* A place of the book. */
struct weir_found {
    char address[128];     /* as weir_dial takes it */
    char capabilities[64]; /* as far as is known */
    uint32_t age_s;        /* since somebody was connected to it, as far as is known */
    uint8_t is_tried;      /* this node was connected to it */
    uint8_t reserved[3];
};

/* Finds up to `found_max` places at random, with a capability (NULL or "": any).
 * Returns how many were filled in. Errors: WEIR_E_MISUSE (this can be no capability), WEIR_E_NOMEM.
 * Thread: any thread. */
WEIR_API int64_t weir_discovery_find(weir_discovery *discovery, const char *capability,
                                     struct weir_found *ret_found, size_t found_max);

struct weir_discovery_info {
    uint32_t size;                      /* in: sizeof(struct weir_discovery_info) */
    uint32_t outbound_cnt, inbound_cnt; /* peers that this has dialed for keeps; that dialed us */
    uint32_t dialing_cnt;               /* dials under way */
    uint32_t new_cnt, tried_cnt;        /* places in the book */
    uint64_t asks_sent, asks_refused;   /* refused: that peers made too early */
    uint64_t answers_sent, answers_taken;
    uint64_t places_taken;   /* of answers: new to the book, or in one slot more */
    uint64_t places_refused; /* of answers: not for that peer to tell */
    uint64_t feelers, feelers_good;
    uint64_t duplicates; /* connections closed because there was another to the same node */
    uint64_t saves;      /* of the book */
    uint64_t replaced;   /* outbound peers that gave their place to another */
    uint64_t quiets;     /* times that nothing new had come for quiet_ns */
};

/* Reads the counters. Errors: WEIR_E_VERSION, WEIR_E_MISUSE (a size below 4).  Thread: any thread. */
WEIR_API int weir_discovery_read(weir_discovery *discovery, struct weir_discovery_info *ret_info);

#ifdef __cplusplus
}
#endif

#endif
