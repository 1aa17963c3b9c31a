/* tests/integration/raw.h: a peer made of a blocking socket and the codec, which does what it is told,
 * right or wrong.
 *
 *   raw_connect -> raw_hello -> raw_frame, raw_control, raw_bytes, raw_next -> raw_end -> raw_close
 */
#ifndef WEIR_TESTS_INTEGRATION_RAW_H
#define WEIR_TESTS_INTEGRATION_RAW_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "proto/codec.h"
#include "proto/native_run.h"
#include "tests/integration/harness.h"

#define RAW_IN_BYTES (256u * 1024u)

struct raw {
    int sock;
    /* what it offers; may be changed between raw_init and raw_hello */
    struct weir_offer offer;
    struct weir_channel_desc descs[IT_CHANNELS];
    /* its half of the codec */
    void *state;
    bool is_ready;
    bool is_over;     /* the node's end of the stream was seen: */
    int end_errno;    /* 0 for a clean end */
    uint16_t goodbye; /* the reason of the last goodbye, 0: none */
    uint8_t *in;
    size_t in_at, in_len;
};

/* A peer that offers channels 1 to `channel_cnt` with `window` bytes of credit each. */
static inline void raw_init(struct raw *raw, uint32_t channel_cnt, uint32_t window)
{
    static uint8_t nonce;
    *raw = (struct raw){.sock = -1};
    for (uint32_t i = 0; i < channel_cnt; i++)
        raw->descs[i] = (struct weir_channel_desc){
            .id = (uint16_t)(i + 1), .weight = 1, .msg_bytes_max = window, .window_bytes = window};
    raw->offer = (struct weir_offer){.network_id = "weir",
                                     .user_agent = "raw",
                                     .channels = raw->descs,
                                     .channel_cnt = channel_cnt,
                                     .frame_bytes_max = 65536};
    raw->offer.nonce[0] = ++nonce;
    raw->in = malloc(RAW_IN_BYTES);
    raw->state = calloc(1, weir_codec_native.state_bytes);
    cr_assert(raw->in && raw->state);
}

static inline void raw_close(struct raw *raw)
{
    if (raw->sock >= 0)
        close(raw->sock);
    free(raw->in);
    free(raw->state);
    *raw = (struct raw){.sock = -1};
}

/* ---- sockets ------------------------------------------------------------------------------- */

static inline socklen_t raw_address(const char *text, struct sockaddr_storage *ret_any)
{
    memset(ret_any, 0, sizeof(*ret_any));
    if (strncmp(text, "unix:", 5) == 0) {
        struct sockaddr_un *un = (struct sockaddr_un *)ret_any;
        un->sun_family = AF_UNIX;
        cr_assert(strlen(text + 5) < sizeof(un->sun_path));
        memcpy(un->sun_path, text + 5, strlen(text + 5));
        return sizeof(*un);
    }
    struct sockaddr_in *in = (struct sockaddr_in *)ret_any;
    unsigned port;
    cr_assert(sscanf(text, "127.0.0.1:%u", &port) == 1, "not a raw address: %s", text);
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof(*in);
}

/* Bounds every blocking call, so that a test fails and does not hang. */
static inline void raw_tune(int sock)
{
    struct timeval patience = {.tv_sec = 60};
    const int one = 1;
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static inline int raw_socket_to(const char *address)
{
    struct sockaddr_storage any;
    socklen_t len = raw_address(address, &any);
    int sock = socket(any.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(sock >= 0);
    raw_tune(sock);
    cr_assert(connect(sock, (struct sockaddr *)&any, len) == 0, "connect to %s: %s", address,
              strerror(errno));
    return sock;
}

/* Listens at a port of the system's choice. */
static inline int raw_listen(char ret_address[64], int backlog)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(sock >= 0 && bind(sock, (struct sockaddr *)&in, len) == 0);
    cr_assert(listen(sock, backlog) == 0 && getsockname(sock, (struct sockaddr *)&in, &len) == 0);
    snprintf(ret_address, 64, "127.0.0.1:%u", ntohs(in.sin_port));
    raw_tune(sock);
    return sock;
}

static inline int raw_accept(int listener)
{
    int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert(sock >= 0, "accept: %s", strerror(errno));
    raw_tune(sock);
    return sock;
}

/* Closes with a reset instead of an end. */
static inline void raw_reset(struct raw *raw)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(raw->sock, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(raw->sock);
    raw->sock = -1;
}

/* ---- sending ------------------------------------------------------------------------------- */

/* Sends all of it. False when the node has ended the connection meanwhile. */
static inline bool raw_bytes(struct raw *raw, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len) {
        ssize_t sent = send(raw->sock, at, len, MSG_NOSIGNAL);
        if (sent < 0) {
            cr_assert(errno == EPIPE || errno == ECONNRESET, "send: %s", strerror(errno));
            return false;
        }
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

static inline size_t raw_frame_put(uint8_t *ret_bytes, uint8_t kind, uint16_t channel, uint32_t aux,
                                   const void *payload, uint32_t len)
{
    if (len)
        memcpy(ret_bytes + WEIR_NATIVE_HEAD, payload, len);
    weir_codec_native.frame_head(ret_bytes, kind, channel, aux, ret_bytes + WEIR_NATIVE_HEAD, len);
    return WEIR_NATIVE_HEAD + (size_t)len;
}

static inline bool raw_frame(struct raw *raw, uint8_t kind, uint16_t channel, uint32_t aux,
                             const void *payload, uint32_t len)
{
    static uint8_t bytes[WEIR_NATIVE_HEAD + 65536];
    cr_assert(len <= 65536);
    return raw_bytes(raw, bytes, raw_frame_put(bytes, kind, channel, aux, payload, len));
}

/* A run of one message. */
static inline bool raw_message(struct raw *raw, uint16_t channel, const void *data, uint16_t len)
{
    static uint8_t payload[WEIR_RUN_PREFIX + UINT16_MAX];
    uint8_t *end = weir_run_put(payload, data, len);
    return raw_frame(raw, WEIR_FRAME_RUN, channel, 1, payload, (uint32_t)(end - payload));
}

static inline bool raw_control(struct raw *raw, const struct weir_control *control)
{
    uint8_t bytes[WEIR_CONTROL_OUT_MAX];
    return raw_bytes(raw, bytes, weir_codec_native.control_write(bytes, control));
}

static inline bool raw_ping(struct raw *raw, uint64_t value)
{
    return raw_control(raw, &(struct weir_control){.kind = WEIR_CONTROL_PING, .value = value});
}

static inline bool raw_grant(struct raw *raw, uint16_t channel, uint64_t limit)
{
    struct weir_control control = {.kind = WEIR_CONTROL_CREDIT, .credit_cnt = 1};
    control.credits[0] = (struct weir_credit){channel, limit};
    return raw_control(raw, &control);
}

/* ---- receiving ----------------------------------------------------------------------------- */

/* Reads more bytes, waiting up to `wait_ms`. False: none came, or the end. */
static inline bool raw_read(struct raw *raw, int wait_ms)
{
    if (raw->is_over)
        return false;
    memmove(raw->in, raw->in + raw->in_at, raw->in_len - raw->in_at);
    raw->in_len -= raw->in_at;
    raw->in_at = 0;
    struct pollfd fd = {.fd = raw->sock, .events = POLLIN};
    if (poll(&fd, 1, wait_ms) == 0)
        return false;
    ssize_t got = recv(raw->sock, raw->in + raw->in_len, RAW_IN_BYTES - raw->in_len, 0);
    if (got <= 0) {
        raw->is_over = true;
        raw->end_errno = got < 0 ? errno : 0;
        return false;
    }
    raw->in_len += (size_t)got;
    return true;
}

/* The next frame, waited for up to `wait_ms`; its payload is valid until the next call. False: there is
 * none. Fails the test when the node's own stream is broken. */
static inline bool raw_next(struct raw *raw, struct weir_frame *ret_frame, int wait_ms)
{
    const struct weir_codec *codec = &weir_codec_native;
    for (;;) {
        struct weir_feed feed = {0};
        if (raw->in_len > raw->in_at)
            codec->feed(raw->state, raw->in + raw->in_at, raw->in_len - raw->in_at, ret_frame, 1,
                        &feed);
        raw->in_at += feed.consumed;
        if (feed.fault)
            raw->goodbye = feed.fault;
        if (feed.frame_cnt) {
            cr_assert(ret_frame->kind != WEIR_FRAME_FAULT, "the node sent a broken stream: %s",
                      weir_reason_name(ret_frame->fault));
            codec->verify(ret_frame, 1);
            cr_assert(ret_frame->fault == 0, "the node sent a broken frame");
            struct weir_control control;
            if (ret_frame->kind == WEIR_FRAME_CONTROL) {
                cr_assert(codec->control_read(ret_frame, &control) == 0);
                if (control.kind == WEIR_CONTROL_GOODBYE)
                    raw->goodbye = control.reason;
            }
            return true;
        }
        if (feed.is_ready && !raw->is_ready) {
            raw->is_ready = true;
            continue;
        }
        if (!raw_read(raw, wait_ms))
            return false;
    }
}

/* The next frame of `kind`, waited for at most a minute; others are passed over. */
static inline bool raw_await(struct raw *raw, struct weir_frame *ret_frame, uint8_t kind)
{
    while (raw_next(raw, ret_frame, 60000)) {
        if (ret_frame->kind == kind)
            return true;
    }
    return false;
}

static inline bool raw_await_control(struct raw *raw, struct weir_control *ret_control,
                                     uint8_t kind)
{
    struct weir_frame frame;
    while (raw_await(raw, &frame, WEIR_FRAME_CONTROL)) {
        cr_assert(weir_codec_native.control_read(&frame, ret_control) == 0);
        if (ret_control->kind == kind)
            return true;
    }
    return false;
}

/* Reads to the end of the stream; returns the reason of the node's goodbye, 0 without one. */
static inline int raw_end(struct raw *raw)
{
    struct weir_frame frame;
    while (raw_next(raw, &frame, 60000))
        ;
    cr_assert(raw->is_over, "the node does not end the connection");
    return raw->goodbye;
}

/* ---- handshake ----------------------------------------------------------------------------- */

/* Lets the codec say what it has to say. */
static inline bool raw_pull(struct raw *raw)
{
    uint8_t bytes[WEIR_HANDSHAKE_OUT_MAX];
    size_t len = weir_codec_native.pull(raw->state, bytes, sizeof(bytes));
    return raw_bytes(raw, bytes, len);
}

/* Goes through the handshake; false when it fails (raw->goodbye says why). */
static inline bool raw_handshake(struct raw *raw, bool is_dialer)
{
    const struct weir_codec *codec = &weir_codec_native;
    codec->begin(raw->state, &raw->offer, is_dialer);
    raw_pull(raw);
    while (!raw->is_ready) {
        struct weir_feed feed = {0};
        if (!raw_read(raw, 60000))
            return false;
        codec->feed(raw->state, raw->in, raw->in_len, NULL, 0, &feed);
        raw->in_at = feed.consumed;
        if (feed.fault) {
            raw->goodbye = feed.fault;
            return false;
        }
        raw_pull(raw);
        raw->is_ready = feed.is_ready;
    }
    return true;
}

static inline void raw_connect(struct raw *raw, const char *address)
{
    raw->sock = raw_socket_to(address);
}

/* Connects a peer that is right so far, and waits until the node knows it. */
static inline void raw_join(struct raw *raw, struct it_node *node)
{
    uint32_t ups = atomic_load(&node->ups);
    raw_connect(raw, node->address);
    cr_assert(raw_handshake(raw, true), "the handshake failed: %s", weir_reason_name(raw->goodbye));
    IT_WAIT(atomic_load(&node->ups) > ups);
}

#endif
