#include "bench/callgrind/pipe_io.h"

#include <stdlib.h>
#include <string.h>

#include "weir/error.h"
#include "weir/node.h"

#define SOCK_LISTENER 1
#define SOCK_STREAM 2
#define EVENTS_MAX 256u
#define BUFS_MAX 64u
#define IOV_MAX_COUNT 1024u
#define STEP_NS 10000

struct pipe {
    struct weir_io io;
    uint64_t accept_token, recv_token, send_token;
    bool is_accepting, is_receiving, is_sending;
    struct iovec iov[IOV_MAX_COUNT];
    uint32_t iov_cnt;
    struct weir_io_event events[EVENTS_MAX];
    uint32_t event_cnt;
    uint8_t *bufs;
    uint32_t buf_bytes, buf_cnt;
    bool is_lent[BUFS_MAX];
};

/* The two of the two nodes' first shards, and the one clock. Other shards' are not connected to anything. */
static struct pipe *pipes[2];
static uint32_t pipe_cnt;
static uint64_t clock_ns = WEIR_NS_PER_S;

static struct pipe *pipe_of(struct weir_io *io)
{
    return (struct pipe *)io;
}

static struct pipe *other_of(struct pipe *pipe)
{
    return pipe == pipes[0] ? pipes[1] : pipes[0];
}

static void push(struct pipe *pipe, const struct weir_io_event *event)
{
    if (pipe->event_cnt == EVENTS_MAX)
        abort(); /* the program's own turns are too few */
    pipe->events[pipe->event_cnt++] = *event;
}

/* ---- the operations ------------------------------------------------------------------------------ */

static int op_enable(struct weir_io *io)
{
    (void)io;
    return 0;
}

static void op_free(struct weir_io *io)
{
    free(pipe_of(io)->bufs);
    free(io);
}

static int op_listen(struct weir_io *io, const struct weir_addr *addr, bool is_shared,
                     struct weir_addr *ret_addr)
{
    (void)io;
    (void)is_shared;
    *ret_addr = *addr;
    return SOCK_LISTENER;
}

static int op_accept(struct weir_io *io, int sock, uint64_t token)
{
    (void)sock;
    pipe_of(io)->accept_token = token;
    pipe_of(io)->is_accepting = true;
    return 0;
}

static int op_connect(struct weir_io *io, const struct weir_addr *addr, uint64_t token,
                      int *ret_sock)
{
    struct pipe *other = other_of(pipe_of(io));

    (void)addr;
    if (!other->is_accepting)
        return WEIR_E_SYSTEM;
    *ret_sock = SOCK_STREAM;
    push(pipe_of(io), &(struct weir_io_event){.token = token, .kind = WEIR_IO_CONNECT});
    push(other, &(struct weir_io_event){.token = other->accept_token,
                                        .res = SOCK_STREAM,
                                        .kind = WEIR_IO_ACCEPT,
                                        .flags = WEIR_IO_MORE});
    return 0;
}

static void op_tune(struct weir_io *io, int sock)
{
    (void)io;
    (void)sock;
}

static void op_bound_unsent(struct weir_io *io, int sock, uint32_t bytes)
{
    (void)io;
    (void)sock;
    (void)bytes;
}

static void op_bound_unread(struct weir_io *io, int sock, uint32_t step)
{
    (void)io;
    (void)sock;
    (void)step;
}

static int op_recv(struct weir_io *io, int sock, uint64_t token)
{
    (void)sock;
    pipe_of(io)->recv_token = token;
    pipe_of(io)->is_receiving = true;
    return 0;
}

static void op_recv_done(struct weir_io *io, uint32_t buf_idx)
{
    pipe_of(io)->is_lent[buf_idx] = false;
}

static int op_send(struct weir_io *io, int sock, const struct iovec *iov, uint32_t iov_cnt,
                   uint64_t token)
{
    struct pipe *pipe = pipe_of(io);

    (void)sock;
    if (pipe->is_sending || iov_cnt > IOV_MAX_COUNT)
        abort();
    memcpy(pipe->iov, iov, iov_cnt * sizeof(*iov));
    pipe->iov_cnt = iov_cnt;
    pipe->send_token = token;
    pipe->is_sending = true;
    return 0;
}

static int op_shutdown(struct weir_io *io, int sock, int how, uint64_t token)
{
    (void)io;
    (void)sock;
    (void)how;
    (void)token;
    abort(); /* nothing ends a connection here: something is wrong */
}

static int op_cancel(struct weir_io *io, uint64_t token)
{
    (void)io;
    (void)token;
    return 0;
}

static void op_close(struct weir_io *io, int sock)
{
    (void)io;
    (void)sock;
}

static bool op_peer_addr(struct weir_io *io, int sock, struct weir_addr *ret_addr)
{
    (void)io;
    (void)sock;
    return weir_addr_parse(ret_addr, "127.0.0.1:9") == 0;
}

static int64_t op_turn(struct weir_io *io, struct weir_io_event *ret_events, uint32_t event_max,
                       uint64_t wait_ns)
{
    struct pipe *pipe = pipe_of(io);
    uint32_t cnt = pipe->event_cnt;

    (void)wait_ns;
    if (cnt > event_max)
        abort();
    memcpy(ret_events, pipe->events, cnt * sizeof(*ret_events));
    pipe->event_cnt = 0;
    return cnt;
}

static void op_wake(struct weir_io *io)
{
    (void)io;
}

static uint64_t op_now(struct weir_io *io)
{
    (void)io;
    return clock_ns;
}

static void op_random(struct weir_io *io, void *ret_bytes, size_t len)
{
    static uint8_t next; /* two nodes must differ, or they take each other for themselves */

    (void)io;
    memset(ret_bytes, ++next, len);
}

static void op_stats(const struct weir_io *io, struct weir_io_stats *ret_stats)
{
    (void)io;
    *ret_stats = (struct weir_io_stats){0};
}

static const struct weir_io_ops ops = {
    .enable = op_enable,
    .free = op_free,
    .listen = op_listen,
    .accept = op_accept,
    .connect = op_connect,
    .tune = op_tune,
    .bound_unsent = op_bound_unsent,
    .bound_unread = op_bound_unread,
    .recv = op_recv,
    .recv_done = op_recv_done,
    .send = op_send,
    .shutdown = op_shutdown,
    .cancel = op_cancel,
    .close = op_close,
    .peer_addr = op_peer_addr,
    .turn = op_turn,
    .wake = op_wake,
    .now = op_now,
    .random = op_random,
    .stats = op_stats,
};

/* ---- the host ------------------------------------------------------------------------------------ */

static int host_create(void *ctx, uint32_t shard, const struct weir_io_config *cfg,
                       struct weir_io **ret_io)
{
    struct pipe *pipe = calloc(1, sizeof(*pipe));

    (void)ctx;
    if (pipe == NULL || (shard == 0 && pipe_cnt == 2) || cfg->recv_buf_cnt > BUFS_MAX)
        abort();
    pipe->io.ops = &ops;
    pipe->buf_bytes = cfg->recv_buf_bytes;
    pipe->buf_cnt = cfg->recv_buf_cnt;
    pipe->bufs = aligned_alloc(4096, (size_t)pipe->buf_bytes * pipe->buf_cnt);
    if (pipe->bufs == NULL)
        abort();
    if (shard == 0)
        pipes[pipe_cnt++] = pipe;
    *ret_io = &pipe->io;
    return 0;
}

static uint64_t host_now(void *ctx)
{
    (void)ctx;
    return clock_ns;
}

static void host_random(void *ctx, void *ret_bytes, size_t len)
{
    (void)ctx;
    op_random(NULL, ret_bytes, len);
}

const struct weir_io_host pipe_host = {
    .create = host_create, .now = host_now, .random = host_random};

/* ---- moving -------------------------------------------------------------------------------------- */

/* Copies from the send in flight, from `at` on, into one receive buffer. Returns how much. */
static uint32_t fill(const struct pipe *from, size_t at, uint8_t *buf, uint32_t room)
{
    uint32_t len = 0;

    for (uint32_t i = 0; i < from->iov_cnt && len < room; i++) {
        size_t piece = from->iov[i].iov_len;
        if (at >= piece) {
            at -= piece;
            continue;
        }
        size_t take = piece - at < room - len ? piece - at : room - len;
        memcpy(buf + len, (const uint8_t *)from->iov[i].iov_base + at, take);
        len += (uint32_t)take;
        at = 0;
    }
    return len;
}

static void move_one_way(struct pipe *from, struct pipe *to)
{
    size_t moved = 0;

    if (!from->is_sending)
        return;
    for (uint32_t i = 0; i < to->buf_cnt && to->is_receiving; i++) {
        uint8_t *buf = to->bufs + (size_t)i * to->buf_bytes;
        if (to->is_lent[i])
            continue;
        uint32_t len = fill(from, moved, buf, to->buf_bytes);
        if (len == 0)
            break;
        moved += len;
        to->is_lent[i] = true;
        push(to, &(struct weir_io_event){.token = to->recv_token,
                                         .res = (int32_t)len,
                                         .kind = WEIR_IO_RECV,
                                         .flags = WEIR_IO_MORE | WEIR_IO_BUF,
                                         .data = buf,
                                         .buf_idx = i});
    }
    if (moved == 0)
        return; /* the send stays in flight */
    from->is_sending = false;
    push(from, &(struct weir_io_event){
                   .token = from->send_token, .res = (int32_t)moved, .kind = WEIR_IO_SEND});
}

void pipe_move(void)
{
    move_one_way(pipes[0], pipes[1]);
    move_one_way(pipes[1], pipes[0]);
    clock_ns += STEP_NS;
}
