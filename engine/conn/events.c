#include "engine/conn/conn.h"

#include <errno.h>

#include "engine/base/check.h"
#include "weir/error.h"

/* ---- arming -------------------------------------------------------------------------------- */

void weir_conn_arm_recv(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    int error = hub->io->ops->recv(hub->io, conn->sock, weir_conn_token(conn));
    if (WEIR_PLANTED(OWNER))
        return;
    if (error == 0)
        conn->flags |= WEIR_CONN_OP_RECV;
    else if (error == WEIR_E_FULL)
        weir_conn_starve(conn);
    else
        weir_conn_abort(conn, WEIR_R_INTERNAL);
}

void weir_conn_starve(struct weir_conn *conn)
{
    if (conn->flags & WEIR_CONN_STARVED)
        return;
    conn->flags |= WEIR_CONN_STARVED;
    struct weir_hub *hub = conn->hub;
    conn->next_starved = NULL;
    if (hub->starved)
        hub->starved_tail->next_starved = conn;
    else
        hub->starved = conn;
    hub->starved_tail = conn;
}

/* ---- what came ----------------------------------------------------------------------------- */

struct weir_conn *weir_conn_of_token(struct weir_hub *hub, uint64_t token)
{
    uint32_t slot = (uint32_t)token;
    if (slot >= hub->cfg->peers_max)
        return NULL;
    struct weir_conn *conn = &hub->conns[slot];
    if (conn->state == WEIR_CONN_FREE || (conn->gen & 0xFFFFFFu) != (uint32_t)(token >> 32))
        return NULL;
    return conn;
}

static uint16_t reason_of_errno(int error)
{
    switch (error) {
    case ECONNREFUSED:
    case ENOENT:
        return WEIR_R_REFUSED;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL:
    case EACCES:
    case EPERM:
        return WEIR_R_UNREACHABLE;
    case ETIMEDOUT:
        return WEIR_R_DIAL_TIMEOUT;
    default:
        return WEIR_R_RESET;
    }
}

static void on_connect(struct weir_conn *conn, int32_t res)
{
    conn->flags &= ~(uint32_t)WEIR_CONN_OP_CONNECT;
    if (conn->state != WEIR_CONN_DIALING)
        return;
    if (res < 0) {
        weir_conn_abort(conn, conn->prelude ? WEIR_R_PROXY_DOWN : reason_of_errno(-res));
        return;
    }
    if (conn->hub->ops->connected)
        conn->hub->ops->connected(conn);
    if (conn->prelude) {
        weir_prelude_begin(conn);
        return;
    }
    weir_count(&conn->hub->metrics.dialed, 1);
    weir_conn_established(conn);
}

static void on_recv(struct weir_conn *conn, const struct weir_io_event *event)
{
    struct weir_hub *hub = conn->hub;
    if (!(event->flags & WEIR_IO_MORE))
        conn->flags &= ~(uint32_t)WEIR_CONN_OP_RECV;
    if (event->res > 0 && conn->state == WEIR_CONN_DIALING) {
        weir_prelude_recv(conn, event);
    } else if (event->res > 0) {
        weir_rx_event(conn, event);
    } else if (event->flags & WEIR_IO_BUF) {
        hub->io->ops->recv_done(hub->io, event->buf_idx);
    }
    if (event->flags & WEIR_IO_MORE)
        return;
    if (conn->state == WEIR_CONN_DRAIN)
        return;
    if (event->res > 0 || event->res == -ENOBUFS || event->res == -EINTR || event->res == -EAGAIN) {
        weir_conn_starve(conn);
        return;
    }
    if (conn->state == WEIR_CONN_DIALING) {
        weir_conn_abort(conn, WEIR_R_PROXY_CLOSED);
        return;
    }
    if (event->res < 0) {
        weir_conn_broken(conn);
        return;
    }
    weir_conn_ended(conn);
}

void weir_conn_event(struct weir_hub *hub, const struct weir_io_event *event)
{
    struct weir_conn *conn = weir_conn_of_token(hub, event->token);
    if (!conn) {
        if (event->flags & WEIR_IO_BUF)
            hub->io->ops->recv_done(hub->io, event->buf_idx);
        return;
    }
    switch ((enum weir_io_kind)event->kind) {
    case WEIR_IO_CONNECT:
        on_connect(conn, event->res);
        break;
    case WEIR_IO_RECV:
        on_recv(conn, event);
        break;
    case WEIR_IO_SEND:
        weir_tx_event(conn, event->res);
        break;
    case WEIR_IO_SHUTDOWN:
        WEIR_CHECK(conn->shutdown_cnt > 0);
        conn->shutdown_cnt--;
        break;
    case WEIR_IO_ACCEPT:
        break;
    }
    weir_conn_settle(conn);
}
