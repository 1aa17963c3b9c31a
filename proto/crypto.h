/* proto/crypto.h: the arithmetic that weir takes from libcrypto: AEAD, hash, X25519, Ed25519.
 *
 * crypto.c is the one file of the library that sees libcrypto. A `struct weir_crypto` holds what is
 * looked up once (fetching an algorithm by name takes a lock and many microseconds) and the contexts
 * that short operations share; it belongs to one thread, and each shard has its own. No function reads
 * random numbers: private keys come in from the caller, so that a run can be repeated from its seed.
 *
 * A `false` that is not explained otherwise means that libcrypto had no memory.
 */
#ifndef WEIR_PROTO_CRYPTO_H
#define WEIR_PROTO_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_KEY_BYTES 32u /* of every key here: AEAD, X25519 and Ed25519, public and private */
#define WEIR_TAG_BYTES 16u
#define WEIR_SIGNATURE_BYTES 64u
#define WEIR_DIGEST_BYTES_MAX 64u
#define WEIR_DIGEST_BLOCK_MAX 128u

enum weir_cipher_kind {
    WEIR_CIPHER_CHACHAPOLY = 0, /* RFC 8439 */
    WEIR_CIPHER_AESGCM = 1,     /* AES-256, NIST SP 800-38D, 96-bit nonces */
};
#define WEIR_CIPHER_CNT 2u

enum weir_digest_kind {
    WEIR_DIGEST_SHA256 = 0,
    WEIR_DIGEST_SHA512 = 1,
    WEIR_DIGEST_BLAKE2S = 2, /* 256 bits, RFC 7693 */
    WEIR_DIGEST_BLAKE2B = 3, /* 512 bits */
};
#define WEIR_DIGEST_CNT 4u

/* A keyed AEAD context for one direction. {0} has none. */
struct weir_aead {
    void *ctx;      /* libcrypto's; owned */
    uint8_t cipher; /* enum weir_cipher_kind */
};

/* An X25519 key pair. The private half exists only inside `pair`. {0} has none. */
struct weir_dh_key {
    void *pair; /* libcrypto's; owned. Its own public half is not set */
    void *ctx;  /* multiplies with it; likewise */
    uint8_t public_key[WEIR_KEY_BYTES];
};

/* A long-lived key's claim to one of the thread's contexts. {0} has none. */
struct weir_aead_lease {
    struct weir_aead_slot *slot; /* where its context is, or was */
    uint64_t id;                 /* the slot is the lease's while it has this one */
};

struct weir_crypto {
    void *ciphers[WEIR_CIPHER_CNT];
    void *digests[WEIR_DIGEST_CNT];
    void *digest_ctx;
    struct weir_aead
        aeads[WEIR_CIPHER_CNT]; /* keyed anew for each use: for keys that are used once */
    struct weir_aead_cache *caches[WEIR_CIPHER_CNT]; /* for keys that are used often; owned */
    void *makers[2];                                 /* of keys out of bytes: X25519, Ed25519 */
    void *dh_peer;    /* the other side's X25519 key, set anew for each use */
    void *verify_ctx; /* of signatures */
};

/* Looks everything up. Returns false, with nothing to free, when libcrypto lacks an algorithm (a FIPS
 * provider does) or memory. */
bool weir_crypto_init(struct weir_crypto *ret_crypto);
void weir_crypto_fini(struct weir_crypto *crypto);

/* ---- AEAD ---------------------------------------------------------------------------------- */

/* Makes a context. The only function of an AEAD that takes memory. */
bool weir_aead_init(const struct weir_crypto *crypto, struct weir_aead *ret_aead,
                    enum weir_cipher_kind cipher);
void weir_aead_fini(struct weir_aead *aead); /* wipes the key */

/* Sets the key, for one direction until it is set again. */
bool weir_aead_key(struct weir_aead *aead, const uint8_t key[WEIR_KEY_BYTES], bool is_seal);

/* One message is: start, piece (any number), then seal's or open's end. `nonce` is the Noise counter:
 * 32 zero bits, then 64 bits in little-endian (ChaChaPoly) or big-endian (AESGCM) order (Noise §12).
 * A piece may be worked on in place. What open gives out is not to be trusted before weir_aead_check(). */
bool weir_aead_start(struct weir_aead *aead, uint64_t nonce, const uint8_t *ad, size_t ad_len);
bool weir_aead_piece(struct weir_aead *aead, const uint8_t *data, size_t len, uint8_t *ret_data);
bool weir_aead_tag(struct weir_aead *aead, uint8_t ret_tag[WEIR_TAG_BYTES]);
/* Returns whether the tag is that of the pieces: false is the peer's doing. */
bool weir_aead_check(struct weir_aead *aead, const uint8_t tag[WEIR_TAG_BYTES]);

/* Takes the key out of the thread's context for keys that are used once. */
void weir_crypto_unkey(const struct weir_crypto *crypto, enum weir_cipher_kind cipher);

/* ---- leased contexts ----------------------------------------------------------------------- */

/* A context is 1 KiB of libcrypto's, a key 32 bytes, and most connections are silent most of the time. So
 * who has a key for long holds a lease, and the thread's contexts go to the leases that are in use: each
 * lease finds its context keyed as it left it, unless others needed it in between; then the key is set
 * again (50 ns with ChaCha20-Poly1305, 150 ns with AES-256-GCM). There is a context for each lease up to
 * WEIR_LEASED_MIN, and beyond that one for WEIR_LEASES_PER_CONTEXT of them. They stay until
 * weir_crypto_fini(), which comes after the end of all leases. */
#define WEIR_LEASED_MIN 128u
#define WEIR_LEASES_PER_CONTEXT 16u

struct weir_aead_slot {
    struct weir_aead aead;
    struct weir_aead_cache *cache;
    struct weir_aead_slot *next; /* a ring, in which the hand looks for one that was not in use */
    uint64_t lease_id;           /* whose key it has; 0: nobody's */
    bool is_recent;              /* used since the hand came by */
};

/* Begins a lease. The only function of them that takes memory. */
bool weir_lease_init(const struct weir_crypto *crypto, struct weir_aead_lease *ret_lease,
                     enum weir_cipher_kind cipher);
/* Ends it; a context that has its key is wiped. {0} is fine. */
void weir_lease_fini(struct weir_aead_lease *lease);
/* The key is another now: a context that has the one before gets this one. */
bool weir_lease_key(struct weir_aead_lease *lease, const uint8_t key[WEIR_KEY_BYTES], bool is_seal);
/* Gives a context to a lease that has none. */
struct weir_aead *weir_lease_bind(struct weir_aead_lease *lease, const uint8_t key[WEIR_KEY_BYTES],
                                  bool is_seal);

/* The context of a lease, with its key; good until another lease asks. Always the same key and direction,
 * except after weir_lease_key(). NULL when libcrypto refused the key. */
static inline struct weir_aead *weir_lease_aead(struct weir_aead_lease *lease,
                                                const uint8_t key[WEIR_KEY_BYTES], bool is_seal)
{
    struct weir_aead_slot *slot = lease->slot;
    if (slot->lease_id != lease->id)
        return weir_lease_bind(lease, key, is_seal);
    slot->is_recent = true;
    return &slot->aead;
}

/* ---- hash ---------------------------------------------------------------------------------- */

struct weir_piece {
    const void *data;
    size_t len;
};

size_t weir_digest_bytes(enum weir_digest_kind digest);

/* Hashes pieces that follow each other. */
bool weir_digest(const struct weir_crypto *crypto, enum weir_digest_kind digest,
                 const struct weir_piece *pieces, size_t piece_cnt, uint8_t *ret_hash);

/* HMAC (RFC 2104) over up to 5 pieces that follow each other; the key is at most a block long. */
bool weir_hmac(const struct weir_crypto *crypto, enum weir_digest_kind digest, const uint8_t *key,
               size_t key_len, const struct weir_piece *pieces, size_t piece_cnt,
               uint8_t *ret_hash);

/* ---- keys ---------------------------------------------------------------------------------- */

/* Makes the pair of a private key (RFC 7748; any 32 bytes are one). */
bool weir_dh_key_init(const struct weir_crypto *crypto, struct weir_dh_key *ret_key,
                      const uint8_t private_key[WEIR_KEY_BYTES]);
void weir_dh_key_fini(struct weir_dh_key *key); /* wipes it */

/* X25519. Returns false when the result is all zero, because the public key is of low order, and when libcrypto fails.
 * Which it was the next function says. */
bool weir_dh(const struct weir_crypto *crypto, const struct weir_dh_key *key,
             const uint8_t public_key[WEIR_KEY_BYTES], uint8_t ret_shared[WEIR_KEY_BYTES]);

/* Whether nobody can have a secret with this key: its multiples by private keys are all zero. */
bool weir_dh_is_low_order(const uint8_t public_key[WEIR_KEY_BYTES]);

/* Ed25519 (RFC 8032). A private key is the 32-byte seed. */
bool weir_ed25519_public(const uint8_t private_key[WEIR_KEY_BYTES],
                         uint8_t ret_public[WEIR_KEY_BYTES]);
bool weir_ed25519_sign(const uint8_t private_key[WEIR_KEY_BYTES], const void *data, size_t len,
                       uint8_t ret_signature[WEIR_SIGNATURE_BYTES]);
/* A struct, so that nobody takes it for a truth value. */
struct weir_verdict {
    enum { WEIR_IS_SIGNED, WEIR_IS_FORGED, WEIR_NOT_VERIFIED /* libcrypto failed */ } is;
};
struct weir_verdict weir_ed25519_verify(const struct weir_crypto *crypto,
                                        const uint8_t public_key[WEIR_KEY_BYTES], const void *data,
                                        size_t len, const uint8_t signature[WEIR_SIGNATURE_BYTES]);

/* ---- secrets ------------------------------------------------------------------------------- */

/* Zeroes memory in a way that no compiler takes out. */
void weir_wipe(void *data, size_t len);

/* Compares in time that depends on `len` only. */
bool weir_is_same(const void *a, const void *b, size_t len);

#endif
