/* engine/base/wheel.h: a hierarchical timer wheel (Varghese and Lauck, 1987): O(1) set and cancel.
 *
 * Timers are intrusive. Granularity is one tick of 2^14 ns (16 us): a timer never fires early and at most
 * one tick late (plus what the shard is late). A millisecond, as coarse wheels have it, would be most of an
 * urgent message's latency. Four levels of 64 slots reach 2^24 ticks (about 4.6 minutes); later ones wait in
 * the last level and are put back when they come up. Time that passes costs nothing: slots are found by
 * their bits.
 */
#ifndef WEIR_ENGINE_BASE_WHEEL_H
#define WEIR_ENGINE_BASE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_timer {
    struct weir_timer *next, **prev_link; /* prev_link NULL: not set */
    uint64_t due_ns;
    uint32_t kind; /* the user's */
    uint32_t arg;  /* the user's */
};

struct weir_wheel {
    uint64_t tick;        /* ticks before this one have been run */
    uint64_t occupied[4]; /* a bit per slot that has timers */
    uint32_t timer_cnt;
    struct weir_timer *slots[4][64];
    struct weir_timer *due; /* expired, not yet popped */
};

void weir_wheel_init(struct weir_wheel *wheel, uint64_t now_ns);

/* Sets (or moves) a timer. */
void weir_wheel_set(struct weir_wheel *wheel, struct weir_timer *timer, uint64_t due_ns);

/* Cancels a timer; one that is not set is fine. */
void weir_wheel_cancel(struct weir_wheel *wheel, struct weir_timer *timer);

static inline bool weir_timer_is_set(const struct weir_timer *timer)
{
    return timer->prev_link != NULL;
}

/* Takes one expired timer, or NULL. The timer is not set any more when it is returned; callers may set
 * and cancel any timer between two calls. */
struct weir_timer *weir_wheel_pop(struct weir_wheel *wheel, uint64_t now_ns);

/* How long until weir_wheel_pop may have something: a lower bound that is exact for timers in the first
 * level; UINT64_MAX without timers; 0 when something is due. */
uint64_t weir_wheel_wait(const struct weir_wheel *wheel, uint64_t now_ns);

#endif
