/* engine/conn/burst.h: small messages that follow each other on one channel of one peer.
 *
 * Everything that weir_sendq_copy asks before it queues a message (is there room, is the channel agreed, does
 * the message fit the run) has the same answer for the next one, up to a number of bytes that is known. From
 * the second message in a row on, that many bytes are accounted as queued at once, and messages up to there
 * are appended to the open run with nothing but a comparison. What was not used is given back when the burst
 * ends: at the next call for anything else, when the callback returns, and at the latest before the turn
 * sends. So others see a queue that holds as much as may be in it, never less, and no bound is exceeded.
 *
 * One burst a thread, and only while a turn of the shard runs on it (node/send.c): nothing is left of one when
 * the node is freed, by whatever thread.
 */
#ifndef WEIR_ENGINE_CONN_BURST_H
#define WEIR_ENGINE_CONN_BURST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/check.h"
#include "proto/native_run.h"

#define WEIR_BURST_MSG_MAX 4096u /* longer messages begin none: few fit a run */

struct weir_config;
struct weir_conn;
struct weir_conn_channel;
struct weir_item;

struct weir_burst {
    uint64_t peer;                 /* whose, as weir_peer.v; 0: there is no burst */
    const struct weir_config *cfg; /* its node's: ids are those of a node */
    uint32_t channel;              /* its id */
    uint32_t len_max;              /* of a message */
    uint8_t *at, *end;             /* where the next one goes, and where what was accounted ends */
    uint32_t msg_cnt;              /* appended */
    uint32_t channel_idx;
    uint8_t *begin;
    struct weir_conn *conn;
    struct weir_item *run;
    const struct weir_conn_channel *last; /* what was queued on last, for comparison alone */
};

/* Initial-exec, as weir_thread_number. */
extern _Thread_local struct weir_burst weir_burst __attribute__((tls_model("initial-exec")));

/* A copy of at most WEIR_BURST_MSG_MAX bytes was queued by the shard's own thread. If the one before went to the same channel of the same peer, a burst
 * begins behind it, for as many bytes as every bound allows. */
void weir_burst_follow(struct weir_conn *conn, uint32_t channel_idx);

/* Does the accounts of what was appended, and gives back what was not used. */
void weir_burst_settle(void);

static inline void weir_burst_end(void)
{
    if (WEIR_UNLIKELY(weir_burst.peer))
        weir_burst_settle();
}

/* Appends a message to the burst. Returns whether it was one of it, and fitted. */
static inline bool weir_burst_append(uint64_t peer, const struct weir_config *cfg, uint32_t channel,
                                     const void *data, size_t len)
{
    struct weir_burst *burst = &weir_burst;
    if (burst->peer != peer || burst->cfg != cfg || burst->channel != channel ||
        len > burst->len_max || (size_t)(burst->end - burst->at) < WEIR_RUN_PREFIX + len)
        return false;
    burst->at = weir_run_put(burst->at, data, (uint16_t)len);
    burst->msg_cnt++;
    return true;
}

#endif
