/* Sending from threads that are not the peer's shard: deadlines, order per thread, and buffers that are
 * released exactly once whatever becomes of them. */
#include "tests/integration/raw.h"

IT_SUITE(send);

static struct it_node a, b;
static struct raw raw;

/* ---- order --------------------------------------------------------------------------------- */

#define THREADS 5u
#define PER_THREAD 4000u

struct numbered {
    uint32_t thread;
    uint32_t seq;
};

static uint32_t next_seq[THREADS]; /* of the receiver */
static weir_peer target;

static void take_numbered(struct it_node *node, const struct weir_msg *msg)
{
    struct numbered number;
    if (msg->len < sizeof(number)) {
        it_fault(node, "%u bytes", msg->len);
        return;
    }
    memcpy(&number, msg->data, sizeof(number));
    if (number.thread >= THREADS || number.seq != next_seq[number.thread]++)
        it_fault(node, "thread %u: message %u is not the next", number.thread, number.seq);
    if (!it_is_filled(msg->data + sizeof(number), msg->len - sizeof(number), number.seq))
        it_fault(node, "thread %u: message %u is damaged", number.thread, number.seq);
}

/* Each thread sends in its own way: waiting, trying, by reference. */
static int send_one(uint32_t thread, const uint8_t *msg, size_t len)
{
    struct weir_buf *buf;
    int error;
    switch (thread % 3) {
    case 0:
        return weir_send(a.node, target, 1, msg, len, IT_PATIENCE);
    case 1:
        while ((error = weir_try_send(a.node, target, 1, msg, len)) == WEIR_E_FULL)
            usleep(50);
        return error;
    default:
        do {
            if (weir_buf_create(&buf, len) != 0)
                return WEIR_E_NOMEM;
            memcpy(weir_buf_data(buf), msg, len);
        } while ((error = weir_send_buf(a.node, target, 1, buf)) == WEIR_E_FULL && usleep(50) == 0);
        return error;
    }
}

static void *send_numbered(void *arg)
{
    static uint8_t msgs[THREADS][80000];
    uint32_t thread = *(uint32_t *)arg;
    for (uint32_t seq = 0; seq < PER_THREAD; seq++) {
        struct numbered number = {thread, seq};
        size_t len = seq % 100 == 7 ? 70000 : seq % 700;
        memcpy(msgs[thread], &number, sizeof(number));
        it_fill(msgs[thread] + sizeof(number), len, seq);
        int error = send_one(thread, msgs[thread], sizeof(number) + len);
        if (error) {
            it_fault(&a, "thread %u: %s", thread, weir_error_name(error));
            break;
        }
    }
    return NULL;
}

IT_TEST(send, several_threads_each_in_its_order)
{
    pthread_t threads[THREADS];
    uint32_t numbers[THREADS];
    it_init(&a, "a");
    it_init(&b, "b");
    it_channel(&a, 1);
    it_channel(&b, 1);
    a.channels[0].send_bytes_max = 1 << 20;
    b.on_msg = take_numbered;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    target = it_link(&a, &b);
    for (uint32_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, send_numbered, &numbers[i]);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    it_check_faults(&a);
    IT_WAIT(b.msgs == THREADS * PER_THREAD || b.faults);
    it_stop(&a);
    it_stop(&b);
}

/* ---- deadlines ----------------------------------------------------------------------------- */

#define WINDOW 65536u
#define MSG 16000u

/* A node whose queue to a raw peer is full, and stays so: the peer grants nothing, and what it had granted is used up. */
static void begin_full(void)
{
    static uint8_t msg[MSG];
    it_init(&b, "b");
    b.cfg.goodbye_linger_ns = 100 * IT_MS;
    it_channel(&b, 1)->send_bytes_max = 256 * 1024;
    b.channels[0].msg_bytes_max = 64 * 1024;
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 1, WINDOW);
    raw_join(&raw, &b);
    target = it_peer(&b, 0);
    int error = 0;
    struct weir_peer_info info = {.size = sizeof(info)};
    do {
        while (!error) {
            error = weir_send(b.node, target, 1, msg, sizeof(msg), 50 * IT_MS);
            it_check_faults(&b);
        }
        IT_IS(error, WEIR_E_TIMEOUT);
        /* It may have been the shard that took its time. Its answer comes after its sends have ended. */
        IT_WAIT(it_metrics(&b)->channels[0].credit_stalls > 0);
        IT_OK(it_info(&b, target, &info));
        error = weir_try_send(b.node, target, 1, msg, sizeof(msg));
    } while (!error);
    IT_IS(error, WEIR_E_FULL);
}

static void end(void)
{
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    it_wait_empty(&b);
    it_stop(&b);
}

IT_TEST(send, a_deadline_that_passes)
{
    begin_full();
    weir_ns begin = weir_now();
    IT_IS(weir_send(b.node, target, 1, "x", 1, 200 * IT_MS), WEIR_OK); /* a small one still fits */
    static uint8_t msg[MSG];
    begin = weir_now();
    IT_IS(weir_send(b.node, target, 1, msg, MSG, 200 * IT_MS), WEIR_E_TIMEOUT);
    cr_assert(weir_now() - begin >= 200 * IT_MS);
    IT_IS(weir_send(b.node, target, 1, msg, MSG, 0), WEIR_E_TIMEOUT);
    IT_IS(weir_try_send(b.node, target, 1, msg, MSG), WEIR_E_FULL);
    end();
}

static int waited_error;
static _Atomic int is_waiting;

static void *wait_for_room(void *arg)
{
    static uint8_t msg[MSG];
    (void)arg;
    atomic_store(&is_waiting, 1);
    waited_error = weir_send(b.node, target, 1, msg, MSG, WEIR_NS_FOREVER);
    return NULL;
}

static pthread_t waiter(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_room, NULL);
    IT_WAIT(is_waiting);
    usleep(20 * 1000); /* so that most often it does wait */
    return thread;
}

IT_TEST(send, who_waits_is_woken_when_there_is_room)
{
    begin_full();
    pthread_t thread = waiter();
    raw_grant(&raw, 1, 10 << 20);
    pthread_join(thread, NULL);
    IT_OK(waited_error);
    end();
}

IT_TEST(send, who_waits_is_woken_when_the_peer_goes)
{
    begin_full();
    pthread_t thread = waiter();
    raw_close(&raw);
    pthread_join(thread, NULL);
    IT_IS(waited_error, WEIR_E_GONE);
    end();
}

IT_TEST(send, who_waits_is_woken_when_the_node_stops)
{
    begin_full();
    pthread_t thread = waiter();
    IT_IS(weir_node_stop(b.node, 0), WEIR_E_TIMEOUT);
    pthread_join(thread, NULL);
    IT_IS(waited_error, WEIR_E_GONE);
    raw_close(&raw);
    it_check_empty(&b);
    it_free(&b);
}

/* Waiters of several channels and sizes, all of them served in the end. */
static void *send_many(void *arg)
{
    static uint8_t msg[MSG];
    (void)arg;
    for (int i = 0; i < 200; i++) {
        int error = weir_send(b.node, target, 1, msg, (size_t)i * 80, IT_PATIENCE);
        if (error)
            it_fault(&b, "send: %s", weir_error_name(error));
    }
    return NULL;
}

IT_TEST(send, many_waiters_are_all_served)
{
    pthread_t threads[8];
    begin_full();
    uint64_t before = it_metrics(&b)->channels[0].msgs_sent;
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, send_many, NULL);
    uint64_t granted = WINDOW;
    struct weir_frame frame;
    uint64_t got = 0;
    while (it_metrics(&b)->channels[0].msgs_sent < before + 1600) { /* little by little */
        raw_grant(&raw, 1, granted += WINDOW);
        while (got < granted - WINDOW && raw_next(&raw, &frame, 100))
            got += frame.kind <= WEIR_FRAME_MORE ? frame.len : 0;
        it_check_faults(&b);
    }
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    it_check_faults(&b);
    end();
}

static _Atomic int shard_error;

static void send_on_shard(struct it_node *node, const struct weir_msg *msg)
{
    atomic_store(&shard_error, weir_send(node->node, msg->peer, 1, "x", 1, WEIR_NS_FOREVER));
}

IT_TEST(send, waiting_on_a_shard_is_refused)
{
    it_init(&b, "b");
    it_channel(&b, 1);
    b.cfg.shard_cnt = 2;
    b.on_msg = send_on_shard;
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 1, WINDOW);
    raw_join(&raw, &b);
    raw_message(&raw, 1, "go", 2);
    IT_WAIT(b.msgs == 1);
    IT_IS(shard_error, WEIR_E_SHARD_THREAD);
    end();
}

/* ---- errors -------------------------------------------------------------------------------- */

IT_TEST(send, wrong_targets_and_sizes)
{
    static uint8_t msg[70000];
    it_init(&b, "b");
    it_channel(&b, 1)->msg_bytes_max = 1 << 20;
    it_channel(&b, 5);
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 1,
             WINDOW); /* takes messages of 65,536 bytes on channel 1, and has no channel 5 */
    raw_join(&raw, &b);
    target = it_peer(&b, 0);
    IT_OK(weir_try_send(b.node, target, 1, msg, 65536));
    IT_IS(weir_try_send(b.node, target, 1, msg, 65537), WEIR_E_TOO_BIG);
    IT_IS(weir_send(b.node, target, 1, msg, 65537, IT_MS), WEIR_E_TOO_BIG);
    IT_IS(weir_try_send(b.node, target, 5, msg, 1), WEIR_E_NO_CHANNEL);
    IT_IS(weir_try_send(b.node, target, 6, msg, 1), WEIR_E_NO_CHANNEL);
    IT_IS(weir_try_send(b.node, target, 65535, msg, 1), WEIR_E_NO_CHANNEL);
    IT_IS(weir_try_send(b.node, (weir_peer){0}, 1, msg, 1), WEIR_E_GONE);
    IT_IS(weir_try_send(b.node, (weir_peer){UINT64_MAX}, 1, msg, 1), WEIR_E_GONE);
    IT_IS(weir_try_send(b.node, (weir_peer){target.v + 1}, 1, msg, 1), WEIR_E_GONE);
    IT_IS(weir_try_send(b.node, (weir_peer){target.v + (UINT64_C(1) << 32)}, 1, msg, 1),
          WEIR_E_GONE);
    IT_IS(weir_try_send(b.node, (weir_peer){target.v | 5u << 24}, 1, msg, 1), WEIR_E_GONE);
    IT_IS(weir_try_send(b.node, (weir_peer){target.v | 0xFFFFFF}, 1, msg, 1), WEIR_E_GONE);
    IT_IS(weir_try_send(b.node, target, 1, NULL, 1), WEIR_E_MISUSE);
    IT_OK(weir_try_send(b.node, target, 1, NULL, 0));
    IT_IS(weir_disconnect(b.node, (weir_peer){0}, 0), WEIR_E_GONE);
    IT_IS(weir_disconnect(b.node, (weir_peer){UINT64_MAX}, 0), WEIR_E_GONE);
    IT_OK(weir_disconnect(b.node, target, 0));
    IT_EQ(raw_end(&raw), WEIR_R_APPLICATION);
    IT_WAIT(b.downs == 1);
    IT_IS(weir_try_send(b.node, target, 1, msg, 1), WEIR_E_GONE);
    IT_IS(weir_send(b.node, target, 1, msg, 1, IT_MS), WEIR_E_GONE);
    IT_IS(weir_disconnect(b.node, target, 0), WEIR_E_GONE);
    IT_IS(weir_channel_pause(b.node, target, 1, 1), WEIR_E_GONE);
    struct weir_peer_info info = {.size = sizeof(info)};
    IT_IS(weir_peer_info(b.node, target, &info), WEIR_E_GONE);
    end();
}

/* ---- buffers ------------------------------------------------------------------------------- */

static _Atomic uint32_t released;
static uint8_t wrapped[100000];

static void count_release(void *ctx, void *data, size_t len)
{
    (void)len;
    if (data != wrapped)
        it_fault(&b, "release of other bytes");
    atomic_fetch_add((_Atomic uint32_t *)ctx, 1);
}

static struct weir_buf *wrap(size_t len)
{
    struct weir_buf *buf;
    IT_OK(weir_buf_wrap(&buf, wrapped, len, count_release, &released));
    return buf;
}

static int send_wrapped(weir_peer peer, uint16_t channel, size_t len)
{
    return weir_send_buf(b.node, peer, channel, wrap(len));
}

static void begin_buffers(uint32_t overflow)
{
    it_init(&b, "b");
    b.cfg.goodbye_linger_ns = 100 * IT_MS;
    it_channel(&b, 1)->send_bytes_max = 256 * 1024;
    b.channels[0].msg_bytes_max = 256 * 1024;
    b.channels[0].overflow = overflow;
    it_channel(&b, 5);
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 1, WINDOW);
    raw_join(&raw, &b);
    target = it_peer(&b, 0);
}

IT_TEST(send, a_buffer_is_released_once_when_it_was_sent)
{
    begin_buffers(WEIR_OVERFLOW_REFUSE);
    raw_grant(&raw, 1, 10 << 20);
    it_fill(wrapped, sizeof(wrapped), 3);
    static const size_t lens[] = {65536, 1, 0, 65535, 40000};
    struct weir_frame frame;
    for (uint32_t i = 0; i < 5; i++) {
        IT_OK(send_wrapped(target, 1, lens[i]));
        size_t have = 0;
        do {
            cr_assert(raw_next(&raw, &frame, 60000));
            if (frame.kind == WEIR_FRAME_RUN)
                IT_EQ(lens[i], 0); /* an empty message is a run of its own */
            else if (frame.kind <= WEIR_FRAME_MORE)
                cr_assert(memcmp(frame.payload, wrapped + have, frame.len) == 0);
            have += frame.kind <= WEIR_FRAME_MORE && lens[i] ? frame.len : 0;
        } while (have < lens[i] || frame.kind > WEIR_FRAME_MORE);
        IT_WAIT(released == i + 1);
    }
    end();
    IT_EQ(released, 5);
}

IT_TEST(send, a_buffer_is_released_once_when_it_is_refused)
{
    begin_buffers(WEIR_OVERFLOW_REFUSE);
    IT_IS(send_wrapped(target, 1, 65537), WEIR_E_TOO_BIG);
    IT_IS(send_wrapped(target, 5, 1), WEIR_E_NO_CHANNEL);
    IT_IS(send_wrapped(target, 9, 1), WEIR_E_NO_CHANNEL);
    IT_IS(send_wrapped((weir_peer){0}, 1, 1), WEIR_E_GONE);
    IT_IS(send_wrapped((weir_peer){target.v + 1}, 1, 1), WEIR_E_GONE);
    IT_IS(weir_send_buf(NULL, target, 1, wrap(1)), WEIR_E_MISUSE);
    IT_EQ(released, 6);
    IT_IS(weir_send_buf(b.node, target, 1, NULL), WEIR_E_MISUSE);
    uint32_t queued = 0;
    while (send_wrapped(target, 1, 60000) == 0)
        queued++;
    cr_assert(queued >= 4);
    IT_WAIT(it_metrics(&b)->mailbox_bytes == 0);
    cr_assert(released <= 6 + 1 + 1); /* the refused one, and what the window took */
    raw_close(&raw);                  /* the rest goes with the peer */
    IT_WAIT(released == 6 + queued + 1);
    IT_WAIT(b.downs == 1);
    IT_IS(send_wrapped(target, 1, 1), WEIR_E_GONE);
    IT_EQ(released, 6 + queued + 2);
    it_stop(&b);
    IT_EQ(released, 6 + queued + 2);
}

IT_TEST(send, a_buffer_is_released_once_when_it_is_dropped_or_closes)
{
    for (uint32_t overflow = WEIR_OVERFLOW_DROP_OLDEST; overflow <= WEIR_OVERFLOW_CLOSE;
         overflow++) {
        uint32_t sent = 0;
        atomic_store(&released, 0);
        begin_buffers(overflow);
        for (int i = 0; i < 100; i++, sent++) {
            int error = send_wrapped(target, 1, 60000);
            cr_assert(error == 0 || error == WEIR_E_FULL || error == WEIR_E_GONE);
        }
        raw_close(&raw);
        IT_WAIT(b.downs == 1);
        it_wait_empty(&b);
        it_stop(&b);
        IT_EQ(released, sent);
    }
}

IT_TEST(send, a_buffer_is_released_once_when_the_node_stops)
{
    begin_buffers(WEIR_OVERFLOW_REFUSE);
    uint32_t sent = 0;
    for (; sent < 4; sent++)
        IT_OK(send_wrapped(target, 1, 60000));
    IT_IS(weir_node_stop(b.node, 0), WEIR_E_TIMEOUT);
    IT_EQ(released, sent);
    IT_IS(send_wrapped(target, 1, 1), WEIR_E_GONE);
    it_check_empty(&b);
    it_free(&b);
    IT_EQ(released, sent + 1);
    raw_close(&raw);
}

IT_TEST(send, a_buffer_is_released_once_when_the_node_is_freed)
{
    begin_buffers(WEIR_OVERFLOW_REFUSE);
    uint32_t sent = 0;
    for (; sent < 4; sent++)
        IT_OK(send_wrapped(target, 1, 60000));
    it_free(&b); /* a running node, with a full queue and perhaps a full mailbox */
    IT_EQ(released, sent);
    raw_close(&raw);
}

/* Several references to the same bytes: to many peers, and one kept. */
IT_TEST(send, a_buffer_that_goes_to_many_is_released_once)
{
    struct raw raws[4];
    it_init(&b, "b");
    it_channel(&b, 1);
    it_start(&b, "127.0.0.1:0");
    for (int i = 0; i < 4; i++) {
        raw_init(&raws[i], 1, WINDOW);
        raw_join(&raws[i], &b);
    }
    struct weir_buf *buf = wrap(50000);
    for (uint32_t i = 0; i < 4; i++)
        IT_OK(weir_send_buf(b.node, it_peer(&b, i), 1, weir_buf_ref(buf)));
    struct weir_frame frame;
    for (int i = 0; i < 4; i++) {
        for (uint32_t got = 0; got < 50000;) {
            cr_assert(raw_next(&raws[i], &frame, 60000));
            got += frame.kind <= WEIR_FRAME_MORE ? frame.len : 0;
        }
        raw_close(&raws[i]);
    }
    IT_WAIT(b.downs == 4);
    it_stop(&b);
    IT_EQ(released, 0);
    weir_buf_unref(buf);
    IT_EQ(released, 1);
}
