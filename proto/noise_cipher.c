#include "proto/noise.h"

#include <string.h>

#include "engine/base/check.h"

int weir_noise_cipher_key(struct weir_noise_cipher *cipher, const uint8_t *key)
{
    cipher->n = 0;
    cipher->has_key = true;
    memmove(cipher->k, key, WEIR_KEY_BYTES);
    if (cipher->lease.slot && !weir_lease_key(&cipher->lease, cipher->k, cipher->is_seal))
        return WEIR_NOISE_NOMEM;
    return WEIR_NOISE_OK;
}

int weir_noise_cipher_lease(const struct weir_crypto *crypto, struct weir_noise_cipher *cipher,
                            bool is_seal)
{
    WEIR_CHECK(cipher->has_key && !cipher->lease.slot);
    cipher->is_seal = is_seal;
    return weir_lease_init(crypto, &cipher->lease, (enum weir_cipher_kind)cipher->cipher)
               ? WEIR_NOISE_OK
               : WEIR_NOISE_NOMEM;
}

/* The context to work with: the leased one, or the thread's, keyed for this call. NULL: no memory. */
static struct weir_aead *aead_take(const struct weir_crypto *crypto,
                                   struct weir_noise_cipher *cipher, bool is_seal,
                                   struct weir_aead *borrowed)
{
    if (cipher->lease.slot) {
        WEIR_CHECK(cipher->is_seal == is_seal);
        return weir_noise_cipher_aead(cipher);
    }
    *borrowed = crypto->aeads[cipher->cipher];
    return weir_aead_key(borrowed, cipher->k, is_seal) ? borrowed : NULL;
}

int weir_noise_cipher_encrypt(const struct weir_crypto *crypto, struct weir_noise_cipher *cipher,
                              const uint8_t *ad, size_t ad_len, const uint8_t *data, size_t len,
                              uint8_t *ret_data)
{
    struct weir_aead borrowed;
    if (!cipher->has_key) {
        if (len != 0)
            memmove(ret_data, data, len);
        return WEIR_NOISE_OK;
    }
    if (cipher->n == WEIR_NOISE_NONCE_MAX)
        return WEIR_NOISE_SPENT;
    struct weir_aead *aead = aead_take(crypto, cipher, true, &borrowed);
    if (!aead || !weir_aead_start(aead, cipher->n, ad, ad_len) ||
        !weir_aead_piece(aead, data, len, ret_data) || !weir_aead_tag(aead, ret_data + len))
        return WEIR_NOISE_NOMEM;
    cipher->n++;
    return WEIR_NOISE_OK;
}

int weir_noise_cipher_decrypt(const struct weir_crypto *crypto, struct weir_noise_cipher *cipher,
                              const uint8_t *ad, size_t ad_len, const uint8_t *data, size_t len,
                              uint8_t *ret_data)
{
    struct weir_aead borrowed;
    if (!cipher->has_key) {
        if (len != 0)
            memmove(ret_data, data, len);
        return WEIR_NOISE_OK;
    }
    if (len < WEIR_TAG_BYTES)
        return WEIR_NOISE_SHORT;
    if (cipher->n == WEIR_NOISE_NONCE_MAX)
        return WEIR_NOISE_SPENT;
    size_t plain_len = len - WEIR_TAG_BYTES;
    struct weir_aead *aead = aead_take(crypto, cipher, false, &borrowed);
    if (!aead || !weir_aead_start(aead, cipher->n, ad, ad_len))
        return WEIR_NOISE_NOMEM;
    if (!weir_aead_piece(aead, data, plain_len, ret_data) ||
        !weir_aead_check(aead, data + plain_len)) {
        weir_wipe(ret_data, plain_len); /* nobody shall look at what was not sent by the peer */
        return WEIR_NOISE_FORGED;
    }
    cipher->n++;
    return WEIR_NOISE_OK;
}

int weir_noise_cipher_rekey(const struct weir_crypto *crypto, struct weir_noise_cipher *cipher)
{
    static const uint8_t zeros[WEIR_KEY_BYTES];
    uint8_t sealed[WEIR_KEY_BYTES];
    struct weir_aead borrowed = crypto->aeads[cipher->cipher];
    WEIR_CHECK(cipher->has_key);
    /* The tag is dropped. The thread's context is used: a leased one may be keyed for opening. */
    bool is_good = weir_aead_key(&borrowed, cipher->k, true) &&
                   weir_aead_start(&borrowed, WEIR_NOISE_NONCE_MAX, NULL, 0) &&
                   weir_aead_piece(&borrowed, zeros, sizeof zeros, sealed);
    uint64_t n = cipher->n;
    int error = is_good ? weir_noise_cipher_key(cipher, sealed) : WEIR_NOISE_NOMEM;
    cipher->n = n;
    weir_wipe(sealed, sizeof sealed);
    weir_crypto_unkey(crypto, (enum weir_cipher_kind)cipher->cipher); /* of the key before */
    return error;
}

void weir_noise_cipher_wipe(struct weir_noise_cipher *cipher)
{
    weir_lease_fini(&cipher->lease);
    weir_wipe(cipher->k, sizeof cipher->k);
    cipher->has_key = false;
    cipher->n = 0;
}
