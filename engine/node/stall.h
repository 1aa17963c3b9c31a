/* engine/node/stall.h: how long turns take, and what a turn that took too long was doing.
 *
 * A turn is measured from the end of its wait to its own end: one look at the clock. One that takes turn_warn_ns or
 * longer is counted, and told in the log at most once a minute per shard, with what it handled. From then on, for two
 * minutes, the stages are timed too, so that the next line says which of them it was: usually *dispatch*, an
 * application's callback.
 */
#ifndef WEIR_ENGINE_NODE_STALL_H
#define WEIR_ENGINE_NODE_STALL_H

#include <stdbool.h>
#include <stdint.h>

struct weir_shard;

enum weir_stage {
    WEIR_STAGE_RX, /* receive, decode; connects and accepts */
    WEIR_STAGE_DISPATCH,
    WEIR_STAGE_TIMERS,
    WEIR_STAGE_LETTERS,
    WEIR_STAGE_ENDS,
    WEIR_STAGE_TX,
    WEIR_STAGE_CNT
};

struct weir_stall {
    uint64_t log_ns;   /* no line before */
    uint64_t watch_ns; /* until then the stages are timed */
    uint32_t unsaid;   /* stalled turns since the last line */
    bool is_watching;
    uint64_t end_ns;  /* of the last turn */
    uint64_t last_ns; /* while watching: the end of the last stage */
    uint64_t stage_ns[WEIR_STAGE_CNT];
    uint64_t frames_tx, frames_rx, timers, letters; /* the counters when the last turn ended */
};

/* A turn ended. */
void weir_stall_end(struct weir_shard *shard, int64_t event_cnt);

void weir_stall_mark(struct weir_shard *shard, enum weir_stage stage);

#endif
