/* engine/io/uring_wait.c: submits and waits; how a shard sleeps, spins and is woken. */
#include <sched.h>
#include <sys/eventfd.h>

#include "engine/io/uring_ring.h"
#include "weir/base.h"
#include "weir/error.h"

/* Waking an idle core takes 20 to 60 us, in which nothing is done; so where waits are shorter than that,
 * looking again and again is quicker, and often cheaper: no sleep, no wake-up call by the other side. But
 * only there. The score tells: it rises with each wait that was short, slept or spun, and falls by
 * SPIN_FAIL with each in vain, so that a shard with one event per 80 us wastes little. */
#define SPIN_SCORE_MIN 4u
#define SPIN_SCORE_MAX 16u
#define SPIN_FAIL 4u
/* A sleep is short up to twice what would be spun: waking up is part of it. */
#define SHORT_SLEEPS 2u

/* A gap this long between two looks at the clock means that the core was given to somebody else, who may
 * be the one waited for. No spinning then for a while, each time longer. */
#define GAP_NS 30000u
#define HOLD_MIN_NS WEIR_NS_PER_MS
#define HOLD_MAX_NS (64 * WEIR_NS_PER_MS)

/* ---- sleeping and waking ------------------------------------------------------------------- */

/* Wakes are cheap while the owner is at work: only the one that finds it asleep makes a system call.
 *
 *      AWAKE --turn waits--> ASLEEP --wake: write(eventfd)--> WOKEN
 *        ^ \-------------wake------------------------------->  |
 *        `------------------- turn ends its wait --------------'
 *
 * The exchange here releases what the waker wrote before (a mailbox's item) and pairs with the
 * exchange in fall_awake(), which acquires it: a waker that finds WOKEN makes no call, and its item
 * is seen when the owner looks into the mailbox after that turn. */
void weir_uring_wake(struct weir_io *io)
{
    struct weir_uring *u = weir_uring_of(io);
    if (atomic_exchange_explicit(&u->wake_state, WEIR_URING_WOKEN, memory_order_acq_rel) ==
        WEIR_URING_ASLEEP)
        (void)!eventfd_write(u->wake_fd, 1);
}

/* True when the owner may sleep: nobody has woken it since its last wait. */
static bool fall_asleep(struct weir_uring *u)
{
    uint32_t state = WEIR_URING_AWAKE;
    return atomic_compare_exchange_strong_explicit(&u->wake_state, &state, WEIR_URING_ASLEEP,
                                                   memory_order_acq_rel, memory_order_acquire);
}

static void fall_awake(struct weir_uring *u)
{
    (void)atomic_exchange_explicit(&u->wake_state, WEIR_URING_AWAKE, memory_order_acq_rel);
}

static bool is_woken(struct weir_uring *u)
{
    return atomic_load_explicit(&u->wake_state, memory_order_relaxed) == WEIR_URING_WOKEN;
}

/* ---- entering the kernel ------------------------------------------------------------------- */

static void note_overflow(struct weir_uring *u)
{
    bool is_overflown = io_uring_cq_has_overflow(&u->ring);
    if (WEIR_UNLIKELY(is_overflown) && !u->is_overflown)
        u->stats.overflows++;
    u->is_overflown = is_overflown;
}

/* Submits and lets deferred work run, without waiting. */
static int enter_now(struct weir_uring *u)
{
    u->stats.syscalls++;
    return io_uring_submit_and_get_events(&u->ring);
}

static int enter_and_sleep(struct weir_uring *u, uint64_t wait_ns)
{
    /* The wait ends with the first completion. A min-timeout wait (6.12), which lets several gather,
     * would trade latency for batches that a loaded shard has anyway: it does not come here then. */
    struct io_uring_cqe *cqe = NULL;
    struct __kernel_timespec ts = {.tv_sec = (int64_t)(wait_ns / WEIR_NS_PER_S),
                                   .tv_nsec = (long long)(wait_ns % WEIR_NS_PER_S)};
    u->stats.syscalls++;
    return io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1,
                                            wait_ns == WEIR_NS_FOREVER ? NULL : &ts, NULL);
}

/* ---- waiting ------------------------------------------------------------------------------- */

static void spin_paid(struct weir_uring *u)
{
    u->spin_score += u->spin_score < SPIN_SCORE_MAX;
}

static void spin_failed(struct weir_uring *u)
{
    u->spin_score -= u->spin_score < SPIN_FAIL ? u->spin_score : SPIN_FAIL;
}

static void spin_hold(struct weir_uring *u, uint64_t now_ns)
{
    bool is_again = now_ns < u->spin_again_ns + 2 * u->spin_hold_ns;
    u->spin_hold_ns = is_again && u->spin_hold_ns ? 2 * u->spin_hold_ns : HOLD_MIN_NS;
    if (u->spin_hold_ns > HOLD_MAX_NS)
        u->spin_hold_ns = HOLD_MAX_NS;
    u->spin_again_ns = now_ns + u->spin_hold_ns;
}

/* Looks again and again without sleeping, until there is an event, somebody wakes us, or `limit_ns` after
 * `start_ns`. TASKRUN_FLAG shows deferred work in shared memory, so a round that finds nothing makes no
 * system call. Returns what an enter would; `*ret_now` is when it ended. */
static int spin(struct weir_uring *u, uint64_t start_ns, uint64_t limit_ns, uint64_t *ret_now)
{
    bool is_polite = u->cfg.spin_ns != UINT64_MAX;
    uint64_t now_ns = start_ns;
    int rc = 0;
    for (;;) {
        if (IO_URING_READ_ONCE(*u->ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) {
            rc = io_uring_get_events(&u->ring);
            u->stats.syscalls++;
        }
        if (rc < 0 || io_uring_cq_ready(&u->ring) || is_woken(u))
            break;
        uint64_t last_ns = now_ns;
        now_ns = weir_uring_clock();
        if (now_ns - start_ns >= limit_ns)
            break;
        if (is_polite && now_ns - last_ns >= GAP_NS) {
            spin_hold(u, now_ns);
            break;
        }
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    *ret_now = now_ns;
    return rc;
}

/* Waits for an event: everything is submitted, and nothing is ready. */
static int wait_for_event(struct weir_uring *u, uint64_t wait_ns)
{
    uint64_t spin_ns = u->cfg.spin_ns;
    uint64_t start_ns = weir_uring_clock(), now_ns = start_ns;
    int rc = 0;
    if (spin_ns == UINT64_MAX ||
        (u->spin_score >= SPIN_SCORE_MIN && start_ns >= u->spin_again_ns)) {
        uint64_t limit_ns = spin_ns < wait_ns ? spin_ns : wait_ns;
        rc = spin(u, start_ns, limit_ns, &now_ns);
        u->stats.spins++;
        u->stats.spin_ns += now_ns - start_ns;
        bool is_over = now_ns - start_ns >= limit_ns;
        if (rc < 0 || io_uring_cq_ready(&u->ring) || is_woken(u) ||
            (is_over && limit_ns == wait_ns)) {
            spin_paid(u);
            fall_awake(u); /* acquires what a waker wrote */
            return rc;
        }
        if (is_over)
            spin_failed(u);
        if (wait_ns != WEIR_NS_FOREVER)
            wait_ns -= now_ns - start_ns < wait_ns ? now_ns - start_ns : wait_ns;
    }
    if (fall_asleep(u)) {
        u->stats.sleeps++;
        rc = enter_and_sleep(u, wait_ns);
        if (weir_uring_clock() - now_ns <= SHORT_SLEEPS * spin_ns)
            spin_paid(u);
        else if (u->spin_score < SPIN_SCORE_MIN)
            u->spin_score = 0; /* short ones must come in a row to begin */
    }
    fall_awake(u);
    return rc;
}

/* Submits, lets deferred work run, and waits if there is nothing to report.
 *
 * With DEFER_TASKRUN nothing progresses unless we enter with GETEVENTS, so every enter has it, also
 * when completions are already there. The one exception: the CQ holds all the caller can take, and
 * there is nothing to submit. Then the entry is put off until that backlog is worked down, which also
 * lets what a sender adds meanwhile gather. */
int weir_uring_enter(struct weir_uring *u, uint32_t event_max, uint64_t wait_ns)
{
    note_overflow(u);
    unsigned ready = io_uring_cq_ready(&u->ring);
    bool has_entries = io_uring_sq_ready(&u->ring) != 0;
    if (ready >= event_max && !has_entries)
        return 0;

    int rc = 0;
    bool can_wait = wait_ns > 0 && ready == 0;
    /* Where it may spin, the submit is a call of its own: what it completes is ready then, and the time it
     * takes (a send copies) is not mistaken for waiting. */
    if (!can_wait || (has_entries && u->cfg.spin_ns)) {
        rc = enter_now(u);
        can_wait = can_wait && rc >= 0 && io_uring_cq_ready(&u->ring) == 0;
    }
    if (can_wait)
        rc = wait_for_event(u, wait_ns);
    note_overflow(u);
    /* ETIME, EINTR: the wait is over. EAGAIN, EBUSY: the kernel is short of memory for requests; what
     * it did not take is still in the queue. Others (EBADR: completions were lost) are the end. */
    if (rc >= 0 || rc == -ETIME || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY)
        return 0;
    return WEIR_E_SYSTEM;
}
