#define _GNU_SOURCE
#include "engine/peers/proxy.h"

#include <string.h>

#include "weir/error.h"

#define FRESH_BYTES 16u /* of randomness, in user and in password */

struct socks5_prelude {
    struct weir_prelude base;
    struct weir_socks5 socks;
};

static struct socks5_prelude *of(const struct weir_prelude *prelude)
{
    return (struct socks5_prelude *)(uintptr_t)prelude; /* `base` is first */
}

static size_t feed(struct weir_prelude *prelude, const uint8_t *data, size_t len)
{
    struct weir_socks5 *socks = &of(prelude)->socks;
    size_t used = weir_socks5_feed(socks, data, len);
    prelude->is_done = socks->state == WEIR_SOCKS5_DONE;
    prelude->fault = socks->state == WEIR_SOCKS5_FAILED ? socks->reason : 0;
    return used;
}

static const uint8_t *out(const struct weir_prelude *prelude, size_t *ret_len)
{
    const struct weir_socks5 *socks = &of(prelude)->socks;
    *ret_len = socks->out_len;
    return socks->out;
}

static void prelude_free(struct weir_prelude *prelude)
{
    explicit_bzero(&of(prelude)->socks, sizeof(of(prelude)->socks)); /* credentials */
    weir_heap_release(prelude);
}

static const struct weir_prelude_ops ops = {.feed = feed, .out = out, .free = prelude_free};

bool weir_proxy_is_for(const struct weir_proxy *proxy, const struct weir_target *target)
{
    return proxy && target->addr.family != WEIR_ADDR_UNIX;
}

static void fresh(struct weir_hub *hub, char ret_text[2 * FRESH_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[FRESH_BYTES];
    hub->io->ops->random(hub->io, random, sizeof(random));
    for (uint32_t i = 0; i < FRESH_BYTES; i++) {
        ret_text[2 * i] = digits[random[i] >> 4];
        ret_text[2 * i + 1] = digits[random[i] & 15];
    }
    ret_text[2 * FRESH_BYTES] = '\0';
}

struct weir_prelude *weir_proxy_prelude(const struct weir_proxy *proxy, struct weir_hub *hub,
                                        const struct weir_target *target)
{
    struct socks5_prelude *prelude = weir_heap_alloc(hub->heap, sizeof(*prelude));
    if (!prelude)
        return NULL;
    prelude->base.ops = &ops;
    char user[2 * FRESH_BYTES + 1], password[2 * FRESH_BYTES + 1];
    switch ((enum weir_proxy_auth)proxy->auth) {
    case WEIR_PROXY_AUTH_NONE:
        weir_socks5_begin(&prelude->socks, target, NULL, NULL);
        break;
    case WEIR_PROXY_AUTH_GIVEN:
        weir_socks5_begin(&prelude->socks, target, proxy->user, proxy->password);
        break;
    case WEIR_PROXY_AUTH_FRESH:
        fresh(hub, user);
        fresh(hub, password);
        weir_socks5_begin(&prelude->socks, target, user, password);
        break;
    }
    return &prelude->base;
}
