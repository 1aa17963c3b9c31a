/* sender.h: the connection of `weir send`: one node, one peer, one channel, and what is answered.
 *
 * The main thread sends and waits; the shard's thread only notes what happens. Once something has
 * failed, sender_fault() tells what, and every function returns false at once.
 */
#ifndef SENDER_H
#define SENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/weir.h>

#include "secure_options.h"

struct sender;

struct sender_options {
    const char *address;
    const char *network_id;                  /* NULL: the default */
    const char *tcp_congestion;              /* NULL: the system's */
    const char *proxy;                       /* NULL: none */
    const char *proxy_user, *proxy_password; /* NULL: fresh random ones */
    uint16_t channel, weight;
    struct secure_options secure;
    weir_ns wait_ns; /* how long to keep dialing somebody who does not answer */
};

/* Makes a node and connects. Returns -1, or an exit code after having said why. `*ret_sender` is set
 * either way, to NULL when nothing was made. */
int sender_open(struct sender **ret_sender, const struct sender_options *options);

/* Stops and frees; NULL is fine. */
void sender_close(struct sender *sender);

/* Sends one message, waiting for room as long as the peer is there. */
bool sender_send(struct sender *sender, const void *data, size_t len);
bool sender_send_buf(struct sender *sender, struct weir_buf *take);

/* Waits until the receiver has said DONE, and compares what it counted. */
bool sender_finish(struct sender *sender, uint64_t bytes, uint32_t files);

/* Says why something returned false, and returns the exit code for it. */
int sender_fault(struct sender *sender);

#endif
