/* weir/sim.h: an application's own reactors, tested in a simulated world.
 *
 * A *world* has a virtual clock, hosts, a network and an io_uring that behaves as badly as it may. Any
 * number of nodes, of any number of shards, live in it, on the calling thread. Everything follows from
 * one 64-bit seed: the same program with the same seed runs the same way, whatever the machine, so that
 * a failure that needs a reset in the middle of a send while a buffer ring is empty can be had again.
 *
 *     weir_world_create(&world, &cfg);
 *     weir_world_node_create(world, 1, &node_cfg, &node);   // instead of weir_node_create
 *     weir_node_attach(node, ...); weir_node_listen(node, "10.0.0.1:7000"); weir_node_start(node);
 *     weir_world_run(world, 10 * WEIR_NS_PER_S);            // virtual seconds; callbacks run in here
 *     weir_world_free(world);
 *
 * What a test must keep to for its runs to be equal: take time from weir_node_now() or an on_tick, and
 * randomness from weir_world_random(); let no callback depend on addresses of memory. Calls that wait for
 * another thread (weir_send, weir_peer_info from outside a callback) have nobody to wait for: they time
 * out.
 *
 * A node may listen at any address, and is then seen by others at that one; without, host h has the addresses
 * 10.0.h/256.h%256 and fd00::h, and the name "hosth", as host7. A node turns only in weir_world_run; between
 * runs the caller acts as another thread does, through mailboxes.
 *
 * This is libweir-sim, apart from libweir: link with -lweir-sim -lweir (static).
 * Thread: one for a world and all its nodes.
 */
#ifndef WEIR_SIM_H
#define WEIR_SIM_H

#include "weir/node.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_world weir_world;

/* What may go wrong by itself. How often is drawn from the seed, for each class apart: now and then is
 * as likely as all the time. */
enum weir_world_fault {
    WEIR_FAULT_SHORT = 1 << 0,  /* sends and receives take some of the bytes */
    WEIR_FAULT_DELAY = 1 << 1,  /* completions are late, and in another order between sockets */
    WEIR_FAULT_END = 1 << 2,    /* multishots end on good completions, accept finds no descriptor */
    WEIR_FAULT_CQ = 1 << 3,     /* the completion queue overflows */
    WEIR_FAULT_ENTER = 1 << 4,  /* an enter is refused, or submits only a part */
    WEIR_FAULT_FULL = 1 << 5,   /* the kernel is short of memory for an operation */
    WEIR_FAULT_REFUSE = 1 << 6, /* dials are refused */
    WEIR_FAULT_RESET = 1 << 7,  /* connections are reset */
    WEIR_FAULT_LOSS = 1 << 8,   /* packets are lost and late */
    WEIR_FAULT_CORRUPT = 1 << 9, /* bits flip on their way */
};
#define WEIR_FAULTS_ALL 0x3FFu

struct weir_world_config {
    uint32_t size;         /* sizeof(struct weir_world_config) */
    uint32_t faults;       /* enum weir_world_fault; default none */
    uint64_t seed;         /* 0 is a seed like any other */
    const char *profile;   /* how the kernel behaves: "6.1", "6.12" or "6.18"; default "6.12" */
    weir_ns latency_ns;    /* between hosts, each way; default 200 us */
    uint64_t bytes_per_s;  /* of a connection, each way; default 0: no limit */
    uint32_t window_bytes; /* the kernel holds of a connection, each way; default 65,536 */
    uint32_t turn_us_max;  /* a turn of a shard takes a random time up to this; default 20 */
};

/* Makes a world. Errors: WEIR_E_NOMEM, WEIR_E_CONFIG (an unknown profile), WEIR_E_VERSION. */
WEIR_MUST_CHECK int weir_world_create(weir_world **ret_world, const struct weir_world_config *cfg);

/* Frees a world and the nodes in it; NULL is fine. */
void weir_world_free(weir_world *world);

/* Makes a node on a host (1 to 65,535); several may share one. As weir_node_create, with
 * WEIR_CONFIG_CALLER_TURNS set. Errors: those of weir_node_create; WEIR_E_LIMIT (4,096 nodes). */
WEIR_MUST_CHECK int weir_world_node_create(weir_world *world, uint32_t host,
                                           const struct weir_config *cfg, weir_node **ret_node);

/* Frees a node, instead of weir_node_free: at once when it has stopped (weir_node_stop, then run until
 * weir_world_is_stopped), otherwise as a process that ends without a goodbye. */
void weir_world_node_free(weir_world *world, weir_node *node);
int weir_world_is_stopped(const weir_world *world, const weir_node *node);

/* ---- time ---------------------------------------------------------------------------------- */

/* Lets `duration` pass. Returns the turns made. Ends early when a callback calls weir_world_halt. */
uint64_t weir_world_run(weir_world *world, weir_ns duration);

/* The same, but only until `is_done` answers nonzero (asked after each turn). Returns whether it did. */
int weir_world_run_until(weir_world *world, weir_ns duration, int (*is_done)(void *ctx), void *ctx);
void weir_world_halt(weir_world *world);

weir_ns weir_world_now(const weir_world *world);

/* The shard whose callback is running takes so much longer: a reactor that computes. */
void weir_world_spend(weir_world *world, weir_ns duration);

/* A number below `bound` (0 for a bound of 0), from the world's seed. */
uint64_t weir_world_random(weir_world *world, uint64_t bound);

/* A number that follows from everything that happened so far: equal for equal runs. */
uint64_t weir_world_hash(const weir_world *world);

/* ---- what goes wrong ----------------------------------------------------------------------- */

/* Changes which faults may happen from now on; their intensities are drawn anew. 0 heals. */
void weir_world_set_faults(weir_world *world, uint32_t faults);

/* How the network is where nothing is wrong, from now on: each way between hosts takes `latency_ns` and up to
 * `jitter_ns` more, and of what is on its way `loss_ppm` millionths come a timeout (200 ms, doubling) later. Ends
 * faults that were set. */
void weir_world_network(weir_world *world, weir_ns latency_ns, uint32_t jitter_ns,
                        uint32_t loss_ppm);

/* Cuts (or mends) the way from one host to another; call it twice for both ways. What is on its way is
 * sent again later, as TCP does. */
void weir_world_cut(weir_world *world, uint32_t from_host, uint32_t to_host, int is_cut);

/* Makes the way from one host to another slow; 0 and 0: as the configuration says. */
void weir_world_slow(weir_world *world, uint32_t from_host, uint32_t to_host, weir_ns latency_ns,
                     uint64_t bytes_per_s);

/* A node does not run until `duration` has passed, as a stopped process. */
void weir_world_pause(weir_world *world, weir_node *node, weir_ns duration);

/* A node is gone from one moment to the next, and freed; none of its callbacks runs any more.
 * `is_power_cut`: its host is silent until another node is made on it; otherwise the system closes its
 * connections. */
void weir_world_crash(weir_world *world, weir_node *node, int is_power_cut);

#ifdef __cplusplus
}
#endif

#endif
