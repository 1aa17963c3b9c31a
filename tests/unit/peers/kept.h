/* tests/unit/peers/kept.h: targets for a dialer without a node: made when they are added, freed when it forgets. */
#ifndef WEIR_TESTS_UNIT_PEERS_KEPT_H
#define WEIR_TESTS_UNIT_PEERS_KEPT_H

#include <stdlib.h>

#include "engine/peers/dial.h"

static inline int kept_add(struct weir_dialer *dialer, const struct weir_target *target,
                           uint32_t flags)
{
    struct weir_target_kept *kept = malloc(weir_target_kept_bytes(target));
    weir_target_keep(kept, target);
    int error = weir_dialer_add(dialer, kept, flags);
    if (error)
        free(kept);
    return error;
}

static inline void kept_drop(struct weir_target_kept *kept)
{
    free(kept);
}

#endif
