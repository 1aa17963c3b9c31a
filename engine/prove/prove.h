/* engine/prove/prove.h: the proving ground: a cluster, a random application, faults, and oracles.
 *
 *   prove.c    one run: the faults' phase, healing, the end
 *   swarm.c    what this seed's run is like: sizes, limits, intensities
 *   policy.c   who encrypts, with which keys, and who can talk to whom
 *   actor.c    the application: callbacks, and what it does at random
 *   model.c    what was sent and so may arrive; messages that say who they are
 *   oracle.c   what must hold after every turn of a shard, and at the end
 *   stream.c   what sends give to the kernel, frame by frame: fairness, urgency, secrecy
 *
 * A run has a *safety phase*, in which all its fault classes are at work, and a *healing phase*, in which
 * nothing goes wrong any more: then every persistent dial must come to a connection, everything queued
 * must arrive, everything kept must come back, within a bound that follows from the configuration. At last
 * all nodes stop, and nothing may be left.
 */
#ifndef WEIR_ENGINE_PROVE_PROVE_H
#define WEIR_ENGINE_PROVE_PROVE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/sim.h"

/* Fault classes: those of enum weir_world_fault, and these. */
enum prove_class {
    PROVE_CUT = 1 << 10,        /* hosts lose each other, one way or both */
    PROVE_CLOG = 1 << 11,       /* ways become slow for a while */
    PROVE_PAUSE = 1 << 12,      /* processes are stopped and go on */
    PROVE_CRASH = 1 << 13,      /* processes die, power is cut; they come back */
    PROVE_RESTART = 1 << 14,    /* nodes are stopped and started */
    PROVE_MEMORY = 1 << 15,     /* allocations fail */
    PROVE_DISCONNECT = 1 << 16, /* the application disconnects */
    PROVE_DIAL = 1 << 17,       /* it dials, also itself and nobody, and cancels */
    PROVE_HOLD = 1 << 18,       /* it pauses channels */
    PROVE_KEEP = 1 << 19,       /* it keeps messages */
    PROVE_SLOW = 1 << 20,       /* its callbacks take time */
    PROVE_BROADCAST = 1 << 21,  /* it broadcasts */
    PROVE_LARGE = 1 << 22,      /* it sends large messages */
    PROVE_AWAY = 1 << 23,       /* it calls from other threads and other shards */
    PROVE_TIGHT = 1 << 24,      /* limits and buffers are small */
    PROVE_LOSSY = 1 << 25,      /* channels that drop or close when they are full */
};
#define PROVE_CLASS_CNT 26u
#define PROVE_CLASSES_ALL ((1u << PROVE_CLASS_CNT) - 1)

/* The class's name as `weir sim --off` takes it; NULL beyond the last. */
const char *prove_class_name(uint32_t idx);

/* Which wire the nodes of a run speak. */
enum prove_secure {
    PROVE_SECURE_DRAWN = 0, /* as the seed says: half of all runs are plain, a quarter is mixed */
    PROVE_SECURE_NO,        /* all plain */
    PROVE_SECURE_YES,       /* all encrypted */
    PROVE_SECURE_MIXED,     /* nodes that are plain, that prefer encryption, that require it */
    PROVE_SECURE_CNT
};

/* Its name as `weir sim --secure` takes it; NULL where nothing is forced, and beyond the last. */
const char *prove_secure_name(uint32_t secure);

struct prove_config {
    uint64_t seed;
    uint32_t node_cnt;                          /* 0: drawn from the seed, 2 to 5 */
    uint64_t duration_ns;                       /* of the safety phase; 0: drawn, 10 to 60 s, less
                                                   * where 200,000 turns are made sooner */
    const char *profile;                        /* NULL: drawn */
    uint32_t secure;                            /* enum prove_secure */
    uint32_t off;                               /* classes that stay off whatever the seed says */
    void (*trace)(void *ctx, const char *line); /* NULL: none */
    void *trace_ctx;
};

#define PROVE_TEXT_BYTES 512
struct prove_result {
    bool is_failed;
    char oracle[24];
    char text[PROVE_TEXT_BYTES];
    uint64_t at_ns;   /* when it failed */
    uint64_t hash;    /* equal for equal runs */
    uint32_t classes; /* that were on */
    uint32_t secure;  /* enum prove_secure, as it was */
    char profile[8];
    uint64_t virtual_ns, turns, sent, delivered, links, secure_links, crashes;
};

/* Runs one seed. Returns 0, or WEIR_E_NOMEM, WEIR_E_CONFIG; an oracle's finding is in the result. After
 * one the process should end soon: what failed is not cleaned up. A failed assertion of the engine or of
 * the simulator aborts; weir_check_last says which. */
int prove_run(const struct prove_config *cfg, struct prove_result *ret_result);

#endif
