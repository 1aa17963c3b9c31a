/* proto/noise.h: the Noise Protocol Framework, revision 34, for Curve25519.
 *
 * Named and split as in the paper (https://noiseprotocol.org/noise.html, cited as Noise §n):
 *
 *   noise_cipher.c     CipherState     a key and a counter: seals and opens
 *   noise_symmetric.c  SymmetricState  the chaining key and the transcript hash
 *   noise_handshake.c  HandshakeState  the messages of a pattern
 *   noise_pattern.c                    the patterns and protocol names that weir knows
 *
 * Everything is a plain struct that the caller places; what it does not own is borrowed and named so.
 * Nothing here has a clock or a random number. After a handshake message failed, the handshake is over:
 * its secrets are wiped and every later call answers WEIR_NOISE_TURN.
 */
#ifndef WEIR_PROTO_NOISE_H
#define WEIR_PROTO_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/crypto.h"

#define WEIR_NOISE_MESSAGE_MAX 65535u /* bytes of any Noise message, Noise §3 */
#define WEIR_NOISE_NAME_MAX 63u
#define WEIR_NOISE_NONCE_MAX UINT64_MAX /* never a message's: reserved for Rekey(), Noise §5.1 */

enum weir_noise_error {
    WEIR_NOISE_OK = 0,
    WEIR_NOISE_SHORT = 1,  /* the message ends within a field */
    WEIR_NOISE_LONG = 2,   /* above 65,535 bytes, or above the space given */
    WEIR_NOISE_FORGED = 3, /* a tag does not match: changed, reordered, or other keys or prologue */
    WEIR_NOISE_BAD_KEY = 4, /* a public key of low order */
    WEIR_NOISE_TURN = 5,    /* it is the other side's turn, or the handshake is over */
    WEIR_NOISE_SPENT = 6,   /* the counter is at its end */
    WEIR_NOISE_NOMEM = 7,   /* libcrypto had no memory */
};

/* ---- noise_cipher.c: CipherState, Noise §5.1 ----------------------------------------------- */

struct weir_noise_cipher {
    struct weir_aead_lease lease; /* a transport's; without one, crypto's is keyed for each call */
    uint64_t n;
    uint8_t k[WEIR_KEY_BYTES];
    uint8_t cipher; /* enum weir_cipher_kind */
    bool has_key;
    bool is_seal; /* the direction of the lease */
};

/* InitializeKey(k). One that is zeroed is "empty". */
int weir_noise_cipher_key(struct weir_noise_cipher *cipher, const uint8_t *key);

/* SetNonce(n). */
static inline void weir_noise_cipher_set_nonce(struct weir_noise_cipher *cipher, uint64_t n)
{
    cipher->n = n;
}

/* Gives a keyed state a lease of a context, for one direction. */
int weir_noise_cipher_lease(const struct weir_crypto *crypto, struct weir_noise_cipher *cipher,
                            bool is_seal);

/* The context of a state with a lease, keyed: for who seals and opens by pieces, with nonces from n. NULL
 * when libcrypto had no memory. */
static inline struct weir_aead *weir_noise_cipher_aead(struct weir_noise_cipher *cipher)
{
    return weir_lease_aead(&cipher->lease, cipher->k, cipher->is_seal);
}

/* EncryptWithAd(): `ret_data` gets len bytes and, when there is a key, the tag behind them; it may be
 * `data` itself. */
int weir_noise_cipher_encrypt(const struct weir_crypto *crypto, struct weir_noise_cipher *cipher,
                              const uint8_t *ad, size_t ad_len, const uint8_t *data, size_t len,
                              uint8_t *ret_data);

/* DecryptWithAd(): `len` counts the tag; `ret_data` gets what is left and may be `data` itself. On
 * failure n is as before, and what was written to `ret_data` is zeroed. */
int weir_noise_cipher_decrypt(const struct weir_crypto *crypto, struct weir_noise_cipher *cipher,
                              const uint8_t *ad, size_t ad_len, const uint8_t *data, size_t len,
                              uint8_t *ret_data);

/* Rekey(), Noise §4.2 and §5.1: n goes on. */
int weir_noise_cipher_rekey(const struct weir_crypto *crypto, struct weir_noise_cipher *cipher);

/* Wipes the key, wherever it is, and ends the lease. {0} is fine. */
void weir_noise_cipher_wipe(struct weir_noise_cipher *cipher);

/* ---- noise_symmetric.c: SymmetricState, Noise §5.2 ------------------------------------------ */

struct weir_noise_symmetric {
    const struct weir_crypto *crypto; /* borrowed */
    struct weir_noise_cipher cipher;
    uint8_t ck[WEIR_DIGEST_BYTES_MAX];
    uint8_t h[WEIR_DIGEST_BYTES_MAX];
    uint8_t hash_len;
    uint8_t digest; /* enum weir_digest_kind */
};

/* InitializeSymmetric(protocol_name). */
int weir_noise_symmetric_init(struct weir_noise_symmetric *ret_symmetric,
                              const struct weir_crypto *crypto, const char *name,
                              enum weir_cipher_kind cipher, enum weir_digest_kind digest);
int weir_noise_mix_key(struct weir_noise_symmetric *symmetric, const uint8_t *data, size_t len);
int weir_noise_mix_hash(struct weir_noise_symmetric *symmetric, const uint8_t *data, size_t len);
int weir_noise_mix_key_and_hash(struct weir_noise_symmetric *symmetric, const uint8_t *data,
                                size_t len);
/* EncryptAndHash() and DecryptAndHash(); `len` as in the cipher's functions. */
int weir_noise_encrypt_and_hash(struct weir_noise_symmetric *symmetric, const uint8_t *data,
                                size_t len, uint8_t *ret_data);
int weir_noise_decrypt_and_hash(struct weir_noise_symmetric *symmetric, const uint8_t *data,
                                size_t len, uint8_t *ret_data);
/* Split(): the first cipher is the initiator's for sending. */
int weir_noise_split(const struct weir_noise_symmetric *symmetric,
                     struct weir_noise_cipher *ret_first, struct weir_noise_cipher *ret_second);

/* ---- noise_pattern.c ----------------------------------------------------------------------- */

enum weir_noise_token {
    WEIR_NOISE_END = 0,
    WEIR_NOISE_E,
    WEIR_NOISE_S,
    WEIR_NOISE_EE,
    WEIR_NOISE_ES,
    WEIR_NOISE_SE,
    WEIR_NOISE_SS,
    WEIR_NOISE_PSK,
};

struct weir_noise_pattern {
    char name[8];
    bool has_responder_s; /* the pre-message <- s: the initiator knows the responder's static key */
    bool has_initiator_s; /* the initiator has a static key at all */
    bool is_psk;
    uint8_t message_cnt;
    uint8_t messages[3][6]; /* enum weir_noise_token, each ends with WEIR_NOISE_END */
};

/* A whole protocol: Noise_XX_25519_ChaChaPoly_SHA256. */
struct weir_noise_protocol {
    const struct weir_noise_pattern *pattern;
    enum weir_cipher_kind cipher;
    enum weir_digest_kind digest;
    char name[WEIR_NOISE_NAME_MAX + 1];
};

/* Reads a protocol name. Returns false for what weir does not know: XX, IK, XK, NK, XXpsk3, IKpsk2 with
 * 25519, ChaChaPoly or AESGCM, SHA256, SHA512, BLAKE2s or BLAKE2b. */
bool weir_noise_protocol_parse(const char *name, struct weir_noise_protocol *ret_protocol);

/* ---- noise_handshake.c: HandshakeState, Noise §5.3 ------------------------------------------- */

/* What a side brings; borrowed until the handshake is over. */
struct weir_noise_keys {
    const struct weir_dh_key *s; /* our static pair; NULL where the pattern has none of ours */
    const uint8_t *e_private;    /* 32 fresh random bytes; copied */
    const uint8_t *rs;           /* the responder's static key, where the pattern knows it before */
    const uint8_t *psk;          /* 32 bytes, where the pattern has one; copied */
};

struct weir_noise_handshake {
    struct weir_noise_symmetric symmetric;
    const struct weir_noise_pattern *pattern;
    const struct weir_dh_key *s; /* borrowed */
    struct weir_dh_key e;
    uint8_t e_private[WEIR_KEY_BYTES]; /* until the token makes the pair of it */
    uint8_t psk[WEIR_KEY_BYTES];
    uint8_t rs[WEIR_KEY_BYTES];
    uint8_t re[WEIR_KEY_BYTES];
    uint8_t message_idx; /* of the next one */
    bool is_initiator;
    bool has_rs;
    bool is_over; /* failed */
};

/* Initialize(). The prologue is hashed and not kept. No curve operation. `keys` has what the pattern
 * needs, or it is WEIR_NOISE_BAD_KEY. */
int weir_noise_handshake_init(struct weir_noise_handshake *ret_handshake,
                              const struct weir_crypto *crypto,
                              const struct weir_noise_protocol *protocol, bool is_initiator,
                              const uint8_t *prologue, size_t prologue_len,
                              const struct weir_noise_keys *keys);

/* Whether the next message is ours to write; whether all have passed. */
bool weir_noise_is_our_turn(const struct weir_noise_handshake *handshake);
bool weir_noise_is_done(const struct weir_noise_handshake *handshake);

/* How many bytes the next message has beyond its payload; 0 when there is none. */
size_t weir_noise_overhead(const struct weir_noise_handshake *handshake);

/* WriteMessage(): writes overhead + len bytes, at most `cap`. */
int weir_noise_write(struct weir_noise_handshake *handshake, const uint8_t *payload, size_t len,
                     uint8_t *ret_message, size_t cap, size_t *ret_len);

/* ReadMessage(): `ret_payload` gets len - overhead bytes, at most `cap`. */
int weir_noise_read(struct weir_noise_handshake *handshake, const uint8_t *message, size_t len,
                    uint8_t *ret_payload, size_t cap, size_t *ret_len);

/* When done: the ciphers of both directions, without contexts of their own. The transcript hash
 * (Noise §11.2) is symmetric.h until the handshake is wiped. */
int weir_noise_finish(const struct weir_noise_handshake *handshake,
                      struct weir_noise_cipher *ret_send, struct weir_noise_cipher *ret_recv);

/* Wipes all secrets. {0} is fine, twice is fine. */
void weir_noise_handshake_wipe(struct weir_noise_handshake *handshake);

#endif
