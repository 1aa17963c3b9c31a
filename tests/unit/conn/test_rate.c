/* Rates in virtual time: what is sent keeps to them, everything arrives, and nothing else waits. */
#include "engine/base/check.h"
#include "tests/unit/conn/pair.h"

static const struct weir_io_config plain_io = {
    .sq_cnt = 64, .cq_cnt = 256, .recv_buf_bytes = 65536, .recv_buf_cnt = 8};

static void expect_no_fault(struct pair *pair)
{
    cr_assert_str_empty(pair->fault, "seed %llu: %s", (unsigned long long)pair->seed, pair->fault);
}

static struct pair *make(uint32_t channel_cnt)
{
    struct pair *pair = pair_new(1, &(struct weir_sim_config){.seed = 1}, channel_cnt);
    for (uint32_t side = 0; side < 2; side++) {
        pair->boxes[side]->cfg.frame_bytes_max = 4096;
        pair->boxes[side]->cfg.rate_burst_ns = 10 * WEIR_NS_PER_MS;
        for (uint32_t c = 0; c < channel_cnt; c++)
            pair->boxes[side]->channels[c].send_bytes_max = 16 << 20;
    }
    return pair;
}

static void open_and_connect(struct pair *pair)
{
    pair_open(pair, &plain_io);
    pair_connect(pair, 0);
    expect_no_fault(pair);
}

static void send_many(struct pair *pair, uint32_t side, uint32_t channel_idx, uint32_t cnt,
                      size_t len)
{
    for (uint32_t i = 0; i < cnt; i++)
        cr_assert_eq(pair_send(pair, &pair->links[0], side, channel_idx, len, PAIR_COPY), 0);
}

/* Until `cnt` messages of a channel arrived at the other side; returns the virtual time it took. */
static uint64_t time_of(struct pair *pair, uint32_t side, uint32_t channel_idx, uint64_t cnt)
{
    uint64_t start = weir_sim_now(pair->sim);
    const struct flow *flow = &pair->links[0].flows[side][channel_idx];
    while (flow->delivered_cnt < cnt && !pair->fault[0]) {
        cr_assert_lt(weir_sim_now(pair->sim), start + 600 * WEIR_NS_PER_S, "%llu of %llu arrived",
                     (unsigned long long)flow->delivered_cnt, (unsigned long long)cnt);
        pair_step(pair);
    }
    expect_no_fault(pair);
    return weir_sim_now(pair->sim) - start;
}

static void expect_about(uint64_t took_ns, uint64_t want_ns)
{
    cr_assert(took_ns >= want_ns * 96 / 100 - 15 * WEIR_NS_PER_MS &&
                  took_ns <= want_ns * 104 / 100 + 40 * WEIR_NS_PER_MS,
              "took %llu ms, not %llu", (unsigned long long)took_ns / WEIR_NS_PER_MS,
              (unsigned long long)want_ns / WEIR_NS_PER_MS);
}

Test(rate, without_a_rate_there_is_nothing_to_wait_for)
{
    struct pair *pair = make(1);
    open_and_connect(pair);
    cr_assert_null(pair->boxes[0]->hub.rates);
    send_many(pair, 0, 0, 1000, 1000);
    cr_assert_lt(time_of(pair, 0, 0, 1000), 200 * WEIR_NS_PER_MS);
    pair_free(pair);
}

Test(rate, a_peer_is_sent_so_many_bytes_a_second)
{
    struct pair *pair = make(2);
    pair->boxes[0]->cfg.rate_send_bytes = 500000;
    open_and_connect(pair);
    send_many(pair, 0, 0, 500, 998); /* with their prefixes 1,000 bytes each, on two channels */
    send_many(pair, 0, 1, 500, 998);
    uint64_t took = time_of(pair, 0, 0, 500) + time_of(pair, 0, 1, 500);
    expect_about(took, 2 * WEIR_NS_PER_S);
    cr_assert_gt(pair->boxes[0]->hub.metrics.rate_waits, 10);
    send_many(pair, 1, 0, 500, 998); /* the other direction has no rate */
    cr_assert_lt(time_of(pair, 1, 0, 500), 200 * WEIR_NS_PER_MS);
    run_dry(pair);
    expect_dry(pair);
    expect_no_fault(pair);
    pair_free(pair);
}

Test(rate, a_peer_is_sent_so_many_messages_a_second)
{
    struct pair *pair = make(1);
    pair->boxes[0]->cfg.rate_send_msgs = 1000;
    open_and_connect(pair);
    send_many(pair, 0, 0, 30, 100000); /* each counts once, however many frames it takes */
    expect_about(time_of(pair, 0, 0, 30), 30 * WEIR_NS_PER_MS);
    for (uint32_t i = 0; i < 2000; i++) /* a run counts what is in it: the last 341 go into debt */
        send_many(pair, 0, 0, 1, 10);
    expect_about(time_of(pair, 0, 0, 2030), (2000 - 341) * WEIR_NS_PER_MS);
    pair_free(pair);
}

Test(rate, a_channel_with_a_rate_waits_alone)
{
    struct pair *pair = make(2);
    pair->boxes[0]->channels[1].rate_send_bytes = 100000;
    open_and_connect(pair);
    send_many(pair, 0, 1, 100, 998);
    send_many(pair, 0, 0, 1000, 998);
    cr_assert_lt(time_of(pair, 0, 0, 1000), 100 * WEIR_NS_PER_MS);
    cr_assert_lt(pair->links[0].flows[0][1].delivered_cnt, 50);
    expect_about(time_of(pair, 0, 1, 100), WEIR_NS_PER_S);
    run_dry(pair);
    expect_dry(pair);
    expect_no_fault(pair);
    pair_free(pair);
}

/* What is received above the rate finds no credit: the sender stops, with everything in its queue, and its pings are
 * answered all the while. */
Test(rate, a_peer_that_sends_too_much_gets_no_credit)
{
    struct pair *pair = make(2);
    pair->boxes[1]->cfg.rate_recv_bytes = 200000;
    pair->boxes[1]->channels[0].recv_bytes_max = 65536;
    pair->boxes[1]->channels[0].msg_bytes_max = 16384;
    pair->boxes[0]->cfg.ping_interval_ns = 100 * WEIR_NS_PER_MS;
    pair->boxes[0]->cfg.ping_timeout_ns = WEIR_NS_PER_S;
    open_and_connect(pair);
    send_many(pair, 0, 0, 1000, 998);
    uint64_t took = time_of(pair, 0, 0, 1000);
    /* A million bytes, of which the first window was granted with the handshake, and a quarter of one may be in debt. */
    uint64_t want = UINT64_C(5) * (1000000 - 65536 - 16384) * 1000;
    cr_assert(took >= want * 95 / 100 && took <= want * 112 / 100, "%llu ms",
              (unsigned long long)took / WEIR_NS_PER_MS);
    cr_assert_gt(pair->boxes[1]->hub.metrics.rate_credit_waits, 10);
    cr_assert_gt(pair->boxes[0]->hub.metrics.pings_tx, 20);
    pair->boxes[0]->cfg.ping_interval_ns = WEIR_NS_PER_S * 30;
    run_dry(pair);
    expect_dry(pair);
    expect_no_fault(pair);
    pair_free(pair);
}

Test(rate, messages_received_have_a_rate_too)
{
    struct pair *pair = make(2);
    pair->boxes[1]->channels[0].rate_recv_msgs = 1000;
    pair->boxes[1]->channels[0].recv_bytes_max = 16384;
    pair->boxes[1]->channels[0].msg_bytes_max = 16384;
    open_and_connect(pair);
    send_many(pair, 0, 0, 10000, 10); /* a window holds some 1,365 of them */
    send_many(pair, 0, 1, 100, 998);
    cr_assert_lt(time_of(pair, 0, 1, 100), 100 * WEIR_NS_PER_MS);
    uint64_t took = time_of(pair, 0, 0, 10000);
    cr_assert(took >= 8 * WEIR_NS_PER_S && took <= 11 * WEIR_NS_PER_S, "%llu ms",
              (unsigned long long)took / WEIR_NS_PER_MS);
    pair_free(pair);
}

/* ---- the node's upload ---------------------------------------------------------------------------- */

/* Runs until `cnt` messages of channel 0 arrived on the first `link_cnt` links together. Of how many there were on each
 * half way, the least and the most. */
static uint64_t share_time(struct pair *pair, uint32_t link_cnt, bool is_both_ways, uint64_t cnt,
                           uint64_t ret_half[2])
{
    uint64_t start = weir_sim_now(pair->sim), sum = 0;
    while (sum < cnt && !pair->fault[0]) {
        cr_assert_lt(weir_sim_now(pair->sim), start + 600 * WEIR_NS_PER_S);
        pair_step(pair);
        uint64_t least = UINT64_MAX, most = 0;
        sum = 0;
        for (uint32_t i = 0; i < link_cnt; i++) {
            for (uint32_t side = 0; side <= is_both_ways; side++) {
                uint64_t one = pair->links[i].flows[side][0].delivered_cnt;
                sum += one;
                least = weir_min_u64(least, one);
                most = weir_max_u64(most, one);
            }
        }
        if (sum <= cnt / 2) {
            ret_half[0] = least;
            ret_half[1] = most;
        }
    }
    return weir_sim_now(pair->sim) - start;
}

/* The connections of a shard take turns: frame by frame. */
Test(rate, all_connections_share_the_nodes_upload)
{
    struct weir_upload upload = {.per_s = 300000, .burst_ns = 10 * WEIR_NS_PER_MS};
    struct pair *pair = make(1);
    pair->boxes[0]->hub.upload = &upload;
    pair_open(pair, &plain_io);
    for (uint32_t i = 0; i < 3; i++)
        pair_connect(pair, i);
    expect_no_fault(pair);
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t n = 0; n < 200; n++)
            cr_assert_eq(pair_send(pair, &pair->links[i], 0, 0, 998, PAIR_COPY), 0);
    uint64_t half[2] = {0};
    expect_about(share_time(pair, 3, false, 600, half), 2 * WEIR_NS_PER_S);
    cr_assert_leq(half[1], half[0] + 12, "one has %llu when another has %llu",
                  (unsigned long long)half[0], (unsigned long long)half[1]);
    run_dry(pair);
    expect_dry(pair);
    expect_no_fault(pair);
    pair_free(pair);
}

/* Two shards that send all the time get about as much each, whoever looks first. */
Test(rate, shards_share_the_nodes_upload)
{
    struct weir_upload upload = {.per_s = 300000, .burst_ns = 10 * WEIR_NS_PER_MS};
    struct pair *pair = make(1);
    for (uint32_t side = 0; side < 2; side++) {
        pair->boxes[side]->hub.upload = &upload;
        pair->boxes[side]->hub.shard = side;
    }
    open_and_connect(pair);
    send_many(pair, 0, 0, 300, 998);
    send_many(pair, 1, 0, 300, 998);
    uint64_t half[2] = {0};
    expect_about(share_time(pair, 1, true, 600, half), 2 * WEIR_NS_PER_S);
    cr_assert_gt(half[0], 100, "one has %llu, the other %llu", (unsigned long long)half[0],
                 (unsigned long long)half[1]);
    run_dry(pair);
    expect_dry(pair);
    expect_no_fault(pair);
    cr_assert_eq(upload.waiting, 0);
    pair_free(pair);
}

/* ---- any window ----------------------------------------------------------------------------------- */

/* What a bucket with so much room would hold: over any window at most rate x window and the room have passed as long as
 * its level stays below. */
struct meter {
    double per_ns, room, level;
    uint64_t last_ns, last_sum;
};

static void meter_feed(struct pair *pair, struct meter *meter, const char *what, uint64_t now_ns,
                       uint64_t sum)
{
    if (meter->per_ns <= 0)
        return;
    meter->level -= (double)(now_ns - meter->last_ns) * meter->per_ns;
    if (meter->level < 0)
        meter->level = 0;
    meter->level += (double)(sum - meter->last_sum);
    meter->last_ns = now_ns;
    meter->last_sum = sum;
    if (meter->level > meter->room)
        pair_fault(pair, "%s: %g over the rate, with room for %g", what, meter->level, meter->room);
}

#define METER_CHANNELS 3u

static struct meters {
    struct meter node, peers[PAIR_LINKS], channels[PAIR_LINKS][METER_CHANNELS],
        granted[PAIR_LINKS][METER_CHANNELS];
} meters[2];

static void meter_turn(struct box *box)
{
    struct pair *pair = box->ctx;
    uint32_t side = pair_side(pair, box);
    struct meters *m = &meters[side];
    uint64_t now_ns = box->hub.now_ns, all = 0;
    for (uint32_t i = 0; i < PAIR_LINKS; i++) {
        const struct weir_conn *conn = pair->links[i].is_up ? pair->links[i].conns[side] : NULL;
        uint64_t sum = 0;
        for (uint32_t c = 0; conn && c < METER_CHANNELS; c++) {
            uint64_t used = conn->channels[c].tx_used;
            meter_feed(pair, &m->channels[i][c], "channel", now_ns, used);
            meter_feed(pair, &m->granted[i][c], "credit", now_ns, conn->channels[c].rx_limit);
            sum += used;
        }
        meter_feed(pair, &m->peers[i], "peer", now_ns, sum);
        all += sum;
    }
    meter_feed(pair, &m->node, "node", now_ns, all);
}

/* Each rate is there or not; what is sent fits in a few seconds of virtual time. */
static uint64_t random_rate(struct pair *pair)
{
    return pair_below(pair, 2) ? 20000 + pair_below(pair, 500000) : 0;
}

static void run_random(uint64_t seed, double strictness, char ret_fault[256])
{
    struct pair *pair = make(METER_CHANNELS);
    pair->seed = pair->random = seed;
    memset(meters, 0, sizeof(meters));
    struct weir_upload uploads[2];
    for (uint32_t side = 0; side < 2; side++) {
        struct box *box = pair->boxes[side];
        box->cfg.frame_bytes_max = 4096;
        box->cfg.rate_burst_ns = (1 + pair_below(pair, 50)) * WEIR_NS_PER_MS;
        box->cfg.rate_send_bytes = random_rate(pair);
        uploads[side] =
            (struct weir_upload){.per_s = random_rate(pair), .burst_ns = box->cfg.rate_burst_ns};
        if (uploads[side].per_s)
            box->hub.upload = &uploads[side];
        for (uint32_t c = 0; c < METER_CHANNELS; c++) {
            box->channels[c].rate_send_bytes = random_rate(pair);
            box->channels[c].rate_recv_bytes = random_rate(pair);
            box->channels[c].msg_bytes_max = 16384;
            box->channels[c].recv_bytes_max = 32768;
        }
        box->on_turn = meter_turn;
    }
    pair_open(pair, &plain_io);
    for (uint32_t i = 0; i < PAIR_LINKS; i++)
        pair_connect(pair, i);
    expect_no_fault(pair);
    for (uint32_t side = 0; side < 2; side++) {
        const struct box *box = pair->boxes[side];
        struct meters *m = &meters[side];
        double burst_ns = (double)box->cfg.rate_burst_ns;
        uint64_t now_ns = weir_sim_now(pair->sim);
        /* The room: the burst, and one frame (or one grant) that goes into debt. */
        m->node.per_ns = (double)uploads[side].per_s / 1e9 * strictness;
        m->node.room = m->node.per_ns * burst_ns + 4096 + 1;
        for (uint32_t i = 0; i < PAIR_LINKS; i++) {
            m->peers[i].per_ns = (double)box->cfg.rate_send_bytes / 1e9 * strictness;
            m->peers[i].room = m->peers[i].per_ns * burst_ns + 4096 + 1;
            for (uint32_t c = 0; c < METER_CHANNELS; c++) {
                struct meter *meter = &m->channels[i][c];
                meter->per_ns = (double)box->channels[c].rate_send_bytes / 1e9 * strictness;
                meter->room = meter->per_ns * burst_ns + 4096 + 1;
                meter = &m->granted[i][c];
                meter->per_ns = (double)box->channels[c].rate_recv_bytes / 1e9 * strictness;
                meter->room = meter->per_ns * burst_ns + 32768 + 1;
                meter->last_sum = pair->links[i].conns[side]->channels[c].rx_limit;
                meter->last_ns = now_ns;
            }
        }
    }
    for (uint32_t n = 0; n < 600 && !pair->fault[0]; n++) {
        uint32_t link = (uint32_t)pair_below(pair, PAIR_LINKS);
        size_t len = pair_below(pair, 4) ? pair_below(pair, 1000) : pair_below(pair, 16384);
        cr_assert_eq(pair_send(pair, &pair->links[link], (uint32_t)pair_below(pair, 2),
                               (uint32_t)pair_below(pair, METER_CHANNELS), len,
                               (enum pair_way)pair_below(pair, 3)),
                     0);
        for (uint64_t steps = pair_below(pair, 8); steps; steps--)
            pair_step(pair);
    }
    run_dry(pair); /* nobody waits for ever */
    expect_dry(pair);
    memcpy(ret_fault, pair->fault, sizeof(pair->fault));
    pair_free(pair);
}

Test(rate, over_no_window_more_passes_than_rate_and_burst)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        char fault[256];
        run_random(seed, 1, fault);
        cr_assert_str_empty(fault, "seed %llu: %s", (unsigned long long)seed, fault);
    }
}

/* The measure itself: held to nine tenths of the rates, they are exceeded. */
Test(rate, the_measure_notices_a_rate_that_is_exceeded)
{
    uint32_t noticed_cnt = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        char fault[256];
        run_random(seed, 0.9, fault);
        noticed_cnt += fault[0] != '\0';
    }
    cr_assert_geq(noticed_cnt, 8, "%u of 10", noticed_cnt);
}

/* ---- the end of a connection ---------------------------------------------------------------------- */

/* A connection that waits may end at any time, and its slot's next one starts with full buckets. */
static void end_while_waiting(bool is_upload)
{
    struct weir_upload upload = {.per_s = 1000, .burst_ns = WEIR_NS_PER_MS};
    struct pair *pair = make(1);
    if (is_upload)
        pair->boxes[0]->hub.upload = &upload;
    else
        pair->boxes[0]->cfg.rate_send_bytes = 1000;
    open_and_connect(pair);
    struct weir_conn *conn = pair->links[0].conns[0];
    send_many(pair, 0, 0, 100, 998);
    for (uint32_t i = 0; i < 50; i++)
        pair_step(pair);
    cr_assert_gt(conn->bytes_queued, 0);
    pair->links[0].is_ending = true;
    weir_conn_abort(conn, WEIR_R_APPLICATION);
    for (uint32_t i = 0; i < 1000 && conn->state != WEIR_CONN_FREE; i++)
        pair_step(pair);
    cr_assert_eq(conn->state, WEIR_CONN_FREE);
    link_forget(&pair->links[0]);
    pair_connect(pair, 0);
    send_many(pair, 0, 0, 1, 998);
    if (!is_upload) /* the node's debt stays */
        cr_assert_lt(time_of(pair, 0, 0, 1), 100 * WEIR_NS_PER_MS);
    time_of(pair, 0, 0, 1);
    pair_free(pair);
}

Test(rate, a_connection_may_end_while_it_waits)
{
    end_while_waiting(false);
    end_while_waiting(true);
}
