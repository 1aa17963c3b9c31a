/* hostile: what one bad peer, or many strangers, cost everybody else. A report, and a test.
 *
 *     hostile [--check] [--seconds S] [--rounds N] [--settle S] [--only PART-OF-A-NAME] [--json FILE]
 *
 * For each attack, windows of three kinds take turns in one run, because figures of two runs cannot be compared:
 * quiet, attacked, and the *floor*: strangers' floods at a bare listener beside the victim, and, where peers are
 * bad, as many ordinary ones instead. The table has the good peers' round trips in all three (medians over the
 * windows), what the victim held, and its caps. Round trips count when an attack has gone on for a second (--settle):
 * before that, more peers come and fill their queues, which every peer does.
 *
 * A real attacker has a machine of its own. Here the victim has a processor of its own, and the attacker shares the
 * other one with the good peers, in the idle class, which gives way at once. What its system calls do in the kernel
 * is in the floor too.
 *
 * --check takes short windows and judges only what does not depend on speed: memory, caps, and that the good peers
 * get everything; it exits 1 when one of them does not hold.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <sched.h>
#include <sys/resource.h>

#include "tests/chaos/hostile_attacks.h"
#include "tests/chaos/hostile_bare.h"

#define STRANGERS 4000          /* for their memory */
#define STRANGER_BYTES_MAX 2048 /* of the victim's message memory, for each */
#define ROUNDS_MAX 64

static bool is_check;
static double settle_s = 1; /* of an attack before its round trips count */
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

/* ---- windows ------------------------------------------------------------------------------- */

struct figures {
    double p50_us[ROUNDS_MAX], p99_us[ROUNDS_MAX];
    int cnt;
    uint64_t pool_peak, handshakes_peak, rss_peak_kib;
};

static double percentile(const uint64_t buckets[HOSTILE_BUCKETS], double part)
{
    uint64_t all = 0, sum = 0;
    for (uint32_t i = 0; i < HOSTILE_BUCKETS; i++)
        all += buckets[i];
    for (uint32_t i = 0; i < HOSTILE_BUCKETS; i++) {
        sum += buckets[i];
        if ((double)sum >= part * (double)all && all)
            return hostile_bucket_us(i);
    }
    return 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int cnt)
{
    double sorted[ROUNDS_MAX];
    memcpy(sorted, values, (size_t)cnt * sizeof(*values));
    qsort(sorted, (size_t)cnt, sizeof(*sorted), compare);
    return cnt ? sorted[cnt / 2] : 0;
}

static void window(const struct attack *attack, double seconds, struct figures *figures)
{
    uint64_t buckets[HOSTILE_BUCKETS], step = 0;
    hostile->pool_peak = hostile->handshakes_peak = 0;
    if (attack)
        attack->begin();
    weir_ns until = weir_now() + (weir_ns)(settle_s * (double)WEIR_NS_PER_S);
    for (; attack && weir_now() < until; step++) {
        attack->step(step);
        usleep(1000);
    }
    uint64_t attempts = attempt_cnt;
    for (uint32_t i = 0; i < HOSTILE_BUCKETS; i++)
        buckets[i] = hostile->buckets[i];
    until = weir_now() + (weir_ns)(seconds * (double)WEIR_NS_PER_S);
    for (; weir_now() < until || (attack && attempt_cnt - attempts < attack->attempts_min);
         step++) {
        if (attack)
            attack->step(step);
        if (hostile->rss_kib > figures->rss_peak_kib)
            figures->rss_peak_kib = hostile->rss_kib;
        usleep(1000);
    }
    for (uint32_t i = 0; i < HOSTILE_BUCKETS; i++)
        buckets[i] = hostile->buckets[i] - buckets[i];
    figures->p50_us[figures->cnt] = percentile(buckets, 0.5);
    figures->p99_us[figures->cnt++] = percentile(buckets, 0.99);
    if (hostile->pool_peak > figures->pool_peak)
        figures->pool_peak = hostile->pool_peak;
    if (hostile->handshakes_peak > figures->handshakes_peak)
        figures->handshakes_peak = hostile->handshakes_peak;
    hang_up();
    usleep(100000); /* so that the next window has nothing of this one */
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

static void print_attack(const struct attack *attack, const struct figures *quiet,
                         const struct figures *floor, const struct figures *loud)
{
    double quiet_us = median(quiet->p99_us, quiet->cnt), loud_us = median(loud->p99_us, loud->cnt);
    double floor_us = floor->cnt ? median(floor->p99_us, floor->cnt) : quiet_us;
    printf("%-28s %7.0f %8.0f %7.0f %7.0f %8.0f %7.2f %8.2f %8llu %5llu %7llu\n", attack->name,
           median(quiet->p50_us, quiet->cnt), median(loud->p50_us, loud->cnt), quiet_us, floor_us,
           loud_us, loud_us / quiet_us, loud_us / floor_us,
           (unsigned long long)(loud->pool_peak >> 10), (unsigned long long)loud->handshakes_peak,
           (unsigned long long)attempt_cnt);
    if (!json)
        return;
    fprintf(
        json,
        "{\"attack\": \"%s\", \"quiet_p50_us\": %.1f, \"p50_us\": %.1f, \"quiet_p99_us\": %.1f, "
        "\"floor_p99_us\": %.1f, \"p99_us\": %.1f, \"pool_peak_bytes\": %llu, "
        "\"handshakes_peak\": %llu, \"rss_peak_kib\": %llu, \"quiet_rss_peak_kib\": %llu, "
        "\"attempts\": %llu, \"refused\": %llu}\n",
        attack->name, median(quiet->p50_us, quiet->cnt), median(loud->p50_us, loud->cnt), quiet_us,
        floor_us, loud_us, (unsigned long long)loud->pool_peak,
        (unsigned long long)loud->handshakes_peak, (unsigned long long)loud->rss_peak_kib,
        (unsigned long long)quiet->rss_peak_kib, (unsigned long long)attempt_cnt,
        (unsigned long long)hostile->refused);
    fflush(json);
}

static void run_attack(const struct attack *attack, double seconds, int rounds)
{
    pid_t children[2], bare = -1;
    static struct figures quiet, floor, loud;
    struct weir_config cfg;
    memset(&quiet, 0, sizeof(quiet));
    memset(&floor, 0, sizeof(floor));
    memset(&loud, 0, sizeof(loud));
    weir_config_init(&cfg);
    attempt_cnt = 0;
    hostile_start(children, 0, 0, true);
    if (!attack->floor && !is_check)
        bare = bare_start(cfg.handshakes_max);
    hostile_place(false);
    const struct sched_param param = {0};
    (void)sched_setscheduler(0, SCHED_IDLE, &param);
    usleep(300000);
    for (int i = 0; i < rounds; i++) {
        window(NULL, seconds, &quiet);
        attacked_address = bare > 0 ? hostile->bare_address : hostile->address;
        if (!is_check)
            window(attack->floor ? attack->floor : attack, seconds, &floor);
        attacked_address = hostile->address;
        window(attack, seconds, &loud);
    }
    settle(attack->name);
    bool is_alive = hostile_stop(children, true);
    if (bare > 0) {
        kill(bare, SIGKILL);
        waitpid(bare, NULL, 0);
    }
    HOLDS(is_alive, "%s: a process ended", attack->name);
    HOLDS(loud.handshakes_peak <= cfg.handshakes_max, "%s: %llu handshakes, the cap is %u",
          attack->name, (unsigned long long)loud.handshakes_peak, cfg.handshakes_max);
    /* A queue for every peer that does not read, a send in flight each, and what the good ones need. */
    uint64_t bound = (BAD_PEERS + HOSTILE_GOOD) * (2 * (uint64_t)HOSTILE_QUEUE_BYTES) +
                     (uint64_t)cfg.handshakes_max * STRANGER_BYTES_MAX;
    HOLDS(loud.pool_peak <= bound, "%s: %llu bytes of messages, the bounds sum up to %llu",
          attack->name, (unsigned long long)loud.pool_peak, (unsigned long long)bound);
    print_attack(attack, &quiet, &floor, &loud);
}

/* In a process of its own, whose scheduling class is nobody else's; adds to the count of failures. */
static void run_attack_apart(const struct attack *attack, double seconds, int rounds)
{
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        failed_cnt = 0;
        run_attack(attack, seconds, rounds);
        fflush(stdout);
        _exit(failed_cnt < 100 ? failed_cnt : 100);
    }
    int status = 0;
    waitpid(child, &status, 0);
    failed_cnt += WIFEXITED(status) ? WEXITSTATUS(status) : 1;
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
    attacked_address = hostile->address;
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
                                          {"only", required_argument, NULL, 'o'},
                                          {"json", required_argument, NULL, 'j'},
                                          {"settle", required_argument, NULL, 'S'},
                                          {NULL, 0, NULL, 0}};
    const char *only = NULL;
    double seconds = 3;
    int key, rounds = 3;
    while ((key = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (key == 'c')
            is_check = true, seconds = 1.5, rounds = 1, settle_s = 0;
        else if (key == 's')
            seconds = atof(optarg);
        else if (key == 'r')
            rounds = atoi(optarg) < ROUNDS_MAX ? atoi(optarg) : ROUNDS_MAX;
        else if (key == 'S')
            settle_s = atof(optarg);
        else if (key == 'o')
            only = optarg;
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
    static const struct {
        const char *name;
        size_t sent;
    } strangers[] = {{"connected and silent", 0},
                     {"one byte of the preface", 1},
                     {"a hello is announced", NATIVE_PREFACE_BYTES + WEIR_NATIVE_HEAD},
                     {"half of the largest hello", 1000},
                     {"2,000 bytes of the largest hello", 2000}};
    for (size_t i = 0; i < sizeof(strangers) / sizeof(*strangers); i++) {
        if (!only || strstr(strangers[i].name, only))
            run_strangers(strangers[i].name, strangers[i].sent);
    }
    printf("%-28s %7s %8s %7s %7s %8s %7s %8s %8s %5s %7s\n", "round trips in us", "p50",
           "attacked", "p99", "floor", "attacked", "/quiet", "/floor", "pool KiB", "hands",
           "dials");
    for (size_t i = 0; i < sizeof(attacks) / sizeof(*attacks); i++) {
        if ((!only || strstr(attacks[i].name, only)) && !(is_check && attacks[i].is_long))
            run_attack_apart(&attacks[i], seconds, rounds);
    }
    if (json)
        fclose(json);
    if (failed_cnt)
        printf("%d bounds do not hold\n", failed_cnt);
    return is_check && failed_cnt ? 1 : 0;
}
