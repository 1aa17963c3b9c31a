/* secure_options.h: who a node is and how it protects its connections, as options of a command.
 *
 * The same five names in every command, and in the INI file of `weir node`:
 *
 *   key FILE          the node's key (`weir keygen FILE`); without it a new one for this run
 *   network-key FILE  the key of a closed network (`weir keygen --network FILE`)
 *   policy POLICY     require, prefer or plain
 *   plain             policy plain
 *   cipher NAME       chacha20-poly1305 or aes-256-gcm: what is asked for when dialing
 */
#ifndef SECURE_OPTIONS_H
#define SECURE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/weir.h>

struct secure_options {
    struct weir_key node_key, network_key; /* kind 0: none */
    uint32_t policy;                       /* enum weir_secure */
    uint32_t cipher;                       /* enum weir_cipher */
};

struct secure_name {
    const char *name, *argument, *help; /* a NULL argument: a switch, "yes" or "no" as text */
};

/* The options, by their position; false behind the last one. */
#define SECURE_NAME_CNT 5u
bool secure_options_name(size_t idx, struct secure_name *ret_name);
/* The default of the same setting as a file says it; NULL: there is none, or another setting says it. */
const char *secure_options_default(size_t idx);

/* Sets one by its name. Returns false after writing why not. `*ret_is_known` is false when there is no such name. */
bool secure_options_set(struct secure_options *options, const char *name, const char *value,
                        bool *ret_is_known, char *why, size_t why_len);

/* For a command whose options have keys of their own: rows for its table, and what a key of them does.
 * Returns -1, or an exit code after having said why. */
#define SECURE_KEY_FIRST 1000
#define SECURE_KEY_PLAIN (SECURE_KEY_FIRST + 3)
#define SECURE_KEY_CIPHER (SECURE_KEY_FIRST + 4)
#define SECURE_IS_KEY(key) \
    ((key) >= SECURE_KEY_FIRST && (key) < SECURE_KEY_FIRST + (int)SECURE_NAME_CNT)
#define SECURE_OPTION_ROWS                                                                 \
    {"key", "FILE", "this node's key, made by weir keygen (a new one for this run)",       \
     SECURE_KEY_FIRST},                                                                    \
        {"network-key", "FILE", "the key of a closed network (none: an open one)",         \
         SECURE_KEY_FIRST + 1},                                                            \
        {"policy", "POLICY", "require, prefer (plain peers too) or plain (require)",       \
         SECURE_KEY_FIRST + 2},                                                            \
        {"plain", NULL, "the same as --policy plain: neither encrypted nor authenticated", \
         SECURE_KEY_PLAIN},                                                                \
    {                                                                                      \
        "cipher", "NAME", "chacha20-poly1305 or aes-256-gcm, when dialing (the first)",    \
            SECURE_KEY_CIPHER                                                              \
    }
int secure_options_key(struct secure_options *options, const char *command, int key,
                       const char *value);

/* Puts them into a configuration, which borrows the keys until the node is made. */
void secure_options_apply(const struct secure_options *options, struct weir_config *config);

/* Overwrites the keys. */
void secure_options_wipe(struct secure_options *options);

/* Says on standard error that nothing is encrypted, where that was asked for. */
void secure_options_warn(const struct secure_options *options, const char *command);

/* What a connection's protection is called: "encrypted" or "plain". */
const char *secure_text(bool is_secure);

#endif
