/* The scheduler against start-time fair queueing as the paper has it, with tags of 128 bits that need never be
 * brought down; and against the paper's fairness bound, which knows nothing of tags.
 *
 * input: channels, weights, urgent ones, how far the tags have come; then operations.
 */
#include "engine/conn/sched.h"
#include "tests/fuzz/fuzz.h"

#define FRAME_MAX 65568u /* bytes, header included */

typedef unsigned __int128 tag;

struct model {
    uint32_t cnt;
    uint16_t weights[64];
    uint64_t costs[64];
    uint64_t urgent;
    tag finish[64], vtime[2];
};

static tag model_start(const struct model *model, uint32_t idx)
{
    tag vtime = model->vtime[model->urgent >> idx & 1];
    return model->finish[idx] > vtime ? model->finish[idx] : vtime;
}

static uint32_t model_pick(const struct model *model, uint64_t eligible)
{
    uint64_t set = eligible & model->urgent ? eligible & model->urgent : eligible;
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < model->cnt; i++) {
        if (!(set >> i & 1))
            continue;
        if (best == UINT32_MAX || model_start(model, i) < model_start(model, best))
            best = i;
    }
    return best;
}

static void model_charge(struct model *model, uint32_t idx, uint32_t len)
{
    tag start = model_start(model, idx);
    model->vtime[model->urgent >> idx & 1] = start;
    model->finish[idx] = start + (tag)len * model->costs[idx];
}

/* |W_a/w_a - W_b/w_b| <= l_a/w_a + l_b/w_b while both stay backlogged: two channels of one class. */
struct pair {
    uint32_t idx[2];
    uint64_t bytes[2];
    bool is_watched;
};

static void pair_watch(struct pair *pair, const struct model *model, uint64_t eligible)
{
    bool is_same_class = (model->urgent >> pair->idx[0] & 1) == (model->urgent >> pair->idx[1] & 1);
    pair->is_watched = is_same_class && pair->idx[0] != pair->idx[1] &&
                       (eligible >> pair->idx[0] & 1) && (eligible >> pair->idx[1] & 1);
    if (!pair->is_watched)
        pair->bytes[0] = pair->bytes[1] = 0;
}

static void pair_charge(struct pair *pair, const struct model *model, uint32_t idx, uint32_t len)
{
    if (!pair->is_watched)
        return;
    for (uint32_t i = 0; i < 2; i++)
        pair->bytes[i] += pair->idx[i] == idx ? len : 0;
    uint64_t w[2] = {model->weights[pair->idx[0]], model->weights[pair->idx[1]]};
    /* All times both weights. A cost is rounded to 2^-32, so the sums may be off by their 2^-22nd part. */
    double a = (double)(pair->bytes[0] * w[1]), b = (double)(pair->bytes[1] * w[0]);
    double bound = FRAME_MAX * (double)(w[0] + w[1]);
    double slack = (a + b) / 4194304.0 + 1;
    FUZZ_CHECK(a - b <= bound + slack && b - a <= bound + slack);
}

static void begin(struct model *model, struct weir_sched *sched, struct fuzz *fuzz,
                  uint64_t *finish, uint64_t *cost)
{
    memset(model, 0, sizeof *model);
    model->cnt = 1 + fuzz_below(fuzz, 64);
    model->urgent = fuzz_flag(fuzz) ? fuzz_uint(fuzz, 8) : fuzz_u8(fuzz);
    if (model->cnt < 64)
        model->urgent &= (UINT64_C(1) << model->cnt) - 1;
    bool is_wide = fuzz_flag(fuzz);
    for (uint32_t i = 0; i < model->cnt; i++) {
        model->weights[i] =
            (uint16_t)(1 + (is_wide ? fuzz_below(fuzz, 1000) : fuzz_below(fuzz, 4)));
        model->costs[i] = cost[i] = weir_sched_cost(model->weights[i]);
        /* 2^32 / weight, rounded. */
        FUZZ_CHECK(cost[i] * model->weights[i] + model->weights[i] / 2 >= UINT64_C(1) << 32);
        FUZZ_CHECK(cost[i] * model->weights[i] <= (UINT64_C(1) << 32) + model->weights[i] / 2);
    }
    weir_sched_init(sched, finish, cost, model->urgent, model->cnt);
    /* As after so many bytes: just below where the tags are brought down, or anywhere. */
    uint64_t base = fuzz_flag(fuzz) ? (UINT64_C(1) << 62) - (fuzz_uint(fuzz, 4) << 18) : 0;
    for (uint32_t i = 0; i < 2; i++)
        model->vtime[i] = sched->vtime[i] = base;
    for (uint32_t i = 0; i < model->cnt; i++)
        model->finish[i] = finish[i] = base;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_begin(data, size);
    struct model model;
    struct weir_sched sched;
    uint64_t finish[64], cost[64];
    begin(&model, &sched, &fuzz, finish, cost);
    uint64_t all = model.cnt == 64 ? UINT64_MAX : (UINT64_C(1) << model.cnt) - 1;
    uint64_t eligible = all;
    struct pair pair = {.idx = {fuzz_below(&fuzz, model.cnt), fuzz_below(&fuzz, model.cnt)}};
    while (fuzz_has_more(&fuzz)) {
        uint8_t op = fuzz_u8(&fuzz);
        if (op < 32) {
            eligible ^= UINT64_C(1) << fuzz_below(&fuzz, model.cnt);
        } else if (op < 34) {
            eligible = fuzz_uint(&fuzz, 8) & all;
        } else if (op < 36) {
            pair.idx[0] = fuzz_below(&fuzz, model.cnt);
            pair.idx[1] = fuzz_below(&fuzz, model.cnt);
            pair.bytes[0] = pair.bytes[1] = 0;
        }
        pair_watch(&pair, &model, eligible);
        if (eligible == 0)
            continue;
        for (uint32_t i = 0; i <= (op & 15u); i++) {
            uint32_t idx = weir_sched_pick(&sched, eligible);
            FUZZ_CHECK(idx < model.cnt && (eligible >> idx & 1));
            FUZZ_CHECK(idx == model_pick(&model, eligible));
            uint32_t len = op & 16 ? FRAME_MAX : 32 + fuzz_below(&fuzz, 65537);
            weir_sched_charge(&sched, idx, len);
            model_charge(&model, idx, len);
            pair_charge(&pair, &model, idx, len);
        }
        for (uint32_t i = 0; i < 2; i++) /* brought down in time */
            FUZZ_CHECK(sched.vtime[i] <= UINT64_C(1) << 62);
    }
    return 0;
}
