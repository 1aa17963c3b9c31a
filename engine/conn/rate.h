/* engine/conn/rate.h: how much a peer may send us, and we it: token buckets in bytes and messages, per peer and per
 * channel, and the node's own for what it sends (engine/conn/upload.h).
 *
 * Sending: a channel whose bucket, or whose peer's, or the node's is in debt is not picked by the scheduler; others are.
 * A timer of the connection comes up when the first of them is paid, in whole milliseconds.
 *
 * Receiving: what is over its rate gets no new credit until the bucket is paid. The peer then stops on that channel, by
 * itself and without a byte lost, while pings, goodbyes and other channels go on. (Not reading the socket would stop
 * those too, and the connection with them.) A peer may use what it was granted before: up to recv_bytes_max at once.
 *
 * Without any rate in the configuration hub->rates is NULL, and the data path looks at that pointer once per send.
 */
#ifndef WEIR_ENGINE_CONN_RATE_H
#define WEIR_ENGINE_CONN_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/bucket.h"
#include "engine/base/wheel.h"
#include "engine/conn/upload.h"

struct weir_hub;
struct weir_conn;

#define WEIR_TIMER_RATE 22u /* arg: the slot, or */
#define WEIR_RATE_UPLOAD UINT32_MAX

enum weir_rate_kind {
    WEIR_RATE_SEND_BYTES,
    WEIR_RATE_SEND_MSGS,
    WEIR_RATE_RECV_BYTES,
    WEIR_RATE_RECV_MSGS,
    WEIR_RATE_KINDS
};

struct weir_rates;

/* Takes memory when the configuration has a rate, or `hub->upload` is set. Errors: WEIR_E_NOMEM. */
int weir_rates_init(struct weir_hub *hub);
void weir_rates_free(struct weir_hub *hub);

/* A slot is taken; it ends. Nothing without rates, as all below that only a hub with rates calls. */
void weir_rates_begin(struct weir_conn *conn);
void weir_rates_end(struct weir_conn *conn);

/* Of `channels` (a bit each), those that may send now. Sees to it that the others are looked at again. */
uint64_t weir_rates_may_send(struct weir_conn *conn, uint64_t channels);
void weir_rates_sent(struct weir_conn *conn, uint32_t channel_idx, uint32_t bytes, uint32_t msgs);

/* The same for credit: whether a channel may be granted some, and that it was. */
bool weir_rates_may_grant(struct weir_conn *conn, uint32_t channel_idx);
void weir_rates_granted(struct weir_conn *conn, uint32_t channel_idx, uint64_t bytes);
/* Messages were delivered. */
void weir_rates_received(struct weir_conn *conn, uint32_t channel_idx, uint32_t msgs);

/* A timer of WEIR_TIMER_RATE came up. */
void weir_rates_fire(struct weir_hub *hub, uint32_t arg);

#endif
