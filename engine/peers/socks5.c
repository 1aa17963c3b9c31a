#include "engine/peers/socks5.h"

#include <assert.h>
#include <string.h>

#include "engine/base/check.h"
#include "weir/error.h"

#define VERSION 0x05
#define AUTH_VERSION 0x01
#define METHOD_NONE 0x00
#define METHOD_PASSWORD 0x02
#define METHOD_REFUSED 0xFF
#define COMMAND_CONNECT 0x01
#define TYPE_IPV4 0x01
#define TYPE_NAME 0x03
#define TYPE_IPV6 0x04
#define ANSWER_LEN 2u     /* of METHOD and AUTH */
#define REPLY_HEAD_LEN 5u /* up to the first byte of the address: a name's length */

static_assert(WEIR_NAME_LEN_MAX <= 255, "a name's length is one byte");

static void put(struct weir_socks5 *socks, const void *bytes, size_t len)
{
    WEIR_CHECK(socks->out_len + len <= sizeof(socks->out));
    memcpy(socks->out + socks->out_len, bytes, len);
    socks->out_len = (uint16_t)(socks->out_len + len);
}

/* RFC 1928, 4. The final dot of an absolute name is for resolvers, and some proxies choke on it. */
static uint16_t write_request(uint8_t *at, const struct weir_target *target)
{
    size_t len = 0;
    at[len++] = VERSION;
    at[len++] = COMMAND_CONNECT;
    at[len++] = 0;
    if (weir_target_is_name(target)) {
        size_t name_len = strlen(target->name);
        name_len -= target->name[name_len - 1] == '.';
        at[len++] = TYPE_NAME;
        at[len++] = (uint8_t)name_len;
        memcpy(at + len, target->name, name_len);
        len += name_len;
    } else {
        bool is_ipv4 = target->addr.family == WEIR_ADDR_IPV4;
        WEIR_CHECK(is_ipv4 || target->addr.family == WEIR_ADDR_IPV6);
        at[len++] = is_ipv4 ? TYPE_IPV4 : TYPE_IPV6;
        memcpy(at + len, target->addr.ip, is_ipv4 ? 4 : 16);
        len += is_ipv4 ? 4 : 16;
    }
    at[len++] = (uint8_t)(target->addr.port >> 8);
    at[len++] = (uint8_t)target->addr.port;
    return (uint16_t)len;
}

static uint8_t take_text(uint8_t *to, const char *text)
{
    size_t len = strlen(text);
    WEIR_CHECK(len >= 1 && len <= WEIR_SOCKS5_TEXT_MAX);
    memcpy(to, text, len);
    return (uint8_t)len;
}

void weir_socks5_begin(struct weir_socks5 *socks, const struct weir_target *target,
                       const char *user, const char *password)
{
    memset(socks, 0, sizeof(*socks));
    socks->state = WEIR_SOCKS5_METHOD;
    socks->in_need = ANSWER_LEN;
    socks->request_len = write_request(socks->request, target);
    static const uint8_t plain[] = {VERSION, 1, METHOD_NONE};
    static const uint8_t both[] = {VERSION, 2, METHOD_NONE, METHOD_PASSWORD};
    if (!user) {
        put(socks, plain, sizeof(plain));
        return;
    }
    socks->has_auth = true;
    socks->user_len = take_text(socks->user, user);
    socks->password_len = take_text(socks->password, password);
    put(socks, both, sizeof(both));
}

static void fail(struct weir_socks5 *socks, uint16_t reason)
{
    socks->state = WEIR_SOCKS5_FAILED;
    socks->reason = reason;
}

static void expect(struct weir_socks5 *socks, enum weir_socks5_state state, uint16_t need)
{
    socks->state = (uint8_t)state;
    socks->in_len = 0;
    socks->in_need = need;
}

static void request(struct weir_socks5 *socks)
{
    put(socks, socks->request, socks->request_len);
    expect(socks, WEIR_SOCKS5_REPLY, REPLY_HEAD_LEN);
}

static void on_method(struct weir_socks5 *socks)
{
    uint8_t method = socks->in[1];
    if (socks->in[0] != VERSION) {
        fail(socks, WEIR_R_PROXY_PROTOCOL);
    } else if (method == METHOD_NONE) {
        request(socks);
    } else if (method == METHOD_PASSWORD && socks->has_auth) { /* RFC 1929, 2 */
        uint8_t head[2] = {AUTH_VERSION, socks->user_len};
        put(socks, head, sizeof(head));
        put(socks, socks->user, socks->user_len);
        put(socks, &socks->password_len, 1);
        put(socks, socks->password, socks->password_len);
        expect(socks, WEIR_SOCKS5_AUTH, ANSWER_LEN);
    } else {
        fail(socks, method == METHOD_REFUSED ? WEIR_R_PROXY_METHOD : WEIR_R_PROXY_PROTOCOL);
    }
}

static void on_auth(struct weir_socks5 *socks)
{
    if (socks->in[0] != AUTH_VERSION)
        fail(socks, WEIR_R_PROXY_PROTOCOL);
    else if (socks->in[1] != 0)
        fail(socks, WEIR_R_PROXY_AUTH);
    else
        request(socks);
}

/* Called with the head, which says how long the reply is, and again with all of it. A refusal is known by
 * its code: how many bytes follow it does not matter any more. */
static void on_reply(struct weir_socks5 *socks)
{
    if (socks->in[0] != VERSION) {
        fail(socks, WEIR_R_PROXY_PROTOCOL);
        return;
    }
    if (socks->in[1] != 0) {
        fail(socks, weir_socks5_reason(socks->in[1]));
        return;
    }
    if (socks->in_need > REPLY_HEAD_LEN) {
        socks->state = WEIR_SOCKS5_DONE;
        return;
    }
    switch (socks->in[3]) {
    case TYPE_IPV4:
        socks->in_need = 4 + 4 + 2;
        break;
    case TYPE_IPV6:
        socks->in_need = 4 + 16 + 2;
        break;
    case TYPE_NAME: /* with a length of 0 too: where it is bound to is of no use to us */
        socks->in_need = (uint16_t)(4 + 1 + socks->in[4] + 2);
        break;
    default:
        fail(socks, WEIR_R_PROXY_PROTOCOL);
    }
}

size_t weir_socks5_feed(struct weir_socks5 *socks, const uint8_t *data, size_t len)
{
    size_t used = 0;
    while (socks->state < WEIR_SOCKS5_DONE && used < len) {
        size_t take = (size_t)(socks->in_need - socks->in_len);
        if (take > len - used)
            take = len - used;
        WEIR_CHECK(socks->in_len + take <= sizeof(socks->in));
        memcpy(socks->in + socks->in_len, data + used, take);
        socks->in_len = (uint16_t)(socks->in_len + take);
        used += take;
        if (socks->in_len < socks->in_need)
            break;
        if (socks->state == WEIR_SOCKS5_METHOD)
            on_method(socks);
        else if (socks->state == WEIR_SOCKS5_AUTH)
            on_auth(socks);
        else
            on_reply(socks);
    }
    return used;
}

uint16_t weir_socks5_reason(uint8_t code)
{
    if (code >= 1 && code <= 8)
        return (uint16_t)(WEIR_R_PROXY_GENERAL + code - 1);
    if (code >= 0xF0 && code <= 0xF7)
        return (uint16_t)(WEIR_R_PROXY_ONION_NOT_FOUND + code - 0xF0);
    return WEIR_R_PROXY_UNKNOWN;
}

static_assert(WEIR_R_PROXY_TYPE == WEIR_R_PROXY_GENERAL + 7, "one reason per code 1 to 8");
static_assert(WEIR_R_PROXY_ONION_TIMEOUT == WEIR_R_PROXY_ONION_NOT_FOUND + 7, "and F0 to F7");
