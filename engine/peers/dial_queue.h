/* engine/peers/dial_queue.h: how many dials are under way at once, and who waits for his turn, in the order they came.
 *
 * A dial is under way from its turn on until it is connected or its round has failed: while its name is looked up and
 * while it connects. Everything by place in the dialer's entries. */
#ifndef WEIR_ENGINE_PEERS_DIAL_QUEUE_H
#define WEIR_ENGINE_PEERS_DIAL_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_DIAL_NOBODY UINT32_MAX

struct weir_dial_link { /* of one entry */
    uint32_t prev, next;
    bool is_waiting, is_active;
};

struct weir_dial_queue {
    uint32_t active_cnt, active_max; /* active_max 0: any number */
    uint32_t head, tail;
};

void weir_dial_queue_init(struct weir_dial_queue *ret_queue, uint32_t active_max);

/* Where the links are: in the caller's entries, the first at `base`, `stride` bytes apart. */
struct weir_dial_links {
    void *base;
    uint32_t stride;
};

/* True: it is the entry's turn. False: it waits, and weir_dial_queue_next will name it. */
bool weir_dial_queue_enter(struct weir_dial_queue *queue, struct weir_dial_links links,
                           uint32_t idx);
/* It is not under way any more, and does not wait; both may be so already. */
void weir_dial_queue_leave(struct weir_dial_queue *queue, struct weir_dial_links links,
                           uint32_t idx);
/* Whose turn it is now, or WEIR_DIAL_NOBODY. He is under way from then on. */
uint32_t weir_dial_queue_next(struct weir_dial_queue *queue, struct weir_dial_links links);

#endif
