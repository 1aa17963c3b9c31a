#include "secure_options.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"

static const struct secure_name names[] = {
    {"key", "FILE", "this node's key, made by weir keygen (a new one for this run)"},
    {"network-key", "FILE", "the key of a closed network (none: an open one)"},
    {"policy", "POLICY", "require, prefer (plain peers too) or plain (require)"},
    {"plain", NULL, "the same as policy plain: neither encrypted nor authenticated"},
    {"cipher", "NAME", "chacha20-poly1305 or aes-256-gcm, when dialing (chacha20-poly1305)"},
};
_Static_assert(sizeof(names) / sizeof(names[0]) == SECURE_NAME_CNT, "as the header says");

bool secure_options_name(size_t idx, struct secure_name *ret_name)
{
    if (idx >= SECURE_NAME_CNT)
        return false;
    *ret_name = names[idx];
    return true;
}

const char *secure_options_default(size_t idx)
{
    static const char *const defaults[SECURE_NAME_CNT] = {NULL, NULL, "require", NULL,
                                                          "chacha20-poly1305"};
    return idx < SECURE_NAME_CNT ? defaults[idx] : NULL;
}

static bool load(struct weir_key *key, uint32_t kind, const char *path, char *why, size_t why_len)
{
    char what[WEIR_KEY_WHY_BYTES] = "";
    weir_key_wipe(key);
    int error = weir_key_load(key, path, kind, what);
    if (error != 0)
        snprintf(why, why_len, "%.80s: %s", path, what[0] != '\0' ? what : weir_error_text(error));
    return error == 0;
}

/* Finds a value among names; what it stands for is its position and one. */
static bool choose(uint32_t *ret_value, const char *value, const char *const *choices, uint32_t cnt,
                   const char *expected, char *why, size_t why_len)
{
    for (uint32_t i = 0; i < cnt; i++) {
        if (strcmp(choices[i], value) == 0) {
            *ret_value = i + 1;
            return true;
        }
    }
    snprintf(why, why_len, "'%.40s' is none of %s", value, expected);
    return false;
}

bool secure_options_set(struct secure_options *options, const char *name, const char *value,
                        bool *ret_is_known, char *why, size_t why_len)
{
    static const char *const policies[] = {"plain", "prefer", "require"};
    static const char *const ciphers[] = {"chacha20-poly1305", "aes-256-gcm"};
    _Static_assert(WEIR_SECURE_PLAIN == 1 && WEIR_SECURE_PREFER == 2 && WEIR_SECURE_REQUIRE == 3 &&
                       WEIR_CIPHER_CHACHA20_POLY1305 == 1 && WEIR_CIPHER_AES_256_GCM == 2,
                   "positions and one");
    *ret_is_known = true;
    if (strcmp(name, "key") == 0)
        return load(&options->node_key, WEIR_KEY_NODE, value, why, why_len);
    if (strcmp(name, "network-key") == 0)
        return load(&options->network_key, WEIR_KEY_NETWORK, value, why, why_len);
    if (strcmp(name, "policy") == 0)
        return choose(&options->policy, value, policies, 3, "require, prefer, plain", why, why_len);
    if (strcmp(name, "cipher") == 0)
        return choose(&options->cipher, value, ciphers, 2, "chacha20-poly1305, aes-256-gcm", why,
                      why_len);
    if (strcmp(name, "plain") == 0) {
        bool is_on;
        if (!cli_bool(value, &is_on)) {
            snprintf(why, why_len, "'%.40s' is neither yes nor no", value);
            return false;
        }
        options->policy = is_on ? WEIR_SECURE_PLAIN : WEIR_SECURE_DEFAULT;
        return true;
    }
    *ret_is_known = false;
    return false;
}

int secure_options_key(struct secure_options *options, const char *command, int key,
                       const char *value)
{
    const char *name = names[key - SECURE_KEY_FIRST].name;
    char why[WEIR_KEY_WHY_BYTES + 96];
    bool is_known;
    if (secure_options_set(options, name, value != NULL ? value : "yes", &is_known, why,
                           sizeof(why)))
        return -1;
    return cli_fail(CLI_USAGE, command, NULL, "--%s: %s (WEIR_E_CONFIG)", name, why);
}

void secure_options_apply(const struct secure_options *options, struct weir_config *config)
{
    config->secure = options->policy;
    config->cipher = options->cipher;
    config->node_key = options->node_key.kind != 0 ? &options->node_key : NULL;
    config->network_key = options->network_key.kind != 0 ? &options->network_key : NULL;
}

void secure_options_wipe(struct secure_options *options)
{
    weir_key_wipe(&options->node_key);
    weir_key_wipe(&options->network_key);
}

void secure_options_warn(const struct secure_options *options, const char *command)
{
    if (options->policy == WEIR_SECURE_PLAIN)
        fprintf(stderr,
                "weir: %s: warning: plain: nothing is encrypted, and nobody proves who they are\n",
                command);
}

const char *secure_text(bool is_secure)
{
    return is_secure ? "encrypted" : "plain";
}
