/* bench/micro/arithmetic.c: what the curves alone take of a listener's handshake: the floor of the case `handshake`.
 *
 * The receiver's core does what pattern XX makes a listener calculate, again and again, with the functions that weir calls
 * for it: a new X25519 pair, three X25519 results, one Ed25519 signature checked. No socket, no hash, no cipher. In the
 * first window (ALONE) the sender's core sleeps, in the second it does the same: cores share a memory, a clock and a
 * power supply, and in the case the other one is at work too.
 */
#include "bench/weir_roles.h"

#include <string.h>
#include <time.h>

#include "proto/identity.h"

struct shaker {
    struct weir_crypto crypto;
    struct weir_identity own, peers;
    struct weir_dh_key peer_e; /* the other side's new key: any other will do */
    uint64_t nth;
};

static bool shaker_init(struct shaker *shaker)
{
    uint8_t secret[WEIR_KEY_BYTES];

    if (!weir_crypto_init(&shaker->crypto))
        return false;
    memset(secret, 1, sizeof(secret));
    if (!weir_identity_init(&shaker->own, &shaker->crypto, secret))
        return false;
    memset(secret, 2, sizeof(secret));
    if (!weir_identity_init(&shaker->peers, &shaker->crypto, secret))
        return false;
    memset(secret, 3, sizeof(secret));
    return weir_dh_key_init(&shaker->crypto, &shaker->peer_e, secret);
}

static void shaker_fini(struct shaker *shaker)
{
    weir_dh_key_fini(&shaker->peer_e);
    weir_identity_fini(&shaker->peers);
    weir_identity_fini(&shaker->own);
    weir_crypto_fini(&shaker->crypto);
}

/* One handshake's worth: e, ee, es, se and the proof of s (docs/wire-v2.md). */
static bool shake(struct shaker *shaker)
{
    const struct weir_crypto *crypto = &shaker->crypto;
    const uint8_t *peer_s = shaker->peers.s.public_key;
    uint8_t secret[WEIR_KEY_BYTES] = {0}, shared[WEIR_KEY_BYTES];
    struct weir_dh_key e;

    shaker->nth++;
    memcpy(secret, &shaker->nth, sizeof(shaker->nth));
    if (!weir_dh_key_init(crypto, &e, secret))
        return false;
    bool is_done = weir_dh(crypto, &e, shaker->peer_e.public_key, shared) &&
                   weir_dh(crypto, &shaker->own.s, shaker->peer_e.public_key, shared) &&
                   weir_dh(crypto, &e, peer_s, shared) &&
                   weir_identity_check(crypto, shaker->peers.proof, peer_s).is == WEIR_IS_SIGNED;
    weir_dh_key_fini(&e);
    return is_done;
}

static enum bench_status fail(struct bench_run *run)
{
    return bench_fail(run, BENCH_E_RUN, "libcrypto refused an X25519 or an Ed25519 operation");
}

/* The sender leads: its first handshake begins the warm-up. */
enum bench_status bench_arithmetic_send(struct bench_run *run)
{
    static struct shaker shaker;
    const struct timespec nap = {.tv_nsec = WEIR_NS_PER_MS};
    enum bench_phase phase;

    if (!shaker_init(&shaker))
        return fail(run);
    while ((phase = bench_step(run)) < BENCH_DRAIN) {
        if (phase != BENCH_MEASURE && run->counts.handshakes != 0) {
            nanosleep(&nap, NULL);
            continue;
        }
        if (!shake(&shaker))
            return fail(run);
        run->counts.handshakes++;
    }
    shaker_fini(&shaker);
    bench_finish(run);
    return BENCH_OK;
}

enum bench_status bench_arithmetic_recv(struct bench_run *run)
{
    static struct shaker shaker;

    if (!shaker_init(&shaker))
        return fail(run);
    while (bench_step(run) != BENCH_DONE) {
        if (!shake(&shaker))
            return fail(run);
        run->counts.handshakes++;
    }
    shaker_fini(&shaker);
    return BENCH_OK;
}

const struct bench_impl bench_arithmetic = {
    .name = "arithmetic",
    .what =
        "the curves of a listener's handshake by themselves, by the same functions, without any socket",
    .notes = {[BENCH_HANDSHAKE] =
                  "1 new X25519 pair, 3 X25519 results, 1 Ed25519 check, again and again; the "
                  "sender's core sleeps in the first window and does the same in the second"},
    .roles = {[BENCH_HANDSHAKE] = {bench_arithmetic_send, bench_arithmetic_recv}},
};
