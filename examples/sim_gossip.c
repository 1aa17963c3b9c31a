/* sim_gossip.c: how fast gossip reaches a simulated network of many nodes, and how often twice.
 *
 *     sim_gossip [nodes=1000] [links=4] [fanout=6] [messages=20] [bytes=200] [latency_ms=50] [jitter_ms=0]
 *                [loss_ppm=0] [churn=0] [push_only=0] [seed=1] [json=0]
 *
 * Each node dials `links` others, drawn at random, so that it has twice as many peers on average. When all are
 * connected, nodes drawn at random publish one message each, one a second. Printed is what docs/gossip.md shows:
 * when a message had reached half of the nodes, 99 of 100, and all; how many came again per one that was
 * delivered (-1: never); and bytes on all wires per byte delivered. `churn` nodes per hundred crash, one after the other,
 * while messages are on their way; those do not count. Ends with 1 when a node misses a message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/sim.h>
#include <weir/weir.h>

#define NODES_MAX 4000u
#define MESSAGES_MAX 1000u
#define LINKS_MAX 64u
#define PERIOD_NS WEIR_NS_PER_S
#define TAIL_NS (30 * WEIR_NS_PER_S)

static struct {
    uint64_t nodes, links, fanout, messages, bytes, latency_ms, jitter_ms, loss_ppm, churn;
    uint64_t push_only, seed, json;
} options = {.nodes = 1000,
             .links = 4,
             .fanout = 6,
             .messages = 20,
             .bytes = 200,
             .latency_ms = 50,
             .seed = 1};

struct member {
    weir_node *node;
    weir_gossip *gossip;
    uint32_t peers, idx;
};

static weir_world *world;
static struct member members[NODES_MAX];
static weir_ns published[MESSAGES_MAX];
static weir_ns *reached[MESSAGES_MAX]; /* per message and node: when, 0 for not */

/* ---- the application ----------------------------------------------------------------------- */

static void on_messages(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    struct member *member = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        uint32_t number;
        memcpy(&number, msgs[i].data, sizeof number);
        if (number >= options.messages || reached[number][member->idx]) {
            fprintf(stderr, "node %u: message %u comes twice, or is none\n", member->idx, number);
            exit(1);
        }
        reached[number][member->idx] = weir_node_now(member->node);
    }
}

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct member *member = ctx;
    (void)peer;
    (void)reason;
    member->peers += event == WEIR_PEER_UP;
    member->peers -= event == WEIR_PEER_DOWN;
}

static void publish(uint32_t number)
{
    static uint8_t bytes[1 << 20];
    uint64_t from = weir_world_random(world, options.nodes);
    while (!members[from].node)
        from = weir_world_random(world, options.nodes);
    memcpy(bytes, &number, sizeof number);
    published[number] = weir_world_now(world);
    if (weir_gossip_publish(members[from].gossip, bytes, options.bytes, NULL) < 0)
        exit(1);
    reached[number][from] = published[number];
}

/* ---- the network --------------------------------------------------------------------------- */

static void must(int error, const char *what)
{
    if (!error)
        return;
    fprintf(stderr, "%s: %s\n", what, weir_error_text(error));
    exit(1);
}

static void start(uint32_t idx)
{
    struct member *member = &members[idx];
    struct weir_config cfg = {.size = sizeof cfg,
                              .peers_max = 64,
                              .recv_buf_cnt = 2,
                              .recv_buf_bytes = 16384,
                              .dials_max = LINKS_MAX,
                              .bans_max = 16,
                              .secure = WEIR_SECURE_PLAIN};
    struct weir_gossip_config gossip_cfg = {.size = sizeof gossip_cfg,
                                            .fanout = (uint32_t)options.fanout,
                                            .flags = options.push_only ? WEIR_GOSSIP_PUSH_ONLY : 0,
                                            .seen_max = 2048,
                                            .store_max = 1024,
                                            .wants_max = 256,
                                            .ctx = member,
                                            .on_messages = on_messages};
    struct weir_reactor reactor = {.size = sizeof reactor, .ctx = member, .on_peer = on_peer};
    char address[32];
    member->idx = idx;
    must(weir_world_node_create(world, idx + 1, &cfg, &member->node), "node");
    must(weir_node_attach(member->node, &reactor, NULL, 0), "attach");
    must(weir_gossip_create(&member->gossip, member->node, &gossip_cfg), "gossip");
    snprintf(address, sizeof address, "10.0.%u.%u:7000", (idx + 1) / 256, (idx + 1) % 256);
    must(weir_node_listen(member->node, address), "listen");
    must(weir_node_start(member->node), "start");
}

static void connect_all(void)
{
    for (uint32_t idx = 0; idx < options.nodes; idx++) {
        uint64_t chosen[LINKS_MAX];
        for (uint32_t k = 0; k < options.links; k++) {
            char address[32];
            uint64_t to;
            uint32_t same;
            do {
                to = weir_world_random(world, options.nodes);
                for (same = 0; same < k && chosen[same] != to; same++)
                    ;
            } while (to == idx || same < k);
            chosen[k] = to;
            snprintf(address, sizeof address, "10.0.%u.%u:7000", (unsigned)(to + 1) / 256,
                     (unsigned)(to + 1) % 256);
            must(weir_dial(members[idx].node, address, WEIR_DIAL_PERSIST), "dial");
        }
    }
}

static int is_connected(void *ctx)
{
    static uint64_t calls;
    uint64_t peers = 0;
    (void)ctx;
    if (++calls % 1000)
        return 0;
    for (uint32_t i = 0; i < options.nodes; i++)
        peers += members[i].peers;
    return peers == 2 * options.links * options.nodes;
}

/* ---- figures ------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    weir_ns x = *(const weir_ns *)a, y = *(const weir_ns *)b;
    return x < y ? -1 : x > y;
}

/* In milliseconds; -1: it was never reached. */
static double median(weir_ns *values, uint32_t cnt)
{
    qsort(values, cnt, sizeof *values, compare);
    return values[cnt / 2] == WEIR_NS_FOREVER ? -1 : (double)values[cnt / 2] / 1e6;
}

static int report(void)
{
    static weir_ns half[MESSAGES_MAX], most[MESSAGES_MAX], all[MESSAGES_MAX], times[NODES_MAX];
    struct weir_gossip_stats sum = {0};
    uint64_t missed = 0, delivered = 0, wire = 0, turns = 0;
    uint32_t alive = 0, cnt = (uint32_t)options.messages;
    for (uint32_t i = 0; i < options.nodes; i++) {
        struct weir_gossip_stats stats = {.size = sizeof stats};
        struct weir_metrics metrics = {.size = sizeof metrics};
        if (!members[i].node)
            continue;
        alive++;
        (void)weir_gossip_stats_read(members[i].gossip, &stats);
        (void)weir_metrics_read(members[i].node, &metrics);
        wire += metrics.wire_bytes_sent;
        turns += metrics.turns;
        delivered += stats.delivered;
        sum.duplicates += stats.duplicates;
        sum.told += stats.told;
        sum.asked += stats.asked;
        sum.full += stats.full;
    }
    for (uint32_t number = 0; number < cnt; number++) {
        uint32_t got = 0;
        for (uint32_t i = 0; i < options.nodes; i++)
            if (members[i].node && reached[number][i])
                times[got++] = reached[number][i] - published[number];
        missed += alive - got;
        qsort(times, got, sizeof *times, compare);
        for (uint32_t i = got; i < alive; i++)
            times[i] = WEIR_NS_FOREVER;
        half[number] = times[(alive + 1) / 2 - 1];
        most[number] = times[(alive * 99 + 99) / 100 - 1];
        all[number] = times[alive - 1];
    }
    double again = (double)sum.duplicates / (double)delivered;
    double per_byte = (double)wire / (double)(delivered * options.bytes);
    printf(
        options.json
            ? "{\"nodes\": %u, \"links\": %u, \"fanout\": %u, \"bytes\": %u, \"latency_ms\": %u, "
              "\"jitter_ms\": %u, \"loss_ppm\": %u, \"churn\": %u, \"push_only\": %u, \"missed\": %u, "
              "\"half_ms\": %.1f, \"most_ms\": %.1f, \"all_ms\": %.1f, \"again\": %.3f, "
              "\"told\": %.2f, \"asked\": %.4f, \"wire\": %.3f, \"turns\": %u}\n"
            : "%u nodes, %u links each way, fan-out %u, %u bytes, %u ms + up to %u ms, loss %u ppm, churn "
              "%u %%, push only %u\nmissed %u; half %.1f ms, 99 of 100 %.1f ms, all %.1f ms; again %.3f, "
              "told %.2f, asked %.4f per message; %.3f bytes on wires per byte; %u turns\n",
        alive, (unsigned)options.links, (unsigned)options.fanout, (unsigned)options.bytes,
        (unsigned)options.latency_ms, (unsigned)options.jitter_ms, (unsigned)options.loss_ppm,
        (unsigned)options.churn, (unsigned)options.push_only, (unsigned)missed, median(half, cnt),
        median(most, cnt), median(all, cnt), again, (double)sum.told / (double)delivered,
        (double)sum.asked / (double)delivered, per_byte, (unsigned)turns);
    return missed != 0;
}

static void parse(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint64_t *value, max;
    } known[] = {
        {"nodes", &options.nodes, NODES_MAX},    {"links", &options.links, 16},
        {"fanout", &options.fanout, 64},         {"messages", &options.messages, MESSAGES_MAX},
        {"bytes", &options.bytes, 1 << 20},      {"latency_ms", &options.latency_ms, 10000},
        {"jitter_ms", &options.jitter_ms, 4000}, {"loss_ppm", &options.loss_ppm, 500000},
        {"churn", &options.churn, 50},           {"push_only", &options.push_only, 1},
        {"seed", &options.seed, UINT64_MAX},     {"json", &options.json, 1},
    };
    for (int i = 1; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        uint64_t value = equals ? strtoull(equals + 1, NULL, 10) : 0;
        size_t k = 0, cnt = sizeof known / sizeof known[0];
        while (k < cnt && (!equals || strlen(known[k].name) != (size_t)(equals - argv[i]) ||
                           strncmp(argv[i], known[k].name, strlen(known[k].name)) != 0))
            k++;
        if (k == cnt || value > known[k].max) {
            fprintf(stderr, "sim_gossip: %s? see its first lines\n", argv[i]);
            exit(2);
        }
        *known[k].value = value;
    }
    if (options.nodes <= options.links || options.messages == 0 || options.bytes < 4)
        exit(2);
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    struct weir_world_config cfg = {.size = sizeof cfg,
                                    .seed = options.seed,
                                    .window_bytes = 16384,
                                    .latency_ns = options.latency_ms * WEIR_NS_PER_MS};
    must(weir_world_create(&world, &cfg), "world");
    for (uint32_t i = 0; i < options.nodes; i++)
        start(i);
    connect_all();
    if (!weir_world_run_until(world, 60 * WEIR_NS_PER_S, is_connected, NULL)) {
        fprintf(stderr, "not all are connected after 60 s\n");
        return 1;
    }
    weir_world_network(world, options.latency_ms * WEIR_NS_PER_MS,
                       (uint32_t)(options.jitter_ms * WEIR_NS_PER_MS), (uint32_t)options.loss_ppm);
    uint64_t crashes = options.nodes * options.churn / 100, crashed = 0;
    for (uint32_t number = 0; number < options.messages; number++) {
        reached[number] = calloc(options.nodes, sizeof(weir_ns));
        if (!reached[number])
            return 1;
        publish(number);
        uint64_t due = crashes * (number + 1) / options.messages;
        for (; crashed < due; crashed++) {
            weir_world_run(world, options.latency_ms * WEIR_NS_PER_MS / 2);
            uint64_t victim = weir_world_random(world, options.nodes);
            while (!members[victim].node)
                victim = weir_world_random(world, options.nodes);
            weir_world_crash(world, members[victim].node, 0);
            weir_gossip_free(members[victim].gossip);
            members[victim].node = NULL;
            members[victim].gossip = NULL;
        }
        weir_world_run(world, PERIOD_NS);
    }
    weir_world_run(world, TAIL_NS);
    int failed = report();
    weir_world_free(world);
    for (uint32_t i = 0; i < options.nodes; i++)
        weir_gossip_free(members[i].gossip);
    for (uint32_t i = 0; i < options.messages; i++)
        free(reached[i]);
    return failed;
}
