#include "bench/strangers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/weir_side.h"

#define STRANGERS_MAX 128u
#define TURN_NS WEIR_NS_PER_MS
#define PATIENCE_NS \
    (100 * WEIR_NS_PER_MS) /* who is not answered by then makes place for the next */

static void fail(struct bench_strangers *strangers, const char *what, const char *why)
{
    bench_fail(strangers->run, BENCH_E_RUN, "strangers: %s: %s", what, why);
    atomic_store(&strangers->is_failed, true);
}

static bool has_to_go_on(const struct bench_strangers *strangers)
{
    return !atomic_load(&strangers->has_to_stop) && !atomic_load(&strangers->is_failed);
}

/* ---- whole handshakes -------------------------------------------------------------------------- */

struct dialer {
    struct bench_strangers *strangers;
    weir_node *node;
    uint32_t under_way;
};

static void dialer_on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    struct dialer *dialer = ctx;

    if (event == WEIR_PEER_UP) {
        (void)weir_disconnect(dialer->node, peer, WEIR_R_NONE);
        return;
    }
    dialer->under_way--;
    /* On a machine that is busy this thread may not have run for as long as any deadline. */
    bool is_late = reason == WEIR_R_HANDSHAKE_TIMEOUT || reason == WEIR_R_DIAL_TIMEOUT;
    if (event == WEIR_PEER_FAILED && !is_late && has_to_go_on(dialer->strangers))
        fail(dialer->strangers, "a handshake failed", weir_reason_text(reason));
}

static int dialer_open(struct dialer *dialer)
{
    const struct bench_run *run = dialer->strangers->run;
    const struct weir_reactor reactor = {
        .size = sizeof(reactor), .ctx = dialer, .on_peer = dialer_on_peer};
    struct weir_channel channel;
    struct weir_config cfg;

    weir_config_init(&cfg);
    weir_side_transport(run, &cfg);
    cfg.flags = WEIR_CONFIG_CALLER_TURNS | WEIR_CONFIG_TWINS;
    cfg.network_id = "weir-bench";
    cfg.tcp_congestion = run->job->congestion;
    cfg.spin_ns = 1; /* it has the core only when nobody else wants it */
    weir_channel_init(&channel, 0);
    int error = weir_node_create(&dialer->node, &cfg);
    if (error == 0)
        error = weir_node_attach(dialer->node, &reactor, &channel, 1);
    return error == 0 ? weir_node_start(dialer->node) : error;
}

static void dial(struct bench_strangers *strangers)
{
    struct dialer dialer = {.strangers = strangers};
    const uint32_t most = strangers->run->job->conn_cnt;
    char address[32];
    int64_t error = dialer_open(&dialer);

    snprintf(address, sizeof(address), "127.0.0.1:%u", strangers->port);
    while (error >= 0 && has_to_go_on(strangers)) {
        for (; error >= 0 && dialer.under_way < most; dialer.under_way++)
            error = weir_dial(dialer.node, address, 0);
        if (error >= 0)
            error = weir_node_turn(dialer.node, 0, TURN_NS);
    }
    if (error < 0)
        fail(strangers, "a node of their own", weir_error_text((int)error));
    if (dialer.node != NULL && weir_node_stop(dialer.node, 0) == 0)
        while (weir_node_turn(dialer.node, 0, TURN_NS) >= 0)
            ;
    weir_node_free(dialer.node);
}

/* ---- a flood ------------------------------------------------------------------------------------- */

/* docs/wire-v2.md: preface, length, message 1 of pattern XX. Any 32 bytes are a key. */
#define PREFACE_BYTES 16u
#define OPENING_BYTES (PREFACE_BYTES + 2u + 32u)
#define ASK_BYTES (9u + 32u)

struct stranger {
    int sock;        /* -1: none */
    bool is_patient; /* it comes back with the cookie; the others go when they are asked */
    bool has_cookie;
    weir_ns since;
    uint8_t opening[OPENING_BYTES];
};

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static void opening_make(uint8_t *ret_opening, uint8_t cipher, uint64_t *random)
{
    static const uint8_t begin[PREFACE_BYTES] = {0x89, 'W', 'E', 'I', 'R', 0x0D, 0x0A,
                                                 0x1A, 'S', 2,   2,   1,   0,    0x83};
    memcpy(ret_opening, begin, sizeof(begin));
    ret_opening[12] = cipher;
    ret_opening[PREFACE_BYTES] = 32;
    ret_opening[PREFACE_BYTES + 1] = 0;
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t word = next_random(random);
        memcpy(ret_opening + PREFACE_BYTES + 2 + i * sizeof(word), &word, sizeof(word));
    }
}

/* With a reset: 10,000 a second would otherwise leave as many sockets behind. */
static void leave(struct stranger *stranger)
{
    const struct linger at_once = {.l_onoff = 1};

    if (stranger->sock >= 0) {
        (void)setsockopt(stranger->sock, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        close(stranger->sock);
    }
    stranger->sock = -1;
}

/* Comes from anywhere in 127.0.0.0/8, so that hardly two are of one address or subnet. */
static bool come(struct stranger *stranger, uint16_t port, uint8_t cipher, uint64_t *random)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};

    from.sin_addr.s_addr = htonl(0x7F000002u + (uint32_t)(next_random(random) % 0xFFFF00u));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    stranger->sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (stranger->sock < 0)
        return false;
    stranger->has_cookie = false;
    stranger->since = bench_now();
    opening_make(stranger->opening, cipher, random);
    if (bind(stranger->sock, (struct sockaddr *)&from, sizeof(from)) == 0 &&
        (connect(stranger->sock, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS))
        (void)send(stranger->sock, stranger->opening, OPENING_BYTES, MSG_NOSIGNAL);
    return true;
}

/* Something came: the cookie goes back once; at anything else it goes. */
static void hear(struct stranger *stranger)
{
    uint8_t in[512], out[ASK_BYTES + OPENING_BYTES];
    ssize_t len = recv(stranger->sock, in, sizeof(in), 0);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (!stranger->is_patient || stranger->has_cookie || len != (ssize_t)ASK_BYTES ||
        in[8] != 'c') {
        leave(stranger);
        return;
    }
    in[8] = 'C';
    memcpy(out, in, ASK_BYTES);
    memcpy(out + ASK_BYTES, stranger->opening, OPENING_BYTES);
    stranger->has_cookie = true;
    (void)send(stranger->sock, out, sizeof(out), MSG_NOSIGNAL);
}

static void flood(struct bench_strangers *strangers)
{
    static struct stranger all[STRANGERS_MAX];
    static struct pollfd polls[STRANGERS_MAX];
    const uint32_t cnt = strangers->run->job->conn_cnt;
    const uint8_t cipher = strangers->run->impl == &bench_weir_aes;
    uint64_t random = bench_now();

    for (uint32_t i = 0; i < cnt; i++)
        all[i] = (struct stranger){.sock = -1, .is_patient = i % 2 == 0};
    while (has_to_go_on(strangers)) {
        for (uint32_t i = 0; i < cnt; i++) {
            if (all[i].sock < 0 && !come(&all[i], strangers->port, cipher, &random)) {
                fail(strangers, "socket", strerror(errno));
                break;
            }
            polls[i] = (struct pollfd){.fd = all[i].sock, .events = POLLIN};
        }
        if (poll(polls, cnt, 1) < 0 && errno != EINTR)
            fail(strangers, "poll", strerror(errno));
        weir_ns now = bench_now();
        for (uint32_t i = 0; i < cnt; i++) {
            if (polls[i].revents & (POLLERR | POLLHUP))
                leave(&all[i]);
            else if (polls[i].revents & POLLIN)
                hear(&all[i]);
            else if (now - all[i].since > PATIENCE_NS)
                leave(&all[i]);
        }
    }
    for (uint32_t i = 0; i < cnt; i++)
        leave(&all[i]);
}

/* ---- the thread ---------------------------------------------------------------------------------- */

static void *thread_main(void *ctx)
{
    struct bench_strangers *strangers = ctx;
    const struct sched_param param = {0};

    (void)pthread_setschedparam(pthread_self(), SCHED_IDLE, &param); /* else they share the core */
    if (strangers->kind == BENCH_STRANGERS_DIAL)
        dial(strangers);
    else
        flood(strangers);
    return NULL;
}

bool bench_strangers_start(struct bench_strangers *strangers, struct bench_run *run,
                           enum bench_strangers_kind kind, uint16_t port)
{
    strangers->run = run;
    strangers->kind = kind;
    strangers->port = port;
    strangers->is_running = pthread_create(&strangers->thread, NULL, thread_main, strangers) == 0;
    if (!strangers->is_running)
        fail(strangers, "a thread", "cannot be made");
    return strangers->is_running;
}

bool bench_strangers_stop(struct bench_strangers *strangers)
{
    const struct sched_param param = {0};

    atomic_store(&strangers->has_to_stop, true);
    if (strangers->is_running) /* nothing is measured any more: it need not wait for the core */
        (void)pthread_setschedparam(strangers->thread, SCHED_OTHER, &param);
    if (strangers->is_running)
        pthread_join(strangers->thread, NULL);
    strangers->is_running = false;
    return !atomic_load(&strangers->is_failed);
}
