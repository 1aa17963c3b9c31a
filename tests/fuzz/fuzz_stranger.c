/* A hub on the simulated network, and strangers who connect, say anything, and go: whatever they say and whatever
 * the ring does meanwhile, every connection ends once and nothing is left.
 *
 * input: how badly the ring behaves, then operations of up to four strangers.
 *
 * Strangers may speak first (with a right hello, a right frame, or bytes of the input), be dialed, stop reading,
 * shut either way, reset. A message is only delivered if a stranger sent its bytes.
 */
#include "tests/fuzz/small_box.h"
#include "tests/fuzz/wire_model.h"

#include "engine/sim/sim_io.h"

#define STRANGERS 4u
#define OPS_MAX 120u
#define TOKEN_ACCEPT UINT64_C(0xFF000000)
#define MARK 0xC7u /* every byte of a message that a stranger sends */

struct model {
    struct weir_sim *sim;
    struct box *box;
    struct weir_addr addr; /* the hub's */
    struct weir_addr raw_addr;
    int raw_listener;
    int socks[STRANGERS]; /* 0: none */
    struct weir_offer offer;
    uint32_t opened_cnt; /* connections of the hub */
    uint32_t delivered_cnt;
};

static void on_accept(struct box *box, const struct weir_io_event *event)
{
    struct model *model = box->ctx;
    struct weir_conn *conn;
    if (event->res >= 0) {
        int error = weir_conn_accept(&box->hub, event->res, &conn);
        if (error)
            box->io->ops->close(box->io, event->res);
        else
            model->opened_cnt++;
    }
    if (!(event->flags & WEIR_IO_MORE))
        FUZZ_CHECK(box->io->ops->accept(box->io, box->last_listener, TOKEN_ACCEPT) == 0);
}

static void on_msg(struct box *box, const struct box_pending *msg)
{
    struct model *model = box->ctx;
    model->delivered_cnt++;
    for (uint32_t i = 0; i < msg->len; i++)
        FUZZ_CHECK(msg->data[i] == MARK);
}

static void shuffle(struct weir_sim_config *ret_cfg, struct fuzz *fuzz)
{
    uint32_t ppm = 1u << fuzz_below(fuzz, 19);
    ret_cfg->send_chunk_max = fuzz_u8(fuzz);
    ret_cfg->recv_chunk_max = fuzz_u16(fuzz);
    ret_cfg->delay_max_ns = (uint64_t)fuzz_u8(fuzz) << 14;
    ret_cfg->latency_ns = (uint64_t)fuzz_u8(fuzz) << 16;
    uint8_t which = fuzz_u8(fuzz);
    ret_cfg->recv_end_ppm = which & 1 ? ppm : 0;
    ret_cfg->accept_fail_ppm = which & 4 ? ppm : 0;
    ret_cfg->connect_fail_ppm = which & 8 ? ppm : 0;
    ret_cfg->reset_ppm = which & 16 ? ppm / 8 : 0;
    ret_cfg->flood_ppm = which & 32 ? ppm : 0;
}

/* ---- what strangers do ----------------------------------------------------------------------------- */

static void say(struct model *model, int sock, const void *bytes, size_t len)
{
    if (len)
        (void)weir_sim_raw_write(model->sim, sock, bytes, len); /* what does not fit is lost */
}

static void say_hello(struct model *model, int sock, bool is_dialer)
{
    /* All that a side says in a handshake, from a codec that talks to itself. */
    void *states[2] = {calloc(1, weir_codec_native.state_bytes),
                       calloc(1, weir_codec_native.state_bytes)};
    struct weir_offer other = model->offer;
    other.nonce[0] ^= 1;
    for (int i = 0; i < 2; i++)
        weir_codec_native.begin(states[i], i ? &other : &model->offer, i ? !is_dialer : is_dialer);
    uint8_t bytes[2][WEIR_HANDSHAKE_OUT_MAX];
    size_t lens[2] = {0, 0}, heard[2] = {0, 0};
    for (int round = 0; round < 8; round++) {
        int from = round & 1;
        lens[from] += weir_codec_native.pull(states[from], bytes[from] + lens[from],
                                             sizeof(bytes[from]) - lens[from]);
        struct weir_feed feed;
        struct weir_frame frames[1];
        weir_codec_native.feed(states[!from], bytes[from] + heard[!from], lens[from] - heard[!from],
                               frames, 1, &feed);
        heard[!from] += feed.consumed;
    }
    say(model, sock, bytes[0], lens[0]);
    free(states[0]);
    free(states[1]);
}

static void say_frame(struct model *model, int sock, struct fuzz *fuzz)
{
    uint8_t bytes[MODEL_HEAD + 2048];
    uint8_t *payload = bytes + MODEL_HEAD;
    uint32_t len = 1 + fuzz_below(fuzz, 2000);
    uint16_t channel = (uint16_t)(10 + fuzz_below(fuzz, 2));
    uint8_t kind = (uint8_t)(1 + fuzz_below(fuzz, 3));
    uint32_t aux = kind == MODEL_RUN || fuzz_flag(fuzz) ? len : len + fuzz_below(fuzz, 4000);
    memset(payload, MARK, len);
    if (kind == MODEL_RUN) {
        len += 2;
        aux = 1;
        model_put(payload, 2, len - 2);
        memset(payload + 2, MARK, len - 2);
    }
    weir_codec_native.frame_head(bytes, kind, channel, aux, payload, len);
    if (fuzz_below(fuzz, 16) == 15)
        bytes[fuzz_u16(fuzz) % (MODEL_HEAD + len)] ^= 0x04;
    say(model, sock, bytes, MODEL_HEAD + len);
}

static void say_anything(struct model *model, int sock, struct fuzz *fuzz)
{
    size_t len;
    uint8_t options = fuzz_u8(fuzz);
    const uint8_t *raw = fuzz_take(fuzz, fuzz_below(fuzz, 600), &len);
    uint8_t *bytes = fuzz_copy(raw, len);
    size_t head = len > 9 && bytes[0] == 0x89 ? 9 : 0;
    model_repair(bytes + head, len - head, options & (MODEL_REPAIR_LENGTHS | MODEL_REPAIR_VERSION));
    say(model, sock, bytes, len);
    free(bytes);
}

static void stranger_does(struct model *model, uint32_t idx, struct fuzz *fuzz)
{
    int *sock = &model->socks[idx];
    uint32_t op = fuzz_below(fuzz, 16);
    uint8_t heap[512];
    if (*sock <= 0) {
        int made = op & 1 ? weir_sim_raw_dial(model->sim, &model->addr, NULL)
                          : weir_sim_raw_accept(model->sim, model->raw_listener);
        *sock = made > 0 ? made : 0;
    } else if (op < 4) {
        say_hello(model, *sock, op & 1);
    } else if (op < 8) {
        say_frame(model, *sock, fuzz);
    } else if (op < 10) {
        say_anything(model, *sock, fuzz);
    } else if (op < 13) {
        while (weir_sim_raw_read(model->sim, *sock, heap, sizeof(heap)) > 0 && op != 12) {
        }
    } else if (op < 14) {
        weir_sim_raw_shutdown(model->sim, *sock, (int)fuzz_below(fuzz, 3));
    } else if (op < 15) {
        weir_sim_raw_close(model->sim, *sock);
        *sock = 0;
    } else {
        weir_sim_reset(model->sim, *sock);
    }
}

/* ---- what the hub does ------------------------------------------------------------------------------ */

static void hub_does(struct model *model, struct fuzz *fuzz)
{
    struct weir_hub *hub = &model->box->hub;
    struct weir_conn *conn = &hub->conns[fuzz_below(fuzz, hub->cfg->peers_max)];
    uint32_t op = fuzz_below(fuzz, 8);
    if (op == 0) {
        model->opened_cnt += weir_conn_dial(hub, &model->raw_addr, 0, &conn) == 0;
    } else if (conn->state == WEIR_CONN_READY && op < 6) {
        size_t len = fuzz_below(fuzz, 20000);
        (void)box_send(conn, op & 1, len, len); /* full is fine */
    } else if (conn->state != WEIR_CONN_FREE) {
        weir_conn_close(conn, WEIR_R_APPLICATION, op & 1);
    }
}

static void run(struct model *model, uint32_t steps)
{
    for (uint32_t i = 0; i < steps; i++) {
        box_turn(model->box);
        if (!weir_sim_step(model->sim))
            return;
    }
}

static void begin(struct model *model, struct fuzz *fuzz)
{
    struct weir_sim_config cfg = {.seed = fuzz_u16(fuzz), .window_bytes = 4096};
    static const struct weir_io_config io_cfg = {
        .sq_cnt = 16, .cq_cnt = 32, .recv_buf_bytes = 2048, .recv_buf_cnt = 4};
    shuffle(&cfg, fuzz);
    FUZZ_CHECK(weir_sim_create(&model->sim, &cfg) == 0);
    struct box *box = model->box = box_new(2);
    box->cfg.frame_bytes_max = 4096;
    for (uint32_t i = 0; i < 2; i++)
        box->channels[i].msg_bytes_max = box->channels[i].recv_bytes_max = 20000;
    box->ctx = model;
    box->on_accept = on_accept;
    box->on_msg = on_msg;
    struct weir_io *io;
    FUZZ_CHECK(weir_sim_io_create(model->sim, 1, &io_cfg, &io) == 0);
    FUZZ_CHECK(box_open(box, io) == 0);
    struct weir_addr at;
    FUZZ_CHECK(weir_addr_parse(&at, "10.0.0.1:7000") == 0);
    box->last_listener = io->ops->listen(io, &at, false, &model->addr);
    FUZZ_CHECK(box->last_listener >= 0);
    FUZZ_CHECK(io->ops->accept(io, box->last_listener, TOKEN_ACCEPT) == 0);
    FUZZ_CHECK(weir_addr_parse(&at, "192.0.2.9:1") == 0);
    model->raw_listener = weir_sim_raw_listen(model->sim, &at, &model->raw_addr);
    FUZZ_CHECK(model->raw_listener >= 0);
    model->offer = box->offer;
    memset(model->offer.nonce, 0xEE, sizeof(model->offer.nonce));
}

static void end(struct model *model)
{
    struct weir_hub *hub = &model->box->hub;
    weir_sim_configure(model->sim, &(struct weir_sim_config){0}); /* a perfect network again */
    for (uint32_t round = 0; hub->metrics.conn_cnt; round++) {
        FUZZ_CHECK(round < 1000);
        for (uint32_t i = 0; i < hub->cfg->peers_max; i++)
            weir_conn_abort(&hub->conns[i], WEIR_R_SHUTDOWN);
        run(model, 4);
    }
    FUZZ_CHECK(model->box->end_cnt == model->opened_cnt);
    FUZZ_CHECK(weir_sim_lent_cnt(model->box->io) == 0);
    box_free(model->box);
    weir_sim_free(model->sim);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct fuzz fuzz = fuzz_begin(data, size);
    memset(&model, 0, sizeof(model));
    begin(&model, &fuzz);
    for (uint32_t i = 0; i < OPS_MAX && fuzz_has_more(&fuzz); i++) {
        uint32_t op = fuzz_below(&fuzz, 16);
        if (op < 10)
            stranger_does(&model, op % STRANGERS, &fuzz);
        else if (op < 12)
            hub_does(&model, &fuzz);
        else if (op < 13)
            weir_sim_advance(model.sim, (uint64_t)fuzz_u16(&fuzz) << 22);
        run(&model, op < 13 ? 2 : 1 + fuzz_u8(&fuzz) % 32);
    }
    end(&model);
    return 0;
}
