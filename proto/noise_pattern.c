#include "proto/noise.h"

#include <string.h>

/* Noise §7.5 and §9.4. Only patterns that public vectors exist for. */
#define E WEIR_NOISE_E
#define S WEIR_NOISE_S
#define EE WEIR_NOISE_EE
#define ES WEIR_NOISE_ES
#define SE WEIR_NOISE_SE
#define SS WEIR_NOISE_SS
#define PSK WEIR_NOISE_PSK

static const struct weir_noise_pattern patterns[] = {
    {"XX", false, true, false, 3, {{E}, {E, EE, S, ES}, {S, SE}}},
    {"IK", true, true, false, 2, {{E, ES, S, SS}, {E, EE, SE}}},
    {"XK", true, true, false, 3, {{E, ES}, {E, EE}, {S, SE}}},
    {"NK", true, false, false, 2, {{E, ES}, {E, EE}}},
    {"XXpsk3", false, true, true, 3, {{E}, {E, EE, S, ES}, {S, SE, PSK}}},
    {"IKpsk2", true, true, true, 2, {{E, ES, S, SS}, {E, EE, SE, PSK}}},
};

#undef E
#undef S
#undef EE
#undef ES
#undef SE
#undef SS
#undef PSK

static const char *const cipher_names[WEIR_CIPHER_CNT] = {
    [WEIR_CIPHER_CHACHAPOLY] = "ChaChaPoly",
    [WEIR_CIPHER_AESGCM] = "AESGCM",
};

static const char *const digest_names[WEIR_DIGEST_CNT] = {
    [WEIR_DIGEST_SHA256] = "SHA256",
    [WEIR_DIGEST_SHA512] = "SHA512",
    [WEIR_DIGEST_BLAKE2S] = "BLAKE2s",
    [WEIR_DIGEST_BLAKE2B] = "BLAKE2b",
};

/* Takes the word up to the next '_' (or the end) off the front of `*at`. */
static bool word_next(const char **at, char *ret_word, size_t cap)
{
    size_t len = strcspn(*at, "_");
    if (len == 0 || len >= cap)
        return false;
    memcpy(ret_word, *at, len);
    ret_word[len] = '\0';
    *at += len + ((*at)[len] == '_');
    return true;
}

bool weir_noise_protocol_parse(const char *name, struct weir_noise_protocol *ret_protocol)
{
    char words[5][16];
    const char *at = name;
    size_t len = strlen(name);
    struct weir_noise_protocol protocol = {0};

    if (len == 0 || len > WEIR_NOISE_NAME_MAX || name[len - 1] == '_')
        return false;
    for (size_t i = 0; i < 5; i++) {
        if (!word_next(&at, words[i], sizeof words[i]))
            return false;
    }
    if (*at != '\0' || strcmp(words[0], "Noise") != 0 || strcmp(words[2], "25519") != 0)
        return false;
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        if (strcmp(words[1], patterns[i].name) == 0)
            protocol.pattern = &patterns[i];
    }
    size_t cipher = 0, digest = 0;
    while (cipher < WEIR_CIPHER_CNT && strcmp(words[3], cipher_names[cipher]) != 0)
        cipher++;
    while (digest < WEIR_DIGEST_CNT && strcmp(words[4], digest_names[digest]) != 0)
        digest++;
    if (!protocol.pattern || cipher == WEIR_CIPHER_CNT || digest == WEIR_DIGEST_CNT)
        return false;
    protocol.cipher = (enum weir_cipher_kind)cipher;
    protocol.digest = (enum weir_digest_kind)digest;
    memcpy(protocol.name, name, len + 1);
    *ret_protocol = protocol;
    return true;
}
