/* Known answers of what the Noise vectors do not reach, and that the data path takes no memory. */
#include "noise_fixture.h"

#include <openssl/crypto.h>

Test(crypto, ed25519_signs_as_in_rfc_8032)
{
    uint8_t private_key[32], public_key[32], expected[64], signature[64];
    hex_read("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", private_key, 32);
    hex_read("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
             "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
             expected, 64);
    cr_assert(weir_ed25519_public(private_key, public_key));
    cr_assert_eq(public_key[0], 0xd7);
    cr_assert_eq(public_key[31], 0x1a);
    cr_assert(weir_ed25519_sign(private_key, "", 0, signature));
    cr_assert_arr_eq(signature, expected, 64);
    cr_assert(weir_ed25519_verify(public_key, "", 0, signature));
    cr_assert_not(weir_ed25519_verify(public_key, "x", 1, signature));
    for (unsigned bit = 0; bit < 512; bit += 7) {
        signature[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_not(weir_ed25519_verify(public_key, "", 0, signature), "bit %u", bit);
        signature[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(crypto, hmac_is_that_of_rfc_4231)
{
    struct weir_crypto crypto;
    uint8_t expected[64], hash[64];
    struct weir_piece pieces[2] = {{"what do ya want ", 16}, {"for nothing?", 12}};
    cr_assert(weir_crypto_init(&crypto));
    hex_read("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", expected, 64);
    cr_assert(weir_hmac(&crypto, WEIR_DIGEST_SHA256, (const uint8_t *)"Jefe", 4, pieces, 2, hash));
    cr_assert_arr_eq(hash, expected, 32);
    hex_read("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a"
             "6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
             expected, 64);
    cr_assert(weir_hmac(&crypto, WEIR_DIGEST_SHA512, (const uint8_t *)"Jefe", 4, pieces, 2, hash));
    cr_assert_arr_eq(hash, expected, 64);
    weir_crypto_fini(&crypto);
}

Test(crypto, a_sealed_message_is_the_same_in_any_pieces)
{
    struct weir_crypto crypto;
    uint8_t key[32], data[1000], whole[1000], pieces[1000], tag[16], other_tag[16];
    cr_assert(weir_crypto_init(&crypto));
    key_of(3, key);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    for (uint32_t kind = 0; kind < WEIR_CIPHER_CNT; kind++) {
        struct weir_aead aead;
        cr_assert(weir_aead_init(&crypto, &aead, (enum weir_cipher_kind)kind));
        cr_assert(weir_aead_key(&aead, key, true));
        cr_assert(weir_aead_start(&aead, 77, data, 13));
        cr_assert(weir_aead_piece(&aead, data, sizeof data, whole));
        cr_assert(weir_aead_tag(&aead, tag));
        for (size_t step = 1; step < sizeof data; step = step * 3 + 1) {
            memcpy(pieces, data, sizeof data);
            cr_assert(weir_aead_start(&aead, 77, data, 13));
            for (size_t at = 0; at < sizeof data; at += step) {
                size_t len = sizeof data - at < step ? sizeof data - at : step;
                cr_assert(weir_aead_piece(&aead, pieces + at, len, pieces + at));
            }
            cr_assert(weir_aead_tag(&aead, other_tag));
            cr_assert_arr_eq(pieces, whole, sizeof whole);
            cr_assert_arr_eq(other_tag, tag, sizeof tag);
        }
        weir_aead_fini(&aead);
    }
    weir_crypto_fini(&crypto);
}

/* ---- memory -------------------------------------------------------------------------------------- */

static size_t alloc_cnt;

static void *count_malloc(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    alloc_cnt++;
    return malloc(len);
}

static void *count_realloc(void *data, size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    alloc_cnt++;
    return realloc(data, len);
}

static void count_free(void *data, const char *file, int line)
{
    (void)file;
    (void)line;
    free(data);
}

/* libcrypto takes them before its first allocation only, and Criterion's own libraries use it too. */
static int is_counting;
__attribute__((constructor(101))) static void counting_start(void)
{
    is_counting = CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free);
}

Test(crypto, sealing_opening_and_rekeying_take_no_memory)
{
    static const char *const names[] = {"Noise_XX_25519_ChaChaPoly_SHA256",
                                        "Noise_XX_25519_AESGCM_SHA256"};
    cr_assert_eq(is_counting, 1);
    for (size_t i = 0; i < 2; i++) {
        struct sides sides;
        uint8_t data[4096 + WEIR_TAG_BYTES] = {0};
        size_t before_handshake = alloc_cnt;
        sides_open(&sides, names[i], "", "", 0, 0);
        sides_finish(&sides);
        cr_assert_gt(alloc_cnt, before_handshake, "the count counts");
        size_t before = alloc_cnt;
        for (uint32_t round = 0; round < 100; round++) {
            cr_assert_eq(weir_noise_cipher_encrypt(&sides.crypto, &sides.init.send, NULL, 0, data,
                                                   4096, data),
                         0);
            cr_assert_eq(weir_noise_cipher_decrypt(&sides.crypto, &sides.resp.recv, NULL, 0, data,
                                                   sizeof data, data),
                         0);
            if (round % 10 == 0) {
                cr_assert_eq(weir_noise_cipher_rekey(&sides.crypto, &sides.init.send), 0);
                cr_assert_eq(weir_noise_cipher_rekey(&sides.crypto, &sides.resp.recv), 0);
            }
        }
        cr_assert_eq(alloc_cnt, before, "%s: %zu allocations", names[i], alloc_cnt - before);
        sides_close(&sides);
    }
}
