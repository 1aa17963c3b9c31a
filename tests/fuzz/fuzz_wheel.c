/* The timer wheel against an array: nothing early, nothing forgotten, nobody overslept.
 *
 * input: where the clock begins, then operations on 24 timers.
 */
#include "engine/base/wheel.h"
#include "tests/fuzz/fuzz.h"

#define TIMERS 24u
#define TICK_NS (UINT64_C(1) << 14)

struct model {
    struct weir_wheel wheel;
    struct weir_timer timers[TIMERS];
    bool is_set[TIMERS];
    uint64_t due_ns[TIMERS];
    uint64_t now_ns;
};

/* The tick at which a timer fires: the first that begins at or after its time. */
static uint64_t tick_of(uint64_t due_ns)
{
    return due_ns / TICK_NS + (due_ns % TICK_NS != 0);
}

static uint64_t first_due_tick(const struct model *model)
{
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < TIMERS; i++) {
        if (model->is_set[i] && tick_of(model->due_ns[i]) < first)
            first = tick_of(model->due_ns[i]);
    }
    return first;
}

static void set(struct model *model, uint32_t idx, uint64_t due_ns)
{
    model->due_ns[idx] = due_ns;
    model->is_set[idx] = true;
    weir_wheel_set(&model->wheel, &model->timers[idx], due_ns);
}

static void cancel(struct model *model, uint32_t idx)
{
    model->is_set[idx] = false;
    weir_wheel_cancel(&model->wheel, &model->timers[idx]);
}

static void check(const struct model *model)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < TIMERS; i++) {
        cnt += model->is_set[i];
        FUZZ_CHECK(weir_timer_is_set(&model->timers[i]) == model->is_set[i]);
    }
    FUZZ_CHECK(model->wheel.timer_cnt == cnt);
    uint64_t wait = weir_wheel_wait(&model->wheel, model->now_ns);
    uint64_t first = first_due_tick(model);
    if (first == UINT64_MAX) {
        FUZZ_CHECK(wait == UINT64_MAX);
        return;
    }
    /* A lower bound: waiting so long does not oversleep. */
    if (first <= UINT64_MAX / TICK_NS)
        FUZZ_CHECK(wait == 0 || (wait != UINT64_MAX && model->now_ns + wait <= first * TICK_NS));
}

/* Pops what is due; `budget` of the popped ones set or cancel others meanwhile. */
static void pop_all(struct model *model, struct fuzz *fuzz, uint32_t budget)
{
    struct weir_timer *timer;
    while ((timer = weir_wheel_pop(&model->wheel, model->now_ns)) != NULL) {
        uint32_t idx = (uint32_t)(timer - model->timers);
        FUZZ_CHECK(idx < TIMERS && model->is_set[idx]);
        FUZZ_CHECK(model->due_ns[idx] <= model->now_ns);
        model->is_set[idx] = false;
        check(model);
        if (budget == 0)
            continue;
        budget--;
        uint32_t other = fuzz_below(fuzz, TIMERS);
        if (fuzz_flag(fuzz))
            cancel(model, other);
        else
            set(model, other, model->now_ns + fuzz_below(fuzz, 3) * TICK_NS);
        check(model);
    }
    FUZZ_CHECK(first_due_tick(model) > model->now_ns / TICK_NS);
    check(model);
    /* Or a shard would spin. */
    FUZZ_CHECK(weir_wheel_wait(&model->wheel, model->now_ns) > 0);
}

/* Sleeps as a shard does, until something fires. Each sleep brings the first timer a level down; and every
 * timer that is years ahead may end one in each turn of the last level. */
static void sleep_until_due(struct model *model)
{
    uint64_t first = first_due_tick(model);
    if (first > (UINT64_MAX - TICK_NS) / TICK_NS)
        return;
    uint64_t turns = TIMERS * ((first - model->now_ns / TICK_NS) / (UINT64_C(63) << 18) + 1) + 4;
    if (turns > 1000)
        return; /* too far ahead */
    while (first > model->now_ns / TICK_NS) {
        uint64_t wait = weir_wheel_wait(&model->wheel, model->now_ns);
        FUZZ_CHECK(turns-- > 0 && wait > 0 && wait < UINT64_MAX - model->now_ns);
        model->now_ns += wait;
        FUZZ_CHECK(model->now_ns <= first * TICK_NS);
        if (first > model->now_ns / TICK_NS)
            FUZZ_CHECK(weir_wheel_pop(&model->wheel, model->now_ns) == NULL);
    }
}

static uint64_t span(struct fuzz *fuzz)
{
    uint32_t bits = fuzz_below(fuzz, 48);
    return fuzz_uint(fuzz, 8) & ((UINT64_C(1) << bits) - 1);
}

static void step(struct model *model, struct fuzz *fuzz)
{
    uint32_t op = fuzz_below(fuzz, 16);
    uint32_t idx = fuzz_below(fuzz, TIMERS);
    if (op < 6) {
        set(model, idx, model->now_ns + span(fuzz));
    } else if (op < 7) { /* anywhere in time, the past and the end of it included */
        set(model, idx, fuzz_number(fuzz));
    } else if (op < 8) { /* at the edge of a slot of some level */
        uint64_t slot = TICK_NS << 6 * fuzz_below(fuzz, 4);
        set(model, idx,
            (model->now_ns / slot + fuzz_below(fuzz, 66)) * slot + fuzz_below(fuzz, 3) - 1);
    } else if (op < 10) {
        cancel(model, idx);
    } else if (op < 13) {
        uint64_t left = UINT64_MAX - model->now_ns, by = span(fuzz);
        model->now_ns += by < left ? by : left;
        pop_all(model, fuzz, fuzz_below(fuzz, 8));
    } else if (op < 15) {
        pop_all(model, fuzz, 0);
        sleep_until_due(model);
        pop_all(model, fuzz, fuzz_below(fuzz, 8));
    } else {
        pop_all(model, fuzz, fuzz_below(fuzz, 8));
    }
    check(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct fuzz fuzz = fuzz_begin(data, size);
    memset(&model, 0, sizeof model);
    model.now_ns = fuzz_number(&fuzz) >> 1;
    weir_wheel_init(&model.wheel, model.now_ns);
    while (fuzz_has_more(&fuzz))
        step(&model, &fuzz);
    for (uint32_t i = 0; i < TIMERS; i++)
        cancel(&model, i);
    check(&model);
    return 0;
}
