#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/conn/sched.h"

#define CHANNELS_MAX 64u
#define FRAME_MAX 65568u /* the largest payload and a header */
#define COST_ONE ((int64_t)weir_sched_cost(1))

static uint64_t random_next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* ---- the scheduler under test, or one with a fault ------------------------------------------------ */

typedef void (*charge_fn)(struct weir_sched *sched, uint32_t channel_idx, uint32_t len);

/* Fault: a channel is charged from its own finish tag alone, so it saves up credit while idle. */
static void charge_saving_credit(struct weir_sched *sched, uint32_t channel_idx, uint32_t len)
{
    uint32_t class_idx = (sched->urgent >> channel_idx) & 1;
    sched->vtime[class_idx] = 0;
    sched->finish[channel_idx] += len * sched->cost[channel_idx];
}

/* Fault: bytes are counted without their weight for one channel. */
static void charge_without_weight(struct weir_sched *sched, uint32_t channel_idx, uint32_t len)
{
    uint64_t own = sched->cost[channel_idx];
    if (channel_idx == 1)
        sched->cost[channel_idx] = (uint64_t)COST_ONE / 500;
    weir_sched_charge(sched, channel_idx, len);
    sched->cost[channel_idx] = own;
}

/* Fault: a frame's length is charged one percent short. */
static void charge_short(struct weir_sched *sched, uint32_t channel_idx, uint32_t len)
{
    weir_sched_charge(sched, channel_idx, channel_idx == 0 ? len - len / 100 : len);
}

/* Fault: the urgent class moves the virtual time of the other. */
static void charge_one_class(struct weir_sched *sched, uint32_t channel_idx, uint32_t len)
{
    weir_sched_charge(sched, channel_idx, len);
    if ((sched->urgent >> channel_idx) & 1)
        sched->vtime[0] = sched->vtime[0] > sched->vtime[1] ? sched->vtime[0] : sched->vtime[1];
}

/* ---- the model ------------------------------------------------------------------------------------ */

/* The theorem, exactly: for each pair of one class the least and the greatest D = W_f c_f - W_m c_m since
 * both are backlogged. The greatest difference of D over *any* interval is their difference, so one
 * pass checks all intervals. And the same program run on tags of 128 bits that are never brought down. */
struct model {
    uint32_t cnt;
    uint16_t weight[CHANNELS_MAX];
    int64_t cost[CHANNELS_MAX];
    int64_t frame_max[CHANNELS_MAX];
    uint64_t urgent, backlogged;
    int64_t bytes[CHANNELS_MAX]; /* served so far */
    struct pair {
        int64_t bytes_f, bytes_m;        /* when both became backlogged */
        __int128 low, high;              /* of D */
    } pairs[CHANNELS_MAX][CHANNELS_MAX]; /* f < m */
    __int128 finish[CHANNELS_MAX], vtime[2];
};

static __int128 model_start(const struct model *m, uint32_t idx)
{
    __int128 vtime = m->vtime[(m->urgent >> idx) & 1];
    return m->finish[idx] > vtime ? m->finish[idx] : vtime;
}

static uint32_t model_pick(const struct model *m, uint64_t eligible)
{
    uint64_t set = eligible & m->urgent ? eligible & m->urgent : eligible;
    uint32_t best = CHANNELS_MAX;
    for (uint32_t i = 0; i < m->cnt; i++) {
        if ((set >> i) & 1 && (best == CHANNELS_MAX || model_start(m, i) < model_start(m, best)))
            best = i;
    }
    return best;
}

static void model_wake(struct model *m, uint32_t idx)
{
    m->backlogged |= UINT64_C(1) << idx;
    for (uint32_t other = 0; other < m->cnt; other++) {
        uint32_t f = idx < other ? idx : other;
        uint32_t g = idx < other ? other : idx;
        m->pairs[f][g] = (struct pair){.bytes_f = m->bytes[f], .bytes_m = m->bytes[g]};
    }
}

static bool pair_holds(struct model *m, uint32_t f, uint32_t g)
{
    struct pair *pair = &m->pairs[f][g];
    int64_t served_f = m->bytes[f] - pair->bytes_f;
    int64_t served_g = m->bytes[g] - pair->bytes_m;
    __int128 diff = (__int128)served_f * m->cost[f] - (__int128)served_g * m->cost[g];
    if (diff < pair->low)
        pair->low = diff;
    if (diff > pair->high)
        pair->high = diff;
    if (pair->high - pair->low >
        (__int128)m->frame_max[f] * m->cost[f] + (__int128)m->frame_max[g] * m->cost[g])
        return false;
    /* In bytes by weight, with one part in 1,000 for the rounding of the costs. */
    int64_t wf = m->weight[f], wg = m->weight[g];
    int64_t exact = served_f * wg - served_g * wf;
    int64_t slack = (served_f * wg + served_g * wf) / 1000;
    int64_t bound = m->frame_max[f] * wg + m->frame_max[g] * wf + slack;
    return exact <= bound && -exact <= bound;
}

/* Serves a frame; false when a pair leaves its bound. */
static bool model_serve(struct model *m, uint32_t idx, uint32_t len)
{
    uint32_t class_idx = (m->urgent >> idx) & 1;
    m->vtime[class_idx] = model_start(m, idx);
    m->finish[idx] = m->vtime[class_idx] + (__int128)len * m->cost[idx];
    m->bytes[idx] += len;
    uint64_t class_set = class_idx ? m->urgent : ~m->urgent;
    bool holds = true;
    for (uint32_t other = 0; other < m->cnt; other++) {
        if (other != idx && (m->backlogged & class_set) >> other & 1)
            holds &= pair_holds(m, idx < other ? idx : other, idx < other ? other : idx);
    }
    return holds;
}

/* ---- the random program --------------------------------------------------------------------------- */

struct program {
    struct model model;
    struct weir_sched sched;
    uint64_t finish[CHANNELS_MAX], costs[CHANNELS_MAX];
    uint32_t queued[CHANNELS_MAX]; /* frames */
    uint64_t random;
};

static void program_init(struct program *p, uint64_t seed, uint64_t tag_base)
{
    memset(p, 0, sizeof(*p));
    p->random = seed;
    struct model *m = &p->model;
    m->cnt = 2 + (uint32_t)(random_next(&p->random) % 63);
    if (random_next(&p->random) % 3 == 0) {
        m->urgent = random_next(&p->random) & random_next(&p->random);
        m->urgent &= m->cnt == 64 ? UINT64_MAX : (UINT64_C(1) << m->cnt) - 1;
    }
    for (uint32_t i = 0; i < m->cnt; i++) {
        m->weight[i] = (uint16_t)(1 + random_next(&p->random) % 1000);
        p->costs[i] = weir_sched_cost(m->weight[i]);
        m->cost[i] = (int64_t)p->costs[i];
        m->frame_max[i] = 1 + (int64_t)(random_next(&p->random) % FRAME_MAX);
    }
    weir_sched_init(&p->sched, p->finish, p->costs, m->urgent, m->cnt);
    p->sched.vtime[0] = p->sched.vtime[1] = tag_base;
    m->vtime[0] = m->vtime[1] = tag_base;
}

static void program_arrive(struct program *p)
{
    struct model *m = &p->model;
    uint32_t idx = (uint32_t)(random_next(&p->random) % m->cnt);
    if (!p->queued[idx])
        model_wake(m, idx);
    p->queued[idx] += 1 + (uint32_t)(random_next(&p->random) % 40);
}

/* Runs `step_cnt` steps; returns the step at which scheduler and model differ, or `step_cnt`. */
static uint32_t program_run(struct program *p, uint32_t step_cnt, charge_fn charge)
{
    struct model *m = &p->model;
    for (uint32_t step = 0; step < step_cnt; step++) {
        uint64_t burst = random_next(&p->random) % 1000;
        for (uint64_t i = 0; i < (burst < 60 ? 1 : burst == 999 ? 2 * m->cnt : 0); i++)
            program_arrive(p);
        if (!m->backlogged)
            continue;
        /* Some are without credit for a moment: not eligible, though they have frames. */
        uint64_t eligible = m->backlogged;
        if (random_next(&p->random) % 50 == 0)
            eligible &= random_next(&p->random);
        if (!eligible)
            continue;
        uint32_t idx = weir_sched_pick(&p->sched, eligible);
        if (!((eligible >> idx) & 1) || idx != model_pick(m, eligible))
            return step;
        for (uint64_t set = m->backlogged & ~eligible; set; set &= set - 1)
            model_wake(m, (uint32_t)__builtin_ctzll(set)); /* its interval begins again */
        uint32_t len = 1 + (uint32_t)(random_next(&p->random) % (uint64_t)m->frame_max[idx]);
        if (random_next(&p->random) % 4 == 0)
            len = (uint32_t)m->frame_max[idx];
        charge(&p->sched, idx, len);
        if (!model_serve(m, idx, len))
            return step;
        if (--p->queued[idx] == 0)
            m->backlogged &= ~(UINT64_C(1) << idx);
    }
    return step_cnt;
}

/* ---- tests ---------------------------------------------------------------------------------------- */

Test(sched, costs_are_within_one_part_in_a_thousand)
{
    for (uint16_t weight = 1; weight <= 1000; weight++) {
        int64_t off = (int64_t)weir_sched_cost(weight) * weight - COST_ONE;
        cr_assert_leq(off < 0 ? -off : off, COST_ONE / 1000, "weight %u", weight);
    }
    cr_assert_eq(COST_ONE & (COST_ONE - 1), 0);
}

Test(sched, bytes_by_weight_differ_by_one_frame_each_over_every_interval)
{
    static struct program program;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        program_init(&program, seed, 0);
        uint32_t step = program_run(&program, 20000, weir_sched_charge);
        cr_assert_eq(step, 20000, "seed %llu, step %u", (unsigned long long)seed, step);
    }
}

Test(sched, tags_are_brought_down_and_nothing_changes)
{
    static struct program program;
    const uint64_t high = UINT64_C(1) << 62;
    uint32_t lowered_cnt = 0;
    for (uint64_t seed = 1; seed <= 52; seed++) {
        /* From just below to well below, so that it is passed early, late or not at all. */
        uint64_t below = UINT64_C(1) << (seed % 52);
        program_init(&program, seed, high - below);
        uint32_t step = program_run(&program, 20000, weir_sched_charge);
        cr_assert_eq(step, 20000, "seed %llu, step %u", (unsigned long long)seed, step);
        cr_assert_leq(program.sched.vtime[0], high + FRAME_MAX * (uint64_t)COST_ONE);
        lowered_cnt += program.sched.vtime[0] < high / 2;
    }
    cr_assert_geq(lowered_cnt, 20);
}

Test(sched, a_scheduler_with_a_fault_is_found_out)
{
    static struct program program;
    static const charge_fn faults[] = {charge_saving_credit, charge_without_weight, charge_short};
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        uint32_t found = 0;
        for (uint64_t seed = 1; seed <= 10; seed++) {
            program_init(&program, seed, 0);
            found += program_run(&program, 20000, faults[i]) < 20000;
        }
        cr_assert_geq(found, 9, "fault %zu was found under %u of 10 seeds", i, found);
    }
    uint32_t found = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        program_init(&program, seed, 0);
        found += program_run(&program, 20000, charge_one_class) < 20000;
    }
    cr_assert_geq(found, 3, "a third of the programs has urgent channels");
}

/* The bound itself, without the comparison of picks: a scheduler that picks otherwise, but as fairly,
 * would pass; one that merely serves in turn does not. */
Test(sched, the_bound_alone_finds_a_round_robin_out)
{
    static struct program program;
    program_init(&program, 4, 0);
    struct model *m = &program.model;
    m->cnt = 2;
    m->urgent = 0;
    m->weight[0] = 1;
    m->weight[1] = 2;
    m->cost[0] = COST_ONE;
    m->cost[1] = COST_ONE / 2;
    m->frame_max[0] = m->frame_max[1] = 1000;
    model_wake(m, 0);
    model_wake(m, 1);
    uint32_t served = 0;
    while (served < 1000 && model_serve(m, served % 2, 1000))
        served++;
    cr_assert_lt(served, 12);
}

Test(sched, shares_follow_weights_within_a_thousandth)
{
    static const uint16_t weights[3] = {1, 5, 10};
    uint64_t finish[3], costs[3], served[3] = {0};
    for (uint32_t i = 0; i < 3; i++)
        costs[i] = weir_sched_cost(weights[i]);
    struct weir_sched sched;
    weir_sched_init(&sched, finish, costs, 0, 3);
    uint64_t random = 7;
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t idx = weir_sched_pick(&sched, 7);
        uint32_t len = 1 + (uint32_t)(random_next(&random) % 4096);
        weir_sched_charge(&sched, idx, len);
        served[idx] += len;
    }
    double total = (double)(served[0] + served[1] + served[2]);
    for (uint32_t i = 0; i < 3; i++) {
        double share = (double)served[i] / total;
        cr_assert_float_eq(share, weights[i] / 16.0, 0.001 * weights[i] / 16.0, "weight %u: %f",
                           weights[i], share);
    }
}

Test(sched, nobody_saves_up_while_idle)
{
    uint64_t finish[2], costs[2] = {weir_sched_cost(1), weir_sched_cost(1)};
    struct weir_sched sched;
    weir_sched_init(&sched, finish, costs, 0, 2);
    for (uint32_t i = 0; i < 100000; i++) /* channel 1 sleeps while 6.5 GB go by */
        weir_sched_charge(&sched, weir_sched_pick(&sched, 1), FRAME_MAX);
    uint64_t run = 0, longest = 0, served[2] = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t idx = weir_sched_pick(&sched, 3);
        weir_sched_charge(&sched, idx, FRAME_MAX);
        served[idx]++;
        run = idx == 1 ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    cr_assert_leq(longest, 1, "one frame and no more");
    cr_assert(served[0] >= 499 && served[1] >= 499);
    /* And one that was alone for long does not pay for it later. */
    cr_assert_leq(served[1], 501);
}

Test(sched, urgent_channels_go_first_and_are_fair_among_themselves)
{
    uint64_t finish[4], costs[4], served[4] = {0};
    static const uint16_t weights[4] = {1000, 1, 3, 1000};
    for (uint32_t i = 0; i < 4; i++)
        costs[i] = weir_sched_cost(weights[i]);
    struct weir_sched sched;
    weir_sched_init(&sched, finish, costs, 0x6, 4); /* 1 and 2 are urgent */
    for (uint32_t i = 0; i < 40000; i++) {
        uint32_t idx = weir_sched_pick(&sched, 0xF);
        cr_assert(idx == 1 || idx == 2, "%u before an urgent one", idx);
        weir_sched_charge(&sched, idx, 1000);
        served[idx]++;
    }
    cr_assert_float_eq((double)served[2] / (double)served[1], 3.0, 0.01);
    /* What the urgent ones did has no effect on the others. */
    for (uint32_t i = 0; i < 10; i++) {
        uint32_t idx = weir_sched_pick(&sched, 0x9);
        cr_assert_eq(idx, i % 2 ? 3 : 0);
        weir_sched_charge(&sched, idx, 1000);
    }
}
