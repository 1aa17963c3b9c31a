/* bench/libuv/link.h: libuv's rival: a loop, one connection, messages behind a length of 4 bytes.
 *
 * Sending: uv_write of one of two batches of 256 KiB while the other is filled; what is larger than
 * 8 KiB is not copied. Receiving: one buffer of 256 KiB, from which whole messages are delivered
 * where they lie; a message of which more than a buffer is missing is read straight into its place.
 * The sockets are opened by bench/net.c and given to uv_tcp_open, so that they have the run's
 * settings.
 */
#ifndef WEIR_BENCH_LIBUV_LINK_H
#define WEIR_BENCH_LIBUV_LINK_H

#include <uv.h>

#include "bench/bench.h"
#include "bench/pace.h"
#include "bench/source.h"

#define LIBUV_BATCH_BYTES ((size_t)256 * 1024)
#define LIBUV_RECV_BYTES ((size_t)256 * 1024)
#define LIBUV_COPY_MAX 8192u /* larger messages are sent from where they lie */
#define LIBUV_HEAD 4u
/* Two for each message above LIBUV_COPY_MAX, until the batch is full. */
#define LIBUV_BUFS 68u

struct libuv_link;

/* What one uv_write sends. */
struct libuv_batch {
    uv_write_t req;
    struct libuv_link *link;
    bool is_busy;  /* libuv has it */
    uint8_t *data; /* lengths and messages, or only lengths */
    size_t data_len;
    uint8_t *msgs; /* larger messages, as many as the batch can refer to */
    uv_buf_t bufs[LIBUV_BUFS];
    unsigned buf_cnt;
};

struct libuv_link {
    struct bench_run *run;
    uv_loop_t loop;
    uv_tcp_t tcp;
    uv_timer_t tick; /* so that nobody sleeps through a phase */
    bool is_failed, is_ended;
    struct libuv_batch batches[2];
    struct bench_source source;
    uint64_t seq;  /* of the next larger message */
    uint32_t owed; /* messages to send when a batch is free */
    /* Receiving. */
    uint8_t *buffer;
    uint8_t head[LIBUV_HEAD];
    uint32_t head_len;
    uint8_t *msg; /* the one message that a buffer ended in */
    uint32_t msg_len, msg_at;
    bool is_direct; /* the read under way fills `msg` */
    /* Called for each whole message. */
    void (*deliver)(struct libuv_link *link, const uint8_t *data, uint32_t len);
};

/* Opens loop and connection and begins to read. False after bench_fail(). */
bool libuv_link_open(struct libuv_link *link, struct bench_run *run,
                     void (*deliver)(struct libuv_link *link, const uint8_t *data, uint32_t len));

/* One iteration of the loop: sleeping until something happens, or not. False after bench_fail(). */
bool libuv_link_turn(struct libuv_link *link, bool is_idle);

/* A batch that libuv does not have; NULL: it has both. */
struct libuv_batch *libuv_link_batch(struct libuv_link *link);

/* Appends up to `msg_max` messages until the batch is full. Returns how many. */
uint64_t libuv_batch_fill(struct libuv_batch *batch, uint64_t msg_max);

/* Appends a copy of a message of up to BENCH_PACE_BYTES_MAX bytes. */
void libuv_batch_put(struct libuv_batch *batch, const void *data, uint32_t len);

static inline bool libuv_batch_is_full(const struct libuv_batch *batch)
{
    return batch->data_len >= LIBUV_BATCH_BYTES;
}

/* Gives the batch to libuv, which tries to write it at once. */
void libuv_batch_send(struct libuv_batch *batch);

/* Sends one message: now, or when a batch is free. libuv can deliver several answers before it says
 * that the questions have been written. */
void libuv_link_send_one(struct libuv_link *link);

/* Says that nothing follows and waits until the receiver has counted and closed. */
enum bench_status libuv_link_end(struct libuv_link *link);

#endif
