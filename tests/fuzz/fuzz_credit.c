/* Credit both ways, against an account of bytes: nobody sends or takes more than was granted, and what is due is
 * granted.
 *
 * input: windows, then operations of the peer and of the application.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/small_box.h"

#define CHANNELS 2u
#define OPS_MAX 120u
#define KEPT_MAX 16u

struct lane {
    uint64_t window;                /* what the box takes before it grants more */
    uint64_t sent, heard_limit;     /* by the peer; and what it was granted */
    uint64_t delivered, kept_bytes; /* payload bytes the application saw; of them still kept */
    uint32_t partial_len, partial_total;
    uint64_t granted, got; /* to the box; and payload bytes that came from it */
    uint64_t granted_first;
};

struct model {
    struct box *box;
    struct peer *peer;
    struct lane lanes[CHANNELS];
    struct {
        struct weir_buf *buf;
        uint32_t idx, charge;
    } kept[KEPT_MAX];
    uint32_t kept_cnt;
    bool is_keeping;
    uint32_t over_cnt; /* frames of a run bring bytes that no message has: 2 each */
    uint16_t end;      /* the reason the connection must end with */
    uint64_t next_seed;
};

static void on_msg(struct box *box, const struct box_pending *msg)
{
    struct model *model = box->ctx;
    if (!model->is_keeping || model->kept_cnt == KEPT_MAX || msg->len == 0)
        return;
    struct weir_buf *buf = box_keep(box, msg);
    FUZZ_CHECK(buf != NULL);
    model->kept[model->kept_cnt].idx = msg->channel_idx;
    model->kept[model->kept_cnt].charge = msg->len;
    model->kept[model->kept_cnt++].buf = buf;
    model->lanes[msg->channel_idx].kept_bytes += msg->len;
}

static void release(struct model *model, uint32_t at)
{
    if (at >= model->kept_cnt)
        return;
    model->lanes[model->kept[at].idx].kept_bytes -= model->kept[at].charge;
    weir_buf_unref(model->kept[at].buf);
    model->kept[at] = model->kept[--model->kept_cnt];
    box_turn(model->box);
}

/* ---- the peer listens ------------------------------------------------------------------------------ */

static void hear_credit(struct model *model, const struct weir_control *control)
{
    for (uint32_t i = 0; i < control->credit_cnt; i++) {
        uint32_t idx = control->credits[i].channel - 10u;
        FUZZ_CHECK(idx < CHANNELS);
        struct lane *lane = &model->lanes[idx];
        FUZZ_CHECK(control->credits[i].limit > lane->heard_limit); /* limits grow */
        /* Never more than the window beyond what the application is done with. */
        FUZZ_CHECK(control->credits[i].limit <= lane->sent - lane->partial_len + lane->window);
        lane->heard_limit = control->credits[i].limit;
    }
}

/* Hears everything that the box wants to say, and looks whether that was all it may. */
static void listen_all(struct model *model, size_t chunk)
{
    struct peer *peer = model->peer;
    peer_listen_chunks(peer, chunk);
    for (uint32_t i = 0; i < peer->frame_cnt; i++) {
        struct peer_frame *frame = &peer->frames[i];
        if (!frame->is_control)
            model->lanes[frame->channel - 10].got += frame->len;
        else if (frame->control.kind == WEIR_CONTROL_CREDIT)
            hear_credit(model, &frame->control);
        free(frame->payload);
    }
    peer->frame_cnt = 0;
    if (model->end || peer->conn->state != WEIR_CONN_READY)
        return;
    for (uint32_t i = 0; i < CHANNELS; i++) {
        struct lane *lane = &model->lanes[i];
        const struct weir_conn_channel *channel = &peer->conn->channels[i];
        FUZZ_CHECK(lane->got <= lane->granted);
        FUZZ_CHECK(channel->tx_used == lane->got && channel->rx_used == lane->sent);
        FUZZ_CHECK(lane->heard_limit == channel->rx_limit);
        /* What is queued waits for credit and for nothing else: half the window at the start is always enough
         * for a frame, and of the smallest windows all there is. */
        if (channel->head) {
            uint64_t enough = lane->granted_first / 2 < 4096 ? lane->granted_first / 2 : 4096;
            enough = lane->granted_first < 2 ? 1 : enough < 2 ? 2 : enough;
            FUZZ_CHECK(lane->granted - lane->got < enough);
        }
        /* And the peer is granted what is due: all of it while a message is begun, three quarters else. */
        uint64_t done = lane->sent - lane->partial_len - lane->kept_bytes;
        uint64_t due =
            done + lane->window > lane->heard_limit ? done + lane->window - lane->heard_limit : 0;
        FUZZ_CHECK(due < lane->window / 4);
        if (lane->partial_len)
            FUZZ_CHECK(lane->kept_bytes || due == 0);
        else if (!lane->kept_bytes)
            FUZZ_CHECK(lane->heard_limit - lane->sent >= lane->window - lane->window / 4);
    }
}

/* ---- the peer sends ------------------------------------------------------------------------------- */

/* Sends one data frame; by the account it is taken, or ends the connection. */
static void send_frame(struct model *model, uint32_t idx, uint8_t kind, uint32_t aux, uint32_t len)
{
    struct lane *lane = &model->lanes[idx];
    uint64_t limit = model->peer->conn->channels[idx].rx_limit;
    FUZZ_CHECK(lane->heard_limit <= limit);
    uint8_t *payload = calloc(1, len);
    if (kind == WEIR_FRAME_RUN)
        weir_le16_put(payload, (uint16_t)(len - WEIR_RUN_PREFIX));
    peer_frame(model->peer, kind, (uint16_t)(10 + idx), aux, payload, len);
    free(payload);
    if (len > limit - lane->sent)
        model->end = WEIR_R_CREDIT;
    else
        lane->sent += len;
    peer_say(model->peer, 0);
    FUZZ_CHECK((model->end == 0) == (model->peer->conn->state == WEIR_CONN_READY));
}

static void send_some(struct model *model, struct fuzz *fuzz, uint32_t idx)
{
    struct lane *lane = &model->lanes[idx];
    bool may_overrun = fuzz_below(fuzz, 16) == 15;
    uint64_t room = lane->heard_limit - lane->sent;
    uint32_t len = 1 + fuzz_below(fuzz, 4096);
    if (lane->partial_total) {
        uint32_t left = lane->partial_total - lane->partial_len;
        len = len < left ? len : left;
        if (len > room)
            len = (uint32_t)room + may_overrun;
        if (len == 0)
            return;
        uint32_t off = lane->partial_len;
        lane->partial_len += len; /* counted before the turn in which credit may come back */
        bool is_last = lane->partial_len == lane->partial_total;
        if (is_last)
            lane->partial_len = lane->partial_total = 0;
        send_frame(model, idx, WEIR_FRAME_MORE, off, len);
        return;
    }
    if (len > room) /* by one byte */
        len = (uint32_t)room + may_overrun;
    uint32_t shape = fuzz_below(fuzz, 3);
    uint32_t total =
        (uint32_t)(lane->window / 2) + fuzz_below(fuzz, (uint32_t)(lane->window / 2) + 1);
    if (shape == 0 && len >= WEIR_RUN_PREFIX) {
        send_frame(model, idx, WEIR_FRAME_RUN, 1, len);
    } else if (shape == 1 && len) {
        send_frame(model, idx, WEIR_FRAME_FIRST, len, len);
    } else if (len) { /* the largest message is as large as the window */
        len = len < total ? len : total;
        lane->partial_len = len < total ? len : 0;
        lane->partial_total = len < total ? total : 0;
        send_frame(model, idx, WEIR_FRAME_FIRST, total, len);
    }
}

static void grant(struct model *model, struct fuzz *fuzz)
{
    struct weir_control control = {.kind = WEIR_CONTROL_CREDIT,
                                   .credit_cnt = 1 + fuzz_below(fuzz, 3)};
    for (uint32_t i = 0; i < control.credit_cnt; i++) {
        uint32_t idx = fuzz_below(fuzz, CHANNELS);
        struct lane *lane = &model->lanes[idx];
        bool is_unknown = fuzz_below(fuzz, 64) == 63;
        uint64_t limit =
            fuzz_flag(fuzz) ? lane->granted + fuzz_below(fuzz, 10000) - 5000 : fuzz_number(fuzz);
        control.credits[i] = (struct weir_credit){(uint16_t)(is_unknown ? 99 : 10 + idx), limit};
        if (is_unknown)
            model->end = WEIR_R_BAD_CHANNEL;
        else if (model->end == 0 && limit > lane->granted) /* none ever shrinks */
            lane->granted = limit;
    }
    peer_control(model->peer, &control);
    peer_say(model->peer, 0);
}

/* ---- the application sends ------------------------------------------------------------------------- */

static void app_send(struct model *model, struct fuzz *fuzz, uint32_t idx)
{
    struct weir_conn *conn = model->peer->conn;
    size_t len = fuzz_flag(fuzz) ? fuzz_below(fuzz, 100) : fuzz_below(fuzz, 40000);
    uint32_t way = fuzz_below(fuzz, 3);
    uint64_t seed = model->next_seed++;
    int error = way == 0 || len == 0 ? box_send(conn, idx, len, seed)
                : way == 1           ? box_send_buf(conn, idx, len, seed)
                                     : box_send_shared(conn, idx, len, seed);
    FUZZ_CHECK(error == 0 || error == WEIR_E_FULL || error == WEIR_E_TOO_BIG);
}

static void step(struct model *model, struct fuzz *fuzz)
{
    uint32_t op = fuzz_below(fuzz, 16);
    uint32_t idx = op & 1;
    if (op < 6)
        send_some(model, fuzz, idx);
    else if (op < 9)
        app_send(model, fuzz, fuzz_below(fuzz, CHANNELS));
    else if (op < 11)
        listen_all(model, fuzz_flag(fuzz) ? 1 + fuzz_below(fuzz, 5000) : 0);
    else if (op < 12)
        model->is_keeping = fuzz_flag(fuzz);
    else if (op < 14)
        release(model, fuzz_below(fuzz, KEPT_MAX));
    else
        grant(model, fuzz);
}

static void begin(struct model *model, struct fuzz *fuzz)
{
    struct box *box = model->box = solo_new(CHANNELS);
    box->cfg.frame_bytes_max = 4096;
    box->ctx = model;
    box->on_msg = on_msg;
    for (uint32_t i = 0; i < CHANNELS; i++) {
        uint32_t window = 16384 + fuzz_below(fuzz, 20000);
        box->channels[i].recv_bytes_max = box->channels[i].msg_bytes_max = window;
        box->channels[i].send_bytes_max = 1u << 18;
        model->lanes[i].window = model->lanes[i].heard_limit = window;
    }
    solo_open(box);
    struct peer *peer = model->peer = peer_new(box, true);
    for (uint32_t i = 0; i < CHANNELS; i++) {
        if (fuzz_below(fuzz, 4) == 3) /* as small as there may be */
            peer->descs[i].msg_bytes_max = 1 + fuzz_below(fuzz, 8);
        peer->descs[i].window_bytes = peer->descs[i].msg_bytes_max + fuzz_below(fuzz, 5000);
        if (fuzz_flag(fuzz))
            peer->descs[i].window_bytes = peer->descs[i].msg_bytes_max;
        model->lanes[i].granted = model->lanes[i].granted_first = peer->descs[i].window_bytes;
    }
    peer_shake(peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct fuzz fuzz = fuzz_begin(data, size);
    memset(&model, 0, sizeof(model));
    begin(&model, &fuzz);
    for (uint32_t i = 0; i < OPS_MAX && fuzz_has_more(&fuzz) && !model.end; i++)
        step(&model, &fuzz);
    if (model.end) {
        FUZZ_CHECK(model.peer->conn->state != WEIR_CONN_READY);
        FUZZ_CHECK(box_last_reason(model.box) == model.end);
    } else {
        listen_all(&model, 0);
    }
    while (model.kept_cnt)
        release(&model, 0);
    if (!model.end)
        listen_all(&model, 0);
    peer_hang_up(model.peer);
    peer_free(model.peer);
    solo_free(model.box);
    return 0;
}
