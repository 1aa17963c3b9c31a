/* Messages put together from what a peer sends, right or wrong: fragments, runs, damaged ones, on two channels.
 *
 * input: operations; each adds a frame to what will be sent, or sends it in pieces, or pauses a channel.
 *
 * A model of docs/wire.md section 6 says after each frame whether the connection must end and what may be the
 * reason; every message of a frame before that is delivered, byte for byte and in its channel's order.
 */
#include "tests/fuzz/wire_model.h"
#include "tests/fuzz/small_box.h"

#define CHANNELS 2u
#define OPS_MAX 150u
#define MSGS_MAX 4096u
#define FRAME_BYTES 16384u
#define REASON(code) (UINT64_C(1) << ((code)-32)) /* all that may come here are from 32 to 95 */

static const uint32_t msg_bytes_max[CHANNELS] = {60000, 5000};

struct lane {
    uint32_t partial_len, partial_total; /* 0: no message is begun */
    uint64_t partial_seed;
    bool is_paused;
    struct {
        uint32_t len;
        uint64_t seed;
    } msgs[MSGS_MAX]; /* what must be delivered */
    uint32_t msg_cnt, seen_cnt;
};

struct model {
    struct box *box;
    struct peer *peer;
    struct lane lanes[CHANNELS];
    uint64_t next_seed;
    uint64_t reasons;  /* the connection must end with one of these; 0: it must not */
    uint32_t msg_idx;  /* of the box's messages: looked at */
    uint32_t idle_cnt; /* pings and skipped frames: a hundred a second are allowed */
};

static void expect_msg(struct lane *lane, uint32_t len, uint64_t seed)
{
    FUZZ_CHECK(lane->msg_cnt < MSGS_MAX);
    lane->msgs[lane->msg_cnt].len = len;
    lane->msgs[lane->msg_cnt++].seed = seed;
}

/* Checks 10 to 14 of one data frame with a right shape; 0, or all reasons that may be given. */
static uint64_t judge(struct model *model, uint8_t kind, uint16_t channel, uint32_t aux,
                      uint32_t len, bool is_damaged)
{
    uint64_t reasons = is_damaged ? REASON(WEIR_R_BAD_CHECKSUM) : 0;
    if (channel < 10 || channel >= 10 + CHANNELS)
        return reasons | REASON(WEIR_R_BAD_CHANNEL);
    struct lane *lane = &model->lanes[channel - 10];
    if (kind == MODEL_MORE) {
        if (!lane->partial_total || aux != lane->partial_len ||
            len > lane->partial_total - lane->partial_len)
            reasons |= REASON(WEIR_R_BAD_FRAGMENT);
    } else if (lane->partial_total) {
        reasons |= REASON(WEIR_R_BAD_FRAGMENT);
    }
    if (kind == MODEL_FIRST && aux > msg_bytes_max[channel - 10])
        reasons |= REASON(WEIR_R_MESSAGE_TOO_BIG);
    return reasons;
}

/* A frame of any kind, with bytes that belong to `seed`'s message where it is a fragment. */
static void add_fragment(struct model *model, uint8_t kind, uint16_t channel, uint32_t aux,
                         uint32_t len, bool is_damaged)
{
    struct model_frame frame = {.kind = kind, .channel = channel, .len = len, .aux = aux};
    uint16_t shape = model_shape(&frame, FRAME_BYTES);
    model->reasons = shape ? REASON(shape) : judge(model, kind, channel, aux, len, is_damaged);
    struct lane *lane =
        channel >= 10 && channel < 10 + CHANNELS ? &model->lanes[channel - 10] : NULL;
    uint64_t seed =
        kind == MODEL_MORE && lane && lane->partial_total ? lane->partial_seed : model->next_seed++;
    uint32_t off = kind == MODEL_MORE ? aux : 0;
    uint8_t *message = malloc((size_t)FRAME_BYTES * 8);
    if (model->reasons == 0)
        box_fill(message, (size_t)off + len, seed);
    else
        memset(message, 0x33, (size_t)FRAME_BYTES * 8), off = 0;
    size_t at = model->peer->out_len;
    peer_frame(model->peer, kind, channel, aux, message + off, len);
    if (is_damaged)
        model->peer->outbox[at + MODEL_HEAD + len / 2] ^= 0x10;
    free(message);
    if (model->reasons || !lane)
        return;
    if (kind == MODEL_FIRST) {
        lane->partial_total = aux;
        lane->partial_len = 0;
        lane->partial_seed = seed;
    }
    lane->partial_len += len;
    if (lane->partial_len == lane->partial_total) {
        expect_msg(lane, lane->partial_total, seed);
        lane->partial_len = lane->partial_total = 0;
    }
}

/* The next fragment that fits. */
static void add_right(struct model *model, struct fuzz *fuzz, uint32_t idx)
{
    struct lane *lane = &model->lanes[idx];
    bool is_more = lane->partial_total != 0;
    uint32_t total = is_more ? lane->partial_total : 1 + fuzz_below(fuzz, msg_bytes_max[idx]);
    uint32_t left = total - lane->partial_len;
    uint32_t len = left < FRAME_BYTES ? left : FRAME_BYTES;
    if (fuzz_flag(fuzz))
        len = 1 + fuzz_below(fuzz, len);
    add_fragment(model, is_more ? MODEL_MORE : MODEL_FIRST, (uint16_t)(10 + idx),
                 is_more ? lane->partial_len : total, len, fuzz_below(fuzz, 64) == 63);
}

static void add_wrong(struct model *model, struct fuzz *fuzz, uint32_t idx)
{
    struct lane *lane = &model->lanes[idx];
    uint8_t kind = fuzz_flag(fuzz) ? MODEL_MORE : MODEL_FIRST;
    uint16_t channel = (uint16_t)(10 + idx + (fuzz_below(fuzz, 8) == 0 ? 1 : 0));
    uint32_t around = kind == MODEL_MORE ? lane->partial_len : msg_bytes_max[idx];
    uint32_t aux = fuzz_flag(fuzz) ? around + fuzz_below(fuzz, 3) - 1 : (uint32_t)fuzz_number(fuzz);
    uint32_t len = fuzz_flag(fuzz) ? fuzz_below(fuzz, 64) : fuzz_below(fuzz, FRAME_BYTES + 2);
    bool is_good = kind == MODEL_MORE && lane->partial_total && aux == lane->partial_len;
    if (is_good && aux + len > 8 * FRAME_BYTES)
        return;
    add_fragment(model, kind, channel, aux, len, false);
}

/* Read as section 6 says: the messages fill the payload, and are as many as is said. */
static bool is_good_run(const uint8_t *run, uint32_t len, uint32_t said_cnt)
{
    uint32_t off = 0, read_cnt = 0;
    for (; off + 2 <= len && read_cnt < said_cnt; read_cnt++) {
        uint32_t msg_len = (uint32_t)model_uint(run + off, 2);
        if (msg_len > len - off - 2)
            return false;
        off += 2 + msg_len;
    }
    return off == len && read_cnt == said_cnt;
}

static void add_run(struct model *model, struct fuzz *fuzz, uint32_t idx)
{
    uint8_t run[2048];
    uint8_t *at = run;
    uint32_t cnt = 1 + fuzz_below(fuzz, 8);
    uint64_t seed = model->next_seed;
    struct lane *lane = &model->lanes[idx];
    for (uint32_t i = 0; i < cnt; i++) {
        uint8_t bytes[200];
        uint32_t len = fuzz_below(fuzz, sizeof(bytes));
        box_fill(bytes, len, seed + i);
        at = weir_run_put(at, bytes, (uint16_t)len);
    }
    uint32_t len = (uint32_t)(at - run), said_cnt = cnt;
    uint32_t wrong = fuzz_below(fuzz, 32); /* what is wrong with it, mostly nothing */
    if (wrong == 31)
        run[0]++; /* the first message takes in a byte of what is behind it */
    else if (wrong == 30)
        said_cnt++;
    bool is_damaged = wrong == 29;
    struct model_frame frame = {.kind = MODEL_RUN, .channel = 10, .len = len, .aux = said_cnt};
    uint16_t shape = model_shape(&frame, FRAME_BYTES);
    model->reasons = shape
                         ? REASON(shape)
                         : judge(model, MODEL_RUN, (uint16_t)(10 + idx), said_cnt, len, is_damaged);
    bool is_run = is_good_run(run, len, said_cnt);
    /* The next message of one byte, a zero, has become an empty one: the frame is right, its messages are others. */
    if (wrong == 31 && is_run)
        run[0]--;
    if (!is_run && !model->reasons)
        model->reasons = REASON(WEIR_R_BAD_RUN);
    size_t head_at = model->peer->out_len;
    peer_frame(model->peer, MODEL_RUN, (uint16_t)(10 + idx), said_cnt, run, len);
    if (is_damaged)
        model->peer->outbox[head_at + MODEL_HEAD + len - 1] ^= 0x80;
    if (model->reasons)
        return;
    model->next_seed += cnt;
    const uint8_t *from = run;
    for (uint32_t i = 0; i < cnt; i++) {
        uint32_t msg_len;
        weir_run_next(&from, &msg_len);
        expect_msg(lane, msg_len, seed + i);
    }
}

static void add_idle(struct model *model, struct fuzz *fuzz)
{
    if (model->idle_cnt++ >= 90)
        return;
    uint8_t bytes[64] = {0};
    if (fuzz_flag(fuzz))
        peer_control(model->peer, &(struct weir_control){.kind = WEIR_CONTROL_PING, .value = 7});
    else
        peer_frame(model->peer, 0x90, fuzz_u16(fuzz), 3, bytes, fuzz_below(fuzz, 64));
}

/* ---- what came of it ------------------------------------------------------------------------------ */

static void look(struct model *model)
{
    struct box *box = model->box;
    for (; model->msg_idx < box->msg_cnt; model->msg_idx++) {
        const struct box_msg *msg = &box->msgs[model->msg_idx];
        struct lane *lane = &model->lanes[msg->channel_idx];
        FUZZ_CHECK(!lane->is_paused);
        FUZZ_CHECK(lane->seen_cnt < lane->msg_cnt); /* nothing that was not sent */
        FUZZ_CHECK(lane->msgs[lane->seen_cnt].len == msg->len);
        FUZZ_CHECK(box_is_filled(msg->data, msg->len, lane->msgs[lane->seen_cnt].seed));
        lane->seen_cnt++;
    }
    for (uint32_t i = 0; i < CHANNELS; i++) {
        if (!model->lanes[i].is_paused)
            FUZZ_CHECK(model->lanes[i].seen_cnt == model->lanes[i].msg_cnt);
    }
}

static void say(struct model *model, struct fuzz *fuzz)
{
    static const size_t chunks[] = {0, 1, 7, 33, 1000, 5000, 16384, 65536};
    peer_say(model->peer, chunks[fuzz_below(fuzz, 8)]);
    look(model);
    FUZZ_CHECK((model->reasons == 0) == (model->peer->conn->state == WEIR_CONN_READY));
}

static void pause_one(struct model *model, struct fuzz *fuzz, uint32_t idx, bool is_paused)
{
    say(model, fuzz);
    if (model->reasons)
        return;
    model->lanes[idx].is_paused = is_paused;
    weir_conn_pause(model->peer->conn, idx, is_paused);
    box_turn(model->box);
    look(model);
}

static void step(struct model *model, struct fuzz *fuzz)
{
    uint32_t op = fuzz_below(fuzz, 16);
    uint32_t idx = op & 1;
    if (op < 8)
        add_right(model, fuzz, idx);
    else if (op < 11)
        add_run(model, fuzz, idx);
    else if (op < 12)
        add_wrong(model, fuzz, fuzz_below(fuzz, CHANNELS));
    else if (op < 13)
        add_idle(model, fuzz);
    else if (op < 15)
        say(model, fuzz);
    else
        pause_one(model, fuzz, fuzz_below(fuzz, CHANNELS), fuzz_flag(fuzz));
}

/* The reason that we report is one of those, and the peer hears the same. */
static void expect_end(struct model *model)
{
    uint16_t reason = box_last_reason(model->box);
    FUZZ_CHECK(reason >= 32 && reason < 96 && (model->reasons & REASON(reason)));
    peer_listen(model->peer);
    const struct weir_control *bye = peer_heard(model->peer, WEIR_CONTROL_GOODBYE, 0);
    FUZZ_CHECK(bye && bye->reason == reason);
    FUZZ_CHECK(model->box->hub.metrics.frames_failed == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct fuzz fuzz = fuzz_begin(data, size);
    memset(&model, 0, sizeof(model));
    struct box *box = model.box = solo_new(CHANNELS);
    box->cfg.frame_bytes_max = FRAME_BYTES;
    for (uint32_t i = 0; i < CHANNELS; i++) {
        box->channels[i].msg_bytes_max = msg_bytes_max[i];
        box->channels[i].recv_bytes_max = 1u << 26; /* credit has a target of its own */
    }
    solo_open(box);
    model.peer = peer_ready(box);
    for (uint32_t i = 0; i < OPS_MAX && fuzz_has_more(&fuzz) && !model.reasons; i++)
        step(&model, &fuzz);
    say(&model, &fuzz);
    if (model.reasons)
        expect_end(&model);
    for (uint32_t i = 0; i < CHANNELS && !model.reasons; i++)
        pause_one(&model, &fuzz, i, false);
    peer_hang_up(model.peer);
    peer_free(model.peer);
    solo_free(box);
    return 0;
}
