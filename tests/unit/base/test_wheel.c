#include <criterion/criterion.h>
#include <string.h>

#include "engine/base/wheel.h"

#define TICK_NS (UINT64_C(1) << 14)
#define TIMER_CNT 96u
#define HOUR_NS UINT64_C(3600000000000)

static uint64_t random_next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* ---- the model: all timers in an array ------------------------------------------------------- */

struct model {
    struct weir_wheel wheel;
    struct weir_timer timers[TIMER_CNT];
    uint64_t due_ns[TIMER_CNT];
    bool is_set[TIMER_CNT];
    uint64_t now_ns;
    uint64_t random;
};

/* The beginning of the first tick at or after `due_ns`. */
static uint64_t fires_at(uint64_t due_ns)
{
    uint64_t rest = due_ns % TICK_NS;
    return rest == 0 ? due_ns : due_ns + (TICK_NS - rest);
}

/* A length of time of any magnitude from 0 to some 20 hours. */
static uint64_t random_span(struct model *m)
{
    uint64_t magnitude = random_next(&m->random) % 46;
    return random_next(&m->random) >> (18 + magnitude);
}

static void model_set(struct model *m, uint32_t idx)
{
    uint64_t span = random_span(m);
    uint64_t due_ns =
        random_next(&m->random) % 8 == 0 && span < m->now_ns ? m->now_ns - span : m->now_ns + span;
    if (random_next(&m->random) % 4 == 0) {
        due_ns &= ~(TICK_NS - 1); /* exactly on a tick */
    }
    weir_wheel_set(&m->wheel, &m->timers[idx], due_ns);
    m->due_ns[idx] = due_ns;
    m->is_set[idx] = true;
}

static void model_cancel(struct model *m, uint32_t idx)
{
    weir_wheel_cancel(&m->wheel, &m->timers[idx]);
    m->is_set[idx] = false;
}

/* What wait() says against the earliest timer of all. */
static const char *check_wait(const struct model *m)
{
    uint64_t first_ns = UINT64_MAX;
    for (uint32_t i = 0; i < TIMER_CNT; ++i) {
        if (m->is_set[i] && fires_at(m->due_ns[i]) < first_ns) {
            first_ns = fires_at(m->due_ns[i]);
        }
    }
    uint64_t wait_ns = weir_wheel_wait(&m->wheel, m->now_ns);
    if (first_ns == UINT64_MAX) {
        return wait_ns == UINT64_MAX ? NULL : "wait without timers";
    }
    uint64_t exact_ns = first_ns > m->now_ns ? first_ns - m->now_ns : 0;
    if (wait_ns > exact_ns) {
        return "wait is too long";
    }
    uint64_t tick = m->wheel.tick;
    bool is_first_level = first_ns / TICK_NS >= tick && first_ns / TICK_NS / 64 == tick / 64;
    if (is_first_level && wait_ns != exact_ns) {
        return "wait is not exact in the first level";
    }
    return wait_ns == 0 && exact_ns > TICK_NS * 64 ? "wait is 0 without need" : NULL;
}

/* Pops all that is due; sometimes sets or cancels another one between two pops, as callbacks do. */
static const char *check_pops(struct model *m)
{
    struct weir_timer *timer;
    uint32_t pops = 0;
    while ((timer = weir_wheel_pop(&m->wheel, m->now_ns)) != NULL) {
        uint32_t idx = timer->arg;
        if (!m->is_set[idx] || weir_timer_is_set(timer)) {
            return "a timer came that is not set";
        }
        if (timer->due_ns != m->due_ns[idx] || m->due_ns[idx] > m->now_ns) {
            return "a timer came early";
        }
        m->is_set[idx] = false;
        if (++pops < 200) {
            uint64_t op = random_next(&m->random) % 8;
            uint32_t other = (uint32_t)(random_next(&m->random) % TIMER_CNT);
            if (op == 0) {
                model_set(m, other);
            } else if (op == 1) {
                model_cancel(m, other);
            }
        }
    }
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < TIMER_CNT; ++i) {
        cnt += m->is_set[i];
        if (m->is_set[i] != weir_timer_is_set(&m->timers[i])) {
            return "set or not?";
        }
        if (m->is_set[i] && fires_at(m->due_ns[i]) <= m->now_ns) {
            return "a timer is late";
        }
    }
    return cnt == m->wheel.timer_cnt ? NULL : "the count is wrong";
}

enum fault { FAULT_NONE, FAULT_FORGET_CANCEL, FAULT_LOSE_BIT, FAULT_WRONG_SLOT, FAULT_CNT };

/* Runs a random program; returns what went wrong, or NULL. From its middle on, one of its
 * operations may damage the wheel. */
static const char *run_program(uint64_t seed, uint32_t ops, enum fault fault)
{
    static struct model m;
    memset(&m, 0, sizeof(m));
    m.random = seed;
    m.now_ns = random_span(&m) * 1000;
    weir_wheel_init(&m.wheel, m.now_ns);
    for (uint32_t i = 0; i < TIMER_CNT; ++i) {
        m.timers[i].arg = i;
    }
    for (uint32_t op = 0; op < ops; ++op) {
        uint32_t idx = (uint32_t)(random_next(&m.random) % TIMER_CNT);
        uint32_t level = idx % 4;
        bool is_faulty = op > ops / 2;
        const char *wrong = NULL;
        switch (random_next(&m.random) % 12) {
        case 0:
        case 1:
        case 2:
        case 3:
            model_set(&m, idx);
            break;
        case 4:
            model_cancel(&m, idx);
            break;
        case 5:
        case 6:
        case 7:
            m.now_ns += random_span(&m) >> 8;
            wrong = check_pops(&m);
            break;
        case 8: /* to the end of the wait, as a shard does */
            if (m.wheel.timer_cnt != 0) {
                m.now_ns += weir_wheel_wait(&m.wheel, m.now_ns);
            }
            wrong = check_pops(&m);
            break;
        case 9:
            m.now_ns += random_span(&m);
            wrong = check_pops(&m);
            break;
        case 10:
            wrong = check_wait(&m);
            break;
        default:
            if (is_faulty && fault == FAULT_FORGET_CANCEL) {
                m.is_set[idx] = false;
            } else if (is_faulty && fault == FAULT_LOSE_BIT) {
                m.wheel.occupied[level] &= m.wheel.occupied[level] - 1;
            } else if (is_faulty && fault == FAULT_WRONG_SLOT && m.is_set[idx]) {
                weir_wheel_set(&m.wheel, &m.timers[idx], m.due_ns[idx] + 24 * HOUR_NS);
                m.timers[idx].due_ns = m.due_ns[idx];
            }
        }
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}

Test(wheel, agrees_with_a_plain_array_under_random_programs)
{
    for (uint64_t seed = 1; seed <= 300; ++seed) {
        const char *wrong = run_program(seed, 1000, FAULT_NONE);
        cr_assert_null(wrong, "seed %llu: %s", (unsigned long long)seed, wrong);
    }
}

Test(wheel, the_model_notices_a_damaged_wheel)
{
    for (enum fault fault = FAULT_NONE + 1; fault < FAULT_CNT; ++fault) {
        uint32_t noticed = 0;
        for (uint64_t seed = 1; seed <= 10; ++seed) {
            noticed += run_program(seed, 3000, fault) != NULL;
        }
        cr_assert_eq(noticed, 10, "fault %d: %u of 10", (int)fault, noticed);
    }
}

Test(wheel, a_timer_fires_at_the_first_tick_that_is_not_before_it)
{
    static const uint64_t spans[] = {0,
                                     1,
                                     TICK_NS - 1,
                                     TICK_NS,
                                     TICK_NS + 1,
                                     63 * TICK_NS,
                                     64 * TICK_NS,
                                     65 * TICK_NS + 5,
                                     4095 * TICK_NS,
                                     4096 * TICK_NS,
                                     TICK_NS << 18,
                                     (TICK_NS << 24) - 1,
                                     TICK_NS << 24,
                                     (TICK_NS << 24) + 1,
                                     TICK_NS << 25,
                                     TICK_NS << 30};
    static const uint64_t starts[] = {0,
                                      1,
                                      TICK_NS * 63,
                                      TICK_NS * 64,
                                      (TICK_NS << 24) - 1,
                                      TICK_NS << 24,
                                      UINT64_C(123456789012345678)};
    for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); ++s) {
        for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); ++i) {
            struct weir_wheel wheel;
            struct weir_timer timer = {.kind = 7};
            weir_wheel_init(&wheel, starts[s]);
            weir_wheel_set(&wheel, &timer, starts[s] + spans[i]);
            uint64_t due_ns = fires_at(starts[s] + spans[i]);
            if (due_ns > starts[s]) {
                cr_assert_null(weir_wheel_pop(&wheel, due_ns - 1), "%zu %zu", s, i);
            }
            cr_assert_eq(weir_wheel_pop(&wheel, due_ns), &timer, "%zu %zu", s, i);
            cr_assert_not(weir_timer_is_set(&timer));
            cr_assert_null(weir_wheel_pop(&wheel, UINT64_MAX));
        }
    }
}

Test(wheel, waiting_as_told_takes_few_turns_and_ends_on_time)
{
    struct weir_wheel wheel;
    struct weir_timer timer = {0};
    uint64_t now_ns = 12345;
    weir_wheel_init(&wheel, now_ns);
    cr_assert_eq(weir_wheel_wait(&wheel, now_ns), UINT64_MAX);
    weir_wheel_set(&wheel, &timer, now_ns + 3 * HOUR_NS);
    uint32_t turns = 0;
    while (weir_wheel_pop(&wheel, now_ns) == NULL) {
        now_ns += weir_wheel_wait(&wheel, now_ns);
        ++turns;
    }
    cr_assert_leq(turns, 64);
    cr_assert_eq(now_ns, fires_at(12345 + 3 * HOUR_NS));
}

Test(wheel, idle_time_costs_nothing)
{
    struct weir_wheel wheel;
    struct weir_timer never = {0}, again = {0};
    uint64_t now_ns = 0;
    weir_wheel_init(&wheel, 0);
    weir_wheel_set(&wheel, &never, UINT64_MAX);
    /* Three hundred years in leaps of days; by ticks this would not end today. */
    for (uint32_t leap = 0; leap < 50000; ++leap) {
        now_ns += 46 * HOUR_NS + leap;
        weir_wheel_set(&wheel, &again, now_ns + 5 * HOUR_NS);
        cr_assert_null(weir_wheel_pop(&wheel, now_ns));
        now_ns += 6 * HOUR_NS;
        cr_assert_eq(weir_wheel_pop(&wheel, now_ns), &again);
        cr_assert_null(weir_wheel_pop(&wheel, now_ns));
    }
    cr_assert(weir_timer_is_set(&never));
    cr_assert_leq(weir_wheel_wait(&wheel, now_ns), UINT64_MAX - now_ns);
}

Test(wheel, a_set_timer_can_be_moved_and_cancelled)
{
    struct weir_wheel wheel;
    struct weir_timer a = {0}, b = {0};
    weir_wheel_init(&wheel, 0);
    weir_wheel_cancel(&wheel, &a); /* never set: fine */
    weir_wheel_set(&wheel, &a, 10 * TICK_NS);
    weir_wheel_set(&wheel, &b, 10 * TICK_NS);
    weir_wheel_set(&wheel, &a, 20 * TICK_NS);
    cr_assert_eq(wheel.timer_cnt, 2);
    cr_assert_eq(weir_wheel_wait(&wheel, 0), 10 * TICK_NS);
    weir_wheel_cancel(&wheel, &b);
    weir_wheel_cancel(&wheel, &b);
    cr_assert_eq(weir_wheel_wait(&wheel, 0), 20 * TICK_NS);
    /* Expired, not popped yet: still set, still to be cancelled or moved. */
    weir_wheel_set(&wheel, &b, 20 * TICK_NS);
    struct weir_timer *first = weir_wheel_pop(&wheel, 30 * TICK_NS);
    struct weir_timer *second = first == &a ? &b : &a;
    cr_assert(weir_timer_is_set(second));
    cr_assert_eq(weir_wheel_wait(&wheel, 30 * TICK_NS), 0);
    weir_wheel_set(&wheel, second, 31 * TICK_NS + 1);
    cr_assert_null(weir_wheel_pop(&wheel, 31 * TICK_NS));
    cr_assert_eq(weir_wheel_pop(&wheel, 32 * TICK_NS), second);
    weir_wheel_set(&wheel, &a, 5); /* in the past */
    cr_assert_eq(weir_wheel_wait(&wheel, 32 * TICK_NS), 0);
    weir_wheel_cancel(&wheel, &a);
    cr_assert_null(weir_wheel_pop(&wheel, 32 * TICK_NS));
    cr_assert_eq(wheel.timer_cnt, 0);
    cr_assert_eq(weir_wheel_wait(&wheel, 32 * TICK_NS), UINT64_MAX);
}
