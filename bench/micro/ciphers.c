/* bench/micro/ciphers.c: what the ciphers alone take of an encrypted stream: the other half of the serial sum.
 *
 * The sender's core seals records of the largest size, the receiver's opens such records, with the functions that weir calls
 * for it, both at once, as in the case: cores share a memory, a clock and a power supply. Whoever is ahead waits, so that
 * the rate is that of the slower one. No socket, no frame. Each side goes round as many records as are in a send, from one
 * place to another, as a message that was handed over is sealed; what is opened is checked.
 */
#include "bench/weir_roles.h"

#include <stdlib.h>
#include <string.h>

#include "proto/crypto.h"

#define PLAIN_BYTES (65535u - WEIR_TAG_BYTES) /* of a record: docs/wire-v2.md */
#define RECORDS 8u                            /* 512 KiB, as a send */
#define AHEAD 4u                              /* records that a side may be ahead */

struct sealer {
    struct weir_crypto crypto;
    struct weir_aead aead;
    uint8_t (*plain)[PLAIN_BYTES];
    uint8_t (*sealed)[PLAIN_BYTES + WEIR_TAG_BYTES];
    uint64_t nth;
};

static bool seal(struct sealer *sealer)
{
    uint32_t place = sealer->nth % RECORDS;
    uint8_t *to = sealer->sealed[place];

    sealer->nth++;
    return weir_aead_start(&sealer->aead, place, NULL, 0) &&
           weir_aead_piece(&sealer->aead, sealer->plain[place], PLAIN_BYTES, to) &&
           weir_aead_tag(&sealer->aead, to + PLAIN_BYTES);
}

static bool open_next(struct sealer *sealer)
{
    uint32_t place = sealer->nth % RECORDS;
    const uint8_t *from = sealer->sealed[place];

    sealer->nth++;
    return weir_aead_start(&sealer->aead, place, NULL, 0) &&
           weir_aead_piece(&sealer->aead, from, PLAIN_BYTES, sealer->plain[place]) &&
           weir_aead_check(&sealer->aead, from + PLAIN_BYTES);
}

/* The same nonces come again and again, and the key is known: nothing here is a secret. */
static bool sealer_init(struct sealer *sealer, enum weir_cipher_kind cipher, bool is_seal)
{
    uint8_t key[WEIR_KEY_BYTES];

    memset(key, 1, sizeof(key));
    sealer->plain = calloc(RECORDS, sizeof(*sealer->plain));
    sealer->sealed = calloc(RECORDS, sizeof(*sealer->sealed));
    if (sealer->plain == NULL || sealer->sealed == NULL || !weir_crypto_init(&sealer->crypto) ||
        !weir_aead_init(&sealer->crypto, &sealer->aead, cipher) ||
        !weir_aead_key(&sealer->aead, key, true))
        return false;
    for (uint32_t i = 0; i < RECORDS; i++)
        if (!seal(sealer))
            return false;
    return is_seal || weir_aead_key(&sealer->aead, key, false);
}

static void sealer_fini(struct sealer *sealer)
{
    weir_aead_fini(&sealer->aead);
    weir_crypto_fini(&sealer->crypto);
    free(sealer->sealed);
    free(sealer->plain);
}

static enum bench_status fail(struct bench_run *run)
{
    return bench_fail(run, BENCH_E_RUN, "libcrypto refused to seal or to open, or had no memory");
}

static void count(struct bench_run *run)
{
    run->counts.turns++;
    run->counts.bytes[0] += PLAIN_BYTES;
    run->counts.msgs[0] = run->counts.bytes[0] / run->job->size;
}

static enum bench_status sender(struct bench_run *run, enum weir_cipher_kind cipher)
{
    static struct sealer sealer;
    uint64_t done = 0;

    if (!sealer_init(&sealer, cipher, true))
        return fail(run);
    while (bench_step(run) < BENCH_DRAIN) {
        /* Relaxed: nothing goes from one side to the other but the number. */
        if (done > atomic_load_explicit(&run->shared->progress, memory_order_relaxed) + AHEAD)
            continue;
        if (!seal(&sealer))
            return fail(run);
        atomic_store_explicit(&run->shared->sealed, ++done, memory_order_relaxed);
        count(run);
    }
    bench_publish_sent(run);
    while (bench_step(run) != BENCH_DONE) {
    }
    sealer_fini(&sealer);
    return BENCH_OK;
}

static enum bench_status receiver(struct bench_run *run, enum weir_cipher_kind cipher)
{
    static struct sealer sealer;
    uint64_t done = 0;

    if (!sealer_init(&sealer, cipher, false))
        return fail(run);
    for (;;) {
        if (bench_step(run) == BENCH_DRAIN && bench_is_drained(run))
            break;
        if (done == atomic_load_explicit(&run->shared->sealed, memory_order_relaxed))
            continue;
        if (!open_next(&sealer))
            return fail(run);
        atomic_store_explicit(&run->shared->progress, ++done, memory_order_relaxed);
        count(run);
    }
    bench_finish(run);
    sealer_fini(&sealer);
    return BENCH_OK;
}

static enum bench_status chacha_send(struct bench_run *run)
{
    return sender(run, WEIR_CIPHER_CHACHAPOLY);
}

static enum bench_status chacha_recv(struct bench_run *run)
{
    return receiver(run, WEIR_CIPHER_CHACHAPOLY);
}

static enum bench_status aes_send(struct bench_run *run)
{
    return sender(run, WEIR_CIPHER_AESGCM);
}

static enum bench_status aes_recv(struct bench_run *run)
{
    return receiver(run, WEIR_CIPHER_AESGCM);
}

#define SIZE_MIN 16384u /* from here on weir's records are full, and the rate depends on no size */
#define NOTE                                                                                  \
    "one core seals records of 65,519 bytes, the other opens such, both at once; the slower " \
    "one's rate"

const struct bench_impl bench_aead = {
    .name = "aead",
    .what = "ChaCha20-Poly1305 by itself, by the same functions, without any socket",
    .notes = {[BENCH_THROUGHPUT] = NOTE},
    .roles = {[BENCH_THROUGHPUT] = {chacha_send, chacha_recv}},
    .size_min = SIZE_MIN,
};

const struct bench_impl bench_aead_aes = {
    .name = "aead-aes",
    .what = "AES-256-GCM by itself, likewise",
    .notes = {[BENCH_THROUGHPUT] = NOTE},
    .roles = {[BENCH_THROUGHPUT] = {aes_send, aes_recv}},
    .size_min = SIZE_MIN,
};
