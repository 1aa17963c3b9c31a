#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/mem/heap.h"
#include "tests/unit/node/node_fixture.h"

struct side {
    weir_node *node;
    weir_peer peer;
    uint32_t up_cnt, down_cnt, failed_cnt, msg_cnt, writable_cnt, batch_cnt;
    int reason;
    uint64_t bytes;
    uint8_t last;     /* the first byte of the last message */
    bool is_in_order; /* nothing before UP, nothing after DOWN */
};

static void side_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct side *side = ctx;
    side->batch_cnt++;
    side->is_in_order &= side->up_cnt == side->down_cnt + 1;
    for (uint32_t i = 0; i < msg_cnt; i++) {
        side->msg_cnt++;
        side->bytes += msgs[i].len;
        side->last = msgs[i].len ? msgs[i].data[0] : 0;
        side->is_in_order &= msgs[i].peer.v == side->peer.v;
    }
}

static void side_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct side *side = ctx;
    if (event == WEIR_PEER_UP) {
        side->up_cnt++;
        side->peer = peer;
    } else if (event == WEIR_PEER_DOWN) {
        side->is_in_order &= peer.v == side->peer.v;
        side->down_cnt++;
        side->reason = reason;
    } else {
        side->failed_cnt++;
        side->reason = reason;
    }
}

static void side_writable(void *ctx, weir_peer peer, uint16_t channel)
{
    struct side *side = ctx;
    side->is_in_order &= peer.v == side->peer.v && channel == 1;
    side->writable_cnt++;
}

static struct side *side_new(const struct weir_config *cfg, const struct weir_channel *channel)
{
    struct side *side = calloc(1, sizeof(*side));
    side->node = make(cfg);
    side->is_in_order = true;
    struct weir_reactor reactor = {.size = sizeof(reactor),
                                   .ctx = side,
                                   .on_batch = side_batch,
                                   .on_peer = side_peer,
                                   .on_writable = side_writable};
    IS(weir_node_attach(side->node, &reactor, channel, 1), 0);
    return side;
}

static void turn(struct side *side)
{
    int64_t res = weir_node_turn(side->node, 0, WEIR_NS_PER_MS / 2);
    cr_assert(res >= 0 || res == WEIR_E_STATE, "%s", weir_error_name((int)res));
}

#define TURN_UNTIL(one, two, condition)                                                \
    do {                                                                               \
        weir_ns turn_until = weir_now() + 20 * WEIR_NS_PER_S;                          \
        while (!(condition)) {                                                         \
            turn(one);                                                                 \
            turn(two);                                                                 \
            cr_assert_lt(weir_now(), turn_until, "waited in vain for %s", #condition); \
        }                                                                              \
    } while (0)

static void meet(struct side **ret_one, struct side **ret_two, const struct weir_channel *channel)
{
    need_ring();
    struct weir_config cfg = turning();
    struct side *one = *ret_one = side_new(&cfg, channel);
    struct side *two = *ret_two = side_new(&cfg, channel);
    char address[128];
    IS(weir_node_listen(two->node, "127.0.0.1:0"), 0);
    IS(weir_node_address(two->node, 0, address, sizeof(address)), 0);
    IS(weir_node_start(one->node), 0);
    IS(weir_node_start(two->node), 0);
    IS(weir_dial(one->node, address, 0), 0);
    TURN_UNTIL(one, two, one->up_cnt && two->up_cnt);
}

static void part(struct side *one, struct side *two)
{
    cr_assert(one->is_in_order && two->is_in_order);
    weir_node_free(one->node);
    weir_node_free(two->node);
    free(one);
    free(two);
}

Test(node_pair, two_nodes_talk_and_part)
{
    struct side *one, *two;
    struct weir_channel channel = channel_of(1);
    meet(&one, &two, &channel);
    static uint8_t bytes[1 << 20];
    IS(weir_try_send(one->node, one->peer, 1, NULL, 0), 0);
    IS(weir_try_send(one->node, one->peer, 1, "a", 1), 0);
    IS(weir_try_send(one->node, one->peer, 1, bytes, sizeof(bytes)), 0);
    IS(weir_try_send(one->node, one->peer, 1, bytes, sizeof(bytes) + 1), WEIR_E_TOO_BIG);
    IS(weir_try_send(one->node, one->peer, 2, "a", 1), WEIR_E_NO_CHANNEL);
    TURN_UNTIL(one, two, two->msg_cnt == 3);
    cr_assert_eq(two->bytes, sizeof(bytes) + 1);
    struct weir_peer_info info = {.size = sizeof(info)};
    IS(weir_peer_info(one->node, one->peer, &info), 0);
    cr_assert_eq(info.is_dialer, 1);
    cr_assert_eq(info.is_ready, 1);
    cr_assert_eq(info.channel_cnt, 1);
    cr_assert_str_eq(info.user_agent, "weir/0.1.0");
    info.size = 12;
    info.channel_cnt = 99;
    IS(weir_peer_info(one->node, one->peer, &info), 0);
    cr_assert_eq(info.channel_cnt, 99);
    info.size = sizeof(info) + 1;
    IS(weir_peer_info(one->node, one->peer, &info), WEIR_E_VERSION);
    IS(weir_try_send(two->node, two->peer, 1, "z", 1), 0);
    IS(weir_disconnect(two->node, two->peer, WEIR_R_APPLICATION), 0);
    IS(weir_try_send(two->node, two->peer, 1, "z", 1), WEIR_E_GONE);
    TURN_UNTIL(one, two, one->down_cnt && two->down_cnt);
    cr_assert_eq(one->msg_cnt, 1, "what was queued before the goodbye arrived");
    cr_assert_eq(one->reason, WEIR_R_APPLICATION);
    cr_assert_eq(two->reason, WEIR_R_APPLICATION);
    expect_gone(one->node, one->peer);
    part(one, two);
}

Test(node_pair, stopping_says_goodbye_and_drains)
{
    struct side *one, *two;
    struct weir_channel channel = channel_of(1);
    meet(&one, &two, &channel);
    static uint8_t bytes[1 << 20];
    IS(weir_try_send(one->node, one->peer, 1, bytes, sizeof(bytes)), 0);
    IS(weir_try_send(one->node, one->peer, 1, bytes, sizeof(bytes)), 0);
    IS(weir_node_stop(one->node, 10 * WEIR_NS_PER_S), 0);
    TURN_UNTIL(one, two, two->down_cnt && weir_node_turn(one->node, 0, 0) == WEIR_E_STATE);
    cr_assert_eq(two->msg_cnt, 2);
    cr_assert_eq(two->reason, WEIR_R_SHUTDOWN);
    cr_assert_eq(one->down_cnt, 1, "our own reactors hear of it as well");
    part(one, two);
}

Test(node_pair, a_refused_dial_is_told)
{
    need_ring();
    struct weir_config cfg = turning();
    struct weir_channel channel = channel_of(1);
    struct side *one = side_new(&cfg, &channel);
    /* A port that was just given up. */
    weir_node *other = make(&cfg);
    char address[128];
    IS(weir_node_listen(other, "127.0.0.1:0"), 0);
    IS(weir_node_address(other, 0, address, sizeof(address)), 0);
    weir_node_free(other);
    IS(weir_node_start(one->node), 0);
    IS(weir_dial(one->node, address, 0), 0);
    TURN_UNTIL(one, one, one->failed_cnt);
    cr_assert_eq(one->reason, WEIR_R_REFUSED);
    IS(weir_dial_cancel(one->node, address), WEIR_E_GONE);
    weir_node_free(one->node);
    free(one);
}

Test(node_pair, a_node_that_dials_itself_finds_out)
{
    need_ring();
    struct weir_config cfg = turning();
    struct weir_channel channel = channel_of(1);
    struct side *one = side_new(&cfg, &channel);
    char address[128];
    IS(weir_node_listen(one->node, "127.0.0.1:0"), 0);
    IS(weir_node_address(one->node, 0, address, sizeof(address)), 0);
    IS(weir_node_start(one->node), 0);
    IS(weir_dial(one->node, address, WEIR_DIAL_PERSIST), 0);
    TURN_UNTIL(one, one, one->failed_cnt == 2);
    cr_assert_eq(one->reason, WEIR_R_SELF);
    IS(weir_dial_cancel(one->node, address), WEIR_E_GONE);
    weir_node_free(one->node);
    free(one);
}

/* ---- from another thread -------------------------------------------------------------------------- */

struct errand {
    struct side *side;
    const uint8_t *bytes;
    size_t len;
    uint32_t cnt;
    int errors[64];
};

static void *run_errand(void *ctx)
{
    struct errand *errand = ctx;
    for (uint32_t i = 0; i < errand->cnt; i++)
        errand->errors[i] =
            weir_try_send(errand->side->node, errand->side->peer, 1, errand->bytes, errand->len);
    return NULL;
}

static void send_elsewhere(struct errand *errand)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, run_errand, errand), 0);
    pthread_join(thread, NULL);
}

/* What another thread was told is queued is sent, under every policy; a message's own reservation is no
 * reason to refuse it. */
Test(node_pair, what_another_thread_queued_is_sent)
{
    for (uint32_t overflow = 0; overflow < 3; overflow++) {
        struct side *one, *two;
        struct weir_channel channel = channel_of(1);
        channel.overflow = overflow;
        channel.msg_bytes_max = channel.send_bytes_max = 100000;
        meet(&one, &two, &channel);
        static uint8_t bytes[100000];
        for (uint8_t round = 1; round <= 5; round++) {
            bytes[0] = round;
            struct errand errand = {.side = one, .bytes = bytes, .len = sizeof(bytes), .cnt = 1};
            send_elsewhere(&errand);
            IS(errand.errors[0], 0);
            uint32_t before = two->msg_cnt;
            for (int i = 0; i < 2000 && two->msg_cnt == before && !two->down_cnt; i++) {
                turn(one);
                turn(two);
            }
            cr_assert_eq(two->msg_cnt, before + 1, "policy %u: it never came, down %u for %d",
                         overflow, two->down_cnt, two->reason);
            cr_assert_eq(two->last, round);
        }
        part(one, two);
    }
}

Test(node_pair, another_thread_is_refused_at_the_bound_and_told_once)
{
    struct side *one, *two;
    struct weir_channel channel = channel_of(1);
    channel.msg_bytes_max = 10000;
    channel.send_bytes_max = 100000;
    meet(&one, &two, &channel);
    static uint8_t bytes[10000];
    struct errand errand = {.side = one, .bytes = bytes, .len = 9998, .cnt = 12};
    send_elsewhere(&errand);
    for (uint32_t i = 0; i < 12; i++)
        IS(errand.errors[i], i < 10 ? 0 : WEIR_E_FULL);
    TURN_UNTIL(one, two, two->msg_cnt == 10);
    for (int i = 0; i < 20; i++) {
        turn(one);
        turn(two);
    }
    cr_assert_eq(one->writable_cnt, 1);
    struct weir_metrics metrics = {.size = sizeof(metrics)};
    IS(weir_metrics_read(one->node, &metrics), 0);
    cr_assert_eq(metrics.channels[0].msgs_refused, 2);
    cr_assert_eq(metrics.channels[0].msgs_sent, 10);
    part(one, two);
}

Test(node_pair, without_memory_nothing_starts_and_nothing_is_left)
{
    need_ring();
    struct weir_config cfg = turning();
    struct weir_channel channel = channel_of(1);
    uint32_t failed_cnt = 0;
    for (uint64_t n = 1; n < 60; n++) {
        weir_node *node = make(&cfg);
        IS(weir_node_attach(node, &deaf, &channel, 1), 0);
        weir_heap_fail_nth(n);
        int error = weir_node_listen(node, "127.0.0.1:0");
        if (!error)
            error = weir_node_start(node);
        if (!error)
            error = weir_dial(node, "127.0.0.1:9", WEIR_DIAL_PERSIST);
        if (!error) {
            int64_t res = weir_node_turn(node, 0, 0);
            error = res < 0 ? (int)res : 0;
        }
        if (!error) {
            int64_t res = weir_node_turn(node, 0, 0);
            error = res < 0 ? (int)res : 0;
        }
        weir_heap_fail_nth(0);
        cr_assert(error == 0 || error == WEIR_E_NOMEM, "%s", weir_error_name(error));
        failed_cnt += error != 0;
        weir_node_free(node);
    }
    cr_assert_geq(failed_cnt, 10, "%u", failed_cnt);
}
