/* sha256.h: SHA-256 of a stream of bytes. The only door to OpenSSL in the tools. */
#ifndef SHA256_H
#define SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32
#define SHA256_TEXT_BYTES 65

struct sha256; /* one running hash; begin() starts it afresh, as often as wanted */

/* Returns NULL when memory or the provider is missing. */
struct sha256 *sha256_create(void);
void sha256_free(struct sha256 *hash);

/* A failure inside the provider is remembered and told by sha256_end. */
void sha256_begin(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *data, size_t len);
bool sha256_end(struct sha256 *hash, uint8_t ret_digest[SHA256_BYTES]);

/* Writes 64 hexadecimal digits and returns `text`. */
const char *sha256_text(const uint8_t digest[SHA256_BYTES], char text[SHA256_TEXT_BYTES]);

#endif
