/* engine/conn/gate.h: which strangers' handshakes a shard serves, and when.
 *
 * An encrypted handshake costs the listener four X25519 operations and a check of a signature, and the first three of
 * them are made for whoever sends 50 bytes. So:
 *
 *   not under load   a first message is served as it comes
 *   under load       cfg->cookie_pending accepted connections are in their handshake, or more than cfg->cookie_rate
 *                    were served without a cookie in this second: a first message is answered with a cookie (a MAC, no
 *                    curve operation), and served when it comes back with it
 *   always           at most cfg->handshake_rate are served in a second. Who is beyond it is *held*: its message lies in
 *                    its carry until its turn comes, those with a cookie first, then those that know no cookies, each in
 *                    the order in which they connected
 *   at the door      cfg->accept_rate strangers are accepted in a second whose handshake has not come to its end; from
 *                    there on the listener rests, and who comes waits in the kernel's queue, where it costs nobody anything.
 *                    Who becomes a peer gives back what was taken for it, so that a crowd of honest ones is not held up
 *   full             of cfg->handshakes_max in their handshake the one that was accepted first and has brought no
 *                    cookie makes room for who comes; one that has brought one is safe for GRACE
 *
 * And whosever they are, ours or a stranger's: curve operations of one message are made in a turn, a *step*, and only
 * after what the turn had to send. A message that needs some lies in its connection's carry, in a line, until then. A turn
 * that has messages to send leaves its step to the next one, which submits them first. So a message of an established
 * connection waits for one step at most, however many shake hands.
 *
 * Dialers are not counted: they are our own doing. What is on this machine is served, unless WEIR_CONFIG_LIMIT_LOOPBACK.
 */
#ifndef WEIR_ENGINE_CONN_GATE_H
#define WEIR_ENGINE_CONN_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/bucket.h"
#include "engine/base/wheel.h"
#include "proto/codec.h"

#define WEIR_TIMER_GATE 23u

struct weir_addr;
struct weir_hub;
struct weir_conn;

struct weir_gatekeeper {
    struct weir_gate gate;        /* what the codec sees */
    struct weir_bucket uncookied; /* of cfg->cookie_rate */
    struct weir_bucket served;    /* of cfg->handshake_rate */
    struct weir_bucket accepted;  /* of cfg->accept_rate */
    struct weir_timer timer;      /* set while somebody is held */
    uint64_t rotated_ns;          /* when secrets[0] was made; 0: never */
    uint32_t pending_cnt, held_cnt;
    bool is_due;                              /* somebody who is held may be served */
    bool is_deferred;                         /* the last turn had a step to make and left it */
    struct weir_conn *next;                   /* the one that is served now, whatever the load */
    struct weir_conn *stepping;               /* who may make a step now */
    struct weir_conn *first_step, *last_step; /* the line: conn->next_step */
    struct weir_conn *oldest, *youngest; /* accepted, in their handshake: conn->older, ->younger */
};

/* A stranger was accepted at `addr`, whether there is a place for it or not. */
void weir_gate_accepted(struct weir_hub *hub, const struct weir_addr *addr);
/* When the next one may be: now or before means now. */
uint64_t weir_gate_accept_ns(const struct weir_hub *hub);

/* An accepted connection begins its handshake, and ends it (or its life). */
void weir_gate_came(struct weir_conn *conn);
void weir_gate_left(struct weir_conn *conn, bool is_peer);

/* Sets what the codec will find, before it is fed with bytes of a connection in its handshake. */
void weir_gate_before(struct weir_conn *conn);
/* Counts what it did: `knock` is enum weir_knock, not 0. Returns whether the connection is held: its bytes are to be
 * kept. */
bool weir_gate_after(struct weir_conn *conn, uint8_t knock);

/* The timer came up: those whose turn it is are served by the next steps. */
void weir_gate_fire(struct weir_hub *hub);

/* Whether feeding a connection may take a step now; if not, it is in the line and its bytes are to be kept. */
bool weir_gate_may_step(struct weir_conn *conn);
/* It was fed and took it. */
void weir_gate_stepped(struct weir_conn *conn);
/* Whether somebody waits for a step. */
static inline bool weir_gate_has_steps(const struct weir_gatekeeper *keeper)
{
    return keeper->first_step || keeper->is_due;
}
/* Before the tx stage: whether it will send messages while somebody waits for a step. */
bool weir_gate_is_pressed(const struct weir_hub *hub);
/* The turn's step, if any is to be made; `is_pressed`: messages are to be submitted first. They wait for one at most. */
void weir_gate_step(struct weir_hub *hub, bool is_pressed);

/* Whether somebody could make room, and has it done; false: nobody. */
bool weir_gate_has_room(const struct weir_hub *hub);
bool weir_gate_make_room(struct weir_hub *hub);

/* What of a connection's address its cookie is bound to. Returns how many bytes, up to WEIR_COOKIE_FROM_MAX. */
uint32_t weir_gate_from(const struct weir_conn *conn, uint8_t ret_from[WEIR_COOKIE_FROM_MAX]);

#endif
