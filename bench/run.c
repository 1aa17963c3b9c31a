#include "bench/run.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Beyond its phases, a run may take this long for processes, handshake and the rest to drain. */
#define SLACK_NS (60 * WEIR_NS_PER_S)
#define SLACK_EACH_NS (5 * WEIR_NS_PER_MS) /* each connection is made and ended */

#define SIDE_NICENESS (-10)

static const char *const side_names[2] = {"sender", "receiver"};

/* The sides go before what else runs on the machine, if this process may say so: -10, or lower where it
 * has been made so. Not -20: the kernel's own threads (ksoftirqd) have to get in as well. */
static int find_niceness(void)
{
    const int now = getpriority(PRIO_PROCESS, 0);

    if (now <= SIDE_NICENESS || setpriority(PRIO_PROCESS, 0, SIDE_NICENESS) != 0)
        return now;
    /* Up again is always allowed; this process itself only waits. */
    setpriority(PRIO_PROCESS, 0, now);
    return SIDE_NICENESS;
}

void bench_cpus_choose(struct bench_cpus *ret_cpus)
{
    cpu_set_t set;
    int found[2] = {0, 0};
    int cnt = 0;

    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof(set), &set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &set))
            continue;
        if (cnt < 2)
            found[cnt] = cpu;
        cnt++;
    }
    *ret_cpus = (struct bench_cpus){found[0], cnt < 2 ? found[0] : found[1], cnt, find_niceness()};
}

/* Where the kernel groups processes by session (sched_autogroup_enabled, sched(7)), a thread's niceness
 * counts within its session only, and a session is one competitor on each CPU however many of its threads
 * run: so each side gets a session of its own, with the same niceness. */
static void be_niced(int niceness)
{
    FILE *group;

    setpriority(PRIO_PROCESS, 0, niceness);
    if (setsid() < 0 || (group = fopen("/proc/self/autogroup", "we")) == NULL)
        return;
    fprintf(group, "%d", niceness);
    fclose(group);
}

_Noreturn static void be_side(const struct bench_impl *impl, const struct bench_job *job,
                              struct bench_shared *shared, enum bench_who who,
                              const struct bench_cpus *cpus)
{
    struct bench_run run = {
        .impl = impl,
        .job = job,
        .shared = shared,
        .who = who,
        .other_cpu = who == BENCH_SENDER ? cpus->receiver : cpus->sender,
        /* The receiver counts, so it leads; there and back, the side that asks does; and who is
         * alone. */
        .is_leader =
            (who == BENCH_SENDER) == (job->which == BENCH_RTT || bench_has_newcomers(job->which) ||
                                      impl->roles[job->which][BENCH_RECEIVER] == NULL),
    };
    cpu_set_t set;
    sigset_t none;

    char name[64];
    snprintf(name, sizeof(name), "%s-%s", impl->name, side_names[who]);
    prctl(PR_SET_NAME, name);         /* for perf and top; the kernel takes 15 bytes of it */
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* an interrupted benchmark leaves nobody spinning */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_IGN);
    CPU_ZERO(&set);
    /* Several shards of one side share both processors with those of the other. */
    if (who == BENCH_SENDER || job->shard_cnt > 1)
        CPU_SET((size_t)cpus->sender, &set);
    if (who == BENCH_RECEIVER || job->shard_cnt > 1)
        CPU_SET((size_t)cpus->receiver, &set);
    sched_setaffinity(0, sizeof(set), &set);
    be_niced(cpus->niceness);
    prctl(PR_SET_TIMERSLACK,
          1UL); /* who waits until a message is due wakes then, not 50 us later */

    enum bench_status status = impl->roles[job->which][who](&run);
    if (status != BENCH_OK && shared->sides[who].status != BENCH_OK)
        status = shared->sides[who].status; /* more exact than what a role passes on */
    _exit((int)status);
}

/* Waits for both; when one fails or time is up, ends the other. Returns the worst status. */
static enum bench_status watch(pid_t pids[2], weir_ns patience, const sigset_t *child_signal,
                               bool ret_failed[2])
{
    enum bench_status worst = BENCH_OK;
    weir_ns end = bench_now() + patience;
    int alive = (pids[0] != 0) + (pids[1] != 0);

    while (alive > 0) {
        int wait_status;
        pid_t pid = waitpid(-1, &wait_status, WNOHANG);

        if (pid > 0) {
            int who = pid == pids[BENCH_RECEIVER];
            enum bench_status status =
                WIFEXITED(wait_status) ? (enum bench_status)WEXITSTATUS(wait_status) : BENCH_E_RUN;
            pids[who] = 0;
            alive--;
            /* A side that is ended because the other failed is not at fault. */
            ret_failed[who] = status != BENCH_OK && worst == BENCH_OK;
            if (status != BENCH_OK && worst == BENCH_OK) {
                worst = status;
                if (pids[!who] != 0)
                    kill(pids[!who], SIGKILL);
            }
            continue;
        }
        weir_ns now = bench_now();
        if (now >= end) {
            worst = worst == BENCH_OK ? BENCH_E_RUN : worst;
            for (int who = 0; who < 2; who++)
                if (pids[who] != 0)
                    kill(pids[who], SIGKILL);
            end = WEIR_NS_FOREVER;
            continue;
        }
        weir_ns left = end - now < WEIR_NS_PER_S ? end - now : WEIR_NS_PER_S;
        struct timespec timeout = {.tv_sec = (time_t)(left / WEIR_NS_PER_S),
                                   .tv_nsec = (long)(left % WEIR_NS_PER_S)};
        sigtimedwait(child_signal, NULL, &timeout);
    }
    return worst;
}

/* Everything that was sent arrived once and in order? */
static bool is_complete(const struct bench_shared *shared, char *ret_text, size_t text_len)
{
    const struct bench_counts *sent = &shared->sides[BENCH_SENDER].marks[BENCH_DONE].counts;
    const struct bench_counts *received = &shared->sides[BENCH_RECEIVER].marks[BENCH_DONE].counts;

    for (uint32_t i = 0; i < BENCH_CHANNELS_MAX; i++) {
        if (sent->msgs[i] == received->msgs[i])
            continue;
        snprintf(ret_text, text_len, "%llu messages were sent and %llu arrived (channel %u)",
                 (unsigned long long)sent->msgs[i], (unsigned long long)received->msgs[i], i);
        return false;
    }
    if (sent->seq_errors + received->seq_errors == 0)
        return true;
    snprintf(ret_text, text_len, "%llu messages arrived out of order",
             (unsigned long long)(sent->seq_errors + received->seq_errors));
    return false;
}

enum bench_status bench_run_once(const struct bench_impl *impl, const struct bench_job *job,
                                 const struct bench_cpus *cpus, struct bench_shared **ret_shared,
                                 char *ret_text, size_t text_len)
{
    bool failed[2] = {false, false};
    pid_t pids[2] = {0, 0};
    sigset_t child_signal, before;

    void *page = mmap(NULL, sizeof(struct bench_shared), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (page == MAP_FAILED) {
        snprintf(ret_text, text_len, "mmap: %s", strerror(errno));
        return BENCH_E_ENVIRONMENT;
    }
    struct bench_shared *shared = page; /* zeroed: phase WARMUP, no port */

    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_signal, &before); /* for sigtimedwait */
    fflush(NULL);
    for (int who = BENCH_RECEIVER; who >= BENCH_SENDER; who--) {
        if (impl->roles[job->which][who] == NULL)
            continue; /* a case of one side */
        pids[who] = fork();
        if (pids[who] == 0)
            be_side(impl, job, shared, (enum bench_who)who, cpus);
        if (pids[who] < 0) {
            snprintf(ret_text, text_len, "fork: %s", strerror(errno));
            if (pids[BENCH_RECEIVER] > 0) {
                kill(pids[BENCH_RECEIVER], SIGKILL);
                waitpid(pids[BENCH_RECEIVER], NULL, 0);
            }
            sigprocmask(SIG_SETMASK, &before, NULL);
            munmap(page, sizeof(struct bench_shared));
            return BENCH_E_ENVIRONMENT;
        }
    }

    weir_ns patience =
        job->warmup_ns + job->alone_ns + job->window_ns + SLACK_NS + job->conn_cnt * SLACK_EACH_NS;
    enum bench_status status = watch(pids, patience, &child_signal, failed);
    sigprocmask(SIG_SETMASK, &before, NULL);

    *ret_shared = shared;
    if (status != BENCH_OK) {
        int who = failed[BENCH_RECEIVER] ? BENCH_RECEIVER : BENCH_SENDER;
        const char *why = shared->sides[who].text;
        if (!failed[0] && !failed[1])
            snprintf(ret_text, text_len, "did not end in time (phase %u)",
                     (unsigned)atomic_load(&shared->phase));
        else
            snprintf(ret_text, text_len, "%s: %s", side_names[who],
                     why[0] != 0 ? why : "it crashed");
        return status;
    }
    if (impl->roles[job->which][BENCH_RECEIVER] == NULL)
        return BENCH_OK; /* nothing was sent */
    return is_complete(shared, ret_text, text_len) ? BENCH_OK : BENCH_E_RUN;
}

void bench_run_free(struct bench_shared *shared)
{
    if (shared != NULL)
        munmap(shared, sizeof(*shared));
}
