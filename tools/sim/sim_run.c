#include "sim_run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/check.h"

#define TWICE_EACH 50u
#define JOBS_MAX 64u
#define PROGRESS_MS 1000
#define MINIMISE_SEEDS 8u /* that are tried without a class before it is called needed */

/* What a child says: a seed begins, or has ended. Shorter than PIPE_BUF, so that it comes whole. */
struct record {
    bool is_begin, is_twice;
    struct sim_outcome outcome;
};
_Static_assert(sizeof(struct record) < 4096, "a record is written at once");

/* ---- in the child -------------------------------------------------------------------------- */

static int child_fd = -1;
static uint64_t child_seed;

/* The last lines of a trace, a ring. */
#define LINE_BYTES 200
static struct {
    char (*lines)[LINE_BYTES];
    uint32_t cnt, next, kept;
} ring;

static void ring_add(void *ctx, const char *line)
{
    (void)ctx;
    snprintf(ring.lines[ring.next], LINE_BYTES, "%s", line);
    ring.next = (ring.next + 1) % ring.cnt;
    ring.kept += ring.kept < ring.cnt;
}

static void ring_print(void)
{
    for (uint32_t i = 0; i < ring.kept; i++)
        puts(ring.lines[(ring.next + ring.cnt - ring.kept + i) % ring.cnt]);
    fflush(stdout);
}

static void say(const struct record *record)
{
    if (write(child_fd, record, sizeof(*record)) != (ssize_t)sizeof(*record))
        _exit(3);
}

/* Not what a handler should do in a program that goes on. This one is about to end, in one thread, and
 * the other choice is to say nothing. */
static void on_signal(int number)
{
    struct record record = {.outcome = {.seed = child_seed, .res = {.is_failed = true}}};
    struct prove_result *res = &record.outcome.res;
    const char *file, *expr;
    int line;
    if (weir_check_said(&file, &line, &expr)) {
        const char *name = strstr(file, "engine/");
        snprintf(res->oracle, sizeof(res->oracle), "check");
        snprintf(res->text, sizeof(res->text), "%s:%d: %s", name ? name : file, line, expr);
    } else {
        snprintf(res->oracle, sizeof(res->oracle), "signal");
        snprintf(res->text, sizeof(res->text), "%s", strsignal(number));
    }
    if (ring.cnt)
        ring_print();
    say(&record);
    _exit(1);
}

static void child_begin(int fd)
{
    child_fd = fd;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    static const int numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        signal(numbers[i], on_signal);
    signal(SIGINT, SIG_DFL);
}

/* Returns whether it is fine; then its virtual time is in `ret_virtual_ns`. */
static bool run_seed(const struct prove_config *cfg, bool is_twice, uint64_t *ret_virtual_ns)
{
    struct record record = {.is_begin = true, .outcome = {.seed = cfg->seed}};
    struct prove_result *res = &record.outcome.res;
    child_seed = cfg->seed;
    say(&record);
    record.is_begin = false;
    int error = prove_run(cfg, res);
    if (error) {
        res->is_failed = true;
        snprintf(res->text, sizeof(res->text), "%s", weir_error_text(error));
    }
    if (is_twice && !res->is_failed) {
        struct prove_result again;
        record.is_twice = true;
        if (prove_run(cfg, &again) != 0 || again.hash != res->hash) {
            res->is_failed = true;
            snprintf(res->oracle, sizeof(res->oracle), "same");
            snprintf(res->text, sizeof(res->text), "two runs of the seed differ: %016llx, %016llx",
                     (unsigned long long)res->hash, (unsigned long long)again.hash);
        }
    }
    say(&record);
    *ret_virtual_ns = res->virtual_ns;
    return !res->is_failed;
}

/* ---- one ----------------------------------------------------------------------------------- */

static void crashed(struct sim_outcome *ret_outcome, uint64_t seed, int status)
{
    *ret_outcome = (struct sim_outcome){.seed = seed, .res = {.is_failed = true}};
    snprintf(ret_outcome->res.oracle, sizeof(ret_outcome->res.oracle), "crash");
    snprintf(ret_outcome->res.text, sizeof(ret_outcome->res.text), "its process ended with %s %d",
             WIFSIGNALED(status) ? "signal" : "status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

int sim_run_one(const struct prove_config *cfg, uint32_t trace_cnt, struct sim_outcome *ret_outcome)
{
    int fds[2];
    fflush(NULL);
    if (pipe(fds) != 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        struct prove_config own = *cfg;
        close(fds[0]);
        child_begin(fds[1]);
        if (trace_cnt) {
            ring.cnt = trace_cnt;
            ring.lines = calloc(trace_cnt, LINE_BYTES);
            own.trace = ring.lines ? ring_add : NULL;
        }
        uint64_t virtual_ns;
        bool is_fine = run_seed(&own, false, &virtual_ns);
        if (own.trace)
            ring_print();
        _exit(is_fine ? 0 : 1);
    }
    close(fds[1]);
    struct record record = {.is_begin = true};
    ssize_t got = 1;
    while (pid > 0 && got > 0 && record.is_begin)
        got = read(fds[0], &record, sizeof(record));
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        close(fds[0]);
        return -errno;
    }
    close(fds[0]);
    if (got == (ssize_t)sizeof(record) && !record.is_begin)
        *ret_outcome = record.outcome;
    else
        crashed(ret_outcome, cfg->seed, status);
    return 0;
}

/* ---- many ---------------------------------------------------------------------------------- */

/* What the children have in common: each takes the next seed, so that none is left with the long ones. */
struct share {
    _Atomic uint64_t next, virtual_ns;
};

struct job {
    pid_t pid;
    int fd;
    uint64_t seed;
    bool is_busy;
};

static int job_start(struct job *job, struct share *share, const struct prove_config *cfg,
                     const uint64_t *seeds, uint64_t seed_cnt, uint64_t virtual_ns)
{
    int fds[2];
    fflush(NULL);
    if (pipe(fds) != 0)
        return -errno;
    job->fd = fds[0];
    job->pid = fork();
    if (job->pid == 0) {
        close(fds[0]);
        child_begin(fds[1]);
        struct prove_config own = *cfg;
        for (;;) {
            uint64_t i = atomic_fetch_add(&share->next, 1), passed_ns;
            if (i >= seed_cnt && (seeds || atomic_load(&share->virtual_ns) >= virtual_ns))
                break;
            own.seed = seeds ? seeds[i] : cfg->seed + i;
            if (!run_seed(&own, i % TWICE_EACH == 0, &passed_ns))
                _exit(1);
            atomic_fetch_add(&share->virtual_ns, passed_ns);
        }
        _exit(0);
    }
    close(fds[1]);
    return job->pid < 0 ? -errno : 0;
}

static void add(struct sim_totals *totals, const struct record *record)
{
    const struct prove_result *res = &record->outcome.res;
    totals->seeds++;
    totals->virtual_ns += res->virtual_ns;
    totals->turns += res->turns;
    totals->sent += res->sent;
    totals->delivered += res->delivered;
    totals->links += res->links;
    totals->secure_links += res->secure_links;
    totals->crashes += res->crashes;
    totals->twice += record->is_twice;
    totals->hash += res->hash;
    totals->classes |= res->classes;
}

/* Reads what a job says. Returns false when it has ended. */
static bool job_hear(struct job *job, struct sim_totals *totals, struct sim_outcome *ret_failed,
                     bool *ret_is_failed)
{
    struct record record;
    ssize_t got = read(job->fd, &record, sizeof(record));
    if (got == (ssize_t)sizeof(record)) {
        job->seed = record.outcome.seed;
        job->is_busy = record.is_begin;
        if (record.is_begin)
            return true;
        if (record.outcome.res.is_failed && !*ret_is_failed) {
            *ret_failed = record.outcome;
            *ret_is_failed = true;
        } else if (!record.outcome.res.is_failed) {
            add(totals, &record);
        }
        return true;
    }
    int status = 0;
    waitpid(job->pid, &status, 0);
    job->pid = 0;
    close(job->fd);
    if (job->is_busy && !*ret_is_failed) {
        crashed(ret_failed, job->seed, status);
        *ret_is_failed = true;
    }
    return false;
}

int sim_run_many(const struct prove_config *cfg, const uint64_t *seeds, uint64_t seed_cnt,
                 uint64_t virtual_ns, uint32_t job_cnt, sim_progress progress, void *ctx,
                 struct sim_totals *ret_totals, struct sim_outcome *ret_failed)
{
    struct job jobs[JOBS_MAX] = {0};
    *ret_totals = (struct sim_totals){0};
    if (job_cnt > JOBS_MAX)
        job_cnt = JOBS_MAX;
    struct share *share =
        mmap(NULL, sizeof(*share), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (share == MAP_FAILED)
        return -errno;
    int error = 0;
    uint32_t live_cnt = 0;
    for (uint32_t i = 0; i < job_cnt && !error; i++) {
        error = job_start(&jobs[i], share, cfg, seeds, seed_cnt, virtual_ns);
        live_cnt += error == 0;
    }
    bool is_failed = false;
    while (live_cnt > 0 && !is_failed && !error) {
        struct pollfd polls[JOBS_MAX];
        for (uint32_t i = 0; i < job_cnt; i++)
            polls[i] = (struct pollfd){.fd = jobs[i].pid > 0 ? jobs[i].fd : -1, .events = POLLIN};
        if (poll(polls, job_cnt, PROGRESS_MS) < 0 && errno != EINTR)
            error = -errno;
        for (uint32_t i = 0; i < job_cnt; i++)
            if (polls[i].revents && !job_hear(&jobs[i], ret_totals, ret_failed, &is_failed))
                live_cnt--;
        if (progress)
            progress(ctx, ret_totals);
    }
    for (uint32_t i = 0; i < job_cnt; i++) {
        if (jobs[i].pid <= 0)
            continue;
        kill(jobs[i].pid, SIGKILL);
        waitpid(jobs[i].pid, NULL, 0);
        close(jobs[i].fd);
    }
    munmap(share, sizeof(*share));
    return error ? error : !is_failed;
}

/* ---- minimising ---------------------------------------------------------------------------- */

/* Without a class all that is drawn after it is drawn otherwise, so a run of the same seed is another run, and the
 * next seeds are as good as it. Leaves the one that fails in `cfg`. */
static bool fails_like(struct prove_config *cfg, const struct sim_outcome *failed)
{
    uint64_t seed = cfg->seed;
    for (uint64_t i = 0; i < MINIMISE_SEEDS; i++) {
        struct sim_outcome outcome;
        cfg->seed = seed + i;
        if (sim_run_one(cfg, 0, &outcome) == 0 && outcome.res.is_failed &&
            strcmp(outcome.res.oracle, failed->res.oracle) == 0)
            return true;
    }
    cfg->seed = seed;
    return false;
}

struct prove_config sim_minimise(const struct prove_config *cfg, const struct sim_outcome *failed,
                                 sim_minimised minimised, void *ctx)
{
    struct prove_config best = *cfg, fewer = *cfg;
    best.seed = fewer.seed = failed->seed;
    best.secure = failed->res.secure; /* of a crash neither this nor the classes are known */
    fewer.secure = PROVE_SECURE_NO;
    if (best.secure != PROVE_SECURE_NO) {
        bool is_same = fails_like(&fewer, failed);
        minimised(ctx, "encryption", is_same);
        if (is_same)
            best = fewer;
    }
    if (failed->res.classes)
        best.off |= PROVE_CLASSES_ALL & ~failed->res.classes;
    /* Once is not enough: a class may be needed only beside another that goes later. */
    for (bool is_changed = true; is_changed;) {
        is_changed = false;
        for (uint32_t i = 0; i < PROVE_CLASS_CNT; i++) {
            if (best.off >> i & 1)
                continue;
            fewer = best;
            fewer.off |= 1u << i;
            bool is_same = fails_like(&fewer, failed);
            minimised(ctx, prove_class_name(i), is_same);
            if (is_same)
                best = fewer;
            is_changed |= is_same;
        }
    }
    return best;
}
