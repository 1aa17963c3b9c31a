#include "proto/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

#include "engine/base/check.h"

#define NONCE_BYTES 12u

static const char *const cipher_names[WEIR_CIPHER_CNT] = {
    [WEIR_CIPHER_CHACHAPOLY] = "ChaCha20-Poly1305",
    [WEIR_CIPHER_AESGCM] = "AES-256-GCM",
};

static const struct {
    const char *name;
    uint8_t bytes;
    uint8_t block;
} digest_table[WEIR_DIGEST_CNT] = {
    [WEIR_DIGEST_SHA256] = {"SHA2-256", 32, 64},
    [WEIR_DIGEST_SHA512] = {"SHA2-512", 64, 128},
    [WEIR_DIGEST_BLAKE2S] = {"BLAKE2S-256", 32, 64},
    [WEIR_DIGEST_BLAKE2B] = {"BLAKE2B-512", 64, 128},
};

/* The leased contexts of one cipher. */
struct weir_aead_cache {
    const struct weir_crypto *crypto;
    struct weir_aead_slot *hand; /* the next to be looked at; NULL: there is none yet */
    uint64_t last_id;            /* ids of leases are never given twice */
    uint64_t lease_cnt, slot_cnt;
    uint8_t cipher; /* enum weir_cipher_kind */
};

static bool cache_init(struct weir_crypto *crypto, uint8_t cipher)
{
    struct weir_aead_cache *cache = OPENSSL_zalloc(sizeof *cache);
    crypto->caches[cipher] = cache;
    if (cache)
        *cache = (struct weir_aead_cache){.crypto = crypto, .cipher = cipher};
    return cache != NULL;
}

static void cache_fini(struct weir_aead_cache *cache)
{
    WEIR_CHECK(!cache || cache->lease_cnt == 0);
    for (uint64_t left = cache ? cache->slot_cnt : 0; left; left--) {
        struct weir_aead_slot *slot = cache->hand;
        cache->hand = slot->next;
        weir_aead_fini(&slot->aead);
        OPENSSL_free(slot);
    }
    OPENSSL_free(cache);
}

/* ---- what is looked up once ---------------------------------------------------------------------- */

enum { X25519, ED25519 };
static const char *const key_names[] = {[X25519] = "X25519", [ED25519] = "ED25519"};

static const uint8_t base_point[WEIR_KEY_BYTES] = {9}; /* RFC 7748, 4.1 */

/* A key object out of bytes, NULL when there is no memory. Named functions of libcrypto (EVP_PKEY_new_raw_*)
 * look the algorithm up for each key, which takes twice as long as the rest. */
static EVP_PKEY *key_make(const struct weir_crypto *crypto, uint32_t kind,
                          const uint8_t *private_key, const uint8_t *public_key)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM params[3], *at = params;
    if (private_key)
        *at++ = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, (void *)private_key,
                                                  WEIR_KEY_BYTES);
    *at++ = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)public_key,
                                              WEIR_KEY_BYTES);
    *at = OSSL_PARAM_construct_end();
    return EVP_PKEY_fromdata(crypto->makers[kind], &key,
                             private_key ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) == 1
               ? key
               : NULL;
}

static bool keys_init(struct weir_crypto *crypto)
{
    for (uint32_t i = 0; i < sizeof key_names / sizeof key_names[0]; i++) {
        crypto->makers[i] = EVP_PKEY_CTX_new_from_name(NULL, key_names[i], NULL);
        if (!crypto->makers[i] || EVP_PKEY_fromdata_init(crypto->makers[i]) != 1)
            return false;
    }
    crypto->dh_peer = key_make(crypto, X25519, NULL, base_point);
    crypto->verify_ctx = EVP_MD_CTX_new();
    return crypto->dh_peer && crypto->verify_ctx;
}

static void keys_fini(struct weir_crypto *crypto)
{
    for (uint32_t i = 0; i < sizeof key_names / sizeof key_names[0]; i++)
        EVP_PKEY_CTX_free(crypto->makers[i]);
    EVP_PKEY_free(crypto->dh_peer);
    EVP_MD_CTX_free(crypto->verify_ctx);
}

bool weir_crypto_init(struct weir_crypto *ret_crypto)
{
    struct weir_crypto *crypto = ret_crypto;
    bool is_good = true;
    memset(crypto, 0, sizeof *crypto);
    for (uint32_t i = 0; i < WEIR_CIPHER_CNT; i++) {
        crypto->ciphers[i] = EVP_CIPHER_fetch(NULL, cipher_names[i], NULL);
        is_good = is_good && crypto->ciphers[i] &&
                  weir_aead_init(crypto, &crypto->aeads[i], (enum weir_cipher_kind)i) &&
                  cache_init(crypto, (uint8_t)i);
    }
    for (uint32_t i = 0; i < WEIR_DIGEST_CNT; i++) {
        crypto->digests[i] = EVP_MD_fetch(NULL, digest_table[i].name, NULL);
        is_good = is_good && crypto->digests[i];
    }
    crypto->digest_ctx = EVP_MD_CTX_new();
    if (!is_good || !crypto->digest_ctx || !keys_init(crypto)) {
        weir_crypto_fini(crypto);
        return false;
    }
    return true;
}

void weir_crypto_fini(struct weir_crypto *crypto)
{
    for (uint32_t i = 0; i < WEIR_CIPHER_CNT; i++) {
        cache_fini(crypto->caches[i]);
        weir_aead_fini(&crypto->aeads[i]);
        EVP_CIPHER_free(crypto->ciphers[i]);
    }
    for (uint32_t i = 0; i < WEIR_DIGEST_CNT; i++)
        EVP_MD_free(crypto->digests[i]);
    EVP_MD_CTX_free(crypto->digest_ctx);
    keys_fini(crypto);
    memset(crypto, 0, sizeof *crypto);
}

/* ---- AEAD ---------------------------------------------------------------------------------------- */

static const uint8_t no_key[WEIR_KEY_BYTES];

bool weir_aead_init(const struct weir_crypto *crypto, struct weir_aead *ret_aead,
                    enum weir_cipher_kind cipher)
{
    ret_aead->cipher = (uint8_t)cipher;
    ret_aead->ctx = EVP_CIPHER_CTX_new();
    /* The algorithm is set here, with a key that is never used, so that setting the real one later
     * takes no memory. */
    if (ret_aead->ctx &&
        EVP_CipherInit_ex2(ret_aead->ctx, crypto->ciphers[cipher], no_key, NULL, 1, NULL) == 1)
        return true;
    weir_aead_fini(ret_aead);
    return false;
}

void weir_aead_fini(struct weir_aead *aead)
{
    EVP_CIPHER_CTX_free(aead->ctx);
    aead->ctx = NULL;
}

bool weir_aead_key(struct weir_aead *aead, const uint8_t key[WEIR_KEY_BYTES], bool is_seal)
{
    return EVP_CipherInit_ex2(aead->ctx, NULL, key, NULL, is_seal, NULL) == 1;
}

/* Noise §12.3 and §12.4. */
static void nonce_put(uint8_t cipher, uint64_t nonce, uint8_t ret_bytes[NONCE_BYTES])
{
    memset(ret_bytes, 0, NONCE_BYTES - sizeof nonce);
    for (uint32_t i = 0; i < sizeof nonce; i++) {
        uint32_t place = cipher == WEIR_CIPHER_AESGCM ? NONCE_BYTES - 1 - i : 4 + i;
        ret_bytes[place] = (uint8_t)(nonce >> (8 * i));
    }
}

bool weir_aead_start(struct weir_aead *aead, uint64_t nonce, const uint8_t *ad, size_t ad_len)
{
    uint8_t bytes[NONCE_BYTES];
    int out_len;
    nonce_put(aead->cipher, nonce, bytes);
    if (EVP_CipherInit_ex2(aead->ctx, NULL, NULL, bytes, -1, NULL) != 1)
        return false;
    return ad_len == 0 || EVP_CipherUpdate(aead->ctx, NULL, &out_len, ad, (int)ad_len) == 1;
}

bool weir_aead_piece(struct weir_aead *aead, const uint8_t *data, size_t len, uint8_t *ret_data)
{
    int out_len;
    WEIR_DCHECK(len <= INT32_MAX);
    if (WEIR_PLANTED(SECRET))
        return memmove(ret_data, data, len) != NULL;
    return len == 0 || EVP_CipherUpdate(aead->ctx, ret_data, &out_len, data, (int)len) == 1;
}

bool weir_aead_tag(struct weir_aead *aead, uint8_t ret_tag[WEIR_TAG_BYTES])
{
    uint8_t nothing[WEIR_TAG_BYTES];
    int out_len;
    return EVP_CipherFinal_ex(aead->ctx, nothing, &out_len) == 1 &&
           EVP_CIPHER_CTX_ctrl(aead->ctx, EVP_CTRL_AEAD_GET_TAG, WEIR_TAG_BYTES, ret_tag) == 1;
}

bool weir_aead_check(struct weir_aead *aead, const uint8_t tag[WEIR_TAG_BYTES])
{
    uint8_t copy[WEIR_TAG_BYTES]; /* the call takes a pointer to non-const */
    uint8_t nothing[WEIR_TAG_BYTES];
    int out_len;
    memcpy(copy, tag, sizeof copy);
    if (WEIR_PLANTED(UNOPENED))
        return true;
    return EVP_CIPHER_CTX_ctrl(aead->ctx, EVP_CTRL_AEAD_SET_TAG, WEIR_TAG_BYTES, copy) == 1 &&
           EVP_CipherFinal_ex(aead->ctx, nothing, &out_len) == 1;
}

void weir_crypto_unkey(const struct weir_crypto *crypto, enum weir_cipher_kind cipher)
{
    struct weir_aead aead = crypto->aeads[cipher];
    weir_aead_key(&aead, no_key, true);
}

/* ---- leased contexts ----------------------------------------------------------------------------- */

static bool slot_add(struct weir_aead_cache *cache)
{
    struct weir_aead_slot *slot = OPENSSL_zalloc(sizeof *slot);
    if (!slot ||
        !weir_aead_init(cache->crypto, &slot->aead, (enum weir_cipher_kind)cache->cipher)) {
        OPENSSL_free(slot);
        return false;
    }
    slot->cache = cache;
    slot->next = cache->hand ? cache->hand->next : slot;
    if (cache->hand)
        cache->hand->next = slot;
    cache->hand = slot; /* the next to be given away */
    cache->slot_cnt++;
    return true;
}

bool weir_lease_init(const struct weir_crypto *crypto, struct weir_aead_lease *ret_lease,
                     enum weir_cipher_kind cipher)
{
    struct weir_aead_cache *cache = crypto->caches[cipher];
    uint64_t wanted = weir_max_u64(WEIR_LEASED_MIN, cache->lease_cnt / WEIR_LEASES_PER_CONTEXT);
    if (cache->slot_cnt <= cache->lease_cnt && cache->slot_cnt < wanted && !slot_add(cache))
        return false;
    cache->lease_cnt++;
    *ret_lease = (struct weir_aead_lease){cache->hand, ++cache->last_id};
    return true;
}

static void slot_clear(struct weir_aead_slot *slot)
{
    slot->lease_id = 0;
    slot->is_recent = false;
    weir_aead_key(&slot->aead, no_key, true);
}

void weir_lease_fini(struct weir_aead_lease *lease)
{
    if (!lease->slot)
        return;
    if (lease->slot->lease_id == lease->id)
        slot_clear(lease->slot);
    lease->slot->cache->lease_cnt--;
    *lease = (struct weir_aead_lease){0};
}

bool weir_lease_key(struct weir_aead_lease *lease, const uint8_t key[WEIR_KEY_BYTES], bool is_seal)
{
    struct weir_aead_slot *slot = lease->slot;
    if (slot->lease_id != lease->id || weir_aead_key(&slot->aead, key, is_seal))
        return true;
    slot_clear(slot);
    return false;
}

struct weir_aead *weir_lease_bind(struct weir_aead_lease *lease, const uint8_t key[WEIR_KEY_BYTES],
                                  bool is_seal)
{
    struct weir_aead_cache *cache = lease->slot->cache;
    while (cache->hand->is_recent) { /* once round at most: what it passes is recent no more */
        cache->hand->is_recent = false;
        cache->hand = cache->hand->next;
    }
    struct weir_aead_slot *slot = cache->hand;
    cache->hand = slot->next;
    lease->slot = slot;
    if (!weir_aead_key(&slot->aead, key, is_seal)) {
        slot_clear(slot);
        return NULL;
    }
    slot->lease_id = lease->id;
    slot->is_recent = true;
    return &slot->aead;
}

/* ---- hash ---------------------------------------------------------------------------------------- */

size_t weir_digest_bytes(enum weir_digest_kind digest)
{
    return digest_table[digest].bytes;
}

bool weir_digest(const struct weir_crypto *crypto, enum weir_digest_kind digest,
                 const struct weir_piece *pieces, size_t piece_cnt, uint8_t *ret_hash)
{
    EVP_MD_CTX *ctx = crypto->digest_ctx;
    bool is_good = EVP_DigestInit_ex2(ctx, crypto->digests[digest], NULL) == 1;
    for (size_t i = 0; is_good && i < piece_cnt; i++)
        is_good = pieces[i].len == 0 || EVP_DigestUpdate(ctx, pieces[i].data, pieces[i].len) == 1;
    return is_good && EVP_DigestFinal_ex(ctx, ret_hash, NULL) == 1;
}

bool weir_hmac(const struct weir_crypto *crypto, enum weir_digest_kind digest, const uint8_t *key,
               size_t key_len, const struct weir_piece *pieces, size_t piece_cnt, uint8_t *ret_hash)
{
    enum { PIECES_MAX = 5 };
    uint8_t pad[WEIR_DIGEST_BLOCK_MAX];
    uint8_t inner[WEIR_DIGEST_BYTES_MAX];
    size_t block = digest_table[digest].block;
    struct weir_piece all[1 + PIECES_MAX] = {{pad, block}};

    WEIR_CHECK(key_len <= block && piece_cnt <= PIECES_MAX);
    for (size_t i = 0; i < block; i++)
        pad[i] = (uint8_t)((i < key_len ? key[i] : 0) ^ 0x36);
    for (size_t i = 0; i < piece_cnt; i++)
        all[1 + i] = pieces[i];
    bool is_good = weir_digest(crypto, digest, all, 1 + piece_cnt, inner);
    for (size_t i = 0; i < block; i++)
        pad[i] ^= 0x36 ^ 0x5C;
    all[1] = (struct weir_piece){inner, digest_table[digest].bytes};
    is_good = is_good && weir_digest(crypto, digest, all, 2, ret_hash);
    weir_wipe(pad, sizeof pad);
    weir_wipe(inner, sizeof inner);
    return is_good;
}

/* ---- keys ---------------------------------------------------------------------------------------- */

/* X25519 with a public key. No check of the other side's key but the one that RFC 7748 wants of the result: any
 * 32 bytes are one. */
static bool multiply(const struct weir_crypto *crypto, const struct weir_dh_key *key,
                     const uint8_t public_key[WEIR_KEY_BYTES], uint8_t ret_shared[WEIR_KEY_BYTES])
{
    size_t len = WEIR_KEY_BYTES;
    return EVP_PKEY_set1_encoded_public_key(crypto->dh_peer, public_key, WEIR_KEY_BYTES) == 1 &&
           EVP_PKEY_derive_set_peer_ex(key->ctx, crypto->dh_peer, 0) == 1 &&
           EVP_PKEY_derive(key->ctx, ret_shared, &len) == 1 && len == WEIR_KEY_BYTES;
}

/* The public key is computed as RFC 7748, 6.1 says, by the same function as a shared one: libcrypto's own way goes
 * through Edwards coordinates and takes a seventh longer. So the pair is made with a public half that is none. */
bool weir_dh_key_init(const struct weir_crypto *crypto, struct weir_dh_key *ret_key,
                      const uint8_t private_key[WEIR_KEY_BYTES])
{
    ret_key->pair = key_make(crypto, X25519, private_key, base_point);
    ret_key->ctx = ret_key->pair ? EVP_PKEY_CTX_new(ret_key->pair, NULL) : NULL;
    if (ret_key->ctx && EVP_PKEY_derive_init(ret_key->ctx) == 1 &&
        multiply(crypto, ret_key, base_point, ret_key->public_key))
        return true;
    weir_dh_key_fini(ret_key);
    return false;
}

void weir_dh_key_fini(struct weir_dh_key *key)
{
    EVP_PKEY_CTX_free(key->ctx);
    EVP_PKEY_free(key->pair); /* which clears the private half */
    key->ctx = key->pair = NULL;
    weir_wipe(key->public_key, sizeof key->public_key);
}

bool weir_dh(const struct weir_crypto *crypto, const struct weir_dh_key *key,
             const uint8_t public_key[WEIR_KEY_BYTES], uint8_t ret_shared[WEIR_KEY_BYTES])
{
    static const uint8_t zero[WEIR_KEY_BYTES];
    return multiply(crypto, key, public_key, ret_shared) &&
           !weir_is_same(ret_shared, zero, sizeof zero);
}

/* The u-coordinates of the points whose order divides 8, on the curve and on its twist: 0, 1 and -1, the two of order 8,
 * and what 32 bytes can write of them a second time, above the prime. Its highest bit X25519 does not read (RFC 7748,
 * 5). */
bool weir_dh_is_low_order(const uint8_t public_key[WEIR_KEY_BYTES])
{
    static const uint8_t points_of_8[2][WEIR_KEY_BYTES] = {
        {0xE0, 0xEB, 0x7A, 0x7C, 0x3B, 0x41, 0xB8, 0xAE, 0x16, 0x56, 0xE3,
         0xFA, 0xF1, 0x9F, 0xC4, 0x6A, 0xDA, 0x09, 0x8D, 0xEB, 0x9C, 0x32,
         0xB1, 0xFD, 0x86, 0x62, 0x05, 0x16, 0x5F, 0x49, 0xB8, 0x00},
        {0x5F, 0x9C, 0x95, 0xBC, 0xA3, 0x50, 0x8C, 0x24, 0xB1, 0xD0, 0xB1,
         0x55, 0x9C, 0x83, 0xEF, 0x5B, 0x04, 0x44, 0x5C, 0xC4, 0x58, 0x1C,
         0x8E, 0x86, 0xD8, 0x22, 0x4E, 0xDD, 0xD0, 0x9F, 0x11, 0x57},
    };
    uint8_t last = public_key[WEIR_KEY_BYTES - 1] & 0x7F;
    uint8_t all_or = 0, all_and = 0xFF;
    for (uint32_t i = 1; i < WEIR_KEY_BYTES - 1; i++) {
        all_or |= public_key[i];
        all_and &= public_key[i];
    }
    if (all_or == 0 && last == 0 && public_key[0] <= 1)
        return true; /* 0, 1 */
    if (all_and == 0xFF && last == 0x7F && public_key[0] >= 0xEC && public_key[0] <= 0xEE)
        return true; /* p - 1, p, p + 1; p is 2^255 - 19 */
    for (uint32_t i = 0; i < 2; i++) {
        if (memcmp(public_key, points_of_8[i], WEIR_KEY_BYTES - 1) == 0 &&
            last == points_of_8[i][WEIR_KEY_BYTES - 1])
            return true;
    }
    return false;
}

bool weir_ed25519_public(const uint8_t private_key[WEIR_KEY_BYTES],
                         uint8_t ret_public[WEIR_KEY_BYTES])
{
    size_t len = WEIR_KEY_BYTES;
    EVP_PKEY *key =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private_key, WEIR_KEY_BYTES);
    bool is_good = key && EVP_PKEY_get_raw_public_key(key, ret_public, &len) == 1;
    EVP_PKEY_free(key);
    return is_good;
}

bool weir_ed25519_sign(const uint8_t private_key[WEIR_KEY_BYTES], const void *data, size_t len,
                       uint8_t ret_signature[WEIR_SIGNATURE_BYTES])
{
    size_t signature_len = WEIR_SIGNATURE_BYTES;
    EVP_PKEY *key =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private_key, WEIR_KEY_BYTES);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool is_good = key && ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
                   EVP_DigestSign(ctx, ret_signature, &signature_len, data, len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return is_good;
}

/* Any 32 bytes make a key here, so who has none has no memory. In EVP_DigestVerify itself a failure cannot be told from
 * a signature that does not hold. */
struct weir_verdict weir_ed25519_verify(const struct weir_crypto *crypto,
                                        const uint8_t public_key[WEIR_KEY_BYTES], const void *data,
                                        size_t len, const uint8_t signature[WEIR_SIGNATURE_BYTES])
{
    struct weir_verdict verdict = {WEIR_NOT_VERIFIED};
    EVP_PKEY *key = key_make(crypto, ED25519, NULL, public_key);
    if (key && EVP_DigestVerifyInit(crypto->verify_ctx, NULL, NULL, NULL, key) == 1) {
        int result =
            EVP_DigestVerify(crypto->verify_ctx, signature, WEIR_SIGNATURE_BYTES, data, len);
        verdict.is = result == 1 ? WEIR_IS_SIGNED : WEIR_IS_FORGED;
    }
    EVP_MD_CTX_reset(crypto->verify_ctx); /* it would go on with the key that it has */
    EVP_PKEY_free(key);
    return verdict;
}

/* ---- secrets ------------------------------------------------------------------------------------- */

void weir_wipe(void *data, size_t len)
{
    OPENSSL_cleanse(data, len);
}

bool weir_is_same(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}
