#include "proto/identity.h"

#include <string.h>

/* Both without the zero at their ends. What is signed begins with words that nothing else that this key
 * may sign begins with. */
static const char derive_label[] = "weir-noise-static-v1";
static const char sign_label[] = "weir-noise-static-key-v1:";

#define SIGNED_BYTES (sizeof sign_label - 1 + WEIR_KEY_BYTES)

static void signed_write(const uint8_t static_key[WEIR_KEY_BYTES], uint8_t ret_bytes[SIGNED_BYTES])
{
    memcpy(ret_bytes, sign_label, sizeof sign_label - 1);
    memcpy(ret_bytes + sizeof sign_label - 1, static_key, WEIR_KEY_BYTES);
}

bool weir_identity_init(struct weir_identity *ret_identity, const struct weir_crypto *crypto,
                        const uint8_t secret[WEIR_KEY_BYTES])
{
    struct weir_identity *identity = ret_identity;
    uint8_t private_key[WEIR_KEY_BYTES];
    uint8_t to_sign[SIGNED_BYTES];
    struct weir_piece label = {derive_label, sizeof derive_label - 1};
    memset(identity, 0, sizeof *identity);
    bool is_good =
        weir_hmac(crypto, WEIR_DIGEST_SHA256, secret, WEIR_KEY_BYTES, &label, 1, private_key) &&
        weir_dh_key_init(crypto, &identity->s, private_key);
    weir_wipe(private_key, sizeof private_key);
    if (is_good) {
        signed_write(identity->s.public_key, to_sign);
        is_good =
            weir_ed25519_public(secret, identity->proof) &&
            weir_ed25519_sign(secret, to_sign, sizeof to_sign, identity->proof + WEIR_KEY_BYTES);
    }
    if (!is_good)
        weir_identity_fini(identity);
    return is_good;
}

void weir_identity_fini(struct weir_identity *identity)
{
    weir_dh_key_fini(&identity->s);
    memset(identity->proof, 0, sizeof identity->proof);
}

struct weir_verdict weir_identity_check(const struct weir_crypto *crypto,
                                        const uint8_t proof[WEIR_PROOF_BYTES],
                                        const uint8_t rs[WEIR_KEY_BYTES])
{
    uint8_t was_signed[SIGNED_BYTES];
    signed_write(rs, was_signed);
    return weir_ed25519_verify(crypto, proof, was_signed, sizeof was_signed,
                               proof + WEIR_KEY_BYTES);
}
