/* engine/node/guard.h: who may be connected, and how the node remembers whom not: what guard.c, welcome.c, evict.c and
 * ban.c share with each other and with the connections' way through the node. */
#ifndef WEIR_ENGINE_NODE_GUARD_H
#define WEIR_ENGINE_NODE_GUARD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/addr.h"
#include "engine/peers/admit.h"
#include "engine/peers/bans.h"
#include "engine/peers/dial.h"
#include "engine/peers/known.h"
#include "engine/peers/score.h"
#include "weir/node.h"
#include "weir/peers.h"

struct weir_conn;
struct weir_shard;

struct weir_welcome {
    struct weir_prefix prefix; /* family WEIR_ADDR_NONE, all else of it zero: it is about `id` */
    uint8_t id[WEIR_ID_BYTES];
};

#define WEIR_TRIALS_MAX 64u

struct weir_trial { /* a stranger whom a limit refuses, unless his id is welcome; welcome.c */
    uint32_t slot, gen;
    uint16_t reason; /* the limit's */
    uint64_t since_ns;
};

struct weir_guard { /* everything behind `mutex` but what is set before start */
    pthread_mutex_t mutex;
    struct weir_admit *admit;
    struct weir_score *score;
    struct weir_bans *bans;
    struct weir_known *known; /* NULL: nobody was met yet */
    uint64_t known_seed;
    uint8_t evict_key[16]; /* of the groups of peers/evict.h; set before start */
    uint64_t points;       /* given so far */
    uint64_t bans_made;    /* so far */
    char path[1008];       /* of the file of bans; "": none */
    pthread_cond_t cond;
    pthread_t saver;
    bool has_saver, is_stopping, is_saving;
    uint64_t version, saved_version; /* of the bans; the file's */
    pthread_mutex_t take_mutex;   /* one takes what was asked for at a time; held over the disk */
    int64_t wall_skew_s;          /* tests move the wall clock */
    struct weir_welcome *welcome; /* who has no limits and no score, welcome_cnt of them */
    uint32_t welcome_cnt, welcome_id_cnt;
};

/* ---- guard.c ------------------------------------------------------------------------------- */

/* `seeds` are secret and random. Errors: WEIR_E_NOMEM, WEIR_E_ACCESS (the file of bans cannot be read). */
int weir_guard_init(weir_node *node, const uint64_t seeds[2]);
void weir_guard_fini(weir_node *node);
/* A connection came: 0 and it is counted, or why not. */
uint16_t weir_guard_accept(weir_node *node, const struct weir_addr *addr, uint64_t now_ns,
                           bool *ret_is_counted);
void weir_guard_left(weir_node *node, const struct weir_addr *addr);
/* The same for dials; `ctx` is the shard. */
uint16_t weir_guard_dial(void *ctx);
void weir_guard_dial_left(void *ctx);
/* And for each address that is tried, as struct weir_dialer says. */
uint16_t weir_guard_dial_enter(void *ctx, const struct weir_target *target,
                               const struct weir_addr *addr, uint32_t dial_flags);
void weir_guard_dial_exit(void *ctx, const struct weir_addr *addr);
/* A connection ended: it is not counted any more, and may cost its address points. */
void weir_guard_ended(struct weir_shard *shard, struct weir_conn *conn, uint16_t reason);
/* Seconds of the wall clock. */
uint64_t weir_guard_wall_s(const weir_node *node);
void weir_guard_blame(struct weir_shard *shard, weir_peer peer, uint32_t points);
/* Whether somebody asked for this peer: it is kept dialed, or comes from the address of one that is. */
bool weir_guard_is_manual(struct weir_shard *shard, const struct weir_conn *conn);
/* Sets inbound_max anew. Before start. */
void weir_guard_set_inbound_max(weir_node *node, uint32_t inbound_max);
/* evict.c: somebody was refused with WEIR_R_LIMIT_INBOUND. Gives another's place away for him (WEIR_R_EVICTED), perhaps:
 * as weir_guard_accept. */
uint16_t weir_evict_for(struct weir_shard *shard, const struct weir_addr *newcomer);

/* ---- welcome.c ----------------------------------------------------------------------------- */

/* Whether somebody is welcome by address, or by id (NULL: not known). The guard's mutex is held. */
bool weir_welcome_has(const struct weir_guard *guard, const struct weir_addr *addr,
                      const uint8_t *id);
/* Whether a stranger who is refused for `reason` may show his id first; begins that; ends it, and returns the reason (0:
 * it was none). */
bool weir_trial_may_begin(struct weir_shard *shard, uint16_t reason);
void weir_trial_begin(struct weir_shard *shard, struct weir_conn *conn, uint16_t reason);
uint16_t weir_trial_end(struct weir_shard *shard, struct weir_conn *conn);
/* The handshake is done: 0 and not counted where the id is welcome; else how the trial ends, if it was one. */
uint16_t weir_welcome_ready(struct weir_shard *shard, struct weir_conn *conn);

/* ---- ban.c --------------------------------------------------------------------------------- */

#define WEIR_BANS_MAX 65536u

/* Whether a ban holds for an address or an id (NULL: of none). The mutex is held. */
bool weir_guard_holds(const weir_node *node, const struct weir_addr *addr, const uint8_t *id);
/* The handshake is done, and the id known: 0, or why not. */
uint16_t weir_guard_ready(struct weir_shard *shard, const struct weir_conn *conn);
/* Closes whom the bans are about: on this shard; on all, each in its own time. */
void weir_guard_sweep(struct weir_shard *shard);
void weir_guard_sweep_shards(weir_node *node);
/* Adds a ban, has it written down and says so; nobody is closed yet. Errors: WEIR_E_LIMIT. */
int weir_guard_add_ban(weir_node *node, const struct weir_ban_entry *entry, uint32_t points);
/* The same from now on for a duration, and whoever it is about is closed. */
int weir_guard_ban(weir_node *node, struct weir_ban_entry *entry, uint64_t duration_ns,
                   uint32_t points);
bool weir_guard_end_ban(weir_node *node, const struct weir_ban_entry *whom);
/* When a ban ends; WEIR_NS_FOREVER: never. */
uint64_t weir_ban_end_s(uint64_t now_s, uint64_t duration_ns);
/* As weir_ban_list, of any table. */
int64_t weir_bans_tell(struct weir_bans *bans, uint64_t now_s, struct weir_ban_info *ret_bans,
                       size_t ban_max);
/* ban_ask.c: carries out what was asked for. Waits for the disk. */
int64_t weir_guard_take_asks(weir_node *node);

/* guard_file.c. load: before start. changed: the mutex is held. save: at once, and waits for the disk. */
#define WEIR_BAN_FILE_BYTES_MAX ((size_t)WEIR_BANS_MAX * WEIR_BAN_LINE_BYTES)
int weir_guard_load(weir_node *node, uint64_t now_s);
void weir_guard_changed(weir_node *node);
bool weir_guard_save(weir_node *node);
void weir_guard_end_saver(weir_node *node);

#endif
