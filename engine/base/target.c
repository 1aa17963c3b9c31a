#include "engine/base/target.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "weir/error.h"

#define LABEL_LEN_MAX 63u

static_assert(WEIR_NAME_LEN_MAX + 1 + sizeof(":65535") <= WEIR_TARGET_TEXT_BYTES, "name fits");
static_assert(WEIR_ADDR_TEXT_BYTES <= WEIR_TARGET_TEXT_BYTES, "address fits");

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_label(const char *label, size_t len)
{
    if (len == 0 || len > LABEL_LEN_MAX || label[0] == '-' || label[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = lower(label[i]);
        if (!is_digit(c) && !(c >= 'a' && c <= 'z') && c != '-' && c != '_')
            return false;
    }
    return true;
}

static bool is_number(const char *label, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(label[i]))
            return false;
    }
    return true;
}

bool weir_name_is_valid(const char *name, size_t len)
{
    if (len && name[len - 1] == '.')
        len--;
    if (len == 0 || len > WEIR_NAME_LEN_MAX)
        return false;
    const char *label = name, *end = name + len;
    for (;;) {
        const char *dot = memchr(label, '.', (size_t)(end - label));
        size_t label_len = (size_t)((dot ? dot : end) - label);
        if (!is_label(label, label_len))
            return false;
        if (!dot)
            return !is_number(label, label_len);
        label = dot + 1;
    }
}

/* One number has one text, as in an address. */
static bool parse_port(const char *text, uint16_t *ret_port)
{
    size_t len = strnlen(text, 6);
    if (len == 0 || len > 5 || text[0] == '0')
        return false;
    uint32_t port = 0;
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(text[i]))
            return false;
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    if (port > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

int weir_target_parse(struct weir_target *ret_target, const char *text)
{
    struct weir_target target = {.addr.family = WEIR_ADDR_NONE};
    if (weir_addr_parse(&target.addr, text) == 0) {
        *ret_target = target;
        return 0;
    }
    const char *colon = text ? memchr(text, ':', strnlen(text, WEIR_NAME_LEN_MAX + 2)) : NULL;
    if (!colon || !weir_name_is_valid(text, (size_t)(colon - text)) ||
        !parse_port(colon + 1, &target.addr.port))
        return WEIR_E_ADDRESS;
    for (size_t i = 0; text + i < colon; i++)
        target.name[i] = lower(text[i]);
    *ret_target = target;
    return 0;
}

void weir_target_format(const struct weir_target *target, char *ret_text)
{
    if (!weir_target_is_name(target)) {
        weir_addr_format(&target->addr, ret_text);
        return;
    }
    snprintf(ret_text, WEIR_TARGET_TEXT_BYTES, "%s:%u", target->name, (unsigned)target->addr.port);
}

bool weir_target_is_equal(const struct weir_target *a, const struct weir_target *b)
{
    if (weir_target_is_name(a) && weir_target_is_name(b))
        return a->addr.port == b->addr.port && strcmp(a->name, b->name) == 0;
    return !weir_target_is_name(a) && !weir_target_is_name(b) &&
           weir_addr_is_equal(&a->addr, &b->addr);
}

bool weir_target_means(const struct weir_target *asked, const struct weir_target *dialed)
{
    return weir_target_is_equal(asked, dialed) &&
           (!asked->has_id ||
            (dialed->has_id && memcmp(asked->id, dialed->id, sizeof(asked->id)) == 0));
}

bool weir_target_is_onion(const struct weir_target *target)
{
    static const char suffix[] = ".onion";
    size_t len = strlen(target->name);
    if (len && target->name[len - 1] == '.')
        len--;
    size_t suffix_len = sizeof(suffix) - 1;
    if (len == suffix_len - 1)
        return memcmp(target->name, suffix + 1, len) == 0;
    return len >= suffix_len && memcmp(target->name + len - suffix_len, suffix, suffix_len) == 0;
}

/* ---- kept ---------------------------------------------------------------------------------- */

static_assert(offsetof(struct weir_target_kept, text) == 56, "an address is one line of the cache");

/* Where a target's text is, and how much of it: a path need not end with a NUL, a name does. */
static const char *text_of(const struct weir_target *target, size_t *ret_len)
{
    bool is_path = target->addr.family == WEIR_ADDR_UNIX;
    const char *text = is_path ? target->addr.path : target->name;
    *ret_len = strnlen(text, is_path ? sizeof(target->addr.path) - 1 : sizeof(target->name) - 1);
    return text;
}

size_t weir_target_kept_bytes(const struct weir_target *target)
{
    size_t len;
    (void)text_of(target, &len);
    return sizeof(struct weir_target_kept) + len + 1;
}

void weir_target_keep(struct weir_target_kept *ret_kept, const struct weir_target *target)
{
    size_t len;
    const char *text = text_of(target, &len);
    ret_kept->scope_id = target->addr.scope_id;
    ret_kept->port = target->addr.port;
    ret_kept->family = target->addr.family;
    ret_kept->has_id = target->has_id;
    memcpy(ret_kept->ip, target->addr.ip, sizeof(ret_kept->ip));
    memcpy(ret_kept->id, target->id, sizeof(ret_kept->id));
    memcpy(ret_kept->text, text, len);
    ret_kept->text[len] = 0;
}

void weir_target_restore(struct weir_target *ret_target, const struct weir_target_kept *kept)
{
    *ret_target = (struct weir_target){
        .addr = {.scope_id = kept->scope_id, .port = kept->port, .family = kept->family},
        .has_id = kept->has_id};
    memcpy(ret_target->addr.ip, kept->ip, sizeof(kept->ip));
    memcpy(ret_target->id, kept->id, sizeof(kept->id));
    bool is_path = kept->family == WEIR_ADDR_UNIX;
    memcpy(is_path ? ret_target->addr.path : ret_target->name, kept->text, strlen(kept->text) + 1);
}

bool weir_target_means_kept(const struct weir_target *asked, const struct weir_target_kept *dialed)
{
    /* Most of thousands differ in these, and are looked at no further. */
    if (dialed->family != asked->addr.family || dialed->port != asked->addr.port ||
        memcmp(dialed->ip, asked->addr.ip, 4) != 0)
        return false;
    struct weir_target own;
    weir_target_restore(&own, dialed);
    return weir_target_means(asked, &own);
}
