/* hostile: what one bad peer, or many strangers, cost everybody else. A report, and a test.
 *
 *     hostile [--check] [--seconds S] [--rounds N] [--json FILE]
 *
 * For each attack, quiet windows and windows under attack take turns in one run, because figures of two
 * runs cannot be compared; the table has the round trips of the good peers in both, what the victim
 * held, and its caps. --check takes short windows and judges only what does not depend on speed: memory,
 * caps, and that the good peers get everything; it exits 1 when one of them does not hold.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "proto/native_wire.h"
#include "tests/chaos/hostile.h"

#define SOCKS_MAX 18000
#define STRANGERS 4000          /* for their memory */
#define STRANGER_BYTES_MAX 2048 /* of the victim's message memory, for each */
#define ATTEMPTS 20000
#define OPENING_BYTES_MAX (WEIR_HANDSHAKE_OUT_MAX + WEIR_NATIVE_HEAD + NATIVE_HELLO_BYTES_MAX)
#define BAD_PEERS 16
#define LORIS 600

static int socks[SOCKS_MAX];
static int sock_cnt;
static uint64_t attempt_cnt, refusal_cnt;
static bool is_check;
static int failed_cnt;
static FILE *json;

#define HOLDS(condition, ...)          \
    do {                               \
        if (!(condition)) {            \
            failed_cnt++;              \
            printf("DOES NOT HOLD: "); \
            printf(__VA_ARGS__);       \
            printf("\n");              \
        }                              \
    } while (0)

/* ---- sockets ------------------------------------------------------------------------------- */

/* A connection to the victim, or -1. */
static int dial(int recv_bytes)
{
    unsigned port = 0;
    if (sscanf(hostile->address, "127.0.0.1:%u", &port) != 1)
        hostile_die("address", 0);
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int one = 1;
    struct timeval patience = {.tv_sec = 30};
    if (sock < 0)
        hostile_die(strerror(errno), 0);
    if (recv_bytes)
        setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &recv_bytes, sizeof(recv_bytes));
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    attempt_cnt++;
    if (connect(sock, (struct sockaddr *)&in, sizeof(in)) == 0)
        return sock;
    refusal_cnt++;
    close(sock);
    return -1;
}

static void keep(int sock)
{
    if (sock >= 0 && sock_cnt < SOCKS_MAX)
        socks[sock_cnt++] = sock;
    else if (sock >= 0)
        close(sock);
}

static void hang_up(void)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    for (int i = 0; i < sock_cnt; i++) {
        setsockopt(socks[i], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        close(socks[i]);
    }
    sock_cnt = 0;
}

static void begin(void *state)
{
    static struct weir_channel_desc descs[2];
    static struct weir_offer offer;
    static uint8_t nonce;
    for (uint32_t i = 0; i < 2; i++)
        descs[i] = (struct weir_channel_desc){
            .id = (uint16_t)(i + 1), .weight = 1, .msg_bytes_max = 65536, .window_bytes = 1u << 30};
    offer = (struct weir_offer){.network_id = "weir",
                                .user_agent = "hostile",
                                .channels = descs,
                                .channel_cnt = 2,
                                .frame_bytes_max = 65536};
    memset(offer.nonce, ++nonce, sizeof(offer.nonce));
    weir_codec_native.begin(state, &offer, true);
}

/* A preface, and a hello of the largest size, whose bytes are not looked at before all of them are there. */
static size_t opening(uint8_t ret_bytes[OPENING_BYTES_MAX])
{
    void *state = calloc(1, weir_codec_native.state_bytes);
    memset(ret_bytes, 0, OPENING_BYTES_MAX);
    begin(state);
    size_t len = weir_codec_native.pull(state, ret_bytes, WEIR_HANDSHAKE_OUT_MAX);
    weir_codec_native.frame_head(ret_bytes + len, NATIVE_HELLO, NATIVE_CHANNEL_CONTROL, 0,
                                 ret_bytes + len + WEIR_NATIVE_HEAD, NATIVE_HELLO_BYTES_MAX);
    free(state);
    return len + WEIR_NATIVE_HEAD + NATIVE_HELLO_BYTES_MAX;
}

/* Lets the codec say what it has to say. */
static void pull(void *state, int sock)
{
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t len = weir_codec_native.pull(state, bytes, sizeof(bytes));
    if (len)
        (void)!send(sock, bytes, len, MSG_NOSIGNAL);
}

/* A peer that goes through the handshake; -1 when it is not let in. */
static int join(int recv_bytes)
{
    uint8_t bytes[4096];
    void *state = calloc(1, weir_codec_native.state_bytes);
    int sock = dial(recv_bytes);
    size_t got = 0;
    begin(state);
    if (sock >= 0)
        pull(state, sock);
    struct weir_feed feed = {0};
    while (sock >= 0 && !feed.is_ready) {
        /* A byte at a time: what follows the handshake stays where it is. */
        ssize_t more = got < sizeof(bytes) ? recv(sock, bytes + got, 1, 0) : 0;
        if (more <= 0) {
            close(sock);
            sock = -1;
            break;
        }
        got++;
        memset(&feed, 0, sizeof(feed));
        weir_codec_native.feed(state, bytes, got, NULL, 0, &feed);
        memmove(bytes, bytes + feed.consumed, got - feed.consumed);
        got -= feed.consumed;
        pull(state, sock);
    }
    free(state);
    return sock;
}

/* ---- attacks ------------------------------------------------------------------------------- */

static uint8_t loris_bytes[OPENING_BYTES_MAX];
static size_t loris_len;
static size_t loris_at;

static void begin_bad_peers(void)
{
    for (int i = 0; i < BAD_PEERS; i++)
        keep(join(4096));
}

/* One byte a second from each, spread over the second. */
static void step_slow_readers(uint64_t step)
{
    uint8_t byte;
    for (int i = 0; i < sock_cnt; i++)
        if (step % 100 == (uint64_t)i * 100 / BAD_PEERS)
            (void)!recv(socks[i], &byte, 1, MSG_DONTWAIT);
}

static void begin_loris(void)
{
    loris_len = opening(loris_bytes);
    loris_at = 0;
    for (int i = 0; i < LORIS; i++)
        keep(dial(0));
}

/* A byte of the handshake now and then; whoever was closed comes again. */
static void step_loris(uint64_t step)
{
    if (step % 10)
        return;
    for (int i = 0; i < sock_cnt; i++) {
        char byte;
        bool is_closed = recv(socks[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0 ||
                         send(socks[i], loris_bytes + loris_at, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0;
        if (!is_closed)
            continue;
        close(socks[i]);
        socks[i] = dial(0);
    }
    loris_at = (loris_at + 1) % loris_len;
}

static void step_attempts(uint64_t step)
{
    (void)step;
    if (sock_cnt >= 1000)
        hang_up();
    for (int i = 0; i < 200; i++)
        keep(dial(0));
}

static void nothing(uint64_t step)
{
    (void)step;
}

static void begin_nothing(void) {}

struct attack {
    const char *name;
    void (*begin)(void);
    void (*step)(uint64_t step); /* every 10 ms */
    uint64_t attempts_min;       /* the window is as long as these take */
};

static const struct attack attacks[] = {
    {"16 peers that read 1 byte/s", begin_bad_peers, step_slow_readers, 0},
    {"16 peers that never read", begin_bad_peers, nothing, 0},
    {"600 slow handshakes", begin_loris, step_loris, 0},
    {"20,000 connection attempts", begin_nothing, step_attempts, ATTEMPTS},
};

/* ---- windows ------------------------------------------------------------------------------- */

struct figures {
    uint64_t buckets[HOSTILE_BUCKETS];
    uint64_t pool_peak, handshakes_peak, rss_peak_kib;
};

static double percentile(const struct figures *figures, double part)
{
    uint64_t all = 0, sum = 0;
    for (uint32_t i = 0; i < HOSTILE_BUCKETS; i++)
        all += figures->buckets[i];
    for (uint32_t i = 0; i < HOSTILE_BUCKETS; i++) {
        sum += figures->buckets[i];
        if ((double)sum >= part * (double)all && all)
            return hostile_bucket_us(i);
    }
    return 0;
}

static void window(const struct attack *attack, double seconds, struct figures *figures)
{
    uint64_t before[HOSTILE_BUCKETS];
    for (uint32_t i = 0; i < HOSTILE_BUCKETS; i++)
        before[i] = hostile->buckets[i];
    hostile->pool_peak = hostile->handshakes_peak = 0;
    if (attack)
        attack->begin();
    uint64_t attempts = attempt_cnt;
    weir_ns until = weir_now() + (weir_ns)(seconds * (double)WEIR_NS_PER_S);
    for (uint64_t step = 0;
         weir_now() < until || (attack && attempt_cnt - attempts < attack->attempts_min); step++) {
        if (attack)
            attack->step(step);
        if (hostile->rss_kib > figures->rss_peak_kib)
            figures->rss_peak_kib = hostile->rss_kib;
        usleep(10000);
    }
    for (uint32_t i = 0; i < HOSTILE_BUCKETS; i++)
        figures->buckets[i] += hostile->buckets[i] - before[i];
    if (hostile->pool_peak > figures->pool_peak)
        figures->pool_peak = hostile->pool_peak;
    if (hostile->handshakes_peak > figures->handshakes_peak)
        figures->handshakes_peak = hostile->handshakes_peak;
}

/* The good peers fall silent: everything that they sent comes back. */
static void settle(const char *name)
{
    hostile->is_paused = true;
    weir_ns until = weir_now() + 60 * WEIR_NS_PER_S;
    do
        usleep(20000);
    while (hostile->good_received < hostile->good_sent && weir_now() < until);
    HOLDS(hostile->good_received == hostile->good_sent,
          "%s: the good peers miss %llu of %llu messages", name,
          (unsigned long long)(hostile->good_sent - hostile->good_received),
          (unsigned long long)hostile->good_sent);
    HOLDS(hostile->good_downs == 0, "%s: %u good peers went down", name, hostile->good_downs);
    hostile->is_paused = false;
}

static void run_attack(const struct attack *attack, double seconds, int rounds)
{
    pid_t children[2];
    static struct figures quiet, loud;
    memset(&quiet, 0, sizeof(quiet));
    memset(&loud, 0, sizeof(loud));
    attempt_cnt = refusal_cnt = 0;
    hostile_start(children, 0, 0, true);
    usleep(300000);
    for (int i = 0; i < rounds; i++) {
        window(NULL, seconds, &quiet);
        window(attack, seconds, &loud);
        hang_up();
        usleep(100000);
    }
    settle(attack->name);
    bool is_alive = hostile_stop(children, true);
    HOLDS(is_alive, "%s: a process ended", attack->name);
    struct weir_config cfg;
    weir_config_init(&cfg);
    HOLDS(loud.handshakes_peak <= cfg.handshakes_max, "%s: %llu handshakes, the cap is %u",
          attack->name, (unsigned long long)loud.handshakes_peak, cfg.handshakes_max);
    /* A queue for every peer that does not read, a send in flight each, and what the good ones need. */
    uint64_t bound = (BAD_PEERS + HOSTILE_GOOD) * (2 * (uint64_t)HOSTILE_QUEUE_BYTES) +
                     (uint64_t)cfg.handshakes_max * STRANGER_BYTES_MAX;
    HOLDS(loud.pool_peak <= bound, "%s: %llu bytes of messages, the bounds sum up to %llu",
          attack->name, (unsigned long long)loud.pool_peak, (unsigned long long)bound);
    printf("%-30s %9.0f %9.0f %9.0f %9.0f %7.2f %9llu %6llu %9llu %8llu\n", attack->name,
           percentile(&quiet, 0.5), percentile(&loud, 0.5), percentile(&quiet, 0.99),
           percentile(&loud, 0.99), percentile(&loud, 0.99) / percentile(&quiet, 0.99),
           (unsigned long long)(loud.pool_peak >> 10), (unsigned long long)loud.handshakes_peak,
           (unsigned long long)loud.rss_peak_kib, (unsigned long long)attempt_cnt);
    if (json)
        fprintf(
            json,
            "{\"attack\": \"%s\", \"quiet_p50_us\": %.1f, \"p50_us\": %.1f, \"quiet_p99_us\": %.1f, "
            "\"p99_us\": %.1f, \"pool_peak_bytes\": %llu, \"handshakes_peak\": %llu, "
            "\"rss_peak_kib\": %llu, \"quiet_rss_peak_kib\": %llu, \"attempts\": %llu, \"refused\": %llu}\n",
            attack->name, percentile(&quiet, 0.5), percentile(&loud, 0.5), percentile(&quiet, 0.99),
            percentile(&loud, 0.99), (unsigned long long)loud.pool_peak,
            (unsigned long long)loud.handshakes_peak, (unsigned long long)loud.rss_peak_kib,
            (unsigned long long)quiet.rss_peak_kib, (unsigned long long)attempt_cnt,
            (unsigned long long)hostile->refused);
    fflush(stdout);
}

/* ---- what a stranger costs ------------------------------------------------------------------ */

/* Many strangers who have sent so many bytes of their handshake and wait. */
static void run_strangers(const char *name, size_t sent)
{
    uint8_t bytes[OPENING_BYTES_MAX];
    pid_t children[2];
    size_t len = opening(bytes);
    if (sent >= len)
        hostile_die("that is all of it", 0);
    hostile_start(children, STRANGERS, STRANGERS + 64, false);
    usleep(100000);
    uint64_t rss = hostile->rss_kib, pool = hostile->pool_bytes;
    for (int i = 0; i < STRANGERS; i++) {
        int sock = dial(4096);
        if (sock >= 0 && sent && send(sock, bytes, sent, MSG_NOSIGNAL) != (ssize_t)sent) {
            close(sock);
            sock = -1;
        }
        keep(sock);
    }
    HOLDS(sock_cnt == STRANGERS, "%s: %d strangers were let in", name, sock_cnt);
    weir_ns until = weir_now() + 30 * WEIR_NS_PER_S;
    while (hostile->handshakes < STRANGERS && weir_now() < until)
        usleep(5000);
    /* The last bytes have arrived when nothing changes for half a second. */
    for (uint64_t held = UINT64_MAX; held != hostile->pool_bytes && weir_now() < until;) {
        held = hostile->pool_bytes;
        usleep(500000);
        hostile_await(&hostile->polls, hostile->polls + 3);
    }
    uint64_t cnt = hostile->handshakes;
    double per_pool = cnt ? (double)(hostile->pool_bytes - pool) / (double)cnt : 0;
    double per_rss = cnt ? (double)(hostile->rss_kib - rss) * 1024.0 / (double)cnt : 0;
    HOLDS(cnt > STRANGERS / 2, "%s: %llu strangers are pending", name, (unsigned long long)cnt);
    HOLDS(per_pool <= STRANGER_BYTES_MAX, "%s: a stranger holds %.0f bytes of message memory", name,
          per_pool);
    printf("%-44s %6llu strangers: %5.0f bytes of message memory, %5.0f resident each\n", name,
           (unsigned long long)cnt, per_pool, per_rss);
    if (json)
        fprintf(
            json,
            "{\"strangers\": \"%s\", \"count\": %llu, \"pool_bytes_each\": %.0f, \"rss_bytes_each\": %.0f}\n",
            name, (unsigned long long)cnt, per_pool, per_rss);
    HOLDS(hostile_stop(children, false), "%s: the victim ended", name);
    hang_up();
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"check", no_argument, NULL, 'c'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"rounds", required_argument, NULL, 'r'},
                                          {"json", required_argument, NULL, 'j'},
                                          {NULL, 0, NULL, 0}};
    double seconds = 3;
    int key, rounds = 3;
    while ((key = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (key == 'c')
            is_check = true, seconds = 1.5, rounds = 1;
        else if (key == 's')
            seconds = atof(optarg);
        else if (key == 'r')
            rounds = atoi(optarg);
        else if (key == 'j' && (json = fopen(optarg, "w")) != NULL)
            continue;
        else
            return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
        getrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur < STRANGERS + 200) {
        printf("skipped: %llu descriptors are too few\n", (unsigned long long)files.rlim_cur);
        return 77;
    }
    hostile =
        mmap(NULL, sizeof(*hostile), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (hostile == MAP_FAILED)
        hostile_die("memory", 0);
    run_strangers("connected and silent", 0);
    run_strangers("one byte of the preface", 1);
    run_strangers("a hello is announced", NATIVE_PREFACE_BYTES + WEIR_NATIVE_HEAD);
    run_strangers("half of the largest hello", 1000);
    run_strangers("2,000 bytes of the largest hello", 2000);
    printf("%-30s %9s %9s %9s %9s %7s %9s %6s %9s %8s\n", "attack", "p50 us", "attacked", "p99 us",
           "attacked", "ratio", "pool KiB", "hands", "rss KiB", "dials");
    for (size_t i = 0; i < sizeof(attacks) / sizeof(*attacks); i++)
        run_attack(&attacks[i], seconds, rounds);
    if (json)
        fclose(json);
    if (failed_cnt)
        printf("%d bounds do not hold\n", failed_cnt);
    return is_check && failed_cnt ? 1 : 0;
}
