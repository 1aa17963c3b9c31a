#include "engine/conn/prelude.h"

#include <errno.h>

#include "engine/base/check.h"
#include "engine/conn/conn.h"
#include "weir/error.h"

void weir_prelude_begin(struct weir_conn *conn)
{
    weir_conn_arm_recv(conn);
    weir_conn_mark_dirty(conn);
}

void weir_prelude_drop(struct weir_conn *conn)
{
    WEIR_CHECK(!(conn->flags & WEIR_CONN_OP_SEND));
    if (conn->prelude)
        conn->prelude->ops->free(conn->prelude);
    conn->prelude = NULL;
}

void weir_prelude_flush(struct weir_conn *conn)
{
    struct weir_hub *hub = conn->hub;
    struct weir_prelude *prelude = conn->prelude;
    size_t len;
    const uint8_t *out = prelude->ops->out(prelude, &len);
    if (conn->state != WEIR_CONN_DIALING || (conn->flags & WEIR_CONN_OP_CONNECT) ||
        prelude->sent_len == len)
        return;
    prelude->iov = (struct iovec){.iov_base = (void *)(uintptr_t)(out + prelude->sent_len),
                                  .iov_len = len - prelude->sent_len};
    int error = hub->io->ops->send(hub->io, conn->sock, &prelude->iov, 1, weir_conn_token(conn));
    if (error == 0)
        conn->flags |= WEIR_CONN_OP_SEND;
    else if (error == WEIR_E_FULL)
        weir_conn_mark_dirty(conn); /* the kernel is short of memory: again in the next turn */
    else
        weir_conn_abort(conn, WEIR_R_INTERNAL);
}

void weir_prelude_sent(struct weir_conn *conn, int32_t res)
{
    struct weir_prelude *prelude = conn->prelude;
    size_t len;
    (void)prelude->ops->out(prelude, &len);
    if (res > 0) {
        prelude->sent_len += (size_t)res;
        conn->wire_tx += (uint64_t)res;
        weir_count(&conn->hub->metrics.wire_tx, (uint64_t)res);
    }
    WEIR_CHECK(prelude->sent_len <= len);
    if (conn->state == WEIR_CONN_DRAIN)
        return;
    if (res < 0 && res != -EAGAIN && res != -EINTR) {
        weir_conn_abort(conn, WEIR_R_PROXY_CLOSED);
        return;
    }
    if (prelude->is_done) {
        /* The answer was faster than this event. A proxy that answers what it has not read lies. */
        bool is_all = prelude->sent_len == len;
        weir_prelude_drop(conn);
        if (!is_all) {
            weir_conn_abort(conn, WEIR_R_PROXY_PROTOCOL);
            return;
        }
    }
    weir_conn_mark_dirty(conn);
}

static void done(struct weir_conn *conn)
{
    weir_count(&conn->hub->metrics.dialed, 1);
    if (!(conn->flags & WEIR_CONN_OP_SEND)) {
        size_t len;
        (void)conn->prelude->ops->out(conn->prelude, &len);
        bool is_all = conn->prelude->sent_len == len;
        weir_prelude_drop(conn);
        if (!is_all) {
            weir_conn_abort(conn, WEIR_R_PROXY_PROTOCOL);
            return;
        }
    }
    weir_conn_established(conn);
}

void weir_prelude_recv(struct weir_conn *conn, const struct weir_io_event *event)
{
    struct weir_hub *hub = conn->hub;
    struct weir_prelude *prelude = conn->prelude;
    size_t used = prelude->ops->feed(prelude, event->data, (size_t)event->res);
    WEIR_CHECK(used <= (size_t)event->res);
    conn->wire_rx += used;
    weir_count(&hub->metrics.wire_rx, used);
    uint16_t fault = prelude->fault;
    if (fault)
        weir_conn_abort(conn, fault);
    else if (prelude->is_done)
        done(conn);
    else
        weir_conn_mark_dirty(conn); /* there may be more to send */
    if (conn->state != WEIR_CONN_HANDSHAKE || used == (size_t)event->res) {
        hub->io->ops->recv_done(hub->io, event->buf_idx);
        return;
    }
    struct weir_io_event rest = *event; /* what came behind belongs to the stream */
    rest.data += used;
    rest.res -= (int32_t)used;
    weir_rx_event(conn, &rest);
}
