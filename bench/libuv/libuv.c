/* bench/libuv/libuv.c: libuv in each case. */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "bench/libuv/link.h"

static void count(struct libuv_link *link, const uint8_t *data, uint32_t len)
{
    bench_count(link->run, 0, data, len);
}

static void count_rate(struct libuv_link *link, const uint8_t *data, uint32_t len)
{
    bench_pace_arrived(link->run, data, len);
}

/* ---- one way -------------------------------------------------------------------------------- */

static enum bench_status stream_send(struct bench_run *run)
{
    static struct libuv_link link;
    struct libuv_batch *batch;

    if (!libuv_link_open(&link, run, count))
        return BENCH_E_RUN;
    while (bench_step(run) < BENCH_DRAIN) {
        while ((batch = libuv_link_batch(&link)) != NULL) {
            uint64_t cnt = libuv_batch_fill(batch, UINT64_MAX);
            run->counts.msgs[0] += cnt;
            run->counts.bytes[0] += cnt * run->job->size;
            libuv_batch_send(batch);
        }
        if (!libuv_link_turn(&link, true))
            return BENCH_E_RUN;
    }
    return libuv_link_end(&link);
}

static enum bench_status stream_recv(struct bench_run *run)
{
    static struct libuv_link link;
    uv_os_fd_t sock;

    if (!libuv_link_open(&link, run, run->job->which == BENCH_RATE ? count_rate : count))
        return BENCH_E_RUN;
    while (!link.is_ended) {
        if (!libuv_link_turn(&link, true))
            return BENCH_E_RUN;
        bench_step(run);
    }
    bench_finish(run);
    if (uv_fileno((uv_handle_t *)&link.tcp, &sock) == 0)
        close(sock);
    return BENCH_OK;
}

/* ---- at a fixed rate ------------------------------------------------------------------------ */

/* libuv's timers count milliseconds: an expert takes a timerfd for less. */
struct alarm {
    uv_poll_t poll;
    int fd;
};

static void on_alarm(uv_poll_t *poll, int status, int events)
{
    struct alarm *alarm = poll->data;
    uint64_t cnt;

    (void)status;
    (void)events;
    ssize_t n = read(alarm->fd, &cnt, sizeof(cnt));
    (void)n; /* EAGAIN: it was set anew meanwhile */
}

static bool alarm_open(struct alarm *alarm, struct libuv_link *link)
{
    alarm->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (alarm->fd < 0) {
        bench_fail(link->run, BENCH_E_RUN, "timerfd_create: %s", strerror(errno));
        return false;
    }
    alarm->poll.data = alarm;
    if (uv_poll_init(&link->loop, &alarm->poll, alarm->fd) == 0 &&
        uv_poll_start(&alarm->poll, UV_READABLE, on_alarm) == 0)
        return true;
    bench_fail(link->run, BENCH_E_RUN, "uv_poll_start failed");
    return false;
}

static void alarm_set(struct alarm *alarm, weir_ns wait)
{
    const struct itimerspec timer = {.it_value = {.tv_sec = (time_t)(wait / WEIR_NS_PER_S),
                                                  .tv_nsec = (long)(wait % WEIR_NS_PER_S)}};

    timerfd_settime(alarm->fd, 0, &timer, NULL);
}

/* Sends what is due, as far as libuv has a batch free. */
static void send_due(struct libuv_link *link, struct bench_pace *pace)
{
    struct libuv_batch *batch = libuv_link_batch(link);
    weir_ns now = bench_now();
    const uint8_t *msg;

    if (batch == NULL)
        return;
    while (!libuv_batch_is_full(batch) && (msg = bench_pace_next(pace, link->run, now)) != NULL) {
        libuv_batch_put(batch, msg, pace->size);
        bench_pace_take(pace);
        bench_sent(link->run, 0, pace->size);
    }
    if (batch->buf_cnt != 0)
        libuv_batch_send(batch);
}

static enum bench_status rate_send(struct bench_run *run)
{
    static struct libuv_link link;
    static struct alarm alarm;
    struct bench_pace pace;

    if (!libuv_link_open(&link, run, count_rate) || !alarm_open(&alarm, &link))
        return BENCH_E_RUN;
    if (bench_pace_init(&pace, run->job) != 0)
        return bench_fail(run, BENCH_E_RUN, "no memory for a message");
    while (!bench_pace_is_over(&pace, run)) {
        send_due(&link, &pace);
        bool is_blocked = libuv_link_batch(&link) == NULL;
        weir_ns wait = bench_pace_wait(&pace, bench_now());
        if (wait != 0 && !is_blocked && !run->job->is_busy)
            alarm_set(&alarm, wait);
        if (!libuv_link_turn(&link, wait != 0 || is_blocked))
            return BENCH_E_RUN;
    }
    return libuv_link_end(&link);
}

/* ---- there and back ------------------------------------------------------------------------ */

struct asker {
    struct libuv_link link; /* first: deliver is given the link */
    weir_ns begin;
    bool is_stopped;
};

static void ask(struct asker *asker)
{
    asker->begin = bench_now();
    libuv_link_send_one(&asker->link);
}

static void on_answer(struct libuv_link *link, const uint8_t *data, uint32_t len)
{
    struct asker *asker = (struct asker *)link;
    struct bench_run *run = link->run;

    if (run->phase == BENCH_MEASURE)
        bench_histogram_add(&run->shared->latency, bench_now() - asker->begin);
    bench_count(run, 0, data, len);
    asker->is_stopped = bench_step(run) >= BENCH_DRAIN;
    if (!asker->is_stopped)
        ask(asker);
}

static enum bench_status rtt_send(struct bench_run *run)
{
    static struct asker asker;

    if (!libuv_link_open(&asker.link, run, on_answer))
        return BENCH_E_RUN;
    ask(&asker);
    while (!asker.is_stopped) {
        if (!libuv_link_turn(&asker.link, true))
            return BENCH_E_RUN;
        if (asker.link.is_ended)
            return bench_fail(run, BENCH_E_RUN, "the answer did not come");
    }
    bench_publish_sent(run);
    bench_finish(run);
    return BENCH_OK;
}

static void on_question(struct libuv_link *link, const uint8_t *data, uint32_t len)
{
    bench_count(link->run, 0, data, len);
    libuv_link_send_one(link);
}

static enum bench_status rtt_recv(struct bench_run *run)
{
    static struct libuv_link link;

    if (!libuv_link_open(&link, run, on_question))
        return BENCH_E_RUN;
    while (!link.is_ended) {
        if (!libuv_link_turn(&link, true))
            return BENCH_E_RUN;
        bench_step(run);
    }
    bench_step(run);
    return BENCH_OK;
}

/* ---- the implementation -------------------------------------------------------------------- */

const struct bench_impl bench_libuv = {
    .name = "libuv",
    .what = "libuv, a length of 4 bytes before each message, uv_write of 256 KiB; no checksum",
    .notes =
        {
            [BENCH_THROUGHPUT] = "two batches in turns; above 8 KiB messages are not copied",
            [BENCH_RATE] = "a timerfd in the loop, as libuv's own timers count milliseconds",
        },
    .roles =
        {
            [BENCH_THROUGHPUT] = {stream_send, stream_recv},
            [BENCH_RTT] = {rtt_send, rtt_recv},
            [BENCH_RATE] = {rate_send, stream_recv},
        },
};
