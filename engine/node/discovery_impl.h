/* engine/node/discovery_impl.h: discovery from the inside.
 *
 *   discovery.c        life, the reactor's callbacks, what is public
 *   discovery_dial.c   whom to dial: outbound peers, seeds, feelers; whom to let go
 *   discovery_useful.c who gives his place up
 *   discovery_pex.c    about, ask, answer
 *   discovery_peers.c  who is connected
 *
 * One mutex guards everything; each callback takes it once, for microseconds. Callbacks about peers come on the shards'
 * threads, and the tick on shard 0; there is one of them per connection and per message of peer exchange, none per
 * message of the application. It is never held while the disk is waited for. The node is reached through its public
 * functions, like by any other reactor; of its inside only clock, random numbers and listeners are looked at.
 */
#ifndef WEIR_ENGINE_NODE_DISCOVERY_IMPL_H
#define WEIR_ENGINE_NODE_DISCOVERY_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/base/target.h"
#include "engine/node/internal.h"
#include "engine/peers/book.h"
#include "proto/pex.h"
#include "weir/discovery.h"

#define DISCO_SEEDS_MAX 32u
#define DISCO_UNLISTED_IDS_MAX 32u
#define DISCO_UNLISTED_MAX (32u + DISCO_UNLISTED_IDS_MAX)
#define DISCO_DIALS_MAX 64u
#define DISCO_OWN_MAX 8u
#define DISCO_CACHES 8u
#define DISCO_MESSAGE_NS (10 * WEIR_NS_PER_S) /* for a peer's first words */

enum disco_kind {
    DISCO_INBOUND = 0,
    DISCO_OUTBOUND, /* we keep it */
    DISCO_FEELER,   /* a test: gone as soon as it has said who it is */
    DISCO_SEED,     /* asked once, and let go when there are others */
    DISCO_OTHER,    /* the application's own dial */
};

struct disco_peer {
    weir_peer peer;
    struct weir_place seen;          /* the other end; family 0: no IP address */
    struct weir_place place;         /* where it listens, as far as is known; family 0: not known */
    uint8_t group[WEIR_GROUP_BYTES]; /* of place, when we dialed */
    uint8_t kind;                    /* enum disco_kind */
    uint8_t ask_shift;               /* asks that brought nothing new make the next come later */
    bool has_about, is_private, is_crawler;
    bool is_unlisted;            /* its id is one that is told to nobody */
    bool is_asked, has_answered; /* an ask is out; one was answered */
    bool is_marked;              /* the book knows that it is connected */
    uint32_t ask_id, early_cnt;
    bool has_base;                /* it was judged, or could have been: since then base_cnt */
    uint64_t first_cnt, base_cnt; /* messages that it brought first */
    uint64_t up_ns, asked_ns, served_ns, close_ns; /* 0: never */
    uint64_t nonce;
};

struct disco_dial {
    struct weir_target target;
    struct weir_place place; /* family 0: a name */
    uint8_t group[WEIR_GROUP_BYTES];
    uint8_t kind;
    uint32_t seed_idx;
    uint64_t give_up_ns;
    weir_peer instead; /* who gives his place up for it; {0}: nobody */
};

struct disco_seed {
    struct weir_target target;
    struct weir_place
        place; /* an address's; a name's is where it was found last; family 0: not known */
    uint64_t next_ns;
    uint32_t attempt_cnt;
};

/* An answer that is given to all who ask the same until `until_ns`. */
struct disco_cache {
    char cap[WEIR_CAP_BYTES_MAX + 1];
    uint8_t asker; /* enum weir_place_kind */
    uint64_t until_ns;
    uint32_t cnt, book_cnt;                              /* records; places in the book then */
    struct weir_pex_record records[WEIR_PEX_PLACES_MAX]; /* age_s: when it was made */
    uint64_t made_s;
};

struct weir_discovery {
    pthread_mutex_t mutex;
    weir_node *node;
    struct weir_discovery_config cfg;
    struct weir_book *book;
    char book_path[1008];
    char capabilities[WEIR_CAPS_BYTES];
    char wanted[WEIR_CAP_BYTES_MAX + 1];
    uint64_t nonce;
    struct disco_seed seeds[DISCO_SEEDS_MAX];
    uint32_t seed_cnt;
    struct weir_place unlisted[DISCO_UNLISTED_MAX]; /* room for those of the ids, too */
    uint32_t unlisted_cnt;
    struct weir_id unlisted_ids[DISCO_UNLISTED_IDS_MAX];
    uint32_t unlisted_id_cnt;
    struct weir_place own[DISCO_OWN_MAX]; /* places that turned out to be ourselves */
    uint32_t own_cnt;
    struct weir_place anchors[WEIR_BOOK_ANCHORS]; /* of the last run, to be dialed first */
    uint32_t anchor_cnt;
    struct disco_dial dials[DISCO_DIALS_MAX + 1];
    uint32_t dial_cnt;
    struct disco_peer *peers; /* who is up */
    uint32_t peer_cnt, peer_cap;
    uint32_t *map, map_mask; /* peer id -> place in `peers`, open addressing; UINT32_MAX */
    struct disco_cache *caches[DISCO_CACHES];
    struct weir_pex_answer *answer; /* to read and write one in */
    uint8_t *bytes;                 /* WEIR_PEX_BYTES_MAX */
    uint32_t next_ask_id;
    uint64_t next_feeler_ns, next_round_ns;
    bool is_hungry; /* the book had nobody for a free place */
    uint64_t next_replace_ns, next_quiet_ns, quiet_from_ns;
    struct weir_discovery_info counts;
    /* the saver */
    pthread_t saver;
    pthread_cond_t cond;
    bool has_saver, is_stopping;
    int save_error, told_error; /* errno of the last save; what the log knows */
    uint64_t saved_change_cnt, next_save_ns;
};

/* Seconds of the wall clock; of a simulated world's, which begins in 2001. */
uint64_t disco_wall_s(const struct weir_discovery *disco);

/* discovery_peers.c; a pointer is good until the next add or remove. */
struct disco_peer *disco_peer_add(struct weir_discovery *disco, weir_peer peer); /* NULL: memory */
struct disco_peer *disco_peer_find(const struct weir_discovery *disco, weir_peer peer);
void disco_peer_remove(struct weir_discovery *disco, weir_peer peer);
/* The peer is at a place: the book is told, so that nobody dials there. */
void disco_peer_mark(struct weir_discovery *disco, struct disco_peer *peer);
void disco_peer_unmark(struct weir_discovery *disco, struct disco_peer *peer);
/* Where a peer listens is known now: if it is unlisted by its id, the place is from now on. */
void disco_peer_placed(struct weir_discovery *disco, const struct disco_peer *peer);
/* The node is stopping: who goes now goes because of us, and says nothing about himself. */
bool disco_is_stopping(const struct weir_discovery *disco);
bool disco_is_own(const struct weir_discovery *disco, const struct weir_place *place);

/* discovery_dial.c */
void disco_dial_keep(struct weir_discovery *disco, uint64_t now_ns);
/* A dial of ours ended well (and what it was for), or not. False: it was not ours. */
bool disco_dial_take(struct weir_discovery *disco, const char *text, struct disco_dial *ret_dial);
void disco_dial_failed(struct weir_discovery *disco, const struct disco_dial *dial, int reason);
uint32_t disco_dial_outbound(const struct weir_discovery *disco, uint32_t *ret_dialing_cnt);
void disco_close(struct weir_discovery *disco, struct disco_peer *peer);

/* Dials somebody new for whom `peer` is to give his place up. False: the book has nobody, or the node takes no dial. */
bool disco_dial_instead(struct weir_discovery *disco, weir_peer peer, uint64_t now_ns);

/* discovery_useful.c */

/* Looks at a shard's outbound peers, on its thread; returns when again, 0: never. */
uint64_t disco_useful_sample(struct weir_discovery *disco, uint32_t shard, uint64_t now_ns);
/* Part of each round. True: nothing new has come for too long, and seeds are to be asked as well. */
bool disco_useful_keep(struct weir_discovery *disco, uint64_t now_ns);
/* A dial that was made instead of a peer has ended well. */
void disco_useful_came(struct weir_discovery *disco, weir_peer replaced);

/* discovery_pex.c */
void disco_pex_greet(struct weir_discovery *disco, struct disco_peer *peer);
void disco_pex_ask(struct weir_discovery *disco, struct disco_peer *peer, uint64_t now_ns);
void disco_pex_message(struct weir_discovery *disco, const struct weir_msg *msg, uint64_t now_ns);

/* discovery_api.c */
void disco_series_add(struct weir_discovery *disco);

#endif
