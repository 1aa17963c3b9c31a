/* The state machine of connections under any stream of completions that a ring could give: connects, receives,
 * sends and shutdowns end well, badly, late, in any order, while the application sends, closes and pauses.
 *
 * input: operations. Each makes one thing happen to one of up to four connections at a time; turns are operations
 * too, so any number of completions may come in one.
 *
 * The kernel is the scripted one of tests/unit/conn, which checks the rules of engine/io/io.h: the simulated
 * one decides by itself what ends when, here the input does (fuzz_stranger has the simulated one).
 * Every connection's invariants are walked after every event. At the end every connection was reported
 * ended once, no operation and no buffer is left.
 */
#include <errno.h>

#include "tests/fuzz/small_box.h"
#include "tests/fuzz/wire_model.h"

#define LINKS 4u
#define OPENED_MAX 24u
#define OPS_MAX 200u
#define CHANNELS 2u

struct link {
    struct weir_conn *conn; /* NULL: none */
    uint32_t gen;
    int sock;
    bool is_dialer; /* the peer */
    bool has_begun;
    void *codec;
    size_t seen; /* bytes of ours that the peer has read */
};

struct model {
    struct box *box;
    struct script_io *script;
    struct link links[LINKS];
    struct weir_channel_desc descs[CHANNELS];
    struct weir_offer offer; /* the peers' */
    uint32_t opened_cnt;
    bool is_keeping;
    struct weir_buf *kept[8];
};

static void on_msg(struct box *box, const struct box_pending *msg)
{
    struct model *model = box->ctx;
    for (uint32_t i = 0; i < 8 && model->is_keeping && msg->len; i++) {
        if (!model->kept[i]) {
            model->kept[i] = box_keep(box, msg);
            return;
        }
    }
}

static bool is_live(const struct link *link)
{
    return link->conn && link->conn->gen == link->gen && link->conn->state != WEIR_CONN_FREE;
}

static struct script_sock *sock_of(struct model *model, const struct link *link)
{
    return is_live(link) && link->sock > 0 && model->script->socks[link->sock].is_open
               ? &model->script->socks[link->sock]
               : NULL;
}

/* ---- beginnings ------------------------------------------------------------------------------------ */

static void open_one(struct model *model, struct link *link, bool is_dial)
{
    if (is_live(link) || model->script->sock_cnt == OPENED_MAX)
        return;
    struct weir_conn *conn;
    struct weir_addr addr;
    int sock = 0;
    int error;
    if (is_dial) {
        FUZZ_CHECK(weir_addr_parse(&addr, "192.0.2.7:7000") == 0);
        error = weir_conn_dial(&model->box->hub, &addr, 3, &conn);
    } else {
        sock = script_open(model->script);
        error = weir_conn_accept(&model->box->hub, sock, &conn);
        if (error)
            model->script->socks[sock].is_open = false;
    }
    if (error)
        return;
    model->opened_cnt++;
    free(link->codec);
    *link = (struct link){.conn = conn,
                          .gen = conn->gen,
                          .sock = is_dial ? conn->sock : sock,
                          .is_dialer = !is_dial,
                          .codec = calloc(1, weir_codec_native.state_bytes)};
    weir_codec_native.begin(link->codec, &model->offer, link->is_dialer);
}

/* ---- what the kernel does -------------------------------------------------------------------------- */

static int32_t bad_result(struct fuzz *fuzz)
{
    static const int errors[] = {ECONNRESET,  ETIMEDOUT,    ECANCELED, EPIPE,
                                 ENETUNREACH, ECONNREFUSED, ENOBUFS,   EINTR,
                                 EAGAIN,      ENOMEM,       EACCES,    EHOSTUNREACH};
    return -errors[fuzz_below(fuzz, sizeof(errors) / sizeof(errors[0]))];
}

/* What the peer answers to what it was sent: the handshake goes on. */
static size_t peer_answer(struct model *model, struct link *link, uint8_t *ret_bytes, size_t cap)
{
    struct script_sock *at = &model->script->socks[link->sock];
    struct weir_frame frames[8];
    struct weir_feed feed = {0};
    do {
        if (at->out_len == link->seen)
            break;
        weir_codec_native.feed(link->codec, at->out + link->seen, at->out_len - link->seen, frames,
                               8, &feed);
        weir_codec_native.verify(frames, feed.frame_cnt);
        for (uint32_t i = 0; i < feed.frame_cnt; i++)
            FUZZ_CHECK(frames[i].fault == 0); /* whatever happens, what we send is right */
        link->seen += feed.consumed;
    } while (feed.consumed);
    return weir_codec_native.pull(link->codec, ret_bytes, cap);
}

/* A frame with right sums: data, control, or of any kind. */
static size_t peer_frame_bytes(struct fuzz *fuzz, uint8_t *ret_bytes)
{
    struct weir_control control = {.kind = (uint8_t)(1 + fuzz_below(fuzz, 4)),
                                   .value = fuzz_u8(fuzz),
                                   .reason = WEIR_R_APPLICATION,
                                   .credit_cnt = 1,
                                   .credits = {{(uint16_t)(10 + fuzz_below(fuzz, 3)), 1u << 20}}};
    uint32_t shape = fuzz_below(fuzz, 8);
    if (shape == 0)
        return weir_codec_native.control_write(ret_bytes, &control);
    uint8_t *payload = ret_bytes + MODEL_HEAD;
    uint16_t channel = (uint16_t)(10 + (shape & 1));
    uint32_t len = fuzz_below(fuzz, 3000);
    memset(payload, 0, len);
    if (shape < 4) { /* `len / 2` empty messages */
        len = len < 2 ? 2 : len & ~1u;
        weir_codec_native.frame_head(ret_bytes, MODEL_RUN, channel, len / 2, payload, len);
    } else {
        uint8_t kind = shape == 7 ? fuzz_u8(fuzz) : shape == 6 ? MODEL_MORE : MODEL_FIRST;
        uint32_t aux = fuzz_flag(fuzz) ? len : fuzz_below(fuzz, 9000);
        weir_codec_native.frame_head(ret_bytes, kind, channel, aux, payload, len);
    }
    return MODEL_HEAD + len;
}

static void kernel_receives(struct model *model, struct link *link, struct fuzz *fuzz)
{
    struct script_sock *at = sock_of(model, link);
    static uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX + 4096];
    if (!at || !at->is_receiving || model->script->lent_cnt >= 200)
        return;
    size_t len;
    uint32_t shape = fuzz_below(fuzz, 8);
    if (shape < 4) {
        len = peer_answer(model, link, bytes, sizeof(bytes));
    } else if (shape < 7) {
        len = peer_frame_bytes(fuzz, bytes);
    } else {
        const uint8_t *raw = fuzz_take(fuzz, fuzz_below(fuzz, 64), &len);
        memcpy(bytes, raw, len);
    }
    if (len == 0)
        return;
    bool has_more = fuzz_below(fuzz, 8) != 7;
    size_t cut = fuzz_flag(fuzz) && has_more ? 1 + fuzz_u16(fuzz) % len : len;
    script_recv_flags(model->script, link->sock, bytes, cut, has_more);
    if (cut < len)
        script_recv_flags(model->script, link->sock, bytes + cut, len - cut, true);
}

static void kernel_sends(struct model *model, struct link *link, struct fuzz *fuzz)
{
    struct script_sock *at = sock_of(model, link);
    if (!at || !at->is_sending)
        return;
    uint32_t shape = fuzz_below(fuzz, 8);
    int64_t res = shape == 7   ? bad_result(fuzz)
                  : shape == 6 ? fuzz_below(fuzz, 2)
                  : shape == 5 ? (int64_t)(fuzz_uint(fuzz, 3) % at->send_len)
                               : (int64_t)at->send_len;
    script_sent(model->script, link->sock, res);
}

static void kernel_ends(struct model *model, struct link *link, struct fuzz *fuzz)
{
    struct script_sock *at = sock_of(model, link);
    uint32_t what = fuzz_below(fuzz, 4);
    if (!at)
        return;
    if (what == 0 && at->is_connecting)
        script_connected(model->script, link->sock, fuzz_flag(fuzz) ? 0 : bad_result(fuzz));
    else if (what == 1 && at->is_receiving)
        script_recv_end(model->script, link->sock, fuzz_flag(fuzz) ? 0 : bad_result(fuzz));
    else if (what >= 2 && at->shutdown_cnt)
        script_shutdown_done(model->script, link->sock);
}

/* An event of a connection that this slot had before: the ring gives none, a fault in it might. */
static void kernel_confuses(struct model *model, struct fuzz *fuzz)
{
    uint64_t slot = fuzz_below(fuzz, 8);
    script_event(model->script,
                 &(struct weir_io_event){.token = UINT64_C(0xFFFFF0) << 32 | slot,
                                         .res = bad_result(fuzz),
                                         .kind = (uint16_t)(2 + fuzz_below(fuzz, 4))});
}

/* ---- what the application does --------------------------------------------------------------------- */

static void app_does(struct model *model, struct link *link, struct fuzz *fuzz)
{
    uint32_t what = fuzz_below(fuzz, 8);
    uint32_t slot = fuzz_below(fuzz, 8);
    if (what == 0) {
        weir_buf_unref(model->kept[slot]);
        model->kept[slot] = NULL;
    } else if (what == 1) {
        model->is_keeping = slot & 1;
    } else if (!is_live(link)) {
        return;
    } else if (what == 2) {
        weir_conn_close(link->conn, WEIR_R_APPLICATION, slot & 1);
    } else if (what == 3) {
        weir_conn_abort(link->conn, WEIR_R_APPLICATION);
    } else if (link->conn->state != WEIR_CONN_READY) {
        return;
    } else if (what == 4) {
        weir_conn_pause(link->conn, slot & 1, slot & 2);
    } else {
        size_t len = slot & 2 ? fuzz_below(fuzz, 100) : fuzz_below(fuzz, 20000);
        int error = what == 5 || len == 0 ? box_send(link->conn, slot & 1, len, len)
                    : what == 6           ? box_send_buf(link->conn, slot & 1, len, len)
                                          : box_send_shared(link->conn, slot & 1, len, len);
        FUZZ_CHECK(error == 0 || error == WEIR_E_FULL || error == WEIR_E_GONE ||
                   error == WEIR_E_NOMEM || error == WEIR_E_NO_CHANNEL);
    }
}

static void fail_soon(struct model *model, struct fuzz *fuzz)
{
    uint32_t *const countdowns[] = {&model->script->fail_recv, &model->script->fail_send,
                                    &model->script->fail_shutdown, &model->script->fail_connect};
    uint32_t what = fuzz_below(fuzz, 6);
    if (what < 4)
        *countdowns[what] = 1 + fuzz_below(fuzz, 3);
    else if (what == 4)
        model->script->is_refusing = !model->script->is_refusing;
    else
        weir_heap_fail_nth(1 + fuzz_below(fuzz, 3));
}

static void step(struct model *model, struct fuzz *fuzz)
{
    static const uint64_t waits[] = {1000000, 100000000, 1000000000, 16000000000, 70000000000};
    uint32_t op = fuzz_below(fuzz, 16);
    struct link *link = &model->links[fuzz_below(fuzz, LINKS)];
    if (op < 2)
        open_one(model, link, op);
    else if (op < 6)
        kernel_receives(model, link, fuzz);
    else if (op < 8)
        kernel_sends(model, link, fuzz);
    else if (op < 9)
        kernel_ends(model, link, fuzz);
    else if (op < 11)
        app_does(model, link, fuzz);
    else if (op < 12)
        fuzz_flag(fuzz) ? fail_soon(model, fuzz) : kernel_confuses(model, fuzz);
    else if (op < 13)
        model->script->now_ns += waits[fuzz_below(fuzz, 5)];
    if (op >= 12 || model->script->event_tail - model->script->event_head > 64) {
        box_turn(model->box);
        weir_heap_fail_nth(0);
    }
}

/* Everything is aborted; the kernel ends what was started; then nothing may be left. */
static void end_all(struct model *model)
{
    struct weir_hub *hub = &model->box->hub;
    struct script_io *script = model->script;
    script->is_refusing = false;
    script->fail_recv = script->fail_send = script->fail_shutdown = script->fail_connect = 0;
    for (uint32_t i = 0; i < 8; i++)
        weir_buf_unref(model->kept[i]);
    for (uint32_t round = 0; hub->metrics.conn_cnt; round++) {
        FUZZ_CHECK(round < 50);
        for (uint32_t i = 0; i < hub->cfg->peers_max; i++)
            weir_conn_abort(&hub->conns[i], WEIR_R_SHUTDOWN);
        for (int sock = 1; sock <= script->sock_cnt; sock++) {
            struct script_sock *at = &script->socks[sock];
            if (at->is_open && at->is_connecting)
                script_connected(script, sock, -ECANCELED);
            if (at->is_open && at->is_receiving && at->shut_how == 3)
                script_recv_end(script, sock, 0);
            if (at->is_open && at->is_sending && at->shut_how == 3)
                script_sent(script, sock, -EPIPE);
            while (at->is_open && at->shutdown_cnt)
                script_shutdown_done(script, sock);
        }
        box_turn(model->box);
    }
    for (int sock = 1; sock <= script->sock_cnt; sock++)
        FUZZ_CHECK(!script->socks[sock].is_open);
    FUZZ_CHECK(script->lent_cnt == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct fuzz fuzz = fuzz_begin(data, size);
    memset(&model, 0, sizeof(model));
    struct box *box = model.box = solo_new(CHANNELS);
    box->cfg.frame_bytes_max = 4096;
    box->cfg.peers_max = 3; /* one less than there are links */
    box->cfg.handshakes_max = 2;
    box->channels[1].overflow = WEIR_OVERFLOW_CLOSE;
    for (uint32_t i = 0; i < CHANNELS; i++) {
        box->channels[i].msg_bytes_max = box->channels[i].recv_bytes_max = 20000;
        box->channels[i].send_bytes_max = 40000;
    }
    box->ctx = &model;
    box->on_msg = on_msg;
    model.script = solo_open(box);
    model.script->is_manual = true;
    memcpy(model.descs, box->descs, sizeof(model.descs));
    model.offer = box->offer;
    model.offer.channels = model.descs;
    memset(model.offer.nonce, 0xEE, sizeof(model.offer.nonce));
    for (uint32_t i = 0; i < OPS_MAX && fuzz_has_more(&fuzz); i++)
        step(&model, &fuzz);
    weir_heap_fail_nth(0);
    end_all(&model);
    for (uint32_t i = 0; i < box->cfg.peers_max; i++)
        FUZZ_CHECK(box->hub.conns[i].state == WEIR_CONN_FREE);
    FUZZ_CHECK(box->end_cnt == model.opened_cnt);
    for (uint32_t i = 0; i < LINKS; i++)
        free(model.links[i].codec);
    box_free(box);
    return 0;
}
