#include "proto/noise.h"

#include <string.h>

#include "engine/base/check.h"

int weir_noise_handshake_init(struct weir_noise_handshake *ret_handshake,
                              const struct weir_crypto *crypto,
                              const struct weir_noise_protocol *protocol, bool is_initiator,
                              const uint8_t *prologue, size_t prologue_len,
                              const struct weir_noise_keys *keys)
{
    struct weir_noise_handshake *handshake = ret_handshake;
    const struct weir_noise_pattern *pattern = protocol->pattern;
    memset(handshake, 0, sizeof *handshake);
    handshake->is_over = true; /* until all is well */
    handshake->pattern = pattern;
    handshake->is_initiator = is_initiator;
    handshake->s = keys->s;

    bool needs_rs = pattern->has_responder_s && is_initiator;
    bool needs_s = !is_initiator || pattern->has_initiator_s;
    if (!keys->e_private || (needs_s && !keys->s) || (needs_rs && !keys->rs) ||
        (pattern->is_psk && !keys->psk))
        return WEIR_NOISE_BAD_KEY;
    memcpy(handshake->e_private, keys->e_private, WEIR_KEY_BYTES);
    if (pattern->is_psk)
        memcpy(handshake->psk, keys->psk, WEIR_KEY_BYTES);
    if (needs_rs) {
        memcpy(handshake->rs, keys->rs, WEIR_KEY_BYTES);
        handshake->has_rs = true;
    }

    struct weir_noise_symmetric *symmetric = &handshake->symmetric;
    int error = weir_noise_symmetric_init(symmetric, crypto, protocol->name, protocol->cipher,
                                          protocol->digest);
    if (!error)
        error = weir_noise_mix_hash(symmetric, prologue, prologue_len);
    if (!error && pattern->has_responder_s)
        error = weir_noise_mix_hash(symmetric, is_initiator ? handshake->rs : keys->s->public_key,
                                    WEIR_KEY_BYTES);
    if (error)
        weir_noise_handshake_wipe(handshake);
    handshake->is_over = error != 0;
    return error;
}

bool weir_noise_is_done(const struct weir_noise_handshake *handshake)
{
    return !handshake->is_over && handshake->message_idx == handshake->pattern->message_cnt;
}

bool weir_noise_is_our_turn(const struct weir_noise_handshake *handshake)
{
    return !handshake->is_over && !weir_noise_is_done(handshake) &&
           (handshake->message_idx % 2 == 0) == handshake->is_initiator;
}

size_t weir_noise_overhead(const struct weir_noise_handshake *handshake)
{
    size_t len = 0;
    bool has_key = handshake->symmetric.cipher.has_key;
    if (handshake->is_over || weir_noise_is_done(handshake))
        return 0;
    for (const uint8_t *token = handshake->pattern->messages[handshake->message_idx]; *token;
         token++) {
        switch ((enum weir_noise_token) * token) { /* GCOVR_EXCL_BR_LINE: see below */
        case WEIR_NOISE_E:
            len += WEIR_KEY_BYTES;
            has_key = has_key || handshake->pattern->is_psk;
            break;
        case WEIR_NOISE_S:
            WEIR_CHECK(has_key); /* no pattern that is known sends one in clear */
            len += WEIR_KEY_BYTES + WEIR_TAG_BYTES;
            break;
        case WEIR_NOISE_EE:
        case WEIR_NOISE_ES:
        case WEIR_NOISE_SE:
        case WEIR_NOISE_SS:
        case WEIR_NOISE_PSK:
            has_key = true;
            break;
        case WEIR_NOISE_END: /* GCOVR_EXCL_START: it ends the loop, and is here for the compiler */
            break;
        } /* GCOVR_EXCL_STOP */
    }
    return len + (has_key ? WEIR_TAG_BYTES : 0);
}

/* ---- tokens -------------------------------------------------------------------------------------- */

/* MixKey(DH(...)): the tokens name the initiator's key first, so each side swaps them or not. */
static int mix_dh(struct weir_noise_handshake *handshake, enum weir_noise_token token)
{
    bool is_own_s = token == WEIR_NOISE_SS ||
                    token == (handshake->is_initiator ? WEIR_NOISE_SE : WEIR_NOISE_ES);
    bool is_remote_s = token == WEIR_NOISE_SS ||
                       token == (handshake->is_initiator ? WEIR_NOISE_ES : WEIR_NOISE_SE);
    uint8_t shared[WEIR_KEY_BYTES];
    const uint8_t *remote = is_remote_s ? handshake->rs : handshake->re;
    int error;
    if (weir_dh(handshake->symmetric.crypto, is_own_s ? handshake->s : &handshake->e, remote,
                shared))
        error = weir_noise_mix_key(&handshake->symmetric, shared, sizeof shared);
    else /* nobody is to be blamed for what libcrypto could not do here */
        error = weir_dh_is_low_order(remote) ? WEIR_NOISE_BAD_KEY : WEIR_NOISE_NOMEM;
    weir_wipe(shared, sizeof shared);
    return error;
}

/* Noise §9.2: with a pre-shared key, an ephemeral key goes into the chaining key too. */
static int mix_e(struct weir_noise_handshake *handshake, const uint8_t *public_key)
{
    int error = weir_noise_mix_hash(&handshake->symmetric, public_key, WEIR_KEY_BYTES);
    if (!error && handshake->pattern->is_psk)
        error = weir_noise_mix_key(&handshake->symmetric, public_key, WEIR_KEY_BYTES);
    return error;
}

static int token_write(struct weir_noise_handshake *handshake, enum weir_noise_token token,
                       uint8_t **at)
{
    int error = WEIR_NOISE_OK;
    switch (token) { /* GCOVR_EXCL_BR_LINE: see below */
    case WEIR_NOISE_E:
        if (!weir_dh_key_init(handshake->symmetric.crypto, &handshake->e, handshake->e_private))
            return WEIR_NOISE_NOMEM;
        weir_wipe(handshake->e_private, sizeof handshake->e_private);
        memcpy(*at, handshake->e.public_key, WEIR_KEY_BYTES);
        *at += WEIR_KEY_BYTES;
        return mix_e(handshake, handshake->e.public_key);
    case WEIR_NOISE_S:
        WEIR_CHECK(handshake->symmetric.cipher.has_key); /* as in weir_noise_overhead() */
        error = weir_noise_encrypt_and_hash(&handshake->symmetric, handshake->s->public_key,
                                            WEIR_KEY_BYTES, *at);
        *at += WEIR_KEY_BYTES + WEIR_TAG_BYTES;
        return error;
    case WEIR_NOISE_EE:
    case WEIR_NOISE_ES:
    case WEIR_NOISE_SE:
    case WEIR_NOISE_SS:
        return mix_dh(handshake, token);
    case WEIR_NOISE_PSK:
        return weir_noise_mix_key_and_hash(&handshake->symmetric, handshake->psk, WEIR_KEY_BYTES);
    case WEIR_NOISE_END: /* GCOVR_EXCL_START: it is no token of a message, and is here for the compiler */
        break;
    }
    return error;
    /* GCOVR_EXCL_STOP */
}

/* Takes what the token needs from the front of the message, whose length was checked. */
static int token_read(struct weir_noise_handshake *handshake, enum weir_noise_token token,
                      const uint8_t **at)
{
    int error = WEIR_NOISE_OK;
    switch (token) { /* GCOVR_EXCL_BR_LINE: see below */
    case WEIR_NOISE_E:
        memcpy(handshake->re, *at, WEIR_KEY_BYTES);
        *at += WEIR_KEY_BYTES;
        return mix_e(handshake, handshake->re);
    case WEIR_NOISE_S:
        WEIR_CHECK(handshake->symmetric.cipher.has_key);
        error = weir_noise_decrypt_and_hash(&handshake->symmetric, *at,
                                            WEIR_KEY_BYTES + WEIR_TAG_BYTES, handshake->rs);
        handshake->has_rs = !error;
        *at += WEIR_KEY_BYTES + WEIR_TAG_BYTES;
        return error;
    case WEIR_NOISE_EE:
    case WEIR_NOISE_ES:
    case WEIR_NOISE_SE:
    case WEIR_NOISE_SS:
        return mix_dh(handshake, token);
    case WEIR_NOISE_PSK:
        return weir_noise_mix_key_and_hash(&handshake->symmetric, handshake->psk, WEIR_KEY_BYTES);
    case WEIR_NOISE_END: /* GCOVR_EXCL_START: it is no token of a message, and is here for the compiler */
        break;
    }
    return error;
    /* GCOVR_EXCL_STOP */
}

/* ---- messages ------------------------------------------------------------------------------------ */

static int message_end(struct weir_noise_handshake *handshake, int error)
{
    if (error) {
        weir_noise_handshake_wipe(handshake);
        return error;
    }
    handshake->message_idx++;
    return WEIR_NOISE_OK;
}

int weir_noise_write(struct weir_noise_handshake *handshake, const uint8_t *payload, size_t len,
                     uint8_t *ret_message, size_t cap, size_t *ret_len)
{
    uint8_t *at = ret_message;
    int error = WEIR_NOISE_OK;
    if (!weir_noise_is_our_turn(handshake))
        return WEIR_NOISE_TURN;
    size_t overhead = weir_noise_overhead(handshake);
    if (len > WEIR_NOISE_MESSAGE_MAX - overhead || overhead + len > cap)
        return WEIR_NOISE_LONG;
    const uint8_t *tokens = handshake->pattern->messages[handshake->message_idx];
    for (; !error && *tokens; tokens++)
        error = token_write(handshake, (enum weir_noise_token) * tokens, &at);
    if (!error)
        error = weir_noise_encrypt_and_hash(&handshake->symmetric, payload, len, at);
    if (!error)
        *ret_len = overhead + len;
    return message_end(handshake, error);
}

int weir_noise_read(struct weir_noise_handshake *handshake, const uint8_t *message, size_t len,
                    uint8_t *ret_payload, size_t cap, size_t *ret_len)
{
    const uint8_t *at = message;
    int error = WEIR_NOISE_OK;
    if (handshake->is_over || weir_noise_is_done(handshake) || weir_noise_is_our_turn(handshake))
        return WEIR_NOISE_TURN;
    size_t overhead = weir_noise_overhead(handshake);
    if (len < overhead)
        return message_end(handshake, WEIR_NOISE_SHORT);
    if (len > WEIR_NOISE_MESSAGE_MAX || len - overhead > cap)
        return message_end(handshake, WEIR_NOISE_LONG);
    const uint8_t *tokens = handshake->pattern->messages[handshake->message_idx];
    for (; !error && *tokens; tokens++)
        error = token_read(handshake, (enum weir_noise_token) * tokens, &at);
    if (!error)
        error = weir_noise_decrypt_and_hash(&handshake->symmetric, at, len - (size_t)(at - message),
                                            ret_payload);
    if (!error)
        *ret_len = len - overhead;
    return message_end(handshake, error);
}

int weir_noise_finish(const struct weir_noise_handshake *handshake,
                      struct weir_noise_cipher *ret_send, struct weir_noise_cipher *ret_recv)
{
    if (!weir_noise_is_done(handshake))
        return WEIR_NOISE_TURN;
    return handshake->is_initiator ? weir_noise_split(&handshake->symmetric, ret_send, ret_recv)
                                   : weir_noise_split(&handshake->symmetric, ret_recv, ret_send);
}

void weir_noise_handshake_wipe(struct weir_noise_handshake *handshake)
{
    struct weir_noise_symmetric *symmetric = &handshake->symmetric;
    if (symmetric->crypto && symmetric->cipher.has_key)
        weir_crypto_unkey(symmetric->crypto, (enum weir_cipher_kind)symmetric->cipher.cipher);
    weir_noise_cipher_wipe(&symmetric->cipher);
    weir_dh_key_fini(&handshake->e);
    weir_wipe(symmetric->ck, sizeof symmetric->ck);
    weir_wipe(symmetric->h, sizeof symmetric->h);
    weir_wipe(handshake->e_private, sizeof handshake->e_private);
    weir_wipe(handshake->psk, sizeof handshake->psk);
    handshake->is_over = true;
}
