/* sim_app: an application's own reactors, tested in a simulated world (weir/sim.h).
 *
 * The application is a counter that is kept on three nodes: node 1 sends numbers, each node adds them up and
 * must come to the same sum, whatever happens to connections. A number that may have been lost with a
 * connection is sent again, and who has it already ignores it. The test runs this for many seeds, with
 * resets, losses, short sends and a crash, and says which seed fails. Usage: sim_app [SEED [COUNT]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/sim.h>

#define NODES 3
#define NUMBERS 200u
#define CHANNEL 7

struct app {
    weir_node *node;
    unsigned id;
    uint64_t sum, next; /* a receiver: of numbers 0 .. next - 1 */
    weir_peer peers[8]; /* the sender: who is up */
    uint64_t acked[8];  /* and what it has */
    unsigned peer_cnt;
};

static struct app apps[NODES];

/* ---- the application: it knows nothing of the simulation ------------------------------------- */

static void send_number(struct app *app, weir_peer peer, uint64_t number)
{
    (void)!weir_try_send(app->node, peer, CHANNEL, &number,
                         sizeof(number)); /* full or gone: again later */
}

static void on_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct app *app = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint64_t number;
        memcpy(&number, msgs[i].data, sizeof(number));
        if (app->id == 0) { /* an acknowledgement: all below `number` are there */
            for (unsigned k = 0; k < app->peer_cnt; k++)
                if (app->peers[k].v == msgs[i].peer.v)
                    app->acked[k] = number;
            continue;
        }
        if (number == app->next) {
            app->sum += number;
            app->next++;
        }
        send_number(app, msgs[i].peer, app->next);
    }
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct app *app = ctx;
    (void)reason;
    if (app->id != 0)
        return;
    if (event == WEIR_PEER_UP && app->peer_cnt < 8) {
        app->acked[app->peer_cnt] = 0;
        app->peers[app->peer_cnt++] = peer;
    }
    for (unsigned k = 0; event == WEIR_PEER_DOWN && k < app->peer_cnt; k++) {
        if (app->peers[k].v != peer.v)
            continue;
        app->peers[k] = app->peers[--app->peer_cnt];
        app->acked[k] = app->acked[app->peer_cnt];
        break;
    }
}

static weir_ns on_tick(void *ctx, uint32_t shard, weir_ns now)
{
    struct app *app = ctx;
    (void)shard;
    for (unsigned k = 0; k < app->peer_cnt; k++)
        for (uint64_t n = app->acked[k]; n < NUMBERS && n < app->acked[k] + 10; n++)
            send_number(app, app->peers[k], n);
    return now + 20 * WEIR_NS_PER_MS;
}

/* ---- its test ------------------------------------------------------------------------------ */

static int start(weir_world *world, unsigned id)
{
    struct weir_config cfg = {.size = sizeof(cfg), .peers_max = 16, .recv_buf_cnt = 2};
    struct weir_channel channel = {.size = sizeof(channel), .id = CHANNEL};
    struct weir_reactor reactor = {
        .size = sizeof(reactor), .ctx = &apps[id], .on_batch = on_batch, .on_peer = on_peer};
    char address[32];
    snprintf(address, sizeof(address), "10.0.0.%u:7000", id + 1);
    cfg.redial_max_ns = WEIR_NS_PER_S;
    if (id == 0)
        reactor.on_tick = on_tick;
    apps[id] = (struct app){.id = id};
    int error = weir_world_node_create(world, id + 1, &cfg, &apps[id].node);
    if (!error)
        error = weir_node_attach(apps[id].node, &reactor, &channel, 1);
    if (!error)
        error = weir_node_listen(apps[id].node, address);
    if (!error)
        error = weir_node_start(apps[id].node);
    if (!error && id != 0)
        error = weir_dial(apps[id].node, "10.0.0.1:7000", WEIR_DIAL_PERSIST);
    return error;
}

static int is_done(void *ctx)
{
    (void)ctx;
    return apps[1].next == NUMBERS && apps[2].next == NUMBERS;
}

/* Returns the run's hash, 0 when it failed. */
static uint64_t try(uint64_t seed)
{
    weir_world *world;
    struct weir_world_config cfg = {
        .size = sizeof(cfg),
        .seed = seed,
        .faults = WEIR_FAULT_SHORT | WEIR_FAULT_DELAY | WEIR_FAULT_END | WEIR_FAULT_RESET |
                  WEIR_FAULT_LOSS | WEIR_FAULT_REFUSE,
    };
    int error = weir_world_create(&world, &cfg);
    for (unsigned id = 0; id < NODES && !error; id++)
        error = start(world, id);
    if (error) {
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, weir_error_text(error));
        exit(1);
    }
    /* While it is at work node 2 crashes, and starts again with nothing. */
    (void)weir_world_run_until(world, weir_world_random(world, 3) * WEIR_NS_PER_S, is_done, NULL);
    weir_world_crash(world, apps[1].node, weir_world_random(world, 2) != 0);
    weir_world_run(world, WEIR_NS_PER_S);
    if (start(world, 1) != 0)
        exit(1);
    weir_world_run(world, 5 * WEIR_NS_PER_S);
    weir_world_set_faults(world, 0); /* from here on it must come to its end */
    (void)weir_world_run_until(world, 120 * WEIR_NS_PER_S, is_done, NULL);
    uint64_t want = (uint64_t)NUMBERS * (NUMBERS - 1) / 2;
    uint64_t hash = weir_world_hash(world);
    for (unsigned id = 1; id < NODES; id++) {
        if (apps[id].next == NUMBERS && apps[id].sum == want)
            continue;
        fprintf(stderr, "seed %llu: node %u has %llu numbers and the sum %llu\n",
                (unsigned long long)seed, id + 1, (unsigned long long)apps[id].next,
                (unsigned long long)apps[id].sum);
        hash = 0;
    }
    weir_world_free(world);
    return hash;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t cnt = argc > 2 ? strtoull(argv[2], NULL, 10) : 50;
    for (uint64_t i = seed; i < seed + cnt; i++) {
        uint64_t hash = try(i);
        if (!hash) {
            fprintf(stderr, "to have it again: sim_app %llu 1\n", (unsigned long long)i);
            return 1;
        }
        if (i % 10 == 0 && try(i) != hash) {
            fprintf(stderr, "seed %llu does not run the same way twice\n", (unsigned long long)i);
            return 1;
        }
    }
    printf("%llu seeds: every node came to the same sum\n", (unsigned long long)cnt);
    return 0;
}
