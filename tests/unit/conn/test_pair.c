/* Two hubs over the simulated network: sizes at every boundary, windows that are just large enough, and
 * random programs in which every delivered byte is compared with what was sent. */
#include "engine/conn/tx.h"
#include "tests/sanitized.h"
#include "tests/unit/conn/pair.h"

static const struct weir_io_config plain_io = {
    .sq_cnt = 64, .cq_cnt = 256, .recv_buf_bytes = 16384, .recv_buf_cnt = 8};

static void expect_no_fault(struct pair *pair)
{
    cr_assert_str_empty(pair->fault, "seed %llu: %s", (unsigned long long)pair->seed, pair->fault);
}

/* ---- sizes and windows ---------------------------------------------------------------------------- */

Test(pair, messages_of_every_size_at_a_boundary_cross_by_every_way)
{
    static const uint32_t frames[] = {4096, 10000, 65536};
    for (int f = 0; f < 3; f++) {
        struct pair *pair = pair_new(1, &(struct weir_sim_config){.seed = 1}, 1);
        pair->boxes[0]->cfg.frame_bytes_max = frames[f];
        pair_open(pair, &plain_io);
        pair_connect(pair, 0);
        expect_no_fault(pair);
        uint32_t frame = frames[f];
        const uint32_t mids[] = {0, 4096, frame, 2 * frame, 3 * frame, 16384, 65535, 1 << 20};
        for (int way = PAIR_COPY; way <= PAIR_SHARED; way++) {
            for (size_t i = 0; i < sizeof(mids) / sizeof(mids[0]); i++) {
                for (int64_t off = -3; off <= 3; off++) {
                    int64_t len = mids[i] + off;
                    if (len < 0 || len > 1 << 20)
                        continue;
                    for (uint32_t side = 0; side < 2; side++)
                        cr_assert_eq(pair_send(pair, &pair->links[0], side, 0, (size_t)len,
                                               (enum pair_way)way),
                                     0);
                    run_dry(pair);
                    expect_no_fault(pair);
                }
            }
        }
        expect_dry(pair);
        expect_no_fault(pair);
        pair_free(pair);
    }
}

/* The least window there is, with messages as large as it: each must get through, in either order. */
Test(pair, windows_just_as_large_as_the_messages_suffice)
{
    static const uint32_t windows[] = {16384, 16385, 20000, 65536, 100000, 300000};
    for (size_t w = 0; w < sizeof(windows) / sizeof(windows[0]); w++) {
        for (uint64_t seed = 1; seed <= 6; seed++) {
            struct pair *pair = pair_new(seed, &(struct weir_sim_config){.seed = seed}, 2);
            for (uint32_t side = 0; side < 2; side++) {
                for (uint32_t c = 0; c < 2; c++) {
                    struct weir_channel *channel = &pair->boxes[side]->channels[c];
                    channel->recv_bytes_max = channel->msg_bytes_max = windows[w];
                    channel->send_bytes_max = 8 << 20;
                }
            }
            pair_open(pair, &plain_io);
            pair_connect(pair, 0);
            for (uint32_t i = 0; i < 60; i++) {
                size_t len = pair_below(pair, 3) ? windows[w] - pair_below(pair, 5)
                                                 : pair_below(pair, windows[w] + 1);
                cr_assert_eq(pair_send(pair, &pair->links[0], i % 2, (uint32_t)pair_below(pair, 2),
                                       len, (enum pair_way)pair_below(pair, 3)),
                             0);
                if (pair_below(pair, 4) == 0)
                    pair_step(pair);
            }
            run_dry(pair);
            expect_dry(pair);
            cr_assert_str_empty(pair->fault, "window %u, seed %llu: %s", windows[w],
                                (unsigned long long)seed, pair->fault);
            pair_free(pair);
        }
    }
}

/* ---- the random program --------------------------------------------------------------------------- */

static uint32_t pick(struct pair *pair, const uint32_t *choices, uint32_t cnt)
{
    return choices[pair_below(pair, cnt)];
}

static uint32_t chunk_of(struct pair *pair)
{
    static const uint32_t chunks[] = {0, 0, 1, 3, 40, 1000, 5000, 70000};
    return pick(pair, chunks, 8);
}

static struct weir_sim_config network_of(struct pair *pair, uint64_t seed)
{
    static const uint32_t windows[] = {4096, 10000, 65536, 300000};
    static const uint32_t ppms[] = {0, 0, 20000, 300000};
    return (struct weir_sim_config){
        .seed = seed,
        .send_chunk_max = chunk_of(pair),
        .recv_chunk_max = chunk_of(pair),
        .window_bytes = pick(pair, windows, 4),
        .delay_max_ns = pair_below(pair, 3) ? 0 : pair_below(pair, 2 * WEIR_NS_PER_MS),
        .latency_ns = pair_below(pair, 3) ? 0 : pair_below(pair, WEIR_NS_PER_MS),
        .recv_end_ppm = pick(pair, ppms, 4),
        .flood_ppm = pick(pair, ppms, 4),
    };
}

static void configure(struct pair *pair)
{
    static const uint32_t frames[] = {4096, 4097, 16384, 65535, 65536};
    static const uint32_t sends[] = {4096, 30000, 262144};
    static const uint32_t windows[] = {16384, 17000, 50000, 200000, 4 << 20};
    for (uint32_t side = 0; side < 2; side++) {
        struct box *box = pair->boxes[side];
        box->cfg.pool_bytes_max = 64 << 20;
        /* The network may be slower than any deadline allows for. */
        box->cfg.ping_timeout_ns = box->cfg.idle_timeout_ns = box->cfg.stall_timeout_ns =
            86400 * WEIR_NS_PER_S;
        box->cfg.frame_bytes_max = pick(pair, frames, 5);
        box->cfg.send_bytes_max = pick(pair, sends, 3);
        box->cfg.send_bytes_contended = pick(pair, sends, 3);
        for (uint32_t i = 0; i < box->channel_cnt; i++) {
            struct weir_channel *channel = &box->channels[i];
            channel->weight = (uint16_t)(1 + pair_below(pair, 1000));
            channel->flags = pair_below(pair, 4) ? 0 : WEIR_CHANNEL_URGENT;
            channel->recv_bytes_max = pick(pair, windows, 5);
            channel->msg_bytes_max = pair_below(pair, 2)
                                         ? channel->recv_bytes_max
                                         : 1 + (uint32_t)pair_below(pair, channel->recv_bytes_max);
            if (channel->msg_bytes_max > 1 << 20)
                channel->msg_bytes_max = 1 << 20;
            channel->send_bytes_max = 1 << (14 + pair_below(pair, 8));
        }
    }
}

static size_t size_of(struct pair *pair, const struct weir_conn *conn, uint32_t channel_idx,
                      uint64_t bytes_left)
{
    uint64_t msg_max = conn->channels[channel_idx].msg_bytes_max;
    uint64_t frame = conn->channels[channel_idx].frame_bytes_max;
    uint64_t len;
    switch (pair_below(pair, 8)) {
    case 0:
        len = pair_below(pair, 3);
        break;
    case 1:
        len = msg_max - pair_below(pair, 3);
        break;
    case 2:
        len = frame * pair_below(pair, 3) + pair_below(pair, 7) - 3;
        break;
    case 3:
        len = pair_below(pair, msg_max + 1);
        break;
    default:
        len = pair_below(pair, 300);
        break;
    }
    len = len > msg_max ? msg_max : len; /* a negative one is very large */
    return len > bytes_left ? bytes_left % (msg_max + 1) : len;
}

/* One thing that an application may do. */
static uint64_t act(struct pair *pair, uint64_t bytes_left)
{
    struct link *link = &pair->links[pair_below(pair, PAIR_LINKS)];
    uint32_t side = (uint32_t)pair_below(pair, 2);
    uint32_t channel_idx = (uint32_t)pair_below(pair, pair->boxes[0]->channel_cnt);
    if (!link->is_up || link->is_ending)
        return 0;
    struct weir_conn *conn = link->conns[side];
    if (conn->state != WEIR_CONN_READY || conn->gen != link->gens[side]) {
        link->is_ending = true;
        if (!pair->may_end)
            pair_fault(pair, "side %u ended with %u", side, box_last_reason(pair->boxes[side]));
        return 0;
    }
    switch (pair_below(pair, 12)) {
    case 0:
        weir_conn_pause(conn, channel_idx, true);
        return 0;
    case 1:
    case 2:
        weir_conn_pause(conn, channel_idx, false);
        return 0;
    case 3:
        pair->keep_ppm = pair_below(pair, 2) ? 0 : (uint32_t)pair_below(pair, 1000000);
        return 0;
    case 4:
        for (uint32_t i = 0; i < PAIR_KEPT; i++)
            if (pair_below(pair, 2))
                pair_release(pair, i);
        return 0;
    default: {
        size_t len = size_of(pair, conn, channel_idx, bytes_left);
        int error =
            pair_send(pair, link, side, channel_idx, len, (enum pair_way)pair_below(pair, 3));
        if (error && error != WEIR_E_FULL && !(error == WEIR_E_NOMEM && pair->may_end))
            pair_fault(pair, "a send of %zu bytes: %s", len, weir_error_name(error));
        return error ? 0 : len;
    }
    }
}

static void resume_and_release(struct pair *pair)
{
    pair->keep_ppm = 0;
    for (uint32_t i = 0; i < PAIR_KEPT; i++)
        pair_release(pair, i);
    for (uint32_t i = 0; i < PAIR_LINKS; i++) {
        for (uint32_t side = 0; pair->links[i].is_up && side < 2; side++)
            for (uint32_t c = 0; c < pair->boxes[0]->channel_cnt; c++)
                weir_conn_pause(pair->links[i].conns[side], c, false);
    }
}

enum ending { END_CLOSE, END_GRACEFUL, END_ABORT, END_RESET, ENDINGS };

static bool is_gone(const struct link *link, uint32_t side)
{
    return link->conns[side]->gen != link->gens[side];
}

static void run_until_gone(struct pair *pair, const struct link *link)
{
    uint64_t until = weir_sim_now(pair->sim) + 3600 * WEIR_NS_PER_S;
    while (!pair->fault[0] && weir_sim_now(pair->sim) < until) {
        if (is_gone(link, 0) && is_gone(link, 1))
            return;
        pair_step(pair);
    }
    pair_fault(pair, "the connection did not end: states %u and %u", link->conns[0]->state,
               link->conns[1]->state);
}

/* Ends a connection in the middle of whatever it is doing. */
static void end(struct pair *pair, struct link *link, enum ending ending)
{
    uint32_t side = (uint32_t)pair_below(pair, 2);
    struct weir_conn *conn = link->conns[side];
    bool is_all_due = false;
    link->is_ending = true;
    if (is_gone(link, side)) /* by itself */
        ending = ENDINGS;
    switch (ending) {
    case END_CLOSE:
        weir_conn_close(conn, WEIR_R_APPLICATION, false);
        break;
    case END_GRACEFUL:
        /* Everything queued on this side arrives, if the other one takes it in time. */
        resume_and_release(pair);
        pair->boxes[side]->cfg.goodbye_linger_ns = 1800 * WEIR_NS_PER_S;
        weir_conn_close(conn, WEIR_R_APPLICATION, true);
        is_all_due = !pair->may_end;
        break;
    case END_ABORT:
        weir_conn_abort(conn, WEIR_R_INTERNAL);
        break;
    case END_RESET:
        if (conn->sock >= 0)
            weir_sim_reset(pair->sim, conn->sock);
        break;
    case ENDINGS:
        break;
    }
    run_until_gone(pair, link);
    if (is_all_due && !pair->fault[0]) {
        for (uint32_t c = 0; c < pair->boxes[0]->channel_cnt; c++)
            if (link->flows[side][c].head)
                pair_fault(pair, "a graceful close lost messages of channel %u", c);
    }
    link_forget(link);
}

static void blind_verify(struct weir_frame *frames, uint32_t frame_cnt)
{
    (void)frames;
    (void)frame_cnt;
}

/* Flips a bit of a payload now and then: of bytes at the end of a piece, where headers are rarely. */
static void flip(void *ctx, int sock, uint8_t *bytes, size_t len)
{
    struct pair *pair = ctx;
    (void)sock;
    if (len > 100 && pair_below(pair, 20) == 0)
        bytes[len - 1 - pair_below(pair, 20)] ^= (uint8_t)(1u << pair_below(pair, 8));
}

enum fault { FAULT_NONE, FAULT_OPS, FAULT_POOL, FAULT_BLIND, FAULT_LOSSY };

static uint32_t lossy_countdown;

/* A hub that loses a frame. */
static void lossy_run(struct weir_conn *conn, uint32_t channel_idx, const uint8_t *run,
                      uint32_t len, struct weir_buf *buf)
{
    if (--lossy_countdown != 0)
        box_on_run(conn, channel_idx, run, len, buf);
}

static uint64_t ends_by[WEIR_REASON_CNT]; /* of all programs so far */

#define HOGS 24u

/* Takes what both pools have, down to some KiB each. */
static void hog(struct pair *pair, struct weir_buf **ret_hogs)
{
    for (uint32_t side = 0; side < 2; side++) {
        uint32_t left = 10 + (uint32_t)pair_below(pair, 10); /* 2^left bytes stay */
        for (uint32_t i = 0, bits = 25; i<HOGS / 2; i++, bits -= bits> left)
            ret_hogs[side * HOGS / 2 + i] =
                bits > left ? weir_pool_take(pair->boxes[side]->pool, (size_t)1 << bits) : NULL;
    }
}

/* Returns the number of messages delivered; what went wrong is left in `ret_fault`. */
static uint64_t random_program(uint64_t seed, enum fault fault, char *ret_fault)
{
    struct pair *pair =
        pair_new(seed, &(struct weir_sim_config){.seed = seed, .window_bytes = 65536},
                 2 + (uint32_t)(seed % 5));
    struct weir_codec blind = weir_codec_native;
    struct weir_hub_ops lossy = box_ops;
    struct weir_sim_config network = network_of(pair, seed);
    weir_sim_configure(pair->sim, &network);
    configure(pair);
    static const uint32_t buf_bytes[] = {2048, 5000, 65536};
    struct weir_io_config io_cfg = {.sq_cnt = 64,
                                    .cq_cnt = 16 + (uint32_t)pair_below(pair, 100),
                                    .recv_buf_bytes = pick(pair, buf_bytes, 3),
                                    .recv_buf_cnt = 2u << pair_below(pair, 4)};
    pair_open(pair, &io_cfg);
    if (fault == FAULT_BLIND) {
        blind.verify = blind_verify;
        pair->boxes[1]->hub.codec = &blind;
    }
    if (fault == FAULT_LOSSY) {
        lossy.run = lossy_run;
        lossy_countdown = 20;
        pair->boxes[1]->hub.ops = &lossy;
    }
    for (uint32_t round = 0; round < 4 && !pair->fault[0]; round++) {
        for (uint32_t i = 0; i < PAIR_LINKS; i++)
            if (!pair->links[i].is_up)
                pair_connect(pair, i);
        struct weir_buf *hogs[HOGS] = {0};
        pair->may_end = fault == FAULT_OPS || fault == FAULT_POOL;
        if (fault == FAULT_POOL)
            hog(pair, hogs);
        if (fault == FAULT_OPS)
            weir_sim_fail_nth(pair->sim, 1 + pair_below(pair, 500), WEIR_E_SYSTEM);
        if (fault == FAULT_BLIND)
            weir_sim_set_tap(pair->sim, flip, pair);
        /* As many bytes as the network carries in some thousand turns. */
        uint32_t chunk = network.send_chunk_max ? network.send_chunk_max : 100000;
        if (network.recv_chunk_max && network.recv_chunk_max < chunk)
            chunk = network.recv_chunk_max;
        uint64_t bytes_left = chunk < 1000 ? 2000 * (uint64_t)chunk : 3000000;
        for (uint32_t step = 0; step < 400 && !pair->fault[0]; step++) {
            for (uint64_t i = pair_below(pair, 6); i > 0; i--)
                bytes_left -= act(pair, bytes_left);
            pair_step(pair);
        }
        weir_sim_fail_nth(pair->sim, 0, 0);
        for (uint32_t i = 0; i < HOGS; i++)
            weir_buf_unref(hogs[i]);
        if (!pair->may_end && pair_below(pair, 2)) { /* all arrives */
            resume_and_release(pair);
            run_dry(pair);
            expect_dry(pair);
        }
        for (uint32_t i = 0; i < PAIR_LINKS && !pair->fault[0]; i++)
            if (pair->may_end || pair_below(pair, 2))
                end(pair, &pair->links[i], (enum ending)pair_below(pair, ENDINGS));
        if (pair_below(pair, 2)) {
            network = network_of(pair, seed);
            /* What is queued by now may be too much for a byte at a time. */
            if (network.send_chunk_max && network.send_chunk_max < 1000)
                network.send_chunk_max = 1000;
            if (network.recv_chunk_max && network.recv_chunk_max < 1000)
                network.recv_chunk_max = 1000;
            weir_sim_configure(pair->sim, &network);
        }
    }
    for (uint32_t i = 0; i < PAIR_LINKS; i++)
        if (!pair->fault[0] && pair->links[i].is_up)
            end(pair, &pair->links[i], END_GRACEFUL);
    resume_and_release(pair);
    expect_dry(pair);
    uint64_t delivered = pair->delivered_cnt;
    for (uint32_t i = 0; i < 2 * WEIR_REASON_CNT; i++)
        ends_by[i / 2] += pair->boxes[i % 2]->hub.metrics.closes[i / 2];
    memcpy(ret_fault, pair->fault, sizeof(pair->fault));
    pair_free(pair);
    return delivered;
}

/* The seeds of a run: WEIR_SEEDS=FIRST-LAST in the environment asks for others than the usual ones. */
struct seeds {
    uint64_t first, last;
};

static struct seeds seeds_of(uint64_t cnt)
{
    struct seeds seeds = {1, cnt};
    const char *asked = getenv("WEIR_SEEDS");
    unsigned long long first, last;
    if (asked && sscanf(asked, "%llu-%llu", &first, &last) == 2)
        seeds = (struct seeds){first, last};
    return seeds;
}

Test(pair, random_programs_deliver_every_byte_and_account_for_it)
{
    struct seeds seeds = seeds_of(all_or_few(30, 15));
    uint64_t delivered = 0;
    char fault[256];
    for (uint64_t seed = seeds.first; seed <= seeds.last; seed++) {
        delivered += random_program(seed, FAULT_NONE, fault);
        cr_assert_str_empty(fault, "seed %llu: %s", (unsigned long long)seed, fault);
    }
    cr_assert_geq(delivered, 100 * (seeds.last - seeds.first),
                  "the program does something: %llu messages", (unsigned long long)delivered);
}

/* An operation of the ring cannot be started now and then: connections end, and nothing else happens. */
Test(pair, random_programs_survive_operations_that_fail)
{
    struct seeds seeds = seeds_of(all_or_few(30, 15));
    char fault[256];
    for (uint64_t seed = seeds.first; seed <= seeds.last; seed++) {
        random_program(seed, FAULT_OPS, fault);
        cr_assert_str_empty(fault, "seed %llu: %s", (unsigned long long)seed, fault);
    }
    cr_assert_gt(ends_by[WEIR_R_INTERNAL], 0);
}

/* Both pools are almost empty for some time. */
Test(pair, random_programs_survive_without_memory)
{
    struct seeds seeds = seeds_of(all_or_few(30, 15));
    char fault[256];
    for (uint64_t seed = seeds.first; seed <= seeds.last; seed++) {
        random_program(seed, FAULT_POOL, fault);
        cr_assert_str_empty(fault, "seed %llu: %s", (unsigned long long)seed, fault);
    }
    cr_assert_gt(ends_by[WEIR_R_LIMIT_MEMORY], 0);
}

Test(pair, a_receiver_that_does_not_verify_is_found_out)
{
    char fault[256];
    uint32_t found = 0, bytes = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        random_program(seed, FAULT_BLIND, fault);
        found += fault[0] != '\0';
        bytes += strstr(fault, "bytes differ") != NULL;
    }
    cr_assert_geq(found, 15, "found under %u of 20 seeds", found);
    cr_assert_geq(bytes, 3, "by its bytes under %u", bytes);
}

Test(pair, a_hub_that_loses_a_frame_is_found_out)
{
    char fault[256];
    uint32_t found = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        random_program(seed, FAULT_LOSSY, fault);
        found += fault[0] != '\0';
    }
    cr_assert_geq(found, 8, "found under %u of 10 seeds", found);
}
