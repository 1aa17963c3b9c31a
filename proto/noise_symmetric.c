#include "proto/noise.h"

#include <string.h>

#include "engine/base/check.h"

/* HKDF() of Noise §4.3 with two or three outputs (`ret_third` NULL: two). */
static int hkdf(const struct weir_noise_symmetric *symmetric, const uint8_t *data, size_t len,
                uint8_t *ret_first, uint8_t *ret_second, uint8_t *ret_third)
{
    static const uint8_t counts[3] = {1, 2, 3};
    const struct weir_crypto *crypto = symmetric->crypto;
    enum weir_digest_kind digest = (enum weir_digest_kind)symmetric->digest;
    size_t hash_len = symmetric->hash_len;
    uint8_t temp_key[WEIR_DIGEST_BYTES_MAX];
    uint8_t *outs[3] = {ret_first, ret_second, ret_third};
    struct weir_piece input = {data, len};

    bool is_good =
        weir_hmac(crypto, digest, symmetric->ck, hash_len, &input, len != 0 ? 1 : 0, temp_key);
    for (uint32_t i = 0; is_good && i < 3 && outs[i]; i++) {
        struct weir_piece pieces[2] = {{i ? outs[i - 1] : NULL, i ? hash_len : 0}, {&counts[i], 1}};
        is_good = weir_hmac(crypto, digest, temp_key, hash_len, pieces, 2, outs[i]);
    }
    weir_wipe(temp_key, sizeof temp_key);
    return is_good ? WEIR_NOISE_OK : WEIR_NOISE_NOMEM;
}

int weir_noise_symmetric_init(struct weir_noise_symmetric *ret_symmetric,
                              const struct weir_crypto *crypto, const char *name,
                              enum weir_cipher_kind cipher, enum weir_digest_kind digest)
{
    struct weir_noise_symmetric *symmetric = ret_symmetric;
    memset(symmetric, 0, sizeof *symmetric);
    symmetric->crypto = crypto;
    symmetric->cipher.cipher = (uint8_t)cipher;
    symmetric->digest = (uint8_t)digest;
    symmetric->hash_len = (uint8_t)weir_digest_bytes(digest);
    size_t name_len = strlen(name);
    struct weir_piece piece = {name, name_len};
    if (name_len <= symmetric->hash_len)
        memcpy(symmetric->h, name, name_len);
    else if (!weir_digest(crypto, digest, &piece, 1, symmetric->h))
        return WEIR_NOISE_NOMEM;
    memcpy(symmetric->ck, symmetric->h, symmetric->hash_len);
    return WEIR_NOISE_OK;
}

int weir_noise_mix_key(struct weir_noise_symmetric *symmetric, const uint8_t *data, size_t len)
{
    uint8_t ck[WEIR_DIGEST_BYTES_MAX];
    uint8_t temp_k[WEIR_DIGEST_BYTES_MAX]; /* 64 bytes are cut to the first 32 */
    int error = hkdf(symmetric, data, len, ck, temp_k, NULL);
    if (!error) {
        memcpy(symmetric->ck, ck, symmetric->hash_len);
        error = weir_noise_cipher_key(&symmetric->cipher, temp_k);
    }
    weir_wipe(ck, sizeof ck);
    weir_wipe(temp_k, sizeof temp_k);
    return error;
}

int weir_noise_mix_hash(struct weir_noise_symmetric *symmetric, const uint8_t *data, size_t len)
{
    struct weir_piece pieces[2] = {{symmetric->h, symmetric->hash_len}, {data, len}};
    bool is_good = weir_digest(symmetric->crypto, (enum weir_digest_kind)symmetric->digest, pieces,
                               2, symmetric->h);
    return is_good ? WEIR_NOISE_OK : WEIR_NOISE_NOMEM;
}

int weir_noise_mix_key_and_hash(struct weir_noise_symmetric *symmetric, const uint8_t *data,
                                size_t len)
{
    uint8_t ck[WEIR_DIGEST_BYTES_MAX];
    uint8_t temp_h[WEIR_DIGEST_BYTES_MAX];
    uint8_t temp_k[WEIR_DIGEST_BYTES_MAX];
    int error = hkdf(symmetric, data, len, ck, temp_h, temp_k);
    if (!error) {
        memcpy(symmetric->ck, ck, symmetric->hash_len);
        error = weir_noise_mix_hash(symmetric, temp_h, symmetric->hash_len);
    }
    if (!error)
        error = weir_noise_cipher_key(&symmetric->cipher, temp_k);
    weir_wipe(ck, sizeof ck);
    weir_wipe(temp_h, sizeof temp_h);
    weir_wipe(temp_k, sizeof temp_k);
    return error;
}

int weir_noise_encrypt_and_hash(struct weir_noise_symmetric *symmetric, const uint8_t *data,
                                size_t len, uint8_t *ret_data)
{
    int error = weir_noise_cipher_encrypt(symmetric->crypto, &symmetric->cipher, symmetric->h,
                                          symmetric->hash_len, data, len, ret_data);
    size_t out_len = len + (symmetric->cipher.has_key ? WEIR_TAG_BYTES : 0);
    return error ? error : weir_noise_mix_hash(symmetric, ret_data, out_len);
}

int weir_noise_decrypt_and_hash(struct weir_noise_symmetric *symmetric, const uint8_t *data,
                                size_t len, uint8_t *ret_data)
{
    /* The hash is over what came, so it is taken before that may be overwritten in place; it counts only
     * when the tag is right. */
    uint8_t h[WEIR_DIGEST_BYTES_MAX];
    memcpy(h, symmetric->h, sizeof h);
    int error = weir_noise_mix_hash(symmetric, data, len);
    if (!error)
        error = weir_noise_cipher_decrypt(symmetric->crypto, &symmetric->cipher, h,
                                          symmetric->hash_len, data, len, ret_data);
    if (error)
        memcpy(symmetric->h, h, sizeof h);
    return error;
}

int weir_noise_split(const struct weir_noise_symmetric *symmetric,
                     struct weir_noise_cipher *ret_first, struct weir_noise_cipher *ret_second)
{
    uint8_t temp_k1[WEIR_DIGEST_BYTES_MAX];
    uint8_t temp_k2[WEIR_DIGEST_BYTES_MAX];
    int error = hkdf(symmetric, NULL, 0, temp_k1, temp_k2, NULL);
    memset(ret_first, 0, sizeof *ret_first);
    memset(ret_second, 0, sizeof *ret_second);
    ret_first->cipher = ret_second->cipher = symmetric->cipher.cipher;
    if (!error)
        error = weir_noise_cipher_key(ret_first, temp_k1);
    if (!error)
        error = weir_noise_cipher_key(ret_second, temp_k2);
    weir_wipe(temp_k1, sizeof temp_k1);
    weir_wipe(temp_k2, sizeof temp_k2);
    return error;
}
