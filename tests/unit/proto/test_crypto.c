/* Known answers of what the Noise vectors do not reach, and that the data path takes no memory. */
#include "noise_fixture.h"

#include <openssl/crypto.h>

Test(crypto, ed25519_signs_as_in_rfc_8032)
{
    struct weir_crypto crypto;
    uint8_t private_key[32], public_key[32], expected[64], signature[64], another[32];
    cr_assert(weir_crypto_init(&crypto));
    hex_read("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", private_key, 32);
    hex_read("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
             "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
             expected, 64);
    cr_assert(weir_ed25519_public(private_key, public_key));
    cr_assert_eq(public_key[0], 0xd7);
    cr_assert_eq(public_key[31], 0x1a);
    cr_assert(weir_ed25519_sign(private_key, "", 0, signature));
    cr_assert_arr_eq(signature, expected, 64);
    cr_assert_eq(weir_ed25519_verify(&crypto, public_key, "", 0, signature).is, WEIR_IS_SIGNED);
    cr_assert_eq(weir_ed25519_verify(&crypto, public_key, "x", 1, signature).is, WEIR_IS_FORGED);
    for (unsigned bit = 0; bit < 512; bit += 7) {
        signature[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(weir_ed25519_verify(&crypto, public_key, "", 0, signature).is, WEIR_IS_FORGED,
                     "bit %u", bit);
        signature[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* What the crypto keeps between two checks has nothing of the key of the first. */
    private_key[0] ^= 1;
    cr_assert(weir_ed25519_public(private_key, another));
    cr_assert_eq(weir_ed25519_verify(&crypto, another, "", 0, signature).is, WEIR_IS_FORGED);
    cr_assert_eq(weir_ed25519_verify(&crypto, public_key, "", 0, signature).is, WEIR_IS_SIGNED);
    cr_assert(weir_ed25519_sign(private_key, "", 0, signature));
    cr_assert_eq(weir_ed25519_verify(&crypto, public_key, "", 0, signature).is, WEIR_IS_FORGED);
    cr_assert_eq(weir_ed25519_verify(&crypto, another, "", 0, signature).is, WEIR_IS_SIGNED);
    weir_crypto_fini(&crypto);
}

Test(crypto, x25519_agrees_as_in_rfc_7748)
{
    /* Section 6.1. */
    static const char *const private_keys[2] = {
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    };
    static const char *const public_keys[2] = {
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
    };
    struct weir_crypto crypto;
    struct weir_dh_key keys[2];
    uint8_t expected[32], shared[32], base[32] = {9};
    cr_assert(weir_crypto_init(&crypto));
    for (int i = 0; i < 2; i++) {
        uint8_t private_key[32];
        hex_read(private_keys[i], private_key, 32);
        hex_read(public_keys[i], expected, 32);
        cr_assert(weir_dh_key_init(&crypto, &keys[i], private_key));
        cr_assert_arr_eq(keys[i].public_key, expected, 32);
    }
    hex_read("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742", expected, 32);
    for (int round = 0; round < 3; round++) { /* with other keys in between */
        for (int i = 0; i < 2; i++) {
            cr_assert(weir_dh(&crypto, &keys[i], keys[1 - i].public_key, shared));
            cr_assert_arr_eq(shared, expected, 32);
            cr_assert(weir_dh(&crypto, &keys[i], base, shared));
            cr_assert_arr_eq(shared, keys[i].public_key, 32,
                             "a public key is that of the base point");
        }
    }
    weir_dh_key_fini(&keys[0]);
    weir_dh_key_fini(&keys[0]); /* twice is once */
    cr_assert(weir_dh(&crypto, &keys[1], base, shared), "keys are each for themselves");
    weir_dh_key_fini(&keys[1]);
    weir_crypto_fini(&crypto);
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

/* ---- leased contexts ----------------------------------------------------------------------------- */

#define LEASES (3 * WEIR_LEASED_MIN)

struct holder {
    struct weir_aead_lease lease;
    uint8_t key[WEIR_KEY_BYTES];
    bool is_there;
};

static void holder_key(struct holder *holder, uint32_t seed)
{
    key_of((uint8_t)seed, holder->key);
    memcpy(holder->key, &seed, sizeof seed);
}

/* What a context makes of one record. */
static void sealed_by(struct weir_aead *aead, uint64_t nonce, uint8_t ret[48])
{
    static const uint8_t zeros[32];
    cr_assert(aead && weir_aead_start(aead, nonce, NULL, 0));
    cr_assert(weir_aead_piece(aead, zeros, sizeof zeros, ret));
    cr_assert(weir_aead_tag(aead, ret + sizeof zeros));
}

static size_t contexts_of(const struct holder *holders)
{
    size_t cnt = 1;
    for (struct weir_aead_slot *at = holders[0].lease.slot->next; at != holders[0].lease.slot;
         at = at->next)
        cnt++;
    return cnt;
}

/* Whoever comes when, each is served by its own key: the model is a context that is keyed for each record. */
Test(crypto, leases_that_share_contexts_keep_their_keys)
{
    static struct holder holders[LEASES];
    struct weir_crypto crypto;
    cr_assert(weir_crypto_init(&crypto));
    for (uint8_t cipher = 0; cipher < WEIR_CIPHER_CNT; cipher++) {
        struct weir_aead alone;
        uint32_t seed = 1, random = 7 + cipher;
        uint8_t sealed[48], expected[48];
        cr_assert(weir_aead_init(&crypto, &alone, (enum weir_cipher_kind)cipher));
        memset(holders, 0, sizeof holders);
        for (uint32_t i = 0; i < LEASES; i++) {
            struct holder *holder = &holders[i];
            cr_assert(weir_lease_init(&crypto, &holder->lease, (enum weir_cipher_kind)cipher));
            holder_key(holder, seed++);
            holder->is_there = true;
            cr_assert_eq(contexts_of(holders), i < WEIR_LEASED_MIN ? i + 1 : WEIR_LEASED_MIN);
        }
        for (uint32_t step = 0; step < 20000; step++) {
            random = random * 1664525 + 1013904223;
            /* The first few are busy, the others seldom; at times all come in turn. */
            uint32_t pick = random >> 8;
            struct holder *holder =
                &holders[step % 4000 > 3000 ? step % LEASES : pick % (pick & 1 ? 8 : LEASES)];
            if (holder->is_there && random >> 26 == 0) {
                weir_lease_fini(&holder->lease);
                cr_assert_null(holder->lease.slot);
                holder->is_there = false;
                continue;
            }
            if (!holder->is_there) {
                cr_assert(weir_lease_init(&crypto, &holder->lease, (enum weir_cipher_kind)cipher));
                holder->is_there = true;
                holder_key(holder, seed++);
            } else if (random >> 26 == 1) {
                holder_key(holder, seed++);
                cr_assert(weir_lease_key(&holder->lease, holder->key, true));
            }
            sealed_by(weir_lease_aead(&holder->lease, holder->key, true), step, sealed);
            cr_assert(weir_aead_key(&alone, holder->key, true));
            sealed_by(&alone, step, expected);
            cr_assert_arr_eq(sealed, expected, sizeof sealed, "step %u", step);
        }
        for (uint32_t i = 0; i < LEASES; i++)
            weir_lease_fini(&holders[i].lease);
        weir_aead_fini(&alone);
    }
    weir_crypto_fini(&crypto);
}

Test(crypto, a_lease_that_ends_leaves_no_key_in_its_context)
{
    static const uint8_t no_key[WEIR_KEY_BYTES];
    struct weir_crypto crypto;
    cr_assert(weir_crypto_init(&crypto));
    for (uint8_t cipher = 0; cipher < WEIR_CIPHER_CNT; cipher++) {
        struct holder holder = {.is_there = true};
        uint8_t keyed[48], left[48], wiped[48];
        holder_key(&holder, 5);
        cr_assert(weir_lease_init(&crypto, &holder.lease, (enum weir_cipher_kind)cipher));
        sealed_by(weir_lease_aead(&holder.lease, holder.key, true), 1, keyed);
        struct weir_aead_slot *slot = holder.lease.slot;
        weir_lease_fini(&holder.lease);
        sealed_by(&slot->aead, 1, left);
        cr_assert(weir_aead_key(&slot->aead, no_key, true));
        sealed_by(&slot->aead, 1, wiped);
        cr_assert_arr_eq(left, wiped, sizeof left);
        cr_assert_arr_neq(left, keyed, sizeof left);
    }
    weir_crypto_fini(&crypto);
}

/* The thread's context for keys of one use has none when a handshake is over, or a key was replaced. */
Test(crypto, the_shared_context_keeps_no_key)
{
    static const uint8_t no_key[WEIR_KEY_BYTES];
    for (int is_rekeyed = 0; is_rekeyed < 2; is_rekeyed++) {
        struct sides sides;
        uint8_t left[48], wiped[48];
        sides_open(&sides, "Noise_XX_25519_ChaChaPoly_SHA256", "", "", 0, 0);
        sides_finish(&sides);
        if (is_rekeyed)
            cr_assert_eq(weir_noise_cipher_rekey(&sides.crypto, &sides.init.send), 0);
        else
            weir_noise_handshake_wipe(&sides.init.handshake);
        struct weir_aead shared = sides.crypto.aeads[WEIR_CIPHER_CHACHAPOLY];
        sealed_by(&shared, 1, left);
        cr_assert(weir_aead_key(&shared, no_key, true));
        sealed_by(&shared, 1, wiped);
        cr_assert_arr_eq(left, wiped, sizeof left);
        sides_close(&sides);
    }
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
