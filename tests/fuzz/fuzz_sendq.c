/* Send queues against a list: what was taken comes out, whole and in order; what is refused is refused for the
 * reason the bound gives; what the policy dropped is counted.
 *
 * input: policy and bound of two channels, then operations.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/small_box.h"

#define CHANNELS 2u /* and a third, which the peer does not have */
#define OPS_MAX 120u

struct lane {
    enum weir_overflow overflow;
    uint32_t send_bytes_max;
    struct {
        size_t len;
        uint64_t seed;
    } taken[OPS_MAX];
    uint32_t taken_cnt, heard_cnt, missing_cnt;
    uint64_t refused_cnt;
    bool is_waiting; /* was refused and not yet told writable */
    struct heard heard;
};

struct model {
    struct box *box;
    struct peer *peer;
    struct lane lanes[CHANNELS];
    uint64_t next_seed;
    bool is_ended;
};

static void on_writable(struct box *box, struct weir_conn *conn, uint32_t idx)
{
    struct model *model = box->ctx;
    struct lane *lane = &model->lanes[idx];
    (void)conn;
    FUZZ_CHECK(lane->is_waiting); /* once, and only to who was refused */
    lane->is_waiting = false;
}

/* Reads the next message if all of it was heard; a part of one is read again when there is more. */
static bool hear_whole(struct heard *heard)
{
    uint32_t frame_idx = heard->frame_idx;
    if (heard_next(heard))
        return true;
    heard->frame_idx = frame_idx;
    return false;
}

/* Finds each heard message among those taken: in order, whole; what lies between was dropped. */
static void look(struct model *model)
{
    for (uint32_t i = 0; i < CHANNELS; i++) {
        struct lane *lane = &model->lanes[i];
        while (hear_whole(&lane->heard)) {
            for (;; lane->heard_cnt++, lane->missing_cnt++) {
                FUZZ_CHECK(lane->heard_cnt < lane->taken_cnt);
                if (lane->taken[lane->heard_cnt].len == lane->heard.len &&
                    box_is_filled(lane->heard.message, lane->heard.len,
                                  lane->taken[lane->heard_cnt].seed))
                    break;
                FUZZ_CHECK(lane->overflow == WEIR_OVERFLOW_DROP_OLDEST);
            }
            lane->heard_cnt++;
        }
    }
}

/* With all that a burst may still take: no more of it may be accounted than every bound has room for. */
static void check(const struct model *model)
{
    const struct weir_conn *conn = model->peer->conn;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < CHANNELS; i++) {
        const struct lane *lane = &model->lanes[i];
        uint64_t queued = conn->channels[i].queued_bytes;
        sum += queued;
        /* An empty queue takes any message; else the bound holds. */
        bool is_lone = !conn->channels[i].head || !conn->channels[i].head->next;
        FUZZ_CHECK(queued <= lane->send_bytes_max + (is_lone ? WEIR_RUN_PREFIX : 0));
        FUZZ_CHECK(model->box->hub.metrics.channels[i].refused == lane->refused_cnt);
    }
    FUZZ_CHECK(conn->bytes_queued == sum && sum <= model->box->cfg.peer_bytes_max);
}

static int send_one(struct weir_conn *conn, uint32_t idx, size_t len, uint64_t seed, uint32_t way)
{
    return way == 0   ? box_send_next(conn, idx, len, seed)
           : way == 1 ? box_send_buf(conn, idx, len, seed)
                      : box_send_shared(conn, idx, len, seed);
}

/* What is queued, without what a burst may still take. */
static uint64_t queued_bytes(const struct weir_conn *conn, uint32_t idx)
{
    bool is_open = weir_burst.peer && weir_burst.conn == conn && weir_burst.channel_idx == idx;
    return conn->channels[idx].queued_bytes -
           (is_open ? (uint64_t)(weir_burst.end - weir_burst.at) : 0);
}

static void app_send(struct model *model, struct fuzz *fuzz, uint32_t idx)
{
    struct weir_conn *conn = model->peer->conn;
    uint32_t shape = fuzz_u8(fuzz);
    size_t len = shape & 1 ? fuzz_below(fuzz, 300) : fuzz_below(fuzz, 20000);
    uint32_t way = len == 0 ? 0 : (shape >> 1) % 3;
    uint64_t seed = model->next_seed++;
    if (idx == CHANNELS) {
        FUZZ_CHECK(send_one(conn, idx, len, seed, way) == WEIR_E_NO_CHANNEL);
        return;
    }
    struct lane *lane = &model->lanes[idx];
    uint64_t queued = queued_bytes(conn, idx);
    bool is_run = way == 0 && WEIR_RUN_PREFIX + len <= conn->channels[idx].frame_bytes_max;
    uint64_t bytes = len + (is_run ? WEIR_RUN_PREFIX : 0);
    bool has_room = queued == 0 || queued + bytes <= lane->send_bytes_max;
    int error = send_one(conn, idx, len, seed, way);
    if (len > lane->send_bytes_max) {
        FUZZ_CHECK(error == WEIR_E_TOO_BIG);
    } else if (has_room) {
        FUZZ_CHECK(error == 0);
    } else if (lane->overflow == WEIR_OVERFLOW_REFUSE) {
        FUZZ_CHECK(error == WEIR_E_FULL);
    } else if (lane->overflow == WEIR_OVERFLOW_CLOSE) {
        FUZZ_CHECK(error == WEIR_E_GONE && conn->state != WEIR_CONN_READY);
        FUZZ_CHECK(box_last_reason(model->box) == WEIR_R_OVERFLOW);
        model->is_ended = true;
    } else if (error) { /* only what is being sent may be in the way */
        FUZZ_CHECK(error == WEIR_E_FULL && (conn->tx || conn->channels[idx].head->off));
    }
    if (error == WEIR_E_FULL) {
        lane->refused_cnt++;
        lane->is_waiting = true;
    }
    if (error == 0) {
        lane->taken[lane->taken_cnt].len = len;
        lane->taken[lane->taken_cnt++].seed = seed;
    }
}

/* The kernel takes some of the send in flight. */
static void send_some(struct model *model, struct fuzz *fuzz)
{
    struct peer *peer = model->peer;
    size_t len = script_unsent(peer->script, peer->sock);
    if (len) {
        size_t some = 1 + (size_t)(fuzz_uint(fuzz, 3) % len);
        script_sent(peer->script, peer->sock, (int64_t)(fuzz_flag(fuzz) ? len : some));
    }
    box_turn(model->box);
    peer_hear(peer);
    look(model);
}

static void listen_all(struct model *model, size_t chunk)
{
    peer_listen_chunks(model->peer, chunk);
    look(model);
    const struct weir_conn *conn = model->peer->conn;
    FUZZ_CHECK(conn->bytes_queued == 0 && conn->active == 0);
    for (uint32_t i = 0; i < CHANNELS; i++) {
        const struct lane *lane = &model->lanes[i];
        uint32_t lost_cnt = lane->missing_cnt + lane->taken_cnt - lane->heard_cnt;
        /* Frames are counted, and a frame may hold many messages. */
        uint64_t dropped = model->box->hub.metrics.channels[i].dropped;
        FUZZ_CHECK((lost_cnt == 0) == (dropped == 0) && dropped <= lost_cnt);
        FUZZ_CHECK(dropped == 0 || lane->overflow == WEIR_OVERFLOW_DROP_OLDEST);
        FUZZ_CHECK(!lane->is_waiting); /* there is room: who was refused knows */
    }
}

static void step(struct model *model, struct fuzz *fuzz)
{
    uint32_t op = fuzz_below(fuzz, 16);
    if (op < 11)
        app_send(model, fuzz, op == 10 ? CHANNELS : op & 1);
    else if (op < 14)
        send_some(model, fuzz);
    else if (op < 15)
        box_turn(model->box);
    else
        listen_all(model, fuzz_u16(fuzz));
    if (!model->is_ended)
        check(model);
}

static void begin(struct model *model, struct fuzz *fuzz)
{
    struct box *box = model->box = solo_new(CHANNELS + 1);
    box->ctx = model;
    box->on_writable = on_writable;
    box->cfg.frame_bytes_max = 4096;
    box->cfg.send_bytes_max = box->cfg.send_bytes_contended = 8192;
    for (uint32_t i = 0; i < CHANNELS; i++) {
        struct lane *lane = &model->lanes[i];
        lane->overflow = (enum weir_overflow)fuzz_below(fuzz, 3);
        lane->send_bytes_max = 16384 + fuzz_below(fuzz, 20000);
        box->channels[i].overflow = lane->overflow;
        box->channels[i].send_bytes_max = box->channels[i].msg_bytes_max = lane->send_bytes_max;
        box->channels[i].recv_bytes_max = 1u << 24; /* the peer's credit is as large */
    }
    solo_open(box);
    struct peer *peer = model->peer = peer_new(box, true);
    peer->offer.channel_cnt = CHANNELS;
    peer_shake(peer);
    for (uint32_t i = 0; i < CHANNELS; i++)
        model->lanes[i].heard = heard_begin(peer, (uint16_t)(10 + i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct fuzz fuzz = fuzz_begin(data, size);
    memset(&model, 0, sizeof(model));
    begin(&model, &fuzz);
    for (uint32_t i = 0; i < OPS_MAX && fuzz_has_more(&fuzz) && !model.is_ended; i++)
        step(&model, &fuzz);
    if (!model.is_ended)
        listen_all(&model, 0);
    FUZZ_CHECK(!weir_burst.peer);
    for (uint32_t i = 0; i < CHANNELS; i++)
        heard_end(&model.lanes[i].heard);
    peer_hang_up(model.peer);
    peer_free(model.peer);
    solo_free(model.box);
    return 0;
}
