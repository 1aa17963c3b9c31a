#include "noise_fixture.h"

#include "proto/identity.h"

static void secret_of(uint8_t seed, uint8_t ret_secret[WEIR_KEY_BYTES])
{
    key_of(seed, ret_secret);
}

Test(identity, a_proof_is_for_one_static_key_and_one_id)
{
    struct weir_crypto crypto;
    struct weir_identity a, b;
    uint8_t secret[WEIR_KEY_BYTES], proof[WEIR_PROOF_BYTES], id[WEIR_KEY_BYTES];
    cr_assert(weir_crypto_init(&crypto));
    secret_of(1, secret);
    cr_assert(weir_identity_init(&a, &crypto, secret));
    cr_assert(weir_ed25519_public(secret, id));
    cr_assert_arr_eq(a.proof, id, WEIR_KEY_BYTES, "the id is the public key");
    secret_of(2, secret);
    cr_assert(weir_identity_init(&b, &crypto, secret));

    cr_assert_eq(weir_identity_check(&crypto, a.proof, a.s.public_key).is, WEIR_IS_SIGNED);
    cr_assert_eq(weir_identity_check(&crypto, b.proof, b.s.public_key).is, WEIR_IS_SIGNED);
    cr_assert_eq(weir_identity_check(&crypto, a.proof, b.s.public_key).is, WEIR_IS_FORGED,
                 "another's static key");
    memcpy(proof, a.proof, sizeof proof);
    memcpy(proof, b.proof, WEIR_KEY_BYTES);
    cr_assert_eq(weir_identity_check(&crypto, proof, a.s.public_key).is, WEIR_IS_FORGED,
                 "another's id");
    for (size_t bit = 0; bit < 8 * sizeof proof; bit += 3) {
        memcpy(proof, a.proof, sizeof proof);
        proof[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(weir_identity_check(&crypto, proof, a.s.public_key).is, WEIR_IS_FORGED,
                     "bit %zu", bit);
    }
    weir_identity_fini(&a);
    weir_identity_fini(&b);
    weir_crypto_fini(&crypto);
}

Test(identity, it_is_the_same_in_every_run)
{
    struct weir_crypto crypto;
    struct weir_identity a, b;
    uint8_t secret[WEIR_KEY_BYTES], expected[WEIR_KEY_BYTES];
    cr_assert(weir_crypto_init(&crypto));
    secret_of(1, secret);
    cr_assert(weir_identity_init(&a, &crypto, secret));
    cr_assert(weir_identity_init(&b, &crypto, secret));
    cr_assert_arr_eq(&a.proof, &b.proof, sizeof a.proof);
    hex_read("51af89cc230d4f6ee2647c4ea594a57537851a72a544a764b3c195f8480ca130", expected,
             sizeof expected);
    cr_assert_arr_eq(a.s.public_key, expected, sizeof expected, "derived as docs/security.md says");
    weir_identity_fini(&a);
    weir_identity_fini(&b);
    cr_assert_null(a.s.pair);
    weir_identity_fini(&a);
    weir_crypto_fini(&crypto);
}
