/* weir/peers.h: who is connected: listed, looked up, let in, turned away, and told why they go.
 *
 * A peer is listed from before its WEIR_PEER_UP until after its WEIR_PEER_DOWN. Three kinds stand out:
 *   persistent   dialed with WEIR_DIAL_PERSIST: dialed again for ever, and without a score
 *   welcome      its address or its node id is one that weir_peer_welcome() names: no limit and no score counts it
 *   private      never told to others by discovery: weir_discovery_config.unlisted, by address or by node id, and its own wish
 * docs/switch.md has the order of events, and what belongs to which.
 */
#ifndef WEIR_PEERS_H
#define WEIR_PEERS_H

#include "weir/node.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_WELCOME_MAX 256u       /* prefixes and ids that weir_peer_welcome takes */
#define WEIR_FAREWELL_TEXT_MAX 120u /* bytes of text that a goodbye carries */

/* Lists the peers that are up, in no order. Returns how many there are; at most `peer_max` are filled in. */
WEIR_API int64_t weir_peer_list(weir_node *node, weir_peer *ret_peers, size_t peer_max);

/* Finds the peers that are up of a node id (encrypted ones have one), of an address with its port, or of all
 * addresses of one prefix ("192.0.2.7", "2001:db8::/32"). Returns how many there are, as weir_peer_list. Looks at
 * each peer.
 * Errors: WEIR_E_ADDRESS (none of the three). */
WEIR_API int64_t weir_peer_find(weir_node *node, const char *who, weir_peer *ret_peers,
                                size_t peer_max);

/* As weir_disconnect, with words for the other side's operator, which travel in the goodbye: up to
 * WEIR_FAREWELL_TEXT_MAX bytes of UTF-8; what is longer is cut, and what could not be printed comes as '?'.
 * NULL: none. Errors: as weir_disconnect. */
WEIR_API int weir_disconnect_text(weir_node *node, weir_peer peer, int reason, const char *text);

/* How a peer went. */
struct weir_farewell {
    uint32_t size;   /* in: sizeof(struct weir_farewell) */
    uint16_t reason; /* enum weir_reason, as on_peer was told */
    /* The peer said so, in a goodbye or as it ended the handshake; else we did, or nobody did. */
    uint8_t is_theirs;
    uint8_t reserved;
    char text[WEIR_FAREWELL_TEXT_MAX + 8]; /* of the goodbye, whoever said it; "" for none */
};

/* Reads how the peer went that on_peer is being told of, with WEIR_PEER_DOWN or WEIR_PEER_FAILED.
 * Errors: WEIR_E_GONE (it is not being told of, or never was a connection), WEIR_E_VERSION, WEIR_E_MISUSE.
 * Thread: inside on_peer. */
WEIR_API int weir_peer_farewell(weir_node *node, weir_peer peer,
                                struct weir_farewell *ret_farewell);

/* What the application says of connections: 0 for yes, or the enum weir_reason that it is refused with (anything
 * else: WEIR_R_APPLICATION). Unset callbacks are skipped. They run on shards, several at once, and must not wait. */
struct weir_filter {
    uint32_t size;
    uint32_t reserved;
    void *ctx;
    /* Before the first byte: of an accepted connection, when bans and limits have let it pass; of a dial, before
     * each address that is tried. `address` is borrowed, "" when it is not known. Who is refused here is closed
     * without a word; a dial fails with the reason. */
    int (*on_connect)(void *ctx, const char *address, int is_dialer);
    /* After the handshake and before WEIR_PEER_UP: `info` has the id, the user agent, the channels. Who is refused
     * here gets the reason in a goodbye, and on_peer is told WEIR_PEER_FAILED. */
    int (*on_handshake)(void *ctx, const struct weir_peer_info *info);
};

/* Sets the filter, which is copied. Before start. Errors: WEIR_E_STATE, WEIR_E_VERSION. */
WEIR_API int weir_filter_set(weir_node *node, const struct weir_filter *filter);

/* Says that the peers of an address or a subnet, or the node of an id, are always welcome (or not any more): no limit of
 * inbound connections holds or counts them, and they have no score. Bans, peers_max, handshakes_max
 * and the filter hold for them too, and where they are welcome by id alone how fast an address may come (address_burst,
 * subnet_burst). An id is known after the handshake: strangers whom a limit refuses get one too where ids are welcome,
 * weir_config.trials_max of a shard at once. For connections that come from then on.
 * Errors: WEIR_E_ADDRESS, WEIR_E_KEY, WEIR_E_LIMIT (WEIR_WELCOME_MAX), WEIR_E_GONE (it was not), WEIR_E_NOMEM. */
WEIR_API int weir_peer_welcome(weir_node *node, const char *whom, int is_welcome);

/* ---- bans that another program asks for --------------------------------------------------- */

/* Each asks the node that keeps its bans in the file `ban_path` for what weir_ban or weir_unban does; `duration` is not 0.
 * The node takes it at its next weir_ban_take, or when it is made: it need not run. What was asked for is on the disk
 * when this returns 0. Nobody but the node writes the file itself.
 * Errors: WEIR_E_ADDRESS, WEIR_E_KEY (it begins like an id), WEIR_E_MISUSE (a duration of 0, a reason that is none, a
 * path that is empty or longer than 1,000 bytes), WEIR_E_ACCESS, WEIR_E_SYSTEM (a full disk and all else), WEIR_E_LIMIT
 * (some 7,000 wait).
 * Thread: any thread; it waits for the disk. */
WEIR_API int weir_ban_ask(const char *ban_path, const char *whom, weir_ns duration, int reason);
WEIR_API int weir_unban_ask(const char *ban_path, const char *whom);

/* Whether something that was asked for has not been taken. Returns 1 or 0.  Thread: any thread. */
WEIR_API int weir_ban_is_asked(const char *ban_path);

/* Reads the bans that the file holds, as weir_ban_list does for a node. 0 also without a file.
 * Errors: WEIR_E_ACCESS, WEIR_E_SYSTEM, WEIR_E_NOMEM.  Thread: any thread; it waits for the disk. */
WEIR_API int64_t weir_ban_read(const char *ban_path, struct weir_ban_info *ret_bans,
                               size_t ban_max);

/* Carries out what was asked for, as `weir node` does on SIGHUP, and writes the file.
 * Returns how many bans were made or ended. Errors: WEIR_E_STATE (there is no weir_config.ban_path), WEIR_E_SHARD_THREAD
 * (it waits for the disk), WEIR_E_TIMEOUT (somebody has been writing for ten seconds), WEIR_E_ACCESS, WEIR_E_SYSTEM (the
 * file cannot be written: what was taken holds, and is taken again).  Thread: any thread but shards'. */
WEIR_API int64_t weir_ban_take(weir_node *node);

#ifdef __cplusplus
}
#endif

#endif
