/* engine/io/uring_ops.c: operations as submission entries. Nothing here enters the kernel, except when
 * the submission queue is full, for connect's socket() and for shutdown(). */
#include "engine/io/uring_ring.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "weir/error.h"

int weir_uring_accept(struct weir_io *io, int sock, uint64_t token)
{
    struct weir_uring *u = weir_uring_of(io);
    struct io_uring_sqe *sqe = weir_uring_sqe(u);
    if (sqe == NULL)
        return WEIR_E_FULL;
    /* Not SOCK_NONBLOCK: on a non-blocking file some kernels answer -EAGAIN where they would have
     * waited for the socket to become ready. The ring never blocks on a socket anyway. */
    /* Not multishot: that one takes all who wait in the backlog at once, in the enter that
     * looks for everybody's bytes. So a flood gets one connection a turn, and what it costs the others has
     * a bound; the kernel keeps the rest, or drops it. */
    struct weir_uring_accept *accept = NULL;
    for (uint32_t i = 0; i < WEIR_URING_LISTENERS_MAX && !accept; i++) {
        if (!u->accepts[i].is_armed)
            accept = &u->accepts[i];
    }
    /* The address comes with the socket, which spares a getpeername() for each. */
    struct sockaddr *any = NULL;
    socklen_t *len = NULL;
    if (accept) {
        accept->token = token;
        accept->is_armed = true;
        accept->len = sizeof(accept->any);
        any = (struct sockaddr *)&accept->any;
        len = &accept->len;
    }
    io_uring_prep_accept(sqe, sock, any, len, SOCK_CLOEXEC);
    weir_uring_mark(sqe, WEIR_IO_ACCEPT, token);
    return 0;
}

void weir_uring_accept_ended(struct weir_uring *u, uint64_t token, int res)
{
    for (uint32_t i = 0; i < WEIR_URING_LISTENERS_MAX; i++) {
        struct weir_uring_accept *accept = &u->accepts[i];
        if (!accept->is_armed || accept->token != token)
            continue;
        accept->is_armed = false;
        if (res >= 0)
            weir_uring_came(u, res, accept);
        return;
    }
}

int weir_uring_connect(struct weir_io *io, const struct weir_addr *addr, uint64_t token,
                       int *ret_sock)
{
    struct weir_uring *u = weir_uring_of(io);
    if (u->connect_cnt == WEIR_URING_CONNECTS_MAX)
        return WEIR_E_LIMIT;

    union weir_uring_address any;
    socklen_t any_len = 0;
    int sock = weir_uring_socket(u, addr, &any, &any_len);
    if (sock < 0)
        return sock;

    struct io_uring_sqe *sqe = weir_uring_sqe(u);
    if (sqe == NULL) {
        close(sock);
        u->stats.syscalls++;
        return WEIR_E_FULL;
    }
    size_t place = weir_uring_place(u, sqe);
    u->addrs[place] = any;
    io_uring_prep_connect(sqe, sock, (const struct sockaddr *)&u->addrs[place], any_len);
    weir_uring_mark(sqe, WEIR_IO_CONNECT, token);
    u->connects[u->connect_cnt++] = (struct weir_uring_connect){.token = token, .sock = sock};
    *ret_sock = sock;
    return 0;
}

void weir_uring_connect_ended(struct weir_uring *u, uint64_t token)
{
    for (uint32_t i = 0; i < u->connect_cnt; i++) {
        if (u->connects[i].token == token) {
            u->connects[i] = u->connects[--u->connect_cnt];
            return;
        }
    }
}

int weir_uring_recv(struct weir_io *io, int sock, uint64_t token)
{
    struct weir_uring *u = weir_uring_of(io);
    struct io_uring_sqe *sqe = weir_uring_sqe(u);
    if (sqe == NULL)
        return WEIR_E_FULL;
    io_uring_prep_recv_multishot(sqe, sock, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = WEIR_URING_BUF_GROUP;
    weir_uring_mark(sqe, WEIR_IO_RECV, token);
    return 0;
}

void weir_uring_recv_done(struct weir_io *io, uint32_t buf_idx)
{
    struct weir_uring *u = weir_uring_of(io);
    /* A buffer given back twice would be filled by two receives at once. */
    WEIR_CHECK(buf_idx < u->cfg.recv_buf_cnt && u->lent[buf_idx].is_lent);
    u->lent[buf_idx].is_lent = false;
    weir_uring_buf_return(u, buf_idx);
}

int weir_uring_send(struct weir_io *io, int sock, const struct iovec *iov, uint32_t iov_cnt,
                    uint64_t token)
{
    struct weir_uring *u = weir_uring_of(io);
    WEIR_DCHECK(iov_cnt >= 1 && iov_cnt <= IOV_MAX);
    struct io_uring_sqe *sqe = weir_uring_sqe(u);
    if (sqe == NULL)
        return WEIR_E_FULL;
    /* No MSG_WAITALL: a send that the socket takes only in part ends at once and says so. What goes
     * next is then the scheduler's to decide again (an urgent frame may have come), and WAITALL would
     * not exclude short results anyway (a shutdown or reset in the middle). */
    if (iov_cnt == 1) {
        size_t len = iov->iov_len < INT_MAX ? iov->iov_len : INT_MAX; /* the count is an int */
        io_uring_prep_send(sqe, sock, iov->iov_base, len, MSG_NOSIGNAL);
    } else {
        struct msghdr *msg = &u->msgs[weir_uring_place(u, sqe)];
        *msg = (struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = iov_cnt};
        io_uring_prep_sendmsg(sqe, sock, msg, MSG_NOSIGNAL);
    }
    weir_uring_mark(sqe, WEIR_IO_SEND, token);
    return 0;
}

/* Asks for the end of the operation (kind, token). Its own event follows; the cancel's completion is
 * skipped when it succeeds and dropped when it does not (the operation had just ended), so the order
 * of the two never matters. */
static int cancel(struct weir_uring *u, uint32_t kind, uint64_t token)
{
    struct io_uring_sqe *sqe = weir_uring_sqe(u);
    if (sqe == NULL)
        return WEIR_E_FULL;
    io_uring_prep_cancel64(sqe, (uint64_t)kind << WEIR_URING_KIND_SHIFT | token, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    weir_uring_mark(sqe, WEIR_URING_DROPPED, 0);
    return 0;
}

int weir_uring_cancel(struct weir_io *io, uint64_t token)
{
    return cancel(weir_uring_of(io), WEIR_IO_ACCEPT, token);
}

/* shutdown(2) itself plus a NOP that carries the event: the kernel hands every IORING_OP_SHUTDOWN to a
 * worker thread, which it makes for that (17 to 47 us for the first one, against 8 to 11; 4.3 us against
 * 3.9 when there are hundreds), and it would end some time after the turn. The call acts before what is
 * started but not yet submitted; nothing depends on that order, because a send must have ended (it may
 * be short) before its stream can be shut.
 *
 * A connected socket's shutdown ends its receives and sends. A connecting one's does not end the
 * connect on every kernel, so that one is cancelled by its token. Not by descriptor: such a search
 * walks every armed poll of the ring (60 us among 4,000, by token 2 us), at the peers' pleasure. */
int weir_uring_shutdown(struct weir_io *io, int sock, int how, uint64_t token)
{
    struct weir_uring *u = weir_uring_of(io);
    for (uint32_t i = 0; how == SHUT_RDWR && i < u->connect_cnt; i++) {
        if (u->connects[i].sock == sock) {
            int error = cancel(u, WEIR_IO_CONNECT, u->connects[i].token);
            if (error)
                return error;
            break;
        }
    }
    struct io_uring_sqe *sqe = weir_uring_sqe(u);
    if (sqe == NULL)
        return WEIR_E_FULL;
    int rc = shutdown(sock, how);
    u->stats.syscalls++;
    io_uring_prep_nop(sqe);
    weir_uring_mark(sqe, rc == 0 ? (uint32_t)WEIR_IO_SHUTDOWN : (uint32_t)WEIR_URING_UNCONNECTED,
                    token);
    return 0;
}
