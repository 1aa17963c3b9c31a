/* bench/candidates/main.c: weir-candidates GROUP: the variants of a group in turns, medians, ratios to the first.
 *
 * --veth sends through a pair of virtual network cards between two network namespaces of this program's own,
 * which end with it; that wants root.
 */
#include "bench/candidates/candidates.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

/* ---- the place: loopback, or two namespaces with a veth pair ------------------------------------- */

static const char *addr = "127.0.0.1";
static int far_ns = -1; /* of the receiver */
static pid_t far_pid;

/* Virtual cards poll (and have a NAPI instance) only while they merge packets. */
static void merge_packets(const char *device)
{
    struct ethtool_value value = {.cmd = ETHTOOL_SGRO, .data = 1};
    struct ifreq request = {.ifr_data = (char *)&value};
    int sock = socket(AF_INET, SOCK_DGRAM, 0);

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
    if (ioctl(sock, SIOCETHTOOL, &request) != 0)
        fprintf(stderr, "weir-candidates: %s does not merge packets: %s\n", device,
                strerror(errno));
    close(sock);
}

static bool make_veth(void)
{
    char text[400];
    int pipes[2];
    char ready;

    if (unshare(CLONE_NEWNET) != 0 || pipe(pipes) != 0)
        return false;
    far_pid = fork();
    if (far_pid == 0) { /* holds the other namespace */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNET) != 0 || write(pipes[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    if (far_pid < 0 || read(pipes[0], &ready, 1) != 1)
        return false;
    snprintf(text, sizeof(text), "/proc/%d/ns/net", far_pid);
    far_ns = open(text, O_RDONLY | O_CLOEXEC);
    snprintf(
        text, sizeof(text),
        "ip link add wc0 type veth peer name wc1 netns %d && ip addr add 10.99.0.1/24 dev wc0 && ip link set wc0 up && "
        "nsenter -t %d -n sh -c 'ip addr add 10.99.0.2/24 dev wc1 && ip link set wc1 up'",
        far_pid, far_pid);
    if (far_ns < 0 || system(text) != 0)
        return false;
    merge_packets("wc0");
    int near_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (setns(far_ns, CLONE_NEWNET) == 0)
        merge_packets("wc1");
    addr = "10.99.0.2";
    return setns(near_ns, CLONE_NEWNET) == 0;
}

/* ---- one run -------------------------------------------------------------------------------------- */

static void pin(int nth)
{
    cpu_set_t cpus, one;

    sched_getaffinity(0, sizeof(cpus), &cpus);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &cpus) && nth-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof(one), &one);
            return;
        }
}

/* What the sockets of both sides have. */
static const char *congestion(void)
{
    static char name[17];
    socklen_t len = sizeof(name) - 1;
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(sock, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
    getsockopt(sock, IPPROTO_TCP, TCP_CONGESTION, name, &len);
    close(sock);
    return name;
}

static pid_t start(struct run *run, void (*side)(struct run *run), int cpu)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(cpu);
    setpriority(PRIO_PROCESS, 0, -10); /* as weir-bench, where it may */
    if (cpu == 1 && far_ns >= 0 && setns(far_ns, CLONE_NEWNET) != 0)
        die(run, "the other namespace", errno);
    side(run);
    _exit(0); /* its buffers end with it */
}

static bool run_one(const struct group *group, const struct variant *variant, double seconds,
                    struct shared *shared)
{
    struct run run = {variant, shared, seconds, addr};

    memset(shared, 0, sizeof(*shared));
    pid_t sender = start(&run, group->is_ping ? ping_send : stream_send, 0);
    pid_t receiver = start(&run, group->is_ping ? ping_recv : stream_recv, 1);
    int first = 1, second = 1;
    pid_t ended = wait(&first); /* one that fails would leave the other waiting */
    if (first != 0)
        kill(ended == sender ? receiver : sender, SIGTERM);
    wait(&second);
    if (first == 0 && second == 0 && shared->sent == shared->received)
        return true;
    fprintf(stderr, "weir-candidates: %s: %s\n", variant->name,
            shared->text[0] != '\0' ? shared->text : "frames were lost");
    return false;
}

/* ---- all of them ---------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, int cnt)
{
    qsort(values, (size_t)cnt, sizeof(*values), by_size);
    return values[cnt / 2];
}

/* What is compared: GB/s, or microseconds of a round trip. */
static double figure(const struct group *group, const struct shared *shared)
{
    return group->is_ping ? shared->p50_us : shared->bytes_per_s * 1e-9;
}

#define REPEAT_MAX 99

static int run_group(const struct group *group, double seconds, int repeat, struct shared *shared)
{
    static double values[VARIANTS_MAX][REPEAT_MAX], ratios[VARIANTS_MAX][REPEAT_MAX];
    static double cpu[VARIANTS_MAX][REPEAT_MAX], p99[VARIANTS_MAX][REPEAT_MAX];
    double notices[VARIANTS_MAX] = {0}, copied[VARIANTS_MAX] = {0};
    bool has_failed[VARIANTS_MAX] = {false};
    int cnt = 0, code = 0;

    while (cnt < VARIANTS_MAX && group->variants[cnt].name != NULL)
        cnt++;
    for (int round = 0; round < repeat; round++)
        for (int i = 0; i < cnt; i++) {
            if (has_failed[i] || !run_one(group, &group->variants[i], seconds, shared)) {
                has_failed[i] = true;
                code = 1;
                continue;
            }
            values[i][round] = figure(group, shared);
            double base = values[group->variants[i].base_idx][round];
            ratios[i][round] = base > 0 ? values[i][round] / base : 0;
            cpu[i][round] = shared->cpu_s_per_gb;
            p99[i][round] = shared->p99_us;
            notices[i] += shared->notices;
            copied[i] += shared->notices_copied;
        }
    printf("%s: %s\n%d runs of %.2g s in turns, %s, %s, medians\n", group->name, group->question,
           repeat, seconds, far_ns >= 0 ? "veth" : "loopback", congestion());
    printf("  %-26s %10s %8s %16s\n", "", group->is_ping ? "p50 us" : "GB/s", "ratio",
           group->is_ping ? "p99 us, a core" : "rcv CPU s/GB");
    for (int i = 0; i < cnt; i++) {
        if (has_failed[i]) {
            printf("  %-26s %10s\n", group->variants[i].name, "failed");
            continue;
        }
        printf("  %-26s %10.2f %8.2f", group->variants[i].name, median(values[i], repeat),
               median(ratios[i], repeat));
        if (group->is_ping)
            printf(" %8.1f", median(p99[i], repeat));
        printf(" %7.3f", median(cpu[i], repeat));
        if (notices[i] > 0)
            printf("  copied after all: %.0f %%", 100 * copied[i] / notices[i]);
        printf("\n");
    }
    return code;
}

static int usage(void)
{
    fprintf(stderr, "usage: weir-candidates GROUP [--seconds S] [--repeat N] [--veth]\ngroups:\n");
    for (size_t i = 0; i < candidate_group_cnt; i++)
        fprintf(stderr, "  %-9s %s\n", candidate_groups[i].name, candidate_groups[i].question);
    fprintf(
        stderr,
        "  hash      XXH3 one by one, or in batches that prefetch\n"
        "  gaps      for how long each core is taken away from a loop that looks at the clock\n");
    return 2;
}

int main(int argc, char **argv)
{
    double seconds = 0.3;
    int repeat = 5;

    if (argc < 2)
        return usage();
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = atof(argv[++i]);
        else if (strcmp(argv[i], "--repeat") == 0 && i + 1 < argc)
            repeat = atoi(argv[++i]);
        else if (strcmp(argv[i], "--veth") != 0)
            return usage();
        else if (!make_veth()) {
            fprintf(
                stderr,
                "weir-candidates: no network namespaces or no veth here (root and iproute2 are needed)\n");
            return 3;
        }
    }
    if (repeat < 1 || repeat > REPEAT_MAX || seconds <= 0 || seconds > 60)
        return usage();
    if (strcmp(argv[1], "hash") == 0)
        return hash_compare(repeat);
    if (strcmp(argv[1], "gaps") == 0)
        return gaps_show(seconds);

    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    for (size_t i = 0; i < candidate_group_cnt; i++)
        if (strcmp(argv[1], candidate_groups[i].name) == 0) {
            int code = run_group(&candidate_groups[i], seconds, repeat, shared);
            if (far_pid > 0)
                kill(far_pid, SIGKILL);
            return code;
        }
    return usage();
}
