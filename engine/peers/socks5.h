/* engine/peers/socks5.h: the client's side of SOCKS5 as a pure byte machine: bytes in, bytes out.
 *
 *   METHOD --(method 0)------------------------> REPLY --(success)--> DONE
 *      |                                           ^
 *      +-----(method 2)---> AUTH ---(accepted)-----+        anything else: FAILED with a reason
 *   METHOD  the greeting is in `out`; the answer has 2 bytes
 *   AUTH    user and password are in `out`; the answer has 2 bytes
 *   REPLY   the request is in `out`; the answer has 10, 22 or 7 to 262 bytes
 *
 * The proxy resolves names: nothing of a target is ever looked up here. `out` is only appended to, so what
 * was taken from it may be in flight while the machine goes on.
 *
 * Source: RFC 1928 (SOCKS5), RFC 1929 (user and password), Tor proposal 304 (replies 0xF0 to 0xF7).
 */
#ifndef WEIR_ENGINE_PEERS_SOCKS5_H
#define WEIR_ENGINE_PEERS_SOCKS5_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/target.h"

#define WEIR_SOCKS5_TEXT_MAX 255u /* of user and of password */
#define WEIR_SOCKS5_IN_MAX 262u   /* 4 + 1 + 255 + 2: a reply with the longest name */
#define WEIR_SOCKS5_OUT_MAX \
    779u /* 4 + (3 + 2 * 255) + (4 + 1 + 255 + 2): greeting, auth, request */

enum weir_socks5_state {
    WEIR_SOCKS5_METHOD = 0,
    WEIR_SOCKS5_AUTH,
    WEIR_SOCKS5_REPLY,
    WEIR_SOCKS5_DONE,
    WEIR_SOCKS5_FAILED
};

struct weir_socks5 {
    uint8_t state;   /* enum weir_socks5_state */
    uint16_t reason; /* FAILED: a WEIR_R_PROXY_* */
    bool has_auth;
    uint8_t user_len, password_len;
    uint16_t in_len, in_need;
    uint16_t out_len;
    uint16_t request_len;
    uint8_t request[WEIR_SOCKS5_IN_MAX];
    uint8_t user[WEIR_SOCKS5_TEXT_MAX], password[WEIR_SOCKS5_TEXT_MAX];
    uint8_t in[WEIR_SOCKS5_IN_MAX];
    uint8_t out[WEIR_SOCKS5_OUT_MAX];
};

/* Begins: the greeting is in `out` afterwards. `target` is an IPv4 or IPv6 address or a name, with its port.
 * Without `user` (NULL) only "no authentication" is offered; with it both, and user and password (1 to 255
 * bytes each) are sent if the proxy asks for them. */
void weir_socks5_begin(struct weir_socks5 *socks, const struct weir_target *target,
                       const char *user, const char *password);

/* Takes received bytes. Returns how many were the proxy's; those behind them belong to the stream. Takes none
 * once it is DONE or FAILED. */
size_t weir_socks5_feed(struct weir_socks5 *socks, const uint8_t *data, size_t len);

/* The reason for a reply's code other than 0. */
uint16_t weir_socks5_reason(uint8_t code);

#endif
