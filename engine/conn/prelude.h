/* engine/conn/prelude.h: what is said over a dialed connection before its handshake: to a proxy.
 *
 * A prelude is a byte machine that the dialer gives to a connection it opens. While the connection is
 * DIALING, prelude.c moves its bytes; when it is done the handshake begins, with the bytes that came behind
 * its own. The dial deadline is its deadline.
 */
#ifndef WEIR_ENGINE_CONN_PRELUDE_H
#define WEIR_ENGINE_CONN_PRELUDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct weir_conn;
struct weir_io_event;
struct weir_prelude;

struct weir_prelude_ops {
    /* Takes received bytes and returns how many were its own; sets is_done or fault when it is. */
    size_t (*feed)(struct weir_prelude *prelude, const uint8_t *data, size_t len);
    /* The bytes to send from the start on; they stay where and as they are, and others come behind them. */
    const uint8_t *(*out)(const struct weir_prelude *prelude, size_t *ret_len);
    void (*free)(struct weir_prelude *prelude);
};

struct weir_prelude {
    const struct weir_prelude_ops *ops;
    bool is_done;
    uint16_t fault;   /* a reason: it failed */
    size_t sent_len;  /* of `out`, taken by the kernel */
    struct iovec iov; /* of the send in flight */
};

/* The connect ended well: begins to send and to receive. */
void weir_prelude_begin(struct weir_conn *conn);

/* Handles received bytes, and gives the event's buffer back. */
void weir_prelude_recv(struct weir_conn *conn, const struct weir_io_event *event);

/* Sends what is to be sent; no send is in flight. */
void weir_prelude_flush(struct weir_conn *conn);

/* A send of the prelude ended. */
void weir_prelude_sent(struct weir_conn *conn, int32_t res);

/* Frees the connection's prelude, if it has one; no send is in flight. */
void weir_prelude_drop(struct weir_conn *conn);

#endif
