/* crowd.c: many small nodes in one process, for scripts/crowd: peers of one node, and of each other.
 *
 *     crowd HUB DIR TOTAL FIRST CNT LINKS PING_MS TIMEOUT_MS PLAIN
 *
 * Of TOTAL nodes these are FIRST to FIRST + CNT - 1. They listen at unix sockets in DIR, and each dials the hub and LINKS others,
 * drawn at random (the same ones each time); all gossip. One thread turns all of them. On standard input come lines:
 *
 *     say NUMBER IDX    node IDX publishes message NUMBER
 *     end               prints what came of it, and ends
 *
 * On standard output go JSON lines: twice a second how many are connected, in the end all. The crowd judges nothing. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <weir/weir.h>

#define MESSAGES_MAX 512u
#define SAID_BYTES 200u
#define NAP_NS (5 * WEIR_NS_PER_MS) /* when nobody had anything to do */
#define SAY_NS (500 * WEIR_NS_PER_MS)
#define DIALS_AT_ONCE 64u
#define LINKS_MAX 8u

struct member {
    weir_node *node;
    weir_gossip *gossip;
    weir_peer hub; /* {0}: not connected to it */
    uint32_t idx, peer_cnt;
    uint8_t heard[MESSAGES_MAX / 8];
};

static struct {
    const char *hub, *dir;
    uint32_t total, first, cnt, link_cnt;
    uint64_t ping_ns, timeout_ns;
    bool is_plain;
} options;

static struct member *members;
static uint32_t hub_cnt, hub_lost_cnt, link_cnt, link_lost_cnt;
static uint32_t hub_late_cnt, link_late_cnt; /* of those lost: no answer to a ping in time */
static weir_ns round_most_ns;                /* the longest that a node waited for its next turn */
static uint64_t reasons[WEIR_REASONS_MAX];
static uint32_t *delays_us[MESSAGES_MAX], delay_cnts[MESSAGES_MAX];
static uint64_t heard_cnt, damaged_cnt, twice_cnt;

static void must(int error, const char *what)
{
    if (!error)
        return;
    fprintf(stderr, "crowd: %s: %s (%s) %s\n", what, weir_error_text(error), weir_error_name(error),
            weir_error_remedy(error));
    exit(1);
}

/* SplitMix64 (Steele, Lea and Flood, 2014). */
static uint64_t mix(uint64_t z)
{
    z += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* ---- what is said -------------------------------------------------------------------------- */

/* A message: its number, when it was published, and bytes that follow from the number. */
struct said {
    uint64_t number, at_ns;
    uint8_t rest[SAID_BYTES - 16];
};

static void say(uint32_t number, uint32_t idx)
{
    struct said said = {.number = number, .at_ns = weir_node_now(members[0].node)};
    for (size_t i = 0; i < sizeof(said.rest); i++)
        said.rest[i] = (uint8_t)mix(number + i);
    struct member *member = &members[idx - options.first];
    int64_t to = weir_gossip_publish(member->gossip, &said, sizeof(said), NULL);
    must(to < 0 ? (int)to : 0, "publish");
}

static void on_messages(void *ctx, struct weir_gossip_msg *msgs, uint32_t msg_cnt)
{
    struct member *member = ctx;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        struct said said;
        bool is_good = msgs[i].len == sizeof(said);
        if (is_good) {
            memcpy(&said, msgs[i].data, sizeof(said));
            is_good = said.number < MESSAGES_MAX;
            for (size_t k = 0; is_good && k < sizeof(said.rest); k++)
                is_good = said.rest[k] == (uint8_t)mix(said.number + k);
        }
        if (!is_good) {
            damaged_cnt++;
            continue;
        }
        uint8_t *heard = &member->heard[said.number / 8], bit = (uint8_t)(1u << said.number % 8);
        twice_cnt += (*heard & bit) != 0;
        if (*heard & bit)
            continue;
        *heard |= bit;
        heard_cnt++;
        uint32_t **delays = &delays_us[said.number];
        if (!*delays && !(*delays = malloc(options.cnt * sizeof(**delays))))
            must(WEIR_E_NOMEM, "delays");
        (*delays)[delay_cnts[said.number]++] =
            (uint32_t)((weir_node_now(member->node) - said.at_ns) / WEIR_NS_PER_US);
    }
}

/* ---- nodes --------------------------------------------------------------------------------- */

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct member *member = ctx;
    struct weir_peer_info info = {.size = sizeof(info)};
    if (event == WEIR_PEER_UP) {
        member->peer_cnt++;
        link_cnt++;
        if (weir_peer_info(member->node, peer, &info) == 0 && info.is_dialer &&
            strcmp(info.dialed, options.hub) == 0) {
            member->hub = peer;
            hub_cnt++;
            link_cnt--;
        }
        return;
    }
    if (event != WEIR_PEER_DOWN) /* a dial that failed is dialed again */
        return;
    reasons[reason]++;
    member->peer_cnt--;
    if (member->hub.v == peer.v) {
        member->hub = (weir_peer){0};
        hub_cnt--;
        hub_lost_cnt++;
        hub_late_cnt += reason == WEIR_R_PING_TIMEOUT;
    } else {
        link_cnt--;
        link_lost_cnt++;
        link_late_cnt += reason == WEIR_R_PING_TIMEOUT;
    }
}

static void socket_path(char ret_address[160], uint32_t idx)
{
    snprintf(ret_address, 160, "unix:%s/%u", options.dir, idx);
}

static void start(struct member *member)
{
    struct weir_config cfg = {.size = sizeof(cfg),
                              .flags = WEIR_CONFIG_CALLER_TURNS,
                              .peers_max = 20,
                              .handshakes_max = 20,
                              .dials_max = LINKS_MAX + 1,
                              .recv_buf_cnt = 2,
                              .recv_buf_bytes = 4096,
                              .ping_interval_ns = options.ping_ns,
                              .ping_timeout_ns = options.timeout_ns,
                              .idle_timeout_ns = 3 * options.timeout_ns,
                              .redial_max_ns = 2 * WEIR_NS_PER_S, /* others may begin later */
                              .names_max = 1,
                              .bans_max = 16,
                              .known_max = UINT32_MAX,
                              .handshake_timeout_ns = 60 * WEIR_NS_PER_S,
                              .secure = options.is_plain ? WEIR_SECURE_PLAIN : WEIR_SECURE_REQUIRE};
    struct weir_gossip_config gossip = {.size = sizeof(gossip),
                                        .fanout = 3,
                                        .seen_max = MESSAGES_MAX,
                                        .store_max = 64,
                                        .wants_max = 64,
                                        .ctx = member,
                                        .on_messages = on_messages};
    struct weir_reactor reactor = {.size = sizeof(reactor), .ctx = member, .on_peer = on_peer};
    char address[160];
    must(weir_node_create(&member->node, &cfg), "a node");
    must(weir_node_attach(member->node, &reactor, NULL, 0), "attach");
    must(weir_gossip_create(&member->gossip, member->node, &gossip), "gossip");
    socket_path(address, member->idx);
    must(weir_node_listen(member->node, address), address);
    must(weir_node_start(member->node), "start");
}

static void dial(struct member *member)
{
    char address[160];
    uint64_t random = member->idx;
    must(weir_dial(member->node, options.hub, WEIR_DIAL_PERSIST), options.hub);
    /* Up to half of the way round, so that no two dial each other. */
    uint32_t steps[LINKS_MAX], cnt = 0;
    while (cnt < options.link_cnt) {
        random = mix(random);
        uint32_t k = 0, step = 1 + (uint32_t)(random % ((options.total - 1) / 2));
        while (k < cnt && steps[k] != step)
            k++;
        if (k < cnt)
            continue;
        steps[cnt++] = step;
        socket_path(address, (member->idx + step) % options.total);
        must(weir_dial(member->node, address, WEIR_DIAL_PERSIST), address);
    }
}

/* ---- reports ------------------------------------------------------------------------------- */

static void report(void)
{
    uint32_t answered_cnt = 0; /* nodes that have an answer of the hub to a ping */
    for (uint32_t i = 0; i < options.cnt; i++) {
        struct weir_peer_info info = {.size = sizeof(info)};
        answered_cnt += members[i].hub.v != 0 &&
                        weir_peer_info(members[i].node, members[i].hub, &info) == 0 &&
                        info.rtt_ns != 0;
    }
    printf("{\"event\":\"crowd\",\"nodes\":%u,\"hub\":%u,\"links\":%u,\"hub_lost\":%u,"
           "\"links_lost\":%u,\"hub_late\":%u,\"links_late\":%u,\"round_ms\":%" PRIu64
           ",\"heard\":%" PRIu64 ",\"answered\":%u}\n",
           options.cnt, hub_cnt, link_cnt, hub_lost_cnt, link_lost_cnt, hub_late_cnt, link_late_cnt,
           round_most_ns / WEIR_NS_PER_MS, heard_cnt, answered_cnt);
    fflush(stdout);
}

static void report_end(void)
{
    uint64_t delivered = 0, duplicates = 0;
    printf("{\"event\":\"end\",\"rtt_us\":[");
    for (uint32_t i = 0; i < options.cnt; i++) {
        struct weir_peer_info info = {.size = sizeof(info)};
        struct weir_gossip_stats stats = {.size = sizeof(stats)};
        (void)weir_peer_info(members[i].node, members[i].hub, &info);
        must(weir_gossip_stats_read(members[i].gossip, &stats), "counters");
        delivered += stats.delivered;
        duplicates += stats.duplicates;
        printf("%s%" PRIu64, i ? "," : "", info.rtt_ns / WEIR_NS_PER_US);
    }
    printf("],\"delays_us\":{");
    const char *comma = "";
    for (uint32_t i = 0; i < MESSAGES_MAX; i++) {
        if (!delay_cnts[i])
            continue;
        printf("%s\"%u\":[", comma, i);
        for (uint32_t k = 0; k < delay_cnts[i]; k++)
            printf("%s%u", k ? "," : "", delays_us[i][k]);
        printf("]");
        comma = ",";
    }
    printf("},\"closes\":{");
    comma = "";
    for (int i = 0; i < WEIR_REASON_CNT; i++) {
        if (!reasons[i])
            continue;
        printf("%s\"%s\":%" PRIu64, comma, weir_reason_name(i), reasons[i]);
        comma = ",";
    }
    printf("},\"delivered\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"damaged\":%" PRIu64
           ",\"twice\":%" PRIu64 "}\n",
           delivered, duplicates, damaged_cnt, twice_cnt);
    fflush(stdout);
}

/* ---- the loop ------------------------------------------------------------------------------ */

/* Reads what was asked for, without waiting. False: it is to end. */
static bool obey(void)
{
    static char text[4096];
    static size_t len;
    ssize_t got = read(STDIN_FILENO, text + len, sizeof(text) - 1 - len);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        return false;
    len += got > 0 ? (size_t)got : 0;
    text[len] = '\0';
    for (char *end; (end = strchr(text, '\n')) != NULL;) {
        unsigned number, idx;
        *end = '\0';
        if (sscanf(text, "say %u %u", &number, &idx) == 2 && number < MESSAGES_MAX &&
            idx >= options.first && idx - options.first < options.cnt) {
            say(number, idx);
        } else if (strcmp(text, "end") == 0) {
            return false;
        } else {
            fprintf(stderr, "crowd: '%s'?\n", text);
            exit(2);
        }
        len -= (size_t)(end + 1 - text);
        memmove(text, end + 1, len + 1);
    }
    return true;
}

static void run(void)
{
    uint32_t dialing = 0;
    weir_ns next_report = 0, begun = weir_node_now(members[0].node);
    while (obey()) {
        uint64_t done = 0;
        for (uint32_t i = 0; i < options.cnt; i++) {
            int64_t cnt = weir_node_turn(members[i].node, 0, 0);
            must(cnt < 0 ? (int)cnt : 0, "a turn");
            done += (uint64_t)cnt;
        }
        for (uint32_t i = 0;
             i < DIALS_AT_ONCE && dialing < options.cnt && dialing < hub_cnt + DIALS_AT_ONCE; i++)
            dial(&members[dialing++]);
        weir_ns now = weir_node_now(members[0].node);
        round_most_ns = now - begun > round_most_ns ? now - begun : round_most_ns;
        begun = now;
        if (now >= next_report) {
            report();
            next_report = now + SAY_NS;
        }
        if (done == 0)
            nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
    }
}

int main(int argc, char **argv)
{
    if (argc != 10) {
        fprintf(stderr, "usage: crowd HUB DIR TOTAL FIRST CNT LINKS PING_MS TIMEOUT_MS PLAIN\n");
        return 2;
    }
    options.hub = argv[1];
    options.dir = argv[2];
    options.total = (uint32_t)strtoul(argv[3], NULL, 10);
    options.first = (uint32_t)strtoul(argv[4], NULL, 10);
    options.cnt = (uint32_t)strtoul(argv[5], NULL, 10);
    options.link_cnt = (uint32_t)strtoul(argv[6], NULL, 10);
    options.ping_ns = strtoull(argv[7], NULL, 10) * WEIR_NS_PER_MS;
    options.timeout_ns = strtoull(argv[8], NULL, 10) * WEIR_NS_PER_MS;
    options.is_plain = strtoul(argv[9], NULL, 10) != 0;
    if (options.cnt == 0 || options.total == 0 || options.link_cnt > LINKS_MAX ||
        options.link_cnt > (options.total - 1) / 2) {
        fprintf(stderr, "crowd: no nodes, or more links than others\n");
        return 2;
    }
    members = calloc(options.cnt, sizeof(*members));
    if (!members)
        must(WEIR_E_NOMEM, "members");
    for (uint32_t i = 0; i < options.cnt; i++) {
        members[i].idx = options.first + i;
        start(&members[i]); /* all listen before anybody dials */
    }
    (void)fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    run();
    report_end();
    for (uint32_t i = 0; i < options.cnt; i++) {
        weir_node_free(members[i].node);
        weir_gossip_free(members[i].gossip);
    }
    for (uint32_t i = 0; i < MESSAGES_MAX; i++)
        free(delays_us[i]);
    free(members);
    return 0;
}
