/* The same small operation scripts on the simulator, for many seeds, and on this machine's kernel, several
 * times: what the kernel does must be among what the simulator allows. A plain program, so that it can
 * also run as the only process of a virtual machine. Usage: conformance [-v] */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/io/io.h"
#include "engine/sim/sim_io.h"
#include "weir/base.h"
#include "weir/error.h"

#define SIM_SEEDS 200u
#define KERNEL_RUNS 3
#define OUTCOMES_MAX 512
#define TEXT_BYTES 256

/* One run of a script: an io, of the kernel or of a world, and what was seen. */
struct stage {
    struct weir_io *io;
    struct weir_sim *sim; /* NULL: the kernel */
    int listener, dialed, accepted;
    struct weir_addr addr;
    bool is_lazy; /* receive buffers are not given back at once */
    uint32_t held[64], held_cnt;
    bool is_armed[8]; /* receives, by token */
    size_t to_send;   /* bytes that a send has not taken yet */
    struct iovec iov;
    size_t received; /* bytes, of which each is checked */
    char text[TEXT_BYTES];
    bool is_wrong;
};

static uint8_t payload[1 << 22];

static void note(struct stage *stage, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same again is said once: how many pieces a stream comes in is nobody's promise. */
static void note(struct stage *stage, const char *format, ...)
{
    char word[64];
    va_list args;
    va_start(args, format);
    vsnprintf(word, sizeof(word), format, args);
    va_end(args);
    size_t len = strlen(stage->text), word_len = strlen(word);
    if (len >= word_len && strcmp(stage->text + len - word_len, word) == 0)
        return;
    snprintf(stage->text + len, TEXT_BYTES - len, "%s", word);
}

/* The next event; false: nothing comes any more. */
static bool next(struct stage *stage, struct weir_io_event *ret_event)
{
    for (int i = 0; i < 100000; i++) {
        uint64_t wait_ns = stage->sim ? WEIR_NS_FOREVER : 60 * WEIR_NS_PER_MS;
        int64_t cnt = stage->io->ops->turn(stage->io, ret_event, 1, wait_ns);
        if (cnt == 1)
            return true;
        if (stage->sim ? !weir_sim_step(stage->sim) : i >= 1)
            return false;
    }
    return false;
}

static void take(struct stage *stage, const struct weir_io_event *event)
{
    static const char *const names[] = {"?", "accept", "connect", "recv", "send", "shutdown"};
    if (event->flags & WEIR_IO_BUF) {
        for (int32_t i = 0; i < event->res; i++)
            stage->is_wrong |= event->data[i] != payload[stage->received + (size_t)i];
        stage->received += event->res > 0 ? (size_t)event->res : 0;
        if (stage->is_lazy && stage->held_cnt < 64)
            stage->held[stage->held_cnt++] = event->buf_idx;
        else
            stage->io->ops->recv_done(stage->io, event->buf_idx);
    }
    if (event->kind == WEIR_IO_RECV && !(event->flags & WEIR_IO_MORE))
        stage->is_armed[event->token & 7] = false;
    if (event->kind == WEIR_IO_SEND && event->res > 0 && (size_t)event->res < stage->to_send) {
        stage->to_send -= (size_t)event->res; /* short: the rest */
        stage->iov.iov_base = (uint8_t *)stage->iov.iov_base + event->res;
        stage->iov.iov_len = stage->to_send;
        stage->is_wrong |= stage->io->ops->send(stage->io, stage->dialed, &stage->iov, 1, 4) != 0;
    }
    const char *more = event->flags & WEIR_IO_MORE ? "+" : "";
    if (event->res > 0 || event->kind == WEIR_IO_ACCEPT)
        note(stage, "%s%llu:%s%s ", names[event->kind], (unsigned long long)event->token,
             event->res >= 0 ? "ok" : strerrorname_np(-event->res), more);
    else
        note(stage, "%s%llu:%s%s ", names[event->kind], (unsigned long long)event->token,
             event->res == 0 ? "0" : strerrorname_np(-event->res), more);
}

static void settle(struct stage *stage)
{
    struct weir_io_event event;
    while (next(stage, &event))
        take(stage, &event);
}

static void join(struct stage *stage)
{
    struct weir_io_event event;
    const struct weir_io_ops *ops = stage->io->ops;
    if (ops->accept(stage->io, stage->listener, 1) != 0 ||
        ops->connect(stage->io, &stage->addr, 2, &stage->dialed) != 0)
        stage->is_wrong = true;
    for (int i = 0; i < 2 && next(stage, &event); i++) {
        if (event.kind == WEIR_IO_ACCEPT)
            stage->accepted = event.res;
        if (!(event.flags & WEIR_IO_MORE) && event.kind == WEIR_IO_ACCEPT)
            (void)ops->accept(stage->io, stage->listener, 1); /* it ended on a good event */
    }
    stage->is_wrong |= stage->accepted < 0;
}

static void send_bytes(struct stage *stage, size_t len)
{
    stage->to_send = len;
    stage->iov = (struct iovec){payload, len};
    stage->is_wrong |= stage->io->ops->send(stage->io, stage->dialed, &stage->iov, 1, 4) != 0;
}

static void arm(struct stage *stage, int sock, uint64_t token)
{
    if (stage->is_armed[token & 7])
        return;
    stage->is_armed[token & 7] = true;
    stage->is_wrong |= stage->io->ops->recv(stage->io, sock, token) != 0;
}

static void shut(struct stage *stage, int sock, int how)
{
    stage->is_wrong |= stage->io->ops->shutdown(stage->io, sock, how, 5) != 0;
}

/* ---- scripts: dialed sends (4) and receives (6), accepted receives (3) ------------------------- */

static void bytes_arrive(struct stage *stage)
{
    join(stage);
    arm(stage, stage->accepted, 3);
    send_bytes(stage, 1000);
    settle(stage);
    note(stage, "%zu bytes", stage->received);
}

static void a_half_close_is_an_end(struct stage *stage)
{
    join(stage);
    arm(stage, stage->accepted, 3);
    shut(stage, stage->dialed, SHUT_WR);
    settle(stage);
}

static void an_end_is_said_again(struct stage *stage)
{
    a_half_close_is_an_end(stage);
    arm(stage, stage->accepted, 3);
    settle(stage);
}

static void shutting_ends_ones_own_receive(struct stage *stage)
{
    join(stage);
    arm(stage, stage->dialed, 6);
    settle(stage);
    shut(stage, stage->dialed, SHUT_RDWR);
    settle(stage);
}

static void nothing_is_sent_after_a_shutdown(struct stage *stage)
{
    join(stage);
    shut(stage, stage->dialed, SHUT_WR);
    settle(stage);
    send_bytes(stage, 10);
    settle(stage);
}

static void closing_over_unread_bytes_resets(struct stage *stage)
{
    join(stage);
    send_bytes(stage, 100);
    settle(stage);
    arm(stage, stage->dialed, 6);
    stage->io->ops->close(stage->io, stage->accepted);
    stage->accepted = -1;
    settle(stage);
}

static void closing_is_an_end_for_the_other(struct stage *stage)
{
    join(stage);
    arm(stage, stage->dialed, 6);
    stage->io->ops->close(stage->io, stage->accepted);
    stage->accepted = -1;
    settle(stage);
    send_bytes(stage, 10); /* taken, and answered by a reset */
    settle(stage);
    send_bytes(stage, 10);
    settle(stage);
}

static void a_reset_ends_a_send_that_waits(struct stage *stage)
{
    struct weir_io_event event;
    join(stage);
    size_t len = stage->sim ? 200000 : sizeof(payload); /* more than either holds */
    send_bytes(stage, len);
    while (next(stage, &event)) { /* until the kernels hold all they may */
        if (stage->to_send == (size_t)event.res)
            send_bytes(stage, len);
        else
            take(stage, &event);
    }
    stage->text[0] = '\0';
    stage->io->ops->close(stage->io, stage->accepted);
    stage->accepted = -1;
    settle(stage);
}

static void buffers_run_out(struct stage *stage)
{
    join(stage);
    stage->is_lazy = true;
    arm(stage, stage->accepted, 3);
    send_bytes(stage, 60000); /* of 8 x 4,096 */
    settle(stage);
    while (stage->held_cnt > 0)
        stage->io->ops->recv_done(stage->io, stage->held[--stage->held_cnt]);
    stage->is_lazy = false;
    arm(stage, stage->accepted, 3);
    settle(stage);
}

static void a_cancelled_accept_ends(struct stage *stage)
{
    stage->is_wrong |= stage->io->ops->accept(stage->io, stage->listener, 1) != 0;
    settle(stage);
    stage->is_wrong |= stage->io->ops->cancel(stage->io, 1) != 0;
    settle(stage);
}

static void nobody_listens(struct stage *stage)
{
    struct weir_addr nobody;
    (void)weir_addr_parse(&nobody, "127.0.0.1:1");
    stage->is_wrong |= stage->io->ops->connect(stage->io, &nobody, 2, &stage->dialed) != 0;
    settle(stage);
}

static void the_queue_overflows(struct stage *stage)
{
    join(stage);
    send_bytes(stage, 28000); /* as many events as there are buffers */
    arm(stage, stage->accepted, 3);
    for (int i = 0; i < 40; i++) {
        settle(stage);
        size_t len = strlen(stage->text);
        if (len < 9 || strcmp(stage->text + len - 9, "recv3:ok ") != 0)
            break;
        arm(stage, stage->accepted, 3); /* it ended on a good event */
    }
    stage->text[0] = '\0'; /* how often it ended is the queue's business */
    note(stage, "%s", stage->received > 0 ? "bytes" : "none");
}

static const struct {
    const char *name;
    void (*run)(struct stage *stage);
} scripts[] = {
    {"bytes_arrive", bytes_arrive},
    {"a_half_close_is_an_end", a_half_close_is_an_end},
    {"an_end_is_said_again", an_end_is_said_again},
    {"shutting_ends_ones_own_receive", shutting_ends_ones_own_receive},
    {"nothing_is_sent_after_a_shutdown", nothing_is_sent_after_a_shutdown},
    {"closing_over_unread_bytes_resets", closing_over_unread_bytes_resets},
    {"closing_is_an_end_for_the_other", closing_is_an_end_for_the_other},
    {"a_reset_ends_a_send_that_waits", a_reset_ends_a_send_that_waits},
    {"buffers_run_out", buffers_run_out},
    {"a_cancelled_accept_ends", a_cancelled_accept_ends},
    {"nobody_listens", nobody_listens},
    {"the_queue_overflows", the_queue_overflows},
};

/* ---- running ------------------------------------------------------------------------------- */

static const struct weir_io_config io_cfg = {
    .sq_cnt = 8, .cq_cnt = 16, .recv_buf_bytes = 4096, .recv_buf_cnt = 8};

static int perform(size_t script, struct weir_sim *sim, char ret_text[TEXT_BYTES])
{
    struct stage stage = {.sim = sim, .listener = -1, .dialed = -1, .accepted = -1};
    struct weir_addr any;
    (void)weir_addr_parse(&any, "127.0.0.1:0");
    int error = sim ? weir_sim_io_create(sim, 1, &io_cfg, &stage.io)
                    : weir_io_uring_create(&stage.io, &io_cfg);
    if (error)
        return error;
    if (stage.io->ops->enable(stage.io) != 0)
        return WEIR_E_SYSTEM;
    stage.listener = stage.io->ops->listen(stage.io, &any, false, &stage.addr);
    if (stage.listener < 0)
        return stage.listener;
    scripts[script].run(&stage);
    snprintf(ret_text, TEXT_BYTES, "%.240s%s", stage.text, stage.is_wrong ? " WRONG" : "");
    /* The end of a ring ends what is in flight on it; the simulator's sockets end with it too. */
    if (sim)
        weir_sim_io_kill(stage.io, false);
    struct weir_io_event event;
    if (sim)
        (void)stage.io->ops->turn(stage.io, &event, 1, 0);
    stage.io->ops->free(stage.io);
    if (!sim) {
        int socks[] = {stage.listener, stage.dialed, stage.accepted};
        for (int i = 0; i < 3; i++)
            if (socks[i] >= 0)
                close(socks[i]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    bool is_loud = argc > 1 && strcmp(argv[1], "-v") == 0;
    int bad_cnt = 0;
    for (size_t i = 0; i < sizeof(payload); i++)
        payload[i] = (uint8_t)((i * UINT64_C(0x9E3779B97F4A7C15)) >> 56);
    for (size_t s = 0; s < sizeof(scripts) / sizeof(scripts[0]); s++) {
        static char allowed[OUTCOMES_MAX][TEXT_BYTES];
        uint32_t allowed_cnt = 0;
        for (uint64_t seed = 0; seed < SIM_SEEDS; seed++) {
            struct weir_sim_config cfg = {
                .seed = seed,
                .send_chunk_max = seed % 5 == 1 ? 700 : 0,
                .recv_chunk_max = seed % 7 == 1 ? 900 : 0,
                .delay_max_ns = seed % 2 ? 2 * WEIR_NS_PER_MS : 0,
                .latency_ns = seed % 3 ? WEIR_NS_PER_MS : 0,
                .flood_ppm = seed % 4 ? 0 : 500000,
                .recv_run_max = seed % 6 ? 1 : 32,
            };
            char text[TEXT_BYTES];
            struct weir_sim *sim;
            if (weir_sim_create(&sim, &cfg) != 0 || perform(s, sim, text) != 0)
                return 1;
            weir_sim_free(sim);
            uint32_t k = 0;
            while (k < allowed_cnt && strcmp(allowed[k], text) != 0)
                k++;
            if (k == allowed_cnt && allowed_cnt < OUTCOMES_MAX)
                memcpy(allowed[allowed_cnt++], text, TEXT_BYTES);
        }
        for (int run = 0; run < KERNEL_RUNS; run++) {
            char text[TEXT_BYTES];
            int error = perform(s, NULL, text);
            if (error == WEIR_E_NO_URING || error == WEIR_E_KERNEL) {
                puts("no io_uring here");
                return 77;
            }
            bool is_allowed = false;
            for (uint32_t k = 0; error == 0 && k < allowed_cnt; k++)
                is_allowed |= strcmp(allowed[k], text) == 0;
            if (is_loud && run == 0)
                printf("%-36s %3u  %s\n", scripts[s].name, allowed_cnt, text);
            if (is_allowed)
                continue;
            bad_cnt++;
            printf("%s: the kernel does what the simulator does not allow:\n    %s\nallowed:\n",
                   scripts[s].name, error ? weir_error_name(error) : text);
            for (uint32_t k = 0; k < allowed_cnt && k < 8; k++)
                printf("    %s\n", allowed[k]);
            break;
        }
    }
    printf("conformance: %zu scripts, %d not allowed\n", sizeof(scripts) / sizeof(scripts[0]),
           bad_cnt);
    return bad_cnt ? 1 : 0;
}
