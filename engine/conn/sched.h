/* engine/conn/sched.h: which channel's frame is next: start-time fair queueing.
 *
 * Each frame of channel f gets a start tag S = max(V, F_f) and a finish tag F_f = S + len / weight_f; the
 * frame with the least S goes next and V becomes its S. No channel saves up credit while idle (S >= V).
 * Over any interval in which channels f and m stay backlogged, their bytes divided by weight differ by at
 * most one maximum frame each:  |W_f/w_f - W_m/w_m| <= l_f/w_f + l_m/w_m.
 * Source: Goyal, Vin, Cheng, "Start-time Fair Queuing", SIGCOMM 1996, theorem 1.
 *
 * Tags are integers of 2^-32 byte per unit of weight: with weights up to 1,000 the rounding is far below one
 * part in 1,000. They are brought down together before they can wrap.
 * Channels with an urgent flag go before all others; among themselves they are as fair.
 */
#ifndef WEIR_ENGINE_CONN_SCHED_H
#define WEIR_ENGINE_CONN_SCHED_H

#include <stdint.h>

struct weir_sched {
    uint64_t vtime[2]; /* virtual time of the weighted and of the urgent class */
    uint64_t urgent;   /* a bit per channel */
    uint64_t *finish;  /* a tag per channel; the owner's memory */
    uint64_t *cost;    /* 2^32 / weight per channel; shared, read-only here */
    uint32_t channel_cnt;
};

/* Starts with all tags zero. `finish` and `cost` have `channel_cnt` (1 to 64) entries. */
void weir_sched_init(struct weir_sched *sched, uint64_t *finish, uint64_t *cost, uint64_t urgent,
                     uint32_t channel_cnt);

/* The cost entry for a weight of 1 to 1,000. */
uint64_t weir_sched_cost(uint16_t weight);

/* The channel whose frame goes next among `eligible` (a bit each, not 0). */
uint32_t weir_sched_pick(const struct weir_sched *sched, uint64_t eligible);

/* Charges a frame of `len` bytes to the channel that was picked. */
void weir_sched_charge(struct weir_sched *sched, uint32_t channel_idx, uint32_t len);

#endif
