/* engine/peers/proxy.h: the SOCKS5 proxy that a node dials through, and the prelude made for each dial. */
#ifndef WEIR_ENGINE_PEERS_PROXY_H
#define WEIR_ENGINE_PEERS_PROXY_H

#include "engine/conn/conn.h"
#include "engine/conn/prelude.h"
#include "engine/peers/socks5.h"

/* Credentials of a connection of its own: fresh random ones make Tor take another circuit for it. */
enum weir_proxy_auth { WEIR_PROXY_AUTH_NONE = 0, WEIR_PROXY_AUTH_GIVEN, WEIR_PROXY_AUTH_FRESH };

struct weir_proxy {
    struct weir_target at; /* TCP address, name or unix socket */
    uint8_t auth;          /* enum weir_proxy_auth */
    char user[WEIR_SOCKS5_TEXT_MAX + 1], password[WEIR_SOCKS5_TEXT_MAX + 1];
};

/* Whether a target is dialed through the proxy: all but unix sockets, which are on this machine. */
bool weir_proxy_is_for(const struct weir_proxy *proxy, const struct weir_target *target);

/* Makes the prelude of one connection to `target`; NULL when memory is short. */
struct weir_prelude *weir_proxy_prelude(const struct weir_proxy *proxy, struct weir_hub *hub,
                                        const struct weir_target *target);

#endif
