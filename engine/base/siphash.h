/* engine/base/siphash.h: a keyed hash whose values nobody can predict without the key.
 *
 * XXH3 finds damage; against somebody who chooses its inputs it is no defence, seeded or not. Where an
 * attacker must not be able to say which bucket something falls into, this is used: SipHash-2-4, a
 * pseudo-random function made for hash tables, 20 ns for an address.
 * Source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF" (2012).
 */
#ifndef WEIR_ENGINE_BASE_SIPHASH_H
#define WEIR_ENGINE_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define WEIR_SIPHASH_KEY_BYTES 16u

/* Hashes `len` bytes under a key.  Thread: any thread. */
uint64_t weir_siphash(const uint8_t key[WEIR_SIPHASH_KEY_BYTES], const void *data, size_t len);

#endif
