/* Peers that shake hands properly and then break the wire. Each is told why, the application is told the
 * same, and what came before is delivered. */
#include "engine/base/hash.h"
#include "proto/native_bytes.h"
#include "tests/integration/raw.h"

IT_SUITE(hostile);

#define KIND_HELLO 16
#define KIND_PING 17
#define KIND_CREDIT 19
#define KIND_GOODBYE 20
#define CONTROL 0xFFFF

static struct it_node b;
static struct raw raw;
static uint32_t joined; /* peers so far, each of which sent one good message */

static void take_good(struct it_node *node, const struct weir_msg *msg)
{
    if (msg->len != 4 || memcmp(msg->data, "good", 4) != 0)
        it_fault(node, "delivered: %u bytes on channel %u", msg->len, msg->channel);
}

/* Channel 1: ordinary. Channel 2: messages of at most 100 bytes. Channel 3: the peers do not have it. */
static void node_init(void)
{
    it_init(&b, "b");
    joined = 0;
    it_channel(&b, 1);
    it_channel(&b, 2)->msg_bytes_max = 100;
    it_channel(&b, 3);
    b.on_msg = take_good;
}

static void node_start(void)
{
    node_init();
    it_start(&b, "127.0.0.1:0");
}

static void join(void)
{
    raw_init(&raw, 2, 65536);
    raw_join(&raw, &b);
    joined++;
    cr_assert(raw_message(&raw, 1, "good", 4));
}

/* The last thing sent broke the wire: the peer hears a goodbye for `reason`, the node's application the
 * same, and of what was sent behind it nothing is delivered. */
static void expect_end(int reason)
{
    static uint32_t before[WEIR_REASON_CNT];
    if (joined == 1)
        memset(before, 0, sizeof(before));
    raw_message(&raw, 1, "late", 4);
    int said = raw_end(&raw);
    raw_close(&raw);
    cr_assert(said == reason, "the goodbye says %s, not %s", weir_reason_name(said),
              weir_reason_name(reason));
    IT_WAIT(b.downs == joined);
    cr_assert(b.down_by[reason] == ++before[reason], "not %s", weir_reason_name(reason));
    IT_EQ(b.msgs, joined);
    it_check_faults(&b);
}

static void node_stop(void)
{
    it_wait_empty(&b);
    it_stop(&b);
}

/* ---- frames -------------------------------------------------------------------------------- */

struct bad_frame {
    const char *what;
    uint8_t kind;
    uint16_t channel;
    uint32_t aux;
    uint32_t len;
    const void *payload;
    int reason;
};

IT_TEST(hostile, frames_that_break_a_rule)
{
    static const uint8_t zeros[2000];
    static const struct bad_frame cases[] = {
        {"a channel nobody has", 1, 9, 1, 3, "\1\0x", WEIR_R_BAD_CHANNEL},
        {"a channel that is ours alone", 1, 3, 1, 3, "\1\0x", WEIR_R_BAD_CHANNEL},
        {"data on the control channel", 1, CONTROL, 1, 3, "\1\0x", WEIR_R_BAD_CHANNEL},
        {"a fragment on a strange channel", 2, 9, 4, 1, "x", WEIR_R_BAD_CHANNEL},
        {"an unknown kind", 0x42, CONTROL, 0, 1, "x", WEIR_R_BAD_KIND},
        {"kind 0", 0, 1, 0, 1, "x", WEIR_R_BAD_KIND},
        {"a second hello", KIND_HELLO, CONTROL, 0, 100, zeros, WEIR_R_BAD_CONTROL},
        {"MORE without FIRST", 3, 1, 4, 1, "x", WEIR_R_BAD_FRAGMENT},
        {"FIRST without bytes", 2, 1, 4, 0, NULL, WEIR_R_BAD_FRAGMENT},
        {"FIRST longer than its message", 2, 1, 4, 5, "xxxxx", WEIR_R_BAD_FRAGMENT},
        {"a message above the maximum", 2, 2, 101, 1, "x", WEIR_R_MESSAGE_TOO_BIG},
        {"a message of 4 GiB", 2, 1, UINT32_MAX, 1, "x", WEIR_R_MESSAGE_TOO_BIG},
        {"a run with a message above the maximum", 1, 2, 1, 103, "\x65\0", WEIR_R_MESSAGE_TOO_BIG},
        {"an empty run", 1, 1, 0, 0, NULL, WEIR_R_BAD_RUN},
        {"a run of too few messages", 1, 1, 1, 6, "\1\0x\1\0y", WEIR_R_BAD_RUN},
        {"a run of too many messages", 1, 1, 3, 6, "\1\0x\1\0y", WEIR_R_BAD_RUN},
        {"a run of 2^32 - 1 messages", 1, 1, UINT32_MAX, 6, "\1\0x\1\0y", WEIR_R_BAD_RUN},
        {"a run whose last message is cut", 1, 1, 2, 7, "\1\0x\3\0yy", WEIR_R_BAD_RUN},
        {"a run that ends in a length", 1, 1, 2, 4, "\1\0x\1", WEIR_R_BAD_RUN},
        {"a ping of 7 bytes", KIND_PING, CONTROL, 0, 7, zeros, WEIR_R_BAD_CONTROL},
        {"a ping on a data channel", KIND_PING, 1, 0, 8, zeros, WEIR_R_BAD_CONTROL},
        {"a ping with aux", KIND_PING, CONTROL, 1, 8, zeros, WEIR_R_BAD_CONTROL},
        {"a ping that is too long", KIND_PING, CONTROL, 0, 1025, zeros, WEIR_R_BAD_LENGTH},
        {"no credit", KIND_CREDIT, CONTROL, 0, 0, NULL, WEIR_R_BAD_CONTROL},
        {"half a credit", KIND_CREDIT, CONTROL, 0, 13, zeros, WEIR_R_BAD_CONTROL},
        {"credit for a strange channel", KIND_CREDIT, CONTROL, 0, 12, "\x9\0\0\0\0\0\0\0\1\0\0\0",
         WEIR_R_BAD_CHANNEL},
        {"credit for a channel that is ours alone", KIND_CREDIT, CONTROL, 0, 12,
         "\x3\0\0\0\0\0\0\0\1\0\0\0", WEIR_R_BAD_CHANNEL},
        {"a goodbye for no reason", KIND_GOODBYE, CONTROL, 0, 4, zeros, WEIR_R_BAD_CONTROL},
        {"a goodbye of 3 bytes", KIND_GOODBYE, CONTROL, 0, 3, "\1\0\0", WEIR_R_BAD_CONTROL},
        {"a goodbye whose text is cut", KIND_GOODBYE, CONTROL, 0, 5, "\1\0\2\0x",
         WEIR_R_BAD_CONTROL},
    };
    node_start();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t payload[2000] = {0};
        const struct bad_frame *bad = &cases[i];
        join();
        if (bad->payload == (const void *)zeros || bad->len > 100)
            memcpy(payload, bad->payload, bad->payload == (const void *)zeros ? bad->len : 2);
        else if (bad->len)
            memcpy(payload, bad->payload, bad->len);
        raw_frame(&raw, bad->kind, bad->channel, bad->aux, payload, bad->len);
        if (getenv("WEIR_TEST_LOG"))
            fprintf(stderr, "%s\n", bad->what);
        expect_end(bad->reason);
    }
    IT_EQ(it_metrics(&b)->frames_failed, sizeof(cases) / sizeof(cases[0]));
    node_stop();
}

/* The header alone is enough: the payload is never waited for, and nothing is stored for it. */
IT_TEST(hostile, a_length_above_the_maximum_is_not_waited_for)
{
    uint8_t head[WEIR_NATIVE_HEAD];
    static uint8_t big[65536];
    node_start();
    join();
    weir_codec_native.frame_head(head, WEIR_FRAME_FIRST, 1, 1 << 20, big, 65536);
    weir_le32_put(head + 8, 65537);
    weir_le64_put(head + 24, 0);
    raw_bytes(&raw, head, sizeof(head)); /* the header's check is wrong, too: that comes first */
    expect_end(WEIR_R_BAD_HEADER);
    node_stop();

    node_init();
    b.cfg.frame_bytes_max = 4096;
    it_start(&b, "127.0.0.1:0");
    join();
    weir_codec_native.frame_head(head, WEIR_FRAME_FIRST, 1, 1 << 20, big, 4097);
    raw_bytes(&raw, head, sizeof(head));
    IT_EQ(raw_end(&raw), WEIR_R_BAD_LENGTH);
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    IT_EQ(b.down_by[WEIR_R_BAD_LENGTH], 1);

    /* An optional frame is no way around it. */
    join();
    weir_codec_native.frame_head(head, 0x90, CONTROL, 0, big, 4097);
    raw_bytes(&raw, head, sizeof(head));
    IT_EQ(raw_end(&raw), WEIR_R_BAD_LENGTH);
    raw_close(&raw);
    IT_WAIT(b.downs == 2);
    node_stop();
}

IT_TEST(hostile, a_frame_of_another_version)
{
    uint8_t frame[256];
    node_start();
    join();
    size_t len = raw_frame_put(frame, WEIR_FRAME_RUN, 1, 1, "\1\0x", 3);
    frame[4] = 2;
    /* The header's check is XXH3-64 of its first 24 bytes with the seed of docs/wire.md. */
    uint8_t copy[24];
    memcpy(copy, frame, sizeof(copy));
    weir_le64_put(frame + 24, weir_hash_ops()->xxh3(copy, 24, UINT64_C(0x3152444852494557)));
    raw_bytes(&raw, frame, len);
    expect_end(WEIR_R_WRONG_VERSION);
    node_stop();
}

/* ---- fragments ----------------------------------------------------------------------------- */

static void fragment_then(uint8_t kind, uint32_t aux, uint32_t len)
{
    join();
    cr_assert(raw_frame(&raw, WEIR_FRAME_FIRST, 1, 10, "01234", 5));
    raw_frame(&raw, kind, 1, aux, "56789abcdef", len);
    expect_end(WEIR_R_BAD_FRAGMENT);
}

IT_TEST(hostile, fragments_that_do_not_fit)
{
    node_start();
    fragment_then(WEIR_FRAME_MORE, 6, 4);   /* a gap */
    fragment_then(WEIR_FRAME_MORE, 4, 6);   /* an overlap */
    fragment_then(WEIR_FRAME_MORE, 5, 6);   /* past the end */
    fragment_then(WEIR_FRAME_MORE, 5, 0);   /* nothing */
    fragment_then(WEIR_FRAME_FIRST, 10, 5); /* a second beginning */
    join();
    cr_assert(raw_frame(&raw, WEIR_FRAME_FIRST, 1, 10, "01234", 5));
    raw_message(&raw, 1, "x", 1); /* a run in the middle */
    expect_end(WEIR_R_BAD_FRAGMENT);
    node_stop();
}

/* The same when the offending frame comes in two pieces, which is another path. */
IT_TEST(hostile, fragments_that_do_not_fit_in_pieces)
{
    static const struct {
        uint8_t kind;
        uint16_t channel;
        uint32_t aux, len;
        int reason;
    } cases[] = {
        {WEIR_FRAME_MORE, 1, 5, 60, WEIR_R_BAD_FRAGMENT},
        {WEIR_FRAME_FIRST, 1, 60, 60, WEIR_R_BAD_FRAGMENT},
        {WEIR_FRAME_MORE, 2, 5, 60, WEIR_R_BAD_FRAGMENT},
        {WEIR_FRAME_FIRST, 2, 101, 60, WEIR_R_MESSAGE_TOO_BIG},
        {WEIR_FRAME_FIRST, 3, 60, 60, WEIR_R_BAD_CHANNEL},
    };
    node_start();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t frame[256], payload[60] = {0};
        join();
        cr_assert(raw_frame(&raw, WEIR_FRAME_FIRST, 1, 10, "01234", 5));
        raw_frame_put(frame, cases[i].kind, cases[i].channel, cases[i].aux, payload, cases[i].len);
        raw_bytes(&raw, frame, WEIR_NATIVE_HEAD + 20); /* no more is needed */
        IT_EQ(raw_end(&raw), cases[i].reason);
        raw_close(&raw);
        IT_WAIT(b.downs == i + 1);
    }
    node_stop();
}

/* ---- credit -------------------------------------------------------------------------------- */

static void pause_on_up(struct it_node *node, weir_peer peer, int event, int reason)
{
    (void)reason;
    if (event == WEIR_PEER_UP && weir_channel_pause(node->node, peer, 2, 1) != 0)
        it_fault(node, "pause");
}

IT_TEST(hostile, more_bytes_than_were_granted)
{
    node_init();
    b.channels[1].recv_bytes_max = 16384;
    b.on_peer = pause_on_up;
    it_start(&b, "127.0.0.1:0");
    uint8_t payload[1024] = {0};
    for (int i = 0; i < 2; i++) {
        join();
        for (int k = 0; k < 16;
             k++) { /* runs of ten messages of 100 bytes, and one of 2: 1,024 bytes */
            uint8_t *at = payload;
            for (int m = 0; m < 10; m++)
                at = weir_run_put(at,
                                  "0123456789012345678901234567890123456789012345678901234567890123"
                                  "456789012345678901234567890123456789",
                                  100);
            at = weir_run_put(at, "xx", 2);
            cr_assert(at == payload + 1024);
            cr_assert(raw_frame(&raw, WEIR_FRAME_RUN, 2, 11, payload, 1024));
        }
        /* One byte too many: as a run, or as the beginning of a message. */
        if (i == 0)
            raw_frame(&raw, WEIR_FRAME_RUN, 2, 1, "\0\0", 2);
        else
            raw_frame(&raw, WEIR_FRAME_FIRST, 2, 50, "x", 1);
        expect_end(WEIR_R_CREDIT);
    }
    node_stop();
}

/* What a paused channel holds counts with what it takes, not with what is in it: runs of one empty message
 * each are two bytes of credit. */
IT_TEST(hostile, tiny_frames_on_a_paused_channel_stay_within_the_budget)
{
    enum { CNT = 200 * 1000 };
    static uint8_t frames[(WEIR_NATIVE_HEAD + 2) * 1000];
    node_init();
    b.on_peer = pause_on_up;
    b.cfg.peer_bytes_max = 1 << 20;
    it_start(&b, "127.0.0.1:0");
    join();
    size_t len = 0;
    for (int i = 0; i < 1000; i++)
        len += raw_frame_put(frames + len, WEIR_FRAME_RUN, 2, 1, "\0\0", 2);
    for (int i = 0; i < CNT / 1000 && raw_bytes(&raw, frames, len); i++)
        ;
    raw_ping(&raw, 7);
    struct weir_control control;
    cr_assert(raw_await_control(&raw, &control, WEIR_CONTROL_PONG));
    uint64_t used = it_metrics(&b)->pool_bytes;
    cr_assert(used <= 2u << 20, "%llu bytes are held", (unsigned long long)used);
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    node_stop();
}

IT_TEST(hostile, a_message_above_the_budget)
{
    node_init();
    b.cfg.peer_bytes_max = 65536;
    it_start(&b, "127.0.0.1:0");
    join();
    raw_frame(&raw, WEIR_FRAME_FIRST, 1, 1 << 20, "x", 1);
    expect_end(WEIR_R_LIMIT_MEMORY);
    node_stop();
}

/* Peers that together want more than the shard has: some are refused, none does harm. */
IT_TEST(hostile, the_pool_is_a_bound_for_all_peers_together)
{
    struct raw raws[8];
    node_init();
    b.cfg.pool_bytes_max = 4 << 20;
    it_start(&b, "127.0.0.1:0");
    for (int i = 0; i < 8; i++) {
        raw_init(&raws[i], 2, 65536);
        raw_join(&raws[i], &b);
    }
    for (int i = 0; i < 8; i++)
        raw_frame(&raws[i], WEIR_FRAME_FIRST, 1, 1 << 20, "x", 1);
    IT_WAIT(b.downs == 4);
    IT_EQ(b.down_by[WEIR_R_LIMIT_MEMORY], 4);
    cr_assert(it_metrics(&b)->pool_bytes <= 4 << 20);
    for (int i = 0; i < 8; i++)
        raw_close(&raws[i]);
    IT_WAIT(b.downs == 8);
    node_stop();
}

/* Limits far away, limits that go back, the same limit twice: not faults. */
IT_TEST(hostile, strange_credit_is_harmless)
{
    node_start();
    join();
    raw_grant(&raw, 1, UINT64_MAX);
    raw_grant(&raw, 1, 0);
    raw_grant(&raw, 2, 1);
    raw_grant(&raw, 2, 1);
    raw_ping(&raw, 5);
    struct weir_control control;
    cr_assert(raw_await_control(&raw, &control, WEIR_CONTROL_PONG));
    IT_EQ(control.value, 5);
    IT_OK(weir_try_send(b.node, it_peer(&b, 0), 1, "answer", 6));
    struct weir_frame frame;
    cr_assert(raw_await(&raw, &frame, WEIR_FRAME_RUN));
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    node_stop();
}

/* ---- floods -------------------------------------------------------------------------------- */

static void pings(uint32_t cnt)
{
    static uint8_t bytes[1000 * (WEIR_NATIVE_HEAD + 8)];
    size_t len = 0;
    for (uint32_t i = 1; i <= cnt; i++)
        len += weir_codec_native.control_write(
            bytes + len, &(struct weir_control){.kind = WEIR_CONTROL_PING, .value = i});
    raw_bytes(&raw, bytes, len);
}

IT_TEST(hostile, too_many_pings)
{
    node_start();
    join();
    pings(90);
    struct weir_control control;
    do
        cr_assert(raw_await_control(&raw, &control, WEIR_CONTROL_PONG));
    while (control.value != 90);
    pings(1000);
    expect_end(WEIR_R_FLOOD);
    node_stop();
}

/* Frames that we skip (fewer than the 100 a second that are a flood), pongs that nobody asked for: cost, but
 * no fault and no memory. */
IT_TEST(hostile, optional_kinds_and_stray_pongs_are_passed_over)
{
    node_start();
    join();
    for (int i = 0; i < 90; i++) {
        raw_frame(&raw, 0x80 | (uint8_t)i, (uint16_t)i, (uint32_t)i, "whatever", 8);
        raw_control(&raw, &(struct weir_control){.kind = WEIR_CONTROL_PONG, .value = (uint64_t)i});
    }
    raw_ping(&raw, 9);
    struct weir_control control;
    cr_assert(raw_await_control(&raw, &control, WEIR_CONTROL_PONG));
    IT_EQ(control.value, 9);
    IT_EQ(it_metrics(&b)->pool_bufs, 0);
    /* Skipped, but checked. */
    uint8_t frame[64];
    size_t len = raw_frame_put(frame, 0x90, 1, 0, "whatever", 8);
    frame[len - 1] ^= 1;
    raw_bytes(&raw, frame, len);
    expect_end(WEIR_R_BAD_CHECKSUM);
    node_stop();
}

/* ---- ends ---------------------------------------------------------------------------------- */

static void goodbye(uint16_t reason, int expected)
{
    join();
    struct weir_control control = {.kind = WEIR_CONTROL_GOODBYE, .reason = reason};
    snprintf(control.text, sizeof(control.text), "bye");
    uint32_t before = b.down_by[expected];
    raw_control(&raw, &control);
    raw_message(&raw, 1, "late", 4); /* behind a goodbye nothing counts */
    raw_end(&raw);
    IT_WAIT(b.downs == joined);
    IT_EQ(b.down_by[expected], before + 1);
    IT_EQ(b.msgs, joined);
    raw_close(&raw);
}

IT_TEST(hostile, a_goodbye_says_why)
{
    node_start();
    goodbye(WEIR_R_SHUTDOWN, WEIR_R_SHUTDOWN);
    goodbye(WEIR_R_BAD_CHECKSUM, WEIR_R_BAD_CHECKSUM);
    goodbye(999, WEIR_R_APPLICATION); /* a reason of a later version */
    node_stop();
}

IT_TEST(hostile, a_reset_is_a_reset)
{
    node_start();
    for (uint32_t i = 1; i <= 20; i++) {
        join();
        IT_WAIT(b.msgs == i);
        raw_reset(&raw);
        raw_close(&raw);
        IT_WAIT(b.downs == i);
        IT_EQ(b.down_by[WEIR_R_RESET], i);
    }
    node_stop();
}
