#include "engine/conn/sched.h"

#include <string.h>

#include "engine/base/check.h"

#define COST_ONE (UINT64_C(1) << 32)
/* A frame is at most 2^16 + 64 bytes, so a tag grows by less than 2^49 at a time. */
#define TAG_HIGH (UINT64_C(1) << 62)

void weir_sched_init(struct weir_sched *sched, uint64_t *finish, uint64_t *cost, uint64_t urgent,
                     uint32_t channel_cnt)
{
    WEIR_CHECK(channel_cnt >= 1 && channel_cnt <= 64);
    memset(finish, 0, channel_cnt * sizeof(*finish));
    *sched = (struct weir_sched){
        .urgent = urgent, .finish = finish, .cost = cost, .channel_cnt = channel_cnt};
}

uint64_t weir_sched_cost(uint16_t weight)
{
    return (COST_ONE + weight / 2) / weight;
}

static uint64_t start_tag(const struct weir_sched *sched, uint32_t idx, uint64_t vtime)
{
    uint64_t finish = sched->finish[idx];
    return finish > vtime ? finish : vtime;
}

uint32_t weir_sched_pick(const struct weir_sched *sched, uint64_t eligible)
{
    WEIR_DCHECK(eligible != 0);
    uint64_t urgent = WEIR_PLANTED(URGENT) ? 0 : eligible & sched->urgent;
    uint64_t set = urgent ? urgent : eligible;
    if ((set & (set - 1)) == 0 || WEIR_PLANTED(FAIR)) /* one: the usual case */
        return (uint32_t)__builtin_ctzll(set);
    uint64_t vtime = sched->vtime[urgent != 0];
    uint32_t best = 0;
    uint64_t best_tag = UINT64_MAX;
    for (; set; set &= set - 1) {
        uint32_t idx = (uint32_t)__builtin_ctzll(set);
        uint64_t tag = start_tag(sched, idx, vtime);
        if (tag < best_tag) {
            best_tag = tag;
            best = idx;
        }
    }
    return best;
}

/* Brings every tag of one class down by its virtual time; differences stay as they are, and a tag below
 * the virtual time means the same as one that equals it. */
static void rebase(struct weir_sched *sched, uint32_t class_idx)
{
    uint64_t base = sched->vtime[class_idx];
    for (uint32_t i = 0; i < sched->channel_cnt; i++) {
        if (((sched->urgent >> i) & 1) != class_idx)
            continue;
        sched->finish[i] = sched->finish[i] > base ? sched->finish[i] - base : 0;
    }
    sched->vtime[class_idx] = 0;
}

void weir_sched_charge(struct weir_sched *sched, uint32_t channel_idx, uint32_t len)
{
    uint32_t class_idx = (sched->urgent >> channel_idx) & 1;
    uint64_t start = start_tag(sched, channel_idx, sched->vtime[class_idx]);
    sched->vtime[class_idx] = start;
    sched->finish[channel_idx] = start + len * sched->cost[channel_idx];
    if (WEIR_UNLIKELY(start > TAG_HIGH))
        rebase(sched, class_idx);
}
