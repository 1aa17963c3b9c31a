/* proto/identity.h: who a side of a Noise handshake is, and the proof of it.
 *
 * A node's lasting key is an Ed25519 key; what Noise uses is an X25519 pair, the *static key*. Each side
 * sends, sealed in a handshake payload, its public Ed25519 key, which is its node id, and a signature by
 * it of its static key. Noise proves that the side has the static key, so together they prove the id.
 *
 *   proof:   0  32  Ed25519 public key: the node id
 *           32  64  signature of "weir-noise-static-key-v1:" followed by the X25519 public key
 *
 * The static pair follows from the Ed25519 key, so that it is the same in every run and whoever has met
 * a node before can use pattern IK: X25519 private key = HMAC-SHA256(seed, "weir-noise-static-v1").
 */
#ifndef WEIR_PROTO_IDENTITY_H
#define WEIR_PROTO_IDENTITY_H

#include "proto/crypto.h"

#define WEIR_PROOF_BYTES (WEIR_KEY_BYTES + WEIR_SIGNATURE_BYTES)

struct weir_identity {
    struct weir_dh_key s;
    uint8_t proof[WEIR_PROOF_BYTES]; /* the node id is its first 32 bytes */
};

/* Derives and signs; nothing of `secret` is kept. Returns false when libcrypto had no memory. */
bool weir_identity_init(struct weir_identity *ret_identity, const struct weir_crypto *crypto,
                        const uint8_t secret[WEIR_KEY_BYTES]);
void weir_identity_fini(struct weir_identity *identity); /* {0} is fine */

/* Whether `proof` is for the static key `rs`: its first 32 bytes are then the peer's node id. */
struct weir_verdict weir_identity_check(const struct weir_crypto *crypto,
                                        const uint8_t proof[WEIR_PROOF_BYTES],
                                        const uint8_t rs[WEIR_KEY_BYTES]);

#endif
