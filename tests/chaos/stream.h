/* tests/chaos/stream.h: messages that a receiver in another process can check without having been told.
 *
 * A *stream* is what one side sends over one connection: a number drawn when the peer came up, and for
 * each channel messages numbered from 0. A message's length follows from its channel and number, its
 * bytes are a slice of one table that all processes make alike, at a place that follows from stream,
 * channel and number. So loss, doubling, another order, another connection's messages and any changed
 * byte are all a wrong message.
 */
#ifndef WEIR_TESTS_CHAOS_STREAM_H
#define WEIR_TESTS_CHAOS_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_CHANNELS 4u
#define STREAM_MSG_MAX (1u << 20)
#define STREAM_TABLE_BYTES (2u << 20)
#define STREAM_MAGIC 0x5EA0C4A0u

struct stream_head {
    uint32_t magic;
    uint16_t node; /* the sender's number */
    uint16_t channel;
    uint64_t stream;
    uint64_t seq;
};

/* What one connection's end knows. */
struct stream {
    uint64_t out; /* our stream; never 0 */
    uint64_t in;  /* theirs; 0 before its first message */
    uint64_t sent[STREAM_CHANNELS], received[STREAM_CHANNELS];
};

static inline uint64_t stream_mix(uint64_t value)
{
    value += UINT64_C(0x9E3779B97F4A7C15); /* splitmix64 */
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

static inline uint8_t *stream_table(void)
{
    uint8_t *table = malloc(STREAM_TABLE_BYTES);
    for (uint64_t i = 0; table && i < STREAM_TABLE_BYTES / 8; i++) {
        uint64_t word = stream_mix(i);
        memcpy(table + 8 * i, &word, 8);
    }
    return table;
}

/* Small on channel 1, a few KiB on 2, up to 64 KiB on 3, up to 1 MiB on 4. */
static inline uint32_t stream_len(uint16_t channel, uint64_t seq)
{
    static const uint32_t spans[STREAM_CHANNELS] = {200, 4000, 65000, STREAM_MSG_MAX - 64};
    uint32_t least = (uint32_t)sizeof(struct stream_head);
    return least + (uint32_t)(stream_mix(seq * STREAM_CHANNELS + channel) % spans[channel - 1]);
}

static inline const uint8_t *stream_body(const uint8_t *table, uint64_t stream, uint16_t channel,
                                         uint64_t seq)
{
    uint64_t at = stream_mix(stream ^ (uint64_t)channel << 48 ^ seq);
    return table + at % (STREAM_TABLE_BYTES - STREAM_MSG_MAX);
}

/* Writes the next message of a channel to `ret_data`; returns its length. */
static inline uint32_t stream_write(uint8_t *ret_data, const uint8_t *table,
                                    const struct stream *stream, uint16_t node, uint16_t channel)
{
    uint64_t seq = stream->sent[channel - 1];
    struct stream_head head = {STREAM_MAGIC, node, channel, stream->out, seq};
    uint32_t len = stream_len(channel, seq);
    memcpy(ret_data, &head, sizeof(head));
    memcpy(ret_data + sizeof(head), stream_body(table, stream->out, channel, seq),
           len - sizeof(head));
    return len;
}

/* NULL when the message is the next of its channel, and counts it; otherwise what is wrong. */
static inline const char *stream_take(struct stream *stream, const uint8_t *table,
                                      const uint8_t *data, uint32_t len, uint16_t channel,
                                      struct stream_head *ret_head)
{
    struct stream_head head;
    if (channel < 1 || channel > STREAM_CHANNELS || len < sizeof(head))
        return "a message that nobody sends";
    memcpy(&head, data, sizeof(head));
    *ret_head = head;
    if (head.magic != STREAM_MAGIC || head.stream == 0)
        return "no message of ours";
    if (head.channel != channel)
        return "a message of another channel";
    if (stream->in && head.stream != stream->in)
        return "a message of another connection";
    if (head.seq != stream->received[channel - 1])
        return head.seq < stream->received[channel - 1] ? "a message a second time"
                                                        : "a message is missing";
    if (len != stream_len(channel, head.seq))
        return "another length";
    if (memcmp(data + sizeof(head), stream_body(table, head.stream, channel, head.seq),
               len - sizeof(head)) != 0)
        return "other bytes";
    stream->in = head.stream;
    stream->received[channel - 1]++;
    return NULL;
}

#endif
