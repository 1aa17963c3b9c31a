/* bench/frame.h: the hand-written rivals' frames, built and taken apart; no socket, no ring.
 *
 *      0      2        3      4        8               16
 *     ┌──────┬────────┬──────┬────────┬───────────────┬──────────────────┐
 *     │magic │channel │flags │len     │XXH3-64        │len bytes         │  host byte order
 *     └──────┴────────┴──────┴────────┴───────────────┴──────────────────┘
 *
 * A message of up to 64 KiB is one frame, copied behind its header into a batch of 256 KiB. A
 * larger one is frames of 64 KiB whose payload is not copied: the batch lists headers and slices
 * for sendmsg, and has 1 MiB: at 1 MiB a message, batches of 256 KiB were 0.6 of that.
 */
#ifndef WEIR_BENCH_FRAME_H
#define WEIR_BENCH_FRAME_H

#include <stddef.h>
#include <sys/uio.h>

#include "bench/bench.h"
#include "bench/pace.h"
#include "bench/source.h"
#include "engine/base/hash.h"

#define FRAME_BATCH_BYTES (256u * 1024)   /* a batch is full when it has at least this much */
#define FRAME_GATHER_BYTES (1024u * 1024) /* the same when messages are not copied */
#define FRAME_BYTES_MAX 65536u            /* most payload of one frame */
#define FRAME_MAGIC 0x7277u

enum frame_flags { FRAME_FIRST = 1, FRAME_LAST = 2 };

struct frame_header {
    uint16_t magic;
    uint8_t channel, flags;
    uint32_t len;
    uint64_t hash;
};
_Static_assert(sizeof(struct frame_header) == 16, "the header is 16 bytes");

/* Each piece of a message above 64 KiB is two vectors; the shortest such message is two pieces, of
 * 65,536 and 1 byte, so that 1 MiB are at most 16 whole pieces and as many of their tails, and one. */
#define FRAME_VECTORS 80u

/* What one send carries. */
struct frame_batch {
    uint8_t *data; /* whole frames, or only headers */
    size_t data_len;
    size_t len; /* all bytes to send; 0: empty */
    struct iovec vectors[FRAME_VECTORS];
    uint32_t vector_cnt, vector_idx; /* vector_idx: the first that is not yet sent whole */
};

/* Builds frames. Large messages lie in `msgs`, as many as two batches and the next can refer to. */
struct frame_writer {
    const struct weir_hash_ops *hash;
    struct bench_source source; /* messages of up to 64 KiB */
    uint8_t *msgs;              /* larger ones */
    uint32_t msg_cnt, size;
    uint32_t at;  /* bytes of the current large message that are in frames */
    uint64_t seq; /* its number */
};

/* Takes frames apart, wherever a buffer ends. */
struct frame_reader {
    const struct weir_hash_ops *hash;
    uint8_t *carry; /* the beginning of a frame whose rest is in the next buffer */
    size_t carry_len;
    struct {
        uint64_t head; /* first 8 bytes of the message being received in pieces */
        uint32_t len;  /* of it so far */
        bool is_begun;
    } parts[BENCH_CHANNELS_MAX];
};

int frame_batch_init(struct frame_batch *batch);
int frame_writer_init(struct frame_writer *writer, uint32_t size);
int frame_reader_init(struct frame_reader *reader);

/* Appends one small message, one a batch. */
void frame_put(struct frame_writer *writer, struct frame_batch *batch, uint8_t channel,
               const void *data, uint32_t len);

/* Appends the messages that are due, until the batch is full. Their size is at most
 * FRAME_BYTES_MAX. */
void frame_put_due(struct frame_writer *writer, struct frame_batch *batch, struct bench_run *run,
                   struct bench_pace *pace);

/* Appends up to `msg_max` messages of `channel`, until the batch is full. Returns how many messages
 * were begun before or now and end in this batch. */
uint64_t frame_fill(struct frame_writer *writer, struct frame_batch *batch, uint8_t channel,
                    uint64_t msg_max);

/* Takes `n` sent bytes off the front. True when nothing is left: the batch is empty again. */
bool frame_batch_sent(struct frame_batch *batch, size_t n);

/* Takes received bytes; counts each whole message of a verified frame. False after bench_fail(). */
bool frame_read(struct frame_reader *reader, struct bench_run *run, const uint8_t *data,
                size_t len);

#endif
