/* tests/chaos/hostile_attacks.h: what is done to the victim of `hostile`: sockets, and the attacks that are made of
 * them. An attack is a beginning, and a step that is called every
 * millisecond. */
#ifndef WEIR_TESTS_CHAOS_HOSTILE_ATTACKS_H
#define WEIR_TESTS_CHAOS_HOSTILE_ATTACKS_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "proto/native_wire.h"
#include "tests/chaos/hostile.h"

#define SOCKS_MAX 18000
#define ATTEMPTS 20000
#define ATTEMPTS_PER_MS 20
#define ATTEMPTS_HELD 1000
#define OPENING_BYTES_MAX (WEIR_HANDSHAKE_OUT_MAX + WEIR_NATIVE_HEAD + NATIVE_HELLO_BYTES_MAX)
#define BAD_PEERS 16
#define LORIS 600 /* more than handshakes_max: those who find no place come again and again */
#define LORIS_SEATED 200 /* all find a place, and keep it until their handshake's time is over */

static int socks[SOCKS_MAX];
static int sock_cnt;
static uint64_t attempt_cnt;
static const char *attacked_address; /* the victim's, or the bare listener's */

/* ---- sockets ------------------------------------------------------------------------------- */

/* A connection to who is attacked, or -1; `waits`: until it is made, else it may still be under way. */
static int dial_as(int recv_bytes, bool waits)
{
    unsigned port = 0;
    if (sscanf(attacked_address, "127.0.0.1:%u", &port) != 1)
        hostile_die("address", 0);
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (waits ? 0 : SOCK_NONBLOCK), 0);
    const int one = 1;
    struct timeval patience = {.tv_sec = 30};
    if (sock < 0)
        hostile_die(strerror(errno), 0);
    if (recv_bytes)
        setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &recv_bytes, sizeof(recv_bytes));
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    attempt_cnt++;
    if (connect(sock, (struct sockaddr *)&in, sizeof(in)) == 0 || (!waits && errno == EINPROGRESS))
        return sock;
    close(sock);
    return -1;
}

static int dial(int recv_bytes)
{
    return dial_as(recv_bytes, true);
}

static void keep(int sock)
{
    if (sock >= 0 && sock_cnt < SOCKS_MAX)
        socks[sock_cnt++] = sock;
    else if (sock >= 0)
        close(sock);
}

static void reset(int sock)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    if (sock < 0)
        return;
    setsockopt(sock, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(sock);
}

static void hang_up(void)
{
    for (int i = 0; i < sock_cnt; i++)
        reset(socks[i]);
    sock_cnt = 0;
}

static void begin(void *state)
{
    static struct weir_channel_desc descs[2];
    static struct weir_offer offer;
    static uint8_t nonce;
    for (uint32_t i = 0; i < 2; i++)
        descs[i] = (struct weir_channel_desc){
            .id = (uint16_t)(i + 1), .weight = 1, .msg_bytes_max = 65536, .window_bytes = 1u << 30};
    offer = (struct weir_offer){.network_id = "weir",
                                .user_agent = "hostile",
                                .channels = descs,
                                .channel_cnt = 2,
                                .frame_bytes_max = 65536};
    memset(offer.nonce, ++nonce, sizeof(offer.nonce));
    weir_codec_native.begin(state, &offer, true);
}

/* A preface, and a hello of the largest size, whose bytes are not looked at before all of them are there. */
static size_t opening(uint8_t ret_bytes[OPENING_BYTES_MAX])
{
    void *state = calloc(1, weir_codec_native.state_bytes);
    memset(ret_bytes, 0, OPENING_BYTES_MAX);
    begin(state);
    size_t len = weir_codec_native.pull(state, ret_bytes, WEIR_HANDSHAKE_OUT_MAX);
    weir_codec_native.frame_head(ret_bytes + len, NATIVE_HELLO, NATIVE_CHANNEL_CONTROL, 0,
                                 ret_bytes + len + WEIR_NATIVE_HEAD, NATIVE_HELLO_BYTES_MAX);
    free(state);
    return len + WEIR_NATIVE_HEAD + NATIVE_HELLO_BYTES_MAX;
}

/* Lets the codec say what it has to say. */
static void pull(void *state, int sock)
{
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t len = weir_codec_native.pull(state, bytes, sizeof(bytes));
    if (len)
        (void)!send(sock, bytes, len, MSG_NOSIGNAL);
}

/* A peer that goes through the handshake; -1 when it is not let in. */
static int join(int recv_bytes)
{
    uint8_t bytes[4096];
    void *state = calloc(1, weir_codec_native.state_bytes);
    int sock = dial(recv_bytes);
    size_t got = 0;
    begin(state);
    if (sock >= 0)
        pull(state, sock);
    struct weir_feed feed = {0};
    while (sock >= 0 && !feed.is_ready) {
        /* A byte at a time: what follows the handshake stays where it is. */
        ssize_t more = got < sizeof(bytes) ? recv(sock, bytes + got, 1, 0) : 0;
        if (more <= 0) {
            close(sock);
            sock = -1;
            break;
        }
        got++;
        memset(&feed, 0, sizeof(feed));
        weir_codec_native.feed(state, bytes, got, NULL, 0, &feed);
        memmove(bytes, bytes + feed.consumed, got - feed.consumed);
        got -= feed.consumed;
        pull(state, sock);
    }
    free(state);
    return sock;
}

/* ---- attacks ------------------------------------------------------------------------------- */

static uint8_t loris_bytes[OPENING_BYTES_MAX];
static size_t loris_len;
static size_t loris_at;

static void begin_bad_peers(void)
{
    for (int i = 0; i < BAD_PEERS; i++)
        keep(join(4096));
}

static void begin_ordinary_peers(void)
{
    for (int i = 0; i < BAD_PEERS; i++)
        keep(join(0));
}

/* All that has come. */
static void step_ordinary_readers(uint64_t step)
{
    static uint8_t bytes[1 << 18];
    (void)step;
    for (int i = 0; i < sock_cnt; i++)
        while (recv(socks[i], bytes, sizeof(bytes), MSG_DONTWAIT) == (ssize_t)sizeof(bytes)) {
        }
}

/* One byte a second from each, spread over the second. */
static void step_slow_readers(uint64_t step)
{
    uint8_t byte;
    for (int i = 0; i < sock_cnt; i++)
        if (step % 1000 == (uint64_t)i * 1000 / BAD_PEERS)
            (void)!recv(socks[i], &byte, 1, MSG_DONTWAIT);
}

static void begin_loris_of(int cnt)
{
    loris_len = opening(loris_bytes);
    loris_at = 0;
    for (int i = 0; i < cnt; i++)
        keep(dial(0));
}

static void begin_loris(void)
{
    begin_loris_of(LORIS);
}

static void begin_loris_seated(void)
{
    begin_loris_of(LORIS_SEATED);
}

/* A byte of the handshake each tenth of a second, from a hundredth of them in every step; whoever was closed comes
 * again. */
static void step_loris(uint64_t step)
{
    for (int i = (int)(step % 100); i < sock_cnt; i += 100) {
        char byte;
        bool is_closed = recv(socks[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0 ||
                         send(socks[i], loris_bytes + loris_at, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0;
        if (!is_closed)
            continue;
        close(socks[i]);
        socks[i] = dial(0);
    }
    loris_at = (loris_at + (step % 100 == 99)) % loris_len;
}

/* Evenly, so that the flood is the node's to bear and not the scheduler's; the oldest go as others come. Nobody waits: where the
 * listener's queue is full, the next ones are sent all the same. */
static void attempt(int cnt)
{
    for (int i = 0; i < cnt; i++) {
        int at = (int)(attempt_cnt % ATTEMPTS_HELD);
        if (sock_cnt == ATTEMPTS_HELD) {
            reset(socks[at]);
            socks[at] = dial_as(0, false);
        } else {
            keep(dial_as(0, false));
        }
    }
}

static void step_attempts(uint64_t step)
{
    (void)step;
    attempt(ATTEMPTS_PER_MS);
}

static void step_attempts_paced(uint64_t step)
{
    (void)step;
    attempt(1);
}

static void nothing(uint64_t step)
{
    (void)step;
}

static void begin_nothing(void) {}

struct attack {
    const char *name;
    void (*begin)(void);
    void (*step)(uint64_t step); /* every millisecond */
    uint64_t attempts_min;       /* the window is as long as these take */
    const struct attack
        *floor;   /* what is done for the floor; NULL: the same, to the bare listener */
    bool is_long; /* takes long and shows in round trips only: not for --check */
};

/* Peers that take everything: what as many more peers cost the others, whatever they do. */
static const struct attack ordinary_peers = {
    .name = "16 ordinary peers", .begin = begin_ordinary_peers, .step = step_ordinary_readers};

static const struct attack attacks[] = {
    {.name = "16 peers that read 1 byte/s",
     .begin = begin_bad_peers,
     .step = step_slow_readers,
     .floor = &ordinary_peers},
    {.name = "16 peers that never read",
     .begin = begin_bad_peers,
     .step = nothing,
     .floor = &ordinary_peers},
    {.name = "200 slow handshakes", .begin = begin_loris_seated, .step = step_loris},
    {.name = "600 slow handshakes", .begin = begin_loris, .step = step_loris},
    {.name = "20,000 attempts, 1 a ms",
     .begin = begin_nothing,
     .step = step_attempts_paced,
     .attempts_min = ATTEMPTS,
     .is_long = true},
    {.name = "20,000 connection attempts",
     .begin = begin_nothing,
     .step = step_attempts,
     .attempts_min = ATTEMPTS},
};

#endif
