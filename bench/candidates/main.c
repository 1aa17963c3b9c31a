/* bench/candidates/main.c: weir-candidates GROUP: the variants of a group in turns, medians, ratios to the first.
 *
 * --veth sends through a pair of virtual network cards between two network namespaces of this program's own,
 * which end with it; that wants root.
 */
#include "bench/candidates/json_out.h"

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

double median(double *values, int cnt)
{
    qsort(values, (size_t)cnt, sizeof(*values), by_size);
    return values[cnt / 2];
}

/* What is compared: GB/s, or microseconds of a round trip. */
static double figure(const struct group *group, const struct shared *shared)
{
    return group->is_ping ? shared->p50_us : shared->bytes_per_s * 1e-9;
}

/* A variant's entry of the document; `values` and the others are in order afterwards. */
static json_t *result_of(const struct group *group, const struct variant *variant, int repeat,
                         double *values, double *ratios, double *cpu, double *p50, double *p99)
{
    json_t *out = json_pack("{s:s}", "variant", variant->name);

    json_add(out, group->is_ping ? "p50_ns" : "bytes_per_s", values, repeat,
             group->is_ping ? 1e3 : 1e9);
    if (group->is_ping)
        json_add(out, "p99_ns", p99, repeat, 1e3);
    if (group->is_urgent && p50[0] > 0) {
        json_add(out, "p50_ns", p50, repeat, 1e3);
        json_add(out, "p99_ns", p99, repeat, 1e3);
    }
    json_add(out, group->is_ping ? "cores" : "receiver_cpu_s_per_gb", cpu, repeat, 1);
    json_add(out, "ratio", ratios, repeat, 1);
    json_object_set_new(out, "ratio_to", json_string(group->variants[variant->base_idx].name));
    return out;
}

static int run_group(const struct group *group, double seconds, int repeat, struct shared *shared,
                     json_t *results)
{
    static double values[VARIANTS_MAX][REPEAT_MAX], ratios[VARIANTS_MAX][REPEAT_MAX];
    static double cpu[VARIANTS_MAX][REPEAT_MAX], p50[VARIANTS_MAX][REPEAT_MAX],
        p99[VARIANTS_MAX][REPEAT_MAX];
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
            p50[i][round] = shared->p50_us;
            p99[i][round] = shared->p99_us;
            notices[i] += shared->notices;
            copied[i] += shared->notices_copied;
        }
    printf("%s: %s\n%d runs of %.2g s in turns, %s, %s, medians\n", group->name, group->question,
           repeat, seconds, far_ns >= 0 ? "veth" : "loopback", congestion());
    printf("  %-26s %10s %8s %16s\n", "", group->is_ping ? "p50 us" : "GB/s", "ratio",
           group->is_ping     ? "p99 us, a core"
           : group->is_urgent ? "p50 us   p99 us  rcv CPU s/GB"
                              : "rcv CPU s/GB");
    for (int i = 0; i < cnt; i++) {
        if (has_failed[i]) {
            printf("  %-26s %10s\n", group->variants[i].name, "failed");
            json_array_append_new(results, json_pack("{s:s, s:b}", "variant",
                                                     group->variants[i].name, "is_failed", 1));
            continue;
        }
        json_t *result = result_of(group, &group->variants[i], repeat, values[i], ratios[i], cpu[i],
                                   p50[i], p99[i]);
        if (notices[i] > 0)
            json_object_set_new(result, "copied_percent", json_real(100 * copied[i] / notices[i]));
        json_array_append_new(results, result);
        printf("  %-26s %10.2f %8.2f", group->variants[i].name, median(values[i], repeat),
               median(ratios[i], repeat));
        if (group->is_urgent)
            printf(" %8.1f", median(p50[i], repeat));
        if (group->is_ping || group->is_urgent)
            printf(" %8.1f", median(p99[i], repeat));
        printf(" %7.3f", median(cpu[i], repeat));
        if (notices[i] > 0)
            printf("  copied after all: %.0f %%", 100 * copied[i] / notices[i]);
        printf("\n");
    }
    return code;
}

/* Runs what was asked for. `results` gets an entry for each line of the table. */
static int run(const struct options *options, json_t *results)
{
    if (options->what == WHAT_HASH)
        return hash_compare(options->repeat, results);
    if (options->what == WHAT_GAPS)
        return gaps_show(options->seconds, results);
    if (options->what == WHAT_COPY)
        return copy_compare(options->repeat, results);
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    int code = run_group(options->group, options->seconds, options->repeat, shared, results);
    munmap(shared, sizeof(*shared));
    return code;
}

int main(int argc, char **argv)
{
    struct options options;
    struct bench_machine machine;
    FILE *file = NULL;

    switch (options_parse(&options, argc, argv)) {
    case PARSED_GO:
        break;
    case PARSED_STOP_OK:
        return 0;
    case PARSED_STOP_USAGE:
        return 2;
    }
    /* Opened now, so that minutes of measuring are not lost to a wrong name. */
    if (options.json_path != NULL && (file = fopen(options.json_path, "we")) == NULL) {
        fprintf(stderr, "weir-candidates: --json: '%s' cannot be written: %s\n", options.json_path,
                strerror(errno));
        return 2;
    }
    if (options.is_veth && !make_veth()) {
        fprintf(
            stderr,
            "weir-candidates: no network namespaces or no veth here (root and iproute2 are needed)\n");
        return 3;
    }
    bench_machine_look(&machine);
    json_t *results = json_array();
    int code = run(&options, results);
    if (far_pid > 0)
        kill(far_pid, SIGKILL);
    if (file == NULL) {
        json_decref(results);
    } else if (!json_write(file, &options, congestion(), &machine, results)) {
        fprintf(stderr, "weir-candidates: '%s' could not be written\n", options.json_path);
        return 1;
    }
    return code;
}
