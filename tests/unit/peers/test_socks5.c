#include "engine/peers/socks5.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/error.h"

#define USER "user"
#define PASSWORD "pa:ss"
#define STREAM "the stream behind"

static struct weir_target target_of(const char *text)
{
    struct weir_target target;
    cr_assert_eq(weir_target_parse(&target, text), 0, "%s", text);
    return target;
}

/* A proxy's answers, as bytes. */
struct script {
    uint8_t bytes[1024];
    size_t len;
};

static void say(struct script *script, const void *bytes, size_t len)
{
    cr_assert_leq(script->len + len, sizeof(script->bytes));
    memcpy(script->bytes + script->len, bytes, len);
    script->len += len;
}

static void say_method(struct script *script, uint8_t method)
{
    uint8_t bytes[] = {5, method};
    say(script, bytes, 2);
}

static void say_auth(struct script *script, uint8_t status)
{
    uint8_t bytes[] = {1, status};
    say(script, bytes, 2);
}

/* `name_len` is for type 3. */
static void say_reply(struct script *script, uint8_t code, uint8_t type, size_t name_len)
{
    uint8_t bytes[300] = {5, code, 0, type};
    size_t len = 4;
    if (type == 3)
        bytes[len++] = (uint8_t)name_len;
    size_t addr_len = type == 1 ? 4 : type == 4 ? 16 : name_len;
    memset(bytes + len, 'n', addr_len);
    len += addr_len + 2;
    say(script, bytes, len);
}

/* Feeds `len` bytes in pieces that `cut` says: bit i set, a piece ends behind byte i. Every piece is a heap
 * block of its own, so that a sanitizer sees a byte too far. Returns how many bytes were the proxy's. */
static size_t feed_cut(struct weir_socks5 *socks, const uint8_t *bytes, size_t len,
                       const bool *ends_here)
{
    size_t used = 0;
    for (size_t at = 0; at < len;) {
        size_t end = at + 1;
        while (end < len && !ends_here[end - 1])
            end++;
        uint8_t *piece = malloc(end - at);
        memcpy(piece, bytes + at, end - at);
        size_t took = weir_socks5_feed(socks, piece, end - at);
        free(piece);
        used += took;
        if (took < end - at)
            break;
        at = end;
    }
    return used;
}

/* Feeds the script at every single split, byte by byte, whole, and at random; the machine must end each time in
 * `state`, after `proxy_len` bytes. */
static void at_every_split(const struct weir_target *target, bool has_auth,
                           const struct script *script, enum weir_socks5_state state,
                           uint16_t reason, size_t proxy_len)
{
    static bool cut[1024];
    uint64_t random = 88172645463325252u;
    for (size_t round = 0; round < script->len + 50; round++) {
        memset(cut, round == script->len, sizeof(cut));
        if (round > 0 && round < script->len)
            cut[round - 1] = true;
        for (size_t i = 0; round > script->len && i < script->len; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            cut[i] = random % 5 == 0;
        }
        struct weir_socks5 socks;
        weir_socks5_begin(&socks, target, has_auth ? USER : NULL, has_auth ? PASSWORD : NULL);
        size_t used = feed_cut(&socks, script->bytes, script->len, cut);
        cr_assert_eq(socks.state, state, "round %zu: state %u, reason %s", round, socks.state,
                     weir_reason_name(socks.reason));
        cr_assert_eq(socks.reason, reason, "round %zu: %s", round, weir_reason_name(socks.reason));
        cr_assert_eq(used, proxy_len, "round %zu: %zu bytes", round, used);
        cr_assert_eq(weir_socks5_feed(&socks, (const uint8_t *)"x", 1),
                     state < WEIR_SOCKS5_DONE ? 1 : 0);
    }
}

/* ---- what is sent --------------------------------------------------------------------------- */

Test(socks5, the_bytes_of_each_kind_of_target)
{
    static const struct {
        const char *target;
        uint8_t bytes[40];
        size_t len;
    } cases[] = {
        {"1.2.3.4:258", {5, 1, 0, 1, 1, 2, 3, 4, 1, 2}, 10},
        {"[2001:db8::1]:80",
         {5, 1, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80},
         22},
        {"Ab.example:80",
         {5, 1, 0, 3, 10, 'a', 'b', '.', 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 80},
         17},
        {"ab.example.:80",
         {5, 1, 0, 3, 10, 'a', 'b', '.', 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 80},
         17},
        {"xyz.onion:9", {5, 1, 0, 3, 9, 'x', 'y', 'z', '.', 'o', 'n', 'i', 'o', 'n', 0, 9}, 16},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_target target = target_of(cases[i].target);
        struct weir_socks5 socks;
        weir_socks5_begin(&socks, &target, NULL, NULL);
        cr_assert_eq(socks.out_len, 3);
        cr_assert_eq(memcmp(socks.out, "\5\1\0", 3), 0);
        cr_assert_eq(weir_socks5_feed(&socks, (const uint8_t *)"\5\0", 2), 2);
        cr_assert_eq(socks.out_len, 3 + cases[i].len, "%s", cases[i].target);
        cr_assert_eq(memcmp(socks.out + 3, cases[i].bytes, cases[i].len), 0, "%s", cases[i].target);
    }
}

Test(socks5, the_bytes_with_user_and_password)
{
    struct weir_target target = target_of("1.2.3.4:80");
    struct weir_socks5 socks;
    weir_socks5_begin(&socks, &target, USER, PASSWORD);
    cr_assert_eq(socks.out_len, 4);
    cr_assert_eq(memcmp(socks.out, "\5\2\0\2", 4), 0);
    weir_socks5_feed(&socks, (const uint8_t *)"\5\2", 2);
    cr_assert_eq(socks.out_len, 4 + 12);
    cr_assert_eq(memcmp(socks.out + 4, "\1\4user\5pa:ss", 12), 0);
    weir_socks5_feed(&socks, (const uint8_t *)"\1\0", 2);
    cr_assert_eq(socks.out_len, 4 + 12 + 10);
    cr_assert_eq(memcmp(socks.out, "\5\2\0\2\1\4user\5pa:ss\5\1\0\1", 20), 0, "nothing moved");
    /* The proxy chooses none although credentials were offered. */
    weir_socks5_begin(&socks, &target, USER, PASSWORD);
    weir_socks5_feed(&socks, (const uint8_t *)"\5\0", 2);
    cr_assert_eq(socks.out_len, 4 + 10);
}

Test(socks5, the_longest_of_everything_fits)
{
    char name[300], text[256];
    for (size_t i = 0; i < 253; i++)
        name[i] = i % 64 == 63 ? '.' : 'a';
    strcpy(name + 253, ".:65535");
    memset(text, 't', 255);
    text[255] = '\0';
    struct weir_target target = target_of(name);
    struct script script = {.len = 0};
    say_method(&script, 2);
    say_auth(&script, 0);
    say_reply(&script, 0, 3, 255);
    struct weir_socks5 socks;
    weir_socks5_begin(&socks, &target, text, text);
    cr_assert_eq(weir_socks5_feed(&socks, script.bytes, script.len), script.len);
    cr_assert_eq(socks.state, WEIR_SOCKS5_DONE);
    cr_assert_eq(socks.out_len, 4 + 3 + 2 * 255 + 4 + 1 + 253 + 2);
    cr_assert_leq(socks.out_len, WEIR_SOCKS5_OUT_MAX);
}

/* ---- what is answered ----------------------------------------------------------------------- */

Test(socks5, every_good_way_at_every_split_leaves_the_stream_alone)
{
    static const size_t name_lens[] = {0, 1, 127, 128, 129, 200, 254, 255};
    for (int has_auth = 0; has_auth < 2; has_auth++) {
        for (int type = 0; type < 10; type++) {
            struct weir_target target = target_of("somewhere.example:7000");
            struct script script = {.len = 0};
            say_method(&script, has_auth ? 2 : 0);
            if (has_auth)
                say_auth(&script, 0);
            if (type < 2)
                say_reply(&script, 0, type ? 4 : 1, 0);
            else
                say_reply(&script, 0, 3, name_lens[type - 2]);
            size_t proxy_len = script.len;
            at_every_split(&target, has_auth, &script, WEIR_SOCKS5_DONE, 0, proxy_len);
            say(&script, STREAM, sizeof(STREAM));
            at_every_split(&target, has_auth, &script, WEIR_SOCKS5_DONE, 0, proxy_len);
        }
    }
}

Test(socks5, every_reply_code_has_a_reason_of_its_own)
{
    struct weir_target target = target_of("1.2.3.4:80");
    bool is_seen[WEIR_REASON_CNT] = {false};
    for (uint32_t code = 1; code < 256; code++) {
        uint16_t reason = weir_socks5_reason((uint8_t)code);
        cr_assert_lt(reason, WEIR_REASON_CNT);
        bool is_known = code <= 8 || (code >= 0xF0 && code <= 0xF7);
        cr_assert_eq(reason == WEIR_R_PROXY_UNKNOWN, !is_known, "%02x", code);
        cr_assert(!is_known || !is_seen[reason], "%02x", code);
        is_seen[reason] = true;
        cr_assert_eq(strncmp(weir_reason_name(reason), "proxy-", 6), 0);
        /* Refused at the code: what else the reply should have may be missing, and its type nonsense. */
        struct script script = {.len = 0};
        say_method(&script, 0);
        uint8_t head[] = {5, (uint8_t)code, 0, (uint8_t)(code * 7), 0};
        say(&script, head, sizeof(head));
        at_every_split(&target, false, &script, WEIR_SOCKS5_FAILED, reason, script.len);
    }
    cr_assert_eq(weir_socks5_reason(1), WEIR_R_PROXY_GENERAL);
    cr_assert_eq(weir_socks5_reason(5), WEIR_R_PROXY_REFUSED);
    cr_assert_eq(weir_socks5_reason(8), WEIR_R_PROXY_TYPE);
    cr_assert_eq(weir_socks5_reason(0xF0), WEIR_R_PROXY_ONION_NOT_FOUND);
    cr_assert_eq(weir_socks5_reason(0xF4), WEIR_R_PROXY_ONION_NO_AUTH);
    cr_assert_eq(weir_socks5_reason(0xF7), WEIR_R_PROXY_ONION_TIMEOUT);
}

Test(socks5, what_is_not_socks5_fails_with_its_reason)
{
    static const struct {
        const char *what;
        uint8_t bytes[16];
        size_t len, used;
        bool has_auth;
        uint16_t reason;
    } cases[] = {
        {"no method accepted", {5, 0xFF}, 2, 2, false, WEIR_R_PROXY_METHOD},
        {"no method accepted", {5, 0xFF}, 2, 2, true, WEIR_R_PROXY_METHOD},
        {"a method that was not offered", {5, 2}, 2, 2, false, WEIR_R_PROXY_PROTOCOL},
        {"GSSAPI, not offered", {5, 1}, 2, 2, true, WEIR_R_PROXY_PROTOCOL},
        {"SOCKS4's answer", {0, 0x5B}, 2, 2, false, WEIR_R_PROXY_PROTOCOL},
        {"HTTP", {'H', 'T', 'T', 'P'}, 4, 2, false, WEIR_R_PROXY_PROTOCOL},
        {"wrong credentials", {5, 2, 1, 1}, 4, 4, true, WEIR_R_PROXY_AUTH},
        {"wrong credentials, another status", {5, 2, 1, 0xFF}, 4, 4, true, WEIR_R_PROXY_AUTH},
        {"another version of auth", {5, 2, 5, 0}, 4, 4, true, WEIR_R_PROXY_PROTOCOL},
        {"a reply of SOCKS4", {5, 0, 4, 0, 0, 1, 1}, 7, 7, false, WEIR_R_PROXY_PROTOCOL},
        {"an address type that is none", {5, 0, 5, 0, 0, 2, 1}, 7, 7, false, WEIR_R_PROXY_PROTOCOL},
        {"an address type of 0", {5, 0, 5, 0, 0, 0, 1}, 7, 7, false, WEIR_R_PROXY_PROTOCOL},
    };
    struct weir_target target = target_of("a.example:80");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct script script = {.len = 0};
        say(&script, cases[i].bytes, cases[i].len);
        at_every_split(&target, cases[i].has_auth, &script, WEIR_SOCKS5_FAILED, cases[i].reason,
                       cases[i].used);
    }
}

Test(socks5, a_length_that_promises_too_much_is_waited_for)
{
    struct weir_target target = target_of("a.example:80");
    struct script script = {.len = 0};
    say_method(&script, 0);
    size_t before = script.len;
    say_reply(&script, 0, 3, 200);
    for (size_t len = before; len < script.len; len++) {
        struct weir_socks5 socks;
        weir_socks5_begin(&socks, &target, NULL, NULL);
        cr_assert_eq(weir_socks5_feed(&socks, script.bytes, len), len);
        cr_assert_eq(socks.state, WEIR_SOCKS5_REPLY, "%zu of %zu bytes", len, script.len);
    }
}

Test(socks5, any_bytes_at_all_do_no_harm)
{
    uint64_t random = 1;
    struct weir_target target = target_of("a.example:80");
    for (uint32_t round = 0; round < 20000; round++) {
        uint8_t bytes[40];
        for (size_t i = 0; i < sizeof(bytes); i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            bytes[i] = (uint8_t)(random >> 56) & (round % 2 ? 0xFF : 0x07);
        }
        if (round % 4 < 2)
            memcpy(bytes, "\5\0\5\0\0", round % 4 == 0 ? 2 : 5);
        struct weir_socks5 socks;
        weir_socks5_begin(&socks, &target, USER, PASSWORD);
        size_t used = weir_socks5_feed(&socks, bytes, sizeof(bytes));
        cr_assert_leq(used, sizeof(bytes));
        cr_assert_eq(used == sizeof(bytes) || socks.state >= WEIR_SOCKS5_DONE, true);
        cr_assert_eq(socks.state == WEIR_SOCKS5_FAILED, socks.reason != 0);
    }
}
