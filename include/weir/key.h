/* weir/key.h: who a node is: keys, key files and node ids.
 *
 * A node has an Ed25519 key. Its *node id* is the public half, 32 bytes, written as text in one way
 * everywhere: "weir1p" and 58 more characters, with a check by which a typing error is found. A *network
 * key* is 32 secret bytes that all members of a closed network share.
 *
 * A key file is text: lines that begin with # are for people, one line is the key, with a check of its
 * own. It belongs to its owner alone (mode 0600), and weir does not take one that others can read.
 */
#ifndef WEIR_KEY_H
#define WEIR_KEY_H

#include "weir/base.h"
#include "weir/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_ID_BYTES 32u
#define WEIR_ID_TEXT_BYTES 65u /* of its text, the zero at the end included */
#define WEIR_KEY_WHY_BYTES 256u

/* A node id. All zero: no node. */
struct weir_id {
    uint8_t bytes[WEIR_ID_BYTES];
};

enum weir_key_kind {
    WEIR_KEY_NODE = 1,    /* an Ed25519 private key (its 32-byte seed, RFC 8032) */
    WEIR_KEY_NETWORK = 2, /* a network's pre-shared key */
};

/* A secret. Wipe it when it is no longer needed. */
struct weir_key {
    uint32_t kind; /* enum weir_key_kind */
    uint8_t secret[32];
};

/* Reads a node id of `len` characters (SIZE_MAX: up to the zero).
 * Errors: WEIR_E_KEY (`ret_why`, WEIR_KEY_WHY_BYTES or NULL, says in a sentence what is wrong with it).
 * Thread: any thread. */
WEIR_API WEIR_MUST_CHECK int weir_id_parse(struct weir_id *ret_id, const char *text, size_t len,
                                           char *ret_why);

/* Writes a node id, WEIR_ID_TEXT_BYTES; returns `ret_text`.  Thread: any thread. */
WEIR_API const char *weir_id_text(const struct weir_id *id, char *ret_text);

/* Makes a key from the system's random numbers. Errors: WEIR_E_SYSTEM, WEIR_E_MISUSE (kind).
 * Thread: any thread. */
WEIR_API WEIR_MUST_CHECK int weir_key_generate(struct weir_key *ret_key, uint32_t kind);

/* The node id of a node's key. Errors: WEIR_E_MISUSE (not a node's), WEIR_E_NOMEM.
 * Thread: any thread. */
WEIR_API WEIR_MUST_CHECK int weir_key_id(struct weir_id *ret_id, const struct weir_key *key);

enum weir_key_flags {
    WEIR_KEY_REPLACE = 1u << 0, /* a file that is there is replaced */
};

/* Writes a key file, mode 0600, so that at any instant there is the whole new file or what was there
 * before; it is on the disk when this returns 0. On failure nothing is left behind.
 * Errors: WEIR_E_IN_USE (there is a file, and no WEIR_KEY_REPLACE), WEIR_E_ACCESS, WEIR_E_SYSTEM (a full
 * disk and all else), WEIR_E_NOMEM, WEIR_E_MISUSE (a key of no kind); `ret_why` as above.  Thread: any thread; it waits for the disk. */
WEIR_API WEIR_MUST_CHECK int weir_key_store(const struct weir_key *key, const char *path,
                                            uint32_t flags, char *ret_why);

/* Reads a key file.
 * Errors: WEIR_E_KEY (damaged, cut short, of another kind or version, not a key), WEIR_E_KEY_EXPOSED (its
 * mode or owner lets others read it), WEIR_E_ACCESS, WEIR_E_SYSTEM (no such file and all else), WEIR_E_NOMEM,
 * WEIR_E_MISUSE (kind); `ret_why` as above.  Thread: any thread. */
WEIR_API WEIR_MUST_CHECK int weir_key_load(struct weir_key *ret_key, const char *path,
                                           uint32_t kind, char *ret_why);

/* Overwrites the secret.  Thread: any thread. */
WEIR_API void weir_key_wipe(struct weir_key *key);

#ifdef __cplusplus
}
#endif

#endif
