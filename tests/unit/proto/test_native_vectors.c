/* tests/vectors/wire.txt, as docs/wire.md prints it: each vector is read by the codec, and those that the
 * codec would send are written by it. tests/scripts/wire_vectors.py does the same in Python. */
#include "native_fixture.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/hash.h"

#define TEXT_MAX 65536u
#define BYTES_MAX 4096u

struct vector {
    char name[64];
    char expect[512];
    uint8_t bytes[BYTES_MAX];
    size_t len;
};

static char text[TEXT_MAX + 1];
static const char *text_at;

static void vectors_open(void)
{
    const char *root = getenv("WEIR_SRC_DIR"); /* set by ctest; by hand, run from the root */
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/vectors/wire.txt", root != NULL ? root : ".");
    FILE *file = fopen(path, "rb");
    cr_assert(file != NULL, "%s", path);
    size_t len = fread(text, 1, TEXT_MAX, file);
    fclose(file);
    cr_assert_lt(len, TEXT_MAX);
    text[len] = '\0';
    text_at = text;
}

static void hex_append(struct vector *vector, const char *at, const char *end)
{
    for (; at + 1 < end; at += 2) {
        unsigned value;
        cr_assert_eq(sscanf(at, "%2x", &value), 1);
        cr_assert_lt(vector->len, BYTES_MAX);
        vector->bytes[vector->len++] = (uint8_t)value;
    }
}

/* Reads the next vector: NAME [EXPECTATION] = BYTES, and lines that begin with a space. */
static bool vector_next(struct vector *ret_vector)
{
    while (*text_at == '#' || *text_at == '\n')
        text_at = strchr(text_at, '\n') + 1;
    if (*text_at == '\0')
        return false;
    const char *line_end = strchr(text_at, '\n');
    const char *equals = memchr(text_at, '=', (size_t)(line_end - text_at));
    cr_assert(equals != NULL);
    char left[600];
    snprintf(left, sizeof left, "%.*s", (int)(equals - text_at - 1), text_at);
    char *blank = strchr(left, ' ');
    if (blank != NULL)
        *blank = '\0';
    snprintf(ret_vector->name, sizeof ret_vector->name, "%.63s", left);
    snprintf(ret_vector->expect, sizeof ret_vector->expect, "%.511s",
             blank != NULL ? blank + 1 : "");
    ret_vector->len = 0;
    if (equals + 1 < line_end)
        hex_append(ret_vector, equals + 2, line_end);
    for (text_at = line_end + 1; *text_at == ' '; text_at = line_end + 1) {
        line_end = strchr(text_at, '\n');
        hex_append(ret_vector, text_at + 2, line_end);
    }
    return true;
}

/* Finds the next vector of a group, which is the name up to its first dot. */
static bool vector_of(const char *group, struct vector *ret_vector)
{
    while (vector_next(ret_vector)) {
        size_t len = strlen(group);
        if (strncmp(ret_vector->name, group, len) == 0 && ret_vector->name[len] == '.')
            return true;
    }
    return false;
}

TestSuite(native_vectors, .init = vectors_open);

Test(native_vectors, hashes)
{
    static uint8_t bytes[65536];
    struct vector vector;
    unsigned cnt = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    for (; vector_of("hash", &vector); cnt++) {
        unsigned long long seed;
        size_t len;
        uint64_t want = 0;
        cr_assert_eq(sscanf(vector.name, "hash.%llx.%zu", &seed, &len), 2);
        for (int i = 0; i < 8; i++)
            want = want << 8 | vector.bytes[i];
        cr_expect_eq(weir_hash_ops()->xxh3(bytes, len, seed), want, "%s", vector.name);
    }
    cr_assert_geq(cnt, 17);
}

Test(native_vectors, what_the_two_sides_send)
{
    struct end dialer, listener;
    uint8_t dials[1024], listens[1024];
    size_t dialer_len = 0, listener_len = 0;
    struct weir_feed feed;
    end_begin(&dialer, &dialer_offer, true);
    end_begin(&listener, &listener_offer, false);
    for (int i = 0; i < 2; i++) {
        size_t len = CODEC->pull(dialer.state, dials + dialer_len, 1000);
        CODEC->feed(listener.state, dials + dialer_len, len, NULL, 0, &feed);
        dialer_len += len;
        len = CODEC->pull(listener.state, listens + listener_len, 1000);
        CODEC->feed(dialer.state, listens + listener_len, len, NULL, 0, &feed);
        listener_len += len;
    }
    cr_assert(feed.is_ready);

    struct vector vector;
    size_t dialer_at = 0, listener_at = 0;
    while (vector_of("send", &vector)) {
        bool is_dialer = strncmp(vector.name, "send.dialer", 11) == 0;
        const uint8_t *sent = is_dialer ? dials + dialer_at : listens + listener_at;
        cr_assert_eq(memcmp(sent, vector.bytes, vector.len), 0, "%s", vector.name);
        *(is_dialer ? &dialer_at : &listener_at) += vector.len;
    }
    cr_assert_eq(dialer_at, dialer_len);
    cr_assert_eq(listener_at, listener_len);
}

/* Feeds a handshake vector whole and byte by byte; both must end as the file says. */
static void handshakes_check(const char *group, const struct weir_offer *offer, bool is_dialer)
{
    struct vector vector;
    unsigned cnt = 0;
    for (; vector_of(group, &vector); cnt++) {
        for (size_t step = 1; step <= vector.len;
             step += vector.len - 1 != 0 ? vector.len - 1 : 1) {
            struct end end;
            char got[16];
            end_begin(&end, offer, is_dialer);
            for (size_t at = 0; at < vector.len && end.fault == 0; at += step) {
                size_t len = vector.len - at < step ? vector.len - at : step;
                memcpy(end.in + end.in_len, vector.bytes + at, len);
                end.in_len += len;
                end_feed(&end);
            }
            snprintf(got, sizeof got, "%u", end.fault);
            cr_expect_str_eq(end.is_ready ? "ready" : got, vector.expect, "%s: %s", vector.name,
                             got);
        }
    }
    cr_assert_geq(cnt, 6);
}

Test(native_vectors, what_a_listener_receives)
{
    handshakes_check("listener", &listener_offer, false);
}

Test(native_vectors, what_a_dialer_receives)
{
    handshakes_check("dialer", &dialer_offer, true);
}

/* ---- streams: a receiver in small, with the checks that are the connection's ---------------------- */

struct receiver_channel {
    uint16_t id;
    uint32_t msg_bytes_max;
    uint64_t received, limit;
    uint32_t msg_len; /* of the unfinished message, 0: none */
    uint32_t have;
    uint8_t msg[1024];
};

struct receiver {
    struct receiver_channel channels[3];
    char said[512];
};

static struct receiver_channel *channel_find(struct receiver *receiver, uint16_t id)
{
    for (int i = 0; i < 3; i++) {
        if (receiver->channels[i].id == id)
            return &receiver->channels[i];
    }
    return NULL;
}

__attribute__((format(printf, 2, 3))) static void say(struct receiver *receiver, const char *format,
                                                      ...)
{
    size_t len = strlen(receiver->said);
    va_list args;
    if (len != 0)
        receiver->said[len++] = ' ';
    va_start(args, format);
    vsnprintf(receiver->said + len, sizeof receiver->said - len, format, args);
    va_end(args);
}

static void say_message(struct receiver *receiver, uint16_t channel, const uint8_t *data,
                        uint32_t len)
{
    unsigned long long hash = weir_hash_ops()->xxh3(data, len, 0);
    say(receiver, "msg:%u:%u:%016llx", channel, len, hash);
}

static uint16_t data_take(struct receiver *receiver, const struct weir_frame *frame)
{
    struct receiver_channel *channel = channel_find(receiver, frame->channel);
    if (channel == NULL)
        return WEIR_R_BAD_CHANNEL;
    channel->received += frame->len;
    if (channel->received > channel->limit)
        return WEIR_R_CREDIT;
    if ((frame->kind == WEIR_FRAME_MORE) != (channel->msg_len != 0))
        return WEIR_R_BAD_FRAGMENT;
    if (frame->kind == WEIR_FRAME_RUN) {
        uint16_t fault =
            weir_run_check(frame->payload, frame->len, frame->aux, channel->msg_bytes_max);
        const uint8_t *at = frame->payload;
        for (uint32_t i = 0; fault == 0 && i < frame->aux; i++) {
            uint32_t len;
            const uint8_t *data = weir_run_next(&at, &len);
            say_message(receiver, frame->channel, data, len);
        }
        return fault;
    }
    if (frame->kind == WEIR_FRAME_FIRST) {
        if (frame->aux > channel->msg_bytes_max)
            return WEIR_R_MESSAGE_TOO_BIG;
        channel->msg_len = frame->aux;
        channel->have = 0;
    } else if (frame->aux != channel->have || frame->len > channel->msg_len - channel->have) {
        return WEIR_R_BAD_FRAGMENT;
    }
    memcpy(channel->msg + channel->have, frame->payload, frame->len);
    channel->have += frame->len;
    if (channel->have == channel->msg_len) {
        say_message(receiver, frame->channel, channel->msg, channel->msg_len);
        channel->msg_len = 0;
    }
    return 0;
}

static uint16_t control_take(struct receiver *receiver, const struct weir_frame *frame)
{
    struct weir_control control;
    int fault = CODEC->control_read(frame, &control);
    if (fault != 0)
        return (uint16_t)fault;
    switch ((enum weir_control_kind)control.kind) {
    case WEIR_CONTROL_PING:
        say(receiver, "ping:%016llx", (unsigned long long)control.value);
        break;
    case WEIR_CONTROL_PONG:
        say(receiver, "pong:%016llx", (unsigned long long)control.value);
        break;
    case WEIR_CONTROL_CREDIT:
        for (uint32_t i = 0; i < control.credit_cnt; i++) {
            if (channel_find(receiver, control.credits[i].channel) == NULL)
                return WEIR_R_BAD_CHANNEL;
        }
        for (uint32_t i = 0; i < control.credit_cnt; i++)
            say(receiver, "credit:%u:%llu", control.credits[i].channel,
                (unsigned long long)control.credits[i].limit);
        break;
    case WEIR_CONTROL_GOODBYE:
        say(receiver, "goodbye:%u:%s", control.reason, control.text);
        break;
    case WEIR_CONTROL_REKEY: /* never of version 1 */
        cr_assert_fail();
    }
    return 0;
}

/* Feeds a stream to the example's listener in steps; says in `said` what came of it. */
static void receive(struct receiver *receiver, const struct vector *vector, size_t step)
{
    struct end end;
    uint16_t fault = 0;
    *receiver =
        (struct receiver){.channels = {{.id = 7, .msg_bytes_max = 500, .limit = 600},
                                       {.id = 9, .msg_bytes_max = 1 << 20, .limit = 1 << 20},
                                       {.id = 12, .msg_bytes_max = 8, .limit = 16}}};
    end_make_ready(&end, false);
    for (size_t at = 0; at < vector->len && fault == 0; at += step) {
        size_t len = vector->len - at < step ? vector->len - at : step;
        memcpy(end.in + end.in_len, vector->bytes + at, len);
        end.in_len += len;
        struct weir_feed feed;
        struct weir_frame frames[8];
        CODEC->feed(end.state, end.in, end.in_len, frames, 8, &feed);
        CODEC->verify(frames, feed.frame_cnt);
        for (uint32_t i = 0; i < feed.frame_cnt && fault == 0; i++) {
            fault = frames[i].fault;
            if (fault == 0 && frames[i].kind == WEIR_FRAME_SKIP)
                say(receiver, "skip:%u", frames[i].wire_kind);
            else if (fault == 0)
                fault = frames[i].kind == WEIR_FRAME_CONTROL ? control_take(receiver, &frames[i])
                                                             : data_take(receiver, &frames[i]);
        }
        memmove(end.in, end.in + feed.consumed, end.in_len - feed.consumed);
        end.in_len -= feed.consumed;
    }
    if (fault != 0)
        say(receiver, "fault:%u", fault);
}

Test(native_vectors, what_comes_after_the_handshake)
{
    struct vector vector;
    unsigned cnt = 0;
    for (; vector_of("stream", &vector); cnt++) {
        struct receiver receiver;
        receive(&receiver, &vector, SIZE_MAX);
        cr_expect_str_eq(receiver.said, vector.expect, "%s: %s", vector.name, receiver.said);
        receive(&receiver, &vector, 1);
        cr_expect_str_eq(receiver.said, vector.expect, "%s: %s", vector.name, receiver.said);
    }
    cr_assert_geq(cnt, 50);
}
