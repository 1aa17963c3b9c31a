/* bench/weir_stream.c: weir one way, the sender: throughput, share, urgent beside bulk, wake and stall.
 *
 * The sender fills each bulk channel until the queue says it is full, when the peer comes up and
 * again each time the channel can be written, always on the shard's thread. Messages are copied in;
 * from 16 KiB on they are handed over without a copy (weir_send_buf), from an array of static
 * messages.
 */
#include "bench/weir_roles.h"
#include "bench/weir_side.h"

#include <stdlib.h>
#include <string.h>

#include "bench/pace.h"
#include "bench/source.h"

#define BY_REFERENCE_BYTES (16u * 1024)
#define REFERENCE_CNT_EXTRA 6u /* beyond what the queues hold: what is in a send */

/* Messages that weir may hold; the one that came back last is used first, it may still be
 * cached. */
struct references {
    uint8_t **free;
    uint32_t free_cnt;
};

struct sender {
    struct weir_side side; /* first: see on_peer */
    struct bench_source sources[BENCH_CHANNELS_MAX];
    struct references references;
    uint32_t first_bulk; /* channels from this one to below ... */
    uint32_t end_bulk;   /* ... this one always have something to send */
    bool is_stopped;
    bool is_starved; /* all references were out: no on_writable will follow */
};

static bool is_by_reference(const struct bench_job *job)
{
    return job->size >= BY_REFERENCE_BYTES && !job->is_mixed;
}

static void give_back(void *ctx, void *data, size_t len)
{
    struct references *references = ctx;

    (void)len;
    references->free[references->free_cnt++] = data;
}

/* The next message without a copy. */
static bool send_reference(struct sender *sender, uint32_t channel)
{
    struct references *references = &sender->references;
    const uint32_t size = sender->side.run->job->size;
    struct weir_buf *buf;

    if (references->free_cnt == 0) {
        sender->is_starved = true;
        return false;
    }
    uint8_t *data = references->free[--references->free_cnt];
    memcpy(data, &sender->side.run->counts.msgs[channel], sizeof(uint64_t));
    int error = weir_buf_wrap(&buf, data, size, give_back, references);
    if (error != 0) {
        weir_side_fail(&sender->side, "weir_buf_wrap", error);
        return false;
    }
    return weir_side_sent(
        &sender->side, channel, size,
        weir_send_buf(sender->side.node, sender->side.peer, (uint16_t)channel, buf));
}

/* How long message `seq` of a channel is. Which it is has no period that could fall in step with what a
 * turn sends (the multiplier of Knuth's multiplicative hash). */
static uint32_t size_of(const struct bench_job *job, uint32_t channel, uint64_t seq)
{
    static const uint8_t shifts[] = {0, 2, 4, 8};

    if (!job->is_mixed)
        return job->size;
    uint32_t size = job->size >> shifts[((uint32_t)(seq + channel) * 2654435761u) >> 30];
    return size == 0 ? 1 : size;
}

static void fill(struct sender *sender, uint32_t channel)
{
    struct bench_source *source = &sender->sources[channel];
    const struct bench_job *job = sender->side.run->job;

    if (is_by_reference(job)) {
        while (send_reference(sender, channel))
            ;
        return;
    }
    while (weir_side_send(&sender->side, channel, bench_source_peek(source),
                          size_of(job, channel, source->seq)))
        bench_source_take(source);
}

static void fill_all(struct sender *sender)
{
    sender->is_starved = false;
    for (uint32_t i = sender->first_bulk; i < sender->end_bulk; i++)
        fill(sender, i);
}

static void on_up(void *role, weir_peer peer)
{
    (void)peer;
    fill_all(role);
}

static void on_writable(void *role, weir_peer peer, uint16_t channel)
{
    struct sender *sender = role;

    (void)peer;
    if (!sender->is_stopped && channel >= sender->first_bulk && channel < sender->end_bulk)
        fill(sender, channel);
}

static bool prepare(struct sender *sender, const struct bench_job *job)
{
    if (!is_by_reference(job)) {
        for (uint32_t i = 0; i < job->channel_cnt; i++)
            if (bench_source_init(&sender->sources[i], job->size) != 0)
                return false;
        return true;
    }

    uint32_t cnt =
        job->channel_cnt * (weir_side_queue_bytes(job) / job->size) + REFERENCE_CNT_EXTRA;
    sender->references.free = calloc(cnt, sizeof(*sender->references.free));
    if (sender->references.free == NULL)
        return false;
    for (uint32_t i = 0; i < cnt; i++) {
        uint8_t *data = aligned_alloc(4096, ((size_t)job->size + 4095) & ~(size_t)4095);
        if (data == NULL)
            return false;
        memset(data, 0x5a, job->size);
        sender->references.free[sender->references.free_cnt++] = data;
    }
    return true;
}

/* Sends the urgent message if it is due; returns how long until the next one is. */
static weir_ns send_urgent(struct sender *sender, weir_ns *due)
{
    struct bench_run *run = sender->side.run;
    struct bench_urgent msg;

    if (run->job->which != BENCH_URGENT || sender->side.peer.v == 0)
        return WEIR_SIDE_WAIT_NS;
    while (bench_urgent_next(run, due, run->counts.msgs[0], &msg))
        if (!weir_side_send(&sender->side, 0, &msg, sizeof(msg))) {
            weir_side_fail(&sender->side, "an urgent message was refused", WEIR_E_FULL);
            break;
        }
    weir_ns now = bench_now();
    return *due <= now || *due - now > WEIR_SIDE_WAIT_NS ? WEIR_SIDE_WAIT_NS : *due - now;
}

enum bench_status bench_weir_stream_send(struct bench_run *run)
{
    static struct sender sender;
    const struct weir_reactor reactor = {.on_writable = on_writable};
    const struct weir_side_hooks hooks = {.on_up = on_up};
    enum bench_phase phase;
    weir_ns due = 0;

    sender.first_bulk = run->job->which == BENCH_URGENT ? 1 : 0;
    sender.end_bulk = run->job->which == BENCH_WAKE ? 1 : run->job->channel_cnt;
    if (!prepare(&sender, run->job))
        return bench_fail(run, BENCH_E_RUN, "no memory for the messages");
    if (!weir_side_open(&sender.side, run, &reactor, &hooks, &sender))
        return BENCH_E_RUN;
    while ((phase = bench_step(run)) != BENCH_DONE) {
        if (phase == BENCH_DRAIN) {
            sender.is_stopped = true;
            bench_publish_sent(run);
        } else if (phase == BENCH_MEASURE && sender.end_bulk < run->job->channel_cnt) {
            sender.end_bulk = run->job->channel_cnt; /* `wake`: the other one starts */
            fill_all(&sender);
        }
        weir_ns wait = send_urgent(&sender, &due);
        if (!weir_side_turn(&sender.side, phase == BENCH_DRAIN ? WEIR_NS_PER_MS : wait))
            return BENCH_E_RUN;
        if (sender.is_starved && !sender.is_stopped)
            fill_all(&sender);
    }
    weir_side_close(&sender.side);
    return BENCH_OK;
}
