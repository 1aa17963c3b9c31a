/* bench/side.c: what every side of a run does: phases, marks, the last count. */
#include "bench/bench.h"
#include "bench/pace.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* A slow machine is no fault: so long for the other side to listen, and for the next message to arrive of
 * those that were sent. */
#define PATIENCE_NS (20 * WEIR_NS_PER_S)

/* More of a warm-up for each of many connections: with 10,000, all that they hold goes through once in some
 * 0.3 s, and their windows open in several such rounds. */
#define WARMUP_EACH_NS (100 * WEIR_NS_PER_US)

weir_ns bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (weir_ns)now.tv_sec * WEIR_NS_PER_S + (weir_ns)now.tv_nsec;
}

static void read_usage(struct bench_mark *out)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    out->cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    out->preempted = (uint64_t)usage.ru_nivcsw;
}

/* How long this process's threads have been ready to run and had no core: the second number of each
 * thread's schedstat (Documentation/scheduler/sched-stats.rst). 0 where the kernel does not say. */
static uint64_t read_waited(void)
{
    DIR *tasks = opendir("/proc/self/task");
    uint64_t sum = 0;

    if (tasks == NULL)
        return 0;
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        char path[sizeof(task->d_name) + 32];
        unsigned long long waited = 0;
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", task->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            continue;
        if (fscanf(file, "%*u %llu", &waited) == 1)
            sum += waited;
        fclose(file);
    }
    closedir(tasks);
    return sum;
}

static void mark(struct bench_run *run, enum bench_phase phase, weir_ns now)
{
    struct bench_mark *out = &run->shared->sides[run->who].marks[phase];

    if (run->refresh != NULL)
        run->refresh(run, run->refresh_ctx);
    out->now = now;
    read_usage(out);
    out->waited_ns = read_waited();
    out->counts = run->counts;
    run->phase = phase;
}

static bool is_crowd(const struct bench_run *run)
{
    return run->job->which == BENCH_CONNECTIONS || run->job->which == BENCH_SHARDS;
}

static bool has_begun(const struct bench_run *run)
{
    if (is_crowd(run))
        return atomic_load_explicit(&run->shared->begun_cnt, memory_order_relaxed) >=
               run->job->conn_cnt;
    for (uint32_t i = 0; i < BENCH_CHANNELS_MAX; i++)
        if (run->counts.msgs[i] != 0)
            return true;
    return run->counts.handshakes != 0; /* who sends none: bench/micro/arithmetic.c */
}

static enum bench_phase lead(struct bench_run *run)
{
    weir_ns now = bench_now();

    if (run->phase_end == 0) { /* the warm-up begins with the first message, not with the process */
        if (has_begun(run)) {
            run->phase_end = now + run->job->warmup_ns;
            if (is_crowd(run))
                run->phase_end += run->job->conn_cnt * WARMUP_EACH_NS;
            run->shared->sides[run->who].marks[BENCH_WARMUP].now = now;
        }
        return run->phase;
    }
    if (now < run->phase_end)
        return run->phase;

    enum bench_phase next = run->phase;
    switch (run->phase) {
    case BENCH_WARMUP:
        next = run->job->alone_ns != 0 ? BENCH_ALONE : BENCH_MEASURE;
        run->phase_end = now + (next == BENCH_ALONE ? run->job->alone_ns : run->job->window_ns);
        break;
    case BENCH_ALONE:
        next = BENCH_MEASURE;
        run->phase_end = now + run->job->window_ns;
        break;
    case BENCH_MEASURE:
        next = BENCH_DRAIN;
        run->phase_end = now + PATIENCE_NS;
        break;
    case BENCH_DRAIN:
    case BENCH_DONE:
        return run->phase;
    }
    mark(run, next, now);
    /* Release: pairs with the follower's acquire. */
    atomic_store_explicit(&run->shared->phase, next, memory_order_release);
    return next;
}

static enum bench_phase follow(struct bench_run *run)
{
    enum bench_phase phase =
        (enum bench_phase)atomic_load_explicit(&run->shared->phase, memory_order_acquire);

    /* A phase that was over before this side turned again gets its mark now. */
    while (run->phase < phase)
        mark(run, (enum bench_phase)(run->phase + 1), bench_now());
    return phase;
}

enum bench_phase bench_step(struct bench_run *run)
{
    if (run->phase == BENCH_DONE)
        return BENCH_DONE;
    /* DONE can come from the follower when it is the one that counts last. */
    return run->is_leader && run->phase != BENCH_DRAIN ? lead(run) : follow(run);
}

void bench_finish(struct bench_run *run)
{
    if (run->job->which == BENCH_RATE)
        bench_pace_add_unsent(run);
    mark(run, BENCH_DONE, bench_now());
    atomic_store_explicit(&run->shared->phase, BENCH_DONE, memory_order_release);
}

void bench_publish_sent(struct bench_run *run)
{
    if (atomic_load_explicit(&run->shared->has_sent, memory_order_relaxed) != 0)
        return;
    memcpy(run->shared->sent, run->counts.msgs, sizeof(run->shared->sent));
    /* Release: pairs with bench_is_drained's acquire; `sent` is visible before the flag. */
    atomic_store_explicit(&run->shared->has_sent, 1, memory_order_release);
}

bool bench_is_drained(struct bench_run *run)
{
    weir_ns now = bench_now();
    uint64_t msgs = 0;

    for (uint32_t i = 0; i < BENCH_CHANNELS_MAX; i++)
        msgs += run->counts.msgs[i];
    if (msgs != run->drained_msgs) {
        run->drained_msgs = msgs;
        run->phase_end = now + PATIENCE_NS;
    }
    if (now >= run->phase_end)
        return true;
    return atomic_load_explicit(&run->shared->has_sent, memory_order_acquire) != 0 &&
           memcmp(run->shared->sent, run->counts.msgs, sizeof(run->shared->sent)) == 0;
}

uint16_t bench_await_port(struct bench_run *run)
{
    const struct timespec nap = {.tv_nsec = 1000000};
    _Atomic uint32_t *where =
        run->who == BENCH_SENDER ? &run->shared->port : &run->shared->back_port;

    for (weir_ns end = bench_now() + PATIENCE_NS; bench_now() < end; nanosleep(&nap, NULL)) {
        uint32_t port = atomic_load_explicit(where, memory_order_acquire);
        if (port != 0)
            return (uint16_t)port;
    }
    return 0;
}

enum bench_status bench_fail(struct bench_run *run, enum bench_status status, const char *format,
                             ...)
{
    struct bench_side *side = &run->shared->sides[run->who];
    va_list args;

    va_start(args, format);
    vsnprintf(side->text, sizeof(side->text), format, args);
    va_end(args);
    side->status = status;
    return status;
}

bool bench_urgent_next(struct bench_run *run, weir_ns *due, uint64_t seq,
                       struct bench_urgent *ret_msg)
{
    if (run->phase != BENCH_MEASURE)
        return false;
    weir_ns now = bench_now();
    if (*due == 0)
        *due = now + run->job->interval_ns;
    if (now < *due)
        return false;
    *ret_msg = (struct bench_urgent){.seq = seq, .due = *due, .call = now};
    *due += run->job->interval_ns;
    return true;
}

void bench_urgent_arrived(struct bench_run *run, const uint8_t *data, uint32_t len)
{
    struct bench_urgent msg;

    bench_count(run, 0, data, len);
    if (len != sizeof(msg))
        return;
    memcpy(&msg, data, sizeof(msg));
    weir_ns now = bench_now();
    bench_histogram_add(&run->shared->latency, now - msg.due);
    bench_histogram_add(&run->shared->latency_call, now - msg.call);
}

void bench_silence_ends(struct bench_run *run, weir_ns *last)
{
    weir_ns now = bench_now();

    if (*last != 0 && run->phase == BENCH_MEASURE)
        bench_histogram_add(&run->shared->latency, now - *last);
    else if (*last != 0 && run->phase == BENCH_ALONE)
        bench_histogram_add(&run->shared->latency_call, now - *last);
    *last = now;
}

uint64_t bench_memory(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "re");

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "Anonymous: %llu kB", &kib) == 1)
            break;
    fclose(file);
    return kib * 1024;
}

void bench_note_idle(struct bench_run *run, uint64_t before)
{
    double grown = (double)bench_memory() - (double)before;

    run->shared->sides[run->who].facts[BENCH_FACT_IDLE_BYTES] = grown / run->job->conn_cnt;
    atomic_fetch_add(&run->shared->idle_cnt, 1);
}

bool bench_is_idle_noted(const struct bench_run *run)
{
    return atomic_load(&run->shared->idle_cnt) >= 2;
}
