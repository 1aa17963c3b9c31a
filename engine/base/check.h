/* engine/base/check.h: assertions, for weir's own errors only.
 *
 * WEIR_CHECK is always on: for what would corrupt memory if it were wrong. WEIR_DCHECK is on unless
 * NDEBUG: for what a test should find. Neither may be reachable by a peer's bytes, an errno or a
 * full resource; those have error codes.
 */
#ifndef WEIR_ENGINE_BASE_CHECK_H
#define WEIR_ENGINE_BASE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_LIKELY(cond) __builtin_expect(!!(cond), 1)
#define WEIR_UNLIKELY(cond) __builtin_expect(!!(cond), 0)

/* Aborts. Prints nothing, as the library never does: the arguments are in the core's frame and in
 * weir_check_last, for a debugger. */
_Noreturn void weir_check_failed(const char *file, int line, const char *expr)
    __attribute__((cold, noinline));

/* What failed, for a handler of SIGABRT; false: nothing did. */
bool weir_check_said(const char **ret_file, int *ret_line, const char **ret_expr);

#define WEIR_CHECK(cond)                                  \
    do {                                                  \
        if (WEIR_UNLIKELY(!(cond))) {                     \
            weir_check_failed(__FILE__, __LINE__, #cond); \
        }                                                 \
    } while (0)

#ifdef NDEBUG
/* Compiled, so that it cannot rot, and never run. */
#define WEIR_DCHECK(cond) \
    do {                  \
        if (0) {          \
            (void)(cond); \
        }                 \
    } while (0)
#else
#define WEIR_DCHECK(cond) WEIR_CHECK(cond)
#endif

/* Faults planted on purpose, one per oracle of the proving ground, to show that it finds them: only in the
 * program tests/sim/canary, whose engine is compiled apart. Everywhere else this is 0. */
#ifdef WEIR_CANARY
enum weir_canary {
    WEIR_CANARY_NONE,
    WEIR_CANARY_ORDER,     /* a queued message overtakes */
    WEIR_CANARY_TWICE,     /* a run is delivered twice */
    WEIR_CANARY_LOSE,      /* a run is not delivered */
    WEIR_CANARY_UNCHECKED, /* a frame that does not verify is delivered */
    WEIR_CANARY_KEEP,      /* a kept message is not copied whole */
    WEIR_CANARY_EARLY,     /* a receive buffer is given back before it was read */
    WEIR_CANARY_ACCOUNT,   /* what was sent stays counted as queued */
    WEIR_CANARY_BOUND,     /* a queue has always room */
    WEIR_CANARY_FAIR,      /* weights do not count */
    WEIR_CANARY_URGENT,    /* urgent is nothing special */
    WEIR_CANARY_EVENT,     /* an end is told twice */
    WEIR_CANARY_SENDS,     /* a second send while one is in flight */
    WEIR_CANARY_CLOSE,     /* a socket is closed under its receive */
    WEIR_CANARY_OWNER,     /* a receive is forgotten */
    WEIR_CANARY_REDIAL,    /* a persistent dial is not made again */
    WEIR_CANARY_STOP,      /* a node that stops does not */
    WEIR_CANARY_WRITABLE,  /* a refused sender is not told that there is room */
    WEIR_CANARY_CREDIT,    /* what is released does not give its credit back */
    WEIR_CANARY_RELEASE,   /* a dropped message's buffer is not released */
    WEIR_CANARY_WAKE,      /* a sleeping shard is not woken for a letter */
    WEIR_CANARY_STREAM,    /* a frame has another magic */
    WEIR_CANARY_SAME,      /* a wait depends on the real clock */
    WEIR_CANARY_SECRET,    /* records are not encrypted, here and there */
    WEIR_CANARY_UNOPENED,  /* a record that does not open is taken */
    WEIR_CANARY_POLICY,    /* who requires encryption takes plain peers */
    WEIR_CANARY_ID,        /* somebody else than who was dialed is taken */
    WEIR_CANARY_TWINS,     /* a second connection with a node is kept */
    WEIR_CANARY_FRAME,     /* what the other side takes in a frame is not asked */
    WEIR_CANARY_STRANGERS, /* any number of strangers is let in */
    WEIR_CANARY_DIALS,     /* any number of dials is taken */
    WEIR_CANARY_CANCEL,    /* a cancelled dial goes on */
    WEIR_CANARY_IDLE,      /* an urgent message waits for somebody else's reason to send */
    WEIR_CANARY_PONG,      /* a ping is not answered */
    WEIR_CANARY_DOZE,      /* a shard goes to sleep over what is left to do */
    WEIR_CANARY_CNT
};
extern int weir_canary;
#define WEIR_PLANTED(canary) (weir_canary == WEIR_CANARY_##canary)
#else
#define WEIR_PLANTED(canary) 0
#endif

static inline uint64_t weir_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t weir_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
