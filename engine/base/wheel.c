/* A timer waits at the lowest level at which its tick and the wheel's differ in one digit only:
 * ticks are numbers of base 64, level L is digit L.
 *
 * Invariants, whenever no function of this file runs:
 *  1. A timer at level 0 is due in the wheel's current block of 64 ticks, at or after `tick`.
 *  2. A timer at level 1 or 2 shares with `tick` all digits above its level, and its digit of that
 *     level is greater than the wheel's. So what is at level L is due before what is at L + 1.
 *  3. At level 3 slots are taken in a circle: the slot is the digit of a tick that is 1 to 63 slots
 *     ahead. A timer beyond that waits in the farthest slot, and is placed again when that is due.
 *  4. Bit s of occupied[L] is set exactly when slots[L][s] has timers.
 * Hence the next thing to do is found with one bit scan per level, whatever time has passed.
 */
#include "engine/base/wheel.h"

#include <string.h>

#include "engine/base/check.h"

#define TICK_BITS 14
#define LEVEL_CNT 4u
#define SLOT_BITS 6u
#define SLOT_CNT 64u
#define TICK_MAX (UINT64_MAX >> TICK_BITS) /* the last tick that can ever begin */

/* Rounded up, so that a timer is never early. */
static uint64_t tick_of_due(uint64_t due_ns)
{
    return (due_ns >> TICK_BITS) + ((due_ns & ((UINT64_C(1) << TICK_BITS) - 1)) != 0);
}

static void link_timer(struct weir_timer **head, struct weir_timer *timer)
{
    timer->next = *head;
    if (timer->next != NULL) {
        timer->next->prev_link = &timer->next;
    }
    timer->prev_link = head;
    *head = timer;
}

static void unlink_timer(struct weir_timer *timer)
{
    *timer->prev_link = timer->next;
    if (timer->next != NULL) {
        timer->next->prev_link = timer->prev_link;
    }
    timer->next = NULL;
    timer->prev_link = NULL;
}

static void place_in_slot(struct weir_wheel *wheel, uint32_t level, uint64_t slot,
                          struct weir_timer *timer)
{
    slot &= SLOT_CNT - 1;
    link_timer(&wheel->slots[level][slot], timer);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

static void place(struct weir_wheel *wheel, struct weir_timer *timer)
{
    uint64_t due = tick_of_due(timer->due_ns);
    if (due < wheel->tick) {
        link_timer(&wheel->due, timer);
        return;
    }
    uint64_t differing = due ^ wheel->tick;
    for (uint32_t level = 0; level + 1 < LEVEL_CNT; ++level) {
        if (differing >> (SLOT_BITS * (level + 1)) == 0) {
            place_in_slot(wheel, level, due >> (SLOT_BITS * level), timer);
            return;
        }
    }
    uint64_t here = wheel->tick >> (SLOT_BITS * (LEVEL_CNT - 1));
    uint64_t there = due >> (SLOT_BITS * (LEVEL_CNT - 1));
    place_in_slot(wheel, LEVEL_CNT - 1, weir_min_u64(there, here + SLOT_CNT - 1), timer);
}

/* Takes the whole list of a slot. */
static struct weir_timer *take_slot(struct weir_wheel *wheel, uint32_t level, uint64_t slot)
{
    slot &= SLOT_CNT - 1;
    struct weir_timer *list = wheel->slots[level][slot];
    wheel->slots[level][slot] = NULL;
    wheel->occupied[level] &= ~(UINT64_C(1) << slot);
    return list;
}

/* Moves to `tick`. The caller knows that no slot with timers begins between here and there; slots
 * that begin exactly there are spread over the levels below (invariant 2). */
static void advance(struct weir_wheel *wheel, uint64_t tick)
{
    WEIR_DCHECK(tick >= wheel->tick);
    wheel->tick = tick;
    for (uint32_t level = LEVEL_CNT - 1; level > 0; --level) {
        uint32_t shift = SLOT_BITS * level;
        if ((tick & ((UINT64_C(1) << shift) - 1)) != 0) {
            continue; /* not the beginning of a slot of this level */
        }
        struct weir_timer *timer = take_slot(wheel, level, tick >> shift);
        while (timer != NULL) {
            struct weir_timer *next = timer->next;
            place(wheel, timer);
            timer = next;
        }
    }
}

/* Finds the first tick at which there is something to do: timers expire (`*ret_level` 0) or a slot
 * of a higher level begins. UINT64_MAX: never. */
static uint64_t next_event(const struct weir_wheel *wheel, uint32_t *ret_level)
{
    for (uint32_t level = 0; level < LEVEL_CNT; ++level) {
        if (wheel->occupied[level] == 0) {
            continue;
        }
        uint32_t shift = SLOT_BITS * level;
        uint64_t here = wheel->tick >> shift;
        uint32_t rotation = (uint32_t)(here & (SLOT_CNT - 1));
        uint64_t ahead = wheel->occupied[level];
        if (rotation != 0) { /* bit 0 becomes the slot we are in */
            ahead = ahead >> rotation | ahead << (SLOT_CNT - rotation);
        }
        *ret_level = level;
        return (here + (uint64_t)__builtin_ctzll(ahead)) << shift;
    }
    *ret_level = LEVEL_CNT;
    return UINT64_MAX;
}

void weir_wheel_init(struct weir_wheel *wheel, uint64_t now_ns)
{
    memset(wheel, 0, sizeof(*wheel));
    wheel->tick = now_ns >> TICK_BITS;
}

/* Takes a timer out of its list, and clears the bit of a slot that this empties. */
static void detach(struct weir_wheel *wheel, struct weir_timer *timer)
{
    struct weir_timer **link = timer->prev_link;
    unlink_timer(timer);
    --wheel->timer_cnt;
    if (*link != NULL) {
        return;
    }
    /* Was the link a slot's head? Compared as numbers, for it may be inside a timer. */
    uintptr_t offset = (uintptr_t)link - (uintptr_t)&wheel->slots[0][0];
    if (offset < sizeof(wheel->slots)) {
        size_t idx = offset / sizeof(wheel->slots[0][0]);
        wheel->occupied[idx / SLOT_CNT] &= ~(UINT64_C(1) << (idx % SLOT_CNT));
    }
}

void weir_wheel_set(struct weir_wheel *wheel, struct weir_timer *timer, uint64_t due_ns)
{
    if (weir_timer_is_set(timer)) {
        detach(wheel, timer);
    }
    timer->due_ns = due_ns;
    place(wheel, timer);
    ++wheel->timer_cnt;
}

void weir_wheel_cancel(struct weir_wheel *wheel, struct weir_timer *timer)
{
    if (weir_timer_is_set(timer)) {
        detach(wheel, timer);
    }
}

struct weir_timer *weir_wheel_pop(struct weir_wheel *wheel, uint64_t now_ns)
{
    uint64_t now = now_ns >> TICK_BITS;
    /* Each round fires a slot or moves timers one level down: never more rounds than levels per
     * timer. */
    while (wheel->due == NULL) {
        uint32_t level;
        uint64_t event = next_event(wheel, &level);
        if (event > now) {
            if (now >= wheel->tick) {
                advance(wheel, now + 1);
            }
            return NULL;
        }
        if (level == 0) {
            wheel->due = take_slot(wheel, 0, event);
            wheel->due->prev_link = &wheel->due;
            ++event;
        }
        advance(wheel, event);
    }
    struct weir_timer *timer = wheel->due;
    detach(wheel, timer);
    return timer;
}

uint64_t weir_wheel_wait(const struct weir_wheel *wheel, uint64_t now_ns)
{
    if (wheel->due != NULL) {
        return 0;
    }
    uint32_t level;
    uint64_t event = next_event(wheel, &level);
    if (event > TICK_MAX) {
        return UINT64_MAX; /* no timers, or one for the end of time */
    }
    uint64_t event_ns = event << TICK_BITS;
    return event_ns > now_ns ? event_ns - now_ns : 0;
}
