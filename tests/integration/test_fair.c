/* Which channel's frames come first, as a peer sees it: in proportion to the weights, frame by frame, and
 * urgent ones before all others. */
#include "tests/integration/raw.h"

IT_SUITE(fair);

#define FRAME 16384u
#define CHANNELS 3u

static struct it_node b;
static struct raw raw;
static weir_peer peer;
static _Atomic uint32_t scripts_run;
static _Atomic(void (*)(
    void)) script; /* runs on the peer's shard when the raw peer sends something */

static void run_script(struct it_node *node, const struct weir_msg *msg)
{
    (void)node;
    (void)msg;
    atomic_load (&script)();
    atomic_fetch_add(&scripts_run, 1);
}

static void begin(const uint16_t weights[CHANNELS], uint32_t urgent, uint32_t channel_bytes)
{
    it_init(&b, "b");
    for (uint16_t i = 0; i < CHANNELS; i++) {
        struct weir_channel *channel = it_channel(&b, (uint16_t)(i + 1));
        channel->weight = weights[i];
        channel->send_bytes_max = channel_bytes;
        channel->flags = urgent >> i & 1 ? WEIR_CHANNEL_URGENT : 0;
    }
    b.on_msg = run_script;
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, CHANNELS, 65536);
    raw.offer.frame_bytes_max = FRAME;
    raw_join(&raw, &b);
    peer = it_peer(&b, 0);
    for (uint16_t i = 0; i < CHANNELS; i++)
        raw_grant(&raw, (uint16_t)(i + 1), UINT64_C(1) << 40);
}

static void on_shard(void (*what)(void))
{
    atomic_store(&script, what);
    raw_message(&raw, 1, "go", 2);
    IT_WAIT(atomic_load(&scripts_run) > 0);
    it_check_faults(&b);
}

static void end(void)
{
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    it_stop(&b);
}

/* ---- weights ------------------------------------------------------------------------------- */

#define EACH (8u << 20)

static uint32_t queued[CHANNELS];

/* Fills all three queues in one call, so that all are backlogged before the first frame is picked: with
 * messages of a frame, of several frames, and with small ones that gather. */
static void fill_all(void)
{
    static uint8_t msg[100000];
    static const uint32_t lens[CHANNELS] = {FRAME, 60000, 300};
    for (uint32_t i = 0; i < CHANNELS; i++) {
        int error = 0;
        while (!error) {
            error = weir_try_send(b.node, peer, (uint16_t)(i + 1), msg, lens[i]);
            queued[i] += error ? 0 : lens[i];
        }
        if (error != WEIR_E_FULL)
            it_fault(&b, "fill: %s", weir_error_name(error));
    }
}

/* Goyal, Vin, Cheng 1996, theorem 1: while two channels are backlogged, their bytes divided by weight
 * differ by at most one frame of each divided by weight. Holds from any frame to any other. */
static void check_weights(const uint16_t weights[CHANNELS])
{
    struct weir_frame frame;
    double work[CHANNELS] = {0}, slack = 0, low[CHANNELS][CHANNELS] = {0},
           high[CHANNELS][CHANNELS] = {0};
    uint64_t bytes[CHANNELS] = {0};
    uint32_t frames = 0;
    begin(weights, 0, EACH);
    on_shard(fill_all);
    for (;;) {
        cr_assert(raw_next(&raw, &frame, 60000));
        if (frame.kind > WEIR_FRAME_MORE)
            continue;
        uint32_t idx = frame.channel - 1u;
        bytes[idx] += frame.len;
        work[idx] += (double)(frame.len + WEIR_NATIVE_HEAD) / weights[idx];
        /* As long as nobody can have run dry: small messages have prefixes, hence the 9/10. */
        if (bytes[idx] > (uint64_t)queued[idx] * 9 / 10)
            break;
        frames++;
        for (uint32_t i = 0; i < CHANNELS; i++) {
            for (uint32_t k = 0; k < CHANNELS; k++) {
                double lag = work[i] - work[k];
                slack = (double)(FRAME + WEIR_NATIVE_HEAD) / weights[i] +
                        (double)(FRAME + WEIR_NATIVE_HEAD) / weights[k];
                low[i][k] = lag < low[i][k] ? lag : low[i][k];
                high[i][k] = lag > high[i][k] ? lag : high[i][k];
                cr_assert(i == k || high[i][k] - low[i][k] <= slack * 1.01,
                          "after %u frames channels %u and %u are %f apart, %f allowed", frames,
                          i + 1, k + 1, high[i][k] - low[i][k], slack);
            }
        }
    }
    cr_assert(frames > 300, "only %u frames were looked at", frames);
    end();
}

IT_TEST(fair, equal_weights)
{
    check_weights((uint16_t[]){1, 1, 1});
}

IT_TEST(fair, different_weights)
{
    check_weights((uint16_t[]){1, 3, 10});
}

IT_TEST(fair, extreme_weights)
{
    check_weights((uint16_t[]){1000, 1000, 333});
}

/* ---- urgent -------------------------------------------------------------------------------- */

static void fill_bulk(void)
{
    static uint8_t msg[100000];
    while (weir_try_send(b.node, peer, 1, msg, 60000) == 0)
        ;
    while (weir_try_send(b.node, peer, 2, msg, 60000) == 0)
        ;
    for (int i = 0; i < 100; i++) {
        if (weir_try_send(b.node, peer, 3, msg, 60000) != 0)
            it_fault(&b, "urgent: refused");
    }
}

/* Queued last, sent first; and one that comes later waits for what is below the scheduler only. */
IT_TEST(fair, urgent_messages_go_first)
{
    struct weir_frame frame;
    uint64_t urgent = 0, bulk = 0, all = 100 * 60000;
    begin((uint16_t[]){1000, 1000, 1}, 1u << 2, 16 << 20);
    on_shard(fill_bulk);
    while (urgent < all) {
        cr_assert(raw_next(&raw, &frame, 60000));
        if (frame.kind > WEIR_FRAME_MORE)
            continue;
        if (frame.channel == 3)
            urgent += frame.len;
        else
            bulk += frame.len;
    }
    /* The send that empties the urgent queue may be filled up with others. */
    cr_assert(bulk <= b.cfg.send_bytes_max, "%llu bytes went before", (unsigned long long)bulk);
    IT_OK(weir_try_send(b.node, peer, 3, "now", 3));
    bulk = 0;
    do {
        cr_assert(raw_next(&raw, &frame, 60000));
        bulk += frame.kind <= WEIR_FRAME_MORE && frame.channel != 3 ? frame.len : 0;
    } while (frame.kind > WEIR_FRAME_MORE || frame.channel != 3);
    cr_assert(bulk < 20u << 20,
              "all of the bulk went before"); /* of 32 MiB; the kernel has the rest */
    end();
}
