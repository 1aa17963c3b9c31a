/* demo_votes.h: which votes have come, of those that node 1 has published: all below one number, and some above.
 *
 * Gossip brings each once and in no order. How far above is bounded by DEMO_VOTES_AHEAD: node 1 waits for who is
 * behind.
 */
#ifndef DEMO_VOTES_H
#define DEMO_VOTES_H

#include "bytes.h"
#include "demo.h"

#define DEMO_VOTES_WINDOW 4096u
_Static_assert(DEMO_VOTES_AHEAD < DEMO_VOTES_WINDOW, "what is published has a place in the window");

struct demo_votes {
    uint64_t next;                         /* every vote below it has come, and it has not */
    uint64_t cnt;                          /* that have come */
    uint64_t bad;                          /* damaged, or twice */
    uint64_t bits[DEMO_VOTES_WINDOW / 64]; /* by seq modulo the window: has come, from `next` on */
};

/* Takes a vote. Returns whether it is a new one with every byte right. */
static inline bool demo_votes_take(struct demo_votes *votes, const uint8_t *data, uint32_t len)
{
    bool is_whole =
        len == DEMO_VOTE_BYTES && data[0] == DEMO_STAMPED && demo_stamp_is_whole(data, len);
    uint64_t seq = is_whole ? get_u64(data + 8) : 0;
    uint64_t at = seq % DEMO_VOTES_WINDOW, bit = UINT64_C(1) << at % 64;
    if (!is_whole || seq < votes->next || seq - votes->next >= DEMO_VOTES_WINDOW ||
        (votes->bits[at / 64] & bit) != 0) {
        votes->bad++;
        return false;
    }
    votes->bits[at / 64] |= bit;
    votes->cnt++;
    for (;;) {
        at = votes->next % DEMO_VOTES_WINDOW;
        bit = UINT64_C(1) << at % 64;
        if ((votes->bits[at / 64] & bit) == 0)
            return true;
        votes->bits[at / 64] &= ~bit;
        votes->next++;
    }
}

#endif
