/* A small valid stream, damaged in every way that one bit can: nothing that is not what was sent is ever
 * delivered, everything before the damage is, and the reason is the damaged field's. The same stream cut
 * at every byte, and in single bytes. */
#include "tests/integration/raw.h"

IT_SUITE(flip);

static struct it_node a, b;

/* ---- the stream ---------------------------------------------------------------------------- */

#define FRAMES_MAX 16u
#define BYTES_MAX 4096u

static struct {
    uint8_t bytes[BYTES_MAX];
    size_t len;
    size_t preface_len;
    size_t starts[FRAMES_MAX + 1]; /* of the frames; behind the last: the end */
    uint32_t msgs[FRAMES_MAX + 1]; /* messages delivered before frame i */
    uint32_t frame_cnt;
} stream;

/* The messages, in order over all channels; each begins with its number. */
static const char *const messages[] = {"0",     "", "2 two", "3", "4 a message of three fragments",
                                       "5 last"};

static void frame_add(uint8_t kind, uint16_t channel, uint32_t aux, const void *payload,
                      uint32_t len, uint32_t msg_cnt)
{
    stream.len += raw_frame_put(stream.bytes + stream.len, kind, channel, aux, payload, len);
    stream.frame_cnt++;
    stream.msgs[stream.frame_cnt] = stream.msgs[stream.frame_cnt - 1] + msg_cnt;
    stream.starts[stream.frame_cnt] = stream.len;
}

static void run_add(uint16_t channel, uint32_t first, uint32_t cnt)
{
    uint8_t payload[256], *at = payload;
    for (uint32_t i = first; i < first + cnt; i++)
        at = weir_run_put(at, messages[i], (uint16_t)strlen(messages[i]));
    frame_add(WEIR_FRAME_RUN, channel, cnt, payload, (uint32_t)(at - payload), cnt);
}

static void control_add(const struct weir_control *control)
{
    stream.len += weir_codec_native.control_write(stream.bytes + stream.len, control);
    stream.frame_cnt++;
    stream.msgs[stream.frame_cnt] = stream.msgs[stream.frame_cnt - 1];
    stream.starts[stream.frame_cnt] = stream.len;
}

static void frames_add(void)
{
    const char *three = messages[4];
    uint32_t total = (uint32_t)strlen(three);
    run_add(1, 0, 3);
    control_add(&(struct weir_control){.kind = WEIR_CONTROL_PING, .value = 77});
    frame_add(WEIR_FRAME_FIRST, 2, 1, messages[3], 1, 1);
    frame_add(WEIR_FRAME_FIRST, 1, total, three, 10, 0);
    frame_add(WEIR_FRAME_MORE, 1, 10, three + 10, 1, 0);
    struct weir_control credit = {.kind = WEIR_CONTROL_CREDIT, .credit_cnt = 1};
    credit.credits[0] = (struct weir_credit){2, 1 << 20};
    control_add(&credit);
    frame_add(WEIR_FRAME_MORE, 1, 11, three + 11, total - 11, 1);
    frame_add(0x93, 1, 5, "optional", 8, 0);
    run_add(2, 5, 1);
}

/* Preface and hello of one side; the frames of a handshake carry no message. */
static void stream_make(bool is_dialer)
{
    const struct weir_codec *codec = &weir_codec_native;
    struct raw sides[2];
    struct weir_feed feed;
    memset(&stream, 0, sizeof(stream));
    for (int i = 0; i < 2; i++) {
        raw_init(&sides[i], 2, 65536);
        codec->begin(sides[i].state, &sides[i].offer, i == 0);
    }
    struct raw *own = &sides[is_dialer ? 0 : 1];
    size_t pulls = 0;
    for (int i = 0; i < 4; i++) { /* preface, preface, hello, hello */
        uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
        size_t len = codec->pull(sides[i % 2].state, bytes, sizeof(bytes));
        codec->feed(sides[(i + 1) % 2].state, bytes, len, NULL, 0, &feed);
        if (&sides[i % 2] != own)
            continue;
        memcpy(stream.bytes + stream.len, bytes, len);
        stream.len += len;
        if (pulls++ == 0)
            stream.preface_len = stream.starts[0] = len;
    }
    cr_assert(feed.is_ready && stream.preface_len == 9);
    stream.starts[++stream.frame_cnt] = stream.len;
    raw_close(&sides[0]);
    raw_close(&sides[1]);
    frames_add();
    cr_assert(stream.len <= BYTES_MAX && stream.frame_cnt <= FRAMES_MAX);
    IT_EQ(stream.msgs[stream.frame_cnt], sizeof(messages) / sizeof(messages[0]));
}

/* ---- the receiver -------------------------------------------------------------------------- */

static _Atomic uint32_t next_msg; /* of this connection */

static void take_msg(struct it_node *node, const struct weir_msg *msg)
{
    uint32_t idx = atomic_fetch_add(&next_msg, 1);
    const char *want = idx < sizeof(messages) / sizeof(messages[0]) ? messages[idx] : NULL;
    if (!want || msg->len != strlen(want) || memcmp(msg->data, want, msg->len) != 0)
        it_fault(node, "message %u is not what was sent: %u bytes on channel %u", idx, msg->len,
                 msg->channel);
    if (msg->channel != (idx == 3 || idx == 5 ? 2 : 1))
        it_fault(node, "message %u on channel %u", idx, msg->channel);
}

static void receiver_init(struct it_node *node)
{
    it_init(node, "receiver");
    it_channel(node, 1);
    it_channel(node, 2);
    node->on_msg = take_msg;
}

/* What must become of a stream whose byte `at` is damaged. */
struct verdict {
    int reason;
    uint32_t msgs;
    bool is_up;
};

static struct verdict verdict_of(size_t at)
{
    if (at < stream.preface_len)
        return (struct verdict){.reason = WEIR_R_NOT_WEIR};
    uint32_t frame = 0;
    while (at >= stream.starts[frame + 1])
        frame++;
    size_t off = at - stream.starts[frame];
    return (struct verdict){.reason = off < 4                  ? WEIR_R_BAD_MAGIC
                                      : off < WEIR_NATIVE_HEAD ? WEIR_R_BAD_HEADER
                                                               : WEIR_R_BAD_CHECKSUM,
                            .msgs = stream.msgs[frame],
                            .is_up = frame > 0};
}

static struct verdict verdict_of_cut(size_t len)
{
    uint32_t frame = 0;
    while (frame < stream.frame_cnt && len >= stream.starts[frame + 1])
        frame++;
    return (struct verdict){.reason = WEIR_R_EOF, .msgs = stream.msgs[frame], .is_up = frame > 0};
}

static uint32_t ended_cnt;

/* Waits for the end of one connection and compares it with the verdict. */
static void expect(struct it_node *node, struct verdict want, const char *what, size_t at)
{
    static uint32_t reasons_before[2][WEIR_REASON_CNT];
    ended_cnt++;
    IT_WAIT(node->fails + node->downs == ended_cnt);
    it_check_faults(node);
    int reason = 0;
    bool was_up = false;
    for (int i = 0; i < WEIR_REASON_CNT; i++) {
        if (node->down_by[i] != reasons_before[1][i] || node->fail_by[i] != reasons_before[0][i]) {
            reason = i;
            was_up = node->down_by[i] != reasons_before[1][i];
        }
        reasons_before[1][i] = node->down_by[i];
        reasons_before[0][i] = node->fail_by[i];
    }
    cr_assert(reason == want.reason && was_up == want.is_up, "%s at %zu: %s %s, expected %s %s",
              what, at, was_up ? "up, then" : "failed:", weir_reason_name(reason),
              want.is_up ? "up, then" : "failed:", weir_reason_name(want.reason));
    cr_assert(atomic_load(&next_msg) == want.msgs, "%s at %zu: %u messages instead of %u", what, at,
              atomic_load(&next_msg), want.msgs);
    atomic_store(&next_msg, 0);
}

static void send_all(int sock, const uint8_t *bytes, size_t len)
{
    while (len) { /* may fail: the node can have closed already */
        ssize_t sent = send(sock, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        bytes += sent;
        len -= (size_t)sent;
    }
    shutdown(sock, SHUT_WR);
}

static void drain_and_close(int sock)
{
    char in[4096];
    while (recv(sock, in, sizeof(in), 0) > 0)
        ;
    close(sock);
}

/* ---- to a listener ------------------------------------------------------------------------- */

static void play(const uint8_t *bytes, size_t len)
{
    int sock = raw_socket_to(b.address);
    send_all(sock, bytes, len);
    drain_and_close(sock);
}

IT_TEST(flip, every_bit_of_a_dialers_stream)
{
    stream_make(true);
    receiver_init(&b);
    it_start(&b, "127.0.0.1:0");
    play(stream.bytes, stream.len);
    expect(&b, verdict_of_cut(stream.len), "nothing", 0);
    for (size_t at = 0; at < stream.len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            stream.bytes[at] ^= (uint8_t)(1u << bit);
            play(stream.bytes, stream.len);
            stream.bytes[at] ^= (uint8_t)(1u << bit);
            expect(&b, verdict_of(at), "flip", at);
        }
    }
    it_wait_empty(&b);
    it_stop(&b);
}

IT_TEST(flip, every_cut_of_a_dialers_stream)
{
    stream_make(true);
    receiver_init(&b);
    it_start(&b, "127.0.0.1:0");
    for (size_t len = 0; len <= stream.len; len++) {
        play(stream.bytes, len);
        expect(&b, verdict_of_cut(len), "cut", len);
    }
    it_wait_empty(&b);
    it_stop(&b);
}

/* Wherever a receive ends, the stream means the same: in two pieces, split at every byte. */
IT_TEST(flip, every_split_of_a_dialers_stream)
{
    stream_make(true);
    receiver_init(&b);
    it_start(&b, "127.0.0.1:0");
    for (size_t len = 1; len < stream.len; len++) {
        uint64_t received = it_metrics(&b)->wire_bytes_received;
        int sock = raw_socket_to(b.address);
        cr_assert(send(sock, stream.bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
        IT_WAIT(it_metrics(&b)->wire_bytes_received == received + len);
        send_all(sock, stream.bytes + len, stream.len - len);
        drain_and_close(sock);
        expect(&b, verdict_of_cut(stream.len), "split", len);
    }
    it_wait_empty(&b);
    it_stop(&b);
}

IT_TEST(flip, single_bytes)
{
    stream_make(true);
    receiver_init(&b);
    it_start(&b, "127.0.0.1:0");
    int sock = raw_socket_to(b.address);
    for (size_t at = 0; at < stream.len; at++) {
        cr_assert(send(sock, stream.bytes + at, 1, MSG_NOSIGNAL) == 1);
        IT_WAIT(it_metrics(&b)->wire_bytes_received == at + 1);
    }
    shutdown(sock, SHUT_WR);
    drain_and_close(sock);
    expect(&b, verdict_of_cut(stream.len), "single bytes", 0);
    it_wait_empty(&b);
    it_stop(&b);
}

/* ---- to a dialer --------------------------------------------------------------------------- */

/* A node dials and meets the other side's stream, damaged. Of the frames behind the hello every eighth
 * bit does: their code is the listener's. */
IT_TEST(flip, every_bit_of_a_listeners_handshake)
{
    char address[64];
    int listener = raw_listen(address, 4);
    stream_make(false);
    receiver_init(&a);
    it_start(&a, NULL);
    for (size_t at = 0; at < stream.len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            if (at >= stream.starts[1] && (at + (size_t)bit) % 8)
                continue;
            IT_OK(weir_dial(a.node, address, 0));
            int sock = raw_accept(listener);
            stream.bytes[at] ^= (uint8_t)(1u << bit);
            send_all(sock, stream.bytes, stream.len);
            stream.bytes[at] ^= (uint8_t)(1u << bit);
            drain_and_close(sock);
            expect(&a, verdict_of(at), "flip", at);
        }
    }
    it_wait_empty(&a);
    it_stop(&a);
    close(listener);
}
