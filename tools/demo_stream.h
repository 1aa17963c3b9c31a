/* demo_stream.h: a paced stream of stamped messages: when the next one is due, and the checks of one
 * that arrived. State is such a stream; votes are paced by the same clock, and checked by demo_votes.h. */
#ifndef DEMO_STREAM_H
#define DEMO_STREAM_H

#include <string.h>

#include "bytes.h"
#include "demo.h"

/* The sending end. Message `seq` is due at start + seq * interval, however late the ones before it
 * were, so that a sender that stalls does not hide it by sending less. */
struct demo_pace {
    weir_ns start, interval;
    uint64_t seq;
};

static inline weir_ns demo_pace_due(const struct demo_pace *pace)
{
    return pace->start + pace->seq * pace->interval;
}

/* Writes the last message of a stream and returns its length. */
static inline size_t demo_fin(uint8_t ret[DEMO_STAMP_BYTES], uint64_t cnt, uint64_t vote_cnt)
{
    memset(ret, 0, DEMO_STAMP_BYTES);
    ret[0] = DEMO_FIN;
    put_u64(ret + 8, cnt);
    put_u64(ret + 16, vote_cnt);
    return DEMO_STAMP_BYTES;
}

/* The receiving end. */
struct demo_check {
    uint64_t next_seq, lost, bad;
    bool has_fin;
};

/* Takes one message of a stream whose messages have `len` bytes. Returns whether it is a stamped one
 * with every byte right (so its times can be used). */
static inline bool demo_check_take(struct demo_check *check, const struct weir_msg *msg, size_t len)
{
    if (msg->len < DEMO_STAMP_BYTES || check->has_fin) {
        check->bad++;
        return false;
    }
    uint64_t seq = get_u64(msg->data + 8);
    if (seq < check->next_seq) { /* twice, or out of order: neither may happen */
        check->bad++;
        return false;
    }
    check->lost += seq - check->next_seq;
    if (msg->data[0] == DEMO_FIN) {
        check->has_fin = true;
        return false;
    }
    check->next_seq = seq + 1;
    if (msg->data[0] == DEMO_STAMPED && msg->len == len && demo_stamp_is_whole(msg->data, len))
        return true;
    check->bad++;
    return false;
}

static inline void demo_count(struct demo_slot *slot, uint16_t channel, uint32_t len)
{
    atomic_fetch_add_explicit(&slot->channel_msgs[channel - 1], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&slot->channel_bytes[channel - 1], len, memory_order_relaxed);
}

#endif
