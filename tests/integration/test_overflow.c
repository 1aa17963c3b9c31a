/* Send queues that are full: each policy does what it says and no more, on the peer's shard and from
 * another thread. The peer is a raw one that reads but grants no credit until it is told to. */
#include "tests/integration/raw.h"

IT_SUITE(overflow);

#define WINDOW 65536u
#define QUEUE (256u * 1024u)

static struct it_node b;
static struct raw raw;
static weir_peer peer;
static _Atomic(void (*)(
    void)) script; /* runs on the peer's shard when the raw peer sends something */
static _Atomic uint32_t scripts_run;

static void run_script(struct it_node *node, const struct weir_msg *msg)
{
    (void)node;
    (void)msg;
    atomic_load (&script)();
    atomic_fetch_add(&scripts_run, 1);
}

static void on_shard(void (*what)(void))
{
    uint32_t before = atomic_load(&scripts_run);
    atomic_store(&script, what);
    raw_message(&raw, 2, "go", 2);
    IT_WAIT(atomic_load(&scripts_run) == before + 1);
    it_check_faults(&b);
}

static void begin(uint32_t overflow)
{
    it_init(&b, "b");
    struct weir_channel *channel = it_channel(&b, 1);
    channel->send_bytes_max = QUEUE;
    channel->msg_bytes_max = QUEUE;
    channel->overflow = overflow;
    it_channel(&b, 2);
    b.on_msg = run_script;
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 2, WINDOW);
    raw.offer.frame_bytes_max = 16384;
    raw_join(&raw, &b);
    peer = it_peer(&b, 0);
}

static void end(void)
{
    raw_close(&raw);
    IT_WAIT(b.downs == 1);
    it_wait_empty(&b);
    it_stop(&b);
}

static struct weir_channel_metrics counters(void)
{
    return it_metrics(&b)->channels[0];
}

/* ---- refuse -------------------------------------------------------------------------------- */

#define SMALL 1000u

static uint32_t accepted, refused;

/* Sends numbered messages until one is refused, and the answer is the same ten times. */
static void fill(bool is_on_shard)
{
    uint8_t msg[SMALL] = {0};
    for (uint32_t same = 0; same < 10;) {
        memcpy(msg, &accepted, sizeof(accepted));
        int error = weir_try_send(b.node, peer, 1, msg, sizeof(msg));
        if (error && error != WEIR_E_FULL)
            it_fault(&b, "try_send: %s", weir_error_name(error));
        /* On another thread there may be room again: the shard has put as much as the window takes on its way. */
        if (!error && same && is_on_shard)
            it_fault(&b, "a second answer differs");
        same = error ? same + 1 : 0;
        accepted += !error;
        refused += error != 0;
    }
}

static void fill_on_shard(void)
{
    fill(true);
}

static void fill_outside(void)
{
    fill(false);
}

/* Reads messages `from` to `to`, granting what they need. */
static void read_numbers(uint32_t from, uint32_t to)
{
    struct weir_frame frame;
    raw_grant(&raw, 1, (uint64_t)to * (SMALL + 2) + WINDOW);
    for (uint32_t next = from; next < to;) {
        cr_assert(raw_await(&raw, &frame, WEIR_FRAME_RUN), "the stream ends at message %u", next);
        const uint8_t *at = frame.payload;
        for (uint32_t i = 0; i < frame.aux; i++, next++) {
            uint32_t len, number;
            const uint8_t *msg = weir_run_next(&at, &len);
            memcpy(&number, msg, sizeof(number));
            IT_EQ(len, SMALL);
            IT_EQ(number, next);
        }
    }
}

static void refuse(void (*how)(void (*what)(void)), void (*fill_up)(void))
{
    begin(WEIR_OVERFLOW_REFUSE);
    how(fill_up);
    uint32_t first = accepted;
    cr_assert(first * (SMALL + 2) <= QUEUE + WINDOW); /* what the window took, and the queue */
    cr_assert((first + 1) * (SMALL + 2) > QUEUE);
    IT_WAIT(counters().msgs_refused == refused);
    IT_WAIT(counters().msgs_sent == first);
    IT_EQ(b.writables, 0);

    read_numbers(0, first);
    IT_WAIT(b.writables == 1);
    /* Room again: nobody was refused since, so nobody is told. */
    how(fill_up);
    cr_assert(accepted > first);
    read_numbers(first, accepted);
    IT_WAIT(b.writables == 2);
    raw_ping(&raw, 1);
    struct weir_control control;
    cr_assert(raw_await_control(&raw, &control, WEIR_CONTROL_PONG));
    IT_EQ(b.writables, 2);
    end();
}

static void here(void (*what)(void))
{
    what();
    it_check_faults(&b);
}

IT_TEST(overflow, refuse_on_the_shard)
{
    refuse(on_shard, fill_on_shard);
}

IT_TEST(overflow, refuse_from_outside)
{
    refuse(here, fill_outside);
}

/* An empty queue takes any message that the channel allows. */
static void send_largest(void)
{
    static uint8_t msg[QUEUE];
    if (weir_try_send(b.node, peer, 1, msg, 64 * 1024) != 0)
        it_fault(&b, "the largest message is refused");
    if (weir_try_send(b.node, peer, 1, msg, QUEUE) != WEIR_E_TOO_BIG)
        it_fault(&b, "a message above the peer's maximum is taken");
}

IT_TEST(overflow, an_empty_queue_takes_the_largest_message)
{
    begin(WEIR_OVERFLOW_REFUSE);
    on_shard(send_largest);
    end();
}

/* ---- drop oldest --------------------------------------------------------------------------- */

#define LARGE 20000u /* above the peer's frame size: each is an item of its own */
#define LARGE_CNT 500u

static _Atomic uint32_t outside_full;

static void send_large(uint32_t number)
{
    static uint8_t msg[LARGE];
    it_fill(msg, LARGE, number);
    int error;
    /* FULL here is the mailbox's share, from outside only: the shard has to catch up. */
    while ((error = weir_try_send(b.node, peer, 1, msg, LARGE)) == WEIR_E_FULL) {
        atomic_fetch_add(&outside_full, 1);
        usleep(100);
    }
    if (error)
        it_fault(&b, "try_send: %s", weir_error_name(error));
}

static void send_all_large(void)
{
    for (uint32_t i = 0; i < LARGE_CNT; i++)
        send_large(i);
}

/* Reads to message `last`; they ascend and are whole. Returns how many came. */
static uint32_t read_large(uint32_t last)
{
    static uint8_t msg[LARGE];
    struct weir_frame frame;
    uint32_t cnt = 0, number = 0;
    size_t have = 0;
    raw_grant(&raw, 1, UINT64_C(1) << 40);
    for (;;) {
        cr_assert(raw_next(&raw, &frame, 60000), "the stream ends after %u messages", cnt);
        if (frame.kind != WEIR_FRAME_FIRST && frame.kind != WEIR_FRAME_MORE)
            continue;
        IT_EQ(frame.kind == WEIR_FRAME_FIRST, have == 0);
        IT_EQ(frame.aux, have ? have : LARGE);
        memcpy(msg + have, frame.payload, frame.len);
        have += frame.len;
        if (have < LARGE)
            continue;
        have = 0;
        cnt++;
        while (number <= last && !it_is_filled(msg, LARGE, number))
            number++;
        cr_assert(number <= last, "a message that is none, or comes too late");
        if (number++ == last)
            return cnt;
    }
}

static void drop_oldest(void (*how)(void (*what)(void)))
{
    begin(WEIR_OVERFLOW_DROP_OLDEST);
    how(send_all_large);
    /* The queue is bounded whatever was sent. */
    struct weir_peer_info info = {.size = sizeof(info)};
    IT_OK(it_info(&b, peer, &info));
    cr_assert(info.bytes_queued <= QUEUE, "%llu bytes are queued",
              (unsigned long long)info.bytes_queued);
    cr_assert(info.bytes_queued > QUEUE - 2 * LARGE - WINDOW);
    uint32_t got = read_large(LARGE_CNT - 1);
    struct weir_channel_metrics sum = counters();
    IT_EQ(sum.frames_dropped, LARGE_CNT - got);
    cr_assert(sum.frames_dropped > LARGE_CNT / 2);
    IT_EQ(sum.msgs_refused, outside_full);
    IT_EQ(sum.msgs_sent, LARGE_CNT);
    end();
}

IT_TEST(overflow, drop_oldest_on_the_shard)
{
    drop_oldest(on_shard);
}

IT_TEST(overflow, drop_oldest_from_outside)
{
    drop_oldest(here);
}

/* ---- close --------------------------------------------------------------------------------- */

static int last_error;

static void send_until_error(void)
{
    static uint8_t msg[SMALL];
    do {
        last_error = weir_try_send(b.node, peer, 1, msg, SMALL);
        if (last_error == WEIR_E_FULL) { /* the mailbox's share: from outside only */
            usleep(100);
            last_error = 0;
        }
    } while (last_error == 0);
}

static void close_policy(void (*how)(void (*what)(void)))
{
    begin(WEIR_OVERFLOW_CLOSE);
    how(send_until_error);
    IT_IS(last_error, WEIR_E_GONE);
    IT_WAIT(b.downs == 1);
    IT_EQ(b.down_by[WEIR_R_OVERFLOW], 1);
    IT_EQ(it_closes(&b, WEIR_R_OVERFLOW), 1);
    IT_EQ(raw_end(&raw), WEIR_R_OVERFLOW);
    IT_IS(weir_try_send(b.node, peer, 1, "x", 1), WEIR_E_GONE);
    end();
}

IT_TEST(overflow, close_on_the_shard)
{
    close_policy(on_shard);
}

IT_TEST(overflow, close_from_outside)
{
    close_policy(here);
}

/* The bound is on what waits: exactly a queue full from another thread is no overflow, however late the
 * shard looks into its mailbox. */
static _Atomic int is_holding, may_go_on;

static void hold_the_shard(void)
{
    atomic_store(&is_holding, 1);
    while (!atomic_load(&may_go_on))
        usleep(100);
}

IT_TEST(overflow, a_full_mailbox_is_not_an_overflow)
{
    static uint8_t msg[50000];
    begin(WEIR_OVERFLOW_CLOSE);
    atomic_store(&script, hold_the_shard);
    raw_message(&raw, 2, "go", 2);
    IT_WAIT(is_holding);
    for (int i = 0; i < 5; i++) /* 250,010 of 262,144 bytes */
        IT_OK(weir_try_send(b.node, peer, 1, msg, sizeof(msg)));
    IT_IS(weir_try_send(b.node, peer, 1, msg, sizeof(msg)), WEIR_E_FULL);
    atomic_store(&may_go_on, 1);
    IT_WAIT(counters().msgs_sent == 5);
    IT_EQ(b.downs, 0);
    raw_grant(&raw, 1, 1 << 20);
    struct weir_frame frame;
    for (uint32_t got = 0; got < 5 * sizeof(msg);) {
        cr_assert(raw_next(&raw, &frame, 60000));
        got += frame.kind == WEIR_FRAME_FIRST || frame.kind == WEIR_FRAME_MORE ? frame.len : 0;
    }
    end();
}

/* Who was refused because the mailbox was full of something else is told, too. */
static void *fill_mailbox(void *arg)
{
    static uint8_t other[30000];
    (void)arg;
    int64_t error;
    do
        error = weir_broadcast(b.node, 2, other, sizeof(other), NULL);
    while (error >= 0);
    if (error != WEIR_E_FULL)
        it_fault(&b, "broadcast: %s", weir_error_name((int)error));
    if (weir_try_send(b.node, peer, 1, other, sizeof(other)) != WEIR_E_FULL)
        it_fault(&b, "the mailbox is full, and takes more");
    return NULL;
}

IT_TEST(overflow, a_sender_that_a_full_mailbox_refused_is_told_when_it_is_empty)
{
    it_init(&b, "b");
    it_channel(&b, 1);
    it_channel(&b, 2);
    b.cfg.mailbox_bytes_max = 65536;
    b.on_msg = run_script;
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 2, WINDOW);
    raw_join(&raw, &b);
    peer = it_peer(&b, 0);
    atomic_store(&script, hold_the_shard);
    raw_message(&raw, 2, "go", 2);
    IT_WAIT(is_holding);
    pthread_t thread;
    pthread_create(&thread, NULL, fill_mailbox, NULL);
    pthread_join(thread, NULL);
    IT_EQ(b.writables, 0);
    atomic_store(&may_go_on, 1);
    IT_WAIT(b.writables == 1);
    end();
}

/* ---- budgets ------------------------------------------------------------------------------- */

static void fill_budget(void)
{
    static uint8_t msg[SMALL];
    uint32_t cnt = 0;
    int error;
    while ((error = weir_try_send(b.node, peer, 1, msg, SMALL)) == 0)
        cnt++;
    if (error != WEIR_E_NOMEM)
        it_fault(&b, "try_send: %s", weir_error_name(error));
    if (cnt < 60 || cnt > 65 + 66) /* what the window took, and the budget */
        it_fault(&b, "%u messages fit", cnt);
}

static void begin_with_budget(void)
{
    it_init(&b, "b");
    it_channel(&b, 1);
    it_channel(&b, 2);
    b.cfg.peer_bytes_max = 65536;
    b.on_msg = run_script;
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 2, WINDOW);
    raw_join(&raw, &b);
    peer = it_peer(&b, 0);
}

/* On the shard the answer says so and nothing else happens. */
IT_TEST(overflow, the_peers_budget_on_the_shard)
{
    begin_with_budget();
    on_shard(fill_budget);
    raw_grant(&raw, 1, 1 << 20);
    struct weir_frame frame;
    cr_assert(raw_await(&raw, &frame, WEIR_FRAME_RUN));
    raw_ping(&raw, 1);
    struct weir_control control;
    cr_assert(raw_await_control(&raw, &control, WEIR_CONTROL_PONG));
    IT_EQ(b.downs, 0);
    end();
}

/* From outside as well, although the shard alone knows exactly. */
IT_TEST(overflow, the_peers_budget_from_outside)
{
    begin_with_budget();
    fill_budget();
    it_check_faults(&b);
    IT_EQ(b.downs, 0);
    end();
}

static void fill_pool(void)
{
    static uint8_t msg[SMALL];
    int error;
    while ((error = weir_try_send(b.node, peer, 1, msg, SMALL)) == 0)
        ;
    if (error != WEIR_E_NOMEM)
        it_fault(&b, "try_send: %s", weir_error_name(error));
}

IT_TEST(overflow, an_exhausted_pool_is_an_answer)
{
    it_init(&b, "b");
    it_channel(&b, 1)->send_bytes_max = 16 << 20;
    it_channel(&b, 2);
    b.cfg.pool_bytes_max = 1 << 20;
    b.on_msg = run_script;
    it_start(&b, "127.0.0.1:0");
    raw_init(&raw, 2, WINDOW);
    raw_join(&raw, &b);
    peer = it_peer(&b, 0);
    on_shard(fill_pool);
    cr_assert(it_metrics(&b)->pool_bytes <= 1 << 20);
    end();
}
