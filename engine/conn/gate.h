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
 *   full             of cfg->handshakes_max in their handshake the one that was accepted first and has brought no
 *                    cookie makes room for who comes; one that has brought one is safe for GRACE
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

struct weir_hub;
struct weir_conn;

struct weir_gatekeeper {
    struct weir_gate gate;        /* what the codec sees */
    struct weir_bucket uncookied; /* of cfg->cookie_rate */
    struct weir_bucket served;    /* of cfg->handshake_rate */
    struct weir_timer timer;      /* set while somebody is held */
    uint64_t rotated_ns;          /* when secrets[0] was made; 0: never */
    uint32_t pending_cnt, held_cnt;
    struct weir_conn *next;              /* the one that is served now, whatever the load */
    struct weir_conn *oldest, *youngest; /* accepted, in their handshake: conn->older, ->younger */
};

/* An accepted connection begins its handshake, and ends it (or its life). */
void weir_gate_came(struct weir_conn *conn);
void weir_gate_left(struct weir_conn *conn);

/* Sets what the codec will find, before it is fed with bytes of a connection in its handshake. */
void weir_gate_before(struct weir_conn *conn);
/* Counts what it did: `knock` is enum weir_knock, not 0. Returns whether the connection is held: its bytes are to be
 * kept. */
bool weir_gate_after(struct weir_conn *conn, uint8_t knock);

/* The timer came up: serves those whose turn it is. */
void weir_gate_fire(struct weir_hub *hub);

/* Whether somebody could make room, and has it done; false: nobody. */
bool weir_gate_has_room(const struct weir_hub *hub);
bool weir_gate_make_room(struct weir_hub *hub);

/* What of a connection's address its cookie is bound to. Returns how many bytes, up to WEIR_COOKIE_FROM_MAX. */
uint32_t weir_gate_from(const struct weir_conn *conn, uint8_t ret_from[WEIR_COOKIE_FROM_MAX]);

#endif
