#include "sha256.h"

#include <stdlib.h>

#include <openssl/evp.h>

struct sha256 {
    EVP_MD_CTX *ctx;
    EVP_MD *algorithm; /* fetched once: a look-up per file costs more than hashing a small one */
    bool is_good;
};

struct sha256 *sha256_create(void)
{
    struct sha256 *hash = calloc(1, sizeof(*hash));
    if (hash == NULL)
        return NULL;
    hash->ctx = EVP_MD_CTX_new();
    hash->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (hash->ctx == NULL || hash->algorithm == NULL) {
        sha256_free(hash);
        return NULL;
    }
    return hash;
}

void sha256_free(struct sha256 *hash)
{
    if (hash == NULL)
        return;
    EVP_MD_CTX_free(hash->ctx);
    EVP_MD_free(hash->algorithm);
    free(hash);
}

void sha256_begin(struct sha256 *hash)
{
    hash->is_good = EVP_DigestInit_ex2(hash->ctx, hash->algorithm, NULL) == 1;
}

void sha256_add(struct sha256 *hash, const void *data, size_t len)
{
    if (hash->is_good && len > 0)
        hash->is_good = EVP_DigestUpdate(hash->ctx, data, len) == 1;
}

bool sha256_end(struct sha256 *hash, uint8_t ret_digest[SHA256_BYTES])
{
    if (hash->is_good)
        hash->is_good = EVP_DigestFinal_ex(hash->ctx, ret_digest, NULL) == 1;
    return hash->is_good;
}

const char *sha256_text(const uint8_t digest[SHA256_BYTES], char text[SHA256_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    text[2 * SHA256_BYTES] = '\0';
    return text;
}
