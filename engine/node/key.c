#include "weir/key.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "engine/base/bech32.h"
#include "engine/node/key_text.h"
#include "proto/crypto.h"

#define ID_PREFIX "weir"
#define TEXT_VERSION 1u

_Static_assert(sizeof(ID_PREFIX) + WEIR_BECH32_TAIL == WEIR_ID_TEXT_BYTES, "as the header says");
_Static_assert(WEIR_ID_BYTES == WEIR_KEY_BYTES, "the id is the public key");

static const char *const key_prefixes[] = {
    [WEIR_KEY_NODE] = "weirsecret",
    [WEIR_KEY_NETWORK] = "weirnetwork",
};

void weir_key_why(char *ret_why, const char *text)
{
    if (ret_why)
        snprintf(ret_why, WEIR_KEY_WHY_BYTES, "%s", text);
}

const char *weir_key_kind_text(uint32_t kind)
{
    return kind == WEIR_KEY_NODE ? "node key" : "network key";
}

/* Says what is wrong with a text that was to be a `what`. */
static int bech32_fail(int fault, const char *what, char *ret_why)
{
    const char *text = "";
    if (!ret_why)
        return WEIR_E_KEY;
    switch ((enum weir_bech32_fault)fault) {
    case WEIR_BECH32_OK:
    case WEIR_BECH32_LENGTH:
        text = "is too short or too long: a part is missing, or too much was copied";
        break;
    case WEIR_BECH32_CHARACTER:
        text = "has a character that cannot be in one";
        break;
    case WEIR_BECH32_CHECK:
        text = "is mistyped or damaged: its check does not match";
        break;
    case WEIR_BECH32_PREFIX:
        text = "is something else";
        break;
    case WEIR_BECH32_VERSION:
        text = "is of a version that this weir does not know";
        break;
    }
    snprintf(ret_why, WEIR_KEY_WHY_BYTES, "the %s %s", what, text);
    return WEIR_E_KEY;
}

int weir_id_parse(struct weir_id *ret_id, const char *text, size_t len, char *ret_why)
{
    struct weir_id id;
    static const struct weir_id nobody;
    if (len == SIZE_MAX)
        len = strlen(text);
    int fault = weir_bech32_read(text, len, ID_PREFIX, TEXT_VERSION, id.bytes);
    if (fault)
        return bech32_fail(fault, "node id", ret_why);
    if (memcmp(&id, &nobody, sizeof id) == 0) {
        weir_key_why(ret_why, "the node id is zero, which is no node's");
        return WEIR_E_KEY;
    }
    *ret_id = id;
    return 0;
}

const char *weir_id_text(const struct weir_id *id, char *ret_text)
{
    weir_bech32_write(ret_text, ID_PREFIX, TEXT_VERSION, id->bytes);
    return ret_text;
}

void weir_key_text_write(const struct weir_key *key, char ret_text[WEIR_KEY_TEXT_BYTES])
{
    weir_bech32_write(ret_text, key_prefixes[key->kind], TEXT_VERSION, key->secret);
}

/* Whether a line is a whole text with this prefix, of whatever version. */
static bool is_text_of(const char *line, size_t len, const char *prefix)
{
    uint8_t bytes[WEIR_BECH32_BYTES];
    int fault = weir_bech32_read(line, len, prefix, TEXT_VERSION, bytes);
    weir_wipe(bytes, sizeof bytes);
    return fault == WEIR_BECH32_OK || fault == WEIR_BECH32_VERSION;
}

int weir_key_text_read(const char *line, size_t len, uint32_t kind, uint8_t ret_secret[32],
                       char *ret_why)
{
    const char *what = weir_key_kind_text(kind);
    int fault = weir_bech32_read(line, len, key_prefixes[kind], TEXT_VERSION, ret_secret);
    if (fault != WEIR_BECH32_PREFIX)
        return fault ? bech32_fail(fault, what, ret_why) : 0;
    uint32_t other = kind == WEIR_KEY_NODE ? WEIR_KEY_NETWORK : WEIR_KEY_NODE;
    const char *found = "something else";
    if (is_text_of(line, len, key_prefixes[other]))
        found = other == WEIR_KEY_NODE ? "a node key" : "a network key";
    else if (is_text_of(line, len, ID_PREFIX))
        found = "a node id, which is public";
    if (ret_why)
        snprintf(ret_why, WEIR_KEY_WHY_BYTES, "it holds %s and not a %s", found, what);
    return WEIR_E_KEY;
}

int weir_key_generate(struct weir_key *ret_key, uint32_t kind)
{
    struct weir_key key = {.kind = kind};
    if (kind != WEIR_KEY_NODE && kind != WEIR_KEY_NETWORK)
        return WEIR_E_MISUSE;
    if (getrandom(key.secret, sizeof key.secret, 0) != (ssize_t)sizeof key.secret)
        return WEIR_E_SYSTEM;
    *ret_key = key;
    weir_key_wipe(&key);
    return 0;
}

int weir_key_id(struct weir_id *ret_id, const struct weir_key *key)
{
    struct weir_id id;
    if (key->kind != WEIR_KEY_NODE)
        return WEIR_E_MISUSE;
    if (!weir_ed25519_public(key->secret, id.bytes))
        return WEIR_E_NOMEM;
    *ret_id = id;
    return 0;
}

void weir_key_wipe(struct weir_key *key)
{
    weir_wipe(key->secret, sizeof key->secret);
}
