/* Two hubs that talk over a simulated network which cuts and delays as it likes: every message that was taken
 * arrives, once, whole, in its channel's order; then all accounts are even.
 *
 * input: sizes and weights, how badly network and rings behave, then operations of both sides. Nothing in it
 * breaks a connection, so none may end.
 */
#define BOX_MSGS 512u

#include "tests/fuzz/fuzz.h"
#include "tests/unit/conn/pair.h"

#define CHANNELS 3u
#define OPS_MAX 60u

static void shuffle(struct weir_sim_config *ret_cfg, struct fuzz *fuzz)
{
    static const uint32_t chunks[] = {0, 0, 17, 100, 1000, 5000};
    ret_cfg->send_chunk_max = chunks[fuzz_below(fuzz, 6)];
    ret_cfg->recv_chunk_max = chunks[fuzz_below(fuzz, 6)];
    ret_cfg->delay_max_ns = (uint64_t)fuzz_u8(fuzz) << 12;
    ret_cfg->latency_ns = (uint64_t)fuzz_u8(fuzz) << 12;
    ret_cfg->recv_end_ppm = fuzz_flag(fuzz) ? 1u << fuzz_below(fuzz, 19) : 0;
    ret_cfg->flood_ppm = fuzz_flag(fuzz) ? 1u << fuzz_below(fuzz, 19) : 0;
}

static struct pair *begin(struct fuzz *fuzz)
{
    struct weir_sim_config cfg = {.window_bytes = 4096u << fuzz_below(fuzz, 4)};
    struct weir_io_config io_cfg = {.sq_cnt = 16,
                                    .cq_cnt = 16u << fuzz_below(fuzz, 3),
                                    .recv_buf_bytes = 2048u << fuzz_below(fuzz, 4),
                                    .recv_buf_cnt = 2u << fuzz_below(fuzz, 2)};
    shuffle(&cfg, fuzz);
    cfg.seed = 1 + (uint64_t)fuzz_u16(fuzz);
    struct pair *pair = pair_new(cfg.seed, &cfg, CHANNELS);
    for (uint32_t side = 0; side < 2; side++) {
        struct box *box = pair->boxes[side];
        box->cfg.peers_max = 2;
        box->cfg.frame_bytes_max = 4096 + fuzz_below(fuzz, 3) * 7000;
        for (uint32_t c = 0; c < CHANNELS; c++) {
            struct weir_channel *channel = &box->channels[c];
            channel->recv_bytes_max = channel->msg_bytes_max = 16384 + fuzz_below(fuzz, 20000);
            channel->send_bytes_max = 40000;
            channel->weight = (uint16_t)(1 + fuzz_below(fuzz, 5));
        }
        box->channels[0].flags = fuzz_flag(fuzz) ? WEIR_CHANNEL_URGENT : 0;
    }
    pair_open(pair, &io_cfg);
    pair_connect(pair, 0);
    return pair;
}

static void step(struct pair *pair, struct fuzz *fuzz)
{
    uint32_t op = fuzz_below(fuzz, 16);
    uint32_t side = op & 1, idx = fuzz_below(fuzz, CHANNELS);
    struct link *link = &pair->links[0];
    if (op < 10) {
        size_t len = op < 5 ? fuzz_below(fuzz, 200) : fuzz_below(fuzz, 33000);
        size_t len_max = pair->boxes[!side]->channels[idx].msg_bytes_max;
        enum pair_way way = (enum pair_way)fuzz_below(fuzz, 3);
        int error = pair_send(pair, link, side, idx, len < len_max ? len : len_max, way);
        FUZZ_CHECK(error == 0 || error == WEIR_E_FULL);
    } else if (op < 13) {
        for (uint32_t i = fuzz_u8(fuzz) % 32; i > 0 && !pair->fault[0]; i--)
            pair_step(pair);
    } else if (op < 14) {
        pair->keep_ppm = fuzz_flag(fuzz) ? 500000 : 0;
    } else if (op < 15) {
        pair_release(pair, fuzz_below(fuzz, PAIR_KEPT));
    } else {
        weir_conn_pause(link->conns[side], idx, fuzz_flag(fuzz));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_begin(data, size);
    struct pair *pair = begin(&fuzz);
    for (uint32_t i = 0; i < OPS_MAX && fuzz_has_more(&fuzz) && !pair->fault[0]; i++)
        step(pair, &fuzz);
    pair->keep_ppm = 0;
    for (uint32_t i = 0; i < PAIR_KEPT; i++)
        pair_release(pair, i);
    for (uint32_t side = 0; side < 2; side++) {
        for (uint32_t c = 0; c < CHANNELS && !pair->fault[0]; c++)
            weir_conn_pause(pair->links[0].conns[side], c, false);
    }
    run_dry(pair);
    expect_dry(pair);
    if (pair->fault[0]) {
        dprintf(2, "%s\n", pair->fault);
        abort();
    }
    pair_free(pair);
    return 0;
}
