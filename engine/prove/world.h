/* engine/prove/world.h: a world from the inside: nodes that are turned one shard at a time.
 *
 * Shards of one node are threads of their own as far as the engine can tell: while one turns, the others
 * belong to somebody else, and between turns the caller is nobody's thread, so that calls go through the
 * mailboxes. A shard that found nothing to do sleeps as in the kernel: its mailbox is asleep, and a letter
 * must wake it.
 */
#ifndef WEIR_ENGINE_PROVE_WORLD_H
#define WEIR_ENGINE_PROVE_WORLD_H

#include <stdbool.h>

#include "engine/node/internal.h"
#include "engine/sim/sim_io.h"
#include "weir/sim.h"

#define WORLD_NODES_MAX 4096u

/* What kernels do differently, as far as io.h can tell. Conformance (tests/conformance) is the judge. */
struct world_profile {
    const char *name;
    uint32_t
        recv_run_max; /* receives that one socket completes before another has its turn; 0: all */
    bool is_busy_on_overflow; /* an enter that finds an overflown queue does nothing else (EBUSY) */
};

struct world_node {
    weir_world *world;
    weir_node *node; /* NULL: a free place */
    uint32_t host, idx;
    struct weir_io_host io_host;
    struct weir_io *ios[WEIR_SHARDS_MAX];
    uint64_t busy_until_ns[WEIR_SHARDS_MAX];
    uint64_t dues_ns[WEIR_SHARDS_MAX]; /* when each shard is due, as the world last looked */
    bool is_done[WEIR_SHARDS_MAX];
    uint64_t paused_until_ns;
    bool is_started; /* some shard of it has turned */
};

struct weir_world {
    struct weir_sim *sim;
    struct weir_sim_config quiet; /* the configuration without faults */
    uint32_t turn_ns_max;
    uint64_t thread; /* the real one's number */
    const struct world_profile *profile;
    struct world_node *nodes[WORLD_NODES_MAX];
    uint64_t dues_ns[WORLD_NODES_MAX]; /* no shard of the node is due earlier; 0: not known */
    uint32_t node_cnt;
    uint64_t turn_cnt;
    bool is_halted;
    bool is_cq_small;
    struct world_node *here; /* whose callback runs; NULL: none */
    uint32_t here_shard;
    /* After each turn, and before a shard ends for good. For the proving ground. */
    void (*after_turn)(void *ctx, struct world_node *node, uint32_t shard);
    void *after_turn_ctx;
};

const struct world_profile *world_profile_find(const char *name);

/* Makes the calling thread the one of a shard of a node, as far as the engine can tell (UINT32_MAX: of
 * none). */
void world_own(struct world_node *node, uint32_t shard);

struct world_node *world_node_of(const weir_world *world, const weir_node *node);

#endif
