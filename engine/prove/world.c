#include "engine/prove/world.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/mem/thread.h"
#include "engine/sim/sim_impl.h"

#define TURN_US_MAX 20u
#define LATENCY_NS (200 * WEIR_NS_PER_US)
#define OWN_NONE UINT32_MAX
#define THREAD_BASE (UINT64_C(1) << 40) /* numbers of simulated threads, above all real ones */

static const struct world_profile profiles[] = {
    {.name = "6.1", .recv_run_max = 0, .is_busy_on_overflow = true},
    {.name = "6.12", .recv_run_max = 32},
    {.name = "6.18", .recv_run_max = 32},
};

const struct world_profile *world_profile_find(const char *name)
{
    for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    return NULL;
}

/* ---- life ---------------------------------------------------------------------------------- */

int weir_world_create(weir_world **ret_world, const struct weir_world_config *cfg)
{
    struct weir_world_config own;
    if (!ret_world || !cfg)
        return WEIR_E_MISUSE;
    int error = weir_struct_take(&own, sizeof(own), cfg);
    if (error)
        return error;
    const struct world_profile *profile = world_profile_find(own.profile ? own.profile : "6.12");
    if (!profile || (own.faults & ~WEIR_FAULTS_ALL))
        return WEIR_E_CONFIG;
    weir_world *world = calloc(1, sizeof(*world));
    if (!world)
        return WEIR_E_NOMEM;
    world->profile = profile;
    world->thread = weir_thread_id();
    world->turn_ns_max = 1000 * (own.turn_us_max ? own.turn_us_max : TURN_US_MAX);
    world->quiet = (struct weir_sim_config){
        .seed = own.seed,
        .window_bytes = own.window_bytes,
        .latency_ns = own.latency_ns ? own.latency_ns : LATENCY_NS,
        .bytes_per_s = own.bytes_per_s,
        .recv_run_max = profile->recv_run_max ? profile->recv_run_max : UINT32_MAX,
        .is_busy_on_overflow = profile->is_busy_on_overflow,
    };
    error = weir_sim_create(&world->sim, &world->quiet);
    if (error) {
        free(world);
        return error;
    }
    weir_world_set_faults(world, own.faults);
    *ret_world = world;
    return 0;
}

void weir_world_free(weir_world *world)
{
    if (!world)
        return;
    for (uint32_t i = 0; i < world->node_cnt; i++)
        if (world->nodes[i]->node)
            weir_world_node_free(world, world->nodes[i]->node);
    for (uint32_t i = 0; i < world->node_cnt; i++) /* looked through for each node until here */
        free(world->nodes[i]);
    weir_sim_free(world->sim);
    free(world);
}

/* ---- nodes --------------------------------------------------------------------------------- */

static int host_create(void *ctx, uint32_t shard, const struct weir_io_config *cfg,
                       struct weir_io **ret_io)
{
    struct world_node *node = ctx;
    struct weir_io_config own = *cfg;
    /* A small queue shows in seconds what a large one shows once a year. */
    if (node->world->is_cq_small)
        own.cq_cnt = 1 + (uint32_t)weir_world_random(node->world, 16);
    int error = weir_sim_io_create(node->world->sim, node->host, &own, ret_io);
    if (!error)
        node->ios[shard] = *ret_io;
    if (!error)
        weir_sim_io_set_tag(*ret_io, node->idx);
    return error;
}

static uint64_t host_now(void *ctx)
{
    return weir_sim_now(((struct world_node *)ctx)->world->sim);
}

static void host_random(void *ctx, void *ret_bytes, size_t len)
{
    uint8_t *bytes = ret_bytes;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)weir_world_random(((struct world_node *)ctx)->world, 256);
}

/* Names of a world: "host7" is host 7. */
static uint16_t world_lookup(void *ctx, const char *name, uint16_t port,
                             struct weir_addr *ret_addrs, uint32_t addr_max, uint32_t *ret_addr_cnt)
{
    char *end;
    (void)ctx;
    unsigned long host = strncmp(name, "host", 4) == 0 ? strtoul(name + 4, &end, 10) : 0;
    if (host == 0 || host > UINT16_MAX || *end != '\0' || addr_max == 0)
        return WEIR_R_NAME_NOT_FOUND;
    sim_host_addr((uint32_t)host, WEIR_ADDR_IPV4, port, &ret_addrs[0]);
    *ret_addr_cnt = 1;
    return 0;
}

int weir_world_node_create(weir_world *world, uint32_t host, const struct weir_config *cfg,
                           weir_node **ret_node)
{
    if (!world || !cfg || !ret_node || host == 0 || host > UINT16_MAX)
        return WEIR_E_MISUSE;
    uint32_t idx = 0;
    while (idx < world->node_cnt && world->nodes[idx]->node)
        idx++;
    if (idx == WORLD_NODES_MAX)
        return WEIR_E_LIMIT;
    if (idx == world->node_cnt) {
        world->nodes[idx] = calloc(1, sizeof(struct world_node));
        if (!world->nodes[idx])
            return WEIR_E_NOMEM;
        world->node_cnt++;
    }
    struct world_node *node = world->nodes[idx];
    world->dues_ns[idx] = 0;
    *node = (struct world_node){
        .world = world,
        .host = host,
        .idx = idx,
        .io_host = {.create = host_create, .now = host_now, .random = host_random, .ctx = node},
    };
    struct weir_config own;
    int error = weir_struct_take(&own, sizeof(own), cfg);
    if (error)
        return error;
    own.size = sizeof(own);
    own.flags |= WEIR_CONFIG_CALLER_TURNS;
    error = weir_node_create_on(&node->node, &own, &node->io_host);
    if (error)
        return error;
    node->node->lookup = world_lookup;
    node->node->is_lookup_instant = true; /* no thread outside of the simulation */
    *ret_node = node->node;
    return 0;
}

struct world_node *world_node_of(const weir_world *world, const weir_node *node)
{
    for (uint32_t i = 0; node && i < world->node_cnt; i++)
        if (world->nodes[i]->node == node)
            return world->nodes[i];
    return NULL;
}

static uint64_t thread_of(const struct world_node *node, uint32_t shard)
{
    return THREAD_BASE + node->idx * WEIR_SHARDS_MAX + shard;
}

/* Shards, pools and heaps know threads by a number: what is called or dropped here and belongs to another
 * shard goes the way that it goes between threads. */
void world_own(struct world_node *node, uint32_t shard)
{
    for (uint32_t i = 0; i < node->node->shard_cnt; i++)
        node->node->shards[i]->owner = thread_of(node, i);
    weir_thread_number = shard == OWN_NONE ? node->world->thread : thread_of(node, shard);
}

/* Frees a node as the threads of its shards would, one after the other. */
static void free_node(struct world_node *node)
{
    weir_node *own = node->node;
    atomic_store(&own->state, WEIR_NODE_STOPPED);
    for (uint32_t i = 0; i < own->shard_cnt; i++) {
        weir_sim_io_slot(node->ios[i]);
        world_own(node, i);
        weir_shard_fini(own->shards[i]);
    }
    for (uint32_t i = 0; i < own->shard_cnt; i++) {
        weir_thread_number = thread_of(node, i);
        weir_shard_free(own->shards[i]);
        own->shards[i] = NULL;
    }
    own->shard_cnt = 0;
    weir_thread_number = node->world->thread;
    weir_node_free(own);
    node->node = NULL;
    node->world->dues_ns[node->idx] = 0;
}

int weir_world_is_stopped(const weir_world *world, const weir_node *node)
{
    const struct world_node *found = world_node_of(world, node);
    for (uint32_t i = 0; found && i < found->node->shard_cnt; i++)
        if (!found->is_done[i])
            return 0;
    return 1;
}

/* Whatever ends from here on runs no callback: reactors are the application's, and their node is dead. */
static void silence(weir_node *node)
{
    for (uint32_t i = 0; i < node->reactor_cnt; i++)
        node->reactors[i] = (struct weir_reactor){.size = sizeof(struct weir_reactor)};
    node->cfg.log = NULL;
}

void weir_world_crash(weir_world *world, weir_node *node, int is_power_cut)
{
    struct world_node *found = world_node_of(world, node);
    WEIR_CHECK(found != NULL && found != world->here);
    silence(node);
    for (uint32_t i = 0; i < node->shard_cnt; i++)
        weir_sim_io_kill(found->ios[i], is_power_cut != 0);
    free_node(found);
}

void weir_world_node_free(weir_world *world, weir_node *node)
{
    struct world_node *found = world_node_of(world, node);
    if (!found)
        return;
    if (found->is_started && !weir_world_is_stopped(world, node)) {
        weir_world_crash(world, node, 0);
        return;
    }
    free_node(found);
}

/* ---- turning ------------------------------------------------------------------------------- */

static bool is_turning(const struct world_node *node, uint32_t shard)
{
    int state = atomic_load(&node->node->state);
    return state != WEIR_NODE_NEW && !node->is_done[shard];
}

static uint64_t due_of(const struct world_node *node, uint32_t shard)
{
    uint64_t due_ns = weir_sim_io_due(node->ios[shard]);
    due_ns = weir_max_u64(due_ns, node->busy_until_ns[shard]);
    return weir_max_u64(due_ns, node->paused_until_ns);
}

/* Looks when a node's shards are due. Returns when the first one is; 0: nobody tells when that will change. */
static uint64_t look(struct world_node *node)
{
    uint64_t first_ns = WEIR_NS_FOREVER;
    if (!node->node || atomic_load(&node->node->state) == WEIR_NODE_NEW)
        return 0;
    for (uint32_t i = 0; i < node->node->shard_cnt; i++) {
        node->dues_ns[i] = is_turning(node, i) ? due_of(node, i) : WEIR_NS_FOREVER;
        first_ns = weir_min_u64(first_ns, node->dues_ns[i]);
    }
    return first_ns;
}

/* A thread that turns a shard sleeps in the ring while there is nothing to do. A turn that returned with nothing would
 * not be the same: it looks once more at what there is to do, and what was left without a wake-up would be found. */
static bool falls_asleep(const struct world_node *node, uint32_t shard)
{
    struct weir_shard *own = node->node->shards[shard];
    if (!atomic_load(&own->is_owned))
        return false; /* it has not begun */
    uint64_t wait_ns = weir_shard_wait(own, WEIR_NS_FOREVER);
    if (!wait_ns || !weir_mailbox_sleep(&own->mailbox))
        return false;
    if (weir_sim_io_sleeps(node->ios[shard], wait_ns))
        return true;
    weir_mailbox_awake(&own->mailbox);
    return false;
}

static void turn(struct world_node *node, uint32_t shard)
{
    weir_world *world = node->world;
    struct weir_shard *own = node->node->shards[shard];
    world->dues_ns[node->idx] = 0;
    weir_mailbox_awake(&own->mailbox);
    if (falls_asleep(node, shard))
        return;
    weir_sim_io_slot(node->ios[shard]);
    world_own(node, shard);
    node->is_started = true;
    world->here = node;
    world->here_shard = shard;
    node->busy_until_ns[shard] = weir_sim_now(world->sim) + 1;
    if (world->turn_ns_max > 1)
        node->busy_until_ns[shard] += weir_world_random(world, world->turn_ns_max);
    int64_t res = weir_node_turn(node->node, shard, WEIR_NS_FOREVER);
    if (res < 0)
        node->is_done[shard] = true;
    else if (own->is_done)
        node->is_done[shard] = true;
    else if (weir_sim_io_due(node->ios[shard]) > weir_sim_now(world->sim) &&
             !weir_mailbox_sleep(&own->mailbox))
        own->io->ops->wake(own->io);
    world->here = NULL;
    world->turn_cnt++;
    world->dues_ns[node->idx] = 0;
    if (world->after_turn)
        world->after_turn(world->after_turn_ctx, node, shard);
    world_own(node, OWN_NONE);
}

/* The shard that is due first, at random among those that are due together; NULL: none ever. */
static struct world_node *next_of(weir_world *world, uint64_t *ret_due_ns, uint32_t *ret_shard)
{
    struct world_node *found = NULL;
    uint64_t best_ns = WEIR_NS_FOREVER, same_cnt = 0;
    uint64_t now_ns = weir_sim_now(world->sim);
    uint32_t tag;
    while (weir_sim_touched(world->sim, &tag))
        world->dues_ns[tag] = 0;
    for (uint32_t i = 0; i < world->node_cnt; i++) {
        /* Most of them: with 1,000 nodes a look at each was half of all. */
        if (world->dues_ns[i] > best_ns)
            continue;
        struct world_node *node = world->nodes[i];
        if (world->dues_ns[i] == 0)
            world->dues_ns[i] = look(node);
        for (uint32_t k = 0; world->dues_ns[i] != 0 && k < node->node->shard_cnt; k++) {
            uint64_t due_ns = weir_max_u64(node->dues_ns[k], now_ns);
            if (due_ns > best_ns || due_ns == WEIR_NS_FOREVER)
                continue;
            same_cnt = due_ns < best_ns ? 1 : same_cnt + 1;
            if (same_cnt > 1 && weir_world_random(world, same_cnt) != 0)
                continue;
            best_ns = due_ns;
            found = node;
            *ret_shard = k;
        }
    }
    *ret_due_ns = best_ns;
    return found;
}

int weir_world_run_until(weir_world *world, weir_ns duration, int (*is_done)(void *ctx), void *ctx)
{
    uint64_t end_ns = weir_sim_now(world->sim) + duration;
    world->is_halted = false;
    memset(world->dues_ns, 0,
           world->node_cnt * sizeof(world->dues_ns[0])); /* the caller did something */
    while (!world->is_halted) {
        uint64_t due_ns;
        uint32_t shard = 0;
        struct world_node *node = next_of(world, &due_ns, &shard);
        uint64_t net_ns = weir_sim_net_due(world->sim);
        if (net_ns < due_ns && net_ns <= end_ns) {
            weir_sim_advance_to(world->sim, net_ns); /* may make a shard due earlier */
            continue;
        }
        if (!node || due_ns > end_ns)
            break;
        weir_sim_advance_to(world->sim, due_ns);
        turn(node, shard);
        if (is_done && is_done(ctx))
            return 1;
    }
    if (!world->is_halted)
        weir_sim_advance_to(world->sim, end_ns);
    return 0;
}

uint64_t weir_world_run(weir_world *world, weir_ns duration)
{
    uint64_t before = world->turn_cnt;
    (void)weir_world_run_until(world, duration, NULL, NULL);
    return world->turn_cnt - before;
}

void weir_world_halt(weir_world *world)
{
    world->is_halted = true;
}

weir_ns weir_world_now(const weir_world *world)
{
    return weir_sim_now(world->sim);
}

void weir_world_spend(weir_world *world, weir_ns duration)
{
    if (world->here)
        world->here->busy_until_ns[world->here_shard] += duration;
}

uint64_t weir_world_random(weir_world *world, uint64_t bound)
{
    return weir_sim_random(world->sim, bound);
}

uint64_t weir_world_hash(const weir_world *world)
{
    return weir_sim_digest(world->sim) ^ weir_sim_now(world->sim) ^ world->turn_cnt << 40;
}

/* ---- what goes wrong ----------------------------------------------------------------------- */

/* Up to `max` ppm, small values as likely as large ones. */
static uint32_t some_ppm(weir_world *world, uint32_t max)
{
    uint32_t shift = (uint32_t)weir_world_random(world, 12);
    return 1 + (uint32_t)weir_world_random(world, max >> shift);
}

void weir_world_set_faults(weir_world *world, uint32_t faults)
{
    struct weir_sim_config cfg = world->quiet;
    if (faults & WEIR_FAULT_SHORT) {
        /* Pieces of a few bytes, all the time, are a waste of it: with 7 one seed in ten took as many turns as the
         * other nine, and what a cut can do to a frame header of 32 bytes, pieces of 1 to 40 do as well. */
        static const uint32_t sizes[] = {0, 40, 60, 100, 1000, 5000, 30000, 100000};
        cfg.send_chunk_max = sizes[weir_world_random(world, 8)];
        cfg.recv_chunk_max = sizes[weir_world_random(world, 8)];
    }
    if (faults & WEIR_FAULT_DELAY)
        cfg.delay_max_ns =
            1 + weir_world_random(world, UINT64_C(1) << (10 + weir_world_random(world, 15)));
    if (faults & WEIR_FAULT_END) {
        cfg.recv_end_ppm = some_ppm(world, 500000);
        cfg.accept_fail_ppm = some_ppm(world, 300000);
    }
    if (faults & WEIR_FAULT_CQ)
        cfg.flood_ppm = some_ppm(world, 1000000);
    if (faults & WEIR_FAULT_ENTER) {
        cfg.turn_empty_ppm = some_ppm(world, 300000);
        cfg.submit_part_ppm = some_ppm(world, 500000);
    }
    if (faults & WEIR_FAULT_FULL)
        cfg.full_ppm = some_ppm(world, 200000);
    if (faults & WEIR_FAULT_REFUSE)
        cfg.connect_fail_ppm = some_ppm(world, 800000);
    if (faults & WEIR_FAULT_RESET)
        cfg.reset_ppm = some_ppm(world, 20000);
    if (faults & WEIR_FAULT_LOSS) {
        cfg.loss_ppm = some_ppm(world, 200000);
        cfg.jitter_ns = (uint32_t)weir_world_random(world, 20 * WEIR_NS_PER_MS);
    }
    if (faults & WEIR_FAULT_CORRUPT)
        cfg.corrupt_ppm = some_ppm(world, 50000);
    world->is_cq_small = (faults & WEIR_FAULT_CQ) != 0;
    weir_sim_configure(world->sim, &cfg);
}

void weir_world_network(weir_world *world, weir_ns latency_ns, uint32_t jitter_ns,
                        uint32_t loss_ppm)
{
    world->quiet.latency_ns = latency_ns;
    world->quiet.jitter_ns = jitter_ns;
    world->quiet.loss_ppm = loss_ppm;
    weir_sim_configure(world->sim, &world->quiet);
}

void weir_world_cut(weir_world *world, uint32_t from_host, uint32_t to_host, int is_cut)
{
    struct weir_sim_route route = {.is_down = true,
                                   .latency_ns = world->quiet.latency_ns,
                                   .bytes_per_s = world->quiet.bytes_per_s};
    weir_sim_set_route(world->sim, from_host, to_host, is_cut ? &route : NULL);
}

void weir_world_slow(weir_world *world, uint32_t from_host, uint32_t to_host, weir_ns latency_ns,
                     uint64_t bytes_per_s)
{
    struct weir_sim_route route = {.latency_ns = latency_ns, .bytes_per_s = bytes_per_s};
    bool is_slow = latency_ns || bytes_per_s;
    weir_sim_set_route(world->sim, from_host, to_host, is_slow ? &route : NULL);
}

void weir_world_pause(weir_world *world, weir_node *node, weir_ns duration)
{
    struct world_node *found = world_node_of(world, node);
    if (!found)
        return;
    found->paused_until_ns = weir_sim_now(world->sim) + duration;
    world->dues_ns[found->idx] = 0;
}
