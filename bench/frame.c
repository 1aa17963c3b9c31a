#include "bench/frame.h"

#include <stdlib.h>
#include <string.h>

#define HEADER sizeof(struct frame_header)
/* A batch is full at 256 KiB or with the frame that goes past it. */
#define BATCH_ROOM (FRAME_BATCH_BYTES + HEADER + FRAME_BYTES_MAX + HEADER + BENCH_URGENT_BYTES)

int frame_batch_init(struct frame_batch *batch)
{
    *batch = (struct frame_batch){.data = aligned_alloc(4096, (BATCH_ROOM + 4095) & ~(size_t)4095)};
    if (batch->data == NULL)
        return -1;
    memset(batch->data, 0, BATCH_ROOM);
    return 0;
}

int frame_writer_init(struct frame_writer *writer, uint32_t size)
{
    *writer = (struct frame_writer){.hash = weir_hash_ops(), .size = size};
    if (size <= FRAME_BYTES_MAX)
        return bench_source_init(&writer->source, size);

    writer->msg_cnt = 2 * (FRAME_GATHER_BYTES / size + 1) + 1;
    writer->msgs = aligned_alloc(4096, ((size_t)writer->msg_cnt * size + 4095) & ~(size_t)4095);
    if (writer->msgs == NULL)
        return -1;
    memset(writer->msgs, 0x5a, (size_t)writer->msg_cnt * size);
    return 0;
}

int frame_reader_init(struct frame_reader *reader)
{
    *reader = (struct frame_reader){
        .hash = weir_hash_ops(),
        .carry = aligned_alloc(4096, (HEADER + FRAME_BYTES_MAX + 4095) & ~(size_t)4095),
    };
    return reader->carry == NULL ? -1 : 0;
}

/* ---- building ------------------------------------------------------------------------------ */

static void put_header(uint8_t *out, uint8_t channel, int flags, uint32_t len, uint64_t hash)
{
    const struct frame_header header = {FRAME_MAGIC, channel, (uint8_t)flags, len, hash};

    memcpy(out, &header, HEADER);
}

/* One vector for all that was copied. */
static void extend_copied(struct frame_batch *batch)
{
    batch->vectors[0] = (struct iovec){batch->data, batch->data_len};
    batch->vector_cnt = 1;
    batch->len = batch->data_len;
}

static void fill_copied(struct frame_writer *writer, struct frame_batch *batch, uint8_t channel,
                        uint64_t msg_max)
{
    uint64_t (*const xxh3)(const void *, size_t, uint64_t) = writer->hash->xxh3;
    const uint32_t size = writer->size;
    uint8_t *out = batch->data + batch->data_len;
    const uint8_t *full = batch->data + FRAME_BATCH_BYTES;

    for (; out < full && msg_max > 0; msg_max--) {
        const uint8_t *msg = bench_source_peek(&writer->source);
        memcpy(out + HEADER, msg, size);
        /* Of the source: its lines are not being written. */
        put_header(out, channel, FRAME_FIRST | FRAME_LAST, size, xxh3(msg, size, 0));
        bench_source_take(&writer->source);
        out += HEADER + size;
    }
    batch->data_len = (size_t)(out - batch->data);
    extend_copied(batch);
}

static void put_vector(struct frame_batch *batch, void *data, size_t len)
{
    batch->vectors[batch->vector_cnt++] = (struct iovec){data, len};
    batch->len += len;
}

/* The slice is hashed right before the kernel copies it: it comes from memory once. */
static void fill_gathered(struct frame_writer *writer, struct frame_batch *batch, uint8_t channel,
                          uint64_t msg_max)
{
    while (batch->len < FRAME_GATHER_BYTES && batch->vector_cnt + 2 <= FRAME_VECTORS &&
           msg_max > 0) {
        uint8_t *msg = writer->msgs + (size_t)(writer->seq % writer->msg_cnt) * writer->size;
        uint32_t left = writer->size - writer->at;
        uint32_t len = left < FRAME_BYTES_MAX ? left : FRAME_BYTES_MAX;
        int flags = (writer->at == 0 ? FRAME_FIRST : 0) | (len == left ? FRAME_LAST : 0);
        uint8_t *header = batch->data + batch->data_len;

        if (writer->at == 0)
            memcpy(msg, &writer->seq, sizeof(writer->seq));
        put_header(header, channel, flags, len, writer->hash->xxh3(msg + writer->at, len, 0));
        batch->data_len += HEADER;
        put_vector(batch, header, HEADER);
        put_vector(batch, msg + writer->at, len);
        writer->at += len;
        if (writer->at == writer->size) {
            writer->at = 0;
            writer->seq++;
            msg_max--;
        }
    }
}

void frame_put(struct frame_writer *writer, struct frame_batch *batch, uint8_t channel,
               const void *data, uint32_t len)
{
    uint8_t *header = batch->data + batch->data_len;

    put_header(header, channel, FRAME_FIRST | FRAME_LAST, len, writer->hash->xxh3(data, len, 0));
    memcpy(header + HEADER, data, len);
    batch->data_len += HEADER + len;
    if (writer->size <= FRAME_BYTES_MAX)
        extend_copied(batch);
    else
        put_vector(batch, header, HEADER + len);
}

void frame_put_due(struct frame_writer *writer, struct frame_batch *batch, struct bench_run *run,
                   struct bench_pace *pace)
{
    weir_ns now = bench_now();
    const uint8_t *msg;

    while (batch->data_len < FRAME_BATCH_BYTES && (msg = bench_pace_next(pace, run, now)) != NULL) {
        frame_put(writer, batch, 0, msg, pace->size);
        bench_pace_take(pace);
        bench_sent(run, 0, pace->size);
    }
}

uint64_t frame_fill(struct frame_writer *writer, struct frame_batch *batch, uint8_t channel,
                    uint64_t msg_max)
{
    uint64_t begin = writer->source.seq + writer->seq; /* one of the two stays 0 */

    if (writer->size <= FRAME_BYTES_MAX)
        fill_copied(writer, batch, channel, msg_max);
    else
        fill_gathered(writer, batch, channel, msg_max);
    return writer->source.seq + writer->seq - begin;
}

bool frame_batch_sent(struct frame_batch *batch, size_t n)
{
    batch->len -= n;
    if (batch->len == 0) {
        batch->data_len = 0;
        batch->vector_cnt = batch->vector_idx = 0;
        return true;
    }
    for (struct iovec *vector = &batch->vectors[batch->vector_idx]; n != 0; vector++) {
        if (n < vector->iov_len) {
            vector->iov_base = (uint8_t *)vector->iov_base + n;
            vector->iov_len -= n;
            break;
        }
        n -= vector->iov_len;
        batch->vector_idx++;
    }
    return false;
}

/* ---- taking apart -------------------------------------------------------------------------- */

static void deliver(struct bench_run *run, uint8_t channel, const uint8_t *data, uint32_t len)
{
    if (run->job->which == BENCH_URGENT && channel == 0)
        bench_urgent_arrived(run, data, len);
    else if (run->job->which == BENCH_RATE)
        bench_pace_arrived(run, data, len);
    else
        bench_count(run, channel, data, len);
}

/* A piece of a large message: its bytes are verified and not gathered. */
static bool take_piece(struct frame_reader *reader, struct bench_run *run,
                       const struct frame_header *header, const uint8_t *data)
{
    const uint8_t channel = header->channel;
    bool is_first = (header->flags & FRAME_FIRST) != 0;

    if (is_first == reader->parts[channel].is_begun || (is_first && header->len < sizeof(uint64_t)))
        return false;
    if (is_first) {
        memcpy(&reader->parts[channel].head, data, sizeof(uint64_t));
        reader->parts[channel].len = 0;
        reader->parts[channel].is_begun = true;
    }
    reader->parts[channel].len += header->len;
    if ((header->flags & FRAME_LAST) != 0) {
        run->counts.seq_errors += reader->parts[channel].head != run->counts.msgs[channel];
        run->counts.msgs[channel]++;
        run->counts.bytes[channel] += reader->parts[channel].len;
        reader->parts[channel].is_begun = false;
    }
    return true;
}

/* Verifies a whole frame and delivers what it holds. Hashing frame by frame is faster here than in
 * arrays of frames, a quarter at 64 bytes: the bytes are in the cache already. */
static bool take_frame(struct frame_reader *reader, struct bench_run *run,
                       const struct frame_header *header, const uint8_t *data)
{
    if (header->hash != reader->hash->xxh3(data, header->len, 0)) {
        bench_fail(run, BENCH_E_RUN, "a frame's checksum does not match");
        return false;
    }
    if (header->flags == (FRAME_FIRST | FRAME_LAST)) {
        deliver(run, header->channel, data, header->len);
        return true;
    }
    if (take_piece(reader, run, header, data))
        return true;
    bench_fail(run, BENCH_E_RUN, "a piece of a message is out of order");
    return false;
}

static bool is_header_good(struct bench_run *run, const struct frame_header *header)
{
    if (header->magic == FRAME_MAGIC && header->len <= FRAME_BYTES_MAX &&
        header->channel < BENCH_CHANNELS_MAX)
        return true;
    bench_fail(run, BENCH_E_RUN, "a frame's header is damaged");
    return false;
}

/* Moves bytes into the carry until it has `want`. */
static bool top_up(struct frame_reader *reader, size_t want, const uint8_t **data, size_t *len)
{
    size_t n = want - reader->carry_len;

    n = n < *len ? n : *len;
    memcpy(reader->carry + reader->carry_len, *data, n);
    reader->carry_len += n;
    *data += n;
    *len -= n;
    return reader->carry_len == want;
}

/* Goes on with the frame that the last buffer ended in. */
static bool read_carried(struct frame_reader *reader, struct bench_run *run, const uint8_t **data,
                         size_t *len)
{
    struct frame_header header;

    if (reader->carry_len < HEADER && !top_up(reader, HEADER, data, len))
        return true;
    memcpy(&header, reader->carry, HEADER);
    if (!is_header_good(run, &header))
        return false;
    if (!top_up(reader, HEADER + header.len, data, len))
        return true;
    reader->carry_len = 0;
    return take_frame(reader, run, &header, reader->carry + HEADER);
}

bool frame_read(struct frame_reader *reader, struct bench_run *run, const uint8_t *data, size_t len)
{
    struct frame_header header;

    if (reader->carry_len != 0 && !read_carried(reader, run, &data, &len))
        return false;
    while (len >= HEADER) {
        memcpy(&header, data, HEADER);
        if (!is_header_good(run, &header))
            return false;
        if (len < HEADER + header.len)
            break;
        if (!take_frame(reader, run, &header, data + HEADER))
            return false;
        data += HEADER + header.len;
        len -= HEADER + header.len;
    }
    if (len !=
        0) { /* then the carry is empty: it takes all of a buffer before it stays unfinished */
        memcpy(reader->carry, data, len);
        reader->carry_len = len;
    }
    return true;
}
