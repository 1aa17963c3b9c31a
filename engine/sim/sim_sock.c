/* engine/sim/sim_sock.c: what happens on sockets. */
#include "engine/sim/sim_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/base/hash.h"
#include "weir/error.h"

/* ---- events and agenda --------------------------------------------------------------------- */

void sim_list_op(struct sim_sock *sock, uint32_t kind, uint64_t after_ns)
{
    struct sim_op *op = &sock->ops[kind];
    if (sock->io == NULL || !op->is_armed || op->is_listed)
        return;
    struct weir_sim *sim = sock->sim;
    op->is_listed = true;
    sim_touch(sock->io);
    sim_agenda_add(
        sim, &sock->io->agenda,
        (struct sim_entry){
            .due_ns = sim->now_ns + after_ns + weir_sim_random(sim, sim->cfg.delay_max_ns + 1),
            .sock = sock,
            .gen = sock->gen,
            .kind = kind,
        });
}

void sim_post(struct sim_sock *sock, const struct weir_io_event *event)
{
    sim_touch(sock->io);
    struct sim_event *posted = sim_list_add(&sock->io->events, sizeof(*posted));
    *posted = (struct sim_event){.event = *event, .sock = sock, .gen = sock->gen};
}

/* An event without MORE: the operation is over. */
void sim_end_op(struct sim_sock *sock, uint32_t kind, int32_t res)
{
    struct sim_op *op = &sock->ops[kind];
    op->is_armed = false;
    sim_post(sock, &(struct weir_io_event){.token = op->token, .res = res, .kind = (uint16_t)kind});
}

/* Whether the completion queue has no room: its multishots end with the event being made. */
static bool is_full(struct sim_io *io)
{
    bool is_overflown = io->events.cnt - io->event_head >= io->cfg.cq_cnt;
    if (is_overflown && !io->is_overflown)
        io->stats.overflows++;
    io->is_overflown = is_overflown;
    return is_overflown;
}

uint64_t sim_iov_hash(const struct iovec *iov, uint32_t iov_cnt)
{
    const struct weir_hash_ops *ops = weir_hash_ops();
    uint64_t hash = ops->xxh3(iov, iov_cnt * sizeof(*iov), iov_cnt);
    for (uint32_t i = 0; i < iov_cnt; i++)
        hash = ops->xxh3(iov[i].iov_base, iov[i].iov_len, hash);
    return hash;
}

/* ---- connections --------------------------------------------------------------------------- */

static void become_connected(struct sim_sock *sock, struct sim_sock *peer)
{
    sock->state = SIM_CONNECTED;
    sock->peer = peer;
    sock->pipe = malloc(sock->sim->cfg.window_bytes);
    WEIR_CHECK(sock->pipe != NULL);
}

void sim_join(struct sim_sock *listener, struct sim_sock *dialer, const struct weir_addr *from)
{
    struct sim_sock *other = sim_sock_make(listener->sim, listener->io);
    become_connected(dialer, other);
    become_connected(other, dialer);
    dialer->is_dialer = true;
    dialer->link_id = other->link_id = ++listener->sim->link_cnt;
    dialer->far_host = other->host;
    other->far_host = dialer->host;
    other->addr = *from;
    struct sim_sock **link = &listener->backlog;
    while (*link)
        link = &(*link)->next;
    *link = other;
    listener->backlog_cnt++;
    sim_list_op(listener, WEIR_IO_ACCEPT, listener->sim->cfg.latency_ns);
}

struct sim_sock *sim_backlog_pop(struct sim_sock *listener)
{
    struct sim_sock *sock = listener->backlog;
    listener->backlog = sock->next;
    sock->next = NULL;
    listener->backlog_cnt--;
    return sock;
}

void sim_wake_all(struct sim_sock *sock, uint64_t after_ns)
{
    sim_list_op(sock, WEIR_IO_RECV, after_ns);
    sim_list_op(sock, WEIR_IO_SEND, after_ns);
}

int sim_shut(struct sim_sock *sock, int how)
{
    if (sock->state == SIM_LISTENING) {
        if (how != SHUT_WR && sock->ops[WEIR_IO_ACCEPT].is_armed)
            sim_end_op(sock, WEIR_IO_ACCEPT, -EINVAL);
        return 0;
    }
    if (sock->state != SIM_CONNECTED) {
        if (how == SHUT_RDWR && sock->ops[WEIR_IO_CONNECT].is_armed)
            sim_end_op(sock, WEIR_IO_CONNECT, -ECANCELED);
        return -ENOTCONN;
    }
    if (sock->is_reset)
        return -ENOTCONN;
    if (how != SHUT_WR)
        sock->is_shut_rd = true;
    if (how != SHUT_RD && !sock->is_shut_wr) {
        sock->is_shut_wr = true;
        if (sock->peer)
            sim_fin(sock->peer);
    }
    sim_wake_all(sock, 0);
    return 0;
}

static void close_one(struct sim_sock *sock)
{
    struct sim_sock *peer = sock->peer;
    if (peer) {
        peer->peer = NULL;
        if (sock->pipe_len > 0) /* TCP: closing with unread bytes is a reset */
            sim_rst(peer);
        else if (!sock->is_shut_wr)
            sim_fin(peer);
        sim_wake_all(peer, 0);
    }
    sim_sock_free(sock);
}

void sim_sock_close(struct sim_sock *sock)
{
    while (sock->backlog) {
        struct sim_sock *waiting = sim_backlog_pop(sock);
        sim_break(waiting);
        close_one(waiting);
    }
    close_one(sock);
}

/* ---- operations that act ------------------------------------------------------------------- */

static void act_accept(struct sim_sock *sock)
{
    struct weir_sim *sim = sock->sim;
    if (sock->backlog == NULL)
        return;
    if (sim_is_chance(sim, sim->cfg.accept_fail_ppm) || sim_sock_open(sock->backlog) != 0) {
        sim_end_op(sock, WEIR_IO_ACCEPT, -EMFILE);
        return;
    }
    sim_end_op(sock, WEIR_IO_ACCEPT, sim_backlog_pop(sock)->fd);
}

/* Where a connection comes from: the address that its io listens at, as a host has it, or the host's. */
static void source_addr(const struct sim_sock *sock, uint16_t port, struct weir_addr *ret_addr)
{
    struct sim_sock **socks = sock->sim->socks.items;
    sim_host_addr(sock->io->host, sock->addr.family, port, ret_addr);
    for (size_t i = 0; i < sock->sim->socks.cnt; i++) {
        const struct sim_sock *listener = socks[i];
        bool is_own = listener && listener->io == sock->io && listener->state == SIM_LISTENING &&
                      listener->addr.family == sock->addr.family;
        if (!is_own || sock->addr.family == WEIR_ADDR_UNIX || sim_is_wildcard(&listener->addr) ||
            weir_addr_is_loopback(&listener->addr) || weir_addr_is_loopback(&sock->addr))
            continue;
        *ret_addr = listener->addr;
        ret_addr->port = port;
        return;
    }
}

static void act_connect(struct sim_sock *sock)
{
    struct weir_sim *sim = sock->sim;
    if (sim_is_hole(sim, &sock->addr))
        return; /* until somebody shuts it down */
    struct sim_sock *listener = sim_find_listener(sim, &sock->addr, sock->io->host);
    uint32_t far_host = listener ? listener->host : sim_host_of(&sock->addr);
    if (!sim_is_reachable(sim, sock->host, far_host)) {
        /* The SYN or its answer is lost, and comes again. */
        sim_list_op(sock, WEIR_IO_CONNECT, SIM_SYN_NS << weir_min_u64(sock->try_cnt++, 5));
        return;
    }
    if (listener == NULL || sim_is_chance(sim, sim->cfg.connect_fail_ppm)) {
        sim_end_op(sock, WEIR_IO_CONNECT,
                   sock->addr.family == WEIR_ADDR_UNIX ? -ENOENT : -ECONNREFUSED);
        return;
    }
    if (listener->backlog_cnt >= SIM_BACKLOG_MAX) {
        sim_list_op(sock, WEIR_IO_CONNECT, SIM_RETRY_NS);
        return;
    }
    struct weir_addr from;
    uint16_t port = sock->addr.family == WEIR_ADDR_UNIX ? 0 : sim_port(sim);
    source_addr(sock, port, &from);
    sim_join(listener, sock, &from);
    sim_end_op(sock, WEIR_IO_CONNECT, 0);
}

/* A reset says so once; later calls find the connection gone, which is the same to a ring's user. */
static int reset_error(const struct sim_sock *sock)
{
    return sock->reset_error ? sock->reset_error : ECONNRESET;
}

/* One receive event. Returns whether the multishot goes on with what is there. */
static bool recv_one(struct sim_sock *sock)
{
    struct weir_sim *sim = sock->sim;
    struct sim_io *io = sock->io;
    if (io->ready_cnt == 0) {
        io->stats.recv_starved++;
        sim_end_op(sock, WEIR_IO_RECV, -ENOBUFS);
        return false;
    }
    uint32_t buf_idx = io->ready_bufs[io->ready_head++ % io->cfg.recv_buf_cnt];
    io->ready_cnt--;
    WEIR_CHECK(!io->is_lent[buf_idx]);
    io->is_lent[buf_idx] = 1;
    io->lent_cnt++;
    uint8_t *buf = io->bufs + (size_t)buf_idx * io->cfg.recv_buf_bytes;
    uint32_t len = sim_chunk(sim, weir_min_u64(sock->arrived_len, io->cfg.recv_buf_bytes),
                             sim->cfg.recv_chunk_max);
    struct weir_io_event event = {.token = sock->ops[WEIR_IO_RECV].token,
                                  .res = (int32_t)sim_read(sock, buf, len),
                                  .kind = WEIR_IO_RECV,
                                  .flags = WEIR_IO_BUF | WEIR_IO_MORE,
                                  .data = buf,
                                  .buf_idx = buf_idx};
    io->lent_lens[buf_idx] = (uint32_t)event.res;
    if (is_full(io) || sim_is_chance(sim, sim->cfg.recv_end_ppm)) {
        event.flags = WEIR_IO_BUF;
        sock->ops[WEIR_IO_RECV].is_armed = false;
    }
    sim_post(sock, &event);
    return (event.flags & WEIR_IO_MORE) && sock->arrived_len > 0;
}

static void act_recv(struct sim_sock *sock)
{
    if (sock->is_reset) {
        sim_end_op(sock, WEIR_IO_RECV, -reset_error(sock));
        return;
    }
    if (sock->state != SIM_CONNECTED) {
        sim_end_op(sock, WEIR_IO_RECV, -ENOTCONN);
        return;
    }
    if (sock->arrived_len == 0) {
        if (sock->is_fin || sock->is_shut_rd)
            sim_end_op(sock, WEIR_IO_RECV, 0);
        return;
    }
    uint32_t run_max = sock->sim->cfg.recv_run_max;
    for (uint32_t i = 0; recv_one(sock) && i + 1 < run_max;)
        i++;
    if (sock->arrived_len > 0 || sock->is_fin || sock->is_shut_rd)
        sim_list_op(sock, WEIR_IO_RECV, 0);
}

static void act_send(struct sim_sock *sock)
{
    struct weir_sim *sim = sock->sim;
    struct sim_op *op = &sock->ops[WEIR_IO_SEND];
    /* The caller must leave the bytes and the iovec alone until the event. */
    WEIR_CHECK(sim_iov_hash(op->iov, op->iov_cnt) == op->iov_hash);
    if (sock->is_reset || sim_is_chance(sim, sim->cfg.reset_ppm)) {
        if (!sock->is_reset)
            sim_break(sock);
        sim_end_op(sock, WEIR_IO_SEND, -reset_error(sock));
        return;
    }
    if (sock->state != SIM_CONNECTED || sock->is_shut_wr) {
        sim_end_op(sock, WEIR_IO_SEND, -EPIPE);
        return;
    }
    uint64_t len = 0;
    for (uint32_t i = 0; i < op->iov_cnt; i++)
        len += op->iov[i].iov_len;
    len = sim_chunk(sim, len, sim->cfg.send_chunk_max);
    if (sock->peer == NULL) {
        len = sim_write_gone(sock, len);
        if (sim->watch)
            sim->watch(sim->watch_ctx, &sock->io->io, op->token, NULL, len);
        if (len > 0)
            sim_end_op(sock, WEIR_IO_SEND, (int32_t)len);
        return; /* otherwise until the reset comes, or a timeout */
    }
    if (sock->peer->is_shut_rd) {
        /* TCP takes the bytes, and what comes back is a reset. */
        sim_break(sock);
        if (sim->watch)
            sim->watch(sim->watch_ctx, &sock->io->io, op->token, NULL, len);
        sim_end_op(sock, WEIR_IO_SEND, (int32_t)len);
        return;
    }
    if (sock->peer->pipe_len == sim->cfg.window_bytes)
        return; /* its reads put us on the agenda */
    uint64_t done = 0;
    for (uint32_t i = 0; i < op->iov_cnt && done < len; i++) {
        uint64_t piece = weir_min_u64(op->iov[i].iov_len, len - done);
        uint64_t taken = sim_write(sock, op->iov[i].iov_base, piece);
        if (sim->watch)
            sim->watch(sim->watch_ctx, &sock->io->io, op->token, op->iov[i].iov_base, taken);
        done += taken;
        if (taken < piece)
            break;
    }
    sim_end_op(sock, WEIR_IO_SEND, (int32_t)done);
}

void sim_act(struct sim_sock *sock, uint32_t kind)
{
    sock->ops[kind].is_listed = false;
    if (!sock->ops[kind].is_armed)
        return; /* cancelled or shut meanwhile */
    switch ((enum weir_io_kind)kind) {
    case WEIR_IO_ACCEPT:
        act_accept(sock);
        break;
    case WEIR_IO_CONNECT:
        act_connect(sock);
        break;
    case WEIR_IO_RECV:
        act_recv(sock);
        break;
    case WEIR_IO_SEND:
        act_send(sock);
        break;
    case WEIR_IO_SHUTDOWN:
        break; /* not an operation of the agenda's */
    }
}
