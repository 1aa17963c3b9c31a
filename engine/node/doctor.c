/* weir_doctor(): what engine/io finds out about the system, and how fast the processor encrypts. */
#include <stdio.h>
#include <string.h>

#include "engine/io/io.h"
#include "proto/crypto.h"
#include "weir/error.h"
#include "weir/node.h"

#define RECORD_BYTES (16u * 1024u)
#define TRIAL_NS (3 * WEIR_NS_PER_MS)
#define TRIAL_CNT 3

/* The processor's instructions that libcrypto's fast paths are made of. */
static void say_instructions(struct weir_check *check)
{
    check->found[0] = '\0';
#if defined(__x86_64__)
    static const char *const text[2] = {"", "no "};
    snprintf(check->found, sizeof(check->found), "%sAES-NI, %sPCLMUL, %sAVX2, %sAVX-512",
             text[!__builtin_cpu_supports("aes")], text[!__builtin_cpu_supports("pclmul")],
             text[!__builtin_cpu_supports("avx2")], text[!__builtin_cpu_supports("avx512f")]);
#else
    snprintf(check->found, sizeof(check->found), "not looked for on this processor");
#endif
}

/* Bytes a second of sealing records with one cipher, the best of a few short trials; 0 without memory. */
static double measure(const struct weir_crypto *crypto, enum weir_cipher_kind cipher)
{
    static const uint8_t key[WEIR_KEY_BYTES];
    static _Thread_local uint8_t record[RECORD_BYTES];
    uint8_t tag[WEIR_TAG_BYTES];
    struct weir_aead aead = {0};
    double best = 0;
    if (!weir_aead_init(crypto, &aead, cipher) || !weir_aead_key(&aead, key, true)) {
        weir_aead_fini(&aead);
        return 0;
    }
    for (uint64_t trial = 0, nonce = 0; trial < TRIAL_CNT; trial++) {
        uint64_t bytes = 0;
        weir_ns begun = weir_now(), now = begun;
        do {
            if (!weir_aead_start(&aead, nonce++, NULL, 0) ||
                !weir_aead_piece(&aead, record, sizeof(record), record) ||
                !weir_aead_tag(&aead, tag))
                break;
            bytes += sizeof(record);
            now = weir_now();
        } while (now - begun < TRIAL_NS);
        double rate = now > begun ? (double)bytes * 1e9 / (double)(now - begun) : 0;
        best = rate > best ? rate : best;
    }
    weir_aead_fini(&aead);
    return best;
}

static void check_ciphers(struct weir_check ret_checks[2])
{
    struct weir_crypto crypto;
    memset(ret_checks, 0, 2 * sizeof(ret_checks[0]));
    snprintf(ret_checks[0].name, sizeof(ret_checks[0].name), "processor");
    say_instructions(&ret_checks[0]);
    struct weir_check *check = &ret_checks[1];
    snprintf(check->name, sizeof(check->name), "ciphers");
    if (!weir_crypto_init(&crypto)) {
        check->status = 1;
        snprintf(check->found, sizeof(check->found), "libcrypto lacks an algorithm or memory");
        snprintf(
            check->remedy, sizeof(check->remedy),
            "Encrypted connections need ChaCha20-Poly1305, AES-256-GCM, X25519, Ed25519, SHA-2 and "
            "BLAKE2, which a FIPS provider withholds; until then policy plain.");
        return;
    }
    double chacha = measure(&crypto, WEIR_CIPHER_CHACHAPOLY);
    double aes = measure(&crypto, WEIR_CIPHER_AESGCM);
    weir_crypto_fini(&crypto);
    snprintf(check->found, sizeof(check->found),
             "one core seals ChaCha20-Poly1305 at %.2f GB/s, AES-256-GCM at %.2f GB/s (16 KiB)",
             chacha / 1e9, aes / 1e9);
    if (chacha < 0.6 * aes) {
        check->status = 1;
        snprintf(check->remedy, sizeof(check->remedy),
                 "AES-256-GCM is the faster one here: weir_config.cipher, --cipher aes-256-gcm.");
    }
}

int64_t weir_doctor(struct weir_check *ret_checks, size_t check_max)
{
    struct weir_check ciphers[2];
    int64_t cnt = weir_doctor_io(ret_checks, check_max);
    if (cnt < 0)
        return cnt;
    check_ciphers(ciphers);
    for (size_t i = 0; i < 2 && (size_t)cnt < check_max; i++)
        ret_checks[cnt++] = ciphers[i];
    return cnt;
}
