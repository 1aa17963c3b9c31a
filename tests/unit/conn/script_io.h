/* tests/unit/conn/script_io.h: a weir_io in which nothing happens but what the test says.
 *
 * The hub's calls only note what was asked for. The test makes each event: script_recv, script_sent,
 * script_connected, ...; the next turn delivers them, in that order. The rules of engine/io/io.h are
 * checked: one send in flight, whose bytes stay as they are; one receive armed; every buffer given back
 * once; no close while an operation is in flight.
 *
 * Each receive buffer is a heap block of exactly the event's bytes, freed when it is given back, so that
 * AddressSanitizer sees the first byte that is read too far or too late.
 */
#ifndef WEIR_TESTS_UNIT_CONN_SCRIPT_IO_H
#define WEIR_TESTS_UNIT_CONN_SCRIPT_IO_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/base/hash.h"
#include "engine/io/io.h"
#include "weir/error.h"

#define SCRIPT_SOCKS 32
#ifndef SCRIPT_EVENTS /* the fuzz targets have fewer: see peer.h */
#define SCRIPT_BUFS 4096u
#define SCRIPT_EVENTS 8192u
#endif
#define SCRIPT_IOV 256u

struct script_sock {
    bool is_open;
    bool is_receiving, is_sending, is_connecting;
    uint32_t shutdown_cnt; /* in flight */
    int shut_how;          /* bit 0: reading, bit 1: writing */
    uint64_t recv_token, send_token, connect_token, shutdown_token;
    struct weir_addr addr; /* where it is or was connecting to */
    struct iovec iov[SCRIPT_IOV];
    uint32_t iov_cnt;
    size_t send_len;
    uint64_t send_hash;
    uint32_t send_cnt, recv_cnt, shut_cnt; /* calls */
    uint32_t unsent_bound;
    uint32_t unread_step;
    uint8_t *out; /* every byte that was taken */
    size_t out_len, out_cap;
};

struct script_io {
    struct weir_io io;
    uint64_t now_ns;
    bool is_manual; /* shutdown ends nothing by itself: the test makes each event */
    /* The kernel has no memory for requests: recv, send and shutdown answer WEIR_E_FULL, each time, or at
     * random while refuse_random is not 0. */
    bool is_refusing;
    uint8_t random_step; /* how much each "random" byte is above that of the call before; 0: none */
    uint8_t random_cnt;
    uint64_t refuse_random;
    bool is_ending; /* weir_hub_fini closes sockets as they are */
    struct script_sock socks[SCRIPT_SOCKS];
    int sock_cnt;
    uint8_t *bufs[SCRIPT_BUFS];
    uint32_t lent_cnt;
    struct weir_io_event events[SCRIPT_EVENTS];
    uint32_t event_head, event_tail;
    /* The n-th call from now on answers WEIR_E_SYSTEM; 0: none. */
    uint32_t fail_recv, fail_send, fail_shutdown, fail_connect;
};

static inline struct script_io *script_of(struct weir_io *io)
{
    return (struct script_io *)io;
}

static inline struct script_sock *script_at(struct script_io *script, int sock)
{
    cr_assert(sock > 0 && sock < SCRIPT_SOCKS && script->socks[sock].is_open, "socket %d", sock);
    return &script->socks[sock];
}

static inline bool script_fails(uint32_t *countdown)
{
    return *countdown && --*countdown == 0;
}

static inline bool script_refuses(struct script_io *script)
{
    if (!script->refuse_random)
        return script->is_refusing;
    script->refuse_random =
        script->refuse_random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return script->refuse_random >> 63;
}

static inline uint64_t script_hash(const struct iovec *iov, uint32_t cnt)
{
    uint64_t sum = cnt;
    for (uint32_t i = 0; i < cnt; i++)
        sum = weir_hash_ops()->xxh3(iov[i].iov_base, iov[i].iov_len, sum);
    return sum;
}

static inline void script_event(struct script_io *script, const struct weir_io_event *event)
{
    cr_assert_lt(script->event_tail - script->event_head, SCRIPT_EVENTS);
    script->events[script->event_tail++ % SCRIPT_EVENTS] = *event;
}

/* ---- what the test says --------------------------------------------------------------------------- */

/* A new socket, as accept would bring it. */
static inline int script_open(struct script_io *script)
{
    cr_assert_lt(script->sock_cnt + 1, SCRIPT_SOCKS);
    int sock = ++script->sock_cnt;
    script->socks[sock] = (struct script_sock){.is_open = true};
    return sock;
}

/* Received bytes, in one event. Without MORE the receive has ended. */
static inline void script_recv_flags(struct script_io *script, int sock, const void *bytes,
                                     size_t len, bool has_more)
{
    struct script_sock *at = script_at(script, sock);
    cr_assert(at->is_receiving, "receive is not armed");
    uint32_t idx = 0;
    while (idx < SCRIPT_BUFS && script->bufs[idx])
        idx++;
    cr_assert_lt(idx, SCRIPT_BUFS);
    script->bufs[idx] = malloc(len);
    script->lent_cnt++;
    memcpy(script->bufs[idx], bytes, len);
    at->is_receiving = has_more;
    script_event(script, &(struct weir_io_event){
                             .token = at->recv_token,
                             .res = (int32_t)len,
                             .kind = WEIR_IO_RECV,
                             .flags = (uint16_t)(WEIR_IO_BUF | (has_more ? WEIR_IO_MORE : 0)),
                             .data = script->bufs[idx],
                             .buf_idx = idx});
}

static inline void script_recv(struct script_io *script, int sock, const void *bytes, size_t len)
{
    script_recv_flags(script, sock, bytes, len, true);
}

/* The end of a receive: 0 for the end of the stream, or -errno. */
static inline void script_recv_end(struct script_io *script, int sock, int32_t res)
{
    struct script_sock *at = script_at(script, sock);
    cr_assert(at->is_receiving, "receive is not armed");
    at->is_receiving = false;
    script_event(
        script, &(struct weir_io_event){.token = at->recv_token, .res = res, .kind = WEIR_IO_RECV});
}

/* How much the send in flight still has. */
static inline size_t script_unsent(struct script_io *script, int sock)
{
    struct script_sock *at = script_at(script, sock);
    return at->is_sending ? at->send_len : 0;
}

/* Ends the send in flight: `res` bytes were taken, or -errno. */
static inline void script_sent(struct script_io *script, int sock, int64_t res)
{
    struct script_sock *at = script_at(script, sock);
    cr_assert(at->is_sending, "nothing is being sent");
    cr_assert_eq(script_hash(at->iov, at->iov_cnt), at->send_hash, "bytes were touched in flight");
    cr_assert_leq(res, (int64_t)at->send_len);
    size_t left = res > 0 ? (size_t)res : 0;
    if (at->out_len + left > at->out_cap) {
        at->out_cap = 2 * (at->out_len + left);
        at->out = realloc(at->out, at->out_cap);
    }
    for (uint32_t i = 0; left; i++) {
        size_t take = at->iov[i].iov_len < left ? at->iov[i].iov_len : left;
        if (take)
            memcpy(at->out + at->out_len, at->iov[i].iov_base, take);
        at->out_len += take;
        left -= take;
    }
    at->is_sending = false;
    script_event(script, &(struct weir_io_event){
                             .token = at->send_token, .res = (int32_t)res, .kind = WEIR_IO_SEND});
}

static inline void script_connected(struct script_io *script, int sock, int32_t res)
{
    struct script_sock *at = script_at(script, sock);
    cr_assert(at->is_connecting);
    at->is_connecting = false;
    script_event(script, &(struct weir_io_event){
                             .token = at->connect_token, .res = res, .kind = WEIR_IO_CONNECT});
}

static inline void script_shutdown_done(struct script_io *script, int sock)
{
    struct script_sock *at = script_at(script, sock);
    cr_assert_gt(at->shutdown_cnt, 0);
    at->shutdown_cnt--;
    script_event(script,
                 &(struct weir_io_event){.token = at->shutdown_token, .kind = WEIR_IO_SHUTDOWN});
}

/* ---- the operations ------------------------------------------------------------------------------- */

static inline int script_op_enable(struct weir_io *io)
{
    (void)io;
    return 0;
}

static inline void script_op_free(struct weir_io *io)
{
    struct script_io *script = script_of(io);
    for (uint32_t i = 0; i < SCRIPT_BUFS; i++)
        free(script->bufs[i]); /* events that were never delivered */
    for (int i = 0; i < SCRIPT_SOCKS; i++)
        free(script->socks[i].out);
    free(script);
}

static inline int script_op_connect(struct weir_io *io, const struct weir_addr *addr,
                                    uint64_t token, int *ret_sock)
{
    struct script_io *script = script_of(io);
    if (script_fails(&script->fail_connect))
        return WEIR_E_DESCRIPTORS;
    cr_assert_eq(token >> WEIR_IO_TOKEN_BITS, 0);
    *ret_sock = script_open(script);
    script->socks[*ret_sock].addr = *addr;
    script->socks[*ret_sock].is_connecting = true;
    script->socks[*ret_sock].connect_token = token;
    return 0;
}

static inline void script_op_tune(struct weir_io *io, int sock)
{
    (void)script_at(script_of(io), sock);
}

static inline void script_op_bound_unsent(struct weir_io *io, int sock, uint32_t bytes)
{
    script_at(script_of(io), sock)->unsent_bound = bytes;
}

static inline void script_op_bound_unread(struct weir_io *io, int sock, uint32_t step)
{
    script_at(script_of(io), sock)->unread_step = step;
}

static inline int script_op_recv(struct weir_io *io, int sock, uint64_t token)
{
    struct script_sock *at = script_at(script_of(io), sock);
    cr_assert(!at->is_receiving, "receive is armed already");
    cr_assert_eq(token >> WEIR_IO_TOKEN_BITS, 0);
    if (script_refuses(script_of(io)))
        return WEIR_E_FULL;
    if (script_fails(&script_of(io)->fail_recv))
        return WEIR_E_SYSTEM;
    at->is_receiving = true;
    at->recv_token = token;
    at->recv_cnt++;
    return 0;
}

static inline void script_op_recv_done(struct weir_io *io, uint32_t buf_idx)
{
    struct script_io *script = script_of(io);
    cr_assert(buf_idx < SCRIPT_BUFS && script->bufs[buf_idx], "buffer %u is not lent", buf_idx);
    free(script->bufs[buf_idx]);
    script->bufs[buf_idx] = NULL;
    script->lent_cnt--;
}

static inline int script_op_send(struct weir_io *io, int sock, const struct iovec *iov,
                                 uint32_t iov_cnt, uint64_t token)
{
    struct script_sock *at = script_at(script_of(io), sock);
    cr_assert(!at->is_sending, "two sends in flight");
    cr_assert(!(at->shut_how & 2), "a send after the end");
    cr_assert(!at->is_connecting);
    cr_assert(iov_cnt > 0 && iov_cnt <= SCRIPT_IOV);
    if (script_refuses(script_of(io)))
        return WEIR_E_FULL;
    if (script_fails(&script_of(io)->fail_send))
        return WEIR_E_SYSTEM;
    at->is_sending = true;
    at->send_token = token;
    at->send_cnt++;
    at->send_len = 0;
    for (uint32_t i = 0; i < iov_cnt; i++) {
        at->iov[i] = iov[i];
        at->send_len += iov[i].iov_len;
    }
    at->iov_cnt = iov_cnt;
    cr_assert_gt(at->send_len, 0, "a send of nothing");
    at->send_hash = script_hash(iov, iov_cnt);
    return 0;
}

static inline int script_op_shutdown(struct weir_io *io, int sock, int how, uint64_t token)
{
    struct script_io *script = script_of(io);
    struct script_sock *at = script_at(script, sock);
    if (script_refuses(script))
        return WEIR_E_FULL;
    if (script_fails(&script->fail_shutdown))
        return WEIR_E_SYSTEM;
    at->shut_how |= how == SHUT_RDWR ? 3 : how == SHUT_WR ? 2 : 1;
    at->shut_cnt++;
    at->shutdown_cnt++;
    at->shutdown_token = token;
    if (script->is_manual)
        return 0;
    script_shutdown_done(script, sock);
    if (how != SHUT_RDWR)
        return 0;
    if (at->is_receiving)
        script_recv_end(script, sock, 0);
    if (at->is_sending)
        script_sent(script, sock, -EPIPE);
    if (at->is_connecting)
        script_connected(script, sock, -ECANCELED);
    return 0;
}

static inline void script_op_close(struct weir_io *io, int sock)
{
    struct script_io *script = script_of(io);
    struct script_sock *at = script_at(script, sock);
    bool is_busy = at->is_receiving || at->is_sending || at->is_connecting || at->shutdown_cnt;
    cr_assert(script->is_ending || !is_busy, "closed while an operation is in flight");
    at->is_open = false;
}

static inline bool script_op_peer_addr(struct weir_io *io, int sock, struct weir_addr *ret_addr)
{
    (void)script_at(script_of(io), sock);
    return weir_addr_parse(ret_addr, "192.0.2.7:7000") == 0;
}

static inline int64_t script_op_turn(struct weir_io *io, struct weir_io_event *ret_events,
                                     uint32_t event_max, uint64_t wait_ns)
{
    struct script_io *script = script_of(io);
    (void)wait_ns;
    int64_t cnt = 0;
    while (cnt < (int64_t)event_max && script->event_head != script->event_tail)
        ret_events[cnt++] = script->events[script->event_head++ % SCRIPT_EVENTS];
    return cnt;
}

static inline uint64_t script_op_now(struct weir_io *io)
{
    return script_of(io)->now_ns;
}

static inline void script_op_random(struct weir_io *io, void *ret_bytes, size_t len)
{
    struct script_io *script = script_of(io);
    memset(ret_bytes, 0x5A + script->random_step * script->random_cnt++, len);
}

static const struct weir_io_ops script_ops = {
    .enable = script_op_enable,
    .free = script_op_free,
    .connect = script_op_connect,
    .tune = script_op_tune,
    .bound_unsent = script_op_bound_unsent,
    .bound_unread = script_op_bound_unread,
    .recv = script_op_recv,
    .recv_done = script_op_recv_done,
    .send = script_op_send,
    .shutdown = script_op_shutdown,
    .close = script_op_close,
    .peer_addr = script_op_peer_addr,
    .turn = script_op_turn,
    .now = script_op_now,
    .random = script_op_random,
};

static inline struct script_io *script_new(void)
{
    struct script_io *script = calloc(1, sizeof(*script));
    script->io.ops = &script_ops;
    script->now_ns = UINT64_C(1000000000);
    return script;
}

#endif
