/* A peer that speaks the requests' channel by hand: late, doubled, wrong, random. */
#include "engine/node/request_wire.h"
#include "tests/unit/node/request_fixture.h"

static uint32_t hand_asked[16], hand_cnt;
static weir_peer hand_peer;
static weir_node *hand;

static void hand_batch(void *ctx, const struct weir_msg *msgs, uint32_t msg_cnt)
{
    struct weir_request_msg msg;
    (void)ctx;
    for (uint32_t i = 0; i < msg_cnt; i++)
        if (weir_request_parse(&msg, msgs[i].data, msgs[i].len) == WEIR_REQUEST_IS_KNOWN &&
            msg.kind == WEIR_REQUEST_ASK && hand_cnt < 16)
            hand_asked[hand_cnt++] = msg.id;
}

static void hand_on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    (void)ctx;
    (void)reason;
    hand_peer = event == WEIR_PEER_UP ? peer : (weir_peer){0};
}

static void begin_by_hand(void)
{
    struct weir_config cfg = {.size = sizeof(cfg), .peers_max = 4, .recv_buf_cnt = 2};
    struct weir_channel channel = {.size = sizeof(channel), .id = WEIR_REQUEST_CHANNEL};
    struct weir_reactor reactor = {
        .size = sizeof(reactor), .on_batch = hand_batch, .on_peer = hand_on_peer};
    make_world(2);
    make(1, NULL);
    cr_assert_eq(weir_world_node_create(world, 3, &cfg, &hand), 0);
    cr_assert_eq(weir_node_attach(hand, &reactor, &channel, 1), 0);
    cr_assert_eq(weir_node_start(hand), 0);
    cr_assert_eq(weir_dial(hand, "10.0.0.2:7000", 0), 0);
    run(WEIR_NS_PER_S);
    cr_assert(hand_peer.v && sides[1].peer.v);
}

static void say(struct weir_request_msg msg, const char *data)
{
    uint8_t bytes[512];
    uint32_t len = weir_request_write(bytes, &msg);
    memcpy(bytes + len, data, strlen(data));
    cr_assert_eq(weir_try_send(hand, hand_peer, WEIR_REQUEST_CHANNEL, bytes, len + strlen(data)),
                 0);
    run(10 * MS);
}

static void ask_hand(uint64_t tag, uint32_t window)
{
    struct weir_ask it = {.size = sizeof(it),
                          .peer = sides[1].peer,
                          .tag = tag,
                          .window_bytes = window,
                          .on_answer = on_answer,
                          .timeout_ns = 100 * MS};
    cr_assert_eq(weir_ask(sides[1].requests, &it, NULL), 0);
    run(10 * MS);
}

Test(request_hostile, replies_to_what_has_ended_are_told_apart)
{
    begin_by_hand();
    ask_hand(1, 0);
    ask_hand(2, 0);
    cr_assert_eq(hand_cnt, 2);
    uint8_t first = byte_at(0);
    char text[2] = {(char)first, 0};
    say((struct weir_request_msg){.kind = WEIR_REQUEST_PART, .is_last = true, .id = hand_asked[0]},
        text);
    expect_bytes(1, first ? 1 : 0);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_PART, .is_last = true, .id = hand_asked[0]},
        "");
    cr_assert_eq(stats_of(1).duplicates, 1);
    run(200 * MS); /* the second is not answered in time */
    expect_end(2, WEIR_ANSWER_TIMEOUT);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_ERROR, .code = 20, .id = hand_asked[1]},
        "too late");
    cr_assert_eq(stats_of(1).late, 1);
    cr_assert_eq(stats_of(1).duplicates, 1);
    expect_end(2, WEIR_ANSWER_TIMEOUT);
    cr_assert_eq(stats_of(1).faults, 0);
    cr_assert(hand_peer.v != 0);
    finish();
}

static void expect_fault(void)
{
    run(2 * WEIR_NS_PER_S);
    cr_assert_eq(stats_of(1).faults, 1);
    cr_assert_eq(sides[1].downs[WEIR_R_BAD_REQUEST], 1);
    cr_assert_eq(hand_peer.v, 0);
    finish();
}

Test(request_hostile, a_reply_to_what_was_never_asked_ends_the_connection)
{
    begin_by_hand();
    ask_hand(1, 0);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_PART,
                                  .is_last = true,
                                  .id = hand_asked[0] + 1024},
        "");
    expect_fault();
    cr_assert_eq(seen[1].kind, WEIR_ANSWER_GONE);
}

Test(request_hostile, a_part_beyond_the_window_ends_the_connection)
{
    begin_by_hand();
    ask_hand(1, 4);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_PART, .id = hand_asked[0]}, "12345");
    expect_fault();
}

Test(request_hostile, a_part_at_another_offset_ends_the_connection)
{
    begin_by_hand();
    ask_hand(1, 0);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_PART, .offset = 1, .id = hand_asked[0]},
        "1");
    expect_fault();
}

Test(request_hostile, a_question_with_an_id_in_use_ends_the_connection)
{
    begin_by_hand();
    say((struct weir_request_msg){.kind = WEIR_REQUEST_ASK, .id = 7, .method = SILENT}, "");
    cr_assert_eq(sides[1].questions, 1);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_ASK, .id = 7, .method = SILENT}, "");
    cr_assert_eq(sides[1].questions, 1);
    expect_fault();
}

Test(request_hostile, a_grant_that_takes_back_ends_the_connection)
{
    begin_by_hand();
    say(
        (struct weir_request_msg){
            .kind = WEIR_REQUEST_ASK, .id = 7, .method = SILENT, .window = 10},
        "");
    say((struct weir_request_msg){.kind = WEIR_REQUEST_GRANT, .id = 7, .offset = 10}, "");
    say((struct weir_request_msg){.kind = WEIR_REQUEST_GRANT, .id = 9, .offset = 1},
        ""); /* of none */
    say((struct weir_request_msg){.kind = WEIR_REQUEST_CANCEL, .id = 9}, "");
    cr_assert_eq(stats_of(1).faults, 0);
    say((struct weir_request_msg){.kind = WEIR_REQUEST_GRANT, .id = 7, .offset = 9}, "");
    expect_fault();
}

Test(request_hostile, random_bytes_do_nothing_worse_than_end_a_connection)
{
    begin_by_hand();
    uint64_t seed = 5;
    for (uint32_t i = 0; i < 3000; i++) {
        uint8_t bytes[40];
        for (size_t k = 0; k < sizeof(bytes); k++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            bytes[k] = (uint8_t)(seed >> 56) & (seed >> 40 & 1 ? 0xFF : 0x07);
        }
        bytes[0] = (uint8_t)(1 + bytes[0] % 5);
        if (!hand_peer.v) {
            (void)!weir_dial(hand, "10.0.0.2:7000", 0);
            run(100 * MS);
        }
        if (hand_peer.v)
            (void)!weir_try_send(hand, hand_peer, WEIR_REQUEST_CHANNEL, bytes, 8 + bytes[1] % 33);
        if (i % 50 == 0 && sides[1].peer.v)
            ask_hand(i, 0);
        run(MS);
    }
    struct weir_request_stats stats = stats_of(1);
    cr_assert_geq(stats.faults, 1);
    run(WEIR_NS_PER_S);
    cr_assert_eq(stats_of(1).asking, 0);
    finish();
}
