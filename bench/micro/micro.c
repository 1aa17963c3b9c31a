/* bench/micro/micro.c: the engine's inner loops by themselves, in one process, on what fits the cache.
 *
 *   verify    weir_codec.verify on a batch of frames, as many as the engine lets wait (256 KiB), a frame
 *   encode    weir_codec.frame_head: hash and header of one frame
 *   decode    weir_codec.feed on a window of whole frames, a frame; it looks at headers only
 *   schedule  weir_sched_pick and weir_sched_charge, four channels that always have something
 *   mailbox   weir_mailbox_put and its share of weir_mailbox_take, one thread
 *
 * In turns, a slice each; the figure is the median slice, so that what interrupts one does not count.
 * What moves messages in these cases is nothing: run->counts has operations.
 */
#include "bench/weir_roles.h"

#include <stdlib.h>
#include <string.h>

#include "engine/conn/sched.h"
#include "engine/mem/mailbox.h"
#include "proto/codec.h"

#define BATCH_BYTES (256u << 10) /* WEIR_HUB_PENDING_BYTES */
#define BATCH_FRAMES 512u        /* WEIR_HUB_FRAMES */
#define CHANNELS 4u
#define LETTERS 64u
#define SLICE_NS (100 * WEIR_NS_PER_US)

struct micro {
    uint32_t size, frame_cnt;
    uint8_t *window; /* frame_cnt frames, header and payload */
    struct weir_frame frames[BATCH_FRAMES];
    void *state; /* of a codec whose handshake is done */
    struct weir_sched sched;
    uint64_t finish[CHANNELS], cost[CHANNELS];
    struct weir_mailbox mailbox;
    struct weir_letter letters[LETTERS];
    struct bench_histogram times[BENCH_FACT_CNT]; /* picoseconds an operation */
};

/* ---- one batch of each; returns the operations that it was ---------------------------------- */

static uint32_t verify(struct micro *micro)
{
    weir_codec_native.verify(micro->frames, micro->frame_cnt);
    for (uint32_t i = 0; i < micro->frame_cnt; i++)
        if (micro->frames[i].fault != 0)
            return 0;
    return micro->frame_cnt;
}

static uint32_t encode(struct micro *micro)
{
    const uint32_t head = weir_codec_native.head_bytes;
    uint8_t *at = micro->window;

    for (uint32_t i = 0; i < micro->frame_cnt; i++, at += head + micro->size)
        weir_codec_native.frame_head(at, WEIR_FRAME_FIRST, 0, micro->size, at + head, micro->size);
    return micro->frame_cnt;
}

static uint32_t decode(struct micro *micro)
{
    const size_t len = (size_t)micro->frame_cnt * (weir_codec_native.head_bytes + micro->size);
    struct weir_feed feed = {0};

    weir_codec_native.feed(micro->state, micro->window, len, micro->frames, BATCH_FRAMES, &feed);
    return feed.consumed == len ? feed.frame_cnt : 0;
}

static uint32_t schedule(struct micro *micro)
{
    for (uint32_t i = 0; i < LETTERS; i++) {
        uint32_t channel = weir_sched_pick(&micro->sched, (1u << CHANNELS) - 1);
        weir_sched_charge(&micro->sched, channel, micro->size);
    }
    return LETTERS;
}

static uint32_t mail(struct micro *micro)
{
    uint32_t cnt = 0;
    bool must_wake;

    for (uint32_t i = 0; i < LETTERS; i++)
        if (weir_mailbox_put(&micro->mailbox, &micro->letters[i], &must_wake) != 0)
            return 0;
    for (struct weir_letter *letter = weir_mailbox_take(&micro->mailbox); letter != NULL;
         letter = letter->next, cnt++)
        weir_mailbox_credit(&micro->mailbox, letter->bytes);
    return cnt;
}

static const struct {
    enum bench_fact fact;
    uint32_t (*run)(struct micro *micro);
} loops[] = {
    {BENCH_FACT_ENCODE_NS, encode}, {BENCH_FACT_DECODE_NS, decode},
    {BENCH_FACT_VERIFY_NS, verify}, {BENCH_FACT_SCHEDULE_NS, schedule},
    {BENCH_FACT_MAILBOX_NS, mail},
};
#define LOOP_CNT (sizeof(loops) / sizeof(loops[0]))

/* ---- what they work on ---------------------------------------------------------------------- */

/* Moves what one side has to say to the other. */
static void pass_on(void *from, void *to, struct weir_feed *ret_feed)
{
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t len = weir_codec_native.pull(from, bytes, sizeof(bytes));

    for (size_t at = 0; at < len; at += ret_feed->consumed) {
        struct weir_frame frame;
        *ret_feed = (struct weir_feed){0};
        weir_codec_native.feed(to, bytes + at, len - at, &frame, 1, ret_feed);
        if (ret_feed->consumed == 0)
            return;
    }
}

static void *state_create(void)
{
    return aligned_alloc(64, (weir_codec_native.state_bytes + 63) & ~(size_t)63);
}

/* A handshake between two codecs; the listener's is the one that decodes. */
static bool shake_hands(struct micro *micro)
{
    static const struct weir_channel_desc channels[1] = {
        {.id = 0, .weight = 1, .msg_bytes_max = 1u << 20, .window_bytes = 4u << 20}};
    static struct weir_offer offers[2];
    struct weir_feed feed = {0};
    void *dialer = state_create();

    micro->state = state_create();
    if (dialer == NULL || micro->state == NULL)
        return false;
    memset(dialer, 0, weir_codec_native.state_bytes);
    memset(micro->state, 0, weir_codec_native.state_bytes);
    for (uint8_t i = 0; i < 2; i++)
        offers[i] = (struct weir_offer){.network_id = "weir-bench",
                                        .user_agent = "",
                                        .channels = channels,
                                        .channel_cnt = 1,
                                        .frame_bytes_max = 65536,
                                        .nonce = {(uint8_t)(i + 1)}};
    weir_codec_native.begin(dialer, &offers[0], true);
    weir_codec_native.begin(micro->state, &offers[1], false);
    for (int round = 0; round < 4 && !feed.is_ready; round++) {
        pass_on(micro->state, dialer, &feed);
        pass_on(dialer, micro->state, &feed);
    }
    free(dialer);
    return feed.is_ready;
}

static bool prepare(struct micro *micro, uint32_t size)
{
    micro->size = size;
    micro->frame_cnt = BATCH_BYTES / size < BATCH_FRAMES ? BATCH_BYTES / size : BATCH_FRAMES;
    size_t len = (size_t)micro->frame_cnt * (weir_codec_native.head_bytes + size);
    micro->window = aligned_alloc(4096, (len + 4095) & ~(size_t)4095);
    if (micro->window == NULL || !shake_hands(micro))
        return false;
    memset(micro->window, 0x5a, len);
    for (uint32_t i = 0; i < CHANNELS; i++)
        micro->cost[i] = weir_sched_cost((uint16_t)(i + 1));
    weir_sched_init(&micro->sched, micro->finish, micro->cost, 0, CHANNELS);
    weir_mailbox_init(&micro->mailbox, 1u << 20);
    for (uint32_t i = 0; i < LETTERS; i++)
        micro->letters[i].bytes = 64;
    return true;
}

/* A slice of one loop; 0 operations: it went wrong. */
static uint64_t slice(struct micro *micro, uint32_t nth, bool is_counted)
{
    weir_ns begin = bench_now(), end = begin;
    uint64_t ops = 0;

    while (end - begin < SLICE_NS) {
        for (int i = 0; i < 4; i++) { /* the clock is looked at seldom */
            uint32_t done = loops[nth].run(micro);
            if (done == 0)
                return 0;
            ops += done;
        }
        end = bench_now();
    }
    if (is_counted)
        bench_histogram_add(&micro->times[loops[nth].fact], (end - begin) * 1000 / ops);
    return ops;
}

enum bench_status bench_weir_micro(struct bench_run *run)
{
    static struct micro micro;
    double *facts = run->shared->sides[BENCH_SENDER].facts;

    if (!prepare(&micro, run->job->size))
        return bench_fail(run, BENCH_E_RUN, "no memory, or the handshake failed");
    while (bench_step(run) < BENCH_DRAIN) {
        for (uint32_t i = 0; i < LOOP_CNT; i++) {
            uint64_t ops = slice(&micro, i, run->phase == BENCH_MEASURE);
            if (ops == 0)
                return bench_fail(run, BENCH_E_RUN, "loop %u did not do its work", i);
            run->counts.msgs[0] += ops;
        }
    }
    for (uint32_t i = 0; i < LOOP_CNT; i++)
        facts[loops[i].fact] = (double)bench_histogram_at(&micro.times[loops[i].fact], 0.5) * 1e-3;
    bench_finish(run);
    return BENCH_OK;
}
