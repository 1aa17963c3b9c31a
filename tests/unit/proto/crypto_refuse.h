/* tests/unit/proto/crypto_refuse.h: a libcrypto that refuses its n-th call.
 *
 * The functions below stand in for libcrypto's own, also where it calls them itself, in the program whose one source
 * includes this. They are all that the engine calls and that may fail. Calls are counted while armed; on one thread.
 */
#ifndef WEIR_TESTS_UNIT_PROTO_CRYPTO_REFUSE_H
#define WEIR_TESTS_UNIT_PROTO_CRYPTO_REFUSE_H

#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static struct {
    bool is_armed;
    uint32_t call_cnt, refused_call; /* the calls while armed; the one that is refused, 0: none */
    const char *refused_name;        /* the function that was; NULL: none yet */
    void (*on_refused)(void);        /* called as it is; may be NULL */
} crypto_refuse;

static inline bool crypto_is_refused(const char *name)
{
    if (!crypto_refuse.is_armed || ++crypto_refuse.call_cnt != crypto_refuse.refused_call)
        return false;
    crypto_refuse.refused_name = name;
    if (crypto_refuse.on_refused)
        crypto_refuse.on_refused();
    return true;
}

#define CRYPTO_STAND_IN(type, failure, name, params, args)    \
    type name params                                          \
    {                                                         \
        static type(*own) params;                             \
        if (!own)                                             \
            *(void **)(void *)&own = dlsym(RTLD_NEXT, #name); \
        return crypto_is_refused(#name) ? failure : own args; \
    }

/* clang-format off */
CRYPTO_STAND_IN(void *, NULL, CRYPTO_zalloc, (size_t len, const char *file, int line), (len, file, line))
CRYPTO_STAND_IN(EVP_CIPHER *, NULL, EVP_CIPHER_fetch, (OSSL_LIB_CTX *lib, const char *name, const char *props), (lib, name, props))
CRYPTO_STAND_IN(EVP_MD *, NULL, EVP_MD_fetch, (OSSL_LIB_CTX *lib, const char *name, const char *props), (lib, name, props))
CRYPTO_STAND_IN(EVP_CIPHER_CTX *, NULL, EVP_CIPHER_CTX_new, (void), ())
CRYPTO_STAND_IN(EVP_MD_CTX *, NULL, EVP_MD_CTX_new, (void), ())
CRYPTO_STAND_IN(EVP_PKEY_CTX *, NULL, EVP_PKEY_CTX_new, (EVP_PKEY *key, ENGINE *engine), (key, engine))
CRYPTO_STAND_IN(EVP_PKEY_CTX *, NULL, EVP_PKEY_CTX_new_from_name, (OSSL_LIB_CTX *lib, const char *name, const char *props), (lib, name, props))
CRYPTO_STAND_IN(EVP_PKEY *, NULL, EVP_PKEY_new_raw_private_key, (int type, ENGINE *engine, const unsigned char *key, size_t len), (type, engine, key, len))
CRYPTO_STAND_IN(int, 0, EVP_PKEY_get_raw_public_key, (const EVP_PKEY *key, unsigned char *bytes, size_t *len), (key, bytes, len))
CRYPTO_STAND_IN(int, 0, EVP_PKEY_fromdata_init, (EVP_PKEY_CTX *ctx), (ctx))
CRYPTO_STAND_IN(int, 0, EVP_PKEY_fromdata, (EVP_PKEY_CTX *ctx, EVP_PKEY **key, int what, OSSL_PARAM *params), (ctx, key, what, params))
CRYPTO_STAND_IN(int, 0, EVP_PKEY_set1_encoded_public_key, (EVP_PKEY *key, const unsigned char *bytes, size_t len), (key, bytes, len))
CRYPTO_STAND_IN(int, 0, EVP_PKEY_derive_init, (EVP_PKEY_CTX *ctx), (ctx))
CRYPTO_STAND_IN(int, 0, EVP_PKEY_derive_set_peer_ex, (EVP_PKEY_CTX *ctx, EVP_PKEY *peer, int is_checked), (ctx, peer, is_checked))
CRYPTO_STAND_IN(int, 0, EVP_CipherInit_ex2, (EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, const unsigned char *key, const unsigned char *iv, int is_seal, const OSSL_PARAM *params), (ctx, cipher, key, iv, is_seal, params))
CRYPTO_STAND_IN(int, 0, EVP_CipherUpdate, (EVP_CIPHER_CTX *ctx, unsigned char *to, int *to_len, const unsigned char *from, int len), (ctx, to, to_len, from, len))
CRYPTO_STAND_IN(int, 0, EVP_CipherFinal_ex, (EVP_CIPHER_CTX *ctx, unsigned char *to, int *to_len), (ctx, to, to_len))
CRYPTO_STAND_IN(int, 0, EVP_CIPHER_CTX_ctrl, (EVP_CIPHER_CTX *ctx, int what, int number, void *bytes), (ctx, what, number, bytes))
CRYPTO_STAND_IN(int, 0, EVP_DigestInit_ex2, (EVP_MD_CTX *ctx, const EVP_MD *md, const OSSL_PARAM *params), (ctx, md, params))
CRYPTO_STAND_IN(int, 0, EVP_DigestUpdate, (EVP_MD_CTX *ctx, const void *bytes, size_t len), (ctx, bytes, len))
CRYPTO_STAND_IN(int, 0, EVP_DigestFinal_ex, (EVP_MD_CTX *ctx, unsigned char *hash, unsigned int *len), (ctx, hash, len))
CRYPTO_STAND_IN(int, 0, EVP_DigestSignInit, (EVP_MD_CTX *ctx, EVP_PKEY_CTX **pkey, const EVP_MD *md, ENGINE *engine, EVP_PKEY *key), (ctx, pkey, md, engine, key))
CRYPTO_STAND_IN(int, 0, EVP_DigestSign, (EVP_MD_CTX *ctx, unsigned char *to, size_t *to_len, const unsigned char *from, size_t len), (ctx, to, to_len, from, len))
CRYPTO_STAND_IN(int, 0, EVP_DigestVerifyInit, (EVP_MD_CTX *ctx, EVP_PKEY_CTX **pkey, const EVP_MD *md, ENGINE *engine, EVP_PKEY *key), (ctx, pkey, md, engine, key))
CRYPTO_STAND_IN(int, 0, EVP_DigestVerify, (EVP_MD_CTX *ctx, const unsigned char *signature, size_t signature_len, const unsigned char *bytes, size_t len), (ctx, signature, signature_len, bytes, len))
/* clang-format on */

/* What it says instead of a shared key: the whole length and zeros, or one byte less. */
static enum { DERIVE_RIGHT, DERIVE_ZEROS, DERIVE_SHORT } crypto_derive_what;

int EVP_PKEY_derive(EVP_PKEY_CTX *ctx, unsigned char *bytes, size_t *len)
{
    static int (*own)(EVP_PKEY_CTX *, unsigned char *, size_t *);
    if (!own)
        *(void **)(void *)&own = dlsym(RTLD_NEXT, "EVP_PKEY_derive");
    if (crypto_is_refused("EVP_PKEY_derive"))
        return 0;
    int result = own(ctx, bytes, len);
    if (crypto_derive_what == DERIVE_ZEROS)
        memset(bytes, 0, *len);
    else if (crypto_derive_what == DERIVE_SHORT)
        (*len)--;
    return result;
}

/* Refuses the n-th call from now on; 0 only counts. */
static inline void crypto_arm(uint32_t nth)
{
    crypto_refuse.call_cnt = 0;
    crypto_refuse.refused_call = nth;
    crypto_refuse.refused_name = NULL;
    crypto_refuse.is_armed = true;
}

/* Returns whether the call was there to be refused. */
static inline bool crypto_disarm(void)
{
    crypto_refuse.is_armed = false;
    return crypto_refuse.refused_name != NULL;
}

#endif
