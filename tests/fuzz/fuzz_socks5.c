/* A proxy's answers: the first byte says how they are cut into pieces and whether credentials are there. The
 * same bytes in one piece must lead to the same end, which is the one that RFC 1928 and 1929 give them. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/peers/socks5.h"
#include "weir/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t run(struct weir_socks5 *socks, const uint8_t *data, size_t size, size_t piece,
                  bool has_auth)
{
    struct weir_target target;
    WEIR_CHECK(weir_target_parse(&target, "a.example:80") == 0);
    weir_socks5_begin(socks, &target, has_auth ? "user" : NULL, has_auth ? "password" : NULL);
    size_t used = 0;
    while (used < size && socks->state < WEIR_SOCKS5_DONE) {
        size_t len = size - used < piece ? size - used : piece;
        uint8_t *copy = malloc(len);
        WEIR_CHECK(copy != NULL);
        memcpy(copy, data + used, len);
        size_t took = weir_socks5_feed(socks, copy, len);
        free(copy);
        WEIR_CHECK(took == len || socks->state >= WEIR_SOCKS5_DONE);
        used += took;
    }
    return used;
}

struct verdict {
    uint16_t reason; /* 0: none so far */
    bool is_done;
    size_t used;
};

/* RFC 1928, 6, and Tor's proposal 304. */
static uint16_t reason_of(uint8_t code)
{
    static const uint16_t low[] = {0,
                                   WEIR_R_PROXY_GENERAL,
                                   WEIR_R_PROXY_RULES,
                                   WEIR_R_PROXY_NETWORK,
                                   WEIR_R_PROXY_HOST,
                                   WEIR_R_PROXY_REFUSED,
                                   WEIR_R_PROXY_TTL,
                                   WEIR_R_PROXY_COMMAND,
                                   WEIR_R_PROXY_TYPE};
    static const uint16_t onion[] = {WEIR_R_PROXY_ONION_NOT_FOUND, WEIR_R_PROXY_ONION_INVALID,
                                     WEIR_R_PROXY_ONION_INTRO,     WEIR_R_PROXY_ONION_RENDEZVOUS,
                                     WEIR_R_PROXY_ONION_NO_AUTH,   WEIR_R_PROXY_ONION_BAD_AUTH,
                                     WEIR_R_PROXY_ONION_ADDRESS,   WEIR_R_PROXY_ONION_TIMEOUT};
    if (code < 9)
        return low[code];
    return code >= 0xF0 && code <= 0xF7 ? onion[code - 0xF0] : WEIR_R_PROXY_UNKNOWN;
}

/* What the bytes mean, read a second time. */
static struct verdict judge(const uint8_t *data, size_t size, bool has_auth)
{
    size_t at = 2;
    if (size < 2)
        return (struct verdict){.used = size};
    if (data[0] != 5)
        return (struct verdict){.reason = WEIR_R_PROXY_PROTOCOL, .used = 2};
    if (data[1] == 2 && has_auth) {
        if (size < 4)
            return (struct verdict){.used = size};
        if (data[2] != 1 || data[3] != 0)
            return (struct verdict){
                .reason = data[2] != 1 ? WEIR_R_PROXY_PROTOCOL : WEIR_R_PROXY_AUTH, .used = 4};
        at = 4;
    } else if (data[1] != 0) {
        return (struct verdict){
            .reason = data[1] == 0xFF ? WEIR_R_PROXY_METHOD : WEIR_R_PROXY_PROTOCOL, .used = 2};
    }
    const uint8_t *reply = data + at; /* version, code, zero, type, the address's first byte */
    if (size - at < 5)
        return (struct verdict){.used = size};
    size_t address = reply[3] == 1 ? 4 : reply[3] == 4 ? 16 : reply[3] == 3 ? 1u + reply[4] : 0;
    if (reply[0] != 5 || (reply[1] == 0 && address == 0))
        return (struct verdict){.reason = WEIR_R_PROXY_PROTOCOL, .used = at + 5};
    if (reply[1] != 0)
        return (struct verdict){.reason = reason_of(reply[1]), .used = at + 5};
    size_t end = at + 4 + address + 2;
    return (struct verdict){.is_done = size >= end, .used = size < end ? size : end};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct weir_socks5 whole, cut;
    if (size == 0)
        return 0;
    bool has_auth = data[0] & 1;
    size_t piece = 1 + (data[0] >> 1);
    size_t used = run(&whole, data + 1, size - 1, size, has_auth);
    WEIR_CHECK(run(&cut, data + 1, size - 1, piece, has_auth) == used);
    WEIR_CHECK(whole.state == cut.state && whole.reason == cut.reason);
    WEIR_CHECK(whole.out_len == cut.out_len && memcmp(whole.out, cut.out, whole.out_len) == 0);
    WEIR_CHECK((whole.state == WEIR_SOCKS5_FAILED) == (whole.reason != 0));
    struct verdict verdict = judge(data + 1, size - 1, has_auth);
    WEIR_CHECK(used == verdict.used && whole.reason == verdict.reason);
    WEIR_CHECK((whole.state == WEIR_SOCKS5_DONE) == verdict.is_done);
    return 0;
}
