/* The cookie: under load a stranger has to come back with it before any curve operation is made for it.
 *
 * It is HMAC-SHA256 of "weir-cookie-v1", the length and the bytes of what the address tells (arm's `from`), the
 * preface and message 1, under a secret of the listener's that changes. So it can be had by no
 * other address, used for no other handshake and not kept for long, and there is nothing to remember of who was given
 * one: only that this stream was asked. Nobody but the listener ever reads it.
 */
#include "proto/native_v2.h"

#include <string.h>

#include "proto/native_bytes.h"

_Static_assert(NATIVE_V2_COOKIE_BYTES == 32, "a whole SHA-256");

static bool cookie_make(const struct native_v2_state *state, uint32_t secret_idx,
                        const struct weir_piece *message1,
                        uint8_t ret_cookie[NATIVE_V2_COOKIE_BYTES])
{
    static const char label[] = "weir-cookie-v1";
    const struct weir_secret *secret = state->offer->secret;
    const struct weir_piece pieces[] = {
        {label, sizeof label - 1},
        {&state->u.handshake.from_len, sizeof state->u.handshake.from_len},
        {state->u.handshake.from, state->u.handshake.from_len},
        {state->preface, sizeof state->preface},
        *message1};
    return weir_hmac(secret->crypto, WEIR_DIGEST_SHA256, secret->gate->secrets[secret_idx],
                     WEIR_COOKIE_SECRET_BYTES, pieces, sizeof pieces / sizeof pieces[0],
                     ret_cookie);
}

static bool cookie_is_good(const struct native_v2_state *state, const struct weir_piece *message1,
                           const uint8_t *cookie)
{
    uint8_t expected[NATIVE_V2_COOKIE_BYTES];
    for (uint32_t i = 0; i < 2; i++) {
        if (cookie_make(state, i, message1, expected) &&
            weir_is_same(cookie, expected, sizeof expected))
            return true;
    }
    return false;
}

bool weir_v2_knock(struct native_v2_state *state, const struct weir_piece *message1,
                   const uint8_t *cookie, struct weir_feed *ret_feed)
{
    const struct weir_gate *gate = state->offer->secret->gate;
    uint8_t admission = gate ? gate->admission : WEIR_GATE_OPEN;
    bool knows_cookies = (state->preface[NATIVE_V2_AT_KNOWS] & NATIVE_V2_KNOWS_COOKIE) != 0;
    if (cookie && !cookie_is_good(state, message1, cookie)) {
        ret_feed->knock = WEIR_KNOCK_FORGED;
        weir_v2_fail(state, WEIR_R_BAD_HELLO, false);
        return false;
    }
    if (cookie)
        ret_feed->knock = WEIR_KNOCK_COOKIE;
    if (admission == WEIR_GATE_OPEN || (admission == WEIR_GATE_COOKIE && cookie)) {
        ret_feed->knock |= WEIR_KNOCK_SERVED;
        return true;
    }
    if (!cookie && knows_cookies) {
        if (!cookie_make(state, 0, message1, state->u.handshake.cookie)) {
            weir_v2_fail(state, WEIR_R_INTERNAL, false);
            return false;
        }
        state->has_cookie = true;
        state->out |= NATIVE_V2_OUT_COOKIE;
        ret_feed->knock = WEIR_KNOCK_ASKED;
        return false;
    }
    ret_feed->knock |= WEIR_KNOCK_HELD;
    return false;
}
